//! What one process of a node hands on to the next when the program is replaced under a lease that goes on
//! (docs/decisions/0210): the form in which it waits, and whether it may still be taken.
//!
//! R6 wants a new incarnation of each start, because a new process has forgotten which epochs and nonces were used. One
//! that is handed all of that has not: it is the same life, and may renew the same epoch.
//!
//! What must stay true: whoever handed it on is dead before it is taken, and it is taken once. Nothing in it says more
//! than that process could: D is carried over as it was, and only the answers to the next process's own requests move it.

use alloc::vec::Vec;
use core::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::id::{ClusterId, ConfigDigest, DomainId, Epoch, Incarnation, NodeId};
use crate::lease::timing::Millis;
use crate::settings::{Authority, Policy, Settings};
use crate::time::Instant;
use crate::wire::lease::{get_epoch, put_epoch};
use crate::wire::{Reader, Writer};

/// First octets: a name.
const MAGIC: [u8; 8] = *b"keephand";
/// Version of the form; another one is refused.
pub const VERSION: u32 = 2;
/// Octets of the sum at the end.
const SUM: usize = 8;
/// More voters than any configuration names.
const MOST_ACKS: u32 = 1024;

/// Where and for what it counts, as the shell knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The kernel's boot: its clock is another after the next one. Linux, /proc/sys/kernel/random/boot_id.
    pub boot: [u8; 16],
    /// What was read from the configuration, as the shell sums it up.
    pub mark: [u8; 32],
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// Where it was written.
    pub place: Place,
    /// The cluster.
    pub cluster: ClusterId,
    /// Digest of the voter set and bounds (V9).
    pub digest: ConfigDigest,
    /// The node.
    pub node: NodeId,
    /// The incarnation that goes on (R6).
    pub incarnation: Incarnation,
    /// The boot clock when the process handled its last event.
    pub at: Instant,
    /// No beat had a higher sequence.
    pub sequence: u64,
    /// What was seen of the store, where one stands among the voters.
    pub store: Option<StoreSeen>,
    /// Every domain of the node, held or not: none of their attempts may come twice (I4).
    pub domains: Vec<HandedDomain>,
}

/// What shows that a store is the one that it was, and has forgotten nothing since (R17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreSeen {
    /// The highest revision that an answer named.
    pub revision: u64,
    /// Its name for itself, 0 where it has none.
    pub name: u64,
}

/// Of one domain, what a life must not forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedDomain {
    /// Which.
    pub id: DomainId,
    /// The highest nonce that was used.
    pub nonce: u64,
    /// The number of the last attempt.
    pub attempt: u32,
    /// The highest counter of an epoch that was seen.
    pub max_counter: u64,
    /// The epoch of the last attempt.
    pub last: Option<Epoch>,
    /// When the last frame of a lapsed epoch is gone.
    pub drained_at: Instant,
    /// What is held.
    pub held: Option<Held>,
}

/// A domain of which this node is Master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Under which epoch.
    pub epoch: Epoch,
    /// D.
    pub until: Instant,
    /// The gate's deadline, as it was read back: D, or sooner by G.
    pub gate_until: Instant,
    /// When the newest request was sent that another node's voter has answered (G).
    pub newest: Option<Instant>,
    /// Since when the gate has been open.
    pub opened_at: Instant,
    /// Since when it is MASTER.
    pub master_since: Instant,
    /// Of each voter the newest nonce that it has granted (V8).
    pub acks: Vec<(NodeId, u64)>,
}

/// Why a process hands nothing on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSuspended {
    /// It is being stopped, or is in maintenance.
    #[error("the node is being stopped, or is in maintenance")]
    Leaving,
    /// There is nothing to keep.
    #[error("nothing is held here, so that nothing is lost by a restart")]
    NothingHeld,
    /// Its lease is no quorum's under the policy `strict`.
    #[error("a domain has no quorum of voters under the policy strict: nobody else keeps count of its lease")]
    Authority(DomainId),
    /// It is in the middle of something.
    #[error("a domain is between two states, or the kernel has yet to answer for it")]
    Busy(DomainId),
    /// A voter is not believed at present (R17), which the next process would not know.
    #[error("a voter is not believed at present (R17)")]
    Doubted(DomainId),
    /// D is too near.
    #[error("the lease ends in {}, and a start takes {}", Millis(*left), Millis(*needed))]
    Late {
        /// Until the first D.
        left: Duration,
        /// What a start takes.
        needed: Duration,
    },
}

/// Why what was handed on is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotResumed {
    /// Not of this form: another version's, or torn.
    #[error("what was handed on is of another version, or torn")]
    Form,
    /// Of another boot, whose clock is another.
    #[error("it is of another boot of the machine, or of a clock that has gone back")]
    Boot,
    /// Another configuration, or one that this version reads otherwise.
    #[error("the configuration is another than the one that runs, or is read otherwise by this version")]
    Configuration,
    /// D is too near.
    #[error("the lease ends in {}, and {} are needed", Millis(*left), Millis(*needed))]
    Late {
        /// Until the first D.
        left: Duration,
        /// Until this process could renew.
        needed: Duration,
    },
}

