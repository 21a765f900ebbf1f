//! All virtual servers of a node: events in, actions out.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::checker::{Outcome, Try, Turn};
use super::former::Former;
use super::handed::Handed;
use super::service::{Server, Service};
use super::settings::{BalanceSettings, CheckerKind, ServiceSettings};
use super::wanted::Wanted;
use crate::jitter::Jitter;
use crate::time::Instant;

/// Where a check stands in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The virtual server.
    pub service: usize,
    /// Its real server.
    pub server: usize,
    /// Its check.
    pub checker: usize,
}

/// What comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// A try has ended.
    Ended {
        /// The number that [`Action::Probe`] gave.
        run: u64,
        /// How.
        outcome: Outcome,
    },
    /// A check of [`CheckerKind::Told`] has something to say.
    Told {
        /// Which.
        place: Place,
        /// What.
        outcome: Outcome,
    },
    /// The address of a virtual server is on this node now, or not any more. Before the first one it is not.
    Held {
        /// Which.
        service: usize,
        /// Whether it is.
        is_held: bool,
    },
    /// A real server is to get no new connections, or is to get them again.
    Drain {
        /// The virtual server.
        service: usize,
        /// Its real server.
        server: usize,
        /// Whether it is to be empty.
        is_draining: bool,
    },
    /// All of it ends.
    Stop,
}

/// What goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make a try; [`Event::Ended`] is to follow.
    Probe {
        /// Of which check.
        place: Place,
        /// Which of its steps.
        step: u32,
        /// What the answer names.
        run: u64,
    },
    /// What the kernel's table should hold of a virtual server.
    Wanted(Wanted),
    /// A real server came or went.
    Server {
        /// By the names of the configuration: after a reload its place may be another's.
        service: String,
        /// The real server's own.
        server: String,
        /// Its place; `None`: it is not configured any more.
        place: Option<(usize, usize)>,
        /// Whether it is up.
        is_up: bool,
        /// Why it went.
        why: String,
    },
    /// A quorum was gained or lost.
    Quorum {
        /// The virtual server.
        service: String,
        /// Its place; `None`: it is not configured any more.
        place: Option<usize>,
        /// Whether it is there.
        is_up: bool,
        /// The weights, in words.
        why: String,
    },
    /// A try failed, and that is to be told although nothing changes by it.
    Failed {
        /// Of which check.
        place: Place,
        /// How.
        why: String,
        /// How many further tries come before the server counts as down; `None`: it is down already.
        left: Option<u32>,
    },
}

/// All virtual servers.
#[derive(Debug, Clone)]
pub struct Balance {
    services: Vec<Service>,
    init_notifies: bool,
    jitter: Jitter,
    runs: u64,
    /// Tries that are under way.
    running: BTreeMap<u64, Place>,
    /// When each check has something to do; each knows by itself where it stands here.
    timers: BTreeSet<(Instant, Place)>,
    /// Virtual servers with a slow start: each event looks at them, and at no others.
    slow: Vec<usize>,
}

impl Balance {
    /// The machine, and what is to be done at once: what the tables should hold, and the quorums that are there.
    pub fn new(settings: &BalanceSettings, seed: u64, now: Instant) -> (Self, Vec<Action>) {
        let mut jitter = Jitter::new(seed);
        let services = settings.services.iter().map(|service| Service::new(service, now, &mut jitter)).collect();
        let mut balance = Balance::of(services, settings, jitter);
        let mut actions = Vec::new();
        for at in 0..balance.services.len() {
            balance.begin(at, &[], now, &mut actions);
        }
        balance.index();
        (balance, actions)
    }

    /// The machine that goes on with what another process of the same boot has handed on ([`super::handed`]), and what is
    /// to be done at once: what the tables should hold. By this configuration, as after a reload: whoever is there still
    /// is as it was, and is told of to nobody.
    pub fn resume(settings: &BalanceSettings, seed: u64, handed: Handed, now: Instant) -> (Self, Vec<Action>) {
        let mut jitter = Jitter::new(seed);
        let services = handed.services(now, &mut jitter);
        let mut balance = Balance::of(services, settings, jitter);
        let actions = balance.reconfigure(settings, now);
        (balance, actions)
    }

    fn of(services: Vec<Service>, settings: &BalanceSettings, jitter: Jitter) -> Self {
        Balance {
            services,
            init_notifies: settings.init_notifies,
            jitter,
            runs: 0,
            running: BTreeMap::new(),
            timers: BTreeSet::new(),
            slow: Vec::new(),
        }
    }

