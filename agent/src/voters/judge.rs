//! From what the voters report to the next step of a change, in words. Pure: what it says depends on its arguments alone.
//!
//! It is advice to the operator. What keeps the cluster safe is that no voter lends and no holder asks under a
//! generation that is not proven (`keepone_proto::lease::generation`), whatever the operator does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keepone_proto::id::{ClusterId, ConfigDigest, NodeId};
use keepone_proto::lease::generation::Opening;
use keepone_proto::lease::timing::Millis;
use keepone_proto::lease::{config_digest, set_digest};
use keepone_proto::settings::{Move, Names, QuorumSettings};
use keepone_proto::wire::lease::Standing;

/// What a voter says of itself, or a node without a vote: of that one only the generation means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// How it stands.
    pub standing: Standing,
    /// Its configuration digest.
    pub digest: ConfigDigest,
    /// It is this node's own, read from its files: what it lends, and for how long it keeps quiet, is not known.
    pub from_disk: bool,
}

/// What each of them said, or why it said nothing.
pub type Heard = BTreeMap<NodeId, Result<Answer, String>>;

/// Everybody who has a vote, and who had one in the former set as long as that is named; ascending.
pub fn everybody(quorum: &QuorumSettings) -> BTreeSet<NodeId> {
    quorum.everybody().into_iter().collect()
}

/// What is judged: the configuration at hand, and what was heard.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    /// Of the cluster.
    pub cluster: ClusterId,
    /// As the configuration at hand has it.
    pub quorum: &'a QuorumSettings,
    /// Of the members.
    pub names: &'a Names,
    /// Of everybody who was asked.
    pub heard: &'a Heard,
    /// The nodes without a vote that are to be there too.
    pub others: &'a [NodeId],
}

