//! The guards that a simulator can take out one at a time, to show that each is missed.
//!
//! Without the feature `ablation` every guard is on, and nothing can turn one off.

/// A rule of safety.md whose absence the simulator must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// A strict majority, not half of the voters.
    Majority,
    /// V2, V3: a voter refuses while another is lent to.
    LendsOnce,
    /// V3: the own voter refuses its own node too while another holds.
    OwnVoterRefuses,
    /// V4: an epoch below the highest seen is refused.
    EpochRises,
    /// V5: a release frees only exactly what it names.
    ReleaseMatches,
    /// V6: no answer that changes an epoch leaves before the record is on disk.
    DiskFirst,
    /// V7: a restarted voter waits for L_max.
    RestartWait,
    /// V8: a holder that shows no sign of hearing the voter is not extended for ever.
    DeafIsRefused,
    /// V9: another configuration's digest is refused.
    DigestAgrees,
    /// R2: no epoch is spent before a majority has said that it is free.
    PreVote,
    /// R10: while its own node holds a voter lends to nobody.
    HolderLendsNothing,
    /// R1, R3: the deadline counts from the request, not from the reply.
    DeadlineFromRequest,
    /// R3: an answer counts for the request that it answers.
    NonceMatches,
    /// R3, I11: addresses only behind an open gate.
    GateFirst,
    /// R5, R6: an epoch belongs to one attempt.
    EpochOnce,
    /// R8: the gate is shut before the lease is given back.
    ShutBeforeRelease,
    /// R12: what a former life has left goes first.
    CleanStart,
    /// D2: who reaches neither peers nor references shuts its gate.
    IsolatedYields,
    /// D7, D8: of two that hold, one yields.
    RivalYields,
    /// D7: what a peer says of its tenure counts for when it can have said it, not for when it is heard.
    ClaimsDated,
    /// I13: who has promised not to claim does not.
    PromiseBinds,
    /// T1: what the lease assumes of clocks is measured against the others'.
    RateWatch,
    /// V9: in the middle of a move both authorities must lend.
    BothLend,
    /// V9: nobody asks under a generation that no record bears out.
    ProvenFirst,
    /// A key of a store that another holds is taken over only after it has stood still for L_a.
    KeyStandsStill,
    /// A swap without an answer has granted nothing.
    UnknownIsNoGrant,
    /// V7: a key that is not there is nobody's for L_max.
    LostKeyWaits,
    /// R17: a store whose revision goes back has forgotten, and what was known of it is worth nothing.
    StoreMayForget,
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
