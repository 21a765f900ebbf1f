//! Voters as real processes on real file systems: disks that fill up or become read-only under them (V6, F14), and
//! witnesses that die one after the other (F40). Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::cluster::Cluster;
use keepone_tests::lan::Lan;
use keepone_tests::observe::Watch;
use keepone_tests::program::Program;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;

/// L_a, and L_max, which is not configured apart.
const LEASE: Duration = Duration::from_millis(500);
/// Late threads on a machine that is busy with other tests.
const BUSY: Duration = Duration::from_millis(1500);
/// Wide: a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(30);

/// Two nodes, a client, and witnesses that run.
struct World {
    nodes: [Program; 2],
    witnesses: Vec<Program>,
    watch: Watch,
    cluster: Cluster,
    lan: Lan,
}

impl World {
    /// The better node holds. Each machine's state directory is a file system of 16 KiB, which this thread sees and
    /// may change, and nobody else.
    fn steady(witnesses: usize, configure: impl FnOnce(&mut Cluster)) -> Self {
        let none = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS).expect("needs root");
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let lan = Lan::with_witnesses(2, witnesses).unwrap();
        let mut cluster = Cluster::new(&lan).unwrap();
        configure(&mut cluster);
        for host in lan.topology().node_hosts().chain(lan.topology().witness_hosts()) {
            let at = lan.room().join(format!("{}-state", host.name));
            fs::create_dir(&at).unwrap();
            mount(Some("disk"), &at, Some("tmpfs"), MsFlags::empty(), Some("size=16k")).unwrap();
        }
        let witnesses = (0..witnesses).map(|number| start_witness(&lan, &cluster, number)).collect();
        let nodes = [0, 1].map(|node| {
            // Here the pins of a gate outlive its agent, as on a machine that has not lost power.
            let at = bpf_dir(&lan, node);
            fs::create_dir(&at).unwrap();
            mount(Some("bpf"), &at, Some("bpf"), MsFlags::empty(), none).unwrap();
            start_node(&lan, &cluster, node)
        });
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        let world = World { nodes, witnesses, watch, cluster, lan };
        world.must(world.watch.answered_by(0, SOON).is_some(), "the better node does not become MASTER");
        world.keeps(0, Duration::from_secs(1));
        world
    }

    fn disk(&self, machine: &str) -> PathBuf {
        self.lan.room().join(format!("{machine}-state"))
    }

    #[track_caller]
    fn must(&self, good: bool, what: &str) {
        if !good {
            let all = self.nodes.iter().chain(&self.witnesses).map(Program::said).collect::<Vec<_>>();
            panic!("{what}\n{}", all.join("\n--\n"));
        }
    }

    /// Nobody but `node` answers the client for a while, and it goes on to.
    #[track_caller]
    fn keeps(&self, node: usize, time: Duration) {
        let from = clock::now();
        thread::sleep(time);
        let (nodes, count) = self.watch.answers(from, clock::now());
        self.must(nodes == [node] && count > 10, &format!("node {node} should answer alone, {nodes:?} did"));
        let answers = self.watch.answers_of(node, from, clock::now());
        let longest = answers.windows(2).map(|pair| pair[1] - pair[0]).max().map_or(time, Duration::from_nanos);
        self.must(longest < BUSY, &format!("silent for {longest:?}"));
    }

    /// From `after` on nobody answers for a while.
    #[track_caller]
    fn silent(&self, after: Duration, time: Duration) {
        thread::sleep(after);
        let from = clock::now();
        thread::sleep(time);
        let answered = self.watch.answers(from, clock::now());
        self.must(answered.1 == 0, &format!("{answered:?} answered, nobody should have"));
    }

    /// The client's answers never came from both by turns. Both may have the address for a while, behind a shut gate.
    #[track_caller]
    fn never_two(&self) {
        let of = |node| self.watch.answers_of(node, 0, u64::MAX).into_iter().map(move |at| (at, node));
        let mut answers: Vec<(u64, usize)> = of(0).chain(of(1)).collect();
        answers.sort_unstable();
        let changes = answers.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
        // To the better one when both have started, and at most twice by what the test does.
        self.must(changes <= 3, &format!("the holder changed {changes} times"));
    }
}

fn bpf_dir(lan: &Lan, node: usize) -> PathBuf {
    lan.room().join(format!("n{}-bpf", node + 1))
}

