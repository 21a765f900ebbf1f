//! What is known of a peer, by its beats.

use super::*;
use crate::lease::timing::LeaseTiming;

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn peer() -> Peer {
    let settings = PeerSettings { node: NodeId::new(2).unwrap(), links: alloc::vec![LinkId(0)] };
    let heartbeat = HeartbeatSettings { period: Duration::from_millis(100), misses: 3 };
    let bounds = Bounds::from(&LeaseTiming::for_lease(heartbeat.silence()));
    Peer::new(&settings, heartbeat, bounds, Incarnation(0), at(0))
}

#[test]
fn who_has_slept_gives_a_peer_the_time_of_a_silence_to_be_heard_again() {
    let mut peer = peer();
    peer.slept(at(200), at(10_000));
    assert!(!peer.is_silent(at(10_300)) && peer.is_silent(at(10_301)));
}

fn beat(incarnation: u64, seq: u64, echo: Option<Echo>) -> Beat {
    Beat {
        cluster: crate::id::ClusterId(1),
        digest: crate::id::ConfigDigest(1),
        incarnation: Incarnation(incarnation),
        seq,
        clock: at(seq),
        echo,
        references: References::default(),
        heard: Vec::new(),
        domains: Vec::new(),
    }
}

#[test]
fn what_was_queued_while_we_slept_is_echoed_as_old_as_it_may_be() {
    let mut peer = peer();
    peer.slept(at(200), at(1200));
    peer.on_beat(at(1201), LinkId(0), &beat(1, 7, None));
    let (_, echo) = peer.next_beat(at(1210), LinkId(0)).unwrap();
    assert_eq!(echo, Some(Echo { seq: 7, age: Duration::from_millis(1010) }));
    peer.on_beat(at(1301), LinkId(0), &beat(1, 8, None));
    let (_, echo) = peer.next_beat(at(1310), LinkId(0)).unwrap();
    assert_eq!(echo, Some(Echo { seq: 8, age: Duration::from_millis(9) }));
}

#[test]
fn a_late_beat_of_a_dead_life_does_not_retire_the_living_one_for_good() {
    let mut peer = peer();
    assert!(peer.on_beat(at(100), LinkId(0), &beat(2, 100, None)).restarted);
    assert!(peer.on_beat(at(110), LinkId(0), &beat(1, 9000, None)).restarted, "the dead one, first heard now");
    let (seq, _) = peer.next_beat(at(200), LinkId(0)).unwrap();
    let nothing = peer.on_beat(at(201), LinkId(0), &beat(2, 200, None));
    assert_eq!(nothing.freshness, Freshness::Old, "without an echo it could be the dead one");
    let echo = Some(Echo { seq, age: Duration::from_millis(1) });
    assert_eq!(peer.on_beat(at(300), LinkId(0), &beat(2, 300, echo)).freshness, Freshness::Fresh);
    assert_eq!(peer.on_beat(at(310), LinkId(0), &beat(1, 9001, None)).freshness, Freshness::Old);
}

/// A beat that answers our newest one.
fn lively(peer: &mut Peer, ms: u64, incarnation: u64) -> Heard {
    let (seq, _) = peer.next_beat(at(ms), LinkId(0)).unwrap();
    let echo = Some(Echo { seq, age: Duration::ZERO });
    peer.on_beat(at(ms), LinkId(0), &beat(incarnation, ms, echo))
}

#[test]
fn an_earlier_life_that_goes_on_living_is_a_second_agent_and_not_listened_to_f62() {
    let mut peer = peer();
    for ms in (0..1000).step_by(100) {
        assert_eq!(lively(&mut peer, ms, 7).duplicate, None);
    }
    let mut found = None;
    for ms in (1000..3000).step_by(100) {
        let heard = lively(&mut peer, ms, 8);
        assert_eq!(heard.duplicate, None, "the later one is never accused");
        found = found.or(lively(&mut peer, ms + 50, 7).duplicate.map(|life| (ms, life)));
    }
    assert_eq!(found, Some((1300, Incarnation(7))), "once it can't be late words any more");
    assert!(!lively(&mut peer, 3000, 8).restarted, "the newer one is listened to without a break");
}

#[test]
fn the_original_is_listened_to_again_once_its_clone_has_been_stopped_f62() {
    let mut peer = peer();
    for ms in (0..1000).step_by(100) {
        lively(&mut peer, ms, 7);
    }
    for ms in (1000..3000).step_by(100) {
        lively(&mut peer, ms, 8);
        lively(&mut peer, ms + 50, 7);
    }
    assert!(lively(&mut peer, 30_000, 7).duplicate.is_some(), "the clone may only be slow");
    assert_eq!(lively(&mut peer, 64_000, 7).duplicate, None);
    assert_eq!(lively(&mut peer, 64_100, 7).freshness, Freshness::Fresh);
}

#[test]
fn restarts_are_no_second_agent() {
    let mut peer = peer();
    for life in 1..40 {
        for ms in (0..2000).step_by(100) {
            assert_eq!(lively(&mut peer, life * 2000 + ms, life).duplicate, None, "life {life}");
        }
    }
}

