//! `keepone top`: a live view in the terminal.
//!
//! ```text
//! look.rs: asks the agent and reads the event log, on a thread of its own ── Look ──┐
//! terminal.rs: keys, signals, the terminal as it was ── state.rs: what is chosen ───┴── view.rs: draws
//! ```
//!
//! What must stay true: the picture is a function of a look, of what is chosen and of the size; nothing that waits for the
//! agent keeps a key waiting; the terminal is as it was, however the command ends.

mod look;
mod panes;
mod state;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

use std::io::IsTerminal as _;
use std::time::Duration;

use keepone_agent::exit::{ExitCode as Code, Failure};

use super::{Agent, is_colourful};

/// Shows it until the operator has seen enough.
pub(super) fn run(agent: Agent, interval: Duration) -> Result<u8, Failure> {
    let dumb = std::env::var_os("TERM").is_none_or(|kind| kind.is_empty() || kind == "dumb");
    if dumb || !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        let words = "`keepone top` wants a terminal that it can draw on; `keepone status` and `keepone servers` print the \
                     same once, `keepone events --follow` what comes";
        return Err(Failure::say(Code::Usage, words));
    }
    // Who may not ask, or names the wrong directory, is told before the screen is taken.
    agent.ask(&keepone_arbiter::control::Request::new("status"))?;
    terminal::show(agent, interval, is_colourful()).map_err(|error| {
        Failure::say(Code::Unexpected, format!("the terminal can't be used: {error}; `keepone status` needs none"))
    })?;
    Ok(0)
}
