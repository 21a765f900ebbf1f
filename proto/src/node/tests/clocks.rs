//! Clocks beyond what the lease assumes, on whole nodes.

use super::*;
use crate::event::ClockState;
use crate::lease::timing::Profile;
use alloc::format;

const MS: i64 = 1_000_000;

impl Cluster {
    /// Member stands still, clock and all, until the world's clock shows `ms`; then takes what has come.
    fn freeze_to(&mut self, member: u16, ms: u64) {
        let began = self.now;
        self.frozen.insert(member, Vec::new());
        self.run_to(ms);
        let lost = i64::try_from(self.now.since(began).as_nanos()).unwrap();
        *self.skew.entry(member).or_default() -= lost;
        for event in self.frozen.remove(&member).unwrap() {
            self.queue.push_back((member, event));
        }
    }

    /// The evidence with which an alert of a node began, from `ms` on.
    pub(super) fn raised(&self, node: u16, ms: u64, name: AlertName) -> Option<(Instant, &str)> {
        self.log.iter().find_map(|(when, who, deed)| match deed {
            Action::Alert(alert) if alert.name == name && alert.raised && *who == node && *when >= at(ms) => {
                Some((*when, alert.evidence.as_str()))
            }
            _ => None,
        })
    }

    fn became_fenced(&self, node: u16, ms: u64) -> Option<(Instant, Reason)> {
        self.log.iter().find_map(|(when, who, deed)| match deed {
            Action::Transition(told) if told.to == Role::Fenced && *who == node && *when >= at(ms) => {
                Some((*when, told.reason))
            }
            _ => None,
        })
    }

    fn shut(&self, node: u16, ms: u64) -> Option<Instant> {
        self.when(node, ms, |deed| matches!(deed, Action::ShutGate { .. }))
    }
}

const VIOLATED: AlertName = AlertName::ClockAssumptionViolated;

#[test]
fn who_was_frozen_without_its_clock_is_fenced_by_the_first_beat_that_has_waited_f49() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.freeze_to(1, 8000);
    assert_eq!(cluster.open(), [1, 2], "its gate still counts by a clock that stood still");
    cluster.drain();
    assert_eq!((cluster.shut(1, 8000), cluster.open()), (Some(at(8000)), vec![2]));
    cluster.run_to(8100);
    let (_, reason) = cluster.became_fenced(1, 8000).unwrap();
    // What has waited tells of the rival too.
    assert!(matches!(reason, Reason::ClockUntrusted | Reason::RivalWins), "{reason:?}");
    let (when, words) = cluster.raised(1, 8000, VIOLATED).unwrap();
    assert_eq!(when, at(8000));
    assert!(words.starts_with("this node's clock lost at least 2") && words.contains("H = 0 ms"), "{words}");
    // It claims afresh once that is over: its priority is the better.
    cluster.run_to(8400);
    assert_eq!(cluster.open(), [2], "not before L_max");
    cluster.run_to(12_000);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Master, vec![1]));
    assert!(!cluster.alerts(1).contains(&"clock-assumption-violated"));
    assert!(cluster.raised(2, 0, VIOLATED).is_some_and(|(_, words)| words.contains("node 1's clock lost")));
}

#[test]
fn without_heartbeats_it_is_fenced_by_the_first_renewal_f49() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.links_cut.insert(LinkId(0));
    cluster.vrrp_cut = true;
    cluster.run_to(6000);
    cluster.freeze_to(1, 9000);
    cluster.frozen.clear();
    cluster.run_to(9600);
    assert_eq!(cluster.became_fenced(1, 9000).map(|(_, reason)| reason), Some(Reason::ClockUntrusted));
    let shut = cluster.shut(1, 9000).unwrap();
    // A voter that holds answers nobody (R10), so that the other's word is waited for: a round trip.
    assert!(shut <= at(9000) + quorum().timing.renewal_interval() + quorum().timing.round_trip, "{shut:?}");
    assert_eq!(cluster.open(), [2]);
}

