//! `keepone doctor` in namespaces, good and bad: each fault is set for real, and found; what is not there is not found.
//! Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::time::Duration;

use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::cluster::Cluster;
use keepone_tests::lan::{INTERFACE, Lan, VIP6};
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use keepone_tests::{Error, binary};
use serde_json::Value;

/// The machine may be busy.
const SOON: Duration = Duration::from_secs(30);
const NODE: Kind = Kind::Node(0);

/// How a program is started.
type Start = fn(&keepone_chaos::netns::namespace::Namespace, &[&str], &std::path::Path) -> Result<Program, Error>;

struct Room {
    lan: Lan,
    cluster: Cluster,
    file: PathBuf,
}

/// A finding: name, and all its words.
type Found = (String, String);

impl Room {
    fn new() -> Self {
        let lan = Lan::build(1).unwrap();
        let mut cluster = Cluster::new(&lan).unwrap();
        cluster.quorum();
        let file = cluster.write(&lan, 0).unwrap();
        Room { lan, cluster, file }
    }

    /// A command on a machine, to its end: its exit code and what it said.
    fn run(&self, start: Start, kind: Kind, command: &[&str]) -> (Option<i32>, String) {
        let log = self.lan.room().join("command.log");
        let _ = std::fs::remove_file(&log);
        let ended = start(&self.lan.host(kind).namespace, command, &log).unwrap().end(SOON).unwrap();
        (ended.code, ended.said)
    }

    #[track_caller]
    fn does(&self, kind: Kind, command: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        let (code, said) = self.run(Program::start, kind, &words);
        assert_eq!(code, Some(0), "{command}: {said}");
    }

    /// What it finds after `before` in a shell, without what is so of the machine under the namespaces, and what it could
    /// not look at.
    #[track_caller]
    fn examine(&self, start: Start, before: &str) -> (Vec<Found>, Value) {
        let keepone = binary::find("keepone");
        let shell = format!("{before} exec \"$0\" \"$@\"");
        let file = self.file.to_str().unwrap();
        let command = ["sh", "-c", &shell, keepone.to_str().unwrap(), "doctor", "--json", "-c", file];
        let (code, said) = self.run(start, NODE, &command);
        let line = said.lines().rev().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{said}"));
        let report: Value = serde_json::from_str(line).unwrap();
        let all = report["findings"].as_array().unwrap().clone();
        let has_fault = all.iter().any(|found| found["severity"] == "fault");
        assert_eq!(code, Some(if has_fault { 23 } else { 0 }), "{said}");
        let text = |found: &Value, name: &str| found[name].as_str().unwrap().to_owned();
        let found = all.iter().filter(|found| found["name"] != "clock").map(|found| {
            assert!(!text(found, "remedy").is_empty(), "{found}");
            (text(found, "name"), format!("{}: {}", text(found, "place"), text(found, "what")))
        });
        (found.collect(), report["skipped"].clone())
    }

    #[track_caller]
    fn finds_after(&self, before: &str) -> Vec<Found> {
        let (found, skipped) = self.examine(Program::start, before);
        assert_eq!(skipped, serde_json::json!([]), "{found:?}");
        found
    }

    #[track_caller]
    fn finds(&self) -> Vec<Found> {
        self.finds_after("")
    }

    #[track_caller]
    fn finds_only(&self, name: &str, words: &[&str]) {
        only(&self.finds(), name, words);
    }

    /// A rule set in the place of the one that there is.
    #[track_caller]
    fn rules(&self, rules: &str) {
        let file = self.lan.write("rules", &format!("flush ruleset\n{rules}")).unwrap();
        self.does(NODE, &format!("nft -f {}", file.display()));
    }
}

#[track_caller]
fn only(found: &[Found], name: &str, words: &[&str]) {
    assert!(!found.is_empty() && found.iter().all(|(of, _)| of == name), "{name}: {found:?}");
    for word in words {
        assert!(found.iter().any(|(_, what)| what.contains(word)), "{word}: {found:?}");
    }
}

/// The firewall that everybody has: nothing but ssh comes in.
const USUAL: &str = "table inet filter {
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iif lo accept
        tcp dport 22 accept
    }
}";

