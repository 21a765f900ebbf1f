//! The program is replaced under a lease that goes on (docs/decisions/0210).

use super::*;
use crate::handed::{Handed, NotResumed, NotSuspended, Place};
use crate::wire::heartbeat::Beat;
use proptest::prelude::*;

const PLACE: Place = Place { boot: [1; 16], mark: [2; 32] };

impl Cluster {
    /// Its process ends here, and hands on.
    fn suspend(&mut self, node: u16) -> Handed {
        let now = self.local(node);
        let handed = self.nodes[&node].suspend(now, PLACE, Duration::from_millis(100)).unwrap();
        self.nodes.remove(&node);
        Handed::parse(&handed.emit()).unwrap()
    }

    /// The next process begins; its interface is reported `after` milliseconds later, if at all.
    fn resume(&mut self, node: u16, handed: &Handed, after: Option<u64>) -> Result<(), NotResumed> {
        let settings = settings(node, self.authority.clone());
        let here = (&PLACE, Duration::from_millis(20));
        let own = (Restored::default(), Incarnation(self.now.as_nanos()));
        let resumed = Node::resume(settings, handed, here, own, self.local(node))?;
        self.nodes.insert(node, resumed);
        self.give(node, Event::Tick);
        if let Some(after) = after {
            self.run_to(self.now.as_nanos() / 1_000_000 + after);
            let (interface, addresses) = (InterfaceId(0), vec![address(node)]);
            self.give(node, Event::Interface { interface, up: true, addresses });
        }
        Ok(())
    }

    /// Nonces of requests by node 1, and the sequences of its beats, in their order.
    fn used(&self) -> (Vec<u64>, Vec<u64>) {
        let (mut nonces, mut sequences) = (Vec::new(), Vec::new());
        for (_, _, action) in self.log.iter().filter(|(_, who, _)| *who == 1) {
            match action {
                Action::SendLease { bytes, .. } => {
                    let envelopes = unpack(bytes).unwrap().map(Result::unwrap);
                    let asked = envelopes.filter(|envelope| matches!(envelope.message, Message::Acquire { .. }));
                    nonces.extend(asked.map(|envelope| envelope.nonce));
                }
                Action::SendBeat { bytes, link, .. } if *link == LinkId(0) => {
                    sequences.extend(Beat::parse(bytes).map(|beat| beat.seq));
                }
                _ => {}
            }
        }
        (nonces, sequences)
    }
}

fn rises(numbers: &[u64]) -> bool {
    numbers.windows(2).all(|pair| pair[0] < pair[1])
}

#[test]
fn the_holder_is_replaced_and_holds_on_under_the_same_epoch() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let epoch = cluster.nodes[&1].epoch(VIP);
    cluster.run_to(5010);
    let handed = cluster.suspend(1);
    let until = handed.ends_at().unwrap();
    cluster.run_to(5250);
    cluster.resume(1, &handed, Some(20)).unwrap();
    assert_eq!((cluster.role(1), cluster.nodes[&1].epoch(VIP)), ((Role::Master, Reason::Elected), epoch));
    let opens = |action: &Action| matches!(action, Action::OpenGate { until: moved, .. } if *moved > until);
    let asked = cluster.when(1, 5250, |action| matches!(action, Action::SendLease { .. }));
    let opened = cluster.when(1, 5250, |action| matches!(action, Action::OpenGate { .. }));
    assert!(asked <= opened && opened == cluster.when(1, 5250, opens), "its own answers move D, and nothing else does");
    cluster.run_to(8000);
    assert_eq!((cluster.open(), cluster.nodes[&1].epoch(VIP)), (vec![1], epoch));
    let told =
        |node| cluster.when(node, 5000, |action| matches!(action, Action::Transition(told) if told.to == Role::Master));
    let shut = |action: &Action| matches!(action, Action::ShutGate { .. } | Action::RemoveAddresses { .. });
    assert_eq!((told(1), told(2), cluster.when(1, 5000, shut)), (None, None, None));
    let (nonces, sequences) = cluster.used();
    assert!(rises(&nonces) && rises(&sequences) && nonces.len() > 20, "nothing comes twice: {nonces:?} {sequences:?}");
    assert!(cluster.nodes[&2].alerts().next().is_none(), "{:?}", cluster.alerts(2));
}

