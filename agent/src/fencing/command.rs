//! One run of the fence command: its exit status decides, and at the timeout its whole process group dies.
//!
//! Arguments, after the configured ones: the victim's name, the domain's name, the epoch of the new lease. The
//! environment says the same, and more: `KEEPONE_VICTIM`, `KEEPONE_VICTIM_ID`, `KEEPONE_DOMAIN`,
//! `KEEPONE_EPOCH`, `KEEPONE_VICTIM_EPOCH` (only where it is known).

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use keepone_config::model::FenceCommand;
use keepone_proto::id::{Epoch, NodeId};
use keepone_proto::time::Instant;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::clock;
use crate::notify::run::become_user;

/// How often a running command is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// How much of what it writes is kept for the evidence.
const KEPT: usize = 1024;

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
pub enum FenceError {
    /// It never ran.
    #[error("the fence command {program} can't be run: {why}: check its path, its permissions and its user")]
    NotRun {
        /// The program.
        program: String,
        /// The kernel's answer, or the name that is not there.
        why: String,
    },
    /// It ended, and not well.
    #[error("the fence command {program} failed ({status}){said}")]
    Failed {
        /// The program.
        program: String,
        /// Exit status or signal.
        status: ExitStatus,
        /// What it wrote, if anything, after a colon.
        said: String,
    },
    /// It did not end in time, and was killed with all that it had started.
    #[error(
        "the fence command {program} was killed after {timeout:?}{said}: raise `timeout`, or find out what it waits for"
    )]
    TimedOut {
        /// The program.
        program: String,
        /// The configured time.
        timeout: Duration,
        /// What it wrote, if anything, after a colon.
        said: String,
    },
    /// Nothing can be said of it.
    #[error("the fence command {program} can't be waited for: {source}")]
    Lost {
        /// The program.
        program: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Runs it to its end.
///
/// # Errors
/// Unless it exits with 0 within its timeout.
pub fn run(fence: &FenceCommand, victim: &Victim) -> Result<(), FenceError> {
    let program = fence.script.command.first().cloned().unwrap_or_default();
    let not_run = |why: String| FenceError::NotRun { program: program.clone(), why };
    let (reader, writer) = io::pipe().map_err(|error| not_run(error.to_string()))?;
    fcntl(reader.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|error| not_run(error.to_string()))?;
    let copy = writer.try_clone().map_err(|error| not_run(error.to_string()))?;
    let mut command = Command::new(&program);
    command.args(fence.script.command.iter().skip(1)).args([&victim.name, &victim.domain, &victim.epoch.to_string()]);
    command.env("KEEPONE_VICTIM", &victim.name).env("KEEPONE_VICTIM_ID", victim.id.to_string());
    command.env("KEEPONE_DOMAIN", &victim.domain).env("KEEPONE_EPOCH", victim.epoch.to_string());
    if let Some(held) = victim.held {
        command.env("KEEPONE_VICTIM_EPOCH", held.to_string());
    }
    become_user(&mut command, &fence.script, None).map_err(&not_run)?;
    command.stdin(Stdio::null()).stdout(writer).stderr(copy).process_group(0);
    let mut child = command.spawn().map_err(|error| not_run(error.to_string()))?;
    // Only the command's own ends are left open, so that its end is the pipe's.
    drop(command);
    let mut said = Said { reader, text: Vec::new() };
    let begin = clock::now();
    let ended = wait(&mut child, begin + fence.timeout, &mut said);
    if !matches!(ended, Ok(Some(status)) if status.success()) {
        kill_group(&mut child);
    }
    said.read();
    match ended {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(FenceError::Failed { program, status, said: said.words() }),
        Ok(None) => Err(FenceError::TimedOut { program, timeout: fence.timeout, said: said.words() }),
        Err(source) => Err(FenceError::Lost { program, source }),
    }
}

/// `None`: it still runs at `until`.
fn wait(child: &mut Child, until: Instant, said: &mut Said) -> io::Result<Option<ExitStatus>> {
    loop {
        // Who writes much must not wait for a reader.
        said.read();
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if clock::now() >= until {
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

/// What a failed command has left behind must not go on shooting after it was judged.
fn kill_group(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let _ = child.wait();
}

/// The beginning of what a command writes.
struct Said {
    reader: PipeReader,
    text: Vec<u8>,
}

impl Said {
    fn read(&mut self) {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = self.reader.read(&mut bytes) {
            let room = KEPT.saturating_sub(self.text.len());
            self.text.extend(bytes.iter().take(count.min(room)));
        }
    }

    /// In one line, after a colon.
    fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() { text } else { format!(": {text}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepone_config::model::Script;
    use keepone_proto::id::Incarnation;

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
    fn a_failure_says_the_status_and_what_the_command_said() {
        let error = run(&shell("echo no such outlet >&2; exit 3"), &victim()).unwrap_err().to_string();
        assert_eq!(error, "the fence command /bin/sh failed (exit status: 3): no such outlet");
        let error = run(&shell("kill -9 $$"), &victim()).unwrap_err().to_string();
        assert!(error.contains("signal: 9"), "{error}");
    }

    #[test]
    fn what_can_not_be_run_is_named_with_the_remedy() {
        let error = run(&fence(&["/nowhere/fence"], Duration::from_secs(1)), &victim()).unwrap_err();
        assert!(matches!(error, FenceError::NotRun { .. }));
        let error = error.to_string();
        assert!(error.contains("/nowhere/fence") && error.contains("check its path"), "{error}");
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let error = run(&fence(&[path], Duration::from_secs(1)), &victim()).unwrap_err().to_string();
        assert!(error.contains("Permission denied") && error.contains("permissions"), "{error}");
    }

    #[test]
    fn at_the_timeout_the_command_dies_with_all_that_it_started() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        let mut slow = shell(&format!("sleep 600 & echo $! > {path}; wait"));
        slow.timeout = Duration::from_secs(1);
        let begin = clock::now();
        let error = run(&slow, &victim()).unwrap_err();
        assert!(matches!(error, FenceError::TimedOut { .. }), "{error}");
        // Wide: a busy machine may be late, but not by the ten minutes that it would have taken.
        assert!(clock::now().since(begin) < Duration::from_secs(60));
        let started: u32 = std::fs::read_to_string(&path).unwrap().trim().parse().unwrap();
        let gone = (0..500).any(|_| {
            // An orphan is a zombie until whoever adopted it has waited.
            let state = std::fs::read_to_string(format!("/proc/{started}/stat")).unwrap_or_default();
            let gone = state.is_empty() || state.contains(") Z ");
            thread::sleep(Duration::from_millis(10));
            gone
        });
        assert!(gone, "process {started} is still there");
    }

    #[test]
    fn a_command_that_writes_much_is_not_held_up() {
        run(&shell("head -c 1000000 /dev/zero"), &victim()).unwrap();
    }
}
