//! SNMP: a subagent (AgentX, RFC 2741) that a master such as Net-SNMP's snmpd asks, with keepalived's MIB and that of
//! RFC 6527.
//!
//! ```text
//! snmpd ── session.rs ── tree.rs ◀── keepalived.rs, vrrpv3.rs ◀── standing.rs ── the control socket's desk
//!              ▲
//!              └── changes of state, from the notifier: a queue with a bound
//! ```
//!
//! What must stay true: the decision loop only puts into a queue, and never waits (R15); a master that is gone, hangs
//! or sends nonsense costs this thread's time and nobody else's. Nothing can be set from outside.

mod keepalived;
mod pdu;
mod session;
mod standing;
mod tree;
mod vrrpv3;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use keepone_config::{Config, model};

use crate::control::Answers;
use pdu::Value;
pub(crate) use standing::Now;

/// Changes that may wait for a master that is away.
const QUEUE: usize = 1024;
/// Where Net-SNMP's master listens unless it is told otherwise.
const MASTER: &str = "/var/agentx/master";

/// What the thread goes by.
#[derive(Debug, Clone)]
struct Settings {
    master: Master,
    router_id: String,
    vrrp: bool,
    /// VRRPV3-MIB.
    rfc: bool,
    checkers: bool,
    traps: bool,
    config: Arc<Config>,
}

/// Where the master listens.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Master {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Settings {
    /// Whether anybody is to be answered.
    fn are_wanted(config: &Config) -> bool {
        let model::Snmp { vrrp, rfc, checkers, .. } = config.global.snmp;
        vrrp || rfc || checkers
    }

    /// `None`: nobody is.
    fn of(config: &Arc<Config>, node: &str) -> Option<Self> {
        let model::Snmp { socket, traps, vrrp, rfc, checkers } = config.global.snmp.clone();
        Self::are_wanted(config).then(|| Settings {
            master: Master::of(socket.as_deref()),
            router_id: config.global.router_id.clone().unwrap_or_else(|| node.to_owned()),
            vrrp,
            rfc,
            checkers,
            traps,
            config: config.clone(),
        })
    }
}

impl Master {
    /// Of a word that the configuration's check has passed.
    fn of(word: Option<&str>) -> Self {
        let word = word.unwrap_or(MASTER);
        match word.strip_prefix("tcp:").and_then(|address| address.parse().ok()) {
            Some(address) => Master::Tcp(address),
            None => Master::Unix(word.strip_prefix("unix:").unwrap_or(word).into()),
        }
    }
}

/// A change of state that is worth a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    is_group: bool,
    name: String,
    /// `MASTER`, `BACKUP`, `FAULT`, `STOP` or `DELETED`.
    state: &'static str,
}

/// The way to the thread of a subagent, which ends with it.
#[derive(Debug)]
pub(crate) struct Snmp {
    configurations: Sender<Arc<Config>>,
    changes: SyncSender<Change>,
    /// Whether anybody is to be told of changes: while nobody is, the thread sleeps and none may fill the queue.
    wanted: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Snmp {
    /// Starts the thread, which waits until a configuration wants it.
    pub(crate) fn start(answers: Answers, node: &str, config: &Arc<Config>) -> Option<Self> {
        let (configurations, learnt) = channel();
        let (changes, told) = sync_channel(QUEUE);
        let inbox = Inbox { node: node.to_owned(), configurations: learnt, changes: told };
        let settings = Settings::of(config, node);
        let wanted = Arc::new(AtomicBool::new(settings.is_some()));
        let serve = move || session::serve(&answers, settings, &inbox);
        let thread = thread::Builder::new().name("snmp".into()).spawn(serve);
        let thread = thread.inspect_err(|error| tracing::error!("no thread for SNMP: {error}")).ok()?;
        Some(Snmp { configurations, changes, wanted, thread })
    }

    /// Another configuration.
    pub(crate) fn set(&self, config: &Arc<Config>) {
        self.wanted.store(Settings::are_wanted(config), Ordering::Release);
        let _ = self.configurations.send(config.clone());
    }

    /// No more is told; the thread ends when the master has all of it, or does not take it.
    pub(crate) fn finish(self) -> (String, JoinHandle<()>) {
        drop(self.configurations);
        ("what SNMP is told".to_owned(), self.thread)
    }

    /// Where changes of state are told; what finds no room is not.
    pub(crate) fn changes(&self) -> Changes {
        Changes(Some((self.changes.clone(), self.wanted.clone())))
    }
}

/// A way for changes of state; by default nobody is told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes(Option<(SyncSender<Change>, Arc<AtomicBool>)>);

impl Changes {
    /// Never waits.
    pub(crate) fn tell(&self, is_group: bool, name: &str, state: &'static str) {
        if let Some((changes, wanted)) = &self.0
            && wanted.load(Ordering::Acquire)
        {
            let _ = changes.try_send(Change { is_group, name: name.to_owned(), state });
        }
    }
}

/// What the thread is told.
struct Inbox {
    node: String,
    configurations: Receiver<Arc<Config>>,
    changes: Receiver<Change>,
}

/// DisplayString.
fn octets(text: &str) -> Value {
    Value::Octets(text.as_bytes().to_vec())
}

/// Unsigned32; what is more is the most.
fn number(number: u64) -> Value {
    Value::Gauge(u32::try_from(number).unwrap_or(u32::MAX))
}

fn octets_of_address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// InetAddressType and InetAddress (RFC 4001).
fn of_address(address: IpAddr) -> (Value, Value) {
    (Value::Integer(if address.is_ipv4() { 1 } else { 2 }), Value::Octets(octets_of_address(address)))
}

#[cfg(test)]
mod tests;
