//! What changes from one configuration to another, in words.
//!
//! ```text
//! two models ── walk.rs ── value.rs (what both have is left out) ── compare.rs ── words.rs ── changes
//! ```
//!
//! It looks at the models' values and knows none of their types: a field that is new in the model is told by its
//! name. What a part is called, and what its change costs the running agent, stands in one table (`words`).
//!
//! What must stay true: two models that differ have a change, and those that don't have none; no secret is shown; the
//! time is about linear, 10 000 virtual servers included.

mod apart;
mod compare;
mod value;
mod walk;
mod words;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use serde::Serialize;

use keepone_proto::settings::Policy;

use crate::model::{Config, Domain};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where in the model: fields' names joined with dots, an element of a list as `[NAME]`.
    pub path: String,
    /// The value before, if there was one and it may be shown.
    pub from: Option<String>,
    /// The value after, if there is one and it may be shown.
    pub to: Option<String>,
    /// In words: `adds VIP 192.0.2.7/24 to VI_1`.
    pub text: String,
    /// The instance or sync group that ends and begins anew for it.
    pub restarts: Option<String>,
    /// Whether the whole agent does.
    pub restarts_agent: bool,
    /// What the operator has to know or do.
    pub hint: Option<String>,
}

/// All changes between two models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// In the order of the model.
    pub changes: Vec<Change>,
    /// Instances and sync groups that end and begin anew, each once.
    pub restarts: Vec<String>,
    /// Whether the whole agent does.
    pub restarts_agent: bool,
}

/// Compares two models.
pub fn diff(old: &Config, new: &Config) -> Difference {
    compared(old, new, compare::changes(old, new, &names(old), &names(new)))
}

/// The same for a log: of virtual servers that differ only the first `most` are told, and how many more do so. What
/// becomes of those costs the agent nothing: they are taken over in place, whatever they are.
pub fn brief(old: &Config, new: &Config, most: usize) -> (Difference, usize) {
    let Some(apart) = apart::apart(&old.virtual_servers, &new.virtual_servers, most) else {
        return (diff(old, new), 0);
    };
    let with = |config: &Config, virtual_servers| Config {
        virtual_servers,
        server_groups: config.server_groups.clone(),
        inactive: config.inactive.clone(),
        ..config.beside_servers()
    };
    let (few_old, few_new) = (with(old, apart.old), with(new, apart.new));
    let changes = compare::changes(&few_old, &few_new, &names(old), &names(new));
    (compared(old, new, changes), apart.more)
}

/// A number by which two processes of one program know whether a file means the same to both, but for its virtual servers
/// and their groups. It tells nothing of a password: with one it is another number in each process.
pub fn digest_beside_servers(config: &Config) -> u64 {
    value::digest(&config.beside_servers())
}

/// With what no single part shows.
fn compared(old: &Config, new: &Config, mut changes: Vec<Change>) -> Difference {
    changes.extend(moves(old, new));
    changes.extend(links_move(old, new));
    changes.extend(policies_left(old, new));
    difference(changes)
}

/// Addresses that come under another lease, one for each pair of leases: the new holder may only begin once the former
/// one has let go, which none of the two knows of the other.
fn moves(old: &Config, new: &Config) -> Vec<Change> {
    let (before, after) = (holders(old), holders(new));
    let mut moved = BTreeMap::new();
    for (address, to) in &after {
        if let Some(from) = before.get(address).filter(|from| *from != to) {
            moved.entry((from, to)).or_insert(address);
        }
    }
    let change = |((from, to), address): ((&String, &String), &IpAddr)| Change {
        path: format!("instances[].virtual_addresses[{address}]"),
        from: Some(from.clone()),
        to: Some(to.clone()),
        text: format!("moves {address} from {from} to {to}"),
        restarts: None,
        restarts_agent: true,
        hint: Some(String::from("each has a lease of its own")),
    };
    moved.into_iter().map(change).collect()
}

