//! The gate's life: deadlines, deaths, successors, meddlers.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use keepone_bpf::{Attach, Link};

use super::world::{self, Raw, mac};
use super::*;
use crate::guardian::{Guardian, Workers};

/// How much sooner than told a gate may shut: means 2 keeps some jiffies in reserve, more on a busy host.
fn earliness(means: Means) -> Duration {
    match means {
        Means::Nft => means.lateness() * 16,
        Means::Bpf | Means::Lifetime => means.lateness(),
    }
}

pub(super) fn garp() -> Vec<u8> {
    let vip = VIP4.octets();
    let mut frame = [[255; 6], mac(9, 1)].concat();
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac(9, 1));
    frame.extend(vip);
    frame.extend([0; 6]);
    frame.extend(vip);
    frame.resize(60, 0);
    frame
}

/// The kernel takes a program off a little after its last reference has gone.
fn passes_soon(raw: &Raw) -> bool {
    (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        raw.passes(&garp())
    })
}

/// Sends without pause until a frame is refused: (begin of the last send that passed, end of the
/// first that did not).
pub(super) fn until_refused(raw: &Raw, limit: Duration) -> (Option<Instant>, Instant) {
    let (begin, frame) = (now(), garp());
    let mut last = None;
    loop {
        let before = now();
        assert!(before.since(begin) < limit, "frames still pass after {limit:?}");
        if !raw.passes(&frame) {
            return (last, now());
        }
        last = Some(before);
    }
}

fn no_frame_passes_whose_sending_began_after_the_deadline(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut gate = gate(&host, means, 1);
    let raw = Raw::new(&host, "v0");
    let mut early = Vec::new();
    for round in 1..=20 {
        let deadline = in_future(if means == Means::Nft { 150 } else { 20 });
        gate.open(D, epoch(round), deadline).unwrap();
        let (last, refused) = until_refused(&raw, Duration::from_secs(10));
        let last = last.expect("open at first");
        assert!(last < deadline + means.lateness(), "sent {:?} late", last.since(deadline));
        assert!(refused + earliness(means) >= deadline, "refused {:?} early", deadline.since(refused));
        early.push(deadline.since(last));
    }
    early.sort();
    println!("last frame before the deadline: min {:?}, median {:?}, max {:?}", early[0], early[10], early[19]);
}

fn a_deadline_that_is_past_when_it_is_written_opens_nothing(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut gate = gate(&host, means, 1);
    let deadline = in_future(5);
    std::thread::sleep(Duration::from_millis(20));
    gate.open(D, epoch(1), deadline).unwrap();
    assert!(!Raw::new(&host, "v0").passes(&garp()));
}

fn nothing_opens_after_a_tombstone_under_its_epoch(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut gate = gate(&host, means, 1);
    let raw = Raw::new(&host, "v0");
    gate.open(D, epoch(5), in_future(60_000)).unwrap();
    assert!(gate.deadline(D).is_some() && raw.passes(&garp()));
    gate.shut(D, epoch(5)).unwrap();
    assert_eq!(gate.deadline(D), None);
    assert!(matches!(gate.open(D, epoch(5), in_future(60_000)), Err(GateError::Tombstoned { .. })));
    assert!(matches!(gate.open(D, epoch(4), in_future(60_000)), Err(GateError::Tombstoned { .. })));
    assert!(!raw.passes(&garp()));
    gate.open(D, epoch(6), in_future(60_000)).unwrap();
    assert!(raw.passes(&garp()));
    assert!(matches!(gate.shut(D, epoch(5)), Err(GateError::Stale { .. })));
    assert!(raw.passes(&garp()), "an old epoch's tombstone does not end a newer one");
}

