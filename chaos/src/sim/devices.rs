//! What answers the process: gate, netlink, disk, guardian; and the faults that are done to it all.

use keepone_proto::decision::Role;
use keepone_proto::event::Event;
use keepone_proto::id::{DomainId, Epoch};
use keepone_proto::time::Instant;

use super::fault::{Fault, Variant};
use super::host::{Host, Machine, Write};
use super::mutant::Mutant;
use super::network::{MS, Path, US};
use super::plan::{Mode, PING_FALL, Plan};
use super::world::{What, World, draw_clock};

/// How often an agent that is asked to hand on is asked again while it is in the middle of something.
const UPGRADE_TRIES: u8 = 20;
/// P2: two gates with a path that works both ways, and one way, between their nodes.
const X_SYM: u64 = 150 * MS;
// (m+1)·h until deafness is known, a beat to hear the claim by, and the lateness of timers.
const X_ASYM: u64 = 515 * MS;

impl World {
    pub(super) fn write_gate(
        &mut self,
        number: usize,
        domain: DomainId,
        epoch: Epoch,
        until: Option<Instant>,
        decided: Instant,
    ) {
        let (now, place, kind) = (self.now, Plan::place(domain), self.plan.gate_kind());
        let trouble = self.hosts.get(number).is_some_and(|host| host.troubles.gate);
        let pick = if trouble { self.rng.below(1_000_000) } else { 0 };
        let Some(host) = self.hosts.get_mut(number) else { return };
        let (clock, life) = (host.clock, host.life);
        let Some(kernel) = host.kernels.get_mut(place) else { return };
        // What can't be read back may have been written all the same.
        let (lost, unread) = (trouble && pick < 300_000, trouble && pick < 600_000);
        let refused = match until {
            _ if lost => false,
            Some(until) => kernel.open(now, &clock, kind, (epoch, until, decided)).is_err(),
            None => {
                kernel.shut(now, epoch);
                false
            }
        };
        self.check_p2();
        self.check_isolation();
        match until {
            _ if lost => {}
            Some(_) if !refused => self.oracle.on_open(now, number, place, &self.hosts),
            Some(_) => {}
            None => self.oracle.on_shut(now, number, place),
        }
        let error = match (refused, unread) {
            (true, _) => Some("the epoch has a tombstone".to_owned()),
            (false, true) => Some("reads back other than written".to_owned()),
            (false, false) => None,
        };
        let event = Event::GateWritten { domain, epoch, until, error };
        self.at(now + 2 * US, What::Deliver { host: number, life: Some(life), event });
    }

    pub(super) fn ask_netlink(&mut self, number: usize, what: (DomainId, Epoch), lifetime_s: Option<u32>, at: u64) {
        let trouble = self.hosts.get(number).is_some_and(|host| host.troubles.netlink);
        let failed = trouble && self.rng.chance(400_000);
        let slowest = if trouble { 600 * MS } else { MS };
        let takes = self.rng.log_range(30 * US, slowest);
        let Some(host) = self.hosts.get_mut(number) else { return };
        let done_at = at.max(host.netlink_free_at) + takes;
        host.netlink_free_at = done_at;
        let life = host.life;
        let (domain, epoch) = what;
        self.at(done_at, What::Addresses { host: number, life, domain, epoch, lifetime_s, failed });
    }

    pub(super) fn set_addresses(
        &mut self,
        number: usize,
        life: u32,
        what: (DomainId, Epoch),
        lifetime_s: Option<u32>,
        failed: bool,
    ) {
        let (domain, epoch) = what;
        let now = self.now;
        let Some(host) = self.hosts.get_mut(number) else { return };
        let clock = host.clock;
        let Some(kernel) = host.kernels.get_mut(Plan::place(domain)) else { return };
        if !failed {
            match lifetime_s {
                Some(lifetime_s) => kernel.add_addresses(now, &clock, lifetime_s),
                None => kernel.addresses_until = 0,
            }
        }
        let error = failed.then(|| "no buffer space available".to_owned());
        let event = Event::AddressesDone { domain, epoch, present: lifetime_s.is_some(), error };
        let after = self.rng.range(10 * US, 200 * US);
        self.at(now + after, What::Deliver { host: number, life: Some(life), event });
    }

