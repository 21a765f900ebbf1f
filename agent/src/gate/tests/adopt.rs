//! A later run and the pinned gate of the former one.

use std::collections::BTreeMap;

use keepone_bpf::Link;

use super::life::{Holder, garp, until_refused};
use super::world::{self, Raw};
use super::*;

/// The kernel's numbers of the pinned links, by the rest of their pins' names.
fn links(host: &Host) -> BTreeMap<String, u32> {
    let dir = host.bpf_dir.clone();
    host.run(move || {
        let of = |path: &PathBuf| {
            let suffix = slot::parse_pin(path)?.1.to_owned();
            slot::parse_link(&suffix)?;
            Some((suffix, Link::open_pinned(path).unwrap().info().unwrap().id))
        };
        former::pins(&dir).unwrap().iter().filter_map(of).collect()
    })
}

/// Kills the holder, and does what a guardian does then.
fn die(host: &Host, mut holder: Holder) {
    holder.kill();
    let dir = host.bpf_dir.clone();
    host.run(move || shut_all(&dir)).unwrap();
}

fn self_test(host: &Host, mut gate: Gate) -> (Gate, Result<(), String>) {
    host.run(move || {
        let fault = gate.self_test();
        (gate, fault)
    })
}

#[test]
fn a_dead_workers_gate_is_adopted_with_its_links_shut_and_opens_under_a_new_epoch() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    let holder = Holder::start(&host, Means::Bpf, 60_000);
    let before = links(&host);
    assert_eq!(before.len(), 4, "in and out of lo and v0: {before:?}");
    die(&host, holder);

    let mut gate = gate(&host, Means::Bpf, 2);
    assert!(gate.is_adopted() && gate.is_alone());
    assert_eq!(links(&host), before, "nothing was attached anew");
    assert_eq!(gate.leftovers(), [(D, epoch_of(0xc0, 7))]);
    assert_eq!(gate.deadline(D), None);
    assert!(!raw.passes(&garp()));
    let foreign = gate.open(D, epoch_of(0xc0, 8), in_future(60_000));
    assert!(matches!(foreign, Err(GateError::Foreign { .. })), "{foreign:?}");
    assert!(!raw.passes(&garp()));
    gate.open(D, epoch_of(2, 8), in_future(60_000)).unwrap();
    assert!(raw.passes(&garp()), "the guardian's seal is undone");
    let (mut gate, fault) = self_test(&host, gate);
    assert_eq!(fault, Ok(()));
    gate.shut(D, epoch_of(2, 8)).unwrap();
    assert!(!raw.passes(&garp()));
}

#[test]
fn a_gate_that_nobody_shut_is_shut_by_being_adopted() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    Holder::start(&host, Means::Bpf, 60_000).kill();
    assert!(raw.passes(&garp()), "guardian and worker are dead, the deadline lies ahead");
    let gate = gate(&host, Means::Bpf, 2);
    assert!(gate.is_adopted());
    assert!(!raw.passes(&garp()));
}

#[test]
fn what_an_heir_that_died_early_should_have_released_its_own_heir_learns_too() {
    let host = Host::new();
    die(&host, Holder::start(&host, Means::Bpf, 60_000));
    drop(gate(&host, Means::Bpf, 2));
    let gate = gate(&host, Means::Bpf, 3);
    assert!(gate.is_adopted());
    assert_eq!(gate.leftovers(), [(D, epoch_of(0xc0, 7))]);
}

#[test]
fn an_adopted_gate_still_sees_the_guardians_seal_and_a_foreign_hand() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    die(&host, Holder::start(&host, Means::Bpf, 60_000));
    let dir = host.bpf_dir.clone();
    let gate = gate(&host, Means::Bpf, 2);
    assert!(gate.is_adopted());
    host.run(move || shut_all(&dir)).unwrap();
    let (gate, fault) = self_test(&host, gate);
    assert!(fault.unwrap_err().contains("guardian"));
    drop(gate);

    let gate = super::gate(&host, Means::Bpf, 3);
    assert!(gate.is_adopted());
    let pin = slot::pin(&host.bpf_dir, Incarnation(0xc0), &format!("-out-{}", host.index("v0")));
    host.run(move || Link::open_pinned(&pin).unwrap().detach().unwrap());
    let (_, fault) = self_test(&host, gate);
    assert!(fault.unwrap_err().contains("detached"));
}

