//! What a witness can bear: a thousand nodes that renew, each over a connection of its own, against the real program on
//! a processor of its own.
//!
//! Renewals a processor are counted by the kernel's account of the witness's threads; answer times are the nodes', from
//! the sending to the grant, and include what the nodes' own processor keeps them waiting.

mod nodes;

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use keepone_arbiter::realtime::{self, Rank};
use keepone_arbiter::witness::config::{self, WitnessConfig};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Pid;
use serde::Serialize;

use crate::netns::error::{Error, io_error};
use nodes::{Nodes, Tally};

/// A node with its connection has sockets and timers of its own on this machine.
const FILES: u64 = 16_384;
/// How long the start of the witness, and of all connections, may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// After this nothing that was sent before is still under way.
const SETTLE: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// How many, how often.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Nodes, two of which make a cluster.
    pub nodes: usize,
    /// Domains that each node holds, renewed with one datagram.
    pub domains: usize,
    /// Times a second that it renews them.
    pub rate: u32,
}

/// All that are measured by default; the last two ask for more than a processor may give.
pub const CASES: [Case; 4] = [
    Case { nodes: 1000, domains: 1, rate: 10 },
    Case { nodes: 1000, domains: 10, rate: 10 },
    Case { nodes: 1000, domains: 1, rate: 25 },
    Case { nodes: 1000, domains: 10, rate: 25 },
];

/// What is asked of the measurement.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which cases.
    pub cases: Vec<Case>,
    /// For how long each is looked at.
    pub time: Duration,
    /// Where `keepone-witness` is.
    pub bin_dir: PathBuf,
    /// Where files may be kept.
    pub room: PathBuf,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Nodes.
    pub nodes: usize,
    /// Domains of each.
    pub domains: usize,
    /// Renewals that were asked for in a second.
    pub asked: f64,
    /// Renewals that were granted in a second.
    pub granted: f64,
    /// Percent of one processor that the witness used.
    pub cpu: f64,
    /// Renewals that it grants for a second on a processor.
    pub per_cpu_second: f64,
    /// Datagrams that it takes and answers for a second on a processor.
    pub datagrams_per_cpu_second: f64,
    /// From sending to grant: half take no longer, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 take no longer.
    pub p99_ms: f64,
    /// None takes longer.
    pub max_ms: f64,
    /// Octets of memory for each domain: what is more than before the first grant, state of the connections included.
    pub octets_per_domain: f64,
    /// Memory with all connections and domains, in MiB.
    pub memory_mib: f64,
    /// From the start of the process with all these grants on disk until it votes, in milliseconds.
    pub restart_ms: f64,
    /// And until every node has renewed again.
    pub all_renewed_ms: f64,
}

/// Runs the cases; `tell` hears each as it is done. To be called within the enclosure, before any thread is started.
///
/// # Errors
/// The machine or the witness fails.
pub fn run(options: &Options, mut tell: impl FnMut(&Row)) -> Result<Vec<Row>, Error> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(io_error("make a network namespace"))?;
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    up.map_err(io_error("run `ip`: install iproute2"))?;
    setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES).map_err(io_error("allow more files"))?;
    let mut rows = Vec::new();
    for (number, case) in options.cases.iter().enumerate() {
        let dir = options.room.join(format!("witness-{number}"));
        let row = measure(case, options, &dir)?;
        tell(&row);
        rows.push(row);
    }
    Ok(rows)
}

fn measure(case: &Case, options: &Options, dir: &Path) -> Result<Row, Error> {
    std::fs::create_dir_all(dir).map_err(io_error("make a directory for the run"))?;
    let (file, identities) = nodes::configure(case, dir)?;
    let config = config::load(&file).map_err(|error| strange("the configuration", &error.to_string()))?;
    let mut witness = Running::start(options, dir, &file)?;
    let nodes = Nodes::start(case, &config, identities)?;
    nodes.wait("are connected", PATIENCE, |tally| tally.connected >= case.nodes)?;
    let before = witness.used().memory;
    nodes.renew();
    nodes.wait("hold their domains", PATIENCE, |tally| tally.granted_once >= case.nodes)?;
    // What the first grants left behind is no part of the steady state.
    thread::sleep(Duration::from_secs(1));
    let (begin, used) = (Instant::now(), witness.used());
    nodes.take();
    thread::sleep(options.time);
    let (tally, end) = (nodes.take(), witness.used());
    let time = begin.elapsed().as_secs_f64();

    drop(witness);
    // Answers of its former life that a busy node has not read yet are none of the next.
    thread::sleep(SETTLE);
    nodes.take();
    let begin = Instant::now();
    witness = Running::start(options, dir, &file)?;
    let voted = begin.elapsed();
    nodes.wait("have renewed after the restart", PATIENCE, |tally| tally.granted_once >= case.nodes)?;
    let all = begin.elapsed();
    drop(witness);
    Ok(row(case, &config, &Seen { tally, time, used, end, before, voted, all }))
}

