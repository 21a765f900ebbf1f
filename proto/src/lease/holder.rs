//! The holder: asks a quorum of voters, renews, gives back (R1 to R3, R5, R6, R13, R17).
//!
//! What must stay true: [`Holder::grant`] is `Some` only before D, the q-th largest of
//! (time of sending of the newest answered request + L_h) over the voters of the present epoch (I5); in the middle of a
//! move, the lesser of two such (docs/decisions/0175).

mod answers;
mod going_on;
mod parting;
mod silence;
mod words;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::farewell::Farewell;
use super::grant::{Backing, Grant};
use super::promise::Promises;
use super::timing::LeaseTiming;
pub use super::track::Amnesia;
use super::track::Track;
use crate::guard::{Guard, Guards};
use crate::id::{ClusterId, ConfigDigest, DomainId, Epoch, Incarnation, NodeId};
use crate::jitter::Jitter;
use crate::settings::{QuorumSettings, majority_of};
use crate::time::{Instant, nanos};
use crate::wire::lease::{Envelope, Message, RefuseReason};
pub use words::VoterWord;

/// Who asks, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimant {
    /// The cluster.
    pub cluster: ClusterId,
    /// Digest of the voter set and bounds (V9).
    pub digest: ConfigDigest,
    /// The domain.
    pub domain: DomainId,
    /// This node.
    pub node: NodeId,
    /// Its incarnation (R6).
    pub incarnation: Incarnation,
}

/// What the lease says, as evidence for the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Not held; not asked for, or asked and not answered yet.
    Vacant,
    /// Held.
    Held(Grant),
    /// A majority said no, and has granted nothing since: another holds it, or a voter waits out its restart.
    Refused,
    /// No majority answers.
    Unanswered,
    /// No majority answers, VRRP's own timers have run out, and the operator accepts two Masters (D4).
    Unruled,
    /// This node has promised not to claim, or its former life may have (D4, `degrade`).
    Bound,
    /// It ran out while held, and the gate has not been shut for it yet (R5).
    Lapsed,
}

/// A voter whose answers can't be true (R17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoterFault {
    /// Which voter; it is ignored for L_max.
    pub voter: NodeId,
    /// What gave it away.
    pub why: Amnesia,
}

/// When an heir asks a voter again that has not heard of the Transfer yet.
const EARLY: Duration = Duration::from_millis(5);

#[derive(Debug, Clone)]
enum Phase {
    Idle,
    Asking { since: Instant, first_nonce: u64, resend_at: Instant },
    Acquiring { epoch: Epoch, since: Instant, resend_at: Instant },
    Held { epoch: Epoch, renew_at: Instant },
    Lapsed,
}

/// Epochs of a generation have counters above this, so that they rise from one to the next (I4): the new voters of a move may never have
/// heard of a domain that nobody held while both sets lent. No generation sees four thousand million epochs.
fn counter_floor(generation: u32) -> u64 {
    u64::from(generation.saturating_sub(1)) << 32
}

/// The machine, one per domain.
#[derive(Debug, Clone)]
pub struct Holder {
    me: Claimant,
    quorum: QuorumSettings,
    /// L_h, G and R of these settings: asked for at each step, and dear to compute.
    length: Duration,
    horizon: Duration,
    renewal: Duration,
    guards: Guards,
    jitter: Jitter,
    /// VRRP's skew of this node's priority, as a part of h (R13).
    back_off: Duration,
    priority: u8,
    standing: bool,
    /// A majority has refused this claim. That stays the evidence while it is asked again, whatever single
    /// voters say, or the role would flap with each round of answers; nothing is decided by it.
    refused: bool,
    nonce: u64,
    attempt: u32,
    /// The epoch of the last attempt.
    former: Option<Epoch>,
    max_counter: u64,
    not_before: Instant,
    /// When the last frame of a lapsed epoch is gone.
    drained_at: Instant,
    voters: BTreeMap<NodeId, Track>,
    /// D by the voters, and the newest sending that another node's voter has answered: asked for many times between
    /// two answers ([`Holder::recount`]).
    lent_until: Option<Instant>,
    newest: Option<Instant>,
    /// D and the newest such sending of a former process of this life, for the epoch that is held: no answer to a request
    /// of this one moves either back.
    inherited: Option<(Instant, Option<Instant>)>,
    phase: Phase,
    /// The gate has passed a test since it was decided to claim (R14).
    tested: bool,
    /// The epoch of a Transfer that named this node.
    offered: Option<Epoch>,
    /// The same, while the gate is being tested.
    offer_waits: Option<Epoch>,
    /// Ask the holder to hand over instead of only asking whether it is gone (R11).
    asks_for_handover: bool,
    /// When that last made it ask out of turn.
    asked_early: Option<Instant>,
    /// Who holds it and with what priority, as a voter has said, and when it did.
    rival: Option<(Epoch, u8, Instant)>,
    farewells: Vec<Farewell>,
    outbox: Vec<(NodeId, Envelope)>,
    /// Under the policy `degrade`, or where this life has been under it.
    promises: Option<Promises>,
    /// Whether promises are asked for and given.
    degrades: bool,
    /// Until when a former life may have promised, where its voter's record says so.
    former_until: Option<Instant>,
}

