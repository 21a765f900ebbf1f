//! Whom it is told that a real server came or went, or a quorum: the log, FIFOs, mail and webhooks, scripts, the core; and
//! the way to the keeper of the kernel's table.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::JoinHandle;

use keepone_config::Config;
use keepone_config::model::{Script, VirtualServer};
use keepone_proto::balance::wanted::Wanted;

use super::settings::{real_name, service_name};
use super::tied::Ties;
use crate::notify::LineWriter;
use crate::notify::run::Rules;
use crate::notify::servers::{ServerScripts, Told};
use crate::post::{Server, ServerPost, is_mailed};

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

impl Pair {
    /// `None`: nothing is told.
    fn of(up: &Option<Script>, down: &Option<Script>, mail: bool) -> Option<Self> {
        let is_any = mail || up.is_some() || down.is_some();
        is_any.then(|| Pair { up: up.clone(), down: down.clone(), mail })
    }
}

/// Of those that have anything to be told by. By names, virtual server and perhaps real server, since what is told may be
/// of what is not configured any more.
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
        let former = std::mem::replace(&mut self.book, book(config));
        if !former.is_empty() {
            // Who is told of in another way now, or in none, is not told of in the former one.
            let named = names(config);
            self.book.extend(former.into_iter().filter(|(name, _)| !named.contains(name)));
        }
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

    /// Whether a script runs, or waits.
    pub(super) fn is_telling(&self) -> bool {
        self.scripts.are_any()
    }

    /// Scripts that still wait are run; the threads that do so.
    pub(super) fn finish(self) -> Vec<(String, JoinHandle<()>)> {
        self.scripts.finish()
    }
}

/// Names are made only of those that are in it: a director has tens of thousands of real servers that have nothing.
fn book(config: &Config) -> Book {
    // By default all real servers have `smtp_alert`.
    let is_mailed = is_mailed(config);
    let mut book = Book::new();
    for server in &config.virtual_servers {
        let own = Pair::of(&server.quorum_up, &server.quorum_down, is_mailed && server.smtp_alert);
        book.extend(own.map(|pair| ((service_name(config, server), None), pair)));
        for real in &server.real_servers {
            let pair = Pair::of(&real.notify_up, &real.notify_down, is_mailed && real.smtp_alert);
            let name = || (service_name(config, server), Some(real_name(server.protocol, real)));
            book.extend(pair.map(|pair| (name(), pair)));
        }
    }
    book
}

/// All that could be in it.
fn names(config: &Config) -> BTreeSet<(String, Option<String>)> {
    let of = |server: &VirtualServer| {
        let name = service_name(config, server);
        let real = server.real_servers.iter().map(|real| Some(real_name(server.protocol, real)));
        std::iter::once(None).chain(real).map(|real| (name.clone(), real)).collect::<Vec<_>>()
    };
    config.virtual_servers.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use keepone_config::{Environment, load_text};

    use super::*;

    fn config(first: &str, second: &str) -> Config {
        let real = |last: u8, more: &str| format!(" real_server 10.0.0.{last} 80 {{\n{more}\n }}\n");
        let text = format!(
            "virtual_server 192.0.2.1 80 {{\n protocol TCP\n{}{}}}\n",
            real(1, first),
            if second.is_empty() { String::new() } else { real(2, second) }
        );
        load_text(Path::new("t.conf"), &text, &Environment::default()).unwrap().0
    }

    #[test]
    fn the_book_has_whoever_has_something_and_a_reload_adds_what_goes() {
        let name = |last: u8| ("[192.0.2.1]:tcp:80".to_owned(), Some(format!("[10.0.0.{last}]:tcp:80")));
        let rules = Rules { user: None, timeout: std::time::Duration::from_secs(1) };
        let (news, _told) = tokio::sync::mpsc::channel(1);
        let (letters, _sent) = tokio::sync::mpsc::channel(1);
        let post = ServerPost::new(letters, std::sync::Arc::default());
        let mut listeners = Listeners::new(Box::new(drop), Vec::new(), post, rules, Ties::new(&[], news));
        let has = |listeners: &Listeners| listeners.book.keys().cloned().collect::<Vec<_>>();
        listeners.configure(&config("notify_up /bin/a", "notify_down /bin/b"));
        assert_eq!(has(&listeners), [name(1), name(2)]);
        // The first has none any more, the second goes.
        listeners.reconfigure(&config("weight 1", ""));
        assert_eq!(has(&listeners), [name(2)]);
        listeners.configure(&config("weight 1", ""));
        assert!(listeners.book.is_empty());
    }
}
