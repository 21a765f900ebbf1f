//! From what the operator wrote to what the core and the shells are told.

mod after;
mod announced;
mod arbiter;
mod election;
mod links;
mod paths;
mod trackers;
mod transport;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use keepone_arbiter::etcd::EtcdSettings;
use keepone_config::Config;
use keepone_config::model::{GateMeans, Mirror, Notify, NotifyDeleted, Script, Transport, VrrpInstance};
use keepone_proto::id::{
    ClusterId, ConfigDigest, DomainId, InstanceId, InterfaceId, LinkId, NodeId, WatchId, hash_name,
};
use keepone_proto::lease::config_digest;
use keepone_proto::settings::{
    Authority, DomainSettings, Families, FenceSettings, FencingSettings, InstanceSettings, MirrorSettings, Names,
    PeerSettings, Settings, TrackInterface,
};

use crate::gate::GateDomain;
use crate::kernel::Wanted;
use crate::net::announcer::Table;
use crate::net::is_on_network;
use crate::net::vrrp::VrrpSettings;
use crate::netlink::address::VirtualAddress;
use crate::netlink::link::OwnLink;
use crate::netlink::path::{Owner, Path};
use crate::sysctl::Setting;
use crate::tracking::{Tracked, Watched};
pub(crate) use after::reason_to_restart;
pub(crate) use election::begin_at;
pub(crate) use links::OwnLinks;
pub(crate) use paths::Preferences;
use trackers::Trackers;
pub use transport::InstanceTransport;
pub(crate) use transport::sockets;
use transport::{signing, transport};

/// Where an agent without a cluster section keeps its files.
const RUN_DIR: &str = "/run/keepone";
const BPF_DIR: &str = "/sys/fs/bpf/keepone";

/// Everything that a run needs, made from one configuration.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For the core.
    pub settings: Settings,
    /// The node's name, for logs.
    pub node_name: String,
    /// Lock and event log.
    pub run_dir: PathBuf,
    /// Pins of the gate.
    pub bpf_dir: PathBuf,
    /// How the gate is to be made.
    pub gate: GateMeans,
    /// The gate's domains.
    pub gate_domains: Vec<GateDomain>,
    /// Addresses that nobody here takes packets for (`no_accept`), those of domains that are leaving among them.
    pub(crate) refused: BTreeSet<IpAddr>,
    /// What each domain puts into the kernel.
    pub addresses: BTreeMap<DomainId, Vec<VirtualAddress>>,
    /// Addresses that are there as long as the agent, each with its track group.
    pub statics: Vec<(VirtualAddress, Option<String>)>,
    /// Routes and rules of the agent and of each domain.
    pub paths: BTreeMap<Owner, Vec<Path>>,
    /// Track groups of static things.
    pub track_groups: Vec<(WatchId, String)>,
    /// Interfaces that are made for virtual routers.
    pub own_links: Vec<OwnLink>,
    /// What the kernel is told of interfaces.
    pub(crate) settings_of_kernel: Vec<Setting>,
    /// Names of domains, for logs.
    pub domain_names: BTreeMap<DomainId, DomainName>,
    /// How each instance speaks, by its place; `None`: there is none in that place any more.
    pub transports: Vec<Option<InstanceTransport>>,
    /// Whether strange virtual routers are told of.
    pub(crate) tells_strangers: bool,
    /// Interfaces that are asked for their links.
    pub(crate) linkbeat: Vec<String>,
    /// Whether interfaces may be missing at the start.
    pub(crate) dynamic_interfaces: bool,
    /// The sockets that they need.
    pub sockets: Vec<VrrpSettings>,
    /// The heartbeat links: name, interface, own address, peers.
    pub links: Vec<LinkPlan>,
    /// The rings outside the gate.
    pub fencing: keepone_config::model::Fencing,
    /// The witnesses.
    pub witnesses: Vec<(NodeId, SocketAddr)>,
    /// etcd, if it is the authority.
    pub etcd: Option<EtcdSettings>,
    /// Tracked scripts, in the order of their ids.
    pub(crate) tracked: Vec<Tracked>,
    /// Files, processes and sessions, in the order of their ids.
    pub(crate) watched: Vec<Watched>,
    /// Of the sessions, those that health checks go by, each with its place in the configuration.
    pub(crate) checked: Vec<(WatchId, usize)>,
    /// Virtual servers that instances track.
    pub(crate) tied: Vec<crate::checkers::tied::Tied>,
    /// Which addresses each instance announces, and at what pace.
    pub(crate) announced: Table,
    /// Who is told by mail and webhooks.
    pub(crate) post: crate::post::Settings,
    /// Domains that a new configuration has no more, or otherwise, until the core has given them up.
    pub(crate) leaving: BTreeMap<DomainId, Leaving>,
    /// Instances that domains have no more which go on: until the core has had its last word about them.
    parting: Vec<InstanceId>,
    /// Interfaces of virtual routers of domains that are leaving.
    former_links: Vec<OwnLink>,
    /// And the addresses that they speak from.
    former_statics: Vec<(VirtualAddress, Option<String>)>,
}

