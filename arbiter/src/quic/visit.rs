//! One question to a member, from a program beside the agent that speaks with the same key.
//!
//! What must stay true: the agent's own connections don't notice. A visit has a socket and a connection of its
//! own, whose instance name tells the other side that no new life of the agent has begun.

use std::net::SocketAddr;
use std::time::Duration;

use keepone_proto::id::NodeId;
use quinn::VarInt;
use tokio::time::{Instant, sleep, timeout};

use super::refusal::whose;
use super::transport::{BindError, Endpoint, EndpointSettings};

/// Between two sendings of the question: a datagram may be lost.
const AGAIN: Duration = Duration::from_millis(200);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(50);
/// Time for the goodbye to leave.
const FAREWELL: Duration = Duration::from_millis(10);

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// No socket to ask from.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// Nothing came back.
    #[error("nothing comes back from {0}")]
    Silence(SocketAddr),
    /// It was reached, and has said nothing to the question.
    #[error("{0} takes the connection and says nothing: it has no voter, or is an older version")]
    NoAnswer(SocketAddr),
    /// The connection failed.
    #[error("no connection to {address}: {words}")]
    Connection {
        /// Where.
        address: SocketAddr,
        /// Why.
        words: String,
    },
    /// A key was refused.
    #[error("{}", if *.theirs {
        format!("what answers at {address} has another key than the configuration says: correct public_key or the address")
    } else {
        format!("{address} refuses this node's key: correct public_key of this node in its member list")
    })]
    Key {
        /// Where.
        address: SocketAddr,
        /// Its key is not on our list; `false`: ours is not on its.
        theirs: bool,
    },
    /// Another member lives at that address.
    #[error("member {found} answers at {address}: correct the addresses")]
    WrongMember {
        /// Where.
        address: SocketAddr,
        /// Who.
        found: NodeId,
    },
}

/// Asks a member and waits for the first datagram that `read` makes something of, for `limit` at most. To be
/// called within a tokio runtime. The settings' `accepts` should be `false`.
///
/// # Errors
/// What kept the answer away.
pub async fn ask<T>(
    settings: &EndpointSettings,
    (member, address): (NodeId, SocketAddr),
    question: &[u8],
    limit: Duration,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, VisitError> {
    let endpoint = Endpoint::bind(settings)?.visiting();
    let until = Instant::now() + limit;
    let mut last = VisitError::Silence(address);
    let answer = loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break Err(last);
        }
        let attempt = once(&endpoint, (member, address), question, until, &read);
        // It knows better than this what has failed, if it was connected.
        match timeout(left + RETRY, attempt).await {
            Ok(Ok(answer)) => break Ok(answer),
            // These don't mend within a second.
            Ok(Err(error @ (VisitError::Key { .. } | VisitError::WrongMember { .. }))) => break Err(error),
            Ok(Err(error)) => last = error,
            Err(_) => break Err(last),
        }
        sleep(RETRY).await;
    };
    endpoint.close("asked");
    sleep(FAREWELL).await;
    answer
}

async fn once<T>(
    endpoint: &Endpoint,
    (member, address): (NodeId, SocketAddr),
    question: &[u8],
    until: Instant,
    read: &impl Fn(&[u8]) -> Option<T>,
) -> Result<T, VisitError> {
    let failed = |error: quinn::ConnectionError| match whose(&error) {
        Some(theirs) => VisitError::Key { address, theirs },
        None => VisitError::Connection { address, words: error.to_string() },
    };
    let refused = |error: quinn::ConnectError| VisitError::Connection { address, words: error.to_string() };
    let connection = endpoint.connect(address).map_err(refused)?.await.map_err(failed)?;
    let peer = endpoint.roster().peer(&connection);
    if let Some(found) = peer.map(|peer| peer.node).filter(|node| *node != member) {
        connection.close(VarInt::from_u32(1), b"wrong member");
        return Err(VisitError::WrongMember { address, found });
    }
    while Instant::now() < until {
        let unsent = |error: quinn::SendDatagramError| VisitError::Connection { address, words: error.to_string() };
        connection.send_datagram(question.to_vec().into()).map_err(unsent)?;
        let again = (Instant::now() + AGAIN).min(until);
        while let Ok(heard) = timeout(again.saturating_duration_since(Instant::now()), connection.read_datagram()).await
        {
            if let Some(answer) = read(&heard.map_err(failed)?) {
                return Ok(answer);
            }
        }
    }
    Err(VisitError::NoAnswer(address))
}
