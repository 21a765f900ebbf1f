//! Destinations: the real servers of a service.

use std::net::SocketAddr;

use crate::error::Incomplete;
use crate::service::{Family, octets};
use crate::stats::Stats;
use crate::wire::{DestinationAttribute, NetworkOrder};

/// `IP_VS_CONN_F_*` under `IP_VS_CONN_F_FWD_MASK`.
const METHODS: u32 = 0x7;
const MASQ: u32 = 0;
const LOCALNODE: u32 = 1;
const TUNNEL: u32 = 2;
const DROUTE: u32 = 3;
const BYPASS: u32 = 4;

/// `IP_VS_CONN_F_TUNNEL_TYPE_*`.
const IPIP: u8 = 0;
const GUE: u8 = 1;
const GRE: u8 = 2;

/// `IP_VS_TUNNEL_ENCAP_FLAG_*`.
const CSUM: u16 = 1;
const REMCSUM: u16 = 2;

/// How packets get to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Forwarding {
    /// Addresses are rewritten, in both directions.
    #[default]
    Masquerade,
    /// To this machine.
    Local,
    /// In a tunnel.
    Tunnel(Tunnel),
    /// Unchanged, to the destination's link-layer address.
    Direct,
    /// To where they were going, past all destinations.
    Bypass,
}

/// How a packet is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tunnel {
    /// In what.
    pub encapsulation: Encapsulation,
    /// With what checksum.
    pub checksum: Checksum,
}

/// What a packet is wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Encapsulation {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP encapsulation to this port, which is not 0 (Linux 5.2).
    Gue(u16),
    /// GRE (Linux 5.3).
    Gre,
}

/// Checksum of the wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Checksum {
    /// None.
    #[default]
    None,
    /// Of the whole.
    Full,
    /// Left to the receiver.
    Remote,
}

/// A real server of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// What tells it from others of its service. Port 0: the port that the client asked for.
    pub address: SocketAddr,
    /// How packets get there.
    pub forwarding: Forwarding,
    /// Its share, 0 to 2^31 - 1; 0: no new connections.
    pub weight: u32,
    /// The most connections; 0: no bound.
    pub upper_threshold: u32,
    /// After that, it gets more below this only. The kernel refuses one that is above the upper.
    pub lower_threshold: u32,
}

impl Destination {
    /// With masquerading, weight 1 and no thresholds.
    pub fn new(address: SocketAddr) -> Self {
        Destination { address, forwarding: Forwarding::default(), weight: 1, upper_threshold: 0, lower_threshold: 0 }
    }

    /// What the kernel finds it by, within its service.
    pub fn key(address: SocketAddr) -> Vec<DestinationAttribute> {
        vec![
            DestinationAttribute::Address(octets(address.ip())),
            DestinationAttribute::Port(NetworkOrder(address.port())),
            DestinationAttribute::Family(Family::of(address.ip()).number()),
        ]
    }

    /// For a message.
    pub fn attributes(&self) -> Vec<DestinationAttribute> {
        let mut attributes = Destination::key(self.address);
        let method = match self.forwarding {
            Forwarding::Masquerade => MASQ,
            Forwarding::Local => LOCALNODE,
            Forwarding::Tunnel(_) => TUNNEL,
            Forwarding::Direct => DROUTE,
            Forwarding::Bypass => BYPASS,
        };
        attributes.extend([
            DestinationAttribute::Forwarding(method),
            DestinationAttribute::Weight(self.weight),
            DestinationAttribute::UpperThreshold(self.upper_threshold),
            DestinationAttribute::LowerThreshold(self.lower_threshold),
        ]);
        if let Forwarding::Tunnel(tunnel) = self.forwarding {
            let (kind, port) = match tunnel.encapsulation {
                Encapsulation::Ipip => (IPIP, 0),
                Encapsulation::Gue(port) => (GUE, port),
                Encapsulation::Gre => (GRE, 0),
            };
            let flags = match tunnel.checksum {
                Checksum::None => 0,
                Checksum::Full => CSUM,
                Checksum::Remote => REMCSUM,
            };
            attributes.extend([
                DestinationAttribute::TunnelType(kind),
                DestinationAttribute::TunnelPort(NetworkOrder(port)),
                DestinationAttribute::TunnelFlags(flags),
            ]);
        }
        attributes
    }

