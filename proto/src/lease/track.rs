//! What a holder knows of one voter.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::{Incarnation, NodeId};
use crate::time::Instant;
use crate::wire::lease::{RefuseReason, Stamp};

/// Requests whose time of sending is remembered; an answer to an older one is of no use.
const REMEMBERED: usize = 32;
/// Former incarnations of a voter that are remembered.
const RETIRED: usize = 8;

/// What a voter said of its loan to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lends {
    pub(super) to: NodeId,
    /// How long it had not heard that one when it said so, and when that was.
    pub(super) silence: Duration,
    pub(super) said_at: Instant,
}

/// One voter.
#[derive(Debug, Clone, Default)]
pub(super) struct Track {
    /// Time of sending of the newest answered request of the present epoch (R3).
    pub(super) good_from: Option<Instant>,
    /// Nonce of the newest grant of the present epoch (V8).
    pub(super) prev_ack: u64,
    /// It answered a query of this round with `Free`.
    pub(super) free: bool,
    /// It refused, and when it can be free.
    pub(super) refused: Option<(RefuseReason, Instant)>,
    /// To whom it said to lend.
    pub(super) lends: Option<Lends>,
    /// It refused to renew the epoch that is held, and has not granted since.
    pub(super) denied: bool,
    /// When it last answered anything.
    pub(super) answered_at: Option<Instant>,
    sent: VecDeque<(u64, Instant)>,
    /// Incarnation, clock and time of receipt of its newest answer (R17).
    seen: Option<(Stamp, Instant)>,
    retired: Vec<Incarnation>,
    doubted_until: Option<Instant>,
}

/// Why a voter's answer can't be true (R17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amnesia {
    /// Its clock went back by as much within one life: a memory snapshot was restored.
    ClockBack(Duration),
    /// A life that was over speaks again: a snapshot, a clone, or two voters with one identity.
    OlderLife(Incarnation),
}

/// What an answer's stamp says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belief {
    /// It counts.
    Counts,
    /// It does not, and that is known already or means nothing.
    Ignored,
    /// It does not, and neither does anything else of this voter for L_max from now on.
    Doubted(Amnesia),
}

impl Track {
    /// Whether nothing that it says counts now (R17).
    pub(super) fn is_doubted(&self, now: Instant) -> bool {
        self.doubted_until.is_some_and(|until| now < until)
    }

    /// What was granted belongs to the former epoch.
    pub(super) fn new_epoch(&mut self) {
        (self.good_from, self.prev_ack, self.free, self.refused, self.denied) = (None, 0, false, None, false);
        self.sent.clear();
    }

    /// A request goes out.
    pub(super) fn remember(&mut self, nonce: u64, now: Instant) {
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((nonce, now));
    }

    /// When the request of a nonce was sent.
    pub(super) fn sent_at(&self, nonce: u64) -> Option<Instant> {
        self.sent.iter().find(|(sent, _)| *sent == nonce).map(|(_, at)| *at)
    }

    /// When the newest request was sent; only where the guard of nonces is taken out.
    pub(super) fn newest_sent(&self) -> Option<Instant> {
        self.sent.back().map(|(_, at)| *at)
    }

    /// Whether it has answered within `patience`.
    pub(super) fn answered_within(&self, now: Instant, patience: Duration) -> bool {
        self.answered_at.is_some_and(|at| now.since(at) <= patience)
    }

    /// Whether its answer can be true: neither an older life come back, nor a clock gone backwards (R17).
    ///
    /// Clocks are compared only where one answer was asked for, at `sent`, after the other had come, since the
    /// network may overtake. What was doubted is what is measured by from then on: a voter that was restored
    /// goes on from there, and has forgotten nothing that still binds it once L_max has passed.
    pub(super) fn believe(&mut self, now: Instant, sent: Option<Instant>, stamp: Stamp, lease_max: Duration) -> Belief {
        // A datagram of a life that ended long ago, first heard now, would pass for a new life and retire the one that
        // lives. Who answers a request of ours lives.
        if sent.is_none() && self.seen.is_some_and(|(seen, _)| seen.incarnation != stamp.incarnation) {
            return Belief::Ignored;
        }
        let asked_since = |at: Instant| sent.is_some_and(|sent| sent >= at);
        let doubt = match self.seen {
            // The last words of a life that ended while they were under way are no doubt, only late.
            Some((_, at)) if self.retired.contains(&stamp.incarnation) => {
                if sent.is_none_or(|sent| sent <= at) {
                    return Belief::Ignored;
                }
                Some(Amnesia::OlderLife(stamp.incarnation))
            }
            Some((seen, at)) if seen.incarnation == stamp.incarnation && stamp.clock < seen.clock => {
                asked_since(at).then(|| Amnesia::ClockBack(seen.clock.since(stamp.clock)))
            }
            Some(_) | None => None,
        };
        let newer =
            self.seen.is_none_or(|(seen, _)| seen.incarnation != stamp.incarnation || stamp.clock >= seen.clock);
        if newer || doubt.is_some() {
            self.meet(stamp, now);
        }
        if let Some(doubt) = doubt {
            self.doubted_until = Some(now + lease_max);
            self.good_from = None;
            return Belief::Doubted(doubt);
        }
        if self.is_doubted(now) { Belief::Ignored } else { Belief::Counts }
    }

