//! The folding of evidence: five questions, each answered in a word (house.md, The decision core).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};
use core::net::IpAddr;
use core::time::Duration;

use super::spans::short;
use super::why::lends;
use super::{Domain, Router};
use crate::decision::{Election, Health, Peers, References, Role, View};
use crate::event::GateStrength;
use crate::facts::Facts;
use crate::guard::Guard;
use crate::heartbeat::peer::Peer;
use crate::id::{NodeId, Priority};
use crate::lease::holder::Lease;
use crate::lease::timing::Millis;
use crate::reference::Answers;
use crate::settings::Track;
use crate::wire::heartbeat::DomainBeat;

/// How long two that hold may disagree on who of them was first, until the priority decides. Whoever yields says so
/// within a round trip; where that is longer both may yield, which costs a claim and never a second holder.
pub(super) fn tie_patience(period: Duration) -> Duration {
    period / 4
}

impl Domain {
    /// All evidence of this instant.
    pub(super) fn view(&self, facts: &Facts<'_>) -> View {
        let peers = self.peers(facts);
        View {
            health: self.health(facts),
            references: self.references(facts),
            peers,
            election: self.election(facts, peers),
            lease: self.lease_word(facts),
        }
    }

    /// Where two Masters are accepted, an authority that is silent is not claimed without before VRRP's own timers
    /// have run out, as without one.
    fn lease_word(&self, facts: &Facts<'_>) -> Lease {
        let timers = || self.routers.iter().all(|router| router.machine.election(facts.now) == Election::Won);
        match self.lease.lease(facts.now) {
            Lease::Unruled if !timers() => Lease::Unanswered,
            lease => lease,
        }
    }

    pub(super) fn health(&self, facts: &Facts<'_>) -> Health {
        // What a new configuration has brought is not known yet, and no fault.
        let is_up = |id| if self.started { facts.may_be_up(id) } else { facts.is_up(id) };
        let down = self.routers.iter().any(|router| {
            let own = !is_up(router.settings.interface);
            own || facts.lacks_source(router)
                || router.settings.track.iter().any(|track| track.effect(is_up(track.interface)).is_fault)
        });
        if self.leaving.is_some() || self.is_stopping(facts) || facts.maintenance {
            Health::Leaving
        } else if self.lease.is_arbitrated() && facts.clock_is_off() {
            Health::ClockOff
        } else if down {
            Health::InterfaceDown
        } else if self.tracks().any(|track| track.effect(facts.trackers).is_fault) || self.lacks_peer() {
            Health::TrackerFails
        } else if !self.gate_holds(facts) {
            Health::GateBroken
        } else {
            Health::Healthy
        }
    }

