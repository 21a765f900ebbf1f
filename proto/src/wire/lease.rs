//! The lease protocol between a candidate and a voter (safety.md, Messages).
//!
//! Every message is idempotent. One datagram carries as many as fit, since all domains of a node are renewed
//! at the same time: [`pack`] and [`unpack`]. The sender's name is not in it: the transport proves it (V10).
//!
//! ```text
//!  0      1      2      3
//! +------+------+------+------+
//! | 'L'  | ver  | count       |
//! +------+------+------+------+
//! | cluster (8), digest (8)
//! +---------------------------
//! | count times: length of the rest (1), kind (1), domain (8), nonce (8), body by kind
//! ```
//!
//! The length lets a receiver pass over an entry that it can't read: one bad entry costs itself only.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Reader, Writer};
use crate::id::{ClusterId, ConfigDigest, DomainId, Epoch, Incarnation, NodeId};
use crate::lease::generation::Opened;
use crate::time::Instant;

mod datagram;

pub use datagram::{Entries, pack, unpack};

/// First octet of every lease message: how the transport tells it from a beat.
pub const TAG: u8 = b'L';
/// Version of this format.
pub const VERSION: u8 = 2;

/// A message with what all of them bear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The cluster.
    pub cluster: ClusterId,
    /// Sender's digest of the voter set and the lease's bounds (V9).
    pub digest: ConfigDigest,
    /// The domain that is asked for.
    pub domain: DomainId,
    /// Of the request; an answer repeats it. Never used twice by one incarnation.
    pub nonce: u64,
    /// What is asked or answered.
    pub message: Message,
}

/// A voter's incarnation and clock, in each of its answers (R17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// New at each start of the voter.
    pub incarnation: Incarnation,
    /// The voter's boot clock when it answered.
    pub clock: Instant,
}

/// The messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Pre-vote (R2): is the domain free? Also enters the asker among the waiting (V11).
    Query {
        /// The asker's priority: the best waiting candidate is told first.
        priority: u8,
    },
    /// Grant me this epoch, or renew it.
    Acquire {
        /// The attempt; names node and incarnation.
        epoch: Epoch,
        /// L_a that is asked for.
        lease: Duration,
        /// Nonce of the newest grant of this epoch, or refusal as deaf, that the asker has received from this voter,
        /// 0 for none (V8).
        prev_ack: u64,
        /// The asker's priority, for those who are refused on its account (R11).
        priority: u8,
    },
    /// I hold nothing under this epoch any more.
    Release {
        /// What ends.
        epoch: Epoch,
    },
    /// Hand my grant to another (R8).
    Transfer {
        /// What ends.
        epoch: Epoch,
        /// What begins: an unused epoch of the heir, from its beats.
        heir: Epoch,
    },
    /// A better candidate that the holder does not hear leaves word with the voters (R11). Answered like a
    /// `Query`; the holder is told by [`Message::Wanted`].
    HandoverRequest {
        /// The asker's priority.
        priority: u8,
        /// The unused epoch that a Transfer to the asker may name.
        next: Epoch,
    },
    /// What do you vote on, and how far has your generation come (V9)? Of any generation; about no domain.
    Inspect,
    /// Answer to `Query`: nobody holds the domain. Sent again unasked, with the nonce of the newest
    /// query, when a grant ends while the asker waits (V11).
    Free {
        /// Counter of the highest epoch that the voter has seen.
        max_counter: u64,
        /// The voter.
        stamp: Stamp,
    },
    /// Answer to `Acquire`.
    Grant {
        /// As asked.
        epoch: Epoch,
        /// L_a as granted.
        lease: Duration,
        /// The voter.
        stamp: Stamp,
    },
    /// Answer to `Query`, `Acquire` or `Transfer`.
    Refuse {
        /// Why not.
        why: RefuseReason,
        /// Who holds it, as far as the asker may care.
        holder: Option<Epoch>,
        /// The holder's priority as it last said, 0 where nobody holds or it is not known.
        holder_priority: u8,
        /// How long until it can be free.
        remaining: Duration,
        /// Counter of the highest epoch that the voter has seen.
        max_counter: u64,
        /// The voter.
        stamp: Stamp,
    },
    /// Answer to `Release` and `Transfer`: it is done.
    Ended {
        /// What ended.
        epoch: Epoch,
        /// The voter.
        stamp: Stamp,
    },
    /// From a holder to another candidate (D4, `degrade`): promise not to claim while I hold under this epoch.
    Promise {
        /// Under which the asker holds.
        epoch: Epoch,
        /// L_a: for how long.
        lease: Duration,
    },
    /// Answer to `Promise`: it is bound.
    Promised {
        /// As asked.
        epoch: Epoch,
        /// As asked.
        lease: Duration,
    },
    /// Unasked, to the heir of a `Transfer`: the grant is yours to acquire.
    Offer {
        /// The heir's epoch.
        epoch: Epoch,
        /// The voter.
        stamp: Stamp,
    },
    /// Unasked, to the holder: somebody better has left a `HandoverRequest` (R11).
    Wanted {
        /// Its priority.
        priority: u8,
        /// The epoch that a Transfer may name.
        heir: Epoch,
        /// The voter.
        stamp: Stamp,
    },
    /// Answer to `Inspect`.
    Report {
        /// How the voter stands.
        standing: Standing,
        /// The voter.
        stamp: Stamp,
    },
}

