//! What the kernel counts of virtual and real servers: their connections, and what has passed since they are in its table.
//!
//! The look at the table that is made anyway ([`super::serve`]) finds it, and it is kept until the next one: whoever asks
//! has the kernel asked for nothing, and waits for nobody. It is as old as the last look.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipvs_rs::{DestinationEntry, ServiceEntry, ServiceId, Stats};
use keepone_config::Config;
use keepone_proto::balance::standing::ServiceStanding;
use keepone_proto::time::Instant;

use super::wanted::{Ids, endpoint};
use crate::checkers::settings::{real_name, service_name};

/// What has passed since the kernel has the entry, and what passes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traffic {
    /// Connections scheduled.
    pub(crate) connections: u64,
    pub(crate) in_packets: u64,
    /// Towards clients, as what follows: only masquerading sees them.
    pub(crate) out_packets: u64,
    pub(crate) in_octets: u64,
    pub(crate) out_octets: u64,
    /// Connections, packets in and out, octets in and out in a second, by the kernel's estimate; what is more than 32 bits
    /// is the most.
    pub(crate) rates: [u32; 5],
}

/// What it counts of a real server, in all services that its virtual server is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RealCounts {
    /// Connections that are established.
    pub(crate) active: u32,
    /// Others that are still remembered: closing, or without a handshake.
    pub(crate) inactive: u32,
    /// Clients that persistence keeps there.
    pub(crate) kept: u32,
    pub(crate) traffic: Traffic,
}

/// Of a virtual server and its real servers, by their places; `None`: not in the kernel's table, or not looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) traffic: Option<Traffic>,
    /// As many as it has real servers.
    pub(crate) servers: Vec<Option<RealCounts>>,
}

/// Of one service, as the kernel shows it.
#[derive(Debug)]
struct OfService {
    traffic: Traffic,
    /// By address.
    destinations: Box<[(SocketAddr, RealCounts)]>,
}

/// What one look has found.
#[derive(Debug, Default)]
pub(super) struct Found(BTreeMap<ServiceId, OfService>);

/// What is known: by whose configuration, and of when.
#[derive(Debug, Clone, Default)]
struct Known {
    config: Option<Arc<Config>>,
    ids: Ids,
    found: Arc<Found>,
    at: Option<Instant>,
}

/// What the last look has found, for whoever asks; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Known>>);

impl Board {
    /// Another configuration goes by the kernel's table from now on: what is known of it stays.
    pub(super) fn configure(&self, config: &Arc<Config>, ids: &Ids) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (known.config, known.ids) = (Some(Arc::clone(config)), Arc::clone(ids));
    }

    /// What a look has found at a time.
    pub(super) fn put(&self, found: Found, at: Instant) {
        let found = Arc::new(found);
        let former = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.at = Some(at);
            std::mem::replace(&mut known.found, found)
        };
        // A large one takes its time to go, which nobody is to wait for.
        drop(former);
    }

    /// The table can't be read: what was known of it is not true any more.
    pub(super) fn forget(&self) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (known.found, known.at) = (Arc::default(), None);
    }

    /// When the table was looked at; `None`: not yet.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).at
    }

    /// What is known of virtual servers, which are all of a configuration in its order. Of one that is another in the
    /// configuration that the table is made by, which happens beside a reload, nothing.
    pub(crate) fn of(&self, services: &[ServiceStanding]) -> Vec<Counts> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let unknown = |service: &ServiceStanding| Counts { traffic: None, servers: vec![None; service.servers.len()] };
        let each = services.iter().enumerate();
        each.map(|(place, service)| known.of(place, service).unwrap_or_else(|| unknown(service))).collect()
    }
}

impl Known {
    fn of(&self, place: usize, service: &ServiceStanding) -> Option<Counts> {
        let config = self.config.as_ref()?;
        let server = config.virtual_servers.get(place)?;
        let is_same = service_name(config, server) == service.name
            && server.real_servers.len() == service.servers.len()
            && server
                .real_servers
                .iter()
                .zip(&service.servers)
                .all(|(real, standing)| real_name(server.protocol, real) == standing.name);
        let ids = self.ids.get(place).filter(|_| is_same)?;
        let of_ids = || ids.iter().filter_map(|id| Some((*id, self.found.0.get(id)?)));
        let servers = server.real_servers.iter().map(|real| {
            let of_real = of_ids().filter_map(|(id, of)| of.at(endpoint(real.address, real.port, id)));
            of_real.reduce(RealCounts::and)
        });
        Some(Counts { servers: servers.collect(), traffic: of_ids().map(|(_, of)| of.traffic).reduce(Traffic::and) })
    }
}

impl Found {
    /// What the kernel shows of a service and its destinations.
    pub(super) fn insert(&mut self, service: &ServiceEntry, destinations: &[DestinationEntry]) {
        let mut destinations: Box<[_]> =
            destinations.iter().map(|entry| (entry.destination.address, RealCounts::of(entry))).collect();
        destinations.sort_unstable_by_key(|(address, _)| *address);
        let of = OfService { traffic: Traffic::of(&service.stats), destinations };
        self.0.insert(service.service.id, of);
    }
}

impl OfService {
    fn at(&self, address: SocketAddr) -> Option<RealCounts> {
        let place = self.destinations.binary_search_by_key(&address, |(known, _)| *known).ok()?;
        self.destinations.get(place).map(|(_, counts)| *counts)
    }
}

impl RealCounts {
    fn of(entry: &DestinationEntry) -> Self {
        RealCounts {
            active: entry.active,
            inactive: entry.inactive,
            kept: entry.persistent,
            traffic: Traffic::of(&entry.stats),
        }
    }

    fn and(self, other: Self) -> Self {
        RealCounts {
            active: self.active.saturating_add(other.active),
            inactive: self.inactive.saturating_add(other.inactive),
            kept: self.kept.saturating_add(other.kept),
            traffic: self.traffic.and(other.traffic),
        }
    }
}

impl Traffic {
    fn of(stats: &Stats) -> Self {
        let rates = [
            stats.connection_rate,
            stats.in_packet_rate,
            stats.out_packet_rate,
            stats.in_octet_rate,
            stats.out_octet_rate,
        ];
        Traffic {
            connections: stats.connections,
            in_packets: stats.in_packets,
            out_packets: stats.out_packets,
            in_octets: stats.in_octets,
            out_octets: stats.out_octets,
            rates: rates.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX)),
        }
    }

    fn and(self, other: Self) -> Self {
        let mut rates = self.rates;
        rates.iter_mut().zip(other.rates).for_each(|(rate, other)| *rate = rate.saturating_add(other));
        // As the kernel does, which begins anew at 2^64.
        Traffic {
            connections: self.connections.wrapping_add(other.connections),
            in_packets: self.in_packets.wrapping_add(other.in_packets),
            out_packets: self.out_packets.wrapping_add(other.out_packets),
            in_octets: self.in_octets.wrapping_add(other.in_octets),
            out_octets: self.out_octets.wrapping_add(other.out_octets),
            rates,
        }
    }
}

#[cfg(test)]
mod tests;
