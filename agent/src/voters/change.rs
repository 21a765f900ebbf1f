//! The next configuration of a change of the voter set. Nothing is edited in place: each member's file is the operator's.

use std::path::Path;

use keepone_proto::id::NodeId;
use keepone_proto::settings::{Names, QuorumSettings};

use super::judge::Heard;

/// What is to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A member gets a vote.
    Add(NodeId),
    /// A voter loses it.
    Remove(NodeId),
}

/// Why no next configuration is given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It votes already.
    #[error("{0} votes already: `keepone voters` lists the voters")]
    Votes(String),
    /// It does not vote.
    #[error("{0} is no voter: `keepone voters` lists them")]
    VotesNot(String),
    /// One failure would leave no majority.
    #[error(
        "{left} would be left, of which one failure leaves no majority: first add another voter, and remove this one \
         when that change is complete"
    )]
    TooFew {
        /// Who.
        left: String,
    },
    /// One change at a time.
    #[error(
        "a change is under way: this configuration names former_voters; bring it to its end first, `keepone voters` \
         says what is left to do"
    )]
    UnderWay,
    /// Not enough of the next set answer.
    #[error(
        "of the voters {set} would be, {up} answer and {needed} are a majority: nobody could hold; start those that do \
         not answer first ({silent})"
    )]
    NoMajority {
        /// The next set.
        set: String,
        /// How many of it answer, one that is new counted as if it did.
        up: usize,
        /// Its majority.
        needed: usize,
        /// Who does not.
        silent: String,
    },
}

impl Refusal {
    /// Whether the command makes no sense; `false`: not now.
    pub fn is_usage(&self) -> bool {
        matches!(self, Refusal::Votes(_) | Refusal::VotesNot(_) | Refusal::TooFew { .. })
    }
}

/// The next set, ascending.
///
/// # Errors
/// It is not to be, by the configuration alone.
pub fn next(quorum: &QuorumSettings, names: &Names, change: Change) -> Result<QuorumSettings, Refusal> {
    let name = |id| names.node(id).into_owned();
    let mut voters = quorum.voters.clone();
    match change {
        Change::Add(id) if voters.contains(&id) => return Err(Refusal::Votes(name(id))),
        Change::Add(id) => voters.push(id),
        Change::Remove(id) if !voters.contains(&id) => return Err(Refusal::VotesNot(name(id))),
        Change::Remove(id) => voters.retain(|voter| *voter != id),
    }
    voters.sort_unstable();
    if quorum.former.is_some() {
        return Err(Refusal::UnderWay);
    }
    let former = Some(quorum.voters.clone());
    let next = QuorumSettings {
        voters,
        timing: quorum.timing,
        generation: quorum.generation.saturating_add(1),
        former,
        moving: None,
    };
    if next.voters.len() <= next.majority() {
        return Err(Refusal::TooFew { left: words(&next.voters, names, ", ") });
    }
    Ok(next)
}

/// Whether enough of the next set are there; the new one is about to be started.
///
/// # Errors
/// They are not.
pub fn enough(next: &QuorumSettings, names: &Names, heard: &Heard) -> Result<(), Refusal> {
    let is_new = |id: &NodeId| next.former.as_ref().is_some_and(|former| !former.contains(id));
    let silent: Vec<NodeId> =
        next.voters.iter().filter(|id| !is_new(id) && !matches!(heard.get(id), Some(Ok(_)))).copied().collect();
    let (up, needed) = (next.voters.len().saturating_sub(silent.len()), next.majority());
    if up >= needed {
        return Ok(());
    }
    let set = words(&next.voters, names, ", ");
    Err(Refusal::NoMajority { set, up, needed, silent: words(&silent, names, ", ") })
}

/// The lines to be put into each member's file.
pub fn fragment(next: &QuorumSettings, names: &Names, file: &Path) -> String {
    let native = file.extension().is_some_and(|extension| extension == "toml");
    let (generation, former) = (next.generation, next.former.as_deref().unwrap_or_default());
    let toml = |ids: &[NodeId]| {
        let names: Vec<String> = ids.iter().map(|id| format!("{:?}", names.node(*id))).collect();
        format!("[{}]", names.join(", "))
    };
    let lines =
        format!("voters = {}\nformer_voters = {}\ngeneration = {generation}\n", toml(&next.voters), toml(former));
    let mut text = format!(
        "# Generation {generation}. On every member, in place of the voters, witness, generation and former_voters \
         that are there:\n"
    );
    if native {
        text.push_str(&format!("[arbiter]\n{lines}"));
    } else {
        text.push_str(&format!(
            "arbiter {{\n    voters {}\n    former_voters {}\n    generation {generation}\n}}\n",
            words(&next.voters, names, " "),
            words(former, names, " ")
        ));
    }
    text.push_str(&format!("\n# In the file of each witness:\n[[cluster]]\n{lines}"));
    text.push_str(
        "\n# Then restart one member after the other, a new voter first; `keepone voters` says what is left to do.\n",
    );
    text
}

fn words(ids: &[NodeId], names: &Names, between: &str) -> String {
    ids.iter().map(|id| names.node(*id).into_owned()).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
