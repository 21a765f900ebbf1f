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
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use keepone_proto::lease::record::Record;
use nix::fcntl::{Flock, FlockArg};

use super::times::Times;

/// Name of the lock in a state directory.
const LOCK_FILE: &str = "lock";
/// No record is longer: this is that of a hundred thousand domains. Whatever a longer file is, it is not read
/// into memory.
const LONGEST: u64 = 4 << 20;
/// At least so many octets must fit beside the record.
const PROBE: usize = 4096;

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
    #[error(
        "{path} is torn or damaged: it is not used, and the voter grants nobody for the longest lease; it writes a new one by itself, but test the disk if nobody else wrote there"
    )]
    Torn {
        /// The file.
        path: PathBuf,
    },
    /// A whole record in a format that this program does not know.
    #[error(
        "{path} was written by another version of keepone: it is not used, and the voter grants nobody for the longest lease; it writes a new one by itself, so nothing needs to be done"
    )]
    Version {
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
        Some(libc::ENOENT | libc::ENOTDIR | libc::EEXIST) => "the directory is gone or is none: make it again",
        Some(libc::EISDIR) => "a directory is where the file belongs: remove it",
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
    /// is dropped. The lock is opened for reading, so a file system that has become read-only keeps no voter
    /// from its start: it knows its record, lets the holder renew, and refuses new epochs.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let unusable = |source| StoreError::Unusable { dir: dir.into(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
        let mut options = OpenOptions::new();
        // The library makes files only where it may write them.
        let lock = options.read(true).custom_flags(libc::O_CREAT).mode(0o600).open(dir.join(LOCK_FILE));
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
        Ok(Store { state: self.clone(), path, temporary, times: Arc::default() })
    }
}

/// The record of one cluster's voter.
#[derive(Debug)]
pub struct Store {
    state: StateDir,
    path: PathBuf,
    temporary: PathBuf,
    times: Arc<Times>,
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
        load(&self.path)
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        read(&self.path)
    }

    /// Whether a new record could be written now, so that a voter with a full or read-only disk says so when it
    /// starts and not in the night in which it is needed. Leaves the record alone.
    pub fn probe(&self) -> Result<(), StoreError> {
        let size = self.read().map_or(PROBE, |bytes| bytes.len().max(PROBE));
        let probe = || {
            self.write_aside(&vec![0; size])?;
            fs::remove_file(&self.temporary)
        };
        probe().map_err(|source| StoreError::Write { path: self.path.clone(), source })
    }

    /// Replaces the record and waits until it is on the disk.
    pub fn save(&self, record: &[u8]) -> Result<(), StoreError> {
        let begin = Instant::now();
        let written = self.replace(record);
        self.times.note(begin.elapsed(), written.is_ok());
        written.map_err(|source| StoreError::Write { path: self.path.clone(), source })
    }

    /// How long its writes take; to be kept when the store is handed over.
    pub fn times(&self) -> Arc<Times> {
        self.times.clone()
    }

    fn replace(&self, record: &[u8]) -> io::Result<()> {
        self.write_aside(&[&crc32fast::hash(record).to_be_bytes(), record].concat())?;
        fs::rename(&self.temporary, &self.path)?;
        // Without this the rename itself may be lost with the power.
        File::open(&self.state.dir)?.sync_all()
    }

    /// A file beside the record, on the disk.
    fn write_aside(&self, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&self.temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
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
    load(&dir.join(format!("{cluster}.voter")))
}

/// How long ago the record of a cluster was written, by the wall clock; `None` if there is none. Of use to people,
/// not to a voter.
pub fn age(dir: &Path, cluster: &str) -> Option<Duration> {
    let written = fs::metadata(dir.join(format!("{cluster}.voter"))).ok()?.modified().ok()?;
    // Not before now: the wall clock was set back.
    Some(written.elapsed().unwrap_or_default())
}

fn load(path: &Path) -> Result<Option<Record>, StoreError> {
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Read { path: path.into(), source }),
    };
    let torn = || StoreError::Torn { path: path.into() };
    let (crc, record) = bytes.split_first_chunk::<4>().ok_or_else(torn)?;
    if u32::from_be_bytes(*crc) != crc32fast::hash(record) {
        return Err(torn());
    }
    // The checksum holds, so these are the octets that somebody wrote.
    Record::parse(record).map(Some).map_err(|_| StoreError::Version { path: path.into() })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A FIFO in its place must not keep the voter from its start.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The ticket under which [`Writer`] tells of its own probes; the voter's begin with 1.
pub const PROBED: u64 = 0;

/// Writes records on a thread of its own, in the order of their tickets, so that a slow disk holds up
/// nothing but the answers that wait for it.
///
/// It probes the disk when it starts, and after a failure each [`PROBE_EVERY`] until something can be written:
/// an operator learns of a broken disk, and that it is mended, without waiting for the next new epoch.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Sender<(u64, Vec<u8>)>,
}

/// Time from a failure to the next probe.
pub const PROBE_EVERY: Duration = Duration::from_secs(2);

impl Writer {
    /// `done` is told the ticket and the outcome of each, in order, on that thread; and with the ticket
    /// [`PROBED`] of a probe that fails, or is the first to succeed after a failure. The thread ends when
    /// the writer is dropped and the queue is empty.
    pub fn spawn(store: Store, mut done: impl FnMut(u64, Result<(), StoreError>) + Send + 'static) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel::<(u64, Vec<u8>)>();
        thread::Builder::new().name("voter-disk".into()).spawn(move || {
            let mut failed = false;
            let mut probe_at = Some(Instant::now());
            loop {
                let next = match probe_at {
                    Some(at) => jobs.recv_timeout(at.saturating_duration_since(Instant::now())),
                    None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                };
                let outcome = match next {
                    Ok(first) => {
                        // A later record includes the earlier ones, so what has queued up is written once.
                        let mut tickets = vec![first.0];
                        let mut record = first.1;
                        while let Ok((ticket, later)) = jobs.try_recv() {
                            tickets.push(ticket);
                            record = later;
                        }
                        report(&tickets, || store.save(&record), &mut done)
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        let outcome = store.probe();
                        let well = outcome.is_ok();
                        if failed || !well {
                            done(PROBED, outcome);
                        }
                        well
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                failed = !outcome;
                probe_at = failed.then(|| Instant::now() + PROBE_EVERY);
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
/// each gets its own error. Whether the last one is on the disk.
fn report(
    tickets: &[u64],
    mut save: impl FnMut() -> Result<(), StoreError>,
    done: &mut impl FnMut(u64, Result<(), StoreError>),
) -> bool {
    let mut written = false;
    for ticket in tickets {
        let outcome = if written { Ok(()) } else { save() };
        written = outcome.is_ok();
        done(*ticket, outcome);
    }
    written
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
