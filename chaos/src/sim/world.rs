//! The simulated world: hosts, lines, and one queue of what happens next.
//!
//! What must stay true: nothing but the seed and the plan decides what happens (I25).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use keepone_proto::action::Action;
use keepone_proto::event::{Event, GateStrength};
use keepone_proto::id::{DomainId, Epoch, Incarnation, InterfaceId, ReferenceId};
use keepone_proto::lease::record::Record;
use keepone_proto::lease::voter::{Voter, VoterOutput};
use keepone_proto::node::{Node, Restored};
use keepone_proto::time::Instant;
use keepone_proto::wire::lease::Envelope;

use super::clock::Clock;
use super::fault::Deed;
use super::history::History;
use super::host::{Host, INBOX, Machine, Pending};
use super::network::{MS, Network, Path, US};
use super::oracle::Oracle;
use super::plan::Plan;
use super::rng::Rng;

/// What is to happen.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// The process goes on: its pause ends, or an event waits.
    Wake { host: usize, life: u32 },
    /// The deadline that the process named.
    Tick { host: usize, life: u32 },
    /// An event reaches the process; of that life only, if given.
    Deliver { host: usize, life: Option<u32>, event: Event },
    /// The gate is written.
    Gate { host: usize, life: u32, domain: DomainId, epoch: Epoch, until: Option<Instant>, decided: Instant },
    /// The addresses are set or removed.
    Addresses { host: usize, life: u32, domain: DomainId, epoch: Epoch, lifetime_s: Option<u32>, failed: bool },
    /// The disk is done with its oldest write.
    Written { host: usize, life: u32, ticket: u64, failed: bool },
    /// The guardian of a dead worker shuts the gates ...
    GuardianShuts { host: usize, life: u32 },
    /// ... and, E_tx later, releases.
    GuardianReleases { host: usize, life: u32, again: u8 },
    /// The watch of links has something to tell.
    Carrier { host: usize, life: u32 },
    /// The process is started, unless it runs.
    Start { host: usize },
    /// Something is done to the world.
    Fault(usize),
    /// The named scenarios look at everything each millisecond.
    Sample,
}

struct Entry {
    at: u64,
    number: u64,
    what: What,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Everything.
pub struct World {
    pub(super) plan: Plan,
    pub(super) now: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    number: u64,
    pub(super) rng: Rng,
    pub(super) hosts: Vec<Host>,
    pub(super) network: Network,
    pub(super) oracle: Oracle,
    pub(super) history: History,
    pub(super) deeds: Vec<Deed>,
    /// Pauses between two steps of a process, in parts per million of the steps.
    pub(super) pauses: u32,
    /// How often an event comes twice (I24), in parts per million.
    pub(super) twice: u32,
    /// Lateness of timers.
    jitter: u64,
    /// When the kernels and disks have done what had piled up before the heal.
    pub(super) backlog: u64,
    /// No line has been slow or lossy yet.
    pub(super) fair: bool,
    /// Since when each agent has been alone: no peer, no reference (I17).
    pub(super) isolated: Vec<Option<u64>>,
    /// Everything has been repaired: what ends is started again.
    pub(super) healed: bool,
    seed: u64,
}

impl World {
    /// Hosts with clocks drawn from `rng`, none of which runs yet.
    pub fn new(plan: Plan, seed: u64, mut rng: Rng, trace: bool) -> Self {
        let hosts: Vec<Host> = (0..plan.hosts)
            .map(|_| {
                let clock = draw_clock(&mut rng, &plan, 0);
                Host::new(clock, plan.domains)
            })
            .collect();
        let jitter = *rng.pick(&[50 * US, MS, 5 * MS]).unwrap_or(&MS);
        World {
            oracle: Oracle::new(&plan),
            network: Network::new(plan.hosts, plan.links.into()),
            history: History::new(trace),
            now: 0,
            queue: BinaryHeap::new(),
            number: 0,
            hosts,
            deeds: Vec::new(),
            pauses: 0,
            twice: 5_000,
            jitter,
            backlog: 0,
            fair: true,
            isolated: vec![None; plan.agents],
            healed: false,
            seed,
            rng,
            plan,
        }
    }

