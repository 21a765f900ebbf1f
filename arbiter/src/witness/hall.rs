//! All the voters of a witness, and the loop that feeds them.
//!
//! What must stay true: the clock is read after a request has left the queue (V1), a request counts only in the name
//! that its key proves (V10) and in a cluster that lists this key, and the loop never waits for the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use keepone_proto::id::{ClusterId, ConfigDigest, Incarnation};
use keepone_proto::time::Instant;
use keepone_proto::wire::lease::{DecodeError, Envelope, Message, RefuseReason, Stamp, pack, unpack};
use quinn::VarInt;
use tokio::sync::{mpsc, oneshot};

use super::config::ClusterConfig;
use super::orders::Ask;
use super::rates::{Rates, Verdict};
use super::seat::Seat;
use super::server::StartError;
use super::state::{StateDir, StoreError};
use crate::clock::boottime;
use crate::quic::ratelimit::RateLimit;
use crate::quic::{LEASE_TAG, Peer, PublicKey, Received, Sink};

/// The loop looks up from its sleep at least so often: a suspend does not count for the timer.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// One log line on refusals and on a failing disk each.
pub(super) const LOG_EVERY: Duration = Duration::from_secs(5);

/// Queues lease messages for the voters, as many of each member as it may send.
pub(super) fn sink(requests: mpsc::Sender<Heard>, rates: Arc<Rates>) -> Sink {
    Arc::new(move |received: Received<'_>| {
        if received.bytes.first() != Some(&LEASE_TAG) {
            return;
        }
        let dropped = match rates.admit(tokio::time::Instant::now(), received.peer.key) {
            Verdict::Serve => None,
            Verdict::Tell(count) => Some(count),
            Verdict::Drop => return,
        };
        let entries = match unpack(received.bytes) {
            Ok(entries) => entries,
            Err(DecodeError::Version(theirs)) => {
                let _ = requests.try_send(Heard::OtherRelease { key: received.peer.key, theirs });
                return;
            }
            Err(error) => return tracing::debug!("from member {}: {error}", received.peer.node),
        };
        let cluster = entries.cluster;
        let mut envelopes = Vec::new();
        for entry in entries {
            match entry {
                Ok(envelope) => envelopes.push(envelope),
                Err(error) => tracing::debug!("from member {}: {error}", received.peer.node),
            }
        }
        let (connection, peer) = (received.connection.clone(), received.peer);
        let _ = requests.try_send(Heard::Request(Request { connection, peer, cluster, envelopes, dropped }));
    })
}

/// What has come from a member.
pub(super) enum Heard {
    /// It asks.
    Request(Request),
    /// It sends lease messages of another version, which name no cluster that could be read.
    OtherRelease { key: PublicKey, theirs: u8 },
}

/// The messages of one datagram, with the way back.
pub(super) struct Request {
    pub(super) connection: quinn::Connection,
    pub(super) peer: Peer,
    pub(super) cluster: ClusterId,
    pub(super) envelopes: Vec<Envelope>,
    /// It is one too many: how many were dropped before it since that was last said.
    pub(super) dropped: Option<u64>,
}

/// The record of a ticket is on disk, or is not.
pub(super) struct Outcome {
    pub(super) cluster: ClusterId,
    pub(super) ticket: u64,
    pub(super) result: Result<(), StoreError>,
}

/// The voters, by cluster.
pub(super) struct Hall {
    pub(super) incarnation: Incarnation,
    pub(super) started: Instant,
    pub(super) clusters: BTreeMap<ClusterId, Seat>,
    pub(super) rates: Arc<Rates>,
    state: StateDir,
    settled: mpsc::UnboundedSender<Outcome>,
    /// When each voter wants to be looked at, soonest first, and the same by cluster.
    agenda: BTreeSet<(Instant, ClusterId)>,
    due: BTreeMap<ClusterId, Instant>,
    strangers: RateLimit,
}

