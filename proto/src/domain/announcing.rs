//! D10 for one domain: which of its virtual routers announce their addresses, and when.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Domain, Router};
use crate::action::{Action, Announced};
use crate::decision::Peers;
use crate::facts::Facts;
use crate::id::DomainId;
use crate::time::Instant;

/// How long a Master alone announces often, and how seldom then.
const OFTEN_FOR: Duration = Duration::from_secs(60);
const SELDOM: Duration = Duration::from_secs(1);

fn say(domain: DomainId, router: &Router, count: u8, which: Announced, out: &mut Vec<Action>) {
    if count > 0 {
        out.push(Action::Announce { domain, instance: router.id, count, which });
    }
}

impl Domain {
    /// A new Master's burst.
    pub(super) fn begin_to_announce(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.each_says(out, |router| router.announcer.begin(now, &router.settings.announce));
    }

    /// A burst and all that follows it.
    pub(super) fn announce(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.each_says(out, |router| router.announcer.anew(now, &router.settings.announce));
    }

    /// Somebody else was seen to claim our addresses, or may have: say again whose they are (D10).
    pub(crate) fn announce_again(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.may_announce(now) {
            self.each_says(out, |router| router.announcer.again(now, &router.settings.announce));
        }
    }

    /// Another router advertises our addresses, and it is not for us to yield.
    pub(super) fn announce_beside_a_rival(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.may_announce(now) {
            self.each_says(out, |router| router.announcer.beside_a_rival(now, &router.settings.announce));
        }
    }

    /// A burst that changes nothing of what is planned.
    pub(super) fn announce_in_place(&mut self, out: &mut Vec<Action>) {
        self.each_says(out, |router| router.settings.announce.burst);
    }

    fn each_says(&mut self, out: &mut Vec<Action>, mut rounds: impl FnMut(&mut Router) -> u8) {
        for router in &mut self.routers {
            let count = rounds(router);
            say(self.id, router, count, Announced::All, out);
        }
    }

    fn may_announce(&self, now: Instant) -> bool {
        self.master_since.is_some() && self.kernel.is_open(now) && self.leaving.is_none()
    }

    /// The same once it is clear that it is not for us to yield; who yields forgets it.
    pub(super) fn announce_soon(&mut self, now: Instant) {
        if self.leaving.is_none() {
            self.routers.iter_mut().for_each(|router| router.announcer.soon(now));
        }
    }

    /// See [`crate::announce::Announcer::after_advertisement`].
    pub(super) fn announce_after_advertisement(&mut self, now: Instant, advert_int: Duration) {
        if self.leaving.is_none() {
            self.routers.iter_mut().for_each(|router| router.announcer.after_advertisement(now, advert_int));
        }
    }

    /// Announcements that are due again (D10).
    ///
    /// A Master whose peers are all silent can't know when a segment comes back whose hosts learnt the
    /// addresses from a peer: it goes on announcing, often for a minute and then now and then.
    pub(super) fn speak_again(&mut self, facts: &Facts<'_>, peers: Peers, out: &mut Vec<Action>) {
        let now = facts.now;
        if let Some(since) = self.master_since.filter(|_| peers == Peers::Silent) {
            let often = now.since(since) < OFTEN_FOR;
            let next = now + if often { facts.settings.heartbeat.period / 2 } else { SELDOM };
            self.routers.iter_mut().for_each(|router| router.announcer.at_latest(next));
        }
        let is_open = self.kernel.is_open(now);
        for router in &mut self.routers {
            let due = router.announcer.take_due(now, &router.settings.announce);
            if is_open {
                say(self.id, router, due.rounds, Announced::All, out);
                say(self.id, router, u8::from(due.elsewhere), Announced::Elsewhere, out);
            }
        }
    }
}