/// What a child of the tests does: holds the VIP for 60 s, or the time asked for, and waits.
#[test]
#[ignore = "run by other tests, as a process that they stop and kill"]
fn child_holder() {
    let dir = PathBuf::from(std::env::var("KEEPONE_TEST_BPF_DIR").unwrap());
    let millis: u64 = std::env::var("KEEPONE_TEST_HOLD_MS").unwrap().parse().unwrap();
    let means = match std::env::var("KEEPONE_TEST_MEANS").as_deref() {
        Ok("nft") => Means::Nft,
        _ => Means::Bpf,
    };
    let mut gate = Gate::open_new(&config_in(&dir, means, 0xc0)).unwrap();
    let deadline = in_future(millis);
    match std::env::var("KEEPONE_TEST_PAUSE").as_deref() {
        Ok("between") => nft::pause_between(stop_self),
        Ok(_) => stop_self(),
        Err(_) => {}
    }
    let opened = gate.open(D, epoch_of(0xc0, 7), deadline);
    if let Err(error) = opened {
        println!("\nrefused: {error}");
    }
    println!("\nheld {}", deadline.as_nanos());
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// As one that is paused at this very point; goes on when it is told to.
fn stop_self() {
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).unwrap();
}

/// A process of its own in the host's namespaces, whose gate is open until the instant.
pub(super) struct Holder(Child, Instant);

impl Holder {
    pub(super) fn start(host: &Host, means: Means, millis: u64) -> Self {
        let mut child = Self::spawn(host, means, millis, None);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let until = lines
            .find_map(|line| Some(line.unwrap().strip_prefix("held ")?.parse().unwrap()))
            .expect("the child holds the VIP");
        Holder(child, Instant::from_nanos(until))
    }

