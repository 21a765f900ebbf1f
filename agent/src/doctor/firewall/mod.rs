//! Rules that drop VRRP or heartbeats: the rule set as `nft -j` lists it, walked as the kernel would walk it for
//! packets like ours. iptables-nft writes into the same rule set.
//!
//! - [`walk`]: the way of a packet through chains
//! - [`condition`]: whether a rule's match is of it
//!
//! What is not understood is taken not to drop, so that nobody is sent after a rule that does nothing; and what it might
//! accept, to accept.

mod condition;
#[cfg(test)]
mod tests;
mod walk;

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{Finding, Report};
use crate::assemble::Plan;
use crate::net::vrrp::Family;
use walk::{Drop, drops};

const VRRP: u64 = 112;
const UDP: u64 = 17;

/// A packet that must pass.
#[derive(Debug, Clone)]
struct Packet {
    /// In words.
    what: String,
    hook: &'static str,
    interface: String,
    ipv6: bool,
    protocol: u64,
    /// UDP's destination.
    port: Option<u16>,
}

/// Looks.
pub(super) fn look(plan: &Plan, report: &mut Report) {
    let rules = match list() {
        Ok(rules) => rules,
        Err(why) => return report.skipped.push(format!("firewall: {why}")),
    };
    for packet in packets(plan) {
        for drop in drops(&rules, &packet) {
            let place = format!("{} of {}", packet.hook, packet.interface);
            let what = format!("{} is dropped by {}", packet.what, drop.place);
            report.add(Finding::fault("firewall", &place, what, remedy(&drop, &packet)));
        }
    }
    // Those of the former iptables, which nft does not list.
    for file in ["/proc/self/net/ip_tables_names", "/proc/self/net/ip6_tables_names"] {
        let tables = fs::read_to_string(file).unwrap_or_default();
        if !tables.trim().is_empty() {
            let tables = tables.split_whitespace().collect::<Vec<_>>().join(", ");
            report
                .skipped
                .push(format!("firewall: rules of iptables-legacy (tables {tables}): see `iptables-legacy-save`"));
        }
    }
}

fn list() -> Result<Value, String> {
    let output = Command::new("nft").args(["-j", "list", "ruleset"]).output();
    let output =
        output.map_err(|error| format!("nft can't be run ({error}): install nftables to have its rules looked at"))?;
    if !output.status.success() {
        return Err(format!("nft lists no rules: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("what nft lists is not understood: {error}"))
}

fn packets(plan: &Plan) -> Vec<Packet> {
    let mut packets = Vec::new();
    let mut both = |what: String, interface: &str, ipv6, protocol, port| {
        for hook in ["input", "output"] {
            let (what, interface) = (what.clone(), interface.to_owned());
            packets.push(Packet { what, hook, interface, ipv6, protocol, port });
        }
    };
    for socket in &plan.sockets {
        let interface = plan.beneath(socket.interface);
        let Some(known) = plan.settings.interfaces.get(usize::from(interface.0)) else { continue };
        both(String::from("VRRP (IP protocol 112)"), &known.name, socket.family == Family::V6, VRRP, None);
    }
    for link in &plan.links {
        let (port, ipv6) = (link.local.port(), link.local.is_ipv6());
        both(format!("heartbeats of {} (UDP {port})", link.name), &link.interface, ipv6, UDP, Some(port));
    }
    packets
}

fn remedy(drop: &Drop, packet: &Packet) -> String {
    let Drop { family, table, chain, .. } = drop;
    let way = if packet.hook == "input" { "iifname" } else { "oifname" };
    let port = packet.port.map_or_else(|| String::from("meta l4proto 112"), |port| format!("udp dport {port}"));
    format!(
        "`nft insert rule {family} {table} {chain} {way} {} {port} accept`, and the same in the firewall's own files",
        packet.interface
    )
}
