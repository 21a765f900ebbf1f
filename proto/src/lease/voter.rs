//! The voter: lends each domain to one holder at a time (V1 to V11).
//!
//! What must stay true: at most one unexpired grant per domain (I3), and no answer that changes an epoch
//! leaves before the record of it is on disk (V6).
//!
//! The same machine runs in each agent that votes and in the witness.

mod acquire;
mod handover;
mod orders;
mod standing;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::guard::{Guard, Guards};
use crate::id::{ClusterId, ConfigDigest, DomainId, Epoch, Incarnation, NodeId};
use crate::lease::generation::{Former, Generations};
use crate::lease::record::Record;
use crate::lease::{config_digest, set_digest};
use crate::settings::QuorumSettings;
use crate::time::Instant;
use crate::wire::lease::{Envelope, Message, RefuseReason, Stamp, Standing};
use acquire::Ask;
pub use orders::{Barred, InUse};

/// What a voter is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoterSettings {
    /// The cluster it serves.
    pub cluster: ClusterId,
    /// The voter set and bounds it agrees to (V9).
    pub digest: ConfigDigest,
    /// The generation of that.
    pub generation: u32,
    /// [`crate::lease::set_digest`] of it.
    pub set: ConfigDigest,
    /// The generation before, while that is served too.
    pub former: Option<Former>,
    /// Who may hold: the agents.
    pub candidates: BTreeSet<NodeId>,
    /// L_max: it grants nothing longer, and waits this long after a restart (V7).
    pub lease_max: Duration,
    /// New at each start (R17).
    pub incarnation: Incarnation,
}

impl VoterSettings {
    /// By a configuration.
    pub fn new(
        cluster: ClusterId,
        quorum: &QuorumSettings,
        candidates: BTreeSet<NodeId>,
        incarnation: Incarnation,
    ) -> Self {
        VoterSettings {
            cluster,
            digest: config_digest(cluster, quorum),
            generation: quorum.generation,
            set: set_digest(cluster, quorum),
            former: Former::of(cluster, quorum),
            candidates,
            lease_max: quorum.timing.lease_max,
            incarnation,
        }
    }
}

/// What the voter wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VoterOutput {
    /// Send this to a member.
    Send {
        /// To whom; may be the voter's own node.
        to: NodeId,
        /// What.
        envelope: Envelope,
    },
    /// Write this record, fsync it, then call [`Voter::persisted`] with the ticket. Records are to be
    /// written in the order of their tickets; a later one includes all earlier ones.
    Persist {
        /// To name in the answer.
        ticket: u64,
        /// The whole durable state.
        bytes: Vec<u8>,
    },
}

/// How a grant of a domain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// To whom and under which epoch.
    pub epoch: Epoch,
    /// Others are refused until then.
    pub until: Instant,
}

/// `prev_ack` of a loan that a Transfer made: its heir has not asked yet, so it can't have shown that it hears (V8).
const NEVER_ASKED: u64 = u64::MAX;
/// Askers remembered for one unwritten record; a retransmission beyond that gets no answer of its own.
const MAX_PENDING_ANSWERS: usize = 8;
/// Domains that one cluster may ask for: a record of so many fits on the disk, and nobody fills the voter's memory.
const MOST_DOMAINS: usize = 100_000;
/// Who asks too much is told to wait for so long.
const TOO_MUCH_WAIT: Duration = Duration::from_secs(1);
/// The nonce of what no request of the receiver has asked for.
const UNASKED: u64 = 0;

/// One domain as this voter knows it.
#[derive(Debug, Clone, Default)]
struct Domain {
    /// The highest epoch seen (V4).
    max_epoch: Option<Epoch>,
    /// The loan, which may have run out; kept so that exactly it may be renewed.
    loan: Option<Loan>,
    /// The holder of a former life of this voter, which alone may renew while it is quiet (V7).
    restored: Option<Epoch>,
    /// An epoch change that is not on disk yet.
    pending: Option<Pending>,
    /// Who waits, with priority, nonce of the newest query, and when it was asked (V11).
    waiting: BTreeMap<NodeId, Waiting>,
    /// Who has left word for the holder (R11).
    wanted: BTreeMap<NodeId, Want>,
    /// When anybody last asked for it.
    asked_at: Option<Instant>,
    /// Whom the operator has taken the vote from.
    barred: Option<Barred>,
}

