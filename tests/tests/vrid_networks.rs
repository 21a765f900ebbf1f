//! One virtual_router_id on two networks and in both families of one, beside keepalived: each is a virtual router of its
//! own, with its own Master. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::process::Command;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::topology::VIP;
use keepone_tests::binary;
use keepone_tests::lan::{INTERFACE, Lan, VIP6};
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

/// Wide: the machine may be busy with other tests.
const SOON: Duration = Duration::from_secs(30);
/// On the second network.
const OTHER: &str = "10.1.0.100";
/// Their addresses.
const ALL: [&str; 3] = ["192.0.2.100/24", "10.1.0.100/24", "fd00::100/64"];

/// The same VRID three times, with these priorities: first network, second network, first network over IPv6.
fn configuration(priorities: [u8; 3], more: &str) -> String {
    let one = |name: &str, interface: &str, priority: u8, addresses: &str| {
        format!(
            "vrrp_instance {name} {{\n interface {interface}\n virtual_router_id 51\n version 3\n priority {priority}\n \
             advert_int 0.2\n {more}\n virtual_ipaddress {{\n {addresses}\n }}\n}}\n"
        )
    };
    let [first, second, third] = priorities;
    [
        one("A", INTERFACE, first, &format!("{VIP}/24")),
        one("B", "hb0", second, &format!("{OTHER}/24")),
        one("C", INTERFACE, third, &format!("fe80::100/64\n {VIP6}/64")),
    ]
    .concat()
}

fn addresses(lan: &Lan, node: usize) -> String {
    let ip = || Ok::<_, keepone_tests::Error>(Command::new("ip").args(["-o", "address"]).output().unwrap().stdout);
    String::from_utf8(lan.node(node).namespace.run(ip).unwrap()).unwrap()
}

fn beside_keepalived(more: &str) {
    let lan = Lan::build(1).unwrap();
    lan.add_ipv6().unwrap();
    let start = |node: usize, program: &std::path::Path, before: &[&str], priorities| -> Program {
        let file = lan.write(&format!("{node}.conf"), &configuration(priorities, more)).unwrap();
        let command = [&[program.to_str().unwrap()], before, &[file.to_str().unwrap()]].concat();
        lan.start(node, &command).unwrap()
    };
    let ours = start(0, &binary::find("keepone"), &["run", "-c"], [150, 100, 100]);
    let mut theirs = start(1, &binary::keepalived(), &["-n", "-l", "-P", "-f"], [100, 150, 150]);
    let holds = |wanted: [bool; 3]| {
        let shown =
            || format!("{}\n--\n{}\n{}\n{}", addresses(&lan, 0), addresses(&lan, 1), ours.said(), theirs.said());
        eventually(SOON, shown, || {
            let held = [0, 1].map(|node| ALL.map(|address| addresses(&lan, node).contains(address)));
            (held == [wanted, wanted.map(|held| !held)]).then_some(())
        });
    };
    holds([true, false, false]);
    theirs.signal(Part::Guardian, Signal::SIGTERM);
    eventually(SOON, || addresses(&lan, 0), || ALL.iter().all(|one| addresses(&lan, 0).contains(one)).then_some(()));
    assert!(theirs.wait(SOON).is_some());
    assert!(!ours.said().contains("dual-master"), "{}", ours.said());
}

#[test]
fn one_vrid_on_two_networks_and_in_both_families_is_three_virtual_routers() {
    beside_keepalived("");
}

#[test]
fn each_of_them_has_the_virtual_mac_on_its_own_network() {
    beside_keepalived("use_vmac");
}
