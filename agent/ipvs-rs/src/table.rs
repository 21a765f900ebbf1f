//! A whole table: services with their destinations.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::destination::Destination;
use crate::plan::Change;
use crate::service::{Service, ServiceId};

/// A service and its destinations, each by what tells it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The service.
    pub service: Service,
    /// Its real servers.
    pub destinations: BTreeMap<SocketAddr, Destination>,
}

impl Entry {
    /// Of a service and its destinations: of two with one address, the last.
    pub fn new(service: Service, destinations: impl IntoIterator<Item = Destination>) -> Self {
        let destinations = destinations.into_iter().map(|destination| (destination.address, destination)).collect();
        Entry { service, destinations }
    }
}

/// Services by what tells them from others, which each service repeats.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table(BTreeMap<ServiceId, Entry>);

impl Table {
    /// Puts an entry in; the one that was there under its id.
    pub fn insert(&mut self, entry: Entry) -> Option<Entry> {
        self.0.insert(entry.service.id, entry)
    }

    /// The entry of a service.
    pub fn get(&self, id: ServiceId) -> Option<&Entry> {
        self.0.get(&id)
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }

    /// What tells their services from others.
    pub fn ids(&self) -> impl Iterator<Item = ServiceId> {
        self.0.keys().copied()
    }

    /// Whether it has no service.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps only the services for which `keep` says so: others' are no business of a plan.
    pub fn retain(&mut self, mut keep: impl FnMut(ServiceId) -> bool) {
        self.0.retain(|id, _| keep(*id));
    }

    /// Does what the kernel would; whether it would not refuse.
    pub fn apply(&mut self, change: &Change) -> bool {
        match change {
            Change::AddService(service) => {
                let is_new = !self.0.contains_key(&service.id);
                if is_new {
                    self.insert(Entry::new(service.clone(), []));
                }
                is_new
            }
            Change::EditService(service) => {
                let entry = self.0.get_mut(&service.id);
                entry.map(|entry| entry.service = service.clone()).is_some()
            }
            Change::DeleteService(id) => self.0.remove(id).is_some(),
            Change::AddDestination(id, destination) => self.0.get_mut(id).is_some_and(|entry| {
                let is_new = !entry.destinations.contains_key(&destination.address);
                if is_new {
                    entry.destinations.insert(destination.address, destination.clone());
                }
                is_new
            }),
            Change::EditDestination(id, destination) => {
                let entry = self.0.get_mut(id);
                let known = entry.and_then(|entry| entry.destinations.get_mut(&destination.address));
                known.map(|known| *known = destination.clone()).is_some()
            }
            Change::DeleteDestination(id, address) => {
                self.0.get_mut(id).is_some_and(|entry| entry.destinations.remove(address).is_some())
            }
        }
    }
}

impl FromIterator<Entry> for Table {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Table(entries.into_iter().map(|entry| (entry.service.id, entry)).collect())
    }
}
