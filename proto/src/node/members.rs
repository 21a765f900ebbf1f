//! Which release each peer runs, and which features all nodes have.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use crate::action::Action;
use crate::features::{Feature, Features, Release};
use crate::id::{Incarnation, NodeId};
use crate::time::Instant;
use crate::wire::hello::Hello;

/// Between two hellos to each peer.
const GAP: Duration = Duration::from_secs(2);
/// Who is heard, and has not said it again for so long, says it no more: an upgrade in place goes on with the same
/// incarnation, and may go back to a release without hellos. Four may be lost.
const LASTS: Duration = Duration::from_secs(10);

/// What peers have said of themselves, and when.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    said: BTreeMap<NodeId, (Hello, Instant)>,
    /// When ours is due.
    hello_at: Instant,
}

impl Members {
    /// The latest of its present life counts. Two lives can't be put in order: the one that speaks is the one that lives.
    fn take(&mut self, now: Instant, from: NodeId, hello: Hello) {
        let older =
            |(known, _): &(Hello, Instant)| known.incarnation == hello.incarnation && known.clock >= hello.clock;
        if !self.said.get(&from).is_some_and(older) {
            self.said.insert(from, (hello, now));
        }
    }

    /// A beat has come: of another life than that which said what it can, or of a release that says so no more.
    pub(super) fn heard(&mut self, now: Instant, node: NodeId, incarnation: Incarnation) {
        let is_over = |(hello, at): &(Hello, Instant)| hello.incarnation != incarnation || now.since(*at) > LASTS;
        if self.said.get(&node).is_some_and(is_over) {
            self.said.remove(&node);
        }
    }

    fn features(&self, node: NodeId) -> Features {
        self.said.get(&node).map_or(Features::default(), |(hello, _)| hello.features)
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
    pub(super) fn on_hello(&mut self, now: Instant, from: NodeId, bytes: &[u8]) {
        let hello = Hello::parse(bytes).filter(|hello| hello.cluster == self.settings.cluster);
        match hello.filter(|_| self.peers.contains_key(&from)) {
            Some(hello) => self.members.take(now, from, hello),
            None => self.counters.bad_beats += 1,
        }
    }

    /// What we run, to each peer over each link.
    pub(super) fn send_hellos(&mut self, now: Instant, out: &mut Vec<Action>) {
        if now < self.members.hello_at {
            return;
        }
        self.members.hello_at = now + GAP;
        let hello = Hello {
            cluster: self.settings.cluster,
            incarnation: self.incarnation,
            clock: now,
            release: Release::OURS,
            features: Features::of_this_release(),
        };
        let bytes = hello.emit();
        for peer in self.peers.values() {
            out.extend(peer.links().map(|(link, _)| Action::SendBeat { link, to: peer.node, bytes: bytes.clone() }));
        }
    }

    /// The nodes that have not said that they have that feature.
    fn lacking(&self, feature: Feature) -> impl Iterator<Item = NodeId> + '_ {
        self.peers.keys().copied().filter(move |peer| !self.members.features(*peer).has(feature))
    }

    /// Whether every node of the cluster has that feature, by its own word.
    pub(super) fn all_have(&self, feature: Feature) -> bool {
        self.lacking(feature).next().is_none()
    }

    /// What a peer runs; `None`: it has not said so.
    pub fn release_of(&self, peer: NodeId) -> Option<Release> {
        self.members.said.get(&peer).map(|(hello, _)| hello.release)
    }

    /// Each feature of this release.
    pub fn features(&self) -> Vec<FeatureStatus> {
        let status = |feature: &Feature| FeatureStatus { feature: *feature, lacking: self.lacking(*feature).collect() };
        Feature::ALL.iter().map(status).collect()
    }
}
