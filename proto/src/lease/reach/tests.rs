use super::*;
use crate::lease::timing::LeaseTiming;
use alloc::vec;

fn id(number: u16) -> NodeId {
    NodeId::new(number).unwrap()
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

/// Of three voters, with a lease of a second: R is 200 ms, and each is asked once in a second.
fn reach() -> Reach {
    let timing = LeaseTiming::for_lease(Duration::from_secs(1));
    Reach::new(&QuorumSettings::new(vec![id(1), id(2), id(3)], timing), at(0))
}

fn asked(due: &[(NodeId, u64)]) -> Vec<u16> {
    due.iter().map(|(voter, _)| voter.get()).collect()
}

#[test]
fn who_has_answered_of_late_is_not_asked_and_the_others_are_once_in_a_second() {
    let mut reach = reach();
    assert_eq!(asked(&reach.due(at(0), false)), [1, 2, 3]);
    assert!(!reach.on_answer(at(10), id(1), Some(Duration::ZERO)));
    assert_eq!(asked(&reach.due(at(200), false)), [1, 2, 3], "each R until a majority is reached");
    assert!(reach.on_answer(at(210), id(2), Some(Duration::ZERO)) && reach.is_reached());
    assert_eq!(asked(&reach.due(at(400), false)), [3]);
    assert_eq!(asked(&reach.due(at(1399), false)), [0_u16; 0], "then once in a second");
    // A holder's grants are answers, too.
    assert!(!reach.on_answer(at(1300), id(1), Some(Duration::ZERO)));
    assert_eq!(asked(&reach.due(at(1400), false)), [2, 3]);
    let nonces: Vec<u64> = reach.due(at(2400), false).into_iter().map(|(_, nonce)| nonce).collect();
    assert_eq!(nonces, [10, 11, 12], "each its own");
}

#[test]
fn a_majority_that_falls_silent_is_lost_and_asked_for_each_r_until_it_answers() {
    let mut reach = reach();
    for voter in [1, 2, 3] {
        reach.on_answer(at(5000), id(voter), Some(Duration::ZERO));
    }
    reach.on_answer(at(7000), id(1), None);
    reach.due(at(7500), false);
    assert!(!reach.look(at(7999)) && reach.is_reached());
    assert_eq!((reach.next_deadline(), reach.silent(at(7999)).count()), (at(8000), 0));
    assert!(reach.look(at(8000)) && !reach.is_reached() && reach.is_lost(at(8000)));
    assert_eq!((reach.silent(at(8000)).collect::<Vec<_>>(), reach.answering(at(8000))), (vec![id(2), id(3)], (1, 2)));
    assert_eq!(asked(&reach.due(at(8000), false)), [1, 2, 3]);
    assert_eq!(asked(&reach.due(at(8200), false)), [1, 2, 3]);
    assert!(reach.on_answer(at(8210), id(3), None) && reach.is_reached() && !reach.is_lost(at(8210)));
}

#[test]
fn who_waits_out_its_restart_answers_and_does_not_lend_v7() {
    let mut reach = reach();
    reach.on_answer(at(100), id(1), Some(Duration::from_millis(900)));
    reach.on_answer(at(100), id(2), Some(Duration::ZERO));
    assert_eq!((reach.answering(at(100)), reach.lending(at(100)), reach.is_reached()), ((2, 2), (1, 2), false));
    reach.due(at(900), false);
    assert_eq!(reach.next_deadline(), at(1000));
    assert!(reach.look(at(1000)) && reach.is_reached());
}

#[test]
fn right_after_the_start_nobody_is_called_silent() {
    let reach = reach();
    assert!(!reach.is_lost(at(2999)) && reach.silent(at(2999)).next().is_none());
    assert!(reach.is_lost(at(3000)) && reach.silent(at(3000)).count() == 3);
}

#[test]
fn after_a_sleep_nobody_is_called_silent_at_once_and_nothing_is_handed_over_before_they_answer() {
    let mut reach = reach();
    for voter in [1, 2, 3] {
        reach.on_answer(at(5000), id(voter), Some(Duration::ZERO));
    }
    reach.slept(at(15_000));
    assert!(reach.look(at(15_000)) && !reach.is_reached());
    assert!(!reach.is_lost(at(17_999)) && reach.silent(at(17_999)).next().is_none());
    assert_eq!(asked(&reach.due(at(15_000), false)), [1, 2, 3]);
    assert!(reach.is_lost(at(18_000)) && reach.silent(at(18_000)).count() == 3);
}

#[test]
fn those_of_the_generation_before_are_asked_until_ours_is_open() {
    let timing = LeaseTiming::for_lease(Duration::from_secs(1));
    let mut quorum = QuorumSettings::new(vec![id(1), id(2), id(3)], timing);
    (quorum.generation, quorum.former) = (2, Some(vec![id(1), id(2), id(4)]));
    let mut reach = Reach::new(&quorum, at(0));
    assert_eq!(asked(&reach.due(at(0), true)), [1, 2, 3, 4]);
    assert!(!reach.on_answer(at(10), id(4), Some(Duration::ZERO)), "and count for nothing here");
    assert_eq!(asked(&reach.due(at(200), false)), [1, 2, 3]);
}
