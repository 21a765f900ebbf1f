//! Which release each peer runs, and which features all nodes have.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use crate::action::Action;
use crate::features::{Feature, Features, Release};
use crate::id::{Incarnation, NodeId};
use crate::time::Instant;
use crate::wire::word::Word;

/// Between two words to each peer.
const GAP: Duration = Duration::from_secs(2);

/// What peers have said of themselves.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    said: BTreeMap<NodeId, Word>,
    /// When ours is due.
    word_at: Instant,
}

impl Members {
    /// The latest of its present life counts. Two lives can't be put in order: the one that speaks is the one that lives.
    fn take(&mut self, from: NodeId, word: Word) {
        let older = |known: &Word| known.incarnation == word.incarnation && known.clock >= word.clock;
        if !self.said.get(&from).is_some_and(older) {
            self.said.insert(from, word);
        }
    }

    /// A peer lives under that incarnation now: what a former life said it can do may be another release's.
    pub(super) fn restarted(&mut self, node: NodeId, incarnation: Incarnation) {
        if self.said.get(&node).is_some_and(|word| word.incarnation != incarnation) {
            self.said.remove(&node);
        }
    }

    fn features(&self, node: NodeId) -> Features {
        self.said.get(&node).map_or(Features::default(), |word| word.features)
    }
}

/// A feature of this release, and who keeps it from being used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureStatus {
    /// Which.
    pub feature: Feature,
    /// Nodes that have not said that they have it; none: it is used.
    pub lacking: Vec<NodeId>,
}

impl Node {
    /// A peer, whose key has been proven, says what it runs.
    pub(super) fn on_word(&mut self, from: NodeId, bytes: &[u8]) {
        let word = Word::parse(bytes).filter(|word| word.cluster == self.settings.cluster);
        match word.filter(|_| self.peers.contains_key(&from)) {
            Some(word) => self.members.take(from, word),
            None => self.counters.bad_beats += 1,
        }
    }

    /// What we run, to each peer over each link.
    pub(super) fn send_words(&mut self, now: Instant, out: &mut Vec<Action>) {
        if now < self.members.word_at {
            return;
        }
        self.members.word_at = now + GAP;
        let word = Word {
            cluster: self.settings.cluster,
            incarnation: self.incarnation,
            clock: now,
            release: Release::OURS,
            features: Features::of_this_release(),
        };
        let bytes = word.emit();
        for peer in self.peers.values() {
            out.extend(peer.links().map(|(link, _)| Action::SendBeat { link, to: peer.node, bytes: bytes.clone() }));
        }
    }

    /// Whether every node of the cluster has that feature, by its own word.
    pub(super) fn all_have(&self, feature: Feature) -> bool {
        self.peers.keys().all(|peer| self.members.features(*peer).has(feature))
    }

    /// What a peer runs; `None`: it has not said so.
    pub fn release_of(&self, peer: NodeId) -> Option<Release> {
        self.members.said.get(&peer).map(|word| word.release)
    }

    /// Each feature of this release.
    pub fn features(&self) -> Vec<FeatureStatus> {
        let lacking =
            |feature| self.peers.keys().copied().filter(move |peer| !self.members.features(*peer).has(feature));
        Feature::ALL
            .iter()
            .map(|feature| FeatureStatus { feature: *feature, lacking: lacking(*feature).collect() })
            .collect()
    }
}
