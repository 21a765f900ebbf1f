//! The only place that reads a clock: `CLOCK_BOOTTIME`, which goes on while the machine sleeps.
//!
//! The one thing that must stay true: a wait never ends before its instant (safety.md T1, T2).

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use keepone_proto::time::Instant;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::ClockId;
use tokio::io::unix::AsyncFd;

use crate::readiness;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The time on this node's boot clock.
pub fn now() -> Instant {
    #[allow(clippy::expect_used, reason = "a kernel older than 2.6.39; nothing of this program could work")]
    let time = ClockId::CLOCK_BOOTTIME.now().expect("CLOCK_BOOTTIME exists since Linux 2.6.39");
    // The boot clock starts at zero and is never negative.
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    Instant::from_nanos(seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(nanos))
}

/// Microseconds of `CLOCK_MONOTONIC`, for a service manager that counts by it; nothing here is decided by it.
pub(crate) fn monotonic_micros() -> u64 {
    let time = ClockId::CLOCK_MONOTONIC.now();
    let micros = time.map(|time| time.tv_sec().saturating_mul(1_000_000).saturating_add(time.tv_nsec() / 1000));
    micros.ok().and_then(|micros| u64::try_from(micros).ok()).unwrap_or(0)
}

/// The next instant on a grid of `slack`: one that is met in each interval alike, so that intervals stay even.
pub(crate) fn together(at: Instant, slack: Duration) -> Instant {
    let slack = u64::try_from(slack.as_nanos()).unwrap_or(0);
    at.as_nanos().checked_next_multiple_of(slack).map_or(at, Instant::from_nanos)
}

/// The last instant on that grid: who sees time by it does nothing between two of its points.
pub(crate) fn at_last(now: Instant, slack: Duration) -> Instant {
    let slack = u64::try_from(slack.as_nanos()).unwrap_or(0);
    now.as_nanos().checked_rem(slack).map_or(now, |past| Instant::from_nanos(now.as_nanos() - past))
}

/// A reusable wait for instants of the boot clock, by timerfd: its lateness is the scheduler's, not
/// a millisecond of epoll's.
pub struct Timer {
    fd: AsyncFd<Fd>,
    /// When it ends as it is set, unless that was seen already.
    set_to: Option<Instant>,
}

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// The process is out of file descriptors, or no tokio runtime with I/O surrounds the call.
    pub fn new() -> io::Result<Self> {
        let timer = TimerFd::new(TimerClock::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        Ok(Timer { fd: readiness::readable(Fd(timer))?, set_to: None })
    }

    /// Ends at `at` or as soon after it as the scheduler allows; at once if it has passed.
    ///
    /// May be dropped at any point and called again with another instant.
    ///
    /// # Errors
    /// Only what the kernel may answer to `timerfd_settime`; none is known for a valid timer.
    pub async fn sleep_until(&mut self, at: Instant) -> io::Result<()> {
        while now() < at {
            // One that ends sooner stays set: whoever puts its deadline off again and again does not pay for it each
            // time. Setting also forgets an expiry that nobody read.
            if self.set_to.is_none_or(|set_to| set_to > at) {
                self.fd.get_ref().0.set(Expiration::OneShot(timespec(at)), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
                self.set_to = Some(at);
            }
            // Its count is not read, which would take two more calls: epoll tells of each expiry once (edge-triggered), and
            // setting it anew forgets the count. Readiness left over from an earlier setting ends in another turn.
            self.fd.readable().await?.clear_ready();
            self.set_to = None;
        }
        Ok(())
    }
}

/// Waits for `at` with a timer of its own; see [`Timer::sleep_until`].
///
/// # Errors
/// Those of [`Timer::new`] and [`Timer::sleep_until`].
pub async fn sleep_until(at: Instant) -> io::Result<()> {
    Timer::new()?.sleep_until(at).await
}

/// nix's timer, with the trait that [`AsyncFd`] asks for.
pub(crate) struct Fd(TimerFd);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

fn timespec(at: Instant) -> TimeSpec {
    let (seconds, nanos) = (at.as_nanos() / NANOS_PER_SECOND, at.as_nanos() % NANOS_PER_SECOND);
    // Both fit: 584 years in seconds, and less than 10^9.
    TimeSpec::new(i64::try_from(seconds).unwrap_or(i64::MAX), i64::try_from(nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_wait_is_never_early_and_not_absurdly_late() {
        runtime().block_on(async {
            let mut timer = Timer::new().unwrap();
            for micros in [0, 1, 50, 333, 1_000, 7_777, 20_000] {
                for _ in 0..10 {
                    let at = now() + Duration::from_micros(micros);
                    timer.sleep_until(at).await.unwrap();
                    let late = now().since(at);
                    assert!(now() >= at, "woke {:?} before {at:?}", at.since(now()));
                    assert!(late < Duration::from_secs(2), "woke {late:?} after {at:?}");
                }
            }
        });
    }

    #[test]
    fn an_instant_in_the_past_is_no_wait() {
        runtime().block_on(async {
            let begun = now();
            Timer::new().unwrap().sleep_until(Instant::BOOT).await.unwrap();
            sleep_until(begun).await.unwrap();
            assert!(now().since(begun) < Duration::from_secs(1));
        });
    }

    #[test]
    fn an_abandoned_wait_leaves_nothing_behind() {
        runtime().block_on(async {
            let mut timer = Timer::new().unwrap();
            let soon = now() + Duration::from_millis(500);
            let abandoned = tokio::time::timeout(Duration::ZERO, timer.sleep_until(soon)).await;
            assert!(abandoned.is_err());
            // The first setting expires meanwhile, unread.
            tokio::time::sleep(Duration::from_millis(600)).await;
            let at = now() + Duration::from_millis(30);
            timer.sleep_until(at).await.unwrap();
            assert!(now() >= at);
        });
    }
}
