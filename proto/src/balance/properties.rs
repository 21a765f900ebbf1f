//! What must hold whatever the outcomes are, in simulated time.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::checker::{Outcome, PATIENCE};
use super::handed::Handed;
use super::machine::{Action, Balance, Event, Place};
use super::settings::{BalanceSettings, CheckerKind, CheckerSettings, MAX_WEIGHT, ServerSettings, ServiceSettings};
use super::wanted::Wanted;
use crate::time::Instant;

fn checker(key: u32) -> impl Strategy<Value = CheckerSettings> {
    let kind = prop_oneof![
        4 => (1_u32..4, any::<bool>()).prop_map(|(steps, fast_recovery)| CheckerKind::Asked { steps, fast_recovery }),
        1 => Just(CheckerKind::Told),
    ];
    (kind, 1_u64..5000, 0_u64..5000, 0_u32..4, 0_u64..2000, any::<bool>(), any::<bool>()).prop_map(
        move |(kind, interval, warmup, retry, delay, alpha, tell_all)| CheckerSettings {
            key: format!("check {key}").into(),
            kind,
            interval: Duration::from_millis(interval),
            warmup: Duration::from_millis(warmup),
            retry,
            delay_before_retry: Duration::from_millis(delay),
            alpha,
            timeout: Duration::from_secs(1),
            tell_all,
        },
    )
}

fn server(name: usize) -> impl Strategy<Value = ServerSettings> {
    let weight = prop_oneof![0_u32..5, Just(MAX_WEIGHT)];
    (weight, any::<bool>(), 0_u32..3).prop_flat_map(move |(weight, inhibit, checks)| {
        let checkers: Vec<_> = (0..checks).map(checker).collect();
        checkers.prop_map(move |checkers| ServerSettings { name: format!("rs {name}"), weight, inhibit, checkers })
    })
}

fn service(name: usize) -> impl Strategy<Value = ServiceSettings> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (1_u32..6, 0_u32..6, flags, 0_u64..3000, 1_usize..4).prop_flat_map(
        move |(quorum, hysteresis, (omega, ha_suspend, has_sorry), slow, count)| {
            let servers: Vec<_> = (0..count).map(server).collect();
            servers.prop_map(move |servers| ServiceSettings {
                name: format!("vs {name}"),
                quorum,
                hysteresis: hysteresis.min(quorum - 1),
                omega,
                ha_suspend,
                has_sorry,
                slow_start: Duration::from_millis(if slow < 1500 { 0 } else { slow }),
                servers,
            })
        },
    )
}

fn settings() -> impl Strategy<Value = BalanceSettings> {
    let services = (1_usize..3).prop_flat_map(|count| (0..count).map(service).collect::<Vec<_>>());
    (services, any::<bool>()).prop_map(|(services, init_notifies)| BalanceSettings { services, init_notifies })
}

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// Time passes, and tries that are under way end, all in this way.
    Ends(u64, Outcome),
    /// They end never.
    Silence(u64),
    Told(Outcome),
    Held(bool),
    Drain(bool),
    Reload,
    /// Another process goes on with what this one knows.
    Upgrade,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Passed),
        4 => Just(Outcome::Failed(String::from("refused"))),
        1 => (0_u32..254).prop_map(Outcome::Weight),
        1 => any::<i64>().prop_map(Outcome::Added),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0_u64..3000, outcome()).prop_map(|(ms, outcome)| Step::Ends(ms, outcome)),
        1 => (0_u64..20_000).prop_map(Step::Silence),
        2 => outcome().prop_map(Step::Told),
        1 => any::<bool>().prop_map(Step::Held),
        1 => any::<bool>().prop_map(Step::Drain),
        1 => Just(Step::Reload),
        1 => Just(Step::Upgrade),
    ]
}

/// The machine, and what a bystander knows from its actions alone.
struct World {
    settings: BalanceSettings,
    balance: Balance,
    now: Instant,
    open: BTreeMap<u64, (Place, Instant)>,
    /// Failures in a row of each check.
    failures: BTreeMap<Place, u32>,
    held: BTreeSet<usize>,
    up: BTreeMap<(usize, usize), bool>,
    quorum: BTreeMap<usize, bool>,
    table: BTreeMap<usize, Wanted>,
}

