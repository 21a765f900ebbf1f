//! What a node is told at its start: value types only, made by the agent from the configuration.

mod authority;
mod election;

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::guard::Guards;
use crate::id::{ClusterId, ConfigDigest, DomainId, InterfaceId, LinkId, NodeId, Priority, ScriptId, Vrid, WatchId};
use crate::time::Instant;
use crate::wire::vrrp::hmac::Key;
pub use authority::{Authority, Move, QuorumSettings, majority_of};
pub use election::{ElectionOptions, LinkDelays, Reception};

/// Everything that [`crate::node::Node`] knows before the first event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Settings {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// What the operator calls the members and links, for texts only: nothing is decided by a name.
    pub names: Names,
    /// What all voters must agree on (V9).
    pub digest: ConfigDigest,
    /// Seed of the back-off jitter (R13); any number, different on each node.
    pub seed: u64,
    /// Period and misses of the heartbeat.
    pub heartbeat: HeartbeatSettings,
    /// The other agents, and the links on which each is reached.
    pub peers: Vec<PeerSettings>,
    /// Instances begin no sooner, and hear nothing until then (`vrrp_startup_delay`, `vrrp_delay_after_boot`); `None`:
    /// at once. Of a start alone: another in an [`crate::event::Event::Reconfigure`] means nothing.
    #[cfg_attr(feature = "serde", serde(default))]
    pub begin_at: Option<Instant>,
    /// Interfaces that instances live on or track.
    pub interfaces: Vec<InterfaceSettings>,
    /// All virtual routers.
    pub instances: Vec<InstanceSettings>,
    /// All fencing domains; each instance is in exactly one.
    pub domains: Vec<DomainSettings>,
    /// Reference addresses.
    pub references: ReferenceSettings,
    /// Scripts that instances track.
    #[cfg_attr(feature = "serde", serde(default))]
    pub scripts: Vec<ScriptSettings>,
    /// Files, processes and BFD sessions that instances track.
    #[cfg_attr(feature = "serde", serde(default))]
    pub watches: Vec<WatchSettings>,
    /// How long addresses stay after a lapse (R5); zero and up, 1 s by default.
    pub grace: Duration,
    /// With an authority but a gate that can't hold it (means 3, `weak`, or none): claim all the same?
    /// Off unless the operator says so (R14).
    pub claim_without_gate: bool,
    /// Whether a hardware watchdog is to be fed ([`crate::action::Action::FeedWatchdog`]).
    pub watchdog: bool,
    /// Which guards are on; all of them but in the simulator's ablations.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub guards: Guards,
}

/// A node of more domains than this has deadlines all the time.
const MANY: usize = 16;

impl Settings {
    /// Whether what is due for several domains is better done together, for the sake of the processor.
    pub fn has_many_domains(&self) -> bool {
        self.domains.len() > MANY
    }

    /// The authority of the domains that have one: the same for all of them.
    pub fn quorum(&self) -> Option<&QuorumSettings> {
        self.domains.iter().find_map(|domain| match &domain.authority {
            Authority::Quorum(quorum) => Some(quorum),
            Authority::None => None,
        })
    }
}

/// What the operator calls the members and the links. One without a name goes by its number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Names {
    /// Of the members, witnesses included.
    pub nodes: BTreeMap<NodeId, String>,
    /// Of the heartbeat links.
    pub links: BTreeMap<LinkId, String>,
}

impl Names {
    /// A member's name, or `node 2`.
    pub fn node(&self, id: NodeId) -> Cow<'_, str> {
        match self.nodes.get(&id) {
            Some(name) => Cow::Borrowed(name.as_str()),
            // A peer may ask it although this node does not.
            None if id == NodeId::STORE => Cow::Borrowed("etcd"),
            None => Cow::Owned(format!("node {id}")),
        }
    }

    /// A link's name, or `link0`.
    pub fn link(&self, id: LinkId) -> Cow<'_, str> {
        self.links.get(&id).map_or_else(|| Cow::Owned(format!("{id:?}")), |name| Cow::Borrowed(name.as_str()))
    }
}

/// Period and misses (safety.md T: h, m).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HeartbeatSettings {
    /// h: one beat on each link and to each peer, 100 ms by default.
    pub period: Duration,
    /// m: a peer that is silent for m·h on all links is silent, 3 by default.
    pub misses: u32,
}

