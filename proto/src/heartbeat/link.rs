//! One path to one peer: what was heard on it, and what the peer hears of us.
//!
//! What must stay true: a beat counts as life only if it is newer than every beat before it and was made
//! recently, *judged by its echo of our own beats*, never by the sender's clock (a beat that sat in a
//! queue for seconds is no life).

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::id::Incarnation;
use crate::time::Instant;
use crate::wire::heartbeat::Echo;

/// How many of our own beats we remember the send times of: those of 100 s of calls to a silent peer, four in a
/// period of 100 ms. Once more were made in vain, what a deaf peer echoes can't be dated any more.
const REMEMBERED: usize = 4096;

/// One path to one peer.
#[derive(Debug, Clone)]
pub struct Link {
    /// Below the sequences of this life; an echo of it or of less answers a former life of ours.
    base: u64,
    /// Sequence of the last beat that we made for this path.
    seq: u64,
    /// When the last ones were made, up to `seq`.
    sent: VecDeque<Instant>,
    /// The newest of our beats that the peer has echoed, and when we made it.
    echoed: Option<(u64, Instant)>,
    /// Newest sequence that came from the peer in its present incarnation.
    heard_seq: Option<u64>,
    /// When the newest beat came, stale or not: what our echo tells.
    received_at: Option<Instant>,
    /// When it last showed life.
    heard_at: Option<Instant>,
    /// When the peer last received a beat of ours, as far as its echoes show.
    hears_us_at: Option<Instant>,
    /// For the operator; nothing is judged by it.
    tally: Tally,
}

/// How many of the peer's beats came over a path, by their sequences.
///
/// While none comes nothing is counted: what was missed meanwhile is told by the next one's sequence. One that comes after
/// a newer one is of no use, and stays counted as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Beats that came.
    pub received: u64,
    /// Beats that the peer made and that did not come before a newer one.
    pub lost: u64,
    /// Of the last 64 that were made, whether each came, the newest in the lowest bit.
    came: u64,
    /// How many of those are known, 64 at most.
    known: u32,
}

impl Tally {
    /// One came, `ahead` of the newest before it; `None`: it is the first of its life.
    fn on_beat(&mut self, ahead: Option<u64>) {
        self.received = self.received.saturating_add(1);
        let Some(ahead) = ahead else {
            (self.came, self.known) = (1, 1);
            return;
        };
        self.lost = self.lost.saturating_add(ahead.saturating_sub(1));
        let steps = u32::try_from(ahead).unwrap_or(u32::MAX);
        self.came = self.came.checked_shl(steps).unwrap_or(0) | 1;
        self.known = self.known.saturating_add(steps).min(u64::BITS);
    }

    /// Which part of the last beats was lost, from 0 to 1; at most 64 of them, and `None` before the first.
    pub fn loss(&self) -> Option<f64> {
        let missed = self.known.saturating_sub(self.came.count_ones());
        (self.known > 0).then(|| f64::from(missed) / f64::from(self.known))
    }
}

/// What a received beat was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// New, and made recently.
    Fresh,
    /// New, but made longer ago than a silent peer is tolerated.
    Stale,
    /// Not newer than one before it: duplicated or overtaken.
    Old,
}

impl Link {
    /// A path on which nothing has been heard yet.
    ///
    /// Sequences begin where this life's incarnation says, which is drawn at random: those of a former life are
    /// then not among them, whatever the boot clock showed at the starts of both.
    pub fn new(incarnation: Incarnation) -> Self {
        let base = incarnation.0 >> 16;
        Link {
            base,
            seq: base,
            sent: VecDeque::new(),
            echoed: None,
            heard_seq: None,
            received_at: None,
            heard_at: None,
            hears_us_at: None,
            tally: Tally::default(),
        }
    }

    /// No beat of ours had a higher sequence than this when another process of this life went before: the next one is
    /// above it, and its echoes alone count.
    pub fn go_on_from(&mut self, sequence: u64) {
        self.base = self.base.max(sequence);
        self.seq = self.seq.max(sequence);
    }

    /// The highest sequence that was given to a beat.
    pub fn sequence(&self) -> u64 {
        self.seq
    }

    /// The peer has restarted: its sequences begin anew, and it has heard nothing of ours.
    pub fn peer_restarted(&mut self) {
        let sent = core::mem::take(&mut self.sent);
        *self = Link { base: self.base, seq: self.seq, sent, tally: self.tally, ..Link::new(Incarnation(0)) };
    }