#[test]
fn it_finds_rules_that_drop_what_the_agent_lives_by() {
    let room = Room::new();
    assert_eq!(room.finds(), [], "nothing is wrong yet");

    room.rules(USUAL);
    room.finds_only(
        "firewall",
        &["VRRP (IP protocol 112) is dropped by the policy of chain input", "heartbeats of hb0 (UDP 7946)"],
    );
    // Mended as it says, but for the heartbeats.
    room.does(NODE, &format!("nft insert rule inet filter input iifname {INTERFACE} meta l4proto 112 accept"));
    let found = room.finds();
    assert!(found.len() == 1 && found[0].1.contains("heartbeats of hb0"), "{found:?}");
    room.does(NODE, "nft insert rule inet filter input iifname hb0 udp dport 7946 accept");
    assert_eq!(room.finds(), []);
    // The same with a map of verdicts.
    room.rules(
        &USUAL.replace("ct state established,related accept", "ct state vmap { established : accept, invalid : drop }"),
    );
    room.finds_only("firewall", &["by the policy of chain input"]);

    // Rules as iptables-nft makes them, on the way out.
    room.rules(
        "table ip filter { chain OUTPUT { type filter hook output priority 0; policy accept; ip protocol vrrp counter drop; }; }",
    );
    room.finds_only("firewall", &["output of lan0: VRRP (IP protocol 112) is dropped by rule "]);
    room.rules("");
    assert_eq!(room.finds(), []);
}

#[test]
fn it_finds_interfaces_and_settings_that_are_in_the_way() {
    let room = Room::new();
    for (name, finding, words) in [
        ("lan0/arp_ignore=8", "arp-ignore", "lan0: arp_ignore is 8"),
        ("all/arp_ignore=8", "arp-ignore", "lan0: arp_ignore is 8"),
        ("hb0/rp_filter=1", "rp-filter", "hb0: rp_filter is strict"),
    ] {
        let (name, value) = name.split_once('=').unwrap();
        let path = format!("/proc/sys/net/ipv4/conf/{name}");
        let set = |value: &str| {
            let (code, said) = room.run(Program::start, NODE, &["sh", "-c", &format!("echo {value} > {path}")]);
            assert_eq!(code, Some(0), "{said}");
        };
        set(value);
        room.finds_only(finding, &[words]);
        set("0");
    }
    room.does(NODE, "ip link set hb0 mtu 1000");
    room.finds_only("mtu", &["hb0: an MTU of 1000"]);
    room.does(NODE, "ip link set hb0 mtu 1500");
    room.does(NODE, "ip link set hb0 down");
    room.finds_only("interface-down", &["hb0: it is down"]);
    room.does(NODE, "ip link set hb0 up");
    // A cable that is out: what can't be asked for addresses is said.
    room.lan.set_cable(0, false).unwrap();
    eventually(
        SOON,
        || String::from("no carrier is not found"),
        || {
            let (found, _) = room.examine(Program::start, "");
            found.iter().any(|(name, what)| name == "interface-down" && what == "lan0: it has no carrier").then_some(())
        },
    );
    room.lan.set_cable(0, true).unwrap();
    eventually(
        SOON,
        || String::from("the carrier does not come back"),
        || room.examine(Program::start, "").0.is_empty().then_some(()),
    );
    room.does(NODE, "ip link set hb0 name other0");
    let (found, _) = room.examine(Program::start, "");
    only(&found, "interface-missing", &["hb0: there is no such interface"]);
    room.does(NODE, "ip link set other0 name hb0");
    room.does(NODE, "ip link set hb0 up");

    // As they write it down themselves; /run is private to the command.
    let index = "index=$(ip -o link show lan0 | cut -d: -f1);";
    let networkd = format!(
        "{index} mkdir -p /run/systemd/netif/links; echo ADMIN_STATE=configured > /run/systemd/netif/links/$index;"
    );
    only(&room.finds_after(&networkd), "managed-interface", &["lan0: systemd-networkd manages it"]);
    assert_eq!(room.finds_after(&networkd.replace("configured", "unmanaged")), []);
    let manager = format!(
        "{index} mkdir -p /run/NetworkManager/devices; printf '[device]\\nmanaged=full\\n' > /run/NetworkManager/devices/$index;"
    );
    only(&room.finds_after(&manager), "managed-interface", &["lan0: NetworkManager manages it"]);
}

