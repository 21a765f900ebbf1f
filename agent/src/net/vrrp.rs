//! Raw sockets for VRRP (IP protocol 112, or 51 in an Authentication Header): one for each interface, family and
//! carrier.
//!
//! The one thing that must stay true: whatever arrives is handed on as it came, with the addresses
//! and the hop limit of its IP header; whether it counts is the core's question.

mod together;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keepone_proto::event::Event;
use keepone_proto::id::InterfaceId;
use keepone_proto::wire::ip;
use keepone_proto::wire::vrrp::ah;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::strangers::Strangers;
use super::{Interfaces, OpenError, SendError, Sent, outcome};
use crate::{clock, readiness};

/// IP protocol number of VRRP. RFC 9568, 5.1.1.4.
pub const IPPROTO_VRRP: i32 = 112;
/// The IPv4 group of Advertisements. RFC 9568, 5.1.1.2.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// The IPv6 group of Advertisements. RFC 9568, 5.1.2.2.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// TTL or hop limit of every Advertisement, unless one to a peer has another. RFC 9568, 5.1.1.3.
pub(crate) const HOP_LIMIT: u8 = 255;
/// Of an IPv4 header's octets: TTL (RFC 791, 3.1).
const TTL_AT: usize = 8;
/// Internetwork control, DSCP CS6, as routing protocols have it.
const TRAFFIC_CLASS: u32 = 0xc0;
/// `TC_PRIO_CONTROL` (linux/pkt_sched.h): first band of the default queue discipline.
const PRIORITY: i32 = 7;
/// The longest Advertisement is 255 IPv6 addresses: 4088 octets.
const BUFFER: usize = 8192;

/// Address family of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// What Advertisements travel in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// IP alone: protocol 112.
    Ip,
    /// An Authentication Header after that of IPv4: protocol 51. RFC 2402.
    Ah,
}

/// A packet as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Source address of the IP header.
    pub source: IpAddr,
    /// Destination address of the IP header.
    pub destination: IpAddr,
    /// TTL or hop limit, 0..=255.
    pub hop_limit: u8,
    /// From the first octet of the VRRP header; over [`Carrier::Ah`] from that of the IPv4 header.
    pub bytes: Vec<u8>,
}

/// One raw socket, bound to one interface.
///
/// It is bound to the kernel's index: when the interface is deleted and made again, it is deaf and
/// a new one is needed ([`VrrpSockets::refresh`]).
pub struct VrrpSocket {
    fd: AsyncFd<Socket>,
    family: Family,
    carrier: Carrier,
    ifindex: u32,
    malformed: AtomicU64,
}

