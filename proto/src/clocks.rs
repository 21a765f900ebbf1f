//! Judgement over clocks: is ours, or a voter's, beyond what the lease assumes (T1, rho, H; R17)?
//!
//! Readings of the other hosts' clocks come with the voters' answers and with beats ([`crate::lease::rate`]).
//! A breach is certain, but two clocks alone can't say whose it is:
//!
//! - Where **ours lost time** against one other, the rest are asked at once, and nothing is counted until
//!   they have answered, for a round trip at most: the gate keeps the deadline that it had. If as many clear
//!   us as accuse us, the accusers are off; else we are: the gate is shut and the epoch given up. With a single
//!   other clock there is nobody to ask, and we are.
//! - Where **theirs lost time** it is they whose word is not taken. To a holder that is never a danger but
//!   after a restored memory snapshot, when grants are forgotten.
//!
//! A clock that is off is not believed for L_max, and for a minute if its rate is wrong.
//!
//! What must stay true: no answer that shows a breach is counted, and none that comes before the verdict.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::event::ClockState;
use crate::id::{Incarnation, NodeId};
use crate::lease::rate::{Bounds, Breach, Loser, Manner, RateWatch, Reading};
use crate::lease::timing::{LeaseTiming, Millis};
use crate::settings::Names;
use crate::time::Instant;

/// How long a clock whose rate was wrong is not believed.
const DRIFTED: Duration = Duration::from_secs(60);
/// Parts per billion in a part per million.
const PPB: u64 = 1_000;

/// The clocks of a node and of those that it hears.
#[derive(Debug, Clone)]
pub(crate) struct Clocks {
    bounds: Bounds,
    lease_max: Duration,
    round_trip: Duration,
    others: BTreeMap<NodeId, Other>,
    /// Some of these may be off: mostly none is, and this is asked for at each step.
    some_off: bool,
    suspicion: Option<Suspicion>,
    /// Why ours is not believed, and until when.
    off: Option<Off>,
    kernel: Option<ClockState>,
    /// Voters that have just become off.
    news: Vec<NodeId>,
}

#[derive(Debug, Clone)]
struct Other {
    incarnation: Incarnation,
    watch: RateWatch,
    heard_at: Instant,
    off: Option<Off>,
}

#[derive(Debug, Clone, Copy)]
struct Off {
    breach: Breach,
    until: Instant,
    /// How many others said so, of how many that are heard.
    said_by: (usize, usize),
}

/// Ours lost time, some say.
#[derive(Debug, Clone)]
struct Suspicion {
    breach: Breach,
    found_at: Instant,
    judge_at: Instant,
    accusers: BTreeMap<NodeId, Breach>,
    clearers: BTreeSet<NodeId>,
}

impl Clocks {
    pub(crate) fn new(timing: &LeaseTiming) -> Self {
        Clocks {
            bounds: Bounds::from(timing),
            lease_max: timing.lease_max,
            round_trip: timing.round_trip,
            others: BTreeMap::new(),
            some_off: false,
            suspicion: None,
            off: None,
            kernel: None,
            news: Vec::new(),
        }
    }

    /// Another host's clock was read. Whether the others are to be asked at once.
    pub(crate) fn observe(&mut self, now: Instant, node: NodeId, incarnation: Incarnation, reading: Reading) -> bool {
        let fresh = || Other { incarnation, watch: RateWatch::new(self.bounds), heard_at: now, off: None };
        let other = self.others.entry(node).or_insert_with(fresh);
        if other.incarnation != incarnation {
            // A restart: perhaps of the host, whose boot clock then began anew.
            (other.incarnation, other.watch) = (incarnation, RateWatch::new(self.bounds));
        }
        other.heard_at = now;
        let found = other.watch.observe(reading);
        match found {
            Some(breach) if breach.loser == Loser::Theirs => {
                self.put_off(now, node, breach, (1, self.heard(now)));
                false
            }
            Some(breach) => self.accuse(now, node, breach),
            None => {
                self.hear_defence(now, node);
                false
            }
        }
    }

    /// How many other hosts' clocks were read within a lease, and are not off.
    fn heard(&self, now: Instant) -> usize {
        let heard = self.others.values().filter(|other| now.since(other.heard_at) <= self.bounds.lease);
        heard.filter(|other| !is_standing(other.off.as_ref(), now)).count()
    }

