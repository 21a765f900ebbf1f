//! The profile: what one agent is set up to be, told to each peer twice a second, so that both can say which
//! setting differs. It decides nothing and is no sign of life; only beats are.
//!
//! ```text
//! 'P' | version | cluster (8) | incarnation (8) | clock (8) | heartbeat: period in ms (4), misses
//! authority | lease in ms (4) | longest lease in ms (4) | rate error in ppm (4) | voters: count, each (2)
//! links: count, each: id, heard ago in ms (2) | instances: total, count, each (56):
//!   name (8), domain (8), VRID, version and family, flags, priority, interval in 10 ms (2), addresses: count,
//!   hash (8), authentication (8), source: family + 16
//! policies: of each of these instances, in this order (1), where any is told | more
//! ```
//!
//! A release before the policies takes a profile with them for one of a wrong length: they are told only where all nodes
//! read them ([`crate::features`]). What a later release appends is passed over.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::{Reader, Writer};
use crate::id::{ClusterId, DomainId, Incarnation, LinkId, NodeId, Priority};
use crate::settings::Policy;
use crate::time::Instant;

/// First octet of every profile: how it is told from a beat.
pub const TAG: u8 = b'P';
/// Version of this format.
pub const VERSION: u8 = 1;
/// What a QUIC datagram carries at an MTU of 1200.
pub const MAX_BYTES: usize = 1162;
/// Instances in one profile at most; a node with more tells them in turn.
pub const MAX_INSTANCES: usize = 15;
/// Voters and links in one profile at most, which is more than any cluster has.
const MAX_VOTERS: usize = 32;
const MAX_LINKS: usize = 16;

/// One profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The cluster.
    pub cluster: ClusterId,
    /// Sender's incarnation.
    pub incarnation: Incarnation,
    /// Sender's boot clock when it made the profile: the newest counts.
    pub clock: Instant,
    /// h, whole milliseconds.
    pub period: Duration,
    /// m.
    pub misses: u8,
    /// The lease, where there is an authority.
    pub lease: Option<LeaseProfile>,
    /// How each link between the two stands at the sender, for the receiver's own view of it.
    pub links: Vec<LinkProfile>,
    /// Virtual routers that the sender has in all, those that are not in this profile included.
    pub total: u8,
    /// Some of them, at most [`MAX_INSTANCES`].
    pub instances: Vec<InstanceProfile>,
}

/// What all voters must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseProfile {
    /// L_a, whole milliseconds.
    pub lease: Duration,
    /// L_max, whole milliseconds.
    pub lease_max: Duration,
    /// ρ.
    pub rate_error_ppm: u32,
    /// All voters in ascending order.
    pub voters: Vec<NodeId>,
}

/// One link as the sender sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkProfile {
    /// Which.
    pub id: LinkId,
    /// How long ago the receiver was heard on it, whole milliseconds, at most 65 s; `None`: never.
    pub heard: Option<Duration>,
}

/// One virtual router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceProfile {
    /// [`crate::id::hash_name`] of its name.
    pub name: u64,
    /// The domain that it belongs to.
    pub domain: DomainId,
    /// Its VRID.
    pub vrid: u8,
    /// 2 or 3.
    pub version: u8,
    /// Whether it speaks over IPv6.
    pub ipv6: bool,
    /// Whether it waits for the Advertisements of a MASTER whose beats it hears (D1).
    pub hears_no_master: bool,
    /// Whether it preempts.
    pub preempt: bool,
    /// Base priority.
    pub priority: Priority,
    /// Advertisement_Interval, in steps of 10 ms, at most 655.35 s.
    pub advert_int: Duration,
    /// How many addresses its Advertisements carry.
    pub addresses: u8,
    /// A hash of them that does not know their order.
    pub addresses_hash: u64,
    /// A hash of the password, 0: no authentication.
    pub auth: u64,
    /// Whether it speaks unicast.
    pub unicast: bool,
    /// Where its Advertisements come from.
    pub source: Option<IpAddr>,
    /// What becomes of its domain while the authority is silent; `None`: not told, or there is none.
    pub policy: Option<Policy>,
}

