//! One BFD session, asynchronous mode (RFC 5880, 6.8; over one hop RFC 5881, over several RFC 5883): no echo, demand mode
//! or authentication of ours.
//!
//! A shell has the sockets and the clock: it gives what [`Control::parse`] has taken and the TTL is right of to
//! [`Session::on_packet`], calls [`Session::on_timer`] at [`Session::next_deadline`], and sends what they return.
//!
//! What must stay true: the session is Up only while the other end says that it hears us, and never longer than the
//! detection time after its last word.

use core::num::NonZeroU32;
use core::time::Duration;

use crate::jitter::Jitter;
use crate::time::Instant;
use crate::wire::bfd::{Control, Diagnostic, State};

/// While the session is not Up, nobody sends oftener (RFC 5880, 6.8.3).
const SLOW: Duration = Duration::from_secs(1);

/// How a session is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSettings {
    /// `bfd.DesiredMinTxInterval` while it is Up, 1 µs and up.
    pub min_tx: Duration,
    /// The same while it is not, 1 s and up.
    pub idle_tx: Duration,
    /// `bfd.RequiredMinRxInterval`, 1 µs and up.
    pub min_rx: Duration,
    /// `bfd.DetectMult`, from 1.
    pub multiplier: u8,
    /// It says nothing before the other end has spoken.
    pub passive: bool,
}

/// A session.
#[derive(Debug, Clone)]
pub struct Session {
    settings: SessionSettings,
    jitter: Jitter,
    /// `bfd.LocalDiscr`.
    mine: NonZeroU32,
    state: State,
    diagnostic: Diagnostic,
    /// What the other end last said, until it has been silent for the detection time.
    remote: Option<Remote>,
    /// A Poll Sequence is under way: our interval has changed.
    polling: bool,
    /// Until the other end has confirmed others.
    former: Option<Former>,
    transmit_at: Instant,
}

/// What the other end may still go by.
#[derive(Debug, Clone, Copy)]
struct Former {
    min_tx: Duration,
    min_rx: Duration,
    /// The other end has been asked.
    asked: bool,
}

/// The other end.
#[derive(Debug, Clone, Copy)]
struct Remote {
    control: Control,
    /// When the detection time is over (RFC 5880, 6.8.4).
    until: Instant,
}

impl Session {
    /// It begins Down. `mine` is the name of this session on this host, and unlike that of any other; `seed` is of the
    /// jitter.
    pub fn new(settings: SessionSettings, mine: NonZeroU32, seed: u64, now: Instant) -> Self {
        Session {
            settings,
            jitter: Jitter::new(seed),
            mine,
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            remote: None,
            polling: false,
            former: None,
            transmit_at: now,
        }
    }

    /// It goes on under other settings. While it is Up, longer intervals hold from when the other end has confirmed them, and
    /// till then its silence is judged by the longer of both (RFC 5880, 6.8.3).
    pub fn reconfigure(&mut self, now: Instant, settings: SessionSettings) {
        let before = (self.interval(), self.settings.min_tx, self.settings.min_rx);
        self.settings = settings;
        if self.state == State::Up && (before.1, before.2) != (self.settings.min_tx, self.settings.min_rx) {
            let known = self.former.unwrap_or(Former { min_tx: before.1, min_rx: before.2, asked: false });
            let former =
                Former { min_tx: known.min_tx.min(before.1), min_rx: known.min_rx.max(before.2), asked: false };
            self.former = Some(former);
            self.polling = true;
        }
        if self.interval() < before.0 {
            self.transmit_at = self.transmit_at.min(now + self.jittered());
        }
    }

