use alloc::vec;

use super::*;
use crate::settings::WatchKind;

const ID: WatchId = WatchId(0);

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn machine(up_delay: u64, down_delay: u64) -> WatchMachine {
    let settings = WatchSettings {
        kind: WatchKind::Process,
        name: String::from("proxy"),
        up_delay: Duration::from_millis(up_delay),
        down_delay: Duration::from_millis(down_delay),
    };
    WatchMachine::new(&[settings], at(0))
}

fn down(words: &str) -> Reading {
    Reading::Down(String::from(words))
}

#[test]
fn the_first_reading_is_believed_at_once_and_later_ones_after_their_delay() {
    let mut machine = machine(1000, 2000);
    assert_eq!(machine.state(ID), State::Unknown);
    assert!(machine.on_reading(at(10), ID, Reading::Up));
    assert_eq!(machine.state(ID), State::Up);

    assert!(!machine.on_reading(at(100), ID, down("0 run")));
    assert_eq!(machine.next_deadline(), Some(at(2100)));
    assert!(!machine.due(at(2099)));
    assert!(machine.due(at(2100)));
    assert_eq!((machine.state(ID), machine.words(ID)), (State::Down, String::from("0 run")));

    assert!(!machine.on_reading(at(3000), ID, Reading::Up));
    assert!(machine.due(at(4000)));
    assert_eq!(machine.state(ID), State::Up);
}

#[test]
fn a_change_that_goes_back_within_its_delay_never_was_and_the_next_one_waits_in_full() {
    let mut machine = machine(0, 2000);
    machine.on_reading(at(0), ID, Reading::Up);
    machine.on_reading(at(100), ID, down("0 run"));
    assert!(!machine.on_reading(at(1900), ID, Reading::Up));
    assert!(!machine.due(at(5000)));
    assert!(!machine.on_reading(at(5000), ID, down("0 run")));
    assert!(!machine.due(at(6999)));
    assert!(machine.due(at(7000)));
}

#[test]
fn the_same_told_again_does_not_begin_the_delay_anew() {
    let mut machine = machine(0, 5000);
    machine.on_reading(at(0), ID, Reading::Up);
    machine.on_reading(at(100), ID, down("0 run"));
    machine.on_reading(at(3100), ID, down("0 run"));
    assert!(!machine.due(at(5099)));
    assert!(machine.due(at(5100)));
}

#[test]
fn one_that_is_not_told_of_can_not_be_read_until_it_is_told_of_again() {
    let mut machine = machine(0, 0);
    assert_eq!(machine.next_deadline(), Some(at(15_000)));
    assert!(!machine.due(at(14_999)));
    assert!(machine.due(at(15_000)));
    assert_eq!(machine.state(ID), State::Unreadable);
    assert!(machine.words(ID).contains("not told of for 15 s"), "{}", machine.words(ID));
    assert_eq!((machine.due(at(40_000)), machine.next_deadline()), (false, None), "said once");
    assert!(machine.on_reading(at(40_000), ID, Reading::Up));
    assert!(!machine.on_reading(at(50_000), ID, Reading::Up));
    assert!(!machine.due(at(64_999)));
    assert!(machine.due(at(65_000)));
}

#[test]
fn what_can_not_be_read_is_believed_without_a_delay_and_so_is_what_follows() {
    let mut machine = machine(1000, 1000);
    machine.on_reading(at(0), ID, Reading::Up);
    assert!(machine.on_reading(at(10), ID, Reading::Unreadable(String::from("no such right"))));
    assert_eq!(machine.state(ID), State::Unreadable);
    assert!(machine.on_reading(at(20), ID, down("0 run")));
    assert_eq!(machine.state(ID), State::Down);
}

#[test]
fn a_sleep_of_the_node_is_no_silence_of_its_threads() {
    let mut machine = machine(0, 0);
    machine.on_reading(at(0), ID, Reading::Up);
    machine.slept(at(60_000));
    assert!(!machine.due(at(60_000)));
    assert!(machine.due(at(75_000)));
}

#[test]
fn a_number_and_its_words_follow_each_reading() {
    let mut machine = machine(1000, 1000);
    let told = vec![Reading::Number(5), Reading::Number(-7), Reading::Missing, Reading::Number(0)];
    let mut states = Vec::new();
    for (second, reading) in (0..).zip(told) {
        assert!(machine.on_reading(at(second), ID, reading));
        states.push((machine.state(ID), machine.words(ID)));
    }
    let words = |words: &str| String::from(words);
    assert_eq!(
        states,
        [
            (State::Number(5), words("it says 5")),
            (State::Number(-7), words("it says -7")),
            (State::Missing, words("there is no such file, which counts as 0")),
            (State::Number(0), words("it says 0")),
        ]
    );
    assert!(!machine.on_reading(at(9), WatchId(7), Reading::Up), "there is no such watch");
    assert_eq!((machine.state(WatchId(7)), machine.name(ID)), (State::Unreadable, words("track_process proxy")));
}

#[test]
fn one_that_comes_back_is_not_judged_by_the_silence_in_which_nobody_wanted_it() {
    let settings = |count: usize| {
        let one = WatchSettings {
            kind: WatchKind::Bfd,
            name: String::from("router"),
            up_delay: Duration::ZERO,
            down_delay: Duration::ZERO,
        };
        vec![one; count]
    };
    let mut machine = WatchMachine::new(&settings(1), at(0));
    machine.on_reading(at(10), ID, Reading::Up);
    machine.reconfigure(&settings(2), at(5000));
    assert_eq!(machine.state(WatchId(1)), State::Up, "as the former one was");
    machine.due(at(60_000));
    assert_eq!(machine.state(ID), State::Unreadable);
    machine.reconfigure(&settings(3), at(60_000));
    assert_eq!(machine.state(WatchId(2)), State::Unknown);
}
