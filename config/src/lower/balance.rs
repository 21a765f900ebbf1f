//! `virtual_server`, `real_server` and `virtual_server_group`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::keyword::{REAL_SERVER, SSL, VIRTUAL_SERVER};
use crate::model::{
    ClientTls, Forwarding, GroupMember, Protocol, Scheduler, SecretBytes, Tunnel, TunnelChecksum, TunnelKind,
};
use crate::raw::{Granularity, RawConfig, RawReal, RawServer, RawServerGroup, RawService, RawTimes, SchedulerFlag};
use crate::source::At;
use crate::tree::{Item, Word};

use super::{Lower, Wanted, value};

/// Schedulers of the kernel (`ipvsadm(8)`).
const SCHEDULERS: &[(&str, Scheduler)] = &[
    ("rr", Scheduler("rr")),
    ("wrr", Scheduler("wrr")),
    ("lc", Scheduler("lc")),
    ("wlc", Scheduler("wlc")),
    ("lblc", Scheduler("lblc")),
    ("lblcr", Scheduler("lblcr")),
    ("sh", Scheduler("sh")),
    ("mh", Scheduler("mh")),
    ("dh", Scheduler("dh")),
    ("fo", Scheduler("fo")),
    ("ovf", Scheduler("ovf")),
    ("sed", Scheduler("sed")),
    ("nq", Scheduler("nq")),
    ("twos", Scheduler("twos")),
];
const PROTOCOLS: &[(&str, Protocol)] = &[
    ("TCP", Protocol::Tcp),
    ("UDP", Protocol::Udp),
    ("SCTP", Protocol::Sctp),
    ("tcp", Protocol::Tcp),
    ("udp", Protocol::Udp),
    ("sctp", Protocol::Sctp),
];
/// The most addresses of one range.
const MOST_ADDRESSES: u128 = 65_536;
const SECONDS: u64 = 2_678_400;
/// What keepalived uses for `persistence_timeout` without a number.
const PERSISTENCE_S: u32 = 360;

