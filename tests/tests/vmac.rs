//! Virtual routers with the virtual MAC, on real frames: what a client learns, what a Backup's switch port sees, and
//! what is left when the agent ends. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::panic::Location;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use keepone_chaos::fault::Part;
use keepone_chaos::netns::namespace::Namespace;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::dissect::{self, Recorder};
use keepone_tests::lan::{INTERFACE, Lan, VIP6};
use keepone_tests::observe::Watch;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

/// Wide: the machine may be busy with other tests.
const SOON: Duration = Duration::from_secs(20);
/// Ten Advertisements.
const WHILE: Duration = Duration::from_secs(2);
const MAC: &str = "00:00:5e:00:01:33";
const MAC6: &str = "00:00:5e:00:02:34";

fn configuration(priority: u8, more: &str, means: &str) -> String {
    format!(
        "gate {{\n    means {means}\n}}\nvrrp_instance VI_1 {{\n    interface {INTERFACE}\n    virtual_router_id 51\n    \
         version 3\n    priority {priority}\n    advert_int 0.2\n    use_vmac\n{more}    virtual_ipaddress {{\n        \
         {VIP}/24\n    }}\n}}\nvrrp_instance VI_6 {{\n    interface {INTERFACE}\n    virtual_router_id 52\n    version 3\n    \
         priority {priority}\n    advert_int 0.2\n    use_vmac\n    virtual_ipaddress {{\n        fe80::100/64\n        \
         {VIP6}/64\n    }}\n}}\n"
    )
}

struct Pair {
    programs: Vec<Program>,
    watch: Watch,
    lan: Lan,
}

