//! The service behind the VIP: each node answers UDP datagrams with its number, from the address that
//! was asked. It is no part of the agent and runs through every fault.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, recvmsg, sendmsg, setsockopt,
};
use socket2::{Domain, Socket, Type};

use super::Stop;
use crate::netns::error::{Error, io_error};
use crate::netns::namespace::Namespace;
use crate::netns::priority;

/// The service's UDP port.
pub const PORT: u16 = 9000;
/// Octets of a probe: its number, big endian.
pub const PROBE: usize = 8;

/// Answers in `namespace` until the run stops: the probe's octets and then `node` as one octet.
///
/// # Errors
/// [`Error::Io`] when the port can't be bound.
pub fn start(namespace: &Namespace, node: u8, stop: Stop) -> Result<(), Error> {
    let socket = namespace.run(bind)?;
    thread::spawn(move || serve(&socket, node, || !stop.is_set()));
    Ok(())
}

/// The same over IPv6.
///
/// # Errors
/// [`Error::Io`] when the port can't be bound.
pub fn start_ipv6(namespace: &Namespace, node: u8, stop: Stop) -> Result<(), Error> {
    let socket = namespace.run(bind_ipv6)?;
    thread::spawn(move || {
        priority::raise();
        while !stop.is_set() {
            answer_ipv6(&socket, node);
        }
    });
    Ok(())
}

fn bind_ipv6() -> Result<Socket, Error> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).map_err(io_error("open the service's socket"))?;
    socket.set_only_v6(true).map_err(io_error("leave IPv4 to its own socket"))?;
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT));
    socket.bind(&any.into()).map_err(io_error("bind the service's IPv6 port"))?;
    setsockopt(&socket, Ipv6RecvPacketInfo, &true).map_err(io_error("ask for packet information"))?;
    socket.set_read_timeout(Some(Duration::from_millis(100))).map_err(io_error("set a timeout"))?;
    Ok(socket)
}

/// The service's socket, where the calling thread is.
///
/// # Errors
/// [`Error::Io`] when the port can't be bound.
pub(crate) fn bind() -> Result<UdpSocket, Error> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).map_err(io_error("bind the service's port"))?;
    setsockopt(&socket, Ipv4PacketInfo, &true).map_err(io_error("ask for packet information"))?;
    socket.set_read_timeout(Some(Duration::from_millis(100))).map_err(io_error("set a timeout"))?;
    Ok(socket)
}

/// Answers on this thread while `goes_on`.
pub(crate) fn serve(socket: &UdpSocket, node: u8, goes_on: impl Fn() -> bool) {
    priority::raise();
    while goes_on() {
        answer(socket, node);
    }
}

/// Answers one datagram. Failures are the network's: the probe stays unanswered, which is what is measured.
fn answer(socket: &UdpSocket, node: u8) -> Option<()> {
    let mut octets = [0_u8; PROBE + 1];
    let mut control = nix::cmsg_space!(libc::in_pktinfo);
    let (from, asked, length) = {
        let mut parts = [IoSliceMut::new(&mut octets)];
        let message =
            recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()).ok()?;
        let asked = message.cmsgs().ok()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(info.ipi_addr),
            _ => None,
        })?;
        (message.address?, asked, message.bytes)
    };
    if length != PROBE {
        return None;
    }
    *octets.last_mut()? = node;
    let source = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: asked, ipi_addr: asked };
    let control = [ControlMessage::Ipv4PacketInfo(&source)];
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(&octets)], &control, MsgFlags::MSG_DONTWAIT, Some(&from)).ok()?;
    Some(())
}

/// The same for one over IPv6.
fn answer_ipv6(socket: &Socket, node: u8) -> Option<()> {
    let mut octets = [0_u8; PROBE + 1];
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let (from, asked, length) = {
        let mut parts = [IoSliceMut::new(&mut octets)];
        let message =
            recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()).ok()?;
        let asked = message.cmsgs().ok()?.find_map(|control| match control {
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(info.ipi6_addr),
            _ => None,
        })?;
        (message.address?, asked, message.bytes)
    };
    if length != PROBE {
        return None;
    }
    *octets.last_mut()? = node;
    let source = libc::in6_pktinfo { ipi6_addr: asked, ipi6_ifindex: 0 };
    let control = [ControlMessage::Ipv6PacketInfo(&source)];
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(&octets)], &control, MsgFlags::MSG_DONTWAIT, Some(&from)).ok()?;
    Some(())
}
