//! Advertisements: VRRPv2 (RFC 3768) and VRRPv3 (RFC 9568), to and from octets.
//!
//! What must stay true: nothing that [`parse`] lets through has failed a check that RFC 3768, 7.1, or
//! RFC 9568, 7.1, makes a MUST and that needs no more than the packet; and `parse(emit(x)) == x`.
//!
//! | check | RFC 3768 | RFC 9568 | here |
//! |---|---|---|---|
//! | TTL or hop limit 255 | 7.1 | 5.1.1.3, 5.1.2.3, 7.1 | [`parse`], multicast only: unicast peers may be routed to |
//! | version, type | 7.1 | 7.1 | [`parse`] |
//! | length | 7.1 | 7.1 | [`parse`] |
//! | checksum | 7.1 | 5.2.8, 7.1 | [`parse`] |
//! | signature | none | none | [`hmac::Trailer`] |
//! | authentication type | 7.1 | none in v3 | [`parse`]: 0 and 1, [`ah::parse`]: 2; whether it is the right one is the instance's business |
//! | VRID, version and addresses are ours | 7.1 | 7.1 | [`crate::vrrp::instance`] |

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::ip::Sum;
use super::{Reader, Writer};
use crate::id::{Priority, Vrid};
use crate::settings::VrrpVersion;
use crate::time::Centis;

pub mod ah;
pub mod hmac;

/// IP protocol number. RFC 9568, 5.1.1.4.
pub const PROTOCOL: u8 = 112;
/// Where IPv4 Advertisements go. RFC 9568, 5.1.1.2.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where IPv6 Advertisements go. RFC 9568, 5.1.2.2.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// How many octets after the packet are still padding: no Ethernet payload is padded beyond 46. A trailer with an
/// HMAC fits as well.
const MAX_TRAILING: usize = 46;
const TYPE_ADVERTISEMENT: u8 = 1;
const AUTH_NONE: u8 = 0;
const AUTH_SIMPLE: u8 = 1;
const AUTH_HEADER: u8 = 2;

/// One VRRP Advertisement, either version.
///
/// Version 3, RFC 9568, 5.2:
/// ```text
///  0                   1                   2                   3
/// |Version| Type  | Virtual Rtr ID|   Priority    |Count IPvX Addr|
/// |(rsvd) | Max Advertise Interval|           Checksum            |
/// |                        IPvX Address(es)                       |
/// ```
/// Version 2, RFC 3768, 5.1 (the authentication data of RFC 2338 is always there):
/// ```text
/// |Version| Type  | Virtual Rtr ID|   Priority    | Count IP Addrs|
/// |   Auth Type   |   Adver Int   |           Checksum            |
/// |                         IP Address(es)                        |
/// |                   Authentication Data (8)                     |
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertisement {
    /// Version of the packet.
    pub version: VrrpVersion,
    /// Virtual router.
    pub vrid: Vrid,
    /// Sender's priority, 0 when it resigns.
    pub priority: Priority,
    /// Sender's Advertisement_Interval (v2: whole seconds; v3: centiseconds).
    pub advert_int: Duration,
    /// Virtual addresses, all of one family.
    pub addresses: Vec<IpAddr>,
    /// How the sender proves that it is one of the virtual router's; version 3 has no way but a signature.
    pub auth: Auth,
}

/// Authentication of VRRPv2, RFC 2338, 5.3.6; or a signature, in either version: see [`hmac`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Type 0.
    None,
    /// Type 1: the password in clear, padded with zeros.
    Simple([u8; 8]),
    /// Type 2, an IP Authentication Header, which was found right; see [`ah`].
    Header {
        /// Sequence Number of the header: greater with each Advertisement, whoever of the virtual router's nodes
        /// sends it.
        sequence: u32,
    },
    /// Type 2 in a header that was not compared with a key, or that no key of ours made. Never sent.
    Unproven,
    /// In a trailer that a key of ours has made. Sent by [`hmac::emit`], of an Advertisement with [`Auth::None`].
    Signed {
        /// Greater with each Advertisement of its sender.
        stamp: hmac::Stamp,
        /// Whole seconds that it is behind our wall clock; `None`: we don't look at it.
        behind: Option<i64>,
    },
    /// Where a signature was looked for: there is no good one. Never sent.
    Unsigned(hmac::Fault),
}

