//! What the node says of itself to the operator, and what he may ask of it.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
pub use crate::domain::why::{DomainStatus, Holder, NoHandover, Why};
use crate::features::Release;
use crate::heartbeat::link::Tally;
use crate::id::{DomainId, InstanceId, LinkId, NodeId, Priority};
use crate::lease::reach::VoterStatus;
use crate::lease::timing::Millis;
use crate::time::Instant;
use crate::vrrp::output::MasterSeen;
use crate::vrrp::statistics::Statistics;

/// Another agent, at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Which.
    pub node: NodeId,
    /// How long ago it was last heard on any link; `None`: never.
    pub heard: Option<Duration>,
    /// Whether that is too long ago.
    pub silent: bool,
    /// m·h: a link that was not heard for longer is down.
    pub limit: Duration,
    /// Each link.
    pub links: Vec<LinkStatus>,
    /// What it runs; `None`: it has not said so.
    pub release: Option<Release>,
}

/// A path to another agent, at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatus {
    /// Which.
    pub link: LinkId,
    /// How long ago the peer was heard on it; `None`: never in its present life.
    pub heard: Option<Duration>,
    /// How many of its beats came.
    pub tally: Tally,
}

impl Node {
    /// Every domain at a glance.
    pub fn statuses(&self, now: Instant) -> Vec<DomainStatus> {
        let facts = self.facts(now);
        self.domains.values().map(|domain| domain.status(&facts)).collect()
    }

    /// Every instance's effective priority: in a group its own may be above the group's.
    pub fn priorities(&self) -> impl Iterator<Item = (InstanceId, Priority)> {
        let routers = self.domains.values().flat_map(|domain| &domain.routers);
        routers.map(|router| (router.id, router.machine.params().priority))
    }

    /// What every instance has sent, heard and refused.
    pub fn statistics(&self) -> impl Iterator<Item = (InstanceId, Statistics)> {
        let routers = self.domains.values().flat_map(|domain| &domain.routers);
        routers.map(|router| (router.id, router.statistics))
    }

    /// The last Master that every instance has heard since it was Master itself.
    pub fn masters(&self) -> impl Iterator<Item = (InstanceId, MasterSeen)> {
        let routers = self.domains.values().flat_map(|domain| &domain.routers);
        routers.filter_map(|router| Some((router.id, router.machine.master()?)))
    }

    /// Why a domain is what it is.
    pub fn why(&self, now: Instant, domain: DomainId) -> Option<Why> {
        let mut why = self.domains.get(&domain)?.why(&self.facts(now));
        let of_it = self.alerts.told().filter(|alert| alert.domain == Some(domain));
        why.evidence.extend(of_it.map(|alert| {
            let since = Millis(now.since(alert.said_at));
            format!("alert {}, raised {since} ago: {}", alert.name.as_str(), alert.said.evidence)
        }));
        Some(why)
    }

    /// Every peer.
    pub fn peer_statuses(&self, now: Instant) -> Vec<PeerStatus> {
        let link = |(link, path): (LinkId, &crate::heartbeat::link::Link)| LinkStatus {
            link,
            heard: path.heard_at().map(|at| now.since(at)),
            tally: path.tally(),
        };
        let status = |peer: &crate::heartbeat::peer::Peer| PeerStatus {
            node: peer.node,
            heard: peer.heard_at().map(|at| now.since(at)),
            silent: peer.is_silent(now),
            limit: peer.silence(),
            links: peer.links().map(link).collect(),
            release: self.release_of(peer.node),
        };
        self.peers.values().map(status).collect()
    }

    /// Every voter, whether this node holds anything or stands by; none without an authority.
    pub fn voter_statuses(&self, now: Instant) -> Vec<VoterStatus> {
        self.reach.iter().flat_map(|reach| reach.statuses(now)).collect()
    }

    /// Whether the operator has taken this node out.
    pub fn in_maintenance(&self) -> bool {
        self.maintenance
    }

    /// Whether the gate has passed its last test; `None`: there was none yet.
    pub fn gate_passes(&self) -> Option<bool> {
        self.gate.as_ref().map(|gate| gate.fault.is_empty())
    }

    /// Who would have a domain if it were handed over now, to `to` or to the best that can.
    ///
    /// # Errors
    /// Nobody would, and why.
    pub fn heir(&self, now: Instant, domain: DomainId, to: Option<NodeId>) -> Result<NodeId, NoHandover> {
        let domain = self.domains.get(&domain).ok_or(NoHandover::NoDomain)?;
        domain.heir_by_hand(&self.facts(now), to)
    }

    /// The operator wants it elsewhere. What can't be is not done: [`Node::heir`] says why.
    pub(super) fn hand_over(&mut self, now: Instant, domain: DomainId, to: NodeId) {
        self.with_domain(now, domain, |domain, facts| domain.hand_over_by_hand(facts, to));
    }

    /// The operator takes this node out, or back in.
    pub(super) fn set_maintenance(&mut self, on: bool) {
        if core::mem::replace(&mut self.maintenance, on) != on {
            self.agenda.touch_all();
        }
    }
}
