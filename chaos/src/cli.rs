//! The command line of `keepone-chaos`.

mod bench;
mod long;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use keepone_chaos::netns::agent::Peer;
use keepone_chaos::netns::world::Burden;
use keepone_chaos::qemu::named::Speech;
use keepone_chaos::qemu::talk;
use keepone_chaos::scenario::Shape;

pub use long::{Cells, Neighbours, Soak};

pub use bench::{
    Bench, BenchAuthorities, BenchChecks, BenchCommits, BenchScrape, BenchStart, BenchVrrp, BenchWitness, Common,
    Measured,
};

/// Puts a keepone cluster into trouble and proves that its VIP has one holder.
#[derive(Debug, Parser)]
#[command(name = "keepone-chaos", version)]
#[command(after_help = "Exit codes: 0 everything held, 1 something did not, 2 usage, 70 the world itself failed.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists the scenarios.
    List,
    /// Runs one scenario and says what was seen; the exit code is 1 if something did not hold.
    Run(Run),
    /// Runs the simulator over many seeds.
    Sim(Sim),
    /// Takes each guard of the protocol out in turn: the simulator must miss every one of them.
    Mutate(Mutate),
    /// Replays what `keepone run --record FILE` wrote: the same events must give the same actions.
    Replay(Replay),
    /// Writes what `keepone status` and `keepone why` say on each node in the scenarios that everybody asks about, before
    /// and after the repair; the exit code is 1 if a number does not bear out its words. Needs root.
    Why(Why),
    /// Measures how late the agent's gate shuts while the agent is stopped, killed, starved or paused. Needs root.
    GateBench(GateBench),
    /// Runs every scenario in clusters of several sizes and leases, on a machine at rest and on a full one, and ends
    /// with a table.
    Matrix(Cells),
    /// Plays rounds of faults drawn by a seed, several at a time, and judges each.
    Soak(Soak),
    /// Measures failovers, or the calm of a cluster to which nothing is done.
    Bench(Bench),
    /// Puts this release and another into one cluster: machine by machine, back again, and mixed. Needs root.
    Neighbours(Neighbours),
    /// Shows a cluster keep one holder while its lines are cut, and writes a report.
    Demo(Demo),
    /// Runs the programs in virtual machines: what needs clocks and a kernel of one's own.
    Qemu(Qemu),
    /// Run inside a guest.
    #[command(hide = true, subcommand)]
    Guest(GuestCommand),
}

impl PeerKind {
    /// The same for the world.
    pub fn peer(self) -> Peer {
        match self {
            PeerKind::Keepone => Peer::Keepone,
            PeerKind::Keepalived => Peer::Keepalived,
        }
    }
}

/// Options of `why`.
#[derive(Debug, Args)]
pub struct Why {
    /// Only these scenarios, with commas between.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Where to; default: standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Where `keepone` and `keepone-witness` are; default: beside this program.
    #[arg(long)]
    pub bin_dir: Option<PathBuf>,
}

/// Options of `gate-bench`.
#[derive(Debug, Args)]
pub struct GateBench {
    /// Only the gate of this means; default: all three.
    #[arg(long, value_enum)]
    pub means: Option<MeansKind>,
    /// Runs of each means under each disturbance.
    #[arg(long, default_value_t = 10)]
    pub runs: u32,
    /// Only one line of JSON on the standard output.
    #[arg(long)]
    pub json: bool,
    /// Where `keepone` is; default: beside this program.
    #[arg(long)]
    pub bin_dir: Option<PathBuf>,
}

/// By which means a gate is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MeansKind {
    /// eBPF.
    Bpf,
    /// nf_tables.
    Nft,
    /// Address lifetimes.
    Lifetime,
}

/// Which world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WorldKind {
    /// Network namespaces, real packets, the real programs. Needs root.
    Netns,
    /// The pure core in simulated time.
    Sim,
}

