//! Sequence numbers of Authentication Headers (RFC 2402, 2.5 and 3.4.3).

use super::*;

const KEY: Option<[u8; 8]> = Some(*b"secret\0\0");

fn ah() -> Params {
    Params { auth_pass: KEY, auth_type: AuthType::Ah, ..v2() }
}

fn numbered(of: &Instance, priority: u8, sequence: u32) -> Advertisement {
    Advertisement { auth: Auth::Header { sequence }, ..advert(of, priority) }
}

/// `instance` hears such a number from the address above its own; whether it counted.
fn takes(instance: &mut Instance, at_ms: u64, priority: u8, sequence: u32) -> bool {
    let advert = numbered(instance, priority, sequence);
    let before = instance.clone();
    let outputs = instance.on_advertisement(at(at_ms), ABOVE, OWN, &advert);
    match outputs[..] {
        [Output::Discarded { why: Discard::Replayed { found, .. }, .. }] => {
            assert_eq!(found, sequence);
            assert_eq!(*instance, before, "what is discarded changes nothing");
            false
        }
        _ => true,
    }
}

fn sends(outputs: &[Output]) -> Vec<u32> {
    let number = |output: &Output| match output {
        Output::Advertise(Advertisement { auth: Auth::Header { sequence }, .. }) => Some(*sequence),
        _ => None,
    };
    outputs.iter().filter_map(number).collect()
}

#[test]
fn a_number_counts_once_and_none_below_it() {
    let mut instance = backup(ah());
    assert!(!takes(&mut instance, 50, 200, 0), "0 is never sent");
    assert!(takes(&mut instance, 100, 200, 5));
    assert!(!takes(&mut instance, 200, 200, 5));
    assert!(!takes(&mut instance, 300, 200, 4));
    assert_eq!(down_at(&instance), at(3350), "the last that counted");
    assert!(takes(&mut instance, 400, 200, 9));
    assert_eq!(down_at(&instance), at(3650));
}

#[test]
fn the_row_is_the_virtual_router_s_whoever_sends() {
    let mut instance = backup(ah());
    assert!(takes(&mut instance, 100, 200, 5));
    let advert = numbered(&instance, 200, 5);
    let outputs = instance.on_advertisement(at(200), BELOW, OWN, &advert);
    assert_eq!(outputs, [Output::Discarded { from: BELOW, why: Discard::Replayed { found: 5, last: 5 } }]);
}

#[test]
fn the_next_master_goes_on_where_the_last_one_ended() {
    let mut instance = backup(ah());
    assert!(takes(&mut instance, 100, 200, 41));
    assert_eq!(sends(&instance.become_master(at(200))), [42]);
    assert_eq!(sends(&instance.on_timer(at(1200))), [43]);
    assert_eq!(instance.resignation().auth, Auth::Header { sequence: 44 });
    instance.resign(at(1300));
    assert!(!takes(&mut instance, 1400, 200, 43), "below our own");
    assert!(takes(&mut instance, 1500, 200, 45));
    instance.become_master(at(1600));
    assert_eq!(sends(&instance.shutdown()), [47]);
}

#[test]
fn a_master_whose_number_is_behind_learns_from_the_other_and_overtakes_it() {
    let mut instance = master(ah());
    let advert = numbered(&instance, 100, 1000);
    let outputs = instance.on_advertisement(at(10_400), ABOVE, OWN, &advert);
    assert_eq!(sends(&outputs), [1001], "{outputs:?}");
}

/// Where keepalived drops the equal one, so that two of them would stay Masters for as long as they keep step.
#[test]
fn two_masters_in_step_hear_each_other() {
    let (mut one, mut other) = (master(ah()), master(Params { priority: Priority(100), ..ah() }));
    let (better, worse) = (one.on_timer(at(11_000)), other.on_timer(at(11_000)));
    assert_eq!(sends(&better), sends(&worse));
    let [Output::Advertise(better)] = &better[..] else { panic!("{better:?}") };
    let outputs = other.on_advertisement(at(11_000), ABOVE, BELOW, better);
    assert!(matches!(outputs[..], [Output::HigherSeen { .. }]), "{outputs:?}");
    let outputs = other.on_advertisement(at(11_001), ABOVE, BELOW, better);
    assert!(matches!(outputs[..], [Output::Discarded { why: Discard::Replayed { .. }, .. }]), "once: {outputs:?}");
}

#[test]
fn numbers_do_not_go_around() {
    let mut instance = backup(ah());
    assert!(takes(&mut instance, 100, 200, u32::MAX - 1));
    assert_eq!(sends(&instance.become_master(at(200))), [u32::MAX]);
    assert_eq!(sends(&instance.on_timer(at(1200))), [u32::MAX]);
}

#[test]
fn a_header_is_as_good_as_its_proof_and_no_other_kind_replaces_it() {
    let with = |params: Params, auth: Auth| {
        let mut instance = backup(params);
        let advert = Advertisement { auth, ..advert(&instance, 200) };
        let outputs = instance.on_advertisement(at(100), ABOVE, OWN, &advert);
        matches!(outputs[..], [Output::Discarded { why: Discard::Authentication, .. }])
    };
    for auth in [Auth::None, Auth::Simple(*b"secret\0\0"), Auth::Unproven] {
        assert!(with(ah(), auth), "{auth:?}");
    }
    let header = Auth::Header { sequence: 7 };
    for params in [v2(), Params { auth_pass: KEY, ..v2() }] {
        assert!(with(params.clone(), header));
        assert!(with(params, Auth::Unproven));
    }
    assert!(!with(ah(), header));
}

#[test]
fn the_key_is_only_there_where_it_is_used() {
    assert_eq!(ah().header_key(), KEY);
    assert_eq!(Params { auth_type: AuthType::Pass, ..ah() }.header_key(), None);
    assert_eq!(Params { auth_pass: None, ..ah() }.header_key(), None);
    assert_eq!(Params { version: VrrpVersion::V3, ..ah() }.header_key(), None);
}
