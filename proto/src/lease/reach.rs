//! Which voters answer this node, whether or not it holds anything.
//!
//! A Backup asks nobody for a grant (V11), and so would not know whether its lines to the voters are whole: it could be handed
//! a lease that it can't count (R3), or fail to take over when its hour comes. So it asks each voter how it stands
//! (`Inspect`) once in a while, unless that has answered anything else of late. Before a majority is reached, and again
//! once it is lost, it asks each R.

use alloc::vec::Vec;
use core::time::Duration;

use crate::id::NodeId;
use crate::settings::{QuorumSettings, majority_of};
use crate::time::Instant;

/// Between two questions to a voter that answers; R where that is longer.
const WATCH: Duration = Duration::from_secs(1);
/// A voter that has answered nothing for so many of them is silent: two answers may be lost.
const PATIENCE: u32 = 3;

/// One voter, as it last answered.
#[derive(Debug, Clone, Copy)]
struct Heard {
    voter: NodeId,
    at: Option<Instant>,
    /// From when on it lends: it says so itself, or has granted something. `None`: neither.
    lends_from: Option<Instant>,
}

/// One voter, as this node knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoterStatus {
    /// Which.
    pub voter: NodeId,
    /// How long ago it last answered anything.
    pub answered: Option<Duration>,
    /// Whether that is of late.
    pub answers: bool,
}

/// The asker's side of it.
#[derive(Debug, Clone)]
pub struct Reach {
    quorum: QuorumSettings,
    /// Those that lend, by the configuration.
    members: Vec<Heard>,
    /// Those of the generation before, who are asked only until ours is open.
    others: Vec<NodeId>,
    renewal: Duration,
    watch: Duration,
    /// Of this life, or of its going on after a sleep: there was no time to hear anybody before.
    began_at: Instant,
    reached: bool,
    looked_at: Instant,
    ask_at: Instant,
    nonce: u64,
}

impl Reach {
    /// By the configuration; nobody has answered.
    pub fn new(quorum: &QuorumSettings, now: Instant) -> Self {
        let members: Vec<Heard> =
            quorum.members().into_iter().map(|voter| Heard { voter, at: None, lends_from: None }).collect();
        let mut others = quorum.everybody();
        others.retain(|voter| !members.iter().any(|member| member.voter == *voter));
        let renewal = quorum.timing.renewal_interval();
        Reach {
            quorum: quorum.clone(),
            members,
            others,
            renewal,
            watch: renewal.max(WATCH),
            began_at: now,
            reached: false,
            looked_at: now,
            ask_at: now,
            nonce: 0,
        }
    }

    /// Whether a majority has answered of late, and lends.
    pub fn is_reached(&self) -> bool {
        self.reached
    }

    /// How many voters have answered of late and lend, of how many that are needed: of two sets, of the one that lacks more.
    pub fn lending(&self, now: Instant) -> (usize, usize) {
        self.worst(|heard| self.lends(heard, now))
    }

    /// How many voters have answered of late, of how many that are needed: of two sets, of the one that lacks more.
    pub fn answering(&self, now: Instant) -> (usize, usize) {
        self.worst(|heard| self.is_heard(heard, now))
    }

    fn worst(&self, counts: impl Fn(&Heard) -> bool) -> (usize, usize) {
        let counts = |voter: &&NodeId| self.members.iter().any(|heard| heard.voter == **voter && counts(heard));
        let of = |set: &[NodeId]| (set.iter().filter(counts).count(), majority_of(set));
        let worst = self.quorum.sets().map(of).max_by_key(|(count, needed)| needed.saturating_sub(*count));
        worst.unwrap_or_default()
    }

    /// Every voter.
    pub fn statuses(&self, now: Instant) -> impl Iterator<Item = VoterStatus> + '_ {
        self.members.iter().map(move |heard| VoterStatus {
            voter: heard.voter,
            answered: heard.at.map(|at| now.since(at)),
            answers: self.is_heard(heard, now),
        })
    }

    /// This node has slept: what it did not hear meanwhile is no sign of a line that is cut. A majority has to answer anew.
    pub fn slept(&mut self, now: Instant) {
        self.began_at = now;
    }

    /// Which voters have answered nothing of late; nobody right after the start, or a sleep.
    pub fn silent(&self, now: Instant) -> impl Iterator<Item = NodeId> + '_ {
        let started = now >= self.began_at + self.patience();
        self.members.iter().filter(move |heard| started && !self.is_heard(heard, now)).map(|heard| heard.voter)
    }

    /// Whether there has been time for a majority to answer, and none has.
    pub fn is_lost(&self, now: Instant) -> bool {
        let (answering, needed) = self.answering(now);
        now >= self.began_at + self.patience() && answering < needed
    }

    fn patience(&self) -> Duration {
        self.watch * PATIENCE
    }

    fn is_heard(&self, heard: &Heard, now: Instant) -> bool {
        heard.at.is_some_and(|at| now < at + self.patience())
    }

    fn lends(&self, heard: &Heard, now: Instant) -> bool {
        self.is_heard(heard, now) && heard.lends_from.is_some_and(|from| now >= from)
    }

    /// Time has passed. Whether a majority is reached by now that was not before, or the other way round.
    pub fn look(&mut self, now: Instant) -> bool {
        self.looked_at = now;
        let lends = |voter| self.members.iter().any(|heard| heard.voter == voter && self.lends(heard, now));
        let reached = self.quorum.is_carried(lends);
        if self.reached && !reached {
            self.ask_at = self.ask_at.min(now);
        }
        core::mem::replace(&mut self.reached, reached) != reached
    }

    /// A voter answered; `lends_in` if it lends by that: it has granted something (zero), or says for how long it waits out a
    /// restart (V7). What [`Reach::look`] says after it.
    pub fn on_answer(&mut self, now: Instant, from: NodeId, lends_in: Option<Duration>) -> bool {
        let Some(heard) = self.members.iter_mut().find(|heard| heard.voter == from) else { return false };
        heard.at = Some(now);
        heard.lends_from = lends_in.map(|wait| now + wait).or(heard.lends_from);
        self.look(now)
    }

    /// Whom to send an `Inspect` now, each with a nonce of its own. `opens`: our generation is not known to be open, so
    /// that all who may know of it are asked, each R.
    pub fn due(&mut self, now: Instant, opens: bool) -> Vec<(NodeId, u64)> {
        if now < self.ask_at {
            return Vec::new();
        }
        let hurries = opens || !self.reached;
        self.ask_at = now + if hurries { self.renewal } else { self.watch };
        // Half of it, since an answer comes a little after its question.
        let of_late = |heard: &&Heard| heard.at.is_some_and(|at| now < at + self.watch / 2);
        let members = self.members.iter().filter(|heard| hurries || !of_late(heard)).map(|heard| heard.voter);
        let asked: Vec<NodeId> = members.chain(self.others.iter().copied().filter(|_| opens)).collect();
        let first = self.nonce;
        self.nonce += u64::try_from(asked.len()).unwrap_or(0);
        asked.into_iter().zip(first + 1..).collect()
    }

    /// When [`Reach::due`] or [`Reach::look`] has something.
    pub fn next_deadline(&self) -> Instant {
        let mut next = self.ask_at;
        for heard in &self.members {
            let silent = heard.at.map(|at| at + self.patience());
            let able = heard.lends_from.filter(|_| !self.reached);
            for at in [silent, able].into_iter().flatten().filter(|at| *at > self.looked_at) {
                next = next.min(at);
            }
        }
        next
    }
}

#[cfg(test)]
mod tests;