#[test]
fn links_that_were_lost_meanwhile_are_attached_again_and_the_rest_stays() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    host.cable("w0", &peer, "w1", 8);
    let holder = Holder::start(&host, Means::Bpf, 60_000);
    let mut before = links(&host);
    let lost = [format!("-out-{}", host.index("v0")), format!("-in-{}", host.index("w0"))];
    let (detached, unpinned) =
        (slot::pin(&host.bpf_dir, Incarnation(0xc0), &lost[0]), slot::pin(&host.bpf_dir, Incarnation(0xc0), &lost[1]));
    host.run(move || {
        Link::open_pinned(&detached).unwrap().detach().unwrap();
        std::fs::remove_file(unpinned).unwrap();
    });
    die(&host, holder);

    let gate = gate(&host, Means::Bpf, 2);
    assert!(gate.is_adopted());
    let mut after = links(&host);
    for lost in &lost {
        assert_ne!(after.remove(lost).unwrap(), before.remove(lost).unwrap(), "{lost}");
    }
    assert_eq!(after, before);
    assert!(!Raw::new(&host, "v0").passes(&garp()));
    assert_eq!(self_test(&host, gate).1, Ok(()));
}

#[test]
fn interfaces_that_came_went_or_joined_a_bridge_meanwhile_are_made_up_for() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    host.cable("w0", &peer, "w1", 8);
    let holder = Holder::start(&host, Means::Bpf, 60_000);
    let (gone, port) = (host.index("w0"), host.index("v0"));
    die(&host, holder);
    host.ip("link del w0");
    host.ip("link add br0 type bridge");
    host.ip("link set br0 up");
    host.ip("link set v0 master br0");

    let gate = gate(&host, Means::Bpf, 2);
    assert!(gate.is_adopted());
    let after = links(&host);
    assert!(!after.keys().any(|pin| pin.ends_with(&format!("-{gone}"))), "{after:?}");
    assert!(!after.contains_key(&format!("-in-{port}")), "its master judges: {after:?}");
    assert!(after.contains_key(&format!("-in-{}", host.index("br0"))), "{after:?}");
    assert!(!Raw::new(&host, "br0").passes(&garp()));
    assert_eq!(self_test(&host, gate).1, Ok(()));
}

/// What makes a new gate necessary.
fn is_replaced(what: &str, change: impl FnOnce(&Host) -> GateConfig) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    die(&host, Holder::start(&host, Means::Bpf, 60_000));
    let config = change(&host);
    let mut gate = gate_of(&host, config);
    assert!(!gate.is_adopted(), "{what}");
    assert_eq!(gate.leftovers(), [(D, epoch_of(0xc0, 7))], "{what}");
    assert!(!raw.passes(&garp()), "{what}");
    gate.open(D, epoch_of(2, 1), in_future(60_000)).unwrap();
    let began = now();
    while !gate.is_alone() {
        assert!(now().since(began) < Duration::from_secs(10), "{what}: the former gate stays");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(raw.passes(&garp()), "{what}: alone means that nothing bars any more");
    assert_eq!(self_test(&host, gate).1, Ok(()), "{what}");
    let dir = host.bpf_dir.clone();
    let pins = host.run(move || former::pins(&dir).unwrap());
    assert!(pins.iter().all(|pin| slot::parse_pin(pin).unwrap().0 == Incarnation(2)), "{what}: {pins:?}");
}

