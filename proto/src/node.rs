//! One node: facts, judgement, deeds. [`Node::handle`] takes one event and the time, and returns what is to
//! be done.
//!
//! What must stay true: the same settings, seed and events give the same actions, to the byte (I25), and
//! every handler is idempotent (I24).

mod agenda;
mod alerts;
mod beats;
mod clock;
pub(crate) mod findings;
mod going_on;
mod lease;
mod members;
mod reconfigure;
mod rest;
mod restored;
mod sightings;
mod status;
mod vrrp;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::action::{Action, AlertName};
use crate::alerts::{Alerts, Standing};
use crate::clocks::Clocks;
use crate::decision::{Reason, Role};
use crate::domain::Domain;
use crate::event::Event;
use crate::facts::{Facts, GateState};
use crate::guard::Guard;
use crate::heartbeat::peer::Peer;
use crate::id::{ConfigDigest, DomainId, Epoch, Incarnation, InterfaceId, NodeId, Priority, Vrid};
use crate::interface::Interface;
use crate::lease::authority::DomainLease;
use crate::lease::generation::{Former, Opening};
use crate::lease::lives::Lives;
use crate::lease::rate::Bounds;
use crate::lease::reach::Reach;
pub use crate::lease::reach::VoterStatus;
use crate::lease::timing::LeaseTiming;
use crate::lease::voter::Voter;
use crate::reference::ReferenceMachine;
use crate::settings::Settings;
use crate::time::Instant;
use crate::track::Trackers;
use crate::wire::lease::{Envelope, RefuseReason};
use agenda::Agenda;
pub(crate) use agenda::Due;
pub use members::FeatureStatus;
pub use restored::Restored;
use restored::own_voter;
use sightings::Sightings;
pub use status::{DomainStatus, Holder, LinkStatus, NoHandover, PeerStatus, Why};
use vrrp::Packet;

/// How often the gate tests itself (R14).
const GATE_TEST: Duration = Duration::from_secs(1);
/// A loop that has not run for this long has slept: whatever happened meanwhile is announced again (D10).
const SLEPT: Duration = Duration::from_millis(300);
/// Between two looks at everything of a node without peers: below [`SLEPT`], or each of its timers would be taken for
/// a sleep, and begin anew.
const ALONE: Duration = Duration::from_millis(200);
/// Between two meals of the watchdog: far below its shortest timeout, which is a second.
const FEED: Duration = Duration::from_millis(200);
/// How many rounds of messages to itself, and of judgement, one event may set off; a backstop, never reached.
const ROUNDS: usize = 32;

