//! IPVS, the load balancer in the Linux kernel, over generic netlink.
//!
//! Three layers, each usable without those above it:
//!
//! - [`wire`]: the messages and attributes of `include/uapi/linux/ip_vs.h`, typed, on the netlink-packet crates. What
//!   this crate does not know is kept as it came, never an error: somebody else's service with a new attribute must not
//!   make the table unreadable.
//! - [`Service`], [`Destination`], [`Daemon`]...: what they mean, and [`plan`], which says what turns one table into
//!   another with the fewest and safest changes. Pure.
//! - [`Handle`]: the kernel, asynchronously, on tokio.
//!
//! ```no_run
//! # async fn example() -> Result<(), ipvs_rs::Error> {
//! use ipvs_rs::{Destination, Handle, Protocol, Service, ServiceId};
//!
//! let ipvs = Handle::open().await?;
//! let id = ServiceId::Address { protocol: Protocol::Tcp, address: "192.0.2.1:80".parse().unwrap() };
//! ipvs.add_service(&Service::new(id, "wlc")).await?;
//! ipvs.add_destination(id, &Destination::new("10.0.0.1:80".parse().unwrap())).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A kernel without IPVS answers [`Error::NoFamily`]: `modprobe ip_vs`. Changes need CAP_NET_ADMIN in the user namespace
//! that owns the network namespace.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod daemon;
mod destination;
mod error;
mod handle;
mod plan;
mod service;
mod stats;
mod table;
#[cfg(test)]
mod testing;
pub mod wire;

pub use daemon::{Daemon, DaemonRole, Info, Timeouts};
pub use destination::{Checksum, Destination, DestinationEntry, Encapsulation, Forwarding, Tunnel};
pub use error::{Error, Incomplete};
pub use handle::Handle;
pub use plan::{Change, plan};
pub use service::{Family, Granularity, Persistence, Protocol, Service, ServiceEntry, ServiceId};
pub use stats::Stats;
pub use table::{Entry, Table};
