//! Locks that say "there is one of us": held for a process's life, given back by the kernel at its end.
//!
//! What must stay true: whoever has such a lock knows that the former owner is dead, not merely silent. The
//! descriptor is close-on-exec, so that no script that a dead owner started keeps the lock.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::clock;

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(2);

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Somebody else has it and kept it.
    #[error("held by {}", .pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Held {
        /// The owner, where /proc/locks tells.
        pid: Option<u32>,
    },
    /// The system's answer.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Takes the lock of a file or directory; waits for it if need be, `patience` at most.
///
/// # Errors
/// Held by somebody else to the end, or the system's answer.
pub fn take(mut file: File, patience: Duration) -> Result<Flock<File>, Denied> {
    let until = clock::now() + patience;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, Errno::EWOULDBLOCK)) if clock::now() < until => file = back,
            Err((back, Errno::EWOULDBLOCK)) => return Err(Denied::Held { pid: holder(&back) }),
            Err((_, errno)) => return Err(Denied::System(errno.into())),
        }
        std::thread::sleep(AGAIN);
    }
}

/// Who has the lock, for a message: `None` if nobody, or if /proc/locks does not tell (another pid
/// namespace, a file system with device numbers of its own).
fn holder(file: &File) -> Option<u32> {
    let metadata = file.metadata().ok()?;
    let (device, inode) = (metadata.dev(), metadata.ino());
    let place = format!("{:02x}:{:02x}:{inode}", libc::major(device), libc::minor(device));
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| pid_of(line, &place))
}

/// The owner in a line of proc_locks(5), if it is of the place; a line of a waiter has another form.
fn pid_of(line: &str, place: &str) -> Option<u32> {
    let mut words = line.split_whitespace().skip(1);
    let (kind, _, _, pid, at) = (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    let pid = pid.parse().ok()?;
    (kind == "FLOCK" && at == place && pid != 0).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_denied_and_told_who_the_first_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.lock");
        let first = take(File::create(&path).unwrap(), Duration::ZERO).unwrap();
        let denied = take(File::open(&path).unwrap(), Duration::from_millis(20)).unwrap_err();
        match denied {
            Denied::Held { pid } => assert!(pid.is_none_or(|pid| pid == std::process::id()), "{pid:?}"),
            other @ Denied::System(_) => panic!("{other}"),
        }
        drop(first);
        take(File::open(&path).unwrap(), Duration::ZERO).unwrap();
    }

    #[test]
    fn who_waits_gets_the_lock_when_it_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let first = take(File::open(directory.path()).unwrap(), Duration::ZERO).unwrap();
        let path = directory.path().to_owned();
        let second = std::thread::spawn(move || take(File::open(path).unwrap(), Duration::from_secs(30)).map(drop));
        std::thread::sleep(Duration::from_millis(50));
        drop(first);
        second.join().unwrap().unwrap();
    }

    #[test]
    fn the_owner_is_read_from_the_line_of_its_lock() {
        let line = "12: FLOCK  ADVISORY  WRITE 4711 00:1b:99 0 EOF";
        assert_eq!(pid_of(line, "00:1b:99"), Some(4711));
        assert_eq!(pid_of(line, "00:1b:98"), None);
        assert_eq!(pid_of("12: POSIX  ADVISORY  WRITE 4711 00:1b:99 0 EOF", "00:1b:99"), None);
        assert_eq!(pid_of("12: -> FLOCK  ADVISORY  WRITE 4712 00:1b:99 0 EOF", "00:1b:99"), None);
        assert_eq!(pid_of("12: FLOCK  ADVISORY  WRITE 0 00:1b:99 0 EOF", "00:1b:99"), None);
        assert_eq!(pid_of("", ""), None);
    }
}
