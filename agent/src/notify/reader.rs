//! The program that reads a FIFO: started with it, started again when it ends, stopped with the agent.
//!
//! What must stay true: of two lives of the agent no two readers take lines from one FIFO. A reader ends with the
//! worker that started it, whatever ends that: it is started through the agent's own program, which first asks the
//! kernel for that (PR_SET_PDEATHSIG is gone once the user changes, and is safe to ask for only in the process itself).

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use keepone_config::model::Script;
use keepone_proto::time::Instant;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getppid};

use crate::clock;
use crate::script::{User, become_user};

/// One that lives longer counts as a good one, and the next is started at once.
const GOOD_LIFE: Duration = Duration::from_secs(10);
/// The longest wait before a new start; keepalived's too.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// So long a reader may take to end after the last line, and again after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a reader is run.
#[derive(Debug)]
pub(super) struct Reader {
    script: Script,
    otherwise: User,
    path: PathBuf,
    child: Option<(Child, Instant)>,
    failures: u32,
    next_at: Instant,
}

impl Reader {
    pub(super) fn new(script: Script, otherwise: User, path: PathBuf) -> Self {
        Reader { script, otherwise, path, child: None, failures: 0, next_at: clock::now() }
    }

    /// Starts it, if it is time for that; says how it ended.
    pub(super) fn look_after(&mut self) {
        let now = clock::now();
        if let Some((child, since)) = &mut self.child {
            let Ok(ended) = child.try_wait() else { return };
            let Some(status) = ended else { return };
            self.failures = if now.since(*since) < GOOD_LIFE { self.failures.saturating_add(1) } else { 0 };
            self.child = None;
            self.ended(Ok(status), now);
        }
        if now >= self.next_at {
            match self.start() {
                Ok(child) => self.child = Some((child, now)),
                Err(error) => {
                    self.failures = self.failures.saturating_add(1);
                    self.ended(Err(error), now);
                }
            }
        }
    }

    fn ended(&mut self, how: Result<ExitStatus, String>, now: Instant) {
        let wait = wait(self.failures);
        self.next_at = now + wait;
        let (program, path) = (self.program(), self.path.display());
        match how {
            Ok(status) => {
                tracing::warn!(program, "the reader of {path} ended ({status}): it is started again in {wait:?}")
            }
            Err(error) => {
                tracing::error!(program, "the reader of {path} can't be run: {error}; it is tried again in {wait:?}")
            }
        }
    }

    fn program(&self) -> &str {
        self.script.command.first().map_or("", String::as_str)
    }

    fn start(&self) -> Result<Child, String> {
        let mut command = Command::new("/proc/self/exe");
        command.arg("reader").arg(std::process::id().to_string()).arg("--").args(&self.script.command).arg(&self.path);
        become_user(&mut command, &self.script, self.otherwise.as_ref())?;
        // A group of its own: what it starts ends with it.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.spawn().map_err(|error| format!("{error}: check its path, its permissions and its user"))
    }

    /// After the last line: it may end by itself, is then asked to, and then made to.
    pub(super) fn stop(&mut self) {
        let Some((mut child, _)) = self.child.take() else { return };
        let group = i32::try_from(child.id()).ok().map(Pid::from_raw);
        for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
            if let Some((signal, group)) = signal.zip(group) {
                let _ = killpg(group, signal).or_else(|_| kill(group, signal));
            }
            let until = clock::now() + PATIENCE;
            while clock::now() < until {
                if !matches!(child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(super::LOOK);
            }
        }
    }
}

/// The first time at once.
fn wait(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => Duration::from_secs(1 << (more - 2).min(6)).min(LONGEST_WAIT),
    }
}

/// Becomes the program, to end with the process `parent`; returns only if that fails.
pub fn run(parent: u32, command: &[String]) -> String {
    let Some((program, arguments)) = command.split_first() else { return "no program is named".to_owned() };
    if let Err(error) = nix::sys::prctl::set_pdeathsig(Signal::SIGTERM) {
        return format!("prctl: {error}");
    }
    if u32::try_from(getppid().as_raw()) != Ok(parent) {
        return "the agent has gone".to_owned();
    }
    Command::new(program).args(arguments).exec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_keeps_ending_is_started_ever_more_rarely() {
        let waits: Vec<u64> = (0..12).map(|failures| wait(failures).as_secs()).collect();
        assert_eq!(waits, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    }
}
