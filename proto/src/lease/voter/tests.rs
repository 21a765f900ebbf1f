use super::*;
use crate::lease::generation::Opened;
use core::time::Duration;

const L: Duration = Duration::from_millis(1000);

fn node(id: u16) -> NodeId {
    NodeId::new(id).unwrap()
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn epoch(counter: u64, by: u16) -> Epoch {
    Epoch { counter, incarnation: Incarnation(u64::from(by) * 100), attempt: 1, node: node(by) }
}

fn settings() -> VoterSettings {
    VoterSettings {
        cluster: ClusterId(1),
        digest: ConfigDigest(2),
        generation: 1,
        set: ConfigDigest(1),
        former: None,
        candidates: [node(1), node(2)].into(),
        lease_max: L,
        incarnation: Incarnation(9),
    }
}

fn ask(nonce: u64, message: Message) -> Envelope {
    Envelope { cluster: ClusterId(1), digest: ConfigDigest(2), domain: DomainId(7), nonce, message }
}

fn acquire(epoch: Epoch, prev_ack: u64) -> Message {
    Message::Acquire { epoch, lease: L, prev_ack, priority: 100 }
}

/// Past its quiet time at 1000 ms.
fn voter() -> Voter {
    Voter::new(settings(), at(0), None)
}

/// Hands a request in and writes whatever it wants written at once.
fn run(voter: &mut Voter, ms: u64, from: u16, envelope: &Envelope) -> Vec<(NodeId, Message)> {
    let outputs = voter.handle(at(ms), node(from), envelope);
    settle(voter, ms, outputs)
}

fn settle(voter: &mut Voter, ms: u64, outputs: Vec<VoterOutput>) -> Vec<(NodeId, Message)> {
    let mut sent = Vec::new();
    for output in outputs {
        match output {
            VoterOutput::Send { to, envelope } => sent.push((to, envelope.message)),
            VoterOutput::Persist { ticket, .. } => {
                let more = voter.persisted(at(ms), ticket, true);
                sent.extend(settle(voter, ms, more));
            }
        }
    }
    sent
}

fn granted(answers: &[(NodeId, Message)]) -> bool {
    matches!(answers, [(_, Message::Grant { .. }), ..])
}

fn refused(answers: &[(NodeId, Message)]) -> Option<RefuseReason> {
    answers.iter().find_map(|(_, message)| match message {
        Message::Refuse { why, .. } => Some(*why),
        _ => None,
    })
}

#[test]
fn a_second_candidate_is_refused_until_the_grant_has_run_out() {
    let mut v = voter();
    assert!(granted(&run(&mut v, 1000, 1, &ask(1, acquire(epoch(1, 1), 0)))));
    assert_eq!(refused(&run(&mut v, 1999, 2, &ask(1, acquire(epoch(2, 2), 0)))), Some(RefuseReason::Held));
    assert!(granted(&run(&mut v, 2000, 2, &ask(2, acquire(epoch(2, 2), 0)))));
}

#[test]
fn the_own_node_is_refused_like_any_other_v3() {
    let mut v = voter();
    assert!(granted(&run(&mut v, 1000, 1, &ask(1, acquire(epoch(1, 1), 0)))));
    // The voter may live on node 2; nothing in it knows or cares.
    assert_eq!(refused(&run(&mut v, 1001, 2, &ask(1, acquire(epoch(5, 2), 0)))), Some(RefuseReason::Held));
}

#[test]
fn an_epoch_below_the_highest_seen_is_stale_v4() {
    let mut v = voter();
    assert!(granted(&run(&mut v, 1000, 1, &ask(1, acquire(epoch(5, 1), 0)))));
    assert_eq!(refused(&run(&mut v, 3000, 2, &ask(1, acquire(epoch(4, 2), 0)))), Some(RefuseReason::Stale));
    assert!(granted(&run(&mut v, 3000, 1, &ask(2, acquire(epoch(5, 1), 1)))), "exactly the recorded one renews");
}

#[test]
fn release_frees_only_that_exact_epoch_v5() {
    let mut v = voter();
    assert!(granted(&run(&mut v, 1000, 1, &ask(1, acquire(epoch(5, 1), 0)))));
    let mut other_life = epoch(5, 1);
    other_life.incarnation = Incarnation(77);
    run(&mut v, 1001, 1, &ask(2, Message::Release { epoch: other_life }));
    assert!(v.granted(at(1001), DomainId(7)).is_some());
    run(&mut v, 1002, 1, &ask(3, Message::Release { epoch: epoch(5, 1) }));
    assert!(v.granted(at(1002), DomainId(7)).is_none());
    assert_eq!(
        refused(&run(&mut v, 1003, 1, &ask(4, acquire(epoch(5, 1), 0)))),
        Some(RefuseReason::Stale),
        "a released epoch is over"
    );
}

#[test]
fn no_answer_leaves_before_the_record_is_written_v6() {
    let mut v = voter();
    let outputs = v.handle(at(1000), node(1), &ask(1, acquire(epoch(1, 1), 0)));
    let [VoterOutput::Persist { ticket, bytes }] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert_eq!(Record::parse(bytes).unwrap().domains[&DomainId(7)], epoch(1, 1));
    assert!(v.handle(at(1001), node(1), &ask(2, acquire(epoch(1, 1), 0))).is_empty(), "nor for a retransmission");
    let answers = v.persisted(at(1002), *ticket, true);
    assert_eq!(answers.len(), 2);
    assert!(
        matches!(&v.handle(at(1003), node(1), &ask(3, acquire(epoch(1, 1), 2)))[..], [VoterOutput::Send { .. }]),
        "a renewal touches no disk"
    );
}

#[test]
fn a_full_disk_refuses_and_the_epoch_stays_used_up() {
    let mut v = voter();
    let outputs = v.handle(at(1000), node(1), &ask(1, acquire(epoch(3, 1), 0)));
    let [VoterOutput::Persist { ticket, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    let ticket = *ticket;
    let outputs = v.persisted(at(1001), ticket, false);
    assert_eq!(refused(&settle(&mut v, 1001, outputs)), Some(RefuseReason::Disk));
    assert!(v.granted(at(1001), DomainId(7)).is_none());
    assert_eq!(refused(&run(&mut v, 1002, 1, &ask(2, acquire(epoch(3, 1), 0)))), Some(RefuseReason::Stale));
}

#[test]
fn a_restarted_voter_grants_nobody_but_its_persisted_holder_for_l_max_v7_i8() {
    let record = Record { floor: 1, domains: [(DomainId(7), epoch(5, 1))].into(), ..Record::default() };
    let mut v = Voter::new(settings(), at(0), Some(&record));
    assert_eq!(refused(&run(&mut v, 10, 2, &ask(1, acquire(epoch(9, 2), 0)))), Some(RefuseReason::Quiet));
    assert!(granted(&run(&mut v, 20, 1, &ask(1, acquire(epoch(5, 1), 0)))));
    let mut v = Voter::new(settings(), at(0), None);
    assert_eq!(refused(&run(&mut v, 999, 1, &ask(1, acquire(epoch(5, 1), 0)))), Some(RefuseReason::Quiet));
    assert!(granted(&run(&mut v, 1000, 1, &ask(2, acquire(epoch(5, 1), 0)))));
}

#[test]
fn a_holder_that_does_not_hear_is_not_extended_for_ever_v8() {
    let mut v = voter();
    assert!(granted(&run(&mut v, 1000, 1, &ask(1, acquire(epoch(1, 1), 0)))));
    let mut last = 1000;
    for ms in (1200..4000).step_by(200) {
        if granted(&run(&mut v, ms, 1, &ask(ms, acquire(epoch(1, 1), 0)))) {
            last = ms;
        }
    }
    assert!(last <= 2000, "extended until {last}");
    for ms in (4000..8000).step_by(200) {
        let heard = acquire(epoch(1, 1), ms - 200);
        assert!(granted(&run(&mut v, ms, 1, &ask(ms, heard))), "who hears is extended");
    }
}

#[test]
fn another_digest_another_name_and_a_stranger_are_refused_v9_v10() {
    let mut v = voter();
    let mut other = ask(1, acquire(epoch(1, 1), 0));
    other.digest = ConfigDigest(3);
    assert_eq!(refused(&run(&mut v, 1000, 1, &other)), Some(RefuseReason::Digest));
    assert_eq!(refused(&run(&mut v, 1000, 2, &ask(1, acquire(epoch(1, 1), 0)))), Some(RefuseReason::NotYou));
    assert_eq!(refused(&run(&mut v, 1000, 3, &ask(1, acquire(epoch(1, 3), 0)))), Some(RefuseReason::NotYou));
    run(&mut v, 1000, 1, &ask(2, acquire(epoch(1, 1), 0)));
    let theft = ask(1, Message::Transfer { epoch: epoch(1, 1), heir: epoch(2, 2) });
    assert_eq!(refused(&run(&mut v, 1000, 2, &theft)), Some(RefuseReason::NotYou));
}

#[test]
fn the_best_waiting_candidate_is_told_the_moment_a_grant_ends_v11() {
    let mut s = settings();
    s.candidates.insert(node(3));
    let mut v = Voter::new(s, at(0), None);
    run(&mut v, 1000, 1, &ask(1, acquire(epoch(1, 1), 0)));
    for (who, priority) in [(2, 100), (3, 150)] {
        let query = ask(u64::from(who), Message::Query { priority });
        assert_eq!(refused(&run(&mut v, 1100, who, &query)), Some(RefuseReason::Held));
    }
    assert_eq!(v.next_deadline(), Some(at(2000)));
    let outputs = v.tick(at(2000));
    let told = settle(&mut v, 2000, outputs);
    assert!(matches!(told[..], [(to, Message::Free { max_counter: 1, .. })] if to == node(3)), "{told:?}");
    run(&mut v, 2001, 1, &ask(9, acquire(epoch(2, 1), 0)));
    run(&mut v, 2002, 2, &ask(10, Message::Query { priority: 100 }));
    let told = run(&mut v, 2003, 1, &ask(11, Message::Release { epoch: epoch(2, 1) }));
    assert!(matches!(told[..], [(_, Message::Ended { .. }), (to, Message::Free { .. })] if to == node(2)), "{told:?}");
}

#[test]
fn a_transfer_bars_all_but_the_heir_and_is_idempotent() {
    let mut v = voter();
    run(&mut v, 1000, 1, &ask(1, acquire(epoch(1, 1), 0)));
    let transfer = ask(2, Message::Transfer { epoch: epoch(1, 1), heir: epoch(2, 2) });
    for ms in [1100, 1101] {
        let told = run(&mut v, ms, 1, &transfer);
        assert!(
            matches!(told[..], [(a, Message::Ended { .. }), (b, Message::Offer { epoch: e, .. })]
                if a == node(1) && b == node(2) && e == epoch(2, 2)),
            "{told:?}"
        );
    }
    assert_eq!(refused(&run(&mut v, 1102, 1, &ask(3, acquire(epoch(1, 1), 1)))), Some(RefuseReason::Held));
    assert!(granted(&run(&mut v, 1103, 2, &ask(4, acquire(epoch(2, 2), 0)))));
    let late = ask(5, Message::Transfer { epoch: epoch(1, 1), heir: epoch(3, 1) });
    let told = run(&mut v, 1104, 1, &late);
    assert!(matches!(told[..], [(a, Message::Ended { .. })] if a == node(1)), "{told:?}");
    assert_eq!(v.granted(at(1104), DomainId(7)).map(|granted| granted.epoch), Some(epoch(2, 2)));
}

#[test]
fn an_heir_that_asks_late_is_not_taken_for_deaf_v8() {
    let mut v = voter();
    run(&mut v, 1000, 1, &ask(1, acquire(epoch(1, 1), 0)));
    run(&mut v, 1100, 1, &ask(2, Message::Transfer { epoch: epoch(1, 1), heir: epoch(2, 2) }));
    // Its gate's test took its time; nobody else has asked.
    assert!(granted(&run(&mut v, 2101, 2, &ask(3, acquire(epoch(2, 2), 0)))));
    assert_eq!(refused(&run(&mut v, 3102, 2, &ask(4, acquire(epoch(2, 2), 0)))), Some(RefuseReason::Deaf));
}

#[test]
fn word_for_the_holder_ends_with_a_plain_query_of_who_left_it() {
    let mut v = voter();
    run(&mut v, 1000, 1, &ask(1, acquire(epoch(1, 1), 0)));
    let want = Message::HandoverRequest { priority: 200, next: epoch(2, 2) };
    let passed = |answers: &[(NodeId, Message)]| answers.iter().any(|(_, m)| matches!(m, Message::Wanted { .. }));
    assert!(passed(&run(&mut v, 1100, 2, &ask(1, want))));
    assert!(passed(&run(&mut v, 1200, 1, &ask(2, acquire(epoch(1, 1), 1)))));
    run(&mut v, 1300, 2, &ask(2, Message::Query { priority: 200 }));
    assert!(!passed(&run(&mut v, 1400, 1, &ask(3, acquire(epoch(1, 1), 2)))));
}

#[test]
fn what_a_transfer_reserved_does_not_bar_its_own_heir() {
    let mut v = voter();
    run(&mut v, 1000, 1, &ask(1, acquire(epoch(1, 1), 0)));
    run(&mut v, 1100, 1, &ask(2, Message::Transfer { epoch: epoch(1, 1), heir: epoch(2, 2) }));
    // The heir had begun an attempt of its own before the offer reached it.
    assert!(granted(&run(&mut v, 1101, 2, &ask(3, acquire(epoch(3, 2), 0)))));
    assert_eq!(refused(&run(&mut v, 1102, 1, &ask(4, acquire(epoch(4, 1), 0)))), Some(RefuseReason::Held));
    // A repeated Transfer ends nothing but the epoch that it names.
    let told = run(&mut v, 1103, 1, &ask(5, Message::Transfer { epoch: epoch(1, 1), heir: epoch(2, 2) }));
    assert!(matches!(told[..], [(a, Message::Ended { .. })] if a == node(1)), "{told:?}");
    assert_eq!(v.granted(at(1103), DomainId(7)).map(|granted| granted.epoch), Some(epoch(3, 2)));
}

#[test]
fn a_revoked_vote_runs_out_at_its_time_and_goes_to_nobody_before() {
    let mut v = voter();
    assert!(granted(&run(&mut v, 1000, 1, &ask(1, acquire(epoch(1, 1), 0)))));
    let (barred, lent) = v.revoke(at(1500), DomainId(7), Duration::from_secs(10)).unwrap();
    assert_eq!((barred.node, lent.unwrap().until), (node(1), at(2000)));
    // Neither a renewal nor another epoch of the same node, and the other one waits as if nothing had happened.
    for (nonce, wanted) in [(2, epoch(1, 1)), (3, epoch(2, 1))] {
        assert_eq!(refused(&run(&mut v, 1500, 1, &ask(nonce, acquire(wanted, 1)))), Some(RefuseReason::Revoked));
    }
    assert_eq!(refused(&run(&mut v, 1999, 2, &ask(1, acquire(epoch(3, 2), 0)))), Some(RefuseReason::Held));
    // Not even by way of a Transfer: what was lent is given back and goes to whoever asks.
    assert!(granted(&run(&mut v, 2000, 2, &ask(2, acquire(epoch(3, 2), 0)))));
    let back = Message::Transfer { epoch: epoch(3, 2), heir: epoch(4, 1) };
    assert!(matches!(run(&mut v, 2100, 2, &ask(3, back)).as_slice(), [(_, Message::Ended { .. })]));
    assert_eq!(v.granted(at(2100), DomainId(7)), None);
    assert_eq!(refused(&run(&mut v, 11_499, 1, &ask(4, acquire(epoch(5, 1), 0)))), Some(RefuseReason::Revoked));
    assert!(granted(&run(&mut v, 11_500, 1, &ask(5, acquire(epoch(5, 1), 0)))), "it may again");
}

#[test]
fn who_is_barred_may_release_and_is_told_for_how_long() {
    let mut v = voter();
    assert!(granted(&run(&mut v, 1000, 1, &ask(1, acquire(epoch(1, 1), 0)))));
    assert!(v.revoke(at(1000), DomainId(7), Duration::from_secs(10)).is_some());
    let answers = run(&mut v, 1100, 1, &ask(2, Message::Query { priority: 1 }));
    assert!(
        matches!(answers.as_slice(), [(_, Message::Refuse { why: RefuseReason::Revoked, remaining, .. })] if *remaining == Duration::from_millis(9900)),
        "{answers:?}"
    );
    assert!(matches!(
        run(&mut v, 1200, 1, &ask(3, Message::Release { epoch: epoch(1, 1) })).as_slice(),
        [(_, Message::Ended { .. })]
    ));
    assert!(granted(&run(&mut v, 1200, 2, &ask(1, acquire(epoch(2, 2), 0)))));
}

#[test]
fn only_what_nobody_holds_or_asks_for_is_forgotten_and_its_epochs_go_on_rising() {
    let unasked = Duration::from_secs(60);
    let mut v = voter();
    assert_eq!(v.forget(at(1), DomainId(7), unasked), Err(InUse::Unknown));
    assert!(granted(&run(&mut v, 1000, 1, &ask(1, acquire(epoch(41, 1), 0)))));
    assert!(matches!(v.forget(at(1999), DomainId(7), unasked), Err(InUse::Lent(_))));
    assert_eq!(v.forget(at(60_999), DomainId(7), unasked), Err(InUse::Asked(Duration::from_millis(59_999))));
    let Ok(outputs) = v.forget(at(61_000), DomainId(7), unasked) else { panic!("in use") };
    let [VoterOutput::Persist { bytes, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    let record = Record::parse(bytes).unwrap();
    assert_eq!((record.domains.len(), record.forgotten), (0, 41));
    // In this life and in the next it tells whoever asks to begin above.
    for mut v in [v, Voter::new(settings(), at(61_000), Some(&record))] {
        let answers = run(&mut v, 62_000, 2, &ask(2, Message::Query { priority: 1 }));
        assert!(matches!(answers.as_slice(), [(_, Message::Free { max_counter: 41, .. })]), "{answers:?}");
    }
}

#[test]
fn a_voter_that_has_just_started_forgets_nothing() {
    let record = Record { floor: 1, domains: [(DomainId(7), epoch(4, 1))].into(), ..Record::default() };
    let mut v = Voter::new(settings(), at(0), Some(&record));
    assert_eq!(v.forget(at(999), DomainId(7), Duration::ZERO), Err(InUse::Quiet(Duration::from_millis(1))));
    assert!(v.forget(at(1000), DomainId(7), Duration::ZERO).is_ok());
}

#[test]
fn domains_beyond_the_limit_are_refused_and_known_ones_are_not() {
    let mut v = voter();
    for id in 0..MOST_DOMAINS as u64 {
        v.domains.insert(DomainId(1000 + id), Domain::default());
    }
    assert_eq!(refused(&run(&mut v, 1000, 1, &ask(1, acquire(epoch(1, 1), 0)))), Some(RefuseReason::TooMuch));
    let known = Envelope { domain: DomainId(1000), ..ask(2, acquire(epoch(1, 1), 0)) };
    assert!(granted(&run(&mut v, 1000, 1, &known)));
}

#[test]
fn one_record_is_written_for_all_epochs_that_change_in_one_datagram() {
    let mut v = voter();
    let of = |domain: u64| Envelope { domain: DomainId(domain), ..ask(domain, acquire(epoch(1, 1), 0)) };
    let mut all: Vec<Envelope> = (1..=20).map(of).collect();
    all[3].digest = ConfigDigest(3);
    let outputs = v.handle_all(at(1000), node(1), &all);
    let [VoterOutput::Send { .. }, VoterOutput::Persist { ticket, bytes }] = outputs.as_slice() else {
        panic!("{outputs:?}")
    };
    assert_eq!(Record::parse(bytes).unwrap().domains.len(), 19, "the one that is refused has none");
    let answers = v.persisted(at(1001), *ticket, true);
    assert_eq!(answers.len(), 19);
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Op {
        Acquire { by: u16, counter: u64 },
        Release { by: u16, counter: u64 },
        Transfer { by: u16, counter: u64 },
        Restart { remembers: bool },
        Wait(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (1..3u16, 1..6u64).prop_map(|(by, counter)| Op::Acquire { by, counter }),
            1 => (1..3u16, 1..6u64).prop_map(|(by, counter)| Op::Release { by, counter }),
            1 => (1..3u16, 1..6u64).prop_map(|(by, counter)| Op::Transfer { by, counter }),
            1 => any::<bool>().prop_map(|remembers| Op::Restart { remembers }),
            3 => (1..1500u64).prop_map(Op::Wait),
        ]
    }

    proptest! {
        /// I3: whoever was told "granted" stays the only one until L_a after it was told, or gave up; a node that
        /// moves on to a later attempt is no rival of itself.
        #[test]
        fn grants_of_two_holders_never_overlap(ops in proptest::collection::vec(op(), 1..60)) {
            let mut v = voter();
            let mut ms = 1000;
            let mut holding: Option<(Epoch, u64)> = None;
            for (nonce, op) in (1u64..).zip(ops) {
                match op {
                    Op::Wait(by) => ms += by,
                    Op::Restart { remembers } => {
                        let record = v.record();
                        v = Voter::new(settings(), at(ms), remembers.then_some(&record));
                    }
                    Op::Acquire { by, counter } => {
                        let answers = run(&mut v, ms, by, &ask(nonce, acquire(epoch(counter, by), nonce)));
                        if granted(&answers) {
                            if let Some((holder, until)) = holding {
                                let mine = holder == epoch(counter, by) || holder.is_before(&epoch(counter, by));
                                prop_assert!(mine || ms >= until, "{holder:?} until {until}, at {ms}");
                            }
                            holding = Some((epoch(counter, by), ms + 1000));
                        }
                    }
                    Op::Release { by, counter } => {
                        run(&mut v, ms, by, &ask(nonce, Message::Release { epoch: epoch(counter, by) }));
                        holding = holding.filter(|(holder, _)| *holder != epoch(counter, by));
                    }
                    Op::Transfer { by, counter } => {
                        let heir = epoch(counter + 1, 3 - by);
                        run(&mut v, ms, by, &ask(nonce, Message::Transfer { epoch: epoch(counter, by), heir }));
                        holding = holding.filter(|(holder, _)| *holder != epoch(counter, by));
                    }
                }
            }
        }

        #[test]
        fn a_record_survives_the_disk_and_a_torn_one_is_refused(
            domains in proptest::collection::btree_map(any::<u64>(), (any::<u64>(), 1..9u16), 0..20),
            forgotten in 0..3u64,
        ) {
            let domains = domains.into_iter().map(|(id, (counter, by))| (DomainId(id), epoch(counter, by)));
            let opened = Opened { generation: 3, set: ConfigDigest(4) };
            let record = Record { floor: 2, opened, lease_max: L, domains: domains.collect(), forgotten };
            let bytes = record.emit();
            prop_assert_eq!(Record::parse(&bytes), Ok(record));
            for cut in 0..bytes.len() {
                prop_assert!(Record::parse(&bytes[..cut]).is_err());
            }
        }
    }
}
