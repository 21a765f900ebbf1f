//! The course of one history, drawn from its seed: what goes wrong, when, and for how long.

use keepone_proto::settings::Policy;
use keepone_proto::time::nanos;

use super::fault::{Deed, Fault, Variant};
use super::moves;
use super::mutant::Mutant;
use super::network::{MS, Path, S, US, Weather};
use super::plan::{Mode, Plan};
use super::rng::Rng;
use super::swarm::{Swarm, Trouble};

/// Of the stream that draws reloads to another policy.
const POLICIES: u64 = 0x706f_6c69;

/// The stream of upgrades.
const UPGRADES: u64 = 0x7570_6772_6164_6573;

/// The stream of moves.
const MOVES: u64 = 0x6d6f_7665_7321;

/// What kind of history it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing goes wrong (I20).
    Calm,
    /// One agent is stopped in good order, and nothing else happens (I21).
    Handover,
    /// All lose their references, and some time later have them back; nothing else happens (I16).
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
    /// Look until the end even if the cluster is steady before.
    pub patient: bool,
    /// Pauses between two steps of a process, in parts per million of the steps.
    pub pauses: u32,
    /// How often an event comes twice (I24), in parts per million.
    pub twice: u32,
    /// What may happen.
    pub swarm: Swarm,
}

impl Schedule {
    /// Drawn from the seed's stream.
    pub fn draw(rng: &mut Rng, plan: &Plan) -> Self {
        let kind = match rng.below(100) {
            _ if plan.beyond => Kind::Storm,
            0 | 1 => Kind::Calm,
            2..=4 => Kind::Handover,
            5 if plan.references => Kind::ReferencesGone,
            _ => Kind::Storm,
        };
        let steady = 5 * S * plan.pace + plan.preempt_delay_ms * MS;
        let mut schedule = Schedule {
            kind,
            deeds: Vec::new(),
            healed_at: steady,
            end: steady + 3 * S * plan.pace,
            patient: rng.chance(120_000),
            pauses: 0,
            twice: *rng.pick(&[0, 5_000]).unwrap_or(&0),
            swarm: Swarm::default(),
        };
        match kind {
            Kind::Calm => {}
            // The host is found when it is done: whoever holds then.
            Kind::Handover => schedule.push(steady + S, Fault::Terminate(usize::MAX)),
            Kind::ReferencesGone => {
                let back = steady + rng.range(S, 3 * S) * plan.pace;
                for (at, reaches) in [(steady, false), (back, true)] {
                    for host in 0..plan.agents {
                        schedule.push(at, Fault::Reference { host, reaches });
                    }
                }
                schedule.end = back + 3 * S * plan.pace;
                schedule.patient = true;
            }
            Kind::Storm => schedule.storm(rng, plan),
        }
        schedule
    }

    fn push(&mut self, at: u64, fault: Fault) {
        self.deeds.push(Deed { at, fault });
    }

    fn storm(&mut self, rng: &mut Rng, plan: &Plan) {
        let lease_max = nanos(plan.timing.lease_max);
        let begin = rng.range(200 * MS, lease_max + S * plan.pace);
        let until = begin + rng.range(2, 6) * S * plan.pace;
        if plan.mode != Mode::Unarbitrated && !wants_deaf(plan) {
            self.pauses = *rng.pick(&[0, 500, 3_000, 10_000]).unwrap_or(&0);
        }
        self.healed_at = until;
        self.swarm = Swarm::draw(rng, |trouble| is_allowed(trouble, plan));
        for _ in 0..rng.range(1, 10) {
            let at = begin + rng.below(until - begin);
            let lasts = rng.log_range(5 * MS, 4 * S * plan.pace);
            let trouble = self.swarm.pick(rng);
            self.trouble(rng, plan, trouble, (at, (at + lasts).min(until)));
        }
        self.upgrades(rng, plan, (begin, until));
        if !plan.steps.is_empty() {
            let mut rng = Rng::new(rng.clone().next_u64() ^ MOVES);
            moves::deeds(&mut rng, plan, (begin, until)).into_iter().for_each(|(at, fault)| self.push(at, fault));
        }
        if wants_late(plan) {
            self.lateness(rng, plan, (begin, until));
        }
        self.deeds.sort_by_key(|deed| deed.at);
        self.part_freezes(plan);
        self.push(until, Fault::Heal);
        self.end = until + self.liveness_limit(plan) + plan.moves();
    }

