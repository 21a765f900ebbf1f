//! The heartbeat: what one agent tells another, each period and on each link (safety.md, Heartbeats).
//!
//! ```text
//! 'B' | version | cluster (8) | digest (8) | incarnation (8) | seq (8) | clock (8)
//! echo: flag, seq (8), age in us (4) | references, IPv4 then IPv6: reachable, configured | count
//! | heard | domains
//! heard: count, then (node (2), age in ms (2)) each
//! domain (64): id (8), role, priority, flags, epoch: counter (8) attempt (4), remaining in us (4),
//!              next: counter (8) attempt (4), master for in ms (4), heir (2), sees (2), source: family + 16
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::{Reader, Writer};
use crate::decision::Role;
use crate::id::{ClusterId, ConfigDigest, DomainId, Epoch, Incarnation, NodeId, Priority};
use crate::time::Instant;

/// First octet of every beat: how the transport tells it from a lease message.
pub const TAG: u8 = b'B';
/// Version of this format.
pub const VERSION: u8 = 1;
/// What a QUIC datagram carries at an MTU of 1200.
pub const MAX_BYTES: usize = 1162;
/// Domains in one beat at most.
pub const MAX_DOMAINS: usize = (MAX_BYTES - HEADER - MAX_HEARD * HEARD) / DOMAIN;
/// Members in the list of those that were heard, at most; of more the rest is left out.
pub const MAX_HEARD: usize = 16;

const HEADER: usize = 2 + 8 * 5 + 13 + 5 + 1;
const HEARD: usize = 4;
const DOMAIN: usize = 64;

/// One beat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// The cluster.
    pub cluster: ClusterId,
    /// Sender's digest of the voter set and the lease's bounds.
    pub digest: ConfigDigest,
    /// Sender's incarnation, which is its boot id.
    pub incarnation: Incarnation,
    /// Of this sender, peer and link; each is above the last.
    pub seq: u64,
    /// Sender's boot clock when it made the beat.
    pub clock: Instant,
    /// The newest of the receiver's beats that came over this link, with its age when this beat was made.
    pub echo: Option<Echo>,
    /// How many references the sender reaches.
    pub references: References,
    /// Which members the sender has ever heard, and how long ago, whole milliseconds up to 65 s (D3).
    pub heard: Vec<(NodeId, Duration)>,
    /// The sender's domains, at most [`MAX_DOMAINS`].
    pub domains: Vec<DomainBeat>,
}

/// What the sender has last heard from the receiver on this link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// Sequence of that beat.
    pub seq: u64,
    /// How long ago it came, whole microseconds.
    pub age: Duration,
}

/// The sender's reference verdict in numbers, each family by itself (D2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct References {
    /// Of IPv4.
    pub v4: Answering,
    /// Of IPv6.
    pub v6: Answering,
}

/// The references of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answering {
    /// That answer.
    pub reachable: u8,
    /// That are configured.
    pub configured: u8,
}

impl fmt::Display for References {
    /// `1 of 2`, with the family where there are both: `IPv4 1 of 2, IPv6 0 of 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |family: Answering| (family.reachable, family.configured);
        match (words(self.v4), words(self.v6)) {
            ((up, all), (_, 0)) | ((_, 0), (up, all)) => write!(f, "{up} of {all}"),
            ((up, all), (up6, all6)) => write!(f, "IPv4 {up} of {all}, IPv6 {up6} of {all6}"),
        }
    }
}

impl References {
    /// Those of a family.
    pub fn of(self, ipv6: bool) -> Answering {
        if ipv6 { self.v6 } else { self.v4 }
    }
}

