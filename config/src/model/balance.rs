//! Load balancing: virtual servers, the real servers behind them.

use std::net::IpAddr;
use std::time::Duration;

use super::{Checker, Script};

/// `virtual_server`.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct VirtualServer {
    /// What clients ask for.
    pub service: Service,
    /// Of layer 4.
    pub protocol: Protocol,
    /// How IPVS chooses a real server.
    pub scheduler: Scheduler,
    /// The scheduler's flags 1, 2 and 3.
    pub scheduler_flags: [bool; 3],
    /// Each UDP packet is scheduled by itself.
    pub one_packet: bool,
    /// How long a client keeps its real server.
    pub persistence: Option<Persistence>,
    /// The least weight of living real servers, from 1.
    pub quorum: u32,
    /// Gained so far above the quorum, lost so far below; less than the quorum.
    pub hysteresis: u32,
    /// Run when the quorum is gained.
    pub quorum_up: Option<Script>,
    /// Run when it is lost.
    pub quorum_down: Option<Script>,
    /// Who serves while it is lost.
    pub sorry_server: Option<SorryServer>,
    /// Run the scripts of loss at the stop.
    pub omega: bool,
    /// No checks while the address is elsewhere.
    pub ha_suspend: bool,
    /// Over this time the weight of a real server that comes back grows to its own; zero: at once.
    pub slow_start: Duration,
    /// Mail when the quorum is gained or lost.
    pub smtp_alert: bool,
    /// What SNMP calls it.
    pub snmp_name: Option<String>,
    /// In the order of the file; at least one.
    pub real_servers: Vec<RealServer>,
}

impl VirtualServer {
    /// The word for it in `track_virtual_server`, which no other has: `[192.0.2.1]:tcp:80`, `fwmark:7:inet`,
    /// `group:NAME:udp`.
    pub fn word(&self, groups: &[ServerGroup]) -> String {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        match &self.service {
            Service::Address { address, port } => format!("[{address}]:{protocol}:{port}"),
            Service::Mark { mark, ipv6: false } => format!("fwmark:{mark}:inet"),
            Service::Mark { mark, ipv6: true } => format!("fwmark:{mark}:inet6"),
            Service::Group(place) => {
                format!("group:{}:{protocol}", groups.get(*place).map_or("", |group| group.name.as_str()))
            }
        }
    }
}

/// What clients ask for.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// An address; port 0 is every port.
    Address {
        /// The virtual address.
        address: IpAddr,
        /// 0 to 65535.
        port: u16,
    },
    /// Packets with this mark.
    Mark {
        /// From 1.
        mark: u32,
        /// Which family they are of.
        ipv6: bool,
    },
    /// All members of a group: its place in [`super::Config::server_groups`].
    Group(usize),
}

/// `virtual_server_group`.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct ServerGroup {
    /// The operator's name for it.
    pub name: String,
    /// In the order of the file.
    pub members: Vec<GroupMember>,
}

/// One line of a group.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub enum GroupMember {
    /// Addresses, first and last, of one family.
    Range {
        /// The first.
        first: IpAddr,
        /// The last, at least the first.
        last: IpAddr,
        /// 0: every port.
        port: u16,
    },
    /// Packets with this mark.
    Mark(u32),
}

/// `protocol`.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP; keepalived's default.
    Udp,
    /// SCTP.
    Sctp,
}

/// `lvs_sched`: the kernel's name of the scheduler (`ipvsadm(8)`).
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scheduler(pub(crate) &'static str);

impl Scheduler {
    /// As the kernel calls it.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// `lvs_method`.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Forwarding {
    /// Addresses are rewritten.
    #[default]
    Nat,
    /// The frame is sent to the real server's MAC address.
    Direct,
    /// In a tunnel.
    Tunnel(Tunnel),
}

/// How a packet is wrapped.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tunnel {
    /// In what.
    pub kind: TunnelKind,
    /// With what checksum.
    pub checksum: TunnelChecksum,
}

/// What a packet is wrapped in.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelKind {
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation, to this port.
    Gue(u16),
    /// GRE.
    Gre,
}

/// Checksum of the wrapping.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelChecksum {
    /// None.
    None,
    /// Of the whole.
    Full,
    /// Left to the receiver.
    Remote,
}

/// `persistence_timeout` and what goes with it.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Persistence {
    /// 1 to 2678400 s.
    pub timeout_s: u32,
    /// How many bits of the client's address count: 1 to 32 or 128.
    pub prefix: u8,
    /// The SIP engine: the call names the client.
    pub sip: bool,
}

/// `sorry_server`.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq)]
pub struct SorryServer {
    /// Where.
    pub address: IpAddr,
    /// 0: the port that the client asked for.
    pub port: u16,
    /// How packets get there.
    pub forwarding: Forwarding,
    /// Stays in the table with weight 0 when it isn't needed.
    pub inhibit: bool,
}

/// `real_server`.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct RealServer {
    /// Where.
    pub address: IpAddr,
    /// 0: the port that the client asked for.
    pub port: u16,
    /// Its share, 0 to 2^31 - 1; 0 takes no new connections.
    pub weight: u32,
    /// How packets get there.
    pub forwarding: Forwarding,
    /// The most connections; 0: no bound.
    pub upper_threshold: u32,
    /// Below this it gets more again.
    pub lower_threshold: u32,
    /// Down, it stays in the table with weight 0.
    pub inhibit_on_failure: bool,
    /// Run when it comes up.
    pub notify_up: Option<Script>,
    /// Run when it goes down.
    pub notify_down: Option<Script>,
    /// Mail when it comes or goes.
    pub smtp_alert: bool,
    /// What SNMP calls it.
    pub snmp_name: Option<String>,
    /// In the order of the file; it is up while all are.
    pub checkers: Vec<Checker>,
}