/// Bytes that are no profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends too early.
    #[error("profile of a wrong length")]
    Length,
    /// Not a profile.
    #[error("first octet {0:#04x} where a profile has 0x50")]
    Tag(u8),
    /// Made by another version.
    #[error("profile version {0}, this is version 1: run the same release on all nodes")]
    Version(u8),
    /// A field out of its range.
    #[error("profile with {0} out of range")]
    Field(&'static str),
}

const UNHEARD: u16 = u16::MAX;
const HEARS_NO_MASTER: u8 = 1;
const PREEMPT: u8 = 2;
const UNICAST: u8 = 4;
const V6: u8 = 0x80;

impl Profile {
    /// The octets. What does not fit is left out; lengths are cut to their units.
    pub fn emit(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(TAG).u8(VERSION).u64(self.cluster.0).u64(self.incarnation.0).u64(self.clock.as_nanos());
        w.u32(millis(self.period)).u8(self.misses);
        let none =
            LeaseProfile { lease: Duration::ZERO, lease_max: Duration::ZERO, rate_error_ppm: 0, voters: Vec::new() };
        let lease = self.lease.as_ref().unwrap_or(&none);
        w.u8(u8::from(self.lease.is_some())).u32(millis(lease.lease)).u32(millis(lease.lease_max));
        w.u32(lease.rate_error_ppm);
        let voters = lease.voters.get(..MAX_VOTERS).unwrap_or(&lease.voters);
        w.u8(u8::try_from(voters.len()).unwrap_or(0));
        voters.iter().for_each(|voter| _ = w.u16(voter.get()));
        let links = self.links.get(..MAX_LINKS).unwrap_or(&self.links);
        w.u8(u8::try_from(links.len()).unwrap_or(0));
        for link in links {
            let ago = |ago: Duration| u16::try_from(ago.as_millis()).unwrap_or(u16::MAX).min(UNHEARD - 1);
            w.u8(link.id.0).u16(link.heard.map_or(UNHEARD, ago));
        }
        let instances = self.instances.get(..MAX_INSTANCES).unwrap_or(&self.instances);
        w.u8(self.total).u8(u8::try_from(instances.len()).unwrap_or(0));
        instances.iter().for_each(|instance| instance.put(&mut w));
        if instances.iter().any(|instance| instance.policy.is_some()) {
            instances.iter().for_each(|instance| _ = w.u8(policy_to_u8(instance.policy)));
        }
        w.finish()
    }

    /// From the octets of one datagram.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn parse(bytes: &[u8]) -> Result<Profile, DecodeError> {
        const SHORT: DecodeError = DecodeError::Length;
        let mut r = Reader::new(bytes);
        let [tag, version] = r.array().ok_or(SHORT)?;
        if tag != TAG {
            return Err(DecodeError::Tag(tag));
        }
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let cluster = ClusterId(r.u64().ok_or(SHORT)?);
        let incarnation = Incarnation(r.u64().ok_or(SHORT)?);
        let clock = Instant::from_nanos(r.u64().ok_or(SHORT)?);
        let period = Duration::from_millis(r.u32().ok_or(SHORT)?.into());
        let [misses, authority] = r.array().ok_or(SHORT)?;
        let mut ms = || r.u32().ok_or(SHORT);
        let (lease, lease_max, rate_error_ppm) = (ms()?, ms()?, ms()?);
        let mut voters = Vec::new();
        for _ in 0..bounded(&mut r, MAX_VOTERS, "number of voters")? {
            voters.push(NodeId::new(r.u16().ok_or(SHORT)?).ok_or(DecodeError::Field("voter"))?);
        }
        let lease = match authority {
            0 => None,
            1 => Some(LeaseProfile {
                lease: Duration::from_millis(lease.into()),
                lease_max: Duration::from_millis(lease_max.into()),
                rate_error_ppm,
                voters,
            }),
            _ => return Err(DecodeError::Field("authority")),
        };
        let mut links = Vec::new();
        for _ in 0..bounded(&mut r, MAX_LINKS, "number of links")? {
            let (id, heard) = (LinkId(r.u8().ok_or(SHORT)?), r.u16().ok_or(SHORT)?);
            links.push(LinkProfile { id, heard: (heard != UNHEARD).then(|| Duration::from_millis(heard.into())) });
        }
        let total = r.u8().ok_or(SHORT)?;
        let mut instances = Vec::new();
        for _ in 0..bounded(&mut r, MAX_INSTANCES, "number of instances")? {
            instances.push(InstanceProfile::get(&mut r)?);
        }
        if r.remaining() > 0 {
            for instance in &mut instances {
                instance.policy = policy_from_u8(r.u8().ok_or(SHORT)?);
            }
        }
        Ok(Profile { cluster, incarnation, clock, period, misses, lease, links, total, instances })
    }
}