    /// Takes the next sequence for a beat that is made now, with the echo that it is to carry.
    pub fn next_beat(&mut self, now: Instant) -> (u64, Option<Echo>) {
        self.seq += 1;
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
        let echo = self.heard_seq.zip(self.received_at).map(|(seq, at)| Echo { seq, age: now.since(at) });
        (self.seq, echo)
    }

    /// A beat came over this path; `limit` is how old it may be.
    pub fn on_beat(&mut self, now: Instant, seq: u64, echo: Option<Echo>, limit: Duration) -> Freshness {
        if self.heard_seq.is_some_and(|heard| seq <= heard) {
            return Freshness::Old;
        }
        self.tally.on_beat(self.heard_seq.map(|heard| seq - heard));
        self.heard_seq = Some(seq);
        self.received_at = Some(now);
        let echo = echo.filter(|echo| echo.seq > self.base && echo.seq <= self.seq);
        if let Some(echo) = echo {
            let Some(sent_at) = self.sent_at(echo.seq) else {
                // An echo of a beat that we don't remember: older than all that we do.
                return Freshness::Stale;
            };
            // We made `echo.seq`, the peer kept it for `age`, then made this beat: it is no older than the rest.
            if now.since(sent_at).saturating_sub(echo.age) > limit {
                return Freshness::Stale;
            }
            self.hears_us_at = self.hears_us_at.max(Some(now - echo.age));
        }
        self.heard_at = Some(now);
        Freshness::Fresh
    }

    /// The newest beat may have come as early as that.
    pub fn came_before(&mut self, earliest: Instant) {
        self.received_at = self.received_at.map(|at| at.min(earliest));
    }

    /// Whether an echo shows that its beat was made within `limit`: it answers a recent one of ours.
    pub fn is_recent(&mut self, now: Instant, echo: Option<Echo>, limit: Duration) -> bool {
        let echo = echo.filter(|echo| echo.seq > self.base && echo.seq <= self.seq);
        let made = echo.and_then(|echo| Some((self.sent_at(echo.seq)?, echo.age)));
        made.is_some_and(|(sent_at, age)| now.since(sent_at).saturating_sub(age) <= limit)
    }

    /// When the beat of ours that an echo names was made, or one before it: the peer made its own later.
    pub fn echoed_at(&mut self, echo: Echo) -> Option<Instant> {
        let ours = echo.seq > self.base && echo.seq <= self.seq;
        if ours { self.sent_at(echo.seq) } else { None }
    }

    fn sent_at(&mut self, seq: u64) -> Option<Instant> {
        let back = usize::try_from(self.seq.checked_sub(seq)?).ok()?;
        let place = self.sent.len().checked_sub(back + 1);
        if let Some(at) = place.and_then(|place| self.sent.get(place)) {
            // A deaf peer goes on echoing the last one it heard, so that one is remembered for ever.
            self.echoed = self.echoed.filter(|(echoed, _)| *echoed > seq).or(Some((seq, *at)));
            return Some(*at);
        }
        // Older than what we remember, as after a long cut: made no sooner than the last one that the peer
        // is known to have heard before it, which bounds the age all the same.
        self.echoed.filter(|(echoed, _)| *echoed <= seq).map(|(_, at)| at)
    }

    /// When the path last showed life.
    pub fn heard_at(&self) -> Option<Instant> {
        self.heard_at
    }

    /// When the peer last heard us over it, as far as its echoes show.
    pub fn hears_us_at(&self) -> Option<Instant> {
        self.hears_us_at
    }

