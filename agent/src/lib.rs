//! Skeleton.

pub mod gate;
