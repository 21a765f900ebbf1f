//! The mirror test: do the answers to a virtual address come to the node that holds it? (D9)
//!
//! A Master pings its gateway twice at once, from its own address and from the virtual one. The first tells that
//! the gateway is there and answers; if it does, and three times running no answer to the second comes back, then
//! the answers go to somebody else. Nothing else is evidence: a gateway that does not answer at all says nothing.

use alloc::vec::Vec;
use core::time::Duration;

use crate::settings::MirrorSettings;
use crate::time::Instant;

/// Between two tests of one address: three of them, the last one's answers, and one interval of bad luck fit into
/// the second within which F59 wants the alarm.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// How long an answer may take.
pub const TIMEOUT: Duration = Duration::from_millis(180);
/// Losses running that are an alarm.
const FALL: u8 = 3;
/// While it lasts, the repair is tried again each so many losses.
const AGAIN: u8 = 4;

/// The tests of one domain.
#[derive(Debug, Clone)]
pub struct Mirrors {
    targets: Vec<Target>,
}

#[derive(Debug, Clone)]
struct Target {
    settings: MirrorSettings,
    /// The next test; `None` while nothing is held.
    test_at: Option<Instant>,
    /// Tests running in which the gateway answered our own address alone.
    lost: u8,
}

impl Mirrors {
    /// None is due before something is held.
    pub fn new(settings: &[MirrorSettings]) -> Self {
        let target = |settings: &MirrorSettings| Target { settings: *settings, test_at: None, lost: 0 };
        Mirrors { targets: settings.iter().map(target).collect() }
    }

    /// Whether these are they.
    pub fn are_of(&self, settings: &[MirrorSettings]) -> bool {
        self.targets.iter().map(|target| &target.settings).eq(settings)
    }

    /// The places of the tests that are due, while the domain is held.
    pub fn due(&mut self, now: Instant) -> Vec<u8> {
        let mut due = Vec::new();
        for (place, target) in (0..).zip(&mut self.targets) {
            // The first one comes later, so that the gateway has heard of the move.
            let at = *target.test_at.get_or_insert(now + INTERVAL);
            if at <= now {
                // On a grid, unless whole intervals were slept through.
                target.test_at = Some(if now.since(at) < INTERVAL { at + INTERVAL } else { now + INTERVAL });
                due.push(place);
            }
        }
        due
    }

    /// The domain is not held: nothing is tested, and nothing is known.
    pub fn rest(&mut self) {
        for target in &mut self.targets {
            (target.test_at, target.lost) = (None, 0);
        }
    }

    /// How a test ended: whether the gateway answered our own address, and the virtual one. Whether the network is
    /// to be told anew where the address lives, and whoever else has it asked.
    pub fn on_tested(&mut self, place: u8, own: bool, virtual_one: bool) -> bool {
        let Some(target) = self.targets.get_mut(usize::from(place)).filter(|t| t.test_at.is_some()) else {
            return false;
        };
        match (own, virtual_one) {
            (_, true) => target.lost = 0,
            // Past the alarm it goes round, so that the repair comes again.
            (true, false) => target.lost = if target.lost < FALL + AGAIN - 1 { target.lost + 1 } else { FALL },
            (false, false) => return false,
        }
        target.lost == FALL
    }

    /// Those whose answers go to somebody else.
    pub fn lost(&self) -> impl Iterator<Item = MirrorSettings> + '_ {
        self.targets.iter().filter(|target| target.lost >= FALL).map(|target| target.settings)
    }

    /// One by its place.
    pub fn get(&self, place: u8) -> Option<MirrorSettings> {
        self.targets.get(usize::from(place)).map(|target| target.settings)
    }

    /// When the next test is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.targets.iter().filter_map(|target| target.test_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    /// One that is held since long.
    fn mirrors() -> Mirrors {
        let (address, gateway) = (IpAddr::from([192, 0, 2, 100]), IpAddr::from([192, 0, 2, 1]));
        let mut mirrors = Mirrors::new(&[MirrorSettings { address, gateway }]);
        assert!(mirrors.due(at(0)).is_empty());
        mirrors
    }

    #[test]
    fn three_losses_while_the_gateway_answers_are_an_alarm_and_a_repair_and_more_are_one_a_second() {
        let mut m = mirrors();
        let repairs: Vec<bool> = (0..12).map(|_| m.on_tested(0, true, false)).collect();
        let when: Vec<usize> = repairs.iter().enumerate().filter(|(_, repair)| **repair).map(|(n, _)| n).collect();
        assert_eq!(when, [2, 6, 10]);
        assert_eq!(m.lost().count(), 1);
        assert!(!m.on_tested(0, true, true));
        assert_eq!(m.lost().count(), 0);
    }

    #[test]
    fn a_gateway_that_does_not_answer_at_all_says_nothing() {
        let mut m = mirrors();
        for _ in 0..20 {
            assert!(!m.on_tested(0, false, false));
        }
        assert_eq!(m.lost().count(), 0);
        // Nor does it take back what is known.
        for own in [true, false, true, false, true] {
            m.on_tested(0, own, false);
        }
        assert_eq!(m.lost().count(), 1);
    }

    #[test]
    fn two_losses_between_answers_are_none() {
        let mut m = mirrors();
        for _ in 0..5 {
            assert!(!m.on_tested(0, true, false) && !m.on_tested(0, true, false) && !m.on_tested(0, true, true));
        }
        assert_eq!(m.lost().count(), 0);
    }

    #[test]
    fn it_is_tested_on_a_grid_while_held_and_what_comes_later_is_of_no_account() {
        let mut m = mirrors();
        assert_eq!(m.next_deadline(), Some(at(250)));
        assert_eq!((m.due(at(249)).len(), m.due(at(255)).len(), m.next_deadline()), (0, 1, Some(at(500))));
        for _ in 0..3 {
            m.on_tested(0, true, false);
        }
        assert_eq!(m.lost().count(), 1);
        m.rest();
        assert_eq!((m.lost().count(), m.next_deadline()), (0, None));
        (0..9).for_each(|_| assert!(!m.on_tested(0, true, false)));
        assert_eq!(m.lost().count(), 0);
    }
}
