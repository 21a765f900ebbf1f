//! The voter of one cluster with what it needs of the world: its record, its members, the ways to them.
//!
//! What must stay true: a voter that begins anew within the process, since its cluster is configured otherwise, begins
//! like one after a restart, from what is on the disk (V7), and hears nothing of writes that its former life began.

use std::collections::BTreeMap;
use std::sync::Arc;

use keepone_proto::id::{DomainId, Epoch, Incarnation, NodeId};
use keepone_proto::lease::lives::Lives;
use keepone_proto::lease::voter::{Voter, VoterOutput, VoterSettings};
use keepone_proto::time::Instant;
use keepone_proto::wire::lease::{Envelope, Message, RefuseReason, pack};
use tokio::sync::mpsc;

use super::config::ClusterConfig;
use super::hall::{LOG_EVERY, Outcome, Request};
use super::report::other_release;
use super::server::StartError;
use super::state::{PROBED, StateDir, Store, StoreError, Writer};
use super::times::Times;
use crate::clock::boottime;
use crate::quic::PublicKey;
use crate::quic::ratelimit::RateLimit;

/// Tickets of one life of the voter: the shell's have the number of the life above these bits.
const TICKET_BITS: u32 = 40;

/// One cluster's place in the hall.
pub(super) struct Seat {
    pub(super) config: ClusterConfig,
    pub(super) voter: Voter,
    pub(super) members: BTreeMap<PublicKey, NodeId>,
    pub(super) names: BTreeMap<NodeId, String>,
    /// Names of domains that the configuration gives.
    pub(super) domains: BTreeMap<DomainId, String>,
    pub(super) times: Arc<Times>,
    pub(super) counts: Counts,
    /// When each member last asked for anything.
    pub(super) asked: BTreeMap<NodeId, Instant>,
    /// Members whose last messages were of another version, and which.
    pub(super) unread: BTreeMap<NodeId, u8>,
    state: StateDir,
    writer: Writer,
    /// Counts the voters that this seat has had.
    life: u64,
    /// The connection of each member's newest request: the one that it sends on.
    routes: BTreeMap<NodeId, quinn::Connection>,
    /// What the log last said of each domain.
    said: BTreeMap<DomainId, Epoch>,
    /// Two agents with one key (F62).
    lives: Lives,
    seconds: RateLimit,
    refusals: RateLimit,
    disk: RateLimit,
    releases: RateLimit,
}

/// What the voter has said since its start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) grants: u64,
    pub(super) renewals: u64,
    pub(super) ended: u64,
    pub(super) refusals: BTreeMap<RefuseReason, u64>,
}

impl Seat {
    pub(super) fn new(
        config: &ClusterConfig,
        state: &StateDir,
        incarnation: Incarnation,
        settled: &mpsc::UnboundedSender<Outcome>,
    ) -> Result<Self, StartError> {
        let store = state.store(&config.name)?;
        let voter = begin(config, &store, incarnation);
        let times = store.times();
        let (settled, cluster) = (settled.clone(), config.id);
        let writer = Writer::spawn(store, move |ticket, result| {
            let _ = settled.send(Outcome { cluster, ticket, result });
        });
        let mut seat = Seat {
            config: config.clone(),
            voter,
            members: BTreeMap::new(),
            names: BTreeMap::new(),
            domains: BTreeMap::new(),
            times,
            counts: Counts::default(),
            asked: BTreeMap::new(),
            unread: BTreeMap::new(),
            state: state.clone(),
            writer: writer.map_err(StartError::Thread)?,
            life: 0,
            routes: BTreeMap::new(),
            said: BTreeMap::new(),
            lives: Lives::default(),
            seconds: RateLimit::new(LOG_EVERY),
            refusals: RateLimit::new(LOG_EVERY),
            disk: RateLimit::new(LOG_EVERY),
            releases: RateLimit::new(LOG_EVERY),
        };
        seat.list(config);
        Ok(seat)
    }

    /// Takes the members and names of a configuration over.
    fn list(&mut self, config: &ClusterConfig) {
        let of = |member: &super::config::Member| member.keys.iter().map(|key| (*key, member.id)).collect::<Vec<_>>();
        self.members = config.members.iter().flat_map(of).collect();
        self.names = config.members.iter().map(|member| (member.id, member.name.clone())).collect();
        self.domains = config.domains.clone();
        let names = &self.names;
        self.routes.retain(|node, _| names.contains_key(node));
        self.asked.retain(|node, _| names.contains_key(node));
        self.unread.retain(|node, _| names.contains_key(node));
        self.config = config.clone();
    }

