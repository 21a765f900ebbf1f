//! What the kernel holds of a domain against what it may hold: the difference, as actions in a safe order.
//!
//! Becoming Master (R3): gate → addresses → acknowledged → the rest. Ceasing (R8): tombstone → read back →
//! addresses gone → E_tx waited out → the rest. What must stay true: no address is added but behind an
//! open gate (I11), and nothing reports "gone" before the tombstone is read back (I7).

use alloc::vec::Vec;
use core::time::Duration;

use crate::action::Action;
use crate::handed::Held;
use crate::id::{DomainId, Epoch};
use crate::lease::grant::Grant;
use crate::tenure::Tenure;
use crate::time::Instant;

/// How long a failed kernel call waits before it is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// The gate of a domain, as last asked and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Shut,
    Opening {
        epoch: Epoch,
        until: Instant,
    },
    /// Written to be open until `until`; `asked` for last, which the answer may have to be waited for.
    Open {
        epoch: Epoch,
        until: Instant,
        asked: Instant,
    },
    /// Open until `until` at the latest, by what is known to be written; `None`: the tombstone could not be set.
    Shutting {
        epoch: Epoch,
        until: Option<Instant>,
    },
}

/// The addresses of a domain, as last asked and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addresses {
    /// A former life of this node may have left some (R12).
    Unknown,
    Absent,
    Adding,
    Present,
    Removing,
}

/// What the kernel holds of one domain.
#[derive(Debug, Clone)]
pub struct Kernel {
    domain: DomainId,
    gate: Gate,
    addresses: Addresses,
    /// The last epoch under which anything was done.
    epoch: Epoch,
    /// Since when the gate has been open under the present epoch.
    opened_at: Option<Instant>,
    /// From when to when at most the gate was last open, by all that was asked of it.
    tenure: Option<Tenure>,
    /// In it the gate was read back as open: what was asked may never have been written.
    was_open: bool,
    /// When the last tombstone was read back.
    shut_at: Option<Instant>,
    /// When the lifetime of the addresses is to be renewed.
    lifetime_at: Option<Instant>,
    /// Not before this is a failed call tried again.
    retry_at: Option<Instant>,
    /// Since when the gate has owed an answer.
    waits_since: Option<Instant>,
    /// The last write of an open gate could not be read back.
    gate_failed: bool,
    /// The last failure, until the same call succeeds.
    failure: Option<alloc::string::String>,
}

/// How far a hold has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Some call has not been answered yet.
    Underway,
    /// The gate is open and the addresses are there.
    Up,
}

/// How far letting go has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetGo {
    /// Some call has not been answered yet.
    Underway,
    /// The gate is shut, and was read back, at this instant; addresses are still there, by the grace of R5.
    Shut(Instant),
    /// The gate is shut since then, and the addresses are gone.
    Gone(Instant),
    /// Nothing was ever held.
    Nothing,
}

impl Kernel {
    /// Nothing is known but that the gate starts shut; `nothing` is an epoch that nobody holds.
    pub fn new(domain: DomainId, nothing: Epoch) -> Self {
        Kernel {
            domain,
            gate: Gate::Shut,
            addresses: Addresses::Unknown,
            epoch: nothing,
            opened_at: None,
            tenure: None,
            was_open: false,
            shut_at: None,
            lifetime_at: None,
            retry_at: None,
            waits_since: None,
            gate_failed: false,
            failure: None,
        }
    }

    /// What a former process of this very life has left open, with the deadline that it read back: nothing is written
    /// before a grant moves that, and nothing is taken out. The addresses are renewed at once, so that whoever looks after
    /// them knows of them.
    pub(crate) fn take_on(&mut self, now: Instant, held: &Held) {
        let (epoch, until) = (held.epoch, held.gate_until);
        self.gate = Gate::Open { epoch, until, asked: until };
        self.addresses = Addresses::Present;
        self.epoch = epoch;
        self.opened_at = Some(held.opened_at);
        (self.tenure, self.was_open) = (Some(Tenure { began: held.opened_at, until }), true);
        self.lifetime_at = Some(now);
    }

