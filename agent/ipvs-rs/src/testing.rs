//! Any service, destination, sync daemon and table, for property tests.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use crate::{
    Checksum, Daemon, DaemonRole, Destination, Encapsulation, Entry, Family, Forwarding, Granularity, Persistence,
    Protocol, Service, ServiceId, Table, Tunnel,
};

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp), Just(Protocol::Other(50))]
}

/// Few enough that tables have some in common.
fn address() -> impl Strategy<Value = SocketAddr> {
    let octet = 0_u8..4;
    let ip = prop_oneof![
        octet.clone().prop_map(|last| IpAddr::from([10, 0, 0, last])),
        octet.prop_map(|last| IpAddr::from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])),
    ];
    (ip, prop_oneof![Just(0_u16), Just(80), Just(443)]).prop_map(SocketAddr::from)
}

fn id() -> impl Strategy<Value = ServiceId> {
    let family = prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)];
    prop_oneof![
        (protocol(), address()).prop_map(|(protocol, address)| ServiceId::Address { protocol, address }),
        (1_u32..4, family).prop_map(|(mark, family)| ServiceId::Mark { mark, family }),
    ]
}

fn service_of(id: ServiceId) -> impl Strategy<Value = Service> {
    let granularity = (1_u8..129).prop_map(move |bits| Granularity::prefix(id.family(), bits));
    let persistence =
        (any::<u32>(), granularity).prop_map(|(timeout_s, granularity)| Persistence { timeout_s, granularity });
    let engine = prop::option::of(Just("sip".to_owned()));
    let flags = (any::<[bool; 3]>(), any::<bool>());
    ("wlc|rr|sh|twos", flags, prop::option::of(persistence), engine).prop_map(
        move |(scheduler, (scheduler_flags, one_packet), persistence, engine)| Service {
            id,
            scheduler,
            scheduler_flags,
            one_packet,
            persistence,
            engine,
        },
    )
}

pub(crate) fn service() -> impl Strategy<Value = Service> {
    id().prop_flat_map(service_of)
}

fn forwarding() -> impl Strategy<Value = Forwarding> {
    let encapsulation =
        prop_oneof![Just(Encapsulation::Ipip), (1_u16..).prop_map(Encapsulation::Gue), Just(Encapsulation::Gre)];
    let checksum = prop_oneof![Just(Checksum::None), Just(Checksum::Full), Just(Checksum::Remote)];
    let tunnel = (encapsulation, checksum).prop_map(|(encapsulation, checksum)| Tunnel { encapsulation, checksum });
    prop_oneof![
        Just(Forwarding::Masquerade),
        Just(Forwarding::Local),
        tunnel.prop_map(Forwarding::Tunnel),
        Just(Forwarding::Direct),
        Just(Forwarding::Bypass),
    ]
}

pub(crate) fn destination() -> impl Strategy<Value = Destination> {
    (address(), forwarding(), 0_u32..3, any::<u32>(), any::<u32>()).prop_map(
        |(address, forwarding, weight, upper_threshold, lower_threshold)| Destination {
            address,
            forwarding,
            weight,
            upper_threshold,
            lower_threshold,
        },
    )
}

pub(crate) fn daemon() -> impl Strategy<Value = Daemon> {
    let role = prop_oneof![Just(DaemonRole::Master), Just(DaemonRole::Backup)];
    let options = (any::<Option<u16>>(), any::<Option<IpAddr>>(), any::<Option<u16>>(), any::<Option<u8>>());
    (role, "[a-z0-9.]{1,15}", 0_u32..256, options).prop_map(
        |(role, interface, sync_id, (max_len, group, port, ttl))| Daemon {
            role,
            interface,
            sync_id,
            max_len,
            group,
            port,
            ttl,
        },
    )
}

/// With few ids, so that two tables have some in common.
pub(crate) fn table() -> impl Strategy<Value = Table> {
    let entry = (service(), prop::collection::vec(destination(), 0..6))
        .prop_map(|(service, destinations)| Entry::new(service, destinations));
    prop::collection::vec(entry, 0..12).prop_map(Table::from_iter)
}
