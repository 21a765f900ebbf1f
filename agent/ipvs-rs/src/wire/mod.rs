//! Messages and attributes as they cross the netlink socket (`include/uapi/linux/ip_vs.h`).
//!
//! What must stay true: emitting and parsing is the identity, and parsing never fails on a value: an attribute of an
//! unknown number or an unexpected length is kept as `Other`.

mod attribute;
mod daemon;
mod destination;
mod message;
mod service;
mod stats;
#[cfg(test)]
mod tests;
mod value;

pub use daemon::DaemonAttribute;
pub use destination::DestinationAttribute;
pub use message::{Attribute, Command, InfoAttribute, IpvsMessage, MainAttribute};
pub use service::ServiceAttribute;
pub use stats::{Stats64Attribute, StatsAttribute};
pub use value::{Flags, NetworkOrder};