impl Holder {
    /// One that holds nothing and asks nothing. `period` is h, the unit of the back-off (R13).
    pub fn new(me: Claimant, quorum: QuorumSettings, period: Duration, guards: Guards, seed: u64) -> Self {
        let voters = quorum.members().into_iter().map(|voter| (voter, Track::default())).collect();
        let generation = quorum.generation;
        Holder {
            me,
            length: quorum.timing.holder_lease(),
            horizon: quorum.timing.horizon(),
            renewal: quorum.timing.renewal_interval(),
            quorum,
            guards,
            jitter: Jitter::new(seed ^ me.domain.0),
            back_off: period,
            priority: 0,
            standing: false,
            refused: false,
            // A late answer to a former life must not be taken for one to this: its clock was read before we asked.
            nonce: me.incarnation.0 >> 1,
            attempt: 0,
            former: None,
            max_counter: counter_floor(generation),
            not_before: Instant::BOOT,
            drained_at: Instant::BOOT,
            voters,
            lent_until: None,
            newest: None,
            inherited: None,
            phase: Phase::Idle,
            tested: false,
            offered: None,
            offer_waits: None,
            asks_for_handover: false,
            asked_early: None,
            rival: None,
            farewells: Vec::new(),
            outbox: Vec::new(),
            promises: None,
            degrades: false,
            former_until: None,
        }
    }

    /// Who claims.
    pub fn claimant(&self) -> Claimant {
        self.me
    }

    /// The lease's lengths.
    pub fn timing(&self) -> LeaseTiming {
        self.quorum.timing
    }

    /// The same under the policy `degrade`.
    pub fn with_promises(mut self, promises: Promises) -> Self {
        (self.promises, self.degrades) = (Some(promises), true);
        self
    }

    /// The decision says: claim. Asks until it has the lease or is told to [`Holder::sit`].
    pub fn stand(&mut self, now: Instant, priority: u8) {
        self.priority = priority;
        // A former claim's refusal says nothing of this one.
        self.refused &= self.standing;
        self.standing = true;
        self.tick(now);
    }

    /// Whether the gate has passed a test since it was decided to claim: only then is a new epoch asked for
    /// (R14). What can be asked before goes on meanwhile.
    pub fn set_tested(&mut self, now: Instant, tested: bool) {
        self.tested = tested;
        if !tested {
            return;
        }
        if let Some(epoch) = self.offer_waits.take() {
            self.take_offer(now, epoch);
        }
        self.attempt_if_free(now);
    }

    /// Whether the holder, which this node does not hear, is asked to hand over (R11). At once when that begins, but once
    /// in a renewal's interval: evidence that flickers would ask the voters with each flicker.
    pub fn ask_for_handover(&mut self, now: Instant, asks: bool) {
        let begins = asks && !self.asks_for_handover;
        self.asks_for_handover = asks;
        let may = self.asked_early.is_none_or(|at| now.since(at) >= self.renewal);
        if let Phase::Asking { resend_at, .. } = &mut self.phase
            && begins
            && may
        {
            *resend_at = now;
            self.asked_early = Some(now);
            self.tick(now);
        }
    }

