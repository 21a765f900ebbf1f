//! A register with compare-and-swap in a voter's place: a key of etcd with its `mod_revision`, say (safety.md, "etcd").
//!
//! It stands between one node's [`super::holder::Holder`]s, which ask it as they ask any voter and whose majority it is,
//! and the shell that talks to the store. Nothing is asked of the store but that a swap of one key is atomic and that a
//! read shows the newest: not its clocks, its leases or its keep-alives.
//!
//! Why two grants never overlap:
//! - A holder's request counts from its sending (R1), and is granted only when the swap that it set off has moved the
//!   key from the version that this node knew to a new one: that came later.
//! - Another node takes over only from a version that it has seen unmoved for L_a by its own clock, counted from the
//!   receipt of the answer that first showed it: later still. It swaps *that version*, so that a renewal which it has
//!   not seen makes it fail.
//! - What has become of a swap without an answer is not guessed: the key is read before anything else. Should it
//!   come into effect later after all, it does so at its version or not at all.
//! - A key that is not there has been lost, by a slip of the hand or with an old backup: nobody is granted it for
//!   L_max, as by a voter without its disk (V7). It is marked first, in a swap like any other, and L_max counts from the
//!   mark's version: who only found it absent twice could not tell that another had taken it in between. A store whose
//!   revision goes back has forgotten: everything known is dropped, and the answers' clock goes back, which makes the
//!   holder distrust them (R17).
//! - A holder that wants it so hangs its grant on a session instead: an etcd lease of L_a at least, of which a renewal takes a
//!   new one after its request was sent, and to which the session goes over as the key moves. Another takes over when the
//!   session is gone, in a swap that fails if it is there again. This trusts the store's clock to run as fast as a node's
//!   (ρ), and that what was committed is not forgotten; not the answers of keep-alives, which are no commits: none are sent.
//! - Of two generations that have no voter in common the older one is closed in the store before the newer one is granted
//!   anything ([`keeper`]): each swap names the version of the record that says so.
//!
//! What must stay true: one question of a domain is out at a time, and no answer is made of what was not read back.

mod domain;
mod going_on;
pub mod keeper;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use crate::guard::{Guard, Guards};
use crate::id::{ClusterId, ConfigDigest, DomainId, Epoch, Incarnation, NodeId};
use crate::time::Instant;
use crate::wire::lease::{Envelope, Message, RefuseReason, Stamp, Standing};
use domain::Slot;
pub use domain::is_mark;
use keeper::{Generation, Keeper, Kept, KeptAsk};

/// The nonce of what no request has asked for.
const UNASKED: u64 = 0;
/// Where the clock of the answers begins: so that it can go back, again and again.
const CLOCK: Duration = Duration::from_secs(400 * 86_400);
/// By how much it goes back when the store has forgotten.
const BACK: Duration = Duration::from_secs(86_400);
/// Requests of a domain that wait behind the question that is out. Each kind waits once: a newer one replaces it.
const WAITING: usize = 8;
/// Between two looks at keys that are not known yet, where the store does not answer.
const LOOK: Duration = Duration::from_secs(1);
/// The store counts as answering for so long after it said anything: above the second after which the node asks again.
const FRESH: Duration = Duration::from_secs(2);

/// What a register is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterSettings {
    /// The cluster.
    pub cluster: ClusterId,
    /// Of the voter set, which is the store alone, and the lease's bounds; the answers bear it.
    pub digest: ConfigDigest,
    /// The node that asks, and its life.
    pub me: (NodeId, Incarnation),
    /// L_max: nothing longer is granted, and so long a lost key is nobody's.
    pub lease_max: Duration,
    /// Of which generation the node is (V9).
    pub generation: Generation,
    /// Whether what this node is granted hangs on its session, an etcd lease that each renewal makes anew: another takes over
    /// once that is gone by the store's clock, instead of counting by its own for how long the key stands still.
    pub sessions: bool,
    /// The domains that it may want: their keys are looked at from the start, so that one that is not there, and is
    /// nobody's for L_max, has been seen so for long when it is wanted.
    pub domains: Vec<DomainId>,
    /// Which guards are on: all, but in a simulation.
    pub guards: Guards,
}

