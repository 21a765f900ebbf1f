//! The rings outside the gate, in whole nodes.

use super::lan::Lan;
use super::*;
use crate::settings::FenceSettings;

/// Node 1 is Master since long; both fence, watch and restart themselves.
fn steady(authority: Authority) -> Cluster {
    let mut cluster = Cluster::new(authority);
    for node in [1, 2] {
        let mut settings = settings(node, cluster.authority.clone());
        settings.watchdog = true;
        let command = FenceSettings { timeout: Duration::from_secs(10), retry: Duration::from_secs(20) };
        settings.domains[0].fencing =
            FencingSettings { command: Some(command), reboot_after: Some(Duration::from_secs(2)) };
        cluster.start_with(node, settings);
    }
    // Both were heard before either was elected: nobody is to be fenced at such a start.
    cluster.run_to(5000);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Master, vec![1]));
    assert!(cluster.fences(2).is_empty());
    cluster.log.clear();
    cluster
}

impl Cluster {
    /// The node is gone at once, as in a power cut.
    pub(super) fn power_off(&mut self, node: u16) {
        self.nodes.remove(&node);
    }

    /// Whom a node has had fenced, and when.
    fn fences(&self, node: u16) -> Vec<(Instant, NodeId, Epoch, Option<Epoch>)> {
        let all = self.log.iter().filter(|(_, who, _)| *who == node);
        let fences = all.filter_map(|(when, _, action)| match action {
            Action::Fence { victim, epoch, held, .. } => Some((*when, *victim, *epoch, *held)),
            _ => None,
        });
        fences.collect()
    }

    fn fence_answered(&mut self, node: u16, victim: u16, error: Option<&str>) {
        let error = error.map(String::from);
        self.give(node, Event::Fenced { domain: VIP, victim: id(victim), error });
    }

    fn count(&self, node: u16, from_ms: u64, deed: impl Fn(&Action) -> bool) -> usize {
        self.log.iter().filter(|(when, who, action)| *when >= at(from_ms) && *who == node && deed(action)).count()
    }
}

fn feeds(action: &Action) -> bool {
    *action == Action::FeedWatchdog
}

fn opens(action: &Action) -> bool {
    matches!(action, Action::OpenGate { .. })
}

#[test]
fn a_silent_holder_is_fenced_under_the_new_lease_and_before_the_gate_opens() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let former = cluster.nodes[&1].epoch(VIP);
    cluster.power_off(1);
    cluster.run_to(8000);
    let fences = cluster.fences(2);
    let [(fenced_at, victim, epoch, held)] = fences.as_slice() else { panic!("{fences:?}") };
    assert_eq!((*victim, *held), (id(1), former));
    assert_eq!(cluster.nodes[&2].epoch(VIP), Some(*epoch), "the lease is renewed while the command runs");
    assert!(fenced_at.since(at(5000)) >= Duration::from_millis(400), "not before the holder's lease is over");
    assert_eq!((cluster.role(2).0, cluster.open()), (Role::Claiming, vec![]));
    assert_eq!(cluster.when(2, 5000, opens), None);
    cluster.fence_answered(2, 1, None);
    assert_eq!((cluster.role(2).0, cluster.open()), (Role::Master, vec![2]));
    assert_eq!(cluster.when(2, 5000, opens), Some(at(8000)));
    cluster.run_to(12_000);
    assert_eq!(cluster.fences(2).len(), 1);
}

#[test]
fn a_fence_that_fails_opens_no_gate_gives_the_lease_back_and_is_told() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.power_off(1);
    cluster.run_to(7000);
    cluster.fence_answered(2, 1, Some("exit status 1"));
    assert_eq!(cluster.role(2), (Role::Backup, Reason::FenceFailed));
    assert_eq!(cluster.nodes[&2].epoch(VIP), None, "another node's command may succeed");
    assert!(cluster.alerts(2).contains(&"fence-failed"));
    cluster.run_to(26_000);
    assert_eq!((cluster.when(2, 5000, opens), cluster.fences(2).len()), (None, 1));
    cluster.run_to(28_000);
    assert_eq!(cluster.fences(2).len(), 2, "after the pause it is tried again");
    cluster.fence_answered(2, 1, None);
    cluster.run_to(29_000);
    assert_eq!((cluster.role(2).0, cluster.open()), (Role::Master, vec![2]));
    assert!(!cluster.alerts(2).contains(&"fence-failed"));
}

