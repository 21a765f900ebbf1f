//! When the last frame or datagram of each kind was seen, by the kernel's stamps.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use super::disturbance::raise;
use super::packets::{VIP4, VIP6};

/// Kinds of traffic: out of the node, unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An answer to an ARP request.
    ArpReply,
    /// A raw frame that nobody asked for.
    GratuitousArp,
    /// An answer to a ping.
    Icmp,
    /// A segment of an established connection.
    Tcp,
    /// A datagram from the VIP.
    Udp,
    /// An answer to a Neighbor Solicitation.
    NeighborAdvertisement,
    /// An answer to a ping.
    Icmp6,
    /// A datagram from the VIP.
    Udp6,
    /// A datagram to the VIP that was delivered.
    UdpIn,
    /// A datagram to the VIP that was delivered.
    Udp6In,
}

impl Kind {
    /// All.
    pub const ALL: [Kind; 10] = [
        Kind::ArpReply,
        Kind::GratuitousArp,
        Kind::Icmp,
        Kind::Tcp,
        Kind::Udp,
        Kind::NeighborAdvertisement,
        Kind::Icmp6,
        Kind::Udp6,
        Kind::UdpIn,
        Kind::Udp6In,
    ];

    /// In a few words.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::ArpReply => "ARP reply",
            Kind::GratuitousArp => "raw gratuitous ARP",
            Kind::Icmp => "ICMP echo reply",
            Kind::Tcp => "TCP segment",
            Kind::Udp => "UDP",
            Kind::NeighborAdvertisement => "NA",
            Kind::Icmp6 => "ICMPv6 echo reply",
            Kind::Udp6 => "UDP, IPv6",
            Kind::UdpIn => "UDP delivered",
            Kind::Udp6In => "UDP delivered, IPv6",
        }
    }
}

/// What kind of claim a frame from the node is, if it is one.
pub(super) fn classify(frame: &[u8]) -> Option<Kind> {
    let is_at = |at: usize, bytes: &[u8]| frame.get(at..at + bytes.len()) == Some(bytes);
    match frame.get(12..14)? {
        [8, 6] if is_at(28, &VIP4.octets()) => match frame.get(20..22)? {
            [0, 2] => Some(Kind::ArpReply),
            _ => Some(Kind::GratuitousArp),
        },
        [8, 0] if is_at(26, &VIP4.octets()) => match frame.get(23)? {
            1 => Some(Kind::Icmp),
            6 => Some(Kind::Tcp),
            17 => Some(Kind::Udp),
            _ => None,
        },
        [0x86, 0xdd] if frame.get(20) == Some(&58) && frame.get(54) == Some(&136) => {
            is_at(62, &VIP6.octets()).then_some(Kind::NeighborAdvertisement)
        }
        [0x86, 0xdd] if is_at(22, &VIP6.octets()) => match frame.get(20)? {
            58 => Some(Kind::Icmp6),
            17 => Some(Kind::Udp6),
            _ => None,
        },
        _ => None,
    }
}

fn nanos(time: TimeSpec) -> i128 {
    i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec())
}

/// How far the boot clock is ahead of the wall clock, ns: the best of some readings of one between two of the
/// other.
pub(super) fn distance() -> i128 {
    let read = |clock| clock_gettime(clock).map_or(0, nanos);
    let reading = || {
        let before = read(ClockId::CLOCK_BOOTTIME);
        let wall = read(ClockId::CLOCK_REALTIME);
        let after = read(ClockId::CLOCK_BOOTTIME);
        (after - before, (before + after) / 2 - wall)
    };
    (0..200).map(|_| reading()).min().map_or(0, |(_, distance)| distance)
}

/// The last stamp of each kind, ns of the wall clock, and how many there were.
pub(super) type Last = BTreeMap<Kind, (i128, u64)>;

/// Listens to a socket with stamps until told to stop; `kind` says what a message is, and whether the kernel
/// sent it out here is told first.
pub(super) fn start(
    socket: socket2::Socket,
    stop: Arc<AtomicBool>,
    kind: impl Fn(bool, &[u8]) -> Option<Kind> + Send + 'static,
) -> JoinHandle<Last> {
    thread::spawn(move || {
        raise();
        let mut last = Last::new();
        let mut buffer = [0_u8; 256];
        while !stop.load(Ordering::Relaxed) {
            let Some((length, outgoing, stamp)) = receive(&socket, &mut buffer) else { continue };
            let octets = buffer.get(..length.min(buffer.len())).unwrap_or_default();
            if let Some(kind) = kind(outgoing, octets) {
                let seen = last.entry(kind).or_insert((stamp, 0));
                *seen = (seen.0.max(stamp), seen.1 + 1);
            }
        }
        last
    })
}

fn receive(socket: &socket2::Socket, buffer: &mut [u8]) -> Option<(usize, bool, i128)> {
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut parts = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()).ok()?;
    let stamp = message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(nanos(stamp)),
        _ => None,
    })?;
    let link = message.address.as_ref().and_then(|address| address.as_link_addr());
    let outgoing = link.is_some_and(|link| link.pkttype() == libc::PACKET_OUTGOING);
    Some((message.bytes, outgoing, stamp))
}
