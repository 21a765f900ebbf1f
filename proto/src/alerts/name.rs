//! The closed list of alerts: one row each, and nothing else anywhere says what an alert is called, how bad it
//! is, how soon it is said, what it means or what to do about it.
//!
//! Names are stable for scripts and dashboards. `docs/alerts.md` holds the same rows for the operator; a test
//! compares the two, so a new alert is a new row here and a new row there.

use core::time::Duration;

/// How much an operator should mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is lost.
    Notice,
    /// A protection is gone or a node is wrongly set up; the addresses are served.
    Warning,
    /// The addresses are not served, or not by one node alone, or may soon be so: look now.
    Critical,
}

impl Severity {
    /// `notice`, `warning` or `critical`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// How long a condition has to last until it is said, and to be gone until its end is said.
///
/// What comes and goes faster is folded into one alert ([`super::Alerts`]). Where an operator could act within
/// the second, or where the begin is itself the event (two holders, a lost lease), nothing is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damping {
    /// Milliseconds of presence before the alert is raised; 0: at once.
    pub raise_ms: u32,
    /// Milliseconds of absence before it is over, doubled with each return; 0: at once, and never doubled.
    pub clear_ms: u32,
}

impl Damping {
    const AT_ONCE: Damping = Damping { raise_ms: 0, clear_ms: 0 };
    /// Said at once; over once it has been gone for a second.
    const LINGERS: Damping = Damping { raise_ms: 0, clear_ms: 1000 };
    /// Waits out what a heal, a wake-up or a start leaves for some beats.
    const PATIENT: Damping = Damping { raise_ms: 500, clear_ms: 1000 };

    /// Presence before the alert is raised.
    pub fn raise_after(self) -> Duration {
        Duration::from_millis(self.raise_ms.into())
    }

    /// Absence before it is over.
    pub fn clear_after(self) -> Duration {
        Duration::from_millis(self.clear_ms.into())
    }
}

/// Rows of the table: the variant, its stable name, severity, damping, meaning and remedy.
macro_rules! alerts {
    ($($variant:ident, $name:literal, $severity:ident, $damping:ident, $what:literal, $remedy:literal;)*) => {
        /// The names of alerts, stable for scripts and dashboards.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum AlertName {
            $(#[doc = $what] $variant,)*
        }

        impl AlertName {
            /// All of them, in the order of the table.
            pub const ALL: &'static [AlertName] = &[$(AlertName::$variant,)*];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(AlertName::$variant => $name,)* }
            }

            /// How much it matters.
            pub fn severity(self) -> Severity {
                match self { $(AlertName::$variant => Severity::$severity,)* }
            }

            /// How soon it is said, and how soon its end.
            pub fn damping(self) -> Damping {
                match self { $(AlertName::$variant => Damping::$damping,)* }
            }

            /// What it means, in one sentence.
            pub fn what(self) -> &'static str {
                match self { $(AlertName::$variant => $what,)* }
            }

            /// What to do in general; an alert may carry a more exact remedy ([`crate::action::Alert::remedy`]).
            pub fn remedy(self) -> &'static str {
                match self { $(AlertName::$variant => $remedy,)* }
            }
        }
    };
}

