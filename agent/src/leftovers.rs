//! What stays in the kernel when whoever put it there ends: the guardian takes it out.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::assemble::Plan;
use crate::netlink::address::VirtualAddress;
use crate::netlink::at_once::remove_now;
use crate::netlink::link::{Links, OwnLink};
use crate::netlink::path::{Owner, Path};
use crate::voice::say;

/// Addresses, routes, rules and interfaces.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Leftovers {
    addresses: Vec<VirtualAddress>,
    paths: Vec<Path>,
    links: Vec<OwnLink>,
}

impl Leftovers {
    /// Of a dead worker: whatever was there while it was Master.
    pub(crate) fn of_worker(plan: &Plan) -> Self {
        let paths = plan.paths.iter().filter(|(owner, _)| **owner != Owner::Agent);
        Leftovers {
            addresses: plan.addresses.values().flatten().cloned().collect(),
            paths: paths.flat_map(|(_, list)| list).cloned().collect(),
            // They are silent behind the shut gate, and the next worker takes them over.
            links: Vec::new(),
        }
    }

    /// Of the agent: what is there as long as it runs, whoever its worker is.
    pub(crate) fn of_agent(plan: &Plan) -> Self {
        Leftovers {
            addresses: plan.statics.iter().map(|(address, _)| address.clone()).collect(),
            paths: plan.paths.get(&Owner::Agent).cloned().unwrap_or_default(),
            links: plan.own_links.clone(),
        }
    }

    /// And what `others` has besides.
    pub(crate) fn add(&mut self, others: Leftovers) {
        let Leftovers { addresses, paths, links } = others.without(self);
        self.addresses.extend(addresses);
        self.paths.extend(paths);
        self.links.extend(links);
    }

    /// Without what `others` has as well.
    pub(crate) fn without(mut self, others: &Leftovers) -> Self {
        // They may be tens of thousands, and the guardian has a worker to watch.
        let known: BTreeSet<&VirtualAddress> = others.addresses.iter().collect();
        self.addresses.retain(|one| !known.contains(one));
        self.paths.retain(|one| !others.paths.contains(one));
        self.links.retain(|one| !others.links.contains(one));
        self
    }

    /// The same of what is there as long as the agent, at its end: what stays is said.
    pub(crate) fn remove_statics(&self, step: Duration) {
        if let Err(error) = self.remove(step, || {}) {
            say(format_args!("what is there as long as the agent could not be removed: {error}"));
        }
    }

    /// Takes it out; `meanwhile`, each `step`, something else is done.
    ///
    /// # Errors
    /// What is still there, and why.
    pub(crate) fn remove(&self, step: Duration, meanwhile: impl FnMut()) -> Result<(), String> {
        let mut faults = Vec::new();
        if !self.addresses.is_empty() || !self.paths.is_empty() {
            faults.extend(remove_now(&self.addresses, &self.paths, step, meanwhile).err());
        }
        if !self.links.is_empty() {
            match Links::open() {
                Ok(links) => faults.extend(links.remove(&self.links)),
                Err(error) => faults.push(format!("no netlink socket to delete interfaces: {error}")),
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }
}
