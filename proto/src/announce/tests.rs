use alloc::vec;

use super::*;
use crate::settings::Refresh;

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What is said until `end`, with the deadlines that it names: each instant in ms, and how many rounds.
fn run(announcer: &mut Announcer, settings: &AnnounceSettings, end: u64) -> Vec<(u64, u8)> {
    let mut said = Vec::new();
    while let Some(due) = announcer.next_deadline().filter(|due| *due <= at(end)) {
        let what = announcer.take_due(due, settings);
        assert!(what != Due::default(), "it wakes for nothing at {due:?}");
        said.push((due.as_nanos() / 1_000_000, what.rounds));
    }
    said
}

#[test]
fn a_new_master_says_it_again_for_four_seconds() {
    let (mut announcer, settings) = (Announcer::default(), AnnounceSettings::default());
    assert_eq!(announcer.begin(at(0), &settings), 5);
    let later = [50, 100, 200, 500, 1000, 2000, 4000].map(|ms| (ms, 1));
    assert_eq!(run(&mut announcer, &settings, 100_000), later);
}

#[test]
fn the_least_is_one_frame_and_the_operators_delay_is_a_second_burst() {
    let least = AnnounceSettings { burst: 1, again: Vec::new(), ..AnnounceSettings::default() };
    let mut announcer = Announcer::default();
    assert_eq!((announcer.begin(at(0), &least), announcer.next_deadline()), (1, None));
    let twice = AnnounceSettings { burst: 3, second: Some(seconds(10)), ..least };
    assert_eq!((announcer.begin(at(0), &twice), run(&mut announcer, &twice, 100_000)), (3, vec![(10_000, 3)]));
}

#[test]
fn a_refresh_begins_after_the_second_burst_and_ends_with_the_mastership() {
    let refresh = Some(Refresh { interval: seconds(60), rounds: 2 });
    let settings = AnnounceSettings { again: Vec::new(), second: Some(seconds(5)), refresh, ..Default::default() };
    let mut announcer = Announcer::default();
    announcer.begin(at(0), &settings);
    assert_eq!(run(&mut announcer, &settings, 190_000), [(5000, 5), (65_000, 2), (125_000, 2), (185_000, 2)]);
    announcer.stop();
    assert_eq!(announcer.next_deadline(), None);
}

#[test]
fn other_interfaces_have_their_own_interval() {
    let settings = AnnounceSettings { again: Vec::new(), elsewhere: Some(seconds(100)), ..Default::default() };
    let mut announcer = Announcer::default();
    announcer.begin(at(0), &settings);
    assert_eq!(announcer.next_deadline(), Some(at(100_000)));
    assert_eq!(announcer.take_due(at(100_000), &settings), Due { rounds: 0, elsewhere: true });
    assert_eq!(announcer.next_deadline(), Some(at(200_000)));
}

#[test]
fn other_settings_of_a_master_count_from_now_on() {
    let mut announcer = Announcer::default();
    let none = AnnounceSettings { again: Vec::new(), ..Default::default() };
    announcer.begin(at(0), &none);
    let refresh = Some(Refresh { interval: seconds(3), rounds: 1 });
    let new = AnnounceSettings { refresh, ..none.clone() };
    announcer.reconfigure(at(1000), true, &new);
    assert_eq!(run(&mut announcer, &new, 8000), [(4000, 1), (7000, 1)]);
    announcer.reconfigure(at(8000), true, &none);
    assert_eq!(announcer.next_deadline(), None);
    announcer.reconfigure(at(8000), false, &new);
    assert_eq!(announcer.next_deadline(), None, "no Master");
}

#[test]
fn beside_a_rival_it_is_the_rivals_burst() {
    let settings = AnnounceSettings {
        again: Vec::new(),
        rival_burst: 2,
        rival_second: Some(seconds(10)),
        ..AnnounceSettings::default()
    };
    let mut announcer = Announcer::default();
    announcer.begin(at(0), &settings);
    assert_eq!(announcer.beside_a_rival(at(1000), &settings), 2);
    assert_eq!(run(&mut announcer, &settings, 100_000), [(11_000, 2)]);
    let silent = AnnounceSettings { rival_burst: 0, ..settings };
    assert_eq!(announcer.beside_a_rival(at(200_000), &silent), 0);
    assert_eq!(announcer.next_deadline(), None, "the operator wants none");
}

/// A claim or an Advertisement each millisecond, for ten seconds, in any mixture.
#[test]
fn a_flood_of_forged_packets_provokes_no_more_than_a_burst_and_its_rounds_each_half_second() {
    let settings = AnnounceSettings::default();
    for kind in 0..4 {
        let mut announcer = Announcer::default();
        announcer.begin(at(0), &settings);
        let (mut bursts, mut rounds) = (0_u32, 0_u32);
        for ms in 1..=10_000 {
            let now = at(ms);
            let said = match kind {
                0 => announcer.again(now, &settings),
                1 => announcer.beside_a_rival(now, &settings),
                2 if ms % 2 == 0 => announcer.again(now, &settings),
                _ => {
                    announcer.soon(now);
                    if kind == 3 { announcer.again(now, &settings) } else { 0 }
                }
            };
            bursts += u32::from(said > 0);
            rounds += u32::from(said);
            if announcer.next_deadline().is_some_and(|due| due <= now) {
                rounds += u32::from(announcer.take_due(now, &settings).rounds);
            }
        }
        assert!(bursts <= 20 && rounds >= 20, "{kind}: {bursts} bursts, {rounds} rounds");
        // 20 times 5, three rounds soon after each, and one each 50 ms.
        assert!(rounds <= 400, "{kind}: {rounds} rounds in ten seconds");
    }
}

#[test]
fn what_comes_too_soon_after_a_burst_is_said_later_and_not_forgotten() {
    let least = AnnounceSettings { burst: 1, again: Vec::new(), ..AnnounceSettings::default() };
    let mut announcer = Announcer::default();
    announcer.begin(at(0), &least);
    assert_eq!([announcer.again(at(100), &least), announcer.again(at(200), &least)], [0, 0]);
    assert_eq!(run(&mut announcer, &least, 100_000), [(500, 1)]);
}

#[test]
fn a_claim_with_the_virtual_mac_keeps_everything_back_for_an_interval_but_no_longer() {
    let refresh = Some(Refresh { interval: seconds(60), rounds: 1 });
    let settings = AnnounceSettings { again: Vec::new(), refresh, ..AnnounceSettings::default() };
    let mut announcer = Announcer::default();
    announcer.begin(at(0), &settings);
    for ms in 59_500..59_600 {
        announcer.after_advertisement(at(ms), seconds(1));
        announcer.soon(at(ms));
        announcer.at_latest(at(ms + 50));
    }
    assert_eq!(announcer.next_deadline(), Some(at(60_550)));
    assert_eq!(announcer.take_due(at(60_100), &settings), Due::default(), "nor does a refresh break in");
    assert_eq!(announcer.take_due(at(60_550), &settings).rounds, 1);
}
