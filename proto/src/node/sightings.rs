//! Members that were seen to be other than they should: each sight is remembered for a while, so that what
//! comes and goes is one alert.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::NodeId;
use crate::time::Instant;

/// One kind of sight.
#[derive(Debug, Clone, Default)]
pub(super) struct Sightings {
    seen: BTreeMap<NodeId, (Instant, String)>,
}

impl Sightings {
    /// A member was seen so; the first words stay while it goes on.
    pub(super) fn note(&mut self, now: Instant, node: NodeId, lasts: Duration, words: impl FnOnce() -> String) {
        let (until, _) = self.seen.entry(node).or_insert_with(|| (now, words()));
        *until = (*until).max(now + lasts);
    }

    /// What still stands, in words; the rest is forgotten.
    pub(super) fn standing(&mut self, now: Instant) -> String {
        self.seen.retain(|_, (until, _)| now < *until);
        let words: Vec<&str> = self.seen.values().map(|(_, words)| words.as_str()).collect();
        words.join("; ")
    }

    /// When the next is forgotten.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.seen.is_empty() {
            return None;
        }
        self.seen.values().map(|(until, _)| *until).min()
    }
}
