//! Liveness of peers, from beats over several links (safety.md, Heartbeats).
//!
//! Facts only: who was heard when, on which link, and whether it hears us. What follows from it is
//! [`crate::decision`]'s.

mod dating;
pub mod link;
pub mod peer;
