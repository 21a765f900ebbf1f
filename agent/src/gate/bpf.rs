//! Means 1: tcx programs on every interface, which compare the boot clock with a deadline in a pinned map.
//!
//! What must stay true: maps, programs and links are pinned, so that the gate outlives the agent and
//! shuts by itself; the gate of a former run goes only when the new one, shut, stands on every
//! interface (R12); moving a deadline is a store, not a system call.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keepone_bpf::{Attach, BpfError, Link, Map, MapKind, Mapping, Place, Program, ensure_bpffs, is_bpffs};
use keepone_proto::id::{DomainId, Epoch, Incarnation};

use super::interfaces::{self, Interface};
use super::probe::{DUMMY, Fate, Prober};
use super::program::{self, Header, Maps};
use super::{GateConfig, GateDomain, GateError, slot};

/// The programs use a helper that the kernel gives only to GPL-compatible code; MIT is.
const LICENSE: &str = "Dual MIT/GPL";
const MAX_NAMES: u32 = 4096;

/// The two programs for one kind of interface.
#[derive(Debug)]
struct Pair {
    ingress: Program,
    egress: Program,
}

impl Pair {
    fn load(maps: Maps<'_>, header: Header) -> Result<Self, BpfError> {
        Ok(Pair {
            ingress: Program::load("keepone_in", LICENSE, &program::ingress(maps, header)?)?,
            egress: Program::load("keepone_out", LICENSE, &program::egress(maps, header)?)?,
        })
    }
}

/// The links on one interface.
#[derive(Debug)]
struct Gated {
    interface: Interface,
    egress: Link,
    /// None on a port of a bridge, bond or team: its frames reach the host through the master.
    ingress: Option<Link>,
}

/// The gate of one incarnation.
#[derive(Debug)]
pub(super) struct BpfGate {
    dir: PathBuf,
    incarnation: Incarnation,
    exempt: BTreeSet<String>,
    slots: BTreeMap<DomainId, u32>,
    addresses: BTreeMap<IpAddr, u32>,
    deadlines: Map,
    names: Names,
    mapping: Mapping,
    ethernet: Pair,
    other: Pair,
    gated: BTreeMap<u32, Gated>,
    prober: Prober,
}

/// The maps from what a frame names to its slot.
#[derive(Debug)]
struct Names {
    vip4: Map,
    vip6: Map,
    vrid: Map,
}

impl Names {
    fn create() -> Result<Self, BpfError> {
        Ok(Names {
            vip4: Map::create(MapKind::Hash, "keepone_vip4", 4, 4, MAX_NAMES)?,
            vip6: Map::create(MapKind::Hash, "keepone_vip6", 16, 4, MAX_NAMES)?,
            vrid: Map::create(MapKind::Hash, "keepone_vrid", 4, 4, 512)?,
        })
    }

    fn all(&self) -> [&Map; 3] {
        [&self.vip4, &self.vip6, &self.vrid]
    }

    fn slot_of(&self, address: IpAddr) -> Result<Option<u32>, BpfError> {
        let value = match address {
            IpAddr::V4(address) => self.vip4.lookup(&address.octets()),
            IpAddr::V6(address) => self.vip6.lookup(&address.octets()),
        }?;
        Ok(value.and_then(|value| value.first_chunk::<4>().copied()).map(u32::from_ne_bytes))
    }

    fn set_address(&self, address: IpAddr, slot: u32) -> Result<(), BpfError> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.vip4.update(&address.octets(), &slot.to_ne_bytes()),
            IpAddr::V6(address) => self.vip6.update(&address.octets(), &slot.to_ne_bytes()),
        }
    }

    /// Fills the maps; the addresses with their slots, and warnings. A VRID that two domains use (on two networks, as it may be) is left out: its
    /// Advertisements are then held back by the agent alone, and the answer names it.
    fn fill(&self, domains: &[&GateDomain]) -> Result<(BTreeMap<IpAddr, u32>, Vec<String>), GateError> {
        let mut addresses = BTreeMap::new();
        let mut routers: BTreeMap<(bool, u8), Option<u32>> = BTreeMap::new();
        for (slot, domain) in (0_u32..).zip(domains) {
            for address in &domain.addresses {
                if addresses.insert(address.to_canonical(), slot).is_some_and(|other| other != slot) {
                    return Err(GateError::SharedAddress(*address));
                }
                self.set_address(*address, slot)?;
            }
            for (vrid, ipv6) in &domain.routers {
                routers
                    .entry((*ipv6, vrid.get()))
                    .and_modify(|owner| *owner = owner.filter(|owner| *owner == slot))
                    .or_insert(Some(slot));
            }
        }
        self.set_address(DUMMY.into(), slot::SHUT_SLOT)?;
        let mut warnings = Vec::new();
        for ((ipv6, vrid), owner) in routers {
            match owner {
                Some(slot) => self.vrid.update(&program::vrid_key(ipv6, vrid), &slot.to_ne_bytes())?,
                None => warnings.push(format!(
                    "virtual_router_id {vrid} (IPv{}) is used by two domains: the kernel's gate leaves its \
                     Advertisements alone; give each its own id to have them gated",
                    if ipv6 { 6 } else { 4 }
                )),
            }
        }
        Ok((addresses, warnings))
    }
}

