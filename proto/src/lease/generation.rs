//! Voter sets follow one another, one member at a time (V9): why a holder of one generation and a holder of
//! another never overlap.
//!
//! Generation N has the voter set A(N), which differs from A(N−1) by one member, so that any majority of the
//! one meets any majority of the other. A voter has one loan for a domain, whatever generation it is asked
//! under, so holders of *neighbouring* generations are rivals like any two. What remains to be shown is that
//! nobody holds, or ever will, under N−2 or an older one when somebody holds under N. Then N is called *open*:
//!
//! - Generation 1 is open: there is nothing before it.
//! - N is open when N−1 was, with the voter set that our configuration calls the former one, and a majority of
//!   A(N−1) has for L_max taken nothing older than N−1, and never will again: its record says so (the *floor*).
//!   That majority meets every majority of A(N−2), and what its voters lent before has run out.
//! - That a generation is open stays true for ever. Only one who has seen it asks for a grant under it, so a
//!   voter that is asked may record it (*opened*), and others may rely on that record.
//!
//! A *move* from one authority to another changes all voters at once, by a generation N in which a majority of the old
//! set and a majority of the new one must both lend ([`crate::settings::Move::Joint`]). Its quorums meet those of either
//! neighbour, the old set alone (N−1) and the new set alone (N+1). When N+1 follows, "a majority of A(N)" above is a
//! majority of the *old* half: that alone is what nobody can hold without under N−1.
//!
//! So a change that skips a generation, misstates the former set, or comes without a new generation finds no
//! voter whose record bears it out: nobody holds under it, and the alert says what to do.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::record::Record;
use super::timing::Millis;
use super::voter::VoterSettings;
use super::{config_digest, set_digest};
use crate::id::{ClusterId, ConfigDigest, NodeId};
use crate::settings::QuorumSettings;
use crate::time::Instant;
use crate::wire::lease::{RefuseReason, Standing};

/// How long a voter waits before it writes its floor again after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// A generation that is known to be open, and its voter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Opened {
    /// Its number; 0: none is known.
    pub generation: u32,
    /// [`set_digest`] of it.
    pub set: ConfigDigest,
}

/// The oldest generation that is taken by a configuration: its own, or the one before where that is named.
pub fn oldest_served(generation: u32, names_former: bool) -> u32 {
    generation.saturating_sub(u32::from(names_former)).max(1)
}

/// The voter's side.
#[derive(Debug, Clone)]
pub(super) struct Generations {
    /// The oldest that this life of the voter accepts.
    floor: u32,
    /// The floor in the record of the former life.
    recorded: u32,
    /// Since when the record says so; before that nobody may rely on it.
    since: Option<Instant>,
    /// The write that will say so.
    ticket: Option<u64>,
    retry_at: Instant,
    opened: Opened,
    /// The record has another voter set under our generation.
    contradicted: bool,
}

impl Generations {
    pub(super) fn new(settings: &VoterSettings, record: Option<&Record>, now: Instant) -> Self {
        let serves = oldest_served(settings.generation, settings.former.is_some());
        // Nothing is older than the first, so there is nothing to write of it.
        let recorded = record.map_or(1, |record| record.floor.max(1));
        let floor = serves.max(recorded);
        let opened = record.map(|record| record.opened).unwrap_or_default();
        let contradicted = opened.generation == settings.generation && opened.set != settings.set;
        let since = (floor == recorded).then_some(now);
        Generations { floor, recorded, since, ticket: None, retry_at: now, opened, contradicted }
    }

    /// What the next record says.
    pub(super) fn on_record(&self) -> (u32, Opened) {
        (self.floor, self.opened)
    }

    /// Whether a request of that digest is of a generation that is served.
    pub(super) fn admit(&self, settings: &VoterSettings, digest: ConfigDigest) -> Result<(), RefuseReason> {
        let generation = generation_of(settings, digest).ok_or(RefuseReason::Digest)?;
        if generation < self.floor || self.contradicted { Err(RefuseReason::Generation) } else { Ok(()) }
    }

    /// A grant was asked for under that digest, so its generation is open.
    pub(super) fn asked_under(&mut self, settings: &VoterSettings, digest: ConfigDigest) {
        let set = if digest == settings.digest { Some(settings.set) } else { settings.former.map(|former| former.set) };
        if let (Some(generation), Some(set)) = (generation_of(settings, digest), set)
            && generation > self.opened.generation
        {
            self.opened = Opened { generation, set };
        }
    }

    /// Whether the floor has to be written.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next_deadline().is_some_and(|at| now >= at)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        (self.since.is_none() && self.ticket.is_none()).then_some(self.retry_at)
    }

    /// The record of that ticket has the floor in it.
    pub(super) fn written_by(&mut self, now: Instant, ticket: u64) {
        if self.since.is_none() {
            (self.ticket, self.retry_at) = (Some(ticket), now + RETRY);
        }
    }

    /// A record is on disk, or could not be written.
    pub(super) fn persisted(&mut self, now: Instant, ticket: u64, written: bool) {
        match self.ticket {
            Some(waited) if written && waited <= ticket => (self.since, self.ticket) = (Some(now), None),
            Some(waited) if !written && waited == ticket => (self.retry_at, self.ticket) = (now + RETRY, None),
            Some(_) | None => {}
        }
    }

    /// For a report.
    pub(super) fn standing(&self, now: Instant) -> (u32, Duration, Opened) {
        match self.since {
            Some(since) => (self.floor, now.since(since), self.opened),
            None => (self.recorded, Duration::ZERO, self.opened),
        }
    }
}

