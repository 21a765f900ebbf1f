//! What each pane says of a look: a title, heads of columns, rows of cells.

use serde_json::Value;

use super::super::show::{has, holder, left, list, ms, short_span, span, text};
use super::look::Look;

/// The panes, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Kind {
    #[default]
    Instances,
    Leases,
    Links,
    Servers,
    Alerts,
    Events,
}

/// How a cell is to be taken; its words say so too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Attention,
    Bad,
    Soft,
}

/// What stands in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell(pub(super) String, pub(super) Tone);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pane {
    pub(super) kind: Kind,
    /// Its name, and what of it counts at a glance.
    pub(super) title: String,
    pub(super) heads: &'static [&'static str],
    /// Each with as many cells as there are heads; the last has what room is left.
    pub(super) rows: Vec<Vec<Cell>>,
}

fn plain(words: impl Into<String>) -> Cell {
    Cell(words.into(), Tone::Plain)
}

fn soft(words: impl Into<String>) -> Cell {
    Cell(words.into(), Tone::Soft)
}

fn time(value: &Value, name: &str) -> String {
    ms(value, name).map_or_else(|| String::from("-"), span)
}

fn many(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// Those that have something to say. Instances and events are always there.
pub(super) fn of(look: &Look) -> Vec<Pane> {
    let all = [instances(look), leases(look), links(look), servers(look), alerts(look), events(look)];
    all.into_iter()
        .filter(|pane| !pane.rows.is_empty() || matches!(pane.kind, Kind::Instances | Kind::Events))
        .collect()
}

fn role(role: &str) -> Cell {
    let tone = match role {
        "MASTER" => Tone::Good,
        "CLAIMING" => Tone::Attention,
        "FAULT" | "FENCED" => Tone::Bad,
        _ => Tone::Plain,
    };
    Cell(role.to_owned(), tone)
}

fn instances(look: &Look) -> Pane {
    let domains = list(&look.status, "domains");
    let rows = domains.iter().flat_map(|domain| {
        list(domain, "instances").iter().map(move |instance| {
            let (name, of) = (text(instance, "name"), text(domain, "name"));
            let name = if domain["is_group"] == true { format!("{of}/{name}") } else { name.to_owned() };
            let addresses: Vec<&str> = list(instance, "addresses").iter().filter_map(Value::as_str).collect();
            let priority =
                domain["priority"].as_u64().map_or_else(|| String::from("-"), |priority| priority.to_string());
            vec![
                plain(name),
                role(text(domain, "role")),
                plain(priority),
                plain(time(domain, "for_ms")),
                plain(holder(domain)),
                soft(text(domain, "reason")),
                plain(addresses.join(" ")),
            ]
        })
    });
    let rows: Vec<_> = rows.collect();
    let of_role = |role: &str| domains.iter().filter(|domain| domain["role"] == role).map(instances_of).sum::<usize>();
    let counts = ["MASTER", "BACKUP", "CLAIMING", "FAULT", "FENCED", "INIT"].map(|role| (of_role(role), role));
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, role)| format!("{count} {role}"));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let title = format!("Instances: {}", if counts.is_empty() { "none" } else { &counts });
    let heads = &["INSTANCE", "STATE", "PRIO", "FOR", "HOLDER", "WHY", "ADDRESSES"];
    Pane { kind: Kind::Instances, title, heads, rows }
}

fn instances_of(domain: &Value) -> usize {
    list(domain, "instances").len()
}

