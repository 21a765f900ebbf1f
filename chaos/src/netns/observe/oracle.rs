//! Asks each node, over and over and at its own hardware address, whether it serves the VIP.
//!
//! A client sees only the node that its neighbor cache points to; a second holder that nobody asks would
//! stay unseen. The oracle's questions make every holder speak, and the taps hear the answers. It stands
//! outside every cut.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use super::responder::{PORT, PROBE};
use super::{Stop, packet};
use crate::fault::Network;
use crate::netns::error::{Error, io_error};
use crate::netns::priority;
use crate::netns::topology::{Kind, Topology, lan6};

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

/// The UDP datagram of a question, with the checksum that IPv6 demands where both addresses are that.
fn datagram(from: IpAddr, to: IpAddr) -> Vec<u8> {
    let length = u16::try_from(8 + PROBE).unwrap_or(0);
    let mut udp = Vec::new();
    udp.extend(OWN_PORT.to_be_bytes());
    udp.extend(PORT.to_be_bytes());
    udp.extend(length.to_be_bytes());
    // RFC 768: a checksum of zero says that there is none.
    udp.extend([0, 0]);
    udp.extend([0; PROBE]);
    if let (IpAddr::V6(from), IpAddr::V6(to)) = (from, to) {
        // RFC 8200, 8.1: addresses, length, next header.
        let mut summed: Vec<u8> = from.octets().into_iter().chain(to.octets()).collect();
        summed.extend(u32::from(length).to_be_bytes());
        summed.extend([0, 0, 0, 17]);
        summed.extend(&udp);
        udp.splice(6..8, checksum(&summed).to_be_bytes());
    }
    udp
}

/// A probe in UDP in IP in Ethernet, addressed to one node's hardware and to the VIP.
fn question(from_mac: [u8; 6], to_mac: [u8; 6], own: Ipv4Addr, vip: IpAddr) -> Vec<u8> {
    let (from, ethertype): (IpAddr, [u8; 2]) = match vip {
        IpAddr::V4(_) => (own.into(), [0x08, 0x00]),
        IpAddr::V6(_) => (lan6(own).into(), [0x86, 0xdd]),
    };
    let udp = datagram(from, vip);
    let length = u16::try_from(udp.len()).unwrap_or(0);
    let mut ip = Vec::new();
    match (from, vip) {
        (IpAddr::V6(from), IpAddr::V6(vip)) => {
            ip.extend([0x60, 0, 0, 0]);
            ip.extend(length.to_be_bytes());
            ip.extend([17, 64]);
            ip.extend(from.octets());
            ip.extend(vip.octets());
        }
        (_, IpAddr::V4(vip)) => {
            ip.extend([0x45, 0]);
            ip.extend((20 + length).to_be_bytes());
            ip.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
            ip.extend(own.octets());
            ip.extend(vip.octets());
            let sum = checksum(&ip).to_be_bytes();
            ip.splice(10..12, sum);
        }
        // The address is taken from the VIP's family above.
        (IpAddr::V4(_), IpAddr::V6(_)) => {}
    }
    let mut frame = Vec::new();
    frame.extend(to_mac);
    frame.extend(from_mac);
    frame.extend(ethertype);
    frame.extend(ip);
    frame.extend(udp);
    frame
}

/// Starts asking every node for `vip`, until the run stops.
///
/// # Errors
/// [`Error::Io`] when its sockets can't be made.
pub fn start(topology: &Topology, vip: impl Into<IpAddr>, stop: Stop) -> Result<(), Error> {
    start_every(topology, vip, INTERVAL, stop)
}

/// The same at another pace: nodes that are emulated can't answer that often.
///
/// # Errors
/// [`Error::Io`] when its sockets can't be made.
pub fn start_every(topology: &Topology, vip: impl Into<IpAddr>, interval: Duration, stop: Stop) -> Result<(), Error> {
    let vip = vip.into();
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
        // Answers of both families end here; without a socket the kernel would refuse each with an ICMP error to the VIP.
        let sink = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, OWN_PORT)).map_err(io_error("bind the oracle's port"))?;
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
        let frame = question([2; 6], [4; 6], Ipv4Addr::new(192, 0, 2, 99), Ipv4Addr::new(192, 0, 2, 100).into());
        assert_eq!(checksum(&frame[14..34]), 0);
        assert_eq!(frame.len(), 14 + 20 + 8 + PROBE);
    }

    #[test]
    fn a_question_in_ipv6_has_a_checksum_over_its_addresses_too() {
        let vip: Ipv6Addr = "2001:db8::100".parse().unwrap();
        let frame = question([2; 6], [4; 6], Ipv4Addr::new(192, 0, 2, 99), vip.into());
        assert_eq!((frame.len(), &frame[12..14], frame[20]), (14 + 40 + 8 + PROBE, &[0x86, 0xdd][..], 17));
        let mut summed = frame[22..54].to_vec();
        summed.extend([0, 0, 0, 8 + PROBE as u8, 0, 0, 0, 17]);
        summed.extend(&frame[54..]);
        assert_eq!(checksum(&summed), 0);
    }
}
