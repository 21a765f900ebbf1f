//! The node's part in the judgement over clocks: who is asked, what is read, what counts no more.

use alloc::vec::Vec;

use super::{GATE_TEST, Node};
use crate::action::{Action, AlertName};
use crate::id::{Incarnation, NodeId};
use crate::lease::rate::Reading;
use crate::time::Instant;
use crate::wire::lease::{Envelope, Message};

impl Node {
    /// Another host's clock was read: a breach may end our own hold, or what a voter has granted.
    pub(super) fn read_clock(&mut self, now: Instant, from: NodeId, incarnation: Incarnation, reading: Reading) {
        let Some(clocks) = &mut self.clocks else { return };
        if clocks.observe(now, from, incarnation, reading) {
            self.domains.values_mut().for_each(|domain| domain.lease.renew_now(now));
        }
        self.settle_clocks(now);
    }

    /// Ends what is over, and takes back what voters have granted whose clocks are off.
    pub(super) fn settle_clocks(&mut self, now: Instant) {
        let Some(clocks) = &mut self.clocks else { return };
        clocks.tick(now);
        for voter in clocks.take_news() {
            self.domains.values_mut().for_each(|domain| domain.lease.distrust(voter));
        }
    }

    /// Whether what an answer gives counts, with the voter's clock in it looked at first.
    pub(super) fn is_believed(&mut self, now: Instant, from: NodeId, envelope: &Envelope) -> bool {
        let domain = self.domains.get(&envelope.domain);
        let sent = domain.and_then(|domain| domain.lease.sent_at(from, envelope));
        // The own voter has our own clock, which proves nothing.
        if from != self.settings.node
            && let (Some(sent), Some(stamp)) = (sent, envelope.message.stamp())
        {
            let reading = Reading { sent, received: now, clock: stamp.clock };
            self.read_clock(now, from, stamp.incarnation, reading);
        }
        let gives = matches!(envelope.message, Message::Grant { .. } | Message::Free { .. });
        !gives || self.clocks.as_ref().is_none_or(|clocks| clocks.is_believed(now, from))
    }

    /// Asks each R at what rate the kernel runs the own clock.
    pub(super) fn ask_for_the_rate(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.clocks.is_some() && now >= self.clock_at {
            let renewal = self.settings.quorum().map_or(GATE_TEST, |quorum| quorum.timing.renewal_interval());
            self.clock_at = now + renewal;
            out.push(Action::ReadClock);
        }
    }

    pub(super) fn raise_clocks(&mut self, now: Instant) {
        let names = &self.settings.names;
        let words = self.clocks.as_ref().map(|clocks| clocks.words(now, names)).unwrap_or_default();
        let (is_wrong, end) = (!words.is_empty(), "every clock is within what the lease assumes again");
        self.alerts.set_with_end(AlertName::ClockAssumptionViolated, None, is_wrong, || words, end);
    }
}
