//! One cluster in its wires, and the faults that can be done to it.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::agent::{self, Agent, Peer};
use super::cut::{Cuts, Rule};
use super::deeds::Works;
use super::error::{Error, io_error};
use super::etcd;
use super::observe::gate::Peephole;
use super::process::{Processes, tail};
use super::topology::{Kind, Topology, vip};
use super::weather::Relays;
use crate::deed::Weather;
use crate::fault::{Class, Fault, Network, Part, Way, Where, Who};
use crate::scenario::{Scenario, Shape};

/// What burdens the machine all through a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Burden {
    /// Ordinary programs that want a whole CPU each.
    pub hogs: u8,
    /// Real-time programs that want one; at most for a minute.
    pub rt_hogs: u8,
}

/// Another release beside the one that is driven.
#[derive(Debug, Clone)]
pub struct Neighbour {
    /// Where its `keepone` and `keepone-witness` are.
    pub bin_dir: PathBuf,
    /// The machines that begin with it.
    pub begin: Vec<Kind>,
    /// Whether each machine comes back with the other release when it is started again.
    pub exchange: bool,
}

/// What a world is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What keeps the VIP alive.
    pub peer: Peer,
    /// Nodes, witnesses, voters, lease.
    pub shape: Shape,
    /// Clients, 1 or 2.
    pub clients: usize,
    /// Heartbeat networks.
    pub heartbeats: u8,
    /// Where `keepone` and `keepone-witness` are.
    pub bin_dir: PathBuf,
    /// Another release that some machines have.
    pub neighbour: Option<Neighbour>,
    /// How much later than the scenario says every deed is done, in nanoseconds.
    pub shift: u64,
    /// Where the world may keep its files; made anew.
    pub room: PathBuf,
    /// Whether each change is told to a script that never returns.
    pub hanging_scripts: bool,
    /// So many more virtual routers than the one that is watched.
    pub more_instances: u8,
    /// Whether they track a script.
    pub script: bool,
    /// What burdens the machine.
    pub burden: Burden,
    /// TCP connections to the VIP in a second.
    pub load: u64,
}

impl Plan {
    /// For a scenario, in a cluster of that shape.
    pub fn new(scenario: &Scenario, peer: Peer, shape: Shape, bin_dir: PathBuf, room: PathBuf) -> Self {
        Plan {
            peer,
            shape,
            clients: if scenario.second_client { 2 } else { 1 },
            heartbeats: 2,
            bin_dir,
            neighbour: None,
            shift: 0,
            room,
            hanging_scripts: scenario.hanging_scripts,
            more_instances: scenario.more_instances,
            script: scenario.has_script(),
            burden: Burden::default(),
            load: scenario.load,
        }
    }

    /// How many nodes.
    pub fn nodes(&self) -> usize {
        usize::from(self.shape.nodes)
    }
}

/// Which machines a scenario's words mean, settled when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cast {
    /// The node that held the VIP.
    pub master: usize,
    /// The first of the others.
    pub backup: usize,
    /// How many nodes there are.
    pub nodes: usize,
    /// How many witnesses, or members of etcd.
    pub witnesses: usize,
    /// Which of these leads, where etcd decides.
    pub leader: Option<usize>,
}

impl Cast {
    /// With `holder` as the master.
    pub fn new(holder: usize, shape: &Shape) -> Self {
        let (nodes, witnesses) = (usize::from(shape.nodes), usize::from(shape.witnesses));
        Cast { master: holder, backup: usize::from(holder == 0), nodes, witnesses, leader: None }
    }

    /// All of etcd's members but its leader.
    fn followers(self) -> impl Iterator<Item = Kind> {
        let all = 0..self.leader.map_or(0, |_| self.witnesses);
        all.filter(move |member| Some(*member) != self.leader).map(Kind::Witness)
    }

