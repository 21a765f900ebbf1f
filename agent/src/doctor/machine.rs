//! The kernel's settings, interfaces, clock, and who else manages an interface.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Finding, Report, Severity};
use crate::assemble::Plan;

/// What a heartbeat's datagrams need at least, with room for IPv6 (RFC 9000, 14; RFC 8200, 5).
const SMALLEST_MTU: u32 = 1280;
/// Since which the kernel attaches BPF as the gate wants it (tcx), and since which nftables can be the gate.
const BPF_SINCE: (u32, u32) = (6, 6);
const NFT_SINCE: (u32, u32) = (5, 16);
/// The magic of a bpffs (linux/magic.h).
const BPF_FS: i64 = 0xcafe_4a11;

/// Looks.
pub(super) fn look(plan: &Plan, report: &mut Report) {
    let own: BTreeSet<&str> = plan.own_links.iter().map(|link| link.name.as_str()).collect();
    let vrrp = plan.settings.interfaces.iter().map(|interface| interface.name.as_str());
    let bases = plan.own_links.iter().map(|link| link.base.as_str());
    let vrrp: BTreeSet<&str> = vrrp.chain(bases).filter(|name| !own.contains(name)).collect();
    let beats: BTreeSet<&str> = plan.links.iter().map(|link| link.interface.as_str()).collect();
    for name in vrrp.union(&beats) {
        interface(name, beats.contains(name), report);
    }
    for name in &vrrp {
        managers(Path::new("/run"), name, report);
    }
    clock(report);
    if let Ok(release) = fs::read_to_string("/proc/sys/kernel/osrelease") {
        report.findings.extend(kernel(release.trim()));
    }
    bpffs(&plan.bpf_dir, report);
}

fn number(path: &str) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn interface(name: &str, has_beats: bool, report: &mut Report) {
    let path = format!("/sys/class/net/{name}");
    if !Path::new(&path).exists() {
        return report.findings.push(Finding {
            name: "interface-missing",
            severity: Severity::Fault,
            place: name.to_owned(),
            what: String::from("there is no such interface"),
            remedy: String::from("`ip link` lists what there is: correct the configuration, or create it"),
        });
    }
    let state = fs::read_to_string(format!("{path}/operstate")).unwrap_or_default();
    if matches!(state.trim(), "down" | "lowerlayerdown" | "notpresent") {
        report.findings.push(Finding {
            name: "interface-down",
            severity: Severity::Fault,
            place: name.to_owned(),
            what: format!("it is {}", state.trim()),
            remedy: format!("`ip link set {name} up`; then look at cable and switch port"),
        });
    }
    if let Some(mtu) = number(&format!("{path}/mtu")).filter(|mtu| has_beats && *mtu < SMALLEST_MTU) {
        report.findings.push(Finding {
            name: "mtu",
            severity: Severity::Fault,
            place: name.to_owned(),
            what: format!("an MTU of {mtu} is less than the {SMALLEST_MTU} that heartbeats need"),
            remedy: format!("`ip link set {name} mtu 1500`, and the same along the path"),
        });
    }
    report.findings.extend(settings(name, |key, of| number(&format!("/proc/sys/net/ipv4/conf/{of}/{key}"))));
}

/// Of the two places the larger counts (kernel documentation, ip-sysctl).
fn settings(name: &str, read: impl Fn(&str, &str) -> Option<u32>) -> Vec<Finding> {
    let larger = |key: &str| read(key, "all").max(read(key, name)).unwrap_or(0);
    let mut found = Vec::new();
    if larger("rp_filter") == 1 {
        found.push(Finding {
            name: "rp-filter",
            severity: Severity::Warning,
            place: name.to_owned(),
            what: String::from("rp_filter is strict: what comes by another way than answers would take is dropped"),
            remedy: format!(
                "where two interfaces reach the same network: `sysctl net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.{name}.rp_filter=2`"
            ),
        });
    }
    let ignore = larger("arp_ignore");
    if ignore >= 3 {
        found.push(Finding {
            name: "arp-ignore",
            severity: Severity::Fault,
            place: name.to_owned(),
            what: format!("arp_ignore is {ignore}: ARP for a virtual address is not answered"),
            remedy: format!("`sysctl net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.{name}.arp_ignore=1`"),
        });
    }
    found
}

