//! Advertisements on the wire, made and heard without keepone's own code: a forger on a machine, and a listener.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keepone_chaos::netns::clock;
use keepone_chaos::netns::error::io_error;
use keepone_chaos::netns::namespace::Namespace;
use keepone_chaos::netns::observe::Stop;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use crate::Error;
use crate::lan::INTERFACE;

/// VRRP's group over IPv4. RFC 9568, 5.1.1.2.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// IP's numbers of VRRP and of the Authentication Header.
const PROTOCOLS: [i32; 2] = [112, 51];

/// A packet of version 3 for one address; its checksum is without the pseudo-header (RFC 9568, 5.2.8).
pub fn version_3(vrid: u8, priority: u8, centis: u16, address: Ipv4Addr) -> Vec<u8> {
    let [high, low] = centis.to_be_bytes();
    let mut packet = vec![0x31, vrid, priority, 1, high, low, 0, 0];
    packet.extend(address.octets());
    let sum = checksum(&packet).to_be_bytes();
    packet.splice(6..8, sum);
    packet
}

/// Of the Internet. RFC 1071.
fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| pair.iter().fold(0, |word, octet| word << 8 | u64::from(*octet)));
    let sum = words.sum::<u64>();
    // Twice: the first carry may make another.
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

/// A socket that sends whatever it is given as VRRP.
#[derive(Debug)]
pub struct Forger(Socket);

impl Forger {
    /// On the LAN of a machine.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(namespace: &Namespace) -> Result<Self, Error> {
        namespace.run(|| {
            let open = || -> io::Result<Socket> {
                let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(PROTOCOLS[0])))?;
                socket.bind_device(Some(INTERFACE.as_bytes()))?;
                socket.set_multicast_ttl_v4(255)?;
                socket.set_ttl_v4(255)?;
                socket.set_multicast_loop_v4(false)?;
                Ok(socket)
            };
            open().map(Forger).map_err(io_error("open a socket to forge with"))
        })
    }

    /// Sends octets from the first of the VRRP header, with TTL 255.
    ///
    /// # Panics
    /// They can't be sent.
    #[track_caller]
    #[allow(clippy::unwrap_used, reason = "a test that can't forge has failed")]
    pub fn send(&self, to: Ipv4Addr, octets: &[u8]) {
        self.0.send_to(octets, &SocketAddr::from((to, 0)).into()).unwrap();
    }

    /// The same, with TTL 255, in the name of somebody else.
    ///
    /// # Panics
    /// As [`Forger::send`].
    #[track_caller]
    #[allow(clippy::unwrap_used, reason = "a test that can't forge has failed")]
    pub fn send_as(&self, from: Ipv4Addr, to: Ipv4Addr, octets: &[u8]) {
        let length = u16::try_from(20 + octets.len()).unwrap().to_be_bytes();
        // The kernel fills in what is zero here: identification and checksum. RFC 791, 3.1.
        let mut packet = vec![0x45, 0xc0, length[0], length[1], 0, 0, 0, 0, 255, 112, 0, 0];
        packet.extend(from.octets());
        packet.extend(to.octets());
        packet.extend(octets);
        self.0.set_header_included_v4(true).unwrap();
        self.send(to, &packet);
        self.0.set_header_included_v4(false).unwrap();
    }

    /// The same with another TTL.
    ///
    /// # Panics
    /// As [`Forger::send`].
    #[track_caller]
    #[allow(clippy::unwrap_used, reason = "a test that can't forge has failed")]
    pub fn send_from_afar(&self, to: Ipv4Addr, octets: &[u8], ttl: u32) {
        self.0.set_multicast_ttl_v4(ttl).unwrap();
        self.0.set_ttl_v4(ttl).unwrap();
        self.send(to, octets);
        self.0.set_multicast_ttl_v4(255).unwrap();
        self.0.set_ttl_v4(255).unwrap();
    }
}

/// A packet as it was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// When, by the clock of the tests, in nanoseconds.
    pub at: u64,
    /// Source of the IPv4 header.
    pub from: Ipv4Addr,
    /// Its destination.
    pub to: Ipv4Addr,
    /// Its TTL.
    pub ttl: u8,
    /// From the first octet of the VRRP header; empty in an Authentication Header.
    pub octets: Vec<u8>,
}

impl Heard {
    /// The VRID and the priority.
    pub fn says(&self) -> Option<(u8, u8)> {
        Some((*self.octets.get(1)?, *self.octets.get(2)?))
    }
}

/// Hears all Advertisements on the LAN of a machine; ends when dropped.
#[derive(Debug)]
pub struct Listener {
    heard: Arc<Mutex<Vec<Heard>>>,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
}

impl Listener {
    /// Begins, as a member of these groups.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn start(namespace: &Namespace, groups: &[Ipv4Addr]) -> Result<Self, Error> {
        let (heard, stop) = (Arc::<Mutex<Vec<Heard>>>::default(), Stop::default());
        let mut threads = Vec::new();
        for protocol in PROTOCOLS {
            let socket = namespace.run(|| open(protocol, groups).map_err(io_error("open a socket to listen")))?;
            let (heard, stop) = (Arc::clone(&heard), stop.clone());
            threads.push(thread::spawn(move || listen(&socket, protocol, &heard, &stop)));
        }
        Ok(Listener { heard, stop, threads })
    }

    /// All so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those of a sender since then.
    pub fn since(&self, from: Ipv4Addr, at: u64) -> Vec<Heard> {
        self.heard().into_iter().filter(|heard| heard.from == from && heard.at >= at).collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.set();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn open(protocol: i32, groups: &[Ipv4Addr]) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(protocol)))?;
    socket.bind_device(Some(INTERFACE.as_bytes()))?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let index = InterfaceIndexOrAddress::Index(if_nametoindex(INTERFACE)?);
    groups.iter().try_for_each(|group| socket.join_multicast_v4_n(group, &index))?;
    Ok(socket)
}

fn listen(socket: &Socket, protocol: i32, heard: &Mutex<Vec<Heard>>, stop: &Stop) {
    let (mut buffer, mut socket) = ([0; 2048], socket);
    while !stop.is_set() {
        let Ok(length) = socket.read(&mut buffer) else { continue };
        let at = clock::now();
        let packet = buffer.get(..length).unwrap_or_default();
        let address = |from: usize| {
            let octets: [u8; 4] = packet.get(from..from + 4)?.try_into().ok()?;
            Some(Ipv4Addr::from(octets))
        };
        let header = packet.first().map_or(0, |first| usize::from(first & 0xf) * 4);
        let (Some(ttl), Some(from), Some(to)) = (packet.get(8), address(12), address(16)) else { continue };
        let octets =
            if protocol == PROTOCOLS[0] { packet.get(header..).unwrap_or_default().to_vec() } else { Vec::new() };
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push(Heard { at, from, to, ttl: *ttl, octets });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_packet_has_the_checksum_of_the_rfc() {
        let packet = version_3(51, 200, 100, Ipv4Addr::new(192, 0, 2, 100));
        assert_eq!(packet.len(), 12);
        assert_eq!(checksum(&packet), 0, "the sum over a whole packet is zero");
    }
}
