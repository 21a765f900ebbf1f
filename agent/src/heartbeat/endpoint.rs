//! One heartbeat link: its endpoint, made again when the interface was, and the connections on it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepone_arbiter::quic::{
    BEAT_TAG, BindError, Dialer, Endpoint, EndpointSettings, HELLO_TAG, Identity, LEASE_TAG, Listener, Outlet,
    PROFILE_TAG, Peer, Received, Refusal, Refusals, Roster, Sink, TransportSettings,
};
use keepone_proto::event::Event;
use keepone_proto::id::LinkId;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::visits::Visits;
use super::{LinkConfig, LinkStatus, PeerStatus};

/// Between two attempts to open a socket.
const REBIND: Duration = Duration::from_millis(250);

/// What all links have in common.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) roster: Arc<Roster>,
    pub(super) transport: TransportSettings,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) lost: Arc<AtomicU64>,
    pub(super) visits: Arc<Visits>,
}

/// Whether a link has its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// It is bound.
    Bound,
    /// It is not, and is tried again: why.
    Waiting(String),
}

/// A link, running until dropped.
#[derive(Debug)]
pub(super) struct Link {
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Inner {
    config: LinkConfig,
    outlets: Vec<Arc<Outlet>>,
    current: Mutex<Current>,
    rebind: Notify,
}

#[derive(Debug)]
struct Current {
    endpoint: Option<Endpoint>,
    state: LinkState,
}

impl Link {
    /// Opens the socket, or begins to wait for its interface or address.
    ///
    /// # Errors
    /// What waiting won't mend, unless it is to be waited for all the same: `whatever`.
    pub(super) fn start(config: LinkConfig, shared: Shared, whatever: bool) -> Result<Self, BindError> {
        let outlets = config.peers.iter().map(|(node, _)| Outlet::new(*node)).collect();
        let current = Mutex::new(Current { endpoint: None, state: LinkState::Waiting("starting".into()) });
        let inner = Arc::new(Inner { config, outlets, current, rebind: Notify::new() });
        let first = match inner.bind(&shared) {
            Ok(endpoint) => Some(endpoint),
            Err(error) if whatever || heals(&error) => None,
            Err(error) => return Err(error),
        };
        let task = tokio::spawn(run(inner.clone(), shared, first));
        Ok(Link { inner, task })
    }

    pub(super) fn config(&self) -> &LinkConfig {
        &self.inner.config
    }

    pub(super) fn outlets(&self) -> impl Iterator<Item = Arc<Outlet>> + '_ {
        self.inner.outlets.iter().cloned()
    }

    pub(super) fn interface_changed(&self, name: &str, ifindex: u32) {
        if self.inner.config.interface.as_deref() != Some(name) {
            return;
        }
        if !self.is_bound_to(ifindex) {
            self.inner.rebind.notify_one();
        }
    }

    pub(super) fn is_bound_to(&self, ifindex: u32) -> bool {
        self.inner.lock().endpoint.as_ref().and_then(Endpoint::ifindex) == Some(ifindex)
    }

    pub(super) fn status(&self) -> LinkStatus {
        let current = self.inner.lock();
        let (filtered, socket_errors) = current.endpoint.as_ref().map_or((0, 0), Endpoint::socket_counters);
        let peer = |outlet: &Arc<Outlet>| PeerStatus {
            node: outlet.node(),
            connected: outlet.is_connected(),
            rtt: outlet.rtt(),
            dials: outlet.dials(),
        };
        LinkStatus {
            id: self.inner.config.id,
            name: self.inner.config.name.clone(),
            state: current.state.clone(),
            filtered,
            socket_errors,
            peers: self.inner.outlets.iter().map(peer).collect(),
        }
    }

