//! Handover by way of the voters, where the nodes do not hear each other (R8, R11), and the gate's test before a
//! claim (R14).

use super::*;

/// Node 2 is Master and node 1, the better one, comes back while every heartbeat line is cut.
fn better_comes_back(vrrp_cut: bool, change: impl Fn(&mut Settings)) -> Cluster {
    let mut cluster = Cluster::arbitrated();
    cluster.start(2);
    cluster.run_to(4000);
    assert_eq!(cluster.open(), [2]);
    cluster.links_cut.insert(LinkId(0));
    cluster.vrrp_cut = vrrp_cut;
    // Nor do lease messages go between the nodes: only the witness is left in common.
    cluster.lease_cut = true;
    let mut settings = settings(1, cluster.authority.clone());
    change(&mut settings);
    cluster.start_with(1, settings);
    cluster.log.clear();
    cluster
}

fn opens(action: &Action) -> bool {
    matches!(action, Action::OpenGate { .. })
}

/// How many times a node has asked for a grant.
fn acquires(cluster: &Cluster, node: u16) -> usize {
    let asks = |bytes: &[u8]| messages(bytes).iter().any(|said| matches!(said, Message::Acquire { .. }));
    let asked =
        |who: u16, action: &Action| who == node && matches!(action, Action::SendLease { bytes, .. } if asks(bytes));
    cluster.log.iter().filter(|(_, who, action)| asked(*who, action)).count()
}

#[test]
fn the_better_node_gets_the_domain_by_way_of_the_voters_r11() {
    for vrrp_cut in [false, true] {
        let mut cluster = better_comes_back(vrrp_cut, |_| {});
        cluster.run_to(7000);
        assert_eq!(cluster.open(), [1], "VRRP cut: {vrrp_cut}");
        assert_eq!((cluster.role(1).0, cluster.role(2).0), (Role::Master, Role::Backup));
        // R8, and not a lapse: the heir begins a round trip after the last frame of the former is gone.
        let order = cluster.order(2, 4000);
        assert!(order.ends_with(&["shut", "remove", "transfer", "resign", "no master"]), "{order:?}");
        let shut = cluster.when(2, 4000, |deed| matches!(deed, Action::ShutGate { .. })).unwrap();
        let opened = cluster.when(1, 4000, opens).unwrap();
        let gap = opened.since(shut);
        assert!(gap >= quorum().timing.drain() && gap < Duration::from_millis(40), "{gap:?}");
        cluster.run_to(12_000);
        assert_eq!(cluster.open(), [1], "and there it stays");
    }
}

#[test]
fn a_worse_node_does_not_ask_and_nopreempt_does_not_either() {
    let mut cluster = better_comes_back(true, |settings| settings.instances[0].preempt = false);
    cluster.run_to(9000);
    assert_eq!((cluster.open(), cluster.order(2, 4000).contains(&"shut")), (vec![2], false));
    let mut cluster = better_comes_back(true, |settings| settings.instances[0].priority = Priority(50));
    cluster.run_to(9000);
    assert_eq!((cluster.open(), cluster.order(2, 4000).contains(&"shut")), (vec![2], false));
}

#[test]
fn preempt_delay_is_waited_out_from_the_first_word_of_a_worse_holder() {
    let mut cluster = better_comes_back(true, |settings| settings.instances[0].preempt_delay = Duration::from_secs(3));
    cluster.run_to(7050);
    assert_eq!(cluster.open(), [2], "it knows of the holder since 4.1 s at the earliest");
    cluster.run_to(8500);
    assert_eq!(cluster.open(), [1]);
}

#[test]
fn an_heir_whose_gate_is_broken_does_not_ask_r14() {
    let mut cluster = better_comes_back(true, |_| {});
    cluster.gate_broken.insert(1);
    cluster.run_to(9000);
    assert_eq!((cluster.open(), cluster.order(2, 4000).contains(&"shut")), (vec![2], false));
    cluster.gate_broken.clear();
    cluster.run_to(12_000);
    assert_eq!(cluster.open(), [1]);
}