#[test]
fn one_other_clock_is_enough_to_be_fenced_by() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.nodes.remove(&2);
    cluster.run_to(7000);
    assert_eq!(cluster.open(), [1], "by its own voter and the witness");
    cluster.freeze_to(1, 7300);
    cluster.run_to(7430);
    assert_eq!(cluster.became_fenced(1, 7300).map(|(_, reason)| reason), Some(Reason::ClockUntrusted));
    cluster.run_to(12_000);
    assert_eq!(cluster.open(), [1], "nobody else is there, and it is sane again");
}

#[test]
fn a_freeze_that_h_covers_costs_nothing() {
    let timing = LeaseTiming::for_profile(Profile::Vm, Profile::Vm.default_lease());
    let mut cluster = steady(Authority::Quorum(QuorumSettings { timing, ..quorum() }));
    let begun = cluster.now;
    cluster.freeze_to(1, 5400);
    cluster.run_to(15_000);
    cluster.freeze_to(1, 15_400);
    cluster.run_to(25_000);
    assert_eq!((cluster.shut(1, 5000), cluster.became_fenced(1, 5000)), (None, None), "since {begun:?}");
    assert_eq!((cluster.open(), cluster.raised(1, 5000, VIOLATED)), (vec![1], None));
    assert!(cluster.when(2, 5000, |deed| matches!(deed, Action::OpenGate { .. })).is_none());
}

#[test]
fn past_g_the_gate_is_shut_by_the_kernel_and_the_next_answer_opens_it_again() {
    let timing = LeaseTiming::for_profile(Profile::Vm, Profile::Vm.default_lease());
    let mut cluster = steady(Authority::Quorum(QuorumSettings { timing, ..quorum() }));
    cluster.cut_between(1, 2);
    cluster.cut_between(1, WITNESS);
    cluster.run_to(5550);
    assert_eq!(cluster.open(), [] as [u16; 0], "its own voter goes on answering, and proves nothing");
    assert_eq!(cluster.role(1).0, Role::Master);
    cluster.cut.clear();
    cluster.run_to(5800);
    assert_eq!((cluster.open(), cluster.role(1).0), (vec![1], Role::Master));
    let moved = |deed: &Action| matches!(deed, Action::Transition(_) | Action::ShutGate { .. });
    assert_eq!(cluster.when(1, 5000, moved), None, "under the same epoch");
}

#[test]
fn nobody_reached_after_a_freeze_the_overlap_ends_after_g() {
    let timing = LeaseTiming::for_profile(Profile::Vm, Profile::Vm.default_lease());
    let mut cluster = steady(Authority::Quorum(QuorumSettings { timing, ..quorum() }));
    cluster.freeze_to(1, 9000);
    // All that has come is lost, and nothing comes any more.
    cluster.queue.clear();
    cluster.cut_between(1, 2);
    cluster.cut_between(1, WITNESS);
    assert_eq!(cluster.open(), [1, 2]);
    // G counts from the last request before the freeze, at most R ago.
    cluster.run_to(9000 + 330);
    assert_eq!(cluster.open(), [1, 2], "no program in the guest could know");
    cluster.run_to(9000 + 501);
    assert_eq!(cluster.open(), [2]);
}

#[test]
fn a_voter_whose_clock_alone_is_off_is_not_counted_and_named() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    // The witness's clock leaps ahead: what it grants now would end too early.
    cluster.skew.insert(WITNESS, 2000 * MS);
    cluster.run_to(5150);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Master, vec![1]));
    let (_, words) = cluster.raised(1, 5000, VIOLATED).unwrap();
    assert!(words.starts_with("node 3's clock gained at least 1"), "{words}");
    // Without the other voter, its word alone is worth nothing now.
    cluster.cut_between(1, 2);
    cluster.run_to(5600);
    assert_eq!(cluster.became_fenced(1, 5000).map(|(_, reason)| reason), Some(Reason::LeaseLost));
    cluster.cut.clear();
    cluster.run_to(9000);
    assert!(!cluster.alerts(1).contains(&"clock-assumption-violated"), "it is forgiven after L_max");
}

