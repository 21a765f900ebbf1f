//! The states of RFC 9568, 6.4, and what a virtual router discards (7.1). Where RFC 5798 says something else, its
//! test stands beside.

use keepone_proto::id::{Priority, Vrid};
use keepone_proto::settings::VrrpVersion::{V2, V3};
use keepone_proto::vrrp::instance::{Discard, Election, Instance, Output, State};
use keepone_proto::vrrp::params::Params;
use keepone_proto::wire::vrrp::Advertisement;

use crate::{ABOVE, BELOW, OWN, advert, advert_at, at, backup, down_at, hears, master, ms, params, sent};

#[test]
fn rfc9568_6_4_1_the_owner_becomes_active_at_once_and_advertises() {
    let mut owner = backup(Params { priority: Priority::OWNER, ..params(V3) });
    assert_eq!(owner.election(at(0)), Election::Won);
    assert_eq!(sent(&owner.become_master(at(0))), [255]);
    assert_eq!(advert_at(&owner), at(1_000_000));
}

#[test]
fn rfc9568_6_4_1_who_is_no_owner_becomes_backup_with_its_own_interval() {
    let instance = backup(params(V3));
    assert_eq!(down_at(&instance), at(3_609_375));
    assert_eq!(instance.election(at(3_609_374)), Election::Lost);
}

#[test]
fn rfc9568_6_4_2_a_backup_that_is_shut_down_has_no_timer_and_says_nothing() {
    let mut instance = backup(params(V3));
    assert_eq!(instance.shutdown(), vec![]);
    assert_eq!((instance.state(), instance.next_deadline()), (State::Initialize, None));
}

#[test]
fn rfc9568_6_4_2_when_the_timer_fires_it_advertises_and_is_active() {
    let mut instance = backup(params(V3));
    instance.on_timer(at(3_609_375));
    assert_eq!(instance.election(at(3_609_375)), Election::Won);
    assert_eq!(sent(&instance.become_master(at(3_609_375))), [100]);
    assert_eq!(advert_at(&instance), at(4_609_375));
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
    let mut instance = backup(Params { preempt: false, ..params(V3) });
    let lower = advert(&instance, 50);
    hears(&mut instance, 3_000_000, BELOW, &lower);
    assert_eq!(down_at(&instance), at(3_000_000 + 3_609_375));
}

#[test]
fn rfc9568_6_4_2_with_preempt_mode_a_lower_priority_is_discarded() {
    let mut instance = backup(params(V3));
    let lower = advert(&instance, 99);
    for second in 1..=3 {
        assert_eq!(hears(&mut instance, second * 1_000_000, ABOVE, &lower), vec![]);
        assert_eq!(down_at(&instance), at(3_609_375));
    }
    instance.on_timer(at(3_609_375));
    assert_eq!(instance.election(at(3_609_375)), Election::Won);
}

#[test]
fn rfc9568_6_4_3_who_is_shut_down_sends_priority_0_and_has_no_timer() {
    let mut instance = master(params(V3));
    assert_eq!(sent(&instance.shutdown()), [0]);
    assert_eq!((instance.state(), instance.next_deadline()), (State::Initialize, None));
}

#[test]
fn rfc9568_6_4_3_it_advertises_each_interval() {
    let mut instance = master(params(V3));
    for second in 11..15 {
        assert_eq!(instance.on_timer(at(second * 1_000_000 - 1)), vec![]);
        assert_eq!(sent(&instance.on_timer(at(second * 1_000_000))), [100]);
    }
}

#[test]
fn rfc9568_6_4_3_priority_0_is_answered_and_resets_the_timer() {
    let mut instance = master(params(V3));
    let resigned = advert(&instance, 0);
    assert_eq!(sent(&hears(&mut instance, 10_400_000, ABOVE, &resigned)), [100]);
    assert_eq!(advert_at(&instance), at(11_400_000));
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
    let mut instance = master(params(V3));
    let lower = advert(&instance, 99);
    let outputs = hears(&mut instance, 10_400_000, ABOVE, &lower);
    assert_eq!(sent(&outputs), [100]);
    assert!(instance.is_master());
    // The Adver_Timer is as it was.
    assert_eq!(advert_at(&instance), at(11_000_000));
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

/// Neither a Backup's timer nor a Master moves for it.
fn discarded(change: impl Fn(&mut Advertisement), why: &Discard) {
    for mut instance in [backup(params(V3)), master(params(V3))] {
        let before = instance.clone();
        let mut other = advert(&instance, 200);
        change(&mut other);
        let outputs = hears(&mut instance, 10_400_000, ABOVE, &other);
        assert_eq!(outputs, [Output::Discarded { from: ABOVE, why: *why }]);
        assert_eq!(instance, before);
    }
}

#[test]
fn rfc9568_7_1_another_version_is_dropped() {
    discarded(|advert| advert.version = V2, &Discard::Version { found: V2, wanted: V3 });
}

#[test]
fn rfc9568_7_1_a_vrid_that_is_not_configured_is_dropped() {
    let vrid = Vrid::new(52).unwrap();
    discarded(|advert| advert.vrid = vrid, &Discard::Vrid { found: 52, wanted: 51 });
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
    let mut instance = backup(params(V3));
    let other = Advertisement { addresses: vec![OWN], ..advert(&instance, 150) };
    let told = Output::AddressListMismatch { from: ABOVE, found: vec![OWN] };
    assert_eq!(hears(&mut instance, 1_000_000, ABOVE, &other), [told]);
    // Only told of: it counts.
    assert_eq!(down_at(&instance), at(1_000_000 + 3_609_375));
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
