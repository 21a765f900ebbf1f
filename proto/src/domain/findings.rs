//! What a domain notes for the finders; it decides nothing.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::{Domain, Router};
use crate::action::AlertName;
use crate::alerts::{Alerts, Words};
use crate::decision::{Reason, Role, View};
use crate::facts::Facts;
use crate::findings::{Oddity, Sightings, topic};
use crate::node::findings::lasts;
use crate::time::Instant;
use crate::vrrp::output::{Discard, Election};
use crate::wire::vrrp::Advertisement;

/// A claim is over when no other has come for so long.
const CLAIM_LASTS: Duration = Duration::from_secs(5);

/// Notes of one domain.
#[derive(Debug, Clone, Default)]
pub(crate) struct DomainFindings {
    /// Odd Advertisements, with their senders.
    pub(crate) oddities: Sightings<(IpAddr, Oddity)>,
    /// Who else claimed an address of ours, by hardware address.
    pub(crate) claims: Sightings<[u8; 6]>,
    /// The mastership was given up by ourselves, for this reason.
    pub(crate) demoted: Option<Reason>,
}

impl DomainFindings {
    pub(crate) fn prune(&mut self, now: Instant) {
        self.oddities.prune(now);
        self.claims.prune(now);
    }

    /// A role was left. What another asked for, or the operator, is no demotion.
    pub(crate) fn left(&mut self, from: Role, to: Role, reason: Reason) {
        let by_itself = matches!(to, Role::Fenced | Role::Fault) || reason == Reason::RivalWins;
        if from == Role::Master && by_itself {
            self.demoted = Some(reason);
        }
    }

    /// An Advertisement for our VRID came from `from`: whether that is a peer is judged later.
    pub(crate) fn speaks(&mut self, now: Instant, from: IpAddr, own: IpAddr, advertisement: &Advertisement) {
        if from != own {
            self.oddities.see((from, Oddity::Foreign), now + lasts(advertisement));
        }
    }

    /// Something about it is odd.
    pub(crate) fn odd(&mut self, now: Instant, from: IpAddr, what: Oddity, advertisement: &Advertisement) {
        self.oddities.see((from, what), now + lasts(advertisement));
    }

    /// Another host claimed an address that we hold.
    pub(crate) fn claimed(&mut self, now: Instant, mac: [u8; 6]) {
        self.claims.see(mac, now + CLAIM_LASTS);
    }

    /// It was discarded.
    pub(crate) fn discarded(&mut self, now: Instant, from: IpAddr, why: Discard, advertisement: &Advertisement) {
        let oddity = match why {
            Discard::Version { found, .. } => Oddity::Version(crate::findings::compare::number(found)),
            Discard::Authentication => Oddity::Authentication,
            Discard::Replayed { .. } => Oddity::Replayed,
            Discard::Unsigned(fault) => Oddity::Unsigned(fault),
            Discard::Repeated { .. } => Oddity::Repeated,
            Discard::Stale(_) => Oddity::Stale,
            Discard::OwnAddress => Oddity::OwnAddress,
            // Of another virtual router: not ours to judge.
            Discard::Vrid { .. } | Discard::Family => return,
            // Two that hold are told of by themselves (D7).
            Discard::Owner => return,
        };
        self.odd(now, from, oddity, advertisement);
    }
}

impl Domain {
    /// The alerts that the notes make.
    pub(super) fn raise_findings(&mut self, facts: &Facts<'_>, view: &View, alerts: &mut Alerts) {
        let id = Some(self.id);
        let demoted = self.findings.demoted;
        let words = || match demoted {
            Some(reason) => format!("{reason}: {}", self.words(facts, view)),
            None => format!("it is {} now", self.role.as_str()),
        };
        alerts.set(AlertName::SelfDemoted, id, demoted.is_some(), words);
        if !matches!(self.role, Role::Fenced | Role::Fault) {
            self.findings.demoted = None;
        }
        let bad = self.has_bad_tracker(facts);
        if bad || alerts.is_named(AlertName::TrackerFailed) {
            let trackers = self.words_of_trackers(facts);
            let about = topic(trackers.iter().map(String::as_str));
            alerts.set_about(AlertName::TrackerFailed, id, bad, about, || match bad {
                true => format!("{}; the priority is {}", trackers.join(", "), self.priority().0),
                false => String::from("all that is tracked is well"),
            });
        }
        if self.findings.claims.iter().next().is_some() || alerts.is_named(AlertName::AddressClaimed) {
            self.raise_claims(alerts);
        }
    }

    fn raise_claims(&self, alerts: &mut Alerts) {
        let id = Some(self.id);
        let claims: Vec<String> = self.findings.claims.iter().map(|mac| hardware(*mac)).collect();
        let (claimed, about) = (!claims.is_empty(), topic(claims.iter().map(String::as_str)));
        alerts.set_about(AlertName::AddressClaimed, id, claimed, about, || {
            if !claimed {
                return Words::from(String::from("nobody else has claimed them for 5 s"));
            }
            let addresses: Vec<String> =
                self.routers.iter().flat_map(|router| &router.settings.addresses).map(ToString::to_string).collect();
            let macs = claims.join(", ");
            let evidence =
                format!("hardware address {macs} claims one of {} by ARP or NA, which we hold", addresses.join(", "));
            let remedy = format!(
                "find {macs} in the switches' tables and take the address from it; \
                 this node has announced it again"
            );
            Words { evidence, remedy: Some(remedy) }
        });
    }

    /// As BACKUP it hears a peer's beats say MASTER, and no Advertisement for this instance (D1).
    pub(crate) fn hears_no_master(&self, facts: &Facts<'_>, place: usize) -> bool {
        // Won is also who stands against a lower Master that it hears well.
        let hears = |router: &Router| {
            let machine = &router.machine;
            machine
                .master()
                .is_some_and(|seen| facts.now.since(seen.at) < machine.params().master_down_interval(seen.advert_int))
        };
        let silent = |router: &Router| router.machine.election(facts.now) == Election::Won && !hears(router);
        self.master_since.is_none()
            && self.routers.iter().any(|router| usize::from(router.id.0) == place && silent(router))
            && facts.heard().any(|peer| self.is_master_of(peer))
    }

    /// How long it has been Master.
    pub(crate) fn master_for(&self, now: Instant) -> Option<Duration> {
        self.master_since.map(|since| now.since(since))
    }
}

fn hardware(mac: [u8; 6]) -> String {
    let parts: Vec<String> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
    parts.join(":")
}
