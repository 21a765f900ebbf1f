//! The judge: knows real time and every host, and holds the history against the invariants of the safety
//! design, called by their numbers.
//!
//! "Open" is what the kernel would let pass at a real instant, whether or not the agent lives. A frame
//! that has passed the gate may be on its way for E_tx more, and counts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use keepone_proto::action::{Action, AlertName, Transition};
use keepone_proto::decision::Role;
use keepone_proto::id::{DomainId, Epoch};
use keepone_proto::time::{Instant, nanos};
use keepone_proto::wire::lease::{Envelope, Message};

use super::host::Host;
use super::network::MS;
use super::plan::{Mode, Plan};

/// Rounding of two clocks.
const SLACK: u64 = 10_000;

/// One invariant that did not hold, the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The number of the invariant, as the safety design has it.
    pub rule: &'static str,
    /// Real time in nanoseconds from the beginning of the history.
    pub at: u64,
    /// What was seen.
    pub what: String,
}

/// What is known of one voter's loan of one domain.
#[derive(Debug, Clone, Copy, Default)]
struct Loan {
    epoch: Option<Epoch>,
    until: Instant,
}

#[derive(Debug, Clone)]
struct VoterLife {
    started: Instant,
    loans: Vec<Loan>,
    recorded: Vec<Option<Epoch>>,
    /// What it does next is to take back what it could not write.
    unwritten: bool,
}

/// One domain over the whole cluster.
#[derive(Debug, Clone)]
pub struct DomainWatch {
    /// Until when each host's gate is, or was, open.
    until: Vec<u64>,
    /// Since when.
    since: Vec<u64>,
    /// Pairs of real time during which each host's gate was open.
    pub spans: Vec<Vec<(u64, u64)>>,
    highest: Option<Epoch>,
    used: BTreeMap<Epoch, (usize, u32)>,
    counted_to: u64,
    /// Two gates open at once, in nanoseconds.
    pub dual: u64,
    /// No gate open.
    pub none: u64,
    /// When some gate was last open, or is until.
    covered_until: u64,
    /// The longest time without an open gate since [`DomainWatch::mark`].
    pub longest_none: u64,
    /// Openings since the mark.
    pub openings: u32,
    /// When the first gate was open at or after the mark.
    pub first_open: Option<u64>,
    /// Since when two gates have been open at once.
    dual_since: Option<u64>,
    /// Times with two gates open that have ended and were not looked at yet.
    dual_ended: Vec<(u64, u64)>,
    mark: u64,
}

/// The judge.
#[derive(Debug, Clone)]
pub struct Oracle {
    mode: Mode,
    transmit: u64,
    gate: u64,
    lease_max_told: u64,
    majority: usize,
    /// First of each kind.
    pub violations: Vec<Violation>,
    /// By domain.
    pub domains: Vec<DomainWatch>,
    voters: BTreeMap<usize, VoterLife>,
    /// A voter has forgotten: epochs may fall.
    pub amnesia: bool,
    /// When anything was last done to the world.
    pub disturbed_at: u64,
    /// Whether `dual-master` was raised by anybody, and when first.
    pub dual_alarm: Option<u64>,
}

impl Oracle {
    /// Nothing has happened.
    pub fn new(plan: &Plan) -> Self {
        let watch = DomainWatch {
            until: vec![0; plan.agents],
            since: vec![0; plan.agents],
            spans: vec![Vec::new(); plan.agents],
            highest: None,
            used: BTreeMap::new(),
            counted_to: 0,
            dual: 0,
            none: 0,
            covered_until: 0,
            longest_none: 0,
            openings: 0,
            first_open: None,
            dual_since: None,
            dual_ended: Vec::new(),
            mark: u64::MAX,
        };
        Oracle {
            mode: plan.mode,
            transmit: nanos(plan.timing.transmit),
            gate: nanos(plan.timing.gate),
            lease_max_told: nanos(plan.told.lease_max),
            majority: plan.hosts / 2 + 1,
            violations: Vec::new(),
            domains: vec![watch; plan.domains],
            voters: BTreeMap::new(),
            amnesia: false,
            disturbed_at: 0,
            dual_alarm: None,
        }
    }

    /// Whether P1 is promised.
    fn is_strict(&self) -> bool {
        self.mode != Mode::Unarbitrated
    }

    /// Notes a violation; only the first of its rule counts.
    pub fn violated(&mut self, rule: &'static str, at: u64, what: impl FnOnce() -> String) {
        if !self.violations.iter().any(|violation| violation.rule == rule) {
            self.violations.push(Violation { rule, at, what: what() });
        }
    }

