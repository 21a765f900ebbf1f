//! Preemption and the gate's test before a claim: who asks, who gives up, and that the heir is ready before the
//! holder lets go (R8, R11, R14).

use core::time::Duration;

use super::{Domain, Leaving, Test};
use crate::decision::{Reason, Role};
use crate::domain::why::NoHandover;
use crate::facts::Facts;
use crate::id::{Epoch, NodeId, Priority};
use crate::lease::reach::Reach;
use crate::time::Instant;

/// A Master is left in peace for so long.
const SETTLED: Duration = Duration::from_secs(1);

impl Domain {
    /// R11: a better Backup asks over a heartbeat link. Given up for it, if it is better and can hold.
    pub(crate) fn on_request(&mut self, facts: &Facts<'_>, from: NodeId) {
        let Some(peer) = facts.peers.get(&from) else { return };
        let Some(said) = peer.domain(self.id) else { return };
        let better = said.wants && said.eligible && said.priority > self.priority();
        if better && !peer.is_deaf(facts.now) {
            self.hand_over(facts.now, from, None);
        }
    }

    /// R11: a better Backup that does not hear us has left word with a voter. It says so only while it is
    /// eligible; where its beats are heard they tell more.
    pub(crate) fn on_wanted(&mut self, facts: &Facts<'_>, priority: u8, heir: Epoch) {
        let Some(peer) = facts.peers.get(&heir.node) else { return };
        let able = peer.is_silent(facts.now) || peer.domain(self.id).is_none_or(|said| said.eligible);
        let mine = self.lease.grant(facts.now).is_some();
        if mine && able && Priority(priority) > self.priority() {
            self.hand_over(facts.now, heir.node, Some(heir));
        }
    }

    fn hand_over(&mut self, now: Instant, heir: NodeId, heir_epoch: Option<Epoch>) {
        let settled = self.master_since.is_some_and(|since| now.since(since) > SETTLED);
        if settled && self.leaving.is_none() {
            let (reason, to) = (Reason::HandedOver, Role::Backup);
            self.leaving = Some(Leaving { reason, to, heir: Some(heir), heir_epoch });
            self.news = true;
        }
    }

    /// Who would have it, if the operator wanted it elsewhere now.
    pub(crate) fn heir_by_hand(&self, facts: &Facts<'_>, to: Option<NodeId>) -> Result<NodeId, NoHandover> {
        let now = facts.now;
        let Some(since) = self.master_since.filter(|_| self.kernel.is_open(now)) else {
            return Err(NoHandover::NotHeld);
        };
        if self.leaving.is_some() || now.since(since) <= SETTLED {
            return Err(NoHandover::Unsettled);
        }
        let Some(to) = to else {
            return self.choose_heir(facts, Reason::HandedOver).ok_or(NoHandover::Nobody);
        };
        let peer = facts.heard().find(|peer| peer.node == to).ok_or(NoHandover::Unheard)?;
        if peer.is_deaf(now) {
            return Err(NoHandover::Deaf);
        }
        let able = peer.domain(self.id).is_some_and(|said| said.eligible);
        if able { Ok(to) } else { Err(NoHandover::NotEligible) }
    }

    /// The operator wants it there. This node is as good as before, and must not ask for it back.
    pub(crate) fn hand_over_by_hand(&mut self, facts: &Facts<'_>, to: NodeId) {
        if self.heir_by_hand(facts, Some(to)).is_ok() {
            self.hand_over(facts.now, to, None);
            self.stands_back = Some(facts.now + self.timing.lease_max + facts.settings.heartbeat.silence());
        }
    }

    /// Whether a majority of the voters answers, and lends: who is handed the lease without that could not count it (R3), and
    /// nobody would hold it. Where two holders are accepted it is held without silent voters too.
    pub(super) fn reaches_a_majority(&self, facts: &Facts<'_>) -> bool {
        self.lease.accepts_two() || facts.reach.is_none_or(Reach::is_reached)
    }

    /// A worse holder is known from the voters, and preemption is on.
    pub(super) fn knows_lower_holder(&self, now: Instant) -> bool {
        let preempt = self.routers.iter().all(|router| router.settings.preempt);
        let rival = self.lease.rival(now).filter(|(_, priority)| *priority > 0);
        preempt && self.stands_back.is_none() && rival.is_some_and(|(_, priority)| Priority(priority) < self.priority())
    }

    /// Whether the holder that this node does not hear is to be asked by way of the voters (R11): under the
    /// same conditions, and after the same delay, as one that is heard.
    pub(super) fn asks_by_voters(&self, now: Instant) -> bool {
        self.eligible
            && self.knows_lower_holder(now)
            && self.lower_since.is_some_and(|since| now.since(since) >= self.preempt_delay())
    }

    /// The Master says that this node is to have it next: the gate is tested at once, so that the test is over
    /// when the Transfer comes.
    pub(crate) fn forewarn(&mut self, now: Instant) {
        if self.eligible && self.master_since.is_none() && self.heir_until.is_none() {
            self.heir_until = Some(now + self.timing.lease_max);
            self.test = Some(Test::Wanted);
        }
    }

    /// Keeps the claim's test: it is asked for once, when the claim is decided, and forgotten with the claim.
    pub(super) fn keep_test(&mut self, now: Instant, claims: bool) {
        self.heir_until = self.heir_until.filter(|until| now < *until);
        if claims {
            self.test.get_or_insert(Test::Wanted);
        } else if self.heir_until.is_none() {
            self.test = None;
        }
    }

    /// Whether a test of the gate is to be asked for.
    pub(crate) fn wants_test(&self) -> bool {
        self.test == Some(Test::Wanted)
    }

    /// It has been, under this number.
    pub(crate) fn asked_for_test(&mut self, number: u64) {
        self.test = Some(Test::Asked(number));
    }

    /// The gate has passed a test that was begun after the claim was decided (R14).
    pub(super) fn is_tested(&self, facts: &Facts<'_>) -> bool {
        match (self.test, facts.gate) {
            (Some(Test::Asked(number)), Some(gate)) => gate.number >= number && gate.fault.is_empty(),
            (Some(Test::Wanted) | None, _) | (_, None) => false,
        }
    }
}
