//! What the operator does by hand, and what he is told: maintenance, handover, status and why.

use super::*;

fn role(cluster: &Cluster, node: u16) -> (Role, Reason) {
    let (role, reason, _) = cluster.nodes[&node].role(VIP).unwrap();
    (role, reason)
}

fn steady() -> Cluster {
    let mut cluster = Cluster::arbitrated();
    cluster.start(1);
    cluster.start(2);
    cluster.run_to(5000);
    assert_eq!(cluster.open(), [1]);
    cluster
}

#[test]
fn a_node_in_maintenance_gives_up_in_good_order_and_stands_for_nothing_until_it_is_over() {
    let mut cluster = steady();
    cluster.give(1, Event::Maintenance { on: true });
    cluster.run_to(5100);
    assert_eq!(cluster.open(), [2], "a tenth of a second is not a lease: it was handed over");
    assert_eq!(role(&cluster, 1), (Role::Backup, Reason::Maintenance));
    let why = cluster.nodes[&1].why(at(5100), VIP).unwrap();
    assert!(why.evidence.iter().any(|line| line.starts_with("maintenance: on")), "{:#?}", why.evidence);
    // Not even when the other is gone.
    cluster.give(2, Event::Stop);
    cluster.run_to(9000);
    assert_eq!(cluster.open(), []);
    assert_eq!(role(&cluster, 1), (Role::Backup, Reason::Maintenance));
    cluster.give(1, Event::Maintenance { on: false });
    cluster.run_to(13_000);
    assert_eq!(cluster.open(), [1]);
}

#[test]
fn a_handover_by_hand_goes_to_the_worse_node_and_stays_there_r8_r11() {
    let mut cluster = steady();
    let node = &cluster.nodes[&1];
    assert_eq!(node.heir(at(5000), VIP, None), Ok(id(2)));
    assert_eq!(node.heir(at(5000), VIP, Some(id(2))), Ok(id(2)));
    assert_eq!(node.heir(at(5000), VIP, Some(id(9))), Err(NoHandover::Unheard));
    assert_eq!(node.heir(at(5000), DomainId(99), None), Err(NoHandover::NoDomain));
    assert_eq!(cluster.nodes[&2].heir(at(5000), VIP, None), Err(NoHandover::NotHeld));
    cluster.give(1, Event::HandOver { domain: VIP, to: id(2) });
    cluster.run_to(5100);
    assert_eq!(cluster.open(), [2]);
    assert_eq!(cluster.nodes[&2].heir(at(5100), VIP, None), Err(NoHandover::Unsettled));
    cluster.run_to(12_000);
    assert_eq!(cluster.open(), [2], "the better node does not ask for it back");
    cluster.give(2, Event::HandOver { domain: VIP, to: id(1) });
    cluster.run_to(12_100);
    assert_eq!(cluster.open(), [1], "but is given it back");
    cluster.give(1, Event::HandOver { domain: VIP, to: id(2) });
    cluster.run_to(12_200);
    assert_eq!(cluster.open(), [1], "it has only just come");
}

#[test]
fn who_has_handed_over_by_hand_takes_it_again_when_the_other_is_gone() {
    let mut cluster = steady();
    cluster.give(1, Event::HandOver { domain: VIP, to: id(2) });
    cluster.run_to(7000);
    assert_eq!(cluster.open(), [2]);
    cluster.give(2, Event::Stop);
    cluster.run_to(9000);
    assert_eq!(cluster.open(), [1]);
}

/// Its heir died as it took over: who handed over does not race it, and waits as long as the heir's lease may last.
#[test]
fn who_has_handed_over_by_hand_claims_nothing_before_the_heirs_lease_is_over() {
    let mut cluster = steady();
    cluster.give(1, Event::HandOver { domain: VIP, to: id(2) });
    let asked = cluster.now;
    cluster.cut_between(1, 2);
    cluster.cut.extend([(2, WITNESS), (WITNESS, 2)]);
    cluster.run_to(5200);
    assert_eq!(cluster.open(), []);
    cluster.run_to(9000);
    let claimed = cluster.when(1, 5200, |deed| matches!(deed, Action::OpenGate { .. })).unwrap();
    let waits = quorum().timing.lease_max + cluster.nodes[&1].settings.heartbeat.silence();
    assert!(claimed.since(asked) >= waits, "{:?} < {waits:?}", claimed.since(asked));
    assert_eq!(cluster.role(1).0, Role::Master);
}