    /// Open, with its addresses, and nothing asked that was not answered: the deadline that was read back, and since when
    /// it is open.
    pub(crate) fn at_rest(&self, now: Instant) -> Option<(Instant, Instant)> {
        let Gate::Open { until, asked, .. } = self.gate else { return None };
        let rests = until == asked && now < until && !self.gate_failed && self.failure.is_none();
        let rests = rests && self.addresses == Addresses::Present;
        Some((until, self.opened_at?)).filter(|_| rests)
    }

    /// R12: stale addresses of a former life go first of all. Whether they have.
    pub fn clean(&mut self, now: Instant, out: &mut Vec<Action>) -> bool {
        if self.addresses == Addresses::Unknown && self.may_try(now) {
            self.addresses = Addresses::Removing;
            out.push(Action::RemoveAddresses { domain: self.domain, epoch: self.epoch });
        }
        !matches!(self.addresses, Addresses::Unknown | Addresses::Removing)
    }

    /// What is to be there has changed: it is set or taken out anew, as the verdict wants. An answer that is on its way
    /// tells of what was.
    pub fn set_anew(&mut self) {
        self.addresses = Addresses::Unknown;
    }

    /// Whether frames for the domain may pass right now: by what is known to be written. Only of the first opening
    /// it counts that it was asked for.
    pub fn is_open(&self, now: Instant) -> bool {
        matches!(self.gate, Gate::Open { until, .. } | Gate::Opening { until, .. } if now < until)
    }

    /// Whether it was read back that they may.
    pub fn is_known_open(&self, now: Instant) -> bool {
        matches!(self.gate, Gate::Open { until, .. } if now < until)
    }

    /// Whether the gate is shut, and was read back as shut if it was ever open.
    pub fn is_shut(&self) -> bool {
        self.gate == Gate::Shut
    }

    /// Since when the gate has been open, or been asked to open, under the present epoch.
    pub fn opened_at(&self) -> Option<Instant> {
        self.opened_at
    }

    /// From when to when at most the gate is, or was last, open: whatever has become of a write that has not been
    /// answered, and until its tombstone was read back.
    pub fn tenure(&self) -> Option<Tenure> {
        self.tenure
    }

    /// The same, if the gate was read back as open in it.
    pub fn known_tenure(&self) -> Option<Tenure> {
        self.tenure.filter(|_| self.was_open)
    }

    /// Whether anything is held, or is about to be.
    pub fn holds_anything(&self) -> bool {
        self.gate != Gate::Shut || !matches!(self.addresses, Addresses::Absent | Addresses::Unknown)
    }

    /// Whether the gate can let something through at `now`, or can't be known not to: it is open under no live
    /// deadline, a tombstone is not read back yet, or a write could not be.
    pub fn is_doubtful(&self, now: Instant) -> bool {
        match self.gate {
            Gate::Shut => false,
            Gate::Opening { until, .. } | Gate::Open { until, .. } => self.gate_failed || now >= until,
            Gate::Shutting { .. } => true,
        }
    }

    /// Whether the addresses are in the kernel, or may be.
    pub fn has_addresses(&self) -> bool {
        !matches!(self.addresses, Addresses::Absent)
    }

    /// Why the last kernel call failed.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// When a gate that still gives no answer then is past the deadline that is known to be written: whoever writes
    /// it hangs.
    fn hangs_at(&self) -> Option<Instant> {
        let waits_since = self.waits_since?;
        match self.gate {
            Gate::Opening { until, .. } | Gate::Open { until, .. } | Gate::Shutting { until: Some(until), .. } => {
                Some(until.max(waits_since + RETRY))
            }
            Gate::Shut | Gate::Shutting { until: None, .. } => None,
        }
    }

    /// Whether whoever writes the gate hangs, which has shut by itself meanwhile.
    pub fn hangs(&self, now: Instant) -> bool {
        self.hangs_at().is_some_and(|at| now >= at)
    }