    /// The deeds that will be done.
    pub fn set_deeds(&mut self, deeds: Vec<Deed>) {
        for (number, deed) in deeds.iter().enumerate() {
            self.at(deed.at, What::Fault(number));
        }
        self.deeds = deeds;
    }

    pub(super) fn at(&mut self, at: u64, what: What) {
        self.number += 1;
        self.queue.push(Reverse(Entry { at: at.max(self.now), number: self.number, what }));
    }

    /// Lets everything happen up to `end`.
    pub fn run_until(&mut self, end: u64) {
        while self.queue.peek().is_some_and(|Reverse(entry)| entry.at <= end) {
            let Some(Reverse(entry)) = self.queue.pop() else { break };
            self.now = entry.at;
            self.happen(entry.what);
        }
        self.now = end;
        self.oracle.advance(end);
    }

    /// What timers, disks and netlink of this world add to a handover.
    pub(super) fn slowness(&self) -> u64 {
        6 * self.jitter + 12 * MS
    }

    fn is_life(&self, host: usize, life: u32) -> bool {
        self.hosts.get(host).is_some_and(|host| host.life == life && host.machine.is_some())
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Wake { host, life } => {
                if self.is_life(host, life) {
                    if let Some(host) = self.hosts.get_mut(host) {
                        host.wake_at = None;
                    }
                    self.go_on(host);
                }
            }
            What::Tick { host, life } => self.tick(host, life),
            What::Deliver { host, life, event } => {
                if life.is_none_or(|life| self.is_life(host, life)) {
                    self.deliver(host, event);
                }
            }
            What::Gate { host, life, domain, epoch, until, decided } => {
                if self.is_life(host, life) {
                    self.write_gate(host, domain, epoch, until, decided);
                }
            }
            What::Addresses { host, life, domain, epoch, lifetime_s, failed } => {
                self.set_addresses(host, life, (domain, epoch), lifetime_s, failed);
            }
            What::Written { host, life, ticket, failed } => self.written(host, life, ticket, failed),
            What::GuardianShuts { host, life } => self.guardian_shuts(host, life),
            What::GuardianReleases { host, life, again } => self.guardian_releases(host, life, again),
            What::Carrier { host, life } => {
                if self.is_life(host, life) {
                    self.carrier_told(host);
                }
            }
            What::Start { host } => self.start(host),
            What::Fault(number) => {
                if let Some(deed) = self.deeds.get(number).copied() {
                    self.apply(deed.fault);
                }
            }
            What::Sample => {
                self.history.sample(self.now, &self.hosts, &self.network);
                self.at(self.now + MS, What::Sample);
            }
        }
    }

    /// Starts the process of a host, unless it runs.
    pub(super) fn start(&mut self, number: usize) {
        let now = self.now;
        let incarnation = Incarnation(self.rng.next_u64());
        let (plan, seed) = (&self.plan, self.seed);
        let Some(host) = self.hosts.get_mut(number).filter(|host| host.machine.is_none()) else { return };
        host.end_process();
        (host.incarnation, host.stopped, host.silent, host.ended) = (incarnation, false, false, false);
        let record = host.record.as_ref().and_then(|bytes| Record::parse(bytes).ok());
        let of = |place: usize| record.as_ref().and_then(|record| record.domains.get(&Plan::domain(place)).copied());
        let recorded = (0..plan.domains).map(of).collect();
        let local = host.clock.local(now);
        let is_agent = number < plan.agents;
        if is_agent {
            // The shell's first deed (R12): whatever a former life left open is shut.
            let mut held = Vec::new();
            for (place, kernel) in host.kernels.iter_mut().enumerate() {
                kernel.shut_any(now);
                held.extend(kernel.epoch.map(|epoch| (Plan::domain(place), epoch)));
            }
            host.clean.fill(false);
            host.roles.fill(keepone_proto::decision::Role::Init);
            let settings = plan.settings(number, seed ^ u64::try_from(number).unwrap_or(0));
            let node = Node::new(settings, incarnation, Restored { record, held }, local);
            host.machine = Some(Machine::Agent(Box::new(node)));
        } else {
            let voter = Voter::new(plan.voter(incarnation), local, record.as_ref()).with_guards(plan.guards());
            host.machine = Some(Machine::Witness(Box::new(voter)));
        }
        let life = host.life;
        self.oracle.on_voter_start(number, local, recorded);
        if is_agent {
            for place in 0..self.plan.domains {
                self.oracle.on_shut(now, number, place);
            }
            self.deliver(number, Event::Tick);
            self.tell_carrier(number, life);
        }
        self.history.note(now, number, "start", 0);
    }

