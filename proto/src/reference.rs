//! Reference addresses: which pings to send, and the verdict with hysteresis (D2).
//!
//! At a start nothing is known, and an unknown target counts as down until its first answer: a node that
//! has not seen its gateway does not claim.
//!
//! Each family is counted by itself, and a domain is judged by the families of its own virtual addresses: a
//! gateway that answers over IPv6 says nothing of the way that IPv4 clients take. Of a domain with both,
//! - a node that has lost *both* and hears nobody is cut off (`isolated`): one that still answers is a path;
//! - a peer is *better* if it reaches more in a family that is lost here, and no fewer in any. That is a
//!   partial order, so two nodes that each lost another family keep the domain where it is (I20).

use alloc::vec::Vec;

use crate::id::ReferenceId;
use crate::settings::{Families, ReferenceSettings};
use crate::time::Instant;
use crate::wire::heartbeat::{Answering, References};

/// All targets.
#[derive(Debug, Clone)]
pub struct ReferenceMachine {
    settings: ReferenceSettings,
    targets: Vec<Target>,
}

/// How the references of some families answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// None is configured in these families.
    Unconfigured,
    /// In each family as many as are needed.
    Enough,
    /// In one family enough, in the other too few.
    Partly,
    /// In every family too few.
    TooFew,
}