    fn note_silence(&mut self, now: Instant) {
        if self.hangs(now) && !self.gate_failed {
            (self.gate_failed, self.failure) = (true, Some("the gate gives no answer".into()));
        }
    }

    fn ask(&mut self, now: Instant, action: Action, out: &mut Vec<Action>) {
        self.waits_since.get_or_insert(now);
        out.push(action);
    }

    /// Moves towards holding under `grant`.
    pub fn hold(&mut self, now: Instant, grant: Grant, lifetime_s: u32, out: &mut Vec<Action>) -> Hold {
        self.note_silence(now);
        let (epoch, until) = (grant.epoch(), grant.gate_until());
        match self.gate {
            Gate::Shut if self.may_try(now) => {
                self.epoch = epoch;
                self.opened_at = Some(now);
                (self.tenure, self.was_open) = (Some(Tenure { began: now, until }), false);
                self.gate = Gate::Opening { epoch, until };
                self.ask(now, Action::OpenGate { domain: self.domain, epoch, until }, out);
            }
            Gate::Open { epoch: held, until: written, asked }
                if held == epoch && asked != until && self.may_try(now) =>
            {
                self.gate = Gate::Open { epoch, until: written, asked: until };
                self.tenure = self.tenure.map(|tenure| tenure.extended(until));
                self.ask(now, Action::OpenGate { domain: self.domain, epoch, until }, out);
            }
            // A former epoch is closed before a new one opens.
            Gate::Open { epoch: held, until, .. } | Gate::Opening { epoch: held, until } if held != epoch => {
                self.shut(now, held, until, out);
            }
            Gate::Shutting { epoch, .. } => self.shut_again(now, epoch, out),
            Gate::Shut | Gate::Open { .. } | Gate::Opening { .. } => {}
        }
        // Past G the lease is held and the gate is shut: nothing is put behind it before it is open again (I11).
        if self.gate_failed || !matches!(self.gate, Gate::Open { until, .. } if now < until) {
            return Hold::Underway;
        }
        let renew = self.lifetime_at.is_some_and(|at| now >= at);
        match self.addresses {
            Addresses::Absent | Addresses::Unknown if self.may_try(now) => {
                self.addresses = Addresses::Adding;
                self.add(now, epoch, lifetime_s, out);
            }
            Addresses::Present if renew => self.add(now, epoch, lifetime_s, out),
            Addresses::Unknown | Addresses::Absent | Addresses::Adding | Addresses::Present | Addresses::Removing => {}
        }
        if self.addresses == Addresses::Present { Hold::Up } else { Hold::Underway }
    }

    fn add(&mut self, now: Instant, epoch: Epoch, lifetime_s: u32, out: &mut Vec<Action>) {
        self.lifetime_at = Some(now + Duration::from_secs(lifetime_s.into()) / 2);
        out.push(Action::AddAddresses { domain: self.domain, epoch, lifetime_s });
    }

    fn shut(&mut self, now: Instant, epoch: Epoch, until: Instant, out: &mut Vec<Action>) {
        self.gate = Gate::Shutting { epoch, until: Some(until) };
        self.opened_at = None;
        self.ask(now, Action::ShutGate { domain: self.domain, epoch }, out);
    }