impl InstanceProfile {
    fn put(&self, w: &mut Writer) {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        w.u64(self.name).u64(self.domain.0).u8(self.vrid).u8(self.version | bit(self.ipv6, V6));
        w.u8(bit(self.hears_no_master, HEARS_NO_MASTER) | bit(self.preempt, PREEMPT) | bit(self.unicast, UNICAST));
        w.u8(self.priority.0).u16(u16::try_from(self.advert_int.as_millis() / 10).unwrap_or(u16::MAX));
        w.u8(self.addresses).u64(self.addresses_hash).u64(self.auth);
        match self.source {
            None => w.u8(0).bytes(&[0; 16]),
            Some(IpAddr::V4(v4)) => w.u8(4).bytes(&v4.octets()).bytes(&[0; 12]),
            Some(IpAddr::V6(v6)) => w.u8(6).bytes(&v6.octets()),
        };
    }

    fn get(r: &mut Reader<'_>) -> Result<InstanceProfile, DecodeError> {
        const SHORT: DecodeError = DecodeError::Length;
        let (name, domain) = (r.u64().ok_or(SHORT)?, DomainId(r.u64().ok_or(SHORT)?));
        let [vrid, version, flags, priority] = r.array().ok_or(SHORT)?;
        if flags & !(HEARS_NO_MASTER | PREEMPT | UNICAST) != 0 {
            return Err(DecodeError::Field("flags"));
        }
        let advert_int = Duration::from_millis(u64::from(r.u16().ok_or(SHORT)?) * 10);
        let addresses = r.u8().ok_or(SHORT)?;
        let (addresses_hash, auth) = (r.u64().ok_or(SHORT)?, r.u64().ok_or(SHORT)?);
        let (family, octets) = (r.u8().ok_or(SHORT)?, r.array::<16>().ok_or(SHORT)?);
        let [a, b, c, d, ..] = octets;
        let source = match family {
            0 => None,
            4 => Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
            6 => Some(IpAddr::V6(Ipv6Addr::from(octets))),
            _ => return Err(DecodeError::Field("family of the source")),
        };
        Ok(InstanceProfile {
            name,
            domain,
            vrid,
            version: version & !V6,
            ipv6: version & V6 != 0,
            hears_no_master: flags & HEARS_NO_MASTER != 0,
            preempt: flags & PREEMPT != 0,
            unicast: flags & UNICAST != 0,
            priority: Priority(priority),
            advert_int,
            addresses,
            addresses_hash,
            auth,
            source,
            policy: None,
        })
    }
}

fn policy_to_u8(policy: Option<Policy>) -> u8 {
    match policy {
        None => 0,
        Some(Policy::Strict) => 1,
        Some(Policy::Degrade) => 2,
        Some(Policy::AcceptDualMaster) => 3,
    }
}

