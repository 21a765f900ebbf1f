//! The neutral witness of the wire: a tap on the switch's end of each node's LAN cable.
//!
//! It records each frame that *names the VIP as its source*: whoever sends one claims to be the holder,
//! whatever the agent says. The port tells who sent it, not the frame's own words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::{Live, Stop, packet};
use crate::netns::configuration::VRID;
use crate::netns::error::{Error, io_error};
use crate::netns::topology::{Port, Topology};
use crate::netns::{clock, priority};

/// How a frame names the VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Naming {
    /// As the source of an IP packet.
    Ip,
    /// As the sender of an ARP packet.
    Arp,
    /// As the target of a Neighbor Advertisement.
    Neighbor,
    /// In a VRRP Advertisement: a claim, but not yet traffic for the VIP.
    Advertisement,
}

/// A frame that names the VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// When it came out of the node, on the world's clock.
    pub at: u64,
    /// How.
    pub naming: Naming,
}

const ETHERNET: usize = 14;

fn ipv4_at(frame: &[u8], offset: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = frame.get(offset..offset + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(octets))
}

fn ipv6_at(frame: &[u8], offset: usize) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = frame.get(offset..offset + 16)?.try_into().ok()?;
    Some(Ipv6Addr::from(octets))
}

/// Whether the VRRP packet at `header` is the watched virtual router's. Another one of the same node has a gate of its
/// own, which may well be open while this one's is shut.
///
/// RFC 9568, 5.2.3: the second octet.
fn is_watched(frame: &[u8], header: usize) -> Option<bool> {
    frame.get(header + 1).map(|vrid| *vrid == VRID)
}

/// A claim; priority 0 resigns (RFC 9568, 5.2.4).
fn advertisement(frame: &[u8], header: usize) -> Option<Naming> {
    (*frame.get(header + 2)? != 0).then_some(Naming::Advertisement)
}

/// How `frame`, from its Ethernet header, names `vip` as a source; `None`: it doesn't.
///
/// EtherTypes of RFC 894, RFC 826 and RFC 2464; ICMPv6 type 136 of RFC 4861, 4.4.
pub fn classify(frame: &[u8], vip: IpAddr) -> Option<Naming> {
    let ethertype = u16::from_be_bytes(frame.get(12..14)?.try_into().ok()?);
    match (ethertype, vip) {
        (0x0800, vip) => {
            if *frame.get(ETHERNET + 9)? == 112 {
                let header = ETHERNET + usize::from(frame.get(ETHERNET)? & 0x0f) * 4;
                if is_watched(frame, header)? {
                    return advertisement(frame, header);
                }
            }
            (IpAddr::V4(ipv4_at(frame, ETHERNET + 12)?) == vip).then_some(Naming::Ip)
        }
        (0x0806, IpAddr::V4(vip)) => (ipv4_at(frame, ETHERNET + 14)? == vip).then_some(Naming::Arp),
        (0x86dd, vip) => {
            let next_header = *frame.get(ETHERNET + 6)?;
            if next_header == 112 && is_watched(frame, ETHERNET + 40)? {
                return advertisement(frame, ETHERNET + 40);
            }
            let IpAddr::V6(vip) = vip else { return None };
            if next_header == 58 && *frame.get(ETHERNET + 40)? == 136 && ipv6_at(frame, ETHERNET + 48)? == vip {
                return Some(Naming::Neighbor);
            }
            (ipv6_at(frame, ETHERNET + 8)? == vip).then_some(Naming::Ip)
        }
        _ => None,
    }
}

