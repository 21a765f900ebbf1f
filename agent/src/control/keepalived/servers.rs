//! `keepalived_check.data`: virtual and real servers, as keepalived's process for them writes them; without the global
//! definitions, which `keepalived.data` has and which that process knows in part alone.

use std::net::IpAddr;

use keepone_config::Config;
use keepone_config::model::{
    Forwarding, GroupMember, Protocol, RealServer, Script, ServerGroup, Service, SorryServer, TunnelChecksum,
    TunnelKind, VirtualServer,
};
use keepone_proto::balance::standing::{ServerStanding, ServiceStanding};

use super::data::{Text, say, user_of, yes};
use super::{Snapshot, words};
use crate::checkers::settings::{real_name, service_name};

impl Snapshot {
    /// As keepalived writes it on its signal for data; `None`: there are no virtual servers.
    pub(crate) fn keepalived_check_data(&self, services: &[ServiceStanding]) -> Option<String> {
        let config = &*self.directory.config;
        if config.virtual_servers.is_empty() {
            return None;
        }
        let mut text = Text::default();
        text.section("LVS Topology");
        config.server_groups.iter().enumerate().for_each(|(at, of)| group(&mut text, at == 0, of));
        for (server, standing) in config.virtual_servers.iter().zip(services) {
            // Another one while a reload is under way.
            if standing.name == service_name(config, server) {
                service(&mut text, config, server, standing);
            }
        }
        Some(text.into_string())
    }
}

fn group(text: &mut Text, is_first: bool, of: &ServerGroup) {
    if is_first {
        text.line(1, format_args!("------< Virtual server group >------"));
    }
    let has =
        |ipv6| of.members.iter().any(|one| matches!(one, GroupMember::Range { first, .. } if first.is_ipv6() == ipv6));
    // Of marks alone it takes the family from who uses it.
    if has(false) || has(true) {
        let families = (yes(has(false)), yes(has(true)));
        text.line(1, format_args!("Virtual Server Group = {}, IPv4 = {}, IPv6 = {}", of.name, families.0, families.1));
    }
    for member in &of.members {
        match member {
            GroupMember::Range { first, last, port } if first == last => say!(text, "VIP = {first}, VPORT = {port}"),
            GroupMember::Range { first, last, port } => say!(text, "VIP Range = {first}-{last}, VPORT = {port}"),
            GroupMember::Mark(mark) => say!(text, "FWMARK = {mark}"),
        }
    }
}

fn service(text: &mut Text, config: &Config, of: &VirtualServer, standing: &ServiceStanding) {
    text.line(1, format_args!("------< Virtual server >------"));
    match &of.service {
        Service::Address { address, port } => text.line(1, format_args!("VS VIP = {address}, VPORT = {port}")),
        Service::Mark { mark, .. } => text.line(1, format_args!("VS FWMARK = {mark}")),
        Service::Group(at) => {
            let name = config.server_groups.get(*at).map_or("", |group| group.name.as_str());
            text.line(1, format_args!("VS GROUP = [{name}]:0"));
        }
    }
    if let Some(is_ipv6) = is_ipv6(config, of) {
        say!(text, "Address family = {}", if is_ipv6 { "inet6" } else { "inet" });
    }
    say!(text, "lvs_sched = {}", of.scheduler.as_str());
    say!(text, "One packet scheduling = {}", super::data::switch(of.one_packet));
    if let Some(persistence) = of.persistence {
        say!(text, "persistence timeout = {}", persistence.timeout_s);
    }
    say!(
        text,
        "protocol = {}",
        match (&of.service, of.protocol) {
            (Service::Mark { .. }, _) => "none",
            (_, Protocol::Tcp) => "TCP",
            (_, Protocol::Udp) => "UDP",
            (_, Protocol::Sctp) => "SCTP",
        }
    );
    say!(text, "omega is {}", on(of.omega));
    say!(text, "quorum = {}, hysteresis = {}", of.quorum, of.hysteresis);
    script(text, config, 3, "Quorum up", of.quorum_up.as_ref());
    script(text, config, 3, "Quorum down", of.quorum_down.as_ref());
    if of.ha_suspend {
        say!(text, "Using HA suspend");
    }
    say!(text, "Using smtp notification = {}", yes(of.smtp_alert));
    of.sorry_server.inspect(|sorry| sorry_server(text, of.protocol, sorry));
    say!(text, "quorum_state_up = {}", u8::from(standing.has_quorum));
    for (real, standing) in of.real_servers.iter().zip(&standing.servers) {
        if standing.name == real_name(of.protocol, real) {
            real_server(text, config, real, standing);
        }
    }
}

