//! SNMP by way of a real master (Net-SNMP's snmpd): what it is told, beside what keepalived tells it of the same
//! configuration; notifications; a master that is away. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::topology::VIP;
use keepone_tests::binary;
use keepone_tests::lan::{INTERFACE, Lan, VIP6};
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

/// Wide: a master that was away is tried every five seconds, and the machine may be busy.
const SOON: Duration = Duration::from_secs(40);
const KEEPALIVED: &str = "1.3.6.1.4.1.9586.100.5";
const VRRPV3: &str = "1.3.6.1.2.1.207";

/// Two routers in a group, of either version and family.
fn configuration(lan: &Lan, more: &str) -> String {
    format!(
        "global_defs {{\n router_id one\n enable_snmp_vrrp\n enable_snmp_rfcv3\n enable_traps\n snmp_socket unix:{}\n}}\n\
         vrrp_sync_group G {{\n group {{\n V1\n V2\n }}\n}}\n\
         vrrp_instance V1 {{\n state BACKUP\n interface {INTERFACE}\n virtual_router_id 51\n priority 120\n advert_int 1\n \
         virtual_ipaddress {{\n {VIP}/24 label {INTERFACE}:1\n 192.0.2.101/32\n }}\n virtual_ipaddress_excluded {{\n \
         192.0.2.102\n }}\n}}\n\
         vrrp_instance V2 {{\n version 3\n state MASTER\n interface {INTERFACE}\n virtual_router_id 52\n priority 130\n \
         advert_int 0.5\n virtual_ipaddress {{\n {VIP6}/64\n }}\n}}\n{more}",
        master(lan).display()
    )
}

fn master(lan: &Lan) -> std::path::PathBuf {
    lan.room().join("agentx")
}

fn snmpd(lan: &Lan) -> Program {
    let room = lan.room().display();
    let text = format!(
        "master agentx\nagentXSocket {}\nagentXPerms 0770 0770\nrocommunity public 127.0.0.1\n\
         agentAddress udp:127.0.0.1:1161\ntrap2sink 127.0.0.1:1162 public\n",
        master(lan).display()
    );
    let file = lan.write("snmpd.conf", &text).unwrap();
    let command = format!(
        "export SNMP_PERSISTENT_DIR={room}/snmp; exec snmpd -f -Lo -C -c {} -p {room}/snmpd.pid",
        file.display()
    );
    lan.start(0, &["sh", "-c", &command]).unwrap()
}

