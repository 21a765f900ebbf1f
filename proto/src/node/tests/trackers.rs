//! Tracked scripts and watches: a fault, or another priority, and never a silent success.

use super::words::said;
use super::*;
use crate::id::{ScriptId, WatchId};
use crate::settings::{ScriptSettings, Track, Tracker, WatchKind, WatchSettings};
use crate::watch::Reading;

fn track(settings: &mut Settings, weight: i16) {
    settings.scripts = vec![ScriptSettings {
        name: "chk".into(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rise: 2,
        fall: 2,
        init_fail: false,
    }];
    settings.instances[0].track_others = vec![Track { tracker: Tracker::Script(ScriptId(0)), weight, reverse: false }];
}

/// Both nodes track one script, run each second, by that weight.
fn tracking(weight: i16) -> Cluster {
    let mut cluster = Cluster::new(Authority::Quorum(quorum()));
    for node in [1, 2] {
        let mut settings = settings(node, Authority::Quorum(quorum()));
        track(&mut settings, weight);
        cluster.start_with(node, settings);
    }
    cluster.run_to(5500);
    assert_eq!(cluster.open(), [1]);
    cluster.log.clear();
    cluster
}

#[test]
fn a_script_without_a_weight_that_fails_is_a_fault_and_the_peer_takes_over_at_once() {
    let mut cluster = tracking(0);
    cluster.scripts_fail.insert(1);
    cluster.run_to(6900);
    assert_eq!(cluster.open(), [1], "one failure of the two that it takes");
    cluster.run_to(7100);
    assert_eq!((cluster.role(1), cluster.open()), ((Role::Fault, Reason::TrackerFailed), vec![2]));
    let shut = cluster.when(1, 0, |action| matches!(action, Action::ShutGate { .. })).unwrap();
    let open = cluster.when(2, 0, |action| matches!(action, Action::OpenGate { .. })).unwrap();
    assert!(open >= shut && open.since(shut) < Duration::from_millis(60), "{:?}", open.since(shut));
    let words = said(&cluster, 1, AlertName::TrackerFailed, true);
    assert!(words.starts_with("chk: exit status: 1; "), "{words}");
    assert!(said(&cluster, 1, AlertName::SelfDemoted, true).contains("tracker-failed: "));

    cluster.scripts_fail.clear();
    cluster.run_to(8900);
    assert_eq!(cluster.open(), [2], "one success of the two that it takes");
    cluster.run_to(9900);
    assert_eq!(cluster.open(), [1], "the better one is back");
    cluster.run_to(10_500);
    assert_eq!(said(&cluster, 1, AlertName::TrackerFailed, false), "all that is tracked is well");
}

#[test]
fn a_weight_moves_the_priority_and_the_peer_that_is_better_then_asks_for_the_handover() {
    let mut cluster = tracking(-150);
    cluster.scripts_fail.insert(1);
    cluster.run_to(7500);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Backup, vec![2]));
    assert!(said(&cluster, 1, AlertName::TrackerFailed, true).ends_with("; the priority is 50"));
    cluster.scripts_fail.clear();
    cluster.run_to(9900);
    let told = cluster.log.iter().filter_map(|(_, who, deed)| match deed {
        Action::Priority { priority, is_master, .. } if *who == 1 => Some((priority.0, *is_master)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(50, true), (200, false)], "each change once");
    let told = cluster.log.iter().find_map(|(_, _, deed)| match deed {
        Action::Transition(transition) => Some(transition.routers.clone()),
        _ => None,
    });
    assert_eq!(told, Some(vec![(InstanceId(0), Priority(50))]));
    assert_eq!(cluster.open(), [1]);
}

#[test]
fn where_every_nodes_script_fails_nobody_holds() {
    let mut cluster = tracking(0);
    cluster.scripts_fail.extend([1, 2]);
    cluster.run_to(9000);
    assert_eq!(cluster.open(), [0_u16; 0]);
    cluster.scripts_fail.remove(&2);
    cluster.run_to(12_000);
    assert_eq!(cluster.open(), [2]);
}

#[test]
fn a_node_does_not_begin_before_its_scripts_have_ended_once_and_a_hanging_one_is_a_fault() {
    let mut cluster = Cluster::new(Authority::Quorum(quorum()));
    cluster.scripts_hang.insert(1);
    for node in [1, 2] {
        let mut settings = settings(node, Authority::Quorum(quorum()));
        track(&mut settings, 0);
        cluster.start_with(node, settings);
    }
    // They start at 1 s; the end of a run is not waited for longer than its second and five.
    cluster.run_to(6900);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Init, vec![2]));
    cluster.run_to(7200);
    assert_eq!(cluster.role(1), (Role::Fault, Reason::TrackerFailed));
}

/// Both nodes track one file by that weight, and nothing has been told of it.
fn watching(weight: i16) -> Cluster {
    let mut cluster = Cluster::new(Authority::Quorum(quorum()));
    for node in [1, 2] {
        let mut settings = settings(node, Authority::Quorum(quorum()));
        settings.watches = vec![WatchSettings {
            kind: WatchKind::File,
            name: "load".into(),
            up_delay: Duration::ZERO,
            down_delay: Duration::ZERO,
        }];
        settings.instances[0].track_others =
            vec![Track { tracker: Tracker::Watch(WatchId(0)), weight, reverse: false }];
        cluster.start_with(node, settings);
    }
    cluster
}

fn tell(cluster: &mut Cluster, node: u16, reading: Reading) {
    cluster.give(node, Event::Watched { watch: WatchId(0), reading });
}

#[test]
fn a_node_does_not_begin_before_it_is_told_of_what_it_watches_and_silence_is_a_fault() {
    let mut cluster = watching(0);
    cluster.run_to(2000);
    tell(&mut cluster, 2, Reading::Number(0));
    cluster.run_to(12_000);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Init, vec![2]));
    // They start at 1 s, and are heard of no later than 15 s after that; the second is told of again meanwhile.
    tell(&mut cluster, 2, Reading::Number(0));
    cluster.run_to(16_500);
    assert_eq!(cluster.role(1), (Role::Fault, Reason::TrackerFailed));
    assert!(said(&cluster, 1, AlertName::TrackerFailed, true).starts_with("track_file load: not told of for 15 s"));
    tell(&mut cluster, 1, Reading::Number(0));
    tell(&mut cluster, 2, Reading::Number(0));
    cluster.run_to(20_000);
    assert_eq!(cluster.open(), [1], "the better one is told of again");
}

#[test]
fn a_number_moves_the_priority_and_the_peer_that_is_better_then_holds() {
    let mut cluster = watching(10);
    cluster.run_to(1500);
    tell(&mut cluster, 1, Reading::Number(0));
    tell(&mut cluster, 2, Reading::Number(0));
    cluster.run_to(7000);
    assert_eq!(cluster.open(), [1]);
    cluster.log.clear();
    tell(&mut cluster, 1, Reading::Number(-15));
    cluster.run_to(9000);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Backup, vec![2]), "200 - 150 is less than 100");
    tell(&mut cluster, 1, Reading::Number(-26));
    cluster.run_to(9500);
    assert_eq!(cluster.role(1), (Role::Fault, Reason::TrackerFailed), "below -253");
    cluster.run_to(10_500);
    let words = said(&cluster, 1, AlertName::TrackerFailed, true);
    assert!(words.starts_with("track_file load: it says -26; the priority is "), "{words}");
}
