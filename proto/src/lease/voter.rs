//! The voter: lends each domain to one holder at a time (V1 to V11).
//!
//! What must stay true: at most one unexpired grant per domain (I3), and no answer that changes an epoch
//! leaves before the record of it is on disk (V6).
//!
//! The same machine runs in each agent that votes and in the witness.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::guard::{Guard, Guards};
use crate::id::{ClusterId, ConfigDigest, DomainId, Epoch, Incarnation, NodeId};
use crate::lease::record::Record;
use crate::time::Instant;
use crate::wire::lease::{Envelope, Message, RefuseReason, Stamp};

/// What a voter is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoterSettings {
    /// The cluster it serves.
    pub cluster: ClusterId,
    /// The voter set and bounds it agrees to (V9).
    pub digest: ConfigDigest,
    /// Who may hold: the agents.
    pub candidates: BTreeSet<NodeId>,
    /// L_max: it grants nothing longer, and waits this long after a restart (V7).
    pub lease_max: Duration,
    /// New at each start (R17).
    pub incarnation: Incarnation,
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

/// Askers remembered for one unwritten record; a retransmission beyond that gets no answer of its own.
const MAX_PENDING_ANSWERS: usize = 8;

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
}

#[derive(Debug, Clone, Copy)]
struct Loan {
    epoch: Epoch,
    until: Instant,
    /// The newest `prev_ack` and when it last changed (V8).
    prev_ack: u64,
    heard_at: Instant,
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

/// The machine.
#[derive(Debug, Clone)]
pub struct Voter {
    settings: VoterSettings,
    guards: Guards,
    quiet_until: Instant,
    tickets: u64,
    domains: BTreeMap<DomainId, Domain>,
}

impl Voter {
    /// A voter that starts at `now`, with the record of its former life if there is one that could be
    /// read. Without one it knows nothing and refuses everyone for L_max (V7).
    pub fn new(settings: VoterSettings, now: Instant, record: Option<&Record>) -> Self {
        let mut domains = BTreeMap::<DomainId, Domain>::new();
        for (id, epoch) in record.iter().flat_map(|record| &record.domains) {
            domains.insert(*id, Domain { max_epoch: Some(*epoch), restored: Some(*epoch), ..Domain::default() });
        }
        let quiet_until = now + settings.lease_max;
        Voter { settings, guards: Guards::default(), quiet_until, tickets: 0, domains }
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

    /// Until when it grants nobody but the holder of its former life.
    pub fn quiet_until(&self) -> Instant {
        self.quiet_until
    }

    /// The unexpired grant of a domain.
    pub fn granted(&self, now: Instant, domain: DomainId) -> Option<Granted> {
        let loan = self.domains.get(&domain)?.loan.as_ref()?;
        (now < loan.until).then_some(Granted { epoch: loan.epoch, until: loan.until })
    }

    /// The highest epoch of a domain that it has seen (V4).
    pub fn highest(&self, domain: DomainId) -> Option<Epoch> {
        self.domains.get(&domain)?.max_epoch
    }

    /// Every domain it has heard of, with the unexpired grant.
    pub fn domains(&self, now: Instant) -> impl Iterator<Item = (DomainId, Option<Granted>)> + '_ {
        self.domains.keys().map(move |id| (*id, self.granted(now, *id)))
    }

    /// The durable state as it stands.
    pub fn record(&self) -> Record {
        let domains = self.domains.iter().filter_map(|(id, domain)| Some((*id, domain.max_epoch?)));
        Record { domains: domains.collect() }
    }

    /// A request, with the time at which it was taken from its queue (V1), from the member that the
    /// transport has proven.
    pub fn handle(&mut self, now: Instant, from: NodeId, request: &Envelope) -> Vec<VoterOutput> {
        let mut out = Vec::new();
        self.expire(now, &mut out);
        let refusal = if request.cluster != self.settings.cluster {
            Some(RefuseReason::Cluster)
        } else if request.digest != self.settings.digest && self.guards.has(Guard::DigestAgrees) {
            Some(RefuseReason::Digest)
        } else if !self.settings.candidates.contains(&from) {
            Some(RefuseReason::NotYou)
        } else {
            None
        };
        if let Some(why) = refusal {
            if request.message.is_request() {
                out.push(self.refuse(now, from, request, why));
            }
            return out;
        }
        match request.message {
            Message::Query { priority } => self.query(now, from, request, priority, &mut out),
            Message::Acquire { epoch, lease, prev_ack } => {
                self.acquire(now, from, request, Ask { epoch, lease, prev_ack }, &mut out);
            }
            Message::Release { epoch } => self.release(now, from, request, epoch, &mut out),
            Message::Transfer { epoch, heir } => self.transfer(now, from, request, epoch, heir, &mut out),
            Message::Free { .. }
            | Message::Grant { .. }
            | Message::Refuse { .. }
            | Message::Ended { .. }
            | Message::Offer { .. }
            | Message::Promise { .. }
            | Message::Promised { .. } => {}
        }
        out
    }

