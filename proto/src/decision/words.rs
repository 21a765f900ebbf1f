//! The rows of the table in plain words, for the operator.

use super::{Reason, View};
use crate::lease::holder::Lease;

impl Reason {
    /// What it means on the node that says so, in one sentence.
    pub fn what(self) -> &'static str {
        match self {
            Reason::Started => "the agent has started and is still gathering evidence",
            Reason::InterfaceDown => "an interface that it needs is down, so it can't serve",
            Reason::TrackerFailed => "something that it tracks fails, so it can't serve",
            Reason::GateBroken => "the gate does not pass its self-test, so nothing may be held (R14)",
            Reason::ClockUntrusted => "its clock is beyond what a lease assumes, so no deadline means anything (T1)",
            Reason::Stopping => "the agent is stopping and gives up what it holds",
            Reason::HandedOver => "it has handed over to another node in good order (R8, R11)",
            Reason::LeaseLost => "its lease ran out before a majority renewed it: the gate is shut (D5)",
            Reason::RivalWins => "another node holds by better right, so this one yields (D5, D7)",
            Reason::Isolated => "neither a peer nor a reference is reached: this node is the broken side (D2)",
            Reason::ReferencesLost => "a peer reaches more of the references, and serves better (D2)",
            Reason::HigherPriority => "a better Master advertises",
            Reason::Elected => "it is elected, and whoever decides has granted it the lease",
            Reason::RivalYields => "it holds by right beside a rival that is the one to yield (D7)",
            Reason::PeerIsMaster => "another node is MASTER",
            Reason::AsksForHandover => "a worse node is MASTER, and is asked to hand over (R11)",
            Reason::NotElected => "it is not its turn: another may be MASTER, or is the better candidate",
            Reason::NobodyIsMaster => "nobody is MASTER as far as it can tell, so it asks for the lease",
            Reason::PeersSilent => "no peer is heard, so it asks for the lease (D0, D3)",
            Reason::LeaseHeldByAnother => "the voters say that another node holds the lease, or may still hold it",
            Reason::AuthorityUnreachable => "no majority of the voters answers, and without one nothing is held (D4)",
            Reason::OnPromises => "the voters are silent, and all other candidates have promised not to claim (D4)",
            Reason::BoundByPromise => "it has promised not to claim while the voters are silent (D4)",
            Reason::WithoutAuthority => "the authority is silent, and the operator accepts two holders (D4)",
            Reason::PeerSeenElsewhere => "a MASTER that is not heard here is heard by a node that is (D3)",
            Reason::FenceFailed => "the fence command against the holder before it failed",
            Reason::Maintenance => "the operator has taken this node out (`keepone maintenance on`)",
        }
    }
}

impl View {
    /// The five questions and their answers, each in a word.
    pub fn answers(&self) -> [(&'static str, &'static str); 5] {
        use super::{Election, Health, Peers, References};
        let health = match self.health {
            Health::Healthy => "healthy",
            Health::InterfaceDown => "interface-down",
            Health::TrackerFails => "tracker-fails",
            Health::ClockOff => "clock-off",
            Health::GateBroken => "gate-broken",
            Health::Leaving => "leaving",
        };
        let references = match self.references {
            References::Unconfigured => "unconfigured",
            References::Reachable => "reachable",
            References::LostHere => "lost-here",
            References::LostEverywhere => "lost-everywhere",
        };
        let peers = match self.peers {
            Peers::Absent => "absent",
            Peers::Silent => "silent",
            Peers::NoMaster => "no-master",
            Peers::SeenElsewhere => "seen-elsewhere",
            Peers::Master => "master",
            Peers::RivalYields => "rival-yields",
            Peers::RivalWins => "rival-wins",
        };
        let election = match self.election {
            Election::Won => "won",
            Election::Preempts => "preempts",
            Election::Lost => "lost",
        };
        let lease = match self.lease {
            Lease::Vacant => "vacant",
            Lease::Held(_) => "held",
            Lease::Refused => "refused",
            Lease::Unanswered => "unanswered",
            Lease::Unruled => "unruled",
            Lease::Bound => "bound",
            Lease::Lapsed => "lapsed",
        };
        [("health", health), ("references", references), ("peers", peers), ("election", election), ("lease", lease)]
    }
}