/// A domain that is being given up: its addresses and scripts stand in the plan as they were.
#[derive(Debug, Clone)]
pub(crate) struct Leaving {
    /// Its instances.
    instances: Vec<InstanceId>,
    /// What the next one of the same name has, if there is to be one.
    next: Option<Next>,
}

/// What stands in the plan once a domain of the same name has ended.
#[derive(Debug, Clone)]
struct Next {
    addresses: Vec<VirtualAddress>,
    name: DomainName,
    paths: Option<Vec<Path>>,
}

/// What a domain is called, and whom to tell of its changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainName {
    /// The operator's name.
    pub name: String,
    /// A sync group, or a lone instance.
    pub is_group: bool,
    /// Scripts of the group, or of the instance.
    pub notify: Notify,
    /// Scripts of a group's instances, with their names.
    pub members: Vec<(String, Notify)>,
    /// What its instances have for when a reload removes them, by their names.
    pub deleted: BTreeMap<String, NotifyDeleted>,
    /// And for when a lower router is heard (`notify_master_rx_lower_pri`).
    pub lower: BTreeMap<String, Script>,
    /// Those whose changes of priority are told.
    pub priorities: BTreeSet<String>,
}

/// A heartbeat link.
#[derive(Debug, Clone)]
pub struct LinkPlan {
    /// Its number.
    pub id: LinkId,
    /// Its name.
    pub name: String,
    /// Its interface.
    pub interface: String,
    /// Own address and port.
    pub local: SocketAddr,
    /// The peers'.
    pub peers: Vec<(NodeId, SocketAddr)>,
}

impl Plan {
    /// Of a checked configuration.
    pub fn new(config: &Config) -> Plan {
        Plan::of(config, None)
    }

