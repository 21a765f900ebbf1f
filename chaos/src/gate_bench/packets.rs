//! Frames that ask the VIP for an answer, and one that a late holder would send; addresses of the room.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(super) const OBSERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(super) const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
pub(super) const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 0x100);
pub(super) const OBSERVER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 51);
pub(super) const OBSERVER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 0x51);

fn ether(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [to, from].concat();
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}

/// RFC 1071.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes: Vec<u8> = parts.concat();
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).map_or([0; 2], |sum| (!sum).to_be_bytes())
}

/// `bytes` with their checksum at `at`.
fn summed(mut bytes: Vec<u8>, at: usize, before: &[u8]) -> Vec<u8> {
    let sum = checksum(&[before, &bytes]);
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&sum);
    }
    bytes
}

fn arp(operation: u8, to: [u8; 6], mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut payload = vec![0, 1, 8, 0, 6, 4, 0, operation];
    payload.extend(mac);
    payload.extend(sender.octets());
    payload.extend([0; 6]);
    payload.extend(target.octets());
    ether(to, mac, 0x0806, &payload)
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut header = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0];
    header.extend(OBSERVER4.octets());
    header.extend(VIP4.octets());
    let mut packet = summed(header, 10, &[]);
    packet.extend(payload);
    ether(NODE_MAC, OBSERVER_MAC, 0x0800, &packet)
}

/// The checksum of the payload is at `at`.
fn ipv6(next: u8, hops: u8, payload: Vec<u8>, at: usize) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let addresses = [OBSERVER6.octets(), VIP6.octets()].concat();
    let pseudo = [&addresses[..], &[0, 0, length[0], length[1], 0, 0, 0, next]].concat();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next, hops];
    packet.extend(addresses);
    packet.extend(summed(payload, at, &pseudo));
    ether(NODE_MAC, OBSERVER_MAC, 0x86dd, &packet)
}

fn udp() -> Vec<u8> {
    let mut datagram = 7001_u16.to_be_bytes().to_vec();
    datagram.extend(PORT.to_be_bytes());
    datagram.extend([0, 12, 0, 0, 1, 2, 3, 4]);
    datagram
}

/// Where the node receives.
pub(super) const PORT: u16 = 7000;
/// Where the observer is sent to.
pub(super) const BACK: u16 = 7002;
/// Of the TCP connection.
pub(super) const STREAM: u16 = 7003;

/// All questions, from the observer.
pub(super) fn questions() -> Vec<Vec<u8>> {
    let mut solicitation = vec![135, 0, 0, 0, 0, 0, 0, 0];
    solicitation.extend(VIP6.octets());
    solicitation.extend([1, 1]);
    solicitation.extend(OBSERVER_MAC);
    let echo = |kind: u8| vec![kind, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4];
    vec![
        arp(1, [0xff; 6], OBSERVER_MAC, OBSERVER4, VIP4),
        ipv4(1, &summed(echo(8), 2, &[])),
        ipv4(17, &udp()),
        ipv6(58, 255, solicitation, 2),
        ipv6(58, 64, echo(128), 2),
        ipv6(17, 64, udp(), 6),
    ]
}

/// From the node: "the VIP is here", past its address table.
pub(super) fn gratuitous() -> Vec<u8> {
    arp(1, [0xff; 6], NODE_MAC, VIP4, VIP4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_over_what_bears_its_checksum_is_zero() {
        let echo = summed(vec![8, 0, 0, 0, 0, 1, 0, 1, 9], 2, &[]);
        assert_eq!(checksum(&[&echo]), [0, 0]);
        // The IPv4 header of a question.
        assert_eq!(checksum(&[&questions()[1][14..34]]), [0, 0]);
    }
}
