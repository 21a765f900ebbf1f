//! Whom it is told that a real server came or went, or a quorum: the log, FIFOs, mail and webhooks, scripts, the core; and
//! the way to the keeper of the kernel's table.

use std::collections::BTreeMap;
use std::thread::JoinHandle;

use keepone_config::Config;
use keepone_config::model::Script;
use keepone_proto::balance::wanted::Wanted;

use super::settings::{real_name, service_name};
use super::tied::Ties;
use crate::notify::LineWriter;
use crate::notify::run::Rules;
use crate::notify::servers::{ServerScripts, Told};
use crate::post::{Server, ServerPost};

/// Where [`Wanted`] goes. It must not wait.
pub(crate) type Wish = Box<dyn Fn(Wanted) + Send>;

/// Who has come or gone.
pub(super) struct Changed {
    pub(super) service: String,
    /// `None`: it is the quorum.
    pub(super) server: Option<String>,
    pub(super) is_up: bool,
    pub(super) why: String,
}

/// All of them.
pub(super) struct Listeners {
    /// The keeper of the kernel's table.
    pub(super) table: Wish,
    /// The FIFOs of virtual and real servers.
    fifos: Vec<LineWriter>,
    /// Mail and webhooks.
    post: ServerPost,
    scripts: ServerScripts,
    /// The core, as far as instances track quorums.
    pub(super) ties: Ties,
    book: Book,
}

/// What one name has to be told by.
#[derive(Debug, Clone, Default)]
struct Pair {
    up: Option<Script>,
    down: Option<Script>,
    /// `smtp_alert`.
    mail: bool,
}

/// By names, virtual server and perhaps real server, since what is told may be of what is not configured any more.
type Book = BTreeMap<(String, Option<String>), Pair>;

impl Listeners {
    /// With nobody's scripts yet.
    pub(super) fn new(table: Wish, fifos: Vec<LineWriter>, post: ServerPost, rules: Rules, ties: Ties) -> Self {
        Listeners { table, fifos, post, scripts: ServerScripts::new(rules), ties, book: Book::new() }
    }

    /// From now on this configuration's scripts are run.
    pub(super) fn configure(&mut self, config: &Config) {
        self.book = book(config);
    }

    /// The same, and until [`Self::configure`] the former one's too: of what goes by a reload, those are run.
    pub(super) fn reconfigure(&mut self, config: &Config) {
        self.book.extend(book(config));
    }

    /// Tells all of them.
    pub(super) fn tell(&mut self, Changed { service, server, is_up, why }: Changed) {
        match (&server, is_up) {
            (Some(server), true) => {
                tracing::info!(virtual_server = service, real_server = server, "a real server is up")
            }
            (Some(server), false) => {
                tracing::warn!(virtual_server = service, real_server = server, "a real server is down: {why}");
            }
            (None, true) => tracing::info!(virtual_server = service, "the quorum is gained: {why}"),
            (None, false) => tracing::warn!(virtual_server = service, "the quorum is lost: {why}"),
        }
        let state = if is_up { "UP" } else { "DOWN" };
        let line = match &server {
            Some(server) => format!("RS {server} {service} {state}"),
            None => format!("VS {service} {state}"),
        };
        self.fifos.iter().for_each(|fifo| fifo.put(&line));
        let pair = self.book.get(&(service.clone(), server.clone())).cloned().unwrap_or_default();
        let told = Server {
            service: service.clone(),
            server: server.clone(),
            state: state.to_owned(),
            evidence: why.clone(),
            mail: pair.mail,
        };
        self.post.put(told);
        if let Some(script) = if is_up { pair.up } else { pair.down } {
            self.scripts.put(Told { script, service, server, state, why });
        }
    }

    /// Scripts that still wait are run; the threads that do so.
    pub(super) fn finish(self) -> Vec<(String, JoinHandle<()>)> {
        self.scripts.finish()
    }
}

fn book(config: &Config) -> Book {
    let mut book = Book::new();
    for server in &config.virtual_servers {
        let name = service_name(config, server);
        for real in &server.real_servers {
            let (up, down) = (real.notify_up.clone(), real.notify_down.clone());
            let pair = Pair { up, down, mail: real.smtp_alert };
            book.insert((name.clone(), Some(real_name(server.protocol, real))), pair);
        }
        let (up, down) = (server.quorum_up.clone(), server.quorum_down.clone());
        book.insert((name, None), Pair { up, down, mail: server.smtp_alert });
    }
    book
}
