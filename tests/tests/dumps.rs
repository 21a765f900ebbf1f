//! Dumps as keepalived writes them: Debian's keepalived and keepone run the same configuration on the same link, one after
//! the other, beside the same peer, and what both write is compared. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keepone_chaos::fault::Part;
use keepone_chaos::netns::process::members;
use keepone_chaos::netns::topology::VIP;
use keepone_tests::binary;
use keepone_tests::lan::{INTERFACE, Lan, VIP6};
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;
use serde_json::Value;

/// Wide: the machine may be busy, and a virtual MAC waits before it is claimed.
const SOON: Duration = Duration::from_secs(60);

/// The states that the instances come to: MASTER, MASTER, BACKUP, MASTER.
const STATES: [u64; 4] = [2, 2, 1, 2];

fn configuration() -> String {
    format!(
        "global_defs {{\n router_id one\n script_user root\n enable_script_security\n}}\n\
         vrrp_script alive {{\n script \"/usr/bin/true x 'y z'\"\n interval 5\n}}\n\
         vrrp_instance one {{\n state BACKUP\n interface {INTERFACE}\n virtual_router_id 51\n priority 150\n advert_int 1\n \
         skip_check_adv_addr\n nopreempt\n garp_master_delay 7\n garp_master_refresh 9\n garp_master_repeat 3\n \
         garp_master_refresh_repeat 2\n garp_lower_prio_delay 6\n garp_lower_prio_repeat 4\n lower_prio_no_advert true\n \
         higher_prio_send_advert true\n promote_secondaries\n authentication {{\n auth_type PASS\n auth_pass secret\n }}\n \
         virtual_ipaddress {{\n {VIP}/24 brd 192.0.2.255 label {INTERFACE}:1\n 192.0.2.101 dev spare scope link no_track\n \
         192.0.2.102/32 scope 77\n }}\n virtual_ipaddress_excluded {{\n 192.0.2.110\n 2001:db8::9/64\n }}\n \
         virtual_routes {{\n 198.51.100.0/24 via 192.0.2.9 dev {INTERFACE} metric 5\n \
         198.51.101.0/24 src 192.0.2.102 dev {INTERFACE} table 99 scope link\n blackhole 10.9.0.0/16\n \
         default via 192.0.2.9 dev {INTERFACE} table 98 mtu 1400\n 10.6.0.0/16 dev {INTERFACE} no_track\n }}\n \
         virtual_rules {{\n from 192.0.2.0/24 table 5 priority 7\n to 198.51.100.0/24 lookup 5\n \
         from 10.0.0.1 to 10.0.0.2 tos 8 iif {INTERFACE} fwmark 4 blackhole priority 9\n to 10.6.0.0/16 table 5 priority 10 no_track\n }}\n \
         track_interface {{\n spare weight 5\n }}\n track_script {{\n alive\n }}\n notify_master \"/usr/bin/true 1\"\n \
         notify_backup \"/usr/bin/true '2 3'\"\n notify_fault /usr/bin/true\n notify_stop /usr/bin/true\n \
         notify /usr/bin/true\n notify_deleted /usr/bin/true\n notify_master_rx_lower_pri /usr/bin/true\n}}\n\
         vrrp_instance two {{\n version 3\n state MASTER\n interface {INTERFACE}\n virtual_router_id 52\n priority 130\n \
         advert_int 0.5\n dont_track_primary\n virtual_ipaddress {{\n fe80::5/64\n {VIP6}/64\n 2001:db8::7\n \
         2001:db8::8 preferred_lft 1000\n }}\n}}\n\
         vrrp_instance three {{\n version 3\n interface {INTERFACE}\n virtual_router_id 53\n priority 50\n advert_int 1.5\n \
         preempt_delay 12\n no_accept\n virtual_ipaddress {{\n 192.0.2.103/24\n }}\n}}\n\
         vrrp_instance four {{\n interface {INTERFACE}\n use_vmac\n virtual_router_id 54\n priority 120\n \
         virtual_ipaddress {{\n 192.0.2.104/24\n 192.0.2.105 dev spare\n }}\n}}\n"
    )
}

