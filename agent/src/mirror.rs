//! The mirror test's pings: one gateway, asked from two addresses at once (D9).
//!
//! The one thing that must stay true: the caller is never kept waiting; a look that could not be made, of both
//! addresses, is not told at all, for it is no evidence.

use std::net::IpAddr;

use keepone_proto::event::Event;
use keepone_proto::id::DomainId;
use keepone_proto::mirror::TIMEOUT;
use tokio::sync::mpsc;

use crate::references::Pinger;

/// How many looks may be waiting for the task.
const QUEUE: usize = 256;

/// One look into the mirror.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Of which domain.
    pub domain: DomainId,
    /// Which of its tests.
    pub place: u8,
    /// Who is asked.
    pub gateway: IpAddr,
    /// From which address of our own.
    pub own: IpAddr,
    /// And from which virtual one.
    pub virtual_one: IpAddr,
}

/// The task's end in the driver's hand.
#[derive(Debug, Clone)]
pub struct Mirrors {
    looks: mpsc::Sender<Look>,
}

impl Mirrors {
    /// Starts the task.
    pub fn spawn(events: mpsc::Sender<Event>) -> Self {
        let (looks, queue) = mpsc::channel(QUEUE);
        tokio::spawn(run(queue, events));
        Mirrors { looks }
    }

    /// Asks for one look. Never waits; the next one comes soon.
    pub fn look(&self, look: Look) {
        let _ = self.looks.try_send(look);
    }
}

async fn run(mut queue: mpsc::Receiver<Look>, events: mpsc::Sender<Event>) {
    let mut pinger = Pinger::new(None);
    while let Some(Look { domain, place, gateway, own, virtual_one }) = queue.recv().await {
        let both = pinger.ping_from(Some(own), gateway, TIMEOUT);
        // The address may just be going, which is no failure: it is not looked for without its socket.
        let both = both.and_then(|from_own| Ok((from_own, pinger.ping_from(Some(virtual_one), gateway, TIMEOUT)?)));
        let events = events.clone();
        match both {
            Ok((from_own, from_virtual)) => {
                tokio::spawn(async move {
                    let (own, virtual_one) = tokio::join!(from_own, from_virtual);
                    let (own, virtual_one) = (own.is_some(), virtual_one.is_some());
                    let _ = events.send(Event::Mirrored { domain, place, own, virtual_one }).await;
                });
            }
            Err(error) => tracing::debug!(%error, "no look into the mirror"),
        }
    }
}

#[cfg(test)]
mod tests;
