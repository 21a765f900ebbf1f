//! BFD sessions (RFC 5880, RFC 5881): sockets and time around `proto::bfd`, on one thread for all of them.
//!
//! What must stay true: only packets that have crossed no router, as far as their TTL shows, are taken; what lies in the
//! sockets is heard before any time is judged to be over, so that a thread that was stopped finds no neighbour dead.

mod ways;

use std::io::Read;
use std::num::NonZeroU32;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use keepone_arbiter::realtime::{self, Rank};
use keepone_config::model::BfdInstance;
use keepone_proto::bfd::{Session, SessionSettings};
use keepone_proto::event::Event;
use keepone_proto::id::WatchId;
use keepone_proto::jitter::Jitter;
use keepone_proto::time::Instant;
use keepone_proto::watch::{PATIENCE, RETELL, Reading};
use keepone_proto::wire::bfd::{HOP_LIMIT, State};
use nix::poll::PollTimeout;

use ways::{Ears, Heard, Mouth};

use super::teller::{Gone, Mute, Teller};
use crate::clock;

/// How often the neighbours are told of the end, and how soon after each other.
const PARTINGS: usize = 3;
const PARTING: Duration = Duration::from_millis(5);
/// A session that a reload brings has so long to come up before the core hears that it is down, at least: some of the
/// packets that each side sends every second till then. And at most: soon after, silence is a fault by itself.
const SETTLES: Duration = Duration::from_secs(3);
const LONGEST_QUIET: Duration = Duration::from_secs(10);
const _: () = assert!(LONGEST_QUIET.as_secs() < PATIENCE.as_secs());

/// All sessions that are wanted, each with what the core knows it by.
pub(crate) type Wanted = Vec<(WatchId, BfdInstance)>;

/// The thread's end of the way to it: an octet says that another list waits, its close that all is to end.
#[derive(Debug)]
pub(crate) struct Orders {
    pub(crate) lists: mpsc::Receiver<Wanted>,
    pub(crate) wake: UnixStream,
}

impl Orders {
    /// The newest list that waits, if one does.
    fn newest(&self) -> Result<Option<Wanted>, Gone> {
        match (&self.wake).read(&mut [0; 64]) {
            Ok(0) => Err(Gone),
            // What goes wrong with the rest comes again with the next wait.
            Ok(_) | Err(_) => Ok(self.lists.try_iter().last()),
        }
    }
}

/// Serves them until the core is gone, or the other side of `orders` is closed; then the neighbours are told.
pub(crate) fn serve(wanted: Wanted, orders: &Orders, events: Events) {
    // A detection time may be tens of milliseconds. But anybody can send to its port: a flood must not keep whoever
    // decides from a processor.
    realtime::ask(Rank::CarriesOut);
    let mut sessions = Sessions::new(wanted, events, clock::now());
    let mut ears = Ears::default();
    loop {
        ears.open(&sessions.all);
        if ears.wait(&orders.wake, sessions.timeout(clock::now())) {
            match orders.newest() {
                Ok(Some(wanted)) => sessions.set(wanted, clock::now()),
                Ok(None) => {}
                Err(Gone) => return sessions.part(),
            }
        }
        ears.hear(&mut sessions.all);
        if sessions.serve(&ears).is_err() {
            return sessions.part();
        }
    }
}

type Events = tokio::sync::mpsc::Sender<Event>;

/// All of them.
struct Sessions {
    all: Vec<Served>,
    leaving: Vec<Leaving>,
    events: Events,
    jitter: Jitter,
}

/// One whose neighbour is being told that it is not wanted any more.
struct Leaving {
    served: Served,
    /// So many times more, the next one at `at`.
    left: usize,
    at: Instant,
}

impl Sessions {
    fn new(wanted: Wanted, events: Events, now: Instant) -> Self {
        let mut sessions = Sessions { all: Vec::new(), leaving: Vec::new(), events, jitter: Jitter::new(seed()) };
        sessions.all = wanted.into_iter().map(|(id, settings)| sessions.begin(id, settings, now)).collect();
        sessions
    }

    fn begin(&mut self, id: WatchId, settings: BfdInstance, now: Instant) -> Served {
        let teller = teller(id, &settings, &self.events);
        Served::new((id, settings), teller, &mut self.jitter, now)
    }

    /// Others are wanted. Those that are the same go on untouched; those with the same neighbour go on under their new
    /// settings; the neighbours of those that are no more are told.
    fn set(&mut self, wanted: Wanted, now: Instant) {
        let mut former = std::mem::take(&mut self.all);
        let mut new = Vec::new();
        for (id, settings) in wanted {
            let known = former.iter().position(|served| served.is_of(&settings));
            match known.map(|at| former.swap_remove(at)) {
                Some(served) if served.id == id => self.all.push(served),
                Some(mut served) => {
                    served.become_of(id, settings, &self.events, now);
                    self.all.push(served);
                }
                None => new.push((id, settings)),
            }
        }
        self.leaving.extend(former.into_iter().map(|served| Leaving { served, left: PARTINGS, at: now }));
        // After the last word of a former session with the same neighbour.
        let begins = now + PARTING * u32::try_from(PARTINGS).unwrap_or(u32::MAX);
        for (id, settings) in new {
            let mut served = self.begin(id, settings, begins);
            let longest = served.settings.idle_tx.max(SETTLES / 3) * 3;
            served.quiet_until = Some(now + longest.min(LONGEST_QUIET));
            self.all.push(served);
        }
    }

