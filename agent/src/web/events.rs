//! The newest events, each with its reason.

use keepone_arbiter::web::html::Html;
use keepone_arbiter::web::pieces::{badge, more, section, table};

use super::recent::{Event, Recent};
use super::words::{role, text};
use crate::calendar;

/// Rows.
const ROWS: usize = 50;

/// The table.
pub(super) fn html(recent: &Recent) -> Html {
    let body = if recent.events.is_empty() {
        Html::new().raw("<p class=\"soft\">None.</p>")
    } else {
        let rows = Html::new().each(recent.events.iter().rev().take(ROWS), row);
        let caption = "The newest first; times are UTC";
        let left_out = recent.events.len().saturating_sub(ROWS);
        let table = table("events-title", caption, &["Time", "Of", "What", "Why"], &rows);
        table.html(&more(left_out, "keepone events"))
    };
    section("events-title", "Events of the last hour", &body)
}

fn row(html: Html, event: &Event) -> Html {
    let said = &event.said;
    let at = calendar::format(event.at);
    let html = html
        .raw("<tr")
        .attribute(
            "data-key",
            format_args!("{}-{}-{}{}", said["t_ns"], text(said, "domain"), text(said, "name"), text(said, "to")),
        )
        .raw("><td><time")
        .attribute("datetime", &at)
        .raw(">")
        .text(at.get(11..19).unwrap_or_default())
        .raw("</time></td><td>")
        .text(said["domain"].as_str().unwrap_or("the node"))
        .raw("</td><td>");
    let html = match text(said, "kind") {
        "transition" => {
            let (class, sign) = role(text(said, "to"));
            html.text(text(said, "from")).raw(" → ").html(&badge(class, sign, text(said, "to")))
        }
        "alert" => {
            let (class, words) = match (&said["raised"], text(said, "severity")) {
                (raised, _) if raised != true => ("grey", "over"),
                (_, "critical") => ("bad", "alert"),
                _ => ("warn", "alert"),
            };
            html.html(&badge(class, "▲", words)).raw(" ").text(text(said, "name"))
        }
        _ => html.html(&badge("grey", "·", "operator")),
    };
    html.raw("</td><td class=\"why\">").html(&reason(event)).raw("</td></tr>")
}

/// A sentence, and behind it the evidence.
fn reason(event: &Event) -> Html {
    let said = &event.said;
    let evidence = text(said, "evidence");
    let sentence = match text(said, "kind") {
        "alert" if said["raised"] == true => format!("to do: {}", text(said, "remedy")),
        "alert" => String::from("it stands no more"),
        _ => text(said, "what").to_owned(),
    };
    if evidence.is_empty() {
        return Html::new().text(sentence);
    }
    Html::new().raw("<details><summary>").text(sentence).raw("</summary><p>").text(evidence).raw("</p></details>")
}
