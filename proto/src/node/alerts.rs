//! The alerts that concern the whole node, and the saying of all.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Node;
use crate::action::{Action, AlertName};
use crate::heartbeat::peer::Peer;
use crate::id::NodeId;
use crate::lease::timing::Millis;
use crate::time::Instant;

impl Node {
    /// The node's own alerts, as they stand: looked at once in a period, whenever what they tell of has changed, and
    /// when one is about to be said, so that it says how things are then.
    pub(super) fn raise(&mut self, now: Instant) {
        let due = [self.amnesia.next_deadline(), self.duplicates.next_deadline(), self.alerts.next_deadline()];
        let due = due.into_iter().flatten().any(|at| at <= now);
        if !self.agenda.take_look() && !due {
            return;
        }
        self.raise_clocks(now);
        self.raise_sights(now);
        self.raise_silent(now);
        let (names, silence) = (&self.settings.names, self.settings.heartbeat.silence());
        let heard = self.peers.values().filter(|peer| peer.is_heard(now));
        let down = heard.flat_map(|peer| {
            peer.links().filter(|(_, link)| !link.is_up(now, silence)).map(move |(id, link)| (peer.node, id, link))
        });
        let words = || {
            let words = down.map(|(peer, id, link)| {
                let since = link
                    .heard_at()
                    .map_or(String::from("never heard"), |at| format!("last heard {} ago", Millis(now.since(at))));
                let there = self.findings.says_of(peer, id, link.heard_at(), silence);
                format!("{} to {} ({since}{there})", names.link(id), names.node(peer))
            });
            words.collect::<Vec<_>>().join(", ")
        };
        // A start is no fault: the links need a moment to come up.
        let started = now.since(self.started_at) > silence * 3;
        let is_heard_but_down = |peer: &Peer| peer.is_heard(now) && peer.links().any(|(_, l)| !l.is_up(now, silence));
        let (is_down, end) =
            (started && self.peers.values().any(is_heard_but_down), "every link to a peer that is heard is up");
        self.alerts.set_with_end(AlertName::HeartbeatLinkDown, None, is_down, words, end);
        let lost = self.references.is_known() && [false, true].into_iter().any(|ipv6| self.references.is_lost(ipv6));
        let report = self.references.report();
        self.alerts.set(AlertName::ReferencesLost, None, lost, || format!("{report} references answer"));
        let fault = self.gate.as_ref().map(|gate| gate.fault.clone()).unwrap_or_default();
        let (is_broken, end) = (!fault.is_empty(), "the gate passes its test again");
        self.alerts.set_with_end(AlertName::GateBroken, None, is_broken, || fault, end);
        for (domain, fault) in &self.routes {
            let words = || fault.clone().unwrap_or_default();
            self.alerts.set_with_end(AlertName::RouteFailed, *domain, fault.is_some(), words, "all of them are there");
        }
        let (servers, end) = (&self.servers, "the table of virtual servers was found as it was left");
        let words = || servers.clone().unwrap_or_default();
        self.alerts.set_with_end(AlertName::ServersChangedByOthers, None, servers.is_some(), words, end);
        let behind = &self.listeners;
        let words = || {
            let words = behind.iter().map(|(who, missed)| format!("{who} has missed {missed}"));
            words.collect::<Vec<_>>().join(", ")
        };
        let end = "everybody is told again";
        self.alerts.set_with_end(AlertName::NotifyBehind, None, !behind.is_empty(), words, end);
        self.raise_findings(now);
        self.raise_of_voters(now, started);
    }

    /// Peers that are silent on every link, and which of them live all the same.
    fn raise_silent(&mut self, now: Instant) {
        let (names, silence) = (&self.settings.names, self.settings.heartbeat.silence());
        let silent = self.peers.values().filter(|peer| peer.is_silent(now));
        let silent = silent.map(|peer| (peer.node, self.findings.advertises(now, peer, self.domains.values())));
        let silent: Vec<(NodeId, bool)> = silent.collect();
        let words = || {
            if silent.is_empty() {
                return String::from("every peer is heard again");
            }
            let words = silent.iter().map(|(node, advertises)| {
                let hint = if *advertises { " (but its Advertisements arrive: UDP is filtered)" } else { "" };
                format!("{}{hint}", names.node(*node))
            });
            format!("silent for {} on every link: {}", Millis(silence), words.collect::<Vec<_>>().join(", "))
        };
        // It is told anew once it is known who lives all the same.
        let filtered = silent.iter().filter(|(_, advertises)| *advertises).count() as u64;
        self.alerts.set_about(AlertName::AllHeartbeatsDown, None, !silent.is_empty(), filtered, words);
    }

    /// What has begun or ended, each with the epoch under which it finds its domain.
    pub(super) fn say_alerts(&mut self, out: &mut Vec<Action>) {
        let from = out.len();
        self.alerts.take(out);
        for action in out.iter_mut().skip(from) {
            if let Action::Alert(alert) = action {
                alert.epoch = alert.domain.and_then(|id| self.domains.get(&id)).and_then(|domain| domain.lease.epoch());
            }
        }
    }
}