/// One domain of the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainBeat {
    /// Which.
    pub id: DomainId,
    /// What the sender is for it.
    pub role: Role,
    /// Sender's effective priority.
    pub priority: Priority,
    /// Whether the sender could hold it now.
    pub eligible: bool,
    /// Whether it asks the Master to hand over (R11).
    pub wants: bool,
    /// Whether its gate is open, or was asked to be.
    pub holding: bool,
    /// Whether the gate was read back as open: no alarm of two holders stands on less (D7).
    pub open: bool,
    /// Counter and attempt of the epoch that it holds; node and incarnation are the sender's.
    pub epoch: Option<(u64, u32)>,
    /// What is left of its lease.
    pub remaining: Duration,
    /// Counter and attempt of the epoch that it would use next; a Transfer may name it.
    pub next: (u64, u32),
    /// How long it has been Master, whole milliseconds (D7).
    pub master_for: Duration,
    /// Without an authority: for whom it has given the domain up. Under one: to whom it is about to leave it.
    pub heir: Option<NodeId>,
    /// The Master that it hears, other than itself (D3).
    pub sees: Option<NodeId>,
    /// It holds by nobody's leave, its authority being silent (D4): no right of its own stands behind its epoch.
    pub alone: bool,
    /// Source of its Advertisements, so that a receiver knows whose they are (D0).
    pub source: Option<IpAddr>,
}

/// Bytes that are no beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends too early, or goes on after its end.
    #[error("beat of a wrong length")]
    Length,
    /// Not a beat.
    #[error("first octet {0:#04x} where a beat has 0x42")]
    Tag(u8),
    /// Made by another version.
    #[error("heartbeat version {0}, this is version 1: run the same release on all nodes")]
    Version(u8),
    /// A field out of its range.
    #[error("beat with {0} out of range")]
    Field(&'static str),
}

impl Beat {
    /// The octets; domains beyond [`MAX_DOMAINS`] are left out.
    pub fn emit(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(TAG).u8(VERSION).u64(self.cluster.0).u64(self.digest.0).u64(self.incarnation.0);
        w.u64(self.seq).u64(self.clock.as_nanos());
        let echo = self.echo.unwrap_or(Echo { seq: 0, age: Duration::ZERO });
        w.u8(u8::from(self.echo.is_some())).u64(echo.seq).u32(micros(echo.age));
        for family in [self.references.v4, self.references.v6] {
            w.u8(family.reachable).u8(family.configured);
        }
        let domains = self.domains.get(..MAX_DOMAINS).unwrap_or(&self.domains);
        w.u8(u8::try_from(domains.len()).unwrap_or(u8::MAX));
        let heard = self.heard.get(..MAX_HEARD).unwrap_or(&self.heard);
        w.u8(u8::try_from(heard.len()).unwrap_or(u8::MAX));
        for (node, age) in heard {
            w.u16(node.get()).u16(u16::try_from(age.as_millis()).unwrap_or(u16::MAX));
        }
        for domain in domains {
            domain.put(&mut w);
        }
        w.finish()
    }

    /// From the octets of one datagram.
    pub fn parse(bytes: &[u8]) -> Result<Beat, DecodeError> {
        let mut r = Reader::new(bytes);
        let [tag, version] = r.array().ok_or(DecodeError::Length)?;
        if tag != TAG {
            return Err(DecodeError::Tag(tag));
        }
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let mut u64 = || r.u64().ok_or(DecodeError::Length);
        let (cluster, digest, incarnation, seq, clock) = (u64()?, u64()?, u64()?, u64()?, u64()?);
        let has_echo = flag(&mut r, "echo flag")?;
        let echo = Echo {
            seq: r.u64().ok_or(DecodeError::Length)?,
            age: Duration::from_micros(r.u32().ok_or(DecodeError::Length)?.into()),
        };
        let [reachable, configured, reachable6, configured6, count] = r.array().ok_or(DecodeError::Length)?;
        let heard = r.u8().filter(|heard| usize::from(*heard) <= MAX_HEARD).ok_or(DecodeError::Length)?;
        let heard = (0..heard).map(|_| get_heard(&mut r)).collect::<Result<_, _>>()?;
        if usize::from(count) > MAX_DOMAINS || r.remaining() != usize::from(count) * DOMAIN {
            return Err(DecodeError::Length);
        }
        let domains = (0..count).map(|_| DomainBeat::get(&mut r)).collect::<Result<_, _>>()?;
        Ok(Beat {
            cluster: ClusterId(cluster),
            digest: ConfigDigest(digest),
            incarnation: Incarnation(incarnation),
            seq,
            clock: Instant::from_nanos(clock),
            echo: has_echo.then_some(echo),
            references: References {
                v4: Answering { reachable, configured },
                v6: Answering { reachable: reachable6, configured: configured6 },
            },
            heard,
            domains,
        })
    }

