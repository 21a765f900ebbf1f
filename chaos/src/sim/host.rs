//! One host: its clock, its process, its kernel, its disk.

use std::collections::VecDeque;

use keepone_proto::action::Action;
use keepone_proto::decision::Role;
use keepone_proto::event::Event;
use keepone_proto::id::{Epoch, Incarnation};
use keepone_proto::node::Node;
use keepone_proto::time::Instant;

use super::clock::Clock;
use super::fault::Variant;
use super::kernel::Kernel;
use super::register::Shell;
use keepone_proto::lease::voter::Voter;

/// What queues of a stopped process keep; the rest is lost, as in a full socket.
pub const INBOX: usize = 256;

/// The process.
#[derive(Debug, Clone)]
pub enum Machine {
    /// An agent.
    Agent(Box<Node>),
    /// A witness.
    Witness(Box<Voter>),
    /// The store, which is none of ours: what it keeps is [`super::store::Store`].
    Store,
}

/// An action that waits for its turn, and the clock when it was decided.
#[derive(Debug, Clone)]
pub struct Pending {
    /// What is to be done.
    pub action: Action,
    /// What the host's clock showed.
    pub decided: Instant,
}

/// A record on its way to the disk.
#[derive(Debug, Clone)]
pub struct Write {
    /// Of the action.
    pub ticket: u64,
    /// The record.
    pub bytes: Vec<u8>,
}

/// What goes wrong on a host for a while.
#[derive(Debug, Clone, Copy, Default)]
pub struct Troubles {
    /// Records can't be written, or only slowly.
    pub disk: bool,
    /// Netlink is slow and fails.
    pub netlink: bool,
    /// The gate's self-test fails.
    pub gate_test: bool,
    /// Writes of the gate fail, or can't be read back.
    pub gate: bool,
    /// The tracked script fails.
    pub script: bool,
}

/// One host.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its boot clock.
    pub clock: Clock,
    /// Its process, if it runs.
    pub machine: Option<Machine>,
    /// Its thread that has the register, where a store is the authority.
    pub shell: Option<Shell>,
    /// Counts the lives of the process; what was meant for a former one is lost.
    pub life: u32,
    /// Of the present life.
    pub incarnation: Incarnation,
    /// The process stands still.
    pub stopped: bool,
    /// The whole machine stands still: no frame goes in or out.
    pub silent: bool,
    /// The hypervisor has stopped it until then, and hides that from its clock.
    pub frozen: Option<u64>,
    /// Its configuration.
    pub variant: Variant,
    /// The place of its configuration in the row of generations.
    pub step: usize,
    /// Events that wait for the process.
    pub inbox: VecDeque<Event>,
    /// Actions that wait for their turn.
    pub pending: VecDeque<Pending>,
    /// The process is at work until then, or pauses.
    pub busy_until: u64,
    /// The deadline that the process named last; `None` once it has taken another event, and was not asked since.
    pub deadline: Option<Option<Instant>>,
    /// When the next tick is due, if one is scheduled.
    pub tick_at: Option<u64>,
    /// A wake-up is scheduled for then.
    pub wake_at: Option<u64>,
    /// What the kernel holds, by domain.
    pub kernels: Vec<Kernel>,
    /// The voter's record.
    pub record: Option<Vec<u8>>,
    /// The same when the process last started; the first one, if there was none then.
    pub backup: Option<Vec<u8>>,
    /// Records under way.
    pub writes: VecDeque<Write>,
    /// When the disk has done what was asked of it.
    pub disk_free_at: u64,
    /// When netlink has.
    pub netlink_free_at: u64,
    /// The carrier of its LAN interface.
    pub carrier: bool,
    /// What goes wrong.
    pub troubles: Troubles,
    /// The life has begun with clean kernels (I10).
    pub clean: Vec<bool>,
    /// The role that each domain last told (I22).
    pub roles: Vec<Role>,
    /// The epoch under which each domain last told MASTER in this life (I22).
    pub mastered: Vec<Option<Epoch>>,
    /// `Stopped` was said.
    pub ended: bool,
    /// What a process has handed on to the next one, in the hands of its guardian.
    pub handed: Option<Vec<u8>>,
}

impl Host {
    /// A host that has booted, with no process yet.
    pub fn new(clock: Clock, domains: usize) -> Self {
        Host {
            clock,
            machine: None,
            shell: None,
            life: 0,
            incarnation: Incarnation(0),
            stopped: false,
            silent: false,
            frozen: None,
            variant: Variant::Usual,
            step: 0,
            inbox: VecDeque::new(),
            pending: VecDeque::new(),
            busy_until: 0,
            deadline: None,
            tick_at: None,
            wake_at: None,
            kernels: vec![Kernel::default(); domains],
            record: None,
            backup: None,
            writes: VecDeque::new(),
            disk_free_at: 0,
            netlink_free_at: 0,
            carrier: true,
            troubles: Troubles::default(),
            clean: vec![false; domains],
            roles: vec![Role::Init; domains],
            mastered: vec![None; domains],
            ended: false,
            handed: None,
        }
    }

    /// The voter that runs here, if one does.
    pub fn voter(&self) -> Option<&Voter> {
        match self.machine.as_ref()? {
            Machine::Agent(node) => node.voter(),
            Machine::Witness(voter) => Some(voter),
            Machine::Store => None,
        }
    }

    /// When the process has something to do unless another event comes before.
    pub fn deadline(&mut self) -> Option<Instant> {
        let machine = &self.machine;
        let of = || match machine {
            Some(Machine::Agent(node)) => node.next_deadline(),
            Some(Machine::Witness(voter)) => voter.next_deadline(),
            Some(Machine::Store) | None => None,
        };
        *self.deadline.get_or_insert_with(of)
    }

    /// Whether the process runs and does not stand still.
    pub fn is_running(&self) -> bool {
        self.machine.is_some() && !self.stopped
    }

    /// Of the writes under way, the first `some` have reached the disk, and the rest never will.
    pub fn settle_writes(&mut self, some: usize) {
        let reached = self.writes.len().min(some);
        if let Some(last) = self.writes.drain(..reached).next_back() {
            self.record = Some(last.bytes);
        }
        self.writes.clear();
    }

    /// The process ends here and now.
    pub fn end_process(&mut self) {
        (self.machine, self.deadline) = (None, None);
        self.shell = None;
        self.life += 1;
        self.inbox.clear();
        self.pending.clear();
        (self.tick_at, self.wake_at) = (None, None);
        self.busy_until = 0;
    }
}
