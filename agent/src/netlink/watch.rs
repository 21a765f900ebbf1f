//! Watches links and addresses: one netlink socket, on which the kernel's notices and our readings of
//! the whole state arrive in the order in which they happened.
//!
//! The one thing that must stay true: whatever is lost on the way, the last snapshot of an interface
//! is how it is. A lost notice (`ENOBUFS`) leads to a reading of everything.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use keepone_proto::time::Instant;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::io::unix::AsyncFd;

use super::address::Wanted;
use super::message;
use super::state::State;
use crate::{clock, readiness};

/// RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR (linux/rtnetlink.h).
const GROUPS: [u32; 3] = [1, 5, 9];
/// A datagram of a dump is 32 KiB at most.
const BUFFER: usize = 64 * 1024;
/// Room for notices of a storm, in octets as the kernel counts them.
const RECEIVE_BUFFER: usize = 1024 * 1024;
/// So many datagrams are absorbed before anything is told.
const BURST: usize = 256;
/// How long the kernel may take over a reading before the socket is given up for a new one.
const READING: Duration = Duration::from_secs(2);
/// After so many readings that changes broke into, what is known is told all the same.
const PATIENCE: u32 = 3;

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Its prefix, 0..=128.
    pub prefix_len: u8,
    /// IPv4: not the first of its subnet.
    pub secondary: bool,
    /// Not tentative, and not found to be a duplicate.
    pub usable: bool,
    /// `RT_SCOPE_*`: 0 universe, 200 site, 253 link, 254 host.
    pub scope: u8,
}

impl Address {
    /// A usable address of universe scope.
    pub fn new(address: IpAddr, prefix_len: u8) -> Self {
        Address { address, prefix_len, secondary: false, usable: true, scope: 0 }
    }
}

/// An interface as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's name for it.
    pub name: String,
    /// The kernel's index; `None`: there is no interface of that name.
    pub ifindex: Option<u32>,
    /// Present, administratively up, with carrier, and in an operational state that passes traffic.
    pub up: bool,
    /// Its hardware address, if it is six octets long.
    pub mac: Option<[u8; 6]>,
    /// In octets; 0 while it is absent.
    pub mtu: u32,
    /// Primary ones first; without those that a virtual router has set here.
    pub addresses: Vec<Address>,
}

impl Interface {
    /// One that does not exist.
    pub fn absent(name: &str) -> Self {
        Interface { name: name.to_owned(), ifindex: None, up: false, mac: None, mtu: 0, addresses: Vec::new() }
    }

    /// The addresses that may be used as a source, primary first.
    pub fn usable(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().filter(|address| address.usable).map(|address| address.address)
    }
}

/// An address went that this process has set and not removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressGone {
    /// The index of the interface it was on.
    pub ifindex: u32,
    /// Which.
    pub address: IpAddr,
    /// Its prefix.
    pub prefix_len: u8,
    /// The netlink port of who did it, often a process id (our own, when the removal of another address
    /// of the subnet took this one along: `promote_secondaries` is off); 0: the kernel, at the end of
    /// the lifetime or with the interface; `None`: the notice was lost, or the interface went with it.
    pub port: Option<u32>,
}

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A watched interface, at the start and after each change.
    Interface(Interface),
    /// An address was taken away that should be there.
    AddressGone(AddressGone),
}

/// Why the watch could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} for the watch of links and addresses; is AF_NETLINK allowed to this service?")]
pub struct WatchError {
    what: &'static str,
    #[source]
    source: io::Error,
}

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Nothing: notices only.
    Idle,
    Links,
    Addresses,
}

/// The watch.
pub struct Watch {
    fd: AsyncFd<Socket>,
    state: State,
    reading: Reading,
    /// Of the request whose answers count.
    sequence: u32,
    /// When the answer to it is overdue.
    overdue: Instant,
    /// The reading under way is already out of date.
    again: bool,
    /// How many in a row were.
    interrupted: u32,
    buffer: Vec<u8>,
}

impl Watch {
    /// Watches these interfaces, and the end of wanted addresses on any interface.
    ///
    /// # Errors
    /// No netlink socket may be had, or no tokio runtime surrounds the call.
    pub fn open(names: impl IntoIterator<Item = String>, wanted: Wanted) -> Result<Self, WatchError> {
        let state = State::new(names.into_iter().collect(), wanted);
        let fd = socket(RECEIVE_BUFFER)?;
        let mut watch = Watch {
            fd,
            state,
            reading: Reading::Idle,
            sequence: 0,
            overdue: Instant::BOOT,
            again: false,
            interrupted: 0,
            buffer: vec![0; BUFFER],
        };
        watch.read_all();
        Ok(watch)
    }

    /// Watches further interfaces; of each the next piece of news says how it is.
    pub fn watch(&mut self, names: impl IntoIterator<Item = String>) {
        self.state.watch(names);
        // Half a reading says nothing; its end does.
        if self.reading == Reading::Idle && self.state.has_told() {
            self.state.tell_interfaces();
        }
    }

