use super::*;
use crate::lease::config_digest;
use crate::lease::timing::LeaseTiming;
use crate::lease::voter::{Voter, VoterOutput, VoterSettings};
use crate::wire::lease::Stamp;

fn node(id: u16) -> NodeId {
    NodeId::new(id).unwrap()
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn quorum() -> QuorumSettings {
    let voters = alloc::vec![node(1), node(2), node(3)];
    QuorumSettings::new(voters, LeaseTiming::for_lease(Duration::from_millis(1000)))
}

fn holder(id: u16) -> Holder {
    let (cluster, domain) = (ClusterId(1), DomainId(7));
    let digest = config_digest(cluster, &quorum());
    let me = Claimant { cluster, digest, domain, node: node(id), incarnation: Incarnation(u64::from(id) * 1000) };
    let mut holder = Holder::new(me, quorum(), Duration::from_millis(100), Guards::default(), u64::from(id));
    holder.set_tested(at(0), true);
    holder
}

/// Three voters past their quiet time, with a disk that writes at once.
struct Voters(BTreeMap<NodeId, Voter>);

impl Voters {
    fn new() -> Self {
        let voter = |id: u16| {
            let candidates = [node(1), node(2)].into();
            let settings = VoterSettings::new(ClusterId(1), &quorum(), candidates, Incarnation(u64::from(id)));
            (node(id), Voter::new(settings, at(0), None))
        };
        Voters([voter(1), voter(2), voter(3)].into())
    }

    /// Delivers what `holder` wants sent to the voters in `reach`, and their answers back, until it is quiet.
    fn serve(&mut self, ms: u64, holder: &mut Holder, reach: &[u16]) -> Vec<(NodeId, Envelope)> {
        let me = holder.me.node;
        let mut others = Vec::new();
        loop {
            let outbox = holder.take_outbox();
            if outbox.is_empty() {
                return others;
            }
            for (to, envelope) in outbox.into_iter().filter(|(to, _)| reach.contains(&to.get())) {
                let voter = self.0.get_mut(&to).unwrap();
                let mut queue = voter.handle(at(ms), me, &envelope);
                while let Some(output) = queue.pop() {
                    match output {
                        VoterOutput::Persist { ticket, .. } => queue.extend(voter.persisted(at(ms), ticket, true)),
                        VoterOutput::Send { to: back, envelope } if back == me => {
                            assert_eq!(holder.on_answer(at(ms), to, &envelope), None);
                        }
                        VoterOutput::Send { to: other, envelope } => others.push((other, envelope)),
                    }
                }
            }
        }
    }
}

#[test]
fn a_free_majority_grants_and_the_deadline_counts_from_the_sending() {
    let (mut h, mut voters) = (holder(1), Voters::new());
    h.stand(at(1000), 100);
    voters.serve(1000, &mut h, &[1, 3]);
    let grant = h.grant(at(1000)).expect("two of three are a majority");
    assert_eq!(grant.until(), at(1000) + quorum().timing.holder_lease());
    assert_eq!(grant.epoch().counter, 1);
}

#[test]
fn a_grant_counts_from_when_it_was_asked_for_r1() {
    let (mut h, mut voters) = (holder(1), Voters::new());
    h.stand(at(1000), 100);
    voters.serve(1000, &mut h, &[1, 2, 3]);
    h.tick(at(1200));
    voters.serve(1290, &mut h, &[1, 2, 3]);
    assert_eq!(h.grant(at(1290)).unwrap().until(), at(1200) + quorum().timing.holder_lease());
}

#[test]
fn who_is_refused_backs_off_the_longer_the_lower_its_priority_r13() {
    for priority in [1, 100, 200, 254] {
        let mut h = holder(1);
        h.stand(at(1000), priority);
        for (to, envelope) in h.take_outbox() {
            let stamp = Stamp { incarnation: Incarnation(to.get().into()), clock: at(1000) };
            h.on_answer(at(1000), to, &Envelope { message: Message::Free { max_counter: 0, stamp }, ..envelope });
        }
        // In between another was quicker.
        for (to, envelope) in h.take_outbox() {
            assert!(matches!(envelope.message, Message::Acquire { .. }));
            let (why, stamp) =
                (RefuseReason::Held, Stamp { incarnation: Incarnation(to.get().into()), clock: at(1001) });
            let (holder, holder_priority, remaining, max_counter) = (None, 0, Duration::ZERO, 1);
            let message = Message::Refuse { why, holder, holder_priority, remaining, max_counter, stamp };
            h.on_answer(at(1001), to, &Envelope { message, ..envelope });
        }
        h.take_outbox();
        let asks = |(_, envelope): &(NodeId, Envelope)| matches!(envelope.message, Message::Query { .. });
        let asked = (1001..2000).find(|ms| {
            h.tick(at(*ms));
            h.take_outbox().iter().any(asks)
        });
        // A quarter of h, the skew, and a jitter below h.
        let least = 1001 + 25 + 100 * (256 - u64::from(priority)) / 256;
        assert!(asked.is_some_and(|ms| (least..=least + 101).contains(&ms)), "{priority}: {asked:?}, {least}");
    }
}

#[test]
fn one_voter_of_three_is_no_majority() {
    let (mut h, mut voters) = (holder(1), Voters::new());
    h.stand(at(1000), 100);
    voters.serve(1000, &mut h, &[1]);
    assert_eq!(h.grant(at(1000)), None);
    h.tick(at(2000));
    voters.serve(2000, &mut h, &[1]);
    assert_eq!(h.lease(at(2000)), Lease::Unanswered);
}

#[test]
fn the_deadline_is_the_qth_newest_answer_r3_i5() {
    let (mut h, mut voters) = (holder(1), Voters::new());
    let lease = quorum().timing.holder_lease();
    h.stand(at(1000), 100);
    voters.serve(1000, &mut h, &[1, 2, 3]);
    h.tick(at(1200));
    voters.serve(1200, &mut h, &[1]);
    assert_eq!(h.grant(at(1200)).unwrap().until(), at(1000) + lease, "one renewal of three moves nothing");
    h.tick(at(1400));
    voters.serve(1400, &mut h, &[2]);
    assert_eq!(h.grant(at(1400)).unwrap().until(), at(1200) + lease, "the second newest is 1200");
}

#[test]
fn after_the_deadline_it_has_lapsed_and_never_renews_that_epoch_r5() {
    let (mut h, mut voters) = (holder(1), Voters::new());
    h.stand(at(1000), 100);
    voters.serve(1000, &mut h, &[1, 2, 3]);
    let first = h.epoch().unwrap();
    let d = at(1000) + quorum().timing.holder_lease();
    assert!(h.grant(d).is_none() && h.lease(d) == Lease::Lapsed);
    h.tick(d);
    assert!(h.take_outbox().is_empty());
    h.clear_lapse(d);
    h.tick(at(2500));
    voters.serve(2500, &mut h, &[1, 2, 3]);
    let second = h.grant(at(2500)).unwrap().epoch();
    assert!(second > first && second.attempt != first.attempt);
}

#[test]
fn after_a_lapse_nothing_is_asked_until_the_last_frame_is_gone() {
    let (mut h, mut voters) = (holder(1), Voters::new());
    h.stand(at(1000), 100);
    voters.serve(1000, &mut h, &[1, 2, 3]);
    let d = h.grant(at(1000)).unwrap().until();
    h.tick(d);
    h.clear_lapse(d);
    let drained = d + quorum().timing.drain();
    h.tick(drained - Duration::from_nanos(1));
    let reserved = Epoch { counter: 9, incarnation: h.me.incarnation, attempt: 2, node: node(1) };
    assert!(!h.accept_offer(drained - Duration::from_nanos(1), node(3), reserved));
    assert!(h.take_outbox().is_empty());
    h.tick(drained);
    assert_eq!(h.take_outbox().len(), 3);
}

#[test]
fn an_offer_that_our_own_attempt_has_overtaken_ends_the_back_off() {
    let (mut h, mut voters) = (holder(1), Voters::new());
    h.stand(at(1000), 100);
    voters.serve(1000, &mut h, &[1]);
    let reserved = Epoch { counter: 5, incarnation: h.me.incarnation, attempt: 1, node: node(1) };
    h.attempt = 1;
    h.sit(at(1001));
    h.not_before = at(3000);
    h.stand(at(1002), 100);
    h.take_outbox();
    assert!(!h.accept_offer(at(1003), node(3), reserved));
    assert_eq!(h.take_outbox().len(), 3, "it asks at once");
}

#[test]
fn a_late_answer_to_a_former_epoch_moves_nothing_i12() {
    let (mut h, mut voters) = (holder(1), Voters::new());
    h.stand(at(1000), 100);
    voters.serve(1000, &mut h, &[1, 2]);
    h.tick(at(1200));
    let late = h.take_outbox();
    h.tick(at(1999));
    h.clear_lapse(at(1999));
    h.tick(at(2500));
    voters.serve(2500, &mut h, &[1, 2]);
    let before = h.grant(at(2500));
    for (to, envelope) in late {
        let Message::Acquire { epoch, lease, .. } = envelope.message else { panic!() };
        let stamp = crate::wire::lease::Stamp { incarnation: Incarnation(to.get().into()), clock: at(2501) };
        h.on_answer(at(2501), to, &Envelope { message: Message::Grant { epoch, lease, stamp }, ..envelope });
    }
    assert!(before.is_some() && h.grant(at(2501)) == before);
}

#[test]
fn a_refused_candidate_disturbs_nobody_and_is_told_when_it_is_free_r2_v11() {
    let (mut a, mut b, mut voters) = (holder(1), holder(2), Voters::new());
    a.stand(at(1000), 200);
    voters.serve(1000, &mut a, &[1, 2, 3]);
    b.stand(at(1010), 100);
    voters.serve(1010, &mut b, &[1, 2, 3]);
    assert_eq!(b.lease(at(1010)), Lease::Refused);
    a.tick(at(1200));
    voters.serve(1200, &mut a, &[1, 2, 3]);
    assert!(a.grant(at(1200)).unwrap().until() > at(2100));
    a.give_back(at(1300), None);
    for (to, envelope) in voters.serve(1300, &mut a, &[1, 2, 3]) {
        assert!(to == node(2) && matches!(envelope.message, Message::Free { .. }));
        let from = node(1 + u16::try_from(voters.0.len()).unwrap() - 3);
        let _ = from;
        for voter in [1, 2, 3] {
            b.on_answer(at(1301), node(voter), &envelope_from(voter, envelope.clone()));
        }
    }
    voters.serve(1301, &mut b, &[1, 2, 3]);
    assert!(b.grant(at(1301)).is_some(), "no polling was needed");
}

/// The same word from another voter, with that voter's stamp.
fn envelope_from(voter: u16, mut envelope: Envelope) -> Envelope {
    if let Message::Free { stamp, .. } = &mut envelope.message {
        stamp.incarnation = Incarnation(voter.into());
    }
    envelope
}

#[test]
fn a_transfer_reaches_the_heir_with_its_reserved_epoch_and_once_only() {
    let (mut a, mut b, mut voters) = (holder(1), holder(2), Voters::new());
    a.stand(at(1000), 200);
    voters.serve(1000, &mut a, &[1, 2, 3]);
    let (_, attempt) = b.next_attempt();
    let heir = Epoch { counter: 2, incarnation: Incarnation(2000), attempt, node: node(2) };
    a.give_back(at(1100), Some(heir));
    let offers = voters.serve(1100, &mut a, &[1, 2, 3]);
    assert_eq!(offers.len(), 3);
    assert!(b.accept_offer(at(1101), node(3), heir));
    voters.serve(1101, &mut b, &[1, 2, 3]);
    assert_eq!(b.grant(at(1101)).unwrap().epoch(), heir);
    b.give_back(at(1200), None);
    voters.serve(1200, &mut b, &[1, 2, 3]);
    assert!(!b.accept_offer(at(1201), node(3), heir), "a used epoch is never used again");
}

#[test]
fn two_candidates_at_once_end_with_one_holder() {
    let (mut a, mut b, mut voters) = (holder(1), holder(2), Voters::new());
    a.stand(at(1000), 200);
    b.stand(at(1000), 100);
    for ms in (1000..3000).step_by(5) {
        a.tick(at(ms));
        voters.serve(ms, &mut a, &[1, 3]);
        b.tick(at(ms));
        voters.serve(ms, &mut b, &[2, 3]);
        assert!(a.grant(at(ms)).is_none() || b.grant(at(ms)).is_none());
    }
    assert!(a.grant(at(2999)).is_some() || b.grant(at(2999)).is_some());
}

#[test]
fn a_voter_whose_clock_went_backwards_is_ignored_for_l_max_r17() {
    let (mut h, mut voters) = (holder(1), Voters::new());
    h.stand(at(1000), 100);
    voters.serve(1000, &mut h, &[1, 2, 3]);
    h.tick(at(1200));
    let (to, request) = h.take_outbox().into_iter().find(|(to, _)| *to == node(3)).unwrap();
    let Message::Acquire { epoch, lease, .. } = request.message else { panic!() };
    let stamp = crate::wire::lease::Stamp { incarnation: Incarnation(3), clock: at(400) };
    let answer = Envelope { message: Message::Grant { epoch, lease, stamp }, ..request };
    let why = Amnesia::ClockBack(Duration::from_millis(600));
    assert_eq!(h.on_answer(at(1201), to, &answer), Some(VoterFault { voter: node(3), why }));
    assert_eq!(h.on_answer(at(1202), to, &answer), None, "said once");
    assert_eq!(h.grant(at(1202)).unwrap().until(), at(1000) + quorum().timing.holder_lease());
}

#[test]
fn a_late_answer_to_a_former_life_is_no_answer_to_this_one() {
    let asked = |incarnation: u64| {
        let mut h = holder(1);
        h = Holder::new(
            Claimant { incarnation: Incarnation(incarnation), ..h.me },
            quorum(),
            Duration::from_millis(100),
            Guards::default(),
            1,
        );
        h.stand(at(1000), 100);
        let (to, request) = h.take_outbox().into_iter().next().unwrap();
        let stamp = crate::wire::lease::Stamp { incarnation: Incarnation(1), clock: at(400) };
        (h, to, Envelope { message: Message::Free { max_counter: 0, stamp }, ..request })
    };
    let (former, to, late) = asked(0x1234_5678_9abc_def0);
    let (present, _, _) = asked(0x0fed_cba9_8765_4321);
    assert_eq!(former.sent_at(to, &late), Some(at(1000)));
    assert_eq!(present.sent_at(to, &late), None);
}

#[test]
fn an_heir_that_overtakes_the_transfer_asks_again_and_gives_nothing_up() {
    let (mut a, mut b, mut voters) = (holder(1), holder(2), Voters::new());
    a.stand(at(1000), 200);
    voters.serve(1000, &mut a, &[1, 2, 3]);
    let (_, attempt) = b.next_attempt();
    let heir = Epoch { counter: 2, incarnation: Incarnation(2000), attempt, node: node(2) };
    a.give_back(at(1100), Some(heir));
    let words = a.take_outbox();
    // Only voter 1 has heard of it when the heir asks all three.
    let (to, first) = words.iter().find(|(to, _)| *to == node(1)).unwrap();
    let outputs = voters.0.get_mut(to).unwrap().handle(at(1100), node(1), first);
    let [VoterOutput::Persist { ticket, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    voters.0.get_mut(to).unwrap().persisted(at(1100), *ticket, true);
    assert!(b.accept_offer(at(1101), node(1), heir));
    voters.serve(1101, &mut b, &[1, 2, 3]);
    assert_eq!(b.grant(at(1101)), None);
    for (to, envelope) in words.iter().filter(|(to, _)| *to != node(1)) {
        let voter = voters.0.get_mut(to).unwrap();
        if let [VoterOutput::Persist { ticket, .. }] = voter.handle(at(1102), node(1), envelope).as_slice() {
            voter.persisted(at(1102), *ticket, true);
        }
    }
    b.tick(b.next_deadline().unwrap());
    voters.serve(1107, &mut b, &[1, 2, 3]);
    assert_eq!(b.grant(at(1107)).map(|grant| grant.epoch()), Some(heir), "without waiting for an offer");
}

#[test]
fn a_refusal_stays_the_evidence_while_single_voters_change_their_word_and_a_free_majority_ends_it_at_once() {
    let (mut a, mut b, mut voters) = (holder(1), holder(2), Voters::new());
    a.stand(at(1000), 200);
    voters.serve(1000, &mut a, &[1, 2, 3]);
    b.stand(at(1010), 100);
    assert_eq!(b.lease(at(1010)), Lease::Vacant, "asked and not answered yet");
    voters.serve(1010, &mut b, &[2, 3]);
    // From here on the holder reaches all but the second voter, whose loan runs out at 2000.
    for ms in (1020..3000).step_by(10) {
        a.tick(at(ms));
        voters.serve(ms, &mut a, &[1, 3]);
        b.tick(at(ms));
        assert_eq!(b.lease(at(ms)), Lease::Refused, "at {ms}");
        voters.serve(ms, &mut b, &[2, 3]);
        assert_eq!(b.lease(at(ms)), Lease::Refused, "at {ms}");
    }
    // The voter that refused says itself when it is free, which makes a majority with the second.
    let third = voters.0.get_mut(&node(3)).unwrap();
    let free_at = third.granted(at(3000), DomainId(7)).unwrap().until;
    for output in third.tick(free_at) {
        let VoterOutput::Send { envelope, .. } = output else { panic!("{output:?}") };
        b.on_answer(free_at, node(3), &envelope);
    }
    let ms = u64::try_from(free_at.since(at(0)).as_millis()).unwrap();
    voters.serve(ms, &mut b, &[2, 3]);
    assert!(matches!(b.lease(at(ms)), Lease::Held(_)), "{:?}", b.lease(at(ms)));
}

/// A candidate whose attempt was overtaken between the voters' word and its own `Acquire`.
fn overtaken() -> (Holder, Voters) {
    let (mut a, mut b, mut voters) = (holder(1), holder(2), Voters::new());
    b.stand(at(1000), 100);
    let queries = b.take_outbox();
    for (to, query) in queries.into_iter().filter(|(to, _)| to.get() != 1) {
        for output in voters.0.get_mut(&to).unwrap().handle(at(1000), node(2), &query) {
            let VoterOutput::Send { envelope, .. } = output else { panic!("{output:?}") };
            b.on_answer(at(1000), to, &envelope);
        }
    }
    assert!(matches!(b.phase, Phase::Acquiring { .. }));
    a.stand(at(1000), 200);
    voters.serve(1000, &mut a, &[1, 2, 3]);
    voters.serve(1001, &mut b, &[1, 2, 3]);
    assert_eq!(b.lease(at(1001)), Lease::Refused);
    (b, voters)
}

#[test]
fn after_the_back_off_a_refusal_stays_the_evidence_until_the_new_round_is_answered() {
    let (mut b, _voters) = overtaken();
    let asks_at = b.not_before;
    b.tick(asks_at);
    assert!(matches!(b.phase, Phase::Asking { .. }));
    assert_eq!(b.lease(asks_at), Lease::Refused);
}

#[test]
fn nobody_answering_is_told_even_after_a_refusal() {
    let (mut b, _voters) = overtaken();
    for ms in (1010..3000).step_by(10) {
        b.tick(at(ms));
        b.take_outbox();
    }
    assert_eq!(b.lease(at(3000)), Lease::Unanswered);
}

#[test]
fn a_new_claim_begins_without_the_former_ones_refusal() {
    let (mut b, _voters) = overtaken();
    b.sit(at(1002));
    assert_eq!(b.lease(at(1002)), Lease::Vacant);
    b.stand(at(3000), 100);
    assert_eq!(b.lease(at(3000)), Lease::Vacant);
}

#[test]
fn a_refusal_that_the_word_free_has_overtaken_takes_nothing_back() {
    let mut h = holder(1);
    h.set_tested(at(0), false);
    h.stand(at(1000), 100);
    let asked = h.take_outbox();
    let stamp = |ms| Stamp { incarnation: Incarnation(1), clock: at(ms) };
    let answer = |to: usize, message| Envelope { message, ..asked[to].1.clone() };
    let (why, holder, holder_priority, remaining) = (RefuseReason::Held, None, 0, Duration::from_millis(500));
    let late = Message::Refuse { why, holder, holder_priority, remaining, max_counter: 1, stamp: stamp(10) };
    for to in [0, 1] {
        let free = Message::Free { max_counter: 1, stamp: stamp(11) };
        h.on_answer(at(1002), asked[to].0, &answer(to, free));
        h.on_answer(at(1003), asked[to].0, &answer(to, late));
    }
    // R14: only now is the gate tested, and the claim goes on at once.
    assert!(h.take_outbox().is_empty());
    h.set_tested(at(1004), true);
    assert!(matches!(h.take_outbox()[..], [(_, Envelope { message: Message::Acquire { .. }, .. }), ..]));
}

#[test]
fn a_grant_that_comes_after_d_revives_nothing_r5() {
    let (mut h, mut voters) = (holder(1), Voters::new());
    h.stand(at(1000), 100);
    voters.serve(1000, &mut h, &[1, 2, 3]);
    let d = h.grant(at(1000)).unwrap().until();
    h.tick(at(1200));
    // The loop stands still from here on, and takes what has come before it looks at the clock.
    let late = d + Duration::from_millis(5);
    for (to, envelope) in h.take_outbox() {
        let Message::Acquire { epoch, lease, .. } = envelope.message else { panic!() };
        let stamp = crate::wire::lease::Stamp { incarnation: Incarnation(to.get().into()), clock: late };
        h.on_answer(late, to, &Envelope { message: Message::Grant { epoch, lease, stamp }, ..envelope });
    }
    assert_eq!((h.grant(late), h.lease(late)), (None, Lease::Lapsed));
}

#[test]
fn only_a_voter_has_anything_to_offer() {
    let mut h = holder(1);
    let reserved = Epoch { counter: 5, incarnation: h.me.incarnation, attempt: 1, node: node(1) };
    assert!(!h.accept_offer(at(1000), node(9), reserved));
    assert!(h.accept_offer(at(1000), node(3), reserved));
}

#[test]
fn evidence_that_flickers_asks_the_holder_once_in_an_interval() {
    let (mut a, mut b, mut voters) = (holder(1), holder(2), Voters::new());
    a.stand(at(1000), 200);
    voters.serve(1000, &mut a, &[1, 2, 3]);
    b.stand(at(1001), 250);
    voters.serve(1001, &mut b, &[1, 2, 3]);
    assert_eq!(b.lease(at(1001)), Lease::Refused);
    let is_one = |(_, envelope): &(NodeId, Envelope)| matches!(envelope.message, Message::HandoverRequest { .. });
    let mut asked = Vec::new();
    for ms in 1010..1010 + 500 {
        // On for a millisecond, off for one.
        b.ask_for_handover(at(ms), ms % 2 == 0);
        b.tick(at(ms));
        if b.take_outbox().iter().any(is_one) {
            asked.push(ms);
        }
    }
    assert_eq!(asked.first(), Some(&1010), "what begins asks at once");
    let intervals = 500 / quorum().timing.renewal_interval().as_millis();
    assert!(asked.len() as u128 <= 2 * (intervals + 1), "asked at {asked:?}");
}

#[test]
fn a_generation_begins_above_all_that_the_one_before_may_have_used_i4() {
    let of = |generation: u32| {
        let quorum = QuorumSettings { generation, ..quorum() };
        Holder::new(holder(1).me, quorum, Duration::from_millis(100), Guards::default(), 1)
    };
    assert_eq!(of(1).next_attempt().0, 1);
    let mut before = of(2);
    // As many as it sees in a century, one in each second.
    before.saw_counter(before.next_attempt().0 + 100 * 366 * 24 * 3600);
    assert!(of(3).next_attempt().0 > before.next_attempt().0);
    // What was seen of a later one counts all the same, so that one that comes back to an older one is above it.
    before.saw_counter(of(3).next_attempt().0);
    assert!(before.next_attempt().0 > of(3).next_attempt().0);
}
