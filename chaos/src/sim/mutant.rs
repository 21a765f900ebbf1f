//! One guard taken out at a time: a simulator that can't see a missing guard proves nothing about those
//! that are there.

use keepone_proto::guard::Guard;

/// What is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// Nothing: the same clusters and histories as most others see, with every guard on.
    Control,
    /// Nothing, in the clusters without an authority that [`Mutant::NobodyYields`] sees.
    ControlAlone,
    /// Nothing, in the clusters with references that [`Mutant::IsolatedGoesOn`] sees.
    ControlReferences,
    /// Nothing, in the clusters with an allowance for freezes that [`Mutant::NoFreezeAllowance`] sees.
    ControlFreezes,
    /// Nothing, in the histories of cuts in one direction that [`Mutant::DeafExtended`] sees.
    ControlDeaf,
    /// Nothing, in the histories of failing disks and late requests that [`Mutant::HolderLends`] sees.
    ControlLate,
    /// Nothing, in the clusters with promises that [`Mutant::PromisesBindNobody`] sees.
    ControlPromises,
    /// Nobody is asked: silence is death.
    NoArbiter,
    /// A majority is half of the voters.
    HalfIsMajority,
    /// V2, V3: a voter lends what it has lent.
    LendsTwice,
    /// V3: the own voter says yes to its own node whoever holds.
    OwnVoterGrants,
    /// V4: a voter takes an epoch below the highest that it has seen.
    OldEpochCounts,
    /// V5: a release frees whatever is lent.
    ReleaseOfAnything,
    /// V6: the answer does not wait for the disk.
    AnswerBeforeDisk,
    /// V7: a restarted voter grants at once.
    NoWaitAfterRestart,
    /// V8: a holder that hears nothing of a voter is extended for ever.
    DeafExtended,
    /// V9: digests are not compared.
    AnyDigest,
    /// R2: an epoch is spent before anybody was asked whether it is free.
    NoPreVote,
    /// R10: a holder's own voter lends to others.
    HolderLends,
    /// R1, R3: the deadline counts from the reply.
    DeadlineFromReply,
    /// R3: an answer counts for the newest request, whichever it answers.
    AnyNonce,
    /// R3: the address is set before the gate is open.
    AddressBeforeGate,
    /// R5, R6: an epoch serves more than one attempt.
    EpochTwice,
    /// R6: an incarnation serves more than one life.
    SameIncarnation,
    /// R8: the lease is given back before the gate is shut.
    ReleaseBeforeShut,
    /// R8: E_tx is not waited out.
    NoDrain,
    /// R9: a second writer writes the gate late, and no tombstone bars it.
    SecondWriter,
    /// R12: a node starts without cleaning up.
    NoCleanStart,
    /// R16: the guardian releases before it shuts.
    GuardianReleasesFirst,
    /// The holder's lease is as long as the voter's, without the margin for clocks and frames.
    NoDriftMargin,
    /// The margin leaves out what a hypervisor may hide.
    NoFreezeAllowance,
    /// The gate takes a relative timeout, and is written late.
    RelativeGate,
    /// The kernel keeps no deadline.
    NoKernelGate,
    /// D2: a node that reaches nobody goes on.
    IsolatedGoesOn,
    /// D7: of two that hold, nobody yields.
    NobodyYields,
    /// D7: what a peer says counts for when it is heard, not for when it can have been said.
    ClaimsUndated,
    /// I13: who has promised not to claim claims all the same.
    PromisesBindNobody,
    /// R6: the next process of a life begins its nonces anew.
    UpgradeForgetsNonces,
    /// R3, R5: the next process of a life counts a whole lease from its start.
    ResumedForAWholeLease,
    /// R9: the process that has handed on lives until the next one begins.
    UpgradeBesideTheOld,
    /// Nothing, where programs are replaced in place.
    ControlUpgrades,
    /// Nothing, in the clusters with a store that the following see.
    ControlStore,
    /// The store swaps without comparing: a swap is a plain write.
    StoreComparesNothing,
    /// A key that another holds is taken over without waiting for it to stand still.
    KeyTakenAtOnce,
    /// A swap without an answer counts as done.
    UnknownIsGranted,
    /// A key that is not there is free at once.
    LostKeyIsFree,
    /// A revision that goes back is not noticed.
    StoreNeverForgets,
    /// A release frees whatever the key holds.
    KeyReleaseOfAnything,
    /// The deadline counts from the store's answer.
    KeyDeadlineFromReply,
    /// Nothing, in the clusters with sessions that the following see.
    ControlSessions,
    /// A key is taken over whether its holder's session is gone or not.
    SessionNotAwaited,
    /// A session stands on a lease that was taken before it was asked.
    SessionOnOlderLease,
    /// Nothing, where voter sets follow one another as the following see it.
    ControlMoves,
    /// V9: in the middle of a move one of the two sets is enough.
    HalfOfAMove,
    /// V9: a generation is asked under that no record bears out.
    Unproven,
}

