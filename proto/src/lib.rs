//! keepone's core: wire formats, pure machines, one decision.
//!
//! No clock, socket, random number, thread or hash-ordered map: events come in with their time,
//! actions go out. The same code runs in the agent, in the simulator and under tests.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

extern crate alloc;

pub mod action;
pub mod alerts;
mod announce;
pub mod balance;
pub mod bfd;
mod clocks;
pub mod decision;
mod domain;
pub mod effects;
pub mod event;
mod facts;
pub mod features;
mod fencing;
mod findings;
pub mod guard;
pub mod handed;
pub mod heartbeat;
pub mod id;
mod interface;
pub mod jitter;
pub mod lease;
pub mod mirror;
pub mod node;
#[cfg(feature = "serde")]
pub mod recording;
pub mod reference;
pub mod script;
pub mod settings;
pub mod tenure;
pub mod time;
pub mod track;
pub mod vrrp;
pub mod watch;
pub mod wire;
