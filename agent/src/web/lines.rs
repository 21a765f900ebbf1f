//! Every line of this node's, as a picture and as a table: heartbeat links to the peers, and the way to the voters.

use keepone_arbiter::web::html::Html;
use keepone_arbiter::web::pieces::{self, badge, more, scroll, section};
use serde_json::Value;

use super::words::{and, heard, list, span, text};

/// Boxes on the right side of the picture.
const BOXES: usize = 16;
/// Letters of a line in a box.
const LETTERS: usize = 21;
const WIRE: u32 = 32;
const GAP: u32 = 14;
const TOP: u32 = 6;

/// A node on the other side, or a voter.
struct Other<'a> {
    name: &'a str,
    /// Below its name.
    words: Vec<String>,
    class: &'static str,
    wires: Vec<Wire>,
}

struct Wire {
    name: String,
    state: String,
    class: &'static str,
    is_cut: bool,
}

impl Other<'_> {
    fn height(&self) -> u32 {
        let wires = u32::try_from(self.wires.len()).unwrap_or(0) * WIRE + 12;
        wires.max(34 + 18 * u32::try_from(self.words.len()).unwrap_or(0))
    }
}

/// What a node holds, for its box.
fn holds(status: &Value, node: &str) -> String {
    let held = list(status, "domains").iter().filter(|domain| domain["holder"] == node);
    let held: Vec<String> = held.map(|domain| text(domain, "name").to_owned()).collect();
    match held.len() {
        0 => String::from("holds nothing"),
        1 => format!("holds {}", and(&held)),
        count => format!("holds {count} instances"),
    }
}

fn others(status: &Value) -> Vec<Other<'_>> {
    let peers = list(status, "peers").iter().map(|peer| {
        let is_silent = peer["silent"] == true;
        let wires = list(peer, "links").iter().map(|link| {
            let is_up = link["up"] == true;
            let state = match link["heard_ms"].as_f64() {
                _ if is_up => String::from("up"),
                Some(ms) => format!("DOWN for {}", span(ms)),
                None => String::from("DOWN, never heard"),
            };
            let name = text(link, "name").to_owned();
            Wire { name, state, class: if is_up { "" } else { " bad" }, is_cut: !is_up }
        });
        let name = text(peer, "name");
        let (words, class) = match peer["heard_ms"].as_f64() {
            Some(ms) if is_silent => (format!("SILENT for {}", span(ms)), " bad"),
            None => ("never heard".to_owned(), " bad"),
            Some(_) => (String::from("is heard"), ""),
        };
        let held = holds(status, name);
        let class = if held != "holds nothing" && class.is_empty() { " good" } else { class };
        Other { name, words: vec![words, held], class, wires: wires.collect() }
    });
    let is_peer = |name: &str| list(status, "peers").iter().any(|peer| peer["name"] == name);
    let voters = list(status, "voters").iter().filter(|voter| {
        let name = text(voter, "name");
        name != text(status, "node") && !is_peer(name)
    });
    let voters = voters.map(|voter| {
        let (state, class, is_cut) = answers(voter);
        let wires = vec![Wire { name: "lease".to_owned(), state, class, is_cut }];
        Other {
            name: text(voter, "name"),
            words: vec!["votes".to_owned()],
            class: if is_cut { " bad" } else { "" },
            wires,
        }
    });
    peers.chain(voters).collect()
}

/// How a voter stands: in words, as a class of a wire, and whether the way is cut.
fn answers(voter: &Value) -> (String, &'static str, bool) {
    match (voter["answers"] == true, voter["answered_ms"].as_f64()) {
        (true, _) => (String::from("answers"), " vote", false),
        (false, Some(ms)) => (format!("NO ANSWER for {}", span(ms)), " bad", true),
        (false, None) => (String::from("NO ANSWER"), " bad", true),
    }
}

/// So much of a text as has room.
fn short(text: &str) -> String {
    if text.chars().count() <= LETTERS {
        return text.to_owned();
    }
    text.chars().take(LETTERS - 1).chain(['…']).collect()
}

/// The picture.
pub(super) fn picture(status: &Value) -> Html {
    let all = others(status);
    let title = "Lines of this node";
    if all.is_empty() {
        let words = "<p class=\"soft\">It has no peers: it speaks VRRP only, and is told nothing of others.</p>";
        return section("lines-title", title, &Html::new().raw(words));
    }
    let shown = all.get(..BOXES).unwrap_or(&all);
    let sides: u32 = shown.iter().map(|other| other.height() + GAP).sum::<u32>() - GAP;
    let height = sides.max(92);
    let words: Vec<String> = shown.iter().map(described).collect();
    let node = text(status, "node");
    let holds = holds(status, node);
    let class = match (&status["maintenance"], holds.as_str()) {
        (maintenance, _) if maintenance == true => " bad",
        (_, "holds nothing") => "",
        _ => " good",
    };
    let mut top = TOP + (height - sides) / 2;
    let html = Html::new()
        .raw("<svg class=\"picture\" role=\"img\" aria-labelledby=\"lines-name lines-words\"")
        .attribute("viewBox", format_args!("0 0 640 {}", height + 2 * TOP))
        .raw("><title id=\"lines-name\">")
        .text(format_args!("Lines of {node}, as it sees them"))
        .raw("</title><desc id=\"lines-words\">")
        .text(format_args!("{node} {holds}. {}", words.join(" ")))
        .raw("</desc>")
        .each(shown, |html, other| {
            let html = wires(html, other, top);
            let html = node_box(html, (464, top, other.height()), other.class, other.name, &other.words);
            top += other.height() + GAP;
            html
        });
    let mut own = vec![String::from("this node"), holds];
    if status["maintenance"] == true {
        own.push(String::from("in maintenance"));
    }
    let svg = node_box(html, (2, TOP, height), class, node, &own).raw("</svg>");
    let left_out = all.len().saturating_sub(BOXES);
    section("lines-title", title, &scroll("lines-title", &svg).html(&more(left_out, "keepone status")))
}

