//! Telling the voters that an epoch is over, until each has said so or it would have run out anyway.

use alloc::collections::BTreeSet;
use core::time::Duration;

use crate::id::{Epoch, NodeId};
use crate::time::Instant;
use crate::wire::lease::Message;

/// Half of the time until the first repetition.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// One epoch that is being given back.
#[derive(Debug, Clone)]
pub(super) struct Farewell {
    epoch: Epoch,
    heir: Option<Epoch>,
    pending: BTreeSet<NodeId>,
    /// When the words are due again.
    pub(super) resend_at: Instant,
    until: Instant,
    /// Until the next repetition.
    pause: Duration,
}

impl Farewell {
    /// Due at once; pointless after `until`.
    pub(super) fn new(
        epoch: Epoch,
        heir: Option<Epoch>,
        pending: BTreeSet<NodeId>,
        now: Instant,
        until: Instant,
    ) -> Self {
        Farewell { epoch, heir, pending, resend_at: now, until, pause: FIRST_PAUSE }
    }

    /// The words, if they are due. They are repeated soon at first, since others wait for them, and each
    /// time later, up to `longest`.
    pub(super) fn due(&mut self, now: Instant, longest: Duration) -> Option<Message> {
        if now < self.resend_at {
            return None;
        }
        self.pause = (self.pause * 2).min(longest);
        self.resend_at = now + self.pause;
        Some(match self.heir {
            Some(heir) => Message::Transfer { epoch: self.epoch, heir },
            None => Message::Release { epoch: self.epoch },
        })
    }

    /// Who has not answered.
    pub(super) fn pending(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.pending.iter().copied()
    }

    /// A voter has said that it is over.
    pub(super) fn on_ended(&mut self, voter: NodeId, epoch: Epoch) {
        if epoch == self.epoch {
            self.pending.remove(&voter);
        }
    }

    /// All have, or the lease has run out by itself.
    pub(super) fn is_done(&self, now: Instant) -> bool {
        self.pending.is_empty() || now >= self.until
    }
}
