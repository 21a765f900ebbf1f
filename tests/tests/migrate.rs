//! From a pair of keepalived to a pair of keepone, node by node, and back again, under the eyes of a client that asks each 5 ms.
//! Needs root and keepalived.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::VIP;
use keepone_tests::binary;
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::observe::Watch;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

/// The machine may be busy.
const SOON: Duration = Duration::from_secs(30);
/// More than three adverts and a skew of a second each: who were to take over by mistake would have done it.
const SETTLED: Duration = Duration::from_secs(5);
/// An orderly change between routers costs a skew, 0.6 s at most, and what a busy machine adds.
const ONE_CHANGE: Duration = Duration::from_secs(3);
/// Nothing moves: only what a busy machine adds.
const NO_CHANGE: Duration = Duration::from_secs(1);

struct Pair {
    lan: Lan,
    watch: Watch,
    nodes: [Option<Program>; 2],
}

impl Pair {
    fn conf(&self, node: usize) -> PathBuf {
        self.lan.room().join(format!("n{node}.conf"))
    }

    fn pid_file(&self, node: usize) -> PathBuf {
        self.lan.room().join(format!("n{node}.pid"))
    }

    fn start(&mut self, node: usize, command: &[&str]) {
        let log = self.lan.room().join(format!("n{node}.log"));
        self.nodes[node] = Some(Program::start(&self.lan.node(node).namespace, command, &log).unwrap());
    }

    fn start_keepalived(&mut self, node: usize) {
        let (conf, pid) = (self.conf(node), self.pid_file(node));
        let (program, pid) = (binary::keepalived(), format!("--pid={}", pid.display()));
        let options = ["--dont-fork", "--vrrp", "--log-console", "--no-syslog", "--vrrp_pid=/run/vrrp.pid"];
        let mut command = vec![program.to_str().unwrap(), &pid];
        command.extend(options);
        command.extend(["--use-file", conf.to_str().unwrap()]);
        self.start(node, &command);
    }

    fn said(&self, node: usize) -> String {
        std::fs::read_to_string(self.lan.room().join(format!("n{node}.log"))).unwrap_or_default()
    }

    /// Does a step and waits until all is at rest: the client's longest wait for an answer meanwhile.
    #[track_caller]
    fn step(&mut self, what: &str, holder: usize, limit: Duration, step: impl FnOnce(&mut Pair)) {
        let begin = clock::now();
        step(self);
        assert!(
            self.watch.alone(holder, SOON).is_some(),
            "{what}: node {holder} does not hold:\n{}{}",
            self.said(0),
            self.said(1)
        );
        thread::sleep(SETTLED);
        let end = clock::now();
        assert_eq!(self.watch.holders(), [holder], "{what}:\n{}{}", self.said(0), self.said(1));
        // Each node's answers are in one piece: who gave the address away did not get it back.
        let of = [0, 1].map(|node| self.watch.answers_of(node, begin, end));
        if let (Some(last), Some(first)) = (of[1 - holder].last(), of[holder].first()) {
            assert!(last < first, "{what}: more than one change");
        }
        let mut all: Vec<u64> = of.concat();
        all.extend([begin, end]);
        all.sort_unstable();
        let gap = all.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        let (gap, overlap) = (Duration::from_nanos(gap), self.watch.overlap(begin, end));
        println!("{what}: {gap:.1?} without an answer, {overlap:.1?} with the address on both");
        assert!(gap < limit, "{what}: {gap:?} without an answer");
        assert!(overlap < Duration::from_millis(100), "{what}: {overlap:?} with two holders");
    }

    fn migrate(&mut self, node: usize) {
        let (conf, pid) = (self.conf(node), self.pid_file(node));
        let directory = self.lan.room().join(format!("n{node}"));
        std::fs::create_dir_all(&directory).unwrap();
        let keepone = binary::find("keepone");
        let command = [
            keepone.to_str().unwrap(),
            "migrate",
            "--config",
            conf.to_str().unwrap(),
            "--pid-file",
            pid.to_str().unwrap(),
            "--write",
            directory.to_str().unwrap(),
            "--take-over",
        ];
        let keepalived = self.nodes[node].take();
        self.start(node, &command);
        assert!(keepalived.unwrap().wait(SOON).is_some(), "keepalived was not ended:\n{}", self.said(node));
    }

    fn back(&mut self, node: usize) {
        let mut keepone = self.nodes[node].take().unwrap();
        keepone.signal(Part::Guardian, Signal::SIGTERM);
        assert!(keepone.wait(SOON).is_some(), "keepone did not end:\n{}", self.said(node));
        self.start_keepalived(node);
    }
}

#[test]
fn a_pair_of_keepalived_becomes_one_of_keepone_node_by_node_and_back_again() {
    let lan = Lan::build(0).unwrap();
    let watch = Watch::start(&lan, VIP.into()).unwrap();
    let mut pair = Pair { lan, watch, nodes: [None, None] };
    for node in 0..2 {
        let conf = format!(
            "vrrp_instance VI_1 {{\n    state BACKUP\n    nopreempt\n    interface {INTERFACE}\n    virtual_router_id 51\n    \
             priority {}\n    advert_int 1\n    virtual_ipaddress {{\n        {VIP}/24\n    }}\n}}\n",
            150 - 50 * node
        );
        pair.lan.write(&format!("n{node}.conf"), &conf).unwrap();
    }
    pair.start_keepalived(0);
    assert!(pair.watch.answered_by(0, SOON).is_some(), "{}", pair.said(0));
    pair.start_keepalived(1);
    thread::sleep(SETTLED);

    pair.step("the backup becomes keepone", 0, NO_CHANGE, |pair| pair.migrate(1));
    pair.step("the master becomes keepone", 1, ONE_CHANGE, |pair| pair.migrate(0));
    let said = pair.said(0);
    for words in ["held by this node now", "nopreempt", "which means the same", "has ended"] {
        assert!(said.contains(words), "no {words:?} in the report:\n{said}");
    }
    pair.step("the backup becomes keepalived again", 1, NO_CHANGE, |pair| pair.back(0));
    pair.step("the master becomes keepalived again", 0, ONE_CHANGE, |pair| pair.back(1));
}
