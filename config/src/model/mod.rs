//! What a configuration means: every value in the core's own types, every default filled in.
//!
//! Nothing here says how it was written; the same cluster in both languages is the same [`Config`].

mod balance;
mod checker;
mod cluster;
mod fencing;
mod global;
mod hidden;
mod notify;
mod options;
mod pattern;
mod route;
mod service;
mod track;
mod vrrp;
mod web;

pub use balance::{
    Forwarding, GroupMember, Persistence, Protocol, RealServer, Scheduler, ServerGroup, Service, SorryServer, Tunnel,
    TunnelChecksum, TunnelKind, VirtualServer,
};
pub use checker::{
    BodyPattern, CheckTiming, Checker, DnsType, HttpProbe, HttpVersion, Probe, ServerName, Target, UdpProbe, UdpReply,
    Url,
};
pub use cluster::{Cluster, Etcd, GateMeans, HeartbeatLink, Member, PublicKey};
pub use fencing::{FenceCommand, Fencing, Watchdog};
pub use global::Global;
pub(crate) use hidden::SECRET;
pub use notify::{Notify, Script};
pub use options::{ExtraInterfaces, Hmac, NotifyDeleted, OwnInterface, OwnInterfaceKind, VrrpOptions};
pub use route::{Named, NextHop, PathMetric, Prefix, Route, RouteKind, Rule, RuleAction};
pub use service::{
    AddressOptions, ClientTls, EventKind, Fifo, Fifos, FlushOnStop, GarpGroup, IpvsSettings, IpvsSync, LifeScript,
    Mail, MailTls, Scheduling, ScriptRules, Snmp, Statics, VrrpSettings, Webhook,
};
pub use track::{
    ArgumentMatch, BfdInstance, FileTracker, InitFile, ProcessTracker, ScriptTracker, Tracked, TrackerSources,
    Trackers, Weight,
};
pub use vrrp::{
    InitialState, Mirror, Scope, Secret, SecretBytes, SyncGroup, TrackInterface, Transport, VirtualAddress,
    VrrpInstance,
};
pub use web::Web;

use std::collections::BTreeSet;
use std::time::Duration;

use keepone_proto::id::{DomainId, hash_name};
use keepone_proto::settings::{Authority, HeartbeatSettings, Policy, ReferenceSettings};

/// A whole configuration.
#[derive(Debug, serde::Serialize, Clone, PartialEq)]
pub struct Config {
    /// Names and VRRP defaults.
    pub global: Global,
    /// Who belongs together; `None`: a plain VRRP router, as with keepalived.
    pub cluster: Option<Cluster>,
    /// Period and misses.
    pub heartbeat: HeartbeatSettings,
    /// Heartbeat links; the place of a link is its `LinkId`.
    pub links: Vec<HeartbeatLink>,
    /// Who decides, for every domain of this file.
    pub authority: Authority,
    /// What becomes of a domain while the authority is silent, unless it says otherwise (D4). `strict` by default.
    pub policy: Policy,
    /// Claim under an authority although the gate is weak or missing (R14). Off by default.
    pub claim_without_gate: bool,
    /// Where etcd is, if that is the authority.
    pub etcd: Option<Etcd>,
    /// By what means the gate is kept.
    pub gate: GateMeans,
    /// How long addresses stay after a lapse (R5). 1 s by default.
    pub grace: Duration,
    /// The rings outside the gate.
    pub fencing: Fencing,
    /// The web page; none by default.
    pub web: Option<Web>,
    /// Reference addresses.
    pub references: ReferenceSettings,
    /// Virtual routers, in the order of the file.
    pub instances: Vec<VrrpInstance>,
    /// Sync groups, in the order of the file.
    pub sync_groups: Vec<SyncGroup>,
    /// What can be watched; not active yet.
    pub trackers: TrackerSources,
    /// There as long as the agent.
    pub statics: Statics,
    /// Groups of virtual addresses, in the order of the file.
    pub server_groups: Vec<ServerGroup>,
    /// Virtual servers, in the order of the file.
    pub virtual_servers: Vec<VirtualServer>,
    /// What is in the model and not yet active, each keyword once.
    pub inactive: Vec<Inactive>,
}

/// A keyword that is read and checked, but not yet active.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Inactive {
    /// The keyword, for instance `virtual_server`, or `track_script in vrrp_instance`.
    pub what: String,
    /// `file:line:column` of the first.
    pub place: String,
    /// How many there are.
    pub count: usize,
}

/// What moves together: a sync group, or an instance that is in none.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Hash of the name.
    pub id: DomainId,
    /// The group's or the instance's name.
    pub name: String,
    /// Places in [`Config::instances`], ascending.
    pub instances: Vec<usize>,
    /// Whether it is a sync group (notify arguments say `GROUP`, not `INSTANCE`).
    pub is_group: bool,
    /// What becomes of it while the authority is silent.
    pub policy: Policy,
}

impl Config {
    /// The same without its virtual servers, which may be most of it, their groups, and what is of no account.
    pub fn beside_servers(&self) -> Config {
        let Config {
            global,
            cluster,
            heartbeat,
            links,
            authority,
            policy,
            claim_without_gate,
            etcd,
            gate,
            grace,
            fencing,
            web,
            references,
            instances,
            sync_groups,
            trackers,
            statics,
            server_groups: _,
            virtual_servers: _,
            inactive: _,
        } = self;
        Config {
            global: global.clone(),
            cluster: cluster.clone(),
            heartbeat: *heartbeat,
            links: links.clone(),
            authority: authority.clone(),
            policy: *policy,
            claim_without_gate: *claim_without_gate,
            etcd: etcd.clone(),
            gate: *gate,
            grace: *grace,
            fencing: fencing.clone(),
            web: web.clone(),
            references: references.clone(),
            instances: instances.clone(),
            sync_groups: sync_groups.clone(),
            trackers: trackers.clone(),
            statics: statics.clone(),
            server_groups: Vec::new(),
            virtual_servers: Vec::new(),
            inactive: Vec::new(),
        }
    }

    /// All fencing domains: sync groups first, then the instances that are in none.
    pub fn domains(&self) -> Vec<Domain> {
        let domain = |name: &str, policy: Option<Policy>, instances, is_group| Domain {
            id: DomainId(hash_name(name)),
            name: name.to_owned(),
            instances,
            is_group,
            policy: policy.unwrap_or(self.policy),
        };
        let group = |group: &SyncGroup| domain(&group.name, group.policy, group.instances.clone(), true);
        let mut domains: Vec<Domain> = self.sync_groups.iter().map(group).collect();
        let grouped: BTreeSet<usize> = self.sync_groups.iter().flat_map(|group| group.instances.clone()).collect();
        for (place, instance) in self.instances.iter().enumerate() {
            if !grouped.contains(&place) {
                domains.push(domain(&instance.name, instance.policy, vec![place], false));
            }
        }
        domains
    }

    /// Whether what the instance at `place` tracks may move its priority. In a sync group, whose instances move
    /// together, a line with a weight is as if it were not there unless `sync_group_tracking_weight` is written: as
    /// keepalived has it, and says (measured with 2.2.7: "ignoring tracked script … with weights due to SYNC group").
    pub fn weights_count(&self, place: usize) -> bool {
        let group = self.sync_groups.iter().find(|group| group.instances.contains(&place));
        group.is_none_or(|group| group.tracking_weight)
    }
}
