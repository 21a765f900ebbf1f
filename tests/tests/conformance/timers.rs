//! Intervals and what follows from them: RFC 9568, 6.1; RFC 3768, 6.1.2.

use keepone_proto::id::Priority;
use keepone_proto::settings::VrrpVersion::{V2, V3};
use keepone_proto::vrrp::params::{master_down_interval, skew_time};

use crate::ms;

#[test]
fn rfc9568_6_1_skew_time_is_a_share_of_the_active_router_s_interval() {
    for (priority, interval, us) in
        [(100, 1000, 609_375), (255, 1000, 3906), (1, 1000, 996_093), (192, 100, 25_000), (128, 40_950, 20_475_000)]
    {
        assert_eq!(skew_time(V3, ms(interval), Priority(priority)).as_micros(), us);
    }
}

#[test]
fn rfc9568_6_1_active_down_interval_is_three_intervals_and_the_skew() {
    for (priority, interval, us) in [(100, 1000, 3_609_375), (255, 1000, 3_003_906), (192, 100, 325_000)] {
        assert_eq!(master_down_interval(V3, ms(interval), 3, Priority(priority)).as_micros(), us);
    }
}

#[test]
fn rfc3768_6_1_skew_time_is_a_share_of_a_second() {
    for (priority, interval, us) in [(100, 1000, 609_375), (100, 10_000, 609_375), (255, 1000, 3906)] {
        assert_eq!(skew_time(V2, ms(interval), Priority(priority)).as_micros(), us);
    }
}

#[test]
fn rfc3768_6_1_master_down_interval_is_three_intervals_and_the_skew() {
    for (priority, interval, us) in [(100, 1000, 3_609_375), (100, 10_000, 30_609_375)] {
        assert_eq!(master_down_interval(V2, ms(interval), 3, Priority(priority)).as_micros(), us);
    }
}