    /// The epoch that the sender `node` holds for `domain`.
    pub fn epoch(&self, node: NodeId, domain: &DomainBeat) -> Option<Epoch> {
        domain.epoch.map(|(counter, attempt)| Epoch { counter, incarnation: self.incarnation, attempt, node })
    }
}

const ELIGIBLE: u8 = 1;
const WANTS: u8 = 2;
const HOLDING: u8 = 4;
const EPOCH: u8 = 8;
const ALONE: u8 = 16;
const OPEN: u8 = 32;

fn get_heard(r: &mut Reader<'_>) -> Result<(NodeId, Duration), DecodeError> {
    let (node, age) = (r.u16().ok_or(DecodeError::Length)?, r.u16().ok_or(DecodeError::Length)?);
    Ok((NodeId::new(node).ok_or(DecodeError::Field("node"))?, Duration::from_millis(age.into())))
}

impl DomainBeat {
    fn put(&self, w: &mut Writer) {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = bit(self.eligible, ELIGIBLE) | bit(self.wants, WANTS) | bit(self.alone, ALONE);
        let flags = flags | bit(self.holding, HOLDING) | bit(self.open, OPEN);
        w.u64(self.id.0).u8(role_to_u8(self.role)).u8(self.priority.0);
        w.u8(flags | bit(self.epoch.is_some(), EPOCH));
        let (counter, attempt) = self.epoch.unwrap_or_default();
        w.u64(counter).u32(attempt).u32(micros(self.remaining)).u64(self.next.0).u32(self.next.1);
        w.u32(u32::try_from(self.master_for.as_millis()).unwrap_or(u32::MAX));
        w.u16(self.heir.map_or(0, NodeId::get)).u16(self.sees.map_or(0, NodeId::get));
        match self.source {
            None => w.u8(0).bytes(&[0; 16]),
            Some(IpAddr::V4(v4)) => w.u8(4).bytes(&v4.octets()).bytes(&[0; 12]),
            Some(IpAddr::V6(v6)) => w.u8(6).bytes(&v6.octets()),
        };
    }

    fn get(r: &mut Reader<'_>) -> Result<DomainBeat, DecodeError> {
        const SHORT: DecodeError = DecodeError::Length;
        let id = DomainId(r.u64().ok_or(SHORT)?);
        let role = role_from_u8(r.u8().ok_or(SHORT)?).ok_or(DecodeError::Field("role"))?;
        let priority = Priority(r.u8().ok_or(SHORT)?);
        let flags = r.u8().ok_or(SHORT)?;
        let epoch = (r.u64().ok_or(SHORT)?, r.u32().ok_or(SHORT)?);
        let remaining = Duration::from_micros(r.u32().ok_or(SHORT)?.into());
        let next = (r.u64().ok_or(SHORT)?, r.u32().ok_or(SHORT)?);
        let master_for = Duration::from_millis(r.u32().ok_or(SHORT)?.into());
        let heir = NodeId::new(r.u16().ok_or(SHORT)?);
        let sees = NodeId::new(r.u16().ok_or(SHORT)?);
        let (family, address) = (r.u8().ok_or(SHORT)?, r.array::<16>().ok_or(SHORT)?);
        let [a, b, c, d, ..] = address;
        let source = match family {
            0 => None,
            4 => Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
            6 => Some(IpAddr::V6(Ipv6Addr::from(address))),
            _ => return Err(DecodeError::Field("address family")),
        };
        Ok(DomainBeat {
            id,
            role,
            priority,
            eligible: flags & ELIGIBLE != 0,
            wants: flags & WANTS != 0,
            holding: flags & HOLDING != 0,
            open: flags & OPEN != 0,
            epoch: (flags & EPOCH != 0).then_some(epoch),
            remaining,
            next,
            master_for,
            heir,
            sees,
            alone: flags & ALONE != 0,
            source,
        })
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

fn flag(r: &mut Reader<'_>, name: &'static str) -> Result<bool, DecodeError> {
    match r.u8().ok_or(DecodeError::Length)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Field(name)),
    }
}

