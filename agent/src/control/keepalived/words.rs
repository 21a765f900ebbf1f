//! Addresses, routes, rules and commands as keepalived's dumps have them: much as `ip` would, and told from its output.

use std::fmt::Write as _;

use keepone_config::model::{NextHop, Prefix, Route, RouteKind, Rule, RuleAction, Script, VirtualAddress};

use super::Of;
use crate::netlink::path::{number_of_protocol, number_of_table};

/// What routes and rules are marked with: keepalived's number in rt_protos.
const PROTOCOL: &str = "18";
/// The table `main`, which is not named of a route.
const MAIN: &str = "254";

/// Those that Advertisements carry, or the others.
pub(super) fn addresses(of: Of<'_>, excluded: bool, is_set: bool) -> Vec<String> {
    let all = of.instance.virtual_addresses.iter().enumerate();
    let wanted = all.filter(|(_, address)| address.excluded == excluded);
    wanted.map(|(at, one)| address(of, at, one, is_set)).collect()
}

fn address(of: Of<'_>, at: usize, one: &VirtualAddress, is_set: bool) -> String {
    let options = &one.options;
    let base = one.dev.as_deref().unwrap_or(&of.instance.interface);
    let mut text = prefix(Prefix { address: one.address, length: one.prefix });
    let mut add = |words: std::fmt::Arguments<'_>| {
        let _ = text.write_fmt(words);
    };
    if let Some(broadcast) = one.broadcast {
        add(format_args!(" brd {broadcast}"));
    }
    match of.own.bears(of.place, at) {
        Some(own) => add(format_args!(" dev {own}@{base}")),
        None => add(format_args!(" dev {base}")),
    }
    add(format_args!(" scope {:?}", one.scope));
    if let Some(label) = &one.label {
        add(format_args!(" label {label}"));
    }
    if let Some(peer) = options.peer {
        // With its length, whatever it is.
        add(format_args!(" peer {}/{}", peer.address, peer.length));
    }
    let flags = [
        (options.home, "home"),
        (options.nodad, "-nodad"),
        (options.mngtmpaddr, "mngtmpaddr"),
        (options.noprefixroute, "noprefixroute"),
        (options.autojoin, "autojoin"),
    ];
    for (_, word) in flags.iter().filter(|(is_so, _)| *is_so) {
        add(format_args!(" {word}"));
    }
    if one.address.is_ipv6() {
        // As it is set: one that is on no network is not to be the source of new connections.
        match options.preferred_lft.unwrap_or(if one.prefix == 128 { 0 } else { u32::MAX }) {
            0 => add(format_args!(" deprecated")),
            u32::MAX => add(format_args!(" preferred_lft forever")),
            seconds => add(format_args!(" preferred_lft {seconds}")),
        }
    }
    if options.no_track {
        add(format_args!(" no_track"));
    }
    if is_set {
        add(format_args!(" set"));
    }
    text
}

/// A host without its length.
fn prefix(of: Prefix) -> String {
    match (of.address.is_ipv4(), of.length) {
        (true, 32) | (false, 128) => of.address.to_string(),
        _ => format!("{}/{}", of.address, of.length),
    }
}

/// `prepend` what others of the same prefix are to stand behind, `add` the rest.
pub(super) fn route(route: &Route) -> String {
    let mut words = vec![match (route.kind, route.destination) {
        (RouteKind::Unicast, _) => "prepend".to_owned(),
        (kind, _) => format!("add {}", kind_word(kind)),
    }];
    let everywhere = if route.ipv6 { "::/0" } else { "0.0.0.0/0" };
    words.push(route.destination.map_or_else(|| everywhere.to_owned(), prefix));
    words.extend(route.from.map(|from| format!("from {}", prefix(from))));
    words.extend(route.source.map(|source| format!("src {source}")));
    words.extend(route.tos.map(|tos| format!("tos {tos}")));
    words.extend(route.via.map(gateway));
    words.extend(route.dev.as_ref().map(|dev| format!("dev {dev}")));
    let table = route.table.as_ref().map(number_of_table).filter(|table| table != MAIN);
    words.extend(table.map(|table| format!("table {table}")));
    // By its mark keepalived knows again what it has made; what it does not track has none.
    let mark = || (!route.no_track).then(|| PROTOCOL.to_owned());
    let protocol = route.protocol.as_ref().map(number_of_protocol).or_else(mark);
    words.extend(protocol.map(|protocol| format!("proto {protocol}")));
    words.extend(route.scope.map(|scope| format!("scope {scope}")));
    words.extend(route.metric.map(|metric| format!("metric {metric}")));
    words.extend(route.onlink.then(|| "onlink".to_owned()));
    for metric in &route.metrics {
        let lock = if metric.locked { " lock" } else { "" };
        words.push(format!("{}{lock} {}", metric.name, metric.value));
    }
    words.extend(route.more.iter().map(|more| more.join(" ")));
    words.extend(route.nexthops.iter().map(next_hop));
    // Without an interface it can't be told when it goes away.
    words.extend((route.no_track || route.dev.is_none()).then(|| "no_track".to_owned()));
    words.join(" ")
}

