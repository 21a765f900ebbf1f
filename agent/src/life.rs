//! The scripts of the agent's own life: `startup_script`, before anything of it is there, and `shutdown_script`, when all
//! else has ended (keepalived.conf(5)).
//!
//! What must stay true: neither can hold the agent up for longer than its timeout, and how one ends changes nothing but
//! what is said: keepalived too starts whatever its startup script says.

use keepone_config::model::{Global, LifeScript};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;

use crate::script::{Failure, Run};
use crate::voice::say;

/// What came meanwhile.
#[derive(Debug)]
pub(crate) struct Started {
    /// The guardian was not told to stop.
    pub(crate) goes_on: bool,
    /// It was told to reload.
    pub(crate) hangup: bool,
}

/// Runs the startup script, if there is one, to its end, or until a signal says that all is to stop; `feed` is called every
/// few milliseconds.
pub(crate) fn startup(global: &Global, signals: &SignalFd, mut feed: impl FnMut()) -> Started {
    let mut started = Started { goes_on: true, hangup: false };
    let Some(script) = &global.scripts.startup else { return started };
    let ended = run(global, script, || {
        feed();
        while let Ok(Some(signal)) = signals.read_signal() {
            match i32::try_from(signal.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()) {
                Some(Signal::SIGTERM | Signal::SIGINT) => started.goes_on = false,
                Some(Signal::SIGHUP) => started.hangup = true,
                Some(_) | None => {}
            }
        }
        started.goes_on
    });
    match ended {
        Err(_) if !started.goes_on => {
            say(format_args!("told to stop before the startup_script had ended: it was killed"))
        }
        Err(failure) => say(format_args!("the startup_script failed, and the agent starts all the same: {failure}")),
        Ok(()) => {}
    }
    started
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
