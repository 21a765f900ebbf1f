//! Addresses, routes and rules, and the watch of links, on a thread of their own: the kernel serves them under its
//! rtnl lock, which others may hold for long, and the decision loop must not wait for it (R15).

mod interfaces;
mod serve;
mod statics;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use keepone_arbiter::realtime::{self, Rank};
use keepone_proto::event::Event;
use keepone_proto::id::{DomainId, Epoch, WatchId};
use tokio::sync::mpsc;

use crate::linkbeat::Linkbeat;
use crate::netlink::address::VirtualAddress;
use crate::netlink::link::OwnLink;
use crate::netlink::path::{Owner, Path};
use crate::netlink::queues;
use crate::netlink::watch::{Change, Watch};
use crate::sysctl::Setting;

/// Changes and answers that may wait for the decision loop.
const QUEUE: usize = 1024;
/// After a failure of the watch.
const AFTER_ERROR: Duration = Duration::from_millis(200);

/// What a running agent is to have in the kernel from now on.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    /// While a domain is Master.
    pub(crate) addresses: BTreeMap<DomainId, Vec<VirtualAddress>>,
    /// As long as the agent, with the track group of each.
    pub(crate) statics: Vec<(VirtualAddress, Option<String>)>,
    /// Track groups, each with the watch that the core knows it by.
    pub(crate) groups: Vec<(WatchId, String)>,
    /// Both.
    pub(crate) paths: BTreeMap<Owner, Vec<Path>>,
    /// Interfaces made for virtual routers: new ones have been made already, behind the gate.
    pub(crate) links: Vec<OwnLink>,
    /// What the kernel is told of interfaces.
    pub(crate) settings: Vec<Setting>,
    /// Addresses of domains that go on, to be taken out.
    pub(crate) gone: Vec<VirtualAddress>,
    /// By which it is told that they are out.
    pub(crate) number: u64,
}

/// What the kernel is asked for.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    /// Another configuration; [`Said::Removed`] follows.
    Configure(Box<Configuration>),
    /// Watch these interfaces too.
    Watch(Vec<String>),
    /// Put the domain's addresses there, or renew them; then its routes and rules.
    Set { domain: DomainId, epoch: Epoch, lifetime_s: u32 },
    /// Take rules, routes and addresses out.
    Remove { domain: DomainId, epoch: Epoch },
    /// Somebody else took an address of the domain out: put it back, unless that does not matter or it is to be out
    /// by now.
    PutBack { domain: DomainId, address: IpAddr, lifetime_s: u32 },
    /// Somebody else took a static address out.
    PutBackStatic { address: IpAddr },
}

/// What the kernel says.
#[derive(Debug)]
pub(crate) enum Said {
    /// An answer for the core.
    Event(Event),
    /// A link or an address changed.
    Change(Change),
    /// A link that is asked for has another answer: its interface, and whether it is alive.
    Link(String, bool),
    /// What a configuration of this number has no more is not there any more, or not renewed.
    Removed(u64),
    /// The thread could not start, or has ended.
    Failed(String),
}

/// What is put into the kernel, and when.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// While a domain is Master.
    pub(crate) addresses: BTreeMap<DomainId, Vec<VirtualAddress>>,
    /// As long as the agent, with the track group of each.
    pub(crate) statics: Vec<(VirtualAddress, Option<String>)>,
    /// Both.
    pub(crate) paths: BTreeMap<Owner, Vec<Path>>,
    /// Interfaces made for virtual routers.
    pub(crate) links: Vec<OwnLink>,
    /// What the kernel is told of interfaces.
    pub(crate) settings: Vec<Setting>,
    /// Where it is written down what they were before.
    pub(crate) run_dir: PathBuf,
    /// Track groups, each with the watch that the core knows it by.
    pub(crate) groups: Vec<(WatchId, String)>,
}

/// The thread's end in the driver's hand.
#[derive(Debug)]
pub(crate) struct Kernel {
    asks: mpsc::UnboundedSender<Ask>,
    pub(crate) said: mpsc::Receiver<Said>,
    linkbeat: Linkbeat,
}

impl Kernel {
    /// Starts the thread.
    pub(crate) fn start(wanted: Wanted, interfaces: Vec<String>) -> std::io::Result<Self> {
        let (asks, requests) = mpsc::unbounded_channel();
        let (answers, said) = mpsc::channel(QUEUE);
        let (queues, links) = (answers.clone(), answers.clone());
        let names = Arc::new(Mutex::new(interfaces.clone()));
        queues::watch(Arc::clone(&names), move |event| queues.blocking_send(Said::Event(event)).is_ok())?;
        thread::Builder::new().name("netlink".into()).spawn(move || {
            // An heir's clients wait for it.
            realtime::ask(Rank::CarriesOut);
            let failures = answers.clone();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let ended = match runtime {
                Ok(runtime) => runtime.block_on(serve::serve(wanted, names, requests, answers)),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = ended {
                let _ = failures.blocking_send(Said::Failed(error));
            }
        })?;
        let linkbeat = Linkbeat::new(move |name, alive| links.blocking_send(Said::Link(name, alive)).is_ok());
        Ok(Kernel { asks, said, linkbeat })
    }

    /// From now on these interfaces are asked for their links.
    pub(crate) fn ask_links(&mut self, names: Vec<String>) {
        self.linkbeat.set(names);
    }

    /// Asks, without waiting.
    pub(crate) fn ask(&self, ask: Ask) {
        // The thread ends only with the process, or with a failure that it has told.
        let _ = self.asks.send(ask);
    }
}

async fn watch_on(mut watch: Watch, mut further: mpsc::UnboundedReceiver<Vec<String>>, answers: mpsc::Sender<Said>) {
    loop {
        let news = tokio::select! {
            news = watch.next() => news,
            Some(names) = further.recv() => {
                watch.watch(names);
                continue;
            }
        };
        match news {
            Ok(change) => {
                if answers.send(Said::Change(change)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(%error, "the watch of links and addresses has to begin anew");
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }
}