#[test]
fn a_gate_of_other_addresses_is_replaced() {
    is_replaced("one address more", |host| changed_config(host, Means::Bpf, 2));
}

#[test]
fn a_gate_of_other_virtual_routers_is_replaced() {
    is_replaced("one VRID less", |host| {
        let mut config = config(host, Means::Bpf, 2);
        config.domains[1].routers.pop();
        config
    });
}

#[test]
fn a_gate_with_other_exempt_interfaces_is_replaced() {
    is_replaced("lo is exempt", |host| {
        let mut config = config(host, Means::Bpf, 2);
        config.exempt.insert("lo".into());
        config
    });
}

#[test]
fn a_gate_whose_maps_were_tampered_with_is_replaced() {
    is_replaced("a name more", |host| {
        let map = slot::pin(&host.bpf_dir, Incarnation(0xc0), "-vip4");
        host.run(move || keepone_bpf::Map::open_pinned(&map).unwrap().update(&[10, 9, 0, 7], &[0; 4]).unwrap());
        config(host, Means::Bpf, 2)
    });
}

#[test]
fn a_gate_with_a_map_missing_is_replaced() {
    is_replaced("no map of VRIDs", |host| {
        let map = slot::pin(&host.bpf_dir, Incarnation(0xc0), "-vrid");
        host.run(move || std::fs::remove_file(map).unwrap());
        config(host, Means::Bpf, 2)
    });
}

#[test]
fn a_gate_that_was_never_finished_is_replaced() {
    is_replaced("no digest", |host| {
        let map = slot::pin(&host.bpf_dir, Incarnation(0xc0), slot::DEADLINES);
        host.run(move || {
            let mapping = keepone_bpf::Map::open_pinned(&map).unwrap().mmap(true).unwrap();
            assert!(slot::write_layout(&mapping, [0; 3]));
        });
        config(host, Means::Bpf, 2)
    });
}

#[test]
fn a_gate_of_another_network_namespace_is_not_adopted() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    // Its socket keeps the old namespace alive, and in it an interface 1 with links on it.
    let _raw = Raw::new(&host, "v0");
    die(&host, Holder::start(&host, Means::Bpf, 60_000));
    host.run(|| nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap());
    // Down, so that no probe frame can tell.
    let gate = gate(&host, Means::Bpf, 2);
    assert!(!gate.is_adopted());
    host.ip("link set lo up");
    assert!(!Raw::new(&host, "lo").passes(&garp()));
}

#[test]
fn a_run_that_is_stopped_but_not_dead_keeps_its_gate_and_is_named() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut holder = Holder::start(&host, Means::Bpf, 60_000);
    holder.signal(nix::sys::signal::Signal::SIGSTOP);
    let before = links(&host);
    let config = config(&host, Means::Bpf, 2);
    let (again, pid) = (config.clone(), holder.pid());
    let error = host.run(move || Gate::open_new(&again).unwrap_err());
    match &error {
        GateError::Taken { pid: told, .. } => assert!(told.is_none_or(|told| told == pid), "{told:?}, not {pid}"),
        other => panic!("{other}"),
    }
    assert!(error.to_string().contains("end it"), "{error}");
    assert_eq!(links(&host), before);
    assert!(Raw::new(&host, "v0").passes(&garp()), "nobody but its guardian shuts it");
    holder.kill();
    assert!(gate_of(&host, config).is_adopted());
}

