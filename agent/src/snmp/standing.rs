//! How the node stands, as far as SNMP asks.

use std::collections::BTreeMap;
use std::time::Duration;

use keepone_proto::balance::standing::ServiceStanding;
use keepone_proto::decision::Role;
use keepone_proto::node::Counters;
use keepone_proto::vrrp::statistics::Statistics;

use crate::control::Answers;
use crate::ipvs::counted::Counts;

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
    /// By the instance's name.
    statistics: BTreeMap<String, Statistics>,
    /// Of the node.
    pub(super) counters: Counters,
    /// In the order of the configuration, each with what the kernel counts of it.
    pub(super) servers: Vec<(ServiceStanding, Counts)>,
}

impl Standing {
    /// Asks who knows; who does not answer in time has nothing to say.
    pub(super) fn of(answers: &Answers) -> Self {
        let servers = answers.counted().unwrap_or_default();
        let Ok(snapshot) = answers.snapshot() else { return Standing { servers, ..Standing::default() } };
        Standing {
            roles: snapshot.roles().collect(),
            statistics: snapshot.statistics_by_name().collect(),
            counters: snapshot.counters_of_node(),
            servers,
        }
    }

    pub(super) fn instance(&self, name: &str) -> Option<Now> {
        self.roles.get(&(false, name.to_owned())).copied()
    }

    /// What an instance has sent, heard and refused; zeros, if nothing is known of it.
    pub(super) fn statistics(&self, name: &str) -> Statistics {
        self.statistics.get(name).copied().unwrap_or_default()
    }

    pub(super) fn group(&self, name: &str) -> Option<Now> {
        self.roles.get(&(true, name.to_owned())).copied()
    }
}
