//! Who says that there are two holders, and when.

use std::collections::{BTreeMap, BTreeSet};

/// The `dual-master` alarms of all agents.
#[derive(Debug, Clone, Default)]
pub struct Alarms {
    /// When anybody first raised one.
    pub first: Option<u64>,
    /// By domain and host: those that are up.
    up: BTreeSet<(usize, usize)>,
    /// By domain: when the last one of those that are over ended.
    ended: BTreeMap<usize, u64>,
}

impl Alarms {
    /// A host's alarm about a domain begins or ends.
    pub(super) fn tell(&mut self, now: u64, place: usize, host: usize, raised: bool) {
        if raised {
            self.first = self.first.or(Some(now));
            self.up.insert((place, host));
        } else if self.up.remove(&(place, host)) {
            self.ended.insert(place, now);
        }
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
        assert_eq!(alarms.first, Some(10));
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
