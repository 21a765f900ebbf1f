//! Who holds beside us, or beside another: since when that decides who yields, and what is told of it (D7).
//!
//! Who yields goes by what is heard, and at once: to let go for nothing costs a claim. An alarm goes by what was: two
//! holders, each of which certainly held while the other did ([`crate::tenure`]). A peer that holds says so each
//! period, so that an alarm comes a period and a round trip after a second holder, and m·h later where it does not hear
//! us. An Advertisement and an ARP bear no date: they count where our own gate may be open.

use alloc::vec::Vec;
use core::time::Duration;

use super::Domain;
use super::evidence::tie_patience;
use crate::action::{Action, AlertName};
use crate::alerts::Alerts;
use crate::decision::{Peers, View};
use crate::facts::Facts;
use crate::guard::Guard;
use crate::tenure::Tenure;
use crate::time::Instant;

/// How long a sight lasts, so that a flickering rival is one alert.
pub(super) const SEEN: Duration = Duration::from_secs(1);

impl Domain {
    /// The alert of two holders, by the evidence from before the deed: who yields has shut its gate by now, and tells
    /// all the same (I23).
    pub(super) fn raise_rivals(&mut self, facts: &Facts<'_>, view: &View, alerts: &mut Alerts) {
        let now = facts.now;
        let hears = matches!(view.peers, Peers::RivalYields | Peers::RivalWins);
        if hears {
            self.rival_since = self.rival_since.or(Some(now));
            self.tie_ends_at = self.rival_since.map(|since| since + tie_patience(facts.settings.heartbeat.period));
            self.rival_seen = Some(now);
        } else if self.rival_seen.is_none_or(|at| now.since(at) >= SEEN) {
            (self.rival_since, self.rival_seen, self.tie_ends_at) = (None, None, None);
        }
        let dated = facts.settings.guards.has(Guard::ClaimsDated);
        // A third node has named the other: what is heard of that one here, if anything, is no claim.
        let named = view.peers == Peers::RivalWins && !facts.heard().any(|peer| self.is_master_of(peer));
        if named || (dated && self.holds_beside(facts)) || (!dated && hears) {
            self.two_seen = Some(now);
        }
        let two = self.two_hold(facts) || self.two_seen.is_some_and(|at| now.since(at) < SEEN);
        alerts.set(AlertName::DualMaster, Some(self.id), two, || self.words(facts, view));
    }

    /// Another claims our addresses, and nobody knows since when: it does so beside us if our gate may be open.
    pub(super) fn see_claim(&mut self, now: Instant) {
        if self.kernel.tenure().is_some_and(|own| now < own.until) {
            self.two_seen = Some(now);
        }
    }

    /// A peer that is heard has held while our own gate was open, and was read back as such: what was asked for and
    /// taken back, or refused, has let nothing through. Of a tenure of ours that is over
    /// that is seen once.
    fn holds_beside(&mut self, facts: &Facts<'_>) -> bool {
        let Some(own) = self.kernel.known_tenure() else { return false };
        let news = facts.now < own.until || self.told_of != Some(own.began);
        let beside = news && self.tenures(facts).any(|tenure| tenure.overlaps(&own));
        if beside {
            self.told_of = Some(own.began);
        }
        beside
    }

    /// Two peers that are heard have held at once.
    fn two_hold(&self, facts: &Facts<'_>) -> bool {
        // Mostly one holds, or none: without a list.
        self.tenures(facts)
            .enumerate()
            .any(|(n, one)| self.tenures(facts).skip(n + 1).any(|other| one.overlaps(&other)))
    }

    /// Those of the peers that are heard, and hold by their last word.
    fn tenures<'a>(&'a self, facts: &'a Facts<'_>) -> impl Iterator<Item = Tenure> + 'a {
        facts.heard().filter_map(|peer| peer.tenure(self.id))
    }

    /// For `notify_master_rx_lower_pri`. Whoever floods us with Advertisements does not flood scripts and FIFOs.
    pub(super) fn tell_of_lower(&mut self, now: Instant, place: usize, out: &mut Vec<Action>) {
        let Some(router) = self.routers.get_mut(place) else { return };
        if router.lower_told_at.is_none_or(|at| now.since(at) >= router.settings.advert_int / 2) {
            router.lower_told_at = Some(now);
            let priority = router.machine.params().priority;
            out.push(Action::LowerSeen { domain: self.id, instance: router.id, priority });
        }
    }
}
