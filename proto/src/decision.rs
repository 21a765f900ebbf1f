//! The decision: one pure function from evidence to verdict, a table that a person reads in one sitting
//! (safety.md, The decision).
//!
//! Rows that take power away stand first. `Verdict::Master` holds a [`Grant`], which only a live lease
//! makes. The compiler checks the table: no `_ =>` row, and an unreachable row is an error.

use core::fmt;

use crate::lease::grant::{Backing, Grant};
use crate::lease::holder::Lease;
pub use crate::vrrp::output::Election;

/// Whether this node can serve, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It can.
    Healthy,
    /// An interface that it needs is down.
    InterfaceDown,
    /// What it tracks fails: a script, a file, processes, a BFD session.
    TrackerFails,
    /// Its clock is beyond what the lease assumes (T1).
    ClockOff,
    /// The gate can't hold what an authority would lend (R14).
    GateBroken,
    /// It is giving the domain up: stopping, handing over, or in maintenance.
    Leaving,
}

/// What the reference addresses say (D2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum References {
    /// There are none.
    Unconfigured,
    /// Enough answer.
    Reachable,
    /// Too few answer here, and a peer that is heard reports more.
    LostHere,
    /// Too few answer here, and no peer that is heard reports more.
    LostEverywhere,
}

/// What the heartbeats say of the other agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peers {
    /// There are none: VRRP alone decides.
    Absent,
    /// None is heard on any link.
    Silent,
    /// Some are heard, none is Master.
    NoMaster,
    /// None that is heard is Master, and no authority speaks; but one that is heard hears one that is (D3).
    SeenElsewhere,
    /// One that is heard is Master.
    Master,
    /// One that is heard is Master beside us, and it is the one to yield (D7).
    RivalYields,
    /// One that is heard is Master beside us, and we are the one to yield (D5, D7, D8).
    RivalWins,
}

/// The evidence, folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Of this node.
    pub health: Health,
    /// Of the network that it serves.
    pub references: References,
    /// Of the other agents.
    pub peers: Peers,
    /// Of the virtual routers.
    pub election: Election,
    /// Of the authority.
    pub lease: Lease,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Hold, under this grant.
    Master(Grant, Reason),
    /// Ask the authority.
    Claim(Reason),
    /// Hold nothing, ask nothing.
    Wait(Reason),
    /// Give back what is held, in good order (R8).
    Yield(Reason),
    /// Shut the gate at once: may not serve.
    Fenced(Reason),
    /// Shut the gate at once: cannot serve.
    Fault(Reason),
}

/// What a domain is on this node, as an operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Not started yet, or stopped.
    Init,
    /// Holds nothing.
    Backup,
    /// Asks for the lease, or has it and is about to hold.
    Claiming,
    /// Holds. RFC 9568 calls it Active.
    Master,
    /// Cannot serve.
    Fault,
    /// May not serve.
    Fenced,
}

impl Role {
    /// The name as keepalived's users know it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Init => "INIT",
            Role::Backup => "BACKUP",
            Role::Claiming => "CLAIMING",
            Role::Master => "MASTER",
            Role::Fault => "FAULT",
            Role::Fenced => "FENCED",
        }
    }
}

/// The row of the table that spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The agent has started.
    Started,
    /// An interface is down.
    InterfaceDown,
    /// A tracked script, file, process, BFD session or virtual server fails.
    TrackerFailed,
    /// The gate's self-test failed, or there is none that holds (R14).
    GateBroken,
    /// Its clock is beyond what the lease assumes (T1): a wrong rate, a hidden freeze.
    ClockUntrusted,
    /// The agent is stopping (SIGTERM).
    Stopping,
    /// A better BACKUP asked for it (R11).
    HandedOver,
    /// The lease ran out (D4, D5).
    LeaseLost,
    /// Another's epoch stands above ours (D5), or another was Master before us (D7).
    RivalWins,
    /// No peer and no reference can be reached (D2).
    Isolated,
    /// A peer reaches more references (D2).
    ReferencesLost,
    /// A better Master advertises.
    HigherPriority,
    /// Elected, and the authority agrees.
    Elected,
    /// Holds beside a rival that is the one to yield (D7).
    RivalYields,
    /// A peer is Master.
    PeerIsMaster,
    /// A worse peer is Master: it is asked to hand over (R11).
    AsksForHandover,
    /// Its time is not up.
    NotElected,
    /// Nobody is Master: the authority is asked.
    NobodyIsMaster,
    /// No peer is heard: the authority is asked (D0, D3).
    PeersSilent,
    /// The authority says that another holds it.
    LeaseHeldByAnother,
    /// No majority of the authority answers (D4).
    AuthorityUnreachable,
    /// The authority is silent, and all other candidates have promised not to claim (D4, `degrade`).
    OnPromises,
    /// It has promised not to claim, or its former life may have (D4, `degrade`).
    BoundByPromise,
    /// The authority is silent, and the operator accepts two Masters (D4, `i-accept-dual-master`).
    WithoutAuthority,
    /// A peer that is not heard here is heard, as Master, by one that is (D3).
    PeerSeenElsewhere,
    /// The fence command against the holder before us failed.
    FenceFailed,
    /// The operator has taken this node out.
    Maintenance,
}