    /// Counts the time up to `now` with the gates as they stand.
    pub fn advance(&mut self, now: u64) {
        for watch in &mut self.domains {
            watch.advance(now);
        }
    }

    /// From `at` on the cluster is left in peace.
    pub fn mark(&mut self, at: u64) {
        self.advance(at);
        for watch in &mut self.domains {
            watch.mark = at;
            watch.openings = 0;
            watch.longest_none = 0;
            watch.covered_until = watch.covered_until.max(at);
            watch.first_open = watch.until.iter().any(|until| *until > at).then_some(at);
        }
    }

    /// A gate was opened or its deadline moved: I1, I2, I4.
    pub fn on_open(&mut self, now: u64, host: usize, place: usize, hosts: &[Host]) {
        self.advance(now);
        let Some(kernel) = hosts.get(host).and_then(|host| host.kernels.get(place)) else { return };
        let (Some(epoch), until) = (kernel.epoch, kernel.open_until) else { return };
        if until <= now {
            return;
        }
        let life = hosts.get(host).map_or(0, |host| host.life);
        let until = until.saturating_add(self.gate);
        let transmit = self.transmit;
        let (strict, rising) = (self.is_strict(), self.is_strict() && !self.amnesia);
        let Some(watch) = self.domains.get_mut(place) else { return };
        let was_open = watch.until.get(host).is_some_and(|until| *until > now);
        let rival = (0..watch.until.len()).filter(|other| *other != host).find(|other| {
            watch.until.get(*other).is_some_and(|until| *until > 0 && until.saturating_add(transmit) > now + SLACK)
        });
        let rival_until = rival.and_then(|rival| watch.until.get(rival).copied()).unwrap_or(0);
        let (used, fresh) = match watch.used.get(&epoch) {
            Some(user) => (*user != (host, life), false),
            None => (false, true),
        };
        let fell = fresh && rising && watch.highest.is_some_and(|highest| epoch <= highest);
        watch.used.entry(epoch).or_insert((host, life));
        watch.highest = watch.highest.max(Some(epoch));
        watch.opened(now, host, until, was_open);
        if let Some(rival) = rival.filter(|_| strict) {
            self.violated("I1", now, || {
                format!(
                    "gate of host {host} opened under {epoch} while host {rival}'s frames may pass until {} ms",
                    rival_until.saturating_add(transmit) / MS
                )
            });
        }
        if used || fell {
            self.violated("I4", now, || format!("host {host} opened under {epoch}, used before or below the last"));
        }
        if strict {
            self.check_backing(now, host, place, (epoch, until), hosts);
        }
    }

    /// I2: a majority of the voters bars all others until the last frame is gone.
    fn check_backing(&mut self, now: u64, host: usize, place: usize, gate: (Epoch, u64), hosts: &[Host]) {
        let (epoch, until) = gate;
        let gone = until.saturating_add(self.transmit);
        let id = Plan::domain(place);
        let backs = |voter: &Host| {
            // A voter that is down grants nobody, and will wait when it comes back.
            let Some(machine) = voter.voter() else { return true };
            let local = voter.clock.local(now);
            match machine.granted(local, id) {
                Some(granted) if granted.epoch == epoch => {
                    voter.clock.real(granted.until.max(machine.quiet_until())) + SLACK >= gone
                }
                Some(_) => false,
                None => voter.clock.real(machine.quiet_until()) + SLACK >= gone,
            }
        };
        let backing = hosts.iter().filter(|host| backs(host)).count();
        let majority = self.majority;
        if backing < majority {
            self.violated("I2", now, || {
                format!("host {host}'s gate is open until {} ms under {epoch}, backed by {backing} voters", until / MS)
            });
        }
    }

    /// A gate was shut by hand, or its host lost power.
    pub fn on_shut(&mut self, now: u64, host: usize, place: usize) {
        self.advance(now);
        if let Some(watch) = self.domains.get_mut(place) {
            watch.shut(now, host);
        }
    }

    /// A voter has started.
    pub fn on_voter_start(&mut self, host: usize, local: Instant, recorded: Vec<Option<Epoch>>) {
        let loans = vec![Loan::default(); recorded.len()];
        self.voters.insert(host, VoterLife { started: local, loans, recorded, unwritten: false });
    }

    /// A voter could not write what it was about to grant: it never did.
    pub fn on_voter_unwritten(&mut self, host: usize) {
        if let Some(life) = self.voters.get_mut(&host) {
            life.unwritten = true;
        }
    }

