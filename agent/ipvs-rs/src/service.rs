//! Services: what clients ask for, and how IPVS chooses who answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::error::Incomplete;
use crate::stats::Stats;
use crate::wire::{Flags, NetworkOrder, ServiceAttribute};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;
const IPPROTO_SCTP: u16 = 132;

const PERSISTENT: u32 = 0x1;
const ONE_PACKET: u32 = 0x4;
const SCHEDULER: [u32; 3] = [0x8, 0x10, 0x20];
/// All flags that are not the kernel's own (which is `IP_VS_SVC_F_HASHED`): without its bit here, none can be cleared.
const OURS: u32 = 0x3d;

/// Of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `AF_INET`.
    Ipv4,
    /// `AF_INET6`.
    Ipv6,
}

impl Family {
    /// Of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
    }

    pub(crate) fn number(self) -> u16 {
        match self {
            Family::Ipv4 => AF_INET,
            Family::Ipv6 => AF_INET6,
        }
    }

    pub(crate) fn from_number(number: u16) -> Option<Self> {
        match number {
            AF_INET => Some(Family::Ipv4),
            AF_INET6 => Some(Family::Ipv6),
            _ => None,
        }
    }

    /// Out of `union nf_inet_addr`.
    pub(crate) fn address(self, octets: [u8; 16]) -> IpAddr {
        let [a, b, c, d, ..] = octets;
        match self {
            Family::Ipv4 => Ipv4Addr::new(a, b, c, d).into(),
            Family::Ipv6 => octets.into(),
        }
    }
}

/// As `union nf_inet_addr`.
pub(crate) fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// Of layer 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP (Linux 2.6.34).
    Sctp,
    /// Another `IPPROTO_*`.
    Other(u16),
}

impl Protocol {
    fn number(self) -> u16 {
        match self {
            Protocol::Tcp => IPPROTO_TCP,
            Protocol::Udp => IPPROTO_UDP,
            Protocol::Sctp => IPPROTO_SCTP,
            Protocol::Other(number) => number,
        }
    }

    fn from_number(number: u16) -> Self {
        match number {
            IPPROTO_TCP => Protocol::Tcp,
            IPPROTO_UDP => Protocol::Udp,
            IPPROTO_SCTP => Protocol::Sctp,
            other => Protocol::Other(other),
        }
    }
}

/// What tells a service from others: the kernel has one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceId {
    /// Packets to an address.
    Address {
        /// Of layer 4.
        protocol: Protocol,
        /// Port 0: every port, for which the kernel wants persistence.
        address: SocketAddr,
    },
    /// Packets with a mark of the firewall's.
    Mark {
        /// From 1.
        mark: u32,
        /// Of which family.
        family: Family,
    },
}

impl ServiceId {
    /// Of the packets.
    pub fn family(self) -> Family {
        match self {
            ServiceId::Address { address, .. } => Family::of(address.ip()),
            ServiceId::Mark { family, .. } => family,
        }
    }

    /// What the kernel finds it by.
    pub fn attributes(self) -> Vec<ServiceAttribute> {
        let family = ServiceAttribute::Family(self.family().number());
        match self {
            ServiceId::Address { protocol, address } => vec![
                family,
                ServiceAttribute::Protocol(protocol.number()),
                ServiceAttribute::Address(octets(address.ip())),
                ServiceAttribute::Port(NetworkOrder(address.port())),
            ],
            ServiceId::Mark { mark, .. } => vec![family, ServiceAttribute::Mark(mark)],
        }
    }

    fn from_attributes(attributes: &[ServiceAttribute]) -> Result<Self, Incomplete> {
        let (mut family, mut protocol, mut address, mut port, mut mark) = (None, None, None, None, None);
        for attribute in attributes {
            match attribute {
                ServiceAttribute::Family(number) => family = Family::from_number(*number),
                ServiceAttribute::Protocol(number) => protocol = Some(Protocol::from_number(*number)),
                ServiceAttribute::Address(octets) => address = Some(*octets),
                ServiceAttribute::Port(number) => port = Some(number.0),
                ServiceAttribute::Mark(number) => mark = Some(*number),
                _ => {}
            }
        }
        let family = family.ok_or(Incomplete("address family"))?;
        if let Some(mark) = mark.filter(|mark| *mark != 0) {
            return Ok(ServiceId::Mark { mark, family });
        }
        let address = family.address(address.ok_or(Incomplete("address"))?);
        let address = SocketAddr::new(address, port.ok_or(Incomplete("port"))?);
        Ok(ServiceId::Address { protocol: protocol.ok_or(Incomplete("protocol"))?, address })
    }
}

/// How many clients count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Granularity {
    /// Those whose addresses are equal under this mask.
    Ipv4(Ipv4Addr),
    /// Those whose addresses begin with the same 1 to 128 bits.
    Ipv6(u8),
}

impl Granularity {
    /// Of the first `bits` bits of an address: at most 32 or 128 are meant, at least 1 with IPv6.
    pub fn prefix(family: Family, bits: u8) -> Self {
        match family {
            Family::Ipv4 => {
                let left = 32 - u32::from(bits.min(32));
                Granularity::Ipv4(Ipv4Addr::from_bits(u32::MAX.checked_shl(left).unwrap_or(0)))
            }
            Family::Ipv6 => Granularity::Ipv6(bits.clamp(1, 128)),
        }
    }

