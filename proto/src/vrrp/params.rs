//! What one virtual router is configured with, and the timers that follow from it.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::id::{Priority, Vrid};
use crate::settings::{AuthType, ElectionOptions, HmacSettings, InstanceSettings, VrrpVersion};

/// The parameters of one virtual router. RFC 9568, 6.1; RFC 3768, 6.1.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// Version that we speak; packets of the other are discarded.
    pub version: VrrpVersion,
    /// Virtual Router Identifier.
    pub vrid: Vrid,
    /// Is it the IPv6 virtual router of this VRID? The two families are independent (RFC 9568, 1).
    pub ipv6: bool,
    /// Effective priority, 1..=255.
    pub priority: Priority,
    /// Advertisement_Interval.
    pub advert_int: Duration,
    /// Preempt_Mode. The address owner preempts whatever this says (RFC 9568, 6.1).
    pub preempt: bool,
    /// How long a lower Master is tolerated before it is preempted.
    pub preempt_delay: Duration,
    /// The virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// Password of v2; without meaning in v3.
    pub auth_pass: Option<[u8; 8]>,
    /// How it is used.
    pub auth_type: AuthType,
    /// How Advertisements are signed, in either version.
    pub hmac: Option<HmacSettings>,
    /// What keepalived adds to the RFC.
    pub election: ElectionOptions,
}

impl From<&InstanceSettings> for Params {
    fn from(settings: &InstanceSettings) -> Self {
        Params {
            version: settings.version,
            vrid: settings.vrid,
            ipv6: settings.ipv6,
            priority: settings.priority,
            advert_int: settings.advert_int,
            preempt: settings.preempt,
            preempt_delay: settings.preempt_delay,
            addresses: settings.addresses.clone(),
            auth_pass: settings.auth_pass,
            auth_type: settings.auth_type,
            hmac: settings.hmac.clone(),
            election: settings.election,
        }
    }
}

impl Params {
    /// How long a Backup of this priority waits for a Master that advertises at this interval ([`master_down_interval`]).
    pub fn master_down_interval(&self, master_adver_interval: Duration) -> Duration {
        let adverts = self.election.down_timer_adverts;
        master_down_interval(self.version, master_adver_interval, adverts, self.priority)
    }

    /// For how long a Backup certainly waits on after this node fell silent, since its last Advertisement may have been
    /// sent an interval before. Where we wait for more than three of them, others may not.
    pub fn patience_of_others(&self) -> Duration {
        self.advert_int.saturating_mul(u32::from(self.election.down_timer_adverts.clamp(1, 3)) - 1)
    }

    /// Whether an Advertisement that leaves `late` comes when a Backup of the priority that `timer_expired_backup` names
    /// may have taken over. Only with Preempt_Mode off: else the better one is Master soon in any case.
    pub fn is_overtaken(&self, late: Duration) -> bool {
        let ElectionOptions { timer_expired_backup, down_timer_adverts, .. } = self.election;
        timer_expired_backup.filter(|_| !self.preempt && self.priority != Priority::OWNER).is_some_and(|priority| {
            let down = master_down_interval(self.version, self.advert_int, down_timer_adverts, priority);
            self.advert_int.saturating_add(late) >= down
        })
    }

    /// The key of the Authentication Header, if there is to be one.
    pub fn header_key(&self) -> Option<[u8; 8]> {
        self.auth_pass.filter(|_| self.version == VrrpVersion::V2 && self.auth_type == AuthType::Ah)
    }
}

/// By how much a Backup of this priority waits longer than the best one could.
///
/// v3: `(256 - priority) / 256 × master_adver_interval`. RFC 9568, 6.1.
/// v2: `(256 - priority) / 256` seconds, whatever the interval. RFC 3768, 6.1.2.
pub fn skew_time(version: VrrpVersion, master_adver_interval: Duration, priority: Priority) -> Duration {
    let of = match version {
        VrrpVersion::V2 => Duration::from_secs(1),
        VrrpVersion::V3 => master_adver_interval,
    };
    of.saturating_mul(256 - u32::from(priority.0)) / 256
}

/// How long a Backup waits without an Advertisement before it stands for election.
///
/// `adverts × master_adver_interval + skew_time`. RFC 9568, 6.1 (Active_Down_Interval), with the interval that
/// the Master advertised; RFC 3768, 6.1.2. Both have 3 for `adverts`; keepalived.conf(5) `down_timer_adverts`.
pub fn master_down_interval(
    version: VrrpVersion,
    master_adver_interval: Duration,
    adverts: u8,
    priority: Priority,
) -> Duration {
    let silence = master_adver_interval.saturating_mul(u32::from(adverts.max(1)));
    silence.saturating_add(skew_time(version, master_adver_interval, priority))
}

#[cfg(test)]
mod tests {
    use super::*;
    use VrrpVersion::{V2, V3};

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_skew_of_v3_is_a_share_of_the_interval_and_that_of_v2_a_share_of_a_second() {
        assert_eq!(skew_time(V3, ms(1000), Priority(192)), ms(250));
        assert_eq!(skew_time(V3, ms(100), Priority(192)), ms(25));
        assert_eq!(skew_time(V2, ms(1000), Priority(192)), ms(250));
        assert_eq!(skew_time(V2, ms(10_000), Priority(192)), ms(250));
    }

    #[test]
    fn a_backup_waits_three_intervals_and_the_skew() {
        assert_eq!(master_down_interval(V3, ms(1000), 3, Priority(100)), Duration::from_nanos(3_609_375_000));
        assert_eq!(master_down_interval(V3, ms(10), 3, Priority(100)), Duration::from_nanos(36_093_750));
        assert_eq!(master_down_interval(V2, ms(2000), 3, Priority(100)), Duration::from_nanos(6_609_375_000));
    }

    #[test]
    fn a_backup_waits_for_as_many_intervals_as_it_is_told() {
        assert_eq!(master_down_interval(V3, ms(1000), 1, Priority(192)), ms(1250));
        assert_eq!(master_down_interval(V3, ms(1000), 100, Priority(192)), ms(100_250));
        assert_eq!(master_down_interval(V2, ms(1000), 5, Priority(192)), ms(5250));
    }

    #[test]
    fn the_higher_the_priority_the_sooner() {
        for (better, worse) in (1..=255u8).rev().zip((0..255u8).rev()) {
            for version in [V2, V3] {
                assert!(skew_time(version, ms(10), Priority(better)) < skew_time(version, ms(10), Priority(worse)));
            }
        }
    }

    #[test]
    fn no_interval_overflows() {
        assert_eq!(master_down_interval(V3, Duration::MAX, 3, Priority(0)), Duration::MAX);
    }
}
