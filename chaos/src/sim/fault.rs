//! What is done to the simulated world.

use super::network::{Path, Weather};

/// One deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// One direction of one path, or of all (`None`), is cut or mended.
    Cut {
        /// Frames from this host ...
        from: usize,
        /// ... to this.
        to: usize,
        /// On this path.
        path: Option<Path>,
        /// Cut, or mended.
        cut: bool,
    },
    /// The weather of one direction of all paths.
    Weather {
        /// Frames from this host ...
        from: usize,
        /// ... to this.
        to: usize,
        /// The new weather.
        weather: Weather,
    },
    /// A host reaches the reference addresses, or does not.
    Reference {
        /// Which host.
        host: usize,
        /// Whether it does.
        reaches: bool,
    },
    /// The LAN cable is pulled or plugged in.
    Carrier {
        /// Whose.
        host: usize,
        /// Plugged in.
        up: bool,
    },
    /// SIGSTOP.
    Stop(usize),
    /// SIGCONT; also the end of a machine's pause.
    Continue(usize),
    /// The whole machine stands still.
    Pause(usize),
    /// SIGKILL.
    Kill {
        /// Whose process.
        host: usize,
        /// Whether the guardian lives on.
        guardian: bool,
    },
    /// The machine loses power; its kernel forgets.
    PowerOff(usize),
    /// The process is started, unless it runs.
    Start(usize),
    /// SIGTERM.
    Terminate(usize),
    /// The voter's record is lost.
    LoseRecord(usize),
    /// Writes fail or are slow.
    Disk {
        /// Where.
        host: usize,
        /// From now on, or no more.
        on: bool,
    },
    /// Netlink fails or is slow.
    Netlink {
        /// Where.
        host: usize,
        /// From now on, or no more.
        on: bool,
    },
    /// The gate's self-test fails.
    GateTest {
        /// Where.
        host: usize,
        /// From now on, or no more.
        on: bool,
    },
    /// Somebody else's ARP names the VIP.
    ForeignClaim(usize),
    /// A client of the named scenarios and a host no longer reach each other.
    Client {
        /// Which client.
        client: usize,
        /// Which host.
        host: usize,
        /// Cut, or mended.
        cut: bool,
    },
    /// Every line is whole again; hosts and processes stay as they are.
    Mend,
    /// Everything is repaired: lines, hosts, processes.
    Heal,
}

/// A deed and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deed {
    /// Real time in nanoseconds.
    pub at: u64,
    /// What.
    pub fault: Fault,
}