    /// Agents whose program is replaced in place; of a stream of its own, so that what else is drawn does not hang on it.
    fn upgrades(&mut self, rng: &Rng, plan: &Plan, span: (u64, u64)) {
        let mut rng = Rng::new(rng.clone().next_u64() ^ UPGRADES);
        let wanted = plan.mutant.is_some_and(Mutant::is_of_upgrades);
        if !(wanted || rng.chance(250_000)) || plan.mode == Mode::Unarbitrated || wants_deaf(plan) {
            return;
        }
        for _ in 0..rng.range(1, 6) {
            let (host, dies) = (pick(&mut rng, plan.agents), rng.chance(100_000));
            let gap = rng.log_range(5 * MS, nanos(plan.timing.lease));
            self.push(span.0 + rng.below(span.1 - span.0), Fault::Upgrade { host, gap, dies });
        }
    }

    /// What a loan beside one's own takes (R10): requests for a lease that are under way for long while another agent gets
    /// it, and a voter of that one's which could not write then, and can when they come.
    fn lateness(&mut self, rng: &mut Rng, plan: &Plan, (begin, until): (u64, u64)) {
        for agent in 0..plan.agents {
            for other in (0..plan.agents).filter(|other| *other != agent) {
                let weather = Weather { spread: rng.log_range(20 * MS, S), ..Weather::FAIR };
                self.push(begin, Fault::Weather { from: agent, to: other, weather });
            }
            let mut at = begin;
            while at < until {
                let (fails, works) = (rng.log_range(50 * MS, S), rng.log_range(20 * MS, S));
                self.both(
                    (at, (at + fails).min(until)),
                    Fault::Disk { host: agent, on: true },
                    Fault::Disk { host: agent, on: false },
                );
                at += fails + works;
            }
        }
        let mut at = begin;
        while at < until {
            let (agent, gap) = (pick(rng, plan.agents), rng.log_range(20 * MS, S));
            self.both((at, (at + gap).min(until)), Fault::Terminate(agent), Fault::Start(agent));
            at += gap + rng.log_range(100 * MS, S);
        }
    }

    /// Whether nothing is late in it: lines are whole or cut, and processes run.
    pub fn is_punctual(&self) -> bool {
        self.pauses == 0 && self.deeds.iter().all(|deed| matches!(deed.fault, Fault::Cut { .. } | Fault::Heal))
    }

    /// I19: how long after the heal somebody has to hold.
    pub fn liveness_limit(&self, plan: &Plan) -> u64 {
        let lease_max = nanos(plan.timing.lease_max);
        let vrrp = if plan.mode == Mode::Unarbitrated { S } else { 0 };
        // What a foreign router said is believed until VRRP's timer has run out (D0).
        let foreign = self.deeds.iter().any(|deed| matches!(deed.fault, Fault::ForeignRouter { .. }));
        let foreign = if foreign { 4 * plan.advert_ms * MS } else { 0 };
        // A session's end is carried out up to half a second later, and the news of it may be lost.
        let sessions = if plan.sessions { S } else { 0 };
        // A generation opens once those before it are closed for L_max, by who may have to wait for L_max before.
        let moves = if plan.steps.is_empty() { 0 } else { 2 * lease_max + S * plan.pace };
        lease_max + lease_max / 50 + 2 * S * plan.pace + vrrp + foreign + sessions + moves
    }

    /// The allowance H is for one freeze at a time: two of a host are apart by more than a lease. And what a clock
    /// loses beyond H by several is a wrong rate, which is told.
    fn part_freezes(&mut self, plan: &Plan) {
        let within = if plan.beyond { u64::MAX } else { nanos(plan.timing.hidden_freeze) };
        let mut lost = vec![0; plan.hosts];
        let gap = 2 * nanos(plan.timing.lease_max) + S / 10;
        let mut last = vec![None; plan.hosts];
        self.deeds.retain(|deed| {
            let Fault::Freeze { host, lasts } = deed.fault else { return true };
            let (Some(last), Some(lost)) = (last.get_mut(host), lost.get_mut(host)) else { return false };
            let allowed = last.is_none_or(|last| deed.at > last + gap) && *lost + lasts <= within;
            if allowed {
                (*last, *lost) = (Some(deed.at + lasts), *lost + lasts);
            }
            allowed
        });
    }

