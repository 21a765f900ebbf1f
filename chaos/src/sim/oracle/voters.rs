//! The voters, as the judge follows them: what each has lent, and whether that could be.

use std::collections::BTreeMap;

use keepone_proto::id::{DomainId, Epoch};
use keepone_proto::lease::record::Record;
use keepone_proto::lease::voter::Granted;
use keepone_proto::time::{Instant, nanos};

use super::{Oracle, SLACK};
use crate::sim::fault::Variant;
use crate::sim::host::Host;
use crate::sim::network::MS;
use crate::sim::plan::Plan;

/// What is known of one voter's loan of one domain.
#[derive(Debug, Clone, Copy, Default)]
struct Loan {
    epoch: Option<Epoch>,
    until: Instant,
    /// Real time at which it was made.
    made: u64,
}

#[derive(Debug, Clone)]
pub(super) struct VoterLife {
    started: Instant,
    loans: Vec<Loan>,
    recorded: Vec<Option<Epoch>>,
    /// What it does next is to take back what it could not write.
    unwritten: bool,
}

/// All voters that have started.
pub(super) type Voters = BTreeMap<usize, VoterLife>;

/// A request that names an epoch below the highest that a voter has seen, and what the voter had lent before it.
#[derive(Debug, Clone, Copy)]
pub struct Stale {
    domain: DomainId,
    asked: Epoch,
    lent: Option<Epoch>,
}

impl Oracle {
    /// A voter has started.
    pub fn on_voter_start(&mut self, host: usize, local: Instant, recorded: Vec<Option<Epoch>>) {
        let loans = vec![Loan::default(); recorded.len()];
        self.voters.insert(host, VoterLife { started: local, loans, recorded, unwritten: false });
    }

    /// A voter could not write what it was about to grant: it never did.
    pub fn on_voter_unwritten(&mut self, host: usize) {
        if let Some(life) = self.voters.get_mut(&host) {
            life.unwritten = true;
        }
    }

    /// Looks at a voter after it has done something: I3, I8, and I7 from the voter's side.
    ///
    /// `transfer`: what it has just handled was a `Transfer`, by which even a waiting voter may pass on what
    /// it remembers.
    pub fn watch_voter(&mut self, now: u64, host: usize, hosts: &[Host], transfer: bool) {
        if !self.is_strict() {
            return;
        }
        let Some((at, voter)) = hosts.get(host).and_then(|host| Some((host, host.voter()?))) else { return };
        let local = at.clock.local(now);
        let unwritten = self.voters.get_mut(&host).is_some_and(|life| core::mem::take(&mut life.unwritten));
        for place in 0..self.domains.len() {
            let granted = voter.granted(local, Plan::domain(place));
            let Some(life) = self.voters.get_mut(&host) else { return };
            let started = life.started;
            if transfer && let Some(recorded) = life.recorded.get_mut(place) {
                *recorded = granted.map(|granted| granted.epoch).or(*recorded);
            }
            let recorded = life.recorded.get(place).copied().flatten();
            let Some(loan) = life.loans.get_mut(place) else { return };
            let changed = granted.map(|granted| granted.epoch) != loan.epoch;
            let made = if changed { now } else { loan.made };
            let of = |granted: Granted| Loan { epoch: Some(granted.epoch), until: granted.until, made };
            let former = core::mem::replace(loan, granted.map_or(Loan::default(), of));
            match granted {
                Some(granted) if !changed && granted.until > former.until => {
                    self.check_hearing(now, host, place, granted.epoch, made);
                }
                Some(granted) if changed => self.check_own(now, at, host, place, granted.epoch),
                Some(_) | None => {}
            }
            if !changed || unwritten {
                continue;
            }
            // A node is no rival of itself.
            let same = |epoch: &Epoch| granted.is_some_and(|granted| granted.epoch.node == epoch.node);
            if let Some(epoch) = former.epoch.filter(|epoch| local < former.until && !same(epoch)) {
                self.check_ended(now, host, place, epoch, hosts);
            }
            let quiet = nanos(local.since(started)) < self.lease_max_told;
            // From one loan of this life to the next is I3's business.
            let first = quiet && former.epoch.is_none();
            // A later attempt of the life that is remembered is remembered in its place, and may be renewed when it has run out.
            let succeeds =
                former.epoch.is_some_and(|former| granted.is_some_and(|granted| former.is_before(&granted.epoch)));
            if let Some(life) = self.voters.get_mut(&host)
                && let Some(recorded) = life.recorded.get_mut(place)
                && succeeds
            {
                *recorded = granted.map(|granted| granted.epoch);
            }
            if let Some(granted) = granted.filter(|granted| first && Some(granted.epoch) != recorded) {
                self.violated("I8", now, || {
                    format!(
                        "voter {host} granted {} before the longest lease had passed since its start",
                        granted.epoch
                    )
                });
            }
        }
    }