/// What is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PeerKind {
    /// keepone.
    Keepone,
    /// The installed keepalived, for comparison.
    Keepalived,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The scenario's name, see `list`, or several with commas between; `all`: one after the other.
    pub scenario: String,
    /// Where it runs.
    #[arg(long, value_enum, default_value = "netns")]
    pub world: WorldKind,
    /// Seed of the simulated world; in the netns world it moves the faults by up to a second.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The real cluster.
    #[command(flatten)]
    pub cluster: Cluster,
    /// Several clusters instead of one: each scenario in each that it is for.
    #[arg(long, value_enum)]
    pub matrix: Option<Matrix>,
    /// With `all`: every scenario, or those that a build server has time for.
    #[arg(long, value_enum, default_value = "whole")]
    pub set: Set,
    /// The time limits of clients are so many times as long; what must never happen, and how long two may hold where
    /// that is bounded, stays as it is.
    #[arg(long, default_value_t = 1)]
    pub slack: u64,
    /// Only one line of JSON on the standard output.
    #[arg(long)]
    pub json: bool,
    /// What is driven.
    #[arg(long, value_enum, default_value = "keepone")]
    pub peer: PeerKind,
    /// Where `keepone` and `keepone-witness` are; default: beside this program.
    #[arg(long)]
    pub bin_dir: Option<PathBuf>,
    /// Keep configurations, logs and events in this directory.
    #[arg(long)]
    pub keep_logs: Option<PathBuf>,
    /// Also write each run's timeline as a self-contained HTML page into this directory.
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// Also write each run's history of holds as JSON into this directory.
    #[arg(long)]
    pub history: Option<PathBuf>,
}

/// Who votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Voters {
    /// Nodes and witnesses.
    All,
    /// The witnesses alone.
    Witnesses,
}

/// Which scenarios `run all` and `matrix` mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Set {
    /// Every one.
    Whole,
    /// About ten minutes of them.
    Ci,
}

/// Which clusters a matrix has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Matrix {
    /// A pair with a witness, the same in IPv6, a pair without an authority, three nodes.
    Small,
    /// Those with all leases, more witnesses, and voters that are witnesses only.
    Full,
}

/// What the real cluster is made of, and what burdens it.
#[derive(Debug, Clone, Copy, Args)]
pub struct Cluster {
    /// Nodes. With more than two, cuts between the master and the backup leave the others where they are.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=9))]
    pub nodes: u8,
    /// Witnesses. Two nodes without one have no authority.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=5))]
    pub witnesses: u8,
    /// Who votes.
    #[arg(long, value_enum, default_value = "all")]
    pub voters: Voters,
    /// Length of the lease, as in `300ms` or `1s`.
    #[arg(long, default_value = "500ms", value_parser = milliseconds)]
    pub lease: u64,
    /// Where etcd decides, grants hang on its leases (`etcd_lease`).
    #[arg(long)]
    pub etcd_lease: bool,
    /// The VIP is an IPv6 address.
    #[arg(long)]
    pub ipv6: bool,
    /// The gate is of nf_tables
    #[arg(long)]
    pub nft: bool,
    /// So many ordinary programs that want a whole CPU each, all the time.
    #[arg(long, default_value_t = 0)]
    pub hogs: u8,
    /// So many real-time programs, at most a minute; the kernel leaves others a twentieth of each CPU.
    #[arg(long, default_value_t = 0)]
    pub rt_hogs: u8,
}

/// `300ms` or `3s` in milliseconds.
fn milliseconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no length such as 300ms or 3s");
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').ok_or_else(wrong)?, 1000),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    if (100..=60_000).contains(&(number.saturating_mul(unit))) { Ok(number * unit) } else { Err(wrong()) }
}

impl Cluster {
    /// Its shape.
    pub fn shape(&self) -> Shape {
        let nodes_vote = self.voters == Voters::All;
        Shape {
            nodes: self.nodes,
            witnesses: self.witnesses,
            nodes_vote,
            lease_ms: self.lease,
            ipv6: self.ipv6,
            nft: self.nft,
            etcd: false,
            sessions: self.etcd_lease,
        }
    }

    /// What burdens the machine.
    pub fn burden(&self) -> Burden {
        Burden { hogs: self.hogs, rt_hogs: self.rt_hogs }
    }
}

