//! Things that are seen now and then, and count as there until they have not been seen for a while.

use alloc::collections::BTreeMap;

use crate::time::Instant;

/// More different ones are not remembered: who floods us must not fill our memory.
const MOST: usize = 16;

/// What was seen, and until when each counts.
#[derive(Debug, Clone)]
pub(crate) struct Sightings<K> {
    until: BTreeMap<K, Instant>,
}

impl<K> Default for Sightings<K> {
    fn default() -> Self {
        Sightings { until: BTreeMap::new() }
    }
}

impl<K: Ord> Sightings<K> {
    /// It is seen, and counts until then. What finds no room is not remembered.
    pub(crate) fn see(&mut self, what: K, until: Instant) {
        if let Some(known) = self.until.get_mut(&what) {
            *known = until.max(*known);
        } else if self.until.len() < MOST {
            self.until.insert(what, until);
        }
    }

    /// Forgets what has not been seen for too long.
    pub(crate) fn prune(&mut self, now: Instant) {
        self.until.retain(|_, until| now < *until);
    }

    /// What counts, in a fixed order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &K> {
        self.until.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_again_counts_longer_and_a_flood_fills_no_memory() {
        let at = Instant::from_nanos;
        let mut seen = Sightings::default();
        for what in 0..100 {
            seen.see(what, at(10));
        }
        assert_eq!(seen.iter().count(), MOST);
        seen.see(3, at(20));
        seen.see(3, at(15));
        seen.prune(at(10));
        assert_eq!(seen.iter().collect::<alloc::vec::Vec<_>>(), [&3]);
        seen.prune(at(20));
        assert_eq!(seen.iter().next(), None);
    }
}
