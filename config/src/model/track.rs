//! What instances and checkers can watch: scripts, files, processes, BFD sessions.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Script;

/// Everything that can be watched, in the order of the file.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, Default)]
pub struct TrackerSources {
    /// `vrrp_script`.
    pub scripts: Vec<ScriptTracker>,
    /// `track_file`.
    pub files: Vec<FileTracker>,
    /// `vrrp_track_process`.
    pub processes: Vec<ProcessTracker>,
    /// `bfd_instance`.
    pub bfd: Vec<BfdInstance>,
}

/// How a tracker moves a priority.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Weight {
    /// 0: a failure is a FAULT; above: added while all is well; below: added after a failure. For a file: a factor.
    pub value: i32,
    /// The other way round.
    pub reverse: bool,
}

/// What an instance watches; `tracker` is a place in the list of [`TrackerSources`], or of virtual servers.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq)]
pub struct Tracked {
    /// Which.
    pub tracker: usize,
    /// Its own, or that of the tracker.
    pub weight: Weight,
}

/// All that an instance or a sync group watches, its interfaces apart.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, Default)]
pub struct Trackers {
    /// `track_script`.
    pub scripts: Vec<Tracked>,
    /// `track_file`.
    pub files: Vec<Tracked>,
    /// `track_process`.
    pub processes: Vec<Tracked>,
    /// `track_bfd`.
    pub bfd: Vec<Tracked>,
    /// `track_virtual_server`: places in [`super::Config::virtual_servers`].
    pub virtual_servers: Vec<Tracked>,
}

/// `vrrp_script`.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct ScriptTracker {
    /// The operator's name for it.
    pub name: String,
    /// What is run.
    pub script: Script,
    /// Between two runs; 1 s by default.
    pub interval: Duration,
    /// When a run is killed; the interval by default.
    pub timeout: Duration,
    /// Unless the instance has its own.
    pub weight: Weight,
    /// Successes in a row until it counts as good, from 1.
    pub rise: u32,
    /// Failures in a row until it counts as bad, from 1.
    pub fall: u32,
    /// Bad until it has succeeded.
    pub init_fail: bool,
}

/// `track_file`.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct FileTracker {
    /// The operator's name for it.
    pub name: String,
    /// Holds one whole number.
    pub file: PathBuf,
    /// What the number is multiplied with; 1 by default.
    pub weight: Weight,
    /// What to write into it at the start.
    pub init: Option<InitFile>,
}

/// `init_file`.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq)]
pub struct InitFile {
    /// The number; 0 by default.
    pub value: i64,
    /// Whether a file that is there is written anew.
    pub overwrite: bool,
}

/// `vrrp_track_process`.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct ProcessTracker {
    /// The operator's name for it.
    pub name: String,
    /// The program, then its arguments; never empty.
    pub command: Vec<String>,
    /// How arguments are compared.
    pub arguments: ArgumentMatch,
    /// Whether the whole command line is compared, not the program's name alone.
    pub full_command: bool,
    /// Unless the instance has its own.
    pub weight: Weight,
    /// The fewest that must run, from 1.
    pub quorum: u16,
    /// The most that may run.
    pub quorum_max: Option<u16>,
    /// How long too few may run, up to an hour.
    pub terminate_delay: Duration,
    /// How long enough must run, up to an hour.
    pub fork_delay: Duration,
}

/// `param_match`.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArgumentMatch {
    /// Any arguments: none were given.
    Any,
    /// These and no others.
    Exact,
    /// These first, of which the last may be longer.
    Initial,
    /// These first.
    Partial,
    /// No arguments at all.
    NoArguments,
}

/// `bfd_instance`.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct BfdInstance {
    /// The operator's name for it, 1 to 31 bytes.
    pub name: String,
    /// The other end.
    pub neighbor: IpAddr,
    /// This end; `None`: the kernel's choice.
    pub source: Option<IpAddr>,
    /// RequiredMinRxInterval; 10 ms by default (RFC 5880, 6.8.1).
    pub min_rx: Duration,
    /// DesiredMinTxInterval; 10 ms by default.
    pub min_tx: Duration,
    /// The same while the session is down; 1 s by default.
    pub idle_tx: Duration,
    /// DetectMult; 5 by default.
    pub multiplier: u8,
    /// Whether it waits for the other end.
    pub passive: bool,
    /// Hop limit of what is sent; 255 by default (RFC 5881, 5), where keepalived has 64 for IPv6.
    pub hop_limit: u8,
    /// How many hops a packet may have crossed; `None`: any.
    pub max_hops: Option<u8>,
    /// Beyond routers (RFC 5883).
    pub multihop: bool,
    /// Unless the instance has its own.
    pub weight: Weight,
    /// Whether instances may use it.
    pub for_vrrp: bool,
    /// Whether checkers may use it.
    pub for_checkers: bool,
}
