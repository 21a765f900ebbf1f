//! RFC 9568, 6.4.1 to 6.4.3, one behaviour a test, and what differs in version 2.

use super::*;
use crate::id::Vrid;
use crate::settings::ElectionOptions;
use alloc::vec;
use core::net::Ipv4Addr;

mod header;
mod options;
mod receiving;
mod version_2;

const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const BELOW: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const ABOVE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

/// v3, priority 192 (a skew of a quarter), 1 s: Master_Down_Interval is 3250 ms.
fn params() -> Params {
    Params {
        version: VrrpVersion::V3,
        vrid: Vrid::new(51).unwrap(),
        ipv6: false,
        priority: Priority(192),
        advert_int: ms(1000),
        preempt: true,
        preempt_delay: ms(0),
        addresses: vec![VIP],
        auth_pass: None,
        auth_type: AuthType::Pass,
        hmac: None,
        election: ElectionOptions::default(),
    }
}

fn v2() -> Params {
    Params { version: VrrpVersion::V2, ..params() }
}

fn backup(params: Params) -> Instance {
    let mut instance = Instance::new(params);
    instance.startup(at(0));
    instance
}

/// Master since 10 s.
fn master(params: Params) -> Instance {
    let mut instance = backup(params);
    instance.on_timer(at(10_000));
    instance.become_master(at(10_000));
    instance
}

#[test]
fn one_of_many_advertises_in_step_with_the_others_and_at_whole_intervals() {
    let intervals = [ms(10), ms(30), ms(1000), Duration::from_nanos(999_999_999)];
    for advert_int in intervals {
        let first: Vec<Instant> = (0..50)
            .map(|which| {
                let begun = at(10_000) + Duration::from_micros(137) * which;
                let mut instance = backup(Params { advert_int, ..params() }).in_step(true);
                instance.become_master(begun);
                let first = instance.next_deadline().unwrap();
                assert!(first <= begun + advert_int && first >= begun + advert_int - advert_int / 16, "{advert_int:?}");
                assert_eq!(instance.on_timer(first).len(), 1);
                assert_eq!(instance.next_deadline(), Some(first + advert_int), "in whole intervals from there");
                first
            })
            .collect();
        let moments: alloc::collections::BTreeSet<u64> = first.iter().map(|at| at.as_nanos()).collect();
        assert!(moments.len() <= 2 + 16, "{} moments for 50 routers at {advert_int:?}", moments.len());
    }
    let mut alone = backup(params());
    alone.become_master(at(10_137));
    assert_eq!(alone.next_deadline(), Some(at(11_137)));
}

fn advert(of: &Instance, priority: u8) -> Advertisement {
    Advertisement { priority: Priority(priority), ..of.advertisement() }
}

/// `instance` hears an Advertisement of `priority` from the address above its own.
fn hear(instance: &mut Instance, now: Instant, priority: u8) -> Vec<Output> {
    let advert = advert(instance, priority);
    instance.on_advertisement(now, ABOVE, OWN, &advert)
}

fn down_at(instance: &Instance) -> Instant {
    match instance.state() {
        State::Backup { master_down_at, .. } => master_down_at,
        other => panic!("{other:?}"),
    }
}

fn advertises(instance: &Instance) -> Vec<Output> {
    vec![Output::Advertise(instance.advertisement())]
}

mod initialize {
    use super::*;

    #[test]
    fn an_initialized_router_has_no_timer_and_hears_nothing() {
        let mut instance = Instance::new(params());
        assert_eq!(hear(&mut instance, at(0), 0), vec![]);
        assert_eq!(instance.on_timer(at(99_000)), vec![]);
        assert_eq!(instance.become_master(at(99_000)), vec![]);
        assert_eq!((instance.next_deadline(), instance.master()), (None, None));
        assert_eq!((instance.state(), instance.election(at(99_000))), (State::Initialize, Election::Lost));
    }

    #[test]
    fn on_startup_a_router_becomes_backup_with_the_full_timer_of_its_own_interval() {
        let instance = backup(params());
        assert_eq!(instance.next_deadline(), Some(at(3250)));
        assert_eq!(instance.election(at(3249)), Election::Lost);
    }

    #[test]
    fn on_startup_the_owner_stands_for_election_at_once() {
        let mut instance = backup(Params { priority: Priority::OWNER, ..params() });
        assert_eq!(instance.election(at(0)), Election::Won);
        assert_eq!(instance.become_master(at(0)), advertises(&instance));
    }

