//! What can happen, and what follows: one function for each deed, named after the rules that it keeps.

use stateright::{Model, Property};

use crate::guard::Mutant;
use crate::state::{Candidate, Epoch, HOLD, LOAN, NODES, Phase, QUIET, Requests, State, VOTERS, Voter};

/// One thing that may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A tick of real time passes.
    Tick,
    /// A candidate begins an attempt, with this counter.
    Begin {
        /// The candidate.
        node: usize,
        /// Its counter.
        counter: u8,
    },
    /// The heir of a Transfer takes the epoch that was reserved for it.
    TakeOver {
        /// The candidate.
        node: usize,
    },
    /// A holder sends a renewal to every voter.
    Renew {
        /// The candidate.
        node: usize,
    },
    /// An Acquire arrives: of an epoch, sent so many ticks ago.
    Acquire {
        /// The voter, by its place.
        voter: usize,
        /// The epoch.
        epoch: Epoch,
        /// Ticks since it was sent.
        age: u8,
    },
    /// A Grant arrives whose request is so many ticks old.
    Grant {
        /// The candidate.
        node: usize,
        /// The voter, by its place.
        voter: usize,
        /// Ticks since it was sent.
        age: u8,
    },
    /// The gate write that was decided is carried out.
    WriteGate {
        /// The candidate.
        node: usize,
    },
    /// The holder notices that D has passed (R5).
    Lapse {
        /// The candidate.
        node: usize,
    },
    /// An attempt is given up; what it may have been granted is released.
    Abandon {
        /// The candidate.
        node: usize,
    },
    /// The holder gives the lease back, or to the other candidate (R8).
    GiveUp {
        /// The candidate.
        node: usize,
        /// To the other candidate.
        to_heir: bool,
    },
    /// A Release or Transfer of an epoch arrives.
    Ended {
        /// The voter, by its place.
        voter: usize,
        /// The epoch.
        epoch: Epoch,
    },
    /// The agent dies and starts again (R6, R12).
    RestartNode {
        /// The candidate.
        node: usize,
    },
    /// A voter dies and starts again, with its disk or without (V7).
    RestartVoter {
        /// The voter, by its place.
        voter: usize,
        /// With its disk.
        disk: bool,
    },
}

/// The bounds of a check, and what is taken out.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// Attempts of all candidates over all their lives.
    pub attempts: u8,
    /// Restarts of candidates in all.
    pub node_restarts: u8,
    /// Restarts of voters in all.
    pub voter_restarts: u8,
    /// What is taken out.
    pub mutant: Option<Mutant>,
}

