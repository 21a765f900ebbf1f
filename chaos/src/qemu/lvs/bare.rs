//! A loop that checks ports by the fewest system calls, so that of a check's cost one part is known that no program saves.
//!
//! For each server: socket(2) that does not block, connect(2), `epoll_ctl`, `epoll_wait`, `getsockopt` of `SO_ERROR`, close(2),
//! and one `epoll_wait` for the next one's time. It has no timeout, no retry and no table: it is a measure and no checker.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Socket, Type};

use super::bench;
use crate::netns::error::{Error, io_error};

/// Connections that are looked at by one call.
const BATCH: usize = 64;

/// Connections that are being made, by their descriptors.
#[derive(Debug)]
struct Loop {
    epoll: Epoll,
    pending: HashMap<u64, Socket>,
}

impl Loop {
    fn new() -> Result<Self, Error> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(io_error("make an epoll"))?;
        Ok(Loop { epoll, pending: HashMap::new() })
    }

    fn begin(&mut self, server: SocketAddr) -> Result<(), Error> {
        let what = || format!("connect to {server}");
        let socket = Socket::new(Domain::for_address(server), Type::STREAM.nonblocking().cloexec(), None)
            .map_err(io_error(what()))?;
        if let Err(error) = socket.connect(&server.into())
            && error.raw_os_error() != Some(Errno::EINPROGRESS as i32)
        {
            return Err(io_error(what())(error));
        }
        let key = u64::try_from(socket.as_raw_fd()).unwrap_or(u64::MAX);
        let event = EpollEvent::new(EpollFlags::EPOLLOUT, key);
        self.epoll.add(&socket, event).map_err(io_error(what()))?;
        self.pending.insert(key, socket);
        Ok(())
    }

    /// Waits for `most` at most, and ends what is decided: how many servers answered, and how many did not.
    fn end(&mut self, most: Duration) -> Result<(u64, u64), Error> {
        let mut events = [EpollEvent::empty(); BATCH];
        // Rounded up: a call that returns too early would be one more.
        let millis = u16::try_from(most.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        let ready = match self.epoll.wait(&mut events, EpollTimeout::from(millis)) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(io_error("wait for connections")(error)),
        };
        let (mut well, mut failed) = (0, 0);
        for event in events.get(..ready).unwrap_or_default() {
            // Closed, a descriptor leaves the epoll by itself.
            let Some(socket) = self.pending.remove(&event.data()) else { continue };
            match socket.take_error() {
                Ok(None) => well += 1,
                _ => failed += 1,
            }
        }
        Ok((well, failed))
    }
}

/// Checks `port` of so many servers, each once in `delay`, spread evenly, until it is killed. Failures are told on the
/// standard error.
///
/// # Errors
/// [`Error::Io`] when a system call fails.
pub fn run(port: u16, servers: usize, delay: Duration) -> Result<(), Error> {
    let pace = delay / u32::try_from(servers.max(1)).unwrap_or(u32::MAX);
    let mut all = (0..servers.max(1)).cycle();
    let (mut own, mut next) = (Loop::new()?, Instant::now());
    loop {
        let now = Instant::now();
        if next <= now {
            own.begin(SocketAddr::from((bench::address(all.next().unwrap_or(0)), port)))?;
            next += pace;
        }
        let (_, failed) = own.end(next.saturating_duration_since(now))?;
        if failed > 0 {
            eprintln!("{failed} servers do not answer");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_that_answers_is_told_from_one_that_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Bound and not listening: the port refuses, and nobody else gets it.
        let refuses = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        refuses.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let refuses = refuses.local_addr().unwrap().as_socket().unwrap();
        let mut own = Loop::new().unwrap();
        own.begin(listener.local_addr().unwrap()).unwrap();
        own.begin(refuses).unwrap();
        let (mut seen, begin) = ((0, 0), Instant::now());
        // Five seconds are for a busy machine.
        while seen.0 + seen.1 < 2 && begin.elapsed() < Duration::from_secs(5) {
            let (well, failed) = own.end(Duration::from_millis(100)).unwrap();
            seen = (seen.0 + well, seen.1 + failed);
        }
        assert_eq!((seen, own.pending.len()), ((1, 1), 0));
    }
}
