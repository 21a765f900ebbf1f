//! Measurements with the promise kept: how long a client waits when the holder's machine falls silent, and how
//! often the holder changes when nothing is wrong.

pub mod authorities;
pub mod checks;
pub mod commits;
mod room;
pub mod scrape;
pub mod start;
pub mod vrrp;
pub mod witness;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::fault::{Fault, Who};
use crate::netns::agent::Peer;
use crate::netns::error::Error;
use crate::netns::process::Processes;
use crate::netns::record::Record;
use crate::netns::runner::{self, Nobody};
use crate::netns::world::{Burden, Plan};
use crate::scenario::{CALM, ONE, PLAIN, Scenario, Shape, Step};
use crate::spans::millis;
use crate::{demo, verdict};

/// What is asked of a measurement of several programs in several cases.
#[derive(Debug, Clone)]
pub struct Comparison<Case> {
    /// What is measured; both give ratios.
    pub peers: Vec<Peer>,
    /// Which cases.
    pub cases: Vec<Case>,
    /// For how long each steady state is looked at.
    pub time: Duration,
    /// Where `keepone` is.
    pub bin_dir: PathBuf,
}

/// What is asked of a measurement.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is measured.
    pub peer: Peer,
    /// The cluster.
    pub shape: Shape,
    /// What burdens the machine.
    pub burden: Burden,
    /// Where the programs are.
    pub bin_dir: PathBuf,
    /// Where the worlds may keep their files.
    pub room: PathBuf,
}

/// Silences of the first client, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failover {
    /// `failover`.
    pub command: &'static str,
    /// What was measured.
    pub peer: &'static str,
    /// The cluster.
    pub shape: String,
    /// How many failovers were asked for.
    pub asked: u64,
    /// How many there were.
    pub runs: usize,
    /// Half of them were no longer.
    pub p50_ms: f64,
    /// 99 of 100 were no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// The shortest.
    pub min_ms: f64,
    /// The longest time that the machine itself kept the client from probing.
    pub probe_stall_ms: f64,
    /// Two holders at one instant, in all runs together.
    pub dual_holder_ms: f64,
}

/// How calm a cluster is to which nothing is done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calm {
    /// `calm`.
    pub command: &'static str,
    /// What was measured.
    pub peer: &'static str,
    /// The cluster.
    pub shape: String,
    /// Ordinary programs that wanted a whole CPU each.
    pub hogs: u8,
    /// For so long, in seconds.
    pub seconds: u64,
    /// How often another node came to hold the VIP, or the same after a silence, by the wire.
    pub changes: usize,
    /// The longest silence of the client.
    pub client_outage_ms: f64,
    /// The longest time that the machine itself kept the client from probing.
    pub probe_stall_ms: f64,
    /// Two holders at one instant.
    pub dual_holder_ms: f64,
    /// The agents' own word of each loss of the mastership.
    pub demotions: Vec<String>,
}

impl Failover {
    /// Whether it shows what was asked for: as many failovers, and never two holders.
    pub fn is_whole(&self) -> bool {
        self.dual_holder_ms == 0.0 && self.runs > 0 && u64::try_from(self.runs).is_ok_and(|runs| runs >= self.asked)
    }
}

/// Failovers in one world: its observers keep what they see.
const PER_WORLD: u64 = 10;

/// How long the master is away, and how long until it is away again, in milliseconds: the time that the peer
/// needs to take over, and for the preferred node to have the VIP back.
fn rhythm(peer: Peer, lease_ms: u64) -> (u64, u64) {
    match peer {
        Peer::Keepone => (2 * lease_ms + 1000, 3 * lease_ms + 4500),
        // Three advertisements and the skew; then its wait before it takes the VIP back.
        Peer::Keepalived => (5000, 12_000),
    }
}

fn away(count: u64, phase: u64, peer: Peer, lease_ms: u64) -> (Vec<Step>, u64) {
    let (gone, period) = rhythm(peer, lease_ms);
    let step = |at_ms, label, fault| Step { at_ms, label, fault };
    let mut steps = Vec::new();
    for run in 0..count {
        // The golden ratio's fractional part spreads the runs over the beats' and renewals' phases.
        let shift = (phase + run).wrapping_mul(0x9e37_79b9) % 200;
        let at = 1000 + run * period + shift;
        steps.push(step(at, "gone", Fault::Pause { who: Who::Master }));
        steps.push(step(at + gone, "back", Fault::Resume { who: Who::Master }));
    }
    (steps, 1000 + count * period)
}

/// The client's longest silence after each disappearance of the holder; those of a node that did not hold the
/// VIP at that moment are left out.
fn outages(record: &Record) -> Vec<f64> {
    let silences = verdict::silences(record, 0);
    let holder = record.nodes.get(record.first_holder).map(verdict::wire).unwrap_or_default();
    let gone = record.deeds.iter().enumerate().filter(|(_, deed)| deed.label == "gone");
    let held = gone.filter(|(_, deed)| !holder.within(deed.at.saturating_sub(100_000_000), deed.at).is_empty());
    let outage = |(place, deed): (usize, &crate::netns::record::Deed)| {
        let until = record.deeds.get(place + 1).map_or(record.end, |next| next.at);
        millis(silences.within(deed.at, until).longest())
    };
    held.map(outage).collect()
}

/// The smallest value that `percent` of the sorted ones do not exceed (nearest rank); 0 of none.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

