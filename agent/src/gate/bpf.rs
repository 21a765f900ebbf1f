//! Means 1: tcx programs on every interface, which compare the boot clock with a deadline in a pinned map.
//!
//! What must stay true: maps, programs and links are pinned, so that the gate outlives the agent and
//! shuts by itself; the gate of a former run is adopted, or goes only when the new one, shut, stands on
//! every interface (R12); who writes has the lock of the directory; moving a deadline is a store, not a system call.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keepone_bpf::{Attach, BpfError, Link, Map, MapKind, Mapping, Place, Program, ensure_bpffs};
use keepone_proto::id::{DomainId, Epoch, Incarnation};
use nix::fcntl::Flock;

use super::adopt::{self, Found, Unfit};
use super::former::{Former, end_former, pins, remove};
use super::interfaces::{self, Interface};
use super::layout::{Digest, Layout};
use super::names::Names;
use super::probe::{DUMMY, Fate, Prober};
use super::program::{self, Header, Maps};
use super::writer::Writer;
use super::{GateConfig, GateDomain, GateError, LeftOpen, slot};
use crate::lock;

/// The programs use a helper that the kernel gives only to GPL-compatible code; MIT is.
const LICENSE: &str = "Dual MIT/GPL";
/// A dead process's last descriptors close a little after it seems gone; longer waits are the caller's.
pub(super) const OWNER_ENDS: Duration = Duration::from_millis(300);

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

/// Loaded when first needed: links that are adopted have theirs in the kernel already, and to have them
/// verified once more takes longer than everything else of an adoption.
#[derive(Debug, Default)]
struct Programs {
    ethernet: Option<Pair>,
    other: Option<Pair>,
}

impl Programs {
    fn of(&mut self, maps: Maps<'_>, header: Header) -> Result<&Pair, BpfError> {
        let place = match header {
            Header::Ethernet => &mut self.ethernet,
            Header::Other => &mut self.other,
        };
        match place {
            Some(pair) => Ok(pair),
            None => Ok(place.insert(Pair::load(maps, header)?)),
        }
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
    /// Of the run that made the pins.
    incarnation: Incarnation,
    layout: Layout,
    deadlines: Arc<Map>,
    names: Names,
    mapping: Arc<Mapping>,
    programs: Programs,
    gated: BTreeMap<u32, Gated>,
    prober: Prober,
    /// Of the directory, as long as anything here can touch the gate: the last to be dropped.
    lock: Option<Flock<File>>,
}

/// What a start found and did.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) gate: BpfGate,
    pub(super) former: Former,
    pub(super) warnings: Vec<String>,
    pub(super) adopted: bool,
    /// What was left open, and is.
    pub(super) open: Vec<LeftOpen>,
}

/// A former run's gate, shut.
struct Adopted {
    gate: BpfGate,
    /// What that run held.
    held: Vec<(DomainId, Epoch)>,
    open: Vec<LeftOpen>,
}

/// Where links come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Each is attached.
    Kernel,
    /// One that is pinned and stands is good.
    Pins,
}

fn own(dir: &Path) -> Result<Flock<File>, GateError> {
    let failed = |source| GateError::Directory { dir: dir.into(), source };
    lock::take(File::open(dir).map_err(failed)?, OWNER_ENDS).map_err(|denied| super::denied(dir, denied))
}

impl BpfGate {
    /// A former run's gate or a new one, shut, on every interface; then the end of the others.
    pub(super) fn open_new(config: &GateConfig) -> Result<Opened, GateError> {
        let layout = Layout::new(config)?;
        let warnings = layout.warnings.clone();
        ensure_bpffs(&config.bpf_dir)?;
        let lock = own(&config.bpf_dir)?;
        let (mut gate, adopted, held, open) = match Self::adopt_any(config, &layout)? {
            Some(Adopted { gate, held, open }) => (gate, true, held, open),
            None => (Self::create(config, layout)?, false, Vec::new(), Vec::new()),
        };
        let former = end_former(&config.bpf_dir, Some(gate.incarnation))?.with(held);
        gate.lock = Some(lock);
        Ok(Opened { gate, former, warnings, adopted, open })
    }

