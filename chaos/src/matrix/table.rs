//! The matrix as a table: a row for each size, lease and burden.

use std::fmt::Write;

use super::{Line, by_cell};
use crate::scenario::{self, Demands, Scenario, Two};

/// What one scenario came to in one cell, over all its runs.
struct Sum<'a> {
    scenario: &'static Scenario,
    runs: Vec<&'a Line>,
}

impl Sum<'_> {
    /// Whether it held at last: beside others, or alone where it did not beside them.
    fn held(&self) -> bool {
        self.runs.iter().any(|line| line.held())
    }

    fn failed_beside_others(&self) -> bool {
        self.held() && self.runs.iter().any(|line| !line.held())
    }

    /// Two holders, where there may never be: on the wire, by gates, for clients.
    fn two(&self) -> [f64; 3] {
        if self.scenario.demands.two != Two::Never {
            return [0.0; 3];
        }
        let worst = |view: fn(&Line) -> f64| self.runs.iter().map(|line| view(line)).fold(0.0, f64::max);
        [
            worst(|line| line.dual_holder_wire_ms),
            worst(|line| line.dual_holder_gate_ms),
            worst(|line| line.dual_holder_client_ms),
        ]
    }

    /// The longest silence of the run that is judged, where a takeover may last no longer than the lease: in others the
    /// VIP is silent because nobody may hold it.
    fn outage(&self, lease_ms: u64) -> Option<f64> {
        let scenario = self.scenario.with_lease(lease_ms);
        let Demands { outage, .. } = scenario.demands;
        let judged = self.runs.iter().find(|line| line.held()).or(self.runs.last())?;
        let lapse = scenario::Limit::of(1, 100);
        (scenario.bound(outage) <= scenario.bound(lapse)).then_some(judged.client_outage_ms)
    }
}

/// Whether the run breaks what no company on the machine excuses.
fn is_unsafe(line: &Line) -> bool {
    line.violations.iter().any(|text| {
        ["two holders", "(I9)", "(I1)", "(I4)"].iter().any(|mark| text.contains(mark)) || text.contains("dual-master")
    })
}

/// As a table in Markdown, with a line for each scenario that did not hold; and whether everything did.
pub fn table(lines: &[Line]) -> (String, bool) {
    let mut text = String::from(
        "| nodes | lease | hogs | scenarios | two holders: wire | gates | clients | behind a shut gate | violated \
         | only beside others | longest takeover |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let (mut failures, mut held) = (String::new(), !lines.is_empty());
    for ((nodes, lease_ms, hogs), scenarios) in by_cell(lines) {
        let sums: Vec<Sum> = scenarios
            .into_iter()
            .filter_map(|(name, runs)| scenario::find(name).map(|scenario| Sum { scenario, runs }))
            .collect();
        let mut two = [0.0_f64; 3];
        for seen in sums.iter().map(Sum::two) {
            two.iter_mut().zip(seen).for_each(|(worst, seen)| *worst = worst.max(seen));
        }
        let [wire, gates, clients] = two;
        let behind: usize = sums.iter().flat_map(|sum| &sum.runs).map(|line| line.behind_shut_gate).sum();
        let fails = |sum: &Sum| !sum.held() || sum.runs.iter().any(|line| is_unsafe(line));
        let violated = sums.iter().filter(|sum| fails(sum)).count();
        let beside = sums.iter().filter(|sum| sum.failed_beside_others() && !fails(sum)).count();
        let outage = sums.iter().filter_map(|sum| Some((sum.outage(lease_ms)?, sum.scenario.name)));
        let (outage, slowest) = outage.max_by(|one, other| one.0.total_cmp(&other.0)).unwrap_or((0.0, "none"));
        let _ = writeln!(
            text,
            "| {nodes} | {lease_ms} ms | {hogs} | {} | {wire} ms | {gates} ms | {clients} ms | {behind} | {violated} \
             | {beside} | {outage:.0} ms, `{slowest}` |",
            sums.len()
        );
        for sum in sums.iter().filter(|sum| fails(sum)) {
            held = false;
            for line in sum.runs.iter().filter(|line| !line.held()) {
                let what = line.broken.clone().unwrap_or_else(|| line.violations.join("; "));
                let (name, worlds) = (sum.scenario.name, line.worlds);
                let what = what.lines().next().unwrap_or_default();
                let _ =
                    writeln!(failures, "{name}, {nodes} nodes, {lease_ms} ms, {hogs} hogs, {worlds} at a time: {what}");
            }
        }
    }
    if !failures.is_empty() {
        let _ = write!(text, "\n{failures}");
    }
    (text, held)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(scenario: &str, worlds: usize, outage: f64, violations: &[&str]) -> Line {
        Line {
            scenario: scenario.to_owned(),
            nodes: 2,
            lease_ms: 1000,
            worlds,
            client_outage_ms: outage,
            violations: violations.iter().map(|&text| text.to_owned()).collect(),
            ..Line::default()
        }
    }

    fn row(lines: &[Line]) -> (String, bool) {
        let (text, held) = table(lines);
        (text.lines().nth(2).unwrap().to_owned(), held)
    }

    #[test]
    fn a_limit_missed_beside_others_is_judged_by_the_run_alone() {
        let calm = line("witness-down", 3, 4.0, &[]);
        let late = line("kill-all-master", 3, 1400.0, &["late"]);
        let again = |violations: &[&str]| line("kill-all-master", 1, 1040.0, violations);
        let (text, held) = row(&[calm.clone(), late.clone(), again(&[])]);
        assert_eq!(
            (text.as_str(), held),
            ("| 2 | 1000 ms | 0 | 2 | 0 ms | 0 ms | 0 ms | 0 | 0 | 1 | 1040 ms, `kill-all-master` |", true)
        );
        let (text, held) = row(&[calm, late, again(&["late"])]);
        assert!(text.contains("| 0 | 1 | 0 | 1040 ms") && !held, "{text}");
    }

    #[test]
    fn two_holders_count_wherever_they_were_seen() {
        let mut bad = line("kill-all-master", 3, 900.0, &["two holders for 3 ms by gates"]);
        bad.dual_holder_gate_ms = 3.0;
        let (text, held) = row(&[bad.clone(), line("kill-all-master", 1, 900.0, &[])]);
        assert!(text.contains("| 0 ms | 3 ms | 0 ms | 0 | 1 | 0 |") && !held, "{text}");
        bad.scenario = "alone-cut-and-healed".to_owned();
        bad.violations.clear();
        let (text, held) = row(&[bad]);
        assert!(text.contains("| 0 ms | 0 ms | 0 ms | 0 | 0 | 0 |") && held, "without an authority two are no breach");
    }

    #[test]
    fn a_cluster_that_could_not_be_made_has_not_held() {
        let broken = Line { broken: Some("never steady".to_owned()), ..line("kill-master", 1, 0.0, &[]) };
        let (text, held) = table(&[broken]);
        assert!(!held && text.contains("kill-master, 2 nodes, 1000 ms, 0 hogs, 1 at a time: never steady"), "{text}");
        assert!(!table(&[]).1, "nothing was run");
    }
}
