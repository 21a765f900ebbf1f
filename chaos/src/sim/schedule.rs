//! The course of one history, drawn from its seed: what goes wrong, when, and for how long.

use super::fault::{Deed, Fault};
use super::network::{MS, Path, S, US, Weather};
use super::plan::{Mode, Plan};
use super::rng::Rng;

/// What kind of history it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing goes wrong (I20).
    Calm,
    /// One agent is stopped in good order, and nothing else happens (I21).
    Handover,
    /// All lose their references, and nothing else happens (I16).
    ReferencesGone,
    /// Anything.
    Storm,
}

/// The course.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Which kind.
    pub kind: Kind,
    /// In the order of time; the last is [`Fault::Heal`] in a storm.
    pub deeds: Vec<Deed>,
    /// When everything is repaired, or when the cluster has to be steady where nothing goes wrong.
    pub healed_at: u64,
    /// The last look.
    pub end: u64,
    /// Pauses between two steps of a process, in parts per million of the steps.
    pub pauses: u32,
}

impl Schedule {
    /// Drawn from the seed's stream.
    pub fn draw(rng: &mut Rng, plan: &Plan) -> Self {
        let kind = match rng.below(100) {
            0..=2 => Kind::Calm,
            3..=5 => Kind::Handover,
            6..=7 if plan.references => Kind::ReferencesGone,
            _ => Kind::Storm,
        };
        let steady = 5 * S + plan.preempt_delay_ms * MS;
        let mut schedule = Schedule { kind, deeds: Vec::new(), healed_at: steady, end: steady + 3 * S, pauses: 0 };
        match kind {
            Kind::Calm => {}
            // The host is found when it is done: whoever holds then.
            Kind::Handover => schedule.push(steady + S, Fault::Terminate(usize::MAX)),
            Kind::ReferencesGone => {
                for host in 0..plan.agents {
                    schedule.push(steady, Fault::Reference { host, reaches: false });
                }
            }
            Kind::Storm => schedule.storm(rng, plan),
        }
        schedule
    }

    fn push(&mut self, at: u64, fault: Fault) {
        self.deeds.push(Deed { at, fault });
    }

    fn storm(&mut self, rng: &mut Rng, plan: &Plan) {
        let begin = if rng.chance(200_000) { 200 * MS } else { 2 * S };
        let until = begin + rng.range(3, 9) * S;
        if plan.mode != Mode::Unarbitrated {
            self.pauses = *rng.pick(&[0, 500, 3_000, 10_000]).unwrap_or(&0);
        }
        for _ in 0..rng.range(1, 10) {
            let at = begin + rng.below(until - begin);
            let lasts = rng.log_range(5 * MS, 4 * S);
            self.trouble(rng, plan, at, (at + lasts).min(until));
        }
        self.push(until, Fault::Heal);
        self.deeds.sort_by_key(|deed| deed.at);
        self.healed_at = until;
        let lease_max = u64::try_from(plan.timing.lease_max.as_nanos()).unwrap_or(0);
        let moves = if plan.preempt { 2 * S + S / 2 + plan.preempt_delay_ms * MS } else { S / 2 };
        let vrrp = if plan.mode == Mode::Unarbitrated { S } else { 0 };
        self.end = until + lease_max + 2 * S + moves + vrrp;
    }

    fn both(&mut self, at: u64, until: u64, fault: Fault, repair: Fault) {
        self.push(at, fault);
        self.push(until, repair);
    }

    fn cut(&mut self, at: u64, until: u64, ends: (usize, usize), path: Option<Path>) {
        let (from, to) = ends;
        self.both(at, until, Fault::Cut { from, to, path, cut: true }, Fault::Cut { from, to, path, cut: false });
    }