#[test]
fn a_priority_that_rises_while_all_lines_are_cut_moves_the_domain() {
    let mut cluster = better_comes_back(true, |settings| {
        let track = TrackInterface { interface: InterfaceId(1), weight: 120, reverse: false };
        settings.interfaces.push(InterfaceSettings { name: "up".into(), delays: LinkDelays::default() });
        settings.instances[0].priority = Priority(90);
        settings.instances[0].track = vec![track];
    });
    cluster.give(1, Event::Interface { interface: InterfaceId(1), up: false, addresses: Vec::new() });
    cluster.run_to(8000);
    assert_eq!(cluster.open(), [2]);
    cluster.give(1, Event::Interface { interface: InterfaceId(1), up: true, addresses: Vec::new() });
    cluster.run_to(10_000);
    assert_eq!(cluster.open(), [1]);
}

#[test]
fn a_claim_waits_for_a_test_that_was_begun_after_it_was_decided_r14() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    // The kernel holds the test up from now on: the answers come later than the claim.
    cluster.tests_held.insert(2);
    cluster.cut_between(1, 2);
    cluster.cut_between(1, WITNESS);
    cluster.run_to(7000);
    assert_eq!(cluster.open(), [0; 0], "delayed, not unsafe");
    assert_eq!(acquires(&cluster, 2), 0, "no grant was asked for");
    // A result of a test that was begun before the claim is not enough.
    let result = |number| Event::GateTest { number, strength: GateStrength::Strong, fault: String::new() };
    cluster.give(2, result(1));
    assert_eq!(cluster.open(), [0; 0]);
    let newest = cluster.log.iter().rev().find_map(|(_, who, action)| match action {
        Action::TestGate { number } if *who == 2 => Some(*number),
        _ => None,
    });
    cluster.give(2, result(newest.unwrap()));
    assert_eq!(cluster.open(), [2], "at once, since the voters have been asked meanwhile");
}

#[test]
fn who_gives_up_before_it_was_master_names_its_heir_only_behind_a_shut_gate_r8() {
    let mut cluster = Cluster::new(Authority::None);
    cluster.addresses_held.insert(1);
    cluster.start(1);
    cluster.start(2);
    cluster.run_to(5000);
    assert_eq!((cluster.role(1).0, cluster.role(2).0, cluster.open()), (Role::Claiming, Role::Backup, vec![1]));
    cluster.give(1, Event::Stop);
    let epoch = cluster.nodes[&1].epoch(VIP).unwrap();
    cluster.give(1, Event::AddressesDone { domain: VIP, epoch, present: true, error: None });
    cluster.run_to(5100);
    let shut = cluster.when(1, 5000, |deed| matches!(deed, Action::ShutGate { .. })).unwrap();
    let gap = cluster.when(2, 5000, opens).unwrap().since(shut);
    let drain = LeaseTiming::for_lease(Duration::from_millis(300)).drain();
    assert!(gap >= drain && gap < Duration::from_millis(40), "{gap:?}");
}

#[test]
fn no_grant_is_asked_for_after_a_test_that_failed_r14() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.tests_held.insert(2);
    cluster.power_off(1);
    cluster.run_to(7000);
    let number = cluster.nodes[&2].tests;
    cluster.give(2, Event::GateTest { number, strength: GateStrength::Strong, fault: "a probe passed".into() });
    cluster.run_to(7500);
    assert_eq!((cluster.role(2), acquires(&cluster, 2)), ((Role::Fault, Reason::GateBroken), 0));
}

