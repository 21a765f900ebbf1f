//! Servers of the guest's that say their name over UDP or SCTP, and a client that asks them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::error::{Error, io_error};

/// The protocol's number (RFC 9260); the C library's name for it is missing in the crate.
const SCTP: i32 = 132;
/// How long one answer may take in an emulated machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// No name is longer.
const LONGEST: usize = 64;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Speech {
    /// A datagram each.
    Udp,
    /// An association each, as a stream (RFC 6458, 4).
    Sctp,
}

/// Says `name` to whoever asks at `address`, until it is killed.
///
/// # Errors
/// [`Error::Io`] when there is no such socket.
pub fn serve(speech: Speech, address: SocketAddr, name: &str) -> Result<(), Error> {
    match speech {
        Speech::Udp => {
            let socket = UdpSocket::bind(address).map_err(io_error(format!("bind UDP {address}")))?;
            let mut bytes = [0; LONGEST];
            loop {
                // Who has gone meanwhile does without.
                if let Ok((_, from)) = socket.recv_from(&mut bytes) {
                    let _ = socket.send_to(name.as_bytes(), from);
                }
            }
        }
        Speech::Sctp => {
            let socket = sctp(address)?;
            let bound = socket.bind(&address.into()).and_then(|()| socket.listen(16));
            bound.map_err(io_error(format!("bind SCTP {address}")))?;
            loop {
                if let Ok((mut client, _)) = socket.accept() {
                    let _ = client.write_all(name.as_bytes());
                    let _ = client.shutdown(Shutdown::Write);
                }
            }
        }
    }
}

/// Asks `count` times; a line for each answer, or `failed`. Datagrams all come from one port.
///
/// # Errors
/// [`Error::Io`] when there is no socket at all.
pub fn ask(speech: Speech, address: SocketAddr, count: u32) -> Result<(), Error> {
    let own: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let datagrams = UdpSocket::bind(own).map_err(io_error("bind a UDP port"))?;
    datagrams.set_read_timeout(Some(PATIENCE)).map_err(io_error("set a timeout"))?;
    for _ in 0..count {
        let answer = match speech {
            Speech::Udp => one_datagram(&datagrams, address),
            Speech::Sctp => one_association(address),
        };
        println!("{}", answer.as_deref().unwrap_or("failed"));
    }
    Ok(())
}

fn one_datagram(socket: &UdpSocket, address: SocketAddr) -> Option<String> {
    let mut bytes = [0; LONGEST];
    socket.send_to(b"?", address).ok()?;
    let (length, _) = socket.recv_from(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(bytes.get(..length)?).into_owned())
}

fn one_association(address: SocketAddr) -> Option<String> {
    let mut socket = sctp(address).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    socket.connect_timeout(&address.into(), PATIENCE).ok()?;
    let mut bytes = [0; LONGEST];
    let length = socket.read(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(bytes.get(..length)?).into_owned())
}

fn sctp(address: SocketAddr) -> Result<Socket, Error> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::from(SCTP)));
    socket.map_err(io_error("open an SCTP socket (module sctp)"))
}
