//! What is configured of virtual servers, as far as health goes.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// The greatest weight that IPVS takes.
pub const MAX_WEIGHT: u32 = i32::MAX as u32;

/// All virtual servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BalanceSettings {
    /// In the configuration's order.
    pub services: Vec<ServiceSettings>,
    /// Tell of real servers that are up at the start too (`rs_init_notifies`).
    pub init_notifies: bool,
}

/// A virtual server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSettings {
    /// What tells it from others: by it a reload knows it again.
    pub name: String,
    /// The least weight of living real servers, from 1.
    pub quorum: u32,
    /// Gained so far above the quorum, lost so far below; less than the quorum.
    pub hysteresis: u32,
    /// At the stop it is told that all goes down.
    pub omega: bool,
    /// No checks while its address is elsewhere.
    pub ha_suspend: bool,
    /// Somebody stands in while the quorum is lost.
    pub has_sorry: bool,
    /// Over this time the weight of a real server that comes back grows to its own; zero: at once.
    pub slow_start: Duration,
    /// In the configuration's order.
    pub servers: Vec<ServerSettings>,
}

/// A real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// What tells it from others of its virtual server.
    pub name: String,
    /// Its share, 0 to [`MAX_WEIGHT`].
    pub weight: u32,
    /// Down, it stays in the table with weight 0.
    pub inhibit: bool,
    /// It is up while all are. Without one it is always up.
    pub checkers: Vec<CheckerSettings>,
}

/// A check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckerSettings {
    /// What is tried: by it a reload knows a check again, whatever its times are. All copies of the settings share it.
    pub key: Arc<str>,
    /// How its outcomes come.
    pub kind: CheckerKind,
    /// Between two checks; above zero.
    pub interval: Duration,
    /// The first check comes within this time; zero: at once.
    pub warmup: Duration,
    /// Further tries before the server counts as down.
    pub retry: u32,
    /// Before each of them.
    pub delay_before_retry: Duration,
    /// Down until the first check succeeds.
    pub alpha: bool,
    /// The longest that a try may take, by the shell's own watch.
    pub timeout: Duration,
    /// Tell of every failed try.
    pub tell_all: bool,
}

/// How outcomes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckerKind {
    /// They are asked for.
    Asked {
        /// Of how many requests it is made, one of them each time; from 1. All must pass before the server comes up.
        steps: u32,
        /// While it is down, and at the start, all steps follow each other at once.
        fast_recovery: bool,
    },
    /// They are told: a file, a BFD session.
    Told,
}
