//! The way to a target: from which address, port and interface, with which mark.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use keepone_config::model::Target;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpStream, UdpSocket};

use super::Fault;

/// What failed, where a connection did.
const NO_CONNECTION: &str = "no connection";

/// A connection to the target.
pub(super) async fn tcp(target: &Target) -> Result<TcpStream, Fault> {
    connected(begin(target)?).await
}

/// A connection to the target that has begun.
pub(super) fn begin(target: &Target) -> Result<Socket, Fault> {
    connecting(target, socket(target, Type::STREAM, Protocol::TCP).map_err(Fault::io("no socket"))?)
}

/// The same, to find out whether somebody listens, and nothing else: it ends by a reset, and where it is closed soon after the
/// answer, the server's kernel is sent nothing between the two, so that its program hears of neither
/// (`docs/decisions/0254-a-port-is-checked-without-its-server.md`).
pub(super) fn begin_for_the_port(target: &Target) -> Result<Socket, Fault> {
    let socket = socket(target, Type::STREAM, Protocol::TCP).map_err(Fault::io("no socket"))?;
    // Without either it is closed as others are.
    let _ = socket.set_linger(Some(Duration::ZERO));
    // The acknowledgement of the answer waits for some 40 ms, as for one that goes with what is said (tcp(7)).
    let _ = socket.set_tcp_quickack(false);
    connecting(target, socket)
}

fn connecting(target: &Target, socket: Socket) -> Result<Socket, Fault> {
    // One that was just closed holds its port for a minute; a fixed port of ours is wanted again before.
    if target.from_port != 0 {
        socket.set_reuse_address(true).map_err(Fault::io("SO_REUSEADDR"))?;
    }
    bind(&socket, target)?;
    match socket.connect(&address(target).map_err(Fault::io("bind_if"))?.into()) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
        Err(error) => Err(Fault::io(NO_CONNECTION)(error)),
    }
}

/// Waits for the end of what [`begin`] began.
pub(super) async fn connected(socket: Socket) -> Result<TcpStream, Fault> {
    let stream = TcpStream::from_std(socket.into()).map_err(Fault::io("no socket"))?;
    stream.writable().await.map_err(Fault::io(NO_CONNECTION))?;
    match stream.take_error().map_err(Fault::io(NO_CONNECTION))? {
        Some(error) => Err(Fault::io(NO_CONNECTION)(error)),
        None => Ok(stream),
    }
}

/// Why there is no connection, if the kernel has said so.
pub(super) fn fault(socket: &Socket) -> Option<Fault> {
    match socket.take_error() {
        Ok(None) => None,
        Ok(Some(error)) | Err(error) => Some(Fault::io(NO_CONNECTION)(error)),
    }
}

/// A socket that hears of the target alone, and of what is refused on the way to it.
pub(super) async fn udp(target: &Target) -> Result<UdpSocket, Fault> {
    let socket = socket(target, Type::DGRAM, Protocol::UDP).map_err(Fault::io("no socket"))?;
    bind(&socket, target)?;
    let socket = UdpSocket::from_std(socket.into()).map_err(Fault::io("no socket"))?;
    socket.connect(address(target).map_err(Fault::io("bind_if"))?).await.map_err(Fault::io("no way there"))?;
    Ok(socket)
}

fn socket(target: &Target, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let domain = Domain::for_address(SocketAddr::new(target.address, 0));
    let socket = Socket::new(domain, kind.nonblocking(), Some(protocol))?;
    if let Some(interface) = &target.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if target.mark != 0 {
        socket.set_mark(target.mark)?;
    }
    Ok(socket)
}

fn bind(socket: &Socket, target: &Target) -> Result<(), Fault> {
    if target.from.is_none() && target.from_port == 0 {
        return Ok(());
    }
    let any = if target.address.is_ipv6() {
        IpAddr::from(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::from(Ipv4Addr::UNSPECIFIED)
    };
    let from = SocketAddr::new(target.from.unwrap_or(any), target.from_port);
    let from = scoped(from, target).map_err(Fault::io("bind_if"))?;
    socket.bind(&from.into()).map_err(Fault::io("bindto"))
}

fn address(target: &Target) -> io::Result<SocketAddr> {
    scoped(SocketAddr::new(target.address, target.port), target)
}

/// A link-local address means something on its interface only.
fn scoped(address: SocketAddr, target: &Target) -> io::Result<SocketAddr> {
    match (address, &target.interface) {
        (SocketAddr::V6(mut address), Some(interface)) if address.ip().is_unicast_link_local() => {
            address.set_scope_id(nix::net::if_::if_nametoindex(interface.as_str())?);
            Ok(address.into())
        }
        (address, _) => Ok(address),
    }
}
