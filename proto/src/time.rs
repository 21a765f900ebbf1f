//! Time as the core knows it: an instant on one node's own boot clock.
//!
//! The one thing that must stay true: instants of two nodes are never compared. Only durations cross
//! the network (safety.md T1).

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

/// Nanoseconds of the node's own `CLOCK_BOOTTIME`.
///
/// Arithmetic saturates: an instant is never before the boot nor beyond the end of a `u64`
/// (584 years), so no input can make it wrap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Instant(u64);

impl Instant {
    /// The boot of the node.
    pub const BOOT: Instant = Instant(0);

    /// An instant `nanos` nanoseconds after the boot.
    pub const fn from_nanos(nanos: u64) -> Self {
        Instant(nanos)
    }

    /// Nanoseconds since the boot.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// [`Instant::since`] in nanoseconds, for sums that are made at each step: a [`Duration`] costs a division.
    pub(crate) const fn nanos_since(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000 / 1_000)
    }
}

/// Whole nanoseconds of a duration, capped at `u64::MAX` (584 years).
pub fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, rhs: Duration) -> Instant {
        Instant(self.0.saturating_add(nanos(rhs)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, rhs: Duration) -> Instant {
        Instant(self.0.saturating_sub(nanos(rhs)))
    }
}

/// Centiseconds, the unit of Max Advertise Interval: 1 to 4095 (10 ms to 40.95 s).
///
/// RFC 9568, 5.2.7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Centis(u16);

impl Centis {
    /// The largest interval that the 12 bits of a VRRPv3 packet carry.
    pub const MAX: u16 = 4095;

    /// `None` outside 1..=4095.
    pub const fn new(centis: u16) -> Option<Self> {
        if centis >= 1 && centis <= Self::MAX { Some(Centis(centis)) } else { None }
    }

    /// The number as on the wire.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The interval of a duration, rounded to the nearest centisecond; `None` if that is outside
    /// 1..=4095.
    pub fn from_duration(duration: Duration) -> Option<Self> {
        u16::try_from((duration.as_millis() + 5) / 10).ok().and_then(Self::new)
    }
}

impl From<Centis> for Duration {
    fn from(centis: Centis) -> Duration {
        Duration::from_millis(u64::from(centis.0) * 10)
    }
}

impl fmt::Debug for Centis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}cs", self.0)
    }
}
