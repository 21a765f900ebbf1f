//! VRRP packets on their way to the virtual router that they are for.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::Node;
use crate::action::Action;
use crate::id::InterfaceId;
use crate::time::Instant;
use crate::wire::vrrp;

/// A packet as it came in.
pub(super) struct Packet<'a> {
    pub(super) interface: InterfaceId,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) hop_limit: u8,
    pub(super) bytes: &'a [u8],
}

impl Node {
    pub(super) fn on_vrrp(&mut self, now: Instant, packet: &Packet<'_>, out: &mut Vec<Action>) {
        let unicast = !packet.destination.is_multicast();
        let (source, destination) = (packet.source, packet.destination);
        let parsed = vrrp::parse(packet.bytes, source, destination, packet.hop_limit, unicast);
        let Ok(advertisement) = parsed else {
            self.counters.bad_advertisements += 1;
            return;
        };
        let places = self.places.get(&(packet.interface, advertisement.vrid, source.is_ipv6()));
        let place = places.into_iter().flatten().copied().find(|(id, at)| {
            let router = self.domains.get(id).and_then(|domain| domain.routers.get(*at));
            router.is_some_and(|router| match &router.settings.unicast_peers {
                Some(peers) => unicast && peers.contains(&source),
                None => !unicast,
            })
        });
        match place {
            Some((id, at)) => self.with_domain(now, id, |domain, facts| {
                domain.on_advertisement(facts, at, source, &advertisement, out);
            }),
            None => {
                self.counters.bad_advertisements += 1;
                self.on_strange_advertisement(now, packet.interface, source, unicast, &advertisement);
            }
        }
    }
}