    /// Another configuration. Whoever is still there goes on as it is.
    pub fn reconfigure(&mut self, settings: &BalanceSettings, now: Instant) -> Vec<Action> {
        self.init_notifies = settings.init_notifies;
        let mut actions = Vec::new();
        let mut known = Former::new(core::mem::take(&mut self.services), |service| &service.settings.name);
        for (at, new) in settings.services.iter().enumerate() {
            let mut begun = Vec::new();
            let service = match known.take(&new.name) {
                Some(former) if former.settings == *new => {
                    let mut service = former.again();
                    actions.extend(service.news(at, now).map(Action::Wanted));
                    self.services.push(service);
                    continue;
                }
                Some(former) => {
                    begun = former.servers.iter().map(|server| server.settings.name.clone()).collect();
                    let (service, gone) = Service::after(new, former, now, &mut self.jitter);
                    if new.omega {
                        actions.extend(gone.iter().filter_map(|server| gone_server(new, server)));
                    }
                    service
                }
                None => Service::new(new, now, &mut self.jitter),
            };
            self.services.push(service);
            self.begin(at, &begun, now, &mut actions);
        }
        known.rest().for_each(|service| end(&service, &mut actions));
        self.index();
        actions
    }

    /// What an event leads to.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Tick => {}
            Event::Ended { run, outcome } => {
                if let Some(place) = self.running.remove(&run) {
                    self.outcome(now, place, outcome, &mut actions);
                }
            }
            Event::Told { place, outcome } => {
                let is_told = self.checker(place).is_some_and(|checker| checker.settings.kind == CheckerKind::Told);
                if is_told {
                    self.outcome(now, place, outcome, &mut actions);
                }
            }
            Event::Held { service, is_held } => {
                if let Some(held) = self.services.get_mut(service) {
                    held.hold(is_held, now, &mut self.jitter);
                    self.index();
                }
            }
            Event::Drain { service, server, is_draining } => {
                if let Some(drained) = self.services.get_mut(service) {
                    drained.drain(server, is_draining);
                    actions.extend(drained.news(service, now).map(Action::Wanted));
                }
            }
            Event::Stop => {
                core::mem::take(&mut self.services).iter().for_each(|service| end(service, &mut actions));
                self.index();
            }
        }
        self.tick(now, &mut actions);
        actions
    }

    /// When something is due.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let slow = self.slow.iter().filter_map(|at| self.services.get(*at));
        let ramps = slow.filter_map(|service| service.ramp_deadline(now));
        self.timers.first().map(|(at, _)| *at).into_iter().chain(ramps).min()
    }

    pub(super) fn services(&self) -> &[Service] {
        &self.services
    }

    /// Whether a virtual server has its quorum.
    pub fn has_quorum(&self, service: usize) -> bool {
        self.services.get(service).is_some_and(|service| service.has_quorum)
    }

    /// Its quorum in words: what there is, and how much is needed.
    pub fn quorum_words(&self, service: usize) -> String {
        self.services.get(service).map_or_else(String::new, Service::quorum_words)
    }

    /// The weights of its real servers that are up.
    pub fn living_weight(&self, service: usize) -> u64 {
        self.services.get(service).map_or(0, Service::living_weight)
    }

    /// Whether a real server is up.
    pub fn is_up(&self, service: usize, server: usize) -> bool {
        self.services.get(service).and_then(|service| service.servers.get(server)).is_some_and(|server| server.is_up)
    }

    fn checker(&mut self, place: Place) -> Option<&mut super::checker::Checker> {
        let server = self.services.get_mut(place.service)?.servers.get_mut(place.server)?;
        server.checkers.get_mut(place.checker)
    }

    /// The first word of a virtual server, or of its servers that are not in `begun`.
    fn begin(&mut self, at: usize, begun: &[String], now: Instant, actions: &mut Vec<Action>) {
        let init_notifies = self.init_notifies;
        let Some(service) = self.services.get_mut(at) else { return };
        for number in 0..service.servers.len() {
            // What remains of a server's checks after a reload may all be up.
            let turned = service.turn(number, now);
            let Some(server) = service.servers.get(number) else { continue };
            let is_new = !begun.contains(&server.settings.name);
            if turned && !is_new || is_new && init_notifies && server.is_up {
                actions.push(server_action(service, at, number));
            }
        }
        if service.count() {
            actions.push(quorum_action(service, Some(at)));
        }
        actions.extend(service.news(at, now).map(Action::Wanted));
    }

    fn outcome(&mut self, now: Instant, place: Place, outcome: Outcome, actions: &mut Vec<Action>) {
        let why = match &outcome {
            Outcome::Failed(why) => why.clone(),
            Outcome::Passed | Outcome::Weight(_) | Outcome::Added(_) => String::new(),
        };
        self.count(place, matches!(outcome, Outcome::Failed(_)));
        let Some(checker) = self.checker(place) else { return };
        let (turn, tell_all) = (checker.on_outcome(now, outcome), checker.settings.tell_all);
        self.set_timer(place);
        let left = match turn {
            Turn::Retry(left) => Some(left),
            Turn::None | Turn::StillDown | Turn::Weight | Turn::Up | Turn::Down => None,
        };
        match turn {
            Turn::None => {}
            Turn::Retry(_) | Turn::StillDown => {
                if tell_all {
                    actions.push(Action::Failed { place, why, left });
                }
            }
            Turn::Weight | Turn::Up | Turn::Down => self.judge(now, place, actions),
        }
    }

    /// A check has turned: its server, the quorum, the table.
    fn judge(&mut self, now: Instant, place: Place, actions: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(place.service) else { return };
        if service.turn(place.server, now) {
            actions.push(server_action(service, place.service, place.server));
        }
        if service.count() {
            actions.push(quorum_action(service, Some(place.service)));
        }
        actions.extend(service.news(place.service, now).map(Action::Wanted));
    }

    fn count(&mut self, place: Place, has_failed: bool) {
        let service = self.services.get_mut(place.service);
        if let Some(server) = service.and_then(|service| service.servers.get_mut(place.server)) {
            server.checks = server.checks.saturating_add(1);
            server.failed = server.failed.saturating_add(has_failed.into());
        }
    }

    /// What time brings: tries that are due or lost, weights that grow.
    fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, place)) = self.timers.pop_first() else { break };
            if let Some(checker) = self.checker(place) {
                checker.timer = None;
            }
            self.time(now, place, actions);
        }
        for at in &self.slow {
            let news = self.services.get_mut(*at).and_then(|service| service.news(*at, now));
            actions.extend(news.map(Action::Wanted));
        }
    }

    fn time(&mut self, now: Instant, place: Place, actions: &mut Vec<Action>) {
        let Some(checker) = self.checker(place) else { return };
        let run = checker.run();
        if let Some(lost) = checker.lost(now) {
            if let Some(run) = run {
                self.running.remove(&run);
            }
            self.outcome(now, place, lost, actions);
            return;
        }
        let mut runs = self.runs;
        let made = self.checker(place).and_then(|checker| checker.due(now, &mut runs));
        self.runs = runs;
        if let Some(Try { step, run }) = made {
            self.running.insert(run, place);
            actions.push(Action::Probe { place, step, run });
        }
        self.set_timer(place);
    }

    fn set_timer(&mut self, place: Place) {
        let Some(checker) = self.checker(place) else { return };
        let at = checker.deadline();
        let former = core::mem::replace(&mut checker.timer, at);
        if former == at {
            return;
        }
        if let Some(former) = former {
            self.timers.remove(&(former, place));
        }
        self.timers.extend(at.map(|at| (at, place)));
    }

    /// Timers and tries of all checks, and who starts slowly, by what they are.
    fn index(&mut self) {
        let services = self.services.iter().enumerate();
        self.slow = services.filter(|(_, of)| !of.settings.slow_start.is_zero()).map(|(at, _)| at).collect();
        self.timers.clear();
        self.running.clear();
        for (service, of) in self.services.iter_mut().enumerate() {
            for (server, of) in of.servers.iter_mut().enumerate() {
                for (number, checker) in of.checkers.iter_mut().enumerate() {
                    let place = Place { service, server, checker: number };
                    checker.timer = checker.deadline();
                    self.timers.extend(checker.timer.map(|at| (at, place)));
                    self.running.extend(checker.run().map(|run| (run, place)));
                }
            }
        }
    }
}

