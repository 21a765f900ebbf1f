//! Whether a match of a rule is of a packet.

use serde_json::Value;

use super::walk::text;
use super::{Packet, UDP, VRRP};

/// Whether a condition holds for a packet; `None`: it is not understood.
pub(super) fn holds(condition: &Value, packet: &Packet) -> Option<bool> {
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
