//! The rules one by one; then real holders and voters on a line that loses, delays, doubles and reorders.

mod line;

use super::*;
use crate::guard::Guards;
use crate::id::{ClusterId, ConfigDigest, DomainId, Incarnation};
use crate::lease::holder::{Claimant, Holder, Lease};
use crate::settings::QuorumSettings;

const LEASE: Duration = Duration::from_millis(500);

fn node(id: u16) -> NodeId {
    NodeId::new(id).unwrap()
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn epoch(of: u16, attempt: u32) -> Epoch {
    Epoch { counter: 1, incarnation: Incarnation(of.into()), attempt, node: node(of) }
}

/// Of node 1, past its start's silence, with nodes 2 and 3 as the other candidates.
fn promises() -> Promises {
    Promises::new([node(2), node(3)], LeaseTiming::for_lease(LEASE), at(0))
}

/// Asks, and returns the nonces in the order of the nodes.
fn ask(promises: &mut Promises, ms: u64, nonce: &mut u64) -> Vec<u64> {
    let next = || {
        *nonce += 1;
        *nonce
    };
    promises.ask(at(ms), epoch(1, 1), next).into_iter().map(|(_, nonce)| nonce).collect()
}

#[test]
fn the_oldest_promise_decides_and_it_counts_from_the_sending_r1() {
    let (mut p, mut nonce) = (promises(), 0);
    let first = ask(&mut p, 1000, &mut nonce);
    p.on_promised(node(2), first[0], epoch(1, 1), LEASE);
    assert_eq!(p.deadline(epoch(1, 1)), None, "node 3 has not promised");
    p.on_promised(node(3), first[1], epoch(1, 1), LEASE);
    let lease = LeaseTiming::for_lease(LEASE).holder_lease();
    assert_eq!(p.deadline(epoch(1, 1)), Some(at(1000) + lease));
    let second = ask(&mut p, 1100, &mut nonce);
    p.on_promised(node(2), second[0], epoch(1, 1), LEASE);
    assert_eq!(p.deadline(epoch(1, 1)), Some(at(1000) + lease), "node 3's is the old one");
    p.on_promised(node(3), second[1], epoch(1, 1), LEASE);
    assert_eq!(p.deadline(epoch(1, 1)), Some(at(1100) + lease));
    // Late doubles of the first answers take nothing back and add nothing.
    p.on_promised(node(2), first[0], epoch(1, 1), LEASE);
    assert_eq!(p.deadline(epoch(1, 1)), Some(at(1100) + lease));
    assert_eq!(p.missing(at(1600), epoch(1, 1)).count(), 2, "they have run out");
}

#[test]
fn a_promise_to_another_epoch_from_a_stranger_or_too_short_counts_for_nothing() {
    let (mut p, mut nonce) = (promises(), 0);
    let asked = ask(&mut p, 1000, &mut nonce);
    p.on_promised(node(3), asked[1], epoch(1, 1), LEASE);
    p.on_promised(node(2), asked[0], epoch(1, 2), LEASE);
    p.on_promised(node(2), asked[0], epoch(1, 1), LEASE / 2);
    p.on_promised(node(2), 99, epoch(1, 1), LEASE);
    p.on_promised(node(9), asked[0], epoch(1, 1), LEASE);
    assert_eq!(p.deadline(epoch(1, 1)), None);
    assert_eq!(p.missing(at(1000), epoch(1, 1)).collect::<Vec<_>>(), [node(2)]);
    p.on_promised(node(2), asked[0], epoch(1, 1), LEASE);
    assert!(p.deadline(epoch(1, 1)).is_some());
    assert_eq!(p.deadline(epoch(1, 2)), None, "none of them is for the next epoch");
    assert_eq!(p.end(epoch(1, 1)), [node(2), node(3)]);
    assert_eq!(p.deadline(epoch(1, 1)), None);
}

#[test]
fn without_another_candidate_there_is_nobody_to_promise() {
    let mut p = Promises::new([], LeaseTiming::for_lease(LEASE), at(0));
    assert!(ask(&mut p, 1000, &mut 0).is_empty());
    assert_eq!(p.deadline(epoch(1, 1)), None);
}

#[test]
fn who_has_promised_is_bound_until_it_runs_out_or_the_holder_lets_go_i13() {
    let mut p = promises();
    assert!(p.is_bound(at(499)) && !p.is_bound(at(500)), "a former life may have promised");
    assert!(p.give(at(1000), epoch(2, 1), LEASE));
    assert!(p.give(at(1200), epoch(3, 1), LEASE));
    assert_eq!(p.bound_until(), at(1700));
    p.free(epoch(3, 1));
    assert_eq!(p.bound_until(), at(1500), "what was promised to node 2 stays");
    p.free(epoch(2, 9));
    assert!(p.is_bound(at(1499)));
    p.free(epoch(2, 1));
    assert!(!p.is_bound(at(1300)));
}

/// Node 2, of whom nodes 1 and 3 may ask for promises; three others vote.
fn holder() -> Holder {
    let timing = LeaseTiming::for_lease(LEASE);
    let quorum = QuorumSettings::new(alloc::vec![node(4), node(5), node(6)], timing);
    let (cluster, digest, domain) = (ClusterId(1), ConfigDigest(1), DomainId(7));
    let me = Claimant { cluster, digest, domain, node: node(2), incarnation: Incarnation(2) };
    let holder = Holder::new(me, quorum, Duration::from_millis(100), Guards::default(), 1);
    holder.with_promises(Promises::new([node(1), node(3)], timing, at(0)))
}

#[test]
fn an_attempt_that_is_under_way_is_given_up_and_its_late_grants_count_for_nothing() {
    use crate::wire::lease::{Envelope, Message, Stamp};

    let mut holder = holder();
    let stamp = Stamp { incarnation: Incarnation(9), clock: at(1) };
    holder.set_tested(at(1000), true);
    holder.stand(at(1000), 100);
    for (voter, query) in holder.take_outbox() {
        holder.on_answer(at(1001), voter, &Envelope { message: Message::Free { max_counter: 0, stamp }, ..query });
    }
    let acquires = holder.take_outbox();
    assert!(holder.promise(at(1002), epoch(1, 1), LEASE));
    for (voter, asked) in acquires {
        let Message::Acquire { epoch, lease, .. } = asked.message else { continue };
        holder.on_answer(at(1003), voter, &Envelope { message: Message::Grant { epoch, lease, stamp }, ..asked });
    }
    assert_eq!((holder.grant(at(1004)), holder.lease(at(1004))), (None, Lease::Bound));
    let released = holder.take_outbox().into_iter().filter(|(_, e)| matches!(e.message, Message::Release { .. }));
    assert_eq!(released.count(), 3, "what was granted is given back");
    // It asks again once its promise has run out, and not before.
    holder.stand(at(1501), 100);
    assert!(holder.take_outbox().iter().all(|(_, e)| !matches!(e.message, Message::Query { .. })));
    holder.tick(at(1502));
    assert!(holder.take_outbox().iter().any(|(_, e)| matches!(e.message, Message::Query { .. })));
}

/// A node whose holder has been told of a Transfer, and waits for the test of its gate, is asked for a promise.
#[test]
fn what_a_transfer_offered_before_a_promise_is_not_taken_after_it() {
    let mut holder = holder();
    assert!(holder.accept_offer(at(1000), node(4), Epoch { counter: 5, ..epoch(2, 1) }));
    assert!(holder.promise(at(1001), epoch(1, 1), LEASE));
    holder.set_tested(at(1002), true);
    let asked = holder.take_outbox();
    assert!(asked.iter().all(|(_, e)| !matches!(e.message, crate::wire::lease::Message::Acquire { .. })), "{asked:?}");
}

#[test]
fn nothing_is_promised_to_a_stranger_or_for_longer_than_a_restart_waits() {
    let mut p = promises();
    assert!(!p.give(at(1000), epoch(9, 1), LEASE));
    assert!(!p.give(at(1000), epoch(2, 1), LEASE + Duration::from_millis(1)));
    assert!(!p.is_bound(at(1000)));
}

#[test]
fn many_holders_are_forgotten_by_name_and_not_by_their_time() {
    let mut p = promises();
    for attempt in 0..20 {
        assert!(p.give(at(1000), epoch(2, attempt), LEASE));
    }
    assert!(p.given.len() <= NAMED);
    (0..20).for_each(|attempt| p.free(epoch(2, attempt)));
    assert!(p.is_bound(at(1499)) && !p.is_bound(at(1500)));
}

#[test]
fn what_a_member_has_promised_whose_clock_is_off_counts_no_more() {
    let (mut p, mut nonce) = (promises(), 0);
    let asked = ask(&mut p, 1000, &mut nonce);
    [2, 3].into_iter().zip(&asked).for_each(|(id, nonce)| p.on_promised(node(id), *nonce, epoch(1, 1), LEASE));
    assert!(p.deadline(epoch(1, 1)).is_some());
    p.distrust(node(3));
    assert_eq!(p.deadline(epoch(1, 1)), None);
    p.on_promised(node(3), asked[1], epoch(1, 1), LEASE);
    assert_eq!(p.deadline(epoch(1, 1)), None, "nor does what it was asked before");
}

#[test]
fn what_a_former_life_promised_under_a_longer_lease_is_waited_out_i13() {
    let mut p = promises();
    p.wait_out(at(4000));
    assert!(p.is_bound(at(3999)) && !p.is_bound(at(4000)));
}
