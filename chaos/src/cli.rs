//! The command line of `keepone-chaos`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Shows a cluster keep one holder while its lines are cut, and writes a report.
    Demo(Demo),
    /// Runs the programs in virtual machines: what needs clocks and a kernel of one's own.
    Qemu(Qemu),
    /// Run inside a guest.
    #[command(hide = true, subcommand)]
    Guest(GuestCommand),
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
    /// The scenario's name, see `list`; `all`: one after the other.
    pub scenario: String,
    /// Where it runs.
    #[arg(long, value_enum, default_value = "netns")]
    pub world: WorldKind,
    /// Seed of the simulated world; in the netns world it moves the faults by up to a second.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// How many nodes the real cluster has, besides the witness. With more than two, cuts between the master
    /// and the backup leave the others where they are.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=9))]
    pub nodes: u8,
    /// Time limits are so many times as long; what must never happen stays as it is.
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
    /// Take each guard out in turn: each must be missed in at least one seed.
    #[arg(long)]
    pub ablate: bool,
    /// Print the history of the first seed in words.
    #[arg(long)]
    pub trace: bool,
    /// Only one line of JSON on the standard output.
    #[arg(long)]
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
    /// Stops a machine that is MASTER, seen by its clocks and not, and measures what comes of it.
    Pauses,
}

/// What a guest runs for itself.
#[derive(Debug, Clone, Subcommand)]
pub enum GuestCommand {
    /// Answers for the VIP's service as this node.
    Respond {
        /// The node's number, from 0.
        node: u8,
    },
    /// Prints the monotonic, the boot and the wall clock in nanoseconds.
    Clocks,
    /// Breaks the gate of an agent for good, and keeps it from taking its addresses out.
    Vandalize {
        /// The agent's worker.
        pid: i32,
        /// The directory of its pins.
        bpf_dir: PathBuf,
    },
}
