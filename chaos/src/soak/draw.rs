//! Draws the course of one round.

use crate::deed::{Deed, Forged, Thread, Weather};
use crate::fault::{Class, Fault, Network, Part, Way, Where, Who};
use crate::scenario::{Shape, Step};

/// The course of one round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// In the order of time.
    pub steps: Vec<Step>,
    /// The kinds of faults in it.
    pub kinds: Vec<&'static str>,
    /// Until the last look, in milliseconds.
    pub lasts_ms: u64,
}

/// When everything is healed, in milliseconds.
const HEALED: u64 = 15_000;
/// What the cluster has then until the last look: L_max, two seconds, references that must answer twice, and the
/// preferred node's way back.
const SETTLE: u64 = 9_000;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `from` up to, but not, `to`.
    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to.saturating_sub(from)).max(1)
    }

    fn one_of<T: Copy>(&mut self, choices: &[T], or: T) -> T {
        let place = usize::try_from(self.next() % u64::try_from(choices.len().max(1)).unwrap_or(1)).unwrap_or(0);
        choices.get(place).copied().unwrap_or(or)
    }
}

/// One fault: what begins it, what ends it, and whose processes it has to itself.
struct Drawn {
    kind: &'static str,
    begin: Vec<Fault>,
    end: Vec<Fault>,
    processes_of: Option<Who>,
}

fn drawn(kind: &'static str, begin: Fault) -> Drawn {
    Drawn { kind, begin: vec![begin], end: Vec::new(), processes_of: None }
}

impl Drawn {
    fn ends_with(mut self, end: Fault) -> Self {
        self.end.push(end);
        self
    }

    fn has(mut self, who: Who) -> Self {
        self.processes_of = Some(who);
        self
    }
}

fn cut(dice: &mut Dice) -> Drawn {
    let ends = [
        (Who::Master, Who::Backup),
        (Who::Backup, Who::Master),
        (Who::Master, Who::Others),
        (Who::Master, Who::Witnesses),
        (Who::Witnesses, Who::Master),
        (Who::Backup, Who::Witnesses),
        (Who::Witnesses, Who::Backup),
        (Who::Nodes, Who::Witnesses),
        (Who::Nodes, Who::Nodes),
    ];
    let (from, to) = dice.one_of(&ends, (Who::Master, Who::Backup));
    let way = dice.one_of(&[Way::There, Way::Both], Way::Both);
    let places = [
        Where::Everywhere,
        Where::Everywhere,
        Where::Heartbeats,
        Where::One(Network::Lan),
        Where::One(Network::Heartbeat(0)),
        Where::One(Network::Heartbeat(1)),
    ];
    let on = dice.one_of(&places, Where::Everywhere);
    let class = if dice.between(0, 6) == 0 { Class::Vrrp } else { Class::All };
    drawn("cut", Fault::Drop { from, to, way, on, class }).ends_with(Fault::Mend { from, to, way, on, class })
}

