//! Every scenario in clusters of several sizes and leases, on a machine at rest and on one that is full: what no single
//! run shows. Clusters run side by side where that disturbs nobody, and what was run once is not run again.
//!
//! What must stay true: two holders, and frames behind a shut gate, count in whatever run they were seen. Only a time
//! limit that was missed beside other clusters is judged by a run of the cluster alone: they share this machine's
//! processors and the one lock that its kernel has for all links and addresses.

mod cell;
mod line;
mod side_by_side;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use cell::Cell;
pub use line::Line;
pub use table::table;

use crate::netns::error::{Error, io_error};
use crate::netns::process::Processes;
use crate::scenario::{Scenario, Shape};
use line::Results;
use side_by_side::side_by_side;

/// What is asked of a matrix.
#[derive(Debug, Clone)]
pub struct Options {
    /// The sizes, leases and burdens.
    pub cells: Vec<Cell>,
    /// Which scenarios.
    pub scenarios: Vec<&'static Scenario>,
    /// So many clusters at a time.
    pub worlds: usize,
    /// The time limits of clients are so many times as long.
    pub slack: u64,
    /// The phase of all faults.
    pub seed: u64,
    /// Where the programs are.
    pub bin_dir: PathBuf,
    /// Where the lines of all runs are kept, and logs of runs that failed.
    pub out: PathBuf,
}

/// One run that is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Job {
    cell: Cell,
    scenario: &'static Scenario,
    shape: Shape,
}

/// What a cell has to run, those that want the machine for themselves apart; both by length, so that few wait for
/// longer ones beside them.
fn jobs(cell: Cell, scenarios: &[&'static Scenario]) -> (Vec<Job>, Vec<Job>) {
    let mut jobs: Vec<Job> = scenarios
        .iter()
        .filter_map(|scenario| cell.shape(scenario).map(|shape| Job { cell, scenario, shape }))
        .collect();
    jobs.sort_by_key(|job| std::cmp::Reverse(job.scenario.lasts_ms));
    jobs.into_iter().partition(|job| !job.scenario.wants_the_machine())
}

/// Runs what is not in the results yet, and gives back all results of these cells and scenarios.
///
/// # Errors
/// When the results can't be read or written. A cluster that can't be made is a result: see [`Line::broken`].
pub fn run(options: &Options, mut tell: impl FnMut(&Line)) -> Result<Vec<Line>, Error> {
    std::fs::create_dir_all(&options.out).map_err(io_error(format!("create {}", options.out.display())))?;
    let mut results = Results::open(&options.out.join("results.jsonl"))?;
    let processes = Processes::new();
    for &cell in &options.cells {
        let (light, heavy) = jobs(cell, &options.scenarios);
        let worlds = options.worlds.max(1);
        let missing: Vec<Job> = light.iter().copied().filter(|job| !results.has(job)).collect();
        let batches = missing.chunks(worlds).map(<[Job]>::to_vec);
        let alone = heavy.iter().copied().filter(|job| !results.has(job)).map(|job| vec![job]).collect::<Vec<_>>();
        for batch in batches.chain(alone) {
            for line in side_by_side(&batch, options, &processes) {
                tell(&line);
                results.add(line)?;
            }
        }
        // After all others, so that a busy minute of the machine's is not met twice.
        for job in light.iter().chain(&heavy).filter(|job| results.is_open(job)).copied().collect::<Vec<_>>() {
            for line in side_by_side(&[job], options, &processes) {
                tell(&line);
                results.add(line)?;
            }
        }
    }
    Ok(results.of(options))
}

/// What has been run of these cells and scenarios.
///
/// # Errors
/// When the results can't be read.
pub fn results(options: &Options) -> Result<Vec<Line>, Error> {
    Ok(Results::open(&options.out.join("results.jsonl"))?.of(options))
}

/// By the names that a table calls them.
fn by_cell(lines: &[Line]) -> BTreeMap<(u8, u64, u8), BTreeMap<&str, Vec<&Line>>> {
    let mut cells: BTreeMap<_, BTreeMap<&str, Vec<&Line>>> = BTreeMap::new();
    for line in lines {
        let cell = cells.entry((line.nodes, line.lease_ms, line.hogs)).or_default();
        cell.entry(line.scenario.as_str()).or_default().push(line);
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{self, ALL};

    #[test]
    fn every_scenario_has_a_place_in_a_pair_and_none_without_an_authority_in_a_cluster_of_three() {
        let places = |nodes, lease_ms| {
            let cell = Cell { nodes, lease_ms, hogs: 0 };
            let all: Vec<&'static Scenario> = ALL.iter().collect();
            let (light, heavy) = jobs(cell, &all);
            assert!(heavy.iter().all(|job| job.scenario.wants_the_machine()) && heavy.len() >= 5);
            assert!(light.is_sorted_by(|one, next| one.scenario.lasts_ms >= next.scenario.lasts_ms));
            let missing = |scenario: &&Scenario| !light.iter().chain(&heavy).any(|job| job.scenario == *scenario);
            ALL.iter().filter(missing).map(|scenario| scenario.name).collect::<Vec<_>>()
        };
        assert_eq!(places(2, 1000), Vec::<&str>::new());
        assert_eq!(places(2, 300), ["upgrade-in-place"], "a start does not fit into such a lease");
        let three = places(3, 1000);
        assert!(three.iter().all(|name| name.starts_with("alone-")) && three.len() == 5);
    }

    #[test]
    fn a_scenario_that_needs_more_witnesses_gets_them() {
        let cell = Cell { nodes: 3, lease_ms: 1000, hogs: 0 };
        let shape = |name| cell.shape(scenario::find(name).unwrap()).unwrap();
        assert_eq!(shape("kill-master"), Shape { nodes: 3, lease_ms: 1000, ..Shape::PAIR });
        assert_eq!(shape("cut-both-heartbeats").witnesses, 3);
        assert!(!shape("all-witnesses-down").nodes_vote);
    }
}
