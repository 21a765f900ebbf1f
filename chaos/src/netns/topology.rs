//! The cluster's wires: one switch namespace with a bridge for each network, and a namespace for each
//! machine with a veth pair to every network that it is on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use futures_util::TryStreamExt;
use netlink_packet_route::link::{BridgeStpState, LinkAttribute};
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth};

use super::error::Error;
use super::namespace::Namespace;
use crate::fault::Network;

/// The address that the whole world is about.
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
/// The same in IPv6, where a world is about that.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);

/// The address that a world is about.
pub fn vip(ipv6: bool) -> IpAddr {
    if ipv6 { VIP6.into() } else { VIP.into() }
}

/// A machine's own IPv6 address on the LAN, made of the last octet of its IPv4 one.
pub fn lan6(address: Ipv4Addr) -> Ipv6Addr {
    let [.., last] = address.octets();
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last))
}

/// The reference address, a machine of its own on the LAN.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// What kind of machine a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Runs an agent; numbered from 0 in the order of priority.
    Node(usize),
    /// Probes the VIP; numbered from 0.
    Client(usize),
    /// Answers pings on the reference address.
    Gateway,
    /// Runs a witness; numbered from 0.
    Witness(usize),
    /// Asks each node directly whether it serves the VIP; no cut ever concerns it.
    Oracle,
}

/// A port of a switch and the machine's interface on the other end.
#[derive(Debug, Clone)]
pub struct Port {
    /// Which network.
    pub network: Network,
    /// The interface in the switch's namespace.
    pub name: String,
    /// Its index there.
    pub index: u32,
    /// The machine's hardware address on it.
    pub mac: [u8; 6],
    /// The machine's own address on it.
    pub address: Ipv4Addr,
}

/// A machine.
#[derive(Debug)]
pub struct Host {
    /// `n1`, `c1`, `gw`, `w` (the first witness), `w2`, `oracle`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Where its processes live.
    pub namespace: Namespace,
    /// Its cables.
    pub ports: Vec<Port>,
}

impl Host {
    /// Its cable on `network`.
    pub fn port(&self, network: Network) -> Option<&Port> {
        self.ports.iter().find(|port| port.network == network)
    }
}

/// All the machines and the switch between them.
#[derive(Debug)]
pub struct Topology {
    /// The namespace of all bridges.
    pub switch: Namespace,
    /// Every machine.
    pub hosts: Vec<Host>,
    /// How many nodes.
    pub nodes: usize,
    /// How many heartbeat networks.
    pub heartbeats: u8,
}