#[derive(Debug, Clone, Copy)]
struct Loan {
    epoch: Epoch,
    until: Instant,
    /// The newest `prev_ack` and when it last changed (V8).
    prev_ack: u64,
    heard_at: Instant,
    /// The holder's priority as it last said.
    priority: u8,
}

#[derive(Debug, Clone)]
struct Pending {
    ticket: u64,
    /// Answers that wait for the disk.
    answers: Vec<(NodeId, u64, Deferred)>,
}

#[derive(Debug, Clone, Copy)]
enum Deferred {
    Grant { epoch: Epoch, lease: Duration },
    Transferred { epoch: Epoch, heir: Epoch },
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    priority: u8,
    nonce: u64,
    at: Instant,
}

/// Word that was left for the holder (R11).
#[derive(Debug, Clone, Copy)]
struct Want {
    priority: u8,
    /// What a Transfer may name.
    next: Epoch,
    at: Instant,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Voter {
    settings: VoterSettings,
    guards: Guards,
    quiet_until: Instant,
    tickets: u64,
    domains: BTreeMap<DomainId, Domain>,
    /// Those for which somebody waits (V11); the others need no looking after.
    waited: BTreeSet<DomainId>,
    /// An epoch has changed since the last record was handed out.
    unwritten: bool,
    /// Some domain may still have the holder of a former life.
    remembers: bool,
    /// The longest that it may have lent: L_max, or a former life's until that has run out.
    longest: Duration,
    generations: Generations,
    /// The highest counter of what was forgotten, or may have been lost: new epochs begin above it.
    forgotten: u64,
}

impl Voter {
    /// A voter that starts at `now`, with the record of its former life if there is one that could be
    /// read. Without one it knows nothing and refuses everyone for L_max (V7).
    pub fn new(settings: VoterSettings, now: Instant, record: Option<&Record>) -> Self {
        let mut domains = BTreeMap::<DomainId, Domain>::new();
        for (id, epoch) in record.iter().flat_map(|record| &record.domains) {
            domains.insert(*id, Domain { max_epoch: Some(*epoch), restored: Some(*epoch), ..Domain::default() });
        }
        // What a former life lent under a longer L_max has to have run out too.
        let longest = record.map_or(Duration::ZERO, |record| record.lease_max).max(settings.lease_max);
        let quiet_until = now + longest;
        let generations = Generations::new(&settings, record, now);
        let (tickets, waited, unwritten, remembers) = (0, BTreeSet::new(), false, true);
        Voter {
            settings,
            guards: Guards::default(),
            quiet_until,
            tickets,
            domains,
            waited,
            unwritten,
            remembers,
            longest,
            generations,
            forgotten: record.map_or(0, |record| record.forgotten),
        }
    }

    /// The same, with only the guards that are on; for the simulator, which takes one out at a time.
    pub fn with_guards(mut self, guards: Guards) -> Self {
        if !guards.has(Guard::RestartWait) {
            self.quiet_until = Instant::BOOT;
        }
        self.guards = guards;
        self
    }

    /// Takes back a loan to anybody but `node`; only where the guard against that is taken out.
    #[cfg(feature = "ablation")]
    pub(crate) fn forget_rivals(&mut self, domain: DomainId, node: NodeId) {
        if let Some(domain) = self.domains.get_mut(&domain)
            && domain.loan.is_some_and(|loan| loan.epoch.node != node)
        {
            domain.loan = None;
        }
    }

    /// A request, with the time at which it was taken from its queue (V1), from the member that the
    /// transport has proven.
    pub fn handle(&mut self, now: Instant, from: NodeId, request: &Envelope) -> Vec<VoterOutput> {
        self.handle_all(now, from, core::slice::from_ref(request))
    }

    /// The same for all requests of one datagram. However many epochs change, one record is written.
    pub fn handle_all(&mut self, now: Instant, from: NodeId, requests: &[Envelope]) -> Vec<VoterOutput> {
        let mut out = Vec::new();
        self.expire(now, &mut out);
        for request in requests.iter().filter(|request| request.message.is_request()) {
            self.serve(now, from, request, &mut out);
        }
        self.write(now, &mut out);
        out
    }