    /// One that stops itself on the way, `before` it opens or `between` the steps of means 2; returns when it
    /// has.
    fn start_paused(host: &Host, means: Means, millis: u64, at: &'static str) -> Self {
        let child = Self::spawn(host, means, millis, Some(at));
        let stat = format!("/proc/{}/stat", child.id());
        let began = now();
        while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
            assert!(now().since(began) < Duration::from_secs(10), "the child does not stop");
            std::thread::sleep(Duration::from_millis(2));
        }
        // It read its clock before it stopped.
        Holder(child, in_future(millis))
    }

    fn spawn(host: &Host, means: Means, millis: u64, pause: Option<&'static str>) -> Child {
        // Mounted here, so that it does not end with the child.
        let dir = host.bpf_dir.clone();
        host.run(move || {
            keepone_bpf::ensure_bpffs(&dir).unwrap();
            let mut command = Command::new(std::env::current_exe().unwrap());
            command
                .args(["--exact", "gate::tests::life::child_holder", "--ignored", "--nocapture"])
                .env("KEEPONE_TEST_BPF_DIR", &dir)
                .env("KEEPONE_TEST_MEANS", means.as_str())
                .env("KEEPONE_TEST_HOLD_MS", millis.to_string())
                .stdout(Stdio::piped());
            if let Some(pause) = pause {
                command.env("KEEPONE_TEST_PAUSE", pause);
            }
            command.spawn().unwrap()
        })
    }

    pub(super) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }

    /// Until when its gate was opened.
    pub(super) fn until(&self) -> Instant {
        self.1
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(super) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn the_gate_of_a_stopped_and_of_a_killed_agent_shuts_at_its_deadline_and_stays_shut(means: Means) {
    for killed in [false, true] {
        let (host, peer) = (Host::new(), Host::new());
        host.cable("v0", &peer, "v1", 9);
        let raw = Raw::new(&host, "v0");
        let mut holder = Holder::start(&host, means, 1500);
        match killed {
            false => holder.signal(nix::sys::signal::Signal::SIGSTOP),
            true => holder.kill(),
        }
        let (last, _) = until_refused(&raw, Duration::from_secs(10));
        let last = last.expect("the gate was open until its deadline, dead agent or not");
        assert!(last < holder.1 + means.lateness(), "killed: {killed}; {:?} late", last.since(holder.1));
        holder.kill();
        std::thread::sleep(Duration::from_millis(50));
        assert!(!raw.passes(&garp()), "pinned: the gate outlives the process");
    }
}

fn the_guardian_shuts_a_dead_workers_gate_at_once_and_its_successor_learns_what_was_held(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    let mut holder = Holder::start(&host, means, 60_000);
    holder.kill();
    assert!(raw.passes(&garp()), "the deadline lies ahead");
    let dir = host.bpf_dir.clone();
    let (begin, shut) = (now(), host.run(move || shut_all(&dir)).unwrap());
    println!("shut_all took {:?}", now().since(begin));
    assert_eq!(shut, if means == Means::Nft { 4 } else { 1 }, "means 2 counts names");
    assert!(!raw.passes(&garp()));
    let dir = host.bpf_dir.clone();
    assert_eq!(host.run(move || shut_all(&dir)).unwrap(), 0, "again: nothing left to do");

    // Another layout: nothing to adopt, the old gate goes.
    let gate = gate_of(&host, changed_config(&host, means, 2));
    assert!(!gate.is_adopted());
    assert_eq!(gate.leftovers(), [(D, epoch_of(0xc0, 7))]);
    assert!(!raw.passes(&garp()));
    let began = now();
    while !gate.is_alone() {
        assert!(now().since(began) < Duration::from_secs(10), "the former gate's pins stay");
        std::thread::sleep(Duration::from_millis(5));
    }
    let dir = host.bpf_dir.clone();
    let pins = host.run(move || former::pins(&dir).unwrap());
    assert!(pins.iter().all(|pin| slot::parse_pin(pin).unwrap().0 == Incarnation(2)), "{pins:?}");
}

fn a_start_shuts_what_a_former_run_left_open_before_it_has_a_worker(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    let mut holder = Holder::start(&host, means, 60_000);
    holder.kill();
    assert!(raw.passes(&garp()), "the deadline lies ahead");
    let file = tempfile::Builder::new().suffix(".conf").tempfile().unwrap();
    let conf = "vrrp_instance A {\n interface v0\n virtual_router_id 51\n virtual_ipaddress {\n 10.9.0.100\n }\n}\n";
    std::fs::write(file.path(), conf).unwrap();
    let (file, dir) = (file.path().to_owned(), host.bpf_dir.clone());
    let failure = host.run(move || {
        let (config, _) = keepone_config::load(&file).unwrap();
        let environment = keepone_config::Environment::default();
        let mut guardian = Guardian::new(&file, config, environment, Workers::default()).unwrap();
        guardian.bpf_dir = dir;
        guardian.program = "/nowhere/keepone".into();
        guardian.run().unwrap_err()
    });
    assert!(failure.message.contains("no worker can be started"), "{failure}");
    assert!(!raw.passes(&garp()));
}

fn a_worker_that_only_seemed_dead_opens_nothing_after_the_guardian_has_shut(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    let mut gate = gate(&host, means, 1);
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    assert!(raw.passes(&garp()));
    let dir = host.bpf_dir.clone();
    host.run(move || shut_all(&dir)).unwrap();
    // To means 1 it is a store like any other; means 2 is refused.
    assert_eq!(gate.open(D, epoch(1), in_future(60_000)).is_ok(), means == Means::Bpf);
    assert!(!raw.passes(&garp()));
    let fault = host.run(move || gate.self_test().unwrap_err());
    assert!(fault.contains("guardian"), "{fault}");
}

/// The race that decides the design: a clock is read, the process is paused beyond the deadline, and then it
/// writes what it had decided.
fn what_was_decided_before_a_pause_opens_nothing_after_the_deadline(means: Means) {
    let points = if means == Means::Nft { ["before", "between"].as_slice() } else { &["before"] };
    for at in points {
        let (host, peer) = (Host::new(), Host::new());
        host.cable("v0", &peer, "v1", 9);
        let raw = Raw::new(&host, "v0");
        let mut holder = Holder::start_paused(&host, means, 600, at);
        assert!(!raw.passes(&garp()), "{at}: nothing was written yet");
        std::thread::sleep(holder.1.since(now()) + Duration::from_millis(200));
        holder.signal(nix::sys::signal::Signal::SIGCONT);
        let resumed = now();
        while now().since(resumed) < Duration::from_millis(800) {
            assert!(!raw.passes(&garp()), "{at}: passes {:?} after the deadline", now().since(holder.1));
            std::thread::sleep(Duration::from_micros(200));
        }
        // Nor was one of the two copies of means 2 written late, and taken out again when it was read back.
        let lines = BufReader::new(holder.0.stdout.take().unwrap()).lines().map(Result::unwrap);
        let told: Vec<String> = lines.take_while(|line| !line.starts_with("held ")).collect();
        assert!(!told.iter().any(|line| line.starts_with("refused")), "{at}: {told:?}");
    }
}

/// The same while the gate is open: the renewal comes too late, and what was there has ended on time.
fn a_renewal_that_is_held_up_ends_with_the_former_deadline(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    let mut gate = gate(&host, means, 1);
    let former = in_future(400);
    gate.open(D, epoch(1), former).unwrap();
    assert!(raw.passes(&garp()));
    let decided = in_future(500);
    std::thread::sleep(Duration::from_millis(600));
    assert!(!raw.passes(&garp()), "the former deadline has passed");
    let _ = gate.open(D, epoch(1), decided);
    assert!(!raw.passes(&garp()), "and so has the new one");
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    assert!(raw.passes(&garp()), "a lease that was regained opens again");
}

#[test]
fn a_directory_without_a_gate_holds_none() {
    let nowhere = std::env::temp_dir().join("keepone-there-is-no-such-directory");
    assert_eq!(shut_all(&nowhere).unwrap(), 0);
    assert_eq!(shut_all(&std::env::temp_dir()).unwrap(), 0);
}

#[test]
fn a_new_gate_takes_over_from_a_dead_runs_open_one_without_a_gap() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    let mut old = gate(&host, Means::Bpf, 1);
    old.open(D, epoch(3), in_future(60_000)).unwrap();
    drop(old);
    assert!(raw.passes(&garp()), "nobody shut it");
    let mut new = gate_of(&host, changed_config(&host, Means::Bpf, 2));
    assert_eq!(new.leftovers(), [(D, epoch(3))]);
    assert!(!raw.passes(&garp()), "shut from the start");
    new.open(D, epoch_of(2, 4), in_future(60_000)).unwrap();
    assert!(!new.is_alone() && !raw.passes(&garp()), "while the old links are there they bar, too");
    assert!(passes_soon(&raw));
}