    #[test]
    fn startup_disturbs_neither_a_backup_nor_a_master() {
        let (mut b, mut m) = (backup(params()), master(params()));
        let before = (b.clone(), m.clone());
        b.startup(at(11_000));
        m.startup(at(11_000));
        assert_eq!((b, m), before);
    }
}

mod backup {
    use super::*;

    #[test]
    fn a_backup_whose_timer_ran_out_stands_until_it_is_made_master() {
        let mut instance = backup(params());
        assert_eq!(instance.on_timer(at(3249)), vec![]);
        assert_eq!(instance.election(at(3249)), Election::Lost);
        assert_eq!(instance.on_timer(at(3250)), vec![]);
        assert_eq!(instance.election(at(3250)), Election::Won);
        assert!(matches!(instance.state(), State::Backup { standing: true, .. }));
        assert_eq!(instance.next_deadline(), None);
        assert_eq!(instance.election(at(99_000)), Election::Won);
        assert_eq!(instance.become_master(at(99_000)), advertises(&instance));
        assert_eq!(instance.next_deadline(), Some(at(100_000)));
    }

    #[test]
    fn a_backup_that_slept_listens_for_the_full_interval_before_it_stands() {
        let mut slept = backup(params());
        slept.slept(at(1000), at(11_000));
        assert_eq!(slept.election(at(11_000)), Election::Lost);
        assert_eq!(slept.election(at(14_250)), Election::Won);
        let mut stood = backup(params());
        stood.slept(at(4000), at(11_000));
        assert_eq!(stood.election(at(11_000)), Election::Won, "its timer had run out before it slept");
    }

    #[test]
    fn the_election_does_not_wait_for_the_driver_to_call_the_timer() {
        assert_eq!(backup(params()).election(at(3250)), Election::Won);
    }

    #[test]
    fn an_advertisement_of_equal_or_higher_priority_restarts_the_timer() {
        for priority in [192, 193, 255] {
            let mut instance = backup(params());
            assert_eq!(hear(&mut instance, at(3000), priority), vec![]);
            assert_eq!(down_at(&instance), at(6250));
            let seen = MasterSeen { address: ABOVE, priority: Priority(priority), at: at(3000), advert_int: ms(1000) };
            assert_eq!(instance.master(), Some(seen));
        }
    }

    #[test]
    fn an_equal_priority_is_followed_whatever_its_address() {
        let mut instance = backup(params());
        let advert = advert(&instance, 192);
        instance.on_advertisement(at(3000), BELOW, OWN, &advert);
        assert_eq!(down_at(&instance), at(6250));
    }

    #[test]
    fn one_who_stands_and_hears_a_better_master_no_longer_stands() {
        let mut instance = backup(params());
        instance.on_timer(at(3250));
        hear(&mut instance, at(3300), 200);
        assert_eq!((instance.election(at(3300)), down_at(&instance)), (Election::Lost, at(6550)));
    }

    #[test]
    fn a_backup_takes_over_after_the_skew_time_when_the_master_resigns() {
        let mut instance = backup(params());
        hear(&mut instance, at(1000), 200);
        hear(&mut instance, at(1500), 0);
        assert_eq!((down_at(&instance), instance.master()), (at(1750), None));
        assert_eq!(instance.election(at(1750)), Election::Won);
    }

    #[test]
    fn a_resignation_does_not_send_back_one_who_stands() {
        let mut instance = backup(params());
        instance.on_timer(at(3250));
        hear(&mut instance, at(3300), 0);
        assert_eq!(instance.election(at(3300)), Election::Won);
    }

    #[test]
    fn the_resignation_of_another_does_not_forget_the_master() {
        let mut instance = backup(params());
        hear(&mut instance, at(1000), 200);
        let resignation = instance.resignation();
        instance.on_advertisement(at(1100), BELOW, OWN, &resignation);
        assert_eq!(instance.master().map(|m| m.address), Some(ABOVE));
    }

    #[test]
    fn a_backup_of_v3_learns_the_interval_that_the_master_advertises() {
        let mut instance = backup(params());
        let advert = Advertisement { advert_int: ms(100), ..advert(&instance, 200) };
        let wanted = Output::IntervalMismatch { from: ABOVE, found: ms(100), wanted: ms(1000) };
        assert_eq!(instance.on_advertisement(at(1000), ABOVE, OWN, &advert), vec![wanted]);
        assert_eq!(down_at(&instance), at(1325));
        hear(&mut instance, at(1100), 0);
        assert_eq!(down_at(&instance), at(1125), "the skew time is of the learnt interval, too");
    }