/// What a start found and did.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) gate: BpfGate,
    pub(super) former: Former,
    pub(super) warnings: Vec<String>,
}

impl BpfGate {
    /// A new gate, shut, on every interface; then the end of former ones.
    pub(super) fn open_new(config: &GateConfig) -> Result<Opened, GateError> {
        let mut domains: Vec<&GateDomain> = config.domains.iter().collect();
        domains.sort_by_key(|domain| domain.id);
        if domains.len() >= slot::SLOTS as usize {
            return Err(GateError::TooManyDomains { have: domains.len(), max: slot::SLOTS as usize - 1 });
        }
        ensure_bpffs(&config.bpf_dir)?;
        let deadlines = Map::create(MapKind::MmapArray, "keepone_until", 4, slot::SLOT_BYTES, slot::SLOTS)?;
        let names = Names::create()?;
        let mapping = deadlines.mmap(true)?;
        let (addresses, warnings) = names.fill(&domains)?;
        let slots: BTreeMap<DomainId, u32> = domains.iter().map(|domain| domain.id).zip(0..).collect();
        for (domain, slot) in &slots {
            if !slot::write_domain(&mapping, *slot as usize, *domain) {
                return Err(GateError::ReadBack { domain: *domain });
            }
        }
        let maps = Maps { deadlines: &deadlines, vip4: &names.vip4, vip6: &names.vip6, vrid: &names.vrid };
        let (ethernet, other) = (Pair::load(maps, Header::Ethernet)?, Pair::load(maps, Header::Other)?);
        let prober = Prober::new()
            .map_err(|source| BpfError::System { what: "opening a packet socket (CAP_NET_RAW)".into(), source })?;
        let mut gate = BpfGate {
            dir: config.bpf_dir.clone(),
            incarnation: config.incarnation,
            exempt: config.exempt.clone(),
            slots,
            addresses,
            deadlines,
            names,
            mapping,
            ethernet,
            other,
            gated: BTreeMap::new(),
            prober,
        };
        if let Err(error) = gate.pin_maps().and_then(|()| gate.attach_new()) {
            // Half a gate is none: the former one, if any, stays as it is.
            gate.take_down();
            return Err(error);
        }
        let former = end_former(&config.bpf_dir, Some(config.incarnation))?;
        Ok(Opened { gate, former, warnings })
    }

    fn pin(&self, suffix: &str) -> PathBuf {
        slot::pin(&self.dir, self.incarnation, suffix)
    }

    fn pin_maps(&self) -> Result<(), GateError> {
        self.deadlines.pin(&self.pin(slot::DEADLINES))?;
        for (map, suffix) in self.names.all().into_iter().zip(slot::NAMES) {
            map.pin(&self.pin(suffix))?;
        }
        Ok(())
    }

    /// Brings the links in line with the interfaces there are; how many were newly gated.
    pub(super) fn attach_new(&mut self) -> Result<usize, GateError> {
        let present = interfaces::list()?;
        let indices: BTreeSet<u32> = present.iter().map(|interface| interface.index).collect();
        // What is only missing from the list, or was moved to another namespace, stays gated.
        let is_gone = |gated: &Gated| gated.egress.info().is_ok_and(|info| info.ifindex.is_none());
        let missing = self.gated.iter().filter(|(index, _)| !indices.contains(index));
        let gone: Vec<u32> = missing.filter(|(_, gated)| is_gone(gated)).map(|(index, _)| *index).collect();
        for index in gone {
            self.gated.remove(&index);
            remove(&self.pin(&format!("-in-{index}")));
            remove(&self.pin(&format!("-out-{index}")));
        }
        let mut attached = 0;
        for interface in present {
            if self.exempt.contains(&interface.name) {
                continue;
            }
            attached += usize::from(self.reconcile(interface)?);
        }
        Ok(attached)
    }