    fn both(&mut self, span: (u64, u64), fault: Fault, repair: Fault) {
        self.push(span.0, fault);
        self.push(span.1, repair);
    }

    fn cut(&mut self, span: (u64, u64), ends: (usize, usize), path: Option<Path>) {
        let (from, to) = ends;
        self.both(span, Fault::Cut { from, to, path, cut: true }, Fault::Cut { from, to, path, cut: false });
    }

    fn trouble(&mut self, rng: &mut Rng, plan: &Plan, trouble: Trouble, span: (u64, u64)) {
        let (at, until) = span;
        let agent = pick(rng, plan.agents);
        let host = pick(rng, plan.hosts);
        let other = (host + 1 + pick(rng, plan.hosts - 1)) % plan.hosts;
        match trouble {
            Trouble::CutPair => {
                self.cut(span, (host, other), None);
                self.cut(span, (other, host), None);
            }
            Trouble::CutOneWay => self.cut(span, (host, other), None),
            Trouble::CutPath => {
                let path = rng.pick(&[Path::Lan, Path::Link(0), Path::Link(1), Path::Witness]).copied();
                self.cut(span, (host, other), path);
                if rng.chance(500_000) {
                    self.cut(span, (other, host), path);
                }
            }
            Trouble::Isolate => {
                // What it is to be alone for long shows late (I17).
                let until = if rng.chance(500_000) { self.healed_at } else { until };
                self.isolate(rng, plan, agent, (at, until));
            }
            Trouble::Weather => {
                let weather = bad_weather(rng);
                let fair = Weather::FAIR;
                for (from, to) in [(host, other), (other, host)] {
                    self.both(span, Fault::Weather { from, to, weather }, Fault::Weather { from, to, weather: fair });
                }
            }
            Trouble::Replay => {
                let ppm = *rng.pick(&[10_000, 100_000, 500_000]).unwrap_or(&10_000);
                self.both(span, Fault::Replay { ppm }, Fault::Replay { ppm: 0 });
            }
            Trouble::Stop => self.both(span, Fault::Stop(host), Fault::Continue(host)),
            Trouble::Pause => self.both(span, Fault::Pause(host), Fault::Continue(host)),
            Trouble::Freeze => {
                let longest = if plan.beyond { 2 * nanos(plan.timing.lease) } else { nanos(plan.timing.hidden_freeze) };
                let lasts = rng.log_range(MS, longest).min(self.healed_at.saturating_sub(at + MS));
                self.push(at, Fault::Freeze { host, lasts });
            }
            Trouble::Kill => {
                let guardian = rng.chance(500_000) && host < plan.agents;
                self.both(span, Fault::Kill { host, guardian }, Fault::Start(host));
            }
            Trouble::Amnesia => {
                let guardian = rng.chance(300_000) && host < plan.agents;
                // Keys of a store that are deleted by hand.
                if plan.mode == Mode::Store && rng.chance(500_000) {
                    self.push(at, Fault::LoseRecord(plan.agents));
                    return;
                }
                self.both(span, Fault::Kill { host, guardian }, Fault::Start(host));
                self.push(
                    at,
                    match rng.below(3) {
                        0 => Fault::LoseRecord(host),
                        1 => Fault::TearRecord(host),
                        _ => Fault::RollBackRecord(host),
                    },
                );
            }
            Trouble::PowerOff => self.both(span, Fault::PowerOff(host), Fault::Start(host)),
            Trouble::Terminate => self.both(span, Fault::Terminate(agent), Fault::Start(agent)),
            Trouble::Reload => {
                let mut variant = *rng.pick(&Variant::OTHERS).unwrap_or(&Variant::Usual);
                // Of a stream of its own: what else is drawn does not hang on it.
                if plan.policy == Policy::Degrade && Rng::new(rng.clone().next_u64() ^ POLICIES).chance(400_000) {
                    variant = Variant::OtherPolicy;
                }
                self.both(span, Fault::Reload { host, variant }, Fault::Reload { host, variant: Variant::Usual });
            }
            Trouble::References => self.references(rng, plan, agent, span),
            Trouble::Carrier => {
                self.both(span, Fault::Carrier { host: agent, up: false }, Fault::Carrier { host: agent, up: true });
            }
            Trouble::Disk => self.both(span, Fault::Disk { host, on: true }, Fault::Disk { host, on: false }),
            Trouble::Netlink => {
                self.both(span, Fault::Netlink { host: agent, on: true }, Fault::Netlink { host: agent, on: false });
            }
            Trouble::GateTest => {
                self.both(span, Fault::GateTest { host: agent, on: true }, Fault::GateTest { host: agent, on: false });
            }
            Trouble::Gate => {
                self.both(span, Fault::Gate { host: agent, on: true }, Fault::Gate { host: agent, on: false })
            }
            Trouble::Script => {
                // On one, or on all: then nobody may hold by a script without a weight.
                let all = rng.chance(300_000);
                for host in (0..plan.agents).filter(|host| all || *host == agent) {
                    self.both(span, Fault::Script { host, on: true }, Fault::Script { host, on: false });
                }
            }
            Trouble::ForeignClaim => self.push(at, Fault::ForeignClaim(agent)),
            Trouble::ForeignRouter => {
                let priority = rng.pick(&[1, 120, 254]).copied();
                self.both((at, until), Fault::ForeignRouter { priority }, Fault::ForeignRouter { priority: None });
            }
        }
    }