impl VrrpSocket {
    /// Opens a socket on the interface of that name and joins the groups (none for unicast only).
    ///
    /// # Errors
    /// [`OpenError`]; also outside a tokio runtime.
    pub fn open(interface: &str, family: Family, carrier: Carrier, groups: &[IpAddr]) -> Result<Self, OpenError> {
        let fail = |what| move |source: io::Error| OpenError::of(what, interface, source);
        let ifindex = nix::net::if_::if_nametoindex(interface)
            .map_err(|errno| OpenError::of("find the interface", interface, errno))?;
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let protocol = match carrier {
            Carrier::Ip => IPPROTO_VRRP,
            Carrier::Ah => i32::from(ah::PROTOCOL),
        };
        let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(protocol)))
            .map_err(fail("open a raw socket"))?;
        socket.bind_device(Some(interface.as_bytes())).map_err(fail("bind the raw socket"))?;
        match family {
            Family::V4 => options_v4(&socket, carrier),
            Family::V6 => options_v6(&socket, ifindex),
        }
        .map_err(fail("set the options of the raw socket"))?;
        for group in groups {
            join(&socket, family, *group, ifindex).map_err(|source| OpenError::Join {
                interface: interface.to_owned(),
                group: *group,
                source,
            })?;
        }
        let fd = readiness::readable(socket).map_err(fail("watch the raw socket"))?;
        Ok(VrrpSocket { fd, family, carrier, ifindex, malformed: AtomicU64::new(0) })
    }

    /// Lets it send from an address of another interface: that below one with a virtual MAC. Over IPv4 it may already.
    fn allow_others_addresses(&self) -> io::Result<()> {
        match self.family {
            Family::V4 => Ok(()),
            Family::V6 => self.fd.get_ref().set_freebind_v6(true),
        }
    }

    /// The kernel's index of the interface it is bound to.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Leaves a group; of one that went with its link there is nothing to leave.
    fn leave(&self, group: IpAddr) {
        let socket = self.fd.get_ref();
        let left = match group {
            IpAddr::V4(group) => socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(self.ifindex)),
            IpAddr::V6(group) => socket.leave_multicast_v6(&group, self.ifindex),
        };
        if let Err(error) = left {
            tracing::debug!(%group, %error, "a group could not be left");
        }
    }

    /// How many packets were dropped because their IP header was malformed or they were truncated.
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// Sends one packet from `source` to the group or to a unicast peer, there with that TTL or hop limit; `bytes` from
    /// the first octet of the VRRP header, over [`Carrier::Ah`] of the IPv4 header. Never waits.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(
        &self,
        source: IpAddr,
        (destination, hop_limit): (IpAddr, u8),
        bytes: &[u8],
    ) -> Result<Sent, SendError> {
        let hop_limit = if destination.is_multicast() { HOP_LIMIT } else { hop_limit };
        let mut own = Vec::new();
        let bytes = match self.carrier {
            // No kernel writes it there, and no check value covers it (RFC 2402, 3.3.3.1.1.1).
            Carrier::Ah if hop_limit != HOP_LIMIT => {
                own.extend_from_slice(bytes);
                if let Some(ttl) = own.get_mut(TTL_AT) {
                    *ttl = hop_limit;
                }
                own.as_slice()
            }
            Carrier::Ah | Carrier::Ip => bytes,
        };
        let hop_limit = libc::c_int::from(hop_limit);
        let (fd, bytes) = (self.fd.get_ref().as_raw_fd(), [IoSlice::new(bytes)]);
        let answer = match (self.family, source, destination) {
            (Family::V4, IpAddr::V4(source), IpAddr::V4(destination)) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: self.ifindex.cast_signed(),
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let to = SockaddrIn::from(SocketAddrV4::new(destination, 0));
                let control = [ControlMessage::Ipv4PacketInfo(&info), ControlMessage::Ipv4Ttl(&hop_limit)];
                sendmsg(fd, &bytes, &control, MsgFlags::MSG_DONTWAIT, Some(&to))
            }
            (Family::V6, IpAddr::V6(source), IpAddr::V6(destination)) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
                    ipi6_ifindex: self.ifindex,
                };
                let to = SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, self.ifindex));
                let control = [ControlMessage::Ipv6PacketInfo(&info), ControlMessage::Ipv6HopLimit(&hop_limit)];
                sendmsg(fd, &bytes, &control, MsgFlags::MSG_DONTWAIT, Some(&to))
            }
            _ => return Err(SendError::WrongFamily),
        };
        outcome(answer)
    }

    /// The next packet. May be dropped at any point without losing one.
    ///
    /// # Errors
    /// What the kernel says of the socket; a following call may succeed.
    pub async fn recv(&self) -> io::Result<Received> {
        loop {
            let mut ready = self.fd.readable().await?;
            match ready.try_io(|fd| self.recv_now(fd.get_ref())) {
                Ok(Ok(Some(packet))) => return Ok(packet),
                Ok(Ok(None)) => {
                    self.malformed.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }

    fn recv_now(&self, socket: &Socket) -> io::Result<Option<Received>> {
        let mut buffer = [0_u8; BUFFER];
        match self.family {
            Family::V4 => recv_v4(socket, &mut buffer, self.carrier),
            Family::V6 => recv_v6(socket, &mut buffer),
        }
    }
}

fn options_v4(socket: &Socket, carrier: Carrier) -> io::Result<()> {
    if carrier == Carrier::Ah {
        // The check value covers parts of the IPv4 header, so that the kernel must not make it.
        socket.set_header_included_v4(true)?;
    }
    socket.set_multicast_loop_v4(false)?;
    socket.set_multicast_ttl_v4(HOP_LIMIT.into())?;
    socket.set_ttl_v4(HOP_LIMIT.into())?;
    socket.set_tos_v4(TRAFFIC_CLASS)?;
    // Only groups that this socket has joined, not those of other programs.
    socket.set_multicast_all_v4(false)?;
    // After the TOS, which sets a priority of its own.
    setsockopt(socket, sockopt::Priority, &PRIORITY)?;
    Ok(())
}

fn options_v6(socket: &Socket, ifindex: u32) -> io::Result<()> {
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_hops_v6(HOP_LIMIT.into())?;
    socket.set_unicast_hops_v6(HOP_LIMIT.into())?;
    socket.set_tclass_v6(TRAFFIC_CLASS)?;
    socket.set_multicast_all_v6(false)?;
    socket.set_multicast_if_v6(ifindex)?;
    socket.set_recv_hoplimit_v6(true)?;
    setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    setsockopt(socket, sockopt::Priority, &PRIORITY)?;
    Ok(())
}

fn join(socket: &Socket, family: Family, group: IpAddr, ifindex: u32) -> io::Result<()> {
    match (family, group) {
        (Family::V4, IpAddr::V4(group)) => socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(ifindex)),
        (Family::V6, IpAddr::V6(group)) => socket.join_multicast_v6(&group, ifindex),
        _ => Err(io::Error::from(Errno::EAFNOSUPPORT)),
    }
}

/// `None`: the packet is not one that a kernel should deliver.
fn recv_v4(socket: &Socket, buffer: &mut [u8], carrier: Carrier) -> io::Result<Option<Received>> {
    let mut vectors = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut vectors, None, MsgFlags::MSG_DONTWAIT)?;
    if message.flags.contains(MsgFlags::MSG_TRUNC) {
        return Ok(None);
    }
    let len = message.bytes;
    Ok(buffer.get(..len).and_then(|packet| parse_v4(packet, carrier)))
}