impl Handed {
    /// What is held.
    pub fn held(&self) -> impl Iterator<Item = (DomainId, &Held)> {
        self.domains.iter().filter_map(|domain| Some((domain.id, domain.held.as_ref()?)))
    }

    /// The first D of what is held.
    pub fn ends_at(&self) -> Option<Instant> {
        self.held().map(|(_, held)| held.until.min(held.gate_until)).min()
    }

    /// Whether a process with these settings may go on with it at `now`, if it needs `needed` until it can renew.
    ///
    /// # Errors
    /// Why not: then this start is an ordinary one (R12).
    pub fn check(&self, settings: &Settings, place: &Place, needed: Duration, now: Instant) -> Result<(), NotResumed> {
        if self.place.boot != place.boot || now < self.at {
            return Err(NotResumed::Boot);
        }
        let same = self.place.mark == place.mark
            && (self.cluster, self.digest, self.node) == (settings.cluster, settings.digest, settings.node)
            && self.domains.len() == settings.domains.len();
        let known = |domain: &HandedDomain| {
            let own = settings.domains.iter().find(|own| own.id == domain.id);
            let quorum = own.filter(|own| own.policy == Policy::Strict).map(|own| &own.authority);
            matches!(quorum, Some(Authority::Quorum(_)))
                && domain.held.as_ref().is_none_or(|held| self.is_ours(held.epoch))
        };
        if !same || !self.domains.iter().all(known) {
            return Err(NotResumed::Configuration);
        }
        let left = self.ends_at().unwrap_or_default().since(now);
        if left < needed.max(Duration::from_nanos(1)) {
            return Err(NotResumed::Late { left, needed });
        }
        Ok(())
    }

    fn is_ours(&self, epoch: Epoch) -> bool {
        (epoch.node, epoch.incarnation) == (self.node, self.incarnation)
    }

    /// The octets: magic, version (4), boot (16), mark (32), cluster, digest (8 each), node (2), incarnation, clock,
    /// sequence (8 each), of the store whether (1), revision and name (8 each), count (4), the domains, and the first octets
    /// of a SHA-256 of all before.
    pub fn emit(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.bytes(&MAGIC).u32(VERSION).bytes(&self.place.boot).bytes(&self.place.mark);
        w.u64(self.cluster.0).u64(self.digest.0).u16(self.node.get()).u64(self.incarnation.0);
        w.u64(self.at.as_nanos()).u64(self.sequence).u8(u8::from(self.store.is_some()));
        if let Some(StoreSeen { revision, name }) = self.store {
            w.u64(revision).u64(name);
        }
        w.u32(u32::try_from(self.domains.len()).unwrap_or(u32::MAX));
        self.domains.iter().for_each(|domain| domain.emit(&mut w));
        let mut bytes = w.finish();
        bytes.extend_from_slice(Sha256::digest(&bytes).get(..SUM).unwrap_or_default());
        bytes
    }

    /// From the octets that [`Handed::emit`] made.
    ///
    /// # Errors
    /// [`NotResumed::Form`]: of another version, or torn.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotResumed> {
        let (body, sum) = bytes.split_at_checked(bytes.len().saturating_sub(SUM)).ok_or(NotResumed::Form)?;
        if Sha256::digest(body).get(..SUM) != Some(sum) {
            return Err(NotResumed::Form);
        }
        let mut r = Reader::new(body);
        let handed = Self::read(&mut r).ok_or(NotResumed::Form)?;
        if r.remaining() == 0 { Ok(handed) } else { Err(NotResumed::Form) }
    }

    fn read(r: &mut Reader<'_>) -> Option<Self> {
        if (r.array()?, r.u32()?) != (MAGIC, VERSION) {
            return None;
        }
        let place = Place { boot: r.array()?, mark: r.array()? };
        let (cluster, digest) = (ClusterId(r.u64()?), ConfigDigest(r.u64()?));
        let (node, incarnation) = (NodeId::new(r.u16()?)?, Incarnation(r.u64()?));
        let (at, sequence) = (instant(r)?, r.u64()?);
        let store = match r.u8()? {
            0 => None,
            1 => Some(StoreSeen { revision: r.u64()?, name: r.u64()? }),
            _ => return None,
        };
        // Not made room for by what it says: it ends where the octets do.
        let count = r.u32()?;
        let mut domains = Vec::new();
        for _ in 0..count {
            domains.push(HandedDomain::read(r)?);
        }
        Some(Handed { place, cluster, digest, node, incarnation, at, sequence, store, domains })
    }
}

impl HandedDomain {
    fn emit(&self, w: &mut Writer) {
        w.u64(self.id.0).u64(self.nonce).u32(self.attempt).u64(self.max_counter).u64(self.drained_at.as_nanos());
        w.u8(u8::from(self.last.is_some()) | u8::from(self.held.is_some()) << 1);
        self.last.into_iter().for_each(|last| put_epoch(w, last));
        let Some(held) = &self.held else { return };
        put_epoch(w, held.epoch);
        w.u64(held.until.as_nanos()).u64(held.gate_until.as_nanos());
        // At the start of the boot clock nothing was sent.
        w.u64(held.newest.unwrap_or_default().as_nanos());
        w.u64(held.opened_at.as_nanos()).u64(held.master_since.as_nanos());
        w.u32(u32::try_from(held.acks.len()).unwrap_or(u32::MAX));
        for (voter, ack) in &held.acks {
            w.u16(voter.get()).u64(*ack);
        }
    }

