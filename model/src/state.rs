//! One state of the cluster: 2 candidates, 3 voters, and the messages between them.
//!
//! Time is counted in ticks and every instant is kept relative to now, so that states which differ only in
//! when they happen are one. Clocks are folded into the lengths: a voter's clock runs as fast, a holder's as
//! slow as ρ allows, which is the worst for safety (`t_send + L_h/(1−ρ)` against `t_receive + L_a/(1+ρ)`).
//!
//! The network loses, duplicates and reorders: what was sent stays deliverable for ever, and need never be
//! delivered. Voters are alike, so they are kept sorted: states that differ in their names only are one.

/// Candidates.
pub const NODES: usize = 2;
/// Voters.
pub const VOTERS: usize = 3;
/// Ticks for which a voter bars others after a grant, by the fastest clock.
pub const LOAN: u8 = 2;
/// Ticks that a holder counts from sending, by the slowest clock.
pub const HOLD: u8 = 2;
/// L_max in ticks: a restarted voter's wait.
pub const QUIET: u8 = 2;
/// The age from which on a request is as old as any.
pub const OLD: u8 = HOLD + 1;

/// (counter, incarnation, attempt, node), as in `keepone_proto::id::Epoch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// Above every epoch that its maker has seen.
    pub counter: u8,
    /// Life of the node.
    pub incarnation: u8,
    /// Attempt of the node over all its lives; 0 where the mutant has no such thing.
    pub attempt: u8,
    /// The candidate.
    pub node: u8,
}

impl Epoch {
    /// A later attempt of the same life.
    pub fn is_before(&self, other: &Epoch) -> bool {
        self.node == other.node && self.incarnation == other.incarnation && self < other
    }
}

/// What a candidate is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Nothing.
    Idle,
    /// It has sent Acquire.
    Acquiring(Epoch),
    /// It has had a majority.
    Held(Epoch),
}

/// A candidate with its gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Candidate {
    /// What it is doing.
    pub phase: Phase,
    /// Attempts made, over all lives.
    pub attempts: u8,
    /// Lives ended.
    pub incarnation: u8,
    /// The highest counter that it remembers.
    pub seen: u8,
    /// The kernel's gate: epoch and ticks until the deadline; open while above 0.
    pub gate: Option<(Epoch, u8)>,
    /// The newest epoch with a tombstone.
    pub tombstone: Option<Epoch>,
    /// A gate write that was decided and not carried out yet: a pause may lie between.
    pub write: Option<(Epoch, u8)>,
    /// The epoch that a Transfer named it for.
    pub reserved: Option<Epoch>,
}

impl Candidate {
    /// Whether frames pass.
    pub fn is_open(&self) -> bool {
        self.gate.is_some_and(|(_, left)| left > 0)
    }

    /// The epoch of the attempt.
    pub fn epoch(&self) -> Option<Epoch> {
        match self.phase {
            Phase::Idle => None,
            Phase::Acquiring(epoch) | Phase::Held(epoch) => Some(epoch),
        }
    }
}

/// A voter, and what lies between it and each candidate's present attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voter {
    /// The highest epoch seen (V4).
    pub max: Option<Epoch>,
    /// The loan and the ticks until it runs out; kept when it has (V4).
    pub loan: Option<(Epoch, u8)>,
    /// The holder of a former life (V7).
    pub restored: Option<Epoch>,
    /// Ticks of the restart's wait that are left.
    pub quiet: u8,
    /// What its disk says (V6).
    pub disk: Option<Epoch>,
    /// Grants under way to each candidate's present attempt: bit a is one whose request is a ticks old.
    pub grants: [u8; NODES],
    /// Ticks since the newest answered request of each candidate's present attempt was sent; [`OLD`]: none.
    pub good: [u8; NODES],
}

impl Voter {
    /// Whether it bars everyone but `epoch` now.
    pub fn bars_for(&self, epoch: Epoch) -> bool {
        match self.loan {
            Some((lent, left)) if left > 0 => lent == epoch,
            _ => self.quiet > 0 && self.restored.is_none_or(|restored| restored == epoch),
        }
    }
}

/// Requests of one attempt that were sent and may arrive at any time, any number of times, at any voter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requests {
    /// Whose.
    pub epoch: Epoch,
    /// Acquires: bit a is one that is a ticks old.
    pub acquires: u8,
    /// It was released.
    pub released: bool,
    /// It was handed to this heir.
    pub heir: Option<Epoch>,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// The candidates.
    pub nodes: [Candidate; NODES],
    /// The voters, sorted.
    pub voters: [Voter; VOTERS],
    /// What was sent, in the order of epochs.
    pub sent: Vec<Requests>,
    /// The highest epoch under which a gate was opened (I4).
    pub top: Option<Epoch>,
    /// Voters' restarts so far.
    pub voter_restarts: u8,
    /// A voter has lost a record.
    pub disk_lost: bool,
    /// Something that must never happen has happened in the last step.
    pub broken: Option<&'static str>,
}

impl State {
    /// Nobody has asked for anything yet.
    pub fn start() -> State {
        let node = Candidate {
            phase: Phase::Idle,
            attempts: 0,
            incarnation: 0,
            seen: 0,
            gate: None,
            tombstone: None,
            write: None,
            reserved: None,
        };
        let voter = Voter {
            max: None,
            loan: None,
            restored: None,
            quiet: 0,
            disk: None,
            grants: [0; NODES],
            good: [OLD; NODES],
        };
        State {
            nodes: [node; NODES],
            voters: [voter; VOTERS],
            sent: Vec::new(),
            top: None,
            voter_restarts: 0,
            disk_lost: false,
            broken: None,
        }
    }

    /// The requests of an attempt, made if there are none yet.
    pub fn requests(&mut self, epoch: Epoch) -> &mut Requests {
        let at = match self.sent.binary_search_by(|sent| sent.epoch.cmp(&epoch)) {
            Ok(at) => at,
            Err(at) => {
                self.sent.insert(at, Requests { epoch, acquires: 0, released: false, heir: None });
                at
            }
        };
        &mut self.sent[at]
    }
}
