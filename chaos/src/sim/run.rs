//! One seed, from the first boot to the last look.

use keepone_proto::decision::Role;

use super::ablation::Ablation;
use super::host::Machine;
use super::network::{MS, S};
use super::oracle::Violation;
use super::plan::{Mode, Plan};
use super::rng::Rng;
use super::schedule::{Kind, Schedule};
use super::world::World;

/// What is simulated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Who decides; `None`: drawn from the seed, mostly two nodes and a witness.
    pub mode: Option<Mode>,
    /// What is taken out.
    pub ablation: Option<Ablation>,
    /// Keep the history in words: [`Outcome::trace`].
    pub trace: bool,
}

/// What one history showed.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Who decided.
    pub mode: Mode,
    /// Of everything that happened; equal for equal seeds (I25).
    pub hash: u64,
    /// Events that the machines took.
    pub events: u64,
    /// Simulated nanoseconds.
    pub simulated: u64,
    /// The first violation of each invariant, in the order of time.
    pub violations: Vec<Violation>,
    /// Nanoseconds during which two gates of one domain were open.
    pub dual: u64,
    /// Nanoseconds during which no gate was, over all domains.
    pub none: u64,
    /// The history in words.
    pub trace: Vec<String>,
}

impl Outcome {
    /// Whether two held at once, or their frames were on the wire at once.
    pub fn is_dual(&self) -> bool {
        self.dual > 0 || self.violations.iter().any(|violation| violation.rule == "I1")
    }
}

/// Runs one seed.
pub fn run_seed(seed: u64, options: &Options) -> Outcome {
    let mut rng = Rng::new(seed);
    let plan = Plan::draw(&mut rng, options.mode, options.ablation);
    let schedule = Schedule::draw(&mut rng, &plan);
    let mode = plan.mode;
    let mut world = World::new(plan, seed, rng, options.trace);
    world.boot();
    world.pauses = schedule.pauses;
    world.set_deeds(schedule.deeds.clone());
    if schedule.kind == Kind::Storm {
        world.run_until(schedule.end);
    } else {
        world.run_until(schedule.healed_at);
        world.oracle.mark(schedule.healed_at);
        world.run_until(schedule.end);
    }
    world.judge(&schedule);
    let mut violations = core::mem::take(&mut world.oracle.violations);
    violations.sort_by_key(|violation| violation.at);
    Outcome {
        seed,
        mode,
        hash: world.history.hash(),
        events: world.history.events,
        simulated: schedule.end,
        violations,
        dual: world.oracle.domains.iter().map(|domain| domain.dual).sum(),
        none: world.oracle.domains.iter().map(|domain| domain.none).sum(),
        trace: world.history.trace.take().unwrap_or_default(),
    }
}

impl World {
    /// All hosts start within the first second.
    pub(super) fn boot(&mut self) {
        for host in 0..self.plan.hosts {
            let at = self.rng.below(S / 2);
            self.at(at, super::world::What::Start { host });
        }
    }

    /// The last look: liveness, stability, handover.
    pub(super) fn judge(&mut self, schedule: &Schedule) {
        let end = self.now;
        self.check_p2();
        match schedule.kind {
            Kind::Calm | Kind::ReferencesGone => self.judge_calm(schedule, end),
            Kind::Handover => self.judge_handover(end),
            Kind::Storm => {}
        }
        let handed = schedule.kind == Kind::Handover;
        for place in 0..self.plan.domains {
            self.judge_liveness(place, schedule, end, handed);
        }
        if let Some(at) = self.oracle.dual_alarm
            && schedule.kind != Kind::Storm
            && self.plan.mode != Mode::Unarbitrated
        {
            self.oracle.violated("D7", at, || "dual-master was raised, and there never were two".to_owned());
        }
    }

    /// I20, I16: nothing moves.
    fn judge_calm(&mut self, schedule: &Schedule, end: u64) {
        let rule = if schedule.kind == Kind::Calm { "I20" } else { "I16" };
        for place in 0..self.plan.domains {
            let Some(watch) = self.oracle.domains.get(place) else { continue };
            let (openings, gap) = (watch.openings, watch.longest_none);
            if openings > 0 || gap > 0 {
                self.oracle.violated(rule, end, || format!("{openings} openings, {} ms without a holder", gap / MS));
            }
        }
    }

    /// I21: E_tx + 4 RTT + 20 ms, and what timers and disks of this world may add.
    fn judge_handover(&mut self, end: u64) {
        let limit = u64::try_from(self.plan.timing.transmit.as_nanos()).unwrap_or(0) + (4 + 20) * MS + self.slowness();
        let gap = self.oracle.domains.first().map_or(0, |watch| watch.longest_none);
        if gap > limit {
            self.oracle.violated("I21", end, || format!("handover took {} ms, limit {} ms", gap / MS, limit / MS));
        }
    }

    /// I19: somebody holds, and the right one.
    fn judge_liveness(&mut self, place: usize, schedule: &Schedule, end: u64, handed: bool) {
        let lease_max = u64::try_from(self.plan.timing.lease_max.as_nanos()).unwrap_or(0);
        let vrrp = if self.plan.mode == Mode::Unarbitrated { S } else { 0 };
        let limit = schedule.healed_at.max(self.backlog) + lease_max + lease_max / 50 + 2 * S + vrrp;
        let first = self.oracle.domains.get(place).and_then(|watch| watch.first_open);
        if first.is_none_or(|first| first > limit) {
            let words = match first {
                Some(first) => format!("the first only {} ms after the heal", (first - schedule.healed_at) / MS),
                None => "nobody at all".to_owned(),
            };
            self.oracle.violated("I19", end, || format!("domain {place}: {words} holds"));
            return;
        }
        let Some(holder) = self.oracle.holder(end, place) else {
            let gates = self.oracle.describe(end, Plan::domain(place));
            self.oracle.violated("I19", end, || format!("domain {place}: not one holder at the end:{gates}"));
            return;
        };
        let best = (0..self.plan.agents)
            .filter(|host| self.is_able(*host))
            .max_by_key(|host| (self.plan.priority(*host, place), core::cmp::Reverse(*host)));
        let worse = best.is_some_and(|best| self.plan.priority(best, place) > self.plan.priority(holder, place));
        if worse && self.plan.preempt && !handed {
            self.oracle.violated("I19", end, || {
                format!("domain {place}: host {holder} holds at the end, {best:?} is better and may preempt")
            });
        }
        self.judge_words(place, holder, end);
    }

    /// What the agents say at the end is what is: the holder MASTER, with its addresses, the others not.
    fn judge_words(&mut self, place: usize, holder: usize, end: u64) {
        for number in 0..self.plan.agents {
            let Some(host) = self.hosts.get(number) else { continue };
            let Some(Machine::Agent(node)) = &host.machine else { continue };
            let Some((role, reason, _)) = node.role(Plan::domain(place)) else { continue };
            let addresses = host.kernels.get(place).is_some_and(|kernel| kernel.has_addresses(end));
            let mine = number == holder;
            if (role == Role::Master) != mine || addresses != mine {
                self.oracle.violated("I19", end, || {
                    format!(
                        "domain {place}: host {holder} holds at the end; host {number} says {role:?} ({reason}), addresses {addresses}"
                    )
                });
            }
        }
    }
}