    /// The first former gate that fits in every point.
    fn adopt_any(config: &GateConfig, layout: &Layout) -> Result<Option<Adopted>, GateError> {
        for incarnation in adopt::candidates(&config.bpf_dir)? {
            match Self::adopt(config, incarnation, layout) {
                Ok(adopted) => return Ok(Some(adopted)),
                Err(why) => tracing::debug!(?incarnation, %why, "a former run's gate is replaced"),
            }
        }
        Ok(None)
    }

    fn adopt(config: &GateConfig, incarnation: Incarnation, layout: &Layout) -> Result<Adopted, Unfit> {
        let found = adopt::maps(&config.bpf_dir, incarnation, layout, &config.left_open)?;
        let Found { deadlines, names, mapping, held, open, layout } = found;
        let mut gate = BpfGate {
            dir: config.bpf_dir.clone(),
            incarnation,
            layout,
            deadlines: Arc::new(deadlines),
            names,
            mapping: Arc::new(mapping),
            programs: Programs::default(),
            gated: BTreeMap::new(),
            prober: prober()?,
            lock: None,
        };
        gate.attach(Source::Pins)?;
        gate.remove_stale_links()?;
        for gated in gate.gated.values() {
            gated.test(&gate.prober).map_err(Unfit::SelfTest)?;
        }
        Ok(Adopted { gate, held, open })
    }

    fn create(config: &GateConfig, layout: Layout) -> Result<Self, GateError> {
        let deadlines = Map::create(MapKind::MmapArray, "keepone_until", 4, slot::SLOT_BYTES, layout.slot_count())?;
        let names = Names::create(&layout)?;
        let mapping = deadlines.mmap(true)?;
        names.fill(&layout)?;
        for (domain, slot) in &layout.slots {
            if !slot::write_domain(&mapping, *slot as usize, *domain) {
                return Err(GateError::ReadBack { domain: *domain });
            }
        }
        let mut gate = BpfGate {
            dir: config.bpf_dir.clone(),
            incarnation: config.incarnation,
            layout,
            deadlines: Arc::new(deadlines),
            names,
            mapping: Arc::new(mapping),
            programs: Programs::default(),
            gated: BTreeMap::new(),
            prober: prober()?,
            lock: None,
        };
        if let Err(error) = gate.build() {
            // Half a gate is none: the former one, if any, stays.
            gate.take_down();
            return Err(error);
        }
        Ok(gate)
    }

    fn build(&mut self) -> Result<(), GateError> {
        let maps = maps(&self.deadlines, &self.names);
        // Both kinds, whatever interfaces there are now: a kernel that refuses one shall do so at the start.
        for header in [Header::Ethernet, Header::Other] {
            self.programs.of(maps, header)?;
        }
        let digest = self.layout.digest(maps).map_err(BpfError::from)?;
        self.pin_maps()?;
        self.attach(Source::Kernel)?;
        // Last: what bears a digest is complete. Without one it is as good, but the next run makes its own.
        if let Some(digest) = digest {
            let _ = slot::write_layout(&self.mapping, digest);
        }
        Ok(())
    }

    fn pin(&self, suffix: &str) -> PathBuf {
        slot::pin(&self.dir, self.incarnation, suffix)
    }

    fn link_pin(&self, at: Attach, index: u32) -> PathBuf {
        self.pin(&slot::link_suffix(at, index))
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
        self.attach(Source::Kernel)
    }

    fn attach(&mut self, source: Source) -> Result<usize, GateError> {
        let present = interfaces::list()?;
        let indices: BTreeSet<u32> = present.iter().map(|interface| interface.index).collect();
        // What is only missing from the list, or was moved to another namespace, stays gated.
        let is_gone = |gated: &Gated| gated.egress.info().is_ok_and(|info| info.ifindex.is_none());
        let missing = self.gated.iter().filter(|(index, _)| !indices.contains(index));
        let gone: Vec<u32> = missing.filter(|(_, gated)| is_gone(gated)).map(|(index, _)| *index).collect();
        for index in gone {
            self.gated.remove(&index);
            remove(&self.link_pin(Attach::TcxIngress, index));
            remove(&self.link_pin(Attach::TcxEgress, index));
        }
        let mut attached = 0;
        for interface in present {
            if self.layout.exempt.contains(&interface.name) {
                continue;
            }
            attached += usize::from(self.reconcile(interface, source)?);
        }
        Ok(attached)
    }

