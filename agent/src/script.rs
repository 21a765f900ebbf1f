//! A program of the operator's, run to its end or to its timeout: notify scripts, tracked scripts, the fence command.
//!
//! What must stay true: at the timeout it dies with all that it has started; whatever it does, only the thread that
//! runs it waits; one that writes much is not held up, and what it said at first is kept for the evidence.

pub(crate) mod identity;
pub(crate) mod trust;

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use keepone_config::model::Script;
use keepone_proto::time::Instant;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, Uid};

use crate::clock;

/// How often a running program is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// How much of what it writes is kept.
const KEPT: usize = 1024;

/// Whom a script runs as that names nobody: user and group.
pub(crate) type User = Option<(String, Option<String>)>;

/// How a run ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It never ran.
    #[error("it can't be run: {0}: check its path, its permissions and its user")]
    NotRun(String),
    /// It ended, and not well.
    #[error("{status}{said}")]
    Ended {
        /// Exit status or signal.
        status: ExitStatus,
        /// What it wrote, if anything, after a colon.
        said: String,
    },
    /// It did not end in time, and was killed with all that it had started.
    #[error("killed after {timeout:?}{said}")]
    TimedOut {
        /// The configured time.
        timeout: Duration,
        /// What it wrote, if anything, after a colon.
        said: String,
    },
    /// Nothing can be said of it.
    #[error("it can't be waited for: {0}")]
    Lost(io::Error),
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) script: &'a Script,
    /// Whom it runs as if it names nobody.
    pub(crate) otherwise: &'a User,
    /// Behind the configured ones.
    pub(crate) arguments: &'a [&'a str],
    pub(crate) variables: &'a [(&'a str, &'a str)],
    pub(crate) timeout: Duration,
    /// Keep what it writes, and kill what it has left behind if it fails. A script that starts a daemon must have
    /// neither: the daemon outlives it, and writes where nobody reads.
    pub(crate) is_heard: bool,
}

impl Run<'_> {
    /// Runs it and waits.
    ///
    /// # Errors
    /// Unless it exits with 0 in time.
    pub(crate) fn wait(&self) -> Result<(), Failure> {
        self.wait_while(|| true)
    }

    /// The same, and as if the time were over once it is not to go on: asked every few milliseconds.
    ///
    /// # Errors
    /// Unless it exits with 0 in time.
    pub(crate) fn wait_while(&self, goes_on: impl FnMut() -> bool) -> Result<(), Failure> {
        let (mut child, mut said) = self.start()?;
        let ended = wait(&mut child, clock::now() + self.timeout, &mut said, goes_on);
        match &ended {
            Ok(Some(status)) if status.success() || !self.is_heard => {}
            Ok(_) | Err(_) => kill_group(&mut child),
        }
        said.read();
        match ended {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(Failure::Ended { status, said: said.words() }),
            Ok(None) => Err(Failure::TimedOut { timeout: self.timeout, said: said.words() }),
            Err(error) => Err(Failure::Lost(error)),
        }
    }

    fn start(&self) -> Result<(Child, Said), Failure> {
        let Some((program, fixed)) = self.script.command.split_first() else {
            return Err(Failure::NotRun("no program is named".to_owned()));
        };
        let not_run = |error: io::Error| Failure::NotRun(error.to_string());
        let mut command = Command::new(program);
        command.args(fixed).args(self.arguments).envs(self.variables.iter().copied());
        become_user(&mut command, self.script, self.otherwise.as_ref()).map_err(Failure::NotRun)?;
        // A group of its own: what it starts ends with it.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut reader = None;
        if self.is_heard {
            let (end, writer) = io::pipe().map_err(not_run)?;
            fcntl(end.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|error| not_run(error.into()))?;
            command.stderr(writer.try_clone().map_err(not_run)?).stdout(writer);
            reader = Some(end);
        }
        let child = command.spawn().map_err(not_run)?;
        Ok((child, Said { reader, text: Vec::new() }))
    }
}

/// Makes `command` run as the script's user and group, or as `otherwise` where it names none.
///
/// # Errors
/// The name that does not exist, or that others could change what would run as root; with the remedy.
pub(crate) fn become_user(
    command: &mut Command,
    script: &Script,
    otherwise: Option<&(String, Option<String>)>,
) -> Result<(), String> {
    let named = match (&script.user, otherwise) {
        (Some(name), _) => Some((name, &script.group)),
        (None, Some((name, group))) => Some((name, group)),
        (None, None) => None,
    };
    let mut is_root = true;
    if let Some((name, group)) = named {
        let (uid, gid) = user_and_group(name, group.as_deref())?;
        identity::assume(command, name, uid, gid)?;
        is_root = uid.is_root();
    }
    if is_root { trust::check(script.command.first().map_or("", String::as_str)) } else { Ok(()) }
}

