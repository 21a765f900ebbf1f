//! A host's program is replaced under a lease that goes on (docs/decisions/0210).
//!
//! The process hands on and ends, and leaves what its kernel holds; some time later the next one goes on with it, or finds
//! that it may not, or dies with it in its hands. Then its guardian shuts all and a start is an ordinary one.

use std::time::Duration;

use keepone_proto::event::Event;
use keepone_proto::handed::{Handed, Place, StoreSeen};
use keepone_proto::id::Incarnation;
use keepone_proto::lease::record::Record;
use keepone_proto::lease::register::Register;
use keepone_proto::node::{Node, Restored};

use super::host::Machine;
use super::mutant::Mutant;
use super::network::MS;
use super::plan::Plan;
use super::register::Shell;
use super::world::{What, World};

/// No two boots of a host hand anything on to each other: power takes away what waits.
const PLACE: Place = Place { boot: [1; 16], mark: [2; 32] };
/// Between two tries of a process that is in the middle of something.
const AGAIN: u64 = 2 * MS;

impl World {
    /// The agent of a host is asked to hand on; of `tries` one may find it at rest.
    pub(super) fn upgrade(&mut self, number: usize, gap: u64, dies: bool, tries: u8) {
        let now = self.now;
        let some = self.rng.below(4);
        let needed = self.plan.told.renewal_interval();
        let beside = self.plan.mutant == Some(Mutant::UpgradeBesideTheOld);
        let Some(host) = self.hosts.get_mut(number) else { return };
        let Some(Machine::Agent(node)) = &host.machine else { return };
        let at_work = host.stopped || now < host.busy_until || !host.pending.is_empty() || !host.inbox.is_empty();
        let suspended = node.suspend(host.clock.local(now), PLACE, needed);
        let Some(handed) = suspended.ok().filter(|_| !at_work) else {
            if tries > 0 {
                self.at(now + AGAIN, What::Upgrade { host: number, gap, dies, tries: tries - 1 });
            }
            return;
        };
        let store = host.shell.as_ref().map(|shell| StoreSeen { revision: shell.revision(), name: 0 });
        host.handed = Some(Handed { store, ..handed }.emit());
        // Who goes on beside the next one, up to its start, is not what the design has.
        if !beside {
            host.end_process();
            host.settle_writes(usize::try_from(some).unwrap_or(0));
        }
        let life = host.life;
        self.history.note(now, number, "hands on", 0);
        self.at(now + gap, What::Resume { host: number, life, dies });
    }

    /// The next process begins, unless another one has meanwhile.
    pub(super) fn go_on_anew(&mut self, number: usize, life: u32, dies: bool) {
        let beside = self.plan.mutant == Some(Mutant::UpgradeBesideTheOld);
        let Some(host) = self.hosts.get_mut(number) else { return };
        if host.life != life || (host.machine.is_some() && !beside) || host.stopped {
            return;
        }
        let Some(handed) = host.handed.take() else { return };
        if beside {
            host.end_process();
        }
        let taken = Handed::parse(&handed).is_ok_and(|handed| !dies && self.take_on(number, handed));
        if !taken {
            self.start(number);
        }
    }

    /// Whether the next process goes on with what was handed on.
    fn take_on(&mut self, number: usize, mut handed: Handed) -> bool {
        let (now, voter) = (self.now, Incarnation(self.rng.next_u64()));
        let (plan, seed) = (&self.plan, self.seed);
        let Some(host) = self.hosts.get_mut(number) else { return false };
        let local = host.clock.local(now);
        spoil(&mut handed, plan, local);
        // What the kernel has must be what was handed on.
        let as_left = |domain: &keepone_proto::handed::HandedDomain| {
            let kernel = host.kernels.get(Plan::place(domain.id));
            let held = domain.held.as_ref();
            held.is_none_or(|held| {
                kernel.is_some_and(|kernel| kernel.epoch == Some(held.epoch) && !kernel.is_over(held.epoch))
            })
        };
        if !handed.domains.iter().all(as_left) {
            return false;
        }
        let record = host.record.as_ref().and_then(|bytes| Record::parse(bytes).ok());
        let of = |place: usize| record.as_ref().and_then(|record| record.domains.get(&Plan::domain(place)).copied());
        let recorded = (0..plan.domains).map(of).collect();
        let settings = plan.settings(number, (host.variant, host.step), seed ^ u64::try_from(number).unwrap_or(0));
        let restored = Restored { record, held: Vec::new() };
        let here = (&PLACE, plan.told.round_trip);
        let Ok(node) = Node::resume(settings, &handed, here, (restored, voter), local) else { return false };
        host.ended = false;
        (host.machine, host.deadline) = (Some(Machine::Agent(Box::new(node))), None);
        let register = plan.register(number, (host.variant, host.step), handed.incarnation);
        host.shell = register.map(|settings| {
            let mut register = Register::new(settings, voter);
            let seen = handed.store.map_or(0, |store| store.revision);
            register.go_on_from(seen, handed.held().map(|(domain, held)| (domain, held.epoch)));
            Shell::new(register)
        });
        let life = host.life;
        let mut shut = Vec::new();
        for (place, kernel) in host.kernels.iter_mut().enumerate() {
            let held = handed.domains.iter().find(|domain| Plan::place(domain.id) == place);
            let epoch = held.and_then(|domain| domain.held.as_ref()).map(|held| held.epoch);
            // The word MASTER was told; nothing of what is shut was.
            let clean = host.clean.get_mut(place).zip(host.roles.get_mut(place)).zip(host.mastered.get_mut(place));
            let Some(((clean, role), mastered)) = clean else { continue };
            *clean = epoch.is_some();
            if let Some(epoch) = epoch {
                self.oracle.goes_on(number, life, place, epoch);
            } else {
                kernel.shut_any(now);
                (*role, *mastered) = (keepone_proto::decision::Role::Init, None);
                shut.push(place);
            }
        }
        shut.into_iter().for_each(|place| self.oracle.on_shut(now, number, place));
        self.oracle.alarms.forget(number);
        self.oracle.on_voter_start(number, local, recorded);
        self.deliver(number, Event::Tick);
        self.run_register(number);
        self.tell_carrier(number, life);
        self.history.note(now, number, "goes on", 0);
        true
    }
}

