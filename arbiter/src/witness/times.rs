//! How long the writes of a record take: what a grant of a new epoch waits for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the histogram, in milliseconds; what takes longer is in the last place.
pub const BOUNDS_MS: [u64; 8] = [1, 2, 5, 10, 50, 100, 500, 2000];

/// Counts of one record's writes, from its thread to whoever looks.
#[derive(Debug, Default)]
pub struct Times {
    places: [AtomicU64; BOUNDS_MS.len() + 1],
    failed: AtomicU64,
    sum_ns: AtomicU64,
    last_ns: AtomicU64,
    longest_ns: AtomicU64,
}

/// [`Times`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Writes by how long they took, one place for each of [`BOUNDS_MS`] and one for what took longer.
    pub places: [u64; BOUNDS_MS.len() + 1],
    /// Those that failed, which are counted above too.
    pub failed: u64,
    /// All of them together.
    pub sum: Duration,
    /// The last one.
    pub last: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Times {
    /// A write has ended.
    pub fn note(&self, took: Duration, good: bool) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let place = BOUNDS_MS.iter().position(|bound| took <= Duration::from_millis(*bound)).unwrap_or(BOUNDS_MS.len());
        if let Some(place) = self.places.get(place) {
            place.fetch_add(1, Ordering::Relaxed);
        }
        self.failed.fetch_add(u64::from(!good), Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
        self.last_ns.store(ns, Ordering::Relaxed);
        self.longest_ns.fetch_max(ns, Ordering::Relaxed);
    }

    /// What there is to see now.
    pub fn seen(&self) -> Seen {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let duration = |counter| Duration::from_nanos(of(counter));
        Seen {
            places: self.places.each_ref().map(of),
            failed: of(&self.failed),
            sum: duration(&self.sum_ns),
            last: duration(&self.last_ns),
            longest: duration(&self.longest_ns),
        }
    }
}

impl Seen {
    /// How many writes there were.
    pub fn count(&self) -> u64 {
        self.places.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_write_is_in_the_first_place_that_has_room_for_it() {
        let times = Times::default();
        for ms in [1, 3, 5, 9999] {
            times.note(Duration::from_millis(ms), ms != 3);
        }
        let seen = times.seen();
        assert_eq!(seen.places, [1, 0, 2, 0, 0, 0, 0, 0, 1]);
        assert_eq!(
            (seen.count(), seen.failed, seen.last, seen.longest.as_millis()),
            (4, 1, Duration::from_millis(9999), 9999)
        );
        assert_eq!(seen.sum, Duration::from_millis(10_008));
    }
}
