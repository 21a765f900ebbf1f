//! Connections that fail for a key: which side refuses whose.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keepone_proto::id::NodeId;
use quinn::{ConnectionError, TransportErrorCode};

/// TLS alert access_denied (RFC 8446, 6.2), which a verifier of ours ends the handshake with.
const ACCESS_DENIED: u8 = 49;

/// One of each side and address is told in this time.
pub(crate) const TELL_EVERY: Duration = Duration::from_secs(1);

/// A connection that failed for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The member that was dialed; `None`: the other side dialed, and did not prove who it is.
    pub node: Option<NodeId>,
    /// The other side's address.
    pub address: SocketAddr,
    /// `true`: its key is not on our list; `false`: ours is not on its list.
    pub theirs: bool,
}

/// Who is told of refusals; by default nobody. Called from network tasks: it must not block.
#[derive(Clone, Default)]
pub struct Refusals(Option<Arc<dyn Fn(Refusal) + Send + Sync>>);

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Refusals(told)" } else { "Refusals(not told)" })
    }
}

impl Refusals {
    /// Each is told to `listen`, at most one a second of each dialer and listener.
    pub fn new(listen: impl Fn(Refusal) + Send + Sync + 'static) -> Self {
        Refusals(Some(Arc::new(listen)))
    }

    pub(crate) fn tell(&self, refusal: Refusal) {
        if let Some(listen) = &self.0 {
            listen(refusal);
        }
    }
}

/// Whether an error says that a key was refused: `Some(true)` theirs by us, `Some(false)` ours by them.
pub(crate) fn whose(error: &ConnectionError) -> Option<bool> {
    let denied = TransportErrorCode::crypto(ACCESS_DENIED);
    match error {
        ConnectionError::TransportError(error) => (error.code == denied).then_some(true),
        ConnectionError::ConnectionClosed(close) => (close.error_code == denied).then_some(false),
        ConnectionError::VersionMismatch
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => None,
    }
}