    /// A tombstone that failed is set again after a while.
    fn shut_again(&mut self, now: Instant, epoch: Epoch, out: &mut Vec<Action>) {
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
            self.ask(now, Action::ShutGate { domain: self.domain, epoch }, out);
        }
    }

    /// Moves towards holding nothing; the addresses stay until `keep_until`, if given.
    pub fn let_go(&mut self, now: Instant, keep_until: Option<Instant>, out: &mut Vec<Action>) -> LetGo {
        self.note_silence(now);
        match self.gate {
            Gate::Open { epoch, until, .. } | Gate::Opening { epoch, until } => self.shut(now, epoch, until, out),
            Gate::Shutting { epoch, .. } => self.shut_again(now, epoch, out),
            Gate::Shut => {}
        }
        if self.gate != Gate::Shut {
            return LetGo::Underway;
        }
        let keep = keep_until.is_some_and(|until| now < until);
        match (self.addresses, self.shut_at) {
            (Addresses::Absent, Some(at)) => LetGo::Gone(at),
            (Addresses::Absent, None) => LetGo::Nothing,
            (Addresses::Present, Some(at)) if keep => LetGo::Shut(at),
            (Addresses::Present | Addresses::Unknown, _) if self.may_try(now) => {
                self.addresses = Addresses::Removing;
                self.lifetime_at = None;
                out.push(Action::RemoveAddresses { domain: self.domain, epoch: self.epoch });
                LetGo::Underway
            }
            (Addresses::Present | Addresses::Unknown | Addresses::Adding | Addresses::Removing, _) => LetGo::Underway,
        }
    }

    /// When the last tombstone was read back, until it is forgotten.
    pub fn shut_at(&self) -> Option<Instant> {
        self.shut_at
    }

    /// What was let go is told; a later [`LetGo`] begins anew.
    pub fn forget(&mut self) {
        self.shut_at = None;
    }

    /// The gate answered: what it is open until, or that it is shut. That may be to what was asked some time ago.
    /// Whether there is anything to judge in it: not where an open gate was moved on as it was asked to.
    pub fn on_gate_written(
        &mut self,
        now: Instant,
        epoch: Epoch,
        written: Option<Instant>,
        error: Option<alloc::string::String>,
    ) -> bool {
        // An answer that comes when it is being shut, or was, tells of what was all the same.
        self.was_open |= epoch == self.epoch && written.is_some() && error.is_none();
        match (self.gate, written, error) {
            (Gate::Opening { epoch: held, until: asked }, Some(until), None) if held == epoch => {
                self.gate = Gate::Open { epoch, until, asked };
                self.waits_since = None;
                (self.failure, self.gate_failed) = (None, false);
            }
            (Gate::Open { epoch: held, asked, .. }, Some(until), None) if held == epoch => {
                self.gate = Gate::Open { epoch, until, asked };
                self.waits_since = (until != asked).then_some(now);
                if now < until && until == asked && !self.gate_failed {
                    return false;
                }
                if now < until && core::mem::take(&mut self.gate_failed) {
                    self.failure = None;
                }
            }
            (Gate::Opening { epoch: held, .. } | Gate::Open { epoch: held, .. }, Some(_), Some(error))
                if held == epoch =>
            {
                // Refused or unknown: whoever gives up must still shut it, so it counts as open; and nothing is
                // put behind it (I11) before a write has been read back.
                self.gate = Gate::Open { epoch, until: now, asked: now };
                self.waits_since = None;
                self.gate_failed = true;
                self.failed(now, error);
            }
            (Gate::Shutting { epoch: held, .. }, None, None) if held == epoch => {
                self.waits_since = None;
                (self.gate, self.gate_failed) = (Gate::Shut, false);
                self.tenure = self.tenure.map(|tenure| tenure.ended(now));
                self.shut_at = Some(now);
            }
            (Gate::Shutting { epoch: held, .. }, None, Some(error)) if held == epoch => {
                self.gate = Gate::Shutting { epoch, until: None };
                self.waits_since = None;
                self.failed(now, error);
            }
            (Gate::Shut | Gate::Opening { .. } | Gate::Open { .. } | Gate::Shutting { .. }, _, _) => {}
        }
        true
    }

    /// The kernel answered on the addresses.
    pub fn on_addresses_done(&mut self, now: Instant, present: bool, error: Option<alloc::string::String>) {
        match (self.addresses, present, error) {
            (Addresses::Adding, true, None) => {
                self.addresses = Addresses::Present;
                self.failure = None;
            }
            (Addresses::Removing, false, None) => {
                self.addresses = Addresses::Absent;
                self.failure = None;
            }
            // Whether some were set is unknown; they are taken out or set again, as the verdict wants.
            (Addresses::Adding | Addresses::Present, true, Some(error)) => {
                self.addresses = Addresses::Unknown;
                self.failed(now, error);
            }
            (Addresses::Removing, false, Some(error)) => {
                self.addresses = Addresses::Unknown;
                self.failed(now, error);
            }
            (
                Addresses::Unknown | Addresses::Absent | Addresses::Adding | Addresses::Present | Addresses::Removing,
                _,
                _,
            ) => {}
        }
    }

    fn failed(&mut self, now: Instant, error: alloc::string::String) {
        self.failure = Some(error);
        self.retry_at = Some(now + RETRY);
    }

    fn may_try(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|at| now >= at)
    }

    /// When something is due.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let retry = self.retry_at.filter(|at| *at > now);
        let hangs_at = self.hangs_at().filter(|at| *at > now);
        self.lifetime_at.into_iter().chain(retry).chain(hangs_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Incarnation, NodeId};
    use alloc::string::String;
    use alloc::vec;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn epoch() -> Epoch {
        Epoch { counter: 1, incarnation: Incarnation(1), attempt: 1, node: NodeId::new(1).unwrap() }
    }

    fn clean() -> (Kernel, Vec<Action>) {
        let mut kernel = Kernel::new(DomainId(1), epoch());
        let mut out = Vec::new();
        kernel.clean(at(0), &mut out);
        kernel.on_addresses_done(at(0), false, None);
        (kernel, out)
    }

    /// Asks for an open gate until then.
    fn hold(kernel: &mut Kernel, ms: u64, until_ms: u64, out: &mut Vec<Action>) -> Hold {
        kernel.hold(at(ms), Grant::forged(epoch(), at(until_ms)), 3, out)
    }

    fn adds(out: &[Action]) -> usize {
        out.iter().filter(|action| matches!(action, Action::AddAddresses { .. })).count()
    }

    #[test]
    fn what_was_asked_of_the_gate_and_never_written_is_no_tenure_d7() {
        let opens = |answers: &[(Option<u64>, bool)]| {
            let (mut kernel, mut out) = clean();
            hold(&mut kernel, 0, 500, &mut out);
            assert_eq!(
                (kernel.is_open(at(0)), kernel.is_known_open(at(0)), kernel.known_tenure()),
                (true, false, None)
            );
            kernel.let_go(at(1), None, &mut out);
            for (until, is_refused) in answers {
                let error = is_refused.then(|| String::from("the epoch has a tombstone"));
                kernel.on_gate_written(at(2), epoch(), until.map(at), error);
            }
            assert!(kernel.tenure().is_some_and(|tenure| tenure.until == at(2)));
            kernel.known_tenure().is_some()
        };
        assert!(!opens(&[(None, false), (Some(500), true)]), "the tombstone was first");
        assert!(opens(&[(Some(500), false), (None, false)]), "it was open before it was shut");
        assert!(opens(&[(None, false), (Some(500), false)]), "whose answer comes late");
    }

    #[test]
    fn a_gate_is_open_until_what_was_written_and_not_until_what_was_asked_i11() {
        let (mut kernel, mut out) = clean();
        hold(&mut kernel, 0, 500, &mut out);
        // The writer waits. What it answers at last is the deadline of the first request, which is over.
        kernel.on_gate_written(at(600), epoch(), Some(at(500)), None);
        assert_eq!(
            (hold(&mut kernel, 600, 1100, &mut out), kernel.is_open(at(600)), adds(&out)),
            (Hold::Underway, false, 0)
        );
        assert!(kernel.is_doubtful(at(600)) && !kernel.hangs(at(600)));
        assert_eq!(kernel.next_deadline(at(600)), Some(at(800)), "it has just been asked again");
        hold(&mut kernel, 800, 1100, &mut out);
        assert!(kernel.hangs(at(800)) && kernel.failure().is_some());
        kernel.on_gate_written(at(900), epoch(), Some(at(1100)), None);
        assert!(kernel.is_open(at(900)) && !kernel.is_doubtful(at(900)) && kernel.failure().is_none());
        hold(&mut kernel, 900, 1100, &mut out);
        assert_eq!(adds(&out), 1);
    }

    #[test]
    fn a_writer_that_gives_no_answer_leaves_the_gate_shut_and_doubtful() {
        let (mut kernel, mut out) = clean();
        hold(&mut kernel, 0, 500, &mut out);
        kernel.on_gate_written(at(1), epoch(), Some(at(500)), None);
        hold(&mut kernel, 1, 500, &mut out);
        kernel.on_addresses_done(at(2), true, None);
        assert_eq!(hold(&mut kernel, 2, 500, &mut out), Hold::Up);
        for ms in [100, 200, 300, 400] {
            assert_eq!(hold(&mut kernel, ms, ms + 500, &mut out), Hold::Up);
            assert_eq!(kernel.next_deadline(at(ms)), Some(at(500)));
        }
        assert!(!kernel.is_doubtful(at(499)) && kernel.failure().is_none());
        assert_eq!(hold(&mut kernel, 500, 1000, &mut out), Hold::Underway);
        assert!(!kernel.is_open(at(500)) && kernel.is_doubtful(at(500)) && kernel.failure().is_some());
        kernel.on_gate_written(at(550), epoch(), Some(at(1000)), None);
        assert_eq!((hold(&mut kernel, 550, 1000, &mut out), kernel.failure()), (Hold::Up, None));
        assert!(!kernel.is_doubtful(at(550)));
    }

    #[test]
    fn a_tombstone_between_two_epochs_that_failed_is_set_again() {
        let (mut kernel, mut out) = clean();
        hold(&mut kernel, 0, 500, &mut out);
        kernel.on_gate_written(at(1), epoch(), Some(at(500)), None);
        out.clear();
        let next = Epoch { counter: 2, ..epoch() };
        let mut hold = |kernel: &mut Kernel, ms: u64| {
            kernel.hold(at(ms), Grant::forged(next, at(ms + 500)), 3, &mut out);
            core::mem::take(&mut out)
        };
        let tombstone = Action::ShutGate { domain: DomainId(1), epoch: epoch() };
        assert_eq!(hold(&mut kernel, 10), core::slice::from_ref(&tombstone));
        kernel.on_gate_written(at(11), epoch(), None, Some(String::from("reads back open")));
        assert_eq!((hold(&mut kernel, 100), kernel.next_deadline(at(100))), (vec![], Some(at(211))));
        assert_eq!(hold(&mut kernel, 211), [tombstone]);
        kernel.on_gate_written(at(212), epoch(), None, None);
        let opens = Action::OpenGate { domain: DomainId(1), epoch: next, until: at(720) };
        assert_eq!(hold(&mut kernel, 220), [opens]);
    }

    #[test]
    fn no_address_is_added_behind_a_gate_whose_opening_failed_i11() {
        let (epoch, (mut kernel, mut out)) = (epoch(), clean());
        let added = |out: &[Action]| adds(out) > 0;
        for ms in [0, 300, 600] {
            kernel.hold(at(ms), Grant::forged(epoch, at(ms + 500)), 3, &mut out);
            kernel.on_gate_written(
                at(ms),
                epoch,
                Some(at(ms + 500)),
                Some(String::from("reads back other than written")),
            );
            assert_eq!(kernel.hold(at(ms + 100), Grant::forged(epoch, at(ms + 500)), 3, &mut out), Hold::Underway);
            assert!(!added(&out), "at {ms} ms");
        }
        kernel.hold(at(900), Grant::forged(epoch, at(1400)), 3, &mut out);
        kernel.on_gate_written(at(900), epoch, Some(at(1400)), None);
        kernel.hold(at(901), Grant::forged(epoch, at(1400)), 3, &mut out);
        assert!(added(&out), "once it is read back");
    }
}
