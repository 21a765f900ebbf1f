//! Promises: what holds a domain on while no majority of its voters answers (D4, policy `degrade`).
//!
//! A holder that is cut off from its voters asks every other candidate to promise that it will not claim. It
//! may hold on, under the same epoch, as long as *all* of them have promised lately.
//!
//! # Why two gates are still never open at once (I1)
//! Let A hold under epoch e, and look at one real instant t at which its gate is open.
//! - Before D of its voters a majority of them bars everyone else ([`super`]).
//! - After it, the voters' loans may have run out, and a majority may lend to somebody new. But t lies before the
//!   D of the promises, so every other candidate has promised. Take any one, B. At the instant t_r at which it
//!   took the question from its queue
//!   1. it held nothing: it answers only with its gate read back as shut and no grant in its hand;
//!   2. it had no attempt on its way that could still succeed: it gives one up first, and an epoch that was given
//!      up never counts a grant again, however late (R5);
//!   3. from then on it neither queries, acquires, takes what a Transfer offers it, nor counts a grant, until
//!      t_r + L_a by its clock.
//!
//!   A counts from before it *sent* the question (R1), and only L_h of it, which is shorter than L_a by the worst
//!   disagreement of the two clocks and by the life of the last frame ([`super::timing`]): the very formulas of
//!   the lease, with B in the voter's place. So B's promise outlasts t, and B's gate is shut.
//! - All of B's lives are bound: whoever starts under this policy claims nothing for L_max, and L_a ≤ L_max. So
//!   what a former life promised has run out before the new one asks for anything. Where the former life had a
//!   longer L_max, its voter's record says so and that is waited out; a node without a vote has no record, so
//!   there an operator shortens L_max only with all agents stopped (docs/configuration.md).
//! - A counts no promise of a member whose clock it has found off, nor one given before that was found.
//! - A's own lives share one gate, which a start shuts first of all (R12).
//!
//! One candidate that can't be reached is enough for none: it might be the one that the voters lend to. And
//! nobody promises while it holds (I13), so two holders never hold each other up.
//!
//! The voters outrank the promises: a holder asks for them only while its voters are silent. Once so many of them
//! have *refused* the epoch that it can't be renewed, no promise is asked for any more, and D ends it.
//!
//! What must stay true besides: every agent that any voter may lend to is one of `candidates`.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::timing::LeaseTiming;
use crate::id::{Epoch, NodeId};
use crate::time::Instant;

/// Questions whose time of sending is remembered for each candidate; an answer to an older one is of no use.
const REMEMBERED: usize = 8;
/// Holders that are remembered by name, so that one that lets go may free us; of more only the end is.
const NAMED: usize = 4;

/// Both halves, for one domain: what this node has promised, and what it has been promised.
#[derive(Debug, Clone)]
pub struct Promises {
    timing: LeaseTiming,
    /// Until when this node is bound whatever it remembers: a former life may have promised.
    bound_until: Instant,
    /// What this life has promised: to which epoch, until when.
    given: BTreeMap<Epoch, Instant>,
    candidates: BTreeMap<NodeId, Candidate>,
    /// The epoch that the promises below are for.
    epoch: Option<Epoch>,
}

/// Another candidate, asked by us.
#[derive(Debug, Clone, Default)]
struct Candidate {
    sent: VecDeque<(u64, Instant)>,
    /// When the newest question that it answered was sent.
    good_from: Option<Instant>,
}

impl Promises {
    /// Of a node that starts now; `candidates` are all *other* nodes that may hold.
    pub fn new(candidates: impl IntoIterator<Item = NodeId>, timing: LeaseTiming, now: Instant) -> Self {
        Promises {
            timing,
            bound_until: now + timing.lease_max,
            given: BTreeMap::new(),
            candidates: candidates.into_iter().map(|node| (node, Candidate::default())).collect(),
            epoch: None,
        }
    }

    /// A holder asks: promises, from now for `lease`, if that is a length that a restart waits out. The caller has
    /// made sure that this node holds nothing and has nothing on its way (1 and 2 above). Whether it promised.
    pub fn give(&mut self, now: Instant, to: Epoch, lease: Duration) -> bool {
        if lease > self.timing.lease_max || !self.candidates.contains_key(&to.node) {
            return false;
        }
        self.given.retain(|_, until| now < *until);
        if self.given.len() >= NAMED && !self.given.contains_key(&to) {
            let latest = core::mem::take(&mut self.given).into_values().max();
            self.bound_until = self.bound_until.max(latest.unwrap_or(now));
        }
        let until = self.given.entry(to).or_insert(now);
        // A shorter one asked for later, or a late duplicate, takes nothing back.
        *until = (*until).max(now + lease);
        true
    }

