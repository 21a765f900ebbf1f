//! The guards that a simulator can take out one at a time, to show that each is missed.
//!
//! Without the feature `ablation` every guard is on, and nothing can turn one off.

/// A rule of safety.md whose absence the simulator must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// R1, R3: the deadline counts from the request, not from the reply.
    DeadlineFromRequest,
    /// V7: a restarted voter waits for L_max.
    RestartWait,
    /// R8: the gate is shut before the lease is given back.
    ShutBeforeRelease,
    /// R5, R6: an epoch belongs to one attempt.
    EpochOnce,
    /// V3: the own voter refuses its own node too while another holds.
    OwnVoterRefuses,
    /// T1: what the lease assumes of clocks is measured against the others'.
    RateWatch,
}

/// Which guards are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guards {
    #[cfg(feature = "ablation")]
    without: Option<Guard>,
}

impl Guards {
    /// All but one.
    #[cfg(feature = "ablation")]
    pub fn without(guard: Guard) -> Self {
        Guards { without: Some(guard) }
    }

    /// Whether a guard is on.
    #[cfg(feature = "ablation")]
    pub(crate) fn has(self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Whether a guard is on: always.
    #[cfg(not(feature = "ablation"))]
    pub(crate) const fn has(self, _: Guard) -> bool {
        true
    }
}
