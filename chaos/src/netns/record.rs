//! All observers of one world, and what they saw.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::configuration::domains;
use super::error::{Error, io_error};
use super::observe::client::{Answer, Diary};
use super::observe::events::{self, AgentEvent};
use super::observe::gate::GateDiary;
use super::observe::load::{self, Load};
use super::observe::sniffer::Sighting;
use super::observe::{Live, Stop, address, canary, client, gate, oracle, responder, sniffer};
use super::topology::{Kind, Topology, vip};
use super::world::World;
use crate::fault::Network;
use crate::history::Hold;
use crate::spans::Spans;

/// Something that was done to the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// When it was done.
    pub at: u64,
    /// How the scenario names it.
    pub label: &'static str,
    /// Whether it made the world better.
    pub repair: bool,
}

/// What was seen of one node.
#[derive(Debug, Clone, Default)]
pub struct NodeRecord {
    /// Its name.
    pub name: String,
    /// Frames naming the VIP that came out of it.
    pub sightings: Vec<Sighting>,
    /// When its gate was certainly open; for a peer without gates, when it had the address.
    pub open: Spans,
    /// When it had the address.
    pub address: Spans,
    /// When its gate was certainly shut; nothing for a peer without gates.
    pub shut: Spans,
    /// When its gate was open, by epoch.
    pub holds: Vec<Hold>,
    /// When its gates of further domains were certainly open.
    pub more_open: Vec<Spans>,
    /// When the whole machine stood still: what came out of its interface then went nowhere.
    pub paused: Spans,
}

/// What was seen of one run.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// By node.
    pub nodes: Vec<NodeRecord>,
    /// Answers by client.
    pub answers: Vec<Vec<Answer>>,
    /// When the machine kept a client from probing, by client.
    pub stalls: Vec<Spans>,
    /// What was done.
    pub deeds: Vec<Deed>,
    /// What the agents say.
    pub events: Vec<AgentEvent>,
    /// The node that held the VIP at the beginning.
    pub first_holder: usize,
    /// When the cluster had been found steady.
    pub begin: u64,
    /// How much later than the scenario says every deed was done, in nanoseconds: the seed's phase.
    pub shift: u64,
    /// The last look.
    pub end: u64,
    /// When the machine kept a thread of the agents' priority from running.
    pub canary: Spans,
    /// How the TCP connections of a busy service went, if there were any.
    pub load: Option<Load>,
    /// Programs that ended by themselves, and moments that never came.
    pub surprises: Vec<String>,
}

/// The observers, at work.
pub struct Observers {
    /// The latest of everything.
    pub live: Arc<Live>,
    stop: Stop,
    clients: Vec<JoinHandle<Diary>>,
    taps: Vec<JoinHandle<Vec<Sighting>>>,
    addresses: Vec<JoinHandle<Spans>>,
    /// With its own end, before that of the services that it needs.
    load: Option<(JoinHandle<Load>, Stop)>,
    gates: JoinHandle<Vec<Vec<GateDiary>>>,
    canary: JoinHandle<Spans>,
}

impl Observers {
    /// Starts the services behind the VIP and all who watch them.
    ///
    /// # Errors
    /// When a socket can't be opened.
    pub fn start(world: &World) -> Result<Self, Error> {
        let topology: &Topology = &world.topology;
        let vip = vip(world.plan.shape.ipv6);
        let live = Arc::new(Live::new(world.plan.nodes(), world.plan.clients));
        let stop = Stop::default();
        let gates = world.agents.iter().map(|agent| world.peephole(agent.kind)).collect::<Result<Vec<_>, _>>()?;
        let gates = gates.into_iter().flatten().collect();
        let mut observers = Observers {
            live: Arc::clone(&live),
            stop: stop.clone(),
            clients: Vec::new(),
            taps: Vec::new(),
            addresses: Vec::new(),
            load: None,
            canary: canary::start(stop.clone()),
            gates: gate::start(gates, &domains(world.plan.more_instances), Arc::clone(&live), stop.clone()),
        };
        for (node, host) in topology.node_hosts().enumerate() {
            let number = u8::try_from(node).unwrap_or(u8::MAX);
            responder::start(&host.namespace, number, stop.clone())?;
            responder::start_ipv6(&host.namespace, number, stop.clone())?;
            let lan = host.port(Network::Lan).ok_or_else(|| {
                io_error("find a node's LAN port")(std::io::Error::from(std::io::ErrorKind::NotFound))
            })?;
            let tap = sniffer::start(topology, lan, node, vip, Arc::clone(&live), stop.clone())?;
            observers.taps.push(tap);
            let watcher = address::start(&host.namespace, node, vip, Arc::clone(&live), stop.clone())?;
            observers.addresses.push(watcher);
        }
        for number in 0..world.plan.clients {
            let Some(host) = topology.host(Kind::Client(number)) else { continue };
            let probes = client::start(&host.namespace, number, vip, Arc::clone(&live), stop.clone())?;
            observers.clients.push(probes);
        }
        if let (Some(client), true) = (topology.host(Kind::Client(0)), world.plan.load > 0) {
            topology.node_hosts().try_for_each(|host| load::serve(&host.namespace, stop.clone()))?;
            let enough = Stop::default();
            let load = load::start(&client.namespace, vip, world.plan.load, enough.clone())?;
            observers.load = Some((load, enough));
        }
        oracle::start(topology, vip, stop)?;
        Ok(observers)
    }

    /// Ends them and gathers what they saw into `record`, which has the deeds and pauses already.
    ///
    /// # Errors
    /// [`Error::Thread`] if one of them died: what it did not see must not count as calm.
    pub fn finish(self, world: &World, record: &mut Record) -> Result<(), Error> {
        if let Some((load, enough)) = self.load {
            enough.set();
            record.load = Some(load.join().map_err(|_| Error::Thread("the load"))?);
        }
        self.stop.set();
        let gates = self.gates.join().map_err(|_| Error::Thread("the gates"))?;
        record.canary = self.canary.join().map_err(|_| Error::Thread("the canary"))?;
        for probes in self.clients {
            let diary = probes.join().map_err(|_| Error::Thread("a client"))?;
            record.answers.push(diary.answers);
            record.stalls.push(diary.stalls);
        }
        for (tap, node) in self.taps.into_iter().zip(&mut record.nodes) {
            node.sightings = tap.join().map_err(|_| Error::Thread("a tap"))?;
        }
        for (watcher, node) in self.addresses.into_iter().zip(&mut record.nodes) {
            node.address = watcher.join().map_err(|_| Error::Thread("an address"))?;
        }
        let has_gate = world.plan.peer == super::agent::Peer::Keepone;
        for (diaries, node) in gates.into_iter().zip(&mut record.nodes) {
            let mut diaries = diaries.into_iter();
            let watched = diaries.next().unwrap_or_default();
            node.open = if has_gate { watched.open() } else { node.address.clone() };
            node.more_open = diaries.map(|diary| diary.open()).collect();
            (node.holds, node.shut) = (watched.holds, watched.shut);
        }
        for (node, agent) in world.agents.iter().enumerate() {
            record.events.extend(events::read(&agent.run_dir(), node));
        }
        record.events.sort_by_key(|event| event.at);
        record.surprises = world.surprises();
        record.surprises.extend(world.missed());
        Ok(())
    }
}
