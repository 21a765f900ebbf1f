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
mod tests {
    use super::*;
    use crate::lease::timing::LeaseTiming;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn peer() -> Peer {
        let settings = PeerSettings { node: NodeId::new(2).unwrap(), links: alloc::vec![LinkId(0)] };
        let heartbeat = HeartbeatSettings { period: Duration::from_millis(100), misses: 3 };
        let bounds = Bounds::from(&LeaseTiming::for_lease(heartbeat.silence()));
        Peer::new(&settings, heartbeat, bounds, Incarnation(0), at(0))
    }

    #[test]
    fn who_has_slept_gives_a_peer_the_time_of_a_silence_to_be_heard_again() {
        let mut peer = peer();
        peer.slept(at(200), at(10_000));
        assert!(!peer.is_silent(at(10_300)) && peer.is_silent(at(10_301)));
    }

    fn beat(incarnation: u64, seq: u64, echo: Option<Echo>) -> Beat {
        Beat {
            cluster: crate::id::ClusterId(1),
            digest: crate::id::ConfigDigest(1),
            incarnation: Incarnation(incarnation),
            seq,
            clock: at(seq),
            echo,
            references: References::default(),
            heard: Vec::new(),
            domains: Vec::new(),
        }
    }

    #[test]
    fn what_was_queued_while_we_slept_is_echoed_as_old_as_it_may_be() {
        let mut peer = peer();
        peer.slept(at(200), at(1200));
        peer.on_beat(at(1201), LinkId(0), &beat(1, 7, None));
        let (_, echo) = peer.next_beat(at(1210), LinkId(0)).unwrap();
        assert_eq!(echo, Some(Echo { seq: 7, age: Duration::from_millis(1010) }));
        peer.on_beat(at(1301), LinkId(0), &beat(1, 8, None));
        let (_, echo) = peer.next_beat(at(1310), LinkId(0)).unwrap();
        assert_eq!(echo, Some(Echo { seq: 8, age: Duration::from_millis(9) }));
    }

    #[test]
    fn a_late_beat_of_a_dead_life_does_not_retire_the_living_one_for_good() {
        let mut peer = peer();
        assert!(peer.on_beat(at(100), LinkId(0), &beat(2, 100, None)).restarted);
        assert!(peer.on_beat(at(110), LinkId(0), &beat(1, 9000, None)).restarted, "the dead one, first heard now");
        let (seq, _) = peer.next_beat(at(200), LinkId(0)).unwrap();
        let nothing = peer.on_beat(at(201), LinkId(0), &beat(2, 200, None));
        assert_eq!(nothing.freshness, Freshness::Old, "without an echo it could be the dead one");
        let echo = Some(Echo { seq, age: Duration::from_millis(1) });
        assert_eq!(peer.on_beat(at(300), LinkId(0), &beat(2, 300, echo)).freshness, Freshness::Fresh);
        assert_eq!(peer.on_beat(at(310), LinkId(0), &beat(1, 9001, None)).freshness, Freshness::Old);
    }

    /// A beat that answers our newest one.
    fn lively(peer: &mut Peer, ms: u64, incarnation: u64) -> Heard {
        let (seq, _) = peer.next_beat(at(ms), LinkId(0)).unwrap();
        let echo = Some(Echo { seq, age: Duration::ZERO });
        peer.on_beat(at(ms), LinkId(0), &beat(incarnation, ms, echo))
    }

    #[test]
    fn an_earlier_life_that_goes_on_living_is_a_second_agent_and_not_listened_to_f62() {
        let mut peer = peer();
        for ms in (0..1000).step_by(100) {
            assert_eq!(lively(&mut peer, ms, 7).duplicate, None);
        }
        let mut found = None;
        for ms in (1000..3000).step_by(100) {
            let heard = lively(&mut peer, ms, 8);
            assert_eq!(heard.duplicate, None, "the later one is never accused");
            found = found.or(lively(&mut peer, ms + 50, 7).duplicate.map(|life| (ms, life)));
        }
        assert_eq!(found, Some((1300, Incarnation(7))), "once it can't be late words any more");
        assert!(!lively(&mut peer, 3000, 8).restarted, "the newer one is listened to without a break");
    }

    #[test]
    fn the_original_is_listened_to_again_once_its_clone_has_been_stopped_f62() {
        let mut peer = peer();
        for ms in (0..1000).step_by(100) {
            lively(&mut peer, ms, 7);
        }
        for ms in (1000..3000).step_by(100) {
            lively(&mut peer, ms, 8);
            lively(&mut peer, ms + 50, 7);
        }
        assert!(lively(&mut peer, 30_000, 7).duplicate.is_some(), "the clone may only be slow");
        assert_eq!(lively(&mut peer, 64_000, 7).duplicate, None);
        assert_eq!(lively(&mut peer, 64_100, 7).freshness, Freshness::Fresh);
    }

    #[test]
    fn restarts_are_no_second_agent() {
        let mut peer = peer();
        for life in 1..40 {
            for ms in (0..2000).step_by(100) {
                assert_eq!(lively(&mut peer, life * 2000 + ms, life).duplicate, None, "life {life}");
            }
        }
    }

