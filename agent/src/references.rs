//! Pings of reference addresses.
//!
//! The one thing that must stay true: the caller is never kept waiting; every request is answered by
//! exactly one [`Event::Pinged`], at the latest shortly after its timeout.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use keepone_proto::event::Event;
use keepone_proto::id::ReferenceId;
use surge_ping::{Client, Config, ICMP, IcmpPacket, PingIdentifier, PingSequence};
use tokio::sync::mpsc;

/// How many pings may be waiting for the task; more are counted as unanswered at once.
const QUEUE: usize = 256;
/// What a ping carries, in octets: as much as ping(8) sends.
const PAYLOAD: [u8; 56] = [0; 56];
/// surge-ping measures the timeout; this much later the task gives up on surge-ping itself.
const MARGIN: Duration = Duration::from_millis(50);

/// Why no pings can be sent.
#[derive(Debug, thiserror::Error)]
#[error("cannot open a ping socket for {family}; run with CAP_NET_RAW, or set net.ipv4.ping_group_range")]
pub struct PingError {
    family: &'static str,
    #[source]
    source: io::Error,
}

/// Sends pings and hears their answers: one socket for each family, made with the first ping that
/// needs it.
pub struct Pinger {
    interface: Option<String>,
    /// By family and source.
    clients: BTreeMap<(bool, Option<IpAddr>), Client>,
    /// Tells this pinger's pings from those of others, where the kernel does not: on raw sockets.
    identifier: PingIdentifier,
    sequence: AtomicU16,
}

/// How many pingers this process has made.
static PINGERS: AtomicU16 = AtomicU16::new(0);

impl Pinger {
    /// Pings leave by `interface`, or as the routes say.
    pub fn new(interface: Option<String>) -> Self {
        let [.., hi, lo] = std::process::id().to_be_bytes();
        let number = PINGERS.fetch_add(1, Ordering::Relaxed);
        let identifier = PingIdentifier(u16::from_be_bytes([hi, lo]).wrapping_add(number));
        Pinger { interface, clients: BTreeMap::new(), identifier, sequence: AtomicU16::new(0) }
    }

    /// Makes one ping: ready to be awaited, or spawned. It ends with the round trip, or with `None`
    /// after `timeout`.
    ///
    /// # Errors
    /// There is no socket to send it from; the next ping tries again.
    pub fn ping(
        &mut self,
        target: IpAddr,
        timeout: Duration,
    ) -> Result<impl Future<Output = Option<Duration>> + Send + 'static, PingError> {
        self.ping_from(None, target, timeout)
    }

    /// [`Pinger::ping`] from one address of this node.
    ///
    /// # Errors
    /// As there; also while this node does not have that address.
    pub fn ping_from(
        &mut self,
        source: Option<IpAddr>,
        target: IpAddr,
        timeout: Duration,
    ) -> Result<impl Future<Output = Option<Duration>> + Send + 'static, PingError> {
        let client = self.client(source, target)?;
        let (identifier, sequence) = (self.identifier, self.sequence.fetch_add(1, Ordering::Relaxed));
        Ok(async move {
            let answered = async {
                let mut pinger = client.pinger(target, identifier).await;
                pinger.timeout(timeout);
                pinger.ping(PingSequence(sequence), &PAYLOAD).await
            };
            match tokio::time::timeout(timeout.saturating_add(MARGIN), answered).await {
                Ok(Ok((packet, rtt))) if is_echo_reply(&packet) => Some(rtt),
                Ok(Ok(_)) => {
                    tracing::debug!(%target, "a ping was answered by somebody who could not deliver it");
                    None
                }
                Ok(Err(error)) => {
                    tracing::debug!(%target, %error, "no answer to a ping");
                    None
                }
                Err(_elapsed) => None,
            }
        })
    }

    fn client(&mut self, from: Option<IpAddr>, target: IpAddr) -> Result<Client, PingError> {
        if let Some(client) = self.clients.get(&(target.is_ipv6(), from)) {
            return Ok(client.clone());
        }
        let (family, kind) = if target.is_ipv6() { ("IPv6", ICMP::V6) } else { ("IPv4", ICMP::V4) };
        let mut config = Config::builder().kind(kind);
        if let Some(interface) = &self.interface {
            config = config.interface(interface);
        }
        if let Some(from) = from {
            config = config.bind(SocketAddr::new(from, 0));
        }
        let client = Client::new(&config.build()).map_err(|source| PingError { family, source })?;
        self.clients.insert((target.is_ipv6(), from), client.clone());
        Ok(client)
    }
}

/// surge-ping also gives back errors about the ping: Destination Unreachable from a router, or from
/// this node's own kernel when nobody answers ARP. They say that the reference is *not* reachable.
pub(crate) fn is_echo_reply(packet: &IcmpPacket) -> bool {
    // RFC 792 type 0, RFC 4443 type 129.
    match packet {
        IcmpPacket::V4(packet) => packet.get_icmp_type().0 == 0,
        IcmpPacket::V6(packet) => packet.get_icmpv6_type().0 == 129,
    }
}

/// The task's end in the driver's hand.
#[derive(Debug)]
pub struct References {
    requests: mpsc::Sender<ReferenceId>,
    events: mpsc::Sender<Event>,
    interface: Option<String>,
    /// Its answers still count: the numbers of its targets are in use.
    counts: Arc<AtomicBool>,
}

impl References {
    /// Starts the task. `targets` in the order of their [`ReferenceId`]s.
    pub fn spawn(
        targets: Vec<IpAddr>,
        timeout: Duration,
        interface: Option<String>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        let counts = Arc::new(AtomicBool::new(true));
        let answers = Answers { events: events.clone(), count: Arc::clone(&counts) };
        tokio::spawn(run(Pinger::new(interface.clone()), targets, timeout, queue, answers));
        References { requests, events, interface, counts }
    }

    /// Other targets: what is still to be answered by the former ones is not told any more.
    pub fn set(&mut self, targets: Vec<IpAddr>, timeout: Duration) {
        self.counts.store(false, Ordering::Relaxed);
        *self = References::spawn(targets, timeout, self.interface.take(), self.events.clone());
    }

    /// Asks for one ping. Never waits.
    pub fn ping(&self, reference: ReferenceId) {
        if self.requests.try_send(reference).is_err() {
            // The task hangs or is gone: that is no answer either.
            let _ = self.events.try_send(Event::Pinged { reference, rtt: None });
        }
    }
}

#[derive(Debug, Clone)]
struct Answers {
    events: mpsc::Sender<Event>,
    count: Arc<AtomicBool>,
}

impl Answers {
    async fn tell(&self, reference: ReferenceId, rtt: Option<Duration>) {
        if self.count.load(Ordering::Relaxed) {
            let _ = self.events.send(Event::Pinged { reference, rtt }).await;
        }
    }
}

async fn run(
    mut pinger: Pinger,
    targets: Vec<IpAddr>,
    timeout: Duration,
    mut queue: mpsc::Receiver<ReferenceId>,
    answers: Answers,
) {
    while let Some(reference) = queue.recv().await {
        let ping = targets.get(usize::from(reference.0)).map(|target| pinger.ping(*target, timeout));
        match ping {
            Some(Ok(ping)) => {
                let answers = answers.clone();
                tokio::spawn(async move { answers.tell(reference, ping.await).await });
            }
            Some(Err(error)) => {
                tracing::warn!(%error, cause = %error.source, "a reference cannot be pinged");
                answers.tell(reference, None).await;
            }
            None => answers.tell(reference, None).await,
        }
    }
}

#[cfg(test)]
mod tests;
