use super::*;

/// Our clock and those of nodes 2 and up, in milliseconds over the world's.
struct Bench {
    clocks: Clocks,
    /// What ours has lost.
    lost: u64,
    /// What each other has gained.
    gained: BTreeMap<u16, u64>,
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn node(number: u16) -> NodeId {
    NodeId::new(number).unwrap()
}

impl Bench {
    /// Every other is read each 100 ms from 1000 to 2000.
    fn new(others: u16) -> Self {
        let clocks = Clocks::new(&LeaseTiming::for_lease(Duration::from_millis(500)));
        let gained = (2..2 + others).map(|number| (number, 0)).collect();
        let mut bench = Bench { clocks, lost: 0, gained };
        for ms in (1000..=2000).step_by(100) {
            for number in 2..2 + others {
                assert!(!bench.read(ms, number));
            }
        }
        bench
    }

    fn now(&self, ms: u64) -> Instant {
        at(ms - self.lost)
    }

    /// Asked and answered at once.
    fn read(&mut self, ms: u64, number: u16) -> bool {
        let now = self.now(ms);
        let clock = at(50_000 + ms + self.gained[&number]);
        let reading = Reading { sent: now, received: now, clock };
        self.clocks.tick(now);
        self.clocks.observe(now, node(number), Incarnation(number.into()), reading)
    }

    fn words(&self, ms: u64) -> String {
        self.clocks.words(self.now(ms), &Names::default())
    }
}

#[test]
fn one_of_four_that_leaps_is_off_once_two_have_cleared_us() {
    let mut bench = Bench::new(4);
    bench.gained.insert(3, 700);
    assert!(bench.read(2100, 3), "the rest are asked at once");
    assert!(!bench.clocks.is_believed(bench.now(2100), node(2)), "nothing counts before the verdict");
    bench.read(2101, 2);
    assert!(!bench.clocks.is_off(bench.now(2101)) && !bench.clocks.is_believed(bench.now(2101), node(2)));
    bench.read(2102, 4);
    assert!(!bench.clocks.is_off(bench.now(2102)) && bench.clocks.is_believed(bench.now(2102), node(2)));
    assert!(!bench.clocks.is_believed(bench.now(2102), node(3)));
    assert_eq!(bench.clocks.take_news(), [node(3)]);
    assert!(bench.words(2102).starts_with("node 3's clock gained at least"), "{}", bench.words(2102));
    bench.clocks.tick(bench.now(2603));
    assert!(bench.clocks.is_believed(bench.now(2603), node(3)) && bench.words(2603).is_empty(), "after L_max");
}

#[test]
fn a_majority_that_accuses_ends_it_before_the_rest_have_answered() {
    let mut bench = Bench::new(4);
    bench.lost = 700;
    bench.read(2800, 2);
    bench.read(2801, 3);
    assert!(!bench.clocks.is_off(bench.now(2801)), "two of four are none");
    bench.read(2802, 5);
    assert!(bench.clocks.is_off(bench.now(2802)));
    assert!(bench.words(2802).contains("against 3 of 4 others"), "{}", bench.words(2802));
    let over = bench.now(2802) + Duration::from_millis(500);
    bench.clocks.tick(over);
    assert!(!bench.clocks.is_off(over));
}

#[test]
fn who_is_not_cleared_within_a_round_trip_is_off() {
    let mut bench = Bench::new(2);
    bench.lost = 700;
    assert!(bench.read(2800, 2));
    let judged = bench.now(2800) + Duration::from_millis(20);
    assert_eq!(bench.clocks.next_deadline(), Some(judged));
    bench.clocks.tick(bench.now(2819));
    assert!(!bench.clocks.is_off(bench.now(2819)));
    bench.clocks.tick(judged);
    assert!(bench.clocks.is_off(judged));
}

#[test]
fn what_was_read_before_the_accusation_clears_nobody() {
    let mut bench = Bench::new(2);
    bench.gained.insert(2, 700);
    bench.read(2100, 2);
    // Asked at 2099, a moment before the leap showed.
    let (sent, received) = (bench.now(2099), bench.now(2105));
    let reading = Reading { sent, received, clock: at(50_000 + 2099) };
    bench.clocks.observe(received, node(3), Incarnation(3), reading);
    assert!(!bench.clocks.is_believed(received, node(3)));
    bench.clocks.tick(bench.now(2120));
    assert!(bench.clocks.is_off(bench.now(2120)), "one accuses, none clears");
}

#[test]
fn a_restarted_host_begins_anew_with_its_clock() {
    let mut bench = Bench::new(1);
    let reading = Reading { sent: at(2100), received: at(2100), clock: at(3) };
    assert!(!bench.clocks.observe(at(2100), node(2), Incarnation(99), reading));
    let reading = Reading { sent: at(2200), received: at(2200), clock: at(103) };
    assert!(!bench.clocks.observe(at(2200), node(2), Incarnation(99), reading));
    assert!(bench.clocks.is_believed(at(2200), node(2)) && bench.words(2200).is_empty());
}

#[test]
fn a_clock_that_runs_slow_is_off_for_a_minute() {
    let mut timing = LeaseTiming::for_profile(crate::lease::timing::Profile::Vm, Duration::from_secs(2));
    timing.lease_max = Duration::from_secs(2);
    let mut clocks = Clocks::new(&timing);
    let mut off_at = None;
    for ms in (0..120_000_u64).step_by(200) {
        // Ours loses a twentieth, so that it takes a while to lose H.
        let now = at(ms - ms / 20);
        clocks.tick(now);
        for number in [2, 3] {
            let reading = Reading { sent: now, received: now, clock: at(50_000 + ms) };
            clocks.observe(now, node(number), Incarnation(1), reading);
        }
        if off_at.is_none() && clocks.is_off(now) {
            off_at = Some(ms);
            let words = clocks.words(now, &Names::default());
            assert!(words.starts_with("this node's clock runs slow") && words.contains("clock source"), "{words}");
        }
        assert!(off_at.is_none_or(|_| clocks.is_off(now)), "it is found again before it is over, at {ms}");
    }
    assert!(off_at.is_some_and(|ms| (10_000..30_000).contains(&ms)), "{off_at:?}");
}
