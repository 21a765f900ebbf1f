//! The kernel's process events connector: who forks, executes, changes its name and ends (`linux/cn_proc.h`,
//! `linux/connector.h`; Documentation/driver-api/connector.rst).
//!
//! What must stay true: a lost message is never passed over. The kernel says that some are lost, and then everything is
//! to be looked at anew.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clock;

/// `NETLINK_CONNECTOR` (linux/netlink.h).
const NETLINK_CONNECTOR: isize = 11;
/// `CN_IDX_PROC` and `CN_VAL_PROC`.
const CN_PROC: (u32, u32) = (1, 1);
/// `NLMSG_DONE`.
const NLMSG_DONE: u16 = 3;
/// `PROC_CN_MCAST_LISTEN`.
const LISTEN: u32 = 1;
/// `struct nlmsghdr` and `struct cn_msg` before the event, in octets.
const HEADERS: usize = 16 + 20;
/// `what`, `cpu` and `timestamp_ns` before the event's data, in octets.
const EVENT: usize = 16;
/// Room for a storm of forks, in octets as the kernel counts them.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// How long the kernel may take to say that it has heard us. Where it can't, it says nothing (another PID namespace).
const HEARD_WITHIN: Duration = Duration::from_secs(2);

/// What has happened to a process, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is new, has executed another program, or has another name.
    Changed(u32),
    /// Its first thread has ended.
    Ended(u32),
}

/// A subscription.
#[derive(Debug)]
pub(crate) struct Connector {
    socket: Socket,
}

/// What a wait has brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// So much, in order; perhaps nothing.
    All(Vec<Seen>),
    /// Some is lost.
    Overrun,
}

/// Of the words that are told of a process.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Seen(Seen),
    /// `PROC_EVENT_NONE`: the answer to a subscription, 0 or an errno.
    Answer(u32),
    Other,
}

impl Connector {
    /// Subscribes.
    ///
    /// # Errors
    /// Where the kernel has no connector, or not in this namespace, or does not let us.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_CONNECTOR)?;
        // Where more is not to be had, there are more overruns.
        let _ = socket.set_rx_buf_sz(RECEIVE_BUFFER);
        socket.bind_auto()?;
        socket.add_membership(CN_PROC.0)?;
        socket.set_non_blocking(true)?;
        let connector = Connector { socket };
        connector.socket.send_to(&subscription(), &SocketAddr::new(0, 0), 0)?;
        connector.await_answer()?;
        Ok(connector)
    }

    fn await_answer(&self) -> io::Result<()> {
        let until = clock::now() + HEARD_WITHIN;
        while clock::now() < until {
            let left = until.since(clock::now());
            for word in self.receive(left)?.unwrap_or_default() {
                match word {
                    Word::Answer(0) => return Ok(()),
                    Word::Answer(errno) => {
                        return Err(io::Error::from_raw_os_error(i32::try_from(errno).unwrap_or(i32::MAX)));
                    }
                    Word::Seen(_) | Word::Other => {}
                }
            }
        }
        Err(io::Error::new(ErrorKind::TimedOut, "the kernel does not answer: is this another PID namespace?"))
    }

    /// Waits so long for something to happen.
    ///
    /// # Errors
    /// The socket is of no use any more.
    pub(crate) fn wait(&self, longest: Duration) -> io::Result<Heard> {
        let Some(words) = self.receive(longest)? else { return Ok(Heard::Overrun) };
        let seen = words.into_iter().filter_map(|word| match word {
            Word::Seen(seen) => Some(seen),
            Word::Answer(_) | Word::Other => None,
        });
        Ok(Heard::All(seen.collect()))
    }

    /// `None`: some is lost.
    fn receive(&self, longest: Duration) -> io::Result<Option<Vec<Word>>> {
        let timeout = PollTimeout::try_from(longest).unwrap_or(PollTimeout::ZERO);
        // SAFETY: the socket owns the descriptor, and outlives the borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) };
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(nix::Error::EINTR) => return Ok(Some(Vec::new())),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut words = Vec::new();
        // Not for ever: a storm must not keep what is known from being told.
        for _ in 0..BURST {
            match self.socket.recv_from_full() {
                // Only the kernel's own word counts.
                Ok((bytes, from)) if from.port_number() == 0 => words.push(word(&bytes)),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(words))
    }
}