    /// How many of the peer's beats came over it.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether it shows life: heard within `silence`.
    pub fn is_up(&self, now: Instant, silence: Duration) -> bool {
        self.heard_at.is_some_and(|at| now.since(at) <= silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(300);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn echo(seq: u64, age_ms: u64) -> Option<Echo> {
        Some(Echo { seq, age: Duration::from_millis(age_ms) })
    }

    #[test]
    fn a_duplicate_is_old_and_no_life() {
        let mut link = Link::new(Incarnation(0));
        assert_eq!(link.on_beat(at(0), 5, None, LIMIT), Freshness::Fresh);
        assert_eq!(link.on_beat(at(250), 5, None, LIMIT), Freshness::Old);
        assert_eq!(link.on_beat(at(260), 4, None, LIMIT), Freshness::Old);
        assert!(!link.is_up(at(301), LIMIT));
    }

    #[test]
    fn what_was_lost_is_told_by_the_next_sequence_and_only_the_last_beats_make_the_loss() {
        let mut link = Link::new(Incarnation(0));
        assert_eq!(link.tally().loss(), None);
        for seq in [100, 101, 104, 103] {
            link.on_beat(at(seq), seq, None, LIMIT);
        }
        let tally = link.tally();
        assert_eq!((tally.received, tally.lost, tally.loss()), (3, 2, Some(0.4)), "103 was overtaken");
        for seq in 105..168 {
            link.on_beat(at(seq), seq, None, LIMIT);
        }
        assert_eq!(link.tally().loss(), Some(0.0), "104 is the oldest that counts");
        link.on_beat(at(999), u64::MAX, None, LIMIT);
        assert_eq!(link.tally().loss(), Some(63.0 / 64.0));
    }

    #[test]
    fn a_restart_of_the_peer_loses_nothing_and_is_no_loss() {
        let mut link = Link::new(Incarnation(0));
        for seq in [100, 102] {
            link.on_beat(at(seq), seq, None, LIMIT);
        }
        link.peer_restarted();
        link.on_beat(at(200), 7, None, LIMIT);
        let tally = link.tally();
        assert_eq!((tally.received, tally.lost, tally.loss()), (3, 1, Some(0.0)));
    }

    #[test]
    fn a_beat_that_sat_in_a_queue_for_ten_seconds_is_no_life() {
        let mut link = Link::new(Incarnation(0));
        for ms in (0..=1000).step_by(100) {
            link.next_beat(at(ms)); // sequence 1 at 0, 11 at 1000
        }
        assert_eq!(link.on_beat(at(1010), 1, echo(11, 5), LIMIT), Freshness::Fresh);
        for ms in (1100..11_000).step_by(100) {
            link.next_beat(at(ms));
        }
        // Made at about 1100, delivered at 11000.
        assert_eq!(link.on_beat(at(11_000), 2, echo(11, 95), LIMIT), Freshness::Stale);
        assert!(!link.is_up(at(11_000), LIMIT));
    }

    #[test]
    fn the_first_beat_after_a_long_cut_is_life_at_once() {
        let mut link = Link::new(Incarnation(0));
        link.next_beat(at(0)); // 1
        assert_eq!(link.on_beat(at(50), 1, echo(1, 49), LIMIT), Freshness::Fresh);
        for ms in (100..60_000).step_by(100) {
            link.next_beat(at(ms)); // 2 at 100: heard by the peer, and never echoed before the cut
        }
        assert_eq!(link.on_beat(at(60_000), 600, echo(2, 59_899), LIMIT), Freshness::Fresh);
        assert!(link.is_up(at(60_000), LIMIT));
    }

    #[test]
    fn a_deaf_peer_is_alive_and_known_to_be_deaf() {
        let mut link = Link::new(Incarnation(0));
        let (seq, none) = link.next_beat(at(0));
        assert_eq!(none, None);
        for n in 1..200_u64 {
            link.next_beat(at(n * 100));
            let fresh = link.on_beat(at(n * 100 + 1), n, echo(seq, n * 100), LIMIT);
            assert_eq!(fresh, Freshness::Fresh, "beat {n}");
        }
        assert!(link.is_up(at(19_901), LIMIT));
        assert!(link.hears_us_at().unwrap() <= at(2));
    }

    #[test]
    fn a_peer_that_went_deaf_during_a_cut_is_heard_when_one_direction_is_whole_again_p2() {
        let mut link = Link::new(Incarnation(0));
        link.next_beat(at(0)); // 1
        assert_eq!(link.on_beat(at(1), 1, echo(1, 1), LIMIT), Freshness::Fresh);
        // It is not heard from 1 ms on, hears us for a second longer, and is called four times in a period.
        for ms in (25..60_000).step_by(25) {
            link.next_beat(at(ms)); // 41 at 1000
        }
        let fresh = link.on_beat(at(60_000), 2000, echo(41, 58_999), LIMIT);
        assert_eq!((fresh, link.hears_us_at()), (Freshness::Fresh, Some(at(1001))));
    }

    #[test]
    fn an_echo_of_a_former_life_says_nothing() {
        let mut link = Link::new(Incarnation(5000 << 16));
        link.next_beat(at(5000)); // 5001
        assert_eq!(link.on_beat(at(5010), 1, echo(4000, 10), LIMIT), Freshness::Fresh);
        assert_eq!(link.on_beat(at(5020), 2, echo(9000, 10), LIMIT), Freshness::Fresh);
        assert_eq!(link.hears_us_at(), None);
    }

    #[test]
    fn an_echo_tells_what_was_heard_and_how_long_ago() {
        let mut link = Link::new(Incarnation(0));
        link.on_beat(at(100), 7, None, LIMIT);
        assert_eq!(link.next_beat(at(130)).1, echo(7, 30));
    }
}