    /// The same, with the numbers of a former one for whatever it had alike.
    fn of(config: &Config, former: Option<&Plan>) -> Plan {
        let own = OwnLinks::of(config);
        let interfaces = interface_names(config, own.all(), former);
        let id_of = |name: &str| {
            let place = interfaces.iter().position(|known| known == name).unwrap_or(usize::MAX);
            InterfaceId(u16::try_from(place).unwrap_or(u16::MAX))
        };
        let cluster = config.cluster.as_ref();
        let links = link_plans(config);
        let trackers = Trackers::of(config, former);
        let places = after::places(config, former, &id_of);
        let addresses = paths::addresses(config, &own);
        let mut instances = former.map(|former| former.settings.instances.clone()).unwrap_or_default();
        let mut transports = former.map(|former| former.transports.clone()).unwrap_or_default();
        for (at, instance) in config.instances.iter().enumerate() {
            let Some(place) = places.get(at).map(|id| usize::from(id.0)) else { continue };
            let Some(settings) = instance_settings(config, at, &trackers, &id_of) else { continue };
            let mut transport = transport(config, instance, id_of(&instance.interface));
            transport.transmit = own.transmits(at, instance).map_or(transport.interface, id_of);
            after::put(&mut instances, place, settings);
            after::put(&mut transports, place, Some(transport));
        }
        let bears_ipv6 =
            |name: &str| addresses.values().flatten().any(|one| one.interface == name && one.address.is_ipv6());
        let used: Vec<_> = interfaces.iter().map(|name| election::interface(config, name)).collect();
        let statics = paths::statics(config, &own);
        let promotions = links::promotions(own.all(), &statics, &addresses);
        let settings_of_kernel = links::settings(config, own.all(), bears_ipv6, promotions);
        Plan {
            settings: Settings {
                cluster: cluster.map_or(ClusterId(0), |cluster| cluster.id),
                node: me(config),
                names: names(config, &links),
                digest: digest(config),
                seed: u64::from(me(config).get()),
                heartbeat: config.heartbeat,
                peers: peer_settings(&links),
                begin_at: None,
                interfaces: used.clone(),
                instances,
                domains: domain_settings(config, &places, &addresses),
                references: config.references.clone(),
                scripts: trackers.scripts(),
                watches: trackers.watches(),
                grace: config.grace,
                claim_without_gate: config.claim_without_gate,
                watchdog: config.fencing.watchdog.is_some(),
                guards: keepone_proto::guard::Guards::default(),
            },
            node_name: cluster
                .and_then(|cluster| cluster.me())
                .map(|member| member.name.clone())
                .or_else(|| config.global.router_id.clone())
                .unwrap_or_else(|| String::from("this node")),
            run_dir: cluster.map_or_else(|| PathBuf::from(RUN_DIR), |cluster| cluster.run_dir.clone()),
            bpf_dir: cluster.map_or_else(|| PathBuf::from(BPF_DIR), |cluster| cluster.bpf_dir.clone()),
            gate: config.gate,
            refused: gate_domains(config).into_iter().flat_map(|domain| domain.refused).collect(),
            gate_domains: gate_domains(config),
            addresses,
            settings_of_kernel,
            own_links: own.all().to_vec(),
            statics,
            paths: paths::paths(config),
            track_groups: trackers.groups(),
            domain_names: domain_names(config),
            linkbeat: election::linkbeat(config, &used),
            tells_strangers: config.global.vrrp.log_unknown_vrids,
            dynamic_interfaces: config.global.vrrp.dynamic_interfaces,
            sockets: sockets(&transports),
            transports,
            links,
            fencing: config.fencing.clone(),
            witnesses: arbiter::witnesses(config),
            etcd: arbiter::etcd(config),
            tracked: trackers.programs(),
            watched: trackers.watched(),
            checked: trackers.checked(),
            tied: trackers.tied(),
            post: crate::post::Settings::of(config, RUN_DIR.into()),
            announced: announced::table(config, &own, &places, &interfaces),
            leaving: BTreeMap::new(),
            parting: Vec::new(),
            former_links: Vec::new(),
            former_statics: Vec::new(),
        }
    }

    /// All that is put into the kernel.
    pub(crate) fn in_kernel(&self) -> Wanted {
        Wanted {
            addresses: self.addresses.clone(),
            statics: self.statics_in_kernel(),
            paths: self.paths.clone(),
            groups: self.track_groups.clone(),
            links: self.links_in_kernel(),
            settings: self.settings_of_kernel.clone(),
            run_dir: self.run_dir.clone(),
        }
    }

    /// Every virtual address.
    pub fn virtual_addresses(&self) -> BTreeSet<IpAddr> {
        self.addresses.values().flatten().map(|address| address.address).collect()
    }

    /// Where each virtual address lives, and whose it is.
    pub fn homes(&self) -> BTreeMap<IpAddr, (DomainId, InterfaceId)> {
        let ids: BTreeMap<&str, InterfaceId> = (0..)
            .zip(&self.settings.interfaces)
            .map(|(id, interface)| (interface.name.as_str(), InterfaceId(id)))
            .collect();
        let all = self.addresses.iter().flat_map(|(domain, list)| list.iter().map(|address| (*domain, address)));
        all.filter_map(|(domain, one)| Some((one.address, (domain, *ids.get(one.interface.as_str())?)))).collect()
    }

    /// The interface below one that was made for a virtual router; else the same.
    pub fn beneath(&self, id: InterfaceId) -> InterfaceId {
        let name = self.settings.interfaces.get(usize::from(id.0)).map(|interface| interface.name.as_str());
        let link = self.own_links.iter().find(|link| Some(link.name.as_str()) == name);
        link.and_then(|link| self.interface_id(&link.base)).unwrap_or(id)
    }

