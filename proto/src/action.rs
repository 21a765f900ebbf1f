//! Everything that can go out. The driver carries actions out in the order given.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::decision::{Reason, Role};
use crate::id::{DomainId, Epoch, InstanceId, LinkId, NodeId, Priority, ReferenceId};
use crate::time::Instant;
use crate::wire::vrrp::Advertisement;

/// One deed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send an Advertisement on the instance's interface, to its group or its unicast peers.
    Advertise {
        /// Whose.
        instance: InstanceId,
        /// What. Priority 0 resigns and passes a shut gate.
        advertisement: Advertisement,
    },
    /// Tell the network where the domain's addresses live: `count` rounds of gratuitous ARP and
    /// unsolicited NA for every address of its instances.
    Announce {
        /// Which domain.
        domain: DomainId,
        /// Rounds.
        count: u8,
    },
    /// Send a heartbeat now.
    SendBeat {
        /// Over this link.
        link: LinkId,
        /// To this peer.
        to: NodeId,
        /// A [`crate::wire::heartbeat::Beat`], at most 1162 bytes.
        bytes: Vec<u8>,
    },
    /// Send a lease message to a member: on every link to a peer, on the one connection to a witness.
    /// Never to ourselves.
    SendLease {
        /// To whom.
        to: NodeId,
        /// A [`crate::wire::lease::Envelope`].
        bytes: Vec<u8>,
    },
    /// Let frames for the domain's addresses pass until `until`, under `epoch`; answer with
    /// [`crate::event::Event::GateWritten`]. Also moves the deadline of an open gate.
    OpenGate {
        /// Which domain.
        domain: DomainId,
        /// Under which epoch (R9).
        epoch: Epoch,
        /// Absolute, on this node's boot clock.
        until: Instant,
    },
    /// Tombstone: shut, and never open again under `epoch` (R9); answer with
    /// [`crate::event::Event::GateWritten`] once it has been read back.
    ShutGate {
        /// Which domain.
        domain: DomainId,
        /// The epoch that ends here.
        epoch: Epoch,
    },
    /// Put the domain's addresses into the kernel; answer with [`crate::event::Event::AddressesDone`].
    AddAddresses {
        /// Which domain.
        domain: DomainId,
        /// Under which epoch.
        epoch: Epoch,
        /// Their `valid_lft`, whole seconds, at least 1; renewed by repeating the action.
        lifetime_s: u32,
    },
    /// Take them out; answer with [`crate::event::Event::AddressesDone`]. Absent ones are no error.
    RemoveAddresses {
        /// Which domain.
        domain: DomainId,
        /// The epoch that ends here.
        epoch: Epoch,
    },
    /// Run the gate's self-test; answer with [`crate::event::Event::GateTest`].
    TestGate,
    /// Read the rate at which the kernel runs this node's boot clock; answer with
    /// [`crate::event::Event::ClockState`], or not at all while it is as last told.
    ReadClock,
    /// Ping a reference once; answer with [`crate::event::Event::Pinged`].
    Ping {
        /// Which one.
        reference: ReferenceId,
    },
    /// Ping a gateway once from a virtual address and once from our own (D9); answer with
    /// [`crate::event::Event::Mirrored`].
    Mirror {
        /// Which domain.
        domain: DomainId,
        /// Which of its tests: a place in [`crate::settings::DomainSettings::mirrors`].
        place: u8,
    },
    /// Ask the network who else has an address, without claiming it (RFC 5227, 2.1.1; RFC 4862, 5.4.3). Whoever
    /// does answers with what is an [`crate::event::Event::ForeignClaim`] here.
    ProbeAddress {
        /// Whose.
        domain: DomainId,
        /// Which.
        address: IpAddr,
    },
    /// Write the voter's record and fsync it (V6); answer with [`crate::event::Event::Persisted`].
    Persist {
        /// To name in the answer.
        ticket: u64,
        /// The whole of the voter's durable state; replaces the last.
        bytes: Vec<u8>,
    },
    /// Run the fence command against a former holder, beside the decision (R15); answer with
    /// [`crate::event::Event::Fenced`].
    Fence {
        /// What is to be taken over.
        domain: DomainId,
        /// Who is to be made harmless.
        victim: NodeId,
        /// The epoch of the grant under which this node shoots.
        epoch: Epoch,
        /// The epoch under which the victim held, if it is known.
        held: Option<Epoch>,
    },
    /// The node is harmless right now: feed the hardware watchdog once.
    FeedWatchdog,
    /// The node can't let go: restart the machine at once, without a sync.
    Reboot {
        /// What can't be done, for the last line of the log.
        why: String,
    },
    /// A domain changed its role: log, notify scripts, mail, metrics.
    Transition(Transition),
    /// A condition that an operator should know of began or ended.
    Alert(Alert),
    /// All is given up; the process may end.
    Stopped,
}

