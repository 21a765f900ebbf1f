//! What is announced where, and at what pace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keepone_config::Config;
use keepone_proto::id::{InstanceId, InterfaceId};

use super::links::OwnLinks;
use crate::net::announcer::{Home, Table};
use crate::net::pace::Lanes;

/// `interfaces`: their names, in the order of their ids.
pub(super) fn table(config: &Config, own: &OwnLinks, places: &[InstanceId], interfaces: &[String]) -> Table {
    let ids: BTreeMap<&str, InterfaceId> =
        (0..).zip(interfaces).map(|(id, name)| (name.as_str(), InterfaceId(id))).collect();
    let made: BTreeMap<&str, &str> = own.all().iter().map(|link| (link.name.as_str(), link.base.as_str())).collect();
    let mut homes = BTreeMap::new();
    for (at, instance) in config.instances.iter().enumerate() {
        let Some(place) = places.get(at) else { continue };
        let transmits = own.transmits(at, instance).unwrap_or(&instance.interface);
        let everywhere = instance.options.extra_interfaces.is_some_and(|extra| extra.all);
        let mut seen = BTreeSet::new();
        let home = |(number, vip): (usize, &keepone_config::model::VirtualAddress)| {
            let named = vip.dev.as_deref().unwrap_or(&instance.interface);
            let name = own.bears(at, number).unwrap_or(named);
            // Where Advertisements leave the switches learn from them; where a frame has no MAC of its own, the
            // interface below is known by all else that it sends, unless the operator asks for it.
            let elsewhere =
                name != transmits && (everywhere || made.contains_key(name)) && seen.insert(name.to_owned());
            Some(Home { interface: *ids.get(name)?, address: vip.address, elsewhere })
        };
        let all: Vec<Home> = instance.virtual_addresses.iter().enumerate().filter_map(home).collect();
        homes.insert(*place, all);
    }
    Table { homes, lanes: lanes(config, &ids, &made) }
}

/// One for each interface and family, or for each `garp_group`; frames of an interface that was made for a virtual
/// router leave by the one below, and share its pace.
fn lanes(config: &Config, ids: &BTreeMap<&str, InterfaceId>, made: &BTreeMap<&str, &str>) -> Lanes {
    let settings = &config.global.vrrp;
    let mut lanes = Lanes::default();
    // Of each base interface or group, and family.
    let mut known = BTreeMap::<(Result<usize, &str>, bool), usize>::new();
    for (name, id) in ids {
        let base = made.get(name).copied().unwrap_or(name);
        let group = settings.garp_groups.iter().position(|group| group.interfaces.iter().any(|of| of == base));
        let group = group.and_then(|at| Some((at, settings.garp_groups.get(at)?)));
        for ipv6 in [false, true] {
            let interval: Duration = match (group, ipv6) {
                (Some((_, group)), false) => group.garp_interval,
                (Some((_, group)), true) => group.gna_interval,
                (None, false) => settings.garp_interval,
                (None, true) => settings.gna_interval,
            };
            let key = (group.map(|(at, _)| at).ok_or(base), ipv6);
            let lane = *known.entry(key).or_insert_with(|| {
                lanes.intervals.push(interval);
                lanes.intervals.len() - 1
            });
            lanes.of.insert((*id, ipv6), lane);
        }
    }
    lanes
}
