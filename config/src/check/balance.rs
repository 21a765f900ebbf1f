//! Virtual servers: what they inherit, and what IPVS or an operator would stumble over.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::diagnostic::Severity;
use crate::model::{
    Forwarding, GroupMember, Persistence, Protocol, RealServer, Scheduler, ServerGroup, Service, SorryServer,
    VirtualServer,
};
use crate::raw::{RawReal, RawServer, RawService};
use crate::source::{At, Place};

use super::checker::Around;
use super::track::TrackerNames;
use super::{Check, Duplicate, or, value};

/// What keepalived checks with when nothing is said.
const SCHEDULER: Scheduler = Scheduler("wlc");
const DELAY_LOOP: Duration = Duration::from_secs(60);

impl<'a> Check<'a> {
    pub(super) fn server_groups(&mut self) -> Vec<ServerGroup> {
        let raw = self.raw;
        let mut seen = BTreeMap::new();
        for group in &raw.server_groups {
            let name = &group.name.value;
            let what = format!("a second virtual_server_group named `{name}`");
            let new = Duplicate { place: &group.name.place, what, help: "give each group a name of its own" };
            self.duplicate(&mut seen, name.as_str(), new);
            if group.members.is_empty() {
                let message = format!("virtual_server_group `{name}` is empty");
                self.report.warning(&group.name.place, message, "add a line `ADDRESS PORT` or `fwmark N`");
            }
        }
        let members = |members: &[At<GroupMember>]| members.iter().map(|at| at.value.clone()).collect();
        let groups = raw.server_groups.iter();
        groups.map(|group| ServerGroup { name: group.name.value.clone(), members: members(&group.members) }).collect()
    }

    pub(super) fn virtual_servers(&mut self, trackers: &TrackerNames<'_>) -> Vec<VirtualServer> {
        let raw = self.raw;
        let groups: BTreeMap<&str, usize> =
            raw.server_groups.iter().enumerate().map(|(at, group)| (group.name.value.as_str(), at)).collect();
        let (mut servers, mut seen) = (Vec::new(), BTreeMap::new());
        let mut unchecked = Unchecked::default();
        for server in &raw.virtual_servers {
            let Some(service) = self.service(server, &groups) else { continue };
            let protocol = self.protocol(server, &service);
            let what = String::from("a second virtual_server of this address, port and protocol");
            let new = Duplicate { place: &server.place, what, help: "move its real servers into the first one" };
            if self.duplicate(&mut seen, (service.clone(), protocol), new) {
                continue;
            }
            if server.real_servers.is_empty() {
                let help = "add `real_server ADDRESS PORT { ... }`, or remove it: it is left out";
                self.report.warning(&server.place, "a virtual_server without real servers", help);
                continue;
            }
            servers.push(self.virtual_server(server, service, protocol, trackers, &mut unchecked));
        }
        unchecked.say(self);
        servers
    }

    fn service(&mut self, server: &RawServer, groups: &BTreeMap<&str, usize>) -> Option<Service> {
        match &server.service {
            RawService::Address(address, port) => Some(Service::Address { address: *address, port: *port }),
            RawService::Mark(mark) => {
                let real = server.real_servers.first().is_some_and(|real| real.address.is_ipv6());
                Some(Service::Mark { mark: *mark, ipv6: or(&server.ipv6, real) })
            }
            RawService::Group(name) => match groups.get(name.value.as_str()) {
                Some(at) => Some(Service::Group(*at)),
                None => {
                    let help = match self.guess(&name.value, groups.keys().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("add `virtual_server_group {} {{ ... }}`", name.value),
                    };
                    let message = format!("no virtual_server_group is named `{}`", name.value);
                    self.report.error(&name.place, message, help);
                    None
                }
            },
        }
    }

    fn protocol(&mut self, server: &RawServer, service: &Service) -> Protocol {
        if server.protocol.is_none() && !matches!(service, Service::Mark { .. }) {
            let help = "add `protocol TCP`, or `protocol UDP` if that is meant";
            self.report.warning(&server.place, "a virtual_server without protocol is UDP", help);
        }
        or(&server.protocol, Protocol::Udp)
    }

