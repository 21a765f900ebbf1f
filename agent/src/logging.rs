//! Logs, through a thread of its own: a stalled terminal or journal never holds up the decision loop (R15).

use std::io;

use keepone_arbiter::log::{Flush, Lines};
use tracing_subscriber::EnvFilter;

/// Logs to standard error; `KEEPONE_LOG` chooses what, `info` by default. What it returns is to be held until
/// the end of the process, so that the last lines are written. `None`: no thread could be had, nothing is logged.
#[must_use]
pub fn start() -> Option<Flush> {
    let (lines, flush) = Lines::to(io::stderr()).ok()?;
    let filter = EnvFilter::try_from_env("KEEPONE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A second call (tests) leaves the first in place.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(lines)
        .with_ansi(false)
        .try_init();
    Some(flush)
}
