//! `keepone doctor` in namespaces, good and bad: what it finds is there, and what is not there it does not find.
//! Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::binary;
use keepone_tests::cluster::Cluster;
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::program::Program;
use serde_json::Value;

struct Room {
    lan: Lan,
    file: PathBuf,
}

impl Room {
    fn new() -> Self {
        let lan = Lan::build(1).unwrap();
        let mut cluster = Cluster::new(&lan).unwrap();
        cluster.quorum();
        let file = cluster.write(&lan, 0).unwrap();
        Room { lan, file }
    }

    /// A command in the namespace of a machine, to its end.
    fn at(&self, kind: Kind, command: &[&str]) -> (bool, String) {
        let log = self.lan.room().join("command.log");
        let _ = std::fs::remove_file(&log);
        let mut program = Program::start(&self.lan.host(kind).namespace, command, &log).unwrap();
        let status = program.wait(Duration::from_secs(30)).unwrap();
        (status.success(), program.said())
    }

    #[track_caller]
    fn does(&self, kind: Kind, command: &[&str]) {
        let (good, said) = self.at(kind, command);
        assert!(good, "{command:?}: {said}");
    }

    /// What it finds, by name; those of the machine under the namespaces are left out.
    #[track_caller]
    fn finds(&self) -> Vec<(String, String)> {
        let keepone = binary::find("keepone");
        let command = [keepone.to_str().unwrap(), "doctor", "--json", "-c", self.file.to_str().unwrap()];
        let (good, said) = self.at(Kind::Node(0), &command);
        let line = said.lines().rev().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{said}"));
        let report: Value = serde_json::from_str(line).unwrap();
        assert_eq!(report["skipped"], serde_json::json!([]), "{said}");
        let all = report["findings"].as_array().unwrap().clone();
        assert_eq!(good, all.iter().all(|found| found["severity"] != "fault"), "{said}");
        let of_the_machine = ["clock", "kernel", "bpffs", "managed-interface"];
        let text = |found: &Value, name: &str| found[name].as_str().unwrap().to_owned();
        let found = all.iter().filter(|found| !of_the_machine.contains(&found["name"].as_str().unwrap()));
        found.map(|found| (text(found, "name"), format!("{}: {}", text(found, "place"), text(found, "what")))).collect()
    }

    #[track_caller]
    fn finds_only(&self, name: &str, words: &[&str]) {
        let found = self.finds();
        assert!(!found.is_empty() && found.iter().all(|(of, _)| of == name), "{name}: {found:?}");
        for word in words {
            assert!(found.iter().any(|(_, what)| what.contains(word)), "{word}: {found:?}");
        }
    }
}

#[test]
fn it_finds_what_is_wrong_with_a_node_and_nothing_else() {
    let room = Room::new();
    let node = Kind::Node(0);
    room.does(
        node,
        &[
            "sysctl",
            "-q",
            "net.ipv4.conf.all.rp_filter=0",
            &format!("net.ipv4.conf.{INTERFACE}.rp_filter=0"),
            "net.ipv4.conf.hb0.rp_filter=0",
        ],
    );
    assert_eq!(room.finds(), [], "nothing is wrong yet");

    // The firewall that everybody has: nothing but ssh comes in.
    let rules = "add table inet filter
        add chain inet filter input { type filter hook input priority 0; policy drop; }
        add rule inet filter input ct state established,related accept
        add rule inet filter input iif lo accept
        add rule inet filter input tcp dport 22 accept";
    let file = room.lan.write("rules", rules).unwrap();
    room.does(node, &["nft", "-f", file.to_str().unwrap()]);
    room.finds_only(
        "firewall",
        &["VRRP (IP protocol 112) is dropped by the policy of chain input", "heartbeats of hb0 (UDP 7946)"],
    );
    // Mended as it says, but for the heartbeats.
    room.does(node, &["nft", "insert", "rule", "inet", "filter", "input", "meta", "l4proto", "112", "accept"]);
    let found = room.finds();
    assert!(found.len() == 1 && found[0].1.contains("heartbeats of hb0"), "{found:?}");
    room.does(node, &["nft", "insert", "rule", "inet", "filter", "input", "udp", "dport", "7946", "accept"]);
    assert_eq!(room.finds(), []);
    room.does(node, &["nft", "flush", "ruleset"]);

    // Rules that iptables makes, on the way out.
    room.does(node, &["nft", "add", "table", "ip", "filter"]);
    let chain = "{ type filter hook output priority 0; policy accept; }";
    room.does(node, &["nft", "add", "chain", "ip", "filter", "OUTPUT", chain]);
    room.does(node, &["nft", "add", "rule", "ip", "filter", "OUTPUT", "ip", "protocol", "vrrp", "counter", "drop"]);
    room.finds_only("firewall", &["output of ", "is dropped by rule "]);
    room.does(node, &["nft", "flush", "ruleset"]);

    room.does(node, &["sysctl", "-q", &format!("net.ipv4.conf.{INTERFACE}.arp_ignore=8")]);
    room.finds_only("arp-ignore", &["arp_ignore is 8"]);
    room.does(node, &["sysctl", "-q", &format!("net.ipv4.conf.{INTERFACE}.arp_ignore=0")]);
    room.does(node, &["sysctl", "-q", "net.ipv4.conf.hb0.rp_filter=1"]);
    room.finds_only("rp-filter", &["hb0: rp_filter is strict"]);
    room.does(node, &["sysctl", "-q", "net.ipv4.conf.hb0.rp_filter=0"]);
    room.does(node, &["ip", "link", "set", "hb0", "mtu", "1000"]);
    room.finds_only("mtu", &["hb0: an MTU of 1000"]);
    room.does(node, &["ip", "link", "set", "hb0", "mtu", "1500"]);
    room.does(node, &["ip", "link", "set", "hb0", "down"]);
    room.finds_only("interface-down", &["hb0: it is down"]);
    room.does(node, &["ip", "link", "set", "hb0", "up"]);

    // One other machine that has the address may be the holder; two are one too many.
    let vip = format!("{VIP}/24");
    room.does(Kind::Node(1), &["ip", "address", "add", &vip, "dev", INTERFACE]);
    assert_eq!(room.finds(), []);
    room.does(Kind::Client(0), &["ip", "address", "add", &vip, "dev", INTERFACE]);
    room.finds_only("duplicate-address", &[VIP.to_string().as_str(), " and "]);
}
