//! Dumps as keepalived writes them: Debian's keepalived and keepone run the same configuration on the same link, one after
//! the other, beside the same peer, and what both write is compared. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keepone_chaos::fault::{Network, Part};
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

/// What the process for VRRP writes.
fn their_data(keepalived: &Program) -> String {
    // It writes line by line; once the last section is there and nothing more has come, that is all.
    let mut before = String::new();
    let whole = || {
        let now = std::fs::read_to_string(file_of(keepalived, "/tmp/keepalived.data")).unwrap_or_default();
        if now.is_empty() {
            keepalived.signal(Part::Worker, Signal::SIGUSR1);
            std::thread::sleep(Duration::from_millis(500));
        }
        let is_whole = now.contains("------< Interfaces >------") && now == before;
        before = now;
        is_whole.then(|| before.clone())
    };
    let data = eventually(SOON, || keepalived.said(), whole);
    std::fs::remove_file(file_of(keepalived, "/tmp/keepalived.data")).unwrap();
    data
}

/// Sections and lines of keepalived's that keepone has not, and why; a line by its label, with its numbers as `9`.
const LEFT_OUT: [(&str, &[&str]); 7] = [
    // keepone has one process, other means in the kernel, and no such switches.
    (
        "Global definitions",
        &[
            "Network namespace",
            "Network namespace ipvs",
            "Default smtp_alert",
            "Default smtp_alert_vrrp",
            "Default smtp_alert_checker",
            "Checkers log all failures",
            "No test config before reload",
            "Default interface",
            "LVS flush",
            "LVS flush on stop",
            "VRRP notify priority changes",
            "Num adverts before down",
            "Gratuitous ARP for each secondary VMAC",
            "Send advert after receive lower priority advert",
            "Send advert after receive higher priority advert",
            "VRRP default protocol version",
            "nftables table name",
            "nftables base chain priority",
            "nftables don't force use ifindex for link local IPv9",
            "nftables without counters",
            "libnftnl version 9.9.9",
            "VRRP check unicast_src",
            "VRRP skip check advert addresses",
            "VRRP strict mode",
            "Max auto priority",
            "Min auto priority delay",
            "VRRP process priority",
            "VRRP don't swap",
            "VRRP realtime priority",
            "VRRP realtime limit",
            "Checker process priority",
            "Checker don't swap",
            "Checker realtime priority",
            "Checker realtime limit",
            "BFD process priority",
            "BFD don't swap",
            "BFD realtime priority",
            "BFD realtime limit",
            "SNMP RFCv9 disabled",
            "SNMP socket",
            "DBus service name =",
            "vrrp_netlink_cmd_rcv_bufs",
            "vrrp_netlink_cmd_rcv_bufs_force",
            "vrrp_netlink_monitor_rcv_bufs",
            "vrrp_netlink_monitor_rcv_bufs_force",
            "process_monitor_rcv_bufs",
            "process_monitor_rcv_bufs_force",
            "lvs_netlink_cmd_rcv_bufs",
            "lvs_netlink_cmd_rcv_bufs_force",
            "lvs_netlink_monitor_rcv_bufs",
            "lvs_netlink_monitor_rcv_bufs_force",
            "no_checker_emails",
            "rx_bufs_multiples",
            "umask",
            // Where nothing is written of it, keepone has other rounds.
            "Gratuitous ARP delay",
            "Gratuitous ARP lower priority delay",
        ],
    ),
    // Counts and timers inside keepalived; an address or a number of the kernel's that nobody has configured.
    (
        "VRRP Topology",
        &[
            "Flags:",
            "Using unicast",
            "Flags: none",
            "Number of config faults",
            "Number of interface and track script faults",
            "Number of track scripts init",
            "Read timeout",
            "Use VMAC, i/f name vrrp.99, is_up",
            "Using src_ip",
            "Multicast address ff99::99, ifindex 9",
            "Total priority",
            "fd_in 99, fd_out 99",
            "Unicast checksum compatibility",
            "Gratuitous ARP delay",
            "Gratuitous ARP lower priority delay",
        ],
    ),
    // Not seen with all their values, or said by a real server's `alive`.
    (
        "LVS Topology",
        &[
            "System is compiled with LVS v9.9.9",
            "Alive: 9 tcp, 9 udp, 9 sctp",
            "Alive: 9 IPv9, 9 IPv9",
            "reloaded",
            "connection timeout",
            "delay_loop",
            "Delay loop",
            "Hashed",
            "flag-9",
            "sh-port",
            "sh-fallback",
            "mh-port",
            "mh-fallback",
            "alpha is OFF",
            "alpha is ON",
            "Alpha is OFF",
            "Alpha is ON",
            "Inhibit on failure is OFF",
            "default forwarding method",
            "forwarding method",
            "alive",
            "previous effective_weight",
            "num failed checkers",
            "RS set",
        ],
    ),
    ("VRRP Track files", &["Status"]),
    ("VRRP Sync groups", &["Num member fault 9, num member init 9"]),
    // What the last run came to is with `keepone why`.
    ("VRRP Scripts", &["Timeout", "Result", "Insecure", "Init state", "Status", "VRRP instances :", "State"]),
    (
        "VRRP Track processes",
        &["Current processes", "Have quorum", "Fork delay timer not running", "Terminate delay timer not running"],
    ),
];
const SECTIONS_LEFT_OUT: [&str; 2] = ["VRRP Sockpool", "Interfaces"];