    /// Whether the interface is newly gated.
    fn reconcile(&mut self, interface: Interface, source: Source) -> Result<bool, GateError> {
        let index = interface.index;
        let known = self.gated.get(&index).map(|gated| gated.ingress.is_some());
        let (ingress, is_new) = match (known, interface.port) {
            // It became a port: the master is where its frames are judged.
            (Some(true), true) => {
                remove(&self.link_pin(Attach::TcxIngress, index));
                (Some(None), false)
            }
            // It left its master.
            (Some(false), false) => (Some(self.link(&interface, Attach::TcxIngress, source)?), true),
            (Some(_), _) => (None, false),
            (None, port) => {
                let Some(egress) = self.link(&interface, Attach::TcxEgress, source)? else {
                    return Ok(false);
                };
                let ingress = match port {
                    true => None,
                    false => self.link(&interface, Attach::TcxIngress, source)?,
                };
                self.gated.insert(index, Gated { interface, egress, ingress });
                return Ok(true);
            }
        };
        if let Some(gated) = self.gated.get_mut(&index) {
            gated.interface = interface;
            if let Some(ingress) = ingress {
                gated.ingress = ingress;
            }
        }
        Ok(is_new)
    }

    /// A link on the interface; `None` if it has gone meanwhile.
    fn link(&mut self, interface: &Interface, at: Attach, source: Source) -> Result<Option<Link>, GateError> {
        let pin = self.link_pin(at, interface.index);
        if source == Source::Pins
            && let Some(link) = adopt::link(&pin, interface.index, at)
        {
            return Ok(Some(link));
        }
        let pair = self.programs.of(maps(&self.deadlines, &self.names), interface.header)?;
        let program = match at {
            Attach::TcxIngress => &pair.ingress,
            Attach::TcxEgress => &pair.egress,
        };
        attach(program, interface.index, at, &pin)
    }

    /// Takes away the pinned links that the adopted gate has no use for: of interfaces that have gone, and
    /// the incoming ones of interfaces that have become ports.
    fn remove_stale_links(&self) -> Result<(), GateError> {
        for path in pins(&self.dir)? {
            let Some((incarnation, suffix)) = slot::parse_pin(&path) else { continue };
            let Some((at, index)) = slot::parse_link(suffix) else { continue };
            let in_use = self.gated.get(&index).is_some_and(|gated| match at {
                Attach::TcxIngress => gated.ingress.is_some(),
                Attach::TcxEgress => true,
            });
            if incarnation == self.incarnation && !in_use {
                remove(&path);
            }
        }
        Ok(())
    }

    /// What writes its deadlines, from any thread.
    pub(super) fn writer(&self) -> Writer {
        Writer {
            deadlines: Arc::clone(&self.deadlines),
            mapping: Arc::clone(&self.mapping),
            slots: self.layout.slots.clone(),
        }
    }

    /// Gates other domains: those that were there keep their slots and are not touched, new ones stand shut. Where it
    /// fails, all that was gated still is.
    pub(super) fn change(&mut self, domains: &[GateDomain]) -> Result<Layout, GateError> {
        let layout = self.layout.after(domains)?;
        let slots = |of: &Layout| of.slots.values().copied().collect::<BTreeSet<u32>>();
        let (before, after) = (slots(&self.layout), slots(&layout));
        if after.last().is_some_and(|last| *last as usize >= self.mapping.elements()) || !self.names.has_room(&layout) {
            return Err(GateError::NoRoom);
        }
        // Until all is done no later run shall take it for a whole gate.
        slot::write_layout(&self.mapping, Digest::default());
        for (domain, slot) in layout.slots.iter().filter(|(_, slot)| !before.contains(slot)) {
            let at = *slot as usize;
            if !slot::clear(&self.mapping, at) || !slot::write_domain(&self.mapping, at, *domain) {
                return Err(GateError::ReadBack { domain: *domain });
            }
        }
        if let Err(error) = self.names.change(&self.layout, &layout) {
            // What is back is gated again; what can't be put back the next self-test finds.
            let _ = self.names.put_back(&self.layout);
            return Err(error.into());
        }
        for slot in before.difference(&after) {
            slot::clear(&self.mapping, *slot as usize);
        }
        self.layout = layout;
        if let Ok(Some(digest)) = self.layout.digest(maps(&self.deadlines, &self.names)) {
            slot::write_layout(&self.mapping, digest);
        }
        Ok(self.layout.clone())
    }

