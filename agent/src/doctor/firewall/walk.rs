//! The way of a packet through the chains of a hook.

use serde_json::{Value, json};

use super::Packet;
use super::condition::holds;

/// Jumps within jumps; nft allows no more.
const DEEPEST: usize = 16;

/// What drops a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Drop {
    pub family: String,
    pub table: String,
    /// The base chain.
    pub chain: String,
    /// In words.
    pub place: String,
}

/// How a packet leaves a chain, or a rule.
enum Verdict {
    Accepted,
    Dropped(String),
    /// Back to the chain that it came from, or to the policy.
    Returned,
    /// On to the next rule.
    On,
}

/// A chain by its name.
#[derive(Clone, Copy)]
struct Chain<'a> {
    family: &'a str,
    table: &'a str,
    name: &'a str,
}

fn objects<'a>(rules: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = rules.get("nftables").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(move |object| object.get(kind))
}

pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Every base chain that drops a packet: one that accepts it saves it from no other.
pub(super) fn drops(rules: &Value, packet: &Packet) -> Vec<Drop> {
    let families: &[&str] = if packet.ipv6 { &["inet", "ip6"] } else { &["inet", "ip"] };
    let is_meant = |chain: &&Value| text(chain, "hook") == packet.hook && families.contains(&text(chain, "family"));
    let drop = |chain: &Value| {
        let (family, table, name) = (text(chain, "family"), text(chain, "table"), text(chain, "name"));
        let place = match walk(rules, Chain { family, table, name }, packet, 0) {
            Verdict::Dropped(place) => place,
            Verdict::Returned | Verdict::On if text(chain, "policy") == "drop" => {
                format!("the policy of chain {name}, table {family} {table}")
            }
            Verdict::Returned | Verdict::On | Verdict::Accepted => return None,
        };
        Some(Drop { family: family.into(), table: table.into(), chain: name.into(), place })
    };
    objects(rules, "chain").filter(is_meant).filter_map(drop).collect()
}

fn walk(rules: &Value, chain: Chain<'_>, packet: &Packet, depth: usize) -> Verdict {
    let is_of = |rule: &&Value| {
        (text(rule, "family"), text(rule, "table"), text(rule, "chain")) == (chain.family, chain.table, chain.name)
    };
    for rule in objects(rules, "rule").filter(is_of) {
        match of_rule(rules, chain, rule, packet, depth) {
            Verdict::On => {}
            end => return end,
        }
    }
    Verdict::On
}

fn of_rule(rules: &Value, chain: Chain<'_>, rule: &Value, packet: &Packet, depth: usize) -> Verdict {
    let statements = rule.get("expr").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    // Whether all matches so far are understood, and whether one of them asks for more than the interface.
    let (mut certain, mut is_narrow, mut by_connection) = (true, false, false);
    for statement in statements {
        if let Some(condition) = statement.get("match") {
            match holds(condition, packet) {
                Some(true) => is_narrow |= is_of_protocol(condition),
                Some(false) => return Verdict::On,
                None => certain = false,
            }
        } else if let Some(xt) = statement.get("xt") {
            // A match of iptables' own, of which nft tells the name alone.
            certain = false;
            by_connection |= ["conntrack", "state"].contains(&text(xt, "name"));
        } else {
            // Without a protocol the connections meant are those that are there already: ours must pass to be one.
            if by_connection && !is_narrow && statement.get("accept").is_some() {
                return Verdict::On;
            }
            match of_statement(rules, chain, statement, packet, depth) {
                Verdict::On => {}
                Verdict::Accepted => return Verdict::Accepted,
                Verdict::Dropped(place) if certain => return Verdict::Dropped(named(place, rule, chain)),
                Verdict::Returned if certain => return Verdict::Returned,
                Verdict::Dropped(_) | Verdict::Returned => {}
            }
        }
    }
    Verdict::On
}

/// Whether a match is of what the packet bears, and not of its way.
fn is_of_protocol(condition: &Value) -> bool {
    let left = condition.get("left");
    let meta = left.and_then(|left| left.get("meta")).map(|meta| text(meta, "key"));
    meta == Some("l4proto") || left.is_some_and(|left| left.get("payload").is_some())
}

fn named(place: String, rule: &Value, chain: Chain<'_>) -> String {
    if !place.is_empty() {
        return place;
    }
    let handle = rule.get("handle").and_then(Value::as_u64).unwrap_or(0);
    format!("rule {handle} of chain {}, table {} {}", chain.name, chain.family, chain.table)
}

/// What a statement does that is no match; [`Verdict::Dropped`] without words: the rule itself.
fn of_statement(rules: &Value, chain: Chain<'_>, statement: &Value, packet: &Packet, depth: usize) -> Verdict {
    let has = |kind: &str| statement.get(kind).is_some();
    let target = |kind: &str| statement.get(kind).map(|target| text(target, "target"));
    if has("accept") || has("queue") {
        Verdict::Accepted
    } else if has("drop") || has("reject") {
        Verdict::Dropped(String::new())
    } else if has("return") {
        Verdict::Returned
    } else if let Some(name) = target("jump").or(target("goto")).filter(|_| depth < DEEPEST) {
        match walk(rules, Chain { name, ..chain }, packet, depth + 1) {
            Verdict::Returned | Verdict::On if has("goto") => Verdict::Returned,
            Verdict::Returned => Verdict::On,
            other => other,
        }
    } else if let Some(map) = statement.get("vmap") {
        of_map(rules, chain, map, packet, depth)
    } else {
        // Counters, logs, marks.
        Verdict::On
    }
}

/// A map of verdicts that is written out in the rule; where one of another kind leads is not followed.
fn of_map(rules: &Value, chain: Chain<'_>, map: &Value, packet: &Packet, depth: usize) -> Verdict {
    let elements = map.get("data").and_then(|data| data.get("set")).and_then(Value::as_array);
    let (Some(key), Some(elements)) = (map.get("key"), elements) else { return Verdict::Accepted };
    for element in elements {
        let pair = element.as_array().map(Vec::as_slice);
        let Some([right, verdict]) = pair else { return Verdict::Accepted };
        match holds(&json!({ "op": "==", "left": key, "right": right }), packet) {
            Some(true) => return of_statement(rules, chain, verdict, packet, depth),
            Some(false) => {}
            None => return Verdict::Accepted,
        }
    }
    Verdict::On
}
