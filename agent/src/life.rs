//! The scripts of the agent's own life: `startup_script`, before anything of it is there, and `shutdown_script`, when all
//! else has ended (keepalived.conf(5)).
//!
//! What must stay true: neither can hold the agent up for longer than its timeout, and how one ends changes nothing but
//! what is said: keepalived too starts whatever its startup script says.

use keepone_config::model::{Global, LifeScript};

use crate::script::{Failure, Run};
use crate::voice::say;

/// Runs the startup script, if there is one, for as long as `goes_on` says so; `false` if it did not.
pub(crate) fn startup(global: &Global, mut goes_on: impl FnMut() -> bool) -> bool {
    let mut stopped = false;
    if let Some(script) = &global.scripts.startup {
        let ended = run(global, script, || {
            stopped = !goes_on();
            !stopped
        });
        match ended {
            Err(_) if stopped => say(format_args!("told to stop before the startup_script had ended: it was killed")),
            Err(failure) => {
                say(format_args!("the startup_script failed, and the agent starts all the same: {failure}"))
            }
            Ok(()) => {}
        }
    }
    !stopped
}

/// Runs the shutdown script, if there is one.
pub(crate) fn shutdown(global: &Global) {
    if let Some(script) = &global.scripts.shutdown
        && let Err(failure) = run(global, script, || true)
    {
        say(format_args!("the shutdown_script failed: {failure}"));
    }
}

fn run(
    global: &Global,
    LifeScript { script, timeout }: &LifeScript,
    goes_on: impl FnMut() -> bool,
) -> Result<(), Failure> {
    let otherwise = &global.script_user;
    let run = Run { script, otherwise, arguments: &[], variables: &[], timeout: *timeout, is_heard: false };
    run.wait_while(goes_on)
}
