//! One question to one server at a time, with an end; the next server's turn when one has not answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, Error, GetResponse, Identity, KvClient, ResponseHeader,
    TlsOptions, Txn, TxnOp, TxnOpResponse,
};
use keepone_proto::id::DomainId;
use keepone_proto::lease::register::keeper::{Kept, KeptAsk};
use keepone_proto::lease::register::{Answer, Ask, Content, Life, Reading};
use keepone_proto::time::Instant as Boottime;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::keys::{self, Keys, Word};
use super::refusal;
use super::session::{Outcome, Session};
use super::trouble::Trouble;
use super::{EtcdSettings, Secrets};

/// Between two looks at whether a connection that nobody uses lives.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Between two tries of a password that was refused: each costs etcd a hash that is meant to be slow.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a login may take.
const LOGIN: Duration = Duration::from_secs(5);

/// The servers. Clones share their connections.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) keys: Arc<Keys>,
    servers: Arc<Vec<Server>>,
    /// Whose turn it is.
    turn: Arc<AtomicUsize>,
    /// How many times a connection was made.
    logins: Arc<AtomicU64>,
    /// The etcd cluster that has answered first in this life, 0 before: no other is ever believed, since each of two
    /// would grant the same to somebody else.
    cluster: Arc<AtomicU64>,
    trouble: Arc<Trouble>,
    /// Keys that hold what none of us has written.
    strange: Arc<Trouble>,
    secrets: Arc<Secrets>,
    pub(super) patience: Duration,
    session: Option<Arc<Session>>,
}

/// A server, and the connection to it once it was needed.
struct Server {
    url: String,
    door: Arc<Mutex<Door>>,
}

/// How far a server has let us in.
#[derive(Default)]
enum Door {
    /// Nobody has asked yet, or no longer.
    #[default]
    Untried,
    /// All the way.
    Open(Box<Login>),
    /// It does not know the user with that password: since when, and in words.
    Shut(Instant, String),
}

/// A swap of a domain's key.
struct Swap {
    domain: DomainId,
    /// What the key's version must be.
    version: u64,
    /// That and what else must be so.
    compares: Vec<Compare>,
    put: TxnOp,
}

/// A connection, with the token of a user where etcd asks for one.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) client: Client,
    /// The server's place in the row.
    pub(super) place: usize,
    /// No two of one server have the same.
    number: u64,
}

impl Link {
    pub(super) fn new(settings: &EtcdSettings, secrets: Secrets, keys: Keys) -> Self {
        let server = |url: &String| Server { url: url.clone(), door: Arc::default() };
        Link {
            keys: Arc::new(keys),
            servers: Arc::new(settings.endpoints.iter().map(server).collect()),
            turn: Arc::new(AtomicUsize::new(0)),
            logins: Arc::default(),
            cluster: Arc::default(),
            trouble: Arc::default(),
            strange: Arc::default(),
            secrets: Arc::new(secrets),
            patience: settings.patience,
            session: None,
        }
    }

    /// With a session that its grants hang on.
    pub(super) fn with_session(self, session: Option<Session>) -> Self {
        Link { session: session.map(Arc::new), ..self }
    }

    /// Which etcd cluster is believed; another number than 0: that one from the start.
    pub(super) fn believe(&self, cluster: u64) -> Arc<AtomicU64> {
        self.cluster.store(cluster, Ordering::Relaxed);
        Arc::clone(&self.cluster)
    }

    fn options(&self, url: &str) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(self.patience)
            .with_keep_alive(KEEP_ALIVE, self.patience)
            .with_keep_alive_while_idle(true)
            // A member that has lost its leader says so at once.
            .with_require_leader(true);
        if let Some((name, password)) = &self.secrets.user {
            options = options.with_user(name, password);
        }
        if url.starts_with("https://") {
            let mut tls = TlsOptions::new();
            if let Some(ca) = &self.secrets.ca {
                tls = tls.ca_certificate(Certificate::from_pem(ca));
            }
            if let Some((certificate, key)) = &self.secrets.identity {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            options = options.with_tls(tls);
        }
        options
    }

