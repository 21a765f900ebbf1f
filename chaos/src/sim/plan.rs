//! One cluster: who is in it, and how it is configured.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use keepone_proto::guard::Guards;
use keepone_proto::id::{
    ClusterId, ConfigDigest, DomainId, Incarnation, InstanceId, InterfaceId, LinkId, NodeId, Priority, Vrid, hash_name,
};
use keepone_proto::lease::config_digest;
use keepone_proto::lease::timing::LeaseTiming;
use keepone_proto::lease::voter::VoterSettings;
use keepone_proto::settings::{
    AnnounceSettings, Authority, DomainSettings, Families, FencingSettings, HeartbeatSettings, InstanceSettings,
    InterfaceSettings, Names, PeerSettings, Policy, QuorumSettings, ReferenceSettings, Settings, VrrpVersion,
};

use super::ablation::Ablation;
use super::kernel::GateKind;
use super::rng::Rng;

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Two nodes and a witness: two of three.
    Pair,
    /// Three nodes that vote, no witness.
    Three,
    /// Two nodes and no authority: P2 instead of P1.
    Unarbitrated,
}

/// The cluster of one history.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Who decides.
    pub mode: Mode,
    /// Agents; hosts below this number.
    pub agents: usize,
    /// Hosts in all; the rest are witnesses.
    pub hosts: usize,
    /// Heartbeat links.
    pub links: u8,
    /// The lengths by which the world judges; the ablations may tell the agents others.
    pub timing: LeaseTiming,
    /// The lengths that the agents are told.
    pub told: LeaseTiming,
    /// Priorities by agent.
    pub priorities: Vec<u8>,
    /// Preempt_Mode, on all alike.
    pub preempt: bool,
    /// Milliseconds.
    pub preempt_delay_ms: u64,
    /// Whether there is a reference address.
    pub references: bool,
    /// Advertisement_Interval.
    pub advert_ms: u64,
    /// How many domains.
    pub domains: usize,
    /// What is taken out.
    pub ablation: Option<Ablation>,
}

/// The reference's ping interval, its timeout, and the losses in a row until it is down.
pub const PING_MS: u64 = 300;
/// See [`PING_MS`].
pub const PING_TIMEOUT_MS: u64 = 250;
/// See [`PING_MS`].
pub const PING_FALL: u8 = 3;

impl Plan {
    /// Drawn from the seed's stream.
    pub fn draw(rng: &mut Rng, mode: Option<Mode>, ablation: Option<Ablation>) -> Self {
        let drawn = match rng.below(10) {
            0..=6 => Mode::Pair,
            7..=8 => Mode::Three,
            _ => Mode::Unarbitrated,
        };
        let drawn = if ablation.is_some() && drawn == Mode::Unarbitrated { Mode::Pair } else { drawn };
        let mode = mode.unwrap_or(drawn);
        let lease_ms = rng.pick(&[300, 500, 500, 1000]).copied().unwrap_or(500);
        let mut timing = LeaseTiming::for_lease(Duration::from_millis(lease_ms));
        if rng.chance(250_000) {
            timing.lease_max = timing.lease * 2;
        }
        let mut told = timing;
        if ablation == Some(Ablation::DriftMargin) {
            (told.rate_error_ppm, told.transmit, told.gate) = (0, Duration::ZERO, Duration::ZERO);
        }
        let mut priorities = vec![200, 150, 100];
        if rng.chance(300_000) {
            priorities.rotate_left(1);
        }
        if rng.chance(150_000) {
            priorities.fill(100);
        }
        let (agents, hosts) = match mode {
            Mode::Pair => (2, 3),
            Mode::Three => (3, 3),
            Mode::Unarbitrated => (2, 2),
        };
        Plan {
            mode,
            agents,
            hosts,
            links: u8::try_from(rng.range(1, 2)).unwrap_or(1),
            timing,
            told,
            priorities,
            preempt: rng.chance(600_000),
            preempt_delay_ms: if rng.chance(300_000) { 500 } else { 0 },
            references: rng.chance(600_000),
            advert_ms: if mode == Mode::Unarbitrated { 200 } else { 1000 },
            domains: if rng.chance(150_000) { 2 } else { 1 },
            ablation,
        }
    }

    /// The cluster of the named scenarios: as the netns world builds it.
    pub fn for_scenarios() -> Self {
        let timing = LeaseTiming::for_lease(Duration::from_millis(crate::scenario::LEASE_MS));
        Plan {
            mode: Mode::Pair,
            agents: 2,
            hosts: 3,
            links: 2,
            timing,
            told: timing,
            priorities: vec![200, 100],
            preempt: false,
            preempt_delay_ms: 0,
            references: true,
            advert_ms: 1000,
            domains: 1,
            ablation: None,
        }
    }

    /// The id of a host.
    pub fn node(host: usize) -> NodeId {
        NodeId::new(u16::try_from(host + 1).unwrap_or(u16::MAX)).unwrap_or(FIRST)
    }

    /// The host of an id.
    pub fn host(node: NodeId) -> usize {
        usize::from(node.get()) - 1
    }

    /// The id of a domain.
    pub fn domain(place: usize) -> DomainId {
        DomainId(hash_name(if place == 0 { "vip" } else { "other" }))
    }

