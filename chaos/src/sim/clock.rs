//! A host's boot clock against real time, which only the simulator knows.

use std::time::Duration;

use keepone_proto::time::Instant;

/// Parts per million.
const PPM: u64 = 1_000_000;

/// A clock that runs a little too fast or too slow.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Real time at which this clock began to be read.
    since: u64,
    /// What it showed then.
    shown: u64,
    /// Its rate, in parts per million of real time.
    rate: u64,
}

impl Clock {
    /// Shows `shown` nanoseconds at real time `since`, and runs off by `error_ppm`.
    pub fn new(since: u64, shown: u64, error_ppm: i32) -> Self {
        Clock { since, shown, rate: PPM.saturating_add_signed(i64::from(error_ppm)) }
    }

    /// The same quartz after a boot at real time `at`: it counts from nothing.
    pub fn rebooted(self, at: u64) -> Self {
        Clock { since: at, shown: 0, rate: self.rate }
    }

    /// The same clock after it has stood still for `lasted` nanoseconds up to `at`, and hides that.
    pub fn frozen(self, at: u64, lasted: u64) -> Self {
        let shown = self.local(at.saturating_sub(lasted)).as_nanos();
        Clock { since: at, shown, rate: self.rate }
    }

    /// What it shows at real time `at`.
    pub fn local(&self, at: u64) -> Instant {
        Instant::from_nanos(self.shown + scale(at.saturating_sub(self.since), self.rate, PPM))
    }

    /// The first real time at which it shows `local` or more.
    pub fn real(&self, local: Instant) -> u64 {
        let ahead = local.as_nanos().saturating_sub(self.shown);
        let guess = self.since.saturating_add(scale(ahead, PPM, self.rate));
        // Two roundings downwards: at most two steps short.
        (guess..guess.saturating_add(3)).find(|at| self.local(*at) >= local).unwrap_or(guess)
    }

    /// How much real time this clock takes to show `duration`.
    pub fn real_for(&self, duration: Duration) -> u64 {
        scale(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), PPM, self.rate)
    }
}

fn scale(value: u64, by: u64, over: u64) -> u64 {
    // Hours of nanoseconds fit; a division of 128 bits costs as much as the rest of an event.
    if let Some(product) = value.checked_mul(by) {
        return product / over.max(1);
    }
    u64::try_from(u128::from(value) * u128::from(by) / u128::from(over.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_time_of_a_reading_is_the_first_at_which_it_shows() {
        for error in [-10_000, -1, 0, 1, 10_000] {
            let clock = Clock::new(77, 1_000_000_007, error);
            for at in [77, 78, 1_000, 123_456_789, 10_000_000_000] {
                let local = clock.local(at);
                let real = clock.real(local);
                assert!(real <= at && clock.local(real) >= local, "{error} ppm at {at}");
                assert!(real == 77 || clock.local(real - 1) < local, "{error} ppm at {at}");
            }
        }
    }

    #[test]
    fn a_hidden_freeze_leaves_no_gap_in_what_is_shown() {
        let clock = Clock::new(0, 5_000, 0).frozen(10_000, 4_000);
        assert_eq!((clock.local(10_000).as_nanos(), clock.local(11_000).as_nanos()), (11_000, 12_000));
        assert_eq!(clock.real(Instant::from_nanos(12_000)), 11_000);
    }

    #[test]
    fn a_fast_clock_reaches_a_second_early() {
        assert_eq!(Clock::new(0, 0, 10_000).real_for(Duration::from_millis(1010)), 1_000_000_000);
    }
}
