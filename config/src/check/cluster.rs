//! Members and heartbeat links.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use keepone_proto::id::{ClusterId, NodeId, hash_name};

use crate::model::{Cluster, HeartbeatLink, Member};
use crate::raw::RawLink;

use super::{Check, Duplicate, Names, or};

/// UDP port of the heartbeats.
const PORT: u16 = 7946;

impl Check<'_> {
    /// Member names, and what is said twice about members.
    pub(super) fn names(&mut self) -> Names {
        let mut names = Names::new();
        let (mut by_name, mut by_id, mut by_key) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for member in &self.raw.members {
            let name = &member.name.value;
            let what = format!("a second member named `{name}`");
            let new = Duplicate { place: &member.name.place, what, help: "give each member a name of its own" };
            self.duplicate(&mut by_name, name.clone(), new);
            if let Some(id) = &member.id {
                let what = format!("`{name}` has the id {}, which another member has", id.value);
                let new = Duplicate { place: &id.place, what, help: "give each member an id of its own" };
                self.duplicate(&mut by_id, id.value, new);
            }
            if let Some(key) = &member.public_key {
                let what = format!("`{name}` has the public key of another member");
                let help =
                    "make a key for each member with `keepone keys`: with one key, one could speak for the other";
                self.duplicate(&mut by_key, key.value, Duplicate { place: &key.place, what, help });
            }
            for keyword in ["id", "public_key"] {
                if !member.written.has(keyword) {
                    let message = format!("member `{name}` has no {keyword}");
                    self.report.error(&member.name.place, message, "`keepone keys` prints the members of a cluster");
                }
            }
            names.insert(name.clone(), member.id.as_ref().map(|id| id.value));
        }
        names
    }

    pub(super) fn cluster(&mut self, names: &Names) -> Option<Cluster> {
        let Some(name) = &self.raw.cluster else {
            self.without_cluster();
            return None;
        };
        if self.raw.members.is_empty() && !self.raw.written.has("member") {
            let message = format!("cluster `{}` has no members", name.value);
            self.report.error(&name.place, message, "add each node and witness as a `member`");
            return None;
        }
        for keyword in ["node", "key_file"] {
            if !self.raw.written.has(keyword) {
                let message = format!("cluster `{}` has no {keyword}", name.value);
                self.report.error(
                    &name.place,
                    message,
                    "say which member this node is, and where its private key lies",
                );
            }
        }
        let node = self.raw.node.as_ref()?;
        let id = self.member(names, node);
        let me = self.raw.members.iter().find(|member| member.name.value == node.value);
        if me.is_some_and(|member| member.witness.is_some()) {
            let message = format!("this node is `{}`, which is a witness", node.value);
            self.report.error(&node.place, message, "run keepone-witness there, or name another member");
        }
        let directory = |path: &Option<_>, default: &str| or(path, PathBuf::from(default));
        let mut members: Vec<Member> = self.raw.members.iter().filter_map(member).collect();
        members.sort_by_key(|member| member.id);
        Some(Cluster {
            name: name.value.clone(),
            id: ClusterId(hash_name(&name.value)),
            node: id?,
            key_file: self.raw.key_file.as_ref()?.value.clone(),
            state_dir: directory(&self.raw.state_dir, "/var/lib/keepone"),
            run_dir: directory(&self.raw.run_dir, "/run/keepone"),
            control_group: self.raw.control_group.as_ref().map(|group| group.value.clone()),
            bpf_dir: directory(&self.raw.bpf_dir, "/sys/fs/bpf/keepone"),
            members,
        })
    }

    /// Members or links without a cluster are a block that was forgotten, not a wish for plain VRRP.
    fn without_cluster(&mut self) {
        if self.raw.written.has("cluster") {
            return;
        }
        let first = self.raw.members.first().map(|member| (&member.name.place, "a member"));
        let link = self.raw.links.first().map(|link| (&link.name.place, "a heartbeat link"));
        let node = self.raw.node.as_ref().map(|node| (&node.place, "a node"));
        if let Some((place, what)) = first.or(link).or(node) {
            let help = "add the cluster's name: `cluster NAME { ... }`, in TOML `[cluster]` with `name = \"NAME\"`";
            self.report.error(place, format!("{what} without a cluster"), help);
        }
    }

    pub(super) fn links(&mut self, names: &Names) -> Option<Vec<HeartbeatLink>> {
        let raw = self.raw;
        let (mut by_name, mut by_socket) = (BTreeMap::new(), BTreeMap::new());
        let mut links = Some(Vec::new());
        for link in &raw.links {
            let what = format!("a second heartbeat link named `{}`", link.name.value);
            let help = "give each link a name of its own, the same on every node";
            self.duplicate(&mut by_name, link.name.value.clone(), Duplicate { place: &link.name.place, what, help });
            if let Some(address) = &link.address {
                let port = or(&link.port, PORT);
                let what = format!("link `{}` uses {} port {port}, as another does", link.name.value, address.value);
                let help = "give each link an address of its own, on an interface of its own";
                let new = Duplicate { place: &address.place, what, help };
                self.duplicate(&mut by_socket, (address.value, port), new);
            }
            let link = self.link(names, link);
            links = links.and_then(|mut links: Vec<HeartbeatLink>| {
                links.push(link?);
                Some(links)
            });
        }
        if let Some(link) = raw.links.get(256) {
            let message = format!("{} heartbeat links, where at most 256 are possible", raw.links.len());
            self.report.error(&link.name.place, message, "remove some");
        }
        self.unreached();
        self.single_line();
        links
    }

    fn link(&mut self, names: &Names, link: &RawLink) -> Option<HeartbeatLink> {
        let name = &link.name.value;
        for keyword in ["interface", "address"] {
            if !link.written.has(keyword) {
                let message = format!("heartbeat link `{name}` has no {keyword}");
                self.report.error(
                    &link.name.place,
                    message,
                    "a link is bound to an interface and to this node's address on it",
                );
            }
        }
        if !link.written.has("peer") && !link.written.has("peers") {
            let help = "add `peer NAME ADDRESS` for each other node, in TOML `peers = { NAME = \"ADDRESS\" }`";
            self.report.error(&link.name.place, format!("heartbeat link `{name}` has no peer"), help);
        }
        let mut peers = Vec::new();
        let (mut by_name, mut by_address) = (BTreeMap::new(), BTreeMap::new());
        for (peer, address) in &link.peers {
            let what = format!("peer `{}` is on link `{name}` twice", peer.value);
            let new = Duplicate { place: &peer.place, what, help: "keep one address a peer and link" };
            self.duplicate(&mut by_name, peer.value.clone(), new);
            let what = format!("two peers with the address {} on link `{name}`", address.value);
            let new = Duplicate { place: &address.place, what, help: "each node has its own address on a link" };
            self.duplicate(&mut by_address, address.value, new);
            self.peer_fits(link, &peer.value, address);
            let id = self.member(names, peer);
            peers.extend(id.map(|id| (id, address.value)));
        }
        peers.sort();
        Some(HeartbeatLink {
            name: name.clone(),
            interface: link.interface.as_ref()?.value.clone(),
            address: link.address.as_ref()?.value,
            port: or(&link.port, PORT),
            peers,
        })
    }

    fn peer_fits(&mut self, link: &RawLink, peer: &str, address: &crate::source::At<std::net::IpAddr>) {
        if self.raw.node.as_ref().is_some_and(|node| node.value == peer) {
            let message = format!("peer `{peer}` is this node itself");
            self.report.error(&address.place, message, "name the other nodes; this node's own address is `address`");
        }
        let witness = self.raw.members.iter().any(|member| member.name.value == peer && member.witness.is_some());
        if witness {
            let message = format!("peer `{peer}` is a witness, which sends no heartbeats");
            self.report.error(&address.place, message, "remove it: a witness is reached at its own address");
        }
        let Some(own) = &link.address else { return };
        if own.value.is_ipv4() != address.value.is_ipv4() {
            let message = format!("peer `{peer}` at {}, but this node is at {} on this link", address.value, own.value);
            self.report.error(&address.place, message, "use one family on a link: two IPv4 or two IPv6 addresses");
        } else if own.value == address.value {
            let message = format!("peer `{peer}` has this node's own address, {}", own.value);
            self.report.error(&address.place, message, "write the peer's address on this link");
        }
    }

    /// Each other node must be on some link.
    fn unreached(&mut self) {
        let raw = self.raw;
        let reached: BTreeSet<&str> =
            raw.links.iter().flat_map(|link| &link.peers).map(|(name, _)| name.value.as_str()).collect();
        let known = |name: &str| raw.members.iter().any(|member| member.name.value == name);
        let Some(node) = raw.node.as_ref().filter(|node| !raw.links.is_empty() && known(&node.value)) else { return };
        for member in &raw.members {
            let name = member.name.value.as_str();
            if member.witness.is_none() && name != node.value && !reached.contains(name) {
                let help = format!("add it to a heartbeat link: `peer {name} ADDRESS`");
                self.report.error(&member.name.place, format!("no heartbeat link leads to `{name}`"), help);
            }
        }
    }

    fn single_line(&mut self) {
        if let [link] = self.raw.links.as_slice() {
            let help =
                "add a second link on another interface and switch, so that one cut cable is not taken for a death";
            self.report.warning(&link.name.place, format!("`{}` is the only heartbeat link", link.name.value), help);
        }
    }
}

fn member(raw: &crate::raw::RawMember) -> Option<Member> {
    let id: NodeId = raw.id.as_ref()?.value;
    Some(Member {
        name: raw.name.value.clone(),
        id,
        public_key: raw.public_key.as_ref()?.value,
        witness: raw.witness.as_ref().map(|at| at.value),
    })
}
