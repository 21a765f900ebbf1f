//! What voters answer: free or not, granted or refused, offered by who let go (R1 to R3, R17).

use core::time::Duration;

use super::{EARLY, Holder, Phase, VoterFault};
use crate::guard::Guard;
use crate::id::{Epoch, NodeId};
use crate::lease::track::{Belief, Lends, Track};
use crate::time::Instant;
use crate::wire::lease::{Envelope, Message, RefuseReason};

impl Holder {
    /// A Transfer named this node: take the epoch if it is the one reserved for the next attempt.
    /// Returns whether it was, or already is under way.
    pub fn accept_offer(&mut self, now: Instant, from: NodeId, epoch: Epoch) -> bool {
        // Only a voter has anything to offer.
        if self.is_bound(now) || !self.voters.contains_key(&from) {
            return false;
        }
        if let Phase::Acquiring { epoch: mine, .. } = self.phase
            && mine == epoch
        {
            self.send_acquire(now, from);
            return true;
        }
        let reserved = self.attempt.saturating_add(1);
        if epoch.node != self.me.node || epoch.incarnation != self.me.incarnation || epoch.attempt > reserved {
            return false;
        }
        if epoch.attempt < reserved {
            // Our own attempt was quicker, and used its number up. The voters bar all but us: no need to back off.
            self.not_before = self.drained_at.max(now);
            self.tick(now);
            return false;
        }
        if matches!(self.phase, Phase::Held { .. } | Phase::Lapsed) || now < self.drained_at {
            return false;
        }
        if self.tested {
            self.take_offer(now, epoch)
        } else {
            self.offer_waits = Some(epoch)
        }
        true
    }

    pub(super) fn take_offer(&mut self, now: Instant, epoch: Epoch) {
        let usable = epoch.attempt == self.attempt.saturating_add(1) && now >= self.drained_at;
        if !usable || self.is_bound(now) || matches!(self.phase, Phase::Held { .. } | Phase::Lapsed) {
            return;
        }
        if matches!(self.phase, Phase::Acquiring { .. }) {
            self.abandon(now);
        }
        self.offered = Some(epoch);
        self.refused = false;
        self.begin_attempt(now, epoch);
    }

    /// An answer of a voter, whose name the transport has proven.
    pub fn on_answer(&mut self, now: Instant, from: NodeId, answer: &Envelope) -> Option<VoterFault> {
        let lease_max = self.quorum.timing.lease_max;
        // R5: what comes after D, and before the next look at the clock, revives nothing.
        if matches!(self.phase, Phase::Held { .. }) && self.grant(now).is_none() {
            self.phase = Phase::Lapsed;
        }
        if let Message::Promised { epoch, lease } = answer.message {
            // Under other lengths it may have promised something else (V9).
            if let Some(promises) = self.promises.as_mut().filter(|_| answer.digest == self.me.digest) {
                promises.on_promised(from, answer.nonce, epoch, lease);
            }
            return None;
        }
        let stamp = answer.message.stamp()?;
        let sent = self.sent_at(from, answer);
        let track = self.voters.get_mut(&from)?;
        match track.believe(now, sent, stamp, lease_max) {
            Belief::Counts => {}
            Belief::Ignored => return None,
            Belief::Doubted(why) => {
                self.distrust(from);
                return Some(VoterFault { voter: from, why });
            }
        }
        track.answered_at = Some(now);
        let overtaken = track.free && track.is_overtaken(stamp);
        match answer.message {
            // It is free since.
            Message::Refuse { .. } if overtaken => {}
            Message::Free { max_counter, .. } => self.on_free(now, from, answer.nonce, max_counter),
            Message::Refuse { why, holder, holder_priority, remaining, max_counter, .. } => {
                self.max_counter = self.max_counter.max(max_counter);
                if let Some(epoch) = holder.filter(|epoch| epoch.node != self.me.node) {
                    self.rival = Some((epoch, holder_priority, now));
                }
                let silence = self.quorum.timing.lease.saturating_sub(remaining);
                track.lends = holder.map(|holder| Lends { to: holder.node, silence, said_at: now });
                self.on_refusal(now, from, answer.nonce, why, remaining);
            }
            Message::Grant { epoch, lease, .. } => self.on_grant(now, from, answer.nonce, epoch, lease),
            Message::Ended { epoch, .. } => {
                for farewell in &mut self.farewells {
                    farewell.on_ended(from, epoch);
                }
                self.farewells.retain(|farewell| !farewell.is_done(now));
            }
            Message::Offer { .. }
            | Message::Wanted { .. }
            | Message::Report { .. }
            | Message::Query { .. }
            | Message::HandoverRequest { .. }
            | Message::Inspect
            | Message::Acquire { .. }
            | Message::Release { .. }
            | Message::Transfer { .. }
            | Message::Promise { .. }
            | Message::Promised { .. } => {}
        }
        None
    }

    /// When the request that an answer names was sent to that voter, if it is remembered. An Offer answers
    /// another node's Transfer, and names its nonce.
    pub fn sent_at(&self, from: NodeId, answer: &Envelope) -> Option<Instant> {
        let of_ours = !matches!(answer.message, Message::Offer { .. });
        self.voters.get(&from).filter(|_| of_ours)?.sent_at(answer.nonce)
    }

    /// What a member has granted or promised counts no more: its clock is off, or it has forgotten.
    pub fn distrust(&mut self, member: NodeId) {
        if let Some(track) = self.voters.get_mut(&member) {
            (track.good_from, track.free) = (None, false);
            // Which of it was this member's is not known.
            self.inherited = None;
            self.recount();
        }
        if let Some(promises) = &mut self.promises {
            promises.distrust(member);
        }
    }

