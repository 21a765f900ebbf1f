//! What leaves the machine: mail and webhooks, told of changes of role and of alerts.
//!
//! - [`news`]: one thing worth telling, as it stands on disk and in a webhook's body
//! - [`settings`]: who is told of what
//! - [`clerk`]: puts news into the spool of each who is to be told
//! - [`spool`]: what waits for one of them, on disk
//! - [`pace`]: when the next attempt is due, and what goes with it
//! - [`courier`]: the thread that carries, one for each
//! - [`letter`]: the words of a mail; [`smtp`]: how it is given to the relay
//! - [`webhook`]: how one event is posted
//!
//! What must stay true: the decision loop only puts into a queue with a bound (R15). What is in a spool outlives the
//! agent, and leaves it when its receiver has taken it, in the order in which it came; what can't wait goes first
//! (docs/decisions/0145-what-is-mailed.md).

mod clerk;
mod courier;
mod letter;
mod news;
mod pace;
mod settings;
mod smtp;
mod spool;
mod webhook;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use keepone_proto::action::{Alert, Transition};
use keepone_proto::decision::Role;
use keepone_proto::event::Event;
use tokio::sync::mpsc;

use crate::wall_clock;
use clerk::{Clerk, Told};
pub use news::Server;
use news::{News, State, What};
pub(crate) use settings::{Settings, is_mailed};

/// News that may wait for the clerk: he only writes them to a disk.
const QUEUE: usize = 2048;
/// News of virtual and real servers that may wait for the decision loop: each is the end of a check, or of several.
const SERVERS: usize = 1024;

/// The way to mail and webhooks.
#[derive(Debug)]
pub(crate) struct Post {
    queue: Option<SyncSender<Told>>,
    thread: Option<JoinHandle<()>>,
    events: mpsc::Sender<Event>,
    lost: Arc<AtomicU64>,
    settings: Settings,
    /// The clerk does not know of them: his queue was full.
    owes_settings: bool,
    life: u64,
    count: u64,
}

impl Post {
    /// Starts the threads, if anybody is to be told. What can't be started is said, and keeps nobody from serving.
    pub(crate) fn start(settings: &Settings, events: &mpsc::Sender<Event>) -> Self {
        let mut octets = [0; 8];
        // Without it ids of two lives might be alike, and a receiver that remembers them would miss something.
        let life =
            getrandom::fill(&mut octets).map_or(wall_clock::utc().as_nanos() as u64, |()| u64::from_ne_bytes(octets));
        let mut post = Post {
            queue: None,
            thread: None,
            events: events.clone(),
            lost: Arc::default(),
            settings: settings.clone(),
            owes_settings: false,
            life,
            count: 0,
        };
        post.begin();
        post
    }

    fn begin(&mut self) {
        if self.settings.is_idle() || self.queue.is_some() {
            return;
        }
        let (queue, told) = sync_channel(QUEUE);
        let (settings, events, lost) = (self.settings.clone(), self.events.clone(), self.lost.clone());
        let serve = move || Clerk::new(settings, events, lost).serve(&told);
        match thread::Builder::new().name("post".into()).spawn(serve) {
            Ok(thread) => (self.queue, self.thread) = (Some(queue), Some(thread)),
            Err(error) => tracing::error!(%error, "no thread for mail and webhooks: nobody is told"),
        }
    }

    /// Another configuration: what waits stays.
    pub(crate) fn set(&mut self, settings: &Settings) {
        if self.settings == *settings {
            return;
        }
        self.settings = settings.clone();
        if self.queue.is_none() {
            return self.begin();
        }
        self.owes_settings = true;
        self.pay_settings();
    }

    /// Before any further news: by the former settings others might be told, or nobody.
    fn pay_settings(&mut self) {
        if self.owes_settings && self.has_room(Told::Set(Box::new(self.settings.clone()))) {
            self.owes_settings = false;
        }
    }

    /// A change of role, from the one that was last told, with what each of its instances has become.
    pub(crate) fn tell(&mut self, transition: &Transition, from: Role, domain: &str, states: Vec<State>) {
        self.publish(|| What::Transition {
            domain: domain.to_owned(),
            from: from.as_str().to_owned(),
            to: transition.to.as_str().to_owned(),
            reason: transition.reason.as_str().to_owned(),
            evidence: news::bounded(&transition.evidence),
            epoch: transition.epoch.map(|epoch| epoch.to_string()),
            priority: transition.priority.0,
            states,
        });
    }