impl Run {
    /// The clusters to run in.
    pub fn shapes(&self) -> Vec<Shape> {
        let own = self.cluster.shape();
        let alone = Shape { witnesses: 0, ..own };
        let three = Shape { nodes: 3, witnesses: 0, nodes_vote: true, ..own };
        let pair = Shape { nodes: 2, witnesses: 1, nodes_vote: true, ..own };
        match self.matrix {
            None => vec![own],
            Some(Matrix::Small) => vec![pair, Shape { ipv6: true, ..pair }, alone, three],
            Some(Matrix::Full) => {
                let leases = [300, 500, 1000, 3000].map(|lease_ms| Shape { lease_ms, ..pair });
                let more = [
                    Shape { ipv6: true, ..pair },
                    alone,
                    three,
                    Shape { witnesses: 1, ..three },
                    Shape { witnesses: 3, ..pair },
                    Shape { witnesses: 1, nodes_vote: false, ..pair },
                    Shape { witnesses: 3, nodes_vote: false, ..pair },
                    Shape { witnesses: 5, nodes_vote: false, ..three },
                ];
                leases.into_iter().chain(more).collect()
            }
        }
    }

    /// What burdens the machine.
    pub fn burden(&self) -> Burden {
        self.cluster.burden()
    }
}

/// Which programs are driven, and how it is told.
#[derive(Debug, Args)]
pub struct Driven {
    /// Only lines of JSON on the standard output.
    #[arg(long)]
    pub json: bool,
    /// Where `keepone` and `keepone-witness` are; default: beside this program.
    #[arg(long)]
    pub bin_dir: Option<PathBuf>,
}

/// Options of `sim`.
#[derive(Debug, Args)]
pub struct Sim {
    /// How many seeds.
    #[arg(long)]
    pub seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
    /// None is begun after so many minutes; the end says where to go on.
    #[arg(long)]
    pub minutes: Option<u32>,
    /// The same as `mutate`.
    #[arg(long)]
    pub ablate: bool,
    /// Run without one guard, by the name that `mutate` calls it.
    #[arg(long)]
    pub mutant: Option<String>,
    /// Make the first violating seed of these as small as it goes, and tell it as a timeline.
    #[arg(long)]
    pub shrink: bool,
    /// Print the history of the first seed in words.
    #[arg(long)]
    pub trace: bool,
    /// Only one line of JSON on the standard output.
    #[arg(long)]
    pub json: bool,
}

/// Options of `mutate`.
#[derive(Debug, Args)]
pub struct Mutate {
    /// How many seeds for each guard.
    #[arg(long, default_value_t = 4000)]
    pub seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
    /// Only one line of JSON on the standard output.
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// A table for a page.
    #[arg(long)]
    pub markdown: bool,
    /// Of each guard only until a seed misses it; of one that is seldom missed, in four times as many.
    #[arg(long, conflicts_with = "markdown")]
    pub until_caught: bool,
}

/// Options of `replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// The recording.
    pub file: PathBuf,
    /// Tell every action, not only changes of role and alerts.
    #[arg(long)]
    pub actions: bool,
    /// Only one line of JSON on the standard output.
    #[arg(long, conflicts_with = "actions")]
    pub json: bool,
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Where the report goes.
    #[arg(long, default_value = "chaos-report")]
    pub out: PathBuf,
    /// Where `keepone` and `keepone-witness` are; default: beside this program.
    #[arg(long)]
    pub bin_dir: Option<PathBuf>,
    /// Leave keepalived out even if it is installed.
    #[arg(long)]
    pub alone: bool,
    /// Keep configurations, logs and events in this directory.
    #[arg(long)]
    pub keep_logs: Option<PathBuf>,
    /// Show only the installed keepalived.
    #[arg(long, hide = true)]
    pub only_keepalived: bool,
}

/// Options of `qemu`.
#[derive(Debug, Args)]
pub struct Qemu {
    /// What to do.
    #[command(subcommand)]
    pub command: QemuCommand,
    /// An unpacked Debian kernel package; `tests/kernel` fetches one.
    #[arg(long, global = true, default_value = "/var/cache/keepone-chaos/kernel")]
    pub kernel: PathBuf,
    /// Where the programs are; default: beside this program.
    #[arg(long, global = true)]
    pub bin_dir: Option<PathBuf>,
    /// Keep consoles, configurations and logs in this directory.
    #[arg(long, global = true)]
    pub keep_logs: Option<PathBuf>,
}

