//! What etcd as the authority costs it: commits for each renewal, with grants that hang on its leases and without.

use std::time::Duration;

use serde::Serialize;

use super::Options;
use crate::netns::agent::Peer;
use crate::netns::clock;
use crate::netns::error::Error;
use crate::netns::etcd::{self, Agreed};
use crate::netns::observe::Live;
use crate::netns::process::Processes;
use crate::netns::record::Deed;
use crate::netns::runner::{self, Spectator};
use crate::netns::world::{Plan, World};
use crate::scenario::{CALM, PLAIN, Scenario, Shape};
use crate::verdict;

/// What comes of the start is over: leases that were left behind end as fast as new ones are taken.
const SETTLES: Duration = Duration::from_secs(6);

/// What one cluster has had its etcd agree upon.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The cluster.
    pub shape: String,
    /// Domains of one holder.
    pub domains: u32,
    /// For so long it was looked at, in seconds.
    pub seconds: f64,
    /// Renewals: changes of keys, since nothing else happens.
    pub renewals: u64,
    /// Commits.
    pub commits: u64,
    /// Two holders at one instant.
    pub dual_holder_ms: f64,
}

impl Row {
    fn new(shape: &Shape, domains: u32, (from, first): (u64, Agreed), (to, last): (u64, Agreed)) -> Self {
        Row {
            shape: shape.name(),
            domains,
            seconds: Duration::from_nanos(to.saturating_sub(from)).as_secs_f64(),
            renewals: last.revisions.saturating_sub(first.revisions),
            commits: last.commits.saturating_sub(first.commits),
            dual_holder_ms: 0.0,
        }
    }

    /// For each renewal of a domain.
    pub fn per_renewal(&self) -> f64 {
        f64::from(u32::try_from(self.commits).unwrap_or(u32::MAX))
            / f64::from(u32::try_from(self.renewals.max(1)).unwrap_or(u32::MAX))
    }

    /// In a second.
    pub fn per_second(&self) -> f64 {
        f64::from(u32::try_from(self.commits).unwrap_or(u32::MAX)) / self.seconds.max(f64::EPSILON)
    }

    /// Whether it shows what was asked for: renewals of a single holder.
    pub fn is_whole(&self) -> bool {
        self.renewals > 0 && self.dual_holder_ms == 0.0
    }
}

/// Reads etcd's counters twice, so far apart.
struct Counter {
    seconds: u64,
    begun_at: Option<u64>,
    first: Option<(u64, Agreed)>,
    last: Option<(u64, Agreed)>,
}

impl Spectator for Counter {
    fn look(&mut self, world: &World, _: &Live) {
        let (Some(begun_at), None) = (self.begun_at, self.last) else { return };
        let now = clock::now();
        let due = match self.first {
            None => Duration::from_nanos(now.saturating_sub(begun_at)) >= SETTLES,
            Some((from, _)) => Duration::from_nanos(now.saturating_sub(from)) >= Duration::from_secs(self.seconds),
        };
        // One that does not answer is asked again.
        if let Some(seen) = due.then(|| etcd::count(&world.topology).ok()).flatten() {
            let place = if self.first.is_none() { &mut self.first } else { &mut self.last };
            *place = Some((now, seen));
        }
    }

    fn ready(&mut self, _: usize) {}

    fn begun(&mut self, at: u64) {
        self.begun_at = Some(at);
    }

    fn done(&mut self, _: &Deed) {}
}

/// Looks at a pair with so many domains (1 to 100) for so many seconds, with and without `etcd_lease`.
///
/// # Errors
/// When the world fails.
pub fn run(options: &Options, domains: &[u8], seconds: u64, mut tell: impl FnMut(&Row)) -> Result<Vec<Row>, Error> {
    let (processes, mut rows) = (Processes::new(), Vec::new());
    for domains in domains {
        for sessions in [false, true] {
            let shape = Shape { sessions, ..options.shape.with_etcd() };
            let scenario = Scenario {
                name: "commits",
                // A second more, for looks that come late.
                lasts_ms: (seconds + SETTLES.as_secs() + 1) * 1000,
                more_instances: domains.saturating_sub(1),
                demands: CALM,
                ..PLAIN
            };
            let room = options.room.join(format!("bench-commits-{}", rows.len()));
            let plan = Plan::new(&scenario, Peer::Keepone, shape, options.bin_dir.clone(), room);
            let mut counter = Counter { seconds, begun_at: None, first: None, last: None };
            let record = runner::run(&scenario, plan, &processes, &mut counter, |_| Ok(()))?;
            let none = (0, Agreed { commits: 0, revisions: 0 });
            let (first, last) = counter.first.zip(counter.last).unwrap_or((none, none));
            let outcome = verdict::measure(&scenario, &record);
            let row = Row::new(&shape, (*domains).into(), first, last);
            let row = Row { dual_holder_ms: outcome.dual_holder_ms, ..row };
            tell(&row);
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The rows as a table for a page.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| cluster | domains | renewals | commits | for each renewal | in a second |\n|---|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let Row { shape, domains, renewals, commits, .. } = row;
        let (each, second) = (row.per_renewal(), row.per_second());
        text += &format!("| {shape} | {domains} | {renewals} | {commits} | {each:.2} | {second:.1} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_what_came_between_two_looks_and_without_renewals_shows_nothing() {
        let at = |seconds: u64, commits, revisions| (seconds * 1_000_000_000, Agreed { commits, revisions });
        let row = Row::new(&Shape::PAIR.with_etcd(), 10, at(5, 100, 40), at(15, 400, 140));
        assert_eq!((row.renewals, row.commits, row.per_renewal(), row.per_second()), (100, 300, 3.0, 30.0));
        assert!(row.is_whole() && !Row { dual_holder_ms: 0.1, ..row.clone() }.is_whole());
        assert!(table(&[row]).ends_with("| 10 | 100 | 300 | 3.00 | 30.0 |\n"));
        // Counters that were not read twice.
        assert!(!Row::new(&Shape::PAIR, 1, at(0, 0, 0), at(0, 0, 0)).is_whole());
    }
}