    /// Whether the interface is newly gated.
    fn reconcile(&mut self, interface: Interface) -> Result<bool, GateError> {
        let index = interface.index;
        let (in_pin, out_pin) = (self.pin(&format!("-in-{index}")), self.pin(&format!("-out-{index}")));
        let pair = match interface.header {
            Header::Ethernet => &self.ethernet,
            Header::Other => &self.other,
        };
        match self.gated.get_mut(&index) {
            // It became a port: the master is where its frames are judged.
            Some(gated) if interface.port && gated.ingress.is_some() => {
                gated.ingress = None;
                gated.interface = interface;
                remove(&in_pin);
                Ok(false)
            }
            // It left its master.
            Some(gated) if !interface.port && gated.ingress.is_none() => {
                gated.ingress = attach(&pair.ingress, index, Attach::TcxIngress, &in_pin)?;
                gated.interface = interface;
                Ok(true)
            }
            Some(gated) => {
                gated.interface = interface;
                Ok(false)
            }
            None => {
                let Some(egress) = attach(&pair.egress, index, Attach::TcxEgress, &out_pin)? else {
                    return Ok(false);
                };
                let ingress = match interface.port {
                    true => None,
                    false => attach(&pair.ingress, index, Attach::TcxIngress, &in_pin)?,
                };
                self.gated.insert(index, Gated { interface, egress, ingress });
                Ok(true)
            }
        }
    }

    fn slot(&self, domain: DomainId) -> Result<usize, GateError> {
        self.slots.get(&domain).map(|slot| *slot as usize).ok_or(GateError::UnknownDomain(domain))
    }

    /// Two to five stores and a load.
    pub(super) fn open(&self, domain: DomainId, epoch: Epoch, until: u64) -> Result<(), GateError> {
        let slot = self.slot(domain)?;
        if slot::write_epoch(&self.mapping, slot, epoch) && slot::write_deadline(&self.mapping, slot, until) {
            return Ok(());
        }
        Err(GateError::ReadBack { domain })
    }

    /// Shuts, and asks the kernel itself whether it is.
    pub(super) fn shut(&self, domain: DomainId, epoch: Epoch) -> Result<(), GateError> {
        let slot = self.slot(domain)?;
        let written = slot::write_deadline(&self.mapping, slot, 0) && slot::write_epoch(&self.mapping, slot, epoch);
        let key = u32::try_from(slot).unwrap_or(u32::MAX).to_ne_bytes();
        let seen = self.deadlines.lookup(&key)?.and_then(|value| value.first_chunk::<8>().copied());
        if written && seen == Some([0; 8]) { Ok(()) } else { Err(GateError::ReadBack { domain }) }
    }

    pub(super) fn deadline(&self, domain: DomainId) -> Option<u64> {
        slot::deadline(&self.mapping, self.slot(domain).ok()?)
    }

    /// R14: what is wrong, if anything. Gates interfaces that came meanwhile.
    pub(super) fn self_test(&mut self) -> Result<(), String> {
        self.attach_new().map_err(|error| error.to_string())?;
        for (address, slot) in &self.addresses {
            match self.names.slot_of(*address) {
                Ok(found) if found == Some(*slot) => {}
                Ok(Some(slot::SHUT_SLOT)) => {
                    return Err(format!("the guardian has sealed the gate of {address}: only a new worker opens it"));
                }
                Ok(_) => return Err(format!("somebody has taken {address} out of the gate's map: restart keepone")),
                Err(error) => return Err(format!("the gate's map can't be read: {error}")),
            }
        }
        for gated in self.gated.values() {
            gated.test(&self.prober)?;
        }
        Ok(())
    }

