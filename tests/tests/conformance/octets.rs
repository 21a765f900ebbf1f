//! Packets, octet by octet: what is sent, and what is dropped before it reaches a virtual router.

use std::net::IpAddr;

use keepone_proto::id::Vrid;
use keepone_proto::settings::VrrpVersion;
use keepone_proto::wire::vrrp::{
    Advertisement, Auth, Checksum, DecodeError, EncodeError, PROTOCOL, parse, virtual_mac,
};

use crate::{GROUP, GROUP6, OWN, OWN6, VIP, ms, of_version_3};

/// The Internet checksum of RFC 1071, once more and otherwise.
fn sum(octets: &[u8]) -> [u8; 2] {
    let mut sum: u32 = 0;
    for pair in octets.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = (!sum).to_be_bytes();
    [high, low]
}

fn octets_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// RFC 8200, 8.1, also for the shorter addresses: the sum is that of RFC 793's.
fn pseudo_header(source: IpAddr, destination: IpAddr, length: usize) -> Vec<u8> {
    let mut header = [octets_of(source), octets_of(destination)].concat();
    header.extend(u32::try_from(length).unwrap().to_be_bytes());
    header.extend([0, 0, 0, PROTOCOL]);
    header
}

/// A packet with its checksum in place; `before` is summed, too.
fn summed(mut packet: Vec<u8>, before: &[u8]) -> Vec<u8> {
    packet[6..8].fill(0);
    let checksum = sum(&[before, &packet].concat());
    packet[6..8].copy_from_slice(&checksum);
    packet
}

/// Version 3, VRID 51, priority 100, an interval of 100 cs, 192.0.2.100.
fn packet_3() -> Vec<u8> {
    summed(vec![0x31, 51, 100, 1, 0, 100, 0, 0, 192, 0, 2, 100], &[])
}

/// Version 2, the same, each second, no authentication.
fn packet_2() -> Vec<u8> {
    summed(vec![0x21, 51, 100, 1, 0, 1, 0, 0, 192, 0, 2, 100, 0, 0, 0, 0, 0, 0, 0, 0], &[])
}

/// Version 3 over IPv6, with one link-local address.
fn packet_6() -> Vec<u8> {
    let packet = [&[0x31, 51, 100, 1, 0, 100, 0, 0][..], &octets_of("fe80::5e:1".parse().unwrap())].concat();
    let before = pseudo_header(OWN6, GROUP6, packet.len());
    summed(packet, &before)
}

/// A packet with one octet changed, and the checksum right again.
fn with(mut packet: Vec<u8>, place: usize, octet: u8) -> Vec<u8> {
    packet[place] = octet;
    summed(packet, &[])
}

fn read(packet: &[u8]) -> Result<Advertisement, DecodeError> {
    parse(packet, OWN, GROUP, 255, false)
}

fn of_version_2() -> Advertisement {
    Advertisement { version: VrrpVersion::V2, ..of_version_3() }
}

fn of_ipv6() -> Advertisement {
    Advertisement { addresses: vec!["fe80::5e:1".parse().unwrap()], ..of_version_3() }
}

fn drops_every_other_ttl(packet: &[u8], source: IpAddr, group: IpAddr) {
    for ttl in 0..=254 {
        assert_eq!(parse(packet, source, group, ttl, false), Err(DecodeError::HopLimit(ttl)));
    }
    assert!(parse(packet, source, group, 255, false).is_ok());
    // Unicast is no part of the RFCs, and its peers may be routed to.
    assert!(parse(packet, source, group, 64, true).is_ok());
}

#[test]
fn rfc3768_5_2_3_ttl_other_than_255_is_dropped() {
    drops_every_other_ttl(&packet_2(), OWN, GROUP);
}

#[test]
fn rfc9568_5_1_1_3_ttl_other_than_255_is_dropped() {
    drops_every_other_ttl(&packet_3(), OWN, GROUP);
}

#[test]
fn rfc9568_5_1_2_3_hop_limit_other_than_255_is_dropped() {
    drops_every_other_ttl(&packet_6(), OWN6, GROUP6);
}

#[test]
fn rfc3768_5_3_2_unknown_types_are_dropped() {
    for kind in (0..=15).filter(|kind| *kind != 1) {
        assert_eq!(read(&with(packet_2(), 0, 0x20 | kind)), Err(DecodeError::Type(kind)));
    }
}

