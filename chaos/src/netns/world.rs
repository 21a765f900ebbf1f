//! One cluster in its wires, and the faults that can be done to it.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::agent::{self, Agent, Peer};
use super::cut::{Cuts, Rule};
use super::error::Error;
use super::process::{Processes, tail};
use super::topology::{Kind, Topology};
use crate::fault::{Class, Fault, Network, Part, Way, Where, Who};

/// What a world is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What keeps the VIP alive.
    pub peer: Peer,
    /// Nodes, 2 to 4.
    pub nodes: usize,
    /// Clients, 1 or 2.
    pub clients: usize,
    /// Heartbeat networks.
    pub heartbeats: u8,
    /// Where `keepone` and `keepone-witness` are.
    pub bin_dir: PathBuf,
    /// How much later than the scenario says every deed is done, in nanoseconds.
    pub shift: u64,
    /// Where the world may keep its files; made anew.
    pub room: PathBuf,
}

/// Which machines a scenario's words mean, settled when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cast {
    /// The node that held the VIP.
    pub master: usize,
    /// The first of the others.
    pub backup: usize,
}

impl Cast {
    /// With `holder` as the master.
    pub fn new(holder: usize) -> Self {
        Cast { master: holder, backup: usize::from(holder == 0) }
    }

    /// The machine behind a word.
    pub fn kind(self, who: Who) -> Kind {
        match who {
            Who::Master => Kind::Node(self.master),
            Who::Backup => Kind::Node(self.backup),
            Who::Client => Kind::Client(0),
            Who::MasterSideClient => Kind::Client(1),
            Who::Gateway => Kind::Gateway,
            Who::Witness => Kind::Witness,
        }
    }
}

/// A cluster, running.
#[derive(Debug)]
pub struct World {
    /// Its machines and wires.
    pub topology: Topology,
    /// The agents in the order of the nodes.
    pub agents: Vec<Agent>,
    /// The plan it was made from.
    pub plan: Plan,
    witness: Option<Agent>,
    cuts: Cuts,
    processes: Processes,
    links_down: Vec<(Kind, Network)>,
}

impl World {
    /// Makes the wires and starts every program.
    ///
    /// # Errors
    /// Any of [`Error`]'s.
    pub fn start(plan: Plan, processes: &Processes) -> Result<Self, Error> {
        let topology = Topology::build(plan.nodes, plan.clients, plan.heartbeats)?;
        let cuts = Cuts::new(&topology)?;
        let (agents, witness) = agent::prepare(plan.peer, &topology, &plan.room, &plan.bin_dir, processes)?;
        let processes = processes.clone();
        let mut world = World { topology, agents, plan, witness, cuts, processes, links_down: Vec::new() };
        for agent in world.witness.iter_mut().chain(&mut world.agents) {
            agent.start(&world.processes)?;
        }
        Ok(world)
    }

    /// Does one fault.
    ///
    /// # Errors
    /// When the world, not the cluster, fails.
    pub fn apply(&mut self, fault: Fault, cast: Cast) -> Result<(), Error> {
        match fault {
            Fault::Drop { from, to, way, on, class } => self.cut(cast.kind(from), cast.kind(to), way, on, class),
            Fault::LinkDown { who, on } => self.set_link(cast.kind(who), on, false),
            Fault::Kill { who, part } => self.signal(cast.kind(who), part, Signal::SIGKILL),
            Fault::Terminate { who } => self.signal(cast.kind(who), Part::Guardian, Signal::SIGTERM),
            Fault::Stop { who, part } => self.signal(cast.kind(who), part, Signal::SIGSTOP),
            Fault::Continue { who, part } => self.signal(cast.kind(who), part, Signal::SIGCONT),
            Fault::Pause { who } => {
                self.cuts.set_paused(&self.topology, cast.kind(who), true)?;
                self.signal(cast.kind(who), Part::Both, Signal::SIGSTOP)
            }
            Fault::Resume { who } => {
                self.signal(cast.kind(who), Part::Both, Signal::SIGCONT)?;
                self.cuts.set_paused(&self.topology, cast.kind(who), false)
            }
            Fault::Start { who } => self.start_again(cast.kind(who)),
            Fault::Heal => self.heal(),
        }
    }