    #[test]
    fn an_interval_of_v3_that_is_ours_on_the_wire_is_no_other() {
        let mut instance = backup(Params { advert_int: Duration::from_micros(1_002_500), ..params() });
        let advert = Advertisement { advert_int: ms(1000), ..advert(&instance, 200) };
        assert_eq!(instance.on_advertisement(at(1000), ABOVE, OWN, &advert), vec![]);
    }

    #[test]
    fn a_shut_down_backup_says_nothing() {
        let mut instance = backup(params());
        assert_eq!(instance.shutdown(), vec![]);
        assert_eq!(instance.state(), State::Initialize);
    }

    #[test]
    fn a_backup_that_does_not_stand_can_be_handed_the_mastership() {
        let mut instance = backup(params());
        assert_eq!(instance.become_master(at(100)), advertises(&instance));
        assert!(instance.is_master());
    }

    #[test]
    fn a_priority_of_zero_counts_as_one_so_that_an_advertisement_never_resigns_by_mistake() {
        let mut instance = Instance::new(Params { priority: Priority(0), ..params() });
        assert_eq!(instance.advertisement().priority, Priority(1));
        instance.set_priority(at(0), Priority(0));
        assert_eq!(instance.advertisement().priority, Priority(1));
    }
}

mod preemption {
    use super::*;

    #[test]
    fn a_lower_master_does_not_restart_the_timer_and_may_be_asked_until_it_runs_out() {
        let mut instance = backup(params());
        for now in [1000, 2000, 3000] {
            assert_eq!(hear(&mut instance, at(now), 100), vec![]);
            assert_eq!((down_at(&instance), instance.election(at(now))), (at(3250), Election::Preempts));
        }
        instance.on_timer(at(3250));
        assert_eq!(instance.election(at(3250)), Election::Won);
        hear(&mut instance, at(4000), 100);
        assert_eq!(instance.election(at(4000)), Election::Won, "it had its time to hand over");
    }

    #[test]
    fn the_interval_of_a_discarded_advertisement_is_not_learnt() {
        let mut instance = backup(params());
        let advert = Advertisement { advert_int: ms(100), ..advert(&instance, 100) };
        instance.on_advertisement(at(1000), ABOVE, OWN, &advert);
        hear(&mut instance, at(1100), 0);
        assert_eq!(down_at(&instance), at(1350));
    }

    #[test]
    fn a_lower_master_that_appears_while_one_stands_gets_its_time_to_hand_over() {
        let mut instance = backup(params());
        instance.on_timer(at(3250));
        hear(&mut instance, at(5000), 100);
        assert_eq!((instance.election(at(5000)), down_at(&instance)), (Election::Preempts, at(8250)));
        hear(&mut instance, at(8000), 100);
        assert_eq!(instance.election(at(8250)), Election::Won);
    }

    #[test]
    fn a_lower_master_that_comes_back_after_a_silence_is_a_new_one() {
        let mut instance = backup(Params { preempt_delay: ms(2000), ..params() });
        hear(&mut instance, at(1000), 100);
        instance.on_timer(at(4250));
        assert_eq!(instance.election(at(4250)), Election::Won);
        hear(&mut instance, at(9000), 100);
        assert_eq!(instance.election(at(10_999)), Election::Lost, "the delay began anew");
        assert_eq!(instance.election(at(11_000)), Election::Preempts);
    }

    #[test]
    fn without_preemption_a_lower_master_is_followed() {
        let mut instance = backup(Params { preempt: false, ..params() });
        hear(&mut instance, at(3000), 100);
        assert_eq!((instance.election(at(3000)), down_at(&instance)), (Election::Lost, at(6250)));
        assert_eq!(instance.election(at(6250)), Election::Won, "a silent one is not");
    }

    #[test]
    fn the_owner_preempts_even_without_preemption() {
        let mut instance = backup(Params { preempt: false, priority: Priority::OWNER, ..params() });
        hear(&mut instance, at(1000), 254);
        assert_eq!(instance.election(at(1000)), Election::Preempts);
    }

