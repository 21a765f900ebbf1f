use alloc::vec;
use core::time::Duration;

use super::*;
use crate::id::{InterfaceId, ScriptId, WatchId};
use crate::settings::{ScriptSettings, WatchKind, WatchSettings};
use crate::watch::Reading;

const SCRIPT: Tracker = Tracker::Script(ScriptId(0));
const WATCH: Tracker = Tracker::Watch(WatchId(0));

fn trackers() -> Trackers {
    let (now, second) = (Instant::from_nanos(0), Duration::from_secs(1));
    let script =
        ScriptSettings { name: "chk".into(), interval: second, timeout: second, rise: 1, fall: 1, init_fail: false };
    let (up_delay, down_delay) = (Duration::ZERO, Duration::ZERO);
    let watch = WatchSettings { kind: WatchKind::File, name: "load".into(), up_delay, down_delay };
    Trackers { scripts: ScriptMachine::new(&[script], now), watches: WatchMachine::new(&[watch], now) }
}

fn told(reading: Reading) -> Trackers {
    let mut trackers = trackers();
    assert!(trackers.watches.on_reading(Instant::from_nanos(1), WatchId(0), reading));
    trackers
}

fn ended(fault: Option<&str>) -> Trackers {
    let mut trackers = trackers();
    trackers.scripts.due(Instant::from_nanos(0));
    trackers.scripts.on_end(ScriptId(0), 1, fault.map(Into::into));
    trackers
}

/// The effect in short: `?` awaited, `F` a fault, `!` bad; then what is added.
fn effect(trackers: &Trackers, tracker: Tracker, weight: i16, reverse: bool) -> String {
    let Effect { is_awaited, is_fault, is_bad, addend } = Track { tracker, weight, reverse }.effect(trackers);
    let mark = |on: bool, mark| if on { mark } else { "" };
    format!("{}{}{}{addend}", mark(is_awaited, "?"), mark(is_fault, "F"), mark(is_bad, "!"))
}

fn effects(trackers: &Trackers, tracker: Tracker, lines: &[(i16, bool)]) -> vec::Vec<String> {
    lines.iter().map(|(weight, reverse)| effect(trackers, tracker, *weight, *reverse)).collect()
}

const SIX: [(i16, bool); 6] = [(0, false), (20, false), (-30, false), (0, true), (20, true), (-30, true)];

/// As measured with keepalived 2.2.7: `weight 20 reverse` takes 20 away while it is up, and `weight -40 reverse` adds
/// 40 while it is down.
#[test]
fn a_weight_above_0_counts_while_it_is_up_and_one_below_while_it_is_down_and_reverse_turns_the_sign() {
    assert_eq!(effects(&ended(None), SCRIPT, &SIX), ["0", "20", "0", "F!0", "!-20", "!0"]);
    assert_eq!(effects(&ended(Some("exit status: 1")), SCRIPT, &SIX), ["F!0", "!0", "!-30", "0", "0", "30"]);
    assert_eq!(effects(&told(Reading::Up), WATCH, &SIX), ["0", "20", "0", "F!0", "!-20", "!0"]);
    assert_eq!(effects(&told(Reading::Down("".into())), WATCH, &SIX), ["F!0", "!0", "!-30", "0", "0", "30"]);
}

/// The same six lines of `track_interface`, with the link up and down; measured with keepalived 2.2.7.
#[test]
fn an_interface_counts_as_what_is_up_or_down_does() {
    let effects = |up| {
        SIX.map(|(weight, reverse)| {
            let Effect { is_awaited, is_fault, is_bad: _, addend } =
                TrackInterface { interface: InterfaceId(1), weight, reverse }.effect(up);
            assert!(!is_awaited);
            (is_fault, addend)
        })
    };
    assert_eq!(effects(true), [(false, 0), (false, 20), (false, 0), (true, 0), (false, -20), (false, 0)]);
    assert_eq!(effects(false), [(true, 0), (false, 0), (false, -30), (false, 0), (false, 0), (false, 30)]);
}

#[test]
fn what_is_not_known_yet_counts_as_the_worse_and_a_domain_waits_for_what_may_be_a_fault() {
    assert_eq!(effects(&trackers(), SCRIPT, &SIX), ["?0", "0", "-30", "?0", "-20", "0"]);
    assert_eq!(effects(&trackers(), WATCH, &SIX), ["?0", "?0", "?-30", "?0", "?-20", "?0"]);
}

/// keepalived.conf(5), Track files: below -253 is a FAULT, and between -253 and 253 it is added.
#[test]
fn a_number_is_multiplied_and_what_is_below_the_bound_is_a_fault() {
    let lines = [(1, false), (2, false), (-1, false), (1, true), (0, false), (0, true)];
    let number = |number| effects(&told(Reading::Number(number)), WATCH, &lines);
    assert_eq!(number(0), ["0", "0", "0", "0", "0", "F!0"]);
    assert_eq!(number(5), ["5", "10", "-5", "-5", "F!0", "0"]);
    assert_eq!(number(-253), ["-253", "F!-253", "253", "253", "F!0", "0"]);
    assert_eq!(number(-254), ["F!-253", "F!-253", "253", "253", "F!0", "0"]);
    assert_eq!(number(i64::MIN), ["F!-253", "F!-253", "253", "253", "F!0", "0"]);
    assert_eq!(number(i64::MAX), ["253", "253", "F!-253", "F!-253", "F!0", "0"]);
    let missing = effects(&told(Reading::Missing), WATCH, &lines);
    assert_eq!(missing, ["!0", "!0", "!0", "!0", "!0", "F!0"], "as 0, and said");
}

#[test]
fn what_can_not_be_read_has_failed_whatever_reverse_says() {
    let unreadable = told(Reading::Unreadable("Permission denied".into()));
    assert_eq!(effects(&unreadable, WATCH, &SIX), ["F!0", "!-20", "!-30", "F!0", "!-20", "!-30"]);
    let elsewhere = Tracker::Watch(WatchId(9));
    assert_eq!(effects(&unreadable, elsewhere, &SIX), ["F!0", "!-20", "!-30", "F!0", "!-20", "!-30"]);
}

#[test]
fn words_say_what_and_how() {
    let track = |tracker, reverse| Track { tracker, weight: 0, reverse };
    assert_eq!(track(SCRIPT, false).words(&ended(Some("exit status: 1"))), "chk: exit status: 1");
    assert_eq!(track(SCRIPT, true).words(&ended(None)), "chk: it passes, which is bad by `reverse`");
    assert_eq!(track(WATCH, false).words(&told(Reading::Number(1))), "track_file load: it says 1");
    assert_eq!(track(WATCH, true).words(&told(Reading::Up)), "track_file load: it is up, which is bad by `reverse`");
    let denied = told(Reading::Unreadable("Permission denied".into()));
    assert_eq!(track(WATCH, true).words(&denied), "track_file load: Permission denied");
}
