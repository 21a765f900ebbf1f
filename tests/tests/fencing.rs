//! A fence command between two agents without an authority, on real packets and with real processes: nothing is
//! taken over before it has succeeded. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::VIP;
use keepone_tests::cluster::Cluster;
use keepone_tests::lan::Lan;
use keepone_tests::observe::Watch;
use keepone_tests::program::Program;

/// Wide: a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(20);

struct Pair {
    second: Program,
    watch: Watch,
    killed_at: u64,
    /// What the command has written, by the names of the victims.
    shots: PathBuf,
    _lan: Lan,
}

/// The better node was MASTER and has been killed, so that the other one's command runs: it writes down its
/// victim, waits until the file `aimed` is there, and ends with `status`.
fn killed(status: u8) -> (Pair, PathBuf) {
    let lan = Lan::build(2).unwrap();
    let (shots, aimed) = (lan.room().join("shots"), lan.room().join("aimed"));
    let script = format!(
        "#!/bin/sh\necho \"$KEEPONE_VICTIM $1\" >> {}\nwhile ! [ -e {} ]; do sleep 0.05; done\n\
         echo the outlet said so\nexit {status}\n",
        shots.display(),
        aimed.display()
    );
    let command = lan.write("fence", &script).unwrap();
    let mut cluster = Cluster::new(&lan).unwrap();
    // Both are up before either is elected, and whoever is not heard by then is shot for nothing.
    std::fs::write(&aimed, "").unwrap();
    cluster.arbiter += &format!("\n[fencing]\ncommand = \"/bin/sh {}\"\ntimeout = \"60s\"", command.display());
    let program = keepone_tests::binary::find("keepone");
    let [mut first, second] = [0, 1].map(|node| {
        let file = cluster.write(&lan, node).unwrap();
        lan.start(node, &[program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
    });
    let watch = Watch::start(&lan, VIP.into()).unwrap();
    if status == 0 {
        assert!(watch.alone(0, SOON).is_some(), "{}", first.said());
    } else {
        // A command that fails would keep the first from its start; it comes up once the other is heard.
        assert!(watch.alone(0, SOON * 3).is_some(), "{}", first.said());
    }
    thread::sleep(Duration::from_secs(1));
    std::fs::remove_file(&aimed).unwrap();
    let _ = std::fs::remove_file(&shots);
    let killed_at = clock::now();
    first.kill();
    (Pair { second, watch, killed_at, shots, _lan: lan }, aimed)
}

impl Pair {
    /// It may have been MASTER for a moment at the start, before it heard the better one.
    fn holds_nothing_since_the_kill(&self) -> bool {
        self.watch.spans()[1].within(self.killed_at, u64::MAX).is_empty()
    }

    fn shot(&self) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < SOON {
            if std::fs::read_to_string(&self.shots).is_ok_and(|text| text == "n1 n1\n") {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

#[test]
fn nothing_is_taken_over_before_the_command_has_succeeded() {
    let (pair, aimed) = killed(0);
    assert!(pair.shot(), "{}", pair.second.said());
    // Several times as long as a take-over without it.
    thread::sleep(Duration::from_secs(3));
    assert!(pair.holds_nothing_since_the_kill(), "it holds the address already:\n{}", pair.second.said());
    std::fs::write(aimed, "").unwrap();
    assert!(pair.watch.answered_by(1, SOON).is_some(), "{}", pair.second.said());
    assert!(pair.second.said().contains("n1 is fenced"), "{}", pair.second.said());
}

#[test]
fn a_command_that_fails_is_told_and_nothing_is_taken_over() {
    let (mut pair, aimed) = killed(7);
    assert!(pair.shot(), "{}", pair.second.said());
    std::fs::write(aimed, "").unwrap();
    assert!(pair.second.says("alert fence-failed of VI_1: n1: the fence command", SOON), "{}", pair.second.said());
    assert!(pair.second.said().contains("failed: exit status: 7: the outlet said so"), "{}", pair.second.said());
    thread::sleep(Duration::from_secs(3));
    assert!(pair.holds_nothing_since_the_kill(), "it holds the address:\n{}", pair.second.said());
}