/// Counters of what came from outside and was of no use, for metrics and tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// VRRP packets that did not parse, or belong to no instance.
    pub bad_advertisements: u64,
    /// VRRP packets whose authentication is missing, wrong, or has been seen before.
    pub unauthentic_advertisements: u64,
    /// VRRP packets whose checksum is wrong. RFC 6527, vrrpv3RouterChecksumErrors.
    pub checksum_errors: u64,
    /// VRRP packets of a version that is unknown, or not that of the virtual router. RFC 6527,
    /// vrrpv3RouterVersionErrors.
    pub version_errors: u64,
    /// VRRP packets whose VRID is that of no virtual router of ours there. RFC 6527, vrrpv3RouterVrIdErrors.
    pub vrid_errors: u64,
    /// Beats that did not parse, or were not newer, or not fresh.
    pub bad_beats: u64,
    /// Lease messages that did not parse, or name no domain of ours.
    pub bad_lease_messages: u64,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Node {
    settings: Settings,
    /// What the wall clock said at the start of the boot clock; it decides nothing but what `vrrp/instance/signed.rs` says.
    utc_at_boot: Option<Duration>,
    incarnation: Incarnation,
    peers: BTreeMap<NodeId, Peer>,
    references: ReferenceMachine,
    trackers: Trackers,
    interfaces: Vec<Interface>,
    domains: BTreeMap<DomainId, Domain>,
    voter: Option<Voter>,
    gate: Option<GateState>,
    /// `None` without an authority.
    clocks: Option<Clocks>,
    /// Voters that forgot (R17), and nodes of which there are two (F62).
    amnesia: Sightings,
    duplicates: Sightings,
    lives: Lives,
    alerts: Alerts,
    /// What is wrong with routes, as it was last told.
    routes: BTreeMap<Option<DomainId>, Option<String>>,
    /// What others did to the table of virtual servers, by its last look.
    servers: Option<String>,
    findings: findings::Findings,
    members: members::Members,
    counters: Counters,
    started_at: Instant,
    beat_at: Instant,
    /// When silent peers are called, between two beats.
    call_at: Instant,
    test_at: Instant,
    /// When the rate of the own clock is to be read again.
    clock_at: Instant,
    handled_at: Instant,
    /// When something is due without an event, as the last look left it.
    due_at: Instant,
    /// Which domain the next beat begins with, where one beat can't carry all.
    first_domain: usize,
    /// When the watchdog is fed next.
    feed_at: Instant,
    rebooting: bool,
    stopping_since: Option<Instant>,
    stopped: bool,
    /// The operator has taken this node out.
    maintenance: bool,
    /// Which domains have something to judge.
    agenda: Agenda,
    /// Where an Advertisement belongs: the virtual routers of an interface, VRID and family.
    places: BTreeMap<(InterfaceId, Vrid, bool), Vec<(DomainId, usize)>>,
    /// Lease messages that leave together at the end of this event.
    outbox: BTreeMap<NodeId, Vec<Envelope>>,
    /// The last test of the gate that was asked for, and whether that was for this event.
    tests: u64,
    test_is_asked: bool,
    /// Whether our generation of the voter set is open (V9), and which voters answer; `None` without an authority.
    opening: Option<Opening>,
    reach: Option<Reach>,
    /// The digest of the generation before, while that is served too.
    former_digest: Option<ConfigDigest>,
    /// Voters that can't write their records: of which domain they refused an epoch for it, and when last.
    disks: BTreeMap<(NodeId, DomainId), Instant>,
    /// Voters that refuse us for what no waiting mends, and when they last did.
    turned_away: BTreeMap<(NodeId, RefuseReason), Instant>,
    /// Why our own voter can't.
    own_disk: Option<String>,
    /// Who is told of changes and does not keep up, and how much each has missed.
    listeners: BTreeMap<String, u64>,
    /// Domains that a new configuration has no more, or otherwise.
    retiring: BTreeSet<DomainId>,
    /// Of domains that have ended: one of the same name goes on where it ended, since no epoch may come twice (I4).
    ended: BTreeMap<DomainId, DomainLease>,
}

