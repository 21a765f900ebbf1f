//! What counts at three in the morning: who holds it, and what is wrong.

use std::collections::BTreeMap;

use keepone_arbiter::web::html::Html;
use keepone_arbiter::web::pieces::{badge, section};
use serde_json::Value;

use super::words::{and, list, some, text};

/// Names in a sentence.
const NAMED: usize = 3;

/// In two sentences, without ages: a screen reader says them when they change.
pub(super) fn html(title: &str, status: &Value) -> Html {
    Html::new().element("h1", title).classed("p", "headline", held(status)).element("p", standing(status))
}

/// Who holds what.
fn held(status: &Value) -> String {
    let mut by = BTreeMap::<&str, Vec<String>>::new();
    let mut unknown = Vec::new();
    for domain in list(status, "domains") {
        let name = text(domain, "name").to_owned();
        match (domain["holder"].as_str(), domain["holder_by"].as_str()) {
            (Some(holder), _) => by.entry(holder).or_default().push(name),
            (None, Some(_)) => by.entry("another router").or_default().push(name),
            (None, None) => unknown.push(name),
        }
    }
    let mut sentences = Vec::new();
    if !unknown.is_empty() {
        sentences.push(format!("Nobody is known to hold {}.", some(&unknown, NAMED)));
    }
    let holds = by.iter().map(|(holder, names)| match names.len() {
        count if count > NAMED => format!("{holder} holds {count} instances"),
        _ => format!("{holder} holds {}", and(names)),
    });
    let holds: Vec<String> = holds.collect();
    if !holds.is_empty() {
        sentences.push(format!("{}.", and(&holds)));
    }
    if sentences.is_empty() { String::from("Nothing is configured.") } else { sentences.join(" ") }
}

/// What else there is to know.
fn standing(status: &Value) -> String {
    let mut sentences = Vec::new();
    if status["maintenance"] == true {
        sentences.push(String::from("This node is in maintenance: it stands for nothing."));
    }
    let peers = list(status, "peers");
    let silent: Vec<String> =
        peers.iter().filter(|peer| peer["silent"] == true).map(|peer| text(peer, "name").to_owned()).collect();
    if !silent.is_empty() {
        sentences.push(format!("{} {} silent.", some(&silent, NAMED), if silent.len() == 1 { "is" } else { "are" }));
    }
    let down = |peer: &Value| {
        let down: Vec<String> = list(peer, "links")
            .iter()
            .filter(|link| link["up"] != true)
            .map(|link| text(link, "name").to_owned())
            .collect();
        (!down.is_empty()).then(|| format!("{} to {}", some(&down, NAMED), text(peer, "name")))
    };
    let down: Vec<String> = peers.iter().filter(|peer| peer["silent"] != true).filter_map(down).collect();
    if !down.is_empty() {
        sentences.push(format!("Down: {}.", some(&down, NAMED)));
    } else if silent.is_empty() && !peers.is_empty() {
        sentences.push(String::from("Every line to every peer is up."));
    }
    if status["gate_passes"] == false {
        sentences.push(String::from("The gate FAILS its test."));
    }
    sentences.push(match list(status, "alerts").len() {
        0 => String::from("No alerts."),
        1 => String::from("1 alert stands."),
        count => format!("{count} alerts stand."),
    });
    sentences.join(" ")
}

/// The alerts that stand, each with what to do; empty if there are none.
pub(super) fn alerts(status: &Value) -> Html {
    let alerts = list(status, "alerts");
    if alerts.is_empty() {
        return Html::new();
    }
    let list = Html::new().raw("<ul class=\"alerts\">").each(alerts, |html, alert| {
        let severity = text(alert, "severity");
        let class = if severity == "critical" { "bad" } else { "warn" };
        let of = alert["domain"].as_str().map(|domain| format!(" of {domain}")).unwrap_or_default();
        html.raw("<li>")
            .html(&badge(class, "▲", severity))
            .raw(" <strong>")
            .text(text(alert, "name"))
            .text(of)
            .raw("</strong> <span>")
            .text(text(alert, "what"))
            .raw("</span><p><span class=\"soft\">Seen:</span> ")
            .text(text(alert, "evidence"))
            .raw("</p><p><span class=\"soft\">To do:</span> ")
            .text(text(alert, "remedy"))
            .raw("</p></li>")
    });
    section("alerts-title", "Alerts that stand", &list.raw("</ul>"))
}