impl Lower<'_> {
    pub(super) fn virtual_server(&mut self, raw: &mut RawConfig, block: &Item) {
        let service = self.service_head(&block.words);
        let mut server = empty(block);
        let name = service.is_some();
        server.service = service.unwrap_or(RawService::Mark(0));
        self.each(block.items(), &VIRTUAL_SERVER, |lower, item| lower.server_keyword(&mut server, item));
        if name {
            raw.virtual_servers.push(server);
        }
    }

    /// `ADDRESS [PORT]`, `fwmark N` or `group NAME`.
    fn service_head(&mut self, words: &[Word]) -> Option<RawService> {
        let (first, rest) = words.split_first()?;
        match (first.text.as_str(), rest) {
            ("fwmark", [mark]) => {
                let help = "write the mark that the firewall sets, for instance 1";
                self.word("fwmark", mark, value::number(1..=u64::from(u32::MAX), help))
                    .map(|at| RawService::Mark(at.value))
            }
            ("group", [name]) => self.word("group", name, value::name).map(RawService::Group),
            ("fwmark" | "group", _) => {
                let message = format!("`{}` without a value", first.text);
                self.report.error(&first.place, message, "write `fwmark N` or `group NAME`");
                None
            }
            _ => self.endpoint("virtual_server", words).map(|(address, port)| RawService::Address(address, port)),
        }
    }

    /// `ADDRESS [PORT]`; no port is 0.
    fn endpoint(&mut self, name: &str, words: &[Word]) -> Option<(IpAddr, u16)> {
        let (first, rest) = words.split_first()?;
        let address = self.word(name, first, value::address);
        let port = match rest.first() {
            None => Some(0),
            Some(word) => self.word(name, word, port).map(|at| at.value),
        };
        Some((address?.value, port?))
    }

    fn server_keyword(&mut self, server: &mut RawServer, item: &Item) {
        let count = |least| value::number::<u32>(least..=u64::from(u32::MAX), "write a whole number");
        match item.keyword.text.as_str() {
            "lvs_sched" | "lb_algo" => {
                let help = "write wlc unless you know better: the least loaded server gets the connection";
                server.scheduler = self.value(item, value::one_of(SCHEDULERS, help));
            }
            "lvs_method" | "lb_kind" => server.forwarding = self.forwarding(item),
            "protocol" => server.protocol = self.value(item, value::one_of(PROTOCOLS, "write TCP, UDP or SCTP")),
            "ip_family" => {
                let families = &[("inet", false), ("inet6", true)];
                server.ipv6 = self.value(item, value::one_of(families, "write inet or inet6"));
            }
            "persistence_timeout" => {
                let timeout = value::number(0..=SECONDS, "write seconds, up to 31 days");
                server.persistence_timeout = match item.words.first() {
                    None => Some(At::new(PERSISTENCE_S, item.keyword.place.clone())),
                    Some(_) => self.value(item, timeout),
                };
            }
            "persistence_granularity" => server.persistence_prefix = self.value(item, granularity),
            "persistence_engine" => {
                server.sip = self.value(item, value::one_of(&[("sip", true)], "write sip, the kernel's only engine"));
            }
            "ops" => server.one_packet = self.flag(item),
            "hashed" | "flag-1" => self.scheduler_flag(server, item, 0, None),
            "flag-2" => self.scheduler_flag(server, item, 1, None),
            "flag-3" => self.scheduler_flag(server, item, 2, None),
            "sh-fallback" => self.scheduler_flag(server, item, 0, Some("sh")),
            "sh-port" => self.scheduler_flag(server, item, 1, Some("sh")),
            "mh-fallback" => self.scheduler_flag(server, item, 0, Some("mh")),
            "mh-port" => self.scheduler_flag(server, item, 1, Some("mh")),
            "inhibit_on_failure" => server.inhibit = self.is_on(item),
            "omega" => server.omega = self.is_on(item),
            "ha_suspend" => server.ha_suspend = self.is_on(item),
            "slow_start" => {
                server.slow_start = self.plain(item, value::duration(Duration::ZERO..=Duration::from_secs(4294)));
            }
            "quorum" => server.quorum = self.value(item, count(1)),
            "hysteresis" => server.hysteresis = self.value(item, count(0)),
            "quorum_up" => server.quorum_up = self.script(item),
            "quorum_down" => server.quorum_down = self.script(item),
            "weight" => {
                server.weight = self.plain(item, value::number(1..=2_147_483_647, "write a share; the default is 1"))
            }
            "sorry_server" => {
                let endpoint = self.endpoint("sorry_server", &item.words);
                server.sorry_server = endpoint.map(|endpoint| At::new(endpoint, item.place()));
            }
            "sorry_server_inhibit" => server.sorry_inhibit = self.flag(item),
            "sorry_server_lvs_method" => {
                server.sorry_forwarding = self.forwarding(item).map(|method| At::new(method, item.place()));
            }
            "smtp_alert" => server.smtp_alert = self.flag(item).map(|flag| flag.value),
            "snmp_name" => server.snmp_name = self.plain(item, value::name),
            "real_server" => self.real_server(server, item),
            _ => self.times(&mut server.times, item, 1),
        }
    }

    fn scheduler_flag(&mut self, server: &mut RawServer, item: &Item, number: usize, of: Option<&'static str>) {
        if self.is_on(item) {
            server.scheduler_flags.push(At::new(SchedulerFlag { number, of }, item.keyword.place.clone()));
        }
    }

    fn real_server(&mut self, server: &mut RawServer, block: &Item) {
        let endpoint = self.endpoint("real_server", &block.words);
        let mut real = RawReal {
            place: block.place(),
            address: Ipv4Addr::UNSPECIFIED.into(),
            port: 0,
            times: RawTimes::default(),
            weight: None,
            forwarding: None,
            upper_threshold: None,
            lower_threshold: None,
            inhibit: None,
            notify_up: None,
            notify_down: None,
            smtp_alert: None,
            snmp_name: None,
            checkers: Vec::new(),
        };
        self.each(block.items(), &REAL_SERVER, |lower, item| {
            let count =
                || value::number::<u32>(0..=u64::from(u32::MAX), "write a number of connections; 0 is no bound");
            match item.keyword.text.as_str() {
                "weight" => {
                    let help = "write a share; the default is 1, and 0 takes no new connections";
                    real.weight = lower.plain(item, value::number(0..=2_147_483_647, help));
                }
                "lvs_method" => real.forwarding = lower.forwarding(item),
                "uthreshold" => real.upper_threshold = lower.value(item, count()),
                "lthreshold" => real.lower_threshold = lower.value(item, count()),
                "inhibit_on_failure" => real.inhibit = lower.flag(item).map(|flag| flag.value),
                "notify_up" => real.notify_up = lower.script(item),
                "notify_down" => real.notify_down = lower.script(item),
                "smtp_alert" => real.smtp_alert = lower.flag(item).map(|flag| flag.value),
                "snmp_name" => real.snmp_name = lower.plain(item, value::name),
                keyword if item.block.is_some() => {
                    if let Some(checker) = lower.checker(item, keyword) {
                        // Most have one, and a vector that grows has room for four: half a kilobyte each.
                        real.checkers.reserve_exact(1);
                        real.checkers.push(checker);
                    }
                }
                _ => lower.times(&mut real.times, item, 1),
            }
        });
        if let Some((address, port)) = endpoint {
            (real.address, real.port) = (address, port);
            server.real_servers.push(real);
        }
    }

    /// What virtual servers, real servers and checks have in common; `least` is the fewest retries.
    pub(super) fn times(&mut self, times: &mut RawTimes, item: &Item, least: u64) {
        let most = Duration::from_secs(4294);
        match item.keyword.text.as_str() {
            "delay_loop" => times.delay_loop = self.value(item, value::duration(Duration::from_micros(1)..=most)),
            "warmup" => times.warmup = self.plain(item, value::duration(Duration::ZERO..=most)),
            "retry" | "nb_get_retry" => {
                let help = "write how often to try again before the server counts as down";
                times.retry = self.plain(item, value::number(least..=u64::from(u32::MAX), help));
            }
            "delay_before_retry" => times.delay_before_retry = self.plain(item, value::duration(Duration::ZERO..=most)),
            "connect_timeout" => {
                times.connect_timeout = self.value(item, value::duration(Duration::from_micros(1)..=most));
            }
            "alpha" => times.alpha = self.flag(item).map(|flag| flag.value),
            "log_all_failures" => times.log_all_failures = self.flag(item).map(|flag| flag.value),
            "virtualhost" => times.virtualhost = self.plain(item, value::name),
            _ => self.unread(item),
        }
    }

    /// `NAT`, `DR` or `TUN [type ipip|gue port N|gre] [nocsum|csum|remcsum]`.
    fn forwarding(&mut self, item: &Item) -> Option<Forwarding> {
        let (first, rest) = item.words.split_first()?;
        let mut tunnel = Tunnel { kind: TunnelKind::Ipip, checksum: TunnelChecksum::None };
        let mut forwarding = match first.text.as_str() {
            "NAT" => Forwarding::Nat,
            "DR" => Forwarding::Direct,
            "TUN" => Forwarding::Tunnel(tunnel),
            _ => {
                let wanted = Wanted::new("NAT, DR or TUN", "write DR if the real servers hold the address on lo too");
                return self.word(&item.keyword.text, first, |_| Err::<Forwarding, _>(wanted)).map(|at| at.value);
            }
        };
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            match (word.text.as_str(), forwarding) {
                ("type", Forwarding::Tunnel(_)) => tunnel.kind = self.tunnel_kind(word, &mut rest)?,
                ("nocsum", Forwarding::Tunnel(_)) => tunnel.checksum = TunnelChecksum::None,
                ("csum", Forwarding::Tunnel(_)) => tunnel.checksum = TunnelChecksum::Full,
                ("remcsum", Forwarding::Tunnel(_)) => tunnel.checksum = TunnelChecksum::Remote,
                _ => {
                    let message = format!("`{}` after `{}`", super::shorten(&word.text), first.text);
                    let help = "only TUN takes more: `TUN type gue port 6080 csum`";
                    self.report.error(&word.place, message, help);
                    return None;
                }
            }
        }
        if let Forwarding::Tunnel(found) = &mut forwarding {
            *found = tunnel;
        }
        Some(forwarding)
    }

    fn tunnel_kind(&mut self, word: &Word, rest: &mut std::slice::Iter<'_, Word>) -> Option<TunnelKind> {
        let help = "write `type ipip`, `type gre` or `type gue port N`";
        let Some(kind) = rest.next() else {
            self.report.error(&word.place, "`type` without a value", help);
            return None;
        };
        match kind.text.as_str() {
            "ipip" => Some(TunnelKind::Ipip),
            "gre" => Some(TunnelKind::Gre),
            "gue" => match (rest.next(), rest.next()) {
                (Some(word), Some(number)) if word.text == "port" => {
                    self.word("port", number, value::number(1..=65535, help)).map(|at| TunnelKind::Gue(at.value))
                }
                _ => {
                    self.report.error(&kind.place, "`gue` without a port", help);
                    None
                }
            },
            _ => self.word("type", kind, |_| Err(Wanted::new("ipip, gue or gre", help))).map(|at| at.value),
        }
    }

    pub(super) fn virtual_server_group(&mut self, raw: &mut RawConfig, block: &Item) {
        let Some(name) = self.value(block, value::name) else { return };
        let lines = self.lines(block);
        let members = lines.iter().filter_map(|line| self.group_member(line)).collect();
        raw.server_groups.push(RawServerGroup { name, members });
    }

    fn group_member(&mut self, line: &[Word]) -> Option<At<GroupMember>> {
        let (first, rest) = line.split_first()?;
        let member = match (first.text.as_str(), rest) {
            ("fwmark", [mark]) => {
                let help = "write the mark that the firewall sets, for instance 1";
                let mark = self.word("fwmark", mark, value::number(1..=u64::from(u32::MAX), help))?;
                GroupMember::Mark(mark.value)
            }
            (_, [] | [_]) => {
                let (first, last) = self.word("virtual_server_group", first, addresses)?.value;
                let port = match rest.first() {
                    None => 0,
                    Some(word) => self.word("virtual_server_group", word, port)?.value,
                };
                GroupMember::Range { first, last, port }
            }
            _ => {
                let message = format!("{} words, where a line has an address and perhaps a port", line.len());
                self.report.error(&first.place, message, "write each member on a line of its own");
                return None;
            }
        };
        Some(At::new(member, first.place.clone()))
    }

    pub(super) fn client_tls(&mut self, tls: &mut ClientTls, block: &Item) {
        self.each(block.items(), &SSL, |lower, item| match item.keyword.text.as_str() {
            "password" => {
                tls.password = lower.plain(item, |text| Ok(SecretBytes(text.as_bytes().to_vec())));
            }
            "ca" => tls.ca = lower.path(item).map(|at| at.value),
            "certificate" => tls.certificate = lower.path(item).map(|at| at.value),
            "key" => tls.key = lower.path(item).map(|at| at.value),
            _ => lower.unread(item),
        });
    }
}

