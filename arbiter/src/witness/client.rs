//! An agent's connections to its witnesses.
//!
//! Each witness has an endpoint of its own, so that trouble with one is no trouble with another. The
//! sockets are unbound unless told otherwise: the route decides.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use keepone_proto::event::Event;
use keepone_proto::id::NodeId;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::quic::ratelimit::RateLimit;
use crate::quic::{
    BindError, Dialer, Endpoint, EndpointSettings, Identity, LEASE_TAG, Outlet, Received, Refusal, Refusals, Roster,
    SendError, Sink, TransportSettings,
};

/// Between two attempts to open a socket.
const REBIND: Duration = Duration::from_millis(250);
/// One log line on a socket that can't be had each.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// Which witnesses there are and how they are reached.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Own key.
    pub identity: Identity,
    /// The keys of at least the witnesses.
    pub roster: Arc<Roster>,
    /// The witnesses and their addresses.
    pub witnesses: Vec<(NodeId, SocketAddr)>,
    /// Own address to send from; `None`: the kernel's choice by the route.
    pub source: Option<SocketAddr>,
    /// Interface to send through; `None`: any.
    pub interface: Option<String>,
    /// Timing.
    pub transport: TransportSettings,
}

/// How the connection to a witness stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WitnessStatus {
    /// Which.
    pub node: NodeId,
    /// Where.
    pub address: SocketAddr,
    /// Whether a handshake is through; no evidence of anything else.
    pub connected: bool,
    /// Smoothed round trip.
    pub rtt: Option<Duration>,
    /// Connections established so far.
    pub dials: u64,
}

struct Line {
    address: SocketAddr,
    outlet: Arc<Outlet>,
    rebind: Arc<Rebind>,
    task: JoinHandle<()>,
}

/// Asks for a new socket.
#[derive(Debug, Default)]
struct Rebind {
    asked: Notify,
    /// Index of the interface that the present socket is bound to, 0 for none.
    ifindex: AtomicU32,
}

/// The connections. Dropped, they end.
pub struct WitnessClient {
    lines: BTreeMap<NodeId, Line>,
    interface: Option<String>,
}

impl std::fmt::Debug for WitnessClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WitnessClient").field("witnesses", &self.status()).finish()
    }
}

impl WitnessClient {
    /// Starts to dial, within a tokio runtime; never fails, for what fails is tried again.
    ///
    /// `deliver` gets an [`Event::LeaseReceived`] for each lease message, and an [`Event::KeyRefused`] for a
    /// connection that fails for a key, on a network task: it must not
    /// block.
    pub fn start(settings: &ClientSettings, deliver: impl Fn(Event) + Send + Sync + 'static) -> Self {
        let deliver = Arc::new(deliver);
        let refused = deliver.clone();
        let refusals = Refusals::new(move |Refusal { node, address, theirs }| {
            refused(Event::KeyRefused { node, address, theirs });
        });
        let sink: Sink = Arc::new(move |received: Received<'_>| {
            if received.bytes.first() == Some(&LEASE_TAG) {
                deliver(Event::LeaseReceived { from: received.peer.node, bytes: received.bytes.to_vec() });
            }
        });
        let mut lines = BTreeMap::new();
        for (node, address) in &settings.witnesses {
            let (outlet, rebind) = (Outlet::new(*node), Arc::new(Rebind::default()));
            let task = tokio::spawn(serve(
                endpoint_settings(settings, *address, refusals.clone()),
                *address,
                outlet.clone(),
                sink.clone(),
                rebind.clone(),
            ));
            lines.insert(*node, Line { address: *address, outlet, rebind, task });
        }
        WitnessClient { lines, interface: settings.interface.clone() }
    }

    /// Whether that member is a witness of ours.
    pub fn knows(&self, node: NodeId) -> bool {
        self.lines.contains_key(&node)
    }

    /// Sends one lease message, never waiting.
    ///
    /// # Errors
    /// There is no such witness, no connection to it at present, or the message is too long.
    pub fn send_lease(&self, to: NodeId, bytes: Vec<u8>) -> Result<(), SendError> {
        self.lines.get(&to).ok_or(SendError::NotConnected(to))?.outlet.send(bytes)
    }

    /// The interface of that name has this index now: sockets bound to another are deaf for ever, so new
    /// ones are made.
    pub fn interface_changed(&self, name: &str, ifindex: u32) {
        if self.interface.as_deref() != Some(name) {
            return;
        }
        for line in self.lines.values() {
            if line.rebind.ifindex.load(Ordering::Relaxed) != ifindex {
                line.rebind.asked.notify_one();
            }
        }
    }

    /// How each connection stands.
    pub fn status(&self) -> Vec<WitnessStatus> {
        let status = |(node, line): (&NodeId, &Line)| WitnessStatus {
            node: *node,
            address: line.address,
            connected: line.outlet.is_connected(),
            rtt: line.outlet.rtt(),
            dials: line.outlet.dials(),
        };
        self.lines.iter().map(status).collect()
    }
}

impl Drop for WitnessClient {
    fn drop(&mut self) {
        for line in self.lines.values() {
            line.task.abort();
        }
    }
}

fn endpoint_settings(settings: &ClientSettings, witness: SocketAddr, refusals: Refusals) -> EndpointSettings {
    let any: SocketAddr = match witness {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    EndpointSettings {
        local: settings.source.filter(|source| source.is_ipv4() == witness.is_ipv4()).unwrap_or(any),
        interface: settings.interface.clone(),
        admit: Some(BTreeSet::from([witness.ip()])),
        accepts: false,
        identity: settings.identity.clone(),
        roster: settings.roster.clone(),
        transport: settings.transport,
        refusals,
    }
}

/// Keeps a socket and a dialer on it for as long as the task lives.
async fn serve(settings: EndpointSettings, address: SocketAddr, outlet: Arc<Outlet>, sink: Sink, rebind: Arc<Rebind>) {
    let mut log = RateLimit::new(LOG_EVERY);
    loop {
        match Endpoint::bind(&settings) {
            Ok(endpoint) => {
                rebind.ifindex.store(endpoint.ifindex().unwrap_or(0), Ordering::Relaxed);
                let _endpoint = CloseOnDrop(endpoint.clone());
                let _dialer = Dialer::spawn(endpoint, address, outlet.clone(), sink.clone());
                rebind.asked.notified().await;
            }
            Err(error) => {
                complain(&mut log, outlet.node(), &error);
                tokio::select! {
                    () = rebind.asked.notified() => {}
                    () = tokio::time::sleep(REBIND) => {}
                }
            }
        }
    }
}

struct CloseOnDrop(Endpoint);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close("the agent stops");
    }
}

fn complain(log: &mut RateLimit, witness: NodeId, error: &BindError) {
    if let Some(more) = log.admit(Instant::now()) {
        tracing::warn!("no socket for witness {witness}: {error} ({more} more like this)");
    }
}
