//! The worker: the process that does everything; its parent, the guardian, only watches it.
//!
//! Order of a start (R12): the lock that shows that no former worker lives; then the gate stands shut before
//! anything else is opened; the core's first deed is to take stale addresses out.

mod authority;
mod gate;
mod going_on;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keepone_arbiter::quic::{BindError, Identity, Roster, TransportSettings};
use keepone_arbiter::realtime::{self, Rank};
use keepone_config::model::Cluster;
use keepone_config::{Config, Environment};
use keepone_proto::event::Event;
use keepone_proto::id::{DomainId, Epoch, Incarnation};
use keepone_proto::node::Restored;
use keepone_proto::recording::Header;
use keepone_proto::time::Instant;
use nix::fcntl::Flock;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use authority::{open_voter, start_etcd, start_witnesses};
use going_on::{Begun, GoesOn};

use crate::assemble::{LinkPlan, Plan, begin_at};
use crate::checkers;
use crate::checkers::keeper::Checkers;
use crate::control::snapshot::Directory;
use crate::dbus::{Dbus, Hands};
use crate::discipline::Discipline;
use crate::driver::pulse::{Pulse, is_broken};
use crate::driver::{Driver, HandOn, Reloads, Shells, Sources};
use crate::dump::Dumps;
use crate::exit::{ExitCode, Failure};
use crate::fencing::Fencing;
use crate::gate::{Gate, Means};
use crate::gate_keeper::GateKeeper;
use crate::gate_writer::GateWriter;
use crate::guardian::patience;
use crate::heartbeat::{HeartbeatConfig, Heartbeats, LinkConfig, StartError};
use crate::ipvs::Ipvs;
use crate::ipvs::connections::Desk as Connections;
use crate::kernel::Kernel;
use crate::lock::Denied;
use crate::mirror::Mirrors;
use crate::net::Interfaces;
use crate::net::announcer::Announcer;
use crate::net::neighbor::Neighbors;
use crate::net::outbox::Outbox;
use crate::net::vrrp::VrrpSockets;
use crate::netlink::link::Links;
use crate::notify::Notifier;
use crate::notify::alerts::AlertScript;
use crate::notify::fifo::Fifo;
use crate::notify::run::Rules;
use crate::record::Record;
use crate::recording::Recorder;
use crate::references::References;
use crate::snmp::Snmp;
use crate::takeover::{self, Source};
use crate::tracking::{Tracking, Watching};
use crate::wall_clock::WallClock;
use crate::{clock, control, dump, lock, web};

/// How long a former worker may take to end: one whose guardian died hands over first.
const FORMER_ENDS: Duration = Duration::from_secs(3);

/// Events that may wait for the loop, beats apart.
const QUEUE: usize = 4096;

/// What a worker is given besides its configuration.
#[derive(Debug)]
pub struct Given<'a> {
    /// Where that stands, for a reload.
    pub file: &'a Path,
    /// And with what it is read.
    pub environment: Environment,
    /// Its end of the pipe to its guardian.
    pub pulse: Option<File>,
    /// And of the one from there.
    pub orders: Option<File>,
    /// When the agent started: its guardian, which outlives workers.
    pub started: Instant,
    /// What the core is told is recorded there.
    pub recording: Option<&'a Path>,
    /// What a process before it has handed on, and by what this one may.
    pub handed: Option<File>,
    /// See `handed`.
    pub memory: Option<File>,
}

