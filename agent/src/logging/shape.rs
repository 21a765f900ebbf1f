//! What an event of the log looks like.
//!
//! Fields whose names begin with `keepone.` repeat what the message says in words: they are for the journal alone.
//! Whatever comes in is one line: nothing that a peer sends can look like a second one.

use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::{calendar, wall_clock};

/// Of the fields that the message has in words already.
const FOR_THE_JOURNAL: &str = "keepone.";
/// Bytes of a value at most: a datagram takes less than 200 KiB.
const LONGEST: usize = 16 * 1024;
/// Fields of an entry at most.
const MOST: usize = 32;
/// What the logs call this program.
const IDENTIFIER: &str = "keepone";

/// Which.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// Time, level, message.
    Text,
    /// The journal's native protocol: `FIELD=value`, a line each.
    Journal,
    /// RFC 3164, with a facility.
    Syslog(u8),
}

/// What an event says.
#[derive(Debug, Default)]
struct Said {
    message: String,
    /// Other fields, as they follow it.
    more: String,
    fields: Vec<(String, String)>,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
        } else {
            self.put(field.name(), value.to_owned(), format_args!("{value:?}"));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.put(field.name(), format!("{value:?}"), format_args!("{value:?}"));
        }
    }
}

impl Said {
    fn put(&mut self, name: &str, value: String, shown: fmt::Arguments<'_>) {
        let name = match name.strip_prefix(FOR_THE_JOURNAL) {
            Some(name) => name,
            None => {
                let _ = write!(self.more, " {name}={shown}");
                name
            }
        };
        if self.fields.len() < MOST {
            self.fields.push((name.to_owned(), value));
        }
    }
}

impl Shape {
    /// What is said of lines that found no room.
    pub(super) fn lost(self, lost: u64) -> String {
        let words = format!("{lost} log lines were lost: the reader of the log was too slow");
        match self {
            Shape::Text => format!("{words}\n"),
            Shape::Journal | Shape::Syslog(_) => {
                self.entry(Level::WARN, "", &Said { message: words, ..Said::default() })
            }
        }
    }

    fn entry(self, level: Level, module: &str, said: &Said) -> String {
        let Said { message, more, fields } = said;
        match self {
            Shape::Text => {
                let time = calendar::format(wall_clock::utc());
                format!("{time} {level:>5} {}{}\n", visible(message, true), visible(more, true))
            }
            Shape::Syslog(facility) => {
                let number = u16::from(facility) * 8 + u16::from(severity(level));
                let (stamp, pid) = (stamp(), std::process::id());
                format!("<{number}>{stamp} {IDENTIFIER}[{pid}]: {}", cut(&visible(&format!("{message}{more}"), false)))
            }
            Shape::Journal => {
                let mut entry = format!("PRIORITY={}\nSYSLOG_IDENTIFIER={IDENTIFIER}\n", severity(level));
                if !module.is_empty() {
                    let _ = writeln!(entry, "KEEPONE_MODULE={module}");
                }
                for (name, value) in fields {
                    let _ = writeln!(entry, "KEEPONE_{}={}", key(name), cut(&visible(value, false)));
                }
                let _ = writeln!(entry, "MESSAGE={}", cut(&visible(&format!("{message}{more}"), false)));
                entry
            }
        }
    }
}

impl<S, N> FormatEvent<S, N> for Shape
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        writer.write_str(&self.entry(*event.metadata().level(), event.metadata().target(), &said))
    }
}

/// RFC 5424, table 2.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Letters that the journal takes in a field's name (systemd.journal-fields(7)).
fn key(name: &str) -> String {
    let one = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
    name.chars().take(48).map(one).collect()
}

/// Control characters by their escapes; a diagnostic of the configuration has several lines, which a text log shows.
fn visible(text: &str, lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            // Indented, so that it does not look like an event of its own.
            '\n' if lines => out.push_str("\n    "),
            _ if letter.is_control() => out.extend(letter.escape_default()),
            _ => out.push(letter),
        }
    }
    out
}

fn cut(text: &str) -> &str {
    // Some letters are of several octets, four at most.
    (0..4).find_map(|less| text.get(..LONGEST - less)).unwrap_or(text)
}

/// `Nov 26 21:04:05`, in UTC: whoever takes the line knows better what time it is.
fn stamp() -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = calendar::format(wall_clock::utc());
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().ok().and_then(|number| MONTHS.get(number.checked_sub(1)?));
    let day = part(8, 10).parse::<u8>().unwrap_or(1);
    format!("{} {day:>2} {}", month.copied().unwrap_or("Jan"), part(11, 19))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str) -> Said {
        let mut said = Said { message: message.to_owned(), ..Said::default() };
        said.put("keepone.domain", "VI_1".into(), format_args!("VI_1"));
        said.put("error", "no\x1b[31m room".into(), format_args!("no\x1b[31m room"));
        said
    }

    #[test]
    fn text_has_what_the_message_says_and_no_more() {
        let line = Shape::Text.entry(Level::WARN, "m", &said("it fails"));
        assert!(line.ends_with("Z  WARN it fails error=no\\u{1b}[31m room\n"), "{line}");
        let line = Shape::Text.entry(Level::INFO, "m", &said("a\n2026-01-01T00:00:00.000Z  INFO forged"));
        assert!(line.lines().skip(1).all(|line| line.starts_with("    ")), "an event of its own: {line}");
    }

    #[test]
    fn the_journal_has_fields_each_on_a_line_of_its_own() {
        let entry = Shape::Journal.entry(Level::ERROR, "a::b", &said("x\nPRIORITY=0"));
        let lines: Vec<&str> = entry.lines().collect();
        let wanted = [
            "PRIORITY=3",
            "SYSLOG_IDENTIFIER=keepone",
            "KEEPONE_MODULE=a::b",
            "KEEPONE_DOMAIN=VI_1",
            "KEEPONE_ERROR=no\\u{1b}[31m room",
            "MESSAGE=x\\nPRIORITY=0 error=no\\u{1b}[31m room",
        ];
        assert_eq!(lines, wanted, "what is said can forge no field");
        let long = Shape::Journal.entry(Level::INFO, "", &said(&"ä".repeat(LONGEST)));
        assert!(long.len() < LONGEST + 300, "{}", long.len());
    }

    #[test]
    fn syslog_has_facility_and_severity_in_one_number() {
        let line = Shape::Syslog(16).entry(Level::INFO, "", &said("it runs"));
        assert!(line.starts_with("<134>"), "{line}");
        let stamp = line.get(5..20).unwrap();
        assert!(stamp.as_bytes().get(3) == Some(&b' ') && stamp.matches(':').count() == 2, "{stamp:?}");
        assert!(line.contains(&format!(" keepone[{}]: it runs error=", std::process::id())), "{line}");
    }
}