#[test]
fn rfc9568_5_2_2_unknown_types_are_dropped() {
    for kind in (0..=15).filter(|kind| *kind != 1) {
        assert_eq!(read(&with(packet_3(), 0, 0x30 | kind)), Err(DecodeError::Type(kind)));
    }
}

#[test]
fn rfc9568_5_2_1_other_versions_are_dropped() {
    for version in (0..=15).filter(|version| ![2, 3].contains(version)) {
        assert_eq!(read(&with(packet_3(), 0, version << 4 | 1)), Err(DecodeError::Version(version)));
    }
}

#[test]
fn rfc9568_5_2_3_a_vrid_is_1_to_255() {
    assert_eq!(read(&with(packet_3(), 1, 0)), Err(DecodeError::Vrid));
    assert_eq!(read(&with(packet_2(), 1, 0)), Err(DecodeError::Vrid));
    assert!(read(&with(packet_3(), 1, 255)).is_ok() && read(&with(packet_3(), 1, 1)).is_ok());
}

#[test]
fn rfc9568_5_2_5_a_count_of_0_is_ignored() {
    let packet = summed(vec![0x31, 51, 100, 0, 0, 100, 0, 0], &[]);
    assert_eq!(read(&packet), Err(DecodeError::NoAddresses));
    let none = Advertisement { addresses: vec![], ..of_version_3() };
    assert_eq!(none.emit(OWN, GROUP, Checksum::Plain), Err(EncodeError::Count(0)));
}

#[test]
fn rfc9568_5_2_6_the_reserved_bits_are_sent_as_zero_and_ignored() {
    // With the longest interval, so that a bit which does not belong there would show.
    let longest = Advertisement { advert_int: ms(40_950), ..of_version_3() };
    assert_eq!(longest.emit(OWN, GROUP, Checksum::Plain).unwrap()[4..6], [0x0f, 0xff]);
    assert_eq!(read(&with(packet_3(), 4, 0xf0)), read(&packet_3()));
}

#[test]
fn rfc9568_5_2_7_the_interval_is_12_bits_of_centiseconds() {
    let packet = with(with(packet_3(), 4, 0x01), 5, 0x02);
    assert_eq!(read(&packet).unwrap().advert_int, ms(2580));
    let longer = Advertisement { advert_int: ms(40_960), ..of_version_3() };
    assert!(matches!(longer.emit(OWN, GROUP, Checksum::Plain), Err(EncodeError::Interval(_))));
}

#[test]
fn rfc3768_5_3_7_the_interval_is_8_bits_of_seconds() {
    assert_eq!(read(&with(packet_2(), 5, 200)).unwrap().advert_int, ms(200_000));
    let longest = Advertisement { advert_int: ms(255_000), ..of_version_2() };
    assert_eq!(longest.emit(OWN, GROUP, Checksum::Plain).unwrap()[5], 255);
    let between = Advertisement { advert_int: ms(1500), ..of_version_2() };
    assert!(matches!(between.emit(OWN, GROUP, Checksum::Plain), Err(EncodeError::Interval(_))));
}

#[test]
fn rfc9568_5_2_8_over_ipv4_the_checksum_is_of_the_message_alone() {
    assert_eq!(of_version_3().emit(OWN, GROUP, Checksum::Plain).unwrap(), packet_3());
    assert_eq!(read(&packet_3()).unwrap(), of_version_3());
}

#[test]
fn rfc5798_5_2_8_over_ipv4_the_checksum_has_the_pseudo_header() {
    let packet = packet_3();
    let packet = summed(packet.clone(), &pseudo_header(OWN, GROUP, packet.len()));
    assert_ne!(packet, packet_3());
    assert_eq!(of_version_3().emit(OWN, GROUP, Checksum::default()).unwrap(), packet);
    assert_eq!(read(&packet).unwrap(), of_version_3());
}

#[test]
fn rfc9568_5_2_8_over_ipv6_the_checksum_has_the_pseudo_header() {
    for kind in [Checksum::Plain, Checksum::PseudoHeader] {
        assert_eq!(of_ipv6().emit(OWN6, GROUP6, kind).unwrap(), packet_6());
    }
    assert_eq!(parse(&packet_6(), OWN6, GROUP6, 255, false).unwrap(), of_ipv6());
    let without = summed(packet_6(), &[]);
    let found = parse(&without, OWN6, GROUP6, 255, false);
    assert!(matches!(found, Err(DecodeError::Checksum { .. })), "{found:?}");
}