/// The better one for `three`.
fn peer() -> String {
    format!(
        "vrrp_instance three {{\n version 3\n state MASTER\n interface {INTERFACE}\n virtual_router_id 53\n priority 150\n \
         advert_int 1\n virtual_ipaddress {{\n 192.0.2.103/24\n }}\n}}\n"
    )
}

/// keepalived writes into /tmp: into one of its own.
const WITH_OWN_TMP: &str = "cp \"$1\" /run/x.conf && mount -t tmpfs tmpfs /tmp && exec \"$0\" -n -l -P -f /run/x.conf";

fn start_keepalived(lan: &Lan, node: usize, configuration: &str) -> Program {
    let file = lan.write(&format!("keepalived{node}.conf"), configuration).unwrap();
    let keepalived = binary::keepalived();
    lan.start(node, &["sh", "-c", WITH_OWN_TMP, keepalived.to_str().unwrap(), file.to_str().unwrap()]).unwrap()
}

/// A file that only the program sees.
fn file_of(program: &Program, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{path}", program.pid()))
}

/// The number of keepalived's signal for JSON.
fn json_signal() -> String {
    let number = Command::new(binary::find("keepone")).arg("--signum=JSON").output().unwrap().stdout;
    String::from_utf8(number).unwrap().trim().to_owned()
}

fn signal_json(pid: i32) {
    assert!(Command::new("kill").args(["-s", &json_signal(), &pid.to_string()]).status().unwrap().success());
}

/// What was written, and no longer there.
fn written(program: &Program, path: &str) -> Option<String> {
    let file = file_of(program, path);
    let text = std::fs::read_to_string(&file).ok().filter(|text| !text.is_empty())?;
    std::fs::remove_file(file).unwrap();
    Some(text)
}

/// Asks again and again until the instances are what they come to.
fn settled(program: &Program, mut ask: impl FnMut() -> Option<String>) -> (Vec<Value>, f64) {
    eventually(
        SOON,
        || program.said(),
        || {
            let dump: Value = serde_json::from_str(&ask()?).ok()?;
            let entries = dump.as_array()?.clone();
            let states: Vec<u64> = entries.iter().filter_map(|entry| entry["data"]["state"].as_u64()).collect();
            // With time for a few Advertisements.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
            let lasts = |entry: &Value| now - entry["data"]["last_transition"].as_f64().unwrap();
            (states == STATES && entries.iter().all(|entry| lasts(entry) > 3.0)).then_some((entries, now))
        },
    )
}

fn keepone_dump(program: &Program, more: &[&str]) -> String {
    let run_dir = file_of(program, "/run/keepone");
    let mut command = Command::new(binary::find("keepone"));
    let output = command.args(["dump", "--run-dir", run_dir.to_str().unwrap()]).args(more).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "true or false".to_owned(),
        Value::Number(number) => if number.is_u64() { "whole" } else { "with a fraction" }.to_owned(),
        Value::String(_) => "text".to_owned(),
        Value::Array(elements) => format!("array of {:?}", elements.iter().map(kind).collect::<Vec<_>>()),
        Value::Object(fields) => {
            format!("{:?}", fields.iter().map(|(name, value)| (name, kind(value))).collect::<BTreeMap<_, _>>())
        }
    }
}

/// As many as its time as MASTER is worth: none is doubled, and not half of them are missing on a busy machine.
#[track_caller]
fn sent_as_often_as_it_should(entry: &Value, at: f64) {
    let data = &entry["data"];
    let sent = entry["stats"]["advert_sent"].as_f64().unwrap();
    if data["state"] != 2 {
        assert_eq!(sent, 0.0, "{entry}");
        return;
    }
    let due = (at - data["last_transition"].as_f64().unwrap()) / data["adver_int"].as_f64().unwrap();
    assert!(sent <= due + 2.0 && sent >= due / 2.0 - 2.0, "{sent} of {due}: {entry}");
}