    /// Goes on with another configuration of the cluster: in words, what that means; `None`: it is the same.
    ///
    /// # Errors
    /// The record's name is no file name, which no checked configuration has.
    pub(super) fn take_over(
        &mut self,
        config: &ClusterConfig,
        incarnation: Incarnation,
    ) -> Result<Option<String>, StoreError> {
        if self.config == *config {
            return Ok(None);
        }
        let (digest, former) = (self.config.digest, self.config.quorum.former.clone());
        let same_vote = digest == config.digest && former == config.quorum.former;
        let words = if same_vote {
            self.voter.set_candidates(config.candidates());
            format!("cluster {}: its members are another list now", config.name)
        } else {
            self.voter = begin(config, &self.state.store(&config.name)?, incarnation);
            self.life += 1;
            format!(
                "cluster {}: its voter begins anew, with generation {}; only recorded holders are served for {} ms (V7)",
                config.name,
                config.quorum.generation,
                self.voter.quiet_until().since(boottime()).as_millis()
            )
        };
        self.list(config);
        Ok(Some(words))
    }

    /// Serves nobody from now on, and keeps what it has lent in mind, should the cluster come back.
    pub(super) fn close(&mut self) {
        self.members.clear();
        self.names.clear();
        self.routes.clear();
        self.config.members.clear();
    }

    pub(super) fn handle(&mut self, now: Instant, from: NodeId, request: &Request) {
        let envelopes: Vec<Envelope> =
            request.envelopes.iter().filter(|envelope| !self.is_second_agent(now, from, envelope)).cloned().collect();
        if envelopes.is_empty() {
            return;
        }
        self.asked.insert(from, now);
        self.unread.remove(&from);
        let inspects = envelopes.iter().all(|envelope| envelope.message == Message::Inspect);
        let former = self.routes.insert(from, request.connection.clone());
        let outputs = self.voter.handle_all(now, from, &envelopes);
        self.carry_out(now, outputs);
        // Who only looks, as `keepone voters` does, is not where the agent wants to be told things unasked.
        if let Some(former) = former.filter(|_| inspects) {
            self.routes.insert(from, former);
        }
    }

    /// Whether a request can only be of a second agent with a member's key. What it already holds it may
    /// renew: that endangers nobody.
    fn is_second_agent(&mut self, now: Instant, from: NodeId, request: &Envelope) -> bool {
        let Some(duplicate) = self.lives.on_request(now, from, request) else { return false };
        if let Some(more) = self.seconds.admit(tokio::time::Instant::now()) {
            let name = self.names.get(&from).cloned().unwrap_or_else(|| from.to_string());
            tracing::error!(
                "cluster {}: two agents speak as {name}, as after a node was cloned with its key: the older one ({:016x}) gets nothing new; stop one of the two, or give it a key and an id of its own ({more} more like this)",
                self.config.name,
                duplicate.older.0
            );
        }
        let granted = self.voter.granted(now, request.domain);
        !granted.is_some_and(|granted| granted.epoch.node == from && granted.epoch.incarnation == duplicate.older)
    }

    /// The member sends more than it may: it is told, by way of the first of what was dropped.
    pub(super) fn turn_away(&mut self, now: Instant, from: NodeId, request: &Request, dropped: u64, max: u32) {
        let name = self.names.get(&from).cloned().unwrap_or_else(|| from.to_string());
        tracing::warn!(
            "cluster {}: {name} sends more than {max} datagrams a second, {dropped} more were dropped: look for a second program with its key, or raise max_rate",
            self.config.name
        );
        self.routes.entry(from).or_insert_with(|| request.connection.clone());
        let outputs = self.voter.turn_away(now, from, &request.envelopes, RefuseReason::TooMuch);
        self.carry_out(now, outputs);
    }

    /// A member with this key sends what can't be read here (docs/upgrading.md); it is said until it sends what can.
    pub(super) fn tell_of_release(&mut self, key: PublicKey, theirs: u8) {
        let Some(node) = self.members.get(&key) else { return };
        self.unread.insert(*node, theirs);
        if let Some(more) = self.releases.admit(tokio::time::Instant::now()) {
            let name = self.names.get(node).map_or("?", String::as_str);
            tracing::warn!("cluster {}: {} ({more} more like this)", self.config.name, other_release(name, theirs));
        }
    }

    /// Members whose connection stands.
    pub(super) fn is_connected(&self, node: NodeId) -> bool {
        self.routes.get(&node).is_some_and(|connection| connection.close_reason().is_none())
    }

    /// Drops what is remembered of a node beside its epochs.
    pub(super) fn forget_node(&mut self, node: NodeId) {
        self.voter.forget_node(node);
        self.routes.remove(&node);
        self.asked.remove(&node);
        self.unread.remove(&node);
        self.lives.forget(node);
    }

    pub(super) fn tick(&mut self, now: Instant) {
        let outputs = self.voter.tick(now);
        self.carry_out(now, outputs);
    }