impl Auth {
    /// The number that the packet has for it in version 2. RFC 2338, 5.3.6.
    pub fn kind(self) -> u8 {
        match self {
            Auth::None | Auth::Signed { .. } | Auth::Unsigned(_) => AUTH_NONE,
            Auth::Simple(_) => AUTH_SIMPLE,
            Auth::Header { .. } | Auth::Unproven => AUTH_HEADER,
        }
    }
}

/// What the checksum of a VRRPv3 packet over IPv4 covers besides the packet.
///
/// RFC 9568, 5.2.8, has no pseudo-header there; RFC 5798 could be read either way, and keepalived has
/// one by default. Both are accepted on receipt. IPv6 always has it, v2 never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// With the pseudo-header: what keepalived sends and verifies unless told otherwise.
    #[default]
    PseudoHeader,
    /// Without.
    Plain,
}

/// Why an Advertisement can't be put into octets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Version 2 is for IPv4.
    #[error("VRRPv2 from {0}, which is not IPv4: set version 3")]
    Family(IpAddr),
    /// Source, destination and virtual addresses are of one family.
    #[error("{found} among addresses of the family of {wanted}: move it to an instance of its own")]
    MixedFamilies {
        /// The stranger.
        found: IpAddr,
        /// The source address.
        wanted: IpAddr,
    },
    /// The count is one octet, and v3 wants one address at least.
    #[error("{0} virtual addresses, where an advertisement carries 1 to 255: split the instance")]
    Count(usize),
    /// Not in 1..=255 s (v2) or 1..=4095 cs (v3).
    #[error("advertisement interval {0:?}, not whole seconds from 1 to 255 (v2) or 10 ms to 40.95 s (v3): change it")]
    Interval(Duration),
    /// Version 3 has no authentication. RFC 9568, 9.
    #[error("a password in VRRPv3, which has no field for it: drop it or set version 2")]
    PasswordInV3,
    /// [`Auth::Unproven`], [`ah::emit`] of what has no number, or [`hmac::emit`] of what has another proof.
    #[error("an advertisement without the number of its Authentication Header: set auth_type AH and a password")]
    Unproven,
}

/// Why octets are no Advertisement for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The packet ends before what its header promises.
    #[error("{have} octets, where a packet of {count} addresses needs {need}: capture or MTU cuts it short")]
    Truncated {
        /// Octets received.
        have: usize,
        /// Octets wanted.
        need: usize,
        /// Count IPvX Addr; 0 when not even that was there.
        count: u8,
    },
    /// More octets than padding explains.
    #[error("{have} octets, where a packet of {count} addresses has {need}: the count is wrong")]
    Trailing {
        /// Octets received.
        have: usize,
        /// Octets wanted.
        need: usize,
        /// Count IPvX Addr.
        count: u8,
    },
    /// RFC 9568, 7.1.
    #[error("hop limit {0}, not 255: the packet crossed a router; use unicast peers for that")]
    HopLimit(u8),
    /// RFC 9568, 7.1.
    #[error("VRRP version {0}, not 2 or 3: upgrade or silence the sender")]
    Version(u8),
    /// RFC 3768 knows IPv4 only.
    #[error("VRRP version 2 over IPv6, not version 3: set the sender to version 3")]
    V2OverIpv6,
    /// RFC 9568, 5.2.2: unknown types are discarded.
    #[error("VRRP type {0}, not 1 (advertisement): ignore it")]
    Type(u8),
    /// RFC 9568, 5.2.3.
    #[error("virtual router id 0, not 1 to 255: correct the sender")]
    Vrid,
    /// RFC 9568, 5.2.5: a count of 0 is ignored.
    #[error("no virtual addresses, not 1 to 255: give the sender's instance an address")]
    NoAddresses,
    /// RFC 9568, 5.2.7; RFC 3768, 5.3.7.
    #[error("advertisement interval 0, not 1 or more: correct the sender")]
    Interval,
    /// RFC 3768, 5.3.6, and RFC 2338, 5.3.6.
    #[error(
        "authentication type {0}, not 0 (none) or 1 (simple password), nor 2 in an Authentication Header: correct the sender"
    )]
    AuthType(u8),
    /// RFC 9568, 5.2.8.
    #[error("checksum {found:#06x}, not {wanted:#06x}: damaged, or the sender's checksum mode is unknown")]
    Checksum {
        /// As received.
        found: u16,
        /// As computed, for v3 over IPv4 with the pseudo-header.
        wanted: u16,
    },
    /// The IP header's two addresses are of different families.
    #[error("source and destination of different families, not of one: broken capture")]
    MixedFamilies,
}