    /// Of a message; `service` is the family of the service, which old kernels mean.
    ///
    /// # Errors
    /// Something is missing that it can't be told without.
    pub fn from_attributes(attributes: &[DestinationAttribute], service: Family) -> Result<Self, Incomplete> {
        DestinationEntry::from_attributes(attributes, service).map(|entry| entry.destination)
    }
}

/// A destination as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationEntry {
    /// What it is.
    pub destination: Destination,
    /// Connections that are established.
    pub active: u32,
    /// Others that are still remembered.
    pub inactive: u32,
    /// Clients that are kept here.
    pub persistent: u32,
    /// What it has done.
    pub stats: Stats,
}

impl DestinationEntry {
    /// Of a message; `service` is the family of the service, which old kernels mean.
    ///
    /// # Errors
    /// Something is missing that it can't be told without.
    pub fn from_attributes(attributes: &[DestinationAttribute], service: Family) -> Result<Self, Incomplete> {
        let (mut address, mut port, mut family, mut method) = (None, None, Some(service), None);
        let (mut weight, mut upper_threshold, mut lower_threshold) = (0, 0, 0);
        let (mut kind, mut tunnel_port, mut flags) = (IPIP, 0, 0);
        let (mut active, mut inactive, mut persistent) = (0, 0, 0);
        let (mut narrow, mut wide) = (None, None);
        for attribute in attributes {
            match attribute {
                DestinationAttribute::Address(octets) => address = Some(*octets),
                DestinationAttribute::Port(number) => port = Some(number.0),
                DestinationAttribute::Family(number) => family = Family::from_number(*number),
                DestinationAttribute::Forwarding(number) => method = Some(*number),
                DestinationAttribute::Weight(number) => weight = *number,
                DestinationAttribute::UpperThreshold(number) => upper_threshold = *number,
                DestinationAttribute::LowerThreshold(number) => lower_threshold = *number,
                DestinationAttribute::TunnelType(number) => kind = *number,
                DestinationAttribute::TunnelPort(number) => tunnel_port = number.0,
                DestinationAttribute::TunnelFlags(number) => flags = *number,
                DestinationAttribute::ActiveConnections(number) => active = *number,
                DestinationAttribute::InactiveConnections(number) => inactive = *number,
                DestinationAttribute::PersistentConnections(number) => persistent = *number,
                DestinationAttribute::Stats(stats) => narrow = Some(Stats::from_stats(stats)),
                DestinationAttribute::Stats64(stats) => wide = Some(Stats::from_stats64(stats)),
                DestinationAttribute::Other(_) => {}
            }
        }
        let family = family.ok_or(Incomplete("address family of a destination"))?;
        let address = family.address(address.ok_or(Incomplete("address of a destination"))?);
        let address = SocketAddr::new(address, port.ok_or(Incomplete("port of a destination"))?);
        let checksum = match flags {
            0 => Checksum::None,
            flags if flags & REMCSUM != 0 => Checksum::Remote,
            _ => Checksum::Full,
        };
        let forwarding = match method.ok_or(Incomplete("forwarding method"))? & METHODS {
            MASQ => Forwarding::Masquerade,
            LOCALNODE => Forwarding::Local,
            TUNNEL => {
                let encapsulation = match kind {
                    IPIP => Encapsulation::Ipip,
                    GUE => Encapsulation::Gue(tunnel_port),
                    GRE => Encapsulation::Gre,
                    _ => return Err(Incomplete("tunnel type")),
                };
                Forwarding::Tunnel(Tunnel { encapsulation, checksum })
            }
            DROUTE => Forwarding::Direct,
            BYPASS => Forwarding::Bypass,
            _ => return Err(Incomplete("forwarding method")),
        };
        let destination = Destination { address, forwarding, weight, upper_threshold, lower_threshold };
        Ok(DestinationEntry { destination, active, inactive, persistent, stats: wide.or(narrow).unwrap_or_default() })
    }
}
