//! Words to standard error from where nothing may wait: the guardian, whose next deed may be to shut a gate (R15).
//!
//! What must stay true: a full pipe, a stopped terminal or a reader that has gone cost the words, never time and
//! never the process, as `eprintln!` would.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::logging::sink::lead_stderr_to;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::write;

/// What a pipe takes whole or not at all.
const LONGEST: usize = libc::PIPE_BUF;

/// The log file, where there is one.
static FILE: OnceLock<PathBuf> = OnceLock::new();

/// Leads standard error to a file from now on, also when another has been put in its place.
///
/// # Errors
/// It can't be opened.
pub fn into_file(path: &Path) -> io::Result<()> {
    lead_stderr_to(path)?;
    let _ = FILE.set(path.to_owned());
    Ok(())
}

/// One line, if it can be said at once.
pub(crate) fn say(words: fmt::Arguments<'_>) {
    // One that can't be opened leaves the former one.
    let _ = FILE.get().map(|path| lead_stderr_to(path));
    tell(io::stderr().as_fd(), line(words));
}

fn line(words: fmt::Arguments<'_>) -> Vec<u8> {
    let mut line = format!("keepone: {words}").into_bytes();
    line.truncate(LONGEST - 1);
    line.push(b'\n');
    line
}

fn tell(fd: BorrowedFd<'_>, line: Vec<u8>) {
    let kind = fstat(fd).map(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT);
    match kind {
        Ok(SFlag::S_IFSOCK) => drop(send(fd.as_raw_fd(), &line, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)),
        Ok(SFlag::S_IFREG) => drop(write(fd, &line)),
        _ => match unshared(fd) {
            Ok(own) => drop(write(&own, &line)),
            // No /proc, or not ours to open: the worker, which has the same pipe, might fill it in between, so that
            // this is the second choice.
            Err(_) if has_room(fd) => drop(write(fd, &line)),
            Err(_) => {}
        },
    }
}

/// The same pipe or terminal once more, non-blocking: to make the inherited one so would make it so for all who
/// have it.
fn unshared(fd: BorrowedFd<'_>) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().write(true).custom_flags(flags).open(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

fn has_room(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
    let ready = poll(&mut fds, PollTimeout::ZERO).is_ok();
    let [fd] = fds;
    ready && fd.revents() == Some(PollFlags::POLLOUT)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::time::Duration;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    /// Says it on a thread, so that a wait is a failure and no test that hangs.
    #[track_caller]
    fn at_once(fd: impl AsFd + Send + 'static, words: &'static str) {
        let (done, answer) = mpsc::channel();
        std::thread::spawn(move || {
            tell(fd.as_fd(), line(format_args!("{words}")));
            let _ = done.send(fd);
        });
        drop(answer.recv_timeout(Duration::from_secs(20)).expect("it waited for its reader"));
    }

    fn fill(fd: impl AsFd) {
        let flags = OFlag::from_bits_truncate(fcntl(fd.as_fd(), FcntlArg::F_GETFL).unwrap());
        fcntl(fd.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
        for size in [4096, 1] {
            while write(fd.as_fd(), &vec![b'x'; size]).is_ok() {}
        }
        fcntl(fd.as_fd(), FcntlArg::F_SETFL(flags)).unwrap();
    }

    #[test]
    fn a_full_pipe_and_a_full_socket_cost_the_words_alone() {
        let (reader, writer) = io::pipe().unwrap();
        fill(&writer);
        assert!(!has_room(writer.as_fd()));
        at_once(writer, "lost");
        drop(reader);
        let (_reader, writer) = UnixStream::pair().unwrap();
        fill(&writer);
        at_once(writer, "lost");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_panic() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        assert!(!has_room(writer.as_fd()));
        at_once(writer, "lost");
        let (reader, writer) = UnixStream::pair().unwrap();
        drop(reader);
        at_once(writer, "lost");
    }

    #[test]
    fn what_can_be_said_is_said() {
        let (mut reader, writer) = io::pipe().unwrap();
        assert!(has_room(writer.as_fd()));
        at_once(writer, "to a pipe");
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "keepone: to a pipe\n");
        let (mut reader, writer) = UnixStream::pair().unwrap();
        at_once(writer, "to a socket");
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "keepone: to a socket\n");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"before\n").unwrap();
        at_once(file.as_file().try_clone().unwrap(), "to a file");
        assert_eq!(std::fs::read(file.path()).unwrap(), b"before\nkeepone: to a file\n");
    }

    #[test]
    fn what_is_too_long_for_a_pipe_to_take_whole_is_cut_and_still_a_line() {
        let line = line(format_args!("{}", "x".repeat(10_000)));
        assert_eq!(line.len(), LONGEST);
        assert_eq!(line.last(), Some(&b'\n'));
    }
}
