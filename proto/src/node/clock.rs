//! The node's part in the judgement over clocks and identities: who is asked, what is read, what counts no
//! more, and whose word is another's.

use alloc::format;
use alloc::vec::Vec;

use super::{GATE_TEST, Node};
use core::time::Duration;

use crate::action::{Action, AlertName};
use crate::id::{Incarnation, NodeId};
use crate::lease::holder::{Amnesia, VoterFault};
use crate::lease::rate::Reading;
use crate::lease::timing::Millis;
use crate::time::Instant;
use crate::wire::lease::{Envelope, Message};

/// How long the sight of a second agent stands.
const LASTS: Duration = Duration::from_secs(2);

impl Node {
    /// Another host's clock was read: a breach may end our own hold, or what a voter has granted.
    pub(super) fn read_clock(&mut self, now: Instant, from: NodeId, incarnation: Incarnation, reading: Reading) {
        let Some(clocks) = &mut self.clocks else { return };
        if clocks.observe(now, from, incarnation, reading) {
            self.domains.values_mut().for_each(|domain| domain.lease.renew_now(now));
            self.agenda.touch_all();
        }
        self.settle_clocks(now);
    }

    /// Ends what is over, and takes back what voters have granted whose clocks are off.
    pub(super) fn settle_clocks(&mut self, now: Instant) {
        let Some(clocks) = &mut self.clocks else { return };
        clocks.tick(now);
        for voter in clocks.take_news() {
            self.domains.values_mut().for_each(|domain| domain.lease.distrust(voter));
            self.agenda.touch_all();
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
        let gives = matches!(envelope.message, Message::Grant { .. } | Message::Free { .. } | Message::Promised { .. });
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

    /// R17: a voter has forgotten what it lent. It is ignored for L_max; the alert outlives that, so that two
    /// voters with one identity (F39) are one alert.
    pub(super) fn note_amnesia(&mut self, now: Instant, fault: VoterFault) {
        let lasts = self.settings.quorum().map_or(LASTS, |quorum| quorum.timing.lease_max) * 2;
        self.agenda.look();
        let names = &self.settings.names;
        self.amnesia.note(now, fault.voter, lasts, || {
            let name = names.node(fault.voter);
            match fault.why {
                Amnesia::ClockBack(by) => format!(
                    "voter {name}'s clock went back by {} within one life, as after a restored memory snapshot: it may \
                     have forgotten whom it lent to and is ignored for the longest lease. Restart it instead of \
                     restoring it",
                    Millis(by)
                ),
                Amnesia::OlderLife(life) => format!(
                    "an older life of voter {name} ({:016x}) answers again: it was restored from a snapshot, or two \
                     voters run with one key. It is ignored for the longest lease. Stop one of the two, or give it a \
                     key and an id of its own",
                    life.0
                ),
            }
        });
    }

    /// Two agents speak as one node (F62).
    pub(super) fn note_duplicate(&mut self, now: Instant, node: NodeId, older: Incarnation) {
        self.agenda.look();
        let names = &self.settings.names;
        self.duplicates.note(now, node, LASTS, || {
            format!(
                "two agents speak as {}, as after a node was cloned with its key: the older one ({:016x}) is not listened \
                 to. Stop one of the two, or give it a key and an id of its own (`keepone keys`)",
                names.node(node),
                older.0
            )
        });
    }

    /// Whether a request can only be of a second agent with a member's key. What it already holds it may
    /// renew: that endangers nobody.
    pub(super) fn is_second_agent(&mut self, now: Instant, from: NodeId, envelope: &Envelope) -> bool {
        let Some(duplicate) = self.lives.on_request(now, from, envelope) else { return false };
        self.note_duplicate(now, from, duplicate.older);
        let granted = self.voter.as_ref().and_then(|voter| voter.granted(now, envelope.domain));
        !granted.is_some_and(|granted| granted.epoch.node == from && granted.epoch.incarnation == duplicate.older)
    }

    pub(super) fn raise_sights(&mut self, now: Instant) {
        let words = self.amnesia.standing(now);
        let (stands, end) = (!words.is_empty(), "every voter remembers what it lent");
        self.alerts.set_with_end(AlertName::VoterAmnesia, None, stands, || words, end);
        let words = self.duplicates.standing(now);
        let (stands, end) = (!words.is_empty(), "each node is heard as one agent again");
        self.alerts.set_with_end(AlertName::DuplicateNode, None, stands, || words, end);
    }

    pub(super) fn raise_clocks(&mut self, now: Instant) {
        let names = &self.settings.names;
        let words = self.clocks.as_ref().map(|clocks| clocks.words(now, names)).unwrap_or_default();
        let (is_wrong, end) = (!words.is_empty(), "every clock is within what the lease assumes again");
        self.alerts.set_with_end(AlertName::ClockAssumptionViolated, None, is_wrong, || words, end);
    }
}
