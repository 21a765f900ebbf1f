//! Heartbeat links: beats and lease messages between agents, over as many networks as there are.
//!
//! What must stay true: nothing here makes a beat or judges a peer. A beat is made by the decision loop
//! at the moment of sending and handed through; a connection that stands proves nothing (safety.md,
//! Heartbeats). Every call returns at once.
//!
//! Each link has an endpoint of its own, bound to the link's interface and source address. Each side
//! dials its own connection to each peer and sends only on that; it receives on all.

mod endpoint;
mod visits;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keepone_arbiter::quic::{BindError, Identity, Outlet, Roster, SendError, TransportSettings};
use keepone_proto::event::Event;
use keepone_proto::id::{LinkId, NodeId};
use tokio::sync::mpsc;

pub use endpoint::LinkState;
use endpoint::{Link, Shared};
use visits::Visits;

/// Events waiting for the decision loop. A beat that finds no room is lost, as on a network.
const QUEUE: usize = 4096;

/// All links of this node.
#[derive(Debug, Clone)]
pub struct HeartbeatConfig {
    /// Own key.
    pub identity: Identity,
    /// The keys of all members.
    pub roster: Arc<Roster>,
    /// The links, each id once.
    pub links: Vec<LinkConfig>,
    /// Timing.
    pub transport: TransportSettings,
}

/// One link: one network between the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkConfig {
    /// Its number, the same on every node.
    pub id: LinkId,
    /// The operator's name for it.
    pub name: String,
    /// The interface that its packets must pass.
    pub interface: Option<String>,
    /// Own address and port on it.
    pub local: SocketAddr,
    /// The peers on it and their addresses.
    pub peers: Vec<(NodeId, SocketAddr)>,
}

impl LinkConfig {
    /// Only these are listened to.
    fn sources(&self) -> BTreeSet<IpAddr> {
        self.peers.iter().map(|(_, address)| address.ip()).collect()
    }
}

/// Links that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket that waiting won't mend: the address is in use, forbidden, or TLS fails.
    #[error("heartbeat link {link}: {source}")]
    Bind {
        /// The link's name.
        link: String,
        /// Why.
        source: BindError,
    },
    /// Two links of one number.
    #[error("heartbeat link {0} has the number of another: each has its own")]
    Twice(String),
}

/// How a link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatus {
    /// Which.
    pub id: LinkId,
    /// Its name.
    pub name: String,
    /// Whether its socket is there, and why not.
    pub state: LinkState,
    /// Packets dropped because no peer has their source address.
    pub filtered: u64,
    /// Packets that the kernel refused.
    pub socket_errors: u64,
    /// Its peers.
    pub peers: Vec<PeerStatus>,
}

/// How the connection to a peer stands. No evidence of the peer's life: only its beats are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerStatus {
    /// Which.
    pub node: NodeId,
    /// Whether the connection that we dialed stands.
    pub connected: bool,
    /// Smoothed round trip.
    pub rtt: Option<Duration>,
    /// Connections established so far.
    pub dials: u64,
}

/// The way to a peer over one link.
#[derive(Debug)]
pub(crate) struct Line {
    /// Which peer.
    pub(crate) node: NodeId,
    /// Over which link.
    pub(crate) link: LinkId,
    outlet: Arc<Outlet>,
}

impl Line {
    /// Smoothed round trip of the connection that stands; `None`: none does.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.outlet.is_connected().then(|| self.outlet.rtt()).flatten()
    }
}

/// The links, running. Dropped, they end without a word.
#[derive(Debug)]
pub struct Heartbeats {
    links: BTreeMap<LinkId, Link>,
    outlets: BTreeMap<(NodeId, LinkId), Arc<Outlet>>,
    lost: Arc<AtomicU64>,
    visits: Arc<Visits>,
    shared: Shared,
}

