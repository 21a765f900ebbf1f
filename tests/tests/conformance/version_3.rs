//! The states of RFC 9568, 6.4, and what a virtual router discards (7.1). Where RFC 5798 says something else, its
//! test stands beside.

use keepone_proto::id::Priority;
use keepone_proto::settings::VrrpVersion::{V2, V3};
use keepone_proto::vrrp::instance::{Instance, Output, State};
use keepone_proto::vrrp::params::Params;
use keepone_proto::wire::vrrp::Advertisement;

use crate::{ABOVE, BELOW, advert, advert_at, alike, at, backup, down_at, hears, master, ms, params, sent};

#[test]
fn rfc9568_6_4_1_the_owner_becomes_active_at_once_and_advertises() {
    alike::the_owner_becomes_master_at_once_and_advertises(V3);
}

#[test]
fn rfc9568_6_4_1_who_is_no_owner_becomes_backup_with_its_own_interval() {
    alike::who_is_no_owner_becomes_backup_with_its_own_interval(V3);
}

#[test]
fn rfc9568_6_4_2_a_backup_that_is_shut_down_has_no_timer_and_says_nothing() {
    alike::a_backup_that_is_shut_down_has_no_timer_and_says_nothing(V3);
}

#[test]
fn rfc9568_6_4_2_when_the_timer_fires_it_advertises_and_is_active() {
    alike::when_the_timer_fires_it_advertises_and_is_master(V3);
}

#[test]
fn rfc9568_6_4_2_priority_0_sets_the_timer_to_skew_time() {
    let mut instance = backup(params(V3));
    let better = advert(&instance, 150);
    hears(&mut instance, 500_000, ABOVE, &better);
    let resigned = advert(&instance, 0);
    assert_eq!(hears(&mut instance, 1_000_000, ABOVE, &resigned), vec![]);
    assert_eq!(down_at(&instance), at(1_609_375));
}

#[test]
fn rfc9568_6_4_2_an_equal_or_higher_priority_resets_the_timer_with_the_sender_s_interval() {
    for priority in [100, 101, 255] {
        let mut instance = backup(params(V3));
        let other = Advertisement { advert_int: ms(2000), ..advert(&instance, priority) };
        hears(&mut instance, 1_000_000, BELOW, &other);
        // 3 × 2 s, and 156/256 of 2 s.
        assert_eq!(down_at(&instance), at(1_000_000 + 7_218_750), "{priority}");
        // Skew_Time is of that interval, too.
        let resigned = Advertisement { advert_int: ms(2000), ..advert(&instance, 0) };
        hears(&mut instance, 2_000_000, BELOW, &resigned);
        assert_eq!(down_at(&instance), at(2_000_000 + 1_218_750), "{priority}");
    }
}

#[test]
fn rfc9568_6_4_2_without_preempt_mode_a_lower_priority_resets_the_timer() {
    alike::without_preempt_mode_a_lower_priority_resets_the_timer(V3);
}

#[test]
fn rfc9568_6_4_2_with_preempt_mode_a_lower_priority_is_discarded() {
    alike::with_preempt_mode_a_lower_priority_is_discarded(V3);
}

#[test]
fn rfc9568_6_4_3_who_is_shut_down_sends_priority_0_and_has_no_timer() {
    alike::who_is_shut_down_sends_priority_0_and_has_no_timer(V3);
}

#[test]
fn rfc9568_6_4_3_it_advertises_each_interval() {
    alike::it_advertises_each_interval(V3);
}

#[test]
fn rfc9568_6_4_3_priority_0_is_answered_and_resets_the_timer() {
    alike::priority_0_is_answered_and_resets_the_timer(V3);
}

