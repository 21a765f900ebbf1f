//! The one writer of means 2 (R9): deadlines in a kernel that knows only lifetimes.
//!
//! A set's element lives for a time *relative* to the instant at which the kernel takes it. Who reads the
//! clock, is paused and writes then would open a gate long after its deadline. So each write has two steps:
//!
//! 1. *Arm*: a token that nobody used before is put into `armed` for a short time A. When the kernel has
//!    answered, the clock is read: the token is gone by E = that instant + A at the latest.
//! 2. *Compare and swap*: one transaction takes the token out, which fails as a whole if it has expired, and
//!    puts the open names in with lifetime D - E each. It took place before E, so they end before D.
//!
//! Paused before, between or after these, the write fails or ends by D. One gap is left: newer kernels judge
//! the token by the time at which the transaction began, and count the element's life from when it is made;
//! who is held up *in between, inside the kernel* (a virtual machine that is paused there) ends late by that
//! time. Therefore two sets, written by two transactions, and a gate is open only while both say so: one
//! pause can hit one of the two only, and the other one's element has ended by the former deadline.
//!
//! What must stay true: no element ever outlives its domain's deadline by more than a jiffy; nothing is
//! written without the writer's own token in the table, which a successor or the guardian takes out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keepone_proto::id::{DomainId, Epoch, Incarnation};
use keepone_proto::time::Instant;

use super::sets::{self, ARMED, COPIES, Copied, Element, HELD, KINDS, Kind, Name, WRITER};
use super::socket::{Nft, NftError};
use super::table::list_set;
use super::wire::{Batch, NETDEV};
use crate::clock;
use crate::gate::layout::Layout;
use crate::gate::{GateError, LeftOpen};

/// The shortest life of a token, in jiffies: what a busy host needs between two system calls.
const ARMED_JIFFIES: u32 = 5;
/// Attempts of one write; each arms for twice as long.
const ATTEMPTS: u32 = 4;
/// So often more is written what reads back other than written, before it counts as that and is shut. On a machine that is
/// kept from its ticks the kernel's clock for lifetimes lags by more than a jiffy at times, and a life that was counted then ends
/// later than it may (seen with two processors at a load of ten); written anew it is right.
const AGAIN: u32 = 2;

/// What one domain's gate is open for.
#[derive(Debug, Clone, Copy)]
struct Open {
    epoch: Epoch,
    until: Instant,
}

/// Writes the sets of open names.
#[derive(Debug)]
pub(in crate::gate) struct Writer {
    nft: Nft,
    table: String,
    incarnation: Incarnation,
    slots: BTreeMap<DomainId, u32>,
    /// The names of each domain.
    names: BTreeMap<DomainId, Vec<Name>>,
    jiffy: Duration,
    open: BTreeMap<DomainId, Open>,
    /// The epochs that the table has a record of.
    recorded: BTreeMap<DomainId, Epoch>,
    attempt: u64,
}

/// One tick of the kernel's clock for lifetimes, 1/CONFIG_HZ.
pub(in crate::gate) fn jiffy() -> Duration {
    let resolution = nix::time::clock_getres(nix::time::ClockId::CLOCK_MONOTONIC_COARSE).map(Duration::from);
    // 100 Hz is the slowest that Linux has.
    resolution.unwrap_or(Duration::from_millis(10))
}

impl Writer {
    /// Of a table in which nothing is open, and which has a record of these epochs.
    pub(super) fn new(
        table: &str,
        incarnation: Incarnation,
        layout: &Layout,
        recorded: BTreeMap<DomainId, Epoch>,
    ) -> Result<Self, NftError> {
        Ok(Writer {
            nft: Nft::open()?,
            table: table.to_owned(),
            incarnation,
            slots: layout.slots.clone(),
            names: names_of(layout),
            jiffy: jiffy(),
            open: BTreeMap::new(),
            recorded,
            // Above any of a process before this one that had the same incarnation, and wrote less than once in a nanosecond.
            attempt: clock::now().as_nanos(),
        })
    }