/// The longest and the shortest of a few starts.
fn times(host: &Host, config: impl Fn(u64) -> GateConfig) -> (Duration, Duration, bool) {
    let mut times = Vec::new();
    let mut adopted = false;
    for incarnation in 10..15 {
        let config = config(incarnation);
        let (took, gate) = host.run(move || {
            let began = now();
            let gate = Gate::open_new(&config).unwrap();
            (now().since(began), gate)
        });
        adopted = gate.is_adopted();
        times.push(took);
        // Not to measure the end of the former ones.
        while !gate.is_alone() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    (*times.iter().min().unwrap(), *times.iter().max().unwrap(), adopted)
}

#[test]
fn an_adoption_is_quicker_than_a_new_gate() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    host.cable("w0", &peer, "w1", 8);
    let changing = |incarnation| {
        let mut config = config(&host, Means::Bpf, incarnation);
        config.exempt.insert(format!("none{incarnation}"));
        config
    };
    let (new, slowest_new, adopted) = times(&host, changing);
    assert!(!adopted);
    drop(gate(&host, Means::Bpf, 1));
    let (adoption, slowest, adopted) = times(&host, |incarnation| config(&host, Means::Bpf, incarnation));
    assert!(adopted);
    println!(
        "open_new on 3 interfaces: a new gate {new:?} to {slowest_new:?}, an adopted one {adoption:?} to {slowest:?}"
    );
    assert!(adoption < new);
}

/// A later process of the very life of [`Holder`], which hands its gate on open.
fn going_on(host: &Host, means: Means, left: LeftOpen) -> Gate {
    let config = GateConfig { left_open: vec![left], ..config(host, means, 0xc0) };
    gate_of(host, config)
}

/// A host with a gate that somebody has left open and is dead; until when.
fn left_behind(means: Means, millis: u64) -> (Host, Host, Raw, Instant) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    let mut holder = Holder::start(&host, means, millis);
    holder.kill();
    assert!(raw.passes(&garp()));
    let until = holder.until();
    (host, peer, raw, until)
}

fn what_a_process_of_the_same_life_left_open_stays_so_until_its_deadline_and_for_that_epoch(means: Means) {
    let (host, _peer, raw, until) = left_behind(means, 60_000);
    let left = (D, epoch_of(0xc0, 7), until);
    let gate = going_on(&host, means, left);
    assert!(gate.is_adopted() && raw.passes(&garp()), "it was never shut");
    assert_eq!((gate.left_open(), gate.deadline(D)), (&[left][..], Some(until)));
    assert!(gate.leftovers().is_empty(), "nor is it given back: {:?}", gate.leftovers());
    let (mut gate, fault) = self_test(&host, gate);
    assert_eq!(fault, Ok(()));
    let stale = gate.open(D, epoch_of(0xc0, 6), in_future(60_000));
    assert!(matches!(stale, Err(GateError::Stale { .. })), "{stale:?}");
    gate.open(D, epoch_of(0xc0, 7), in_future(30_000)).unwrap();
    assert!(raw.passes(&garp()));
    gate.shut(D, epoch_of(0xc0, 7)).unwrap();
    assert!(!raw.passes(&garp()));
    assert!(gate.open(D, epoch_of(0xc0, 7), in_future(30_000)).is_err(), "after its tombstone");
}

fn what_was_left_open_and_is_not_renewed_shuts_at_its_deadline(means: Means) {
    let (host, _peer, raw, until) = left_behind(means, 3_000);
    let gate = going_on(&host, means, (D, epoch_of(0xc0, 7), until));
    let (last, _) = until_refused(&raw, Duration::from_secs(10));
    let last = last.expect("it was never shut");
    assert!(last < until + means.lateness(), "{:?} late", last.since(until));
    drop(gate);
}

fn what_was_left_open_otherwise_is_shut(means: Means) {
    let epoch = epoch_of(0xc0, 7);
    type Otherwise = fn(Instant) -> LeftOpen;
    // Another deadline than the one that is there; another epoch; another domain.
    let otherwise: [Otherwise; 3] = [
        |until| (D, epoch_of(0xc0, 7), until - Duration::from_secs(10)),
        |until| (D, epoch_of(0xc0, 8), until),
        |until| (OTHER, epoch_of(0xc0, 7), until),
    ];
    for left in otherwise {
        let (host, _peer, raw, until) = left_behind(means, 60_000);
        let gate = going_on(&host, means, left(until));
        assert!(gate.is_adopted() && gate.left_open().is_empty() && !raw.passes(&garp()), "{:?}", left(until));
        assert_eq!(gate.leftovers(), [(D, epoch)], "it is given back");
    }
}

