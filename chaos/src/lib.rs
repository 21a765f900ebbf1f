//! Faults, worlds to put them in, and the proof that a VIP has one holder.
//!
//! [`fault`] and [`scenario`] are the vocabulary. The netns world drives the real programs on real
//! packets in network namespaces and never links the agent; the simulator drives the pure core.
//! [`verdict`] turns what was seen into an [`outcome`].

pub mod bench;
pub mod deed;
pub mod demo;
pub mod fault;
pub mod gate_bench;
pub mod history;
pub mod matrix;
pub mod neighbours;
pub mod netns;
pub mod outcome;
pub mod qemu;
pub mod replay;
pub mod report;
pub mod scenario;
pub mod sim;
pub mod soak;
pub mod spans;
pub mod verdict;
pub mod why_book;