impl HeartbeatSettings {
    /// m·h, after which a silent peer counts as silent.
    pub fn silence(&self) -> Duration {
        self.period.saturating_mul(self.misses)
    }

    /// The same where Advertisements are all that a peer has to go by: `adverts` is for how long it certainly waits on
    /// after we fell silent.
    pub(crate) fn or_adverts(self, adverts: Option<Duration>) -> Self {
        let adverts = adverts.unwrap_or_default();
        if adverts <= self.silence() { self } else { HeartbeatSettings { period: adverts / 2, misses: 2 } }
    }
}

/// Another agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PeerSettings {
    /// Its id.
    pub node: NodeId,
    /// The links to it, at least one.
    pub links: Vec<LinkId>,
}

/// A network interface by name; the agent finds the index.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct InterfaceSettings {
    /// The kernel's name for it.
    pub name: String,
    /// How long a change of its link must last until it counts.
    #[cfg_attr(feature = "serde", serde(default))]
    pub delays: LinkDelays,
}

/// One virtual router.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct InstanceSettings {
    /// The operator's name for it.
    pub name: String,
    /// Where it advertises.
    pub interface: InterfaceId,
    /// Its VRID.
    pub vrid: Vrid,
    /// VRRP version of its Advertisements.
    pub version: VrrpVersion,
    /// Whether they travel over IPv6 (then the version is 3).
    pub ipv6: bool,
    /// Base priority, 1..=255.
    pub priority: Priority,
    /// Advertisement_Interval (v3: 10 ms to 40.95 s; v2: whole seconds, 1 to 255).
    pub advert_int: Duration,
    /// Preempt_Mode.
    pub preempt: bool,
    /// How long a lower Master is tolerated before it is preempted, 0 s to 1000 s.
    pub preempt_delay: Duration,
    /// The addresses that Advertisements carry, in the configured order.
    pub addresses: Vec<IpAddr>,
    /// Password of VRRPv2's authentication, padded with zeros; `None` is no authentication.
    pub auth_pass: Option<[u8; 8]>,
    /// How the password is used; without meaning when there is none.
    #[cfg_attr(feature = "serde", serde(default))]
    pub auth_type: AuthType,
    /// Advertisements that are signed, in either version.
    #[cfg_attr(feature = "serde", serde(default))]
    pub hmac: Option<HmacSettings>,
    /// `Some`: unicast to these instead of multicast.
    pub unicast_peers: Option<Vec<IpAddr>>,
    /// How it stands for election, beyond the RFC.
    #[cfg_attr(feature = "serde", serde(default))]
    pub election: ElectionOptions,
    /// Whom it listens to.
    #[cfg_attr(feature = "serde", serde(default))]
    pub reception: Reception,
    /// Interfaces whose loss is a fault (no weight), or moves the priority by the weight.
    pub track: Vec<TrackInterface>,
    /// All else whose failure is a fault (no weight), or moves the priority by the weight.
    #[cfg_attr(feature = "serde", serde(default))]
    pub track_others: Vec<Track>,
    /// Announcements of its addresses.
    #[cfg_attr(feature = "serde", serde(default))]
    pub announce: AnnounceSettings,
}

/// How VRRPv2's password is used. RFC 2338, 5.3.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AuthType {
    /// It stands in each Advertisement, in clear.
    #[default]
    Pass,
    /// It is the key of an IP Authentication Header.
    Ah,
}

/// `auth_hmac`: Advertisements signed with HMAC-SHA256, see [`crate::wire::vrrp::hmac`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HmacSettings {
    /// Whatever one of these has signed is heard: several while keys are changed. Numbers from 1.
    pub keys: Vec<(u8, Key)>,
    /// The number of the one that signs ours; it is there.
    pub active_key: u8,
    /// What becomes of Advertisements that are not signed.
    pub mode: HmacMode,
    /// Within what both wall clocks should agree, 1 s to 300 s (`anti_replay time`); `None`: they are not looked at.
    pub window: Option<Duration>,
}

impl HmacSettings {
    /// Number and key that sign ours, if they are to be signed.
    pub fn signs_with(&self) -> Option<(u8, &Key)> {
        let (number, key) = self.keys.iter().find(|(number, _)| *number == self.active_key)?;
        (self.mode != HmacMode::ReceiveOnly).then_some((*number, key))
    }
}

