//! The store's keys, as the judge follows them: who holds each, since when, and whether that could be.

use keepone_proto::id::Epoch;
use keepone_proto::lease::register::{Content, is_mark};
use keepone_proto::time::nanos;

use super::{Oracle, SLACK};
use crate::sim::host::Host;
use crate::sim::network::MS;
use crate::sim::plan::{DOMAINS, Plan};
use crate::sim::store::Lease;

/// A domain's key.
#[derive(Debug, Clone, Copy, Default)]
struct Key {
    held: Option<Epoch>,
    highest: Option<Epoch>,
    /// Real time until which nobody else is granted it, by the fastest clock.
    barred_until: u64,
}

/// All keys.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    keys: [Key; DOMAINS],
    /// L_max by the fastest clock: for how long a lost key is nobody's.
    lost_for: u64,
    rate_error_ppm: u32,
}

impl Shelf {
    pub(super) fn new(plan: &Plan) -> Self {
        let rate_error_ppm = plan.timing.rate_error_ppm;
        let lost_for = shortest(nanos(plan.timing.lease_max), rate_error_ppm);
        Shelf { keys: [Key::default(); DOMAINS], lost_for, rate_error_ppm }
    }
}

/// What a length is by the fastest clock.
fn shortest(length: u64, rate_error_ppm: u32) -> u64 {
    length.saturating_mul(1_000_000) / (1_000_000 + u64::from(rate_error_ppm))
}

impl Oracle {
    /// A swap has taken place: I3, who held the key before has no frame on its way any more; I12, its epochs don't fall.
    /// `hangs_on` is the lease whose end lets others in, if it is one's.
    pub fn on_swap(&mut self, now: u64, place: usize, content: Content, hangs_on: Option<Lease>, hosts: &[Host]) {
        let Some(key) = self.store.keys.get(place).copied() else { return };
        let held = content.held;
        let lease = held.map_or(0, |held| nanos(held.lease));
        let (from, lease) = hangs_on.map_or((now, lease), |lease| (lease.since, nanos(lease.length)));
        let next = Key {
            held: held.map(|held| held.epoch),
            highest: Some(content.highest),
            barred_until: from + shortest(lease, self.store.rate_error_ppm),
        };
        if let Some(key) = self.store.keys.get_mut(place) {
            *key = next;
        }
        if !self.is_strict() {
            return;
        }
        if key.highest > next.highest {
            self.violated("I12", now, || format!("the key's epochs fall from {:?} to {:?}", key.highest, next.highest));
        }
        let ended = key.held.filter(|epoch| next.held.is_none_or(|held| held.node != epoch.node));
        if let Some(epoch) = ended {
            let holder = Plan::host(epoch.node);
            let Some(kernel) = hosts.get(holder).and_then(|host| host.kernels.get(place)) else { return };
            let gone = kernel.open_until.saturating_add(self.transmit);
            if kernel.epoch == Some(epoch) && gone > now + SLACK {
                self.violated("I3", now, || {
                    format!("the key of {epoch} moves while host {holder}'s frames may pass until {} ms", gone / MS)
                });
            }
        }
    }

    /// All keys are lost, or older ones: nobody is granted one for L_max, or before the store has been down for as long.
    pub fn on_store_spoilt(&mut self, now: u64) {
        let barred_until = now + self.store.lost_for;
        for key in &mut self.store.keys {
            *key = Key { barred_until, ..Key::default() };
        }
    }

    /// I2: the key bars all others until the last frame of who opens under it is gone.
    pub(super) fn check_key(&mut self, now: u64, host: usize, place: usize, gate: (Epoch, u64)) {
        let (epoch, until) = gate;
        let Some(key) = self.store.keys.get(place).copied() else { return };
        let gone = until.saturating_add(self.transmit);
        // A lost one names nobody, nor does one that is marked as lost.
        let is_mark = key.held.is_some_and(is_mark);
        let names = key.held == Some(epoch) || key.highest.is_none() || is_mark;
        if !names || key.barred_until + SLACK < gone {
            self.violated("I2", now, || {
                let (until, barred) = (until / MS, key.barred_until / MS);
                let held = key.held;
                format!(
                    "host {host}'s gate is open until {until} ms under {epoch}; the key: {held:?} until {barred} ms"
                )
            });
        }
    }
}
