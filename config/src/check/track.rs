//! Trackers: each has a name of its own, each that is named exists, and what they add up to.

use std::collections::BTreeMap;

use keepone_proto::id::Priority;
use keepone_proto::lease::timing::Millis;

use crate::diagnostic::Severity;
use crate::model::{Statics, Tracked, TrackerSources, Trackers, VirtualAddress, Weight};
use crate::raw::{RawInstance, RawSources, RawTracked, RawTrackers};
use crate::source::{At, Place};

use super::tied::ServerNames;
use super::{Check, Duplicate, list};

/// The places of the trackers in the model, by their names.
#[derive(Debug)]
pub(super) struct TrackerNames<'a> {
    pub scripts: BTreeMap<&'a str, usize>,
    pub files: BTreeMap<&'a str, usize>,
    pub processes: BTreeMap<&'a str, usize>,
    pub bfd: BTreeMap<&'a str, usize>,
    /// Known once the virtual servers are.
    pub virtual_servers: ServerNames,
}

/// The priority that a peer has which says nothing.
const DEFAULT_PRIORITY: i32 = 100;

impl<'a> Check<'a> {
    /// What can be watched, and its names.
    pub(super) fn trackers(&mut self) -> (TrackerSources, TrackerNames<'a>) {
        let raw = &self.raw.trackers;
        let scripts = raw.scripts.iter().map(|script| (script.tracker.name.as_str(), &script.name));
        let files = raw.files.iter().map(|at| (at.value.name.as_str(), &at.place));
        let processes = raw.processes.iter().map(|at| (at.value.name.as_str(), &at.place));
        let sessions = raw.bfd.iter().map(|at| (at.value.name.as_str(), &at.place));
        let names = TrackerNames {
            scripts: self.unique("vrrp_script", scripts),
            files: self.unique("track_file", files),
            processes: self.unique("vrrp_track_process", processes),
            bfd: self.unique("bfd_instance", sessions),
            virtual_servers: ServerNames::default(),
        };
        for script in &raw.scripts {
            let tracker = &script.tracker;
            if let Some(place) = script.timeout.as_ref().filter(|_| tracker.timeout > tracker.interval) {
                let message = format!(
                    "`{}`: a timeout of {} is longer than the interval of {}",
                    tracker.name,
                    Millis(tracker.timeout),
                    Millis(tracker.interval)
                );
                let help = "a run that hangs delays the next ones: write a timeout of at most the interval";
                self.report.warning(place, message, help);
            }
        }
        for at in &raw.bfd {
            let session = &at.value;
            if session.multihop && session.max_hops == Some(0) {
                let message =
                    format!("`{}`: multihop with max_hops 0, which takes nothing that crossed a router", session.name);
                let help = "add `max_hops N`, how many routers may be between; -1 for any number";
                self.report.warning(&at.place, message, help);
            }
        }
        let sources = TrackerSources {
            scripts: raw.scripts.iter().map(|script| script.tracker.clone()).collect(),
            files: raw.files.iter().map(|at| at.value.clone()).collect(),
            processes: raw.processes.iter().map(|at| at.value.clone()).collect(),
            bfd: raw.bfd.iter().map(|at| at.value.clone()).collect(),
        };
        (sources, names)
    }