impl DecodeError {
    /// Whether it says that an Authentication Header proves it, and has none.
    pub fn is_auth_of_a_header(&self) -> bool {
        *self == DecodeError::AuthType(AUTH_HEADER)
    }

    /// What is wrong, without the numbers: the same words for all packets with the same fault.
    pub fn fault(&self) -> &'static str {
        match self {
            DecodeError::Truncated { .. } => "it is cut short",
            DecodeError::Trailing { .. } => "it is too long",
            DecodeError::HopLimit(_) => "its TTL or hop limit is not 255",
            DecodeError::Version(_) => "its version is neither 2 nor 3",
            DecodeError::V2OverIpv6 => "it is version 2 over IPv6",
            DecodeError::Type(_) => "its type is unknown",
            DecodeError::Vrid => "its virtual router id is 0",
            DecodeError::NoAddresses => "it has no virtual address",
            DecodeError::Interval => "its interval is 0",
            DecodeError::AuthType(_) => "its authentication type is unknown",
            DecodeError::Checksum { .. } => "its checksum is wrong",
            DecodeError::MixedFamilies => "its addresses are of two families",
        }
    }
}

impl Advertisement {
    /// Octets from the first of the VRRP header, checksummed for a packet from `source` to
    /// `destination`. `checksum` matters for v3 over IPv4 alone.
    ///
    /// A v3 interval is rounded to the nearest centisecond; a v2 interval must be whole seconds.
    ///
    /// # Errors
    /// [`EncodeError`] when the wire has no room for what the advertisement says.
    pub fn emit(&self, source: IpAddr, destination: IpAddr, checksum: Checksum) -> Result<Vec<u8>, EncodeError> {
        if self.version == VrrpVersion::V2 && !source.is_ipv4() {
            return Err(EncodeError::Family(source));
        }
        let stranger = |a: &&IpAddr| a.is_ipv4() != source.is_ipv4();
        if let Some(found) = core::iter::once(&destination).chain(&self.addresses).find(stranger) {
            return Err(EncodeError::MixedFamilies { found: *found, wanted: source });
        }
        let length = self.addresses.len();
        let count = match (u8::try_from(length), self.version) {
            (Ok(0), VrrpVersion::V3) | (Err(_), _) => return Err(EncodeError::Count(length)),
            (Ok(count), _) => count,
        };
        let version = match self.version {
            VrrpVersion::V2 => 2,
            VrrpVersion::V3 => 3,
        };
        let mut packet = Writer::new();
        packet.u8(version << 4 | TYPE_ADVERTISEMENT).u8(self.vrid.get()).u8(self.priority.0).u8(count);
        packet.u16(self.fifth_and_sixth_octet()?).u16(0);
        for address in &self.addresses {
            match address {
                IpAddr::V4(address) => packet.bytes(&address.octets()),
                IpAddr::V6(address) => packet.bytes(&address.octets()),
            };
        }
        if self.version == VrrpVersion::V2 {
            // An Authentication Header stands outside; the field is there all the same, and means nothing.
            packet.bytes(&if let Auth::Simple(password) = self.auth { password } else { [0; 8] });
        }
        let mut packet = packet.finish();
        let covered = match (self.version, source) {
            (VrrpVersion::V2, _) => Checksum::Plain,
            (VrrpVersion::V3, IpAddr::V4(_)) => checksum,
            (VrrpVersion::V3, IpAddr::V6(_)) => Checksum::PseudoHeader,
        };
        let sum = checksum_of(&packet, source, destination, covered)
            .ok_or(EncodeError::MixedFamilies { found: destination, wanted: source })?;
        if let Some(field) = packet.get_mut(6..8) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        Ok(packet)
    }