impl World {
    fn new(settings: BalanceSettings) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let (balance, actions) = Balance::new(&settings, 1, now);
        let mut up = BTreeMap::new();
        for (at, service) in settings.services.iter().enumerate() {
            for (number, server) in service.servers.iter().enumerate() {
                up.insert((at, number), server.checkers.iter().all(|checker| !checker.alpha));
            }
        }
        let mut world = World {
            settings,
            balance,
            now,
            open: BTreeMap::new(),
            failures: BTreeMap::new(),
            held: BTreeSet::new(),
            up,
            quorum: BTreeMap::new(),
            table: BTreeMap::new(),
        };
        world.see(actions, true);
        world
    }

    /// Tries whose outcome is not waited for any more are failures.
    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        let late = Duration::from_secs(1) + PATIENCE;
        let lost: Vec<u64> =
            self.open.iter().filter(|(_, (_, since))| *since + late <= self.now).map(|(run, _)| *run).collect();
        for run in lost {
            let (place, _) = self.open.remove(&run).unwrap();
            self.ended(place, &Outcome::Failed(String::new()));
        }
        self.handle(Event::Tick);
    }

    fn handle(&mut self, event: Event) {
        let actions = self.balance.handle(self.now, event);
        self.see(actions, false);
        if let Some(at) = self.balance.next_deadline(self.now) {
            assert!(at > self.now, "it would never sleep");
        }
    }

    fn see(&mut self, actions: Vec<Action>, is_first: bool) {
        for action in actions {
            match action {
                Action::Probe { place, step, run } => self.probed(place, step, run),
                Action::Wanted(wanted) => {
                    let former = self.table.insert(wanted.virtual_server, wanted.clone());
                    assert_ne!(former, Some(wanted), "nothing new");
                }
                Action::Server { place, is_up, .. } => {
                    let place = place.expect("nobody has gone");
                    let former = self.up.insert(place, is_up);
                    assert!(is_first || former != Some(is_up), "{place:?} twice");
                    if !is_up {
                        self.went(place);
                    }
                }
                Action::Quorum { place, is_up, .. } => {
                    let place = place.expect("nothing has gone");
                    assert_ne!(self.quorum.insert(place, is_up).unwrap_or(false), is_up);
                }
                Action::Failed { .. } => {}
            }
        }
        self.check();
    }

    fn probed(&mut self, place: Place, step: u32, run: u64) {
        let service = &self.settings.services[place.service];
        let settings = &service.servers[place.server].checkers[place.checker];
        let CheckerKind::Asked { steps, .. } = settings.kind else { panic!("{place:?} is told") };
        assert!(step < steps);
        assert!(!service.ha_suspend || self.held.contains(&place.service), "suspended");
        assert!(!self.open.values().any(|(open, _)| *open == place), "beside itself");
        self.open.insert(run, (place, self.now));
    }

    /// One of its checks has failed as often as it may, and once more.
    fn went(&self, (service, server): (usize, usize)) {
        let checkers = &self.settings.services[service].servers[server].checkers;
        let spent = (0..).zip(checkers).any(|(checker, settings)| {
            let place = Place { service, server, checker };
            self.failures.get(&place).copied().unwrap_or(0) > settings.retry
        });
        assert!(spent, "{:?} {:?}", self.failures, checkers);
    }

    fn ended(&mut self, place: Place, outcome: &Outcome) {
        let count = self.failures.entry(place).or_default();
        *count = if matches!(outcome, Outcome::Failed(_)) { *count + 1 } else { 0 };
    }

    fn check(&self) {
        for (at, service) in self.settings.services.iter().enumerate() {
            let wanted = self.table.get(&at).expect("its first word");
            assert_eq!(wanted.servers.len(), service.servers.len());
            let has_quorum = self.quorum.get(&at).copied().unwrap_or(false);
            assert_eq!(wanted.sorry, service.has_sorry && !has_quorum);
            for (number, (weight, server)) in wanted.servers.iter().zip(&service.servers).enumerate() {
                let serves = self.up[&(at, number)] && !wanted.sorry;
                assert_eq!(weight.is_some(), serves || server.inhibit);
                assert!(weight.is_none_or(|weight| weight <= MAX_WEIGHT));
                assert!(serves || weight.is_none_or(|weight| weight == 0));
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ends(ms, outcome) => {
                self.pass(ms);
                for (run, (place, _)) in core::mem::take(&mut self.open) {
                    self.ended(place, &outcome);
                    self.handle(Event::Ended { run, outcome: outcome.clone() });
                    // The same once more says nothing.
                    let again = self.balance.clone().handle(self.now, Event::Ended { run, outcome: outcome.clone() });
                    assert!(again.is_empty(), "{again:?}");
                }
            }
            Step::Silence(ms) => self.pass(ms),
            Step::Told(outcome) => {
                for (service, of) in self.settings.clone().services.iter().enumerate() {
                    for (server, of) in of.servers.iter().enumerate() {
                        for (checker, settings) in of.checkers.iter().enumerate() {
                            if settings.kind == CheckerKind::Told {
                                let place = Place { service, server, checker };
                                self.ended(place, &outcome);
                                self.handle(Event::Told { place, outcome: outcome.clone() });
                            }
                        }
                    }
                }
            }
            Step::Held(is_held) => {
                for service in 0..self.settings.services.len() {
                    let is_new = if is_held { self.held.insert(service) } else { self.held.remove(&service) };
                    if self.settings.services[service].ha_suspend && is_new {
                        if is_held {
                            // Failures count from anew; what is told meanwhile went on counting until now.
                            self.failures.retain(|place, _| place.service != service);
                        } else {
                            self.open.retain(|_, (place, _)| place.service != service);
                        }
                    }
                    self.handle(Event::Held { service, is_held });
                }
            }
            Step::Drain(is_draining) => self.handle(Event::Drain { service: 0, server: 0, is_draining }),
            Step::Reload => {
                let settings = self.settings.clone();
                let actions = self.balance.reconfigure(&settings, self.now);
                self.nothing_new(&actions);
            }
            Step::Upgrade => {
                let handed = Handed::parse(&self.balance.hand_on()).expect("what it has written");
                let before = self.balance.standing(self.now);
                let (next, actions) = Balance::resume(&self.settings, 2, handed, self.now);
                assert_eq!(next.standing(self.now), before);
                (self.balance, self.open) = (next, BTreeMap::new());
                self.nothing_new(&actions);
                assert_eq!(actions.len(), self.settings.services.len(), "each has its word");
            }
        }
        self.quorums();
    }

    /// Nobody comes or goes, and the table is to hold what it holds.
    fn nothing_new(&self, actions: &[Action]) {
        for action in actions {
            let Action::Wanted(wanted) = action else { panic!("nobody comes or goes: {actions:?}") };
            assert_eq!(self.table.get(&wanted.virtual_server), Some(wanted));
        }
    }

    /// Gained at quorum + hysteresis, lost below quorum - hysteresis, and nowhere between.
    fn quorums(&self) {
        for (at, service) in self.settings.services.iter().enumerate() {
            let weight = self.balance.living_weight(at);
            let (quorum, hysteresis) = (u64::from(service.quorum), u64::from(service.hysteresis));
            if self.balance.has_quorum(at) {
                assert!(weight >= quorum - hysteresis, "{weight} is below {quorum} - {hysteresis}");
            } else {
                assert!(weight < quorum + hysteresis, "{weight} is enough for {quorum} + {hysteresis}");
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_outcomes_are(settings in settings(), steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new(settings);
        for step in steps {
            world.step(step);
        }
    }

    #[test]
    fn any_octets_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Handed::parse(&bytes);
    }

    #[test]
    fn what_is_cut_off_is_refused(settings in settings(), at in any::<prop::sample::Index>()) {
        let bytes = World::new(settings).balance.hand_on();
        let cut = at.index(bytes.len());
        prop_assert!(Handed::parse(&bytes[..cut]).is_none());
    }

    #[test]
    fn the_same_settings_seed_and_events_give_the_same_actions_i25(
        settings in settings(), seed in any::<u64>(), waits in prop::collection::vec(0_u64..3000, 0..20)
    ) {
        let mut histories = [(); 2].map(|()| {
            let mut now = Instant::from_nanos(1_000_000_000);
            let (mut balance, mut all) = Balance::new(&settings, seed, now);
            for wait in &waits {
                now += Duration::from_millis(*wait);
                all.extend(balance.handle(now, Event::Tick));
            }
            all
        }).into_iter();
        prop_assert_eq!(histories.next(), histories.next());
    }
}