    fn virtual_server(
        &mut self,
        raw: &RawServer,
        service: Service,
        protocol: Protocol,
        trackers: &TrackerNames<'_>,
        unchecked: &mut Unchecked,
    ) -> VirtualServer {
        let global = &self.raw.global;
        let smtp = global.smtp_alert_checker.or(global.smtp_alert);
        let forwarding = raw.forwarding.unwrap_or_default();
        let scheduler = or(&raw.scheduler, SCHEDULER);
        let mut real_servers = Vec::with_capacity(raw.real_servers.len());
        let mut seen: BTreeMap<(IpAddr, u16), &Place> = BTreeMap::new();
        for real in &raw.real_servers {
            let endpoint = (real.address, real.port);
            if let Some(first) = seen.insert(endpoint, &real.place) {
                let first = self.report.describe(first);
                let message =
                    format!("real server {} twice in a virtual server; the first is at {first}", show(endpoint));
                self.report.error(
                    &real.place,
                    message,
                    "IPVS has each once: remove one, or give the other more weight",
                );
            }
            self.reachable(raw, &service, real, real.forwarding.unwrap_or(forwarding));
            unchecked.count(real);
            real_servers.push(self.real_server(raw, real, forwarding, trackers));
        }
        let quorum = self.weight_quorum(raw, &real_servers);
        self.sorry_server(raw, &seen);
        VirtualServer {
            persistence: self.persistence(raw, &service),
            one_packet: self.one_packet(raw, protocol),
            scheduler_flags: self.scheduler_flags(raw, scheduler),
            service,
            protocol,
            scheduler,
            quorum,
            hysteresis: self.hysteresis(raw, quorum),
            quorum_up: raw.quorum_up.clone(),
            quorum_down: raw.quorum_down.clone(),
            sorry_server: raw.sorry_server.as_ref().map(|at| SorryServer {
                address: at.value.0,
                port: at.value.1,
                forwarding: or(&raw.sorry_forwarding, forwarding),
                inhibit: or(&raw.sorry_inhibit, false),
            }),
            omega: raw.omega,
            ha_suspend: raw.ha_suspend,
            slow_start: raw.slow_start.unwrap_or(Duration::ZERO),
            smtp_alert: raw.smtp_alert.or(smtp).unwrap_or(false),
            snmp_name: raw.snmp_name.clone(),
            real_servers,
        }
    }

    fn real_server(
        &mut self,
        server: &RawServer,
        raw: &RawReal,
        forwarding: Forwarding,
        trackers: &TrackerNames<'_>,
    ) -> RealServer {
        let global = &self.raw.global;
        let smtp = global.smtp_alert_checker.or(global.smtp_alert);
        let most = or(&raw.upper_threshold, 0);
        if let Some(lower) = raw.lower_threshold.as_ref().filter(|lower| most != 0 && lower.value > most) {
            let message = format!("lthreshold {} is above uthreshold {most}", lower.value);
            self.report.warning(&lower.place, message, "write a lthreshold below uthreshold");
        }
        let around = Around::of(server, raw, global.log_all_failures);
        // With no room for more: there may be tens of thousands.
        let mut checkers = Vec::with_capacity(raw.checkers.len());
        checkers.extend(raw.checkers.iter().filter_map(|checker| self.checker(checker, &around, trackers)));
        RealServer {
            address: raw.address,
            port: raw.port,
            weight: raw.weight.or(server.weight).unwrap_or(1),
            forwarding: raw.forwarding.unwrap_or(forwarding),
            upper_threshold: or(&raw.upper_threshold, 0),
            lower_threshold: or(&raw.lower_threshold, 0),
            inhibit_on_failure: raw.inhibit.unwrap_or(server.inhibit),
            notify_up: raw.notify_up.clone(),
            notify_down: raw.notify_down.clone(),
            smtp_alert: raw.smtp_alert.or(smtp).unwrap_or(true),
            snmp_name: raw.snmp_name.clone(),
            checkers,
        }
    }

    /// Families and ports that IPVS can't bridge.
    fn reachable(&mut self, server: &RawServer, service: &Service, real: &RawReal, forwarding: Forwarding) {
        let Service::Address { address, port } = service else { return };
        if address.is_ipv4() != real.address.is_ipv4() && !matches!(forwarding, Forwarding::Tunnel(_)) {
            let message = format!("real server {} is of another family than {address}", real.address);
            self.report.error(
                &real.place,
                message,
                "only `lvs_method TUN` crosses families: write an address of the same",
            );
        }
        if real.port != 0 && *port != 0 && real.port != *port && forwarding != Forwarding::Nat {
            let message = format!("port {} behind port {port}, where only NAT changes ports", real.port);
            let help = format!("write port {port}, or `lvs_method NAT`");
            self.report.warning(&real.place, message, help);
        }
        let own = real.address == *address && server.forwarding.unwrap_or_default() != Forwarding::Nat;
        if own {
            let message = format!("real server {} is the virtual address itself", real.address);
            self.report.warning(&real.place, message, "write the address that the server has for itself");
        }
    }

    /// As keepalived does, a quorum that can't be reached is lowered to what can.
    fn weight_quorum(&mut self, raw: &RawServer, real: &[RealServer]) -> u32 {
        let quorum = or(&raw.quorum, 1);
        let total: u64 = real.iter().map(|real| u64::from(real.weight)).sum();
        if let Some(at) = raw.quorum.as_ref().filter(|_| u64::from(quorum) > total) {
            let message = format!("a quorum of {quorum}, where all real servers together weigh {total}");
            let help = format!("write at most {total}: the quorum counts weights, not servers; {total} is used");
            self.report.warning(&at.place, message, help);
            return u32::try_from(total).unwrap_or(quorum).max(1);
        }
        quorum
    }

    fn hysteresis(&mut self, raw: &RawServer, quorum: u32) -> u32 {
        let Some(at) = raw.hysteresis.as_ref().filter(|at| at.value >= quorum) else { return or(&raw.hysteresis, 0) };
        let most = quorum.saturating_sub(1);
        let message = format!("a hysteresis of {} with a quorum of {quorum}: it could never be lost", at.value);
        self.report.warning(&at.place, message, format!("write at most {most}, which is used"));
        most
    }

