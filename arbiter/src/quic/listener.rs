//! The connections that a member receives on: accepted from peers whose keys are pinned.
//!
//! What must stay true: strangers cost a handshake each and nothing more; they are counted, and named in
//! the log at a rate that they do not decide.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::crypto::rustls::HandshakeData;
use quinn::{ConnectionError, TransportErrorCode, VarInt};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::ratelimit::RateLimit;
use super::refusal::{Refusal, TELL_EVERY, whose};
use super::roster::Peer;
use super::transport::{Endpoint, is_visitor};
use super::{Sink, receive};

/// A handshake takes one round trip and a lost packet or two.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// With more handshakes than this under way, a newcomer must first show that its address is its own
/// (Retry: RFC 9000, 8.1.2).
const RETRY_ABOVE: usize = 16;
/// With more than this, it is not answered at all.
const MOST_HANDSHAKES: usize = 48;
/// Accepted connections kept of one peer: the newest, and those it may still be leaving.
const PER_PEER: usize = 4;
/// One log line on strangers each.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Addresses whose refusals are told.
const MOST_REFUSED: usize = 64;

/// Called with each accepted peer and the instance name of its endpoint.
pub type OnAccept = Arc<dyn Fn(Peer, &str) + Send + Sync>;

/// Accepts on an endpoint.
pub struct Listener {
    endpoint: Endpoint,
    sink: Sink,
    on_accept: OnAccept,
    /// Visitors are counted apart, so that they push no agent out.
    kept: Mutex<BTreeMap<(Peer, bool), VecDeque<quinn::Connection>>>,
    log: Mutex<RateLimit>,
    /// By address, so that a stranger does not keep a member's trouble from being told.
    refusals: Mutex<BTreeMap<std::net::IpAddr, RateLimit>>,
    handshakes: AtomicUsize,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Listener {
    /// On this endpoint; datagrams go to the sink.
    pub fn new(endpoint: Endpoint, sink: Sink, on_accept: OnAccept) -> Self {
        Listener {
            endpoint,
            sink,
            on_accept,
            kept: Mutex::default(),
            log: Mutex::new(RateLimit::new(LOG_EVERY)),
            refusals: Mutex::default(),
            handshakes: AtomicUsize::new(0),
        }
    }

    /// Accepts until the endpoint is closed or its driver is lost. Dropped, it leaves all connections.
    pub async fn run(self) {
        let listener = Arc::new(self);
        let mut tasks = JoinSet::new();
        while let Some(incoming) = listener.endpoint.accept().await {
            while tasks.try_join_next().is_some() {}
            let busy = listener.handshakes.load(Ordering::Relaxed);
            if busy > MOST_HANDSHAKES {
                incoming.ignore();
                continue;
            }
            if busy > RETRY_ABOVE && incoming.may_retry() && !incoming.remote_address_validated() {
                // It fails only where it may not be used.
                let _ = incoming.retry();
                continue;
            }
            let listener = listener.clone();
            listener.handshakes.fetch_add(1, Ordering::Relaxed);
            tasks.spawn(async move { listener.serve(incoming).await });
        }
    }

    async fn serve(&self, incoming: quinn::Incoming) {
        let remote = incoming.remote_address();
        let handshake = timeout(HANDSHAKE, async { incoming.accept()?.await }).await;
        self.handshakes.fetch_sub(1, Ordering::Relaxed);
        let connection = match handshake {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) if is_given_up(&error) => {
                return tracing::debug!("{remote} gave up its attempt to connect: {error}");
            }
            Ok(Err(error)) => {
                if let Some(theirs) = whose(&error) {
                    self.key_refused(remote, theirs);
                }
                return self.refused(remote, &error.to_string());
            }
            Err(_) => return self.refused(remote, "the handshake did not end in time"),
        };
        let Some(peer) = self.endpoint.roster().peer(&connection) else {
            connection.close(VarInt::from_u32(1), b"stranger");
            return self.refused(remote, "its key can't be read");
        };
        let hello = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
        let instance = hello.and_then(|data| data.server_name).unwrap_or_default();
        let visits = is_visitor(&instance);
        self.keep((peer, visits), connection.clone());
        if !visits {
            (self.on_accept)(peer, &instance);
        }
        let why = receive(&connection, peer, visits, &self.sink).await;
        if let Some(theirs) = whose(&why) {
            self.key_refused(remote, theirs);
        }
        tracing::debug!("connection from member {} at {remote} ended: {why}", peer.node);
        self.forget((peer, visits), &connection);
    }

    fn keep(&self, peer: (Peer, bool), connection: quinn::Connection) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = kept.entry(peer).or_default();
        of_peer.push_back(connection);
        if of_peer.len() > PER_PEER
            && let Some(oldest) = of_peer.pop_front()
        {
            oldest.close(VarInt::from_u32(0), b"replaced by newer connections");
        }
    }

    fn forget(&self, peer: (Peer, bool), connection: &quinn::Connection) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_peer) = kept.get_mut(&peer) {
            of_peer.retain(|other| other.stable_id() != connection.stable_id());
        }
    }

    fn key_refused(&self, address: SocketAddr, theirs: bool) {
        let admitted = {
            let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            // Of more addresses than any cluster has members, those that are known are told.
            if refusals.len() >= MOST_REFUSED && !refusals.contains_key(&address.ip()) {
                return;
            }
            let limit = refusals.entry(address.ip()).or_insert_with(|| RateLimit::new(TELL_EVERY));
            limit.admit(Instant::now()).is_some()
        };
        if admitted {
            self.endpoint.refusals().tell(Refusal { node: None, address, theirs });
        }
    }

    fn refused(&self, remote: SocketAddr, why: &str) {
        let admitted = self.log.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        if let Some(more) = admitted {
            tracing::warn!(
                "refused a connection from {remote}: {why} ({more} more like this; {} with unknown keys in all)",
                self.endpoint.roster().strangers()
            );
        }
    }
}

/// Whether the dialing side left its own attempt, as a [`super::Dialer`] does that turns to a newer one.
///
/// Within a handshake its close has no code of its own but APPLICATION_ERROR (RFC 9000, 10.2.3). A side
/// that refuses the other's key closes with a TLS alert instead, and is worth a warning.
fn is_given_up(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::ConnectionClosed(close) => {
            [TransportErrorCode::APPLICATION_ERROR, TransportErrorCode::NO_ERROR].contains(&close.error_code)
        }
        ConnectionError::ApplicationClosed(close) => close.error_code == VarInt::from_u32(0),
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => false,
    }
}

#[cfg(test)]
mod tests;
