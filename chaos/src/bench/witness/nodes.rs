//! The nodes of the measurement: for each a connection and a lease to renew, all on one thread.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use keepone_arbiter::quic::{Identity, PublicKey, Roster, TransportSettings};
use keepone_arbiter::witness::client::{ClientSettings, WitnessClient};
use keepone_arbiter::witness::config::WitnessConfig;
use keepone_proto::event::Event;
use keepone_proto::id::{DomainId, Epoch, Incarnation, NodeId};
use keepone_proto::wire::lease::{Envelope, Message, pack, unpack};
use tokio::sync::watch;

use super::{Case, LOOK, punctual, strange};
use crate::netns::error::{Error, io_error};

/// Long enough that nothing lapses while the witness is started again and all connections are made anew.
const LEASE: Duration = Duration::from_secs(20);
/// All nodes dial at once from one processor, where each has its own otherwise.
const DIALING: Duration = Duration::from_secs(3);
const WITNESS: u16 = 3;
/// Datagrams of a node that may wait for their answers; what is older is lost.
const REMEMBERED: usize = 256;

/// Writes the witness's files; the nodes' keys.
pub(super) fn configure(case: &Case, dir: &Path) -> Result<(PathBuf, Vec<Identity>), Error> {
    let key = |error: &dyn std::fmt::Display| strange("a key", &error.to_string());
    let make = |()| Identity::generate().map_err(|error| key(&error));
    let identities = (0..case.nodes).map(|_| make(())).collect::<Result<Vec<_>, _>>()?;
    let own = make(())?;
    own.save(&dir.join("w.key")).map_err(|error| key(&error))?;
    let mut text = format!(
        "name = \"w\"\nid = {WITNESS}\nkey_file = \"w.key\"\nlisten = \"127.0.0.1:7947\"\nstate_dir = \"state\"\n"
    );
    for (number, pair) in identities.chunks(2).enumerate() {
        let _ = write!(text, "[[cluster]]\nname = \"c{number}\"\nlease = \"{}ms\"\n", LEASE.as_millis());
        for (node, identity) in pair.iter().enumerate() {
            let (id, key) = (node + 1, identity.public_key());
            let _ = write!(text, "[[cluster.member]]\nname = \"n{id}\"\nid = {id}\npublic_key = \"{key}\"\n");
        }
    }
    let file = dir.join("w.toml");
    std::fs::write(&file, text).map_err(io_error("write a configuration"))?;
    Ok((file, identities))
}

/// What the nodes have seen since it was last taken.
#[derive(Debug, Default, Clone)]
pub(super) struct Tally {
    /// Nodes whose connection stands.
    pub(super) connected: usize,
    /// Nodes that have been granted all they asked for, at least once.
    pub(super) granted_once: usize,
    /// Renewals sent.
    pub(super) asked: u64,
    /// Renewals granted.
    pub(super) granted: u64,
    /// Of each datagram, how long its first grant took, in microseconds.
    pub(super) waits_us: Vec<u32>,
}

#[derive(Debug, Default)]
struct Shared {
    tally: Tally,
    /// Of each node whether it was granted something since the tally was taken.
    served: Vec<bool>,
}

/// One node.
struct Node {
    client: WitnessClient,
    state: Arc<Mutex<State>>,
    blank: Envelope,
    epoch: Epoch,
}

/// What its sender and its receiver share.
#[derive(Debug, Default)]
struct State {
    nonce: u64,
    /// What was sent and is not answered, oldest first.
    sent: VecDeque<(u64, Instant)>,
    /// The newest nonce that was granted.
    acknowledged: u64,
}

/// All of them; they end when this is dropped.
pub(super) struct Nodes {
    shared: Arc<Mutex<Shared>>,
    go: watch::Sender<u8>,
    thread: Option<JoinHandle<()>>,
}

const DIAL: u8 = 0;
const RENEW: u8 = 1;
const END: u8 = 2;

impl Nodes {
    pub(super) fn start(case: &Case, config: &WitnessConfig, identities: Vec<Identity>) -> Result<Self, Error> {
        let shared = Arc::new(Mutex::new(Shared { served: vec![false; case.nodes], ..Shared::default() }));
        let (go, heard) = watch::channel(DIAL);
        let own = Identity::load(&config.key_file).map_err(|error| strange("a key", &error.to_string()))?.public_key();
        let (case, config, seen) = (*case, config.clone(), shared.clone());
        let body = move || {
            punctual();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                runtime.block_on(live(&case, &config, (own, identities), &seen, heard));
            }
        };
        let thread = thread::Builder::new().name("nodes".into()).spawn(body).map_err(io_error("start a thread"))?;
        Ok(Nodes { shared, go, thread: Some(thread) })
    }

    /// Has all of them ask for their leases, and renew them from then on.
    pub(super) fn renew(&self) {
        let _ = self.go.send(RENEW);
    }

    /// What was seen since the last time.
    pub(super) fn take(&self) -> Tally {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.served.iter_mut().for_each(|served| *served = false);
        let connected = shared.tally.connected;
        std::mem::replace(&mut shared.tally, Tally { connected, ..Tally::default() })
    }

    pub(super) fn wait(&self, what: &str, limit: Duration, done: impl Fn(&Tally) -> bool) -> Result<(), Error> {
        let begin = Instant::now();
        loop {
            let (good, seen) = {
                let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
                (done(&shared.tally), [shared.tally.connected, shared.tally.granted_once])
            };
            match begin.elapsed() {
                _ if good => return Ok(()),
                elapsed if elapsed > limit => {
                    let words = format!("after {limit:?}: {} connected, {} granted", seen[0], seen[1]);
                    return Err(strange(&format!("not all nodes {what}"), &words));
                }
                _ => thread::sleep(LOOK),
            }
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let _ = self.go.send(END);
        self.thread.take().map(JoinHandle::join);
    }
}