    /// A former life may have promised under a longer L_max: that is waited out too.
    pub fn wait_out(&mut self, until: Instant) {
        self.bound_until = self.bound_until.max(until);
    }

    /// What a candidate has promised counts no more: its clock is off.
    pub fn distrust(&mut self, candidate: NodeId) {
        if let Some(candidate) = self.candidates.get_mut(&candidate) {
            *candidate = Candidate::default();
        }
    }

    /// The holder of `epoch` says that its gate is shut for good: what was promised to it is over.
    pub fn free(&mut self, epoch: Epoch) {
        self.given.remove(&epoch);
    }

    /// Until when this node may not claim; it may lie in the past.
    pub fn bound_until(&self) -> Instant {
        self.given.values().copied().fold(self.bound_until, Instant::max)
    }

    /// Whether this node may not claim now (I13).
    pub fn is_bound(&self, now: Instant) -> bool {
        now < self.bound_until()
    }

    /// Whether it may not claim because a former life may have promised.
    pub fn is_bound_by_former_life(&self, now: Instant) -> bool {
        now < self.bound_until
    }

    /// Asks all candidates, as the holder of `epoch`: to whom, under which nonce. Counted from `now` (R1).
    pub fn ask(&mut self, now: Instant, epoch: Epoch, mut nonce: impl FnMut() -> u64) -> Vec<(NodeId, u64)> {
        if self.epoch != Some(epoch) {
            // What was promised to a former epoch says nothing of this one.
            self.epoch = Some(epoch);
            self.candidates.values_mut().for_each(|candidate| *candidate = Candidate::default());
        }
        let ask = |(node, candidate): (&NodeId, &mut Candidate)| {
            let nonce = nonce();
            if candidate.sent.len() == REMEMBERED {
                candidate.sent.pop_front();
            }
            candidate.sent.push_back((nonce, now));
            (*node, nonce)
        };
        self.candidates.iter_mut().map(ask).collect()
    }

    /// A candidate has promised not to disturb `epoch` for `lease`, in answer to `nonce`.
    pub fn on_promised(&mut self, from: NodeId, nonce: u64, epoch: Epoch, lease: Duration) {
        if self.epoch != Some(epoch) || lease < self.timing.lease {
            return;
        }
        let Some(candidate) = self.candidates.get_mut(&from) else { return };
        let sent = candidate.sent.iter().find(|(sent, _)| *sent == nonce).map(|(_, at)| *at);
        candidate.good_from = candidate.good_from.max(sent);
    }

    /// D of the promises to `epoch`: the *oldest* of them decides, and one that is missing is one too many.
    pub fn deadline(&self, epoch: Epoch) -> Option<Instant> {
        if self.epoch != Some(epoch) {
            return None;
        }
        let mut oldest: Option<Instant> = None;
        for candidate in self.candidates.values() {
            let from = candidate.good_from?;
            oldest = Some(oldest.map_or(from, |oldest| oldest.min(from)));
        }
        Some(oldest? + self.timing.holder_lease())
    }

    /// When the newest question was sent that any candidate has answered.
    pub fn newest(&self, epoch: Epoch) -> Option<Instant> {
        let answered = self.candidates.values().filter_map(|candidate| candidate.good_from).max();
        answered.filter(|_| self.epoch == Some(epoch))
    }

    /// Whether promises to `epoch` have been asked for.
    pub fn is_asked(&self, epoch: Epoch) -> bool {
        self.epoch == Some(epoch)
    }

    /// Who has not promised so that it still counts.
    pub fn missing(&self, now: Instant, epoch: Epoch) -> impl Iterator<Item = NodeId> + '_ {
        let current = self.epoch == Some(epoch);
        let counts = move |candidate: &Candidate| {
            current && candidate.good_from.is_some_and(|from| now < from + self.timing.holder_lease())
        };
        self.candidates.iter().filter(move |(_, candidate)| !counts(candidate)).map(|(node, _)| *node)
    }

    /// The epoch is over: who promised, and may be told so.
    pub fn end(&mut self, epoch: Epoch) -> Vec<NodeId> {
        if self.epoch != Some(epoch) {
            return Vec::new();
        }
        self.epoch = None;
        let promised = self.candidates.iter().filter(|(_, candidate)| candidate.good_from.is_some());
        promised.map(|(node, _)| *node).collect()
    }
}

#[cfg(test)]
mod tests;