#[test]
fn who_is_replaced_gives_up_and_claims_again_as_the_same_life() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let epoch = cluster.nodes[&1].epoch(VIP).unwrap();
    let handed = cluster.suspend(1);
    cluster.run_to(5100);
    cluster.resume(1, &handed, Some(5)).unwrap();
    cluster.run_to(7000);
    cluster.give(1, Event::HandOver { domain: VIP, to: id(2) });
    cluster.run_to(7500);
    assert_eq!(cluster.open(), [2], "{:?} {:?}", cluster.role(1), cluster.role(2));
    let between = cluster.nodes[&2].epoch(VIP).unwrap();
    cluster.give(2, Event::Stop);
    cluster.run_to(9000);
    assert_eq!(cluster.open(), [1]);
    let last = cluster.nodes[&1].epoch(VIP).unwrap();
    assert!(epoch < between && between < last && last.incarnation == epoch.incarnation && last.attempt > epoch.attempt);
}

#[test]
fn without_its_evidence_the_gate_shuts_at_d_and_another_claims() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let handed = cluster.suspend(1);
    cluster.run_to(5200);
    // The interface is never reported, and no voter is reached: nothing moves D.
    cluster.cut_between(1, WITNESS);
    cluster.cut_between(1, 2);
    cluster.resume(1, &handed, None).unwrap();
    let until = handed.ends_at().unwrap().as_nanos() / 1_000_000;
    cluster.run_to(until - 1);
    assert_eq!(cluster.open(), [1]);
    cluster.run_to(until + 1);
    assert_eq!(cluster.role(1), (Role::Fenced, Reason::LeaseLost));
    cluster.run_to(until + 2000);
    assert_eq!((cluster.open(), cluster.role(1)), (vec![2], (Role::Init, Reason::Started)));
    assert!(cluster.order(1, 5200).ends_with(&["shut", "remove"]), "{:?}", cluster.order(1, 5200));
}

#[test]
fn who_is_stopped_before_its_evidence_has_come_in_gives_up_in_the_order_of_r8() {
    for by_hand in [false, true] {
        let mut cluster = steady(Authority::Quorum(quorum()));
        let handed = cluster.suspend(1);
        cluster.run_to(5100);
        cluster.resume(1, &handed, None).unwrap();
        cluster.log.clear();
        cluster.give(1, if by_hand { Event::Maintenance { on: true } } else { Event::Stop });
        cluster.run_to(5200);
        let order = cluster.order(1, 5100);
        let deeds: Vec<_> =
            order.into_iter().filter(|deed| ["shut", "remove", "release", "transfer"].contains(deed)).collect();
        assert!(deeds.starts_with(&["shut", "remove"]) && deeds.len() == 3, "{deeds:?}");
        assert!(cluster.open().is_empty() && cluster.now < handed.ends_at().unwrap(), "long before D");
        cluster.run_to(6000);
        assert_eq!(cluster.open(), [2], "which nobody has named, and which claims");
    }
}

#[test]
fn what_was_handed_on_for_something_else_or_too_late_is_refused() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let handed = cluster.suspend(1);
    let (same, needed, now) = (settings(1, cluster.authority.clone()), Duration::from_millis(20), cluster.now);
    assert_eq!(handed.check(&same, &PLACE, needed, now), Ok(()));
    let boot = Place { boot: [9; 16], ..PLACE };
    let mark = Place { mark: [9; 32], ..PLACE };
    assert_eq!(handed.check(&same, &boot, needed, now), Err(NotResumed::Boot));
    assert_eq!(handed.check(&same, &PLACE, needed, at(4000)), Err(NotResumed::Boot), "a clock that has gone back");
    assert_eq!(handed.check(&same, &mark, needed, now), Err(NotResumed::Configuration));
    for other in [settings(2, cluster.authority.clone()), settings(1, Authority::None)] {
        assert_eq!(handed.check(&other, &PLACE, needed, now), Err(NotResumed::Configuration));
    }
    let until = handed.ends_at().unwrap();
    let late = |at| matches!(handed.check(&same, &PLACE, needed, at), Err(NotResumed::Late { .. }));
    assert!(!late(until - needed) && late(until - needed / 2) && late(until) && late(until + needed));
}

