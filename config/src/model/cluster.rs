//! The cluster: members, keys, heartbeat links.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keepone_proto::id::{ClusterId, NodeId};

/// The cluster and this node's part in it.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The operator's name for it.
    pub name: String,
    /// Hash of the name.
    pub id: ClusterId,
    /// This node.
    pub node: NodeId,
    /// This node's private key: PKCS#8 PEM, Ed25519.
    pub key_file: PathBuf,
    /// Where the voter keeps its record; `/var/lib/keepone` by default.
    pub state_dir: PathBuf,
    /// Lock, control socket, event record; `/run/keepone` by default.
    pub run_dir: PathBuf,
    /// Where the gate is pinned, on a bpffs; `/sys/fs/bpf/keepone` by default.
    pub bpf_dir: PathBuf,
    /// Whose members may use the control socket besides root.
    pub control_group: Option<String>,
    /// All members in ascending order of their ids, this node and the witnesses included.
    pub members: Vec<Member>,
}

impl Cluster {
    /// The member with this id.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// This node's own entry.
    pub fn me(&self) -> Option<&Member> {
        self.member(self.node)
    }
}

/// A node or witness.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its id, the same on every node.
    pub id: NodeId,
    /// Its pinned key.
    pub public_key: PublicKey,
    /// Set for a witness: where it listens.
    pub witness: Option<SocketAddr>,
}

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// From base64, with or without padding; `None` unless it is 32 bytes.
    pub fn from_base64(text: &str) -> Option<Self> {
        let padded = format!("{}{}", text, "=".repeat((4 - text.len() % 4) % 4));
        STANDARD.decode(padded).ok()?.try_into().ok().map(PublicKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl serde::Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One heartbeat link of this node.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct HeartbeatLink {
    /// The operator's name for it.
    pub name: String,
    /// The interface that it is bound to.
    pub interface: String,
    /// This node's address on it.
    pub address: IpAddr,
    /// UDP port, the same on every node; 7946 by default.
    pub port: u16,
    /// The peers on it, and their addresses, in ascending order of their ids.
    pub peers: Vec<(NodeId, IpAddr)>,
}

/// By what means the kernel keeps the gate.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GateMeans {
    /// The strongest that this kernel has.
    Auto,
    /// A BPF program with an absolute deadline, or none.
    Bpf,
    /// nf_tables rules with sets whose elements expire, or none.
    Nft,
    /// Address lifetimes alone: weak, P1 is withdrawn.
    Lifetime,
}

impl fmt::Display for GateMeans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GateMeans::Auto => "auto",
            GateMeans::Bpf => "bpf",
            GateMeans::Nft => "nft",
            GateMeans::Lifetime => "lifetime",
        })
    }
}

/// etcd, in a voter's place.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Etcd {
    /// Its servers: `http://` or `https://`, address and port.
    pub endpoints: Vec<String>,
    /// Whether a grant hangs on a lease of etcd's, too, instead of the others' counting for how long the key stands still.
    pub lease: bool,
    /// How the names of all keys begin; `/keepone` by default.
    pub prefix: String,
    /// The user and the file with the password.
    pub user: Option<(String, PathBuf)>,
    /// Who has signed the servers' certificates, in PEM.
    pub ca_file: Option<PathBuf>,
    /// This node's certificate and private key, in PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}