    fn accuse(&mut self, now: Instant, node: NodeId, breach: Breach) -> bool {
        if self.off.is_some_and(|off| now < off.until) {
            // Known already; but it is not over.
            self.be_off(now, breach, (1, 1));
            return false;
        }
        let asks = self.suspicion.is_none();
        let suspicion = self.suspicion.get_or_insert_with(|| Suspicion {
            breach,
            found_at: now,
            judge_at: now + self.round_trip,
            accusers: BTreeMap::new(),
            clearers: BTreeSet::new(),
        });
        // What has waited in a queue shows a freeze piece by piece.
        let so_far = suspicion.accusers.get(&node).copied();
        let breach = so_far.map_or(breach, |so_far| Breach {
            lost: so_far.lost.saturating_add(breach.lost),
            since: so_far.since,
            ..breach
        });
        suspicion.accusers.insert(node, breach);
        suspicion.clearers.remove(&node);
        if breach.manner == Manner::Drift {
            // The long windows of the others lie open already.
            let others: Vec<NodeId> = self.others.keys().copied().collect();
            others.into_iter().for_each(|other| self.hear_defence(now, other));
        }
        self.judge(now);
        asks && self.suspicion.is_some()
    }

    fn hear_defence(&mut self, now: Instant, node: NodeId) {
        let Some(suspicion) = &mut self.suspicion else { return };
        let Some(other) = self.others.get(&node) else { return };
        let clears = other.watch.clears(&suspicion.breach, suspicion.found_at);
        if clears && !suspicion.accusers.contains_key(&node) && suspicion.clearers.insert(node) {
            self.judge(now);
        }
    }

    /// Ends a suspicion as soon as its end is certain, or nobody is waited for any more.
    fn judge(&mut self, now: Instant) {
        let Some(suspicion) = &self.suspicion else { return };
        let heard = self.heard(now);
        let (accusers, clearers) = (suspicion.accusers.len(), suspicion.clearers.len());
        let all = accusers + clearers >= heard || now >= suspicion.judge_at;
        if accusers * 2 > heard || (all && accusers > clearers) {
            let breach = suspicion.accusers.values().copied().max_by_key(|breach| breach.lost);
            let breach = breach.unwrap_or(suspicion.breach);
            self.suspicion = None;
            self.be_off(now, breach, (accusers, heard));
        } else if all || clearers * 2 >= heard {
            let accusers_said: Vec<(NodeId, Breach)> = suspicion.accusers.iter().map(|(n, b)| (*n, *b)).collect();
            self.suspicion = None;
            for (node, breach) in accusers_said {
                self.put_off(now, node, breach, (clearers, heard));
            }
        }
    }

    fn be_off(&mut self, now: Instant, breach: Breach, said_by: (usize, usize)) {
        let until = now + self.penance(breach.manner);
        match &mut self.off {
            Some(off) if now < off.until => off.until = off.until.max(until),
            Some(_) | None => self.off = Some(Off { breach, until, said_by }),
        }
    }

    fn put_off(&mut self, now: Instant, node: NodeId, breach: Breach, said_by: (usize, usize)) {
        let until = now + self.penance(breach.manner);
        if let Some(other) = self.others.get_mut(&node) {
            let until = other.off.map_or(until, |off| off.until.max(until));
            other.off = Some(Off { breach, until, said_by });
            self.some_off = true;
            self.news.push(node);
        }
    }

    fn penance(&self, manner: Manner) -> Duration {
        match manner {
            Manner::Step => self.lease_max,
            Manner::Drift => self.lease_max.max(DRIFTED),
        }
    }

    /// What the kernel does to the clock's rate.
    pub(crate) fn on_kernel(&mut self, state: ClockState) {
        self.kernel = Some(state);
    }

    /// The slew is more than half of rho: the rest is the quartz's.
    fn is_slewed(&self) -> bool {
        let slew = self.kernel.as_ref().and_then(|state| state.slew_ppb);
        let bound = u64::from(self.bounds.rate_error_ppm).saturating_mul(PPB) / 2;
        self.bounds.rate_error_ppm > 0 && slew.is_some_and(|ppb| ppb.unsigned_abs() > bound)
    }

    /// Our own clock is not to be relied on.
    pub(crate) fn is_off(&self, now: Instant) -> bool {
        self.is_slewed() || self.off.is_some_and(|off| now < off.until)
    }

