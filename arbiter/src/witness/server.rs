//! The witness service: one QUIC endpoint, the voters behind it, and what may be changed while it runs.
//!
//! What must stay true: a reload changes nothing of what was lent, and one that fails changes nothing at all.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keepone_proto::id::{Incarnation, NodeId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::config::WitnessConfig;
use super::counter::{self, About, Answers};
use super::hall::{Hall, sink};
use super::orders::Ask;
use super::page::Page;
use super::rates::Rates;
use super::state::{StateDir, StoreError};
use crate::control::Server;
use crate::quic::{
    BindError, Endpoint, EndpointSettings, Identity, KeyError, Listener, PublicKey, Refusals, Roster, TransportSettings,
};
use crate::web::Web;

/// Requests waiting for the voters; more than that, and the newest are lost like any datagram.
const QUEUE: usize = 4096;
/// Questions of the operator and of the supervisor that wait.
const ASKS: usize = 16;

/// Keys of one member, for an error.
#[derive(Debug)]
pub struct Keys(Vec<PublicKey>);

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "))
    }
}

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
        wanted: Keys,
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
    roster: Arc<Roster>,
    rates: Arc<Rates>,
    asks: mpsc::Sender<Ask>,
    about: Arc<Mutex<About>>,
    control: Option<Server>,
    web: Option<Web>,
    config: WitnessConfig,
    identity: Identity,
    local: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Witness {
    /// Starts within a tokio runtime. Dropped, it stops answering and says nothing.
    pub fn start(config: &WitnessConfig) -> Result<Self, StartError> {
        let identity = load_key(config)?;
        let state = StateDir::open(&config.state_dir)?;
        let roster = Arc::new(Roster::new(members(config)));
        let endpoint = Endpoint::bind(&EndpointSettings {
            local: config.listen,
            interface: None,
            admit: None,
            accepts: true,
            identity: identity.clone(),
            roster: roster.clone(),
            transport: TransportSettings::default(),
            refusals: Refusals::default(),
        })?;
        let other = |source| BindError::Other { local: config.listen, source };
        let local = endpoint.local_addr().map_err(other)?;

        let incarnation = Incarnation(getrandom::u64().map_err(StartError::Random)?);
        let (settled, outcomes) = mpsc::unbounded_channel();
        let rates = Arc::new(Rates::new(config.max_rate));
        let hall = Hall::new(&config.clusters, &state, incarnation, settled, rates.clone())?;
        let (requests, queue) = mpsc::channel(QUEUE);
        let (asks, asked) = mpsc::channel(ASKS);
        let sink = sink(requests, rates.clone());
        let tasks = vec![
            tokio::spawn(hall.run(queue, outcomes, asked)),
            tokio::spawn(Listener::new(endpoint.clone(), sink, Arc::new(|_, _| {})).run()),
        ];
        tracing::info!("witness {} (id {}) votes on {local}, key {}", config.name, config.id, identity.public_key());
        let about = Arc::new(Mutex::new(About::new(config, identity.public_key(), local.to_string())));
        // A witness that can't be asked votes all the same.
        let answers = Answers { asks: asks.clone(), about: about.clone(), roster: roster.clone() };
        let control = counter::open(&config.state_dir, answers.clone());
        let control = control.inspect_err(|error| tracing::error!("{error}; commands can't ask this witness")).ok();
        let web = Web::start(Page::new(config, answers), config.web.clone());
        let web = web.inspect_err(|error| tracing::error!("no thread for the web page: {error}")).ok();
        let config = config.clone();
        Ok(Witness { endpoint, about, control, web, roster, rates, asks, config, identity, local, tasks })
    }

    /// Goes on with another configuration: clusters, members, keys and rates. In words, what changes. After an error
    /// nothing has changed.
    ///
    /// # Errors
    /// It says something that only a restart can take over, or its key can't be used.
    pub async fn reload(&mut self, config: &WitnessConfig) -> Result<Vec<String>, ReloadError> {
        let same = |what, same| if same { Ok(()) } else { Err(ReloadError::NeedsRestart(what)) };
        same("name", config.name == self.config.name)?;
        same("id", config.id == self.config.id)?;
        same("listen", config.listen == self.config.listen)?;
        same("state_dir", config.state_dir == self.config.state_dir)?;
        same("metrics", config.metrics == self.config.metrics)?;
        let identity = load_key(config)?;
        self.endpoint.set_identity(&identity).map_err(StartError::Bind)?;
        let replaced = self.ask(|to| Ask::Replace(config.clusters.clone(), to)).await.ok_or(ReloadError::Ended)?;
        let mut words = match replaced {
            Ok(words) => words,
            Err(error) => {
                self.endpoint.set_identity(&self.identity).map_err(StartError::Bind)?;
                return Err(error.into());
            }
        };
        self.roster.replace(members(config));
        if identity.public_key() != self.identity.public_key() {
            words.push(format!("new connections are shown the key {}", identity.public_key()));
        }
        *self.about.lock().unwrap_or_else(PoisonError::into_inner) =
            About::new(config, identity.public_key(), self.local.to_string());
        self.identity = identity;
        if config.max_rate != self.config.max_rate {
            self.rates.set_max(config.max_rate);
            words.push(format!("a node may send {} datagrams a second", config.max_rate));
        }
        if config.web != self.config.web
            && let Some(web) = &self.web
        {
            web.set(config.web.clone());
            words.push(String::from("the web page is served as the configuration says"));
        }
        self.config = config.clone();
        Ok(words)
    }

    /// Asks the loop that answers the members; `None`: it has ended.
    pub async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        ask_by(&self.asks, ask).await
    }

    /// The way to ask, for others.
    pub fn asks(&self) -> mpsc::Sender<Ask> {
        self.asks.clone()
    }

    /// What it runs with.
    pub fn config(&self) -> &WitnessConfig {
        &self.config
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
    pub async fn stop(mut self) {
        self.control = None;
        self.web = None;
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

/// Asks the loop of a witness; `None`: it has ended.
pub async fn ask_by<T>(asks: &mpsc::Sender<Ask>, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
    let (to, answer) = oneshot::channel();
    asks.send(ask(to)).await.ok()?;
    answer.await.ok()
}

/// A configuration that a running witness can't take over.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// That can't be changed while it runs.
    #[error(
        "{0} has changed, which a restart takes over and a reload does not: restart the witness (its leases outlive that)"
    )]
    NeedsRestart(&'static str),
    /// Its key, or its state.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is no loop to ask.
    #[error("the voters have ended")]
    Ended,
}

fn load_key(config: &WitnessConfig) -> Result<Identity, StartError> {
    let identity = Identity::load(&config.key_file)?;
    let found = identity.public_key();
    for cluster in config.clusters.iter().filter(|cluster| !cluster.own_keys.is_empty()) {
        if !cluster.own_keys.contains(&found) {
            return Err(StartError::OtherKey {
                cluster: cluster.name.clone(),
                found,
                wanted: Keys(cluster.own_keys.clone()),
            });
        }
    }
    Ok(identity)
}

fn members(config: &WitnessConfig) -> impl Iterator<Item = (PublicKey, NodeId)> {
    let members = config.clusters.iter().flat_map(|cluster| &cluster.members);
    members.flat_map(|member| member.keys.iter().map(|key| (*key, member.id)))
}
