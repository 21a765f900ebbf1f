//! The connection to the bus, and what leaves by it.
//!
//! What must stay true: the queue is read whatever becomes of the bus.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use zbus::Connection;
use zbus::connection::Builder;
use zbus::fdo::{DBusProxy, NameLostStream, RequestNameFlags, RequestNameReply};
use zbus::object_server::SignalEmitter;

use super::book::{Book, Instance, Known};
use super::objects::{self, VRRP, Vrrp};
use super::{Hands, News};

/// A bus that has not taken a message by then is dead.
const PATIENCE: Duration = Duration::from_secs(5);
/// And at the end, when a stop waits for it.
const LAST: Duration = Duration::from_millis(500);
/// Between two attempts, first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Serves until nothing more comes out of the queue.
pub(super) fn run(name: String, book: Book, hands: Hands, news: mpsc::Receiver<News>, lost: &AtomicU64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.inspect_err(|error| tracing::error!(%error, "no D-Bus: no runtime for it; restart keepone"));
    let Ok(runtime) = runtime else { return };
    let service = Service { name, hands, book, news, lost, is_said: false };
    runtime.block_on(service.serve());
}

struct Service<'a> {
    name: String,
    hands: Hands,
    book: Book,
    news: mpsc::Receiver<News>,
    lost: &'a AtomicU64,
    /// That there is no bus; once for each time that there is none.
    is_said: bool,
}

/// How a connection ended.
enum End {
    /// There is nothing more to say.
    Done,
    /// It is lost, and why.
    Lost(String),
}

impl Service<'_> {
    async fn serve(mut self) {
        let mut pause = PAUSES.0;
        loop {
            let why = match timeout(PATIENCE, self.connect()).await {
                Ok(Ok((connection, names))) => {
                    tracing::info!("{} is on D-Bus", self.name);
                    (self.is_said, pause) = (false, PAUSES.0);
                    match self.talk(&connection, names).await {
                        End::Done => {
                            let _ = timeout(LAST, connection.graceful_shutdown()).await;
                            return;
                        }
                        End::Lost(why) => why,
                    }
                }
                Ok(Err(why)) => why,
                Err(_) => format!("the bus does not answer within {PATIENCE:?}: restart it"),
            };
            if !std::mem::replace(&mut self.is_said, true) {
                tracing::error!("nobody is told by D-Bus: {why}; it is tried again until it works");
            }
            if !self.wait(pause).await {
                return;
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Without a bus: what comes is noted. `false`: nothing more will come.
    async fn wait(&mut self, pause: Duration) -> bool {
        let mut over = pin!(sleep(pause));
        loop {
            tokio::select! {
                () = over.as_mut() => return true,
                news = self.news.recv() => match news {
                    Some(News::State(name, state)) => self.book.note(&name, state),
                    Some(News::Instances(instances)) => drop(self.book.set(instances)),
                    Some(News::Reloaded) => {}
                    None => return false,
                },
            }
        }
    }

    /// The objects first, then the name: whoever sees it finds them.
    async fn connect(&self) -> Result<(Connection, NameLostStream), String> {
        let absent = |error: zbus::Error| {
            format!("there is no bus ({error}): start it (`systemctl start dbus`), or take enable_dbus out")
        };
        let connection = Builder::system().map_err(absent)?.build().await.map_err(absent)?;
        let failed = |error: zbus::Error| format!("the bus refuses: {error}");
        let server = connection.object_server();
        server.at(VRRP, Vrrp { hands: self.hands.clone() }).await.map_err(failed)?;
        for (name, known) in self.book.there() {
            self.show(&connection, name, known).await.map_err(failed)?;
        }
        let proxy = DBusProxy::new(&connection).await.map_err(failed)?;
        let lost = proxy.receive_name_lost().await.map_err(failed)?;
        let name = self.name.as_str();
        match connection.request_name_with_flags(name, RequestNameFlags::DoNotQueue.into()).await {
            Ok(RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner) => Ok((connection, lost)),
            Ok(_) | Err(zbus::Error::NameTaken) => {
                Err(format!("another process has the name {name}: stop it (keepalived?), or set dbus_service_name"))
            }
            Err(error) => Err(format!(
                "the bus does not give us the name {name} ({error}): let root own it, in a file of \
                 /etc/dbus-1/system.d as that of the package in /usr/share/dbus-1/system.d, and reload the bus"
            )),
        }
    }

    async fn show(&self, connection: &Connection, name: &str, known: &Known) -> zbus::Result<()> {
        let hands = self.hands.clone();
        let object = objects::Instance { name: name.to_owned(), state: known.state.clone(), hands };
        connection.object_server().at(known.path.as_str(), object).await.map(drop)
    }

    /// Tells until the connection or the queue ends.
    async fn talk(&mut self, connection: &Connection, mut names: NameLostStream) -> End {
        let whole = match SignalEmitter::new(connection, VRRP) {
            Ok(emitter) => emitter.into_owned(),
            Err(error) => return End::Lost(error.to_string()),
        };
        let mut told = in_time(Vrrp::vrrp_started(&whole)).await;
        self.book.begin();
        for name in self.book.names() {
            if told.is_ok() {
                told = self.tell(connection, &name).await;
            }
        }
        loop {
            if let Err(why) = told {
                return End::Lost(why);
            }
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::error!("{lost} changes were not told by D-Bus, which is too slow: properties may be old");
            }
            let news = tokio::select! {
                news = self.news.recv() => news,
                name = names.next() => match name {
                    None => return End::Lost("the bus has gone: start it (`systemctl start dbus`)".to_owned()),
                    Some(lost) if lost.args().is_ok_and(|args| args.name() == self.name.as_str()) => {
                        return End::Lost(format!("the bus has taken the name {} away", self.name));
                    }
                    Some(_) => continue,
                },
            };
            told = match news {
                Some(News::State(name, state)) => {
                    self.book.note(&name, state);
                    self.tell(connection, &name).await
                }
                Some(News::Instances(instances)) => in_time(self.replace(connection, instances)).await,
                Some(News::Reloaded) => in_time(Vrrp::vrrp_reloaded(&whole)).await,
                None => {
                    let _ = timeout(LAST, Vrrp::vrrp_stopped(&whole)).await;
                    return End::Done;
                }
            }
        }
    }

    /// How an instance is, unless that was told.
    async fn tell(&mut self, connection: &Connection, name: &str) -> Result<(), String> {
        let Some((path, state)) = self.book.owed(name) else { return Ok(()) };
        let emitter = SignalEmitter::new(connection, path).map_err(|error| error.to_string())?;
        in_time(objects::Instance::vrrp_status_change(&emitter, state)).await
    }

    async fn replace(&mut self, connection: &Connection, instances: Vec<Instance>) -> zbus::Result<()> {
        for path in self.book.set(instances) {
            connection.object_server().remove::<objects::Instance, _>(path).await?;
        }
        for (name, known) in self.book.there() {
            // One that is there stays.
            self.show(connection, name, known).await?;
        }
        Ok(())
    }
}

async fn in_time(told: impl Future<Output = zbus::Result<()>>) -> Result<(), String> {
    match timeout(PATIENCE, told).await {
        Ok(told) => told.map_err(|error| format!("the bus has failed: {error}")),
        Err(_) => Err(format!("the bus takes nothing for {PATIENCE:?}: restart it")),
    }
}