/// Lets the holder's machine fall silent, over and over: all its frames vanish and its processes stand still.
///
/// # Errors
/// When the world fails.
pub fn failover(options: &Options, runs: u64, mut tell: impl FnMut(&[f64])) -> Result<Failover, Error> {
    let processes = Processes::new();
    let (mut seen, mut dual, mut stall) = (Vec::new(), 0.0, 0.0_f64);
    let mut world = 0;
    // A holder that was not back in time makes a run that does not count; a few worlds more make up for it.
    while u64::try_from(seen.len()).unwrap_or(runs) < runs && world < runs / PER_WORLD * 2 + 2 {
        let count = (runs - u64::try_from(seen.len()).unwrap_or(runs)).min(PER_WORLD);
        let (steps, lasts_ms) = away(count, world * PER_WORLD, options.peer, options.shape.lease_ms);
        // It lives as long as the program: a kilobyte for each world.
        let steps: &'static [Step] = Box::leak(steps.into_boxed_slice());
        let scenario = Scenario { name: "failover", steps, lasts_ms, demands: ONE, ..PLAIN };
        let record = one(options, &scenario, &processes, world)?;
        let outcome = verdict::measure(&scenario, &record);
        let fresh = outages(&record);
        tell(&fresh);
        seen.extend(fresh);
        dual += outcome.dual_holder_ms;
        stall = stall.max(outcome.probe_stall_ms);
        world += 1;
    }
    seen.sort_by(f64::total_cmp);
    Ok(Failover {
        command: "failover",
        peer: options.peer.as_str(),
        shape: options.shape.name(),
        asked: runs,
        runs: seen.len(),
        p50_ms: percentile(&seen, 50),
        p99_ms: percentile(&seen, 99),
        max_ms: percentile(&seen, 100),
        min_ms: seen.first().copied().unwrap_or(0.0),
        probe_stall_ms: stall,
        dual_holder_ms: dual,
    })
}

fn one(options: &Options, scenario: &Scenario, processes: &Processes, number: u64) -> Result<Record, Error> {
    let room = options.room.join(format!("bench-{}-{number}", options.peer.as_str()));
    let mut plan = Plan::new(scenario, options.peer, options.shape, options.bin_dir.clone(), room);
    plan.burden = options.burden;
    runner::run(scenario, plan, processes, &mut Nobody, |_| Ok(()))
}

/// How often somebody came to hold the VIP within the measured time beyond the one who held it at its beginning:
/// what came before, when the cluster settled, is no change.
fn changes(record: &Record) -> usize {
    let holds = record.nodes.iter().map(|node| verdict::wire(node).within(record.begin, record.end).iter().count());
    holds.sum::<usize>().saturating_sub(1)
}

/// Does nothing to a cluster for `seconds`.
///
/// # Errors
/// When the world fails.
pub fn calm(options: &Options, seconds: u64) -> Result<Calm, Error> {
    let lasts_ms = seconds * 1000;
    let scenario = Scenario { name: "calm", lasts_ms, demands: CALM, ..PLAIN };
    let record = one(options, &scenario, &Processes::new(), 0)?;
    let changes = changes(&record);
    let run = demo::judge(&scenario, options.peer, String::new(), record);
    Ok(Calm {
        command: "calm",
        peer: options.peer.as_str(),
        shape: options.shape.name(),
        hogs: options.burden.hogs,
        seconds,
        changes,
        client_outage_ms: run.outcome.client_outage_ms,
        probe_stall_ms: run.outcome.probe_stall_ms,
        dual_holder_ms: run.outcome.dual_holder_ms,
        demotions: run.outcome.demotions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::observe::client::Answer;
    use crate::netns::observe::sniffer::{Naming, Sighting};
    use crate::netns::record::{Deed, NodeRecord};

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let sorted: Vec<f64> = (1..=50).map(f64::from).collect();
        assert_eq!((percentile(&sorted, 50), percentile(&sorted, 99), percentile(&sorted, 100)), (25.0, 50.0, 50.0));
        assert_eq!((percentile(&[7.0], 50), percentile(&[], 50)), (7.0, 0.0));
    }

    #[test]
    fn an_outage_counts_only_from_a_holder_that_was_gone() {
        const MS: u64 = 1_000_000;
        let answers = (0..1000).chain(1300..2000).map(|ms| Answer { at: ms * MS, node: 0 }).collect();
        let sightings = (0..1000).map(|ms| Sighting { at: ms * MS, naming: Naming::Ip }).collect();
        let deed = |at, label| Deed { at: at * MS, label, repair: false };
        let record = Record {
            nodes: vec![NodeRecord { sightings, ..NodeRecord::default() }],
            answers: vec![answers],
            deeds: vec![deed(1000, "gone"), deed(1500, "back"), deed(1700, "gone")],
            end: 2000 * MS,
            ..Record::default()
        };
        let outages = outages(&record);
        assert_eq!(outages.len(), 1);
        assert!((299.0..=301.0).contains(&outages[0]), "{outages:?}");
    }

    #[test]
    fn only_changes_within_the_measured_time_count() {
        const MS: u64 = 1_000_000;
        let node = |from: u64, to: u64| NodeRecord {
            sightings: (from..to).map(|ms| Sighting { at: ms * MS, naming: Naming::Ip }).collect(),
            ..NodeRecord::default()
        };
        let record = |begin: u64, end: u64| Record {
            nodes: vec![node(0, 500), node(600, 1000)],
            begin: begin * MS,
            end: end * MS,
            ..Record::default()
        };
        assert_eq!((changes(&record(0, 1000)), changes(&record(550, 1000)), changes(&record(0, 550))), (1, 0, 0));
    }

    #[test]
    fn every_master_that_goes_comes_back_before_it_goes_again() {
        let (steps, lasts) = away(10, 0, Peer::Keepone, 300);
        assert!(steps.is_sorted_by_key(|step| step.at_ms) && steps.len() == 20);
        assert!(steps.last().is_some_and(|step| step.at_ms < lasts));
    }
}
