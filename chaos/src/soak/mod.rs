//! The soak: round after round of faults drawn by a seed, several at a time, healed at random, then all healed;
//! each round is judged on its own.
//!
//! What must stay true: the seed and the round's number alone make its course, so that a round that failed can
//! be played again (`--first ROUND --rounds 1`).

mod draw;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::history::History;
use crate::netns::agent::Peer;
use crate::netns::error::{Error, io_error};
use crate::netns::process::Processes;
use crate::netns::runner::{self, Nobody};
use crate::netns::world::{Burden, Plan};
use crate::outcome::Outcome;
use crate::scenario::{ONE, PLAIN, Scenario, Shape};
use crate::{demo, scenario};
pub use draw::{Course, draw};

/// The machine kept threads of the agents' priority from running for so long, in milliseconds: a lease may lapse
/// for that alone.
pub const STALL_MS: f64 = 100.0;

/// What is asked of a soak.
#[derive(Debug, Clone)]
pub struct Options {
    /// For so long; a round that has begun is finished.
    pub time: Duration,
    /// At most so many rounds.
    pub rounds: u64,
    /// The seed of everything.
    pub seed: u64,
    /// The first round's number.
    pub first: u64,
    /// The cluster.
    pub shape: Shape,
    /// What burdens the machine.
    pub burden: Burden,
    /// Time limits are so many times as long.
    pub slack: u64,
    /// Where the programs are.
    pub bin_dir: PathBuf,
    /// Where the worlds may keep their files.
    pub room: PathBuf,
    /// Where logs and histories of failed rounds are kept, if anywhere.
    pub keep_logs: Option<PathBuf>,
}

/// One breach.
#[derive(Debug, Clone, Serialize)]
pub struct Violation {
    /// In this round.
    pub round: u64,
    /// What was not so.
    pub what: String,
    /// The round's course, in words.
    pub course: Vec<String>,
}

/// What a soak says in the end. Times are milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// `soak`.
    pub command: &'static str,
    /// The cluster.
    pub shape: String,
    /// The seed.
    pub seed: u64,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// Rounds played.
    pub rounds: u64,
    /// Faults done, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Two holders at one instant, in all rounds together.
    pub dual_holder_ms: f64,
    /// Frames behind a shut gate, in all rounds together.
    pub behind_shut_gate: usize,
    /// Changes of holder.
    pub changes: usize,
    /// The longest silence of a client.
    pub max_outage_ms: f64,
    /// The longest way from the last repair of a round to service.
    pub max_return_ms: f64,
    /// Rounds in which the machine itself stood still for more than [`STALL_MS`]: their time limits say nothing.
    pub stalled_rounds: u64,
    /// Every breach; empty is success.
    pub violations: Vec<Violation>,
}

/// Plays rounds; `tell` hears of each, with its outcome.
///
/// # Errors
/// When the world fails.
pub fn run(options: &Options, mut tell: impl FnMut(u64, &Course, &Outcome)) -> Result<Report, Error> {
    let processes = Processes::new();
    let begin = Instant::now();
    let (shape, seed) = (options.shape.name(), options.seed);
    let mut report = Report { command: "soak", shape, seed, ..Report::default() };
    let title = demo::title(Peer::Keepone);
    let mut round = options.first;
    while begin.elapsed() < options.time && report.rounds < options.rounds {
        let course = draw(options.seed, round, &options.shape);
        let scenario = as_scenario(&course, options);
        let room = options.room.join(format!("round-{round}"));
        let mut plan = Plan::new(&scenario, Peer::Keepone, options.shape, options.bin_dir.clone(), room);
        plan.burden = options.burden;
        let kept = options.keep_logs.as_ref().map(|directory| directory.join(format!("round-{round}")));
        let keep = |world: &crate::netns::world::World| kept.as_ref().map_or(Ok(()), |place| world.keep_logs(place));
        let record = runner::run(&scenario, plan, &processes, &mut Nobody, keep)?;
        let history = History::of(&record);
        let mut run = demo::judge(&scenario, Peer::Keepone, title.clone(), record);
        if run.outcome.machine_stall_ms > STALL_MS {
            report.stalled_rounds += 1;
        } else {
            run.outcome.violations.extend(late_or_wrong(&run.outcome, options));
        }
        let outcome = &run.outcome;
        for kind in &course.kinds {
            *report.faults.entry(kind).or_default() += 1;
        }
        report.rounds += 1;
        report.dual_holder_ms += outcome.dual_holder_ms;
        report.behind_shut_gate += outcome.behind_shut_gate;
        report.changes += history.changes();
        report.max_outage_ms = report.max_outage_ms.max(outcome.client_outage_ms);
        report.max_return_ms = report.max_return_ms.max(outcome.return_ms.last().copied().unwrap_or(0.0));
        let in_words = || course.steps.iter().map(|step| format!("{} ms: {:?}", step.at_ms, step.fault)).collect();
        let violations = outcome.violations.iter();
        report.violations.extend(violations.map(|what| Violation { round, what: what.clone(), course: in_words() }));
        if let Some(place) = kept {
            settle_logs(&place, outcome, &history)?;
        }
        tell(round, &course, outcome);
        round += 1;
    }
    report.seconds = begin.elapsed().as_secs();
    Ok(report)
}

/// Logs of a round that held go again; those of one that failed get its history.
fn settle_logs(place: &Path, outcome: &Outcome, history: &History) -> Result<(), Error> {
    if outcome.violations.is_empty() {
        return std::fs::remove_dir_all(place).map_err(io_error(format!("remove {}", place.display())));
    }
    let text = serde_json::to_string(history).unwrap_or_default();
    std::fs::write(place.join("history.json"), text).map_err(io_error(format!("write to {}", place.display())))
}

fn as_scenario(course: &Course, options: &Options) -> Scenario {
    // A round's course lives as long as the program: a few hundred octets each.
    let steps: &'static [scenario::Step] = Box::leak(course.steps.clone().into_boxed_slice());
    Scenario { name: "soak", what: "faults drawn by a seed", steps, lasts_ms: course.lasts_ms, demands: ONE, ..PLAIN }
        .with_lease(options.shape.lease_ms)
        .with_slack(options.slack)
}

/// I19: once everything is healed somebody holds the VIP within the lease and two seconds, and the preferred
/// node does at the end.
fn late_or_wrong(outcome: &Outcome, options: &Options) -> Vec<String> {
    let mut breaches = Vec::new();
    let limit = (options.shape.lease_ms + 2000).saturating_mul(options.slack);
    #[allow(clippy::cast_precision_loss, reason = "limits are small")]
    let limit = limit as f64;
    if let Some(late) = outcome.return_ms.last().filter(|ms| **ms > limit) {
        breaches.push(format!("a client was answered only {late} ms after everything was healed, limit {limit} (I19)"));
    }
    if outcome.final_holder != "n1" {
        breaches.push(format!("{} holds the VIP in the end, n1 should (I19)", outcome.final_holder));
    }
    breaches
}