fn described(other: &Other<'_>) -> String {
    let wires: Vec<String> = other.wires.iter().map(|wire| format!("{} {}", wire.name, wire.state)).collect();
    format!("{}: {}; {}.", other.name, other.words.join(", "), and(&wires))
}

fn node_box(html: Html, (x, y, height): (u32, u32, u32), class: &'static str, name: &str, words: &[String]) -> Html {
    let lines = u32::try_from(words.len()).unwrap_or(0);
    let first = y + height / 2 + 5 - lines * 9;
    html.raw("<rect rx=\"6\" width=\"174\" class=\"node")
        .raw(class)
        .raw("\"")
        .attribute("x", x)
        .attribute("y", y)
        .attribute("height", height)
        .raw("/><text class=\"strong\"")
        .attribute("x", x + 14)
        .attribute("y", first)
        .raw(">")
        .text(short(name))
        .raw("</text>")
        .each((1..).zip(words), |html, (place, words)| {
            html.raw("<text class=\"soft\"")
                .attribute("x", x + 14)
                .attribute("y", first + 18 * place)
                .raw(">")
                .text(short(words))
                .raw("</text>")
        })
}

fn wires(html: Html, other: &Other<'_>, top: u32) -> Html {
    let used = u32::try_from(other.wires.len()).unwrap_or(0) * WIRE;
    let first = top + (other.height().saturating_sub(used)) / 2 + WIRE / 2 + 5;
    html.each((0..).zip(&other.wires), |html, (place, wire)| {
        let y = first + WIRE * place;
        let state = if wire.is_cut { "badtext" } else { "soft" };
        html.raw("<path class=\"wire")
            .raw(wire.class)
            .raw("\"")
            .attribute("d", format_args!("M176 {y}H464"))
            .raw("/>")
            .when(wire.is_cut, |html| {
                let (up, down) = (y - 7, y + 7);
                html.raw("<path class=\"cut\"")
                    .attribute("d", format_args!("M313 {up}L327 {down}M327 {up}L313 {down}"))
                    .raw("/>")
            })
            .raw("<text class=\"strong\" x=\"186\"")
            .attribute("y", y - 6)
            .raw(">")
            .text(short(&wire.name))
            .raw("</text><text x=\"454\" text-anchor=\"end\"")
            .attribute("class", state)
            .attribute("y", y - 6)
            .raw(">")
            .text(short(&wire.state))
            .raw("</text>")
    })
}

/// The same as a table.
pub(super) fn table(status: &Value) -> Html {
    let peers = list(status, "peers");
    let voters = list(status, "voters");
    if peers.is_empty() && voters.is_empty() {
        return Html::new();
    }
    let rows = Html::new()
        .each(peers, |html, peer| {
            html.each(list(peer, "links"), |html, link| {
                let up = (link["up"] == true).then_some("up");
                let who = (text(peer, "name"), text(link, "name"));
                row(html, who, up.ok_or("DOWN"), [&heard(&link["heard_ms"]), &round_trip(link), &lost(link)])
            })
        })
        .each(voters, |html, voter| {
            let state = if voter["answers"] == true { Ok("answers") } else { Err("NO ANSWER") };
            row(html, (text(voter, "name"), "lease"), state, [&heard(&voter["answered_ms"]), "", ""])
        });
    let caption = "Heartbeats that are heard here, and answers of the voters";
    let body = pieces::table("links-title", caption, &["To", "Line", "State", "Heard", "Round trip", "Lost"], &rows);
    section("links-title", "Each line", &body)
}

fn round_trip(link: &Value) -> String {
    link["rtt_ms"].as_f64().map_or_else(String::new, |rtt| format!("{rtt:.2} ms"))
}

/// Of the last heartbeats.
fn lost(link: &Value) -> String {
    link["loss"].as_f64().map_or_else(String::new, |loss| format!("{:.0} %", loss * 100.0))
}

fn row(html: Html, (to, line): (&str, &str), state: Result<&str, &str>, known: [&str; 3]) -> Html {
    let (class, sign, words) = match state {
        Ok(words) => ("good", "●", words),
        Err(words) => ("bad", "✕", words),
    };
    html.raw("<tr")
        .attribute("data-key", format_args!("{to}/{line}"))
        .raw("><th scope=\"row\">")
        .text(to)
        .raw("</th><td>")
        .text(line)
        .raw("</td><td class=\"nowrap\">")
        .html(&badge(class, sign, words))
        .raw("</td>")
        .each(known, |html, words| html.raw("<td class=\"nowrap\">").text(words).raw("</td>"))
        .raw("</tr>")
}
