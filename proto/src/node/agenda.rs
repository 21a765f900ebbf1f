//! Which domains have something to judge: those that an event touched, those whose time has come, and all of
//! them when something has changed that concerns all. A node with a thousand domains must not judge each of
//! them for each answer about one, nor one for each of its Advertisements: those are sent without a judgement where
//! nothing else is due ([`Node::advertises_only`]).
//!
//! What must stay true: evidence that changes without touching a domain has a deadline, or is in [`Common`];
//! as a backstop every domain is judged once in a heartbeat's period, or in ten where there are very many.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound;

use super::{Node, ROUNDS};
use crate::action::Action;
use crate::heartbeat::peer::{Peer, Standing};
use crate::id::DomainId;
use crate::time::Instant;
use crate::wire::heartbeat::References;

/// How many domains a period judges at least that nothing has touched.
const BACKSTOP: usize = 64;
/// In how many periods all have been judged at most.
const TURNS: usize = 10;

/// The evidence of all domains that changes with time or by single messages, folded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Common {
    /// Of each peer, and how many references it reaches.
    peers: Vec<(Standing, References)>,
    /// The own clock is beyond what the lease assumes.
    clock_is_off: bool,
    /// Known, lost, told to the peers, and answering, by family.
    references: (bool, [bool; 2], References, [usize; 2]),
}

/// When a domain has something to do without an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// Anything.
    pub(crate) at: Instant,
    /// Anything but an Advertisement of a Master; `None`: nothing.
    pub(crate) beside: Option<Instant>,
}

/// What is to be judged.
#[derive(Debug, Clone)]
pub(super) struct Agenda {
    /// In any order, some perhaps twice: they are few, and a list is cheaper to keep than a set.
    touched: Vec<DomainId>,
    all: bool,
    /// Judged or touched since the deadlines were last noted; likewise.
    moved: Vec<DomainId>,
    /// What one round judges: the list is kept, so that no event needs a new one.
    round: Vec<DomainId>,
    /// Of that round, those that have nothing but an Advertisement due; likewise.
    timed: Vec<DomainId>,
    due: BTreeSet<(Instant, DomainId)>,
    due_at: BTreeMap<DomainId, Due>,
    common: Common,
    /// The references may not be as [`Common`] has them.
    referred: bool,
    /// The last one that a period judged.
    last: Option<DomainId>,
    /// One that can't let go, and why.
    stuck: Option<(DomainId, String)>,
    news: bool,
    /// The node's own alerts are to be looked at: all was judged, or something was noted that is told at once.
    look: bool,
    /// How many judgements there were; for tests.
    pub(super) judged: u64,
}

impl Agenda {
    /// Everything is to be judged.
    pub(super) fn new(domains: impl Iterator<Item = DomainId>) -> Self {
        Agenda {
            touched: Vec::new(),
            all: true,
            moved: domains.collect(),
            round: Vec::new(),
            timed: Vec::new(),
            due: BTreeSet::new(),
            due_at: BTreeMap::new(),
            common: Common::default(),
            referred: true,
            last: None,
            stuck: None,
            news: false,
            look: false,
            judged: 0,
        }
    }

    /// Something has changed that concerns this one.
    pub(super) fn touch(&mut self, id: DomainId) {
        self.touched.push(id);
    }

    /// This one has ended.
    pub(super) fn forget(&mut self, id: DomainId) {
        self.note(id, None);
        self.touched.retain(|touched| *touched != id);
        self.moved.retain(|moved| *moved != id);
    }

    /// Its deadline may have changed, and nothing else.
    pub(super) fn plan_anew(&mut self, id: DomainId) {
        self.moved.push(id);
    }

    /// Something has changed that concerns all.
    pub(super) fn touch_all(&mut self) {
        self.all = true;
    }

    /// Whether nothing has something to judge, to tell or to look at, but what is due.
    pub(super) fn is_empty(&self) -> bool {
        !self.all && self.touched.is_empty() && !self.news && !self.look && self.stuck.is_none()
    }

    /// A reference has answered otherwise than before.
    pub(super) fn compare_references(&mut self) {
        self.referred = true;
    }

