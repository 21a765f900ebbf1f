//! What can be taken out of the protocol, one at a time, to see that the checker would notice.

/// A guard of safety.md, or a pair of guards of which each covers for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// R1, R3: the deadline counts from the reply instead of from the request.
    DeadlineFromReply,
    /// V3: a voter lends what it has lent to another.
    LendsTwice,
    /// V5: a Release frees whatever loan there is.
    AnyReleaseFrees,
    /// V5 and V4: a Transfer moves whatever loan there is, to however old an heir.
    AnyTransferMoves,
    /// V7: a restarted voter does not wait.
    NoRestartWait,
    /// V7: a restarted voter renews whoever asks.
    RestartRenewsAnyone,
    /// V7, V6: a voter that has lost its disk takes the first who asks for its former holder.
    LostDiskRenewsAnyone,
    /// R5: a new attempt begins while the gate of the last is open.
    AttemptBesideOpenGate,
    /// R3: grants of a former epoch count for the present one.
    GrantsOfAnyEpoch,
    /// R8: the lease is given back while the gate is open.
    ReleaseBeforeShut,
    /// R9: a gate write that was decided before the tombstone opens the gate after it.
    LateWriteOpens,
    /// The gate: its deadline is relative, and counts from when it is written.
    RelativeGate,
    /// The gate: without a deadline it stays open until it is shut.
    GateWithoutDeadline,
    /// L_h = L_a: the holder's lease does not allow for the clocks' rates.
    NoDriftMargin,
    /// q: half of the voters is enough.
    HalfIsEnough,
    /// R6, V4 and R12: epochs without incarnation and attempt, and no clean-up at start.
    EpochReused,
    /// R5 and V6: a lapsed epoch is renewed, and the voter answers before its disk has the record.
    RenewsLapsedForgetfulDisk,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 17] = [
        Mutant::DeadlineFromReply,
        Mutant::LendsTwice,
        Mutant::AnyReleaseFrees,
        Mutant::AnyTransferMoves,
        Mutant::NoRestartWait,
        Mutant::RestartRenewsAnyone,
        Mutant::LostDiskRenewsAnyone,
        Mutant::AttemptBesideOpenGate,
        Mutant::GrantsOfAnyEpoch,
        Mutant::ReleaseBeforeShut,
        Mutant::LateWriteOpens,
        Mutant::RelativeGate,
        Mutant::GateWithoutDeadline,
        Mutant::NoDriftMargin,
        Mutant::HalfIsEnough,
        Mutant::EpochReused,
        Mutant::RenewsLapsedForgetfulDisk,
    ];

    /// The rules that it breaks.
    pub fn rules(self) -> &'static str {
        match self {
            Mutant::DeadlineFromReply => "R1",
            Mutant::LendsTwice => "V3",
            Mutant::AnyReleaseFrees => "V5",
            Mutant::AnyTransferMoves => "V5, V4",
            Mutant::NoRestartWait | Mutant::RestartRenewsAnyone => "V7",
            Mutant::LostDiskRenewsAnyone => "V6, V7",
            Mutant::AttemptBesideOpenGate => "R5",
            Mutant::GrantsOfAnyEpoch => "R3",
            Mutant::ReleaseBeforeShut => "R8",
            Mutant::LateWriteOpens => "R9",
            Mutant::RelativeGate | Mutant::GateWithoutDeadline => "gate",
            Mutant::NoDriftMargin => "L_h",
            Mutant::HalfIsEnough => "q",
            Mutant::EpochReused => "R6, V4, R12",
            Mutant::RenewsLapsedForgetfulDisk => "R5, V6",
        }
    }

    /// Attempts, restarts of candidates, restarts of voters within which its counterexample lies.
    pub fn bounds(self) -> (u8, u8, u8) {
        match self {
            Mutant::DeadlineFromReply
            | Mutant::LendsTwice
            | Mutant::ReleaseBeforeShut
            | Mutant::LateWriteOpens
            | Mutant::RelativeGate
            | Mutant::GateWithoutDeadline
            | Mutant::NoDriftMargin
            | Mutant::HalfIsEnough => (2, 0, 0),
            Mutant::AnyReleaseFrees
            | Mutant::AnyTransferMoves
            | Mutant::AttemptBesideOpenGate
            | Mutant::GrantsOfAnyEpoch => (3, 0, 0),
            Mutant::NoRestartWait | Mutant::RestartRenewsAnyone | Mutant::LostDiskRenewsAnyone => (2, 0, 1),
            Mutant::EpochReused => (3, 1, 0),
            Mutant::RenewsLapsedForgetfulDisk => (2, 0, 1),
        }
    }

    /// Its name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Mutant::DeadlineFromReply => "deadline-from-reply",
            Mutant::LendsTwice => "lends-twice",
            Mutant::AnyReleaseFrees => "any-release-frees",
            Mutant::AnyTransferMoves => "any-transfer-moves",
            Mutant::NoRestartWait => "no-restart-wait",
            Mutant::RestartRenewsAnyone => "restart-renews-anyone",
            Mutant::LostDiskRenewsAnyone => "lost-disk-renews-anyone",
            Mutant::AttemptBesideOpenGate => "attempt-beside-open-gate",
            Mutant::GrantsOfAnyEpoch => "grants-of-any-epoch",
            Mutant::ReleaseBeforeShut => "release-before-shut",
            Mutant::LateWriteOpens => "late-write-opens",
            Mutant::RelativeGate => "relative-gate",
            Mutant::GateWithoutDeadline => "gate-without-deadline",
            Mutant::NoDriftMargin => "no-drift-margin",
            Mutant::HalfIsEnough => "half-is-enough",
            Mutant::EpochReused => "epoch-reused",
            Mutant::RenewsLapsedForgetfulDisk => "renews-lapsed-forgetful-disk",
        }
    }
}
