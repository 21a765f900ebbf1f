use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;

const MS: u64 = 1_000_000;

fn bounds(hidden_ms: u64) -> Bounds {
    Bounds {
        rate_error_ppm: 10_000,
        hidden_freeze: Duration::from_millis(hidden_ms),
        lease: Duration::from_millis(1000),
    }
}

/// A clock over real time in nanoseconds: an offset, a rate, and spans during which it stands still.
#[derive(Debug, Clone)]
struct TestClock {
    offset: u64,
    ppm: i64,
    frozen: Vec<(u64, u64)>,
}

impl TestClock {
    fn new(offset: u64, ppm: i64) -> Self {
        TestClock { offset, ppm, frozen: Vec::new() }
    }

    fn at(&self, real: u64) -> Instant {
        let hidden: u64 = self.frozen.iter().map(|(from, to)| real.clamp(*from, *to) - from).sum();
        let passed = i128::from(real - hidden);
        let shown = passed * (1_000_000 + i128::from(self.ppm)) / 1_000_000;
        Instant::from_nanos(self.offset + u64::try_from(shown).unwrap())
    }
}

/// A reading whose request leaves at `sent` of real time and arrives after `there`; the answer after `back`.
fn reading(ours: &TestClock, theirs: &TestClock, sent: u64, there: u64, back: u64) -> Reading {
    Reading { sent: ours.at(sent), clock: theirs.at(sent + there), received: ours.at(sent + there + back) }
}

/// Readings each 200 ms with a millisecond each way, while we are not frozen; the breaches, with the real time
/// of each.
fn watch(bounds: Bounds, ours: &TestClock, theirs: &TestClock, until: u64) -> Vec<(u64, Breach)> {
    let mut watch = RateWatch::new(bounds);
    let runs = |at: u64| !ours.frozen.iter().any(|(from, to)| (*from..*to).contains(&at));
    let sends = (0..).map(|n| n * 200 * MS).take_while(|sent| *sent < until).filter(|sent| runs(*sent));
    let read = |sent| Some((sent, watch.observe(reading(ours, theirs, sent, MS, MS))?));
    sends.filter_map(read).collect()
}

#[test]
fn a_hidden_freeze_is_found_at_the_first_answer_after_it() {
    let mut ours = TestClock::new(7 * MS, 0);
    ours.frozen.push((2050 * MS, 4050 * MS));
    let found = watch(bounds(500), &ours, &TestClock::new(99_000 * MS, 0), 10_000 * MS);
    let [(at, breach)] = found[..] else { panic!("{found:?}") };
    assert_eq!((breach.loser, breach.manner), (Loser::Ours, Manner::Step));
    assert_eq!(at, 4200 * MS);
    assert!(breach.lost > Duration::from_millis(1900) && breach.lost <= Duration::from_millis(2000), "{breach:?}");
}

#[test]
fn a_freeze_that_h_covers_costs_nothing_and_one_beyond_it_is_a_breach() {
    for (freeze, breaches) in [(450, 0), (520, 1)] {
        let mut ours = TestClock::new(0, 0);
        ours.frozen.push((2050 * MS, (2050 + freeze) * MS));
        let found = watch(bounds(500), &ours, &TestClock::new(0, 0), 8000 * MS);
        assert_eq!(found.len(), breaches, "{freeze} ms: {found:?}");
    }
}

#[test]
fn freezes_that_h_covers_are_no_drift_however_many_come() {
    let mut ours = TestClock::new(0, 0);
    ours.frozen.extend((1..30).map(|n| (n * 2000 * MS, (n * 2000 + 400) * MS)));
    let theirs = TestClock::new(0, 0);
    assert_eq!(watch(bounds(500), &ours, &theirs, 60_000 * MS), []);
}

#[test]
fn several_freezes_within_one_lease_add_up() {
    let mut ours = TestClock::new(0, 0);
    ours.frozen.extend([(2010 * MS, 2190 * MS), (2210 * MS, 2390 * MS), (2410 * MS, 2590 * MS)]);
    let found = watch(bounds(500), &ours, &TestClock::new(0, 0), 6000 * MS);
    assert!(found.iter().any(|(_, breach)| breach.manner == Manner::Step), "{found:?}");
}

#[test]
fn a_rate_beyond_twice_rho_is_found_and_one_within_it_is_not_f45() {
    for (ours_ppm, theirs_ppm, loser) in [
        (-10_000, 10_000, None),
        (10_000, -10_000, None),
        (0, 500, None),
        (-50_000, 0, Some(Loser::Ours)),
        (-30_000, 0, Some(Loser::Ours)),
        (-100_000, 0, Some(Loser::Ours)),
        (50_000, 0, Some(Loser::Theirs)),
        (0, 100_000, Some(Loser::Ours)),
    ] {
        for hidden in [0, 500] {
            let (ours, theirs) = (TestClock::new(5, ours_ppm), TestClock::new(1_000_000 * MS, theirs_ppm));
            let found = watch(bounds(hidden), &ours, &theirs, 120_000 * MS);
            let first = found.first().map(|(_, breach)| breach.loser);
            assert_eq!(first, loser, "ours {ours_ppm}, theirs {theirs_ppm} ppm, H {hidden} ms");
            if let Some((at, breach)) = found.first().filter(|_| hidden > 0) {
                assert_eq!(breach.manner, Manner::Drift, "{breach:?}");
                assert!(*at < 60_000 * MS, "found after {} s", at / (1000 * MS));
            }
        }
    }
}

