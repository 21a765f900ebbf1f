//! What is counted of each virtual router, and that each packet is counted once.

use super::*;
use crate::vrrp::statistics::{NewMasterReason, ProtocolError, Statistics};
use crate::wire::vrrp::Auth;

const FROM: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 77));
const GROUP: IpAddr = IpAddr::V4(crate::wire::vrrp::GROUP_V4);

fn of(cluster: &Cluster, node: u16) -> Statistics {
    cluster.nodes[&node].statistics().next().unwrap().1
}

/// Node 1 with version 2 and a password, as Backup, and nobody else.
fn alone() -> Cluster {
    let mut cluster = Cluster::arbitrated();
    let mut settings = settings(1, Authority::Quorum(quorum()));
    let one = &mut settings.instances[0];
    (one.version, one.advert_int) = (VrrpVersion::V2, Duration::from_secs(1));
    one.auth_pass = Some(*b"sesame\0\0");
    cluster.start_with(1, settings);
    cluster.run_to(1000);
    cluster
}

fn good() -> Advertisement {
    Advertisement {
        version: VrrpVersion::V2,
        vrid: Vrid::new(51).unwrap(),
        priority: Priority(250),
        advert_int: Duration::from_secs(1),
        addresses: vec![IpAddr::from([192, 0, 2, 100])],
        auth: Auth::Simple(*b"sesame\0\0"),
    }
}

fn bytes(of: &Advertisement) -> Vec<u8> {
    of.emit(FROM, GROUP, Checksum::PseudoHeader).unwrap()
}

/// With another octet, and a checksum that is right again.
fn patched(place: usize, octet: u8) -> Vec<u8> {
    let mut packet = bytes(&good());
    packet[place] = octet;
    packet[6..8].fill(0);
    let sum = crate::wire::ip::Sum::new().octets(&packet).checksum();
    packet[6..8].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn hear(cluster: &mut Cluster, hop_limit: u8, bytes: Vec<u8>) {
    let (interface, source, destination) = (InterfaceId(0), FROM, GROUP);
    cluster.give(1, Event::VrrpReceived { interface, source, destination, hop_limit, bytes });
}

#[test]
fn each_packet_is_counted_once_under_what_is_wrong_with_it() {
    let other = |change: fn(&mut Advertisement)| {
        let mut advertisement = good();
        change(&mut advertisement);
        bytes(&advertisement)
    };
    let mut damaged = bytes(&good());
    damaged[7] ^= 1;
    let (none, one) = (Statistics::default(), 1);
    let cases: [(&str, u8, Vec<u8>, Statistics); 14] = [
        ("a good one", 255, bytes(&good()), Statistics { received: one, ..none }),
        (
            "another interval",
            255,
            other(|advertisement| advertisement.advert_int = Duration::from_secs(3)),
            Statistics { received: one, interval_errors: one, ..none },
        ),
        (
            "another address",
            255,
            other(|advertisement| advertisement.addresses = vec![IpAddr::from([192, 0, 2, 9])]),
            Statistics { received: one, address_list_errors: one, ..none },
        ),
        (
            "another password",
            255,
            other(|advertisement| advertisement.auth = Auth::Simple(*b"mustard\0")),
            Statistics { auth_failures: one, ..none },
        ),
        (
            "no password",
            255,
            other(|advertisement| advertisement.auth = Auth::None),
            Statistics { auth_type_mismatches: one, ..none },
        ),
        (
            "version 3",
            255,
            other(|advertisement| (advertisement.version, advertisement.auth) = (VrrpVersion::V3, Auth::None)),
            Statistics { version_errors: one, last_error: ProtocolError::Version, ..none },
        ),
        ("a far one", 254, bytes(&good()), Statistics { ttl_errors: one, last_error: ProtocolError::Ttl, ..none }),
        (
            "a damaged one",
            255,
            damaged,
            Statistics { checksum_errors: one, last_error: ProtocolError::Checksum, ..none },
        ),
        ("a short one", 255, bytes(&good())[..10].to_vec(), Statistics { length_errors: one, ..none }),
        ("one with too high a count", 255, patched(3, 9), Statistics { length_errors: one, ..none }),
        ("another type", 255, patched(0, 0x22), Statistics { type_errors: one, ..none }),
        ("an unknown authentication", 255, patched(4, 7), Statistics { unknown_auth_types: one, ..none }),
        ("a header that is not there", 255, patched(4, 2), Statistics { auth_type_mismatches: one, ..none }),
        ("interval 0", 255, patched(5, 0), Statistics { interval_errors: one, ..none }),
    ];
    for (what, hop_limit, packet, counted) in cases {
        let mut cluster = alone();
        hear(&mut cluster, hop_limit, packet);
        assert_eq!(of(&cluster, 1), counted, "{what}");
    }
}

#[test]
fn the_node_counts_what_is_for_no_virtual_router() {
    let mut cluster = alone();
    let mut damaged = bytes(&good());
    damaged[7] ^= 1;
    hear(&mut cluster, 255, damaged);
    hear(&mut cluster, 255, patched(0, 0x51));
    hear(&mut cluster, 255, bytes(&Advertisement { vrid: Vrid::new(52).unwrap(), ..good() }));
    hear(&mut cluster, 255, patched(1, 0));
    let counters = cluster.nodes[&1].counters();
    assert_eq!((counters.checksum_errors, counters.version_errors, counters.vrid_errors), (1, 1, 2));
    let counted = Statistics { checksum_errors: 1, version_errors: 1, ..Statistics::default() };
    assert_eq!(of(&cluster, 1), Statistics { last_error: ProtocolError::Version, ..counted });
}

/// What the other one sent is what this one has heard, the last word included.
#[test]
fn a_mastership_is_counted_where_it_ends_and_where_it_begins() {
    let mut cluster = Cluster::arbitrated();
    cluster.start(1);
    cluster.start(2);
    cluster.run_to(5000);
    let (first, second) = (of(&cluster, 1), of(&cluster, 2));
    assert_eq!((first.became_master, first.released_master, first.zero_sent, first.received), (1, 0, 0, 0));
    assert_eq!(first.new_master_reason, NewMasterReason::MasterNoResponse);
    let sent = cluster.log.iter().filter(|(_, node, action)| *node == 1 && matches!(action, Action::Advertise { .. }));
    assert_eq!((first.sent, second.received), (sent.count() as u64, first.sent));
    // About four seconds of five Advertisements each.
    assert!((10..30).contains(&first.sent), "{first:?}");
    cluster.give(1, Event::Maintenance { on: true });
    cluster.run_to(8000);
    let (first, second) = (of(&cluster, 1), of(&cluster, 2));
    assert_eq!((first.became_master, first.released_master, first.zero_sent), (1, 1, 1));
    assert_eq!((second.became_master, second.released_master, second.zero_received), (1, 0, 1));
    assert_eq!(second.new_master_reason, NewMasterReason::Priority);
    assert_eq!((first.received, second.received), (second.sent, first.sent));
}

#[test]
fn counters_go_on_across_a_reload() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let before = of(&cluster, 1);
    let mut new = settings(1, Authority::Quorum(quorum()));
    new.instances[0].advert_int = Duration::from_millis(400);
    cluster.give(1, Event::Reconfigure(alloc::boxed::Box::new(new)));
    let after = of(&cluster, 1);
    assert!(before.sent > 0 && after.sent >= before.sent && after.became_master == 1, "{before:?} {after:?}");
}
