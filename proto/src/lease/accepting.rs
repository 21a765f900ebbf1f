//! A quorum whose operator accepts two Masters rather than none (D4, policy `i-accept-dual-master`).
//!
//! While the voters answer, this is the quorum's lease and nothing else. While they don't, it is what a domain
//! without an authority has: leave to hold is whatever the election says ([`super::unarbitrated`]), and P1 is
//! withdrawn, by the operator's own word. Their first refusal ends that.

use super::grant::{Backing, Grant};
use super::holder::{Holder, Lease};
use super::unarbitrated::Unarbitrated;
use crate::id::{Epoch, NodeId};
use crate::time::Instant;

/// The machine, one per domain.
#[derive(Debug, Clone)]
pub struct Accepting {
    pub(super) holder: Holder,
    alone: Unarbitrated,
    /// The decision says: don't claim; what is held is being given up.
    resting: bool,
}

impl Accepting {
    /// Both of one claimant.
    pub fn new(holder: Holder, alone: Unarbitrated) -> Self {
        Accepting { holder, alone, resting: false }
    }

    /// The decision says: claim.
    pub fn stand(&mut self, now: Instant, priority: u8) {
        self.resting = false;
        self.holder.stand(now, priority);
    }

    /// The decision says: don't.
    pub fn sit(&mut self, now: Instant) {
        self.resting = true;
        self.holder.sit(now);
    }

    /// A voter says that a Transfer named this node.
    pub fn accept_offer(&mut self, now: Instant, from: NodeId, epoch: Epoch) -> bool {
        let accepted = self.holder.accept_offer(now, from, epoch);
        self.resting &= !accepted;
        accepted
    }

    /// The decision says: hold although nobody gave leave.
    pub fn stand_alone(&mut self, now: Instant) {
        self.resting = false;
        if self.grant(now).is_none() && self.lease(now) == Lease::Unruled {
            let epoch = self.holder.spend_epoch();
            self.alone.adopt(now, epoch);
        }
    }

    /// Leave to hold, with whose leave it is.
    pub fn grant(&self, now: Instant) -> Option<Grant> {
        match (self.holder.grant(now), self.alone.grant(now)) {
            (Some(lent), Some(alone)) if lent.epoch() == alone.epoch() => {
                Some(Grant::new(lent.epoch(), lent.until().max(alone.until())))
            }
            (Some(lent), _) => Some(lent),
            (None, alone) => alone.map(|alone| alone.backed_by(Backing::Nobody)),
        }
    }

    /// The evidence for the decision.
    pub fn lease(&self, now: Instant) -> Lease {
        if let Some(grant) = self.grant(now) {
            return Lease::Held(grant);
        }
        match (self.alone.lease(now), self.holder.lease(now)) {
            (Lease::Lapsed, _) => Lease::Lapsed,
            (_, Lease::Unanswered) => Lease::Unruled,
            (_, lease) => lease,
        }
    }

    /// The epoch that is held.
    pub fn epoch(&self) -> Option<Epoch> {
        self.holder.epoch().or(self.alone.epoch())
    }

    /// The gate was shut after a lapse, at `shut_at`.
    pub fn clear_lapse(&mut self, shut_at: Instant) {
        self.alone.clear_lapse();
        self.holder.clear_lapse(shut_at);
    }

    /// Gives it back, or to an heir.
    pub fn give_back(&mut self, now: Instant, heir: Option<Epoch>) {
        self.alone.give_back();
        self.holder.give_back(now, heir);
    }

    /// Whoever lent it, it is renewed no more.
    pub fn let_run_out(&mut self) {
        self.holder.let_run_out();
        self.alone.let_run_out();
    }

    /// Whatever is due.
    pub fn tick(&mut self, now: Instant) {
        if self.alone.epoch().is_none()
            && !self.resting
            && self.holder.is_short(now)
            && let Some(epoch) = self.holder.epoch()
        {
            // Before D, so that the gate never shuts in between.
            self.alone.adopt(now, epoch);
        }
        self.holder.tick(now);
        self.alone.tick(now);
        if self.alone.epoch().is_none() {
            return;
        }
        match self.holder.lease(now) {
            Lease::Held(_) if !self.holder.is_short(now) => self.alone.give_back(),
            Lease::Held(_) => {}
            // The voters are there again, and lend to another.
            Lease::Refused => self.alone.revoke(),
            Lease::Lapsed => {
                self.holder.clear_lapse(now);
                self.ask_again(now);
            }
            Lease::Vacant | Lease::Unanswered | Lease::Unruled | Lease::Bound => self.ask_again(now),
        }
    }

    /// While it holds by nobody's leave it asks on for the voters', unless it is about to let go.
    fn ask_again(&mut self, now: Instant) {
        if !self.resting {
            self.holder.stand_again(now);
        }
    }

    /// When [`Accepting::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.holder.next_deadline().into_iter().chain(self.alone.next_deadline()).min()
    }
}
