//! What keepalived's options add to RFC 9568, 6.4.

use super::*;

fn with(change: impl FnOnce(&mut ElectionOptions)) -> Params {
    let mut params = params();
    change(&mut params.election);
    params
}

#[test]
fn a_backup_stands_after_as_many_missed_adverts_as_it_is_told() {
    for (adverts, down) in [(1, 1250), (3, 3250), (5, 5250)] {
        let mut instance = backup(with(|options| options.down_timer_adverts = adverts));
        assert_eq!(down_at(&instance), at(down));
        hear(&mut instance, at(500), 200);
        assert_eq!(down_at(&instance), at(500 + down));
        assert_eq!(instance.election(at(499 + down)), Election::Lost);
        assert_eq!(instance.election(at(500 + down)), Election::Won);
    }
}

#[test]
fn a_running_down_timer_moves_when_the_number_of_adverts_changes() {
    let mut instance = backup(params());
    hear(&mut instance, at(500), 200);
    instance.reconfigure(at(600), with(|options| options.down_timer_adverts = 5));
    assert_eq!(down_at(&instance), at(5750));
}

#[test]
fn a_master_told_so_does_not_answer_a_lower_advert_and_tells_of_it_all_the_same() {
    let mut instance = master(with(|options| options.lower_prio_no_advert = true));
    let lower = Output::LowerSeen { from: ABOVE, priority: Priority(100) };
    assert_eq!(hear(&mut instance, at(10_100), 100), vec![lower.clone()]);
    // One that resigns is answered in any case: others wait for the next Master. RFC 9568, 6.4.3.
    assert_eq!(hear(&mut instance, at(10_200), 0), advertises(&instance));
    let mut usual = master(params());
    let answered = advertises(&usual).into_iter().chain([lower]).collect::<Vec<_>>();
    assert_eq!(hear(&mut usual, at(10_100), 100), answered);
}

#[test]
fn a_master_told_so_advertises_once_more_before_it_yields() {
    let higher = Output::HigherSeen { from: ABOVE, priority: Priority(200) };
    let mut instance = master(with(|options| options.higher_prio_send_advert = true));
    let answered = advertises(&instance).into_iter().chain([higher.clone()]).collect::<Vec<_>>();
    assert_eq!(hear(&mut instance, at(10_100), 200), answered);
    assert_eq!(hear(&mut instance, at(10_110), 200), vec![higher.clone()], "a flood is not answered");
    assert_eq!(hear(&mut master(params()), at(10_100), 200), vec![higher]);
}

#[test]
fn an_owner_told_so_discards_every_advert_and_others_do_not() {
    let ignoring = |priority| {
        let mut params = with(|options| options.owner_ignore_adverts = true);
        params.priority = Priority(priority);
        params
    };
    let discarded = vec![Output::Discarded { from: ABOVE, why: Discard::Owner }];
    let mut owner = master(ignoring(255));
    assert_eq!(hear(&mut owner, at(10_100), 255), discarded);
    assert_eq!(hear(&mut owner, at(10_200), 0), discarded);
    let mut waiting = backup(ignoring(255));
    assert_eq!(hear(&mut waiting, at(100), 255), discarded);
    assert_eq!((waiting.election(at(100)), waiting.master()), (Election::Won, None));
    let mut lower = master(ignoring(192));
    assert_eq!(hear(&mut lower, at(10_100), 200), vec![Output::HigherSeen { from: ABOVE, priority: Priority(200) }]);
}

#[test]
fn a_master_whose_timer_ran_so_late_that_another_may_have_taken_over_does_not_advertise() {
    let late = |priority: Option<u8>, preempt| {
        let mut params = with(|options| options.timer_expired_backup = priority.map(Priority));
        params.preempt = preempt;
        master(params)
    };
    // It advertised at 10 s; a Backup of priority 192 stands at 13.25 s, one of 254 at 13.0078125 s.
    let slept = |at: Instant| vec![Output::Overslept { late: at.since(Instant::from_nanos(11_000_000_000)) }];
    assert_eq!(late(Some(192), false).on_timer(at(13_250)), slept(at(13_250)));
    let mut punctual = late(Some(192), false);
    assert_eq!(punctual.on_timer(at(13_249)), advertises(&punctual));
    assert_eq!(late(Some(254), false).on_timer(at(13_008)), slept(at(13_008)));
    for (priority, preempt) in [(Some(192), true), (None, false)] {
        let mut instance = late(priority, preempt);
        assert_eq!(instance.on_timer(at(20_000)), advertises(&instance), "{priority:?} {preempt}");
    }
    let mut again = late(Some(192), false);
    again.on_timer(at(13_250));
    assert_eq!(again.next_deadline(), Some(at(14_250)), "whoever leaves it Master is not called at once again");
}

#[test]
fn with_down_timer_adverts_a_master_is_overtaken_sooner_or_later() {
    let mut params = with(|options| {
        options.timer_expired_backup = Some(Priority(192));
        options.down_timer_adverts = 5;
    });
    params.preempt = false;
    let mut instance = master(params);
    assert_eq!(instance.on_timer(at(15_249)), advertises(&instance));
}

#[test]
fn addresses_that_were_ours_are_not_compared_again_until_another_advertises() {
    let other = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
    let mut skipping = backup(with(|options| options.skip_check_adv_addr = true));
    let mut usual = backup(params());
    let says = |instance: &mut Instance, from, addresses: &[IpAddr]| {
        let advert =
            Advertisement { addresses: addresses.to_vec(), priority: Priority(200), ..instance.advertisement() };
        let outputs = instance.on_advertisement(at(100), from, OWN, &advert);
        outputs.iter().any(|output| matches!(output, Output::AddressListMismatch { .. }))
    };
    for (from, addresses, seen_by_usual, seen_by_skipping) in [
        (ABOVE, [VIP], false, false),
        (ABOVE, [other], true, false),
        (BELOW, [other], true, true),
        // It is compared for as long as it differs, so that the end of it is seen.
        (BELOW, [other], true, true),
        (BELOW, [VIP], false, false),
        (ABOVE, [other], true, true),
    ] {
        assert_eq!(says(&mut usual, from, &addresses), seen_by_usual, "{from} {addresses:?}");
        assert_eq!(says(&mut skipping, from, &addresses), seen_by_skipping, "{from} {addresses:?}");
    }
}
