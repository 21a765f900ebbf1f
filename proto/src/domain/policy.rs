//! What the operator's policy for a silent authority brings about (D4), as alerts.

use alloc::string::String;

use super::Domain;
use crate::action::AlertName;
use crate::alerts::Alerts;
use crate::decision::{Peers, View};
use crate::facts::Facts;
use crate::lease::grant::Backing;

impl Domain {
    /// What the operator's policy for a silent authority has brought about (D3, D4).
    pub(super) fn raise_policy(&self, facts: &Facts<'_>, view: &View, alerts: &mut Alerts) {
        let id = Some(self.id);
        let words = || self.words(facts, view);
        let promised = self.lease.grant(facts.now).is_some_and(|grant| grant.backing() == Backing::Promises);
        let degraded = self.master_since.is_some() && promised;
        alerts.set(AlertName::Degraded, id, degraded, words);
        let accepted =
            || String::from("policy i-accept-dual-master: while the arbiter is silent two nodes may hold it");
        alerts.set(AlertName::DualMasterAccepted, id, self.lease.accepts_two(), accepted);
        let elsewhere = view.peers == Peers::SeenElsewhere && self.master_since.is_none();
        alerts.set(AlertName::PeerSeenElsewhere, id, elsewhere, words);
    }
}
