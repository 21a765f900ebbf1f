//! The sockets of BFD sessions: those for what comes in are shared, what goes out has a port of its session's own.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use keepone_config::model::BfdInstance;
use keepone_proto::jitter::Jitter;
use keepone_proto::time::Instant;
use keepone_proto::wire::bfd::{Control, LENGTH, MULTIHOP_PORT, PORT};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::Served;
use crate::clock;

/// Source ports (RFC 5881, 4).
pub(super) const SOURCES: std::ops::RangeInclusive<u16> = 49152..=65535;
/// How many of them are tried.
const TRIES: usize = 64;
/// Internetwork control (RFC 4594): CS6.
const TRAFFIC_CLASS: u32 = 0xc0;
/// How often a socket that can't be made is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Datagrams heard in a row before time is looked at again.
const BURST: usize = 256;

/// Where packets come in, for one address family and port.
struct Ear {
    ipv6: bool,
    multihop: bool,
    socket: Option<UdpSocket>,
    fault: Option<String>,
    again_at: Option<Instant>,
}

impl Ear {
    fn is_for(&self, settings: &BfdInstance) -> bool {
        (settings.neighbor.is_ipv6(), settings.multihop) == (self.ipv6, self.multihop)
    }
}

/// All of them.
pub(super) struct Ears([Ear; 4]);

impl Default for Ears {
    fn default() -> Self {
        Ears([(false, false), (false, true), (true, false), (true, true)].map(|(ipv6, multihop)| Ear {
            ipv6,
            multihop,
            socket: None,
            fault: None,
            again_at: None,
        }))
    }
}

impl Ears {
    /// Why nothing can be heard for one.
    pub(super) fn fault(&self, settings: &BfdInstance) -> Option<&String> {
        self.0.iter().find(|ear| ear.is_for(settings))?.fault.as_ref()
    }

    /// Those that are needed and not open; what is needed no more is another program's to have.
    pub(super) fn open(&mut self, sessions: &[Served]) {
        for ear in &mut self.0 {
            let needed = sessions.iter().any(|served| ear.is_for(&served.settings));
            let now = clock::now();
            if !needed {
                (ear.socket, ear.fault, ear.again_at) = (None, None, None);
            }
            if !needed || ear.socket.is_some() || ear.again_at.is_some_and(|at| now < at) {
                continue;
            }
            let port = port(ear.multihop);
            match listen(ear.ipv6, port) {
                Ok(socket) => (ear.socket, ear.fault, ear.again_at) = (Some(socket), None, None),
                Err(error) => {
                    ear.again_at = Some(now + AGAIN);
                    ear.fault =
                        Some(format!("UDP port {port}: {error}: another BFD program has it, or we lack the right"));
                }
            }
        }
    }

    /// Whether there may be an order.
    pub(super) fn wait(&self, orders: &UnixStream, timeout: PollTimeout) -> bool {
        let sockets = self.0.iter().filter_map(|ear| ear.socket.as_ref()).map(AsFd::as_fd);
        let all = std::iter::once(orders.as_fd()).chain(sockets);
        let mut fds: Vec<PollFd<'_>> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // What goes wrong here shows in what is heard.
        let _ = poll(&mut fds, timeout);
        fds.first().and_then(PollFd::any).unwrap_or(false)
    }