#[test]
fn who_is_between_two_states_or_holds_nothing_hands_nothing_on() {
    let why = |cluster: &Cluster, node: u16| {
        let now = cluster.local(node);
        cluster.nodes[&node].suspend(now, PLACE, Duration::from_millis(100)).err()
    };
    let mut cluster = steady(Authority::Quorum(quorum()));
    assert_eq!((why(&cluster, 1), why(&cluster, 2)), (None, Some(NotSuspended::NothingHeld)));
    let needed = Duration::from_secs(1);
    let refused = cluster.nodes[&1].suspend(cluster.now, PLACE, needed).unwrap_err();
    assert!(matches!(refused, NotSuspended::Late { .. }), "{refused}");
    cluster.gates_hung.insert(1, Vec::new());
    cluster.run_to(5150);
    assert_eq!(why(&cluster, 1), Some(NotSuspended::Busy(VIP)), "the gate owes an answer");
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.give(1, Event::Maintenance { on: true });
    assert_eq!(why(&cluster, 1), Some(NotSuspended::Leaving));
    let cluster = steady(Authority::None);
    assert_eq!(why(&cluster, 1), Some(NotSuspended::Authority(VIP)));
}

#[test]
fn what_is_to_be_announced_before_the_evidence_is_in_keeps_nobody_busy() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let handed = cluster.nodes[&1].suspend(cluster.now, PLACE, Duration::from_millis(100)).unwrap();
    cluster.nodes.remove(&1);
    cluster.run_to(cluster.now.as_nanos() / 1_000_000 + 92);
    // The peer is heard again, and the interfaces are not known for 58 ms: `run_to` tells who wants one moment without end.
    cluster.resume(1, &handed, Some(58)).unwrap();
    cluster.run_to(cluster.now.as_nanos() / 1_000_000 + 1000);
    assert_eq!(cluster.open(), [1]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the gap, whatever is cut, and however often: no nonce, sequence or epoch comes twice, and no two gates
    /// are open at once.
    #[test]
    fn whatever_the_gap_nothing_comes_twice(
        rounds in prop::collection::vec((1_u64..600, 0_u64..60, any::<bool>(), any::<bool>(), 50_u64..900), 1..4),
    ) {
        let mut cluster = steady(Authority::Quorum(quorum()));
        let mut opened = Vec::new();
        for (gap, after, cut_peer, cut_witness, rest) in rounds {
            let now = cluster.now;
            let suspended = cluster.nodes[&1].suspend(now, PLACE, Duration::from_millis(100));
            let Ok(handed) = suspended else {
                cluster.run_to(now.as_nanos() / 1_000_000 + rest);
                continue;
            };
            cluster.nodes.remove(&1);
            if cut_peer {
                cluster.cut_between(1, 2);
            }
            if cut_witness {
                cluster.cut_between(1, WITNESS);
            }
            let end = now.as_nanos() / 1_000_000 + gap;
            while cluster.now < at(end) {
                cluster.run_to((cluster.now.as_nanos() / 1_000_000 + 7).min(end));
                let is_open = handed.ends_at().is_some_and(|until| cluster.now < until);
                prop_assert!(!is_open || cluster.open().is_empty(), "beside what was left open");
            }
            let in_time = cluster.now + Duration::from_millis(20) <= handed.ends_at().unwrap();
            prop_assert_eq!(cluster.resume(1, &handed, Some(after)).is_ok(), in_time);
            if !in_time {
                // The shell has shut what was left open.
                cluster.start(1);
            }
            cluster.cut.clear();
            for _ in 0..rest / 10 {
                cluster.run_to(cluster.now.as_nanos() / 1_000_000 + 10);
                prop_assert!(cluster.open().len() < 2);
                opened.extend(cluster.open());
            }
        }
        let mut by_life: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (_, _, action) in cluster.log.iter().filter(|(_, who, _)| *who == 1) {
            if let Action::SendBeat { bytes, link, .. } = action
                && *link == LinkId(0)
                && let Ok(beat) = Beat::parse(bytes)
            {
                by_life.entry(beat.incarnation.0).or_default().push(beat.seq);
            }
        }
        prop_assert!(by_life.values().all(|sequences| rises(sequences)));
    }
}