/// Only those that this node holds or asks for: of others' leases it knows the holder alone.
fn leases(look: &Look) -> Pane {
    let held = list(&look.status, "domains")
        .iter()
        .filter(|domain| ["epoch", "lease_ms", "gate_open_ms"].iter().any(|name| !domain[*name].is_null()));
    let rows: Vec<_> = held
        .map(|domain| {
            let length = ms(domain, "lease_length_ms").filter(|length| *length > 0.0);
            let (bar, tone) = match ms(domain, "lease_ms").zip(length) {
                Some((left, length)) => {
                    (bar(left / length), if left * 4.0 < length { Tone::Attention } else { Tone::Good })
                }
                None => (String::from("-"), Tone::Soft),
            };
            let left = match ms(domain, "lease_ms").zip(length) {
                Some((left, length)) => format!("{} of {}", span(left), span(length)),
                None => String::from("none"),
            };
            let gate = ms(domain, "gate_open_ms").filter(|open| *open > 0.0);
            let gate = gate.map_or(Cell("shut".to_owned(), Tone::Soft), |open| plain(format!("open {}", span(open))));
            let voters = domain["voters_answering"].as_u64().zip(domain["voters_needed"].as_u64());
            let voters = voters.map_or_else(
                || soft("no arbiter"),
                |(answering, needed)| {
                    let tone = if answering < needed { Tone::Bad } else { Tone::Plain };
                    Cell(format!("{answering}, {needed} needed"), tone)
                },
            );
            let epoch = soft(text(domain, "epoch"));
            vec![plain(text(domain, "name")), Cell(bar, tone), plain(left), gate, voters, epoch]
        })
        .collect();
    let title = format!("{} held or asked for here", many(rows.len(), "lease"));
    Pane { kind: Kind::Leases, title, heads: &["DOMAIN", "", "LEFT", "GATE", "VOTERS", "EPOCH"], rows }
}

/// Eight cells for a part of a whole.
fn bar(part: f64) -> String {
    let filled = (1..=8).filter(|cell| f64::from(*cell) <= part * 8.0 + 0.5).count();
    "█".repeat(filled) + &"░".repeat(8 - filled)
}

fn links(look: &Look) -> Pane {
    let peers = list(&look.status, "peers");
    let of_peers = peers.iter().flat_map(|peer| {
        list(peer, "links").iter().map(move |link| {
            let state = match (peer["silent"] == true, link["up"] == true) {
                (true, _) => Cell("SILENT".to_owned(), Tone::Bad),
                (_, true) => Cell("up".to_owned(), Tone::Good),
                _ => Cell("DOWN".to_owned(), Tone::Bad),
            };
            let rtt = ms(link, "rtt_ms").map_or_else(|| String::from("-"), short_span);
            let loss = link["loss"].as_f64();
            let tone = if loss.is_some_and(|loss| loss >= 0.05) { Tone::Attention } else { Tone::Plain };
            let lost = match (loss, link["beats_lost"].as_u64(), link["beats"].as_u64()) {
                (Some(loss), Some(lost), Some(came)) => format!("{:.0} % ({lost} of {})", loss * 100.0, lost + came),
                _ => String::from("-"),
            };
            let heard = ms(link, "heard_ms").map_or_else(|| String::from("never"), |ago| format!("{} ago", span(ago)));
            vec![
                plain(text(peer, "name")),
                plain(text(link, "name")),
                state,
                plain(heard),
                plain(rtt),
                Cell(lost, tone),
            ]
        })
    });
    let of_voters = list(&look.status, "voters").iter().map(|voter| {
        let state = match voter["answers"].as_bool() {
            Some(true) => Cell("answers".to_owned(), Tone::Good),
            Some(false) => Cell("NO ANSWER".to_owned(), Tone::Bad),
            None => soft("not asked"),
        };
        let heard = ms(voter, "answered_ms").map_or_else(|| String::from("-"), |ago| format!("{} ago", span(ago)));
        vec![plain(text(voter, "name")), soft("vote"), state, plain(heard), plain("-"), plain("-")]
    });
    let rows = of_peers.chain(of_voters).collect();
    let heard = peers.iter().filter(|peer| peer["silent"] == false && !peer["heard_ms"].is_null()).count();
    let title = format!("Links: {heard} of {} heard", many(peers.len(), "peer"));
    Pane { kind: Kind::Links, title, heads: &["TO", "LINK", "STATE", "HEARD", "RTT", "LOSS"], rows }
}