    fn serve(&mut self, now: Instant, from: NodeId, request: &Envelope, out: &mut Vec<VoterOutput>) {
        let refusal = if request.cluster != self.settings.cluster {
            Some(RefuseReason::Cluster)
        } else if request.message == Message::Inspect {
            // What helps to see what is wrong is told to every member of every generation.
            let message = Message::Report { standing: self.standing(now), stamp: self.stamp(now) };
            out.push(self.send(from, request, message));
            return;
        } else if let Err(why) = self.generations.admit(&self.settings, request.digest)
            && self.guards.has(Guard::DigestAgrees)
        {
            Some(why)
        } else if !self.settings.candidates.contains(&from) {
            Some(RefuseReason::NotYou)
        } else if self.domains.len() >= MOST_DOMAINS && !self.domains.contains_key(&request.domain) {
            Some(RefuseReason::TooMuch)
        } else if self.is_barred(now, from, request) {
            Some(RefuseReason::Revoked)
        } else {
            None
        };
        if let Some(why) = refusal {
            out.push(self.refuse(now, from, request, why));
            return;
        }
        match request.message {
            Message::Query { priority } => {
                // Who only asks whether it is free wants no handover any more, or is another life of its node.
                if let Some(domain) = self.domains.get_mut(&request.domain) {
                    domain.wanted.remove(&from);
                }
                self.query(now, from, request, priority, out);
            }
            Message::HandoverRequest { priority, next } => {
                self.handover_request(now, from, request, Want { priority, next, at: now }, out);
            }
            Message::Acquire { epoch, lease, prev_ack, priority } => {
                self.acquire(now, from, request, Ask { epoch, lease, prev_ack, priority }, out);
            }
            Message::Release { epoch } => self.release(now, from, request, epoch, out),
            Message::Transfer { epoch, heir } => self.transfer(now, from, request, epoch, heir, out),
            Message::Inspect
            | Message::Free { .. }
            | Message::Grant { .. }
            | Message::Refuse { .. }
            | Message::Ended { .. }
            | Message::Offer { .. }
            | Message::Wanted { .. }
            | Message::Report { .. }
            | Message::Promise { .. }
            | Message::Promised { .. } => {}
        }
        if let Some(domain) = self.domains.get_mut(&request.domain) {
            domain.asked_at = Some(now);
        }
    }

    /// The counter that the next epoch of a domain has to be above.
    fn max_counter(&self, domain: Option<&Domain>) -> u64 {
        domain.and_then(|domain| domain.max_epoch).map_or(0, |epoch| epoch.counter).max(self.forgotten)
    }

    /// The record of `ticket` is on disk, or could not be written.
    pub fn persisted(&mut self, now: Instant, ticket: u64, written: bool) -> Vec<VoterOutput> {
        let mut out = Vec::new();
        self.generations.persisted(now, ticket, written);
        let stamp = self.stamp(now);
        let (cluster, digest, forgotten) = (self.settings.cluster, self.settings.digest, self.forgotten);
        for (id, domain) in &mut self.domains {
            // A later record includes the earlier ones, so all older tickets are settled by it too; a
            // failed write says nothing of its predecessors, which have answered for themselves.
            let Some(pending) =
                domain.pending.take_if(|p| if written { p.ticket <= ticket } else { p.ticket == ticket })
            else {
                continue;
            };
            let answer = |to: NodeId, nonce: u64, message: Message| VoterOutput::Send {
                to,
                envelope: Envelope { cluster, digest, domain: *id, nonce, message },
            };
            for (to, nonce, deferred) in pending.answers {
                match deferred {
                    _ if !written => {
                        let max_counter = domain.max_epoch.map_or(0, |epoch| epoch.counter).max(forgotten);
                        let (why, holder, holder_priority) = (RefuseReason::Disk, None, 0);
                        let remaining = Duration::ZERO;
                        let message = Message::Refuse { why, holder, holder_priority, remaining, max_counter, stamp };
                        out.push(answer(to, nonce, message));
                    }
                    Deferred::Grant { epoch, lease } => {
                        out.push(answer(to, nonce, Message::Grant { epoch, lease, stamp }));
                    }
                    Deferred::Transferred { epoch, heir } => {
                        out.push(answer(to, nonce, Message::Ended { epoch, stamp }));
                        out.push(answer(heir.node, UNASKED, Message::Offer { epoch: heir, stamp }));
                    }
                }
            }
            if !written {
                // Never answered, so nobody counts on it; the epoch stays used up (V4).
                domain.loan = None;
            }
        }
        self.expire(now, &mut out);
        out
    }

