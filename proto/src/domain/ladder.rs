//! A domain on the rings outside the gate (see [`crate::fencing`]).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Domain;
use crate::action::{Action, AlertName};
use crate::alerts::Alerts;
use crate::facts::Facts;
use crate::fencing::Way;
use crate::id::{DomainId, Epoch, NodeId};
use crate::lease::timing::Millis;
use crate::time::Instant;

impl Domain {
    /// Fences whom a take-over under `epoch` needs fenced.
    pub(super) fn clear_way(&mut self, facts: &Facts<'_>, epoch: Epoch, out: &mut Vec<Action>) -> Way {
        let victims = self.victims(facts);
        self.fence.clear_way(facts.now, self.id, epoch, &victims, out)
    }

    /// Whether a claim would be in vain, since a fence command failed a moment ago and is still needed.
    pub(super) fn is_barred(&self, facts: &Facts<'_>) -> bool {
        !self.fence.may_claim(facts.now) && !self.victims(facts).is_empty()
    }

    /// With an authority: whoever has held and fallen silent without having let go. Without one, anybody
    /// may hold who is silent, unless the former Master has given the domain up for us.
    fn victims(&self, facts: &Facts<'_>) -> Vec<NodeId> {
        let silent = |node: &NodeId| facts.peers.get(node).is_some_and(|peer| peer.is_silent(facts.now));
        if self.lease.is_arbitrated() {
            let mut suspects = self.fence.suspects();
            suspects.retain(|node| *node != facts.settings.node && silent(node));
            return suspects;
        }
        if self.nominated_until.is_some_and(|until| facts.now < until) {
            return Vec::new();
        }
        facts.peers.keys().copied().filter(silent).collect()
    }

    /// Whether nothing of it can be on the wire that should not be; `fault` is the gate's own.
    pub(crate) fn is_harmless(&self, now: Instant, fault: &str) -> bool {
        !self.kernel.is_doubtful(now) && (fault.is_empty() || !self.kernel.is_open(now))
    }

    /// Keeps the time for which it has been unable to let go; what can't be done, once that is too long.
    pub(crate) fn keep_stuck(&mut self, now: Instant, fault: &str) -> Option<(DomainId, String)> {
        let untested = self.has_held && !fault.is_empty() && self.kernel.has_addresses();
        if !self.kernel.is_doubtful(now) && !untested {
            self.stuck_since = None;
            return None;
        }
        let since = *self.stuck_since.get_or_insert(now);
        let lasted = now.since(since);
        if self.reboot_after.is_none_or(|after| lasted < after) {
            return None;
        }
        let last = self.kernel.failure().unwrap_or("the kernel gave no answer");
        let what = if self.kernel.is_doubtful(now) {
            format!("the gate could not be shut for {}: {last}", Millis(lasted))
        } else {
            format!(
                "the gate fails its test ({fault}) and the addresses could not be removed for {}: {last}",
                Millis(lasted)
            )
        };
        Some((self.id, what))
    }

    pub(super) fn raise_fencing(&self, facts: &Facts<'_>, alerts: &mut Alerts) {
        let (failure, names) = (self.fence.failure(), &facts.settings.names);
        let words = || failure.map_or_else(String::new, |(node, why)| format!("{}: {why}", names.node(node)));
        let end = "the former holder is fenced, or is heard again and holds nothing";
        alerts.set_with_end(AlertName::FenceFailed, Some(self.id), failure.is_some(), words, end);
    }
}
