//! The witness service: the voter of each cluster behind one QUIC endpoint.
//!
//! What must stay true: the clock is read after a request has left the queue (V1), a request counts only
//! in the name that its key proves (V10), and the loop that answers never waits for the disk.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keepone_proto::id::{ClusterId, ConfigDigest, DomainId, Epoch, Incarnation, NodeId};
use keepone_proto::lease::lives::Lives;
use keepone_proto::lease::voter::{Voter, VoterOutput, VoterSettings};
use keepone_proto::time::Instant;
use keepone_proto::wire::lease::{Envelope, Message, RefuseReason, Stamp, pack, unpack};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::config::{ClusterConfig, WitnessConfig};
use super::state::{PROBED, StateDir, StoreError, Writer};
use crate::clock::boottime;
use crate::quic::ratelimit::RateLimit;
use crate::quic::{
    BindError, Endpoint, EndpointSettings, Identity, KeyError, LEASE_TAG, Listener, Peer, PublicKey, Received,
    Refusals, Roster, Sink, TransportSettings,
};

/// Requests waiting for the voter; more than that, and the newest are lost like any datagram.
const QUEUE: usize = 4096;
/// The loop looks up from its sleep at least so often: a suspend does not count for the timer.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// One log line on refusals and on a failing disk each.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// A witness that can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key is not the one that the members know.
    #[error(
        "key file holds the key of {found}, but cluster {cluster:?} knows this witness as {wanted}: use the right file, or correct public_key"
    )]
    OtherKey {
        /// Which cluster says so.
        cluster: String,
        /// The public half of the key file.
        found: PublicKey,
        /// What the configuration says.
        wanted: PublicKey,
    },
    /// Its address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its records.
    #[error(transparent)]
    State(#[from] StoreError),
    /// No thread for the disk.
    #[error("can't start the disk thread: {0}")]
    Thread(#[source] io::Error),
    /// No incarnation: without one nobody could tell this life from the last (R17).
    #[error("the system's random number generator failed: {0}")]
    Random(getrandom::Error),
}

impl StartError {
    /// Exit code of `keepone-witness`: 3 key or permission, 4 address, 5 state directory, 1 the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Key(_) | StartError::OtherKey { .. } | StartError::Bind(BindError::NotPermitted { .. }) => 3,
            StartError::Bind(_) => 4,
            StartError::State(_) => 5,
            StartError::Thread(_) | StartError::Random(_) => 1,
        }
    }
}