fn start_node(lan: &Lan, cluster: &Cluster, node: usize) -> Program {
    let program = keepone_tests::binary::find("keepone");
    let pins = format!("bpf_dir = \"{}\"\nrun_dir =", bpf_dir(lan, node).display());
    let text = cluster.of_node(lan, node).replacen("run_dir =", &pins, 1);
    let file = lan.write(&format!("n{}.toml", node + 1), &text).unwrap();
    lan.start(node, &[program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
}

fn start_witness(lan: &Lan, cluster: &Cluster, number: usize) -> Program {
    let program = keepone_tests::binary::find("keepone-witness");
    let file = cluster.write_witness(lan, number).unwrap();
    lan.start_at(Kind::Witness(number), &[program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
}

/// What is done to a disk, and undone.
#[derive(Clone, Copy)]
enum Trouble {
    Full,
    ReadOnly,
}

impl Trouble {
    fn begin(self, disk: &Path) {
        match self {
            Trouble::Full => {
                let mut filler = File::create(disk.join("filler")).unwrap();
                while filler.write(&[0; 512]).is_ok() {}
            }
            Trouble::ReadOnly => remount(disk, MsFlags::MS_RDONLY),
        }
    }

    fn end(self, disk: &Path) {
        match self {
            Trouble::Full => fs::remove_file(disk.join("filler")).unwrap(),
            Trouble::ReadOnly => remount(disk, MsFlags::empty()),
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Trouble::Full => "the disk is full: free some space",
            Trouble::ReadOnly => "the file system is read-only: see `dmesg` for why, and remount it read-write",
        }
    }
}

/// The whole file system, whoever has mounted it; from a mount namespace of its own, since the mount that is named is
/// changed besides, and the programs would start with a copy of that.
fn remount(disk: &Path, flags: MsFlags) {
    let disk = disk.to_owned();
    let change = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, &disk, None::<&str>, MsFlags::MS_REMOUNT | flags, None::<&str>).unwrap();
    });
    change.join().unwrap();
}

/// The witness's disk fails while the master holds: renewals, for which the witness is needed, go on. Then the master
/// dies: the heir, for whose epoch the witness would have to write, gets none, and gets one when the disk is mended.
fn on_the_witness(trouble: Trouble) {
    let mut world = World::steady(1, Cluster::quorum);
    let disk = world.disk("w");
    trouble.begin(&disk);
    // Without the other node, every renewal needs the witness.
    world.nodes[1].signal(Part::Both, Signal::SIGSTOP);
    world.keeps(0, LEASE * 6);
    world.nodes[1].signal(Part::Both, Signal::SIGCONT);
    world.keeps(0, LEASE * 4);

    world.nodes[0].kill();
    let said = world.nodes[1].says("alert voter-disk: w can't write its record and takes no new epoch", SOON);
    world.must(said, "no alert of the witness's disk");
    world.silent(LEASE, LEASE * 4);
    let log = world.witnesses[0].said();
    let path = disk.join("test.voter");
    world.must(log.contains(&format!("can't write {}", path.display())), "the witness does not name the file");
    world.must(log.contains(trouble.remedy()), "the witness names no remedy");

    trouble.end(&disk);
    world.must(world.watch.answered_by(1, SOON).is_some(), "nobody holds although the disk is mended");
    let over = world.nodes[1].says("alert voter-disk is over", SOON);
    world.must(over, "the alert stays");
    world.keeps(1, LEASE * 2);
    world.never_two();
}

#[test]
fn a_witness_whose_disk_is_full_lets_renew_and_grants_nothing_new_f14() {
    on_the_witness(Trouble::Full);
}

#[test]
fn a_witness_whose_disk_is_read_only_lets_renew_and_grants_nothing_new_f14() {
    on_the_witness(Trouble::ReadOnly);
}

/// The heir's own voter can't write: said at its start with the file and the remedy, and it holds nothing until it can.
fn on_the_heir(trouble: Trouble) {
    let mut world = World::steady(1, Cluster::quorum);
    let disk = world.disk("n2");
    world.nodes[1].kill();
    trouble.begin(&disk);
    world.keeps(0, LEASE * 4);
    world.nodes[1] = start_node(&world.lan, &world.cluster, 1);
    let path = disk.join("test.voter");
    let words = format!("alert voter-disk: can't write {}", path.display());
    let said = world.nodes[1].says(&words, SOON);
    world.must(said, "no alert when it starts");
    world.must(world.nodes[1].said().contains(trouble.remedy()), "no remedy");
    world.keeps(0, LEASE * 4);

    world.nodes[0].kill();
    world.silent(LEASE + Duration::from_millis(100), LEASE * 4);
    trouble.end(&disk);
    world.must(world.watch.answered_by(1, SOON).is_some(), "nobody holds although the disk is mended");
    world.keeps(1, LEASE * 2);
    world.never_two();
    world.must(world.nodes[1].said().contains("alert voter-disk is over"), "the alert stays");
}

#[test]
fn an_heir_that_starts_with_a_full_disk_says_so_and_takes_over_when_there_is_room_f14() {
    on_the_heir(Trouble::Full);
}

#[test]
fn an_heir_that_starts_with_a_read_only_disk_says_so_and_takes_over_when_it_is_mended_f14() {
    on_the_heir(Trouble::ReadOnly);
}

#[test]
fn of_three_witnesses_one_may_die_without_two_nobody_holds_and_with_two_somebody_does_again_f40() {
    let mut world = World::steady(3, Cluster::quorum_of_witnesses);
    world.witnesses[0].kill();
    world.keeps(0, LEASE * 6);

    world.witnesses[1].kill();
    // D lies at most a lease ahead.
    world.silent(LEASE + Duration::from_millis(100), LEASE * 6);
    world.must(world.nodes[0].said().contains("alert lease-lost of VI_1"), "no alert of the lost lease");

    let begin = clock::now();
    world.witnesses[1] = start_witness(&world.lan, &world.cluster, 1);
    while world.watch.answers(begin, u64::MAX).1 == 0 {
        let waited = Duration::from_nanos(clock::now() - begin);
        world.must(waited < SOON, "nobody holds although a majority votes");
        thread::sleep(Duration::from_millis(2));
    }
    // P3, I19.
    let took = Duration::from_nanos(clock::now() - begin);
    println!("somebody holds {took:?} after the second witness was started again");
    world.must(took < LEASE + Duration::from_secs(2) + BUSY, &format!("somebody holds after {took:?} only"));
    world.never_two();
}
