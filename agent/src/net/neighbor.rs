//! ARP and Neighbor Discovery on the wire: announces where an address lives, and hears who else
//! claims it. When, and at what pace, is said elsewhere ([`super::announcer`]).
//!
//! The one thing that must stay true: frames go through the interface's queue discipline, where the
//! gate is (safety.md R4); a frame that the gate refuses is an answer, not an error.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keepone_proto::event::Event;
use keepone_proto::id::{DomainId, InterfaceId};
use keepone_proto::wire::{arp, ndp};
use nix::sys::socket::{MsgFlags, recv, send};
use socket2::Socket;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Interfaces, Mac, OpenError, SendError, Sent, filter, outcome, packet};
use crate::readiness;

/// `ETH_P_ALL` (linux/if_ether.h).
const ETH_P_ALL: u16 = 0x0003;
/// An NA with options is not longer than a plain Ethernet frame; a longer one fails its checksum.
const BUFFER: usize = 1536;

/// Sends prepared frames (gratuitous ARP, unsolicited NA) on one interface.
pub struct FrameSender {
    socket: Socket,
    ifindex: u32,
    mac: Option<Mac>,
}

impl FrameSender {
    /// Opens a socket on the interface of that name. It receives nothing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(interface: &str) -> Result<Self, OpenError> {
        let (socket, ifindex) = open(interface, |_| Ok(()), 0)?;
        let mac = packet::hardware_address(&socket);
        Ok(FrameSender { socket, ifindex, mac })
    }

    /// The kernel's index of the interface it is bound to.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// The interface's hardware address when the socket was opened; `None` if it is not Ethernet.
    pub fn mac(&self) -> Option<Mac> {
        self.mac
    }

    /// Sends one frame, from the first octet of the Ethernet header. Never waits.
    ///
    /// [`Sent::Refused`] says that the gate is shut.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, frame: &[u8]) -> Result<Sent, SendError> {
        outcome(send(self.socket.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT))
    }
}

/// A packet socket on an interface, with `prepare` carried out before the first frame can come in.
fn open(
    interface: &str,
    prepare: impl FnOnce(&Socket) -> io::Result<()>,
    ethertype: u16,
) -> Result<(Socket, u32), OpenError> {
    let fail = |what| move |source: io::Error| OpenError::of(what, interface, source);
    let ifindex = nix::net::if_::if_nametoindex(interface)
        .map_err(|errno| OpenError::of("find the interface", interface, errno))?;
    let socket = packet::open().map_err(fail("open a packet socket"))?;
    prepare(&socket).map_err(fail("filter the packet socket"))?;
    packet::bind(&socket, ifindex, ethertype).map_err(fail("bind the packet socket"))?;
    Ok((socket, ifindex))
}

/// Somebody says that an address lives at their hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub address: IpAddr,
    /// Where it lives, by the ARP packet's sender hardware address or the NA's Target Link-Layer
    /// Address option (by the frame's source, without one).
    pub mac: Mac,
}

/// Hears claims of watched addresses on one interface: ARP packets (request, reply, gratuitous) with
/// the address as sender, and Neighbor Advertisements with it as target.
///
/// It listens before the ingress hook, so that a shut gate does not make it deaf. What this node
/// sends is not heard.
pub struct ClaimWatch {
    fd: AsyncFd<Socket>,
    ifindex: u32,
}

impl ClaimWatch {
    /// Opens a socket on the interface of that name; only claims of `addresses` wake it.
    ///
    /// # Errors
    /// [`OpenError`]; also outside a tokio runtime.
    pub fn open(interface: &str, addresses: impl Iterator<Item = IpAddr> + Clone) -> Result<Self, OpenError> {
        let prepare = |socket: &Socket| {
            packet::ignore_outgoing(socket)?;
            socket.attach_filter(&filter::program(addresses))
        };
        let (socket, ifindex) = open(interface, prepare, ETH_P_ALL)?;
        let fd = readiness::readable(socket)
            .map_err(|source| OpenError::of("watch the packet socket", interface, source))?;
        Ok(ClaimWatch { fd, ifindex })
    }