/// networkd and NetworkManager note what they manage below /run.
fn managers(run: &Path, name: &str, report: &mut Report) {
    let Ok(index) = nix::net::if_::if_nametoindex(name) else { return };
    let read = |path: &str| fs::read_to_string(run.join(path)).unwrap_or_default();
    let networkd = read(&format!("systemd/netif/links/{index}"));
    let manager = read(&format!("NetworkManager/devices/{index}"));
    report.findings.extend(managed(name, &networkd, &manager));
}

fn managed(name: &str, networkd: &str, manager: &str) -> Vec<Finding> {
    let has = |text: &str, line: &str| text.lines().any(|known| known.trim() == line);
    let finding = |what: &str, remedy: String| Finding {
        name: "managed-interface",
        severity: Severity::Warning,
        place: name.to_owned(),
        what: format!("{what} manages it, and may take virtual addresses away when it is started anew"),
        remedy,
    };
    let mut found = Vec::new();
    if ["configured", "configuring"].iter().any(|state| has(networkd, &format!("ADMIN_STATE={state}"))) {
        let remedy = String::from(
            "`KeepConfiguration=static` in its .network file, and ManageForeignRoutes=no and \
            ManageForeignRoutingPolicyRules=no in networkd.conf",
        );
        found.push(finding("systemd-networkd", remedy));
    }
    if has(manager, "managed=true") || has(manager, "managed=full") {
        let remedy = format!("`unmanaged-devices=interface-name:{name}` below [keyfile] in NetworkManager.conf");
        found.push(finding("NetworkManager", remedy));
    }
    found
}

fn clock(report: &mut Report) {
    // SAFETY: timex is plain numbers, for which all zeros are valid.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `modes` is zero, so that the kernel only fills in a whole timex of our own, for the time of the call.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 || timex.status & libc::STA_UNSYNC != 0 {
        report.findings.push(Finding {
            name: "clock",
            severity: Severity::Warning,
            place: String::from("this machine"),
            what: String::from(
                "nobody disciplines its clock: logs of the nodes can't be laid side by side (leases go by no date)",
            ),
            remedy: String::from("run chrony, ntpd or systemd-timesyncd; in a container, on its host"),
        });
    }
}

fn kernel(release: &str) -> Option<Finding> {
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().ok());
    let version = (numbers.next()??, numbers.next()??);
    let finding = |severity, what: &str, remedy: &str| {
        let (place, what) = (format!("Linux {release}"), what.to_owned());
        Some(Finding { name: "kernel", severity, place, what, remedy: remedy.to_owned() })
    };
    if version < NFT_SINCE {
        finding(
            Severity::Fault,
            "it can make neither gate: before 5.16 nftables looks at no egress",
            "a kernel of 6.6 or later",
        )
    } else if version < BPF_SINCE {
        finding(
            Severity::Warning,
            "it makes no BPF gate; nftables is used, which shuts up to a tick later",
            "a kernel of 6.6 or later",
        )
    } else {
        None
    }
}

/// The gate's pins want a bpffs, in the directory or above it.
fn bpffs(directory: &Path, report: &mut Report) {
    let Some(there) = directory.ancestors().find(|path| path.exists()) else { return };
    let is_bpffs = nix::sys::statfs::statfs(there).is_ok_and(|found| {
        #[allow(clippy::unnecessary_cast, reason = "the type differs among architectures")]
        let magic = found.filesystem_type().0 as i64;
        magic == BPF_FS
    });
    if !is_bpffs {
        report.findings.push(Finding {
            name: "bpffs",
            severity: Severity::Warning,
            place: directory.display().to_string(),
            what: String::from("it is on no bpffs: the BPF gate can't be pinned there, and nftables is used"),
            remedy: String::from("`mount -t bpf bpf /sys/fs/bpf`, and the same in fstab, or another `bpf_dir`"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_can_not_make_a_gate_are_named() {
        assert_eq!(kernel("6.12.43+deb13-amd64"), None);
        assert_eq!(kernel("6.6.0"), None);
        assert_eq!(kernel("6.1.0-39-amd64").unwrap().severity, Severity::Warning);
        assert_eq!(kernel("5.10.0-35-amd64").unwrap().severity, Severity::Fault);
        assert_eq!(kernel("strange"), None);
    }

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
