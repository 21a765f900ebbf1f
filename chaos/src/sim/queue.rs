//! What happens next: a heap of times, and what is meant by each beside it, so that little is moved.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::world::What;

/// The queue. Of two things at one time the one that was put in first comes first (I25).
#[derive(Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    number: u64,
    slots: Vec<Option<What>>,
    free: Vec<u32>,
}

impl Queue {
    /// Puts something in.
    pub(super) fn push(&mut self, at: u64, what: What) {
        self.number += 1;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(what);
            self.heap.push(Reverse((at, self.number, slot)));
        }
    }

    /// Takes out what is next, if it is due by `end`.
    pub(super) fn pop(&mut self, end: u64) -> Option<(u64, What)> {
        let Reverse((at, _, slot)) = *self.heap.peek()?;
        if at > end {
            return None;
        }
        self.heap.pop();
        self.free.push(slot);
        let what = self.slots.get_mut(slot as usize)?.take()?;
        Some((at, what))
    }
}
