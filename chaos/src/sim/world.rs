//! The simulated world: hosts, lines, and one queue of what happens next.
//!
//! What must stay true: nothing but the seed and the plan decides what happens (I25).

use keepone_proto::event::Event;
use keepone_proto::id::{DomainId, Epoch, Incarnation, InterfaceId};
use keepone_proto::lease::record::Record;
use keepone_proto::lease::register::Register;
use keepone_proto::lease::voter::Voter;
use keepone_proto::node::{Node, Restored};
use keepone_proto::time::Instant;

use super::clock::Clock;
use super::fault::{Deed, Variant};
use super::history::History;
use super::host::{Host, Machine};
use super::mutant::Mutant;
use super::network::{MS, Network, US};
use super::oracle::Oracle;
use super::plan::{Mode, Plan};
use super::queue::Queue;
use super::register::{Shell, Told};
use super::rng::Rng;
use super::store::{Asked, Store};

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
    /// An agent is asked to hand on to another process, which begins after a gap, or dies.
    Upgrade { host: usize, gap: u64, dies: bool, tries: u8 },
    /// It is restarted with the configuration of another generation.
    Advance { host: usize, to: usize },
    /// That process begins.
    Resume { host: usize, life: u32, dies: bool },
    /// Something is done to the world.
    Fault(usize),
    /// A frozen machine goes on.
    Thaw { host: usize },
    /// A frame that names the VIP comes to the gate from inside.
    Frame { host: usize, place: usize },
    /// The thread of an agent that has the register is told something.
    Told { host: usize, life: u32, told: Told },
    /// A question reaches the store.
    Asked { host: usize, life: u32, asked: Asked },
    /// A foreign router advertises.
    Foreign,
    /// The named scenarios look at everything each millisecond.
    Sample,
}