#[test]
fn an_heir_for_the_second_time_tests_its_gate_for_the_second_time_r14() {
    let mut quorum = quorum();
    quorum.timing.lease_max = Duration::from_millis(3500);
    let mut cluster = steady(Authority::Quorum(quorum));
    cluster.give(1, Event::Stop);
    cluster.run_to(5100);
    assert_eq!(cluster.open(), [2]);
    cluster.start(1);
    cluster.run_to(8050);
    assert_eq!(cluster.open(), [1], "the better one is back");
    cluster.give(1, Event::Stop);
    cluster.run_to(8100);
    assert_eq!(cluster.open(), [2]);
    assert_eq!(cluster.when(2, 8050, |deed| matches!(deed, Action::TestGate { .. })), Some(at(8050)));
}

#[test]
fn the_heir_of_an_orderly_stop_tests_its_gate_before_the_transfer_r14() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.give(1, Event::Stop);
    cluster.run_to(5100);
    let tested = cluster.when(2, 5000, |deed| matches!(deed, Action::TestGate { .. })).unwrap();
    let transfers = |deed: &Action| match deed {
        Action::SendLease { bytes, .. } => messages(bytes).iter().any(|said| matches!(said, Message::Transfer { .. })),
        _ => false,
    };
    let transferred = cluster.when(1, 5000, transfers).unwrap();
    assert!(tested < transferred, "{tested:?}, {transferred:?}");
}

#[test]
fn what_waits_in_a_queue_behind_the_gate_is_gone_before_another_is_told_r8_f33() {
    for (wait_ms, least_ms, most_ms) in [(0, 20, 40), (300, 300, 320), (60_000, 500, 520)] {
        let mut cluster = Cluster::arbitrated();
        cluster.start(1);
        cluster.start(2);
        cluster.run_to(9000);
        cluster.log.clear();
        let wait = Duration::from_millis(wait_ms);
        cluster.give(1, Event::QueueSeen { interface: InterfaceId(0), wait });
        cluster.give(1, Event::Stop);
        cluster.run_to(11_000);
        let shut = cluster.when(1, 9000, |deed| matches!(deed, Action::ShutGate { .. })).unwrap();
        let gap = cluster.when(2, 9000, opens).unwrap().since(shut);
        let bounds = Duration::from_millis(least_ms)..Duration::from_millis(most_ms);
        assert!(bounds.contains(&gap), "{wait_ms} ms wait: {gap:?}");
    }
}

#[test]
fn of_two_interfaces_the_longer_queue_is_waited_for_r8_f33() {
    let mut cluster = Cluster::arbitrated();
    for node in [1, 2] {
        let mut settings = settings(node, cluster.authority.clone());
        let mut second = settings.instances[0].clone();
        (second.interface, second.vrid) = (InterfaceId(1), Vrid::new(52).unwrap());
        settings.interfaces.push(InterfaceSettings { name: "lan2".into(), delays: LinkDelays::default() });
        settings.instances.push(second);
        settings.domains[0].instances.push(InstanceId(1));
        cluster.start_with(node, settings);
        let (interface, addresses) = (InterfaceId(1), vec![address(node)]);
        cluster.give(node, Event::Interface { interface, up: true, addresses });
    }
    cluster.run_to(9000);
    assert_eq!(cluster.open(), [1]);
    for (interface, wait_ms) in [(0, 300), (1, 100), (1, 0)] {
        let (interface, wait) = (InterfaceId(interface), Duration::from_millis(wait_ms));
        cluster.give(1, Event::QueueSeen { interface, wait });
    }
    cluster.give(1, Event::Stop);
    cluster.run_to(11_000);
    let shut = cluster.when(1, 9000, |deed| matches!(deed, Action::ShutGate { .. })).unwrap();
    let gap = cluster.when(2, 9000, opens).unwrap().since(shut);
    assert!((300..320).contains(&gap.as_millis()), "{gap:?}");
}

#[test]
fn an_answer_of_an_older_test_hides_no_newer_one_r14_i24() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.tests_held.insert(2);
    cluster.power_off(1);
    cluster.run_to(7000);
    let number = cluster.nodes[&2].tests;
    for (number, fault) in [(number, ""), (number - 1, "a probe passed")] {
        cluster.give(2, Event::GateTest { number, strength: GateStrength::Strong, fault: fault.into() });
    }
    cluster.run_to(7100);
    assert_eq!((cluster.role(2).0, cluster.open()), (Role::Master, vec![2]));
}

