//! etcd in a voter's place (safety.md, "etcd"): the rules are `keepone_proto::lease::register`'s, here is what talks to
//! the servers.
//!
//! - [`keys`]: what stands under which key
//! - `link`: one question to one server, and its answer
//! - `refusal`: what its errors mean, and what to do
//! - `session`: an etcd lease that a node's grants hang on, where that is wanted
//! - `trouble`: what is said of it
//! - `watch`: what the servers tell unasked
//!
//! What must stay true: a question is sent once, whatever became of it; and nothing of this runs on the thread that
//! decides (R15).

pub mod keys;
mod link;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod loopback;
mod refusal;
mod session;
mod trouble;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use keepone_proto::event::Event;
use keepone_proto::handed::StoreSeen;
use keepone_proto::id::{ClusterId, DomainId, Epoch, Incarnation, NodeId};
use keepone_proto::lease::register::keeper::{Kept, KeptAsk, StoreRecord};
use keepone_proto::lease::register::{Answer, Life, Reading, Register, RegisterOutput, RegisterSettings};
use keepone_proto::wire::lease::{pack, unpack};
use tokio::sync::mpsc;

use crate::clock;
use crate::realtime::{self, Rank};
use keys::{Keys, Word};
use link::Link;
use session::Session;

/// Requests and answers that wait for the thread.
const QUEUE: usize = 1024;
/// The longest wait of a thread that has nothing to do.
const IDLE: Duration = Duration::from_secs(1);

/// Where etcd is and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EtcdSettings {
    /// The servers, as URLs: `https://10.0.0.1:2379`.
    pub endpoints: Vec<String>,
    /// How the names of all keys begin.
    pub prefix: String,
    /// Name and password of the user, if it asks for one.
    pub user: Option<(String, PathBuf)>,
    /// Who has signed the servers' certificates, in PEM; `None`: without TLS, unless an endpoint is `https`.
    pub ca_file: Option<PathBuf>,
    /// This node's certificate and private key, in PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// How long an answer may take: R, so that a renewal that is lost is followed by the next. A lease that a renewal takes
    /// first is a question of its own.
    pub patience: Duration,
    /// For how long an etcd lease is asked on which this node's grants hang, in whole seconds; `None`: they hang on none.
    pub session: Option<Duration>,
}

/// Files that etcd is spoken to with, read.
#[derive(Clone)]
pub(crate) struct Secrets {
    user: Option<(String, String)>,
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// A file that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{what} {} can't be read: {source}: make it readable for keepone, or name another", path.display())]
pub struct FileError {
    what: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

/// Why there is no connection to etcd.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file of the configuration can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Too many threads or files.
    #[error("no thread for etcd: {0}")]
    Thread(#[from] std::io::Error),
}

impl Secrets {
    fn read(settings: &EtcdSettings) -> Result<Self, FileError> {
        let read = |what: &'static str, path: &PathBuf| {
            std::fs::read(path).map_err(|source| FileError { what, path: path.clone(), source })
        };
        let user = settings.user.as_ref().map(|(user, path)| {
            let text = read("password_file", path)?;
            Ok((user.clone(), String::from_utf8_lossy(&text).trim_end().to_owned()))
        });
        let identity = settings
            .identity
            .as_ref()
            .map(|(certificate, key)| Ok((read("cert_file", certificate)?, read("key_file", key)?)));
        Ok(Secrets {
            user: user.transpose()?,
            ca: settings.ca_file.as_ref().map(|path| read("ca_file", path)).transpose()?,
            identity: identity.transpose()?,
        })
    }
}

/// The agent's end. Dropped, the thread ends.
#[derive(Debug)]
pub struct EtcdClient {
    store: NodeId,
    requests: mpsc::Sender<Vec<u8>>,
    revision: Arc<AtomicU64>,
    cluster: Arc<AtomicU64>,
}

/// What a process of the same life has seen of the store and holds, where one goes on with it (docs/decisions/0210).
#[derive(Debug, Default)]
pub struct GoesOn {
    /// None of another store, nor of one that has forgotten, is believed.
    pub seen: Option<StoreSeen>,
    /// Domains and epochs.
    pub held: Vec<(DomainId, Epoch)>,
}

/// What the thread is told.
enum Told {
    Answered { domain: DomainId, ticket: u64, answer: Answer },
    Kept { ticket: u64, kept: Option<Kept> },
    Seen { domain: DomainId, reading: Reading },
    Wanted { domain: DomainId, word: Word },
    SessionGone { life: Life },
}

impl EtcdClient {
    /// Starts the thread. `store` is the member that etcd stands for, `incarnation` new at each start (R17), also of one that
    /// goes on `from` what another process has handed on; `deliver` gets an [`Event::LeaseReceived`] for what it answers, and
    /// must not block.
    ///
    /// # Errors
    /// A file of `settings` can't be read, or there is no thread. Servers that can't be reached are tried again and again.
    pub fn start(
        settings: &EtcdSettings,
        register: RegisterSettings,
        (store, incarnation): (NodeId, Incarnation),
        from: GoesOn,
        deliver: impl Fn(Event) + Send + 'static,
    ) -> Result<Self, StartError> {
        let keys = Keys::new(&settings.prefix, register.cluster);
        let session = settings.session.map(|length| Session::new(keys.session(register.me), length));
        let link = Link::new(settings, Secrets::read(settings)?, keys).with_session(session);
        let (requests, queue) = mpsc::channel(QUEUE);
        let mut register = Register::new(register, incarnation);
        let seen = from.seen.unwrap_or(StoreSeen { revision: 0, name: 0 });
        register.go_on_from(seen.revision, from.held);
        let (cluster, revision) = (link.believe(seen.name), Arc::new(AtomicU64::new(seen.revision)));
        let told_revision = Arc::clone(&revision);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("etcd".into()).spawn(move || {
            // A lease hangs on it, and it is not quick: TLS, HTTP/2.
            realtime::ask(Rank::CarriesOut);
            runtime.block_on(async {
                let (told, events) = mpsc::channel(QUEUE);
                tokio::spawn(watch::follow(link.clone(), told.clone()));
                Shell { register, link, told, store, deliver, revision: told_revision }.serve(queue, events).await;
            });
        })?;
        Ok(EtcdClient { store, requests, revision, cluster })
    }

