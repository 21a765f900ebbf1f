//! How this node's own voter stands: its socket listens to the peers alone, so it is read from what it keeps on disk.
//!
//! The record has what was promised and no more; what generation the running agent was started with it notes itself
//! in the run directory.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use keepone_arbiter::witness::state::peek;
use keepone_config::model::Cluster;
use keepone_proto::id::{ClusterId, ConfigDigest};
use keepone_proto::lease::config_digest;
use keepone_proto::lease::generation::Opened;
use keepone_proto::settings::QuorumSettings;
use keepone_proto::time::Instant;
use keepone_proto::wire::lease::Standing;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::judge::Answer;
use crate::clock;

/// What the agent votes on, as it noted when it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    generation: u32,
    digest: u64,
    /// CLOCK_BOOTTIME of the start, in nanoseconds.
    started_ns: u64,
}

fn path(run_dir: &Path) -> PathBuf {
    run_dir.join("voter.json")
}

/// Notes what the voter of this process votes on.
///
/// # Errors
/// The run directory can't be written.
pub(crate) fn note(run_dir: &Path, cluster: ClusterId, quorum: &QuorumSettings) -> io::Result<()> {
    let digest = config_digest(cluster, quorum).0;
    let note = Note { generation: quorum.generation, digest, started_ns: clock::now().as_nanos() };
    fs::write(path(run_dir), serde_json::to_vec(&note)?)
}

/// How the voter of the agent that runs with this configuration stands.
///
/// # Errors
/// No agent runs, or what it keeps can't be read: in words, with the remedy.
pub(super) fn look(cluster: &Cluster) -> Result<Answer, String> {
    let run_dir = &cluster.run_dir;
    if !is_running(run_dir) {
        return Err(format!("no agent runs with run_dir {}: start it", run_dir.display()));
    }
    let file = path(run_dir);
    let unreadable = |error: &dyn std::error::Error| format!("{} can't be read: {error}", file.display());
    let text = fs::read(&file).map_err(|error| unreadable(&error))?;
    let note: Note = serde_json::from_slice(&text).map_err(|error| unreadable(&error))?;
    // Without a record it has lent nothing yet, and nothing is older than the first generation.
    let record = peek(&cluster.state_dir, &cluster.name).map_err(|error| error.to_string())?;
    let (floor, opened) = record.map_or((1, Opened::default()), |record| (record.floor.max(1), record.opened));
    let standing = Standing {
        generation: note.generation,
        floor,
        floor_for: clock::now().since(Instant::from_nanos(note.started_ns)),
        opened,
        quiet_for: std::time::Duration::ZERO,
        lent: 0,
    };
    Ok(Answer { standing, digest: ConfigDigest(note.digest), from_disk: true })
}

/// Whether a worker holds its lock. Taking it for a moment keeps no worker from starting: it waits for the lock.
fn is_running(run_dir: &Path) -> bool {
    let Ok(file) = File::open(run_dir.join("worker.lock")) else { return false };
    matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, nix::errno::Errno::EWOULDBLOCK)))
}
