//! What a voter tells of itself: to metrics, commands, tests and the simulator's oracle.

use super::{Granted, Standing, Voter};
use crate::id::{DomainId, Epoch};
use crate::lease::record::Record;
use crate::time::Instant;

impl Voter {
    /// Until when it grants nobody but the holder of its former life.
    pub fn quiet_until(&self) -> Instant {
        self.quiet_until
    }

    /// The unexpired grant of a domain.
    pub fn granted(&self, now: Instant, domain: DomainId) -> Option<Granted> {
        let loan = self.domains.get(&domain)?.loan.as_ref()?;
        (now < loan.until).then_some(Granted { epoch: loan.epoch, until: loan.until })
    }

    /// The highest epoch of a domain that it has seen (V4).
    pub fn highest(&self, domain: DomainId) -> Option<Epoch> {
        self.domains.get(&domain)?.max_epoch
    }

    /// Every domain it has heard of, with the unexpired grant.
    pub fn domains(&self, now: Instant) -> impl Iterator<Item = (DomainId, Option<Granted>)> + '_ {
        self.domains.keys().map(move |id| (*id, self.granted(now, *id)))
    }

    /// The durable state as it stands.
    pub fn record(&self) -> Record {
        let domains = self.domains.iter().filter_map(|(id, domain)| Some((*id, domain.max_epoch?)));
        let (floor, opened) = self.generations.on_record();
        Record { floor, opened, lease_max: self.longest, domains: domains.collect(), forgotten: self.forgotten }
    }

    /// Whether a change of a domain's epoch waits for the disk: nobody has been told of it yet (V6).
    pub fn is_pending(&self, domain: DomainId) -> bool {
        self.domains.get(&domain).is_some_and(|domain| domain.pending.is_some())
    }

    /// What it votes on (V9).
    pub fn standing(&self, now: Instant) -> Standing {
        let (floor, floor_for, opened) = self.generations.standing(now);
        let lent = self.domains.values().filter(|domain| domain.loan.is_some_and(|loan| now < loan.until)).count();
        Standing {
            generation: self.settings.generation,
            floor,
            floor_for,
            opened,
            quiet_for: self.quiet_until.since(now),
            lent: u16::try_from(lent).unwrap_or(u16::MAX),
        }
    }
}
