//! Addresses and the watch of links, on a thread of their own: the kernel serves both under its rtnl lock,
//! which others may hold for long, and the decision loop must not wait for it (R15).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use keepone_arbiter::realtime::{self, Rank};
use keepone_proto::event::Event;
use keepone_proto::id::{DomainId, Epoch};
use tokio::sync::mpsc;

use crate::netlink::address::{Addresses, Lifetime, VirtualAddress};
use crate::netlink::queues;
use crate::netlink::watch::{Change, Watch};

/// Changes and answers that may wait for the decision loop.
const QUEUE: usize = 1024;
/// After a failure of the watch.
const AFTER_ERROR: Duration = Duration::from_millis(200);

/// What the kernel is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ask {
    /// Put the domain's addresses there, or renew them.
    Set { domain: DomainId, epoch: Epoch, lifetime_s: u32 },
    /// Take them out.
    Remove { domain: DomainId, epoch: Epoch },
    /// Put back what somebody else took out.
    PutBack { domain: DomainId, lifetime_s: u32 },
}

/// What the kernel says.
#[derive(Debug)]
pub(crate) enum Said {
    /// An answer for the core.
    Event(Event),
    /// A link or an address changed.
    Change(Change),
    /// The thread could not start, or has ended.
    Failed(String),
}

/// The thread's end in the driver's hand.
#[derive(Debug)]
pub(crate) struct Kernel {
    asks: mpsc::UnboundedSender<Ask>,
    pub(crate) said: mpsc::Receiver<Said>,
}

impl Kernel {
    /// Starts the thread.
    pub(crate) fn start(
        addresses: BTreeMap<DomainId, Vec<VirtualAddress>>,
        interfaces: Vec<String>,
    ) -> std::io::Result<Self> {
        let (asks, requests) = mpsc::unbounded_channel();
        let (answers, said) = mpsc::channel(QUEUE);
        let queues = answers.clone();
        queues::watch(interfaces.clone(), move |event| queues.blocking_send(Said::Event(event)).is_ok())?;
        thread::Builder::new().name("netlink".into()).spawn(move || {
            // An heir's clients wait for it.
            realtime::ask(Rank::CarriesOut);
            let failures = answers.clone();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let ended = match runtime {
                Ok(runtime) => runtime.block_on(serve(addresses, interfaces, requests, answers)),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = ended {
                let _ = failures.blocking_send(Said::Failed(error));
            }
        })?;
        Ok(Kernel { asks, said })
    }

    /// Asks, without waiting.
    pub(crate) fn ask(&self, ask: Ask) {
        // The thread ends only with the process, or with a failure that it has told.
        let _ = self.asks.send(ask);
    }
}

async fn serve(
    addresses: BTreeMap<DomainId, Vec<VirtualAddress>>,
    interfaces: Vec<String>,
    mut requests: mpsc::UnboundedReceiver<Ask>,
    answers: mpsc::Sender<Said>,
) -> Result<(), String> {
    let writer = Arc::new(Addresses::open().map_err(|error| error.to_string())?);
    let watch = Watch::open(interfaces, writer.wanted()).map_err(|error| error.to_string())?;
    tokio::spawn(watch_on(watch, answers.clone()));
    let mut first = true;
    while let Some(ask) = requests.recv().await {
        let said = match ask {
            Ask::Set { domain, epoch, lifetime_s } => {
                let list = addresses.get(&domain).map(Vec::as_slice).unwrap_or_default();
                let outcome = writer.set(list, lifetime(lifetime_s)).await;
                let error = outcome.err().map(|error| error.to_string());
                Event::AddressesDone { domain, epoch, present: true, error }
            }
            Ask::Remove { domain, epoch } => {
                let list = addresses.get(&domain).map(Vec::as_slice).unwrap_or_default();
                let outcome = writer.remove(list).await;
                let error = outcome.err().map(|error| error.to_string());
                if first {
                    tracing::debug!(?domain, "addresses of a former run are gone");
                    first = false;
                }
                Event::AddressesDone { domain, epoch, present: false, error }
            }
            Ask::PutBack { domain, lifetime_s } => {
                let list = addresses.get(&domain).map(Vec::as_slice).unwrap_or_default();
                if let Err(error) = writer.set(list, lifetime(lifetime_s)).await {
                    tracing::error!(%error, "addresses that were taken away could not be put back");
                }
                continue;
            }
        };
        if answers.send(Said::Event(said)).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn lifetime(seconds: u32) -> Lifetime {
    Lifetime { valid_s: seconds, preferred_s: seconds }
}

async fn watch_on(mut watch: Watch, answers: mpsc::Sender<Said>) {
    loop {
        match watch.next().await {
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