/// `None`: a group of marks alone.
fn is_ipv6(config: &Config, of: &VirtualServer) -> Option<bool> {
    match &of.service {
        Service::Address { address, .. } => Some(address.is_ipv6()),
        Service::Mark { ipv6, .. } => Some(*ipv6),
        Service::Group(at) => config.server_groups.get(*at)?.members.iter().find_map(|member| match member {
            GroupMember::Range { first, .. } => Some(first.is_ipv6()),
            GroupMember::Mark(_) => None,
        }),
    }
}

fn sorry_server(text: &mut Text, protocol: Protocol, of: &SorryServer) {
    let protocol = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    say!(text, "sorry server = [{}]:{protocol}:{}", of.address, of.port);
    forwarding(text, 5, of.forwarding);
    text.line(5, format_args!("Inhibit on failure is {}", on(of.inhibit)));
}

fn real_server(text: &mut Text, config: &Config, of: &RealServer, standing: &ServerStanding) {
    let address: IpAddr = of.address;
    // One that is down has there the weight that it would have.
    let effective = standing.weight.filter(|_| standing.is_up).unwrap_or(of.weight);
    say!(text, "------< Real server >------");
    say!(text, "RIP = {address}, RPORT = {}, WEIGHT = {} EFF WEIGHT = {effective}", of.port, of.weight);
    forwarding(text, 3, of.forwarding);
    say!(text, "connection limit range = {} -> {}", of.lower_threshold, of.upper_threshold);
    say!(text, "Inhibit on failure is {}", on(of.inhibit_on_failure));
    script(text, config, 5, "RS up", of.notify_up.as_ref());
    script(text, config, 5, "RS down", of.notify_down.as_ref());
    say!(text, "Using smtp notification = {}", yes(of.smtp_alert));
    say!(text, "initial weight = {}", of.weight);
    say!(text, "effective weight = {effective}");
    say!(text, "alive = {}", u8::from(standing.is_up));
}

/// Of tunnels those that have been seen.
fn forwarding(text: &mut Text, indent: usize, of: Forwarding) {
    let words = match of {
        Forwarding::Nat => String::from("NAT"),
        Forwarding::Direct => String::from("DR"),
        Forwarding::Tunnel(tunnel) => {
            let checksum = match tunnel.checksum {
                TunnelChecksum::None => "no checksum",
                TunnelChecksum::Full => "checksum",
                TunnelChecksum::Remote => return,
            };
            match tunnel.kind {
                TunnelKind::Ipip => return,
                TunnelKind::Gue(port) => format!("TUN, type = GUE, port = {port}, {checksum}"),
                TunnelKind::Gre => format!("TUN, type = GRE, {checksum}"),
            }
        }
    };
    text.line(indent, format_args!("forwarding method = {words}"));
}

fn script(text: &mut Text, config: &Config, indent: usize, what: &str, script: Option<&Script>) {
    let Some(script) = script else { return };
    if let Some((uid, gid)) = user_of(config, script) {
        text.line(indent, format_args!("{what} notify script = {}, uid:gid {uid}:{gid}", words::command(script)));
    }
}

fn on(is_on: bool) -> &'static str {
    if is_on { "ON" } else { "OFF" }
}