    fn unique(&mut self, keyword: &str, all: impl Iterator<Item = (&'a str, &'a Place)>) -> BTreeMap<&'a str, usize> {
        let (mut names, mut places) = (BTreeMap::new(), BTreeMap::new());
        for (at, (name, place)) in all.enumerate() {
            let what = format!("a second {keyword} named `{name}`");
            self.duplicate(&mut places, name, Duplicate { place, what, help: "give each a name of its own" });
            names.entry(name).or_insert(at);
        }
        names
    }

    /// What an instance or a group watches.
    pub(super) fn tracked(&mut self, raw: &RawTrackers, names: &TrackerNames<'_>) -> Trackers {
        let sources = &self.raw.trackers;
        let script = |at: usize| sources.scripts.get(at).map(|script| script.tracker.weight);
        let file = |at: usize| sources.files.get(at).map(|at| at.value.weight);
        let process = |at: usize| sources.processes.get(at).map(|at| at.value.weight);
        let session = |at: usize| sources.bfd.get(at).map(|at| at.value.weight);
        Trackers {
            scripts: self.resolve("vrrp_script", &raw.scripts, &names.scripts, script),
            files: self.resolve("track_file", &raw.files, &names.files, file),
            processes: self.resolve("vrrp_track_process", &raw.processes, &names.processes, process),
            bfd: self.resolve("bfd_instance", &raw.bfd, &names.bfd, session),
            virtual_servers: self.tied(&raw.virtual_servers, &names.virtual_servers),
        }
    }

    fn resolve(
        &mut self,
        keyword: &str,
        raw: &[RawTracked],
        names: &BTreeMap<&str, usize>,
        own: impl Fn(usize) -> Option<Weight>,
    ) -> Vec<Tracked> {
        let (mut found, mut seen) = (Vec::new(), BTreeMap::new());
        for tracked in raw {
            let Some(tracker) = self.named(keyword, &tracked.name, names) else { continue };
            if self.is_tracked_twice(&mut seen, tracker, tracked) {
                continue;
            }
            let own = own(tracker).unwrap_or_default();
            let weight = tracked.weight(own);
            if weight.value == 0 && own.value != 0 && keyword != "track_file" {
                let message = format!("`weight 0` makes a failure of `{}` a FAULT here", tracked.name.value);
                let help = format!("leave the weight out to keep its own, {}", own.value);
                self.report.push(Severity::Note, &tracked.name.place, message, help);
            }
            found.push(Tracked { tracker, weight });
        }
        found
    }

    /// Whether a line before it names the same; a complaint then.
    pub(super) fn is_tracked_twice(
        &mut self,
        seen: &mut BTreeMap<usize, Place>,
        tracker: usize,
        tracked: &RawTracked,
    ) -> bool {
        let what = format!("`{}` is tracked twice", tracked.name.value);
        let new = Duplicate { place: &tracked.name.place, what, help: "remove one of the lines" };
        self.duplicate(seen, tracker, new)
    }

    /// The place of a tracker by its name; a complaint if nothing has it.
    pub(super) fn named(&mut self, keyword: &str, name: &At<String>, names: &BTreeMap<&str, usize>) -> Option<usize> {
        if let Some(at) = names.get(name.value.as_str()) {
            return Some(*at);
        }
        if !self.raw.trackers.unread.contains(&name.value) {
            let help = match self.guess(&name.value, names.keys().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => format!("add `{keyword} {} {{ ... }}`", name.value),
                None => format!("add a {keyword} of this name; there are {}", list(names.keys().copied())),
            };
            self.report.error(&name.place, format!("no {keyword} is named `{}`", name.value), help);
        }
        None
    }

    /// Traps of weights: what can't move the priority, or not far enough.
    pub(super) fn weights(&mut self, raw: &RawInstance, priority: Priority, trackers: &Trackers) {
        let name = &raw.name.value;
        let lines = &raw.options.trackers;
        let lists = [&lines.scripts, &lines.processes, &lines.bfd, &lines.virtual_servers];
        let tracked = [&trackers.scripts, &trackers.processes, &trackers.bfd, &trackers.virtual_servers];
        let interfaces = raw.track.iter().map(|track| i32::from(track.weight));
        let weights: Vec<i32> = tracked.into_iter().flatten().map(|t| t.weight.value).chain(interfaces).collect();
        let Some(first) = weights.iter().find(|weight| **weight != 0).and_then(|_| {
            let names = lists.into_iter().flatten().map(|tracked| &tracked.name.place);
            names.chain(raw.track.iter().map(|track| &track.interface.place)).next()
        }) else {
            return;
        };
        let base = i32::from(priority.0);
        if priority == Priority::OWNER {
            let message = format!("`{name}` has priority 255, which no weight moves");
            return self.report.warning(first, message, "lower the priority to 254 or less, or write weight 0");
        }
        let nopreempt = raw.nopreempt.as_ref().is_some_and(|flag| flag.value);
        if nopreempt {
            let message = format!("`{name}` has nopreempt, and weights: a lower priority does not move the address");
            let help = "write weight 0, which makes a failure a FAULT, or remove nopreempt";
            self.report.push(Severity::Note, first, message, String::from(help));
        }
        let up: i32 = weights.iter().filter(|weight| **weight > 0).sum();
        let down: i32 = weights.iter().filter(|weight| **weight < 0).sum();
        if base + up > 254 || base + down < 1 {
            let message = format!(
                "`{name}`: priority {base} and its weights reach from {} to {}, and are cut to 1 to 254",
                base + down,
                base + up
            );
            let help = "lower the weights: where two nodes are cut alike, their priorities no longer decide";
            self.report.warning(first, message, help);
        }
        let worst = base + down;
        if !nopreempt && up == 0 && base > DEFAULT_PRIORITY && worst >= DEFAULT_PRIORITY {
            let message = format!(
                "`{name}`: if everything fails, the priority falls from {base} to {worst}: a peer of {DEFAULT_PRIORITY}, \
                 the default, would not take over"
            );
            let help = format!("give the peers a priority above {worst}, or more weight to what is tracked here");
            self.report.push(Severity::Note, first, message, help);
        }
    }

    /// On the interface of whatever names none.
    fn on_an_interface(&self, address: VirtualAddress) -> VirtualAddress {
        let default = || self.raw.global.default_interface.as_ref().map(|at| at.value.clone());
        VirtualAddress { dev: address.dev.clone().or_else(default), ..address }
    }

    /// Static addresses, routes and rules.
    pub(super) fn statics(&mut self) -> Statics {
        let raw = &self.raw.statics;
        let mut seen = BTreeMap::new();
        let vips = self.raw.instances.iter().flat_map(|i| i.addresses.iter().chain(&i.excluded));
        for vip in vips {
            seen.entry(vip.value.address).or_insert(&vip.place);
        }
        for address in &raw.addresses {
            if let Some(first) = seen.insert(address.value.address, &address.place) {
                let message = format!("static address {} is there already", address.value.address);
                let first = self.report.describe(first);
                let help = "remove one: what is static can't move with a virtual router";
                self.report.error(&address.place, format!("{message}; the first is at {first}"), help);
            }
        }
        let groups: Vec<(String, Vec<usize>)> = raw
            .track_groups
            .iter()
            .map(|(name, members)| {
                (name.value.clone(), members.iter().filter_map(|member| self.instance_named(member)).collect())
            })
            .collect();
        let used = (raw.addresses.iter().map(|at| (&at.value.options.track_group, &at.place)))
            .chain(raw.routes.iter().map(|at| (&at.value.track_group, &at.place)))
            .chain(raw.rules.iter().map(|at| (&at.value.track_group, &at.place)));
        for (group, place) in used {
            let Some(group) = group else { continue };
            if !groups.iter().any(|(name, _)| name == group) {
                let message = format!("no track_group is named `{group}`");
                self.report.error(place, message, format!("add `track_group {group} {{ group {{ INSTANCE }} }}`"));
            }
        }
        Statics {
            addresses: raw.addresses.iter().map(|at| self.on_an_interface(at.value.clone())).collect(),
            routes: raw.routes.iter().map(|at| at.value.clone()).collect(),
            rules: raw.rules.iter().map(|at| at.value.clone()).collect(),
            track_groups: groups,
        }
    }
}

/// The first line that tracks with a weight, be it its own or that of what it names.
pub(super) fn first_weighted<'a>(sources: &RawSources, trackers: &'a RawTrackers) -> Option<&'a Place> {
    let scripts = sources.scripts.iter().map(|at| (at.tracker.name.as_str(), at.tracker.weight)).collect();
    let files = sources.files.iter().map(|at| (at.value.name.as_str(), at.value.weight)).collect();
    let processes = sources.processes.iter().map(|at| (at.value.name.as_str(), at.value.weight)).collect();
    let sessions = sources.bfd.iter().map(|at| (at.value.name.as_str(), at.value.weight)).collect();
    let first = |lines: &'a [RawTracked], own: BTreeMap<&str, Weight>| {
        let own = |name: &str| own.get(name).copied().unwrap_or_default();
        lines.iter().find(|line| line.weight(own(&line.name.value)).value != 0).map(|line| &line.name.place)
    };
    first(&trackers.scripts, scripts)
        .or_else(|| first(&trackers.files, files))
        .or_else(|| first(&trackers.processes, processes))
        .or_else(|| first(&trackers.bfd, sessions))
        .or_else(|| first(&trackers.virtual_servers, BTreeMap::new()))
}