    /// The virtual addresses of each interface, and the domain of each; those of an interface made for a virtual router
    /// are watched on the one below, too.
    pub fn watched(&self) -> BTreeMap<InterfaceId, BTreeMap<IpAddr, DomainId>> {
        let mut watched = BTreeMap::<InterfaceId, BTreeMap<IpAddr, DomainId>>::new();
        for (domain, addresses) in &self.addresses {
            for address in addresses {
                if let Some(id) = self.interface_id(&address.interface) {
                    for id in [id, self.beneath(id)] {
                        watched.entry(id).or_default().insert(address.address, *domain);
                    }
                }
            }
        }
        watched
    }

    /// The id of an interface by its name.
    pub fn interface_id(&self, name: &str) -> Option<InterfaceId> {
        let place = self.settings.interfaces.iter().position(|known| known.name == name)?;
        u16::try_from(place).ok().map(InterfaceId)
    }

    /// What an instance is called.
    pub fn instance_name(&self, id: InstanceId) -> Option<&str> {
        self.settings.instances.get(usize::from(id.0)).map(|instance| instance.name.as_str())
    }

    /// What a domain is called.
    pub fn domain_name(&self, id: DomainId) -> &str {
        self.domain_names.get(&id).map_or("?", |domain| domain.name.as_str())
    }
}

/// Where no cluster names this node, it is alone of its kind.
fn me(config: &Config) -> NodeId {
    const FIRST: NodeId = match NodeId::new(1) {
        Some(id) => id,
        None => unreachable!(),
    };
    config.cluster.as_ref().map_or(FIRST, |cluster| cluster.node)
}

fn digest(config: &Config) -> ConfigDigest {
    // Who looks below another prefix has another arbiter: peers tell by this. In a move voters compare it, and they know of
    // no prefix.
    let moves = matches!(&config.authority, Authority::Quorum(quorum) if quorum.moving.is_some());
    let etcd = config.etcd.as_ref().filter(|_| !moves);
    let place = etcd.map_or(0, |etcd| hash_name(etcd.prefix.trim_end_matches('/')));
    match (&config.cluster, &config.authority) {
        (Some(cluster), Authority::Quorum(quorum)) => ConfigDigest(config_digest(cluster.id, quorum).0 ^ place),
        (Some(_) | None, Authority::None) | (None, Authority::Quorum(_)) => ConfigDigest(0),
    }
}

