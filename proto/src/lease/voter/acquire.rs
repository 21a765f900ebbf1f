//! A voter's answer to an `Acquire` (V2 to V4, V7, V8).

use alloc::vec::Vec;
use core::time::Duration;

use super::{Deferred, Loan, MAX_PENDING_ANSWERS, Voter, VoterOutput};
use crate::guard::Guard;
use crate::id::{Epoch, NodeId};
use crate::time::Instant;
use crate::wire::lease::{Envelope, Message, RefuseReason};

/// What an `Acquire` asks.
#[derive(Clone, Copy)]
pub(super) struct Ask {
    pub(super) epoch: Epoch,
    pub(super) lease: Duration,
    pub(super) prev_ack: u64,
    pub(super) priority: u8,
}

impl Voter {
    /// V2 to V4, V7, V8: a grant of an epoch, or its renewal.
    pub(super) fn acquire(
        &mut self,
        now: Instant,
        from: NodeId,
        request: &Envelope,
        ask: Ask,
        out: &mut Vec<VoterOutput>,
    ) {
        let quiet = now < self.quiet_until;
        let domain = self.domains.entry(request.domain).or_default();
        let recorded = domain.loan.map(|loan| loan.epoch).or(domain.restored);
        let renews = recorded == Some(ask.epoch);
        // A node that asks under a later attempt of the same life holds nothing under the earlier one, and
        // is no rival of itself: what a Transfer reserved for it, or what it let lapse, does not bar it.
        let succeeds = domain.loan.is_some_and(|loan| now < loan.until && loan.epoch.is_before(&ask.epoch));
        let lent = domain.loan.filter(|loan| now < loan.until).map(|loan| loan.epoch);
        let rival = lent.is_some_and(|lent| lent != ask.epoch) && !succeeds && self.guards.has(Guard::LendsOnce);
        let below = domain.max_epoch.is_some_and(|max| ask.epoch <= max) && self.guards.has(Guard::EpochRises);
        let refusal = match () {
            () if ask.epoch.node != from => Some(RefuseReason::NotYou),
            () if ask.lease > self.settings.lease_max => Some(RefuseReason::TooLong),
            () if rival => Some(RefuseReason::Held),
            () if quiet && !renews && !succeeds => Some(RefuseReason::Quiet),
            () if !renews && below => Some(RefuseReason::Stale),
            () => None,
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
                } else if now.since(loan.heard_at) > ask.lease && self.guards.has(Guard::DeafIsRefused) {
                    out.push(self.refuse(now, from, request, RefuseReason::Deaf));
                    return;
                }
                // A shorter lease asked for later must not take back what an earlier answer promised.
                loan.until = loan.until.max(until);
                loan.priority = ask.priority;
            }
            _ => {
                let (epoch, prev_ack, priority) = (ask.epoch, ask.prev_ack, ask.priority);
                domain.loan = Some(Loan { epoch, until, prev_ack, heard_at: now, priority });
            }
        }
        self.generations.asked_under(&self.settings, request.digest);
        let Some(domain) = self.domains.get_mut(&request.domain) else { return };
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
            out.extend(self.pass_on(now, request.domain));
        } else {
            domain.restored = None;
            domain.wanted.clear();
            domain.max_epoch = Some(ask.epoch);
            self.persist(request.domain, (from, request.nonce, grant));
        }
    }
}
