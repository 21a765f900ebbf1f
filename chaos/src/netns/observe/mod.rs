//! What is seen of the cluster, without asking it: answers at the clients, frames on the wire, gates and
//! addresses in the kernels. Every instant is on one clock, [`super::clock::now`].

pub mod address;
pub mod canary;
pub mod client;
pub mod events;
pub mod gate;
pub mod knocks;
pub mod load;
mod nft;
pub mod oracle;
pub mod packet;
pub mod responder;
pub mod sniffer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Who named the VIP, or answered, within this still does, as far as the live view is concerned.
pub const FRESH: u64 = 60_000_000;

/// Ends every observer.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Whether it is time to end.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Ends all who hold a copy.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct LiveNode {
    gate: AtomicBool,
    address: AtomicBool,
    spoke_at: AtomicU64,
    /// The first frame of those that follow each other without a long silence.
    spoke_since: AtomicU64,
}

#[derive(Debug, Default)]
struct LiveClient {
    /// The instant of the last answer, with its lowest eight bits replaced by the node's number.
    answered: AtomicU64,
}

/// The latest of everything, for those who look on while the run lasts.
#[derive(Debug)]
pub struct Live {
    nodes: Vec<LiveNode>,
    clients: Vec<LiveClient>,
}

impl Live {
    /// For so many nodes and clients.
    pub fn new(nodes: usize, clients: usize) -> Self {
        Live {
            nodes: (0..nodes).map(|_| LiveNode::default()).collect(),
            clients: (0..clients).map(|_| LiveClient::default()).collect(),
        }
    }

    fn set_gate(&self, node: usize, open: bool) {
        if let Some(node) = self.nodes.get(node) {
            node.gate.store(open, Ordering::Relaxed);
        }
    }

    fn set_address(&self, node: usize, present: bool) {
        if let Some(node) = self.nodes.get(node) {
            node.address.store(present, Ordering::Relaxed);
        }
    }

    fn spoke(&self, node: usize, at: u64) {
        if let Some(node) = self.nodes.get(node) {
            let last = node.spoke_at.swap(at, Ordering::Relaxed);
            if at.saturating_sub(last) > FRESH {
                node.spoke_since.store(at, Ordering::Relaxed);
            }
        }
    }

    fn answered(&self, client: usize, node: usize, at: u64) {
        if let Some(client) = self.clients.get(client) {
            client.answered.store(at & !0xff | u64::try_from(node).unwrap_or(0xff), Ordering::Relaxed);
        }
    }

    /// Whether the node's gate was open at the last look.
    pub fn gate(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.gate.load(Ordering::Relaxed))
    }

    /// Whether the node has the address.
    pub fn address(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.address.load(Ordering::Relaxed))
    }

    /// Who names the VIP on the wire, as of `now`.
    ///
    /// A node that fell silent before another one began has handed over, however recent that was.
    pub fn holders(&self, now: u64) -> Vec<usize> {
        let spoke = |node: &LiveNode| (node.spoke_since.load(Ordering::Relaxed), node.spoke_at.load(Ordering::Relaxed));
        let speaking: Vec<(usize, (u64, u64))> = self.nodes.iter().map(spoke).enumerate().collect();
        let fresh = speaking.iter().filter(|(_, (_, last))| *last != 0 && now.saturating_sub(*last) < FRESH);
        let holds = fresh.filter(|(_, (_, last))| !speaking.iter().any(|(_, (since, _))| since > last));
        holds.map(|(node, _)| *node).collect()
    }

    /// The client's last answer: the instant and the node.
    pub fn last_answer(&self, client: usize) -> Option<(u64, usize)> {
        let packed = self.clients.get(client)?.answered.load(Ordering::Relaxed);
        (packed != 0).then(|| (packed & !0xff, usize::try_from(packed & 0xff).unwrap_or(usize::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_handover_is_never_shown_as_two_holders_and_two_holders_are() {
        let live = Live::new(2, 0);
        for at in 1000..1100 {
            live.spoke(0, at * MS);
        }
        assert_eq!(live.holders(1101 * MS), [0]);
        live.spoke(1, 1120 * MS);
        assert_eq!(live.holders(1121 * MS), [1], "the first one fell silent before the second one spoke");
        live.spoke(0, 1125 * MS);
        assert_eq!(live.holders(1126 * MS), [0, 1], "and now it speaks again");
        assert_eq!(live.holders(1300 * MS), Vec::<usize>::new());
    }
}
