//! `track_virtual_server`: which virtual server a line names, and what is never suspended for that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::model::{ServerGroup, Service, Tracked, Trackers, VirtualServer, Weight};
use crate::raw::{RawConfig, RawTracked};
use crate::source::At;

use super::{Check, list};

/// Whether any line names a virtual server.
pub(super) fn is_any_tied(raw: &RawConfig) -> bool {
    let groups = raw.groups.iter().map(|group| &group.trackers);
    let mut trackers = raw.instances.iter().map(|instance| &instance.options.trackers).chain(groups);
    trackers.any(|trackers| !trackers.virtual_servers.is_empty())
}

/// What virtual servers may be called in a line of `track_virtual_server`. The same word may be for several: then it is
/// none's.
#[derive(Debug, Default)]
pub(super) struct ServerNames {
    /// Each has one that is nobody else's.
    own: Vec<String>,
    /// Those, and shorter ones.
    places: BTreeMap<String, Vec<usize>>,
    /// Those that have `ha_suspend`.
    suspended: BTreeSet<usize>,
}

impl ServerNames {
    /// Of all of them, in the order of the model.
    pub(super) fn of(servers: &[VirtualServer], groups: &[ServerGroup]) -> Self {
        let mut names = ServerNames::default();
        for (place, server) in servers.iter().enumerate() {
            let own = server.word(groups);
            for name in [Some(own.clone()), short(server, groups)].into_iter().flatten() {
                names.places.entry(name).or_default().push(place);
            }
            names.own.push(own);
            names.suspended.extend(server.ha_suspend.then_some(place));
        }
        names
    }

    fn owns(&self) -> impl Iterator<Item = &str> {
        self.own.iter().map(String::as_str)
    }
}

/// Without the protocol, or the family.
fn short(server: &VirtualServer, groups: &[ServerGroup]) -> Option<String> {
    Some(match &server.service {
        Service::Address { address, port } => SocketAddr::new(*address, *port).to_string(),
        Service::Mark { mark, .. } => format!("fwmark:{mark}"),
        Service::Group(place) => format!("group:{}", groups.get(*place)?.name),
    })
}

impl Check<'_> {
    /// The lines of an instance or a group.
    pub(super) fn tied(&mut self, raw: &[RawTracked], names: &ServerNames) -> Vec<Tracked> {
        let (mut found, mut seen) = (Vec::new(), BTreeMap::new());
        for tracked in raw {
            let Some(tracker) = self.server_named(&tracked.name, names) else { continue };
            if self.is_tracked_twice(&mut seen, tracker, tracked) {
                continue;
            }
            if names.suspended.contains(&tracker) {
                let message = format!("ha_suspend of `{}` does not count, since it is tracked", tracked.name.value);
                let help = "remove ha_suspend: while its checks were suspended, nobody would see it come back";
                self.report.warning(&tracked.name.place, message, help);
            }
            found.push(Tracked { tracker, weight: tracked.weight(Weight::default()) });
        }
        found
    }

    fn server_named(&mut self, name: &At<String>, names: &ServerNames) -> Option<usize> {
        let (message, help) = match names.places.get(&name.value).map(Vec::as_slice) {
            Some([place]) => return Some(*place),
            Some(places) => {
                let meant = places.iter().filter_map(|place| names.own.get(*place)).map(String::as_str);
                (format!("several virtual servers are `{}`", name.value), format!("write one of {}", list(meant)))
            }
            None => {
                let help = match self.guess(&name.value, names.places.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if names.own.is_empty() => {
                        String::from("add `virtual_server ADDRESS PORT { ... }`, and name it here as ADDRESS:PORT")
                    }
                    None => format!("write ADDRESS:PORT, fwmark:N or group:NAME; there are {}", list(names.owns())),
                };
                (format!("no virtual_server is `{}`", name.value), help)
            }
        };
        self.report.error(&name.place, message, help);
        None
    }

    /// One that is tracked is checked wherever its address is: suspended, it could never show that it is well again.
    pub(super) fn never_suspended<'t>(servers: &mut [VirtualServer], trackers: impl Iterator<Item = &'t Trackers>) {
        for tracked in trackers.flat_map(|all| &all.virtual_servers) {
            if let Some(server) = servers.get_mut(tracked.tracker) {
                server.ha_suspend = false;
            }
        }
    }
}
