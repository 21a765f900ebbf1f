//! What RFC 3768 and RFC 9568 require of the states in the same words, for each version; the tests that call it are
//! named after the sections.

use keepone_proto::id::{Priority, Vrid};
use keepone_proto::settings::VrrpVersion::{self, V2, V3};
use keepone_proto::vrrp::instance::{Discard, Election, Output, State};
use keepone_proto::vrrp::params::Params;
use keepone_proto::wire::vrrp::Advertisement;

use crate::{ABOVE, OWN, advert, advert_at, at, backup, down_at, hears, master, params, sent};

/// 6.4.1.
pub fn the_owner_becomes_master_at_once_and_advertises(version: VrrpVersion) {
    let mut owner = backup(Params { priority: Priority::OWNER, ..params(version) });
    assert_eq!(owner.election(at(0)), Election::Won);
    assert_eq!(sent(&owner.become_master(at(0))), [255]);
    assert_eq!(advert_at(&owner), at(1_000_000));
}

/// 6.4.1.
pub fn who_is_no_owner_becomes_backup_with_its_own_interval(version: VrrpVersion) {
    let instance = backup(params(version));
    assert_eq!(down_at(&instance), at(3_609_375));
    assert_eq!(instance.election(at(3_609_374)), Election::Lost);
}

/// 6.4.2.
pub fn a_backup_that_is_shut_down_has_no_timer_and_says_nothing(version: VrrpVersion) {
    let mut instance = backup(params(version));
    assert_eq!(instance.shutdown(), vec![]);
    assert_eq!((instance.state(), instance.next_deadline()), (State::Initialize, None));
}

/// 6.4.2.
pub fn when_the_timer_fires_it_advertises_and_is_master(version: VrrpVersion) {
    let mut instance = backup(params(version));
    instance.on_timer(at(3_609_375));
    assert_eq!(instance.election(at(3_609_375)), Election::Won);
    assert_eq!(sent(&instance.become_master(at(3_609_375))), [100]);
    assert_eq!(advert_at(&instance), at(4_609_375));
}

/// 6.4.2.
pub fn without_preempt_mode_a_lower_priority_resets_the_timer(version: VrrpVersion) {
    for us in [1_000_000, 3_000_000] {
        let mut instance = backup(Params { preempt: false, ..params(version) });
        let lower = advert(&instance, 50);
        hears(&mut instance, us, ABOVE, &lower);
        assert_eq!(down_at(&instance), at(us + 3_609_375));
    }
}

/// 6.4.2.
pub fn with_preempt_mode_a_lower_priority_is_discarded(version: VrrpVersion) {
    let mut instance = backup(params(version));
    let lower = advert(&instance, 99);
    for second in 1..=3 {
        assert_eq!(hears(&mut instance, second * 1_000_000, ABOVE, &lower), vec![]);
        assert_eq!(down_at(&instance), at(3_609_375));
    }
    instance.on_timer(at(3_609_375));
    assert_eq!(instance.election(at(3_609_375)), Election::Won);
}

/// 6.4.3.
pub fn who_is_shut_down_sends_priority_0_and_has_no_timer(version: VrrpVersion) {
    let mut instance = master(params(version));
    assert_eq!(sent(&instance.shutdown()), [0]);
    assert_eq!((instance.state(), instance.next_deadline()), (State::Initialize, None));
}

/// 6.4.3.
pub fn it_advertises_each_interval(version: VrrpVersion) {
    let mut instance = master(params(version));
    for second in 11..15 {
        assert_eq!(instance.on_timer(at(second * 1_000_000 - 1)), vec![]);
        assert_eq!(sent(&instance.on_timer(at(second * 1_000_000))), [100]);
    }
}

/// 6.4.3.
pub fn priority_0_is_answered_and_resets_the_timer(version: VrrpVersion) {
    let mut instance = master(params(version));
    let resigned = advert(&instance, 0);
    assert_eq!(sent(&hears(&mut instance, 10_400_000, ABOVE, &resigned)), [100]);
    assert_eq!(advert_at(&instance), at(11_400_000));
}

/// 6.4.3: the Adver_Timer stays as it was. RFC 9568 has the answer, RFC 3768 has not.
pub fn a_lower_priority_is_discarded_and_answered_at_once(version: VrrpVersion) {
    let mut instance = master(params(version));
    let lower = advert(&instance, 99);
    assert_eq!(sent(&hears(&mut instance, 10_400_000, ABOVE, &lower)), [100]);
    assert!(instance.is_master() && advert_at(&instance) == at(11_000_000));
}

/// 7.1: neither a Backup's timer nor a Master moves for it.
pub fn discarded(params: &Params, change: impl Fn(&mut Advertisement), why: &Discard) {
    for mut instance in [backup(params.clone()), master(params.clone())] {
        let before = instance.clone();
        let mut other = advert(&instance, 200);
        change(&mut other);
        let outputs = hears(&mut instance, 10_400_000, ABOVE, &other);
        assert_eq!(outputs, [Output::Discarded { from: ABOVE, why: *why }]);
        assert_eq!(instance, before);
    }
}

/// 7.1.
pub fn another_version_is_dropped(version: VrrpVersion) {
    let found = if version == V2 { V3 } else { V2 };
    discarded(&params(version), |advert| advert.version = found, &Discard::Version { found, wanted: version });
}

/// 7.1.
pub fn a_vrid_that_is_not_configured_is_dropped(version: VrrpVersion) {
    let vrid = Vrid::new(52).unwrap();
    discarded(&params(version), |advert| advert.vrid = vrid, &Discard::Vrid { found: 52, wanted: 51 });
}

/// 7.1: only told of, and it counts.
pub fn other_addresses_are_told_of_and_count(version: VrrpVersion) {
    let mut instance = backup(params(version));
    let other = Advertisement { addresses: vec![OWN], ..advert(&instance, 150) };
    let told = Output::AddressListMismatch { from: ABOVE, found: vec![OWN] };
    assert_eq!(hears(&mut instance, 1_000_000, ABOVE, &other), [told]);
    assert_eq!(down_at(&instance), at(1_000_000 + 3_609_375));
}
