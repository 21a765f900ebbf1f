//! Voter sets that follow one another while a history runs (V9): member by member, or from one set to another by way of a
//! generation in which both must lend. The operator restarts host after host with the next one's configuration.
//!
//! A careful operator, as `keepone authority` and `keepone voters` make one, begins the next step once all are at the last, and it was
//! lent under. A careless one restarts anybody with any of them: then nobody may come to hold, but two never do.

use keepone_proto::id::NodeId;
use keepone_proto::lease::record::Record;
use keepone_proto::lease::timing::LeaseTiming;
use keepone_proto::settings::{Move, Policy, QuorumSettings};

use super::fault::Fault;
use super::mutant::Mutant;
use super::network::MS;
use super::plan::{Mode, Plan};
use super::rng::Rng;
use super::world::{What, World};

/// Of the stream that draws where they do.
const MOVES: u64 = 0x6d6f_7665;

/// How long the operator waits before looking again whether the next step may begin.
const LOOKS: u64 = 100 * MS;

/// One generation: its number is its place, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    voters: Vec<NodeId>,
    former: Option<Vec<NodeId>>,
    moving: Option<Move>,
}

impl Step {
    /// The configuration of the generation at a place of the row, from 0.
    pub fn quorum(&self, place: usize, timing: LeaseTiming) -> QuorumSettings {
        let generation = u32::try_from(place).unwrap_or(0) + 1;
        let (voters, former, moving) = (self.voters.clone(), self.former.clone(), self.moving.clone());
        QuorumSettings { voters, timing, generation, former, moving }
    }
}

/// A row of generations that begins with `first`; of `hosts` any may vote.
fn draw(rng: &mut Rng, hosts: usize, first: Vec<NodeId>) -> Vec<Step> {
    let mut steps = vec![Step { voters: first.clone(), former: None, moving: None }];
    if rng.chance(600_000) {
        let all = || (0..hosts).map(Plan::node);
        let mut next: Vec<NodeId> = all().filter(|_| rng.chance(500_000)).collect();
        if next.is_empty() || next == first {
            next = all().filter(|node| !first.contains(node)).collect();
        }
        if next.is_empty() {
            next = first.iter().take(1).copied().collect();
        }
        let step = |moving| Step { voters: next.clone(), former: None, moving: Some(moving) };
        steps.extend([step(Move::Joint(first.clone())), step(Move::After(first))]);
        return steps;
    }
    let mut last = first;
    for _ in 0..rng.range(1, 3) {
        let changed = Plan::node(usize::try_from(rng.below(u64::try_from(hosts).unwrap_or(1))).unwrap_or(0));
        let mut next: Vec<NodeId> = last.iter().copied().filter(|voter| *voter != changed).collect();
        if next.len() == last.len() || next.is_empty() {
            next = last.clone();
            next.push(changed);
            next.sort_unstable();
            next.dedup();
        }
        if next != last {
            steps.push(Step { voters: next.clone(), former: Some(last), moving: None });
        }
        last = next;
    }
    steps
}

/// Who is restarted with which generation, and when, within `span`.
pub fn deeds(rng: &mut Rng, plan: &Plan, (begin, until): (u64, u64)) -> Vec<(u64, Fault)> {
    let (steps, span) = (plan.steps.len(), until - begin);
    let mut deeds = Vec::new();
    if plan.careless {
        for _ in 0..rng.range(1, 8) {
            let host = usize::try_from(rng.below(u64::try_from(plan.hosts).unwrap_or(1))).unwrap_or(0);
            let to = usize::try_from(rng.below(u64::try_from(steps).unwrap_or(1))).unwrap_or(0);
            deeds.push((begin + rng.below(span), Fault::Advance { host, to }));
        }
        return deeds;
    }
    for to in 1..steps {
        let part = span / u64::try_from(steps).unwrap_or(1);
        let from = begin + part * u64::try_from(to - 1).unwrap_or(0);
        deeds.extend((0..plan.hosts).map(|host| (from + rng.below(part.max(1)), Fault::Advance { host, to })));
    }
    deeds
}

impl Plan {
    /// Whether voter sets follow one another in this cluster, and which; of a stream of its own, so that what else is drawn does not hang
    /// on it.
    pub(super) fn draw_moves(&mut self, rng: &Rng) {
        let mut rng = Rng::new(rng.clone().next_u64() ^ MOVES);
        let wanted = self.mutant.map_or_else(|| rng.chance(60_000), Mutant::is_of_moves);
        let strict = self.policy == Policy::Strict && !self.beyond;
        if !wanted || !strict || matches!(self.mode, Mode::Unarbitrated | Mode::Store) {
            return;
        }
        let first = (0..self.hosts).filter(|host| self.votes(*host)).map(Self::node).collect();
        self.mode = Mode::Mixed;
        self.hosts += usize::try_from(rng.below(3)).unwrap_or(0);
        self.steps = draw(&mut rng, self.hosts, first);
        self.careless = rng.chance(300_000) || self.mutant == Some(Mutant::Unproven);
    }

    /// The sets of which each must lend by a majority, as hosts, in the generation at a place.
    pub fn sets(&self, place: usize) -> Vec<Vec<usize>> {
        match self.steps.get(place) {
            Some(step) => {
                let quorum = step.quorum(place, self.told);
                quorum.sets().map(|set| set.iter().copied().map(Plan::host).collect()).collect()
            }
            // The register answers in the store's name.
            None if self.mode == Mode::Store => vec![vec![Self::host(NodeId::STORE)]],
            None => vec![(0..self.hosts).filter(|host| self.votes(*host)).collect()],
        }
    }
}

impl World {
    /// The operator restarts a host with the configuration of another generation, as soon as that may be.
    pub(super) fn advance(&mut self, number: usize, to: usize) {
        let Some(step) = self.hosts.get(number).map(|host| host.step) else { return };
        if self.healed || step == to || (step > to && !self.plan.careless) {
            return;
        }
        if !self.plan.careless && !self.may_begin(to) {
            self.at(self.now + LOOKS, What::Advance { host: number, to });
            return;
        }
        self.restart_at(number, to);
    }

    /// Everybody is at the generation before, and a record says that it was lent under.
    fn may_begin(&self, to: usize) -> bool {
        let lent = self.hosts.iter().any(|host| {
            let record = host.record.as_ref().and_then(|bytes| Record::parse(bytes).ok());
            record.is_some_and(|record| usize::try_from(record.opened.generation).is_ok_and(|number| number >= to))
        });
        lent && self.hosts.iter().all(|host| host.step + 1 >= to)
    }

    fn restart_at(&mut self, number: usize, to: usize) {
        self.kill(number, false);
        self.trouble(number, |host| host.step = to);
        self.start(number);
    }

    /// The step that has begun is ended.
    pub(super) fn end_step(&mut self) {
        let last = self.hosts.iter().map(|host| host.step).max().unwrap_or(0);
        for number in 0..self.hosts.len() {
            if self.hosts.get(number).is_some_and(|host| host.step < last) {
                self.restart_at(number, last);
            }
        }
    }
}