    /// Says goodbye on every connection.
    pub(super) fn close(&self) {
        self.task.abort();
        if let Some(endpoint) = &self.inner.lock().endpoint {
            endpoint.close("the agent stops");
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(endpoint) = self.inner.lock().endpoint.take() {
            endpoint.abandon();
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the socket and notes how it went; a new cause is said in the log once.
    fn bind(&self, shared: &Shared) -> Result<Endpoint, BindError> {
        let config = &self.config;
        let result = Endpoint::bind(&EndpointSettings {
            local: config.local,
            interface: config.interface.clone(),
            admit: Some(config.sources()),
            accepts: true,
            identity: shared.identity.clone(),
            roster: shared.roster.clone(),
            transport: shared.transport,
            refusals: refusals(config, shared),
        });
        let mut current = self.lock();
        match &result {
            Ok(endpoint) => {
                tracing::info!("heartbeat link {}: on {}", config.name, config.local);
                (current.endpoint, current.state) = (Some(endpoint.clone()), LinkState::Bound);
            }
            Err(error) => {
                let state = LinkState::Waiting(error.to_string());
                if current.state != state {
                    tracing::warn!("heartbeat link {}: {error}; trying again", config.name);
                }
                (current.endpoint, current.state) = (None, state);
            }
        }
        result
    }
}

/// Whether waiting may mend it.
fn heals(error: &BindError) -> bool {
    match error {
        BindError::AddressMissing { .. } | BindError::InterfaceMissing { .. } => true,
        BindError::AddressInUse { .. }
        | BindError::NotPermitted { .. }
        | BindError::Other { .. }
        | BindError::Tls(_) => false,
    }
}

/// Serves endpoint after endpoint. Later failures are waited out, whatever they are: the node may be
/// MASTER by then, and the other links live.
async fn run(inner: Arc<Inner>, shared: Shared, first: Option<Endpoint>) {
    let mut bound = first;
    loop {
        let endpoint = match bound.take().map_or_else(|| inner.bind(&shared), Ok) {
            Ok(endpoint) => endpoint,
            Err(_) => {
                tokio::select! {
                    () = inner.rebind.notified() => {}
                    () = tokio::time::sleep(REBIND) => {}
                }
                continue;
            }
        };
        let name = &inner.config.name;
        // A task of its own: a panic in it costs this link a new endpoint, and nothing else anything.
        let mut serving = AbortOnDrop(tokio::spawn(serve(inner.clone(), shared.clone(), endpoint.clone())));
        tokio::select! {
            () = inner.rebind.notified() => tracing::info!("heartbeat link {name}: its interface is another now, opening it anew"),
            ended = &mut serving.0 => {
                tracing::error!("heartbeat link {name}: its endpoint ended ({ended:?}), opening it anew");
                tokio::time::sleep(REBIND).await;
            }
        }
        drop(serving);
        inner.lock().endpoint = None;
        // Its address is needed at once, and nobody could hear a goodbye through a dead interface.
        endpoint.abandon();
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Dials every peer and accepts from all, until the endpoint is lost.
async fn serve(inner: Arc<Inner>, shared: Shared, endpoint: Endpoint) {
    let sink = sink(inner.config.id, &shared);
    let dialer = |(outlet, (_, address)): (&Arc<Outlet>, &(_, _))| {
        Dialer::spawn(endpoint.clone(), *address, outlet.clone(), sink.clone())
    };
    let _dialers: Vec<Dialer> = inner.outlets.iter().zip(&inner.config.peers).map(dialer).collect();
    let outlets = inner.outlets.clone();
    let on_accept = move |peer: Peer, instance: &str| {
        if let Some(outlet) = outlets.iter().find(|outlet| outlet.node() == peer.node) {
            outlet.sighted(instance);
        }
    };
    Listener::new(endpoint.clone(), sink.clone(), Arc::new(on_accept)).run().await;
}

/// A refused key, told with the member that has the address on this link. A full queue loses it: it comes again.
fn refusals(config: &LinkConfig, shared: &Shared) -> Refusals {
    let (events, peers) = (shared.events.clone(), config.peers.clone());
    Refusals::new(move |Refusal { node, address, theirs }| {
        let of_address = || peers.iter().find(|(_, peer)| peer.ip() == address.ip()).map(|(node, _)| *node);
        let _ = events.try_send(Event::KeyRefused { node: node.or_else(of_address), address, theirs });
    })
}

/// Turns datagrams into events, told apart by their first octet.
fn sink(link: LinkId, shared: &Shared) -> Sink {
    let (events, lost, visits) = (shared.events.clone(), shared.lost.clone(), shared.visits.clone());
    Arc::new(move |received: Received<'_>| {
        if received.visits && !visits.admit(&received) {
            return tracing::debug!("a visitor of member {} on {link:?} may only inspect", received.peer.node);
        }
        let (from, bytes) = (received.peer.node, received.bytes.to_vec());
        let event = match bytes.first() {
            Some(&(BEAT_TAG | PROFILE_TAG | HELLO_TAG)) => Event::BeatReceived { link, from, bytes },
            Some(&LEASE_TAG) => Event::LeaseReceived { from, bytes },
            _ => return tracing::debug!("datagram of unknown kind from member {from} on {link:?}"),
        };
        if events.try_send(event).is_err() {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    })
}