    /// Whether what a voter grants counts.
    pub(crate) fn is_believed(&self, now: Instant, node: NodeId) -> bool {
        self.suspicion.is_none() && !self.others.get(&node).is_some_and(|other| is_standing(other.off.as_ref(), now))
    }

    /// Voters that are off since the last call: what they granted counts no more.
    pub(crate) fn take_news(&mut self) -> Vec<NodeId> {
        core::mem::take(&mut self.news)
    }

    /// Ends what is over.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.judge(now);
        self.off = self.off.filter(|off| now < off.until);
        if core::mem::take(&mut self.some_off) {
            for other in self.others.values_mut() {
                other.off = other.off.filter(|off| now < off.until);
                self.some_off |= other.off.is_some();
            }
        }
    }

    /// When [`Clocks::tick`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.suspicion.is_none() && self.off.is_none() && !self.some_off {
            return None;
        }
        let others = self.others.values().filter_map(|other| other.off.map(|off| off.until));
        let suspicion = self.suspicion.as_ref().map(|suspicion| suspicion.judge_at);
        suspicion.into_iter().chain(self.off.map(|off| off.until)).chain(others).min()
    }

    /// Whether there is nothing to say.
    fn is_well(&self, now: Instant) -> bool {
        let others = self.others.values().any(|other| is_standing(other.off.as_ref(), now));
        let unread = self.kernel.as_ref().is_some_and(|state| state.error.is_some());
        !others && !unread && !self.is_off(now)
    }

    /// What is wrong, with numbers and the remedy; empty if nothing is.
    pub(crate) fn words(&self, now: Instant, names: &Names) -> String {
        if self.is_well(now) {
            return String::new();
        }
        let mut words = Vec::new();
        let rho = percent(self.bounds.rate_error_ppm);
        if let Some(off) = self.off.filter(|off| now < off.until) {
            let (say, of) = off.said_by;
            words.push(match off.breach.manner {
                Manner::Step => format!(
                    "this node's clock lost at least {} within {} against {say} of {of} others, where H = {} and rho = \
                     {rho} allow less: the machine was frozen without its clock, or came back from a snapshot. It claims \
                     nothing for L_max. Raise hidden_freeze (profile vm), or keep the hypervisor from stopping it",
                    Millis(off.breach.lost),
                    Millis(off.breach.until.since(off.breach.since)),
                    Millis(self.bounds.hidden_freeze)
                ),
                Manner::Drift => format!(
                    "this node's clock runs slow: {} lost within {} against {say} of {of} others, beyond rho = {rho} for \
                     each. It claims nothing for a minute. Repair the clock source, or raise rate_error",
                    Millis(off.breach.lost),
                    Millis(off.breach.until.since(off.breach.since))
                ),
            });
        }
        if self.is_slewed() {
            let slew = self.kernel.as_ref().and_then(|state| state.slew_ppb).unwrap_or_default();
            words.push(format!(
                "the kernel runs this node's clock off by {} ppm, and half of rho = {rho} allows {} ppm: look at adjtimex \
                 (tick, freq) and at the NTP daemon's slew rate, or raise rate_error",
                slew / 1_000,
                self.bounds.rate_error_ppm / 2
            ));
        }
        for (node, other) in &self.others {
            let Some(off) = other.off.filter(|off| now < off.until) else { continue };
            let how = match off.breach.loser {
                Loser::Ours => "gained",
                Loser::Theirs => "lost",
            };
            words.push(format!(
                "{}'s clock {how} at least {} within {}, beyond H = {} and rho = {rho}: what it grants does not count for \
                 a while. Look at its clock, and whether it was frozen or restored from a snapshot",
                names.node(*node),
                Millis(off.breach.lost),
                Millis(off.breach.until.since(off.breach.since)),
                Millis(self.bounds.hidden_freeze)
            ));
        }
        if let Some(why) = self.kernel.as_ref().and_then(|state| state.error.as_ref()) {
            words.push(format!("the rate of this node's clock can't be read ({why}): allow the agent adjtimex(2)"));
        }
        words.join("; ")
    }
}

fn is_standing(off: Option<&Off>, now: Instant) -> bool {
    off.is_some_and(|off| now < off.until)
}

/// Parts per million as a percentage without floating point: `1 %`, `0.5 %`, `0.0123 %`.
fn percent(ppm: u32) -> String {
    let text = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests;
