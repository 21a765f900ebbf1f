//! The rings outside the gate: a fence command before a take-over, the watchdog, the reboot of oneself.
//!
//! The lease decides who may shoot: a fence command runs only under a live grant, so two nodes that don't see
//! each other can't fence each other, and whoever is fenced has lost its lease already. Without an authority there
//! is no lease to decide: each of two nodes that don't see each other may have the other one fenced. What must
//! stay true, with an authority and a fence command: no gate opens while a holder before us is silent and fenced
//! neither here nor by whoever has held since.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use crate::action::Action;
use crate::id::{DomainId, Epoch, NodeId};
use crate::settings::FenceSettings;
use crate::time::Instant;

/// How much longer than its timeout a fence command may be without an answer: a lost one is a failure.
const ANSWER: Duration = Duration::from_secs(5);

/// How far the way to a take-over is clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nobody needs to be fenced.
    Clear,
    /// A fence command runs.
    Underway,
    /// It failed: no take-over now.
    Barred,
}

/// What is known of former holders of one domain, and of the commands against them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fence {
    settings: Option<FenceSettings>,
    /// Of each node the last epoch under which it held and is not known to have let go.
    suspects: BTreeMap<NodeId, Epoch>,
    /// Who was fenced, and neither was heard since nor holds by a voter's word; and what it held until then.
    fenced: BTreeMap<NodeId, Option<Epoch>>,
    running: Option<(NodeId, Instant)>,
    /// Why the last command failed, for each victim, until it succeeds or the victim is heard.
    failures: BTreeMap<NodeId, String>,
    retry_at: Option<Instant>,
}

impl Fence {
    pub(crate) fn new(settings: Option<FenceSettings>) -> Self {
        Fence { settings, ..Fence::default() }
    }

    /// Somebody holds the domain, by its own word or a voter's. It may not have opened its gate yet: that says
    /// nothing of who held before it.
    pub(crate) fn saw_holder(&mut self, epoch: Epoch) {
        let node = epoch.node;
        if let Some(until) = self.fenced.get(&node) {
            if *until >= Some(epoch) {
                return;
            }
            self.fenced.remove(&node);
        }
        let suspect = self.suspects.entry(node).or_insert(epoch);
        *suspect = epoch.max(*suspect);
    }

    /// Its holder has opened its gate by an authority's leave: it has cleared its way of whoever held before it.
    /// Whether that was news.
    pub(crate) fn opened(&mut self, epoch: Epoch) -> bool {
        let before = self.suspects.len();
        self.suspects.retain(|node, suspect| *node == epoch.node || *suspect >= epoch);
        self.suspects.len() != before
    }

    /// An epoch is over in good order, and with it what its node held before; others may still hold.
    pub(crate) fn released(&mut self, epoch: Epoch) {
        if self.suspects.get(&epoch.node).is_some_and(|suspect| *suspect <= epoch) {
            self.suspects.remove(&epoch.node);
        }
    }

    /// A node has given the domain up, whatever the epoch. Whether that was news.
    pub(crate) fn gave_up(&mut self, node: NodeId) -> bool {
        self.suspects.remove(&node).is_some()
    }

    /// A node is heard; `holds`: whether it says that it holds the domain, and under which epoch. Whether anything of
    /// that was news.
    pub(crate) fn heard(&mut self, node: NodeId, holds: bool, epoch: Option<Epoch>) -> bool {
        let was_fenced = self.fenced.remove(&node).is_some();
        if holds {
            let suspect = self.suspects.get(&node).copied();
            epoch.into_iter().for_each(|epoch| self.saw_holder(epoch));
            return was_fenced || suspect != self.suspects.get(&node).copied();
        }
        let suspected = self.gave_up(node);
        let failed = self.failures.remove(&node).is_some();
        if failed && self.failures.is_empty() {
            self.retry_at = None;
        }
        was_fenced || suspected || failed
    }