fn empty(block: &Item) -> RawServer {
    RawServer {
        place: block.place(),
        service: RawService::Mark(0),
        times: RawTimes::default(),
        protocol: None,
        scheduler: None,
        scheduler_flags: Vec::new(),
        one_packet: None,
        forwarding: None,
        ipv6: None,
        persistence_timeout: None,
        persistence_prefix: None,
        sip: None,
        quorum: None,
        hysteresis: None,
        slow_start: None,
        quorum_up: None,
        quorum_down: None,
        weight: None,
        sorry_server: None,
        sorry_inhibit: None,
        sorry_forwarding: None,
        inhibit: false,
        omega: false,
        ha_suspend: false,
        smtp_alert: None,
        snmp_name: None,
        real_servers: Vec::new(),
    }
}

fn port(text: &str) -> Result<u16, Wanted> {
    value::number(0..=65535, "write the port; 0, or none, is every port")(text)
}

/// A netmask of IPv4, or the length of a prefix.
fn granularity(text: &str) -> Result<Granularity, Wanted> {
    let help = "write a netmask such as 255.255.255.0, or for IPv6 the length of a prefix";
    let wanted = || Wanted::new("a netmask or a prefix length from 1 to 128", help);
    if let Ok(mask) = text.parse::<Ipv4Addr>() {
        let bits = u32::from(mask);
        let prefix = u8::try_from(bits.leading_ones()).map_err(|_| wanted())?;
        let whole = bits.count_ones() == bits.leading_ones() && prefix > 0;
        return if whole { Ok(Granularity { prefix, netmask: true }) } else { Err(wanted()) };
    }
    let prefix = text.parse().ok().filter(|prefix| (1..=128).contains(prefix)).ok_or_else(wanted)?;
    Ok(Granularity { prefix, netmask: false })
}