/// `mode` of `auth_hmac`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum HmacMode {
    /// Unsigned ones are discarded.
    #[default]
    Enforce,
    /// Unsigned ones are heard, and ours are signed.
    Permissive,
    /// Unsigned ones are heard, and ours are not signed.
    ReceiveOnly,
}

/// `track_interface`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrackInterface {
    /// Which one.
    pub interface: InterfaceId,
    /// 0: its loss is a FAULT. Above 0: added to the priority while it is up; below 0: while it is down. -253..=253.
    pub weight: i16,
    /// Without a weight: its loss is good and its link a FAULT. With one: what would be added is taken away.
    pub reverse: bool,
}

/// What a `track_script`, `track_file`, `track_process`, `track_bfd` or `track_virtual_server` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Tracker {
    /// A script, which the core asks for.
    Script(ScriptId),
    /// What a thread of the shell watches and tells by itself.
    Watch(WatchId),
}

/// A line of `track_script`, `track_file`, `track_process`, `track_bfd` or `track_virtual_server`: what it does is in
/// [`crate::track`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Track {
    /// Which one.
    pub tracker: Tracker,
    /// 0: its failure is a FAULT. Above 0: added to the priority while it is up; below 0: while it is down. A file's
    /// number is multiplied with it. -254..=254.
    pub weight: i16,
    /// Without a weight: its failure is good and its success bad. With one: what would be added is taken away.
    pub reverse: bool,
}

/// What is watched, for words and for what it means where it can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum WatchKind {
    /// A number in a file: `track_file`.
    File,
    /// How many processes run: `vrrp_track_process`.
    Process,
    /// A session with a neighbour: `bfd_instance`.
    Bfd,
    /// Static addresses, routes and rules: `track_group`.
    TrackGroup,
    /// The quorum of a virtual server: `track_virtual_server`.
    VirtualServer,
}

impl WatchKind {
    /// The configuration's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            WatchKind::File => "track_file",
            WatchKind::Process => "track_process",
            WatchKind::Bfd => "track_bfd",
            WatchKind::TrackGroup => "track_group",
            WatchKind::VirtualServer => "track_virtual_server",
        }
    }
}

/// Something that a thread of the shell watches. What, and how, is the shell's affair.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WatchSettings {
    /// What it is.
    pub kind: WatchKind,
    /// The operator's name for it.
    pub name: String,
    /// How long it must be up until it is believed (`fork_delay`), zero and up.
    pub up_delay: Duration,
    /// How long it must be down until it is believed (`terminate_delay`), zero and up.
    pub down_delay: Duration,
}

/// A script that is run again and again, `vrrp_script`. What it runs, and as whom, is the shell's affair.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ScriptSettings {
    /// The operator's name for it.
    pub name: String,
    /// From the begin of one run to that of the next, 1 ms and up.
    pub interval: Duration,
    /// When the shell kills it; that is a failure.
    pub timeout: Duration,
    /// Successes in a row until it passes again, at least 1.
    pub rise: u32,
    /// Failures in a row until it fails, at least 1.
    pub fall: u32,
    /// It begins as one that fails, instead of as one that nothing is known of.
    pub init_fail: bool,
}

/// Version of a virtual router's Advertisements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum VrrpVersion {
    /// RFC 3768.
    V2,
    /// RFC 9568.
    V3,
}

/// A fencing domain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DomainSettings {
    /// Hash of the name.
    pub id: DomainId,
    /// The sync group's or the instance's name.
    pub name: String,
    /// Its instances: places in [`Settings::instances`].
    pub instances: Vec<crate::id::InstanceId>,
    /// The families of its virtual addresses: which references judge it (D2).
    pub families: Families,
    /// Who says yes or no.
    pub authority: Authority,
    /// What becomes of it while the authority does not answer (D4); of no account without one.
    pub policy: Policy,
    /// Which of its addresses are tested from the gateway's side (D9).
    pub mirrors: Vec<MirrorSettings>,
    /// The rings outside the gate; none by default.
    pub fencing: FencingSettings,
    /// A number for all that [`crate::action::Action::AddAddresses`] sets, which the core does not know: another one
    /// in an [`crate::event::Event::Reconfigure`] has it set anew.
    #[cfg_attr(feature = "serde", serde(default))]
    pub shape: u64,
    /// How many addresses it holds, advertised or not.
    #[cfg_attr(feature = "serde", serde(default))]
    pub held: u32,
}

