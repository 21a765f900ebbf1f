use super::*;
use alloc::vec;
use proptest::prelude::*;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const SOURCE6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xa));
const GROUP: IpAddr = IpAddr::V4(GROUP_V4);
const GROUP6: IpAddr = IpAddr::V6(GROUP_V6);

fn v3() -> Advertisement {
    Advertisement {
        version: VrrpVersion::V3,
        vrid: Vrid::new(51).unwrap(),
        priority: Priority(100),
        advert_int: Duration::from_secs(1),
        addresses: vec![Ipv4Addr::new(192, 0, 2, 1).into()],
        auth: Auth::None,
    }
}

fn v2() -> Advertisement {
    Advertisement { version: VrrpVersion::V2, auth: Auth::Simple(*b"1111\0\0\0\0"), ..v3() }
}

// Sums by hand, in hex: 3133 + 6401 + 0064 + c000 + 0201 = 15799, folded 579a, complement a865.
const V3_PLAIN: [u8; 12] = [0x31, 51, 100, 1, 0x00, 0x64, 0xa8, 0x65, 192, 0, 2, 1];
// Before it 0a00 + 0001 + e000 + 0012 + 000c + 0070 = ea8f; together 24228, folded 422a, complement bdd5.
const V3_PSEUDO: [u8; 12] = [0x31, 51, 100, 1, 0x00, 0x64, 0xbd, 0xd5, 192, 0, 2, 1];
// 2133 + 6401 + 0101 + c000 + 0201 + 3131 + 3131 = 1aa98, folded aa99, complement 5566.
const V2_SIMPLE: [u8; 20] = [0x21, 51, 100, 1, 1, 1, 0x55, 0x66, 192, 0, 2, 1, b'1', b'1', b'1', b'1', 0, 0, 0, 0];
// 310a + ff01 + 0064 + fe80 + 0001 = 22ef0; pseudo-header fe80 + a + ff02 + 12 + 18 + 70 = 1fe26;
// together 42d16, folded 2d1a, complement d2e5.
const V3_IPV6: [u8; 24] =
    [0x31, 10, 255, 1, 0x00, 0x64, 0xd2, 0xe5, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

#[test]
fn a_v3_packet_over_ipv4_is_the_rfc_drawing_with_either_checksum() {
    assert_eq!(v3().emit(SOURCE, GROUP, Checksum::Plain).unwrap(), V3_PLAIN);
    assert_eq!(v3().emit(SOURCE, GROUP, Checksum::PseudoHeader).unwrap(), V3_PSEUDO);
    assert_eq!(parse(&V3_PLAIN, SOURCE, GROUP, 255, false), Ok(v3()));
    assert_eq!(parse(&V3_PSEUDO, SOURCE, GROUP, 255, false), Ok(v3()));
}

#[test]
fn a_v2_packet_is_the_rfc_drawing_with_its_authentication_data() {
    assert_eq!(v2().emit(SOURCE, GROUP, Checksum::PseudoHeader).unwrap(), V2_SIMPLE);
    assert_eq!(parse(&V2_SIMPLE, SOURCE, GROUP, 255, false), Ok(v2()));
    let open = Advertisement { auth: Auth::None, ..v2() };
    let bytes = open.emit(SOURCE, GROUP, Checksum::Plain).unwrap();
    assert_eq!((bytes.len(), bytes[4], &bytes[12..]), (20, 0, &[0; 8][..]));
    assert_eq!(parse(&bytes, SOURCE, GROUP, 255, false), Ok(open));
}

#[test]
fn a_v3_packet_over_ipv6_always_has_the_pseudo_header() {
    let advert = Advertisement {
        vrid: Vrid::new(10).unwrap(),
        priority: Priority::OWNER,
        addresses: vec![Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into()],
        ..v3()
    };
    assert_eq!(advert.emit(SOURCE6, GROUP6, Checksum::Plain).unwrap(), V3_IPV6);
    assert_eq!(parse(&V3_IPV6, SOURCE6, GROUP6, 255, false), Ok(advert));
    let mut plain = V3_IPV6;
    plain[6..8].fill(0);
    let sum = Sum::new().octets(&plain).checksum();
    plain[6..8].copy_from_slice(&sum.to_be_bytes());
    let refused = parse(&plain, SOURCE6, GROUP6, 255, false);
    assert_eq!(refused, Err(DecodeError::Checksum { found: sum, wanted: 0xd2e5 }));
}

/// What a keepalived 2.2.7 sends, octet for octet from the first of the VRRP header: v3 with the
/// pseudo-header, v2 with `auth_type PASS`, IPv6, and the resignation of each IPv4 one.
#[test]
fn what_keepalived_sends_is_understood() {
    let source = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    let of = |bytes: &[u8]| parse(bytes, source, GROUP, 255, false);
    assert_eq!(of(&[0x31, 51, 100, 1, 0, 0x64, 0xbd, 0xd4, 192, 0, 2, 1]), Ok(v3()));
    let resigned = Advertisement { priority: Priority::RESIGN, ..v3() };
    assert_eq!(of(&[0x31, 51, 0, 1, 0, 0x64, 0x21, 0xd5, 192, 0, 2, 1]), Ok(resigned));
    assert_eq!(of(&V2_SIMPLE), Ok(v2()));
    let mut resignation = V2_SIMPLE;
    resignation[2] = 0;
    resignation[6..8].copy_from_slice(&[0xb9, 0x66]);
    assert_eq!(of(&resignation), Ok(Advertisement { priority: Priority::RESIGN, ..v2() }));

    let source = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0x847d, 0xaaff, 0xfeae, 0x4327));
    let mut bytes = vec![0x31, 51, 100, 1, 0, 0x64, 0xfc, 0x23];
    let address = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x51);
    bytes.extend(address.octets());
    let wanted = Advertisement { addresses: vec![address.into()], ..v3() };
    assert_eq!(parse(&bytes, source, GROUP6, 255, false), Ok(wanted));
}

