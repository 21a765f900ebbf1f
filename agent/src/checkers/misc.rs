//! `MISC_CHECK`: up while a command says so by its exit code.
//!
//! 0 is a success, and 1 a failure. From 2 on it is a failure too, unless it is dynamic: then the weight is that minus 2.
//! What must stay true: at the timeout it dies with all that it has started.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use keepone_config::model::Script;
use keepone_proto::balance::checker::Outcome;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;

use crate::script::{User, become_user};

pub(super) async fn probe(script: &Script, otherwise: &User, timeout: Duration, dynamic: bool) -> Outcome {
    match run(script, otherwise, timeout).await {
        Ok(status) => judge(status, dynamic),
        Err(fault) => Outcome::Failed(fault),
    }
}

fn judge(status: ExitStatus, dynamic: bool) -> Outcome {
    match status.code() {
        Some(0) => Outcome::Passed,
        Some(code @ 2..=255) if dynamic => Outcome::Weight(u32::try_from(code - 2).unwrap_or(0)),
        _ => Outcome::Failed(status.to_string()),
    }
}

async fn run(script: &Script, otherwise: &User, timeout: Duration) -> Result<ExitStatus, String> {
    let ran = async {
        // The user is looked up and the program read from a disk, either of which may hang: not where all checks run.
        let (script, otherwise) = (script.clone(), otherwise.clone());
        let started = tokio::task::spawn_blocking(move || start(&script, &otherwise)).await;
        let (group, mut child) = started.map_err(|error| format!("it can't be started: {error}"))??;
        let status = child.wait().await.map_err(|error| format!("it can't be waited for: {error}"))?;
        if status.success() {
            std::mem::forget(group);
        }
        Ok(status)
    };
    tokio::time::timeout(timeout, ran).await.unwrap_or_else(|_elapsed| Err(format!("killed after {timeout:?}")))
}

fn start(script: &Script, otherwise: &User) -> Result<(Group, Child), String> {
    let (program, fixed) = script.command.split_first().ok_or_else(|| String::from("no program is named"))?;
    let mut command = Command::new(program);
    command.args(fixed);
    become_user(&mut command, script, otherwise.as_ref())?;
    // A group of its own: what it starts ends with it.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    let not_run = |error| format!("it can't be run: {error}: check its path, its permissions and its user");
    let child = command.spawn().map_err(not_run)?;
    // Also when nobody waits any more.
    let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    Ok((group, child))
}

/// Kills what a command that did not do well has started, and the command.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn an_exit_code_is_a_verdict_or_a_weight() {
        let of = |code: i32, dynamic| judge(ExitStatus::from_raw(code << 8), dynamic);
        assert_eq!((of(0, false), of(0, true)), (Outcome::Passed, Outcome::Passed));
        assert_eq!(of(1, true), Outcome::Failed(String::from("exit status: 1")));
        assert_eq!(of(2, false), Outcome::Failed(String::from("exit status: 2")));
        assert_eq!((of(2, true), of(255, true)), (Outcome::Weight(0), Outcome::Weight(253)));
        assert!(matches!(judge(ExitStatus::from_raw(9), true), Outcome::Failed(_)), "killed");
    }
}
