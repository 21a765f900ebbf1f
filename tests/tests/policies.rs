//! What becomes of a domain while its voters are silent, between real processes (D4): `strict`, `degrade`,
//! `i-accept-dual-master`. The only voter is a witness, which is killed. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::thread;
use std::time::Duration;

use keepone_chaos::fault::{Class, Network, Part};
use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::cluster::Cluster;
use keepone_tests::lan::Lan;
use keepone_tests::observe::Watch;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

/// L_a.
const LEASE: Duration = Duration::from_millis(500);
/// Late threads on a machine that is busy with other tests.
const BUSY: Duration = Duration::from_millis(1500);
/// Wide: a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(30);

/// Two nodes and a client; the better node holds under a grant of the witness.
struct World {
    nodes: [Program; 2],
    witness: Program,
    watch: Watch,
    cluster: Cluster,
    lan: Lan,
}

impl World {
    fn steady(policy: &str) -> Self {
        let lan = Lan::build(2).unwrap();
        let mut cluster = Cluster::new(&lan).unwrap();
        cluster.quorum_of_witnesses();
        let witness = start_witness(&lan, &cluster);
        let keepone = keepone_tests::binary::find("keepone");
        let nodes = [0, 1].map(|node| {
            let policy = format!("type = \"quorum\"\npolicy = \"{policy}\"");
            let text = cluster.of_node(&lan, node).replacen("type = \"quorum\"", &policy, 1);
            let file = lan.write(&format!("n{}.toml", node + 1), &text).unwrap();
            lan.start(node, &[keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
        });
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        let world = World { nodes, witness, watch, cluster, lan };
        world.must(world.watch.answered_by(0, SOON).is_some(), "the better node does not become MASTER");
        world.answered_only_by(&[0], Duration::from_secs(1));
        world
    }

    #[track_caller]
    fn must(&self, good: bool, what: &str) {
        if !good {
            let [one, other] = [0, 1].map(|node| self.nodes[node].said());
            panic!("{what}\n{one}\n--\n{other}\n--\n{}", self.witness.said());
        }
    }

    /// For a while exactly these nodes answer the client.
    #[track_caller]
    fn answered_only_by(&self, wanted: &[usize], time: Duration) {
        let from = clock::now();
        thread::sleep(time);
        let (nodes, _) = self.watch.answers(from, clock::now());
        self.must(nodes == wanted, &format!("{nodes:?} answered, it should have been {wanted:?}"));
    }

    fn claims_of(&self, node: usize) -> usize {
        self.nodes[node].said().matches("BACKUP -> CLAIMING").count()
    }

    /// The witness comes back, and one node holds under its grant.
    #[track_caller]
    fn one_holds_again(&mut self) {
        self.witness = start_witness(&self.lan, &self.cluster);
        let begin = clock::now();
        while self.watch.answers(begin, u64::MAX).1 == 0 {
            self.must(Duration::from_nanos(clock::now() - begin) < SOON, "nobody holds although the witness is back");
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(BUSY);
        let look = || {
            let from = clock::now();
            thread::sleep(Duration::from_secs(1));
            self.watch.answers(from, clock::now())
        };
        // Where the worse node was first, the better one takes over from it, once.
        let (nodes, count) = Some(look()).filter(|(nodes, _)| nodes.len() == 1).unwrap_or_else(look);
        self.must(nodes.len() == 1 && count > 10, &format!("{nodes:?} answered, it should have been one"));
    }
}

fn start_witness(lan: &Lan, cluster: &Cluster) -> Program {
    let program = keepone_tests::binary::find("keepone-witness");
    let file = cluster.write_witness(lan, 0).unwrap();
    lan.start_at(Kind::Witness(0), &[program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
}

#[test]
fn under_strict_nobody_holds_without_the_voters_d4() {
    let mut world = World::steady("strict");
    world.witness.kill();
    thread::sleep(LEASE + BUSY);
    world.answered_only_by(&[], LEASE * 4);
    world.must(world.nodes[0].said().contains("alert lease-lost of VI_1"), "the lost lease is not told");
    world.one_holds_again();
}

#[test]
fn under_degrade_a_master_holds_on_while_the_other_node_promises_and_no_longer_d4_i13() {
    let mut world = World::steady("degrade");
    // Whoever started first has claimed before.
    let (begin, claims) = (clock::now(), world.claims_of(1));
    world.witness.kill();
    // Several leases, of which the witness renews none; and the one who promised claims nothing.
    world.answered_only_by(&[0], LEASE * 8);
    let answers = world.watch.answers_of(0, begin, clock::now());
    let longest = answers.windows(2).map(|pair| pair[1] - pair[0]).max().map_or(SOON, Duration::from_nanos);
    world.must(longest < LEASE, &format!("silent for {longest:?} when the promises took over from the witness"));
    world.must(world.nodes[0].said().contains("alert degraded of VI_1"), "nobody is told that the voters are silent");
    world.must(world.claims_of(1) == claims, "the node that promised claims");

    // One promise too few: as under `strict`.
    world.nodes[1].signal(Part::Both, Signal::SIGSTOP);
    thread::sleep(LEASE + BUSY);
    world.answered_only_by(&[], LEASE * 4);
    // Who promises again lends nothing to somebody who let go; only the voters can.
    world.nodes[1].signal(Part::Both, Signal::SIGCONT);
    world.answered_only_by(&[], LEASE * 4);
    world.one_holds_again();
    world.must(world.nodes[0].said().contains("alert degraded of VI_1 is over"), "the alert stays");
}

#[test]
fn under_i_accept_dual_master_each_side_of_a_full_cut_holds_and_one_lets_go_when_it_heals_d4_p2() {
    let mut world = World::steady("i-accept-dual-master");
    world.witness.kill();
    world.answered_only_by(&[0], LEASE * 4);
    for network in [Network::Lan, Network::Heartbeat(0), Network::Heartbeat(1)] {
        world.lan.cut_nodes(network, Class::All).unwrap();
    }
    world.must(world.watch.has(1, SOON).is_some(), "the node that hears nobody does not claim");
    thread::sleep(Duration::from_secs(1));
    world.must(world.nodes[1].said().contains("alert dual-master-accepted"), "the risk is not told");

    let healed = clock::now();
    world.lan.heal().unwrap();
    world.must(world.watch.alone(0, SOON).is_some(), "two holders after the repair");
    let overlap = world.watch.overlap(healed, clock::now());
    // P2: one interval of Advertisements, which beats only make shorter.
    world.must(overlap <= Duration::from_millis(250) + BUSY, &format!("both held for {overlap:?} after the repair"));
    world.answered_only_by(&[0], Duration::from_secs(1));
    world.one_holds_again();
}
