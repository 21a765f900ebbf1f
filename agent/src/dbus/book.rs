//! The instances: where each is on the bus, and what has been told of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use keepone_proto::id::DomainId;
use keepone_proto::settings::DomainSettings;

use crate::assemble::Plan;
use crate::net::vrrp::Family;

/// Above all instances.
const ROOT: &str = "/org/keepalived/Vrrp1/Instance";
/// `VrrpStatusChange` of one that ends, as keepalived 2.2.7 sends it.
const STOPPED: u32 = 98;

/// One of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) path: String,
}

/// All of a plan.
pub(super) fn instances(plan: &Plan) -> Vec<Instance> {
    let of = |domain: &DomainSettings| domain.instances.clone();
    let instance = |id: keepone_proto::id::InstanceId| {
        let place = usize::from(id.0);
        let (settings, transport) = (plan.settings.instances.get(place)?, plan.transports.get(place)?.as_ref()?);
        let interface = plan.settings.interfaces.get(usize::from(settings.interface.0))?;
        let path = path(&interface.name, settings.vrid.get(), transport.family);
        Some(Instance { name: settings.name.clone(), path })
    };
    plan.settings.domains.iter().flat_map(of).filter_map(instance).collect()
}

/// All of a plan, those of the domains that are held as MASTER.
pub(super) fn begun(plan: &Plan, held: &[DomainId]) -> Book {
    let mut book = Book::of(instances(plan));
    let domains = plan.settings.domains.iter().filter(|domain| held.contains(&domain.id));
    let places = domains.flat_map(|domain| domain.instances.iter().map(|id| usize::from(id.0)));
    let names = places.filter_map(|place| plan.settings.instances.get(place));
    names.for_each(|instance| book.note(&instance.name, "MASTER"));
    book
}

/// Where an instance is: `/org/keepalived/Vrrp1/Instance/INTERFACE/VRID/IPv4`, or `IPv6`. D-Bus has paths of letters,
/// digits and `_` alone (D-Bus specification, "Valid Object Paths"): whatever else an interface's name has is `_` in it.
fn path(interface: &str, vrid: u8, family: Family) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let interface: String = interface.chars().map(plain).collect();
    let family = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    format!("{ROOT}/{interface}/{vrid}/{family}")
}

/// keepalived's number for a state.
fn number(state: &str) -> Option<u32> {
    match state {
        "BACKUP" => Some(1),
        "MASTER" => Some(2),
        "FAULT" => Some(3),
        "STOP" | "DELETED" => Some(STOPPED),
        _ => None,
    }
}

/// How keepalived calls it, in the property.
pub(super) fn word(state: u32) -> &'static str {
    match state {
        0 => "Init",
        1 => "Backup",
        2 => "Master",
        3 => "Fault",
        _ => "Stopped",
    }
}

/// One that is known.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) path: String,
    /// What the property says.
    pub(super) state: Arc<AtomicU32>,
    /// What this bus was told.
    told: u32,
    /// The configuration has it.
    is_there: bool,
}

/// All of them, by name.
#[derive(Debug, Default)]
pub(super) struct Book(BTreeMap<String, Known>);

impl Book {
    pub(super) fn of(instances: Vec<Instance>) -> Self {
        let mut book = Book::default();
        book.set(instances);
        book
    }

    /// These are the instances now: the paths that are there no more. One that has gone is kept for its last word.
    pub(super) fn set(&mut self, instances: Vec<Instance>) -> Vec<String> {
        let mut gone: Vec<String> = self.paths();
        self.0.values_mut().for_each(|known| known.is_there = false);
        for Instance { name, path } in instances {
            gone.retain(|former| *former != path);
            let fresh = || Known { path: path.clone(), state: Arc::default(), told: 0, is_there: true };
            let known = self.0.entry(name).or_insert_with(fresh);
            (known.path, known.is_there) = (path.clone(), true);
        }
        gone
    }

    /// Those that the configuration has.
    pub(super) fn there(&self) -> impl Iterator<Item = (&String, &Known)> {
        self.0.iter().filter(|(_, known)| known.is_there)
    }

    fn paths(&self) -> Vec<String> {
        self.there().map(|(_, known)| known.path.clone()).collect()
    }

    /// Another state, for those who read it.
    pub(super) fn note(&mut self, name: &str, state: &str) {
        if let Some((known, state)) = self.0.get(name).zip(number(state)) {
            known.state.store(state, Ordering::Relaxed);
        }
    }

    /// What is to be told of one, with its path; it counts as told from now on.
    pub(super) fn owed(&mut self, name: &str) -> Option<(String, u32)> {
        let known = self.0.get_mut(name)?;
        let state = known.state.load(Ordering::Relaxed);
        let owed = (known.told != state).then(|| (known.path.clone(), state));
        known.told = state;
        owed
    }

    /// There is another bus, whose clients know of nothing.
    pub(super) fn begin(&mut self) {
        self.0.values_mut().for_each(|known| known.told = 0);
    }

    /// The names of all.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(name: &str, interface: &str) -> Instance {
        Instance { name: name.to_owned(), path: path(interface, 51, Family::V4) }
    }

    #[test]
    fn an_instance_is_where_keepalived_has_it_and_a_dot_is_none_of_a_path() {
        assert_eq!(path("eth0", 51, Family::V4), "/org/keepalived/Vrrp1/Instance/eth0/51/IPv4");
        assert_eq!(path("eth0.5-a", 7, Family::V6), "/org/keepalived/Vrrp1/Instance/eth0_5_a/7/IPv6");
    }

    #[test]
    fn each_change_is_owed_once_and_again_to_another_bus() {
        let mut book = Book::of(vec![instance("A", "eth0")]);
        assert_eq!(book.owed("A"), None, "it has not begun");
        book.note("A", "BACKUP");
        let backup = Some((path("eth0", 51, Family::V4), 1));
        assert_eq!(book.owed("A"), backup);
        assert_eq!(book.owed("A"), None);
        book.begin();
        assert_eq!(book.owed("A"), backup);
        book.note("A", "MASTER_PRIORITY");
        book.note("B", "MASTER");
        assert_eq!((book.owed("A"), book.owed("B")), (None, None));
    }

    #[test]
    fn an_instance_that_a_reload_has_removed_still_has_its_last_word() {
        let mut book = Book::of(vec![instance("A", "eth0"), instance("B", "eth1")]);
        book.note("A", "MASTER");
        assert!(book.owed("A").is_some());
        assert_eq!(book.set(vec![instance("B", "eth1")]), [path("eth0", 51, Family::V4)]);
        assert_eq!(book.there().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["B"]);
        book.note("A", "DELETED");
        assert_eq!(book.owed("A"), Some((path("eth0", 51, Family::V4), 98)));
    }
}