/// What a domain's key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Content {
    /// The highest epoch that it was ever granted to (V4).
    pub highest: Epoch,
    /// Who holds it; `None` after it was let go.
    pub held: Option<Held>,
}

/// A grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Held {
    /// To whom.
    pub epoch: Epoch,
    /// L_a: for how long others wait once the version stands still.
    pub lease: Duration,
    /// The holder's priority, 1..=255.
    pub priority: u8,
    /// Whether it hangs on the holder's session, as that one wants it ([`RegisterSettings::sessions`]).
    #[cfg_attr(feature = "serde", serde(default))]
    pub session: bool,
}

/// A domain's key as an answer shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The store's own revision when it answered: it never goes back, unless the store forgets.
    pub revision: u64,
    /// The revision of the key's last change, 0 where there is no key.
    pub version: u64,
    /// What it holds.
    pub content: Option<Content>,
    /// Whether the session that this hangs on is not there; without one it says nothing.
    pub is_orphan: bool,
}

/// A node's life, whose session bears its name in the store.
pub type Life = (NodeId, Incarnation);

/// A question to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// What does the key hold? By a read that shows the newest (linearizable).
    Read,
    /// If the key is still at `version` (0: not there), let it hold `content`; else say what it holds. Where `content` is
    /// held with a session, that of the holder stands, from the moment when the key moves, on a lease that was taken for L_a at
    /// least *after* this was asked; nothing moves if that has ended.
    Swap {
        /// The `mod_revision` that is compared with.
        version: u64,
        /// What is written.
        content: Content,
        /// The version of the record of generations, which is compared too ([`keeper`]).
        kept: u64,
        /// Whose session must not be there.
        orphan_of: Option<Life>,
    },
}

/// What became of it. Each question has one answer, if need be [`Answer::Unknown`] after a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// What the key holds, and the record of generations: the answer to a read, and to a swap that came too late.
    Read(Reading, Kept),
    /// The swap has taken place, and this is the key's version.
    Swapped {
        /// Of the key, and so of the store.
        version: u64,
    },
    /// No answer, an error, or one that can't be understood: a swap may have taken place, or may yet.
    Unknown,
}

/// What the register wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterOutput {
    /// Ask the store, and call [`Register::answered`] with the ticket.
    Ask {
        /// Whose key.
        domain: DomainId,
        /// To name in the answer.
        ticket: u64,
        /// What.
        ask: Ask,
    },
    /// Ask the store about the record of generations, and call [`Register::kept`] with the ticket.
    AskKept {
        /// To name in the answer.
        ticket: u64,
        /// What.
        ask: KeptAsk,
    },
    /// Write this beside the key, for the holder to see (R11); it calls [`Register::wanted`].
    LeaveWord {
        /// Of which domain.
        domain: DomainId,
        /// The priority of who asks.
        priority: u8,
        /// The epoch that a Transfer may name.
        next: Epoch,
    },
    /// For the node's own [`super::holder::Holder`], as from a voter.
    Answer(Envelope),
}

/// The machine: one for each node, for all of its domains.
#[derive(Debug, Clone)]
pub struct Register {
    settings: RegisterSettings,
    incarnation: Incarnation,
    /// By how much the answers' clock is ahead of the node's.
    ahead: Duration,
    revision: u64,
    tickets: u64,
    slots: BTreeMap<DomainId, Slot>,
    /// Those for which a candidate waits (V11); the others need no looking after.
    waited: BTreeSet<DomainId>,
    forgot: u32,
    keeper: Keeper,
    /// When the store last said anything.
    heard_at: Option<Instant>,
    /// When keys that nobody has asked for yet are looked at; `None`: all are known.
    look_at: Option<Instant>,
    /// What is held was granted through another register, of which this one's holder has heard no clock.
    goes_on: bool,
}