    fn timeout(&self, now: Instant) -> PollTimeout {
        let deadlines = self.all.iter().filter_map(|served| served.session.next_deadline());
        let next = deadlines.chain(self.leaving.iter().map(|leaving| leaving.at)).min();
        if next.is_none() && self.all.is_empty() {
            return PollTimeout::NONE;
        }
        let left = next.map_or(RETELL, |at| at.since(now)).min(RETELL / 3);
        // Upwards: one that is woken before its time has nothing to do yet.
        PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::ZERO)
    }

    /// What is due by the clock, and what the core is to know.
    fn serve(&mut self, ears: &Ears) -> Result<(), Gone> {
        for served in &mut self.all {
            if let Some(control) = served.session.on_timer(clock::now()) {
                served.mouth.say(&served.settings, &control, &mut self.jitter);
            }
            served.tell(ears, clock::now())?;
        }
        let (now, jitter) = (clock::now(), &mut self.jitter);
        self.leaving.retain_mut(|leaving| {
            if now < leaving.at {
                return true;
            }
            leaving.at = now + PARTING;
            leaving.left = leaving.left.saturating_sub(1);
            leaving.served.hold_down(jitter) && leaving.left > 0
        });
        Ok(())
    }

    /// Tells the neighbours that the sessions are not wanted any more. RFC 5880, 6.8.16, would have it said for a detection
    /// time: for who ends, some times in a row must do.
    fn part(mut self) {
        for round in 0..PARTINGS {
            if round > 0 {
                std::thread::sleep(PARTING);
            }
            for served in &mut self.all {
                served.hold_down(&mut self.jitter);
            }
        }
    }
}

/// Nobody mutes it: what is not wanted is not there.
fn teller(id: WatchId, settings: &BfdInstance, events: &Events) -> Teller {
    Teller::new(id, &settings.name, events.clone(), Mute::of(&Arc::default()))
}

fn seed() -> u64 {
    let mut bytes = [0; 8];
    // Without one the jitter is the same each time; names of sessions are told apart all the same.
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// A session and its ways.
struct Served {
    /// What the core knows it by.
    id: WatchId,
    settings: BfdInstance,
    session: Session,
    mouth: Mouth,
    teller: Teller,
    /// A reload has brought it: until then it may yet come up.
    quiet_until: Option<Instant>,
}

fn core(settings: &BfdInstance) -> SessionSettings {
    SessionSettings {
        min_tx: settings.min_tx,
        idle_tx: settings.idle_tx,
        min_rx: settings.min_rx,
        multiplier: settings.multiplier,
        passive: settings.passive,
    }
}

impl Served {
    fn new((id, settings): (WatchId, BfdInstance), teller: Teller, jitter: &mut Jitter, now: Instant) -> Self {
        let [a, b, c, d, ..] = jitter.next_u64().to_be_bytes();
        let name = NonZeroU32::new(u32::from_be_bytes([a, b, c, d])).unwrap_or(NonZeroU32::MIN);
        let session = Session::new(core(&settings), name, jitter.next_u64(), now);
        Served { id, session, settings, mouth: Mouth::default(), teller, quiet_until: None }
    }

    /// Whether it is a session of that neighbour, over the same way.
    fn is_of(&self, other: &BfdInstance) -> bool {
        let way = |of: &BfdInstance| (of.neighbor, of.source, of.multihop, of.hop_limit);
        way(&self.settings) == way(other)
    }

    /// It goes on by another name or under other settings.
    fn become_of(&mut self, id: WatchId, settings: BfdInstance, events: &Events, now: Instant) {
        self.session.reconfigure(now, core(&settings));
        self.teller = teller(id, &settings, events);
        (self.id, self.settings) = (id, settings);
    }

    /// Whether there was a neighbour to tell that it is not wanted any more.
    fn hold_down(&mut self, jitter: &mut Jitter) -> bool {
        let control = self.session.hold_down();
        control.iter().for_each(|control| self.mouth.say(&self.settings, control, jitter));
        control.is_some()
    }

    /// Whether a packet may be the neighbour's: of this TTL (RFC 5881, 5), and to our address. Over several hops two
    /// addresses of ours may have a session each with one neighbour (RFC 5883, 3).
    fn takes(&self, heard: &Heard) -> bool {
        let least = self.settings.max_hops.map_or(0, |hops| HOP_LIMIT.saturating_sub(hops));
        let is_ours = self.settings.source.is_none_or(|own| heard.destination.is_none_or(|to| to == own));
        heard.source == self.settings.neighbor
            && heard.multihop == self.settings.multihop
            && is_ours
            && heard.hop_limit >= least
    }

    fn tell(&mut self, ears: &Ears, now: Instant) -> Result<(), Gone> {
        let is_up = self.session.state() == State::Up;
        if self.quiet_until.is_some_and(|until| !is_up && now < until) {
            return Ok(());
        }
        self.quiet_until = None;
        let neighbor = self.settings.neighbor;
        let fault = ears.fault(&self.settings).or(self.mouth.fault.as_ref());
        let reading = match (self.session.state(), fault) {
            (State::Up, _) => Reading::Up,
            (_, Some(fault)) => Reading::Unreadable(fault.clone()),
            (State::AdminDown | State::Down | State::Init, None) => {
                Reading::Down(format!("no session with {neighbor}: {}", self.session.diagnostic()))
            }
        };
        self.teller.try_tell(reading)
    }
}

#[cfg(test)]
mod tests;