/// One that this release does not know is as good as not told.
fn policy_from_u8(octet: u8) -> Option<Policy> {
    [Policy::Strict, Policy::Degrade, Policy::AcceptDualMaster]
        .into_iter()
        .find(|policy| policy_to_u8(Some(*policy)) == octet)
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn bounded(r: &mut Reader<'_>, most: usize, name: &'static str) -> Result<usize, DecodeError> {
    let count = usize::from(r.u8().ok_or(DecodeError::Length)?);
    if count > most { Err(DecodeError::Field(name)) } else { Ok(count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn instance() -> impl Strategy<Value = InstanceProfile> {
        let source = prop_oneof![
            Just(None),
            any::<[u8; 4]>().prop_map(|a| Some(IpAddr::from(a))),
            any::<[u8; 16]>().prop_map(|a| Some(IpAddr::from(a))),
        ];
        (any::<[u64; 4]>(), any::<[u8; 4]>(), any::<[bool; 4]>(), any::<u16>(), source, 0..4u8).prop_map(
            |(
                [name, domain, addresses_hash, auth],
                [vrid, version, priority, addresses],
                flags,
                interval,
                source,
                policy,
            )| {
                let [ipv6, hears_no_master, preempt, unicast] = flags;
                InstanceProfile {
                    name,
                    domain: DomainId(domain),
                    vrid,
                    version: version & !V6,
                    ipv6,
                    hears_no_master,
                    preempt,
                    priority: Priority(priority),
                    advert_int: Duration::from_millis(u64::from(interval) * 10),
                    addresses,
                    addresses_hash,
                    auth,
                    unicast,
                    source,
                    policy: policy_from_u8(policy),
                }
            },
        )
    }

    fn lease() -> impl Strategy<Value = LeaseProfile> {
        let voters = proptest::collection::vec(1..u16::MAX, 0..=MAX_VOTERS);
        (any::<[u32; 3]>(), voters).prop_map(|([lease, lease_max, rate_error_ppm], voters)| LeaseProfile {
            lease: Duration::from_millis(lease.into()),
            lease_max: Duration::from_millis(lease_max.into()),
            rate_error_ppm,
            voters: voters.into_iter().filter_map(NodeId::new).collect(),
        })
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_to_the_same_and_fits_a_datagram(
            ids in any::<[u64; 3]>(),
            heartbeat in any::<(u32, u8, u8)>(),
            lease in proptest::option::of(lease()),
            links in proptest::collection::vec(any::<(u8, Option<u16>)>(), 0..=MAX_LINKS),
            instances in proptest::collection::vec(instance(), 0..=MAX_INSTANCES),
        ) {
            let link = |(id, heard): (u8, Option<u16>)| LinkProfile {
                id: LinkId(id),
                heard: heard.map(|ms| Duration::from_millis(ms.min(UNHEARD - 1).into())),
            };
            let profile = Profile {
                cluster: ClusterId(ids[0]),
                incarnation: Incarnation(ids[1]),
                clock: Instant::from_nanos(ids[2]),
                period: Duration::from_millis(heartbeat.0.into()),
                misses: heartbeat.1,
                lease,
                links: links.into_iter().map(link).collect(),
                total: heartbeat.2,
                instances,
            };
            let mut bytes = profile.emit();
            prop_assert!(bytes.len() <= MAX_BYTES, "{}", bytes.len());
            // Without the policies it is whole, too: that of a release before them.
            let mut before = profile.clone();
            before.instances.iter_mut().for_each(|instance| instance.policy = None);
            let shortest = before.emit();
            prop_assert_eq!(&bytes[..shortest.len()], &shortest[..]);
            for cut in (0..bytes.len()).filter(|cut| *cut != shortest.len()) {
                prop_assert!(Profile::parse(&bytes[..cut]).is_err());
            }
            prop_assert_eq!(Profile::parse(&shortest), Ok(before));
            prop_assert_eq!(Profile::parse(&bytes), Ok(profile.clone()));
            // What a later release appends.
            if bytes.len() > shortest.len() || profile.instances.is_empty() {
                bytes.extend([7; 9]);
                prop_assert_eq!(Profile::parse(&bytes), Ok(profile));
            }
        }

        #[test]
        fn any_octets_parse_or_are_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), real in any::<bool>()) {
            if real && bytes.len() > 2 {
                bytes[0] = TAG;
                bytes[1] = VERSION;
            }
            let _ = Profile::parse(&bytes);
        }
    }
}
