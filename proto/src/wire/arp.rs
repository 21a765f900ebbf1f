//! Gratuitous ARP: how the network learns where an IPv4 virtual address lives, and who else says so.

use core::net::Ipv4Addr;

use super::{Reader, Writer};
use alloc::vec::Vec;

/// EtherType of ARP.
pub const ETHERTYPE: u16 = 0x0806;

/// An ARP packet and the Ethernet header before it. RFC 826.
///
/// ```text
/// | Ethernet: destination (6) | source (6) | EtherType 0x0806 (2)     |
/// | hardware type 1 (2) | protocol type 0x0800 (2) | 6 (1) | 4 (1)    |
/// | operation (2) | sender MAC (6) | sender IP (4)                    |
/// |               | target MAC (6) | target IP (4)                    |
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// Source of the Ethernet frame; differs from `sender_mac` when a proxy or a liar speaks.
    pub frame_source: [u8; 6],
    /// Request or reply.
    pub operation: Operation,
    /// Whose hardware address it claims `sender_ip` to be at.
    pub sender_mac: [u8; 6],
    /// The address claimed; 0.0.0.0 in a probe (RFC 5227), which claims nothing.
    pub sender_ip: Ipv4Addr,
    /// The address asked for.
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// Does the sender announce its own address, rather than ask for another's? RFC 5227, 2.3.
    pub fn is_gratuitous(&self) -> bool {
        self.sender_ip == self.target_ip
    }
}

/// `ar$op`. RFC 826.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// 1.
    Request,
    /// 2.
    Reply,
}

/// Why a frame is no ARP for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends early.
    #[error("ARP frame of {have} octets, not 42 or more: capture whole frames")]
    Truncated {
        /// Octets received.
        have: usize,
    },
    /// Another protocol.
    #[error("ethertype {0:#06x}, not 0x0806: bind the socket to ARP")]
    EtherType(u16),
    /// Not IPv4 over Ethernet.
    #[error("ARP for hardware type {hardware} and protocol {protocol:#06x}, not 1 and 0x0800: ignore it")]
    Types {
        /// `ar$hrd`.
        hardware: u16,
        /// `ar$pro`.
        protocol: u16,
    },
    /// Address lengths that contradict the types.
    #[error("ARP address lengths {hardware} and {protocol}, not 6 and 4: broken sender")]
    Lengths {
        /// `ar$hln`.
        hardware: u8,
        /// `ar$pln`.
        protocol: u8,
    },
    /// Neither request nor reply.
    #[error("ARP operation {0}, not 1 (request) or 2 (reply): ignore it")]
    Operation(u16),
}

/// A gratuitous ARP request for `address` at `mac`: the whole frame, to broadcast.
///
/// A request, not a reply: RFC 5227 says that more implementations heed it (section 3). The target
/// hardware address is zero, as that of an announcement (2.3). RFC 9568, 6.4.1, wants one for every
/// IPv4 address of the virtual router.
pub fn gratuitous_request(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Writer::new();
    frame.bytes(&[0xff; 6]).bytes(&mac).u16(ETHERTYPE);
    frame.u16(1).u16(0x0800).u8(6).u8(4).u16(1);
    frame.bytes(&mac).bytes(&address.octets());
    frame.bytes(&[0; 6]).bytes(&address.octets());
    frame.finish()
}

/// A probe for `address` by the host at `mac`: the whole frame, to broadcast. It claims nothing: its sender address is
/// 0.0.0.0, so nobody's cache is changed by it. RFC 5227, 2.1.1.
pub fn probe(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Writer::new();
    frame.bytes(&[0xff; 6]).bytes(&mac).u16(ETHERTYPE);
    frame.u16(1).u16(0x0800).u8(6).u8(4).u16(1);
    frame.bytes(&mac).bytes(&Ipv4Addr::UNSPECIFIED.octets());
    frame.bytes(&[0; 6]).bytes(&address.octets());
    frame.finish()
}

