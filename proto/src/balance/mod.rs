//! Load balancing: which real servers a virtual server has, and with what weight.
//!
//! - [`settings`]: what is configured
//! - [`checker`]: one check of one real server: when it is made, and what its outcomes mean
//! - [`service`]: one virtual server: which real servers are up, its quorum, who is in the table
//! - [`former`]: what was there before a reload, by name
//! - [`handed`]: what was there in the process before this one, when the program is replaced in place
//! - [`machine`]: all of them: events in, actions out
//! - [`standing`]: how they stand, for the operator
//! - [`wanted`]: what the kernel's table should hold
//!
//! It decides nothing about a virtual IP: [`crate::node`] does not know of it, and each can fail without the other.
//!
//! What must stay true: a real server that counts as up leaves the table only by as many failures in a row as are
//! configured; the quorum is lost and gained with the hysteresis that is configured; a weight is within 0 and 2^31 - 1.

pub mod checker;
mod former;
pub mod handed;
pub mod machine;
pub mod service;
pub mod settings;
pub mod standing;
pub mod wanted;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
