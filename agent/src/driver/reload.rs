//! Another configuration for the shells: what is equal in both is not touched.
//!
//! In this order, so that nothing is ever held that the gate does not bar: the gate bars what is new besides what there
//! was; addresses that are gone are taken out, and new ones are set by the core's own actions; sockets and threads
//! follow; what is not there any more is barred no more.

use std::collections::BTreeSet;
use std::sync::Arc;

use keepone_proto::event::Event;
use keepone_proto::id::{DomainId, InterfaceId};

use super::Shells;
use crate::assemble::Plan;
use crate::control::snapshot::Directory;
use crate::gate::Changed;
use crate::guardian::patience;
use crate::kernel::{Ask, Configuration};
use crate::worker::link_configs;

/// A configuration that can be taken over: nothing of what follows can fail.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) plan: Plan,
    /// What the gate has become for it.
    pub(crate) changed: Option<Changed>,
    /// What everything in it is called.
    pub(crate) directory: Arc<Directory>,
}

/// Which configuration runs.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    /// How many were begun.
    pub(crate) number: u64,
    /// One is being prepared from the plan as it is: that must not change meanwhile.
    pub(crate) is_under_way: bool,
    /// Domains that the core has given up meanwhile.
    retired: Vec<DomainId>,
    /// Requests to the kernel whose end is awaited.
    asked: u64,
    awaited: BTreeSet<u64>,
}

impl Shells {
    /// Takes a configuration over; what the core is told of it, in order.
    pub(crate) fn take_over(&mut self, Prepared { plan, changed, directory }: Prepared) -> Vec<Event> {
        self.directory = Some(directory);
        if let (Some(gate), Some(changed)) = (&mut self.gate, changed) {
            gate.change(changed);
        }
        let gone = self.plan.gone_in(&plan);
        let former = std::mem::replace(&mut self.plan, plan);
        self.pulse.set_patience(patience(&self.plan));
        self.virtual_addresses.extend(self.plan.virtual_addresses());
        self.configure(gone);
        let known = former.settings.interfaces.len();
        let new = self.plan.settings.interfaces.iter().skip(known);
        let names: Vec<String> = new.map(|interface| interface.name.clone()).collect();
        self.interfaces.extend(&self.plan.settings.interfaces);
        if !names.is_empty() {
            self.kernel.ask(Ask::Watch(names));
        }
        self.kernel.ask_links(self.plan.linkbeat.clone());
        let (before, now) = (&former.settings.references, &self.plan.settings.references);
        if (&before.targets, before.timeout) != (&now.targets, now.timeout) {
            self.references.set(now.targets.clone(), now.timeout);
        }
        if let Some(heartbeats) = &mut self.heartbeats {
            heartbeats.set(&link_configs(&self.plan));
        }
        self.tracking.set(&self.plan.tracked, &self.plan.tracked_scripts());
        self.watching.set(&self.plan.watched, &self.plan.tracked_watches());
        self.open_and_close();
        // Whose source an instance's Advertisements have may be another now.
        let interfaces = (0..known).filter_map(|id| u16::try_from(id).ok());
        let events = interfaces.filter_map(|id| self.interface_event(InterfaceId(id))).collect::<Vec<_>>();
        let settings = Box::new(self.plan.settings.clone());
        std::iter::once(Event::Reconfigure(settings)).chain(events).collect()
    }

    /// The reload that was under way has come to its end.
    pub(crate) fn end_reload(&mut self) {
        self.reloads.is_under_way = false;
        if self.plan.part() {
            self.open_and_close();
        }
        for domain in std::mem::take(&mut self.reloads.retired) {
            self.retired(domain);
        }
        self.settle();
    }

    /// The core has given a domain up.
    pub(crate) fn retired(&mut self, domain: DomainId) {
        if self.reloads.is_under_way {
            self.reloads.retired.push(domain);
            return;
        }
        self.plan.retire(domain);
        self.directory = None;
        self.configure(Vec::new());
        self.open_and_close();
    }

    /// What a request to the kernel was to take out is not there any more.
    pub(crate) fn removed(&mut self, number: u64) {
        self.reloads.awaited.remove(&number);
        self.settle();
    }

    /// What is not there any more is no longer barred, once nothing is on its way.
    fn settle(&mut self) {
        if self.reloads.awaited.is_empty() && !self.reloads.is_under_way {
            self.virtual_addresses = self.plan.virtual_addresses();
            self.keeper.change(self.plan.gated(), self.reloads.number);
        }
    }

    fn configure(&mut self, gone: Vec<crate::netlink::address::VirtualAddress>) {
        self.homes = self.plan.homes();
        self.reloads.asked += 1;
        let number = self.reloads.asked;
        self.reloads.awaited.insert(number);
        let plan = &self.plan;
        self.kernel.ask(Ask::Configure(Box::new(Configuration {
            addresses: plan.addresses.clone(),
            statics: plan.statics_in_kernel(),
            groups: plan.track_groups.clone(),
            paths: plan.paths.clone(),
            links: plan.links_in_kernel(),
            settings: plan.settings_of_kernel.clone(),
            gone,
            number,
        })));
    }

    /// Sockets and scripts as the plan has them.
    fn open_and_close(&mut self) {
        self.vrrp.set(self.plan.sockets.clone());
        self.vrrp.tell_strangers(self.plan.strangers_to());
        drop(self.vrrp.refresh());
        self.neighbors.set(self.plan.watched());
        self.announcer.set(self.plan.announced.clone());
        drop(self.neighbors.refresh());
        self.notifier.set(&self.plan);
    }
}
