//! From the configuration, and what the checks say, to the table that the kernel is to have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipvs_rs::{
    Checksum, Destination, Encapsulation, Entry, Family, Forwarding, Granularity, Persistence, Protocol, Service,
    ServiceId, Table, Tunnel,
};
use keepone_config::Config;
use keepone_config::model::{self, GroupMember, VirtualServer};
use keepone_proto::balance::wanted::Wanted;

/// Of a sorry server that stands in.
const SORRY_WEIGHT: u32 = 1;

/// The kernel's services of each virtual server, in the order of the configuration.
pub(super) type Ids = Arc<[Box<[ServiceId]>]>;

/// What the checks have said of one virtual server; `None`: nothing yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Told(Option<Word>);

/// What they have said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    /// What the table gets of each real server, by its place; `None`: it is not to be in it.
    weights: Box<[Option<u32>]>,
    sorry: bool,
}

/// The virtual servers of a configuration, which is shared with whoever else goes by it, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct VirtualServers {
    config: Option<Arc<Config>>,
    ids: Ids,
    told: Vec<Told>,
    /// What stands in the way of some of them, in words.
    faults: Vec<String>,
}

impl VirtualServers {
    /// Another configuration: what was told stays true of a virtual server that is in both, except for the weight of a
    /// real server that is up and has another weight now.
    pub(super) fn configure(&mut self, config: &Arc<Config>) {
        let former = self.config.take();
        let servers = former.iter().flat_map(|former| &former.virtual_servers);
        let ids = std::mem::take(&mut self.ids);
        let mut known: BTreeMap<&[ServiceId], (&VirtualServer, Told)> =
            ids.iter().map(AsRef::as_ref).zip(servers.zip(self.told.drain(..))).collect();
        let mut taken = BTreeSet::new();
        self.faults.clear();
        let of_each = config.virtual_servers.iter().map(|server| {
            let mut ids = services(server, config);
            ids.retain(|id| {
                let is_new = taken.insert(*id);
                if !is_new {
                    self.faults.push(format!(
                        "{} is in two virtual servers, and the kernel has it once: the first counts, remove the other",
                        super::ledger::show(*id)
                    ));
                }
                is_new
            });
            let told = known.remove(ids.as_slice()).map(|(former, told)| carried(former, server, told));
            (ids.into_boxed_slice(), told.unwrap_or_default())
        });
        let (ids, told): (Vec<_>, Vec<_>) = of_each.unzip();
        (self.ids, self.told) = (ids.into(), told);
        self.config = Some(Arc::clone(config));
    }

    /// What the checks say now.
    pub(super) fn tell(&mut self, wanted: Wanted) {
        if let Some(place) = self.told.get_mut(wanted.virtual_server) {
            *place = Told(Some(Word { weights: wanted.servers.into(), sorry: wanted.sorry }));
        }
    }

    /// Whether the checks have said something of each.
    pub(super) fn are_all_told(&self) -> bool {
        self.told.iter().all(|told| told.0.is_some())
    }

    /// All of them, in the order of the configuration, each with its services in the kernel.
    pub(super) fn all(&self) -> impl Iterator<Item = (&VirtualServer, &[ServiceId])> {
        let servers = self.config.iter().flat_map(|config| &config.virtual_servers);
        servers.zip(self.ids.iter().map(AsRef::as_ref))
    }

    /// The kernel's services of each, for whoever reads what the kernel says of them.
    pub(super) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// What stands in the way of some of them.
    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// The table that the kernel is to have.
    pub(super) fn table(&self) -> Table {
        let entries = self.all().zip(&self.told).flat_map(|((server, ids), told)| {
            ids.iter().map(move |id| Entry::new(service(server, *id), destinations(server, told, *id)))
        });
        entries.collect()
    }
}

impl Told {
    /// What the table gets of the real server at a place: without a word of the checks what is configured.
    fn weight(&self, place: usize, configured: u32) -> Option<u32> {
        let said = self.0.as_ref().and_then(|word| word.weights.get(place));
        said.copied().unwrap_or(Some(configured))
    }

    fn sorry(&self) -> bool {
        self.0.as_ref().is_some_and(|word| word.sorry)
    }
}

/// What was told of a virtual server, by the places that its real servers have now.
fn carried(former: &VirtualServer, server: &VirtualServer, told: Told) -> Told {
    let Told(Some(word)) = told else { return told };
    let before: BTreeMap<(IpAddr, u16), (u32, Option<u32>)> = former
        .real_servers
        .iter()
        .zip(&word.weights)
        .map(|(real, weight)| ((real.address, real.port), (real.weight, *weight)))
        .collect();
    let weights = server.real_servers.iter().map(|real| match before.get(&(real.address, real.port)) {
        None => Some(real.weight),
        Some((configured, Some(weight))) if *weight != 0 && *configured != real.weight => Some(real.weight),
        Some((_, weight)) => *weight,
    });
    Told(Some(Word { weights: weights.collect(), ..word }))
}

