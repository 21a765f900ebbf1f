//! How the node stands, as the decision thread takes it down: ids and numbers, so that a thousand domains cost it less
//! than an Advertisement. What they are called is in a directory that is made anew only by a reload.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keepone_config::Config;
use keepone_proto::alerts::Standing;
use keepone_proto::id::{DomainId, InstanceId, LinkId, NodeId, Priority};
use keepone_proto::node::{Counters, DomainStatus, FeatureStatus, Node, PeerStatus, VoterStatus};
use keepone_proto::settings::Names;
use keepone_proto::time::Instant;
use keepone_proto::vrrp::output::MasterSeen;
use keepone_proto::vrrp::statistics::Statistics;

use crate::assemble::Plan;
use crate::heartbeat::Line;
use crate::snmp::Now;

/// What everything is called.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(super) node: String,
    pub(super) names: Names,
    pub(super) domains: BTreeMap<DomainId, Entry>,
    /// The length of etcd's lease that this node's grants hang on, if they do.
    pub(super) etcd_lease: Option<Duration>,
    /// What the plan was made of.
    pub(super) config: Arc<Config>,
}

/// A domain.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) is_group: bool,
    pub(super) policy: &'static str,
    pub(super) instances: Vec<Instance>,
}

/// A virtual router of it.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) id: InstanceId,
    pub(super) name: String,
    pub(super) vrid: u8,
    pub(super) interface: String,
    pub(super) addresses: Vec<String>,
}

impl Directory {
    /// Of a plan, which was made of that configuration.
    pub(crate) fn of(plan: &Plan, config: &Arc<Config>) -> Self {
        let settings = &plan.settings;
        let interface = |id: usize| settings.interfaces.get(id).map(|interface| interface.name.clone());
        let entry = |domain: &keepone_proto::settings::DomainSettings| {
            let place = |id: &InstanceId| settings.instances.get(usize::from(id.0)).map(|instance| (*id, instance));
            let instances = domain.instances.iter().filter_map(place).map(|(id, instance)| Instance {
                id,
                name: instance.name.clone(),
                vrid: instance.vrid.get(),
                interface: interface(usize::from(instance.interface.0)).unwrap_or_default(),
                addresses: instance.addresses.iter().map(ToString::to_string).collect(),
            });
            let is_group = plan.domain_names.get(&domain.id).is_some_and(|named| named.is_group);
            let (name, policy) = (domain.name.clone(), domain.policy.as_str());
            (domain.id, Entry { name, is_group, policy, instances: instances.collect() })
        };
        Directory {
            node: plan.node_name.clone(),
            names: settings.names.clone(),
            domains: settings.domains.iter().map(entry).collect(),
            etcd_lease: plan.etcd.as_ref().and_then(|etcd| etcd.session),
            config: config.clone(),
        }
    }

    /// The domain of this name, or of the instance of this name.
    pub(crate) fn domain(&self, name: &str) -> Option<DomainId> {
        let of_name = self.domains.iter().find(|(_, entry)| entry.name == name);
        let of_instance = || {
            let has = |entry: &Entry| entry.instances.iter().any(|instance| instance.name == name);
            self.domains.iter().find(|(_, entry)| has(entry))
        };
        of_name.or_else(of_instance).map(|(id, _)| *id)
    }

    /// The member of this name.
    pub(crate) fn member(&self, name: &str) -> Option<NodeId> {
        self.names.nodes.iter().find(|(_, known)| *known == name).map(|(id, _)| *id)
    }

    /// What a domain is called.
    pub(crate) fn name(&self, domain: DomainId) -> &str {
        self.domains.get(&domain).map_or("?", |entry| entry.name.as_str())
    }
}

/// The node at one instant.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(super) at: Instant,
    pub(super) directory: Arc<Directory>,
    pub(super) domains: Vec<DomainStatus>,
    /// Effective ones.
    pub(super) priorities: BTreeMap<InstanceId, Priority>,
    pub(super) statistics: BTreeMap<InstanceId, Statistics>,
    pub(super) masters: BTreeMap<InstanceId, MasterSeen>,
    pub(super) peers: Vec<PeerStatus>,
    pub(super) features: Vec<FeatureStatus>,
    /// Whom whoever makes words of it asks for round trips.
    lines: Vec<Line>,
    /// Whether they are asked, and each.
    pub(super) voters: Vec<VoterStatus>,
    pub(super) alerts: Vec<Standing>,
    pub(super) counters: Counters,
    pub(super) maintenance: bool,
    pub(super) gate_passes: Option<bool>,
}

impl Snapshot {
    /// Without the domains: for one that is told by itself.
    pub(crate) fn bare(node: &Node, directory: &Arc<Directory>, now: Instant) -> Self {
        Snapshot {
            at: now,
            directory: directory.clone(),
            domains: Vec::new(),
            priorities: BTreeMap::new(),
            statistics: BTreeMap::new(),
            masters: BTreeMap::new(),
            peers: Vec::new(),
            features: Vec::new(),
            lines: Vec::new(),
            voters: Vec::new(),
            alerts: Vec::new(),
            counters: node.counters(),
            maintenance: node.in_maintenance(),
            gate_passes: node.gate_passes(),
        }
    }

    /// Every instance and sync group with its role: whether it is a group, its name, how it stands.
    pub(crate) fn roles(&self) -> impl Iterator<Item = ((bool, String), Now)> {
        self.domains.iter().flat_map(move |status| {
            let of_domain = Now { role: status.role, priority: status.priority.0, lasts: self.at.since(status.since) };
            let entry = self.directory.domains.get(&status.domain);
            let instances = entry.into_iter().flat_map(|entry| &entry.instances).map(move |one| {
                let priority = self.priorities.get(&one.id).map_or(of_domain.priority, |priority| priority.0);
                ((false, one.name.clone()), Now { priority, ..of_domain })
            });
            let group = entry.filter(|entry| entry.is_group).map(|entry| ((true, entry.name.clone()), of_domain));
            instances.chain(group)
        })
    }

    /// What every instance has sent, heard and refused, by its name.
    pub(crate) fn statistics_by_name(&self) -> impl Iterator<Item = (String, Statistics)> {
        let instances = self.directory.domains.values().flat_map(|entry| &entry.instances);
        instances.filter_map(|one| Some((one.name.clone(), *self.statistics.get(&one.id)?)))
    }

    /// The counters of the whole node.
    pub(crate) fn counters_of_node(&self) -> Counters {
        self.counters
    }

    /// Takes it.
    pub(crate) fn take(node: &Node, directory: &Arc<Directory>, lines: Vec<Line>, now: Instant) -> Self {
        Snapshot {
            at: now,
            directory: directory.clone(),
            domains: node.statuses(now),
            priorities: node.priorities().collect(),
            statistics: node.statistics().collect(),
            masters: node.masters().collect(),
            peers: node.peer_statuses(now),
            features: node.features(),
            lines,
            voters: node.voter_statuses(now),
            alerts: node.told_alerts().collect(),
            counters: node.counters(),
            maintenance: node.in_maintenance(),
            gate_passes: node.gate_passes(),
        }
    }

    /// Smoothed round trip to a peer over a link. Not for the decision thread.
    pub(super) fn rtt(&self, node: NodeId, link: LinkId) -> Option<Duration> {
        self.lines.iter().find(|line| (line.node, line.link) == (node, link))?.rtt()
    }
}