#[test]
fn the_self_test_turns_red_when_somebody_detaches_a_link() {
    for (direction, at) in [("in", Attach::TcxIngress), ("out", Attach::TcxEgress)] {
        let (host, peer) = (Host::new(), Host::new());
        host.cable("v0", &peer, "v1", 9);
        let mut gate = gate(&host, Means::Bpf, 1);
        let pin = slot::pin(&host.bpf_dir, Incarnation(1), &format!("-{direction}-{}", host.index("v0")));
        host.run(move || {
            gate.self_test().unwrap();
            let begin = now();
            gate.self_test().unwrap();
            println!("a self-test of 2 interfaces took {:?}", now().since(begin));
            let link = Link::open_pinned(&pin).unwrap();
            assert_eq!(link.info().unwrap().attach, Some(at));
            link.detach().unwrap();
            let fault = gate.self_test().unwrap_err();
            assert!(fault.contains("v0") && fault.contains("attached again"), "{fault}");
            gate.self_test().unwrap();
        });
        assert!(!Raw::new(&host, "v0").passes(&garp()), "it is back");
    }
}

#[test]
fn the_self_test_turns_red_when_the_probe_frame_gets_out() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut gate = gate(&host, Means::Bpf, 1);
    let name = slot::pin(&host.bpf_dir, Incarnation(1), "-vip4");
    host.run(move || {
        // Somebody took the dummy address out of the map: the link is there, but the gate leaks.
        assert!(keepone_bpf::Map::open_pinned(&name).unwrap().delete(&probe::DUMMY.octets()).unwrap());
    });
    host.run(move || {
        let fault = gate.self_test().unwrap_err();
        assert!(fault.contains("192.0.0.8"), "{fault}");
    });
}