/// Domains that are to accept two Masters no more: what one of them holds by nobody's leave has no lease to go on under.
fn policies_left(old: &Config, new: &Config) -> Vec<Change> {
    let accepting = |config: &Config| -> BTreeMap<String, Policy> {
        config.domains().into_iter().map(|domain| (domain.name, domain.policy)).collect()
    };
    let (before, after) = (accepting(old), accepting(new));
    let leaves = |name: &String| before.get(name) == Some(&Policy::AcceptDualMaster);
    let left = after.iter().filter(|(name, policy)| leaves(name) && **policy != Policy::AcceptDualMaster);
    let change = |(name, policy): (&String, &Policy)| Change {
        path: format!("domains[{name}].policy"),
        from: Some(Policy::AcceptDualMaster.as_str().to_owned()),
        to: Some(policy.as_str().to_owned()),
        text: format!("accepts two Masters of {name} no more"),
        restarts: None,
        restarts_agent: true,
        hint: Some(String::from("it may be held by nobody's leave")),
    };
    left.map(change).collect()
}

/// A link goes by its place, the same on every node; and one of them has to go on while others change, or the peers would
/// be unheard. Nor is there a peer more or less.
fn links_move(old: &Config, new: &Config) -> Option<Change> {
    let peers = |config: &Config| -> BTreeSet<_> {
        config.links.iter().flat_map(|link| link.peers.iter().map(|(node, _)| *node)).collect()
    };
    let place = |config: &Config, name: &str| config.links.iter().position(|link| link.name == name);
    let moved = old.links.iter().enumerate().any(|(at, link)| place(new, &link.name).is_some_and(|now| now != at));
    let replaced = old.links.iter().zip(&new.links).any(|(old, new)| old.name != new.name);
    let goes_on = old.links == new.links || old.links.iter().any(|link| new.links.contains(link));
    let text = match (moved || replaced, goes_on, peers(old) == peers(new)) {
        (false, true, true) => return None,
        (_, _, false) => "changes which peers are on the heartbeat links",
        (true, _, true) => "changes the order of the heartbeat links",
        (false, false, true) => "changes every heartbeat link",
    };
    Some(Change {
        path: String::from("links"),
        from: None,
        to: None,
        text: String::from(text),
        restarts: None,
        restarts_agent: true,
        hint: Some(String::from("add one after the others, remove the last one, or change one at a time")),
    })
}

/// Which sync group, or lone instance, has an address.
fn holders(config: &Config) -> BTreeMap<IpAddr, String> {
    let of = |domain: Domain| {
        let instances = domain.instances.into_iter().filter_map(|at| config.instances.get(at));
        let addresses = instances.flat_map(|instance| instance.virtual_addresses.iter().map(|vip| vip.address));
        addresses.map(|address| (address, domain.name.clone())).collect::<Vec<_>>()
    };
    config.domains().into_iter().flat_map(of).collect()
}

fn difference(changes: Vec<Change>) -> Difference {
    let mut restarts = Vec::new();
    for name in changes.iter().filter_map(|change| change.restarts.as_ref()) {
        if !restarts.contains(name) {
            restarts.push(name.clone());
        }
    }
    let restarts_agent = changes.iter().any(|change| change.restarts_agent);
    Difference { changes, restarts, restarts_agent }
}

/// The names behind the places that other parts of the model refer to; see `words::PLACES`.
fn names(config: &Config) -> Vec<(&'static str, Vec<Cow<'_, str>>)> {
    let instances = config.instances.iter().map(|instance| Cow::from(instance.name.as_str()));
    let servers = config.virtual_servers.iter().map(|server| Cow::from(server.word(&config.server_groups)));
    vec![("instances", instances.collect()), ("virtual_servers", servers.collect())]
}

impl Difference {
    /// Whether nothing changes.
    pub fn is_none(&self) -> bool {
        self.changes.is_empty()
    }

    /// One line for each change, and one that says what begins anew.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for change in &self.changes {
            let hint = change.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            let _ = writeln!(text, "{}{hint}", change.text);
        }
        match self.restarts.as_slice() {
            _ if self.is_none() => text.push_str("changes nothing\n"),
            _ if self.restarts_agent => text.push_str("restarts the agent\n"),
            [] => text.push_str("restarts no instance\n"),
            names => {
                let _ = writeln!(text, "restarts {}; no other instance", names.join(", "));
            }
        }
        text
    }

    /// The same as JSON: `changes`, `restarts`, `restarts_agent`.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| String::from("{}"))
    }
}

#[cfg(test)]
mod tests;