/// The kernel's services of a virtual server: a group has one for each of its members.
fn services(server: &VirtualServer, config: &Config) -> Vec<ServiceId> {
    let protocol = match server.protocol {
        model::Protocol::Tcp => Protocol::Tcp,
        model::Protocol::Udp => Protocol::Udp,
        model::Protocol::Sctp => Protocol::Sctp,
    };
    let at = |address, port| ServiceId::Address { protocol, address: SocketAddr::new(address, port) };
    match &server.service {
        model::Service::Address { address, port } => vec![at(*address, *port)],
        model::Service::Mark { mark, ipv6 } => {
            let family = if *ipv6 { Family::Ipv6 } else { Family::Ipv4 };
            vec![ServiceId::Mark { mark: *mark, family }]
        }
        model::Service::Group(place) => {
            let members = config.server_groups.get(*place).map(|group| group.members.as_slice()).unwrap_or_default();
            let family = server.real_servers.first().map_or(Family::Ipv4, |real| Family::of(real.address));
            let mut ids = Vec::new();
            for member in members {
                match member {
                    GroupMember::Range { first, last, port } => {
                        ids.extend(addresses(*first, *last).map(|address| at(address, *port)));
                    }
                    GroupMember::Mark(mark) => ids.push(ServiceId::Mark { mark: *mark, family }),
                }
            }
            ids
        }
    }
}

/// All addresses of a range; the configuration bounds how many that may be.
fn addresses(first: IpAddr, last: IpAddr) -> Box<dyn Iterator<Item = IpAddr>> {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            Box::new((first.to_bits()..=last.to_bits()).map(|bits| IpAddr::from(std::net::Ipv4Addr::from_bits(bits))))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            Box::new((first.to_bits()..=last.to_bits()).map(|bits| IpAddr::from(std::net::Ipv6Addr::from_bits(bits))))
        }
        _ => Box::new(std::iter::once(first)),
    }
}

fn service(server: &VirtualServer, id: ServiceId) -> Service {
    let persistence = server.persistence.map(|persistence| Persistence {
        timeout_s: persistence.timeout_s,
        granularity: Granularity::prefix(id.family(), persistence.prefix),
    });
    Service {
        id,
        scheduler: server.scheduler.as_str().to_owned(),
        scheduler_flags: server.scheduler_flags,
        one_packet: server.one_packet,
        persistence,
        engine: server.persistence.filter(|persistence| persistence.sip).map(|_| "sip".to_owned()),
    }
}

fn destinations(server: &VirtualServer, told: &Told, id: ServiceId) -> Vec<Destination> {
    let sorry = server.sorry_server.filter(|sorry| told.sorry() || sorry.inhibit).map(|sorry| Destination {
        address: endpoint(sorry.address, sorry.port, id),
        forwarding: forwarding(sorry.forwarding),
        weight: if told.sorry() { SORRY_WEIGHT } else { 0 },
        upper_threshold: 0,
        lower_threshold: 0,
    });
    let real = server.real_servers.iter().enumerate().filter_map(|(place, real)| {
        let weight = told.weight(place, real.weight)?;
        Some(Destination {
            address: endpoint(real.address, real.port, id),
            forwarding: forwarding(real.forwarding),
            weight,
            upper_threshold: real.upper_threshold,
            // The kernel refuses one that is above the other.
            lower_threshold: real.lower_threshold.min(real.upper_threshold),
        })
    });
    // One that is a real server as well has that one's weight.
    sorry.into_iter().chain(real).collect()
}

/// Port 0 is the port that the client asked for: where that is known, it is named, as ipvsadm does.
pub(super) fn endpoint(address: IpAddr, port: u16, id: ServiceId) -> SocketAddr {
    let asked = match id {
        ServiceId::Address { address, .. } => address.port(),
        ServiceId::Mark { .. } => 0,
    };
    SocketAddr::new(address, if port == 0 { asked } else { port })
}

fn forwarding(forwarding: model::Forwarding) -> Forwarding {
    match forwarding {
        model::Forwarding::Nat => Forwarding::Masquerade,
        model::Forwarding::Direct => Forwarding::Direct,
        model::Forwarding::Tunnel(tunnel) => {
            let encapsulation = match tunnel.kind {
                model::TunnelKind::Ipip => Encapsulation::Ipip,
                model::TunnelKind::Gue(port) => Encapsulation::Gue(port),
                model::TunnelKind::Gre => Encapsulation::Gre,
            };
            let checksum = match tunnel.checksum {
                model::TunnelChecksum::None => Checksum::None,
                model::TunnelChecksum::Full => Checksum::Full,
                model::TunnelChecksum::Remote => Checksum::Remote,
            };
            Forwarding::Tunnel(Tunnel { encapsulation, checksum })
        }
    }
}

#[cfg(test)]
mod tests;
