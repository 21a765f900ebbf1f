//! What is discarded, and what is reported but counts (RFC 9568, 7.1; RFC 3768, 7.1).

use super::*;

/// What is discarded in each state, and leaves the machine as it was.
fn discarded(params: Params, from: IpAddr, change: fn(&mut Advertisement), why: Discard) {
    for mut instance in [backup(params.clone()), master(params)] {
        for priority in [0, 100, 192, 255] {
            let mut advert = advert(&instance, priority);
            change(&mut advert);
            let before = instance.clone();
            let outputs = instance.on_advertisement(at(10_400), from, OWN, &advert);
            assert_eq!(outputs, vec![Output::Discarded { from, why }]);
            assert_eq!(instance, before);
        }
    }
}

#[test]
fn what_is_not_for_this_router_touches_no_timer() {
    let other = Discard::Vrid { found: 52, wanted: 51 };
    discarded(params(), ABOVE, |a| a.vrid = Vrid::new(52).unwrap(), other);
    let (v2_, v3) = (VrrpVersion::V2, VrrpVersion::V3);
    discarded(params(), ABOVE, |a| a.version = VrrpVersion::V2, Discard::Version { found: v2_, wanted: v3 });
    discarded(v2(), ABOVE, |a| a.version = VrrpVersion::V3, Discard::Version { found: v3, wanted: v2_ });
    discarded(params(), IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]), |_| (), Discard::Family);
    discarded(params(), OWN, |_| (), Discard::OwnAddress);
}

#[test]
fn a_v2_packet_with_another_password_touches_no_timer() {
    let secret = Params { auth_pass: Some(*b"secret\0\0"), ..v2() };
    discarded(secret.clone(), ABOVE, |a| a.auth = Auth::Simple(*b"public\0\0"), Discard::Authentication);
    discarded(secret, ABOVE, |a| a.auth = Auth::None, Discard::Authentication);
    discarded(v2(), ABOVE, |a| a.auth = Auth::Simple(*b"public\0\0"), Discard::Authentication);
}

#[test]
fn a_password_is_without_meaning_in_v3() {
    let mut instance = backup(Params { auth_pass: Some([1; 8]), ..params() });
    assert_eq!(instance.advertisement().auth, Auth::None);
    assert_eq!(hear(&mut instance, at(1000), 200), vec![]);
}

#[test]
fn other_addresses_are_reported_and_count_as_life() {
    let mut instance = backup(params());
    let other = Advertisement { addresses: vec![VIP, ABOVE], ..advert(&instance, 200) };
    let outputs = instance.on_advertisement(at(3000), ABOVE, OWN, &other);
    assert_eq!(outputs, vec![Output::AddressListMismatch { from: ABOVE, found: vec![VIP, ABOVE] }]);
    assert_eq!(down_at(&instance), at(6250));
}

#[test]
fn the_same_addresses_in_another_order_are_the_same() {
    let mut instance = backup(Params { addresses: vec![VIP, ABOVE], ..params() });
    let other = Advertisement { addresses: vec![ABOVE, VIP], ..advert(&instance, 200) };
    assert_eq!(instance.on_advertisement(at(3000), ABOVE, OWN, &other), vec![]);
}

#[test]
fn two_owners_notice_each_other() {
    let mut instance = master(Params { priority: Priority::OWNER, ..params() });
    assert!(matches!(hear(&mut instance, at(10_400), 255)[..], [Output::HigherSeen { .. }]));
    let rival = advert(&instance, 255);
    let outputs = instance.on_advertisement(at(10_800), BELOW, OWN, &rival);
    assert!(matches!(outputs[..], [Output::Advertise(_), Output::LowerSeen { .. }]), "{outputs:?}");
}