    /// The record of `ticket` is on disk, or could not be written.
    pub fn persisted(&mut self, now: Instant, ticket: u64, written: bool) -> Vec<VoterOutput> {
        let mut out = Vec::new();
        let stamp = self.stamp(now);
        let (cluster, digest) = (self.settings.cluster, self.settings.digest);
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
                        let max_counter = domain.max_epoch.map_or(0, |epoch| epoch.counter);
                        let (why, remaining) = (RefuseReason::Disk, Duration::ZERO);
                        out.push(answer(
                            to,
                            nonce,
                            Message::Refuse { why, holder: None, remaining, max_counter, stamp },
                        ));
                    }
                    Deferred::Grant { epoch, lease } => {
                        out.push(answer(to, nonce, Message::Grant { epoch, lease, stamp }));
                    }
                    Deferred::Transferred { epoch, heir } => {
                        out.push(answer(to, nonce, Message::Ended { epoch, stamp }));
                        out.push(answer(heir.node, nonce, Message::Offer { epoch: heir, stamp }));
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
        let waited = self.domains.values().filter(|domain| !domain.waiting.is_empty());
        waited.map(|domain| domain.loan.map_or(self.quiet_until, |loan| loan.until.max(self.quiet_until))).min()
    }

    /// Tells the waiting what has become free (V11).
    pub fn tick(&mut self, now: Instant) -> Vec<VoterOutput> {
        let mut out = Vec::new();
        self.expire(now, &mut out);
        out
    }

    fn stamp(&self, now: Instant) -> Stamp {
        Stamp { incarnation: self.settings.incarnation, clock: now }
    }

    fn send(&self, to: NodeId, request: &Envelope, message: Message) -> VoterOutput {
        let (cluster, digest) = (request.cluster, self.settings.digest);
        VoterOutput::Send {
            to,
            envelope: Envelope { cluster, digest, domain: request.domain, nonce: request.nonce, message },
        }
    }

    fn refuse(&self, now: Instant, to: NodeId, request: &Envelope, why: RefuseReason) -> VoterOutput {
        let domain = self.domains.get(&request.domain);
        let loan = domain.and_then(|domain| domain.loan).filter(|loan| now < loan.until);
        let free_at = loan.map_or(self.quiet_until, |loan| loan.until.max(self.quiet_until));
        let max_counter = domain.and_then(|domain| domain.max_epoch).map_or(0, |epoch| epoch.counter);
        let (holder, remaining) = (loan.map(|loan| loan.epoch), free_at.since(now));
        self.send(to, request, Message::Refuse { why, holder, remaining, max_counter, stamp: self.stamp(now) })
    }

    fn query(&mut self, now: Instant, from: NodeId, request: &Envelope, priority: u8, out: &mut Vec<VoterOutput>) {
        let quiet = now < self.quiet_until;
        let domain = self.domains.entry(request.domain).or_default();
        let held = domain.loan.is_some_and(|loan| now < loan.until && loan.epoch.node != from);
        let held = held && self.guards.has(Guard::LendsOnce);
        if held || quiet {
            domain.waiting.insert(from, Waiting { priority, nonce: request.nonce, at: now });
            out.push(self.refuse(now, from, request, if held { RefuseReason::Held } else { RefuseReason::Quiet }));
        } else {
            domain.waiting.remove(&from);
            let max_counter = domain.max_epoch.map_or(0, |epoch| epoch.counter);
            out.push(self.send(from, request, Message::Free { max_counter, stamp: self.stamp(now) }));
        }
    }