    /// The place of a domain.
    pub fn place(domain: DomainId) -> usize {
        usize::from(domain != Self::domain(0))
    }

    /// A node's own address on the LAN.
    pub fn address(host: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, u8::try_from(host + 1).unwrap_or(u8::MAX)))
    }

    fn quorum(&self) -> QuorumSettings {
        QuorumSettings::new((0..self.hosts).map(Self::node).collect(), self.told)
    }

    /// Whether there is an authority as far as the agents know.
    pub fn is_arbitrated(&self) -> bool {
        self.mode != Mode::Unarbitrated && self.ablation != Some(Ablation::Arbiter)
    }

    /// How the kernels keep the deadline.
    pub fn gate_kind(&self) -> GateKind {
        match self.ablation {
            Some(Ablation::KernelGate) => GateKind::Eternal,
            Some(Ablation::AbsoluteGate) => GateKind::Relative,
            _ => GateKind::Absolute,
        }
    }

    /// Which guards the core runs with.
    pub fn guards(&self) -> Guards {
        self.ablation.and_then(Ablation::guard).map_or_else(Guards::default, Guards::without)
    }

    fn cluster() -> ClusterId {
        ClusterId(hash_name("sim"))
    }

    fn digest(&self) -> ConfigDigest {
        config_digest(Self::cluster(), &self.quorum())
    }

    /// What an agent is told.
    pub fn settings(&self, host: usize, seed: u64) -> Settings {
        let links: Vec<LinkId> = (0..self.links).map(LinkId).collect();
        let peers = (0..self.agents).filter(|peer| *peer != host);
        let authority = if self.is_arbitrated() { Authority::Quorum(self.quorum()) } else { Authority::None };
        let domain = |place: usize| DomainSettings {
            id: Self::domain(place),
            name: format!("d{place}"),
            instances: vec![InstanceId(u16::try_from(place).unwrap_or(0))],
            families: Families { v4: true, v6: false },
            authority: authority.clone(),
            policy: Policy::Strict,
            mirrors: Vec::new(),
            fencing: FencingSettings::default(),
        };
        let targets = if self.references { vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254))] } else { Vec::new() };
        Settings {
            cluster: Self::cluster(),
            node: Self::node(host),
            names: Names::default(),
            digest: self.digest(),
            seed,
            heartbeat: HeartbeatSettings { period: Duration::from_millis(100), misses: 3 },
            peers: peers.map(|peer| PeerSettings { node: Self::node(peer), links: links.clone() }).collect(),
            interfaces: vec![InterfaceSettings { name: "lan".into() }],
            instances: (0..self.domains).map(|place| self.instance(host, place)).collect(),
            domains: (0..self.domains).map(domain).collect(),
            references: ReferenceSettings {
                targets,
                need: 1,
                interval: Duration::from_millis(PING_MS),
                timeout: Duration::from_millis(PING_TIMEOUT_MS),
                rise: 2,
                fall: PING_FALL,
            },
            announce: AnnounceSettings::default(),
            grace: Duration::from_secs(1),
            claim_without_gate: false,
            watchdog: false,
            guards: self.guards(),
        }
    }

    /// The priority of an agent for a domain: the second domain's best is the first one's worst.
    pub fn priority(&self, host: usize, place: usize) -> u8 {
        let count = self.agents;
        let at = if place == 0 { host } else { count - 1 - host };
        self.priorities.get(at).copied().unwrap_or(100)
    }

    fn instance(&self, host: usize, place: usize) -> InstanceSettings {
        let number = u8::try_from(place).unwrap_or(0);
        InstanceSettings {
            name: format!("vr{place}"),
            interface: InterfaceId(0),
            vrid: Vrid::new(51 + number).unwrap_or(VRID),
            version: VrrpVersion::V3,
            ipv6: false,
            priority: Priority(self.priority(host, place)),
            advert_int: Duration::from_millis(self.advert_ms),
            preempt: self.preempt,
            preempt_delay: Duration::from_millis(self.preempt_delay_ms),
            addresses: vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100 + number))],
            auth_pass: None,
            unicast_peers: None,
            track: Vec::new(),
        }
    }

    /// What a witness is told.
    pub fn voter(&self, incarnation: Incarnation) -> VoterSettings {
        let candidates: BTreeSet<NodeId> = (0..self.agents).map(Self::node).collect();
        VoterSettings::new(Self::cluster(), &self.quorum(), candidates, incarnation)
    }

    /// A guardian's farewell in the name of its dead worker.
    pub fn release(&self, place: usize, epoch: keepone_proto::id::Epoch, nonce: u64) -> Vec<u8> {
        let message = keepone_proto::wire::lease::Message::Release { epoch };
        let (cluster, digest, domain) = (Self::cluster(), self.digest(), Self::domain(place));
        keepone_proto::wire::lease::Envelope { cluster, digest, domain, nonce, message }.emit()
    }
}

const FIRST: NodeId = match NodeId::new(1) {
    Some(id) => id,
    None => unreachable!(),
};
const VRID: Vrid = match Vrid::new(51) {
    Some(vrid) => vrid,
    None => unreachable!(),
};
