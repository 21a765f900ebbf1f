//! Many seeds, on as many threads as there are processors.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::mutant::{self, Mutant};
use super::network::MS;
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
    /// Events that the machines took.
    pub events: u64,
    /// In how many two held at once, where that was promised not to be.
    pub dual: u64,
    /// The longest that two held at once, in milliseconds, where that was promised not to be.
    pub worst_overlap_ms: f64,
    /// In how many seeds each invariant did not hold.
    pub by_rule: BTreeMap<&'static str, u64>,
    /// The least violating seed.
    pub first_violating: Option<u64>,
    /// The least violating seeds with what they showed first; replay one with `--first SEED --seeds 1`.
    pub examples: Vec<String>,
    /// Of all histories: two sweeps that differ in anything differ in this (I25).
    pub digest: u64,
    /// How many seeds.
    pub seeds: u64,
    /// In how many something did not hold.
    pub violations: u64,
    /// Simulated hours of a cluster, in all.
    pub simulated_hours: f64,
    #[serde(skip)]
    simulated_ms: u64,
}

impl Report {
    fn take(&mut self, outcome: &Outcome) {
        self.simulated_ms += outcome.simulated / MS;
        self.events += outcome.events;
        self.digest = self.digest.wrapping_add(outcome.hash);
        if outcome.promised {
            self.dual += u64::from(outcome.is_dual());
            self.worst_overlap_ms = self.worst_overlap_ms.max(millis(outcome.worst));
        }
        for violation in &outcome.violations {
            *self.by_rule.entry(violation.rule).or_default() += 1;
        }
        if let Some(first) = outcome.violations.first() {
            self.violations += 1;
            let (seed, mode) = (outcome.seed, outcome.mode);
            self.first_violating = Some(self.first_violating.map_or(seed, |least| least.min(seed)));
            let at = first.at / MS;
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
        self.violations += other.violations;
        self.dual += other.dual;
        self.simulated_ms += other.simulated_ms;
        self.events += other.events;
        self.digest = self.digest.wrapping_add(other.digest);
        self.worst_overlap_ms = self.worst_overlap_ms.max(other.worst_overlap_ms);
        self.first_violating = self.first_violating.into_iter().chain(other.first_violating).min();
        for (rule, count) in other.by_rule {
            *self.by_rule.entry(rule).or_default() += count;
        }
        self.examples.extend(other.examples);
    }
}

#[allow(clippy::cast_precision_loss, reason = "for people to read")]
fn millis(nanos: u64) -> f64 {
    (nanos / 1000) as f64 / 1000.0
}

/// Runs `count` seeds from `first_seed` on, or those that are begun before `until`: the report says how many. It does not
/// depend on the number of threads.
///
/// `progress` is told now and then how many are begun, and in how many something did not hold so far.
pub fn sweep(
    first_seed: u64,
    count: u64,
    until: Option<Instant>,
    options: &Options,
    progress: impl Fn(u64, u64) + Sync,
) -> Report {
    let next = AtomicU64::new(0);
    let violating = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut report = Report { first_seed, seeds: count, ..Report::default() };
    let work = || {
        let mut part = Report::default();
        while until.is_none_or(|until| Instant::now() < until) {
            let from = next.fetch_add(CHUNK, Ordering::Relaxed);
            if from >= count {
                break;
            }
            let before = part.violations;
            for seed in from..(from + CHUNK).min(count) {
                part.take(&run_seed(first_seed.wrapping_add(seed), options));
            }
            violating.fetch_add(part.violations - before, Ordering::Relaxed);
        }
        part
    };
    let tell = || {
        while !over.load(Ordering::Relaxed) {
            thread::park_timeout(Duration::from_secs(10));
            progress(next.load(Ordering::Relaxed).min(count), violating.load(Ordering::Relaxed));
        }
    };
    thread::scope(|scope| {
        let teller = scope.spawn(tell);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok(part) => report.join(part),
                // A machine that panics is a finding, never a calm sea.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        over.store(true, Ordering::Relaxed);
        teller.thread().unpark();
    });
    // Whatever was begun is done, so these are the first of them, without a gap.
    report.seeds = next.into_inner().min(count);
    report.trim();
    #[allow(clippy::cast_precision_loss, reason = "for people to read")]
    let hours = report.simulated_ms as f64 / 3_600_000.0;
    report.simulated_hours = (hours * 100.0).round() / 100.0;
    report
}

/// One row of the table of guards taken out.
#[derive(Debug, Clone, Serialize)]
pub struct MutantRow {
    /// The mutant's name.
    pub mutant: &'static str,
    /// The rules that it breaks.
    pub rules: &'static str,
    /// How many seeds were run.
    pub seeds: u64,
    /// In how many something did not hold.
    pub violating: u64,
    /// The least of these.
    pub first_seed: Option<u64>,
    /// In how many of these two held at once.
    pub dual: u64,
    /// The longest that two did.
    pub worst_overlap_ms: f64,
    /// In how many seeds each invariant did not hold.
    pub by_rule: BTreeMap<&'static str, u64>,
}

/// Runs `count` seeds with nothing taken out, and then without each guard in turn; `done` is told of each row,
/// of which the first are those of [`mutant::CONTROLS`]. With `until_caught` only until the guard has been missed:
/// that it is missed is known then, in how many of `count` seeds is not; one that is seldom missed has four times as many.
pub fn mutants(first_seed: u64, count: u64, until_caught: bool, mut done: impl FnMut(&MutantRow)) -> Vec<MutantRow> {
    let mut rows = Vec::new();
    for mutant in mutant::CONTROLS.iter().chain(mutant::ALL) {
        let row = if until_caught {
            let patience = if mutant::CONTROLS.contains(mutant) { 1 } else { PATIENCE };
            until_violated(*mutant, first_seed, count.saturating_mul(patience))
        } else {
            mutant_row(*mutant, first_seed, count)
        };
        done(&row);
        rows.push(row);
    }
    rows
}

/// Of a guard that is missed in few seeds so many times as many are looked at until one is found: which seeds they are changes with
/// whatever changes a history.
const PATIENCE: u64 = 4;

/// So many seeds at a time, each time all that this machine's processors run side by side.
const STRIDE: u64 = 200;

/// The row of the first seeds that violate anything, or of all.
fn until_violated(mutant: Mutant, first_seed: u64, count: u64) -> MutantRow {
    let mut done = 0;
    loop {
        let stride = STRIDE.min(count.saturating_sub(done));
        let row = mutant_row(mutant, first_seed.saturating_add(done), stride);
        done = done.saturating_add(stride);
        if row.violating > 0 || done >= count {
            return MutantRow { seeds: done, ..row };
        }
    }
}

fn mutant_row(mutant: Mutant, first_seed: u64, count: u64) -> MutantRow {
    let options = Options { mutant: Some(mutant), ..Options::default() };
    let report = sweep(first_seed, count, None, &options, |_, _| {});
    MutantRow {
        mutant: mutant.as_str(),
        rules: mutant.rules(),
        seeds: count,
        violating: report.violations,
        first_seed: report.first_violating,
        dual: report.dual,
        worst_overlap_ms: report.worst_overlap_ms,
        by_rule: report.by_rule,
    }
}

/// The table for a page.
pub fn markdown(rows: &[MutantRow]) -> String {
    let mut text = String::from(
        "| taken out | rule | seeds | violating | first seed | two holders | worst overlap | seen as |\n\
         |---|---|--:|--:|--:|--:|--:|---|\n",
    );
    for row in rows {
        let first = row.first_seed.map_or("–".to_owned(), |seed| seed.to_string());
        let mut rules: Vec<_> = row.by_rule.iter().collect();
        rules.sort_by_key(|(rule, count)| (core::cmp::Reverse(**count), **rule));
        let seen: Vec<&str> = rules.iter().take(4).map(|(rule, _)| **rule).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {first} | {} | {:.0} ms | {} |",
            row.mutant,
            row.rules,
            row.seeds,
            row.violating,
            row.dual,
            row.worst_overlap_ms,
            seen.join(" ")
        );
    }
    text
}
