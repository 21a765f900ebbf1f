//! Which epoch a domain's gate is open under, and which have ended (R9, I6): pure, shared by all means.
//!
//! What must stay true: once an epoch has a tombstone, neither it nor any below it opens the gate again; no
//! epoch of another run opens it at all, so that the tombstones of former runs need not be known.

use std::collections::BTreeMap;

use keepone_proto::id::{DomainId, Epoch, Incarnation};

use super::{GateError, LeftOpen};

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    open: Option<Epoch>,
    tombstone: Option<Epoch>,
}

/// One entry a domain.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    incarnation: Incarnation,
    entries: BTreeMap<DomainId, Entry>,
}

impl Ledger {
    pub(super) fn new(incarnation: Incarnation, domains: impl IntoIterator<Item = DomainId>) -> Self {
        Ledger { incarnation, entries: domains.into_iter().map(|domain| (domain, Entry::default())).collect() }
    }

    /// Further domains. One that was ever there keeps its tombstones.
    pub(super) fn add(&mut self, domains: impl IntoIterator<Item = DomainId>) {
        for domain in domains {
            self.entries.entry(domain).or_default();
        }
    }

    fn entry(&mut self, domain: DomainId) -> Result<&mut Entry, GateError> {
        self.entries.get_mut(&domain).ok_or(GateError::UnknownDomain(domain))
    }

    /// Notes that the gate is about to open under `epoch`, if it may.
    pub(super) fn open(&mut self, domain: DomainId, epoch: Epoch) -> Result<(), GateError> {
        if epoch.incarnation != self.incarnation {
            return Err(GateError::Foreign { domain, epoch, incarnation: self.incarnation });
        }
        let entry = self.entry(domain)?;
        match (entry.tombstone, entry.open) {
            (Some(tombstone), _) if epoch <= tombstone => Err(GateError::Tombstoned { domain, epoch, tombstone }),
            (_, Some(current)) if epoch < current => Err(GateError::Stale { domain, epoch, current }),
            _ => {
                entry.open = Some(epoch);
                Ok(())
            }
        }
    }

    /// Goes on with what is open: nothing older opens it, and its tombstone shuts it.
    pub(super) fn go_on(&mut self, open: &[LeftOpen]) -> Result<(), GateError> {
        open.iter().try_for_each(|(domain, epoch, _)| self.open(*domain, *epoch))
    }

    /// Sets the tombstone of `epoch`; an error if the gate is open under a newer one, which then stays.
    pub(super) fn shut(&mut self, domain: DomainId, epoch: Epoch) -> Result<(), GateError> {
        let entry = self.entry(domain)?;
        entry.tombstone = entry.tombstone.max(Some(epoch));
        match entry.open {
            Some(current) if current > epoch => Err(GateError::Stale { domain, epoch, current }),
            _ => {
                entry.open = None;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use keepone_proto::id::NodeId;

    use super::*;

    const D: DomainId = DomainId(1);

    fn epoch(counter: u64, attempt: u32) -> Epoch {
        Epoch { counter, incarnation: Incarnation(9), attempt, node: NodeId::new(1).unwrap() }
    }

    #[test]
    fn after_a_tombstone_nothing_opens_under_that_epoch_or_one_below() {
        let mut ledger = Ledger::new(Incarnation(9), [D]);
        ledger.open(D, epoch(5, 1)).unwrap();
        ledger.shut(D, epoch(5, 1)).unwrap();
        for dead in [epoch(5, 1), epoch(5, 0), epoch(4, 9)] {
            assert!(matches!(ledger.open(D, dead), Err(GateError::Tombstoned { .. })), "{dead:?}");
        }
        ledger.open(D, epoch(6, 2)).unwrap();
    }

    #[test]
    fn a_tombstone_may_come_before_the_first_opening() {
        let mut ledger = Ledger::new(Incarnation(9), [D]);
        ledger.shut(D, epoch(5, 1)).unwrap();
        assert!(ledger.open(D, epoch(5, 1)).is_err());
    }

    #[test]
    fn a_late_tombstone_of_an_older_epoch_leaves_the_newer_one_open_and_says_so() {
        let mut ledger = Ledger::new(Incarnation(9), [D]);
        ledger.open(D, epoch(7, 1)).unwrap();
        assert!(matches!(ledger.shut(D, epoch(6, 1)), Err(GateError::Stale { .. })));
        ledger.open(D, epoch(7, 1)).unwrap();
        assert!(matches!(ledger.open(D, epoch(6, 2)), Err(GateError::Tombstoned { .. } | GateError::Stale { .. })));
    }

    #[test]
    fn an_epoch_of_another_run_opens_nothing_however_high_but_may_be_ended() {
        let mut ledger = Ledger::new(Incarnation(8), [D]);
        assert!(matches!(ledger.open(D, epoch(99, 1)), Err(GateError::Foreign { .. })));
        ledger.shut(D, epoch(5, 1)).unwrap();
        ledger.open(D, Epoch { incarnation: Incarnation(8), ..epoch(6, 1) }).unwrap();
    }

    #[test]
    fn a_domain_that_nobody_configured_is_refused() {
        let mut ledger = Ledger::new(Incarnation(9), [D]);
        assert!(matches!(ledger.open(DomainId(2), epoch(1, 1)), Err(GateError::UnknownDomain(DomainId(2)))));
    }
}
