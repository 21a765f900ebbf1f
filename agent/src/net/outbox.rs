//! Advertisements that are due together leave together: those of one socket and one source by one system call.
//!
//! What must stay true: whatever was decided after them, the opening of a gate apart, is done after they have left.

use std::net::IpAddr;

use keepone_proto::id::InterfaceId;

use super::vrrp::{Carrier, HOP_LIMIT, VrrpSockets};
use super::{SendError, Sent};

/// How far they travel in one system call.
const TOGETHER: usize = 64;

/// From which socket.
pub(crate) type Way = (InterfaceId, Carrier);

/// One packet.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) way: Way,
    /// The interface below, where that of `way` was made for a virtual MAC: nobody is to wait for one that has just been
    /// made, or has gone.
    pub(crate) below: Option<InterfaceId>,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// To a peer; to a group it is [`HOP_LIMIT`].
    pub(crate) hop_limit: u8,
    pub(crate) bytes: Vec<u8>,
}

impl Packet {
    fn hop_limit(&self) -> u8 {
        if self.destination.is_multicast() { HOP_LIMIT } else { self.hop_limit }
    }

    /// What one system call has in common.
    fn kind(&self) -> (Way, Option<InterfaceId>, IpAddr, u8) {
        (self.way, self.below, self.source, self.hop_limit())
    }
}

/// Those that wait for the others of this turn.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Vec<Packet>);

impl Outbox {
    /// Takes one in; it leaves with the next [`Outbox::leave`].
    pub(crate) fn put(&mut self, packet: Packet) {
        self.0.push(packet);
    }

    /// All leave. Of one socket in their order.
    pub(crate) fn leave(&mut self, sockets: &VrrpSockets) {
        if self.0.is_empty() {
            return;
        }
        self.0.sort_by_key(|packet| packet.kind().0);
        for alike in self.0.chunk_by(|one, other| one.kind() == other.kind()) {
            for some in alike.chunks(TOGETHER) {
                let Some(first) = some.first() else { continue };
                if let (Err(error), Some(below)) = (send(sockets, first.way, some), first.below) {
                    tracing::debug!(%error, "advertisements leave from the interface below that with the virtual MAC");
                    let _ = send(sockets, (below, first.way.1), some);
                }
            }
        }
        self.0.clear();
    }
}

/// Sends packets that have their source and hop limit in common; an error only of an interface that is not there.
fn send(sockets: &VrrpSockets, way: Way, mut packets: &[Packet]) -> Result<(), SendError> {
    while let Some(first) = packets.first() {
        let sent = match packets {
            // Over an Authentication Header each has a header of its own making.
            [one] => sockets.send(way, one.source, (one.destination, one.hop_limit), &one.bytes).map(count),
            [one, ..] if way.1 == Carrier::Ah => {
                sockets.send(way, one.source, (one.destination, one.hop_limit), &one.bytes).map(count)
            }
            _ => {
                let list: Vec<(IpAddr, &[u8])> =
                    packets.iter().map(|packet| (packet.destination, packet.bytes.as_slice())).collect();
                sockets.send_all(way, first.source, first.hop_limit(), &list)
            }
        };
        let done = match sent {
            Ok(0) => {
                tracing::debug!("an advertisement was refused by the kernel");
                1
            }
            Ok(done) => done,
            Err(error @ (SendError::NotOpen | SendError::InterfaceDown | SendError::InterfaceGone)) => {
                tracing::debug!(%error, "an advertisement was not sent");
                return Err(error);
            }
            Err(error) => {
                tracing::debug!(%error, "an advertisement was not sent");
                1
            }
        };
        packets = packets.get(done..).unwrap_or_default();
    }
    Ok(())
}

fn count(sent: Sent) -> usize {
    usize::from(sent == Sent::Taken)
}

#[cfg(test)]
mod tests;
