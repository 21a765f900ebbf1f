//! What happened, in keepalived's words: the arguments of `notify` scripts and the lines of its FIFOs.
//!
//! `INSTANCE|GROUP name STATE priority` (keepalived.conf(5), vrrp_sync_group); in a FIFO the name is in quotes. A group
//! has the priority 0. Recorded from keepalived 2.2.7: a group comes before its instances when all begin, and after
//! them with every later change.

use std::fmt;

use keepone_proto::action::Transition;
use keepone_proto::decision::Role;
use keepone_proto::id::{InstanceId, Priority};

use crate::assemble::DomainName;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(super) is_group: bool,
    pub(super) name: String,
    /// `MASTER`, `BACKUP`, `FAULT`, `STOP`, `DELETED`, `MASTER_RX_LOWER_PRI`, `MASTER_PRIORITY` or `BACKUP_PRIORITY`.
    pub(super) state: &'static str,
    pub(super) priority: u8,
}

impl Word {
    /// `INSTANCE` or `GROUP`.
    pub(super) fn kind(&self) -> &'static str {
        if self.is_group { "GROUP" } else { "INSTANCE" }
    }

    /// Of an instance.
    pub(super) fn of_instance(name: &str, state: &'static str, priority: Priority) -> Self {
        Word { is_group: false, name: name.to_owned(), state, priority: priority.0 }
    }
}

/// The line of a FIFO, without its end.
impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\" {} {}", self.kind(), self.name, self.state, self.priority)
    }
}

/// A change of role in the order in which it is told; nothing for one that only we know of. `is_removed`: a new
/// configuration has the domain no more.
pub(super) fn of<'a>(
    domain: &DomainName,
    transition: &Transition,
    is_removed: bool,
    name_of: impl Fn(InstanceId) -> Option<&'a str>,
) -> Vec<Word> {
    let state = |name: &str| match transition.to {
        Role::Master => Some("MASTER"),
        Role::Backup => Some("BACKUP"),
        // What holds nothing and may not is a FAULT to keepalived's scripts.
        Role::Fault | Role::Fenced => Some("FAULT"),
        Role::Init if is_removed && domain.deleted.contains_key(name) => Some("DELETED"),
        Role::Init if is_removed => Some("FAULT"),
        Role::Init => Some("STOP"),
        Role::Claiming => None,
    };
    let priority = |name: &str| {
        let mut routers = transition.routers.iter();
        let own = routers.find(|(id, _)| name_of(*id) == Some(name)).map(|(_, priority)| *priority);
        own.unwrap_or(transition.priority)
    };
    let instance = |name: &str| Some(Word::of_instance(name, state(name)?, priority(name)));
    if !domain.is_group {
        return instance(&domain.name).into_iter().collect();
    }
    let group = state(&domain.name).map(|state| Word { is_group: true, name: domain.name.clone(), state, priority: 0 });
    let instances = domain.members.iter().filter_map(|(name, _)| instance(name));
    if transition.from == Role::Init {
        group.into_iter().chain(instances).collect()
    } else {
        instances.chain(group).collect()
    }
}
