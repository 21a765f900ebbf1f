//! Everything that can come in. Each event goes to [`crate::node::Node::handle`] with the time at
//! which it was taken from its queue.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::id::{DomainId, Epoch, InterfaceId, LinkId, NodeId, ReferenceId, ScriptId, WatchId};
use crate::settings::Settings;
use crate::time::Instant;
use crate::watch::Reading;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Event {
    /// The deadline that [`crate::node::Node::next_deadline`] named has come (or nothing has).
    Tick,
    /// A VRRP packet (IP protocol 112).
    VrrpReceived {
        /// Where it came in.
        interface: InterfaceId,
        /// Source address of the IP header.
        source: IpAddr,
        /// Destination address of the IP header.
        destination: IpAddr,
        /// TTL or hop limit.
        hop_limit: u8,
        /// From the first octet of the VRRP header.
        #[cfg_attr(feature = "serde", serde(with = "crate::recording::hex"))]
        bytes: Vec<u8>,
    },
    /// A packet with an Authentication Header (IP protocol 51).
    AhReceived {
        /// Where it came in.
        interface: InterfaceId,
        /// From the first octet of the IPv4 header, which the header's check value covers.
        #[cfg_attr(feature = "serde", serde(with = "crate::recording::hex"))]
        packet: Vec<u8>,
    },
    /// The wall clock, where signatures are looked at with it: at the start, and when it was set.
    Utc {
        /// What it said, since 1970 in UTC, when the boot clock was at its start.
        at_boot: Duration,
    },
    /// A heartbeat, from a peer whose key has been proven.
    BeatReceived {
        /// The link it came over.
        link: LinkId,
        /// Who sent it.
        from: NodeId,
        /// A [`crate::wire::heartbeat::Beat`], or a [`crate::wire::profile::Profile`].
        #[cfg_attr(feature = "serde", serde(with = "crate::recording::hex"))]
        bytes: Vec<u8>,
    },
    /// A lease message, request or answer, from a member whose key has been proven.
    LeaseReceived {
        /// Who sent it.
        from: NodeId,
        /// What [`crate::wire::lease::unpack`] reads.
        #[cfg_attr(feature = "serde", serde(with = "crate::recording::hex"))]
        bytes: Vec<u8>,
    },
    /// An interface's state, at start and on each change.
    Interface {
        /// Which one.
        interface: InterfaceId,
        /// Present, administratively up and with carrier.
        up: bool,
        /// Its own addresses (not the virtual ones), primary first.
        addresses: Vec<IpAddr>,
    },
    /// The gate carried out what [`crate::action::Action::OpenGate`] or `ShutGate` asked, and has read it back.
    GateWritten {
        /// Which domain.
        domain: DomainId,
        /// The epoch that the action named.
        epoch: Epoch,
        /// The deadline that was written, until which it is open; `None`: shut.
        until: Option<Instant>,
        /// Why it failed, if it did.
        error: Option<String>,
    },
    /// The addresses of a domain are in the kernel, or gone from it.
    AddressesDone {
        /// Which domain.
        domain: DomainId,
        /// The epoch that the action named.
        epoch: Epoch,
        /// `true`: they are there; `false`: they are gone.
        present: bool,
        /// Why it failed, if it did.
        error: Option<String>,
    },
    /// Routes and rules of a domain, or of the agent, are not as they should be, or are again.
    RoutesSeen {
        /// Whose they are; `None`: those that are there as long as the agent.
        domain: Option<DomainId>,
        /// Which of them are not as they should be, and why; `None`: all are.
        error: Option<String>,
    },
    /// What somebody else has done to our virtual servers in the kernel's table since the look before.
    ServersSeen {
        /// In words; `None`: nothing.
        others: Option<String>,
    },
    /// What the gate is, and whether its last self-test passed (R14).
    GateTest {
        /// The number of the action that asked for it.
        number: u64,
        /// How well it holds.
        strength: GateStrength,
        /// Why the test failed; empty means that it passed.
        fault: String,
    },
    /// A reference's answer, or its absence.
    Pinged {
        /// Which one.
        reference: ReferenceId,
        /// The round trip; `None`: no answer within the timeout.
        rtt: Option<Duration>,
    },
    /// A tracked script has ended, could not be run, or was killed at its timeout.
    ScriptEnded {
        /// Which one.
        script: ScriptId,
        /// The number of the run that the action named.
        run: u64,
        /// How it failed; `None`: it exited with 0.
        fault: Option<String>,
    },
    /// What a watched file, set of processes or BFD session is now: told at the start, at each change, and again at
    /// least every [`crate::watch::RETELL`], so that a thread that hangs is missed.
    Watched {
        /// Which one.
        watch: WatchId,
        /// As it was found.
        reading: Reading,
    },
    /// How a mirror test ended (D9).
    Mirrored {
        /// Of which domain.
        domain: DomainId,
        /// Which of its tests.
        place: u8,
        /// Whether the gateway answered our own address.
        own: bool,
        /// Whether it answered the virtual one, and the answer came here.
        virtual_one: bool,
    },
    /// The record of [`crate::action::Action::Persist`] is on disk, or is not.
    Persisted {
        /// The ticket of the action, from 1. 0: nothing was to be written, the disk was only tried.
        ticket: u64,
        /// Why not.
        error: Option<String>,
    },
    /// Somebody else's ARP or NA for one of our virtual addresses (D7).
    ForeignClaim {
        /// Whose address it is.
        domain: DomainId,
        /// The sender's hardware address.
        mac: [u8; 6],
    },
    /// A connection was refused for its key: said again as long as it is tried.
    KeyRefused {
        /// The member that is dialed, or whose address it comes from, if that is known.
        node: Option<NodeId>,
        /// Its address.
        address: SocketAddr,
        /// `true`: the key there is not the one that we know; `false`: ours is refused there.
        theirs: bool,
    },
    /// How long a frame that has passed the gate waits in an interface's queue: at the start nowhere, told each
    /// second while it does, and once when it does no more (F33).
    QueueSeen {
        /// Where.
        interface: InterfaceId,
        /// At the rate at which the queue was emptied of late.
        wait: Duration,
    },
    /// Whoever is to be told of changes of state (a reader of a FIFO, notify scripts) does not keep up.
    ListenerBehind {
        /// Which, in words.
        who: String,
        /// How much it has missed so far; `None`: it has caught up.
        missed: Option<u64>,
    },
    /// What the kernel does to the rate of the boot clock: the answer to [`crate::action::Action::ReadClock`].
    ClockState(ClockState),
    /// The fence command of [`crate::action::Action::Fence`] has ended.
    Fenced {
        /// Of the action.
        domain: DomainId,
        /// Of the action.
        victim: NodeId,
        /// Why it failed; `None`: the victim is harmless.
        error: Option<String>,
    },
    /// Another configuration (SIGHUP). Whatever stays keeps its place in its list, so that its number means the same
    /// before and after; cluster, node, peers, authority and heartbeat are those of the start, whatever stands here.
    Reconfigure(Box<Settings>),
    /// The operator takes this node out, or back in: it gives up what it holds in good order and stands for nothing.
    Maintenance {
        /// Out.
        on: bool,
    },
    /// The operator wants a domain elsewhere (R8); nothing is done where [`crate::node::Node::heir`] says why not.
    HandOver {
        /// Which.
        domain: DomainId,
        /// Where.
        to: NodeId,
    },
    /// Give everything up in good order, then stop (SIGTERM; R8).
    Stop,
}

/// How the kernel disciplines this host's clocks (`adjtimex(2)`); `CLOCK_BOOTTIME` is slewed like the others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClockState {
    /// By how much it makes them run faster (or, below zero, slower) than the hardware, in parts per
    /// billion: tick length and frequency together. `None` where it can't be read.
    pub slew_ppb: Option<i64>,
    /// Why it can't be read.
    pub error: Option<String>,
}

/// How well the gate holds (safety.md, The gate).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum GateStrength {
    /// No gate at all.
    None,
    /// Means 3: address lifetimes, whole seconds, late by design. P1 is withdrawn.
    Weak,
    /// Means 1 or 2: the kernel refuses every frame from the deadline on.
    Strong,
}