    /// v2: Auth Type and Adver Int. v3: four reserved bits and Max Advertise Interval.
    fn fifth_and_sixth_octet(&self) -> Result<u16, EncodeError> {
        let broken = EncodeError::Interval(self.advert_int);
        match self.version {
            VrrpVersion::V2 => {
                let seconds = u8::try_from(self.advert_int.as_secs()).map_err(|_| broken.clone())?;
                if seconds == 0 || self.advert_int.subsec_nanos() != 0 {
                    return Err(broken);
                }
                let auth_type = match self.auth {
                    Auth::None => AUTH_NONE,
                    Auth::Simple(_) => AUTH_SIMPLE,
                    Auth::Header { .. } => AUTH_HEADER,
                    Auth::Unproven | Auth::Signed { .. } | Auth::Unsigned(_) => return Err(EncodeError::Unproven),
                };
                Ok(u16::from_be_bytes([auth_type, seconds]))
            }
            VrrpVersion::V3 if self.auth != Auth::None => Err(EncodeError::PasswordInV3),
            VrrpVersion::V3 => Centis::from_duration(self.advert_int).map(Centis::get).ok_or(broken),
        }
    }
}

/// Reads an Advertisement from the first octet of its VRRP header.
///
/// `source`, `destination` and `hop_limit` are those of the IP header. With `unicast` the hop limit is
/// not checked: VRRP over unicast is outside the RFCs, and its peers may be routed to.
///
/// # Errors
/// [`DecodeError`]: the packet is to be discarded and must not touch a timer.
pub fn parse(
    bytes: &[u8],
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    unicast: bool,
) -> Result<Advertisement, DecodeError> {
    match read(bytes, source, destination, hop_limit, unicast)? {
        // It claims to be proven by a header that isn't there.
        Advertisement { auth: Auth::Unproven, .. } => Err(DecodeError::AuthType(AUTH_HEADER)),
        advertisement => Ok(advertisement),
    }
}

/// [`parse`], with authentication type 2 as [`Auth::Unproven`].
fn read(
    bytes: &[u8],
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    unicast: bool,
) -> Result<Advertisement, DecodeError> {
    if hop_limit != 255 && !unicast {
        return Err(DecodeError::HopLimit(hop_limit));
    }
    let short = DecodeError::Truncated { have: bytes.len(), need: 8, count: 0 };
    let mut reader = Reader::new(bytes);
    let [version_type, vrid, priority, count] = reader.array().ok_or(short)?;
    let [fifth, sixth] = reader.array().ok_or(short)?;
    let found = reader.u16().ok_or(short)?;
    let version = match version_type >> 4 {
        2 if source.is_ipv6() => return Err(DecodeError::V2OverIpv6),
        2 => VrrpVersion::V2,
        3 => VrrpVersion::V3,
        other => return Err(DecodeError::Version(other)),
    };
    if version_type & 0x0f != TYPE_ADVERTISEMENT {
        return Err(DecodeError::Type(version_type & 0x0f));
    }
    let packet = whole_packet(bytes, version, source, count)?;
    verify(packet, version, source, destination, found)?;

    let vrid = Vrid::new(vrid).ok_or(DecodeError::Vrid)?;
    if count == 0 && version == VrrpVersion::V3 {
        return Err(DecodeError::NoAddresses);
    }
    let mut addresses = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let address = match source {
            IpAddr::V4(_) => reader.array::<4>().map(IpAddr::from),
            IpAddr::V6(_) => reader.array::<16>().map(IpAddr::from),
        };
        addresses.push(address.ok_or(short)?);
    }
    let (advert_int, auth) = match version {
        VrrpVersion::V2 => {
            let data = reader.array::<8>().ok_or(short)?;
            let auth = match fifth {
                AUTH_NONE => Auth::None, // the data is there, and means nothing (RFC 3768, 5.3.10)
                AUTH_SIMPLE => Auth::Simple(data),
                AUTH_HEADER => Auth::Unproven,
                other => return Err(DecodeError::AuthType(other)),
            };
            (Duration::from_secs(u64::from(sixth)), auth)
        }
        VrrpVersion::V3 => {
            // The reserved four bits are ignored (RFC 9568, 5.2.6).
            let centis = Centis::new(u16::from_be_bytes([fifth & 0x0f, sixth])).ok_or(DecodeError::Interval)?;
            (Duration::from(centis), Auth::None)
        }
    };
    if advert_int.is_zero() {
        return Err(DecodeError::Interval);
    }
    Ok(Advertisement { version, vrid, priority: Priority(priority), advert_int, addresses, auth })
}