    #[test]
    fn a_lower_master_is_followed_while_preempt_delay_runs_and_preempted_after_it() {
        let mut instance = backup(Params { preempt_delay: ms(10_000), ..params() });
        for now in (1000..=10_000).step_by(1000) {
            hear(&mut instance, at(now), 100);
            instance.on_timer(at(now));
            assert_eq!((instance.election(at(now)), down_at(&instance)), (Election::Lost, at(now + 3250)));
        }
        assert_eq!(instance.next_deadline(), Some(at(11_000)), "the end of the delay is a deadline");
        assert_eq!(instance.election(at(11_000)), Election::Preempts);
        instance.on_timer(at(11_000));
        assert_eq!(instance.next_deadline(), Some(at(13_250)), "and is one only once");
        hear(&mut instance, at(12_000), 100);
        assert_eq!(down_at(&instance), at(13_250));
        assert_eq!(instance.election(at(13_250)), Election::Won);
    }

    #[test]
    fn preempt_delay_delays_nothing_when_no_master_is_heard() {
        let mut instance = backup(Params { preempt_delay: ms(100_000), ..params() });
        assert_eq!(instance.election(at(3250)), Election::Won);
        hear(&mut instance, at(1000), 100);
        assert_eq!(instance.election(at(4250)), Election::Won, "nor when the lower one falls silent");
    }

    #[test]
    fn an_equal_or_higher_master_or_a_resignation_ends_preempt_delay() {
        for between in [200, 192, 0] {
            let mut instance = backup(Params { preempt_delay: ms(2000), ..params() });
            hear(&mut instance, at(1000), 100);
            hear(&mut instance, at(2000), between);
            hear(&mut instance, at(2100), 100);
            assert_eq!(instance.election(at(3000)), Election::Lost, "{between}: the delay began anew");
            assert_eq!(instance.election(at(4100)), Election::Preempts, "{between}");
        }
    }
}

mod priorities {
    use super::*;

    #[test]
    fn a_change_of_priority_moves_a_running_timer_by_the_difference() {
        let mut instance = backup(params());
        instance.set_priority(at(1000), Priority(128));
        assert_eq!(down_at(&instance), at(3500));
        instance.set_priority(at(2000), Priority(192));
        assert_eq!(down_at(&instance), at(3250));
        hear(&mut instance, at(3000), 0);
        instance.set_priority(at(3000), Priority(128));
        assert_eq!(down_at(&instance), at(3500), "also one that waits for the skew time alone");
    }

    #[test]
    fn a_timer_moved_into_the_past_has_run_out() {
        let mut instance = backup(Params { priority: Priority(64), ..params() });
        instance.set_priority(at(3500), Priority(192));
        assert_eq!((instance.election(at(3500)), instance.next_deadline()), (Election::Won, None));
    }

    #[test]
    fn one_who_falls_below_the_master_that_it_would_preempt_follows_it() {
        let mut instance = backup(params());
        hear(&mut instance, at(3000), 150);
        assert_eq!(instance.election(at(3250)), Election::Won);
        instance.on_timer(at(3250));
        instance.set_priority(at(3300), Priority(128));
        assert_eq!((instance.election(at(3300)), down_at(&instance)), (Election::Lost, at(6500)));
    }

    #[test]
    fn a_master_advertises_its_new_priority_with_the_next_advertisement() {
        let mut instance = master(params());
        instance.set_priority(at(10_500), Priority(50));
        assert_eq!(instance.next_deadline(), Some(at(11_000)));
        let sent = instance.on_timer(at(11_000));
        assert!(matches!(&sent[..], [Output::Advertise(a)] if a.priority == Priority(50)), "{sent:?}");
    }
}

mod master {
    use super::*;

    #[test]
    fn a_master_advertises_each_interval_on_the_grid_of_the_due_times() {
        let mut instance = master(params());
        assert_eq!(instance.on_timer(at(10_999)), vec![]);
        assert_eq!(instance.on_timer(at(11_300)), advertises(&instance));
        assert_eq!(instance.next_deadline(), Some(at(12_000)), "300 ms late, and still on the grid");
        assert_eq!(instance.election(at(11_300)), Election::Lost);
    }

    #[test]
    fn a_master_that_slept_over_an_interval_sends_one_advertisement_not_all() {
        let mut instance = master(params());
        assert_eq!(instance.on_timer(at(15_700)), advertises(&instance));
        assert_eq!(instance.on_timer(at(15_700)), vec![]);
        assert_eq!(instance.next_deadline(), Some(at(16_700)));
    }

    #[test]
    fn a_master_answers_a_resignation_at_once_and_restarts_its_timer() {
        let mut instance = master(params());
        assert_eq!(hear(&mut instance, at(10_400), 0), advertises(&instance));
        assert_eq!(instance.next_deadline(), Some(at(11_400)));
    }

