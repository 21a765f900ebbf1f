//! One virtual server: which of its real servers are up, whether they are a quorum, and who is in the table.
//!
//! The quorum is of weights of real servers that are up, as keepalived counts: gained at `quorum + hysteresis`, lost
//! below `quorum - hysteresis`. Where a sorry server is named it serves while the quorum is lost, and nobody else does;
//! where none is, whoever is up goes on.
//!
//! What must stay true: without an outcome, nobody's state changes; a drained or slowly starting server counts with its
//! whole weight, since it is well.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::checker::{Checker, Say};
use super::former::Former;
use super::settings::{MAX_WEIGHT, ServerSettings, ServiceSettings};
use super::wanted::Wanted;
use crate::jitter::Jitter;
use crate::time::{Instant, nanos};

/// In so many steps the weight of a server that comes back grows.
const RAMP_STEPS: u32 = 20;

/// One real server.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Without those of its checks.
    pub(super) settings: ServerSettings,
    pub(super) checkers: Vec<Checker>,
    pub(super) is_up: bool,
    /// Since when its weight grows.
    pub(super) ramp: Option<Instant>,
    pub(super) is_draining: bool,
    /// Tries that have ended.
    pub(super) checks: u64,
    /// Those of them that failed.
    pub(super) failed: u64,
}

impl Server {
    pub(super) fn new(settings: &ServerSettings, now: Instant, jitter: &mut Jitter) -> Self {
        let checkers: Vec<Checker> =
            settings.checkers.iter().map(|checker| Checker::new(checker, now, jitter)).collect();
        let is_up = checkers.iter().all(Checker::is_up);
        Server { settings: own(settings), checkers, is_up, ramp: None, is_draining: false, checks: 0, failed: 0 }
    }

    /// Under another configuration: what is known of each check that is still there stays.
    fn after(settings: &ServerSettings, mut former: Server, now: Instant, jitter: &mut Jitter) -> Self {
        let mut known = core::mem::take(&mut former.checkers);
        let was_up = former.is_up;
        let checkers = settings.checkers.iter().map(|new| {
            let at = known.iter().position(|checker| checker.settings.key == new.key);
            match at {
                Some(at) => Checker::after(new, known.swap_remove(at), now, jitter),
                None => Checker::new(new, now, jitter).like_server(was_up),
            }
        });
        let checkers = checkers.collect::<Vec<_>>();
        Server { settings: own(settings), checkers, ..former }
    }

    /// Up while all checks are.
    pub(super) fn are_all_up(&self) -> bool {
        self.checkers.iter().all(Checker::is_up)
    }

    /// Its weight by what is configured and what its checks say; those that only add do so to what the others set.
    pub(super) fn weight(&self) -> u32 {
        let configured = i64::from(self.settings.weight);
        let part = |checker: &Checker| match checker.say() {
            Say::Nothing => 0,
            Say::Weight(weight) => i64::from(weight).saturating_sub(configured),
            Say::Added(added) => added,
        };
        let sum = self.checkers.iter().map(part).fold(configured, i64::saturating_add);
        u32::try_from(sum.clamp(0, i64::from(MAX_WEIGHT))).unwrap_or(0)
    }

    /// What the table gets while it serves.
    fn weight_now(&self, now: Instant, slow_start: Duration) -> u32 {
        let whole = self.weight();
        if self.is_draining {
            return 0;
        }
        let Some(step) = self.ramp_step(now, slow_start) else { return whole };
        let part = u64::from(whole) * u64::from(step + 1) / u64::from(RAMP_STEPS + 1);
        u32::try_from(part).unwrap_or(whole).max(1).min(whole)
    }

    /// How far it is; `None`: its weight is whole.
    fn ramp_step(&self, now: Instant, slow_start: Duration) -> Option<u32> {
        let since = self.ramp?;
        let one = slow_start / RAMP_STEPS;
        let step = nanos(now.since(since)) / nanos(one).max(1);
        u32::try_from(step).ok().filter(|step| *step < RAMP_STEPS)
    }

    fn ramp_deadline(&self, now: Instant, slow_start: Duration) -> Option<Instant> {
        let step = self.ramp_step(now, slow_start)?;
        Some(self.ramp? + slow_start / RAMP_STEPS * (step + 1))
    }

    /// Why it is down: the first check that is.
    pub(super) fn fault(&self) -> String {
        self.checkers.iter().find(|checker| !checker.is_up()).map_or_else(String::new, |checker| checker.fault().into())
    }
}

/// What a real server goes by, beside its checks, each of which has its own settings.
fn own(settings: &ServerSettings) -> ServerSettings {
    ServerSettings { name: settings.name.clone(), checkers: Vec::new(), ..*settings }
}

/// One virtual server.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) settings: ServiceSettings,
    pub(super) servers: Vec<Server>,
    pub(super) has_quorum: bool,
    /// Its address is elsewhere, and that suspends its checks.
    pub(super) is_suspended: bool,
    /// What was last told.
    pub(super) told: Option<Wanted>,
}

