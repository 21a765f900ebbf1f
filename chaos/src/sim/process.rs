//! A host's process: it takes events one by one, and does what follows step by step; between any two it may
//! be paused, stopped or killed.

use keepone_proto::action::Action;
use keepone_proto::event::{Event, GateStrength};
use keepone_proto::id::{InterfaceId, NodeId, ReferenceId};
use keepone_proto::lease::voter::{Voter, VoterOutput};
use keepone_proto::time::{Instant, nanos};
use keepone_proto::wire::lease::{Envelope, pack};

use super::host::{INBOX, Machine, Pending};
use super::mutant::Mutant;
use super::network::{MS, Path, S, US};
use super::plan::Plan;
use super::register::Told;
use super::speech;
use super::world::{What, World};

impl World {
    pub(super) fn tick(&mut self, number: usize, life: u32) {
        if !self.is_life(number, life) {
            return;
        }
        let now = self.now;
        let Some(host) = self.hosts.get_mut(number).filter(|host| host.tick_at == Some(now)) else { return };
        host.tick_at = None;
        // The deadline may have moved on meanwhile.
        match host.deadline() {
            Some(due) if host.clock.local(now) >= due => self.deliver(number, Event::Tick),
            Some(_) | None => self.plan_tick(number),
        }
    }

    /// Schedules the next tick, where none is scheduled that comes as early.
    pub(super) fn plan_tick(&mut self, number: usize) {
        let late = self.rng.below(self.jitter + 1);
        let now = self.now;
        let Some(host) = self.hosts.get_mut(number) else { return };
        let Some(due) = host.deadline() else { return };
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
            Event::VrrpReceived { .. }
                | Event::AhReceived { .. }
                | Event::BeatReceived { .. }
                | Event::LeaseReceived { .. }
                | Event::Tick
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
        if matches!(&event, Event::ForeignClaim { .. } | Event::VrrpReceived { .. } | Event::AhReceived { .. }) {
            // A write that failed or a tombstone that is not read back yet leaves the agent in doubt of its own gate.
            let doubts = |place| match &host.machine {
                Some(Machine::Agent(node)) => node.may_be_open(local, Plan::domain(place)),
                Some(Machine::Witness(_) | Machine::Store) | None => false,
            };
            let kernels = host.kernels.iter().enumerate();
            let open = kernels.filter(|(place, kernel)| kernel.is_open(now) || doubts(*place));
            open.for_each(|(place, _)| self.oracle.alarms.claimed(now, place, number));
        }
        let unwritten = matches!(&event, Event::Persisted { error: Some(_), .. });
        let (mut transfer, mut asked) = (false, Vec::new());
        if let Event::LeaseReceived { from, bytes } = &event {
            let said: Vec<Envelope> = speech::messages(bytes).collect();
            self.oracle.on_answers(now, number, Plan::host(*from), &said);
            transfer = speech::has_transfer(&said);
            asked = self.oracle.stale_requests(now, host, speech::requests(&said));
        }
        self.history.event(now, number, &event);
        host.deadline = None;
        let actions = match &mut host.machine {
            Some(Machine::Store) | None => return,
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
        self.oracle.check_stale(now, number, &self.hosts, &asked);
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
            host.settle_writes(usize::MAX);
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
                self.send(number, Plan::host(to), Path::Link(link.0), at, event);
            }
            Action::SendLease { to: NodeId::STORE, bytes } => {
                let told = Told::Requests(bytes);
                self.at(at, What::Told { host: number, life, told });
            }
            Action::SendLease { to, bytes } => {
                self.oracle.check_grants(at, number, &self.hosts, &speech::grants(&bytes));
                self.send_lease(number, Plan::host(to), at, bytes);
            }
            Action::Advertise { instance, advertisement } => {
                let place = self.plan.place_of(instance);
                let open = host.kernels.get(place).is_some_and(|kernel| kernel.is_open(at));
                if open {
                    self.at(at, What::Frame { host: number, place });
                }
                if open || advertisement.priority.0 == 0 {
                    self.advertise(number, at, &advertisement);
                }
            }
            Action::OpenGate { domain, epoch, until } => {
                let late = self.plan.mutant == Some(Mutant::SecondWriter);
                let late = if late { self.rng.log_range(100 * US, 2 * S) } else { 0 };
                self.at(at + late, What::Gate { host: number, life, domain, epoch, until: Some(until), decided });
            }
            Action::ShutGate { domain, epoch } => {
                self.at(at, What::Gate { host: number, life, domain, epoch, until: None, decided });
            }
            Action::AddAddresses { domain, epoch, lifetime_s } => {
                self.ask_netlink(number, (domain, epoch), Some(lifetime_s), at);
            }
            Action::RemoveAddresses { domain, epoch } => self.ask_netlink(number, (domain, epoch), None, at),
            Action::TestGate { number: test } => {
                let fault = if host.troubles.gate_test { "the probe passed a shut gate" } else { "" };
                let event = Event::GateTest { number: test, strength: GateStrength::Strong, fault: fault.to_owned() };
                let after = self.rng.range(100 * US, MS);
                self.at(at + after, What::Deliver { host: number, life: Some(life), event });
            }
            Action::RunScript { script, run } => {
                let fault = host.troubles.script.then(|| "exit status: 1".to_owned());
                let after = self.rng.log_range(MS, self.plan.script_timeout());
                let event = Event::ScriptEnded { script, run, fault };
                self.at(at + after, What::Deliver { host: number, life: Some(life), event });
            }
            Action::Ping { reference } => self.ping(number, life, reference, at),
            Action::Persist { ticket, bytes } => self.persist(number, ticket, bytes, at),
            Action::Announce { domain, .. } => {
                self.at(at, What::Frame { host: number, place: Plan::place(domain) });
            }
            // No plan has a mirror.
            Action::Mirror { .. }
            | Action::ProbeAddress { .. }
            | Action::Priority { .. }
            | Action::LowerSeen { .. } => {}
            // The kernel slews nothing; rates are the hardware's (sim::clock).
            Action::ReadClock | Action::Transition(_) | Action::Alert(_) => {}
            // No plan configures the rings outside the gate.
            Action::Fence { .. } | Action::FeedWatchdog | Action::Reboot { .. } => {}
            // Its gate and its addresses are there whether a domain is configured or not.
            Action::Retired { .. } => {}
            Action::Stopped => host.ended = true,
        }
    }

    fn send(&mut self, from: usize, to: usize, path: Path, at: u64, event: Event) {
        if self.hosts.get(from).is_some_and(|host| host.silent) {
            return;
        }
        let [first, second] = self.network.send(from, to, path, &mut self.rng);
        let again = self.rng.chance(self.replays);
        let again = again.then(|| self.rng.log_range(100 * MS, 10 * S * self.plan.pace));
        let mut after = [first, second, again].into_iter().flatten().peekable();
        let mut event = Some(event);
        while let Some(delay) = after.next() {
            // Mostly it comes once: the octets are not copied for that.
            let event = if after.peek().is_some() { event.clone() } else { event.take() };
            let Some(event) = event else { return };
            self.at(at + delay, What::Deliver { host: to, life: None, event });
        }
    }

    pub(super) fn send_lease(&mut self, from: usize, to: usize, at: u64, bytes: Vec<u8>) {
        let event = Event::LeaseReceived { from: Plan::node(from), bytes };
        if from < self.plan.agents && to < self.plan.agents {
            let Some(last) = self.plan.links.checked_sub(1) else { return };
            for link in 0..last {
                self.send(from, to, Path::Link(link), at, event.clone());
            }
            self.send(from, to, Path::Link(last), at, event);
        } else {
            self.send(from, to, Path::Witness, at, event);
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
            self.send(from, to, Path::Lan, at, event);
        }
    }

    /// A frame of this host that names the VIP passes the gate, or doesn't (I9).
    pub(super) fn frame(&mut self, number: usize, place: usize) {
        let kernel = self.hosts.get(number).and_then(|host| host.kernels.get(place));
        if kernel.is_some_and(|kernel| kernel.is_open(self.now)) {
            let lives = self.rng.below(nanos(self.plan.timing.transmit));
            self.oracle.on_frame(self.now, number, place, lives);
        }
    }

    /// A router that is none of ours, on our segment, with our VRID.
    pub(super) fn advertise_foreign(&mut self) {
        let Some(priority) = self.foreign else { return };
        let (source, group) = (std::net::IpAddr::from([192, 0, 2, 77]), std::net::IpAddr::from([224, 0, 0, 18]));
        let advertisement = self.plan.foreign_advertisement(priority);
        if let Ok(bytes) = advertisement.emit(source, group, keepone_proto::wire::vrrp::Checksum::PseudoHeader) {
            for to in 0..self.plan.agents {
                if self.hosts.get(to).is_some_and(|host| host.carrier) {
                    let (interface, bytes) = (InterfaceId(0), bytes.clone());
                    let event = Event::VrrpReceived { interface, source, destination: group, hop_limit: 255, bytes };
                    self.deliver(to, event);
                }
            }
        }
        self.at(self.now + self.plan.advert_ms * MS, What::Foreign);
    }

    fn ping(&mut self, number: usize, life: u32, reference: ReferenceId, at: u64) {
        let reaches = self.network.reaches_reference(number)
            && self.hosts.get(number).is_some_and(|host| host.carrier && !host.silent);
        let (after, rtt) = if reaches {
            let rtt = self.rng.range(100 * US, 600 * US);
            (rtt, Some(std::time::Duration::from_nanos(rtt)))
        } else {
            (self.plan.ping_timeout_ms() * MS, None)
        };
        self.at(at + after, What::Deliver { host: number, life: Some(life), event: Event::Pinged { reference, rtt } });
    }
}

/// What a witness does with an event, as the actions that its shell would carry out.
fn witness(voter: &mut Voter, now: Instant, event: &Event) -> Vec<Action> {
    let outputs = match event {
        Event::LeaseReceived { from, bytes } => {
            voter.handle_all(now, *from, &speech::messages(bytes).collect::<Vec<_>>())
        }
        Event::Persisted { ticket, error } => voter.persisted(now, *ticket, error.is_none()),
        _ => voter.tick(now),
    };
    let mut actions = Vec::new();
    let mut answers = std::collections::BTreeMap::<_, Vec<Envelope>>::new();
    for output in outputs {
        match output {
            VoterOutput::Send { to, envelope } => answers.entry(to).or_default().push(envelope),
            VoterOutput::Persist { ticket, bytes } => actions.push(Action::Persist { ticket, bytes }),
        }
    }
    for (to, answers) in answers {
        actions.extend(pack(&answers).into_iter().map(|bytes| Action::SendLease { to, bytes }));
    }
    actions
}