    /// Takes the gate off the interfaces and its pins away. Best effort: what stays, stays shut.
    pub(super) fn take_down(&mut self) {
        self.gated.clear();
        for path in pins(&self.dir).unwrap_or_default() {
            if slot::parse_pin(&path).is_some_and(|(incarnation, _)| incarnation == self.incarnation) {
                remove(&path);
            }
        }
    }

    /// For tests and measurements: the programs of an Ethernet interface, (ingress, egress).
    #[cfg(test)]
    pub(super) fn programs(&self) -> (&Program, &Program) {
        (&self.ethernet.ingress, &self.ethernet.egress)
    }
}

impl Gated {
    fn test(&self, prober: &Prober) -> Result<(), String> {
        let Interface { name, index, .. } = &self.interface;
        let links = [(Some(&self.egress), "outgoing"), (self.ingress.as_ref(), "incoming")];
        for (link, direction) in links.into_iter().filter_map(|(link, direction)| Some((link?, direction))) {
            match link.info() {
                Ok(info) if info.ifindex == Some(*index) => {}
                Ok(_) => {
                    return Err(format!(
                        "the gate for {direction} frames of {name} has been detached by somebody else: \
                         find out by whom (bpftool net), then restart keepone"
                    ));
                }
                Err(error) => return Err(format!("the gate of {name} can't be examined: {error}")),
            }
        }
        match prober.probe(&self.interface) {
            Fate::Refused | Fate::Unusable => Ok(()),
            Fate::Escaped => Err(format!("a frame from {DUMMY} passed the shut gate of {name}")),
            Fate::Failed(error) => Err(format!("the probe frame could not be tried on {name}: {error}")),
        }
    }
}

/// Attaches and pins; `None` if the interface has gone meanwhile.
fn attach(program: &Program, index: u32, at: Attach, pin: &Path) -> Result<Option<Link>, GateError> {
    // First: no program that others attached before may let a frame pass unjudged.
    let link = match Link::attach(program, index, at, Place::First) {
        Ok(link) => link,
        Err(error) if error.errno() == Some(libc::ENODEV) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Left of an interface that had this index before.
    remove(pin);
    link.pin(pin)?;
    Ok(Some(link))
}

fn remove(path: &Path) {
    // What can't be removed stays shut, which is the safe side; it is tried again at the next start.
    let _ = std::fs::remove_file(path);
}

/// Everything in the directory that is ours; the kernel and others may have things there too.
pub(super) fn pins(dir: &Path) -> Result<Vec<PathBuf>, GateError> {
    let failed = |source| GateError::Directory { dir: dir.into(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if slot::parse_pin(&path).is_some() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The former runs' gates: shut at once, taken away by a thread of its own, for the kernel waits tens of
/// milliseconds for each of their links, and a failover must not.
#[derive(Debug)]
pub(super) struct Former {
    /// What they held.
    pub(super) held: Vec<(DomainId, Epoch)>,
    gone: Arc<AtomicBool>,
}

impl Former {
    /// Whether they have been taken away: until then they bar the addresses, too.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

/// Shuts the gates of all runs but `keep`, reads what they held, and begins to take them away.
pub(super) fn end_former(dir: &Path, keep: Option<Incarnation>) -> Result<Former, GateError> {
    let gone = Arc::new(AtomicBool::new(true));
    if !dir.exists() || !is_bpffs(dir)? {
        return Ok(Former { held: Vec::new(), gone });
    }
    let is_former = |path: &PathBuf| slot::parse_pin(path).is_some_and(|(incarnation, _)| Some(incarnation) != keep);
    let former: Vec<PathBuf> = pins(dir)?.into_iter().filter(is_former).collect();
    let mut held = BTreeSet::new();
    for path in &former {
        if slot::parse_pin(path).is_some_and(|(_, suffix)| suffix == slot::DEADLINES)
            && let Ok((epochs, _)) = slot::shut_pinned(path)
        {
            held.extend(epochs);
        }
    }
    if !former.is_empty() {
        gone.store(false, Ordering::Release);
        let (done, paths) = (Arc::clone(&gone), former.clone());
        let remove_all = move || {
            paths.iter().for_each(|path| remove(path));
            done.store(true, Ordering::Release);
        };
        if std::thread::Builder::new().name("former-gate".into()).spawn(remove_all).is_err() {
            former.iter().for_each(|path| remove(path));
            gone.store(true, Ordering::Release);
        }
    }
    Ok(Former { held: held.into_iter().collect(), gone })
}