/// Runs until told to stop.
///
/// # Errors
/// What the operator, or a new start, has to mend.
pub fn run(config: Config, from: Given<'_>) -> Result<(), Failure> {
    // Once for all: there may be tens of thousands of real servers in it.
    let running = Arc::new(config);
    let config = &*running;
    let Given { file, environment, pulse, orders, started, recording, handed, memory } = from;
    // First: a worker that waits for its turn must not outlive its guardian either.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)
        .map_err(|error| Failure::say(ExitCode::Unexpected, format!("prctl: {error}")))?;
    realtime::lock_code();
    config.global.scheduling.rt_priority.into_iter().for_each(realtime::set_priority);
    crate::script::trust::demand(config.global.scripts.security);
    crate::script::identity::give_all_groups(config.global.scripts.supplementary_groups);
    // One that had gone before that is none whose death is told.
    if pulse.as_ref().is_some_and(is_broken) {
        return Err(Failure::say(ExitCode::Unexpected, "the guardian has gone before its worker came to start"));
    }
    let mut plan = Plan::new(config);
    plan.settings.begin_at = begin_at(config, started);
    check_interfaces(&plan)?;
    // Held to the end of the process, whatever ends it.
    let _alone = alone(&plan.run_dir)?;
    // Down, so that they say nothing before the gate is there.
    let all_were_there = make_links(&plan)?;
    let begun = Begun::new(config, &mut plan, handed.map(|file| (file, all_were_there)))?;
    let (incarnation, gate, gate_fault) = (begun.incarnation, begun.gate, begun.gate_fault);
    if let Some(Means::Nft) = gate.as_ref().map(Gate::means) {
        allow_for(&mut plan, Means::Nft.lateness())?;
    }
    let keys = config.cluster.as_ref().map(load_keys).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::say(ExitCode::Unexpected, format!("no runtime: {error}")))?;
    let source = Source { file: file.to_owned(), environment, running: Arc::clone(&running) };
    let handed = begun.handed;
    let hand_on = HandOn::new(memory, handed.as_ref().map(|handed| &handed.core));
    let given = (handed, hand_on);
    let start = Start { config, plan, incarnation, gate, gate_fault, keys, pulse, orders, source, recording, given };
    runtime.block_on(async {
        let (driver, sources) = start.assemble()?;
        realtime::ask(Rank::Decides);
        pin(&config.global.scheduling.cpus);
        let mut shells = driver.run(sources).await.map_err(|error| Failure::say(ExitCode::Unexpected, error))?;
        if shells.handed_on {
            going_on::leave(shells).await;
            return Ok(());
        }
        drop(shells.control.take());
        drop(shells.web.take());
        // It tells the last that there is meanwhile.
        let snmp = shells.snmp.take().map(Snmp::finish);
        shells.pulse.last();
        if let Some(heartbeats) = shells.heartbeats.take() {
            heartbeats.stop().await;
        }
        if let Some(gate) = shells.gate.take() {
            gate.take_down();
        }
        // What was told of virtual servers is run as well.
        let telling = shells.checkers.stop().into_iter().chain(snmp).collect();
        shells.watching.stop();
        // The addresses have gone, or belong to another node.
        shells.ipvs.stop();
        // Last: nothing is held any more, and whoever was told is given time for it.
        shells.notifier.stop(telling);
        Ok(())
    })
}

/// Lets this thread, which decides, run on these processors alone (`vrrp_cpu_affinity`); all others run where they like.
fn pin(cpus: &[u16]) {
    if cpus.is_empty() {
        return;
    }
    let mut set = nix::sched::CpuSet::new();
    let known = cpus.iter().try_for_each(|cpu| set.set(usize::from(*cpu)));
    let this_thread = nix::unistd::Pid::from_raw(0);
    if let Err(error) = known.and_then(|()| nix::sched::sched_setaffinity(this_thread, &set)) {
        tracing::warn!(%error, "vrrp_cpu_affinity {cpus:?} can't be had: name processors of /proc/cpuinfo that are online");
    }
}

