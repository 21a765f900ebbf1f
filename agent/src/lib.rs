//! keepone's agent: thin shells of I/O around [`keepone_proto::node::Node`].
//!
//! Events go in, actions come out ([`driver`]); nothing outside `proto` decides who holds a virtual
//! address. Nothing that can block (script, disk, log, DNS) stands between a decision and the gate (R15).

pub mod clock;
pub mod gate;
pub mod heartbeat;
pub mod keys;
pub mod net;
pub mod netlink;
mod readiness;
pub mod references;
