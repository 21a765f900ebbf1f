//! A route as the kernel's message.

use std::net::IpAddr;

use keepone_config::model::{Named, NextHop, Route, RouteKind};
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteMplsTtlPropagation, RouteNextHop, RouteNextHopFlags,
    RoutePreference, RouteProtocol, RouteRealm, RouteScope, RouteType, RouteVia,
};

use super::encap;
use super::names::{Kind, Names, number};
use crate::netlink::batch::Indexes;

/// RTPROT_KEEPALIVED (linux/rtnetlink.h): what keepalived marks its routes with, and firewalls and daemons know.
pub(super) const PROTOCOL: u8 = 18;
/// RT_TABLE_MAIN and RT_TABLE_LOCAL.
const MAIN: u32 = 254;
const LOCAL: u32 = 255;
/// Metric of an IPv6 route that names none (`IP6_RT_PRIO_USER`, linux/ipv6_route.h).
const USUAL_METRIC: u32 = 1024;
/// `RTAX_FEATURE_ECN`.
const ECN: u32 = 1;

/// What the message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Add,
    Delete,
}

/// How it is put beside routes that are there already: before them, unless the operator says otherwise.
pub(super) fn flags(route: &Route) -> u16 {
    match route.more.iter().filter_map(|words| words.first()).find(|word| ["add", "append"].contains(&word.as_str())) {
        Some(word) if word == "add" => NLM_F_CREATE | NLM_F_EXCL,
        Some(_) => NLM_F_CREATE | NLM_F_APPEND,
        None => NLM_F_CREATE,
    }
}

/// The table that it is in.
pub(super) fn table(route: &Route, names: &Names) -> Result<u32, String> {
    match &route.table {
        Some(name) => names.number(Kind::Table, name),
        None if matches!(route.kind, RouteKind::Local | RouteKind::Broadcast | RouteKind::Anycast | RouteKind::Nat) => {
            Ok(LOCAL)
        }
        None => Ok(MAIN),
    }
}

pub(super) fn message(route: &Route, deed: Deed, names: &Names, indexes: &mut Indexes) -> Result<RouteMessage, String> {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = if route.ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    header.destination_prefix_length = route.destination.map_or(0, |to| to.length);
    header.source_prefix_length = route.from.map_or(0, |from| from.length);
    header.tos = route.tos.unwrap_or(0);
    header.protocol = protocol(route.protocol.as_ref(), names)?;
    header.kind = RouteType::from(kind(route.kind));
    header.scope = RouteScope::from(match route.scope {
        Some(scope) => scope,
        // Any (`RT_SCOPE_NOWHERE`).
        None if deed == Deed::Delete => 255,
        None => scope(route),
    });
    if route.onlink {
        header.flags |= RouteFlags::Onlink;
    }
    let table = table(route, names)?;
    header.table = u8::try_from(table).unwrap_or(0);
    let all = &mut message.attributes;
    all.push(RouteAttribute::Table(table));
    all.extend(route.destination.map(|to| RouteAttribute::Destination(to.address.into())));
    all.extend(route.from.map(|from| RouteAttribute::Source(from.address.into())));
    all.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
    let metric = route.metric.or((deed == Deed::Delete && route.ipv6).then_some(USUAL_METRIC));
    all.extend(metric.map(RouteAttribute::Priority));
    if route.nexthops.is_empty() {
        all.extend(route.via.map(|via| gateway(via, route.ipv6)));
        if let Some(dev) = &route.dev {
            all.push(RouteAttribute::Oif(index(dev, indexes)?));
        }
    } else {
        // `via A or B`: the first is one of several, too.
        let first =
            route.via.map(|via| NextHop { via: Some(via), dev: None, weight: 1, onlink: false, more: Vec::new() });
        let hops = first.iter().chain(&route.nexthops);
        let hops: Result<_, String> = hops.map(|hop| next_hop(route, hop, names, indexes)).collect();
        all.push(RouteAttribute::MultiPath(hops?));
    }
    all.extend(
        route
            .expires
            .filter(|_| deed == Deed::Add)
            .map(|after| RouteAttribute::Expires(u32::try_from(after.as_secs()).unwrap_or(u32::MAX))),
    );
    let mut metrics = metrics(route)?;
    for words in &route.more {
        more(words, names, all, &mut metrics)?;
    }
    if !metrics.is_empty() {
        all.push(RouteAttribute::Metrics(metrics));
    }
    Ok(message)
}

fn protocol(name: Option<&Named>, names: &Names) -> Result<RouteProtocol, String> {
    let Some(name) = name else { return Ok(RouteProtocol::from(PROTOCOL)) };
    let number = names.number(Kind::Protocol, name)?;
    u8::try_from(number).map(RouteProtocol::from).map_err(|_| format!("protocol {number} is above 255"))
}

/// `RTN_*` (linux/rtnetlink.h).
pub(super) fn kind(kind: RouteKind) -> u8 {
    match kind {
        RouteKind::Unicast => 1,
        RouteKind::Local => 2,
        RouteKind::Broadcast => 3,
        RouteKind::Anycast => 4,
        RouteKind::Multicast => 5,
        RouteKind::Blackhole => 6,
        RouteKind::Unreachable => 7,
        RouteKind::Prohibit => 8,
        RouteKind::Throw => 9,
        RouteKind::Nat => 10,
        RouteKind::Xresolve => 11,
    }
}

