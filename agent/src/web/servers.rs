//! Virtual servers and their real servers.

use keepone_arbiter::web::html::Html;
use keepone_arbiter::web::pieces::{badge, more, section, table};
use serde_json::Value;

use super::words::{list, text};

/// Rows.
const ROWS: usize = 200;

/// A table; nothing where there are none.
pub(super) fn html(servers: &Value) -> Html {
    let services = list(servers, "virtual_servers");
    if services.is_empty() {
        return Html::new();
    }
    let rows: Vec<(&Value, Option<&Value>)> = services
        .iter()
        .flat_map(|service| {
            let real = list(service, "real_servers");
            let none = real.is_empty().then_some((service, None));
            real.iter().map(move |server| (service, Some(server))).chain(none)
        })
        .collect();
    let left_out = rows.len().saturating_sub(ROWS);
    let shown = Html::new().each(rows.iter().take(ROWS), |html, (service, server)| row(html, service, *server));
    let headers = ["Virtual server", "Quorum", "Real server", "State", "Weight", "Active", "Inactive", "Why"];
    let caption = "Each virtual server, and what it is shared by";
    let body = table("servers-title", caption, &headers, &shown).html(&more(left_out, "keepone servers"));
    section("servers-title", "Real servers", &body)
}

fn row(html: Html, service: &Value, server: Option<&Value>) -> Html {
    let quorum = match (&service["has_quorum"], &service["suspended"], &service["sorry"]) {
        (_, _, sorry) if sorry == true => "none, the sorry server answers",
        (_, suspended, _) if suspended == true => "suspended",
        (quorum, ..) if quorum == true => "yes",
        _ => "NO",
    };
    let html =
        html.raw("<tr><th scope=\"row\">").text(text(service, "name")).raw("</th><td>").text(quorum).raw("</td>");
    let Some(server) = server else { return html.raw("<td colspan=\"6\">has no real server</td></tr>") };
    let state = match (&server["up"], &server["draining"]) {
        (_, draining) if draining == true => badge("warn", "○", "emptied"),
        (up, _) if up == true => badge("good", "●", "up"),
        _ => badge("bad", "✕", "DOWN"),
    };
    // Empty: it is not in the kernel's table, or nothing has been counted yet.
    let connections = |which: &str| {
        let count = server["connections"].get(which).and_then(Value::as_u64);
        count.map(|count| count.to_string()).unwrap_or_default()
    };
    html.raw("<td>")
        .text(text(server, "name"))
        .raw("</td><td class=\"nowrap\">")
        .html(&state)
        .raw("</td><td>")
        .text(server["weight"].as_f64().map(|weight| weight.to_string()).unwrap_or_default())
        .raw("</td><td>")
        .text(connections("active"))
        .raw("</td><td>")
        .text(connections("inactive"))
        .raw("</td><td>")
        .text(text(server, "fault"))
        .raw("</td></tr>")
}
