//! `keepone voters` beside real agents and a real witness: every voter answers, the agents don't notice, and a change
//! of the voter set is led to its end. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::binary;
use keepone_tests::cluster::Cluster;
use keepone_tests::lan::Lan;
use keepone_tests::observe::Watch;
use keepone_tests::program::{Ended, Program};
use nix::sys::signal::Signal;

/// Generous against a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(30);
const FIRST: &str = "voters = [\"n1\", \"n2\", \"w\"]";

struct Voters {
    witness: Program,
    nodes: Vec<Program>,
    files: Vec<PathBuf>,
    cluster: Cluster,
    watch: Watch,
    lan: Lan,
}

impl Voters {
    fn start() -> Self {
        let lan = Lan::with_witnesses(2, 2).unwrap();
        let mut cluster = Cluster::new(&lan).unwrap();
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        let witness = start_witness(&lan, &mut cluster, 0, FIRST);
        let files: Vec<PathBuf> = (0..2).map(|node| cluster.write(&lan, node).unwrap()).collect();
        let nodes = (0..2).map(|node| start_node(&lan, node, &files[node])).collect();
        let voters = Voters { witness, nodes, files, cluster, watch, lan };
        voters.must(voters.watch.alone(0, Duration::from_secs(15)).is_some(), "the better node does not become MASTER");
        voters
    }

    #[track_caller]
    fn must(&self, good: bool, what: &str) {
        if !good {
            let said: Vec<String> = self.nodes.iter().map(Program::said).collect();
            panic!("{what}\nn1 said:\n{}\nn2 said:\n{}\nw said:\n{}", said[0], said[1], self.witness.said());
        }
    }

    /// What `keepone voters` says on a node, with more arguments.
    fn ask(&self, node: usize, more: &[&str]) -> Ended {
        // A log of its own for each, as a program's is appended to.
        let log = self.lan.room().join(format!("voters-{}.log", clock::now()));
        let program = binary::find("keepone");
        let command = [&[program.to_str().unwrap(), "voters", "-c", self.files[node].to_str().unwrap()], more].concat();
        let namespace = &self.lan.node(node).namespace;
        Program::start(namespace, &command, &log).unwrap().end(Duration::from_secs(20)).unwrap()
    }

    /// Asks until it ends so and says what is wanted: a voter that was just started lends nothing for L_max.
    #[track_caller]
    fn comes_to(&self, node: usize, code: i32, wanted: impl Fn(&str) -> bool) -> String {
        let begin = clock::now();
        loop {
            let ended = self.ask(node, &[]);
            if ended.code == Some(code) && wanted(&ended.said) {
                return ended.said;
            }
            let late = Duration::from_nanos(clock::now() - begin) > SOON;
            self.must(!late, &format!("not {code} with what is wanted, but {:?}\n{}", ended.code, ended.said));
        }
    }
}

impl Voters {
    /// Ends a node's agent in good order and starts it with these lines of `[arbiter]`.
    fn restart_node(&mut self, node: usize, lines: &str) {
        self.cluster.arbiter = arbiter(lines);
        self.files[node] = self.cluster.write(&self.lan, node).unwrap();
        self.nodes[node].signal(Part::Guardian, Signal::SIGTERM);
        let ended = self.nodes[node].wait(SOON).is_some();
        self.must(ended, "it does not end");
        self.nodes[node] = start_node(&self.lan, node, &self.files[node]);
    }

    fn restart_witness(&mut self, lines: &str) {
        self.witness.kill();
        self.witness = start_witness(&self.lan, &mut self.cluster, 0, lines);
    }
}

