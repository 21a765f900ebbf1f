//! The rate watch: is another host's clock within what the lease assumes of it and ours (T1, rho, H)?
//!
//! Every answer of a voter carries its boot clock (R17), and so does every beat. A *reading* is that clock
//! with the two instants of our own clock between which it was read: when we sent what it answers, and when
//! the answer was taken from its queue. Two readings bound how far each clock went between them, whatever the
//! network did: delay only widens the bounds. So what is called a breach here is certain, and what is
//! uncertain is called nothing.
//!
//! With v what their clock shows to have passed and a what ours does, the assumptions are kept while
//!
//! ```text
//! v <= (a + H)*(1+rho)/(1-rho)    our clock has lost no more than H
//! a <= (v + H)*(1+rho)/(1-rho)    theirs has lost no more than H
//! ```
//!
//! H is allowed once in each lease length. Over the long window, which finds a wrong rate, it is allowed for all
//! losses together that are too small or too uncertain to be seen as steps.
//!
//! What must stay true: honest clocks are never accused, by any delay, loss, duplication or reordering.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::timing::LeaseTiming;
use crate::time::{Instant, nanos};

/// Parts per million.
const PPM: u64 = 1_000_000;
/// Readings kept for steps: two lease lengths of them.
const KEPT: usize = 32;
/// How long a reading serves as the far end of the long window, which finds small errors of rate.
const ANCHOR: Duration = Duration::from_secs(60);
/// While an anchor is younger than this, one that was read more exactly takes its place.
const ANCHOR_SETTLES: Duration = Duration::from_secs(5);

/// What the lease assumes of clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// rho in parts per million; 0 claims what no clock can keep, and turns the watch off.
    pub rate_error_ppm: u32,
    /// H: how much of a lease length may be hidden from a host's clock.
    pub hidden_freeze: Duration,
    /// L_a, the length within which H may be lost once.
    pub lease: Duration,
}

impl From<&LeaseTiming> for Bounds {
    fn from(timing: &LeaseTiming) -> Self {
        Bounds { rate_error_ppm: timing.rate_error_ppm, hidden_freeze: timing.hidden_freeze, lease: timing.lease }
    }
}

impl Bounds {
    fn rho(&self) -> u64 {
        u64::from(self.rate_error_ppm).min(PPM / 2)
    }

    /// `span*(1-rho)/(1+rho)`: the least that another clock within rho shows meanwhile.
    fn shrink(&self, span: u64) -> u64 {
        let (by, over) = (PPM - self.rho(), PPM + self.rho());
        // Hours of nanoseconds fit; a division of 128 bits is dear.
        if let Some(product) = span.checked_mul(by) {
            return product / over;
        }
        u64::try_from(u128::from(span) * u128::from(by) / u128::from(over)).unwrap_or(u64::MAX)
    }

    /// `span*(1+rho)/(1-rho)`: the most.
    fn grow(&self, span: u64) -> u64 {
        let (by, over) = (PPM + self.rho(), PPM - self.rho());
        if let Some(product) = span.checked_mul(by) {
            return product.div_ceil(over);
        }
        u64::try_from((u128::from(span) * u128::from(by)).div_ceil(u128::from(over))).unwrap_or(u64::MAX)
    }

    /// What our clock has shown at least while another one within rho showed `theirs`: freezes of ours are hidden from
    /// it, H in each lease length.
    pub(crate) fn least(&self, theirs: Duration) -> Duration {
        let theirs = nanos(theirs);
        Duration::from_nanos(self.shrink(theirs).saturating_sub(self.allowance(self.grow(theirs))))
    }

    /// What our clock has shown at most meanwhile.
    pub(crate) fn most(&self, theirs: Duration) -> Duration {
        Duration::from_nanos(self.grow(nanos(theirs)))
    }

    /// What may be lost within a span of our clock: H in each lease length that it touches.
    fn allowance(&self, span: u64) -> u64 {
        let lengths = span.checked_div(nanos(self.lease)).unwrap_or(0).saturating_add(1);
        nanos(self.hidden_freeze).saturating_mul(lengths)
    }
}

