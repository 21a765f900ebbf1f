//! A live grant, which only this module's parent can make: `Master` cannot be written without one.

use crate::id::Epoch;
use crate::time::Instant;

/// Whose leave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backing {
    /// That of the domain's authority, or of its election where it has none.
    Authority,
    /// The authority is silent, and all other candidates have promised not to claim (policy `degrade`).
    Promises,
    /// Nobody's: the authority is silent, and the operator accepts two Masters.
    Nobody,
}

/// Leave to hold a domain under an epoch until a deadline of this node's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    epoch: Epoch,
    until: Instant,
    gate_until: Instant,
    backing: Backing,
}

impl Grant {
    pub(super) fn new(epoch: Epoch, until: Instant) -> Self {
        Grant { epoch, until, gate_until: until, backing: Backing::Authority }
    }

    /// The same with the gate's deadline capped (G).
    pub(super) fn capped(self, cap: Instant) -> Self {
        Grant { gate_until: self.gate_until.min(cap), ..self }
    }

    /// The same leave from somebody else.
    pub(super) fn backed_by(self, backing: Backing) -> Self {
        Grant { backing, ..self }
    }

    /// One that no voter gave, for tests of what depends on grants.
    #[cfg(test)]
    pub(crate) fn forged(epoch: Epoch, until: Instant) -> Self {
        Grant::new(epoch, until)
    }

    /// [`Grant::forged`] with another backing.
    #[cfg(test)]
    pub(crate) fn forged_by(backing: Backing, epoch: Epoch, until: Instant) -> Self {
        Grant::new(epoch, until).backed_by(backing)
    }

    /// The fencing token.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// D: nothing may be held from then on.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Until when the gate may be open: D, or G after the sending of the newest request that another node's
    /// voter has answered, whichever is sooner. Past it the lease is still held, and the next answer opens the gate again.
    pub fn gate_until(&self) -> Instant {
        self.gate_until
    }

    /// Whose leave it is.
    pub fn backing(&self) -> Backing {
        self.backing
    }
}
