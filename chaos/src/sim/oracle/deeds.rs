//! What agents want done, held against the order of deeds.

use keepone_proto::action::{Action, AlertName, Transition};
use keepone_proto::decision::Role;
use keepone_proto::id::Epoch;
use keepone_proto::wire::lease::Envelope;

use super::{Oracle, SLACK};
use crate::sim::host::Host;
use crate::sim::plan::{DOMAINS, Plan};
use crate::sim::speech;

impl Oracle {
    /// What an agent wants done: I6, I7, I10, I11, I22.
    pub fn on_actions(&mut self, now: u64, number: usize, host: &mut Host, actions: &[Action]) {
        // What one batch opens is open for the rest of it: actions are carried out in order.
        let mut opened = [None; DOMAINS];
        for action in actions {
            match action {
                Action::OpenGate { domain, epoch, .. } => {
                    let place = Plan::place(*domain);
                    if let Some(opened) = opened.get_mut(place) {
                        *opened = Some(*epoch);
                    }
                    let Some(kernel) = host.kernels.get(place) else { continue };
                    if kernel.is_over(*epoch) {
                        self.violated("I6", now, || format!("host {number} opens under {epoch} after its tombstone"));
                    }
                    if !host.clean.get(place).is_some_and(|clean| *clean) {
                        self.violated("I10", now, || format!("host {number} opens before it has cleaned up"));
                    }
                }
                Action::AddAddresses { domain, epoch, .. } => {
                    let place = Plan::place(*domain);
                    if opened.get(place) != Some(&Some(*epoch)) {
                        self.check_inside(now, number, host, place, Some(*epoch), "addresses");
                    }
                }
                Action::Announce { domain, .. } => {
                    let place = Plan::place(*domain);
                    if opened.get(place) == Some(&None) {
                        self.check_inside(now, number, host, place, None, "an announcement");
                    }
                }
                Action::SendLease { bytes, .. } => {
                    let said: Vec<Envelope> = speech::messages(bytes).collect();
                    self.check_farewell(now, number, host, &said);
                    self.check_pre_vote(now, (number, host.step), &said);
                }
                Action::Transition(transition) => self.check_transition(now, number, host, transition),
                Action::Alert(alert) if alert.name == AlertName::DualMaster => {
                    if let Some(domain) = alert.domain {
                        self.on_alarm(now, Plan::place(domain), number, alert.raised);
                    }
                }
                // Every clock here is within rho, and what a freeze within H hides is allowed for.
                Action::Alert(alert)
                    if alert.raised && alert.name == AlertName::ClockAssumptionViolated && !self.freezes =>
                {
                    let what = || format!("host {number} accuses a clock: {}", alert.evidence);
                    self.violated("T1", now, what);
                }
                Action::Advertise { .. }
                | Action::SendBeat { .. }
                | Action::ShutGate { .. }
                | Action::RemoveAddresses { .. }
                | Action::TestGate { .. }
                | Action::ReadClock
                | Action::Fence { .. }
                | Action::FeedWatchdog
                | Action::Reboot { .. }
                | Action::Ping { .. }
                | Action::RunScript { .. }
                | Action::Mirror { .. }
                | Action::ProbeAddress { .. }
                | Action::Priority { .. }
                | Action::LowerSeen { .. }
                | Action::Persist { .. }
                | Action::Alert(_)
                | Action::Stopped => {}
                // Whatever begins in its name cleans up first.
                Action::Retired { domain } => {
                    if let Some(clean) = host.clean.get_mut(Plan::place(*domain)) {
                        *clean = false;
                    }
                }
            }
        }
    }

    /// I11.
    fn check_inside(
        &mut self,
        now: u64,
        number: usize,
        host: &Host,
        place: usize,
        epoch: Option<Epoch>,
        what: &'static str,
    ) {
        let Some(kernel) = host.kernels.get(place) else { return };
        let same = epoch.is_none_or(|epoch| kernel.epoch == Some(epoch));
        if !same || !kernel.is_open(now) {
            self.violated("I11", now, || format!("host {number}: {what} outside an open gate"));
        }
    }

    /// I7.
    fn check_farewell(&mut self, now: u64, number: usize, host: &Host, said: &[Envelope]) {
        for (domain, epoch) in speech::farewells(said) {
            let Some(kernel) = host.kernels.get(Plan::place(domain)) else { continue };
            if kernel.epoch != Some(epoch) {
                continue;
            }
            let gone = kernel.open_until.saturating_add(self.transmit);
            if !kernel.is_over(epoch) || gone > now + SLACK {
                self.violated("I7", now, || {
                    format!(
                        "host {number} gives back {epoch} {} us before its last frame is gone",
                        gone.saturating_sub(now) / 1000
                    )
                });
            }
        }
    }

    /// I22, and I11 for the word MASTER.
    fn check_transition(&mut self, now: u64, number: usize, host: &mut Host, told: &Transition) {
        let place = Plan::place(told.domain);
        if told.to == Role::Master {
            self.check_inside(now, number, host, place, told.epoch, "the word MASTER");
            if let Some(last) = host.mastered.get_mut(place) {
                let former = core::mem::replace(last, told.epoch);
                if former.is_some() && told.epoch <= former {
                    self.violated("I22", now, || {
                        format!("host {number} tells MASTER of {:?} after that of {former:?}", told.epoch)
                    });
                }
            }
        }
        let Some(role) = host.roles.get_mut(place) else { return };
        if *role != told.from || told.from == told.to {
            let role = *role;
            self.violated("I22", now, || {
                format!("host {number} tells {:?} → {:?} after it told {role:?}", told.from, told.to)
            });
        }
        *role = told.to;
    }
}