    /// A connection to the server whose turn it is.
    pub(super) async fn login(&self) -> Result<Login, Error> {
        let place = self.place();
        let server = self.server(place).ok_or_else(|| Error::InvalidArgs("no endpoints".to_owned()))?;
        let mut door = Arc::clone(&server.door).lock_owned().await;
        match &*door {
            Door::Open(login) => return Ok(Login { place, ..Login::clone(login) }),
            Door::Shut(since, words) if since.elapsed() < AGAIN => return Err(Error::InvalidArgs(words.clone())),
            Door::Untried | Door::Shut(..) => {}
        }
        let (url, options) = (server.url.clone(), self.options(&server.url));
        let number = self.logins.fetch_add(1, Ordering::Relaxed);
        // A password is checked by a hash that is meant to be slow, so that a question may not live to see the end of it: the
        // next one finds what has become of it.
        let made = tokio::spawn(async move {
            let client = Client::connect([url], Some(options));
            let client = tokio::time::timeout(LOGIN, client).await;
            match client.unwrap_or_else(|_| Err(Error::Internal(format!("no login within {LOGIN:?}")))) {
                Ok(client) => {
                    let login = Login { client, place, number };
                    *door = Door::Open(Box::new(login.clone()));
                    Ok(login)
                }
                Err(error) => {
                    if refusal::is_of_the_password(&error) {
                        *door = Door::Shut(Instant::now(), refusal::words(&error, ""));
                    }
                    Err(error)
                }
            }
        });
        made.await.unwrap_or_else(|_ended| Err(Error::Internal("the login was given up".to_owned())))
    }

    /// A login is good for nothing any more: the next question makes another.
    async fn forget(&self, old: &Login) {
        let Some(server) = self.server(old.place) else { return };
        let mut door = server.door.lock().await;
        if matches!(&*door, Door::Open(login) if login.number == old.number) {
            *door = Door::Untried;
        }
    }

    fn server(&self, place: usize) -> Option<&Server> {
        self.servers.get(place % self.servers.len().max(1))
    }

    /// Whose turn it is.
    pub(super) fn place(&self) -> usize {
        self.turn.load(Ordering::Relaxed)
    }

