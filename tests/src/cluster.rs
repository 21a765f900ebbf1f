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

/// UDP port of the witnesses.
pub const WITNESS_PORT: u16 = 7947;

/// A `[[member]]` of what `keepone keys` writes.
#[derive(Debug)]
struct Member {
    name: String,
    /// Its lines `name`, `id` and `public_key`.
    lines: String,
    /// Where it listens, if it is a witness.
    witness: Option<String>,
}

/// What the nodes' configurations have in common, and the keys.
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Member>,
    /// Lines of `[arbiter]`.
    pub arbiter: String,
    /// Lines of `[gate]`.
    pub gate: String,
    /// Lines of `[cluster]`, besides its name.
    pub more: String,
}

impl Cluster {
    /// Makes the keys of the nodes and witnesses in the LAN's room, for an authority of none.
    ///
    /// # Errors
    /// [`Error::Command`] with what `keepone keys` said; [`Error::Io`].
    pub fn new(lan: &Lan) -> Result<Self, Error> {
        let keys = lan.room().join("keys");
        let hosts = || lan.topology().node_hosts().chain(lan.topology().witness_hosts());
        let mut command = Command::new(binary::find("keepone"));
        command.args(["keys", "--cluster", "test", "--out"]).arg(&keys).args(hosts().map(|host| &host.name));
        let made = command.output().map_err(io_error("run keepone keys"))?;
        if !made.status.success() {
            let output = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(Error::Command { command: format!("{command:?}"), status: made.status.to_string(), output });
        }
        let text =
            std::fs::read_to_string(keys.join("members.toml")).map_err(io_error("read what keepone keys wrote"))?;
        let lines = text.split("[[member]]\n").skip(1).map(|lines| lines.trim().to_owned());
        let members = hosts().zip(lines).map(|(host, lines)| {
            let port = host.port(Network::Witness).filter(|_| matches!(host.kind, Kind::Witness(_)));
            let witness = port.map(|port| format!("{}:{WITNESS_PORT}", port.address));
            Member { name: host.name.clone(), lines, witness }
        });
        let (members, arbiter) = (members.collect(), "type = \"none\"".to_owned());
        Ok(Cluster { members, arbiter, gate: "means = \"auto\"".into(), more: String::new() })
    }

    /// The voters are both nodes and the witnesses, which nobody has started yet; the lease is 500 ms.
    pub fn quorum(&mut self) {
        self.quorum_of(|_| true);
    }

    /// The voters are the witnesses alone.
    pub fn quorum_of_witnesses(&mut self) {
        self.quorum_of(|member| member.witness.is_some());
    }

    fn quorum_of(&mut self, votes: impl Fn(&Member) -> bool) {
        let voters: Vec<&str> =
            self.members.iter().filter(|member| votes(member)).map(|member| member.name.as_str()).collect();
        self.arbiter = format!("type = \"quorum\"\nvoters = {voters:?}\nlease = \"500ms\"");
    }

    /// Writes the file of a witness, its state directory `NAME-state` in the LAN's room.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_witness(&self, lan: &Lan, number: usize) -> Result<PathBuf, Error> {
        let (room, name) = (lan.room().display(), &lan.host(Kind::Witness(number)).name);
        let mut text = String::new();
        for Member { name: of, lines, witness } in &self.members {
            if of == name {
                let listen = witness.as_deref().unwrap_or_default();
                let quorum = self
                    .arbiter
                    .replace("type = \"quorum\"\n", "")
                    .replace("type = \"etcd\"\n", "voters = [\"etcd\"]\n");
                // It asks no etcd.
                let asked = |line: &&str| !line.starts_with("endpoints");
                let quorum = quorum.lines().filter(asked).collect::<Vec<_>>().join("\n");
                // Its public key follows from its key file.
                let own: Vec<&str> = lines.lines().filter(|line| !line.starts_with("public_key")).collect();
                let own = format!(
                    "{}\nkey_file = \"{room}/keys/{name}.key\"\nlisten = \"{listen}\"\n\
                     state_dir = \"{room}/{name}-state\"\n[[cluster]]\nname = \"test\"\n{quorum}\n",
                    own.join("\n")
                );
                text.insert_str(0, &own);
            } else {
                let _ = write!(text, "[[cluster.member]]\n{lines}\n");
            }
        }
        lan.write(&format!("{name}.toml"), &text)
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
             state_dir = \"{room}/{name}-state\"\nrun_dir = \"{room}/{name}-run\"\n",
            self.more,
        );
        for Member { lines, witness, .. } in &self.members {
            let _ = write!(text, "\n[[member]]\n{lines}\n");
            if let Some(address) = witness {
                let _ = writeln!(text, "witness = \"{address}\"");
            }
        }
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
