//! Sets of time spans, and the few sums that every verdict is made of.
//!
//! All instants are nanoseconds of one machine's `CLOCK_BOOTTIME`. What must stay true: the spans of a
//! set are sorted, do not touch and are not empty, so that a length is a plain sum.

/// Sorted, disjoint, half-open spans `[from, to)` in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spans(Vec<(u64, u64)>);

impl Spans {
    /// Nothing.
    pub const fn new() -> Self {
        Spans(Vec::new())
    }

    /// Any spans in any order; empty ones vanish, overlapping and touching ones become one.
    pub fn from_pairs(mut pairs: Vec<(u64, u64)>) -> Self {
        pairs.retain(|(from, to)| from < to);
        pairs.sort_unstable();
        let mut spans = Spans::new();
        for (from, to) in pairs {
            spans.extend(from, to);
        }
        spans
    }

    /// What a series of sightings says: a thing that is seen twice within `bridge` was there in between.
    ///
    /// A lone sighting is one nanosecond long, so that it still overlaps with a span around it.
    pub fn from_sightings(mut sightings: Vec<u64>, bridge: u64) -> Self {
        sightings.sort_unstable();
        let mut spans = Spans::new();
        for at in sightings {
            match spans.0.last_mut() {
                Some(last) if at.saturating_sub(last.1) <= bridge => last.1 = last.1.max(at.saturating_add(1)),
                _ => spans.0.push((at, at.saturating_add(1))),
            }
        }
        spans
    }

    /// Adds a span that begins at or after every begin so far.
    fn extend(&mut self, from: u64, to: u64) {
        match self.0.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => self.0.push((from, to)),
        }
    }

    /// The spans, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// No span at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nanoseconds in all.
    pub fn total(&self) -> u64 {
        self.iter().map(|(from, to)| to - from).sum()
    }

    /// The longest span, in nanoseconds; 0 without any.
    pub fn longest(&self) -> u64 {
        self.iter().map(|(from, to)| to - from).max().unwrap_or(0)
    }

    /// Whether `at` lies in a span.
    pub fn contains(&self, at: u64) -> bool {
        self.iter().any(|(from, to)| from <= at && at < to)
    }

    /// In either.
    pub fn union(&self, other: &Spans) -> Spans {
        Spans::from_pairs(self.iter().chain(other.iter()).collect())
    }

    /// In both.
    pub fn intersection(&self, other: &Spans) -> Spans {
        let mut pairs = Vec::new();
        for (from, to) in self.iter() {
            for (other_from, other_to) in other.iter() {
                pairs.push((from.max(other_from), to.min(other_to)));
            }
        }
        Spans::from_pairs(pairs)
    }

    /// What of `[from, to)` is in no span.
    pub fn gaps(&self, from: u64, to: u64) -> Spans {
        let mut pairs = Vec::new();
        let mut at = from;
        for (begin, end) in self.iter() {
            pairs.push((at, begin.min(to)));
            at = at.max(end);
        }
        pairs.push((at, to));
        Spans::from_pairs(pairs)
    }

    /// The part within `[from, to)`.
    pub fn within(&self, from: u64, to: u64) -> Spans {
        self.intersection(&Spans::from_pairs(vec![(from, to)]))
    }

    /// Where two or more of the sets are at the same instant.
    pub fn shared_by_two(sets: &[Spans]) -> Spans {
        let mut shared = Spans::new();
        for (place, set) in sets.iter().enumerate() {
            for other in sets.iter().skip(place + 1) {
                shared = shared.union(&set.intersection(other));
            }
        }
        shared
    }
}

/// Nanoseconds as milliseconds, with one decimal place: what reports print.
pub fn millis(nanos: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a run lasts minutes; a double holds 104 days exactly")]
    let millis = (nanos / 100_000) as f64 / 10.0;
    millis
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(pairs: &[(u64, u64)]) -> Spans {
        Spans::from_pairs(pairs.to_vec())
    }

    #[test]
    fn overlapping_and_touching_spans_become_one_and_empty_ones_vanish() {
        assert_eq!(spans(&[(5, 9), (1, 3), (3, 4), (8, 12), (20, 20)]), Spans(vec![(1, 4), (5, 12)]));
    }

    #[test]
    fn two_holders_are_measured_where_their_spans_cross() {
        let first = spans(&[(0, 10), (20, 30)]);
        let second = spans(&[(8, 22)]);
        let third = spans(&[(9, 10)]);
        assert_eq!(Spans::shared_by_two(&[first.clone(), second.clone(), third]).total(), 4);
        assert_eq!(Spans::shared_by_two(&[first]).total(), 0);
        assert_eq!(Spans::shared_by_two(&[second, spans(&[(22, 30)])]).total(), 0);
    }

    #[test]
    fn sightings_are_bridged_up_to_the_given_gap_and_no_further() {
        let seen = Spans::from_sightings(vec![100, 300, 110, 120, 130], 10);
        assert_eq!(seen, Spans(vec![(100, 131), (300, 301)]));
        assert_eq!(seen.gaps(90, 310), Spans(vec![(90, 100), (131, 300), (301, 310)]));
        assert_eq!(seen.longest(), 31);
    }

    #[test]
    fn a_handover_and_back_is_no_overlap() {
        let first = Spans::from_sightings(vec![0, 1, 2, 3, 100, 101], 20);
        let second = Spans::from_sightings(vec![30, 40, 50, 60, 70], 20);
        assert_eq!(Spans::shared_by_two(&[first, second]).total(), 0);
    }

    #[test]
    fn gaps_of_nothing_are_everything() {
        assert_eq!(Spans::new().gaps(3, 7).total(), 4);
        assert_eq!(spans(&[(0, 100)]).gaps(3, 7).total(), 0);
    }
}