impl Register {
    /// One that knows nothing yet. `incarnation` is new at each start (R17).
    pub fn new(settings: RegisterSettings, incarnation: Incarnation) -> Self {
        let look_at = (!settings.domains.is_empty()).then_some(Instant::BOOT);
        Register {
            settings,
            incarnation,
            ahead: CLOCK,
            revision: 0,
            tickets: 0,
            slots: BTreeMap::new(),
            waited: BTreeSet::new(),
            forgot: 0,
            keeper: Keeper::default(),
            heard_at: None,
            look_at,
            goes_on: false,
        }
    }

    /// Looks at the keys that are not known yet.
    fn look(&mut self, now: Instant, out: &mut Vec<RegisterOutput>) {
        if self.look_at.is_none_or(|at| now < at) {
            return;
        }
        let domains = self.settings.domains.clone();
        let unknown = |domain: &DomainId| self.slots.get(domain).is_none_or(|slot| slot.known.is_none());
        let unknown: Vec<DomainId> = domains.into_iter().filter(unknown).collect();
        self.look_at = (!unknown.is_empty()).then_some(now + LOOK);
        for domain in unknown {
            let slot = self.slots.entry(domain).or_default();
            if slot.out.is_none() && slot.waiting.is_empty() {
                let (cluster, digest) = (self.settings.cluster, self.settings.digest);
                // Nobody waits for an answer.
                let request = Envelope { cluster, digest, domain, nonce: UNASKED, message: Message::Inspect };
                self.ask(&request, Ask::Read, 0, out);
            }
        }
    }

    /// How many times the store has forgotten in this life.
    pub fn forgot(&self) -> u32 {
        self.forgot
    }

    /// A request of the node's own holder.
    pub fn handle(&mut self, now: Instant, request: &Envelope) -> Vec<RegisterOutput> {
        let mut out = Vec::new();
        match request.message {
            Message::Inspect => {
                // The next report says more.
                self.look_after_record(false, &mut out);
                let heard = self.heard_at.is_some_and(|at| now < at + FRESH);
                if !heard {
                    self.ask_record(KeptAsk::Read, &mut out);
                }
                if heard && self.keeper.version().is_some() {
                    let message = Message::Report { standing: self.standing(now), stamp: self.stamp(now) };
                    out.push(self.answer(request.domain, request.nonce, message));
                }
                return out;
            }
            Message::Acquire { epoch, .. }
            | Message::HandoverRequest { next: epoch, .. }
            | Message::Release { epoch }
            | Message::Transfer { epoch, .. }
                if epoch.node != self.settings.me.0 =>
            {
                out.push(self.refuse(now, request, RefuseReason::NotYou));
                return out;
            }
            Message::Acquire { lease, .. } if lease > self.settings.lease_max => {
                out.push(self.refuse(now, request, RefuseReason::TooLong));
                return out;
            }
            _ if !request.message.is_request() => return out,
            _ => {}
        }
        if matches!(request.message, Message::Acquire { .. }) {
            self.look_after_record(true, &mut out);
        }
        if let Message::HandoverRequest { priority, next } = request.message {
            out.push(RegisterOutput::LeaveWord { domain: request.domain, priority, next });
        }
        let slot = self.slots.entry(request.domain).or_default();
        let kind = core::mem::discriminant(&request.message);
        slot.waiting.retain(|waiting| core::mem::discriminant(&waiting.message) != kind);
        if slot.waiting.len() < WAITING {
            slot.waiting.push_back(request.clone());
        }
        self.go_on(now, request.domain, &mut out);
        out
    }