fn servers(look: &Look) -> Pane {
    let services = list(&look.servers, "virtual_servers");
    let (mut rows, mut up, mut all) = (Vec::new(), 0, 0);
    for service in services {
        let state = match (service["has_quorum"].as_bool(), service["sorry"].as_bool()) {
            (Some(true), _) => Cell("up".to_owned(), Tone::Good),
            (_, Some(true)) => Cell("DOWN, sorry".to_owned(), Tone::Bad),
            _ => Cell("DOWN".to_owned(), Tone::Bad),
        };
        let suspended = if service["suspended"] == true { "not checked here, its address is elsewhere" } else { "" };
        let weight = format!("{}, {} needed", service["weight"], service["quorum"]);
        rows.push(vec![plain(text(service, "name")), state, plain(weight), soft(suspended)]);
        for server in list(service, "real_servers") {
            all += 1;
            up += usize::from(server["up"] == true);
            let state = match (server["up"].as_bool(), server["draining"].as_bool()) {
                (Some(true), Some(true)) => Cell("draining".to_owned(), Tone::Attention),
                (Some(true), _) => Cell("up".to_owned(), Tone::Good),
                _ => Cell("DOWN".to_owned(), Tone::Bad),
            };
            let weight =
                server["weight"].as_u64().map_or_else(|| String::from("not in it"), |weight| weight.to_string());
            let unknown = look.servers["connections_fault"].as_str();
            let why = match (server["fault"].as_str(), server["draining"] == true, unknown) {
                (Some(fault), ..) => fault.to_owned(),
                (None, false, _) => has(server).unwrap_or_default(),
                (None, true, Some(fault)) => format!("its connections are not known: {fault}"),
                (None, true, None) => left(server),
            };
            rows.push(vec![plain(format!("  {}", text(server, "name"))), state, plain(weight), soft(why)]);
        }
    }
    let title = format!("{}: {up} of {} up", many(services.len(), "virtual server"), many(all, "real server"));
    Pane { kind: Kind::Servers, title, heads: &["SERVER", "STATE", "WEIGHT", "WHY"], rows }
}

fn alerts(look: &Look) -> Pane {
    let rows: Vec<_> = list(&look.status, "alerts")
        .iter()
        .map(|alert| {
            let severity = text(alert, "severity");
            let tone = if severity == "critical" { Tone::Bad } else { Tone::Attention };
            let of = alert["domain"].as_str().unwrap_or("the whole node");
            // What was seen says more than what such an alert is about.
            let seen = alert["evidence"].as_str().filter(|seen| !seen.is_empty()).unwrap_or(text(alert, "what"));
            let what = format!("{seen}; to do: {}", text(alert, "remedy"));
            vec![plain(text(alert, "name")), Cell(severity.to_owned(), tone), plain(of), soft(what)]
        })
        .collect();
    let title = many(rows.len(), "alert");
    Pane { kind: Kind::Alerts, title, heads: &["ALERT", "SEVERITY", "OF", "WHAT"], rows }
}

fn events(look: &Look) -> Pane {
    let rows = look.events.iter().map(|event| {
        // To the second: 2026-11-26T17:30:00.123Z.
        let at = text(event, "at").replace('T', " ");
        let at = at.get(..19).unwrap_or(&at).to_owned();
        let of = event["domain"].as_str().unwrap_or("-");
        let what = match text(event, "kind") {
            "transition" => {
                let why = event["what"].as_str().unwrap_or_else(|| text(event, "reason"));
                let to = role(text(event, "to"));
                Cell(format!("{} → {}: {why}", text(event, "from"), to.0), to.1)
            }
            "alert" if event["raised"] == true => {
                Cell(format!("alert {} ({})", text(event, "name"), text(event, "severity")), Tone::Attention)
            }
            "alert" => plain(format!("alert {} is over", text(event, "name"))),
            _ => plain(text(event, "what")),
        };
        vec![soft(at), plain(of), what]
    });
    let rows = rows.collect();
    Pane {
        kind: Kind::Events,
        title: String::from("Events, the newest first"),
        heads: &["AT (UTC)", "OF", "WHAT"],
        rows,
    }
}
