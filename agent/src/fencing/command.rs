//! One run of the fence command: its exit status decides, and at the timeout its whole process group dies.
//!
//! Arguments, after the configured ones: the victim's name, the domain's name, the epoch of the new lease. The
//! environment says the same, and more: `KEEPONE_VICTIM`, `KEEPONE_VICTIM_ID`, `KEEPONE_DOMAIN`,
//! `KEEPONE_EPOCH`, `KEEPONE_VICTIM_EPOCH` (only where it is known).

use keepone_config::model::FenceCommand;
use keepone_proto::id::{Epoch, NodeId};

use crate::script::{Failure, Run};

/// Who is to be made harmless, and under what.
#[derive(Debug, Clone)]
pub struct Victim {
    /// The member's name.
    pub name: String,
    /// Its id.
    pub id: NodeId,
    /// The domain's name.
    pub domain: String,
    /// The epoch of the lease under which this node shoots.
    pub epoch: Epoch,
    /// The epoch under which the victim held.
    pub held: Option<Epoch>,
}

/// Why a victim is not known to be harmless.
#[derive(Debug, thiserror::Error)]
#[error("the fence command {program} failed: {how}{remedy}")]
pub struct FenceError {
    program: String,
    how: Failure,
    remedy: &'static str,
}

/// Runs it to its end.
///
/// # Errors
/// Unless it exits with 0 within its timeout.
pub fn run(fence: &FenceCommand, victim: &Victim) -> Result<(), FenceError> {
    let (epoch, id) = (victim.epoch.to_string(), victim.id.to_string());
    let held = victim.held.map(|held| held.to_string());
    let mut variables = vec![
        ("KEEPONE_VICTIM", victim.name.as_str()),
        ("KEEPONE_VICTIM_ID", &id),
        ("KEEPONE_DOMAIN", &victim.domain),
        ("KEEPONE_EPOCH", &epoch),
    ];
    variables.extend(held.as_deref().map(|held| ("KEEPONE_VICTIM_EPOCH", held)));
    let run = Run {
        script: &fence.script,
        otherwise: &None,
        arguments: &[&victim.name, &victim.domain, &epoch],
        variables: &variables,
        timeout: fence.timeout,
        is_heard: true,
    };
    run.wait().map_err(|how| FenceError {
        program: fence.script.command.first().cloned().unwrap_or_default(),
        remedy: match how {
            Failure::TimedOut { .. } => ": raise `timeout`, or find out what it waits for",
            Failure::NotRun(_) | Failure::Ended { .. } | Failure::Lost(_) => "",
        },
        how,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepone_config::model::Script;
    use keepone_proto::id::Incarnation;
    use std::time::Duration;

    fn fence(command: &[&str], timeout: Duration) -> FenceCommand {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        FenceCommand { script: Script { command, user: None, group: None }, timeout, retry: timeout }
    }

    fn shell(script: &str) -> FenceCommand {
        fence(&["/bin/sh", "-c", script, "fence"], Duration::from_secs(20))
    }

    fn victim() -> Victim {
        let epoch = |counter, node| {
            let node = NodeId::new(node).unwrap();
            Epoch { counter, incarnation: Incarnation(5), attempt: 1, node }
        };
        Victim {
            name: "n1".to_owned(),
            id: NodeId::new(1).unwrap(),
            domain: "WEB".to_owned(),
            epoch: epoch(8, 2),
            held: Some(epoch(7, 1)),
        }
    }

    #[test]
    fn the_exit_status_decides_and_the_victim_is_named_in_arguments_and_environment() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let words = "$1 $2 $3 $KEEPONE_VICTIM $KEEPONE_VICTIM_ID $KEEPONE_DOMAIN $KEEPONE_EPOCH $KEEPONE_VICTIM_EPOCH";
        run(&shell(&format!("echo {words} > {}", file.path().display())), &victim()).unwrap();
        let (epoch, held) = (victim().epoch, victim().held.unwrap());
        let told = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(told.trim(), format!("n1 WEB {epoch} n1 1 WEB {epoch} {held}"));
        assert_ne!(epoch.to_string(), held.to_string());
    }

    #[test]
    fn a_failure_names_the_command_and_how_it_ended() {
        let error = run(&shell("echo no such outlet >&2; exit 3"), &victim()).unwrap_err().to_string();
        assert_eq!(error, "the fence command /bin/sh failed: exit status: 3: no such outlet");
        let mut slow = shell("sleep 600");
        slow.timeout = Duration::from_millis(200);
        let error = run(&slow, &victim()).unwrap_err().to_string();
        assert_eq!(
            error,
            "the fence command /bin/sh failed: killed after 200ms: raise `timeout`, or find out what it waits for"
        );
    }
}
