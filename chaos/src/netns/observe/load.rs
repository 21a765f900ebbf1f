//! TCP connections to the VIP at a steady rate, and how each of them went: what a busy service loses when its
//! address moves.
//!
//! A SYN that is lost is sent again by the kernel after a second (RFC 6298, 2.1), so a connection that took that
//! long lost one.

use std::net::{IpAddr, SocketAddr};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;

use super::Stop;
use crate::netns::error::{Error, io_error};
use crate::netns::namespace::Namespace;

/// The service's TCP port.
const PORT: u16 = 9002;
/// Between two bunches of connections.
const TICK: Duration = Duration::from_millis(1);
/// A connection that took this long had to send its SYN again.
const LOST: Duration = Duration::from_millis(900);
/// Connections that may be under way: each is a descriptor, and this program needs some for itself.
const UNDER_WAY: u64 = 600;
/// A connection that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(4);

/// How the connections of a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Load {
    /// Begun.
    pub begun: u64,
    /// Established, sooner or later.
    pub established: u64,
    /// Established only by a second SYN or a later one.
    pub lost_syns: u64,
    /// Refused, reset, or not established in time.
    pub failed: u64,
    /// Begun in a second, on average.
    pub per_second: u64,
}

/// Accepts connections in a node's namespace and closes them, until the run stops.
///
/// # Errors
/// [`Error::Io`] when the port can't be bound.
pub fn serve(namespace: &Namespace, stop: Stop) -> Result<(), Error> {
    let runtime = runtime()?;
    let listener = namespace.run(|| {
        let any = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, PORT));
        let listener = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None)
            .and_then(|socket| {
                socket.set_nonblocking(true)?;
                socket.bind(&any.into())?;
                socket.listen(4096)?;
                Ok(socket)
            })
            .map_err(io_error("listen for TCP behind the VIP"))?;
        Ok(std::net::TcpListener::from(listener))
    })?;
    thread::spawn(move || {
        runtime.block_on(async {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while !stop.is_set() {
                // The client closes first, and with a reset: nobody waits in TIME_WAIT.
                let _ = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
            }
        });
    });
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io_error("start an event loop"))
}

async fn connect(to: SocketAddr) -> Option<Duration> {
    let socket = if to.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }.ok()?;
    let begin = Instant::now();
    let stream = tokio::time::timeout(PATIENCE, socket.connect(to)).await.ok()?.ok()?;
    let took = begin.elapsed();
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    Some(took)
}

/// Begins `per_second` connections to `vip` each second from a client's namespace, until the run stops.
///
/// # Errors
/// [`Error::Io`] when the event loop can't be started.
pub fn start(namespace: &Namespace, vip: IpAddr, per_second: u64, stop: Stop) -> Result<JoinHandle<Load>, Error> {
    let (namespace, runtime) = (namespace.clone(), runtime()?);
    let to = SocketAddr::from((vip, PORT));
    Ok(thread::spawn(move || {
        let loaded = namespace.enter().map(|()| runtime.block_on(drive(to, per_second, &stop)));
        loaded.unwrap_or_default()
    }))
}

async fn drive(to: SocketAddr, per_second: u64, stop: &Stop) -> Load {
    let mut load = Load::default();
    let (tell, mut told) = mpsc::unbounded_channel();
    // What comes before somebody serves is no loss.
    while connect(to).await.is_none() {
        if stop.is_set() {
            return load;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let begin = Instant::now();
    while !stop.is_set() {
        // As many as are due by now, so that a tick that comes late is made up for.
        let due = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_mul(per_second) / 1000;
        // More than these wait for others to end.
        while load.begun < due && load.begun - load.established - load.failed < UNDER_WAY {
            let tell = tell.clone();
            tokio::spawn(async move { tell.send(connect(to).await) });
            load.begun += 1;
        }
        while let Ok(took) = told.try_recv() {
            load.count(took);
        }
        tokio::time::sleep(TICK).await;
    }
    load.per_second = load.begun / begin.elapsed().as_secs().max(1);
    drop(tell);
    while let Some(took) = told.recv().await {
        load.count(took);
    }
    load
}

impl Load {
    fn count(&mut self, took: Option<Duration>) {
        match took {
            Some(took) => {
                self.established += 1;
                self.lost_syns += u64::from(took >= LOST);
            }
            None => self.failed += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_that_was_begun_is_counted_once() {
        // On the loopback of an empty namespace, where nothing listens first, and then something does.
        let namespace = Namespace::new().unwrap();
        namespace
            .netlink(|handle| async move {
                let up = rtnetlink::LinkUnspec::new_with_index(1).up().build();
                handle.link().set(up).execute().await.map_err(crate::netns::topology::netlink_error("set lo up"))
            })
            .unwrap();
        let run = |stop: Stop| {
            let load = start(&namespace, std::net::Ipv4Addr::LOCALHOST.into(), 1000, stop.clone()).unwrap();
            thread::sleep(Duration::from_millis(300));
            stop.set();
            load.join().unwrap()
        };
        assert_eq!(run(Stop::default()), Load::default(), "nobody serves yet");
        let stop = Stop::default();
        serve(&namespace, stop.clone()).unwrap();
        let served = run(stop);
        assert!(served.begun > 0 && served.established == served.begun, "{served:?}");
        assert_eq!(served.lost_syns, 0);
    }
}
