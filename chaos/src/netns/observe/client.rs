//! A client as the world has them: it sends a probe to the VIP each millisecond, through its kernel's
//! ordinary neighbor cache, and notes which node answered when.

use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;

use super::responder::{PORT, PROBE};
use super::{Live, Stop};
use crate::netns::clock;
use crate::netns::error::{Error, io_error};
use crate::netns::namespace::Namespace;
use crate::netns::priority;
use crate::spans::Spans;

/// Between two probes.
pub const INTERVAL: Duration = Duration::from_millis(1);

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// When it reached the client's kernel.
    pub at: u64,
    /// The node that answered.
    pub node: usize,
}

/// What a client saw.
#[derive(Debug, Clone, Default)]
pub struct Diary {
    /// Every answer, in the order of arrival.
    pub answers: Vec<Answer>,
    /// When it could not probe, because the machine kept it from running for more than [`STALL`].
    pub stalls: Spans,
}

/// A client that sends nothing for this long did not measure the cluster meanwhile.
const STALL: Duration = Duration::from_millis(5);

/// Probes `vip` until the run stops; returns what it saw.
///
/// # Errors
/// [`Error::Io`] when the socket can't be made.
pub fn start(
    namespace: &Namespace,
    client: usize,
    vip: impl Into<IpAddr>,
    live: Arc<Live>,
    stop: Stop,
) -> Result<JoinHandle<Diary>, Error> {
    let vip = vip.into();
    let socket = namespace.run(|| {
        let any: IpAddr = if vip.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).map_err(io_error("bind a client"))?;
        setsockopt(&socket, ReceiveTimestampns, &true).map_err(io_error("ask for timestamps"))?;
        socket.set_read_timeout(Some(Duration::from_millis(100))).map_err(io_error("set a timeout"))?;
        Ok(socket)
    })?;
    let sender = socket.try_clone().map_err(io_error("copy a descriptor"))?;
    let sender_stop = stop.clone();
    let sending = thread::spawn(move || send(&sender, vip, &sender_stop));
    Ok(thread::spawn(move || {
        priority::raise();
        let mut answers = Vec::new();
        // On a busy machine answers wait in the socket: those from before the end are still read.
        let mut end = None;
        loop {
            if stop.is_set() {
                end = end.or(Some(clock::now()));
            }
            let answer = receive(&socket);
            if let Some(answer) = answer {
                live.answered(client, answer.node, clock::now());
                answers.push(answer);
            }
            if end.is_some_and(|end| answer.is_none_or(|answer| answer.at >= end)) {
                break;
            }
        }
        // A sender that died would have left silence, which speaks for itself.
        Diary { answers, stalls: sending.join().unwrap_or_default() }
    }))
}

fn send(socket: &UdpSocket, vip: IpAddr, stop: &Stop) -> Spans {
    priority::raise();
    let stall = u64::try_from(STALL.as_nanos()).unwrap_or(u64::MAX);
    let begin = Instant::now();
    let mut number = 0_u64;
    let mut last = clock::now();
    let mut stalls = Vec::new();
    while !stop.is_set() {
        // A full queue or an unresolved neighbor is the outage itself: the probe is simply not answered.
        let _ = socket.send_to(&number.to_be_bytes(), (vip, PORT));
        number += 1;
        let now = clock::now();
        if now.saturating_sub(last) > stall {
            stalls.push((last, now));
        }
        last = now;
        // On a grid, so that a stall is followed by no burst of more than it missed.
        let due = begin + INTERVAL.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
        match due.checked_duration_since(Instant::now()) {
            Some(wait) => thread::sleep(wait),
            None => number = u64::try_from(begin.elapsed().as_millis()).unwrap_or(number),
        }
    }
    Spans::from_pairs(stalls)
}

fn receive(socket: &UdpSocket) -> Option<Answer> {
    let mut octets = [0_u8; PROBE + 1];
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut parts = [IoSliceMut::new(&mut octets)];
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()).ok()?;
    let stamp = message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
        _ => None,
    })?;
    let at = clock::from_kernel(stamp);
    let whole = message.bytes == PROBE + 1;
    let node = *octets.last()?;
    whole.then_some(Answer { at, node: usize::from(node) })
}