impl Heartbeats {
    /// Opens every link, within a tokio runtime that then carries them.
    ///
    /// A missing interface or address is reported and waited for. The receiver gets
    /// [`Event::BeatReceived`] and [`Event::LeaseReceived`].
    ///
    /// # Errors
    /// An address that is in use, or anything else that time alone won't mend.
    pub fn start(config: &HeartbeatConfig) -> Result<(Self, mpsc::Receiver<Event>), StartError> {
        let (events, receiver) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let visits = Arc::new(Visits::default());
        let shared = Shared {
            identity: config.identity.clone(),
            roster: config.roster.clone(),
            transport: config.transport,
            events,
            lost: lost.clone(),
            visits: visits.clone(),
        };
        let (mut links, mut outlets) = (BTreeMap::new(), BTreeMap::new());
        for link in &config.links {
            if links.contains_key(&link.id) {
                return Err(StartError::Twice(link.name.clone()));
            }
            let bind = |source| StartError::Bind { link: link.name.clone(), source };
            let started = Link::start(link.clone(), shared.clone(), false).map_err(bind)?;
            outlets.extend(started.outlets().map(|outlet| ((outlet.node(), link.id), outlet)));
            links.insert(link.id, started);
        }
        Ok((Heartbeats { links, outlets, lost, visits, shared }, receiver))
    }

    /// Other links. Those that are the same are not touched; one that can't be opened is tried again, whatever keeps it
    /// from that: the node may be MASTER, and the other links live.
    pub fn set(&mut self, links: &[LinkConfig]) {
        let stays = |link: &Link| links.iter().any(|new| new == link.config());
        let gone: Vec<LinkId> = self.links.iter().filter(|(_, link)| !stays(link)).map(|(id, _)| *id).collect();
        for id in gone {
            if let Some(link) = self.links.remove(&id) {
                // Before a new one may want its address.
                link.close();
            }
            self.outlets.retain(|(_, of), _| *of != id);
        }
        for link in links {
            if self.links.contains_key(&link.id) {
                continue;
            }
            if let Ok(started) = Link::start(link.clone(), self.shared.clone(), true) {
                self.outlets.extend(started.outlets().map(|outlet| ((outlet.node(), link.id), outlet)));
                self.links.insert(link.id, started);
            }
        }
    }

    /// Sends a beat over one link.
    ///
    /// # Errors
    /// The beat did not leave; the next one may. Nothing needs to be done about it.
    pub fn send_beat(&self, link: LinkId, to: NodeId, bytes: Vec<u8>) -> Result<(), SendError> {
        self.outlets.get(&(to, link)).ok_or(SendError::NotConnected(to))?.send(bytes)
    }

    /// Sends a lease message to a peer over every link to it; returns over how many it left. What answers a
    /// visit of that peer goes back to the visitor alone.
    pub fn send_lease(&self, to: NodeId, bytes: &[u8]) -> usize {
        match self.visits.take_answers(to, bytes) {
            None => self.send_to_agent(to, bytes),
            Some(rest) => rest.iter().map(|bytes| self.send_to_agent(to, bytes)).max().unwrap_or(0),
        }
    }

    fn send_to_agent(&self, to: NodeId, bytes: &[u8]) -> usize {
        let of_peer = self.outlets.range((to, LinkId(0))..=(to, LinkId(u8::MAX)));
        of_peer.filter(|(_, outlet)| outlet.send(bytes.to_vec()).is_ok()).count()
    }

    /// Whether that member is a peer on any link.
    pub fn knows(&self, node: NodeId) -> bool {
        self.outlets.keys().any(|(peer, _)| *peer == node)
    }

    /// The interface of that name has this index now. A socket stays bound to the index that it was
    /// opened with, and is deaf for ever once the interface has been made again.
    pub fn interface_changed(&self, name: &str, ifindex: u32) {
        for link in self.links.values() {
            link.interface_changed(name, ifindex);
        }
    }

    /// Events lost because the decision loop did not take them.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whom to ask for a round trip, off the decision thread: an answer may wait for a lock of the transport's.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let line = |((node, link), outlet): (&(NodeId, LinkId), &Arc<Outlet>)| Line {
            node: *node,
            link: *link,
            outlet: outlet.clone(),
        };
        self.outlets.iter().map(line).collect()
    }

    /// How each link stands.
    pub fn status(&self) -> Vec<LinkStatus> {
        self.links.values().map(Link::status).collect()
    }

    /// Lets the last datagrams leave, then says goodbye to the peers; takes 40 ms.
    pub async fn stop(self) {
        const FLUSH: Duration = Duration::from_millis(20);
        tokio::time::sleep(FLUSH).await;
        for link in self.links.values() {
            link.close();
        }
        tokio::time::sleep(FLUSH).await;
    }
}

#[cfg(test)]
mod netns_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod visit_tests;
