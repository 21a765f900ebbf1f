//! Who held the VIP when, under which epoch: a history in the manner of Jepsen, and what must be true of it.

use serde::Serialize;

use crate::netns::record::Record;
use crate::spans::{Spans, millis};
use crate::verdict;

/// One hold: a gate that was certainly open under one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// The node, from 0.
    pub node: usize,
    /// The epoch: its counter, the incarnation, and attempt and node in one word.
    pub epoch: [u64; 3],
    /// From when; nanoseconds of CLOCK_BOOTTIME.
    pub from: u64,
    /// Until when.
    pub to: u64,
}

/// Everything of one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct History {
    /// By gates, in the order of their beginnings.
    pub gates: Vec<Hold>,
    /// By the wire: node, from and to.
    pub wire: Vec<(usize, u64, u64)>,
}

impl History {
    /// From what was seen.
    pub fn of(record: &Record) -> Self {
        let mut gates: Vec<Hold> = record.nodes.iter().flat_map(|node| node.holds.iter().copied()).collect();
        gates.sort_by_key(|hold| (hold.from, hold.node));
        let mut wire = Vec::new();
        for (number, node) in record.nodes.iter().enumerate() {
            wire.extend(verdict::wire(node).iter().map(|(from, to)| (number, from, to)));
        }
        wire.sort_by_key(|hold| hold.1);
        History { gates, wire }
    }

    /// Each breach of I1 and I4 by the gates, under an authority: holds of two nodes overlap, a hold has no epoch, an
    /// epoch is used by two holds of different nodes, or a later hold's epoch is below the one before.
    pub fn breaches(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        // Two gates that are open at once need not be neighbours in the list, so the latest end is kept.
        let mut before: Option<Hold> = None;
        let mut longest: Option<Hold> = None;
        for hold in &self.gates {
            if let Some(open) = longest.filter(|open| open.node != hold.node && open.to > hold.from) {
                let ms = millis(open.to.min(hold.to) - hold.from);
                breaches.push(format!("n{} and n{} both held for {ms} ms (I1)", open.node + 1, hold.node + 1));
            }
            let [counter, ..] = hold.epoch;
            // Only where nobody arbitrates is there no epoch, and this is not asked there.
            if counter == 0 {
                breaches.push(format!("n{} held under no epoch (I4)", hold.node + 1));
            }
            // One node's gate may be seen shut for a moment under one epoch; two nodes never share one.
            let [last_counter, ..] = before.map_or([0; 3], |last| last.epoch);
            if let Some(last) = before.filter(|last| {
                last_counter > counter || (last.node != hold.node && last_counter == counter && counter != 0)
            }) {
                breaches.push(format!(
                    "n{} held under epoch {counter} after n{} had held under {last_counter} (I4)",
                    hold.node + 1,
                    last.node + 1
                ));
            }
            before = Some(*hold);
            if longest.is_none_or(|open| open.to < hold.to) {
                longest = Some(*hold);
            }
        }
        breaches
    }

    /// How often another node than before came to hold.
    pub fn changes(&self) -> usize {
        self.gates.iter().zip(self.gates.iter().skip(1)).filter(|(before, after)| before.node != after.node).count()
    }

    /// The time in which each node's gate was open.
    pub fn spans(&self, node: usize) -> Spans {
        let holds = self.gates.iter().filter(|hold| hold.node == node);
        Spans::from_pairs(holds.map(|hold| (hold.from, hold.to)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(node: usize, counter: u64, from: u64, to: u64) -> Hold {
        Hold { node, epoch: [counter, 7, 9], from, to }
    }

    fn breaches(gates: Vec<Hold>) -> usize {
        History { gates, wire: Vec::new() }.breaches().len()
    }

    #[test]
    fn holds_that_follow_each_other_with_rising_epochs_are_a_good_history() {
        assert_eq!(breaches(vec![hold(0, 1, 0, 10), hold(1, 2, 10, 20), hold(1, 2, 21, 30), hold(0, 4, 35, 40)]), 0);
        assert_eq!(breaches(vec![hold(0, 3, 0, 10), hold(0, 3, 12, 20), hold(0, 4, 30, 40)]), 0, "one node's own");
    }

    #[test]
    fn a_hold_without_an_epoch_is_seen() {
        assert_eq!(breaches(vec![hold(0, 0, 0, 10)]), 1);
        assert_eq!(breaches(vec![hold(0, 0, 0, 10), hold(1, 0, 10, 20)]), 2);
        assert_eq!(breaches(vec![hold(0, 1, 0, 10), hold(1, 0, 10, 20)]), 2, "and it falls, too");
    }

    #[test]
    fn an_overlap_is_seen_also_over_a_hold_in_between() {
        assert_eq!(breaches(vec![hold(0, 1, 0, 10), hold(1, 2, 9, 20)]), 1);
        assert_eq!(breaches(vec![hold(0, 1, 0, 100), hold(0, 2, 10, 20), hold(1, 3, 50, 60)]), 1);
    }

    #[test]
    fn an_epoch_that_comes_again_or_falls_is_seen() {
        assert_eq!(breaches(vec![hold(0, 2, 0, 10), hold(1, 1, 10, 20)]), 1);
        assert_eq!(breaches(vec![hold(0, 2, 0, 10), hold(1, 2, 10, 20)]), 1);
        assert_eq!(breaches(vec![hold(0, 2, 0, 10), hold(0, 1, 12, 20)]), 1, "of one node as well");
    }
}
