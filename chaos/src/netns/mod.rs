//! The real world: network namespaces, bridges and veth pairs, made with netlink and setns; the real
//! programs in them; faults done to them; and observers that believe nobody.

pub mod agent;
pub mod clock;
pub mod configuration;
pub mod cut;
pub mod deeds;
pub mod enclosure;
pub mod error;
pub mod etcd;
pub mod namespace;
pub mod observe;
pub mod priority;
pub mod process;
pub mod record;
pub mod runner;
pub mod start;
pub mod topology;
pub mod weather;
pub mod world;
