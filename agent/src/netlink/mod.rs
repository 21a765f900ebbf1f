//! The kernel's links and addresses, through rtnetlink(7).
//!
//! The one thing that must stay true: rtnetlink's crates, whose interfaces break with each release,
//! are named here and nowhere else.

pub mod address;
mod message;
pub mod queues;
mod state;
pub mod watch;
