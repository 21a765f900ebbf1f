//! The cluster's blocks.

use std::net::IpAddr;
use std::time::Duration;

use keepone_proto::id::NodeId;
use keepone_proto::lease::timing::Profile;
use keepone_proto::settings::Policy;

use crate::keyword::{ARBITER, CLUSTER, GATE, HEARTBEAT, HEARTBEAT_LINK, MEMBER, NODE, REFERENCE_IP};
use crate::model::{GateMeans, PublicKey};
use crate::raw::{ArbiterType, RawArbiter, RawConfig, RawLink, RawMember, RawReferences};
use crate::source::At;
use crate::tree::{Item, Word};

use super::{Lower, Wanted, value};

const MILLI: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

impl Lower<'_> {
    pub(super) fn cluster(&mut self, raw: &mut RawConfig, block: &Item) {
        let name = self.value(block, value::name);
        if let (Some(first), Some(_)) = (&raw.cluster, &name) {
            let message = format!("a second cluster; the first is at {}", self.report.describe(&first.place));
            self.report.error(&block.place(), message, "keep one `cluster` block: an agent belongs to one cluster");
            return;
        }
        raw.cluster = name;
        for item in block.items() {
            raw.written.add(&item.keyword.text);
        }
        self.each(block.items(), &CLUSTER, |lower, item| match item.keyword.text.as_str() {
            "node" => raw.node = lower.value(item, value::name),
            "grace" => raw.grace = lower.value(item, value::duration(Duration::ZERO..=MINUTE)),
            "member" => lower.member(raw, item),
            _ => lower.directories(raw, item),
        });
    }

    pub(super) fn node(&mut self, raw: &mut RawConfig, block: &Item) {
        raw.node = self.value(block, value::name);
        for item in block.items() {
            raw.written.add(&item.keyword.text);
        }
        self.each(block.items(), &NODE, |lower, item| lower.directories(raw, item));
    }

    fn directories(&mut self, raw: &mut RawConfig, item: &Item) {
        match item.keyword.text.as_str() {
            "key_file" => raw.key_file = self.path(item),
            "state_dir" => raw.state_dir = self.path(item),
            "run_dir" => raw.run_dir = self.path(item),
            "bpf_dir" => raw.bpf_dir = self.path(item),
            "control_group" => raw.control_group = self.value(item, value::name),
            _ => self.unread(item),
        }
    }

    pub(super) fn member(&mut self, raw: &mut RawConfig, block: &Item) {
        let Some(name) = self.value(block, value::name) else { return };
        let mut member = RawMember { name, written: self.written(block), id: None, public_key: None, witness: None };
        self.each(block.items(), &MEMBER, |lower, item| match item.keyword.text.as_str() {
            "id" => member.id = lower.value(item, node_id),
            "public_key" => member.public_key = lower.value(item, public_key),
            "witness" => member.witness = lower.value(item, value::socket_address),
            _ => lower.unread(item),
        });
        raw.members.push(member);
    }

    pub(super) fn heartbeat(&mut self, raw: &mut RawConfig, block: &Item) {
        self.each(block.items(), &HEARTBEAT, |lower, item| match item.keyword.text.as_str() {
            "period" => raw.heartbeat_period = lower.value(item, value::duration(MILLI * 10..=MINUTE)),
            "misses" => {
                let help = "write after how many missed beats a peer counts as silent; the default is 3";
                raw.heartbeat_misses = lower.value(item, value::number(1..=100, help));
            }
            _ => lower.unread(item),
        });
    }

    pub(super) fn heartbeat_link(&mut self, raw: &mut RawConfig, block: &Item) {
        let Some(name) = self.value(block, value::name) else { return };
        let mut link = RawLink {
            name,
            written: self.written(block),
            interface: None,
            address: None,
            port: None,
            peers: Vec::new(),
        };
        self.each(block.items(), &HEARTBEAT_LINK, |lower, item| match item.keyword.text.as_str() {
            "interface" => link.interface = lower.value(item, value::interface),
            "address" => link.address = lower.value(item, value::address),
            "port" => {
                let help = "write a UDP port, the same on every node; the default is 7946";
                link.port = lower.value(item, value::number(1..=65535, help));
            }
            "peer" => link.peers.extend(lower.peer(item, &item.words)),
            "peers" => {
                for line in lower.lines(item) {
                    link.peers.extend(lower.peer(item, &line));
                }
            }
            _ => lower.unread(item),
        });
        raw.links.push(link);
    }

    fn peer(&mut self, item: &Item, words: &[Word]) -> Option<(At<String>, At<IpAddr>)> {
        let [name, address] = words else {
            let help = "write the member's name and its address on this link: `peer n2 10.1.0.2`";
            self.report.error(&item.place(), "a peer is a name and an address", help);
            return None;
        };
        let address = self.word("peer", address, value::address);
        Some((self.word("peer", name, value::name)?, address?))
    }

    pub(super) fn arbiter(&mut self, raw: &mut RawConfig, block: &Item) {
        let mut arbiter = RawArbiter {
            place: block.keyword.place.clone(),
            written: self.written(block),
            kind: None,
            voters: Vec::new(),
            generation: None,
            former_voters: Vec::new(),
            joint_voters: Vec::new(),
            former_joint_voters: Vec::new(),
            witnesses: Vec::new(),
            profile: None,
            lease: None,
            lease_max: None,
            rate_error_ppm: None,
            transmit: None,
            gate_lateness: None,
            hidden_freeze: None,
            gate_horizon: None,
            round_trip: None,
            claim_without_gate: false,
            etcd_lease: None,
            policy: None,
            endpoints: Vec::new(),
            prefix: None,
            user: None,
            password_file: None,
            ca_file: None,
            cert_file: None,
            cert_key_file: None,
        };
        self.each(block.items(), &ARBITER, |lower, item| {
            let span = |lower: &mut Self, from| lower.value(item, value::duration(from..=MINUTE * 10));
            match item.keyword.text.as_str() {
                "type" => arbiter.kind = lower.value(item, arbiter_type),
                "voters" => arbiter.voters.extend(lower.names(item)),
                "generation" => {
                    let help = "count the voter sets from 1 on, the same on every member; the default is 1";
                    arbiter.generation = lower.value(item, value::number(1..=1_000_000, help));
                }
                "former_voters" => arbiter.former_voters.extend(lower.names(item)),
                "joint_voters" => arbiter.joint_voters.extend(lower.names(item)),
                "former_joint_voters" => arbiter.former_joint_voters.extend(lower.names(item)),
                "witness" => arbiter.witnesses.extend(lower.names(item)),
                "profile" => arbiter.profile = lower.value(item, profile),
                "lease" | "ttl" => arbiter.lease = span(lower, MILLI),
                "lease_max" => arbiter.lease_max = span(lower, MILLI),
                "rate_error" => arbiter.rate_error_ppm = lower.value(item, value::parts_per_million),
                "transmit" => arbiter.transmit = span(lower, Duration::ZERO),
                "gate_lateness" => arbiter.gate_lateness = span(lower, Duration::ZERO),
                "hidden_freeze" => arbiter.hidden_freeze = span(lower, Duration::ZERO),
                "gate_horizon" => arbiter.gate_horizon = span(lower, MILLI),
                "round_trip" => arbiter.round_trip = span(lower, Duration::ZERO),
                "claim_without_gate" => {
                    arbiter.claim_without_gate = lower.flag(item).is_some_and(|flag| flag.value);
                }
                "policy" => arbiter.policy = lower.value(item, policy),
                "endpoints" => {
                    let read = item.words.iter().filter_map(|word| lower.word("endpoints", word, endpoint));
                    arbiter.endpoints.extend(read.collect::<Vec<_>>());
                }
                "etcd_lease" => arbiter.etcd_lease = lower.flag(item),
                "prefix" => arbiter.prefix = lower.value(item, value::name),
                "user" => arbiter.user = lower.value(item, value::name),
                "password_file" => arbiter.password_file = lower.path(item),
                "ca_file" => arbiter.ca_file = lower.path(item),
                "cert_file" => arbiter.cert_file = lower.path(item),
                "cert_key_file" => arbiter.cert_key_file = lower.path(item),
                _ => lower.unread(item),
            }
        });
        raw.arbiter = Some(arbiter);
    }

    fn names(&mut self, item: &Item) -> Vec<At<String>> {
        item.words.iter().filter_map(|word| self.word(&item.keyword.text, word, value::name)).collect()
    }

    pub(super) fn reference_ip(&mut self, raw: &mut RawConfig, block: &Item) {
        let mut references = RawReferences {
            place: block.keyword.place.clone(),
            written: self.written(block),
            targets: Vec::new(),
            need: None,
            interval: None,
            timeout: None,
            rise: None,
            fall: None,
        };
        let bounds = || value::duration(MILLI * 10..=MINUTE * 60);
        self.each(block.items(), &REFERENCE_IP, |lower, item| match item.keyword.text.as_str() {
            "targets" => {
                let targets = item.words.iter().filter_map(|word| lower.word("targets", word, value::address));
                references.targets.extend(targets.collect::<Vec<_>>());
            }
            "need" => {
                let help = "write how many of the addresses must answer; the default is 1";
                references.need = lower.value(item, value::number(1..=256, help));
            }
            "interval" => references.interval = lower.value(item, bounds()),
            "timeout" => references.timeout = lower.value(item, bounds()),
            "rise" => references.rise = lower.value(item, value::number(1..=255, "answers in a row; the default is 2")),
            "fall" => references.fall = lower.value(item, value::number(1..=255, "losses in a row; the default is 3")),
            // The table lets nothing else in than a bare address.
            _ => {
                let target = lower.word("reference_ip", &item.keyword, value::address);
                if let (Some(extra), Some(_)) = (item.words.first(), &target) {
                    let help = "write each address and each keyword on a line of its own";
                    lower.report.error(&extra.place, "a reference address stands alone on its line", help);
                }
                references.targets.extend(target);
            }
        });
        raw.references = Some(references);
    }

    pub(super) fn gate(&mut self, raw: &mut RawConfig, block: &Item) {
        self.each(block.items(), &GATE, |lower, item| match item.keyword.text.as_str() {
            "means" => raw.gate = lower.value(item, gate_means),
            _ => lower.unread(item),
        });
    }
}