#[test]
fn a_voter_restored_from_a_snapshot_that_was_never_seen_later_is_not_counted_r17() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.cut_between(1, WITNESS);
    let snapshot = cluster.witness.clone();
    cluster.run_to(9000);
    cluster.witness = snapshot;
    cluster.skew.insert(WITNESS, -4000 * MS);
    cluster.cut.clear();
    cluster.run_to(9200);
    let (_, words) = cluster.raised(1, 9000, VIOLATED).unwrap();
    assert!(words.starts_with("node 3's clock lost at least 3"), "{words}");
    assert_eq!(cluster.open(), [1], "two others vote for it");
}

/// A MASTER is put back from a memory snapshot of five seconds ago: the same epoch twice.
fn restored(stopped: bool) -> Cluster {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let snapshot = cluster.nodes[&1].clone();
    if stopped {
        cluster.nodes.remove(&1);
    }
    cluster.run_to(10_000);
    assert_eq!(cluster.open(), if stopped { [2] } else { [1] });
    cluster.nodes.insert(1, snapshot);
    cluster.skew.insert(1, -5000 * MS);
    cluster
}

#[test]
fn a_master_restored_from_a_snapshot_is_fenced_by_the_first_answers_f50() {
    for stopped in [false, true] {
        let mut cluster = restored(stopped);
        // What it hears first is the answer to its next renewal, or a beat: within R it is fenced.
        cluster.run_to(10_000 + 150);
        let shut = cluster.shut(1, 10_000).unwrap_or_else(|| panic!("stopped {stopped}: not shut"));
        assert!(shut.since(at(10_000)) <= quorum().timing.holder_lease(), "overlap <= G");
        let (_, reason) = cluster.became_fenced(1, 10_000).unwrap();
        assert!(matches!(reason, Reason::ClockUntrusted | Reason::RivalWins), "{reason:?}");
        assert!(cluster.raised(1, 10_000, VIOLATED).is_some());
        cluster.run_to(16_000);
        assert_eq!(cluster.open().len(), 1);
    }
}

#[test]
fn a_kernel_that_runs_the_clock_off_beyond_half_of_rho_fences_f47() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let slewed = |ppm: i64| Event::ClockState(ClockState { slew_ppb: Some(ppm * 1000), error: None });
    cluster.give(1, slewed(500));
    cluster.give(1, slewed(-5000));
    cluster.run_to(5500);
    assert_eq!(cluster.open(), [1], "half of rho is allowed");
    cluster.give(1, slewed(-5001));
    assert_eq!(cluster.open(), [] as [u16; 0]);
    cluster.run_to(5600);
    assert_eq!(cluster.role(1), (Role::Fenced, Reason::ClockUntrusted));
    assert_eq!(cluster.open(), [2]);
    let (_, words) = cluster.raised(1, 5000, VIOLATED).unwrap();
    assert!(words.contains("-5001 ppm") && words.contains("rho = 1 %") && words.contains("adjtimex"), "{words}");
    cluster.run_to(9000);
    assert_eq!(cluster.role(1).0, Role::Fenced, "as long as it lasts");
    cluster.give(1, slewed(0));
    cluster.run_to(13_000);
    assert_eq!(cluster.open(), [1]);
}

#[test]
fn a_clock_whose_rate_cant_be_read_is_told_and_fences_nobody() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.give(1, Event::ClockState(ClockState { slew_ppb: None, error: Some("not permitted".into()) }));
    cluster.run_to(6000);
    assert_eq!(cluster.open(), [1]);
    assert!(cluster.raised(1, 5000, VIOLATED).is_some_and(|(_, words)| words.contains("not permitted")));
}

