//! How the node stands, as far as SNMP asks.

use std::collections::BTreeMap;
use std::time::Duration;

use keepone_proto::balance::standing::ServiceStanding;
use keepone_proto::decision::Role;

use crate::control::Answers;

/// Of one instance or group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) role: Role,
    /// The effective one.
    pub(crate) priority: u8,
    /// How long it has been so.
    pub(crate) lasts: Duration,
}

/// Of all.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// By whether it is a group, and by name.
    roles: BTreeMap<(bool, String), Now>,
    /// In the order of the configuration.
    pub(super) servers: Vec<ServiceStanding>,
}

impl Standing {
    /// Asks who knows; who does not answer in time has nothing to say.
    pub(super) fn of(answers: &Answers) -> Self {
        let roles = answers.snapshot().map(|snapshot| snapshot.roles().collect()).unwrap_or_default();
        Standing { roles, servers: answers.servers_standing().unwrap_or_default() }
    }

    pub(super) fn instance(&self, name: &str) -> Option<Now> {
        self.roles.get(&(false, name.to_owned())).copied()
    }

    pub(super) fn group(&self, name: &str) -> Option<Now> {
        self.roles.get(&(true, name.to_owned())).copied()
    }
}
