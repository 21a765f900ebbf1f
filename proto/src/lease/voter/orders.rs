//! What the operator of a voter orders: to take its vote back, to forget, to know other members.
//!
//! What must stay true: an order ends no loan before its time (V2), and no epoch is granted below one that was seen,
//! although the domain was forgotten since (V4). All that an order can do is to refuse.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Granted, Voter, VoterOutput};
use crate::id::{DomainId, NodeId};
use crate::time::Instant;
use crate::wire::lease::{Envelope, Message, RefuseReason};

/// A node that gets no more votes for a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barred {
    /// Which.
    pub node: NodeId,
    /// Until then.
    pub until: Instant,
}

/// Why a domain can't be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InUse {
    /// There is no such domain.
    Unknown,
    /// It is lent: to whom, and until when.
    Lent(Granted),
    /// A new epoch of it waits for the disk.
    Pending,
    /// The voter has started of late, so a loan of its former life may live.
    Quiet(Duration),
    /// Somebody asked for it so long ago, and might again.
    Asked(Duration),
}

impl Voter {
    /// Takes the vote for whoever is recorded as a domain's holder back, for `length` from now: it gets no renewal, no
    /// new epoch and no offer. What was lent runs out at its time, and nobody else is granted anything before. Whom it
    /// bars, and the loan that runs out; `None`: nobody is on record.
    pub fn revoke(&mut self, now: Instant, id: DomainId, length: Duration) -> Option<(Barred, Option<Granted>)> {
        let lent = self.granted(now, id);
        let domain = self.domains.get_mut(&id)?;
        let epoch = domain.loan.map(|loan| loan.epoch).or(domain.restored).or(domain.max_epoch)?;
        let barred = Barred { node: epoch.node, until: now + length };
        domain.barred = Some(barred);
        domain.waiting.remove(&barred.node);
        domain.wanted.remove(&barred.node);
        Some((barred, lent))
    }

    /// Whom a domain's vote was taken from.
    pub fn barred(&self, now: Instant, id: DomainId) -> Option<Barred> {
        self.domains.get(&id)?.barred.filter(|barred| now < barred.until)
    }

    /// Whether a request of a barred node is one that could give it something.
    pub(super) fn is_barred(&self, now: Instant, from: NodeId, request: &Envelope) -> bool {
        let asks = matches!(
            request.message,
            Message::Query { .. } | Message::Acquire { .. } | Message::HandoverRequest { .. }
        );
        asks && self.barred(now, request.domain).is_some_and(|barred| barred.node == from)
    }

    /// Forgets a domain that nobody has asked for since `unasked` ago, and hands the record without it out. Whoever
    /// takes it into use again begins above the highest counter that was ever forgotten.
    ///
    /// # Errors
    /// Something of it may be alive.
    pub fn forget(&mut self, now: Instant, id: DomainId, unasked: Duration) -> Result<Vec<VoterOutput>, InUse> {
        let lent = self.granted(now, id);
        let domain = self.domains.get(&id).ok_or(InUse::Unknown)?;
        if let Some(lent) = lent {
            return Err(InUse::Lent(lent));
        }
        if domain.pending.is_some() {
            return Err(InUse::Pending);
        }
        let quiet = self.quiet_until.since(now);
        if quiet > Duration::ZERO {
            return Err(InUse::Quiet(quiet));
        }
        if let Some(age) = domain.asked_at.map(|at| now.since(at)).filter(|age| *age < unasked) {
            return Err(InUse::Asked(age));
        }
        self.forgotten = self.max_counter(Some(domain));
        self.domains.remove(&id);
        self.waited.remove(&id);
        self.unwritten = true;
        let mut out = Vec::new();
        self.write(now, &mut out);
        Ok(out)
    }

    /// Drops what a node that has left waits for.
    pub fn forget_node(&mut self, node: NodeId) {
        for domain in self.domains.values_mut() {
            domain.waiting.remove(&node);
            domain.wanted.remove(&node);
        }
    }

    /// When a domain was last asked for, in this life of the voter.
    pub fn asked_at(&self, id: DomainId) -> Option<Instant> {
        self.domains.get(&id)?.asked_at
    }

    /// Who may hold from now on. Whoever may no longer gets no renewal, and what it was lent runs out at its time.
    pub fn set_candidates(&mut self, candidates: BTreeSet<NodeId>) {
        self.settings.candidates = candidates;
    }

    /// Refuses requests that were not looked at.
    pub fn turn_away(&self, now: Instant, from: NodeId, requests: &[Envelope], why: RefuseReason) -> Vec<VoterOutput> {
        let asked = requests.iter().filter(|request| request.message.is_request());
        asked.map(|request| self.refuse(now, from, request, why)).collect()
    }
}