/// Another host's clock, and between which instants of ours it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// When we sent what was answered: theirs was read no sooner.
    pub sent: Instant,
    /// When the answer was taken from our queue: theirs was read no later.
    pub received: Instant,
    /// What theirs showed.
    pub clock: Instant,
}

impl Reading {
    /// How uncertain it is.
    fn width(&self) -> Duration {
        self.received.since(self.sent)
    }
}

/// Whose clock has lost time against the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loser {
    /// Ours; or theirs has gained. A lease that counts by ours lasts too long.
    Ours,
    /// Theirs; or ours has gained.
    Theirs,
}

/// How time was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Within one lease length: a hidden freeze, or a restored memory snapshot.
    Step,
    /// Bit by bit: a wrong rate.
    Drift,
}

/// A breach of the assumptions, certain but for who of the two is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breach {
    /// Whose clock lost time.
    pub loser: Loser,
    /// How.
    pub manner: Manner,
    /// How much at least, beyond what rho explains.
    pub lost: Duration,
    /// By our clock: not before this.
    pub since: Instant,
    /// By our clock: not after this.
    pub until: Instant,
}

/// What is known of one other clock.
#[derive(Debug, Clone)]
pub struct RateWatch {
    bounds: Bounds,
    recent: VecDeque<Reading>,
    last: Option<Reading>,
    /// Far end of the long window, and the one that will follow it.
    anchor: Option<Reading>,
    next_anchor: Option<Reading>,
}

impl RateWatch {
    /// Nothing is known yet.
    pub fn new(bounds: Bounds) -> Self {
        RateWatch { bounds, recent: VecDeque::new(), last: None, anchor: None, next_anchor: None }
    }

    /// Takes a reading and says whether it breaches the assumptions together with an earlier one. After a
    /// breach the watch begins anew from this reading.
    pub fn observe(&mut self, reading: Reading) -> Option<Breach> {
        if self.bounds.rate_error_ppm == 0 || reading.received < reading.sent {
            return None;
        }
        if self.last.is_some_and(|last| reading.clock < last.clock && reading.sent >= last.received) {
            // It went back: another matter, for which its voter is not believed (R17).
            *self = RateWatch::new(self.bounds);
        }
        let breach = self.step(&reading).or_else(|| self.drift(&reading));
        if breach.is_some() {
            *self = RateWatch::new(self.bounds);
        }
        self.keep(reading);
        breach
    }

    fn step(&self, reading: &Reading) -> Option<Breach> {
        let lease = nanos(self.bounds.lease);
        let near = self.recent.iter().filter(|early| reading.received.nanos_since(early.sent) <= lease);
        let breaches = near.chain(&self.last).filter_map(|early| {
            let allowed = || self.bounds.allowance(reading.received.nanos_since(early.sent));
            breach(&self.bounds, early, reading, allowed, Manner::Step)
        });
        breaches.max_by_key(|breach| breach.lost)
    }

    fn drift(&self, reading: &Reading) -> Option<Breach> {
        let anchor = self.anchor.as_ref()?;
        breach(&self.bounds, anchor, reading, || nanos(self.bounds.hidden_freeze), Manner::Drift)
    }

    fn keep(&mut self, reading: Reading) {
        let stepped = self.last.as_ref().is_some_and(|last| self.has_stepped(last, &reading));
        if self.anchor.is_none() || stepped {
            (self.anchor, self.next_anchor) = (Some(reading), None);
        }
        if let Some(anchor) = &mut self.anchor
            && reading.received.since(anchor.received) < ANCHOR_SETTLES
            && reading.width() < anchor.width() / 2
        {
            *anchor = reading;
        }
        match &self.next_anchor {
            None if self.anchor.is_some_and(|anchor| reading.received.since(anchor.received) >= ANCHOR) => {
                self.next_anchor = Some(reading);
            }
            Some(next) if reading.received.since(next.received) >= ANCHOR => {
                self.anchor = self.next_anchor.replace(reading);
            }
            None | Some(_) => {}
        }
        if self.last.is_none_or(|last| last.clock <= reading.clock) {
            self.last = Some(reading);
        }
        // Thinned out, so that many answers at once do not push out what lies a lease back.
        let apart = self.bounds.lease / 16;
        let far = self.recent.back().is_none_or(|back| reading.received.since(back.received) >= apart);
        if far {
            self.recent.push_back(reading);
        }
        let old = self.bounds.lease * 2;
        while self.recent.len() > KEPT || self.recent.front().is_some_and(|f| reading.received.since(f.sent) > old) {
            self.recent.pop_front();
        }
    }

