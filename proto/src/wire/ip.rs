//! The parts of the IP headers that raw sockets need: the IPv4 header before a received packet, and
//! the Internet checksum with both pseudo-headers.
//!
//! What must stay true: the payload that [`parse_ipv4`] returns ends where the header's total length
//! says, so that Ethernet padding never reaches the formats above.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Reader;

/// What VRRP needs of an IPv4 header. RFC 791, 3.1.
///
/// ```text
///  0                   1                   2                   3
/// |Version|  IHL  |Type of Service|          Total Length         |
/// |         Identification        |Flags|      Fragment Offset    |
/// |  Time to Live |    Protocol   |         Header Checksum       |
/// |                       Source Address                          |
/// |                    Destination Address                        |
/// |                    Options                    |    Padding    |
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Header {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Time to live.
    pub ttl: u8,
    /// Protocol, 112 for VRRP, 51 for AH.
    pub protocol: u8,
}

/// Why bytes are no IPv4 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The packet ends before its header, or before the length that the header names.
    #[error("IPv4 packet of {have} octets, where its header needs {need}: capture whole packets")]
    Truncated {
        /// Octets received.
        have: usize,
        /// Octets wanted.
        need: usize,
    },
    /// Not IPv4.
    #[error("IP version {0}, not 4: this socket should deliver IPv4 only")]
    Version(u8),
    /// The header length is below 20 octets, or beyond the total length.
    #[error(
        "IPv4 header length of {header} octets in a packet of {total}, not 20 to the packet's length: broken sender"
    )]
    HeaderLength {
        /// IHL in octets.
        header: usize,
        /// Total Length in octets.
        total: usize,
    },
    /// A fragment: the kernel hands whole datagrams to raw sockets, so this is not one of those.
    #[error("fragment at offset {offset} octets, not a whole datagram: raise the MTU or carry fewer addresses")]
    Fragment {
        /// Fragment Offset in octets.
        offset: usize,
    },
}

/// Splits what an `AF_INET` raw socket delivers into header and payload.
///
/// The header's own checksum is not verified: the kernel has done so before a raw socket sees the
/// packet.
pub fn parse_ipv4(bytes: &[u8]) -> Result<(Ipv4Header, &[u8]), DecodeError> {
    let short = DecodeError::Truncated { have: bytes.len(), need: 20 };
    let mut reader = Reader::new(bytes);
    let [version_ihl, _tos] = reader.array().ok_or(short)?;
    if version_ihl >> 4 != 4 {
        return Err(DecodeError::Version(version_ihl >> 4));
    }
    let total = usize::from(reader.u16().ok_or(short)?);
    let _identification = reader.u16().ok_or(short)?;
    let fragment = reader.u16().ok_or(short)?;
    let [ttl, protocol] = reader.array().ok_or(short)?;
    let _checksum = reader.u16().ok_or(short)?;
    let source = Ipv4Addr::from(reader.array::<4>().ok_or(short)?);
    let destination = Ipv4Addr::from(reader.array::<4>().ok_or(short)?);

    let header = usize::from(version_ihl & 0x0f) * 4;
    if header < 20 || header > total {
        return Err(DecodeError::HeaderLength { header, total });
    }
    // Either there is more to come (MF), or this is not the beginning.
    if fragment & 0x3fff != 0 {
        return Err(DecodeError::Fragment { offset: usize::from(fragment & 0x1fff) * 8 });
    }
    let payload = bytes.get(header..total).ok_or(DecodeError::Truncated { have: bytes.len(), need: total })?;
    Ok((Ipv4Header { source, destination, ttl, protocol }, payload))
}

/// One's complement sum in the making. RFC 1071.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// Nothing summed yet.
    pub fn new() -> Self {
        Sum(0)
    }

    /// The pseudo-header of RFC 793, 3.1 (IPv4) or RFC 8200, 8.1 (IPv6) before `length` octets of
    /// `protocol`; `None` when the two addresses are of different families.
    pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Option<Self> {
        let sum = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Sum::new().octets(&source.octets()).octets(&destination.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Sum::new().octets(&source.octets()).octets(&destination.octets())
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
        };
        let length = u32::try_from(length).ok()?;
        Some(sum.octets(&length.to_be_bytes()).octets(&[0, protocol]))
    }

    /// Adds octets; an odd last one counts as if a zero followed, so only the last call may be odd.
    #[must_use]
    pub fn octets(mut self, octets: &[u8]) -> Self {
        let (pairs, rest) = octets.as_chunks::<2>();
        for pair in pairs {
            self.0 += u64::from(u16::from_be_bytes(*pair));
        }
        if let [last] = rest {
            self.0 += u64::from(u16::from_be_bytes([*last, 0]));
        }
        self
    }

    /// The checksum: the complement of the sum. Zero over octets that carry a right checksum.
    pub fn checksum(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        // The loop leaves at most 16 bits.
        !u16::try_from(sum).unwrap_or(u16::MAX)
    }
}

