//! Rules of which nothing else would show the absence.

use super::*;

/// Node 2 claims node 1's domain at node 1's own voter; whether that answers.
fn own_voter_answers(cluster: &mut Cluster) -> bool {
    cluster.log.clear();
    let epoch = Epoch { counter: 99, incarnation: Incarnation(200), attempt: 9, node: id(2) };
    let lease = quorum().timing.lease;
    let message = Message::Acquire { epoch, lease, prev_ack: 0, priority: 100 };
    let asked = Envelope { cluster: ClusterId(1), digest: digest(), domain: VIP, nonce: 1, message };
    cluster.give(1, Event::LeaseReceived { from: id(2), bytes: asked.emit() });
    cluster.when(1, 0, |deed| matches!(deed, Action::SendLease { to, .. } if *to == id(2))).is_some()
}

#[test]
fn while_a_node_holds_its_own_voter_lends_to_nobody_r10() {
    let mut cluster = Cluster::arbitrated();
    cluster.start(1);
    cluster.run_to(5000);
    assert_eq!(cluster.open(), [1]);
    assert!(!own_voter_answers(&mut cluster), "not even that it refuses");
    cluster.cut_between(1, WITNESS);
    cluster.run_to(9000);
    assert_eq!(cluster.open(), []);
    assert!(own_voter_answers(&mut cluster), "it holds nothing any more");
}

#[test]
fn a_transfer_that_comes_while_its_own_node_holds_only_ends_a_loan_r10() {
    let mut cluster = Cluster::arbitrated();
    cluster.start(1);
    cluster.run_to(5000);
    assert_eq!(cluster.open(), [1]);
    // By the others' leave: its own voter has lent to node 2, and has not heard that this is over.
    let now = cluster.local(1);
    let settings = VoterSettings::new(ClusterId(1), &quorum(), [id(1), id(2)].into(), Incarnation(33));
    let mut voter = Voter::new(settings, at(0), None);
    let epoch = |counter| Epoch { counter, incarnation: Incarnation(7), attempt: 1, node: id(2) };
    let lease = quorum().timing.lease;
    let message = Message::Acquire { epoch: epoch(1), lease, prev_ack: 0, priority: 100 };
    let request = Envelope { cluster: ClusterId(1), digest: digest(), domain: VIP, nonce: 1, message };
    for output in voter.handle_all(now, id(2), core::slice::from_ref(&request)) {
        if let VoterOutput::Persist { ticket, .. } = output {
            voter.persisted(now, ticket, true);
        }
    }
    assert_eq!(voter.granted(now, VIP).map(|granted| granted.epoch), Some(epoch(1)));
    cluster.nodes.get_mut(&1).unwrap().voter = Some(voter);
    let late = Envelope { message: Message::Transfer { epoch: epoch(1), heir: epoch(2) }, ..request };
    cluster.give(1, Event::LeaseReceived { from: id(2), bytes: late.emit() });
    let lent = cluster.nodes[&1].voter().unwrap().granted(now, VIP);
    assert!(lent.is_none_or(|granted| granted.epoch.node == id(1)), "{:?}", lent.map(|granted| granted.epoch));
}

#[test]
fn an_heirs_epoch_is_above_all_that_any_peer_knows_of_r6() {
    let mut cluster = Cluster::arbitrated();
    cluster.start(1);
    cluster.start(2);
    cluster.run_to(5000);
    assert_eq!(cluster.open(), [1]);
    // Of an attempt that came to nothing: only node 1, and perhaps a voter, knows of it.
    let attempt = Epoch { counter: 40, incarnation: Incarnation(7), attempt: 1, node: id(1) };
    cluster.nodes.get_mut(&1).unwrap().domains.get_mut(&VIP).unwrap().lease.saw_epoch(attempt);
    cluster.run_to(5300);
    assert_eq!(cluster.nodes[&2].domains[&VIP].lease.next_attempt().0, 41);
}