fn interface_names(config: &Config, own: &[OwnLink], former: Option<&Plan>) -> Vec<String> {
    let known = former.into_iter().flat_map(|former| &former.settings.interfaces);
    let mut names: Vec<String> = known.map(|interface| interface.name.clone()).collect();
    let mut add = |name: &str| {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    for instance in &config.instances {
        add(&instance.interface);
        instance.track_interface.iter().for_each(|track| add(&track.interface));
        instance.virtual_addresses.iter().filter_map(|address| address.dev.as_deref()).for_each(&mut add);
    }
    for link in &config.links {
        add(&link.interface);
    }
    for link in own {
        add(&link.name);
    }
    names
}

fn link_plans(config: &Config) -> Vec<LinkPlan> {
    let plan = |(id, link): (u8, &keepone_config::model::HeartbeatLink)| LinkPlan {
        id: LinkId(id),
        name: link.name.clone(),
        interface: link.interface.clone(),
        local: SocketAddr::new(link.address, link.port),
        peers: link.peers.iter().map(|(node, address)| (*node, SocketAddr::new(*address, link.port))).collect(),
    };
    (0..).zip(&config.links).map(plan).collect()
}

fn peer_settings(links: &[LinkPlan]) -> Vec<PeerSettings> {
    let mut peers = BTreeMap::<NodeId, Vec<LinkId>>::new();
    for link in links {
        for (node, _) in &link.peers {
            peers.entry(*node).or_default().push(link.id);
        }
    }
    peers.into_iter().map(|(node, links)| PeerSettings { node, links }).collect()
}

fn names(config: &Config, links: &[LinkPlan]) -> Names {
    let members = config.cluster.iter().flat_map(|cluster| &cluster.members);
    let etcd = config.etcd.iter().map(|_| (NodeId::STORE, "etcd".to_owned()));
    Names {
        nodes: members.map(|member| (member.id, member.name.clone())).chain(etcd).collect(),
        links: links.iter().map(|link| (link.id, link.name.clone())).collect(),
    }
}

fn domain_settings(
    config: &Config,
    places: &[InstanceId],
    addresses: &BTreeMap<DomainId, Vec<VirtualAddress>>,
) -> Vec<DomainSettings> {
    let domain = |domain: keepone_config::model::Domain| DomainSettings {
        fencing: fencing(&config.fencing, &domain.name),
        id: domain.id,
        name: domain.name,
        instances: domain.instances.iter().filter_map(|at| places.get(*at).copied()).collect(),
        families: families(config, &domain.instances),
        authority: config.authority.clone(),
        policy: domain.policy,
        mirrors: mirrors(config, &domain.instances),
        shape: hash_name(&format!("{:?}", addresses.get(&domain.id))),
        held: addresses.get(&domain.id).and_then(|list| u32::try_from(list.len()).ok()).unwrap_or(0),
    };
    config.domains().into_iter().map(domain).collect()
}

/// One for each instance and family: the operator's gateway, or the first reference on the network of one of the
/// instance's own addresses (D9).
fn mirrors(config: &Config, places: &[usize]) -> Vec<MirrorSettings> {
    let mut mirrors = Vec::new();
    // Who takes no packets for an address hears no answer to it either.
    for instance in places.iter().filter_map(|at| config.instances.get(*at)).filter(|one| one.accepts()) {
        let gateways: &[IpAddr] = match &instance.mirror {
            Mirror::Off => &[],
            Mirror::Auto => &config.references.targets,
            Mirror::Gateway(gateway) => core::slice::from_ref(gateway),
        };
        let near = |vip: &keepone_config::model::VirtualAddress, gateway: &IpAddr| match instance.mirror {
            Mirror::Gateway(_) => vip.address.is_ipv6() == gateway.is_ipv6(),
            Mirror::Auto | Mirror::Off => is_on_network(vip.address, vip.prefix, *gateway),
        };
        for ipv6 in [false, true] {
            let vips = instance.virtual_addresses.iter().filter(|vip| vip.address.is_ipv6() == ipv6);
            let pair = vips.into_iter().find_map(|vip| {
                let gateway = gateways.iter().find(|gateway| near(vip, gateway))?;
                Some(MirrorSettings { address: vip.address, gateway: *gateway })
            });
            mirrors.extend(pair);
        }
    }
    mirrors
}

/// Of all addresses that it holds, advertised or not; of its protocol where it has none.
fn families(config: &Config, places: &[usize]) -> Families {
    let instances = || places.iter().filter_map(|at| config.instances.get(*at));
    let held = Families::of(instances().flat_map(|instance| instance.virtual_addresses.iter().map(|vip| vip.address)));
    let any = |ipv6| instances().any(|instance| instance.ipv6 == ipv6);
    if held == Families::default() { Families { v4: any(false), v6: any(true) } } else { held }
}

fn fencing(fencing: &keepone_config::model::Fencing, domain: &str) -> FencingSettings {
    if !fencing.concerns(domain) {
        return FencingSettings::default();
    }
    let command = |command: &keepone_config::model::FenceCommand| FenceSettings {
        timeout: command.timeout,
        retry: command.retry,
    };
    FencingSettings { command: fencing.command.as_ref().map(command), reboot_after: fencing.reboot_after }
}

fn instance_settings(
    config: &Config,
    place: usize,
    trackers: &Trackers<'_>,
    id_of: &impl Fn(&str) -> InterfaceId,
) -> Option<InstanceSettings> {
    let instance = config.instances.get(place)?;
    Some(InstanceSettings {
        name: instance.name.clone(),
        interface: id_of(&instance.interface),
        vrid: instance.vrid,
        version: instance.version,
        ipv6: instance.ipv6,
        priority: instance.priority,
        advert_int: instance.advert_int,
        preempt: instance.preempt,
        preempt_delay: instance.preempt_delay,
        addresses: link_local_first(instance.advertised()),
        auth_pass: instance.auth_pass.as_ref().map(keepone_config::model::Secret::reveal),
        auth_type: instance.auth_type,
        hmac: instance.options.hmac.as_ref().and_then(signing),
        unicast_peers: match &instance.transport {
            Transport::Multicast { .. } => None,
            Transport::Unicast { peers, .. } => Some(peers.clone()),
        },
        election: election::options(instance),
        reception: election::reception(config, instance),
        track_others: trackers.tracked_by(place),
        announce: instance.announce.clone(),
        track: instance
            .track_interface
            .iter()
            .filter(|track| track.weight == 0 || config.weights_count(place))
            .map(|track| TrackInterface {
                interface: id_of(&track.interface),
                weight: track.weight,
                reverse: track.reverse,
            })
            .collect(),
    })
}

/// RFC 9568, 5.2.9: the first IPv6 address is a link-local one, if there is any.
fn link_local_first(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let link_local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let (mut first, others): (Vec<IpAddr>, Vec<IpAddr>) = addresses.partition(link_local);
    first.extend(others);
    first
}

fn instances<'a>(config: &'a Config, domain: &keepone_config::model::Domain) -> impl Iterator<Item = &'a VrrpInstance> {
    domain.instances.clone().into_iter().filter_map(|at| config.instances.get(at))
}

