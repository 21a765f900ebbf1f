//! What threads of the shell watch and tell by themselves: files, processes, BFD sessions (keepalived's `track_file`,
//! `vrrp_track_process` and `bfd_instance`), and quorums of virtual servers.
//!
//! What must stay true: a watch that has not been told of for [`PATIENCE`] can't be read. What can't be read is believed
//! at once; a delay holds up a change between up and down only.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::WatchId;
use crate::settings::WatchSettings;
use crate::time::Instant;

/// How often the shell tells a reading again that has not changed.
pub const RETELL: Duration = Duration::from_secs(3);

/// Nothing told for so long: the thread that watches hangs or is gone. Wide, so that a busy machine is no fault.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How the shell has found what it watches.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Reading {
    /// As it is wanted: enough processes, a session that is up.
    Up,
    /// Not so, and how.
    Down(String),
    /// What a file says.
    Number(i64),
    /// There is no such file, which counts as 0.
    Missing,
    /// Nothing can be said of it, and why.
    Unreadable(String),
}

/// What is to be thought of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing has been told yet.
    Unknown,
    /// [`Reading::Up`].
    Up,
    /// [`Reading::Down`].
    Down,
    /// [`Reading::Number`].
    Number(i64),
    /// [`Reading::Missing`].
    Missing,
    /// [`Reading::Unreadable`], or not told in time.
    Unreadable,
}

/// All that is watched of a node.
#[derive(Debug, Clone)]
pub struct WatchMachine {
    watches: Vec<Watch>,
}

#[derive(Debug, Clone)]
struct Watch {
    settings: WatchSettings,
    believed: Option<Reading>,
    /// Told, and not believed before then.
    pending: Option<(Reading, Instant)>,
    told_at: Instant,
}

impl WatchMachine {
    /// Nothing is known yet.
    pub fn new(settings: &[WatchSettings], now: Instant) -> Self {
        WatchMachine { watches: settings.iter().map(|settings| Watch::new(settings, now)).collect() }
    }

    /// Under another configuration: those that were there keep their places, tracked or not. Of one that is new is
    /// believed what was of a former one of its name and kind, until it is told of; unless nobody has told of that one
    /// lately, because nobody tracked it.
    pub fn reconfigure(&mut self, settings: &[WatchSettings], now: Instant) {
        for new in settings.iter().skip(self.watches.len()) {
            let is_it = |known: &&Watch| {
                (known.settings.kind, &known.settings.name) == (new.kind, &new.name) && now < known.told_at + PATIENCE
            };
            let believed = self.watches.iter().rev().find(is_it).and_then(|former| former.believed.clone());
            self.watches.push(Watch { believed, ..Watch::new(new, now) });
        }
    }

    /// When a delay is over, or silence is too long.
    pub fn next_deadline(&self) -> Option<Instant> {
        let of = |watch: &Watch| {
            let late = (!watch.is_lost()).then_some(watch.told_at + PATIENCE);
            watch.pending.as_ref().map(|(_, at)| *at).into_iter().chain(late).min()
        };
        self.watches.iter().filter_map(of).min()
    }

    /// Takes what was told. Whether it changes what is believed.
    pub fn on_reading(&mut self, now: Instant, id: WatchId, reading: Reading) -> bool {
        self.watches.get_mut(usize::from(id.0)).is_some_and(|watch| watch.on_reading(now, reading))
    }

    /// Delays that are over, and silence that is too long. Whether either changes what is believed.
    pub fn due(&mut self, now: Instant) -> bool {
        // Each of them: `any` would stop at the first.
        self.watches.iter_mut().fold(false, |turned, watch| watch.due(now) | turned)
    }

    /// This node has slept, and with it the threads that tell: their silence is no sign of anything.
    pub fn slept(&mut self, now: Instant) {
        self.watches.iter_mut().for_each(|watch| watch.told_at = now);
    }

    /// What is to be thought of one.
    pub fn state(&self, id: WatchId) -> State {
        let Some(watch) = self.watches.get(usize::from(id.0)) else { return State::Unreadable };
        match watch.believed {
            None => State::Unknown,
            Some(Reading::Up) => State::Up,
            Some(Reading::Down(_)) => State::Down,
            Some(Reading::Number(number)) => State::Number(number),
            Some(Reading::Missing) => State::Missing,
            Some(Reading::Unreadable(_)) => State::Unreadable,
        }
    }

    /// Its kind and the operator's name for it.
    pub fn name(&self, id: WatchId) -> String {
        self.watches.get(usize::from(id.0)).map_or_else(
            || String::from("?"),
            |watch| format!("{} {}", watch.settings.kind.as_str(), watch.settings.name),
        )
    }

    /// How it is.
    pub fn words(&self, id: WatchId) -> String {
        match self.watches.get(usize::from(id.0)).and_then(|watch| watch.believed.as_ref()) {
            None => String::from("not known yet"),
            Some(Reading::Up) => String::from("up"),
            Some(Reading::Number(number)) => format!("it says {number}"),
            Some(Reading::Missing) => String::from("there is no such file, which counts as 0"),
            Some(Reading::Down(words) | Reading::Unreadable(words)) => words.clone(),
        }
    }
}

impl Watch {
    fn new(settings: &WatchSettings, now: Instant) -> Self {
        Watch { settings: settings.clone(), believed: None, pending: None, told_at: now }
    }

    fn is_lost(&self) -> bool {
        matches!(self.believed, Some(Reading::Unreadable(_))) && self.pending.is_none()
    }

    fn on_reading(&mut self, now: Instant, reading: Reading) -> bool {
        self.told_at = now;
        let delay = match (&self.believed, &reading) {
            (Some(Reading::Down(_)), Reading::Up) => self.settings.up_delay,
            (Some(Reading::Up), Reading::Down(_)) => self.settings.down_delay,
            _ => Duration::ZERO,
        };
        // The delay counts from the first word of the change: the same told again does not begin it anew.
        let until = self.pending.take().map_or(now + delay, |(_, until)| until);
        if delay > Duration::ZERO && now < until {
            self.pending = Some((reading, until));
            return false;
        }
        self.believe(reading)
    }

    fn due(&mut self, now: Instant) -> bool {
        let mut turned = false;
        if let Some((reading, _)) = self.pending.take_if(|(_, until)| *until <= now) {
            turned = self.believe(reading);
        }
        if now >= self.told_at + PATIENCE && !self.is_lost() {
            self.pending = None;
            let fault =
                format!("not told of for {} s: the thread that watches it hangs or is gone", PATIENCE.as_secs());
            turned |= self.believe(Reading::Unreadable(fault));
        }
        turned
    }

    fn believe(&mut self, reading: Reading) -> bool {
        self.pending = None;
        let turned = self.believed.as_ref() != Some(&reading);
        self.believed = Some(reading);
        turned
    }
}

#[cfg(test)]
mod tests;
