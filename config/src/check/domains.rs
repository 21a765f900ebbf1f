//! Sync groups, and what moves together.

use std::collections::BTreeMap;

use keepone_proto::id::hash_name;

use crate::model::{SyncGroup, Trackers};
use crate::raw::RawGroup;
use crate::source::{At, Place};

use super::track::TrackerNames;
use super::{Check, Duplicate, list, notify, or, value};

/// The kernel's gate has room for as many (`agent/src/gate`).
const MAX_DOMAINS: usize = 4096;

/// So many shared numbers are named.
const NAMED: usize = 3;

impl Check<'_> {
    pub(super) fn sync_groups(&mut self, trackers: &TrackerNames<'_>) -> Option<Vec<SyncGroup>> {
        let raw = self.raw;
        let mut groups = Vec::new();
        let (mut by_name, mut by_member) = (BTreeMap::new(), BTreeMap::new());
        for group in &raw.groups {
            let name = &group.name.value;
            let what = format!("a second sync group named `{name}`");
            let new = Duplicate { place: &group.name.place, what, help: "give each group a name of its own" };
            self.duplicate(&mut by_name, name.clone(), new);
            let mut instances = Vec::new();
            for member in &group.members {
                let what = format!("`{}` is in a sync group already", member.value);
                let help = "an instance moves with one group: remove it from the other";
                self.duplicate(&mut by_member, member.value.clone(), Duplicate { place: &member.place, what, help });
                instances.extend(self.instance_named(member));
            }
            if group.members.is_empty() {
                let message = format!("sync group `{name}` has no instances");
                self.report.error(&group.name.place, message, "list them: `group { VI_1 VI_2 }`");
            }
            instances.sort_unstable();
            let trackers = self.tracked(&group.trackers, trackers);
            self.group_weights(group, &instances, &trackers);
            let global = &raw.global;
            groups.push(SyncGroup {
                trackers,
                tracking_weight: or(&group.tracking_weight, false),
                smtp_alert: group.smtp_alert.or(global.smtp_alert_vrrp).or(global.smtp_alert).unwrap_or(false),
                notify_priority_changes: group
                    .notify_priority_changes
                    .or(global.defaults.notify_priority_changes)
                    .unwrap_or(false),
                name: name.clone(),
                instances,
                policy: value(&group.policy),
                notify: notify(&group.notify),
            });
        }
        Some(groups)
    }

    pub(super) fn instance_named(&mut self, name: &At<String>) -> Option<usize> {
        let raw = self.raw;
        let names = || raw.instances.iter().map(|instance| instance.name.value.as_str());
        let found = self.places.get(name.value.as_str()).copied();
        if found.is_none() {
            let help = match self.guess(&name.value, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("add a vrrp_instance of this name; there are {}", list(names())),
            };
            self.report.error(&name.place, format!("no vrrp_instance is named `{}`", name.value), help);
        }
        found
    }

    /// What moves together has one priority to move by, unless the operator insists: a line with a weight is as if it
    /// were not there ([`crate::model::Config::weights_count`]), and is told of.
    fn group_weights(&mut self, group: &RawGroup, instances: &[usize], trackers: &Trackers) {
        if or(&group.tracking_weight, false) {
            return;
        }
        let raw = self.raw;
        let weighs = |list: &&Vec<crate::model::Tracked>| list.iter().any(|tracked| tracked.weight.value != 0);
        let (servers, all) = (&trackers.virtual_servers, trackers);
        let own = [&all.scripts, &all.files, &all.processes, &all.bfd, servers].iter().any(weighs);
        let lines = |track: &&crate::raw::RawTrack| track.weight != 0;
        let members = instances.iter().filter_map(|at| raw.instances.get(*at));
        let mut of_members = members.filter_map(|instance| {
            let interface = instance.track.iter().find(lines).map(|track| &track.interface.place);
            interface.or_else(|| super::track::first_weighted(&raw.trackers, &instance.options.trackers))
        });
        let place = if own || group.track.iter().any(|track| lines(&track)) {
            Some(&group.name.place)
        } else {
            of_members.next()
        };
        if let Some(place) = place {
            let message =
                format!("weights do not count within sync group `{}`: what has one is not tracked", group.name.value);
            let help =
                "write weight 0, which makes a failure a FAULT of the group, or add `sync_group_tracking_weight`";
            self.report.warning(place, message, help);
        }
    }

    /// A domain is a sync group, or an instance that is in none.
    pub(super) fn domains(&mut self) {
        let raw = self.raw;
        let grouped = |name: &str| self.groups_of.contains_key(name);
        let groups = raw.groups.iter().map(|group| &group.name);
        let lone = raw.instances.iter().map(|instance| &instance.name).filter(|name| !grouped(&name.value));
        let domains: Vec<&At<String>> = groups.chain(lone).collect();
        if let Some(first) = domains.get(MAX_DOMAINS) {
            let message = format!(
                "{} domains (sync groups, and instances that are in none), where the gate has room for {MAX_DOMAINS}",
                domains.len()
            );
            let help = "put instances that move together into sync groups";
            self.report.error(&first.place, message, help);
        }
        for (second, first) in clashes(&domains, hash_name) {
            let message = if first.value == second.value {
                format!("a sync group and an instance outside it are both named `{}`", second.value)
            } else {
                format!("`{}` and `{}` have the same 64-bit hash, by which nodes name them", first.value, second.value)
            };
            self.clash(&second.place, message, &first.place);
        }
    }

    /// The gate knows the Advertisements of a virtual router by its number and family, wherever they leave: those of a
    /// number that two domains have, each on a network of its own, it can't tell apart, and leaves alone.
    pub(super) fn shared_routers(&mut self) {
        let raw = self.raw;
        let (mut first, mut shared) = (BTreeMap::<(bool, u8), &str>::new(), BTreeMap::new());
        for instance in &raw.instances {
            let Some(vrid) = &instance.vrid else { continue };
            let name = instance.name.value.as_str();
            let group = self.groups_of.get(name).and_then(|groups| groups.first());
            let domain = group.map_or(name, |group| group.name.value.as_str());
            let key = (self.is_ipv6(instance), vrid.value.get());
            if *first.entry(key).or_insert(domain) != domain {
                shared.entry(key).or_insert(&vrid.place);
            }
        }
        // One for all of them: who numbers the routers of each network from 1 has hundreds.
        let Some(place) = shared.values().next() else { return };
        let named = |((ipv6, vrid), _): (&(bool, u8), _)| format!("{vrid} (IPv{})", if *ipv6 { 6 } else { 4 });
        let mut words: Vec<String> = shared.iter().take(NAMED).map(named).collect();
        words.extend((shared.len() > NAMED).then(|| format!("{} more", shared.len() - NAMED)));
        let message = format!(
            "two domains have virtual_router_id {}: the kernel's gate can't tell their Advertisements apart and leaves \
             them to the agent alone; it gates their addresses all the same",
            words.join(", ")
        );
        let help = "give each virtual router of the node a number of its own, or put them into one sync group";
        self.report.warning(place, message, help);
    }

    fn clash(&mut self, place: &Place, message: String, first: &Place) {
        let first = self.report.describe(first);
        self.report.error(place, format!("{message}; the other is at {first}"), "rename one of them, on every node");
    }
}

/// Pairs with one hash: the later one and the first. Two instances of one name are said elsewhere.
fn clashes<'a>(names: &[&'a At<String>], hash: impl Fn(&str) -> u64) -> Vec<(&'a At<String>, &'a At<String>)> {
    let mut seen: BTreeMap<u64, &At<String>> = BTreeMap::new();
    let mut found = Vec::new();
    for name in names {
        match seen.get(&hash(&name.value)) {
            Some(first) => found.push((*name, *first)),
            None => {
                seen.insert(hash(&name.value), name);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_with_one_hash_are_found() {
        let at = |name: &str| At::new(name.to_owned(), Place::Variable("X".into()));
        let (a, b, c) = (at("aa"), at("b"), at("cc"));
        let clashes = clashes(&[&a, &b, &c], |name| name.len() as u64);
        assert_eq!(clashes.len(), 1);
        assert_eq!((clashes[0].0.value.as_str(), clashes[0].1.value.as_str()), ("cc", "aa"));
    }
}