impl Lease {
    fn lacks(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Ticks that the holder counts.
    pub fn hold(&self) -> u8 {
        if self.lacks(Mutant::NoDriftMargin) { HOLD + 1 } else { HOLD }
    }

    fn majority(&self) -> usize {
        if self.lacks(Mutant::HalfIsEnough) { VOTERS / 2 } else { VOTERS / 2 + 1 }
    }

    /// Ticks until D, by the q-th youngest answered request (R3).
    pub fn deadline(&self, state: &State, node: usize) -> u8 {
        let mut ages: Vec<u8> = state.voters.iter().map(|voter| voter.good[node]).collect();
        ages.sort_unstable();
        self.hold().saturating_sub(ages[self.majority() - 1])
    }

    fn epoch(&self, candidate: &Candidate, node: usize, counter: u8) -> Epoch {
        let node = u8::try_from(node).unwrap_or(u8::MAX);
        if self.lacks(Mutant::EpochReused) {
            return Epoch { counter, incarnation: 0, attempt: 0, node };
        }
        Epoch { counter, incarnation: candidate.incarnation, attempt: candidate.attempts + 1, node }
    }

    /// R13 and R5 allow an attempt: nothing is held, and the gate of the last one is shut.
    fn may_begin(&self, state: &State, candidate: &Candidate) -> bool {
        let gate_shut = !candidate.is_open() || self.lacks(Mutant::AttemptBesideOpenGate);
        let resting = match candidate.phase {
            Phase::Idle => true,
            Phase::Acquiring(_) => false,
            Phase::Held(_) => self.lacks(Mutant::AttemptBesideOpenGate),
        };
        resting && gate_shut && self.attempts_left(state)
    }

    fn attempts_left(&self, state: &State) -> bool {
        state.nodes.iter().map(|node| node.attempts).sum::<u8>() < self.attempts
    }

    fn begin(&self, state: &mut State, node: usize, epoch: Epoch) {
        let candidate = &mut state.nodes[node];
        candidate.attempts += 1;
        candidate.seen = candidate.seen.max(epoch.counter);
        candidate.phase = Phase::Acquiring(epoch);
        candidate.reserved = None;
        if !self.lacks(Mutant::GrantsOfAnyEpoch) {
            self.forget_answers(state, node);
        }
        state.requests(epoch).acquires |= 1;
    }

    fn forget_answers(&self, state: &mut State, node: usize) {
        for voter in &mut state.voters {
            (voter.grants[node], voter.good[node]) = (0, self.hold());
        }
    }

    /// R8, R5: the tombstone first.
    fn shut(&self, state: &mut State, node: usize, epoch: Epoch) {
        let candidate = &mut state.nodes[node];
        candidate.gate = None;
        candidate.tombstone = candidate.tombstone.max(Some(epoch));
        candidate.phase = Phase::Idle;
        if !self.lacks(Mutant::GrantsOfAnyEpoch) {
            self.forget_answers(state, node);
        }
    }

    /// A tick of real time.
    pub fn tick(&self, state: &mut State) {
        let old = self.hold();
        for candidate in &mut state.nodes {
            if !self.lacks(Mutant::GateWithoutDeadline) {
                candidate.gate = aged(candidate.gate);
            }
            if !self.lacks(Mutant::RelativeGate) {
                candidate.write = aged(candidate.write);
            }
        }
        for voter in &mut state.voters {
            voter.loan = voter.loan.map(|(epoch, left)| (epoch, left.saturating_sub(1)));
            voter.quiet = voter.quiet.saturating_sub(1);
            if voter.quiet == 0 {
                voter.restored = None;
            }
            for node in 0..NODES {
                voter.grants[node] = (voter.grants[node] << 1) & ((1 << old) - 1);
                voter.good[node] = (voter.good[node] + 1).min(old);
            }
        }
        for sent in &mut state.sent {
            let last = 1 << old;
            sent.acquires = ((sent.acquires << 1) & (last - 1)) | if sent.acquires >= last / 2 { last } else { 0 };
        }
    }

    /// V2 to V7: an Acquire that arrives.
    pub fn acquire(&self, voter: &mut Voter, epoch: Epoch) -> bool {
        let lent = voter.loan.filter(|(_, left)| *left > 0).map(|(epoch, _)| epoch);
        let mut recorded = voter.loan.map(|(epoch, _)| epoch).or(voter.restored);
        if voter.loan.is_none() && voter.quiet > 0 {
            let anyone = match voter.restored {
                Some(_) => self.lacks(Mutant::RestartRenewsAnyone),
                None => self.lacks(Mutant::LostDiskRenewsAnyone),
            };
            recorded = if anyone { Some(epoch) } else { recorded };
        }
        let renews = recorded == Some(epoch);
        let succeeds = lent.is_some_and(|lent| lent.is_before(&epoch));
        let held = lent.is_some_and(|lent| lent != epoch) && !succeeds && !self.lacks(Mutant::LendsTwice);
        let quiet = voter.quiet > 0 && !renews && !succeeds;
        let stale = !renews && voter.max.is_some_and(|max| epoch <= max);
        if held || quiet || stale {
            return false;
        }
        voter.loan = Some((epoch, LOAN));
        if !renews {
            voter.restored = None;
            // With the mutant the last record is still under way to the disk.
            voter.disk = if self.lacks(Mutant::RenewsLapsedForgetfulDisk) { voter.max } else { Some(epoch) };
            voter.max = Some(epoch);
        }
        true
    }

    /// V5: a Release.
    pub fn release(&self, voter: &mut Voter, epoch: Epoch) {
        if voter.loan.is_some_and(|(lent, _)| lent == epoch) || self.lacks(Mutant::AnyReleaseFrees) {
            voter.loan = None;
        }
        if voter.restored == Some(epoch) {
            voter.restored = None;
        }
    }

    /// V5: a Transfer.
    pub fn transfer(&self, voter: &mut Voter, epoch: Epoch, heir: Epoch) {
        let recorded = voter.loan.map(|(epoch, _)| epoch).or(voter.restored);
        if recorded == Some(heir) {
            return;
        }
        let exact = recorded == Some(epoch) || self.lacks(Mutant::AnyTransferMoves);
        let stale = voter.max.is_some_and(|max| heir <= max) && !self.lacks(Mutant::AnyTransferMoves);
        if !exact || stale {
            return self.release(voter, epoch);
        }
        (voter.loan, voter.restored, voter.max) = (Some((heir, QUIET)), None, Some(heir));
        voter.disk = Some(heir);
    }

    /// V7: what a restart leaves of a voter.
    pub fn restart(&self, voter: &mut Voter, disk: bool) {
        let kept = voter.disk.filter(|_| disk);
        (voter.max, voter.restored, voter.disk, voter.loan) = (kept, kept, kept, None);
        voter.quiet = if self.lacks(Mutant::NoRestartWait) { 0 } else { QUIET };
        if voter.quiet == 0 {
            voter.restored = None;
        }
    }

    fn write_gate(&self, state: &mut State, node: usize) {
        let candidate = &mut state.nodes[node];
        let Some((epoch, left)) = candidate.write.take() else { return };
        let dead = candidate.tombstone.is_some_and(|dead| dead >= epoch);
        if dead && !self.lacks(Mutant::LateWriteOpens) && !self.lacks(Mutant::EpochReused) {
            return;
        }
        candidate.gate = Some((epoch, left));
        if dead {
            state.broken = Some("I6");
        }
        if state.top.is_some_and(|top| epoch < top) {
            state.broken = Some("I4");
        }
        state.top = state.top.max(Some(epoch));
    }

    fn counters(&self, state: &State, node: usize) -> [u8; 2] {
        let candidate = &state.nodes[node];
        let told = state.voters.iter().filter_map(|voter| voter.max).map(|max| max.counter).max().unwrap_or(0);
        [candidate.seen + 1, candidate.seen.max(told) + 1]
    }
}

fn aged(gate: Option<(Epoch, u8)>) -> Option<(Epoch, u8)> {
    gate.filter(|(_, left)| *left > 1).map(|(epoch, left)| (epoch, left - 1))
}

fn bits(set: u8) -> impl Iterator<Item = u8> {
    (0..8).filter(move |bit| set & (1 << bit) != 0)
}

impl Model for Lease {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let mut state = State::start();
        for node in 0..NODES {
            self.forget_answers(&mut state, node);
        }
        vec![state]
    }

