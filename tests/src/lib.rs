//! Fixtures of the tests that cross crates: a LAN of namespaces, the real programs in it, and observers.
//!
//! Everything made here ends with the value that made it, on success, failure and panic alike; a test
//! program that is itself killed takes its children along.

pub mod advert;
pub mod alone;
pub mod binary;
pub mod book;
pub mod browser;
pub mod certificates;
pub mod cluster;
pub mod debian;
pub mod dissect;
pub mod etcd;
pub mod frr;
pub mod gates;
mod kernel;
pub mod lan;
pub mod machine;
pub mod observe;
pub mod patience;
pub mod probes;
pub mod program;
pub mod terminal;
pub mod unbroken;

pub use keepone_chaos::netns::error::Error;