fn gateway(via: std::net::IpAddr) -> String {
    format!("via {} {via}", if via.is_ipv4() { "inet" } else { "inet6" })
}

fn next_hop(hop: &NextHop) -> String {
    let mut words = vec!["nexthop".to_owned()];
    words.extend(hop.via.map(gateway));
    words.extend(hop.dev.as_ref().map(|dev| format!("dev {dev}")));
    words.extend((hop.weight > 1).then(|| format!("weight {}", hop.weight)));
    words.extend(hop.onlink.then(|| "onlink".to_owned()));
    words.join(" ")
}

fn kind_word(kind: RouteKind) -> &'static str {
    match kind {
        RouteKind::Unicast => "unicast",
        RouteKind::Local => "local",
        RouteKind::Broadcast => "broadcast",
        RouteKind::Anycast => "anycast",
        RouteKind::Multicast => "multicast",
        RouteKind::Blackhole => "blackhole",
        RouteKind::Unreachable => "unreachable",
        RouteKind::Prohibit => "prohibit",
        RouteKind::Throw => "throw",
        RouteKind::Nat => "nat",
        RouteKind::Xresolve => "xresolve",
    }
}

/// With the preference that it has in the kernel.
pub(super) fn rule(rule: &Rule) -> String {
    let mut words = vec![];
    words.extend(rule.not.then(|| "not".to_owned()));
    words.push(format!("from {}", rule.from.map_or_else(|| "all".to_owned(), prefix)));
    words.extend(rule.to.map(|to| format!("to {}", prefix(to))));
    words.extend(rule.preference.map(|preference| format!("priority {preference}")));
    words.push(format!("tos {:#x}", rule.tos.unwrap_or(0)));
    words.extend(rule.fwmark.map(|(mark, mask)| match mask {
        u32::MAX => format!("fwmark {mark:#x}"),
        mask => format!("fwmark {mark:#x}/{mask:#x}"),
    }));
    words.extend(rule.iif.as_ref().map(|iif| format!("iif {iif}")));
    words.extend(rule.oif.as_ref().map(|oif| format!("oif {oif}")));
    words.extend(rule.uids.map(|(first, last)| format!("uidrange {first}-{last}")));
    let range = |name: &str, (first, last): (u16, u16)| format!("{name} {first}-{last}");
    words.extend((!rule.no_track).then(|| format!("protocol {PROTOCOL}")));
    words.extend(rule.more.iter().map(|more| more.join(" ")));
    words.extend(rule.sport.map(|ports| range("sport", ports)));
    words.extend(rule.dport.map(|ports| range("dport", ports)));
    words.push(match &rule.action {
        RuleAction::Lookup(table) => format!("lookup {}", number_of_table(table)),
        RuleAction::L3mdev => "l3mdev".to_owned(),
        RuleAction::Goto(preference) => format!("goto {preference}"),
        RuleAction::Nop => "type nop".to_owned(),
        RuleAction::Like(kind) => format!("type {}", kind_word(*kind)),
    });
    words.extend(rule.no_track.then(|| "no_track".to_owned()));
    words.join(" ")
}

/// Each word in quotes.
pub(super) fn command(script: &Script) -> String {
    let words: Vec<String> = script.command.iter().map(|word| format!("'{word}'")).collect();
    words.join(" ")
}
