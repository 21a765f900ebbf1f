//! One holder, one register: what is asked of the store, and what is answered. Histories of several are in `histories`.

use super::*;
use crate::lease::generation::Opened;
use alloc::vec;
use keeper::StoreRecord;

mod histories;

const L: Duration = Duration::from_millis(1000);
const DOMAIN: DomainId = DomainId(7);
const FIRST: Generation = Generation { number: 1, serves: 1, set: ConfigDigest(3) };
/// Something was granted in the first generation, so that nothing is left to be written.
const KEPT: Kept =
    Kept { version: 2, record: StoreRecord { floor: 1, opened: Opened { generation: 1, set: ConfigDigest(3) } } };

fn node(id: u16) -> NodeId {
    NodeId::new(id).unwrap()
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn epoch(counter: u64, by: u16) -> Epoch {
    Epoch { counter, incarnation: Incarnation(u64::from(by) * 100), attempt: 1, node: node(by) }
}

fn register() -> Register {
    let (cluster, digest) = (ClusterId(1), ConfigDigest(2));
    let me = (node(1), Incarnation(100));
    let guards = Guards::default();
    Register::new(
        RegisterSettings {
            cluster,
            digest,
            me,
            lease_max: L,
            sessions: false,
            generation: FIRST,
            domains: Vec::new(),
            guards,
        },
        Incarnation(9),
    )
}

fn ask(nonce: u64, message: Message) -> Envelope {
    Envelope { cluster: ClusterId(1), digest: ConfigDigest(2), domain: DOMAIN, nonce, message }
}

fn acquire(epoch: Epoch) -> Message {
    Message::Acquire { epoch, lease: L, prev_ack: 0, priority: 100 }
}

const QUERY: Message = Message::Query { priority: 100 };

fn held(epoch: Epoch) -> Option<Content> {
    Some(Content { highest: epoch, held: Some(Held { epoch, lease: L, priority: 100, session: false }) })
}

fn free(highest: Epoch) -> Option<Content> {
    Some(Content { highest, held: None })
}

/// The answer to a read.
fn shows(reading: Reading) -> Answer {
    Answer::Read(reading, KEPT)
}

fn reading(version: u64, content: Option<Content>) -> Reading {
    Reading { revision: version, version, content, is_orphan: false }
}

/// The one question.
fn question(out: &[RegisterOutput]) -> (u64, Ask) {
    match out {
        [RegisterOutput::Ask { ticket, ask, .. }] => (*ticket, *ask),
        other => panic!("{other:?}"),
    }
}

/// The one answer.
fn message(out: &[RegisterOutput]) -> Message {
    match out {
        [RegisterOutput::Answer(envelope)] => envelope.message,
        other => panic!("{other:?}"),
    }
}

/// Asks, and has the store show the key.
fn query(register: &mut Register, ms: u64, read: Reading) -> Vec<RegisterOutput> {
    let (ticket, what) = question(&register.handle(at(ms), &ask(ms, QUERY)));
    assert_eq!(what, Ask::Read);
    register.answered(at(ms), DOMAIN, ticket, &shows(read))
}

fn refused(out: &[RegisterOutput]) -> (RefuseReason, u64) {
    match message(out) {
        Message::Refuse { why, remaining, .. } => (why, u64::try_from(remaining.as_millis()).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn is_free(out: &[RegisterOutput]) -> bool {
    matches!(message(out), Message::Free { .. })
}

/// Holds `epoch(6, 1)` at version 20 since `ms`.
fn holder(ms: u64) -> Register {
    let mut register = register();
    assert!(is_free(&query(&mut register, ms, reading(10, free(epoch(5, 2))))));
    let (ticket, _) = question(&register.handle(at(ms), &ask(ms + 1, acquire(epoch(6, 1)))));
    let out = register.answered(at(ms), DOMAIN, ticket, &Answer::Swapped { version: 20 });
    assert!(matches!(message(&out), Message::Grant { .. }));
    register
}

#[test]
fn a_record_of_generations_that_somebody_deletes_stops_nobody_for_good() {
    let mut register = holder(1000);
    let ours = reading(20, held(epoch(6, 1)));
    // A question about another domain, whose answer is to be overtaken.
    let other = Envelope { domain: DomainId(8), ..ask(29, QUERY) };
    let (overtaken, _) = question(&register.handle(at(1090), &other));
    let (ticket, what) = question(&register.handle(at(1100), &ask(30, acquire(epoch(6, 1)))));
    assert!(matches!(what, Ask::Swap { kept: 2, .. }), "{what:?}");
    // The comparison fails: the record is not there any more.
    let gone = Answer::Read(Reading { revision: 30, ..ours }, Kept::default());
    let (ticket, what) = question(&register.answered(at(1110), DOMAIN, ticket, &gone));
    assert!(matches!(what, Ask::Swap { version: 20, kept: 0, .. }), "{what:?}");
    register.answered(at(1120), DOMAIN, ticket, &Answer::Swapped { version: 31 });
    // What was overtaken does not bring it back.
    let late = Answer::Read(Reading { revision: 25, ..reading(0, None) }, KEPT);
    register.answered(at(1130), DomainId(8), overtaken, &late);
    // It is written anew beside the renewal.
    let out = register.handle(at(1300), &ask(31, acquire(epoch(6, 1))));
    let [
        RegisterOutput::AskKept { ask: KeptAsk::Write { version: 0, .. }, .. },
        RegisterOutput::Ask { ask: Ask::Swap { version: 31, kept: 0, .. }, .. },
    ] = out[..]
    else {
        panic!("{out:?}")
    };
}

#[test]
fn another_takes_over_from_the_version_that_it_saw_unmoved_for_the_holders_lease() {
    let mut register = register();
    let theirs = held(epoch(5, 2));
    assert_eq!(refused(&query(&mut register, 1000, reading(10, theirs))), (RefuseReason::Held, 1000));
    assert_eq!(refused(&query(&mut register, 1600, reading(10, theirs))), (RefuseReason::Held, 400), "unmoved");
    assert_eq!(refused(&query(&mut register, 1900, reading(11, theirs))), (RefuseReason::Held, 1000), "renewed");
    assert_eq!(refused(&query(&mut register, 2899, reading(11, theirs))), (RefuseReason::Held, 1));
    assert!(is_free(&query(&mut register, 2900, reading(11, theirs))));
    let (_, what) = question(&register.handle(at(2900), &ask(9, acquire(epoch(6, 1)))));
    let Ask::Swap { version: 11, content, .. } = what else { panic!("{what:?}") };
    assert_eq!(Some(content), held(epoch(6, 1)));
}

#[test]
fn a_read_without_an_answer_takes_nothing_from_how_long_a_version_has_stood_still() {
    let mut register = register();
    let theirs = held(epoch(5, 2));
    query(&mut register, 1000, reading(10, theirs));
    let (ticket, what) = question(&register.handle(at(1300), &ask(2, QUERY)));
    assert_eq!(what, Ask::Read);
    assert!(register.answered(at(1700), DOMAIN, ticket, &Answer::Unknown).is_empty());
    assert_eq!(refused(&query(&mut register, 1900, reading(10, theirs))), (RefuseReason::Held, 100));
    let (ticket, _) = question(&register.handle(at(1950), &ask(3, QUERY)));
    register.answered(at(1960), DOMAIN, ticket, &Answer::Unknown);
    assert!(is_free(&query(&mut register, 2000, reading(10, theirs))));
    // Renewed meanwhile: from zero.
    assert_eq!(refused(&query(&mut register, 2100, reading(11, theirs))), (RefuseReason::Held, 1000));
}

#[test]
fn a_renewal_that_another_has_not_seen_makes_its_swap_fail() {
    let mut register = register();
    query(&mut register, 1000, reading(10, held(epoch(5, 2))));
    query(&mut register, 2000, reading(10, held(epoch(5, 2))));
    let (ticket, _) = question(&register.handle(at(2000), &ask(9, acquire(epoch(6, 1)))));
    let out = register.answered(at(2001), DOMAIN, ticket, &shows(reading(11, held(epoch(5, 2)))));
    assert_eq!(refused(&out), (RefuseReason::Held, 1000));
}

#[test]
fn a_renewal_moves_the_version_and_is_granted_only_by_that() {
    let mut register = holder(1000);
    let (ticket, what) = question(&register.handle(at(1200), &ask(30, acquire(epoch(6, 1)))));
    assert!(matches!(what, Ask::Swap { version: 20, .. }));
    assert!(register.handle(at(1201), &ask(31, acquire(epoch(6, 1)))).is_empty(), "one question at a time");
    assert!(register.answered(at(1202), DOMAIN, ticket + 7, &Answer::Swapped { version: 21 }).is_empty());
    let out = register.answered(at(1203), DOMAIN, ticket, &Answer::Swapped { version: 21 });
    let [RegisterOutput::Answer(granted), RegisterOutput::Ask { ask: next, .. }] = &out[..] else { panic!("{out:?}") };
    assert_eq!((granted.nonce, matches!(granted.message, Message::Grant { .. })), (30, true));
    assert!(matches!(next, Ask::Swap { version: 21, .. }), "the newer request, from the new version");
}

#[test]
fn what_has_become_of_a_swap_is_read_back_and_never_guessed() {
    let mut register = holder(1000);
    let (ticket, _) = question(&register.handle(at(1200), &ask(30, acquire(epoch(6, 1)))));
    assert!(register.answered(at(1700), DOMAIN, ticket, &Answer::Unknown).is_empty());
    let (ticket, what) = question(&register.handle(at(1700), &ask(31, acquire(epoch(6, 1)))));
    assert_eq!(what, Ask::Read);
    // It did take place: that grants nothing, the swap that follows does.
    let out = register.answered(at(1701), DOMAIN, ticket, &shows(reading(21, held(epoch(6, 1)))));
    assert!(matches!(question(&out[..]).1, Ask::Swap { version: 21, .. }), "{out:?}");
}

#[test]
fn a_lost_key_and_one_without_a_history_are_nobodys_for_l_max() {
    let marks = |register: &mut Register, ms: u64, out: &[RegisterOutput], version: u64| {
        let (ticket, ask) = question(out);
        let Ask::Swap { version: 0, content: Content { held: Some(held), .. }, .. } = ask else { panic!("{ask:?}") };
        assert_eq!((held.epoch.incarnation, held.lease), (Incarnation(0), Duration::from_millis(1000)));
        let out = register.answered(at(ms), DOMAIN, ticket, &Answer::Swapped { version });
        (Some(Content { highest: held.epoch, held: Some(held) }), out)
    };
    let mut fresh = register();
    let out = query(&mut fresh, 1000, reading(0, None));
    let (mark, out) = marks(&mut fresh, 1000, &out, 3);
    assert_eq!(refused(&out), (RefuseReason::Quiet, 1000));
    assert!(is_free(&query(&mut fresh, 2000, reading(3, mark))));
    let mut seen = register();
    query(&mut seen, 1000, reading(10, held(epoch(5, 2))));
    let gone = Reading { revision: 12, ..reading(0, None) };
    let out = query(&mut seen, 1100, gone);
    assert_eq!(refused(&marks(&mut seen, 1100, &out, 13).1), (RefuseReason::Quiet, 1000), "somebody has deleted it");
    // Unseen another has taken it, and it was deleted once more: it counts anew.
    let out = query(&mut seen, 2200, Reading { revision: 20, ..reading(0, None) });
    assert_eq!(refused(&marks(&mut seen, 2200, &out, 21).1), (RefuseReason::Quiet, 1000));
}

#[test]
fn a_store_that_has_forgotten_is_told_of_by_a_clock_that_goes_back_r17() {
    let mut register = holder(1000);
    let clock = |out: &[RegisterOutput]| message(out).stamp().unwrap().clock;
    let before = clock(&query(&mut register, 1100, reading(21, held(epoch(6, 1)))));
    let out = query(&mut register, 1200, reading(9, free(epoch(4, 2))));
    assert_eq!(refused(&out).0, RefuseReason::Quiet);
    assert!(clock(&out) < before && register.forgot() == 1);
    assert_eq!(refused(&query(&mut register, 2199, reading(9, free(epoch(4, 2))))), (RefuseReason::Quiet, 1));
    assert!(is_free(&query(&mut register, 2200, reading(9, free(epoch(4, 2))))));
}

/// A register of the next process of a life that holds `epoch(6, 1)` since version 20.
fn next_process() -> Register {
    let mut register = register();
    register.go_on_from(20, [(DOMAIN, epoch(6, 1))]);
    register
}

/// It is asked to renew, and reads both the record of generations and the key.
fn first_look(register: &mut Register) -> u64 {
    match &register.handle(at(5000), &ask(9, acquire(epoch(6, 1))))[..] {
        [RegisterOutput::AskKept { .. }, RegisterOutput::Ask { ticket, ask: Ask::Read, .. }] => *ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_next_process_renews_the_same_epoch_from_the_version_that_it_finds_and_takes_it_for_no_offer() {
    let mut register = next_process();
    let ticket = first_look(&mut register);
    // What the former process had under way has come into effect meanwhile.
    let (ticket, what) = question(&register.answered(at(5001), DOMAIN, ticket, &shows(reading(22, held(epoch(6, 1))))));
    let swap = Ask::Swap { version: 22, content: held(epoch(6, 1)).unwrap(), kept: 2, orphan_of: None };
    assert_eq!(what, swap);
    let out = register.answered(at(5002), DOMAIN, ticket, &Answer::Swapped { version: 30 });
    assert!(matches!(message(&out), Message::Grant { epoch: granted, .. } if granted == epoch(6, 1)));
}

#[test]
fn the_next_process_is_granted_nothing_where_another_has_taken_over() {
    let mut register = next_process();
    let ticket = first_look(&mut register);
    let out = register.answered(at(5001), DOMAIN, ticket, &shows(reading(25, held(epoch(7, 2)))));
    assert_eq!(refused(&out).0, RefuseReason::Held);
}

#[test]
fn a_store_that_forgets_between_two_processes_of_a_life_is_told_of_by_a_clock_that_goes_back_r17() {
    let mut register = next_process();
    let clock = |out: &[RegisterOutput]| message(out).stamp().unwrap().clock;
    let old = reading(9, held(epoch(6, 1)));
    let first = query(&mut register, 5000, old);
    assert_eq!((refused(&first).0, register.forgot()), (RefuseReason::Quiet, 1));
    // The holder has heard none before: what is asked after the first is answered with an earlier clock than that.
    assert!(clock(&query(&mut register, 5100, old)) < clock(&first));
    // Without what the former process has seen nobody notices.
    let mut ignorant = self::register();
    let _ = query(&mut ignorant, 5000, old);
    assert_eq!(ignorant.forgot(), 0);
}

#[test]
fn epochs_rise_and_only_the_exact_one_is_released_v4_v5() {
    let mut register = register();
    query(&mut register, 1000, reading(10, free(epoch(8, 2))));
    let out = register.handle(at(1000), &ask(2, acquire(epoch(7, 1))));
    assert_eq!(refused(&out).0, RefuseReason::Stale);
    let out = register.handle(at(1000), &ask(3, acquire(epoch(9, 2))));
    assert_eq!(refused(&out).0, RefuseReason::NotYou);
    let mut register = holder(1000);
    let out = register.handle(at(1100), &ask(4, Message::Release { epoch: epoch(5, 1) }));
    assert!(matches!(message(&out), Message::Ended { .. }), "another's end is no business of the key's");
    let (_, what) = question(&register.handle(at(1100), &ask(5, Message::Release { epoch: epoch(6, 1) })));
    assert_eq!(
        what,
        Ask::Swap { version: 20, content: Content { highest: epoch(6, 1), held: None }, kept: 2, orphan_of: None }
    );
}

#[test]
fn an_heir_is_told_and_takes_what_was_left_to_it() {
    let mut old = holder(1000);
    let heir = epoch(7, 2);
    let (_, what) = question(&old.handle(at(1100), &ask(5, Message::Transfer { epoch: epoch(6, 1), heir })));
    let Ask::Swap { version: 20, content, .. } = what else { panic!("{what:?}") };
    assert_eq!((content.highest, content.held.unwrap().epoch), (heir, heir));
    let mut new = register();
    new.settings.me = (node(2), Incarnation(200));
    assert_eq!(refused(&query(&mut new, 1050, reading(20, held(epoch(6, 1))))).0, RefuseReason::Held);
    let out = new.seen(at(1101), DOMAIN, reading(21, Some(content)));
    assert!(matches!(message(&out), Message::Offer { epoch, .. } if epoch == heir));
    assert!(new.seen(at(1102), DOMAIN, reading(21, Some(content))).is_empty(), "once");
    let (_, what) = question(&new.handle(at(1103), &ask(8, acquire(heir))));
    assert!(matches!(what, Ask::Swap { version: 21, .. }));
}

#[test]
fn a_read_that_the_news_of_a_transfer_has_overtaken_does_not_take_the_offer_back() {
    let heir = epoch(7, 1);
    let mut new = register();
    query(&mut new, 1000, reading(20, held(epoch(6, 2))));
    let (read, _) = question(&new.handle(at(1100), &ask(2, QUERY)));
    let out = new.seen(at(1101), DOMAIN, reading(21, held(heir)));
    assert!(matches!(message(&out), Message::Offer { epoch, .. } if epoch == heir));
    assert!(new.handle(at(1102), &ask(3, acquire(heir))).is_empty(), "one question at a time");
    // It was read before the transfer.
    let out = new.answered(at(1103), DOMAIN, read, &shows(reading(20, held(epoch(6, 2)))));
    let [RegisterOutput::Answer(answer), asked @ ..] = out.as_slice() else { panic!("{out:?}") };
    assert!(matches!(answer.message, Message::Free { .. }), "{answer:?}");
    assert!(matches!(question(asked).1, Ask::Swap { version: 21, .. }));
    assert_eq!(new.forgot(), 0);
}

#[test]
fn answers_of_two_domains_may_overtake_each_other_and_the_store_has_forgotten_nothing() {
    let (mut register, other) = (holder(1000), DomainId(8));
    let (first, _) = question(&register.handle(at(1100), &ask(5, QUERY)));
    let (second, _) = question(&register.handle(at(1100), &Envelope { domain: other, ..ask(6, QUERY) }));
    register.answered(at(1102), other, second, &shows(Reading { revision: 30, ..reading(0, None) }));
    let late = Reading { revision: 25, ..reading(20, held(epoch(6, 1))) };
    assert!(is_free(&register.answered(at(1103), DOMAIN, first, &shows(late))), "its own");
    assert_eq!(register.forgot(), 0);
    // What is asked from now on is asked of a store that knows 30.
    let out = query(&mut register, 1200, Reading { revision: 29, ..late });
    assert_eq!((refused(&out).0, register.forgot()), (RefuseReason::Quiet, 1));
}

#[test]
fn a_store_has_forgotten_once_however_many_answers_show_it() {
    let (mut register, other) = (holder(1000), DomainId(8));
    let (first, _) = question(&register.handle(at(1100), &ask(5, QUERY)));
    let (second, _) = question(&register.handle(at(1100), &Envelope { domain: other, ..ask(6, QUERY) }));
    register.answered(at(1102), DOMAIN, first, &shows(reading(9, free(epoch(4, 2)))));
    register.answered(at(1103), other, second, &shows(Reading { revision: 9, ..reading(0, None) }));
    assert_eq!(register.forgot(), 1, "both were asked of the store that knew more");
    // What is asked now is asked of one that knows no more than that.
    query(&mut register, 1200, reading(9, free(epoch(4, 2))));
    assert_eq!(register.forgot(), 1);
}

#[test]
fn who_waits_is_told_when_the_key_is_free_the_better_one_first_v11() {
    let mut best = register();
    best.handle(at(0), &ask(1, Message::Query { priority: 255 }));
    best.answered(at(0), DOMAIN, 1, &shows(reading(10, held(epoch(5, 2)))));
    assert_eq!(best.next_deadline(), Some(at(1000)));
    assert!(best.tick(at(999)).is_empty());
    let mut least = best.clone();
    assert!(is_free(&best.tick(at(1000))));
    assert_eq!(best.next_deadline(), None, "once");
    assert!(is_free(&least.seen(at(300), DOMAIN, reading(11, free(epoch(5, 2))))), "let go before");
    let mut least = register();
    least.handle(at(0), &ask(1, Message::Query { priority: 1 }));
    least.answered(at(0), DOMAIN, 1, &shows(reading(10, held(epoch(5, 2)))));
    assert!(least.seen(at(300), DOMAIN, reading(11, free(epoch(5, 2)))).is_empty());
    assert!(least.next_deadline().unwrap() > at(300) && least.next_deadline().unwrap() <= at(350));
    assert!(is_free(&least.tick(at(350))));
}

#[test]
fn word_for_the_holder_is_passed_on_if_it_is_from_a_better_one_r11() {
    let mut register = holder(1000);
    assert!(register.wanted(at(1100), DOMAIN, 100, epoch(7, 2)).is_empty(), "no better");
    let out = register.wanted(at(1100), DOMAIN, 150, epoch(7, 2));
    assert!(matches!(message(&out), Message::Wanted { priority: 150, .. }));
    let mut asks = self::register();
    let request = Message::HandoverRequest { priority: 150, next: epoch(7, 1) };
    let out = asks.handle(at(0), &ask(1, request));
    assert!(matches!(&out[..], [RegisterOutput::LeaveWord { priority: 150, .. }, RegisterOutput::Ask { .. }]));
}

#[test]
fn keys_that_others_keep_moving_are_not_tried_for_ever() {
    let mut register = holder(1000);
    let mut out = register.handle(at(1100), &ask(5, Message::Release { epoch: epoch(6, 1) }));
    let mut asked = 0;
    for version in 30.. {
        let [RegisterOutput::Ask { ticket, .. }] = out[..] else { break };
        asked += 1;
        out = register.answered(at(1100), DOMAIN, ticket, &shows(reading(version, held(epoch(6, 1)))));
    }
    assert_eq!((asked, out), (domain::TRIES, vec![]));
}

#[test]
fn another_content_under_a_version_that_a_store_set_back_has_used_again_does_not_stand_still() {
    let mut register = register();
    assert_eq!(refused(&query(&mut register, 1000, reading(10, held(epoch(5, 2))))), (RefuseReason::Held, 1000));
    // Set back to before version 10 and written to since, while nobody here asked: the revision shows nothing of it.
    let anew = reading(10, held(epoch(6, 3)));
    assert_eq!(refused(&query(&mut register, 9000, anew)), (RefuseReason::Held, 1000));
    assert_eq!(refused(&query(&mut register, 9400, anew)), (RefuseReason::Held, 600));
    assert!(is_free(&query(&mut register, 10_000, anew)));
}
