//! What instances track beside their interfaces: scripts, files, processes and BFD sessions, under one notion.
//!
//! Each is up, down, or a number, or it can't be read; a line's weight makes a FAULT or another priority of that, as
//! keepalived's do (`keepalived.conf(5)`, and measured with 2.2.7 for `reverse`).
//!
//! What must stay true: what can't be read counts as failed, whatever `reverse` says; what nothing is known of yet counts
//! as the worse of what it may turn out to be.

use alloc::format;
use alloc::string::String;

use crate::script::{ScriptMachine, Verdict};
use crate::settings::{Settings, Track, TrackInterface, Tracker};
use crate::time::Instant;
use crate::watch::{State, WatchMachine};

/// A product of a file's number below this is a FAULT; and no tracker moves a priority by more.
const MOST: i32 = 253;

/// All that a node's instances track, their interfaces apart.
#[derive(Debug, Clone)]
pub struct Trackers {
    /// What the core asks for.
    pub scripts: ScriptMachine,
    /// What tells by itself.
    pub watches: WatchMachine,
}

/// What a line of `track_…` does to its instance now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// Nothing is known yet, and it may turn out to be a FAULT.
    pub is_awaited: bool,
    /// It is a FAULT.
    pub is_fault: bool,
    /// Worth an alert.
    pub is_bad: bool,
    /// Added to the priority, -254..=254.
    pub addend: i32,
}

impl Trackers {
    /// Of the scripts the first runs begin at once; of the rest nothing is known yet.
    pub fn new(settings: &Settings, now: Instant) -> Self {
        Trackers {
            scripts: ScriptMachine::new(&settings.scripts, now),
            watches: WatchMachine::new(&settings.watches, now),
        }
    }

    /// Under another configuration: what is tracked still keeps what is known of it.
    pub fn reconfigure(&mut self, settings: &Settings, now: Instant) {
        let instances = settings.domains.iter().flat_map(|domain| &domain.instances);
        let instances = instances.filter_map(|id| settings.instances.get(usize::from(id.0)));
        let tracked = instances.flat_map(|instance| &instance.track_others).filter_map(|track| match track.tracker {
            Tracker::Script(id) => Some(id),
            Tracker::Watch(_) => None,
        });
        self.scripts.reconfigure(&settings.scripts, &tracked.collect(), now);
        self.watches.reconfigure(&settings.watches, now);
    }

    /// When something is due by the clock.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.scripts.next_deadline().into_iter().chain(self.watches.next_deadline()).min()
    }
}

impl Track {
    /// What it does to its instance now.
    pub fn effect(&self, trackers: &Trackers) -> Effect {
        match self.tracker {
            Tracker::Script(id) => match trackers.scripts.verdict(id) {
                Verdict::Unknown => Effect { is_awaited: self.weight == 0, ..self.of_unknown() },
                Verdict::Passes => self.of_two(true),
                Verdict::Fails => self.of_two(false),
            },
            Tracker::Watch(id) => match trackers.watches.state(id) {
                State::Unknown => self.of_unknown(),
                State::Up => self.of_two(true),
                State::Down => self.of_two(false),
                State::Number(number) => self.of_number(number),
                State::Missing => Effect { is_bad: true, ..self.of_number(0) },
                State::Unreadable => self.of_unreadable(),
            },
        }
    }

    /// Its tracker's name, and how that is: of use where it is bad.
    pub fn words(&self, trackers: &Trackers) -> String {
        match self.tracker {
            Tracker::Script(id) => {
                let (name, fault) = trackers.scripts.words(id);
                let reversed = trackers.scripts.verdict(id) == Verdict::Passes;
                format!("{name}: {}", if reversed { "it passes, which is bad by `reverse`" } else { fault })
            }
            Tracker::Watch(id) => match trackers.watches.state(id) {
                State::Up => format!("{}: it is up, which is bad by `reverse`", trackers.watches.name(id)),
                State::Unknown | State::Down | State::Number(_) | State::Missing | State::Unreadable => {
                    format!("{}: {}", trackers.watches.name(id), trackers.watches.words(id))
                }
            },
        }
    }

    fn sign(&self) -> i32 {
        if self.reverse { -1 } else { 1 }
    }

    fn addend(&self, up: bool) -> i32 {
        addend(self.weight, self.reverse, up)
    }

    fn of_two(&self, up: bool) -> Effect {
        of_two(self.weight, self.reverse, up)
    }

    fn of_number(&self, number: i64) -> Effect {
        if self.weight == 0 {
            let is_fault = (number != 0) != self.reverse;
            return Effect { is_awaited: false, is_fault, is_bad: is_fault, addend: 0 };
        }
        let product = number.saturating_mul(i64::from(self.weight)).saturating_mul(i64::from(self.sign()));
        let is_fault = product < -i64::from(MOST);
        let addend = i32::try_from(product.clamp(-i64::from(MOST), i64::from(MOST))).unwrap_or(-MOST);
        Effect { is_awaited: false, is_fault, is_bad: is_fault, addend }
    }

    fn of_unknown(&self) -> Effect {
        let addend = self.addend(true).min(self.addend(false));
        Effect { is_awaited: true, is_fault: false, is_bad: false, addend }
    }

    /// `reverse` does not make it good: nobody has seen it fail.
    fn of_unreadable(&self) -> Effect {
        let addend = -i32::from(self.weight).abs();
        Effect { is_awaited: false, is_fault: self.weight == 0, is_bad: true, addend }
    }
}

impl TrackInterface {
    /// What it does to its instance while the interface is up, or down.
    pub fn effect(&self, up: bool) -> Effect {
        of_two(self.weight, self.reverse, up)
    }
}

fn addend(weight: i16, reverse: bool, up: bool) -> i32 {
    let sign = if reverse { -1 } else { 1 };
    match (i32::from(weight), up) {
        (weight, true) if weight > 0 => weight * sign,
        (weight, false) if weight < 0 => weight * sign,
        (_, true | false) => 0,
    }
}

/// Of what is up or down and nothing else.
fn of_two(weight: i16, reverse: bool, up: bool) -> Effect {
    let is_bad = up == reverse;
    Effect { is_awaited: false, is_fault: is_bad && weight == 0, is_bad, addend: addend(weight, reverse, up) }
}

#[cfg(test)]
mod tests;
