//! One face for the lease of a domain, whoever lends it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::accepting::Accepting;
use super::grant::{Backing, Grant};
use super::holder::{Claimant, Holder, Lease, VoterFault, VoterWord};
use super::promise::Promises;
use super::unarbitrated::Unarbitrated;
use crate::guard::Guards;
use crate::handed::{HandedDomain, Held};
use crate::id::{DomainId, Epoch, NodeId};
use crate::settings::{Authority, HeartbeatSettings, Policy};
use crate::time::Instant;
use crate::wire::lease::Envelope;

/// The lease of one domain.
#[derive(Debug, Clone)]
pub enum DomainLease {
    /// No authority.
    Unarbitrated(Unarbitrated),
    /// A quorum of voters, `strict` or with promises.
    Quorum(Box<Holder>),
    /// A quorum of voters, and nobody while they are silent.
    Accepting(Box<Accepting>),
}

impl DomainLease {
    /// By the operator's choice.
    pub fn new(me: Claimant, authority: &Authority, heartbeat: HeartbeatSettings, guards: Guards, seed: u64) -> Self {
        match authority {
            Authority::None => DomainLease::Unarbitrated(Unarbitrated::new(me, heartbeat)),
            Authority::Quorum(quorum) => {
                let holder = Holder::new(me, quorum.clone(), heartbeat.period, guards, seed);
                DomainLease::Quorum(Box::new(holder))
            }
        }
    }

    /// Without an authority: peers count another silence from now on.
    pub fn set_heartbeat(&mut self, now: Instant, heartbeat: HeartbeatSettings) {
        match self {
            DomainLease::Unarbitrated(lease) => lease.set_heartbeat(now, heartbeat),
            DomainLease::Quorum(_) | DomainLease::Accepting(_) => {}
        }
    }

    /// Whether somebody has to be asked.
    pub fn is_arbitrated(&self) -> bool {
        matches!(self, DomainLease::Quorum(_) | DomainLease::Accepting(_))
    }

    /// The same under the operator's policy for a silent authority (D4). `others` are all other candidates.
    pub fn with_policy(
        self,
        policy: Policy,
        me: Claimant,
        heartbeat: HeartbeatSettings,
        others: impl IntoIterator<Item = NodeId>,
        now: Instant,
    ) -> Self {
        match (self, policy) {
            (DomainLease::Quorum(holder), Policy::Degrade) => {
                let promises = Promises::new(others, holder.timing(), now);
                DomainLease::Quorum(Box::new(holder.with_promises(promises)))
            }
            (DomainLease::Quorum(holder), Policy::AcceptDualMaster) => {
                DomainLease::Accepting(Box::new(Accepting::new(*holder, Unarbitrated::new(me, heartbeat))))
            }
            (lease, _) => lease,
        }
    }

    /// Whether it can go on under another policy. What is held by nobody's leave has no lease to be held under.
    pub fn may_become(&self, policy: Policy) -> bool {
        !self.accepts_two() || policy == Policy::AcceptDualMaster
    }

    /// Goes on under another policy that it may have; `others` are all other candidates.
    pub fn set_policy(
        &mut self,
        policy: Policy,
        heartbeat: HeartbeatSettings,
        others: impl IntoIterator<Item = NodeId>,
        now: Instant,
    ) {
        let DomainLease::Quorum(holder) = self else { return };
        match policy {
            Policy::Strict => holder.degrade_no_more(),
            Policy::Degrade => holder.degrade(others, now),
            Policy::AcceptDualMaster => {
                holder.degrade_no_more();
                let alone = Unarbitrated::new(holder.claimant(), heartbeat);
                *self = DomainLease::Accepting(Box::new(Accepting::new((**holder).clone(), alone)));
            }
        }
    }

    /// Whether the operator accepts two Masters while the authority is silent.
    pub fn accepts_two(&self) -> bool {
        matches!(self, DomainLease::Accepting(_))
    }

    /// Whether what is held is held by nobody's leave: there is no authority, or it is silent and that is accepted.
    pub fn is_unruled(&self, now: Instant) -> bool {
        let alone = || self.grant(now).is_some_and(|grant| grant.backing() == Backing::Nobody);
        !self.is_arbitrated() || alone()
    }