fn fault(dice: &mut Dice, hold_ms: u64, etcd: bool) -> Drawn {
    let node = dice.one_of(&[Who::Master, Who::Backup], Who::Master);
    let all: &[Who] = if etcd {
        &[Who::Master, Who::Backup, Who::Leader, Who::Follower]
    } else {
        &[Who::Master, Who::Backup, Who::Witness]
    };
    let anyone = dice.one_of(all, Who::Witness);
    let part = dice.one_of(&[Part::Worker, Part::Both, Part::Guardian], Part::Worker);
    let real = Fault::Real;
    match dice.between(0, 24) {
        0..=5 => cut(dice),
        6 => {
            let every_ms = dice.between(30, 700);
            let on = dice.one_of(&[Where::Everywhere, Where::Heartbeats], Where::Everywhere);
            drawn("flap", Fault::Flap { from: Who::Master, to: Who::Others, on, every_ms, for_ms: hold_ms })
        }
        7 => {
            let on = dice.one_of(&[Network::Lan, Network::Heartbeat(0), Network::Witness], Network::Lan);
            drawn("cable-out", Fault::LinkDown { who: node, on }).ends_with(Fault::LinkUp { who: node, on })
        }
        8 | 9 => drawn("kill", Fault::Kill { who: anyone, part }).ends_with(Fault::Start { who: anyone }).has(anyone),
        // A member of etcd that has lost its data is no member any more until an operator has it join anew.
        10 if etcd => drawn("kill", Fault::Kill { who: Who::Leader, part: Part::Both })
            .ends_with(Fault::Start { who: Who::Leader })
            .has(Who::Leader),
        10 => {
            let killed = drawn("kill-and-forget", Fault::Kill { who: Who::Witness, part: Part::Both });
            let forgets = killed.ends_with(real(Deed::Forget { who: Who::Witness }));
            forgets.ends_with(Fault::Start { who: Who::Witness }).has(Who::Witness)
        }
        11 | 12 => {
            let part = dice.one_of(&[Part::Worker, Part::Both], Part::Both);
            drawn("stop", Fault::Stop { who: anyone, part })
                .ends_with(Fault::Continue { who: anyone, part: Part::Both })
                .has(anyone)
        }
        13 => drawn("pause", Fault::Pause { who: anyone }).ends_with(Fault::Resume { who: anyone }).has(anyone),
        14 => drawn("power-off", real(Deed::PowerOff { who: anyone }))
            .ends_with(real(Deed::PowerOn { who: anyone }))
            .has(anyone),
        15 => drawn("terminate", Fault::Terminate { who: node }).ends_with(Fault::Start { who: node }).has(node),
        16 => {
            let (lost, doubled) = (dice.one_of(&[10, 100, 300], 10), dice.one_of(&[0, 50], 0));
            let (delay_ms, jitter_ms) = (dice.one_of(&[0, 20, 200], 0), dice.one_of(&[0, 10, 300], 0));
            let weather = Weather { lost, doubled, delay_ms, jitter_ms };
            let ends = [(Who::Master, Who::Others), (Who::Others, Who::Master), (Who::Nodes, Who::Witnesses)];
            let (from, to) = dice.one_of(&ends, (Who::Master, Who::Others));
            drawn("weather", real(Deed::Weather { from, to, weather }))
        }
        17 => drawn("stuck-thread", real(Deed::StopThread { who: node, thread: Thread::Decision, for_ms: hold_ms }))
            .has(node),
        18 => drawn("freeze", real(Deed::Freeze { who: node })).ends_with(real(Deed::Thaw { who: node })).has(node),
        // etcd ends when its disk is full, which is a kill; the nodes of its cluster keep nothing on theirs.
        19 if etcd => drawn("kill", Fault::Kill { who: Who::Follower, part: Part::Both })
            .ends_with(Fault::Start { who: Who::Follower })
            .has(Who::Follower),
        19 => drawn("disk-full", real(Deed::FillDisk { who: anyone })).ends_with(real(Deed::FreeDisk { who: anyone })),
        20 => {
            let (from, to, way, on, class) = (node, Who::Gateway, Way::Both, Where::One(Network::Lan), Class::All);
            drawn("reference-lost", Fault::Drop { from, to, way, on, class }).ends_with(Fault::Mend {
                from,
                to,
                way,
                on,
                class,
            })
        }
        21 => drawn("vip-removed", real(Deed::RemoveVip { who: node })),
        22 => drawn("crash", real(Deed::Crash { who: node })).has(node),
        _ => {
            let what = dice.one_of(&[Forged::Advertisement(254), Forged::Truncated], Forged::Truncated);
            drawn("forged", real(Deed::Forge { what, every_ms: 200, for_ms: hold_ms }))
        }
    }
}