    fn isolate(&mut self, rng: &mut Rng, plan: &Plan, agent: usize, span: (u64, u64)) {
        // From all, or only from its peers: a witness may still be there.
        let others = if rng.chance(400_000) { plan.agents } else { plan.hosts };
        for peer in (0..others).filter(|peer| *peer != agent) {
            self.cut(span, (agent, peer), None);
            self.cut(span, (peer, agent), None);
        }
        if rng.chance(500_000) {
            let fault = |reaches| Fault::Reference { host: agent, reaches };
            self.both(span, fault(false), fault(true));
        }
    }

    fn references(&mut self, rng: &mut Rng, plan: &Plan, agent: usize, span: (u64, u64)) {
        let all = rng.chance(300_000);
        for host in (0..plan.agents).filter(|host| all || *host == agent) {
            let fault = |reaches| Fault::Reference { host, reaches };
            self.both(span, fault(false), fault(true));
        }
    }
}

/// Nothing but lines that are cut, mostly in one direction: who sends and hears no answer is not merely late (V8).
fn wants_deaf(plan: &Plan) -> bool {
    matches!(plan.mutant, Some(Mutant::DeafExtended | Mutant::ControlDeaf))
}

/// Voters that could not take an epoch when it was asked for, or are new to it, and requests that come late (R10).
fn wants_late(plan: &Plan) -> bool {
    matches!(plan.mutant, Some(Mutant::HolderLends | Mutant::ControlLate))
}

/// What this cluster's promise covers.
fn is_allowed(trouble: Trouble, plan: &Plan) -> bool {
    match trouble {
        _ if wants_deaf(plan) => matches!(trouble, Trouble::CutOneWay | Trouble::CutPath),
        _ if wants_late(plan) => {
            use Trouble::{Disk, Kill, PowerOff, Replay, Weather};
            matches!(trouble, Disk | Kill | PowerOff | Replay | Weather)
        }
        // What a generation is proven by is in the records.
        Trouble::Amnesia => plan.steps.is_empty() || plan.careless,
        Trouble::Freeze => plan.beyond || !plan.timing.hidden_freeze.is_zero(),
        Trouble::References => plan.references,
        Trouble::Script => plan.script.is_some(),
        // P2's bounds are for lines that are whole or cut, and for kernels that do as they are told.
        Trouble::Weather | Trouble::Replay | Trouble::Gate | Trouble::Reload | Trouble::ForeignRouter => {
            plan.mode != Mode::Unarbitrated
        }
        Trouble::CutPair
        | Trouble::CutOneWay
        | Trouble::CutPath
        | Trouble::Isolate
        | Trouble::Stop
        | Trouble::Pause
        | Trouble::Kill
        | Trouble::PowerOff
        | Trouble::Terminate
        | Trouble::Carrier
        | Trouble::Disk
        | Trouble::Netlink
        | Trouble::GateTest
        | Trouble::ForeignClaim => true,
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
        loss: *rng.pick(&[0, 10_000, 200_000, 400_000]).unwrap_or(&0),
        twice: *rng.pick(&[0, 50_000, 300_000]).unwrap_or(&0),
    }
}
