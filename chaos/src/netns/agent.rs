//! The programs under test: their directories, their configuration, how they are started and found.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;

use super::configuration::{self, Cluster, Extras, Members, Pace};
use super::error::{Error, io_error};
use super::etcd;
use super::namespace::Namespace;
use super::process::{self, Processes};
use super::topology::{Host, Kind, Topology};
use super::world::Plan;
use crate::deed::Change;
use crate::fault::Part;

/// What keeps the VIP alive in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// keepone with its witness.
    Keepone,
    /// The keepalived that is installed, for comparison: no heartbeat lines, no witness.
    Keepalived,
}

impl Peer {
    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Peer::Keepone => "keepone",
            Peer::Keepalived => "keepalived",
        }
    }
}

/// A program of one machine, running or not.
#[derive(Debug)]
pub struct Agent {
    /// The machine.
    pub kind: Kind,
    /// Its own directory: configuration, state, log.
    pub directory: PathBuf,
    namespace: Namespace,
    program: PathBuf,
    /// The program of its second start and all later ones, where that is another.
    next: Option<PathBuf>,
    arguments: Vec<String>,
    /// The first process of the last start.
    pid: Option<i32>,
    /// Whether it was told to end, so that its end is no surprise.
    ended_on_purpose: bool,
    /// Its configuration's file, and the text of each change to it.
    configurations: Option<(PathBuf, Vec<(Change, String)>)>,
}

impl Agent {
    /// Starts it; its output goes to `log` in its directory.
    ///
    /// # Errors
    /// [`Error::Io`] when the program can't be started.
    pub fn start(&mut self, processes: &Processes) -> Result<(), Error> {
        if self.pid.is_some() {
            self.program = self.next.take().unwrap_or_else(|| self.program.clone());
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        self.pid = Some(processes.start(&self.namespace, command, &self.log())?);
        self.ended_on_purpose = false;
        Ok(())
    }

    /// Sends a signal to a part of it, the guardian first: nobody lives long enough to act on the death of
    /// the other.
    pub fn signal(&mut self, part: Part, signal: Signal) {
        let Some(guardian) = self.pid else { return };
        // A guardian whose worker is killed may well end, too.
        if matches!(signal, Signal::SIGKILL | Signal::SIGTERM) {
            self.ended_on_purpose = true;
        }
        process::signal(&process::members(guardian, part), signal);
    }

    /// Whether its first process runs.
    pub fn is_running(&self, processes: &Processes) -> bool {
        self.pid.is_some_and(|pid| processes.ending(pid).is_none())
    }

    /// How it ended, if nobody asked it to.
    pub fn surprise(&self, processes: &Processes) -> Option<String> {
        if self.ended_on_purpose { None } else { processes.ending(self.pid?) }
    }

    /// Its first process, if it was ever started.
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// Its processes that `part` means at this moment; none if it does not run.
    pub fn processes(&self, processes: &Processes, part: Part) -> Vec<i32> {
        match self.pid {
            Some(pid) if processes.ending(pid).is_none() => process::members(pid, part),
            _ => Vec::new(),
        }
    }

    /// Says that its end from now on is no surprise.
    pub fn expect_end(&mut self) {
        self.ended_on_purpose = true;
    }

    /// Writes a changed configuration, which counts at the next start.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn configure(&self, change: Change) -> Result<(), Error> {
        let Some((file, texts)) = &self.configurations else { return Ok(()) };
        let text = texts.iter().find(|(other, _)| *other == change);
        text.map_or(Ok(()), |(_, text)| write(file, text))
    }

    /// Where its voter's record is, a file system of its own.
    pub fn state_dir(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// What it runs.
    pub fn program(&self) -> PathBuf {
        self.program.clone()
    }

    /// Its log file.
    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Where it keeps its events.
    pub fn run_dir(&self) -> PathBuf {
        self.directory.join("run")
    }

    /// Where it pins its gate.
    pub fn bpf_dir(&self) -> PathBuf {
        self.directory.join("bpf")
    }
}

/// The programs of a world, none of them running yet: the agents in the order of the nodes, and the witnesses.
///
/// # Errors
/// [`Error::NoBinary`], [`Error::Command`] when the keys can't be made, [`Error::Io`].
pub fn prepare(plan: &Plan, topology: &Topology, processes: &Processes) -> Result<(Vec<Agent>, Vec<Agent>), Error> {
    match plan.peer {
        Peer::Keepone => prepare_keepone(plan, topology, processes),
        Peer::Keepalived => prepare_keepalived(topology, &plan.room).map(|agents| (agents, Vec::new())),
    }
}

fn make_dir(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(io_error(format!("create {}", path.display())))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(io_error(format!("write {}", path.display())))
}

fn agent(host: &Host, directory: PathBuf, program: PathBuf, arguments: Vec<String>) -> Agent {
    let namespace = host.namespace.clone();
    Agent {
        kind: host.kind,
        directory,
        namespace,
        program,
        next: None,
        arguments,
        pid: None,
        ended_on_purpose: false,
        configurations: None,
    }
}

fn find_binary(bin_dir: &Path, name: &str) -> Result<PathBuf, Error> {
    let path = bin_dir.join(name);
    let missing = || Error::NoBinary { name: name.to_owned(), looked: bin_dir.to_owned() };
    if path.is_file() { Ok(path) } else { Err(missing()) }
}

/// The program that a machine begins with, and the one of its later starts where that is another.
fn releases(plan: &Plan, kind: Kind, name: &str) -> Result<(PathBuf, Option<PathBuf>), Error> {
    let own = find_binary(&plan.bin_dir, name)?;
    let Some(neighbour) = &plan.neighbour else { return Ok((own, None)) };
    let other = find_binary(&neighbour.bin_dir, name)?;
    let (first, second) = if neighbour.begin.contains(&kind) { (other, own) } else { (own, other) };
    Ok((first, neighbour.exchange.then_some(second)))
}

/// The keepalived that is installed, where Debian puts it.
pub fn keepalived() -> Option<PathBuf> {
    ["/usr/sbin/keepalived", "/usr/local/sbin/keepalived"].into_iter().map(PathBuf::from).find(|path| path.is_file())
}

/// The size of a voter's disk: it can be filled.
const SMALL: &str = "size=256k";

fn make_disk(path: &Path, size: &str) -> Result<(), Error> {
    make_dir(path)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("keepone-chaos"), path, Some("tmpfs"), flags, Some(size))
        .map_err(io_error(format!("mount a tmpfs on {}", path.display())))
}

