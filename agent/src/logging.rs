//! Logs, through a thread of its own: a stalled terminal or journal never holds up the decision loop (R15).

use std::io;
use std::sync::OnceLock;

use keepone_arbiter::log::{Flush, Lines};
use tracing_subscriber::EnvFilter;

/// Puts another filter in the place of the one that there is.
type Change = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// Of the process's log, once it has been started.
static CHANGE: OnceLock<Change> = OnceLock::new();

/// Logs to standard error; `KEEPONE_LOG` chooses what, `info` by default. What it returns is to be held until
/// the end of the process, so that the last lines are written. `None`: no thread could be had, nothing is logged.
#[must_use]
pub fn start() -> Option<Flush> {
    let (lines, flush) = Lines::to(io::stderr()).ok()?;
    let filter = EnvFilter::try_from_env("KEEPONE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_target(false)
        .with_writer(lines)
        .with_ansi(false)
        .with_env_filter(filter)
        .with_filter_reloading();
    let handle = builder.reload_handle();
    // A second call (tests) leaves the first in place.
    if builder.try_init().is_ok() {
        let change: Change = Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()));
        let _ = CHANGE.set(change);
    }
    Some(flush)
}

/// What is logged from now on, until the process ends: `error`, `warn`, `info`, `debug` or `trace`, or a list such as
/// `info,keepone_agent::net=debug`.
///
/// # Errors
/// It is none of these.
pub(crate) fn set(level: &str) -> Result<(), String> {
    let wrong = |why: String| {
        format!("{level} is no level: error, warn, info, debug, trace, or a list as info,MODULE=debug ({why})")
    };
    // A word that is no level would be taken for a module's name, and silence all else.
    let is_word = level.chars().all(|letter| letter.is_ascii_alphabetic());
    let known = ["error", "warn", "info", "debug", "trace", "off"];
    if is_word && !known.contains(&level) {
        return Err(wrong(String::from("not known")));
    }
    let filter = EnvFilter::builder().parse(level).map_err(|error| wrong(error.to_string()))?;
    CHANGE.get().ok_or_else(|| String::from("there is no log in this process"))?(filter)
}
