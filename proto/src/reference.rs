//! Reference addresses: which pings to send, and the verdict with hysteresis (D2).
//!
//! At a start nothing is known, and an unknown target counts as down until its first answer: a node that
//! has not seen its gateway does not claim.

use alloc::vec::Vec;

use crate::id::ReferenceId;
use crate::settings::ReferenceSettings;
use crate::time::Instant;
use crate::wire::heartbeat::References;

/// All targets.
#[derive(Debug, Clone)]
pub struct ReferenceMachine {
    settings: ReferenceSettings,
    targets: Vec<Target>,
}

#[derive(Debug, Clone, Copy)]
struct Target {
    up: bool,
    /// Whether it has ever answered.
    ever: bool,
    /// Whether any ping of it has ended, in an answer or a timeout.
    known: bool,
    /// Answers (while down) or losses (while up) in a row.
    streak: u8,
    ping_at: Instant,
}

impl ReferenceMachine {
    /// Pings begin at once.
    pub fn new(settings: ReferenceSettings, now: Instant) -> Self {
        let targets = settings
            .targets
            .iter()
            .map(|_| Target { up: false, ever: false, known: false, streak: 0, ping_at: now })
            .collect();
        ReferenceMachine { settings, targets }
    }

    /// When the next ping is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.targets.iter().map(|target| target.ping_at).min()
    }

    /// The pings that are due.
    pub fn due(&mut self, now: Instant) -> Vec<ReferenceId> {
        let mut due = Vec::new();
        for (id, target) in (0..).zip(&mut self.targets) {
            if target.ping_at <= now {
                target.ping_at = now + self.settings.interval;
                due.push(ReferenceId(id));
            }
        }
        due
    }

    /// A target answered, or did not within its timeout.
    pub fn on_ping(&mut self, id: ReferenceId, answered: bool) {
        let Some(target) = self.targets.get_mut(usize::from(id.0)) else { return };
        target.known = true;
        if target.up == answered {
            target.streak = 0;
            return;
        }
        target.streak = target.streak.saturating_add(1);
        let need = if answered { self.settings.rise } else { self.settings.fall };
        // The first answer of all is believed: a start should not wait for hysteresis.
        if target.streak >= need || (answered && !target.ever) {
            *target = Target { up: answered, ever: target.ever || answered, streak: 0, ..*target };
        }
    }

    /// Whether every target has answered or timed out at least once.
    pub fn is_known(&self) -> bool {
        self.targets.iter().all(|target| target.known)
    }

    /// How many answer, of how many: for peers to compare.
    ///
    /// Without the hysteresis of the verdict: who has just missed a first ping says so at once. Else a peer whose
    /// pings run a little ahead would take us for better off, and hand over for a loss that all share (I16).
    pub fn report(&self) -> References {
        let reachable = self.targets.iter().filter(|target| target.up && target.streak == 0).count();
        let cut = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
        References { reachable: cut(reachable), configured: cut(self.targets.len()) }
    }

    /// Whether as many answer as are needed; `None` where there are none.
    pub fn reachable(&self) -> Option<bool> {
        let up = self.targets.iter().filter(|target| target.up).count();
        (!self.targets.is_empty()).then_some(up >= usize::from(self.settings.need.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;
    use core::time::Duration;

    fn machine(targets: usize, need: u16) -> ReferenceMachine {
        let settings = ReferenceSettings {
            targets: alloc::vec![IpAddr::from([192, 0, 2, 1]); targets],
            need,
            interval: Duration::from_millis(500),
            timeout: Duration::from_millis(400),
            rise: 2,
            fall: 3,
        };
        ReferenceMachine::new(settings, Instant::BOOT)
    }

    #[test]
    fn the_first_answer_is_believed_and_a_loss_only_after_the_third() {
        let mut m = machine(1, 1);
        assert_eq!(m.reachable(), Some(false), "unknown is not reachable");
        m.on_ping(ReferenceId(0), true);
        assert_eq!(m.reachable(), Some(true));
        m.on_ping(ReferenceId(0), false);
        m.on_ping(ReferenceId(0), false);
        assert_eq!(m.reachable(), Some(true));
        m.on_ping(ReferenceId(0), false);
        assert_eq!(m.reachable(), Some(false));
        m.on_ping(ReferenceId(0), true);
        assert_eq!(m.reachable(), Some(false), "one answer after a loss is not enough");
        m.on_ping(ReferenceId(0), true);
        assert_eq!(m.reachable(), Some(true));
    }

    #[test]
    fn one_loss_between_answers_starts_the_count_anew() {
        let mut m = machine(1, 1);
        m.on_ping(ReferenceId(0), true);
        for answered in [false, false, true, false, false, true] {
            m.on_ping(ReferenceId(0), answered);
            assert_eq!(m.reachable(), Some(true));
        }
    }

    #[test]
    fn k_of_n_is_counted_and_none_configured_is_no_verdict() {
        let mut m = machine(3, 2);
        m.on_ping(ReferenceId(0), true);
        assert_eq!(m.reachable(), Some(false));
        m.on_ping(ReferenceId(2), true);
        assert_eq!(m.reachable(), Some(true));
        assert_eq!(m.report(), References { reachable: 2, configured: 3 });
        m.on_ping(ReferenceId(9), true);
        assert_eq!(machine(0, 1).reachable(), None);
    }

    #[test]
    fn the_first_loss_is_reported_at_once_though_the_verdict_waits_i16() {
        let mut m = machine(1, 1);
        m.on_ping(ReferenceId(0), true);
        m.on_ping(ReferenceId(0), false);
        assert_eq!((m.reachable(), m.report().reachable), (Some(true), 0));
        m.on_ping(ReferenceId(0), true);
        assert_eq!((m.reachable(), m.report().reachable), (Some(true), 1));
    }

    #[test]
    fn each_target_is_pinged_once_an_interval() {
        let mut m = machine(2, 1);
        assert_eq!(m.due(Instant::BOOT).len(), 2);
        assert!(m.due(Instant::from_nanos(499_000_000)).is_empty());
        assert_eq!(m.due(Instant::from_nanos(500_000_000)).len(), 2);
    }
}