#[test]
fn the_own_clocks_rate_is_read_each_r() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.run_to(6000);
    let read = cluster.log.iter().filter(|(_, who, deed)| *who == 1 && *deed == Action::ReadClock).count();
    assert!((9..=11).contains(&read), "{read} times in a second, where R is 100 ms");
}

#[test]
fn a_witness_put_back_while_the_master_holds_is_ignored_for_l_max_and_told_f38() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let snapshot = cluster.witness.clone();
    cluster.run_to(9000);
    cluster.witness = snapshot;
    cluster.skew.insert(WITNESS, -4000 * MS);
    cluster.run_to(9150);
    assert_eq!(cluster.open(), [1]);
    let (_, words) = cluster.raised(1, 9000, AlertName::VoterAmnesia).unwrap();
    assert!(words.starts_with("voter node 3's clock went back by 3") && words.contains("Restart it"), "{words}");
    // For L_max its grants count for nothing, so that with the other voter cut off the lease runs out.
    cluster.cut_between(1, 2);
    cluster.run_to(9640);
    assert_eq!(cluster.became_fenced(1, 9000).map(|(_, reason)| reason), Some(Reason::LeaseLost));
    cluster.cut.clear();
    cluster.run_to(14_000);
    assert!(!cluster.alerts(1).contains(&"voter-amnesia"), "and then it is a voter again");
    assert!(cluster.nodes[&1].role(VIP).is_some() && cluster.open().len() == 1);
}

#[test]
fn two_witnesses_with_one_identity_are_not_believed_f39() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let settings = VoterSettings::new(ClusterId(1), &quorum(), [id(1), id(2)].into(), Incarnation(34));
    let mut other = Voter::new(settings, at(0), None);
    for ms in (5100..9000).step_by(100) {
        core::mem::swap(&mut cluster.witness, &mut other);
        cluster.run_to(ms);
    }
    assert_eq!(cluster.open(), [1], "the two nodes are a majority without it");
    assert!(cluster.alerts(1).contains(&"voter-amnesia"));
    let raised = cluster.log.iter().filter(|(_, who, deed)| {
        *who == 1 && matches!(deed, Action::Alert(alert) if alert.name == AlertName::VoterAmnesia)
    });
    assert_eq!(raised.count(), 1, "one alert, not one for each answer");
    let (_, words) = cluster.raised(1, 5000, AlertName::VoterAmnesia).unwrap();
    assert!(words.contains("two voters run with one key"), "{words}");
    cluster.cut_between(1, 2);
    cluster.run_to(9520);
    assert!(!cluster.open().contains(&1), "its word is worth nothing");
}

#[test]
fn a_cloned_node_is_told_of_and_nobody_else_gets_the_domain_by_it_f62() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    // A second agent with the key of node 2 boots; both reach node 1 and the witness, in turns.
    let mut clone =
        Node::new(settings(2, Authority::Quorum(quorum())), Incarnation(999), Restored::default(), at(5000));
    for ms in (5070..10_000).step_by(70) {
        core::mem::swap(cluster.nodes.get_mut(&2).unwrap(), &mut clone);
        cluster.give(2, Event::Interface { interface: InterfaceId(0), up: true, addresses: vec![address(2)] });
        cluster.run_to(ms);
    }
    assert_eq!(cluster.open(), [1]);
    assert!(cluster.alerts(1).contains(&"duplicate-node"));
    let (when, words) = cluster.raised(1, 5000, AlertName::DuplicateNode).unwrap();
    assert!(when < at(7000) && words.starts_with("two agents speak as node 2"), "{when:?} {words}");
    assert!(words.contains(&format!("{:016x}", (1000_u64 << 16) | 200)), "the older one: {words}");
    assert!(cluster.when(1, 5000, |deed| matches!(deed, Action::ShutGate { .. })).is_none());
    cluster.run_to(13_000);
    assert!(!cluster.alerts(1).contains(&"duplicate-node"), "once only one is left");
}
