//! The same faults under either authority, side by side: a witness with which the nodes vote, and three members of etcd.

use serde::Serialize;

use super::{Options, one, outages, percentile};
use crate::deed::Deed;
use crate::fault::{Fault, Part, Who};
use crate::netns::agent::Peer;
use crate::netns::error::Error;
use crate::netns::process::Processes;
use crate::scenario::{ONE, PLAIN, Scenario, Shape, Step};
use crate::verdict;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// The holder's machine loses power.
    NodeDies,
    /// SIGTERM to the holder's agent.
    GracefulStop,
    /// SIGKILL to the witness, or to etcd's leader.
    ThirdDies,
}

impl Case {
    /// All of them.
    pub const ALL: [Case; 3] = [Case::NodeDies, Case::GracefulStop, Case::ThirdDies];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Case::NodeDies => "the holder's machine loses power",
            Case::GracefulStop => "the holder's agent is stopped in good order",
            Case::ThirdDies => "the witness, or etcd's leader, is killed",
        }
    }

    /// What is done, and what ends it, so many milliseconds later; then the preferred node takes the VIP back.
    fn course(self, shape: &Shape) -> (Fault, Fault, u64) {
        let wait = 2 * shape.lease_ms + 1000;
        match self {
            Case::NodeDies => (
                Fault::Real(Deed::PowerOff { who: Who::Master }),
                Fault::Real(Deed::PowerOn { who: Who::Master }),
                wait,
            ),
            Case::GracefulStop => (Fault::Terminate { who: Who::Master }, Fault::Start { who: Who::Master }, 2000),
            Case::ThirdDies => {
                let who = if shape.etcd { Who::Leader } else { Who::Witness };
                (Fault::Kill { who, part: Part::Both }, Fault::Start { who }, wait)
            }
        }
    }

    /// Runs in one world: who leads etcd is asked once for each.
    fn per_world(self, shape: &Shape) -> u64 {
        if self == Case::ThirdDies && shape.etcd { 1 } else { 10 }
    }
}

/// Silences of the first client under one authority, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What happened.
    pub case: &'static str,
    /// The cluster.
    pub shape: String,
    /// How often.
    pub runs: usize,
    /// How often it was asked for.
    pub asked: u64,
    /// Half of them were no longer.
    pub p50_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// The longest time that the machine itself kept the client from probing.
    pub probe_stall_ms: f64,
    /// Two holders at one instant, in all runs together.
    pub dual_holder_ms: f64,
}

impl Row {
    /// Whether it shows what was asked for: as many runs, and never two holders.
    pub fn is_whole(&self) -> bool {
        self.dual_holder_ms == 0.0 && u64::try_from(self.runs).is_ok_and(|runs| runs >= self.asked)
    }
}

/// The steps of so many runs in one world, and how long they last.
fn steps(case: Case, shape: &Shape, count: u64, phase: u64) -> (Vec<Step>, u64) {
    let (fault, repair, wait) = case.course(shape);
    let period = wait + shape.lease_ms + 4500;
    let mut steps = Vec::new();
    for run in 0..count {
        // As in the measurement of failovers: spread over a renewal's phase.
        let at = 1000 + run * period + (phase + run).wrapping_mul(0x9e37_79b9) % (shape.lease_ms / 5).max(1);
        steps.push(Step { at_ms: at, label: "gone", fault });
        steps.push(Step { at_ms: at + wait, label: "back", fault: repair });
    }
    (steps, 1000 + count * period)
}

fn measure(options: &Options, case: Case, runs: u64, processes: &Processes, first: u64) -> Result<(Row, u64), Error> {
    let (mut seen, mut dual, mut stall) = (Vec::new(), 0.0, 0.0_f64);
    let per_world = case.per_world(&options.shape);
    let (mut world, most) = (0, runs / per_world * 2 + 2);
    while u64::try_from(seen.len()).unwrap_or(runs) < runs && world < most {
        let count = (runs - u64::try_from(seen.len()).unwrap_or(runs)).min(per_world);
        let (steps, lasts_ms) = steps(case, &options.shape, count, world * per_world);
        // It lives as long as the program: a kilobyte for each world.
        let steps: &'static [Step] = Box::leak(steps.into_boxed_slice());
        let scenario = Scenario { name: "authorities", steps, lasts_ms, demands: ONE, ..PLAIN };
        let record = one(options, &scenario, processes, first + world)?;
        let outcome = verdict::measure(&scenario, &record);
        seen.extend(outages(&record));
        dual += outcome.dual_holder_ms;
        stall = stall.max(outcome.probe_stall_ms);
        world += 1;
    }
    seen.sort_by(f64::total_cmp);
    let row = Row {
        case: case.name(),
        shape: options.shape.name(),
        runs: seen.len(),
        asked: runs,
        p50_ms: percentile(&seen, 50),
        max_ms: percentile(&seen, 100),
        probe_stall_ms: stall,
        dual_holder_ms: dual,
    };
    Ok((row, first + world))
}

/// Each case under each authority, one after the other, with the same lease.
///
/// # Errors
/// When the world fails.
pub fn run(options: &Options, runs: u64, mut tell: impl FnMut(&Row)) -> Result<Vec<Row>, Error> {
    let processes = Processes::new();
    let (mut rows, mut worlds) = (Vec::new(), 0);
    let etcd = options.shape.with_etcd();
    let witness = Shape { lease_ms: etcd.lease_ms, ..options.shape };
    for case in Case::ALL {
        for shape in [witness, etcd] {
            let options = Options { shape, peer: Peer::Keepone, ..options.clone() };
            let (row, next) = measure(&options, case, runs, &processes, worlds)?;
            worlds = next;
            tell(&row);
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The rows as a table for a page.
pub fn table(rows: &[Row]) -> String {
    let mut text =
        String::from("| | cluster | runs | client waits, p50 | longest | two holders |\n|---|---|--:|--:|--:|--:|\n");
    for Row { case, shape, runs, p50_ms, max_ms, dual_holder_ms, .. } in rows {
        text += &format!("| {case} | {shape} | {runs} | {p50_ms:.0} ms | {max_ms:.0} ms | {dual_holder_ms} ms |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_both_authorities_the_same_is_done_and_undone_before_it_is_done_again() {
        let etcd = Shape::PAIR.with_etcd();
        let witness = Shape { lease_ms: etcd.lease_ms, ..Shape::PAIR };
        for case in Case::ALL {
            let [one, other] = [witness, etcd].map(|shape| steps(case, &shape, 5, 0));
            assert_eq!(one.1, other.1, "{case:?}");
            assert!(one.0.is_sorted_by_key(|step| step.at_ms) && one.0.len() == 10, "{case:?}");
            let times = |steps: &[Step]| steps.iter().map(|step| step.at_ms).collect::<Vec<_>>();
            assert_eq!(times(&one.0), times(&other.0), "{case:?}");
            assert!(one.0.last().is_some_and(|step| step.at_ms + etcd.lease_ms < one.1), "{case:?}");
        }
    }

    #[test]
    fn a_row_with_two_holders_or_too_few_runs_is_not_whole() {
        let row = |runs, dual_holder_ms| Row {
            case: "",
            shape: String::new(),
            runs,
            asked: 3,
            p50_ms: 1.0,
            max_ms: 2.0,
            probe_stall_ms: 0.0,
            dual_holder_ms,
        };
        assert!(row(3, 0.0).is_whole() && !row(2, 0.0).is_whole() && !row(3, 0.1).is_whole());
        assert!(table(&[row(3, 0.0)]).ends_with("| 3 | 1 ms | 2 ms | 0 ms |\n"));
    }
}
