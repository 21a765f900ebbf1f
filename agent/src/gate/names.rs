//! The maps from what a frame names to its slot.
//!
//! What must stay true: a name leads to its domain's slot or to the slot that is always shut, never to
//! another domain's.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use keepone_bpf::{BpfError, Map, MapKind};
use keepone_proto::id::Incarnation;

use super::layout::Layout;
use super::probe::DUMMY;
use super::{program, slot};

/// Each map has room for so many at least.
const FEW: usize = 512;

/// One map for each kind of name.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) vip4: Map,
    pub(super) vip6: Map,
    pub(super) vrid: Map,
}

impl Names {
    /// With room for a layout's.
    pub(super) fn create(layout: &Layout) -> Result<Self, BpfError> {
        let room = |count: usize| u32::try_from((count + 1).next_power_of_two().max(FEW)).unwrap_or(u32::MAX);
        let v4 = layout.addresses.keys().filter(|address| address.is_ipv4()).count();
        let v6 = layout.addresses.len() - v4;
        Ok(Names {
            vip4: Map::create(MapKind::Hash, "keepone_vip4", 4, 4, room(v4))?,
            vip6: Map::create(MapKind::Hash, "keepone_vip6", 16, 4, room(v6))?,
            vrid: Map::create(MapKind::Hash, "keepone_vrid", 4, 4, room(layout.routers.len()))?,
        })
    }

    /// Those that a former run pinned.
    pub(super) fn open_pinned(dir: &Path, incarnation: Incarnation) -> Result<Self, BpfError> {
        let [vip4, vip6, vrid] = slot::NAMES.map(|suffix| Map::open_pinned(&slot::pin(dir, incarnation, suffix)));
        Ok(Names { vip4: vip4?, vip6: vip6?, vrid: vrid? })
    }

    pub(super) fn all(&self) -> [&Map; 3] {
        [&self.vip4, &self.vip6, &self.vrid]
    }

    /// Its slot, and [`slot::REFUSED`].
    pub(super) fn lead_of(&self, address: IpAddr) -> Result<Option<u32>, BpfError> {
        let value = match address {
            IpAddr::V4(address) => self.vip4.lookup(&address.octets()),
            IpAddr::V6(address) => self.vip6.lookup(&address.octets()),
        }?;
        Ok(value.and_then(|value| value.first_chunk::<4>().copied()).map(u32::from_ne_bytes))
    }

    /// Whether every address of the layout leads where it should, seen at one glance: one by one, thousands of them cost more
    /// each second than all else. What can't be read is not there; others than the layout's do not count.
    pub(super) fn lead_as_in(&self, layout: &Layout) -> bool {
        let mut found: Vec<(IpAddr, u32)> = Vec::with_capacity(layout.addresses.len() + 1);
        let slot = |value: &[u8]| value.first_chunk::<4>().copied().map(u32::from_ne_bytes);
        let four = |key: &[u8]| key.first_chunk::<4>().copied().map(IpAddr::from);
        let six = |key: &[u8]| key.first_chunk::<16>().copied().map(IpAddr::from);
        let read = self.vip4.for_each(|key, value| found.extend(four(key).zip(slot(value))));
        let read = read.and_then(|()| self.vip6.for_each(|key, value| found.extend(six(key).zip(slot(value)))));
        if read.is_err() {
            return false;
        }
        found.sort_unstable();
        let mut found = found.into_iter();
        // Both are in order.
        layout.leads().all(|(address, lead)| {
            found.find(|(there, _)| *there >= address).is_some_and(|there| there == (address, lead))
        })
    }

    fn set_address(&self, address: IpAddr, lead: u32) -> Result<(), BpfError> {
        match address {
            IpAddr::V4(address) => self.vip4.update(&address.octets(), &lead.to_ne_bytes()),
            IpAddr::V6(address) => self.vip6.update(&address.octets(), &lead.to_ne_bytes()),
        }
    }

    /// Leads every name of the layout to its slot; also undoes the guardian's seal.
    pub(super) fn fill(&self, layout: &Layout) -> Result<(), BpfError> {
        self.set(layout, true)
    }

    /// Leads the names that somebody took out to their slots again. Those that are there stay as they are: the
    /// guardian may have sealed them.
    pub(super) fn put_back(&self, layout: &Layout) -> Result<(), BpfError> {
        self.set(layout, false)
    }

    fn set(&self, layout: &Layout, all: bool) -> Result<(), BpfError> {
        for (address, lead) in layout.leads().chain([(DUMMY.into(), slot::SHUT_SLOT)]) {
            if all || self.lead_of(address)?.is_none() {
                self.set_address(address, lead)?;
            }
        }
        for ((ipv6, vrid), slot) in &layout.routers {
            let key = program::vrid_key(*ipv6, *vrid);
            if all || self.vrid.lookup(&key)?.is_none() {
                self.vrid.update(&key, &slot.to_ne_bytes())?;
            }
        }
        Ok(())
    }

    /// Whether there is room for those of a layout.
    pub(super) fn has_room(&self, layout: &Layout) -> bool {
        let fits = |map: &Map, count: usize| count < map.max_entries() as usize;
        let v4 = layout.addresses.keys().filter(|address| address.is_ipv4()).count();
        fits(&self.vip4, v4) && fits(&self.vip6, layout.addresses.len() - v4) && fits(&self.vrid, layout.routers.len())
    }

    /// From the names of one layout to those of another. What both have alike is not touched: the guardian may have
    /// sealed it.
    pub(super) fn change(&self, from: &Layout, to: &Layout) -> Result<(), BpfError> {
        for (address, lead) in to.leads() {
            if from.lead(address) != Some(lead) {
                self.set_address(address, lead)?;
            }
        }
        for ((ipv6, vrid), slot) in &to.routers {
            if from.routers.get(&(*ipv6, *vrid)) != Some(slot) {
                self.vrid.update(&program::vrid_key(*ipv6, *vrid), &slot.to_ne_bytes())?;
            }
        }
        for address in from.addresses.keys().filter(|address| !to.addresses.contains_key(address)) {
            match address {
                IpAddr::V4(address) => self.vip4.delete(&address.octets())?,
                IpAddr::V6(address) => self.vip6.delete(&address.octets())?,
            };
        }
        for (ipv6, vrid) in from.routers.keys().filter(|router| !to.routers.contains_key(router)) {
            self.vrid.delete(&program::vrid_key(*ipv6, *vrid))?;
        }
        Ok(())
    }

    /// Whether exactly the names of the layout are there, wherever they lead.
    pub(super) fn are_of(&self, layout: &Layout) -> Result<bool, BpfError> {
        let mut wanted = [BTreeSet::from([DUMMY.octets().to_vec()]), BTreeSet::new(), BTreeSet::new()];
        let [vip4, vip6, vrid] = &mut wanted;
        for address in layout.addresses.keys() {
            match address {
                IpAddr::V4(address) => vip4.insert(address.octets().to_vec()),
                IpAddr::V6(address) => vip6.insert(address.octets().to_vec()),
            };
        }
        vrid.extend(layout.routers.keys().map(|(ipv6, vrid)| program::vrid_key(*ipv6, *vrid).to_vec()));
        for (map, wanted) in self.all().into_iter().zip(&wanted) {
            if map.keys()?.into_iter().collect::<BTreeSet<_>>() != *wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
