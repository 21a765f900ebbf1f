//! The listener and its connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::patient::Patient;
use super::routes::{Door, Routes};
use super::settings::Settings;
use super::tokens::{self, Doorkeeper};
use super::{Site, tls};

/// Connections at a time; one more waits until another ends.
const CONNECTIONS: usize = 64;
/// Configurations that may wait for the listener's thread: reloads follow each other slowly.
const WISHES: usize = 8;
/// Threads that may wait for answers.
const WAITING: usize = 4;
/// For a handshake, and for the head of a request; a connection without one may be silent for so long.
const HEAD: Duration = Duration::from_secs(10);
/// For a reader that takes nothing.
const SLOW: Duration = Duration::from_secs(10);
/// Octets of a head.
const LONGEST_HEAD: usize = 16 << 10;
/// Lines of it.
const HEAD_LINES: usize = 64;
/// Between two looks at the files; and until an address that can't be had is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// After a failure to accept, such as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The listener; it ends when this is dropped.
#[derive(Debug)]
pub struct Web {
    wish: mpsc::Sender<Option<Settings>>,
}

impl Web {
    /// Starts its thread, which listens as wished from then on. What can't be had is logged, and tried again.
    ///
    /// # Errors
    /// There is no thread.
    pub fn start(site: impl Site, settings: Option<Settings>) -> io::Result<Self> {
        let (wish, wished) = mpsc::channel(WISHES);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().max_blocking_threads(WAITING).build()?;
        let site = Arc::new(site);
        thread::Builder::new().name("web".into()).spawn(move || {
            runtime.block_on(follow(&site, settings, wished));
            runtime.shutdown_background();
        })?;
        Ok(Web { wish })
    }

    /// Listens otherwise from now on, or no more; what is equal is not touched. Never waits, nor takes a lock: the
    /// thread that decides calls it.
    pub fn set(&self, settings: Option<Settings>) {
        if self.wish.try_send(settings).is_err() {
            tracing::error!(
                "web: it is served as before: its thread does not take another configuration; reload again"
            );
        }
    }
}

/// Serves what is wished, until nobody can wish any more.
async fn follow(site: &Arc<impl Site>, first: Option<Settings>, mut wished: mpsc::Receiver<Option<Settings>>) {
    let mut now = first;
    loop {
        now = {
            let serving = async {
                match &now {
                    Some(settings) => serve(site, settings).await,
                    None => std::future::pending().await,
                }
            };
            tokio::pin!(serving);
            loop {
                tokio::select! {
                    wish = wished.recv() => match wish {
                        Some(wish) if wish == now => {}
                        Some(wish) => break wish,
                        None => return,
                    },
                    never = &mut serving => match never {},
                }
            }
        };
    }
}

/// What is read from files.
struct Files {
    settings: Settings,
    stamps: Vec<tls::Stamp>,
    tls: Option<Arc<ServerConfig>>,
}

impl Files {
    fn all(settings: &Settings) -> impl Iterator<Item = &PathBuf> {
        let tls = settings.tls.iter().flat_map(|(certificate, key)| [certificate, key]);
        tls.chain(&settings.token_file)
    }

    /// Reads what has changed; what is wrong is logged. Waits for the disk.
    fn read(mut self, door: &RwLock<Door>, key: &[u8; 32]) -> Self {
        let stamps = tls::stamps(Self::all(&self.settings));
        if stamps == self.stamps {
            return self;
        }
        self.stamps = stamps;
        if let Some((certificate, key)) = &self.settings.tls {
            match tls::load(certificate, key) {
                Ok(config) => self.tls = Some(config),
                Err(error) if self.tls.is_some() => {
                    tracing::error!("web: {error}; the former certificate stays in use")
                }
                Err(error) => tracing::error!("web: {error}; nobody is answered on {}", self.settings.listen),
            }
        }
        if let Some(path) = &self.settings.token_file {
            // Whoever takes a token away wants it to be of no use: without a good file nobody is let in.
            let read = tokens::load(path);
            let read = read.inspect_err(|error| tracing::error!("web: {error}; nobody is let in until then"));
            let mut door = door.write().unwrap_or_else(PoisonError::into_inner);
            match (read, &mut *door) {
                (Ok(tokens), Door::Tokens(keeper)) => keeper.replace(tokens),
                (Ok(tokens), door) => *door = Door::Tokens(Doorkeeper::new(key, tokens)),
                (Err(_), door) => *door = Door::Shut,
            }
        }
        self
    }
}

async fn serve(site: &Arc<impl Site>, settings: &Settings) -> Infallible {
    let mut key = [0; 32];
    if let Err(error) = settings
        .check()
        .map_err(|error| error.to_string())
        .and_then(|()| getrandom::fill(&mut key).map_err(|error| format!("no random number: {error}")))
    {
        tracing::error!("web: {error}");
        return std::future::pending().await;
    }
    let listener = bind(settings.listen).await;
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    tracing::info!("web: {scheme}://{}/", settings.listen);
    let door = match settings.token_file {
        Some(_) => Door::Shut,
        None => Door::Open,
    };
    let door = Arc::new(RwLock::new(door));
    let routes = Arc::new(Routes::new(site.clone(), door.clone(), settings.tls.is_some()));
    let mut tasks = JoinSet::new();
    tasks.spawn(routes.live().run(site.clone()));
    let first = Files { settings: settings.clone(), stamps: Vec::new(), tls: None };
    let mut files = Some(first);
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            accepted = listener.accept(), if tasks.len() <= CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let tls = files.as_ref().and_then(|files| files.tls.clone());
                    // Without its certificate it says nothing at all, to nobody.
                    if tls.is_some() == settings.tls.is_some() {
                        tasks.spawn(connection(stream, tls, routes.clone()));
                    }
                }
                Err(_) => sleep(PAUSE).await,
            },
            Some(_) = tasks.join_next() => {}
            _ = again.tick() => if let Some(read) = files.take() {
                let door = door.clone();
                let kept = (read.settings.clone(), read.tls.clone());
                let read = tokio::task::spawn_blocking(move || read.read(&door, &key)).await;
                files = read.ok().or(Some(Files { settings: kept.0, stamps: Vec::new(), tls: kept.1 }));
            }
        }
    }
}

/// Until the address can be had: a port that another has, or an address that is not there yet, is said once.
async fn bind(address: SocketAddr) -> TcpListener {
    let mut is_told = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::error!("web: {address} can't be had: {error}; it is tried again each {AGAIN:?}");
                }
                sleep(AGAIN).await;
            }
        }
    }
}

async fn connection<S: Site>(stream: TcpStream, tls: Option<Arc<ServerConfig>>, routes: Arc<Routes<S>>) {
    // What is sent is sent at once; without that a change of the page would wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| {
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(routes.answer(request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(LONGEST_HEAD).max_headers(HEAD_LINES);
    // What a client does wrong is its own affair.
    match tls {
        None => drop(http.serve_connection(TokioIo::new(Patient::new(stream, SLOW)), answer).await),
        Some(config) => {
            if let Ok(Ok(stream)) = timeout(HEAD, TlsAcceptor::from(config).accept(stream)).await {
                drop(http.serve_connection(TokioIo::new(Patient::new(stream, SLOW)), answer).await);
            }
        }
    }
}
