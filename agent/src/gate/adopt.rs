//! Taking over the pinned gate of a former run instead of building another one: to attach and detach links
//! costs the kernel tens of milliseconds each, and a failover must not wait for that.
//!
//! What must stay true: only a dead run's gate is taken over, which the lock on the directory of pins
//! shows; its deadlines are zero before a single name leads to them again, but for what a process of this very life has
//! left open (docs/decisions/0210); what does not fit in every
//! point is left to be replaced.

use std::path::Path;

use keepone_bpf::{Attach, BpfError, Link, Map, Mapping};
use keepone_proto::id::{DomainId, Epoch, Incarnation};

use super::former::pins;
use super::layout::Layout;
use super::names::Names;
use super::program::Maps;
use super::slot;
use super::{GateError, LeftOpen};

/// Why a former gate can't be taken over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// A map that is missing, or that the kernel does not give.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// In the course of attaching what is missing.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Programs, domains, addresses, VRIDs, exempt interfaces or the network namespace differ, or it was
    /// never finished.
    #[error("it was made for another configuration, by another version, or never finished")]
    Layout,
    /// Somebody else's hand.
    #[error("its maps hold other names than those that it was made with")]
    Names,
    /// A deadline that is not zero after zero was written.
    #[error("it can't be shut: somebody else writes to its map")]
    Shut,
    /// R14.
    #[error("it fails its self-test: {0}")]
    SelfTest(String),
}

/// The maps of a former run, shut.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) deadlines: Map,
    pub(super) names: Names,
    pub(super) mapping: Mapping,
    /// What the former run held.
    pub(super) held: Vec<(DomainId, Epoch)>,
    /// What was left open on purpose, and is.
    pub(super) open: Vec<LeftOpen>,
    /// The wanted one, with the slots of the former run.
    pub(super) layout: Layout,
}

/// The runs that have an array of deadlines in the directory.
pub(super) fn candidates(dir: &Path) -> Result<Vec<Incarnation>, GateError> {
    let pins = pins(dir)?;
    let parsed = pins.iter().filter_map(|path| slot::parse_pin(path));
    Ok(parsed.filter(|(_, suffix)| *suffix == slot::DEADLINES).map(|(incarnation, _)| incarnation).collect())
}

/// Opens the maps of a run if they were made for the layout, shuts them, and undoes the guardian's seal. What is left open
/// on purpose stays so: by exactly that epoch, until exactly then.
pub(super) fn maps(
    dir: &Path,
    incarnation: Incarnation,
    layout: &Layout,
    left_open: &[LeftOpen],
) -> Result<Found, Unfit> {
    let deadlines = Map::open_pinned(&slot::pin(dir, incarnation, slot::DEADLINES))?;
    if deadlines.value_size() != slot::SLOT_BYTES as usize || deadlines.max_entries() != layout.slot_count() {
        return Err(Unfit::Layout);
    }
    let mapping = deadlines.mmap(true)?;
    let names = Names::open_pinned(dir, incarnation)?;
    // A run that took other configurations over has given the slots in another order than a start does.
    let layout = &layout.renumbered(&slot::all_domains(&mapping)).ok_or(Unfit::Layout)?;
    let maps = Maps { deadlines: &deadlines, vip4: &names.vip4, vip6: &names.vip6, vrid: &names.vrid };
    let digest = layout.digest(maps).map_err(BpfError::from)?;
    if digest.is_none() || slot::layout(&mapping) != digest {
        return Err(Unfit::Layout);
    }
    if !names.are_of(layout)? {
        return Err(Unfit::Names);
    }
    let open = slot::open_as(&mapping, left_open);
    if !slot::shut_all_slots_but(&mapping, &open.iter().map(|(slot, _)| *slot).collect()) {
        return Err(Unfit::Shut);
    }
    let open = open.into_iter().map(|(_, left)| left).collect();
    let held = slot::all_held(&mapping);
    for (domain, slot) in &layout.slots {
        if !slot::write_domain(&mapping, *slot as usize, *domain) {
            return Err(Unfit::Shut);
        }
    }
    names.fill(layout)?;
    Ok(Found { deadlines, names, mapping, held, open, layout: layout.clone() })
}

/// The pinned link, if it still stands where it should.
pub(super) fn link(pin: &Path, index: u32, at: Attach) -> Option<Link> {
    let link = Link::open_pinned(pin).ok()?;
    let info = link.info().ok()?;
    (info.ifindex == Some(index) && info.attach == Some(at)).then_some(link)
}
