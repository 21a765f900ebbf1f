//! Where logs go: the journal with its fields, syslog, a file that is rotated; and how many lines an attack makes.
//! Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::advert::{Forger, GROUP};
use keepone_tests::binary;
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;

/// The machine may be busy.
const SOON: Duration = Duration::from_secs(30);

/// One node without a cluster, its file.
fn alone(lan: &Lan) -> String {
    let text = format!(
        "[[vrrp_instance]]\nname = \"VI_1\"\nstate = \"BACKUP\"\ninterface = \"{INTERFACE}\"\nvirtual_router_id = 51\n\
         version = 3\nadvert_int = \"100ms\"\nvirtual_ipaddress = [\"{VIP}/24\"]\n",
    );
    lan.write("alone.toml", &text).unwrap().to_str().unwrap().to_owned()
}

/// The agent after `before` in a shell.
fn start(lan: &Lan, before: &str, more: &str) -> Program {
    let (keepone, file) = (binary::find("keepone"), alone(lan));
    let shell = format!("set -e; {before} exec {} run -c {file} {more}", keepone.display());
    lan.start(0, &["sh", "-c", &shell]).unwrap()
}

/// What the operator asks of it; its /run is its own.
fn ask(agent: &Program, arguments: &[&str]) -> String {
    let run_dir = format!("/proc/{}/root/run/keepone", agent.pid());
    let output = Command::new(binary::find("keepone")).args(arguments).args(["--run-dir", &run_dir]).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}\n{}", agent.said());
    String::from_utf8(output.stdout).unwrap()
}

fn receive(socket: &UnixDatagram) -> Vec<String> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = socket.recv(&mut buffer) {
        all.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    all
}

fn listen(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

#[test]
fn the_journal_gets_each_transition_with_its_fields() {
    let lan = Lan::build(0).unwrap();
    let path = lan.room().join("journal");
    let socket = listen(&path);
    // As systemd starts it: standard error is the journal's stream, the socket is where it always is.
    let before = format!(
        "mkdir -p /run/systemd/journal; touch /run/systemd/journal/socket; mount --bind {} /run/systemd/journal/socket; \
         export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2);",
        path.display()
    );
    let mut agent = start(&lan, &before, "");
    let mut entries = Vec::new();
    let entry = eventually(
        SOON,
        || agent.said(),
        || {
            entries.extend(receive(&socket));
            entries.iter().find(|entry| entry.contains("KEEPONE_TO=MASTER")).cloned()
        },
    );
    for line in [
        "PRIORITY=6",
        "SYSLOG_IDENTIFIER=keepone",
        "KEEPONE_DOMAIN=VI_1",
        "KEEPONE_FROM=CLAIMING",
        "KEEPONE_REASON=elected",
        "KEEPONE_PRIORITY=100",
    ] {
        assert!(entry.lines().any(|has| has == line), "{line}:\n{entry}");
    }
    let field = |name: &str| {
        entry.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}\n{entry}"))
    };
    let (epoch, evidence, message) = (field("KEEPONE_EPOCH="), field("KEEPONE_EVIDENCE="), field("MESSAGE="));
    assert!(epoch.contains('-') && evidence.contains("election=Won"), "{entry}");
    let whole = format!("VI_1: CLAIMING -> MASTER, elected (priority 100, epoch {epoch}): {evidence}");
    assert_eq!(message, whole, "one line says it all");
    assert!(!agent.said().contains("CLAIMING"), "said twice: {}", agent.said());
    // A journal that reads no more holds nothing up: the address is given up, and the agent ends.
    drop(entries);
    agent.signal(keepone_chaos::fault::Part::Guardian, nix::sys::signal::Signal::SIGTERM);
    assert!(agent.wait(SOON).is_some_and(|status| status.success()), "{}", agent.said());
}

