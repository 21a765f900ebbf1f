//! Whom connections are begun to: the first segment of each, as the machine that is asked gets it.
//!
//! A check of a port alone ends before its server hears of it ([decision 0254](../../../../docs/decisions/0254-a-port-is-checked-without-its-server.md)):
//! who accepts would count none.

use std::io;
use std::net::Ipv4Addr;

use nix::net::if_::if_nametoindex;
use socket2::{SockFilter, Socket};

use super::packet;
use crate::netns::error::{Error, io_error};

// linux/bpf_common.h
const LD_H_ABS: u16 = 0x28;
const LD_B_ABS: u16 = 0x30;
const AND: u16 = 0x54;
const JEQ: u16 = 0x15;
const RET: u16 = 0x06;

/// Where the destination is in an Ethernet frame with IPv4 (RFC 791).
const DESTINATION: std::ops::Range<usize> = 30..34;

/// What is heard of one port, over IPv4 and without IP options.
pub struct Knocks(Socket);

impl Knocks {
    /// Listens on an interface of the calling thread's namespace.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or such an interface.
    pub fn hear(interface: &str, port: u16) -> Result<Self, Error> {
        let failed = || io_error(format!("hear who connects to port {port} over {interface}"));
        let index = if_nametoindex(interface).map_err(io::Error::from).map_err(failed())?;
        let socket = packet::open(index).map_err(failed())?;
        packet::prepare_for_listening(&socket).map_err(failed())?;
        socket.attach_filter(&filter(port)).map_err(failed())?;
        Ok(Knocks(socket))
    }

    /// The next that is asked; `None` after 100 ms without one.
    ///
    /// # Errors
    /// Those of recvmsg(2).
    pub fn next(&self) -> Result<Option<Ipv4Addr>, Error> {
        let mut frame = [0; 64];
        let seen = packet::receive(&self.0, &mut frame).map_err(io_error("hear who connects"))?;
        // Over the loopback each is seen twice: as it leaves, and as it comes.
        let comes = seen.filter(|seen| !seen.outgoing);
        let address = comes.and_then(|_| frame.get(DESTINATION)?.first_chunk::<4>().copied());
        Ok(address.map(Ipv4Addr::from))
    }
}

/// Lets through SYN without ACK to the port.
fn filter(port: u16) -> [SockFilter; 11] {
    // What is loaded is that, or the frame is dropped by the last line, so many lines on.
    let is = |value: u32, to_the_last: u8| SockFilter::new(JEQ, 0, to_the_last, value);
    let load = |how: u16, offset: u32| SockFilter::new(how, 0, 0, offset);
    [
        load(LD_H_ABS, 12),
        is(0x0800, 8),
        load(LD_B_ABS, 23),
        is(6, 6),
        load(LD_H_ABS, 36),
        is(port.into(), 4),
        load(LD_B_ABS, 47),
        SockFilter::new(AND, 0, 0, 0x12),
        is(0x02, 1),
        SockFilter::new(RET, 0, 0, 64),
        SockFilter::new(RET, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::*;
    use crate::netns::namespace::Namespace;

    /// Needs root.
    #[test]
    fn each_connection_to_the_port_is_heard_once_and_nothing_else_is() {
        let namespace = Namespace::new().unwrap();
        let heard = namespace.run(|| {
            let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
            assert!(up.map_err(io_error("run `ip`"))?.success());
            let _listeners = [80, 81].map(|port| TcpListener::bind(SocketAddr::from(([0; 4], port))).unwrap());
            let knocks = Knocks::hear("lo", 80)?;
            for (last, port) in [(2, 80), (3, 81), (4, 80), (2, 80)] {
                TcpStream::connect(SocketAddr::from(([127, 0, 0, last], port))).unwrap();
            }
            let mut heard = Vec::new();
            // What is outgoing is passed over as `None`, and silence ends it.
            for _ in 0..8 {
                heard.extend(knocks.next()?);
            }
            Ok(heard)
        });
        assert_eq!(heard.unwrap(), [2, 4, 2].map(|last| Ipv4Addr::new(127, 0, 0, last)));
    }
}