impl Node {
    /// A node that starts now. Feed it [`Event::Tick`] at once: its first deed is to clean up (I10).
    pub fn new(settings: Settings, incarnation: Incarnation, restored: Restored, now: Instant) -> Self {
        let (quorum, heartbeat) = (settings.quorum(), settings.heartbeat);
        let timing = quorum.map_or_else(|| LeaseTiming::for_lease(heartbeat.silence()), |quorum| quorum.timing);
        let bounds = Bounds::from(&timing);
        let peers = settings.peers.iter().map(|peer| {
            let peer = Peer::new(peer, heartbeat, bounds, incarnation, now);
            (peer.node, peer)
        });
        let domains = settings.domains.iter().map(|domain| {
            let former = restored.held.iter().find(|(id, _)| *id == domain.id).map(|(_, epoch)| *epoch);
            (domain.id, Domain::new(&settings, domain, incarnation, former, now))
        });
        let mut domains: BTreeMap<DomainId, Domain> = domains.collect();
        if let Some(record) = &restored.record {
            domains.values_mut().for_each(|domain| domain.lease.wait_out(now + record.lease_max));
        }
        Node {
            utc_at_boot: None,
            agenda: Agenda::new(domains.keys().copied()),
            places: places(&domains),
            outbox: BTreeMap::new(),
            tests: 0,
            test_is_asked: false,
            opening: quorum.map(|quorum| Opening::new(settings.cluster, quorum)),
            reach: quorum.map(|quorum| Reach::new(quorum, now)),
            former_digest: quorum.and_then(|quorum| Former::of(settings.cluster, quorum)).map(|former| former.digest),
            disks: BTreeMap::new(),
            turned_away: BTreeMap::new(),
            own_disk: None,
            listeners: BTreeMap::new(),
            retiring: BTreeSet::new(),
            ended: BTreeMap::new(),
            peers: peers.collect(),
            references: ReferenceMachine::new(settings.references.clone(), now),
            trackers: Trackers::new(&settings, now),
            interfaces: settings.interfaces.iter().map(|_| Interface::default()).collect(),
            domains,
            voter: own_voter(&settings, incarnation, now, restored.record.as_ref()),
            gate: None,
            clocks: settings
                .quorum()
                .filter(|_| settings.guards.has(Guard::RateWatch))
                .map(|quorum| Clocks::new(&quorum.timing)),
            amnesia: Sightings::default(),
            routes: BTreeMap::new(),
            servers: None,
            duplicates: Sightings::default(),
            lives: Lives::default(),
            alerts: Alerts::default(),
            findings: findings::Findings::new(&settings),
            members: members::Members::default(),
            counters: Counters::default(),
            started_at: now,
            beat_at: now,
            call_at: now,
            test_at: now,
            clock_at: now,
            handled_at: now,
            due_at: now,
            first_domain: 0,
            feed_at: now,
            rebooting: false,
            stopping_since: None,
            stopped: false,
            maintenance: false,
            incarnation,
            settings,
        }
    }