/// What a voter votes on (V9, `lease/generation.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The generation of its configuration.
    pub generation: u32,
    /// It accepts no older generation than this, and its record says so, so that it never will again.
    pub floor: u32,
    /// For how long, by its own clock and within its present life.
    pub floor_for: Duration,
    /// The newest generation that it knows to be open.
    pub opened: Opened,
    /// How much longer it lends to nobody but its recorded holders (V7).
    pub quiet_for: Duration,
    /// How many domains it lends at present.
    pub lent: u16,
}

/// Why a voter refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RefuseReason {
    /// Another (holder, epoch) is unexpired (V3).
    Held = 1,
    /// The voter has restarted and waits (V7).
    Quiet = 2,
    /// The epoch is below one that the voter has seen (V4).
    Stale = 3,
    /// The holder shows no sign of hearing the voter (V8).
    Deaf = 4,
    /// Another configuration digest (V9).
    Digest = 5,
    /// The asker speaks in another's name, or is no candidate of this cluster (V10).
    NotYou = 6,
    /// L_a above the voter's L_max.
    TooLong = 7,
    /// The voter can't write its record (V6).
    Disk = 8,
    /// This voter does not serve that cluster.
    Cluster = 9,
    /// The voter's record bars that generation: it has gone on to a newer one, or knows this one with other
    /// voters (V9).
    Generation = 10,
    /// The asker sends more, or asks for more domains, than the voter takes of one member.
    TooMuch = 11,
    /// The voter's operator has taken its vote for that holder back.
    Revoked = 12,
}

impl RefuseReason {
    /// All of them.
    pub const ALL: [RefuseReason; 12] = [
        RefuseReason::Held,
        RefuseReason::Quiet,
        RefuseReason::Stale,
        RefuseReason::Deaf,
        RefuseReason::Digest,
        RefuseReason::NotYou,
        RefuseReason::TooLong,
        RefuseReason::Disk,
        RefuseReason::Cluster,
        RefuseReason::Generation,
        RefuseReason::TooMuch,
        RefuseReason::Revoked,
    ];

    /// A name for reports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            RefuseReason::Held => "held",
            RefuseReason::Quiet => "quiet",
            RefuseReason::Stale => "stale",
            RefuseReason::Deaf => "deaf",
            RefuseReason::Digest => "digest",
            RefuseReason::NotYou => "not-you",
            RefuseReason::TooLong => "too-long",
            RefuseReason::Disk => "disk",
            RefuseReason::Cluster => "cluster",
            RefuseReason::Generation => "generation",
            RefuseReason::TooMuch => "too-much",
            RefuseReason::Revoked => "revoked",
        }
    }

    fn from_u8(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == byte)
    }
}

/// Bytes that are no lease message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends too early.
    #[error("lease message ends too early")]
    Truncated,
    /// It goes on after its end.
    #[error("lease message has {0} octets too many")]
    Trailing(usize),
    /// Not a lease message.
    #[error("first octet {0:#04x} where a lease message has 0x4c")]
    Tag(u8),
    /// Made by another version.
    #[error("lease protocol version {0}, this is version 2: run the same release on all members")]
    Version(u8),
    /// No such message.
    #[error("lease message of unknown kind {0}")]
    Kind(u8),
    /// A field out of its range.
    #[error("lease message with {0} out of range")]
    Field(&'static str),
}

const QUERY: u8 = 1;
const ACQUIRE: u8 = 2;
const RELEASE: u8 = 3;
const TRANSFER: u8 = 4;
const FREE: u8 = 5;
const GRANT: u8 = 6;
const REFUSE: u8 = 7;
const ENDED: u8 = 8;
const OFFER: u8 = 9;
const HANDOVER_REQUEST: u8 = 10;
const WANTED: u8 = 11;
const INSPECT: u8 = 12;
const REPORT: u8 = 13;
const PROMISE: u8 = 14;
const PROMISED: u8 = 15;

impl Message {
    /// Whether a voter answers it (the rest are answers).
    pub fn is_request(&self) -> bool {
        matches!(
            self,
            Message::Query { .. }
                | Message::Acquire { .. }
                | Message::Release { .. }
                | Message::Transfer { .. }
                | Message::HandoverRequest { .. }
                | Message::Inspect
        )
    }

