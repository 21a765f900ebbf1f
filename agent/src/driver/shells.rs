//! The shells that the driver holds: sockets, gate, threads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use keepone_arbiter::control::Server;
use keepone_arbiter::etcd::EtcdClient;
use keepone_arbiter::web::Web;
use keepone_arbiter::witness::client::WitnessClient;
use keepone_arbiter::witness::state::Writer;
use keepone_config::Config;
use keepone_proto::event::Event;
use keepone_proto::id::{DomainId, InterfaceId, WatchId};
use keepone_proto::watch::Reading;

use super::pulse::Pulse;
use super::reload::Reloads;
use crate::assemble::{InstanceTransport, Plan};
use crate::checkers::keeper::Checkers;
use crate::checkers::tied::Tied;
use crate::control::snapshot::Directory;
use crate::discipline::Discipline;
use crate::dump::Dumps;
use crate::fencing::Fencing;
use crate::gate_keeper::GateKeeper;
use crate::gate_writer::GateWriter;
use crate::heartbeat::Heartbeats;
use crate::ipvs::Ipvs;
use crate::kernel::{Ask, Kernel};
use crate::mirror::Mirrors;
use crate::net::Interfaces;
use crate::net::announcer::Announcer;
use crate::net::neighbor::Neighbors;
use crate::net::outbox::Outbox;
use crate::net::vrrp::{Family, VrrpSockets};
use crate::netlink::watch::{Change, Interface};
use crate::notify::Notifier;
use crate::notify::alerts::AlertScript;
use crate::record::Record;
use crate::references::References;
use crate::snmp::Snmp;
use crate::tracking::{Tracking, Watching};
use crate::wall_clock::WallClock;

/// All of them.
pub(crate) struct Shells {
    pub(crate) plan: Plan,
    pub(crate) virtual_addresses: BTreeSet<IpAddr>,
    /// Where each of the plan's lives, and whose it is.
    pub(crate) homes: BTreeMap<IpAddr, (DomainId, InterfaceId)>,
    pub(crate) interfaces: Interfaces,
    pub(crate) gate: Option<GateWriter>,
    /// What is held belongs to the next process by now.
    pub(crate) handed_on: bool,
    pub(crate) keeper: GateKeeper,
    /// Why there is no gate.
    pub(crate) gate_fault: String,
    pub(crate) vrrp: VrrpSockets,
    /// Advertisements that leave together.
    pub(crate) outbox: Outbox,
    pub(crate) neighbors: Neighbors,
    pub(crate) announcer: Announcer,
    pub(crate) kernel: Kernel,
    /// Interfaces whose links are dead when asked, whatever netlink says.
    pub(crate) dead_links: BTreeSet<String>,
    pub(crate) heartbeats: Option<Heartbeats>,
    pub(crate) etcd: Option<EtcdClient>,
    pub(crate) witnesses: Option<WitnessClient>,
    pub(crate) references: References,
    pub(crate) tracking: Tracking,
    pub(crate) mirrors: Mirrors,
    pub(crate) discipline: Discipline,
    pub(crate) voter_disk: Option<Writer>,
    pub(crate) notifier: Notifier,
    pub(crate) alert_script: Option<AlertScript>,
    pub(crate) record: Option<Record>,
    pub(crate) dumps: Option<Dumps>,
    /// The lifetime last given to addresses, whole seconds.
    pub(crate) lifetime_s: u32,
    /// To the guardian.
    pub(crate) pulse: Pulse,
    pub(crate) fencing: Fencing,
    pub(crate) watching: Watching,
    pub(crate) checkers: Checkers,
    pub(crate) ipvs: Ipvs,
    pub(crate) reloads: Reloads,
    pub(crate) wall_clock: WallClock,
    /// What everything is called, for the control socket; made off the loop but for what the core has given up since.
    pub(crate) directory: Option<Arc<Directory>>,
    /// The control socket, which goes with this.
    pub(crate) control: Option<Server>,
    /// The web page, whether it is configured or not.
    pub(crate) web: Option<Web>,
    /// SNMP, likewise.
    pub(crate) snmp: Option<Snmp>,
    pub(crate) begins_in_maintenance: bool,
}

