//! etcd is down for good: what each policy makes of it (D4), measured at a client and held against the bounds that
//! docs/configuration.md gives. Needs root.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::thread;
use std::time::Duration;

use keepone_chaos::fault::{Class, Network, Part};
use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::VIP;
use keepone_proto::lease::timing::LeaseTiming;
use keepone_tests::cluster::Cluster;
use keepone_tests::etcd;
use keepone_tests::lan::Lan;
use keepone_tests::observe::Watch;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

/// L_a.
const LEASE: Duration = Duration::from_secs(2);
/// Late threads on a machine that is busy with other tests; the client's stamps are those of one.
const BUSY: Duration = Duration::from_millis(250);
/// What a client may miss where nothing is wrong: the machine's stalls.
const NOISE: Duration = Duration::from_millis(300);
/// Wide: a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(40);
/// m·h, after which a peer counts as silent.
const SILENCE: Duration = Duration::from_millis(300);
/// Three Advertisements of 250 ms and the Skew_Time of priority 100 (RFC 9568, 6.1).
const MASTER_DOWN: Duration = Duration::from_millis(3 * 250 + 250 * 156 / 256);
/// P2: how long two may hold once every path works again.
const X_SYM: Duration = Duration::from_millis(120);

/// Two nodes and a client; the better node holds under a key of etcd.
struct World {
    nodes: [Program; 2],
    server: Program,
    watch: Watch,
    lan: Lan,
}

fn since(from: u64, to: u64) -> Duration {
    Duration::from_nanos(to.saturating_sub(from))
}

impl World {
    fn steady(policy: &str) -> Self {
        let lan = Lan::build(2).unwrap();
        let server = etcd::start(&lan, 0, &[0], &[]).unwrap();
        let mut cluster = Cluster::new(&lan).unwrap();
        cluster.arbiter = format!(
            "type = \"etcd\"\nendpoints = [\"{}\"]\nlease = \"{}ms\"\npolicy = \"{policy}\"",
            etcd::endpoint(&lan, 0),
            LEASE.as_millis()
        );
        let keepone = keepone_tests::binary::find("keepone");
        let nodes = [0, 1].map(|node| {
            let file = cluster.write(&lan, node).unwrap();
            lan.start(node, &[keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
        });
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        let world = World { nodes, server, watch, lan };
        world.must(world.watch.answered_by(0, SOON).is_some(), "the better node does not become MASTER");
        // The other asks for its promise, and the first renews, many times.
        thread::sleep(LEASE);
        world
    }

    #[track_caller]
    fn must(&self, good: bool, what: &str) {
        if !good {
            let [one, other] = &self.nodes;
            panic!("{what}\n{}\n--\n{}\n--\n{}", one.said(), other.said(), self.server.said());
        }
    }

    /// Kills etcd; when.
    fn lose_etcd(&mut self) -> u64 {
        let at = clock::now();
        self.server.kill();
        at
    }

    /// How long after `at` a node still answered, seen until now.
    fn answered_for(&self, node: usize, at: u64) -> Duration {
        let answers = self.watch.answers_of(node, at, clock::now());
        answers.last().map_or(Duration::ZERO, |last| since(at, *last))
    }

    /// The client's longest wait for the better node from `at` on, until now.
    fn longest_silence(&self, at: u64) -> Duration {
        let answers = self.watch.answers_of(0, at, clock::now());
        let all: Vec<u64> = [at].into_iter().chain(answers).chain([clock::now()]).collect();
        all.iter().zip(all.iter().skip(1)).map(|(one, next)| since(*one, *next)).max().unwrap_or(SOON)
    }

    /// A holder whose last renewal or promise was asked for within R before `at` is silent by `L_h` after it.
    #[track_caller]
    fn silent_within_the_lease_after(&self, at: u64, what: &str) {
        let timing = LeaseTiming::for_lease(LEASE);
        let (most, least) = (timing.holder_lease(), timing.holder_lease() - timing.renewal_interval());
        thread::sleep(LEASE * 3 / 2);
        let held = self.answered_for(0, at);
        println!("{what}: silent {held:?} later, documented {least:?} to {most:?}");
        self.must(held <= most + BUSY, &format!("{what}: it holds for {held:?}, {most:?} is the most"));
        self.must(held + BUSY >= least, &format!("{what}: it holds for {held:?} only, {least:?} is the least"));
        self.must(self.answered_for(1, at).is_zero(), "the other holds");
    }
}

#[test]
fn under_strict_the_holder_is_silent_when_its_lease_has_run_out_d4() {
    let mut world = World::steady("strict");
    let gone = world.lose_etcd();
    world.silent_within_the_lease_after(gone, "strict, etcd gone");
    world.must(world.nodes.iter().any(|node| node.said().contains("alert lease-lost of VI_1")), "it is not told");
}

#[test]
fn under_degrade_the_holder_goes_on_until_a_promise_is_missing_d4_i13() {
    let mut world = World::steady("degrade");
    let gone = world.lose_etcd();
    thread::sleep(LEASE * 2);
    let silence = world.longest_silence(gone);
    println!("degrade, etcd gone: the client waited {silence:?} at most, documented 0");
    world.must(silence < NOISE, &format!("silent for {silence:?} when promises took over from etcd"));
    world.must(world.answered_for(1, gone).is_zero(), "who has promised holds");
    let stopped = clock::now();
    world.nodes.iter().skip(1).for_each(|node| node.signal(Part::Both, Signal::SIGSTOP));
    world.silent_within_the_lease_after(stopped, "degrade, the other node stopped");
}

#[test]
fn under_i_accept_dual_master_vrrps_timer_decides_and_one_lets_go_after_a_repair_d4_p2() {
    let mut world = World::steady("i-accept-dual-master");
    let gone = world.lose_etcd();
    thread::sleep(LEASE * 2);
    let silence = world.longest_silence(gone);
    println!("i-accept-dual-master, etcd gone: the client waited {silence:?} at most, documented 0");
    world.must(silence < NOISE, &format!("silent for {silence:?} when etcd went away"));
    world.must(world.answered_for(1, gone).is_zero(), "the other claims although it hears the first");

    let cut = clock::now();
    for network in [Network::Lan, Network::Heartbeat(0), Network::Heartbeat(1)] {
        world.lan.cut_nodes(network, Class::All).unwrap();
    }
    let claimed = world.watch.has(1, SOON);
    let claimed = claimed.map_or(SOON, |at| since(cut, at));
    // Whoever claims asks etcd for three R before it goes without.
    let most = MASTER_DOWN.max(SILENCE + 3 * LeaseTiming::for_lease(LEASE).renewal_interval());
    println!("i-accept-dual-master, all lines cut: two hold {claimed:?} later, documented {most:?}");
    world.must(claimed <= most + BUSY * 2, &format!("the other claims {claimed:?} after the cut"));
    world.must(
        claimed + BUSY >= MASTER_DOWN,
        &format!("the other claims {claimed:?} after the cut, before VRRP's timer"),
    );

    thread::sleep(Duration::from_secs(1));
    let healed = clock::now();
    world.lan.heal().unwrap();
    world.must(world.watch.alone(0, SOON).is_some(), "two holders after the repair");
    let overlap = world.watch.overlap(healed, clock::now());
    println!("i-accept-dual-master, healed: two held for {overlap:?} more, documented {X_SYM:?}");
    world.must(overlap <= X_SYM + BUSY, &format!("both held for {overlap:?} after the repair"));
}