/// Objects below `root`: what is after it in their names, and their values.
fn walk(lan: &Lan, root: &str) -> BTreeMap<String, String> {
    let ask = || {
        let mut command = Command::new("snmpbulkwalk");
        command.args(["-v2c", "-c", "public", "-On", "-Oe", "-t", "5", "127.0.0.1:1161", root]);
        Ok::<_, keepone_tests::Error>(command.output().unwrap().stdout)
    };
    let text = String::from_utf8(lan.node(0).namespace.run(ask).unwrap()).unwrap();
    let objects = text.lines().filter_map(|line| line.strip_prefix(&format!(".{root}."))?.split_once(" = "));
    objects.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// What snmpd is told of the configuration once both instances are Master.
fn told(program: &Path, arguments: &[&str]) -> [BTreeMap<String, String>; 2] {
    let lan = Lan::build(0).unwrap();
    lan.add_ipv6().unwrap();
    let mut snmpd = snmpd(&lan);
    assert!(snmpd.says("NET-SNMP version", SOON), "{}", snmpd.said());
    let file = lan.write("one.conf", &configuration(&lan, "")).unwrap();
    let command = [&[program.to_str().unwrap()], arguments, &[file.to_str().unwrap()]].concat();
    let agent = lan.start(0, &command).unwrap();
    let shown = || format!("{}\n{}\n{:#?}", agent.said(), snmpd.said(), walk(&lan, KEEPALIVED));
    eventually(SOON, shown, || {
        let objects = walk(&lan, KEEPALIVED);
        let is_master = |place: u8| objects.get(&format!("2.3.1.4.{place}")).is_some_and(|is| is == "INTEGER: 2");
        (is_master(1) && is_master(2)).then_some(())
    });
    [walk(&lan, KEEPALIVED), walk(&lan, VRRPV3)]
}

#[test]
fn a_master_is_told_what_keepalived_tells_it() {
    let ours = told(&binary::find("keepone"), &["run", "-c"]);
    let theirs = told(&binary::keepalived(), &["-n", "-l", "-P", "-f"]);
    // Who it is; the kernel's numbers of interfaces; how long it has been so. keepalived's Accept_Mode of VRRPv2 is a
    // number that its MIB does not have, an interface that it tracks without being told is not tracked there, and an IPv6
    // address that its Advertisements carry is not advertised.
    let may_differ = |name: &str| {
        name == "1.1.0"
            || name.starts_with("2.6.1.7.")
            || name == "2.3.1.27.1"
            || name.starts_with("2.3.1.11.")
            || name == "2.6.1.11.2.1"
            || name.starts_with("1.1.1.1.12.")
    };
    // Rows of VRRPV3-MIB, and of its statistics, have that number.
    let plain = |name: &str| {
        let parts: Vec<&str> = name.split('.').collect();
        if parts.len() > 6 && (parts[..2] == ["1", "1"] || parts[..4] == ["1", "2", "5", "1"]) {
            [&parts[..5], &parts[6..]].concat().join(".")
        } else {
            name.to_owned()
        }
    };
    for (place, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        let name_of = |name: &String| if place == 1 { plain(name) } else { name.clone() };
        let theirs: BTreeMap<String, &String> = theirs.iter().map(|(name, value)| (name_of(name), value)).collect();
        for (name, value) in ours {
            let known = theirs.get(&name_of(name)).unwrap_or_else(|| panic!("keepalived has no {name} ({value})"));
            assert!(may_differ(name) || *known == value, "{name}: {value}, keepalived says {known}");
        }
    }
    let [objects, rfc] = ours;
    // Each once: it was Master, since it heard nobody, and says how often it advertises.
    let column = |number: u8| {
        let begins = format!("1.2.5.1.{number}.");
        rfc.iter().filter(|(name, _)| name.starts_with(&begins)).map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(column(1), ["Counter32: 1"; 2]);
    assert_eq!(column(2), ["INTEGER: 3"; 2]);
    assert_eq!(column(13), ["Gauge32: 1000", "Gauge32: 500"]);
    assert!(
        objects.len() >= 70 && rfc.len() >= 19 + 4 + 2 * 13,
        "{} and {}: {objects:#?} {rfc:#?}",
        objects.len(),
        rfc.len()
    );
    assert_eq!(objects["2.3.1.27.1"], "INTEGER: 1", "without `vrrp_strict`");
}

#[test]
fn what_becomes_of_an_instance_is_notified_and_a_master_that_is_away_is_found_again() {
    let lan = Lan::build(0).unwrap();
    lan.add_ipv6().unwrap();
    let file = lan.write("one.conf", &configuration(&lan, "")).unwrap();
    let mut agent =
        lan.start(0, &[binary::find("keepone").to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap();
    assert!(agent.says("no SNMP: the AgentX master at", SOON), "{}", agent.said());
    let trapd = lan.write("trapd.conf", "disableAuthorization yes\n").unwrap();
    let command = format!(
        "export SNMP_PERSISTENT_DIR={}/trapd; exec snmptrapd -f -Lo -n -On -Oe -C -c {} udp:127.0.0.1:1162",
        lan.room().display(),
        trapd.display()
    );
    let mut trapd = lan.start(0, &["sh", "-c", &command]).unwrap();
    assert!(trapd.says("NET-SNMP version", SOON), "{}", trapd.said());
    let mut master = snmpd(&lan);
    let group = format!(".{KEEPALIVED}.2.10.0.1");
    let instance = format!(".{KEEPALIVED}.2.10.0.2");
    // What happened while it was away is told when it is there; each once.
    let counts = |state: u8| {
        let said = trapd.said();
        let lines = said.lines().filter(|line| line.contains(".1.3.6.1.6.3.1.1.4.1.0 = OID:"));
        let of = |kind: &str, column: &str| {
            let ends = format!("OID: {kind}\t");
            let has = format!("{column} = INTEGER: {state}");
            lines.clone().filter(|line| line.contains(&ends) && line.contains(&has)).count()
        };
        [of(&group, "2.1.1.3.1"), of(&instance, "2.3.1.4.1"), of(&instance, "2.3.1.4.2")]
    };
    let shown = || format!("{}\n--\n{}\n--\n{}", agent.said(), trapd.said(), master.said());
    eventually(SOON, shown, || (counts(2) == [1, 1, 1]).then_some(()));
    assert_eq!(agent.said().matches("no SNMP: the AgentX master at").count(), 1, "said once: {}", agent.said());
    master.kill();
    let mut master = snmpd(&lan);
    assert!(master.says("NET-SNMP version", SOON), "{}", master.said());
    let shown = || format!("{}\n--\n{}\n--\n{}", agent.said(), trapd.said(), master.said());
    eventually(SOON, shown, || (!walk(&lan, KEEPALIVED).is_empty()).then_some(()));
    agent.signal(Part::Guardian, Signal::SIGTERM);
    let shown = || format!("{}\n--\n{}\n--\n{}", agent.said(), trapd.said(), master.said());
    // Shutdown, in the words of the MIB.
    eventually(SOON, shown, || (counts(5) == [1, 1, 1]).then_some(()));
    assert_eq!(counts(2), [1, 1, 1], "each once: {}", trapd.said());
    assert!(trapd.said().contains("STRING: \"one\""), "the router's id: {}", trapd.said());
}

#[test]
fn nothing_can_be_set_and_an_enabled_reload_begins_to_answer() {
    let lan = Lan::build(0).unwrap();
    lan.add_ipv6().unwrap();
    let with = configuration(&lan, "");
    let without = with.replace(" enable_snmp_vrrp\n", "").replace(" enable_snmp_rfcv3\n", "");
    let file = lan.write("one.conf", &without).unwrap();
    let agent =
        lan.start(0, &[binary::find("keepone").to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap();
    let mut snmpd = snmpd(&lan);
    assert!(snmpd.says("NET-SNMP version", SOON), "{}", snmpd.said());
    let shown = || format!("{}\n--\n{}", agent.said(), snmpd.said());
    eventually(SOON, shown, || agent.said().contains("MASTER").then_some(()));
    assert!(walk(&lan, KEEPALIVED).is_empty());
    lan.write("one.conf", &with).unwrap();
    agent.signal(Part::Guardian, Signal::SIGHUP);
    eventually(SOON, shown, || walk(&lan, KEEPALIVED).contains_key("2.3.1.2.1").then_some(()));
    let set = || {
        let name = format!("{KEEPALIVED}.2.3.1.7.1");
        let mut command = Command::new("snmpset");
        command.args(["-v2c", "-c", "public", "-On", "127.0.0.1:1161", &name, "i", "7"]);
        Ok::<_, keepone_tests::Error>(command.output().unwrap().status)
    };
    assert!(!lan.node(0).namespace.run(set).unwrap().success());
    assert_eq!(walk(&lan, KEEPALIVED)["2.3.1.7.1"], "INTEGER: 120");
    lan.write("one.conf", &without).unwrap();
    agent.signal(Part::Guardian, Signal::SIGHUP);
    eventually(SOON, shown, || walk(&lan, KEEPALIVED).is_empty().then_some(()));
}
