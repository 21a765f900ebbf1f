//! Routes, rules and static addresses of a real agent in a real kernel: they come with the mastership and go with it,
//! whatever ends it. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::os::unix::fs::PermissionsExt;
use std::panic::Location;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use keepone_chaos::fault::Part;
use keepone_chaos::netns::topology::VIP;
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

/// Wide: the machine may be busy with other tests.
const SOON: Duration = Duration::from_secs(20);

struct Node {
    lan: Lan,
    program: Program,
}

fn configuration(more: &str, statics: &str) -> String {
    format!(
        "{statics}\nvrrp_instance VI_1 {{\n    interface {INTERFACE}\n    virtual_router_id 51\n    version 3\n    \
         priority 200\n    advert_int 0.2\n    virtual_ipaddress {{\n        {VIP}/24\n    }}\n{more}}}\n"
    )
}

impl Node {
    fn start(more: &str, statics: &str) -> Self {
        let lan = Lan::build(0).unwrap();
        let file = lan.write("x.conf", &configuration(more, statics)).unwrap();
        let keepone = keepone_tests::binary::find("keepone");
        let program = lan.start(0, &[keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap();
        Node { lan, program }
    }

    /// ip(8) in the node.
    fn ip(&self, words: &str) -> String {
        ip(&self.lan, words)
    }

    /// All routes and rules that bear keepalived's protocol, and all addresses of the LAN's interface.
    fn there(&self) -> String {
        there(&self.lan)
    }

    #[track_caller]
    fn until(&self, why: &str, holds: impl Fn(&str) -> bool) {
        until(&self.lan, why, || self.program.said(), holds);
    }
}

fn ip(lan: &Lan, words: &str) -> String {
    lan.node(0)
        .namespace
        .run(|| {
            let output = Command::new("ip").args(words.split(' ')).output().unwrap();
            assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
            Ok::<_, keepone_chaos::netns::error::Error>(String::from_utf8(output.stdout).unwrap())
        })
        .unwrap()
}

fn there(lan: &Lan) -> String {
    let all = ["-N -o -4 route show table all", "-N -o -6 route show table all", "-N rule", "-N -6 rule"];
    let ours = all.map(|words| {
        let lines = ip(lan, words);
        lines.lines().filter(|line| line.contains("proto 18")).map(|line| format!("{line}\n")).collect::<String>()
    });
    ours.concat() + &ip(lan, &format!("-o addr show dev {INTERFACE}"))
}

#[track_caller]
fn until(lan: &Lan, why: &str, said: impl Fn() -> String, holds: impl Fn(&str) -> bool) {
    let begin = Instant::now();
    loop {
        let there = there(lan);
        if holds(&there) {
            return;
        }
        if begin.elapsed() > SOON {
            panic!("{why}: {}\n{there}\nit said:\n{}", Location::caller(), said());
        }
        thread::sleep(Duration::from_millis(10));
    }
}

const MORE: &str = "
    virtual_routes {
        198.51.100.0/24 via 192.0.2.33 dev lan0
        default via 192.0.2.33 table 100
        fd77::/64 dev lan0
    }
    virtual_rules {
        from 192.0.2.0/24 lookup 100
    }
";

const STATICS: &str = "
static_ipaddress {
    192.0.2.77/24 dev lan0
    fd00::77/64 dev lan0 -nodad
}
static_routes {
    203.0.113.0/24 via 192.0.2.33
}
static_rules {
    from 192.0.2.77 lookup 101 preference 77
}
";

fn virtual_ones(there: &str) -> usize {
    ["198.51.100.0/24 via", "default via 192.0.2.33", "fd77::/64", "16384:"]
        .iter()
        .filter(|w| there.contains(**w))
        .count()
}

fn static_ones(there: &str) -> usize {
    ["192.0.2.77/24", "fd00::77/64", "203.0.113.0/24 via", "77:"].iter().filter(|w| there.contains(**w)).count()
}

fn vip(there: &str) -> bool {
    there.contains(&format!("{VIP}/24"))
}

#[test]
fn they_come_with_the_mastership_and_go_with_it_and_static_ones_stay_as_long_as_the_agent() {
    let mut node = Node::start(MORE, STATICS);
    node.until("static ones and a Master's are there", |t| vip(t) && virtual_ones(t) == 4 && static_ones(t) == 4);

    // Somebody takes them away.
    for words in
        ["route del 198.51.100.0/24", "rule del preference 16384", "route del 203.0.113.0/24", "-6 route del fd77::/64"]
    {
        node.ip(words);
        node.until(&format!("put back after `{words}`"), |t| virtual_ones(t) == 4 && static_ones(t) == 4);
    }
    node.ip("addr del 192.0.2.77/24 dev lan0");
    node.until("the static address is put back", |t| static_ones(t) == 4);
    for words in
        ["somebody took route 198.51.100.0/24 via 192.0.2.33 dev lan0 away", "somebody took a static address away"]
    {
        assert!(node.program.says(words, SOON), "{}", node.program.said());
    }

    // The carrier goes: a FAULT, and what is static stays or comes again with it.
    node.lan.set_cable(0, false).unwrap();
    node.until("nothing of a Master's without a carrier", |t| !vip(t) && virtual_ones(t) == 0);
    node.lan.set_cable(0, true).unwrap();
    node.until("all again with it", |t| vip(t) && virtual_ones(t) == 4 && static_ones(t) == 4);

    // A dead worker's go, and a new one's come.
    node.program.signal(Part::Worker, Signal::SIGSTOP);
    node.until("the guardian has removed a hung worker's", |t| !vip(t) && virtual_ones(t) == 0 && static_ones(t) == 4);
    node.until("a new worker's are there", |t| vip(t) && virtual_ones(t) == 4 && static_ones(t) == 4);

    node.program.signal(Part::Guardian, Signal::SIGTERM);
    assert!(node.program.wait(SOON).is_some());
    let there = node.there();
    assert!(!vip(&there) && virtual_ones(&there) == 0 && static_ones(&there) == 0, "{there}");
}

#[test]
fn the_guardian_removes_them_where_no_new_worker_can() {
    let lan = Lan::build(0).unwrap();
    let binary = lan.room().join("keepone");
    std::fs::copy(keepone_tests::binary::find("keepone"), &binary).unwrap();
    let file = lan.write("x.conf", &configuration(MORE, STATICS)).unwrap();
    let program = lan.start(0, &[binary.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap();
    let node = Node { lan, program };
    node.until("all there", |t| vip(t) && virtual_ones(t) == 4 && static_ones(t) == 4);
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o644)).unwrap();
    node.program.signal(Part::Worker, Signal::SIGKILL);
    node.until("a dead worker's are gone", |t| !vip(t) && virtual_ones(t) == 0 && static_ones(t) == 4);
}

#[test]
fn what_an_operator_takes_away_of_a_masters_addresses_is_put_back_and_others_of_the_network_stay() {
    let more = "    promote_secondaries\n    virtual_ipaddress_excluded {\n        192.0.2.101/24\n        10.5.0.1 peer \
                10.5.0.2/32\n        fd00::101/64 home\n        192.0.2.102/24 no_track\n    }\n";
    let mut node = Node::start(more, "");
    let excluded = |t: &str| {
        ["192.0.2.101/24", "10.5.0.1 peer 10.5.0.2/32", "fd00::101/64"].iter().filter(|w| t.contains(**w)).count()
    };
    node.until("all there", |t| vip(t) && excluded(t) == 3 && t.contains("192.0.2.102/24"));
    assert_eq!(setting(&node.lan), "1");
    for words in [
        format!("addr del {VIP}/24 dev lan0"),
        "addr del 192.0.2.101/24 dev lan0".into(),
        "addr del fd00::101/64 dev lan0".into(),
    ] {
        node.ip(&words);
        node.until(&format!("put back after `{words}`"), |t| vip(t) && excluded(t) == 3);
    }
    assert!(node.program.says("somebody took a virtual address away; it is put back", SOON), "{}", node.program.said());
    node.ip("addr del 192.0.2.102/24 dev lan0");
    assert!(node.program.says("stays out until the next mastership", SOON), "{}", node.program.said());
    // Longer than a renewal.
    thread::sleep(Duration::from_secs(3));
    assert!(!node.there().contains("192.0.2.102/24"));
    node.program.signal(Part::Guardian, Signal::SIGTERM);
    assert!(node.program.wait(SOON).is_some());
    let there = node.there();
    assert!(!vip(&there) && excluded(&there) == 0, "{there}");
    assert_eq!(setting(&node.lan), "0", "as before");
}

fn setting(lan: &Lan) -> String {
    let read =
        || Ok(std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{INTERFACE}/promote_secondaries")).unwrap());
    lan.node(0).namespace.run(read).unwrap().trim().to_owned()
}

#[test]
fn a_killed_agents_are_cleaned_up_by_the_next() {
    let mut node = Node::start(MORE, STATICS);
    node.until("all there", |t| vip(t) && virtual_ones(t) == 4 && static_ones(t) == 4);
    node.program.kill();
    let there = node.there();
    assert_eq!((virtual_ones(&there), static_ones(&there)), (4, 4), "nobody is left to remove them: {there}");
    // A Backup now: another node's are the addresses.
    let keepone = keepone_tests::binary::find("keepone");
    let text =
        configuration(MORE, STATICS).replace("advert_int 0.2", "advert_int 20").replace("priority 200", "priority 100");
    let file = node.lan.write("x.conf", &text).unwrap();
    node.program = node.lan.start(0, &[keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap();
    node.until("what a former agent left is gone, and static ones are taken over", |t| {
        !vip(t) && virtual_ones(t) == 0 && static_ones(t) == 4
    });
}

#[test]
fn a_route_that_the_kernel_refuses_is_an_alert_and_the_address_is_served() {
    let mut node = Node::start("    virtual_routes {\n        198.51.100.0/24 via 10.99.0.1\n    }\n", "");
    assert!(
        node.program.says("alert route-failed of VI_1: route 198.51.100.0/24 via 10.99.0.1: ", SOON),
        "{}",
        node.program.said()
    );
    node.until("the address is there", vip);
    node.ip("addr add 10.99.0.9/24 dev lan0");
    node.until("the route, too", |t| t.contains("198.51.100.0/24 via 10.99.0.1"));
    assert!(node.program.says("alert route-failed of VI_1 is over", SOON), "{}", node.program.said());
}

#[test]
fn instances_of_a_track_group_are_in_fault_while_what_they_track_can_not_be_had() {
    let statics = "track_group G {\n    group {\n        VI_1\n    }\n}\nstatic_routes {\n    203.0.113.0/24 via 10.99.0.1 \
                   track_group G\n}\n";
    let mut node = Node::start("", statics);
    assert!(
        node.program.says("VI_1: INIT -> FAULT", SOON) || node.program.says("-> FAULT", SOON),
        "{}",
        node.program.said()
    );
    assert!(node.program.says("track_group G: route 203.0.113.0/24", SOON), "{}", node.program.said());
    node.ip("addr add 10.99.0.9/24 dev lan0");
    node.until("it serves once the route is there", |t| vip(t) && t.contains("203.0.113.0/24"));
    node.ip("route del 203.0.113.0/24");
    node.until("put back", |t| vip(t) && t.contains("203.0.113.0/24"));
    node.ip("addr del 10.99.0.9/24 dev lan0");
    node.until("a FAULT when it can't be put back", |t| !vip(t));
}
