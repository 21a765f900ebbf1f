//! Keys and configurations of a two-node cluster on a [`Lan`], in the native language.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use keepone_chaos::fault::Network;
use keepone_chaos::netns::error::io_error;
use keepone_chaos::netns::topology::{Kind, VIP};

use crate::lan::{INTERFACE, Lan};
use crate::{Error, binary};

/// UDP port of every heartbeat link.
pub const HEARTBEAT_PORT: u16 = 7946;

/// Name, id and UDP port of each witness that there may be.
const WITNESSES: [(&str, u16, u16); 2] = [("w", 3, 7947), ("w2", 4, 7948)];

/// What the nodes' configurations have in common, and the keys.
#[derive(Debug)]
pub struct Cluster {
    members: String,
    /// Lines of `[arbiter]`.
    pub arbiter: String,
    /// Lines of `[gate]`.
    pub gate: String,
    /// Lines of `[cluster]`, besides its name.
    pub more: String,
}

impl Cluster {
    /// Makes the keys of `n1`, `n2` and the witness `w` in the LAN's room, for an authority of none.
    ///
    /// # Errors
    /// [`Error::Command`] with what `keepone keys` said; [`Error::Io`].
    pub fn new(lan: &Lan) -> Result<Self, Error> {
        Cluster::of(lan, &["n1", "n2", "w"])
    }

    /// The same with a second witness, `w2`, on the machine of the first.
    ///
    /// # Errors
    /// As [`Cluster::new`].
    pub fn with_two_witnesses(lan: &Lan) -> Result<Self, Error> {
        Cluster::of(lan, &["n1", "n2", "w", "w2"])
    }

    fn of(lan: &Lan, names: &[&str]) -> Result<Self, Error> {
        let keys = lan.room().join("keys");
        let mut command = Command::new(binary::find("keepone"));
        command.args(["keys", "--cluster", "test", "--out"]).arg(&keys).args(names);
        let made = command.output().map_err(io_error("run keepone keys"))?;
        if !made.status.success() {
            let output = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(Error::Command { command: format!("{command:?}"), status: made.status.to_string(), output });
        }
        let members =
            std::fs::read_to_string(keys.join("members.toml")).map_err(io_error("read what keepone keys wrote"))?;
        let members = members.split("[[member]]").map(|entry| {
            let port = WITNESSES.iter().find(|(name, _, _)| entry.contains(&format!("name = \"{name}\"")));
            let witness = port.map(|(_, _, port)| format!("\nwitness = \"10.9.0.100:{port}\"\n\n"));
            witness.map_or_else(|| entry.to_owned(), |witness| format!("{}{witness}", entry.trim_end()))
        });
        let members = members.collect::<Vec<_>>().join("[[member]]");
        let arbiter = "type = \"none\"".to_owned();
        Ok(Cluster { members, arbiter, gate: "means = \"auto\"".into(), more: String::new() })
    }

    /// The voters are both nodes and a witness that is never there.
    pub fn quorum(&mut self) {
        self.arbiter = "type = \"quorum\"\nvoters = [\"n1\", \"n2\", \"w\"]\nlease = \"500ms\"".into();
    }

    /// The file of a witness, which is run as `keepone-witness`; `more` are lines of its `[[cluster]]`.
    pub fn of_witness(&self, lan: &Lan, name: &str, more: &str) -> String {
        let room = lan.room().display();
        let own = WITNESSES.iter().find(|(witness, _, _)| *witness == name);
        let (id, port) = own.map_or((0, 0), |(_, id, port)| (*id, *port));
        let others = self.members.split("[[member]]").map(str::trim).filter(|entry| entry.contains("name = "));
        let others = others.filter(|entry| !entry.contains(&format!("name = \"{name}\"")));
        let others: String = others.map(|entry| format!("\n[[cluster.member]]\n{entry}\n")).collect();
        format!(
            "name = \"{name}\"\nid = {id}\nkey_file = \"{room}/keys/{name}.key\"\nlisten = \"10.9.0.100:{port}\"\n\
             state_dir = \"{room}/{name}-state\"\n\n[[cluster]]\nname = \"test\"\n{more}\n{others}"
        )
    }

    /// Writes a node's file, with its state and run directories below the LAN's room.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, lan: &Lan, node: usize) -> Result<PathBuf, Error> {
        lan.write(&format!("n{}.toml", node + 1), &self.of_node(lan, node))
    }

    /// A node's file.
    pub fn of_node(&self, lan: &Lan, node: usize) -> String {
        let (room, name) = (lan.room().display(), format!("n{}", node + 1));
        let mut text = format!(
            "[cluster]\nname = \"test\"\n{}\n[node]\nname = \"{name}\"\nkey_file = \"{room}/keys/{name}.key\"\n\
             state_dir = \"{room}/{name}-state\"\nrun_dir = \"{room}/{name}-run\"\n\n{}\n",
            self.more,
            self.members.trim_end()
        );
        let other = 1 - node;
        for network in (0..lan.topology().heartbeats).map(Network::Heartbeat) {
            let address = |node| lan.host(Kind::Node(node)).port(network).map(|port| port.address);
            if let (Some(own), Some(peer)) = (address(node), address(other)) {
                let _ = write!(
                    text,
                    "\n[[heartbeat_link]]\nname = \"{network}\"\ninterface = \"{network}\"\naddress = \"{own}\"\n\
                     port = {HEARTBEAT_PORT}\npeers = {{ n{} = \"{peer}\" }}\n",
                    other + 1
                );
            }
        }
        let priority = 150 - 50 * node;
        let _ = write!(
            text,
            "\n[arbiter]\n{}\n\n[gate]\n{}\n\n[[vrrp_instance]]\nname = \"VI_1\"\nstate = \"BACKUP\"\n\
             interface = \"{INTERFACE}\"\nvirtual_router_id = 51\nversion = 3\npriority = {priority}\n\
             advert_int = \"250ms\"\nvirtual_ipaddress = [\"{VIP}/24 dev {INTERFACE}\"]\n",
            self.arbiter, self.gate
        );
        text
    }
}
