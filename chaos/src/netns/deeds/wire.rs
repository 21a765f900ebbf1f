//! Frames that somebody else puts on the wire: forged ones, and old ones once more.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::deed::Forged;
use crate::fault::Network;
use crate::netns::configuration::VRID;
use crate::netns::error::{Error, io_error};
use crate::netns::observe::oracle::checksum;
use crate::netns::observe::packet;
use crate::netns::topology::{Kind, Port, VIP, interface};
use crate::netns::world::{Cast, World};

/// What was captured, by whom it was for: the switch's port and the frame.
pub type Captured = Arc<Mutex<BTreeMap<Kind, Vec<(u32, Vec<u8>)>>>>;

/// The stranger's hardware address.
const STRANGER_MAC: [u8; 6] = [0x02, 0, 0, 0, 1, 0x4d];
/// The stranger's own address.
const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
/// VRRP's group address and its hardware address (RFC 9568, 5.1.1.2 and RFC 1112, 6.4).
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const GROUP_MAC: [u8; 6] = [0x01, 0, 0x5e, 0, 0, 18];
/// Frames that are kept at most.
const KEPT: usize = 5000;

/// An ARP packet in Ethernet that says "`address` is at `mac`": a request for itself, or a reply to somebody.
fn arp(to: [u8; 6], mac: [u8; 6], address: Ipv4Addr, target: Ipv4Addr, reply: bool) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(to);
    frame.extend(mac);
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, if reply { 2 } else { 1 }]);
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend(if reply { to } else { [0; 6] });
    frame.extend(target.octets());
    frame.resize(60, 0);
    frame
}

/// A version 3 Advertisement of the watched virtual router (RFC 9568, 5.2), its checksum with the pseudo-header.
fn advertisement(priority: u8) -> Vec<u8> {
    let mut vrrp = vec![0x31, VRID, priority, 1, 0, 100, 0, 0];
    vrrp.extend(VIP.octets());
    let length = u8::try_from(vrrp.len()).unwrap_or(0);
    let mut summed: Vec<u8> = STRANGER.octets().into_iter().chain(GROUP.octets()).collect();
    summed.extend([0, 112, 0, length]);
    summed.extend(&vrrp);
    vrrp.splice(6..8, checksum(&summed).to_be_bytes());

    let mut ip = vec![0x45, 0xc0, 0, 20 + length, 0, 0, 0, 0, 255, 112, 0, 0];
    ip.extend(STRANGER.octets());
    ip.extend(GROUP.octets());
    let sum = checksum(&ip).to_be_bytes();
    ip.splice(10..12, sum);

    let mut frame = Vec::new();
    frame.extend(GROUP_MAC);
    frame.extend(STRANGER_MAC);
    frame.extend([0x08, 0x00]);
    frame.extend(ip);
    frame.extend(vrrp);
    frame.resize(60, 0);
    frame
}

/// An Advertisement whose length says more than there is: the last address is missing.
fn truncated() -> Vec<u8> {
    let mut frame = advertisement(200);
    // The IP header's length, octets 16 and 17 of the frame, and its checksum, 24 and 25.
    frame.splice(16..18, [0, 28]);
    frame.splice(24..26, [0, 0]);
    let sum = checksum(frame.get(14..34).unwrap_or_default()).to_be_bytes();
    frame.splice(24..26, sum);
    frame
}

impl World {
    /// Sends a forged frame over and over from a stranger on the first client's cable, on a thread of its own.
    pub(super) fn forge(&mut self, what: Forged, every_ms: u64, for_ms: u64, cast: Cast) -> Result<(), Error> {
        let lan = |kind| self.topology.host(kind).and_then(|host| host.port(Network::Lan));
        let (Some(host), Some(gateway), Some(backup)) =
            (self.topology.host(Kind::Client(0)), lan(Kind::Gateway), lan(Kind::Node(cast.backup)))
        else {
            return Ok(());
        };
        let frame = match what {
            Forged::Announcement => arp([0xff; 6], STRANGER_MAC, VIP, VIP, false),
            Forged::GatewayPoison => arp(gateway.mac, backup.mac, VIP, gateway.address, true),
            Forged::Advertisement(priority) => advertisement(priority),
            Forged::Truncated => truncated(),
        };
        let socket = host.namespace.run(|| {
            let index = nix::net::if_::if_nametoindex(interface(Network::Lan).as_str())
                .map_err(io_error("find the stranger's interface"))?;
            packet::open(index).map_err(io_error("open the stranger's socket"))
        })?;
        socket.set_recv_buffer_size(1).map_err(io_error("shrink the stranger's buffer"))?;
        let over = self.works.over.clone();
        thread::spawn(move || {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(for_ms) && !over.is_set() {
                let _ = socket.send(&frame);
                thread::sleep(Duration::from_millis(every_ms.max(1)));
            }
        });
        Ok(())
    }

