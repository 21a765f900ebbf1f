//! The mirror test on real packets (D9, F59): a gateway whose ARP entry for the virtual address points to somebody
//! else. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::process::Command;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::Network;
use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::cluster::Cluster;
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::observe::Watch;
use keepone_tests::program::Program;

/// Nobody's hardware address.
const STRANGER: &str = "02:00:00:00:00:66";
/// Late threads on a machine that is busy with other tests.
const BUSY: Duration = Duration::from_millis(500);

/// Runs `ip` on the gateway, which is the client's machine.
fn ip(lan: &Lan, arguments: &str) -> String {
    let run = || {
        let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        Ok::<_, keepone_tests::Error>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    lan.host(Kind::Client(0)).namespace.run(run).unwrap()
}

/// How long until the program has said that.
fn said(program: &Program, words: &str, patience: Duration) -> Duration {
    let begin = clock::now();
    loop {
        let passed = Duration::from_nanos(clock::now() - begin);
        let text = program.said();
        if text.contains(words) {
            return passed;
        }
        assert!(passed < patience, "no `{words}` within {patience:?}; it said:\n{text}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_gateway_that_sends_the_answers_elsewhere_is_told_within_a_second_and_put_right_d9() {
    let lan = Lan::build(2).unwrap();
    let cluster = Cluster::new(&lan).unwrap();
    let gateway = lan.host(Kind::Client(0)).port(Network::Lan).unwrap().address;
    let keepone = keepone_tests::binary::find("keepone");
    let programs = [0, 1].map(|node| {
        let text = cluster.of_node(&lan, node) + &format!("\n[reference_ip]\ntargets = [\"{gateway}\"]\n");
        let file = lan.write(&format!("n{}.toml", node + 1), &text).unwrap();
        lan.start(node, &[keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
    });
    let watch = Watch::start(&lan, VIP.into()).unwrap();
    assert!(watch.alone(0, Duration::from_secs(10)).is_some(), "no MASTER:\n{}", programs[0].said());
    // Past its first announcements, which would put it right by themselves.
    thread::sleep(Duration::from_secs(5));
    assert!(!programs[0].said().contains("mirror-lost"), "an alarm without a cause:\n{}", programs[0].said());

    // An entry that no announcement changes.
    ip(&lan, &format!("neigh replace {VIP} lladdr {STRANGER} dev {INTERFACE} nud permanent"));
    let took = said(&programs[0], "alert mirror-lost of VI_1", Duration::from_secs(10));
    assert!(took <= Duration::from_secs(1) + BUSY, "told after {took:?}");
    let entry = ip(&lan, &format!("neigh show {VIP} dev {INTERFACE}"));
    assert!(entry.contains(STRANGER), "{entry}");

    // And one that does change by it, as an attacker or a stale cache leaves it.
    ip(&lan, &format!("neigh replace {VIP} lladdr {STRANGER} dev {INTERFACE} nud reachable"));
    let took = said(&programs[0], "alert mirror-lost of VI_1 is over", Duration::from_secs(10));
    let entry = ip(&lan, &format!("neigh show {VIP} dev {INTERFACE}"));
    assert!(!entry.contains(STRANGER), "not put right: {entry}");
    // The kernel leaves an entry alone for a second after a change; a round of announcements comes each second.
    assert!(took <= Duration::from_secs(3) + BUSY, "put right after {took:?}");
    assert_eq!(watch.holders(), [0], "no change of role");
    assert!(!programs[1].said().contains("mirror-lost"), "whoever holds nothing looks into no mirror");
    assert_eq!(programs[0].said().matches("BACKUP -> CLAIMING").count(), 1, "{}", programs[0].said());
}