/// The lock of the one worker of this run directory. A worker that is stopped keeps it: its successor must
/// not write to the same gate, answer for the same voter or release the same lease while it may wake up.
fn alone(run_dir: &Path) -> Result<Flock<File>, Failure> {
    let unusable = |error: std::io::Error| {
        let words = format!("run_dir {} can't be used: {error}; make it writable, or name another", run_dir.display());
        Failure::say(ExitCode::Directory, words)
    };
    std::fs::create_dir_all(run_dir).map_err(unusable)?;
    let file = File::create(run_dir.join("worker.lock")).map_err(unusable)?;
    lock::take(file, FORMER_ENDS).map_err(|denied| match denied {
        Denied::Held { pid } => {
            let (who, remedy) = match pid {
                Some(pid) => (format!("process {pid}"), format!("`kill -9 {pid}`")),
                None => ("another process".to_owned(), "find it with `lslocks`, then `kill -9`".to_owned()),
            };
            let words = format!(
                "the worker of a former run, {who}, still runs or is stopped with run_dir {}: a new one starts \
                 once it has ended; end it by {remedy} if it does not do so by itself",
                run_dir.display()
            );
            Failure::say(ExitCode::Running, words)
        }
        Denied::System(error) => unusable(error),
    })
}

struct Start<'a> {
    config: &'a Config,
    plan: Plan,
    incarnation: Incarnation,
    gate: Option<Gate>,
    gate_fault: String,
    keys: Option<(Identity, Arc<Roster>)>,
    pulse: Option<File>,
    orders: Option<File>,
    source: Source,
    recording: Option<&'a Path>,
    given: (Option<GoesOn>, HandOn),
}

