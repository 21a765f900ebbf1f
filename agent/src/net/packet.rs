//! Packet sockets (`AF_PACKET`), packet(7): the two calls that need unsafe code.
//!
//! The one thing that must stay true: no socket here ever has `PACKET_QDISC_BYPASS` (safety.md R4).

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// `PACKET_IGNORE_OUTGOING` (linux/if_packet.h, Linux 4.20).
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
/// linux/if_arp.h
const ARPHRD_ETHER: u16 = 1;

/// A raw packet socket that receives nothing until it is bound.
///
/// # Errors
/// `EPERM` without CAP_NET_RAW.
pub(super) fn open() -> io::Result<Socket> {
    Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(0)))
}

/// Binds to one interface and to the frames of one EtherType (0: none, `ETH_P_ALL`: all).
///
/// # Errors
/// `ENODEV`: there is no such interface. One that is down is no error.
pub(super) fn bind(socket: &Socket, ifindex: u32, ethertype: u16) -> io::Result<()> {
    // SAFETY: `try_init` gives zeroed storage that is large enough and aligned for every socket
    // address, and `sockaddr_ll` is plain integers, for which any bytes are a value.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, len| {
            let link = storage.cast::<libc::sockaddr_ll>();
            (*link).sll_family = libc::AF_PACKET as libc::sa_family_t;
            (*link).sll_protocol = ethertype.to_be();
            (*link).sll_ifindex = ifindex.cast_signed();
            *len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    socket.bind(&address)
}

/// Keeps frames that this node itself sends out of the socket.
///
/// # Errors
/// `ENOPROTOOPT` before Linux 4.20.
pub(super) fn ignore_outgoing(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer and the length describe `on`, which lives until the call returns.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_IGNORE_OUTGOING,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The hardware address of the interface that the socket is bound to, if that is Ethernet.
pub(super) fn hardware_address(socket: &Socket) -> Option<[u8; 6]> {
    let mut storage = socket.local_addr().ok()?.as_storage();
    // SAFETY: the storage is larger than `sockaddr_ll` and aligned for every socket address; what the
    // kernel did not write is zero; plain integers, for which any bytes are a value.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    let is_ethernet = link.sll_hatype == ARPHRD_ETHER && link.sll_halen == 6;
    if is_ethernet { link.sll_addr.first_chunk().copied() } else { None }
}