    /// Another's epoch and priority, where a voter has lately refused on its account and a majority has nothing
    /// else against us: a voter that waits out its restart would not take what the other let go (V7).
    pub fn rival(&self, now: Instant) -> Option<(Epoch, u8)> {
        let (epoch, priority, at) = self.rival?;
        let held = |track: &Track| track.free || matches!(track.refused, Some((RefuseReason::Held, _)));
        let ready = self.quorum.is_carried(|voter| self.voters.get(&voter).is_some_and(held));
        (ready && now.since(at) <= self.patience()).then_some((epoch, priority))
    }

    /// The decision says: don't claim. An attempt under way is given up; a lease that is held stays.
    pub fn sit(&mut self, now: Instant) {
        self.standing = false;
        (self.asks_for_handover, self.offer_waits) = (false, None);
        match self.phase {
            Phase::Asking { .. } => self.phase = Phase::Idle,
            Phase::Acquiring { .. } => self.abandon(now),
            Phase::Idle | Phase::Held { .. } | Phase::Lapsed => {}
        }
    }

    /// The lease, if it is held and live. The only maker of a [`Grant`] of a quorum.
    pub fn grant(&self, now: Instant) -> Option<Grant> {
        let Phase::Held { epoch, .. } = self.phase else { return None };
        let lent = self.deadline().filter(|lent| now < *lent);
        let until = self.until(epoch).filter(|until| now < *until)?;
        let grant = Grant::new(epoch, until);
        let newest = self.newest.max(self.promises.as_ref().and_then(|promises| promises.newest(epoch)));
        let grant = newest.map_or(grant, |newest| grant.capped(newest + self.horizon));
        Some(if lent.is_some() { grant } else { grant.backed_by(Backing::Promises) })
    }

    /// The evidence for the decision.
    pub fn lease(&self, now: Instant) -> Lease {
        if let Some(grant) = self.grant(now) {
            return Lease::Held(grant);
        }
        match self.phase {
            Phase::Held { .. } | Phase::Lapsed => Lease::Lapsed,
            Phase::Idle | Phase::Asking { .. } | Phase::Acquiring { .. } if self.is_bound(now) => Lease::Bound,
            Phase::Idle if !self.standing => Lease::Vacant,
            Phase::Idle | Phase::Asking { .. } | Phase::Acquiring { .. } => self.asked(now),
        }
    }

    fn asked(&self, now: Instant) -> Lease {
        let patience = self.patience();
        let asked_long = match self.phase {
            Phase::Asking { since, .. } | Phase::Acquiring { since, .. } => now.since(since) > patience,
            Phase::Idle | Phase::Held { .. } | Phase::Lapsed => true,
        };
        if self.is_refused() {
            Lease::Refused
        } else if asked_long && !self.carries(|track| track.answered_within(now, patience)) {
            Lease::Unanswered
        } else if self.refused {
            Lease::Refused
        } else {
            Lease::Vacant
        }
    }

    /// How long answers may be out before a voter counts as not answering.
    fn patience(&self) -> Duration {
        (self.renewal() * 3).max(self.quorum.timing.round_trip * 2)
    }

    fn renewal(&self) -> Duration {
        self.renewal
    }

    /// The next point of the grid of R after `now`. All domains of a node have the same grid, so that their
    /// renewals travel together; nodes differ by where their clocks stand.
    fn next_renewal(&self, now: Instant) -> Instant {
        let renewal = self.renewal().max(Duration::from_nanos(1));
        let past = now.as_nanos() % nanos(renewal);
        now + (renewal - Duration::from_nanos(past))
    }

    /// How many voters have answered lately, of how many that are needed: of two sets, of the one that lacks more.
    pub fn answering(&self, now: Instant) -> (usize, usize) {
        let patience = self.patience();
        let answers =
            |voter: &&NodeId| self.voters.get(voter).is_some_and(|track| track.answered_within(now, patience));
        let of = |set: &[NodeId]| (set.iter().filter(answers).count(), self.needed(set));
        let worst = self.quorum.sets().map(of).max_by_key(|(answering, needed)| needed.saturating_sub(*answering));
        worst.unwrap_or_default()
    }

    /// q of a set.
    fn needed(&self, set: &[NodeId]) -> usize {
        if self.guards.has(Guard::Majority) { majority_of(set) } else { (set.len() / 2).max(1) }
    }

