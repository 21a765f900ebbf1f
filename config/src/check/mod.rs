//! From what was said to what it means: defaults, names, and everything that does not fit.
//!
//! What must stay true: a configuration that could not keep the promise it makes is refused here, with the
//! numbers and the remedy, before the agent touches anything.

mod announce;
mod arbiter;
mod balance;
mod checker;
mod cluster;
mod domains;
mod etcd;
mod fencing;
mod instance;
mod links;
mod mail;
mod options;
mod policy;
mod references;
mod service;
mod strict;
mod tied;
mod track;
mod traps;
mod web;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use keepone_proto::id::NodeId;
use keepone_proto::settings::{HeartbeatSettings, Policy};

use crate::diagnostic::Report;
use crate::keyword::nearest;
use crate::model::{Config, GateMeans, Global, Inactive, Notify};
use crate::raw::{RawConfig, RawGroup, RawNotify};
use crate::source::At;

use tied::{ServerNames, is_any_tied};

/// Makes the model; `None`, and at least one error in the report, if there is none.
pub(crate) fn check(report: &mut Report, raw: &RawConfig, inactive: Vec<Inactive>) -> Option<Config> {
    let mut check = Check { report, raw, places: places(raw), groups_of: groups_of(raw) };
    let heartbeat = check.heartbeat();
    let names = check.names();
    let cluster = check.cluster(&names);
    let links = check.links(&names);
    let arbiter = check.arbiter(&names, &heartbeat);
    let etcd = check.etcd();
    let references = check.references();
    let (trackers, mut tracker_names) = check.trackers();
    let server_groups = check.server_groups();
    let mut virtual_servers = check.virtual_servers(&tracker_names);
    // Where nobody asks for them, ten thousand names are not made.
    if is_any_tied(raw) {
        tracker_names.virtual_servers = ServerNames::of(&virtual_servers, &server_groups);
    }
    let instances = check.instances(&tracker_names);
    let sync_groups = check.sync_groups(&tracker_names);
    check.domains();
    check.shared_routers();
    check.policies(arbiter.as_ref());
    check.mirrors();
    let fencing = check.fencing(arbiter.as_ref());
    let mut global = check.global();
    check.services(&mut global);
    check.mail(&mut global.mail);
    global.webhooks = check.webhooks();
    let web = check.web();
    check.virtual_macs();
    global.vrrp.link_delays = check.link_delays(instances.as_deref().unwrap_or(&[]));
    let statics = check.statics();
    check.traps(arbiter.as_ref(), instances.as_deref().unwrap_or(&[]));
    let watching = instances.iter().flatten().map(|instance| &instance.options.trackers);
    let watching = watching.chain(sync_groups.iter().flatten().map(|group| &group.trackers));
    Check::never_suspended(&mut virtual_servers, watching);
    if check.report.has_errors() {
        return None;
    }
    Some(Config {
        global,
        cluster,
        heartbeat,
        links: links?,
        authority: arbiter?,
        policy: raw.arbiter.as_ref().map_or(Policy::Strict, |arbiter| or(&arbiter.policy, Policy::Strict)),
        claim_without_gate: raw.arbiter.as_ref().is_some_and(|arbiter| arbiter.claim_without_gate),
        etcd,
        gate: raw.gate.as_ref().map_or(GateMeans::Auto, |gate| gate.value),
        grace: or(&raw.grace, Duration::from_secs(1)),
        fencing,
        web,
        references,
        instances: instances?,
        sync_groups: sync_groups?,
        trackers,
        statics,
        server_groups,
        virtual_servers,
        inactive,
    })
}

/// Members by name; an id that could not be read is `None`.
type Names = BTreeMap<String, Option<NodeId>>;

struct Check<'a> {
    report: &'a mut Report,
    raw: &'a RawConfig,
    /// Places of the instances, by name.
    places: BTreeMap<&'a str, usize>,
    /// The sync groups that name an instance as a member.
    groups_of: BTreeMap<&'a str, Vec<&'a RawGroup>>,
}

fn places(raw: &RawConfig) -> BTreeMap<&str, usize> {
    let mut places = BTreeMap::new();
    for (place, instance) in raw.instances.iter().enumerate() {
        places.entry(instance.name.value.as_str()).or_insert(place);
    }
    places
}