    /// The voter's incarnation and clock, which every answer bears (R17).
    pub fn stamp(&self) -> Option<Stamp> {
        match *self {
            Message::Free { stamp, .. }
            | Message::Grant { stamp, .. }
            | Message::Refuse { stamp, .. }
            | Message::Ended { stamp, .. }
            | Message::Offer { stamp, .. }
            | Message::Wanted { stamp, .. }
            | Message::Report { stamp, .. } => Some(stamp),
            Message::Query { .. }
            | Message::Acquire { .. }
            | Message::Release { .. }
            | Message::Transfer { .. }
            | Message::HandoverRequest { .. }
            | Message::Inspect
            | Message::Promise { .. }
            | Message::Promised { .. } => None,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Message::Query { .. } => QUERY,
            Message::Acquire { .. } => ACQUIRE,
            Message::Release { .. } => RELEASE,
            Message::Transfer { .. } => TRANSFER,
            Message::Free { .. } => FREE,
            Message::Grant { .. } => GRANT,
            Message::Refuse { .. } => REFUSE,
            Message::Ended { .. } => ENDED,
            Message::Offer { .. } => OFFER,
            Message::HandoverRequest { .. } => HANDOVER_REQUEST,
            Message::Wanted { .. } => WANTED,
            Message::Inspect => INSPECT,
            Message::Report { .. } => REPORT,
            Message::Promise { .. } => PROMISE,
            Message::Promised { .. } => PROMISED,
        }
    }
}

impl Envelope {
    /// A datagram of this message alone.
    pub fn emit(&self) -> Vec<u8> {
        let (cluster, digest) = (self.cluster, self.digest);
        datagram::Datagram { cluster, digest, count: 1, entries: self.entry() }.finish()
    }

    /// Its entry in a datagram, with the length in front.
    fn entry(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(self.message.kind()).u64(self.domain.0).u64(self.nonce);
        match self.message {
            Message::Query { priority } => {
                w.u8(priority);
            }
            Message::Acquire { epoch, lease, prev_ack, priority } => {
                put_epoch(&mut w, epoch);
                put_duration(&mut w, lease);
                w.u64(prev_ack).u8(priority);
            }
            Message::Release { epoch } => put_epoch(&mut w, epoch),
            Message::Transfer { epoch, heir } => {
                put_epoch(&mut w, epoch);
                put_epoch(&mut w, heir);
            }
            Message::Free { max_counter, stamp } => {
                w.u64(max_counter);
                put_stamp(&mut w, stamp);
            }
            Message::Grant { epoch, lease, stamp } => {
                put_epoch(&mut w, epoch);
                put_duration(&mut w, lease);
                put_stamp(&mut w, stamp);
            }
            Message::Refuse { why, holder, holder_priority, remaining, max_counter, stamp } => {
                w.u8(why as u8).u8(u8::from(holder.is_some()));
                if let Some(epoch) = holder {
                    put_epoch(&mut w, epoch);
                }
                w.u8(holder_priority);
                put_duration(&mut w, remaining);
                w.u64(max_counter);
                put_stamp(&mut w, stamp);
            }
            Message::Promise { epoch, lease } | Message::Promised { epoch, lease } => {
                put_epoch(&mut w, epoch);
                put_duration(&mut w, lease);
            }
            Message::Ended { epoch, stamp } | Message::Offer { epoch, stamp } => {
                put_epoch(&mut w, epoch);
                put_stamp(&mut w, stamp);
            }
            Message::HandoverRequest { priority, next } => {
                w.u8(priority);
                put_epoch(&mut w, next);
            }
            Message::Wanted { priority, heir, stamp } => {
                w.u8(priority);
                put_epoch(&mut w, heir);
                put_stamp(&mut w, stamp);
            }
            Message::Inspect => {}
            Message::Report { standing, stamp } => {
                w.u32(standing.generation).u32(standing.floor).u16(standing.lent);
                w.u32(standing.opened.generation).u64(standing.opened.set.0);
                put_duration(&mut w, standing.floor_for);
                put_duration(&mut w, standing.quiet_for);
                put_stamp(&mut w, stamp);
            }
        }
        let rest = w.finish();
        let mut entry = Writer::new();
        // The longest, a refusal, has 70 octets.
        entry.u8(u8::try_from(rest.len()).unwrap_or(u8::MAX)).bytes(&rest);
        entry.finish()
    }

    /// From a datagram of one message; [`unpack`] reads the others.
    ///
    /// # Errors
    /// It is none, or has none or several messages.
    pub fn parse(bytes: &[u8]) -> Result<Envelope, DecodeError> {
        let mut entries = unpack(bytes)?;
        let first = entries.next().ok_or(DecodeError::Truncated)??;
        match entries.next() {
            None => Ok(first),
            Some(Err(error)) => Err(error),
            Some(Ok(_)) => Err(DecodeError::Field("count")),
        }
    }
}