    /// The sets that must lend. With the guard taken out, half of a move is enough.
    fn sets(&self) -> impl Iterator<Item = &[NodeId]> + Clone {
        let count = if self.guards.has(Guard::BothLend) { usize::MAX } else { 1 };
        self.quorum.sets().take(count)
    }

    /// Whether a majority of each set is so.
    fn carries(&self, good: impl Fn(&Track) -> bool) -> bool {
        let is_good = |voter: &&NodeId| self.voters.get(voter).is_some_and(&good);
        self.sets().all(|set| set.iter().filter(is_good).count() >= self.needed(set))
    }

    /// Whether so many have refused that no majority of some set is left.
    fn is_refused(&self) -> bool {
        let refuses = |voter: &&NodeId| self.voters.get(voter).is_some_and(|track| track.refused.is_some());
        self.sets().any(|set| set.iter().filter(refuses).count() > set.len() - self.needed(set))
    }

    /// Whether some voter has yet to hear that an epoch is over.
    pub fn is_saying_farewell(&self) -> bool {
        !self.farewells.is_empty()
    }

    /// The epoch that is held.
    pub fn epoch(&self) -> Option<Epoch> {
        match self.phase {
            Phase::Held { epoch, .. } => Some(epoch),
            Phase::Idle | Phase::Asking { .. } | Phase::Acquiring { .. } | Phase::Lapsed => None,
        }
    }

    /// Counter and attempt that the next attempt would use, for the beat.
    pub fn next_attempt(&self) -> (u64, u32) {
        (self.max_counter.saturating_add(1), self.attempt.saturating_add(1))
    }

    fn next_epoch(&self) -> Epoch {
        let (counter, attempt) = self.next_attempt();
        Epoch { counter, incarnation: self.me.incarnation, attempt, node: self.me.node }
    }

    /// The priority has changed while the lease is held: renewals tell the voters.
    pub fn set_priority(&mut self, priority: u8) {
        self.priority = priority;
    }

    /// Another epoch was seen somewhere: ours will be above it.
    pub fn saw_epoch(&mut self, epoch: Epoch) {
        self.saw_counter(epoch.counter);
    }

    /// Another member knows of an epoch with that counter.
    pub fn saw_counter(&mut self, counter: u64) {
        self.max_counter = self.max_counter.max(counter);
    }

    /// D: the q-th largest of t_send + L_h.
    fn deadline(&self) -> Option<Instant> {
        self.lent_until
    }

    /// What the voters' answers amount to; whatever changes one of them calls this.
    fn recount(&mut self) {
        let qth = |set: &[NodeId]| {
            let sent = set.iter().filter_map(|voter| self.voters.get(voter)?.good_from);
            // The voters are few: without a list to sort.
            let needed = self.needed(set);
            sent.clone().filter(|at| sent.clone().filter(|other| other >= at).count() >= needed).max()
        };
        // Of two sets, both must lend: the earlier of the two ends it. `None` is the earliest.
        let last = self.sets().map(qth).min().flatten();
        let (until, newest) = self.inherited.unzip();
        self.lent_until = last.map(|last| last + self.length).max(until);
        // The own voter stands still with us, and says nothing of a hidden freeze.
        let others = self.voters.iter().filter(|(voter, _)| **voter != self.me.node);
        self.newest = others.filter_map(|(_, track)| track.good_from).max().max(newest.flatten());
    }

    /// The gate was shut after a lapse, at `shut_at`: asking may begin anew once the last frame is gone.
    ///
    /// Not sooner, since a voter lets a later attempt of the same life succeed to the lapsed loan; were that
    /// attempt given up, its release would let another in before the end of the lapsed one.
    pub fn clear_lapse(&mut self, shut_at: Instant) {
        if matches!(self.phase, Phase::Lapsed) {
            self.phase = Phase::Idle;
            self.drained_at = shut_at + self.quorum.timing.drain();
            self.not_before = self.drained_at;
        }
    }

    /// Gives up an attempt that can't win, frees what it may have been granted, and backs off (R13).
    fn abandon(&mut self, now: Instant) {
        let Phase::Acquiring { epoch, .. } = self.phase else { return };
        self.phase = Phase::Idle;
        let skew = self.back_off.saturating_mul(256 - u32::from(self.priority)) / 256;
        self.not_before = now + self.back_off / 4 + skew + self.jitter.up_to(self.back_off);
        self.bid_farewell(now, epoch, None);
    }

