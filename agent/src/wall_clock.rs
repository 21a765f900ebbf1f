//! The wall clock, for signatures (keepalived's `auth_hmac` has UTC in each Advertisement), and for what people and
//! their programs are told.
//!
//! What must stay true: nobody else looks at it, and what the core makes of it decides nothing of who is Master
//! (safety.md T1): `proto/src/vrrp/instance/signed.rs` says what it does decide.

use std::collections::BTreeMap;
use std::time::Duration;

use keepone_proto::event::Event;
use keepone_proto::id::InstanceId;
use keepone_proto::settings::HmacSettings;
use keepone_proto::time::Instant;
use keepone_proto::wire::vrrp::hmac::{Stamp, Stamps};
use nix::time::ClockId;

use crate::clock;

/// Between two looks at both clocks the thread may lose its processor: less than this is no step.
const STEP: Duration = Duration::from_millis(100);

/// Since 1970 in UTC.
pub fn utc() -> Duration {
    // No Linux is without it; a year before 1970 is none to sign with.
    let Ok(time) = ClockId::CLOCK_REALTIME.now() else { return Duration::ZERO };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec()).unwrap_or(0))
}

/// What the core was told of it, and what was signed.
#[derive(Debug, Default)]
pub(crate) struct WallClock {
    told: Option<Duration>,
    stamps: BTreeMap<InstanceId, Stamps>,
}

impl WallClock {
    /// For the core, at the start and when it was set.
    pub(crate) fn look(&mut self) -> Option<Event> {
        let at_boot = utc().saturating_sub(clock::now().since(Instant::BOOT));
        if self.told.is_some_and(|told| told.abs_diff(at_boot) < STEP) {
            return None;
        }
        self.told = Some(at_boot);
        Some(Event::Utc { at_boot })
    }

    /// When an instance signs its next Advertisement.
    pub(crate) fn stamp(&mut self, instance: InstanceId, hmac: &HmacSettings) -> Stamp {
        self.stamps.entry(instance).or_default().next(utc(), hmac.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_is_told_once_unless_it_is_set() {
        let mut wall_clock = WallClock::default();
        let Some(Event::Utc { at_boot }) = wall_clock.look() else { panic!() };
        assert!(at_boot > Duration::from_secs(1_700_000_000), "{at_boot:?}");
        assert_eq!(wall_clock.look(), None);
        wall_clock.told = Some(at_boot - Duration::from_secs(1));
        assert!(wall_clock.look().is_some());
    }

    #[test]
    fn stamps_of_an_instance_grow() {
        let mut wall_clock = WallClock::default();
        let hmac = HmacSettings { keys: Vec::new(), active_key: 1, mode: Default::default(), window: None };
        let stamps: Vec<Stamp> = (0..1000).map(|_| wall_clock.stamp(InstanceId(1), &hmac)).collect();
        assert!(stamps.windows(2).all(|pair| pair[1].is_after(pair[0])));
    }
}
