//! The lease (skeleton).
pub mod timing;
