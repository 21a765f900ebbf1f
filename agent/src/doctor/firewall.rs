//! Rules that drop VRRP or heartbeats: the rule set as `nft -j` lists it, walked as the kernel would walk it for
//! packets like ours. iptables-nft writes into the same rule set.
//!
//! What is not understood is taken not to drop, so that nobody is sent after a rule that does nothing; and what it might
//! accept, to accept.

use std::process::Command;

use serde_json::Value;

use super::{Finding, Report, Severity};
use crate::assemble::Plan;
use crate::net::vrrp::Family;

/// Jumps within jumps; nft allows no more.
const DEEPEST: usize = 16;
const VRRP: u64 = 112;
const UDP: u64 = 17;

/// A packet that must pass.
#[derive(Debug, Clone)]
struct Packet {
    /// In words.
    what: String,
    hook: &'static str,
    interface: String,
    ipv6: bool,
    protocol: u64,
    /// UDP's destination.
    port: Option<u16>,
}

/// Looks.
pub(super) fn look(plan: &Plan, report: &mut Report) {
    let rules = match list() {
        Ok(rules) => rules,
        Err(why) => return report.skipped.push(format!("firewall: {why}")),
    };
    let mut found: Vec<Finding> = Vec::new();
    for packet in packets(plan) {
        for drop in drops(&rules, &packet) {
            let finding = Finding {
                name: "firewall",
                severity: Severity::Fault,
                place: format!("{} of {}", packet.hook, packet.interface),
                what: format!("{} is dropped by {}", packet.what, drop.place),
                remedy: drop.remedy(&packet),
            };
            if !found.contains(&finding) {
                found.push(finding);
            }
        }
    }
    report.findings.extend(found);
}