struct Seen {
    tally: Tally,
    time: f64,
    used: Used,
    end: Used,
    before: u64,
    voted: Duration,
    all: Duration,
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn row(case: &Case, config: &WitnessConfig, seen: &Seen) -> Row {
    let mut waits: Vec<f64> = seen.tally.waits_us.iter().map(|us| f64::from(*us) / 1e3).collect();
    waits.sort_by(f64::total_cmp);
    let cpu = seen.end.cpu_ns.saturating_sub(seen.used.cpu_ns) as f64 / 1e9;
    let per_second = |count: u64| count as f64 / seen.time;
    let domains = (case.nodes * case.domains) as f64;
    debug_assert_eq!(config.clusters.len(), case.nodes.div_ceil(2));
    Row {
        nodes: case.nodes,
        domains: case.domains,
        asked: per_second(seen.tally.asked),
        granted: per_second(seen.tally.granted),
        cpu: cpu / seen.time * 100.0,
        per_cpu_second: seen.tally.granted as f64 / cpu.max(1e-9),
        datagrams_per_cpu_second: seen.tally.waits_us.len() as f64 / cpu.max(1e-9),
        p50_ms: super::percentile(&waits, 50),
        p99_ms: super::percentile(&waits, 99),
        max_ms: super::percentile(&waits, 100),
        octets_per_domain: seen.end.memory.saturating_sub(seen.before) as f64 / domains,
        memory_mib: seen.end.memory as f64 / f64::from(1 << 20),
        restart_ms: seen.voted.as_secs_f64() * 1e3,
        all_renewed_ms: seen.all.as_secs_f64() * 1e3,
    }
}

/// For people.
pub fn words(row: &Row) -> String {
    format!(
        "{} nodes with {} domains each: {:.0} renewals/s of {:.0}, {:.0} % of a processor ({:.0} renewals, {:.0} datagrams \
         a processor and second)\n  answer p50 {:.2} ms, p99 {:.2} ms, max {:.1} ms\n  {:.0} octets a domain, {:.1} MiB in \
         all; restart: votes after {:.0} ms, all renewed after {:.0} ms",
        row.nodes,
        row.domains,
        row.granted,
        row.asked,
        row.cpu,
        row.per_cpu_second,
        row.datagrams_per_cpu_second,
        row.p50_ms,
        row.p99_ms,
        row.max_ms,
        row.octets_per_domain,
        row.memory_mib,
        row.restart_ms,
        row.all_renewed_ms
    )
}

fn strange(what: &str, output: &str) -> Error {
    Error::Command { command: what.to_owned(), status: String::new(), output: output.to_owned() }
}

/// The witness, killed when this is dropped.
struct Running(Child);

/// What it has used by now.
#[derive(Debug, Clone, Copy)]
struct Used {
    /// Time on a processor, all its threads, in nanoseconds.
    cpu_ns: u64,
    /// Proportional share of memory, in octets.
    memory: u64,
}

impl Running {
    /// Starts it on the first processor and waits until it says that it votes. This process goes to the others.
    fn start(options: &Options, dir: &Path, file: &Path) -> Result<Self, Error> {
        let path = dir.join("notify");
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).map_err(io_error("make a socket"))?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(io_error("make a socket"))?;
        let log = std::fs::File::create(dir.join("log")).map_err(io_error("make a log"))?;
        let mut command = Command::new(options.bin_dir.join("keepone-witness"));
        command.args(["run", "-c"]).arg(file).env("NOTIFY_SOCKET", &path).env("KEEPONE_LOG", "warn");
        let all = sched_getaffinity(Pid::from_raw(0)).map_err(io_error("read the processors"))?;
        only(true)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.map(Running).map_err(io_error("start keepone-witness"))?;
        only(false).or_else(|_| sched_setaffinity(Pid::from_raw(0), &all).map_err(io_error("choose a processor")))?;
        let mut said = [0; 256];
        let length = socket.recv(&mut said).map_err(io_error("wait for keepone-witness"))?;
        match said.get(..length) {
            Some(said) if said.starts_with(b"READY=1") => Ok(child),
            _ => Err(strange("keepone-witness run", "it does not say that it votes")),
        }
    }

    fn used(&self) -> Used {
        let own = format!("/proc/{}", self.0.id());
        let tasks = std::fs::read_dir(format!("{own}/task")).into_iter().flatten().flatten();
        let time = |task: std::fs::DirEntry| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|run| run.parse::<u64>().ok()).unwrap_or(0)
        };
        let text = std::fs::read_to_string(format!("{own}/smaps_rollup")).unwrap_or_default();
        let pss =
            text.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse::<u64>().ok());
        Used { cpu_ns: tasks.map(time).sum(), memory: pss.unwrap_or(0) * 1024 }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This thread, and what it starts from now on, on the first processor alone, or on all others.
fn only(first: bool) -> Result<(), Error> {
    let mut set = CpuSet::new();
    let count = thread::available_parallelism().map_or(2, std::num::NonZero::get).max(2);
    for cpu in if first { 0..1 } else { 1..count } {
        set.set(cpu).map_err(io_error("choose a processor"))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).map_err(io_error("choose a processor"))
}

/// The nodes' thread is as punctual as an agent's.
fn punctual() {
    realtime::ask(Rank::Decides);
}
