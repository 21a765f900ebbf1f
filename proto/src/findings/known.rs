//! What is known of a peer's settings, from its profiles.

use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;

use crate::id::{ClusterId, Incarnation, LinkId};
use crate::time::Instant;
use crate::wire::profile::{InstanceProfile, LeaseProfile, Profile};

/// An instance that a peer has not told of for so long is no longer there.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// One peer's settings.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) cluster: ClusterId,
    incarnation: Incarnation,
    clock: Instant,
    pub(crate) period: Duration,
    pub(crate) misses: u8,
    pub(crate) lease: Option<LeaseProfile>,
    /// When it heard us on each link, by our clock.
    links: BTreeMap<LinkId, Option<Instant>>,
    total: u8,
    instances: BTreeMap<u64, (InstanceProfile, Instant)>,
    /// When it last spoke.
    pub(crate) at: Instant,
}

impl Known {
    /// From the first profile.
    pub(crate) fn new(now: Instant, profile: Profile) -> Self {
        let Profile { cluster, incarnation, clock, period, misses, lease, links, total, instances } = profile;
        let links = links.into_iter().map(|link| (link.id, link.heard.map(|ago| now - ago))).collect();
        let instances = instances.into_iter().map(|instance| (instance.name, (instance, now))).collect();
        Known { cluster, incarnation, clock, period, misses, lease, links, total, instances, at: now }
    }

    /// A newer one; whether it says anything that one compares with one's own settings, and the last one did not.
    pub(crate) fn renew(&mut self, now: Instant, profile: Profile) -> bool {
        if profile.incarnation != self.incarnation {
            *self = Known::new(now, profile);
            return true;
        }
        if profile.clock <= self.clock {
            return false;
        }
        let news = !self.says_the_same(&profile);
        let known = self.instances.len();
        let mut instances = core::mem::take(&mut self.instances);
        instances.retain(|_, (_, at)| now.since(*at) < FORGOTTEN);
        let news = news || instances.len() != known;
        let Profile { cluster, incarnation, clock, period, misses, lease, links, total, instances: told } = profile;
        // One that is known already keeps its place: a profile comes twice a second over each link.
        for instance in told {
            instances.insert(instance.name, (instance, now));
        }
        let links = links.into_iter().map(|link| (link.id, link.heard.map(|ago| now - ago))).collect();
        *self = Known { cluster, incarnation, clock, period, misses, lease, links, total, instances, at: now };
        news
    }

    /// But for what it hears on its links, which is compared with nothing.
    fn says_the_same(&self, profile: &Profile) -> bool {
        let Profile { cluster, incarnation: _, clock: _, period, misses, lease, links: _, total, instances } = profile;
        (cluster, period, misses, lease, total) == (&self.cluster, &self.period, &self.misses, &self.lease, &self.total)
            && instances.iter().all(|told| self.instances.get(&told.name).is_some_and(|(known, _)| known == told))
    }

    /// All its virtual routers are known.
    pub(crate) fn is_complete(&self) -> bool {
        self.instances.len() >= usize::from(self.total)
    }

    /// Its virtual router of that name (a hash).
    pub(crate) fn instance(&self, name: u64) -> Option<&InstanceProfile> {
        self.instances.get(&name).map(|(instance, _)| instance)
    }

    /// All that are known.
    pub(crate) fn instances(&self) -> impl Iterator<Item = &InstanceProfile> {
        self.instances.values().map(|(instance, _)| instance)
    }

    /// Whether it speaks VRRP from that address.
    pub(crate) fn speaks_from(&self, source: IpAddr) -> bool {
        self.instances().any(|instance| instance.source == Some(source))
    }

    /// When it last heard us on a link; the inner `None` is never, the outer one that it has not said.
    pub(crate) fn heard_us_on(&self, link: LinkId) -> Option<Option<Instant>> {
        self.links.get(&link).copied()
    }
}