fn node_id(text: &str) -> Result<NodeId, Wanted> {
    let id = text.parse().ok().and_then(NodeId::new);
    id.ok_or_else(|| {
        Wanted::new("a whole number from 1 to 65535", "give each member an id of its own, the same on every node")
    })
}

fn public_key(text: &str) -> Result<PublicKey, Wanted> {
    let help = "copy the key that `keepone keys` prints for this member";
    PublicKey::from_base64(text).ok_or_else(|| Wanted::new("an Ed25519 public key: 32 bytes in base64", help))
}

/// A server of etcd.
fn endpoint(text: &str) -> Result<String, Wanted> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let port = rest.and_then(|rest| rest.trim_end_matches('/').rsplit_once(':')?.1.parse::<u16>().ok());
    if port.is_some() {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    Err(Wanted::new("a URL with a port", "write `http://10.0.0.1:2379`, or https where etcd has certificates"))
}

fn arbiter_type(text: &str) -> Result<ArbiterType, Wanted> {
    match text {
        "none" => Ok(ArbiterType::None),
        "quorum" => Ok(ArbiterType::Quorum),
        "etcd" => Ok(ArbiterType::Etcd),
        _ => Err(Wanted::new("none, quorum or etcd", "write `quorum` for voters among the members")),
    }
}

/// What becomes of a domain while its authority is silent (D4).
pub(super) fn policy(text: &str) -> Result<Policy, Wanted> {
    let known = [Policy::Strict, Policy::Degrade, Policy::AcceptDualMaster];
    known.into_iter().find(|policy| policy.as_str() == text).ok_or_else(|| {
        Wanted::new("strict, degrade or i-accept-dual-master", "write `strict`: without its voters a Master lets go")
    })
}

fn profile(text: &str) -> Result<Profile, Wanted> {
    let help = "write `metal` where the clock can't be stopped without the machine, `vm` in a virtual machine";
    Profile::from_name(text).ok_or_else(|| Wanted::new("metal or vm", help))
}

fn gate_means(text: &str) -> Result<GateMeans, Wanted> {
    match text {
        "auto" => Ok(GateMeans::Auto),
        "bpf" => Ok(GateMeans::Bpf),
        "nft" => Ok(GateMeans::Nft),
        "lifetime" => Ok(GateMeans::Lifetime),
        _ => Err(Wanted::new("auto, bpf, nft or lifetime", "write `auto`: the strongest gate that the kernel has")),
    }
}