impl Start<'_> {
    fn assemble(self) -> Result<(Driver, Sources), Failure> {
        let plan = self.plan;
        let (events, received) = mpsc::channel(QUEUE);
        stop_on_signals(&events)?;
        let (dump, dumps) = dump::on_signals()
            .map_err(|error| Failure::say(ExitCode::Unexpected, format!("no signal handler: {error}")))?;
        let heartbeats = self.keys.as_ref().map(|keys| start_heartbeats(&plan, keys)).transpose()?;
        let (heartbeats, beats) = heartbeats.unzip();
        let witnesses = start_witnesses(&plan, self.keys.as_ref(), &events);
        let (handed, hand_on) = self.given;
        let etcd = start_etcd(&plan, self.incarnation, handed.as_ref().map(|handed| &handed.core), &events)?;
        let (record, voter_disk) = self
            .config
            .cluster
            .as_ref()
            .map_or(Ok((None, None)), |cluster| open_voter(self.config, cluster, &events))?;
        let interfaces = Interfaces::new(&plan.settings.interfaces);
        let names = plan.settings.interfaces.iter().map(|interface| interface.name.clone()).collect();
        let kernel = Kernel::start(plan.in_kernel(), names);
        let kernel =
            kernel.map_err(|error| Failure::say(ExitCode::Unexpected, format!("no netlink thread: {error}")))?;
        let held = leftovers(self.gate.as_ref(), &plan);
        let event_log = event_log(self.config, &plan);
        let group = self.config.cluster.as_ref().and_then(|cluster| cluster.control_group.as_deref());
        let servers = checkers::desk::Desk::default();
        let dumped_servers = servers.clone();
        let connections = Connections::default();
        let (control, answers, questions) =
            control::start(&plan.run_dir, group, event_log.clone(), (servers.clone(), connections.clone()));
        // Here, while this thread is none that decides: others would inherit that.
        let snmp = Snmp::start(answers.clone(), &plan.node_name, &self.source.running);
        let web = web::start(answers.clone(), &plan.node_name, self.config.web.as_ref());
        let gate = self.gate.map(|gate| GateWriter::start(gate, events.clone())).transpose();
        let gate =
            gate.map_err(|error| Failure::say(ExitCode::Unexpected, format!("no thread for the gate: {error}")))?;
        let header = Header {
            keepone_recording: keepone_proto::recording::FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: plan.settings.clone(),
            incarnation: self.incarnation,
            restored: Restored { record, held },
            started: clock::now(),
            resumed: handed.as_ref().map(GoesOn::resumed).transpose()?,
        };
        let recorder = self.recording.and_then(|file| start_recording(file, &header));
        let node = going_on::node(&header, handed.as_ref().map(|handed| &handed.core), self.config)?;
        let global = &self.config.global;
        let rules = Rules { user: global.script_user.clone(), timeout: global.script_timeout };
        let start = |script| AlertScript::start(script, plan.node_name.clone(), rules.clone());
        let alert_script = global.alert_script.clone().and_then(start);
        let references = &plan.settings.references;
        let (asked, orders) = mpsc::channel(1);
        let (reports, examinations) = mpsc::channel(1);
        self.orders.map_or(Ok(()), |pipe| takeover::listen(pipe, asked)).map_err(|error| {
            Failure::say(ExitCode::Unexpected, format!("no thread for the guardian's orders: {error}"))
        })?;
        let changes = snmp.as_ref().map(Snmp::changes).unwrap_or_default();
        let guardian = self.pulse.is_some().then(nix::unistd::getppid);
        let held: Option<Vec<DomainId>> = handed.as_ref().map(|handed| handed.held().collect());
        let hands = Hands { answers, dumps: dump, guardian };
        let dbus = start_dbus(self.config, &plan, hands, held.as_deref().unwrap_or_default());
        let mut notifier = Notifier::start(&plan, &global.fifos, &rules, &events, (changes, dbus));
        let (post, told_servers) = notifier.server_post();
        let neighbors = Neighbors::new(plan.watched(), interfaces.clone(), events.clone());
        let announcer = Announcer::start(plan.announced.clone(), neighbors.voice());
        let ipvs = Ipvs::start((&self.source.running, held), &plan.run_dir, connections, events.clone());
        let mut shells = Shells {
            handed_on: false,
            virtual_addresses: plan.virtual_addresses(),
            homes: plan.homes(),
            announcer: announcer
                .map_err(|error| Failure::say(ExitCode::Unexpected, format!("no thread for announcements: {error}")))?,
            outbox: Outbox::default(),
            vrrp: VrrpSockets::new(plan.sockets.clone(), interfaces.clone(), events.clone()),
            neighbors,
            mirrors: Mirrors::spawn(events.clone()),
            references: References::spawn(references.targets.clone(), references.timeout, None, events.clone()),
            checkers: Checkers::start(
                (&self.source.running, &plan.tied, handed.map(|handed| handed.servers)),
                rules.clone(),
                notifier.server_fifos(),
                (ipvs.wish(), post),
                servers,
                events.clone(),
            ),
            tracking: Tracking::start(&plan.tracked, &rules.user, &events),
            notifier,
            alert_script,
            discipline: Discipline::default(),
            interfaces,
            keeper: GateKeeper::start(gate.as_ref().and_then(GateWriter::keeper), events.clone()),
            gate,
            gate_fault: self.gate_fault,
            kernel,
            dead_links: std::collections::BTreeSet::new(),
            heartbeats,
            witnesses,
            etcd,
            voter_disk,
            record: event_log,
            dumps: Dumps::start(&plan.run_dir, dumped_servers).ok(),
            lifetime_s: 1,
            pulse: Pulse::new(self.pulse, patience(&plan), clock::now()),
            watching: Watching::start(&plan.watched, &events),
            ipvs,
            reloads: Reloads::default(),
            wall_clock: WallClock::default(),
            directory: Some(Arc::new(Directory::of(&plan, &self.source.running))),
            control,
            web,
            snmp,
            begins_in_maintenance: control::maintenance::is_on(&plan.run_dir),
            fencing: Fencing::new(plan.fencing.command.clone(), plan.settings.names.nodes.clone(), events.clone()),
            plan,
        };
        shells.kernel.ask_links(shells.plan.linkbeat.clone());
        shells.vrrp.tell_strangers(shells.plan.strangers_to());
        if let Some(wait) =
            shells.plan.settings.begin_at.map(|at| at.since(clock::now())).filter(|wait| !wait.is_zero())
        {
            tracing::info!("instances begin in {wait:.1?} (vrrp_startup_delay, vrrp_delay_after_boot)");
        }
        let (heartbeats, events, examined) = (beats, received, examinations);
        let servers = told_servers;
        let sources = Sources { heartbeats, events, dumps, orders, examined, questions, servers, turn: 0 };
        Ok((Driver::new(node, shells, recorder, (self.source, reports), hand_on), sources))
    }
}