fn run(namespace: &Namespace, words: &str) -> String {
    let output = namespace.run(|| Ok(Command::new("bash").args(["-c", words]).output().unwrap())).unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Pair {
    fn nobody() -> Self {
        let lan = Lan::build(0).unwrap();
        lan.add_ipv6().unwrap();
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        Pair { programs: Vec::new(), watch, lan }
    }

    fn start(more: &str, means: &str) -> Self {
        let mut pair = Pair::nobody();
        for (node, priority) in [(0, 150), (1, 100)] {
            pair.add(node, priority, more, means);
        }
        pair
    }

    fn add(&mut self, node: usize, priority: u8, more: &str, means: &str) {
        let file = self.lan.write(&format!("{node}.conf"), &configuration(priority, more, means)).unwrap();
        let keepone = keepone_tests::binary::find("keepone");
        let command = [keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
        self.programs.insert(node, self.lan.start(node, &command).unwrap());
    }

    fn on(&self, node: usize, words: &str) -> String {
        run(&self.lan.node(node).namespace, words)
    }

    fn client(&self, words: &str) -> String {
        run(&self.lan.host(Kind::Client(0)).namespace, words)
    }

    #[track_caller]
    fn until(&self, why: &str, holds: impl Fn() -> bool) {
        let begin = Instant::now();
        while !holds() {
            if begin.elapsed() > SOON {
                let shown = [0, 1].map(|node| self.on(node, "ip -d addr; ip neigh"));
                let said: Vec<String> = self.programs.iter().map(Program::said).collect();
                let neighbours = self.client("ip neigh");
                panic!("{why}: {}\n{shown:#?}\n{neighbours}\n{}", Location::caller(), said.join("\n---\n"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Fields of those frames that pass an interface while `deed` is done and that pass the filter.
    fn seen(&self, at: Kind, interface: &str, filter: &str, fields: &[&str], deed: impl FnOnce()) -> String {
        let recorder = Recorder::on(&self.lan, at, interface).unwrap();
        deed();
        dissect::fields(&recorder.stop().unwrap(), filter, fields).unwrap()
    }

    /// The client's entry of a neighbour.
    fn neighbour(&self, address: &str) -> String {
        self.client(&format!("ip neigh show {address}"))
    }
}

fn moves_with_the_virtual_mac(means: &str) {
    let mut pair = Pair::start("", means);
    pair.until("the better node answers", || pair.watch.answered_by(0, Duration::from_millis(200)).is_some());
    pair.until("the client has learnt the virtual MACs", || {
        pair.client(&format!("echo >/dev/udp/{VIP6}/9"));
        pair.neighbour(&VIP.to_string()).contains(MAC) && pair.neighbour(&VIP6.to_string()).contains(MAC6)
    });
    for (node, holds) in [(0, true), (1, false)] {
        let shown = pair.on(node, "ip -d addr show dev vrrp.51; ip -d addr show dev vrrp.52; ip addr show dev lan0");
        assert!(shown.contains("macvlan mode vepa") && shown.contains(MAC) && shown.contains(MAC6), "{shown}");
        assert_eq!(shown.contains(&format!("{VIP}/24")), holds, "{shown}");
        let base = pair.on(node, "ip addr show dev lan0");
        assert!(!base.contains(&VIP.to_string()) && !base.contains(&VIP6.to_string()), "{base}");
    }
    // Nothing else but a dump of the wire can say what a Backup's switch port sees.
    let client = Kind::Client(0);
    let seen = pair.seen(client, INTERFACE, "vrrp", &["eth.src", "ip.src", "ipv6.src"], || thread::sleep(WHILE));
    assert!(seen.contains(MAC) && seen.contains(MAC6), "Advertisements come from the virtual MACs: {seen}");
    let foreign = seen.lines().filter(|line| !line.starts_with(MAC) && !line.starts_with(MAC6)).count();
    assert_eq!(foreign, 0, "and from no others: {seen}");
    // Outgoing on any interface, where what the gate has dropped is not seen.
    let filter = format!("sll.pkttype == 4 && (sll.src.eth == {MAC} || sll.src.eth == {MAC6})");
    let sent = |node| pair.seen(Kind::Node(node), "any", &filter, &["frame.protocols"], || thread::sleep(WHILE));
    assert!(sent(0).contains("vrrp"), "a Master speaks with the virtual MAC");
    assert_eq!(sent(1), "", "a Backup never does");

    // Whoever asks for the address, and whomever this host asks for its sake: the interface below keeps out of it.
    let ask = format!("for i in 1 2 3 4 5; do ip neigh flush all; echo >/dev/udp/{VIP}/9; sleep 0.2; done");
    let filter = format!("arp.src.proto_ipv4 == {VIP}");
    let flush = "for i in 1 2 3 4; do ip neigh flush dev lan0; sleep 0.4; done";
    let seen = pair.seen(client, INTERFACE, &filter, &["eth.src", "arp.opcode"], || {
        thread::scope(|scope| {
            scope.spawn(|| pair.on(0, flush));
            pair.client(&ask)
        });
    });
    assert!(seen.contains("\t2"), "it is asked for, and answers: {seen}");
    assert!(seen.lines().all(|line| line.starts_with(MAC)), "{seen}");

    // The address moves, and with it nothing that the client knows changes.
    pair.programs[0].signal(Part::Guardian, Signal::SIGTERM);
    pair.until("the other node answers", || pair.watch.answered_by(1, Duration::from_millis(200)).is_some());
    assert!(pair.neighbour(&VIP.to_string()).contains(MAC));
    assert!(pair.programs[0].wait(SOON).is_some());
    let left = pair.on(0, "ip -br link");
    assert!(!left.contains("vrrp."), "{left}");
}

#[test]
fn the_address_moves_with_the_virtual_mac_behind_bpf() {
    moves_with_the_virtual_mac("bpf");
}

#[test]
fn the_address_moves_with_the_virtual_mac_behind_nftables() {
    moves_with_the_virtual_mac("nft");
}

fn a_backup_is_silent_from_its_start(means: &str) {
    let mut pair = Pair::nobody();
    let recorder = Recorder::start(&pair.lan, Kind::Client(0)).unwrap();
    // It waits for three advert_ints of 10 s.
    let text = configuration(100, "", means).replace("advert_int 0.2", "advert_int 10");
    let file = pair.lan.write("x.conf", &text).unwrap();
    let keepone = keepone_tests::binary::find("keepone");
    pair.programs.push(pair.lan.start(0, &[keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap());
    pair.until("the links are up", || pair.on(0, "ip -br link").matches("LOWER_UP").count() >= 5);
    // Reports of groups come within a second or two, and again.
    thread::sleep(Duration::from_secs(4));
    let seen =
        dissect::fields(&recorder.stop().unwrap(), "eth.src contains 00:00:5e:00", &["frame.protocols"]).unwrap();
    assert_eq!(seen, "", "nothing comes from a virtual MAC, not even a report of a multicast group");
    assert!(!pair.programs[0].said().contains("MASTER"), "{}", pair.programs[0].said());
}

#[test]
fn a_backup_is_silent_from_its_start_behind_any_gate() {
    for means in ["bpf", "nft", "lifetime"] {
        a_backup_is_silent_from_its_start(means);
    }
}

#[test]
fn settings_of_the_kernel_come_and_go_with_the_agent_whatever_ends_it() {
    let mut pair = Pair::start("", "auto");
    let base =
        |pair: &Pair| pair.on(0, "cd /proc/sys/net/ipv4/conf/lan0; cat arp_ignore arp_filter arp_announce rp_filter");
    pair.until("it is up", || pair.watch.answered_by(0, Duration::from_millis(200)).is_some());
    assert_eq!(base(&pair), "1\n1\n2\n0\n");
    assert_eq!(pair.on(0, "cd /proc/sys/net/ipv4/conf/vrrp.51; cat arp_ignore accept_local rp_filter"), "1\n1\n0\n");
    // A dead worker leaves them, and the link, to the next one.
    let index = pair.on(0, "cat /sys/class/net/vrrp.51/ifindex; ip -br link show vrrp.51");
    pair.programs[0].signal(Part::Worker, Signal::SIGKILL);
    pair.until("a new worker serves", || pair.programs[0].said().contains("a new one starts"));
    pair.until("a new worker serves", || pair.watch.answered_by(0, Duration::from_millis(200)).is_some());
    assert_eq!(pair.on(0, "cat /sys/class/net/vrrp.51/ifindex; ip -br link show vrrp.51"), index);
    assert_eq!(base(&pair), "1\n1\n2\n0\n");
    pair.programs[0].signal(Part::Guardian, Signal::SIGTERM);
    assert!(pair.programs[0].wait(SOON).is_some());
    assert_eq!(base(&pair), "0\n0\n0\n0\n", "as before");
}

#[test]
fn an_interface_that_somebody_deletes_is_made_anew_and_the_address_with_it() {
    let pair = Pair::start("", "auto");
    pair.until("it is up", || pair.watch.answered_by(0, Duration::from_millis(200)).is_some());
    pair.on(0, "ip link del vrrp.51");
    pair.until("it is said", || pair.programs[0].said().contains("somebody took an interface of keepone's away"));
    pair.until("one of the nodes answers", || {
        let link = pair.on(0, "ip -d link show vrrp.51");
        link.contains(MAC)
            && [0, 1].iter().any(|node| pair.watch.answered_by(*node, Duration::from_millis(200)).is_some())
    });
    pair.until("the better node has it again", || pair.watch.holders() == [0]);
}

#[test]
fn advertisements_leave_from_the_interface_below_where_that_is_asked_for() {
    let pair = Pair::start("    vmac_xmit_base\n", "auto");
    pair.until("it is up", || pair.watch.answered_by(0, Duration::from_millis(200)).is_some());
    let seen = pair.seen(Kind::Client(0), INTERFACE, "vrrp && ip", &["eth.src"], || thread::sleep(WHILE));
    let own = pair.on(0, "cat /sys/class/net/lan0/address");
    let mac = pair.on(0, "ip -br link show lan0");
    assert!(!seen.is_empty() && !seen.contains(MAC), "{seen}");
    assert!(seen.lines().all(|line| mac.contains(line)), "{seen} {mac} {own}");
    assert!(pair.neighbour(&VIP.to_string()).contains(MAC));
}

#[test]
fn keepalived_with_its_private_macvlan_and_keepone_hear_each_other() {
    let mut pair = Pair::nobody();
    let keepalived = keepone_tests::binary::keepalived();
    let text = configuration(100, "", "auto");
    let text = text.split_once("vrrp_instance").unwrap().1.split_once("vrrp_instance VI_6").unwrap().0;
    let file = pair.lan.write("k.conf", &format!("vrrp_instance{text}")).unwrap();
    let command = [keepalived.to_str().unwrap(), "-n", "-l", "-P", "-f", file.to_str().unwrap()];
    let theirs = pair.lan.start(1, &command).unwrap();
    pair.until("keepalived serves alone", || pair.watch.answered_by(1, Duration::from_millis(200)).is_some());
    pair.add(0, 150, "", "auto");
    pair.programs.push(theirs);
    pair.until("keepone takes over from the lower", || pair.watch.holders() == [0]);
    let since = keepone_chaos::netns::clock::now();
    thread::sleep(Duration::from_secs(3));
    let (nodes, answers) = pair.watch.answers(since, u64::MAX);
    assert!(nodes == [0] && answers > 0, "{nodes:?} {answers}");
    pair.programs[0].signal(Part::Guardian, Signal::SIGTERM);
    pair.until("keepalived takes over from keepone", || pair.watch.holders() == [1]);
    assert!(pair.neighbour(&VIP.to_string()).contains(MAC));
}