fn generation_of(settings: &VoterSettings, digest: ConfigDigest) -> Option<u32> {
    if digest == settings.digest {
        return Some(settings.generation);
    }
    settings.former.filter(|former| former.digest == digest).map(|_| settings.generation.saturating_sub(1))
}

/// The generation before, as a configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Former {
    /// What its members ask under.
    pub digest: ConfigDigest,
    /// [`set_digest`] of it.
    pub set: ConfigDigest,
}

impl Former {
    /// Of a configuration that names one.
    pub fn of(cluster: ClusterId, quorum: &QuorumSettings) -> Option<Former> {
        let former = quorum.former()?;
        Some(Former { digest: config_digest(cluster, &former), set: set_digest(cluster, &former) })
    }
}

/// The asker's side: whether its generation is open. Whom it asks, and when, is [`super::reach::Reach`]'s affair.
#[derive(Debug, Clone)]
pub struct Opening {
    generation: u32,
    set: ConfigDigest,
    former_set: Option<ConfigDigest>,
    /// The part of A(N−1) without a majority of which nobody can hold under N−2, if the configuration names it.
    former: Option<Vec<NodeId>>,
    /// Everybody who may know.
    voters: Vec<NodeId>,
    lease_max: Duration,
    reports: BTreeMap<NodeId, Standing>,
    open: bool,
}

impl Opening {
    /// By the configuration; generation 1 is open from the start.
    pub fn new(cluster: ClusterId, quorum: &QuorumSettings) -> Self {
        let former = match &quorum.moving {
            Some(moving) => Some(moving.from().to_vec()),
            None => quorum.former.clone(),
        };
        let voters = quorum.everybody();
        Opening {
            generation: quorum.generation,
            set: set_digest(cluster, quorum),
            former_set: Former::of(cluster, quorum).map(|former| former.set),
            former,
            voters,
            lease_max: quorum.timing.lease_max,
            reports: BTreeMap::new(),
            open: quorum.generation <= 1,
        }
    }

    /// Whether a grant may be asked for.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// A voter reported. Whether the generation is open by that.
    pub fn on_report(&mut self, from: NodeId, standing: Standing) -> bool {
        if self.open || !self.voters.contains(&from) {
            return false;
        }
        self.reports.insert(from, standing);
        self.open = self.is_proven();
        self.open
    }

    fn is_proven(&self) -> bool {
        let opened = self.reports.values().map(|standing| standing.opened);
        let own = opened.clone().any(|opened| {
            opened.generation > self.generation || (opened.generation == self.generation && opened.set == self.set)
        });
        if own {
            return true;
        }
        let before = self.generation.saturating_sub(1);
        let (Some(former), Some(former_set)) = (&self.former, self.former_set) else { return false };
        if !opened.into_iter().any(|opened| opened.generation == before && opened.set == former_set) {
            return false;
        }
        // Nothing is older than the first generation.
        before <= 1 || self.closed(former) > former.len() / 2
    }

    /// How many of A(N−1) have closed themselves to whatever is older than N−1, for long enough.
    fn closed(&self, former: &[NodeId]) -> usize {
        let before = self.generation.saturating_sub(1);
        let closed = |voter: &&NodeId| {
            self.reports
                .get(voter)
                .is_some_and(|standing| standing.floor >= before && standing.floor_for >= self.lease_max)
        };
        former.iter().filter(closed).count()
    }

    /// Why it is not open, and the remedy.
    pub fn words(&self, name: impl Fn(NodeId) -> String) -> String {
        let (mine, before) = (self.generation, self.generation.saturating_sub(1));
        let Some(former) = &self.former else {
            return format!(
                "no voter that answers has voted in generation {mine} with this voter set: if the voters have just \
                 changed, name those of generation {before} in former_voters; if the cluster is new, set generation = 1"
            );
        };
        let silent: Vec<String> =
            self.voters.iter().filter(|voter| !self.reports.contains_key(voter)).map(|voter| name(*voter)).collect();
        let mut opened = self.reports.values().map(|standing| standing.opened);
        let known = opened.clone().map(|opened| opened.generation).max().unwrap_or(0);
        let bears_out = opened.any(|opened| opened.generation == before && Some(opened.set) == self.former_set);
        let silent = if silent.is_empty() { String::new() } else { format!(" (no answer from {})", silent.join(", ")) };
        if !bears_out {
            return format!(
                "no voter that answers has voted in generation {before} with former_voters as its voters; the newest \
                 that one has voted in is {known}{silent}: change the voters from generation {known} on, one member \
                 and one generation at a time; if the cluster is new, set generation = 1"
            );
        }
        format!(
            "{} of {} voters of generation {before} no longer take generation {} and have not for {}{silent}: restart \
             the others with the new configuration",
            self.closed(former),
            former.len(),
            before.saturating_sub(1),
            Millis(self.lease_max)
        )
    }
}
