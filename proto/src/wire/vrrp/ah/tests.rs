use super::*;
use crate::id::{Priority, Vrid};
use crate::settings::VrrpVersion;
use crate::wire::vrrp;
use alloc::vec;
use core::time::Duration;
use proptest::prelude::*;

const KEY: &[u8; 8] = b"s3cret12";

/// What keepalived 2.2.7 sent as MASTER with this key: to the group, and to a unicast peer.
const MULTICAST: [u8; 64] = [
    0x45, 0xc0, 0x00, 0x40, 0x00, 0x01, 0x00, 0x00, 0xff, 0x33, 0x18, 0xb6, 192, 0, 2, 1, 224, 0, 0, 18, // IPv4
    0x70, 0x04, 0x00, 0x00, 192, 0, 2, 1, 0, 0, 0, 1, // AH
    0xc1, 0xfb, 0x4e, 0x45, 0xb5, 0x02, 0x3f, 0x63, 0x04, 0x39, 0x1d, 0x19, // its check value
    0x21, 51, 150, 1, 2, 1, 0x84, 0x65, 192, 0, 2, 100, 0, 0, 0, 0, 0, 0, 0, 0, // VRRP
];
const UNICAST: [u8; 64] = [
    0x45, 0xc0, 0x00, 0x40, 0x00, 0x02, 0x00, 0x00, 0xff, 0x33, 0x36, 0xc3, 192, 0, 2, 2, 192, 0, 2, 3, // IPv4
    0x70, 0x04, 0x00, 0x00, 192, 0, 2, 2, 0, 0, 0, 2, // AH
    0x41, 0xfb, 0x2d, 0xeb, 0x28, 0x94, 0xbe, 0x79, 0x97, 0x25, 0x8f, 0x04, // its check value
    0x21, 51, 100, 1, 2, 1, 0xb6, 0x65, 192, 0, 2, 100, 0, 0, 0, 0, 0, 0, 0, 0, // VRRP
];

