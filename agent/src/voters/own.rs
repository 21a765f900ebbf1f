//! How this node's own voter stands: its socket listens to the peers alone, so it is read from what it keeps on disk.
//!
//! The record has what was promised and no more; what generation the running agent was started with it notes itself
//! in the run directory.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keepone_arbiter::witness::state::{age, peek};
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

/// By which generation the agent goes, and votes if it does, as it noted when it started.
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

/// Notes by which generation this process goes, whether it votes or not.
///
/// # Errors
/// The run directory can't be written.
pub(crate) fn note(run_dir: &Path, cluster: ClusterId, quorum: &QuorumSettings) -> io::Result<()> {
    let digest = config_digest(cluster, quorum).0;
    put(run_dir, &Note { generation: quorum.generation, digest, started_ns: clock::now().as_nanos() })
}

/// Beside the former one and over it: who reads it has one or the other, whole.
fn put(run_dir: &Path, note: &Note) -> io::Result<()> {
    let (path, new) = (path(run_dir), run_dir.join("voter.json.new"));
    fs::write(&new, serde_json::to_vec(note)?)?;
    fs::rename(new, path)
}

/// For how long the floor on record has been kept, at least: it may have been raised since the start, and by the last
/// that was written at the latest.
fn floor_for(note: &Note, state_dir: &Path, cluster: &str) -> Duration {
    let runs_for = clock::now().since(Instant::from_nanos(note.started_ns));
    age(state_dir, cluster).map_or(runs_for, |age| age.min(runs_for))
}

/// How the agent that runs with this configuration stands, and its voter if it has one.
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
        // Asked after the record was read: one that was written in between is younger.
        floor_for: floor_for(&note, &cluster.state_dir, &cluster.name),
        opened,
        quiet_for: Duration::ZERO,
        lent: 0,
    };
    Ok(Answer { standing, digest: ConfigDigest(note.digest), from_disk: true })
}

/// Whether a worker holds its lock. Taking it for a moment keeps no worker from starting: it waits for the lock.
fn is_running(run_dir: &Path) -> bool {
    let Ok(file) = File::open(run_dir.join("worker.lock")) else { return false };
    matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, nix::errno::Errno::EWOULDBLOCK)))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use keepone_arbiter::witness::state::Store;
    use keepone_proto::lease::record::Record;

    use super::*;

    #[test]
    fn a_floor_that_was_written_since_the_start_is_no_older_than_its_record() {
        let dir = tempfile::tempdir().unwrap();
        let hour = Duration::from_secs(3600);
        let now = clock::now();
        let note = Note { generation: 3, digest: 7, started_ns: 0 };
        assert!(floor_for(&note, dir.path(), "c") >= now.since(Instant::BOOT), "no record: it was never raised");
        let store = Store::open(dir.path(), "c").unwrap();
        store.save(&Record { floor: 3, ..Record::default() }.emit()).unwrap();
        let file = File::options().write(true).open(dir.path().join("c.voter")).unwrap();
        let ago = Duration::from_secs(2);
        file.set_modified(std::time::SystemTime::now() - ago).unwrap();
        let kept = floor_for(&note, dir.path(), "c");
        assert!((ago..ago + hour).contains(&kept) && kept < now.since(Instant::BOOT), "{kept:?}");
        let note = Note { started_ns: clock::now().as_nanos(), ..note };
        assert!(floor_for(&note, dir.path(), "c") < ago, "a life that began later knows no more");
    }

    #[test]
    fn who_reads_the_note_while_it_is_replaced_has_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let note = Note { generation: 3, digest: 7, started_ns: 1 };
        put(dir.path(), &note).unwrap();
        let mut reader = File::open(path(dir.path())).unwrap();
        put(dir.path(), &Note { generation: 4, ..note.clone() }).unwrap();
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        assert_eq!(serde_json::from_slice::<Note>(&text).unwrap(), note);
        let text = fs::read(path(dir.path())).unwrap();
        assert_eq!(serde_json::from_slice::<Note>(&text).unwrap().generation, 4);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "and nothing is left beside it");
    }
}
