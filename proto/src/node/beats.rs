//! Heartbeats of a node: what peers say, and what it says to them.

use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use super::findings::Unread;
use crate::action::Action;
use crate::decision::Role;
use crate::heartbeat::link::Freshness;
use crate::heartbeat::peer::Peer;
use crate::id::{DomainId, LinkId, NodeId};
use crate::settings::Settings;
use crate::time::Instant;
use crate::wire::heartbeat::{Beat, MAX_DOMAINS, MAX_HEARD};
use crate::wire::{hello, profile};

/// Calls to a silent peer in one period.
const CALLS: u32 = 4;

impl Node {
    /// A heartbeat of a peer, its profile, or its hello.
    pub(super) fn on_beat(&mut self, now: Instant, link: LinkId, from: NodeId, bytes: &[u8], out: &mut Vec<Action>) {
        if bytes.first() == Some(&profile::TAG) {
            return self.on_profile(now, from, bytes);
        }
        if bytes.first() == Some(&hello::TAG) {
            return self.on_hello(now, from, bytes);
        }
        let beat = match Beat::parse(bytes) {
            Ok(beat) if beat.cluster == self.settings.cluster => beat,
            Ok(_) => {
                self.counters.bad_beats += 1;
                return;
            }
            Err(error) => {
                self.counters.bad_beats += 1;
                self.findings.unread(now, from, Unread::beat(error));
                return;
            }
        };
        let differs = beat.digest != self.settings.digest && Some(beat.digest) != self.former_digest;
        self.findings.digest_of(now, from, differs);
        let Some(peer) = self.peers.get_mut(&from) else {
            self.counters.bad_beats += 1;
            return;
        };
        let heard = peer.on_beat(now, link, &beat);
        if heard.freshness != Freshness::Fresh {
            if let Some(older) = heard.duplicate {
                self.note_duplicate(now, from, older);
            }
            self.counters.bad_beats += 1;
            return;
        }
        self.members.heard(now, from, beat.incarnation);
        if let Some(reading) = peer.reading(now, link, &beat) {
            self.read_clock(now, from, beat.incarnation, reading);
        }
        for said in &beat.domains {
            let epoch = beat.epoch(from, said);
            let me = self.settings.node;
            // A peer that says again what it said last changes no judgement: of a thousand domains it says so each
            // period. Who asks for something is answered each time, and two that hold are dated by each word.
            let mut news = self.is_news(now, from, said.id) || said.wants || said.heir == Some(me);
            self.on_domain(now, said.id, |domain, facts| {
                if let Some(epoch) = epoch {
                    domain.lease.saw_epoch(epoch);
                }
                domain.lease.saw_next(said.next.0);
                let holds = said.holding || said.role == Role::Master;
                news |= domain.fence.heard(from, holds, epoch);
                if let Some(epoch) = epoch.filter(|_| holds && !said.alone) {
                    news |= domain.fence.opened(epoch);
                }
                if said.wants {
                    domain.on_request(facts, from);
                }
                match (said.heir == Some(me), domain.lease.is_arbitrated()) {
                    (true, true) => domain.forewarn(now),
                    (true, false) if said.role != Role::Master && !said.holding => domain.nominate(now, from),
                    (true | false, _) => {}
                }
            });
            if news {
                self.agenda.touch(said.id);
            }
        }
        if heard.restarted {
            self.agenda.touch_all();
        }
        if heard.returned || heard.restarted {
            self.announce_all(now, out);
        }
    }

    /// Whether what a peer has just said of a domain may change how that is judged.
    fn is_news(&self, now: Instant, from: NodeId, id: DomainId) -> bool {
        let holds = |peer: &Peer| peer.domain(id).is_some_and(|said| said.holding || said.role == Role::Master);
        let Some(peer) = self.peers.get(&from) else { return true };
        let held_here = || self.domains.get(&id).is_none_or(|domain| domain.may_be_open(now));
        let held_elsewhere = || self.peers.values().any(|other| other.node != from && holds(other));
        // Of a peer that is silent here each beat of another says anew when that one heard it (D3).
        let asks_of_another = || self.peers.values().any(|other| other.is_silent(now));
        peer.is_news(id) || (holds(peer) && (held_here() || held_elsewhere())) || asks_of_another()
    }

    /// Silent peers are called again a part of a period from now.
    pub(super) fn put_off_calls(&mut self, now: Instant) {
        self.call_at = now + self.settings.heartbeat.period / CALLS;
    }

    /// A beat to every peer, or only a call to those that are silent: they are called more often, so that
    /// a heal is noticed, and the addresses announced again, well within a period (D10).
    pub(super) fn send_beats(&mut self, now: Instant, all: bool, out: &mut Vec<Action>) {
        self.put_off_calls(now);
        if !all && !self.peers.values().any(|peer| peer.is_silent(now)) {
            return;
        }
        let references = self.references.report();
        // Of a time to come none is of use: who is heard for the first time is heard now.
        let heard = self.peers.values().filter_map(|peer| Some((peer.node, now.since(peer.heard_at()?))));
        let heard: Vec<(NodeId, Duration)> = heard.take(MAX_HEARD).collect();
        let facts = self.facts(now);
        let count = self.domains.len();
        let turned = self.domains.values().skip(self.first_domain).chain(self.domains.values());
        let domains: Vec<_> = turned.take(count.min(MAX_DOMAINS)).map(|domain| domain.beat(&facts)).collect();
        if count > MAX_DOMAINS {
            self.first_domain = (self.first_domain + MAX_DOMAINS) % count;
        }
        let (seq, echo) = (0, None);
        let Settings { cluster, digest, .. } = self.settings;
        let mut beat =
            Beat { cluster, digest, incarnation: self.incarnation, seq, clock: now, echo, references, heard, domains };
        for peer in self.peers.values_mut().filter(|peer| all || peer.is_silent(now)) {
            let to = peer.node;
            let links: Vec<LinkId> = peer.links().map(|(id, _)| id).collect();
            for link in links {
                let Some((seq, echo)) = peer.next_beat(now, link) else { continue };
                (beat.seq, beat.echo) = (seq, echo);
                out.push(Action::SendBeat { link, to, bytes: beat.emit() });
            }
        }
    }
}
