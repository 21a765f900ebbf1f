use alloc::vec::Vec;

use super::*;
use crate::wire::bfd::State::{AdminDown, Down, Init, Up};

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn settings() -> SessionSettings {
    SessionSettings {
        min_tx: Duration::from_millis(50),
        idle_tx: Duration::from_secs(1),
        min_rx: Duration::from_millis(40),
        multiplier: 3,
        passive: false,
    }
}

fn session(number: u32, settings: SessionSettings) -> Session {
    Session::new(settings, NonZeroU32::new(number).unwrap(), number.into(), at(0))
}

/// Two ends of a wire, and what passes over it, a millisecond after another.
struct Wire {
    ends: [Session; 2],
    cut: bool,
    ms: u64,
    /// Who said what, and when.
    said: Vec<(u64, usize, Control)>,
}

impl Wire {
    fn new(a: SessionSettings, b: SessionSettings) -> Self {
        Wire { ends: [session(10, a), session(20, b)], cut: false, ms: 0, said: Vec::new() }
    }

    fn run_to(&mut self, until: u64) {
        while self.ms < until {
            self.ms += 1;
            for from in [0, 1] {
                let mut next = self.ends[from].on_timer(at(self.ms)).map(|control| (from, control));
                while let Some((from, control)) = next.take() {
                    self.said.push((self.ms, from, control));
                    if !self.cut {
                        let control = Control::parse(&control.emit()).unwrap();
                        next = self.ends[1 - from].on_packet(at(self.ms), &control).map(|answer| (1 - from, answer));
                    }
                }
            }
        }
    }

    fn states(&self) -> [State; 2] {
        [self.ends[0].state(), self.ends[1].state()]
    }

