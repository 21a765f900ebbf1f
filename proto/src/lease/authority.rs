//! One face for the lease of a domain, whoever lends it.

use alloc::vec::Vec;

use super::grant::Grant;
use super::holder::{Claimant, Holder, Lease, VoterFault};
use super::unarbitrated::Unarbitrated;
use crate::guard::Guards;
use crate::id::{Epoch, NodeId};
use crate::settings::{Authority, HeartbeatSettings};
use crate::time::Instant;
use crate::wire::lease::Envelope;

/// The lease of one domain.
#[derive(Debug, Clone)]
pub enum DomainLease {
    /// No authority.
    Unarbitrated(Unarbitrated),
    /// A quorum of voters.
    Quorum(alloc::boxed::Box<Holder>),
}

impl DomainLease {
    /// By the operator's choice.
    pub fn new(me: Claimant, authority: &Authority, heartbeat: HeartbeatSettings, guards: Guards, seed: u64) -> Self {
        match authority {
            Authority::None => DomainLease::Unarbitrated(Unarbitrated::new(me, heartbeat)),
            Authority::Quorum(quorum) => {
                let holder = Holder::new(me, quorum.clone(), heartbeat.period, guards, seed);
                DomainLease::Quorum(alloc::boxed::Box::new(holder))
            }
        }
    }

    /// Whether somebody has to be asked.
    pub fn is_arbitrated(&self) -> bool {
        matches!(self, DomainLease::Quorum(_))
    }

    /// The decision says: claim.
    pub fn stand(&mut self, now: Instant, priority: u8) {
        match self {
            DomainLease::Unarbitrated(lease) => lease.stand(now),
            DomainLease::Quorum(holder) => holder.stand(now, priority),
        }
    }

    /// The decision says: don't.
    pub fn sit(&mut self, now: Instant) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.sit(now),
        }
    }

    /// Whether the gate has passed a test since it was decided to claim (R14).
    pub fn set_tested(&mut self, now: Instant, tested: bool) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.set_tested(now, tested),
        }
    }

    /// Whether the holder is asked to hand over, by way of the voters (R11).
    pub fn ask_for_handover(&mut self, now: Instant, asks: bool) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.ask_for_handover(now, asks),
        }
    }

    /// Who holds it and with what priority, as voters say.
    pub fn rival(&self, now: Instant) -> Option<(Epoch, u8)> {
        match self {
            DomainLease::Unarbitrated(_) => None,
            DomainLease::Quorum(holder) => holder.rival(now),
        }
    }

    /// The priority has changed.
    pub fn set_priority(&mut self, priority: u8) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.set_priority(priority),
        }
    }

    /// The live grant.
    pub fn grant(&self, now: Instant) -> Option<Grant> {
        match self {
            DomainLease::Unarbitrated(lease) => lease.grant(now),
            DomainLease::Quorum(holder) => holder.grant(now),
        }
    }

    /// The evidence for the decision.
    pub fn lease(&self, now: Instant) -> Lease {
        match self {
            DomainLease::Unarbitrated(lease) => lease.lease(now),
            DomainLease::Quorum(holder) => holder.lease(now),
        }
    }

    /// The epoch that is held.
    pub fn epoch(&self) -> Option<Epoch> {
        match self {
            DomainLease::Unarbitrated(lease) => lease.epoch(),
            DomainLease::Quorum(holder) => holder.epoch(),
        }
    }

    /// Counter and attempt of the next claim.
    pub fn next_attempt(&self) -> (u64, u32) {
        match self {
            DomainLease::Unarbitrated(lease) => lease.next_attempt(),
            DomainLease::Quorum(holder) => holder.next_attempt(),
        }
    }

    /// Another's epoch was seen.
    pub fn saw_epoch(&mut self, epoch: Epoch) {
        match self {
            DomainLease::Unarbitrated(lease) => lease.saw_epoch(epoch),
            DomainLease::Quorum(holder) => holder.saw_epoch(epoch),
        }
    }

    /// The gate was shut after a lapse, at `shut_at`.
    pub fn clear_lapse(&mut self, shut_at: Instant) {
        match self {
            DomainLease::Unarbitrated(lease) => lease.clear_lapse(),
            DomainLease::Quorum(holder) => holder.clear_lapse(shut_at),
        }
    }

    /// Gives it back, or to an heir (R8: only behind a shut gate).
    pub fn give_back(&mut self, now: Instant, heir: Option<Epoch>) {
        match self {
            DomainLease::Unarbitrated(lease) => lease.give_back(),
            DomainLease::Quorum(holder) => holder.give_back(now, heir),
        }
    }

    /// Releases what a former life held (R16).
    pub fn release_former(&mut self, now: Instant, epoch: Epoch) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.release_former(now, epoch),
        }
    }

    /// A voter says that a Transfer named this node.
    pub fn accept_offer(&mut self, now: Instant, from: NodeId, epoch: Epoch) -> bool {
        match self {
            DomainLease::Unarbitrated(_) => false,
            DomainLease::Quorum(holder) => holder.accept_offer(now, from, epoch),
        }
    }

    /// A voter answered.
    pub fn on_answer(&mut self, now: Instant, from: NodeId, answer: &Envelope) -> Option<VoterFault> {
        match self {
            DomainLease::Unarbitrated(_) => None,
            DomainLease::Quorum(holder) => holder.on_answer(now, from, answer),
        }
    }

    /// When the request that an answer names was sent, if it is remembered.
    pub fn sent_at(&self, from: NodeId, answer: &Envelope) -> Option<Instant> {
        match self {
            DomainLease::Unarbitrated(_) => None,
            DomainLease::Quorum(holder) => holder.sent_at(from, answer),
        }
    }

    /// What a voter has granted counts no more.
    pub fn distrust(&mut self, voter: NodeId) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.distrust(voter),
        }
    }

    /// Renews now.
    pub fn renew_now(&mut self, now: Instant) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.renew_now(now),
        }
    }

    /// Whatever is due.
    pub fn tick(&mut self, now: Instant) {
        match self {
            DomainLease::Unarbitrated(lease) => lease.tick(now),
            DomainLease::Quorum(holder) => holder.tick(now),
        }
    }

    /// When something is.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self {
            DomainLease::Unarbitrated(lease) => lease.next_deadline(),
            DomainLease::Quorum(holder) => holder.next_deadline(),
        }
    }

    /// What is to be sent.
    pub fn take_outbox(&mut self) -> Vec<(NodeId, Envelope)> {
        match self {
            DomainLease::Unarbitrated(_) => Vec::new(),
            DomainLease::Quorum(holder) => holder.take_outbox(),
        }
    }

    /// Whether some voter has yet to hear that an epoch is over.
    pub fn is_saying_farewell(&self) -> bool {
        match self {
            DomainLease::Unarbitrated(_) => false,
            DomainLease::Quorum(holder) => holder.is_saying_farewell(),
        }
    }

    /// How many voters answer, of how many are needed; `None` without an authority.
    pub fn answering(&self, now: Instant) -> Option<(usize, usize)> {
        match self {
            DomainLease::Unarbitrated(_) => None,
            DomainLease::Quorum(holder) => Some((holder.answering(now), holder.majority())),
        }
    }
}
