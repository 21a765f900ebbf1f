//! No authority: leave to hold is whatever the election says, and lasts only while the agent is alive.
//!
//! The gate is kept open m·h ahead by the live agent, less the margins, so that a dead, stopped or hung
//! agent's VIP has gone silent before a peer that counts m·h of silence may claim (safety.md, P2).

use core::time::Duration;

use super::grant::Grant;
use super::holder::{Claimant, Lease};
use super::timing::LeaseTiming;
use crate::id::Epoch;
use crate::settings::HeartbeatSettings;
use crate::time::Instant;

/// The machine, one per domain.
#[derive(Debug, Clone)]
pub struct Unarbitrated {
    me: Claimant,
    hold: Duration,
    period: Duration,
    attempt: u32,
    max_counter: u64,
    held: Option<Held>,
    lapsed: bool,
}

/// The same formula as a lease of m·h, with the default margins.
fn hold(heartbeat: HeartbeatSettings) -> Duration {
    LeaseTiming::for_lease(heartbeat.silence()).holder_lease().max(heartbeat.period)
}

#[derive(Debug, Clone, Copy)]
struct Held {
    epoch: Epoch,
    until: Instant,
    renew_at: Instant,
}

impl Unarbitrated {
    /// One that holds nothing.
    pub fn new(me: Claimant, heartbeat: HeartbeatSettings) -> Self {
        let (hold, period) = (hold(heartbeat), heartbeat.period);
        Unarbitrated { me, hold, period, attempt: 0, max_counter: 0, held: None, lapsed: false }
    }

    /// Peers count another silence from now on: what is held is moved to that at once.
    pub fn set_heartbeat(&mut self, now: Instant, heartbeat: HeartbeatSettings) {
        (self.hold, self.period) = (hold(heartbeat), heartbeat.period);
        if let Some(held) = self.held.as_mut().filter(|held| now < held.until && held.renew_at < held.until) {
            (held.until, held.renew_at) = (now + self.hold, now + self.period / 2);
        }
    }

    /// The decision says: claim.
    pub fn stand(&mut self, now: Instant) {
        if self.held.is_none() && !self.lapsed {
            self.attempt = self.attempt.saturating_add(1);
            self.max_counter = self.max_counter.saturating_add(1);
            let (counter, attempt) = (self.max_counter, self.attempt);
            self.adopt(now, Epoch { counter, incarnation: self.me.incarnation, attempt, node: self.me.node });
        }
    }

    /// Holds from now on under an epoch that is nobody else's.
    pub fn adopt(&mut self, now: Instant, epoch: Epoch) {
        self.held = Some(Held { epoch, until: now + self.hold, renew_at: now + self.period / 2 });
    }

    /// An authority has come back and says no: as if it had run out.
    pub fn revoke(&mut self) {
        self.lapsed |= self.held.take().is_some();
    }

    /// Leave to hold, while it lasts.
    pub fn grant(&self, now: Instant) -> Option<Grant> {
        self.held.filter(|held| now < held.until).map(|held| Grant::new(held.epoch, held.until))
    }

    /// The evidence for the decision.
    pub fn lease(&self, now: Instant) -> Lease {
        match self.grant(now) {
            Some(grant) => Lease::Held(grant),
            None if self.lapsed || self.held.is_some() => Lease::Lapsed,
            None => Lease::Vacant,
        }
    }

    /// The epoch that is held.
    pub fn epoch(&self) -> Option<Epoch> {
        self.held.map(|held| held.epoch)
    }

    /// Counter and attempt that the next claim would use.
    pub fn next_attempt(&self) -> (u64, u32) {
        (self.max_counter.saturating_add(1), self.attempt.saturating_add(1))
    }

    /// Another epoch was seen: ours will be above it.
    pub fn saw_epoch(&mut self, epoch: Epoch) {
        self.max_counter = self.max_counter.max(epoch.counter);
    }

    /// Moves the deadline on, or notices that the agent slept through it.
    pub fn tick(&mut self, now: Instant) {
        if let Some(held) = &mut self.held {
            if now >= held.until {
                self.held = None;
                self.lapsed = true;
            } else if now >= held.renew_at {
                held.until = now + self.hold;
                held.renew_at = now + self.period / 2;
            }
        }
    }

    /// When [`Unarbitrated::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.held.map(|held| held.renew_at.min(held.until))
    }

    /// The gate has been shut after a lapse.
    pub fn clear_lapse(&mut self) {
        self.lapsed = false;
    }

    /// Its deadline is moved on no more.
    pub fn let_run_out(&mut self) {
        if let Some(held) = &mut self.held {
            held.renew_at = held.until;
        }
    }

    /// Holds no more.
    pub fn give_back(&mut self) {
        self.held = None;
    }
}
