//! The simulated world: the same `Node` and `Voter` as the agent and the witness run, on clocks, lines,
//! kernels and disks drawn from a seed, under faults drawn from it too.
//!
//! A seed is a history (I25): [`run_seed`] with the same options gives the same one, to the byte. The
//! [`oracle`] knows real time and all hosts, and holds the history against the invariants of the safety
//! design. [`ablation`] takes out one guard at a time: the sweep must then find a violation.

pub mod ablation;
pub mod clock;
mod devices;
pub mod fault;
pub mod history;
mod host;
pub mod kernel;
pub mod network;
pub mod oracle;
pub mod plan;
pub mod rng;
mod run;
mod scenarios;
pub mod schedule;
mod sweep;
#[cfg(test)]
mod tests;
mod world;

pub use ablation::Ablation;
pub use oracle::Violation;
pub use plan::Mode;
pub use run::{Options, Outcome, run_seed};
pub use scenarios::{run, run_scenario};
pub use sweep::{AblationRow, Report, ablations, sweep};