#[test]
fn a_clock_that_went_back_with_its_memory_has_lost_time_although_it_was_never_seen_later() {
    // Not heard for five seconds, it comes back as it was: it may have forgotten whom it lent to.
    let mut theirs = TestClock::new(0, 0);
    theirs.frozen.push((3050 * MS, 8050 * MS));
    let ours = TestClock::new(0, 0);
    let mut watch = RateWatch::new(bounds(0));
    let sends = (0..16).chain(42..50).map(|n| n * 200 * MS);
    let found: Vec<Breach> = sends.filter_map(|s| watch.observe(reading(&ours, &theirs, s, MS, MS))).collect();
    assert!(found.iter().any(|breach| breach.loser == Loser::Theirs), "{found:?}");
}

#[test]
fn rho_of_nothing_turns_the_watch_off() {
    let (ours, theirs) = (TestClock::new(0, 0), TestClock::new(0, 100_000));
    assert_eq!(watch(Bounds { rate_error_ppm: 0, ..bounds(0) }, &ours, &theirs, 9000 * MS), []);
}

#[test]
fn another_clock_clears_us_only_by_what_was_asked_after_the_accusation() {
    let (ours, honest) = (TestClock::new(0, 0), TestClock::new(0, 0));
    let mut watch = RateWatch::new(bounds(0));
    for n in 0..10 {
        assert_eq!(watch.observe(reading(&ours, &honest, n * 200 * MS, MS, MS)), None);
    }
    let at = |ms: u64| Instant::from_nanos(ms * MS);
    let lost = Duration::from_millis(100);
    let accusation = Breach { loser: Loser::Ours, manner: Manner::Step, lost, since: at(1600), until: at(1803) };
    assert!(!watch.clears(&accusation, at(1803)), "read before it");
    watch.observe(reading(&ours, &honest, 1803 * MS, MS, MS));
    assert!(watch.clears(&accusation, at(1803)));
    let mut frozen = ours.clone();
    frozen.frozen.push((1801 * MS, 1901 * MS));
    watch.observe(reading(&frozen, &honest, 1903 * MS, MS, MS));
    assert!(!watch.clears(&accusation, at(1802)), "it saw it too");
}

proptest! {
    /// Honest clocks, within rho and with freezes that H covers, are never accused, whatever the network does.
    #[test]
    fn honest_clocks_are_never_accused(
        ppm in (-10_000..=10_000i64, -10_000..=10_000i64),
        hidden_ms in prop_oneof![Just(0u64), Just(500)],
        exchanges in proptest::collection::vec((1..400u64, 0..1000u64, 0..1000u64, 0..3u8), 1..300),
        freezes in proptest::collection::vec(0..80u64, 0..=6),
    ) {
        let (mut ours, theirs) = (TestClock::new(3_000 * MS, ppm.0), TestClock::new(900_000 * MS, ppm.1));
        if hidden_ms > 0 {
            // What is too small to be seen as a step adds up to no more than H.
            let span = |(n, ms): (usize, &u64)| { let at = (n as u64 + 1) * 1500 * MS; (at, at + ms * MS) };
            ours.frozen = freezes.iter().enumerate().map(span).collect();
        }
        let mut sent = 0;
        let mut arrivals = Vec::new();
        for (gap, there, back, copies) in exchanges {
            sent += gap * MS;
            // None: lost; two: duplicated, the second later.
            for copy in 0..u64::from(copies) {
                let back = back + copy * 37;
                arrivals.push((sent + (there + back) * MS, reading(&ours, &theirs, sent, there * MS, back * MS)));
            }
        }
        arrivals.sort_by_key(|(at, _)| *at);
        let mut watch = RateWatch::new(bounds(hidden_ms));
        for (at, reading) in arrivals {
            prop_assert_eq!(watch.observe(reading), None, "at {} ms", at / MS);
        }
    }

    /// What is beyond H by more than the uncertainty of two readings is found by the first answer after it.
    #[test]
    fn a_freeze_beyond_h_and_the_uncertainty_is_always_found(
        freeze_ms in 700..20_000u64,
        round_trip_ms in 0..40u64,
        ppm in (-10_000..=10_000i64, -10_000..=10_000i64),
    ) {
        let (mut ours, theirs) = (TestClock::new(3_000 * MS, ppm.0), TestClock::new(0, ppm.1));
        ours.frozen.push((2050 * MS, (2050 + freeze_ms) * MS));
        let mut watch = RateWatch::new(bounds(500));
        for n in 0..10 {
            prop_assert_eq!(watch.observe(reading(&ours, &theirs, n * 200 * MS, round_trip_ms * MS, MS)), None);
        }
        let after = (2060 + freeze_ms) * MS;
        let found = watch.observe(reading(&ours, &theirs, after, MS, round_trip_ms * MS));
        prop_assert!(found.is_some_and(|breach| breach.loser == Loser::Ours), "{:?}", found);
    }
}
