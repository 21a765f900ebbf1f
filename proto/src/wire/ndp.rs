//! Unsolicited Neighbor Advertisements: what gratuitous ARP is to IPv4, for IPv6.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::ip::icmpv6_checksum;
use super::{Reader, Writer};

/// EtherType of IPv6.
pub const ETHERTYPE: u16 = 0x86dd;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const NEXT_HEADER_ICMPV6: u8 = 58;
const TYPE_NEIGHBOR_SOLICITATION: u8 = 135;
const TYPE_NEIGHBOR_ADVERTISEMENT: u8 = 136;
const OPTION_TARGET_LINK_LAYER_ADDRESS: u8 = 2;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// A Neighbor Advertisement, with what matters of the headers before it. RFC 4861, 4.4.
///
/// ```text
/// | Ethernet (14) | IPv6 (40), hop limit 255                        |
/// |     Type 136  |     Code 0    |          Checksum               |
/// |R|S|O|                     Reserved                              |
/// |                    Target Address (16)                          |
/// |     Type 2    |   Length 1    |   Link-Layer Address (6)        |
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborAdvertisement {
    /// Source of the Ethernet frame.
    pub frame_source: [u8; 6],
    /// Source of the IPv6 header.
    pub source: Ipv6Addr,
    /// The address that is claimed.
    pub target: Ipv6Addr,
    /// Where it is claimed to be; an answer to a unicast solicitation may leave it out.
    pub link_layer: Option<[u8; 6]>,
    /// R: the sender is a router.
    pub router: bool,
    /// S: it answers a solicitation.
    pub solicited: bool,
    /// O: it replaces what a neighbour cache holds.
    pub overrides: bool,
}

/// Why a frame is no Neighbor Advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends early.
    #[error("frame of {have} octets, where a neighbor advertisement needs {need}: capture whole frames")]
    Truncated {
        /// Octets received.
        have: usize,
        /// Octets wanted.
        need: usize,
    },
    /// Another protocol.
    #[error("ethertype {0:#06x}, not 0x86dd: bind the socket to IPv6")]
    EtherType(u16),
    /// Not version 6.
    #[error("IP version {0}, not 6: broken sender")]
    Version(u8),
    /// Not ICMPv6 right after the IPv6 header.
    #[error("next header {0}, not 58 (ICMPv6): ignore it")]
    NextHeader(u8),
    /// RFC 4861, 7.1.2.
    #[error("hop limit {0}, not 255: the packet crossed a router; distrust it")]
    HopLimit(u8),
    /// Another ICMPv6 message.
    #[error("ICMPv6 type {kind} code {code}, not 136 code 0 (neighbor advertisement): ignore it")]
    Type {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// The checksum does not fit.
    #[error("ICMPv6 checksum {found:#06x}, not {wanted:#06x}: damaged or forged")]
    Checksum {
        /// As received.
        found: u16,
        /// As computed.
        wanted: u16,
    },
    /// RFC 4861, 7.1.2: a target is one node's address.
    #[error("target {0} is multicast, not unicast: broken sender")]
    MulticastTarget(Ipv6Addr),
    /// RFC 4861, 7.1.2: an option has at least 8 octets, and all of them are there.
    #[error("option {kind} of {units} units of 8 octets with {have} octets left: broken sender")]
    OptionLength {
        /// Type of the option.
        kind: u8,
        /// Its length field.
        units: u8,
        /// Octets from the option's first on.
        have: usize,
    },
}

/// An unsolicited advertisement that `address` is at `mac`: the whole frame, to all nodes.
///
/// Source and target are the virtual address, S is clear and O is set. RFC 9568, 6.4.1; RFC 4861, 7.2.6.
/// `router` is R: set when this node forwards, since a host drops its default router when R goes.
pub fn unsolicited(mac: [u8; 6], address: Ipv6Addr, router: bool) -> Vec<u8> {
    let mut message = Writer::new();
    message.u8(TYPE_NEIGHBOR_ADVERTISEMENT).u8(0).u16(0);
    message.u8(OVERRIDE | if router { ROUTER } else { 0 }).bytes(&[0; 3]);
    message.bytes(&address.octets());
    message.u8(OPTION_TARGET_LINK_LAYER_ADDRESS).u8(1).bytes(&mac);
    let mut message = message.finish();
    let checksum = icmpv6_checksum(address, ALL_NODES, &message);
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }

    let mut frame = Writer::new();
    frame.bytes(&ALL_NODES_MAC).bytes(&mac).u16(ETHERTYPE);
    // 8 (type to reserved) + 16 (target) + 8 (option) octets of payload.
    frame.u32(6 << 28).u16(32).u8(NEXT_HEADER_ICMPV6).u8(255);
    frame.bytes(&address.octets()).bytes(&ALL_NODES.octets()).bytes(&message);
    frame.finish()
}

