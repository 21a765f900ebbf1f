//! What a node begins with: what a former life left, and its own voter.

use alloc::vec::Vec;

use crate::id::{DomainId, Epoch, Incarnation};
use crate::lease::record::Record;
use crate::lease::voter::{Voter, VoterSettings};
use crate::settings::Settings;
use crate::time::Instant;

/// What a former life of this node left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Restored {
    /// The record of this node's own voter, if it votes and the record could be read (V6, V7).
    pub record: Option<Record>,
    /// The epochs under which its gate was last open, to be released (R16).
    pub held: Vec<(DomainId, Epoch)>,
}

/// The voter of this node, if it is one.
pub(super) fn own_voter(
    settings: &Settings,
    incarnation: Incarnation,
    now: Instant,
    record: Option<&Record>,
) -> Option<Voter> {
    let quorum = settings.quorum().filter(|quorum| quorum.votes(settings.node))?;
    let candidates = settings.peers.iter().map(|peer| peer.node).chain([settings.node]).collect();
    let voter = VoterSettings::new(settings.cluster, quorum, candidates, incarnation);
    Some(Voter::new(voter, now, record).with_guards(settings.guards))
}