    /// Goes on with what a process of the same life has left open, and shuts all else. What of it is as it was left: of that
    /// epoch, and until then at most.
    pub(super) fn go_on(&mut self, left: &[LeftOpen]) -> Result<Vec<LeftOpen>, GateError> {
        let as_left = left.iter().filter(|(domain, epoch, _)| self.recorded.get(domain) == Some(epoch));
        self.open = as_left.map(|(domain, epoch, until)| (*domain, Open { epoch: *epoch, until: *until })).collect();
        let mut wrong = self.read_back()?;
        for _ in 0..AGAIN {
            if wrong.is_empty() {
                break;
            }
            // The kernel's clock for lifetimes may lag, see above.
            wrong = self.read_back()?;
        }
        wrong.iter().try_for_each(|domain| self.remove(*domain))?;
        Ok(left.iter().filter(|(domain, ..)| self.open.contains_key(domain)).copied().collect())
    }

    /// Writes other domains' names from now on. Those that are open are written at once, so that a name that has come
    /// to an open domain is open as well.
    pub(in crate::gate) fn change(&mut self, layout: &Layout) -> Result<(), GateError> {
        self.names = names_of(layout);
        self.slots.clone_from(&layout.slots);
        self.open.retain(|domain, _| layout.slots.contains_key(domain));
        self.recorded.retain(|domain, _| layout.slots.contains_key(domain));
        if self.open.is_empty() {
            return Ok(());
        }
        let wrong = self.write_all()?;
        wrong.first().map_or(Ok(()), |domain| Err(GateError::ReadBack { domain: *domain }))
    }

    fn slot(&self, domain: DomainId) -> Result<u32, GateError> {
        self.slots.get(&domain).copied().ok_or(GateError::UnknownDomain(domain))
    }

    /// Opens until the deadlines, or moves them; then asks the kernel what is there. All in one go, however
    /// many domains there are. Which of all domains read back other than written, and were shut.
    pub(in crate::gate) fn open(
        &mut self,
        asked: &[(DomainId, Epoch, Instant)],
    ) -> Result<BTreeSet<DomainId>, GateError> {
        for (domain, _, _) in asked {
            self.slot(*domain)?;
        }
        let former = self.open.clone();
        self.open.extend(asked.iter().map(|(domain, epoch, until)| (*domain, Open { epoch: *epoch, until: *until })));
        let written = self.write_all();
        if written.is_err() {
            // At least one of the two sets is as it was.
            self.open = former;
        }
        written
    }

    fn write_all(&mut self) -> Result<BTreeSet<DomainId>, GateError> {
        let mut wrong = self.write_and_read()?;
        for _ in 0..AGAIN {
            if wrong.is_empty() {
                break;
            }
            match self.write_and_read() {
                Ok(seen) => wrong = seen,
                Err(error) => {
                    tracing::error!(%error, "a gate that reads back other than written could not be written again: it is shut");
                    break;
                }
            }
        }
        for domain in &wrong {
            // Out of the books in any case, so that the next write takes out what this leaves.
            if let Err(error) = self.remove(*domain) {
                tracing::error!(%error, "a gate that reads back other than written was not shut at once");
            }
        }
        Ok(wrong)
    }

    fn write_and_read(&mut self) -> Result<BTreeSet<DomainId>, GateError> {
        for copy in COPIES {
            self.write(copy)?;
        }
        #[cfg(test)]
        pause::before_reading();
        Ok(self.read_back()?)
    }

    /// One copy: all names that are open, in one transaction.
    fn write(&mut self, copy: Copied) -> Result<(), GateError> {
        let mut life = self.jiffy * ARMED_JIFFIES;
        let mut attempts = 0;
        loop {
            match self.try_write(copy, life) {
                // Held up for longer than the token lived.
                Err(error) if error.errno() == Some(libc::ENOENT) && error.what == ARMED && attempts < ATTEMPTS => {
                    attempts += 1;
                    life *= 2;
                }
                // The table was made anew.
                Err(error)
                    if error.errno() == Some(libc::ENOENT) && error.what == HELD && !self.recorded.is_empty() =>
                {
                    self.recorded.clear();
                }
                other => return other.map_err(|error| self.explain(error)),
            }
        }
    }

