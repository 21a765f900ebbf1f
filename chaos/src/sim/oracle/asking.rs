//! Who asks for leave, who gives it, and what each has heard of the other: R2, R10, V8.

use std::collections::{BTreeMap, BTreeSet};

use keepone_proto::id::{DomainId, Epoch};
use keepone_proto::time::nanos;
use keepone_proto::wire::lease::{Envelope, Message};

use super::Oracle;
use crate::sim::host::Host;
use crate::sim::network::{MS, US};
use crate::sim::plan::Plan;

/// What a datagram waits for at its sender and on a fair line.
const FAIR_WAY: u64 = 50 * MS;

/// What nodes have heard from voters. Answers of a node's own voter don't cross the network, and are not here.
#[derive(Debug, Clone, Default)]
pub(super) struct Asking {
    /// By node and domain: who has said since its last attempt that it is free.
    free: BTreeMap<(usize, usize), BTreeSet<usize>>,
    /// By node, voter and domain: when anything was last heard.
    heard: BTreeMap<(usize, usize, usize), u64>,
    /// By voter and domain: what its borrower had heard last when it last showed a sign of that, and when it did.
    signs: BTreeMap<(usize, usize), (Epoch, u64, u64)>,
    /// All that were ever asked for, or left to an heir.
    known: BTreeSet<(DomainId, Epoch)>,
}

impl Oracle {
    /// A node takes a voter's answers from its queue.
    pub fn on_answers(&mut self, now: u64, node: usize, from: usize, answers: &[Envelope]) {
        for envelope in answers {
            let place = Plan::place(envelope.domain);
            match envelope.message {
                Message::Free { .. } => {
                    self.asking.free.entry((node, place)).or_default().insert(from);
                }
                // Left to an heir by a node whose own voter is the only one: that Transfer crosses no network.
                Message::Offer { epoch, .. } => {
                    self.asking.known.insert((envelope.domain, epoch));
                }
                // Who is told that it was taken for deaf has heard that (V8).
                Message::Grant { .. } | Message::Refuse { .. } => {
                    self.asking.heard.insert((node, from, place), now);
                }
                _ => {}
            }
        }
    }

    /// R2: an epoch is spent only after a majority has said that it is free, or because a holder left it to its heir.
    pub(super) fn check_pre_vote(&mut self, now: u64, (number, step): (usize, usize), said: &[Envelope]) {
        for envelope in said {
            match envelope.message {
                Message::Transfer { heir, .. } => {
                    self.asking.known.insert((envelope.domain, heir));
                }
                Message::Acquire { epoch, .. } if self.asking.known.insert((envelope.domain, epoch)) => {
                    let place = Plan::place(envelope.domain);
                    let free = self.asking.free.remove(&(number, place)).unwrap_or_default();
                    // What its own voter says does not cross the network.
                    let nods = |voter: &&usize| **voter == number || free.contains(voter);
                    let sets = self.sets.get(step).into_iter().flatten();
                    let lacking =
                        sets.map(|set| (set.iter().filter(nods).count(), set.len())).find(|(free, of)| *free <= of / 2);
                    if let Some((free, of)) = lacking {
                        self.violated("R2", now, || {
                            format!("host {number} spends {epoch}, and of {of} voters {free} were free, if its own was")
                        });
                    }
                }
                _ => {}
            }
        }
    }

    /// R10: a voter has lent to another node: not while its own node's gate is open.
    pub(super) fn check_own(&mut self, now: u64, voter: &Host, number: usize, place: usize, lent: Epoch) {
        let Some(kernel) = voter.kernels.get(place).filter(|_| Plan::host(lent.node) != number) else { return };
        let mine = kernel.epoch.filter(|epoch| Plan::host(epoch.node) == number);
        if let Some(epoch) = mine.filter(|_| kernel.open_until > now + self.jiffy) {
            self.violated("R10", now, || format!("voter {number} lends {lent} while its own node holds under {epoch}"));
        }
    }

    /// V8: a voter has extended a loan that was made at `made`: not for a lease after the last sign that its holder
    /// hears it. A sign is what comes after it has heard something new, however long ago.
    pub(super) fn check_hearing(&mut self, now: u64, voter: usize, place: usize, epoch: Epoch, made: u64) {
        let holder = Plan::host(epoch.node);
        // What is late on its way is a sign all the same; only where nothing is late is the silence known.
        if !self.punctual || holder == voter {
            return;
        }
        let heard = self.asking.heard.get(&(holder, voter, place)).copied().unwrap_or(0);
        // Of what it had heard when the loan was made nobody has told: the first word of it is a sign.
        let sign = self.asking.signs.entry((voter, place)).or_insert((epoch, 0, made));
        if sign.0 != epoch || sign.1 != heard {
            *sign = (epoch, heard, now);
        }
        let silent = now - sign.2.max(made);
        let limit = nanos(self.lease + self.renewal).saturating_mul(103) / 100 + FAIR_WAY;
        if silent > limit {
            self.violated("V8", now, || {
                let (silent, limit) = (silent / US, limit / US);
                format!(
                    "voter {voter} extends {epoch} {silent} us after the last sign of being heard, limit {limit} us"
                )
            });
        }
    }
}