    /// The store has answered, or has not.
    pub fn answered(&mut self, now: Instant, domain: DomainId, ticket: u64, answer: &Answer) -> Vec<RegisterOutput> {
        let mut out = Vec::new();
        let before = self.stamp(now);
        let Some(slot) = self.slots.get_mut(&domain) else { return out };
        let Some(out_there) = slot.out.take_if(|asked| asked.ticket == ticket) else { return out };
        self.heard_at = if *answer == Answer::Unknown { self.heard_at } else { Some(now) };
        match *answer {
            Answer::Unknown if !self.settings.guards.has(Guard::UnknownIsNoGrant) && out_there.ask != Ask::Read => {
                self.done(now, &out_there.request, &mut out);
            }
            // A swap may have moved the key, or may yet. A read has not: what was seen of the key goes on standing still.
            Answer::Unknown => slot.known = slot.known.filter(|_| out_there.ask == Ask::Read),
            Answer::Read(reading, kept) => {
                let forgot = self.notice(now, reading.revision, &out_there);
                self.keeper.learn_at(now, reading.revision, kept);
                let Some(slot) = self.slots.get_mut(&domain) else { return out };
                slot.learn(now, reading);
                self.tell_of(now, domain, &mut out);
                if forgot {
                    out.push(self.tell_forgot(now, before, &out_there.request));
                } else {
                    self.serve(now, &out_there.request, out_there.tries, &mut out);
                }
            }
            Answer::Swapped { version } => {
                let content = match out_there.ask {
                    Ask::Swap { content, .. } => Some(content),
                    Ask::Read => None,
                };
                let forgot = self.notice(now, version, &out_there);
                let Some(slot) = self.slots.get_mut(&domain) else { return out };
                slot.wrote(now, version, content);
                if forgot {
                    out.push(self.tell_forgot(now, before, &out_there.request));
                } else if content.and_then(|content| content.held).is_some_and(|held| is_mark(held.epoch)) {
                    self.serve(now, &out_there.request, out_there.tries, &mut out);
                } else {
                    self.done(now, &out_there.request, &mut out);
                }
            }
        }
        self.go_on(now, domain, &mut out);
        out
    }

    /// The store has answered a question about the record of generations; `None`: it has not, and a write may have taken
    /// place, or may yet.
    pub fn kept(&mut self, now: Instant, ticket: u64, kept: Option<Kept>) {
        if self.keeper.out.take_if(|out| *out == ticket).is_none() {
            return;
        }
        // Whatever has become of one without an answer, the next names a version.
        if let Some(kept) = kept {
            self.heard_at = Some(now);
            self.keeper.learn(now, kept);
        }
    }

    /// Asks what the record says, or lets it say more; one question about it is out at a time.
    fn look_after_record(&mut self, asks: bool, out: &mut Vec<RegisterOutput>) {
        if self.keeper.out.is_some() {
            return;
        }
        if let Some(ask) = self.keeper.due(self.settings.generation, asks) {
            self.ask_record(ask, out);
        }
    }

    fn ask_record(&mut self, ask: KeptAsk, out: &mut Vec<RegisterOutput>) {
        if self.keeper.out.is_none() {
            self.tickets += 1;
            self.keeper.out = Some(self.tickets);
            out.push(RegisterOutput::AskKept { ticket: self.tickets, ask });
        }
    }

    /// The store tells unasked how a key has changed (a watch). It may come late, twice or not at all.
    pub fn seen(&mut self, now: Instant, domain: DomainId, reading: Reading) -> Vec<RegisterOutput> {
        let mut out = Vec::new();
        self.heard_at = Some(now);
        // Before the first question there is nobody to tell.
        let Some(slot) = self.slots.get_mut(&domain) else { return out };
        if slot.known.as_ref().is_some_and(|known| reading.version > known.version) {
            slot.learn(now, reading);
            self.tell_of(now, domain, &mut out);
        }
        out
    }

    /// Somebody better has left word for the holder (R11).
    pub fn wanted(&mut self, now: Instant, domain: DomainId, priority: u8, heir: Epoch) -> Vec<RegisterOutput> {
        let held = self.slots.get(&domain).and_then(Slot::held);
        let better = held.is_some_and(|held| held.epoch.node == self.settings.me.0 && priority > held.priority);
        if !better || heir.node == self.settings.me.0 {
            return Vec::new();
        }
        let message = Message::Wanted { priority, heir, stamp: self.stamp(now) };
        [self.answer(domain, UNASKED, message)].into()
    }

    /// The store tells unasked that a session is gone. It may come late or not at all: the swap compares.
    pub fn session_gone(&mut self, now: Instant, life: Life) -> Vec<RegisterOutput> {
        let mut out = Vec::new();
        let orphaned = self.slots.iter_mut().filter_map(|(domain, slot)| slot.orphan(now, life).then_some(*domain));
        let orphaned: Vec<DomainId> = orphaned.collect();
        orphaned.into_iter().for_each(|domain| self.tell_of(now, domain, &mut out));
        out
    }

