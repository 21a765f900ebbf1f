//! The simulated world: the same `Node` and `Voter` as the agent and the witness run, on clocks, lines,
//! kernels and disks drawn from a seed, under faults drawn from it too.
//!
//! A seed is a history (I25): [`run_seed`] with the same options gives the same one, to the byte. The
//! [`oracle`] knows real time and all hosts, and holds the history against the invariants of the safety
//! design. [`mutant`] takes out one guard at a time: the sweep must then find a violation.

pub mod clock;
mod devices;
pub mod fault;
pub mod history;
mod host;
mod judge;
pub mod kernel;
pub mod moves;
pub mod mutant;
mod network;
pub mod oracle;
pub mod plan;
mod process;
mod queue;
pub mod register;
pub mod rng;
mod run;
mod scenarios;
pub mod schedule;
mod shrink;
mod speech;
pub mod store;
pub mod swarm;
mod sweep;
#[cfg(test)]
mod tests;
mod upgrade;
#[cfg(test)]
mod why;
mod world;

pub use mutant::{CONTROLS, Mutant};
pub use oracle::Violation;
pub use plan::{Mode, overlap_bound};
pub use run::{Case, Options, Outcome, run_seed};
pub use scenarios::{run, run_scenario};
pub use shrink::{Shrunk, shrink};
pub use sweep::{MutantRow, Report, markdown, mutants, sweep};
