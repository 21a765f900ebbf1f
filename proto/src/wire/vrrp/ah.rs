//! Advertisements in an IP Authentication Header: VRRPv2's authentication type 2 (RFC 2338, 5.3.6), with
//! HMAC-MD5-96 (RFC 2402, RFC 2403), as keepalived speaks it.
//!
//! What must stay true: [`Sealed::open`] alone makes an [`Auth::Header`] out of what was received, and only if the
//! key has made the packet's check value; and `parse(emit(x)).open(key) == x`.
//!
//! What keepalived does that RFC 2402 leaves open, or has otherwise, seen on the wire of its version 2.2.7:
//!
//! | | RFC 2402 | keepalived, and here |
//! |---|---|---|
//! | Security Parameters Index | agreed upon (2.4) | the sender's IPv4 address; another is refused |
//! | TTL in the check value | zero: it changes on the way (3.3.3.1.1.1) | multicast: as it is, which is 255; unicast: zero |
//! | TOS, flags, header checksum there | zero | zero |
//! | Identification there | as it is | as it is: who sends must choose it |
//! | Sequence Number | of each sender | of the virtual router; the same in the copies to several unicast peers |

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

use super::{Advertisement, Auth, Checksum, EncodeError};
use crate::wire::ip::{self, Sum};
use crate::wire::{Reader, Writer};

/// IP protocol number. RFC 2402, 2.
pub const PROTOCOL: u8 = 51;

/// Octets of an IPv4 header without options.
const IP_HEADER: usize = 20;
/// Octets of the check value: 96 bits. RFC 2403, 2.
const CHECK: usize = 12;
/// Octets of the header: 12 fixed ones and the check value. RFC 2402, 2.
const HEADER: usize = 12 + CHECK;
/// The header's length in words of 32 bits, less 2. RFC 2402, 2.2.
const LENGTH: u8 = 4;
/// Internetwork control, as all Advertisements have it.
const TRAFFIC_CLASS: u8 = 0xc0;
const TTL: u8 = 255;

/// Why a packet is no Advertisement in an Authentication Header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not even an IPv4 packet.
    #[error("no IPv4 packet before the Authentication Header")]
    Ip(#[from] ip::DecodeError),
    /// Another protocol.
    #[error("IP protocol {0}, not 51 (AH): this socket should deliver AH only")]
    Protocol(u8),
    /// Nobody sends VRRP with them, and some of them change on the way.
    #[error("IPv4 options before an Authentication Header: correct the sender")]
    Options,
    /// The packet ends in the header.
    #[error("{have} octets, where an Authentication Header has {HEADER}: capture or MTU cuts it short")]
    Truncated {
        /// Octets after the IPv4 header.
        have: usize,
    },
    /// Some other thing is protected.
    #[error("protocol {0} in the Authentication Header, not 112 (VRRP): it is for somebody else")]
    NextHeader(u8),
    /// Another algorithm.
    #[error("Authentication Header of length {0}, not {LENGTH} (HMAC-MD5-96): set auth_type AH on the sender")]
    Length(u8),
    /// Not the sender's address.
    #[error(
        "Security Parameters Index {found:#010x}, not the sender's address {wanted}: it was translated, or is no VRRP"
    )]
    Spi {
        /// As received.
        found: u32,
        /// The source address.
        wanted: Ipv4Addr,
    },
    /// What is protected is no Advertisement.
    #[error("no advertisement in the Authentication Header")]
    Advertisement(#[from] super::DecodeError),
    /// What is protected says that it is not.
    #[error("an advertisement in an Authentication Header whose authentication type is not 2: correct the sender")]
    AuthType,
}

/// An Advertisement in its Authentication Header, whose check value nobody has compared yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    source: IpAddr,
    destination: IpAddr,
    /// Its authentication is [`Auth::Unproven`].
    advertisement: Advertisement,
    sequence: u32,
    check: [u8; CHECK],
    /// The packet as the check value covers it.
    covered: Vec<u8>,
}

impl Sealed {
    /// Source address of the IP header.
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// Destination address of the IP header.
    pub fn destination(&self) -> IpAddr {
        self.destination
    }

    /// What it says, as [`Auth::Unproven`].
    pub fn unproven(&self) -> &Advertisement {
        &self.advertisement
    }

    /// What it says: with its number, as [`Auth::Header`], if `key` has made the check value, or else as
    /// [`Auth::Unproven`]. The comparison takes the same time wherever they differ.
    pub fn open(self, key: &[u8; 8]) -> Advertisement {
        let good = mac(key, &self.covered).is_some_and(|mac| mac.verify_truncated_left(&self.check).is_ok());
        let auth = if good { Auth::Header { sequence: self.sequence } } else { Auth::Unproven };
        Advertisement { auth, ..self.advertisement }
    }
}

