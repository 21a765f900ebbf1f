//! One domain's key as this node knows it.

use super::{Ask, Content, Held, Life, Reading, RegisterSettings, Requests};
use crate::guard::Guard;
use crate::id::{Epoch, Incarnation, NodeId};
use crate::time::Instant;
use crate::wire::lease::{Envelope, Message, RefuseReason};

/// How often one request is tried against a key that others move.
pub(super) const TRIES: u8 = 3;
/// A candidate of the least priority is told of a free key by so much of L_a later than one of the greatest: all see
/// it at once, and the best shall come first.
const SKEW: u32 = 20;

/// What is known of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) version: u64,
    content: Option<Content>,
    /// When the answer came that first showed this version, or that it is an orphan.
    since: Instant,
    /// Whether the holder's session is gone.
    is_orphan: bool,
}

/// A question that is out.
#[derive(Debug, Clone)]
pub(super) struct Out {
    pub(super) ticket: u64,
    pub(super) ask: Ask,
    /// What for.
    pub(super) request: Envelope,
    /// How many swaps were tried for it, this one included.
    pub(super) tries: u8,
    /// The highest revision that was known of when it was asked: unless the store forgets, its answer is no older.
    pub(super) floor: u64,
    /// How many times the store had forgotten then.
    pub(super) forgot: u32,
}

/// Who waits for it to be free.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) nonce: u64,
    pub(super) priority: u8,
}

/// What a request comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// This version is to hold that, if that session is not there.
    Swap(u64, Content, Option<Life>),
    /// The key is not there: it is to hold a mark first, from which on the loss is waited out.
    Mark,
    /// It is so already.
    Done,
    /// It can't be.
    Refuse(RefuseReason),
}

/// The incarnation of whoever holds a mark, which is nobody's.
const NOBODY: Incarnation = Incarnation(0);

/// What a candidate writes into a key that is not there: that nobody is granted it for L_max. Who finds a key absent twice
/// can't tell that another took it meanwhile, and that it was deleted; a mark has a version.
pub(super) fn mark(settings: &RegisterSettings) -> Content {
    let epoch = Epoch { counter: 0, incarnation: NOBODY, attempt: 0, node: settings.me.0 };
    Content { highest: epoch, held: Some(Held { epoch, lease: settings.lease_max, priority: 0, session: false }) }
}

/// Whether it is one whose epoch holds.
pub fn is_mark(held: Epoch) -> bool {
    held.incarnation == NOBODY
}

#[derive(Debug, Clone, Default)]
pub(super) struct Slot {
    pub(super) known: Option<Known>,
    pub(super) out: Option<Out>,
    pub(super) waiting: Requests,
    pub(super) candidate: Option<Candidate>,
    /// The epoch that this node has last written for itself, or was told that it is its own.
    mine: Option<Epoch>,
    /// The store has forgotten: nobody is granted this key before L_max from then on.
    quiet_from: Option<Instant>,
}

impl Slot {
    /// An answer shows the key; one that is older than what the store has told unasked meanwhile shows nothing.
    pub(super) fn learn(&mut self, now: Instant, reading: Reading) {
        let Reading { revision, version, content, is_orphan } = reading;
        match &mut self.known {
            // A store that was set back counts its versions anew: what stands still shows the same content, too.
            Some(known) if known.version == version && known.content == content => known.is_orphan = is_orphan,
            Some(known) if revision < known.version => {}
            known => *known = Some(Known { version, content, since: now, is_orphan }),
        }
    }

    /// A session is gone: whether what is known hangs on it.
    pub(super) fn orphan(&mut self, now: Instant, life: Life) -> bool {
        let Some(known) = &mut self.known else { return false };
        let held = known.content.and_then(|content| content.held);
        if !held.is_some_and(|held| held.session && (held.epoch.node, held.epoch.incarnation) == life) {
            return false;
        }
        (known.is_orphan, known.since) = (true, now);
        true
    }

    /// This node's own swap has taken place.
    pub(super) fn wrote(&mut self, now: Instant, version: u64, content: Option<Content>) {
        self.known = Some(Known { version, content, since: now, is_orphan: false });
        self.mine = self.held().map(|held| held.epoch).or(self.mine);
    }

    /// What it knew is worth nothing.
    pub(super) fn forget(&mut self, now: Instant) {
        self.known = None;
        self.quiet_from = Some(now);
    }

    /// Who holds it, as far as is known; the grant may have run out.
    pub(super) fn held(&self) -> Option<Held> {
        self.known?.content?.held
    }

    /// The highest epoch that is known of.
    pub(super) fn highest(&self) -> Option<Epoch> {
        self.known?.content.map(|content| content.highest)
    }