    /// The decision says: hold although the authority is silent.
    pub fn stand_alone(&mut self, now: Instant) {
        match self {
            DomainLease::Accepting(lease) => lease.stand_alone(now),
            DomainLease::Unarbitrated(_) | DomainLease::Quorum(_) => {}
        }
    }

    /// Whether a former life of this node may have promised, so that it may not claim yet.
    pub fn is_bound_by_former_life(&self, now: Instant) -> bool {
        self.promises().is_some_and(|promises| promises.is_bound_by_former_life(now))
    }

    /// The promises of the other candidates, under the policy `degrade`.
    pub fn promises(&self) -> Option<&Promises> {
        match self {
            DomainLease::Quorum(holder) => holder.promises(),
            DomainLease::Unarbitrated(_) | DomainLease::Accepting(_) => None,
        }
    }

    /// Another candidate that holds asks for a promise. Whether it was given.
    pub fn promise(&mut self, now: Instant, epoch: Epoch, lease: Duration) -> bool {
        match self {
            DomainLease::Quorum(holder) => holder.promise(now, epoch, lease),
            DomainLease::Unarbitrated(_) | DomainLease::Accepting(_) => false,
        }
    }

    /// The holder of an epoch has let go.
    pub fn on_let_go(&mut self, epoch: Epoch) {
        if let DomainLease::Quorum(holder) = self {
            holder.on_let_go(epoch);
        }
    }

    /// The decision says: claim.
    pub fn stand(&mut self, now: Instant, priority: u8) {
        match self {
            DomainLease::Unarbitrated(lease) => lease.stand(now),
            DomainLease::Quorum(holder) => holder.stand(now, priority),
            DomainLease::Accepting(lease) => lease.stand(now, priority),
        }
    }