/// `ADDRESS`, `ADDRESS-LAST` (the last part, or the whole), or `NETWORK/LENGTH`.
fn addresses(text: &str) -> Result<(IpAddr, IpAddr), Wanted> {
    let help = "write 192.0.2.1, 192.0.2.1-20 or 192.0.2.0/28; fwmark N for a mark";
    let wanted = || Wanted::new("an address, a range or a network of at most 65536 addresses", help);
    let (first, last) = if let Some((first, last)) = text.split_once('-') {
        let first: IpAddr = first.parse().map_err(|_| wanted())?;
        (first, range_end(first, last).ok_or_else(wanted)?)
    } else if let Some((network, length)) = text.split_once('/') {
        let network: IpAddr = network.parse().map_err(|_| wanted())?;
        let width: u32 = if network.is_ipv4() { 32 } else { 128 };
        let host_bits = length.parse().ok().and_then(|length: u32| width.checked_sub(length)).ok_or_else(wanted)?;
        let hosts = 1_u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
        let first = number_of(network) & !hosts;
        (address_of(first, network.is_ipv4()), address_of(first | hosts, network.is_ipv4()))
    } else {
        let address = text.parse().map_err(|_| wanted())?;
        (address, address)
    };
    let count = number_of(last).checked_sub(number_of(first));
    if first.is_ipv4() == last.is_ipv4() && count.is_some_and(|count| count < MOST_ADDRESSES) {
        Ok((first, last))
    } else {
        Err(wanted())
    }
}

fn range_end(first: IpAddr, last: &str) -> Option<IpAddr> {
    if let Ok(whole) = last.parse() {
        return Some(whole);
    }
    match first {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            Some(Ipv4Addr::new(a, b, c, last.parse().ok()?).into())
        }
        IpAddr::V6(ip) => {
            let part = u128::from(u16::from_str_radix(last, 16).ok()?);
            Some(std::net::Ipv6Addr::from((u128::from(ip) & !0xffff) | part).into())
        }
    }
}

fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

fn address_of(number: u128, ipv4: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if ipv4 => Ipv4Addr::from(number).into(),
        _ => std::net::Ipv6Addr::from(number).into(),
    }
}