    /// I3: a loan that ends before its time is one whose holder's last frame is gone.
    fn check_ended(&mut self, now: u64, voter: usize, place: usize, epoch: Epoch, hosts: &[Host]) {
        let holder = Plan::host(epoch.node);
        let Some(kernel) = hosts.get(holder).and_then(|host| host.kernels.get(place)) else { return };
        let gone = kernel.open_until.saturating_add(self.transmit);
        if kernel.epoch == Some(epoch) && gone > now + SLACK {
            self.violated("I3", now, || {
                format!("voter {voter} ended {epoch} while host {holder}'s frames may pass until {} ms", gone / MS)
            });
        }
    }

    /// What a voter is asked under epochs that are over (I12).
    pub fn stale_requests(&self, now: u64, host: &Host, asked: Vec<(DomainId, Epoch)>) -> Vec<Stale> {
        let Some(voter) = host.voter().filter(|_| !asked.is_empty()) else { return Vec::new() };
        let local = host.clock.local(now);
        let all = asked.clone();
        let stale = asked.into_iter().filter_map(|(domain, asked)| {
            let lent = voter.granted(local, domain).map(|granted| granted.epoch);
            // The datagram asks for something under that one too, which may well end it.
            if lent.is_some_and(|lent| all.contains(&(domain, lent))) {
                return None;
            }
            // A loan that waits for the disk ends without being asked to when the disk fails; nobody has it yet.
            let told = !voter.is_pending(domain);
            (told && voter.highest(domain) > Some(asked) && lent != Some(asked)).then_some(Stale {
                domain,
                asked,
                lent,
            })
        });
        stale.collect()
    }

    /// I12: a smaller epoch changes nothing.
    pub fn check_stale(&mut self, now: u64, number: usize, hosts: &[Host], stale: &[Stale]) {
        for stale in stale {
            let Some(host) = hosts.get(number) else { return };
            let Some(voter) = host.voter() else { return };
            let lent = voter.granted(host.clock.local(now), stale.domain).map(|granted| granted.epoch);
            // An agent's own node may have given back, or asked anew, at the same time.
            let ended = lent.is_none() && stale.lent.is_some_and(|lent| Plan::host(lent.node) != number);
            if lent == Some(stale.asked) || ended {
                self.violated("I12", now, || {
                    format!("{} made voter {number} lend {lent:?} instead of {:?}", stale.asked, stale.lent)
                });
            }
        }
    }

    /// V6: what a voter says that it lends is on its disk. I14: and it is configured as the borrower is.
    pub fn check_grants(&mut self, now: u64, number: usize, hosts: &[Host], grants: &[(DomainId, Epoch)]) {
        let Some(host) = hosts.get(number).filter(|_| !grants.is_empty()) else { return };
        for (_, epoch) in grants {
            let borrower = hosts.get(Plan::host(epoch.node));
            let other = |host: &Host| host.variant == Variant::OtherDigest;
            if borrower.is_some_and(|b| b.incarnation == epoch.incarnation && other(b) != other(host)) {
                self.violated("I14", now, || format!("voter {number} lends {epoch} to a node of another digest"));
            }
        }
        if self.forgot.contains(&number) {
            return;
        }
        let record = host.record.as_ref().and_then(|bytes| Record::parse(bytes).ok());
        for (domain, epoch) in grants {
            let written = record.as_ref().and_then(|record| record.domains.get(domain).copied());
            if written < Some(*epoch) {
                self.violated("V6", now, || format!("voter {number} lends {epoch}, and its disk has {written:?}"));
            }
        }
    }
}