impl Judge<'_> {
    /// What keeps the cluster from the next step of a move, the first thing first.
    pub fn obstacles(&self) -> Vec<String> {
        let contradictions = self.contradictions();
        if !contradictions.is_empty() {
            return contradictions;
        }
        let mut steps = self.silent();
        steps.extend(self.behind());
        if steps.is_empty() {
            steps.extend(self.unproven());
        }
        steps
    }

    /// What is left to do until the change is complete, the first thing first; empty: all agree, and nothing is left.
    pub fn next_steps(&self) -> Vec<String> {
        let mut steps = self.obstacles();
        if steps.is_empty() {
            steps.extend(self.unfinished());
        }
        steps
    }

    fn answers(&self) -> impl Iterator<Item = (NodeId, &Answer)> {
        self.heard.iter().filter_map(|(id, heard)| Some((*id, heard.as_ref().ok()?)))
    }

    /// Of those with a vote, in whatever generation.
    fn of_voters(&self) -> impl Iterator<Item = (NodeId, &Answer)> {
        self.answers().filter(|(id, _)| !self.others.contains(id))
    }

    /// Those with something to do in this generation that answered.
    fn voters(&self) -> impl Iterator<Item = (NodeId, &Answer)> {
        self.answers().filter(|(id, _)| self.quorum.votes(*id))
    }

    fn list(&self, ids: &[NodeId]) -> String {
        ids.iter().map(|id| self.names.node(*id).into_owned()).collect::<Vec<_>>().join(", then ")
    }

    /// The proof that a holder of this configuration would go by. No time passes in it.
    fn opening(&self) -> Opening {
        let mut opening = Opening::new(self.cluster, self.quorum);
        for (id, answer) in self.of_voters() {
            opening.on_report(id, answer.standing);
        }
        opening
    }

    /// What no restart mends.
    fn contradictions(&self) -> Vec<String> {
        let (generation, set) = (self.quorum.generation, set_digest(self.cluster, self.quorum));
        let digest = config_digest(self.cluster, self.quorum);
        let of = |(id, answer): (NodeId, &Answer)| {
            let (name, theirs) = (self.names.node(id), answer.standing);
            let other = self.others.contains(&id);
            let (votes, what) = if other { ("runs", "voters, another etcd") } else { ("votes", "voters") };
            if theirs.generation > generation {
                Some(format!(
                    "{name} {votes} in generation {}, newer than this file's {generation}: take voters, generation and \
                     former_voters from its configuration",
                    theirs.generation
                ))
            } else if theirs.opened.generation == generation && theirs.opened.set != set {
                Some(format!(
                    "{name} has on record other voters under generation {generation}: correct voters, or give this \
                     set the next generation"
                ))
            } else if theirs.generation == generation && answer.digest != digest {
                Some(format!(
                    "{name} {votes} in generation {generation} with other {what} or lengths of the lease than this file \
                     has: make [arbiter] the same everywhere"
                ))
            } else {
                None
            }
        };
        self.answers().filter_map(of).collect()
    }

    /// Who should answer and does not. A voter that was removed may be gone once nothing depends on it.
    fn silent(&self) -> Vec<String> {
        let open = self.opening().is_open();
        let counts = |id: &NodeId| self.quorum.members().contains(id) || !open;
        let asked = everybody(self.quorum).into_iter().filter(counts).chain(self.others.iter().copied());
        let why = |id: NodeId| match self.heard.get(&id) {
            Some(Ok(_)) => None,
            Some(Err(why)) => Some(format!("{} does not answer: {why}", self.names.node(id))),
            None => Some(format!("{} was not asked", self.names.node(id))),
        };
        asked.filter_map(why).collect()
    }

    fn behind(&self) -> Option<String> {
        let generation = self.quorum.generation;
        let others = self.answers().filter(|(id, _)| self.others.contains(id));
        let all = self.voters().chain(others);
        let behind: Vec<NodeId> =
            all.filter(|(_, answer)| answer.standing.generation < generation).map(|(id, _)| id).collect();
        (!behind.is_empty()).then(|| {
            let more = if behind.len() > 1 { ", each when the one before answers again" } else { "" };
            format!("restart {} with generation {generation}{more}", self.list(&behind))
        })
    }

    /// All vote on this generation; whether a holder could prove that it is open, and one has.
    fn unproven(&self) -> Option<String> {
        let (generation, opening) = (self.quorum.generation, self.opening());
        if !opening.is_open() {
            let wait = self.wait();
            return Some(match wait {
                Some(wait) => format!(
                    "wait {}: until then a holder of generation {} may be left",
                    seconds(wait),
                    generation.saturating_sub(2)
                ),
                None => opening.words(|id| self.names.node(id).into_owned()),
            });
        }
        let asked = self.of_voters().any(|(_, answer)| answer.standing.opened.generation >= generation);
        (generation > 1 && !asked).then(|| {
            format!(
                "no voter has lent under generation {generation} yet: restart the nodes that do not vote with it too, \
                 and wait until one of the nodes is MASTER"
            )
        })
    }

    /// How long until a majority of the former set has been closed to the generation before it for L_max; `None`: it
    /// takes more than time.
    fn wait(&self) -> Option<Duration> {
        let former_set = self.quorum.former()?;
        // Of a move the old half (`keepone_proto::lease::generation`).
        let former = self.quorum.moving.as_ref().map_or(former_set.voters.as_slice(), Move::from);
        let before = former_set.generation;
        let set = set_digest(self.cluster, &former_set);
        let opened = self.of_voters().map(|(_, answer)| answer.standing.opened);
        if !opened.into_iter().any(|opened| opened.generation == before && opened.set == set) {
            return None;
        }
        let closed = self.of_voters().filter(|(id, answer)| former.contains(id) && answer.standing.floor >= before);
        let mut closed: Vec<Duration> = closed.map(|(_, answer)| answer.standing.floor_for).collect();
        closed.sort_unstable_by(|a, b| b.cmp(a));
        let last = closed.get(former.len() / 2)?;
        Some(self.quorum.timing.lease_max.saturating_sub(*last))
    }

    /// The new set votes; whether the former one is still served.
    fn unfinished(&self) -> Option<String> {
        let generation = self.quorum.generation;
        if matches!(self.quorum.moving, Some(Move::Joint(_))) {
            return Some(
                "both authorities lend: `keepone authority next` prints the lines of the next step; put them into the file \
                 of every member and restart one after the other, the MASTER last"
                    .to_owned(),
            );
        }
        let keyword = if self.quorum.moving.is_some() { "former_joint_voters" } else { "former_voters" };
        let serving: Vec<NodeId> =
            self.voters().filter(|(_, answer)| answer.standing.floor < generation).map(|(id, _)| id).collect();
        let named = self.quorum.former().is_some();
        if !named && serving.is_empty() {
            return None;
        }
        let gone: Vec<NodeId> =
            self.quorum.everybody().into_iter().filter(|id| !self.quorum.voters.contains(id)).collect();
        let here = if named { " here and" } else { "" };
        let whom = if serving.is_empty() { "everywhere".to_owned() } else { format!("on {}", self.list(&serving)) };
        let stop = if gone.is_empty() { String::new() } else { format!("; {} has no vote any more", self.list(&gone)) };
        Some(format!(
            "generation {generation} votes: remove {keyword}{here} {whom}, and restart one after the other{stop}"
        ))
    }
}

/// Rounded up, so that who waits has waited long enough.
fn seconds(wait: Duration) -> String {
    if wait < Duration::from_secs(1) {
        Millis(wait).to_string()
    } else {
        format!("{} s", wait.as_millis().div_ceil(1000))
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
