//! What a host's kernel holds for one domain: the gate with its deadline, and the addresses.
//!
//! It outlives the agent, and keeps the deadline without it; only a reboot takes it away.

use std::collections::BTreeSet;
use std::time::Duration;

use keepone_proto::id::Epoch;
use keepone_proto::time::Instant;

use super::clock::Clock;

/// How the kernel keeps the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateKind {
    /// As it should: absolute, on the boot clock.
    Absolute,
    /// As nftables keeps it: absolute, and seen at the next tick of that many nanoseconds.
    Jiffies(u64),
    /// An ablation: a write under an epoch that has a tombstone opens all the same (R9).
    Reopens,
    /// An ablation: what is left of the deadline when it is computed counts from when it is written.
    Relative,
    /// An ablation: no deadline at all.
    Eternal,
}

/// One domain's gate and addresses.
#[derive(Debug, Clone, Default)]
pub struct Kernel {
    /// The epoch under which the gate was last opened.
    pub epoch: Option<Epoch>,
    /// Real time until which it is open; in the past if it is shut.
    pub open_until: u64,
    /// Real time of the last shutting by hand.
    pub shut_at: u64,
    tombstones: BTreeSet<Epoch>,
    /// Real time until which the addresses live; 0 if there are none.
    pub addresses_until: u64,
}

/// A write that the gate refuses (R9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

impl Kernel {
    /// Whether frames pass.
    pub fn is_open(&self, now: u64) -> bool {
        now < self.open_until
    }

    /// Opens, or moves the deadline.
    ///
    /// # Errors
    /// [`Refused`] under an epoch that has a tombstone.
    pub fn open(
        &mut self,
        now: u64,
        clock: &Clock,
        kind: GateKind,
        write: (Epoch, Instant, Instant),
    ) -> Result<(), Refused> {
        let (epoch, until, decided) = write;
        if kind != GateKind::Reopens && self.tombstones.contains(&epoch) {
            return Err(Refused);
        }
        self.epoch = Some(epoch);
        self.open_until = match kind {
            GateKind::Absolute | GateKind::Reopens => clock.real(until),
            GateKind::Jiffies(jiffy) => clock.real(until).next_multiple_of(jiffy.max(1)),
            GateKind::Relative => now + clock.real_for(until.since(decided)),
            GateKind::Eternal => u64::MAX,
        };
        Ok(())
    }

    /// The host stood still from `from` on for `lasted` nanoseconds, and its clock hides that: all that
    /// its clock bounds lasts longer by as much.
    pub fn froze(&mut self, from: u64, lasted: u64) {
        if self.open_until > from {
            self.open_until = self.open_until.saturating_add(lasted);
        }
        if self.addresses_until > from {
            self.addresses_until = self.addresses_until.saturating_add(lasted);
        }
    }

    /// Tombstone.
    pub fn shut(&mut self, now: u64, epoch: Epoch) {
        self.tombstones.insert(epoch);
        if self.epoch == Some(epoch) {
            self.open_until = self.open_until.min(now);
            self.shut_at = now;
        }
    }

    /// The tombstone of whatever epoch it has, as a starting agent and the guardian write it.
    pub fn shut_any(&mut self, now: u64) {
        if let Some(epoch) = self.epoch {
            self.shut(now, epoch);
        }
    }

    /// Whether an epoch has a tombstone.
    pub fn is_over(&self, epoch: Epoch) -> bool {
        self.tombstones.contains(&epoch)
    }

    /// The addresses are there for their lifetime.
    pub fn add_addresses(&mut self, now: u64, clock: &Clock, lifetime_s: u32) {
        self.addresses_until = now + clock.real_for(Duration::from_secs(lifetime_s.into()));
    }

    /// Whether the addresses are there.
    pub fn has_addresses(&self, now: u64) -> bool {
        now < self.addresses_until
    }
}
