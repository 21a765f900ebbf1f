//! Giving back what is held, and telling the voters until they know (R8, R16).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Holder, Phase};
use crate::id::{Epoch, NodeId};
use crate::lease::farewell::Farewell;
use crate::time::Instant;
use crate::wire::lease::Message;

impl Holder {
    /// Gives the lease back, or to an heir; only after the gate is shut and E_tx has passed (R8).
    pub fn give_back(&mut self, now: Instant, heir: Option<Epoch>) {
        if let Phase::Held { epoch, .. } = self.phase {
            self.phase = Phase::Idle;
            self.standing = false;
            // Its last frame is gone (R8), so that a later attempt of this life may succeed to it.
            self.drained_at = self.drained_at.max(now);
            let promised = self.promises.as_mut().map(|promises| promises.end(epoch)).unwrap_or_default();
            for candidate in promised {
                self.nonce += 1;
                self.send(candidate, self.nonce, Message::Release { epoch });
            }
            self.bid_farewell(now, epoch, heir);
        }
    }

    /// What is held can't be given back in good order: it is renewed no more, so that it ends at D (R5).
    pub fn let_run_out(&mut self) {
        if let Phase::Held { renew_at, .. } = &mut self.phase {
            *renew_at = Instant::from_nanos(u64::MAX);
        }
    }

    /// Releases an epoch of a former life of this node, whose gate is shut (R16).
    pub fn release_former(&mut self, now: Instant, epoch: Epoch) {
        self.saw_epoch(epoch);
        self.bid_farewell(now, epoch, None);
    }

    pub(super) fn bid_farewell(&mut self, now: Instant, epoch: Epoch, heir: Option<Epoch>) {
        let pending: BTreeSet<NodeId> = self.voters.keys().copied().collect();
        self.farewells.push(Farewell::new(epoch, heir, pending, now, now + self.quorum.timing.lease_max));
        self.tick(now);
    }

    pub(super) fn say_farewells(&mut self, now: Instant) {
        self.farewells.retain(|farewell| !farewell.is_done(now));
        let resend = self.renewal().max(self.quorum.timing.round_trip);
        let mut words = Vec::new();
        for farewell in &mut self.farewells {
            if let Some(message) = farewell.due(now, resend) {
                words.extend(farewell.pending().map(|voter| (voter, message)));
            }
        }
        for (voter, message) in words {
            self.nonce += 1;
            if let Some(track) = self.voters.get_mut(&voter) {
                track.remember(self.nonce, now);
            }
            self.send(voter, self.nonce, message);
        }
    }
}