    /// A freeze that H covers, or a gap in which one may be hidden, is no error of rate: the long window begins
    /// after it.
    fn has_stepped(&self, last: &Reading, reading: &Reading) -> bool {
        let span = reading.received.since(last.sent);
        let lost = [ours_lost(&self.bounds, last, reading), theirs_lost(&self.bounds, last, reading)];
        let jumped = lost.into_iter().flatten().any(|lost| lost > nanos(span) / 4);
        jumped || (!self.bounds.hidden_freeze.is_zero() && span > self.bounds.lease)
    }

    /// Whether this clock shows that ours did *not* lose what another one says. For a step it takes a reading
    /// that was asked for after the accusation, `found_at`.
    pub fn clears(&self, accusation: &Breach, found_at: Instant) -> bool {
        let Some(late) = self.last else { return false };
        match accusation.manner {
            Manner::Step => {
                let before = self.recent.iter().chain(&self.anchor);
                let mut before = before.filter(|early| early.received <= accusation.since && early.clock <= late.clock);
                late.sent >= found_at
                    && before.any(|early| {
                        let ours = nanos(late.sent.since(early.received)).saturating_add(nanos(accusation.lost));
                        nanos(late.clock.since(early.clock)) < self.bounds.shrink(ours)
                    })
            }
            Manner::Drift => self.anchor.is_some_and(|anchor| {
                let ours = late.sent.since(anchor.received);
                ours >= accusation.until.since(accusation.since) / 2
                    && nanos(late.clock.since(anchor.clock)) <= self.bounds.grow(nanos(ours))
            }),
        }
    }
}

fn breach(
    bounds: &Bounds,
    early: &Reading,
    late: &Reading,
    allowed: impl Fn() -> u64,
    manner: Manner,
) -> Option<Breach> {
    let found = |loser, lost| Breach {
        loser,
        manner,
        lost: Duration::from_nanos(lost),
        since: early.sent,
        until: late.received,
    };
    let ours = ours_lost(bounds, early, late).filter(|lost| *lost > allowed()).map(|lost| found(Loser::Ours, lost));
    let theirs = || theirs_lost(bounds, early, late).filter(|lost| *lost > allowed());
    ours.or_else(|| theirs().map(|lost| found(Loser::Theirs, lost)))
}

/// What our clock has lost at least between two readings; `None` if perhaps nothing.
fn ours_lost(bounds: &Bounds, early: &Reading, late: &Reading) -> Option<u64> {
    let theirs = late.clock.as_nanos().checked_sub(early.clock.as_nanos())?;
    let ours = late.received.nanos_since(early.sent);
    // Nothing grows by shrinking: mostly there is nothing to divide for.
    if theirs <= ours {
        return None;
    }
    bounds.shrink(theirs).checked_sub(ours).filter(|lost| *lost > 0)
}

/// What theirs has. A clock that has gone backwards is another matter (R17).
fn theirs_lost(bounds: &Bounds, early: &Reading, late: &Reading) -> Option<u64> {
    let theirs = late.clock.as_nanos().checked_sub(early.clock.as_nanos())?;
    let ours = late.sent.nanos_since(early.received);
    if ours <= theirs {
        return None;
    }
    bounds.shrink(ours).checked_sub(theirs).filter(|lost| *lost > 0)
}

#[cfg(test)]
mod tests;