/// An IPv4 packet, header included, as a raw socket delivers it.
fn parse_v4(packet: &[u8], carrier: Carrier) -> Option<Received> {
    let (header, payload) = ip::parse_ipv4(packet).ok()?;
    Some(Received {
        source: header.source.into(),
        destination: header.destination.into(),
        hop_limit: header.ttl,
        bytes: match carrier {
            Carrier::Ip => payload,
            Carrier::Ah => packet,
        }
        .to_vec(),
    })
}

fn recv_v6(socket: &Socket, buffer: &mut [u8]) -> io::Result<Option<Received>> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
    let mut vectors = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut vectors, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    if message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Ok(None);
    }
    let (mut destination, mut hop_limit) = (None, None);
    for part in message.cmsgs()? {
        match part {
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                destination = Some(IpAddr::from(info.ipi6_addr.s6_addr));
            }
            ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = u8::try_from(limit).ok(),
            _ => {}
        }
    }
    let (source, len) = (message.address.map(|from| IpAddr::V6(from.ip())), message.bytes);
    let (Some(source), Some(destination), Some(hop_limit), Some(bytes)) =
        (source, destination, hop_limit, buffer.get(..len))
    else {
        return Ok(None);
    };
    Ok(Some(Received { source, destination, hop_limit, bytes: bytes.to_vec() }))
}

/// Where Advertisements are spoken: one interface, family and carrier, with the groups to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VrrpSettings {
    /// Where.
    pub interface: InterfaceId,
    /// Whether it is above the interface whose addresses are the senders'.
    pub above: bool,
    /// Over which protocol.
    pub family: Family,
    /// In what.
    pub carrier: Carrier,
    /// Groups to join; empty for unicast only.
    pub groups: Vec<IpAddr>,
}

/// All VRRP sockets of the agent. Each has a task that turns packets into [`Event::VrrpReceived`] or
/// [`Event::AhReceived`].
pub struct VrrpSockets {
    settings: Vec<VrrpSettings>,
    slots: Slots,
    interfaces: Interfaces,
    events: mpsc::Sender<Event>,
    /// Where strange virtual routers are to be told of.
    strangers: SharedStrangers,
}

type SharedStrangers = Arc<Mutex<Option<Strangers>>>;
type Key = (InterfaceId, Family, Carrier);
type Slots = Arc<Mutex<BTreeMap<Key, Slot>>>;

/// A socket, or the place of one that is being opened, for one kernel index.
struct Slot {
    ifindex: u32,
    /// As the socket has them, or will.
    groups: Vec<IpAddr>,
    open: Option<Open>,
}

