//! Many seeds, on as many threads as there are processors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde::Serialize;

use super::ablation::{self, Ablation};
use super::run::{Options, Outcome, run_seed};

/// How many violating seeds a report keeps.
const KEPT: usize = 20;
/// Seeds that a thread takes at a time.
const CHUNK: u64 = 64;

/// What a sweep showed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The first seed.
    pub first_seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// In how many something did not hold.
    pub violating: u64,
    /// In how many two held at once.
    pub dual: u64,
    /// Simulated seconds in all.
    pub simulated_s: u64,
    /// Events that the machines took.
    pub events: u64,
    /// In how many seeds each invariant did not hold.
    pub by_rule: BTreeMap<&'static str, u64>,
    /// The least violating seeds with what they showed first; replay one with `--first SEED --seeds 1`.
    pub examples: Vec<String>,
}

/// One row of the table of guards taken out.
#[derive(Debug, Clone, Serialize)]
pub struct AblationRow {
    /// The guard's name.
    pub ablation: &'static str,
    /// How many seeds were run.
    pub seeds: u64,
    /// In how many something did not hold.
    pub violating: u64,
    /// In how many of these two held at once.
    pub dual: u64,
}

impl Report {
    fn take(&mut self, outcome: &Outcome) {
        self.simulated_s += outcome.simulated / super::network::S;
        self.events += outcome.events;
        let promised = outcome.mode != super::plan::Mode::Unarbitrated;
        self.dual += u64::from(promised && outcome.is_dual());
        for violation in &outcome.violations {
            *self.by_rule.entry(violation.rule).or_default() += 1;
        }
        if let Some(first) = outcome.violations.first() {
            self.violating += 1;
            let (seed, mode) = (outcome.seed, outcome.mode);
            let at = first.at / super::network::MS;
            self.examples.push(format!("{seed:08} {mode:?} at {at} ms: {} {}", first.rule, first.what));
            if self.examples.len() > 4 * KEPT {
                self.trim();
            }
        }
    }

    fn trim(&mut self) {
        self.examples.sort();
        self.examples.truncate(KEPT);
    }

    fn join(&mut self, other: Report) {
        self.violating += other.violating;
        self.dual += other.dual;
        self.simulated_s += other.simulated_s;
        self.events += other.events;
        for (rule, count) in other.by_rule {
            *self.by_rule.entry(rule).or_default() += count;
        }
        self.examples.extend(other.examples);
    }
}

/// Runs `count` seeds from `first_seed` on. The report does not depend on the number of threads.
pub fn sweep(first_seed: u64, count: u64, options: &Options) -> Report {
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut report = Report { first_seed, seeds: count, ..Report::default() };
    let work = || {
        let mut part = Report::default();
        loop {
            let from = next.fetch_add(CHUNK, Ordering::Relaxed);
            if from >= count {
                return part;
            }
            for seed in from..(from + CHUNK).min(count) {
                part.take(&run_seed(first_seed.wrapping_add(seed), options));
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok(part) => report.join(part),
                // A machine that panics is a finding, never a calm sea.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    report.trim();
    report
}

/// Takes out each guard in turn and runs `count` seeds without it.
pub fn ablations(first_seed: u64, count: u64) -> Vec<AblationRow> {
    let row = |ablation: &Ablation| {
        let options = Options { ablation: Some(*ablation), ..Options::default() };
        let report = sweep(first_seed, count, &options);
        AblationRow { ablation: ablation.as_str(), seeds: count, violating: report.violating, dual: report.dual }
    };
    ablation::ALL.iter().map(row).collect()
}
