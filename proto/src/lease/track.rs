//! What a holder knows of one voter.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::Incarnation;
use crate::time::Instant;
use crate::wire::lease::{RefuseReason, Stamp};

/// Requests whose time of sending is remembered; an answer to an older one is of no use.
const REMEMBERED: usize = 32;
/// Former incarnations of a voter that are remembered.
const RETIRED: usize = 8;

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
    /// When it last answered anything.
    pub(super) answered_at: Option<Instant>,
    sent: VecDeque<(u64, Instant)>,
    /// Incarnation, clock and time of receipt of its newest answer (R17).
    seen: Option<(Stamp, Instant)>,
    retired: Vec<Incarnation>,
    doubted_until: Option<Instant>,
    doubted_at: Option<Instant>,
}

impl Track {
    /// What was granted belongs to the former epoch.
    pub(super) fn new_epoch(&mut self) {
        (self.good_from, self.prev_ack, self.free, self.refused) = (None, 0, false, None);
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

    /// Whether it has answered within `patience`.
    pub(super) fn answered_within(&self, now: Instant, patience: Duration) -> bool {
        self.answered_at.is_some_and(|at| now.since(at) <= patience)
    }

    /// Whether its answer can be true: neither an older life come back, nor a clock gone backwards (R17).
    ///
    /// Clocks are compared only where one answer was asked for after the other had come, since the
    /// network may overtake.
    pub(super) fn believe(&mut self, now: Instant, nonce: u64, stamp: Stamp, lease_max: Duration) -> bool {
        if self.doubted_until.is_some_and(|until| now < until) {
            return false;
        }
        let doubtful = match self.seen {
            _ if self.retired.contains(&stamp.incarnation) => {
                // The last words of a life that ended while they were under way are no doubt, only late.
                self.seen.is_some_and(|(_, at)| self.sent_at(nonce).is_some_and(|sent| sent > at))
            }
            Some((seen, at)) if seen.incarnation == stamp.incarnation => {
                stamp.clock < seen.clock && self.sent_at(nonce).is_some_and(|sent| sent >= at)
            }
            Some(_) | None => false,
        };
        if doubtful {
            self.doubted_until = Some(now + lease_max);
            self.doubted_at = Some(now);
            self.good_from = None;
            return false;
        }
        if self.retired.contains(&stamp.incarnation) {
            return false;
        }
        match self.seen {
            Some((seen, _)) if seen.incarnation == stamp.incarnation && stamp.clock < seen.clock => {}
            Some((seen, _)) if seen.incarnation != stamp.incarnation => {
                if self.retired.len() == RETIRED {
                    self.retired.remove(0);
                }
                self.retired.push(seen.incarnation);
                self.seen = Some((stamp, now));
            }
            Some(_) | None => self.seen = Some((stamp, now)),
        }
        true
    }

    /// Whether this voter has said something later, which the network has let overtake.
    pub(super) fn is_overtaken(&self, stamp: Stamp) -> bool {
        self.seen.is_some_and(|(seen, _)| seen.incarnation == stamp.incarnation && stamp.clock < seen.clock)
    }

    /// Whether the doubt began at `now`.
    pub(super) fn is_newly_doubted(&self, now: Instant) -> bool {
        self.doubted_at == Some(now)
    }
}
