//! QUIC as a transport of small datagrams between members that know each other's keys.
//!
//! What must stay true: a datagram reaches a [`Sink`] only from a member whose key is in the
//! [`Roster`], and the state of a connection is never taken for the life or death of a peer
//! (safety.md, Heartbeats).
//!
//! - [`identity`]: the Ed25519 key of a member, in memory and on disk
//! - [`roster`]: pinned peers, and the mutual TLS 1.3 with raw public keys (RFC 7250) made of them
//! - [`socket`]: the UDP socket under an endpoint: source filter, DSCP, errors that are no end
//! - [`transport`]: quinn's settings, and an endpoint on a bound socket
//! - [`dialer`]: the one connection that a member sends on; dialed again for as long as it takes
//! - [`listener`]: the connections that it receives on
//! - [`refusal`]: whose key was refused by whom
//! - [`visit`]: one question to a member, from a program beside the agent

pub mod dialer;
pub mod identity;
mod jitter;
pub mod listener;
pub(crate) mod ratelimit;
pub mod refusal;
pub mod roster;
pub mod socket;
pub mod transport;
pub mod visit;

use std::sync::Arc;

pub use dialer::{Dialer, Outlet, SendError};
pub use identity::{Identity, KeyError, PublicKey};
pub use listener::Listener;
pub use refusal::{Refusal, Refusals};
pub use roster::{Peer, Roster};
pub use transport::{BindError, Endpoint, EndpointSettings, TransportSettings};

/// First octet of a heartbeat datagram.
pub const BEAT_TAG: u8 = b'B';
/// First octet of a profile datagram.
pub const PROFILE_TAG: u8 = keepone_proto::wire::profile::TAG;
/// First octet of a hello datagram.
pub const HELLO_TAG: u8 = keepone_proto::wire::hello::TAG;
/// First octet of a lease datagram.
pub const LEASE_TAG: u8 = keepone_proto::wire::lease::TAG;
/// The longest datagram that every path carries: what a QUIC packet of 1200 octets has room for.
pub const MAX_DATAGRAM: usize = 1162;

/// One datagram from a member whose key has been proven.
#[derive(Debug)]
pub struct Received<'a> {
    /// The connection it came on, for an answer.
    pub connection: &'a quinn::Connection,
    /// Who sent it.
    pub peer: Peer,
    /// Whether it came from a [`visit`]: an answer is to go back on this connection.
    pub visits: bool,
    /// From its first octet.
    pub bytes: &'a [u8],
}

impl Received<'_> {
    /// The way back, for later.
    pub fn way_back(&self) -> WayBack {
        WayBack(self.connection.clone())
    }
}

/// The connection that a datagram came on.
#[derive(Debug, Clone)]
pub struct WayBack(quinn::Connection);

impl WayBack {
    /// Sends one datagram, never waiting; lost like any datagram where it can't go.
    pub fn send(&self, bytes: Vec<u8>) {
        let _ = self.0.send_datagram(bytes.into());
    }
}

/// Where datagrams go. Called from network tasks: it must not block.
pub type Sink = Arc<dyn Fn(Received<'_>) + Send + Sync>;

/// Hands every datagram of a connection to the sink until the connection ends; says why it did.
pub(crate) async fn receive(
    connection: &quinn::Connection,
    peer: Peer,
    visits: bool,
    sink: &Sink,
) -> quinn::ConnectionError {
    loop {
        match connection.read_datagram().await {
            Ok(bytes) => sink(Received { connection, peer, visits, bytes: &bytes }),
            Err(error) => return error,
        }
    }
}
