//! The faults, in words that every world understands.

use core::fmt;

pub use crate::deed::Deed;

/// A part of the cluster, as a scenario names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The node that holds the VIP when the scenario begins.
    Master,
    /// The node that does not; of several, the one with the next priority.
    Backup,
    /// The first client, which lives on the backup's side when the LAN is parted.
    Client,
    /// The second client, on the master's side.
    MasterSideClient,
    /// The reference address.
    Gateway,
    /// The first witness, or the first member of etcd.
    Witness,
    /// Every witness; where etcd decides, every member of it.
    Witnesses,
    /// The member of etcd that leads when the scenario begins.
    Leader,
    /// The first of etcd's other members.
    Follower,
    /// All of etcd's members but that leader: a majority of them.
    Followers,
    /// Every node but the master.
    Others,
    /// Every node.
    Nodes,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Who::Master => "master",
            Who::Backup => "backup",
            Who::Client => "client",
            Who::MasterSideClient => "master-side client",
            Who::Gateway => "gateway",
            Who::Witness => "witness",
            Who::Witnesses => "witnesses",
            Who::Leader => "leader",
            Who::Follower => "follower",
            Who::Followers => "followers",
            Who::Others => "other nodes",
            Who::Nodes => "nodes",
        })
    }
}

/// A network of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// The clients' LAN, where the VIP lives and VRRP is spoken.
    Lan,
    /// A heartbeat network, from 0.
    Heartbeat(u8),
    /// The network of the witness.
    Witness,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Network::Lan => f.write_str("lan"),
            Network::Heartbeat(number) => write!(f, "hb{number}"),
            Network::Witness => f.write_str("wit"),
        }
    }
}

/// Which networks a cut concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// One.
    One(Network),
    /// All heartbeat networks.
    Heartbeats,
    /// Every network.
    Everywhere,
}

impl Where {
    /// Whether `network` is meant.
    pub fn covers(self, network: Network) -> bool {
        match self {
            Where::One(one) => one == network,
            Where::Heartbeats => matches!(network, Network::Heartbeat(_)),
            Where::Everywhere => true,
        }
    }
}

/// Which frames a cut concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Every frame.
    All,
    /// VRRP: IP protocol 112 (RFC 9568, 5.1.1.4 and 5.1.2.4).
    Vrrp,
    /// UDP over IPv4 to or from this port.
    Udp(u16),
    /// More than 1000 octets, Ethernet header and all: a path whose MTU is smaller than it says.
    Long,
}

/// Which directions a cut concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the first to the second only.
    There,
    /// Both ways.
    Both,
}

/// Which processes of an agent a signal goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The worker, which carries the decisions.
    Worker,
    /// Its parent, the guardian.
    Guardian,
    /// Both, and whatever else descends from them.
    Both,
}

/// One thing that is done to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Frames vanish in the switch; no link goes down, nobody is told.
    Drop {
        /// Frames from here ...
        from: Who,
        /// ... to here.
        to: Who,
        /// Only this way, or both.
        way: Way,
        /// On these networks.
        on: Where,
        /// Of this kind.
        class: Class,
    },
    /// Ends exactly such a drop; others stay.
    Mend {
        /// As in the drop.
        from: Who,
        /// As in the drop.
        to: Who,
        /// As in the drop.
        way: Way,
        /// As in the drop.
        on: Where,
        /// As in the drop.
        class: Class,
    },
    /// A drop that comes and goes; a course is written out before it is played, see
    /// [`crate::scenario::Scenario::course`].
    Flap {
        /// As in a drop.
        from: Who,
        /// As in a drop.
        to: Who,
        /// As in a drop.
        on: Where,
        /// Milliseconds that it stays cut, and then whole.
        every_ms: u64,
        /// Milliseconds until it is whole for good.
        for_ms: u64,
    },
    /// The cable is pulled: the node sees the carrier go.
    LinkDown {
        /// Whose.
        who: Who,
        /// Where.
        on: Network,
    },
    /// The cable is put back.
    LinkUp {
        /// Whose.
        who: Who,
        /// Where.
        on: Network,
    },
    /// Something that only the real world can do.
    Real(Deed),
    /// SIGKILL.
    Kill {
        /// Whose agent, or the witness.
        who: Who,
        /// Which processes.
        part: Part,
    },
    /// SIGTERM to the agent: an orderly stop.
    Terminate {
        /// Whose agent, or the witness.
        who: Who,
    },
    /// SIGSTOP.
    Stop {
        /// Whose agent.
        who: Who,
        /// Which processes.
        part: Part,
    },
    /// SIGCONT.
    Continue {
        /// Whose agent.
        who: Who,
        /// Which processes.
        part: Part,
    },
    /// The whole machine stands still: its processes are stopped and none of its frames goes in or out.
    Pause {
        /// Which machine.
        who: Who,
    },
    /// The machine goes on.
    Resume {
        /// Which machine.
        who: Who,
    },
    /// A killed or stopped agent or witness is started again.
    Start {
        /// Whose agent, or the witness.
        who: Who,
    },
    /// Every drop and every kind of weather ends and every link comes up; processes stay as they are.
    Heal,
}

impl Fault {
    /// Whether the simulator has no part in it: its frames have no length, and it has no guardians but for what one
    /// does when its worker is killed.
    pub fn is_real_only(&self) -> bool {
        match self {
            Fault::Real(_) | Fault::Drop { class: Class::Long, .. } => true,
            Fault::Kill { part, .. } | Fault::Stop { part, .. } | Fault::Continue { part, .. } => {
                *part == Part::Guardian
            }
            _ => false,
        }
    }

    /// Whether this makes the world better: what the clients' return is measured from.
    pub fn is_repair(&self) -> bool {
        matches!(self, Fault::Heal | Fault::Mend { .. } | Fault::Resume { .. })
            || matches!(self, Fault::Continue { .. } | Fault::Start { .. })
            || matches!(self, Fault::Real(deed) if deed.is_repair())
    }
}
