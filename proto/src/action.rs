//! Everything that can go out. The driver carries actions out in the order given.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

pub use crate::alerts::name::{AlertName, Severity};
use crate::decision::{Reason, Role};
use crate::id::{DomainId, Epoch, InstanceId, LinkId, NodeId, Priority, ReferenceId, ScriptId};
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
    /// Tell the network where addresses of the domain live: `count` rounds of gratuitous ARP and unsolicited NA. What
    /// of it waits when the gate is shut is not to be sent any more.
    Announce {
        /// Which domain.
        domain: DomainId,
        /// Those of this instance.
        instance: InstanceId,
        /// Rounds.
        count: u8,
        /// Which of them.
        which: Announced,
    },
    /// Send a heartbeat now.
    SendBeat {
        /// Over this link.
        link: LinkId,
        /// To this peer.
        to: NodeId,
        /// A [`crate::wire::heartbeat::Beat`] or a [`crate::wire::profile::Profile`], at most 1162 bytes.
        bytes: Vec<u8>,
    },
    /// Send a lease message to a member: on every link to a peer, on the one connection to a witness.
    /// Never to ourselves.
    SendLease {
        /// To whom.
        to: NodeId,
        /// What [`crate::wire::lease::unpack`] reads, at most 1162 octets.
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
    TestGate {
        /// To name in the answer; a claim waits for a test that was begun after it was decided (R14).
        number: u64,
    },
    /// Read the rate at which the kernel runs this node's boot clock; answer with
    /// [`crate::event::Event::ClockState`], or not at all while it is as last told.
    ReadClock,
    /// Ping a reference once; answer with [`crate::event::Event::Pinged`].
    Ping {
        /// Which one.
        reference: ReferenceId,
    },
    /// Run a tracked script once, and kill it at its timeout; answer with [`crate::event::Event::ScriptEnded`].
    RunScript {
        /// Which one.
        script: ScriptId,
        /// The number of the run, to name in the answer.
        run: u64,
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
    /// What is tracked has changed the effective priority of a virtual router: for whoever wants to hear of it.
    Priority {
        /// Of which domain.
        domain: DomainId,
        /// Which.
        instance: InstanceId,
        /// As it is now.
        priority: Priority,
        /// Whether the domain is held here.
        is_master: bool,
    },
    /// A Master has heard a router of lower priority advertise, which may have moved what is not keepone's to hold.
    /// Told twice in an interval at most.
    LowerSeen {
        /// Of which domain.
        domain: DomainId,
        /// Which virtual router.
        instance: InstanceId,
        /// Our own priority.
        priority: Priority,
    },
    /// A condition that an operator should know of began or ended.
    Alert(Alert),
    /// A domain that a new configuration has not, or has otherwise, is given up in good order: nothing of it is held,
    /// and its addresses need no gate. One of the same name may begin with the next action.
    Retired {
        /// Which.
        domain: DomainId,
    },
    /// All is given up; the process may end.
    Stopped,
}

/// Which addresses of an instance are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// All of them.
    All,
    /// One on each interface that bears some and sends no Advertisements: for the switches' tables (`garp_extra_if`).
    Elsewhere,
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
    /// Those of its virtual routers.
    pub routers: Vec<(InstanceId, Priority)>,
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
    /// What to do about it; empty when it is over.
    pub remedy: Cow<'static, str>,
    /// The epoch that the domain is held under, if this node holds it.
    pub epoch: Option<Epoch>,
}
