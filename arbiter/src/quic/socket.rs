//! The UDP socket under an endpoint.
//!
//! What quinn's own socket does not do: leave the DSCP alone that was set, drop packets of other
//! addresses than the peers' before the QUIC parser sees them, and take an error of one packet as the
//! loss of that packet. Segmentation offload and ECN are given up for it; a beat is one packet.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::ReadBuf;

/// Packets looked at in one poll before other tasks have their turn.
const BURST: usize = 32;

/// A UDP socket that may be limited to some source addresses.
#[derive(Debug)]
pub struct FilteredSocket {
    /// `None` once it is shut.
    io: RwLock<Option<Arc<tokio::net::UdpSocket>>>,
    local: SocketAddr,
    admit: Option<BTreeSet<IpAddr>>,
    filtered: AtomicU64,
    errors: AtomicU64,
}

impl FilteredSocket {
    /// Around a bound, non-blocking socket; `admit` are the only sources listened to, `None` is all.
    ///
    /// # Errors
    /// Outside a tokio runtime, or where the socket can't be registered with it.
    pub fn new(socket: std::net::UdpSocket, admit: Option<BTreeSet<IpAddr>>) -> io::Result<Self> {
        let io = tokio::net::UdpSocket::from_std(socket)?;
        let local = io.local_addr()?;
        let (filtered, errors) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(FilteredSocket { io: RwLock::new(Some(Arc::new(io))), local, admit, filtered, errors })
    }

    /// Closes the socket under a living endpoint: the address is free at once, nothing more is sent.
    pub fn shut(&self) {
        *self.io.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Packets dropped because of their source address.
    pub fn filtered(&self) -> u64 {
        self.filtered.load(Ordering::Relaxed)
    }

    /// Packets that the kernel refused to send or receive.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    fn io(&self) -> Option<Arc<tokio::net::UdpSocket>> {
        self.io.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn admits(&self, source: SocketAddr) -> bool {
        self.admit.as_ref().is_none_or(|admit| admit.contains(&source.ip().to_canonical()))
    }
}

impl AsyncUdpSocket for FilteredSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller { socket: self, wait: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let Some(io) = self.io() else { return Ok(()) };
        match io.try_send_to(transmit.contents, transmit.destination) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Err(error) => {
                // An unreachable network or an interface that is down loses this packet; returned, it
                // would end the connection, and with it the link for longer than the fault lasts.
                self.errors.fetch_add(1, Ordering::Relaxed);
                tracing::trace!("sending to {} failed: {error}", transmit.destination);
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let Some(io) = self.io() else { return Poll::Pending };
        let (Some(buf), Some(meta)) = (bufs.first_mut(), meta.first_mut()) else { return Poll::Ready(Ok(0)) };
        for _ in 0..BURST {
            let mut read = ReadBuf::new(buf);
            match ready!(io.poll_recv_from(cx, &mut read)) {
                Ok(addr) if self.admits(addr) => {
                    let len = read.filled().len();
                    *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
                    return Poll::Ready(Ok(1));
                }
                Ok(_) => self.filtered.fetch_add(1, Ordering::Relaxed),
                Err(_) => self.errors.fetch_add(1, Ordering::Relaxed),
            };
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

type Writable = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Waits for one connection until the socket takes packets again. Each has its own: the socket itself
/// remembers a single waker only.
struct Poller {
    socket: Arc<FilteredSocket>,
    wait: Option<Writable>,
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}

impl UdpPoller for Poller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(io) = self.socket.io() else { return Poll::Ready(Ok(())) };
        let wait = self.wait.get_or_insert_with(|| Box::pin(async move { io.writable().await }));
        let result = ready!(wait.as_mut().poll(cx));
        self.wait = None;
        Poll::Ready(result)
    }
}