    /// `bfd.SessionState`.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why it is not Up: of ours, or of the other end's where it says more.
    pub fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// When [`Session::on_timer`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let transmit = self.transmits().then_some(self.transmit_at);
        transmit.into_iter().chain(self.remote.map(|remote| remote.until)).min()
    }

    /// A packet of the other end's (RFC 5880, 6.8.6). What is to be answered at once.
    pub fn on_packet(&mut self, now: Instant, control: &Control) -> Option<Control> {
        // It speaks to a session that was here before, or to none yet.
        if control.yours.is_some_and(|yours| yours != self.mine) {
            return None;
        }
        let before = (self.state, self.interval());
        // Nobody confirms what it has not been asked.
        if self.polling && control.last && self.former.is_none_or(|former| former.asked) {
            self.polling = false;
            self.former = None;
        }
        let least = self.former.map_or(self.settings.min_rx, |former| former.min_rx.max(self.settings.min_rx));
        let theirs = micros(control.desired_min_tx).max(least);
        let until = now + theirs * u32::from(control.multiplier);
        self.remote = Some(Remote { control: *control, until });
        self.turn(control.state);
        // RFC 5880, 6.8.7: a change is said at once; and who may be asked oftener than before, is.
        if before.0 != self.state {
            self.transmit_at = now;
        } else if self.interval() < before.1 {
            self.transmit_at = self.transmit_at.min(now + self.jittered());
        }
        control.poll.then(|| self.control(true))
    }

    /// What the clock alone does: what is to be sent now.
    pub fn on_timer(&mut self, now: Instant) -> Option<Control> {
        if self.remote.is_some_and(|remote| now >= remote.until) {
            // RFC 5880, 6.8.4 and 6.8.1: its name is forgotten, too.
            self.remote = None;
            if matches!(self.state, State::Init | State::Up) {
                self.fall(Diagnostic::TIME_EXPIRED);
                self.transmit_at = now;
            }
        }
        if !self.transmits() || now < self.transmit_at {
            return None;
        }
        self.transmit_at = now + self.jittered();
        if let Some(former) = &mut self.former {
            former.asked = true;
        }
        Some(self.control(false))
    }

    /// It is not wanted any more, and stays AdminDown: what the other end is to be told (RFC 5880, 6.8.16), so that it
    /// does not take the silence for a failure; `None`: there is nobody to tell.
    pub fn hold_down(&mut self) -> Option<Control> {
        self.fall(Diagnostic::HELD_DOWN);
        self.state = State::AdminDown;
        self.remote.map(|_| self.control(false))
    }

    fn turn(&mut self, theirs: State) {
        match (self.state, theirs) {
            (State::AdminDown, _) => {}
            (State::Init | State::Up, State::AdminDown) | (State::Up, State::Down) => {
                self.fall(Diagnostic::NEIGHBOR_DOWN);
            }
            (State::Down, State::Down) => self.state = State::Init,
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.state = State::Up;
                self.diagnostic = Diagnostic::NONE;
                // RFC 5880, 6.8.3: the interval is another one from here on.
                self.polling = true;
            }
            (State::Down, State::AdminDown | State::Up)
            | (State::Init, State::Down)
            | (State::Up, State::Init | State::Up) => {}
        }
    }

    fn fall(&mut self, why: Diagnostic) {
        self.state = State::Down;
        self.diagnostic = why;
        self.polling = false;
        self.former = None;
    }

    /// Whether packets are sent periodically (RFC 5880, 6.8.7).
    fn transmits(&self) -> bool {
        let Some(Remote { control, .. }) = self.remote else { return !self.settings.passive };
        let demanded = control.demand && self.state == State::Up && control.state == State::Up && !self.polling;
        control.required_min_rx > 0 && !demanded
    }

    /// `bfd.DesiredMinTxInterval`.
    fn desired(&self) -> Duration {
        match self.state {
            State::Up => self.settings.min_tx,
            State::AdminDown | State::Down | State::Init => self.settings.idle_tx.max(SLOW),
        }
    }

    fn interval(&self) -> Duration {
        let least = self.remote.map_or(Duration::ZERO, |remote| micros(remote.control.required_min_rx));
        let desired = self.former.map_or(self.desired(), |former| former.min_tx.min(self.desired()));
        desired.max(least)
    }

    /// Shorter by up to a quarter; where one missing packet is one too many, by a tenth at least (RFC 5880, 6.8.7).
    fn jittered(&mut self) -> Duration {
        let interval = self.interval();
        let (most, span) = if self.settings.multiplier == 1 { (interval / 10 * 9, 15) } else { (interval, 25) };
        most.saturating_sub(self.jitter.up_to(interval / 100 * span))
    }

    fn control(&self, last: bool) -> Control {
        Control {
            diagnostic: self.diagnostic,
            state: self.state,
            // RFC 5880, 6.5: never both.
            poll: self.polling && !last,
            last,
            demand: false,
            multiplier: self.settings.multiplier,
            mine: self.mine,
            yours: self.remote.map(|remote| remote.control.mine),
            desired_min_tx: in_micros(self.desired()),
            required_min_rx: in_micros(self.settings.min_rx),
        }
    }
}

fn micros(micros: u32) -> Duration {
    Duration::from_micros(micros.into())
}

fn in_micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