/// Reads a frame from the first octet of its Ethernet header; what follows the ARP packet is padding.
pub fn parse(frame: &[u8]) -> Result<Arp, DecodeError> {
    let short = DecodeError::Truncated { have: frame.len() };
    let mut reader = Reader::new(frame);
    let _destination = reader.array::<6>().ok_or(short)?;
    let frame_source = reader.array::<6>().ok_or(short)?;
    let ethertype = reader.u16().ok_or(short)?;
    if ethertype != ETHERTYPE {
        return Err(DecodeError::EtherType(ethertype));
    }
    let (hardware, protocol) = (reader.u16().ok_or(short)?, reader.u16().ok_or(short)?);
    if (hardware, protocol) != (1, 0x0800) {
        return Err(DecodeError::Types { hardware, protocol });
    }
    let (hardware, protocol) = (reader.u8().ok_or(short)?, reader.u8().ok_or(short)?);
    if (hardware, protocol) != (6, 4) {
        return Err(DecodeError::Lengths { hardware, protocol });
    }
    let operation = match reader.u16().ok_or(short)? {
        1 => Operation::Request,
        2 => Operation::Reply,
        other => return Err(DecodeError::Operation(other)),
    };
    let sender_mac = reader.array::<6>().ok_or(short)?;
    let sender_ip = Ipv4Addr::from(reader.array::<4>().ok_or(short)?);
    let _target_mac = reader.array::<6>().ok_or(short)?;
    let target_ip = Ipv4Addr::from(reader.array::<4>().ok_or(short)?);
    Ok(Arp { frame_source, operation, sender_mac, sender_ip, target_ip })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0a];

    #[test]
    fn the_frame_is_an_announcement_octet_by_octet() {
        #[rustfmt::skip]
        let wanted = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  0x02, 0, 0, 0, 0, 0x0a,  0x08, 0x06,
            0, 1,  0x08, 0,  6,  4,  0, 1,
            0x02, 0, 0, 0, 0, 0x0a,  192, 0, 2, 1,
            0, 0, 0, 0, 0, 0,        192, 0, 2, 1,
        ];
        assert_eq!(gratuitous_request(MAC, Ipv4Addr::new(192, 0, 2, 1)), wanted);
    }

    #[test]
    fn an_announcement_is_read_back_also_with_padding() {
        let mut frame = gratuitous_request(MAC, Ipv4Addr::new(192, 0, 2, 1));
        frame.extend([0; 18]);
        let arp = parse(&frame).unwrap();
        assert!(arp.is_gratuitous());
        assert_eq!(arp.operation, Operation::Request);
        assert_eq!((arp.frame_source, arp.sender_mac), (MAC, MAC));
        assert_eq!(arp.sender_ip, Ipv4Addr::new(192, 0, 2, 1));
    }

    #[test]
    fn a_probe_claims_nothing() {
        let arp = parse(&probe(MAC, Ipv4Addr::new(192, 0, 2, 1))).unwrap();
        assert_eq!((arp.operation, arp.sender_mac), (Operation::Request, MAC));
        assert_eq!((arp.sender_ip, arp.target_ip), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(192, 0, 2, 1)));
        assert!(!arp.is_gratuitous());
    }

    #[test]
    fn a_reply_to_another_is_read_with_both_addresses() {
        let mut frame = gratuitous_request(MAC, Ipv4Addr::new(192, 0, 2, 1));
        frame[21] = 2;
        frame[41] = 9;
        let arp = parse(&frame).unwrap();
        assert_eq!((arp.operation, arp.target_ip), (Operation::Reply, Ipv4Addr::new(192, 0, 2, 9)));
        assert!(!arp.is_gratuitous());
    }

    #[test]
    fn what_is_no_arp_for_ipv4_is_refused_by_name() {
        let frame = gratuitous_request(MAC, Ipv4Addr::new(192, 0, 2, 1));
        let with = |at: usize, octet: u8| {
            let mut frame = frame.clone();
            frame[at] = octet;
            parse(&frame)
        };
        assert_eq!(parse(&frame[..41]), Err(DecodeError::Truncated { have: 41 }));
        assert_eq!(with(13, 0), Err(DecodeError::EtherType(0x0800)));
        assert_eq!(with(15, 6), Err(DecodeError::Types { hardware: 6, protocol: 0x0800 }));
        assert_eq!(with(19, 16), Err(DecodeError::Lengths { hardware: 6, protocol: 16 }));
        assert_eq!(with(21, 3), Err(DecodeError::Operation(3)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn parse_undoes_emit(mac in any::<[u8; 6]>(), address in any::<[u8; 4]>()) {
            let address = Ipv4Addr::from(address);
            let arp = parse(&gratuitous_request(mac, address)).unwrap();
            prop_assert_eq!((arp.sender_mac, arp.sender_ip, arp.target_ip), (mac, address, address));
        }
    }
}
