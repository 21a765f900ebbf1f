//! Advertisements with a trailer that signs them: `auth_hmac` of keepalived 2.4.2 and later
//! (draft-cassen-vrrp-auth-hmac), over version 2 and 3, IPv4 and IPv6, multicast and unicast.
//!
//! What must stay true: [`Trailer::prove`] alone makes an [`Auth::Signed`] out of what was received, and only if a key
//! of ours has made the value; and what [`emit`] makes, the same key proves.
//!
//! As it was seen on the wire of keepalived 2.4.3:
//! ```text
//! | Advertisement, its authentication type 0 in version 2         |
//! |  Scheme (1)   |    Key id     |         reserved (0)          |
//! |                  UTC, seconds since 1970                      |
//! |    fraction, 1/65536 s        |            counter            |
//! |                 HMAC-SHA256, first 16 octets                  |
//! ```
//! | the HMAC covers, in this order | |
//! |---|---|
//! | family (4 or 6), version, VRID, 0, the source in 16 octets (IPv4 first, then zeros) | so that nothing signed passes for another router's, or another sender's |
//! | the Advertisement and the trailer | the VRRP checksum and the HMAC read as zeros |
//!
//! The destination is not covered: all copies to unicast peers are alike. The VRRP checksum covers the Advertisement
//! alone over IPv4, and the trailer too over IPv6, where the kernel makes it over all that follows the header.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Advertisement, Auth, Checksum, EncodeError, PROTOCOL};
use crate::settings::VrrpVersion;
use crate::wire::ip::Sum;
use crate::wire::{Reader, Writer};

/// Octets of the trailer.
pub const TRAILER: usize = 28;
/// Octets of the truncated HMAC.
const VALUE: usize = 16;
/// The scheme: HMAC-SHA256, truncated to 128 bits.
const SCHEME: u8 = 1;
/// Where the VRRP checksum stands in an Advertisement.
const CHECKSUM: core::ops::Range<usize> = 6..8;

/// A key: 32 to 64 octets. It is never shown.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Key(#[cfg_attr(feature = "serde", serde(with = "crate::recording::hex"))] Vec<u8>);

impl Key {
    /// `None`: not 32 to 64 octets.
    pub fn new(octets: &[u8]) -> Option<Self> {
        (32..=64).contains(&octets.len()).then(|| Key(octets.to_vec()))
    }

    /// What no hash of which shall be told to others without something beside it.
    pub(crate) fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The 64 bits that order what one sender signs: UTC in seconds (32 bits), 1/65536 s (16 bits), a counter (16 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Of this time, since 1970 in UTC.
    pub fn of(utc: Duration) -> Self {
        let fraction = (u64::from(utc.subsec_nanos()) << 16) / 1_000_000_000;
        Stamp(utc.as_secs() << 32 | fraction << 16)
    }

    /// Whether it comes after the other one, around the end of the numbers too (RFC 1982, 3.2).
    pub fn is_after(self, other: Stamp) -> bool {
        self.0 != other.0 && self.0.wrapping_sub(other.0) < 1 << 63
    }

    /// The one after.
    fn next(self) -> Self {
        Stamp(self.0.wrapping_add(1))
    }

    /// By how many seconds it is ahead of the other one; below zero: behind. Around the end of the 32 bits too.
    pub fn ahead_of(self, other: Stamp) -> i64 {
        let ahead = (self.0 >> 32).wrapping_sub(other.0 >> 32) & 0xffff_ffff;
        let ahead = i64::try_from(ahead).unwrap_or(0);
        if ahead < 1 << 31 { ahead } else { ahead - (1 << 32) }
    }
}

/// The stamps of one sender, so that they grow although the wall clock may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamps {
    last: Option<Stamp>,
}

impl Stamps {
    /// The stamp of the next Advertisement at this time, since 1970 in UTC.
    ///
    /// It is above all before, but for one case: with a `window` a clock that was set back by more than that is
    /// followed, since who looks at the clock would discard all that we send until it has come so far again.
    pub fn next(&mut self, utc: Duration, window: Option<Duration>) -> Stamp {
        let clock = Stamp::of(utc);
        let next = match self.last {
            None => clock,
            Some(last) if clock.is_after(last) => clock,
            Some(last) => match window {
                Some(window) if last.ahead_of(clock) > seconds(window) => clock,
                Some(_) | None => last.next(),
            },
        };
        self.last = Some(next);
        next
    }
}

/// Whole seconds.
pub(crate) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Why a signature proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Fault {
    /// There is none.
    #[error("it is not signed")]
    Missing,
    /// Of another scheme, or with what is reserved.
    #[error("its signature is of a kind that is unknown here")]
    Scheme,
    /// Its number is none of ours.
    #[error("it is signed with key {0}, which is none of ours")]
    Key(u8),
    /// That key did not make it.
    #[error("its signature is not that of our key {0}")]
    Wrong(u8),
}

/// A trailer whose HMAC nobody has compared yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    scheme: u8,
    key: u8,
    reserved: u16,
    stamp: Stamp,
    value: [u8; VALUE],
    /// The octets that the HMAC covers.
    covered: Vec<u8>,
}