/// Octets of an Advertisement with so many addresses.
fn length(version: VrrpVersion, source: IpAddr, addresses: usize) -> usize {
    let address = if source.is_ipv4() { 4 } else { 16 };
    let authentication = match version {
        VrrpVersion::V2 => 8,
        VrrpVersion::V3 => 0,
    };
    8 + addresses * address + authentication
}

/// What the checksum covers: the packet without the padding after it.
fn whole_packet(bytes: &[u8], version: VrrpVersion, source: IpAddr, count: u8) -> Result<&[u8], DecodeError> {
    let (have, need) = (bytes.len(), length(version, source, count.into()));
    if source.is_ipv6() && have == need + hmac::TRAILER {
        return Ok(bytes); // the checksum covers a trailer there
    }
    if have > need + MAX_TRAILING {
        return Err(DecodeError::Trailing { have, need, count });
    }
    bytes.get(..need).ok_or(DecodeError::Truncated { have, need, count })
}

fn verify(
    packet: &[u8],
    version: VrrpVersion,
    source: IpAddr,
    destination: IpAddr,
    found: u16,
) -> Result<(), DecodeError> {
    let accepted: &[Checksum] = match (version, source) {
        (VrrpVersion::V2, _) => &[Checksum::Plain],
        (VrrpVersion::V3, IpAddr::V4(_)) => &[Checksum::PseudoHeader, Checksum::Plain],
        (VrrpVersion::V3, IpAddr::V6(_)) => &[Checksum::PseudoHeader],
    };
    for covered in accepted {
        if checksum_of(packet, source, destination, *covered).ok_or(DecodeError::MixedFamilies)? == 0 {
            return Ok(());
        }
    }
    let mut cleared = Vec::from(packet);
    if let Some(field) = cleared.get_mut(6..8) {
        field.fill(0);
    }
    let covered = accepted.first().copied().unwrap_or_default();
    let wanted = checksum_of(&cleared, source, destination, covered).ok_or(DecodeError::MixedFamilies)?;
    Err(DecodeError::Checksum { found, wanted })
}

/// `None` when a pseudo-header is wanted and the two addresses are of different families.
fn checksum_of(packet: &[u8], source: IpAddr, destination: IpAddr, covered: Checksum) -> Option<u16> {
    let before = match covered {
        Checksum::PseudoHeader => Sum::pseudo_header(source, destination, PROTOCOL, packet.len())?,
        Checksum::Plain => Sum::new(),
    };
    Some(before.octets(packet).checksum())
}

/// The virtual router's MAC: 00-00-5e-00-01-VRID for IPv4, 00-00-5e-00-02-VRID for IPv6.
///
/// RFC 9568, 7.3.
pub const fn virtual_mac(vrid: Vrid, ipv6: bool) -> [u8; 6] {
    [0x00, 0x00, 0x5e, 0x00, if ipv6 { 0x02 } else { 0x01 }, vrid.get()]
}

#[cfg(test)]
mod tests;