/// A line, with the sections and headings that it stands below.
fn lines_with_places(text: &str) -> Vec<(Vec<String>, String)> {
    let mut above: Vec<(usize, String)> = Vec::new();
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let indent = line.len() - line.trim_start().len();
        let is_heading = |words: &str| words.trim_start().starts_with("------<");
        // What a heading is over is not indented further.
        while above
            .last()
            .is_some_and(|(at, words)| *at > indent || (*at == indent && (is_heading(line) || !is_heading(words))))
        {
            above.pop();
        }
        // A time and a password are whatever they are.
        let words = match line.split_once(" = ") {
            Some((label @ "   Last transition", time)) => {
                format!(
                    "{label} = {}",
                    time.replace(|c: char| c.is_ascii_digit() || c == ' ', "").replace(char::is_alphabetic, "")
                )
            }
            Some((label @ "   Password", _)) => format!("{label} = ***"),
            _ => line.to_owned(),
        };
        lines.push((above.iter().map(|(_, words)| words.clone()).collect(), words.clone()));
        above.push((indent, words));
    }
    lines
}

/// Each of our lines is one of theirs, in the same place and order, and what we have not is left out on purpose.
#[track_caller]
fn has_lines_of(ours: &str, theirs: &str) {
    let theirs = lines_with_places(theirs);
    let (mut rest, mut left_out) = (&theirs[..], Vec::new());
    for line in lines_with_places(ours) {
        let found = rest.iter().position(|one| *one == line);
        let at = found.unwrap_or_else(|| panic!("not keepalived's, or not in that place: {line:#?}"));
        left_out.extend(&rest[..at]);
        rest = &rest[at + 1..];
    }
    left_out.extend(rest);
    let section = |words: &str| words.trim_matches(['-', '<', '>', ' ']).to_owned();
    for (above, line) in left_out {
        let section = section(above.first().unwrap_or(line));
        let label = line.trim().split(" = ").next().unwrap().replace(|c: char| c.is_ascii_digit(), "9");
        let known = LEFT_OUT.iter().find(|(name, _)| *name == section).map_or(&[][..], |(_, labels)| labels);
        let is_known = SECTIONS_LEFT_OUT.contains(&section.as_str()) || known.contains(&label.as_str());
        assert!(is_known, "left out, and not on purpose: {label:?} of {section}: {line}");
    }
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
    let their_data = their_data(&keepalived);
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
    // Of virtual servers that were there at an earlier signal.
    let checked = file_of(&keepone, "/run/keepone/keepalived_check.data");
    std::fs::write(&checked, "").unwrap();
    signal_json(keepone.pid());
    let by_signal = eventually(SOON, || keepone.said(), || written(&keepone, "/run/keepone/keepalived.json"));
    assert!(!checked.exists(), "servers are told of that are no more");
    let by_signal: Vec<Value> = serde_json::from_str(&by_signal).unwrap();
    assert_eq!(by_signal.iter().map(kind).collect::<Vec<_>>(), ours.iter().map(kind).collect::<Vec<_>>());
    let words = |text: &str| text.replace(|letter: char| letter.is_ascii_digit(), "").trim().to_owned();
    let our_stats = keepone_dump(&keepone, &["--keepalived", "--stats"]);
    assert_eq!(words(&our_stats), words(&their_stats));
    assert!(our_stats.contains("  Became master: 1\n"), "{our_stats}");
    let our_data = keepone_dump(&keepone, &["--keepalived", "--data"]);
    has_lines_of(&our_data, &their_data);
    assert!(our_data.contains("   State = MASTER\n") && our_data.contains("     alive weight 0\n"), "{our_data}");
    let by_signal = eventually(SOON, || keepone.said(), || written(&keepone, "/run/keepone/keepalived.data"));
    assert_eq!(by_signal.lines().count(), our_data.lines().count(), "{by_signal}");
}

