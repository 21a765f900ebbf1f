//! Faults that need a real kernel, real processes or a real wire; the simulator has no part in them.

use crate::fault::{Network, Who};

/// What the wire does to frames beside losing all of them. Only frames from one machine to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// Frames of a thousand that vanish.
    pub lost: u16,
    /// Frames of a thousand that come twice.
    pub doubled: u16,
    /// How much later every frame comes, in milliseconds.
    pub delay_ms: u32,
    /// Up to so much later again, each frame by its own: they overtake each other. In milliseconds.
    pub jitter_ms: u32,
}

/// A thread of the agent's worker, by its name in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thread {
    /// The one that decides: the process's first.
    Decision,
    /// Another, by the name that the agent gives it; names end after 15 bytes.
    Named(&'static str),
}

/// A moment in the life of a node, as the gate shows it from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The gate has just been opened under a new epoch.
    GateOpened,
    /// The gate has just been shut before its deadline: a tombstone.
    GateShut,
}

/// What a node's configuration is changed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Another lease length, so that its digest differs from the others'.
    OtherLease,
    /// Another bound on the clocks' rates.
    OtherRate,
    /// What it was in the beginning.
    Original,
}

/// A frame that somebody else puts on the LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forged {
    /// An ARP announcement of the VIP, to everybody.
    Announcement,
    /// An ARP reply to the gateway alone, which names another node's hardware address for the VIP.
    GatewayPoison,
    /// A well-formed Advertisement of our virtual router, with this priority.
    Advertisement(u8),
    /// An Advertisement that ends in the middle.
    Truncated,
}

/// One thing that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Frames from a machine to another are lost, doubled, late or out of order, on every network.
    Weather {
        /// From here ...
        from: Who,
        /// ... to here.
        to: Who,
        /// How.
        weather: Weather,
    },
    /// One thread stands still (ptrace), the others go on.
    StopThread {
        /// Whose worker.
        who: Who,
        /// Which.
        thread: Thread,
        /// For so long.
        for_ms: u64,
    },
    /// Everything of the agent stands still from a moment on that is watched for.
    StopAt {
        /// Whose agent.
        who: Who,
        /// The moment.
        moment: Moment,
        /// For so long.
        for_ms: u64,
    },
    /// The cgroup freezer holds all processes of the agent.
    Freeze {
        /// Whose.
        who: Who,
    },
    /// It lets go.
    Thaw {
        /// Whose.
        who: Who,
    },
    /// The kernel's out-of-memory killer takes the worker.
    OutOfMemory {
        /// Whose.
        who: Who,
    },
    /// SIGABRT to the worker: what a panic in any of its threads ends in.
    Crash {
        /// Whose.
        who: Who,
    },
    /// The worker is killed each time its gate opens.
    CrashWhenMaster {
        /// Whose.
        who: Who,
        /// How often at most.
        times: u8,
        /// For so long.
        for_ms: u64,
    },
    /// Programs that want a whole CPU each.
    Hogs {
        /// How many.
        count: u8,
        /// At this SCHED_FIFO priority; `None`: ordinary ones.
        fifo: Option<u8>,
        /// For so long; the kernel's real-time throttling stays on.
        for_ms: u64,
    },
    /// Interfaces are made and removed without pause, which holds the kernel's rtnl lock.
    RtnlChurn {
        /// Where.
        who: Who,
        /// For so long.
        for_ms: u64,
    },
    /// The LAN interface sends 50 kB a second, through a queue that holds 300 ms of it, and something keeps it full.
    Bloat {
        /// Whose.
        who: Who,
        /// For so long.
        for_ms: u64,
    },
    /// The file system with the voter's record is full.
    FillDisk {
        /// Whose.
        who: Who,
    },
    /// It has room again.
    FreeDisk {
        /// Whose.
        who: Who,
    },
    /// The processes can open no more descriptors.
    NoDescriptors {
        /// Whose.
        who: Who,
    },
    /// They can again.
    Descriptors {
        /// Whose.
        who: Who,
    },
    /// The machine loses power: frames, processes, addresses and the kernel's gate go at once; disks stay.
    PowerOff {
        /// Which machine.
        who: Who,
    },
    /// It boots and starts its agent.
    PowerOn {
        /// Which machine.
        who: Who,
    },
    /// The voter's record is kept aside, for [`Deed::Restore`].
    Save {
        /// Whose.
        who: Who,
    },
    /// The voter's record becomes what it was when it was saved; the program must not run.
    Restore {
        /// Whose.
        who: Who,
    },
    /// The voter's record is lost; the program must not run.
    Forget {
        /// Whose.
        who: Who,
    },
    /// Somebody takes the VIP off the interface.
    RemoveVip {
        /// Whose.
        who: Who,
    },
    /// Somebody takes every address off the LAN interface, and puts the machine's own back.
    FlushAddresses {
        /// Whose.
        who: Who,
    },
    /// Somebody detaches the gate's programs from the LAN interface.
    DetachGate {
        /// Whose.
        who: Who,
    },
    /// Somebody removes every pin of the gate.
    RemovePins {
        /// Whose.
        who: Who,
    },
    /// The interface gets another name, or its own again.
    Rename {
        /// Whose.
        who: Who,
        /// Where.
        on: Network,
        /// Another, or its own.
        away: bool,
    },
    /// The interface gets another hardware address.
    OtherMac {
        /// Whose.
        who: Who,
        /// Where.
        on: Network,
    },
    /// The interface vanishes.
    Unmake {
        /// Whose.
        who: Who,
        /// Where.
        on: Network,
    },
    /// A new one with the vanished one's name and address is there.
    Remake {
        /// Whose.
        who: Who,
        /// Where.
        on: Network,
    },
    /// A stranger on the LAN (the first client's cable) sends frames.
    Forge {
        /// Which.
        what: Forged,
        /// Milliseconds between two.
        every_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Every UDP datagram to a machine on the heartbeat and witness networks is kept for so long.
    Capture {
        /// To whom.
        who: Who,
        /// For so long.
        for_ms: u64,
    },
    /// What was captured comes again, so many times.
    Replay {
        /// To whom.
        who: Who,
        /// How often.
        times: u8,
    },
    /// The configuration is changed and the agent started anew.
    Reconfigure {
        /// Whose.
        who: Who,
        /// To what.
        change: Change,
    },
    /// The script that the virtual router tracks fails from now on, or passes again.
    Script {
        /// Whose.
        who: Who,
        /// Whether it fails.
        fails: bool,
    },
    /// `keepone upgrade`: the agent's program is replaced under its leases, by the same one.
    Upgrade {
        /// Whose.
        who: Who,
    },
    /// SIGHUP to the agent.
    Hangup {
        /// Whose.
        who: Who,
    },
}

impl Deed {
    /// Whether this makes the world better.
    pub fn is_repair(&self) -> bool {
        matches!(
            self,
            Deed::Thaw { .. }
                | Deed::FreeDisk { .. }
                | Deed::Descriptors { .. }
                | Deed::PowerOn { .. }
                | Deed::Script { fails: false, .. }
        )
    }
}
