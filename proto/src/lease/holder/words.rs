//! What the holder knows, for the operator.

use alloc::vec::Vec;
use core::time::Duration;

use super::Holder;
use crate::id::NodeId;
use crate::time::Instant;
use crate::wire::lease::RefuseReason;

/// One voter, as the holder of a lease, or who asks for it, knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoterWord {
    /// Which.
    pub voter: NodeId,
    /// How long ago the newest request was sent that it granted, under the present epoch.
    pub granted: Option<Duration>,
    /// How long ago it last answered anything.
    pub answered: Option<Duration>,
    /// Whether that is of late.
    pub answers: bool,
    /// Why it refused last, if that stands.
    pub refused: Option<RefuseReason>,
    /// To whom it said to lend, when it refused, and how long ago it has heard that one.
    pub lends_to: Option<(NodeId, Duration)>,
    /// Nothing that it says counts now (R17).
    pub doubted: bool,
}

impl Holder {
    /// Each voter.
    pub fn words_of_voters(&self, now: Instant) -> Vec<VoterWord> {
        let word = |(voter, track): (&NodeId, &super::Track)| VoterWord {
            voter: *voter,
            answers: track.answered_within(now, self.patience()),
            granted: track.good_from.map(|at| now.since(at)),
            answered: track.answered_at.map(|at| now.since(at)),
            refused: track.refused.map(|(why, _)| why),
            lends_to: track.lends.map(|lends| (lends.to, lends.silence.saturating_add(now.since(lends.said_at)))),
            doubted: track.is_doubted(now),
        };
        self.voters.iter().map(word).collect()
    }

    /// D by the voters, ahead or past.
    pub fn lent_until(&self) -> Option<Instant> {
        self.deadline()
    }
}