    /// Whether this voter has said something later, which the network has let overtake.
    pub(super) fn is_overtaken(&self, stamp: Stamp) -> bool {
        self.seen.is_some_and(|(seen, _)| seen.incarnation == stamp.incarnation && stamp.clock < seen.clock)
    }

    /// The newest that is known of it.
    fn meet(&mut self, stamp: Stamp, now: Instant) {
        self.retired.retain(|retired| *retired != stamp.incarnation);
        if let Some((seen, _)) = self.seen.replace((stamp, now))
            && seen.incarnation != stamp.incarnation
        {
            if self.retired.len() == RETIRED {
                self.retired.remove(0);
            }
            self.retired.push(seen.incarnation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const L_MAX: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    /// Asked and answered at `ms`.
    fn hear(track: &mut Track, ms: u64, incarnation: u64, clock_ms: u64) -> Belief {
        let stamp = Stamp { incarnation: Incarnation(incarnation), clock: at(clock_ms) };
        track.believe(at(ms), Some(at(ms)), stamp, L_MAX)
    }

    #[test]
    fn a_restored_snapshot_is_ignored_for_l_max_and_then_believed_again_r17() {
        let mut track = Track::default();
        assert_eq!(hear(&mut track, 0, 1, 90_000), Belief::Counts);
        let back = Amnesia::ClockBack(Duration::from_secs(60));
        assert_eq!(hear(&mut track, 100, 1, 30_000), Belief::Doubted(back));
        for ms in [101, 600, 1099] {
            assert_eq!(hear(&mut track, ms, 1, 30_000 + ms), Belief::Ignored);
        }
        assert_eq!(hear(&mut track, 1100, 1, 31_100), Belief::Counts, "although its clock is still behind");
    }

    #[test]
    fn an_older_life_come_back_is_ignored_for_l_max_and_then_believed_again_r17() {
        let mut track = Track::default();
        hear(&mut track, 0, 1, 500);
        assert_eq!(hear(&mut track, 100, 2, 20), Belief::Counts, "a restart");
        assert_eq!(hear(&mut track, 200, 1, 600), Belief::Doubted(Amnesia::OlderLife(Incarnation(1))));
        assert_eq!(hear(&mut track, 300, 1, 700), Belief::Ignored);
        assert_eq!(hear(&mut track, 1200, 1, 1600), Belief::Counts);
    }

    #[test]
    fn two_voters_with_one_identity_are_never_believed_while_both_answer_f39() {
        let mut track = Track::default();
        hear(&mut track, 0, 1, 500);
        hear(&mut track, 100, 2, 9500);
        for n in 2..100 {
            let answer = hear(&mut track, n * 100, 1 + n % 2, 500 + n * 100 + (n % 2) * 9000);
            assert_eq!(answer, Belief::Doubted(Amnesia::OlderLife(Incarnation(1 + n % 2))), "answer {n}");
        }
    }

    #[test]
    fn late_and_overtaken_words_are_no_doubt() {
        let mut track = Track::default();
        hear(&mut track, 0, 1, 500);
        hear(&mut track, 1000, 2, 100);
        let stamp = |incarnation, ms| Stamp { incarnation: Incarnation(incarnation), clock: at(ms) };
        assert_eq!(track.believe(at(1010), Some(at(900)), stamp(1, 600), L_MAX), Belief::Ignored, "a dead life's");
        assert_eq!(track.believe(at(1020), Some(at(990)), stamp(2, 90), L_MAX), Belief::Counts, "overtaken");
        assert_eq!(track.believe(at(1030), None, stamp(2, 80), L_MAX), Belief::Counts, "asked for who knows when");
        assert_eq!(hear(&mut track, 1040, 2, 140), Belief::Counts);
    }
}
