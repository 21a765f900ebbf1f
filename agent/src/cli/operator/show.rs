//! Answers for people. Nothing but the role is coloured, and that on a terminal alone.

use std::fmt::Write as _;

use serde_json::Value;

use super::events;

pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("-")
}

pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Milliseconds as people say them.
pub(super) fn span(ms: f64) -> String {
    let seconds = ms / 1000.0;
    match seconds {
        _ if ms < 1000.0 => format!("{ms:.0} ms"),
        _ if seconds < 60.0 => format!("{seconds:.1} s"),
        _ if seconds < 3600.0 => format!("{:.0} min {:.0} s", (seconds / 60.0).floor(), seconds % 60.0),
        _ if seconds < 86_400.0 => format!("{:.0} h {:.0} min", (seconds / 3600.0).floor(), seconds % 3600.0 / 60.0),
        _ => format!("{:.0} d {:.0} h", (seconds / 86_400.0).floor(), seconds % 86_400.0 / 3600.0),
    }
}

/// The same with a fraction below ten milliseconds, for round trips.
pub(super) fn short_span(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.2} ms") } else { span(ms) }
}

pub(super) fn ms(value: &Value, name: &str) -> Option<f64> {
    value[name].as_f64()
}

fn coloured(role: &str, width: usize, colours: bool) -> String {
    let padded = format!("{role:width$}");
    let colour = match role {
        "MASTER" => "32",
        "FAULT" | "FENCED" => "31",
        "CLAIMING" => "33",
        _ => return padded,
    };
    if colours { format!("\x1b[{colour}m{padded}\x1b[0m") } else { padded }
}

/// Who, and by whose word.
pub(super) fn holder(domain: &Value) -> String {
    match (domain["holder"].as_str(), domain["holder_by"].as_str()) {
        (Some(node), Some("voters")) => format!("{node} (by the voters)"),
        (Some(node), _) => node.to_owned(),
        (None, Some("advertisement")) => String::from("a VRRP router"),
        (None, _) => String::from("nobody known"),
    }
}

/// What an emptied real server still has.
pub(super) fn left(server: &Value) -> String {
    let of = |what: &str| server["connections"][what].as_u64().unwrap_or(0);
    let (active, inactive, kept) = (of("active"), of("inactive"), of("kept"));
    match (active + inactive, kept) {
        (0, 0) => String::from("it is empty"),
        (_, 0) => format!("{active} active and {inactive} inactive connections left"),
        _ => format!(
            "{active} active and {inactive} inactive connections left, and persistence keeps {kept} clients there"
        ),
    }
}

/// What a real server has by the last look at the kernel's table; `None`: it is not in it, or nothing is known yet.
pub(super) fn has(server: &Value) -> Option<String> {
    let of = |what: &str| server["connections"][what].as_u64();
    let kept = of("kept").filter(|kept| *kept > 0).map_or_else(String::new, |kept| format!(", {kept} clients kept"));
    Some(format!("{} active, {} inactive connections{kept}", of("active")?, of("inactive")?))
}

/// Virtual servers in one line; nothing where there are none.
fn summary(status: &Value) -> Option<String> {
    let of = |what: &str| status["servers"][what].as_u64();
    let connections = match (of("active"), of("inactive")) {
        (Some(active), Some(inactive)) => format!("; {active} active, {inactive} inactive connections"),
        _ => String::new(),
    };
    let (services, quorate) = (of("virtual_servers")?, of("with_quorum")?);
    let (servers, up) = (of("real_servers")?, of("up")?);
    Some(format!(
        "virtual servers: {quorate} of {services} have their quorum, {up} of {servers} real servers up{connections}"
    ))
}

/// `keepone servers`.
pub(super) fn servers(answer: &Value) -> String {
    let mut out = String::new();
    let services = list(answer, "virtual_servers");
    if services.is_empty() {
        return String::from("no virtual_server is configured here");
    }
    for service in services {
        let (weight, quorum) = (&service["weight"], &service["quorum"]);
        let state = match (service["has_quorum"].as_bool(), service["sorry"].as_bool()) {
            (Some(true), _) => "up",
            (_, Some(true)) => "DOWN, the sorry server stands in",
            _ => "DOWN",
        };
        let suspended = if service["suspended"] == true { "; not checked here, its address is elsewhere" } else { "" };
        let _ = writeln!(out, "{}  {state}: weight {weight}, quorum {quorum}{suspended}", text(service, "name"));
        for server in list(service, "real_servers") {
            let state = match (server["up"].as_bool(), server["draining"].as_bool()) {
                (Some(true), Some(true)) => "draining",
                (Some(true), _) => "up",
                _ => "DOWN",
            };
            let weight = match server["weight"].as_u64() {
                Some(weight) => format!("weight {weight}"),
                None => String::from("not in the table"),
            };
            let left = match (server["draining"] == true, answer["connections_fault"].as_str()) {
                (false, _) => has(server).map_or_else(String::new, |has| format!(", {has}")),
                (true, Some(fault)) => format!("; its connections are not known: {fault}"),
                (true, None) => format!("; {}", left(server)),
            };
            let fault = server["fault"].as_str().map_or_else(String::new, |fault| format!(": {fault}"));
            let _ = writeln!(out, "  {:<28} {state:<9} {weight}{left}{fault}", text(server, "name"));
        }
    }
    out
}