    fn sorry_server(&mut self, raw: &RawServer, seen: &BTreeMap<(IpAddr, u16), &Place>) {
        match &raw.sorry_server {
            Some(sorry) => {
                if let Some(real) = seen.get(&sorry.value) {
                    let real = self.report.describe(real);
                    let message = format!("the sorry server {} is a real server too, at {real}", show(sorry.value));
                    let help = "name another one: it serves when the real servers are down";
                    self.report.warning(&sorry.place, message, help);
                }
            }
            None => {
                let (inhibit, method) = (raw.sorry_inhibit.as_ref(), raw.sorry_forwarding.as_ref());
                let place = inhibit.map(|at| &at.place).or(method.map(|at| &at.place));
                if let Some(place) = place {
                    let help = "add `sorry_server ADDRESS PORT`, or remove it";
                    self.report.warning(place, "an option of a sorry server, but no sorry_server", help);
                }
            }
        }
    }

    fn persistence(&mut self, raw: &RawServer, service: &Service) -> Option<Persistence> {
        let timeout = raw.persistence_timeout.as_ref().filter(|at| at.value != 0);
        if let Some(zero) = raw.persistence_timeout.as_ref().filter(|at| at.value == 0) {
            let message = "`persistence_timeout 0` is no persistence";
            self.report.push(Severity::Note, &zero.place, String::from(message), String::from("leave it out"));
        }
        let ipv6 = match service {
            Service::Address { address, .. } => address.is_ipv6(),
            Service::Mark { ipv6, .. } => *ipv6,
            Service::Group(_) => raw.real_servers.first().is_some_and(|real| real.address.is_ipv6()),
        };
        if let Some(at) = &raw.persistence_prefix {
            let family = if ipv6 { "IPv6" } else { "IPv4" };
            if at.value.netmask == ipv6 || (!ipv6 && at.value.prefix > 32) {
                let help = "write a netmask for IPv4, the length of a prefix for IPv6";
                self.report.error(&at.place, format!("this persistence_granularity is not {family}'s"), help);
            }
        }
        let Some(timeout) = timeout else {
            if matches!(service, Service::Address { port: 0, .. }) {
                let help =
                    "write a port, or add `persistence_timeout`: IPVS takes every port only for clients that stay";
                self.report.warning(&raw.place, "a virtual_server of every port without persistence", help);
            }
            return None;
        };
        let whole = if ipv6 { 128 } else { 32 };
        Some(Persistence {
            timeout_s: timeout.value,
            prefix: raw.persistence_prefix.as_ref().map_or(whole, |at| at.value.prefix),
            sip: or(&raw.sip, false),
        })
    }

    fn one_packet(&mut self, raw: &RawServer, protocol: Protocol) -> bool {
        let ops = value(&raw.one_packet).unwrap_or(false);
        if let Some(at) = raw.one_packet.as_ref().filter(|_| ops && protocol != Protocol::Udp) {
            self.report.warning(&at.place, "`ops` is for UDP: a connection has more than one packet", "remove it");
        }
        ops && protocol == Protocol::Udp
    }

    fn scheduler_flags(&mut self, raw: &RawServer, scheduler: Scheduler) -> [bool; 3] {
        let mut flags = [false; 3];
        for at in &raw.scheduler_flags {
            if let Some(of) = at.value.of.filter(|of| *of != scheduler.as_str()) {
                let message = format!("a flag of the scheduler {of}, but the scheduler is {}", scheduler.as_str());
                self.report.warning(&at.place, message, format!("write `lvs_sched {of}`, or remove it"));
                continue;
            }
            if let Some(flag) = flags.get_mut(at.value.number) {
                *flag = true;
            }
        }
        flags
    }
}

/// Real servers that nobody checks: named once.
#[derive(Default)]
struct Unchecked {
    first: Option<Place>,
    count: usize,
}

impl Unchecked {
    fn count(&mut self, real: &RawReal) {
        if real.checkers.is_empty() {
            self.first.get_or_insert_with(|| real.place.clone());
            self.count += 1;
        }
    }

    fn say(self, check: &mut Check<'_>) {
        let Some(place) = self.first else { return };
        let times = if self.count == 1 { String::new() } else { format!(" ({} of them)", self.count) };
        let help = "add a check, for instance `TCP_CHECK { }`";
        let message = format!("a real server without a check counts as up for ever{times}");
        check.report.push(Severity::Note, &place, message, String::from(help));
    }
}

fn show((address, port): (IpAddr, u16)) -> String {
    if port == 0 { address.to_string() } else { std::net::SocketAddr::new(address, port).to_string() }
}

/// What a real server and its virtual server say of the times of checks.
pub(super) fn delay_loop(server: &RawServer, real: &RawReal) -> Duration {
    let at = real.times.delay_loop.as_ref().or(server.times.delay_loop.as_ref());
    at.map_or(DELAY_LOOP, |at| at.value)
}