/// As far as it reaches, where the operator has not said it: 254 this host, 253 this link, 0 everywhere.
fn scope(route: &Route) -> u8 {
    match route.kind {
        _ if route.ipv6 => 0,
        RouteKind::Local | RouteKind::Nat => 254,
        RouteKind::Broadcast | RouteKind::Multicast | RouteKind::Anycast => 253,
        RouteKind::Unicast if route.via.is_none() && route.nexthops.is_empty() => 253,
        RouteKind::Unicast
        | RouteKind::Blackhole
        | RouteKind::Unreachable
        | RouteKind::Prohibit
        | RouteKind::Throw
        | RouteKind::Xresolve => 0,
    }
}

fn index(name: &str, indexes: &mut Indexes) -> Result<u32, String> {
    indexes.of(name).map_err(|_| format!("interface {name} does not exist; it is tried again when it is there"))
}

fn gateway(via: IpAddr, ipv6: bool) -> RouteAttribute {
    match via {
        IpAddr::V6(via) if !ipv6 => RouteAttribute::Via(RouteVia::Inet6(via)),
        via => RouteAttribute::Gateway(via.into()),
    }
}

fn next_hop(route: &Route, hop: &NextHop, names: &Names, indexes: &mut Indexes) -> Result<RouteNextHop, String> {
    let dev = hop.dev.as_ref().or(route.dev.as_ref());
    let mut next = RouteNextHop::default();
    next.interface_index = dev.map(|dev| index(dev, indexes)).transpose()?.unwrap_or(0);
    // One less than the weight, which is 1 at least.
    next.hops = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
    if hop.onlink {
        next.flags |= RouteNextHopFlags::Onlink;
    }
    next.attributes.extend(hop.via.map(|via| gateway(via, route.ipv6)));
    for words in &hop.more {
        more(words, names, &mut next.attributes, &mut Vec::new())?;
    }
    Ok(next)
}

fn metrics(route: &Route) -> Result<Vec<RouteMetric>, String> {
    let mut all = Vec::new();
    let mut locked = 0;
    for metric in &route.metrics {
        // `RTAX_*` (linux/rtnetlink.h).
        let (number, make): (u32, fn(u32) -> RouteMetric) = match metric.name {
            "mtu" => (2, RouteMetric::Mtu),
            "window" => (3, RouteMetric::Window),
            "rtt" => (4, RouteMetric::Rtt),
            "rttvar" => (5, RouteMetric::RttVar),
            "ssthresh" => (6, RouteMetric::SsThresh),
            "cwnd" => (7, RouteMetric::Cwnd),
            "advmss" => (8, RouteMetric::Advmss),
            "reordering" => (9, RouteMetric::Reordering),
            "hoplimit" => (10, RouteMetric::Hoplimit),
            "initcwnd" => (11, RouteMetric::InitCwnd),
            "rto_min" => (13, RouteMetric::RtoMin),
            "initrwnd" => (14, RouteMetric::InitRwnd),
            "quickack" => (15, RouteMetric::QuickAck),
            other => return Err(format!("the kernel has no metric `{other}`")),
        };
        all.push(make(metric.value));
        locked |= u32::from(metric.locked) << number;
    }
    if locked != 0 {
        all.push(RouteMetric::Lock(locked));
    }
    Ok(all)
}

/// Words that were taken as they are.
fn more(
    words: &[String],
    names: &Names,
    all: &mut Vec<RouteAttribute>,
    metrics: &mut Vec<RouteMetric>,
) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["add" | "append" | "prepend"] => {}
        ["realms", realms] => all.push(RouteAttribute::Realm(self::realms(realms, names)?)),
        ["features", "ecn"] => metrics.push(RouteMetric::Features(ECN)),
        ["congctl", name] => metrics.push(RouteMetric::CcAlgo((*name).to_owned())),
        ["congctl", "lock", name] => {
            metrics.push(RouteMetric::CcAlgo((*name).to_owned()));
            metrics.push(RouteMetric::Lock(1 << 16));
        }
        ["fastopen_no_cookie", value] => match number(value) {
            Some(value @ 0..=1) => metrics.push(RouteMetric::FastopenNoCookie(value)),
            Some(_) | None => return Err("fastopen_no_cookie is 0 or 1".to_owned()),
        },
        ["pref", value] => all.push(RouteAttribute::Preference(match *value {
            "low" => RoutePreference::Low,
            "medium" => RoutePreference::Medium,
            "high" => RoutePreference::High,
            other => return Err(format!("pref is low, medium or high, not `{other}`")),
        })),
        ["ttl-propagate", value] => all.push(RouteAttribute::TtlPropagate(match *value {
            "enabled" => RouteMplsTtlPropagation::Enabled,
            "disabled" => RouteMplsTtlPropagation::Disabled,
            other => return Err(format!("ttl-propagate is enabled or disabled, not `{other}`")),
        })),
        ["encap", rest @ ..] => all.extend(encap::attributes(rest)?),
        other => return Err(format!("`{}` can't be said of a route", other.join(" "))),
    }
    Ok(())
}

/// `[SOURCE/]DESTINATION`.
pub(super) fn realms(text: &str, names: &Names) -> Result<RouteRealm, String> {
    let (source, destination) = text.split_once('/').map_or((None, text), |(from, to)| (Some(from), to));
    let realm = |word: &str| {
        let number = names.word(Kind::Realm, word)?;
        u16::try_from(number).map_err(|_| format!("realm {number} is above 65535"))
    };
    Ok(RouteRealm { source: source.map_or(Ok(0), realm)?, destination: realm(destination)? })
}
