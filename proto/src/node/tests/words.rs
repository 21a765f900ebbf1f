//! What the operator reads: names instead of numbers, and an end that tells what is well again.

use super::*;
use alloc::string::ToString;

/// The steady pair, with two links and names for everything.
fn named() -> Cluster {
    let mut cluster = Cluster::new(Authority::None);
    for node in [1, 2] {
        let names = Names {
            nodes: [(id(1), "n1".to_string()), (id(2), "n2".to_string())].into(),
            links: [(LinkId(0), "hb0".to_string()), (LinkId(1), "hb1".to_string())].into(),
        };
        let peers = vec![PeerSettings { node: id(3 - node), links: vec![LinkId(0), LinkId(1)] }];
        cluster.start_with(node, Settings { names, peers, ..settings(node, Authority::None) });
    }
    cluster.run_to(5000);
    assert_eq!(cluster.open(), [1]);
    cluster.log.clear();
    cluster
}

/// What a node said when an alert last began, or ended.
pub(super) fn said(cluster: &Cluster, node: u16, name: AlertName, raised: bool) -> &str {
    let alerts =
        cluster.log.iter().rev().filter(|(_, who, _)| *who == node).filter_map(|(_, _, action)| match action {
            Action::Alert(alert) => Some(alert),
            _ => None,
        });
    let alert = alerts.into_iter().find(|alert| alert.name == name && alert.raised == raised);
    &alert.unwrap_or_else(|| panic!("{} was not told of", name.as_str())).evidence
}

#[test]
fn a_link_that_is_down_is_told_by_its_name_and_its_peers() {
    let mut cluster = named();
    cluster.links_cut.insert(LinkId(1));
    cluster.run_to(6000);
    let words = said(&cluster, 1, AlertName::HeartbeatLinkDown, true);
    assert!(words.starts_with("hb1 to n2 (last heard "), "{words}");
}

#[test]
fn a_silent_peer_is_told_by_its_name_and_so_is_the_evidence_of_a_transition() {
    let mut cluster = named();
    cluster.cut_between(1, 2);
    cluster.run_to(7000);
    assert_eq!(said(&cluster, 2, AlertName::AllHeartbeatsDown, true), "silent for 300 ms on every link: n1");
    let words = cluster.log.iter().find_map(|(_, who, action)| match action {
        Action::Transition(transition) if *who == 2 => Some(transition.evidence.as_str()),
        _ => None,
    });
    assert!(words.unwrap().contains(" (n1 heard "), "{words:?}");
}

#[test]
fn messages_of_another_release_are_told_with_both_versions_and_who_is_older() {
    let link = LinkId(0);
    let beat = |version| Event::BeatReceived { link, from: id(2), bytes: vec![crate::wire::heartbeat::TAG, version] };
    let profile = Event::BeatReceived { link, from: id(2), bytes: vec![crate::wire::profile::TAG, 9] };
    let lease = Event::LeaseReceived { from: id(2), bytes: vec![crate::wire::lease::TAG, 9] };
    for (event, what, older) in [
        (beat(9), "n2 sends heartbeats of version 9, this node reads version 1", "n1 runs the older"),
        (beat(0), "n2 sends heartbeats of version 0, this node reads version 1", "n2 runs the older"),
        (profile, "n2 sends profiles of version 9, this node reads version 1", "n1 runs the older"),
        (lease, "n2 sends lease messages of version 9, this node reads version 2", "n1 runs the older"),
    ] {
        let mut cluster = named();
        cluster.give(1, event);
        cluster.run_to(6000);
        let alert = cluster.log.iter().find_map(|(_, who, action)| match action {
            Action::Alert(alert) if *who == 1 && alert.name == AlertName::ConfigMismatch && alert.raised => Some(alert),
            _ => None,
        });
        let alert = alert.unwrap_or_else(|| panic!("nothing is said: {what}"));
        assert!(alert.evidence.contains(what) && alert.remedy.contains(older), "{} {}", alert.evidence, alert.remedy);
    }
}

#[test]
fn a_voter_of_another_configuration_is_told_by_its_name() {
    let mut cluster = named();
    let stamp = crate::wire::lease::Stamp { incarnation: Incarnation(1), clock: cluster.now };
    let why = RefuseReason::Digest;
    let (holder, holder_priority, remaining, max_counter) = (None, 0, Duration::ZERO, 0);
    let message = Message::Refuse { why, holder, holder_priority, remaining, max_counter, stamp };
    let answer = Envelope { cluster: ClusterId(1), digest: digest(), domain: VIP, nonce: 1, message };
    cluster.give(1, Event::LeaseReceived { from: id(2), bytes: answer.emit() });
    cluster.run_to(6000);
    let words = said(&cluster, 1, AlertName::ConfigMismatch, true);
    assert!(words.starts_with("voter n2 has another voter set"), "{words}");
}

#[test]
fn an_alert_that_ends_tells_what_is_well_again() {
    let mut cluster = named();
    cluster.links_cut.insert(LinkId(1));
    cluster.run_to(6000);
    cluster.links_cut.clear();
    cluster.run_to(7500);
    assert_eq!(said(&cluster, 1, AlertName::HeartbeatLinkDown, false), "every link to a peer that is heard is up");

    cluster.cut_between(1, 2);
    cluster.run_to(8500);
    cluster.cut.clear();
    cluster.run_to(10_000);
    assert_eq!(said(&cluster, 1, AlertName::AllHeartbeatsDown, false), "every peer is heard again");

    let number = cluster.nodes[&1].tests;
    let test = |fault: &str| Event::GateTest { number, strength: GateStrength::Strong, fault: fault.to_string() };
    cluster.give(1, test("the program is gone"));
    assert_eq!(said(&cluster, 1, AlertName::GateBroken, true), "the program is gone");
    cluster.give(1, test(""));
    cluster.run_to(11_500);
    assert_eq!(said(&cluster, 1, AlertName::GateBroken, false), "the gate passes its test again");
}

#[test]
fn who_has_no_name_goes_by_the_number() {
    let names = Names::default();
    assert_eq!((names.node(id(2)).as_ref(), names.link(LinkId(0)).as_ref()), ("node 2", "link0"));
}
