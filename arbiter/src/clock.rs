//! The one place of this crate that reads the lease's clock (safety.md T1).

use keepone_proto::time::Instant;
use nix::time::{ClockId, clock_gettime};

/// Now, on this host's `CLOCK_BOOTTIME`, which goes on through a suspend.
///
/// # Panics
/// Where the kernel has no `CLOCK_BOOTTIME` (before Linux 2.6.39): no lease can be kept there.
#[allow(clippy::expect_used, reason = "without this clock nothing here may go on")]
pub fn boottime() -> Instant {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has had CLOCK_BOOTTIME since 2.6.39");
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec()).unwrap_or(0);
    Instant::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// The clock that the service manager compares reloads by; of no use for leases, since it stands still in a suspend.
pub fn monotonic() -> std::time::Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(std::time::Duration::ZERO, std::time::Duration::from)
}
