//! Rule sets as nft prints them, in small.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::{Value, json};

use super::walk::drops;
use super::{Packet, UDP, VRRP};

fn packet(hook: &'static str, protocol: u64, port: Option<u16>) -> Packet {
    let (what, interface) = (String::new(), String::from("eth0"));
    Packet { what, hook, interface, ipv6: false, protocol, port }
}

/// A chain of input with a policy, and its rules.
fn input(policy: &str, rules: &[Value]) -> Value {
    let chain = json!({ "chain": { "family": "inet", "table": "t", "name": "c", "hook": "input", "policy": policy } });
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
    let deep =
        json!({ "rule": { "family": "inet", "table": "t", "chain": "deep", "handle": 9, "expr": [{ "reject": {} }] } });
    rules["nftables"].as_array_mut().unwrap().push(deep);
    let place = |packet| drops(&rules, &packet).pop().map(|drop| drop.place);
    assert_eq!(place(packet("input", VRRP, None)).as_deref(), Some("rule 9 of chain deep, table inet t"));
    assert_eq!(place(packet("input", UDP, Some(7946))), None);
}
#[test]
fn iptables_rules_for_connections_that_are_there_let_no_first_packet_in() {
    let conntrack = json!({ "xt": { "type": "match", "name": "conntrack" } });
    let vrrp = packet("input", VRRP, None);
    let place = |rules: &[Value]| drops(&input("drop", rules), &vrrp).pop().map(|drop| drop.place);
    let policy = Some("the policy of chain c, table inet t");
    assert_eq!(place(&[json!([conntrack, { "counter": {} }, { "accept": null }])]).as_deref(), policy);
    assert_eq!(place(&[json!([l4proto(json!(112)), conntrack, { "accept": null }])]), None);
    let comment = json!({ "xt": { "type": "match", "name": "comment" } });
    assert_eq!(place(&[json!([comment, { "accept": null }])]), None, "it may accept");
}

#[test]
fn a_map_of_verdicts_is_looked_into() {
    let map = |left: Value, elements: Value| json!([{ "vmap": { "key": left, "data": { "set": elements } } }]);
    let state = json!({ "ct": { "key": "state" } });
    let usual = json!([["established", { "accept": null }], ["invalid", { "drop": null }]]);
    let vrrp = packet("input", VRRP, None);
    let place = |rules: &[Value]| drops(&input("drop", rules), &vrrp).pop().map(|drop| drop.place);
    let policy = Some("the policy of chain c, table inet t");
    assert_eq!(place(&[map(state.clone(), usual)]).as_deref(), policy);
    assert_eq!(place(&[map(state, json!([["new", { "accept": null }]]))]), None);
    let protocol = json!({ "meta": { "key": "l4proto" } });
    let dropped = place(&[map(protocol.clone(), json!([["vrrp", { "drop": null }]]))]);
    assert_eq!(dropped.as_deref(), Some("rule 1 of chain c, table inet t"));
    assert_eq!(place(&[json!([{ "vmap": { "key": protocol, "data": "@elsewhere" } }])]), None, "it is not followed");
}

#[test]
fn a_chain_returns_to_the_one_that_jumped() {
    let mut rules = input("accept", &[json!([{ "jump": { "target": "deep" } }]), json!([{ "drop": null }])]);
    let deep = json!({ "rule": { "family": "inet", "table": "t", "chain": "deep", "handle": 9, "expr": [{ "return": null }] } });
    rules["nftables"].as_array_mut().unwrap().push(deep);
    let place = drops(&rules, &packet("input", VRRP, None)).pop().map(|drop| drop.place);
    assert_eq!(place.as_deref(), Some("rule 2 of chain c, table inet t"));
}