    pub(super) fn tell_carrier(&mut self, number: usize, life: u32) {
        let after = self.rng.range(100 * US, 2 * MS);
        self.at(self.now + after, What::Carrier { host: number, life });
    }

    /// The watch of links tells how it stands, never how it stood.
    fn carrier_told(&mut self, number: usize) {
        let Some(host) = self.hosts.get(number) else { return };
        let (interface, up) = (InterfaceId(0), host.carrier);
        self.deliver(number, Event::Interface { interface, up, addresses: vec![Plan::address(number)] });
    }

    fn tick(&mut self, number: usize, life: u32) {
        if !self.is_life(number, life) {
            return;
        }
        let now = self.now;
        let Some(host) = self.hosts.get_mut(number).filter(|host| host.tick_at == Some(now)) else { return };
        host.tick_at = None;
        // The deadline may have moved on meanwhile.
        let due = match &host.machine {
            Some(Machine::Agent(node)) => node.next_deadline(),
            Some(Machine::Witness(voter)) => voter.next_deadline(),
            None => None,
        };
        match due {
            Some(due) if host.clock.local(now) >= due => self.deliver(number, Event::Tick),
            Some(_) | None => self.plan_tick(number),
        }
    }

    /// Schedules the next tick, where none is scheduled that comes as early.
    fn plan_tick(&mut self, number: usize) {
        let late = self.rng.below(self.jitter + 1);
        let now = self.now;
        let Some(host) = self.hosts.get_mut(number) else { return };
        let due = match &host.machine {
            Some(Machine::Agent(node)) => node.next_deadline(),
            Some(Machine::Witness(voter)) => voter.next_deadline(),
            None => None,
        };
        let Some(due) = due else { return };
        let at = host.clock.real(due).max(now).max(host.busy_until) + late;
        if host.tick_at.is_some_and(|scheduled| scheduled <= at && scheduled >= now) {
            return;
        }
        host.tick_at = Some(at);
        let life = host.life;
        self.at(at, What::Tick { host: number, life });
    }

    pub(super) fn wake_later(&mut self, number: usize, at: u64) {
        let Some(host) = self.hosts.get_mut(number) else { return };
        if host.wake_at.is_some_and(|scheduled| scheduled <= at) {
            return;
        }
        host.wake_at = Some(at);
        let life = host.life;
        self.at(at, What::Wake { host: number, life });
    }