    /// What was seen of it so far, for [`GoesOn`].
    pub fn seen(&self) -> StoreSeen {
        StoreSeen { revision: self.revision.load(Ordering::Relaxed), name: self.cluster.load(Ordering::Relaxed) }
    }

    /// Whether it is what that member's name stands for.
    pub fn knows(&self, node: NodeId) -> bool {
        node == self.store
    }

    /// Hands requests over, never waiting; what finds no room is asked again by the core.
    pub fn send_lease(&self, bytes: Vec<u8>) {
        let _ = self.requests.try_send(bytes);
    }
}

/// What the cluster keeps of generations in etcd, asked of one server after the other.
///
/// # Errors
/// A file of `settings` can't be read, or no server answers: in words.
pub async fn read_record(settings: &EtcdSettings, cluster: ClusterId) -> Result<StoreRecord, String> {
    let secrets = Secrets::read(settings).map_err(|error| error.to_string())?;
    let link = Link::new(settings, secrets, Keys::new(&settings.prefix, cluster));
    for _ in &settings.endpoints {
        if let Some(kept) = link.ask_kept(KeptAsk::Read).await {
            return Ok(kept.record);
        }
    }
    Err(format!("none of {} answers: start etcd, or correct endpoints", settings.endpoints.join(", ")))
}

/// Between the core's requests and the servers.
struct Shell<F> {
    register: Register,
    link: Link,
    told: mpsc::Sender<Told>,
    store: NodeId,
    deliver: F,
    /// The register's, for the agent's end.
    revision: Arc<AtomicU64>,
}

impl<F: Fn(Event)> Shell<F> {
    /// Until the agent's end is gone.
    async fn serve(mut self, mut queue: mpsc::Receiver<Vec<u8>>, mut events: mpsc::Receiver<Told>) {
        loop {
            let now = clock::boottime();
            let wait = self.register.next_deadline().map_or(IDLE, |at| at.since(now).min(IDLE));
            let outputs = tokio::select! {
                bytes = queue.recv() => match bytes {
                    Some(bytes) => self.requests(&bytes),
                    None => return,
                },
                Some(told) = events.recv() => {
                    let now = clock::boottime();
                    match told {
                        Told::Answered { domain, ticket, answer } => self.register.answered(now, domain, ticket, &answer),
                        Told::Kept { ticket, kept } => {
                            self.register.kept(now, ticket, kept);
                            Vec::new()
                        }
                        Told::Seen { domain, reading } => self.register.seen(now, domain, reading),
                        Told::SessionGone { life } => self.register.session_gone(now, life),
                        Told::Wanted { domain, word } => self.register.wanted(now, domain, word.priority, word.next),
                    }
                }
                // Never early: a millisecond's rounding is on the safe side.
                () = tokio::time::sleep(wait) => self.register.tick(clock::boottime()),
            };
            self.revision.store(self.register.revision(), Ordering::Relaxed);
            self.carry_out(outputs);
        }
    }

    fn requests(&mut self, bytes: &[u8]) -> Vec<RegisterOutput> {
        let entries = unpack(bytes).into_iter().flatten().flatten();
        entries.flat_map(|request| self.register.handle(clock::boottime(), &request)).collect()
    }

    fn carry_out(&self, outputs: Vec<RegisterOutput>) {
        let mut answers = Vec::new();
        for output in outputs {
            match output {
                RegisterOutput::Answer(envelope) => answers.push(envelope),
                RegisterOutput::Ask { domain, ticket, ask } => {
                    let (link, told, asked_at) = (self.link.clone(), self.told.clone(), clock::boottime());
                    tokio::spawn(async move {
                        let answer = link.ask(domain, ask, asked_at).await;
                        let _ = told.send(Told::Answered { domain, ticket, answer }).await;
                    });
                }
                RegisterOutput::AskKept { ticket, ask } => {
                    let (link, told) = (self.link.clone(), self.told.clone());
                    tokio::spawn(async move {
                        let kept = link.ask_kept(ask).await;
                        let _ = told.send(Told::Kept { ticket, kept }).await;
                    });
                }
                RegisterOutput::LeaveWord { domain, priority, next } => {
                    let link = self.link.clone();
                    tokio::spawn(async move { link.leave_word(domain, Word { priority, next }).await });
                }
            }
        }
        for bytes in pack(&answers) {
            (self.deliver)(Event::LeaseReceived { from: self.store, bytes });
        }
    }
}
