//! How many connections real servers still have: what an operator waits for who has emptied one.
//!
//! Asked on the way past the decision thread, as the health checks are: whoever asks waits for the thread that keeps the
//! kernel's table, and nobody else does.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, mpsc as answers};
use std::time::Duration;

use ipvs_rs::{Error, Handle, ServiceId};
use keepone_config::Config;
use tokio::sync::mpsc::UnboundedSender;

use super::Ask;
use super::counted::Board;
use super::wanted::VirtualServers;
use crate::checkers::settings::{real_name, service_name};

/// How long whoever asks waits: a large table takes the thread some seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Names of a virtual server and of a real server of it, as `keepone servers` has them.
pub(crate) type Who = (String, String);

/// What the kernel knows of a real server, in all services that its virtual server is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Connections {
    /// Established.
    pub(crate) active: u64,
    /// Others that are still remembered: closing, or without a handshake.
    pub(crate) inactive: u64,
    /// Clients that persistence keeps there: they may come back even to a weight of 0.
    pub(crate) kept: u64,
    /// What the kernel has, not what it is to have; the greatest.
    pub(crate) weight: u32,
}

pub(crate) type Answer = Result<BTreeMap<Who, Connections>, String>;

/// Who asks. Clones share the thread, which may begin later.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desk {
    asks: Arc<OnceLock<UnboundedSender<Ask>>>,
    /// What the last look at the table has found, for which the thread need not be asked.
    pub(crate) board: Board,
}

impl Desk {
    /// The thread has begun; there is one at most. Never waits: the thread that decides says so.
    pub(super) fn open(&self, asks: UnboundedSender<Ask>) {
        let _ = self.asks.set(asks);
    }

    /// The connections of these; who is missing in the answer is not in the kernel's table, and so has none.
    ///
    /// # Errors
    /// Why that is not known, in words.
    pub(crate) fn connections(&self, who: Vec<Who>) -> Answer {
        let Some(asks) = self.asks.get() else { return Err(String::from("there is no thread for the kernel's table")) };
        let busy = || String::from("the thread for the kernel's table does not answer: ask again");
        let (answer, answered) = answers::sync_channel(1);
        asks.send(Ask::Connections(who, answer)).map_err(|_| busy())?;
        answered.recv_timeout(PATIENCE).map_err(|_| busy())?
    }
}

/// What the kernel says of them. Each service is asked once.
pub(super) async fn ask(
    handle: &Handle,
    config: &Config,
    servers: &VirtualServers,
    who: &[Who],
) -> Result<BTreeMap<Who, Connections>, Error> {
    let mut wanted: BTreeMap<ServiceId, Vec<(std::net::SocketAddr, &Who)>> = BTreeMap::new();
    for (server, ids) in servers.all() {
        let name = service_name(config, server);
        for one in who.iter().filter(|(of, _)| *of == name) {
            for real in server.real_servers.iter().filter(|real| real_name(server.protocol, real) == one.1) {
                for id in ids {
                    let address = super::wanted::endpoint(real.address, real.port, *id);
                    wanted.entry(*id).or_default().push((address, one));
                }
            }
        }
    }
    let mut found = BTreeMap::<Who, Connections>::new();
    for (id, reals) in wanted {
        for entry in handle.destinations(id).await? {
            let of = reals.iter().filter(|(address, _)| *address == entry.destination.address);
            for (_, one) in of {
                let sum = found.entry((*one).clone()).or_default();
                sum.active += u64::from(entry.active);
                sum.inactive += u64::from(entry.inactive);
                sum.kept += u64::from(entry.persistent);
                sum.weight = sum.weight.max(entry.destination.weight);
            }
        }
    }
    Ok(found)
}
