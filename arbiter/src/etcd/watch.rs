//! What the servers tell unasked: who has let go, who is left what, who wants it. Without it all goes on, later.

use std::time::Duration;

use etcd_client::{Error, EventType, WatchOptions};
use keepone_proto::lease::register::Reading;
use tokio::sync::mpsc;

use super::Told;
use super::keys::{self, Key};
use super::link::Link;

/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(200);

/// Follows all keys of the cluster, at one server after the other, until nobody listens.
pub(super) async fn follow(link: Link, told: mpsc::Sender<Told>) {
    while !told.is_closed() {
        let place = match link.login().await {
            Ok(login) => {
                if let Err(error) = listen(&link, login.client, &told).await {
                    tracing::debug!(%error, "etcd tells nothing unasked");
                }
                login.place
            }
            Err(_) => link.place(),
        };
        link.pass_on(place);
        tokio::time::sleep(AGAIN).await;
    }
}

async fn listen(link: &Link, mut client: etcd_client::Client, told: &mpsc::Sender<Told>) -> Result<(), Error> {
    let options = WatchOptions::new().with_prefix();
    let mut stream = client.watch(link.keys.root(), Some(options)).await?;
    while let Some(response) = stream.message().await? {
        if response.canceled() {
            return Ok(());
        }
        // Another cluster's news are none.
        let Ok(revision) = link.revision(response.header()) else { return Ok(()) };
        for event in response.events() {
            let Some((kv, revision)) = event.kv().zip(revision) else { continue };
            let is_gone = event.event_type() == EventType::Delete;
            let news = match link.keys.read(kv.key()) {
                Some(Key::Session(life)) => is_gone.then_some(Told::SessionGone { life }),
                _ if is_gone => None,
                Some(Key::Holder(domain)) => {
                    let version = u64::try_from(kv.mod_revision()).unwrap_or(0);
                    let reading = Reading { revision, version, content: keys::parse(kv.value()), is_orphan: false };
                    Some(Told::Seen { domain, reading })
                }
                Some(Key::Wanted(domain)) => {
                    serde_json::from_slice(kv.value()).ok().map(|word| Told::Wanted { domain, word })
                }
                None => None,
            };
            if let Some(news) = news
                && told.send(news).await.is_err()
            {
                return Ok(());
            }
        }
    }
    Ok(())
}