    /// An event reaches a host's process, which may be busy, or stand still.
    pub(super) fn deliver(&mut self, number: usize, event: Event) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(number) else { return };
        if host.machine.is_none() {
            return;
        }
        let waits = host.stopped || now < host.busy_until || !host.pending.is_empty() || !host.inbox.is_empty();
        if !waits {
            self.process(number, event);
            return;
        }
        let from_outside = matches!(
            event,
            Event::VrrpReceived { .. } | Event::BeatReceived { .. } | Event::LeaseReceived { .. } | Event::Tick
        );
        if from_outside && host.inbox.len() >= INBOX {
            return;
        }
        host.inbox.push_back(event);
        if !host.stopped {
            let at = host.busy_until.max(now);
            self.wake_later(number, at);
        }
    }

    /// The process does what has been waiting.
    pub(super) fn go_on(&mut self, number: usize) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(number).filter(|host| host.is_running()) else { return };
        if now < host.busy_until {
            let at = host.busy_until;
            self.wake_later(number, at);
            return;
        }
        if !host.pending.is_empty() {
            self.carry_out(number);
            return;
        }
        if let Some(event) = host.inbox.pop_front() {
            self.process(number, event);
        } else {
            self.plan_tick(number);
        }
    }

    /// The process takes one event, with the time at which it takes it.
    fn process(&mut self, number: usize, event: Event) {
        let now = self.now;
        let again = self.rng.chance(self.twice) && !matches!(event, Event::Pinged { .. });
        let Some(host) = self.hosts.get_mut(number) else { return };
        let local = host.clock.local(now);
        if let Event::AddressesDone { domain, present: false, error: None, .. } = &event
            && let Some(clean) = host.clean.get_mut(Plan::place(*domain))
        {
            *clean = true;
        }
        let unwritten = matches!(&event, Event::Persisted { error: Some(_), .. });
        let transfer = matches!(&event, Event::LeaseReceived { bytes, .. } if bytes.get(2) == Some(&4));
        self.history.event(now, number, &event);
        let actions = match &mut host.machine {
            None => return,
            Some(Machine::Agent(node)) => {
                let copy = again.then(|| event.clone());
                let mut actions = node.handle(local, event);
                if let Some(copy) = copy {
                    actions.extend(node.handle(local, copy));
                }
                actions
            }
            Some(Machine::Witness(voter)) => {
                let mut actions = witness(voter, local, &event);
                if again {
                    actions.extend(witness(voter, local, &event));
                }
                actions
            }
        };
        if unwritten {
            self.oracle.on_voter_unwritten(number);
        }
        if number < self.plan.agents {
            self.oracle.on_actions(now, number, host, &actions);
        }
        host.pending.extend(actions.into_iter().map(|action| Pending { action, decided: local }));
        self.oracle.watch_voter(now, number, &self.hosts, transfer);
        self.carry_out(number);
    }

    /// Actions one by one, each a little later than the last; between any two the process may be stopped.
    fn carry_out(&mut self, number: usize) {
        let Some(host) = self.hosts.get(number) else { return };
        let mut at = self.now.max(host.busy_until);
        loop {
            let Some(host) = self.hosts.get_mut(number) else { return };
            if host.pending.is_empty() {
                break;
            }
            if self.rng.chance(self.pauses) {
                at += self.rng.log_range(100 * US, 3_000 * MS);
                host.busy_until = at;
                self.wake_later(number, at);
                // Once it goes on it does at least one step.
                return;
            }
            let Some(pending) = host.pending.pop_front() else { break };
            at += self.rng.range(US, 8 * US);
            self.execute(number, pending, at);
        }
        let Some(host) = self.hosts.get_mut(number) else { return };
        host.busy_until = at;
        if host.ended {
            host.end_process();
            if self.healed {
                self.at(at + 10 * MS, What::Start { host: number });
            }
            return;
        }
        if !host.inbox.is_empty() && !host.stopped {
            self.wake_later(number, at);
        }
        self.plan_tick(number);
    }

    fn execute(&mut self, number: usize, pending: Pending, at: u64) {
        let Pending { action, decided } = pending;
        self.history.action(at, number, &action);
        let Some(host) = self.hosts.get_mut(number) else { return };
        let life = host.life;
        match action {
            Action::SendBeat { link, to, bytes } => {
                let event = Event::BeatReceived { link, from: Plan::node(number), bytes };
                self.send(number, Plan::host(to), Path::Link(link.0), at, &event);
            }
            Action::SendLease { to, bytes } => self.send_lease(number, Plan::host(to), at, bytes),
            Action::Advertise { instance, advertisement } => {
                let open = host.kernels.get(usize::from(instance.0)).is_some_and(|kernel| kernel.is_open(at));
                if open || advertisement.priority.0 == 0 {
                    self.advertise(number, at, &advertisement);
                }
            }
            Action::OpenGate { domain, epoch, until } => {
                self.at(at, What::Gate { host: number, life, domain, epoch, until: Some(until), decided });
            }
            Action::ShutGate { domain, epoch } => {
                self.at(at, What::Gate { host: number, life, domain, epoch, until: None, decided });
            }
            Action::AddAddresses { domain, epoch, lifetime_s } => {
                self.ask_netlink(number, (domain, epoch), Some(lifetime_s), at);
            }
            Action::RemoveAddresses { domain, epoch } => self.ask_netlink(number, (domain, epoch), None, at),
            Action::TestGate => {
                let fault = if host.troubles.gate_test { "the probe passed a shut gate" } else { "" };
                let event = Event::GateTest { strength: GateStrength::Strong, fault: fault.to_owned() };
                let after = self.rng.range(100 * US, MS);
                self.at(at + after, What::Deliver { host: number, life: Some(life), event });
            }
            Action::Ping { reference } => self.ping(number, life, reference, at),
            Action::Persist { ticket, bytes } => self.persist(number, ticket, bytes, at),
            // No plan has a mirror.
            Action::Mirror { .. } | Action::ProbeAddress { .. } => {}
            // The kernel slews nothing; rates are the hardware's (sim::clock).
            Action::ReadClock | Action::Announce { .. } | Action::Transition(_) | Action::Alert(_) => {}
            // No plan configures the rings outside the gate.
            Action::Fence { .. } | Action::FeedWatchdog | Action::Reboot { .. } => {}
            Action::Stopped => host.ended = true,
        }
    }

    fn send(&mut self, from: usize, to: usize, path: Path, at: u64, event: &Event) {
        if self.hosts.get(from).is_some_and(|host| host.silent) {
            return;
        }
        for delay in self.network.send(from, to, path, &mut self.rng).into_iter().flatten() {
            let what = What::Deliver { host: to, life: None, event: event.clone() };
            self.at(at + delay, what);
        }
    }

    pub(super) fn send_lease(&mut self, from: usize, to: usize, at: u64, bytes: Vec<u8>) {
        let event = Event::LeaseReceived { from: Plan::node(from), bytes };
        if from < self.plan.agents && to < self.plan.agents {
            for link in 0..self.plan.links {
                self.send(from, to, Path::Link(link), at, &event);
            }
        } else {
            self.send(from, to, Path::Witness, at, &event);
        }
    }

    fn advertise(&mut self, from: usize, at: u64, advertisement: &keepone_proto::wire::vrrp::Advertisement) {
        let (source, group) = (Plan::address(from), std::net::IpAddr::from([224, 0, 0, 18]));
        let Ok(bytes) = advertisement.emit(source, group, keepone_proto::wire::vrrp::Checksum::PseudoHeader) else {
            return;
        };
        if !self.hosts.get(from).is_some_and(|host| host.carrier) {
            return;
        }
        for to in (0..self.plan.agents).filter(|to| *to != from) {
            if !self.hosts.get(to).is_some_and(|host| host.carrier) {
                continue;
            }
            let (interface, bytes) = (InterfaceId(0), bytes.clone());
            let event = Event::VrrpReceived { interface, source, destination: group, hop_limit: 255, bytes };
            self.send(from, to, Path::Lan, at, &event);
        }
    }

    fn ping(&mut self, number: usize, life: u32, reference: ReferenceId, at: u64) {
        let reaches = self.network.reaches_reference(number)
            && self.hosts.get(number).is_some_and(|host| host.carrier && !host.silent);
        let (after, rtt) = if reaches {
            let rtt = self.rng.range(100 * US, 600 * US);
            (rtt, Some(std::time::Duration::from_nanos(rtt)))
        } else {
            (super::plan::PING_TIMEOUT_MS * MS, None)
        };
        self.at(at + after, What::Deliver { host: number, life: Some(life), event: Event::Pinged { reference, rtt } });
    }
}

