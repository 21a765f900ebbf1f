//! The service on the system's D-Bus, with the names that keepalived has there: `enable_dbus`.
//!
//! - [`book`]: the instances, where each is on the bus, and what has been told of it
//! - [`objects`]: what may be read and asked
//! - [`serve`]: the connection, made again when it is lost
//!
//! What must stay true: the decision loop only puts into a queue with a bound (R15); signals leave in the order in which
//! instances changed, one for each change. While there is no bus nothing is kept but how instances are; one that comes is
//! told that of each, once (docs/decisions/0200-d-bus.md).

mod book;
mod objects;
mod serve;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use keepone_proto::id::DomainId;
use tokio::sync::mpsc;

use crate::assemble::Plan;
use crate::control::Answers;
use crate::dump::What;
use book::Instance;

/// Changes that may wait for the bus. A thousand instances of one group change at once.
const QUEUE: usize = 8192;

/// What the bus is told.
#[derive(Debug)]
enum News {
    /// An instance is in another state, as keepalived's words have it.
    State(String, &'static str),
    /// These are the instances.
    Instances(Vec<Instance>),
    /// Another configuration runs.
    Reloaded,
}

/// What callers may have done.
#[derive(Clone)]
pub(crate) struct Hands {
    /// Who asks the decision thread for announcements.
    pub(crate) answers: Answers,
    /// To whoever writes down what is known.
    pub(crate) dumps: mpsc::Sender<What>,
    /// The guardian, which reloads; none over a worker that was started by hand.
    pub(crate) guardian: Option<nix::unistd::Pid>,
}

/// The way to the bus.
#[derive(Debug)]
pub(crate) struct Dbus {
    queue: mpsc::Sender<News>,
    /// Changes that found the queue full.
    lost: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Dbus {
    /// Starts the thread that serves `name`. Of the domains that are held already, since the process goes on with what one
    /// before it held, each instance is MASTER from the first.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(crate) fn start(name: &str, plan: &Plan, hands: Hands, held: &[DomainId]) -> io::Result<Self> {
        let (queue, news) = mpsc::channel(QUEUE);
        let lost = Arc::<AtomicU64>::default();
        let (name, book, counted) = (name.to_owned(), book::begun(plan, held), Arc::clone(&lost));
        let serve = move || serve::run(name, book, hands, news, &counted);
        let thread = thread::Builder::new().name("dbus".into()).spawn(serve)?;
        Ok(Dbus { queue, lost, thread })
    }

    /// An instance is in another state, in keepalived's words (`MASTER`, `BACKUP`, `FAULT`, `STOP`, `DELETED`).
    pub(crate) fn tell(&self, instance: &str, state: &'static str) {
        self.put(News::State(instance.to_owned(), state));
    }

    /// Other instances, after a reload.
    pub(crate) fn set(&self, plan: &Plan) {
        self.put(News::Instances(book::instances(plan)));
    }

    /// Another configuration runs.
    pub(crate) fn reloaded(&self) {
        self.put(News::Reloaded);
    }

    /// No more is told; the thread ends when the bus has all of it, or does not take it.
    pub(crate) fn finish(self) -> (String, JoinHandle<()>) {
        drop(self.queue);
        ("what D-Bus is told".to_owned(), self.thread)
    }

    fn put(&self, news: News) {
        if self.queue.try_send(news).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}
