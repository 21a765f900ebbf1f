//! Requests to the kernel's rtnetlink, many in one datagram: thousands of addresses cost some dozen system calls.
//!
//! The kernel works a datagram off while it is being sent, and answers only what it refuses and the last request. What
//! must stay true: each request has its own answer, and an answer that was lost counts as a refusal.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;

use super::message::{self, AddressInfo, LinkInfo, Message};

/// How long the kernel may take over the answer to what it has worked off.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests in one datagram; the others of the thread get their turn between two.
pub(super) const CHUNK: usize = 256;
/// Room for an answer to each of them, in octets as the kernel counts them.
const RECEIVE_BUFFER: usize = 1024 * 1024;
/// The longest datagram: [`CHUNK`] requests of some hundred octets each.
const SEND_BUFFER: usize = 256 * 1024;
/// A datagram of a dump is 32 KiB at most.
const BUFFER: usize = 64 * 1024;
/// So often is a listing begun anew that changes broke into.
const READINGS: u32 = 5;

/// One request: what, and the flags beside `NLM_F_REQUEST` (linux/netlink.h).
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub message: RouteNetlinkMessage,
    pub flags: u16,
}

/// Why the kernel refused a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `None`: it did not answer in time.
    pub errno: Option<Errno>,
    /// What the kernel says beyond the number, where it does (`NLMSGERR_ATTR_MSG`).
    pub words: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno {
            Some(errno) if self.words.is_empty() => write!(f, "{}", errno.desc()),
            Some(errno) => write!(f, "{} ({})", errno.desc(), self.words),
            None => write!(f, "no answer within {PATIENCE:?}; is something holding the kernel's rtnl lock?"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<&io::Error> for Refusal {
    fn from(error: &io::Error) -> Self {
        let late = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        let errno = error.raw_os_error().map(Errno::from_raw).filter(|_| !late);
        Refusal { errno: errno.or((!late).then_some(Errno::EIO)), words: String::new() }
    }
}

/// The answer to one request.
pub(super) type Answer = Result<(), Refusal>;

/// A netlink socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Batch(Mutex<Inner>);

struct Inner {
    socket: Socket,
    sequence: u32,
    received: Vec<u8>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Batch {
    /// Opens the socket.
    ///
    /// # Errors
    /// The kernel's answer.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        // Neither is needed: an answer repeats its request then, or is a number alone.
        let _ = (socket.set_cap_ack(true), socket.set_ext_ack(true));
        let options = socket2::SockRef::from(&socket);
        options.set_read_timeout(Some(PATIENCE))?;
        let _ = (options.set_recv_buffer_size(RECEIVE_BUFFER), options.set_send_buffer_size(SEND_BUFFER));
        Ok(Batch(Mutex::new(Inner { socket, sequence: 0, received: vec![0; BUFFER] })))
    }

    /// Carries out all of them in their order; their answers in the same. Waits for the kernel's rtnl lock, and lets
    /// others of the runtime have their turns in between.
    pub(super) async fn run(&self, requests: &[Request]) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(requests.len());
        for chunk in requests.chunks(CHUNK) {
            answers.extend(self.run_now(chunk));
            tokio::task::yield_now().await;
        }
        answers
    }

    /// The same for a caller without a runtime.
    pub(super) fn run_now(&self, requests: &[Request]) -> Vec<Answer> {
        requests.chunks(CHUNK).flat_map(|chunk| self.lock().chunk(chunk)).collect()
    }

    /// Every address there is.
    pub(super) fn addresses(&self) -> io::Result<Vec<AddressInfo>> {
        self.lock().dump(message::RTM_GETADDR, |told| message::address(told.payload))
    }

    /// Every interface there is.
    pub(super) fn links(&self) -> io::Result<Vec<LinkInfo>> {
        self.lock().dump(message::RTM_GETLINK, |told| message::link(told.payload).filter(|link| link.family == 0))
    }

    // A panic in between leaves answers that nobody waits for: they have old numbers.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    fn chunk(&mut self, requests: &[Request]) -> Vec<Answer> {
        let mut datagram = Vec::new();
        let mut places = BTreeMap::new();
        let mut last = 0;
        for (place, request) in requests.iter().enumerate() {
            last = self.next();
            places.insert(last, place);
            let mut header = NetlinkHeader::default();
            header.sequence_number = last;
            header.flags = NLM_F_REQUEST | request.flags;
            if place + 1 == requests.len() {
                header.flags |= NLM_F_ACK;
            }
            let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request.message.clone()));
            message.finalize();
            let from = datagram.len();
            datagram.resize(from + message.buffer_len().next_multiple_of(4), 0);
            if let Some(room) = datagram.get_mut(from..) {
                message.serialize(room);
            }
        }
        let mut answers: Vec<Answer> = vec![Ok(()); requests.len()];
        if requests.is_empty() {
            return answers;
        }
        let done = self.socket.send_to(&datagram, &SocketAddr::new(0, 0), 0).and_then(|_sent| {
            self.receive(|told| {
                let (Some(place), Some(errno)) = (places.get(&told.sequence), message::error(told.payload)) else {
                    return false;
                };
                if let Some(answer) = answers.get_mut(*place).filter(|_| errno != 0) {
                    let words = message::error_words(told).unwrap_or_default();
                    *answer = Err(Refusal { errno: Some(Errno::from_raw(errno)), words });
                }
                told.sequence == last
            })
        });
        if let Err(error) = done {
            // Which of them the kernel has carried out is not known.
            answers.iter_mut().filter(|answer| answer.is_ok()).for_each(|answer| *answer = Err(Refusal::from(&error)));
        }
        answers
    }

    /// Takes messages of the kind `NLMSG_ERROR` until `is_last`.
    fn receive(&mut self, mut is_last: impl FnMut(&Message<'_>) -> bool) -> io::Result<()> {
        loop {
            let len = self.receive_one()?;
            let datagram = self.received.get(..len).unwrap_or_default();
            for told in message::messages(datagram).filter(|told| told.kind == message::NLMSG_ERROR) {
                if is_last(&told) {
                    return Ok(());
                }
            }
        }
    }

    fn receive_one(&mut self) -> io::Result<usize> {
        loop {
            let mut room = self.received.as_mut_slice();
            match self.socket.recv_from(&mut room, 0) {
                // What does not come from the kernel (port 0) is forged.
                Ok((_, from)) if from.port_number() != 0 => {}
                Ok((len, _)) => return Ok(len),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A listing of one moment.
    fn dump<T>(&mut self, kind: u16, read: impl Fn(&Message<'_>) -> Option<T>) -> io::Result<Vec<T>> {
        for _ in 0..READINGS {
            let sequence = self.next();
            let request = message::dump_request(kind, sequence);
            self.socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;
            let (mut all, mut whole, mut done) = (Vec::new(), true, false);
            while !done {
                let len = self.receive_one()?;
                let datagram = self.received.get(..len).unwrap_or_default();
                for told in message::messages(datagram).filter(|told| told.sequence == sequence) {
                    whole &= told.flags & message::NLM_F_DUMP_INTR == 0;
                    match told.kind {
                        message::NLMSG_DONE => done = true,
                        message::NLMSG_ERROR => {
                            let errno = message::error(told.payload).unwrap_or(libc::EPROTO);
                            return Err(io::Error::from_raw_os_error(errno));
                        }
                        _ => all.extend(read(&told)),
                    }
                }
            }
            if whole {
                return Ok(all);
            }
        }
        Err(io::Error::other("it changes faster than it can be read"))
    }
}

/// Indexes of interfaces by name, each asked for once: within one request nothing else may be believed of it.
#[derive(Debug, Default)]
pub(super) struct Indexes(BTreeMap<String, Result<u32, Errno>>);

impl Indexes {
    /// In the network namespace of the thread.
    pub(super) fn of(&mut self, name: &str) -> Result<u32, Errno> {
        if let Some(known) = self.0.get(name) {
            return *known;
        }
        let found = nix::net::if_::if_nametoindex(name);
        self.0.insert(name.to_owned(), found);
        found
    }
}