#[test]
fn rfc3768_5_3_8_the_checksum_is_of_the_message_alone() {
    for kind in [Checksum::Plain, Checksum::PseudoHeader] {
        assert_eq!(of_version_2().emit(OWN, GROUP, kind).unwrap(), packet_2());
    }
    let packet = packet_2();
    let with_header = summed(packet.clone(), &pseudo_header(OWN, GROUP, packet.len()));
    assert!(matches!(read(&with_header), Err(DecodeError::Checksum { .. })));
}

#[test]
fn rfc9568_5_2_9_addresses_of_two_families_are_not_sent_together() {
    let mixed = Advertisement { addresses: vec![VIP, "fe80::5e:1".parse().unwrap()], ..of_version_3() };
    assert!(matches!(mixed.emit(OWN, GROUP, Checksum::Plain), Err(EncodeError::MixedFamilies { .. })));
    assert!(matches!(of_version_3().emit(OWN6, GROUP6, Checksum::Plain), Err(EncodeError::MixedFamilies { .. })));
}

#[test]
fn rfc3768_5_3_10_the_authentication_data_is_zero_and_ignored() {
    let sent = of_version_2().emit(OWN, GROUP, Checksum::Plain).unwrap();
    assert_eq!(sent[12..], [0; 8]);
    assert_eq!(read(&with(packet_2(), 15, 7)).unwrap(), of_version_2());
}

#[test]
fn rfc3768_5_3_6_unknown_authentication_types_are_dropped() {
    // 1 and 2 are RFC 2338's; 2 counts inside an Authentication Header alone.
    for kind in 2..=255 {
        assert_eq!(read(&with(packet_2(), 4, kind)), Err(DecodeError::AuthType(kind)));
    }
    assert_eq!(read(&with(packet_2(), 4, 1)).unwrap().auth, Auth::Simple([0; 8]));
}

fn drops_what_is_incomplete(packet: &[u8], source: IpAddr, group: IpAddr) {
    for length in 0..packet.len() {
        let found = parse(&packet[..length], source, group, 255, false);
        assert!(matches!(found, Err(DecodeError::Truncated { .. })), "{length} octets: {found:?}");
    }
}

#[test]
fn rfc3768_7_1_incomplete_packets_are_dropped() {
    drops_what_is_incomplete(&packet_2(), OWN, GROUP);
}

#[test]
fn rfc9568_7_1_incomplete_packets_are_dropped() {
    drops_what_is_incomplete(&packet_3(), OWN, GROUP);
    drops_what_is_incomplete(&packet_6(), OWN6, GROUP6);
}

fn drops_every_damaged_bit(packet: &[u8], source: IpAddr, group: IpAddr) {
    for place in 0..packet.len() * 8 {
        let mut damaged = packet.to_vec();
        damaged[place / 8] ^= 1 << (place % 8);
        assert!(parse(&damaged, source, group, 255, false).is_err(), "bit {place}");
    }
}

#[test]
fn rfc3768_7_1_a_wrong_checksum_is_dropped() {
    drops_every_damaged_bit(&packet_2(), OWN, GROUP);
}

#[test]
fn rfc9568_7_1_a_wrong_checksum_is_dropped() {
    drops_every_damaged_bit(&packet_3(), OWN, GROUP);
    drops_every_damaged_bit(&packet_6(), OWN6, GROUP6);
}

#[test]
fn rfc9568_7_1_an_interval_of_0_is_dropped() {
    assert_eq!(read(&with(packet_3(), 5, 0)), Err(DecodeError::Interval));
}

#[test]
fn rfc9568_7_3_the_virtual_mac_ends_with_the_vrid() {
    let vrid = Vrid::new(51).unwrap();
    assert_eq!(virtual_mac(vrid, false), [0x00, 0x00, 0x5e, 0x00, 0x01, 51]);
    assert_eq!(virtual_mac(vrid, true), [0x00, 0x00, 0x5e, 0x00, 0x02, 51]);
}

#[test]
fn rfc9568_9_version_3_has_no_authentication() {
    let password = Advertisement { auth: Auth::Simple(*b"s3cret12"), ..of_version_3() };
    assert_eq!(password.emit(OWN, GROUP, Checksum::Plain), Err(EncodeError::PasswordInV3));
}
