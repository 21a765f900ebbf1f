//! Lines of `virtual_routes`, `virtual_rules` and their static siblings: the words of `ip route` and `ip rule`.

mod rule;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::model::{Named, NextHop, PathMetric, Prefix, Route, RouteKind};
use crate::source::At;
use crate::tree::{Item, Word};

use super::{Lower, Wanted, address, value};

/// Metrics of a path, each perhaps after `lock`.
const METRICS: [&str; 13] = [
    "mtu",
    "advmss",
    "rtt",
    "rttvar",
    "reordering",
    "window",
    "cwnd",
    "ssthresh",
    "rto_min",
    "initcwnd",
    "initrwnd",
    "hoplimit",
    "quickack",
];
/// Words that are taken as they are, and by how many others they are followed.
const MORE: [(&str, usize); 9] = [
    ("realms", 1),
    ("features", 1),
    ("congctl", 1),
    ("pref", 1),
    ("ttl-propagate", 1),
    ("fastopen_no_cookie", 1),
    ("prepend", 0),
    ("append", 0),
    ("add", 0),
];
const KINDS: &[(&str, RouteKind)] = &[
    ("unicast", RouteKind::Unicast),
    ("local", RouteKind::Local),
    ("broadcast", RouteKind::Broadcast),
    ("anycast", RouteKind::Anycast),
    ("multicast", RouteKind::Multicast),
    ("blackhole", RouteKind::Blackhole),
    ("unreachable", RouteKind::Unreachable),
    ("prohibit", RouteKind::Prohibit),
    ("throw", RouteKind::Throw),
    ("nat", RouteKind::Nat),
    ("xresolve", RouteKind::Xresolve),
];

/// The words of a line, one after the other.
struct Words<'a> {
    words: std::slice::Iter<'a, Word>,
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.as_slice().first().map(|word| word.text.as_str())
    }

    /// The value after a word; a complaint if there is none.
    fn after(&mut self, lower: &mut Lower<'_>, word: &Word) -> Option<&'a Word> {
        let next = self.words.next();
        if next.is_none() {
            let message = format!("`{}` without a value", super::shorten(&word.text));
            lower.report.error(&word.place, message, "write the value after it");
        }
        next
    }

    fn read<T>(
        &mut self,
        lower: &mut Lower<'_>,
        word: &Word,
        parse: impl FnOnce(&str) -> Result<T, Wanted>,
    ) -> Option<T> {
        let value = self.after(lower, word)?;
        lower.word(&word.text, value, parse).map(|at| at.value)
    }

    /// So many words as they are.
    fn take(&mut self, word: &Word, count: usize) -> Vec<String> {
        let mut taken = vec![word.text.to_string()];
        taken.extend(self.words.by_ref().take(count).map(|word| word.text.to_string()));
        taken
    }
}

