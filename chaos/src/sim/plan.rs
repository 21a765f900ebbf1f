//! One cluster: who is in it, and how it is configured.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use keepone_proto::guard::Guards;
use keepone_proto::id::{
    ClusterId, ConfigDigest, DomainId, Incarnation, InstanceId, InterfaceId, LinkId, NodeId, Priority, ScriptId, Vrid,
    hash_name,
};
use keepone_proto::lease::register::RegisterSettings;
use keepone_proto::lease::register::keeper::Generation;
use keepone_proto::lease::timing::LeaseTiming;
use keepone_proto::lease::voter::VoterSettings;
use keepone_proto::lease::{config_digest, set_digest};
use keepone_proto::settings::{
    AnnounceSettings, AuthType, Authority, DomainSettings, ElectionOptions, Families, FencingSettings,
    HeartbeatSettings, InstanceSettings, InterfaceSettings, LinkDelays, Names, PeerSettings, Policy, QuorumSettings,
    Reception, ReferenceSettings, ScriptSettings, Settings, Track, Tracker, VrrpVersion,
};
use keepone_proto::time::nanos;
use keepone_proto::wire::vrrp::{Advertisement, Auth};

use super::fault::Variant;
use super::kernel::GateKind;
use super::moves::Step;
use super::mutant::Mutant;
use super::network::{MS, S};
use super::rng::Rng;

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Two nodes and a witness: two of three.
    Pair,
    /// Three nodes that vote, no witness.
    Three,
    /// Two to five nodes that vote or don't, and up to three witnesses.
    Mixed,
    /// Two nodes and no authority: P2 instead of P1.
    Unarbitrated,
    /// Two to three nodes and a store with compare-and-swap, as etcd is one.
    Store,
}

/// The cluster of one history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Who decides.
    pub mode: Mode,
    /// Agents; hosts below this number.
    pub agents: usize,
    /// Hosts in all; the rest are witnesses.
    pub hosts: usize,
    /// Whether the agents vote too.
    pub nodes_vote: bool,
    /// Heartbeat links.
    pub links: u8,
    /// How slow the cluster is: h is so many times 100 ms, and the rest with it.
    pub pace: u64,
    /// The lengths by which the world judges; the mutants may tell the agents others.
    pub timing: LeaseTiming,
    /// The lengths that the agents are told.
    pub told: LeaseTiming,
    /// Freezes are longer than H: not P1 but its bound is promised.
    pub beyond: bool,
    /// What a tick of the kernel lasts, where the gate is as late as that; 0: it is punctual.
    pub jiffy: u64,
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
    /// How many domains, at most [`DOMAINS`].
    pub domains: usize,
    /// The weight of the script that every instance tracks, if they track one.
    pub script: Option<i16>,
    /// What becomes of a domain while its voters are silent.
    pub policy: Policy,
    /// Whether grants hang on sessions, where a store is the authority.
    pub sessions: bool,
    /// The generations of voters that follow one another, if any do.
    pub steps: Vec<Step>,
    /// The operator restarts anybody with any of them: that somebody holds is not promised.
    pub careless: bool,
    /// What is taken out.
    pub mutant: Option<Mutant>,
}

/// Of the stream that draws which clusters have a store for their authority.
const STORES: u64 = 0x6574_6364;

/// Of the stream that draws where grants hang on sessions.
const SESSIONS: u64 = 0x7365_7373;

/// Of the stream that draws the scripts.
const SCRIPTS: u64 = 0x5c21_7475;

/// Domains at most.
pub const DOMAINS: usize = 3;
const IDS: [DomainId; DOMAINS] =
    [DomainId(hash_name("vip")), DomainId(hash_name("other")), DomainId(hash_name("third"))];

/// The losses in a row until a reference is down.
pub const PING_FALL: u8 = 3;

/// P1 beyond H: how long two gates may be open at once at most, G/(1−ρ), by a kernel that looks at each `jiffy` only
/// (0: at each frame). In nanoseconds.
pub fn overlap_bound(timing: &LeaseTiming, jiffy: u64) -> u64 {
    let length = nanos(timing.horizon() + timing.gate) + jiffy;
    length.saturating_mul(1_000_000) / 1_000_000_u64.saturating_sub(u64::from(timing.rate_error_ppm)).max(1)
}