by_both_means!(
    what_a_process_of_the_same_life_left_open_stays_so_until_its_deadline_and_for_that_epoch,
    what_was_left_open_and_is_not_renewed_shuts_at_its_deadline,
    what_was_left_open_otherwise_is_shut,
);

#[test]
fn interfaces_that_came_and_went_meanwhile_end_nothing_that_was_left_open() {
    for means in [Means::Bpf, Means::Nft] {
        let (host, peer) = (Host::new(), Host::new());
        host.cable("v0", &peer, "v1", 9);
        host.cable("w0", &peer, "w1", 8);
        let raw = Raw::new(&host, "v0");
        let mut holder = Holder::start(&host, means, 60_000);
        holder.kill();
        host.ip("link del w0");
        host.cable("x0", &peer, "x1", 7);
        let left = (D, epoch_of(0xc0, 7), holder.until());
        let gate = going_on(&host, means, left);
        assert_eq!(gate.left_open(), [left], "{means:?}");
        let (mut gate, fault) = self_test(&host, gate);
        assert_eq!(fault, Ok(()), "{means:?}");
        assert!(raw.passes(&garp()) && Raw::new(&host, "x0").passes(&garp()), "{means:?}");
        gate.shut(D, epoch_of(0xc0, 7)).unwrap();
        assert!(!raw.passes(&garp()) && !Raw::new(&host, "x0").passes(&garp()), "{means:?}");
    }
}

/// What somebody else does to the tables meanwhile, `TABLE` being their name, and what another release of this program may
/// have made otherwise.
#[test]
fn tables_that_are_not_as_they_were_left_are_replaced_by_ones_that_are_shut() {
    let rule = "rule netdev TABLE out_ethernet";
    let hands = [
        "flush chain netdev TABLE in_ethernet".to_owned(),
        // As many rules as before.
        format!("insert {rule} accept; delete {rule} handle LAST"),
        "flush set netdev TABLE writer".to_owned(),
        "add element netdev TABLE vip4 { 10.9.0.7 }".to_owned(),
        "delete element netdev TABLE vip6 { fd09::100 }".to_owned(),
        "delete chain netdev TABLE egress_INDEX".to_owned(),
        "flush chain inet TABLE routed".to_owned(),
        "delete table inet TABLE".to_owned(),
        "add table netdev TABLE { flags dormant; }".to_owned(),
        "delete element netdev TABLE open_vip4_b { 10.9.0.100 }".to_owned(),
    ];
    for hand in hands {
        let (host, _peer, raw, until) = left_behind(Means::Nft, 60_000);
        let tables = world::nft(&host, "list tables netdev");
        let table = tables.split_whitespace().nth(2).unwrap();
        let last = world::nft(&host, &format!("--handle list chain netdev {table} out_ethernet"));
        let last = last.lines().filter_map(|line| line.rsplit_once("# handle ")).next_back().unwrap().1;
        let index = host.index("v0").to_string();
        let words = hand.replace("TABLE", table).replace("LAST", last.trim()).replace("INDEX", &index);
        world::nft(&host, &words);
        let gate = going_on(&host, Means::Nft, (D, epoch_of(0xc0, 7), until));
        assert!(gate.left_open().is_empty() && !raw.passes(&garp()), "{hand}");
        drop(gate);
        // And a run of another life has to give back what was held.
        let mut gate = super::gate(&host, Means::Nft, 2);
        assert_eq!(gate.leftovers(), [(D, epoch_of(0xc0, 7))], "{hand}");
        gate.open(D, epoch_of(2, 1), in_future(60_000)).unwrap();
        assert!(raw.passes(&garp()), "{hand}");
        assert_eq!(self_test(&host, gate).1, Ok(()), "{hand}");
    }
}
