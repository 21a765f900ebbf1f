use super::*;
use crate::id::{Priority, Vrid};
use crate::wire::vrrp::{self, parse};
use alloc::vec;
use core::net::Ipv4Addr;
use proptest::prelude::*;

/// Key 1 of the recordings: 00, 01, … 1f.
fn key() -> Key {
    Key::new(&core::array::from_fn::<u8, 32, _>(|at| u8::try_from(at).unwrap())).unwrap()
}

/// And key 2.
fn text() -> Key {
    Key::new(b"0123456789abcdef0123456789abcdef").unwrap()
}

fn keys() -> Vec<(u8, Key)> {
    vec![(1, key()), (2, text())]
}

/// What keepalived 2.4.3 sent as MASTER, from the first octet of the VRRP header.
const V2_MULTICAST: &str =
    "2133960100018665c00002640000000000000000010100006b082f0029970000ae968b77fb84c25bf65aa5c8567e9f69";
const V3_UNICAST: &str = "3134960200322f46c0000265c0000266010200006b082efe74990000e2f3ac4bbb00d7172eb1f81d796d8df2";
const V3_IPV6: &str = "3135960200326921fe8000000000000000000000005e0001fd000000000000000000000000000100010100006b082efe\
                       76060000567e3ec4b82bc33737f30e2e59631305";
const V3_RESIGNS: &str = "313400020032c546c0000265c0000266010200006b082f05aede0000700e3d407539a1d1a9c84d20c893a621";

fn octets_of(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Each recorded packet: its octets, source and destination, key and stamp.
fn recorded() -> [(Vec<u8>, IpAddr, IpAddr, u8, u64); 4] {
    let own = address("192.0.2.1");
    [
        (octets_of(V2_MULTICAST), own, vrrp::GROUP_V4.into(), 1, 0x6b08_2f00_2997_0000),
        (octets_of(V3_UNICAST), own, address("192.0.2.2"), 2, 0x6b08_2efe_7499_0000),
        (octets_of(V3_IPV6), address("fe80::1:b"), vrrp::GROUP_V6.into(), 1, 0x6b08_2efe_7606_0000),
        (octets_of(V3_RESIGNS), own, address("192.0.2.2"), 2, 0x6b08_2f05_aede_0000),
    ]
}

fn read(bytes: &[u8], source: IpAddr, destination: IpAddr) -> (Advertisement, Option<Trailer>) {
    let advertisement = parse(bytes, source, destination, 255, !destination.is_multicast()).unwrap();
    let trailer = Trailer::read(&advertisement, source, bytes);
    (advertisement, trailer)
}

#[test]
fn keepalived_s_packets_are_proven_and_made_octet_by_octet() {
    for (bytes, source, destination, number, stamp) in recorded() {
        let (advertisement, trailer) = read(&bytes, source, destination);
        assert_eq!(advertisement.auth, Auth::None);
        let proven = trailer.unwrap().prove(&keys(), None);
        assert_eq!(proven, Auth::Signed { stamp: Stamp(stamp), behind: None });
        let key = &keys()[usize::from(number) - 1].1;
        let signature = Signature { number, key, stamp: Stamp(stamp) };
        let made = emit(&advertisement, source, destination, Checksum::PseudoHeader, signature).unwrap();
        assert_eq!(made, bytes);
    }
}

#[test]
fn another_key_number_sender_router_or_octet_proves_nothing() {
    let prove = |bytes: &[u8], source, destination| read(bytes, source, destination).1.unwrap().prove(&keys(), None);
    for (bytes, source, destination, number, _) in recorded() {
        let trailer = read(&bytes, source, destination).1.unwrap();
        let swapped = [(1, text()), (2, key())];
        assert_eq!(trailer.prove(&swapped, None), Auth::Unsigned(Fault::Wrong(number)));
        assert_eq!(trailer.prove(&[(3, key())], None), Auth::Unsigned(Fault::Key(number)));
        assert_eq!(trailer.prove(&[], None), Auth::Unsigned(Fault::Key(number)));
        let length = bytes.len();
        // Each octet of what is signed, but the checksum, and of the signature; what else is read from some of them
        // does not matter here.
        for at in (0..length).filter(|at| !CHECKSUM.contains(at)) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            let advertisement = parse(&bytes, source, destination, 255, true).unwrap();
            let proof = Trailer::read(&advertisement, source, &changed).unwrap().prove(&keys(), None);
            assert!(matches!(proof, Auth::Unsigned(_)), "octet {at}");
        }
        // Neither is looked at by the HMAC alone: another scheme would be another HMAC.
        for (at, value) in [(0, 2), (2, 1), (3, 1)] {
            let mut other = bytes.clone();
            other[length - TRAILER + at] = value;
            let advertisement = read(&bytes, source, destination).0;
            let proof = Trailer::read(&advertisement, source, &other).unwrap().prove(&keys(), None);
            assert_eq!(proof, Auth::Unsigned(Fault::Scheme), "octet {at} of the trailer");
        }
    }
    // The checksum over IPv4 need not know the sender: that of version 2 does not.
    let bytes = octets_of(V2_MULTICAST);
    let group = vrrp::GROUP_V4.into();
    assert_eq!(prove(&bytes, address("192.0.2.9"), group), Auth::Unsigned(Fault::Wrong(1)), "another sender");
}

