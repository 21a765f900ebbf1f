//! The connection that a member sends on: dialed by itself, again and again for as long as it takes.
//!
//! What must stay true: a working connection is given up only for one that is established. Each side
//! dials its own and sends on nothing else, so no agreement is needed on whose connection counts.
//!
//! A fresh one is dialed when the old one closes (a restarted peer resets it at the first packet), when
//! the peer's endpoint turns up under a new instance name, and when packets go out and nothing comes
//! back.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepone_proto::id::NodeId;
use quinn::VarInt;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::jitter::Jitter;
use super::refusal::{Refusal, TELL_EVERY, whose};
use super::transport::Endpoint;
use super::{LEASE_TAG, MAX_DATAGRAM, Sink, receive};
use crate::quic::ratelimit::RateLimit;

/// How often a connection is looked at for signs of silence.
const WATCH: Duration = Duration::from_millis(50);
/// A connection that is closed sooner was refused rather than lost: the next attempt waits.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// A reset says that the peer has forgotten us, not that it refuses us; only a row of them is waited out.
const SHORT_LIFE_RESET: Duration = Duration::from_millis(100);
/// One line in the log for each cause and this long.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// A datagram that was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No connection yet, or none any more.
    #[error("no connection to member {0}")]
    NotConnected(NodeId),
    /// Longer than [`MAX_DATAGRAM`].
    #[error("datagram of {0} octets, at most {MAX_DATAGRAM} fit")]
    TooLong(usize),
}

/// Where datagrams to one member go in. It outlives connections and endpoints.
#[derive(Debug)]
pub struct Outlet {
    node: NodeId,
    state: Mutex<State>,
    redial: Notify,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<quinn::Connection>,
    /// The peer's endpoint, as its own dials name it.
    instance: Option<String>,
    /// Connections established so far.
    dials: u64,
    /// Datagrams handed over.
    sent: u64,
    /// What was to be said while there was no connection, oldest first.
    unsaid: VecDeque<(Instant, Vec<u8>)>,
}

/// How long a message waits for a connection that is being made; a new process speaks as soon as it can.
/// A beat must not be old when it leaves, since it counts as life; a lease message may be, since the
/// asker counts from when it asked.
fn waits(bytes: &[u8]) -> Duration {
    match bytes.first() {
        Some(&LEASE_TAG) => Duration::from_millis(300),
        Some(_) | None => Duration::from_millis(50),
    }
}

/// Messages that wait at most.
const MAX_UNSAID: usize = 16;

impl Outlet {
    /// To this member; unconnected until a [`Dialer`] serves it.
    pub fn new(node: NodeId) -> Arc<Self> {
        Arc::new(Outlet { node, state: Mutex::default(), redial: Notify::new() })
    }

    /// The member.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Sends one datagram, never waiting: if the kernel takes no packets, the oldest queued ones go.
    /// "Sent" is no promise that it arrives.
    pub fn send(&self, bytes: Vec<u8>) -> Result<(), SendError> {
        if bytes.len() > MAX_DATAGRAM {
            return Err(SendError::TooLong(bytes.len()));
        }
        let connection = {
            let mut state = self.lock();
            state.sent += 1;
            state.connection.clone()
        };
        let Some(connection) = connection else {
            let mut state = self.lock();
            if state.unsaid.len() == MAX_UNSAID {
                state.unsaid.pop_front();
            }
            state.unsaid.push_back((Instant::now(), bytes));
            return Err(SendError::NotConnected(self.node));
        };
        connection.send_datagram(bytes.into()).map_err(|_| SendError::NotConnected(self.node))
    }

    /// Whether the handshake of the present connection is through. It says nothing of the peer's life.
    pub fn is_connected(&self) -> bool {
        self.lock().connection.as_ref().is_some_and(|connection| connection.close_reason().is_none())
    }

    /// Connections established so far.
    pub fn dials(&self) -> u64 {
        self.lock().dials
    }

    /// Smoothed round trip of the present connection.
    pub fn rtt(&self) -> Option<Duration> {
        self.lock().connection.as_ref().map(quinn::Connection::rtt)
    }

    /// Dial a fresh connection now, beside the one there is.
    pub fn redial(&self) {
        self.redial.notify_one();
    }

    /// The peer's endpoint dialed us under this instance name: a new one means that the connection we
    /// dialed leads to a former life of it.
    pub fn sighted(&self, instance: &str) {
        let is_new = {
            let mut state = self.lock();
            let is_new = state.instance.as_deref() != Some(instance);
            if is_new {
                state.instance = Some(instance.into());
            }
            is_new
        };
        if is_new {
            self.redial();
        }
    }

    fn install(&self, connection: quinn::Connection) {
        let old = {
            let mut state = self.lock();
            state.dials += 1;
            for (at, bytes) in std::mem::take(&mut state.unsaid) {
                if at.elapsed() <= waits(&bytes) {
                    let _ = connection.send_datagram(bytes.into());
                }
            }
            state.connection.replace(connection)
        };
        if let Some(old) = old {
            old.close(VarInt::from_u32(0), b"replaced by a newer connection");
        }
    }

    fn clear(&self) {
        let old = self.lock().connection.take();
        if let Some(old) = old {
            old.close(VarInt::from_u32(0), b"no longer needed");
        }
    }

