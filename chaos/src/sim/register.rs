//! The agents' side of the store: each agent's thread that has the register, as `keepone_arbiter::etcd` runs it, and the
//! questions and answers between it and the store's host.

use std::collections::VecDeque;

use keepone_proto::event::Event;
use keepone_proto::id::{DomainId, Epoch, NodeId};
use keepone_proto::lease::register::keeper::Kept;
use keepone_proto::lease::register::{Answer, Ask, Life, Reading, Register, RegisterOutput};
use keepone_proto::wire::lease::pack;

use super::fault::Fault;
use super::mutant::Mutant;
use super::network::{MS, Path, S, US};
use super::plan::{Mode, Plan};
use super::speech;
use super::store::{Asked, Question};
use super::world::{What, World};

/// What the thread is told.
#[derive(Debug, Clone)]
pub enum Told {
    /// The node asks.
    Requests(Vec<u8>),
    /// The store has answered, or nobody waits for that any more.
    Answered(DomainId, u64, Answer),
    /// The same of a question about the record of generations.
    Kept(u64, Option<Kept>),
    /// A key has changed.
    Seen(DomainId, Reading),
    /// A lease was granted, for that swap.
    Lease(DomainId, u64, Ask, u64),
    /// A session is gone.
    SessionGone(Life),
    /// A better node has left word.
    Wanted(DomainId, u8, Epoch),
    /// Its own deadline, or the end of a pause.
    Tick,
}

/// The thread. It stands still when its process does, and by itself.
#[derive(Debug, Clone)]
pub struct Shell {
    register: Register,
    waiting: VecDeque<Told>,
    busy_until: u64,
    tick_at: Option<u64>,
    /// The lease that was granted last, where each does for more than one swap.
    lease: Option<u64>,
}

impl Shell {
    pub(super) fn new(register: Register) -> Self {
        Shell { register, waiting: VecDeque::new(), busy_until: 0, tick_at: None, lease: None }
    }

    /// The highest revision that it has seen of the store.
    pub(super) fn revision(&self) -> u64 {
        self.register.revision()
    }
}

impl World {
    /// The host of the store, if there is one.
    pub(super) fn store_host(&self) -> Option<usize> {
        (self.plan.mode == Mode::Store).then_some(self.plan.agents)
    }

    /// An agent's thread is told something.
    pub(super) fn tell_register(&mut self, number: usize, life: u32, told: Told) {
        if !self.is_life(number, life) {
            return;
        }
        let Some(shell) = self.hosts.get_mut(number).and_then(|host| host.shell.as_mut()) else { return };
        shell.waiting.push_back(told);
        self.run_register(number);
    }

    /// The thread does what has been waiting, unless it stands still.
    pub(super) fn run_register(&mut self, number: usize) {
        let now = self.now;
        loop {
            let Some(host) = self.hosts.get_mut(number).filter(|host| host.is_running()) else { return };
            let (local, life) = (host.clock.local(now), host.life);
            let Some(shell) = host.shell.as_mut().filter(|shell| shell.busy_until <= now) else { return };
            let Some(told) = shell.waiting.pop_front() else { break };
            let register = &mut shell.register;
            if matches!(told, Told::Answered(_, _, Answer::Unknown)) {
                shell.lease = None;
            }
            let outputs = match told {
                Told::Lease(domain, ticket, ask, lease) => {
                    shell.lease = Some(lease).filter(|_| self.plan.mutant == Some(Mutant::SessionOnOlderLease));
                    self.ask_store(number, life, Question::Key { domain, ticket, ask, lease: Some(lease) });
                    continue;
                }
                Told::SessionGone(gone) => register.session_gone(local, gone),
                Told::Requests(bytes) => {
                    speech::messages(&bytes).flat_map(|request| register.handle(local, &request)).collect()
                }
                Told::Answered(domain, ticket, answer) => register.answered(local, domain, ticket, &answer),
                Told::Kept(ticket, kept) => {
                    register.kept(local, ticket, kept);
                    Vec::new()
                }
                Told::Seen(domain, reading) => register.seen(local, domain, reading),
                Told::Wanted(domain, priority, next) => register.wanted(local, domain, priority, next),
                Told::Tick => register.tick(local),
            };
            self.carry_out_register(number, life, outputs);
            if self.rng.chance(self.pauses) {
                let until = now + self.rng.log_range(100 * US, 3 * S);
                if let Some(shell) = self.hosts.get_mut(number).and_then(|host| host.shell.as_mut()) {
                    shell.busy_until = until;
                }
                self.at(until, What::Told { host: number, life, told: Told::Tick });
                return;
            }
        }
        self.plan_register(number);
    }

