//! One seed, from the first boot to the last look.

use super::fault::Deed;
use super::mutant::Mutant;
use super::network::{MS, S};
use super::oracle::Violation;
use super::plan::{Mode, Plan};
use super::rng::Rng;
use super::schedule::{Kind, Schedule};
use super::world::World;

/// So many looks in a row find all at rest.
const STEADY_LOOKS: u32 = 7;

/// What is simulated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Who decides; `None`: drawn from the seed, mostly two nodes and a witness.
    pub mode: Option<Mode>,
    /// What is taken out.
    pub mutant: Option<Mutant>,
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
    /// The longest time with two open, in nanoseconds.
    pub worst: u64,
    /// Nanoseconds during which no gate was, over all domains.
    pub none: u64,
    /// Whether P1 was promised.
    pub promised: bool,
    /// The history in words.
    pub trace: Vec<String>,
}

impl Outcome {
    /// Whether two held at once, or their frames were on the wire at once.
    pub fn is_dual(&self) -> bool {
        self.dual > 0 || self.violations.iter().any(|violation| violation.rule == "I1")
    }
}

/// One history before it is run: all that its seed says.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its seed.
    pub seed: u64,
    /// The cluster.
    pub plan: Plan,
    /// What happens to it.
    pub schedule: Schedule,
    /// The rest of the seed's stream: delays, losses, pauses.
    pub rng: Rng,
}

impl Case {
    /// Drawn from a seed.
    pub fn draw(seed: u64, options: &Options) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng, options.mode, options.mutant);
        let schedule = Schedule::draw(&mut rng, &plan);
        Case { seed, plan, schedule, rng }
    }

    /// Runs it.
    pub fn run(&self, trace: bool) -> Outcome {
        let (plan, schedule, seed) = (&self.plan, &self.schedule, self.seed);
        let mode = plan.mode;
        let mut world = World::new(plan.clone(), seed, self.rng.clone(), trace);
        world.boot();
        (world.pauses, world.twice) = (schedule.pauses, schedule.twice);
        world.oracle.punctual = schedule.is_punctual();
        world.set_deeds(schedule.deeds.clone());
        let mut end = schedule.end;
        if schedule.kind == Kind::Storm {
            world.run_until(schedule.healed_at);
            // A world in which nothing moves any more is not looked at for ever.
            let (step, mut steady) = (40 * MS * plan.pace, 0);
            while world.now < schedule.end {
                world.run_until((world.now + step).min(schedule.end));
                steady = if world.is_steady() { steady + 1 } else { 0 };
                if steady == STEADY_LOOKS && !schedule.patient {
                    end = world.now;
                    break;
                }
            }
        } else {
            world.run_until(schedule.healed_at);
            world.oracle.mark(schedule.healed_at);
            world.run_until(schedule.end);
        }
        world.judge(schedule);
        let mut violations = core::mem::take(&mut world.oracle.violations);
        violations.sort_by_key(|violation| violation.at);
        Outcome {
            seed,
            mode,
            hash: world.history.hash(),
            events: world.history.events,
            simulated: end,
            violations,
            dual: world.oracle.domains.iter().map(|domain| domain.dual).sum(),
            worst: world.oracle.domains.iter().map(|domain| domain.worst(end)).max().unwrap_or(0),
            none: world.oracle.domains.iter().map(|domain| domain.none).sum(),
            promised: mode != Mode::Unarbitrated && !plan.beyond,
            trace: world.history.trace.take().unwrap_or_default(),
        }
    }

    /// The deeds.
    pub fn deeds(&self) -> &[Deed] {
        &self.schedule.deeds
    }
}

/// Runs one seed.
pub fn run_seed(seed: u64, options: &Options) -> Outcome {
    Case::draw(seed, options).run(options.trace)
}

impl World {
    /// All hosts start within the first second.
    pub(super) fn boot(&mut self) {
        for host in 0..self.plan.hosts {
            let at = self.rng.below(S / 2);
            self.at(at, super::world::What::Start { host });
        }
    }
}