struct Open {
    socket: Arc<VrrpSocket>,
    reader: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

// A panic elsewhere while the lock was held leaves whole slots.
fn lock(slots: &Slots) -> MutexGuard<'_, BTreeMap<Key, Slot>> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

impl VrrpSockets {
    /// No socket is open until [`VrrpSockets::refresh`] finds its interface.
    pub fn new(settings: Vec<VrrpSettings>, interfaces: Interfaces, events: mpsc::Sender<Event>) -> Self {
        VrrpSockets { settings, slots: Slots::default(), interfaces, events, strangers: SharedStrangers::default() }
    }

    /// Which virtual routers are ours, where the first Advertisement of any other is to be logged; `None`: it is not.
    pub(crate) fn tell_strangers(&self, ours: Option<BTreeSet<(InterfaceId, Family, u8)>>) {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        match ours {
            Some(ours) => strangers.get_or_insert_default().set(ours),
            None => *strangers = None,
        }
    }

    /// Other places to speak at. Sockets that are wanted on are not touched; one that is to hear other groups serves until
    /// its successor does. To be followed by [`VrrpSockets::refresh`].
    pub fn set(&mut self, settings: Vec<VrrpSettings>) {
        self.settings = settings;
        let keys: BTreeSet<Key> =
            self.settings.iter().map(|settings| (settings.interface, settings.family, settings.carrier)).collect();
        lock(&self.slots).retain(|key, _| keys.contains(key));
    }

    /// Brings the sockets in line with the interfaces: opens those that are missing, and opens anew
    /// those whose interface was made again. To be called on each change of an interface.
    ///
    /// The kernel lets a socket join a group under its rtnl lock, which others may hold for long; so each is
    /// opened on a thread that may wait (R15). Whether it was, the handles tell who wants to know; what
    /// could not be opened is logged, and tried again with the next call.
    pub fn refresh(&self) -> Vec<JoinHandle<bool>> {
        let mut slots = lock(&self.slots);
        let mut opening = Vec::new();
        for settings in &self.settings {
            let key = (settings.interface, settings.family, settings.carrier);
            let Some((name, ifindex)) = self.interfaces.named_index(settings.interface) else {
                slots.remove(&key);
                continue;
            };
            let known = slots.get_mut(&key).filter(|slot| slot.ifindex == ifindex);
            let is_new = match known {
                Some(slot) if slot.groups == settings.groups => false,
                Some(slot) => {
                    slot.groups.clone_from(&settings.groups);
                    true
                }
                None => {
                    slots.insert(key, Slot { ifindex, groups: settings.groups.clone(), open: None });
                    true
                }
            };
            if is_new {
                let (slots, to) = (Arc::clone(&self.slots), (self.events.clone(), Arc::clone(&self.strangers)));
                opening.push(tokio::spawn(open(settings.clone(), name, ifindex, slots, to)));
            }
        }
        opening
    }

    /// An interface's link has come back, perhaps at another switch, which has learnt no group from us: joins them anew,
    /// so that the kernel reports them. For IPv6 it does so itself; for IPv4 it waits to be asked (RFC 3376, 5.2).
    ///
    /// Left by all sockets before any joins: a group that one of them still has is not reported. `None`: none is open.
    pub fn rejoin(&self, interface: InterfaceId) -> Option<JoinHandle<()>> {
        let slots = lock(&self.slots);
        let of_it = slots.iter().filter(|((id, ..), _)| *id == interface);
        let open: Vec<(Arc<VrrpSocket>, Vec<IpAddr>)> = of_it
            .filter_map(|(_, slot)| Some((Arc::clone(&slot.open.as_ref()?.socket), slot.groups.clone())))
            .filter(|(_, groups)| !groups.is_empty())
            .collect();
        // Under the rtnl lock, as any join.
        let rejoin = move || {
            for (socket, groups) in &open {
                groups.iter().for_each(|group| socket.leave(*group));
            }
            for (socket, groups) in &open {
                for group in groups {
                    if let Err(error) = join(socket.fd.get_ref(), socket.family, *group, socket.ifindex) {
                        tracing::error!(%group, %error, "a group that could not be joined again: no Advertisement is heard");
                    }
                }
            }
        };
        slots.values().any(|slot| slot.open.is_some()).then(|| tokio::task::spawn_blocking(rejoin))
    }

