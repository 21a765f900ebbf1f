//! What a domain needs to know of the rest of the node, gathered for one judgement.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::net::IpAddr;

use crate::clocks::Clocks;
use crate::domain::Router;
use crate::event::GateStrength;
use crate::heartbeat::peer::Peer;
use crate::id::{InterfaceId, NodeId};
use crate::interface::Interface;
use crate::lease::reach::Reach;
use crate::reference::ReferenceMachine;
use crate::settings::Settings;
use crate::time::Instant;
use crate::track::Trackers;

/// The facts of one instant.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) now: Instant,
    pub(crate) settings: &'a Settings,
    pub(crate) peers: &'a BTreeMap<NodeId, Peer>,
    pub(crate) references: &'a ReferenceMachine,
    pub(crate) trackers: &'a Trackers,
    pub(crate) interfaces: &'a [Interface],
    /// `None` until the first self-test.
    pub(crate) gate: Option<&'a GateState>,
    /// `None` without an authority: no lease counts by them.
    pub(crate) clocks: Option<&'a Clocks>,
    pub(crate) stopping: bool,
    /// The operator has taken this node out.
    pub(crate) maintenance: bool,
    /// The generation of the voter set is open (V9); true without an authority.
    pub(crate) is_open: bool,
    /// Who of the voters has answered in this life; `None` without an authority.
    pub(crate) reach: Option<&'a Reach>,
}

/// The gate as last tested.
#[derive(Debug, Clone)]
pub(crate) struct GateState {
    /// The number of the test.
    pub(crate) number: u64,
    pub(crate) strength: GateStrength,
    /// Empty: the test passed.
    pub(crate) fault: String,
}

impl Facts<'_> {
    /// An interface by its id.
    pub(crate) fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.interfaces.get(usize::from(id.0))
    }

    /// Whether this node's own clock is beyond what a lease assumes.
    pub(crate) fn clock_is_off(&self) -> bool {
        self.clocks.is_some_and(|clocks| clocks.is_off(self.now))
    }

    /// Whether a majority of the voters is left whose clocks are believed: without it, no grants make a holder.
    pub(crate) fn believes_a_majority(&self) -> bool {
        let (Some(clocks), Some(quorum)) = (self.clocks, self.settings.quorum()) else { return true };
        let own = |voter: NodeId| voter == self.settings.node;
        quorum.is_carried(|voter| own(voter) || clocks.is_believed(self.now, voter))
    }

    /// Whether the address that an instance must speak from is missing (`track_src_ip`).
    pub(crate) fn lacks_source(&self, router: &Router) -> bool {
        let has = |source: &IpAddr| {
            self.interface(router.settings.interface).is_some_and(|interface| interface.addresses.contains(source))
        };
        router.settings.reception.tracked_source.is_some_and(|source| !has(&source))
    }

    /// Whether an interface is there and up.
    pub(crate) fn is_up(&self, id: InterfaceId) -> bool {
        self.interface(id).is_some_and(|interface| interface.up)
    }

    /// Whether it is up, or nothing has been said of it yet: a domain starts when all of its interfaces are known, so that
    /// is one that came with a new configuration.
    pub(crate) fn may_be_up(&self, id: InterfaceId) -> bool {
        self.interface(id).is_some_and(|interface| interface.up || !interface.known)
    }

    /// The primary address of an interface in a family.
    pub(crate) fn address(&self, id: InterfaceId, ipv6: bool) -> Option<IpAddr> {
        self.interface(id)?.addresses.iter().copied().find(|address| address.is_ipv6() == ipv6)
    }

    /// Peers that are heard.
    pub(crate) fn heard(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values().filter(|peer| peer.is_heard(self.now))
    }
}