    /// When [`Voter::tick`] has something to do: a grant ends for which somebody waits, or the quiet time does.
    pub fn next_deadline(&self) -> Option<Instant> {
        let waited = self.waited.iter().filter_map(|id| self.domains.get(id));
        let free_at =
            waited.map(|domain| domain.loan.map_or(self.quiet_until, |loan| loan.until.max(self.quiet_until)));
        free_at.chain(self.generations.next_deadline()).min()
    }

    /// Tells the waiting what has become free (V11).
    pub fn tick(&mut self, now: Instant) -> Vec<VoterOutput> {
        let mut out = Vec::new();
        self.expire(now, &mut out);
        self.write(now, &mut out);
        out
    }

    fn stamp(&self, now: Instant) -> Stamp {
        Stamp { incarnation: self.settings.incarnation, clock: now }
    }

    fn send(&self, to: NodeId, request: &Envelope, message: Message) -> VoterOutput {
        self.tell(to, request.domain, request.nonce, message)
    }

    fn tell(&self, to: NodeId, domain: DomainId, nonce: u64, message: Message) -> VoterOutput {
        let (cluster, digest) = (self.settings.cluster, self.settings.digest);
        VoterOutput::Send { to, envelope: Envelope { cluster, digest, domain, nonce, message } }
    }

    fn refuse(&self, now: Instant, to: NodeId, request: &Envelope, why: RefuseReason) -> VoterOutput {
        let domain = self.domains.get(&request.domain);
        let loan = domain.and_then(|domain| domain.loan).filter(|loan| now < loan.until);
        let free_at = loan.map_or(self.quiet_until, |loan| loan.until.max(self.quiet_until));
        let free_at = match why {
            RefuseReason::Revoked => {
                free_at.max(domain.and_then(|domain| domain.barred).map_or(now, |barred| barred.until))
            }
            RefuseReason::TooMuch => free_at.max(now + TOO_MUCH_WAIT),
            _ => free_at,
        };
        let max_counter = self.max_counter(domain);
        let (holder, remaining) = (loan.map(|loan| loan.epoch), free_at.since(now));
        let (holder_priority, stamp) = (loan.map_or(0, |loan| loan.priority), self.stamp(now));
        self.send(to, request, Message::Refuse { why, holder, holder_priority, remaining, max_counter, stamp })
    }

    fn query(&mut self, now: Instant, from: NodeId, request: &Envelope, priority: u8, out: &mut Vec<VoterOutput>) {
        let quiet = now < self.quiet_until;
        let domain = self.domains.entry(request.domain).or_default();
        let held = domain.loan.is_some_and(|loan| now < loan.until && loan.epoch.node != from);
        let held = held && self.guards.has(Guard::LendsOnce);
        if held || quiet {
            domain.waiting.insert(from, Waiting { priority, nonce: request.nonce, at: now });
            self.waited.insert(request.domain);
            out.push(self.refuse(now, from, request, if held { RefuseReason::Held } else { RefuseReason::Quiet }));
        } else {
            domain.waiting.remove(&from);
            let max_counter = self.max_counter(self.domains.get(&request.domain));
            out.push(self.send(from, request, Message::Free { max_counter, stamp: self.stamp(now) }));
        }
    }

    /// Has the answer wait for the record, which is handed out once the whole datagram has been served.
    fn persist(&mut self, domain: DomainId, answer: (NodeId, u64, Deferred)) {
        self.unwritten = true;
        let ticket = self.tickets + 1;
        if let Some(domain) = self.domains.get_mut(&domain) {
            // What waited for an earlier record may go when this one is written, which includes it.
            let mut answers = domain.pending.take().map(|pending| pending.answers).unwrap_or_default();
            if answers.len() >= MAX_PENDING_ANSWERS {
                answers.remove(0);
            }
            answers.push(answer);
            domain.pending = Some(Pending { ticket, answers });
        }
    }

    /// Hands the record out, if something in it has changed or the floor has to be tried again. Whether the disk is well
    /// again after a failure is for its keeper to try.
    fn write(&mut self, now: Instant, out: &mut Vec<VoterOutput>) {
        if core::mem::take(&mut self.unwritten) || self.generations.is_due(now) {
            self.tickets += 1;
            self.generations.written_by(now, self.tickets);
            out.push(VoterOutput::Persist { ticket: self.tickets, bytes: self.record().emit() });
            #[cfg(feature = "ablation")]
            if !self.guards.has(Guard::DiskFirst) {
                let early = self.persisted(now, self.tickets, true);
                out.extend(early);
            }
        }
    }