    /// R14: what is wrong, if anything. Gates interfaces that came meanwhile; what others have broken is put
    /// right and told all the same: frames may have passed, so nothing is to be held until the next test.
    pub(super) fn self_test(&mut self) -> Result<(), String> {
        self.attach_new().map_err(|error| error.to_string())?;
        self.test_names()?;
        self.test_pins()?;
        let mut faults = Vec::new();
        for index in self.gated.keys().copied().collect::<Vec<_>>() {
            let Some(Err(fault)) = self.gated.get(&index).map(|gated| gated.test(&self.prober)) else { continue };
            faults.push(match self.attach_again(index) {
                Ok(()) => format!("{fault}; it is attached again"),
                Err(error) => format!("{fault}; it can't be attached again: {error}"),
            });
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    fn test_names(&self) -> Result<(), String> {
        if self.names.lead_as_in(&self.layout) {
            return Ok(());
        }
        for (address, lead) in self.layout.leads() {
            match self.names.lead_of(address) {
                Ok(found) if found == Some(lead) => {}
                Ok(Some(slot::SHUT_SLOT)) => {
                    return Err(format!("the guardian has sealed the gate of {address}: only a new worker opens it"));
                }
                Ok(_) => {
                    let mended = match self.names.put_back(&self.layout) {
                        Ok(()) => String::from("it is put back"),
                        Err(error) => format!("it can't be put back: {error}"),
                    };
                    return Err(format!("somebody has taken {address} out of the gate's map; {mended}"));
                }
                Err(error) => return Err(format!("the gate's map can't be read: {error}")),
            }
        }
        Ok(())
    }

    /// Is all pinned that must outlive the agent? What is not is pinned again; until then the gate stands, but would go
    /// with the agent, and leave its addresses to whoever removes them.
    fn test_pins(&self) -> Result<(), String> {
        let failed = |error| {
            format!(
                "somebody has removed pins of the gate; they can't be made again: {error}; is bpf_dir on a bpffs still?"
            )
        };
        let mut made = 0;
        let names = self.names.all().into_iter().zip(slot::NAMES);
        for (map, suffix) in iter::once((&*self.deadlines, slot::DEADLINES)).chain(names) {
            let pin = self.pin(suffix);
            if !pin.exists() {
                map.pin(&pin).map_err(failed)?;
                made += 1;
            }
        }
        for (index, gated) in &self.gated {
            let ingress = gated.ingress.as_ref().map(|link| (link, Attach::TcxIngress));
            for (link, at) in iter::once((&gated.egress, Attach::TcxEgress)).chain(ingress) {
                let pin = self.link_pin(at, *index);
                // One that was detached is another fault, and gets a new link below.
                if !pin.exists() && link.info().is_ok_and(|info| info.ifindex.is_some()) {
                    link.pin(&pin).map_err(failed)?;
                    made += 1;
                }
            }
        }
        match made {
            0 => Ok(()),
            _ => Err(format!(
                "somebody has removed {made} pins of the gate in {}, without which it goes with the agent; they are back",
                self.dir.display()
            )),
        }
    }

    /// New links in the place of those on one interface, before all others' programs. What is left of the old
    /// ones stays until the new ones stand, which takes programs of their own: the kernel has each only once.
    fn attach_again(&mut self, index: u32) -> Result<(), GateError> {
        let _old = self.gated.remove(&index);
        self.programs = Programs::default();
        // Also if it is the probe's own name that leads nowhere.
        self.names.put_back(&self.layout)?;
        self.attach(Source::Kernel).map(|_| ())
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
        let pair = self.programs.ethernet.as_ref().unwrap();
        (&pair.ingress, &pair.egress)
    }
}

fn maps<'a>(deadlines: &'a Map, names: &'a Names) -> Maps<'a> {
    Maps { deadlines, vip4: &names.vip4, vip6: &names.vip6, vrid: &names.vrid }
}

pub(super) fn prober() -> Result<Prober, BpfError> {
    Prober::new().map_err(|source| BpfError::System { what: "opening a packet socket (CAP_NET_RAW)".into(), source })
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
                        "the gate for {direction} frames of {name} has been detached by somebody else \
                         (`bpftool net` may tell by whom)"
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