/// A sync group, files and processes, mail, FIFOs, unicast, and Backups of version 2.
#[test]
fn the_data_has_keepaliveds_lines_of_groups_and_trackers_too() {
    let lan = Lan::build(0).unwrap();
    let [here, there] = [0, 1].map(|node| lan.node(node).port(Network::Lan).unwrap().address);
    let text = format!(
        "global_defs {{\n router_id lb1\n script_user root\n enable_script_security\n \
         notification_email {{\n a@example.com\n b@example.com\n }}\n notification_email_from lb@example.com\n \
         smtp_server 192.0.2.66 2525\n smtp_helo_name lb.example.com\n smtp_connect_timeout 7\n \
         vrrp_garp_master_delay 3\n vrrp_garp_lower_prio_delay 4\n vrrp_garp_master_refresh 60\n \
         vrrp_notify_fifo /run/fifo\n}}\n\
         vrrp_script alive {{\n script /usr/bin/true\n interval 2\n timeout 1\n rise 2\n fall 3\n weight 4\n user nobody\n}}\n\
         track_file tf {{\n file /run/tf\n init_file 3\n weight 2\n}}\n\
         vrrp_track_process tp {{\n process nothing-of-this-name\n quorum 2\n quorum_max 5\n fork_delay 1\n \
         terminate_delay 3\n full_command\n weight 5\n}}\n\
         vrrp_sync_group both {{\n group {{\n two\n three\n }}\n track_script {{\n alive weight 0\n }}\n \
         notify \"/usr/bin/true g\"\n notify_fault /usr/bin/true\n}}\n\
         vrrp_instance one {{\n interface {INTERFACE}\n virtual_router_id 61\n priority 100\n advert_int 2\n \
         authentication {{\n auth_type AH\n auth_pass secret\n }}\n mcast_src_ip {here}\n virtual_ipaddress {{\n {VIP}\n }}\n \
         track_script {{\n alive\n }}\n track_file {{\n tf\n }}\n track_process {{\n tp\n }}\n \
         notify_master \"/usr/bin/true 1\" nobody\n notify_priority_changes true\n}}\n\
         vrrp_instance two {{\n interface {INTERFACE}\n virtual_router_id 62\n priority 50\n \
         down_timer_adverts 4\n virtual_ipaddress {{\n 192.0.2.101\n }}\n}}\n\
         vrrp_instance three {{\n version 3\n interface {INTERFACE}\n virtual_router_id 63\n priority 60\n \
         unicast_src_ip {here}\n unicast_peer {{\n {there} min_ttl 254 max_ttl 255\n }}\n unicast_ttl 77\n check_unicast_src\n \
         virtual_ipaddress {{\n 192.0.2.102\n }}\n}}\n"
    );
    let other = format!(
        "vrrp_instance two {{\n state MASTER\n interface {INTERFACE}\n virtual_router_id 62\n priority 150\n \
         virtual_ipaddress {{\n 192.0.2.101\n }}\n}}\n\
         vrrp_instance three {{\n version 3\n state MASTER\n interface {INTERFACE}\n virtual_router_id 63\n priority 160\n \
         unicast_src_ip {there}\n unicast_peer {{\n {here}\n }}\n unicast_ttl 255\n virtual_ipaddress {{\n 192.0.2.102\n }}\n}}\n"
    );
    let _peer = start_keepalived(&lan, 1, &other);
    let stands = |data: &str| {
        let states: Vec<&str> = data.lines().filter_map(|line| line.strip_prefix("   State = ")).collect();
        // `State = idle` is a script's. The priority: the file's number twice, and the script's weight.
        states.starts_with(&["MASTER", "BACKUP", "BACKUP"])
            && data.contains("   Effective priority = 110\n")
            && data.matches("   Master router = ").count() == 2
    };
    let mut keepalived = start_keepalived(&lan, 0, &text);
    let theirs = eventually(SOON, || keepalived.said(), || Some(their_data(&keepalived)).filter(|data| stands(data)));
    keepalived.signal(Part::Guardian, Signal::SIGTERM);
    assert!(keepalived.wait(SOON).is_some(), "{}", keepalived.said());
    let file = lan.write("one.conf", &text).unwrap();
    let keepone =
        lan.start(0, &[binary::find("keepone").to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap();
    let ours = || Some(keepone_dump(&keepone, &["--keepalived", "--data"])).filter(|data| stands(data));
    let ours = eventually(SOON, || keepone.said(), ours);
    has_lines_of(&ours, &theirs);
    for line in [
        " VRRP Sync Group = both, BACKUP",
        "     two, weight 0",
        " Track file = tf",
        "   Max processes = 5",
        "     one, weight 5",
        "   Authentication type = IPSEC_AH",
        " Email notification to:",
    ] {
        assert!(ours.lines().any(|one| one == line), "{line}\n{ours}");
    }
}

/// What keepalived 2.2.7 wrote of that configuration (but for its checks, which were made over the network and ended alike)
/// in a guest with IPVS, which this machine need not have.
#[test]
fn virtual_and_real_servers_have_keepaliveds_lines() {
    let lan = Lan::build(0).unwrap();
    let file = lan.write("one.conf", include_str!("dumps/check.conf")).unwrap();
    let keepone =
        lan.start(0, &[binary::find("keepone").to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap();
    // Checked: two are up, so that the quorum is there, and one is down.
    let stands = |data: &str| {
        data.matches("   quorum_state_up = 1\n").count() == 5 && data.matches("   alive = 0\n").count() == 1
    };
    let ours = || Some(keepone_dump(&keepone, &["--keepalived", "--check-data"])).filter(|data| stands(data));
    let ours = eventually(SOON, || keepone.said(), ours);
    has_lines_of(&ours, include_str!("dumps/check.data"));
    assert_eq!(ours.matches("------< Real server >------").count(), 8, "{ours}");
    signal_json(keepone.pid());
    let by_signal = eventually(SOON, || keepone.said(), || written(&keepone, "/run/keepone/keepalived_check.data"));
    assert_eq!(by_signal.trim(), ours.trim());
}
