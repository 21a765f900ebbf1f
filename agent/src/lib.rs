//! Skeleton.

pub mod clock;
pub mod net;
pub mod netlink;
mod readiness;
pub mod references;