    fn sent(&self) -> u64 {
        self.lock().sent
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps an outlet connected; ends when it is dropped.
#[derive(Debug)]
pub struct Dialer {
    outlet: Arc<Outlet>,
    task: JoinHandle<()>,
}

impl Dialer {
    /// Dials `address` through `endpoint` until dropped. Datagrams that come back on the dialed
    /// connection go to the sink.
    pub fn spawn(endpoint: Endpoint, address: SocketAddr, outlet: Arc<Outlet>, sink: Sink) -> Self {
        let jitter = Jitter::new();
        let dialing = Dialing {
            endpoint,
            address,
            outlet: outlet.clone(),
            sink,
            jitter,
            log: RateLimit::new(LOG_EVERY),
            refusals: RateLimit::new(TELL_EVERY),
        };
        Dialer { outlet, task: tokio::spawn(dialing.run()) }
    }
}

impl Drop for Dialer {
    fn drop(&mut self) {
        self.task.abort();
        self.outlet.clear();
    }
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("no answer within {} ms", .0.as_millis())]
    Deadline(Duration),
    #[error("{0}")]
    Connect(#[from] quinn::ConnectError),
    #[error("{0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("member {found} answers there: correct the addresses")]
    WrongMember { found: NodeId },
    #[error("its key can't be read")]
    NoKey,
}

struct Dialing {
    endpoint: Endpoint,
    address: SocketAddr,
    outlet: Arc<Outlet>,
    sink: Sink,
    jitter: Jitter,
    log: RateLimit,
    refusals: RateLimit,
}

impl Dialing {
    async fn run(mut self) {
        loop {
            let connection = self.dial().await;
            let since = Instant::now();
            self.outlet.install(connection.clone());
            tracing::debug!("connected to member {} at {}", self.outlet.node, self.address);
            let Some(why) = self.watch(&connection).await else { continue };
            tracing::debug!("connection to member {} at {} ended: {why}", self.outlet.node, self.address);
            let short = if why == quinn::ConnectionError::Reset { SHORT_LIFE_RESET } else { SHORT_LIFE };
            self.refused(&why);
            if since.elapsed() < short {
                self.complain(&format!("{why}; if it refuses our key, compare both sides' member lists"));
                self.pause().await;
            }
        }
    }

    /// Attempts until one is established.
    async fn dial(&mut self) -> quinn::Connection {
        loop {
            let outlet = self.outlet.clone();
            let result = tokio::select! {
                result = self.attempt() => result,
                () = outlet.redial.notified() => continue,
            };
            match result {
                Ok(connection) => return connection,
                Err(error) => {
                    if let DialError::Connection(why) = &error {
                        self.refused(why);
                    }
                    self.complain(&error.to_string());
                }
            }
            self.pause().await;
        }
    }

    async fn attempt(&self) -> Result<quinn::Connection, DialError> {
        let deadline = self.endpoint.settings().connect_deadline;
        let connecting = self.endpoint.connect(self.address)?;
        let connection = timeout(deadline, connecting).await.map_err(|_| DialError::Deadline(deadline))??;
        let peer = self.endpoint.roster().peer(&connection).ok_or(DialError::NoKey)?;
        if peer.node != self.outlet.node {
            connection.close(VarInt::from_u32(1), b"wrong member");
            return Err(DialError::WrongMember { found: peer.node });
        }
        // Ends with the connection, which may be later than this dialer turns to a newer one.
        let (reader, sink) = (connection.clone(), self.sink.clone());
        tokio::spawn(async move { receive(&reader, peer, false, &sink).await });
        Ok(connection)
    }

    /// Returns when it is time for a fresh connection: why the old one ended, or `None` if it may still live.
    async fn watch(&self, connection: &quinn::Connection) -> Option<quinn::ConnectionError> {
        let silence = self.endpoint.settings().silence;
        let received = || connection.stats().udp_rx.datagrams;
        let (mut heard, mut sent) = (received(), self.outlet.sent());
        // Since when something we sent waits for any packet to come back.
        let mut waits_since = None;
        loop {
            tokio::select! {
                why = connection.closed() => return Some(why),
                () = self.outlet.redial.notified() => return None,
                () = sleep(WATCH) => {}
            }
            let (heard_now, sent_now) = (received(), self.outlet.sent());
            if heard_now != heard {
                waits_since = None;
            } else if sent_now != sent {
                let since = *waits_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= silence {
                    return None;
                }
            }
            (heard, sent) = (heard_now, sent_now);
        }
    }

    /// Waits a moment, unless there is news of the peer.
    async fn pause(&mut self) {
        let (low, high) = self.endpoint.settings().retry;
        tokio::select! {
            () = sleep(self.jitter.between(low, high)) => {}
            () = self.outlet.redial.notified() => {}
        }
    }

    /// Tells of a key that was refused, if that is why.
    fn refused(&mut self, why: &quinn::ConnectionError) {
        if let Some(theirs) = whose(why)
            && self.refusals.admit(Instant::now()).is_some()
        {
            let (node, address) = (Some(self.outlet.node), self.address);
            self.endpoint.refusals().tell(Refusal { node, address, theirs });
        }
    }

    fn complain(&mut self, why: &str) {
        if let Some(more) = self.log.admit(Instant::now()) {
            let node = self.outlet.node;
            tracing::warn!("can't connect to member {node} at {}: {why} ({more} more like this)", self.address);
        }
    }
}
