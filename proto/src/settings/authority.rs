//! Who lends, and what a move from one authority to another has come to.

use alloc::vec::Vec;
use core::time::Duration;

use crate::id::NodeId;
use crate::lease::timing::{LeaseTiming, TimingError};

/// Who decides which node may hold a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[allow(clippy::large_enum_variant, reason = "a domain has one, for its whole life")]
pub enum Authority {
    /// Nobody: VRRP's own election, plus heartbeats and references (P2).
    None,
    /// A strict majority of the voters (P1).
    Quorum(QuorumSettings),
}

/// The voter set and the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct QuorumSettings {
    /// All voters in ascending order: nodes and witnesses.
    pub voters: Vec<NodeId>,
    /// The lease's lengths and margins.
    pub timing: LeaseTiming,
    /// Which in the row of voter sets this is, from 1 (V9).
    pub generation: u32,
    /// The voters of the generation before, in ascending order, while that one is served too; they differ from
    /// `voters` by one. `None` where `moving` says what came before.
    pub former: Option<Vec<NodeId>>,
    /// A move from another authority, while it lasts.
    pub moving: Option<Move>,
}

/// A move from one authority to another, as far as it has come (docs/decisions/0175): a generation of its own, in which
/// both must lend, lies between the two.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Move {
    /// A majority of these must lend too; in the generation before they alone were the voters.
    Joint(Vec<NodeId>),
    /// In the generation before, a majority of these had to lend too.
    After(Vec<NodeId>),
}

impl Move {
    /// The voters that are left, ascending.
    pub fn from(&self) -> &[NodeId] {
        match self {
            Move::Joint(from) | Move::After(from) => from,
        }
    }
}

impl QuorumSettings {
    /// The first generation.
    pub fn new(voters: Vec<NodeId>, timing: LeaseTiming) -> Self {
        QuorumSettings { voters, timing, generation: 1, former: None, moving: None }
    }

    /// The generation before, if it is named.
    pub fn former(&self) -> Option<QuorumSettings> {
        let (voters, moving) = match &self.moving {
            Some(Move::Joint(from)) => (from.clone(), None),
            Some(Move::After(from)) => (self.voters.clone(), Some(Move::Joint(from.clone()))),
            None => (self.former.clone()?, None),
        };
        let generation = self.generation.checked_sub(1)?;
        Some(QuorumSettings { voters, timing: self.timing, generation, former: None, moving })
    }

    /// The sets of which each must lend by a majority: one, or in the middle of a move two.
    pub fn sets(&self) -> impl Iterator<Item = &[NodeId]> + Clone {
        let joint = match &self.moving {
            Some(Move::Joint(from)) => Some(from.as_slice()),
            Some(Move::After(_)) | None => None,
        };
        core::iter::once(self.voters.as_slice()).chain(joint)
    }

    /// Everybody who is asked for a grant, ascending.
    pub fn members(&self) -> Vec<NodeId> {
        let mut members: Vec<NodeId> = self.sets().flatten().copied().collect();
        members.sort_unstable();
        members.dedup();
        members
    }

    /// The members, and those of the generation before while that one is served too; ascending.
    pub fn everybody(&self) -> Vec<NodeId> {
        let mut all = self.members();
        all.extend(self.former().iter().flat_map(QuorumSettings::members));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether that node's voter has something to do: one that is no voter any more still serves the generation before, while
    /// that is named, and bears out that the one before that is over.
    pub fn votes(&self, node: NodeId) -> bool {
        let after = matches!(&self.moving, Some(Move::After(from)) if from.contains(&node));
        let before = self.former.as_ref().is_some_and(|former| former.contains(&node));
        after || before || self.sets().any(|set| set.contains(&node))
    }

    /// Whether those who are `good` are a majority of each set.
    pub fn is_carried(&self, good: impl Fn(NodeId) -> bool) -> bool {
        self.sets().all(|set| set.iter().filter(|voter| good(**voter)).count() > set.len() / 2)
    }

    /// Whether without those who are `bad` no majority of some set is left.
    pub fn is_blocked(&self, bad: impl Fn(NodeId) -> bool) -> bool {
        self.sets().any(|set| set.iter().filter(|voter| bad(**voter)).count() >= set.len().div_ceil(2))
    }

    /// q: how many voters are a strict majority.
    pub fn majority(&self) -> usize {
        majority_of(&self.voters)
    }
}

/// q: how many of a set are a strict majority.
pub fn majority_of(set: &[NodeId]) -> usize {
    set.len() / 2 + 1
}

impl Authority {
    /// Leaves the holder the less, the later this node's gate may shut: its E_g becomes at least `lateness`. This
    /// node's own affair: it makes no other configuration digest.
    ///
    /// # Errors
    /// The lengths do not fit any more.
    #[allow(clippy::result_large_err, reason = "made once, at the start")]
    pub fn allow_for_gate(&mut self, lateness: Duration) -> Result<(), TimingError> {
        match self {
            Authority::None => Ok(()),
            Authority::Quorum(quorum) => {
                quorum.timing.own_gate = lateness;
                quorum.timing.check()
            }
        }
    }
}