    fn gaps(&self, end: usize, since: u64) -> Vec<u64> {
        let times: Vec<u64> =
            self.said.iter().filter(|(ms, from, _)| *from == end && *ms > since).map(|s| s.0).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

#[test]
fn a_session_comes_up_by_a_three_way_handshake_and_then_both_ends_hasten() {
    let mut wire = Wire::new(settings(), settings());
    wire.run_to(2000);
    assert_eq!(wire.states(), [Up, Up]);
    let heard: Vec<State> =
        wire.said.iter().filter(|(_, from, _)| *from == 0).map(|(_, _, c)| c.state).take(3).collect();
    assert!(heard.starts_with(&[Down]) && heard.contains(&Up), "{heard:?}");
    assert!(wire.said.iter().any(|(_, _, control)| control.poll), "the new interval is polled for");
    let (_, _, last) = wire.said.last().unwrap();
    assert!(!last.poll && last.desired_min_tx == 50_000 && last.required_min_rx == 40_000, "{last:?}");
    // 50 ms less up to a quarter, a millisecond more or less.
    let gaps = wire.gaps(0, 1500);
    assert!(gaps.len() > 8 && gaps.iter().all(|gap| (37..=51).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap != gaps[0]), "jittered");
}

#[test]
fn before_it_is_up_nobody_sends_oftener_than_each_second() {
    let mut wire = Wire::new(settings(), settings());
    wire.cut = true;
    wire.run_to(10_000);
    let gaps = wire.gaps(0, 0);
    assert!(gaps.len() >= 9 && gaps.iter().all(|gap| (749..=1001).contains(gap)), "{gaps:?}");
    assert_eq!(wire.states(), [Down, Down]);
}

/// RFC 5880, 6.8.4: the other end's multiplier, times the slower of what it would send and we can take.
#[test]
fn it_is_down_when_the_detection_time_is_over_and_no_sooner() {
    let theirs = SessionSettings { min_tx: Duration::from_millis(20), multiplier: 5, ..settings() };
    let mut wire = Wire::new(settings(), theirs);
    wire.run_to(2000);
    assert_eq!(wire.states(), [Up, Up]);
    wire.cut = true;
    let last = wire.said.iter().rev().find(|(_, from, _)| *from == 1).unwrap().0;
    // 5 × max(20 ms, 40 ms).
    wire.run_to(last + 199);
    assert_eq!((wire.ends[0].state(), wire.ends[0].diagnostic()), (Up, Diagnostic::NONE));
    wire.run_to(last + 200);
    assert_eq!((wire.ends[0].state(), wire.ends[0].diagnostic()), (Down, Diagnostic::TIME_EXPIRED));
    let (_, _, said) = wire.said.iter().rev().find(|(_, from, _)| *from == 0).unwrap();
    assert_eq!(
        (said.state, said.yours, said.desired_min_tx),
        (Down, None, 1_000_000),
        "said at once, and slowly after"
    );
    wire.cut = false;
    wire.run_to(last + 4000);
    assert_eq!(wire.states(), [Up, Up]);
}

#[test]
fn a_cut_of_one_direction_takes_both_ends_down() {
    let mut wire = Wire::new(settings(), settings());
    wire.run_to(2000);
    // What the first says is lost: the second hears nothing, and says so.
    for ms in 2001..2400 {
        let _ = wire.ends[0].on_timer(at(ms));
        if let Some(control) = wire.ends[1].on_timer(at(ms)) {
            let _ = wire.ends[0].on_packet(at(ms), &control);
        }
    }
    assert_eq!(wire.ends[1].diagnostic(), Diagnostic::TIME_EXPIRED);
    assert_ne!(wire.ends[0].state(), Up);
    assert_eq!(wire.ends[0].diagnostic(), Diagnostic::NEIGHBOR_DOWN);
}

fn said(state: State, yours: u32) -> Control {
    Control {
        diagnostic: Diagnostic::NONE,
        state,
        poll: false,
        last: false,
        demand: false,
        multiplier: 3,
        mine: NonZeroU32::new(99).unwrap(),
        yours: NonZeroU32::new(yours),
        desired_min_tx: 1_000_000,
        required_min_rx: 1_000_000,
    }
}

/// RFC 5880, 6.8.6, the state machine: each state and what is heard in it.
#[test]
fn each_state_turns_as_the_rfc_has_it() {
    let reach = |state: State| {
        let mut session = session(10, settings());
        match state {
            Down | AdminDown => {}
            Init => drop(session.on_packet(at(1), &said(Down, 0))),
            Up => drop(session.on_packet(at(1), &said(Init, 10))),
        }
        assert_eq!(session.state(), state);
        session
    };
    for (from, heard, then) in [
        (Down, AdminDown, Down),
        (Down, Down, Init),
        (Down, Init, Up),
        (Down, Up, Down),
        (Init, AdminDown, Down),
        (Init, Down, Init),
        (Init, Init, Up),
        (Init, Up, Up),
        (Up, AdminDown, Down),
        (Up, Down, Down),
        (Up, Init, Up),
        (Up, Up, Up),
    ] {
        let mut session = reach(from);
        session.on_packet(at(2), &said(heard, 10));
        assert_eq!(session.state(), then, "{from:?} hears {heard:?}");
    }
}

#[test]
fn what_is_meant_for_another_session_is_not_taken() {
    let mut session = session(10, settings());
    assert_eq!(session.on_packet(at(1), &Control { poll: true, ..said(Init, 11) }), None);
    assert_eq!(session.state(), Down);
    session.on_packet(at(1), &said(Init, 10));
    assert_eq!(session.state(), Up);
    // Nor does it keep the session alive.
    session.on_packet(at(2900), &said(Up, 11));
    session.on_timer(at(3001));
    assert_eq!(session.state(), Down);
}

#[test]
fn a_poll_is_answered_at_once_and_never_with_another_poll() {
    let mut session = session(10, settings());
    let answer = session.on_packet(at(1), &Control { poll: true, ..said(Init, 10) }).unwrap();
    assert!(answer.last && !answer.poll && answer.state == Up);
    let next = session.on_timer(at(1)).unwrap();
    assert!(next.poll && !next.last, "our own goes on");
    session.on_packet(at(2), &Control { last: true, ..said(Up, 10) });
    let next = session.on_timer(at(2000)).unwrap();
    assert!(!next.poll, "it was answered");
}

#[test]
fn a_passive_end_waits_and_one_that_wants_no_packets_gets_none() {
    let mut session = session(10, SessionSettings { passive: true, ..settings() });
    assert_eq!((session.on_timer(at(5000)), session.next_deadline()), (None, None));
    session.on_packet(at(5001), &said(Down, 0));
    assert_eq!(session.on_timer(at(5001)).unwrap().state, Init);
    session.on_packet(at(5002), &Control { required_min_rx: 0, ..said(Up, 10) });
    assert_eq!((session.state(), session.on_timer(at(6000))), (Up, None));
    assert_eq!(session.next_deadline(), Some(at(5002 + 3000)), "the detection time runs all the same");
}

#[test]
fn one_packet_that_is_one_too_many_is_sent_early_enough() {
    let hasty = SessionSettings { multiplier: 1, ..settings() };
    let mut wire = Wire::new(hasty, settings());
    wire.run_to(4000);
    let gaps = wire.gaps(0, 2000);
    // 75 to 90 per cent of 50 ms, a millisecond more or less.
    assert!(gaps.len() > 20 && gaps.iter().all(|gap| (37..=46).contains(gap)), "{gaps:?}");
}

/// RFC 5880, 6.8.16: the other end sees no failure of the path.
#[test]
fn a_session_that_is_held_down_says_so_and_does_not_come_up_again() {
    let mut wire = Wire::new(settings(), settings());
    wire.run_to(2000);
    let told = wire.ends[0].hold_down().unwrap();
    assert_eq!(
        (told.state, told.diagnostic, told.yours.map(NonZeroU32::get)),
        (AdminDown, Diagnostic::HELD_DOWN, Some(20))
    );
    assert_eq!(wire.ends[1].on_packet(at(2001), &told), None);
    assert_eq!((wire.states(), wire.ends[1].diagnostic()), ([AdminDown, Down], Diagnostic::NEIGHBOR_DOWN));
    wire.run_to(6000);
    assert_eq!(wire.states(), [AdminDown, Down]);
    assert_eq!(session(1, settings()).hold_down(), None, "nobody was ever heard");
}

fn slower() -> SessionSettings {
    SessionSettings { min_tx: Duration::from_millis(300), min_rx: Duration::from_millis(300), ..settings() }
}

/// RFC 5880, 6.8.3.
#[test]
fn longer_intervals_hold_once_they_are_confirmed_and_the_session_stays_up() {
    let mut wire = Wire::new(settings(), settings());
    wire.run_to(3000);
    assert_eq!(wire.states(), [Up, Up]);
    let names = [wire.ends[0].mine, wire.ends[1].mine];
    // As long as no word of it arrives, nothing becomes slower.
    wire.ends[0].reconfigure(at(3000), slower());
    let polls = |wire: &Wire| wire.said.iter().filter(|(ms, from, said)| *ms > 3000 && *from == 0 && said.poll).count();
    assert_eq!(wire.ends[0].interval(), Duration::from_millis(50));
    wire.run_to(3060);
    assert!(polls(&wire) > 0 && wire.ends[0].interval() == Duration::from_millis(300), "{:?}", wire.ends[0]);
    wire.run_to(9000);
    let first = wire.gaps(0, 4000);
    assert!(first.iter().all(|gap| (225..=300).contains(gap)), "{first:?}");
    // The other end is asked not to send oftener, too.
    assert!(wire.gaps(1, 4000).iter().all(|gap| (225..=300).contains(gap)), "{:?}", wire.gaps(1, 4000));
    // And back.
    wire.ends[0].reconfigure(at(9000), settings());
    wire.run_to(12_000);
    assert!(wire.gaps(0, 10_000).iter().all(|gap| *gap <= 50), "{:?}", wire.gaps(0, 10_000));
    assert_eq!((wire.states(), names), ([Up, Up], [wire.ends[0].mine, wire.ends[1].mine]));
    let downs = wire.said.iter().filter(|(ms, _, said)| *ms > 3000 && said.state != Up).count();
    assert_eq!(downs, 0, "nobody has said that it is not Up");
    wire.cut = true;
    wire.run_to(12_160);
    assert_eq!(wire.states(), [Down, Down], "within the detection time of now");
}

#[test]
fn silence_is_judged_by_the_former_interval_until_the_shorter_one_is_confirmed() {
    let mut wire = Wire::new(slower(), SessionSettings { min_tx: Duration::from_millis(20), ..settings() });
    wire.run_to(4000);
    assert_eq!(wire.states(), [Up, Up]);
    // Its first word under the new settings is lost, and those after it.
    wire.ends[0].reconfigure(at(4000), settings());
    let heard = wire.said.iter().rfind(|(_, from, _)| *from == 1).unwrap().2;
    wire.ends[0].on_packet(at(4010), &heard);
    let until = wire.ends[0].remote.unwrap().until;
    assert_eq!(until, at(4010 + 900), "three of 300 ms");
    // The end of a former Poll Sequence confirms nothing that was not asked.
    wire.ends[0].on_packet(at(4020), &Control { last: true, ..heard });
    assert_eq!(wire.ends[0].remote.unwrap().until, at(4020 + 900));
    wire.ms = 4020;
    wire.run_to(5000);
    assert_eq!(wire.states(), [Up, Up]);
    assert!(wire.ends[0].former.is_none());
}

#[test]
fn other_settings_of_a_session_that_is_not_up_count_at_once() {
    let mut alone = session(10, SessionSettings { passive: true, ..settings() });
    assert_eq!(alone.next_deadline(), None);
    alone.reconfigure(at(5), settings());
    assert!(alone.on_timer(at(6)).is_some_and(|said| !said.poll && said.state == Down));
    assert_eq!(alone.state(), Down);
}