async fn live(
    case: &Case,
    config: &WitnessConfig,
    (own, identities): (PublicKey, Vec<Identity>),
    shared: &Arc<Mutex<Shared>>,
    mut go: watch::Receiver<u8>,
) {
    let Some(witness) = NodeId::new(WITNESS) else { return };
    let mut nodes = Vec::new();
    for (number, identity) in identities.into_iter().enumerate() {
        let (Some(cluster), Some(id)) =
            (config.clusters.get(number / 2), NodeId::new(if number % 2 == 0 { 1 } else { 2 }))
        else {
            return;
        };
        let state = Arc::<Mutex<State>>::default();
        let settings = ClientSettings {
            identity,
            roster: Arc::new(Roster::new([(own, witness)])),
            witnesses: vec![(witness, config.listen)],
            source: None,
            interface: None,
            transport: TransportSettings { connect_deadline: DIALING, ..TransportSettings::default() },
        };
        let (seen, mine) = (shared.clone(), state.clone());
        let client = WitnessClient::start(&settings, move |event| hear(&event, number, &mine, &seen));
        let (cluster, digest, message) = (cluster.id, cluster.digest, Message::Inspect);
        let blank = Envelope { cluster, digest, domain: DomainId(0), nonce: 0, message };
        let incarnation = Incarnation(u64::try_from(number).unwrap_or(0) + 1);
        let epoch = Epoch { counter: 1, incarnation, attempt: 1, node: id };
        nodes.push(Node { client, state, blank, epoch });
    }
    while *go.borrow() == DIAL {
        let connected = nodes.iter().filter(|node| node.client.status().iter().any(|line| line.connected)).count();
        shared.lock().unwrap_or_else(PoisonError::into_inner).tally.connected = connected;
        let _ = tokio::time::timeout(LOOK * 4, go.changed()).await;
    }
    // Each at its own moment of the interval, in the order of their numbers.
    let (begin, all) = (tokio::time::Instant::now(), u32::try_from(nodes.len()).unwrap_or(1));
    let mut turn = 0_u64;
    while *go.borrow() != END {
        for (place, node) in nodes.iter().enumerate() {
            let step = turn * u64::from(all) + u64::try_from(place).unwrap_or(0);
            let at = Duration::from_secs_f64(to_f64(step) / f64::from(all) / f64::from(case.rate));
            if begin + at > tokio::time::Instant::now() {
                tokio::time::sleep_until(begin + at).await;
            } else if place % 16 == 0 {
                // Behind: the answers have their turn all the same.
                tokio::task::yield_now().await;
            }
            ask(node, place, case.domains, witness, shared);
        }
        turn += 1;
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

/// One datagram, or as many as its domains take.
fn ask(node: &Node, number: usize, domains: usize, witness: NodeId, shared: &Mutex<Shared>) {
    let (nonce, prev_ack) = {
        let mut state = node.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.nonce += 1;
        let nonce = state.nonce;
        state.sent.push_back((nonce, Instant::now()));
        if state.sent.len() > REMEMBERED {
            state.sent.pop_front();
        }
        (nonce, state.acknowledged)
    };
    let message = Message::Acquire { epoch: node.epoch, lease: LEASE, prev_ack, priority: 100 };
    let first = u64::try_from(number * domains).unwrap_or(0);
    let last = first + u64::try_from(domains).unwrap_or(0);
    let requests: Vec<Envelope> = (first..last)
        .map(|domain| Envelope { domain: DomainId(domain), nonce, message, ..node.blank.clone() })
        .collect();
    for datagram in pack(&requests) {
        let _ = node.client.send_lease(witness, datagram);
    }
    shared.lock().unwrap_or_else(PoisonError::into_inner).tally.asked += last - first;
}

fn hear(event: &Event, number: usize, state: &Mutex<State>, shared: &Mutex<Shared>) {
    let Event::LeaseReceived { bytes, .. } = event else { return };
    let Ok(entries) = unpack(bytes) else { return };
    let grants = entries.flatten().filter(|answer| matches!(answer.message, Message::Grant { .. }));
    let (mut count, mut newest) = (0, 0);
    for grant in grants {
        (count, newest) = (count + 1, grant.nonce.max(newest));
    }
    if count == 0 {
        return;
    }
    let waited = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.acknowledged = state.acknowledged.max(newest);
        // Of several datagrams of one nonce the first counts.
        let place = state.sent.iter().position(|(nonce, _)| *nonce == newest);
        place.and_then(|place| state.sent.remove(place)).map(|(_, at)| at.elapsed())
    };
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    shared.tally.granted += count;
    if let Some(waited) = waited {
        shared.tally.waits_us.push(u32::try_from(waited.as_micros()).unwrap_or(u32::MAX));
    }
    if let Some(served) = shared.served.get_mut(number)
        && !std::mem::replace(served, true)
    {
        shared.tally.granted_once += 1;
    }
}
