//! How long a frame that has passed the gate waits in an interface's queue (F33): E_tx of the lease assumes a bound.
//!
//! The gate judges a frame before it is put into the queueing discipline. A full one behind a slow line (bufferbloat)
//! holds frames for seconds that were let pass in time. The kernel keeps no such delay, but it counts what waits and
//! what has left: the one by the rate of the other is how long the last frame has to wait.
//!
//! The kernel answers under its rtnl lock, so this runs on a thread of its own.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use keepone_proto::event::Event;
use keepone_proto::id::InterfaceId;
use keepone_proto::time::Instant;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::net::if_::if_nametoindex;

use super::message;
use crate::clock;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// A datagram of a dump is 32 KiB at most.
const BUFFER: usize = 64 * 1024;

/// What an interface's root queueing disciplines have sent, and what waits in them, in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Traffic {
    sent: u64,
    waits: u64,
}

/// Between two looks `passed` apart.
fn wait(before: Traffic, after: Traffic, passed: Duration) -> Duration {
    if after.waits == 0 {
        return Duration::ZERO;
    }
    // A queue that was made anew counts from zero.
    let sent = after.sent.checked_sub(before.sent).unwrap_or(after.sent).max(1);
    let nanos = u128::from(after.waits).saturating_mul(passed.as_nanos()) / u128::from(sent);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// One interface, from look to look.
#[derive(Debug, Default)]
struct Line {
    last: Option<(u32, Traffic, Instant)>,
    told: Duration,
}

impl Line {
    /// What is to be told; zero once.
    fn see(&mut self, now: Instant, ifindex: u32, traffic: Traffic) -> Option<Duration> {
        let last = self.last.replace((ifindex, traffic, now)).filter(|(index, ..)| *index == ifindex);
        let wait = last.map_or(Duration::ZERO, |(_, before, at)| wait(before, traffic, now.since(at)));
        let before = std::mem::replace(&mut self.told, wait);
        (wait.max(before) > Duration::ZERO).then_some(wait)
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket2::SockRef::from(&socket).set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Every interface's traffic, by its index.
fn read(socket: &Socket, buffer: &mut [u8], sequence: u32) -> io::Result<BTreeMap<u32, Traffic>> {
    let request = message::dump_request(message::RTM_GETQDISC, sequence);
    socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;
    let mut all = BTreeMap::<u32, Traffic>::new();
    loop {
        let mut room = &mut *buffer;
        let (len, from) = socket.recv_from(&mut room, 0)?;
        let datagram = buffer.get(..len).filter(|_| from.port_number() == 0).unwrap_or_default();
        for told in message::messages(datagram).filter(|told| told.sequence == sequence) {
            match told.kind {
                message::NLMSG_DONE => return Ok(all),
                message::NLMSG_ERROR => {
                    let errno = message::error(told.payload).unwrap_or(libc::EPROTO);
                    return Err(io::Error::from_raw_os_error(errno));
                }
                message::RTM_NEWQDISC => {
                    if let Some(queue) = message::queue(told.payload).filter(|queue| queue.is_root) {
                        let traffic = all.entry(queue.ifindex).or_default();
                        traffic.sent = traffic.sent.saturating_add(queue.sent);
                        traffic.waits = traffic.waits.saturating_add(queue.waits.into());
                    }
                }
                _ => {}
            }
        }
    }
}

/// The interfaces that are looked at; more may come, at the end.
pub type Names = Arc<Mutex<Vec<String>>>;

/// Looks each second until `tell` says that nobody listens; the interfaces' ids are their places.
///
/// # Errors
/// No thread may be had.
pub fn watch(names: Names, mut tell: impl FnMut(Event) -> bool + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("queues".into()).spawn(move || {
        let mut lines = Vec::<Line>::new();
        let (mut socket, mut sequence, mut buffer) = (None, 0_u32, vec![0; BUFFER]);
        let mut warned = false;
        loop {
            sequence = sequence.wrapping_add(1);
            let seen = match socket.take().map_or_else(open, Ok) {
                Ok(opened) => read(&opened, &mut buffer, sequence).inspect(|_| socket = Some(opened)),
                Err(error) => Err(error),
            };
            match seen {
                Ok(seen) => {
                    let names = names.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    lines.resize_with(names.len(), Line::default);
                    for ((place, line), name) in (0_u16..).zip(&mut lines).zip(&names) {
                        let Ok(ifindex) = if_nametoindex(name.as_str()) else { continue };
                        let traffic = seen.get(&ifindex).copied().unwrap_or_default();
                        if let Some(wait) = line.see(clock::now(), ifindex, traffic)
                            && !tell(Event::QueueSeen { interface: InterfaceId(place), wait })
                        {
                            return;
                        }
                    }
                }
                Err(error) if !warned => {
                    warned = true;
                    tracing::warn!(
                        %error,
                        "the kernel's queues can't be read, so no `transmit-queue` is told; is AF_NETLINK allowed to this service?"
                    );
                }
                Err(_) => {}
            }
            thread::sleep(INTERVAL);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_leaves_at_the_rate_of_the_last_second() {
        let (second, quiet) = (Duration::from_secs(1), Traffic::default());
        let full = |sent, waits| Traffic { sent, waits };
        assert_eq!(wait(quiet, full(1000, 0), second), Duration::ZERO);
        assert_eq!(wait(full(5000, 0), full(6000, 500), second), second / 2);
        assert_eq!(wait(full(5000, 9), full(1000, 500), second), second / 2, "counted anew");
        assert!(wait(full(5000, 9), full(5000, 500), second) > second * 100, "nothing leaves");
    }

    #[test]
    fn what_waits_is_told_each_time_and_its_end_once() {
        let at = |s: u64| Instant::BOOT + Duration::from_secs(s);
        let mut line = Line::default();
        let mut look = |s, sent, waits| line.see(at(s), 7, Traffic { sent, waits });
        assert_eq!(look(1, 0, 0), None);
        assert_eq!(look(2, 1000, 0), None);
        assert_eq!(look(4, 3000, 500), Some(Duration::from_millis(500)));
        assert_eq!(look(5, 4000, 700), Some(Duration::from_millis(700)));
        assert_eq!(look(6, 5000, 0), Some(Duration::ZERO));
        assert_eq!(look(7, 6000, 0), None);
    }
}
