//! A domain whose Master goes on in another process (docs/decisions/0210).

use alloc::vec::Vec;

use super::{Domain, Leaving};
use crate::action::Action;
use crate::alerts::Alerts;
use crate::decision::{Reason, Role};
use crate::facts::Facts;
use crate::handed::{HandedDomain, Held, NotSuspended};
use crate::lease::grant::Backing;
use crate::lease::holder::Lease;
use crate::settings::{Authority, Policy};
use crate::time::Instant;
use crate::vrrp::output::Output;

impl Domain {
    /// What the next process must not forget of it.
    pub(crate) fn hand_on(&self, now: Instant, authority: &Authority) -> Result<HandedDomain, NotSuspended> {
        let counted = self.policy == Policy::Strict && matches!(authority, Authority::Quorum(_));
        let handed = self.lease.hand_on(self.id).filter(|_| counted);
        let mut handed = handed.ok_or(NotSuspended::Authority(self.id))?;
        if self.lease.doubts(now) {
            return Err(NotSuspended::Doubted(self.id));
        }
        let between = self.leaving.is_some() || self.lapsed_at.is_some() || self.retiring.is_some();
        if between || self.given_early_at.is_some() || self.lease.is_saying_farewell() || self.former.is_some() {
            return Err(NotSuspended::Busy(self.id));
        }
        if self.is_busy(now) || self.is_master() {
            handed.held = Some(self.hand_on_held(now).ok_or(NotSuspended::Busy(self.id))?);
        }
        Ok(handed)
    }

    /// What is held, if nothing about it is under way.
    fn hand_on_held(&self, now: Instant) -> Option<Held> {
        let master_since = self.master_since.filter(|_| self.role == Role::Master && self.started)?;
        let grant = self.lease.grant(now).filter(|grant| grant.backing() == Backing::Authority)?;
        let (gate_until, opened_at) = self.kernel.at_rest(now)?;
        let held = self.lease.hand_on_held()?;
        let same = grant.gate_until() == gate_until && grant.until() == held.until && grant.epoch() == held.epoch;
        same.then_some(Held { gate_until, opened_at, master_since, ..held })
    }

    /// Begins where the former process of this life ended: what that held is neither shut nor taken out, and nothing is
    /// told of it anew.
    pub(crate) fn go_on(&mut self, now: Instant, from: &HandedDomain) {
        self.lease.go_on(now, from);
        let Some(held) = &from.held else { return };
        self.kernel.take_on(now, held);
        (self.goes_on, self.has_held, self.former) = (true, true, None);
        (self.role, self.reason) = (Role::Master, Reason::Elected);
        (self.master_since, self.role_since) = (Some(held.master_since), held.master_since);
    }

    /// While the evidence is not in: until D the gate stays as it was read back, and at D what was taken on is over (R5).
    pub(super) fn go_on_meanwhile(&mut self, facts: &Facts<'_>, alerts: &mut Alerts, out: &mut Vec<Action>) {
        let now = facts.now;
        if !self.goes_on {
            return;
        }
        // Given up in good order, whatever of the evidence is in (R8).
        if self.leaving.is_some() || self.is_stopping(facts) || facts.maintenance {
            let view = self.view(facts);
            let why = Leaving { reason: Reason::Stopping, to: Role::Init, heir: None, heir_epoch: None };
            self.leave(facts, why, &view, out);
            self.goes_on = self.leaving.is_some();
            return;
        }
        if self.lease.grant(now).is_some() {
            // Whoever claims the addresses beside an open gate is told of at once (I23).
            let view = self.view(facts);
            return self.raise_rivals(facts, &view, alerts);
        }
        // Nothing is asked for before the evidence is in.
        self.lease.sit(now);
        let view = self.view(facts);
        if view.lease == Lease::Lapsed {
            return self.lapse(facts, &view, out);
        }
        self.sweep(facts, view.peers, out);
        if self.lapsed_at.is_none() {
            self.goes_on = false;
            self.rest(facts, Role::Init, Reason::Started, &view, out);
        }
    }

    /// The evidence is in: virtual routers whose former process was Master advertise on.
    pub(super) fn go_on_as_master(&mut self, now: Instant, out: &mut Vec<Action>) {
        if !core::mem::take(&mut self.goes_on) || self.lease.grant(now).is_none() || !self.kernel.is_open(now) {
            return;
        }
        for router in &mut self.routers {
            for output in router.machine.become_master(now) {
                if let Output::Advertise(advertisement) = output {
                    router.advertise(advertisement, out);
                }
            }
        }
    }
}