    #[test]
    fn a_master_reports_a_better_one_and_stays_until_told_to_resign() {
        for (priority, from) in [(193, BELOW), (193, ABOVE), (192, ABOVE), (255, BELOW)] {
            let mut instance = master(params());
            let advert = Advertisement { advert_int: ms(100), ..advert(&instance, priority) };
            let differs = Output::IntervalMismatch { from, found: ms(100), wanted: ms(1000) };
            let wanted = vec![Output::HigherSeen { from, priority: Priority(priority) }, differs];
            assert_eq!(instance.on_advertisement(at(10_400), from, OWN, &advert), wanted);
            assert!(instance.is_master());
            instance.resign(at(10_400));
            assert_eq!(down_at(&instance), at(10_725), "with the better one's interval");
            assert_eq!(instance.master().map(|m| m.address), Some(from));
        }
    }

    #[test]
    fn a_master_yields_to_a_better_one_whether_or_not_it_would_preempt() {
        let mut instance = master(Params { preempt: false, preempt_delay: ms(10_000), ..params() });
        assert!(matches!(hear(&mut instance, at(10_400), 200)[..], [Output::HigherSeen { .. }]));
    }

    #[test]
    fn a_master_asserts_itself_at_once_against_a_lower_one() {
        for (priority, from) in [(191, ABOVE), (1, BELOW), (192, BELOW)] {
            let mut instance = master(params());
            let advert = advert(&instance, priority);
            let mut wanted = advertises(&instance);
            wanted.push(Output::LowerSeen { from, priority: Priority(priority) });
            assert_eq!(instance.on_advertisement(at(10_400), from, OWN, &advert), wanted);
            assert_eq!(instance.next_deadline(), Some(at(11_000)), "its timer runs on");
        }
    }

    #[test]
    fn equal_ipv6_masters_are_told_apart_by_address_too() {
        let address = |last| IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, last]);
        let mut instance = master(Params { ipv6: true, addresses: vec![address(0x100)], ..params() });
        let advert = advert(&instance, 192);
        let higher = instance.on_advertisement(at(10_400), address(0x1ff), address(0x2f), &advert);
        assert!(matches!(higher[..], [Output::HigherSeen { .. }]), "{higher:?}");
    }

    #[test]
    fn nobody_can_make_a_master_answer_more_often_than_ten_times_an_interval() {
        let mut instance = master(params());
        let mut answers = 0;
        for now in 10_000..11_000 {
            let priority = if now % 2 == 0 { 100 } else { 0 };
            let outputs = hear(&mut instance, at(now), priority);
            answers += outputs.iter().filter(|o| matches!(o, Output::Advertise(_))).count();
            let rival = outputs.iter().any(|o| matches!(o, Output::LowerSeen { .. }));
            assert_eq!(rival, priority == 100, "what is seen is said, answered or not");
        }
        assert_eq!(answers, 10);
    }

    #[test]
    fn at_10_ms_the_guard_is_10_ms() {
        let mut instance = master(Params { advert_int: ms(10), ..params() });
        let answers = (10_000..10_100)
            .flat_map(|now| hear(&mut instance, at(now), 100))
            .filter(|o| matches!(o, Output::Advertise(_)))
            .count();
        assert_eq!(answers, 10);
    }

    #[test]
    fn a_master_that_is_shut_down_resigns_with_priority_0() {
        let mut instance = master(params());
        let wanted = Advertisement { priority: Priority(0), ..instance.advertisement() };
        assert_eq!(instance.shutdown(), vec![Output::Advertise(wanted)]);
        assert_eq!((instance.state(), instance.next_deadline()), (State::Initialize, None));
    }

    #[test]
    fn a_master_that_resigns_waits_the_full_timer_of_its_own_interval() {
        let mut instance = backup(params());
        let advert = Advertisement { advert_int: ms(100), ..advert(&instance, 200) };
        instance.on_advertisement(at(1000), ABOVE, OWN, &advert);
        instance.become_master(at(2000));
        assert_eq!(instance.master(), None);
        instance.resign(at(3000));
        assert_eq!((down_at(&instance), instance.election(at(3000))), (at(6250), Election::Lost));
    }

    #[test]
    fn to_make_a_master_master_again_changes_nothing() {
        let mut instance = master(params());
        let before = instance.clone();
        assert_eq!(instance.become_master(at(10_500)), vec![]);
        assert_eq!(instance, before);
    }
}