/// What is known of the way over a link: round trip and loss; of one that is down they were those of the past.
fn way(link: &Value) -> String {
    if link["up"] == false {
        return String::from(", DOWN");
    }
    let rtt = ms(link, "rtt_ms").map_or_else(String::new, |rtt| format!(", RTT {}", short_span(rtt)));
    let loss = link["loss"].as_f64().map_or_else(String::new, |loss| format!(", {:.0} % lost", loss * 100.0));
    rtt + &loss
}

/// `keepone status`.
pub(super) fn status(status: &Value, colours: bool) -> String {
    let mut out = String::new();
    let gate = match status["gate_passes"].as_bool() {
        Some(true) => "its gate passes its test",
        Some(false) => "ITS GATE FAILS ITS TEST",
        None => "its gate is not tested yet",
    };
    let _ = writeln!(out, "node {}, keepone {}; {gate}", text(status, "node"), text(status, "program"));
    if status["maintenance"] == true {
        out.push_str("MAINTENANCE: it stands for nothing until `keepone maintenance off`\n");
    }
    if let Some(lease) = ms(status, "etcd_lease_ms") {
        let _ = writeln!(
            out,
            "its grants hang on etcd's leases of {}, which end by the clock of etcd's leader: later after an election",
            span(lease)
        );
    }
    let rows = list(status, "domains").iter().map(|domain| {
        let addresses = list(domain, "instances").iter().flat_map(|one| list(one, "addresses"));
        let addresses: Vec<&str> = addresses.filter_map(Value::as_str).collect();
        let shown = addresses.iter().take(3).copied().collect::<Vec<_>>().join(" ");
        let more = addresses.len().saturating_sub(3);
        let addresses = if more > 0 { format!("{shown} and {more} more") } else { shown };
        let since = ms(domain, "for_ms").map_or_else(String::new, span);
        let reason = text(domain, "reason").to_owned();
        [text(domain, "name").to_owned(), text(domain, "role").to_owned(), holder(domain), since, reason, addresses]
    });
    let head = ["INSTANCE", "ROLE", "HOLDER", "FOR", "WHY", "ADDRESSES"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(rows).collect();
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in &rows {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            1 => coloured(cell, width, colours),
            _ => format!("{cell:width$}"),
        });
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    if let Some(line) = summary(status) {
        let _ = writeln!(out, "{line}");
    }
    for peer in list(status, "peers") {
        let heard = match (peer["silent"].as_bool(), ms(peer, "heard_ms")) {
            (_, None) => String::from("never heard"),
            (Some(true), Some(ago)) => format!("SILENT, heard {} ago", span(ago)),
            (_, Some(ago)) => format!("heard {} ago", span(ago)),
        };
        let links = list(peer, "links").iter().map(|link| match ms(link, "heard_ms") {
            Some(ago) => format!("{} {} ago{}", text(link, "name"), span(ago), way(link)),
            None => format!("{} never", text(link, "name")),
        });
        // Named where it is not this node's, as long as an upgrade is under way.
        let other = peer["release"].as_str().filter(|release| Some(*release) != status["program"].as_str());
        let runs = other.map(|release| format!(", runs {release}")).unwrap_or_default();
        let links = links.collect::<Vec<_>>().join(", ");
        let _ = writeln!(out, "peer {}: {heard}{runs} ({links})", text(peer, "name"));
    }
    features_not_used(status, &mut out);
    alerts(status, &mut out);
    out
}

/// What this release can, and a node that is heard can't: not who is down, and will say it when it is there.
fn features_not_used(status: &Value, out: &mut String) {
    let is_heard =
        |name: &&str| list(status, "peers").iter().any(|peer| text(peer, "name") == *name && peer["silent"] == false);
    for feature in list(status, "features") {
        let lacking: Vec<&str> = list(feature, "lacking").iter().filter_map(Value::as_str).filter(is_heard).collect();
        if !lacking.is_empty() {
            let name = text(feature, "name");
            let _ = writeln!(out, "not used: {name}, until {} runs a release that has it", lacking.join(" and "));
        }
    }
}

/// Those that stand, with what was seen and what there is to do.
fn alerts(status: &Value, out: &mut String) {
    for alert in list(status, "alerts") {
        let of = alert["domain"].as_str().map(|domain| format!(" of {domain}")).unwrap_or_default();
        let (severity, name, what) = (text(alert, "severity"), text(alert, "name"), text(alert, "what"));
        let ago = ms(alert, "raised_ms").map(|ago| format!(", raised {} ago", span(ago))).unwrap_or_default();
        let _ = writeln!(out, "alert {name}{of} ({severity}){ago}: {what}");
        for (label, what) in [("seen", text(alert, "evidence")), ("to do", text(alert, "remedy"))] {
            if !what.is_empty() {
                let _ = writeln!(out, "  {label}: {what}");
            }
        }
    }
    if list(status, "alerts").is_empty() {
        out.push_str("no alerts\n");
    }
}