    /// When [`Register::tick`] has something to do: a key for which a candidate waits will be free, or one is not known.
    pub fn next_deadline(&self) -> Option<Instant> {
        let waited = self.waited.iter().filter_map(|domain| self.slots.get(domain));
        waited.filter_map(|slot| slot.tell_at(&self.settings)).chain(self.look_at).min()
    }

    /// Tells a waiting candidate what has become free (V11), and looks at the keys that are not known.
    pub fn tick(&mut self, now: Instant) -> Vec<RegisterOutput> {
        let mut out = Vec::new();
        self.look(now, &mut out);
        let waited: Vec<DomainId> = self.waited.iter().copied().collect();
        waited.into_iter().for_each(|domain| self.tell_of(now, domain, &mut out));
        self.waited.retain(|domain| self.slots.get(domain).is_some_and(|slot| slot.candidate.is_some()));
        out
    }

    /// Whether the store has forgotten what it knew: its answer is older than what was known when it was asked. An
    /// answer that another's, or a watch, has overtaken is not.
    fn notice(&mut self, now: Instant, revision: u64, asked: &domain::Out) -> bool {
        // What was known before it had forgotten is known no longer.
        let floor = if asked.forgot == self.forgot { asked.floor } else { 0 };
        if revision >= floor || !self.settings.guards.has(Guard::StoreMayForget) {
            self.revision = self.revision.max(revision);
            self.goes_on = false;
            return false;
        }
        self.revision = revision;
        self.forgot = self.forgot.saturating_add(1);
        self.ahead = self.ahead.saturating_sub(BACK);
        for slot in self.slots.values_mut() {
            slot.forget(now);
        }
        self.keeper.forget();
        true
    }

    /// The next request of a domain, unless a question is out.
    fn go_on(&mut self, now: Instant, domain: DomainId, out: &mut Vec<RegisterOutput>) {
        while let Some(slot) = self.slots.get_mut(&domain).filter(|slot| slot.out.is_none()) {
            let Some(request) = slot.waiting.pop_front() else { return };
            let is_query = matches!(request.message, Message::Query { .. } | Message::HandoverRequest { .. });
            if is_query || slot.known.is_none() || self.keeper.version().is_none() {
                self.ask(&request, Ask::Read, 0, out);
            } else {
                self.serve(now, &request, 0, out);
            }
        }
    }

    fn ask(&mut self, request: &Envelope, ask: Ask, tries: u8, out: &mut Vec<RegisterOutput>) {
        self.tickets += 1;
        let (ticket, domain) = (self.tickets, request.domain);
        if let Some(slot) = self.slots.get_mut(&domain) {
            let floor = slot.known.map_or(0, |known| known.version).max(self.revision);
            let (request, forgot) = (request.clone(), self.forgot);
            slot.out = Some(domain::Out { ticket, ask, request, tries, floor, forgot });
            out.push(RegisterOutput::Ask { domain, ticket, ask });
        }
    }

    /// What is known of the key is fresh enough: answer, or swap.
    fn serve(&mut self, now: Instant, request: &Envelope, tries: u8, out: &mut Vec<RegisterOutput>) {
        let settings = &self.settings;
        let is_closed = self.keeper.is_closed(settings.generation);
        let Some(slot) = self.slots.get_mut(&request.domain) else { return };
        if is_closed && !matches!(request.message, Message::Release { .. } | Message::Transfer { .. }) {
            return out.push(self.refuse(now, request, RefuseReason::Generation));
        }
        let Some(kept) = self.keeper.version() else { return };
        match slot.judge(now, settings, &request.message) {
            domain::Judgement::Swap(..) | domain::Judgement::Mark if tries >= domain::TRIES => slot.known = None,
            domain::Judgement::Mark => {
                let ask = Ask::Swap { version: 0, content: domain::mark(settings), kept, orphan_of: None };
                self.ask(request, ask, tries + 1, out);
            }
            domain::Judgement::Swap(version, content, orphan_of) => {
                self.ask(request, Ask::Swap { version, content, kept, orphan_of }, tries + 1, out);
            }
            domain::Judgement::Done => self.done(now, request, out),
            domain::Judgement::Refuse(why) => {
                if let Message::Query { priority } | Message::HandoverRequest { priority, .. } = request.message {
                    slot.candidate = Some(domain::Candidate { nonce: request.nonce, priority });
                    self.waited.insert(request.domain);
                }
                out.push(self.refuse(now, request, why));
            }
        }
    }

