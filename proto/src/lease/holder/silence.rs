//! The holder while its voters are silent (D4): promises asked and given, and what others said of them (D3).

use alloc::vec::Vec;
use core::time::Duration;

use super::{Holder, Phase};
use crate::guard::Guard;
use crate::id::{Epoch, NodeId};
use crate::lease::promise::Promises;
use crate::lease::track::Track;
use crate::time::Instant;
use crate::wire::lease::Message;

impl Holder {
    /// The later D of the voters' and the promises'; each covers by itself what lies before it.
    pub(super) fn until(&self, epoch: Epoch) -> Option<Instant> {
        self.deadline().max(self.promises.as_ref().and_then(|promises| promises.deadline(epoch)))
    }

    /// It holds, and no majority has granted for two renewals.
    pub(in crate::lease) fn is_short(&self, now: Instant) -> bool {
        let late = self.renewal() * 2 + self.quorum.timing.round_trip;
        let enough = self.quorum.timing.holder_lease().saturating_sub(late);
        let held = matches!(self.phase, Phase::Held { .. });
        held && !self.is_denied() && self.deadline().is_none_or(|lent| lent < now + enough)
    }

    /// So many voters have said no to the epoch that is held that no majority is left to renew it. They are
    /// reached: whatever is done while nobody answers, is not for this.
    pub(super) fn is_denied(&self) -> bool {
        self.quorum.is_blocked(|voter| self.voters.get(&voter).is_some_and(|track| track.denied))
    }

    /// Until when this node may not claim: it has promised, or its former life may have (I13).
    pub fn is_bound(&self, now: Instant) -> bool {
        let promised = self.promises.as_ref().is_some_and(|promises| promises.is_bound(now));
        promised && self.guards.has(Guard::PromiseBinds)
    }

    /// Another candidate holds under `epoch` and has lost its voters. Promises not to claim for `lease` from now,
    /// unless this node holds itself (I13); what is on its way is given up first. Whether it promised.
    pub fn promise(&mut self, now: Instant, epoch: Epoch, lease: Duration) -> bool {
        let holds = matches!(self.phase, Phase::Held { .. } | Phase::Lapsed) || now < self.drained_at;
        let gives = self.degrades && !holds;
        let Some(promises) = self.promises.as_mut().filter(|_| gives) else { return false };
        if !promises.give(now, epoch, lease) {
            return false;
        }
        self.saw_epoch(epoch);
        (self.offered, self.offer_waits) = (None, None);
        if matches!(self.phase, Phase::Asking { .. }) {
            self.phase = Phase::Idle;
        }
        self.abandon(now);
        true
    }

    /// Nothing is claimed before `until`: a former life may have promised so much.
    pub fn wait_out(&mut self, until: Instant) {
        self.former_until = self.former_until.max(Some(until));
        if let Some(promises) = &mut self.promises {
            promises.wait_out(until);
        }
    }

    /// The holder of an epoch has let go: no promise to it is left.
    pub fn on_let_go(&mut self, epoch: Epoch) {
        if let Some(promises) = &mut self.promises {
            promises.free(epoch);
        }
    }

    /// Under the policy `degrade` from now on. A life that was never under it waits as one does that starts: what a former
    /// one may have promised has run out then.
    pub fn degrade(&mut self, candidates: impl IntoIterator<Item = NodeId>, now: Instant) {
        self.degrades = true;
        if self.promises.is_none() {
            let mut promises = Promises::new(candidates, self.quorum.timing, now);
            self.former_until.into_iter().for_each(|until| promises.wait_out(until));
            self.promises = Some(promises);
        }
    }

    /// Under another policy from now on: nothing is promised any more, and no promise is asked for. What has been promised
    /// binds on until it has run out (I13), and what others have promised bars them as long.
    pub fn degrade_no_more(&mut self) {
        self.degrades = false;
    }

    /// The promises of the other candidates, under the policy `degrade`.
    pub fn promises(&self) -> Option<&Promises> {
        self.promises.as_ref()
    }

    /// Asks the other candidates for their promises, while the voters are silent.
    pub(super) fn ask_promises(&mut self, now: Instant) {
        let Phase::Held { epoch, .. } = self.phase else { return };
        if !self.degrades || !self.is_short(now) {
            return;
        }
        let nonce = &mut self.nonce;
        let next = || {
            *nonce += 1;
            *nonce
        };
        let asked = self.promises.as_mut().map(|promises| promises.ask(now, epoch, next)).unwrap_or_default();
        let lease = self.quorum.timing.lease;
        for (candidate, nonce) in asked {
            self.send(candidate, nonce, Message::Promise { epoch, lease });
        }
    }

    /// An epoch of this life that nobody has been asked for, used up.
    pub(in crate::lease) fn spend_epoch(&mut self) -> Epoch {
        self.attempt = self.attempt.saturating_add(1);
        self.max_counter = self.max_counter.saturating_add(1);
        let (counter, attempt) = (self.max_counter, self.attempt);
        Epoch { counter, incarnation: self.me.incarnation, attempt, node: self.me.node }
    }

    /// Asks on with the priority of the last claim.
    pub(in crate::lease) fn stand_again(&mut self, now: Instant) {
        if !self.standing {
            self.stand(now, self.priority);
        }
    }

    /// Which voters lend to `holder`, and how long ago they last heard it: a voter lends for L_a from there, and
    /// its refusals say what is left of it (D3).
    pub fn last_words(&self, now: Instant, holder: NodeId) -> Vec<(NodeId, Duration)> {
        let lent = |(voter, track): (&NodeId, &Track)| {
            // What it has granted to this node since, it lends to nobody else.
            let since = |said_at| track.good_from.is_some_and(|granted| granted > said_at);
            let lends = track.lends.filter(|lends| lends.to == holder && !since(lends.said_at))?;
            Some((*voter, lends.silence.saturating_add(now.since(lends.said_at))))
        };
        self.voters.iter().filter_map(lent).collect()
    }
}
