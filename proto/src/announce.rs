//! When a Master tells the network where the addresses of one virtual router live (D10): a burst, rounds after it, and
//! rounds now and then.
//!
//! What must stay true: who is no Master has nothing to say; whatever comes from outside makes it begin a burst no more
//! often than once in [`LEAST`], and nothing that should be said again is forgotten for it.

use alloc::vec::Vec;
use core::time::Duration;

use crate::settings::AnnounceSettings;
use crate::time::Instant;

/// Between two bursts that others have provoked.
pub(crate) const LEAST: Duration = Duration::from_millis(500);

/// Without an authority Advertisements say whose the addresses are; a rival's ARP may overtake its own.
const ADVERTISEMENT_FIRST: Duration = Duration::from_millis(50);

/// The longest wait for the Advertisement of a router that has claimed the addresses with VRRP's own MAC.
const ADVERTISEMENT_LAST: Duration = Duration::from_secs(3);

/// What is said now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Rounds of all addresses; 0: none.
    pub(crate) rounds: u8,
    /// A round on the other interfaces besides.
    pub(crate) elsewhere: bool,
}

/// The announcements of one virtual router.
#[derive(Debug, Clone, Default)]
pub(crate) struct Announcer {
    /// Rounds to come, and how many each time.
    planned: Vec<(Instant, u8)>,
    said_at: Option<Instant>,
    /// Until when an Advertisement is awaited that says whose the addresses are: nothing is said before.
    quiet_until: Option<Instant>,
    refresh_at: Option<Instant>,
    elsewhere_at: Option<Instant>,
}

impl Announcer {
    /// A new Master's burst: how many rounds.
    pub(crate) fn begin(&mut self, now: Instant, settings: &AnnounceSettings) -> u8 {
        // Counted from the second burst, as keepalived does.
        let since = now + settings.second.unwrap_or_default();
        self.refresh_at = settings.refresh.map(|refresh| since + refresh.interval);
        self.elsewhere_at = settings.elsewhere.map(|interval| since + interval);
        self.burst(now, settings.burst, settings.second, settings)
    }

    /// A burst and all that follows it, as for a new Master: how many rounds.
    pub(crate) fn anew(&mut self, now: Instant, settings: &AnnounceSettings) -> u8 {
        self.burst(now, settings.burst, settings.second, settings)
    }

    fn burst(&mut self, now: Instant, rounds: u8, second: Option<Duration>, settings: &AnnounceSettings) -> u8 {
        self.said_at = Some(now);
        self.quiet_until = None;
        self.planned = settings.again.iter().map(|after| (now + *after, 1)).collect();
        self.planned.extend(second.map(|after| (now + after, rounds)));
        rounds
    }

    /// A heal, a sleep, or a claim that was seen: how many rounds now.
    pub(crate) fn again(&mut self, now: Instant, settings: &AnnounceSettings) -> u8 {
        self.provoked(now, settings.burst, settings.second, settings)
    }

    /// A router advertises that should not: how many rounds now.
    pub(crate) fn beside_a_rival(&mut self, now: Instant, settings: &AnnounceSettings) -> u8 {
        self.provoked(now, settings.rival_burst, settings.rival_second, settings)
    }

    fn provoked(&mut self, now: Instant, rounds: u8, second: Option<Duration>, settings: &AnnounceSettings) -> u8 {
        if rounds == 0 {
            return 0;
        }
        match self.said_at.map(|at| at + LEAST).filter(|at| now < *at) {
            None => self.burst(now, rounds, second, settings),
            Some(later) => {
                // It may have been lost on a segment that was not back yet.
                if !self.planned.iter().any(|(at, _)| (now..=later).contains(at)) {
                    self.planned.push((later, rounds));
                }
                0
            }
        }
    }

    /// Once it is clear that it is not for us to yield.
    pub(crate) fn soon(&mut self, now: Instant) {
        let soon = self.quiet_until.map_or(now, |until| until.max(now)) + ADVERTISEMENT_FIRST;
        self.no_later_than(soon);
    }

    /// A router claims the addresses with the virtual router's own MAC, without an authority: whose they are is said
    /// by its next Advertisement, an interval from now if its first one was lost. Were we to announce meanwhile and
    /// then to yield, ours would be the last word, since not every router repeats its own (FRR does not).
    pub(crate) fn after_advertisement(&mut self, now: Instant, advert_int: Duration) {
        // A row of claims does not make it wait for ever.
        if self.quiet_until.is_some_and(|until| now < until) {
            return;
        }
        let until = now + advert_int.min(ADVERTISEMENT_LAST) + ADVERTISEMENT_FIRST;
        self.quiet_until = Some(until);
        self.planned.retain(|(at, _)| *at > until);
        self.planned.push((until, 1));
    }

    /// One round at `at` at the latest, but not while an Advertisement is awaited.
    pub(crate) fn at_latest(&mut self, at: Instant) {
        let at = self.quiet_until.map_or(at, |until| at.max(until));
        self.no_later_than(at);
    }

    fn no_later_than(&mut self, latest: Instant) {
        if !self.planned.iter().any(|(at, _)| *at <= latest) {
            self.planned.push((latest, 1));
        }
    }

    /// What is due; asked once.
    pub(crate) fn take_due(&mut self, now: Instant, settings: &AnnounceSettings) -> Due {
        let rounds = self.planned.iter().filter(|(at, _)| *at <= now).map(|(_, rounds)| *rounds).max().unwrap_or(0);
        if rounds > 0 {
            self.planned.retain(|(at, _)| *at > now);
        }
        let mut due = Due { rounds, elsewhere: false };
        let is_quiet = self.quiet_until.is_some_and(|until| now < until);
        if self.refresh_at.is_some_and(|at| now >= at) && !is_quiet {
            // Another configuration may have none.
            self.refresh_at = settings.refresh.map(|refresh| now + refresh.interval);
            due.rounds = due.rounds.max(settings.refresh.map_or(0, |refresh| refresh.rounds));
        }
        if self.elsewhere_at.is_some_and(|at| now >= at) && !is_quiet {
            self.elsewhere_at = settings.elsewhere.map(|interval| now + interval);
            due.elsewhere = settings.elsewhere.is_some();
        }
        due
    }

    /// Other settings, while Master or not: what goes by an interval begins with the new one.
    pub(crate) fn reconfigure(&mut self, now: Instant, is_master: bool, settings: &AnnounceSettings) {
        let since = |interval: Duration| is_master.then_some(now + interval);
        self.refresh_at = settings.refresh.and_then(|refresh| since(refresh.interval));
        self.elsewhere_at = settings.elsewhere.and_then(since);
    }

    /// No Master any more.
    pub(crate) fn stop(&mut self) {
        *self = Announcer { said_at: self.said_at, ..Announcer::default() };
    }

    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let quiet = |at: Instant| self.quiet_until.map_or(at, |until| at.max(until));
        let intervals = [self.refresh_at, self.elsewhere_at].into_iter().flatten().map(quiet);
        self.planned.iter().map(|(at, _)| *at).chain(intervals).min()
    }
}

#[cfg(test)]
mod tests;