/// The record of one change of role: the same feeds log, `why`, notify, mail and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Which domain.
    pub domain: DomainId,
    /// From.
    pub from: Role,
    /// To.
    pub to: Role,
    /// The row of the decision table that did it.
    pub reason: Reason,
    /// The evidence in words: what was seen, with numbers.
    pub evidence: String,
    /// The epoch held after the change, if any.
    pub epoch: Option<Epoch>,
    /// The domain's priority as it stands.
    pub priority: Priority,
    /// When, on this node's boot clock.
    pub at: Instant,
}

/// The begin or the end of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Which.
    pub name: AlertName,
    /// Where it concerns one domain.
    pub domain: Option<DomainId>,
    /// `true`: it began.
    pub raised: bool,
    /// What was seen.
    pub evidence: String,
}

/// The names of alerts, stable for scripts and dashboards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertName {
    /// Advertisements are silent while a heartbeat link shows the peer MASTER (D1, S17).
    VrrpSilent,
    /// A heartbeat link to a peer is down while another lives.
    LinkDown,
    /// A peer is silent on every link.
    PeerSilent,
    /// No peer and no reference can be reached from here (D2).
    Isolated,
    /// Fewer references answer than are needed.
    ReferencesLost,
    /// Claimed while the peers were silent, with no authority to ask (D3).
    ClaimedUnarbitrated,
    /// No majority of voters answers (D4).
    AuthorityUnreachable,
    /// The lease ran out (D4, D5).
    LeaseLost,
    /// Two holders were seen (D7).
    DualMaster,
    /// A peer that claims MASTER does not hear us (D8).
    DeafPeer,
    /// The gate's self-test failed, or there is no gate (R14).
    GateBroken,
    /// A member speaks with another configuration digest (V9, S17).
    ConfigMismatch,
    /// The voter could not write its record (V6).
    VoterDisk,
    /// The addresses could not be set or removed.
    AddressFailed,
    /// A voter's answers can't be true: its clock went backwards, or an older life of it came back (R17).
    VoterAmnesia,
    /// The authority is silent, and the domain is held on promises of the other candidates (D4, `degrade`).
    Degraded,
    /// The operator accepts two Masters while the authority is silent: it stands for ever (D4).
    DualMasterAccepted,
    /// A peer that is silent here is heard, as Master, by a third node (D3).
    PeerSeenElsewhere,
    /// The gateway's answers reach our own address and not the virtual one: somebody else has it (D9).
    MirrorLost,
    /// A clock is beyond what the lease assumes: a wrong rate, a hidden freeze, a restored snapshot (T1, rho, H).
    ClockAssumptionViolated,
    /// Two agents speak with one identity: a cloned node, or a copied key (F62).
    DuplicateNode,
    /// The fence command failed: nothing is taken over until it succeeds, or the victim is heard again.
    FenceFailed,
    /// This node can't let go of a domain and restarts itself.
    SelfReboot,
}

impl AlertName {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertName::VrrpSilent => "vrrp-silent",
            AlertName::LinkDown => "link-down",
            AlertName::PeerSilent => "peer-silent",
            AlertName::Isolated => "isolated",
            AlertName::ReferencesLost => "references-lost",
            AlertName::ClaimedUnarbitrated => "claimed-unarbitrated",
            AlertName::AuthorityUnreachable => "authority-unreachable",
            AlertName::LeaseLost => "lease-lost",
            AlertName::DualMaster => "dual-master",
            AlertName::DeafPeer => "deaf-peer",
            AlertName::GateBroken => "gate-broken",
            AlertName::ConfigMismatch => "config-mismatch",
            AlertName::VoterDisk => "voter-disk",
            AlertName::AddressFailed => "address-failed",
            AlertName::VoterAmnesia => "voter-amnesia",
            AlertName::Degraded => "degraded",
            AlertName::DualMasterAccepted => "dual-master-accepted",
            AlertName::PeerSeenElsewhere => "peer-seen-elsewhere",
            AlertName::MirrorLost => "mirror-lost",
            AlertName::ClockAssumptionViolated => "clock-assumption-violated",
            AlertName::DuplicateNode => "duplicate-node",
            AlertName::FenceFailed => "fence-failed",
            AlertName::SelfReboot => "self-reboot",
        }
    }
}
