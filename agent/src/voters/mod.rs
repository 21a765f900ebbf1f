//! `keepone voters`: how each voter stands, what is left of a change of the voter set, and the next set (V9).
//!
//! - [`ask`]: the question, over a connection of its own beside the agent's
//! - [`own`]: this node's voter, from what it keeps on disk
//! - [`judge`]: from the answers to the next step
//! - [`change`]: the next configuration
//! - [`moves`]: the same for a move from one authority to another (`keepone authority`)
//! - [`table`]: what is printed

mod ask;
pub mod change;
pub mod judge;
pub mod moves;
pub(crate) mod own;
mod table;

use std::collections::BTreeSet;
use std::path::Path;

use keepone_config::Config;
use keepone_config::model::Cluster;
use keepone_proto::id::NodeId;
use keepone_proto::settings::{Authority, Names, QuorumSettings};

use crate::assemble::Plan;
use crate::exit::{ExitCode, Failure};
use crate::worker::load_keys;
use judge::{Heard, Judge};

/// What the operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// How the voters stand.
    Show,
    /// The configuration with one more.
    Add(String),
    /// The configuration with one less.
    Remove(String),
    /// How the authority stands, whatever it is.
    Authority,
    /// The first step of a move: to these voters, to `etcd`, or to `none`.
    Move {
        /// The new authority.
        to: Vec<String>,
        /// etcd's servers, where it is etcd.
        endpoints: Vec<String>,
    },
    /// The next step of a move.
    Next,
}

impl Wish {
    fn is_of_moves(&self) -> bool {
        matches!(self, Wish::Authority | Wish::Move { .. } | Wish::Next)
    }
}

/// What is printed, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output.
    pub text: String,
    /// 0: nothing is left to do; 1: something is, or a voter does not answer.
    pub code: u8,
}

/// One of a cluster with voters.
struct Scene<'a> {
    cluster: &'a Cluster,
    quorum: &'a QuorumSettings,
    names: &'a Names,
    /// Nodes without a vote, ascending, where they are asked as well: they go by a generation, and who moves the authority must
    /// leave none behind.
    others: Vec<NodeId>,
}

impl Scene<'_> {
    /// Who is asked, ascending: the voters of both generations, then the nodes without a vote.
    fn asked(&self) -> impl Iterator<Item = NodeId> {
        judge::everybody(self.quorum).into_iter().chain(self.others.iter().copied())
    }

    fn judge<'a>(&'a self, heard: &'a Heard) -> Judge<'a> {
        let Scene { cluster, quorum, names, others } = self;
        Judge { cluster: cluster.id, quorum, names, heard, others }
    }
}

/// The nodes that have no vote, as far as a heartbeat link leads to them: this one, and peers.
fn without_a_vote(cluster: &Cluster, quorum: &QuorumSettings, plan: &Plan) -> Vec<NodeId> {
    let peers = plan.links.iter().flat_map(|link| &link.peers).map(|(peer, _)| *peer);
    let nodes: BTreeSet<NodeId> = peers.chain([cluster.node]).collect();
    let voters = judge::everybody(quorum);
    nodes.into_iter().filter(|node| !voters.contains(node)).collect()
}