fn start_node(lan: &Lan, node: usize, file: &std::path::Path) -> Program {
    let program = binary::find("keepone");
    lan.start(node, &[program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
}

fn start_witness(lan: &Lan, cluster: &mut Cluster, number: usize, lines: &str) -> Program {
    cluster.arbiter = arbiter(lines);
    let file = cluster.write_witness(lan, number).unwrap();
    let program = binary::find("keepone-witness");
    let host = lan.host(Kind::Witness(number));
    let command = [program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
    Program::start(&host.namespace, &command, &lan.room().join(format!("{}.log", host.name))).unwrap()
}

fn arbiter(lines: &str) -> String {
    format!("type = \"quorum\"\n{lines}\nlease = \"500ms\"")
}

/// The cells of a voter's row.
#[track_caller]
fn row<'a>(said: &'a str, name: &str) -> Vec<&'a str> {
    let line = said.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no row of {name} in\n{said}"))
        .split("  ")
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .collect()
}

#[test]
fn all_three_answer_and_one_that_is_stopped_is_named() {
    let mut voters = Voters::start();
    let said = voters.comes_to(0, 0, |said| row(said, "n2")[6] == "1" && row(said, "w")[6] == "1");
    assert!(said.contains("complete: all voters agree on generation 1"), "{said}");
    assert_eq!(row(&said, "n1")[..4], ["n1", "this node", "1", "1"], "{said}");
    assert_eq!(row(&said, "n2")[..4], ["n2", "yes", "1", "1"], "{said}");
    assert_eq!(row(&said, "w")[..4], ["w", "yes", "1", "1"], "{said}");
    // Both lend the domain to n1, and from the other side n1 is the one that is asked over a link.
    let said = voters.comes_to(1, 0, |said| said.contains("complete"));
    assert_eq!((row(&said, "n1")[1], row(&said, "n2")[1]), ("yes", "this node"), "{said}");

    // Asked again and again, nobody changes, and no connection between the agents is lost.
    let before: Vec<String> = voters.nodes.iter().map(Program::said).collect();
    for _ in 0..20 {
        assert_eq!(voters.ask(1, &[]).code, Some(0));
    }
    for (node, before) in voters.nodes.iter().zip(&before) {
        let said = node.said();
        let noticed = ["heartbeat-link-down", "MASTER -> ", "duplicate-node", "refused a connection"];
        let count = |text: &str| noticed.map(|words| text.matches(words).count());
        voters.must(count(&said) == count(before), "an agent noticed the questions");
    }

    // From the two nodes and the witness one can't go.
    let refused = voters.ask(0, &["remove", "w"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.said.contains("first add another voter"), "{refused:?}");

    let json = voters.ask(0, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.said).unwrap();
    assert_eq!((&json["complete"], json["voters"].as_array().unwrap().len()), (&true.into(), 3), "{json}");

    voters.witness.kill();
    let said = voters
        .comes_to(0, 1, |said| said.contains("to do: w does not answer: nothing comes back from 10.9.0.100:7947"));
    assert_eq!((row(&said, "w")[1], row(&said, "n2")[1]), ("no", "yes"), "{said}");
    let json = voters.ask(0, &["--json"]);
    assert_eq!(json.code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&json.said).unwrap();
    assert_eq!(json["voters"][2]["answers"], false, "{json}");
}

/// The lines for `[arbiter]` in what `keepone voters add` printed.
fn printed(said: &str) -> String {
    let lines = said.lines().skip_while(|line| *line != "[arbiter]").skip(1);
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_second_witness_is_added_as_the_command_says() {
    let mut voters = Voters::start();
    let began = clock::now();
    let added = voters.ask(0, &["add", "w2"]);
    assert_eq!(added.code, Some(0), "{added:?}");
    let lines = printed(&added.said);
    assert!(lines.contains("generation = 2") && lines.contains("former_voters"), "{added:?}");

    let second = start_witness(&voters.lan, &mut voters.cluster, 1, &lines);
    voters.restart_node(0, &lines);
    voters.comes_to(0, 1, |said| {
        said.contains("to do: restart n2, then w with generation 2") && row(said, "w2")[1] == "yes"
    });
    voters.restart_witness(&lines);
    voters.comes_to(0, 1, |said| said.contains("to do: restart n2 with generation 2"));
    voters.restart_node(1, &lines);
    let remove = "generation 2 votes: remove former_voters here and on n1, then n2, then w, then w2";
    voters.comes_to(0, 1, |said| said.contains(remove));
    // One change at a time.
    let refused = voters.ask(0, &["remove", "w"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.said.contains("a change is under way"), "{refused:?}");

    let settled = lines.lines().filter(|line| !line.starts_with("former_voters")).collect::<Vec<_>>().join("\n");
    voters.restart_node(0, &settled);
    voters.comes_to(0, 1, |said| said.contains("remove former_voters on n2, then w, then w2"));
    voters.restart_node(1, &settled);
    voters.restart_witness(&settled);
    drop(second);
    let _second = start_witness(&voters.lan, &mut voters.cluster, 1, &settled);
    voters.comes_to(0, 0, |said| said.contains("complete: all voters agree on generation 2"));
    let overlap = voters.watch.overlap(began, clock::now());
    voters.must(overlap == Duration::ZERO, "both held the address");
    voters.must(voters.watch.alone(0, Duration::from_secs(15)).is_some(), "the better node does not hold in the end");
}
