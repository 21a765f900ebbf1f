//! VRRP packets on their way to the virtual router that they are for.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::Node;
use crate::action::Action;
use crate::domain::Router;
use crate::findings::Oddity;
use crate::id::{DomainId, InterfaceId, Vrid};
use crate::time::Instant;
use crate::vrrp::output::Discard;
use crate::wire::vrrp::hmac::{Fault, Trailer};
use crate::wire::vrrp::{self, Advertisement, Auth, DecodeError, ah};

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
        let group = Some(packet.destination).filter(IpAddr::is_multicast);
        let (source, destination) = (packet.source, packet.destination);
        let parsed = vrrp::parse(packet.bytes, source, destination, packet.hop_limit, unicast);
        let advertisement = match parsed {
            Ok(advertisement) => advertisement,
            Err(error) => {
                self.counters.bad_advertisements += 1;
                self.count_unreadable(packet, group, &error);
                // The second octet is the VRID, if any octet is right.
                if let Some(vrid) = packet.bytes.get(1) {
                    self.on_unreadable(now, packet.interface, source, *vrid, error.fault());
                }
                return;
            }
        };
        let place = self.place(packet.interface, source, group, advertisement.vrid);
        if unicast && !self.admits(place, source, packet.hop_limit) {
            self.on_far_packet(now, packet.interface, (source, place), &advertisement);
            return;
        }
        let advertisement = self.proven(now, place, source, (packet.bytes, advertisement));
        self.deliver(now, packet.interface, place, (source, unicast, &advertisement), out);
    }

    /// With the node, and with the virtual router whose VRID it has.
    fn count_unreadable(&mut self, packet: &Packet<'_>, group: Option<IpAddr>, error: &DecodeError) {
        let counted = match error {
            DecodeError::Checksum { .. } => Some(&mut self.counters.checksum_errors),
            DecodeError::Version(_) | DecodeError::V2OverIpv6 => Some(&mut self.counters.version_errors),
            DecodeError::Vrid => Some(&mut self.counters.vrid_errors),
            _ => None,
        };
        if let Some(count) = counted {
            *count = count.saturating_add(1);
        }
        let vrid = packet.bytes.get(1).and_then(|vrid| Vrid::new(*vrid));
        let place = vrid.and_then(|vrid| self.place(packet.interface, packet.source, group, vrid));
        if let Some(router) = self.router_mut(place) {
            router.statistics.cannot_read(error);
        }
    }

    fn router_mut(&mut self, place: Option<(DomainId, usize)>) -> Option<&mut Router> {
        let (id, at) = place?;
        self.domains.get_mut(&id)?.routers.get_mut(at)
    }

    /// The Advertisement with what its signature proves, where one is looked for.
    fn proven(
        &mut self,
        now: Instant,
        place: Option<(DomainId, usize)>,
        source: IpAddr,
        (bytes, advertisement): (&[u8], Advertisement),
    ) -> Advertisement {
        let trailer = Trailer::read(&advertisement, source, bytes);
        let hmac = place.and_then(|(id, at)| self.domains.get(&id)?.routers.get(at)?.machine.params().hmac.as_ref());
        match (hmac, trailer) {
            // Version 2 has its password where keepalived has none once it signs.
            (Some(_), _) if advertisement.auth != Auth::None => advertisement,
            (Some(hmac), Some(trailer)) => {
                let utc = self.utc_at_boot.filter(|_| hmac.window.is_some());
                let utc = utc.map(|boot| boot.saturating_add(now.since(Instant::BOOT)));
                Advertisement { auth: trailer.prove(&hmac.keys, utc), ..advertisement }
            }
            (Some(_), None) => Advertisement { auth: Auth::Unsigned(Fault::Missing), ..advertisement },
            // Without a key it is heard like any other, where keepalived would have two Masters; and named.
            (None, Some(_)) => {
                if let Some(domain) = place.and_then(|(id, _)| self.domains.get_mut(&id)) {
                    domain.findings.odd(now, source, Oddity::Signed, &advertisement);
                }
                advertisement
            }
            (None, None) => advertisement,
        }
    }

    /// A packet with an Authentication Header: its key is the one of the virtual router that it says it is for.
    pub(super) fn on_ah(&mut self, now: Instant, interface: InterfaceId, packet: &[u8], out: &mut Vec<Action>) {
        let Ok(sealed) = ah::parse(packet) else {
            self.counters.bad_advertisements += 1;
            return;
        };
        let (source, group) = (sealed.source(), Some(sealed.destination()).filter(IpAddr::is_multicast));
        let unicast = group.is_none();
        let place = self.place(interface, source, group, sealed.unproven().vrid);
        // Of the IPv4 header's octets: TTL (RFC 791, 3.1).
        let hop_limit = packet.get(8).copied().unwrap_or_default();
        if unicast && !self.admits(place, source, hop_limit) {
            self.on_far_packet(now, interface, (source, place), sealed.unproven());
            return;
        }
        let router = place.and_then(|(id, at)| self.domains.get(&id)?.routers.get(at));
        let advertisement = match router.and_then(|router| router.machine.params().header_key()) {
            Some(key) => sealed.open(&key),
            None => sealed.unproven().clone(),
        };
        self.deliver(now, interface, place, (source, unicast, &advertisement), out);
    }

    /// Whether a peer's packet came over no more, and no fewer, routers than the operator allows. keepalived.conf(5),
    /// unicast_peer.
    fn admits(&self, place: Option<(DomainId, usize)>, source: IpAddr, hop_limit: u8) -> bool {
        let router = place.and_then(|(id, at)| self.domains.get(&id)?.routers.get(at));
        router.is_none_or(|router| router.settings.reception.admits(source, hop_limit))
    }

    fn on_far_packet(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        (source, place): (IpAddr, Option<(DomainId, usize)>),
        advertisement: &Advertisement,
    ) {
        self.counters.bad_advertisements += 1;
        if let Some(router) = self.router_mut(place) {
            router.statistics.is_from_afar();
        }
        let fault = "its TTL or hop limit is outside min_ttl and max_ttl of the peer";
        self.on_unreadable(now, interface, source, advertisement.vrid.get(), fault);
    }

    /// The virtual router that an Advertisement is for: one that listens to that group, or that has its sender as a
    /// unicast peer.
    fn place(
        &self,
        interface: InterfaceId,
        source: IpAddr,
        group: Option<IpAddr>,
        vrid: Vrid,
    ) -> Option<(DomainId, usize)> {
        let places = self.places.get(&(interface, vrid, source.is_ipv6()));
        places.into_iter().flatten().copied().find(|(id, at)| {
            let router = self.domains.get(id).and_then(|domain| domain.routers.get(*at));
            router.is_some_and(|router| match (&router.settings.unicast_peers, group) {
                (Some(peers), None) => peers.contains(&source),
                (None, Some(group)) => router.settings.reception.group.is_none_or(|own| own == group),
                (Some(_), Some(_)) | (None, None) => false,
            })
        })
    }

    fn deliver(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        place: Option<(DomainId, usize)>,
        (source, unicast, advertisement): (IpAddr, bool, &Advertisement),
        out: &mut Vec<Action>,
    ) {
        let Some((id, at)) = place else {
            self.counters.bad_advertisements += 1;
            if !self.places.contains_key(&(interface, advertisement.vrid, source.is_ipv6())) {
                self.counters.vrid_errors = self.counters.vrid_errors.saturating_add(1);
            }
            self.on_strange_advertisement(now, interface, source, unicast, advertisement);
            return;
        };
        let mut discarded = None;
        self.with_domain(now, id, |domain, facts| {
            discarded = domain.on_advertisement(facts, at, source, advertisement, out);
        });
        let counters = &mut self.counters;
        counters.unauthentic_advertisements += u64::from(discarded.is_some_and(Discard::is_unproven));
        let is_of_another_version = matches!(discarded, Some(Discard::Version { .. }));
        counters.version_errors = counters.version_errors.saturating_add(u64::from(is_of_another_version));
    }
}
