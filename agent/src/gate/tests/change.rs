//! Other domains for a gate that stands, as a reload brings them.

use super::life::garp;
use super::world::Raw;
use super::*;

const NEW: DomainId = DomainId(0xd2);

/// Of an address by its last number.
fn garp_of(last: u8) -> Vec<u8> {
    let mut frame = garp();
    let vip = VIP4.octets();
    let mut moved = vip;
    moved[3] = last;
    for at in 0..frame.len() - 3 {
        if frame[at..at + 4] == vip {
            frame[at..at + 4].copy_from_slice(&moved);
        }
    }
    frame
}

fn change(host: &Host, keeper: &Keeper, domains: &[GateDomain], number: u64) -> Option<Changed> {
    let (keeper, domains) = (keeper.clone(), domains.to_vec());
    host.run(move || keeper.change(&domains, number).unwrap())
}

fn names_come_and_go_and_an_open_domain_does_not_notice(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut gate = gate(&host, means, 1);
    let (raw, keeper) = (Raw::new(&host, "v0"), gate.keeper().unwrap());
    let passes = |last: u8| raw.passes(&garp_of(last));
    gate.open(D, epoch(5), in_future(60_000)).unwrap();
    assert_eq!([100, 101, 111, 112].map(passes), [true, false, true, true], "what is in no domain is anybody's");

    let before = config(&host, means, 1).domains;
    let mut all = before.clone();
    all[1].addresses.push("10.9.0.111".parse().unwrap());
    all.push(GateDomain { id: NEW, addresses: vec!["10.9.0.112".parse().unwrap()], refused: vec![], routers: vec![] });
    let changed = change(&host, &keeper, &all, 7).unwrap();
    assert_eq!([100, 101, 112].map(passes), [true, false, false], "barred at once");
    gate.change(&changed).unwrap();
    assert_eq!([100, 101, 111, 112].map(passes), [true, false, true, false], "its lease is for the new one, too");
    assert!(change(&host, &keeper, &before, 6).is_none(), "one that comes too late");
    gate.open(NEW, epoch(6), in_future(60_000)).unwrap();
    gate.open(D, epoch(5), in_future(60_000)).unwrap();
    assert_eq!([100, 101, 111, 112].map(passes), [true, false, true, true]);

    let after = all[1..].to_vec();
    change(&host, &keeper, &after, 7).unwrap();
    assert_eq!([100, 101, 111, 112].map(passes), [true; 4], "what is gone is barred no more");
    let (mut gate, fault) = host.run(move || {
        let fault = gate.self_test();
        (gate, fault)
    });
    assert_eq!(fault, Ok(()));
    gate.shut(D, epoch(5)).unwrap();
    assert_eq!([100, 111, 112].map(passes), [false, false, true]);
    assert!(gate.open(D, epoch(5), in_future(60_000)).is_err(), "a tombstone outlives it (R9)");

    drop((gate, keeper));
    let heir = gate_of(&host, GateConfig { domains: after, ..config(&host, means, 2) });
    assert_eq!(heir.leftovers(), [(D, epoch(5)), (NEW, epoch(6))]);
    assert_eq!(heir.is_adopted(), means == Means::Bpf, "whatever the slots are numbered by");
    assert_eq!([100, 111, 112].map(passes), [false; 3]);
}

by_both_means!(names_come_and_go_and_an_open_domain_does_not_notice);

#[test]
fn a_gate_that_was_made_for_fewer_says_so_and_is_as_it_was() {
    let host = Host::new();
    let gate = gate(&host, Means::Bpf, 1);
    let keeper = gate.keeper().unwrap();
    let many = (0..64).map(|number| GateDomain {
        id: DomainId(number + 1000),
        addresses: vec![],
        refused: vec![],
        routers: vec![],
    });
    let many: Vec<GateDomain> = many.collect();
    let (asked, of) = (keeper.clone(), many.clone());
    let full = host.run(move || asked.change(&of, 1)).unwrap_err();
    assert!(matches!(full, GateError::NoRoom), "{full}");
    let fits = change(&host, &keeper, &many[..63], 2);
    assert!(fits.is_some());
}
