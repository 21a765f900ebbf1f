//! The voter's record on disk (V6): one file per cluster, replaced as a whole.
//!
//! What must stay true: when [`Store::save`] returns `Ok`, the record survives a loss of power; when it
//! does not, nothing was promised. The file is written beside the old one, synced, renamed over it, and
//! the directory is synced, so that there is always one whole record.
//!
//! ```text
//! +-----------------------+------------------------------------------+
//! | CRC-32 of the rest (4)| the record (keepone_proto::lease::record)|
//! +-----------------------+------------------------------------------+
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use keepone_proto::lease::record::Record;
use nix::fcntl::{Flock, FlockArg};

/// Name of the lock in a state directory.
const LOCK_FILE: &str = "lock";

/// A record that can't be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process uses the directory.
    #[error("state directory {dir} is in use by another voter (its lock is held): give each its own state_dir")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory can't be made or written.
    #[error("can't use state directory {dir}: {source}; {}", remedy(source))]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A name that is no file name.
    #[error(
        "cluster name {0:?} can't name a file: use 1 to 100 letters, digits, '-', '_' and '.', not beginning with '.'"
    )]
    Name(String),
    /// A file that is no record.
    #[error("{path} is torn or damaged: it is not used, and the voter grants nobody for the longest lease")]
    Torn {
        /// The file.
        path: PathBuf,
    },
    /// The record can't be read.
    #[error("can't read {path}: {source}; {}", remedy(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The record can't be written.
    #[error("can't write {path}: {source}; {}", remedy(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What an operator can do about an error of the disk.
fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => "the disk is full: free some space, the record needs less than 4 KiB",
        Some(libc::EROFS) => "the file system is read-only: see `dmesg` for why, and remount it read-write",
        Some(libc::EACCES | libc::EPERM) => "give the directory to the user that runs this program",
        Some(libc::ENOENT | libc::ENOTDIR) => "the directory is gone or is none: make it again",
        Some(libc::EIO) => "the disk fails: replace it",
        _ => "no epoch can be granted until this is mended",
    }
}

/// Whether a name can be that of a cluster's file.
pub fn is_file_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=100).contains(&name.len()) && !name.starts_with('.') && name.chars().all(fits)
}

/// A state directory under lock.
#[derive(Debug, Clone)]
pub struct StateDir {
    dir: PathBuf,
    _lock: Arc<Flock<File>>,
}

impl StateDir {
    /// Makes the directory (mode 0700) where it is missing, and locks it until the last clone and store
    /// is dropped.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let unusable = |source| StoreError::Unusable { dir: dir.into(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join(LOCK_FILE));
        let lock = Flock::lock(lock.map_err(unusable)?, FlockArg::LockExclusiveNonblock);
        let lock = lock.map_err(|(_, errno)| match errno {
            nix::errno::Errno::EWOULDBLOCK => StoreError::Locked { dir: dir.into() },
            other => unusable(other.into()),
        })?;
        Ok(StateDir { dir: dir.into(), _lock: Arc::new(lock) })
    }

    /// The record of one cluster.
    pub fn store(&self, cluster: &str) -> Result<Store, StoreError> {
        if !is_file_name(cluster) {
            return Err(StoreError::Name(cluster.into()));
        }
        let path = self.dir.join(format!("{cluster}.voter"));
        let temporary = self.dir.join(format!("{cluster}.voter.new"));
        Ok(Store { state: self.clone(), path, temporary })
    }
}

/// The record of one cluster's voter.
#[derive(Debug)]
pub struct Store {
    state: StateDir,
    path: PathBuf,
    temporary: PathBuf,
}

impl Store {
    /// Of a directory that no other store needs.
    pub fn open(dir: &Path, cluster: &str) -> Result<Self, StoreError> {
        StateDir::open(dir)?.store(cluster)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The record of a former life; `None` if there was none. An error is for the log: the voter then
    /// starts without a record, which costs a wait and nothing else (V7).
    pub fn load(&self) -> Result<Option<Record>, StoreError> {
        read(&self.path)
    }

    /// Replaces the record and waits until it is on the disk.
    pub fn save(&self, record: &[u8]) -> Result<(), StoreError> {
        self.replace(record).map_err(|source| StoreError::Write { path: self.path.clone(), source })
    }

    fn replace(&self, record: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&self.temporary)?;
        file.write_all(&crc32fast::hash(record).to_be_bytes())?;
        file.write_all(record)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&self.temporary, &self.path)?;
        // Without this the rename itself may be lost with the power.
        File::open(&self.state.dir)?.sync_all()
    }
}

/// The record of a cluster's voter as it is on the disk, beside the voter that keeps it: for those who only look.
///
/// # Errors
/// It can't be read, or is damaged.
pub fn peek(dir: &Path, cluster: &str) -> Result<Option<Record>, StoreError> {
    if !is_file_name(cluster) {
        return Err(StoreError::Name(cluster.into()));
    }
    read(&dir.join(format!("{cluster}.voter")))
}

fn read(path: &Path) -> Result<Option<Record>, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Read { path: path.into(), source }),
    };
    let torn = || StoreError::Torn { path: path.into() };
    let (crc, record) = bytes.split_first_chunk::<4>().ok_or_else(torn)?;
    if u32::from_be_bytes(*crc) != crc32fast::hash(record) {
        return Err(torn());
    }
    Record::parse(record).map(Some).map_err(|_| torn())
}

/// Writes records on a thread of its own, in the order of their tickets, so that a slow disk holds up
/// nothing but the answers that wait for it.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Sender<(u64, Vec<u8>)>,
}

impl Writer {
    /// `done` is told the ticket and the outcome of each, in order, on that thread. The thread ends when
    /// the writer is dropped and the queue is empty.
    pub fn spawn(store: Store, mut done: impl FnMut(u64, Result<(), StoreError>) + Send + 'static) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel::<(u64, Vec<u8>)>();
        thread::Builder::new().name("voter-disk".into()).spawn(move || {
            while let Ok(first) = jobs.recv() {
                // A later record includes the earlier ones, so what has queued up is written once.
                let mut tickets = vec![first.0];
                let mut record = first.1;
                while let Ok((ticket, later)) = jobs.try_recv() {
                    tickets.push(ticket);
                    record = later;
                }
                report(&tickets, || store.save(&record), &mut done);
            }
        })?;
        Ok(Writer { queue })
    }

    /// Queues a record. `false` if the thread is gone: then nothing may be granted on it.
    pub fn write(&self, ticket: u64, record: Vec<u8>) -> bool {
        self.queue.send((ticket, record)).is_ok()
    }
}

/// One write settles all the tickets that it includes. A failed one is tried again for each, so that
/// each gets its own error.
fn report(
    tickets: &[u64],
    mut save: impl FnMut() -> Result<(), StoreError>,
    done: &mut impl FnMut(u64, Result<(), StoreError>),
) {
    let mut written = false;
    for ticket in tickets {
        let outcome = if written { Ok(()) } else { save() };
        written = outcome.is_ok();
        done(*ticket, outcome);
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
