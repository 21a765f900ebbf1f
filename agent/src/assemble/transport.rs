//! How each instance speaks VRRP, and the sockets that it takes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use keepone_config::Config;
use keepone_config::model::{Hmac, Transport, VrrpInstance};
use keepone_proto::id::{InterfaceId, Vrid};
use keepone_proto::settings::{AuthType, HmacSettings};
use keepone_proto::wire::vrrp::Checksum;
use keepone_proto::wire::vrrp::hmac::Key;

use super::Plan;
use super::election::group;
use crate::net::vrrp::{Carrier, Family, HOP_LIMIT, VrrpSettings};

/// How an instance speaks VRRP.
#[derive(Debug, Clone)]
pub struct InstanceTransport {
    /// Where it is heard, and whose address is the sender's.
    pub interface: InterfaceId,
    /// Where it leaves: the macvlan with the virtual MAC, if there is one.
    pub transmit: InterfaceId,
    /// Over which protocol.
    pub family: Family,
    /// The operator's choice of source.
    pub source: Option<IpAddr>,
    /// Whether that must be an address of the interface.
    pub tracks_source: bool,
    /// The group, or the unicast peers.
    pub destinations: Vec<IpAddr>,
    /// TTL or hop limit of what goes to a peer.
    pub hop_limit: u8,
    /// Its number.
    pub vrid: Vrid,
    /// The key of the Authentication Header, if there is to be one.
    pub key: Option<[u8; 8]>,
    /// How Advertisements are signed.
    pub hmac: Option<HmacSettings>,
    /// What the checksum covers in version 3 over IPv4.
    pub checksum: Checksum,
}

impl Plan {
    /// The virtual routers that are ours, where all others are told of.
    pub(crate) fn strangers_to(&self) -> Option<BTreeSet<(InterfaceId, Family, u8)>> {
        let ours = self.transports.iter().flatten().map(|one| (one.interface, one.family, one.vrid.get()));
        self.tells_strangers.then(|| ours.collect())
    }
}

/// `None` never: the configuration takes keys of no other length.
pub(super) fn signing(hmac: &Hmac) -> Option<HmacSettings> {
    let keys = hmac.keys.iter().map(|(number, key)| Some((*number, Key::new(key.reveal())?)));
    let (active_key, mode, window) = (hmac.active_key, hmac.mode, hmac.window);
    Some(HmacSettings { keys: keys.collect::<Option<_>>()?, active_key, mode, window })
}

pub(super) fn transport(config: &Config, instance: &VrrpInstance, interface: InterfaceId) -> InstanceTransport {
    let family = if instance.ipv6 { Family::V6 } else { Family::V4 };
    let (source, destinations) = match &instance.transport {
        Transport::Multicast { source } => (*source, vec![group(config, instance)]),
        Transport::Unicast { source, peers } => (*source, peers.clone()),
    };
    let password = instance.auth_pass.as_ref().filter(|_| instance.auth_type == AuthType::Ah);
    let key = password.map(keepone_config::model::Secret::reveal);
    let checksum = if instance.options.v3_checksum_as_v2 { Checksum::Plain } else { Checksum::PseudoHeader };
    InstanceTransport {
        interface,
        transmit: interface,
        family,
        source,
        tracks_source: instance.options.track_src_ip,
        destinations,
        hop_limit: instance.options.unicast_ttl.unwrap_or(HOP_LIMIT),
        vrid: instance.vrid,
        key,
        hmac: instance.options.hmac.as_ref().and_then(signing),
        checksum,
    }
}

/// One socket for each interface, family and carrier, with all groups that are needed there.
pub(crate) fn sockets(transports: &[Option<InstanceTransport>]) -> Vec<VrrpSettings> {
    let mut sockets = Vec::<VrrpSettings>::new();
    for transport in transports.iter().flatten() {
        // Who is to prove itself is heard without a proof as well: it is named in an alert.
        let carriers = [Some(Carrier::Ip), transport.key.map(|_| Carrier::Ah)];
        // Above the interface nothing is heard: it is spoken there alone.
        let above = (transport.transmit != transport.interface).then_some((transport.transmit, false));
        let places = [Some((transport.interface, true)), above];
        let places = places.iter().flatten().flat_map(|place| carriers.iter().flatten().map(move |by| (*place, *by)));
        for ((interface, hears), carrier) in places {
            let groups = transport.destinations.iter().copied().filter(|to| hears && to.is_multicast());
            let family = transport.family;
            let is_it = |s: &&mut VrrpSettings| (s.interface, s.family, s.carrier) == (interface, family, carrier);
            match sockets.iter_mut().find(is_it) {
                Some(known) => {
                    for group in groups {
                        if !known.groups.contains(&group) {
                            known.groups.push(group);
                        }
                    }
                }
                None => {
                    sockets.push(VrrpSettings { interface, above: !hears, family, carrier, groups: groups.collect() })
                }
            }
        }
    }
    sockets
}