impl Lower<'_> {
    pub(super) fn routes(&mut self, item: &Item) -> Vec<At<Route>> {
        let lines = self.lines(item);
        lines.iter().filter_map(|line| self.route(line)).collect()
    }

    fn route(&mut self, line: &[Word]) -> Option<At<Route>> {
        let first = line.first()?;
        let mut route = empty();
        let mut words = Words { words: line.iter() };
        let (mut family, mut has_destination) = (None, false);
        while let Some(word) = words.words.next() {
            match word.text.as_str() {
                "inet" => family = Some(false),
                "inet6" => family = Some(true),
                "default" if !has_destination => has_destination = true,
                "src" => route.source = Some(words.read(self, word, value::address)?),
                "via" | "gw" => route.via = Some(self.gateway(&mut words, word)?),
                "or" => {
                    let via = Some(self.gateway(&mut words, word)?);
                    route.nexthops.push(NextHop { via, dev: None, weight: 1, onlink: false, more: Vec::new() });
                }
                "from" => route.from = words.read(self, word, prefix)?,
                "to" if !has_destination => {
                    has_destination = true;
                    route.destination = words.read(self, word, prefix)?;
                }
                "dev" | "oif" => route.dev = Some(words.read(self, word, value::interface)?),
                "table" | "vrf" => route.table = Some(words.read(self, word, named)?),
                "protocol" => route.protocol = Some(words.read(self, word, named)?),
                "scope" => route.scope = Some(words.read(self, word, address::scope)?.0),
                "tos" | "dsfield" => route.tos = Some(words.read(self, word, byte)?),
                "metric" | "priority" | "preference" => route.metric = Some(words.read(self, word, number)?),
                "onlink" => route.onlink = true,
                "expires" => {
                    let bounds = Duration::from_secs(0)..=Duration::from_secs(u64::from(u32::MAX));
                    route.expires = Some(words.read(self, word, value::duration(bounds))?);
                }
                "no_track" => route.no_track = true,
                "track_group" => route.track_group = Some(words.read(self, word, value::name)?),
                "nexthop" => route.nexthops.push(self.nexthop(&mut words)?),
                "encap" => route.more.push(encap(&mut words, word)),
                text => {
                    if let Some(name) = METRICS.into_iter().find(|name| *name == text) {
                        route.metrics.push(self.metric(&mut words, word, name)?);
                    } else if let Some((_, count)) = MORE.into_iter().find(|(name, _)| *name == text) {
                        let locked = text == "congctl" && words.peek() == Some("lock");
                        route.more.push(words.take(word, count + usize::from(locked)));
                    } else if let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == text) {
                        route.kind = *kind;
                    } else if !has_destination {
                        has_destination = true;
                        route.destination = self.word("the destination of a route", word, prefix)?.value;
                    } else {
                        self.odd(word, "a route", ROUTE_WORDS.into_iter());
                        return None;
                    }
                }
            }
        }
        if !has_destination {
            let help = "begin with the network, or with `default`: `198.51.100.0/24 via 192.0.2.1`";
            self.report.error(&first.place, "a route without a destination", help);
            return None;
        }
        let addresses =
            [route.destination.map(|to| to.address), route.via, route.source, route.from.map(|p| p.address)];
        route.ipv6 = self.one_family(first, family, addresses.into_iter().flatten())?;
        Some(At::new(route, first.place.clone()))
    }

    fn gateway(&mut self, words: &mut Words<'_>, word: &Word) -> Option<IpAddr> {
        if matches!(words.peek(), Some("inet" | "inet6")) {
            words.words.next();
        }
        words.read(self, word, value::address)
    }

    fn nexthop(&mut self, words: &mut Words<'_>) -> Option<NextHop> {
        let mut hop = NextHop { via: None, dev: None, weight: 1, onlink: false, more: Vec::new() };
        while let Some("via" | "dev" | "weight" | "onlink" | "encap" | "realms") = words.peek() {
            let Some(word) = words.words.next() else { break };
            match word.text.as_str() {
                "via" => hop.via = Some(self.gateway(words, word)?),
                "dev" => hop.dev = Some(words.read(self, word, value::interface)?),
                "weight" => {
                    let help = "write the share of this way, 1 to 256";
                    hop.weight = words.read(self, word, value::number(1..=256, help))?;
                }
                "onlink" => hop.onlink = true,
                "realms" => {
                    let realms = words.after(self, word)?;
                    hop.more.push(vec![word.text.to_string(), realms.text.to_string()]);
                }
                _ => hop.more.push(encap(words, word)),
            }
        }
        Some(hop)
    }

    fn metric(&mut self, words: &mut Words<'_>, word: &Word, name: &'static str) -> Option<PathMetric> {
        let locked = words.peek() == Some("lock");
        if locked {
            words.words.next();
        }
        let value = words.read(self, word, |text| path_metric(name, text))?;
        Some(PathMetric { name, value, locked })
    }

    /// What is IPv6, if all agree.
    fn one_family(&mut self, at: &Word, said: Option<bool>, addresses: impl Iterator<Item = IpAddr>) -> Option<bool> {
        let mut family = said;
        for address in addresses {
            if *family.get_or_insert(address.is_ipv6()) != address.is_ipv6() {
                let message = format!("{address} is of another family than the words before it");
                self.report.error(&at.place, message, "write one line for IPv4 and one for IPv6");
                return None;
            }
        }
        Some(family.unwrap_or(false))
    }

    fn odd(&mut self, word: &Word, of: &str, known: impl Iterator<Item = &'static str>) {
        let help = match crate::keyword::nearest(&word.text, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => String::from("write each on a line of its own, with the words of `ip route` and `ip rule`"),
        };
        self.report.error(&word.place, format!("`{}` in {of}", super::shorten(&word.text)), help);
    }
}