#[test]
fn it_finds_what_the_process_and_the_kernel_lack() {
    let room = Room::new();
    // Its own, and the machine's below it, where that has one.
    let none = "while umount /sys/fs/bpf 2>/dev/null; do :; done;";
    only(&room.finds_after(none), "bpffs", &["it is on no bpffs"]);
    let (found, skipped) = room.examine(Program::start, "exec setpriv --bounding-set=-net_raw \"$0\" \"$@\";");
    only(&found, "capabilities", &["missing CAP_NET_RAW"]);
    assert!(skipped.to_string().contains("who answers for virtual addresses on lan0"), "{skipped}");
    let (found, _) = room.examine(Program::start_without_bpf, "");
    only(&found, "no-bpf", &["no BPF gate"]);
    let (found, skipped) = room.examine(Program::start_without_a_gate, "");
    only(&found, "no-gate", &["neither BPF"]);
    assert!(skipped.to_string().contains("firewall: nft lists no rules"), "{skipped}");
    // Virtual servers want IPVS, which may be there or not.
    let text = std::fs::read_to_string(&room.file).unwrap();
    let server = "\n[[virtual_server]]\naddress = \"192.0.2.200\"\nport = 80\nlvs_sched = \"rr\"\nlvs_method = \"DR\"\nprotocol = \"TCP\"\n\
                  [[virtual_server.real_server]]\naddress = \"192.0.2.201\"\nport = 80\n";
    std::fs::write(&room.file, text + server).unwrap();
    let there = std::path::Path::new("/proc/self/net/ip_vs").exists();
    let found = room.finds();
    if there { assert_eq!(found, []) } else { only(&found, "ipvs", &["it has no IPVS"]) }
}

#[test]
fn it_finds_addresses_of_others() {
    let room = Room::new();
    room.lan.add_ipv6().unwrap();
    let text = std::fs::read_to_string(&room.file).unwrap();
    let six = format!(
        "\n[[vrrp_instance]]\nname = \"VI_6\"\ninterface = \"{INTERFACE}\"\nvirtual_router_id = 52\nversion = 3\n\
         virtual_ipaddress = [\"fe80::100/64\", \"{VIP6}/64\"]\n"
    );
    std::fs::write(&room.file, text + &six).unwrap();
    assert_eq!(room.finds(), []);
    // One other machine that has the address may be the holder; two are one too many.
    for (vip, more) in [(format!("{VIP}/24"), ""), (format!("{VIP6}/64"), " nodad")] {
        let add = |kind| room.does(kind, &format!("ip address add {vip} dev {INTERFACE}{more}"));
        let remove = |kind| room.does(kind, &format!("ip address del {vip} dev {INTERFACE}"));
        add(Kind::Node(1));
        assert_eq!(room.finds(), []);
        add(Kind::Client(0));
        let address = vip.split('/').next().unwrap();
        room.finds_only("duplicate-address", &[address, " and "]);
        remove(Kind::Client(0));
        add(NODE);
        room.finds_only("duplicate-address", &[address, "answers for it, and this node has it"]);
        remove(NODE);
        remove(Kind::Node(1));
    }
}

#[test]
fn it_tells_what_the_agent_that_runs_has_seen() {
    let mut room = Room::new();
    room.cluster.arbiter = String::from("type = \"none\"");
    let files = [0, 1].map(|node| room.cluster.write(&room.lan, node).unwrap());
    let keepone = binary::find("keepone");
    let start = |node: usize| {
        let command = [keepone.to_str().unwrap(), "run", "-c", files[node].to_str().unwrap()];
        room.lan.start(node, &command).unwrap()
    };
    let nodes = [start(0), start(1)];
    let said = || format!("{}\n--\n{}", nodes[0].said(), nodes[1].said());
    // A pair without a third vote says so itself, and nothing more once both are up.
    let quiet = || {
        let (found, _) = room.examine(Program::start, "");
        let about = |(name, what): &&Found| name != "alert" || !what.contains("no authority");
        (found.iter().filter(about).count(), found)
    };
    eventually(SOON, || format!("{:?}\n{}", quiet().1, said()), || (quiet().0 == 0).then_some(()));
    // Rules that came while it ran: seen in the rules, and by the agent.
    room.rules(
        "table inet filter { chain input { type filter hook input priority 0; policy accept; udp dport 7946 drop; }; }",
    );
    eventually(
        SOON,
        || format!("{:?}\n{}", quiet().1, said()),
        || {
            let (found, _) = room.examine(Program::start, "");
            let has = |name: &str, words: &str| found.iter().any(|(of, what)| of == name && what.contains(words));
            (has("firewall", "heartbeats of hb0 (UDP 7946)") && has("alert", "all-heartbeats-down: ")).then_some(())
        },
    );
}
