//! How much each member may send: a node that floods costs itself.
//!
//! What must stay true: what is too much is dropped before it is read, and takes no place in the queue that all
//! members share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::quic::PublicKey;

/// Datagrams a second that a member may send unless the configuration says otherwise. An agent of a hundred domains
/// with a lease of 300 ms sends some hundred.
pub const DEFAULT_RATE: u32 = 2000;
/// Who sends too much is told so once in this time.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What to do with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has its place.
    Serve,
    /// It is too much: say so, for so many that were dropped.
    Tell(u64),
    /// It is too much, and that was said of late.
    Drop,
}

/// A bucket for each key; it holds what may be sent within a second.
#[derive(Debug)]
pub(super) struct Rates {
    max: AtomicU32,
    members: Mutex<BTreeMap<PublicKey, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
    unsaid: u64,
    dropped: u64,
    told_at: Option<Instant>,
}

impl Rates {
    pub(super) fn new(max: u32) -> Self {
        Rates { max: AtomicU32::new(max), members: Mutex::default() }
    }

    pub(super) fn max(&self) -> u32 {
        self.max.load(Ordering::Relaxed)
    }

    pub(super) fn set_max(&self, max: u32) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// A datagram of that member has come.
    pub(super) fn admit(&self, now: Instant, key: PublicKey) -> Verdict {
        let max = f64::from(self.max());
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = members.entry(key).or_insert(Bucket { left: max, at: now, unsaid: 0, dropped: 0, told_at: None });
        bucket.left = (bucket.left + now.duration_since(bucket.at).as_secs_f64() * max).min(max);
        bucket.at = now;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Verdict::Serve;
        }
        bucket.dropped += 1;
        bucket.unsaid += 1;
        if bucket.told_at.is_some_and(|at| now.duration_since(at) < TELL_EVERY) {
            return Verdict::Drop;
        }
        bucket.told_at = Some(now);
        Verdict::Tell(std::mem::take(&mut bucket.unsaid))
    }

    /// How many of a member's datagrams were dropped.
    pub(super) fn dropped(&self, key: PublicKey) -> u64 {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).get(&key).map_or(0, |bucket| bucket.dropped)
    }

    /// Keeps the counts of these members only.
    pub(super) fn retain(&self, known: impl Fn(PublicKey) -> bool) {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| known(*key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_is_cut_to_the_rate_and_said_once_a_second_and_costs_nobody_else() {
        let (rates, start) = (Rates::new(100), Instant::now());
        let [flood, calm] = [1, 2].map(|octet| PublicKey([octet; 32]));
        let (mut served, mut told) = (0, Vec::new());
        // 1000 a second for three seconds, and beside it one in ten times the time.
        for ms in 0..3000 {
            let now = start + Duration::from_millis(ms);
            match rates.admit(now, flood) {
                Verdict::Serve => served += 1,
                Verdict::Tell(count) => told.push(count),
                Verdict::Drop => {}
            }
            if ms % 10 == 0 {
                assert_eq!(rates.admit(now, calm), Verdict::Serve, "after {ms} ms");
            }
        }
        assert!((395..=400).contains(&served), "{served}: a second's store, and what three seconds bring");
        assert_eq!((told.len(), told[0]), (3, 1), "{told:?}");
        assert_eq!(rates.dropped(flood), 3000 - served);
        assert_eq!(rates.dropped(calm), 0);
        // Calm again, it is served again.
        assert_eq!(rates.admit(start + Duration::from_secs(5), flood), Verdict::Serve);
        rates.retain(|key| key == calm);
        assert_eq!(rates.dropped(flood), 0);
    }
}