/// What is done with virtual machines.
#[derive(Debug, Subcommand)]
pub enum QemuCommand {
    /// Boots a guest, asks `keepone` for its version and runs a command there.
    Boot {
        /// A line for the guest's shell.
        #[arg(default_value = "true")]
        script: String,
    },
    /// Watchdog and restart: what no gate can mend is done to a node, and its machine must be reset in time.
    Ladder {
        /// Only the cases whose name contains this.
        #[arg(default_value = "")]
        only: String,
    },
    /// Virtual servers on a kernel with IPVS: the table beside ipvsadm, real traffic, reloads, changes by others' hands.
    Lvs,
    /// What `lvs` only compares with ipvsadm, with traffic: GUE and GRE tunnels, SCTP, marks, single datagrams, `lvs_flush`.
    LvsMore,
    /// A director is upgraded in place under connections that last: nothing of its table changes.
    LvsUpgrade,
    /// What virtual servers cost, beside Debian's keepalived in the same guest: checks, detection, start, reload.
    LvsBench(LvsBench),
    /// VRRP on VLANs, ipvlans, VRFs, bonds and bridges: whether the gate shuts there, and
    /// routes of VRFs and with MPLS and ILA.
    Vrrp {
        /// Only the stories whose name contains this.
        #[arg(default_value = "")]
        only: String,
    },
    /// Stops a machine that is MASTER, seen by its clocks and not, and measures what comes of it.
    Pauses {
        /// Only the pauses whose name contains this: visible, hidden, cut, snapshot.
        #[arg(default_value = "")]
        only: String,
    },
}

/// Options of `qemu lvs-bench`.
#[derive(Debug, Clone, Args)]
pub struct LvsBench {
    /// Only these cases, from 1: checks of ports, of pages, detection, start, reload.
    #[arg(long, value_delimiter = ',')]
    pub case: Vec<usize>,
    /// Real servers, checked each five seconds, where the cost of a check is measured.
    #[arg(long, default_value_t = 500)]
    pub checked: usize,
    /// Real servers at the start.
    #[arg(long, default_value_t = 5000)]
    pub started: usize,
    /// Seconds between two checks of these.
    #[arg(long, default_value_t = 30)]
    pub delay_loop: u64,
    /// Virtual servers at the reload, of 16 real servers each.
    #[arg(long, default_value_t = 2000)]
    pub reloaded: usize,
    /// How often each failure is made.
    #[arg(long, default_value_t = 3)]
    pub runs: usize,
    /// Only the line of JSON on the standard output.
    #[arg(long)]
    pub json: bool,
}

/// What a guest runs for itself.
#[derive(Debug, Clone, Subcommand)]
pub enum GuestCommand {
    /// Answers for the VIP's service as this node.
    Respond {
        /// The node's number, from 0.
        node: u8,
    },
    /// Is checked: answers HTTP on all addresses, and counts connections and addresses.
    Checked {
        /// Of all addresses.
        port: u16,
        /// Where the two counts go.
        file: PathBuf,
    },
    /// Checks a port of many servers by the fewest system calls, and does nothing else.
    Bare {
        /// Of all of them.
        port: u16,
        /// How many.
        servers: usize,
        /// Seconds between two checks of one.
        delay: u64,
    },
    /// Says a name to whoever asks.
    Name {
        /// How.
        #[arg(value_enum)]
        speech: Speech,
        /// Where.
        address: std::net::SocketAddr,
        /// What it says.
        name: String,
    },
    /// Asks so many times, one after the other, and prints the answers.
    Ask {
        /// How.
        #[arg(value_enum)]
        speech: Speech,
        /// Whom.
        address: std::net::SocketAddr,
        /// How many times.
        count: u32,
    },
    /// Sends datagrams both ways without end, and writes down what comes.
    Talk {
        /// OWN/PEER, or OWN/PEER/INTERFACE.
        #[arg(required = true)]
        all: Vec<talk::Talk>,
    },
    /// Writes down each frame that names one of these addresses as its source.
    Watch {
        /// On which interfaces.
        #[arg(value_delimiter = ',', required = true, num_args = 1)]
        interfaces: Vec<String>,
        /// Which addresses.
        #[arg(value_delimiter = ',', required = true, num_args = 1)]
        addresses: Vec<std::net::IpAddr>,
    },
    /// Answers each line of its input with the monotonic, the boot and the wall clock in nanoseconds.
    Clocks,
    /// Breaks the gate of an agent for good, and keeps it from taking its addresses out.
    Vandalize {
        /// The agent's worker.
        pid: i32,
        /// The directory of its pins.
        bpf_dir: PathBuf,
    },
}