/// What former runs held, to be released.
fn leftovers(gate: Option<&Gate>, plan: &Plan) -> Vec<(DomainId, Epoch)> {
    let held = gate.map(|gate| gate.leftovers().to_vec()).unwrap_or_default();
    for (domain, epoch) in &held {
        tracing::info!(domain = plan.domain_name(*domain), %epoch, "a former run held it; it is released");
    }
    held
}

/// One that can't be had keeps nobody from serving.
fn start_dbus(config: &Config, plan: &Plan, hands: Hands, held: &[DomainId]) -> Option<Dbus> {
    let started = Dbus::start(config.global.dbus.as_deref()?, plan, hands, held);
    started.inspect_err(|error| tracing::error!("no thread for D-Bus: {error}: restart keepone")).ok()
}

/// As a recording: what can't be written keeps nobody from serving.
fn event_log(config: &Config, plan: &Plan) -> Option<Record> {
    let fifo = config.global.event_fifo.as_deref().and_then(|path| {
        let started = Fifo::start(path);
        started.inspect_err(|error| tracing::error!(%error, "no event_fifo {}", path.display())).ok()
    });
    let log = Record::open(&plan.run_dir, &plan.node_name, fifo);
    log.inspect_err(|error| tracing::error!(%error, "no event log in the run directory")).ok()
}

/// A recording that can't be made is said, and keeps nobody from serving.
fn start_recording(file: &Path, header: &Header) -> Option<Recorder> {
    let started = Recorder::start(file, header);
    started.inspect_err(|error| tracing::error!(%error, file = %file.display(), "nothing is recorded")).ok()
}

pub(crate) fn check_interfaces(plan: &Plan) -> Result<(), Failure> {
    let own = |name: &str| plan.own_links.iter().any(|link| link.name == name);
    let missing = plan.settings.interfaces.iter().map(|interface| interface.name.as_str()).filter(|name| !own(name));
    let missing: Vec<&str> = missing.filter(|name| nix::net::if_::if_nametoindex(*name).is_err()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if plan.dynamic_interfaces {
        tracing::warn!("interface {} is not there yet: its instances are in FAULT until it comes", missing.join(", "));
        return Ok(());
    }
    let words = format!(
        "interface {} does not exist: create it, correct the configuration (`ip link` lists what there is), or write \
         `dynamic_interfaces` in global_defs if it comes later",
        missing.join(", ")
    );
    Err(Failure::say(ExitCode::NoInterface, words))
}

/// Interfaces of virtual routers' own. Whether all of them were there.
fn make_links(plan: &Plan) -> Result<bool, Failure> {
    if plan.own_links.is_empty() {
        return Ok(true);
    }
    let failed = |words| Failure::say(ExitCode::NoInterface, words);
    let links = Links::open().map_err(|error| failed(format!("no netlink socket to make interfaces: {error}")))?;
    links.make(&plan.own_links).map(|made| made.is_empty()).map_err(failed)
}

fn incarnation() -> Result<Incarnation, Failure> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::say(ExitCode::Unexpected, format!("no random number for the incarnation: {error}"))
    })?;
    Ok(Incarnation(u64::from_ne_bytes(bytes)))
}

/// Leaves the lease the margin that this gate needs.
fn allow_for(plan: &mut Plan, lateness: Duration) -> Result<(), Failure> {
    for domain in &mut plan.settings.domains {
        domain.authority.allow_for_gate(lateness).map_err(|error| {
            let words = format!("the gate of means nft may shut one tick of this kernel late, {lateness:?}: {error}");
            Failure::say(ExitCode::Invalid, words)
        })?;
    }
    Ok(())
}