/// What becomes of a domain while no majority of its authority answers (D4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Policy {
    /// Nobody claims, and a Master holds until its lease has run out.
    #[default]
    Strict,
    /// A Master holds on while all other candidates have promised not to claim.
    Degrade,
    /// As without an authority: two Masters are possible, and an alarm says so for ever.
    AcceptDualMaster,
}

impl Policy {
    /// The operator's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::Strict => "strict",
            Policy::Degrade => "degrade",
            Policy::AcceptDualMaster => "i-accept-dual-master",
        }
    }
}

/// A virtual address from which a Master pings a gateway (D9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MirrorSettings {
    /// The virtual address.
    pub address: IpAddr,
    /// The gateway, of the same family.
    pub gateway: IpAddr,
}

/// Address families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Families {
    /// IPv4 is among them.
    pub v4: bool,
    /// IPv6 is among them.
    pub v6: bool,
}

impl Families {
    /// Those of some addresses.
    pub fn of(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        addresses.into_iter().fold(Families::default(), |families, address| Families {
            v4: families.v4 || address.is_ipv4(),
            v6: families.v6 || address.is_ipv6(),
        })
    }

    /// Whether a family is among them.
    pub fn has(self, ipv6: bool) -> bool {
        if ipv6 { self.v6 } else { self.v4 }
    }
}

/// The rings outside the gate, for one domain (safety.md, The gate, 4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FencingSettings {
    /// A command that must succeed against a silent holder before this node takes over.
    pub command: Option<FenceSettings>,
    /// This node restarts itself when it can't let go for so long; `None`: never.
    pub reboot_after: Option<Duration>,
}

/// A fence command, as far as the core must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FenceSettings {
    /// When the shell kills it.
    pub timeout: Duration,
    /// How long after a failure this node does not claim, so that another can.
    pub retry: Duration,
}

/// Reference addresses (D2) and their hysteresis.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReferenceSettings {
    /// The addresses to ping; none configured: the rule is off.
    pub targets: Vec<IpAddr>,
    /// k, for each family by itself: how many of its targets must answer, at least 1. A family that has fewer
    /// needs all that it has.
    pub need: u16,
    /// Between two pings of one target.
    pub interval: Duration,
    /// How long an answer may take, at most `interval`.
    pub timeout: Duration,
    /// Answers in a row until a target is up.
    pub rise: u8,
    /// Losses in a row until it is down.
    pub fall: u8,
}

/// How often the network is told where the addresses of a virtual router live (D10).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AnnounceSettings {
    /// Rounds in the burst of a new Master, 5 by default (`garp_master_repeat`).
    pub burst: u8,
    /// Later rounds of one, counted from a burst: 50, 100, 200, 500 ms and 1, 2, 4 s by default. A burst is over in a
    /// millisecond, and a segment that is just coming back may lose all of it.
    pub again: Vec<Duration>,
    /// A second burst so long after the first (`garp_master_delay`).
    #[cfg_attr(feature = "serde", serde(default))]
    pub second: Option<Duration>,
    /// Rounds in the burst beside a router that advertises and should not (`garp_lower_prio_repeat`); 0: none.
    #[cfg_attr(feature = "serde", serde(default))]
    pub rival_burst: u8,
    /// A second one so long after that (`garp_lower_prio_delay`).
    #[cfg_attr(feature = "serde", serde(default))]
    pub rival_second: Option<Duration>,
    /// Again and again while Master.
    #[cfg_attr(feature = "serde", serde(default))]
    pub refresh: Option<Refresh>,
    /// A round on the interfaces that bear addresses and send no Advertisements, at this interval (`garp_extra_if`).
    #[cfg_attr(feature = "serde", serde(default))]
    pub elsewhere: Option<Duration>,
}

/// `garp_master_refresh` and `garp_master_refresh_repeat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Refresh {
    /// At this interval, 1 s and up.
    pub interval: Duration,
    /// So many rounds, at least 1.
    pub rounds: u8,
}

impl Default for AnnounceSettings {
    fn default() -> Self {
        AnnounceSettings {
            burst: 5,
            again: [50, 100, 200, 500, 1000, 2000, 4000].into_iter().map(Duration::from_millis).collect(),
            second: None,
            rival_burst: 5,
            rival_second: None,
            refresh: None,
            elsewhere: None,
        }
    }
}