#[test]
fn the_pseudo_header_binds_the_addresses_of_the_ip_header() {
    let elsewhere = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
    let refused = parse(&V3_PSEUDO, elsewhere, GROUP, 255, false);
    assert!(matches!(refused, Err(DecodeError::Checksum { found: 0xbdd5, .. })), "{refused:?}");
}

#[test]
fn a_wrong_checksum_is_refused_in_each_version() {
    for packet in [&V3_PLAIN[..], &V3_PSEUDO, &V2_SIMPLE] {
        let mut packet = packet.to_vec();
        packet[2] ^= 1;
        let refused = parse(&packet, SOURCE, GROUP, 255, false);
        assert!(matches!(refused, Err(DecodeError::Checksum { .. })), "{refused:?}");
    }
}

#[test]
fn a_hop_limit_below_255_is_refused_unless_the_peer_is_unicast() {
    assert_eq!(parse(&V3_PLAIN, SOURCE, GROUP, 254, false), Err(DecodeError::HopLimit(254)));
    let (peer, to) = (SOURCE, IpAddr::V4(Ipv4Addr::new(10, 0, 1, 2)));
    let bytes = v3().emit(peer, to, Checksum::PseudoHeader).unwrap();
    assert_eq!(parse(&bytes, peer, to, 61, true), Ok(v3()));
}

#[test]
fn a_version_or_type_that_is_not_ours_is_refused_by_name() {
    let with = |octet: u8| {
        let mut packet = V3_PLAIN;
        packet[0] = octet;
        parse(&packet, SOURCE, GROUP, 255, false)
    };
    assert_eq!(with(0x41), Err(DecodeError::Version(4)));
    assert_eq!(with(0x11), Err(DecodeError::Version(1)));
    assert_eq!(with(0x32), Err(DecodeError::Type(2)));
    assert_eq!(parse(&V2_SIMPLE, SOURCE6, GROUP6, 255, false), Err(DecodeError::V2OverIpv6));
}

#[test]
fn a_packet_shorter_than_its_count_is_refused_and_padding_is_not() {
    assert_eq!(
        parse(&V3_PLAIN[..11], SOURCE, GROUP, 255, false),
        Err(DecodeError::Truncated { have: 11, need: 12, count: 1 })
    );
    assert_eq!(
        parse(&V2_SIMPLE[..12], SOURCE, GROUP, 255, false),
        Err(DecodeError::Truncated { have: 12, need: 20, count: 1 })
    );
    assert_eq!(parse(&[], SOURCE, GROUP, 255, false), Err(DecodeError::Truncated { have: 0, need: 8, count: 0 }));
    let mut padded = V3_PSEUDO.to_vec();
    padded.resize(26, 0); // 20 octets of IPv4 header and these make Ethernet's 46
    assert_eq!(parse(&padded, SOURCE, GROUP, 255, false), Ok(v3()));
    padded.resize(12 + 47, 0);
    assert_eq!(parse(&padded, SOURCE, GROUP, 255, false), Err(DecodeError::Trailing { have: 59, need: 12, count: 1 }));
}