#[test]
fn the_self_test_turns_red_when_an_address_is_taken_out_of_the_map() {
    let host = Host::new();
    let mut gate = gate(&host, Means::Bpf, 1);
    let map = slot::pin(&host.bpf_dir, Incarnation(1), "-vip6");
    host.run(move || {
        gate.self_test().unwrap();
        assert!(keepone_bpf::Map::open_pinned(&map).unwrap().delete(&VIP6.octets()).unwrap());
        let fault = gate.self_test().unwrap_err();
        assert!(fault.contains("fd09::100"), "{fault}");
    });
}

#[test]
fn the_self_test_turns_red_when_pins_are_removed_and_they_are_back_before_the_agent_dies() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    let mut gate = gate(&host, Means::Bpf, 1);
    let dir = host.bpf_dir.clone();
    host.run(move || {
        gate.self_test().unwrap();
        let files = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
        // A bpffs has files of its own.
        let pins: Vec<_> = files.filter(|path| slot::parse_pin(path).is_some()).collect();
        // Four maps, and two links on each of two interfaces.
        assert_eq!(pins.len(), 8, "{pins:?}");
        pins.iter().for_each(|pin| std::fs::remove_file(pin).unwrap());
        let fault = gate.self_test().unwrap_err();
        assert!(fault.contains("removed 8 pins"), "{fault}");
        assert!(pins.iter().all(|pin| pin.exists()));
        gate.self_test().unwrap();
        // As its process would: without a word.
        drop(gate);
    });
    // A program without a pin is taken off a little after its last reference has gone.
    assert!(!passes_soon(&raw), "the gate has gone with the agent");
}

/// A program of somebody else that lets everything pass, asking nobody further.
fn pass_all(ifindex: u32) -> Link {
    let mut asm = keepone_bpf::Asm::new();
    asm.mov(keepone_bpf::Reg::R0, keepone_bpf::verdict::PASS).exit();
    let program = keepone_bpf::Program::load("pass_all", "Dual MIT/GPL", &asm.assemble().unwrap()).unwrap();
    Link::attach(&program, ifindex, Attach::TcxEgress, keepone_bpf::Place::First).unwrap()
}

#[test]
fn a_program_that_was_there_before_does_not_get_its_say_first() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let index = host.index("v0").cast_unsigned();
    let _other = host.run(move || pass_all(index));
    let _gate = gate(&host, Means::Bpf, 1);
    assert!(!Raw::new(&host, "v0").passes(&garp()));
}

#[test]
fn the_self_test_turns_red_when_a_program_is_put_before_the_gate_and_lets_everything_pass() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut gate = gate(&host, Means::Bpf, 1);
    let index = host.index("v0").cast_unsigned();
    host.run(move || {
        gate.self_test().unwrap();
        let other = pass_all(index);
        let fault = gate.self_test().unwrap_err();
        assert!(fault.contains("passed the shut gate of v0"), "{fault}");
        other.detach().unwrap();
        gate.self_test().unwrap();
    });
}

#[test]
fn without_rights_there_is_no_gate_but_a_remedy() {
    let host = Host::new();
    let config = config(&host, Means::Bpf, 1);
    host.run(move || {
        keepone_bpf::ensure_bpffs(&config.bpf_dir).unwrap();
        // This thread gives up all capabilities (struct __user_cap_header_struct, version 3).
        let (header, none) = ([0x2008_0522_u32, 0], [0_u32; 6]);
        // SAFETY: two words, and two blocks of three, as capset(2) wants them.
        assert_eq!(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) }, 0);
        let error = Gate::open_new(&config).unwrap_err().to_string();
        assert!(error.contains("CAP_BPF"), "{error}");
    });
}

fn an_interface_that_appears_later_is_gated_and_one_that_goes_is_forgotten(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut gate = gate(&host, means, 1);
    host.cable("w0", &peer, "w1", 8);
    let raw = Raw::new(&host, "w0");
    assert!(raw.passes(&garp()), "not known yet");
    let mut gate = host.run(move || {
        assert_eq!(gate.attach_new().unwrap(), 1);
        assert_eq!(gate.attach_new().unwrap(), 0);
        gate
    });
    assert!(!raw.passes(&garp()));
    host.ip("link del w0");
    host.ip("link set v0 down");
    host.run(move || gate.self_test().unwrap());
}