fn advertisement(priority: u8, sequence: u32) -> Advertisement {
    Advertisement {
        version: VrrpVersion::V2,
        vrid: Vrid::new(51).unwrap(),
        priority: Priority(priority),
        advert_int: Duration::from_secs(1),
        addresses: vec![Ipv4Addr::new(192, 0, 2, 100).into()],
        auth: Auth::Header { sequence },
    }
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

#[test]
fn keepalived_s_packets_are_opened_and_made_octet_by_octet() {
    for (packet, priority, source, destination, sequence) in
        [(MULTICAST, 150, 1, vrrp::GROUP_V4.into(), 1), (UNICAST, 100, 2, address(3), 2)]
    {
        let sealed = parse(&packet).unwrap();
        assert_eq!((sealed.source(), sealed.destination()), (address(source), destination));
        assert_eq!(sealed.unproven().auth, Auth::Unproven);
        let opened = sealed.open(KEY);
        assert_eq!(opened, advertisement(priority, sequence));
        assert_eq!(emit(&opened, address(source), destination, KEY).unwrap(), packet);
    }
}

#[test]
fn another_key_opens_nothing() {
    assert_eq!(parse(&MULTICAST).unwrap().open(b"s3cret13").auth, Auth::Unproven);
    assert_eq!(parse(&MULTICAST).unwrap().open(&[0; 8]).auth, Auth::Unproven);
}

#[test]
fn what_may_change_on_the_way_does_not_matter_and_all_else_does() {
    let opens = |packet: &[u8]| parse(packet).is_ok_and(|sealed| sealed.open(KEY).auth != Auth::Unproven);
    for packet in [MULTICAST, UNICAST] {
        for at in 0..packet.len() {
            let mut changed = packet;
            changed[at] ^= 0x40;
            // TOS; don't fragment; TTL, which multicast must have at 255; header checksum.
            let may = matches!(at, 1 | 6 | 10 | 11) || (at == 8 && packet == UNICAST);
            assert_eq!(opens(&changed), may, "octet {at}");
        }
    }
}

#[test]
fn what_is_no_advertisement_in_an_authentication_header_is_refused_by_name() {
    let with = |at: usize, value: u8| {
        let mut packet = MULTICAST;
        packet[at] = value;
        parse(&packet).unwrap_err()
    };
    assert_eq!(with(9, 112), DecodeError::Protocol(112));
    assert_eq!(with(0, 0x46), DecodeError::Options);
    assert_eq!(with(20, 6), DecodeError::NextHeader(6));
    assert_eq!(with(21, 5), DecodeError::Length(5));
    let wanted = Ipv4Addr::new(192, 0, 2, 1);
    assert_eq!(with(27, 2), DecodeError::Spi { found: 0xc000_0202, wanted });
    assert_eq!(with(8, 254), DecodeError::Advertisement(vrrp::DecodeError::HopLimit(254)));
    assert_eq!(with(6, 0x20), DecodeError::Ip(ip::DecodeError::Fragment { offset: 0 }));
    let mut short = MULTICAST[..43].to_vec();
    short[3] = 43;
    assert_eq!(parse(&short), Err(DecodeError::Truncated { have: 23 }));
    // Authentication type 1, with its checksum made right again.
    let mut simple = MULTICAST;
    (simple[48], simple[50]) = (1, 0x85);
    assert_eq!(parse(&simple), Err(DecodeError::AuthType));
}

#[test]
fn type_2_without_its_header_is_refused() {
    let bare = vrrp::parse(&MULTICAST[44..], address(1), vrrp::GROUP_V4.into(), 255, false);
    assert_eq!(bare, Err(vrrp::DecodeError::AuthType(2)));
}

#[test]
fn what_has_no_number_or_no_ipv4_is_not_sent() {
    let emit =
        |auth, source| emit(&Advertisement { auth, ..advertisement(1, 1) }, source, address(2), KEY).unwrap_err();
    for auth in [Auth::None, Auth::Simple(*KEY), Auth::Unproven] {
        assert_eq!(emit(auth, address(1)), EncodeError::Unproven);
    }
    let source = IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(emit(Auth::Header { sequence: 1 }, source), EncodeError::Family(source));
}

#[test]
fn the_identification_is_never_left_to_the_kernel() {
    for (sequence, wanted) in [(1, 1), (0x1_ffff, 0xffff), (0x2_0000, 1)] {
        let packet = emit(&advertisement(9, sequence), address(1), address(2), KEY).unwrap();
        assert_eq!(u16::from_be_bytes([packet[4], packet[5]]), wanted);
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_damage_panics_or_is_proven(cut in 0usize..=64, at in 0usize..64, value in any::<u8>()) {
        let mut packet = MULTICAST;
        packet[at] = value;
        if let Ok(sealed) = parse(&packet[..cut]) {
            let covered = !matches!(at, 1 | 6 | 7 | 10 | 11);
            let proven = sealed.open(KEY).auth != Auth::Unproven;
            prop_assert_eq!(proven, packet == MULTICAST || !covered);
        }
    }

    #[test]
    fn parse_and_open_undo_emit(
        (vrid, priority, seconds) in (1u8..=255, any::<u8>(), 1u64..=255),
        addresses in proptest::collection::vec(any::<[u8; 4]>().prop_map(IpAddr::from), 0..=255),
        (source, destination) in any::<([u8; 4], [u8; 4])>(),
        sequence in any::<u32>(),
        key in any::<[u8; 8]>(),
    ) {
        let (vrid, priority) = (Vrid::new(vrid).unwrap(), Priority(priority));
        let advert_int = Duration::from_secs(seconds);
        let advert = Advertisement { vrid, priority, advert_int, addresses, ..advertisement(1, sequence) };
        let (source, destination) = (IpAddr::from(source), IpAddr::from(destination));
        let packet = emit(&advert, source, destination, &key).unwrap();
        prop_assert_eq!(ip::Sum::new().octets(&packet[..20]).checksum(), 0);
        prop_assert_eq!(parse(&packet).unwrap().open(&key), advert);
    }
}