    fn octets(self) -> [u8; 4] {
        match self {
            Granularity::Ipv4(mask) => mask.octets(),
            Granularity::Ipv6(prefix) => u32::from(prefix).to_ne_bytes(),
        }
    }

    fn from_octets(family: Family, octets: [u8; 4]) -> Option<Self> {
        match family {
            Family::Ipv4 => Some(Granularity::Ipv4(octets.into())),
            Family::Ipv6 => u8::try_from(u32::from_ne_bytes(octets)).ok().map(Granularity::Ipv6),
        }
    }
}

/// Clients keep their real server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Persistence {
    /// How long after their last connection, in seconds.
    pub timeout_s: u32,
    /// Which clients are kept together.
    pub granularity: Granularity,
}

/// What clients ask for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// What tells it from others.
    pub id: ServiceId,
    /// The kernel's name of the scheduler, at most 15 octets; its module is `ip_vs_NAME`.
    pub scheduler: String,
    /// `IP_VS_SVC_F_SCHED1` to `3`: sh and mh take the first as fallback, the second as port.
    pub scheduler_flags: [bool; 3],
    /// Each packet is scheduled by itself.
    pub one_packet: bool,
    /// `None`: each connection is scheduled by itself.
    pub persistence: Option<Persistence>,
    /// The persistence engine, `sip` or none; its module is `ip_vs_pe_NAME`.
    pub engine: Option<String>,
}

impl Service {
    /// With no flags and no persistence.
    pub fn new(id: ServiceId, scheduler: impl Into<String>) -> Self {
        let scheduler = scheduler.into();
        Service { id, scheduler, scheduler_flags: [false; 3], one_packet: false, persistence: None, engine: None }
    }

    /// For a message.
    pub fn attributes(&self) -> Vec<ServiceAttribute> {
        let family = self.id.family();
        let of = |set: bool, flag: u32| if set { flag } else { 0 };
        let mut flags = of(self.persistence.is_some(), PERSISTENT) | of(self.one_packet, ONE_PACKET);
        for (set, flag) in self.scheduler_flags.into_iter().zip(SCHEDULER) {
            flags |= of(set, flag);
        }
        // The kernel wants both of these whether they are used or not.
        let timeout_s = self.persistence.as_ref().map_or(0, |persistence| persistence.timeout_s);
        let granularity = self
            .persistence
            .as_ref()
            .map_or_else(|| Granularity::prefix(family, u8::MAX), |persistence| persistence.granularity);
        let mut attributes = self.id.attributes();
        attributes.extend([
            ServiceAttribute::Scheduler(self.scheduler.clone()),
            ServiceAttribute::Flags(Flags { flags, mask: OURS }),
            ServiceAttribute::Timeout(timeout_s),
            ServiceAttribute::Netmask(granularity.octets()),
        ]);
        attributes.extend(self.engine.clone().map(ServiceAttribute::Engine));
        attributes
    }

    /// Of a message.
    ///
    /// # Errors
    /// Something is missing that it can't be told without.
    pub fn from_attributes(attributes: &[ServiceAttribute]) -> Result<Self, Incomplete> {
        let id = ServiceId::from_attributes(attributes)?;
        let (mut service, mut flags) = (Service::new(id, ""), 0);
        let (mut timeout_s, mut granularity) = (0, Granularity::prefix(id.family(), u8::MAX));
        for attribute in attributes {
            match attribute {
                ServiceAttribute::Scheduler(name) => service.scheduler.clone_from(name),
                ServiceAttribute::Flags(told) => flags = told.flags,
                ServiceAttribute::Timeout(seconds) => timeout_s = *seconds,
                ServiceAttribute::Netmask(octets) => {
                    let told = Granularity::from_octets(id.family(), *octets);
                    granularity = told.ok_or(Incomplete("persistence netmask"))?;
                }
                ServiceAttribute::Engine(name) => service.engine = Some(name.clone()),
                _ => {}
            }
        }
        service.one_packet = flags & ONE_PACKET != 0;
        service.scheduler_flags = SCHEDULER.map(|flag| flags & flag != 0);
        service.persistence = (flags & PERSISTENT != 0).then_some(Persistence { timeout_s, granularity });
        Ok(service)
    }
}

/// A service as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEntry {
    /// What it is.
    pub service: Service,
    /// What it has done.
    pub stats: Stats,
}

impl ServiceEntry {
    /// Of a message.
    ///
    /// # Errors
    /// Something is missing that it can't be told without.
    pub fn from_attributes(attributes: &[ServiceAttribute]) -> Result<Self, Incomplete> {
        let service = Service::from_attributes(attributes)?;
        let wide = attributes.iter().find_map(|attribute| match attribute {
            ServiceAttribute::Stats64(stats) => Some(Stats::from_stats64(stats)),
            _ => None,
        });
        let narrow = attributes.iter().find_map(|attribute| match attribute {
            ServiceAttribute::Stats(stats) => Some(Stats::from_stats(stats)),
            _ => None,
        });
        Ok(ServiceEntry { service, stats: wide.or(narrow).unwrap_or_default() })
    }
}
