//! How a run ends: one code for each kind of trouble, so that a service manager and a script can tell them
//! apart.

use std::fmt;

/// Exit codes of `keepone`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Something that should not happen.
    Unexpected = 1,
    /// The command line is wrong (clap's own code).
    Usage = 2,
    /// The configuration can't be read.
    Unreadable = 10,
    /// The configuration is wrong.
    Invalid = 11,
    /// An interface that it names does not exist.
    NoInterface = 12,
    /// An address or port is in use.
    InUse = 13,
    /// The key file is missing, unusable, or not the member's.
    Key = 14,
    /// A capability is missing.
    NotPermitted = 15,
    /// The kernel can't make the gate that was asked for.
    NoGate = 16,
    /// Another keepone runs with the same run directory, or the worker of a former run still does.
    Running = 17,
    /// The state or run directory can't be used.
    Directory = 18,
    /// The configured watchdog can't be used.
    NoWatchdog = 19,
    /// Two configurations differ (`check --diff`), or a host is not as a real server needs it (`realserver check`).
    Differs = 20,
    /// The domain is not held here (`epoch`).
    NotHeld = 21,
    /// No agent answers at the control socket.
    NoAgent = 22,
    /// Something of this machine does not work (`doctor`).
    Faults = 23,
}

impl ExitCode {
    /// Whether a worker that ended so is not tried again, since the operator must mend something first. A
    /// former worker that is still there ends by itself, mostly.
    pub fn is_for_the_operator(code: i32) -> bool {
        let operator = (10..=19).contains(&code) || code == ExitCode::Usage as i32;
        operator && code != ExitCode::Running as i32
    }
}

/// A failure that ends the run, with its code.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub code: ExitCode,
    /// What was found, what was wanted, and the remedy.
    pub message: String,
}

impl Failure {
    /// With the words of an error and of its causes.
    pub fn new(code: ExitCode, error: &dyn std::error::Error) -> Self {
        Failure { code, message: chain(error) }
    }

    /// With words of our own.
    pub fn say(code: ExitCode, message: impl Into<String>) -> Self {
        Failure { code, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The words of an error and of its causes, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !message.contains(&words) {
            message = format!("{message}: {words}");
        }
        cause = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_former_worker_that_is_still_there_is_waited_for_and_a_wrong_configuration_is_not() {
        assert!(!ExitCode::is_for_the_operator(ExitCode::Running as i32));
        assert!(!ExitCode::is_for_the_operator(ExitCode::Unexpected as i32));
        for code in [ExitCode::Usage, ExitCode::Invalid, ExitCode::NoGate, ExitCode::Directory] {
            assert!(ExitCode::is_for_the_operator(code as i32), "{code:?}");
        }
    }
}
