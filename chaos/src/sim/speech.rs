//! What the simulator reads of lease messages on their way: the one place that knows their format.

use keepone_proto::id::{DomainId, Epoch};
use keepone_proto::wire::lease::{Envelope, Message};

/// The kind is the third octet: most datagrams are renewals, which need no look.
fn kind(bytes: &[u8]) -> u8 {
    bytes.get(2).copied().unwrap_or(0)
}

/// What a datagram gives back: by domain, the epochs that end.
pub(super) fn farewells(bytes: &[u8]) -> Vec<(DomainId, Epoch)> {
    if !matches!(kind(bytes), 3 | 4) {
        return Vec::new();
    }
    let envelope = Envelope::parse(bytes).ok();
    let farewell = envelope.and_then(|envelope| match envelope.message {
        Message::Release { epoch } | Message::Transfer { epoch, .. } => Some((envelope.domain, epoch)),
        _ => None,
    });
    farewell.into_iter().collect()
}

/// Whether a datagram has a Transfer in it.
pub(super) fn has_transfer(bytes: &[u8]) -> bool {
    kind(bytes) == 4
}

/// What a datagram of a voter grants: by domain, the epochs.
pub(super) fn grants(bytes: &[u8]) -> Vec<(DomainId, Epoch)> {
    if kind(bytes) != 6 {
        return Vec::new();
    }
    let envelope = Envelope::parse(bytes).ok();
    let grant = envelope.and_then(|envelope| match envelope.message {
        Message::Grant { epoch, .. } => Some((envelope.domain, epoch)),
        _ => None,
    });
    grant.into_iter().collect()
}

/// What a request names: by domain, its epoch.
pub(super) fn requests(bytes: &[u8]) -> Vec<(DomainId, Epoch)> {
    if !matches!(kind(bytes), 2..=4) {
        return Vec::new();
    }
    let envelope = Envelope::parse(bytes).ok();
    let request = envelope.and_then(|envelope| match envelope.message {
        Message::Acquire { epoch, .. } | Message::Release { epoch } | Message::Transfer { epoch, .. } => {
            Some((envelope.domain, epoch))
        }
        _ => None,
    });
    request.into_iter().collect()
}

/// In words.
pub(super) fn words(bytes: &[u8]) -> String {
    Envelope::parse(bytes).map_or_else(|_| "?".to_owned(), |e| format!("nonce {} {:?}", e.nonce, e.message))
}