/// Those that take nothing out, each in clusters that some of the others see: what they show is no guard's.
pub const CONTROLS: &[Mutant] = &[
    Mutant::Control,
    Mutant::ControlAlone,
    Mutant::ControlReferences,
    Mutant::ControlFreezes,
    Mutant::ControlDeaf,
    Mutant::ControlLate,
    Mutant::ControlPromises,
    Mutant::ControlStore,
    Mutant::ControlSessions,
    Mutant::ControlUpgrades,
    Mutant::ControlMoves,
];

/// All that take something out.
pub const ALL: &[Mutant] = &[
    Mutant::NoArbiter,
    Mutant::HalfIsMajority,
    Mutant::LendsTwice,
    Mutant::OwnVoterGrants,
    Mutant::OldEpochCounts,
    Mutant::ReleaseOfAnything,
    Mutant::AnswerBeforeDisk,
    Mutant::NoWaitAfterRestart,
    Mutant::DeafExtended,
    Mutant::AnyDigest,
    Mutant::NoPreVote,
    Mutant::HolderLends,
    Mutant::DeadlineFromReply,
    Mutant::AnyNonce,
    Mutant::AddressBeforeGate,
    Mutant::EpochTwice,
    Mutant::SameIncarnation,
    Mutant::ReleaseBeforeShut,
    Mutant::NoDrain,
    Mutant::SecondWriter,
    Mutant::NoCleanStart,
    Mutant::GuardianReleasesFirst,
    Mutant::NoDriftMargin,
    Mutant::NoFreezeAllowance,
    Mutant::RelativeGate,
    Mutant::NoKernelGate,
    Mutant::IsolatedGoesOn,
    Mutant::NobodyYields,
    Mutant::ClaimsUndated,
    Mutant::PromisesBindNobody,
    Mutant::StoreComparesNothing,
    Mutant::KeyTakenAtOnce,
    Mutant::UnknownIsGranted,
    Mutant::LostKeyIsFree,
    Mutant::StoreNeverForgets,
    Mutant::KeyReleaseOfAnything,
    Mutant::KeyDeadlineFromReply,
    Mutant::SessionNotAwaited,
    Mutant::SessionOnOlderLease,
    Mutant::UpgradeForgetsNonces,
    Mutant::ResumedForAWholeLease,
    Mutant::UpgradeBesideTheOld,
    Mutant::HalfOfAMove,
    Mutant::Unproven,
];