/// Asks the voters of the configuration in `file` and says how they stand, or what the next configuration is.
///
/// # Errors
/// The configuration has no voters, the keys can't be used, or the change is refused.
pub fn run(config: &Config, file: &Path, wish: &Wish, json: bool) -> Result<Outcome, Failure> {
    let plan = Plan::new(config);
    if let (true, Authority::None) = (wish.is_of_moves(), &config.authority) {
        return moves::from_none(config, &plan.settings.names, file, wish);
    }
    let (Some(cluster), Authority::Quorum(quorum)) = (&config.cluster, &config.authority) else {
        let words = format!("{} has no voters: they come with `type quorum` in [arbiter]", file.display());
        return Err(Failure::say(ExitCode::Invalid, words));
    };
    if let Some(etcd) = config.etcd.as_ref().filter(|_| !wish.is_of_moves()) {
        let words = format!(
            "{} has no voters: etcd decides. `etcdctl --endpoints {} get --prefix {}` shows who holds what",
            file.display(),
            etcd.endpoints.join(","),
            etcd.prefix
        );
        return Err(Failure::say(ExitCode::Invalid, words));
    }
    let others = if wish.is_of_moves() { without_a_vote(cluster, quorum, &plan) } else { Vec::new() };
    let scene = Scene { cluster, quorum, names: &plan.settings.names, others };
    match wish {
        Wish::Move { to, endpoints } => {
            let target = moves::target(cluster, to)?;
            let Some(target) = target else { return Ok(moves::to_none()) };
            refuse_while(
                quorum.moving.is_some() || quorum.former.is_some(),
                "a change is under way: `keepone authority` says what is left",
            )?;
            let heard = everyone(&scene, &plan)?;
            let left = scene.judge(&heard).next_steps();
            refuse_while(!left.is_empty(), &format!("first: {}", left.join("; ")))?;
            let next = moves::begin(quorum, scene.names, target)?;
            let known = config.etcd.as_ref().map(|etcd| etcd.endpoints.clone()).unwrap_or_default();
            let endpoints = if endpoints.is_empty() { known } else { endpoints.clone() };
            Ok(Outcome { text: moves::fragment(&next, scene.names, &endpoints), code: 0 })
        }
        Wish::Next => {
            let heard = everyone(&scene, &plan)?;
            let left = scene.judge(&heard).obstacles();
            refuse_while(!left.is_empty(), &format!("not yet: {}", left.join("; ")))?;
            let next = moves::next(quorum)?;
            let endpoints = config.etcd.as_ref().map(|etcd| etcd.endpoints.clone()).unwrap_or_default();
            Ok(Outcome { text: moves::fragment(&next, scene.names, &endpoints), code: 0 })
        }
        Wish::Show | Wish::Authority => {
            let heard = everyone(&scene, &plan)?;
            let steps = scene.judge(&heard).next_steps();
            let code = u8::from(!steps.is_empty());
            let show = if json { table::json } else { table::text };
            Ok(Outcome { text: show(&scene, &heard, &steps), code })
        }
        Wish::Add(name) | Wish::Remove(name) => {
            let member = cluster.members.iter().find(|member| member.name == *name).ok_or_else(|| {
                let words = format!(
                    "{name} is no member of cluster {}: add its [[member]] with id and public_key on every member first",
                    cluster.name
                );
                Failure::say(ExitCode::Usage, words)
            })?;
            let adds = matches!(wish, Wish::Add(_));
            let change = if adds { change::Change::Add(member.id) } else { change::Change::Remove(member.id) };
            let refused = |refusal: change::Refusal| {
                let code = if refusal.is_usage() { ExitCode::Usage } else { ExitCode::Unexpected };
                Failure::new(code, &refusal)
            };
            let next = change::next(quorum, scene.names, change).map_err(refused)?;
            let heard = everyone(&scene, &plan)?;
            change::enough(&next, scene.names, &heard).map_err(refused)?;
            let text =
                if json { table::next_in_json(&next, scene.names) } else { change::fragment(&next, scene.names, file) };
            Ok(Outcome { text, code: 0 })
        }
    }
}

fn refuse_while(unfit: bool, words: &str) -> Result<(), Failure> {
    if unfit { Err(Failure::say(ExitCode::Unexpected, words.to_owned())) } else { Ok(()) }
}

fn everyone(scene: &Scene<'_>, plan: &Plan) -> Result<Heard, Failure> {
    let keys = load_keys(scene.cluster)?;
    let mut heard = ask::all(scene, plan, &keys)?;
    if scene.asked().any(|id| id == scene.cluster.node) {
        heard.insert(scene.cluster.node, own::look(scene.cluster));
    }
    Ok(heard)
}
