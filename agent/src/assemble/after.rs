//! Another configuration for an agent that runs: a plan in which whatever is alike keeps its number.
//!
//! What must stay true: a number that the core or a thread knows never means another thing; what is being given up
//! stands in the plan as it was, until the core says that it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use keepone_config::Config;
use keepone_config::diff::Change;
use keepone_proto::id::{DomainId, InstanceId, InterfaceId, ScriptId, WatchId};
use keepone_proto::settings::{DomainSettings, Policy, Tracker};

use super::{Leaving, Next, Plan, sockets};
use crate::gate::GateDomain;
use crate::netlink::address::VirtualAddress;
use crate::netlink::link::OwnLink;
use crate::netlink::path::Owner;

/// The first of the changes that takes a new worker, in words.
pub(crate) fn reason_to_restart(changes: &[Change]) -> Option<String> {
    let first = changes.iter().find(|change| change.restarts_agent)?;
    let hint = first.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    Some(format!("{}{hint}", first.text))
}

/// Sets an element, or adds it.
pub(super) fn put<T>(list: &mut Vec<T>, at: usize, value: T) {
    match list.get_mut(at) {
        Some(place) => *place = value,
        None => list.push(value),
    }
}

/// The numbers of a configuration's instances.
pub(super) fn places(config: &Config, former: Option<&Plan>, id_of: &impl Fn(&str) -> InterfaceId) -> Vec<InstanceId> {
    let mut domains = BTreeMap::new();
    for domain in config.domains() {
        domains.extend(domain.instances.iter().map(|at| (*at, domain.id)));
    }
    let holes = former.into_iter().flat_map(|former| &former.transports).enumerate();
    let mut free = holes.filter(|(_, transport)| transport.is_none()).map(|(place, _)| place);
    let mut next = former.map_or(0, |former| former.transports.len());
    let mut place = |(at, instance): (usize, &keepone_config::model::VrrpInstance)| {
        let identity = (&instance.name, id_of(&instance.interface), instance.vrid, instance.version, instance.ipv6);
        let domain = former.and_then(|former| former.domain(*domains.get(&at)?));
        let known = domain.into_iter().flat_map(|domain| &domain.instances).find(|id| {
            let settings = former.and_then(|former| former.settings.instances.get(usize::from(id.0)));
            settings
                .is_some_and(|known| (&known.name, known.interface, known.vrid, known.version, known.ipv6) == identity)
        });
        known.copied().unwrap_or_else(|| {
            let place = free.next().unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            InstanceId(u16::try_from(place).unwrap_or(u16::MAX))
        })
    };
    config.instances.iter().enumerate().map(&mut place).collect()
}

impl Plan {
    /// The plan for another configuration, for which the agent need not start anew.
    ///
    /// # Errors
    /// Why it must, in words.
    pub(crate) fn after(&self, config: &Config) -> Result<Plan, String> {
        let mut plan = Plan::of(config, Some(self));
        self.check(&plan)?;
        for domain in &self.settings.domains {
            // As the core has it: one that keeps a virtual router goes on.
            if let Some(new) = plan.domain(domain.id).filter(|new| has_one_of(&new.instances, &domain.instances)) {
                let gone = domain.instances.iter().filter(|id| !new.instances.contains(id));
                plan.parting.extend(gone.copied().collect::<Vec<_>>());
                continue;
            }
            match self.leaving.contains_key(&domain.id) {
                // It never began: it waited for the end of the one that is leaving.
                true => plan.forget(&domain.instances),
                false => plan.leave(self, domain.id, domain.instances.clone()),
            }
        }
        for (id, leaving) in &self.leaving {
            plan.leave(self, *id, leaving.instances.clone());
        }
        if !plan.leaving.is_empty() {
            let known = self.links_in_kernel().into_iter();
            plan.former_links = known.filter(|link| !plan.own_links.contains(link)).collect();
            let on_former = |one: &(VirtualAddress, _)| {
                plan.former_links.iter().any(|link| link.name == one.0.interface) && !plan.statics.contains(one)
            };
            plan.former_statics = self.statics_in_kernel().into_iter().filter(on_former).collect();
        }
        plan.sockets = sockets(&plan.transports);
        Ok(plan)
    }

