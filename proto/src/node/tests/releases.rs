//! Two neighbouring releases in one cluster: what the older one can't read is said once it is older no more.

use super::words::said;
use super::*;
use crate::features::{Feature, Release};
use crate::wire::profile::{self, Profile};

/// Node 2 has another policy, and runs an older release for as long as `without_hello` has it.
fn mixed() -> Cluster {
    let mut cluster = Cluster::arbitrated();
    cluster.without_hello.insert(2);
    start(&mut cluster, 1);
    start(&mut cluster, 2);
    cluster.run_to(9000);
    cluster
}

fn start(cluster: &mut Cluster, node: u16) {
    let names =
        Names { nodes: [(id(1), "n1".into()), (id(2), "n2".into()), (id(3), "w".into())].into(), ..Names::default() };
    let mut settings = Settings { names, ..settings(node, Authority::Quorum(quorum())) };
    if node == 2 {
        settings.domains[0].policy = Policy::Degrade;
    }
    cluster.start_with(node, settings);
}

/// What a node's profiles have told of policies since the log began, each once.
fn told(cluster: &Cluster, node: u16) -> Vec<Option<Policy>> {
    let profiles = cluster.log.iter().filter(|(_, who, _)| *who == node).filter_map(|(_, _, action)| match action {
        Action::SendBeat { bytes, .. } if bytes[0] == profile::TAG => Some(Profile::parse(bytes).unwrap()),
        _ => None,
    });
    let mut told: Vec<Option<Policy>> = profiles.flat_map(|profile| profile.instances).map(|one| one.policy).collect();
    assert!(!told.is_empty());
    told.dedup();
    told
}

fn lacking(cluster: &Cluster, node: u16) -> Vec<NodeId> {
    cluster.nodes[&node].features().into_iter().flat_map(|status| status.lacking).collect()
}

#[test]
fn what_an_older_release_cant_read_is_said_once_every_node_has_said_that_it_can() {
    let mut cluster = mixed();
    assert_eq!(told(&cluster, 1), [None]);
    assert_eq!((lacking(&cluster, 1), cluster.nodes[&1].release_of(id(2))), (vec![id(2)], None));
    // The other has heard of nobody that lacks it, and tells what this one, which is newer, reads.
    assert_eq!(lacking(&cluster, 2), []);
    assert_eq!(said(&cluster, 1, AlertName::ConfigMismatch, true), "vip: policy degrade on n2, strict here");

    // It is upgraded in place, the same life going on.
    cluster.without_hello.clear();
    cluster.log.clear();
    cluster.run_to(13_000);
    assert_eq!(told(&cluster, 1), [None, Some(Policy::Strict)]);
    assert_eq!((lacking(&cluster, 1), cluster.nodes[&1].release_of(id(2))), (vec![], Some(Release::OURS)));
    assert_eq!(said(&cluster, 2, AlertName::ConfigMismatch, true), "vip: policy strict on n1, degrade here");
}

#[test]
fn a_step_back_to_the_older_release_switches_off_what_it_can_not_read() {
    let mut cluster = mixed();
    cluster.without_hello.clear();
    cluster.run_to(13_000);
    assert_eq!(lacking(&cluster, 1), []);

    cluster.without_hello.insert(2);
    start(&mut cluster, 2);
    // What it has said in its former life is forgotten with its first beat.
    cluster.run_to(13_300);
    cluster.log.clear();
    cluster.run_to(20_000);
    assert_eq!(told(&cluster, 1), [None]);
    assert_eq!((lacking(&cluster, 1), cluster.nodes[&1].release_of(id(2))), (vec![id(2)], None));
}

#[test]
fn who_is_upgraded_in_place_to_an_older_release_has_no_feature_soon() {
    let mut cluster = mixed();
    cluster.without_hello.clear();
    cluster.run_to(13_000);
    assert_eq!(lacking(&cluster, 1), []);
    // The same life, in which it does not say so any more.
    cluster.without_hello.insert(2);
    cluster.run_to(20_000);
    assert_eq!(lacking(&cluster, 1), [], "a few may be lost");
    cluster.run_to(24_000);
    cluster.log.clear();
    cluster.run_to(26_000);
    assert_eq!((lacking(&cluster, 1), told(&cluster, 1)), (vec![id(2)], vec![None]));
}

#[test]
fn a_hello_from_elsewhere_or_from_before_says_nothing() {
    let mut cluster = mixed();
    let known = cluster.nodes[&2].release_of(id(1));
    assert_eq!(known, Some(Release::OURS));
    let hello = crate::wire::hello::Hello {
        cluster: ClusterId(1),
        incarnation: cluster.nodes[&1].incarnation,
        clock: at(2000),
        release: Release { major: 9, minor: 9, patch: 9 },
        features: crate::features::Features::default(),
    };
    let bad = cluster.nodes[&2].counters().bad_beats;
    let elsewhere = crate::wire::hello::Hello { cluster: ClusterId(2), clock: at(99_000), ..hello };
    for (from, hello) in [(1, hello), (1, elsewhere), (5, crate::wire::hello::Hello { clock: at(99_000), ..hello })] {
        cluster.give(2, Event::BeatReceived { link: LinkId(0), from: id(from), bytes: hello.emit() });
    }
    assert_eq!(cluster.nodes[&2].release_of(id(1)), known);
    assert_eq!((cluster.nodes[&2].release_of(id(5)), cluster.nodes[&2].counters().bad_beats), (None, bad + 2));
    assert!(cluster.nodes[&2].all_have(Feature::ProfilePolicy));
}
