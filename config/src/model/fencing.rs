//! The rings outside the gate.

use std::path::PathBuf;
use std::time::Duration;

use super::Script;

/// `fencing`.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, Default)]
pub struct Fencing {
    /// The hardware watchdog.
    pub watchdog: Option<Watchdog>,
    /// The command that makes a silent holder harmless before this node takes over.
    pub command: Option<FenceCommand>,
    /// The machine is restarted when it can't let go for so long.
    pub reboot_after: Option<Duration>,
    /// The names of the domains that the command and the restart are for; empty: all.
    pub domains: Vec<String>,
}

impl Fencing {
    /// Whether the command and the restart are for the domain of that name.
    pub fn concerns(&self, domain: &str) -> bool {
        self.domains.is_empty() || self.domains.iter().any(|name| name == domain)
    }
}

/// A device of the kernel's watchdog interface.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Watchdog {
    /// `/dev/watchdog`.
    pub device: PathBuf,
    /// How long after the last feeding it resets the machine; whole seconds, as the kernel has it.
    pub timeout_s: u32,
}

/// A fence command, run under the new lease and before the gate opens.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct FenceCommand {
    /// What is run; the victim, the domain and the epoch are further arguments.
    pub script: Script,
    /// When it is killed.
    pub timeout: Duration,
    /// How long after a failure this node does not claim.
    pub retry: Duration,
}