impl Hall {
    pub(super) fn new(
        clusters: &[ClusterConfig],
        state: &StateDir,
        incarnation: Incarnation,
        settled: mpsc::UnboundedSender<Outcome>,
        rates: Arc<Rates>,
    ) -> Result<Self, StartError> {
        let mut hall = Hall {
            incarnation,
            started: boottime(),
            clusters: BTreeMap::new(),
            rates,
            state: state.clone(),
            settled,
            agenda: BTreeSet::new(),
            due: BTreeMap::new(),
            strangers: RateLimit::new(LOG_EVERY),
        };
        for config in clusters {
            hall.clusters.insert(config.id, Seat::new(config, &hall.state, incarnation, &hall.settled)?);
            hall.schedule(config.id);
        }
        Ok(hall)
    }

    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Heard>,
        mut outcomes: mpsc::UnboundedReceiver<Outcome>,
        mut asks: mpsc::Receiver<Ask>,
    ) {
        loop {
            let next = self.agenda.first().map(|(at, _)| *at);
            let pause = next.map_or(LONGEST_SLEEP, |at| at.since(boottime()).min(LONGEST_SLEEP));
            tokio::select! {
                biased;
                Some(outcome) = outcomes.recv() => {
                    let now = boottime();
                    if let Some(seat) = self.clusters.get_mut(&outcome.cluster) {
                        seat.settle(now, outcome.ticket, outcome.result);
                        self.schedule(outcome.cluster);
                    }
                }
                Some(ask) = asks.recv() => self.answer(boottime(), ask),
                request = requests.recv() => {
                    match request {
                        // V1: the request has left its queue, so the voter counts from later than the asker.
                        Some(Heard::Request(request)) => self.handle(boottime(), &request),
                        Some(Heard::OtherRelease { key, theirs }) => self.tell_of_release(key, theirs),
                        None => return,
                    }
                }
                () = tokio::time::sleep(pause) => {}
            }
            self.look(boottime());
        }
    }

    /// Has each voter whose time has come tell the waiting (V11).
    fn look(&mut self, now: Instant) {
        while let Some((at, cluster)) = self.agenda.first().copied()
            && at <= now
        {
            if let Some(seat) = self.clusters.get_mut(&cluster) {
                seat.tick(now);
            }
            self.schedule(cluster);
            // A voter that still wants the same moment has done what it can in it.
            if self.due.get(&cluster).is_some_and(|again| *again <= now) {
                self.set_due(cluster, Some(now + Duration::from_millis(1)));
            }
        }
    }

    pub(super) fn schedule(&mut self, cluster: ClusterId) {
        let at = self.clusters.get(&cluster).and_then(|seat| seat.voter.next_deadline());
        self.set_due(cluster, at);
    }

    fn set_due(&mut self, cluster: ClusterId, at: Option<Instant>) {
        let former = match at {
            Some(at) => self.due.insert(cluster, at),
            None => self.due.remove(&cluster),
        };
        if former != at {
            former.map(|former| self.agenda.remove(&(former, cluster)));
            at.map(|at| self.agenda.insert((at, cluster)));
        }
    }

    fn handle(&mut self, now: Instant, request: &Request) {
        let seat = self.clusters.get_mut(&request.cluster);
        let member = seat.and_then(|seat| Some((*seat.members.get(&request.peer.key)?, seat)));
        match (member, request.dropped) {
            (Some((from, seat)), None) => {
                seat.handle(now, from, request);
                self.schedule(request.cluster);
            }
            (Some((from, seat)), Some(dropped)) => seat.turn_away(now, from, request, dropped, self.rates.max()),
            (None, None) => self.refuse_cluster(now, request),
            (None, Some(_)) => {}
        }
    }

    /// In every cluster that lists the key: it is one program.
    fn tell_of_release(&mut self, key: PublicKey, theirs: u8) {
        for seat in self.clusters.values_mut() {
            seat.tell_of_release(key, theirs);
        }
    }

    /// Who has this key, in which cluster.
    fn whose(&self, key: PublicKey) -> Option<(&Seat, &str)> {
        self.clusters.values().find_map(|seat| {
            let node = seat.members.get(&key)?;
            Some((seat, seat.names.get(node).map_or("?", String::as_str)))
        })
    }

    /// That cluster is not known here, or does not list that member; the asker raises an alert of its own.
    fn refuse_cluster(&mut self, now: Instant, request: &Request) {
        let key = request.peer.key;
        let asked = self.clusters.get(&request.cluster).filter(|seat| !seat.members.is_empty());
        let asked = asked.map_or_else(
            || format!("a cluster that this witness does not serve ({:016x})", request.cluster.0),
            |seat| format!("cluster {}, which does not list it", seat.config.name),
        );
        let Some((own, name)) = self.whose(key) else {
            // It was taken off the list while its connection stood.
            request.connection.close(VarInt::from_u32(1), b"no longer a member");
            tracing::info!("the member with key {key} is on no list any more: its connection is closed");
            return;
        };
        let words = format!(
            "{name} of cluster {} asks for {asked}: compare the cluster's name and its list of members on both sides",
            own.config.name
        );
        if let Some(more) = self.strangers.admit(tokio::time::Instant::now()) {
            tracing::warn!("{words} ({more} more like this)");
        }
        let stamp = Stamp { incarnation: self.incarnation, clock: now };
        let (why, holder, holder_priority) = (RefuseReason::Cluster, None, 0);
        let (remaining, max_counter) = (LONGEST_SLEEP, 0);
        let message = Message::Refuse { why, holder, holder_priority, remaining, max_counter, stamp };
        let asked = request.envelopes.iter().filter(|envelope| envelope.message.is_request());
        let answers = asked.map(|envelope| Envelope { digest: ConfigDigest(0), message, ..envelope.clone() });
        for datagram in pack(&answers.collect::<Vec<_>>()) {
            let _ = request.connection.send_datagram(datagram.into());
        }
    }

    /// Takes another list of clusters over; in words, what that means.
    pub(super) fn replace(&mut self, clusters: &[ClusterConfig]) -> Result<Vec<String>, StartError> {
        let mut words = Vec::new();
        // What may fail comes first.
        let new = clusters.iter().filter(|config| !self.clusters.contains_key(&config.id));
        let new = new.map(|config| Seat::new(config, &self.state, self.incarnation, &self.settled));
        let new = new.collect::<Result<Vec<Seat>, StartError>>()?;
        for config in clusters {
            if let Some(seat) = self.clusters.get_mut(&config.id) {
                words.extend(seat.take_over(config, self.incarnation)?);
            }
        }
        for seat in new {
            words.push(format!("cluster {} is served from now on", seat.config.name));
            self.clusters.insert(seat.config.id, seat);
        }
        clusters.iter().for_each(|config| self.schedule(config.id));
        let kept: BTreeSet<ClusterId> = clusters.iter().map(|config| config.id).collect();
        for seat in self.clusters.values_mut().filter(|seat| !kept.contains(&seat.config.id)) {
            if !seat.members.is_empty() {
                seat.close();
                words.push(format!("cluster {} is no longer served", seat.config.name));
            }
        }
        let known: BTreeSet<PublicKey> = self.clusters.values().flat_map(|seat| seat.members.keys().copied()).collect();
        self.rates.retain(|key| known.contains(&key));
        Ok(words)
    }
}

/// Where the answer to an order goes; nobody waits for it any more if it can't be said.
pub(super) fn tell<T>(to: oneshot::Sender<T>, answer: T) {
    let _ = to.send(answer);
}