/// A script that never returns.
fn hanging_script(room: &Path) -> Result<PathBuf, Error> {
    let path = room.join("hang");
    write(&path, "#!/bin/sh\nexec sleep 3600\n")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(io_error("make a script executable"))?;
    Ok(path)
}

fn prepare_keepone(plan: &Plan, topology: &Topology, processes: &Processes) -> Result<(Vec<Agent>, Vec<Agent>), Error> {
    let program = find_binary(&plan.bin_dir, "keepone")?;
    let room = &plan.room;
    let keys = room.join("keys");
    make_dir(&keys)?;
    let witnesses = topology.witness_hosts().filter(|_| !plan.shape.etcd);
    let names: Vec<String> = topology.node_hosts().chain(witnesses).map(|host| host.name.clone()).collect();
    let mut command = Command::new(&program);
    command.args(["keys", "--cluster", "demo", "--out"]).arg(&keys).args(&names);
    processes.complete(&topology.switch, command, &room.join("keys.log"), Duration::from_secs(20))?;
    let members = Members::read(&keys.join("members.toml"))?;
    let notify = if plan.hanging_scripts { Some(hanging_script(room)?) } else { None };
    let extras = Extras { notify, more_instances: plan.more_instances, script: plan.script };
    let pace = Pace::of_lease(plan.shape.lease_ms);
    let cluster = Cluster { topology, keys: &keys, members: &members, shape: &plan.shape, pace, extras: &extras };

    let mut agents = Vec::new();
    for host in topology.node_hosts() {
        let directory = room.join(&host.name);
        make_dir(&directory.join("run"))?;
        make_dir(&directory.join("bpf"))?;
        make_disk(&directory.join("state"), SMALL)?;
        let file = directory.join("keepone.toml");
        let texts = [Change::Original, Change::OtherLease, Change::OtherRate]
            .map(|change| (change, cluster.of_changed_node(host, &directory, change)));
        let (program, next) = releases(plan, host.kind, "keepone")?;
        let mut node = agent(host, directory, program, run_with(&file));
        node.next = next;
        node.configurations = Some((file, texts.to_vec()));
        node.configure(Change::Original)?;
        agents.push(node);
    }
    if plan.shape.etcd {
        return Ok((agents, prepare_etcd(topology, room)?));
    }
    let mut witnesses = Vec::new();
    for host in topology.witness_hosts() {
        let directory = room.join(&host.name);
        make_dir(&directory.join("run"))?;
        make_disk(&directory.join("state"), SMALL)?;
        let file = directory.join("witness.toml");
        write(&file, &cluster.of_witness(host, &directory))?;
        let (program, next) = releases(plan, host.kind, "keepone-witness")?;
        let mut witness = agent(host, directory, program, run_with(&file));
        witness.next = next;
        witnesses.push(witness);
    }
    Ok((agents, witnesses))
}

fn prepare_etcd(topology: &Topology, room: &Path) -> Result<Vec<Agent>, Error> {
    etcd::shorten_frames(topology)?;
    let program = etcd::program()?;
    let mut members = Vec::new();
    for host in topology.witness_hosts() {
        let directory = room.join(&host.name);
        let state_dir = directory.join("state");
        make_disk(&state_dir, etcd::DISK)?;
        members.push(agent(host, directory, program.clone(), etcd::arguments(host, topology, &state_dir)));
    }
    Ok(members)
}

fn run_with(file: &Path) -> Vec<String> {
    vec!["run".to_owned(), "-c".to_owned(), file.display().to_string()]
}

fn prepare_keepalived(topology: &Topology, room: &Path) -> Result<Vec<Agent>, Error> {
    let missing = || Error::NoBinary { name: "keepalived".to_owned(), looked: PathBuf::from("/usr/sbin") };
    let program = keepalived().ok_or_else(missing)?;
    let mut agents = Vec::new();
    for host in topology.node_hosts() {
        let Kind::Node(number) = host.kind else { continue };
        let directory = room.join(&host.name);
        make_dir(&directory)?;
        let file = directory.join("keepalived.conf");
        write(&file, &configuration::of_keepalived(&host.name, number))?;
        let path = |name: &str| directory.join(name).display().to_string();
        let arguments = vec![
            "--dont-fork".to_owned(),
            "--vrrp".to_owned(),
            "--log-console".to_owned(),
            format!("--use-file={}", file.display()),
            format!("--pid={}", path("parent.pid")),
            format!("--vrrp_pid={}", path("vrrp.pid")),
        ];
        agents.push(agent(host, directory, program.clone(), arguments));
    }
    Ok(agents)
}
