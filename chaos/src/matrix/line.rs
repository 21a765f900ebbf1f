//! What is kept of each run: a line of JSON, with everything that `run` says and what it was run beside.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Job, Options};
use crate::netns::error::{Error, io_error};
use crate::outcome::Outcome;

/// What a matrix says of one run. The file has the whole outcome in the same object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Of the scenario.
    pub scenario: String,
    /// Of the cluster.
    pub nodes: u8,
    /// Its lease.
    pub lease_ms: u64,
    /// Hogs on the machine.
    pub hogs: u8,
    /// So many clusters ran at a time, this one included.
    pub worlds: usize,
    /// Why there was no run, if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
    /// Two holders on the wire, in milliseconds.
    #[serde(default)]
    pub dual_holder_wire_ms: f64,
    /// Two holders by gates.
    #[serde(default)]
    pub dual_holder_gate_ms: f64,
    /// Two holders for clients.
    #[serde(default)]
    pub dual_holder_client_ms: f64,
    /// Frames behind a gate that was shut.
    #[serde(default)]
    pub behind_shut_gate: usize,
    /// The client's longest silence.
    #[serde(default)]
    pub client_outage_ms: f64,
    /// The longest time in which the machine let nobody run.
    #[serde(default)]
    pub machine_stall_ms: f64,
    /// What was demanded and did not hold.
    #[serde(default)]
    pub violations: Vec<String>,
    /// Everything else that was seen.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, serde_json::Value>,
}

impl Line {
    fn empty(job: &Job, worlds: usize) -> Self {
        Line {
            scenario: job.scenario.name.to_owned(),
            nodes: job.cell.nodes,
            lease_ms: job.cell.lease_ms,
            hogs: job.cell.hogs,
            worlds,
            ..Line::default()
        }
    }

    /// Of a run.
    pub(super) fn of(job: &Job, worlds: usize, outcome: &Outcome) -> Self {
        let mut rest = match serde_json::to_value(outcome) {
            Ok(serde_json::Value::Object(rest)) => rest,
            _ => serde_json::Map::new(),
        };
        for own in [
            "scenario",
            "dual_holder_wire_ms",
            "dual_holder_gate_ms",
            "dual_holder_client_ms",
            "behind_shut_gate",
            "client_outage_ms",
            "machine_stall_ms",
            "violations",
        ] {
            rest.remove(own);
        }
        Line {
            dual_holder_wire_ms: outcome.dual_holder_wire_ms,
            dual_holder_gate_ms: outcome.dual_holder_gate_ms,
            dual_holder_client_ms: outcome.dual_holder_client_ms,
            behind_shut_gate: outcome.behind_shut_gate,
            client_outage_ms: outcome.client_outage_ms,
            machine_stall_ms: outcome.machine_stall_ms,
            violations: outcome.violations.clone(),
            rest,
            ..Line::empty(job, worlds)
        }
    }

    /// Of a cluster that could not be made, or never settled.
    pub(super) fn broken(job: &Job, worlds: usize, why: String) -> Self {
        Line { broken: Some(why), ..Line::empty(job, worlds) }
    }

    /// Whether everything held in it.
    pub fn held(&self) -> bool {
        self.broken.is_none() && self.violations.is_empty()
    }

    fn is_of(&self, job: &Job) -> bool {
        let cell = (self.nodes, self.lease_ms, self.hogs);
        self.scenario == job.scenario.name && cell == (job.cell.nodes, job.cell.lease_ms, job.cell.hogs)
    }
}

/// The lines of a file, to which others are added.
#[derive(Debug)]
pub(super) struct Results {
    file: File,
    what: String,
    lines: Vec<Line>,
}

impl Results {
    /// Reads the file; without one it is made.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let what = format!("use the results in {}", path.display());
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(io_error(what.clone()))?;
        let text = std::fs::read_to_string(path).map_err(io_error(what.clone()))?;
        // The last line of a run that was killed may be half a line: that run is done again, on a line of its own.
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n").map_err(io_error(what.clone()))?;
        }
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok(Results { file, what, lines })
    }

    /// Whether it has been run.
    pub(super) fn has(&self, job: &Job) -> bool {
        self.lines.iter().any(|line| line.is_of(job))
    }

    /// Whether nobody knows yet if it was the others on the machine that kept it from holding.
    pub(super) fn is_open(&self, job: &Job) -> bool {
        let mut runs = self.lines.iter().filter(|line| line.is_of(job)).peekable();
        runs.peek().is_some() && runs.all(|line| !line.held() && line.worlds > 1)
    }

    /// One more, which is written at once.
    pub(super) fn add(&mut self, line: Line) -> Result<(), Error> {
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        self.file.write_all(text.as_bytes()).map_err(io_error(self.what.clone()))?;
        self.lines.push(line);
        Ok(())
    }

    /// Those that were asked for.
    pub(super) fn of(self, options: &Options) -> Vec<Line> {
        let asked = |line: &Line| {
            let cell = |cell: &super::Cell| (cell.nodes, cell.lease_ms, cell.hogs);
            options.cells.iter().any(|one| cell(one) == (line.nodes, line.lease_ms, line.hogs))
                && options.scenarios.iter().any(|scenario| scenario.name == line.scenario)
        };
        self.lines.into_iter().filter(asked).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cell;
    use super::*;
    use crate::scenario::find;

    #[test]
    fn what_was_run_is_read_again_and_half_a_line_is_not() {
        let directory = std::env::temp_dir().join(format!("keepone-chaos-matrix-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("results.jsonl");
        let job = |name| {
            let cell = Cell { nodes: 2, lease_ms: 1000, hogs: 4 };
            let scenario = find(name).unwrap();
            Job { cell, scenario, shape: cell.shape(scenario).unwrap() }
        };
        let (calm, late, other) = (job("witness-down"), job("kill-master"), job("crash-master"));
        let outcome = |violations: &[&str]| Outcome {
            client_outage_ms: 12.5,
            final_holder: "n1".to_owned(),
            violations: violations.iter().map(|&text| text.to_owned()).collect(),
            ..Outcome::default()
        };
        let mut results = Results::open(&path).unwrap();
        results.add(Line::of(&calm, 3, &outcome(&[]))).unwrap();
        results.add(Line::of(&late, 3, &outcome(&["late"]))).unwrap();
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "{\"scenario\":\"crash-ma").unwrap();
        let mut results = Results::open(&path).unwrap();
        let state = |results: &Results| [calm, late, other].map(|job| (results.has(&job), results.is_open(&job)));
        assert_eq!(state(&results), [(true, false), (true, true), (false, false)]);
        let first = results.lines.first().unwrap();
        assert_eq!((first.client_outage_ms, first.rest.get("final_holder")), (12.5, Some(&"n1".into())));
        results.add(Line::broken(&other, 1, "no steady cluster".to_owned())).unwrap();
        results.add(Line::of(&late, 1, &outcome(&["late"]))).unwrap();
        let results = Results::open(&path).unwrap();
        assert_eq!(state(&results), [(true, false), (true, false), (true, false)], "alone, it is settled either way");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
