//! Skeleton.
pub mod heartbeat;
pub mod keys;
