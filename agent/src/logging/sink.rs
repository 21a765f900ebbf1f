//! Where log lines go. Each write is one line or entry; all of this runs on the log's own thread.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// systemd's native protocol (systemd, JOURNAL_NATIVE_PROTOCOL).
const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";
/// How long a reader that is behind is waited for; meanwhile lines queue up, and then get lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// The number of a facility (RFC 3164, 4.1.1): `daemon`, `user`, `local0` to `local7`, or a digit for the latter.
pub fn facility(name: &str) -> Option<u8> {
    match name {
        "user" => Some(1),
        "daemon" => Some(3),
        _ => match name.strip_prefix("local").unwrap_or(name).as_bytes() {
            [digit @ b'0'..=b'7'] => Some(16 + (digit - b'0')),
            _ => None,
        },
    }
}

/// Whether what is written to standard error arrives in the journal (systemd.exec(5), `$JOURNAL_STREAM`).
pub(super) fn stderr_is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    nix::sys::stat::fstat(io::stderr().as_fd()).is_ok_and(|stat| is_stream(&stream, stat.st_dev, stat.st_ino))
}

fn is_stream(stream: &OsStr, device: u64, inode: u64) -> bool {
    let numbers = stream.to_str().and_then(|text| text.split_once(':'));
    numbers.is_some_and(|(dev, ino)| dev.parse() == Ok(device) && ino.parse() == Ok(inode))
}

/// Standard error, unbuffered: who is to read it may have gone, which is no panic.
#[derive(Debug)]
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket that takes datagrams, opened when there is something to say.
#[derive(Debug)]
struct Datagrams {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Datagrams {
    fn new(path: &Path) -> Self {
        Datagrams { path: path.to_owned(), socket: None }
    }

    /// One that has gone, as when its reader was started anew, is opened once more.
    fn send(&mut self, entry: &[u8]) -> io::Result<()> {
        for _ in 0..2 {
            let socket = match self.socket.take() {
                Some(socket) => socket,
                None => connect(&self.path)?,
            };
            match socket.send(entry) {
                Ok(_) => {
                    self.socket = Some(socket);
                    return Ok(());
                }
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::ECONNREFUSED | libc::ENOTCONN | libc::EPIPE)) => {}
                Err(error) => {
                    self.socket = Some(socket);
                    return Err(error);
                }
            }
        }
        Err(io::ErrorKind::NotConnected.into())
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(path)?;
    Ok(socket)
}

/// The journal; what it does not take goes to standard error, as text.
#[derive(Debug)]
pub(super) struct Journal(Datagrams);

impl Default for Journal {
    fn default() -> Self {
        Journal(Datagrams::new(Path::new(JOURNAL)))
    }
}

impl Write for Journal {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        if self.0.send(entry).is_err() {
            let message = entry.split(|octet| *octet == b'\n').find_map(|line| line.strip_prefix(b"MESSAGE="));
            io::stderr().write_all(&[message.unwrap_or(entry), b"\n"].concat())?;
        }
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// syslog's socket; what it does not take goes to standard error.
#[derive(Debug)]
pub(super) struct Syslog(Datagrams);

impl Default for Syslog {
    fn default() -> Self {
        Syslog(Datagrams::new(Path::new(SYSLOG)))
    }
}

impl Write for Syslog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.send(line).is_err() {
            io::stderr().write_all(&[line, b"\n"].concat())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file by its name: when it has been moved away, or another has been put in its place, that one is written.
#[derive(Debug)]
pub(super) struct FileSink {
    path: PathBuf,
    file: Option<File>,
}

impl FileSink {
    pub(super) fn new(path: PathBuf) -> Self {
        FileSink { path, file: None }
    }
}

impl Write for FileSink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !self.file.as_ref().is_some_and(|file| is_named(file, &self.path)) {
            // One that can't be opened now leaves the former one, if there is any.
            match open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) if self.file.is_none() => return Err(error),
                Err(_) => {}
            }
        }
        self.file.as_mut().map_or(Ok(line.len()), |file| file.write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_named(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), path.symlink_metadata()) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

/// Opens a log file at its end. A symbolic link is not followed: in a directory that others write it could lead
/// anywhere.
///
/// # Errors
/// The kernel's answer.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Leads standard error to the file of that name, unless it leads there.
///
/// # Errors
/// The file can't be opened.
pub(crate) fn lead_stderr_to(path: &Path) -> io::Result<()> {
    let file = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    if is_named(&file, path) {
        return Ok(());
    }
    nix::unistd::dup2_stderr(open(path)?).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journals_stream_is_known_by_its_numbers() {
        assert!(is_stream(OsStr::new("8:123"), 8, 123));
        for other in ["8:124", "9:123", "8", "", "8:123:1", "x:123"] {
            assert!(!is_stream(OsStr::new(other), 8, 123), "{other}");
        }
    }

    #[test]
    fn a_reader_that_starts_anew_is_found_again() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("log");
        let mut datagrams = Datagrams::new(&path);
        assert!(datagrams.send(b"nobody").is_err());
        let mut buffer = [0; 16];
        for round in [b"1", b"2"] {
            let _ = std::fs::remove_file(&path);
            let reader = UnixDatagram::bind(&path).unwrap();
            datagrams.send(round).unwrap();
            assert_eq!((reader.recv(&mut buffer).unwrap(), buffer[0]), (1, round[0]));
        }
    }

    #[test]
    fn a_reader_that_does_not_read_costs_no_more_than_patience() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("log");
        let _reader = UnixDatagram::bind(&path).unwrap();
        let mut datagrams = Datagrams::new(&path);
        let begin = std::time::Instant::now();
        while datagrams.send(&[b'x'; 1024]).is_ok() {}
        // Its queue is short (net.unix.max_dgram_qlen); a busy machine wakes us later.
        assert!(begin.elapsed() < PATIENCE * 5, "{:?}", begin.elapsed());
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let room = tempfile::tempdir().unwrap();
        let (path, old) = (room.path().join("log"), room.path().join("log.1"));
        let mut sink = FileSink::new(path.clone());
        sink.write_all(b"one\n").unwrap();
        std::fs::rename(&path, &old).unwrap();
        sink.write_all(b"two\n").unwrap();
        // Another one by the rotation itself.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "made\n").unwrap();
        sink.write_all(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "made\nthree\n");
        // A link laid in its place is not followed.
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&old, &path).unwrap();
        sink.write_all(b"four\n").unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\n");
    }
}
