//! The judge: knows real time and every host, and holds the history against the invariants of the safety
//! design, called by their numbers.
//!
//! "Open" is what the kernel would let pass at a real instant, whether or not the agent lives. A frame
//! that has passed the gate may be on its way for E_tx more, and counts.

mod alarms;
mod asking;
mod deeds;
mod store;
mod voters;
mod watch;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use keepone_proto::id::{DomainId, Epoch};
use keepone_proto::settings::Policy;
use keepone_proto::time::nanos;

pub use voters::Stale;
pub use watch::DomainWatch;

use super::host::Host;
use super::mutant::Mutant;
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

/// The judge.
#[derive(Debug, Clone)]
pub struct Oracle {
    mode: Mode,
    /// How slow the cluster is.
    pace: u64,
    transmit: u64,
    gate: u64,
    lease_max_told: u64,
    /// Whether every open gate has a majority behind it.
    backed: bool,
    /// The sets of hosts of which each must lend by a majority, by generation.
    sets: Vec<Vec<Vec<usize>>>,
    /// Hosts may stand still for longer than the agents allow for, and their clocks hide it.
    freezes: bool,
    /// Beyond what P1 covers: how long two gates may be open at once.
    bound: Option<u64>,
    /// First of each kind.
    pub violations: Vec<Violation>,
    /// By domain.
    pub domains: Vec<DomainWatch>,
    voters: voters::Voters,
    /// Voters that have forgotten: epochs may fall.
    pub forgot: BTreeSet<usize>,
    /// When anything was last done to the world.
    pub disturbed_at: u64,
    asking: asking::Asking,
    store: store::Shelf,
    /// L_a and R.
    lease: Duration,
    renewal: Duration,
    /// How much later than its deadline a gate may shut.
    jiffy: u64,
    /// Nothing is late in this history: no line is slow, no process stands still (V8).
    pub punctual: bool,
    /// What the agents say of two holders.
    pub alarms: alarms::Alarms,
}

impl Oracle {
    /// Nothing has happened.
    pub fn new(plan: &Plan) -> Self {
        Oracle {
            mode: plan.mode,
            pace: plan.pace,
            transmit: nanos(plan.timing.transmit),
            // Where the kernel looks at each tick only, its lateness is in what it shows.
            gate: if plan.jiffy > 0 { 0 } else { nanos(plan.timing.gate) },
            lease_max_told: nanos(plan.told.lease_max),
            backed: plan.policy == Policy::Strict,
            sets: (0..plan.steps.len().max(1)).map(|place| plan.sets(place)).collect(),
            // What it is judged by without the allowance is its gates, not its words.
            freezes: plan.beyond || plan.mutant == Some(Mutant::NoFreezeAllowance),
            bound: plan.beyond.then(|| plan.overlap_bound()),
            violations: Vec::new(),
            domains: vec![DomainWatch::new(plan.agents); plan.domains],
            voters: Default::default(),
            forgot: BTreeSet::new(),
            disturbed_at: 0,
            asking: asking::Asking::default(),
            store: store::Shelf::new(plan),
            lease: plan.told.lease,
            renewal: plan.told.renewal_interval(),
            jiffy: plan.jiffy + SLACK,
            punctual: false,
            alarms: alarms::Alarms::default(),
        }
    }