    /// What can't be taken over, though it is said nowhere what it costs.
    fn check(&self, new: &Plan) -> Result<(), String> {
        let most = usize::from(u16::MAX);
        let settings = &new.settings;
        let lists =
            [settings.instances.len(), settings.interfaces.len(), settings.scripts.len(), settings.watches.len()];
        if lists.into_iter().any(|count| count >= most) {
            return Err("there have been too many reloads with something new".to_owned());
        }
        let before = self.holders();
        for (address, domain) in new.holders() {
            if let Some(former) = before.get(&address).filter(|former| **former != domain) {
                let (from, to) = (self.domain_name(*former), new.domain_name(domain));
                return Err(format!("{address} moves from {from} to {to}, which have different leases"));
            }
        }
        let [before, after] = [self, new].map(Plan::static_addresses);
        if let Some(address) = self.virtual_addresses().intersection(&after).find(|one| !before.contains(one)) {
            return Err(format!("{address} has been of a virtual router, and is to be static"));
        }
        if let Some(address) = new.virtual_addresses().intersection(&before).find(|one| !after.contains(one)) {
            return Err(format!("{address} has been static, and is to be of a virtual router"));
        }
        for domain in &new.settings.domains {
            let accepted = self.domain(domain.id).is_some_and(|former| former.policy == Policy::AcceptDualMaster);
            if accepted && domain.policy != Policy::AcceptDualMaster {
                return Err(format!("{} may be held by nobody's leave, and is not to be any more", domain.name));
            }
        }
        let known = self.links_in_kernel();
        let other = |new: &&OwnLink| known.iter().any(|known| known.name == new.name && known != *new);
        if let Some(link) = new.own_links.iter().find(other) {
            return Err(format!("the interface {} is to be another one, and is in use", link.name));
        }
        Ok(())
    }

    fn holders(&self) -> BTreeMap<IpAddr, DomainId> {
        let of = |(domain, list): (&DomainId, &Vec<VirtualAddress>)| {
            list.iter().map(|address| (address.address, *domain)).collect::<Vec<_>>()
        };
        self.addresses.iter().flat_map(of).collect()
    }

    /// A domain's settings, unless it is being given up.
    pub(super) fn domain(&self, id: DomainId) -> Option<&DomainSettings> {
        self.settings.domains.iter().find(|domain| domain.id == id)
    }

    /// A domain of a former plan has to be given up.
    fn leave(&mut self, former: &Plan, id: DomainId, instances: Vec<InstanceId>) {
        let owner = Owner::Domain(id);
        let (addresses, name) = (self.addresses.remove(&id), self.domain_names.remove(&id));
        let paths = self.paths.remove(&owner);
        let next = addresses.zip(name).map(|(addresses, name)| Next { addresses, name, paths });
        self.leaving.insert(id, Leaving { instances, next });
        self.paths.extend(former.paths.get(&owner).map(|paths| (owner, paths.clone())));
        let held = former.addresses.get(&id).into_iter().flatten().map(|address| address.address);
        self.refused.extend(held.filter(|address| former.refused.contains(address)));
        self.addresses.extend(former.addresses.get(&id).map(|addresses| (id, addresses.clone())));
        self.domain_names.extend(former.domain_names.get(&id).map(|name| (id, name.clone())));
    }

    /// Nothing knows these any more.
    fn forget(&mut self, instances: &[InstanceId]) {
        for instance in instances {
            if let Some(transport) = self.transports.get_mut(usize::from(instance.0)) {
                *transport = None;
            }
        }
    }

    /// The core has given a domain up: what is next in its name, if anything, is in the plan from now on. Its name stays,
    /// for words about it.
    pub(crate) fn retire(&mut self, id: DomainId) {
        let Some(leaving) = self.leaving.remove(&id) else { return };
        self.forget(&leaving.instances);
        self.sockets = sockets(&self.transports);
        self.paths.remove(&Owner::Domain(id));
        match leaving.next {
            Some(Next { addresses, name, paths }) => {
                self.addresses.insert(id, addresses);
                self.domain_names.insert(id, name);
                self.paths.extend(paths.map(|paths| (Owner::Domain(id), paths)));
            }
            None => {
                self.addresses.remove(&id);
            }
        }
        if self.leaving.is_empty() {
            self.former_links.clear();
            self.former_statics.clear();
        }
    }

    /// The core has had its last word about instances that have left domains which go on. Whether there were any.
    pub(crate) fn part(&mut self) -> bool {
        let parting = std::mem::take(&mut self.parting);
        self.forget(&parting);
        self.sockets = sockets(&self.transports);
        !parting.is_empty()
    }