/// The peer says, in a beat that its clock dates at `clock`, that it holds, and has been Master for that long.
fn claims(clock: u64, echo: Option<Echo>, master_for: u64) -> Beat {
    let said = DomainBeat {
        id: DomainId(7),
        role: crate::decision::Role::Master,
        priority: crate::id::Priority(100),
        eligible: true,
        wants: false,
        holding: true,
        open: true,
        epoch: Some((1, 1)),
        remaining: Duration::ZERO,
        next: (2, 2),
        master_for: Duration::from_millis(master_for),
        heir: None,
        sees: None,
        alone: false,
        source: None,
    };
    Beat { domains: alloc::vec![said], ..beat(1, clock, echo) }
}

fn until(peer: &Peer) -> Instant {
    peer.tenure(DomainId(7)).unwrap().until
}

#[test]
fn a_claim_counts_for_when_its_echo_says_that_it_was_made_d7() {
    let mut peer = peer();
    let (seq, _) = peer.next_beat(at(1000), LinkId(0)).unwrap();
    let echo = Some(Echo { seq, age: Duration::from_millis(20) });
    peer.on_beat(at(1220), LinkId(0), &claims(5000, echo, 500));
    // Our clock and the peer's may differ by 2 %, of 20 ms and of 500 ms.
    let tenure = peer.tenure(DomainId(7)).unwrap();
    assert!(tenure.until <= at(1020) && tenure.until > at(1019), "{tenure:?}");
    assert!(tenure.began >= at(720) && tenure.began < at(731), "{tenure:?}");
    peer.on_beat(at(1300), LinkId(0), &Beat { domains: Vec::new(), ..claims(5100, None, 0) });
    assert_eq!(until(&peer), tenure.until, "who says nothing of it takes nothing back");
}

#[test]
fn a_claim_counts_from_its_first_word_once_the_peers_gate_is_known_to_be_open_d7() {
    let mut peer = peer();
    let claim = |clock: u64, open: bool, holding: bool| {
        let mut beat = claims(clock, None, 0);
        let said = beat.domains.iter_mut();
        said.for_each(|said| (said.open, said.holding) = (open, holding));
        beat
    };
    peer.on_beat(at(1000), LinkId(0), &claim(5000, false, true));
    assert_eq!(peer.tenure(DomainId(7)), None, "asked for is not open");
    peer.on_beat(at(1100), LinkId(0), &claim(5100, true, true));
    assert_eq!(peer.tenure(DomainId(7)).unwrap().began, at(1000));
    peer.on_beat(at(1200), LinkId(0), &claim(5200, false, true));
    assert!(peer.tenure(DomainId(7)).is_some(), "a write of it is in doubt: it was open");
    peer.on_beat(at(1300), LinkId(0), &claim(5300, false, false));
    assert_eq!(peer.tenure(DomainId(7)), None);
}

#[test]
fn a_deaf_peers_claim_counts_for_no_later_than_its_clock_shows_d7_d8() {
    let mut peer = peer();
    peer.on_beat(at(1000), LinkId(0), &claims(5000, None, 0));
    peer.on_beat(at(1200), LinkId(0), &claims(5150, None, 0));
    assert_eq!(until(&peer), Instant::BOOT, "nothing dates the first");
    peer.on_beat(at(1400), LinkId(0), &claims(5160, None, 0));
    peer.on_beat(at(1650), LinkId(0), &claims(5170, None, 0));
    assert_eq!(until(&peer), Instant::BOOT, "nor what is as old by its clock: datagrams of a queue");
    peer.on_beat(at(1900), LinkId(0), &claims(5350, None, 0));
    let made = until(&peer);
    assert!(made > at(1350) && made < at(1360), "longer on its way than any before it: {made:?}");
    peer.on_beat(at(2000), LinkId(0), &claims(6100, None, 0));
    assert_eq!(until(&peer), at(1700), "else for m·h before it came");
}

#[test]
fn what_a_deaf_peer_said_while_we_slept_dates_nothing_d7_d8() {
    let mut peer = peer();
    peer.on_beat(at(1000), LinkId(0), &claims(5000, None, 0));
    peer.on_beat(at(1200), LinkId(0), &claims(5200, None, 0));
    peer.on_beat(at(1400), LinkId(0), &claims(5400, None, 0));
    assert_eq!(until(&peer), at(1100));
    peer.slept(at(1400), at(2400));
    for (came, clock) in [(2401, 5500), (2402, 6390), (2500, 6500), (2700, 6700)] {
        peer.on_beat(at(came), LinkId(0), &claims(clock, None, 0));
        assert_eq!(until(&peer), at(1100), "{came}");
    }
    peer.on_beat(at(2800), LinkId(0), &claims(6800, None, 0));
    assert_eq!(until(&peer), at(2500));
}

#[test]
fn a_peer_that_was_silent_before_we_slept_is_silent() {
    let mut peer = peer();
    peer.slept(at(400), at(10_000));
    assert!(peer.is_silent(at(10_000)));
}
