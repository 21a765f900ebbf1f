//! A domain under another configuration: what of it changes while it goes on, and its orderly end.
//!
//! What must stay true: the lease, its epoch and the gate know nothing of it, but for what becomes of the lease while its
//! voters are silent, and no promise ends by it; a domain is gone only when nothing of it is held, its voters have been told
//! or will not listen, and its peers have heard that it rests.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Domain, Router, watch};
use crate::action::Action;
use crate::decision::Role;
use crate::facts::Facts;
use crate::lease::authority::DomainLease;
use crate::mirror::Mirrors;
use crate::settings::{DomainSettings, Settings};
use crate::time::Instant;
use crate::vrrp::params::Params;

/// A voter that can't be reached is not waited for any longer: its grant runs out by itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far the end of a domain has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retiring {
    since: Instant,
    /// Nothing is left to do but to tell the peers.
    rests_since: Option<Instant>,
}

impl Retiring {
    pub(super) fn deadline(self, silence: Duration) -> Instant {
        self.rests_since.map_or(self.since + PATIENCE, |since| since + silence)
    }
}

/// Whether a virtual router is the same one under these settings.
fn stays(router: &Router, domain: &DomainSettings, settings: &Settings) -> bool {
    let of = &router.settings;
    domain.instances.contains(&router.id)
        && settings.instances.get(usize::from(router.id.0)).is_some_and(|new| {
            (new.interface, new.vrid, new.version, new.ipv6) == (of.interface, of.vrid, of.version, of.ipv6)
        })
}

impl Domain {
    /// Whether it can go on under these settings: what the lease was made with, and at least one of its virtual routers.
    /// Others may come and go beside that.
    pub(crate) fn can_become(&self, domain: &DomainSettings, settings: &Settings) -> bool {
        self.retiring.is_none()
            && self.lease.may_become(domain.policy)
            && self.fencing == domain.fencing
            && self.routers.iter().any(|router| stays(router, domain, settings))
    }

    /// Takes over what is other in these settings; only for one that [`Domain::can_become`].
    pub(crate) fn reconfigure(
        &mut self,
        now: Instant,
        domain: &DomainSettings,
        settings: &Settings,
        out: &mut Vec<Action>,
    ) {
        let before = watch(settings, &domain.authority, &self.routers);
        self.part_with_routers(domain, settings, out);
        for router in &mut self.routers {
            let Some(new) = settings.instances.get(usize::from(router.id.0)) else { continue };
            if router.settings.announce != new.announce {
                router.announcer.reconfigure(now, self.master_since.is_some(), &new.announce);
            }
            if router.settings != *new {
                router.settings = new.clone();
                router.machine.reconfigure(now, Params::from(new));
                self.news = true;
            }
        }
        self.take_routers_in(now, domain, settings);
        let watch = watch(settings, &domain.authority, &self.routers);
        if watch != before {
            self.lease.set_heartbeat(now, watch);
        }
        if core::mem::replace(&mut self.policy, domain.policy) != domain.policy {
            let others = settings.peers.iter().map(|peer| peer.node);
            self.lease.set_policy(domain.policy, settings.heartbeat, others, now);
        }
        self.families = domain.families;
        self.grace = settings.grace;
        if !self.mirrors.are_of(&domain.mirrors) {
            self.mirrors = Mirrors::new(&domain.mirrors);
        }
        if core::mem::replace(&mut self.shape, domain.shape) != domain.shape {
            self.kernel.set_anew();
            self.announces_anew = self.master_since.is_some();
        }
    }

    /// Virtual routers that it has no more: who hears one need not wait for its silence.
    fn part_with_routers(&mut self, domain: &DomainSettings, settings: &Settings, out: &mut Vec<Action>) {
        let (stay, go) =
            core::mem::take(&mut self.routers).into_iter().partition(|router| stays(router, domain, settings));
        self.routers = stay;
        for mut router in go {
            if router.machine.is_master() {
                let advertisement = router.machine.resignation();
                router.advertise(advertisement, out);
            }
            self.news = true;
        }
    }

    /// Virtual routers that it has besides: under a Master they become Masters once their addresses are there
    /// ([`Domain::hold`]).
    fn take_routers_in(&mut self, now: Instant, domain: &DomainSettings, settings: &Settings) {
        for id in &domain.instances {
            if self.routers.iter().any(|router| router.id == *id) {
                continue;
            }
            if let Some(mut router) = Router::new(*id, settings) {
                if self.started {
                    router.machine.startup(now);
                }
                self.routers.push(router);
                self.news = true;
            }
        }
    }

    /// It goes on with the lease of one that has ended.
    pub(crate) fn inherit(&mut self, now: Instant, lease: DomainLease, settings: &Settings) {
        self.lease = lease;
        let authority = settings.domains.iter().find(|domain| domain.id == self.id).map(|domain| &domain.authority);
        if let Some(authority) = authority {
            self.lease.set_heartbeat(now, watch(settings, authority, &self.routers));
        }
    }

    /// It is to be given up, for good.
    pub(crate) fn retire(&mut self, now: Instant) {
        self.retiring.get_or_insert(Retiring { since: now, rests_since: None });
    }

    /// Whether this node, or this domain of it, is giving up.
    pub(super) fn is_stopping(&self, facts: &Facts<'_>) -> bool {
        facts.stopping || self.retiring.is_some()
    }

    /// Addresses that may be there although nothing is held, of which nobody will take care later.
    pub(super) fn sweep_retired(&mut self, facts: &Facts<'_>, out: &mut Vec<Action>) {
        if self.retiring.is_some() && !self.kernel.holds_anything() && self.kernel.has_addresses() {
            self.kernel.let_go(facts.now, None, out);
        }
    }

    /// Whether it has ended, and its peers know. For `silence` after its end each of them is told with each beat.
    pub(crate) fn is_gone(&mut self, now: Instant, silence: Duration) -> bool {
        let Some(retiring) = self.retiring else { return false };
        let holds = self.kernel.holds_anything() || self.kernel.has_addresses() || self.lease.grant(now).is_some();
        let rests = self.role == Role::Init && self.leaving.is_none() && self.former.is_none() && !holds;
        let is_told = !self.lease.is_saying_farewell() || now >= retiring.since + PATIENCE;
        if !rests || !is_told {
            self.retiring = Some(Retiring { rests_since: None, ..retiring });
            return false;
        }
        let since = retiring.rests_since.unwrap_or(now);
        self.retiring = Some(Retiring { rests_since: Some(since), ..retiring });
        now >= since + silence
    }
}
