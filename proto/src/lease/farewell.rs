//! Telling the voters that an epoch is over, until each has said so or it would have run out anyway.

use alloc::collections::BTreeSet;
use core::time::Duration;

use crate::id::{Epoch, NodeId};
use crate::time::Instant;
use crate::wire::lease::Message;

/// One epoch that is being given back.
#[derive(Debug, Clone)]
pub(super) struct Farewell {
    epoch: Epoch,
    heir: Option<Epoch>,
    pending: BTreeSet<NodeId>,
    /// When the words are due again.
    pub(super) resend_at: Instant,
    until: Instant,
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
        Farewell { epoch, heir, pending, resend_at: now, until }
    }

    /// The words, if they are due.
    pub(super) fn due(&mut self, now: Instant, resend: Duration) -> Option<Message> {
        if now < self.resend_at {
            return None;
        }
        self.resend_at = now + resend;
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
