//! Runs one scenario: waits for a steady cluster, does the deeds at their times, gathers what was seen.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use super::clock;
use super::error::Error;
use super::observe::{FRESH, Live};
use super::process::Processes;
use super::record::{Deed, NodeRecord, Observers, Record};
use super::topology::Kind;
use super::world::{Cast, Plan, World};
use crate::fault::{Deed as Real, Fault};
use crate::scenario::Scenario;
use crate::spans::Spans;

/// How long one node alone must have held the VIP before anything is done to it.
const STEADY: Duration = Duration::from_secs(2);
/// How long a cluster may take to get there.
const PATIENCE: Duration = Duration::from_secs(25);
/// Between two looks of those who look on.
const TICK: Duration = Duration::from_millis(50);

/// The phase that a seed gives a run: 0 for seed 0, else up to a second, so that repeated runs meet timers
/// of the cluster at different moments. In nanoseconds.
pub fn phase(seed: u64) -> u64 {
    // Multiplication by an odd constant spreads neighbouring seeds; the high bits are the mixed ones.
    (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 1000 * 1_000_000
}

/// Looks on while a scenario runs.
pub trait Spectator {
    /// About twenty times a second.
    fn look(&mut self, world: &World, live: &Live);
    /// The cluster is steady, and the scenario begins when this returns.
    fn ready(&mut self, holder: usize);
    /// The scenario has begun at `at`.
    fn begun(&mut self, at: u64);
    /// Something was done.
    fn done(&mut self, deed: &Deed);
}

/// Nobody looks on.
#[derive(Debug, Default)]
pub struct Nobody;

impl Spectator for Nobody {
    fn look(&mut self, _: &World, _: &Live) {}
    fn ready(&mut self, _: usize) {}
    fn begun(&mut self, _: u64) {}
    fn done(&mut self, _: &Deed) {}
}

/// Makes a world, runs `scenario` in it and ends it; `then` sees the world before it vanishes.
///
/// # Errors
/// When the world fails, or the cluster never becomes steady.
pub fn run(
    scenario: &Scenario,
    plan: Plan,
    processes: &Processes,
    spectator: &mut dyn Spectator,
    then: impl FnOnce(&World) -> Result<(), Error>,
) -> Result<Record, Error> {
    let mut world = World::start(plan, processes)?;
    let observers = Observers::start(&world)?;
    let record = play(scenario, &mut world, observers, spectator);
    let kept = then(&world);
    world.end();
    let record = record?;
    kept?;
    Ok(record)
}

fn play(
    scenario: &Scenario,
    world: &mut World,
    observers: Observers,
    spectator: &mut dyn Spectator,
) -> Result<Record, Error> {
    let holder = wait_until_steady(world, &observers.live, spectator)?;
    let cast = world.cast(holder)?;
    spectator.ready(holder);
    let names = world.topology.node_hosts().map(|host| NodeRecord { name: host.name.clone(), ..NodeRecord::default() });
    let mut record = Record {
        nodes: names.collect(),
        first_holder: holder,
        shift: world.plan.shift,
        begin: clock::now(),
        ..Record::default()
    };
    spectator.begun(record.begin);

    let mut pauses = Pauses::default();
    for step in scenario.course() {
        wait_until(record.begin + record.shift + step.at_ms * 1_000_000, world, &observers.live, spectator);
        let before = clock::now();
        world.apply(step.fault, cast)?;
        // A fault counts from when it may have begun to bite, a repair from when it was complete.
        let repair = step.fault.is_repair();
        let at = if repair { clock::now() } else { before };
        pauses.note(step.fault, cast, at);
        if record.deeds.last().is_none_or(|last: &Deed| last.label != step.label) {
            let deed = Deed { at, label: step.label, repair };
            spectator.done(&deed);
            record.deeds.push(deed);
        }
    }
    wait_until(record.begin + record.shift + scenario.lasts_ms * 1_000_000, world, &observers.live, spectator);
    record.end = clock::now();
    // What is on its way arrives before the observers end.
    thread::sleep(Duration::from_millis(100));
    for (node, spans) in pauses.finish(record.end) {
        if let Some(node) = record.nodes.get_mut(node) {
            node.paused = spans;
        }
    }
    observers.finish(world, &mut record)?;
    Ok(record)
}

fn wait_until(until: u64, world: &World, live: &Live, spectator: &mut dyn Spectator) {
    loop {
        let left = Duration::from_nanos(until.saturating_sub(clock::now()));
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(TICK));
        spectator.look(world, live);
    }
}

/// The node that alone named the VIP just now and answered the first client just now.
fn sole_holder(live: &Live) -> Option<usize> {
    let now = clock::now();
    let [holder] = live.holders(now)[..] else { return None };
    let answered = live.last_answer(0).is_some_and(|(at, node)| now.saturating_sub(at) < FRESH && node == holder);
    answered.then_some(holder)
}

fn wait_until_steady(world: &World, live: &Live, spectator: &mut dyn Spectator) -> Result<usize, Error> {
    let begin = clock::now();
    let mut held: Option<(usize, u64)> = None;
    loop {
        let now = clock::now();
        held = match (sole_holder(live), held) {
            (Some(holder), Some((same, since))) if holder == same => Some((same, since)),
            (Some(holder), _) => Some((holder, now)),
            (None, _) => None,
        };
        match held {
            Some((holder, since)) if now - since > nanos(STEADY) => return Ok(holder),
            _ => {}
        }
        let surprises = world.surprises();
        if !surprises.is_empty() || now - begin > nanos(PATIENCE) {
            let seen = if surprises.is_empty() { describe(world, live) } else { surprises.join("; ") };
            return Err(Error::NotSteady { waited_s: (now - begin) / 1_000_000_000, seen });
        }
        thread::sleep(TICK);
        spectator.look(world, live);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What is to be seen of a cluster that does not settle.
fn describe(world: &World, live: &Live) -> String {
    let speaking = live.holders(clock::now());
    let mut lines = Vec::new();
    for (node, agent) in world.agents.iter().enumerate() {
        let speaks = speaking.contains(&node);
        let log = super::process::tail(&agent.log());
        let (gate, address) = (live.gate(node), live.address(node));
        lines.push(format!("node {}: gate open {gate}, address {address}, speaks {speaks}; log:\n{log}", node + 1));
    }
    lines.join("\n")
}

/// When which machine stood still.
#[derive(Default)]
struct Pauses {
    since: BTreeMap<usize, u64>,
    spans: BTreeMap<usize, Vec<(u64, u64)>>,
}

impl Pauses {
    fn note(&mut self, fault: Fault, cast: Cast, at: u64) {
        let nodes = |who| {
            let kinds = cast.kinds(who).into_iter();
            kinds.filter_map(|kind| if let Kind::Node(node) = kind { Some(node) } else { None })
        };
        match fault {
            Fault::Pause { who } | Fault::Real(Real::PowerOff { who }) => {
                self.since.extend(nodes(who).map(|node| (node, at)));
            }
            Fault::Resume { who } | Fault::Real(Real::PowerOn { who }) => {
                for (node, since) in nodes(who).filter_map(|node| self.since.remove_entry(&node)).collect::<Vec<_>>() {
                    self.spans.entry(node).or_default().push((since, at));
                }
            }
            _ => {}
        }
    }

    fn finish(mut self, end: u64) -> BTreeMap<usize, Spans> {
        for (node, since) in self.since {
            self.spans.entry(node).or_default().push((since, end));
        }
        self.spans.into_iter().map(|(node, pairs)| (node, Spans::from_pairs(pairs))).collect()
    }
}