    /// Whether a member's word about the lease is for nothing now: it is no voter, or one that has forgotten (R17).
    pub fn ignores(&self, now: Instant, member: NodeId) -> bool {
        self.voters.get(&member).is_none_or(|track| track.is_doubted(now))
    }

    /// Renews now instead of at the end of the interval: the voters' clocks are wanted.
    pub fn renew_now(&mut self, now: Instant) {
        if let Phase::Held { renew_at, .. } = &mut self.phase {
            *renew_at = now.min(*renew_at);
        }
    }

    fn on_free(&mut self, now: Instant, from: NodeId, nonce: u64, max_counter: u64) {
        self.max_counter = self.max_counter.max(max_counter);
        let Phase::Asking { first_nonce, .. } = self.phase else { return };
        if nonce < first_nonce {
            return;
        }
        if let Some(track) = self.voters.get_mut(&from) {
            (track.free, track.refused, track.lends) = (true, None, None);
        }
        self.attempt_if_free(now);
    }

    /// Begins an attempt once a majority has nothing against it (R2) and the gate has been tested (R14).
    pub(super) fn attempt_if_free(&mut self, now: Instant) {
        let may = self.carries(|track| track.free) || !self.guards.has(Guard::PreVote);
        if self.tested && matches!(self.phase, Phase::Asking { .. }) && may {
            let epoch = self.next_epoch();
            // With the guard taken out an attempt goes on under its former epoch while nobody was above it.
            let former = self.former.filter(|former| former.counter == self.max_counter);
            let repeated = former.filter(|_| !self.guards.has(Guard::EpochOnce));
            self.begin_attempt(now, repeated.unwrap_or(epoch));
        }
    }

    fn begin_attempt(&mut self, now: Instant, epoch: Epoch) {
        self.attempt = self.attempt.max(epoch.attempt);
        self.former = Some(epoch);
        self.offer_waits = None;
        self.max_counter = self.max_counter.max(epoch.counter);
        self.voters.values_mut().for_each(Track::new_epoch);
        self.inherited = None;
        self.recount();
        self.phase = Phase::Acquiring { epoch, since: now, resend_at: now + self.renewal() / 2 };
        self.acquire_all(now);
    }

    fn on_refusal(&mut self, now: Instant, from: NodeId, nonce: u64, why: RefuseReason, remaining: Duration) {
        let Some(track) = self.voters.get_mut(&from) else { return };
        if matches!(self.phase, Phase::Held { .. }) && track.sent_at(nonce).is_some() {
            // A voter that can't say yes to anybody, for now, says nothing of this epoch.
            let passing = [RefuseReason::Quiet, RefuseReason::Disk, RefuseReason::Deaf, RefuseReason::TooMuch];
            track.denied = !passing.contains(&why);
            if why == RefuseReason::Deaf {
                // Whoever has held on without that voter (D4, `degrade`) hears it again, and shows that (V8).
                track.prev_ack = track.prev_ack.max(nonce);
            }
        }
        let mine = match self.phase {
            Phase::Asking { first_nonce, .. } => nonce >= first_nonce,
            Phase::Acquiring { .. } => track.sent_at(nonce).is_some(),
            // While the lease is held a refusal takes nothing away: D alone decides (R3).
            Phase::Idle | Phase::Held { .. } | Phase::Lapsed => false,
        };
        if !mine {
            return;
        }
        if let Phase::Acquiring { epoch, resend_at, .. } = &mut self.phase
            && self.offered == Some(*epoch)
            && why == RefuseReason::Held
        {
            // Ours has overtaken the Transfer that makes this voter's loan ours: it is only early.
            *resend_at = (*resend_at).min(now + EARLY);
            return;
        }
        track.free = false;
        track.refused = Some((why, now + remaining));
        let refused = self.is_refused();
        self.refused |= refused;
        match &mut self.phase {
            Phase::Acquiring { .. } if refused => self.abandon(now),
            Phase::Asking { resend_at, .. } => {
                // Ask again the moment it can be free, should the voter's own word be lost (V11).
                let soon = now + remaining.max(Duration::from_millis(5)) + Duration::from_millis(1);
                *resend_at = (*resend_at).min(soon);
            }
            Phase::Acquiring { .. } | Phase::Idle | Phase::Held { .. } | Phase::Lapsed => {}
        }
    }

    fn on_grant(&mut self, now: Instant, from: NodeId, nonce: u64, epoch: Epoch, lease: Duration) {
        let current = match self.phase {
            Phase::Acquiring { epoch, .. } | Phase::Held { epoch, .. } => epoch,
            Phase::Idle | Phase::Asking { .. } | Phase::Lapsed => return,
        };
        if epoch != current || lease < self.quorum.timing.lease {
            return;
        }
        let from_request = self.guards.has(Guard::DeadlineFromRequest);
        let Some(track) = self.voters.get_mut(&from) else { return };
        let sent_at = if self.guards.has(Guard::NonceMatches) { track.sent_at(nonce) } else { track.newest_sent() };
        let Some(sent_at) = sent_at else { return };
        (track.refused, track.denied) = (None, false);
        track.prev_ack = track.prev_ack.max(nonce);
        track.good_from = track.good_from.max(Some(if from_request { sent_at } else { now }));
        self.recount();
        if let Phase::Acquiring { since, .. } = self.phase
            && self.deadline().is_some_and(|until| now < until)
        {
            self.phase = Phase::Held { epoch, renew_at: self.next_renewal(since) };
            (self.refused, self.rival) = (false, None);
        }
    }
}