    /// The peer says, in a beat that its clock dates at `clock`, that it holds, and has been Master for that long.
    fn claims(clock: u64, echo: Option<Echo>, master_for: u64) -> Beat {
        let said = DomainBeat {
            id: DomainId(7),
            role: crate::decision::Role::Master,
            priority: crate::id::Priority(100),
            eligible: true,
            wants: false,
            holding: true,
            open: true,
            epoch: Some((1, 1)),
            remaining: Duration::ZERO,
            next: (2, 2),
            master_for: Duration::from_millis(master_for),
            heir: None,
            sees: None,
            alone: false,
            source: None,
        };
        Beat { domains: alloc::vec![said], ..beat(1, clock, echo) }
    }

    fn until(peer: &Peer) -> Instant {
        peer.tenure(DomainId(7)).unwrap().until
    }

    #[test]
    fn a_claim_counts_for_when_its_echo_says_that_it_was_made_d7() {
        let mut peer = peer();
        let (seq, _) = peer.next_beat(at(1000), LinkId(0)).unwrap();
        let echo = Some(Echo { seq, age: Duration::from_millis(20) });
        peer.on_beat(at(1220), LinkId(0), &claims(5000, echo, 500));
        // Our clock and the peer's may differ by 2 %, of 20 ms and of 500 ms.
        let tenure = peer.tenure(DomainId(7)).unwrap();
        assert!(tenure.until <= at(1020) && tenure.until > at(1019), "{tenure:?}");
        assert!(tenure.began >= at(720) && tenure.began < at(731), "{tenure:?}");
        peer.on_beat(at(1300), LinkId(0), &Beat { domains: Vec::new(), ..claims(5100, None, 0) });
        assert_eq!(until(&peer), tenure.until, "who says nothing of it takes nothing back");
    }

    #[test]
    fn a_claim_counts_from_its_first_word_once_the_peers_gate_is_known_to_be_open_d7() {
        let mut peer = peer();
        let claim = |clock: u64, open: bool, holding: bool| {
            let mut beat = claims(clock, None, 0);
            let said = beat.domains.iter_mut();
            said.for_each(|said| (said.open, said.holding) = (open, holding));
            beat
        };
        peer.on_beat(at(1000), LinkId(0), &claim(5000, false, true));
        assert_eq!(peer.tenure(DomainId(7)), None, "asked for is not open");
        peer.on_beat(at(1100), LinkId(0), &claim(5100, true, true));
        assert_eq!(peer.tenure(DomainId(7)).unwrap().began, at(1000));
        peer.on_beat(at(1200), LinkId(0), &claim(5200, false, true));
        assert!(peer.tenure(DomainId(7)).is_some(), "a write of it is in doubt: it was open");
        peer.on_beat(at(1300), LinkId(0), &claim(5300, false, false));
        assert_eq!(peer.tenure(DomainId(7)), None);
    }

    #[test]
    fn a_deaf_peers_claim_counts_for_no_later_than_its_clock_shows_d7_d8() {
        let mut peer = peer();
        peer.on_beat(at(1000), LinkId(0), &claims(5000, None, 0));
        peer.on_beat(at(1200), LinkId(0), &claims(5150, None, 0));
        assert_eq!(until(&peer), Instant::BOOT, "nothing dates the first");
        peer.on_beat(at(1400), LinkId(0), &claims(5160, None, 0));
        peer.on_beat(at(1650), LinkId(0), &claims(5170, None, 0));
        assert_eq!(until(&peer), Instant::BOOT, "nor what is as old by its clock: datagrams of a queue");
        peer.on_beat(at(1900), LinkId(0), &claims(5350, None, 0));
        let made = until(&peer);
        assert!(made > at(1350) && made < at(1360), "longer on its way than any before it: {made:?}");
        peer.on_beat(at(2000), LinkId(0), &claims(6100, None, 0));
        assert_eq!(until(&peer), at(1700), "else for m·h before it came");
    }

    #[test]
    fn what_a_deaf_peer_said_while_we_slept_dates_nothing_d7_d8() {
        let mut peer = peer();
        peer.on_beat(at(1000), LinkId(0), &claims(5000, None, 0));
        peer.on_beat(at(1200), LinkId(0), &claims(5200, None, 0));
        peer.on_beat(at(1400), LinkId(0), &claims(5400, None, 0));
        assert_eq!(until(&peer), at(1100));
        peer.slept(at(1400), at(2400));
        for (came, clock) in [(2401, 5500), (2402, 6390), (2500, 6500), (2700, 6700)] {
            peer.on_beat(at(came), LinkId(0), &claims(clock, None, 0));
            assert_eq!(until(&peer), at(1100), "{came}");
        }
        peer.on_beat(at(2800), LinkId(0), &claims(6800, None, 0));
        assert_eq!(until(&peer), at(2500));
    }

    #[test]
    fn a_peer_that_was_silent_before_we_slept_is_silent() {
        let mut peer = peer();
        peer.slept(at(400), at(10_000));
        assert!(peer.is_silent(at(10_000)));
    }
}
