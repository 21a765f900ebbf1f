//! What the store keeps of generations beside the keys of the domains (V9): which is the oldest that may still be granted
//! under, and which was last granted under. One record for the whole cluster, as each voter has one of its own.
//!
//! A swap of a domain's key names the version of this record, so that once the floor has risen no grant under an older
//! generation can be written, however long it was under way. Who has seen the floor for L_max knows that what was granted
//! before has run out.

use core::time::Duration;

use crate::id::ConfigDigest;
use crate::lease::generation::Opened;
use crate::time::Instant;

/// The record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StoreRecord {
    /// The oldest generation that anybody is granted something under; it never falls.
    pub floor: u32,
    /// The newest that something was asked for under, and its voter set.
    pub opened: Opened,
}

impl Default for StoreRecord {
    /// Where there is none nothing has been closed, and nothing is older than the first generation.
    fn default() -> Self {
        StoreRecord { floor: 1, opened: Opened::default() }
    }
}

/// The record as an answer shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// The revision of its last change, 0 where there is none.
    pub version: u64,
    /// What it says.
    pub record: StoreRecord,
}

/// A question about the record alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptAsk {
    /// What does it say?
    Read,
    /// If it is still at `version` (0: not there), let it say `record`; else tell what it says.
    Write {
        /// The `mod_revision` that is compared with.
        version: u64,
        /// What is written.
        record: StoreRecord,
    },
}

/// Of which generation this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    /// Its number.
    pub number: u32,
    /// The oldest that this node's configuration still takes.
    pub serves: u32,
    /// [`crate::lease::set_digest`] of it.
    pub set: ConfigDigest,
}

/// What a register knows of the record.
#[derive(Debug, Clone, Default)]
pub(super) struct Keeper {
    kept: Option<Kept>,
    /// When the answer came that first showed this floor.
    floor_since: Option<Instant>,
    /// The newest revision of the store that an answer with the record has named.
    at: u64,
    /// The ticket of the question that is out.
    pub(super) out: Option<u64>,
}

impl Keeper {
    /// The version that a swap names; `None`: unknown, ask first.
    pub(super) fn version(&self) -> Option<u64> {
        self.kept.map(|kept| kept.version)
    }

    /// An answer shows it, as it was at a revision of the store. One that was overtaken by a newer one shows nothing. Where
    /// somebody has deleted the record its version is lower than before, and the swaps' comparison goes by that.
    pub(super) fn learn_at(&mut self, now: Instant, revision: u64, kept: Kept) {
        if revision < self.at {
            return;
        }
        self.at = revision;
        self.take(now, kept);
    }

    /// The same of an answer about the record alone, of which no revision is known.
    pub(super) fn learn(&mut self, now: Instant, kept: Kept) {
        if self.kept.is_some_and(|known| known.version > kept.version) {
            return;
        }
        self.at = self.at.max(kept.version);
        self.take(now, kept);
    }

    fn take(&mut self, now: Instant, kept: Kept) {
        let stands = self.kept.is_some_and(|known| known.record.floor == kept.record.floor);
        self.floor_since = self.floor_since.filter(|_| stands).or(Some(now));
        self.kept = Some(kept);
    }

    /// The store has forgotten: what it says now is all there is.
    pub(super) fn forget(&mut self) {
        (self.kept, self.floor_since, self.at) = (None, None, 0);
    }

    /// Whether nothing is granted under this generation any more.
    pub(super) fn is_closed(&self, generation: Generation) -> bool {
        self.kept.is_some_and(|kept| kept.record.floor > generation.number)
    }

    /// What is to be asked about the record, if anything; `asks`: a grant is asked for under this generation.
    pub(super) fn due(&self, generation: Generation, asks: bool) -> Option<KeptAsk> {
        let Some(Kept { version, record }) = self.kept else { return Some(KeptAsk::Read) };
        let StoreRecord { floor, opened } = record;
        let opens = asks && generation.number > opened.generation && generation.number >= floor;
        let opened = if opens { Opened { generation: generation.number, set: generation.set } } else { opened };
        let next = StoreRecord { floor: floor.max(generation.serves), opened };
        (next != record).then_some(KeptAsk::Write { version, record: next })
    }

    /// For a report: the floor, for how long it is known to stand, and what was opened.
    pub(super) fn standing(&self, now: Instant) -> (u32, Duration, Opened) {
        let record = self.kept.map(|kept| kept.record).unwrap_or_default();
        (record.floor, self.floor_since.map_or(Duration::ZERO, |since| now.since(since)), record.opened)
    }
}