impl Trailer {
    /// What stands after the Advertisement, where that is as long as a trailer: no padding is (a packet over IPv6 has
    /// none, and the shortest one over IPv4 is padded with 14 octets at most).
    pub fn read(advertisement: &Advertisement, source: IpAddr, bytes: &[u8]) -> Option<Self> {
        let length = octets(advertisement, source);
        let mut reader = Reader::new(bytes.get(length..).filter(|rest| rest.len() == TRAILER)?);
        let [scheme, key] = reader.array()?;
        let (reserved, stamp) = (reader.u16()?, Stamp(reader.u64()?));
        let value = reader.array::<VALUE>()?;
        let covered = covered(bytes, advertisement, source)?;
        Some(Trailer { scheme, key, reserved, stamp, value, covered })
    }

    /// The proof of the Advertisement, if one of these keys has made it; `utc` since 1970, by our clock. The comparison
    /// takes the same time wherever they differ.
    pub fn prove(&self, keys: &[(u8, Key)], utc: Option<Duration>) -> Auth {
        if self.scheme != SCHEME || self.reserved != 0 {
            return Auth::Unsigned(Fault::Scheme);
        }
        let Some((_, key)) = keys.iter().find(|(number, _)| *number == self.key) else {
            return Auth::Unsigned(Fault::Key(self.key));
        };
        let good = mac(key, &self.covered).is_some_and(|mac| mac.verify_truncated_left(&self.value).is_ok());
        if !good {
            return Auth::Unsigned(Fault::Wrong(self.key));
        }
        Auth::Signed { stamp: self.stamp, behind: utc.map(|utc| Stamp::of(utc).ahead_of(self.stamp)) }
    }
}

/// With what an Advertisement is signed.
#[derive(Debug, Clone, Copy)]
pub struct Signature<'a> {
    /// Number of the key.
    pub number: u8,
    /// The key.
    pub key: &'a Key,
    /// See [`Stamps`].
    pub stamp: Stamp,
}

/// [`Advertisement::emit`], with a trailer behind. The stamp must be above those of all others from this source.
///
/// # Errors
/// [`EncodeError`]: what [`Advertisement::emit`] says, or that it has an authentication of its own.
pub fn emit(
    advertisement: &Advertisement,
    source: IpAddr,
    destination: IpAddr,
    checksum: Checksum,
    signature: Signature<'_>,
) -> Result<Vec<u8>, EncodeError> {
    if advertisement.auth != Auth::None {
        return Err(EncodeError::Unproven);
    }
    let mut trailer = Writer::new();
    trailer.u8(SCHEME).u8(signature.number).u16(0).u64(signature.stamp.0).bytes(&[0; VALUE]);
    let mut packet = advertisement.emit(source, destination, checksum)?;
    packet.extend(trailer.finish());
    let covered = covered(&packet, advertisement, source).unwrap_or_default();
    let value = mac(signature.key, &covered).map(|mac| mac.finalize().into_bytes());
    let value = value.as_deref().and_then(|value| value.first_chunk::<VALUE>()).ok_or(EncodeError::Unproven)?;
    if let Some(place) = packet.last_chunk_mut::<VALUE>() {
        *place = *value;
    }
    if source.is_ipv6() {
        if let Some(field) = packet.get_mut(CHECKSUM) {
            field.fill(0);
        }
        let mixed = EncodeError::MixedFamilies { found: destination, wanted: source };
        let before = Sum::pseudo_header(source, destination, PROTOCOL, packet.len()).ok_or(mixed)?;
        let sum = before.octets(&packet).checksum();
        if let Some(field) = packet.get_mut(CHECKSUM) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
    }
    Ok(packet)
}

/// Octets of the Advertisement itself.
fn octets(advertisement: &Advertisement, source: IpAddr) -> usize {
    super::length(advertisement.version, source, advertisement.addresses.len())
}

/// What the HMAC covers of an Advertisement with its trailer; `None`: there is no room for one.
fn covered(packet: &[u8], advertisement: &Advertisement, source: IpAddr) -> Option<Vec<u8>> {
    let mut covered = Writer::new();
    covered.u8(if source.is_ipv4() { 4 } else { 6 });
    covered.u8(if advertisement.version == VrrpVersion::V2 { 2 } else { 3 }).u8(advertisement.vrid.get()).u8(0);
    match source {
        IpAddr::V4(source) => covered.bytes(&source.octets()).bytes(&[0; 12]),
        IpAddr::V6(source) => covered.bytes(&source.octets()),
    };
    let (signed, _) = packet.split_at_checked(packet.len().checked_sub(VALUE)?)?;
    covered.bytes(signed.get(..CHECKSUM.start)?).u16(0).bytes(signed.get(CHECKSUM.end..)?).bytes(&[0; VALUE]);
    Some(covered.finish())
}

/// `None` never: HMAC takes keys of any length (RFC 2104, 2), which the types don't say.
fn mac(key: &Key, bytes: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).ok()?;
    mac.update(bytes);
    Some(mac)
}

#[cfg(test)]
mod tests;