    /// Looks at a voter after it has done something: I3, I8, and I7 from the voter's side.
    ///
    /// `transfer`: what it has just handled was a `Transfer`, by which even a waiting voter may pass on what
    /// it remembers.
    pub fn watch_voter(&mut self, now: u64, host: usize, hosts: &[Host], transfer: bool) {
        if !self.is_strict() {
            return;
        }
        let Some((at, voter)) = hosts.get(host).and_then(|host| Some((host, host.voter()?))) else { return };
        let local = at.clock.local(now);
        let unwritten = self.voters.get_mut(&host).is_some_and(|life| core::mem::take(&mut life.unwritten));
        for place in 0..self.domains.len() {
            let granted = voter.granted(local, Plan::domain(place));
            let Some(life) = self.voters.get_mut(&host) else { return };
            let started = life.started;
            if transfer && let Some(recorded) = life.recorded.get_mut(place) {
                *recorded = granted.map(|granted| granted.epoch).or(*recorded);
            }
            let recorded = life.recorded.get(place).copied().flatten();
            let Some(loan) = life.loans.get_mut(place) else { return };
            let former = core::mem::replace(
                loan,
                granted.map_or(Loan::default(), |granted| Loan { epoch: Some(granted.epoch), until: granted.until }),
            );
            let changed = granted.map(|granted| granted.epoch) != former.epoch;
            if !changed || unwritten {
                continue;
            }
            // A node is no rival of itself.
            let same = |epoch: &Epoch| granted.is_some_and(|granted| granted.epoch.node == epoch.node);
            if let Some(epoch) = former.epoch.filter(|epoch| local < former.until && !same(epoch)) {
                self.check_ended(now, host, place, epoch, hosts);
            }
            let quiet = nanos(local.since(started)) < self.lease_max_told;
            // From one loan of this life to the next is I3's business.
            let first = quiet && former.epoch.is_none();
            if let Some(granted) = granted.filter(|granted| first && Some(granted.epoch) != recorded) {
                self.violated("I8", now, || {
                    format!(
                        "voter {host} granted {} before the longest lease had passed since its start",
                        granted.epoch
                    )
                });
            }
        }
    }

    /// I3: a loan that ends before its time is one whose holder's last frame is gone.
    fn check_ended(&mut self, now: u64, voter: usize, place: usize, epoch: Epoch, hosts: &[Host]) {
        let holder = Plan::host(epoch.node);
        let Some(kernel) = hosts.get(holder).and_then(|host| host.kernels.get(place)) else { return };
        let gone = kernel.open_until.saturating_add(self.transmit);
        if kernel.epoch == Some(epoch) && gone > now + SLACK {
            self.violated("I3", now, || {
                format!("voter {voter} ended {epoch} while host {holder}'s frames may pass until {} ms", gone / MS)
            });
        }
    }