/// The whole IPv4 packet, from the first octet of its header, of an Advertisement with a number.
///
/// ```text
/// | IPv4 header: TOS 0xc0, TTL 255, protocol 51, Identification: the number's lower half |
/// |  Next (112)   |  Length (4)   |              zero             |
/// |               Security Parameters Index: the source           |
/// |                        Sequence Number                        |
/// |                Integrity Check Value (3 words)                |
/// | Advertisement, version 2                                      |
/// ```
///
/// # Errors
/// [`EncodeError`]: what [`Advertisement::emit`] says, or that it has no number.
pub fn emit(
    advertisement: &Advertisement,
    source: IpAddr,
    destination: IpAddr,
    key: &[u8; 8],
) -> Result<Vec<u8>, EncodeError> {
    let Auth::Header { sequence } = advertisement.auth else { return Err(EncodeError::Unproven) };
    let body = advertisement.emit(source, destination, Checksum::Plain)?;
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) else {
        return Err(EncodeError::Family(source));
    };
    let count = EncodeError::Count(advertisement.addresses.len());
    let total = u16::try_from(IP_HEADER + HEADER + body.len()).map_err(|_| count)?;
    let [_, _, high, low] = sequence.to_be_bytes();
    // The kernel would choose another one for 0, which the check value would not cover.
    let identification = u16::from_be_bytes([high, low]).max(1);
    let mut packet = Writer::new();
    packet.u8(0x45).u8(TRAFFIC_CLASS).u16(total).u16(identification).u16(0);
    packet.u8(TTL).u8(PROTOCOL).u16(0).bytes(&source.octets()).bytes(&destination.octets());
    packet.u8(super::PROTOCOL).u8(LENGTH).u16(0).bytes(&source.octets()).u32(sequence);
    packet.bytes(&[0; CHECK]).bytes(&body);
    let mut packet = packet.finish();

    let covered = covered(&packet, destination);
    let check = mac(key, &covered).map(|mac| mac.finalize().into_bytes());
    let check = check.as_deref().and_then(|check| check.first_chunk::<CHECK>()).copied().unwrap_or_default();
    put(&mut packet, IP_HEADER + HEADER - CHECK, &check);
    let sum = packet.get(..IP_HEADER).map(|header| Sum::new().octets(header).checksum()).unwrap_or_default();
    put(&mut packet, 10, &sum.to_be_bytes());
    Ok(packet)
}

/// Reads a packet from the first octet of its IPv4 header. Nothing of it is proven before [`Sealed::open`].
///
/// As in [`super::parse`], the TTL of a unicast packet is not checked.
///
/// # Errors
/// [`DecodeError`]: the packet is to be discarded and must not touch a timer.
pub fn parse(packet: &[u8]) -> Result<Sealed, DecodeError> {
    let (header, payload) = ip::parse_ipv4(packet)?;
    if header.protocol != PROTOCOL {
        return Err(DecodeError::Protocol(header.protocol));
    }
    if packet.first() != Some(&0x45) {
        return Err(DecodeError::Options);
    }
    let short = DecodeError::Truncated { have: payload.len() };
    let mut reader = Reader::new(payload);
    let [next, length, _, _] = reader.array().ok_or(short)?;
    let (spi, sequence) = (reader.u32().ok_or(short)?, reader.u32().ok_or(short)?);
    let check = reader.array::<CHECK>().ok_or(short)?;
    if next != super::PROTOCOL {
        return Err(DecodeError::NextHeader(next));
    }
    if length != LENGTH {
        return Err(DecodeError::Length(length));
    }
    if spi != u32::from(header.source) {
        return Err(DecodeError::Spi { found: spi, wanted: header.source });
    }
    let body = reader.slice(reader.remaining()).unwrap_or_default();
    let (source, destination) = (header.source.into(), header.destination.into());
    let unicast = !header.destination.is_multicast();
    let advertisement = super::read(body, source, destination, header.ttl, unicast)?;
    if advertisement.auth != Auth::Unproven {
        return Err(DecodeError::AuthType);
    }
    let whole = packet.get(..IP_HEADER + payload.len()).unwrap_or(packet);
    let covered = covered(whole, header.destination);
    Ok(Sealed { source, destination, advertisement, sequence, check, covered })
}

/// The packet with what may change on the way, and the check value itself, as zeros.
fn covered(packet: &[u8], destination: Ipv4Addr) -> Vec<u8> {
    let mut covered = Vec::from(packet);
    put(&mut covered, 1, &[0]); // TOS
    put(&mut covered, 6, &[0; 2]); // flags, fragment offset
    if !destination.is_multicast() {
        put(&mut covered, 8, &[0]); // TTL
    }
    put(&mut covered, 10, &[0; 2]); // checksum
    put(&mut covered, IP_HEADER + HEADER - CHECK, &[0; CHECK]);
    covered
}

fn put(packet: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = packet.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// `None` never: HMAC takes keys of any length (RFC 2104, 2), which the types don't say.
fn mac(key: &[u8; 8], bytes: &[u8]) -> Option<Hmac<Md5>> {
    let mut mac = Hmac::<Md5>::new_from_slice(key).ok()?;
    mac.update(bytes);
    Some(mac)
}

#[cfg(test)]
mod tests;