    /// A pause between two steps ends, whenever it would have.
    pub(super) fn wake_register(&mut self, number: usize) {
        if let Some(shell) = self.hosts.get_mut(number).and_then(|host| host.shell.as_mut()) {
            shell.busy_until = 0;
            self.run_register(number);
        }
    }

    fn plan_register(&mut self, number: usize) {
        let (now, late) = (self.now, self.rng.below(self.jitter + 1));
        let Some(host) = self.hosts.get_mut(number) else { return };
        let (clock, life) = (host.clock, host.life);
        let Some(shell) = host.shell.as_mut() else { return };
        let Some(due) = shell.register.next_deadline() else { return };
        let at = clock.real(due).max(now + US) + late;
        if shell.tick_at.is_some_and(|planned| planned > now && planned <= at) {
            return;
        }
        shell.tick_at = Some(at);
        self.at(at, What::Told { host: number, life, told: Told::Tick });
    }

    fn carry_out_register(&mut self, number: usize, life: u32, outputs: Vec<RegisterOutput>) {
        let mut answers = Vec::new();
        for output in outputs {
            match output {
                RegisterOutput::Answer(envelope) => answers.push(envelope),
                RegisterOutput::Ask { domain, ticket, ask } => {
                    let hangs =
                        matches!(ask, Ask::Swap { content, .. } if content.held.is_some_and(|held| held.session));
                    let lease = self.hosts.get(number).and_then(|host| host.shell.as_ref()?.lease).filter(|_| hangs);
                    let question = if hangs && lease.is_none() {
                        Question::Lease { domain, ticket, ask }
                    } else {
                        Question::Key { domain, ticket, ask, lease }
                    };
                    self.ask_store(number, life, question);
                    self.give_up(number, life, Told::Answered(domain, ticket, Answer::Unknown), 1 + u32::from(hangs));
                }
                RegisterOutput::AskKept { ticket, ask } => {
                    self.ask_store(number, life, Question::Record { ticket, ask });
                    self.give_up(number, life, Told::Kept(ticket, None), 1);
                }
                RegisterOutput::LeaveWord { domain, priority, next } => {
                    self.ask_store(number, life, Question::Word { domain, priority, next });
                }
            }
        }
        for bytes in pack(&answers) {
            let after = self.rng.range(2 * US, 50 * US);
            let event = Event::LeaseReceived { from: NodeId::STORE, bytes };
            self.at(self.now + after, What::Deliver { host: number, life: Some(life), event });
        }
    }

    /// After so long nobody waits for an answer any more, whatever has become of the question.
    fn give_up(&mut self, number: usize, life: u32, told: Told, questions: u32) {
        let patience = self.plan.told.renewal_interval() * questions;
        let Some(host) = self.hosts.get(number) else { return };
        let after = host.clock.real_for(patience);
        self.at(self.now + after, What::Told { host: number, life, told });
    }

    /// A question sets out. What it is lost with is the store's process: its connections end with it.
    fn ask_store(&mut self, number: usize, life: u32, question: Question) {
        let Some(store) = self.store_host() else { return };
        if self.hosts.get(number).is_none_or(|host| host.silent) {
            return;
        }
        let Some(host) = self.hosts.get(store) else { return };
        let (store_life, slowest) = (host.life, if host.troubles.disk { 800 * MS } else { 5 * MS });
        let [delay, _] = self.network.send(number, store, Path::Witness, &mut self.rng);
        let takes = self.rng.log_range(50 * US, slowest);
        if let Some(delay) = delay {
            let asked = Asked { from: (number, life), question };
            self.at(self.now + delay + takes, What::Asked { host: store, life: store_life, asked });
        }
    }