/// A Neighbor Solicitation for `address` that claims nothing, from the unspecified address to the solicited-node
/// group, as duplicate address detection sends it: the whole frame. RFC 4862, 5.4.2; RFC 4861, 4.3.
pub fn probe(mac: [u8; 6], address: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = address.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let mut message = Writer::new();
    message.u8(TYPE_NEIGHBOR_SOLICITATION).u8(0).u16(0).u32(0);
    message.bytes(&address.octets());
    let mut message = message.finish();
    let checksum = icmpv6_checksum(Ipv6Addr::UNSPECIFIED, group, &message);
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }

    let mut frame = Writer::new();
    frame.bytes(&[0x33, 0x33, 0xff, a, b, c]).bytes(&mac).u16(ETHERTYPE);
    // 8 (type to reserved) + 16 (target) octets of payload.
    frame.u32(6 << 28).u16(24).u8(NEXT_HEADER_ICMPV6).u8(255);
    frame.bytes(&Ipv6Addr::UNSPECIFIED.octets()).bytes(&group.octets()).bytes(&message);
    frame.finish()
}

/// Reads a frame from the first octet of its Ethernet header and makes the checks of RFC 4861, 7.1.2.
///
/// An advertisement behind an extension header is refused as [`DecodeError::NextHeader`].
pub fn parse(frame: &[u8]) -> Result<NeighborAdvertisement, DecodeError> {
    let short = DecodeError::Truncated { have: frame.len(), need: 78 };
    let mut reader = Reader::new(frame);
    let _destination = reader.array::<6>().ok_or(short)?;
    let frame_source = reader.array::<6>().ok_or(short)?;
    let ethertype = reader.u16().ok_or(short)?;
    if ethertype != ETHERTYPE {
        return Err(DecodeError::EtherType(ethertype));
    }
    let version = reader.u32().ok_or(short)? >> 28;
    if version != 6 {
        return Err(DecodeError::Version(u8::try_from(version).unwrap_or(u8::MAX)));
    }
    let length = usize::from(reader.u16().ok_or(short)?);
    let [next_header, hop_limit] = reader.array().ok_or(short)?;
    let source = Ipv6Addr::from(reader.array::<16>().ok_or(short)?);
    let destination = Ipv6Addr::from(reader.array::<16>().ok_or(short)?);
    if next_header != NEXT_HEADER_ICMPV6 {
        return Err(DecodeError::NextHeader(next_header));
    }
    let need = DecodeError::Truncated { have: frame.len(), need: 54 + length };
    let message = reader.slice(length).ok_or(need)?;
    let (kind, code) = match message {
        [kind, code, ..] => (*kind, *code),
        [] | [_] => return Err(short),
    };
    if (kind, code) != (TYPE_NEIGHBOR_ADVERTISEMENT, 0) {
        return Err(DecodeError::Type { kind, code });
    }
    if hop_limit != 255 {
        return Err(DecodeError::HopLimit(hop_limit));
    }
    parse_message(message, frame.len(), frame_source, source, destination)
}

