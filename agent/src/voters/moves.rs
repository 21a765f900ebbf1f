//! `keepone authority`: a move from one authority to another, step by step (docs/decisions/0175). Nothing is edited in place,
//! and nothing is kept safe by what is refused here: that is `keepone_proto::lease::generation`'s.

use std::path::Path;

use keepone_config::Config;
use keepone_config::model::Cluster;
use keepone_proto::id::NodeId;
use keepone_proto::settings::{Move, Names, QuorumSettings};

use super::{Outcome, Wish};
use crate::exit::{ExitCode, Failure};

/// How etcd is called among voters.
const ETCD: &str = "etcd";

/// The voters of the new authority, ascending; `None`: there is to be none.
///
/// # Errors
/// Somebody who is no member.
pub fn target(cluster: &Cluster, to: &[String]) -> Result<Option<Vec<NodeId>>, Failure> {
    if to == ["none"] {
        return Ok(None);
    }
    if to == [ETCD] {
        return Ok(Some(vec![NodeId::STORE]));
    }
    let id = |name: &String| {
        let member = cluster.members.iter().find(|member| member.name == *name);
        member.map(|member| member.id).ok_or_else(|| {
            let words = format!(
                "{name} is no member of cluster {}: name the voters of the new authority, or `etcd` or `none` alone; a new \
                 member needs its [[member]] on every member first",
                cluster.name
            );
            Failure::say(ExitCode::Usage, words)
        })
    };
    let mut ids = to.iter().map(id).collect::<Result<Vec<NodeId>, Failure>>()?;
    ids.sort_unstable();
    ids.dedup();
    if ids.len() == 2 || ids.is_empty() {
        let words = format!("{} voters: after one failure there is no majority of them; name three", ids.len());
        return Err(Failure::say(ExitCode::Usage, words));
    }
    Ok(Some(ids))
}

/// The middle of the move: both authorities must lend.
///
/// # Errors
/// It is there already.
pub fn begin(quorum: &QuorumSettings, names: &Names, voters: Vec<NodeId>) -> Result<QuorumSettings, Failure> {
    if voters == quorum.voters {
        let words = format!("{} have the say already: nothing is to be moved", list(&voters, names).join(", "));
        return Err(Failure::say(ExitCode::Usage, words));
    }
    let moving = Some(Move::Joint(quorum.voters.clone()));
    let generation = quorum.generation.saturating_add(1);
    Ok(QuorumSettings { voters, timing: quorum.timing, generation, former: None, moving })
}

/// The step after.
///
/// # Errors
/// There is none.
pub fn next(quorum: &QuorumSettings) -> Result<QuorumSettings, Failure> {
    let generation = quorum.generation.saturating_add(1);
    match &quorum.moving {
        Some(Move::Joint(from)) => {
            Ok(QuorumSettings { generation, moving: Some(Move::After(from.clone())), ..quorum.clone() })
        }
        Some(Move::After(_)) => Ok(QuorumSettings { moving: None, ..quorum.clone() }),
        None => {
            let words = "no move is under way: `keepone authority move` begins one".to_owned();
            Err(Failure::say(ExitCode::Usage, words))
        }
    }
}

/// The lines to be put into each member's file.
pub fn fragment(next: &QuorumSettings, names: &Names, endpoints: &[String]) -> String {
    let is_etcd = next.voters == [NodeId::STORE];
    let quoted = |ids: &[NodeId]| format!("{:?}", list(ids, names));
    let moving = match &next.moving {
        Some(Move::Joint(from)) => format!("joint_voters = {}\n", quoted(from)),
        Some(Move::After(from)) => format!("former_joint_voters = {}\n", quoted(from)),
        None => String::new(),
    };
    let asks_etcd = is_etcd || next.moving.as_ref().is_some_and(|moving| moving.from().contains(&NodeId::STORE));
    let (voters, generation) = (quoted(&next.voters), next.generation);
    let mut text = format!(
        "# Generation {generation}. In [arbiter] on every node, in place of type, voters, witness, generation and all that \
         ends in _voters:\n[arbiter]\n"
    );
    text.push_str(if is_etcd { "type = \"etcd\"\n" } else { "type = \"quorum\"\n" });
    if !is_etcd {
        text.push_str(&format!("voters = {voters}\n"));
    }
    text.push_str(&format!("{moving}generation = {generation}\n"));
    match endpoints {
        _ if !asks_etcd => text.push_str("\n# Remove endpoints, and how etcd is spoken to, if they are there.\n"),
        [] => text.push_str("# and, as a list of URLs, where etcd's servers are: endpoints\n"),
        some => text.push_str(&format!("endpoints = {some:?}\n")),
    }
    text.push_str(&format!(
        "\n# In the file of each witness that is named above:\n[[cluster]]\nvoters = {voters}\n{moving}generation = \
         {generation}\n\n# lease and the other lengths stay as they are. Then restart one member after the other, the \
         witnesses first and the MASTER last; `keepone authority` says what is left to do.\n"
    ));
    text
}

/// Without an authority there is nobody to be asked, and nothing in between (docs/decisions/0176).
///
/// # Errors
/// Somebody who is no member; a step that is none.
pub(super) fn from_none(config: &Config, names: &Names, file: &Path, wish: &Wish) -> Result<Outcome, Failure> {
    let Some(cluster) = &config.cluster else {
        let words =
            format!("{} has no cluster: an authority needs members, `keepone keys` makes their keys", file.display());
        return Err(Failure::say(ExitCode::Invalid, words));
    };
    let Wish::Move { to, endpoints } = wish else {
        let text = "no authority: each node decides by itself, and two hold where every line between them is cut\n\
                    to do: nothing; `keepone authority move VOTERS` or `move etcd` prints how to have one\n";
        return Ok(Outcome { text: text.to_owned(), code: 0 });
    };
    let Some(voters) = target(cluster, to)? else {
        return Err(Failure::say(ExitCode::Usage, "there is none already".to_owned()));
    };
    let timing = keepone_proto::lease::timing::LeaseTiming::for_lease(std::time::Duration::from_secs(1));
    let next = QuorumSettings::new(voters, timing);
    let mut text = fragment(&next, names, endpoints);
    text.push_str(
        "# The nodes that are not MASTER first; then wait until `keepone authority` on one of them shows that no voter keeps \
         quiet, and that a majority answers; then the MASTER. Was there an authority before, write the lines that it had, \
         generation included.\n",
    );
    Ok(Outcome { text, code: 0 })
}

/// Back to none.
pub(super) fn to_none() -> Outcome {
    let text = "# On every node, in place of all of [arbiter]:\n[arbiter]\ntype = \"none\"\n\n\
                # Two hold from now on where every line between the nodes is cut. Restart one node that is not MASTER, then\n\
                # the MASTER, then the others, so that the voters that are left are enough until the MASTER has handed over.\n\
                # Witnesses can be stopped then. Keep the lines that were there: they are the way back.\n";
    Outcome { text: text.to_owned(), code: 0 }
}

fn list(ids: &[NodeId], names: &Names) -> Vec<String> {
    let name = |id: &NodeId| if *id == NodeId::STORE { ETCD.to_owned() } else { names.node(*id).into_owned() };
    ids.iter().map(name).collect()
}

#[cfg(test)]
#[path = "moves_tests.rs"]
mod tests;
