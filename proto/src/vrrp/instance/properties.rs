//! What holds after any list of deeds, and what several machines do together when nobody but VRRP is asked.

use super::*;
use crate::id::Vrid;
use alloc::vec;
use core::net::Ipv4Addr;
use proptest::prelude::*;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn address(node: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, node))
}

fn params(version: VrrpVersion, priority: u8, preempt: bool, preempt_delay_ms: u64) -> Params {
    Params {
        version,
        vrid: Vrid::new(51).unwrap(),
        ipv6: false,
        priority: Priority(priority),
        advert_int: Duration::from_secs(1),
        preempt,
        preempt_delay: Duration::from_millis(preempt_delay_ms),
        addresses: vec![VIP],
        auth_pass: None,
        auth_type: AuthType::Pass,
        hmac: None,
        election: crate::settings::ElectionOptions::default(),
    }
}

fn any_params() -> impl Strategy<Value = Params> {
    let version = prop_oneof![Just(VrrpVersion::V2), Just(VrrpVersion::V3)];
    let delay = prop_oneof![Just(0), 1u64..20_000];
    (version, any::<u8>(), any::<bool>(), delay, any::<bool>()).prop_map(|(v, p, preempt, delay, header)| {
        let auth_pass = header.then_some(*b"sesame\0\0");
        Params { auth_pass, auth_type: AuthType::Ah, ..params(v, p, preempt, delay) }
    })
}

#[derive(Debug, Clone)]
enum Op {
    Startup,
    Shutdown,
    BecomeMaster,
    Resign,
    Timer,
    Priority(u8),
    Hear { node: u8, priority: u8, interval_s: u64, vrid: u8, sequence: u32 },
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => Just(Op::Startup),
        1 => Just(Op::Shutdown),
        2 => Just(Op::BecomeMaster),
        2 => Just(Op::Resign),
        8 => Just(Op::Timer),
        2 => any::<u8>().prop_map(Op::Priority),
        8 => (1u8..5, any::<u8>(), 1u64..4, 50u8..53, 0u32..40)
            .prop_map(|(node, priority, interval_s, vrid, sequence)| Op::Hear { node, priority, interval_s, vrid, sequence }),
    ]
}

fn carry_out(instance: &mut Instance, now: Instant, op: &Op) -> Vec<Output> {
    match *op {
        Op::Startup => instance.startup(now),
        Op::Shutdown => return instance.shutdown(),
        Op::BecomeMaster => return instance.become_master(now),
        Op::Resign => instance.resign(now),
        Op::Timer => return instance.on_timer(now),
        Op::Priority(priority) => instance.set_priority(now, Priority(priority)),
        Op::Hear { node, priority, interval_s, vrid, sequence } => {
            let auth = match instance.advertisement().auth {
                Auth::Header { .. } => Auth::Header { sequence },
                other => other,
            };
            let advert = Advertisement {
                auth,
                priority: Priority(priority),
                advert_int: Duration::from_secs(interval_s),
                vrid: Vrid::new(vrid).unwrap(),
                ..instance.advertisement()
            };
            return instance.on_advertisement(now, address(node), address(2), &advert);
        }
    }
    Vec::new()
}

