//! What goes into the kernel: addresses, routes and rules, of each domain and of the agent.

use std::collections::BTreeMap;

use keepone_config::Config;
use keepone_config::model::{self, OwnInterfaceKind, Route, Rule, VrrpInstance};
use keepone_proto::id::DomainId;

use super::instances;
use super::links::OwnLinks;
use crate::netlink::address::{VirtualAddress, flags};
use crate::netlink::path::{Owner, Path};

/// The preference of the first rule that names none; keepalived counts down from there, too.
const FIRST_PREFERENCE: u32 = 16384;
/// Static addresses that name no interface.
const DEFAULT_INTERFACE: &str = "eth0";

pub(super) fn addresses(config: &Config, own: &OwnLinks) -> BTreeMap<DomainId, Vec<VirtualAddress>> {
    let of_instance = |place: usize| {
        let instance = config.instances.get(place);
        let address = |instance: &VrrpInstance, (at, vip): (usize, &model::VirtualAddress)| {
            let mut address = address(vip, &instance.interface);
            if let Some(own) = own.bears(place, at) {
                own.clone_into(&mut address.interface);
            }
            if vip.address.is_ipv6() {
                // The lease has decided already.
                address.flags |= flags::NODAD;
                // One that is on no network is not to be the source of new connections.
                address.preferred_s = address.preferred_s.or((vip.prefix == 128).then_some(0));
            }
            address
        };
        let all = instance.into_iter().flat_map(|instance| {
            let numbered = instance.virtual_addresses.iter().enumerate();
            numbered.map(move |numbered| address(instance, numbered))
        });
        all.collect::<Vec<_>>()
    };
    let domains = config.domains().into_iter();
    domains.map(|domain| (domain.id, domain.instances.iter().copied().flat_map(of_instance).collect())).collect()
}

pub(super) fn statics(config: &Config, own: &OwnLinks) -> Vec<(VirtualAddress, Option<String>)> {
    let one = |fixed: &model::VirtualAddress| (address(fixed, DEFAULT_INTERFACE), fixed.options.track_group.clone());
    let ipvlans = config.instances.iter().enumerate().filter_map(|(place, instance)| {
        let OwnInterfaceKind::Ipvlan { address: Some(own_address), .. } = instance.options.own_interface.as_ref()?.kind
        else {
            return None;
        };
        let length = if own_address.is_ipv4() { 32 } else { 128 };
        Some((VirtualAddress::new(&own.own(place)?.name, own_address, length), None))
    });
    config.statics.addresses.iter().map(one).chain(ipvlans).collect()
}

/// On the interface that it names, or on that of its instance.
fn address(of: &model::VirtualAddress, interface: &str) -> VirtualAddress {
    let options = &of.options;
    let flag = |is_set, bit| if is_set { bit } else { 0 };
    VirtualAddress {
        peer: options.peer.map(|peer| (peer.address, peer.length)),
        broadcast: of.broadcast,
        scope: of.scope.0,
        label: of.label.clone(),
        flags: flag(options.home, flags::HOMEADDRESS)
            | flag(options.nodad, flags::NODAD)
            | flag(options.mngtmpaddr, flags::MANAGETEMPADDR)
            | flag(options.noprefixroute, flags::NOPREFIXROUTE)
            | flag(options.autojoin, flags::MCAUTOJOIN),
        preferred_s: options.preferred_lft,
        no_track: options.no_track,
        ..VirtualAddress::new(of.dev.as_deref().unwrap_or(interface), of.address, of.prefix)
    }
}

/// What rules get that name no preference, counted down.
#[derive(Debug)]
pub(crate) struct Preferences(u32);

impl Default for Preferences {
    fn default() -> Self {
        Preferences(FIRST_PREFERENCE)
    }
}

impl Preferences {
    /// The next rules in the order of [`paths`], with theirs.
    pub(crate) fn give(&mut self, rules: &[Rule]) -> Vec<Rule> {
        let numbered = rules.iter().cloned().map(|mut rule| {
            if rule.preference.is_none() {
                rule.preference = Some(self.0);
                self.0 = self.0.saturating_sub(1);
            }
            rule
        });
        numbered.collect()
    }
}

/// Static ones first; rules without a preference get theirs in the order of the file.
pub(super) fn paths(config: &Config) -> BTreeMap<Owner, Vec<Path>> {
    let mut preferences = Preferences::default();
    let mut of = |routes: &[Route], rules: &[Rule]| {
        let routes = routes.iter().cloned().map(|route| Path::Route(Box::new(route)));
        let rules = preferences.give(rules).into_iter().map(|rule| Path::Rule(Box::new(rule)));
        routes.chain(rules).collect::<Vec<Path>>()
    };
    let mut all = BTreeMap::from([(Owner::Agent, of(&config.statics.routes, &config.statics.rules))]);
    for domain in config.domains() {
        let list = instances(config, &domain).flat_map(|i| of(&i.options.routes, &i.options.rules)).collect();
        all.insert(Owner::Domain(domain.id), list);
    }
    all.retain(|_, list: &mut Vec<Path>| !list.is_empty());
    all
}
