//! Values of the control socket's JSON, and how they are said.

use serde_json::Value;

/// A text; empty where there is none.
pub(super) fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_default()
}

/// A list; empty where there is none.
pub(super) fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of[name].as_array().map_or(&[], Vec::as_slice)
}

/// A time that has passed, for a glance: it stands still for a second at least.
pub(super) fn span(ms: f64) -> String {
    // Negative, or none at all, is none; more than all that there is saturates.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are meant")]
    let seconds = (ms / 1000.0) as u64;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

/// How long ago something was heard.
pub(super) fn heard(ms: &Value) -> String {
    match ms.as_f64() {
        None => String::from("never"),
        Some(ms) if ms < 1000.0 => String::from("less than 1 s ago"),
        Some(ms) => format!("{} ago", span(ms)),
    }
}

/// A role's class and sign.
pub(super) fn role(role: &str) -> (&'static str, &'static str) {
    match role {
        "MASTER" => ("good", "●"),
        "BACKUP" => ("calm", "○"),
        "CLAIMING" => ("warn", "◐"),
        "FAULT" => ("bad", "✕"),
        "FENCED" => ("bad", "▲"),
        _ => ("grey", "·"),
    }
}

/// "a", "a and b", "a, b and c".
pub(super) fn and(all: &[String]) -> String {
    match all {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Of many the first few.
pub(super) fn some(all: &[String], most: usize) -> String {
    match all.get(..most).filter(|_| all.len() > most + 1) {
        Some(first) => format!("{} and {} more", first.join(", "), all.len() - most),
        None => and(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_lists_are_read_at_a_glance() {
        let shown = [0.0, 1999.0, 61_000.0, 7_260_000.0, 180_000_000.0, -1.0, f64::NAN].map(span);
        assert_eq!(shown, ["0 s", "1 s", "1 min 1 s", "2 h 1 min", "2 d 2 h", "0 s", "0 s"]);
        let names: Vec<String> = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        assert_eq!(some(&names, 2), "a, b and 2 more");
        assert_eq!(some(&names, 3), "a, b, c and d", "no longer than what it leaves out");
        assert_eq!(heard(&Value::Null), "never");
    }
}
