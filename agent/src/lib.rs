//! keepone's agent: thin shells of I/O around [`keepone_proto::node::Node`].
//!
//! Events go in, actions come out ([`driver`]); nothing outside `proto` decides who holds a virtual
//! address. Nothing that can block (script, disk, log, DNS) stands between a decision and the gate (R15).

pub mod assemble;
pub mod calendar;
pub mod checkers;
pub mod clock;
pub mod control;
mod dbus;
mod discipline;
pub mod doctor;
pub mod driver;
pub mod dump;
pub mod event_log;
pub mod examine;
pub mod exit;
pub mod fencing;
pub mod gate;
mod gate_keeper;
pub mod gate_lab;
mod gate_writer;
pub mod guardian;
pub mod heartbeat;
mod ipvs;
mod kernel;
pub mod keys;
mod leftovers;
mod life;
mod linkbeat;
mod lock;
pub mod logging;
pub mod mirror;
pub mod net;
pub mod netlink;
pub mod notify;
pub mod pid_file;
pub mod post;
mod readiness;
pub mod realserver;
pub mod record;
mod recording;
pub mod references;
mod reload;
pub mod rights;
mod script;
mod service_manager;
mod snmp;
mod sysctl;
mod takeover;
mod tracking;
pub mod upgrade;
pub mod voice;
pub mod voters;
pub mod wall_clock;
pub(crate) mod web;
pub mod worker;
