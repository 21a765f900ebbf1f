//! Talk with the kernel's nf_tables: transactions and questions.
//!
//! What must stay true: a transaction counts as done only when the kernel has said so of its last message
//! and complained of none.

use std::io;

use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};

use super::wire::{self, Answer, Attributes, Batch};

/// A datagram of a dump is 32 KiB at most.
const BUFFER: usize = 64 * 1024;
/// Less than any kernel's default for what is sent at once.
const ROOM: usize = 64 * 1024;
/// A dump that others keep changing is begun anew so often.
const TRIES: u32 = 10;

/// What the kernel's nf_tables refused.
#[derive(Debug, thiserror::Error)]
#[error("nftables: {what}: {source}{}", remedy(.source))]
pub struct NftError {
    /// What was asked.
    pub what: String,
    /// The kernel's answer.
    pub source: io::Error,
}

impl NftError {
    /// The error number, if it is the kernel's.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

fn remedy(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "; run as root or with CAP_NET_ADMIN",
        Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => {
            "; it takes Linux 5.16 with CONFIG_NF_TABLES_NETDEV, CONFIG_NETFILTER_EGRESS and CONFIG_NFT_FIB_NETDEV"
        }
        _ => "",
    }
}

/// A socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Nft {
    socket: Socket,
    sequence: u32,
    /// The longest message that it takes for certain.
    room: usize,
}

impl Nft {
    pub(super) fn open() -> Result<Self, NftError> {
        let failed = |source| NftError { what: "opening a netlink socket".into(), source };
        let mut socket = Socket::new(wire::PROTOCOL).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        Ok(Nft { socket, sequence: 1, room: ROOM })
    }

    /// Numbers for messages to come; what a former question left unread is thrown away.
    fn numbers(&mut self, count: u32) -> u32 {
        let mut rest = vec![0; BUFFER];
        while let Ok(Some(_)) = self.receive(&mut rest) {}
        let first = self.sequence;
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    /// What is in the socket now; `None`: nothing.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.socket.recv(&mut &mut *buffer, libc::MSG_DONTWAIT) {
                Ok(length) => return Ok(Some(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A batch is sent whole, and one that is longer than the buffer not at all: where this may not be made longer,
    /// the sending says so.
    fn make_room(&mut self, octets: usize) {
        if octets > self.room && setsockopt(&self.socket, sockopt::SndBufForce, &octets).is_ok() {
            self.room = octets;
        }
    }

    /// Carries out a batch, whole or not at all.
    pub(super) fn transact(&mut self, batch: &Batch) -> Result<(), NftError> {
        if batch.is_empty() {
            return Ok(());
        }
        let first = self.numbers(batch.numbers());
        let failed = |source| NftError { what: "a transaction".into(), source };
        let bytes = batch.bytes(first);
        self.make_room(bytes.len());
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).map_err(failed)?;
        // The kernel answers before the send returns.
        let mut buffer = vec![0; BUFFER];
        let mut first_error = None;
        let mut done = false;
        while let Some(length) = self.receive(&mut buffer).map_err(failed)? {
            for answer in wire::answers(buffer.get(..length).unwrap_or_default()) {
                match answer {
                    Answer::Outcome { errno: 0, .. } => done = true,
                    Answer::Outcome { sequence, errno } => {
                        first_error.get_or_insert((sequence, errno));
                    }
                    Answer::Done | Answer::Interrupted | Answer::Object { .. } => {}
                }
            }
        }
        match first_error {
            Some((sequence, errno)) => Err(NftError {
                what: batch.what(first, sequence).to_owned(),
                source: io::Error::from_raw_os_error(errno),
            }),
            None if done => Ok(()),
            None => Err(failed(io::Error::other("the kernel did not answer"))),
        }
    }

    /// Asks for a list; each object as its attributes.
    pub(super) fn list(
        &mut self,
        what: &str,
        kind: u16,
        family: u8,
        fill: impl Fn(&mut Attributes<'_>),
    ) -> Result<Vec<Vec<u8>>, NftError> {
        for _ in 0..TRIES {
            if let Some(list) = self.ask(what, kind, family, true, &fill)? {
                return Ok(list);
            }
        }
        Err(NftError { what: what.into(), source: io::Error::other("it changes faster than it can be read") })
    }

    /// Asks for one object; `None`: it is not there.
    pub(super) fn get(
        &mut self,
        what: &str,
        kind: u16,
        family: u8,
        fill: impl Fn(&mut Attributes<'_>),
    ) -> Result<Option<Vec<u8>>, NftError> {
        match self.ask(what, kind, family, false, &fill) {
            Ok(list) => Ok(list.and_then(|list| list.into_iter().next())),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `None`: the list changed while it was read.
    fn ask(
        &mut self,
        what: &str,
        kind: u16,
        family: u8,
        dump: bool,
        fill: &impl Fn(&mut Attributes<'_>),
    ) -> Result<Option<Vec<Vec<u8>>>, NftError> {
        let number = self.numbers(1);
        let failed = |source| NftError { what: what.into(), source };
        self.socket
            .send_to(&wire::question(kind, family, dump, number, fill), &SocketAddr::new(0, 0), 0)
            .map_err(failed)?;
        let mut buffer = vec![0; BUFFER];
        let (mut objects, mut interrupted) = (Vec::new(), false);
        loop {
            // Of a dump, the kernel makes the next part when the last is taken.
            let Some(length) = self.receive(&mut buffer).map_err(failed)? else {
                return Err(failed(io::Error::other("the kernel did not answer")));
            };
            for answer in wire::answers(buffer.get(..length).unwrap_or_default()) {
                match answer {
                    Answer::Outcome { errno: 0, .. } => {}
                    Answer::Outcome { errno: libc::EINTR | libc::EAGAIN, .. } if dump => return Ok(None),
                    Answer::Outcome { errno, .. } => return Err(failed(io::Error::from_raw_os_error(errno))),
                    Answer::Done => return Ok((!interrupted).then_some(objects)),
                    Answer::Interrupted => interrupted = true,
                    Answer::Object { sequence, attributes } if sequence == number => objects.push(attributes.to_vec()),
                    Answer::Object { .. } => {}
                }
            }
            if !dump && !objects.is_empty() {
                return Ok(Some(objects));
            }
        }
    }
}