    fn read(r: &mut Reader<'_>) -> Option<Self> {
        let (id, nonce, attempt) = (DomainId(r.u64()?), r.u64()?, r.u32()?);
        let (max_counter, drained_at) = (r.u64()?, instant(r)?);
        let flags = r.u8().filter(|flags| *flags < 4)?;
        let last = if flags & 1 == 1 { Some(get_epoch(r).ok()?) } else { None };
        let held = if flags & 2 == 2 { Some(Held::read(r)?) } else { None };
        Some(HandedDomain { id, nonce, attempt, max_counter, last, drained_at, held })
    }
}

impl Held {
    fn read(r: &mut Reader<'_>) -> Option<Self> {
        let (epoch, until, gate_until) = (get_epoch(r).ok()?, instant(r)?, instant(r)?);
        let newest = Some(instant(r)?).filter(|at| *at > Instant::BOOT);
        let (opened_at, master_since) = (instant(r)?, instant(r)?);
        let count = r.u32().filter(|count| *count <= MOST_ACKS)?;
        let mut acks = Vec::new();
        for _ in 0..count {
            acks.push((NodeId::new(r.u16()?)?, r.u64()?));
        }
        Some(Held { epoch, until, gate_until, newest, opened_at, master_since, acks })
    }
}

fn instant(r: &mut Reader<'_>) -> Option<Instant> {
    r.u64().map(Instant::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn epoch() -> impl Strategy<Value = Epoch> {
        (any::<u64>(), any::<u64>(), any::<u32>(), 1_u16..).prop_map(|(counter, incarnation, attempt, node)| Epoch {
            counter,
            incarnation: Incarnation(incarnation),
            attempt,
            node: NodeId::new(node).unwrap(),
        })
    }

    fn held() -> impl Strategy<Value = Held> {
        let times = prop::array::uniform5(any::<u64>());
        let acks = prop::collection::vec((1_u16.., any::<u64>()), 0..4);
        (epoch(), times, acks).prop_map(|(epoch, times, acks)| {
            let [until, gate_until, newest, opened_at, master_since] = times.map(Instant::from_nanos);
            let newest = Some(newest).filter(|at| *at > Instant::BOOT);
            let acks = acks.into_iter().map(|(voter, ack)| (NodeId::new(voter).unwrap(), ack)).collect();
            Held { epoch, until, gate_until, newest, opened_at, master_since, acks }
        })
    }

    fn domain() -> impl Strategy<Value = HandedDomain> {
        let numbers = (any::<u64>(), any::<u64>(), any::<u32>(), any::<u64>(), any::<u64>());
        (numbers, prop::option::of(epoch()), prop::option::of(held())).prop_map(|(numbers, last, held)| {
            let (id, nonce, attempt, max_counter, drained_at) = numbers;
            let (id, drained_at) = (DomainId(id), Instant::from_nanos(drained_at));
            HandedDomain { id, nonce, attempt, max_counter, last, drained_at, held }
        })
    }

    fn handed() -> impl Strategy<Value = Handed> {
        let numbers = (any::<[u8; 16]>(), any::<[u8; 32]>(), any::<[u64; 5]>(), 1_u16..);
        let store = prop::option::of((any::<u64>(), any::<u64>()));
        let all = (numbers, store, prop::collection::vec(domain(), 0..4));
        all.prop_map(|((boot, mark, numbers, node), store, domains)| {
            let [cluster, digest, incarnation, at, sequence] = numbers;
            Handed {
                store: store.map(|(revision, name)| StoreSeen { revision, name }),
                place: Place { boot, mark },
                cluster: ClusterId(cluster),
                digest: ConfigDigest(digest),
                node: NodeId::new(node).unwrap(),
                incarnation: Incarnation(incarnation),
                at: Instant::from_nanos(at),
                sequence,
                domains,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_handed_on_is_what_is_taken(handed in handed()) {
            prop_assert_eq!(Handed::parse(&handed.emit()), Ok(handed));
        }

        #[test]
        fn torn_or_altered_octets_are_refused(handed in handed(), at in any::<prop::sample::Index>(), by in 1_u8..) {
            let bytes = handed.emit();
            let place = at.index(bytes.len());
            prop_assert_eq!(Handed::parse(&bytes[..place]), Err(NotResumed::Form));
            let mut altered = bytes;
            altered[place] ^= by;
            prop_assert_eq!(Handed::parse(&altered), Err(NotResumed::Form));
        }

        #[test]
        fn any_octets_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Handed::parse(&bytes).is_err());
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut bytes = vec![0; 200];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[11] = 1;
        let sum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&sum[..SUM]);
        assert_eq!(Handed::parse(&bytes), Err(NotResumed::Form));
    }
}
