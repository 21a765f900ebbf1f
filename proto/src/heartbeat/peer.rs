//! One peer over all its links: what it last said, and when it was last alive.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::dating::Dating;
use super::link::{Freshness, Link};
use crate::id::{DomainId, Epoch, Incarnation, LinkId, NodeId};
use crate::lease::rate::{Bounds, Reading};
use crate::settings::{HeartbeatSettings, PeerSettings};
use crate::tenure::Tenure;
use crate::time::Instant;
use crate::wire::heartbeat::{Beat, DomainBeat, Echo, References};

/// How many former incarnations of a peer are remembered, so that their late beats are refused.
const RETIRED: usize = 8;
/// A life that has been silent for so long was stopped: of two agents the other one is what is left.
const STOPPED: Duration = Duration::from_secs(60);

/// Another agent.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Which node.
    pub node: NodeId,
    links: BTreeMap<LinkId, Link>,
    settings: HeartbeatSettings,
    /// m·h of these: asked for at each step.
    silence: Duration,
    /// What is assumed of its clock and ours.
    bounds: Bounds,
    /// The newest of the links' own, and when it last heard us on any of them: asked for at each step.
    heard_at: Option<Instant>,
    hears_us_at: Option<Instant>,
    /// When this peer is judged silent if it is never heard: it counts as heard at our start.
    started: Instant,
    incarnation: Option<Incarnation>,
    retired: Vec<Incarnation>,
    /// When the present incarnation was first heard, or was heard again after a silence: what it hears of
    /// us is judged from then on.
    heard_since: Option<Instant>,
    said: Option<Said>,
    /// How its clock dates what it says where no echo does.
    dating: Dating,
    /// We have slept: its silence counts from our waking.
    excused_until: Option<Instant>,
    /// When we last slept: from, to.
    slept: Option<(Instant, Instant)>,
    /// In the order in which they first showed life.
    lives: Vec<Life>,
    /// It last said that it asks no authority.
    unarbitrated: bool,
}

/// What a peer last said.
#[derive(Debug, Clone)]
struct Said {
    clock: Instant,
    references: References,
    /// Whom it hears, and how long ago when it said so; when that was.
    heard: (Vec<(NodeId, Duration)>, Instant),
    domains: BTreeMap<DomainId, Word>,
}

/// How a peer stands at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It counts as heard, and never was.
    Awaited,
    /// It is heard.
    Heard,
    /// It is heard, and does not hear us (D8).
    Deaf,
    /// On all links, for m·h.
    Silent,
}

/// What it said of one domain, when that came, and for how long it has held it, if it said so.
#[derive(Debug, Clone)]
struct Word {
    said: DomainBeat,
    at: Instant,
    tenure: Option<Tenure>,
    /// In it the peer has said that its gate was read back as open.
    was_open: bool,
    /// It says something else than the word before it.
    news: bool,
}

/// What a received beat brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Whether it counted.
    pub freshness: Freshness,
    /// It is the first of a new incarnation: the peer has restarted.
    pub restarted: bool,
    /// The peer had been silent on all links before it.
    pub returned: bool,
    /// Two agents speak as this peer: the life that was heard first, and goes on beside a later one.
    pub duplicate: Option<Incarnation>,
}

/// A life of the peer that has shown, by an echo of a recent beat of ours, that it lived then.
#[derive(Debug, Clone, Copy)]
struct Life {
    incarnation: Incarnation,
    first: Instant,
    /// When it last did, and a time before that by the limit of what is recent at least.
    last: Instant,
    before: Option<Instant>,
}

impl Peer {
    /// A peer of the life `own` that counts as heard at `now`, so that a start is not taken for its death.
    pub fn new(
        settings: &PeerSettings,
        heartbeat: HeartbeatSettings,
        bounds: Bounds,
        own: Incarnation,
        now: Instant,
    ) -> Self {
        Peer {
            bounds,
            node: settings.node,
            links: settings.links.iter().map(|link| (*link, Link::new(own))).collect(),
            settings: heartbeat,
            silence: heartbeat.silence(),
            heard_at: None,
            hears_us_at: None,
            started: now,
            incarnation: None,
            retired: Vec::new(),
            heard_since: None,
            said: None,
            dating: Dating::default(),
            excused_until: None,
            slept: None,
            lives: Vec::new(),
            unarbitrated: false,
        }
    }