/// Once it was Master again, it asks for what is its own by the configuration, as before.
#[test]
fn a_master_has_forgotten_that_it_once_handed_over_by_hand() {
    let mut cluster = steady();
    cluster.give(1, Event::HandOver { domain: VIP, to: id(2) });
    cluster.run_to(7000);
    cluster.give(2, Event::Maintenance { on: true });
    cluster.run_to(9000);
    assert_eq!(cluster.open(), [1]);
    cluster.give(2, Event::Maintenance { on: false });
    cluster.give(1, Event::Maintenance { on: true });
    cluster.run_to(11_000);
    assert_eq!(cluster.open(), [2]);
    cluster.give(1, Event::Maintenance { on: false });
    cluster.run_to(15_000);
    assert_eq!(cluster.open(), [1], "it is the better one");
}

#[test]
fn why_has_the_numbers_and_the_inequalities() {
    let mut cluster = steady();
    let lines = |cluster: &Cluster, node: u16, ms| cluster.nodes[&node].why(at(ms), VIP).unwrap().evidence;
    let has = |lines: &[String], words: &str| {
        assert!(lines.iter().any(|line| line.contains(words)), "{words}: {lines:#?}");
    };
    let held = lines(&cluster, 1, 5000);
    has(&held, "> 0 (epoch ");
    has(&held, "voters: 3 answer ≥ 2 needed");
    has(&held, "node 2: heard");
    has(&held, "gate: open; the kernel shuts it in ");
    assert_eq!(cluster.nodes[&2].statuses(at(5000)).first().unwrap().holder, Holder::Peer(id(1)));
    assert_eq!(cluster.nodes[&1].statuses(at(5000)).first().unwrap().holder, Holder::Here);
    // Everything is cut: the lease runs out.
    cluster.links_cut.insert(LinkId(0));
    cluster.lease_cut = true;
    cluster.vrrp_cut = true;
    cluster.cut.extend([(1, WITNESS), (WITNESS, 1), (2, WITNESS), (WITNESS, 2)]);
    cluster.run_to(7000);
    assert_eq!(cluster.open(), []);
    let lapsed = lines(&cluster, 1, 7000);
    has(&lapsed, "lease: run out, D − now = −");
    has(&lapsed, "≤ 0");
    has(&lapsed, "ago ≥ 469.999 ms = L_h: it counts no more");
    has(&lapsed, "voters: 1 answer < 2 needed");
    has(&lapsed, "SILENT, last heard ");
    assert_eq!(cluster.nodes[&1].statuses(at(7000)).first().unwrap().holder, Holder::Unknown);
}

/// Only the witness votes. The line from the standby to it is cut long after it was reached: what the standby were handed it
/// could not count.
#[test]
fn who_no_longer_reaches_a_majority_is_handed_nothing_and_says_so() {
    let voters = QuorumSettings::new(vec![id(WITNESS)], quorum().timing);
    let mut cluster = super::steady(Authority::Quorum(voters));
    assert_eq!(cluster.nodes[&1].heir(at(5000), VIP, None), Ok(id(2)));
    cluster.cut_between(2, WITNESS);
    cluster.run_to(20_000);
    assert_eq!(cluster.nodes[&1].heir(cluster.now, VIP, Some(id(2))), Err(NoHandover::NotEligible));
    assert_eq!(cluster.role(2), (Role::Backup, Reason::PeerIsMaster));
    let alerts = cluster.alerts(2);
    assert!(alerts.contains(&"voter-silent") && alerts.contains(&"arbiter-unreachable"), "{alerts:?}");
    let why = cluster.nodes[&2].why(cluster.now, VIP).unwrap().evidence.join("; ");
    assert!(why.contains("voters: 0 have answered of late and lend, 1 are needed"), "{why}");
    // Not even by hand does the MASTER leave it to who can't hold it.
    cluster.give(1, Event::HandOver { domain: VIP, to: id(2) });
    cluster.run_to(20_300);
    assert_eq!(cluster.open(), [1]);
    cluster.cut.clear();
    cluster.run_to(24_000);
    assert_eq!(cluster.nodes[&1].heir(cluster.now, VIP, None), Ok(id(2)));
    let alerts = cluster.alerts(2);
    assert!(!alerts.contains(&"voter-silent") && !alerts.contains(&"arbiter-unreachable"), "{alerts:?}");
}
