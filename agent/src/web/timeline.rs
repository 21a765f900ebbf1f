//! The last hour as a picture: a lane for each instance with its roles on this node, and one for alerts.

use std::time::Duration;

use keepone_arbiter::web::html::Html;
use keepone_arbiter::web::pieces::{more, scroll, section};
use serde_json::Value;

use super::recent::{Event, HOUR, Recent};
use super::words::{list, role, text};
use crate::calendar;

/// Lanes: of many instances those that have changed most lately.
const LANES: usize = 12;
/// Of the picture.
const WIDTH: f64 = 1000.0;
/// Of the lanes' names.
const LEFT: f64 = 120.0;
const LANE: usize = 30;
/// A picture in which nothing has happened is the same for so long.
const STILL: u64 = 10;
/// Letters of a lane's name.
const LETTERS: usize = 15;

/// What an instance was, from where to where, in parts of the hour.
#[derive(Debug, PartialEq)]
struct Span<'a> {
    from: f64,
    to: f64,
    role: &'a str,
}

/// The hour that is shown.
#[derive(Debug, Clone, Copy)]
struct Hour {
    begin: Duration,
}

impl Hour {
    fn until(now: Duration) -> Self {
        let end = Duration::from_secs(now.as_secs().next_multiple_of(STILL));
        Hour { begin: end.saturating_sub(HOUR) }
    }

    /// Where in the hour, from 0 to 1.
    fn place(self, at: Duration) -> f64 {
        (at.saturating_sub(self.begin).as_secs_f64() / HOUR.as_secs_f64()).min(1.0)
    }
}

/// An instance's roles, oldest first. What is not on record is left open.
fn spans<'a>(hour: Hour, now: Duration, domain: &'a Value, recent: &'a Recent) -> Vec<Span<'a>> {
    let name = text(domain, "name");
    let of = |event: &&Event| text(&event.said, "kind") == "transition" && text(&event.said, "domain") == name;
    let mut events = recent.events.iter().filter(of).peekable();
    let first = match (recent.former.get(name), events.peek()) {
        (Some(former), _) => former.as_str(),
        (None, Some(event)) => text(&event.said, "from"),
        (None, None) => text(domain, "role"),
    };
    // Before the record begins nothing is known, but for a role that it has had since then.
    let known = match (recent.former.contains_key(name), events.peek()) {
        (true, _) => 0.0,
        (false, Some(event)) => hour.place(event.at),
        (false, None) => hour.place(now.saturating_sub(millis(&domain["for_ms"]))),
    };
    let mut spans = Vec::new();
    let mut open = (known, first);
    for event in events {
        let at = hour.place(event.at);
        spans.push(Span { from: open.0, to: at, role: open.1 });
        open = (at, text(&event.said, "to"));
    }
    spans.push(Span { from: open.0, to: hour.place(now), role: open.1 });
    spans.retain(|span| span.to > span.from);
    spans
}

fn millis(value: &Value) -> Duration {
    value.as_f64().and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok()).unwrap_or_default()
}

/// The picture.
pub(super) fn html(status: &Value, recent: &Recent, now: Duration) -> Html {
    let hour = Hour::until(now);
    let mut domains: Vec<&Value> = list(status, "domains").iter().collect();
    domains.sort_by(|a, b| {
        let age = |domain: &Value| domain["for_ms"].as_f64().unwrap_or(f64::MAX);
        age(a).total_cmp(&age(b)).then_with(|| text(a, "name").cmp(text(b, "name")))
    });
    let left_out = domains.len().saturating_sub(LANES);
    domains.truncate(LANES);
    domains.sort_by_key(|domain| text(domain, "name"));
    let alerts = || {
        let is_raised = |event: &&Event| event.said.get("raised").and_then(Value::as_bool) == Some(true);
        recent.events.iter().filter(is_raised).filter(|event| event.at >= hour.begin)
    };
    let lanes = domains.len() + 1;
    let height = lanes * LANE + 26;
    let words: Vec<String> = domains
        .iter()
        .map(|domain| {
            let changes = spans(hour, now, domain, recent).len().saturating_sub(1);
            format!("{}: {} now, {changes} changes.", text(domain, "name"), text(domain, "role"))
        })
        .collect();
    let svg = Html::new()
        .raw("<svg class=\"picture hour\" role=\"img\" aria-labelledby=\"hour-name hour-words\"")
        .attribute("viewBox", format_args!("0 0 {WIDTH} {height}"))
        .raw("><title id=\"hour-name\">Roles on this node in the last hour</title><desc id=\"hour-words\">")
        .text(format_args!("{} Alerts raised: {}. The table of events has each.", words.join(" "), alerts().count()))
        .raw("</desc>")
        .html(&axis(hour, lanes))
        .each((0..).zip(&domains), |html, (place, domain)| {
            let html = name(html, place, text(domain, "name"));
            html.each(spans(hour, now, domain, recent), |html, span| drawn(html, place, &span))
        })
        .html(&name(Html::new(), lanes - 1, "alerts"))
        .each(alerts(), |html, event| mark(html, lanes - 1, hour, event))
        .raw("</svg>");
    let legend =
        "<p class=\"soft small\">● MASTER · ○ BACKUP · ◐ CLAIMING · ✕ FAULT · ▲ FENCED, and alerts. Times are UTC.</p>";
    let body = scroll("hour-title", &svg).raw(legend).html(&more(left_out, "keepone events"));
    section("hour-title", "The last hour on this node", &body)
}

