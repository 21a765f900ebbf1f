//! The configurations of a world's programs, in their own languages.

use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;

use super::error::{Error, io_error};
use super::etcd;
use super::topology::{GATEWAY, Host, Kind, Topology, VIP, vip};
use crate::deed::Change;
use crate::fault::Network;
use crate::scenario::Shape;

/// Name of the one virtual router, and so of its fencing domain.
pub const INSTANCE: &str = "VI_1";
/// Name of the cluster.
pub const CLUSTER: &str = "demo";
/// Its VRID.
pub const VRID: u8 = 51;
/// UDP port of the heartbeat endpoints.
const HEARTBEAT_PORT: u16 = 7946;
/// UDP port of the witness.
const WITNESS_PORT: u16 = 7947;

/// What `keepone keys` writes for everybody to copy.
#[derive(Debug, Deserialize)]
pub struct Members {
    member: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    name: String,
    id: u16,
    public_key: String,
}

impl Members {
    /// Reads the list.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Members`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(io_error(format!("read {}", path.display())))?;
        toml::from_str(&text).map_err(|error| Error::Members { path: path.to_owned(), why: error.message().to_owned() })
    }
}

/// The first node is the preferred one.
fn priority(node: usize) -> usize {
    150_usize.saturating_sub(50 * node).max(1)
}

/// What scenarios ask of the configurations beside the cluster's shape.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extras {
    /// A script that every change of role is told to.
    pub notify: Option<std::path::PathBuf>,
    /// So many more virtual routers.
    pub more_instances: u8,
    /// Whether the virtual routers track a script; it fails while [`SCRIPT_FAILS`] is in the node's directory.
    pub script: bool,
}

/// The file that makes the tracked script fail.
pub const SCRIPT_FAILS: &str = "script-fails";

impl Extras {
    /// Nothing.
    pub const NONE: Extras = Extras { notify: None, more_instances: 0, script: false };
}

/// Names of all domains of a cluster with so many more virtual routers; the watched one first.
pub fn domains(more_instances: u8) -> Vec<String> {
    std::iter::once(INSTANCE.to_owned()).chain((0..more_instances).map(|number| format!("MORE_{number}"))).collect()
}

/// Addresses of each of the further virtual routers.
const MORE_ADDRESSES: u8 = 20;

/// The times of a cluster, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// L_a.
    pub lease_ms: u64,
    /// h.
    pub period_ms: u64,
    /// H.
    pub hidden_freeze_ms: u64,
}

impl Pace {
    /// For a lease: a beat each fifth of it, at most every 100 ms, so that a peer counts as silent before its
    /// lease has run out.
    pub fn of_lease(lease_ms: u64) -> Self {
        Pace { lease_ms, period_ms: (lease_ms / 5).min(100), hidden_freeze_ms: 0 }
    }
}

/// What the configurations of one cluster have in common.
#[derive(Debug, Clone, Copy)]
pub struct Cluster<'a> {
    /// The wires.
    pub topology: &'a Topology,
    /// Where the key files are.
    pub keys: &'a Path,
    /// Who belongs to it.
    pub members: &'a Members,
    /// Its shape.
    pub shape: &'a Shape,
    /// Its times; those of the shape's lease, unless a world is slow.
    pub pace: Pace,
    /// What else.
    pub extras: &'a Extras,
}