/// Everything.
pub struct World {
    pub(super) plan: Plan,
    pub(super) now: u64,
    queue: Queue,
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
    pub(super) jitter: u64,
    /// Old datagrams that come again, in parts per million of all.
    pub(super) replays: u32,
    /// Priority of a foreign router that advertises.
    pub(super) foreign: Option<u8>,
    /// When the kernels and disks have done what had piled up before the heal.
    pub(super) backlog: u64,
    /// No line has been slow or lossy yet.
    pub(super) fair: bool,
    /// Since when each agent has been alone: no peer, no reference (I17).
    pub(super) isolated: Vec<Option<u64>>,
    /// Everything has been repaired: what ends is started again.
    pub(super) healed: bool,
    pub(super) seed: u64,
    /// The store, where that is the authority.
    pub(super) store: Store,
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
            queue: Queue::default(),
            hosts,
            deeds: Vec::new(),
            pauses: 0,
            twice: 5_000,
            jitter,
            replays: 0,
            foreign: None,
            backlog: 0,
            fair: true,
            isolated: vec![None; plan.agents],
            healed: false,
            seed,
            store: Store::new(plan.mutant),
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
        self.queue.push(at.max(self.now), what);
    }

    /// Lets everything happen up to `end`.
    pub fn run_until(&mut self, end: u64) {
        while let Some((at, what)) = self.queue.pop(end) {
            self.now = at;
            self.happen(what);
        }
        self.now = end;
        self.oracle.advance(end);
    }

    /// What timers, disks and netlink of this world add to a handover.
    pub(super) fn slowness(&self) -> u64 {
        6 * self.jitter + 12 * MS
    }

    pub(super) fn is_life(&self, host: usize, life: u32) -> bool {
        self.hosts.get(host).is_some_and(|host| host.life == life && host.machine.is_some())
    }

    fn happen(&mut self, what: What) {
        // On a frozen machine nothing happens before it goes on.
        if let Some(host) = what.host()
            && let Some(until) = self.hosts.get(host).and_then(|host| host.frozen)
        {
            self.at(until, what);
            return;
        }
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
            What::Upgrade { host, gap, dies, tries } => self.upgrade(host, gap, dies, tries),
            What::Advance { host, to } => self.advance(host, to),
            What::Resume { host, life, dies } => self.go_on_anew(host, life, dies),
            What::Fault(number) => {
                let Some(deed) = self.deeds.get(number).copied() else { return };
                let host = deed.fault.host().and_then(|host| self.hosts.get(host));
                match host.and_then(|host| host.frozen) {
                    Some(until) => self.at(until, What::Fault(number)),
                    None => self.apply(deed.fault),
                }
            }
            What::Thaw { host } => self.thaw(host),
            What::Frame { host, place } => self.frame(host, place),
            What::Told { host, life, told } => self.tell_register(host, life, told),
            What::Asked { host, life, asked } => self.asked(host, life, asked),
            What::Foreign => self.advertise_foreign(),
            What::Sample => {
                self.history.sample(self.now, &self.hosts, &self.network);
                self.at(self.now + MS, What::Sample);
            }
        }
    }

    /// Starts the process of a host, unless it runs.
    pub(super) fn start(&mut self, number: usize) {
        let now = self.now;
        if self.store_host() == Some(number) && now < self.store.barred_until {
            self.at(self.store.barred_until, What::Start { host: number });
            return;
        }
        let mut incarnation = Incarnation(self.rng.next_u64());
        if self.plan.mutant == Some(Mutant::SameIncarnation) {
            incarnation = Incarnation(u64::try_from(number).unwrap_or(0));
        }
        let (plan, seed) = (&self.plan, self.seed);
        let Some(host) = self.hosts.get_mut(number).filter(|host| host.machine.is_none()) else { return };
        host.end_process();
        if host.variant == Variant::OtherPolicy {
            // What its former life has promised it would not know: the guardian leaves it without a worker for so long.
            // Here it starts under `degrade` again, and waits by itself.
            host.variant = Variant::Usual;
        }
        // What waits to be handed on is for one start only.
        host.handed = None;
        self.oracle.alarms.forget(number);
        (host.incarnation, host.stopped, host.silent, host.ended) = (incarnation, false, false, false);
        host.backup = host.record.clone().or(host.backup.take());
        let record = host.record.as_ref().and_then(|bytes| Record::parse(bytes).ok());
        let of = |place: usize| record.as_ref().and_then(|record| record.domains.get(&Plan::domain(place)).copied());
        let recorded = (0..plan.domains).map(of).collect();
        let local = host.clock.local(now);
        let is_agent = number < plan.agents;
        let mut starts_store = false;
        if is_agent {
            // The shell's first deed (R12): whatever a former life left open is shut.
            let mut held = Vec::new();
            for (place, kernel) in host.kernels.iter_mut().enumerate() {
                if plan.mutant != Some(Mutant::NoCleanStart) {
                    kernel.shut_any(now);
                }
                held.extend(kernel.epoch.map(|epoch| (Plan::domain(place), epoch)));
            }
            host.clean.fill(false);
            host.roles.fill(keepone_proto::decision::Role::Init);
            host.mastered.fill(None);
            let settings = plan.settings(number, (host.variant, host.step), seed ^ u64::try_from(number).unwrap_or(0));
            let node = Node::new(settings, incarnation, Restored { record, held }, local);
            (host.machine, host.deadline) = (Some(Machine::Agent(Box::new(node))), None);
            let register = plan.register(number, (host.variant, host.step), incarnation);
            host.shell = register.map(|settings| Shell::new(Register::new(settings, incarnation)));
        } else if plan.mode == Mode::Store {
            host.machine = Some(Machine::Store);
            self.store.back_up();
            starts_store = true;
        } else {
            let voter = Voter::new(plan.voter((host.variant, host.step), incarnation), local, record.as_ref())
                .with_guards(plan.guards());
            (host.machine, host.deadline) = (Some(Machine::Witness(Box::new(voter))), None);
        }
        let life = host.life;
        if starts_store {
            self.lead(number, true);
        }
        self.oracle.on_voter_start(number, local, recorded);
        if is_agent {
            for place in 0..self.plan.domains {
                if self.plan.mutant != Some(Mutant::NoCleanStart) {
                    self.oracle.on_shut(now, number, place);
                }
            }
            self.deliver(number, Event::Tick);
            self.run_register(number);
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
}

impl What {
    /// The host on which it happens, if it is on one and not at a former end of its freeze.
    fn host(&self) -> Option<usize> {
        match self {
            What::Wake { host, .. }
            | What::Tick { host, .. }
            | What::Deliver { host, .. }
            | What::Gate { host, .. }
            | What::Addresses { host, .. }
            | What::Written { host, .. }
            | What::GuardianShuts { host, .. }
            | What::GuardianReleases { host, .. }
            | What::Carrier { host, .. }
            | What::Frame { host, .. }
            | What::Told { host, .. }
            | What::Asked { host, .. }
            | What::Upgrade { host, .. }
            | What::Resume { host, .. }
            | What::Advance { host, .. }
            | What::Start { host } => Some(*host),
            What::Thaw { .. } | What::Fault(_) | What::Foreign | What::Sample => None,
        }
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
