//! Scripts on a change of state.

/// A command, run without a shell.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Script {
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// Whom it runs as; `None`: `script_user`.
    pub user: Option<String>,
    /// Which group; `None`: the user's.
    pub group: Option<String>,
}

/// The scripts of an instance or sync group.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, Default)]
pub struct Notify {
    /// On each change, with type, name, state and priority as further arguments.
    pub any: Option<Script>,
    /// On becoming MASTER.
    pub master: Option<Script>,
    /// On becoming BACKUP.
    pub backup: Option<Script>,
    /// On becoming FAULT.
    pub fault: Option<Script>,
    /// At the stop of the agent.
    pub stop: Option<Script>,
}