/// Listens on one port until the run stops; returns what it saw of node `node`.
///
/// # Errors
/// [`Error::Io`] when the tap can't be opened.
pub fn start(
    topology: &Topology,
    port: &Port,
    node: usize,
    vip: IpAddr,
    live: Arc<Live>,
    stop: Stop,
) -> Result<JoinHandle<Vec<Sighting>>, Error> {
    let index = port.index;
    let socket = topology.switch.run(|| {
        let socket = packet::open(index).map_err(io_error("open a tap"))?;
        packet::prepare_for_listening(&socket).map_err(io_error("prepare a tap"))?;
        Ok(socket)
    })?;
    Ok(thread::spawn(move || {
        priority::raise();
        let mut seen = Vec::new();
        let mut buffer = [0_u8; 256];
        // On a busy machine frames wait in the socket: those from before the end are still read.
        let mut end = None;
        loop {
            if stop.is_set() {
                end = end.or(Some(clock::now()));
            }
            let Ok(Some(frame)) = packet::receive(&socket, &mut buffer) else {
                if end.is_some() {
                    break;
                }
                continue;
            };
            if end.is_some_and(|end| frame.at >= end) {
                break;
            }
            let octets = buffer.get(..frame.length.min(buffer.len())).unwrap_or_default();
            if let (false, Some(naming)) = (frame.outgoing, classify(octets, vip)) {
                seen.push(Sighting { at: frame.at, naming });
                if naming != Naming::Advertisement {
                    live.spoke(node, frame.at);
                }
            }
        }
        seen
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));

    fn frame(ethertype: u16, rest: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend(ethertype.to_be_bytes());
        frame.extend(rest);
        frame
    }

    fn ipv4(protocol: u8, source: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 255, protocol, 0, 0];
        packet.extend(source);
        packet.extend([224, 0, 0, 18]);
        packet.extend(payload);
        frame(0x0800, &packet)
    }

    #[test]
    fn only_frames_with_the_vip_as_source_name_it() {
        assert_eq!(classify(&ipv4(17, [192, 0, 2, 100], &[]), VIP), Some(Naming::Ip));
        assert_eq!(classify(&ipv4(17, [192, 0, 2, 11], &[192, 0, 2, 100]), VIP), None);
        let arp = |sender: [u8; 4], target: [u8; 4]| {
            let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
            packet.extend([2; 6]);
            packet.extend(sender);
            packet.extend([0; 6]);
            packet.extend(target);
            frame(0x0806, &packet)
        };
        assert_eq!(classify(&arp([192, 0, 2, 100], [192, 0, 2, 100]), VIP), Some(Naming::Arp));
        assert_eq!(classify(&arp([192, 0, 2, 51], [192, 0, 2, 100]), VIP), None);
    }

    #[test]
    fn a_resigning_advertisement_is_no_claim() {
        assert_eq!(classify(&ipv4(112, [192, 0, 2, 11], &[0x31, 51, 150]), VIP), Some(Naming::Advertisement));
        assert_eq!(classify(&ipv4(112, [192, 0, 2, 11], &[0x31, 51, 0]), VIP), None);
    }

    #[test]
    fn an_advertisement_of_another_virtual_router_does_not_name_the_vip() {
        assert_eq!(classify(&ipv4(112, [192, 0, 2, 11], &[0x31, 52, 150]), VIP), None);
        let mut packet = vec![0x60, 0, 0, 0, 0, 3, 112, 255];
        packet.extend([0; 32]);
        packet.extend([0x31, 52, 150]);
        let (vip, router) = (IpAddr::V6("2001:db8::100".parse().unwrap()), packet.len() - 2);
        assert_eq!(classify(&frame(0x86dd, &packet), vip), None);
        packet[router] = 51;
        assert_eq!(classify(&frame(0x86dd, &packet), vip), Some(Naming::Advertisement));
    }

    #[test]
    fn a_neighbor_advertisement_names_its_target() {
        let vip: Ipv6Addr = "2001:db8::100".parse().unwrap();
        let mut packet = vec![0x60, 0, 0, 0, 0, 24, 58, 255];
        packet.extend("fe80::1".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend("ff02::1".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend([136, 0, 0, 0, 0x20, 0, 0, 0]);
        packet.extend(vip.octets());
        assert_eq!(classify(&frame(0x86dd, &packet), IpAddr::V6(vip)), Some(Naming::Neighbor));
        assert_eq!(classify(&frame(0x86dd, &packet), VIP), None);
    }

    #[test]
    fn a_frame_cut_short_anywhere_is_nothing_and_no_panic() {
        let whole = ipv4(112, [192, 0, 2, 11], &[0x31, 51, 150]);
        for length in 0..whole.len() - 1 {
            assert_eq!(classify(&whole[..length], VIP), None);
        }
    }
}
