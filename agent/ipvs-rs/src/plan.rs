//! What turns one table into another.
//!
//! What must stay true, since connections hang on it: a service or destination that is in both tables is never deleted,
//! only edited in place; and a service is never without a destination on the way unless it is to be so.

use std::net::SocketAddr;

use crate::destination::Destination;
use crate::service::{Service, ServiceId};
use crate::table::Table;

/// One change of a table: one request to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// One that is not there yet.
    AddService(Service),
    /// Scheduler, flags and persistence of one that is there.
    EditService(Service),
    /// With its destinations.
    DeleteService(ServiceId),
    /// One that the service has not yet.
    AddDestination(ServiceId, Destination),
    /// Weight, thresholds and forwarding of one that it has.
    EditDestination(ServiceId, Destination),
    /// It takes no new connections; what becomes of the others is the matter of `expire_nodest_conn`.
    DeleteDestination(ServiceId, SocketAddr),
}

/// The fewest changes that make `kernel` equal to `wanted`.
///
/// Order: within a service, what is new, then what changes, then what goes; all services that go come last. Whoever
/// does not own the whole table leaves out of `kernel` what is not theirs ([`Table::retain`]).
pub fn plan(wanted: &Table, kernel: &Table) -> Vec<Change> {
    let mut changes = Vec::new();
    for entry in wanted.entries() {
        let id = entry.service.id;
        let known = kernel.get(id);
        match known {
            None => changes.push(Change::AddService(entry.service.clone())),
            Some(known) if known.service != entry.service => changes.push(Change::EditService(entry.service.clone())),
            Some(_) => {}
        }
        let there = |address: &SocketAddr| known.and_then(|known| known.destinations.get(address));
        let new = entry.destinations.values().filter(|wanted| there(&wanted.address).is_none());
        changes.extend(new.map(|destination| Change::AddDestination(id, destination.clone())));
        let other = entry.destinations.values().filter(|wanted| there(&wanted.address).is_some_and(|is| is != *wanted));
        changes.extend(other.map(|destination| Change::EditDestination(id, destination.clone())));
        let addresses = known.into_iter().flat_map(|known| known.destinations.keys());
        let gone = addresses.filter(|address| !entry.destinations.contains_key(*address));
        changes.extend(gone.map(|address| Change::DeleteDestination(id, *address)));
    }
    let gone = kernel.ids().filter(|id| wanted.get(*id).is_none());
    changes.extend(gone.map(Change::DeleteService));
    changes
}

#[cfg(test)]
mod tests;