    /// The kernel's index of the interface it is bound to.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// The next claim, perhaps of an address that is not watched (the filter is coarse). May be
    /// dropped at any point without losing one.
    ///
    /// # Errors
    /// What the kernel says of the socket (`ENETDOWN`: the interface went down); a following call may
    /// succeed.
    pub async fn recv(&self) -> io::Result<Claim> {
        loop {
            let mut ready = self.fd.readable().await?;
            let mut buffer = [0_u8; BUFFER];
            let read = ready.try_io(|fd| Ok(recv(fd.get_ref().as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)?));
            match read {
                Ok(Ok(len)) => {
                    if let Some(claim) = buffer.get(..len).and_then(parse_claim) {
                        return Ok(claim);
                    }
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}

/// The claim in an Ethernet frame, if it is a valid one.
fn parse_claim(frame: &[u8]) -> Option<Claim> {
    if let Ok(arp) = arp::parse(frame) {
        return Some(Claim { address: arp.sender_ip.into(), mac: arp.sender_mac });
    }
    let advertisement = ndp::parse(frame).ok()?;
    let mac = advertisement.link_layer.unwrap_or(advertisement.frame_source);
    Some(Claim { address: advertisement.target.into(), mac })
}

/// Says where addresses live, through the sockets of a [`Neighbors`].
#[derive(Clone)]
pub(crate) struct Voice {
    slots: Slots,
    interfaces: Interfaces,
}

impl Voice {
    /// Announces once that an address lives here: gratuitous ARP, or an unsolicited Neighbor
    /// Advertisement (`router`: with its Router flag).
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) fn announce(&self, interface: InterfaceId, address: IpAddr, router: bool) -> Result<Sent, SendError> {
        let slots = lock(&self.slots);
        let open = slots.get(&interface).and_then(|slot| slot.open.as_ref()).ok_or(SendError::NotOpen)?;
        // The table's is newer: a bond takes another address when its first port leaves.
        let mac = self.interfaces.mac(interface).filter(|_| open.sender.mac().is_some());
        let mac = mac.or(open.sender.mac()).ok_or(SendError::NotEthernet)?;
        open.sender.send(&match address {
            IpAddr::V4(address) => arp::gratuitous_request(mac, address),
            IpAddr::V6(address) => ndp::unsolicited(mac, address, router),
        })
    }

    /// Whether this node forwards what comes in by the interface, as its kernel tells neighbours that ask: R of an NA
    /// says whether they may keep us as a default router (RFC 4861, 4.4 and 7.2.5).
    pub(crate) fn is_router(&self, interface: InterfaceId) -> bool {
        let Some(name) = self.interfaces.name(interface) else { return false };
        // A dot in the name is one in the path, too.
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{name}/forwarding"));
        text.is_ok_and(|text| text.trim() != "0")
    }
}

/// Sockets for announcements and foreign claims on all interfaces that bear virtual addresses.
pub struct Neighbors {
    /// The virtual addresses of each interface, and the domain of each.
    watched: BTreeMap<InterfaceId, BTreeMap<IpAddr, DomainId>>,
    slots: Slots,
    interfaces: Interfaces,
    events: mpsc::Sender<Event>,
}

type Slots = Arc<Mutex<BTreeMap<InterfaceId, Slot>>>;

/// Sockets, or the place of some that are being opened, for one kernel index.
struct Slot {
    ifindex: u32,
    /// Those whose claims are heard, or will be.
    addresses: BTreeMap<IpAddr, DomainId>,
    open: Option<Open>,
}

struct Open {
    sender: FrameSender,
    reader: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

// A panic elsewhere while the lock was held leaves whole slots.
fn lock(slots: &Slots) -> MutexGuard<'_, BTreeMap<InterfaceId, Slot>> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Neighbors {
    /// No socket is open until [`Neighbors::refresh`] finds its interface.
    pub fn new(
        watched: BTreeMap<InterfaceId, BTreeMap<IpAddr, DomainId>>,
        interfaces: Interfaces,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Neighbors { watched, slots: Slots::default(), interfaces, events }
    }

    /// Other addresses. Sockets of interfaces whose addresses are the same are not touched; others serve until their
    /// successors do. To be followed by [`Neighbors::refresh`].
    pub fn set(&mut self, watched: BTreeMap<InterfaceId, BTreeMap<IpAddr, DomainId>>) {
        self.watched = watched;
        lock(&self.slots).retain(|id, _| self.watched.contains_key(id));
    }

    /// Brings the sockets in line with the interfaces, on threads that may wait, like
    /// [`VrrpSockets::refresh`](super::vrrp::VrrpSockets::refresh).
    pub fn refresh(&self) -> Vec<JoinHandle<bool>> {
        let mut slots = lock(&self.slots);
        let mut opening = Vec::new();
        for (id, addresses) in &self.watched {
            let Some((name, ifindex)) = self.interfaces.named_index(*id) else {
                slots.remove(id);
                continue;
            };
            let known = slots.get_mut(id).filter(|slot| slot.ifindex == ifindex);
            let is_new = match known {
                Some(slot) if slot.addresses == *addresses => false,
                Some(slot) => {
                    slot.addresses.clone_from(addresses);
                    true
                }
                None => {
                    slots.insert(*id, Slot { ifindex, addresses: addresses.clone(), open: None });
                    true
                }
            };
            if is_new {
                let place = Place { id: *id, name, ifindex, slots: Arc::clone(&self.slots) };
                opening.push(tokio::spawn(place.fill(addresses.clone(), self.interfaces.clone(), self.events.clone())));
            }
        }
        opening
    }

    /// What announces through the same sockets, for a thread of its own.
    pub(crate) fn voice(&self) -> Voice {
        Voice { slots: Arc::clone(&self.slots), interfaces: self.interfaces.clone() }
    }

    /// Asks who else has an address, without claiming it (RFC 5227, RFC 4862): an answer is heard as a claim.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn probe(&self, interface: InterfaceId, address: IpAddr) -> Result<Sent, SendError> {
        let slots = lock(&self.slots);
        let open = slots.get(&interface).and_then(|slot| slot.open.as_ref()).ok_or(SendError::NotOpen)?;
        let mac = self.interfaces.mac(interface).or(open.sender.mac()).ok_or(SendError::NotEthernet)?;
        open.sender.send(&match address {
            IpAddr::V4(address) => arp::probe(mac, address),
            IpAddr::V6(address) => ndp::probe(mac, address),
        })
    }

    /// Sends one frame on an interface; see [`FrameSender::send`].
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, interface: InterfaceId, frame: &[u8]) -> Result<Sent, SendError> {
        let slots = lock(&self.slots);
        let open = slots.get(&interface).and_then(|slot| slot.open.as_ref()).ok_or(SendError::NotOpen)?;
        open.sender.send(frame)
    }
}

/// A slot to be filled.
struct Place {
    id: InterfaceId,
    name: String,
    ifindex: u32,
    slots: Slots,
}

impl Place {
    /// Opens the sockets; whether they are there.
    async fn fill(
        self,
        addresses: BTreeMap<IpAddr, DomainId>,
        interfaces: Interfaces,
        events: mpsc::Sender<Event>,
    ) -> bool {
        let (name, watched) = (self.name.clone(), addresses.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let sender = FrameSender::open(&name)?;
            Ok::<_, OpenError>((sender, ClaimWatch::open(&name, watched.keys().copied())?))
        });
        let opened = opened.await;
        let mut slots = lock(&self.slots);
        // It may have been made once more meanwhile: then another slot waits for other sockets.
        let is_it = |slot: &&mut Slot| slot.ifindex == self.ifindex && slot.addresses == addresses;
        let Some(slot) = slots.get_mut(&self.id).filter(is_it) else { return false };
        match opened {
            Ok(Ok((sender, watch))) if sender.ifindex() == self.ifindex => {
                let reader = tokio::spawn(read(watch, addresses, interfaces, events));
                slot.open = Some(Open { sender, reader });
                return true;
            }
            Ok(Err(error)) => {
                tracing::warn!(interface = self.name, error = %crate::exit::chain(&error), "no packet socket");
            }
            Ok(Ok(_)) | Err(_) => {
                tracing::debug!(interface = self.name, "packet sockets for an interface that has gone");
            }
        }
        slots.remove(&self.id);
        false
    }
}

/// Reads until the receiver of events is gone.
async fn read(
    watch: ClaimWatch,
    watched: BTreeMap<IpAddr, DomainId>,
    interfaces: Interfaces,
    events: mpsc::Sender<Event>,
) {
    loop {
        match watch.recv().await {
            Ok(Claim { address, mac }) => {
                let Some(domain) = watched.get(&address) else { continue };
                // Our own announcement, come back through a bridge or by a second interface.
                if interfaces.is_own_mac(mac) {
                    continue;
                }
                if events.send(Event::ForeignClaim { domain: *domain, mac }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "cannot read from the packet socket");
                tokio::time::sleep(super::AFTER_ERROR).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