    fn static_addresses(&self) -> BTreeSet<IpAddr> {
        self.statics.iter().map(|(address, _)| address.address).collect()
    }

    /// Static addresses that are to be there, those of interfaces of domains that are leaving among them.
    pub(crate) fn statics_in_kernel(&self) -> Vec<(VirtualAddress, Option<String>)> {
        self.statics.iter().chain(&self.former_statics).cloned().collect()
    }

    /// Interfaces of virtual routers that are to be there, those of domains that are leaving among them.
    pub(crate) fn links_in_kernel(&self) -> Vec<OwnLink> {
        self.own_links.iter().chain(&self.former_links).cloned().collect()
    }

    /// Whether a domain is being given up for good.
    pub(crate) fn is_removed(&self, id: DomainId) -> bool {
        self.leaving.get(&id).is_some_and(|leaving| leaving.next.is_none())
    }

    /// What the gate has to bar: everything that is held or may be.
    pub(crate) fn gated(&self) -> Vec<GateDomain> {
        let mut all: BTreeMap<DomainId, GateDomain> =
            self.gate_domains.iter().map(|domain| (domain.id, domain.clone())).collect();
        for (id, leaving) in &self.leaving {
            let held = || self.addresses.get(id).into_iter().flatten().map(|address| address.address);
            let instances = leaving.instances.iter().filter_map(|id| self.settings.instances.get(usize::from(id.0)));
            let domain = GateDomain {
                id: *id,
                addresses: held().collect(),
                refused: held().filter(|address| self.refused.contains(address)).collect(),
                routers: instances.map(|instance| (instance.vrid, instance.ipv6)).collect(),
            };
            merge(&mut all, domain);
        }
        all.into_values().collect()
    }

    /// What the gate has to bar from when another plan is taken over until what that has no more is gone.
    pub(crate) fn gated_with(&self, other: &Plan) -> Vec<GateDomain> {
        let mut all = BTreeMap::new();
        self.gated().into_iter().chain(other.gated()).for_each(|domain| merge(&mut all, domain));
        all.into_values().collect()
    }

    /// What a plan has no more, or otherwise, of the addresses of domains that go on.
    pub(crate) fn gone_in(&self, new: &Plan) -> Vec<VirtualAddress> {
        let stays = |id: &DomainId, address: &VirtualAddress| {
            new.addresses.get(id).is_some_and(|addresses| addresses.contains(address))
        };
        let of = |(id, addresses): (&DomainId, &Vec<VirtualAddress>)| {
            addresses.iter().filter(|address| !stays(id, address)).cloned().collect::<Vec<_>>()
        };
        self.addresses.iter().flat_map(of).collect()
    }

    fn trackers(&self) -> impl Iterator<Item = Tracker> {
        let instances = self.settings.domains.iter().flat_map(|domain| &domain.instances);
        let instances = instances.filter_map(|id| self.settings.instances.get(usize::from(id.0)));
        instances.flat_map(|instance| &instance.track_others).map(|track| track.tracker)
    }

    /// The scripts that somebody tracks.
    pub(crate) fn tracked_scripts(&self) -> BTreeSet<ScriptId> {
        let script = |tracker| if let Tracker::Script(id) = tracker { Some(id) } else { None };
        self.trackers().filter_map(script).collect()
    }

    /// The files, processes and sessions that somebody tracks.
    pub(crate) fn tracked_watches(&self) -> BTreeSet<WatchId> {
        let watch = |tracker| if let Tracker::Watch(id) = tracker { Some(id) } else { None };
        self.trackers().filter_map(watch).chain(self.checked.iter().map(|(id, _)| *id)).collect()
    }
}

fn has_one_of(new: &[InstanceId], former: &[InstanceId]) -> bool {
    new.iter().any(|id| former.contains(id))
}

fn merge(all: &mut BTreeMap<DomainId, GateDomain>, domain: GateDomain) {
    let known = all.entry(domain.id).or_insert_with(|| GateDomain {
        id: domain.id,
        addresses: Vec::new(),
        refused: Vec::new(),
        routers: Vec::new(),
    });
    for address in domain.addresses {
        if !known.addresses.contains(&address) {
            known.addresses.push(address);
        }
    }
    for address in domain.refused {
        if !known.refused.contains(&address) {
            known.refused.push(address);
        }
    }
    for router in domain.routers {
        if !known.routers.contains(&router) {
            known.routers.push(router);
        }
    }
}

#[cfg(test)]
mod tests;