impl Cluster<'_> {
    /// Where the witness of that name listens; `None` for a node.
    fn witness_address(&self, name: &str) -> Option<String> {
        let host = self.topology.witness_hosts().find(|host| host.name == name)?;
        let address = host.port(Network::Witness)?.address;
        Some(format!("{address}:{WITNESS_PORT}"))
    }

    fn voters(&self) -> Vec<&str> {
        let names = self.members.member.iter().map(|member| member.name.as_str());
        names.filter(|name| self.shape.nodes_vote || self.witness_address(name).is_some()).collect()
    }

    /// What all voters must agree on.
    fn lease(&self) -> String {
        let Pace { lease_ms, hidden_freeze_ms, .. } = self.pace;
        let mut text = format!("lease = \"{lease_ms}ms\"\n");
        if hidden_freeze_ms > 0 {
            let _ = writeln!(text, "hidden_freeze = \"{hidden_freeze_ms}ms\"");
        }
        text
    }

    /// `keepone.toml` of a node.
    pub fn of_node(&self, host: &Host, directory: &Path) -> String {
        self.of_changed_node(host, directory, Change::Original)
    }

    /// The same, after a change.
    pub fn of_changed_node(&self, host: &Host, directory: &Path, change: Change) -> String {
        let (name, keys, room) = (&host.name, self.keys.display(), directory.display());
        let mut text = format!(
            "[cluster]\nname = \"{CLUSTER}\"\n\n[node]\nname = \"{name}\"\nkey_file = \"{keys}/{name}.key\"\n\
             state_dir = \"{room}/state\"\nrun_dir = \"{room}/run\"\nbpf_dir = \"{room}/bpf\"\n"
        );
        for Member { name, id, public_key } in &self.members.member {
            let _ = write!(text, "\n[[member]]\nname = \"{name}\"\nid = {id}\npublic_key = \"{public_key}\"\n");
            if let Some(address) = self.witness_address(name) {
                let _ = writeln!(text, "witness = \"{address}\"");
            }
        }
        self.add_links(host, &mut text);
        if let Kind::Node(number) = host.kind {
            self.add_authority(change, &mut text);
            self.add_instances(number, directory, &mut text);
        }
        text
    }

    fn add_links(&self, host: &Host, text: &mut String) {
        let _ = write!(text, "\n[heartbeat]\nperiod = \"{}ms\"\nmisses = 3\n", self.pace.period_ms);
        for network in (0..self.topology.heartbeats).map(Network::Heartbeat) {
            let Some(port) = host.port(network) else { continue };
            let others = self.topology.node_hosts().filter(|other| other.kind != host.kind);
            let peers: Vec<String> = others
                .filter_map(|other| Some(format!("{} = \"{}\"", other.name, other.port(network)?.address)))
                .collect();
            let _ = write!(
                text,
                "\n[[heartbeat_link]]\nname = \"{network}\"\ninterface = \"{network}\"\naddress = \"{}\"\n\
                 port = {HEARTBEAT_PORT}\npeers = {{ {} }}\n",
                port.address,
                peers.join(", ")
            );
        }
    }

    fn add_authority(&self, change: Change, text: &mut String) {
        let lease = match change {
            Change::Original => self.lease(),
            Change::OtherLease => {
                let pace = Pace { lease_ms: self.pace.lease_ms * 2, ..self.pace };
                Cluster { pace, ..*self }.lease()
            }
            Change::OtherRate => self.lease() + "rate_error = 0.02\n",
        };
        let _ = match self.shape.voters() {
            0 => write!(text, "\n[arbiter]\ntype = \"none\"\n"),
            _ if self.shape.etcd => {
                let endpoints = etcd::endpoints(self.topology);
                let sessions = if self.shape.sessions { "etcd_lease = true\n" } else { "" };
                write!(text, "\n[arbiter]\ntype = \"etcd\"\nendpoints = {endpoints:?}\n{sessions}{lease}")
            }
            _ => write!(text, "\n[arbiter]\ntype = \"quorum\"\nvoters = {:?}\n{lease}", self.voters()),
        };
        let _ = write!(
            text,
            "\n[reference_ip]\ntargets = [\"{GATEWAY}\"]\nneed = 1\ninterval = \"500ms\"\ntimeout = \"400ms\"\nrise = 2\n\
             fall = 3\n\n[gate]\nmeans = \"{}\"\n",
            if self.shape.nft { "nft" } else { "auto" }
        );
    }

    fn add_instances(&self, number: usize, directory: &Path, text: &mut String) {
        let notify = self
            .extras
            .notify
            .as_ref()
            .map_or(String::new(), |script| format!("notify = [\"{}\", \"root\"]\n", script.display()));
        let mut track = "";
        if self.extras.script {
            let file = directory.join(SCRIPT_FAILS);
            let _ = write!(
                text,
                "\n[[vrrp_script]]\nname = \"check\"\nscript = \"/usr/bin/test ! -e {}\"\ninterval = \"100ms\"\n\
                 timeout = \"2s\"\nrise = 2\nfall = 2\nuser = \"root\"\n",
                file.display()
            );
            track = "track_script = [\"check\"]\n";
        }
        let mut add = |name: &str, router: u8, addresses: &[String]| {
            let _ = write!(
                text,
                "\n[[vrrp_instance]]\nname = \"{name}\"\nstate = \"BACKUP\"\ninterface = \"lan0\"\n\
                 virtual_router_id = {router}\nversion = 3\npriority = {}\nadvert_int = \"1s\"\n\
                 virtual_ipaddress = {addresses:?}\ntrack_interface = [\"lan0\"]\n{track}{notify}",
                priority(number)
            );
        };
        let length = if self.shape.ipv6 { 64 } else { 24 };
        add(INSTANCE, VRID, &[format!("{}/{length} dev lan0", vip(self.shape.ipv6))]);
        for (name, more) in domains(self.extras.more_instances).iter().skip(1).zip(0_u8..) {
            let addresses = (0..MORE_ADDRESSES).map(|place| format!("198.18.{more}.{}/32 dev lan0", place + 1));
            add(name, 100 + more, &addresses.collect::<Vec<String>>());
        }
    }

    /// `witness.toml` of a witness.
    pub fn of_witness(&self, host: &Host, directory: &Path) -> String {
        let (name, keys, directory) = (&host.name, self.keys.display(), directory.display());
        let own = self.members.member.iter().find(|member| member.name == *name);
        let (id, listen) = (own.map_or(0, |member| member.id), self.witness_address(name).unwrap_or_default());
        let mut text = format!(
            "name = \"{name}\"\nid = {id}\nkey_file = \"{keys}/{name}.key\"\nlisten = \"{listen}\"\n\
             state_dir = \"{directory}/state\"\n\n[[cluster]]\nname = \"{CLUSTER}\"\nvoters = {:?}\n{}",
            self.voters(),
            self.lease()
        );
        for Member { name: other, id, public_key } in self.members.member.iter().filter(|member| member.name != *name) {
            let _ =
                write!(text, "\n[[cluster.member]]\nname = \"{other}\"\nid = {id}\npublic_key = \"{public_key}\"\n");
        }
        text
    }
}