#[test]
fn what_is_no_trailer_is_none() {
    let (bytes, source, destination, ..) = recorded()[0].clone();
    for length in [20, 34, 47] {
        assert_eq!(read(&bytes[..length], source, destination).1, None, "{length} octets");
    }
    let padded = [bytes, vec![0; 4]].concat();
    assert_eq!(read(&padded, source, destination).1, None);
}

/// Over IPv6 the checksum covers the trailer.
#[test]
fn a_trailer_over_ipv6_is_in_the_checksum() {
    let (mut bytes, source, destination, ..) = recorded()[2].clone();
    let last = bytes.last_mut().unwrap();
    *last ^= 1;
    let error = parse(&bytes, source, destination, 255, false).unwrap_err();
    assert!(matches!(error, vrrp::DecodeError::Checksum { .. }), "{error}");
}

#[test]
fn a_key_has_32_to_64_octets_and_is_never_shown() {
    for (length, good) in [(0, false), (31, false), (32, true), (64, true), (65, false)] {
        assert_eq!(Key::new(&vec![7; length]).is_some(), good, "{length}");
    }
    assert_eq!(alloc::format!("{:?}", text()), "***");
}

#[test]
fn stamps_are_the_utc_and_grow_although_it_does_not() {
    let utc = |ms| Duration::from_millis(ms);
    let mut stamps = Stamps::default();
    assert_eq!(stamps.next(utc(10_500), None), Stamp(10 << 32 | 0x8000_0000));
    assert_eq!(stamps.next(utc(10_500), None), Stamp(10 << 32 | 0x8000_0001));
    assert_eq!(stamps.next(utc(3_000), None), Stamp(10 << 32 | 0x8000_0002), "the clock was set back");
    assert_eq!(stamps.next(utc(11_000), None), Stamp(11 << 32));
    // Who looks at the clock hears us again, once it was set back by more than the window.
    let window = Some(Duration::from_secs(5));
    assert_eq!(stamps.next(utc(6_000), window), Stamp(11 << 32 | 1));
    assert_eq!(stamps.next(utc(5_999), window), Stamp::of(utc(5_999)));
}

#[test]
fn stamps_go_around_the_end() {
    let (late, early) = (Stamp(u64::MAX), Stamp(3));
    assert!(early.is_after(late) && !late.is_after(early) && !early.is_after(early));
    assert_eq!((Stamp(2 << 32).ahead_of(Stamp(u64::MAX)), Stamp(u64::MAX).ahead_of(Stamp(2 << 32))), (3, -3));
    assert_eq!(Stamp::of(Duration::from_secs(1 << 32 | 7)), Stamp(7 << 32));
}

proptest! {
    #[test]
    fn what_is_made_is_proven_and_told_with_its_age(
        v3: bool, ipv6: bool, vrid in 1u8..=255, priority: u8, count in 1u8..=9, stamp: u64, age in -1000i64..1000,
    ) {
        let v3 = v3 || ipv6;
        let of = |last: u8| if ipv6 { IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last.into()]) }
            else { Ipv4Addr::new(192, 0, 2, last).into() };
        let advertisement = Advertisement {
            version: if v3 { VrrpVersion::V3 } else { VrrpVersion::V2 },
            vrid: Vrid::new(vrid).unwrap(),
            priority: Priority(priority),
            advert_int: Duration::from_secs(1),
            addresses: (0..count).map(|at| of(100 + at)).collect(),
            auth: Auth::None,
        };
        let key = text();
        let signature = Signature { number: 2, key: &key, stamp: Stamp(stamp) };
        let bytes = emit(&advertisement, of(1), of(2), Checksum::PseudoHeader, signature).unwrap();
        let (read, trailer) = read(&bytes, of(1), of(2));
        prop_assert_eq!(&read, &advertisement);
        let second = u64::try_from(i64::from(u32::try_from(stamp >> 32).unwrap()) + age + (1 << 32)).unwrap();
        let proof = trailer.unwrap().prove(&keys(), Some(Duration::from_secs(second)));
        prop_assert_eq!(proof, Auth::Signed { stamp: Stamp(stamp), behind: Some(age) });
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..120), count in 0usize..8) {
        let advertisement = Advertisement {
            version: VrrpVersion::V3,
            vrid: Vrid::new(1).unwrap(),
            priority: Priority(1),
            advert_int: Duration::from_secs(1),
            addresses: vec![address("192.0.2.1"); count],
            auth: Auth::None,
        };
        let trailer = Trailer::read(&advertisement, address("192.0.2.1"), &bytes);
        prop_assert!(trailer.is_none_or(|trailer| matches!(trailer.prove(&keys(), None), Auth::Unsigned(_))));
    }
}