#[test]
fn a_new_master_announces_at_once_and_again_for_four_seconds_d10() {
    let mut cluster = Cluster::arbitrated();
    cluster.start(2);
    cluster.run_to(4000);
    cluster.start(1);
    cluster.run_to(16_000);
    let opened = cluster.when(1, 4000, |deed| matches!(deed, Action::OpenGate { .. })).unwrap();
    let announced: Vec<(Duration, u8)> = cluster
        .log
        .iter()
        .filter_map(|(when, who, deed)| match deed {
            Action::Announce { count, .. } if *who == 1 => Some((when.since(opened), *count)),
            _ => None,
        })
        .collect();
    assert_eq!(announced.first(), Some(&(Duration::ZERO, 5)), "{announced:?}");
    for seconds in [1, 2, 4] {
        assert!(announced.contains(&(Duration::from_secs(seconds), 1)), "{seconds} s: {announced:?}");
    }
}

#[test]
fn a_lapse_is_over_once_nothing_is_held_though_the_interface_is_down_r5() {
    let mut cluster = Cluster::arbitrated();
    cluster.start(1);
    cluster.run_to(5000);
    cluster.cut_between(1, WITNESS);
    cluster.run_to(6000);
    assert!(cluster.alerts(1).contains(&"lease-lost"));
    cluster.give(1, Event::Interface { interface: InterfaceId(0), up: false, addresses: Vec::new() });
    cluster.run_to(9000);
    assert_eq!(cluster.role(1), (Role::Fault, Reason::InterfaceDown));
    assert!(!cluster.alerts(1).contains(&"lease-lost"));
}

#[test]
fn who_can_not_write_its_gate_lets_the_lease_run_out_and_another_takes_over() {
    for authority in [Authority::Quorum(quorum()), Authority::None] {
        let mut cluster = steady(authority);
        cluster.gates_hung.insert(1, Vec::new());
        cluster.run_to(7500);
        assert_eq!((cluster.role(1).0, cluster.role(2).0, cluster.open()), (Role::Fenced, Role::Master, vec![2]));
        let asked = cluster.log.iter().filter_map(|(_, who, action)| match action {
            Action::OpenGate { until, .. } if *who == 1 => Some(*until),
            _ => None,
        });
        let opened = cluster.when(2, 5000, |deed| matches!(deed, Action::OpenGate { .. })).unwrap();
        assert!(asked.max().unwrap() <= opened, "whatever of it is written yet, is over");
        assert!(cluster.alerts(1).contains(&"address-failed"));
        let waiting = cluster.gates_hung.remove(&1).unwrap();
        waiting.into_iter().for_each(|event| cluster.give(1, event));
        cluster.run_to(9000);
        assert!(!cluster.alerts(1).contains(&"address-failed") && cluster.open().len() == 1);
    }
}

#[test]
fn who_accepts_two_masters_and_can_not_write_its_gate_holds_on_to_nothing() {
    let mut cluster = Cluster::arbitrated();
    for node in [1, 2] {
        let mut settings = settings(node, cluster.authority.clone());
        settings.domains[0].policy = Policy::AcceptDualMaster;
        cluster.start_with(node, settings);
    }
    cluster.run_to(5000);
    assert_eq!(cluster.open(), [1]);
    cluster.gates_hung.insert(1, Vec::new());
    cluster.run_to(7500);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Fenced, vec![2]));
}

#[test]
fn a_master_that_has_slept_announces_anew_d10() {
    let mut cluster = Cluster::arbitrated();
    cluster.start(1);
    cluster.run_to(12_000);
    // Shorter than what is left of its lease: it holds on.
    let woken = cluster.now + SLEPT;
    cluster.log.clear();
    cluster.now = woken;
    cluster.give(1, Event::Tick);
    assert_eq!(cluster.open(), [1]);
    assert_eq!(cluster.when(1, 0, |deed| matches!(deed, Action::Announce { count: 5, .. })), Some(woken));
}