#[test]
fn syslog_gets_lines_with_the_facility_that_keepaliveds_flag_names() {
    let lan = Lan::build(0).unwrap();
    let path = lan.room().join("log");
    let socket = listen(&path);
    let copy = lan.room().join("dev");
    std::fs::create_dir(&copy).unwrap();
    let copy = copy.display();
    let before = format!(
        "mount --bind /dev {copy}; mount -t tmpfs tmpfs /dev; for node in null zero random urandom; do touch /dev/$node; \
         mount --bind {copy}/$node /dev/$node; done; touch /dev/log; mount --bind {} /dev/log;",
        path.display()
    );
    let (keepone, file) = (binary::find("keepone"), alone(&lan));
    let shell = format!("set -e; {before} exec {} -n -f {file} -S local1", keepone.display());
    let agent = lan.start(0, &["sh", "-c", &shell]).unwrap();
    let mut lines = Vec::new();
    let line = eventually(
        SOON,
        || agent.said(),
        || {
            lines.extend(receive(&socket));
            lines.iter().find(|line| line.contains("-> MASTER")).cloned()
        },
    );
    // local1 is 17, info is 6: RFC 3164, 4.1.1.
    assert!(line.starts_with("<142>") && line.contains(" keepone[") && line.contains("]: VI_1: "), "{line}");
}

#[test]
fn a_log_file_that_is_rotated_is_begun_anew() {
    let lan = Lan::build(0).unwrap();
    let (path, old) = (lan.room().join("keepone.log"), lan.room().join("keepone.log.1"));
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let agent = start(&lan, "", &format!("--log-to file:{}", path.display()));
    let said = || format!("{}\n--\n{}", agent.said(), read(&path));
    eventually(SOON, said, || read(&path).contains("-> MASTER").then_some(()));
    std::fs::rename(&path, &old).unwrap();
    let former = read(&old);
    ask(&agent, &["maintenance", "on"]);
    eventually(SOON, said, || read(&path).contains("MASTER -> ").then_some(()));
    assert_eq!(read(&old), former, "nothing follows in the file that was moved away");
    assert!(!agent.said().contains("MASTER"), "{}", agent.said());
}

#[test]
fn ten_thousand_bad_packets_a_second_make_a_handful_of_lines() {
    let lan = Lan::build(0).unwrap();
    let mut agent = start(&lan, "", "");
    assert!(agent.says("-> MASTER", SOON), "{}", agent.said());
    let forger = Forger::new(&lan.host(Kind::Client(0)).namespace).unwrap();
    let metric = |name: &str| {
        let text = ask(&agent, &["metrics"]);
        let value =
            text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().parse::<f64>().unwrap());
        value.unwrap_or_else(|| panic!("{name}: {text}"))
    };
    let before = agent.said().lines().count();
    // Two seconds of 10,000 a second: no version, too short, a foreign address, a strange router, each from another sender.
    let (begin, mut sent) = (Instant::now(), 0_u32);
    while begin.elapsed() < Duration::from_secs(2) {
        for _ in 0..100 {
            let from = Ipv4Addr::from(0x0a00_0000 + sent % 65_536);
            let foreign = keepone_tests::advert::version_3(51, 1, 100, Ipv4Addr::from(sent));
            match sent % 4 {
                0 => forger.send_as(from, GROUP, &[0xf1; 12]),
                1 => forger.send_as(from, GROUP, &foreign[..7]),
                2 => forger.send_as(from, GROUP, &foreign),
                _ => {
                    let vrid = u8::try_from(sent % 250).unwrap() + 1;
                    forger.send_as(from, GROUP, &keepone_tests::advert::version_3(vrid, 1, 100, VIP));
                }
            }
            sent += 1;
        }
        let due = Duration::from_micros(100) * sent;
        thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    // The kernel may have dropped some before the agent saw them; most arrive.
    eventually(
        SOON,
        || agent.said(),
        || (metric("keepone_bad_advertisements_total") > f64::from(sent) / 10.0).then_some(()),
    );
    thread::sleep(Duration::from_secs(1));
    let lines = agent.said().lines().count() - before;
    println!("{sent} bad packets in two seconds: {lines} lines");
    // Alerts and strangers told of, each once or by a pace of its own: far from a line a packet.
    assert!(sent > 5_000 && lines <= 20, "{sent} packets, {lines} lines:\n{}", agent.said());
}
