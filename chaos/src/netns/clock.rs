//! The one clock of every observation: this machine's `CLOCK_BOOTTIME`, in nanoseconds.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

fn nanos(time: TimeSpec) -> u64 {
    u64::try_from(time.tv_sec()).unwrap_or(0).saturating_mul(1_000_000_000) + u64::try_from(time.tv_nsec()).unwrap_or(0)
}

fn read(clock: ClockId) -> u64 {
    // The three clocks asked for here exist on every Linux that has namespaces; 0 would be seen at once.
    clock_gettime(clock).map_or(0, nanos)
}

/// Now.
pub fn now() -> u64 {
    read(ClockId::CLOCK_BOOTTIME)
}

/// A packet's kernel timestamp, which is on the wall clock, as an instant on ours.
///
/// The difference of the clocks is read now, so a step of the wall clock can spoil only the frames that
/// are in flight.
pub fn from_kernel(stamp: TimeSpec) -> u64 {
    let wall = read(ClockId::CLOCK_REALTIME);
    let age = wall.saturating_sub(nanos(stamp));
    now().saturating_sub(age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_of_the_wall_clock_becomes_its_instant_on_the_boot_clock() {
        let before = now();
        let stamp = clock_gettime(ClockId::CLOCK_REALTIME).unwrap();
        let at = from_kernel(stamp);
        let after = now();
        // The wall clock may be slewed meanwhile; a millisecond is far above that.
        assert!(before <= at + 1_000_000 && at <= after + 1_000_000, "{before} {at} {after}");
    }
}
