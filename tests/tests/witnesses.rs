//! Three witnesses alone decide for a pair: they are upgraded one after the other, and their operator takes votes back.
//! Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::binary;
use keepone_tests::cluster::Cluster;
use keepone_tests::gates::Gates;
use keepone_tests::lan::Lan;
use keepone_tests::observe::Watch;
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use keepone_tests::unbroken::Unbroken;
use nix::sys::signal::Signal;
use serde_json::Value;

/// Wide: a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(30);
/// Below a Master_Down_Interval of adverts of 250 ms: two in a row may be late, and nobody may have been Master between.
const LATEST: Duration = Duration::from_millis(700);

struct Witnesses {
    witnesses: Vec<Program>,
    files: Vec<PathBuf>,
    nodes: Vec<Program>,
    watch: Watch,
    lan: Lan,
}

impl Witnesses {
    fn steady() -> Self {
        let lan = Lan::with_witnesses(2, 3).unwrap();
        let mut cluster = Cluster::new(&lan).unwrap();
        cluster.quorum_of_witnesses();
        let files: Vec<PathBuf> = (0..3).map(|number| cluster.write_witness(&lan, number).unwrap()).collect();
        let witnesses = (0..3).map(|number| start(&lan, number, &files[number])).collect();
        let program = binary::find("keepone");
        let nodes = (0..2).map(|node| {
            let file = cluster.write(&lan, node).unwrap();
            lan.start(node, &[program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
        });
        let nodes = nodes.collect();
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        let all = Witnesses { witnesses, files, nodes, watch, lan };
        assert!(all.watch.answered_by(0, SOON).is_some(), "{}", all.said());
        (0..3).for_each(|number| _ = all.lent_to(number, "n1"));
        // All that follows a start has been said.
        thread::sleep(Duration::from_secs(2));
        all
    }

    fn said(&self) -> String {
        let of = |programs: &[Program]| programs.iter().map(Program::said).collect::<Vec<_>>().join("\n--\n");
        format!("{}\n==\n{}", of(&self.nodes), of(&self.witnesses))
    }

    /// What a command of a witness's says; the last line is the answer.
    fn ask(&self, number: usize, arguments: &[&str]) -> Option<Value> {
        let mut command = Command::new(binary::find("keepone-witness"));
        let output = command.args(arguments).arg("-c").arg(&self.files[number]).output().unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until a witness lends the domain to that node: the lease as it tells it.
    #[track_caller]
    fn lent_to(&self, number: usize, node: &str) -> Value {
        eventually(
            SOON,
            || format!("witness {number} does not lend to {node}: {:?}\n{}", self.leases(number), self.said()),
            || self.leases(number).filter(|lease| lease["holder"] == node),
        )
    }

    fn leases(&self, number: usize) -> Option<Value> {
        self.ask(number, &["leases", "--json"])
    }
}

fn start(lan: &Lan, number: usize, file: &std::path::Path) -> Program {
    let program = binary::find("keepone-witness");
    let command = [program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
    lan.start_at(Kind::Witness(number), &command).unwrap()
}

#[test]
fn three_witnesses_restarted_one_after_the_other_are_noticed_by_no_client() {
    let mut all = Witnesses::steady();
    let before = all.lent_to(0, "n1")["epoch"].clone();
    let unbroken = Unbroken::watch(&all.lan, 0, VIP).unwrap();
    // In good order, as in an upgrade, and as by a loss of power.
    for how in [Signal::SIGTERM, Signal::SIGKILL] {
        for number in 0..3 {
            all.witnesses[number].signal(Part::Both, how);
            assert!(all.witnesses[number].wait(SOON).is_some(), "it does not end\n{}", all.said());
            all.witnesses[number] = start(&all.lan, number, &all.files[number]);
            let lease = all.lent_to(number, "n1");
            assert_eq!(lease["epoch"], before, "the same grant goes on\n{}", all.said());
        }
    }
    // A configuration read again is noticed no more.
    for number in 0..3 {
        let text = std::fs::read_to_string(&all.files[number]).unwrap();
        std::fs::write(&all.files[number], text.replace("[[cluster]]\n", "[[cluster]]\ndomains = [\"VI_1\"]\n"))
            .unwrap();
        all.witnesses[number].signal(Part::Both, Signal::SIGHUP);
        eventually(
            SOON,
            || format!("the name is not taken over: {:?}\n{}", all.leases(number), all.said()),
            || all.leases(number).filter(|lease| lease["name"] == "VI_1"),
        );
    }
    println!("{}", unbroken.end(LATEST, &|| all.said()));
    assert_eq!(all.lent_to(0, "n1")["epoch"], before, "{}", all.said());
    assert_eq!(all.watch.holders(), [0]);
}

#[test]
fn a_vote_taken_back_moves_nothing_and_two_of_three_move_the_domain_without_two_holders() {
    let all = Witnesses::steady();
    let gates = Gates::watch(&all.nodes, "VI_1");
    let domain = all.lent_to(0, "n1")["domain"].as_str().unwrap().to_owned();
    let revoke = |number| {
        let revoked = all.ask(number, &["revoke", &domain, "--seconds", "60", "--json"]).unwrap();
        assert_eq!((&revoked["node"], &revoked["alone"]), (&"n1".into(), &false.into()), "{revoked}");
    };
    revoke(0);
    thread::sleep(Duration::from_secs(2));
    assert_eq!(all.watch.holders(), [0], "two votes are a majority\n{}", all.said());
    assert!(all.nodes[0].said().contains("voter-refuses"), "{}", all.said());
    revoke(1);
    assert!(all.watch.alone(1, SOON).is_some(), "n2 does not take over\n{}", all.said());
    let lease = all.lent_to(0, "n2");
    assert_eq!(lease["barred"][0], "n1", "{lease}");
    // After a lapse the address itself may stand for a grace of a second, behind a gate that is shut (R5): that n2 is
    // MASTER takes it away, a moment later. To hold is to have the gate open.
    let [one, other] = &gates.end()[..] else { panic!("not two gates") };
    assert!(one.total() > 0 && other.total() > 0, "{one:?} and {other:?} were not seen open\n{}", all.said());
    let both = one.intersection(other);
    assert_eq!(both.total(), 0, "both held: {both:?}\n{}", all.said());
}