    pub(super) fn hear(&mut self, sessions: &mut [Served]) {
        for ear in &mut self.0 {
            for _ in 0..BURST {
                match ear.socket.as_ref().map(|socket| receive(socket, ear.multihop)) {
                    None => break,
                    Some(Ok(heard)) => {
                        if let Some(heard) = heard {
                            heard.give(sessions);
                        }
                    }
                    Some(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                    Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => break,
                    Some(Err(error)) => {
                        tracing::warn!("the socket of BFD is opened anew: {error}");
                        ear.socket = None;
                        break;
                    }
                }
            }
        }
    }
}

/// Where control packets go (RFC 5881, 4; RFC 5883, 5).
fn port(multihop: bool) -> u16 {
    if multihop { MULTIHOP_PORT } else { PORT }
}

fn listen(ipv6: bool, port: u16) -> io::Result<UdpSocket> {
    let socket = if ipv6 {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_only_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
        socket
    } else {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
        socket
    };
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A datagram that may be of use.
#[derive(Clone, Copy)]
pub(super) struct Heard {
    pub(super) source: IpAddr,
    pub(super) destination: Option<IpAddr>,
    pub(super) multihop: bool,
    pub(super) hop_limit: u8,
    pub(super) control: Control,
}

impl Heard {
    fn give(&self, sessions: &mut [Served]) {
        let own = sessions.iter_mut().filter(|served| served.takes(self));
        for served in own {
            if let Some(answer) = served.session.on_packet(clock::now(), &self.control) {
                served.mouth.say(&served.settings, &answer, &mut Jitter::new(0));
            }
        }
    }
}

/// `None`: it is none of a session's.
fn receive(socket: &UdpSocket, multihop: bool) -> io::Result<Option<Heard>> {
    // No packet of ours is longer, and what one says beyond is not looked at.
    let mut bytes = [0; LENGTH * 4];
    let mut space = nix::cmsg_space!(nix::libc::in6_pktinfo, nix::libc::c_int);
    let mut vectors = [IoSliceMut::new(&mut bytes)];
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut vectors, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
    let (mut hop_limit, mut destination) = (None, None);
    for part in message.cmsgs()? {
        match part {
            ControlMessageOwned::Ipv4Ttl(limit) | ControlMessageOwned::Ipv6HopLimit(limit) => {
                hop_limit = u8::try_from(limit).ok();
            }
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                destination = Some(IpAddr::V4(u32::from_be(info.ipi_addr.s_addr).into()));
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                destination = Some(IpAddr::V6(info.ipi6_addr.s6_addr.into()));
            }
            _ => {}
        }
    }
    let v4 = message.address.as_ref().and_then(|from| from.as_sockaddr_in()).map(|from| IpAddr::V4(from.ip()));
    let v6 = message.address.as_ref().and_then(|from| from.as_sockaddr_in6()).map(|from| IpAddr::V6(from.ip()));
    let count = message.bytes;
    let (Some(source), Some(hop_limit), Some(bytes)) = (v4.or(v6), hop_limit, bytes.get(..count)) else {
        return Ok(None);
    };
    let parsed = Control::parse(bytes);
    let control = parsed.inspect_err(|error| tracing::debug!(%source, "a BFD packet is discarded: {error}")).ok();
    Ok(control.map(|control| Heard { source, destination, multihop, hop_limit, control }))
}

/// Where packets go out, from a port of the session's own.
#[derive(Default)]
pub(super) struct Mouth {
    socket: Option<UdpSocket>,
    pub(super) fault: Option<String>,
}

impl Mouth {
    /// What can't be sent now is said anew soon.
    pub(super) fn say(&mut self, settings: &BfdInstance, control: &Control, jitter: &mut Jitter) {
        if self.socket.is_none() {
            match open(settings, jitter) {
                Ok(socket) => *self = Mouth { socket: Some(socket), fault: None },
                Err(error) => self.fault = Some(format!("no socket to {}: {error}", settings.neighbor)),
            }
        }
        let Some(socket) = &self.socket else { return };
        let to = SocketAddr::new(settings.neighbor, port(settings.multihop));
        match socket.send_to(&control.emit(), to) {
            Ok(_) => self.fault = None,
            // Its address has gone, perhaps to come back as another one.
            Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => self.socket = None,
            Err(error) => tracing::debug!(%to, "a BFD packet was not sent: {error}"),
        }
    }
}

pub(super) fn open(settings: &BfdInstance, jitter: &mut Jitter) -> io::Result<UdpSocket> {
    let source = settings.source.unwrap_or(match settings.neighbor {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    });
    let ports = u64::from(*SOURCES.end() - *SOURCES.start()) + 1;
    let mut taken = io::Error::from(ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        let port = SOURCES.start().saturating_add(u16::try_from(jitter.next_u64() % ports).unwrap_or(0));
        match bind(source, port, settings.hop_limit) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => taken = error,
            other => return other,
        }
    }
    Err(taken)
}

fn bind(source: IpAddr, port: u16, hop_limit: u8) -> io::Result<UdpSocket> {
    let (domain, address): (_, SocketAddr) = match source {
        IpAddr::V4(source) => (Domain::IPV4, SocketAddrV4::new(source, port).into()),
        IpAddr::V6(source) => (Domain::IPV6, SocketAddrV6::new(source, port, 0, 0).into()),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if source.is_ipv4() {
        socket.set_ttl_v4(hop_limit.into())?;
        socket.set_tos_v4(TRAFFIC_CLASS)?;
    } else {
        socket.set_unicast_hops_v6(hop_limit.into())?;
        socket.set_tclass_v6(TRAFFIC_CLASS)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
