//! Connections of many checks: begun together, and looked at together.
//!
//! The keeper wakes on a grid and begins what is due by then. One poll(2) tells which of those are there, at once and, for
//! servers that are further away, once more at the next point of the grid. Only who has not answered by then is given to
//! the runtime, whose epoll costs each connection two calls and a wake-up of its own
//! (`docs/decisions/0215-checks-on-a-grid.md`). An answer is waited for in the same way, in HTTP without TLS.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use keepone_config::Config;
use keepone_config::model::{Checker, Probe, Target};
use keepone_proto::balance::machine::Place;
use keepone_proto::time::Instant;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use super::exchange::Exchange;
use super::{Fault, socket};
use crate::clock;

/// What is due is begun so much later at most.
const GRID: Duration = Duration::from_millis(5);
/// And at most by this part of the shortest time that some check waits.
const PART: u32 = 100;

/// The distance of wake-ups for these checks; zero: each comes at its own time.
pub(super) fn grid<'a>(checkers: impl Iterator<Item = &'a Checker>) -> Duration {
    let shortest = |checker: &Checker| {
        let timing = &checker.timing;
        // Where there is no retry nobody waits for it.
        let retry = Some(timing.delay_before_retry).filter(|_| timing.retry > 0);
        retry.map_or(timing.interval, |retry| retry.min(timing.interval))
    };
    checkers.map(shortest).min().map_or(GRID, |shortest| GRID.min(shortest / PART))
}

/// A try whose connection has begun.
pub(super) struct Dial {
    /// The configuration that it is made by, and where it stands in there.
    pub(super) config: Arc<Config>,
    pub(super) place: Place,
    pub(super) step: u32,
    pub(super) run: u64,
    pub(super) connection: Socket,
    /// What is said over it, once it is there.
    pub(super) exchange: Option<Exchange>,
    /// When its time is over, connection and exchange together.
    pub(super) until: Instant,
}

impl Dial {
    /// Begins.
    ///
    /// # Errors
    /// What the kernel refused at once.
    pub(super) fn begin(
        config: &Arc<Config>,
        target: &Target,
        (place, step, run): (Place, u32, u64),
    ) -> Result<Self, Fault> {
        let until = clock::now() + target.timeout;
        let connection = match checked(config, place) {
            Some(probe) => super::begun(probe, target)?,
            None => socket::begin(target)?,
        };
        Ok(Dial { config: Arc::clone(config), place, step, run, connection, exchange: None, until })
    }
}

/// The check that stands there.
pub(super) fn checked(config: &Config, place: Place) -> Option<&Probe> {
    let server = config.virtual_servers.get(place.service)?.real_servers.get(place.server)?;
    server.checkers.get(place.checker).map(|checker| &checker.probe)
}

/// What was seen of a connection.
pub(super) enum Seen {
    /// It is there; or there is something to be read, where an exchange is under way.
    Open,
    /// There will be none.
    Failed(Fault),
    /// Nothing yet.
    Nothing,
}

/// Those that nobody has been told of yet.
#[derive(Default)]
pub(super) struct Dials {
    begun: Vec<Dial>,
    /// Looked at once.
    waiting: Vec<Dial>,
    /// When those are looked at again.
    again: Option<Instant>,
}

impl Dials {
    pub(super) fn push(&mut self, dial: Dial) {
        self.begun.push(dial);
    }

    /// Has it looked at once more, for the answer; given back where its time may be over by then.
    pub(super) fn hear(&mut self, dial: Dial, grid: Duration) -> Option<Dial> {
        let now = clock::now();
        if dial.until <= now + grid * 4 {
            return Some(dial);
        }
        self.waiting.push(dial);
        self.wait(now, grid);
        None
    }

    fn wait(&mut self, now: Instant, grid: Duration) {
        if self.again.is_none() {
            self.again = Some(clock::together(now + grid / 2, grid));
        }
    }

    /// When it is time to look.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.begun.is_empty() { self.again } else { Some(Instant::BOOT) }
    }

    /// Adds what has come of those that it was time to look at. [`Seen::Nothing`] is said of those that were looked at
    /// for the last time.
    pub(super) fn look(&mut self, grid: Duration, seen: &mut Vec<(Dial, Seen)>) {
        let now = clock::now();
        if self.again.is_some_and(|again| again <= now) {
            self.again = None;
            glance(&mut self.waiting, |dial, what| seen.push((dial, what)));
        }
        let soon = now + grid * 4;
        glance(&mut self.begun, |dial, what| match what {
            // By then its time may be over, and nobody could say whether it was there before.
            Seen::Nothing if dial.until > soon => self.waiting.push(dial),
            Seen::Nothing | Seen::Open | Seen::Failed(_) => seen.push((dial, what)),
        });
        if !self.waiting.is_empty() {
            self.wait(now, grid);
        }
    }
}

/// Takes them out, each with what is seen of it.
fn glance(dials: &mut Vec<Dial>, mut tell: impl FnMut(Dial, Seen)) {
    if dials.is_empty() {
        return;
    }
    let wanted = |dial: &Dial| if dial.exchange.is_some() { PollFlags::POLLIN } else { PollFlags::POLLOUT };
    let mut polled: Vec<PollFd<'_>> =
        dials.iter().map(|dial| PollFd::new(dial.connection.as_fd(), wanted(dial))).collect();
    // Where it can't be asked (no memory) nothing is seen, and the runtime waits for all of them.
    let asked = poll(&mut polled, PollTimeout::ZERO);
    let found: Vec<PollFlags> =
        polled.iter().map(|polled| polled.revents().filter(|_| asked.is_ok()).unwrap_or(PollFlags::empty())).collect();
    for (dial, found) in dials.drain(..).zip(found) {
        let what = look_at(&dial, found);
        tell(dial, what);
    }
}

fn look_at(dial: &Dial, found: PollFlags) -> Seen {
    if found.is_empty() {
        return Seen::Nothing;
    }
    // Whoever reads hears of a failure, behind what came before it.
    if dial.exchange.is_some() || !found.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
        return Seen::Open;
    }
    socket::fault(&dial.connection).map_or(Seen::Open, Seen::Failed)
}
