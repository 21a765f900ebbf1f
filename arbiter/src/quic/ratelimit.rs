//! A brake for log lines whose number others decide.

use std::time::Duration;

use tokio::time::Instant;

/// Lets one through each period and counts the rest.
#[derive(Debug)]
pub(crate) struct RateLimit {
    period: Duration,
    last: Option<Instant>,
    held_back: u64,
}

impl RateLimit {
    pub(crate) fn new(period: Duration) -> Self {
        RateLimit { period, last: None, held_back: 0 }
    }

    /// `Some`: go ahead, and so many were held back since the last; `None`: hold back.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < self.period) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}