/// It says that another should be; who may decide otherwise (a lease) decides, and otherwise it resigns.
fn yields(instance: &mut Instance, from: std::net::IpAddr, other: &Advertisement) {
    let outputs = hears(instance, 10_400_000, from, other);
    assert_eq!(outputs.first(), Some(&Output::HigherSeen { from, priority: other.priority }));
    assert_eq!(sent(&outputs), Vec::<u8>::new());
    instance.resign(at(10_400_000));
    // 3 × 2 s, and 156/256 of 2 s: the better one's interval.
    assert_eq!(down_at(instance), at(10_400_000 + 7_218_750));
}

#[test]
fn rfc9568_6_4_3_it_yields_to_a_higher_priority_with_that_one_s_interval() {
    for preempt in [true, false] {
        let mut instance = master(Params { preempt, ..params(V3) });
        let higher = Advertisement { advert_int: ms(2000), ..advert(&instance, 101) };
        yields(&mut instance, BELOW, &higher);
    }
}

#[test]
fn rfc9568_6_4_3_of_equal_priorities_the_greater_address_stays() {
    let mut instance = master(params(V3));
    let equal = Advertisement { advert_int: ms(2000), ..advert(&instance, 100) };
    yields(&mut instance, ABOVE, &equal);
    let mut instance = master(params(V3));
    let outputs = hears(&mut instance, 10_400_000, BELOW, &equal);
    assert!(instance.is_master() && !outputs.iter().any(|output| matches!(output, Output::HigherSeen { .. })));
    // As unsigned integers, not octet by octet of a text: 192.0.2.9 is below 192.0.2.11.
    let mut instance = master(params(V3));
    hears(&mut instance, 10_400_000, "192.0.2.9".parse().unwrap(), &equal);
    assert!(instance.is_master());
}

#[test]
fn rfc9568_6_4_3_a_lower_priority_is_discarded_and_answered_at_once() {
    alike::a_lower_priority_is_discarded_and_answered_at_once(V3);
}

/// RFC 5798 discards in silence; the answer of RFC 9568 does no harm to its routers.
#[test]
fn rfc5798_6_4_3_a_lower_priority_changes_nothing() {
    let mut instance = master(params(V3));
    let before = instance.state();
    let lower = advert(&instance, 99);
    hears(&mut instance, 10_400_000, ABOVE, &lower);
    let State::Master { advert_at: was, .. } = before else { panic!("no Master") };
    assert!(instance.is_master() && advert_at(&instance) == was);
}

#[test]
fn rfc9568_7_1_another_version_is_dropped() {
    alike::another_version_is_dropped(V3);
}

#[test]
fn rfc9568_7_1_a_vrid_that_is_not_configured_is_dropped() {
    alike::a_vrid_that_is_not_configured_is_dropped(V3);
}

#[test]
fn rfc9568_7_1_another_interval_is_told_of() {
    let mut instance = backup(params(V3));
    let other = Advertisement { advert_int: ms(2000), ..advert(&instance, 150) };
    let told = Output::IntervalMismatch { from: ABOVE, found: ms(2000), wanted: ms(1000) };
    assert_eq!(hears(&mut instance, 1_000_000, ABOVE, &other), [told]);
}

#[test]
fn rfc9568_7_1_other_addresses_are_told_of() {
    alike::other_addresses_are_told_of_and_count(V3);
}

#[test]
fn rfc9568_8_3_2_two_owners_are_told_of() {
    for (from, stays) in [(BELOW, true), (ABOVE, false)] {
        let mut owner = master(Params { priority: Priority::OWNER, ..params(V3) });
        let other = advert(&owner, 255);
        let outputs = hears(&mut owner, 10_400_000, from, &other);
        let priority = Priority::OWNER;
        let told = if stays { Output::LowerSeen { from, priority } } else { Output::HigherSeen { from, priority } };
        assert!(outputs.contains(&told), "{outputs:?}");
    }
}

#[test]
fn rfc9568_8_4_version_2_is_not_listened_to_beside_version_3() {
    let mut instance = backup(params(V3));
    let old = Advertisement { version: V2, ..advert(&instance, 150) };
    hears(&mut instance, 1_000_000, ABOVE, &old);
    assert_eq!(down_at(&instance), at(3_609_375));
}