const ROUTE_WORDS: [&str; 18] = [
    "src",
    "via",
    "from",
    "dev",
    "table",
    "protocol",
    "scope",
    "tos",
    "metric",
    "onlink",
    "expires",
    "no_track",
    "track_group",
    "nexthop",
    "encap",
    "mtu",
    "advmss",
    "vrf",
];

/// `encap` and its own words, as they are.
fn encap(words: &mut Words<'_>, word: &Word) -> Vec<String> {
    let mut taken = words.take(word, 1);
    let own = ["id", "dst", "src", "tos", "ttl", "tc", "hoplimit", "flags"];
    if matches!(taken.get(1).map(String::as_str), Some("mpls" | "ila")) {
        taken.extend(words.words.next().map(|word| word.text.to_string()));
    }
    while words.peek().is_some_and(|next| own.contains(&next)) {
        let two = words.words.by_ref().take(2);
        taken.extend(two.map(|word| word.text.to_string()));
    }
    taken
}

fn empty() -> Route {
    Route {
        kind: RouteKind::Unicast,
        ipv6: false,
        destination: None,
        from: None,
        via: None,
        dev: None,
        source: None,
        table: None,
        protocol: None,
        scope: None,
        metric: None,
        tos: None,
        onlink: false,
        nexthops: Vec::new(),
        metrics: Vec::new(),
        expires: None,
        more: Vec::new(),
        no_track: false,
        track_group: None,
    }
}

/// `default` and `all` are `None`.
fn prefix(text: &str) -> Result<Option<Prefix>, Wanted> {
    let help = "write for instance 198.51.100.0/24, 2001:db8::/32 or default";
    if ["default", "all", "any"].contains(&text) {
        return Ok(None);
    }
    let (ip, length) = text.split_once('/').map_or((text, None), |(ip, length)| (ip, Some(length)));
    let wanted = || Wanted::new("an address or a network", help);
    let address: IpAddr = ip.parse().map_err(|_| wanted())?;
    let most: u8 = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => most,
        Some(length) => length.parse().ok().filter(|length| *length <= most).ok_or_else(wanted)?,
    };
    let nowhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    if length == 0 && !nowhere.contains(&address) {
        return Err(wanted());
    }
    Ok(Some(Prefix { address, length }))
}

fn named(text: &str) -> Result<Named, Wanted> {
    match text.parse() {
        Ok(number) => Ok(Named::Number(number)),
        Err(_) => value::name(text).map(Named::Name),
    }
}

fn byte(text: &str) -> Result<u8, Wanted> {
    hex_or_decimal(text)
        .and_then(|n| u8::try_from(n).ok())
        .ok_or_else(|| Wanted::new("a number from 0 to 255", "write it in decimal, or as 0x10"))
}

fn number(text: &str) -> Result<u32, Wanted> {
    hex_or_decimal(text).ok_or_else(|| Wanted::new("a whole number of 32 bits", "write it in decimal, or as 0x10"))
}

/// In the kernel's unit: without a word of time a round trip is taken as it is, as `ip route` does.
fn path_metric(name: &str, text: &str) -> Result<u32, Wanted> {
    let (digits, ms) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, Some(1)),
        (None, Some(digits)) => (digits, Some(1000)),
        (None, None) => (text, None),
    };
    // In eighths and quarters of a millisecond (rtnetlink(7), RTAX_RTT and RTAX_RTTVAR).
    let parts = match name {
        "rtt" => 8,
        "rttvar" => 4,
        "rto_min" => 1,
        _ if ms.is_some() => return Err(Wanted::new("a number", "write it without a unit")),
        _ => 1,
    };
    let factor: u32 = ms.map_or(1, |ms| ms * parts);
    number(digits)?.checked_mul(factor).ok_or_else(|| Wanted::new("a time below a day", "write for instance 200ms"))
}

fn hex_or_decimal(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