    /// This node did not look between `before` and `now`: a peer that was not silent then shall have the time
    /// of a silence to be heard again. Its words are still in our queues.
    pub fn slept(&mut self, before: Instant, now: Instant) {
        self.slept = Some((before, now));
        self.dating.begin_anew();
        if !self.is_silent(before) {
            self.excused_until = Some(now + self.silence);
        }
    }

    /// Another configuration reaches it over these: what is known of those that stay is kept.
    pub fn set_links(&mut self, links: &[LinkId], own: Incarnation) {
        self.links.retain(|id, _| links.contains(id));
        for id in links {
            self.links.entry(*id).or_insert_with(|| Link::new(own));
        }
        self.hears_us_at = self.links.values().filter_map(Link::hears_us_at).max();
    }

    /// Its links.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> + Clone {
        self.links.iter().map(|(id, link)| (*id, link))
    }

    /// See [`Link::go_on_from`].
    pub fn go_on_from(&mut self, sequence: u64) {
        self.links.values_mut().for_each(|link| link.go_on_from(sequence));
    }

    /// The highest sequence that was given to a beat over any of its links.
    pub fn sequence(&self) -> u64 {
        self.links.values().map(Link::sequence).max().unwrap_or_default()
    }

    /// Takes the next sequence and echo for a beat over `link`; `None` for a link that it is not on.
    pub fn next_beat(&mut self, now: Instant, link: LinkId) -> Option<(u64, Option<Echo>)> {
        self.links.get_mut(&link).map(|link| link.next_beat(now))
    }

    /// A beat of this peer came over `link`.
    pub fn on_beat(&mut self, now: Instant, link: LinkId, beat: &Beat) -> Heard {
        let nothing = Heard { freshness: Freshness::Old, restarted: false, returned: false, duplicate: None };
        let limit = self.silence;
        let Some(path) = self.links.get_mut(&link) else { return nothing };
        if path.is_recent(now, beat.echo, limit) && self.is_second(now, beat.incarnation) {
            return Heard { duplicate: Some(beat.incarnation), ..nothing };
        }
        let Some(path) = self.links.get_mut(&link) else { return nothing };
        if self.retired.contains(&beat.incarnation) {
            // A late beat of a dead life can be the first that we hear of it, and retire the living one. Who
            // answers a recent beat of ours lives.
            if !path.is_recent(now, beat.echo, limit) {
                return nothing;
            }
            self.retired.retain(|retired| *retired != beat.incarnation);
        }
        let restarted = self.incarnation != Some(beat.incarnation);
        let returned = self.is_silent(now);
        if restarted {
            if let Some(former) = self.incarnation.replace(beat.incarnation) {
                if self.retired.len() == RETIRED {
                    self.retired.remove(0);
                }
                self.retired.push(former);
            }
            self.links.values_mut().for_each(Link::peer_restarted);
            (self.said, self.heard_at, self.hears_us_at) = (None, None, None);
            self.dating.begin_anew();
        }
        let link_id = link;
        let Some(link) = self.links.get_mut(&link) else { return nothing };
        let freshness = link.on_beat(now, beat.seq, beat.echo, limit);
        self.hears_us_at = self.hears_us_at.max(link.hears_us_at());
        // What was queued while we slept came at some time of that; the echo must not make it younger than it may
        // be, or the peer would take our answers for old ones as long as it is that beat that we answer.
        if let Some((from, to)) = self.slept.filter(|(_, to)| now.since(*to) < self.settings.period) {
            link.came_before(from.min(to));
        }
        if freshness == Freshness::Fresh {
            self.heard_at = Some(now);
            if restarted || returned || self.heard_since.is_none() {
                self.heard_since = Some(now);
            }
            if returned {
                self.dating.begin_anew();
            }
            let made = self.made(now, link_id, beat);
            self.take(now, made, beat);
        }
        Heard { freshness, restarted, returned: returned && freshness == Freshness::Fresh, duplicate: None }
    }

    /// A life has shown that it lives. Whether it must be another agent's: it has long lived beside one that
    /// showed itself later. Of the two it is the one that is not listened to.
    fn is_second(&mut self, now: Instant, incarnation: Incarnation) -> bool {
        let limit = self.silence;
        let Some(place) = self.lives.iter().position(|life| life.incarnation == incarnation) else {
            if self.lives.len() == RETIRED {
                self.lives.remove(0);
            }
            self.lives.push(Life { incarnation, first: now, last: now, before: None });
            return false;
        };
        let Some(life) = self.lives.get_mut(place) else { return false };
        if now.since(life.before.unwrap_or(life.first)) > limit * 2 {
            life.before = Some(life.last);
        }
        life.last = now;
        let (first, later) = (life.first, self.lives.iter().skip(place + 1));
        // What is recent was made within the limit: so the later one lived after this one had begun, and this
        // one lives after that.
        later.filter(|other| now.since(other.last) <= STOPPED).any(|other| {
            let shown = [Some(other.first), other.before];
            shown.into_iter().flatten().any(|at| at.since(first) > limit && now.since(at) > limit)
        })
    }

    /// The peer's clock by its beat, and between which instants of ours it was read; `None` if the beat
    /// answers none of ours.
    pub fn reading(&mut self, now: Instant, link: LinkId, beat: &Beat) -> Option<Reading> {
        // The echo's age is not added: after the peer has slept it may be too long.
        let sent = self.links.get_mut(&link)?.echoed_at(beat.echo?)?;
        Some(Reading { sent, received: now, clock: beat.clock })
    }

    /// When a beat that came now, and is fresh, was made, as far as that is certain: no sooner by its echo, by which it
    /// was found to be fresh. Of who does not hear us, and says no more than its clock, as that dates it: not at first,
    /// but whoever holds says so again.
    fn made(&mut self, now: Instant, link: LinkId, beat: &Beat) -> Instant {
        let by_clock = self.dating.on_clock(now, beat.clock, self.silence, self.bounds);
        let echoed = beat.echo.and_then(|echo| Some((self.links.get_mut(&link)?.echoed_at(echo)?, echo.age)));
        let Some((sent_at, age)) = echoed else { return by_clock.unwrap_or(Instant::BOOT) };
        // Of a peer that has slept it is too long by as much ([`crate::node::Node`], `slept`).
        let age = if age < self.settings.period * 3 { self.bounds.least(age) } else { Duration::ZERO };
        (sent_at + age).min(now)
    }

    fn take(&mut self, now: Instant, made: Instant, beat: &Beat) {
        let said = self.said.get_or_insert_with(|| Said {
            clock: beat.clock,
            references: beat.references,
            heard: (Vec::new(), now),
            domains: BTreeMap::new(),
        });
        // Two links deliver in any order; the sender's own clock orders its own beats.
        if beat.clock < said.clock {
            return;
        }
        said.clock = beat.clock;
        said.references = beat.references;
        said.heard = (beat.heard.clone(), now);
        for domain in &beat.domains {
            let began = now - self.bounds.least(domain.master_for);
            let former = said.domains.get(&domain.id);
            let news = former.is_none_or(|word| differs(&word.said, domain));
            let former = former.filter(|word| word.said.epoch == domain.epoch);
            let former = former.filter(|_| domain.epoch.is_some());
            let was_open = domain.open || former.is_some_and(|word| word.was_open);
            let former = former.and_then(|word| word.tenure);
            let tenure = former.map_or(Tenure { began, until: made }, |former| {
                Tenure { began: former.began.min(began), ..former }.extended(made)
            });
            let tenure = domain.holding.then_some(tenure);
            said.domains.insert(domain.id, Word { said: domain.clone(), at: now, tenure, was_open, news });
        }
    }

    /// When it last showed life on any link.
    pub fn heard_at(&self) -> Option<Instant> {
        self.heard_at
    }

    /// m·h: how long it may be unheard on all of them.
    pub fn silence(&self) -> Duration {
        self.silence
    }

    /// From when on it is silent, unless it is heard again.
    pub fn silent_at(&self) -> Instant {
        let silent_at = self.heard_at().unwrap_or(self.started) + self.silence;
        self.excused_until.map_or(silent_at, |until| until.max(silent_at))
    }

    /// It has said whether it asks an authority.
    pub fn set_unarbitrated(&mut self, unarbitrated: bool) {
        self.unarbitrated = unarbitrated;
    }

    /// Whether it holds by nobody's leave when it holds, as far as it has said: no lease bars us from holding beside it.
    pub fn is_unarbitrated(&self) -> bool {
        self.unarbitrated
    }

    /// Silent on all links for m·h.
    pub fn is_silent(&self, now: Instant) -> bool {
        now > self.silent_at()
    }

    /// Heard at least once, and not silent.
    pub fn is_heard(&self, now: Instant) -> bool {
        self.heard_at().is_some() && !self.is_silent(now)
    }

    /// From when on the peer is known not to hear us (D8): (m+1)·h after the last sign that it does.
    pub fn deaf_at(&self) -> Option<Instant> {
        Some(self.hears_us_at.max(self.heard_since)? + self.silence + self.settings.period)
    }

    /// It is heard, and its echoes show that it does not hear us (D8).
    pub fn is_deaf(&self, now: Instant) -> bool {
        self.is_heard(now) && self.deaf_at().is_some_and(|at| now > at)
    }

    /// [`Peer::is_silent`], [`Peer::is_heard`] and [`Peer::is_deaf`] in one look.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        if self.is_silent(now) {
            Standing::Silent
        } else if self.heard_at.is_none() {
            Standing::Awaited
        } else if self.deaf_at().is_some_and(|at| now > at) {
            Standing::Deaf
        } else {
            Standing::Heard
        }
    }

    /// What it last said of a domain.
    pub fn domain(&self, id: DomainId) -> Option<&DomainBeat> {
        self.said.as_ref()?.domains.get(&id).map(|word| &word.said)
    }

    /// Whether its last word of a domain says what the one before it did not: only then does it change a judgement.
    pub fn is_news(&self, id: DomainId) -> bool {
        self.said.as_ref().and_then(|said| said.domains.get(&id)).is_none_or(|word| word.news)
    }

    /// When it last spoke of a domain.
    pub fn spoke_at(&self, id: DomainId) -> Option<Instant> {
        self.said.as_ref()?.domains.get(&id).map(|word| word.at)
    }

    /// How long it has been Master of a domain by now, by its own count.
    pub fn master_for(&self, now: Instant, id: DomainId) -> Option<Duration> {
        let word = self.said.as_ref()?.domains.get(&id)?;
        Some(word.said.master_for.saturating_add(now.since(word.at)))
    }

    /// For how long it has certainly held a domain, if by its last word it does.
    pub fn tenure(&self, id: DomainId) -> Option<Tenure> {
        let word = self.said.as_ref()?.domains.get(&id)?;
        word.tenure.filter(|_| word.was_open)
    }

    /// The epoch that it last said to hold.
    pub fn epoch(&self, id: DomainId) -> Option<Epoch> {
        let (counter, attempt) = self.domain(id)?.epoch?;
        Some(Epoch { counter, incarnation: self.incarnation?, attempt, node: self.node })
    }

    /// The unused epoch that a Transfer to it may name, with a counter above `above`.
    pub fn next_epoch(&self, id: DomainId, above: u64) -> Option<Epoch> {
        let (counter, attempt) = self.domain(id)?.next;
        let counter = counter.max(above.saturating_add(1));
        Some(Epoch { counter, incarnation: self.incarnation?, attempt, node: self.node })
    }

    /// How long ago by now it has heard another member, as far as it has said; `None` for never (D3).
    pub fn has_heard(&self, now: Instant, member: NodeId) -> Option<Duration> {
        let (heard, said_at) = &self.said.as_ref()?.heard;
        let (_, age) = heard.iter().find(|(node, _)| *node == member)?;
        Some(age.saturating_add(now.since(*said_at)))
    }

    /// How many references it last said to reach.
    pub fn references(&self) -> References {
        self.said.as_ref().map(|said| said.references).unwrap_or_default()
    }
}

/// Whether two words of one domain differ in more than what time does to them.
fn differs(former: &DomainBeat, word: &DomainBeat) -> bool {
    let DomainBeat { remaining, next, master_for, .. } = former.clone();
    DomainBeat { remaining, next, master_for, ..word.clone() } != *former
}

#[cfg(test)]
mod tests;
