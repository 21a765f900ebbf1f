//! The same life in another process, when the program is replaced (docs/decisions/0210): what a node hands on, and how
//! one begins with it.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Node, Restored};
use crate::handed::{Handed, HandedDomain, NotResumed, NotSuspended, Place};
use crate::heartbeat::peer::Peer;
use crate::id::{Epoch, Incarnation};
use crate::settings::Settings;
use crate::time::Instant;

impl Node {
    /// All that the next process of this life must not forget, if it may go on: everything that is held is held at rest,
    /// and no D is nearer than `needed`. Whoever calls it gives the node no event after it that could make it speak.
    ///
    /// # Errors
    /// Why not; then nothing has changed, and the node goes on.
    pub fn suspend(&self, now: Instant, place: Place, needed: Duration) -> Result<Handed, NotSuspended> {
        if self.stopping_since.is_some() || self.maintenance || self.rebooting {
            return Err(NotSuspended::Leaving);
        }
        if let Some(id) = self.retiring.first().or_else(|| self.ended.keys().next()) {
            return Err(NotSuspended::Busy(*id));
        }
        let domains = self.settings.domains.iter().filter_map(|own| Some((own, self.domains.get(&own.id)?)));
        let domains = domains.map(|(own, domain)| domain.hand_on(now, &own.authority));
        let domains = domains.collect::<Result<Vec<HandedDomain>, NotSuspended>>()?;
        let handed = Handed {
            place,
            cluster: self.settings.cluster,
            digest: self.settings.digest,
            node: self.settings.node,
            incarnation: self.incarnation,
            at: self.handled_at.max(now),
            sequence: self.peers.values().map(Peer::sequence).max().unwrap_or_default(),
            // Its shell's to say.
            store: None,
            domains,
        };
        let left = handed.ends_at().ok_or(NotSuspended::NothingHeld)?.since(now);
        if left < needed { Err(NotSuspended::Late { left, needed }) } else { Ok(handed) }
    }

    /// A node that goes on where the process before it ended: with its incarnation, epochs and deadlines. Its own voter is
    /// a new life of that, `voter`, and waits as after any restart (V7): what it had lent is in no memory any more.
    /// `restored.held` are epochs of lives before this one.
    ///
    /// # Errors
    /// [`Handed::check`]: then [`Node::new`] is for it, with another incarnation.
    pub fn resume(
        settings: Settings,
        handed: &Handed,
        (place, needed): (&Place, Duration),
        (restored, voter): (Restored, Incarnation),
        now: Instant,
    ) -> Result<Self, NotResumed> {
        handed.check(&settings, place, needed, now)?;
        let ours = |epoch: &Epoch| (epoch.node, epoch.incarnation) == (handed.node, handed.incarnation);
        let mut restored = restored;
        restored.held.retain(|(_, epoch)| !ours(epoch));
        let mut node = Node::new(settings, handed.incarnation, restored.clone(), now);
        node.voter = super::restored::own_voter(&node.settings, voter, now, restored.record.as_ref());
        node.peers.values_mut().for_each(|peer| peer.go_on_from(handed.sequence));
        for from in &handed.domains {
            if let Some(domain) = node.domains.get_mut(&from.id) {
                domain.go_on(now, from);
            }
        }
        Ok(node)
    }
}