    fn networks(&self) -> Vec<Network> {
        let heartbeats = (0..self.topology.heartbeats).map(Network::Heartbeat);
        [Network::Lan, Network::Witness].into_iter().chain(heartbeats).collect()
    }

    fn cut(&mut self, from: Kind, to: Kind, way: Way, on: Where, class: Class) -> Result<(), Error> {
        let (Some(from), Some(to)) = (self.topology.host(from), self.topology.host(to)) else { return Ok(()) };
        let mut rules = Vec::new();
        for network in self.networks().into_iter().filter(|&network| on.covers(network)) {
            rules.extend(Rule::between(from, to, network, class));
            if way == Way::Both {
                rules.extend(Rule::between(to, from, network, class));
            }
        }
        self.cuts.drop(rules)
    }

    fn set_link(&mut self, kind: Kind, network: Network, up: bool) -> Result<(), Error> {
        let Some(port) = self.topology.host(kind).and_then(|host| host.port(network)) else { return Ok(()) };
        self.topology.set_link(port, up)?;
        if !up {
            self.links_down.push((kind, network));
        }
        Ok(())
    }

    fn heal(&mut self) -> Result<(), Error> {
        self.cuts.heal()?;
        for (kind, network) in std::mem::take(&mut self.links_down) {
            self.set_link(kind, network, true)?;
        }
        Ok(())
    }

    fn program(&mut self, kind: Kind) -> Option<&mut Agent> {
        self.agents.iter_mut().chain(&mut self.witness).find(|agent| agent.kind == kind)
    }

    fn signal(&mut self, kind: Kind, part: Part, signal: Signal) -> Result<(), Error> {
        if let Some(agent) = self.program(kind) {
            agent.signal(part, signal);
        }
        Ok(())
    }

    /// Starts what is not running; what came back by itself is left alone.
    fn start_again(&mut self, kind: Kind) -> Result<(), Error> {
        let processes = self.processes.clone();
        match self.program(kind) {
            Some(agent) if !agent.is_running(&processes) => agent.start(&processes),
            _ => Ok(()),
        }
    }

    /// Programs that ended though nobody asked them to, with the end of their logs.
    pub fn surprises(&self) -> Vec<String> {
        let programs = self.agents.iter().chain(&self.witness);
        let tell = |agent: &Agent| {
            let ending = agent.surprise(&self.processes)?;
            let name = self.topology.host(agent.kind).map_or("?", |host| host.name.as_str());
            Some(format!("{name}: its program ended: {ending}; its log ends with: {}", tail(&agent.log())))
        };
        programs.filter_map(tell).collect()
    }

    /// Ends every program of this world; orderly where it can be had within a moment.
    pub fn end(&mut self) {
        for agent in self.agents.iter_mut().chain(&mut self.witness) {
            agent.signal(Part::Both, Signal::SIGKILL);
        }
    }

    /// Copies configuration, logs and events to `directory`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn keep_logs(&self, directory: &Path) -> Result<(), Error> {
        copy(&self.plan.room, directory)
    }
}

/// Copies plain files, but no keys and nothing of a bpffs.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let what = || super::error::io_error(format!("copy {} to {}", from.display(), to.display()));
    std::fs::create_dir_all(to).map_err(what())?;
    for entry in std::fs::read_dir(from).map_err(what())?.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let Ok(kind) = entry.file_type() else { continue };
        let skipped = ["bpf", "keys"].iter().any(|skipped| name == *skipped);
        if kind.is_dir() && !skipped {
            copy(&path, &to.join(&name))?;
        } else if kind.is_file() {
            std::fs::copy(&path, to.join(&name)).map_err(what())?;
        }
    }
    Ok(())
}
