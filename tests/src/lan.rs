//! Two nodes and a client on one LAN, and the programs that run on the nodes.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use keepone_chaos::fault::{Class, Network};
use keepone_chaos::netns::cut::{Cuts, Rule};
use keepone_chaos::netns::error::io_error;
use keepone_chaos::netns::topology::{Host, Kind, Topology};
use tempfile::TempDir;

use crate::Error;
use crate::program::Program;

/// The LAN's interface in every machine.
pub const INTERFACE: &str = "lan0";
/// The virtual address of the tests over IPv6; a link-local one goes first, as RFC 9568, 5.2.9, wants it.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100);

/// The network, its machines and their files.
#[derive(Debug)]
pub struct Lan {
    topology: Topology,
    cuts: Cuts,
    room: TempDir,
}

impl Lan {
    /// Two nodes, a client, and so many heartbeat networks.
    ///
    /// # Errors
    /// What can't be made; root is needed.
    pub fn build(heartbeats: u8) -> Result<Self, Error> {
        Lan::with_witnesses(heartbeats, 1)
    }

    /// The same with so many machines for witnesses, on none of which one runs yet.
    ///
    /// # Errors
    /// As [`Lan::build`].
    pub fn with_witnesses(heartbeats: u8, witnesses: usize) -> Result<Self, Error> {
        let topology = Topology::build(2, witnesses, 1, heartbeats)?;
        let cuts = Cuts::new(&topology)?;
        let room = TempDir::with_prefix("keepone-tests-").map_err(io_error("make a temporary directory"))?;
        Ok(Lan { topology, cuts, room })
    }

    /// The machine of that kind.
    ///
    /// # Panics
    /// It is not there, though [`Lan::build`] makes it.
    #[allow(clippy::expect_used, reason = "made with the LAN")]
    pub fn host(&self, kind: Kind) -> &Host {
        self.topology.host(kind).expect("two nodes, a client and the witnesses")
    }

    /// A node.
    pub fn node(&self, number: usize) -> &Host {
        self.host(Kind::Node(number))
    }

    /// The machines and wires.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// A directory of this test.
    pub fn room(&self) -> &Path {
        self.room.path()
    }

    /// A node's own address on the LAN.
    pub fn address(&self, node: usize) -> IpAddr {
        self.node(node).port(Network::Lan).map_or(IpAddr::V4([0; 4].into()), |port| port.address.into())
    }

    /// A node's own IPv6 address, if [`Lan::add_ipv6`] gave it one.
    pub fn address6(&self, node: usize) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, if node == 0 { 0x11 } else { 0x12 })
    }

    /// Gives nodes and client `fd00::11`, `fd00::12` and `fd00::33` besides.
    ///
    /// # Errors
    /// [`Error::Netlink`], [`Error::Io`].
    pub fn add_ipv6(&self) -> Result<(), Error> {
        for (kind, last) in [(Kind::Node(0), 0x11), (Kind::Node(1), 0x12), (Kind::Client(0), 0x33)] {
            let address = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last));
            let namespace = &self.host(kind).namespace;
            let index = namespace.run(|| nix::net::if_::if_nametoindex(INTERFACE).map_err(io_error("find lan0")))?;
            namespace.netlink(|handle| async move {
                let add = handle.address().add(index, address, 64).execute().await;
                add.map_err(|source| Error::Netlink { what: format!("add {address}"), source })
            })?;
        }
        Ok(())
    }

    /// Drops frames between the two nodes silently, both ways; the client still reaches both.
    ///
    /// # Errors
    /// [`Error::Bpf`].
    pub fn cut_nodes(&mut self, network: Network, class: Class) -> Result<(), Error> {
        let (one, other) = (self.topology.host(Kind::Node(0)), self.topology.host(Kind::Node(1)));
        let (Some(one), Some(other)) = (one, other) else { return Ok(()) };
        let there = Rule::between(one, other, network, class);
        let back = Rule::between(other, one, network, class);
        self.cuts.drop(there.into_iter().chain(back))
    }

    /// Ends every cut.
    ///
    /// # Errors
    /// [`Error::Bpf`].
    pub fn heal(&mut self) -> Result<(), Error> {
        self.cuts.heal()
    }

    /// Takes a node's LAN cable out, or puts it back: the node sees the carrier.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn set_cable(&self, node: usize, up: bool) -> Result<(), Error> {
        self.node(node).port(Network::Lan).map_or(Ok(()), |port| self.topology.set_link(port, up))
    }

    /// Writes a file into this test's directory.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.room().join(name);
        std::fs::write(&path, text).map_err(io_error(format!("write {}", path.display())))?;
        Ok(path)
    }

    /// Starts `command` on a node, its output in `NODE.log`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn start(&self, node: usize, command: &[&str]) -> Result<Program, Error> {
        self.start_at(Kind::Node(node), command)
    }

    /// The same on any machine.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn start_at(&self, kind: Kind, command: &[&str]) -> Result<Program, Error> {
        let host = self.host(kind);
        Program::start(&host.namespace, command, &self.room().join(format!("{}.log", host.name)))
    }
}
