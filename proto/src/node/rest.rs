//! When the node has something to do without an event, and events from which nothing follows: most do not touch anything
//! that is judged, such as beats and profiles that say what the last ones said, and answers of the gate.
//!
//! What must stay true: whatever time alone brings about has a deadline. Then an event that has touched nothing, at an
//! instant at which nothing is due, leaves each step of [`Node::settle`] without work, and all of them are left out.

use core::time::Duration;

use super::Node;
use crate::interface::Interface;
use crate::lease::reach::Reach;
use crate::lease::voter::Voter;
use crate::time::Instant;

impl Node {
    /// When something is due beside the domains, if nothing follows from this event; `None` if something does.
    pub(super) fn rest(&mut self, now: Instant) -> Option<Instant> {
        let rests = now < self.due_at
            && self.agenda.is_empty()
            && self.outbox.is_empty()
            && self.retiring.is_empty()
            && self.stopping_since.is_none()
            && self.alerts.is_quiet()
            && !self.findings.wants_profiles(now);
        if !rests {
            return None;
        }
        // What the event itself has put before the rest.
        let due = self.due_beside_domains();
        if now >= due {
            return None;
        }
        if self.is_common_new(now) {
            self.agenda.touch_all();
            return None;
        }
        // Nobody is silent, or a call would be due.
        if now >= self.call_at {
            self.put_off_calls(now);
        }
        Some(due)
    }

    /// When [`Event::Tick`] is due, unless another event comes before.
    pub fn next_deadline(&self) -> Option<Instant> {
        Some(self.due_at)
    }

    /// When anything is due but the domains' own.
    pub(super) fn due_beside_domains(&self) -> Instant {
        // Asked for after each event: a loop is half the price of a chain of iterators.
        let (now, after) = (self.handled_at, Duration::from_nanos(1));
        let mut next = self.beat_at.min(self.test_at);
        for peer in self.peers.values() {
            let (silent, deaf) = (peer.silent_at() + after, peer.deaf_at().map(|at| at + after));
            if silent > now {
                next = next.min(silent);
            } else {
                next = next.min(self.call_at);
            }
            if let Some(deaf) = deaf.filter(|at| *at > now) {
                next = next.min(deaf);
            }
        }
        let mut consider = |at: Option<Instant>| next = at.map_or(next, |at| at.min(next));
        consider(self.settings.watchdog.then_some(self.feed_at));
        consider(self.reach.as_ref().map(Reach::next_deadline));
        consider(self.voter.as_ref().and_then(Voter::next_deadline));
        consider(self.references.next_deadline());
        consider(self.alerts.next_deadline());
        consider(self.trackers.next_deadline());
        consider(self.interfaces.iter().filter_map(Interface::next_deadline).min());
        if let Some(clocks) = &self.clocks {
            consider(Some(self.clock_at));
            consider(clocks.next_deadline());
        }
        consider(self.amnesia.next_deadline());
        consider(self.duplicates.next_deadline());
        next
    }
}