/// The own key, and the others'.
pub(crate) fn load_keys(cluster: &Cluster) -> Result<(Identity, Arc<Roster>), Failure> {
    let identity = Identity::load(&cluster.key_file).map_err(|error| Failure::new(ExitCode::Key, &error))?;
    if let Some(me) = cluster.me()
        && me.public_key.0 != identity.public_key().0
    {
        let words = format!(
            "key file {} holds the key {}, but member {} is configured with {}: peers would refuse this node; \
                 correct public_key, or use the member's own key file",
            cluster.key_file.display(),
            identity.public_key(),
            me.name,
            me.public_key
        );
        return Err(Failure::say(ExitCode::Key, words));
    }
    let others = cluster.members.iter().filter(|member| member.id != cluster.node);
    let roster = others.map(|member| (keepone_arbiter::quic::PublicKey(member.public_key.0), member.id));
    Ok((identity, Arc::new(Roster::new(roster))))
}

/// The heartbeat links as their shell wants them.
pub(crate) fn link_configs(plan: &Plan) -> Vec<LinkConfig> {
    let config = |link: &LinkPlan| LinkConfig {
        id: link.id,
        name: link.name.clone(),
        interface: Some(link.interface.clone()),
        local: link.local,
        peers: link.peers.clone(),
    };
    plan.links.iter().map(config).collect()
}

fn start_heartbeats(
    plan: &Plan,
    (identity, roster): &(Identity, Arc<Roster>),
) -> Result<(Heartbeats, mpsc::Receiver<Event>), Failure> {
    let config = HeartbeatConfig {
        identity: identity.clone(),
        roster: roster.clone(),
        links: link_configs(plan),
        transport: TransportSettings::default(),
    };
    Heartbeats::start(&config).map_err(|error| {
        let code = match &error {
            StartError::Bind { source: BindError::AddressInUse { .. }, .. } => ExitCode::InUse,
            StartError::Bind { source: BindError::NotPermitted { .. }, .. } => ExitCode::NotPermitted,
            StartError::Bind { source: BindError::Tls(_), .. } => ExitCode::Key,
            StartError::Bind { .. } | StartError::Twice(_) => ExitCode::Unexpected,
        };
        Failure::new(code, &error)
    })
}

/// SIGTERM and SIGINT hand over; the guardian's death is told as SIGTERM, too.
fn stop_on_signals(events: &mpsc::Sender<Event>) -> Result<(), Failure> {
    // A reload is the guardian's; whoever sends SIGHUP to all of us must not end this process by it.
    let hangups = signal(SignalKind::hangup());
    let mut hangups =
        hangups.map_err(|error| Failure::say(ExitCode::Unexpected, format!("no signal handler: {error}")))?;
    tokio::spawn(async move { while hangups.recv().await.is_some() {} });
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals =
            signal(kind).map_err(|error| Failure::say(ExitCode::Unexpected, format!("no signal handler: {error}")))?;
        let events = events.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                tracing::info!("asked to stop: everything is given up in good order");
                // Even a full queue must not lose this.
                while events.try_send(Event::Stop).is_err() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_does_not_start_beside_another_and_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let run_dir = directory.path().join("run");
        let first = alone(&run_dir).unwrap();
        let denied = alone(&run_dir).unwrap_err();
        assert_eq!(denied.code, ExitCode::Running);
        assert!(denied.message.contains("kill -9") && denied.message.contains("run_dir"), "{denied}");
        drop(first);
        alone(&run_dir).unwrap();
    }

    #[test]
    fn a_run_directory_that_can_not_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let denied = alone(&file.path().join("run")).unwrap_err();
        assert_eq!(denied.code, ExitCode::Directory);
    }
}