/// A clock within ±ρ, of a host that has been up for a while.
pub(super) fn draw_clock(rng: &mut Rng, plan: &Plan, since: u64) -> Clock {
    let bound = i32::try_from(plan.timing.rate_error_ppm).unwrap_or(0);
    let error = match rng.below(4) {
        0 => bound,
        1 => -bound,
        _ => {
            let spread = u64::try_from(2 * i64::from(bound)).unwrap_or(0);
            i32::try_from(rng.below(spread + 1)).unwrap_or(0) - bound
        }
    };
    Clock::new(since, rng.log_range(MS, 1_000_000_000 * MS), error)
}

/// What a witness does with an event, as the actions that its shell would carry out.
fn witness(voter: &mut Voter, now: Instant, event: &Event) -> Vec<Action> {
    let outputs = match event {
        Event::LeaseReceived { from, bytes } => match Envelope::parse(bytes) {
            Ok(envelope) => voter.handle(now, *from, &envelope),
            Err(_) => Vec::new(),
        },
        Event::Persisted { ticket, error } => voter.persisted(now, *ticket, error.is_none()),
        _ => voter.tick(now),
    };
    let action = |output| match output {
        VoterOutput::Send { to, envelope } => Action::SendLease { to, bytes: envelope.emit() },
        VoterOutput::Persist { ticket, bytes } => Action::Persist { ticket, bytes },
    };
    outputs.into_iter().map(action).collect()
}