    fn acquire(&mut self, now: Instant, from: NodeId, request: &Envelope, ask: Ask, out: &mut Vec<VoterOutput>) {
        let quiet = now < self.quiet_until;
        let domain = self.domains.entry(request.domain).or_default();
        let recorded = domain.loan.map(|loan| loan.epoch).or(domain.restored);
        let renews = recorded == Some(ask.epoch);
        // A node that asks under a later attempt of the same life holds nothing under the earlier one, and
        // is no rival of itself: what a Transfer reserved for it, or what it let lapse, does not bar it.
        let succeeds = domain.loan.is_some_and(|loan| now < loan.until && loan.epoch.is_before(&ask.epoch));
        let refusal = if ask.epoch.node != from {
            Some(RefuseReason::NotYou)
        } else if ask.lease > self.settings.lease_max {
            Some(RefuseReason::TooLong)
        } else if domain.loan.is_some_and(|loan| now < loan.until && loan.epoch != ask.epoch)
            && !succeeds
            && self.guards.has(Guard::LendsOnce)
        {
            Some(RefuseReason::Held)
        } else if quiet && !renews && !succeeds {
            Some(RefuseReason::Quiet)
        } else if !renews && domain.max_epoch.is_some_and(|max| ask.epoch <= max) && self.guards.has(Guard::EpochRises)
        {
            Some(RefuseReason::Stale)
        } else {
            None
        };
        if let Some(why) = refusal {
            out.push(self.refuse(now, from, request, why));
            return;
        }
        let until = now + ask.lease;
        match &mut domain.loan {
            Some(loan) if renews => {
                if loan.prev_ack != ask.prev_ack {
                    (loan.prev_ack, loan.heard_at) = (ask.prev_ack, now);
                } else if now.since(loan.heard_at) > ask.lease {
                    out.push(self.refuse(now, from, request, RefuseReason::Deaf));
                    return;
                }
                // A shorter lease asked for later must not take back what an earlier answer promised.
                loan.until = loan.until.max(until);
            }
            _ => domain.loan = Some(Loan { epoch: ask.epoch, until, prev_ack: ask.prev_ack, heard_at: now }),
        }
        domain.waiting.remove(&from);
        let grant = Deferred::Grant { epoch: ask.epoch, lease: ask.lease };
        if renews {
            if let Some(pending) = &mut domain.pending {
                if pending.answers.len() < MAX_PENDING_ANSWERS {
                    pending.answers.push((from, request.nonce, grant));
                }
                return;
            }
            let message = Message::Grant { epoch: ask.epoch, lease: ask.lease, stamp: self.stamp(now) };
            out.push(self.send(from, request, message));
        } else {
            domain.restored = None;
            domain.max_epoch = Some(ask.epoch);
            self.persist(now, request.domain, (from, request.nonce, grant), out);
        }
    }

    fn persist(
        &mut self,
        #[cfg_attr(not(feature = "ablation"), allow(unused_variables))] now: Instant,
        domain: DomainId,
        answer: (NodeId, u64, Deferred),
        out: &mut Vec<VoterOutput>,
    ) {
        self.tickets += 1;
        let ticket = self.tickets;
        if let Some(domain) = self.domains.get_mut(&domain) {
            // What waited for an earlier record may go when this one is written, which includes it.
            let mut answers = domain.pending.take().map(|pending| pending.answers).unwrap_or_default();
            if answers.len() >= MAX_PENDING_ANSWERS {
                answers.remove(0);
            }
            answers.push(answer);
            domain.pending = Some(Pending { ticket, answers });
        }
        out.push(VoterOutput::Persist { ticket, bytes: self.record().emit() });
        #[cfg(feature = "ablation")]
        if !self.guards.has(Guard::DiskFirst) {
            let early = self.persisted(now, ticket, true);
            out.extend(early);
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
        self.expire(now, out);
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
            out.push(self.send(heir.node, request, Message::Offer { epoch: heir, stamp }));
            return;
        }
        if recorded != Some(epoch) || domain.max_epoch.is_some_and(|max| heir <= max) {
            // Over already, or its heir has moved on: all that is left to do is to end it.
            self.release(now, from, request, epoch, out);
            return;
        }
        let until = now + self.settings.lease_max;
        domain.loan = Some(Loan { epoch: heir, until, prev_ack: 0, heard_at: now });
        domain.restored = None;
        domain.max_epoch = Some(heir);
        self.persist(now, request.domain, (from, request.nonce, Deferred::Transferred { epoch, heir }), out);
    }

    /// Tells the best waiting candidate of each domain whose grant has ended (V11).
    fn expire(&mut self, now: Instant, out: &mut Vec<VoterOutput>) {
        if now < self.quiet_until {
            return;
        }
        let stamp = self.stamp(now);
        let (cluster, digest) = (self.settings.cluster, self.settings.digest);
        let stale = self.settings.lease_max.saturating_mul(4);
        for (id, domain) in &mut self.domains {
            domain.restored = None;
            if domain.waiting.is_empty() || domain.loan.is_some_and(|loan| now < loan.until) {
                continue;
            }
            domain.waiting.retain(|_, waiting| now.since(waiting.at) <= stale);
            let best =
                domain.waiting.iter().max_by_key(|(node, waiting)| (waiting.priority, core::cmp::Reverse(**node)));
            let Some((to, nonce)) = best.map(|(node, waiting)| (*node, waiting.nonce)) else { continue };
            // The others ask again by themselves; two that are told at once would split the vote.
            domain.waiting.clear();
            let max_counter = domain.max_epoch.map_or(0, |epoch| epoch.counter);
            let message = Message::Free { max_counter, stamp };
            out.push(VoterOutput::Send { to, envelope: Envelope { cluster, digest, domain: *id, nonce, message } });
        }
    }
}

/// What an `Acquire` asks.
#[derive(Clone, Copy)]
struct Ask {
    epoch: Epoch,
    lease: Duration,
    prev_ack: u64,
}

#[cfg(test)]
mod tests;
