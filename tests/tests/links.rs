//! Interfaces and groups: what is reported when a link comes back, what is heard on an interface that was made again, and
//! who is asked for a link. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use keepone_chaos::fault::Part;
use keepone_chaos::netns::namespace::Namespace;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::advert::{Forger, GROUP, version_3};
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::observe::Watch;
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

/// Wide: the machine may be busy with other tests.
const SOON: Duration = Duration::from_secs(20);

fn run(namespace: &Namespace, words: &str) -> String {
    let output = namespace.run(|| Ok(Command::new("bash").args(["-c", words]).output().unwrap())).unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn start(lan: &Lan, global: &str, file: &str) -> Program {
    let text = format!(
        "global_defs {{\ndynamic_interfaces\n{global}\n}}\nvrrp_instance VI_1 {{\ninterface {INTERFACE}\nvirtual_router_id \
         51\nversion 3\npriority 150\nadvert_int 0.2\nvirtual_ipaddress {{\n{VIP}/24\n}}\n}}\n{file}\n"
    );
    let file = lan.write("0.conf", &text).unwrap();
    let keepone = keepone_tests::binary::find("keepone");
    lan.start(0, &[keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
}

#[track_caller]
fn says(program: &mut Program, words: &str) {
    assert!(program.says(words, SOON), "it does not say {words:?}:\n{}", program.said());
}

#[test]
fn a_backup_whose_link_comes_back_listens_before_it_stands() {
    let lan = Lan::build(0).unwrap();
    let watch = Watch::start(&lan, VIP.into()).unwrap();
    let keepone = keepone_tests::binary::find("keepone");
    // The better one comes second, and may not preempt: whoever is Master stays.
    let programs = [(1, 100), (0, 150)].map(|(node, priority)| {
        let text = format!(
            "vrrp_instance VI_1 {{\ninterface {INTERFACE}\nvirtual_router_id 51\nversion 3\npriority {priority}\nnopreempt\n\
             advert_int 1\nvirtual_ipaddress {{\n{VIP}/24\n}}\n}}\n"
        );
        let file = lan.write(&format!("{node}.conf"), &text).unwrap();
        let mut program = lan.start(node, &[keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap();
        says(&mut program, if node == 1 { "CLAIMING -> MASTER" } else { "INIT -> BACKUP" });
        program
    });
    let said = || programs.iter().map(Program::said).collect::<Vec<_>>().join("\n---\n");
    thread::sleep(Duration::from_secs(2));
    lan.set_cable(0, false).unwrap();
    // Longer than its timer.
    thread::sleep(Duration::from_secs(6));
    lan.set_cable(0, true).unwrap();
    thread::sleep(Duration::from_secs(6));
    assert_eq!(watch.holders(), [1], "{}", said());
    assert!(!programs[1].said().contains("MASTER"), "it stood without having listened:\n{}", said());
}

/// The IGMP reports that the client sees, one a line: sender and group.
fn reports(lan: &Lan) -> Program {
    let fields = ["-T", "fields", "-e", "ip.src", "-e", "igmp.maddr"];
    let command = [&["tshark", "-l", "-n", "-i", INTERFACE, "-Y", "igmp"][..], &fields].concat();
    let mut tshark = lan.start_at(Kind::Client(0), &command).unwrap();
    assert!(tshark.says("Capturing on", Duration::from_secs(30)), "{}", tshark.said());
    // It says so a moment before it does.
    thread::sleep(Duration::from_millis(1000));
    tshark
}

/// How often the first node has reported the group.
fn reported(tshark: &Program) -> usize {
    tshark.said().lines().filter(|line| line.starts_with("192.0.2.11") && line.contains("224.0.0.18")).count()
}

#[test]
fn the_group_is_reported_again_when_a_link_comes_back() {
    let lan = Lan::build(0).unwrap();
    let tshark = reports(&lan);
    let mut program = start(&lan, "", "");
    says(&mut program, "CLAIMING -> MASTER");
    eventually(SOON, || tshark.said(), || (reported(&tshark) > 0).then_some(()));
    // The kernel repeats a report within seconds (RFC 3376, 8.11): only what comes later is one of the link's.
    let quiet = |count: usize| {
        thread::sleep(Duration::from_millis(3000));
        (reported(&tshark) == count).then_some(())
    };
    eventually(SOON, || tshark.said(), || quiet(reported(&tshark)));
    let before = reported(&tshark);
    lan.set_cable(0, false).unwrap();
    says(&mut program, "MASTER -> FAULT");
    lan.set_cable(0, true).unwrap();
    says(&mut program, "FAULT -> BACKUP");
    let again = || format!("{before} reports before:\n{}", tshark.said());
    eventually(SOON, again, || (reported(&tshark) > before).then_some(()));
    assert!(!program.said().contains("could not be joined"), "{}", program.said());
}

#[test]
fn disable_local_igmp_holds_while_the_agent_runs() {
    let lan = Lan::build(0).unwrap();
    let setting = || {
        let words = "cat /proc/sys/net/ipv4/igmp_link_local_mcast_reports";
        run(&lan.node(0).namespace, words).trim().to_owned()
    };
    assert_eq!(setting(), "1");
    let tshark = reports(&lan);
    let mut program = start(&lan, "disable_local_igmp", "");
    says(&mut program, "CLAIMING -> MASTER");
    thread::sleep(Duration::from_millis(2000));
    assert_eq!((setting().as_str(), reported(&tshark)), ("0", 0), "{}", tshark.said());
    program.signal(Part::Guardian, Signal::SIGTERM);
    assert!(program.wait(SOON).is_some(), "{}", program.said());
    assert_eq!(setting(), "1", "{}", program.said());
}

/// A wire to a machine of its own, whose end is called as the LAN's.
fn far_wire(lan: &Lan, far: &Namespace) {
    let path = format!("/proc/{}/fd/{}", std::process::id(), far.file().as_raw_fd());
    let near = &lan.node(0).namespace;
    let made = run(near, &format!("ip link add late0 type veth peer name {INTERFACE} netns {path}"));
    assert_eq!(made, "");
    run(near, "ip addr add 198.51.100.1/24 dev late0 && ip link set late0 up");
    run(far, &format!("ip addr add 198.51.100.2/24 dev {INTERFACE}; ip link set {INTERFACE} up"));
}

#[test]
fn advertisements_are_heard_on_an_interface_that_was_deleted_and_made_again() {
    let lan = Lan::build(0).unwrap();
    let far = Namespace::new().unwrap();
    far_wire(&lan, &far);
    let vip = Ipv4Addr::new(198, 51, 100, 9);
    let late = format!(
        "vrrp_instance LATE {{\ninterface late0\nvirtual_router_id 60\nversion 3\npriority 100\nadvert_int 0.5\n\
         virtual_ipaddress {{\n{vip}/24\n}}\n}}\n"
    );
    let mut program = start(&lan, "", &late);
    says(&mut program, "LATE: CLAIMING -> MASTER");
    assert!(run(&lan.node(0).namespace, "ip link del late0").is_empty());
    says(&mut program, "LATE: MASTER -> FAULT");
    far_wire(&lan, &far);
    let forger = Forger::new(&far).unwrap();
    let begin = Instant::now();
    // Far longer than its timer, which is under two seconds: one that is deaf takes over.
    while begin.elapsed() < Duration::from_secs(6) {
        forger.send(GROUP, &version_3(60, 200, 50, vip));
        thread::sleep(Duration::from_millis(100));
    }
    let said = program.said();
    let after = said.split("LATE: MASTER -> FAULT").nth(1).unwrap_or_default();
    assert!(after.contains("LATE: FAULT -> BACKUP") && !after.contains("LATE: CLAIMING -> MASTER"), "{said}");
    eventually(
        SOON,
        || program.said(),
        || (program.said().matches("LATE: CLAIMING -> MASTER").count() == 2).then_some(()),
    );
}

#[test]
fn a_link_that_is_dead_when_asked_is_a_fault() {
    let lan = Lan::build(0).unwrap();
    let mut program = start(&lan, "", &format!("linkbeat_interfaces {{\n{INTERFACE} ETHTOOL\n}}"));
    says(&mut program, "CLAIMING -> MASTER");
    lan.set_cable(0, false).unwrap();
    says(&mut program, "its link is dead when asked");
    says(&mut program, "MASTER -> FAULT");
    lan.set_cable(0, true).unwrap();
    says(&mut program, "its link is alive when asked");
    says(&mut program, "FAULT -> BACKUP");
}