fn list() -> Result<Value, String> {
    let output = Command::new("nft").args(["-j", "list", "ruleset"]).output();
    let output =
        output.map_err(|error| format!("nft can't be run ({error}): install nftables to have its rules looked at"))?;
    if !output.status.success() {
        return Err(format!("nft lists no rules: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("what nft lists is not understood: {error}"))
}

fn packets(plan: &Plan) -> Vec<Packet> {
    let mut packets = Vec::new();
    let mut both = |what: String, interface: &str, ipv6, protocol, port| {
        for hook in ["input", "output"] {
            let (what, interface) = (what.clone(), interface.to_owned());
            packets.push(Packet { what, hook, interface, ipv6, protocol, port });
        }
    };
    for socket in &plan.sockets {
        let interface = plan.beneath(socket.interface);
        let Some(known) = plan.settings.interfaces.get(usize::from(interface.0)) else { continue };
        both(String::from("VRRP (IP protocol 112)"), &known.name, socket.family == Family::V6, VRRP, None);
    }
    for link in &plan.links {
        let (port, ipv6) = (link.local.port(), link.local.is_ipv6());
        both(format!("heartbeats of {} (UDP {port})", link.name), &link.interface, ipv6, UDP, Some(port));
    }
    packets
}

/// What drops a packet.
#[derive(Debug, PartialEq, Eq)]
struct Drop {
    family: String,
    table: String,
    chain: String,
    place: String,
}

impl Drop {
    fn remedy(&self, packet: &Packet) -> String {
        let Drop { family, table, chain, .. } = self;
        let way = if packet.hook == "input" { "iifname" } else { "oifname" };
        let port = packet.port.map_or_else(|| String::from("meta l4proto 112"), |port| format!("udp dport {port}"));
        format!(
            "`nft insert rule {family} {table} {chain} {way} {} {port} accept`, and the same in the firewall's own files",
            packet.interface
        )
    }
}

/// How a packet leaves a chain.
enum Verdict {
    Accepted,
    Dropped(String),
    /// At the end of the chain.
    Through,
}

fn objects<'a>(rules: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = rules.get("nftables").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(move |object| object.get(kind))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Every base chain that drops a packet: one that accepts it saves it from no other.
fn drops(rules: &Value, packet: &Packet) -> Vec<Drop> {
    let families: &[&str] = if packet.ipv6 { &["inet", "ip6"] } else { &["inet", "ip"] };
    let is_meant = |chain: &&Value| text(chain, "hook") == packet.hook && families.contains(&text(chain, "family"));
    let chains = objects(rules, "chain").filter(is_meant);
    let drop = |chain: &Value| {
        let (family, table, name) = (text(chain, "family"), text(chain, "table"), text(chain, "name"));
        let place = match walk(rules, (family, table, name), packet, 0) {
            Verdict::Dropped(place) => place,
            Verdict::Through if text(chain, "policy") == "drop" => {
                format!("the policy of chain {name}, table {family} {table}")
            }
            Verdict::Through | Verdict::Accepted => return None,
        };
        Some(Drop { family: family.into(), table: table.into(), chain: name.into(), place })
    };
    chains.filter_map(drop).collect()
}

fn walk(rules: &Value, (family, table, chain): (&str, &str, &str), packet: &Packet, depth: usize) -> Verdict {
    let is_of =
        |rule: &&Value| (text(rule, "family"), text(rule, "table"), text(rule, "chain")) == (family, table, chain);
    for rule in objects(rules, "rule").filter(is_of) {
        let statements = rule.get("expr").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut certain = true;
        let mut applies = true;
        for statement in statements {
            if let Some(condition) = statement.get("match") {
                match holds(condition, packet) {
                    Some(true) => {}
                    Some(false) => applies = false,
                    None => certain = false,
                }
                continue;
            }
            if !applies {
                break;
            }
            let target = |kind: &str| statement.get(kind).map(|target| text(target, "target"));
            let has = |kind: &str| statement.get(kind).is_some();
            if has("xt") {
                // A match of iptables' own, or a target of which nothing is known.
                certain = false;
            } else if has("accept") {
                return Verdict::Accepted;
            } else if (has("drop") || has("reject")) && certain {
                let handle = rule.get("handle").and_then(Value::as_u64).unwrap_or(0);
                return Verdict::Dropped(format!("rule {handle} of chain {chain}, table {family} {table}"));
            } else if has("return") {
                if certain {
                    return Verdict::Through;
                }
            } else if let Some(target) = target("jump").or(target("goto")).filter(|_| depth < DEEPEST) {
                match walk(rules, (family, table, target), packet, depth + 1) {
                    Verdict::Dropped(place) if certain => return Verdict::Dropped(place),
                    Verdict::Accepted => return Verdict::Accepted,
                    Verdict::Through if certain && has("goto") => return Verdict::Through,
                    Verdict::Dropped(_) | Verdict::Through => {}
                }
            } else if has("vmap") {
                // Where it leads is not followed.
                return Verdict::Accepted;
            }
        }
    }
    Verdict::Through
}

/// Whether a condition holds for a packet; `None`: it is not understood.
fn holds(condition: &Value, packet: &Packet) -> Option<bool> {
    let (left, right) = (condition.get("left")?, condition.get("right")?);
    let is = if let Some(meta) = left.get("meta") {
        match text(meta, "key") {
            "l4proto" => is_among(right, &protocol(packet))?,
            "nfproto" => is_among(right, &[if packet.ipv6 { "ipv6" } else { "ipv4" }.into()])?,
            "iifname" | "iif" if packet.hook == "input" => is_among(right, std::slice::from_ref(&packet.interface))?,
            "oifname" | "oif" if packet.hook == "output" => is_among(right, std::slice::from_ref(&packet.interface))?,
            _ => return None,
        }
    } else if let Some(payload) = left.get("payload") {
        match (text(payload, "protocol"), text(payload, "field")) {
            ("ip", "protocol") if !packet.ipv6 => is_among(right, &protocol(packet))?,
            ("ip6", "nexthdr") if packet.ipv6 => is_among(right, &protocol(packet))?,
            ("ip", _) if packet.ipv6 => false,
            ("ip6", _) if !packet.ipv6 => false,
            ("udp" | "th", "dport") if packet.protocol == UDP => is_among(right, &[packet.port?.to_string()])?,
            // Of another protocol than ours.
            ("tcp" | "udp" | "icmp" | "icmpv6" | "sctp" | "dccp" | "th", _) if packet.protocol == VRRP => false,
            ("tcp" | "icmp" | "icmpv6" | "sctp" | "dccp", _) => false,
            _ => return None,
        }
    } else if left.get("ct").is_some_and(|ct| text(ct, "key") == "state") {
        // Whatever is new must pass, or nothing follows.
        is_among(right, &[String::from("new")])?
    } else {
        return None;
    };
    match text(condition, "op") {
        "!=" => Some(!is),
        "==" | "in" | "" => Some(is),
        _ => None,
    }
}

fn protocol(packet: &Packet) -> Vec<String> {
    let name = if packet.protocol == VRRP { "vrrp" } else { "udp" };
    vec![name.into(), packet.protocol.to_string()]
}

/// Whether any of the words is meant by a value: a word, a number, several, or a range of numbers.
fn is_among(value: &Value, words: &[String]) -> Option<bool> {
    match value {
        Value::String(name) if name.starts_with('@') => None,
        Value::String(name) => {
            let fits = |word: &String| match name.strip_suffix('*') {
                Some(begin) => word.starts_with(begin),
                None => word == name,
            };
            Some(words.iter().any(fits))
        }
        Value::Number(number) => Some(words.contains(&number.to_string())),
        Value::Array(all) => any(all, words),
        Value::Object(fields) => {
            if let Some(all) = fields.get("set").and_then(Value::as_array) {
                return any(all, words);
            }
            let range = fields.get("range").and_then(Value::as_array)?;
            let (low, high) = (range.first()?.as_u64()?, range.get(1)?.as_u64()?);
            let numbers = words.iter().filter_map(|word| word.parse::<u64>().ok());
            Some(numbers.into_iter().any(|number| (low..=high).contains(&number)))
        }
        Value::Null | Value::Bool(_) => None,
    }
}

fn any(all: &[Value], words: &[String]) -> Option<bool> {
    let each: Vec<Option<bool>> = all.iter().map(|one| is_among(one, words)).collect();
    if each.contains(&Some(true)) { Some(true) } else { each.into_iter().collect::<Option<Vec<_>>>().map(|_| false) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn packet(hook: &'static str, protocol: u64, port: Option<u16>) -> Packet {
        let (what, interface) = (String::new(), String::from("eth0"));
        Packet { what, hook, interface, ipv6: false, protocol, port }
    }

    /// A chain of input with a policy, and its rules.
    fn input(policy: &str, rules: &[Value]) -> Value {
        let chain =
            json!({ "chain": { "family": "inet", "table": "t", "name": "c", "hook": "input", "policy": policy } });
        let rule = |(handle, expr): (usize, &Value)| json!({ "rule": { "family": "inet", "table": "t", "chain": "c", "handle": handle + 1, "expr": expr } });
        let all: Vec<Value> = std::iter::once(chain).chain(rules.iter().enumerate().map(rule)).collect();
        json!({ "nftables": all })
    }

    fn is(left: Value, right: Value) -> Value {
        json!({ "match": { "op": "==", "left": left, "right": right } })
    }

    fn l4proto(value: Value) -> Value {
        is(json!({ "meta": { "key": "l4proto" } }), value)
    }

    fn dport(value: Value) -> Value {
        is(json!({ "payload": { "protocol": "udp", "field": "dport" } }), value)
    }

    #[test]
    fn a_policy_that_drops_what_no_rule_accepts_is_named() {
        let established = is(json!({ "ct": { "key": "state" } }), json!(["established", "related"]));
        let ssh = is(json!({ "payload": { "protocol": "tcp", "field": "dport" } }), json!(22));
        let usual = [json!([established, { "accept": null }]), json!([ssh, { "accept": null }])];
        let found = drops(&input("drop", &usual), &packet("input", VRRP, None));
        assert_eq!(found.first().map(|drop| drop.place.as_str()), Some("the policy of chain c, table inet t"));
        assert_eq!(drops(&input("accept", &usual), &packet("input", VRRP, None)), []);
        assert_eq!(drops(&input("drop", &usual), &packet("output", VRRP, None)), [], "another hook");
        let good = [&usual[..], &[json!([l4proto(json!("vrrp")), { "accept": null }])]].concat();
        assert_eq!(drops(&input("drop", &good), &packet("input", VRRP, None)), []);
    }

    #[test]
    fn a_rule_that_drops_is_named_and_one_for_others_is_not() {
        let ranges =
            [json!([dport(json!({ "set": [53, { "range": [7000, 8000] }] })), { "counter": {} }, { "drop": null }])];
        let heartbeat = packet("input", UDP, Some(7946));
        let place = |rules: &[Value]| drops(&input("accept", rules), &heartbeat).pop().map(|drop| drop.place);
        assert_eq!(place(&ranges).as_deref(), Some("rule 1 of chain c, table inet t"));
        assert_eq!(place(&[json!([dport(json!({ "range": [8001, 9000] })), { "drop": null }])]), None);
        let elsewhere = is(json!({ "meta": { "key": "iifname" } }), json!("eth1"));
        assert_eq!(place(&[json!([elsewhere, { "drop": null }])]), None);
        let not_here = json!({ "match": { "op": "!=", "left": { "meta": { "key": "iifname" } }, "right": "eth*" } });
        assert_eq!(place(&[json!([not_here, { "drop": null }])]), None);
        // A source that is not known, and a match of iptables' own: it may not be ours.
        let source = is(json!({ "payload": { "protocol": "ip", "field": "saddr" } }), json!("10.0.0.1"));
        assert_eq!(place(&[json!([source, { "drop": null }])]), None);
        assert_eq!(place(&[json!([{ "xt": { "type": "match", "name": "comment" } }, { "drop": null }])]), None);
    }

    #[test]
    fn jumps_are_followed() {
        let mut rules = input("accept", &[json!([l4proto(json!(112)), { "jump": { "target": "deep" } }])]);
        let deep = json!({ "rule": { "family": "inet", "table": "t", "chain": "deep", "handle": 9, "expr": [{ "reject": {} }] } });
        rules["nftables"].as_array_mut().unwrap().push(deep);
        let place = |packet| drops(&rules, &packet).pop().map(|drop| drop.place);
        assert_eq!(place(packet("input", VRRP, None)).as_deref(), Some("rule 9 of chain deep, table inet t"));
        assert_eq!(place(packet("input", UDP, Some(7946))), None);
    }
}