    /// The machines behind a word.
    pub fn kinds(self, who: Who) -> Vec<Kind> {
        let nodes = || (0..self.nodes).map(Kind::Node);
        match who {
            Who::Master => vec![Kind::Node(self.master)],
            Who::Backup => vec![Kind::Node(self.backup)],
            Who::Client => vec![Kind::Client(0)],
            Who::MasterSideClient => vec![Kind::Client(1)],
            Who::Gateway => vec![Kind::Gateway],
            Who::Witness => vec![Kind::Witness(0)],
            Who::Witnesses => (0..self.witnesses).map(Kind::Witness).collect(),
            Who::Leader => self.leader.map(Kind::Witness).into_iter().collect(),
            Who::Follower => self.followers().take(1).collect(),
            Who::Followers => self.followers().collect(),
            Who::Nodes => nodes().collect(),
            Who::Others => nodes().filter(|kind| *kind != Kind::Node(self.master)).collect(),
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
    /// The witnesses, or the members of etcd, in order.
    pub witnesses: Vec<Agent>,
    pub(super) cuts: Cuts,
    pub(super) processes: Processes,
    pub(super) works: Works,
    relays: Relays,
    links_down: Vec<(Kind, Network)>,
}

impl World {
    /// Makes the wires and starts every program.
    ///
    /// # Errors
    /// Any of [`Error`]'s.
    pub fn start(plan: Plan, processes: &Processes) -> Result<Self, Error> {
        let witnesses = usize::from(plan.shape.witnesses);
        let topology = Topology::build(plan.nodes(), witnesses, plan.clients, plan.heartbeats)?;
        let cuts = Cuts::new(&topology)?;
        let (agents, witnesses) = agent::prepare(&plan, &topology, processes)?;
        let processes = processes.clone();
        let (works, relays, links_down) = (Works::default(), Relays::default(), Vec::new());
        let mut world = World { topology, agents, plan, witnesses, cuts, processes, works, relays, links_down };
        for agent in world.witnesses.iter_mut().chain(&mut world.agents) {
            agent.start(&world.processes)?;
        }
        let Burden { hogs, rt_hogs } = world.plan.burden;
        world.start_hogs(hogs, None, 3_600_000)?;
        world.start_hogs(rt_hogs, Some(20), 60_000)?;
        Ok(world)
    }

    /// Does one fault.
    ///
    /// # Errors
    /// When the world, not the cluster, fails.
    pub fn apply(&mut self, fault: Fault, cast: Cast) -> Result<(), Error> {
        match fault {
            Fault::Drop { from, to, way, on, class } => {
                let rules = self.rules(&cast.kinds(from), &cast.kinds(to), way, on, class);
                self.cuts.drop(rules)
            }
            Fault::Mend { from, to, way, on, class } => {
                let rules = self.rules(&cast.kinds(from), &cast.kinds(to), way, on, class);
                self.cuts.mend(rules)
            }
            // A course has none left: it is written out before it is played.
            Fault::Flap { .. } => Ok(()),
            Fault::LinkDown { who, on } => self.each(cast, who, |world, kind| world.set_link(kind, on, false)),
            Fault::LinkUp { who, on } => self.each(cast, who, |world, kind| world.set_link(kind, on, true)),
            Fault::Kill { who, part } => self.signal(cast, who, part, Signal::SIGKILL),
            Fault::Terminate { who } => self.signal(cast, who, Part::Guardian, Signal::SIGTERM),
            Fault::Stop { who, part } => self.signal(cast, who, part, Signal::SIGSTOP),
            Fault::Continue { who, part } => self.signal(cast, who, part, Signal::SIGCONT),
            Fault::Pause { who } => {
                self.each(cast, who, |world, kind| world.cuts.set_paused(&world.topology, kind, true))?;
                self.signal(cast, who, Part::Both, Signal::SIGSTOP)
            }
            Fault::Resume { who } => {
                self.signal(cast, who, Part::Both, Signal::SIGCONT)?;
                self.each(cast, who, |world, kind| world.cuts.set_paused(&world.topology, kind, false))
            }
            Fault::Start { who } => self.each(cast, who, World::start_again),
            Fault::Real(deed) => self.apply_deed(deed, cast),
            Fault::Heal => self.heal(),
        }
    }

    /// Does the same to every machine that a word means.
    pub(super) fn each(
        &mut self,
        cast: Cast,
        who: Who,
        mut work: impl FnMut(&mut World, Kind) -> Result<(), Error>,
    ) -> Result<(), Error> {
        cast.kinds(who).into_iter().try_for_each(|kind| work(self, kind))
    }

    fn networks(&self) -> Vec<Network> {
        let heartbeats = (0..self.topology.heartbeats).map(Network::Heartbeat);
        [Network::Lan, Network::Witness].into_iter().chain(heartbeats).collect()
    }

    /// The rules for frames between any of the ones and any of the others; nobody talks to itself.
    fn rules(&self, from: &[Kind], to: &[Kind], way: Way, on: Where, class: Class) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (&from, &to) in from.iter().flat_map(|from| to.iter().map(move |to| (from, to))) {
            let (Some(from), Some(to)) = (self.topology.host(from), self.topology.host(to)) else { continue };
            if from.kind == to.kind {
                continue;
            }
            for network in self.networks().into_iter().filter(|&network| on.covers(network)) {
                rules.extend(Rule::between(from, to, network, class));
                if way == Way::Both {
                    rules.extend(Rule::between(to, from, network, class));
                }
            }
        }
        rules
    }

    pub(super) fn set_weather(&mut self, from: &[Kind], to: &[Kind], weather: Weather) -> Result<(), Error> {
        // The relays listen before the switch stops anything.
        for (&from, &to) in from.iter().flat_map(|from| to.iter().map(move |to| (from, to))) {
            for network in self.networks().into_iter().filter(|_| from != to) {
                let port = |kind| self.topology.host(kind).and_then(|host| host.port(network));
                if let (Some(from), Some(to)) = (port(from), port(to)) {
                    self.relays.start(&self.topology, from, to, weather)?;
                }
            }
        }
        let rules = self.rules(from, to, Way::There, Where::Everywhere, Class::All);
        self.cuts.set_weather(rules)
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
        self.relays.end();
        for (kind, network) in std::mem::take(&mut self.links_down) {
            self.set_link(kind, network, true)?;
        }
        Ok(())
    }

    pub(super) fn program(&mut self, kind: Kind) -> Option<&mut Agent> {
        self.agents.iter_mut().chain(&mut self.witnesses).find(|agent| agent.kind == kind)
    }

    /// A look at a node's gate from outside; `None`: it is no node.
    pub(super) fn peephole(&self, kind: Kind) -> Result<Option<Peephole>, Error> {
        let Some(agent) = self.agents.iter().find(|agent| agent.kind == kind) else { return Ok(None) };
        let Some(host) = self.topology.host(kind) else { return Ok(None) };
        if !self.plan.shape.nft {
            return Ok(Some(Peephole::of_pins(agent.bpf_dir())));
        }
        let open = || Peephole::of_sets(vip(self.plan.shape.ipv6)).map_err(io_error("open a socket for nf_tables"));
        host.namespace.run(open).map(Some)
    }

    fn signal(&mut self, cast: Cast, who: Who, part: Part, signal: Signal) -> Result<(), Error> {
        self.each(cast, who, |world, kind| {
            if let Some(agent) = world.program(kind) {
                agent.signal(part, signal);
            }
            Ok(())
        })
    }

    /// Starts what is not running; what came back by itself is left alone.
    pub(super) fn start_again(&mut self, kind: Kind) -> Result<(), Error> {
        let processes = self.processes.clone();
        match self.program(kind) {
            Some(agent) if !agent.is_running(&processes) => agent.start(&processes),
            _ => Ok(()),
        }
    }

    /// Programs that ended though nobody asked them to, with the end of their logs.
    pub fn surprises(&self) -> Vec<String> {
        let programs = self.agents.iter().chain(&self.witnesses);
        let tell = |agent: &Agent| {
            let ending = agent.surprise(&self.processes)?;
            let name = self.topology.host(agent.kind).map_or("?", |host| host.name.as_str());
            Some(format!("{name}: its program ended: {ending}; its log ends with: {}", tail(&agent.log())))
        };
        programs.filter_map(tell).collect()
    }

    /// The moments that deeds have waited for in vain so far.
    pub fn missed(&self) -> Vec<String> {
        self.works.missed()
    }

    /// Ends every program of this world; orderly where it can be had within a moment.
    pub fn end(&mut self) {
        self.works.end();
        self.relays.end();
        for agent in self.agents.iter_mut().chain(&mut self.witnesses) {
            agent.signal(Part::Both, Signal::SIGKILL);
        }
        self.works.tidy();
        if self.plan.shape.etcd {
            etcd::remove_disks(&self.witnesses);
        }
    }

    /// The cast of a scenario that begins now.
    ///
    /// # Errors
    /// Where etcd decides, and has no leader.
    pub fn cast(&self, holder: usize) -> Result<Cast, Error> {
        let cast = Cast::new(holder, &self.plan.shape);
        if !self.plan.shape.etcd {
            return Ok(cast);
        }
        Ok(Cast { leader: Some(etcd::leader(&self.topology)?), ..cast })
    }

    /// Copies configuration, logs and events to `directory`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn keep_logs(&self, directory: &Path) -> Result<(), Error> {
        copy(&self.plan.room, directory)
    }
}

/// Copies plain files, but no keys, nothing of a bpffs and nothing of etcd's data.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let what = || io_error(format!("copy {} to {}", from.display(), to.display()));
    std::fs::create_dir_all(to).map_err(what())?;
    for entry in std::fs::read_dir(from).map_err(what())?.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let Ok(kind) = entry.file_type() else { continue };
        let skipped = ["bpf", "keys", etcd::DATA].iter().any(|skipped| name == *skipped);
        if kind.is_dir() && !skipped {
            copy(&path, &to.join(&name))?;
        } else if kind.is_file() {
            std::fs::copy(&path, to.join(&name)).map_err(what())?;
        }
    }
    Ok(())
}
