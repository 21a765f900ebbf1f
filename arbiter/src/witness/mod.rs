//! The witness: a voter that is no candidate, and the way to reach one.
//!
//! - [`state`]: what a voter must not forget, on disk (V6); agents that vote use it too
//! - [`times`]: how long its writes take
//! - [`config`]: the witness's configuration
//! - [`server`]: start, stop and reload
//! - `hall`: the voters of all clusters and the loop that feeds them; `seat`: one of them
//! - [`rates`]: how much each member may send
//! - [`orders`]: what the operator asks of a running witness; [`report`]: what it is told
//! - [`counter`]: the socket on which it is asked; [`metrics`], [`scrape`]: the same in numbers, over HTTP
//! - `page`: the same for a browser
//! - [`backup`]: copies of the records, and their way back
//! - [`client`]: an agent's connections to its witnesses

pub mod backup;
pub mod client;
pub mod config;
pub mod counter;
mod hall;
pub mod metrics;
pub mod orders;
mod page;
pub mod rates;
pub mod report;
pub mod scrape;
mod seat;
pub mod server;
pub mod state;
pub mod times;

#[cfg(test)]
mod operation_tests;
#[cfg(test)]
mod tests;
