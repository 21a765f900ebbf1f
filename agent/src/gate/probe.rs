//! The frame that must not get out: sent as the dummy address, whose gate is always shut (R14).

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::interfaces::Interface;
use super::program::Header;

/// The IPv4 dummy address of RFC 7600: no host has it, so nobody misses the frames.
pub(super) const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

const ETH_P_ARP: u16 = 0x0806;
const ETH_P_IP: u16 = 0x0800;

/// What became of the frame.
#[derive(Debug)]
pub(super) enum Fate {
    /// The gate stopped it.
    Refused,
    /// The interface is down or gone: nothing can leave by it.
    Unusable,
    /// It left.
    Escaped,
    /// It could not be tried.
    Failed(io::Error),
}

/// A socket that sends and never receives.
#[derive(Debug)]
pub(super) struct Prober(OwnedFd);

/// ARP request of the dummy address for itself, to no one.
fn arp_frame() -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend(ETH_P_ARP.to_be_bytes());
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend([0; 6]);
    frame.extend(DUMMY.octets());
    frame.extend([0; 6]);
    frame.extend(DUMMY.octets());
    frame.resize(60, 0);
    frame
}

/// An empty IPv4 packet of the dummy address to itself, TTL 1, protocol 255 (reserved).
fn ipv4_packet() -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 20, 0, 0, 0, 0, 1, 255, 0, 0];
    packet.extend(DUMMY.octets());
    packet.extend(DUMMY.octets());
    packet
}

impl Prober {
    pub(super) fn new() -> io::Result<Self> {
        // Protocol 0: nothing is received.
        // SAFETY: a plain system call.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: fresh, and nobody else's.
        Ok(Prober(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends the frame that fits the interface.
    pub(super) fn probe(&self, interface: &Interface) -> Fate {
        let (frame, protocol) = match interface.header {
            Header::Ethernet => (arp_frame(), ETH_P_ARP),
            Header::Other => (ipv4_packet(), ETH_P_IP),
        };
        match self.send(&frame, interface.index, protocol) {
            Ok(()) => Fate::Escaped,
            Err(error) => match error.raw_os_error() {
                // What a drop at the egress hook looks like from above.
                Some(libc::ENOBUFS) => Fate::Refused,
                Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO) => Fate::Unusable,
                _ => Fate::Failed(error),
            },
        }
    }

    fn send(&self, frame: &[u8], ifindex: u32, protocol: u16) -> io::Result<()> {
        let to = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol.to_be(),
            sll_ifindex: ifindex.cast_signed(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [0; 8],
        };
        let len = size_of_val(&to) as libc::socklen_t;
        // SAFETY: both pointers are valid for the lengths given.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                (&raw const to).cast(),
                len,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
