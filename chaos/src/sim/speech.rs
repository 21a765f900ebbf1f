//! What the simulator reads of lease messages on their way: the one place that knows their format.

use keepone_proto::id::{DomainId, Epoch};
use keepone_proto::wire::lease::{Envelope, Message, unpack};

/// The messages of a datagram that can be read.
pub(super) fn messages(bytes: &[u8]) -> impl Iterator<Item = Envelope> + '_ {
    unpack(bytes).into_iter().flatten().flatten()
}

/// What messages give back: by domain, the epochs that end.
pub(super) fn farewells(said: &[Envelope]) -> impl Iterator<Item = (DomainId, Epoch)> + '_ {
    let farewell = |envelope: &Envelope| match envelope.message {
        Message::Release { epoch } | Message::Transfer { epoch, .. } => Some((envelope.domain, epoch)),
        _ => None,
    };
    said.iter().filter_map(farewell)
}

/// Whether a Transfer is among them.
pub(super) fn has_transfer(said: &[Envelope]) -> bool {
    said.iter().any(|envelope| matches!(envelope.message, Message::Transfer { .. }))
}

/// What a datagram of a voter grants: by domain, the epochs.
pub(super) fn grants(bytes: &[u8]) -> Vec<(DomainId, Epoch)> {
    let grant = |envelope: Envelope| match envelope.message {
        Message::Grant { epoch, .. } => Some((envelope.domain, epoch)),
        _ => None,
    };
    messages(bytes).filter_map(grant).collect()
}

/// What requests name: by domain, their epochs.
pub(super) fn requests(said: &[Envelope]) -> Vec<(DomainId, Epoch)> {
    let request = |envelope: &Envelope| match envelope.message {
        Message::Acquire { epoch, .. } | Message::Release { epoch } | Message::Transfer { epoch, .. } => {
            Some((envelope.domain, epoch))
        }
        _ => None,
    };
    said.iter().filter_map(request).collect()
}

/// In words.
pub(super) fn words(bytes: &[u8]) -> String {
    let said = messages(bytes).map(|envelope| format!("nonce {} {:?}", envelope.nonce, envelope.message));
    said.collect::<Vec<_>>().join(", ")
}