    /// From when on this node may be granted it; `None`: unknown.
    pub(super) fn free_at(&self, settings: &RegisterSettings) -> Option<Instant> {
        let known = self.known?;
        let stands = match known.content {
            // Lost: as a voter without its disk (V7).
            None if !settings.guards.has(Guard::LostKeyWaits) => Instant::BOOT,
            None => known.since + settings.lease_max,
            Some(Content { held: Some(_), .. }) if !settings.guards.has(Guard::KeyStandsStill) => Instant::BOOT,
            Some(Content { held: Some(Held { session: true, .. }), .. }) if known.is_orphan => Instant::BOOT,
            Some(Content { held: Some(Held { session: true, .. }), .. }) => return None,
            Some(Content { held: Some(held), .. }) => known.since + held.lease,
            Some(Content { held: None, .. }) => Instant::BOOT,
        };
        let quiet = self.quiet_from.map(|from| from + settings.lease_max);
        Some(quiet.map_or(stands, |quiet| quiet.max(stands)))
    }

    /// When the candidate that waits is to be told.
    pub(super) fn tell_at(&self, settings: &RegisterSettings) -> Option<Instant> {
        let (candidate, known) = (self.candidate?, self.known?);
        let last = self.held().map_or(settings.lease_max, |held| held.lease);
        let skew = last.saturating_mul(255 - u32::from(candidate.priority)) / (255 * SKEW);
        Some(self.free_at(settings)?.max(known.since) + skew)
    }

    /// It is this node's own already.
    pub(super) fn hold(&mut self, epoch: Epoch) {
        self.mine = Some(epoch);
    }

    /// The epoch that another has left to this node, once.
    pub(super) fn take_offer(&mut self, (node, incarnation): (NodeId, Incarnation)) -> Option<Epoch> {
        let epoch = self.held()?.epoch;
        let is_new = epoch.node == node && epoch.incarnation == incarnation && self.mine != Some(epoch);
        self.mine = if is_new { Some(epoch) } else { self.mine };
        is_new.then_some(epoch)
    }

    /// What a request comes to by what is known.
    pub(super) fn judge(&self, now: Instant, settings: &RegisterSettings, request: &Message) -> Judgement {
        let Some(Known { version, content, .. }) = self.known else { return Judgement::Refuse(RefuseReason::Quiet) };
        let (held, highest) = (self.held(), self.highest());
        let is_barred = self.free_at(settings).is_none_or(|at| now < at);
        let bar = if held.is_some_and(|held| !is_mark(held.epoch)) { RefuseReason::Held } else { RefuseReason::Quiet };
        // Who only looks, before anybody asks, marks it too: what is waited out by then costs nothing.
        let wants = matches!(
            request,
            Message::Inspect | Message::Query { .. } | Message::HandoverRequest { .. } | Message::Acquire { .. }
        );
        if wants && version == 0 && settings.guards.has(Guard::LostKeyWaits) {
            return Judgement::Mark;
        }
        match *request {
            Message::Query { .. } | Message::HandoverRequest { .. } => {
                let own = held.is_some_and(|held| (held.epoch.node, held.epoch.incarnation) == settings.me);
                if is_barred && !own { Judgement::Refuse(bar) } else { Judgement::Done }
            }
            Message::Acquire { epoch, lease, priority, .. } => {
                let renews = held.is_some_and(|held| held.epoch == epoch);
                // A later attempt of this life succeeds to an earlier one, as with a voter.
                let succeeds = held.is_some_and(|held| held.epoch.is_before(&epoch));
                if is_barred && !renews && !succeeds {
                    return Judgement::Refuse(bar);
                }
                if !renews && highest.is_some_and(|highest| epoch <= highest) {
                    return Judgement::Refuse(RefuseReason::Stale);
                }
                let highest = highest.map_or(epoch, |highest| highest.max(epoch));
                // A shorter lease asked for later must not take back what an earlier answer promised.
                let lease = held.filter(|_| renews).map_or(lease, |held| held.lease.max(lease));
                let orphan_of = held.filter(|held| held.session && !renews && !succeeds);
                let orphan_of = orphan_of.map(|held| (held.epoch.node, held.epoch.incarnation));
                let held = Held { epoch, lease, priority, session: settings.sessions };
                Judgement::Swap(version, Content { highest, held: Some(held) }, orphan_of)
            }
            Message::Release { epoch } => match (content, held) {
                // Only that exact one (V5); whatever else there is, the released epoch is over.
                (Some(content), Some(held)) if held.epoch == epoch || !settings.guards.has(Guard::ReleaseMatches) => {
                    Judgement::Swap(version, Content { held: None, ..content }, None)
                }
                _ => Judgement::Done,
            },
            Message::Transfer { epoch, heir } => match (content, held) {
                (Some(content), Some(held)) if held.epoch == epoch && heir > content.highest => {
                    // The heir has no session yet: its first renewal makes one.
                    let held = Held { epoch: heir, session: false, ..held };
                    Judgement::Swap(version, Content { highest: heir, held: Some(held) }, None)
                }
                // Its number is used up: the heir asks for itself.
                (Some(content), Some(held)) if held.epoch == epoch => {
                    Judgement::Swap(version, Content { held: None, ..content }, None)
                }
                _ => Judgement::Done,
            },
            _ => Judgement::Done,
        }
    }
}