    /// Who held and is not known to have let go, the last one first.
    pub(crate) fn suspects(&self) -> Vec<NodeId> {
        let mut suspects: Vec<Epoch> = self.suspects.values().copied().collect();
        suspects.sort_unstable_by_key(|epoch| Reverse(*epoch));
        suspects.into_iter().map(|epoch| epoch.node).collect()
    }

    /// Whether a claim may be made: not right after a failure, so that another node can.
    pub(crate) fn may_claim(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|at| now >= at)
    }

    /// Why the way is barred.
    pub(crate) fn failure(&self) -> Option<(NodeId, &str)> {
        self.failures.first_key_value().map(|(node, why)| (*node, why.as_str()))
    }

    /// Clears the way for a take-over under `epoch`: fences each of `victims` that has not been.
    pub(crate) fn clear_way(
        &mut self,
        now: Instant,
        domain: DomainId,
        epoch: Epoch,
        victims: &[NodeId],
        out: &mut Vec<Action>,
    ) -> Way {
        let Some(settings) = self.settings else { return Way::Clear };
        if let Some((victim, since)) = self.running {
            if now.since(since) <= settings.timeout + ANSWER {
                return Way::Underway;
            }
            self.on_fenced(now, victim, Some(String::from("the fence command gave no answer")));
        }
        let Some(victim) = victims.iter().find(|victim| !self.fenced.contains_key(victim)).copied() else {
            return Way::Clear;
        };
        if !self.may_claim(now) {
            return Way::Barred;
        }
        self.running = Some((victim, now));
        let held = self.suspects.get(&victim).copied();
        out.push(Action::Fence { domain, victim, epoch, held });
        Way::Underway
    }

    /// A fence command has ended. A success counts even if the lease it was for is gone by now.
    pub(crate) fn on_fenced(&mut self, now: Instant, victim: NodeId, error: Option<String>) {
        if self.running.is_none_or(|(running, _)| running != victim) {
            return;
        }
        self.running = None;
        match (error, self.settings) {
            (None, _) => {
                self.failures.remove(&victim);
                let held = self.suspects.remove(&victim);
                self.fenced.insert(victim, held);
            }
            (Some(error), settings) => {
                self.failures.insert(victim, error);
                self.retry_at = settings.map(|settings| now + settings.retry);
            }
        }
    }

    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let settings = self.settings?;
        let lost = self.running.map(|(_, since)| since + settings.timeout + ANSWER + Duration::from_nanos(1));
        lost.into_iter().chain(self.retry_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Incarnation;
    use alloc::vec;

    const DOMAIN: DomainId = DomainId(1);

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn epoch(counter: u64, of: u16) -> Epoch {
        Epoch { counter, incarnation: Incarnation(1), attempt: 1, node: node(of) }
    }

    fn at(s: u64) -> Instant {
        Instant::from_nanos(s * 1_000_000_000)
    }

    fn fence() -> Fence {
        Fence::new(Some(FenceSettings { timeout: Duration::from_secs(10), retry: Duration::from_secs(20) }))
    }

    fn clear(fence: &mut Fence, now: Instant, victims: &[NodeId]) -> (Way, Vec<Action>) {
        let mut out = Vec::new();
        (fence.clear_way(now, DOMAIN, epoch(9, 2), victims, &mut out), out)
    }

    #[test]
    fn the_way_is_clear_only_after_the_command_has_succeeded() {
        let mut fence = fence();
        fence.saw_holder(epoch(8, 1));
        let (way, out) = clear(&mut fence, at(1), &[node(1)]);
        assert_eq!(way, Way::Underway);
        let shot = Action::Fence { domain: DOMAIN, victim: node(1), epoch: epoch(9, 2), held: Some(epoch(8, 1)) };
        assert_eq!(out, vec![shot]);
        assert_eq!(clear(&mut fence, at(2), &[node(1)]), (Way::Underway, vec![]), "one at a time");
        fence.on_fenced(at(3), node(1), None);
        assert_eq!(clear(&mut fence, at(3), &[node(1)]), (Way::Clear, vec![]));
        assert_eq!(fence.suspects(), []);
        fence.heard(node(1), true, Some(epoch(10, 1)));
        assert_eq!(clear(&mut fence, at(9), &[node(1)]).0, Way::Underway, "who is heard again is fenced again");
    }

    #[test]
    fn a_failure_bars_the_way_until_the_next_attempt_or_a_sign_of_life() {
        let mut fence = fence();
        assert_eq!(clear(&mut fence, at(1), &[node(1)]).0, Way::Underway);
        fence.on_fenced(at(2), node(1), Some("exit status 1".into()));
        assert_eq!(clear(&mut fence, at(3), &[node(1)]), (Way::Barred, vec![]));
        assert!(!fence.may_claim(at(21)) && fence.may_claim(at(22)));
        assert_eq!(fence.failure(), Some((node(1), "exit status 1")));
        fence.heard(node(1), false, None);
        assert!(fence.may_claim(at(3)) && fence.failure().is_none());
    }

    #[test]
    fn an_answer_that_never_comes_is_a_failure() {
        let mut fence = fence();
        assert_eq!(clear(&mut fence, at(1), &[node(1)]).0, Way::Underway);
        assert_eq!(clear(&mut fence, at(16), &[node(1)]).0, Way::Underway);
        assert_eq!(clear(&mut fence, at(17), &[node(1)]).0, Way::Barred);
        assert!(fence.failure().is_some_and(|(_, why)| why.contains("no answer")));
        fence.on_fenced(at(18), node(1), None);
        assert_eq!(clear(&mut fence, at(18), &[node(1)]).0, Way::Barred, "an answer to a question that was given up");
    }

    #[test]
    fn who_lets_go_in_good_order_is_no_suspect() {
        let mut fence = fence();
        fence.saw_holder(epoch(8, 1));
        fence.released(epoch(7, 1));
        assert_eq!(fence.suspects(), [node(1)], "an older epoch says nothing of a newer one");
        fence.released(epoch(8, 1));
        assert_eq!(fence.suspects(), []);
        fence.saw_holder(epoch(9, 1));
        fence.heard(node(3), false, None);
        assert_eq!(fence.suspects(), [node(1)]);
        fence.heard(node(1), false, None);
        assert_eq!(fence.suspects(), []);
    }

    #[test]
    fn who_lets_go_says_nothing_of_who_held_before_it() {
        let mut fence = fence();
        fence.saw_holder(epoch(8, 1));
        fence.saw_holder(epoch(9, 3));
        assert_eq!(fence.suspects(), [node(3), node(1)], "the last one first");
        fence.released(epoch(9, 3));
        assert_eq!(fence.suspects(), [node(1)], "its command may have failed");
        fence.saw_holder(epoch(10, 3));
        fence.heard(node(3), false, None);
        assert_eq!(fence.suspects(), [node(1)]);
        // Who has its gate open has had its way cleared.
        fence.heard(node(3), true, Some(epoch(11, 3)));
        fence.opened(epoch(11, 3));
        assert_eq!(fence.suspects(), [node(3)]);
    }

    #[test]
    fn who_was_fenced_and_holds_again_by_a_voter_s_word_is_fenced_again() {
        let mut fence = fence();
        fence.saw_holder(epoch(8, 1));
        assert_eq!(clear(&mut fence, at(1), &[node(1)]).0, Way::Underway);
        fence.on_fenced(at(2), node(1), None);
        fence.saw_holder(epoch(8, 1));
        assert_eq!(fence.suspects(), [], "late word of what is over");
        fence.saw_holder(epoch(10, 1));
        assert_eq!(fence.suspects(), [node(1)]);
        assert_eq!(clear(&mut fence, at(3), &[node(1)]).0, Way::Underway);
    }
}
