//! Two releases in one cluster: upgraded machine by machine, taken back, and mixed for long.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::demo;
use crate::netns::agent::Peer;
use crate::netns::error::{Error, io_error};
use crate::netns::process::Processes;
use crate::netns::runner::{self, Nobody};
use crate::netns::topology::Kind;
use crate::netns::world::{Neighbour, Plan, World};
use crate::outcome::Outcome;
use crate::scenario::{NEIGHBOURS, Shape};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the programs of this release are.
    pub bin_dir: PathBuf,
    /// Where those of the other are.
    pub previous: PathBuf,
    /// Where the worlds may keep their files.
    pub room: PathBuf,
    /// Only stories whose names begin so; empty: all.
    pub only: String,
    /// Limits of the client's silence are so many times as long.
    pub slack: u64,
    /// Where configurations, logs and events of each story are kept.
    pub keep_logs: Option<PathBuf>,
}

/// Who has which release.
#[derive(Debug, Clone, Copy)]
pub struct Story {
    /// Its name.
    pub name: &'static str,
    /// In words.
    pub what: &'static str,
    begin: &'static [Kind],
    exchange: bool,
}

const ALL: &[Kind] = &[Kind::Node(0), Kind::Node(1), Kind::Witness(0)];

/// All of them.
pub const STORIES: [Story; 5] = [
    Story { name: "upgrade", what: "each machine comes back with this release", begin: ALL, exchange: true },
    Story { name: "back", what: "each machine comes back with the former release", begin: &[], exchange: true },
    Story {
        name: "first-node",
        what: "the preferred node keeps the former release",
        begin: &[Kind::Node(0)],
        exchange: false,
    },
    Story {
        name: "second-node",
        what: "the other node keeps the former release",
        begin: &[Kind::Node(1)],
        exchange: false,
    },
    Story {
        name: "witness",
        what: "the witness keeps the former release",
        begin: &[Kind::Witness(0)],
        exchange: false,
    },
];

/// What was seen in one of them.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    /// The story.
    pub story: &'static str,
    /// What was seen, and each breach of what is demanded.
    pub outcome: Outcome,
}

/// What a member says of another release's messages that it can't read.
const REFUSALS: [&str; 3] = ["this node reads version", "this witness reads version", "was written by another version"];

/// The lines of a log in which a member refuses what another release has made.
fn refusals(log: &str) -> Vec<String> {
    log.lines().filter(|line| REFUSALS.iter().any(|refusal| line.contains(refusal))).map(str::to_owned).collect()
}

fn refused(world: &World) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for agent in world.agents.iter().chain(&world.witnesses) {
        let log = std::fs::read(agent.log()).map_err(io_error("read a log"))?;
        // Once is enough: it is said again and again.
        found.extend(refusals(&String::from_utf8_lossy(&log)).into_iter().take(1));
    }
    Ok(found)
}

fn play(story: &Story, options: &Options, processes: &Processes) -> Result<Told, Error> {
    let scenario = NEIGHBOURS.with_slack(options.slack);
    let room = options.room.join(story.name);
    let mut plan = Plan::new(&scenario, Peer::Keepone, Shape::PAIR, options.bin_dir.clone(), room);
    let begin = story.begin.to_vec();
    plan.neighbour = Some(Neighbour { bin_dir: options.previous.clone(), begin, exchange: story.exchange });
    let mut refusals = Vec::new();
    let record = runner::run(&scenario, plan, processes, &mut Nobody, |world| {
        refusals = refused(world)?;
        options.keep_logs.as_ref().map_or(Ok(()), |to: &PathBuf| world.keep_logs(&Path::new(to).join(story.name)))
    })?;
    let mut outcome = demo::judge(&scenario, Peer::Keepone, String::new(), record).outcome;
    outcome.shape = Shape::PAIR.name();
    outcome.violations.extend(refusals.into_iter().map(|line| format!("a member refuses the other release: {line}")));
    Ok(Told { story: story.name, outcome })
}

/// Plays the stories, and tells each as it ends; whether all demands were met, and at least one story was played.
///
/// # Errors
/// When a world fails, or a program is missing in one of the two directories.
pub fn run(options: &Options, mut tell: impl FnMut(&Story, &Told)) -> Result<bool, Error> {
    let processes = Processes::new();
    let (mut held, mut played) = (true, false);
    for story in STORIES.iter().filter(|story| story.name.starts_with(&options.only)) {
        let told = play(story, options, &processes)?;
        held &= told.outcome.violations.is_empty();
        played = true;
        tell(story, &told);
    }
    Ok(held && played)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_found_in_a_log() {
        let alert = "config-mismatch: n1 sends heartbeats of version 2, this node reads version 1";
        assert_eq!(refusals(&format!("all is well\n{alert}\n")), [alert]);
        let record = "the record /x was written by another version of keepone";
        assert_eq!(refusals(record), [record]);
        assert!(refusals("all is well\n").is_empty());
    }
}