/// The numbers of a user and a group, or of the user's own.
///
/// # Errors
/// The name that does not exist, with the remedy.
pub(crate) fn user_and_group(name: &str, group: Option<&str>) -> Result<(Uid, Gid), String> {
    let lookup = |what: &str, name: &str| format!("there is no {what} {name}: create it, or change the configuration");
    let user = nix::unistd::User::from_name(name).ok().flatten().ok_or_else(|| lookup("user", name))?;
    let gid = match group {
        Some(group) => {
            let found = nix::unistd::Group::from_name(group).ok().flatten();
            found.ok_or_else(|| lookup("group", group))?.gid
        }
        None => user.gid,
    };
    Ok((user.uid, gid))
}

/// `None`: it still runs at `until`.
fn wait(
    child: &mut Child,
    until: Instant,
    said: &mut Said,
    mut goes_on: impl FnMut() -> bool,
) -> io::Result<Option<ExitStatus>> {
    loop {
        // Who writes much must not wait for a reader.
        said.read();
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if clock::now() >= until || !goes_on() {
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

/// What a failed program has left behind must not go on after it was judged.
fn kill_group(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let _ = child.wait();
}

/// The beginning of what a program writes.
struct Said {
    reader: Option<PipeReader>,
    text: Vec<u8>,
}

impl Said {
    fn read(&mut self) {
        let Some(reader) = &mut self.reader else { return };
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut bytes) {
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

    fn shell(script: &str) -> Script {
        let command = ["/bin/sh", "-c", script, "script"].map(str::to_owned).to_vec();
        Script { command, user: None, group: None }
    }

    const LONG: Duration = Duration::from_secs(20);

    fn run(script: &Script, arguments: &[&str], variables: &[(&str, &str)], timeout: Duration) -> Result<(), Failure> {
        Run { script, otherwise: &None, arguments, variables, timeout, is_heard: true }.wait()
    }

    #[test]
    fn the_exit_status_decides_with_arguments_and_variables() {
        let script = shell(r#"test "$1 $WORD" = "one two""#);
        run(&script, &["one"], &[("WORD", "two")], LONG).unwrap();
        let error = run(&script, &["one"], &[], LONG).unwrap_err().to_string();
        assert_eq!(error, "exit status: 1");
    }

    #[test]
    fn a_failure_says_the_status_and_what_the_program_said() {
        let error = run(&shell("echo no such outlet >&2; exit 3"), &[], &[], LONG).unwrap_err().to_string();
        assert_eq!(error, "exit status: 3: no such outlet");
        let error = run(&shell("kill -9 $$"), &[], &[], LONG).unwrap_err().to_string();
        assert!(error.contains("signal: 9"), "{error}");
    }

    #[test]
    fn what_can_not_be_run_is_a_failure_with_the_remedy() {
        let named = |command: &str, user: Option<&str>| {
            let script = Script { command: vec![command.to_owned()], user: user.map(str::to_owned), group: None };
            let error = run(&script, &[], &[], LONG).unwrap_err();
            assert!(matches!(error, Failure::NotRun(_)), "{error:?}");
            error.to_string()
        };
        let error = named("/nowhere/check", None);
        assert!(error.contains("No such file") && error.contains("check its path"), "{error}");
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = named(file.path().to_str().unwrap(), None);
        assert!(error.contains("Permission denied") && error.contains("permissions"), "{error}");
        let error = named("/bin/true", Some("nobody-of-this-name"));
        assert!(error.contains("there is no user nobody-of-this-name: create it"), "{error}");
    }

    #[test]
    fn at_the_timeout_the_program_dies_with_all_that_it_started() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        let slow = shell(&format!("sleep 600 & echo $! > {path}; wait"));
        let begin = clock::now();
        let error = run(&slow, &[], &[], Duration::from_secs(1)).unwrap_err();
        assert!(matches!(error, Failure::TimedOut { .. }), "{error}");
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
    fn what_a_script_that_is_not_heard_has_started_outlives_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display();
        let script = shell(&format!("(sleep 0.5; echo still here; echo yes > {path}) & exit 1"));
        let run =
            Run { script: &script, otherwise: &None, arguments: &[], variables: &[], timeout: LONG, is_heard: false };
        run.wait().unwrap_err();
        let lives = (0..500).any(|_| {
            thread::sleep(Duration::from_millis(10));
            std::fs::read_to_string(file.path()).unwrap() == "yes\n"
        });
        assert!(lives);
    }

    #[test]
    fn a_program_that_writes_much_is_not_held_up() {
        run(&shell("head -c 1000000 /dev/zero"), &[], &[], LONG).unwrap();
    }
}
