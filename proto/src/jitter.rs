//! Jitter of the back-off (R13): SplitMix64, seeded from outside, so that a seed gives one history (I25).

use core::time::Duration;

use crate::time::nanos;

/// A stream of numbers.
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Jitter(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between zero and `bound`, the bound excluded; zero for a zero bound.
    pub fn up_to(&mut self, bound: Duration) -> Duration {
        match nanos(bound) {
            0 => Duration::ZERO,
            bound => Duration::from_nanos(self.next_u64() % bound),
        }
    }
}