    /// When the first of them has something to do without an event.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Something was noted for the node's own alerts.
    pub(super) fn look(&mut self) {
        self.look = true;
    }

    /// The same, if it was.
    pub(super) fn look_if(&mut self, noted: bool) {
        self.look |= noted;
    }

    /// Whether the node's own alerts are to be looked at; asked once.
    pub(super) fn take_look(&mut self) -> bool {
        core::mem::take(&mut self.look)
    }

    /// A domain that can't let go, and what can't be done; asked once.
    pub(super) fn take_stuck(&mut self) -> Option<(DomainId, String)> {
        self.stuck.take()
    }

    /// Whether peers should hear of something before the next period; asked once.
    pub(super) fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.news)
    }

    fn note(&mut self, id: DomainId, due: Option<Due>) {
        let former = match due {
            Some(due) => self.due_at.insert(id, due),
            None => self.due_at.remove(&id),
        };
        let (at, former) = (due.map(|due| due.at), former.map(|due| due.at));
        if former != at {
            self.due.extend(at.map(|at| (at, id)));
            if let Some(former) = former {
                self.due.remove(&(former, id));
            }
        }
    }

    /// Whoever has an Advertisement due is judged, too.
    #[cfg(test)]
    pub(super) fn judge_who_advertises(&mut self) {
        self.due_at.values_mut().for_each(|due| due.beside = None);
    }

    /// Those whose time has come.
    fn take_due(&mut self, now: Instant) {
        self.timed.clear();
        for (_, id) in self.due.iter().take_while(|(at, _)| *at <= now) {
            let beside = self.due_at.get(id).and_then(|due| due.beside);
            let list = if beside.is_some_and(|at| at > now) { &mut self.timed } else { &mut self.touched };
            list.push(*id);
        }
    }

    /// What one round judges, in their order, and among them in the first those that only advertise.
    fn next_round(&mut self, all: impl Iterator<Item = DomainId>) -> Vec<DomainId> {
        let mut ids = core::mem::take(&mut self.round);
        ids.clear();
        if core::mem::take(&mut self.all) {
            self.touched.clear();
            self.timed.clear();
            self.look = true;
            ids.extend(all);
            return ids;
        }
        ids.append(&mut self.touched);
        ids.sort_unstable();
        ids.dedup();
        if !self.timed.is_empty() {
            self.timed.sort_unstable();
            self.timed.retain(|id| ids.binary_search(id).is_err());
            ids.extend_from_slice(&self.timed);
            ids.sort_unstable();
        }
        ids
    }
}

impl Node {
    /// Serves the leases and judges every domain that has something to judge, until nothing more follows from
    /// this event.
    pub(super) fn judge(&mut self, now: Instant, out: &mut Vec<Action>) {
        if let Some(voter) = &mut self.voter {
            let outputs = voter.tick(now);
            self.carry_out(now, outputs, out);
        }
        if self.is_common_new(now) {
            self.agenda.all = true;
        }
        if now >= self.beat_at {
            self.touch_some();
        }
        self.agenda.take_due(now);
        for _ in 0..ROUNDS {
            let ids = self.agenda.next_round(self.domains.keys().copied());
            if ids.is_empty() {
                self.agenda.round = ids;
                break;
            }
            let mut own = Vec::new();
            let mut alerts = core::mem::take(&mut self.alerts);
            for id in ids.iter().copied() {
                if self.advertises_only(now, id, out) {
                    continue;
                }
                self.agenda.judged += 1;
                let (mut moved, mut wants_test, mut outbox, mut told) = (false, false, Vec::new(), Vec::new());
                let mut stuck = None;
                self.on_domain(now, id, |domain, facts| {
                    domain.lease.tick(now);
                    moved = domain.settle(facts, &mut alerts, out);
                    outbox = domain.lease.take_outbox();
                    told = core::mem::take(&mut domain.told);
                    wants_test = domain.wants_test();
                    stuck = domain.keep_stuck(now, facts.gate.map_or("", |gate| gate.fault.as_str()));
                });
                if stuck.is_some() {
                    self.agenda.stuck = stuck;
                }
                if wants_test {
                    let number = self.ask_test(out);
                    self.on_domain(now, id, |domain, _| domain.asked_for_test(number));
                }
                if let Some(domain) = self.domains.get_mut(&id) {
                    self.agenda.news |= core::mem::take(&mut domain.news);
                }
                self.agenda.moved.push(id);
                if moved || !outbox.is_empty() {
                    self.agenda.touched.push(id);
                }
                for (to, envelope) in outbox {
                    if to == self.settings.node {
                        own.push(envelope);
                    } else {
                        self.outbox.entry(to).or_default().push(envelope);
                    }
                }
                if !told.is_empty() {
                    self.post(out);
                    out.append(&mut told);
                }
            }
            self.alerts = alerts;
            self.agenda.round = ids;
            self.agenda.timed.clear();
            self.on_requests(now, self.settings.node, &own, out);
        }
    }