    fn actions(&self, state: &State, out: &mut Vec<Step>) {
        if state.broken.is_some_and(|rule| rule != "I4" || !state.disk_lost) {
            return;
        }
        out.push(Step::Tick);
        for (node, candidate) in state.nodes.iter().enumerate() {
            if self.may_begin(state, candidate) {
                let [remembered, told] = self.counters(state, node);
                out.push(Step::Begin { node, counter: told });
                if remembered != told {
                    out.push(Step::Begin { node, counter: remembered });
                }
                if candidate.reserved.is_some_and(|reserved| reserved.attempt == candidate.attempts + 1) {
                    out.push(Step::TakeOver { node });
                }
            }
            match candidate.phase {
                Phase::Idle => {}
                Phase::Acquiring(_) => out.push(Step::Abandon { node }),
                Phase::Held(epoch) => {
                    let live = self.deadline(state, node) > 0;
                    let renewed = state.sent.iter().any(|sent| sent.epoch == epoch && sent.acquires & 1 != 0);
                    if (live || self.lacks(Mutant::RenewsLapsedForgetfulDisk)) && !renewed {
                        out.push(Step::Renew { node });
                    }
                    if live {
                        out.push(Step::GiveUp { node, to_heir: false });
                        out.push(Step::GiveUp { node, to_heir: true });
                    } else {
                        out.push(Step::Lapse { node });
                    }
                }
            }
            if candidate.write.is_some() {
                out.push(Step::WriteGate { node });
            }
            if state.nodes.iter().map(|node| node.incarnation).sum::<u8>() < self.node_restarts {
                out.push(Step::RestartNode { node });
            }
        }
        for (place, voter) in state.voters.iter().enumerate() {
            // Equal voters do equal things; sorted, they stand side by side.
            if place > 0 && state.voters[place - 1] == *voter {
                continue;
            }
            for node in 0..NODES {
                out.extend(bits(voter.grants[node]).map(|age| Step::Grant { node, voter: place, age }));
            }
            for sent in &state.sent {
                out.extend(bits(sent.acquires).map(|age| Step::Acquire { voter: place, epoch: sent.epoch, age }));
                if sent.released || sent.heir.is_some() {
                    out.push(Step::Ended { voter: place, epoch: sent.epoch });
                }
            }
            if state.voter_restarts < self.voter_restarts {
                out.extend([true, false].map(|disk| Step::RestartVoter { voter: place, disk }));
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Tick => self.tick(&mut state),
            Step::Begin { node, counter } => {
                let epoch = self.epoch(&state.nodes[node], node, counter);
                self.begin(&mut state, node, epoch);
            }
            Step::TakeOver { node } => {
                let epoch = state.nodes[node].reserved?;
                self.begin(&mut state, node, epoch);
            }
            Step::Renew { node } => {
                let epoch = state.nodes[node].epoch()?;
                state.requests(epoch).acquires |= 1;
            }
            Step::Acquire { voter, epoch, age } => {
                if !self.acquire(&mut state.voters[voter], epoch) {
                    return None;
                }
                let node = usize::from(epoch.node);
                let current = state.nodes[node].epoch() == Some(epoch) || self.lacks(Mutant::GrantsOfAnyEpoch);
                if current && age < self.hold() {
                    state.voters[voter].grants[node] |= 1 << age;
                }
            }
            Step::Grant { node, voter, age } => {
                let epoch = state.nodes[node].epoch()?;
                let counted = if self.lacks(Mutant::DeadlineFromReply) { 0 } else { age };
                let good = &mut state.voters[voter].good[node];
                *good = (*good).min(counted);
                let left = self.deadline(&state, node);
                if left > 0 {
                    state.nodes[node].phase = Phase::Held(epoch);
                    state.nodes[node].write = Some((epoch, left));
                }
            }
            Step::WriteGate { node } => self.write_gate(&mut state, node),
            Step::Lapse { node } => {
                let epoch = state.nodes[node].epoch()?;
                self.shut(&mut state, node, epoch);
            }
            Step::Abandon { node } => {
                let epoch = state.nodes[node].epoch()?;
                // Nothing was held under it, so there is nothing to shut.
                state.nodes[node].phase = Phase::Idle;
                if !self.lacks(Mutant::GrantsOfAnyEpoch) {
                    self.forget_answers(&mut state, node);
                }
                state.requests(epoch).released = true;
            }
            Step::GiveUp { node, to_heir } => self.give_up(&mut state, node, to_heir)?,
            Step::Ended { voter, epoch } => {
                let heir = state.sent.iter().find(|sent| sent.epoch == epoch)?.heir;
                match heir {
                    Some(heir) => self.transfer(&mut state.voters[voter], epoch, heir),
                    None => self.release(&mut state.voters[voter], epoch),
                }
            }
            Step::RestartNode { node } => {
                let epoch = state.nodes[node].epoch();
                let (gate, write) = (state.nodes[node].gate, state.nodes[node].write);
                if let Some(epoch) = epoch {
                    self.shut(&mut state, node, epoch);
                }
                let candidate = &mut state.nodes[node];
                (candidate.phase, candidate.gate, candidate.write) = (Phase::Idle, None, None);
                (candidate.seen, candidate.reserved) = (0, None);
                candidate.incarnation += 1;
                if self.lacks(Mutant::EpochReused) {
                    (candidate.gate, candidate.write, candidate.tombstone) = (gate, write, None);
                }
            }
            Step::RestartVoter { voter, disk } => {
                state.voter_restarts += 1;
                state.disk_lost |= !disk && state.voters[voter].disk.is_some();
                self.restart(&mut state.voters[voter], disk);
                // What it has said is under way all the same.
            }
        }
        self.tidy(&mut state);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![Property::<Self>::always("I1: no two gates are open", |_, state| {
            state.nodes.iter().filter(|node| node.is_open()).count() < 2
        })];
        if self.mutant.is_none() {
            all.extend([
                Property::<Self>::always("I2: an open gate has a majority behind it", |model, state| {
                    state.nodes.iter().all(|node| match node.gate {
                        Some((epoch, left)) if left > 0 => {
                            state.voters.iter().filter(|voter| voter.bars_for(epoch)).count() >= model.majority()
                        }
                        _ => true,
                    })
                }),
                Property::<Self>::always("I4, I6: epochs rise, and stay shut behind a tombstone", |_, state| {
                    // Whoever has lost its disk can't say what it has seen (docs/decisions/0060).
                    state.broken.is_none_or(|rule| rule == "I4" && state.disk_lost)
                }),
                Property::<Self>::always("I5: the gate's deadline is no later than D", |model, state| {
                    (0..NODES).all(|node| match state.nodes[node].gate {
                        Some((_, left)) => left <= model.deadline(state, node),
                        None => true,
                    })
                }),
                Property::<Self>::always("I7: what is given back is behind a shut gate", |_, state| {
                    state
                        .sent
                        .iter()
                        .filter(|sent| sent.released || sent.heir.is_some())
                        .all(|sent| state.nodes.iter().all(|node| node.gate.is_none_or(|(open, _)| open != sent.epoch)))
                }),
                Property::<Self>::sometimes("somebody holds", |_, state| state.nodes[0].is_open()),
                Property::<Self>::sometimes("an heir holds after a Transfer", |_, state| {
                    let heirs = state.sent.iter().filter_map(|sent| sent.heir);
                    heirs
                        .into_iter()
                        .any(|heir| state.nodes[usize::from(heir.node)].gate.is_some_and(|(e, _)| e == heir))
                }),
                Property::<Self>::sometimes("the other takes over after a lapse", |_, state| {
                    state.nodes[1].is_open()
                        && state.nodes[0].tombstone.is_some()
                        && state.sent.iter().all(|sent| !sent.released && sent.heir.is_none())
                }),
            ]);
            if self.voter_restarts > 0 {
                all.push(Property::<Self>::sometimes("somebody holds after a voter has lost its disk", |_, state| {
                    state.disk_lost && state.nodes[1].is_open()
                }));
            }
        }
        all
    }

    fn format_action(&self, step: &Step) -> String {
        let epoch = |epoch: &Epoch| format!("epoch {}.{} of node {}", epoch.counter, epoch.attempt, epoch.node);
        match step {
            Step::Tick => "a tick passes".to_owned(),
            Step::Begin { node, counter } => format!("node {node} begins an attempt with counter {counter}"),
            Step::TakeOver { node } => format!("node {node} takes what a Transfer reserved for it"),
            Step::Renew { node } => format!("node {node} sends a renewal to all voters"),
            Step::Acquire { voter, epoch: e, age } => {
                format!("an Acquire of {}, {age} ticks old, reaches voter {voter}", epoch(e))
            }
            Step::Grant { node, voter, age } => {
                format!("voter {voter}'s Grant of a request {age} ticks old reaches node {node}")
            }
            Step::WriteGate { node } => format!("node {node} writes its gate"),
            Step::Lapse { node } => format!("node {node} notices that its lease is over"),
            Step::Abandon { node } => format!("node {node} gives its attempt up"),
            Step::GiveUp { node, to_heir: true } => format!("node {node} hands its lease to the other"),
            Step::GiveUp { node, to_heir: false } => format!("node {node} gives its lease back"),
            Step::Ended { voter, epoch: e } => format!("the end of {} reaches voter {voter}", epoch(e)),
            Step::RestartNode { node } => format!("node {node}'s agent dies and starts again"),
            Step::RestartVoter { voter, disk: true } => format!("voter {voter} restarts with its disk"),
            Step::RestartVoter { voter, disk: false } => format!("voter {voter} restarts without its disk"),
        }
    }
}

impl Lease {
    fn give_up(&self, state: &mut State, node: usize, to_heir: bool) -> Option<()> {
        let epoch = state.nodes[node].epoch()?;
        let mut heir = None;
        if to_heir {
            let other = 1 - node;
            let candidate = &state.nodes[other];
            if candidate.phase != Phase::Idle || !self.attempts_left(state) {
                return None;
            }
            let reserved = self.epoch(candidate, other, candidate.seen.max(epoch.counter) + 1);
            state.nodes[other].reserved = Some(reserved);
            heir = Some(reserved);
        }
        if self.lacks(Mutant::ReleaseBeforeShut) {
            // The lease is gone, the gate is not.
            state.nodes[node].phase = Phase::Idle;
            self.forget_answers(state, node);
        } else {
            self.shut(state, node, epoch);
        }
        let requests = state.requests(epoch);
        requests.heir = heir;
        requests.released = heir.is_none();
        Some(())
    }

    /// Brings states that differ in nothing that can matter to one form.
    fn tidy(&self, state: &mut State) {
        if !self.lacks(Mutant::GrantsOfAnyEpoch) {
            let present: Vec<Option<Epoch>> = state.nodes.iter().map(Candidate::epoch).collect();
            for Requests { epoch, acquires, .. } in &mut state.sent {
                // An answer to it is of no use, so its age is of no importance.
                if present[usize::from(epoch.node)] != Some(*epoch) && *acquires != 0 {
                    *acquires = 1 << self.hold();
                }
            }
        }
        state.voters.sort_unstable();
    }
}
