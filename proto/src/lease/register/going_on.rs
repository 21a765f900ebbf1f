//! The register of a process that goes on with another one's life (docs/decisions/0210).
//!
//! What must stay true: a store that has forgotten what the former process had seen is told of to a holder that has heard
//! nothing of this register's yet.

use super::{Register, RegisterOutput};
use crate::id::{DomainId, Epoch};
use crate::time::Instant;
use crate::wire::lease::{Envelope, Message, RefuseReason, Stamp};

impl Register {
    /// Goes on with what a process of the same life has seen of the store, up to that revision, and holds: a store that has
    /// forgotten since is noticed, and what is held is no offer (docs/decisions/0210).
    pub fn go_on_from(&mut self, revision: u64, held: impl IntoIterator<Item = (DomainId, Epoch)>) {
        self.revision = revision;
        for (domain, epoch) in held {
            self.slots.entry(domain).or_default().hold(epoch);
            self.goes_on = true;
        }
    }

    /// The highest revision that an answer has named since the store forgot the last time.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// By its stamp the holder learns of it at once (R17); with the next one where it has heard none of this register's yet,
    /// so that the first one bears the clock as it was `before`.
    pub(super) fn tell_forgot(&mut self, now: Instant, before: Stamp, request: &Envelope) -> RegisterOutput {
        let mut told = self.refuse(now, request, RefuseReason::Quiet);
        if core::mem::take(&mut self.goes_on)
            && let RegisterOutput::Answer(Envelope { message: Message::Refuse { stamp, .. }, .. }) = &mut told
        {
            *stamp = before;
        }
        told
    }
}