const ROLES: [Role; 6] = [Role::Init, Role::Backup, Role::Claiming, Role::Master, Role::Fault, Role::Fenced];

fn role_to_u8(role: Role) -> u8 {
    match role {
        Role::Init => 0,
        Role::Backup => 1,
        Role::Claiming => 2,
        Role::Master => 3,
        Role::Fault => 4,
        Role::Fenced => 5,
    }
}

fn role_from_u8(byte: u8) -> Option<Role> {
    ROLES.get(usize::from(byte)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn domain() -> impl Strategy<Value = DomainBeat> {
        let source = prop_oneof![
            Just(None),
            any::<[u8; 4]>().prop_map(|a| Some(IpAddr::from(a))),
            any::<[u8; 16]>().prop_map(|a| Some(IpAddr::from(a))),
        ];
        let numbers = (any::<u64>(), 0..6u8, any::<u8>(), any::<[bool; 5]>(), any::<[u32; 2]>(), any::<[u16; 2]>());
        (numbers, proptest::option::of(any::<(u64, u32)>()), any::<(u64, u32)>(), source).prop_map(
            |(
                (id, role, priority, [eligible, wants, holding, open, alone], [remaining, master_for], [heir, sees]),
                epoch,
                next,
                source,
            )| {
                DomainBeat {
                    id: DomainId(id),
                    role: role_from_u8(role).unwrap(),
                    priority: Priority(priority),
                    eligible,
                    wants,
                    holding,
                    open,
                    epoch,
                    remaining: Duration::from_micros(remaining.into()),
                    next,
                    master_for: Duration::from_millis(master_for.into()),
                    heir: NodeId::new(heir),
                    sees: NodeId::new(sees),
                    alone,
                    source,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_to_the_same_and_fits_a_datagram(
            ids in any::<[u64; 5]>(),
            echo in proptest::option::of(any::<(u64, u32)>()),
            references in any::<[u8; 4]>(),
            heard in proptest::collection::vec((1..=u16::MAX, any::<u16>()), 0..=MAX_HEARD),
            domains in proptest::collection::vec(domain(), 0..=MAX_DOMAINS),
        ) {
            let beat = Beat {
                cluster: ClusterId(ids[0]), digest: ConfigDigest(ids[1]), incarnation: Incarnation(ids[2]), seq: ids[3],
                clock: Instant::from_nanos(ids[4]),
                echo: echo.map(|(seq, age)| Echo { seq, age: Duration::from_micros(age.into()) }),
                references: References {
                    v4: Answering { reachable: references[0], configured: references[1] },
                    v6: Answering { reachable: references[2], configured: references[3] },
                },
                heard: heard.iter().map(|(n, ms)| (NodeId::new(*n).unwrap(), Duration::from_millis((*ms).into()))).collect(),
                domains,
            };
            let bytes = beat.emit();
            prop_assert!(bytes.len() <= MAX_BYTES);
            prop_assert_eq!(Beat::parse(&bytes), Ok(beat));
            for cut in 0..bytes.len() {
                prop_assert!(Beat::parse(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn any_octets_parse_or_are_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), real in any::<bool>()) {
            if real && bytes.len() > 2 {
                bytes[0] = TAG;
                bytes[1] = VERSION;
            }
            let _ = Beat::parse(&bytes);
        }
    }
}