fn message(kind: u8, r: &mut Reader<'_>) -> Result<Message, DecodeError> {
    const SHORT: DecodeError = DecodeError::Truncated;
    Ok(match kind {
        QUERY => Message::Query { priority: r.u8().ok_or(SHORT)? },
        ACQUIRE => Message::Acquire {
            epoch: get_epoch(r)?,
            lease: get_duration(r)?,
            prev_ack: r.u64().ok_or(SHORT)?,
            priority: r.u8().ok_or(SHORT)?,
        },
        RELEASE => Message::Release { epoch: get_epoch(r)? },
        TRANSFER => Message::Transfer { epoch: get_epoch(r)?, heir: get_epoch(r)? },
        FREE => Message::Free { max_counter: r.u64().ok_or(SHORT)?, stamp: get_stamp(r)? },
        GRANT => Message::Grant { epoch: get_epoch(r)?, lease: get_duration(r)?, stamp: get_stamp(r)? },
        REFUSE => Message::Refuse {
            why: RefuseReason::from_u8(r.u8().ok_or(SHORT)?).ok_or(DecodeError::Field("reason"))?,
            holder: match r.u8().ok_or(SHORT)? {
                0 => None,
                1 => Some(get_epoch(r)?),
                _ => return Err(DecodeError::Field("holder flag")),
            },
            holder_priority: r.u8().ok_or(SHORT)?,
            remaining: get_duration(r)?,
            max_counter: r.u64().ok_or(SHORT)?,
            stamp: get_stamp(r)?,
        },
        ENDED => Message::Ended { epoch: get_epoch(r)?, stamp: get_stamp(r)? },
        OFFER => Message::Offer { epoch: get_epoch(r)?, stamp: get_stamp(r)? },
        HANDOVER_REQUEST => Message::HandoverRequest { priority: r.u8().ok_or(SHORT)?, next: get_epoch(r)? },
        WANTED => Message::Wanted { priority: r.u8().ok_or(SHORT)?, heir: get_epoch(r)?, stamp: get_stamp(r)? },
        INSPECT => Message::Inspect,
        REPORT => {
            let (generation, floor) = (r.u32().ok_or(SHORT)?, r.u32().ok_or(SHORT)?);
            let (lent, generation_opened) = (r.u16().ok_or(SHORT)?, r.u32().ok_or(SHORT)?);
            let opened = Opened { generation: generation_opened, set: ConfigDigest(r.u64().ok_or(SHORT)?) };
            let (floor_for, quiet_for) = (get_duration(r)?, get_duration(r)?);
            let standing = Standing { generation, floor, floor_for, opened, quiet_for, lent };
            Message::Report { standing, stamp: get_stamp(r)? }
        }
        PROMISE => Message::Promise { epoch: get_epoch(r)?, lease: get_duration(r)? },
        PROMISED => Message::Promised { epoch: get_epoch(r)?, lease: get_duration(r)? },
        other => return Err(DecodeError::Kind(other)),
    })
}

/// 22 octets: counter, incarnation, attempt, node.
pub(crate) fn put_epoch(w: &mut Writer, epoch: Epoch) {
    w.u64(epoch.counter).u64(epoch.incarnation.0).u32(epoch.attempt).u16(epoch.node.get());
}

/// Reads what [`put_epoch`] wrote.
pub(crate) fn get_epoch(r: &mut Reader<'_>) -> Result<Epoch, DecodeError> {
    let short = DecodeError::Truncated;
    Ok(Epoch {
        counter: r.u64().ok_or(short)?,
        incarnation: Incarnation(r.u64().ok_or(short)?),
        attempt: r.u32().ok_or(short)?,
        node: NodeId::new(r.u16().ok_or(short)?).ok_or(DecodeError::Field("node"))?,
    })
}

/// Whole microseconds in four octets, so up to 71 minutes; longer ones are cut to that.
fn put_duration(w: &mut Writer, duration: Duration) {
    w.u32(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX));
}

fn get_duration(r: &mut Reader<'_>) -> Result<Duration, DecodeError> {
    r.u32().map(|micros| Duration::from_micros(micros.into())).ok_or(DecodeError::Truncated)
}

fn put_stamp(w: &mut Writer, stamp: Stamp) {
    w.u64(stamp.incarnation.0).u64(stamp.clock.as_nanos());
}

fn get_stamp(r: &mut Reader<'_>) -> Result<Stamp, DecodeError> {
    let short = DecodeError::Truncated;
    Ok(Stamp { incarnation: Incarnation(r.u64().ok_or(short)?), clock: Instant::from_nanos(r.u64().ok_or(short)?) })
}

#[cfg(test)]
mod tests;