    /// The next piece of news: first every watched interface as it is, then each change. May be
    /// dropped at any point without losing one.
    ///
    /// # Errors
    /// A new netlink socket was needed and could not be had; a following call tries again.
    pub async fn next(&mut self) -> Result<Change, WatchError> {
        loop {
            if self.reading == Reading::Idle && self.again {
                self.read_all();
            }
            if let Some(change) = self.state.next_change() {
                return Ok(change);
            }
            let received = if self.reading == Reading::Idle {
                self.receive().await
            } else {
                let left = self.overdue.since(clock::now());
                match tokio::time::timeout(left, self.receive()).await {
                    Ok(received) => received,
                    Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
                }
            };
            match received {
                Ok(()) if self.reading == Reading::Idle => self.state.tell_interfaces(),
                Ok(()) => {}
                // Notices were lost.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.again = true,
                Err(error) => {
                    tracing::warn!(%error, "the watch of links and addresses starts again with a new socket");
                    // Never in a tight loop.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    self.fd = socket(RECEIVE_BUFFER)?;
                    self.read_all();
                }
            }
        }
    }

    /// Waits for datagrams and absorbs those that are there: a thousand addresses that come at once
    /// are one change.
    async fn receive(&mut self) -> io::Result<()> {
        let first = loop {
            let mut ready = self.fd.readable().await?;
            let buffer = &mut self.buffer;
            if let Ok(received) = ready.try_io(|fd| receive_now(fd.get_ref(), buffer)) {
                break received?;
            }
        };
        self.absorb(first)?;
        for _ in 1..BURST {
            match receive_now(self.fd.get_ref(), &mut self.buffer) {
                Ok(len) => self.absorb(len)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn absorb(&mut self, len: usize) -> io::Result<()> {
        let Some(datagram) = self.buffer.get(..len) else {
            // Longer than the buffer: what is missing must be read again.
            self.again = true;
            return Ok(());
        };
        let mut done = false;
        for told in message::messages(datagram) {
            let answers = self.reading != Reading::Idle && told.sequence == self.sequence;
            if answers && told.flags & message::NLM_F_DUMP_INTR != 0 {
                self.again = true;
            }
            match told.kind {
                message::NLMSG_DONE if answers => done = true,
                message::NLMSG_ERROR if answers => match message::error(told.payload) {
                    Some(errno) if errno != 0 => return Err(io::Error::from_raw_os_error(errno)),
                    _ => done = true,
                },
                _ => self.state.absorb(&told),
            }
        }
        if done {
            self.step();
        }
        Ok(())
    }

    /// A dump has ended.
    fn step(&mut self) {
        match self.reading {
            Reading::Idle => {}
            _ if self.again => {
                // Half a reading proves nobody's absence.
                self.reading = Reading::Idle;
                self.interrupted += 1;
                if self.state.has_told() || self.interrupted >= PATIENCE {
                    self.state.tell_interfaces();
                }
            }
            Reading::Links => self.request(Reading::Addresses),
            Reading::Addresses => {
                self.reading = Reading::Idle;
                self.interrupted = 0;
                self.state.end_reading();
                self.state.tell_interfaces();
            }
        }
    }

    fn read_all(&mut self) {
        self.again = false;
        self.state.begin_reading();
        self.request(Reading::Links);
    }

    fn request(&mut self, reading: Reading) {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.reading = reading;
        self.overdue = clock::now() + READING;
        let kind = if reading == Reading::Links { message::RTM_GETLINK } else { message::RTM_GETADDR };
        let request = message::dump_request(kind, self.sequence);
        // A request that could not be sent is noticed when its answer fails to come.
        if let Err(error) = self.fd.get_ref().send_to(&request, &SocketAddr::new(0, 0), 0) {
            tracing::warn!(%error, "cannot ask the kernel for its links or addresses");
        }
    }
}

/// One datagram of the kernel's, and its whole length.
fn receive_now(socket: &Socket, mut buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.recv_from(&mut buffer, libc::MSG_TRUNC) {
            // What does not come from the kernel (port 0) is forged.
            Ok((len, from)) if from.port_number() == 0 => return Ok(len),
            Ok(_) => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn socket(receive_buffer: usize) -> Result<AsyncFd<Socket>, WatchError> {
    let fail = |what| move |source| WatchError { what, source };
    let mut socket = Socket::new(NETLINK_ROUTE).map_err(fail("open a netlink socket"))?;
    socket.bind_auto().map_err(fail("bind a netlink socket"))?;
    socket.set_non_blocking(true).map_err(fail("use a netlink socket"))?;
    // A smaller buffer only means more readings.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(receive_buffer);
    for group in GROUPS {
        socket.add_membership(group).map_err(fail("join the notices of links and addresses"))?;
    }
    readiness::readable(socket).map_err(fail("watch a netlink socket"))
}

#[cfg(test)]
mod tests;