    pub(super) fn settle(&mut self, now: Instant, ticket: u64, result: Result<(), StoreError>) {
        if ticket == PROBED {
            return match result {
                Ok(()) => tracing::info!("cluster {}: the record can be written again", self.config.name),
                Err(error) => self.tell_of_disk(&format!("no new epoch can be granted: {error}")),
            };
        }
        if ticket >> TICKET_BITS != self.life {
            return;
        }
        let ticket = ticket & ((1 << TICKET_BITS) - 1);
        if let Err(error) = &result {
            self.tell_of_disk(&format!("a new epoch was refused: {error}"));
        }
        let outputs = self.voter.persisted(now, ticket, result.is_ok());
        self.carry_out(now, outputs);
    }

    fn tell_of_disk(&mut self, words: &str) {
        if let Some(more) = self.disk.admit(tokio::time::Instant::now()) {
            tracing::error!("cluster {}: {words} ({more} more like this)", self.config.name);
        }
    }

    pub(super) fn carry_out(&mut self, now: Instant, outputs: Vec<VoterOutput>) {
        let mut answers = BTreeMap::<NodeId, Vec<Envelope>>::new();
        for output in outputs {
            match output {
                VoterOutput::Send { to, envelope } => {
                    self.tell(to, &envelope);
                    answers.entry(to).or_default().push(envelope);
                }
                VoterOutput::Persist { ticket, bytes } => {
                    if !self.writer.write(self.life << TICKET_BITS | ticket, bytes) {
                        tracing::error!("cluster {} ({:?}): the disk thread is gone", self.config.name, self.config.id);
                        let refusals = self.voter.persisted(now, ticket, false);
                        self.carry_out(now, refusals);
                    }
                }
            }
        }
        for (to, envelopes) in answers {
            let Some(connection) = self.routes.get(&to) else { continue };
            for datagram in pack(&envelopes) {
                // Lost like any datagram where it can't go; the asker asks again.
                let _ = connection.send_datagram(datagram.into());
            }
        }
    }

    /// A domain for people: its name where the configuration gives it, or else its number.
    pub(super) fn label(&self, domain: DomainId) -> String {
        self.domains.get(&domain).cloned().unwrap_or_else(|| number(domain))
    }

    /// Counts what is said. One log line for each change of a grant, and for refusals now and then.
    fn tell(&mut self, to: NodeId, envelope: &Envelope) {
        let (cluster, domain) = (&self.config.name, envelope.domain);
        let name = self.names.get(&to).map_or("?", String::as_str);
        match envelope.message {
            Message::Grant { epoch, .. } if self.said.get(&domain) == Some(&epoch) => self.counts.renewals += 1,
            Message::Grant { epoch, .. } => {
                self.said.insert(domain, epoch);
                self.counts.grants += 1;
                let domain = self.label(domain);
                tracing::info!("cluster {cluster}: domain {domain} granted to {name}, epoch {epoch}");
            }
            Message::Ended { epoch, .. } if self.said.get(&domain) == Some(&epoch) => {
                self.said.remove(&domain);
                self.counts.ended += 1;
                let domain = self.label(domain);
                tracing::info!("cluster {cluster}: domain {domain} given up by {name}, epoch {epoch}");
            }
            Message::Refuse { why, holder, remaining, .. } => {
                *self.counts.refusals.entry(why).or_default() += 1;
                if let Some(more) = self.refusals.admit(tokio::time::Instant::now()) {
                    let (ms, domain, why) = (remaining.as_millis(), self.label(domain), why.as_str());
                    let holder = holder.map_or_else(|| "nobody".to_owned(), |holder| holder.to_string());
                    tracing::info!(
                        "cluster {cluster}: domain {domain} refused to {name}: {why}, holder {holder}, for {ms} ms ({more} more refusals)"
                    );
                }
            }
            Message::Wanted { priority, heir, .. } => {
                let better = self.names.get(&heir.node).map_or("?", String::as_str);
                let domain = self.label(domain);
                tracing::debug!("cluster {cluster}: domain {domain}: {name} is told that {better} ({priority}) asks");
            }
            Message::Ended { .. }
            | Message::Free { .. }
            | Message::Offer { .. }
            | Message::Report { .. }
            | Message::Inspect
            | Message::HandoverRequest { .. }
            | Message::Promise { .. }
            | Message::Promised { .. }
            | Message::Query { .. }
            | Message::Acquire { .. }
            | Message::Release { .. }
            | Message::Transfer { .. } => {}
        }
    }
}

/// The voter of a cluster, from its record.
fn begin(config: &ClusterConfig, store: &Store, incarnation: Incarnation) -> Voter {
    let record = store.load().unwrap_or_else(|error| {
        tracing::error!("cluster {}: {error}", config.name);
        None
    });
    let settings = VoterSettings::new(config.id, &config.quorum, config.candidates(), incarnation);
    let voter = Voter::new(settings, boottime(), record.as_ref());
    tracing::info!(
        "cluster {}: {} domains on record; for {} ms only their holders are granted anything",
        config.name,
        record.map_or(0, |record| record.domains.len()),
        voter.quiet_until().since(boottime()).as_millis()
    );
    voter
}

/// A domain's number for people.
pub(super) fn number(domain: DomainId) -> String {
    format!("{:016x}", domain.0)
}
