//! A network interface as the core takes it: its last report, and its link, debounced.
//!
//! What must stay true: a link that never changes is never delayed, and neither is the first report of it. What a delay
//! hides is told by nobody: it only moves the instant at which a change counts. keepalived.conf(5),
//! interface_up_down_delays.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::settings::LinkDelays;
use crate::time::Instant;

/// An interface as last reported; down until then.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interface {
    pub(crate) known: bool,
    /// Whether it counts as up.
    pub(crate) up: bool,
    pub(crate) addresses: Vec<IpAddr>,
    /// What was last reported of its link.
    reported: bool,
    /// When that counts, if it does not yet.
    turns_at: Option<Instant>,
}

impl Interface {
    /// A report. Whether its link has come up by it, counted or not.
    pub(crate) fn on_report(&mut self, now: Instant, up: bool, addresses: Vec<IpAddr>, delays: LinkDelays) -> bool {
        let rose = up && !self.reported;
        let delay = if up { delays.up } else { delays.down };
        if !self.known || up == self.up || delay.is_zero() {
            (self.up, self.turns_at) = (up, None);
        } else if up != self.reported {
            // Each change of mind begins anew; a report that says the same again does not.
            self.turns_at = Some(now + delay);
        }
        (self.known, self.reported, self.addresses) = (true, up, addresses);
        rose
    }

    /// What has lasted for long enough counts from now on. Whether anything does.
    pub(crate) fn on_time(&mut self, now: Instant) -> bool {
        let due = self.turns_at.take_if(|at| now >= *at).is_some();
        if due {
            self.up = self.reported;
        }
        due
    }

    /// When [`Interface::on_time`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.turns_at
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Up since the beginning.
    fn up() -> Interface {
        let mut interface = Interface::default();
        interface.on_report(at(0), true, Vec::new(), DELAYS);
        interface
    }

    const DELAYS: LinkDelays = LinkDelays { down: ms(500), up: ms(200) };

    #[test]
    fn the_first_report_counts_at_once() {
        assert!(up().up && up().next_deadline().is_none());
    }

    #[test]
    fn a_bounce_that_is_shorter_than_the_delay_never_counts() {
        let mut link = up();
        assert!(!link.on_report(at(1000), false, Vec::new(), DELAYS));
        assert!(link.up && link.next_deadline() == Some(at(1500)));
        assert!(!link.on_time(at(1499)));
        assert!(link.on_report(at(1499), true, Vec::new(), DELAYS), "it did come up");
        assert!(link.up && link.next_deadline().is_none() && !link.on_time(at(9000)));
    }

    #[test]
    fn a_change_that_lasts_counts_after_its_delay_each_way() {
        let mut link = up();
        link.on_report(at(1000), false, Vec::new(), DELAYS);
        // Said again, of another address: no new beginning.
        link.on_report(at(1400), false, Vec::new(), DELAYS);
        assert!(link.on_time(at(1500)) && !link.up);
        link.on_report(at(2000), true, Vec::new(), DELAYS);
        assert!(!link.up && link.next_deadline() == Some(at(2200)));
        assert!(link.on_time(at(2200)) && link.up);
    }

    #[test]
    fn without_a_delay_every_change_counts_at_once() {
        let mut link = up();
        link.on_report(at(1000), false, Vec::new(), LinkDelays::default());
        assert!(!link.up && link.next_deadline().is_none());
    }
}