    fn explain(&self, error: NftError) -> GateError {
        match (error.errno(), error.what.as_str()) {
            (Some(libc::ENOENT), WRITER) => GateError::Sealed { table: self.table.clone() },
            _ => error.into(),
        }
    }

    fn try_write(&mut self, copy: Copied, life: Duration) -> Result<(), NftError> {
        self.attempt += 1;
        let token = sets::token(self.incarnation, self.attempt);
        let mut arm = Batch::new();
        sets::add(&mut arm, NETDEV, &self.table, ARMED, &[token.clone().for_ms(millis(life))]);
        self.nft.transact(&arm)?;
        // Read after the answer: the token was there before this.
        let ends = clock::now() + life;
        #[cfg(test)]
        pause::here();

        let own = sets::writer(self.incarnation);
        let mut swap = Batch::new();
        sets::take_out(&mut swap, &self.table, WRITER, &own);
        sets::add(&mut swap, NETDEV, &self.table, WRITER, std::slice::from_ref(&own));
        for kind in KINDS {
            sets::empty(&mut swap, &self.table, kind.open(copy));
            sets::add(&mut swap, NETDEV, &self.table, kind.open(copy), &self.elements(kind, ends));
        }
        self.record(&mut swap);
        // Last, where older kernels still look at the clock.
        sets::take_out(&mut swap, &self.table, ARMED, &token);
        self.nft.transact(&swap)?;
        self.recorded.extend(self.open.iter().map(|(domain, open)| (*domain, open.epoch)));
        Ok(())
    }

    /// The open names of a kind, with lifetimes that end by their deadlines if they begin before `ends`.
    fn elements(&self, kind: Kind, ends: Instant) -> Vec<Element> {
        let of = |(domain, open): (&DomainId, &Open)| {
            // Rounded down; none at all, to the kernel, would be for ever.
            let life = millis(open.until.since(ends));
            let names = self.names.get(domain).filter(|_| life > 0).into_iter().flatten();
            let elements = names.filter(|name| name.kind == kind).map(|name| name.element().for_ms(life));
            elements.collect::<Vec<_>>()
        };
        self.open.iter().flat_map(of).collect()
    }

    /// For a successor to release: under which epochs the gates were opened.
    fn record(&self, batch: &mut Batch) {
        for (domain, open) in &self.open {
            let Some(slot) = self.slots.get(domain) else { continue };
            match self.recorded.get(domain) {
                Some(epoch) if *epoch == open.epoch => continue,
                Some(_) => sets::take_out(batch, &self.table, HELD, &Element::slot(*slot)),
                None => {}
            }
            sets::add(batch, NETDEV, &self.table, HELD, &[sets::held(*slot, *domain, open.epoch)]);
        }
    }

    fn list(&mut self, kind: Kind, copy: Copied) -> Result<Vec<sets::Found>, NftError> {
        list_set(&mut self.nft, &self.table, kind.open(copy))
    }

    /// Nothing may be there that lives beyond its deadline, whatever happened on the way; and what should be
    /// there is. The domains of which that is not so.
    fn read_back(&mut self) -> Result<BTreeSet<DomainId>, NftError> {
        let mut wrong = BTreeSet::new();
        for (kind, copy) in KINDS.into_iter().flat_map(|kind| COPIES.map(|copy| (kind, copy))) {
            let asked_at = clock::now();
            let found = self.list(kind, copy)?;
            let answered_at = clock::now();
            let found: BTreeMap<&[u8], Option<u64>> =
                found.iter().map(|found| (found.key.as_slice(), found.left_ms)).collect();
            for (domain, names) in &self.names {
                let mut lefts =
                    names.iter().filter(|name| name.kind == kind).map(|name| found.get(name.key.as_slice()));
                if !lefts.all(|left| self.is_right(*domain, left.copied(), asked_at, answered_at)) {
                    wrong.insert(*domain);
                }
            }
        }
        Ok(wrong)
    }