    fn trouble(&mut self, rng: &mut Rng, plan: &Plan, at: u64, until: u64) {
        let agent = pick(rng, plan.agents);
        let host = pick(rng, plan.hosts);
        let other = (host + 1 + pick(rng, plan.hosts - 1)) % plan.hosts;
        match rng.below(20) {
            0 | 1 => {
                // Every line between two.
                self.cut(at, until, (host, other), None);
                self.cut(at, until, (other, host), None);
            }
            2 => self.cut(at, until, (host, other), None),
            3 => {
                let path = rng.pick(&[Path::Lan, Path::Link(0), Path::Link(1), Path::Witness]).copied();
                self.cut(at, until, (host, other), path);
                if rng.chance(500_000) {
                    self.cut(at, until, (other, host), path);
                }
            }
            4 | 5 => self.isolate(rng, plan, agent, (at, until)),
            6 | 7 if plan.mode != Mode::Unarbitrated => {
                let weather = bad_weather(rng);
                let fair = Weather::FAIR;
                for (from, to) in [(host, other), (other, host)] {
                    self.both(
                        at,
                        until,
                        Fault::Weather { from, to, weather },
                        Fault::Weather { from, to, weather: fair },
                    );
                }
            }
            6..=9 => self.both(at, until, Fault::Stop(host), Fault::Continue(host)),
            10 => self.both(at, until, Fault::Pause(agent), Fault::Continue(agent)),
            11 | 12 => {
                let guardian = rng.chance(500_000) && host < plan.agents;
                self.both(at, until, Fault::Kill { host, guardian }, Fault::Start(host));
                if rng.chance(250_000) {
                    self.push(at, Fault::LoseRecord(host));
                }
            }
            13 => self.both(at, until, Fault::PowerOff(host), Fault::Start(host)),
            14 => self.both(at, until, Fault::Terminate(agent), Fault::Start(agent)),
            15 if plan.references => self.references(rng, plan, agent, (at, until)),
            15 | 16 => self.both(
                at,
                until,
                Fault::Carrier { host: agent, up: false },
                Fault::Carrier { host: agent, up: true },
            ),
            17 => self.both(at, until, Fault::Disk { host, on: true }, Fault::Disk { host, on: false }),
            18 => self.both(
                at,
                until,
                Fault::Netlink { host: agent, on: true },
                Fault::Netlink { host: agent, on: false },
            ),
            _ if rng.chance(500_000) => self.push(at, Fault::ForeignClaim(agent)),
            _ => self.both(
                at,
                until,
                Fault::GateTest { host: agent, on: true },
                Fault::GateTest { host: agent, on: false },
            ),
        }
    }

    fn isolate(&mut self, rng: &mut Rng, plan: &Plan, agent: usize, span: (u64, u64)) {
        let (at, until) = span;
        for peer in (0..plan.hosts).filter(|peer| *peer != agent) {
            self.cut(at, until, (agent, peer), None);
            self.cut(at, until, (peer, agent), None);
        }
        if rng.chance(500_000) {
            let fault = |reaches| Fault::Reference { host: agent, reaches };
            self.both(at, until, fault(false), fault(true));
        }
    }

    fn references(&mut self, rng: &mut Rng, plan: &Plan, agent: usize, span: (u64, u64)) {
        let all = rng.chance(300_000);
        for host in (0..plan.agents).filter(|host| all || *host == agent) {
            let fault = |reaches| Fault::Reference { host, reaches };
            self.both(span.0, span.1, fault(false), fault(true));
        }
    }
}

fn pick(rng: &mut Rng, count: usize) -> usize {
    usize::try_from(rng.below(u64::try_from(count).unwrap_or(1))).unwrap_or(0)
}

fn bad_weather(rng: &mut Rng) -> Weather {
    let spread = rng.log_range(500 * US, 3 * S);
    Weather {
        least: 50 * US,
        spread,
        loss: *rng.pick(&[0, 10_000, 300_000]).unwrap_or(&0),
        twice: *rng.pick(&[0, 50_000, 300_000]).unwrap_or(&0),
    }
}