fn parse_message(
    message: &[u8],
    have: usize,
    frame_source: [u8; 6],
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Result<NeighborAdvertisement, DecodeError> {
    let short = DecodeError::Truncated { have, need: 78 };
    let mut reader = Reader::new(message);
    let _type_code = reader.u16().ok_or(short)?;
    let found = reader.u16().ok_or(short)?;
    let [flags, ..] = reader.array::<4>().ok_or(short)?;
    let target = Ipv6Addr::from(reader.array::<16>().ok_or(short)?);
    let rest = icmpv6_checksum(source, destination, message);
    if rest != 0 {
        let mut cleared = Vec::from(message);
        if let Some(field) = cleared.get_mut(2..4) {
            field.fill(0);
        }
        return Err(DecodeError::Checksum { found, wanted: icmpv6_checksum(source, destination, &cleared) });
    }
    if target.is_multicast() {
        return Err(DecodeError::MulticastTarget(target));
    }
    Ok(NeighborAdvertisement {
        frame_source,
        source,
        target,
        link_layer: target_link_layer_address(reader)?,
        router: flags & ROUTER != 0,
        solicited: flags & SOLICITED != 0,
        overrides: flags & OVERRIDE != 0,
    })
}

/// The first Target Link-Layer Address option; unknown options are skipped. RFC 4861, 4.6.
fn target_link_layer_address(mut options: Reader<'_>) -> Result<Option<[u8; 6]>, DecodeError> {
    let mut address = None;
    while options.remaining() > 0 {
        let have = options.remaining();
        let (kind, units) = match (options.u8(), options.u8()) {
            (Some(kind), Some(units)) => (kind, units),
            (kind, _) => return Err(DecodeError::OptionLength { kind: kind.unwrap_or(0), units: 0, have }),
        };
        let broken = DecodeError::OptionLength { kind, units, have };
        let len = (usize::from(units) * 8).checked_sub(2).ok_or(broken)?;
        let value = options.slice(len).ok_or(broken)?;
        if kind == OPTION_TARGET_LINK_LAYER_ADDRESS && address.is_none() {
            address = value.first_chunk::<6>().copied();
        }
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0a];
    const VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

    #[test]
    fn the_frame_is_an_unsolicited_advertisement_octet_by_octet() {
        // Sum by hand, of 16-bit words in hex:
        //   source 2001 + db8 + 1 = 2dba; destination ff02 + 1 = ff03; length 20; next header 3a
        //   message: 8800 + a000 + target 2dba + option 201 + 200 + 0 + a
        //   2dba + ff03 + 20 + 3a = 12d17; + 8800 + a000 = 25517; + 2dba = 282d1; + 201 + 200 + a = 286dc
        //   folded: 86dc + 2 = 86de; complement 7921
        #[rustfmt::skip]
        let wanted = [
            0x33, 0x33, 0, 0, 0, 1,  0x02, 0, 0, 0, 0, 0x0a,  0x86, 0xdd,
            0x60, 0, 0, 0,  0, 32,  58,  255,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            136, 0,  0x79, 0x21,  0xa0, 0, 0, 0,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            2, 1,  0x02, 0, 0, 0, 0, 0x0a,
        ];
        assert_eq!(unsolicited(MAC, VIP, true), wanted);
    }

    #[test]
    fn the_probe_is_a_solicitation_octet_by_octet() {
        // Sum by hand: destination ff02 + 1 + ff00 + 1 = 1fe04; length 18; next header 3a; message 8700 + 2001 + db8 + 1
        //   1fe04 + 18 + 3a + 8700 + 2001 + db8 + 1 = 2b310; folded: b310 + 2 = b312; complement 4ced
        #[rustfmt::skip]
        let wanted = [
            0x33, 0x33, 0xff, 0, 0, 1,  0x02, 0, 0, 0, 0, 0x0a,  0x86, 0xdd,
            0x60, 0, 0, 0,  0, 24,  58,  255,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 1,
            135, 0,  0x4c, 0xed,  0, 0, 0, 0,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        ];
        assert_eq!(probe(MAC, VIP), wanted);
    }

    #[test]
    fn an_advertisement_is_read_back() {
        let na = parse(&unsolicited(MAC, VIP, false)).unwrap();
        assert_eq!((na.source, na.target, na.link_layer), (VIP, VIP, Some(MAC)));
        assert_eq!((na.router, na.solicited, na.overrides), (false, false, true));
    }

    #[test]
    fn what_is_no_valid_advertisement_is_refused_by_name() {
        let frame = unsolicited(MAC, VIP, true);
        let with = |at: usize, octet: u8| {
            let mut frame = frame.clone();
            frame[at] = octet;
            parse(&frame)
        };
        assert_eq!(parse(&frame[..50]), Err(DecodeError::Truncated { have: 50, need: 78 }));
        assert_eq!(parse(&frame[..85]), Err(DecodeError::Truncated { have: 85, need: 86 }));
        assert_eq!(with(12, 0x08), Err(DecodeError::EtherType(0x08dd)));
        assert_eq!(with(14, 0x40), Err(DecodeError::Version(4)));
        assert_eq!(with(20, 17), Err(DecodeError::NextHeader(17)));
        assert_eq!(with(21, 254), Err(DecodeError::HopLimit(254)));
        assert_eq!(with(54, 135), Err(DecodeError::Type { kind: 135, code: 0 }));
        assert_eq!(with(57, 0x22), Err(DecodeError::Checksum { found: 0x7922, wanted: 0x7921 }));
    }

    #[test]
    fn an_option_of_no_length_does_not_loop_for_ever() {
        assert_eq!(
            target_link_layer_address(Reader::new(&[2, 0, 0, 0, 0, 0, 0, 0])),
            Err(DecodeError::OptionLength { kind: 2, units: 0, have: 8 })
        );
        assert_eq!(
            target_link_layer_address(Reader::new(&[14, 2, 0, 0, 0, 0, 0, 0])),
            Err(DecodeError::OptionLength { kind: 14, units: 2, have: 8 })
        );
        let two_addresses = [2, 1, 1, 2, 3, 4, 5, 6, 2, 1, 9, 9, 9, 9, 9, 9];
        assert_eq!(target_link_layer_address(Reader::new(&two_addresses)), Ok(Some([1, 2, 3, 4, 5, 6])), "the first");
        let nonce_then_address = [14, 1, 0, 0, 0, 0, 0, 0, 2, 1, 1, 2, 3, 4, 5, 6];
        assert_eq!(target_link_layer_address(Reader::new(&nonce_then_address)), Ok(Some([1, 2, 3, 4, 5, 6])));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_damaged_frame_panics(at in 0usize..86, octet in any::<u8>(), keep in 0usize..=86) {
            let mut frame = unsolicited(MAC, VIP, true);
            frame[at] = octet;
            let _ = parse(&frame[..keep]);
        }

        #[test]
        fn parse_undoes_emit(mac in any::<[u8; 6]>(), mut address in any::<[u8; 16]>(), router in any::<bool>()) {
            address[0] &= 0x7f; // unicast
            let address = Ipv6Addr::from(address);
            let na = parse(&unsolicited(mac, address, router)).unwrap();
            prop_assert_eq!((na.target, na.link_layer, na.router), (address, Some(mac), router));
        }
    }
}
