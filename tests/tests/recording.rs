//! What a real agent's core was told, recorded on real packets, replays to the same actions (I25). Needs root.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{BufReader, Cursor};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_chaos::replay::{Replayed, replay};
use keepone_tests::cluster::Cluster;
use keepone_tests::lan::Lan;
use keepone_tests::observe::Watch;
use nix::sys::signal::Signal;

const LIMIT: Duration = Duration::from_secs(20);

fn replayed(file: &Path) -> Replayed {
    replay(BufReader::new(std::fs::File::open(file).unwrap()), false, None).unwrap()
}

#[test]
fn a_run_of_two_agents_and_a_handover_replays_the_same_and_a_tampered_line_is_named() {
    let lan = Lan::build(2).unwrap();
    let cluster = Cluster::new(&lan).unwrap();
    let program = keepone_tests::binary::find("keepone");
    let files = [0, 1].map(|node| lan.room().join(format!("n{}.recording", node + 1)));
    let [first, second] = [0, 1].map(|node| {
        let config = cluster.write(&lan, node).unwrap();
        let words = [&program, &config, &files[node]].map(|path| path.to_str().unwrap().to_owned());
        lan.start(node, &[&words[0], "run", "-c", &words[1], "--record", &words[2]]).unwrap()
    });
    let watch = Watch::start(&lan, VIP.into()).unwrap();
    assert!(watch.alone(0, LIMIT).is_some(), "nobody became MASTER:\n{}", first.said());
    first.signal(Part::Guardian, Signal::SIGTERM);
    first.end(LIMIT).unwrap();
    assert!(watch.has(1, LIMIT).is_some(), "no handover:\n{}", second.said());
    second.signal(Part::Guardian, Signal::SIGTERM);
    second.end(LIMIT).unwrap();
    for file in &files {
        let outcome = replayed(file);
        assert_eq!(outcome.differs, None, "{}", outcome.words());
        assert_eq!((outcome.ended, outcome.torn), (None, false), "the whole run is there");
        assert!(outcome.events > 30 && outcome.transitions >= 3, "{} events", outcome.events);
    }
    // An hour is moved in one line: whatever was due in it is done there, and was not.
    let text = std::fs::read_to_string(&files[1]).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let place = lines.len() / 2;
    let mut step: serde_json::Value = serde_json::from_str(&lines[place]).unwrap();
    step["t"] = (step["t"].as_u64().unwrap() + 3_600_000_000_000).into();
    lines[place] = step.to_string();
    let differs = replay(Cursor::new(lines.join("\n")), false, None).unwrap().differs.unwrap();
    assert_eq!(usize::try_from(differs.line).unwrap(), place + 1);
}

/// The former process's part is kept beside the next one's, which begins with what was handed on.
#[test]
fn an_upgrade_in_place_begins_another_recording_and_both_replay_the_same() {
    let lan = Lan::build(1).unwrap();
    let mut cluster = Cluster::new(&lan).unwrap();
    cluster.quorum();
    cluster.arbiter = cluster.arbiter.replace("500ms", "3s");
    let program = |name: &str| keepone_tests::binary::find(name).to_str().unwrap().to_owned();
    let file = cluster.write_witness(&lan, 0).unwrap();
    let witness = [&program("keepone-witness"), "run", "-c", file.to_str().unwrap()];
    let _witness = lan.start_at(Kind::Witness(0), &witness).unwrap();
    let recording = lan.room().join("n1.recording");
    let [first, second] = [0, 1].map(|node| {
        let file = cluster.write(&lan, node).unwrap();
        let (program, file) = (program("keepone"), file.to_str().unwrap().to_owned());
        let words = [&program, "run", "-c", &file, "--record", recording.to_str().unwrap()];
        lan.start(node, if node == 0 { &words } else { &words[..4] }).unwrap()
    });
    let watch = Watch::start(&lan, VIP.into()).unwrap();
    let said = || format!("{}\n--\n{}", first.said(), second.said());
    assert!(watch.answered_by(0, LIMIT).is_some(), "{}", said());
    // Scripts of a MASTER have had their time by then.
    thread::sleep(Duration::from_secs(4));
    let mut ask = Command::new(program("keepone"));
    let told = ask.arg("upgrade").arg("--run-dir").arg(lan.room().join("n1-run")).output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.starts_with("in place: "), "{told}\n{}", said());
    first.signal(Part::Guardian, Signal::SIGTERM);
    assert!(watch.answered_by(1, LIMIT).is_some(), "{}", said());
    first.end(LIMIT).unwrap();
    let parts = [recording.with_extension("recording.1"), recording].map(|file| (replayed(&file), file));
    for (outcome, file) in &parts {
        assert_eq!(outcome.differs, None, "{}: {}", file.display(), outcome.words());
        assert_eq!((&outcome.ended, outcome.torn), (&None, false), "the whole run is there");
        assert!(outcome.events > 30, "{} events", outcome.events);
    }
    // It became MASTER in the first one, and gave that up in the second.
    assert!(parts.iter().all(|(outcome, _)| outcome.transitions >= 1), "{:?}", parts);
    let header = std::fs::read_to_string(&parts[1].1).unwrap();
    assert!(header.lines().next().unwrap().contains("\"resumed\""), "it is no life of its own");
}