/// `keepone why`.
pub(super) fn why(domain: &Value, last: &[Value], colours: bool) -> String {
    let mut out = String::new();
    let role = coloured(text(domain, "role"), 0, colours);
    let since = ms(domain, "for_ms").map_or_else(String::new, span);
    let _ = writeln!(
        out,
        "{} on {}: {role} for {since}, {}",
        text(domain, "name"),
        text(domain, "node"),
        text(domain, "reason")
    );
    let _ = writeln!(out, "  {}", text(domain, "what"));
    let _ = writeln!(out, "holder: {}", holder(domain));
    if let Some(epoch) = domain["epoch"].as_str() {
        let _ = writeln!(out, "epoch: {epoch}");
    }
    let words = ["health", "references", "peers", "election", "lease"];
    let words: Vec<String> = words.iter().map(|name| format!("{name}={}", text(&domain["view"], name))).collect();
    let _ = writeln!(out, "the row that holds: {} → {}", words.join(" "), text(domain, "reason"));
    out.push_str("evidence:\n");
    for line in list(domain, "evidence").iter().filter_map(Value::as_str) {
        let _ = writeln!(out, "  {line}");
    }
    out.push_str("last transitions:\n");
    for event in last {
        let _ = writeln!(out, "  {}", events::words(event, false));
    }
    if last.is_empty() {
        out.push_str("  none on record\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn spans_are_read_at_a_glance() {
        let shown = [12.4, 999.0, 61_000.0, 7_260_000.0, 180_000_000.0].map(span);
        assert_eq!(shown, ["12 ms", "999 ms", "1 min 1 s", "2 h 1 min", "2 d 2 h"]);
    }

    #[test]
    fn the_table_says_who_holds_what_and_is_coloured_only_if_asked() {
        let domain = |name: &str, role: &str, holder: Value, by: Value| {
            json!({ "name": name, "role": role, "holder": holder, "holder_by": by, "for_ms": 1500.0, "reason": "elected",
                "instances": [{ "addresses": ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"] }] })
        };
        let all = json!({ "node": "n1", "program": "1", "gate_passes": true, "maintenance": true,
            "etcd_lease_ms": 2000.0, "domains": [
            domain("VI_1", "MASTER", json!("n1"), json!("gate")), domain("a-long-one", "BACKUP", json!(null), json!(null)),
        ], "peers": [{ "name": "n2", "silent": true, "heard_ms": 2000.0, "links": [{ "name": "hb0", "heard_ms": null },
                { "name": "hb1", "up": true, "heard_ms": 200.0, "rtt_ms": 0.4321, "loss": 0.25 },
                { "name": "hb2", "up": false, "heard_ms": 2000.0, "rtt_ms": 0.4321, "loss": 0.0 }] },
                { "name": "n3", "silent": false, "heard_ms": 20.0, "links": [], "release": "2" },
                { "name": "n4", "silent": false, "heard_ms": 20.0, "links": [], "release": "1" }],
            "features": [{ "name": "f", "used": false, "lacking": ["n2", "n3"] }, { "name": "g", "used": false, "lacking": ["n2"] },
                { "name": "h", "used": true, "lacking": [] }],
            "alerts": [{ "name": "isolated", "domain": "VI_1", "severity": "critical", "what": "W",
                "raised_ms": 2500.0, "evidence": "E", "remedy": "R" }] });
        let plain = status(&all, false);
        let wanted = "node n1, keepone 1; its gate passes its test\n\
            MAINTENANCE: it stands for nothing until `keepone maintenance off`\n\
            its grants hang on etcd's leases of 2.0 s, which end by the clock of etcd's leader: later after an election\n\
            INSTANCE    ROLE    HOLDER        FOR    WHY      ADDRESSES\n\
            VI_1        MASTER  n1            1.5 s  elected  10.0.0.1 10.0.0.2 10.0.0.3 and 1 more\n\
            a-long-one  BACKUP  nobody known  1.5 s  elected  10.0.0.1 10.0.0.2 10.0.0.3 and 1 more\n\
            peer n2: SILENT, heard 2.0 s ago (hb0 never, hb1 200 ms ago, RTT 0.43 ms, 25 % lost, hb2 2.0 s ago, DOWN)\n\
            peer n3: heard 20 ms ago, runs 2 ()\n\
            peer n4: heard 20 ms ago ()\n\
            not used: f, until n3 runs a release that has it\n\
            alert isolated of VI_1 (critical), raised 2.5 s ago: W\n  seen: E\n  to do: R\n";
        assert_eq!(plain, wanted);
        let colourful = status(&all, true);
        assert!(colourful.contains("\x1b[32mMASTER\x1b[0m") && !colourful.contains("\x1b[32mBACKUP"), "{colourful}");
    }
}