impl Plan {
    /// Drawn from the seed's stream.
    pub fn draw(rng: &mut Rng, mode: Option<Mode>, mutant: Option<Mutant>) -> Self {
        let drawn = match rng.below(20) {
            0..=10 => Mode::Pair,
            11..=12 => Mode::Three,
            13..=17 => Mode::Mixed,
            _ => Mode::Unarbitrated,
        };
        let drawn = match mutant {
            // What only two without an authority can show.
            Some(Mutant::NobodyYields | Mutant::ControlAlone) => Mode::Unarbitrated,
            Some(mutant) if mutant.is_of_the_store() => Mode::Store,
            // Of a stream of its own: the others' worlds are as they would be without any store.
            None if Rng::new(rng.clone().next_u64() ^ STORES).chance(80_000) => Mode::Store,
            Some(_) if drawn == Mode::Unarbitrated => Mode::Pair,
            Some(_) | None => drawn,
        };
        let mode = mode.unwrap_or(drawn);
        let sessions =
            mutant.map_or_else(|| Rng::new(rng.clone().next_u64() ^ SESSIONS).chance(500_000), Mutant::is_of_sessions);
        let (mut pace, lease_ms) = rng
            .pick(&[(1, 300), (1, 500), (1, 1000), (2, 1000), (2, 2000), (5, 5000), (5, 5000), (10, 10_000)])
            .copied()
            .unwrap_or((1, 500));
        if mode == Mode::Unarbitrated {
            pace = 1;
        }
        let mut timing = LeaseTiming::for_lease(Duration::from_millis(lease_ms));
        if rng.chance(250_000) {
            timing.lease_max = timing.lease * 2;
        }
        let jiffy_ms = *rng.pick(&[0, 0, 1, 4, 10]).unwrap_or(&0);
        timing.gate = timing.gate.max(Duration::from_millis(jiffy_ms));
        let arbitrated = mode != Mode::Unarbitrated;
        let allows = matches!(mutant, Some(Mutant::NoFreezeAllowance | Mutant::ControlFreezes));
        if arbitrated && (rng.chance(200_000) || allows) {
            timing.hidden_freeze = timing.lease / 10;
        }
        // Of a stream of its own: what else is drawn does not hang on it.
        let promises = matches!(mutant, Some(Mutant::PromisesBindNobody | Mutant::ControlPromises));
        let degrades = arbitrated && (promises || Rng::new(rng.clone().next_u64()).chance(100_000));
        let mut scripts = Rng::new(rng.clone().next_u64() ^ SCRIPTS);
        let script = if scripts.chance(250_000) { scripts.pick(&[0, 0, 40, -60, -120]).copied() } else { None };
        let policy = if degrades { Policy::Degrade } else { Policy::Strict };
        let beyond = arbitrated && mutant.is_none() && rng.chance(15_000);
        if arbitrated && (beyond || rng.chance(80_000)) && rng.chance(500_000) {
            timing.gate_horizon = timing.lease / 2;
        }
        if timing.check().is_err() {
            timing.gate_horizon = Duration::MAX;
            (timing.gate, timing.hidden_freeze) = (Duration::from_micros(100), Duration::ZERO);
        }
        let mut told = timing;
        match mutant {
            Some(Mutant::NoDriftMargin) => {
                (told.rate_error_ppm, told.transmit, told.gate) = (0, Duration::ZERO, Duration::ZERO);
            }
            Some(Mutant::NoFreezeAllowance) => told.hidden_freeze = Duration::ZERO,
            Some(Mutant::NoDrain) => told.transmit = Duration::ZERO,
            Some(_) | None => {}
        }
        let mut priorities = vec![200, 150, 100, 80, 60];
        if rng.chance(300_000) {
            priorities.rotate_left(1);
        }
        if rng.chance(150_000) {
            priorities.fill(100);
        }
        let (agents, witnesses, nodes_vote) = match mode {
            Mode::Pair => (2, 1, true),
            Mode::Three => (3, 0, true),
            Mode::Mixed => draw_members(rng),
            Mode::Unarbitrated => (2, 0, true),
            Mode::Store => (*rng.pick(&[2, 2, 3]).unwrap_or(&2), 1, false),
        };
        // Where the nodes vote, who can promise can vote as well, and no promise is ever asked for.
        let (mode, witnesses, nodes_vote) = if degrades && mode != Mode::Store {
            (Mode::Mixed, witnesses.max(1), false)
        } else {
            (mode, witnesses, nodes_vote)
        };
        let mut plan = Plan {
            mode,
            agents,
            hosts: agents + witnesses,
            nodes_vote,
            links: u8::try_from(rng.range(1, 2)).unwrap_or(1),
            pace,
            timing,
            told,
            beyond,
            jiffy: u64::try_from(timing.gate.as_millis()).unwrap_or(0) * MS,
            priorities,
            preempt: rng.chance(600_000),
            preempt_delay_ms: if rng.chance(300_000) { 500 * pace } else { 0 },
            references: rng.chance(600_000)
                || matches!(mutant, Some(Mutant::IsolatedGoesOn | Mutant::ControlReferences)),
            advert_ms: if arbitrated { 1000 * pace } else { 200 },
            policy,
            // A lease of etcd's has whole seconds.
            sessions: sessions && mode == Mode::Store && timing.lease.subsec_nanos() == 0,
            domains: *rng.pick(&[1, 1, 1, 1, 1, 1, 1, 2, 2, 3]).unwrap_or(&1),
            script,
            steps: Vec::new(),
            careless: false,
            mutant,
        };
        plan.draw_moves(rng);
        plan
    }