impl Shells {
    /// A link or an address changed: the table, then the sockets and the gate, then the core.
    pub(crate) fn on_change(&mut self, change: Change) -> Option<Event> {
        match change {
            Change::Interface(seen) => self.on_interface(&seen),
            Change::AddressGone(gone) => {
                let Some((domain, interface)) = self.homes.get(&gone.address).copied() else {
                    self.kernel.ask(Ask::PutBackStatic { address: gone.address });
                    return None;
                };
                tracing::warn!(
                    address = %gone.address, by = ?gone.port, domain = self.plan.domain_name(domain),
                    "somebody took a virtual address away; it is put back"
                );
                self.kernel.ask(Ask::PutBack { domain, address: gone.address, lifetime_s: self.lifetime_s });
                self.announcer.announce_one(domain, interface, gone.address);
                None
            }
        }
    }

    /// What was found of a BFD session that health checks go by.
    pub(crate) fn tell_checkers(&self, watch: WatchId, reading: &Reading) {
        let checked = self.plan.checked.iter().filter(|(id, _)| *id == watch);
        checked.for_each(|(_, session)| self.checkers.bfd(*session, reading));
    }

    /// Another configuration for the health checks.
    pub(crate) fn configure_checkers(&mut self, config: &Arc<Config>, tied: &[Tied]) {
        self.checkers.set(config, tied, self.ipvs.wish());
    }

    /// Another one for the web page and SNMP.
    pub(crate) fn configure_views(&mut self, config: &Arc<Config>) {
        if let Some(web) = &self.web {
            web.set(crate::web::settings(config.web.as_ref()));
        }
        if let Some(snmp) = &self.snmp {
            snmp.set(config);
        }
    }

    fn on_interface(&mut self, seen: &Interface) -> Option<Event> {
        let was_up =
            self.interfaces.id(&seen.name).and_then(|id| self.interfaces.get(id)).is_some_and(|known| known.up);
        let id = self.interfaces.update(seen)?;
        // They open by themselves, and say what they can't.
        drop(self.vrrp.refresh());
        if seen.up && !was_up {
            drop(self.vrrp.rejoin(id));
        }
        drop(self.neighbors.refresh());
        self.keeper.follow_interfaces();
        if let (Some(heartbeats), Some(ifindex)) = (&self.heartbeats, seen.ifindex) {
            heartbeats.interface_changed(&seen.name, ifindex);
        }
        self.interface_event(id)
    }

    /// A link that is asked for has another answer.
    pub(crate) fn on_link(&mut self, name: String, alive: bool) -> Option<Event> {
        tracing::info!(interface = name, "its link is {} when asked", if alive { "alive" } else { "dead" });
        let id = self.interfaces.id(&name)?;
        if alive {
            self.dead_links.remove(&name);
        } else {
            self.dead_links.insert(name);
        }
        self.interface_event(id)
    }

    /// What the core is told: first the address that Advertisements come from.
    pub(super) fn interface_event(&self, id: InterfaceId) -> Option<Event> {
        let is_virtual = |address: IpAddr| self.virtual_addresses.contains(&address);
        let Event::Interface { interface, up, mut addresses } = self.interfaces.event(id, is_virtual)? else {
            return None;
        };
        let sources: Vec<IpAddr> = self
            .plan
            .transports
            .iter()
            .flatten()
            .filter(|transport| transport.interface == id)
            .filter_map(|transport| {
                let source = self.source(id, transport.family, transport.source)?;
                // One that is tracked is not there unless the interface has it.
                (!transport.tracks_source || addresses.contains(&source)).then_some(source)
            })
            .collect();
        addresses.retain(|address| !sources.contains(address));
        let up = up && !self.interfaces.name(id).is_some_and(|name| self.dead_links.contains(&name));
        Some(Event::Interface { interface, up, addresses: sources.into_iter().chain(addresses).collect() })
    }

    /// The wall clock, where signatures are looked at with it.
    pub(super) fn look_at_wall_clock(&mut self) -> Option<Event> {
        let looks = |transport: &InstanceTransport| transport.hmac.as_ref().is_some_and(|hmac| hmac.window.is_some());
        if self.plan.transports.iter().flatten().any(looks) { self.wall_clock.look() } else { None }
    }

    /// Where an instance's packets come from: the operator's choice, or the interface's own.
    pub(crate) fn source(&self, interface: InterfaceId, family: Family, chosen: Option<IpAddr>) -> Option<IpAddr> {
        let is_virtual = |address: IpAddr| self.virtual_addresses.contains(&address);
        chosen.or_else(|| self.interfaces.advert_source(interface, family, is_virtual))
    }
}
