//! Who says that there are two holders, when, and whether it may.

use std::collections::{BTreeMap, BTreeSet};

use super::Oracle;
use crate::sim::network::{MS, S};

/// For how long after two gates were open that may be told: who took part in it may have stood still for 4 s since,
/// and a sight lasts for one.
const TOLD_WITHIN: u64 = 6 * S;

/// The `dual-master` alarms of all agents.
#[derive(Debug, Clone, Default)]
pub struct Alarms {
    /// By domain and host: those that are up.
    up: BTreeSet<(usize, usize)>,
    /// By domain: when the last one of those that are over ended.
    ended: BTreeMap<usize, u64>,
    /// By domain and host: when, its own gate being open or in doubt, it last took a claim that has no date: a stranger's ARP, or
    /// an Advertisement, which is of no use to who hears its sender's beats.
    claimed: BTreeMap<(usize, usize), u64>,
}

impl Alarms {
    /// A host's alarm about a domain begins or ends.
    pub(super) fn tell(&mut self, now: u64, place: usize, host: usize, raised: bool) {
        if raised {
            self.up.insert((place, host));
        } else if self.up.remove(&(place, host)) {
            self.ended.insert(place, now);
        }
    }

    /// A host whose gate is open, or may be, takes a claim of the addresses that has no date: nobody knows if its sender holds yet.
    pub fn claimed(&mut self, now: u64, place: usize, host: usize) {
        self.claimed.insert((place, host), now);
    }

    /// A host's agent begins anew: what it said before, nobody says any more.
    pub fn forget(&mut self, host: usize) {
        self.up.retain(|(_, other)| *other != host);
    }

    /// Whether one about this domain was up at any time from `since` on.
    pub(super) fn any_since(&self, place: usize, since: u64) -> bool {
        self.up.iter().any(|(other, _)| *other == place) || self.ended.get(&place).is_some_and(|at| *at >= since)
    }
}

impl Oracle {
    /// A host's alarm about a domain begins or ends. D7: one that begins is of two that were.
    pub(super) fn on_alarm(&mut self, now: u64, place: usize, host: usize, raised: bool) {
        self.alarms.tell(now, place, host, raised);
        // Beyond H no agent can date what it heard: its own clock hides how long ago that was.
        if !raised || self.bound.is_some() {
            return;
        }
        self.advance(now);
        let lately = |at: u64| at.saturating_add(TOLD_WITHIN * self.pace) >= now;
        let two = self.domains.get(place).and_then(|watch| watch.last_two(now)).is_some_and(lately);
        let claimed = self.alarms.claimed.get(&(place, host)) == Some(&now);
        if !two && !claimed {
            let last = self.domains.get(place).and_then(|watch| watch.last_two(now));
            self.violated("D7", now, || match last {
                Some(at) => format!("host {host} tells of two holders {} ms after there were two", (now - at) / MS),
                None => format!("host {host} tells of two holders, and there never were two"),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_that_is_over_is_none_of_the_next_two_holders() {
        let mut alarms = Alarms::default();
        assert!(!alarms.any_since(0, 0));
        alarms.tell(10, 0, 1, true);
        assert!(alarms.any_since(0, 500) && !alarms.any_since(1, 0));
        alarms.tell(20, 0, 1, false);
        assert!(alarms.any_since(0, 20) && !alarms.any_since(0, 21));
    }

    #[test]
    fn who_starts_anew_has_raised_nothing() {
        let mut alarms = Alarms::default();
        alarms.tell(10, 0, 1, true);
        alarms.tell(10, 0, 2, true);
        alarms.forget(1);
        assert!(alarms.any_since(0, 50));
        alarms.forget(2);
        assert!(!alarms.any_since(0, 0));
        alarms.tell(60, 0, 2, false);
        assert!(!alarms.any_since(0, 0), "nothing was up that could end");
    }
}