/// Node 1 has been Master, is restarted at 6 s, and reaches no voter but its own and, if at all, its peer's.
fn better_restarts(cut: &[u16]) -> Cluster {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.give(1, Event::Stop);
    cluster.run_to(6000);
    assert_eq!(cluster.open(), [2]);
    cut.iter().for_each(|voter| cluster.cut_between(1, *voter));
    let record = cluster.nodes.remove(&1).unwrap().voter().map(Voter::record);
    let settings = settings(1, cluster.authority.clone());
    cluster
        .nodes
        .insert(1, Node::new(settings, Incarnation(6000 << 16), Restored { record, held: Vec::new() }, at(6000)));
    cluster.give(1, Event::Tick);
    let (interface, addresses) = (InterfaceId(0), vec![address(1)]);
    cluster.give(1, Event::Interface { interface, up: true, addresses });
    cluster.log.clear();
    cluster
}

/// Runs to `until` by milliseconds: when node 1 first held, and for how many nobody did.
fn watch(cluster: &mut Cluster, until: u64) -> (Option<u64>, u64) {
    let (mut taken, mut nobody) = (None, 0);
    for ms in cluster.now.as_nanos() / 1_000_000 + 1..=until {
        cluster.run_to(ms);
        let open = cluster.open();
        assert!(open.len() < 2, "two holders at {ms} ms");
        taken = taken.or(open.contains(&1).then_some(ms));
        nobody += u64::from(open.is_empty());
    }
    (taken, nobody)
}

#[test]
fn who_has_just_started_is_handed_nothing_before_it_reaches_a_majority() {
    // The witness is out of its reach, and its own voter waits for L_max (V7): the peer's voter alone is no majority.
    let mut cluster = better_restarts(&[WITNESS]);
    let (taken, nobody) = watch(&mut cluster, 9000);
    let quiet = 6000 + u64::try_from(quorum().timing.lease_max.as_millis()).unwrap();
    assert!(
        taken.is_some_and(|at| (quiet..quiet + 200).contains(&at)),
        "{taken:?}, and its voter is quiet until {quiet}"
    );
    // What the last frame takes (R8), and a round trip.
    assert!(nobody < 40, "{nobody} ms without a holder");
}

#[test]
fn who_has_just_started_and_reaches_the_others_need_not_wait_for_its_own_voter() {
    let mut cluster = better_restarts(&[]);
    let (taken, nobody) = watch(&mut cluster, 9000);
    let quiet = 6000 + u64::try_from(quorum().timing.lease_max.as_millis()).unwrap();
    assert!(taken.is_some_and(|at| at < quiet), "{taken:?}");
    // What the last frame takes (R8), and a round trip.
    assert!(nobody < 40, "{nobody} ms without a holder");
}

#[test]
fn a_holder_that_stops_names_no_heir_that_reaches_no_majority() {
    let mut cluster = better_restarts(&[WITNESS]);
    let begun = at(6000) + settings(1, Authority::None).heartbeat.silence() + Duration::from_millis(50);
    cluster.run_to(begun.as_nanos() / 1_000_000);
    assert!(cluster.nodes[&2].peers[&id(1)].is_heard(cluster.now));
    let why = cluster.nodes[&1].why(cluster.now, VIP).unwrap().evidence.join("; ");
    assert!(why.contains("voters: 1 have answered of late and lend, 2 are needed"), "{why}");
    cluster.give(2, Event::Stop);
    cluster.run_to(7000);
    assert!(cluster.order(2, 6000).contains(&"release"), "{:?}", cluster.order(2, 6000));
    assert!(!cluster.order(2, 6000).contains(&"transfer"), "{:?}", cluster.order(2, 6000));
}