    /// Sends several; see [`VrrpSocket::send_all`].
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) fn send_all(
        &self,
        (interface, carrier): (InterfaceId, Carrier),
        source: IpAddr,
        hop_limit: u8,
        packets: &[(IpAddr, &[u8])],
    ) -> Result<usize, SendError> {
        let slots = lock(&self.slots);
        let slot = slots.get(&(interface, Family::of(source), carrier));
        let open = slot.and_then(|slot| slot.open.as_ref()).ok_or(SendError::NotOpen)?;
        open.socket.send_all(source, hop_limit, packets)
    }

    /// Sends one packet; see [`VrrpSocket::send`].
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(
        &self,
        (interface, carrier): (InterfaceId, Carrier),
        source: IpAddr,
        (destination, hop_limit): (IpAddr, u8),
        bytes: &[u8],
    ) -> Result<Sent, SendError> {
        let slots = lock(&self.slots);
        let slot = slots.get(&(interface, Family::of(destination), carrier));
        let open = slot.and_then(|slot| slot.open.as_ref()).ok_or(SendError::NotOpen)?;
        open.socket.send(source, (destination, hop_limit), bytes)
    }
}

/// Fills a slot; whether it did.
async fn open(settings: VrrpSettings, name: String, ifindex: u32, slots: Slots, to: Readers) -> bool {
    let VrrpSettings { interface, above, family, carrier, groups } = settings;
    let (shown, joined) = (name.clone(), groups.clone());
    let opened = tokio::task::spawn_blocking(move || VrrpSocket::open(&name, family, carrier, &joined)).await;
    let mut slots = lock(&slots);
    let key = (interface, family, carrier);
    // It may have been made once more meanwhile: then another slot waits for another socket.
    let is_it = |slot: &&mut Slot| slot.ifindex == ifindex && slot.groups == groups;
    let Some(slot) = slots.get_mut(&key).filter(is_it) else { return false };
    match opened {
        Ok(Ok(socket)) if socket.ifindex() == ifindex => {
            if above && let Err(error) = socket.allow_others_addresses() {
                tracing::warn!(interface = shown, %error, "no advertisements can leave from it");
            }
            let socket = Arc::new(socket);
            let reader = tokio::spawn(read(Arc::clone(&socket), (interface, shown), to));
            slot.open = Some(Open { socket, reader });
            return true;
        }
        Ok(Err(error)) => {
            tracing::warn!(interface = shown, ?family, error = %crate::exit::chain(&error), "no vrrp socket");
        }
        Ok(Ok(_)) | Err(_) => {
            tracing::debug!(interface = shown, ?family, "a vrrp socket for an interface that has gone")
        }
    }
    slots.remove(&key);
    false
}

/// Who is told of what comes in.
type Readers = (mpsc::Sender<Event>, SharedStrangers);

/// Reads until the receiver of events is gone.
async fn read(socket: Arc<VrrpSocket>, (interface, name): (InterfaceId, String), (events, strangers): Readers) {
    loop {
        let event = match socket.recv().await {
            Ok(Received { source, destination, hop_limit, bytes }) => match socket.carrier {
                Carrier::Ip if is_strange(&strangers, (interface, socket.family), source, &bytes) => {
                    let vrid = bytes.get(1).copied().unwrap_or_default();
                    tracing::warn!(interface = name, %source, "virtual router {vrid} advertises there, and is none of ours");
                    Event::VrrpReceived { interface, source, destination, hop_limit, bytes }
                }
                Carrier::Ip => Event::VrrpReceived { interface, source, destination, hop_limit, bytes },
                Carrier::Ah => Event::AhReceived { interface, packet: bytes },
            },
            Err(error) => {
                // Errors of a socket are read once (an interface that went down, say): go on, but
                // never in a tight loop.
                tracing::debug!(?interface, %error, "cannot read from the vrrp socket");
                tokio::time::sleep(super::AFTER_ERROR).await;
                continue;
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// Whether a packet is of a virtual router that is none of ours, to be told of. Its second octet is the VRID.
fn is_strange(
    strangers: &SharedStrangers,
    (interface, family): (InterfaceId, Family),
    source: IpAddr,
    bytes: &[u8],
) -> bool {
    let mut strangers = strangers.lock().unwrap_or_else(PoisonError::into_inner);
    let (Some(strangers), Some(vrid)) = (strangers.as_mut(), bytes.get(1)) else { return false };
    strangers.is_news(clock::now(), (interface, family, *vrid), source)
}

#[cfg(test)]
mod tests;
