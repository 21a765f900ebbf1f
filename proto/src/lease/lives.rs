//! Two agents with one identity: a cloned node, or a key that was copied (F62).
//!
//! An agent has a new incarnation at each start (R6), and a node runs one agent at a time. So an earlier life
//! that still speaks when its successor has long been heard is another machine with the same key and id. The
//! lease is safe all the same: an epoch names its incarnation, and a voter lends to one epoch at a time.
//! But the two take the domain from each other, and neither is what the operator wanted.
//!
//! What must stay true: the late words of a life that is over are no accusation.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::{Incarnation, NodeId};
use crate::time::Instant;
use crate::wire::lease::{Envelope, Message};

/// No word of a process outlives it for so long: its connections are gone, and every queue was emptied.
const LATEST_WORD: Duration = Duration::from_secs(5);
/// A life that has asked for nothing for so long was stopped, or holds nothing: of two agents the other one is
/// what is left.
const STOPPED: Duration = Duration::from_secs(60);
/// Lives of one node that are remembered.
const REMEMBERED: usize = 8;

/// Two lives of one node speak at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicate {
    /// As whom both speak.
    pub node: NodeId,
    /// The one that was heard first, which is refused whatever it does not hold already.
    pub older: Incarnation,
    /// The one that was heard after it.
    pub newer: Incarnation,
}

/// The lives of each node, as a voter hears them in the epochs that they ask for.
#[derive(Debug, Clone, Default)]
pub struct Lives {
    heard: BTreeMap<NodeId, Vec<Life>>,
}

#[derive(Debug, Clone, Copy)]
struct Life {
    incarnation: Incarnation,
    first: Instant,
    last: Instant,
}

impl Lives {
    /// Nothing is remembered of a node that has left.
    pub fn forget(&mut self, node: NodeId) {
        self.heard.remove(&node);
    }

    /// A request, with the time at which it was taken from its queue, from the member that the transport has
    /// proven. Says so if it can only be a second agent's.
    pub fn on_request(&mut self, now: Instant, from: NodeId, request: &Envelope) -> Option<Duplicate> {
        let Message::Acquire { epoch, .. } = request.message else { return None };
        if epoch.node != from {
            return None;
        }
        let lives = self.heard.entry(from).or_default();
        let Some(place) = lives.iter().position(|life| life.incarnation == epoch.incarnation) else {
            if lives.len() == REMEMBERED {
                lives.remove(0);
            }
            lives.push(Life { incarnation: epoch.incarnation, first: now, last: now });
            return None;
        };
        if let Some(life) = lives.get_mut(place) {
            life.last = now;
        }
        let newer = lives.get(place + 1)?;
        let both = now.since(newer.first) > LATEST_WORD && now.since(newer.last) <= STOPPED;
        both.then_some(Duplicate { node: from, older: epoch.incarnation, newer: newer.incarnation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ClusterId, ConfigDigest, DomainId, Epoch};

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn ask(incarnation: u64) -> Envelope {
        let node = NodeId::new(1).unwrap();
        let epoch = Epoch { counter: 1, incarnation: Incarnation(incarnation), attempt: 1, node };
        let message = Message::Acquire { epoch, lease: Duration::from_secs(1), prev_ack: 0, priority: 100 };
        Envelope { cluster: ClusterId(1), digest: ConfigDigest(1), domain: DomainId(1), nonce: 1, message }
    }

    #[test]
    fn an_earlier_life_that_goes_on_asking_is_another_agent_f62() {
        let (mut lives, node) = (Lives::default(), NodeId::new(1).unwrap());
        for ms in (0..1000).step_by(100) {
            assert_eq!(lives.on_request(at(ms), node, &ask(7)), None);
        }
        for ms in (1000..6000).step_by(100) {
            assert_eq!(lives.on_request(at(ms), node, &ask(8)), None);
            assert_eq!(lives.on_request(at(ms + 1), node, &ask(7)), None, "perhaps late words, at {ms}");
        }
        assert_eq!(lives.on_request(at(6100), node, &ask(8)), None, "the newer one is never accused");
        let (older, newer) = (Incarnation(7), Incarnation(8));
        assert_eq!(lives.on_request(at(6101), node, &ask(7)), Some(Duplicate { node, older, newer }));
    }

    #[test]
    fn the_original_is_served_again_once_its_clone_has_been_stopped_f62() {
        let (mut lives, node) = (Lives::default(), NodeId::new(1).unwrap());
        lives.on_request(at(0), node, &ask(7));
        for ms in (1000..10_000).step_by(1000) {
            lives.on_request(at(ms), node, &ask(8));
        }
        assert!(lives.on_request(at(30_000), node, &ask(7)).is_some(), "the clone may only be slow");
        assert_eq!(lives.on_request(at(70_000), node, &ask(7)), None);
    }

    #[test]
    fn restarts_are_no_second_agent_however_many() {
        let (mut lives, node) = (Lives::default(), NodeId::new(1).unwrap());
        for life in 0..100 {
            for ms in (0..10_000).step_by(1000) {
                assert_eq!(lives.on_request(at(life * 10_000 + ms), node, &ask(life)), None, "life {life}");
            }
        }
    }
}
