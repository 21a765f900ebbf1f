//! The states of RFC 3768, 6.4, and what a virtual router discards (7.1).

use keepone_proto::id::Priority;
use keepone_proto::settings::VrrpVersion::V2;
use keepone_proto::vrrp::instance::{Discard, Output};
use keepone_proto::vrrp::params::Params;
use keepone_proto::wire::vrrp::{Advertisement, Auth};

use crate::{ABOVE, BELOW, advert, alike, at, backup, down_at, hears, master, ms, params};

#[test]
fn rfc3768_6_4_1_the_owner_becomes_master_at_once_and_advertises() {
    alike::the_owner_becomes_master_at_once_and_advertises(V2);
}

#[test]
fn rfc3768_6_4_1_who_is_no_owner_becomes_backup() {
    alike::who_is_no_owner_becomes_backup_with_its_own_interval(V2);
}

#[test]
fn rfc3768_6_4_2_a_backup_that_is_shut_down_has_no_timer_and_says_nothing() {
    alike::a_backup_that_is_shut_down_has_no_timer_and_says_nothing(V2);
}

#[test]
fn rfc3768_6_4_2_when_the_timer_fires_it_advertises_and_is_master() {
    alike::when_the_timer_fires_it_advertises_and_is_master(V2);
}

#[test]
fn rfc3768_6_4_2_priority_0_sets_the_timer_to_skew_time() {
    // Of a second, also where the interval is longer.
    let mut instance = backup(Params { advert_int: ms(5000), ..params(V2) });
    let resigned = advert(&instance, 0);
    hears(&mut instance, 1_000_000, ABOVE, &resigned);
    assert_eq!(down_at(&instance), at(1_609_375));
}

#[test]
fn rfc3768_6_4_2_an_equal_or_higher_priority_resets_the_timer() {
    for priority in [100, 101, 255] {
        let mut instance = backup(params(V2));
        let other = advert(&instance, priority);
        hears(&mut instance, 1_000_000, BELOW, &other);
        assert_eq!(down_at(&instance), at(4_609_375), "{priority}");
    }
}

#[test]
fn rfc3768_6_4_2_without_preempt_mode_a_lower_priority_resets_the_timer() {
    alike::without_preempt_mode_a_lower_priority_resets_the_timer(V2);
}

#[test]
fn rfc3768_6_4_2_with_preempt_mode_a_lower_priority_is_discarded() {
    alike::with_preempt_mode_a_lower_priority_is_discarded(V2);
}

#[test]
fn rfc3768_6_4_3_who_is_shut_down_sends_priority_0_and_has_no_timer() {
    alike::who_is_shut_down_sends_priority_0_and_has_no_timer(V2);
}

#[test]
fn rfc3768_6_4_3_it_advertises_each_interval() {
    alike::it_advertises_each_interval(V2);
}

#[test]
fn rfc3768_6_4_3_priority_0_is_answered_and_resets_the_timer() {
    alike::priority_0_is_answered_and_resets_the_timer(V2);
}

#[test]
fn rfc3768_6_4_3_it_yields_to_a_higher_priority_or_at_the_same_one_to_a_greater_address() {
    for (priority, from, yields) in [(101, BELOW, true), (100, ABOVE, true), (100, BELOW, false), (99, ABOVE, false)] {
        let mut instance = master(params(V2));
        let other = advert(&instance, priority);
        let outputs = hears(&mut instance, 10_400_000, from, &other);
        let told = outputs.contains(&Output::HigherSeen { from, priority: Priority(priority) });
        assert_eq!(told, yields, "{priority} from {from}");
        if yields {
            instance.resign(at(10_400_000));
            assert_eq!(down_at(&instance), at(10_400_000 + 3_609_375));
        }
    }
}

/// A departure: RFC 3768 discards it in silence.
#[test]
fn rfc3768_6_4_3_a_lower_priority_is_answered_all_the_same() {
    alike::a_lower_priority_is_discarded_and_answered_at_once(V2);
}

#[test]
fn rfc3768_7_1_another_version_is_dropped() {
    alike::another_version_is_dropped(V2);
}

#[test]
fn rfc3768_7_1_a_vrid_that_is_not_configured_is_dropped() {
    alike::a_vrid_that_is_not_configured_is_dropped(V2);
}

#[test]
fn rfc3768_7_1_another_authentication_than_ours_is_dropped() {
    let ours = Params { auth_pass: Some(*b"s3cret12"), ..params(V2) };
    for auth in [Auth::None, Auth::Simple(*b"s3cret13"), Auth::Header { sequence: 7 }, Auth::Unproven] {
        alike::discarded(&ours, |advert| advert.auth = auth, &Discard::Authentication);
    }
    let simple = Auth::Simple(*b"s3cret12");
    alike::discarded(&params(V2), |advert| advert.auth = simple, &Discard::Authentication);
    let mut instance = backup(ours);
    let right = advert(&instance, 200);
    assert_eq!(right.auth, simple);
    assert_eq!(hears(&mut instance, 1_000_000, ABOVE, &right), vec![]);
}

/// A departure: RFC 3768 drops it unless its sender is the owner, which leaves two Masters.
#[test]
fn rfc3768_7_1_other_addresses_are_told_of_and_count() {
    alike::other_addresses_are_told_of_and_count(V2);
}

/// A departure: RFC 3768 drops it, which leaves two Masters.
#[test]
fn rfc3768_7_1_another_interval_is_told_of_and_counts() {
    let mut instance = backup(params(V2));
    let other = Advertisement { advert_int: ms(3000), ..advert(&instance, 150) };
    let told = Output::IntervalMismatch { from: ABOVE, found: ms(3000), wanted: ms(1000) };
    assert_eq!(hears(&mut instance, 1_000_000, ABOVE, &other), [told]);
    // The longer of the two.
    assert_eq!(down_at(&instance), at(1_000_000 + 9_609_375));
}

/// A departure: the owner drops everything by RFC 3768, and would never know of another holder.
#[test]
fn rfc3768_7_1_the_owner_listens() {
    let mut owner = master(Params { priority: Priority::OWNER, ..params(V2) });
    let lower = advert(&owner, 200);
    let outputs = hears(&mut owner, 10_400_000, ABOVE, &lower);
    assert!(outputs.contains(&Output::LowerSeen { from: ABOVE, priority: Priority(200) }), "{outputs:?}");
    assert!(owner.is_master());
}
