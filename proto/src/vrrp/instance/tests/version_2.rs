//! What differs in version 2 (RFC 3768).

use super::*;

#[test]
fn the_skew_of_v2_does_not_depend_on_the_interval() {
    let mut instance = backup(Params { advert_int: ms(10_000), ..v2() });
    assert_eq!(down_at(&instance), at(30_250));
    hear(&mut instance, at(1000), 0);
    assert_eq!(down_at(&instance), at(1250));
}

#[test]
fn another_interval_is_reported_and_counts_as_life() {
    for (theirs, down) in [(5000, 3000 + 15_250), (1000, 3000 + 6250)] {
        let mut instance = backup(Params { advert_int: ms(2000), ..v2() });
        let advert = Advertisement { advert_int: ms(theirs), ..advert(&instance, 200) };
        let outputs = instance.on_advertisement(at(3000), ABOVE, OWN, &advert);
        let wanted = Output::IntervalMismatch { from: ABOVE, found: ms(theirs), wanted: ms(2000) };
        assert_eq!(outputs, vec![wanted]);
        assert_eq!(down_at(&instance), at(down), "the longer of the two keeps a slow Master alive");
    }
}

#[test]
fn a_master_of_v2_reports_a_better_one_of_another_interval_instead_of_ignoring_it() {
    let mut instance = master(v2());
    let advert = Advertisement { advert_int: ms(2000), ..advert(&instance, 200) };
    let outputs = instance.on_advertisement(at(10_400), ABOVE, OWN, &advert);
    assert!(matches!(outputs[..], [Output::HigherSeen { .. }, Output::IntervalMismatch { .. }]), "{outputs:?}");
}

#[test]
fn a_master_of_v2_asserts_itself_against_a_lower_one() {
    let mut instance = master(v2());
    let outputs = hear(&mut instance, at(10_400), 100);
    assert!(matches!(outputs[..], [Output::Advertise(_), Output::LowerSeen { .. }]), "{outputs:?}");
}

#[test]
fn the_right_password_is_accepted_and_sent() {
    let mut instance = backup(Params { auth_pass: Some(*b"secret\0\0"), ..v2() });
    assert_eq!(hear(&mut instance, at(3000), 200), vec![]);
    assert_eq!(down_at(&instance), at(6250));
    assert_eq!(instance.resignation().auth, Auth::Simple(*b"secret\0\0"));
}
