//! Asks each node, over and over and at its own hardware address, whether it serves the VIP.
//!
//! A client sees only the node that its neighbor cache points to; a second holder that nobody asks would
//! stay unseen. The oracle's questions make every holder speak, and the taps hear the answers. It stands
//! outside every cut.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use super::responder::{PORT, PROBE};
use super::{Stop, packet};
use crate::fault::Network;
use crate::netns::error::{Error, io_error};
use crate::netns::priority;
use crate::netns::topology::{Kind, Topology};

/// Between two questions to one node.
const INTERVAL: Duration = Duration::from_millis(2);
/// The oracle's own UDP port.
const OWN_PORT: u16 = 9001;

/// The Internet checksum of `header` (RFC 1071), with its own field as zero.
pub fn checksum(header: &[u8]) -> u16 {
    let mut sum: u32 = header
        .chunks(2)
        .map(|pair| u32::from(pair.first().copied().unwrap_or(0)) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// A probe in UDP in IPv4 in Ethernet, addressed to one node's hardware and to the VIP.
fn question(from_mac: [u8; 6], to_mac: [u8; 6], from: Ipv4Addr, vip: Ipv4Addr) -> Vec<u8> {
    let udp_length = u16::try_from(8 + PROBE).unwrap_or(0);
    let mut ip = vec![0x45, 0];
    ip.extend((20 + udp_length).to_be_bytes());
    ip.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    ip.extend(from.octets());
    ip.extend(vip.octets());
    let sum = checksum(&ip).to_be_bytes();
    ip.splice(10..12, sum);

    let mut frame = Vec::new();
    frame.extend(to_mac);
    frame.extend(from_mac);
    frame.extend([0x08, 0x00]);
    frame.extend(ip);
    frame.extend(OWN_PORT.to_be_bytes());
    frame.extend(PORT.to_be_bytes());
    frame.extend(udp_length.to_be_bytes());
    // RFC 768: a checksum of zero says that there is none.
    frame.extend([0, 0]);
    frame.extend([0; PROBE]);
    frame
}

/// Starts asking every node for `vip`, until the run stops.
///
/// # Errors
/// [`Error::Io`] when its sockets can't be made.
pub fn start(topology: &Topology, vip: Ipv4Addr, stop: Stop) -> Result<(), Error> {
    start_every(topology, vip, INTERVAL, stop)
}

/// The same at another pace: nodes that are emulated can't answer that often.
///
/// # Errors
/// [`Error::Io`] when its sockets can't be made.
pub fn start_every(topology: &Topology, vip: Ipv4Addr, interval: Duration, stop: Stop) -> Result<(), Error> {
    let Some(host) = topology.host(Kind::Oracle) else { return Ok(()) };
    let Some(own) = host.port(Network::Lan) else { return Ok(()) };
    let questions: Vec<Vec<u8>> = topology
        .node_hosts()
        .filter_map(|node| node.port(Network::Lan))
        .map(|port| question(own.mac, port.mac, own.address, vip))
        .collect();
    let (sender, sink) = host.namespace.run(|| {
        let name = nix::net::if_::if_nametoindex("lan0").map_err(io_error("find the oracle's interface"))?;
        let sender = packet::open(name).map_err(io_error("open the oracle's socket"))?;
        // Answers end here; without a socket the kernel would refuse each with an ICMP error to the VIP.
        let sink = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, OWN_PORT)).map_err(io_error("bind the oracle's port"))?;
        Ok((sender, sink))
    })?;
    // The sender hears the whole LAN, which nobody reads: keep that small.
    sender.set_recv_buffer_size(1).map_err(io_error("shrink the oracle's buffer"))?;
    thread::spawn(move || {
        priority::raise();
        while !stop.is_set() {
            for question in &questions {
                let _ = sender.send(question);
            }
            thread::sleep(interval);
        }
        drop(sink);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_its_checksum_sums_to_zero() {
        let frame = question([2; 6], [4; 6], Ipv4Addr::new(192, 0, 2, 99), Ipv4Addr::new(192, 0, 2, 100));
        assert_eq!(checksum(&frame[14..34]), 0);
        assert_eq!(frame.len(), 14 + 20 + 8 + PROBE);
    }
}