    /// The next server's turn, unless another question has passed it on already.
    pub(super) fn pass_on(&self, place: usize) {
        let _ = self.turn.compare_exchange(place, place.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks once. Whatever goes wrong, what has become of it is unknown. `asked_at` is no later than the asking.
    pub(super) async fn ask(&self, domain: DomainId, ask: Ask, asked_at: Boottime) -> Answer {
        if let Some(session) = self.session_of(ask) {
            // A question of its own, with an end of its own: the server that has answered it lives.
            if !session.anew(asked_at, self.within(self.try_to_grant(session))).await {
                return Answer::Unknown;
            }
        }
        self.once(self.try_to_ask(domain, ask, asked_at)).await.unwrap_or(Answer::Unknown)
    }

    /// Asks about the record of generations, once; `None`: what has become of it is unknown.
    pub(super) async fn ask_kept(&self, ask: KeptAsk) -> Option<Kept> {
        self.once(self.try_to_ask_kept(ask)).await
    }

    /// One question, with an end; its answer ends what was told of trouble.
    async fn once<T>(&self, question: impl Future<Output = Result<Option<T>, Error>>) -> Option<T> {
        let answer = self.within(question).await;
        if answer.is_some() {
            self.trouble.is_over();
        }
        answer
    }

    /// One question, with an end; the next server's turn when it has no answer.
    async fn within<T>(&self, question: impl Future<Output = Result<Option<T>, Error>>) -> Option<T> {
        let place = self.place();
        let why = match tokio::time::timeout(self.patience, question).await {
            Ok(Ok(Some(answer))) => return Some(answer),
            Ok(Ok(None)) => "its answer is none that etcd gives: is it etcd that listens there?".to_owned(),
            Ok(Err(error)) => refusal::words(&error, self.keys.prefix()),
            Err(_too_late) => format!("no answer within {:?}: does it run, and is it reached?", self.patience),
        };
        let url = self.server(place).map_or("", |server| server.url.as_str());
        self.trouble.is_there(url, &why);
        self.pass_on(place);
        None
    }

    /// The store's revision, if it is the store that answered before.
    pub(super) fn revision(&self, header: Option<&ResponseHeader>) -> Result<Option<u64>, Error> {
        let Some(header) = header else { return Ok(None) };
        let (first, own) = (self.cluster.load(Ordering::Relaxed), header.cluster_id());
        if first == 0 {
            self.cluster.store(own, Ordering::Relaxed);
        } else if first != own {
            let words = "it is of another etcd cluster than the one that answered before: name the servers of one alone; \
                         if that was restored from a backup, start the agents anew";
            return Err(Error::InvalidArgs(words.to_owned()));
        }
        Ok(u64::try_from(header.revision()).ok())
    }

    /// `None`: numbers that no etcd would send.
    fn shown(&self, revision: Option<u64>, got: &GetResponse, sessions: &GetResponse) -> Option<Reading> {
        let kv = got.kvs().first();
        let content = kv.and_then(|kv| keys::parse(kv.value()));
        if let Some(kv) = kv.filter(|_| content.is_none()) {
            let key = String::from_utf8_lossy(kv.key()).into_owned();
            self.strange.is_there(&key, "this key holds what no agent has written, and counts as lost for lease_max");
        }
        let version = kv.map_or(Ok(0), |kv| u64::try_from(kv.mod_revision())).ok()?;
        let held = content.and_then(|content| content.held).filter(|held| held.session);
        let is_orphan = held.is_some_and(|held| {
            let session = self.keys.session((held.epoch.node, held.epoch.incarnation));
            !sessions.kvs().iter().any(|kv| kv.key() == session.as_bytes())
        });
        Some(Reading { revision: revision?, version, content, is_orphan })
    }

    async fn try_to_ask(&self, domain: DomainId, ask: Ask, asked_at: Boottime) -> Result<Option<Answer>, Error> {
        let login = self.login().await?;
        let asked = self.put(&login, domain, ask, asked_at).await;
        match self.instead_of(&login, &asked).await? {
            Some(login) => self.put(&login, domain, ask, asked_at).await,
            None => asked,
        }
    }

    async fn try_to_ask_kept(&self, ask: KeptAsk) -> Result<Option<Kept>, Error> {
        let login = self.login().await?;
        let asked = self.put_kept(&login, ask).await;
        match self.instead_of(&login, &asked).await? {
            Some(login) => self.put_kept(&login, ask).await,
            None => asked,
        }
    }

    /// Another login, where that one is good for nothing any more: who asked was turned away at the door, so that nothing
    /// has become of the question.
    async fn instead_of<T>(&self, old: &Login, asked: &Result<T, Error>) -> Result<Option<Login>, Error> {
        match asked {
            Err(error) if refusal::is_of_an_old_login(error) => {
                self.forget(old).await;
                self.login().await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The session that a key is to hang on.
    fn session_of(&self, ask: Ask) -> Option<&Session> {
        let Ask::Swap { content: Content { held: Some(held), .. }, .. } = ask else { return None };
        self.session.as_deref().filter(|_| held.session)
    }

    /// Asks for a lease of etcd's. `None`: it is shorter than was asked for.
    async fn try_to_grant(&self, session: &Session) -> Result<Option<(i64, Duration)>, Error> {
        let login = self.login().await?;
        let seconds = session.seconds();
        let asked = login.client.lease_client().grant(seconds, None).await;
        let lease = match self.instead_of(&login, &asked).await? {
            Some(login) => login.client.lease_client().grant(seconds, None).await?,
            None => asked?,
        };
        let length = u64::try_from(lease.ttl()).ok().filter(|_| lease.ttl() >= seconds);
        Ok(length.map(|length| (lease.id(), Duration::from_secs(length))))
    }

    /// The record of generations in an answer: of which nothing is closed where there is none.
    fn kept(&self, got: Option<&GetResponse>) -> Option<Kept> {
        let Some(kv) = got?.kvs().first() else { return Some(Kept::default()) };
        let record = keys::parse_record(kv.value());
        if record.is_none() {
            let key = String::from_utf8_lossy(kv.key()).into_owned();
            self.strange.is_there(&key, "this key holds what no agent has written: nothing is granted; delete it");
        }
        Some(Kept { version: u64::try_from(kv.mod_revision()).ok()?, record: record? })
    }

    /// Sends a question.
    async fn put(
        &self,
        login: &Login,
        domain: DomainId,
        ask: Ask,
        asked_at: Boottime,
    ) -> Result<Option<Answer>, Error> {
        let mut kv = login.client.kv_client();
        let (version, content, compares) = match ask {
            Ask::Read => {
                let answer = kv.txn(Txn::new().and_then(self.reads(domain))).await?;
                return self.read(answer.header(), answer.op_responses());
            }
            Ask::Swap { version, content, kept, orphan_of } => {
                let Some(compares) = self.compares(domain, version, kept, orphan_of) else { return Ok(None) };
                (version, content, compares)
            }
        };
        let put = TxnOp::put(self.keys.holder(domain), keys::emit(&content), None);
        if let Some(session) = self.session_of(ask) {
            let swap = Swap { domain, version, compares, put };
            return self.swap_on(session, &mut kv, &swap, asked_at).await;
        }
        let txn = Txn::new().when(compares).and_then([put]).or_else(self.reads(domain));
        let answer = kv.txn(txn).await?;
        if answer.succeeded() {
            return Ok(self.revision(answer.header())?.map(|version| Answer::Swapped { version }));
        }
        self.read(answer.header(), answer.op_responses())
    }

    /// Sends a swap of what hangs on a session.
    async fn swap_on(
        &self,
        session: &Session,
        kv: &mut KvClient,
        swap: &Swap,
        asked_at: Boottime,
    ) -> Result<Option<Answer>, Error> {
        let mut is_first = true;
        loop {
            let stand = session.stand(asked_at).ok_or_else(|| Error::Internal("no lease".to_owned()))?;
            let answer = kv.txn(session.swap(stand, &swap.compares, &swap.put, self.reads(swap.domain))).await?;
            let Some(revision) = self.revision(answer.header())? else { return Ok(None) };
            let reads = match session.outcome(&answer, revision) {
                Some(Outcome::Swapped) => return Ok(Some(Answer::Swapped { version: revision })),
                Some(Outcome::Not(reads)) => reads,
                None => return Ok(None),
            };
            let [.., TxnOpResponse::Get(sessions)] = &reads[..] else { return Ok(None) };
            let is_elsewhere = session.is_elsewhere(stand, sessions);
            let shown = self.read(answer.header(), reads)?;
            let is_as_named = matches!(shown, Some(Answer::Read(reading, _)) if reading.version == swap.version);
            // It was the session alone: once more, from where it is.
            if !(is_first && is_elsewhere && is_as_named) {
                return Ok(shown);
            }
            is_first = false;
        }
    }

    /// What the answer to a question shows: linearizable, unless one asks for less.
    fn reads(&self, domain: DomainId) -> [TxnOp; 3] {
        [
            TxnOp::get(self.keys.holder(domain), None),
            TxnOp::get(self.keys.record(), None),
            Session::read(self.keys.sessions()),
        ]
    }

    /// What must be so for a swap; `None`: numbers that no etcd has.
    fn compares(&self, domain: DomainId, version: u64, kept: u64, orphan_of: Option<Life>) -> Option<Vec<Compare>> {
        let (version, kept) = i64::try_from(version).ok().zip(i64::try_from(kept).ok())?;
        let mut compares = vec![
            Compare::mod_revision(self.keys.holder(domain), CompareOp::Equal, version),
            Compare::mod_revision(self.keys.record(), CompareOp::Equal, kept),
        ];
        compares.extend(orphan_of.map(|life| Compare::version(self.keys.session(life), CompareOp::Equal, 0)));
        Some(compares)
    }

    /// What [`Link::reads`] have shown; `None`: nothing that etcd would show.
    fn read(&self, header: Option<&ResponseHeader>, reads: Vec<TxnOpResponse>) -> Result<Option<Answer>, Error> {
        let revision = self.revision(header)?;
        let got = gets(reads);
        let shown = got.first().zip(got.get(2)).and_then(|(got, sessions)| self.shown(revision, got, sessions));
        Ok(shown.zip(self.kept(got.get(1))).map(|(shown, kept)| Answer::Read(shown, kept)))
    }

    /// Sends a question about the record of generations.
    async fn put_kept(&self, login: &Login, ask: KeptAsk) -> Result<Option<Kept>, Error> {
        let mut kv = login.client.kv_client();
        let key = self.keys.record();
        let read = [TxnOp::get(key.as_str(), None)];
        let txn = match ask {
            KeptAsk::Read => Txn::new().and_then(read),
            KeptAsk::Write { version, record } => {
                let Ok(version) = i64::try_from(version) else { return Ok(None) };
                Txn::new()
                    .when([Compare::mod_revision(key.as_str(), CompareOp::Equal, version)])
                    .and_then([TxnOp::put(key.as_str(), keys::emit_record(&record), None)])
                    .or_else(read)
            }
        };
        let answer = kv.txn(txn).await?;
        let revision = self.revision(answer.header())?;
        Ok(match ask {
            KeptAsk::Write { record, .. } if answer.succeeded() => revision.map(|version| Kept { version, record }),
            KeptAsk::Read | KeptAsk::Write { .. } => self.kept(gets(answer.op_responses()).first()),
        })
    }

    /// Leaves word for the holder; what is lost is left again by the core.
    pub(super) async fn leave_word(&self, domain: DomainId, word: Word) {
        let (key, value) = (self.keys.wanted(domain, word.next.node), serde_json::to_vec(&word).unwrap_or_default());
        let put = async {
            let login = self.login().await?;
            let left = login.client.kv_client().put(key.as_str(), value.as_slice(), None).await;
            match self.instead_of(&login, &left).await? {
                Some(login) => login.client.kv_client().put(key.as_str(), value.as_slice(), None).await,
                None => left,
            }
        };
        let _ = tokio::time::timeout(self.patience, put).await;
    }
}

/// The reads of a transaction, in their order.
fn gets(responses: Vec<TxnOpResponse>) -> Vec<GetResponse> {
    let read = |response| match response {
        TxnOpResponse::Get(got) => Some(got),
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
    };
    responses.into_iter().filter_map(read).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests;
