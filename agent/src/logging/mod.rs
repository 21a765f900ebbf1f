//! Logs, through a thread of its own: a stalled terminal, journal or disk never holds up the decision loop (R15).
//!
//! - [`shape`]: what an event looks like: a line of text, an entry of the journal, a line of syslog
//! - [`sink`]: where it goes
//!
//! What must stay true: who logs only formats and queues; sockets and files are the thread's.

mod shape;
pub mod sink;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use keepone_arbiter::log::{Flush, Lines};
use tracing_subscriber::EnvFilter;

use shape::Shape;
use sink::{FileSink, Journal, Stderr, Syslog};

/// Where the worker logs, in its environment: as [`To::parse`] reads it.
pub const LOG_TO: &str = "KEEPONE_LOG_TO";

/// Puts another filter in the place of the one that there is.
type Change = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// Of the process's log, once it has been started.
static CHANGE: OnceLock<Change> = OnceLock::new();

/// Where logs go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// Standard error, as text.
    Stderr,
    /// The journal of systemd, with fields.
    Journal,
    /// syslog's socket, with this facility (RFC 3164, 4.1.1).
    Syslog(u8),
    /// A file, which is opened anew when another has its name.
    File(PathBuf),
}

impl To {
    /// `stderr`, `journal`, `syslog`, `syslog:FACILITY` (`daemon`, `user`, `local0` to `local7`, `0` to `7` for the same),
    /// or `file:PATH`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':').unwrap_or((text, "daemon")) {
            ("stderr", _) => Some(To::Stderr),
            ("journal", _) => Some(To::Journal),
            ("syslog", facility) => sink::facility(facility).map(To::Syslog),
            ("file", path) if text.contains(':') && !path.is_empty() => Some(To::File(path.into())),
            _ => None,
        }
    }

    /// As [`To::parse`] reads it.
    pub fn words(&self) -> OsString {
        match self {
            To::Stderr => "stderr".into(),
            To::Journal => "journal".into(),
            To::Syslog(facility @ 16..) => format!("syslog:local{}", facility - 16).into(),
            To::Syslog(1) => "syslog:user".into(),
            To::Syslog(_) => "syslog:daemon".into(),
            To::File(path) => {
                let mut words = OsString::from("file:");
                words.push(path);
                words
            }
        }
    }

    /// What the environment says; without a word the journal, if standard error leads there.
    fn of_environment() -> Self {
        let said = std::env::var(LOG_TO).ok().and_then(|text| To::parse(&text));
        said.unwrap_or_else(|| if sink::stderr_is_journal() { To::Journal } else { To::Stderr })
    }
}

/// Logs where [`LOG_TO`] says; `KEEPONE_LOG` chooses what, `info` by default. What it returns is to be held until
/// the end of the process, so that the last lines are written. `None`: no thread could be had, nothing is logged.
#[must_use]
pub fn start() -> Option<Flush> {
    let (shape, lines) = match To::of_environment() {
        To::Stderr => (Shape::Text, Lines::to(Stderr)),
        To::Journal => (Shape::Journal, Lines::to(Journal::default())),
        To::Syslog(facility) => (Shape::Syslog(facility), Lines::to(Syslog::default())),
        To::File(path) => (Shape::Text, Lines::to(FileSink::new(path))),
    };
    let (lines, flush) = lines.ok()?;
    let lines = lines.tell_lost(move |lost| shape.lost(lost));
    let filter = EnvFilter::try_from_env("KEEPONE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .event_format(shape)
        .with_writer(lines)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_names() {
        let syslog = |facility| Some(To::Syslog(facility));
        for (text, to) in [
            ("stderr", Some(To::Stderr)),
            ("journal", Some(To::Journal)),
            ("syslog", syslog(3)),
            ("syslog:user", syslog(1)),
            ("syslog:local0", syslog(16)),
            ("syslog:7", syslog(23)),
            ("syslog:8", None),
            ("file:/x:y", Some(To::File("/x:y".into()))),
            ("file:", None),
            ("file", None),
            ("elsewhere", None),
        ] {
            assert_eq!(To::parse(text), to, "{text}");
            let again = to.as_ref().and_then(|to| To::parse(to.words().to_str()?));
            assert_eq!(again, to, "{text}");
        }
    }
}
