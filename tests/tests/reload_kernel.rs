//! What a running agent takes over of the kernel's part, on real packets: members of a group, routes, rules, and virtual
//! MACs. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::Ipv4Addr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::process::members;
use keepone_chaos::netns::topology::VIP;
use keepone_tests::alone::{LoneAgent, TAKEN};
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::patience::eventually;
use keepone_tests::unbroken::Unbroken;
use nix::sys::signal::Signal;

/// The machine may be busy.
const SOON: Duration = Duration::from_secs(30);
/// An Advertisement of 100 ms that is missing doubles the interval; a busy machine delays one by less than that.
const LATEST: Duration = Duration::from_millis(190);
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 101);

fn instance(name: &str, vrid: u8, address: Ipv4Addr, more: &str) -> String {
    format!(
        "vrrp_instance {name} {{\n interface {INTERFACE}\n version 3\n advert_int 0.1\n virtual_router_id {vrid}\n \
         priority 100\n {more}\n virtual_ipaddress {{\n {address}/24\n }}\n}}\n"
    )
}

fn group(members: &str) -> String {
    format!("vrrp_sync_group G {{\n group {{\n {members}\n }}\n}}\n")
}

struct Alone {
    program: LoneAgent,
    lan: Lan,
}

impl Alone {
    fn start(bpf: bool, text: &str) -> Self {
        Alone::start_with(bpf, text, &format!("{VIP}/24"))
    }

    /// `address` is to come.
    fn start_with(bpf: bool, text: &str, address: &str) -> Self {
        let lan = Lan::build(0).unwrap();
        let file = lan.write("x.conf", text).unwrap();
        let program = LoneAgent::start(&lan, bpf, &file, &[]).unwrap();
        let alone = Alone { program, lan };
        alone.has("-4 address", address);
        // All that follows a start has been said.
        thread::sleep(Duration::from_secs(1));
        alone
    }

    fn said(&self) -> String {
        self.program.said()
    }

    /// What `ip` says on the node.
    fn ip(&self, arguments: &str) -> String {
        self.on_node(&["ip"].into_iter().chain(arguments.split(' ')).collect::<Vec<_>>())
    }