fn an_exempt_interface_is_left_alone(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut config = config(&host, means, 1);
    config.exempt.insert("v0".into());
    let gate = host.run(move || Gate::open_new(&config).unwrap());
    assert!(Raw::new(&host, "v0").passes(&garp()));
    drop(gate);
}

fn a_gate_that_is_taken_down_leaves_nothing_behind(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let gate = gate(&host, means, 1);
    let dir = host.bpf_dir.clone();
    host.run(move || {
        gate.take_down();
        assert!(!dir.exists() || former::pins(&dir).unwrap().is_empty());
        assert_eq!(nft::end(&dir).unwrap(), []);
        assert_eq!(shut_all(&dir).unwrap(), 0);
    });
    if means == Means::Nft {
        assert_eq!(world::nft(&host, "list ruleset"), "");
    }
    assert!(passes_soon(&Raw::new(&host, "v0")));
}

fn means_3_says_that_it_is_weak_and_removes_a_former_gate(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut first = gate(&host, means, 1);
    first.open(D, epoch(2), in_future(60_000)).unwrap();
    drop(first);
    let weak = config(&host, Means::Lifetime, 2);
    let mut gate = host.run(move || Gate::open_new(&weak).unwrap());
    assert_eq!((gate.strength(), gate.leftovers()), (GateStrength::Weak, [(D, epoch(2))].as_slice()));
    assert!(!gate.warnings().is_empty() && gate.self_test().is_ok());
    assert!(passes_soon(&Raw::new(&host, "v0")), "no gate");
    gate.open(D, epoch_of(2, 3), in_future(1000)).unwrap();
    gate.shut(D, epoch_of(2, 3)).unwrap();
    assert!(gate.open(D, epoch_of(2, 3), in_future(1000)).is_err(), "R9 holds for every means");
}

fn what_does_not_fit_is_refused_with_a_reason(means: Means) {
    let host = Host::new();
    let mut shared = config(&host, means, 1);
    shared.domains[0].addresses.push(VIP4.into());
    let mut many = config(&host, means, 1);
    many.domains = (0..1 << 16)
        .map(|id| GateDomain { id: DomainId(id), addresses: vec![], refused: vec![], routers: vec![] })
        .collect();
    let mut vrids = config(&host, means, 1);
    vrids.domains[0].routers = vec![(Vrid::new(VRID).unwrap(), false)];
    host.run(move || {
        assert!(matches!(Gate::open_new(&shared), Err(GateError::SharedAddress(_))));
        assert!(matches!(Gate::open_new(&many), Err(GateError::TooManyDomains { have: 65_536, max: 65_535 })));
        let gate = Gate::open_new(&vrids).unwrap();
        assert!(gate.warnings()[0].contains("51 (IPv4)"), "{:?}", gate.warnings());
    });
}

by_both_means!(
    a_start_shuts_what_a_former_run_left_open_before_it_has_a_worker,
    what_was_decided_before_a_pause_opens_nothing_after_the_deadline,
    a_renewal_that_is_held_up_ends_with_the_former_deadline,
    no_frame_passes_whose_sending_began_after_the_deadline,
    a_deadline_that_is_past_when_it_is_written_opens_nothing,
    nothing_opens_after_a_tombstone_under_its_epoch,
    the_gate_of_a_stopped_and_of_a_killed_agent_shuts_at_its_deadline_and_stays_shut,
    a_worker_that_only_seemed_dead_opens_nothing_after_the_guardian_has_shut,
    an_interface_that_appears_later_is_gated_and_one_that_goes_is_forgotten,
    an_exempt_interface_is_left_alone,
    the_guardian_shuts_a_dead_workers_gate_at_once_and_its_successor_learns_what_was_held,
    a_gate_that_is_taken_down_leaves_nothing_behind,
    means_3_says_that_it_is_weak_and_removes_a_former_gate,
    what_does_not_fit_is_refused_with_a_reason,
);