impl Service {
    pub(super) fn new(settings: &ServiceSettings, now: Instant, jitter: &mut Jitter) -> Self {
        let servers: Vec<Server> = settings.servers.iter().map(|server| Server::new(server, now, jitter)).collect();
        let mut service =
            Service { settings: settings.clone(), servers, has_quorum: false, is_suspended: false, told: None };
        // Until it is known where the address is, it is not here.
        if settings.ha_suspend {
            service.hold(false, now, jitter);
        }
        service
    }

    /// Under another configuration; real servers that are gone.
    pub(super) fn after(
        settings: &ServiceSettings,
        former: Service,
        now: Instant,
        jitter: &mut Jitter,
    ) -> (Self, Vec<Server>) {
        let mut known = Former::new(former.servers, |server| &server.settings.name);
        let servers = settings.servers.iter().map(|new| match known.take(&new.name) {
            Some(former) => Server::after(new, former, now, jitter),
            None => Server::new(new, now, jitter),
        });
        let servers = servers.collect();
        let mut service = Service { settings: settings.clone(), servers, told: None, ..former };
        let is_held = !service.is_suspended;
        service.is_suspended = false;
        // Checks that are new begin as the others are.
        service.hold(is_held || !settings.ha_suspend, now, jitter);
        (service, known.rest().collect())
    }

    /// Under a configuration that has the same of it. What the table should hold is told all the same: of what was told
    /// last nobody knows whether it was heard before the reload, and by which place.
    pub(super) fn again(self) -> Self {
        Service { told: None, ..self }
    }

    /// The address is on this node, or not.
    pub(super) fn hold(&mut self, is_held: bool, now: Instant, jitter: &mut Jitter) {
        self.is_suspended = self.settings.ha_suspend && !is_held;
        for checker in self.servers.iter_mut().flat_map(|server| &mut server.checkers) {
            if self.is_suspended { checker.suspend() } else { checker.resume(now, jitter) }
        }
    }

    pub(super) fn drain(&mut self, server: usize, is_draining: bool) {
        if let Some(server) = self.servers.get_mut(server) {
            server.is_draining = is_draining;
        }
    }

    /// Weights of all that are up.
    pub(super) fn living_weight(&self) -> u64 {
        self.servers.iter().filter(|server| server.is_up).map(|server| u64::from(server.weight())).sum()
    }

    /// Whether the quorum has changed; what it is now is [`Self::has_quorum`].
    pub(super) fn count(&mut self) -> bool {
        let weight = self.living_weight();
        let (quorum, hysteresis) = (u64::from(self.settings.quorum), u64::from(self.settings.hysteresis));
        let now = if self.has_quorum {
            weight >= quorum.saturating_sub(hysteresis).max(1)
        } else {
            weight >= quorum + hysteresis
        };
        core::mem::replace(&mut self.has_quorum, now) != now
    }

    /// The quorum in words.
    pub(super) fn quorum_words(&self) -> String {
        let (quorum, hysteresis) = (self.settings.quorum, self.settings.hysteresis);
        let weight = self.living_weight();
        let sign = if self.has_quorum { '+' } else { '-' };
        format!("a weight of {weight}, where the quorum is {quorum}{sign}{hysteresis}")
    }

    /// Whether the server has come or gone; what it is now is in it.
    pub(super) fn turn(&mut self, server: usize, now: Instant) -> bool {
        let slow = !self.settings.slow_start.is_zero();
        let Some(server) = self.servers.get_mut(server) else { return false };
        let up = server.are_all_up();
        let turned = core::mem::replace(&mut server.is_up, up) != up;
        if turned {
            server.ramp = (up && slow).then_some(now);
        }
        turned
    }

    /// What the table should hold.
    pub(super) fn wanted(&self, virtual_server: usize, now: Instant) -> Wanted {
        let sorry = !self.has_quorum && self.settings.has_sorry;
        let of = |server: &Server| {
            if server.is_up && !sorry {
                return Some(server.weight_now(now, self.settings.slow_start));
            }
            server.settings.inhibit.then_some(0)
        };
        Wanted { virtual_server, servers: self.servers.iter().map(of).collect(), sorry }
    }

    /// The same, if it is not what was told last.
    pub(super) fn news(&mut self, virtual_server: usize, now: Instant) -> Option<Wanted> {
        let wanted = self.wanted(virtual_server, now);
        if self.told.as_ref() == Some(&wanted) {
            return None;
        }
        self.told = Some(wanted.clone());
        Some(wanted)
    }

    /// When a weight grows.
    pub(super) fn ramp_deadline(&self, now: Instant) -> Option<Instant> {
        let slow = self.settings.slow_start;
        self.servers.iter().filter(|server| server.is_up).filter_map(|server| server.ramp_deadline(now, slow)).min()
    }
}