#[test]
fn a_fence_that_fails_after_the_gate_may_have_been_opened_gives_up_in_the_order_of_r8() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let former = cluster.nodes[&1].epoch(VIP).unwrap();
    cluster.gates_unread.insert(2);
    cluster.give(1, Event::Stop);
    cluster.run_to(5100);
    assert_eq!((cluster.role(2).0, cluster.when(2, 5000, opens).is_some()), (Role::Claiming, true));
    cluster.power_off(1);
    cluster.run_to(6000);
    // A late refusal names it as the holder.
    cluster.nodes.get_mut(&2).unwrap().domains.get_mut(&VIP).unwrap().fence.saw_holder(former);
    cluster.run_to(6500);
    assert_eq!(cluster.fences(2).len(), 1);
    let (from, mine) = (cluster.log.len(), cluster.nodes[&2].epoch(VIP).unwrap());
    cluster.fence_answered(2, 1, Some("exit status 1"));
    cluster.run_to(6600);
    let when = |deed: &dyn Fn(&Action) -> bool| {
        let mut later = cluster.log.iter().skip(from).filter(|(_, who, action)| *who == 2 && deed(action));
        later.next().map(|(when, ..)| *when).unwrap()
    };
    let shut = when(&|deed| matches!(deed, Action::ShutGate { epoch, .. } if *epoch == mine));
    let released = when(&|deed| match deed {
        Action::SendLease { bytes, .. } => messages(bytes).contains(&Message::Release { epoch: mine }),
        _ => false,
    });
    // Read back as shut, and the last frame gone from the wire, before another may begin.
    assert!(released.since(shut) >= quorum().timing.drain(), "shut {shut:?}, released {released:?}");
    assert_eq!(cluster.role(2), (Role::Backup, Reason::FenceFailed));
}

#[test]
fn who_sees_a_silent_master_that_still_has_its_lease_fences_nobody() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.cut_between(1, 2);
    cluster.run_to(20_000);
    assert_eq!(cluster.open(), [1]);
    assert!(cluster.fences(1).is_empty() && cluster.fences(2).is_empty());
}

/// Three agents, of which node 1 holds and loses power; node 2 has the lease next, and its fence command ends so.
fn the_next_one_fences(error: Option<&str>) -> Lan {
    let mut lan = Lan::with(3, Some(Policy::Strict), |settings| {
        let command = FenceSettings { timeout: Duration::from_secs(10), retry: Duration::from_secs(20) };
        settings.domains[0].fencing = FencingSettings { command: Some(command), reboot_after: None };
    });
    lan.nodes.remove(&1);
    lan.run_to(7000);
    let fenced = fences(&lan, 2);
    assert!(matches!(fenced.as_slice(), [(_, victim)] if *victim == id(1)), "{fenced:?}");
    assert_eq!(lan.when(2, 5000, opens), None);
    lan.give(2, Event::Fenced { domain: VIP, victim: id(1), error: error.map(String::from) });
    lan
}

fn fences(lan: &Lan, node: u16) -> Vec<(Instant, NodeId)> {
    let fences = lan.log.iter().filter_map(|(when, who, action)| match action {
        Action::Fence { victim, .. } if *who == node => Some((*when, *victim)),
        _ => None,
    });
    fences.collect()
}

#[test]
fn a_claim_that_came_to_nothing_does_not_hide_who_held_before_it() {
    let mut lan = the_next_one_fences(Some("exit status 1"));
    lan.run_to(12_000);
    let fenced = fences(&lan, 3);
    assert!(matches!(fenced.as_slice(), [(_, victim)] if *victim == id(1)), "{fenced:?}");
    assert_eq!((lan.when(3, 5000, opens), lan.open()), (None, vec![]));
    lan.give(3, Event::Fenced { domain: VIP, victim: id(1), error: None });
    assert_eq!((lan.role(3).0, lan.open()), (Role::Master, vec![3]));
}

