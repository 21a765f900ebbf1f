//! What may be read and asked on the bus. Whoever may talk to us at all may read; root alone may have something done,
//! whatever the bus's policy says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::getppid;
use zbus::fdo::{DBusProxy, Error};
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, interface};

use super::Hands;
use super::book::word;
use crate::dump::What;

/// The object of the whole.
pub(super) const VRRP: &str = "/org/keepalived/Vrrp1/Vrrp";

/// Refuses whoever is not root; who it is by the bus's word, which had it from the kernel.
async fn demand_root(header: &Header<'_>, connection: &Connection) -> Result<(), Error> {
    let denied = |words: &str| Error::AccessDenied(words.to_owned());
    let sender = header.sender().ok_or_else(|| denied("a call without a sender"))?.to_owned();
    let uid = DBusProxy::new(connection).await?.get_connection_unix_user(sender.into()).await?;
    if uid == 0 { Ok(()) } else { Err(denied("only root may ask for this: use sudo")) }
}

/// `org.keepalived.Vrrp1.Vrrp`.
pub(super) struct Vrrp {
    pub(super) hands: Hands,
}

impl Vrrp {
    fn dump(&self, what: What) {
        // Full: one that is as good waits already.
        let _ = self.hands.dumps.try_send(what);
    }
}

#[interface(name = "org.keepalived.Vrrp1.Vrrp")]
impl Vrrp {
    /// Writes `keepone.data` and `keepone.json`.
    async fn print_data(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        demand_root(&header, connection).await?;
        self.dump(What::Data);
        Ok(())
    }

    /// Writes `keepone.stats`.
    async fn print_stats(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        demand_root(&header, connection).await?;
        self.dump(What::Stats);
        Ok(())
    }

    /// The same, as the signal of keepalived's that clears; counters only grow here.
    async fn print_stats_clear(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        demand_root(&header, connection).await?;
        self.dump(What::Stats);
        Ok(())
    }

    /// As SIGHUP has it.
    async fn reload_config(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        demand_root(&header, connection).await?;
        // A process that has the guardian's number but is none of ours is never told anything.
        let Some(guardian) = self.hands.guardian.filter(|guardian| *guardian == getppid()) else {
            return Err(Error::Failed("there is no guardian that could reload: run `keepone run`".to_owned()));
        };
        tracing::info!("asked by D-Bus to reload");
        kill(guardian, Signal::SIGHUP).map_err(|error| Error::Failed(format!("the guardian can't be told: {error}")))
    }

    /// A build option of keepalived's.
    async fn create_instance(&self, _name: &str, _interface: &str, _vrid: u32, _family: u32) -> Result<(), Error> {
        Err(by_file())
    }

    /// A build option of keepalived's.
    async fn destroy_instance(&self, _name: &str) -> Result<(), Error> {
        Err(by_file())
    }

    #[zbus(signal)]
    pub(super) async fn vrrp_started(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn vrrp_reloaded(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn vrrp_stopped(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;
}

fn by_file() -> Error {
    let words = "instances come from the configuration file alone: write it there, then ReloadConfig";
    Error::NotSupported(words.to_owned())
}

/// `org.keepalived.Vrrp1.Instance`.
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) state: Arc<AtomicU32>,
    pub(super) hands: Hands,
}

#[interface(name = "org.keepalived.Vrrp1.Instance")]
impl Instance {
    /// Announces its addresses anew, if it is MASTER.
    async fn send_garp(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        demand_root(&header, connection).await?;
        let (answers, name) = (self.hands.answers.clone(), self.name.clone());
        // It waits for the decision thread: never the thread that the bus's signals leave by.
        let asked = tokio::task::spawn_blocking(move || answers.announce(&name)).await;
        asked.map_err(|error| Error::Failed(error.to_string()))?.map_err(Error::Failed)
    }

    /// keepalived 2.2.7 gives a structure of one text, and calls it a text in its introspection.
    #[zbus(property(emits_changed_signal = "false"))]
    async fn name(&self) -> (String,) {
        (self.name.clone(),)
    }

    /// keepalived's number for the state, and its word.
    #[zbus(property(emits_changed_signal = "false"))]
    async fn state(&self) -> (u32, String) {
        let state = self.state.load(Ordering::Relaxed);
        (state, word(state).to_owned())
    }

    #[zbus(signal)]
    pub(super) async fn vrrp_status_change(emitter: &SignalEmitter<'_>, status: u32) -> zbus::Result<()>;
}
