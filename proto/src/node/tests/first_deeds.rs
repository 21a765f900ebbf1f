//! A start, a pair with a witness, an end: the first deeds and the last ones.

use super::*;

#[test]
fn the_first_deed_after_a_start_is_to_remove_what_a_former_life_left_i10() {
    let mut node = Node::new(settings(1, Authority::None), Incarnation(1), Restored::default(), at(1000));
    let deeds = node.handle(at(1000), Event::Tick);
    assert!(matches!(deeds[0], Action::RemoveAddresses { domain: VIP, .. }), "{deeds:?}");
    let claims = |deed: &Action| matches!(deed, Action::OpenGate { .. } | Action::SendLease { .. });
    assert!(!deeds.iter().any(claims));
}

#[test]
fn two_voters_of_three_make_a_master_in_the_order_of_r3() {
    let mut cluster = Cluster::arbitrated();
    cluster.start(1);
    cluster.run_to(4000);
    assert_eq!(cluster.role(1), (Role::Master, Reason::Elected));
    assert_eq!(cluster.order(1, 0), ["remove", "open", "add", "announce", "advertise", "master"]);
}

#[test]
fn one_voter_of_three_makes_none_and_says_so() {
    let mut cluster = Cluster::arbitrated();
    cluster.cut_between(1, WITNESS);
    cluster.start(1);
    cluster.run_to(6000);
    assert_eq!(cluster.role(1), (Role::Backup, Reason::AuthorityUnreachable));
    assert!(cluster.open().is_empty());
    assert!(cluster.alerts(1).contains(&"arbiter-unreachable"));
}

#[test]
fn a_stop_gives_up_in_the_order_of_r8_and_the_heir_holds_within_milliseconds() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.give(1, Event::Stop);
    let shut_at = cluster.now;
    cluster.run_to(5100);
    assert_eq!(cluster.order(1, 5000), ["shut", "remove", "transfer", "resign", "no master", "stopped"]);
    let transfers = |deed: &Action| match deed {
        Action::SendLease { bytes, .. } => messages(bytes).iter().any(|said| matches!(said, Message::Transfer { .. })),
        _ => false,
    };
    let transferred = cluster.when(1, 5000, transfers).unwrap();
    assert!(transferred.since(shut_at) >= quorum().timing.drain(), "E_tx is waited out (I7)");
    assert_eq!((cluster.role(2).0, cluster.open()), (Role::Master, vec![2]));
    let opened = cluster.when(2, 5000, |deed| matches!(deed, Action::OpenGate { .. })).unwrap();
    assert!(opened.since(shut_at) < Duration::from_millis(25), "{:?}", opened.since(shut_at));
}

#[test]
fn a_better_backup_asks_and_is_handed_the_domain_r11() {
    let mut cluster = Cluster::arbitrated();
    cluster.start(2);
    cluster.run_to(4000);
    assert_eq!(cluster.open(), [2]);
    cluster.start(1);
    cluster.run_to(8000);
    assert_eq!((cluster.role(1).0, cluster.role(2).0), (Role::Master, Role::Backup));
    assert_eq!(cluster.open(), [1]);
    assert!(cluster.order(2, 4000).contains(&"transfer"));
}

#[test]
fn who_reaches_no_majority_is_fenced_at_its_deadline_r5() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.cut_between(1, 2);
    cluster.cut_between(1, WITNESS);
    cluster.run_to(5500);
    assert_eq!(cluster.role(1), (Role::Fenced, Reason::LeaseLost));
    let fenced = |deed: &Action| matches!(deed, Action::Transition(told) if told.to == Role::Fenced);
    let at_deadline = cluster.when(1, 5000, fenced).unwrap();
    assert!(at_deadline <= at(5000) + quorum().timing.holder_lease(), "{at_deadline:?}");
    cluster.run_to(6000);
    assert_eq!((cluster.role(2).0, cluster.open()), (Role::Master, vec![2]));
}

#[test]
fn a_claim_has_the_gate_tested_afresh_r14() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.cut_between(1, 2);
    cluster.cut_between(1, WITNESS);
    cluster.run_to(6000);
    let claims = |deed: &Action| matches!(deed, Action::Transition(told) if told.to == Role::Claiming);
    let claimed = cluster.when(2, 5000, claims).unwrap();
    let deeds = cluster.log.iter().filter(|(when, who, _)| (*when, *who) == (claimed, 2));
    assert!(deeds.into_iter().any(|(_, _, deed)| matches!(deed, Action::TestGate { .. })));
}