/// What a mutant does to what is handed on.
fn spoil(handed: &mut Handed, plan: &Plan, local: keepone_proto::time::Instant) {
    let length =
        if plan.mutant == Some(Mutant::ResumedForAWholeLease) { plan.told.holder_lease() } else { Duration::ZERO };
    for domain in &mut handed.domains {
        if plan.mutant == Some(Mutant::UpgradeForgetsNonces) {
            domain.nonce = 0;
        }
        if let Some(held) = domain.held.as_mut().filter(|_| !length.is_zero()) {
            (held.until, held.newest) = (local + length, Some(local));
            // By which it is not found to be too late either.
            held.gate_until = held.gate_until.max(local + plan.told.round_trip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::{Deed, Fault};
    use super::super::network::S;
    use super::super::plan::Mode;
    use super::super::rng::Rng;
    use super::*;

    /// The holder of the named scenarios' cluster is upgraded, and nothing else happens: whose epoch it is then, and
    /// whether anything was shut or violated.
    fn upgraded(plan: Plan, seed: u64, gap: u64, dies: bool) -> (bool, u64, Vec<super::super::oracle::Violation>) {
        let mut world = World::new(plan, seed, Rng::new(seed), false);
        world.boot();
        world.run_until(6 * S);
        let holder = world.oracle.holder(6 * S, 0).unwrap();
        let (before, life) = (world.hosts[holder].kernels[0].epoch, world.hosts[holder].life);
        world.oracle.mark(6 * S);
        world.set_deeds(vec![Deed { at: 6 * S, fault: Fault::Upgrade { host: holder, gap, dies } }]);
        world.run_until(12 * S);
        assert!(world.hosts[holder].life > life, "seed {seed}: it has handed nothing on");
        let same = world.oracle.holder(12 * S, 0) == Some(holder) && world.hosts[holder].kernels[0].epoch == before;
        (same, world.oracle.domains[0].longest_none, world.oracle.violations.clone())
    }

    #[test]
    fn an_upgrade_within_the_lease_costs_nothing_and_moves_nothing() {
        let store = |sessions| Plan { mode: Mode::Store, sessions, ..Plan::for_scenarios() };
        for (seed, plan) in
            (0..20).flat_map(|seed| [Plan::for_scenarios(), store(false), store(true)].map(|plan| (seed, plan)))
        {
            let mode = (plan.mode, plan.sessions);
            let (same, none, violations) = upgraded(plan, seed, 150 * MS, false);
            assert!(same && none == 0 && violations.is_empty(), "{mode:?}, seed {seed}: {same} {none} {violations:?}");
        }
    }

    #[test]
    fn one_that_takes_too_long_or_dies_is_a_handover_at_d_at_the_latest() {
        let lease = super::super::scenarios::STEADY.min(crate::scenario::LEASE_MS * MS);
        for seed in 0..20 {
            for (gap, dies) in [(2 * S, false), (100 * MS, true)] {
                let (same, none, violations) = upgraded(Plan::for_scenarios(), seed, gap, dies);
                assert!(!same && violations.is_empty(), "seed {seed}: {violations:?}");
                assert!(none > 0 && none < 2 * lease, "seed {seed}, {gap}: nobody held for {} ms", none / MS);
            }
        }
    }
}