/// A running witness.
#[derive(Debug)]
pub struct Witness {
    endpoint: Endpoint,
    local: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Witness {
    /// Starts within a tokio runtime. Dropped, it stops answering and says nothing.
    pub fn start(config: &WitnessConfig) -> Result<Self, StartError> {
        let identity = Identity::load(&config.key_file)?;
        let found = identity.public_key();
        for cluster in &config.clusters {
            if let Some(wanted) = cluster.own_key.filter(|wanted| *wanted != found) {
                return Err(StartError::OtherKey { cluster: cluster.name.clone(), found, wanted });
            }
        }
        let state = StateDir::open(&config.state_dir)?;
        let members = config.clusters.iter().flat_map(|cluster| &cluster.members);
        let roster = Arc::new(Roster::new(members.map(|member| (member.public_key, member.id))));
        let endpoint = Endpoint::bind(&EndpointSettings {
            local: config.listen,
            interface: None,
            admit: None,
            accepts: true,
            identity,
            roster,
            transport: TransportSettings::default(),
            refusals: Refusals::default(),
        })?;
        let other = |source| BindError::Other { local: config.listen, source };
        let local = endpoint.local_addr().map_err(other)?;

        let incarnation = Incarnation(getrandom::u64().map_err(StartError::Random)?);
        let (settled, outcomes) = mpsc::unbounded_channel();
        let mut clusters = BTreeMap::new();
        for cluster in &config.clusters {
            clusters.insert(cluster.id, Seat::new(cluster, &state, incarnation, &settled)?);
        }
        let (requests, queue) = mpsc::channel(QUEUE);
        let hall = Hall { incarnation, clusters, strangers: RateLimit::new(LOG_EVERY) };
        let tasks = vec![
            tokio::spawn(hall.run(queue, outcomes)),
            tokio::spawn(Listener::new(endpoint.clone(), sink(requests), Arc::new(|_, _| {})).run()),
        ];
        tracing::info!("witness {} (id {}) votes on {local}, key {found}", config.name, config.id);
        Ok(Witness { endpoint, local, tasks })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Waits for what should never come: the voter or its endpoint ended. The process must then end too,
    /// so that its supervisor starts a new one, which waits as V7 demands.
    pub async fn failed(&mut self) {
        use std::future::poll_fn;
        use std::pin::Pin;
        use std::task::Poll;
        poll_fn(|cx| {
            let ended = self.tasks.iter_mut().any(|task| Future::poll(Pin::new(task), cx).is_ready());
            if ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Stops: the members are told at once that nobody is here. The records are on disk already.
    pub async fn stop(self) {
        self.endpoint.close("the witness stops");
        // Time for the goodbyes to leave; not for the peers' answers to them.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// Vanishes without a word, as by SIGKILL; for tests of what the members make of it.
    pub fn abandon(self) {
        self.endpoint.abandon();
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Queues lease messages for the voter.
fn sink(requests: mpsc::Sender<Request>) -> Sink {
    Arc::new(move |received: Received<'_>| {
        if received.bytes.first() != Some(&LEASE_TAG) {
            return;
        }
        let entries = match unpack(received.bytes) {
            Ok(entries) => entries,
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
        let _ = requests.try_send(Request { connection, peer, cluster, envelopes });
    })
}

/// The messages of one datagram, with the way back.
struct Request {
    connection: quinn::Connection,
    peer: Peer,
    cluster: ClusterId,
    envelopes: Vec<Envelope>,
}

/// The record of a ticket is on disk, or is not.
struct Outcome {
    cluster: ClusterId,
    ticket: u64,
    result: Result<(), StoreError>,
}

/// All the voters of this process and the loop that feeds them.
struct Hall {
    incarnation: Incarnation,
    clusters: BTreeMap<ClusterId, Seat>,
    strangers: RateLimit,
}

impl Hall {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>, mut outcomes: mpsc::UnboundedReceiver<Outcome>) {
        loop {
            let deadline = self.clusters.values().filter_map(|seat| seat.voter.next_deadline()).min();
            let pause = deadline.map_or(LONGEST_SLEEP, |at| at.since(boottime()).min(LONGEST_SLEEP));
            tokio::select! {
                biased;
                Some(outcome) = outcomes.recv() => {
                    let now = boottime();
                    if let Some(seat) = self.clusters.get_mut(&outcome.cluster) {
                        seat.settle(now, outcome.ticket, outcome.result);
                    }
                }
                request = requests.recv() => {
                    let Some(request) = request else { return };
                    // V1: the request has left its queue, so the voter counts from later than the asker.
                    self.handle(boottime(), &request);
                }
                () = tokio::time::sleep(pause) => {
                    let now = boottime();
                    for seat in self.clusters.values_mut() {
                        seat.tick(now);
                    }
                }
            }
        }
    }

    fn handle(&mut self, now: Instant, request: &Request) {
        let seat = self.clusters.get_mut(&request.cluster);
        let member = seat.and_then(|seat| Some((*seat.members.get(&request.peer.key)?, seat)));
        match member {
            Some((from, seat)) => seat.handle(now, from, request),
            None => self.refuse_cluster(now, request),
        }
    }

    /// Neither this cluster nor that member of it is known here; the asker may say so in its log too.
    fn refuse_cluster(&mut self, now: Instant, request: &Request) {
        if let Some(more) = self.strangers.admit(tokio::time::Instant::now()) {
            let (key, cluster) = (request.peer.key, request.cluster);
            tracing::warn!(
                "the member with key {key} asks for cluster {cluster:?}, in which it is not known here: compare the cluster names ({more} more like this)"
            );
        }
        let stamp = Stamp { incarnation: self.incarnation, clock: now };
        let (why, holder, holder_priority) = (RefuseReason::Cluster, None, 0);
        let (remaining, max_counter) = (Duration::ZERO, 0);
        let message = Message::Refuse { why, holder, holder_priority, remaining, max_counter, stamp };
        let asked = request.envelopes.iter().filter(|envelope| envelope.message.is_request());
        let answers = asked.map(|envelope| Envelope { digest: ConfigDigest(0), message, ..envelope.clone() });
        for datagram in pack(&answers.collect::<Vec<_>>()) {
            let _ = request.connection.send_datagram(datagram.into());
        }
    }
}

/// The voter of one cluster with what it needs of the world.
struct Seat {
    cluster: ClusterId,
    name: String,
    voter: Voter,
    members: BTreeMap<PublicKey, NodeId>,
    names: BTreeMap<NodeId, String>,
    writer: Writer,
    /// The connection of each member's newest request: the one that it sends on.
    routes: BTreeMap<NodeId, quinn::Connection>,
    /// What the log last said of each domain.
    said: BTreeMap<DomainId, Epoch>,
    /// Two agents with one key (F62).
    lives: Lives,
    seconds: RateLimit,
    refusals: RateLimit,
    disk: RateLimit,
}

impl Seat {
    fn new(
        config: &ClusterConfig,
        state: &StateDir,
        incarnation: Incarnation,
        settled: &mpsc::UnboundedSender<Outcome>,
    ) -> Result<Self, StartError> {
        let store = state.store(&config.name)?;
        let record = store.load().unwrap_or_else(|error| {
            tracing::error!("cluster {}: {error}", config.name);
            None
        });
        let (settled, cluster) = (settled.clone(), config.id);
        let writer = Writer::spawn(store, move |ticket, result| {
            let _ = settled.send(Outcome { cluster, ticket, result });
        });
        let lease_max = config.quorum.timing.lease_max;
        let settings = VoterSettings::new(cluster, &config.quorum, config.candidates(), incarnation);
        let known = record.as_ref().map_or(0, |record| record.domains.len());
        tracing::info!(
            "cluster {}: {known} domains on record; for {} ms only their holders are granted anything",
            config.name,
            lease_max.as_millis()
        );
        Ok(Seat {
            cluster,
            name: config.name.clone(),
            voter: Voter::new(settings, boottime(), record.as_ref()),
            members: config.members.iter().map(|member| (member.public_key, member.id)).collect(),
            names: config.members.iter().map(|member| (member.id, member.name.clone())).collect(),
            writer: writer.map_err(StartError::Thread)?,
            routes: BTreeMap::new(),
            said: BTreeMap::new(),
            lives: Lives::default(),
            seconds: RateLimit::new(LOG_EVERY),
            refusals: RateLimit::new(LOG_EVERY),
            disk: RateLimit::new(LOG_EVERY),
        })
    }

    fn handle(&mut self, now: Instant, from: NodeId, request: &Request) {
        let envelopes: Vec<Envelope> =
            request.envelopes.iter().filter(|envelope| !self.is_second_agent(now, from, envelope)).cloned().collect();
        if envelopes.is_empty() {
            return;
        }
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
                self.name,
                duplicate.older.0
            );
        }
        let granted = self.voter.granted(now, request.domain);
        !granted.is_some_and(|granted| granted.epoch.node == from && granted.epoch.incarnation == duplicate.older)
    }

    fn tick(&mut self, now: Instant) {
        let outputs = self.voter.tick(now);
        self.carry_out(now, outputs);
    }

    fn settle(&mut self, now: Instant, ticket: u64, result: Result<(), StoreError>) {
        if ticket == PROBED {
            return match result {
                Ok(()) => tracing::info!("cluster {}: the record can be written again", self.name),
                Err(error) => self.tell_of_disk(&format!("no new epoch can be granted: {error}")),
            };
        }
        if let Err(error) = &result {
            self.tell_of_disk(&format!("a new epoch was refused: {error}"));
        }
        let outputs = self.voter.persisted(now, ticket, result.is_ok());
        self.carry_out(now, outputs);
    }

    fn tell_of_disk(&mut self, words: &str) {
        if let Some(more) = self.disk.admit(tokio::time::Instant::now()) {
            tracing::error!("cluster {}: {words} ({more} more like this)", self.name);
        }
    }

    fn carry_out(&mut self, now: Instant, outputs: Vec<VoterOutput>) {
        let mut answers = BTreeMap::<NodeId, Vec<Envelope>>::new();
        for output in outputs {
            match output {
                VoterOutput::Send { to, envelope } => {
                    self.tell(to, &envelope);
                    answers.entry(to).or_default().push(envelope);
                }
                VoterOutput::Persist { ticket, bytes } => {
                    if !self.writer.write(ticket, bytes) {
                        tracing::error!("cluster {} ({:?}): the disk thread is gone", self.name, self.cluster);
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

    /// One log line for each change of a grant, and for refusals now and then.
    fn tell(&mut self, to: NodeId, envelope: &Envelope) {
        let (cluster, domain) = (&self.name, envelope.domain);
        let name = self.names.get(&to).map_or("?", String::as_str);
        match envelope.message {
            Message::Grant { epoch, .. } if self.said.insert(domain, epoch) != Some(epoch) => {
                tracing::info!("cluster {cluster}: domain {domain:?} granted to {name}, epoch {epoch}");
            }
            Message::Ended { epoch, .. } if self.said.get(&domain) == Some(&epoch) => {
                self.said.remove(&domain);
                tracing::info!("cluster {cluster}: domain {domain:?} given up by {name}, epoch {epoch}");
            }
            Message::Refuse { why, holder, remaining, .. } => {
                if let Some(more) = self.refusals.admit(tokio::time::Instant::now()) {
                    let ms = remaining.as_millis();
                    tracing::info!(
                        "cluster {cluster}: domain {domain:?} refused to {name}: {why:?}, holder {holder:?}, for {ms} ms ({more} more refusals)"
                    );
                }
            }
            Message::Wanted { priority, heir, .. } => {
                let better = self.names.get(&heir.node).map_or("?", String::as_str);
                tracing::debug!("cluster {cluster}: domain {domain:?}: {name} is told that {better} ({priority}) asks");
            }
            Message::Grant { .. }
            | Message::Ended { .. }
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
