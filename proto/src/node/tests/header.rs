//! Advertisements in an Authentication Header, up to the alert and the counters.

use super::proofs::{counted, master, mismatch};
use super::*;
use crate::wire::vrrp::{Auth, ah};

const KEY: &[u8; 8] = b"sesame\0\0";

/// An Advertisement, with or without a header, as it comes to the other node.
pub(super) fn received(of: &Advertisement, source: IpAddr, destination: IpAddr, key: Option<[u8; 8]>) -> Event {
    let (interface, hop_limit) = (InterfaceId(0), 255);
    if let (Auth::Header { .. }, Some(key)) = (of.auth, key) {
        return Event::AhReceived { interface, packet: ah::emit(of, source, destination, &key).unwrap() };
    }
    let bytes = of.emit(source, destination, Checksum::PseudoHeader).unwrap();
    Event::VrrpReceived { interface, source, destination, hop_limit, bytes }
}

/// Node 1 with such a password, and nobody else.
fn alone(auth_type: AuthType) -> Cluster {
    let mut cluster = Cluster::arbitrated();
    let mut settings = settings(1, Authority::Quorum(quorum()));
    let one = &mut settings.instances[0];
    (one.version, one.advert_int) = (VrrpVersion::V2, Duration::from_secs(1));
    (one.auth_pass, one.auth_type) = (Some(*KEY), auth_type);
    cluster.start_with(1, settings);
    cluster.run_to(1000);
    cluster
}

fn advertisement(cluster: &Cluster, auth: Auth) -> Advertisement {
    let settings = &cluster.nodes[&1].settings.instances[0];
    Advertisement {
        version: VrrpVersion::V2,
        vrid: settings.vrid,
        priority: Priority(50),
        advert_int: Duration::from_secs(1),
        addresses: settings.addresses.clone(),
        auth,
    }
}

const FROM: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 77));
const GROUP: IpAddr = IpAddr::V4(crate::wire::vrrp::GROUP_V4);

/// A stranger's Advertisement in a header, made with `key`.
fn header(cluster: &mut Cluster, key: &[u8; 8], sequence: u32) {
    let advertisement = advertisement(cluster, Auth::Header { sequence });
    cluster.give(1, received(&advertisement, FROM, GROUP, Some(*key)));
}

/// A stranger's Advertisement without one.
fn bare(cluster: &mut Cluster, auth: Auth) {
    let event = received(&advertisement(cluster, auth), FROM, GROUP, None);
    cluster.give(1, event);
}

/// What is unauthentic, and what is no Advertisement for us.
#[test]
fn a_header_of_our_key_is_heard() {
    let mut cluster = alone(AuthType::Ah);
    header(&mut cluster, KEY, 1);
    cluster.run_to(2000);
    assert_eq!((counted(&cluster), mismatch(&cluster), master(&cluster)), ((0, 0), None, Some(FROM)));
}

#[test]
fn what_is_not_proven_is_counted_named_and_never_heard() {
    type Deed = fn(&mut Cluster);
    let deeds: [(&str, AuthType, Deed); 4] = [
        ("another key", AuthType::Ah, |cluster| header(cluster, b"mustard\0", 1)),
        ("nothing", AuthType::Ah, |cluster| bare(cluster, Auth::None)),
        ("the key in clear", AuthType::Ah, |cluster| bare(cluster, Auth::Simple(*KEY))),
        ("a header where the password belongs", AuthType::Pass, |cluster| header(cluster, KEY, 1)),
    ];
    for (what, auth_type, deed) in deeds {
        let mut cluster = alone(auth_type);
        deed(&mut cluster);
        cluster.run_to(2000);
        assert_eq!((counted(&cluster), master(&cluster)), ((1, 0), None), "{what}");
        let alert = mismatch(&cluster).unwrap_or_else(|| panic!("{what}: no alert"));
        assert!(alert.evidence.contains("192.0.2.77 advertises with another authentication"), "{}", alert.evidence);
        assert!(!alert.evidence.contains("sesame") && !alert.remedy.contains("sesame"), "{alert:?}");
    }
}

#[test]
fn a_header_that_comes_again_is_counted_named_and_moves_no_timer() {
    let mut cluster = alone(AuthType::Ah);
    header(&mut cluster, KEY, 7);
    cluster.run_to(2000);
    let before = cluster.nodes[&1].domains.values().next().unwrap().routers[0].machine.clone();
    header(&mut cluster, KEY, 7);
    header(&mut cluster, KEY, 6);
    assert_eq!(cluster.nodes[&1].domains.values().next().unwrap().routers[0].machine, before);
    cluster.run_to(3000);
    assert_eq!(counted(&cluster), (2, 0));
    let alert = mismatch(&cluster).unwrap();
    assert!(alert.evidence.contains("192.0.2.77 advertises with sequence numbers that have been used"), "{alert:?}");
    assert_eq!(alert.remedy.matches("192.0.2.77").count(), 1, "{}", alert.remedy);
}

#[test]
fn what_is_no_header_of_ours_is_counted_and_named_where_it_says_that_it_is_for_us() {
    let mut cluster = alone(AuthType::Ah);
    for packet in [vec![], vec![0x45; 20], vec![0xff; 64]] {
        cluster.give(1, Event::AhReceived { interface: InterfaceId(0), packet });
    }
    cluster.run_to(1000);
    assert_eq!((counted(&cluster), mismatch(&cluster)), ((0, 3), None));
    // Type 2, and no header.
    let mut packet = ah::emit(&advertisement(&cluster, Auth::Header { sequence: 1 }), FROM, GROUP, KEY).unwrap();
    let bytes = packet.split_off(44);
    let (interface, hop_limit) = (InterfaceId(0), 255);
    cluster.give(1, Event::VrrpReceived { interface, source: FROM, destination: GROUP, hop_limit, bytes });
    cluster.run_to(2000);
    assert_eq!((counted(&cluster), master(&cluster)), ((0, 4), None));
    let alert = mismatch(&cluster).unwrap();
    assert!(alert.evidence.contains("can't be read: its authentication type is unknown"), "{}", alert.evidence);
}

#[test]
fn the_nodes_of_a_virtual_router_hear_each_other_and_count_in_a_row() {
    let mut cluster = Cluster::arbitrated();
    for node in [1, 2] {
        let mut settings = settings(node, Authority::Quorum(quorum()));
        let one = &mut settings.instances[0];
        (one.version, one.advert_int) = (VrrpVersion::V2, Duration::from_secs(1));
        (one.auth_pass, one.auth_type) = (Some(*KEY), AuthType::Ah);
        cluster.start_with(node, settings);
    }
    cluster.run_to(20_000);
    let numbers: Vec<u32> = cluster
        .log
        .iter()
        .filter_map(|(_, node, action)| match action {
            Action::Advertise { advertisement: Advertisement { auth: Auth::Header { sequence }, .. }, .. } => {
                assert_eq!(*node, cluster.open()[0]);
                Some(*sequence)
            }
            _ => None,
        })
        .collect();
    assert!(numbers.len() > 5, "{numbers:?}");
    assert!(numbers.iter().zip(1..).all(|(number, wanted)| *number == wanted), "{numbers:?}");
    assert_eq!(mismatch(&cluster), None);
    assert!(cluster.nodes.values().all(|node| node.counters().unauthentic_advertisements == 0));
    let heard = cluster.nodes[&(3 - cluster.open()[0])].domains[&VIP].routers[0].machine.master();
    assert_eq!(heard.map(|master| master.address), Some(address(cluster.open()[0])));
}
