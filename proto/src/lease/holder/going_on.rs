//! The same life in another process (docs/decisions/0210): what a holder hands on, and begins with.
//!
//! What must stay true: no nonce and no attempt comes twice; D is the former process's until a majority has answered
//! requests of this one.

use super::{Holder, Phase};
use crate::handed::{HandedDomain, Held};
use crate::id::DomainId;
use crate::time::Instant;

impl Holder {
    /// What must not be forgotten, whether anything is held or not.
    pub(in crate::lease) fn hand_on(&self, id: DomainId) -> HandedDomain {
        HandedDomain {
            id,
            nonce: self.nonce,
            attempt: self.attempt,
            max_counter: self.max_counter,
            last: self.former,
            drained_at: self.drained_at,
            held: None,
        }
    }

    /// What is held by the leave of the voters alone; times that are not the lease's are D's.
    pub(in crate::lease) fn hand_on_held(&self) -> Option<Held> {
        let Phase::Held { epoch, .. } = self.phase else { return None };
        let until = self.lent_until.filter(|_| self.promises.is_none())?;
        let acks = self.voters.iter().map(|(voter, track)| (*voter, track.prev_ack)).collect();
        let (gate_until, opened_at, master_since) = (until, until, until);
        Some(Held { epoch, until, gate_until, newest: self.newest, opened_at, master_since, acks })
    }

    /// Whether some voter is not believed (R17).
    pub(in crate::lease) fn doubts(&self, now: Instant) -> bool {
        self.voters.values().any(|track| track.is_doubted(now))
    }

    /// Begins where the former process of this life ended. What is held is renewed at once, under the same epoch.
    pub(in crate::lease) fn go_on(&mut self, now: Instant, from: &HandedDomain) {
        self.nonce = self.nonce.max(from.nonce);
        self.attempt = self.attempt.max(from.attempt);
        self.max_counter = self.max_counter.max(from.max_counter);
        self.former = from.last;
        self.drained_at = self.drained_at.max(from.drained_at);
        self.not_before = self.not_before.max(from.drained_at);
        if let Some(Held { epoch, until, newest, acks, .. }) = &from.held {
            self.max_counter = self.max_counter.max(epoch.counter);
            self.inherited = Some((*until, *newest));
            for (voter, ack) in acks {
                if let Some(track) = self.voters.get_mut(voter) {
                    track.prev_ack = *ack;
                }
            }
            self.phase = Phase::Held { epoch: *epoch, renew_at: now };
            self.standing = true;
            self.recount();
        }
    }
}
