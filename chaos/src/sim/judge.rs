//! The last look at a history: liveness, stability, handover, and whether the words fit the deeds.

use keepone_proto::decision::Role;

use super::host::Machine;
use super::network::MS;
use super::plan::Plan;
use super::schedule::{Kind, Schedule};
use super::world::World;

impl World {
    /// The last look: liveness, stability, handover.
    pub(super) fn judge(&mut self, schedule: &Schedule) {
        let end = self.now;
        self.check_p2();
        self.oracle.check_bound(end);
        match schedule.kind {
            Kind::Calm | Kind::ReferencesGone => self.judge_calm(schedule, end),
            Kind::Handover => self.judge_handover(end),
            Kind::Storm => {}
        }
        let handed = schedule.kind == Kind::Handover;
        for place in 0..self.plan.domains {
            self.judge_liveness(place, schedule, end, handed);
        }
    }

    /// Whether every domain is where it belongs, and all say so: there is nothing more to wait for.
    pub(super) fn is_steady(&self) -> bool {
        (0..self.plan.domains).all(|place| {
            let Some(holder) = self.oracle.holder(self.now, place) else { return false };
            let belongs =
                !self.plan.preempt || self.best(place).is_none_or(|best| !self.is_better(best, holder, place));
            belongs && (0..self.plan.agents).all(|number| self.words_of(place, number, holder, self.now).is_none())
        })
    }

    /// The able agent with the highest priority.
    fn best(&self, place: usize) -> Option<usize> {
        (0..self.plan.agents)
            .filter(|host| self.is_able(*host))
            .max_by_key(|host| (self.plan.priority(*host, place), core::cmp::Reverse(*host)))
    }

    fn is_better(&self, one: usize, other: usize, place: usize) -> bool {
        self.plan.priority(one, place) > self.plan.priority(other, place)
    }

    /// I20, I16: nothing moves.
    fn judge_calm(&mut self, schedule: &Schedule, end: u64) {
        let rule = if schedule.kind == Kind::Calm { "I20" } else { "I16" };
        for place in 0..self.plan.domains {
            let Some(watch) = self.oracle.domains.get(place) else { continue };
            let (openings, gap) = (watch.openings, watch.longest_none);
            if openings > 0 || gap > 0 {
                self.oracle.violated(rule, end, || format!("{openings} openings, {} ms without a holder", gap / MS));
            }
        }
    }

    /// I21: E_tx + 4 RTT + 20 ms, and what timers and disks of this world may add.
    fn judge_handover(&mut self, end: u64) {
        let limit = u64::try_from(self.plan.timing.transmit.as_nanos()).unwrap_or(0) + (4 + 20) * MS + self.slowness();
        let gap = self.oracle.domains.first().map_or(0, |watch| watch.longest_none);
        if gap > limit {
            self.oracle.violated("I21", end, || format!("handover took {} ms, limit {} ms", gap / MS, limit / MS));
        }
    }

    /// I19: somebody holds, and the right one.
    fn judge_liveness(&mut self, place: usize, schedule: &Schedule, end: u64, handed: bool) {
        if self.plan.careless {
            return;
        }
        let limit = schedule.healed_at.max(self.backlog) + schedule.liveness_limit(&self.plan);
        let first = self.oracle.domains.get(place).and_then(|watch| watch.first_open);
        if first.is_none_or(|first| first > limit) {
            let words = match first {
                Some(first) => format!("the first only {} ms after the heal", (first - schedule.healed_at) / MS),
                None => "nobody at all".to_owned(),
            };
            self.oracle.violated("I19", end, || format!("domain {place}: {words} holds"));
            return;
        }
        let Some(holder) = self.oracle.holder(end, place) else {
            let gates = self.oracle.describe(end, Plan::domain(place));
            self.oracle.violated("I19", end, || format!("domain {place}: not one holder at the end:{gates}"));
            return;
        };
        let best = self.best(place);
        let worse = best.is_some_and(|best| self.is_better(best, holder, place));
        // Whose clock was frozen beyond H may be barred for a minute.
        if worse && self.plan.preempt && !handed && !self.plan.beyond {
            self.oracle.violated("I19", end, || {
                format!("domain {place}: host {holder} holds at the end, {best:?} is better and may preempt")
            });
        }
        self.judge_words(place, holder, end);
    }

    /// What the agents say at the end is what is: the holder MASTER, with its addresses, the others not.
    fn judge_words(&mut self, place: usize, holder: usize, end: u64) {
        for number in 0..self.plan.agents {
            if let Some(words) = self.words_of(place, number, holder, end) {
                self.oracle.violated("I19", end, || format!("domain {place}: host {holder} holds at the end; {words}"));
            }
        }
    }

    /// What a host says or has that does not fit `holder`'s holding.
    fn words_of(&self, place: usize, number: usize, holder: usize, now: u64) -> Option<String> {
        let host = self.hosts.get(number)?;
        let Some(Machine::Agent(node)) = &host.machine else { return None };
        let (role, reason, _) = node.role(Plan::domain(place))?;
        let addresses = host.kernels.get(place).is_some_and(|kernel| kernel.has_addresses(now));
        let mine = number == holder;
        let fits = (role == Role::Master) == mine && addresses == mine;
        (!fits).then(|| format!("host {number} says {role:?} ({reason}), addresses {addresses}"))
    }
}