fn groups_of(raw: &RawConfig) -> BTreeMap<&str, Vec<&RawGroup>> {
    let mut groups = BTreeMap::<&str, Vec<&RawGroup>>::new();
    for group in &raw.groups {
        for member in &group.members {
            let of = groups.entry(member.value.as_str()).or_default();
            if of.last().is_none_or(|last| !std::ptr::eq(*last, group)) {
                of.push(group);
            }
        }
    }
    groups
}

/// keepalived's name on D-Bus.
const DBUS_NAME: &str = "org.keepalived.Vrrp1";
/// So many complaints bear a guess at what was meant; to look for more would take as long as there are mistakes.
const GUESSES: usize = 100;

impl Check<'_> {
    /// What was meant, perhaps.
    fn guess<'n>(&self, name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
        if self.report.diagnostics.len() < GUESSES { nearest(name, names) } else { None }
    }

    fn heartbeat(&mut self) -> HeartbeatSettings {
        HeartbeatSettings {
            period: or(&self.raw.heartbeat_period, Duration::from_millis(100)),
            misses: or(&self.raw.heartbeat_misses, 3),
        }
    }

    fn global(&self) -> Global {
        let global = &self.raw.global;
        Global {
            router_id: value(&global.router_id),
            vrrp_mcast_group4: or(&global.mcast_group4, Ipv4Addr::new(224, 0, 0, 18)),
            vrrp_mcast_group6: or(&global.mcast_group6, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12)),
            announce: announce::of_all(global),
            script_user: value(&global.script_user),
            script_timeout: or(&global.script_timeout, Duration::from_secs(60)),
            alert_script: global.alert_script.clone(),
            event_fifo: value(&global.event_fifo),
            scripts: global.scripts.clone(),
            mail: global.mail.clone(),
            webhooks: Vec::new(),
            fifos: global.fifos.clone(),
            vrrp: global.vrrp.clone(),
            ipvs: global.ipvs.clone(),
            scheduling: global.scheduling.clone(),
            dbus: global.dbus.then(|| value(&global.dbus_name).unwrap_or_else(|| DBUS_NAME.to_owned())),
            snmp: global.snmp.clone(),
            reload_check_log: global.reload_check_log.clone(),
        }
    }

    /// The id of a member that is named somewhere; a complaint if there is no such member.
    fn member(&mut self, names: &Names, name: &At<String>) -> Option<NodeId> {
        match names.get(&name.value) {
            Some(id) => *id,
            None => {
                let help = match self.guess(&name.value, names.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("add a member of this name; there are {}", list(names.keys().map(String::as_str))),
                };
                self.report.error(&name.place, format!("no member is named `{}`", name.value), help);
                None
            }
        }
    }

    /// Complains about the second of two equal things.
    fn duplicate<K: Ord>(&mut self, seen: &mut BTreeMap<K, crate::source::Place>, key: K, new: Duplicate<'_>) -> bool {
        if let Some(first) = seen.get(&key) {
            let first = self.report.describe(first);
            self.report.error(new.place, format!("{}; the first is at {first}", new.what), new.help);
            return true;
        }
        seen.insert(key, new.place.clone());
        false
    }
}

/// The second of two things that may not be equal.
struct Duplicate<'a> {
    place: &'a crate::source::Place,
    what: String,
    help: &'a str,
}

fn or<T: Clone>(at: &Option<At<T>>, default: T) -> T {
    at.as_ref().map_or(default, |at| at.value.clone())
}

fn value<T: Clone>(at: &Option<At<T>>) -> Option<T> {
    at.as_ref().map(|at| at.value.clone())
}

/// Names for a remedy; of many the first.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let mut names = names.peekable();
    let shown: Vec<&str> = names.by_ref().take(SHOWN).collect();
    match (shown.is_empty(), names.count()) {
        (true, _) => String::from("none"),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

fn notify(raw: &RawNotify) -> Notify {
    Notify {
        any: raw.any.clone(),
        master: raw.master.clone(),
        backup: raw.backup.clone(),
        fault: raw.fault.clone(),
        stop: raw.stop.clone(),
    }
}

#[cfg(test)]
mod tests;
