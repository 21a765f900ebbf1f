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
use crate::netns::record::Record;
use crate::netns::runner::{self, Nobody};
use crate::netns::world::{Burden, Plan};
use crate::outcome::Outcome;
use crate::scenario::{ONE, PLAIN, Scenario, Shape};
use crate::spans::millis;
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
    /// Rounds in which the machine itself stood still for more than [`STALL_MS`] after everything was healed: how soon
    /// service was back says nothing there.
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
        let stalled = stalled_after_heal(&run.record);
        report.stalled_rounds += u64::from(stalled);
        run.outcome.violations.extend(late_or_wrong(&run.outcome, stalled, options));
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
    report.violations.extend(too_many_stalls(&report));
    Ok(report)
}

/// Whether the machine stood still for too long between the last repair and the end.
fn stalled_after_heal(record: &Record) -> bool {
    let healed = record.deeds.iter().rev().find(|deed| deed.repair).map_or(record.begin, |deed| deed.at);
    millis(record.canary.within(healed, record.end).longest()) > STALL_MS
}

/// A soak most of whose rounds were not judged by time has not shown that service comes back.
fn too_many_stalls(report: &Report) -> Option<Violation> {
    let (stalled, rounds) = (report.stalled_rounds, report.rounds);
    let what = format!("the machine stood still in {stalled} of {rounds} rounds: I19 is not shown");
    (2 * stalled > rounds).then(|| Violation { round: rounds, what, course: Vec::new() })
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
        .with_shape(&options.shape)
        .with_slack(options.slack)
}

/// I19: once everything is healed somebody holds the VIP within the lease (with etcd two) and two seconds, unless the machine
/// `stalled`; and the preferred node does at the end, whatever happened.
fn late_or_wrong(outcome: &Outcome, stalled: bool, options: &Options) -> Vec<String> {
    let mut breaches = Vec::new();
    // etcd's members elect a leader first, and a key whose holder died meanwhile has to stand still then.
    let leases = if options.shape.etcd { 2 } else { 1 };
    let limit = (leases * options.shape.lease_ms + 2000).saturating_mul(options.slack);
    #[allow(clippy::cast_precision_loss, reason = "limits are small")]
    let limit = limit as f64;
    if let Some(late) = outcome.return_ms.last().filter(|ms| !stalled && **ms > limit) {
        breaches.push(format!("a client was answered only {late} ms after everything was healed, limit {limit} (I19)"));
    }
    if outcome.final_holder != "n1" {
        breaches.push(format!("{} holds the VIP in the end, n1 should (I19)", outcome.final_holder));
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::record::Deed;
    use crate::spans::Spans;

    fn options() -> Options {
        Options {
            time: Duration::ZERO,
            rounds: 1,
            seed: 0,
            first: 0,
            shape: Shape::PAIR,
            burden: Burden::default(),
            slack: 1,
            bin_dir: PathBuf::new(),
            room: PathBuf::new(),
            keep_logs: None,
        }
    }

    #[test]
    fn a_stall_excuses_a_late_return_and_never_the_wrong_holder() {
        let late = |final_holder: &str| Outcome {
            return_ms: vec![0.0, 2600.0],
            final_holder: final_holder.to_owned(),
            ..Outcome::default()
        };
        let count = |outcome: &Outcome, stalled| late_or_wrong(outcome, stalled, &options()).len();
        assert_eq!((count(&late("n1"), false), count(&late("n1"), true)), (1, 0));
        assert_eq!((count(&late("n2"), false), count(&late("n2"), true)), (2, 1));
        // Two leases of 2 s and two seconds.
        let etcd = |ms| Outcome { return_ms: vec![ms], ..late("n1") };
        let options = Options { shape: Shape::PAIR.with_etcd(), ..options() };
        let breaches = [5900.0, 6100.0].map(|ms| late_or_wrong(&etcd(ms), false, &options).len());
        assert_eq!(breaches, [0, 1]);
    }

    #[test]
    fn a_stall_counts_only_after_the_heal() {
        const MS: u64 = 1_000_000;
        let stalled = |from: u64, to: u64| {
            let deed = |at, repair| Deed { at: at * MS, label: "", repair };
            let canary = Spans::from_pairs(vec![(from * MS, to * MS)]);
            let deeds = vec![deed(1000, false), deed(2000, true)];
            stalled_after_heal(&Record { deeds, canary, end: 9000 * MS, ..Record::default() })
        };
        assert_eq!((stalled(1000, 1900), stalled(1900, 2050), stalled(3000, 3150)), (false, false, true));
    }

    #[test]
    fn a_soak_that_was_mostly_not_judged_by_time_fails() {
        let fails =
            |stalled_rounds, rounds| too_many_stalls(&Report { stalled_rounds, rounds, ..Report::default() }).is_some();
        assert_eq!((fails(0, 0), fails(2, 4), fails(3, 4), fails(1, 1)), (false, false, true, true));
    }
}
