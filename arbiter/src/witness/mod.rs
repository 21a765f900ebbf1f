//! The witness: a voter that is no candidate, and the way to reach one.
//!
//! - [`state`]: what a voter must not forget, on disk (V6); agents that vote use it too
//! - [`config`]: the witness's configuration
//! - [`server`]: the voter of each cluster behind a QUIC endpoint
//! - [`client`]: an agent's connections to its witnesses

pub mod client;
pub mod config;
pub mod server;
pub mod state;

#[cfg(test)]
mod tests;
