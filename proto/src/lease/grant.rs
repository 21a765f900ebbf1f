//! A live grant, which only this module's parent can make: `Master` cannot be written without one.

use crate::id::Epoch;
use crate::time::Instant;

/// Leave to hold a domain under an epoch until a deadline of this node's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    epoch: Epoch,
    until: Instant,
    gate_until: Instant,
}

impl Grant {
    pub(super) fn new(epoch: Epoch, until: Instant) -> Self {
        Grant { epoch, until, gate_until: until }
    }

    /// The same with the gate's deadline capped (G).
    pub(super) fn capped(self, cap: Instant) -> Self {
        Grant { gate_until: self.gate_until.min(cap), ..self }
    }

    /// One that no voter gave, for tests of what depends on grants.
    #[cfg(test)]
    pub(crate) fn forged(epoch: Epoch, until: Instant) -> Self {
        Grant::new(epoch, until)
    }

    /// The fencing token.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// D: nothing may be held from then on.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Until when the gate may be open: D, or G after the sending of the newest answered request, whichever is
    /// sooner. Past it the lease is still held, and the next answer opens the gate again.
    pub fn gate_until(&self) -> Instant {
        self.gate_until
    }
}