    /// The begin or the end of an alert.
    pub(crate) fn tell_alert(&mut self, alert: &Alert, domain: Option<&str>) {
        self.publish(|| What::Alert {
            name: alert.name.as_str().to_owned(),
            domain: domain.map(str::to_owned),
            raised: alert.raised,
            severity: alert.name.severity().as_str().to_owned(),
            meaning: alert.name.what().to_owned(),
            evidence: news::bounded(&alert.evidence),
            remedy: alert.remedy.clone().into_owned(),
            epoch: alert.epoch.map(|epoch| epoch.to_string()),
        });
    }

    /// A virtual or a real server that came or went.
    pub(crate) fn tell_server(&mut self, server: Server) {
        self.publish(|| What::Server(server));
    }

    fn publish(&mut self, what: impl FnOnce() -> What) {
        if self.queue.is_none() {
            return;
        }
        self.count += 1;
        let news = News {
            version: news::VERSION,
            id: format!("{:016x}-{}", self.life, self.count),
            time: crate::calendar::format(wall_clock::utc()),
            node: self.settings.node.clone(),
            what: what(),
        };
        self.pay_settings();
        if self.owes_settings || !self.has_room(Told::News(Box::new(news))) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Puts it in, if there is room.
    fn has_room(&self, told: Told) -> bool {
        self.queue.as_ref().is_none_or(|queue| queue.try_send(told).is_ok())
    }

    /// The way of virtual and real servers to the decision loop, which hands them to [`Post::tell_server`].
    pub(crate) fn servers(&self) -> (ServerPost, mpsc::Receiver<Server>) {
        let (queue, told) = mpsc::channel(SERVERS);
        (ServerPost::new(queue, self.lost.clone()), told)
    }

    /// No more news come: the thread that sees to the rest, if there is one.
    pub(crate) fn finish(self) -> Option<(String, JoinHandle<()>)> {
        drop(self.queue);
        self.thread.map(|thread| ("mail and webhooks".to_owned(), thread))
    }
}

/// A way to it for whoever checks servers.
#[derive(Debug, Clone)]
pub(crate) struct ServerPost {
    queue: mpsc::Sender<Server>,
    lost: Arc<AtomicU64>,
}

impl ServerPost {
    /// What finds no room in the queue is counted as lost.
    pub(crate) fn new(queue: mpsc::Sender<Server>, lost: Arc<AtomicU64>) -> Self {
        ServerPost { queue, lost }
    }

    /// Never waits; what finds no room is counted.
    pub(crate) fn put(&self, server: Server) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(server) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What an instance or a group has become, in keepalived's words.
pub(crate) fn state(is_group: bool, name: &str, state: &str, priority: u8) -> State {
    let kind = if is_group { "group" } else { "instance" };
    State { kind: kind.to_owned(), name: name.to_owned(), state: state.to_owned(), priority }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn settings(node: &str) -> Settings {
        Settings { node: node.into(), spool: PathBuf::new(), jobs: Vec::new() }
    }

    fn post(queue: SyncSender<Told>) -> Post {
        Post {
            queue: Some(queue),
            thread: None,
            events: mpsc::channel(1).0,
            lost: Arc::default(),
            settings: settings("n1"),
            owes_settings: false,
            life: 1,
            count: 0,
        }
    }

    fn server() -> Server {
        Server { service: "s".into(), server: None, state: "UP".into(), evidence: String::new(), mail: true }
    }

    #[test]
    fn a_clerk_who_is_behind_learns_of_a_reload_before_any_further_news() {
        let (queue, told) = sync_channel(2);
        let mut post = post(queue);
        for _ in 0..3 {
            post.tell_server(server());
        }
        post.set(&settings("n2"));
        assert_eq!(post.lost.load(Ordering::Relaxed), 1);
        for _ in 0..2 {
            assert!(matches!(told.try_recv(), Ok(Told::News(news)) if news.node == "n1"));
        }
        post.tell_server(server());
        assert!(matches!(told.try_recv(), Ok(Told::Set(settings)) if settings.node == "n2"));
        assert!(matches!(told.try_recv(), Ok(Told::News(news)) if news.node == "n2"));
        post.tell_server(server());
        assert!(matches!(told.try_recv(), Ok(Told::News(_))), "and once");
    }

    #[test]
    fn servers_that_flap_before_a_loop_that_is_stopped_are_counted_and_not_kept() {
        let post = post(sync_channel(1).0);
        let (servers, mut told) = post.servers();
        for _ in 0..SERVERS + 2 {
            servers.put(server());
        }
        assert_eq!(post.lost.load(Ordering::Relaxed), 2);
        assert_eq!(std::iter::from_fn(|| told.try_recv().ok()).count(), SERVERS);
    }
}