/// With its checksum made right again after a change.
fn resummed(packet: &[u8], at: usize, octet: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[at] = octet;
    packet[6..8].fill(0);
    let sum = Sum::new().octets(&packet).checksum();
    packet[6..8].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn fields_out_of_range_are_refused_by_name() {
    let of = |bytes: &[u8]| parse(bytes, SOURCE, GROUP, 255, false);
    assert_eq!(of(&resummed(&V3_PLAIN, 1, 0)), Err(DecodeError::Vrid));
    assert_eq!(of(&resummed(&V3_PLAIN, 5, 0)), Err(DecodeError::Interval));
    assert_eq!(of(&resummed(&V2_SIMPLE, 5, 0)), Err(DecodeError::Interval));
    assert_eq!(of(&resummed(&V2_SIMPLE, 4, 2)), Err(DecodeError::AuthType(2)));
    assert_eq!(of(&resummed(&V3_PLAIN[..8], 3, 0)), Err(DecodeError::NoAddresses));
}

#[test]
fn the_reserved_bits_of_v3_are_ignored() {
    assert_eq!(parse(&resummed(&V3_PLAIN, 4, 0xf0), SOURCE, GROUP, 255, false), Ok(v3()));
}

#[test]
fn what_the_wire_has_no_room_for_is_not_emitted() {
    let emit = |advert: Advertisement| advert.emit(SOURCE, GROUP, Checksum::Plain).unwrap_err();
    let ms = Duration::from_millis;
    assert_eq!(emit(Advertisement { addresses: vec![], ..v3() }), EncodeError::Count(0));
    assert_eq!(emit(Advertisement { addresses: vec![SOURCE; 256], ..v3() }), EncodeError::Count(256));
    assert_eq!(emit(Advertisement { advert_int: ms(40_960), ..v3() }), EncodeError::Interval(ms(40_960)));
    assert_eq!(emit(Advertisement { advert_int: ms(500), ..v2() }), EncodeError::Interval(ms(500)));
    assert_eq!(emit(Advertisement { advert_int: ms(256_000), ..v2() }), EncodeError::Interval(ms(256_000)));
    assert_eq!(emit(Advertisement { auth: Auth::Simple([0; 8]), ..v3() }), EncodeError::PasswordInV3);
    assert_eq!(
        emit(Advertisement { addresses: vec![SOURCE, SOURCE6], ..v3() }),
        EncodeError::MixedFamilies { found: SOURCE6, wanted: SOURCE }
    );
    assert_eq!(v2().emit(SOURCE6, GROUP6, Checksum::Plain), Err(EncodeError::Family(SOURCE6)));
}

#[test]
fn the_virtual_mac_has_the_vrid_in_its_last_octet() {
    assert_eq!(virtual_mac(Vrid::new(7).unwrap(), false), [0, 0, 0x5e, 0, 1, 7]);
    assert_eq!(virtual_mac(Vrid::new(7).unwrap(), true), [0, 0, 0x5e, 0, 2, 7]);
}

fn any_auth() -> impl Strategy<Value = Auth> {
    prop_oneof![Just(Auth::None), any::<[u8; 8]>().prop_map(Auth::Simple)]
}

fn any_packet() -> impl Strategy<Value = (Advertisement, IpAddr, IpAddr)> {
    let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
    let v6 = any::<[u8; 16]>().prop_map(IpAddr::from);
    let head = (1u8..=255, any::<u8>());
    let make = |version, (vrid, priority): (u8, u8), advert_int, addresses, auth| Advertisement {
        version,
        vrid: Vrid::new(vrid).unwrap(),
        priority: Priority(priority),
        advert_int,
        addresses,
        auth,
    };
    let many = |address: BoxedStrategy<IpAddr>| proptest::collection::vec(address, 1..20);
    let centis = || (1u16..=4095).prop_map(|c| Duration::from(Centis::new(c).unwrap()));
    let secs = (1u64..=255).prop_map(Duration::from_secs);
    prop_oneof![
        (head.clone(), secs, many(v4.clone().boxed()), any_auth(), v4.clone(), v4.clone())
            .prop_map(move |(head, int, list, pass, s, d)| (make(VrrpVersion::V2, head, int, list, pass), s, d)),
        (head.clone(), centis(), many(v4.clone().boxed()), v4.clone(), v4).prop_map(move |(head, int, list, s, d)| (
            make(VrrpVersion::V3, head, int, list, Auth::None),
            s,
            d
        )),
        (head, centis(), many(v6.clone().boxed()), v6.clone(), v6).prop_map(move |(head, int, list, s, d)| (
            make(VrrpVersion::V3, head, int, list, Auth::None),
            s,
            d
        )),
    ]
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), hop_limit in any::<u8>()) {
        let _ = parse(&bytes, SOURCE, GROUP, hop_limit, true);
        let _ = parse(&bytes, SOURCE6, GROUP6, 255, false);
        let _ = parse(&bytes, SOURCE, GROUP6, 255, false);
    }

    #[test]
    fn parse_undoes_emit((advert, source, destination) in any_packet(), plain in any::<bool>()) {
        let checksum = if plain { Checksum::Plain } else { Checksum::PseudoHeader };
        let bytes = advert.emit(source, destination, checksum).unwrap();
        prop_assert_eq!(parse(&bytes, source, destination, 255, false), Ok(advert));
    }

    #[test]
    fn one_flipped_bit_is_always_seen((advert, source, destination) in any_packet(), at in any::<prop::sample::Index>()) {
        // A one's complement sum sees every single flipped bit. Not so where two sums pass (v3 over
        // IPv4), or where the flip moves the packet's end or its version.
        let mut bytes = advert.emit(source, destination, Checksum::PseudoHeader).unwrap();
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if (advert.version == VrrpVersion::V2 || source.is_ipv6()) && !matches!(bit / 8, 0 | 3) {
            let parsed = parse(&bytes, source, destination, 255, false);
            prop_assert!(matches!(parsed, Err(DecodeError::Checksum { .. })), "{:?}", parsed);
        }
    }
}