    /// A question has reached the store.
    pub(super) fn asked(&mut self, store: usize, life: u32, asked: Asked) {
        if !self.is_life(store, life) {
            return;
        }
        if self.hosts.get(store).is_some_and(|host| host.stopped) {
            self.store.waiting.push(asked);
            return;
        }
        let (from, from_life) = asked.from;
        let told = match asked.question {
            Question::Lease { domain, ticket, ask } => {
                let Some(local) = self.hosts.get(store).map(|host| host.clock.local(self.now)) else { return };
                let lease = self.store.lease(self.now, local, ask);
                self.plan_ends(store);
                Told::Lease(domain, ticket, ask, lease)
            }
            Question::Ends => return self.end_leases(store),
            Question::Key { domain, ticket, ask, lease } => {
                let hangs_on = lease.and_then(|number| self.store.find_lease(number));
                let answer = self.store.answer(domain, ask, lease);
                if let (Ask::Swap { content, .. }, Answer::Swapped { .. }) = (ask, &answer) {
                    self.oracle.on_swap(self.now, Plan::place(domain), content, hangs_on, &self.hosts);
                    if self.rng.chance(100_000) {
                        self.store.back_up();
                    }
                    let reading = self.store.reading(domain);
                    self.tell_all(store, &Told::Seen(domain, reading));
                }
                self.history.asked(self.now, from, &asked.question, &answer);
                Told::Answered(domain, ticket, answer)
            }
            Question::Record { ticket, ask } => Told::Kept(ticket, Some(self.store.answer_kept(ask))),
            Question::Word { domain, priority, next } => {
                self.store.leave_word();
                self.tell_all(store, &Told::Wanted(domain, priority, next));
                return;
            }
        };
        if let [Some(delay), _] = self.network.send(store, from, Path::Witness, &mut self.rng) {
            self.at(self.now + delay, What::Told { host: from, life: from_life, told });
        }
    }

    /// The store carries out the end of leases, and tells of the sessions that stood on them.
    fn end_leases(&mut self, store: usize) {
        self.store.ends_at = None;
        let Some(local) = self.hosts.get(store).map(|host| host.clock.local(self.now)) else { return };
        for life in self.store.end_leases(local) {
            self.tell_all(store, &Told::SessionGone(life));
        }
        self.plan_ends(store);
    }

    /// The next look for what has ended: etcd looks twice a second.
    fn plan_ends(&mut self, store: usize) {
        let Some((host, end)) = self.hosts.get(store).zip(self.store.next_end()) else { return };
        if self.store.ends_at.is_some_and(|at| at > self.now) {
            return;
        }
        let at = host.clock.real(end).max(self.now) + self.rng.range(US, 500 * MS);
        let life = self.hosts.get(store).map_or(0, |host| host.life);
        self.store.ends_at = Some(at);
        let asked = Asked { from: (store, life), question: Question::Ends };
        self.at(at, What::Asked { host: store, life, asked });
    }

    /// The store is started, or goes on after it stood still, and another member of it leads, or the same.
    pub(super) fn lead(&mut self, store: usize, anew: bool) {
        if !self.plan.sessions {
            return;
        }
        let Some(local) = self.hosts.get(store).map(|host| host.clock.local(self.now)) else { return };
        if anew {
            self.store.lead_anew(local);
        }
        self.store.ends_at = None;
        self.plan_ends(store);
    }

    /// The store tells all agents unasked; what is lost on the way nobody tells again.
    fn tell_all(&mut self, store: usize, told: &Told) {
        for agent in 0..self.plan.agents {
            let Some(host) = self.hosts.get(agent) else { continue };
            let life = host.life;
            for delay in self.network.send(store, agent, Path::Witness, &mut self.rng).into_iter().flatten() {
                self.at(self.now + delay, What::Told { host: agent, life, told: told.clone() });
            }
        }
    }

    /// The store goes on, with what has waited for that.
    pub(super) fn resume_store(&mut self, number: usize) {
        let Some(life) = self.hosts.get(number).filter(|host| host.machine.is_some()).map(|host| host.life) else {
            return;
        };
        let anew = self.plan.sessions && self.rng.chance(500_000);
        self.lead(number, anew);
        for asked in core::mem::take(&mut self.store.waiting) {
            self.asked(number, life, asked);
        }
    }

    /// What the store's host keeps is lost, deleted or put back.
    pub(super) fn spoil_store(&mut self, number: usize, fault: Fault) {
        let runs = self.hosts.get(number).is_some_and(|host| host.machine.is_some());
        match fault {
            // Of a slip of the hand its readers learn at once, and nobody has to stop it for that.
            _ if runs => self.store.delete(),
            Fault::RollBackRecord(_) => self.store.roll_back(),
            _ => self.store.lose(),
        }
        if !runs {
            self.store.barred_until = self.now + self.plan.longest_lease();
        }
        self.oracle.forgot.insert(number);
        self.oracle.on_store_spoilt(self.now);
    }
}