fn server_action(service: &Service, at: usize, number: usize) -> Action {
    let server = service.servers.get(number);
    Action::Server {
        service: service.settings.name.clone(),
        server: server.map_or_else(String::new, |server| server.settings.name.clone()),
        place: Some((at, number)),
        is_up: server.is_some_and(|server| server.is_up),
        why: server.map_or_else(String::new, Server::fault),
    }
}

fn quorum_action(service: &Service, place: Option<usize>) -> Action {
    let why = service.quorum_words();
    Action::Quorum { service: service.settings.name.clone(), place, is_up: service.has_quorum, why }
}

/// A real server that ends; one that was down has been told of already.
fn gone_server(service: &ServiceSettings, server: &Server) -> Option<Action> {
    server.is_up.then(|| Action::Server {
        service: service.name.clone(),
        server: server.settings.name.clone(),
        place: None,
        is_up: false,
        why: String::from("it ends (omega)"),
    })
}

/// A virtual server that ends: what was up goes down, if it is to be told.
fn end(service: &Service, actions: &mut Vec<Action>) {
    if !service.settings.omega {
        return;
    }
    actions.extend(service.servers.iter().filter_map(|server| gone_server(&service.settings, server)));
    if service.has_quorum {
        let why = "it ends (omega)".to_string();
        actions.push(Action::Quorum { service: service.settings.name.clone(), place: None, is_up: false, why });
    }
}
