//! What a voter must not forget: the highest epoch of each domain, which names its last holder (V6).
//!
//! The shell puts it on disk; this is only the format. A record that does not parse is treated as no
//! record, which costs a wait of L_max and nothing else (V7).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::generation::Opened;
use crate::id::{ConfigDigest, DomainId, Epoch};
use crate::time::nanos;
use crate::wire::lease::{get_epoch, put_epoch};
use crate::wire::{Reader, Writer};

/// First octets of a record: a name and the version of the format.
const MAGIC: [u8; 8] = *b"keepone2";

/// In the count of domains: something was forgotten.
const FORGOTTEN: u32 = 1 << 31;

/// The durable state of a voter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Record {
    /// The oldest generation of the voter set that the voter still accepts (V9).
    pub floor: u32,
    /// The newest generation that it knows to be open.
    pub opened: Opened,
    /// L_max of that life of the voter: the next one waits at least as long, should it be configured shorter (V7).
    pub lease_max: Duration,
    /// The highest epoch of each domain.
    pub domains: BTreeMap<DomainId, Epoch>,
    /// The highest counter of domains that were forgotten, or whose last epochs may be lost; 0 for none. New epochs begin
    /// above it.
    pub forgotten: u64,
}

/// A record that can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a voter's record, or a torn one: it is ignored, and the voter waits for the longest lease")]
pub struct RecordError;

impl Record {
    /// The octets: magic, floor (4), opened (4 + 8), L_max in nanoseconds (8), count (4), then domain (8) and
    /// epoch (22) each. The counter of what was forgotten (8) ends it where the count has [`FORGOTTEN`] set.
    pub fn emit(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.bytes(&MAGIC).u32(self.floor).u32(self.opened.generation).u64(self.opened.set.0);
        let count = u32::try_from(self.domains.len()).unwrap_or(u32::MAX) & !FORGOTTEN;
        w.u64(nanos(self.lease_max)).u32(if self.forgotten > 0 { count | FORGOTTEN } else { count });
        for (id, epoch) in &self.domains {
            w.u64(id.0);
            put_epoch(&mut w, *epoch);
        }
        if self.forgotten > 0 {
            w.u64(self.forgotten);
        }
        w.finish()
    }

    /// From the octets that [`Record::emit`] made.
    pub fn parse(bytes: &[u8]) -> Result<Record, RecordError> {
        let mut r = Reader::new(bytes);
        if r.array() != Some(MAGIC) {
            return Err(RecordError);
        }
        let floor = r.u32().ok_or(RecordError)?;
        let generation = r.u32().ok_or(RecordError)?;
        let opened = Opened { generation, set: ConfigDigest(r.u64().ok_or(RecordError)?) };
        let lease_max = Duration::from_nanos(r.u64().ok_or(RecordError)?);
        let count = r.u32().ok_or(RecordError)?;
        let mut domains = BTreeMap::new();
        for _ in 0..count & !FORGOTTEN {
            let id = DomainId(r.u64().ok_or(RecordError)?);
            domains.insert(id, get_epoch(&mut r).map_err(|_| RecordError)?);
        }
        let forgotten = if count & FORGOTTEN == 0 { 0 } else { r.u64().ok_or(RecordError)? };
        if r.remaining() == 0 { Ok(Record { floor, opened, lease_max, domains, forgotten }) } else { Err(RecordError) }
    }
}