    /// What a command says there.
    fn on_node(&self, command: &[&str]) -> String {
        let net = format!("--net=/proc/{}/ns/net", self.program.pid());
        let output = Command::new("nsenter").arg(net).args(command).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn has(&self, arguments: &str, words: &str) {
        let lacks = || format!("`ip {arguments}` has no `{words}`:\n{}\n{}", self.ip(arguments), self.said());
        eventually(SOON, lacks, || self.ip(arguments).contains(words).then_some(()));
    }

    #[track_caller]
    fn lacks(&self, arguments: &str, words: &str) {
        let has = || format!("`ip {arguments}` has `{words}`:\n{}\n{}", self.ip(arguments), self.said());
        eventually(SOON / 3, has, || (!self.ip(arguments).contains(words)).then_some(()));
    }

    #[track_caller]
    fn reload(&mut self, text: &str) {
        self.lan.write("x.conf", text).unwrap();
        let before = self.said().matches(TAKEN).count();
        self.program.signal(Part::Guardian, Signal::SIGHUP);
        eventually(
            SOON,
            || format!("it is not taken over:\n{text}\n{}", self.said()),
            || (self.said().matches(TAKEN).count() > before).then_some(()),
        );
    }

    fn worker(&self) -> Vec<i32> {
        members(self.program.pid(), Part::Worker)
    }
}

/// Virtual routers come into a group and leave it, beside one that stays.
fn members_change(bpf: bool) {
    let first = instance("VI_1", 51, VIP, "");
    let mut alone = Alone::start(bpf, &format!("{first}{}", group("VI_1")));
    let worker = alone.worker();
    let observed = Unbroken::watch(&alone.lan, 0, VIP).unwrap();
    let second = instance("VI_2", 52, SECOND, "");
    for _ in 0..2 {
        alone.reload(&format!("{first}{second}{}", group("VI_1\n VI_2")));
        alone.has("-4 address", "192.0.2.101/24");
        alone.reload(&format!("{first}{}", group("VI_1")));
        alone.lacks("-4 address", "192.0.2.101/24");
    }
    println!("{}", observed.end(LATEST, &|| alone.said()));
    assert_eq!(alone.worker(), worker, "{}", alone.said());
}

#[test]
fn members_of_a_group_come_and_go_beside_one_that_nobody_notices_it_on() {
    members_change(true);
}

#[test]
fn members_of_a_group_come_and_go_beside_one_that_nobody_notices_it_on_nftables() {
    members_change(false);
}

#[test]
fn routes_and_rules_change_under_a_master() {
    let with = |routes: &str, rules: &str| {
        let more = format!("virtual_routes {{\n {routes}\n }}\n virtual_rules {{\n {rules}\n }}");
        instance("VI_1", 51, VIP, &more)
    };
    let mut alone = Alone::start(true, &instance("VI_1", 51, VIP, ""));
    let worker = alone.worker();
    let observed = Unbroken::watch(&alone.lan, 0, VIP).unwrap();
    alone.reload(&with("198.51.100.0/24 via 192.0.2.33 table 100", "from 192.0.2.100 table 100"));
    alone.has("route show table 100", "198.51.100.0/24 via 192.0.2.33");
    alone.has("rule", "16384:\tfrom 192.0.2.100 lookup 100");
    // Somebody takes away what came with a reload.
    alone.ip("route del 198.51.100.0/24 table 100");
    alone.has("route show table 100", "198.51.100.0/24 via 192.0.2.33");
    alone.reload(&with("198.51.100.0/24 via 192.0.2.34 table 100\n 203.0.113.0/24 via 192.0.2.33 table 100", ""));
    alone.has("route show table 100", "203.0.113.0/24 via 192.0.2.33");
    alone.lacks("route show table 100", "192.0.2.100");
    assert!(alone.ip("route show table 100").contains("198.51.100.0/24 via 192.0.2.34"));
    alone.lacks("rule", "16384");
    alone.reload(&instance("VI_1", 51, VIP, ""));
    alone.lacks("route show table 100", "via");
    println!("{}", observed.end(LATEST, &|| alone.said()));
    assert_eq!(alone.worker(), worker, "{}", alone.said());
}

fn statics(addresses: &str, routes: &str, rules: &str) -> String {
    format!("static_ipaddress {{\n {addresses}\n}}\nstatic_routes {{\n {routes}\n}}\nstatic_rules {{\n {rules}\n}}\n")
}

/// Static addresses, routes and rules come, change and go beside a Master that nobody may notice it on. One of the addresses
/// is the first of the VIP's network, with which the kernel would take the VIP along.
fn statics_change(bpf: bool) {
    let first = instance("VI_1", 51, VIP, "").replace("/24", "/25");
    let one = format!("192.0.2.77/25 dev {INTERFACE}");
    let way = "198.51.100.0/24 via 192.0.2.33 table 100";
    let mut alone = Alone::start_with(
        bpf,
        &format!("{first}{}", statics(&one, "", "")),
        &format!("{VIP}/25 scope global secondary"),
    );
    let promotes = |alone: &Alone| {
        let file = format!("/proc/sys/net/ipv4/conf/{INTERFACE}/promote_secondaries");
        alone.on_node(&["cat", &file]).trim().to_owned()
    };
    let worker = alone.worker();
    let observed = Unbroken::watch(&alone.lan, 0, VIP).unwrap();
    thread::sleep(Duration::from_millis(500));
    alone.reload(&format!("{first}{}", statics(&one, way, "from 192.0.2.77 table 100")));
    alone.has("route show table 100", "198.51.100.0/24 via 192.0.2.33");
    alone.has("rule", "16384:\tfrom 192.0.2.77 lookup 100");
    assert_eq!(promotes(&alone), "1");
    let two = format!("192.0.2.77/25 dev {INTERFACE}\n 192.0.2.78/25 dev {INTERFACE}");
    alone.reload(&format!("{first}{}", statics(&two, &way.replace(".33", ".34"), "")));
    alone.has("-4 address", "192.0.2.78/25");
    alone.has("route show table 100", "198.51.100.0/24 via 192.0.2.34");
    alone.lacks("rule", "16384");
    assert!(!alone.ip("route show table 100").contains("192.0.2.33"));
    // Somebody takes away what came with a reload.
    alone.ip(&format!("address del 192.0.2.78/25 dev {INTERFACE}"));
    alone.has("-4 address", "192.0.2.78/25");
    alone.reload(&first);
    alone.lacks("-4 address", "192.0.2.77");
    alone.lacks("-4 address", "192.0.2.78");
    alone.lacks("route show table 100", "via");
    println!("{}", observed.end(LATEST, &|| alone.said()));
    assert_eq!((alone.worker(), promotes(&alone).as_str()), (worker, "0"), "{}", alone.said());
    assert!(!alone.said().contains("somebody took a virtual address away"), "{}", alone.said());
    // What came with a reload goes with the agent.
    alone.reload(&format!("{first}{}", statics(&one, way, "")));
    alone.has("-4 address", "192.0.2.77/25");
    let namespace = alone.lan.node(0).namespace.clone();
    alone.program.signal(Part::Guardian, Signal::SIGTERM);
    assert!(alone.program.wait(SOON).is_some(), "it does not end\n{}", alone.said());
    let left =
        namespace.run(|| Ok::<_, keepone_tests::Error>(Command::new("ip").args(["-4", "address"]).output().unwrap()));
    let left = String::from_utf8(left.unwrap().stdout).unwrap();
    assert!(!left.contains("192.0.2.77"), "{left}\n{}", alone.said());
}

#[test]
fn static_addresses_routes_and_rules_change_beside_a_master() {
    statics_change(true);
}

#[test]
fn static_addresses_routes_and_rules_change_beside_a_master_nftables() {
    statics_change(false);
}

/// A virtual MAC comes and goes beside another virtual router, then on the very one that is watched.
fn virtual_macs(bpf: bool) {
    let first = instance("VI_1", 51, VIP, "");
    let mut alone = Alone::start(bpf, &first);
    let worker = alone.worker();
    let observed = Unbroken::watch(&alone.lan, 0, VIP).unwrap();
    let second = |more: &str| format!("{first}{}", instance("VI_2", 52, SECOND, more));
    let before = alone.ip("-o link");
    alone.reload(&second("use_vmac"));
    alone.has("-4 address show dev vrrp.52", "192.0.2.101/24");
    assert!(alone.ip("-d link show vrrp.52").contains("00:00:5e:00:01:34"));
    alone.reload(&second(""));
    alone.has(&format!("-4 address show dev {INTERFACE}"), "192.0.2.101/24");
    alone.lacks("-o link", "vrrp.52");
    alone.reload(&second("use_vmac"));
    alone.has("-4 address show dev vrrp.52", "192.0.2.101/24");
    alone.reload(&first);
    alone.lacks("-o link", "vrrp.52");
    println!("{}", observed.end(LATEST, &|| alone.said()));
    assert_eq!((alone.worker(), alone.ip("-o link").lines().count()), (worker.clone(), before.lines().count()));

    let observed = Unbroken::watch(&alone.lan, 0, VIP).unwrap();
    thread::sleep(Duration::from_millis(500));
    alone.reload(&instance("VI_1", 51, VIP, "use_vmac"));
    alone.has("-4 address show dev vrrp.51", "192.0.2.100/24");
    thread::sleep(Duration::from_secs(1));
    // Its address is away for the moment in which it moves, some milliseconds on a machine at rest; nobody waits for an
    // Advertisement.
    println!("{}", observed.end_with(LATEST, 400, &|| alone.said()));
    assert_eq!(alone.worker(), worker, "{}", alone.said());
    assert!(!alone.said().contains("VI_1: MASTER -> "), "{}", alone.said());
    // What came with a reload goes with the agent.
    alone.program.signal(Part::Guardian, Signal::SIGTERM);
    let namespace = alone.lan.node(0).namespace.clone();
    assert!(alone.program.wait(SOON).is_some(), "it does not end\n{}", alone.said());
    let left = namespace.run(|| Ok::<_, keepone_tests::Error>(nix::net::if_::if_nametoindex("vrrp.51").is_ok()));
    assert!(!left.unwrap(), "{}", alone.said());
}

#[test]
fn virtual_macs_come_and_go() {
    virtual_macs(true);
}

#[test]
fn virtual_macs_come_and_go_nftables() {
    virtual_macs(false);
}