    /// Whether this round has the domain only for an Advertisement that is due: then it has left.
    ///
    /// Most of what a Master does by the clock is that, and nothing follows from it: no event has touched the domain, and
    /// whatever time alone brings about has a deadline of its own, which is still to come.
    fn advertises_only(&mut self, now: Instant, id: DomainId, out: &mut Vec<Action>) -> bool {
        if self.agenda.timed.binary_search(&id).is_err() {
            return false;
        }
        let Some(domain) = self.domains.get_mut(&id).filter(|domain| domain.may_just_advertise(now)) else {
            return false;
        };
        let next = domain.just_advertise(now, out);
        let beside = self.agenda.due_at.get(&id).and_then(|due| due.beside);
        let due = next.into_iter().chain(beside).min().map(|at| Due { at, beside });
        self.agenda.note(id, due);
        true
    }

    /// The next ones that a period judges.
    fn touch_some(&mut self) {
        self.agenda.look = true;
        if self.domains.len() <= BACKSTOP {
            self.agenda.all = true;
            return;
        }
        let from = self.agenda.last.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.domains.range((from, Bound::Unbounded)).chain(self.domains.iter());
        self.agenda.touched.extend(rest.take(BACKSTOP.max(self.domains.len() / TURNS)).map(|(id, _)| *id));
        self.agenda.last = self.agenda.touched.last().copied();
    }

    /// Notes when each domain that was looked at has something to do.
    pub(super) fn plan(&mut self, now: Instant) {
        let silence = self.settings.heartbeat.silence();
        let mut moved = core::mem::take(&mut self.agenda.moved);
        moved.extend(self.agenda.touched.iter().copied());
        moved.sort_unstable();
        moved.dedup();
        for id in moved.drain(..) {
            let at = self.domains.get(&id).and_then(|domain| domain.next_deadline(now, silence));
            self.agenda.note(id, at);
        }
        self.agenda.moved = moved;
    }

    /// Notes the evidence that all domains share; whether it is not what it was.
    pub(super) fn is_common_new(&mut self, now: Instant) -> bool {
        let of = |peer: &Peer| (peer.standing(now), peer.references());
        let clock_is_off = self.clocks.as_ref().is_some_and(|clocks| clocks.is_off(now));
        let referred = core::mem::take(&mut self.agenda.referred);
        let former = &mut self.agenda.common;
        let mut same = clock_is_off == former.clock_is_off && self.peers.len() == former.peers.len();
        if referred {
            let references = (
                self.references.is_known(),
                [false, true].map(|ipv6| self.references.is_lost(ipv6)),
                self.references.report(),
                [false, true].map(|ipv6| self.references.answering(ipv6)),
            );
            same &= references == former.references;
            former.references = references;
        }
        // A loop over both, which is run after each event, is a third of the price of comparing iterators.
        for (peer, former) in self.peers.values().zip(&former.peers) {
            same &= of(peer) == *former;
        }
        if same {
            return false;
        }
        former.clock_is_off = clock_is_off;
        former.peers.clear();
        former.peers.extend(self.peers.values().map(of));
        true
    }
}
