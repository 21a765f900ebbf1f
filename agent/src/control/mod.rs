//! The control socket of the agent: what it tells the operator, and what he may have it do.
//!
//! ```text
//! client's thread ── answers.rs ── desk (short queue) ── driver/control.rs, between two events
//!        ▲                                                        │
//!        └── view.rs, metrics.rs: JSON and text ── snapshot.rs ───┘  numbers and ids, no text
//! ```
//!
//! What must stay true: the decision thread makes a snapshot and nothing else for whoever asks; words, JSON and files
//! are the client's thread's (R15). A socket that can't be had keeps nobody from serving.

mod answers;
mod keepalived;
pub(crate) mod maintenance;
mod metrics;
mod servers;
pub(crate) mod snapshot;
mod statistics;
mod view;

use std::path::{Path, PathBuf};
use std::time::Duration;

use keepone_arbiter::control::{Counter, Desk, Server, Settings};
use keepone_proto::decision::Role;
use keepone_proto::node::{NoHandover, Why};

use crate::checkers;
use crate::record::Record;
pub(crate) use answers::Answers;
use snapshot::Snapshot;

/// The socket, in the run directory.
pub const SOCKET: &str = "control";
/// How long a client waits for the decision thread.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is asked of the decision thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Everything at a glance.
    Status,
    /// Why an instance, or the group that it is in, is what it is.
    Why(String),
    /// To be taken out, or back in.
    Maintenance(bool),
    /// To hand an instance's domain over, to a member or to the best that can.
    HandOver { instance: String, to: Option<String> },
    /// To announce an instance's addresses anew.
    Announce(String),
    /// To have the program replaced.
    Upgrade,
}

/// What it answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// At a glance.
    Status(Box<Snapshot>),
    /// Of one domain.
    Why(Box<Snapshot>, Box<Why>),
    /// It is being done.
    Maintenance,
    /// The same, to that node.
    HandOver(String),
    /// They are being announced.
    Announced,
    /// It has begun.
    Upgrading,
    /// They are not: that domain is not MASTER.
    NotMaster(Role),
    /// It is not, and why.
    Refused(NoHandover),
    /// There is nothing of that name.
    Unknown(String),
}

/// The decision thread's side.
pub(crate) type Questions = Counter<Ask, Answer>;

/// The path of the socket of an agent with this run directory.
pub fn socket(run_dir: &Path) -> PathBuf {
    run_dir.join(SOCKET)
}

/// Starts the socket's threads. Without it (the log says why) the agent serves all the same.
pub(crate) fn start(
    run_dir: &Path,
    group: Option<&str>,
    record: Option<Record>,
    (servers, connections): (checkers::desk::Desk, crate::ipvs::connections::Desk),
) -> (Option<Server>, Answers, Questions) {
    let (desk, questions) = Desk::new(PATIENCE);
    let group = group.and_then(|name| match nix::unistd::Group::from_name(name) {
        Ok(Some(group)) => Some(group.gid.as_raw()),
        Ok(None) | Err(_) => {
            tracing::error!(
                "control_group {name} does not exist: only root may use the control socket; add it with `groupadd`"
            );
            None
        }
    });
    let answers = Answers { desk, run_dir: run_dir.to_owned(), record, servers, connections };
    let server = Server::start(Settings::new(&socket(run_dir), group), answers.clone());
    let server = server.inspect_err(|error| tracing::error!("{error}: `keepone status` and others have nobody to ask"));
    (server.ok(), answers, questions)
}