/// Everything that ends every fault.
fn mended() -> [Fault; 9] {
    let (nodes, witnesses) = (Who::Nodes, Who::Witnesses);
    [
        Fault::Real(Deed::PowerOn { who: nodes }),
        Fault::Real(Deed::PowerOn { who: witnesses }),
        Fault::Resume { who: nodes },
        Fault::Resume { who: witnesses },
        Fault::Real(Deed::Thaw { who: nodes }),
        Fault::Real(Deed::FreeDisk { who: nodes }),
        Fault::Real(Deed::FreeDisk { who: witnesses }),
        Fault::Start { who: nodes },
        Fault::Heal,
    ]
}

/// The course of round `round` under `seed`.
pub fn draw(seed: u64, round: u64, shape: &Shape) -> Course {
    let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(round));
    let (mut steps, mut kinds, mut taken) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..dice.between(2, 6) {
        let at_ms = dice.between(500, 10_000);
        let hold_ms = dice.between(50, 5000);
        let fault = fault(&mut dice, hold_ms, shape.etcd);
        // Two hands on the same processes would undo each other's work.
        let twice = fault.processes_of.is_some_and(|who| taken.contains(&who));
        let nobody = shape.witnesses == 0 && format!("{:?}", fault.begin).contains("Witness");
        if twice || nobody {
            continue;
        }
        taken.extend(fault.processes_of);
        kinds.push(fault.kind);
        let step = |at_ms, fault, label| Step { at_ms, fault, label };
        steps.extend(fault.begin.into_iter().map(|begin| step(at_ms, begin, fault.kind)));
        steps.extend(fault.end.into_iter().map(|end| step(at_ms + hold_ms, end, "ends")));
    }
    steps.extend(mended().into_iter().map(|fault| Step { at_ms: HEALED, fault, label: "healed" }));
    steps.push(Step { at_ms: HEALED, fault: Fault::Start { who: Who::Witnesses }, label: "healed" });
    steps.sort_by_key(|step| step.at_ms);
    Course { steps, kinds, lasts_ms: HEALED + SETTLE + 2 * shape.lease_ms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn seed_and_round_make_the_course_and_nothing_else_does() {
        assert_eq!(draw(7, 3, &Shape::PAIR), draw(7, 3, &Shape::PAIR));
        assert_ne!(draw(7, 3, &Shape::PAIR), draw(7, 4, &Shape::PAIR));
        assert_ne!(draw(8, 3, &Shape::PAIR), draw(7, 3, &Shape::PAIR));
    }

    #[test]
    fn a_thousand_rounds_have_every_kind_and_every_course_ends_whole() {
        let mut kinds = BTreeSet::new();
        for round in 0..1000 {
            let course = draw(1, round, &Shape::PAIR);
            assert!(course.steps.is_sorted_by_key(|step| step.at_ms));
            let healed: Vec<Fault> =
                course.steps.iter().filter(|step| step.label == "healed").map(|step| step.fault).collect();
            assert_eq!(&healed[..9], &mended());
            assert!(course.steps.iter().all(|step| step.at_ms <= HEALED + 1), "nothing is done after the heal");
            kinds.extend(course.kinds);
        }
        assert_eq!(kinds.len(), 17, "{kinds:?}");
    }

    #[test]
    fn members_of_etcd_are_meant_by_their_roles_and_keep_their_data() {
        let (shape, mut seen) = (Shape::PAIR.with_etcd(), BTreeSet::new());
        for round in 0..1000 {
            for step in draw(1, round, &shape).steps {
                let words = format!("{:?}", step.fault);
                // The heal says Witnesses, and a cut may.
                assert!(
                    !words.contains("Forget") && !words.contains("who: Witness,") && !words.contains("who: Witness }"),
                    "{words}"
                );
                seen.extend(["Leader", "Follower"].into_iter().filter(|role| words.contains(role)));
            }
        }
        assert_eq!(seen.len(), 2, "{seen:?}");
    }
}
