//! For how long a domain was certainly held: by what a peer said and when it can have said that, or by what was asked
//! of our own gate.
//!
//! What must stay true: delay, loss, duplication and reordering of what a peer says make its tenure shorter here than
//! it was, never longer. So two that overlap did, and an alarm of two holders is none of words that were long on
//! their way (D7).

use crate::time::Instant;

/// A time during which a domain was held, on our own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenure {
    /// It began no later.
    pub began: Instant,
    /// It was held then; of our own gate: it is open until then, if nobody shuts it before.
    pub until: Instant,
}

impl Tenure {
    /// Whether both held at once.
    pub fn overlaps(&self, other: &Tenure) -> bool {
        self.began < other.until && other.began < self.until
    }

    /// The same, held at `at` too.
    pub fn extended(self, at: Instant) -> Tenure {
        Tenure { until: self.until.max(at), ..self }
    }

    /// The same, ended at `at` if not before.
    pub fn ended(self, at: Instant) -> Tenure {
        Tenure { until: self.until.min(at), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenure(began: u64, until: u64) -> Tenure {
        Tenure { began: Instant::from_nanos(began), until: Instant::from_nanos(until) }
    }

    #[test]
    fn only_what_was_held_at_once_overlaps() {
        for (one, other, both) in [
            ((10, 20), (20, 30), false),
            ((10, 21), (20, 30), true),
            // Nothing is certain but that it held at some time between 15 and 25: the other may have followed.
            ((25, 15), (18, 90), false),
            ((25, 19), (18, 90), true),
        ] {
            let (one, other) = (tenure(one.0, one.1), tenure(other.0, other.1));
            assert_eq!((one.overlaps(&other), other.overlaps(&one)), (both, both), "{one:?} {other:?}");
        }
    }
}
