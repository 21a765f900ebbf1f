//! The configurations of a world's programs, in their own languages.

use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;

use super::error::{Error, io_error};
use super::topology::{GATEWAY, Host, Kind, Topology, VIP};
use crate::fault::Network;
use crate::scenario::LEASE_MS;

/// Name of the one virtual router, and so of its fencing domain.
pub const INSTANCE: &str = "VI_1";
/// Name of the cluster.
pub const CLUSTER: &str = "demo";
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

impl Default for Pace {
    fn default() -> Self {
        Pace { lease_ms: LEASE_MS, period_ms: 100, hidden_freeze_ms: 0 }
    }
}

/// What the configurations of one cluster have in common.
#[derive(Debug)]
pub struct Cluster<'a> {
    /// The wires.
    pub topology: &'a Topology,
    /// Where the key files are.
    pub keys: &'a Path,
    /// Who belongs to it.
    pub members: &'a Members,
    /// Its times.
    pub pace: Pace,
}

impl Cluster<'_> {
    fn witness_address(&self) -> Option<(&str, String)> {
        let host = self.topology.host(Kind::Witness)?;
        let address = host.port(Network::Witness)?.address;
        Some((&host.name, format!("{address}:{WITNESS_PORT}")))
    }

    fn voters(&self) -> Vec<&str> {
        self.members.member.iter().map(|member| member.name.as_str()).collect()
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
        let (name, keys, directory) = (&host.name, self.keys.display(), directory.display());
        let mut text = format!(
            "[cluster]\nname = \"{CLUSTER}\"\n\n[node]\nname = \"{name}\"\nkey_file = \"{keys}/{name}.key\"\n\
             state_dir = \"{directory}/state\"\nrun_dir = \"{directory}/run\"\nbpf_dir = \"{directory}/bpf\"\n"
        );
        let witness = self.witness_address();
        for Member { name, id, public_key } in &self.members.member {
            let _ = write!(text, "\n[[member]]\nname = \"{name}\"\nid = {id}\npublic_key = \"{public_key}\"\n");
            if let Some((_, address)) = witness.as_ref().filter(|(witness, _)| witness == name) {
                let _ = writeln!(text, "witness = \"{address}\"");
            }
        }
        self.add_links(host, &mut text);
        if let Kind::Node(number) = host.kind {
            self.add_instance(number, &mut text);
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

    fn add_instance(&self, number: usize, text: &mut String) {
        let _ = write!(
            text,
            "\n[arbiter]\ntype = \"quorum\"\nvoters = {:?}\n{}\
             \n[reference_ip]\ntargets = [\"{GATEWAY}\"]\nneed = 1\ninterval = \"500ms\"\ntimeout = \"400ms\"\nrise = 2\n\
             fall = 3\n\n[gate]\nmeans = \"auto\"\n\
             \n[[vrrp_instance]]\nname = \"{INSTANCE}\"\nstate = \"BACKUP\"\ninterface = \"lan0\"\n\
             virtual_router_id = 51\nversion = 3\npriority = {}\nadvert_int = \"1s\"\n\
             virtual_ipaddress = [\"{VIP}/24 dev lan0\"]\ntrack_interface = [\"lan0\"]\n",
            self.voters(),
            self.lease(),
            priority(number)
        );
    }

    /// `witness.toml` of the witness.
    pub fn of_witness(&self, host: &Host, directory: &Path) -> String {
        let (name, keys, directory) = (&host.name, self.keys.display(), directory.display());
        let own = self.members.member.iter().find(|member| member.name == *name);
        let (id, listen) = (own.map_or(0, |member| member.id), self.witness_address().map_or(String::new(), |w| w.1));
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
        let topology = Topology::build(2, 1, 2).unwrap();
        let text = ["n1", "n2", "w"].iter().zip(1..).fold(String::new(), |text, (name, id)| {
            text + &format!("[[member]]\nname = \"{name}\"\nid = {id}\npublic_key = \"key{id}\"\n")
        });
        let members: Members = toml::from_str(&text).unwrap();
        let cluster =
            Cluster { topology: &topology, keys: Path::new("/keys"), members: &members, pace: Pace::default() };
        let directory = Path::new("/room/x");
        let node: toml::Table =
            cluster.of_node(topology.host(Kind::Node(1)).unwrap(), directory).parse().expect("a node's");
        assert_eq!(node["member"].as_array().unwrap()[2]["witness"].as_str(), Some("10.9.0.100:7947"));
        assert_eq!(node["heartbeat_link"].as_array().unwrap()[1]["peers"]["n1"].as_str(), Some("10.1.1.1"));
        assert_eq!(node["vrrp_instance"].as_array().unwrap()[0]["priority"].as_integer(), Some(100));
        let witness: toml::Table =
            cluster.of_witness(topology.host(Kind::Witness).unwrap(), directory).parse().expect("the witness's");
        assert_eq!(witness["id"].as_integer(), Some(3));
        assert_eq!(witness["cluster"].as_array().unwrap()[0]["member"].as_array().unwrap().len(), 2);
        if let Some(directory) = std::env::var_os("KEEPONE_SAMPLE_CONFIG") {
            std::fs::write(Path::new(&directory).join("n2.toml"), toml::to_string(&node).unwrap()).unwrap();
        }
    }
}
