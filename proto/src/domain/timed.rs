//! Advertisements that are due and need no judgement.
//!
//! What must stay true: what is sent here is what [`Domain::settle`] would have sent, at the same instant.

use alloc::vec::Vec;

use super::Domain;
use crate::action::Action;
use crate::decision::Role;
use crate::time::Instant;

impl Domain {
    /// Whether an Advertisement that is due needs no judgement: it is MASTER, its gate is open, and it is not so late that
    /// there is something to say of it.
    pub(crate) fn may_just_advertise(&self, now: Instant) -> bool {
        self.role == Role::Master
            && self.leaving.is_none()
            && !self.announces_anew
            && self.kernel.is_known_open(now)
            && self.routers.iter().all(|router| router.machine.may_just_advertise(now))
    }

    /// The Advertisements that are due leave; when the next one is.
    pub(crate) fn just_advertise(&mut self, now: Instant, out: &mut Vec<Action>) -> Option<Instant> {
        let mut next = None;
        for router in &mut self.routers {
            if let Some(advertisement) = router.machine.due_advertisement(now) {
                router.advertise(advertisement, out);
            }
            next = next.into_iter().chain(router.machine.next_deadline()).min();
        }
        next
    }
}
