//! Who says yes or no: the witness service, its client, and the QUIC transport that the agent's
//! heartbeats share with both.
//!
//! The rules are in `keepone_proto::lease`; here is only what touches sockets, files and clocks.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod clock;
pub mod control;
pub mod etcd;
pub mod log;
pub mod quic;
pub mod realtime;
pub mod systemd;
pub mod web;
pub mod witness;