    /// What was asked for is so.
    fn done(&mut self, now: Instant, request: &Envelope, out: &mut Vec<RegisterOutput>) {
        let stamp = self.stamp(now);
        let slot = self.slots.get_mut(&request.domain);
        let message = match request.message {
            Message::Query { .. } | Message::HandoverRequest { .. } => {
                let max_counter = slot.map_or(0, |slot| {
                    slot.candidate = None;
                    slot.highest().map_or(0, |epoch| epoch.counter)
                });
                Message::Free { max_counter, stamp }
            }
            Message::Acquire { epoch, lease, .. } => {
                if let Some(slot) = slot {
                    slot.candidate = None;
                }
                Message::Grant { epoch, lease, stamp }
            }
            Message::Release { epoch } | Message::Transfer { epoch, .. } => Message::Ended { epoch, stamp },
            _ => return,
        };
        out.push(self.answer(request.domain, request.nonce, message));
    }

    /// Who waits is told that the key is free, and an heir that it is its own.
    fn tell_of(&mut self, now: Instant, domain: DomainId, out: &mut Vec<RegisterOutput>) {
        let stamp = self.stamp(now);
        let Some(slot) = self.slots.get_mut(&domain) else { return };
        if let Some(epoch) = slot.take_offer(self.settings.me) {
            slot.candidate = None;
            out.push(self.answer(domain, UNASKED, Message::Offer { epoch, stamp }));
            return;
        }
        if slot.tell_at(&self.settings).is_none_or(|at| now < at) {
            return;
        }
        if let Some(candidate) = slot.candidate.take() {
            let max_counter = slot.highest().map_or(0, |epoch| epoch.counter);
            out.push(self.answer(domain, candidate.nonce, Message::Free { max_counter, stamp }));
        }
    }

    fn refuse(&self, now: Instant, request: &Envelope, why: RefuseReason) -> RegisterOutput {
        let slot = self.slots.get(&request.domain);
        let held = slot.and_then(Slot::held).filter(|_| why == RefuseReason::Held);
        let free_at = slot.and_then(|slot| slot.free_at(&self.settings));
        // While a session lives nobody knows for how long: asked again as if it had just been renewed.
        let renewed = slot.and_then(Slot::held).map_or(Duration::ZERO, |held| held.lease);
        let message = Message::Refuse {
            why,
            holder: held.map(|held| held.epoch),
            holder_priority: held.map_or(0, |held| held.priority),
            remaining: free_at.map_or(renewed, |at| at.since(now)),
            max_counter: slot.and_then(Slot::highest).map_or(0, |epoch| epoch.counter),
            stamp: self.stamp(now),
        };
        self.answer(request.domain, request.nonce, message)
    }

    fn answer(&self, domain: DomainId, nonce: u64, message: Message) -> RegisterOutput {
        let (cluster, digest) = (self.settings.cluster, self.settings.digest);
        RegisterOutput::Answer(Envelope { cluster, digest, domain, nonce, message })
    }

    fn stamp(&self, now: Instant) -> Stamp {
        Stamp { incarnation: self.incarnation, clock: now + self.ahead }
    }

    /// As the record of generations has it.
    fn standing(&self, now: Instant) -> Standing {
        let (floor, floor_for, opened) = self.keeper.standing(now);
        Standing {
            generation: self.settings.generation.number,
            floor,
            floor_for,
            opened,
            quiet_for: Duration::ZERO,
            lent: 0,
        }
    }
}

/// In the order of their coming.
type Requests = VecDeque<Envelope>;

#[cfg(test)]
mod tests;
