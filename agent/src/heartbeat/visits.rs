//! Visits of a peer's `keepone voters`: it asks beside the peer's agent, with the same key, and must not be taken
//! for it.
//!
//! What must stay true: a visitor can do nothing but inspect, and what it is told goes to it alone.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepone_arbiter::quic::{Received, WayBack};
use keepone_proto::id::NodeId;
use keepone_proto::time::Instant;
use keepone_proto::wire::lease::{Envelope, Message, pack, unpack};

use crate::clock;

/// A voter answers at once; what has not been answered by then never will be.
const LONGEST: Duration = Duration::from_secs(2);
/// Questions that wait for an answer; the oldest gives way.
const MOST: usize = 32;

/// The questions that were asked and not yet answered.
#[derive(Debug, Default)]
pub(super) struct Visits {
    open: Mutex<VecDeque<Visit>>,
    /// Whether there are any, so that the way of every renewal takes no lock.
    any: AtomicBool,
}

#[derive(Debug)]
struct Visit {
    from: NodeId,
    nonce: u64,
    back: WayBack,
    at: Instant,
}

impl Visits {
    /// A visitor's datagram. `false`: it holds anything else than questions to the voter, and is not for the loop.
    pub(super) fn admit(&self, received: &Received<'_>) -> bool {
        let Ok(entries) = unpack(received.bytes) else { return false };
        let mut nonces = Vec::new();
        for entry in entries {
            match entry {
                Ok(Envelope { nonce, message: Message::Inspect, .. }) => nonces.push(nonce),
                Ok(_) | Err(_) => return false,
            }
        }
        let mut open = self.lock();
        for nonce in nonces {
            if open.len() == MOST {
                open.pop_front();
            }
            let (from, back) = (received.peer.node, received.way_back());
            open.push_back(Visit { from, nonce, back, at: clock::now() });
        }
        self.any.store(!open.is_empty(), Ordering::Relaxed);
        true
    }

    /// Sends what answers a visit to its visitor, and returns the datagrams that are left for the agent of that
    /// member; `None`: the datagram as it is.
    pub(super) fn take_answers(&self, to: NodeId, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let mut open = self.lock();
        let now = clock::now();
        open.retain(|visit| now.since(visit.at) < LONGEST);
        let (mut left, mut answered) = (Vec::new(), false);
        for envelope in unpack(bytes).ok()?.flatten() {
            let asked = |visit: &Visit| visit.from == to && visit.nonce == envelope.nonce;
            let report = matches!(envelope.message, Message::Report { .. });
            match open.iter().position(asked).filter(|_| report).and_then(|place| open.remove(place)) {
                Some(visit) => {
                    answered = true;
                    visit.back.send(envelope.emit());
                }
                None => left.push(envelope),
            }
        }
        self.any.store(!open.is_empty(), Ordering::Relaxed);
        answered.then(|| pack(&left))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Visit>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