impl Mutant {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Mutant::Control => "nothing",
            Mutant::ControlAlone => "nothing-without-an-authority",
            Mutant::ControlReferences => "nothing-with-references",
            Mutant::ControlFreezes => "nothing-with-freezes",
            Mutant::ControlDeaf => "nothing-with-deaf-holders",
            Mutant::ControlLate => "nothing-with-late-requests",
            Mutant::ControlPromises => "nothing-with-promises",
            Mutant::NoArbiter => "no-arbiter",
            Mutant::HalfIsMajority => "half-is-a-majority",
            Mutant::LendsTwice => "voter-lends-twice",
            Mutant::OwnVoterGrants => "own-voter-grants-freely",
            Mutant::OldEpochCounts => "old-epoch-counts",
            Mutant::ReleaseOfAnything => "release-frees-anything",
            Mutant::AnswerBeforeDisk => "answer-before-the-disk",
            Mutant::NoWaitAfterRestart => "no-wait-after-a-voters-restart",
            Mutant::DeafExtended => "deaf-holder-is-extended",
            Mutant::NoPreVote => "no-pre-vote",
            Mutant::HolderLends => "holders-voter-lends",
            Mutant::AnyDigest => "digests-not-compared",
            Mutant::DeadlineFromReply => "deadline-from-the-reply",
            Mutant::AnyNonce => "answer-counts-for-any-request",
            Mutant::AddressBeforeGate => "address-before-the-gate",
            Mutant::EpochTwice => "an-epoch-used-twice",
            Mutant::SameIncarnation => "an-incarnation-used-twice",
            Mutant::ReleaseBeforeShut => "release-before-the-gate-is-shut",
            Mutant::NoDrain => "last-frame-not-waited-for",
            Mutant::SecondWriter => "second-writer-of-the-gate",
            Mutant::NoCleanStart => "no-clean-up-at-the-start",
            Mutant::GuardianReleasesFirst => "guardian-releases-before-it-shuts",
            Mutant::NoDriftMargin => "no-drift-margin",
            Mutant::NoFreezeAllowance => "no-allowance-for-hidden-freezes",
            Mutant::RelativeGate => "relative-gate-written-late",
            Mutant::NoKernelGate => "no-kernel-gate",
            Mutant::IsolatedGoesOn => "isolated-node-goes-on",
            Mutant::NobodyYields => "nobody-yields",
            Mutant::ClaimsUndated => "late-words-alarm",
            Mutant::PromisesBindNobody => "promises-bind-nobody",
            Mutant::UpgradeForgetsNonces => "upgrade-forgets-nonces",
            Mutant::ResumedForAWholeLease => "resumed-for-a-whole-lease",
            Mutant::UpgradeBesideTheOld => "upgrade-beside-the-old-process",
            Mutant::ControlUpgrades => "nothing-with-upgrades",
            Mutant::ControlStore => "nothing-with-a-store",
            Mutant::StoreComparesNothing => "store-compares-nothing",
            Mutant::KeyTakenAtOnce => "another-key-is-taken-at-once",
            Mutant::UnknownIsGranted => "unknown-swap-is-granted",
            Mutant::LostKeyIsFree => "lost-key-is-free",
            Mutant::StoreNeverForgets => "store-never-forgets",
            Mutant::KeyReleaseOfAnything => "key-release-frees-anything",
            Mutant::KeyDeadlineFromReply => "store-deadline-from-the-reply",
            Mutant::ControlSessions => "nothing-with-sessions",
            Mutant::SessionNotAwaited => "session-is-not-awaited",
            Mutant::SessionOnOlderLease => "session-on-an-older-lease",
            Mutant::ControlMoves => "nothing-with-moves",
            Mutant::HalfOfAMove => "half-of-a-move-lends",
            Mutant::Unproven => "generation-is-not-proven",
        }
    }

    /// The rules that it breaks, by their numbers.
    pub fn rules(self) -> &'static str {
        match self {
            Mutant::Control
            | Mutant::ControlAlone
            | Mutant::ControlReferences
            | Mutant::ControlFreezes
            | Mutant::ControlDeaf
            | Mutant::ControlLate
            | Mutant::ControlPromises
            | Mutant::ControlStore
            | Mutant::ControlUpgrades
            | Mutant::ControlMoves
            | Mutant::ControlSessions => "–",
            Mutant::NoArbiter => "P1",
            Mutant::HalfIsMajority => "authority",
            Mutant::LendsTwice => "V2, V3",
            Mutant::OwnVoterGrants => "V3",
            Mutant::OldEpochCounts => "V4",
            Mutant::ReleaseOfAnything => "V5",
            Mutant::AnswerBeforeDisk => "V6",
            Mutant::NoWaitAfterRestart => "V7",
            Mutant::DeafExtended => "V8",
            Mutant::AnyDigest | Mutant::HalfOfAMove | Mutant::Unproven => "V9",
            Mutant::NoPreVote => "R2",
            Mutant::HolderLends => "R10",
            Mutant::DeadlineFromReply => "R1, R3",
            Mutant::AnyNonce | Mutant::AddressBeforeGate => "R3",
            Mutant::EpochTwice => "R5, R6",
            Mutant::SameIncarnation | Mutant::UpgradeForgetsNonces => "R6",
            Mutant::ResumedForAWholeLease => "R3, R5",
            Mutant::UpgradeBesideTheOld => "R9",
            Mutant::ReleaseBeforeShut | Mutant::NoDrain => "R8",
            Mutant::SecondWriter => "R9",
            Mutant::NoCleanStart => "R12",
            Mutant::GuardianReleasesFirst => "R16",
            Mutant::NoDriftMargin => "T, ρ",
            Mutant::NoFreezeAllowance => "T, H",
            Mutant::RelativeGate | Mutant::NoKernelGate => "gate",
            Mutant::IsolatedGoesOn => "D2",
            Mutant::NobodyYields | Mutant::ClaimsUndated => "D7",
            Mutant::PromisesBindNobody => "I13",
            Mutant::StoreComparesNothing
            | Mutant::KeyTakenAtOnce
            | Mutant::UnknownIsGranted
            | Mutant::SessionNotAwaited
            | Mutant::SessionOnOlderLease => "etcd",
            Mutant::LostKeyIsFree => "V7, etcd",
            Mutant::StoreNeverForgets => "R17, etcd",
            Mutant::KeyReleaseOfAnything => "V5, etcd",
            Mutant::KeyDeadlineFromReply => "R1, etcd",
        }
    }

    /// The core's guard that it takes out, where the core is what is changed.
    pub fn guard(self) -> Option<Guard> {
        Some(match self {
            Mutant::HalfIsMajority => Guard::Majority,
            Mutant::LendsTwice => Guard::LendsOnce,
            Mutant::OwnVoterGrants => Guard::OwnVoterRefuses,
            Mutant::OldEpochCounts => Guard::EpochRises,
            Mutant::ReleaseOfAnything => Guard::ReleaseMatches,
            Mutant::AnswerBeforeDisk => Guard::DiskFirst,
            Mutant::NoWaitAfterRestart => Guard::RestartWait,
            Mutant::DeafExtended => Guard::DeafIsRefused,
            Mutant::NoPreVote => Guard::PreVote,
            Mutant::HolderLends => Guard::HolderLendsNothing,
            Mutant::AnyDigest => Guard::DigestAgrees,
            Mutant::HalfOfAMove => Guard::BothLend,
            Mutant::Unproven => Guard::ProvenFirst,
            Mutant::DeadlineFromReply => Guard::DeadlineFromRequest,
            Mutant::AnyNonce => Guard::NonceMatches,
            Mutant::AddressBeforeGate => Guard::GateFirst,
            Mutant::EpochTwice => Guard::EpochOnce,
            Mutant::ReleaseBeforeShut => Guard::ShutBeforeRelease,
            Mutant::NoCleanStart => Guard::CleanStart,
            Mutant::IsolatedGoesOn => Guard::IsolatedYields,
            Mutant::NobodyYields => Guard::RivalYields,
            Mutant::ClaimsUndated => Guard::ClaimsDated,
            Mutant::PromisesBindNobody => Guard::PromiseBinds,
            Mutant::KeyTakenAtOnce | Mutant::SessionNotAwaited => Guard::KeyStandsStill,
            Mutant::UnknownIsGranted => Guard::UnknownIsNoGrant,
            Mutant::LostKeyIsFree => Guard::LostKeyWaits,
            Mutant::StoreNeverForgets => Guard::StoreMayForget,
            Mutant::KeyReleaseOfAnything => Guard::ReleaseMatches,
            Mutant::KeyDeadlineFromReply => Guard::DeadlineFromRequest,
            Mutant::Control
            | Mutant::ControlAlone
            | Mutant::ControlReferences
            | Mutant::ControlFreezes
            | Mutant::ControlDeaf
            | Mutant::ControlLate
            | Mutant::ControlPromises
            | Mutant::ControlStore
            | Mutant::ControlSessions
            | Mutant::ControlUpgrades
            | Mutant::ControlMoves
            | Mutant::UpgradeForgetsNonces
            | Mutant::ResumedForAWholeLease
            | Mutant::UpgradeBesideTheOld
            | Mutant::SessionOnOlderLease
            | Mutant::StoreComparesNothing
            | Mutant::NoArbiter
            | Mutant::SameIncarnation
            | Mutant::NoDrain
            | Mutant::SecondWriter
            | Mutant::GuardianReleasesFirst
            | Mutant::NoDriftMargin
            | Mutant::NoFreezeAllowance
            | Mutant::RelativeGate
            | Mutant::NoKernelGate => return None,
        })
    }

    /// Whether it is of sessions, and seen only where grants hang on them.
    pub fn is_of_sessions(self) -> bool {
        matches!(self, Mutant::ControlSessions | Mutant::SessionNotAwaited | Mutant::SessionOnOlderLease)
    }

    /// Whether it is seen only where programs are replaced in place.
    pub fn is_of_upgrades(self) -> bool {
        matches!(
            self,
            Mutant::ControlUpgrades
                | Mutant::UpgradeForgetsNonces
                | Mutant::ResumedForAWholeLease
                | Mutant::UpgradeBesideTheOld
        )
    }

    /// Whether it is seen only where voter sets follow one another.
    pub fn is_of_moves(self) -> bool {
        matches!(self, Mutant::ControlMoves | Mutant::HalfOfAMove | Mutant::Unproven)
    }

    /// Whether it is of the register, and seen in clusters with a store only.
    pub fn is_of_the_store(self) -> bool {
        self.is_of_sessions()
            || matches!(
                self,
                Mutant::ControlStore
                    | Mutant::StoreComparesNothing
                    | Mutant::KeyTakenAtOnce
                    | Mutant::UnknownIsGranted
                    | Mutant::LostKeyIsFree
                    | Mutant::StoreNeverForgets
                    | Mutant::KeyReleaseOfAnything
                    | Mutant::KeyDeadlineFromReply
            )
    }

    /// The mutant of a name, the controls included: what a control shows must be told, too.
    pub fn find(name: &str) -> Option<Mutant> {
        CONTROLS.iter().chain(ALL).copied().find(|mutant| mutant.as_str() == name)
    }
}