const BURST: usize = 1024;

fn subscription() -> Vec<u8> {
    let length = u32::try_from(HEADERS + 4).unwrap_or(0);
    let mut bytes = Vec::with_capacity(HEADERS + 4);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(NLMSG_DONE.to_ne_bytes());
    // nlmsg_flags, nlmsg_seq, nlmsg_pid: the kernel looks at none of them.
    bytes.extend([0; 10]);
    bytes.extend(CN_PROC.0.to_ne_bytes());
    bytes.extend(CN_PROC.1.to_ne_bytes());
    // seq and ack.
    bytes.extend([0; 8]);
    bytes.extend(4_u16.to_ne_bytes());
    // flags.
    bytes.extend([0; 2]);
    bytes.extend(LISTEN.to_ne_bytes());
    bytes
}

/// `struct proc_event` behind its two headers.
fn word(bytes: &[u8]) -> Word {
    let read = |at: usize| {
        let four = bytes.get(at..at + 4)?;
        Some(u32::from_ne_bytes(four.try_into().ok()?))
    };
    let data = |place: usize| read(HEADERS + EVENT + place * 4);
    if (read(16), read(20)) != (Some(CN_PROC.0), Some(CN_PROC.1)) {
        return Word::Other;
    }
    // A thread that is not its process's first has another number than that.
    let first = |process: Option<u32>, group: Option<u32>| process.filter(|pid| group == Some(*pid));
    let seen = match read(HEADERS) {
        // PROC_EVENT_NONE
        Some(0) => return data(0).map_or(Word::Other, Word::Answer),
        // PROC_EVENT_FORK: parent_pid, parent_tgid, child_pid, child_tgid
        Some(1) => first(data(2), data(3)).map(Seen::Changed),
        // PROC_EVENT_EXEC, PROC_EVENT_COMM: process_pid, process_tgid
        Some(2 | 0x200) => first(data(0), data(1)).map(Seen::Changed),
        // PROC_EVENT_EXIT
        Some(0x8000_0000) => first(data(0), data(1)).map(Seen::Ended),
        _ => None,
    };
    seen.map_or(Word::Other, Word::Seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: u32, data: &[u32]) -> Vec<u8> {
        let mut bytes = subscription();
        bytes.truncate(HEADERS);
        bytes.extend(what.to_ne_bytes());
        bytes.extend([0; 12]);
        data.iter().for_each(|word| bytes.extend(word.to_ne_bytes()));
        bytes
    }

    #[test]
    fn processes_count_and_their_threads_do_not() {
        assert_eq!(word(&event(1, &[10, 10, 77, 77])), Word::Seen(Seen::Changed(77)));
        assert_eq!(word(&event(1, &[10, 10, 77, 10])), Word::Other, "a thread");
        assert_eq!(word(&event(2, &[77, 77])), Word::Seen(Seen::Changed(77)));
        assert_eq!(word(&event(0x200, &[77, 77, 0, 0])), Word::Seen(Seen::Changed(77)));
        assert_eq!(word(&event(0x8000_0000, &[77, 77, 0, 0])), Word::Seen(Seen::Ended(77)));
        assert_eq!(word(&event(0x8000_0000, &[78, 77, 0, 0])), Word::Other, "a thread");
        assert_eq!(word(&event(0, &[13])), Word::Answer(13));
        assert_eq!(word(&event(4, &[77, 77])), Word::Other, "another user");
    }

    #[test]
    fn what_is_cut_short_or_of_another_connector_says_nothing() {
        let whole = event(1, &[10, 10, 77, 77]);
        for length in 0..whole.len() {
            assert_eq!(word(&whole[..length]), Word::Other, "{length} octets");
        }
        let mut other = whole;
        other[16] = 9;
        assert_eq!(word(&other), Word::Other);
    }
}
