//! Tunnels without an interface: `encap` of a route (linux/lwtunnel.h).

use netlink_packet_core::DefaultNla;
use netlink_packet_route::route::{
    MplsLabel, RouteAttribute, RouteIp6Tunnel, RouteIp6TunnelFlags, RouteIpTunnel, RouteIpTunnelFlags,
    RouteLwEnCapType, RouteLwTunnelEncap, RouteMplsIpTunnel,
};

use super::names::number;

/// `ILA_ATTR_LOCATOR` (linux/ila.h).
const ILA_LOCATOR: u16 = 1;

/// The words after `encap`.
pub(super) fn attributes(words: &[&str]) -> Result<Vec<RouteAttribute>, String> {
    let (kind, all) = match words {
        ["ip", rest @ ..] => (RouteLwEnCapType::Ip, pairs(rest, ip)?),
        ["ip6", rest @ ..] => (RouteLwEnCapType::Ip6, pairs(rest, ip6)?),
        ["mpls", labels, rest @ ..] => {
            let mut all = vec![RouteLwTunnelEncap::Mpls(RouteMplsIpTunnel::Destination(stack(labels)?))];
            all.extend(pairs(rest, mpls)?);
            (RouteLwEnCapType::Mpls, all)
        }
        ["ila", locator] => (RouteLwEnCapType::Ila, vec![ila(locator)?]),
        other => return Err(format!("`encap {}` is none of ip, ip6, mpls LABELS and ila LOCATOR", other.join(" "))),
    };
    Ok(vec![RouteAttribute::EncapType(kind), RouteAttribute::Encap(all)])
}

fn pairs(
    words: &[&str],
    read: impl Fn(&str, &str) -> Option<RouteLwTunnelEncap>,
) -> Result<Vec<RouteLwTunnelEncap>, String> {
    let pair = |pair: &[&str]| match pair {
        [word, value] => read(word, value).ok_or_else(|| format!("`{word} {value}` after encap")),
        other => Err(format!("`{}` after encap has no value", other.join(" "))),
    };
    words.chunks(2).map(pair).collect()
}

fn octet(text: &str) -> Option<u8> {
    number(text).and_then(|number| u8::try_from(number).ok())
}

fn bits(text: &str) -> Option<u16> {
    number(text).and_then(|number| u16::try_from(number).ok())
}

fn ip(word: &str, value: &str) -> Option<RouteLwTunnelEncap> {
    Some(RouteLwTunnelEncap::Ip(match word {
        "id" => RouteIpTunnel::Id(value.parse().ok()?),
        "dst" => RouteIpTunnel::Destination(value.parse().ok()?),
        "src" => RouteIpTunnel::Source(value.parse().ok()?),
        "tos" => RouteIpTunnel::Tos(octet(value)?),
        "ttl" => RouteIpTunnel::Ttl(octet(value)?),
        "flags" => RouteIpTunnel::Flags(RouteIpTunnelFlags::from_bits_retain(bits(value)?)),
        _ => return None,
    }))
}

fn ip6(word: &str, value: &str) -> Option<RouteLwTunnelEncap> {
    Some(RouteLwTunnelEncap::Ip6(match word {
        "id" => RouteIp6Tunnel::Id(value.parse().ok()?),
        "dst" => RouteIp6Tunnel::Destination(value.parse().ok()?),
        "src" => RouteIp6Tunnel::Source(value.parse().ok()?),
        "tc" => RouteIp6Tunnel::Tc(octet(value)?),
        "hoplimit" => RouteIp6Tunnel::Hoplimit(octet(value)?),
        "flags" => RouteIp6Tunnel::Flags(RouteIp6TunnelFlags::from_bits_retain(bits(value)?)),
        _ => return None,
    }))
}

fn mpls(word: &str, value: &str) -> Option<RouteLwTunnelEncap> {
    (word == "ttl").then(|| octet(value))?.map(|ttl| RouteLwTunnelEncap::Mpls(RouteMplsIpTunnel::Ttl(ttl)))
}

/// `100/200`: the last is the bottom of the stack.
fn stack(text: &str) -> Result<Vec<MplsLabel>, String> {
    let labels: Option<Vec<u32>> = text.split('/').map(|label| number(label).filter(|n| *n < 1 << 20)).collect();
    let labels = labels.ok_or_else(|| format!("`{text}` are no MPLS labels: write for instance 100/200"))?;
    let last = labels.len() - 1;
    let label = |(at, label)| MplsLabel { label, traffic_class: 0, bottom_of_stack: at == last, ttl: 0 };
    Ok(labels.into_iter().enumerate().map(label).collect())
}

/// Four groups of an address, the upper half of an IPv6 address.
fn ila(text: &str) -> Result<RouteLwTunnelEncap, String> {
    let groups: Option<Vec<u16>> = text.split(':').map(|group| u16::from_str_radix(group, 16).ok()).collect();
    let groups = groups.filter(|groups| groups.len() == 4);
    let groups = groups.ok_or_else(|| format!("`{text}` is no locator: write for instance 2001:db8:0:1"))?;
    let octets = groups.into_iter().flat_map(u16::to_be_bytes).collect();
    Ok(RouteLwTunnelEncap::Other(DefaultNla::new(ILA_LOCATOR, octets)))
}