/// The checksum over an ICMPv6 message, which always has the pseudo-header. RFC 4443, 2.3.
pub(super) fn icmpv6_checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    Sum::pseudo_header(source.into(), destination.into(), 58, message.len())
        .unwrap_or_default()
        .octets(message)
        .checksum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// 10.0.0.1 → 224.0.0.18, TTL 255, protocol 112, 12 octets of payload, no options.
    fn packet() -> Vec<u8> {
        let mut bytes = Vec::from([0x45, 0xc0, 0, 32, 0, 1, 0, 0, 255, 112, 0, 0, 10, 0, 0, 1, 224, 0, 0, 18]);
        bytes.extend(1..=12);
        bytes
    }

    #[test]
    fn a_packet_is_split_into_header_and_payload() {
        let packet = packet();
        let (header, payload) = parse_ipv4(&packet).unwrap();
        assert_eq!(header.source, Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(header.destination, Ipv4Addr::new(224, 0, 0, 18));
        assert_eq!((header.ttl, header.protocol), (255, 112));
        assert_eq!(payload, (1..=12).collect::<Vec<u8>>());
    }

    #[test]
    fn options_are_skipped_and_padding_is_cut_off() {
        let mut bytes = packet();
        bytes.splice(20..20, [0x94, 4, 0, 0]); // router alert
        bytes[0] = 0x46;
        bytes[3] = 36;
        bytes.extend([0; 14]); // Ethernet's minimum
        assert_eq!(parse_ipv4(&bytes).unwrap().1, (1..=12).collect::<Vec<u8>>());
    }

    #[test]
    fn what_is_no_whole_ipv4_packet_is_refused_by_name() {
        let mut bytes = packet();
        assert_eq!(parse_ipv4(&bytes[..19]), Err(DecodeError::Truncated { have: 19, need: 20 }));
        assert_eq!(parse_ipv4(&bytes[..31]), Err(DecodeError::Truncated { have: 31, need: 32 }));
        bytes[6] = 0x20; // more fragments
        assert_eq!(parse_ipv4(&bytes), Err(DecodeError::Fragment { offset: 0 }));
        bytes[6] = 0x40; // don't fragment
        assert!(parse_ipv4(&bytes).is_ok());
        bytes[0] = 0x44;
        assert_eq!(parse_ipv4(&bytes), Err(DecodeError::HeaderLength { header: 16, total: 32 }));
        bytes[0] = 0x4f;
        assert_eq!(parse_ipv4(&bytes), Err(DecodeError::HeaderLength { header: 60, total: 32 }));
        bytes[0] = 0x60;
        assert_eq!(parse_ipv4(&bytes), Err(DecodeError::Version(6)));
    }

    #[test]
    fn the_sum_is_the_worked_example_of_rfc_1071() {
        // RFC 1071, 3: the octets 00 01 f2 03 f4 f5 f6 f7 sum to ddf2.
        let sum = Sum::new().octets(&[0x00, 0x01, 0xf2, 0x03]).octets(&[0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.checksum(), !0xddf2);
    }

    #[test]
    fn a_pseudo_header_of_two_families_does_not_exist() {
        let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        assert!(Sum::pseudo_header(v4, v6, 112, 8).is_none());
        assert!(Sum::pseudo_header(v6, v4, 112, 8).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse_ipv4(&bytes);
        }

        #[test]
        fn octets_with_their_checksum_sum_to_zero(mut bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if bytes.len() % 2 == 1 { bytes.push(0) }
            let checksum = Sum::new().octets(&bytes).checksum();
            prop_assert_eq!(Sum::new().octets(&bytes).octets(&checksum.to_be_bytes()).checksum(), 0);
        }
    }
}
