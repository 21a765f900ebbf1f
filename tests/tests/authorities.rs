//! A live cluster is moved from one authority to another, as docs/authorities.md walks through it and `keepone authority`
//! prints it: a client asks each millisecond, and of the two nodes never both have the address. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::{Class, Network, Part};
use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_chaos::spans::Spans;
use keepone_tests::cluster::Cluster;
use keepone_tests::gates::Gates;
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::observe::Watch;
use keepone_tests::program::{Ended, Program};
use keepone_tests::{binary, etcd};
use nix::sys::signal::Signal;

/// Generous against a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(40);
/// Between two questions of the client.
const STEP: Duration = Duration::from_millis(1);
/// The longest silence of the client at one handover. The takeover itself is some 30 ms; two voters have their records on
/// disk first, which a busy machine's disk may keep waiting for a second and more. Had a node waited for another's lease
/// to run out, it would be that: 3000 ms.
const HANDOVER: Duration = Duration::from_millis(2500);
const LEASE: &str = "lease = \"3s\"";
/// A voter that has just started, or a key that was not there, is nobody's for so long, L_max; and what starting takes.
const SETTLED: Duration = Duration::from_millis(5500);
/// Where etcd runs, beside the third witness.
const ETCD: usize = 2;

struct World {
    /// By number; those that run.
    witnesses: Vec<Option<Program>>,
    nodes: Vec<Program>,
    files: Vec<PathBuf>,
    cluster: Cluster,
    watch: Watch,
    etcd: Option<Program>,
    lan: Lan,
}

impl World {
    fn start(arbiter: &str, witnesses: &[usize], with_etcd: bool) -> Self {
        let lan = Lan::with_witnesses(2, 3).unwrap();
        let mut cluster = Cluster::new(&lan).unwrap();
        cluster.arbiter = format!("{arbiter}\n{LEASE}");
        let etcd = with_etcd.then(|| etcd::start(&lan, ETCD, &[ETCD], &[]).unwrap());
        let watch = Watch::start_asking(&lan, VIP.into(), STEP).unwrap();
        let files = (0..2).map(|node| cluster.write(&lan, node).unwrap()).collect();
        let mut world = World { witnesses: Vec::new(), nodes: Vec::new(), files, cluster, watch, etcd, lan };
        world.witnesses = (0..3).map(|number| witnesses.contains(&number).then(|| world.witness(number))).collect();
        world.nodes = (0..2).map(|node| world.node(node)).collect();
        world.must(world.watch.answered_by(0, SOON).is_some(), "the better node does not become MASTER");
        thread::sleep(Duration::from_secs(2));
        world
    }

    #[track_caller]
    fn must(&self, good: bool, what: &str) {
        if !good {
            let said = self.nodes.iter().chain(self.witnesses.iter().flatten()).map(Program::said);
            panic!("{what}\n{}", said.collect::<Vec<_>>().join("\n--\n"));
        }
    }

    fn node(&self, node: usize) -> Program {
        let program = binary::find("keepone");
        self.lan.start(node, &[program.to_str().unwrap(), "run", "-c", self.files[node].to_str().unwrap()]).unwrap()
    }

