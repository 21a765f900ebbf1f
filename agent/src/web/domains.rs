//! Each instance: what it is here, who holds it, what is left of the lease, and why.

use keepone_arbiter::web::html::Html;
use keepone_arbiter::web::pieces::{badge, countdown, more, section, table};
use serde_json::Value;

use super::words::{list, role, span, text};

/// Rows: a page with a thousand helps nobody, and those that need looking at come first.
const ROWS: usize = 100;
/// Addresses of a row.
const ADDRESSES: usize = 4;

/// The table.
pub(super) fn html(status: &Value) -> Html {
    let mut domains: Vec<&Value> = list(status, "domains").iter().collect();
    domains.sort_by_key(|domain| (urgency(domain), text(domain, "name")));
    let left_out = domains.len().saturating_sub(ROWS);
    let at = status["at_ns"].as_u64().unwrap_or_default();
    let rows = Html::new().each(domains.iter().take(ROWS), |html, domain| row(html, domain, at));
    let headers = ["Instance", "Role here", "Holder", "Lease here", "For", "Why", "Addresses"];
    let caption = "What each is on this node, who holds it, and why";
    let body = table("domains-title", caption, &headers, &rows).html(&more(left_out, "keepone status"));
    section("domains-title", "Instances", &body)
}

/// What is to be seen first is least.
fn urgency(domain: &Value) -> u8 {
    match (text(domain, "role"), domain["holder_by"].is_null()) {
        ("FAULT" | "FENCED", _) => 0,
        (_, true) => 1,
        ("CLAIMING", _) => 2,
        _ => 3,
    }
}

fn row(html: Html, domain: &Value, at: u64) -> Html {
    let (class, sign) = role(text(domain, "role"));
    let addresses: Vec<&str> = list(domain, "instances")
        .iter()
        .flat_map(|instance| list(instance, "addresses"))
        .filter_map(Value::as_str)
        .collect();
    let left_out = addresses.len().saturating_sub(ADDRESSES);
    html.raw("<tr")
        .attribute("data-key", text(domain, "name"))
        .raw("><th scope=\"row\">")
        .text(text(domain, "name"))
        .raw("</th><td class=\"nowrap\">")
        .html(&badge(class, sign, text(domain, "role")))
        .raw("</td><td>")
        .text(holder(domain))
        .raw("</td><td class=\"nowrap\">")
        .html(&lease(domain, at))
        .raw("</td><td class=\"nowrap\">")
        .text(domain["for_ms"].as_f64().map(span).unwrap_or_default())
        .raw("</td><td class=\"why\">")
        .text(text(domain, "what"))
        .raw("</td><td>")
        .each(addresses.iter().take(ADDRESSES).enumerate(), |html, (place, address)| {
            html.when(place > 0, |html| html.raw("<br>")).classed("code", "nowrap", address)
        })
        .when(left_out > 0, |html| html.raw("<br>and ").text(left_out).raw(" more"))
        .raw("</td></tr>")
}

/// Who holds it, and how that is known.
fn holder(domain: &Value) -> String {
    let by = match text(domain, "holder_by") {
        "gate" => return format!("{}, this node", text(domain, "holder")),
        "heartbeat" => "by its heartbeat",
        "voters" => "by the voters' word alone",
        "advertisement" => return String::from("another router, by its Advertisements"),
        _ => return String::from("nobody known"),
    };
    format!("{}, {by}", text(domain, "holder"))
}

fn lease(domain: &Value, at: u64) -> Html {
    let (Some(left), Some(of)) = (domain["lease_ms"].as_f64(), domain["lease_length_ms"].as_f64()) else {
        return Html::new().raw("<span class=\"soft\">none</span>");
    };
    countdown(left, of, at).when(domain["epoch"].is_string(), |html| {
        html.raw("<br><span class=\"soft small\">epoch <code>").text(text(domain, "epoch")).raw("</code></span>")
    })
}