    pub(super) fn persist(&mut self, number: usize, ticket: u64, bytes: Vec<u8>, at: u64) {
        let trouble = self.hosts.get(number).is_some_and(|host| host.troubles.disk);
        let failed = trouble && self.rng.chance(500_000);
        let slowest = if trouble { 800 * MS } else { 5 * MS };
        let takes = self.rng.log_range(50 * US, slowest);
        let Some(host) = self.hosts.get_mut(number) else { return };
        let done_at = at.max(host.disk_free_at) + takes;
        host.disk_free_at = done_at;
        host.writes.push_back(Write { ticket, bytes });
        let life = host.life;
        self.at(done_at, What::Written { host: number, life, ticket, failed });
    }

    pub(super) fn written(&mut self, number: usize, life: u32, ticket: u64, failed: bool) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(number).filter(|host| host.life == life) else { return };
        if let Some(write) = host.writes.pop_front()
            && !failed
        {
            host.record = Some(write.bytes);
            host.backup = host.backup.take().or(host.record.clone());
        }
        let error = failed.then(|| "input/output error".to_owned());
        self.at(
            now + 5 * US,
            What::Deliver { host: number, life: Some(life), event: Event::Persisted { ticket, error } },
        );
    }

    /// The guardian has seen its worker die (R16).
    pub(super) fn guardian_shuts(&mut self, number: usize, life: u32) {
        let (now, transmit) = (self.now, self.plan.timing.transmit);
        let Some(host) = self.hosts.get_mut(number).filter(|host| host.life == life && host.machine.is_none()) else {
            return;
        };
        if self.plan.mutant == Some(Mutant::GuardianReleasesFirst) {
            self.at(now, What::GuardianReleases { host: number, life, again: 0 });
            return;
        }
        for kernel in &mut host.kernels {
            kernel.shut_any(now);
            kernel.addresses_until = 0;
        }
        let waits = host.clock.real_for(transmit.mul_f64(1.03)) + MS;
        for place in 0..self.plan.domains {
            self.oracle.on_shut(now, number, place);
        }
        // What a store has is released by the worker's next life.
        if self.plan.is_arbitrated() && self.plan.mode != Mode::Store {
            self.at(now + waits, What::GuardianReleases { host: number, life, again: 3 });
        }
    }

    pub(super) fn guardian_releases(&mut self, number: usize, life: u32, again: u8) {
        let now = self.now;
        let Some(host) = self.hosts.get(number).filter(|host| host.life == life && host.machine.is_none()) else {
            return;
        };
        let (variant, step) = (host.variant, host.step);
        let epochs: Vec<(usize, Epoch)> = (host.kernels.iter().enumerate())
            .filter_map(|(place, kernel)| kernel.epoch.map(|epoch| (place, epoch)))
            .collect();
        for (place, epoch) in epochs {
            for voter in (0..self.plan.hosts).filter(|voter| *voter != number) {
                let bytes = self.plan.release((variant, step), place, epoch, u64::from(again));
                self.send_lease(number, voter, now, bytes);
            }
        }
        if again > 0 {
            self.at(now + 50 * MS, What::GuardianReleases { host: number, life, again: again - 1 });
        }
    }

    /// A running agent is told its configuration anew.
    fn take_over(&mut self, number: usize) {
        let seed = self.seed ^ u64::try_from(number).unwrap_or(0);
        let Some(host) = self.hosts.get(number) else { return };
        let settings = Box::new(self.plan.settings(number, (host.variant, host.step), seed));
        self.deliver(number, Event::Reconfigure(settings));
    }

    /// Something is done to the world.
    pub(super) fn apply(&mut self, fault: Fault) {
        let now = self.now;
        self.check_p2();
        self.oracle.disturbed_at = now;
        self.history.fault(now, &fault);
        match fault {
            Fault::Cut { from, to, path, cut } => match path {
                Some(path) => self.network.set_cut(from, to, path, cut),
                None => {
                    for path in self.network.paths() {
                        self.network.set_cut(from, to, path, cut);
                    }
                }
            },
            Fault::Weather { from, to, weather } => {
                self.fair = false;
                for path in self.network.paths() {
                    self.network.set_weather(from, to, path, weather);
                }
            }
            Fault::Reference { host, reaches } => self.network.set_reference(host, reaches),
            Fault::Carrier { host, up } => self.set_carrier(host, up),
            Fault::Stop(host) => self.stop(host, false),
            Fault::Pause(host) => self.stop(host, true),
            Fault::Continue(host) => self.resume(host),
            Fault::Kill { host, guardian } => self.kill(host, guardian),
            Fault::PowerOff(host) => self.power_off(host),
            Fault::Start(host) => self.start(host),
            Fault::Upgrade { host, gap, dies } => self.upgrade(host, gap, dies, UPGRADE_TRIES),
            Fault::Terminate(host) => {
                let host = if host == usize::MAX { self.oracle.holder(now, 0).unwrap_or(0) } else { host };
                if host < self.plan.agents {
                    self.deliver(host, Event::Stop);
                }
            }
            Fault::LoseRecord(number) | Fault::RollBackRecord(number) | Fault::TearRecord(number)
                if self.store_host() == Some(number) =>
            {
                self.spoil_store(number, fault);
            }
            Fault::LoseRecord(number) => {
                if let Some(host) = self.hosts.get_mut(number) {
                    host.record = None;
                    self.oracle.forgot.insert(number);
                }
            }
            Fault::RollBackRecord(number) => {
                if let Some(host) = self.hosts.get_mut(number) {
                    host.record = host.backup.clone();
                    self.oracle.forgot.insert(number);
                }
            }
            Fault::Disk { host, on } => self.trouble(host, |host| host.troubles.disk = on),
            Fault::Netlink { host, on } => self.trouble(host, |host| host.troubles.netlink = on),
            Fault::GateTest { host, on } => self.trouble(host, |host| host.troubles.gate_test = on),
            Fault::Script { host, on } => self.trouble(host, |host| host.troubles.script = on),
            Fault::Gate { host, on } => self.trouble(host, |host| host.troubles.gate = on),
            Fault::Freeze { host, lasts } => self.freeze(host, lasts),
            Fault::Reload { host, variant } => {
                let former = self.hosts.get(host).map(|host| host.variant).unwrap_or_default();
                let in_place = variant.is_taken_over() && former.is_taken_over();
                // A witness knows no priority, and one that can't vote is no more than one that is down.
                if in_place && self.is_able(host) {
                    self.trouble(host, |host| host.variant = variant);
                    self.take_over(host);
                } else {
                    self.kill(host, false);
                    self.trouble(host, |host| host.variant = variant);
                    self.start(host);
                }
            }
            Fault::Advance { host, to } => self.advance(host, to),
            Fault::TearRecord(number) => {
                if let Some(host) = self.hosts.get_mut(number) {
                    if let Some(record) = &mut host.record {
                        record.pop();
                    }
                    self.oracle.forgot.insert(number);
                }
            }
            Fault::ForeignRouter { priority } => {
                let begins = self.foreign.is_none() && priority.is_some();
                self.foreign = priority;
                if begins {
                    self.advertise_foreign();
                }
            }
            Fault::Replay { ppm } => self.replays = ppm,
            Fault::ForeignClaim(host) => {
                self.deliver(host, Event::ForeignClaim { domain: Plan::domain(0), mac: [2, 0, 0, 0, 0, 9] });
            }
            Fault::Client { client, host, cut } => self.network.set_client(client, host, cut),
            Fault::Mend => self.network.heal(),
            Fault::Heal => self.heal(),
        }
        self.note_isolation();
    }

    /// I17: since when each agent has neither heard a peer nor reached a reference, undisturbed itself.
    fn note_isolation(&mut self) {
        self.check_isolation();
        // Who is sent old beats again may hear a peer behind a cut, and who pauses between two steps acts late.
        let disturbed = self.pauses > 0 || self.replays > 0;
        for number in 0..self.plan.agents {
            let able = self.hosts.get(number).is_some_and(|host| host.is_running());
            let heard = (0..self.plan.agents).filter(|peer| *peer != number).any(|peer| {
                let links = self.network.paths().filter(|path| matches!(path, Path::Link(_)));
                links.into_iter().any(|link| !self.network.is_cut(peer, number, link))
            });
            let alone = able && !heard && !disturbed && self.plan.references && !self.network.reaches_reference(number);
            if let Some(since) = self.isolated.get_mut(number) {
                *since = if alone { since.or(Some(self.now)) } else { None };
            }
        }
    }

    /// I17: T_ref + m·h after that, and what timers add, the gate is shut.
    pub(super) fn check_isolation(&mut self) {
        // Beats under way would need a limit of their own.
        if !self.fair {
            return;
        }
        let pings = u64::from(PING_FALL) * self.plan.ping_ms() + self.plan.ping_timeout_ms();
        let limit = (pings + 300 * self.plan.pace + 50) * MS + self.plan.jiffy;
        for number in 0..self.plan.agents {
            let Some(since) = self.isolated.get(number).copied().flatten() else { continue };
            let Some(host) = self.hosts.get(number) else { continue };
            if self.now > since + limit && host.kernels.iter().any(|kernel| kernel.is_open(self.now)) {
                let lasted = (self.now - since) / MS;
                self.oracle.violated("I17", self.now, || {
                    format!("host {number} has reached no peer and no reference for {lasted} ms, and its gate is open")
                });
            }
        }
    }

    pub(super) fn trouble(&mut self, host: usize, change: impl FnOnce(&mut Host)) {
        if let Some(host) = self.hosts.get_mut(host) {
            change(host);
        }
    }

    /// The hypervisor stops the machine, and its clock with it.
    fn freeze(&mut self, number: usize, lasts: u64) {
        let now = self.now;
        let until = now.saturating_add(lasts);
        let Some(host) = self.hosts.get_mut(number).filter(|host| host.frozen.is_none()) else { return };
        host.clock = host.clock.frozen(until, lasts);
        for kernel in &mut host.kernels {
            kernel.froze(now, lasts);
        }
        host.frozen = Some(until);
        self.fair = false;
        let Some(host) = self.hosts.get_mut(number) else { return };
        host.busy_until = if host.busy_until > now { host.busy_until + lasts } else { host.busy_until };
        (host.disk_free_at, host.netlink_free_at) = (host.disk_free_at.max(until), host.netlink_free_at.max(until));
        if number < self.plan.agents {
            for place in 0..self.plan.domains {
                self.oracle.on_shut(now, number, place);
            }
        }
        self.at(until, What::Thaw { host: number });
    }

    /// It goes on as if nothing had been; its gate with it.
    pub(super) fn thaw(&mut self, number: usize) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(number).filter(|host| host.frozen.is_some_and(|until| until <= now)) else {
            return;
        };
        (host.frozen, host.tick_at, host.wake_at) = (None, None, None);
        if number < self.plan.agents {
            for place in 0..self.plan.domains {
                self.oracle.on_thaw(now, number, place, &self.hosts);
            }
        }
        self.go_on(number);
        self.plan_tick(number);
    }

    fn set_carrier(&mut self, number: usize, up: bool) {
        let Some(host) = self.hosts.get_mut(number) else { return };
        host.carrier = up;
        let life = host.life;
        self.tell_carrier(number, life);
    }

    fn stop(&mut self, number: usize, machine: bool) {
        if let Some(host) = self.hosts.get_mut(number).filter(|host| host.machine.is_some()) {
            host.stopped = true;
            host.silent |= machine;
        }
    }

    fn resume(&mut self, number: usize) {
        let now = self.now;
        let first = self.rng.chance(500_000);
        let Some(host) = self.hosts.get_mut(number).filter(|host| host.stopped) else { return };
        (host.stopped, host.silent) = (false, false);
        host.tick_at = None;
        // Timers and sockets are ready at once: which is served first is anybody's guess.
        if first {
            host.inbox.push_front(Event::Tick);
        } else {
            host.inbox.push_back(Event::Tick);
        }
        let due = now >= host.busy_until;
        if self.store_host().is_some() {
            self.run_register(number);
            if self.store_host() == Some(number) {
                self.resume_store(number);
            }
        }
        let Some(host) = self.hosts.get(number) else { return };
        if due {
            self.go_on(number);
        } else {
            let (at, life) = (host.busy_until, host.life);
            self.at(at, What::Wake { host: number, life });
        }
    }

    pub(super) fn kill(&mut self, number: usize, guardian: bool) {
        let (now, some) = (self.now, self.rng.below(4));
        let Some(host) = self.hosts.get_mut(number).filter(|host| host.machine.is_some()) else { return };
        host.end_process();
        (host.stopped, host.silent) = (false, false);
        host.settle_writes(usize::try_from(some).unwrap_or(0));
        let life = host.life;
        if self.store_host() == Some(number) {
            self.store.waiting.clear();
        }
        if guardian {
            let after = self.rng.range(MS, 10 * MS);
            self.at(now + after, What::GuardianShuts { host: number, life });
        }
    }

    fn power_off(&mut self, number: usize) {
        self.kill(number, false);
        let now = self.now;
        let clock = draw_clock(&mut self.rng, &self.plan, now).rebooted(now);
        let Some(host) = self.hosts.get_mut(number) else { return };
        host.clock = clock;
        host.handed = None;
        host.kernels.fill(super::kernel::Kernel::default());
        host.roles.fill(Role::Init);
        if number < self.plan.agents {
            for place in 0..self.plan.domains {
                self.oracle.on_shut(now, number, place);
            }
        }
    }

    fn heal(&mut self) {
        self.network.heal();
        self.healed = true;
        let busy = self.hosts.iter().map(|host| host.netlink_free_at.max(host.disk_free_at));
        self.backlog = busy.max().unwrap_or(0).max(self.store.barred_until);
        (self.pauses, self.replays, self.foreign) = (0, 0, None);
        for number in 0..self.plan.hosts {
            self.trouble(number, |host| host.troubles = Default::default());
            if self.hosts.get(number).is_some_and(|host| !host.carrier) {
                self.set_carrier(number, true);
            }
            // A pause between two steps ends too.
            if self.hosts.get(number).is_some_and(|host| host.busy_until > self.now) {
                self.trouble(number, |host| host.busy_until = 0);
                self.wake_later(number, self.now);
            }
            self.wake_register(number);
            self.resume(number);
            // Who was configured otherwise is configured as the others are, and restarted for it where it has to be.
            let variant = self.hosts.get(number).map(|host| host.variant).unwrap_or_default();
            if variant != Variant::Usual {
                let in_place = variant.is_taken_over() && self.is_able(number);
                if !in_place {
                    self.kill(number, false);
                }
                self.trouble(number, |host| host.variant = Variant::Usual);
                if in_place {
                    self.take_over(number);
                }
            }
            // One that is in the middle of an orderly stop is started again when it has ended.
            self.start(number);
        }
        self.end_step();
        self.oracle.mark(self.now);
    }

    /// P2's bounds, with the world as it stands.
    pub(super) fn check_p2(&mut self) {
        if self.plan.mode != Mode::Unarbitrated {
            return;
        }
        let running = self.hosts.iter().all(Host::is_running);
        let works = |from: usize, to: usize| {
            self.network.paths().any(|path| matches!(path, Path::Link(_)) && !self.network.is_cut(from, to, path))
        };
        let (there, back) = (works(0, 1), works(1, 0));
        let limit = match (running, there, back) {
            (true, true, true) => Some(X_SYM),
            (true, true, false) | (true, false, true) => Some(X_ASYM),
            (true, false, false) | (false, _, _) => None,
        };
        self.oracle.check_overlap(self.now, || limit);
    }

    /// Whether a host's agent could hold now.
    pub(super) fn is_able(&self, number: usize) -> bool {
        matches!(self.hosts.get(number).and_then(|host| host.machine.as_ref()), Some(Machine::Agent(_)))
    }
}