impl Reason {
    /// The stable code, for logs and scripts.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Started => "started",
            Reason::InterfaceDown => "interface-down",
            Reason::TrackerFailed => "tracker-failed",
            Reason::GateBroken => "gate-broken",
            Reason::ClockUntrusted => "clock-untrusted",
            Reason::Stopping => "stopping",
            Reason::HandedOver => "handed-over",
            Reason::LeaseLost => "lease-lost",
            Reason::RivalWins => "rival-wins",
            Reason::Isolated => "isolated",
            Reason::ReferencesLost => "references-lost",
            Reason::HigherPriority => "higher-priority",
            Reason::Elected => "elected",
            Reason::RivalYields => "rival-yields",
            Reason::PeerIsMaster => "peer-is-master",
            Reason::AsksForHandover => "asks-for-handover",
            Reason::NotElected => "not-elected",
            Reason::NobodyIsMaster => "nobody-is-master",
            Reason::PeersSilent => "peers-silent",
            Reason::LeaseHeldByAnother => "lease-held-by-another",
            Reason::AuthorityUnreachable => "authority-unreachable",
            Reason::OnPromises => "on-promises",
            Reason::BoundByPromise => "bound-by-promise",
            Reason::WithoutAuthority => "without-authority",
            Reason::PeerSeenElsewhere => "peer-seen-elsewhere",
            Reason::FenceFailed => "fence-failed",
            Reason::Maintenance => "maintenance",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The table.
pub fn decide(view: &View) -> Verdict {
    use Election::{Lost, Preempts, Won};
    use Health::{ClockOff, GateBroken, Healthy, InterfaceDown, Leaving, TrackerFails};
    use Lease::{Bound, Held, Lapsed, Refused, Unanswered, Unruled, Vacant};
    use Peers::{Absent, Master, NoMaster, RivalWins, RivalYields, SeenElsewhere, Silent};
    use References::{LostEverywhere, LostHere, Reachable, Unconfigured};

    match (view.health, view.references, view.peers, view.election, view.lease) {
        // What ran out is shut before anything else is thought of (D5).
        (Healthy | ClockOff | InterfaceDown | TrackerFails | GateBroken | Leaving, _, _, _, Lapsed) => {
            Verdict::Fenced(Reason::LeaseLost)
        }

        // By a clock that is off no deadline means anything (T1).
        (ClockOff, _, _, _, Held(_) | Vacant | Refused | Unanswered | Unruled | Bound) => {
            Verdict::Fenced(Reason::ClockUntrusted)
        }

        // A node that cannot serve holds nothing.
        (InterfaceDown, _, _, _, Held(_) | Vacant | Refused | Unanswered | Unruled | Bound) => {
            Verdict::Fault(Reason::InterfaceDown)
        }
        (TrackerFails, _, _, _, Held(_) | Vacant | Refused | Unanswered | Unruled | Bound) => {
            Verdict::Fault(Reason::TrackerFailed)
        }
        (GateBroken, _, _, _, Held(_) | Vacant | Refused | Unanswered | Unruled | Bound) => {
            Verdict::Fault(Reason::GateBroken)
        }
        (Leaving, _, _, _, Held(_) | Vacant | Refused | Unanswered | Unruled | Bound) => {
            Verdict::Yield(Reason::Stopping)
        }

        // Cut off from peers and references alike: we are the broken side, lease or no lease (D2).
        (
            Healthy,
            LostHere | LostEverywhere,
            Absent | Silent,
            _,
            Held(_) | Vacant | Refused | Unanswered | Unruled | Bound,
        ) => Verdict::Fenced(Reason::Isolated),
        // Another holds, by right: ours is worth nothing (D5, D7).
        (Healthy, _, RivalWins, _, Held(_)) => Verdict::Fenced(Reason::RivalWins),
        // A peer reaches what we were meant to serve (D2).
        (Healthy, LostHere, NoMaster | SeenElsewhere | Master | RivalYields, _, Held(_)) => {
            Verdict::Yield(Reason::ReferencesLost)
        }
        // A better Master advertises, and no authority stands above the Advertisements.
        (Healthy, _, Absent | Silent | NoMaster | SeenElsewhere | Master | RivalYields, Lost, Held(_)) => {
            Verdict::Yield(Reason::HigherPriority)
        }

        // The election is won and the authority agrees: the only ways to Master.
        (Healthy, _, RivalYields, Won | Preempts, Held(grant)) => Verdict::Master(grant, Reason::RivalYields),
        (Healthy, _, Absent | Silent | NoMaster | SeenElsewhere | Master, Won | Preempts, Held(grant)) => {
            Verdict::Master(grant, backing(grant))
        }

        // A heartbeat link shows a Master: what silenced its Advertisements was not its death (D1).
        (Healthy, _, Master | RivalYields | RivalWins, Lost | Won, Vacant | Refused | Unanswered | Unruled | Bound) => {
            Verdict::Wait(Reason::PeerIsMaster)
        }
        (
            Healthy,
            LostHere,
            Master | RivalYields | RivalWins,
            Preempts,
            Vacant | Refused | Unanswered | Unruled | Bound,
        ) => Verdict::Wait(Reason::ReferencesLost),
        (
            Healthy,
            Unconfigured | Reachable | LostEverywhere,
            Master | RivalYields | RivalWins,
            Preempts,
            Vacant | Refused | Unanswered | Unruled | Bound,
        ) => Verdict::Wait(Reason::AsksForHandover),
        // No authority speaks, and a third party sees the Master that we don't (D3).
        (Healthy, _, SeenElsewhere, _, Vacant | Refused | Unanswered | Unruled | Bound) => {
            Verdict::Wait(Reason::PeerSeenElsewhere)
        }
        // A worse Master that speaks VRRP only can't be asked; its timer decides (RFC 9568, 6.4.2).
        (Healthy, _, Absent | Silent | NoMaster, Lost | Preempts, Vacant | Refused | Unanswered | Unruled | Bound) => {
            Verdict::Wait(Reason::NotElected)
        }
        // Nobody is Master, and a peer that we hear would serve better (D2).
        (Healthy, LostHere, NoMaster, Won, Vacant | Refused | Unanswered | Unruled | Bound) => {
            Verdict::Wait(Reason::ReferencesLost)
        }

        // Promised to whoever holds on without its voters (D4, I13).
        (Healthy, Unconfigured | Reachable, Absent | Silent, Won, Bound)
        | (Healthy, Unconfigured | Reachable | LostEverywhere, NoMaster, Won, Bound) => {
            Verdict::Wait(Reason::BoundByPromise)
        }

        // Nobody is Master as far as anyone can tell: ask (D0, D3).
        (Healthy, Unconfigured | Reachable | LostEverywhere, NoMaster, Won, Vacant) => {
            Verdict::Claim(Reason::NobodyIsMaster)
        }
        (Healthy, Unconfigured | Reachable, Absent, Won, Vacant) => Verdict::Claim(Reason::NobodyIsMaster),
        (Healthy, Unconfigured | Reachable, Silent, Won, Vacant) => Verdict::Claim(Reason::PeersSilent),
        (Healthy, Unconfigured | Reachable, Absent | Silent, Won, Refused)
        | (Healthy, Unconfigured | Reachable | LostEverywhere, NoMaster, Won, Refused) => {
            Verdict::Claim(Reason::LeaseHeldByAnother)
        }
        (Healthy, Unconfigured | Reachable, Absent | Silent, Won, Unanswered)
        | (Healthy, Unconfigured | Reachable | LostEverywhere, NoMaster, Won, Unanswered) => {
            Verdict::Claim(Reason::AuthorityUnreachable)
        }
        // Nobody can be asked, and the operator accepts two Masters (D4).
        (Healthy, Unconfigured | Reachable, Absent | Silent, Won, Unruled)
        | (Healthy, Unconfigured | Reachable | LostEverywhere, NoMaster, Won, Unruled) => {
            Verdict::Claim(Reason::WithoutAuthority)
        }
    }
}

/// Whose leave a Master holds by.
fn backing(grant: Grant) -> Reason {
    match grant.backing() {
        Backing::Authority => Reason::Elected,
        Backing::Promises => Reason::OnPromises,
        Backing::Nobody => Reason::WithoutAuthority,
    }
}

mod words;

#[cfg(test)]
mod tests;
