//! When a peer that does not hear us said what it says: by its own clock, and only while it shows life.
//!
//! What must stay true: what was queued (before its first word, through our sleep, or by a line that delivers old
//! datagrams again) dates nothing. Of a line that has always been slower than m·h nothing tells us.

use core::time::Duration;

use crate::lease::rate::Bounds;
use crate::time::Instant;

/// A peer's clock by its beats, since it was heard again or we awoke.
#[derive(Debug, Clone, Copy)]
struct Shown {
    /// The first beat: when it came, and the clock in it.
    first: (Instant, Instant),
    /// The one that came soonest after it was made: of all it dates the others best.
    best: (Instant, Instant),
}

/// Dates what a peer says where no echo does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dating(Option<Shown>);

impl Dating {
    /// What came until now dates nothing that comes from now on.
    pub fn begin_anew(&mut self) {
        self.0 = None;
    }

    /// A beat that came now shows `clock`. A time at which it can have been made: m·h (`silence`) ago, or sooner, as
    /// its clock shows; `None` until the peer has lived for m·h before our eyes, by both clocks.
    pub fn on_clock(&mut self, now: Instant, clock: Instant, silence: Duration, bounds: Bounds) -> Option<Instant> {
        let shown = self.0.get_or_insert(Shown { first: (now, clock), best: (now, clock) });
        let (came, showed) = shown.best;
        let made = now.min(came + bounds.most(clock.since(showed)));
        if made == now {
            shown.best = (now, clock);
        }
        let (came, showed) = shown.first;
        let lives = now.since(came) >= silence && clock.since(showed) >= bounds.least(silence);
        lives.then(|| made.min(now - silence))
    }
}