proptest! {
    #[test]
    fn no_deed_breaks_the_machine(params in any_params(), ops in proptest::collection::vec((0u64..3000, any_op()), 1..60)) {
        let mut instance = Instance::new(params);
        let mut now = Instant::from_nanos(1_000_000_000);
        // The greatest number heard or sent, and those that were heard.
        let (mut last, mut heard) = (0, Vec::new());
        for (wait_ms, op) in ops {
            now += Duration::from_millis(wait_ms);
            let before = instance.clone();
            let outputs = carry_out(&mut instance, now, &op);

            let changed = before.is_master() != instance.is_master();
            let may_change = matches!(op, Op::BecomeMaster | Op::Resign | Op::Shutdown);
            prop_assert!(!changed || may_change, "only the caller makes and unmakes a master");
            if outputs.iter().any(|o| matches!(o, Output::Discarded { .. })) {
                prop_assert_eq!(&instance, &before, "what is discarded changes nothing");
            }
            let discarded = outputs.iter().any(|o| matches!(o, Output::Discarded { .. }));
            let is_header = matches!(before.advertisement().auth, Auth::Header { .. });
            if let Op::Hear { sequence, .. } = op
                && is_header && !discarded && before.state() != State::Initialize
            {
                prop_assert!(sequence >= last && !heard.contains(&sequence), "{} after {}, {:?}", sequence, last, heard);
                last = sequence;
                heard.push(sequence);
            }
            for output in &outputs {
                if let Output::Advertise(Advertisement { auth: Auth::Header { sequence }, .. }) = output {
                    prop_assert!(*sequence > last, "{} is sent after {}", sequence, last);
                    last = *sequence;
                }
            }
            if outputs.iter().any(|o| matches!(o, Output::Advertise(a) if a.priority != Priority::RESIGN)) {
                prop_assert!(instance.is_master(), "only a master advertises");
            }
            if let Some(deadline) = instance.next_deadline() {
                let mut later = instance.clone();
                later.on_timer(deadline);
                prop_assert!(later.next_deadline().is_none_or(|next| next > deadline), "a deadline that is served goes away");
            }
            if instance.election(now) == Election::Won {
                let backup = matches!(instance.state(), State::Backup { .. });
                prop_assert!(backup, "only a backup wins");
            }
        }
    }
}

/// Some nodes on one wire without loss or delay, each of which does at once what VRRP says.
struct Wire(Vec<Instance>);

impl Wire {
    fn deliver(&mut self, now: Instant, mut queue: Vec<(usize, Output)>) {
        while let Some((sender, output)) = queue.pop() {
            match output {
                Output::Advertise(advert) => {
                    for to in (0..self.0.len()).filter(|to| *to != sender) {
                        let (from, own) = (address(sender as u8 + 1), address(to as u8 + 1));
                        let heard = self.0[to].on_advertisement(now, from, own, &advert);
                        queue.extend(heard.into_iter().map(|output| (to, output)));
                    }
                }
                Output::HigherSeen { .. } => self.0[sender].resign(now),
                Output::LowerSeen { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn run_until(&mut self, mut now: Instant, end: Instant) {
        while now < end {
            for node in 0..self.0.len() {
                let mut outputs = self.0[node].on_timer(now);
                if self.0[node].election(now) == Election::Won {
                    outputs.extend(self.0[node].become_master(now));
                }
                self.deliver(now, outputs.into_iter().map(|o| (node, o)).collect());
            }
            now += Duration::from_millis(1);
        }
    }

    fn masters(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|node| self.0[*node].is_master()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn on_one_wire_there_is_one_master_and_the_best_one_with_preemption(
        version in prop_oneof![Just(VrrpVersion::V2), Just(VrrpVersion::V3)],
        priorities in proptest::collection::vec(1u8..=255, 2..5),
        first in any::<prop::sample::Index>(),
    ) {
        let mut wire = Wire(priorities.iter().map(|p| Instance::new(params(version, *p, true, 0))).collect());
        // One is Master already; the others join later.
        let first = first.index(priorities.len());
        wire.0[first].startup(Instant::BOOT);
        wire.0[first].become_master(Instant::BOOT);
        let (join, end) = (Instant::from_nanos(2_500_000_000), Instant::from_nanos(10_000_000_000));
        wire.run_until(Instant::BOOT, join);
        wire.0.iter_mut().for_each(|node| node.startup(join));
        wire.run_until(join, end);
        let masters = wire.masters();
        prop_assert_eq!(masters.len(), 1, "{:?} are master of {:?}", masters, priorities);
        prop_assert_eq!(priorities.get(masters[0]), priorities.iter().max());
    }
}
