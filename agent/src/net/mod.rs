//! The agent's sockets on the data networks, and the table of interfaces that they share.
//!
//! The one thing that must stay true: nothing here decides anything, and nothing here bypasses the
//! gate (safety.md R4).

use std::io;
use std::net::IpAddr;

use nix::errno::Errno;

pub(crate) mod announcer;
mod filter;
mod interfaces;
pub mod neighbor;
pub(crate) mod outbox;
pub(crate) mod pace;
mod packet;
mod strangers;
pub mod vrrp;

pub use interfaces::{Interfaces, Mac};

/// All addresses of this network namespace, each with its interface.
///
/// # Errors
/// The kernel does not say.
pub fn addresses_here() -> io::Result<Vec<(String, IpAddr)>> {
    let found = nix::ifaddrs::getifaddrs()?.filter_map(|one| {
        let address = one.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let v6 = address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()));
        Some((one.interface_name, v4.or(v6)?))
    });
    Ok(found.collect())
}

/// What became of a frame or packet that was handed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// The kernel took it.
    Taken,
    /// The interface's queue discipline refused it (`ENOBUFS`): the gate is shut, or the queue full.
    Refused,
    /// The socket's own send buffer is full; the next one has a better chance.
    Busy,
}

/// Why a socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No such interface.
    #[error("interface {0} does not exist; create it, or correct its name in the configuration")]
    NoInterface(String),
    /// `EPERM`.
    #[error("not permitted to open a raw socket on {0}; run as root or with CAP_NET_RAW")]
    NotPermitted(String),
    /// The group could not be joined.
    #[error(
        "cannot join {group} on {interface}; is it a multicast address of the right family, and the interface able to multicast?"
    )]
    Join {
        /// Where.
        interface: String,
        /// What.
        group: IpAddr,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel lacks IPv6, or it is off.
    #[error("no IPv6 in this kernel or network namespace, needed on {0}; enable it or configure IPv4 only")]
    NoIpv6(String),
    /// Anything else.
    #[error("cannot {what} on {interface}")]
    Io {
        /// The step that failed.
        what: &'static str,
        /// Where.
        interface: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    fn of(what: &'static str, interface: &str, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENODEV | Errno::ENXIO) => OpenError::NoInterface(interface.to_owned()),
            Some(Errno::EPERM | Errno::EACCES) => OpenError::NotPermitted(interface.to_owned()),
            Some(Errno::EAFNOSUPPORT) => OpenError::NoIpv6(interface.to_owned()),
            _ => OpenError::Io { what, interface: interface.to_owned(), source },
        }
    }
}

/// Why a frame or packet could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// `ENODEV`, `ENXIO`: deleted, or deleted and made again; open a new socket.
    #[error("the interface is gone; the socket is opened anew when it comes back")]
    InterfaceGone,
    /// `ENETDOWN`.
    #[error("the interface is down")]
    InterfaceDown,
    /// `ENETUNREACH`, `EHOSTUNREACH`: also the kernel's answer for an IPv4 source that is not on this
    /// node, or an interface that is down or gone.
    #[error("no route to the destination from that source; give the interface its address, or a route")]
    Unreachable,
    /// `EPERM`: a rule of this node's own packet filter dropped it.
    #[error("this node's own firewall dropped the packet; allow it in the output chain")]
    Firewall,
    /// `EADDRNOTAVAIL`, `EINVAL`: the source address is not on this node.
    #[error("the source address is not on this interface, or not usable yet; add it first")]
    NoSource,
    /// `EMSGSIZE`.
    #[error("longer than the interface's MTU; advertise fewer addresses in one instance")]
    TooLong,
    /// Source and destination are not of the socket's family.
    #[error("source and destination are not of the socket's address family")]
    WrongFamily,
    /// A loopback, tunnel or point-to-point interface: nobody there learns hardware addresses.
    #[error("the interface is not Ethernet; addresses on it need no announcement")]
    NotEthernet,
    /// No socket is open for this interface and family.
    #[error("no socket is open there; the interface has not been seen yet")]
    NotOpen,
    /// Anything else.
    #[error("the kernel refused the packet: {0}")]
    Other(Errno),
}

/// How long a reader rests after an error of its socket.
const AFTER_ERROR: std::time::Duration = std::time::Duration::from_millis(10);

/// Sorts the kernel's answer to a send.
fn outcome(answer: nix::Result<usize>) -> Result<Sent, SendError> {
    match answer {
        Ok(_) => Ok(Sent::Taken),
        Err(Errno::ENOBUFS) => Ok(Sent::Refused),
        Err(Errno::EAGAIN) => Ok(Sent::Busy),
        Err(Errno::ENODEV | Errno::ENXIO) => Err(SendError::InterfaceGone),
        Err(Errno::ENETDOWN) => Err(SendError::InterfaceDown),
        Err(Errno::ENETUNREACH | Errno::EHOSTUNREACH) => Err(SendError::Unreachable),
        Err(Errno::EPERM) => Err(SendError::Firewall),
        Err(Errno::EADDRNOTAVAIL | Errno::EINVAL) => Err(SendError::NoSource),
        Err(Errno::EMSGSIZE) => Err(SendError::TooLong),
        Err(other) => Err(SendError::Other(other)),
    }
}

/// Whether `other` is on the network of `address`.
pub(crate) fn is_on_network(address: std::net::IpAddr, prefix: u8, other: std::net::IpAddr) -> bool {
    let bits = |address: std::net::IpAddr| match address {
        std::net::IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        std::net::IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let ((mine, width), (theirs, other_width)) = (bits(address), bits(other));
    // A prefix of the whole address has no other host in it.
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    width == other_width && prefix < width && mine & mask == theirs & mask
}

#[cfg(test)]
pub(crate) mod namespace;