    fn quiet_ports(&self, kind: Kind) -> Vec<Port> {
        let ports = self.topology.host(kind).map_or(&[][..], |host| host.ports.as_slice());
        ports.iter().filter(|port| port.network != Network::Lan).cloned().collect()
    }

    /// Keeps every frame that goes to a machine on the heartbeat and witness networks, on threads of their own.
    pub(super) fn capture(&mut self, kind: Kind, for_ms: u64) -> Result<(), Error> {
        for port in self.quiet_ports(kind) {
            let tap = self.topology.switch.run(|| {
                let tap = packet::open(port.index).map_err(io_error("open a tap"))?;
                packet::prepare_for_listening(&tap).map_err(io_error("prepare a tap"))?;
                Ok(tap)
            })?;
            let (over, captured) = (self.works.over.clone(), Arc::clone(&self.works.captured));
            thread::spawn(move || {
                let begin = Instant::now();
                let mut buffer = [0_u8; 4096];
                while begin.elapsed() < Duration::from_millis(for_ms) && !over.is_set() {
                    let Ok(Some(seen)) = packet::receive(&tap, &mut buffer) else { continue };
                    let Some(frame) = buffer.get_mut(..seen.length).filter(|_| seen.outgoing) else { continue };
                    packet::mend_checksum(frame);
                    let mut captured = captured.lock().unwrap_or_else(PoisonError::into_inner);
                    let frames = captured.entry(kind).or_default();
                    if frames.len() < KEPT {
                        frames.push((port.index, frame.to_vec()));
                    }
                }
            });
        }
        Ok(())
    }

    /// Sends what was captured once more, so many times, as fast as the wire takes it.
    pub(super) fn replay(&mut self, kind: Kind, times: u8) -> Result<(), Error> {
        let frames = {
            let captured = self.works.captured.lock().unwrap_or_else(PoisonError::into_inner);
            captured.get(&kind).cloned().unwrap_or_default()
        };
        if frames.is_empty() {
            return Err(io_error(format!("replay what was sent to {kind:?}: nothing was captured"))(
                std::io::Error::from(std::io::ErrorKind::NotFound),
            ));
        }
        for port in self.quiet_ports(kind) {
            let out = self.topology.switch.run(|| packet::open(port.index).map_err(io_error("open a way out")))?;
            out.set_recv_buffer_size(1).map_err(io_error("shrink a buffer"))?;
            let frames: Vec<Vec<u8>> =
                frames.iter().filter(|(index, _)| *index == port.index).map(|(_, frame)| frame.clone()).collect();
            let over = self.works.over.clone();
            thread::spawn(move || {
                for frame in (0..times).flat_map(|_| &frames).take_while(|_| !over.is_set()) {
                    let _ = out.send(frame);
                    thread::sleep(Duration::from_micros(200));
                }
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepone_proto::wire::vrrp::parse;

    #[test]
    fn forged_advertisements_are_what_they_should_be_to_our_own_decoder() {
        let read = |frame: &[u8]| {
            let length = usize::from(frame[17]);
            assert_eq!(checksum(&frame[14..34]), 0);
            parse(&frame[34..14 + length], STRANGER.into(), GROUP.into(), 255, false)
        };
        assert_eq!(read(&advertisement(254)).unwrap().priority.0, 254);
        assert!(read(&truncated()).is_err());
    }

    #[test]
    fn a_rogue_announcement_names_the_vip_to_everybody() {
        let frame = arp([0xff; 6], STRANGER_MAC, VIP, VIP, false);
        assert_eq!((frame.len(), &frame[12..14], &frame[28..32]), (60, &[0x08, 0x06][..], &VIP.octets()[..]));
    }
}