/// `keepalived.conf` of a node: what its manual recommends for two nodes, and nothing else.
pub fn of_keepalived(name: &str, node: usize) -> String {
    format!(
        "global_defs {{\n    router_id {name}\n    vrrp_version 3\n}}\n\
         vrrp_instance {INSTANCE} {{\n    state BACKUP\n    interface lan0\n    virtual_router_id 51\n    \
         priority {}\n    advert_int 1\n    virtual_ipaddress {{\n        {VIP}/24 dev lan0\n    }}\n}}\n",
        priority(node)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_node_is_preferred() {
        assert_eq!((priority(0), priority(1), priority(3)), (150, 100, 1));
    }

    #[test]
    fn every_program_gets_well_formed_toml_with_the_same_members() {
        // Needs root: the addresses are those of real namespaces.
        let topology = Topology::build(2, 1, 1, 2).unwrap();
        let text = ["n1", "n2", "w"].iter().zip(1..).fold(String::new(), |text, (name, id)| {
            text + &format!("[[member]]\nname = \"{name}\"\nid = {id}\npublic_key = \"key{id}\"\n")
        });
        let members: Members = toml::from_str(&text).unwrap();
        let extras = Extras { more_instances: 2, script: true, ..Extras::default() };
        let (keys, pace, shape) = (Path::new("/keys"), Pace::of_lease(Shape::PAIR.lease_ms), &Shape::PAIR);
        let cluster = Cluster { topology: &topology, keys, members: &members, shape, pace, extras: &extras };
        let directory = Path::new("/room/x");
        let node: toml::Table =
            cluster.of_node(topology.host(Kind::Node(1)).unwrap(), directory).parse().expect("a node's");
        assert_eq!(node["member"].as_array().unwrap()[2]["witness"].as_str(), Some("10.9.0.100:7947"));
        assert_eq!(node["heartbeat_link"].as_array().unwrap()[1]["peers"]["n1"].as_str(), Some("10.1.1.1"));
        assert_eq!(node["vrrp_instance"].as_array().unwrap()[0]["priority"].as_integer(), Some(100));
        assert_eq!(node["vrrp_instance"].as_array().unwrap().len(), 3);
        assert_eq!(node["vrrp_instance"].as_array().unwrap()[2]["track_script"].as_array().unwrap().len(), 1);
        assert_eq!(node["arbiter"]["voters"].as_array().unwrap().len(), 3);
        let witness: toml::Table =
            cluster.of_witness(topology.host(Kind::Witness(0)).unwrap(), directory).parse().expect("the witness's");
        assert_eq!(witness["id"].as_integer(), Some(3));
        assert_eq!(witness["cluster"].as_array().unwrap()[0]["member"].as_array().unwrap().len(), 2);
        if let Some(directory) = std::env::var_os("KEEPONE_SAMPLE_CONFIG") {
            std::fs::write(Path::new(&directory).join("n2.toml"), toml::to_string(&node).unwrap()).unwrap();
        }
    }
}