#[derive(Debug, Clone, Copy)]
struct Target {
    ipv6: bool,
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
            .map(|target| Target {
                ipv6: target.is_ipv6(),
                up: false,
                ever: false,
                known: false,
                streak: 0,
                ping_at: now,
            })
            .collect();
        ReferenceMachine { settings, targets }
    }

    /// Under another configuration. What is known of a target that stays is kept. A new one counts as one that answers,
    /// until it is known better, unless its family is lost: what nobody has looked at yet takes nothing from anybody.
    pub fn reconfigure(&mut self, settings: &ReferenceSettings, now: Instant) {
        if self.settings == *settings {
            return;
        }
        let lost = [false, true].map(|ipv6| self.is_lost(ipv6));
        let former = core::mem::replace(self, ReferenceMachine::new(settings.clone(), now));
        for (target, address) in self.targets.iter_mut().zip(&settings.targets) {
            match former
                .settings
                .targets
                .iter()
                .position(|known| known == address)
                .and_then(|at| former.targets.get(at))
            {
                Some(known) => *target = *known,
                None => target.up = !lost.get(usize::from(target.ipv6)).copied().unwrap_or(true),
            }
        }
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

    /// A target answered, or did not within its timeout. Whether anything that is asked of the references may be answered
    /// otherwise by that.
    pub fn on_ping(&mut self, id: ReferenceId, answered: bool) -> bool {
        let Some(target) = self.targets.get_mut(usize::from(id.0)) else { return false };
        let said = |target: &Target| (target.known, target.up, target.streak == 0);
        let before = said(target);
        target.known = true;
        if target.up == answered {
            target.streak = 0;
            return said(target) != before;
        }
        target.streak = target.streak.saturating_add(1);
        let need = if answered { self.settings.rise } else { self.settings.fall };
        // The first answer of all is believed: a start should not wait for hysteresis.
        if target.streak >= need || (answered && !target.ever) {
            *target = Target { up: answered, ever: target.ever || answered, streak: 0, ..*target };
        }
        said(target) != before
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
        let cut = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
        let family = |ipv6| Answering {
            reachable: cut(self.of(ipv6).filter(|target| target.up && target.streak == 0).count()),
            configured: cut(self.of(ipv6).count()),
        };
        References { v4: family(false), v6: family(true) }
    }

    fn of(&self, ipv6: bool) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(move |target| target.ipv6 == ipv6)
    }

    /// Whether as many of a family answer as are needed; `None` where it has none.
    fn reachable(&self, ipv6: bool) -> Option<bool> {
        let (up, all) = (self.of(ipv6).filter(|target| target.up).count(), self.of(ipv6).count());
        (all > 0).then_some(up >= usize::from(self.settings.need.max(1)).min(all))
    }

    /// How many of a family answered the last ping, whatever the verdict is.
    pub fn answering(&self, ipv6: bool) -> usize {
        self.of(ipv6).filter(|target| target.up == (target.streak == 0)).count()
    }

    /// Whether a family that has targets has too few that answer.
    pub fn is_lost(&self, ipv6: bool) -> bool {
        self.reachable(ipv6) == Some(false)
    }

    /// How those of `families` answer.
    pub fn answers(&self, families: Families) -> Answers {
        let judged = [false, true].into_iter().filter(|ipv6| families.has(*ipv6));
        let (mut enough, mut few) = (false, false);
        for reachable in judged.filter_map(|ipv6| self.reachable(ipv6)) {
            enough |= reachable;
            few |= !reachable;
        }
        match (enough, few) {
            (false, false) => Answers::Unconfigured,
            (true, false) => Answers::Enough,
            (true, true) => Answers::Partly,
            (false, true) => Answers::TooFew,
        }
    }

    /// Whether a peer with this report serves `families` better: it reaches more in one that is lost here,
    /// and no fewer in any.
    ///
    /// Here counts what answered the last ping, whatever the hysteresis says yet. Else a peer whose pings run a little
    /// ahead would be taken for better when what all had lost comes back to all (I16).
    pub fn is_better(&self, families: Families, theirs: References) -> bool {
        let compared = |ipv6| (usize::from(theirs.of(ipv6).reachable), self.answering(ipv6));
        let judged = || [false, true].into_iter().filter(|ipv6| families.has(*ipv6));
        let more = |ipv6| self.is_lost(ipv6) && compared(ipv6).0 > compared(ipv6).1;
        judged().any(more) && judged().all(|ipv6| compared(ipv6).0 >= compared(ipv6).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;
    use core::time::Duration;

    const V4: Families = Families { v4: true, v6: false };
    const V6: Families = Families { v4: false, v6: true };
    const BOTH: Families = Families { v4: true, v6: true };

    /// The IPv4 targets come first.
    fn dual(v4: usize, v6: usize, need: u16) -> ReferenceMachine {
        let v4 = core::iter::repeat_n(IpAddr::from([192, 0, 2, 1]), v4);
        let v6 = core::iter::repeat_n(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1_u16]), v6);
        let settings = ReferenceSettings {
            targets: v4.chain(v6).collect(),
            need,
            interval: Duration::from_millis(500),
            timeout: Duration::from_millis(400),
            rise: 2,
            fall: 3,
        };
        ReferenceMachine::new(settings, Instant::BOOT)
    }

    fn machine(targets: usize, need: u16) -> ReferenceMachine {
        dual(targets, 0, need)
    }

    /// All have answered, and then those have been lost for good.
    fn after_losing(mut machine: ReferenceMachine, lost: &[u16]) -> ReferenceMachine {
        for id in 0..u16::try_from(machine.targets.len()).unwrap() {
            machine.on_ping(ReferenceId(id), true);
        }
        for id in lost {
            (0..3).for_each(|_| _ = machine.on_ping(ReferenceId(*id), false));
        }
        machine
    }

    #[test]
    fn the_first_answer_is_believed_and_a_loss_only_after_the_third() {
        let mut m = machine(1, 1);
        assert_eq!(m.answers(V4), Answers::TooFew, "unknown is not reachable");
        m.on_ping(ReferenceId(0), true);
        assert_eq!(m.answers(V4), Answers::Enough);
        m.on_ping(ReferenceId(0), false);
        m.on_ping(ReferenceId(0), false);
        assert_eq!(m.answers(V4), Answers::Enough);
        m.on_ping(ReferenceId(0), false);
        assert_eq!(m.answers(V4), Answers::TooFew);
        m.on_ping(ReferenceId(0), true);
        assert_eq!(m.answers(V4), Answers::TooFew, "one answer after a loss is not enough");
        m.on_ping(ReferenceId(0), true);
        assert_eq!(m.answers(V4), Answers::Enough);
    }

    #[test]
    fn one_loss_between_answers_starts_the_count_anew() {
        let mut m = machine(1, 1);
        m.on_ping(ReferenceId(0), true);
        for answered in [false, false, true, false, false, true] {
            m.on_ping(ReferenceId(0), answered);
            assert_eq!(m.answers(V4), Answers::Enough);
        }
    }

    #[test]
    fn each_family_is_counted_by_itself_d2() {
        use Answers::{Enough, Partly, TooFew, Unconfigured};
        // (IPv4 targets, IPv6 targets, need, lost): for IPv4 alone, for IPv6 alone, for both.
        type Case = (usize, usize, u16, &'static [u16], [Answers; 3]);
        let table: [Case; 10] = [
            (0, 0, 1, &[], [Unconfigured; 3]),
            (3, 0, 2, &[0], [Enough, Unconfigured, Enough]),
            (3, 0, 2, &[0, 1], [TooFew, Unconfigured, TooFew]),
            (1, 1, 1, &[], [Enough; 3]),
            (1, 1, 1, &[0], [TooFew, Enough, Partly]),
            (1, 1, 1, &[1], [Enough, TooFew, Partly]),
            (1, 1, 1, &[0, 1], [TooFew; 3]),
            // Two are needed of each family, and IPv6 has only one: that one.
            (3, 1, 2, &[0], [Enough, Enough, Enough]),
            (3, 1, 2, &[0, 2], [TooFew, Enough, Partly]),
            (3, 1, 2, &[3], [Enough, TooFew, Partly]),
        ];
        for (v4, v6, need, lost, wanted) in table {
            let m = after_losing(dual(v4, v6, need), lost);
            assert_eq!([V4, V6, BOTH].map(|families| m.answers(families)), wanted, "{v4} {v6} {need} {lost:?}");
        }
    }

    #[test]
    fn a_peer_is_better_only_where_something_is_lost_here_and_nothing_is_worse_there_d2() {
        let report = |v4, v6| References {
            v4: Answering { reachable: v4, configured: 2 },
            v6: Answering { reachable: v6, configured: 1 },
        };
        // (lost here, families, reached there): is it better? IPv4 has the targets 0 and 1, IPv6 has 2.
        type Case = (&'static [u16], Families, (u8, u8), bool);
        let table: [Case; 10] = [
            (&[], BOTH, (2, 1), false),
            (&[0], BOTH, (2, 1), false), // one of two is enough: nothing is lost
            (&[0, 1], BOTH, (2, 1), true),
            (&[0, 1], BOTH, (2, 0), false), // it has lost the other family
            (&[0, 1], V4, (2, 0), true),    // which is none of this domain's
            (&[0, 1], V6, (2, 1), false),
            (&[2], BOTH, (2, 1), true),
            (&[2], BOTH, (1, 1), false),
            (&[0, 1, 2], BOTH, (0, 0), false), // all lost it (I16)
            (&[0, 1, 2], BOTH, (0, 1), true),
        ];
        for (lost, families, (v4, v6), better) in table {
            let m = after_losing(dual(2, 1, 1), lost);
            assert_eq!(m.is_better(families, report(v4, v6)), better, "{lost:?} {families:?} {v4} {v6}");
        }
    }

    #[test]
    fn k_of_n_is_reported_and_a_target_that_is_none_changes_nothing() {
        let mut m = machine(3, 2);
        m.on_ping(ReferenceId(0), true);
        m.on_ping(ReferenceId(2), true);
        m.on_ping(ReferenceId(9), true);
        assert_eq!(m.report().v4, Answering { reachable: 2, configured: 3 });
        assert_eq!(m.report().v6, Answering::default());
    }

    #[test]
    fn the_first_loss_is_reported_at_once_though_the_verdict_waits_i16() {
        let mut m = machine(1, 1);
        m.on_ping(ReferenceId(0), true);
        m.on_ping(ReferenceId(0), false);
        assert_eq!((m.answers(V4), m.report().v4.reachable), (Answers::Enough, 0));
        m.on_ping(ReferenceId(0), true);
        assert_eq!((m.answers(V4), m.report().v4.reachable), (Answers::Enough, 1));
    }

    #[test]
    fn what_all_had_lost_and_comes_back_to_all_makes_nobody_better_i16() {
        let theirs = References { v4: Answering { reachable: 1, configured: 1 }, v6: Answering::default() };
        let mut m = after_losing(machine(1, 1), &[0]);
        assert!(m.is_better(V4, theirs));
        m.on_ping(ReferenceId(0), true);
        assert_eq!((m.answers(V4), m.report().v4.reachable), (Answers::TooFew, 0), "one answer is no verdict");
        assert!(!m.is_better(V4, theirs), "the peer's second answer came before ours");
        m.on_ping(ReferenceId(0), false);
        assert!(m.is_better(V4, theirs), "it was only one");
    }

    #[test]
    fn each_target_is_pinged_once_an_interval() {
        let mut m = machine(2, 1);
        assert_eq!(m.due(Instant::BOOT).len(), 2);
        assert!(m.due(Instant::from_nanos(499_000_000)).is_empty());
        assert_eq!(m.due(Instant::from_nanos(500_000_000)).len(), 2);
    }

    #[test]
    fn no_answer_that_changes_what_is_asked_goes_unnoticed() {
        let asked = |machine: &ReferenceMachine| {
            let of = |ipv6| (machine.is_lost(ipv6), machine.answering(ipv6));
            (machine.is_known(), machine.report(), of(false), of(true))
        };
        // Each order in which two targets of two families answer five pings each, and do not.
        for answers in 0_u32..1 << 10 {
            let mut machine = dual(1, 1, 1);
            for ping in 0..10 {
                let before = asked(&machine);
                let noticed = machine.on_ping(ReferenceId(ping % 2), answers >> ping & 1 == 1);
                assert!(noticed || asked(&machine) == before, "ping {ping} of {answers:010b}");
            }
        }
    }
}