    /// Takes one event and returns what is to be done, in order.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        let slept = now.since(self.handled_at) >= SLEPT.max(self.settings.heartbeat.period * 3);
        if slept {
            self.wake(now);
        }
        self.handled_at = now;
        self.test_is_asked = false;
        self.alerts.at(now);
        self.absorb(now, event, &mut out); // facts
        let rest = if slept { None } else { self.rest(now) };
        let due = rest.unwrap_or_else(|| {
            self.settle(now, slept, &mut out);
            self.due_beside_domains()
        });
        self.plan(now);
        self.due_at = self.agenda.next_deadline().map_or(due, |at| at.min(due));
        out
    }

    /// What follows from the facts.
    fn settle(&mut self, now: Instant, slept: bool, out: &mut Vec<Action>) {
        self.settle_links(now);
        self.bury(now, out);
        self.serve_trackers(now, out);
        self.settle_clocks(now);
        self.inspect(now, out);
        self.judge(now, out); // judgement, and the deeds that follow
        self.post(out);
        if slept {
            self.announce_all(now, out);
        }
        self.keep_time(now, out);
        self.raise(now);
        self.say_alerts(out);
    }

    /// This node has slept: what it did not hear meanwhile is no sign of anybody's death.
    fn wake(&mut self, now: Instant) {
        let before = self.handled_at;
        self.peers.values_mut().for_each(|peer| peer.slept(before, now));
        let routers = self.domains.values_mut().flat_map(|domain| &mut domain.routers);
        routers.for_each(|router| router.machine.slept(before, now));
        self.trackers.watches.slept(now);
        self.reach.iter_mut().for_each(|reach| reach.slept(now));
        self.agenda.touch_all();
    }

    /// What a domain is here, why, and its priority.
    pub fn role(&self, domain: DomainId) -> Option<(Role, Reason, Priority)> {
        self.domains.get(&domain).map(|domain| (domain.role, domain.reason, domain.priority()))
    }

    /// Whether a domain's gate is meant to be open at `now`.
    pub fn is_open(&self, now: Instant, domain: DomainId) -> bool {
        self.domains.get(&domain).is_some_and(|domain| domain.is_open(now))
    }

    /// Whether a domain's gate may be open at `now`: whatever has become of a write that has not been answered.
    pub fn may_be_open(&self, now: Instant, domain: DomainId) -> bool {
        self.domains.get(&domain).is_some_and(|domain| domain.may_be_open(now))
    }

    /// The epoch under which a domain is held.
    pub fn epoch(&self, domain: DomainId) -> Option<Epoch> {
        self.domains.get(&domain)?.lease.epoch()
    }

    /// This node's own voter.
    pub fn voter(&self) -> Option<&Voter> {
        self.voter.as_ref()
    }

    /// What came from outside and was of no use.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many times a domain has been judged: what an event costs.
    #[cfg(test)]
    pub(crate) fn judged(&self) -> u64 {
        self.agenda.judged
    }

    /// The alerts that stand.
    pub fn alerts(&self) -> impl Iterator<Item = (AlertName, Option<DomainId>)> + '_ {
        self.alerts.standing()
    }

    /// The same, each with what was said when it began.
    pub fn told_alerts(&self) -> impl Iterator<Item = Standing> + '_ {
        self.alerts.told()
    }

    fn absorb(&mut self, now: Instant, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::VrrpReceived { interface, source, destination, hop_limit, bytes } => {
                let packet = Packet { interface, source, destination, hop_limit, bytes: &bytes };
                self.on_vrrp(now, &packet, out);
            }
            Event::Utc { at_boot } => self.utc_at_boot = Some(at_boot),
            Event::AhReceived { interface, packet } => self.on_ah(now, interface, &packet, out),
            Event::BeatReceived { link, from, bytes } => self.on_beat(now, link, from, &bytes, out),
            Event::LeaseReceived { from, bytes } => self.on_lease(now, from, &bytes, out),
            Event::Interface { interface, up, addresses } => {
                let place = usize::from(interface.0);
                let delays = self.settings.interfaces.get(place).map(|settings| settings.delays).unwrap_or_default();
                if let Some(known) = self.interfaces.get_mut(place) {
                    let rose = known.on_report(now, up, addresses, delays);
                    self.agenda.touch_all();
                    if rose {
                        self.announce_all(now, out);
                    }
                }
            }
            Event::GateWritten { domain: id, epoch, until, error } => {
                let domain = self.domains.get_mut(&id);
                if domain.is_some_and(|domain| domain.kernel.on_gate_written(now, epoch, until, error)) {
                    self.agenda.touch(id);
                } else {
                    self.agenda.plan_anew(id);
                }
            }
            Event::AddressesDone { domain, epoch: _, present, error } => {
                self.agenda.touch(domain);
                if let Some(domain) = self.domains.get_mut(&domain) {
                    domain.kernel.on_addresses_done(now, present, error);
                }
            }
            Event::RoutesSeen { domain, error } => {
                self.routes.insert(domain, error);
                self.agenda.look();
            }
            Event::ServersSeen { others } => {
                self.servers = others;
                self.agenda.look();
            }
            Event::GateTest { number, strength, fault } => {
                // An answer that comes again, or late, says nothing of the gate as it was found since (I24).
                if self.gate.as_ref().is_none_or(|gate| number >= gate.number) {
                    self.gate = Some(GateState { number, strength, fault });
                    self.agenda.touch_all();
                }
            }
            Event::Pinged { reference, rtt } => {
                if self.references.on_ping(reference, rtt.is_some()) {
                    self.agenda.compare_references();
                }
            }
            Event::ScriptEnded { script, run, fault } => {
                if self.trackers.scripts.on_end(script, run, fault) {
                    self.agenda.touch_all();
                }
            }
            Event::Watched { watch, reading } => {
                if self.trackers.watches.on_reading(now, watch, reading) {
                    self.agenda.touch_all();
                }
            }
            Event::Persisted { ticket, error } => {
                let written = error.is_none();
                self.agenda.look_if(self.own_disk != error);
                self.own_disk = error;
                if let Some(voter) = &mut self.voter {
                    let outputs = voter.persisted(now, ticket, written);
                    self.carry_out(now, outputs, out);
                }
            }
            Event::Fenced { domain, victim, error } => {
                self.with_domain(now, domain, |domain, _| domain.fence.on_fenced(now, victim, error));
            }
            Event::ClockState(state) => {
                self.agenda.touch_all();
                if let Some(clocks) = &mut self.clocks {
                    clocks.on_kernel(state);
                }
            }
            Event::Mirrored { domain, place, own, virtual_one } => {
                self.with_domain(now, domain, |domain, facts| domain.on_mirrored(facts, place, own, virtual_one, out));
            }
            Event::ForeignClaim { domain, mac } => {
                self.with_domain(now, domain, |domain, facts| domain.on_foreign_claim(facts, mac, out));
            }
            Event::QueueSeen { interface, wait } => {
                self.agenda.touch_all();
                self.findings.queue_seen(interface, wait);
                self.domains.values_mut().for_each(|domain| domain.queue_seen(interface, wait));
            }
            Event::ListenerBehind { who, missed } => {
                let former = match missed {
                    Some(missed) => self.listeners.insert(who, missed),
                    None => self.listeners.remove(&who),
                };
                self.agenda.look_if(former != missed);
            }
            Event::KeyRefused { node, address, theirs } => self.findings.key_refused(now, node, address, theirs),
            Event::Reconfigure(settings) => self.reconfigure(now, *settings, out),
            Event::Maintenance { on } => self.set_maintenance(on),
            Event::HandOver { domain, to } => self.hand_over(now, domain, to),
            Event::Stop => {
                self.stopping_since.get_or_insert(now);
                self.agenda.touch_all();
            }
        }
    }

    /// Links whose change has lasted for as long as it must.
    fn settle_links(&mut self, now: Instant) {
        for interface in &mut self.interfaces {
            if interface.on_time(now) {
                self.agenda.touch_all();
            }
        }
    }

    /// Scripts that are to be run, and what is known of the rest by the clock alone.
    fn serve_trackers(&mut self, now: Instant, out: &mut Vec<Action>) {
        let (due, turned) = self.trackers.scripts.due(now);
        out.extend(due.into_iter().map(|(script, run)| Action::RunScript { script, run }));
        if self.trackers.watches.due(now) || turned {
            self.agenda.touch_all();
        }
    }

    /// What is due by the clock: pings, the gate's test, beats, the end of a stop.
    fn keep_time(&mut self, now: Instant, out: &mut Vec<Action>) {
        out.extend(self.references.due(now).into_iter().map(|reference| Action::Ping { reference }));
        if now >= self.test_at {
            self.test_at = now + GATE_TEST;
            self.ask_test(out);
        }
        let news = self.agenda.take_news();
        self.ask_for_the_rate(now, out);
        self.climb(now, out);
        let all = now >= self.beat_at || news;
        if all || now >= self.call_at {
            self.send_beats(now, all, out);
        }
        self.send_profiles(now, out);
        self.send_hellos(now, out);
        if now >= self.beat_at {
            // Nobody to send beats to: what is left is to look at everything once in a while.
            let period = if self.peers.is_empty() { ALONE } else { self.settings.heartbeat.period };
            // On a grid, unless whole periods were slept through.
            self.beat_at = if now.since(self.beat_at) < period { self.beat_at + period } else { now + period };
        }
        if let Some(since) = self.stopping_since {
            let busy = self.domains.values().any(|domain| domain.is_busy(now));
            // A voter that can't be reached is not waited for: its grant runs out by itself.
            let patience = now.since(since) > Duration::from_secs(2);
            if !self.stopped && (!busy || patience) {
                self.stopped = true;
                out.push(Action::Stopped);
            }
        }
    }

    /// The rings outside the gate: the watchdog is fed while no domain is doubtful, and a machine that can't
    /// let go is restarted.
    fn climb(&mut self, now: Instant, out: &mut Vec<Action>) {
        let fault = self.gate.as_ref().map_or("", |gate| gate.fault.as_str());
        if self.settings.watchdog && now >= self.feed_at {
            self.feed_at = now + FEED;
            if self.domains.values().all(|domain| domain.is_harmless(now, fault)) {
                out.push(Action::FeedWatchdog);
            }
        }
        if let Some((domain, why)) = self.agenda.take_stuck().filter(|_| !self.rebooting) {
            self.rebooting = true;
            // The alert first: it is the last that anybody hears.
            self.alerts.set(AlertName::SelfReboot, Some(domain), true, || why.clone());
            self.alerts.take(out);
            out.push(Action::Reboot { why });
        }
    }

    fn announce_all(&mut self, now: Instant, out: &mut Vec<Action>) {
        let ids: Vec<DomainId> = self.domains.keys().copied().collect();
        for id in ids {
            self.with_domain(now, id, |domain, _| domain.announce_again(now, out));
        }
    }

    /// Has the gate tested, once for this event.
    fn ask_test(&mut self, out: &mut Vec<Action>) -> u64 {
        if !core::mem::replace(&mut self.test_is_asked, true) {
            self.tests += 1;
            out.push(Action::TestGate { number: self.tests });
        }
        self.tests
    }

    fn facts(&self, now: Instant) -> Facts<'_> {
        Facts {
            now,
            settings: &self.settings,
            peers: &self.peers,
            references: &self.references,
            trackers: &self.trackers,
            interfaces: &self.interfaces,
            gate: self.gate.as_ref(),
            clocks: self.clocks.as_ref(),
            stopping: self.stopping_since.is_some(),
            maintenance: self.maintenance,
            is_open: self.opening.as_ref().is_none_or(Opening::is_open)
                || !self.settings.guards.has(Guard::ProvenFirst),
            reach: self.reach.as_ref(),
        }
    }

    /// Runs `deed` on a domain with the facts of the rest of the node; it will be judged anew.
    fn with_domain(&mut self, now: Instant, id: DomainId, deed: impl FnOnce(&mut Domain, &Facts<'_>)) {
        self.agenda.touch(id);
        self.on_domain(now, id, deed);
    }

    fn on_domain(&mut self, now: Instant, id: DomainId, deed: impl FnOnce(&mut Domain, &Facts<'_>)) {
        // Not by `self.facts`, so that the domain may change while the rest is looked at.
        let facts = Facts {
            now,
            settings: &self.settings,
            peers: &self.peers,
            references: &self.references,
            trackers: &self.trackers,
            interfaces: &self.interfaces,
            gate: self.gate.as_ref(),
            clocks: self.clocks.as_ref(),
            stopping: self.stopping_since.is_some(),
            maintenance: self.maintenance,
            is_open: self.opening.as_ref().is_none_or(Opening::is_open)
                || !self.settings.guards.has(Guard::ProvenFirst),
            reach: self.reach.as_ref(),
        };
        match self.domains.get_mut(&id) {
            Some(domain) => deed(domain, &facts),
            None => self.counters.bad_lease_messages += 1,
        }
    }
}

/// Where the virtual routers are, for Advertisements.
fn places(domains: &BTreeMap<DomainId, Domain>) -> BTreeMap<(InterfaceId, Vrid, bool), Vec<(DomainId, usize)>> {
    let mut places = BTreeMap::<_, Vec<_>>::new();
    for (id, domain) in domains {
        for (at, router) in domain.routers.iter().enumerate() {
            let settings = &router.settings;
            places.entry((settings.interface, settings.vrid, settings.ipv6)).or_default().push((*id, at));
        }
    }
    places
}

#[cfg(test)]
mod tests;