#[test]
fn silence_of_vrrp_alone_moves_nothing_and_is_told_d1() {
    for authority in [Authority::None, Authority::Quorum(quorum())] {
        let mut cluster = steady(authority);
        cluster.vrrp_cut = true;
        cluster.run_to(9000);
        assert_eq!(cluster.role(2), (Role::Backup, Reason::PeerIsMaster));
        assert_eq!(cluster.open(), [1]);
        assert!(cluster.alerts(2).contains(&"vrrp-silent"));
    }
}

#[test]
fn a_voter_that_does_not_answer_is_told_unless_it_is_a_node_that_is_silent() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let told = |cluster: &Cluster| cluster.alerts(1).contains(&"voter-silent");
    cluster.cut_between(1, WITNESS);
    // A witness that is only restarted is back by then.
    cluster.run_to(5900);
    assert!(!told(&cluster));
    cluster.run_to(9000);
    assert!(told(&cluster) && !cluster.alerts(2).contains(&"voter-silent"), "{:?}", cluster.alerts(1));
    let evidence = cluster.log.iter().find_map(|(_, _, deed)| match deed {
        Action::Alert(alert) if alert.name.as_str() == "voter-silent" => Some(alert.evidence.clone()),
        _ => None,
    });
    let evidence = evidence.unwrap();
    assert!(evidence.contains("2 voters answer, 2 are needed"), "{evidence}");
    cluster.cut.clear();
    cluster.run_to(11_000);
    assert!(!told(&cluster));
    cluster.nodes.remove(&2);
    cluster.run_to(18_000);
    assert!(!told(&cluster) && cluster.alerts(1).contains(&"all-heartbeats-down"), "{:?}", cluster.alerts(1));
    assert_eq!(cluster.role(1).0, Role::Master);
}

#[test]
fn a_voter_that_does_not_answer_the_standby_is_told_by_the_standby() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.cut_between(2, WITNESS);
    cluster.run_to(12_000);
    let alerts = cluster.alerts(2);
    assert!(alerts.contains(&"voter-silent") && !cluster.alerts(1).contains(&"voter-silent"), "{alerts:?}");
    assert!(!alerts.contains(&"arbiter-unreachable"), "two of three answer: {alerts:?}");
    assert_eq!(cluster.nodes[&1].heir(cluster.now, VIP, None), Ok(id(2)), "a majority is enough");
}

#[test]
fn who_overslept_its_deadline_says_nothing_more_for_the_vip_i11() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.now = at(8000);
    let deeds = cluster.nodes.get_mut(&1).unwrap().handle(at(8000), Event::Tick);
    let speaks = |deed: &Action| match deed {
        Action::Announce { .. } | Action::OpenGate { .. } | Action::AddAddresses { .. } => true,
        Action::Advertise { advertisement, .. } => advertisement.priority.0 > 0,
        _ => false,
    };
    assert!(!deeds.iter().any(speaks), "{deeds:?}");
    assert!(deeds.iter().any(|deed| matches!(deed, Action::ShutGate { .. })));
}

#[test]
fn a_release_that_the_own_voter_hears_is_not_waited_for_r16() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let epoch = cluster.nodes[&1].epoch(VIP).unwrap();
    // The worker of node 1 dies; its guardian has shut the gate and releases.
    cluster.nodes.remove(&1);
    for voter in [2, WITNESS] {
        let (cluster_id, message) = (ClusterId(1), Message::Release { epoch });
        let envelope = Envelope { cluster: cluster_id, digest: digest(), domain: VIP, nonce: 1, message };
        cluster.send_lease(1, voter, envelope.emit());
    }
    cluster.drain();
    cluster.run_to(5001);
    assert_eq!(cluster.role(2).0, Role::Master);
}

#[test]
fn the_same_settings_seed_and_events_give_the_same_actions_i25() {
    let run = || {
        let mut cluster = steady(Authority::Quorum(quorum()));
        cluster.cut_between(1, WITNESS);
        cluster.cut_between(1, 2);
        cluster.run_to(7000);
        cluster.log
    };
    assert_eq!(run(), run());
}
