//! One notify script, run to its end or to its timeout; how it fails is logged.

use std::time::Duration;

use keepone_config::model::Script;

use crate::script::{Failure, Run, User};

/// Who runs scripts that name nobody, and for how long they may run.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// `script_user`.
    pub(crate) user: User,
    /// `script_timeout`.
    pub(crate) timeout: Duration,
}

/// Runs a script with further arguments and variables, and waits for it.
pub(super) fn run(script: &Script, rules: &Rules, arguments: &[&str], variables: &[(&str, &str)]) {
    let program = script.command.first().map_or("", String::as_str);
    let (otherwise, timeout) = (&rules.user, rules.timeout);
    let run = Run { script, otherwise, arguments, variables, timeout, is_heard: false };
    match run.wait() {
        Ok(()) => {}
        Err(failure @ Failure::Ended { .. }) => tracing::warn!(program, "notify script failed: {failure}"),
        Err(failure) => tracing::error!(program, "notify script failed: {failure}"),
    }
}