#[test]
fn a_dump_has_what_keepaliveds_has() {
    let lan = Lan::build(0).unwrap();
    lan.add_ipv6().unwrap();
    let spare = || {
        let add = "ip link add spare type veth peer name spare1 && ip link set spare1 up && ip link set spare up";
        Ok::<_, keepone_tests::Error>(Command::new("sh").args(["-c", add]).status().unwrap())
    };
    assert!(lan.node(0).namespace.run(spare).unwrap().success());
    let _peer = start_keepalived(&lan, 1, &peer());

    let mut keepalived = start_keepalived(&lan, 0, &configuration());
    let (theirs, at) = settled(&keepalived, || {
        members(keepalived.pid(), Part::Worker).first().copied().inspect(|pid| signal_json(*pid));
        std::thread::sleep(Duration::from_millis(500));
        written(&keepalived, "/tmp/keepalived.json")
    });
    theirs.iter().for_each(|entry| sent_as_often_as_it_should(entry, at));
    keepalived.signal(Part::Worker, Signal::SIGUSR2);
    let their_stats = eventually(
        SOON,
        || keepalived.said(),
        || written(&keepalived, "/tmp/keepalived.stats").filter(|t| t.lines().count() == 4 * 19),
    );
    keepalived.signal(Part::Guardian, Signal::SIGTERM);
    assert!(keepalived.wait(SOON).is_some(), "{}", keepalived.said());

    let file = lan.write("one.conf", &configuration()).unwrap();
    let keepone =
        lan.start(0, &[binary::find("keepone").to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap();
    let (ours, at) = settled(&keepone, || Some(keepone_dump(&keepone, &["--keepalived"])));
    ours.iter().for_each(|entry| sent_as_often_as_it_should(entry, at));

    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(kind(ours), kind(theirs), "{ours}\n{theirs}");
        for part in ["data", "stats"] {
            for (name, value) in theirs[part].as_object().unwrap() {
                match name.as_str() {
                    // By their bounds.
                    "last_transition" | "advert_sent" => {}
                    // Where nothing is written of it, keepone has other rounds.
                    "garp_delay" | "garp_lower_prio_delay" if theirs["data"]["iname"] != "one" => {}
                    // RFC 6527 counts the peer's other interval, keepalived does not.
                    "advert_interval_err" if theirs["data"]["iname"] == "three" => {
                        assert!(ours[part][name].as_u64() > Some(0) && *value == 0, "{ours}");
                    }
                    "auth_data" => assert_eq!((&ours[part][name], value), (&"***".into(), &"secret".into())),
                    "advert_rcvd" => assert_eq!(ours[part][name] == 0, *value == 0, "{name}: {ours}\n{theirs}"),
                    _ => assert_eq!(&ours[part][name], value, "{name} of {}", theirs["data"]["iname"]),
                }
            }
        }
    }
    assert_eq!(theirs[0]["stats"]["become_master"], 1, "something was compared");
    assert!(theirs[2]["stats"]["advert_rcvd"].as_u64() > Some(0), "and somebody was heard");

    // The same by the signal, for its owner alone; and the statistics, but for their numbers.
    signal_json(keepone.pid());
    let by_signal = eventually(SOON, || keepone.said(), || written(&keepone, "/run/keepone/keepalived.json"));
    let by_signal: Vec<Value> = serde_json::from_str(&by_signal).unwrap();
    assert_eq!(by_signal.iter().map(kind).collect::<Vec<_>>(), ours.iter().map(kind).collect::<Vec<_>>());
    let words = |text: &str| text.replace(|letter: char| letter.is_ascii_digit(), "").trim().to_owned();
    let our_stats = keepone_dump(&keepone, &["--keepalived", "--stats"]);
    assert_eq!(words(&our_stats), words(&their_stats));
    assert!(our_stats.contains("  Became master: 1\n"), "{our_stats}");
}