alerts! {
    DualMaster, "dual-master", Critical, AT_ONCE,
        "Two holders of the addresses were seen (D7).",
        "restore the paths between the nodes; configure an arbiter, which makes this impossible between members";
    LeaseLost, "lease-lost", Critical, AT_ONCE,
        "The lease ran out while this node held the addresses: its gate is shut (D4, D5).",
        "find why no majority of the voters answered in time: paths to the arbiter, its load, its clock";
    SelfDemoted, "self-demoted", Critical, DEMOTED,
        "This node gave the mastership up by itself, because it may not or cannot hold it any more.",
        "the evidence names the reason; mend that, and see that another node has taken over";
    Isolated, "isolated", Critical, LINGERS,
        "This node reaches neither a peer nor a reference: it takes itself for the broken side (D2).",
        "look at this node's own links, switch ports and routes first";
    ClaimedUnarbitrated, "claimed-unarbitrated", Critical, AT_ONCE,
        "This node holds the addresses while its peers are silent, and there is no arbiter to ask (D3).",
        "make sure that the peers are down, or restore a path to them; configure an arbiter";
    ArbiterUnreachable, "arbiter-unreachable", Critical, HASTY,
        "No majority of the voters answers (D4).",
        "check that the witness, or etcd, runs and that UDP to the one, TCP to the other passes in both directions";
    VoterSilent, "voter-silent", Warning, SLOW,
        "A voter does not answer this node: once another one is missing there may be no majority.",
        "see whether the witness in the evidence runs, and whether UDP passes to it and back (`keepone-witness status`)";
    AllHeartbeatsDown, "all-heartbeats-down", Critical, HASTY,
        "A peer is silent on every heartbeat link.",
        "is the peer up and its agent running? If so, look at the links' interfaces and at firewalls on UDP";
    HeartbeatLinkDown, "heartbeat-link-down", Warning, PATIENT,
        "A heartbeat link to a peer is down while another lives.",
        "check cable, switch port, interface and firewall (UDP, the link's port, both directions)";
    VrrpSilent, "vrrp-silent", Warning, PATIENT,
        "No Advertisement comes from the MASTER, while heartbeats show that it lives (D1, S17).",
        "let IP protocol 112 pass between the nodes, in host firewalls and in switches (IGMP snooping, ACLs)";
    ConfigMismatch, "config-mismatch", Warning, PATIENT,
        "A member runs with another configuration than ours where both must be alike (V9, S17).",
        "make the configurations alike on all members, then restart the one that was wrong";
    PriorityClash, "priority-clash", Notice, PATIENT,
        "A peer has the same priority: the node's number decides between them.",
        "give each node a priority of its own, the highest to the one that is to hold the addresses";
    ForeignRouter, "foreign-router", Warning, PATIENT,
        "A router that is none of our peers speaks VRRP for our VRID or addresses on this segment (F56).",
        "give one of the two clusters another VRID, or separate them by VLAN";
    AddressClaimed, "address-claimed", Critical, LINGERS,
        "Another host says by ARP or NA that an address which this node holds is its own (D7, F55).",
        "find the hardware address in the switches' tables and take the address from that host";
    UnknownKey, "unknown-key", Warning, PATIENT,
        "A connection fails because a key is not the one that is listed (F62).",
        "compare the member's public key in the lists of both sides with the key that it runs with";
    DeafPeer, "deaf-peer", Warning, LINGERS,
        "A peer that claims MASTER does not hear us (D8).",
        "look for a firewall or a broken transmit path in the direction from this node to the peer";
    ReferencesLost, "references-lost", Warning, LINGERS,
        "Fewer references answer than are needed.",
        "check the path to the reference addresses, and that they still exist and answer ICMP echo";
    TrackerFailed, "tracker-failed", Warning, LINGERS,
        "A tracked script, file, process, BFD session or virtual server fails: the domain is in FAULT here, or its priority is another one.",
        "see to what the evidence names: run a script by hand as its user, look into the file, start the processes, ask \
         the neighbour for its side of the session";
    GateBroken, "gate-broken", Critical, LINGERS,
        "The gate's self-test failed, or there is no gate: this node may not hold the addresses (R14).",
        "look who takes off or replaces BPF programs or nftables rules of the gate, and at the agent's capabilities";
    AddressFailed, "address-failed", Critical, LINGERS,
        "The kernel did not take a change of the addresses.",
        "the evidence holds the kernel's answer: interface gone, address in use, or no CAP_NET_ADMIN";
    RouteFailed, "route-failed", Warning, LINGERS,
        "A route or a routing rule of the configuration is not there, or could not be removed.",
        "the evidence names it, with the kernel's answer: is its gateway on a network of this node, its interface up?";
    ServersChangedByOthers, "servers-changed-by-others", Warning, LINGERS,
        "Somebody else changed virtual or real servers of ours in the kernel's table; it was put right, and may come again.",
        "find what else sets the table (ipvsadm, a second balancer, a script); what is wanted belongs into the configuration";
    Degraded, "degraded", Warning, LINGERS,
        "The authority is silent, and the domain is held on promises of the other candidates (D4, `degrade`).",
        "bring the arbiter back: until then a further failure may leave the addresses unserved";
    DualMasterAccepted, "dual-master-accepted", Critical, AT_ONCE,
        "The operator accepts two Masters while the authority is silent: it stands for ever (D4).",
        "take the policy i-accept-dual-master out of the configuration, unless two holders are really wanted";
    PeerSeenElsewhere, "peer-seen-elsewhere", Warning, LINGERS,
        "A peer that is silent here is heard, as Master, by a third node (D3).",
        "it lives: look at the paths between this node and the peer";
    MirrorLost, "mirror-lost", Critical, LINGERS,
        "The gateway's answers reach our own address and not the virtual one: somebody else has it (D9).",
        "look into the gateway's neighbour table for the virtual address, and find the host with that hardware address";
    ClockAssumptionViolated, "clock-assumption-violated", Critical, AT_ONCE,
        "A clock is beyond what the lease assumes: a wrong rate, a hidden freeze, a restored snapshot (T1, rho, H).",
        "the evidence names clock and host: mend its time source, or give the virtual machines the VM profile";
    DuplicateNode, "duplicate-node", Critical, AT_ONCE,
        "Two agents speak with one identity: a cloned node, or a copied key (F62).",
        "stop one of them, and give it an identity and a key of its own (`keepone keys`)";
    TransmitQueue, "transmit-queue", Critical, PATIENT,
        "Frames wait behind the gate for longer than E_tx: the last of them leave when the next holder is there (F33).",
        "bound the interface's queue (fq_codel, a shorter one), or set `transmit` to what frames really wait";
    FenceFailed, "fence-failed", Critical, AT_ONCE,
        "The fence command failed: nothing is taken over until it succeeds, or the victim is heard again.",
        "run the fence command by hand as its user, and make sure that the victim is off";
    SelfReboot, "self-reboot", Critical, AT_ONCE,
        "This node can't let go of a domain and restarts itself.",
        "look in the kernel's log for what kept the gate or the addresses from being changed";
    VoterDisk, "voter-disk", Warning, LINGERS,
        "A voter can't write its record, and grants nothing new (V6).",
        "make room on the disk of state_dir, or mend its permissions";
    VoterSetUnproven, "voter-set-unproven", Critical, LINGERS,
        "No voter's record bears out this generation of the voter set: no grant is asked for (V9).",
        "change one voter at a time, each time with the next generation and with former_voters; for a new cluster set generation = 1; where no voter answers start one first: until then not even i-accept-dual-master claims";
    VoterRefuses, "voter-refuses", Warning, LINGERS,
        "A voter refuses this node for what waiting does not mend: its name, its key, how much it asks, or an order.",
        "the evidence names the voter and the reason: compare its configuration with this node's, and read its log";
    VoterAmnesia, "voter-amnesia", Critical, AT_ONCE,
        "A voter's answers can't be true: its clock went backwards, or an older life of it came back (R17).",
        "was the voter's machine restored from a snapshot, or cloned? Run one of it, with a state of its own";
    NotifyBehind, "notify-behind", Warning, LINGERS,
        "Who is told of changes of state (a reader of a FIFO, notify scripts, mail, a webhook) does not keep up: the oldest were dropped.",
        "see that the FIFO's reader runs and reads, that scripts end soon, and that the relay and webhooks take what they are told; then read the present states from the log";
}

impl Damping {
    /// Severe enough to be said within the time of a lease; longer than a heal's disorder.
    const HASTY: Damping = Damping { raise_ms: 200, clear_ms: 1000 };
    /// Nothing is lost yet, and who is only restarted is back by then.
    const SLOW: Damping = Damping { raise_ms: 1000, clear_ms: 1000 };
    /// The deed is a moment; it is shown long enough to be seen.
    const DEMOTED: Damping = Damping { raise_ms: 0, clear_ms: 5000 };
}
