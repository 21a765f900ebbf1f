//! Routes and routing rules that follow an instance, or are there as long as the agent.

use std::net::IpAddr;
use std::time::Duration;

/// An address and the length of its prefix.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The address.
    pub address: IpAddr,
    /// 0 to 32 or 128.
    pub length: u8,
}

/// A routing table, a protocol or a realm: by its number, or by the name in iproute2's files.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Named {
    /// The kernel's number.
    Number(u32),
    /// To be looked up.
    Name(String),
}

/// What becomes of a packet (`rtnetlink(7)`, `rtm_type`).
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum RouteKind {
    /// It is sent on.
    #[default]
    Unicast,
    /// It is delivered here.
    Local,
    /// To all on the link.
    Broadcast,
    /// To the nearest of several.
    Anycast,
    /// To a group.
    Multicast,
    /// It is dropped.
    Blackhole,
    /// It is dropped, and the sender is told that nobody is there.
    Unreachable,
    /// It is dropped, and the sender is told that it may not.
    Prohibit,
    /// Another rule decides.
    Throw,
    /// Its addresses are changed.
    Nat,
    /// A program decides.
    Xresolve,
}

/// A route.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Route {
    /// What becomes of the packets.
    pub kind: RouteKind,
    /// IPv6, not IPv4.
    pub ipv6: bool,
    /// Where to; `None`: everywhere (`default`).
    pub destination: Option<Prefix>,
    /// Only from there (IPv6).
    pub from: Option<Prefix>,
    /// Over whom.
    pub via: Option<IpAddr>,
    /// Over which interface.
    pub dev: Option<String>,
    /// The address that we prefer as sender.
    pub source: Option<IpAddr>,
    /// Which table.
    pub table: Option<Named>,
    /// Who made it; 18 (keepalived) unless written.
    pub protocol: Option<Named>,
    /// The kernel's number for its scope.
    pub scope: Option<u8>,
    /// The lower the better.
    pub metric: Option<u32>,
    /// Type of service, 0 to 255.
    pub tos: Option<u8>,
    /// The gateway is on the link although no address says so.
    pub onlink: bool,
    /// Several ways at once.
    pub nexthops: Vec<NextHop>,
    /// MTU and other metrics of the path.
    pub metrics: Vec<PathMetric>,
    /// How it goes away (IPv6).
    pub expires: Option<Duration>,
    /// Other words of `ip route`, as they were written: `encap`, `realms`, `congctl`...
    pub more: Vec<Vec<String>>,
    /// Whether it may be deleted by others without a consequence.
    pub no_track: bool,
    /// Whose instances go to FAULT when it is deleted (static routes).
    pub track_group: Option<String>,
}

/// One way of several.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// Over whom.
    pub via: Option<IpAddr>,
    /// Over which interface.
    pub dev: Option<String>,
    /// Its share, 1 to 256.
    pub weight: u16,
    /// The gateway is on the link although no address says so.
    pub onlink: bool,
    /// Other words, as they were written: `encap`, `realms`.
    pub more: Vec<Vec<String>>,
}

/// A metric of a path: `mtu`, `advmss`, `rtt`...
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct PathMetric {
    /// Its word in `ip route`.
    pub name: &'static str,
    /// Its value.
    pub value: u32,
    /// Whether the kernel may not change it.
    pub locked: bool,
}

/// A routing rule.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Rule {
    /// IPv6, not IPv4.
    pub ipv6: bool,
    /// For all packets that the selectors do not fit.
    pub not: bool,
    /// Sender.
    pub from: Option<Prefix>,
    /// Receiver.
    pub to: Option<Prefix>,
    /// Where it came in.
    pub iif: Option<String>,
    /// The socket's interface.
    pub oif: Option<String>,
    /// Mark and mask.
    pub fwmark: Option<(u32, u32)>,
    /// Type of service, 0 to 255.
    pub tos: Option<u8>,
    /// Ports of the sender, first and last.
    pub sport: Option<(u16, u16)>,
    /// Ports of the receiver, first and last.
    pub dport: Option<(u16, u16)>,
    /// Users, first and last.
    pub uids: Option<(u32, u32)>,
    /// Its place in the order of rules; `None`: counted down from 16384.
    pub preference: Option<u32>,
    /// What follows.
    pub action: RuleAction,
    /// Other words of `ip rule`, as they were written.
    pub more: Vec<Vec<String>>,
    /// Whether it may be deleted by others without a consequence.
    pub no_track: bool,
    /// Whose instances go to FAULT when it is deleted (static rules).
    pub track_group: Option<String>,
}

/// What a rule does with a packet that it fits.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub enum RuleAction {
    /// Look it up in this table.
    Lookup(Named),
    /// Look it up in the table of the packet's VRF.
    L3mdev,
    /// Go on with the rule of this preference.
    Goto(u32),
    /// Nothing.
    Nop,
    /// As a route of this kind does.
    Like(RouteKind),
}