    /// With the voters of the present `[arbiter]`, which for etcd are `etcd`.
    fn witness(&self, number: usize) -> Program {
        let file = self.cluster.write_witness(&self.lan, number).unwrap();
        let (program, host) = (binary::find("keepone-witness"), self.lan.host(Kind::Witness(number)));
        let command = [program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
        Program::start(&host.namespace, &command, &self.lan.room().join(format!("{}.log", host.name))).unwrap()
    }

    fn ask(&self, node: usize, more: &[&str]) -> Ended {
        let log = self.lan.room().join(format!("authority-{}.log", clock::now()));
        let (program, file) = (binary::find("keepone"), self.files[node].to_str().unwrap());
        let command = [&[program.to_str().unwrap(), "authority", "-c", file], more].concat();
        Program::start(&self.lan.node(node).namespace, &command, &log).unwrap().end(Duration::from_secs(30)).unwrap()
    }

    /// `next` goes no further and says why.
    #[track_caller]
    fn refuses(&self, node: usize, why: &str) {
        let ended = self.ask(node, &["next"]);
        self.must(ended.code != Some(0) && ended.said.contains(why), &format!("not {why:?} but {ended:?}"));
    }

    fn etcd(&self, what: Signal) {
        if let Some(etcd) = &self.etcd {
            etcd.signal(Part::Both, what);
        }
    }

    /// Asks until it says so: a voter that was just started lends nothing for L_max, say.
    #[track_caller]
    fn comes_to(&self, node: usize, wanted: &str) {
        let begin = clock::now();
        loop {
            let ended = self.ask(node, &[]);
            if ended.said.contains(wanted) {
                return;
            }
            let late = Duration::from_nanos(clock::now() - begin) > SOON;
            self.must(!late, &format!("not {wanted:?} but {:?}\n{}", ended.code, ended.said));
        }
    }

    /// The lines for `[arbiter]` that a step's command prints on the first node.
    #[track_caller]
    fn lines(&self, step: &[&str]) -> String {
        let ended = self.ask(0, step);
        self.must(ended.code == Some(0), &format!("{step:?}: {ended:?}"));
        let lines = ended.said.lines().skip_while(|line| *line != "[arbiter]").skip(1);
        lines.take_while(|line| !line.is_empty() && !line.starts_with('#')).collect::<Vec<_>>().join("\n")
    }

    /// All members are given these lines, one after the other: those witnesses first, the MASTER last.
    fn take(&mut self, lines: &str, witnesses: &[usize]) {
        self.give_to_witnesses(lines, witnesses);
        self.give_to(1);
        self.give_to(0);
        self.must(self.watch.answered_by(0, SOON).is_some(), "the better node is not MASTER again");
        thread::sleep(Duration::from_secs(1));
    }

    /// These lines are everybody's from now on; those witnesses are restarted with them, one after the other.
    fn give_to_witnesses(&mut self, lines: &str, witnesses: &[usize]) {
        self.cluster.arbiter = format!("{lines}\n{LEASE}");
        for number in witnesses {
            if let Some(mut witness) = self.witnesses[*number].take() {
                witness.kill();
            }
            self.witnesses[*number] = Some(self.witness(*number));
            thread::sleep(Duration::from_secs(2));
        }
    }

    /// A node is restarted in good order with the present lines, and waited for.
    fn give_to(&mut self, node: usize) {
        self.nodes[node].signal(Part::Guardian, Signal::SIGTERM);
        let ended = self.nodes[node].wait(SOON).is_some();
        self.must(ended, "it does not end");
        self.start_again(node);
    }

    /// A node that has ended is started with the present lines.
    fn start_again(&mut self, node: usize) {
        self.files[node] = self.cluster.write(&self.lan, node).unwrap();
        let starts = |program: &Program| program.said().matches("INIT -> BACKUP").count();
        let before = starts(&self.nodes[node]);
        self.nodes[node] = self.node(node);
        let begin = clock::now();
        while starts(&self.nodes[node]) == before {
            let late = Duration::from_nanos(clock::now() - begin) > SOON;
            self.must(!late, "it does not start");
            thread::sleep(Duration::from_millis(50));
        }
        thread::sleep(SETTLED);
    }

    /// The MASTER's machine stands still; the other node takes over with what it has, once the gate has shut. Then the machine is
    /// gone for good, with its addresses.
    fn lose_the_master(&mut self, what: &str) {
        let gates = Gates::watch(&self.nodes, "VI_1");
        thread::sleep(Duration::from_millis(200));
        let begin = clock::now();
        self.nodes[0].signal(Part::Both, Signal::SIGSTOP);
        let answered = self.watch.answered_by(1, SOON);
        self.must(answered.is_some(), &format!("{what}: nobody takes over"));
        let silent = Duration::from_nanos(answered.unwrap_or(begin) - begin);
        println!("{what}: the other node answers {silent:.2?} after the MASTER's last word");
        thread::sleep(Duration::from_millis(200));
        self.never_both(what, &gates.end());
        self.nodes[0].kill();
        let address = format!("{VIP}/24");
        let namespace = &self.lan.node(0).namespace;
        let log = self.lan.room().join("ip.log");
        let removed = Program::start(namespace, &["ip", "addr", "del", &address, "dev", INTERFACE], &log);
        assert!(removed.unwrap().end(SOON).is_some());
    }

    /// Nobody may hold once a lease is over, and both what is named first.
    fn falls_silent(&self, what: &str) {
        let begin = clock::now();
        while !self.watch.holders().is_empty() {
            let late = Duration::from_nanos(clock::now() - begin) > SOON;
            self.must(!late, &format!("{what}: somebody still has the address"));
            thread::sleep(Duration::from_millis(10));
        }
        println!("{what}: nobody has the address {:.2?} later", Duration::from_nanos(clock::now() - begin));
    }

    /// What the client and the kernels saw since.
    fn judge(&self, what: &str, since: u64) {
        let now = clock::now();
        let mut answers: Vec<(u64, usize)> = [0, 1]
            .into_iter()
            .flat_map(|node| self.watch.answers_of(node, since, now).into_iter().map(move |at| (at, node)))
            .collect();
        answers.sort_unstable();
        let gaps = answers.windows(2).map(|pair| Duration::from_nanos(pair[1].0 - pair[0].0));
        let longest = gaps.max().unwrap_or_default();
        let overlap = self.watch.overlap(since, now);
        println!("{what}: longest silence of the client {longest:?}, gates open at once for {overlap:?}");
        self.must(overlap == Duration::ZERO, &format!("{what}: both held the address"));
        self.must(longest < HANDOVER, &format!("{what}: {longest:?} without an answer"));
    }

    /// Both gates were open, and never at once.
    fn never_both(&self, what: &str, open: &[Spans]) {
        let [one, other] = open else { panic!("{open:?}") };
        let overlap = Duration::from_nanos(one.intersection(other).total());
        self.must(
            one.total() > 0 && overlap == Duration::ZERO,
            &format!("{what}: both held the address: gates open at once for {overlap:?}, or one never"),
        );
    }
}

#[test]
fn from_none_to_a_quorum_to_etcd_and_back_to_none_costs_handovers_only() {
    let mut world = World::start("type = \"none\"", &[], true);
    let endpoint = etcd::endpoint(&world.lan, ETCD);

    let begun = clock::now();
    let lines = world.lines(&["move", "n1", "n2", "w"]);
    world.take(&lines, &[0]);
    world.comes_to(0, "complete: all voters agree on generation 1");
    world.judge("none to quorum", begun);

    let begun = clock::now();
    let lines = world.lines(&["move", "etcd", "--endpoint", &endpoint]);
    assert!(lines.contains("joint_voters"), "{lines}");
    // Nothing is skipped.
    let refused = world.ask(0, &["next"]);
    assert!(refused.code != Some(0), "{refused:?}");
    world.take(&lines, &[0]);
    world.comes_to(0, "both authorities lend");
    let lines = world.lines(&["next"]);
    world.take(&lines, &[0]);
    world.comes_to(0, "remove former_joint_voters");
    let lines = world.lines(&["next"]);
    world.take(&lines, &[]);
    world.comes_to(0, "complete: all voters agree on generation 3");
    // Nothing depends on the old authority any more.
    world.witnesses[0] = None;
    world.judge("quorum to etcd", begun);

    let begun = clock::now();
    let lines = world.lines(&["move", "n1", "n2", "w"]);
    assert!(lines.contains("joint_voters = [\"etcd\"]"), "{lines}");
    world.take(&lines, &[0]);
    world.comes_to(0, "both authorities lend");
    let lines = world.lines(&["next"]);
    world.take(&lines, &[0]);
    world.comes_to(0, "remove former_joint_voters");
    let lines = world.lines(&["next"]);
    world.take(&lines, &[0]);
    world.comes_to(0, "complete: all voters agree on generation 5");
    world.judge("etcd to quorum", begun);

    let begun = clock::now();
    let said = world.ask(0, &["move", "none"]).said;
    assert!(said.contains("type = \"none\""), "{said}");
    world.take("type = \"none\"", &[]);
    world.judge("quorum to none", begun);
}

#[test]
fn from_one_witness_to_three_costs_handovers_only() {
    let mut world = World::start("type = \"quorum\"\nvoters = [\"w\"]", &[0], false);
    let begun = clock::now();
    let lines = world.lines(&["move", "w", "w2", "w3"]);
    world.take(&lines, &[1, 2, 0]);
    world.comes_to(0, "both authorities lend");
    let lines = world.lines(&["next"]);
    world.take(&lines, &[1, 2, 0]);
    world.comes_to(0, "remove former_joint_voters");
    let lines = world.lines(&["next"]);
    world.take(&lines, &[1, 2, 0]);
    world.comes_to(0, "complete: all voters agree on generation 3");
    world.judge("one witness to three", begun);
    // The first can go.
    let begun = clock::now();
    world.witnesses[0] = None;
    thread::sleep(SETTLED);
    world.judge("without the first witness", begun);
}

/// Where only witnesses vote, with a fault in the middle of each step: the nodes are of two generations when the MASTER's machine
/// loses power, each authority is away in turn while both are needed, the lines between the nodes are cut. Then the move goes on.
#[test]
fn whatever_fails_in_the_middle_of_a_move_two_never_hold_and_it_can_go_on() {
    let mut world = World::start("type = \"quorum\"\nvoters = [\"w\", \"w2\", \"w3\"]", &[0, 1, 2], true);
    let endpoint = etcd::endpoint(&world.lan, ETCD);
    let joint = world.lines(&["move", "etcd", "--endpoint", &endpoint]);

    // The other node alone has the lines of the first step.
    world.give_to_witnesses(&joint, &[0, 1, 2]);
    world.give_to(1);
    world.refuses(1, "restart n1 with generation 2");
    world.lose_the_master("voters and etcd, the MASTER a step behind");
    world.refuses(1, "n1 does not answer");
    world.start_again(0);
    world.must(world.watch.answered_by(0, SOON).is_some(), "the better node is not MASTER again");
    world.comes_to(0, "both authorities lend");

    // Both are needed; and the nodes hear nothing of each other.
    let gates = Gates::watch(&world.nodes, "VI_1");
    for network in [Network::Heartbeat(0), Network::Heartbeat(1), Network::Lan] {
        world.lan.cut_nodes(network, Class::All).unwrap();
    }
    for number in [0, 1] {
        world.witnesses[number] = None;
    }
    world.falls_silent("a majority of the old voters away");
    for number in [0, 1] {
        world.witnesses[number] = Some(world.witness(number));
    }
    world.must(world.watch.answered_by(0, SOON).is_some(), "nobody is MASTER with the voters back");
    world.etcd(Signal::SIGSTOP);
    world.falls_silent("etcd stands still");
    world.etcd(Signal::SIGCONT);
    world.must(world.watch.answered_by(0, SOON).is_some(), "nobody is MASTER with etcd back");
    world.lan.heal().unwrap();
    world.comes_to(0, "both authorities lend");
    world.never_both("the lines cut, and either authority away", &gates.end());

    // The second step: the node that has it begins to wait until the old voters are past the first; then it is alone.
    let alone = world.lines(&["next"]);
    world.give_to_witnesses(&alone, &[0, 1, 2]);
    world.give_to(1);
    world.refuses(1, "restart n1 with generation 3");
    world.lose_the_master("etcd alone, the MASTER a step behind");
    world.start_again(0);
    world.must(world.watch.answered_by(0, SOON).is_some(), "the better node is not MASTER again");
    world.comes_to(0, "remove former_joint_voters");

    let last = world.lines(&["next"]);
    world.give_to_witnesses(&last, &[]);
    world.give_to(1);
    world.lose_the_master("the last step, the MASTER a step behind");
    world.start_again(0);
    world.must(world.watch.answered_by(0, SOON).is_some(), "the better node is not MASTER again");
    world.comes_to(0, "complete: all voters agree on generation 3");
}