    /// The decision says: don't.
    pub fn sit(&mut self, now: Instant) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.sit(now),
            DomainLease::Accepting(lease) => lease.sit(now),
        }
    }

    /// Whether the gate has passed a test since it was decided to claim (R14).
    pub fn set_tested(&mut self, now: Instant, tested: bool) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.set_tested(now, tested),
            DomainLease::Accepting(lease) => lease.holder.set_tested(now, tested),
        }
    }

    /// Whether the holder is asked to hand over, by way of the voters (R11).
    pub fn ask_for_handover(&mut self, now: Instant, asks: bool) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.ask_for_handover(now, asks),
            DomainLease::Accepting(lease) => lease.holder.ask_for_handover(now, asks),
        }
    }

    /// Who holds it and with what priority, as voters say.
    pub fn rival(&self, now: Instant) -> Option<(Epoch, u8)> {
        match self {
            DomainLease::Unarbitrated(_) => None,
            DomainLease::Quorum(holder) => holder.rival(now),
            DomainLease::Accepting(lease) => lease.holder.rival(now),
        }
    }

    /// The priority has changed.
    pub fn set_priority(&mut self, priority: u8) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.set_priority(priority),
            DomainLease::Accepting(lease) => lease.holder.set_priority(priority),
        }
    }

    /// The live grant.
    pub fn grant(&self, now: Instant) -> Option<Grant> {
        match self {
            DomainLease::Unarbitrated(lease) => lease.grant(now),
            DomainLease::Quorum(holder) => holder.grant(now),
            DomainLease::Accepting(lease) => lease.grant(now),
        }
    }

    /// The evidence for the decision.
    pub fn lease(&self, now: Instant) -> Lease {
        match self {
            DomainLease::Unarbitrated(lease) => lease.lease(now),
            DomainLease::Quorum(holder) => holder.lease(now),
            DomainLease::Accepting(lease) => lease.lease(now),
        }
    }

    /// The epoch that is held.
    pub fn epoch(&self) -> Option<Epoch> {
        match self {
            DomainLease::Unarbitrated(lease) => lease.epoch(),
            DomainLease::Quorum(holder) => holder.epoch(),
            DomainLease::Accepting(lease) => lease.epoch(),
        }
    }

    /// Counter and attempt of the next claim.
    pub fn next_attempt(&self) -> (u64, u32) {
        match self {
            DomainLease::Unarbitrated(lease) => lease.next_attempt(),
            DomainLease::Quorum(holder) => holder.next_attempt(),
            DomainLease::Accepting(lease) => lease.holder.next_attempt(),
        }
    }

    /// Another's epoch was seen.
    pub fn saw_epoch(&mut self, epoch: Epoch) {
        match self {
            DomainLease::Unarbitrated(lease) => lease.saw_epoch(epoch),
            DomainLease::Quorum(holder) => holder.saw_epoch(epoch),
            DomainLease::Accepting(lease) => lease.holder.saw_epoch(epoch),
        }
    }

    /// Another member would use `next` for its next attempt: it knows of the epoch below. A voter may know of that
    /// too, and would refuse an heir for as long as it holds whose epoch is not above it.
    pub fn saw_next(&mut self, next: u64) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.saw_counter(next.saturating_sub(1)),
            DomainLease::Accepting(lease) => lease.holder.saw_counter(next.saturating_sub(1)),
        }
    }

    /// The gate was shut after a lapse, at `shut_at`.
    pub fn clear_lapse(&mut self, shut_at: Instant) {
        match self {
            DomainLease::Unarbitrated(lease) => lease.clear_lapse(),
            DomainLease::Quorum(holder) => holder.clear_lapse(shut_at),
            DomainLease::Accepting(lease) => lease.clear_lapse(shut_at),
        }
    }

    /// Gives it back, or to an heir (R8: only behind a shut gate).
    pub fn give_back(&mut self, now: Instant, heir: Option<Epoch>) {
        match self {
            DomainLease::Unarbitrated(lease) => lease.give_back(),
            DomainLease::Quorum(holder) => holder.give_back(now, heir),
            DomainLease::Accepting(lease) => lease.give_back(now, heir),
        }
    }

    /// What is held can't be given back in good order: it is renewed no more, so that it ends at its deadline (R5).
    pub fn let_run_out(&mut self) {
        match self {
            DomainLease::Unarbitrated(lease) => lease.let_run_out(),
            DomainLease::Quorum(holder) => holder.let_run_out(),
            DomainLease::Accepting(lease) => lease.let_run_out(),
        }
    }

    /// Releases what a former life held (R16).
    pub fn release_former(&mut self, now: Instant, epoch: Epoch) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.release_former(now, epoch),
            DomainLease::Accepting(lease) => lease.holder.release_former(now, epoch),
        }
    }

    /// Nothing is claimed under `degrade` before `until`: a former life may have promised so much.
    pub fn wait_out(&mut self, until: Instant) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.wait_out(until),
            DomainLease::Accepting(lease) => lease.holder.wait_out(until),
        }
    }

    /// Whether a member's word about the lease is for nothing now.
    pub fn ignores(&self, now: Instant, member: NodeId) -> bool {
        match self {
            DomainLease::Unarbitrated(_) => true,
            DomainLease::Quorum(holder) => holder.ignores(now, member),
            DomainLease::Accepting(lease) => lease.holder.ignores(now, member),
        }
    }

    /// A voter says that a Transfer named this node.
    pub fn accept_offer(&mut self, now: Instant, from: NodeId, epoch: Epoch) -> bool {
        match self {
            DomainLease::Unarbitrated(_) => false,
            DomainLease::Quorum(holder) => holder.accept_offer(now, from, epoch),
            DomainLease::Accepting(lease) => lease.accept_offer(now, from, epoch),
        }
    }

    /// A voter answered.
    pub fn on_answer(&mut self, now: Instant, from: NodeId, answer: &Envelope) -> Option<VoterFault> {
        match self {
            DomainLease::Unarbitrated(_) => None,
            DomainLease::Quorum(holder) => holder.on_answer(now, from, answer),
            DomainLease::Accepting(lease) => lease.holder.on_answer(now, from, answer),
        }
    }

    /// When the request that an answer names was sent, if it is remembered.
    pub fn sent_at(&self, from: NodeId, answer: &Envelope) -> Option<Instant> {
        match self {
            DomainLease::Unarbitrated(_) => None,
            DomainLease::Quorum(holder) => holder.sent_at(from, answer),
            DomainLease::Accepting(lease) => lease.holder.sent_at(from, answer),
        }
    }

    /// What a voter has granted counts no more.
    pub fn distrust(&mut self, voter: NodeId) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.distrust(voter),
            DomainLease::Accepting(lease) => lease.holder.distrust(voter),
        }
    }

    /// Renews now.
    pub fn renew_now(&mut self, now: Instant) {
        match self {
            DomainLease::Unarbitrated(_) => {}
            DomainLease::Quorum(holder) => holder.renew_now(now),
            DomainLease::Accepting(lease) => lease.holder.renew_now(now),
        }
    }

    /// Whatever is due.
    pub fn tick(&mut self, now: Instant) {
        match self {
            DomainLease::Unarbitrated(lease) => lease.tick(now),
            DomainLease::Quorum(holder) => holder.tick(now),
            DomainLease::Accepting(lease) => lease.tick(now),
        }
    }

    /// When something is.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self {
            DomainLease::Unarbitrated(lease) => lease.next_deadline(),
            DomainLease::Quorum(holder) => holder.next_deadline(),
            DomainLease::Accepting(lease) => lease.next_deadline(),
        }
    }

    /// What is to be sent.
    pub fn take_outbox(&mut self) -> Vec<(NodeId, Envelope)> {
        match self {
            DomainLease::Unarbitrated(_) => Vec::new(),
            DomainLease::Quorum(holder) => holder.take_outbox(),
            DomainLease::Accepting(lease) => lease.holder.take_outbox(),
        }
    }

    /// Whether some voter has yet to hear that an epoch is over.
    pub fn is_saying_farewell(&self) -> bool {
        match self {
            DomainLease::Unarbitrated(_) => false,
            DomainLease::Quorum(holder) => holder.is_saying_farewell(),
            DomainLease::Accepting(lease) => lease.holder.is_saying_farewell(),
        }
    }

    /// What another process of this life must not forget; `None` where nobody but this process keeps count of it: without
    /// a quorum, and under a policy that can hold without one.
    pub(crate) fn hand_on(&self, id: DomainId) -> Option<HandedDomain> {
        match self {
            DomainLease::Quorum(holder) => holder.promises().is_none().then(|| holder.hand_on(id)),
            DomainLease::Unarbitrated(_) | DomainLease::Accepting(_) => None,
        }
    }

    /// The same of what is held by the voters' leave: [`Held`] but for what the kernel and VRRP have of it.
    pub(crate) fn hand_on_held(&self) -> Option<Held> {
        let DomainLease::Quorum(holder) = self else { return None };
        holder.hand_on_held()
    }

    /// Whether some voter is not believed (R17).
    pub(crate) fn doubts(&self, now: Instant) -> bool {
        match self {
            DomainLease::Quorum(holder) => holder.doubts(now),
            DomainLease::Unarbitrated(_) | DomainLease::Accepting(_) => false,
        }
    }

    /// Begins where a former process of this life ended.
    pub(crate) fn go_on(&mut self, now: Instant, from: &HandedDomain) {
        if let DomainLease::Quorum(holder) = self {
            holder.go_on(now, from);
        }
    }

    /// Which voters lend to `holder`, and how long ago they last heard it, as far as they have told us (D3).
    pub fn last_words(&self, now: Instant, holder: NodeId) -> Vec<(NodeId, Duration)> {
        match self {
            DomainLease::Unarbitrated(_) => Vec::new(),
            DomainLease::Quorum(lease) => lease.last_words(now, holder),
            DomainLease::Accepting(lease) => lease.holder.last_words(now, holder),
        }
    }

    /// D by the voters, ahead or past; `None` without an authority, or where no majority has granted.
    pub fn lent_until(&self) -> Option<Instant> {
        match self {
            DomainLease::Unarbitrated(_) => None,
            DomainLease::Quorum(holder) => holder.lent_until(),
            DomainLease::Accepting(lease) => lease.holder.lent_until(),
        }
    }

    /// Each voter, as far as it is known.
    pub fn words_of_voters(&self, now: Instant) -> Vec<VoterWord> {
        match self {
            DomainLease::Unarbitrated(_) => Vec::new(),
            DomainLease::Quorum(holder) => holder.words_of_voters(now),
            DomainLease::Accepting(lease) => lease.holder.words_of_voters(now),
        }
    }

    /// How many voters answer, of how many are needed; `None` without an authority.
    pub fn answering(&self, now: Instant) -> Option<(usize, usize)> {
        match self {
            DomainLease::Unarbitrated(_) => None,
            DomainLease::Quorum(holder) => Some(holder.answering(now)),
            DomainLease::Accepting(lease) => Some(lease.holder.answering(now)),
        }
    }
}
