//! The kernel's links, addresses, routes and rules, through rtnetlink(7).
//!
//! The one thing that must stay true: rtnetlink's crates, whose interfaces break with each release,
//! are named here and nowhere else.

pub mod address;
pub(crate) mod at_once;
mod batch;
pub mod link;
mod message;
pub mod path;
pub mod queues;
mod state;
pub mod watch;