    fn release(&mut self, now: Instant, from: NodeId, request: &Envelope, epoch: Epoch, out: &mut Vec<VoterOutput>) {
        if epoch.node != from {
            out.push(self.refuse(now, from, request, RefuseReason::NotYou));
            return;
        }
        let domain = self.domains.entry(request.domain).or_default();
        // Only that exact one (V5); whatever else there is, the released epoch is over, so "done" is true.
        let exact = self.guards.has(Guard::ReleaseMatches);
        if domain.loan.is_some_and(|loan| loan.epoch == epoch || !exact) {
            domain.loan = None;
            domain.pending = None;
        }
        if domain.restored == Some(epoch) {
            domain.restored = None;
        }
        out.push(self.send(from, request, Message::Ended { epoch, stamp: self.stamp(now) }));
        if now >= self.quiet_until {
            self.tell_waiting(now, request.domain, out);
        }
    }

    fn transfer(
        &mut self,
        now: Instant,
        from: NodeId,
        request: &Envelope,
        epoch: Epoch,
        heir: Epoch,
        out: &mut Vec<VoterOutput>,
    ) {
        let domain = self.domains.entry(request.domain).or_default();
        if epoch.node != from || !self.settings.candidates.contains(&heir.node) {
            out.push(self.refuse(now, from, request, RefuseReason::NotYou));
            return;
        }
        let recorded = domain.loan.map(|loan| loan.epoch).or(domain.restored);
        if recorded == Some(heir) {
            // Heard before: say so again.
            let stamp = self.stamp(now);
            out.push(self.send(from, request, Message::Ended { epoch, stamp }));
            out.push(self.tell(heir.node, request.domain, UNASKED, Message::Offer { epoch: heir, stamp }));
            return;
        }
        let barred = domain.barred.is_some_and(|barred| barred.node == heir.node && now < barred.until);
        if recorded != Some(epoch) || domain.max_epoch.is_some_and(|max| heir <= max) || barred {
            // Over already, or its heir has moved on or may not: all that is left to do is to end it.
            self.release(now, from, request, epoch, out);
            return;
        }
        let until = now + self.settings.lease_max;
        let priority = domain.wanted.get(&heir.node).map_or(0, |want| want.priority);
        domain.loan = Some(Loan { epoch: heir, until, prev_ack: NEVER_ASKED, heard_at: now, priority });
        domain.restored = None;
        domain.wanted.clear();
        domain.max_epoch = Some(heir);
        self.persist(request.domain, (from, request.nonce, Deferred::Transferred { epoch, heir }));
    }

    /// Tells the best waiting candidate of each domain whose grant has ended (V11).
    fn expire(&mut self, now: Instant, out: &mut Vec<VoterOutput>) {
        if now < self.quiet_until {
            return;
        }
        if core::mem::take(&mut self.remembers) {
            self.domains.values_mut().for_each(|domain| domain.restored = None);
            self.longest = self.settings.lease_max;
        }
        let waited: Vec<DomainId> = self.waited.iter().copied().collect();
        for id in waited {
            self.tell_waiting(now, id, out);
        }
    }

    fn tell_waiting(&mut self, now: Instant, id: DomainId, out: &mut Vec<VoterOutput>) {
        let stale = self.settings.lease_max.saturating_mul(4);
        let Some(domain) = self.domains.get_mut(&id) else { return };
        if domain.loan.is_some_and(|loan| now < loan.until) {
            return;
        }
        domain.waiting.retain(|_, waiting| now.since(waiting.at) <= stale);
        let best = domain.waiting.iter().max_by_key(|(node, waiting)| (waiting.priority, core::cmp::Reverse(**node)));
        let best = best.map(|(node, waiting)| (*node, waiting.nonce));
        let max_counter = domain.max_epoch.map_or(0, |epoch| epoch.counter).max(self.forgotten);
        // The others ask again by themselves; two that are told at once would split the vote.
        domain.waiting.clear();
        self.waited.remove(&id);
        if let Some((to, nonce)) = best {
            out.push(self.tell(to, id, nonce, Message::Free { max_counter, stamp: self.stamp(now) }));
        }
    }
}

#[cfg(test)]
mod tests;
