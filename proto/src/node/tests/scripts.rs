//! Tracked scripts: a fault, or another priority, and never a silent success.

use super::words::said;
use super::*;
use crate::id::ScriptId;
use crate::settings::{ScriptSettings, TrackScript};

fn track(settings: &mut Settings, weight: i16) {
    settings.scripts = vec![ScriptSettings {
        name: "chk".into(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rise: 2,
        fall: 2,
        init_fail: false,
    }];
    settings.instances[0].track_scripts = vec![TrackScript { script: ScriptId(0), weight, reverse: false }];
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
    assert_eq!((cluster.role(1), cluster.open()), ((Role::Fault, Reason::ScriptFailed), vec![2]));
    let shut = cluster.when(1, 0, |action| matches!(action, Action::ShutGate { .. })).unwrap();
    let open = cluster.when(2, 0, |action| matches!(action, Action::OpenGate { .. })).unwrap();
    assert!(open >= shut && open.since(shut) < Duration::from_millis(60), "{:?}", open.since(shut));
    let words = said(&cluster, 1, AlertName::ScriptFailed, true);
    assert!(words.starts_with("chk: exit status: 1; "), "{words}");
    assert!(said(&cluster, 1, AlertName::SelfDemoted, true).contains("script-failed: "));

    cluster.scripts_fail.clear();
    cluster.run_to(8900);
    assert_eq!(cluster.open(), [2], "one success of the two that it takes");
    cluster.run_to(9900);
    assert_eq!(cluster.open(), [1], "the better one is back");
    cluster.run_to(10_500);
    assert_eq!(said(&cluster, 1, AlertName::ScriptFailed, false), "every tracked script is well");
}

#[test]
fn a_weight_moves_the_priority_and_the_peer_that_is_better_then_asks_for_the_handover() {
    let mut cluster = tracking(-150);
    cluster.scripts_fail.insert(1);
    cluster.run_to(7500);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Backup, vec![2]));
    assert!(said(&cluster, 1, AlertName::ScriptFailed, true).ends_with("; the priority is 50"));
    cluster.scripts_fail.clear();
    cluster.run_to(9900);
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
    assert_eq!(cluster.role(1), (Role::Fault, Reason::ScriptFailed));
}