fn x(place: f64) -> f64 {
    LEFT + place * (WIDTH - LEFT - 4.0)
}

/// Each ten minutes a line, with the time below it.
fn axis(hour: Hour, lanes: usize) -> Html {
    let bottom = lanes * LANE;
    let first = hour.begin.as_secs().next_multiple_of(600);
    let ticks = (0..7).map(|tick| Duration::from_secs(first + tick * 600));
    Html::new().each(ticks.filter(|tick| *tick <= hour.begin + HOUR), |html, tick| {
        let (place, at) = (hour.place(tick), calendar::format(tick));
        let anchor = if place > 0.97 { "end" } else { "middle" };
        html.raw("<path class=\"axis\"")
            .attribute("d", format_args!("M{:.1} 0V{}", x(place), bottom + 6))
            .raw("/><text class=\"soft small\"")
            .attribute("text-anchor", anchor)
            .attribute("x", format_args!("{:.1}", x(place)))
            .attribute("y", bottom + 20)
            .raw(">")
            .text(at.get(11..16).unwrap_or_default())
            .raw("</text>")
    })
}

fn name(html: Html, place: usize, name: &str) -> Html {
    let short: String = match name.chars().count() {
        count if count > LETTERS => name.chars().take(LETTERS - 1).chain(['…']).collect(),
        _ => name.to_owned(),
    };
    html.raw("<text x=\"0\"").attribute("y", place * LANE + 20).raw(">").text(short).raw("</text>")
}

fn drawn(html: Html, place: usize, span: &Span<'_>) -> Html {
    let (class, sign) = role(span.role);
    // What was short is seen all the same.
    let width = (x(span.to) - x(span.from)).max(1.5);
    let html = html
        .raw("<rect rx=\"2\" height=\"20\" class=\"span ")
        .raw(class)
        .raw("\"")
        .attribute("x", format_args!("{:.1}", x(span.from)))
        .attribute("y", place * LANE + 5)
        .attribute("width", format_args!("{width:.1}"))
        .raw("><title>")
        .text(span.role)
        .raw("</title></rect>");
    let words = match width {
        width if width > 90.0 => format!("{sign} {}", span.role),
        width if width > 16.0 => sign.to_owned(),
        _ => return html,
    };
    html.raw("<text class=\"small on-")
        .raw(class)
        .raw("\" aria-hidden=\"true\"")
        .attribute("x", format_args!("{:.1}", x(span.from) + 5.0))
        .attribute("y", place * LANE + 19)
        .raw(">")
        .text(words)
        .raw("</text>")
}

fn mark(html: Html, place: usize, hour: Hour, event: &Event) -> Html {
    let (x, y) = (x(hour.place(event.at)), place * LANE + 22);
    let class = if text(&event.said, "severity") == "critical" { "mark" } else { "mark warn" };
    html.raw("<path")
        .attribute("class", class)
        .attribute("d", format_args!("M{x:.1} {}l7 13h-14z", y - 13))
        .raw("><title>")
        .text(text(&event.said, "name"))
        .raw("</title></path>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn recent(events: &[(u64, &str, &str)], former: Option<&str>) -> Recent {
        let mut recent = Recent::new(std::path::Path::new("/nowhere"));
        let event = |(at, from, to): &(u64, &str, &str)| Event {
            at: Duration::from_secs(*at),
            said: json!({ "kind": "transition", "domain": "A", "from": from, "to": to }),
        };
        recent.events = events.iter().map(event).collect();
        recent.former = former.map(|role| ("A".to_owned(), role.to_owned())).into_iter().collect();
        recent
    }

    #[test]
    fn roles_follow_each_other_and_what_is_not_on_record_is_left_open() {
        // The hour is from 3600 to 7200.
        let now = Duration::from_secs(7200);
        let hour = Hour::until(now);
        let domain = json!({ "name": "A", "role": "MASTER", "for_ms": 1_800_000.0 });
        let shown = |recent: &Recent| {
            let spans = spans(hour, now, &domain, recent);
            spans.iter().map(|span| format!("{} {:.2}-{:.2}", span.role, span.from, span.to)).collect::<Vec<_>>()
        };
        assert_eq!(shown(&recent(&[], None)), ["MASTER 0.50-1.00"], "nothing on record but the present");
        let changes = [(4500, "INIT", "BACKUP"), (5400, "BACKUP", "MASTER")];
        assert_eq!(shown(&recent(&changes, None)), ["BACKUP 0.25-0.50", "MASTER 0.50-1.00"]);
        assert_eq!(shown(&recent(&changes, Some("INIT"))), ["INIT 0.00-0.25", "BACKUP 0.25-0.50", "MASTER 0.50-1.00"]);
        // Another domain's events are not its own.
        let other = json!({ "name": "B", "role": "BACKUP", "for_ms": 0.0 });
        assert_eq!(spans(hour, now, &other, &recent(&changes, None)), []);
    }
}