    /// When [`Holder::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Idle => self.standing.then(|| {
                let bound = self.promises.as_ref().map(Promises::bound_until);
                bound.map_or(self.not_before, |bound| bound.max(self.not_before))
            }),
            Phase::Asking { resend_at, .. } | Phase::Acquiring { resend_at, .. } => Some(resend_at),
            Phase::Held { epoch, renew_at } => Some(self.until(epoch).map_or(renew_at, |until| until.min(renew_at))),
            Phase::Lapsed => None,
        };
        phase.into_iter().chain(self.farewells.iter().map(|farewell| farewell.resend_at)).min()
    }

    /// Renews, asks again, gives up, lapses: whatever is due.
    pub fn tick(&mut self, now: Instant) {
        match self.phase {
            Phase::Idle
                if self.standing && now >= self.not_before && self.offer_waits.is_none() && !self.is_bound(now) =>
            {
                for track in self.voters.values_mut() {
                    (track.free, track.refused) = (false, None);
                }
                self.phase = Phase::Asking { since: now, first_nonce: self.nonce + 1, resend_at: now };
                self.query_all(now);
            }
            Phase::Asking { resend_at, .. } if now >= resend_at => self.query_all(now),
            Phase::Acquiring { since, .. } if now.since(since) > self.length / 2 => {
                self.abandon(now);
            }
            Phase::Acquiring { resend_at, .. } if now >= resend_at => {
                if let Phase::Acquiring { resend_at, .. } = &mut self.phase {
                    *resend_at = now + self.renewal / 2;
                }
                self.acquire_all(now);
            }
            Phase::Held { .. } if self.grant(now).is_none() => self.phase = Phase::Lapsed,
            Phase::Held { renew_at, .. } if now >= renew_at => {
                let next = self.next_renewal(now);
                if let Phase::Held { renew_at, .. } = &mut self.phase {
                    *renew_at = next;
                }
                self.acquire_all(now);
                self.ask_promises(now);
            }
            Phase::Idle | Phase::Asking { .. } | Phase::Acquiring { .. } | Phase::Held { .. } | Phase::Lapsed => {}
        }
        self.say_farewells(now);
    }

    /// What is to be sent, own voter included.
    pub fn take_outbox(&mut self) -> Vec<(NodeId, Envelope)> {
        core::mem::take(&mut self.outbox)
    }

    fn query_all(&mut self, now: Instant) {
        let resend = now + self.renewal() * 2;
        if let Phase::Asking { resend_at, .. } = &mut self.phase {
            *resend_at = resend;
        }
        let voters: Vec<NodeId> = self.voters.keys().copied().collect();
        for voter in voters {
            self.nonce += 1;
            if let Some(track) = self.voters.get_mut(&voter) {
                track.remember(self.nonce, now);
            }
            let priority = self.priority;
            let message = if self.asks_for_handover {
                Message::HandoverRequest { priority, next: self.next_epoch() }
            } else {
                Message::Query { priority }
            };
            self.send(voter, self.nonce, message);
        }
    }

    fn acquire_all(&mut self, now: Instant) {
        let voters: Vec<NodeId> = self.voters.keys().copied().collect();
        for voter in voters {
            self.send_acquire(now, voter);
        }
    }

    fn send_acquire(&mut self, now: Instant, voter: NodeId) {
        let epoch = match self.phase {
            Phase::Acquiring { epoch, .. } | Phase::Held { epoch, .. } => epoch,
            Phase::Idle | Phase::Asking { .. } | Phase::Lapsed => return,
        };
        self.nonce += 1;
        let Some(track) = self.voters.get_mut(&voter) else { return };
        // R1: the time of sending is read before it is sent.
        track.remember(self.nonce, now);
        let prev_ack = track.prev_ack;
        let (lease, priority) = (self.quorum.timing.lease, self.priority);
        self.send(voter, self.nonce, Message::Acquire { epoch, lease, prev_ack, priority });
    }

    fn send(&mut self, to: NodeId, nonce: u64, message: Message) {
        let (cluster, digest, domain) = (self.me.cluster, self.me.digest, self.me.domain);
        self.outbox.push((to, Envelope { cluster, digest, domain, nonce, message }));
    }
}

#[cfg(test)]
mod tests;