#[test]
fn who_has_not_cleared_its_way_leaves_it_to_no_heir() {
    let mut lan = the_next_one_fences(None);
    assert_eq!(lan.open(), [2]);
    // It lapses, keeps its addresses for a while behind its gate, and has the lease anew.
    lan.cut_witnesses();
    lan.run_to(7700);
    assert_eq!(lan.role(2).0, Role::Fenced);
    let fence = &mut lan.nodes.get_mut(&2).unwrap().domains.get_mut(&VIP).unwrap().fence;
    fence.saw_holder(Epoch { counter: 99, incarnation: Incarnation(9), attempt: 1, node: id(1) });
    lan.cut.retain(|(a, b)| *a != 2 && *b != 2);
    lan.run_to(8200);
    assert_eq!((fences(&lan, 2).len(), lan.nodes[&2].epoch(VIP).is_some()), (2, true));
    assert!(lan.nodes[&2].domains[&VIP].kernel.holds_anything(), "the addresses");
    lan.cut.clear();
    lan.run_to(8250);
    lan.give(2, Event::Stop);
    lan.run_to(8300);
    let says = |wanted: fn(&Message) -> bool| {
        lan.when(2, 8250, |deed| match deed {
            Action::SendLease { bytes, .. } => messages(bytes).iter().any(wanted),
            _ => false,
        })
    };
    assert!(says(|said| matches!(said, Message::Release { .. })).is_some());
    assert_eq!(says(|said| matches!(said, Message::Transfer { .. })), None);
}

#[test]
fn who_was_fenced_by_the_holder_before_us_is_not_fenced_again() {
    let mut lan = the_next_one_fences(None);
    assert_eq!(lan.open(), [2]);
    lan.run_to(9000);
    lan.give(2, Event::Stop);
    lan.run_to(9100);
    assert_eq!((lan.open(), fences(&lan, 3)), (vec![3], vec![]));
}

#[test]
fn an_orderly_end_needs_no_fence() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.give(1, Event::Stop);
    cluster.run_to(5100);
    cluster.power_off(1);
    cluster.run_to(7000);
    assert_eq!((cluster.open(), cluster.fences(2)), (vec![2], vec![]));
}

#[test]
fn a_node_that_has_just_started_learns_from_a_refusal_whom_to_fence() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let settings = cluster.nodes[&2].settings.clone();
    cluster.power_off(2);
    cluster.cut_between(1, 2);
    cluster.vrrp_cut = true;
    // It hears nothing of node 1 in this life; only the witness knows who holds.
    cluster.start_with(2, settings);
    cluster.run_to(9000);
    assert_eq!((cluster.open(), cluster.fences(2)), (vec![1], vec![]));
    cluster.power_off(1);
    cluster.run_to(12_000);
    assert_eq!(cluster.fences(2).len(), 1);
    assert!(cluster.open().is_empty());
}

#[test]
fn without_an_authority_whoever_is_silent_is_fenced_before_the_gate_opens() {
    let mut cluster = steady(Authority::None);
    cluster.power_off(1);
    cluster.run_to(9000);
    assert_eq!(cluster.fences(2).len(), 1);
    assert_eq!((cluster.role(2).0, cluster.open()), (Role::Claiming, vec![]));
    cluster.fence_answered(2, 1, None);
    cluster.run_to(9100);
    assert_eq!((cluster.role(2).0, cluster.open()), (Role::Master, vec![2]));
}

#[test]
fn the_watchdog_is_fed_by_holders_and_by_those_that_hold_nothing() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.run_to(7000);
    for node in [1, 2] {
        let meals = cluster.count(node, 5000, feeds);
        assert!((9..=12).contains(&meals), "{meals}: one each 200 ms");
    }
    // Cut off from everybody, the holder loses its lease, shuts its gate and is fed on.
    cluster.cut_between(1, 2);
    cluster.cut_between(1, WITNESS);
    cluster.run_to(9000);
    assert_eq!(cluster.role(1).0, Role::Backup);
    assert!(cluster.count(1, 7000, feeds) >= 9);
}

#[test]
fn a_gate_that_can_not_be_shut_starves_the_watchdog_and_restarts_the_machine() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.cut_between(1, 2);
    cluster.cut_between(1, WITNESS);
    cluster.gates_stuck.insert(1);
    cluster.run_to(6000);
    assert_eq!(cluster.count(1, 5600, feeds), 0);
    let reboots = |action: &Action| matches!(action, Action::Reboot { .. });
    assert_eq!(cluster.count(1, 5000, reboots), 0, "it is tried for as long as configured");
    cluster.run_to(9000);
    assert_eq!(cluster.count(1, 5000, reboots), 1);
    let when = cluster.when(1, 5000, reboots).unwrap();
    let lost = cluster.when(1, 5000, |action| matches!(action, Action::ShutGate { .. })).unwrap();
    assert_eq!(when.since(lost), Duration::from_secs(2));
    assert!(cluster.alerts(1).contains(&"self-reboot"));
    let told = cluster.log.iter().rev().find_map(|(_, _, action)| match action {
        Action::Reboot { why } => Some(why.clone()),
        _ => None,
    });
    assert!(told.unwrap().contains("the tombstone reads back open"));
}