    /// Whether P1 is promised.
    fn is_strict(&self) -> bool {
        self.mode != Mode::Unarbitrated && self.bound.is_none()
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

    /// A process opened a gate or moved its deadline: I1, I2, I4.
    pub fn on_open(&mut self, now: u64, host: usize, place: usize, hosts: &[Host]) {
        self.stands_open(now, host, place, hosts, true);
    }

    /// The program of a host was replaced, and the next process goes on under exactly this epoch: it may open under it again
    /// (I4), and under no other one of the process before it.
    pub fn goes_on(&mut self, host: usize, life: u32, place: usize, epoch: Epoch) {
        let user = self.domains.get_mut(place).and_then(|watch| watch.used.get_mut(&epoch));
        // Of what another host, or a life before, had used it is no more its own than of anybody.
        if let Some(user) = user.filter(|(user, former)| *user == host && former.saturating_add(1) == life) {
            *user = (host, life);
        }
    }

    /// A frozen host goes on, and its gate with it. Nobody wrote anything: the process whose epoch it is may be dead
    /// since, so I4 does not ask whose life this is.
    pub fn on_thaw(&mut self, now: u64, host: usize, place: usize, hosts: &[Host]) {
        self.stands_open(now, host, place, hosts, false);
    }

    fn stands_open(&mut self, now: u64, host: usize, place: usize, hosts: &[Host], written: bool) {
        self.advance(now);
        let Some(kernel) = hosts.get(host).and_then(|host| host.kernels.get(place)) else { return };
        let (Some(epoch), until) = (kernel.epoch, kernel.open_until) else { return };
        if until <= now {
            return;
        }
        let life = hosts.get(host).map_or(0, |host| host.life);
        let until = until.saturating_add(self.gate);
        let transmit = self.transmit;
        let (strict, rising) = (self.is_strict(), self.is_strict() && self.forgot.is_empty());
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
        if written {
            watch.used.entry(epoch).or_insert((host, life));
            watch.highest = watch.highest.max(Some(epoch));
        }
        watch.opened(now, host, until, was_open);
        if let Some(rival) = rival.filter(|_| strict) {
            self.violated("I1", now, || {
                format!(
                    "gate of host {host} opened under {epoch} while host {rival}'s frames may pass until {} ms",
                    rival_until.saturating_add(transmit) / MS
                )
            });
        }
        if written && (used || fell) {
            self.violated("I4", now, || format!("host {host} opened under {epoch}, used before or below the last"));
        }
        // On promises a gate is open that no majority of the voters backs (D4).
        if strict && self.backed && self.mode == Mode::Store {
            self.check_key(now, host, place, (epoch, until));
        } else if strict && self.backed {
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
        let step = hosts.get(host).map_or(0, |host| host.step);
        let lacking = self.sets.get(step).into_iter().flatten().find_map(|set| {
            let backing = set.iter().filter_map(|voter| hosts.get(*voter)).filter(|voter| backs(voter)).count();
            (backing <= set.len() / 2).then_some((backing, set.len()))
        });
        if let Some((backing, of)) = lacking {
            self.violated("I2", now, || {
                let until = until / MS;
                format!("host {host}'s gate is open until {until} ms under {epoch}, backed by {backing} of {of} voters")
            });
        }
    }

    /// I9: a frame that names the VIP has passed a host's gate, and is on the wire for a while.
    pub fn on_frame(&mut self, now: u64, host: usize, place: usize, lives: u64) {
        let strict = self.is_strict();
        let Some(watch) = self.domains.get_mut(place) else { return };
        let rival = watch.wire.iter().enumerate().find(|(other, until)| *other != host && **until > now + SLACK);
        let rival = rival.map(|(other, _)| other);
        if let Some(until) = watch.wire.get_mut(host) {
            *until = (*until).max(now + lives);
        }
        if let Some(rival) = rival.filter(|_| strict) {
            self.violated("I9", now, || format!("frames of hosts {rival} and {host} are on the wire at once"));
        }
    }

    /// Beyond P1: what two gates have been open at once stays within the bound.
    pub fn check_bound(&mut self, now: u64) {
        let worst = self.domains.iter().map(|watch| watch.worst(now)).max().unwrap_or(0);
        if let Some(bound) = self.bound.filter(|bound| worst > *bound) {
            self.violated("P1", now, || format!("two gates open for {} ms, bound {} ms", worst / MS, bound / MS));
        }
    }

    /// A gate was shut by hand, or its host lost power.
    pub fn on_shut(&mut self, now: u64, host: usize, place: usize) {
        self.advance(now);
        if let Some(watch) = self.domains.get_mut(place) {
            watch.shut(now, host);
        }
    }

    /// P2: how long two gates may be open at once, seen when that ends, or when the world is about to change.
    pub fn check_overlap(&mut self, now: u64, limit: impl Fn() -> Option<u64>) {
        self.advance(now);
        let disturbed = self.disturbed_at;
        let (mut worst, mut untold) = (None, None);
        for (place, watch) in self.domains.iter_mut().enumerate() {
            let ended = watch.dual_ended.drain(..).chain(watch.dual_since.map(|since| (since, now)));
            for (since, until) in ended {
                let since = since.max(disturbed);
                let lasted = Some(until.saturating_sub(since));
                worst = worst.max(lasted);
                if !self.alarms.any_since(place, since) {
                    untold = untold.max(lasted);
                }
            }
        }
        if let Some(lasted) = untold
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