impl Topology {
    /// Builds it: `nodes` nodes (1 to 9), `witnesses` witnesses (0 to 5), `clients` clients (1 to 9),
    /// `heartbeats` networks (0 to 9).
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Netlink`], naming what could not be made.
    pub fn build(nodes: usize, witnesses: usize, clients: usize, heartbeats: u8) -> Result<Self, Error> {
        let switch = Namespace::new()?;
        let mut networks = vec![Network::Lan];
        networks.extend((0..heartbeats).map(Network::Heartbeat));
        networks.push(Network::Witness);
        switch.netlink(|handle| make_bridges(handle, networks.clone()))?;

        let mut kinds: Vec<Kind> = (0..nodes).map(Kind::Node).collect();
        kinds.extend((0..clients).map(Kind::Client));
        kinds.extend((0..witnesses).map(Kind::Witness));
        kinds.extend([Kind::Gateway, Kind::Oracle]);
        let mut hosts = Vec::new();
        for kind in kinds {
            hosts.push(make_host(&switch, kind, &networks)?);
        }
        Ok(Topology { switch, hosts, nodes, heartbeats })
    }

    /// The machine of that kind.
    pub fn host(&self, kind: Kind) -> Option<&Host> {
        self.hosts.iter().find(|host| host.kind == kind)
    }

    /// The nodes in order.
    pub fn node_hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| matches!(host.kind, Kind::Node(_)))
    }

    /// The witnesses in order.
    pub fn witness_hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| matches!(host.kind, Kind::Witness(_)))
    }

    /// Removes a machine's interface, with the switch's port at its other end.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn unmake(&self, kind: Kind, network: Network) -> Result<(), Error> {
        let Some(port) = self.host(kind).and_then(|host| host.port(network)) else { return Ok(()) };
        let index = port.index;
        self.switch.netlink(|handle| async move {
            handle.link().del(index).execute().await.map_err(netlink_error("remove a port"))
        })
    }

    /// Makes a removed interface again, under its name and with its addresses; returns the new port.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn make_again(&mut self, kind: Kind, network: Network) -> Result<Option<Port>, Error> {
        let switch = self.switch.clone();
        let Some(host) = self.hosts.iter_mut().find(|host| host.kind == kind) else { return Ok(None) };
        let Some(place) = host.ports.iter_mut().find(|port| port.network == network) else { return Ok(None) };
        *place = make_port(&switch, &host.namespace, &host.name, network, place.address)?;
        Ok(Some(place.clone()))
    }

    /// Joins an interface of the switch's namespace to a network's bridge, and sets it up; its index.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn join(&self, name: &str, network: Network) -> Result<u32, Error> {
        let name = name.to_owned();
        self.switch.netlink(|handle| async move {
            let bridge = link_index(&handle, &network.to_string()).await?;
            let index = link_index(&handle, &name).await?;
            let link = LinkUnspec::new_with_index(index).controller(bridge).up().build();
            handle.link().set(link).execute().await.map_err(netlink_error(format!("join {name} to its bridge")))?;
            Ok(index)
        })
    }

    /// Takes a machine's cable out, or puts it back: the machine sees the carrier.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn set_link(&self, port: &Port, up: bool) -> Result<(), Error> {
        let index = port.index;
        self.switch.netlink(|handle| async move {
            let link = LinkUnspec::new_with_index(index);
            let link = if up { link.up() } else { link.down() };
            handle.link().set(link.build()).execute().await.map_err(netlink_error("switch a port"))
        })
    }
}

pub(super) fn netlink_error(what: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Error {
    let what = what.into();
    move |source| Error::Netlink { what, source }
}

fn host_name(kind: Kind) -> String {
    match kind {
        Kind::Node(number) => format!("n{}", number + 1),
        Kind::Client(number) => format!("c{}", number + 1),
        Kind::Gateway => "gw".to_owned(),
        Kind::Witness(0) => "w".to_owned(),
        Kind::Witness(number) => format!("w{}", number + 1),
        Kind::Oracle => "oracle".to_owned(),
    }
}

/// A machine's own address on a network; `None`: it is not on it.
fn address(kind: Kind, network: Network) -> Option<Ipv4Addr> {
    let small = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    match (network, kind) {
        (Network::Lan, Kind::Node(number)) => Some(Ipv4Addr::new(192, 0, 2, 11 + small(number))),
        (Network::Lan, Kind::Client(number)) => Some(Ipv4Addr::new(192, 0, 2, 51 + small(number))),
        (Network::Lan, Kind::Gateway) => Some(GATEWAY),
        (Network::Lan, Kind::Oracle) => Some(Ipv4Addr::new(192, 0, 2, 99)),
        (Network::Heartbeat(link), Kind::Node(number)) => Some(Ipv4Addr::new(10, 1, link, 1 + small(number))),
        (Network::Witness, Kind::Node(number)) => Some(Ipv4Addr::new(10, 9, 0, 1 + small(number))),
        (Network::Witness, Kind::Witness(number)) => Some(Ipv4Addr::new(10, 9, 0, 100 + small(number))),
        (Network::Lan, Kind::Witness(_)) | (Network::Heartbeat(_) | Network::Witness, _) => None,
    }
}

/// Locally administered, and readable in a capture: network, then the last octet of the address.
fn mac(network: Network, address: Ipv4Addr) -> [u8; 6] {
    let network = match network {
        Network::Lan => 1,
        Network::Heartbeat(link) => 16 + link,
        Network::Witness => 2,
    };
    let [.., last] = address.octets();
    [0x02, 0, 0, 0, network, last]
}

/// The name of a machine's interface on a network.
pub fn interface(network: Network) -> String {
    match network {
        Network::Lan => "lan0".to_owned(),
        Network::Heartbeat(_) => network.to_string(),
        Network::Witness => "wit0".to_owned(),
    }
}

async fn make_bridges(handle: Handle, networks: Vec<Network>) -> Result<(), Error> {
    for network in networks {
        let name = network.to_string();
        // No spanning tree, no forwarding delay and no snooping: a frame that is lost was lost by a fault.
        let bridge = LinkBridge::new(&name).stp_state(BridgeStpState::Disabled).forward_delay(0).mcast_snooping(false);
        handle.link().add(bridge.up().build()).execute().await.map_err(netlink_error(format!("add bridge {name}")))?;
    }
    Ok(())
}

pub(super) async fn link_index(handle: &Handle, name: &str) -> Result<u32, Error> {
    let found = handle.link().get().match_name(name.to_owned()).execute().try_next().await;
    let link = found.map_err(netlink_error(format!("look up {name}")))?;
    link.map(|link| link.header.index)
        .ok_or_else(|| Error::Io { what: format!("look up {name}"), source: std::io::ErrorKind::NotFound.into() })
}

fn make_host(switch: &Namespace, kind: Kind, networks: &[Network]) -> Result<Host, Error> {
    let namespace = Namespace::new()?;
    namespace.set_parameters(&[
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/conf/all/accept_dad", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/ip_forward", "0"),
    ])?;
    let name = host_name(kind);
    namespace.netlink(|handle| async move {
        let index = link_index(&handle, "lo").await?;
        let up = LinkUnspec::new_with_index(index).up().build();
        handle.link().set(up).execute().await.map_err(netlink_error("set lo up"))
    })?;
    let mut ports = Vec::new();
    for &network in networks {
        if let Some(address) = address(kind, network) {
            ports.push(make_port(switch, &namespace, &name, network, address)?);
        }
    }
    Ok(Host { name, kind, namespace, ports })
}

fn make_port(
    switch: &Namespace,
    namespace: &Namespace,
    host: &str,
    network: Network,
    address: Ipv4Addr,
) -> Result<Port, Error> {
    let name = format!("{network}-{host}");
    let mac = mac(network, address);
    let target = namespace.file().as_raw_fd();
    let port_name = name.clone();
    let index = switch.netlink(|handle| async move {
        let bridge = link_index(&handle, &network.to_string()).await?;
        let far = "far0";
        let veth = LinkVeth::new(&port_name, far).build();
        handle.link().add(veth).execute().await.map_err(netlink_error(format!("add {port_name}")))?;
        let index = link_index(&handle, &port_name).await?;
        let near = LinkUnspec::new_with_index(index).controller(bridge).up().build();
        handle.link().set(near).execute().await.map_err(netlink_error(format!("join {port_name} to its bridge")))?;
        let far = LinkUnspec::new_with_index(link_index(&handle, far).await?).setns_by_fd(target).build();
        handle.link().set(far).execute().await.map_err(netlink_error(format!("hand over {port_name}")))?;
        Ok(index)
    })?;
    namespace.netlink(|handle| async move {
        let index = link_index(&handle, "far0").await?;
        let own = interface(network);
        let link = LinkUnspec::new_with_index(index)
            .name(&own)
            .append_extra_attribute(LinkAttribute::Address(mac.to_vec()))
            .build();
        handle.link().set(link).execute().await.map_err(netlink_error(format!("name {own}")))?;
        let up = LinkUnspec::new_with_index(index).up().build();
        handle.link().set(up).execute().await.map_err(netlink_error(format!("set {own} up")))?;
        handle
            .address()
            .add(index, address.into(), 24)
            .execute()
            .await
            .map_err(netlink_error(format!("add {address} to {own}")))?;
        if network == Network::Lan {
            let add = handle.address().add(index, lan6(address).into(), 64).execute();
            add.await.map_err(netlink_error(format!("add {} to {own}", lan6(address))))?;
        }
        Ok(())
    })?;
    Ok(Port { network, name, index, mac, address })
}
