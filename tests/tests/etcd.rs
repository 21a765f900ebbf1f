//! etcd as the arbiter: Debian's etcd, three members of it, and a pair of agents. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::{Class, Network, Part};
use keepone_chaos::netns::process::members;
use keepone_chaos::netns::topology::VIP;
use keepone_tests::cluster::Cluster;
use keepone_tests::etcd;
use keepone_tests::gates::Gates;
use keepone_tests::lan::Lan;
use keepone_tests::observe::Watch;
use keepone_tests::program::Program;
use keepone_tests::unbroken::Unbroken;
use nix::sys::signal::Signal;

const SERVERS: usize = 3;
const ALL: [usize; SERVERS] = [0, 1, 2];
/// L_a. etcd's own election takes up to a second here.
const LEASE: Duration = Duration::from_secs(2);
/// Late threads on a machine that is busy with other tests.
const BUSY: Duration = Duration::from_millis(2500);
/// Wide: a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(40);

struct World {
    nodes: [Program; 2],
    servers: Vec<Program>,
    watch: Watch,
    lan: Lan,
}

fn start_server(lan: &Lan, number: usize, of: &[usize]) -> Program {
    etcd::start(lan, number, of, &[]).unwrap()
}

impl World {
    /// The better node holds.
    fn steady() -> Self {
        World::with(&[&ALL], "")
    }

    /// The same with grants that hang on leases of etcd's.
    fn on_leases() -> Self {
        World::with(&[&ALL], "etcd_lease = true")
    }