#[test]
fn who_asks_the_voters_for_a_handover_ends_no_grant_by_it_i15() {
    let mut cluster = Cluster::arbitrated();
    cluster.start(1);
    cluster.run_to(5000);
    let before = cluster.witness.granted(cluster.now, VIP).unwrap();
    assert_eq!(before.epoch.node, id(1));
    for priority in [50, 150, 254] {
        let next = Epoch { counter: 99, incarnation: Incarnation(200), attempt: 9, node: id(2) };
        let message = Message::HandoverRequest { priority, next };
        let asked = Envelope { cluster: ClusterId(1), digest: digest(), domain: VIP, nonce: 1, message };
        cluster.witness.handle(cluster.now, id(2), &asked);
        assert_eq!(cluster.witness.granted(cluster.now, VIP), Some(before), "{priority}");
    }
}

/// A router that speaks VRRP only says to a node that it is Master, each 200 ms up to then.
fn foreign_router_until(cluster: &mut Cluster, node: u16, ms: u64) {
    let (source, destination) = (address(9), IpAddr::from([224, 0, 0, 18]));
    let advertisement = Advertisement {
        version: VrrpVersion::V3,
        vrid: Vrid::new(51).unwrap(),
        priority: Priority(250),
        advert_int: Duration::from_millis(200),
        addresses: vec![IpAddr::from([192, 0, 2, 100])],
        auth: crate::wire::vrrp::Auth::None,
    };
    let bytes = advertisement.emit(source, destination, Checksum::PseudoHeader).unwrap();
    while cluster.now < at(ms) {
        let (interface, hop_limit, bytes) = (InterfaceId(0), 255, bytes.clone());
        cluster.give(node, Event::VrrpReceived { interface, source, destination, hop_limit, bytes });
        cluster.run_to(cluster.now.as_nanos() / 1_000_000 + 200);
    }
}

#[test]
fn who_speaks_vrrp_only_is_judged_by_vrrps_timer_d0() {
    let mut cluster = Cluster::arbitrated();
    cluster.start(2);
    foreign_router_until(&mut cluster, 2, 6000);
    assert_eq!(cluster.open(), [], "its peer is silent and the voters would lend");
    // Three intervals and the skew of priority 100 after the last word.
    cluster.run_to(6500);
    assert_eq!(cluster.open(), []);
    cluster.run_to(7000);
    assert_eq!(cluster.open(), [2]);
}

#[test]
fn without_an_authority_silent_beats_alone_are_no_death_d0() {
    let mut cluster = Cluster::new(Authority::None);
    cluster.start(1);
    cluster.start(2);
    cluster.run_to(5000);
    assert_eq!(cluster.open(), [1]);
    cluster.links_cut.insert(LinkId(0));
    cluster.run_to(9000);
    assert_eq!((cluster.open(), cluster.role(2).0), (vec![1], Role::Backup));
}

#[test]
fn an_advertisement_takes_nothing_from_who_holds_a_lease_d6() {
    let mut cluster = Cluster::arbitrated();
    cluster.start(1);
    cluster.run_to(5000);
    cluster.log.clear();
    foreign_router_until(&mut cluster, 1, 8000);
    assert_eq!((cluster.open(), cluster.role(1).0), (vec![1], Role::Master));
    assert!(!cluster.order(1, 0).contains(&"shut"));
}

/// V9: how late this node's own gate is shortens its lease, and is nobody else's affair.
#[test]
fn a_late_gate_of_ones_own_makes_no_other_digest_v9() {
    let mut authority = Authority::Quorum(quorum());
    authority.allow_for_gate(Duration::from_millis(4)).unwrap();
    let late = quorum_of(&authority);
    assert!(late.timing.holder_lease() < quorum().timing.holder_lease());
    assert_eq!(config_digest(ClusterId(1), &late), config_digest(ClusterId(1), &quorum()));
}