    /// What an agent wants done: I6, I7, I10, I11, I22.
    pub fn on_actions(&mut self, now: u64, number: usize, host: &mut Host, actions: &[Action]) {
        // What one batch opens is open for the rest of it: actions are carried out in order.
        let mut opened = [None; 2];
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
                Action::SendLease { bytes, .. } => self.check_farewell(now, number, host, bytes),
                Action::Transition(transition) => self.check_transition(now, number, host, transition),
                Action::Alert(alert) if alert.raised && alert.name == AlertName::DualMaster => {
                    self.dual_alarm = self.dual_alarm.or(Some(now));
                }
                // Every clock here is within rho, and nothing is hidden from any.
                Action::Alert(alert) if alert.raised && alert.name == AlertName::ClockAssumptionViolated => {
                    let what = || format!("host {number} accuses a clock: {}", alert.evidence);
                    self.violated("T1", now, what);
                }
                Action::Advertise { .. }
                | Action::SendBeat { .. }
                | Action::ShutGate { .. }
                | Action::RemoveAddresses { .. }
                | Action::TestGate
                | Action::ReadClock
                | Action::Ping { .. }
                | Action::Mirror { .. }
                | Action::ProbeAddress { .. }
                | Action::Persist { .. }
                | Action::Alert(_)
                | Action::Fence { .. }
                | Action::FeedWatchdog
                | Action::Reboot { .. }
                | Action::Stopped => {}
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
    fn check_farewell(&mut self, now: u64, number: usize, host: &Host, bytes: &[u8]) {
        // Renewals are many; the kind is the third octet.
        if !matches!(bytes.get(2), Some(3 | 4)) {
            return;
        }
        let Ok(envelope) = Envelope::parse(bytes) else { return };
        let (Message::Release { epoch } | Message::Transfer { epoch, .. }) = envelope.message else { return };
        let Some(kernel) = host.kernels.get(Plan::place(envelope.domain)) else { return };
        if kernel.epoch != Some(epoch) {
            return;
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

    /// I22, and I11 for the word MASTER.
    fn check_transition(&mut self, now: u64, number: usize, host: &mut Host, told: &Transition) {
        let place = Plan::place(told.domain);
        if told.to == Role::Master {
            self.check_inside(now, number, host, place, told.epoch, "the word MASTER");
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

    /// P2: how long two gates may be open at once, seen when that ends, or when the world is about to change.
    pub fn check_overlap(&mut self, now: u64, limit: impl Fn() -> Option<u64>) {
        self.advance(now);
        let disturbed = self.disturbed_at;
        let mut worst = None;
        for watch in &mut self.domains {
            let ended = watch.dual_ended.drain(..).chain(watch.dual_since.map(|since| (since, now)));
            for (since, until) in ended {
                worst = worst.max(Some(until.saturating_sub(since.max(disturbed))));
            }
        }
        if let Some(lasted) = worst.filter(|_| self.dual_alarm.is_none())
            && limit().is_some()
            && lasted > 1000 * MS
        {
            self.violated("I23", now, || format!("two gates open for {} ms with a path, and no alarm", lasted / MS));
        }
        if let Some(lasted) = worst
            && let Some(limit) = limit()
            && lasted > limit
        {
            self.violated("I18", now, || format!("two gates open for {} ms with a path between them", lasted / MS));
        }
    }

    /// Which host's gate is open, if exactly one's is.
    pub fn holder(&self, now: u64, place: usize) -> Option<usize> {
        let watch = self.domains.get(place)?;
        let mut open = (0..watch.until.len()).filter(|host| watch.until.get(*host).is_some_and(|until| *until > now));
        let first = open.next();
        first.filter(|_| open.next().is_none())
    }

    /// The state of the gates in words.
    pub fn describe(&self, now: u64, domain: DomainId) -> String {
        let mut text = String::new();
        if let Some(watch) = self.domains.get(Plan::place(domain)) {
            for (host, until) in watch.until.iter().enumerate() {
                let _ = write!(text, " h{host}:{}", if *until > now { "open" } else { "shut" });
            }
        }
        text
    }
}

impl DomainWatch {
    fn advance(&mut self, now: u64) {
        if now <= self.counted_to {
            return;
        }
        let from = self.counted_to;
        self.counted_to = now;
        let (mut largest, mut second) = (0, 0);
        for until in &self.until {
            if *until > largest {
                (second, largest) = (largest, *until);
            } else if *until > second {
                second = *until;
            }
        }
        let dual_end = second.min(now);
        self.dual += dual_end.saturating_sub(from);
        if second > from {
            self.dual_since = self.dual_since.or(Some(from));
        }
        if second <= now
            && let Some(since) = self.dual_since.take()
        {
            self.dual_ended.push((since, dual_end.max(since)));
        }
        let covered = largest.min(now).max(from);
        if largest > from {
            self.covered_until = covered;
        }
        self.none += now - covered;
        if now > self.mark {
            self.longest_none = self.longest_none.max(now - self.covered_until.max(self.mark));
        }
    }

    fn opened(&mut self, now: u64, host: usize, until: u64, was_open: bool) {
        if let (Some(open_until), Some(since)) = (self.until.get_mut(host), self.since.get_mut(host)) {
            if !was_open {
                if *open_until > 0
                    && let Some(spans) = self.spans.get_mut(host)
                {
                    spans.push((*since, *open_until));
                }
                *since = now;
                self.openings += u32::from(now >= self.mark);
            }
            *open_until = until;
        }
        if now >= self.mark {
            self.first_open = self.first_open.or(Some(now));
        }
        if self.until.iter().filter(|until| **until > now).count() > 1 {
            self.dual_since = self.dual_since.or(Some(now));
        }
    }

    fn shut(&mut self, now: u64, host: usize) {
        if let Some(until) = self.until.get_mut(host)
            && *until > now
        {
            *until = now;
        }
        if self.until.iter().filter(|until| **until > now).count() < 2
            && let Some(since) = self.dual_since.take()
        {
            self.dual_ended.push((since, now));
        }
    }

    /// All spans up to `now`, by host.
    pub fn all_spans(&self, now: u64) -> Vec<Vec<(u64, u64)>> {
        let mut spans = self.spans.clone();
        for (host, spans) in spans.iter_mut().enumerate() {
            if let (Some(since), Some(until)) = (self.since.get(host), self.until.get(host))
                && *until > 0
            {
                spans.push((*since, (*until).min(now)));
            }
        }
        spans
    }
}
