//! One guard taken out at a time: a simulator that can't see a missing guard proves nothing about those
//! that are there.

use keepone_proto::guard::Guard;

/// What is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ablation {
    /// Nobody is asked: silence is death.
    Arbiter,
    /// R1, R3: the deadline counts from the reply.
    RequestTime,
    /// The gate takes a relative timeout, and is written late.
    AbsoluteGate,
    /// The kernel keeps no deadline.
    KernelGate,
    /// V7: a restarted voter grants at once.
    RestartWait,
    /// The holder's lease is as long as the voter's, without the margin for clocks and frames.
    DriftMargin,
    /// R8: the lease is given back before the gate is shut.
    ShutBeforeRelease,
    /// R5, R6: an epoch serves more than one attempt.
    EpochOnce,
    /// V3: the own voter says yes to its own node whoever holds.
    OwnVoterRefuses,
}

/// All of them.
pub const ALL: &[Ablation] = &[
    Ablation::Arbiter,
    Ablation::RequestTime,
    Ablation::AbsoluteGate,
    Ablation::KernelGate,
    Ablation::RestartWait,
    Ablation::DriftMargin,
    Ablation::ShutBeforeRelease,
    Ablation::EpochOnce,
    Ablation::OwnVoterRefuses,
];

impl Ablation {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Ablation::Arbiter => "no-arbiter",
            Ablation::RequestTime => "deadline-from-the-reply",
            Ablation::AbsoluteGate => "relative-gate-written-late",
            Ablation::KernelGate => "no-kernel-gate",
            Ablation::RestartWait => "no-wait-after-a-voters-restart",
            Ablation::DriftMargin => "no-drift-margin",
            Ablation::ShutBeforeRelease => "release-before-the-gate-is-shut",
            Ablation::EpochOnce => "an-epoch-used-twice",
            Ablation::OwnVoterRefuses => "own-voter-grants-freely",
        }
    }

    /// The core's guard that it takes out, where the core is what is changed.
    pub fn guard(self) -> Option<Guard> {
        match self {
            Ablation::RequestTime => Some(Guard::DeadlineFromRequest),
            Ablation::RestartWait => Some(Guard::RestartWait),
            Ablation::ShutBeforeRelease => Some(Guard::ShutBeforeRelease),
            Ablation::EpochOnce => Some(Guard::EpochOnce),
            Ablation::OwnVoterRefuses => Some(Guard::OwnVoterRefuses),
            Ablation::Arbiter | Ablation::AbsoluteGate | Ablation::KernelGate | Ablation::DriftMargin => None,
        }
    }
}
