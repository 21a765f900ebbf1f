//! What `keepone status` and `keepone why` say on each node in the scenarios that everybody asks about, on real packets:
//! shortly before each is repaired, and when it is over.
//!
//! - [`page`]: the document
//! - [`check`]: what must hold of it, whenever it was made
//!
//! What must stay true: nobody waits for an answer while a scenario runs, or deeds would come late.

pub mod check;
mod page;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::demo;
use crate::fault::Fault;
use crate::netns::agent::Peer;
use crate::netns::clock;
use crate::netns::configuration::INSTANCE;
use crate::netns::enclosure::ROOM;
use crate::netns::error::Error;
use crate::netns::observe::Live;
use crate::netns::process::Processes;
use crate::netns::record::Deed;
use crate::netns::runner::{self, Spectator};
use crate::netns::world::{Plan, World};
use crate::outcome::Outcome;
use crate::scenario::{Scenario, Shape};
pub use page::page;

/// So long before a repair the nodes are asked: programs want time to start and to answer.
const BEFORE_MS: u64 = 800;
/// And before the end, when all programs are killed.
const BEFORE_END_MS: u64 = 1500;
/// And where an agent is stopped: longer than the operator's commands wait for its answer.
const BEFORE_CONTINUE_MS: u64 = 4500;
/// An answer that has not come by then after the end does not come.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is asked.
const COMMANDS: [&[&str]; 2] = [&["status"], &["why", INSTANCE]];

/// What one node said at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    node: String,
    /// To each of [`COMMANDS`].
    answers: Vec<String>,
}

/// One moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Moment {
    /// Milliseconds after the begin.
    at_ms: u64,
    /// The fault is over.
    is_over: bool,
    said: Vec<Said>,
}

/// What was said in one scenario.
#[derive(Debug, Clone)]
pub struct Told {
    scenario: Scenario,
    moments: Vec<Moment>,
    /// What those saw who do not ask the agents.
    pub outcome: Outcome,
}

/// Milliseconds as seconds with two decimals.
pub(crate) fn seconds(ms: u64) -> String {
    format!("{}.{:02}", ms / 1000, ms % 1000 / 10)
}

/// When the nodes are asked, in milliseconds after the begin, and whether it is over then.
fn moments(scenario: &Scenario) -> Vec<(u64, bool)> {
    let end = (scenario.lasts_ms.saturating_sub(BEFORE_END_MS), true);
    let course = scenario.course();
    let Some(repair) = course.iter().find(|step| step.fault.is_repair()) else { return vec![(end.0, false)] };
    let is_stopped = course.iter().any(|step| matches!(step.fault, Fault::Stop { .. } | Fault::Pause { .. }));
    let before = if is_stopped { BEFORE_CONTINUE_MS } else { BEFORE_MS };
    vec![(repair.at_ms.saturating_sub(before), false), end]
}

/// Plays the scenario in a pair of nodes with a witness, and asks.
///
/// # Errors
/// When the world fails, or the cluster never becomes steady.
pub fn tell(scenario: &Scenario, bin_dir: &Path, processes: &Processes) -> Result<Told, Error> {
    let shape = Shape::PAIR;
    let scenario = scenario.with_shape(&shape);
    let room = Path::new(ROOM).join(format!("why-{}", scenario.name));
    let plan = Plan::new(&scenario, Peer::Keepone, shape, bin_dir.to_owned(), room);
    let mut asker = Asker::new(moments(&scenario), bin_dir, processes);
    let record = runner::run(&scenario, plan, processes, &mut asker, |_| Ok(()))?;
    let moments = asker.answers()?;
    let outcome = demo::judge(&scenario, Peer::Keepone, String::new(), record).outcome;
    Ok(Told { scenario, moments, outcome })
}

/// One question to one node.
struct Question {
    moment: usize,
    node: String,
    pid: i32,
    /// Where the answer is written.
    answer: PathBuf,
    run_dir: String,
}

/// Asks while others look on.
struct Asker<'a> {
    program: PathBuf,
    processes: &'a Processes,
    moments: Vec<(u64, bool)>,
    begun: Option<u64>,
    /// How many of the moments have come.
    come: usize,
    questions: Vec<Question>,
    failed: Option<Error>,
}

impl<'a> Asker<'a> {
    fn new(moments: Vec<(u64, bool)>, bin_dir: &Path, processes: &'a Processes) -> Self {
        let program = bin_dir.join("keepone");
        Asker { program, processes, moments, begun: None, come: 0, questions: Vec::new(), failed: None }
    }

    fn ask(&mut self, world: &World, moment: usize) -> Result<(), Error> {
        for (host, agent) in world.topology.node_hosts().zip(&world.agents) {
            for (number, words) in COMMANDS.iter().enumerate() {
                let answer = agent.directory.join(format!("said-{moment}-{number}"));
                let mut command = Command::new(&self.program);
                command.args(*words).arg("--run-dir").arg(agent.run_dir());
                let pid = self.processes.start(&host.namespace, command, &answer)?;
                let (node, run_dir) = (host.name.clone(), agent.run_dir().display().to_string());
                self.questions.push(Question { moment, node, pid, answer, run_dir });
            }
        }
        Ok(())
    }

    /// All that was said, once each program has ended.
    fn answers(self) -> Result<Vec<Moment>, Error> {
        let begun = Instant::now();
        let open = |question: &Question| self.processes.ending(question.pid).is_none();
        while self.questions.iter().any(open) && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(20));
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        let moments = self.moments.iter().map(|&(at_ms, is_over)| Moment { at_ms, is_over, said: Vec::new() });
        let mut moments: Vec<Moment> = moments.collect();
        for question in self.questions {
            let Some(moment) = moments.get_mut(question.moment) else { continue };
            let text = std::fs::read_to_string(&question.answer).unwrap_or_default();
            let text = text.replace(&question.run_dir, "/run/keepone");
            match moment.said.last_mut().filter(|said| said.node == question.node) {
                Some(said) => said.answers.push(text),
                None => moment.said.push(Said { node: question.node, answers: vec![text] }),
            }
        }
        Ok(moments)
    }
}

impl Spectator for Asker<'_> {
    fn look(&mut self, world: &World, _: &Live) {
        let (Some(begun), Some((at_ms, _))) = (self.begun, self.moments.get(self.come)) else { return };
        if clock::now() < begun + world.plan.shift + at_ms * 1_000_000 {
            return;
        }
        let asked = self.ask(world, self.come);
        self.failed = self.failed.take().or(asked.err());
        self.come += 1;
    }

    fn ready(&mut self, _: usize) {}

    fn begun(&mut self, at: u64) {
        self.begun = Some(at);
    }

    fn done(&mut self, _: &Deed) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::ASKED_ABOUT;

    #[test]
    fn each_scenario_is_looked_at_while_its_fault_lasts_and_after_its_repair() {
        for scenario in ASKED_ABOUT {
            let (course, moments) = (scenario.course(), moments(scenario));
            let (at, _) = moments[0];
            let is_broken = |at| course.iter().any(|step| step.at_ms + 1000 < at && !step.fault.is_repair());
            let is_repaired = |at| course.iter().any(|step| step.at_ms < at && step.fault.is_repair());
            assert!(is_broken(at) && !is_repaired(at), "{}: {at}", scenario.name);
            assert!(moments[1..].iter().all(|(at, is_over)| *is_over && is_repaired(*at)), "{}", scenario.name);
            assert_eq!(moments.len() > 1, is_repaired(u64::MAX), "{}", scenario.name);
        }
    }
}