fn gate_domains(config: &Config) -> Vec<GateDomain> {
    let gate = |domain: keepone_config::model::Domain| GateDomain {
        id: domain.id,
        addresses: instances(config, &domain)
            .flat_map(|instance| instance.virtual_addresses.iter().map(|address| address.address))
            .collect(),
        refused: instances(config, &domain)
            .filter(|instance| !instance.accepts())
            .flat_map(|instance| instance.virtual_addresses.iter().map(|address| address.address))
            .collect(),
        routers: instances(config, &domain).map(|instance| (instance.vrid, instance.ipv6)).collect(),
    };
    config.domains().into_iter().map(gate).collect()
}

fn domain_names(config: &Config) -> BTreeMap<DomainId, DomainName> {
    let name = |domain: keepone_config::model::Domain| {
        let group = config.sync_groups.iter().find(|group| domain.is_group && group.name == domain.name);
        let lone = instances(config, &domain).next().map(|instance| instance.notify.clone());
        let members = instances(config, &domain).filter(|_| domain.is_group);
        let members = members.map(|instance| (instance.name.clone(), instance.notify.clone())).collect();
        let notify = group.map(|group| group.notify.clone()).or(lone).unwrap_or_default();
        let deleted = instances(config, &domain)
            .filter_map(|instance| Some((instance.name.clone(), instance.options.notify_deleted.clone()?)));
        let lower = instances(config, &domain)
            .filter_map(|instance| Some((instance.name.clone(), instance.options.notify_master_rx_lower_pri.clone()?)));
        let all = group.is_some_and(|group| group.notify_priority_changes);
        let priorities = instances(config, &domain).filter(|one| all || one.options.notify_priority_changes);
        let named = DomainName {
            name: domain.name.clone(),
            is_group: domain.is_group,
            notify,
            members,
            deleted: deleted.collect(),
            lower: lower.collect(),
            priorities: priorities.map(|instance| instance.name.clone()).collect(),
        };
        (domain.id, named)
    };
    debug_assert!(config.domains().iter().all(|domain| domain.id.0 == hash_name(&domain.name)));
    config.domains().into_iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_links_go_by_their_configured_names() {
        let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/tests/fixtures/cluster.conf"));
        let (config, _) = keepone_config::load_with(path, &keepone_config::Environment::default()).unwrap();
        let names = Plan::new(&config).settings.names;
        let node = |id| names.node(NodeId::new(id).unwrap()).into_owned();
        assert_eq!([node(1), node(2), node(3)], ["n1", "n2", "w"]);
        assert_eq!([names.link(LinkId(0)), names.link(LinkId(1))], ["hb0", "hb1"]);
    }
}