    /// What its instances track, their interfaces apart.
    pub(super) fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.routers.iter().flat_map(|router| &router.settings.track_others)
    }

    /// An instance has nobody to speak to, and is not to (`unicast_fault_no_peer`).
    fn lacks_peer(&self) -> bool {
        self.routers.iter().any(|router| router.settings.reception.lacks_peer)
    }

    /// Whether any of it speaks against an instance of the domain.
    pub(super) fn has_bad_tracker(&self, facts: &Facts<'_>) -> bool {
        self.lacks_peer() || self.tracks().any(|track| track.effect(facts.trackers).is_bad)
    }

    /// What of it speaks against an instance of the domain, in words: the name, and how it is.
    pub(super) fn words_of_trackers(&self, facts: &Facts<'_>) -> Vec<String> {
        let bad = self.tracks().filter(|track| track.effect(facts.trackers).is_bad);
        let lacking = self.routers.iter().filter(|router| router.settings.reception.lacks_peer);
        let lacking = lacking.map(|router| format!("{} has no unicast_peer", router.settings.name));
        bad.map(|track| track.words(facts.trackers)).chain(lacking).collect()
    }

    /// Addresses that instances are to speak from, and that are not there (`track_src_ip`).
    pub(super) fn words_of_sources(&self, facts: &Facts<'_>) -> Vec<String> {
        let lacking = self.routers.iter().filter(|router| facts.lacks_source(router));
        let source = |router: &Router| router.settings.reception.tracked_source;
        lacking.filter_map(|router| Some(format!("source address {} is not there", source(router)?))).collect()
    }

    /// R14: no mastership while the self-test fails, or whoever writes the gate hangs; and none under an authority
    /// without a gate that can hold it, unless the operator says so.
    fn gate_holds(&self, facts: &Facts<'_>) -> bool {
        let Some(gate) = facts.gate.filter(|_| !self.kernel.hangs(facts.now)) else { return false };
        let strong_enough =
            gate.strength == GateStrength::Strong || !self.lease.is_arbitrated() || facts.settings.claim_without_gate;
        gate.fault.is_empty() && strong_enough
    }

    fn references(&self, facts: &Facts<'_>) -> References {
        let better = || facts.heard().any(|peer| facts.references.is_better(self.families, peer.references()));
        let seen = match facts.references.answers(self.families) {
            Answers::Unconfigured => References::Unconfigured,
            Answers::Enough => References::Reachable,
            Answers::Partly | Answers::TooFew if better() => References::LostHere,
            // One family still has a path: whoever has that is not cut off.
            Answers::Partly => References::Reachable,
            Answers::TooFew => References::LostEverywhere,
        };
        match seen {
            References::LostHere | References::LostEverywhere if !facts.settings.guards.has(Guard::IsolatedYields) => {
                References::Reachable
            }
            seen => seen,
        }
    }

    pub(super) fn peers(&self, facts: &Facts<'_>) -> Peers {
        let now = facts.now;
        if facts.peers.is_empty() {
            return Peers::Absent;
        }
        if facts.peers.values().all(|peer| peer.is_silent(now)) {
            return Peers::Silent;
        }
        // Whoever nominated us was Master until then; its word for it may still be under way.
        if self.nominated_until.is_some_and(|until| now < until) {
            return Peers::NoMaster;
        }
        let mut masters = facts.heard().filter(|peer| self.is_master_of(peer)).peekable();
        if masters.peek().is_none() {
            let accepted = || self.lease.accepts_two() && self.lease_word(facts) == Lease::Unruled;
            let unruled = self.lease.is_unruled(now) || accepted();
            return match unruled && self.is_seen_elsewhere(facts) {
                true if self.outlived_the_former(facts) => Peers::RivalWins,
                true => Peers::SeenElsewhere,
                false => Peers::NoMaster,
            };
        }
        if self.master_since.is_none() && !self.kernel.is_open(now) {
            return Peers::Master;
        }
        let rivals = facts.heard().filter(|peer| self.is_rival(peer));
        let mut verdict = Peers::NoMaster;
        for rival in rivals {
            verdict = if self.loses_to(facts, rival) { return Peers::RivalWins } else { Peers::RivalYields };
        }
        verdict
    }

    /// D3: a peer that is silent here is heard by one that is not, as Master, and lately.
    fn is_seen_elsewhere(&self, facts: &Facts<'_>) -> bool {
        let (now, silence) = (facts.now, facts.settings.heartbeat.silence());
        facts.heard().any(|witness| {
            let seen = self.said(witness).and_then(|said| said.sees);
            let unheard = seen.and_then(|node| facts.peers.get(&node)).filter(|peer| peer.is_silent(now));
            unheard.and_then(|peer| witness.has_heard(now, peer.node)).is_some_and(|age| age <= silence)
        })
    }

    /// What a peer last said, unless that is known to be over.
    pub(super) fn said<'a>(&self, peer: &'a Peer) -> Option<&'a DomainBeat> {
        let over = self.over.is_some() && peer.epoch(self.id) == self.over;
        peer.domain(self.id).filter(|_| !over)
    }

    pub(super) fn is_master_of(&self, peer: &Peer) -> bool {
        self.said(peer).is_some_and(|said| said.role == Role::Master || said.holding)
    }

    /// It has said, since our gate opened, that its own is open.
    fn is_rival(&self, peer: &Peer) -> bool {
        let said_since = peer.spoke_at(self.id).zip(self.kernel.opened_at()).is_some_and(|(at, since)| at > since);
        said_since && self.said(peer).is_some_and(|said| said.holding)
    }

    /// It has held for so long that no third node takes the Master before it for alive any more: one that names
    /// another now hears another hold beside us. Either it does not hear us, and then the other can't learn of us:
    /// we are the one who can yield (D8). Or it hears both, and has named the one that stays (D7).
    fn outlived_the_former(&self, facts: &Facts<'_>) -> bool {
        let heartbeat = facts.settings.heartbeat;
        let held_for = self.kernel.opened_at().map(|since| facts.now.since(since));
        held_for.is_some_and(|held_for| held_for > heartbeat.silence() + heartbeat.period * 2)
    }

    /// The Master that is heard; of two the one that stays (D7), so that both can learn from a third node which.
    pub(super) fn sees(&self, facts: &Facts<'_>) -> Option<NodeId> {
        let masters = facts.heard().filter(|peer| self.is_master_of(peer));
        let stays = masters.max_by(|a, b| {
            let right = |peer: &Peer| peer.domain(self.id).is_some_and(|said| !said.alone);
            let held_for = |peer: &Peer| peer.master_for(facts.now, self.id).unwrap_or_default();
            let rank = |peer: &Peer| (peer.domain(self.id).map(|said| said.priority), Reverse(peer.node));
            let near = held_for(a).abs_diff(held_for(b)) <= facts.settings.heartbeat.period * 3;
            let longer = if near { Ordering::Equal } else { held_for(a).cmp(&held_for(b)) };
            right(a).cmp(&right(b)).then(longer).then(rank(a).cmp(&rank(b)))
        });
        stays.map(|peer| peer.node)
    }

    /// D7, D8: which of two that hold yields.
    fn loses_to(&self, facts: &Facts<'_>, rival: &Peer) -> bool {
        let now = facts.now;
        if !facts.settings.guards.has(Guard::RivalYields) {
            return false;
        }
        let alone = rival.domain(self.id).is_some_and(|said| said.alone);
        match (self.lease.is_arbitrated(), self.lease.is_unruled(now)) {
            // Whoever holds by the authority's leave stays, and who holds by nobody's yields to that (D4).
            (true, unruled) if unruled != alone => return unruled,
            // The older epoch yields; who can't name one holds nothing by right.
            (true, false) => return rival.epoch(self.id) > self.lease.epoch(),
            (true, true) | (false, _) => {}
        }
        if rival.is_deaf(now) {
            return true;
        }
        let period = facts.settings.heartbeat.period;
        let mine = self.master_since.map_or(core::time::Duration::ZERO, |since| now.since(since));
        let theirs = rival.master_for(now, self.id).unwrap_or_default();
        // Who was Master before the split stays. The two sides see this a message apart, so a near tie is
        // left to the priority; and where both came to think that they stay, the priority decides too. That is
        // soon where the two may not agree on what is near, by their clocks' rates and by what is on its way.
        let (apart, near) = (mine.abs_diff(theirs), period * 3);
        let unsure = apart.abs_diff(near) <= period + mine.max(theirs) / 50;
        let patience = if unsure { tie_patience(period) } else { period * 5 };
        if apart > near && self.rival_since.is_none_or(|since| now.since(since) < patience) {
            return theirs > mine;
        }
        let rank = |priority: Priority, node| (priority, Reverse(node));
        let their_priority = rival.domain(self.id).map_or(Priority(0), |said| said.priority);
        rank(their_priority, rival.node) > rank(self.priority(), facts.settings.node)
    }

    fn election(&self, facts: &Facts<'_>, peers: Peers) -> Election {
        let now = facts.now;
        if self.master_since.is_some() || self.kernel.is_open(now) || self.lease.grant(now).is_some() {
            // Advertisements take nothing from who holds a lease (D6).
            let is_beaten = |router: &Router| router.higher_seen || router.overslept.is_some();
            let beaten = self.lease.is_unruled(now) && self.routers.iter().any(is_beaten);
            return if beaten { Election::Lost } else { Election::Won };
        }
        if self.nominated_until.is_some_and(|until| now < until) {
            return Election::Won;
        }
        // It was handed to another, which has yet to say that it has it.
        if self.stands_back.is_some_and(|until| now < until) {
            return Election::Lost;
        }
        let timers = self.routers.iter().map(|router| router.machine.election(now)).min().unwrap_or(Election::Lost);
        match peers {
            Peers::Absent => timers,
            Peers::Master | Peers::RivalYields | Peers::RivalWins if self.may_preempt(facts) => Election::Preempts,
            Peers::Master | Peers::RivalYields | Peers::RivalWins => match timers {
                Election::Won => Election::Won,
                Election::Lost | Election::Preempts => Election::Lost,
            },
            // The lease decides, so an early claim costs nothing (D0); but a Master that speaks VRRP only
            // is judged by VRRP's timer.
            Peers::Silent if self.lease.is_arbitrated() && !self.hears_foreign_master(facts) => Election::Won,
            Peers::NoMaster if self.lease.is_arbitrated() && !self.hears_foreign_master(facts) => {
                let patient = self.stand_at.is_none_or(|at| now < at);
                if patient && !self.is_best(facts) { Election::Lost } else { Election::Won }
            }
            Peers::Silent | Peers::NoMaster | Peers::SeenElsewhere => timers,
        }
    }

    /// No peer that is heard, or may yet be heard, would be the better Master (R13: the best goes first).
    fn is_best(&self, facts: &Facts<'_>) -> bool {
        if !self.eligible {
            return false;
        }
        let mine = (self.priority(), Reverse(facts.settings.node));
        facts.peers.values().filter(|peer| !peer.is_silent(facts.now)).all(|peer| match self.said(peer) {
            Some(said) => !said.eligible || (said.priority, Reverse(peer.node)) < mine,
            // Never heard yet, it may be better; but who has just let go will not stand at once.
            None => peer.domain(self.id).is_some(),
        })
    }

    /// A Master of our kind is worse, may be preempted, and has been for as long as the operator wants.
    fn may_preempt(&self, facts: &Facts<'_>) -> bool {
        self.sees_lower_master(facts)
            && self.lower_since.is_some_and(|since| facts.now.since(since) >= self.preempt_delay())
    }

    /// A Master of our kind is seen whose priority is below ours, and preemption is on.
    pub(super) fn sees_lower_master(&self, facts: &Facts<'_>) -> bool {
        let preempt = self.routers.iter().all(|router| router.settings.preempt);
        let mut masters = facts.heard().filter(|peer| self.is_master_of(peer)).peekable();
        preempt
            && self.stands_back.is_none()
            && masters.peek().is_some()
            && masters.all(|peer| peer.domain(self.id).is_some_and(|said| said.priority < self.priority()))
    }

    /// An Advertisement of a router that is none of our peers has not run out yet; or of a peer that asks no authority: until
    /// the last node has come under one, it is VRRP's timer that keeps two from holding (docs/decisions/0176).
    pub(super) fn hears_foreign_master(&self, facts: &Facts<'_>) -> bool {
        self.routers.iter().any(|router| {
            let Some(master) = router.machine.master() else { return false };
            let gone_at = master.at + router.machine.params().master_down_interval(master.advert_int);
            let ruled = |peer: &Peer| !peer.is_unarbitrated();
            facts.now < gone_at && !self.speaks_from(facts, master.address, ruled)
        })
    }

    /// Whether a peer of our kind advertises from that address.
    pub(super) fn is_ours(&self, facts: &Facts<'_>, source: IpAddr) -> bool {
        self.speaks_from(facts, source, |_| true)
    }

    fn speaks_from(&self, facts: &Facts<'_>, source: IpAddr, which: impl Fn(&Peer) -> bool) -> bool {
        let from = |peer: &Peer| peer.domain(self.id).is_some_and(|said| said.source == Some(source));
        facts.peers.values().any(|peer| from(peer) && which(peer))
    }

    /// D3: what third parties say of a peer that is silent here.
    pub(super) fn words_of_others(&self, facts: &Facts<'_>, silent: NodeId) -> String {
        let (now, names) = (facts.now, &facts.settings.names);
        let mut words = String::new();
        for witness in facts.heard() {
            let name = names.node(witness.node);
            match witness.has_heard(now, silent) {
                Some(age) => words.push_str(&format!("; {name} heard it {} ago", short(age))),
                None => words.push_str(&format!("; {name} has never heard it")),
            }
        }
        // Its own voter says no more than it does.
        for (voter, age) in self.lease.last_words(now, silent).into_iter().filter(|(voter, _)| *voter != silent) {
            let lends = lends(&names.node(silent), age, self.timing.lease);
            words.push_str(&format!("; voter {} {lends}", names.node(voter)));
        }
        words
    }

    /// The evidence in words, with numbers, for the operator.
    pub(super) fn words(&self, facts: &Facts<'_>, view: &View) -> String {
        let now = facts.now;
        let mut words = format!("health={:?} election={:?} peers={:?}", view.health, view.election, view.peers);
        for tracker in self.words_of_trackers(facts).into_iter().chain(self.words_of_sources(facts)) {
            words.push_str(&format!(" ({tracker})"));
        }
        for late in self.routers.iter().filter_map(|router| router.overslept) {
            words.push_str(&format!(" (its Advertisement left {} late: a Backup may have taken over)", Millis(late)));
        }
        for peer in facts.peers.values() {
            let heard = match peer.heard_at() {
                Some(at) => format!("heard {} ago", Millis(now.since(at))),
                None => String::from("never heard"),
            };
            let name = facts.settings.names.node(peer.node);
            let role = peer.domain(self.id).map_or("unknown", |said| said.role.as_str());
            words.push_str(&format!(" ({name} {heard}, as {role}"));
            if peer.is_silent(now) {
                words.push_str(&self.words_of_others(facts, peer.node));
            }
            words.push(')');
        }
        let report = facts.references.report();
        if report != Default::default() {
            words.push_str(&format!(" references={:?} ({report})", view.references));
        }
        match view.lease {
            Lease::Held(grant) => {
                let left = Millis(grant.until().since(now));
                words.push_str(&format!(" lease=Held (epoch {}, {left} left)", grant.epoch()));
            }
            other @ (Lease::Vacant
            | Lease::Refused
            | Lease::Unanswered
            | Lease::Unruled
            | Lease::Bound
            | Lease::Lapsed) => {
                words.push_str(&format!(" lease={other:?}"));
            }
        }
        if let Some((answering, needed)) = self.lease.answering(now) {
            words.push_str(&format!(" voters answering={answering} needed={needed}"));
        }
        if let Some((promises, epoch)) = self.lease.promises().zip(self.lease.epoch()) {
            let missing: Vec<_> = promises.missing(now, epoch).map(|node| facts.settings.names.node(node)).collect();
            // Nobody is asked while the voters answer.
            let asked = promises.is_asked(epoch);
            match missing.join(", ") {
                names if asked && !names.is_empty() => words.push_str(&format!(" no promise of {names}")),
                _ if asked => words.push_str(" all others have promised"),
                _ => {}
            }
        }
        if let Some(clocks) = facts.clocks.filter(|_| view.health == Health::ClockOff) {
            words.push_str(&format!(" clock: {}", clocks.words(now, &facts.settings.names)));
        }
        words
    }
}
