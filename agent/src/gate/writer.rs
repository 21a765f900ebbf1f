//! The one writer of a gate (R9): memory and one lookup, nothing that waits for the rtnl lock (R15).

use std::collections::BTreeMap;
use std::sync::Arc;

use keepone_bpf::{Map, Mapping};
use keepone_proto::id::{DomainId, Epoch};

use super::{GateError, slot};

/// Writes the deadlines; everything else about a gate is its keeper's.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) deadlines: Arc<Map>,
    pub(super) mapping: Arc<Mapping>,
    pub(super) slots: BTreeMap<DomainId, u32>,
}

impl Writer {
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
}