    /// The same at the servers of several clusters of etcd, with more lines about the arbiter.
    fn with(clusters: &[&[usize]], lines: &str) -> Self {
        let lan = Lan::with_witnesses(2, SERVERS).unwrap();
        let of =
            |cluster: &&[usize]| cluster.iter().map(|number| start_server(&lan, *number, cluster)).collect::<Vec<_>>();
        let servers = clusters.iter().flat_map(of).collect();
        let mut cluster = Cluster::new(&lan).unwrap();
        let endpoints: Vec<String> = (0..SERVERS).map(|number| etcd::endpoint(&lan, number)).collect();
        cluster.arbiter =
            format!("type = \"etcd\"\nendpoints = {endpoints:?}\nlease = \"{}ms\"\n{lines}", LEASE.as_millis());
        let program = keepone_tests::binary::find("keepone");
        let nodes = [0, 1].map(|node| {
            let file = cluster.write(&lan, node).unwrap();
            lan.start(node, &[program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
        });
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        let world = World { nodes, servers, watch, lan };
        world.must(world.watch.answered_by(0, SOON).is_some(), "the better node does not become MASTER");
        thread::sleep(Duration::from_secs(1));
        world
    }

    #[track_caller]
    fn must(&self, good: bool, what: &str) {
        if !good {
            let all = self.nodes.iter().chain(&self.servers).map(Program::said).collect::<Vec<_>>();
            panic!("{what}\n{}", all.join("\n--\n"));
        }
    }

    fn now(&self) -> u64 {
        keepone_chaos::netns::clock::now()
    }

    /// How long after the deed the other node answers.
    #[track_caller]
    fn follows_after(&self, deed: &str, at: u64) -> Duration {
        let taken = self.watch.answered_by(1, SOON);
        self.must(taken.is_some(), &format!("after {deed} nobody takes over"));
        let after = Duration::from_nanos(taken.unwrap().saturating_sub(at));
        println!("after {deed}: the other answers {after:?} later");
        after
    }

    /// The names of all keys.
    fn keys(&self) -> String {
        let at = etcd::endpoint(&self.lan, 0);
        etcd::control(&self.lan, 0, &["--endpoints", &at, "get", "--prefix", "--keys-only", "/keepone/"]).unwrap()
    }

    /// What a command says of the better node.
    fn ask(&self, words: &[&str]) -> String {
        let run_dir = self.lan.room().join("n1-run");
        let keepone = keepone_tests::binary::find("keepone");
        let output = Command::new(keepone).args(words).arg("--run-dir").arg(run_dir).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// A client was answered by one node, and then by no other but the next: never by both in turn. An address itself stays
    /// for seconds where a node has died, behind the shut gate.
    #[track_caller]
    fn in_this_order(&self, from: u64, nodes: &[usize]) {
        let now = self.now();
        let mut answers: Vec<(u64, usize)> = [0, 1]
            .into_iter()
            .flat_map(|node| self.watch.answers_of(node, from, now).into_iter().map(move |at| (at, node)))
            .collect();
        answers.sort_unstable();
        let mut order: Vec<usize> = answers.into_iter().map(|(_, node)| node).collect();
        order.dedup();
        self.must(order == nodes, &format!("answered by {order:?}"));
    }
}

#[test]
fn a_dead_node_is_replaced_when_its_record_has_stood_still_for_a_lease() {
    let mut world = World::steady();
    let begun = world.now() - 500_000_000;
    world.nodes[0].kill();
    let killed = world.now();
    let after = world.follows_after("the death of the node", killed);
    world.must(after < LEASE + BUSY, &format!("{after:?} until the other answered"));
    world.in_this_order(begun, &[0, 1]);
}

#[test]
fn without_heartbeats_one_holds_and_with_one_server_less_it_holds_on() {
    let mut world = World::steady();
    let begun = world.now();
    for network in [Network::Heartbeat(0), Network::Heartbeat(1), Network::Lan] {
        world.lan.cut_nodes(network, Class::All).unwrap();
    }
    thread::sleep(LEASE * 2);
    world.servers[1].kill();
    thread::sleep(LEASE * 3);
    world.must(world.watch.answered_by(0, SOON).is_some(), "the better node has lost it");
    world.in_this_order(begun, &[0]);
}

#[test]
fn who_stops_hands_over_and_without_etcd_nobody_holds() {
    let mut world = World::steady();
    // The first half a second of what is looked at is the better node's.
    let begun = world.now() - 500_000_000;
    let (stopped, _) = (world.now(), world.nodes[0].signal(Part::Guardian, Signal::SIGTERM));
    let after = world.follows_after("the order to stop", stopped);
    world.must(after < LEASE, &format!("{after:?} is no handover"));
    world.servers.iter_mut().for_each(Program::kill);
    let gone = world.now() + u64::try_from((LEASE + BUSY).as_nanos()).unwrap();
    thread::sleep(LEASE + BUSY + Duration::from_secs(2));
    let late = world.watch.answers_of(1, gone, world.now());
    world.must(late.is_empty(), "it holds on without etcd");
    world.in_this_order(begun, &[0, 1]);
    // They come back with all that they knew.
    world.servers = ALL.iter().map(|number| start_server(&world.lan, *number, &ALL)).collect();
    let back = world.now();
    thread::sleep(Duration::from_secs(1));
    let begin = std::time::Instant::now();
    while world.watch.answers_of(1, back, world.now()).is_empty() {
        world.must(begin.elapsed() < SOON, "nobody takes it up again");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_second_cluster_of_etcd_among_the_endpoints_is_never_believed() {
    let mut world = World::with(&[&[0], &[1], &[2]], "");
    world.servers[0].kill();
    let gone = world.now() + u64::try_from((LEASE + BUSY).as_nanos()).unwrap();
    thread::sleep(LEASE + BUSY + Duration::from_secs(3));
    let (late, _) = world.watch.answers(gone, world.now());
    world.must(late.is_empty(), &format!("{late:?} holds by another etcd"));
    for node in &world.nodes {
        world.must(node.said().contains("it is of another etcd cluster"), "it is not said");
    }
}

/// The leader's number, the id of another member, and the store's revision.
fn look(lan: &Lan) -> (usize, u64, u64) {
    let endpoints: Vec<String> = ALL.iter().map(|number| etcd::endpoint(lan, *number)).collect();
    let text =
        etcd::control(lan, 0, &["--endpoints", &endpoints.join(","), "endpoint", "status", "-w", "json"]).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let of = |number: usize, path: &str| {
        let url = etcd::endpoint(lan, number);
        let own = all.as_array().unwrap().iter().find(|one| one["Endpoint"] == *url).unwrap();
        own.pointer(path).unwrap().as_u64().unwrap()
    };
    let leads = |number: &usize| of(*number, "/Status/leader") == of(*number, "/Status/header/member_id");
    let leader = ALL.into_iter().find(leads).unwrap();
    let revision = ALL.into_iter().map(|number| of(number, "/Status/header/revision")).max().unwrap();
    (leader, of((leader + 1) % SERVERS, "/Status/header/member_id"), revision)
}

#[test]
fn slow_disks_compactions_and_a_leader_that_changes_in_the_middle_of_a_renewal_move_nothing() {
    let world = World::steady();
    let begun = world.now();
    let mut leaders = Vec::new();
    for _ in 0..5 {
        // As by a disk that does not come back from an fsync: shorter than an election, longer than a renewal takes.
        for server in &world.servers {
            server.signal(Part::Both, Signal::SIGSTOP);
            thread::sleep(Duration::from_millis(150));
            server.signal(Part::Both, Signal::SIGCONT);
            thread::sleep(Duration::from_millis(50));
        }
        let (leader, other, revision) = look(&world.lan);
        leaders.push(leader);
        let at = etcd::endpoint(&world.lan, leader);
        etcd::control(&world.lan, leader, &["--endpoints", &at, "compact", &revision.to_string()]).unwrap();
        // It may have lost an election meanwhile: then the leader has changed as well.
        let _ = etcd::control(&world.lan, leader, &["--endpoints", &at, "move-leader", &format!("{other:x}")]);
    }
    let answers = world.watch.answers_of(0, begun, world.now());
    let gaps = answers.iter().zip(answers.iter().skip(1)).map(|(one, next)| next - one);
    let longest = Duration::from_nanos(gaps.max().unwrap_or(u64::MAX));
    println!("led by {leaders:?}; the client waited {longest:?} at most");
    leaders.dedup();
    world.must(leaders.len() > 2, &format!("the leader did not change: {leaders:?}"));
    world.must(longest < LEASE / 4, &format!("silent for {longest:?}"));
    world.in_this_order(begun, &[0]);
    world.must(!world.nodes.iter().any(|node| node.said().contains("alert lease-lost")), "a lease was lost");
}

/// Above what an end takes to be carried out by etcd, which looks for such each half a second.
const ENDS: Duration = Duration::from_secs(1);

#[test]
fn where_grants_hang_on_etcds_leases_a_dead_node_is_followed_when_its_lease_has_ended() {
    let mut world = World::on_leases();
    let begun = world.now() - 500_000_000;
    world.must(world.keys().contains("/sessions/1-"), &format!("no session: {}", world.keys()));
    world.nodes[0].kill();
    let killed = world.now();
    let after = world.follows_after("the death of the node", killed);
    // It was made anew a fifth of it before at the earliest.
    world.must(after > LEASE * 3 / 4, &format!("{after:?} until the other answered: before etcd's lease had ended"));
    world.must(after < LEASE + ENDS + BUSY, &format!("{after:?} until the other answered"));
    world.in_this_order(begun, &[0, 1]);
    // The dead one's session goes with it, and the leases that were left behind end.
    let keys = world.keys();
    world.must(!keys.contains("/sessions/1-") && keys.contains("/sessions/2-"), &format!("there are {keys}"));
    let at = etcd::endpoint(&world.lan, 0);
    let leases = etcd::control(&world.lan, 0, &["--endpoints", &at, "lease", "list"]).unwrap();
    world.must(leases.lines().count() < 30, &format!("they pile up: {leases}"));
}

#[test]
fn where_grants_hang_on_etcds_leases_a_leaders_death_moves_nothing_and_a_stop_hands_over() {
    let mut world = World::on_leases();
    let begun = world.now() - 500_000_000;
    let (leader, ..) = look(&world.lan);
    world.servers[leader].kill();
    thread::sleep(LEASE * 3);
    world.must(world.watch.answered_by(0, SOON).is_some(), "the better node has lost it");
    let (stopped, _) = (world.now(), world.nodes[0].signal(Part::Guardian, Signal::SIGTERM));
    let after = world.follows_after("the order to stop", stopped);
    world.must(after < LEASE, &format!("{after:?} is no handover"));
    world.in_this_order(begun, &[0, 1]);
}

#[test]
fn who_stands_still_for_longer_than_etcds_lease_does_not_hold_beside_the_next() {
    let world = World::on_leases();
    let begun = world.now() - 500_000_000;
    let gates = Gates::watch(&world.nodes, "VI_1");
    // Both maps are found, and n1's gate is seen open.
    thread::sleep(Duration::from_millis(500));
    world.nodes[0].signal(Part::Both, Signal::SIGSTOP);
    world.must(world.watch.answered_by(1, SOON).is_some(), "nobody takes over");
    world.nodes[0].signal(Part::Both, Signal::SIGCONT);
    let resumed = world.now();
    // The better one asks for it again, and is handed it.
    let begin = std::time::Instant::now();
    while world.watch.answers_of(0, resumed, world.now()).is_empty() {
        world.must(begin.elapsed() < SOON, "it is not handed back");
        thread::sleep(Duration::from_millis(50));
    }
    thread::sleep(Duration::from_secs(1));
    world.in_this_order(begun, &[0, 1, 0]);
    let [one, other] = &gates.end()[..] else { panic!("not two gates") };
    world.must(one.total() > 0 && other.total() > 0, &format!("{one:?} and {other:?} were not seen open"));
    let both = one.intersection(other);
    world.must(both.total() == 0, &format!("both held: {both:?}"));
}

/// Of some thousand questions, one each millisecond: what a busy machine loses without any upgrade.
const NOISE: usize = 3;

/// The program of the holder is replaced twice, and then it hands over (docs/decisions/0210).
fn is_upgraded_in_place(world: &World) {
    let said = || world.nodes.iter().map(Program::said).collect::<Vec<_>>().join("\n--\n");
    // Scripts of a MASTER have had their time by then.
    thread::sleep(Duration::from_secs(3));
    let workers = || members(world.nodes[0].pid(), Part::Worker);
    let epoch = || world.ask(&["epoch", "VI_1"]);
    let (before, begun) = (epoch(), world.now());
    let unbroken = Unbroken::watch(&world.lan, 0, VIP).unwrap();
    for _ in 0..2 {
        let worker = workers();
        let told = world.ask(&["upgrade"]);
        world.must(told.starts_with("in place: "), &told);
        world.must(workers().len() == 1 && workers() != worker, "it is the same worker");
    }
    // Longer than the last process of the former program could have held by itself.
    thread::sleep(LEASE * 2);
    println!("{}", unbroken.end_with(LEASE, NOISE, &said));
    world.must(epoch() == before, "it holds under another epoch");
    world.in_this_order(begun, &[0]);
    let told = world.ask(&["handover", "VI_1"]);
    world.must(told.contains("n2 holds it"), &told);
    world.must(world.watch.answered_by(1, SOON).is_some(), "it is not handed over");
}

#[test]
fn an_upgrade_in_place_renews_the_same_key() {
    is_upgraded_in_place(&World::steady());
}

#[test]
fn an_upgrade_in_place_takes_the_session_on() {
    let world = World::on_leases();
    let sessions = || world.keys().lines().filter(|key| key.contains("/sessions/1-")).map(str::to_owned).collect();
    let before: Vec<String> = sessions();
    is_upgraded_in_place(&world);
    world.must(
        before.len() == 1 && sessions() == before,
        &format!("{before:?} are other sessions now: {}", world.keys()),
    );
}