    /// The cluster of the named scenarios: as the netns world builds it.
    pub fn for_scenarios() -> Self {
        let timing = LeaseTiming::for_lease(Duration::from_millis(crate::scenario::LEASE_MS));
        Plan {
            mode: Mode::Pair,
            agents: 2,
            hosts: 3,
            nodes_vote: true,
            links: 2,
            pace: 1,
            timing,
            told: timing,
            beyond: false,
            jiffy: 0,
            priorities: vec![200, 100],
            preempt: false,
            preempt_delay_ms: 0,
            references: true,
            advert_ms: 1000,
            policy: Policy::Strict,
            sessions: false,
            domains: 1,
            script: None,
            steps: Vec::new(),
            careless: false,
            mutant: None,
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
        IDS.get(place).copied().unwrap_or(DomainId(0))
    }

    /// The place of a domain.
    pub fn place(domain: DomainId) -> usize {
        IDS.iter().position(|id| *id == domain).unwrap_or(0)
    }

    /// A node's own address on the LAN.
    pub fn address(host: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, u8::try_from(host + 1).unwrap_or(u8::MAX)))
    }

    /// Between two pings of the reference, in milliseconds.
    pub fn ping_ms(&self) -> u64 {
        300 * self.pace
    }

    /// How long an answer of the reference may take, in milliseconds.
    pub fn ping_timeout_ms(&self) -> u64 {
        250 * self.pace
    }

    /// Whether a host votes, where no other voters follow.
    pub fn votes(&self, host: usize) -> bool {
        self.mode != Mode::Unarbitrated && host < self.hosts && (host >= self.agents || self.nodes_vote)
    }

    /// After a heal: how long a better node may take to have it back, and the words to follow.
    pub fn moves(&self) -> u64 {
        let half = S / 2 * self.pace;
        if self.preempt { half * 5 + self.preempt_delay_ms * MS } else { half }
    }

    /// P1 beyond H: how long two gates may be open at once at most, G/(1−ρ).
    pub fn overlap_bound(&self) -> u64 {
        overlap_bound(&self.timing, self.jiffy)
    }

    fn quorum(&self, (variant, step): (Variant, usize)) -> QuorumSettings {
        let voters = match self.mode {
            Mode::Store => vec![NodeId::STORE],
            _ => (0..self.hosts).filter(|host| self.votes(*host)).map(Self::node).collect(),
        };
        let mut timing = self.told;
        if variant == Variant::OtherDigest {
            timing.lease_max += timing.lease;
        }
        match self.steps.get(step) {
            Some(of) => of.quorum(step, timing),
            None => QuorumSettings::new(voters, timing),
        }
    }

    /// Whether there is an authority as far as the agents know.
    pub fn is_arbitrated(&self) -> bool {
        self.mode != Mode::Unarbitrated && self.mutant != Some(Mutant::NoArbiter)
    }

    /// How the kernels keep the deadline.
    pub fn gate_kind(&self) -> GateKind {
        match self.mutant {
            Some(Mutant::NoKernelGate) => GateKind::Eternal,
            Some(Mutant::RelativeGate) => GateKind::Relative,
            Some(Mutant::SecondWriter) => GateKind::Reopens,
            _ if self.jiffy > 0 => GateKind::Jiffies(self.jiffy),
            _ => GateKind::Absolute,
        }
    }

    /// Which guards the core runs with.
    pub fn guards(&self) -> Guards {
        self.mutant.and_then(Mutant::guard).map_or_else(Guards::default, Guards::without)
    }

    fn cluster() -> ClusterId {
        ClusterId(hash_name("sim"))
    }

    fn digest(&self, which: (Variant, usize)) -> ConfigDigest {
        config_digest(Self::cluster(), &self.quorum(which))
    }

    /// What an agent is told.
    pub fn settings(&self, host: usize, (variant, step): (Variant, usize), seed: u64) -> Settings {
        let links: Vec<LinkId> = (0..self.links).map(LinkId).collect();
        let peers = (0..self.agents).filter(|peer| *peer != host);
        let authority =
            if self.is_arbitrated() { Authority::Quorum(self.quorum((variant, step))) } else { Authority::None };
        let others = if variant == Variant::OtherRouters { self.domains } else { 0 };
        let fewer = usize::from(variant == Variant::FewerDomains && self.domains > 1);
        let domain = |place: usize| DomainSettings {
            id: Self::domain(place),
            name: format!("d{place}"),
            // One that is another has a place of its own.
            instances: vec![InstanceId(u16::try_from(place + others).unwrap_or(0))],
            families: Families { v4: true, v6: false },
            authority: authority.clone(),
            policy: if variant == Variant::OtherPolicy { Policy::Strict } else { self.policy },
            mirrors: Vec::new(),
            fencing: FencingSettings::default(),
            shape: u64::from(variant == Variant::OtherAddresses),
            held: 1,
        };
        let targets = if self.references { vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254))] } else { Vec::new() };
        Settings {
            cluster: Self::cluster(),
            node: Self::node(host),
            names: Names::default(),
            digest: self.digest((variant, step)),
            seed,
            heartbeat: HeartbeatSettings { period: Duration::from_millis(100 * self.pace), misses: 3 },
            peers: peers.map(|peer| PeerSettings { node: Self::node(peer), links: links.clone() }).collect(),
            begin_at: None,
            interfaces: vec![InterfaceSettings { name: "lan".into(), delays: LinkDelays::default() }],
            instances: (0..self.domains + others)
                .map(|place| self.instance(host, variant, place % self.domains.max(1)))
                .collect(),
            domains: (0..self.domains - fewer).map(domain).collect(),
            references: ReferenceSettings {
                targets,
                need: 1,
                interval: Duration::from_millis(self.ping_ms()),
                timeout: Duration::from_millis(self.ping_timeout_ms()),
                rise: 2,
                fall: PING_FALL,
            },
            scripts: self.script.map(|_| self.script()).into_iter().collect(),
            watches: Vec::new(),
            grace: Duration::from_secs(1),
            claim_without_gate: false,
            watchdog: false,
            guards: self.guards(),
        }
    }

    /// The domain of an instance.
    pub fn place_of(&self, instance: InstanceId) -> usize {
        usize::from(instance.0) % self.domains.max(1)
    }

    /// The priority of an agent for a domain: the second domain's best is the first one's worst.
    pub fn priority(&self, host: usize, place: usize) -> u8 {
        let count = self.agents;
        let at = if place == 0 { host } else { count - 1 - host };
        self.priorities.get(at).copied().unwrap_or(100)
    }

    /// What a router of another cluster says that has our VRID.
    pub fn foreign_advertisement(&self, priority: u8) -> Advertisement {
        Advertisement {
            version: VrrpVersion::V3,
            vrid: VRID,
            priority: Priority(priority),
            advert_int: Duration::from_millis(self.advert_ms),
            addresses: vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 200))],
            auth: Auth::None,
        }
    }

    fn instance(&self, host: usize, variant: Variant, place: usize) -> InstanceSettings {
        let number = u8::try_from(place).unwrap_or(0);
        InstanceSettings {
            name: format!("vr{place}"),
            interface: InterfaceId(0),
            vrid: Vrid::new(51 + number).unwrap_or(VRID),
            version: VrrpVersion::V3,
            ipv6: false,
            priority: Priority(match variant {
                Variant::OtherPriority => 255 - self.priority(host, place),
                Variant::Usual
                | Variant::OtherDigest
                | Variant::OtherAddresses
                | Variant::OtherRouters
                | Variant::FewerDomains
                | Variant::OtherPolicy => self.priority(host, place),
            }),
            advert_int: Duration::from_millis(self.advert_ms),
            preempt: self.preempt,
            preempt_delay: Duration::from_millis(self.preempt_delay_ms),
            addresses: match variant {
                Variant::OtherAddresses => vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 150 + number))],
                _ => vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100 + number))],
            },
            auth_pass: None,
            auth_type: AuthType::Pass,
            hmac: None,
            unicast_peers: None,
            election: ElectionOptions::default(),
            reception: Reception::default(),
            track: Vec::new(),
            announce: AnnounceSettings::default(),
            track_others: self
                .script
                .map(|weight| Track { tracker: Tracker::Script(ScriptId(0)), weight, reverse: false })
                .into_iter()
                .collect(),
        }
    }

    fn script(&self) -> ScriptSettings {
        let interval = Duration::from_millis(250 * self.pace);
        let (rise, fall, init_fail) = (2, 2, false);
        ScriptSettings { name: "script".into(), interval, timeout: interval, rise, fall, init_fail }
    }

    /// How long the script may run, in nanoseconds.
    pub fn script_timeout(&self) -> u64 {
        nanos(self.script().timeout)
    }

    /// What a witness is told.
    pub fn voter(&self, which: (Variant, usize), incarnation: Incarnation) -> VoterSettings {
        let candidates: BTreeSet<NodeId> = (0..self.agents).map(Self::node).collect();
        VoterSettings::new(Self::cluster(), &self.quorum(which), candidates, incarnation)
    }

    /// What an agent's register is told, where a store is the authority.
    pub fn register(&self, host: usize, which: (Variant, usize), incarnation: Incarnation) -> Option<RegisterSettings> {
        let quorum = (self.mode == Mode::Store).then(|| self.quorum(which))?;
        Some(RegisterSettings {
            cluster: Self::cluster(),
            digest: self.digest(which),
            me: (Self::node(host), incarnation),
            lease_max: quorum.timing.lease_max,
            sessions: self.sessions,
            generation: Generation { number: 1, serves: 1, set: set_digest(Self::cluster(), &quorum) },
            domains: (0..self.domains).map(Self::domain).collect(),
            guards: self.guards(),
        })
    }

    /// How long whatever was granted lasts at most, by the slowest clock, and the last frame with it. In nanoseconds.
    pub fn longest_lease(&self) -> u64 {
        let longest = nanos(self.timing.lease_max + self.timing.transmit);
        longest.saturating_mul(1_000_000) / 1_000_000_u64.saturating_sub(u64::from(self.timing.rate_error_ppm)).max(1)
    }

    /// A guardian's farewell in the name of its dead worker.
    pub fn release(
        &self,
        which: (Variant, usize),
        place: usize,
        epoch: keepone_proto::id::Epoch,
        nonce: u64,
    ) -> Vec<u8> {
        let message = keepone_proto::wire::lease::Message::Release { epoch };
        let (cluster, digest, domain) = (Self::cluster(), self.digest(which), Self::domain(place));
        keepone_proto::wire::lease::Envelope { cluster, digest, domain, nonce, message }.emit()
    }
}

/// Agents, witnesses, and whether the agents vote: whatever has a majority that survives one loss, and more.
fn draw_members(rng: &mut Rng) -> (usize, usize, bool) {
    let agents = *rng.pick(&[2, 2, 2, 3, 3, 4, 5]).unwrap_or(&2);
    let nodes_vote = rng.chance(600_000);
    let least = if nodes_vote { u64::from(agents == 2) } else { 1 };
    let witnesses = usize::try_from(rng.range(least, 3)).unwrap_or(1);
    (agents, witnesses, nodes_vote)
}

const FIRST: NodeId = match NodeId::new(1) {
    Some(id) => id,
    None => unreachable!(),
};
const VRID: Vrid = match Vrid::new(51) {
    Some(vrid) => vrid,
    None => unreachable!(),
};
