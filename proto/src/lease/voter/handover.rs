//! Word for a holder that does not hear its better candidate (R11).

use alloc::vec::Vec;

use super::{UNASKED, Voter, VoterOutput, Want};
use crate::id::{DomainId, NodeId};
use crate::time::Instant;
use crate::wire::lease::{Envelope, Message, RefuseReason};

impl Voter {
    /// A candidate asks the holder to hand over. It is a `Query` too: should the holder die meanwhile, the
    /// candidate is told.
    pub(super) fn handover_request(
        &mut self,
        now: Instant,
        from: NodeId,
        request: &Envelope,
        want: Want,
        out: &mut Vec<VoterOutput>,
    ) {
        if want.next.node != from {
            out.push(self.refuse(now, from, request, RefuseReason::NotYou));
            return;
        }
        self.query(now, from, request, want.priority, out);
        if let Some(domain) = self.domains.get_mut(&request.domain)
            && domain.loan.is_some_and(|loan| now < loan.until && loan.epoch.node != from)
        {
            domain.wanted.insert(from, want);
            out.extend(self.pass_on(now, request.domain));
        }
    }

    /// The best word left of late, for the holder; it goes at once and with each renewal, since any one of
    /// them may be lost.
    pub(super) fn pass_on(&mut self, now: Instant, id: DomainId) -> Option<VoterOutput> {
        let lease_max = self.settings.lease_max;
        let domain = self.domains.get_mut(&id)?;
        domain.wanted.retain(|_, want| now.since(want.at) <= lease_max);
        let loan = domain.loan.filter(|loan| now < loan.until)?;
        let best = domain.wanted.values().max_by_key(|want| (want.priority, core::cmp::Reverse(want.next.node)))?;
        let (priority, heir) = (best.priority, best.next);
        (priority > loan.priority).then(|| {
            self.tell(loan.epoch.node, id, UNASKED, Message::Wanted { priority, heir, stamp: self.stamp(now) })
        })
    }
}
