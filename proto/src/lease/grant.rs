//! A live grant, which only this module's parent can make: `Master` cannot be written without one.

use crate::id::Epoch;
use crate::time::Instant;

/// Leave to hold a domain under an epoch until a deadline of this node's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    epoch: Epoch,
    until: Instant,
}

impl Grant {
    pub(super) fn new(epoch: Epoch, until: Instant) -> Self {
        Grant { epoch, until }
    }

    /// One that no voter gave, for tests of what depends on grants.
    #[cfg(test)]
    pub(crate) fn forged(epoch: Epoch, until: Instant) -> Self {
        Grant { epoch, until }
    }

    /// The fencing token.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// D: nothing may be held from then on.
    pub fn until(&self) -> Instant {
        self.until
    }
}
