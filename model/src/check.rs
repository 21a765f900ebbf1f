//! Runs the checker and says what it found.

use std::time::{Duration, Instant};

use stateright::{Checker as _, HasDiscoveries, Model as _};

use crate::protocol::Lease;

/// What a check found.
#[derive(Debug, Clone)]
pub struct Report {
    /// Distinct states.
    pub states: usize,
    /// Steps taken, repetitions included.
    pub steps: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Whether every state within the bounds was looked at.
    pub exhaustive: bool,
    /// Properties that do not hold, each with the shortest way to see it.
    pub violated: Vec<(&'static str, Vec<String>)>,
    /// Things that should be possible, and are.
    pub seen: Vec<&'static str>,
    /// Things that should be possible, and were not seen.
    pub unseen: Vec<&'static str>,
}

/// Walks through every state within the bounds, breadth first, so that a way found is a shortest one.
/// Stops at the first violation, or after `limit` states (0: never).
pub fn check(model: Lease, limit: usize, threads: usize) -> Report {
    let began = Instant::now();
    let mut builder = model.checker().threads(threads.max(1)).finish_when(HasDiscoveries::AnyFailures);
    if limit > 0 {
        builder = builder.target_state_count(limit);
    }
    let checker = builder.spawn_bfs().join();
    let discoveries = checker.discoveries();
    let (mut violated, mut seen, mut unseen) = (Vec::new(), Vec::new(), Vec::new());
    for property in model.properties() {
        let found = discoveries.get(property.name);
        match (property.expectation.discovery_is_failure(), found) {
            (true, Some(path)) => {
                let words = path.clone().into_actions().iter().map(|step| model.format_action(step)).collect();
                violated.push((property.name, words));
            }
            (true, None) => {}
            (false, Some(_)) => seen.push(property.name),
            (false, None) => unseen.push(property.name),
        }
    }
    Report {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        took: began.elapsed(),
        exhaustive: violated.is_empty() && (limit == 0 || checker.state_count() < limit),
        violated,
        seen,
        unseen,
    }
}
