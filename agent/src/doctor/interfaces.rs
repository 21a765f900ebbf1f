//! Interfaces that the configuration names, and the kernel's settings of them.
//!
//! By netlink and /proc/sys, which are of the network namespace; /sys may be of another.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Finding, Report};
use crate::assemble::Plan;
use crate::netlink::link::{Seen, seen};

/// What a heartbeat's datagrams need at least, with room for IPv6 (RFC 9000, 14; RFC 8200, 5).
const SMALLEST_MTU: u32 = 1280;

/// Looks.
pub(super) fn look(plan: &Plan, report: &mut Report) {
    let present = match seen() {
        Ok(present) => present,
        Err(error) => return report.skipped.push(format!("interfaces: the kernel does not list them: {error}")),
    };
    let beats: BTreeSet<&str> = plan.links.iter().map(|link| link.interface.as_str()).collect();
    let vrrp = named(plan);
    for name in vrrp.union(&beats) {
        let Some(line) = present.get(*name) else {
            let remedy = "`ip link` lists what there is: correct the configuration, or create it";
            report.add(Finding::fault("interface-missing", name, "there is no such interface", remedy));
            continue;
        };
        report.findings.extend(state(name, *line));
        report.findings.extend(mtu(name, *line).filter(|_| beats.contains(name)));
        report.findings.extend(settings(name, |key, of| number(&format!("/proc/sys/net/ipv4/conf/{of}/{key}"))));
        if vrrp.contains(name) {
            managers(Path::new("/run"), name, line.index, report);
        }
    }
}

/// Those of virtual routers, without the ones that the agent makes itself.
pub(super) fn named(plan: &Plan) -> BTreeSet<&str> {
    let own: BTreeSet<&str> = plan.own_links.iter().map(|link| link.name.as_str()).collect();
    let vrrp = plan.settings.interfaces.iter().map(|interface| interface.name.as_str());
    let bases = plan.own_links.iter().map(|link| link.base.as_str());
    vrrp.chain(bases).filter(|name| !own.contains(name)).collect()
}

fn number(path: &str) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn state(name: &str, line: Seen) -> Option<Finding> {
    if !line.is_up {
        return Some(Finding::fault("interface-down", name, "it is down", format!("`ip link set {name} up`")));
    }
    let (what, remedy) = ("it has no carrier", "look at cable and switch port, or at the other end of a virtual link");
    (!line.has_carrier).then(|| Finding::fault("interface-down", name, what, remedy))
}

fn mtu(name: &str, line: Seen) -> Option<Finding> {
    let mtu = line.mtu.filter(|mtu| *mtu < SMALLEST_MTU)?;
    let what = format!("an MTU of {mtu} is less than the {SMALLEST_MTU} that heartbeats need");
    Some(Finding::fault("mtu", name, what, format!("`ip link set {name} mtu 1500`, and the same along the path")))
}

/// Of the two places the larger counts (kernel documentation, ip-sysctl).
fn settings(name: &str, read: impl Fn(&str, &str) -> Option<u32>) -> Vec<Finding> {
    let larger = |key: &str| read(key, "all").max(read(key, name)).unwrap_or(0);
    let mut found = Vec::new();
    if larger("rp_filter") == 1 {
        found.push(Finding::warning(
            "rp-filter",
            name,
            "rp_filter is strict: what comes by another way than answers would take is dropped",
            format!(
                "where two interfaces reach the same network: `sysctl net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.{name}.rp_filter=2`"
            ),
        ));
    }
    let ignore = larger("arp_ignore");
    if ignore >= 3 {
        found.push(Finding::fault(
            "arp-ignore",
            name,
            format!("arp_ignore is {ignore}: ARP for a virtual address is not answered"),
            format!("`sysctl net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.{name}.arp_ignore=1`"),
        ));
    }
    found
}

/// networkd and NetworkManager note what they manage below /run.
fn managers(run: &Path, name: &str, index: u32, report: &mut Report) {
    let read = |path: &str| fs::read_to_string(run.join(path)).unwrap_or_default();
    let networkd = read(&format!("systemd/netif/links/{index}"));
    let manager = read(&format!("NetworkManager/devices/{index}"));
    report.findings.extend(managed(name, &networkd, &manager));
}

fn managed(name: &str, networkd: &str, manager: &str) -> Vec<Finding> {
    let has = |text: &str, line: &str| text.lines().any(|known| known.trim() == line);
    let finding = |what: &str, remedy: String| {
        let what = format!("{what} manages it, and may take virtual addresses away when it is started anew");
        Finding::warning("managed-interface", name, what, remedy)
    };
    let mut found = Vec::new();
    if ["configured", "configuring"].iter().any(|state| has(networkd, &format!("ADMIN_STATE={state}"))) {
        let remedy = "`KeepConfiguration=static` in its .network file, and ManageForeignRoutes=no and \
                      ManageForeignRoutingPolicyRules=no in networkd.conf";
        found.push(finding("systemd-networkd", remedy.into()));
    }
    if has(manager, "managed=true") || has(manager, "managed=full") {
        let remedy = format!("`unmanaged-devices=interface-name:{name}` below [keyfile] in NetworkManager.conf");
        found.push(finding("NetworkManager", remedy));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn of_a_setting_in_two_places_the_larger_counts() {
        let none = settings("eth0", |_, _| Some(0));
        assert_eq!(none, []);
        let strict = settings("eth0", |key, of| Some(u32::from(key == "rp_filter" && of == "all")));
        assert_eq!(strict.iter().map(|found| found.name).collect::<Vec<_>>(), ["rp-filter"]);
        let loose = settings("eth0", |key, of| (key == "rp_filter").then_some(if of == "all" { 1 } else { 2 }));
        assert_eq!(loose, [], "2 is loose, and larger");
        let deaf = settings("eth0", |key, of| (key == "arp_ignore" && of == "eth0").then_some(8));
        assert_eq!((deaf.len(), deaf.first().map(|found| found.severity)), (1, Some(Severity::Fault)));
    }

    #[test]
    fn whoever_manages_an_interface_is_named() {
        let names = |networkd: &str, manager: &str| {
            managed("eth0", networkd, manager).into_iter().map(|found| found.what).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(names("ADMIN_STATE=unmanaged\n", "[device]\nmanaged=false\n"), "");
        assert!(names("# comment\nADMIN_STATE=configured\n", "").starts_with("systemd-networkd manages it"));
        assert!(names("", "[device]\nmanaged=full\n").starts_with("NetworkManager manages it"));
    }
}