    /// Whether an element of a domain, if there is one, has what is left of its life as it should.
    fn is_right(&self, domain: DomainId, left: Option<Option<u64>>, asked_at: Instant, answered_at: Instant) -> bool {
        // Short of its deadline by the token's life at most, and by what rounding takes.
        let short = self.jiffy * (ARMED_JIFFIES << ATTEMPTS) + self.jiffy * 3;
        match (left, self.open.get(&domain)) {
            (None, None) => true,
            // Without a lifetime it would stay for ever.
            (Some(None), _) | (Some(_), None) => false,
            // The answer is later than the question: what is left ends no sooner than this.
            (Some(Some(left)), Some(open)) => asked_at + Duration::from_millis(left) <= open.until + self.jiffy,
            (None, Some(open)) => open.until.since(answered_at) <= short,
        }
    }

    /// Shuts, and asks the kernel whether it is.
    pub(in crate::gate) fn shut(&mut self, domain: DomainId) -> Result<(), GateError> {
        self.slot(domain)?;
        self.remove(domain)
    }

    fn remove(&mut self, domain: DomainId) -> Result<(), GateError> {
        self.open.remove(&domain);
        for (kind, copy) in COPIES.into_iter().flat_map(|copy| KINDS.map(|kind| (kind, copy))) {
            self.remove_from(kind, copy, domain)?;
        }
        Ok(())
    }

    fn remove_from(&mut self, kind: Kind, copy: Copied, domain: DomainId) -> Result<(), GateError> {
        let names: BTreeSet<Name> = self.names.get(&domain).into_iter().flatten().cloned().collect();
        for _ in 0..=ATTEMPTS {
            let found = self.list(kind, copy)?;
            let ours = found.into_iter().filter(|found| names.contains(&Name { kind, key: found.key.clone() }));
            let mut batch = Batch::new();
            ours.for_each(|found| sets::take_out(&mut batch, &self.table, kind.open(copy), &Element::of(&found.key)));
            if batch.is_empty() {
                return Ok(());
            }
            match self.nft.transact(&batch) {
                // One of them expired meanwhile: look again.
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                other => other?,
            }
        }
        Err(GateError::ReadBack { domain })
    }

    pub(in crate::gate) fn deadline(&self, domain: DomainId) -> Option<u64> {
        self.open.get(&domain).map(|open| open.until.as_nanos())
    }
}

/// The names of each domain.
fn names_of(layout: &Layout) -> BTreeMap<DomainId, Vec<Name>> {
    let mut of: BTreeMap<u32, Vec<Name>> = BTreeMap::new();
    for (name, slot) in sets::names(layout) {
        of.entry(slot).or_default().push(name);
    }
    layout.slots.iter().map(|(domain, slot)| (*domain, of.remove(slot).unwrap_or_default())).collect()
}

/// Whole milliseconds, rounded down.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Where a test pauses the process.
#[cfg(test)]
pub(in crate::gate) mod pause {
    use std::sync::OnceLock;

    pub(super) static BETWEEN: OnceLock<fn()> = OnceLock::new();

    pub(super) fn here() {
        static ONCE: std::sync::Once = std::sync::Once::new();
        if let Some(pause) = BETWEEN.get() {
            ONCE.call_once(pause);
        }
    }

    /// What, and how many times more.
    type Deed = (u32, fn());

    thread_local! {
        static BEFORE_READING: std::cell::Cell<Option<Deed>> = const { std::cell::Cell::new(None) };
    }

    pub(super) fn before_reading() {
        if let Some((times, deed)) = BEFORE_READING.take() {
            BEFORE_READING.set((times > 1).then_some((times - 1, deed)));
            deed();
        }
    }

    /// Calls it that many times, on this thread, after a write and before that is read back.
    pub(in crate::gate) fn then(times: u32, deed: fn()) {
        BEFORE_READING.set(Some((times, deed)));
    }

    /// Calls it once, between the two steps of the first write.
    pub(in crate::gate) fn between(pause: fn()) {
        let _ = BETWEEN.set(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A late write of the former process would take the next one's token for its own, and open what is not its to open.
    #[test]
    fn two_processes_of_one_life_number_their_writes_apart() {
        let layout = Layout::of(&[], &BTreeSet::new(), &BTreeMap::new()).unwrap();
        let begun = || Writer::new("none", Incarnation(7), &layout, BTreeMap::new()).unwrap().attempt;
        let former = begun();
        assert!(begun() > former + 10, "a process makes no more writes than nanoseconds pass");
    }
}
