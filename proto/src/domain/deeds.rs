//! What follows from a verdict: moving towards it, in the orders of R3 and R8.

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::IpAddr;

use super::{Domain, Leaving, Router};
use crate::action::{Action, AlertName, Transition};
use crate::alerts::Alerts;
use crate::decision::{Health, Peers, Reason, References, Role, Verdict, View, decide};
use crate::effects::{Hold, LetGo};
use crate::facts::Facts;
use crate::fencing::Way;
use crate::findings::Oddity;
use crate::guard::Guard;
use crate::id::{Epoch, NodeId, Priority};
use crate::lease::grant::Grant;
use crate::lease::holder::Lease;
use crate::time::Instant;
use crate::vrrp::instance::State;
use crate::vrrp::output::{Discard, Output};
use crate::wire::vrrp::{Advertisement, virtual_mac};

impl Domain {
    /// Folds, decides, moves. Idempotent. Whether the deed has itself changed the evidence: then once more.
    pub(crate) fn settle(&mut self, facts: &Facts<'_>, alerts: &mut Alerts, out: &mut Vec<Action>) -> bool {
        if !self.started && !self.start(facts, out) {
            self.go_on_meanwhile(facts, alerts, out);
            return false;
        }
        self.serve_routers(facts, out);
        self.keep_clocks(facts);
        let tested = self.is_tested(facts);
        self.lease.set_tested(facts.now, tested);
        let view = self.view(facts);
        let verdict = decide(&view);
        // A node that has just started leaves the first word to those who were there: it has heard nothing
        // yet, and if it was Master before, its peers are the ones who can be so at once.
        let listens_since = self.begin_at.map_or(self.created, |at| at.max(self.created));
        let settled_in = facts.now >= listens_since + facts.settings.heartbeat.silence();
        self.eligible = settled_in
            && view.health == Health::Healthy
            && view.references != References::LostHere
            && facts.is_open
            // Who would not count what it is granted is given nothing: it would be handed over and over again.
            && (!self.lease.is_arbitrated() || facts.believes_a_majority() && self.reaches_a_majority(facts))
            && !self.lease.is_bound_by_former_life(facts.now)
            && !matches!(verdict, Verdict::Fenced(_));
        let by_voters = matches!(verdict, Verdict::Claim(_)) && self.asks_by_voters(facts.now);
        let asks = verdict == Verdict::Wait(Reason::AsksForHandover) && self.eligible;
        self.wants = asks || by_voters;
        // Who asks will be an heir, and must not be tested only then; who holds without leave asks on for it.
        self.keep_test(facts.now, self.wants || matches!(verdict, Verdict::Claim(_) | Verdict::Master(..)));
        match verdict {
            Verdict::Master(grant, reason) => self.hold(facts, grant, reason, &view, out),
            // A fence command failed a moment ago: another node, whose command may succeed, comes first.
            Verdict::Claim(_) if self.is_barred(facts) => {
                self.sweep(facts, view.peers, out);
                self.lease.sit(facts.now);
                self.rest(facts, Role::Backup, Reason::FenceFailed, &view, out);
            }
            Verdict::Claim(reason) => {
                self.sweep(facts, view.peers, out);
                if reason == Reason::WithoutAuthority {
                    self.lease.stand_alone(facts.now);
                }
                if facts.is_open {
                    self.lease.stand(facts.now, self.priority().0);
                }
                self.lease.ask_for_handover(facts.now, by_voters);
                let reason = if by_voters { Reason::AsksForHandover } else { reason };
                let role = if view.lease == Lease::Vacant { Role::Claiming } else { Role::Backup };
                self.rest(facts, role, reason, &view, out);
            }
            Verdict::Wait(reason) => {
                self.sweep(facts, view.peers, out);
                self.lease.sit(facts.now);
                self.rest(facts, Role::Backup, reason, &view, out);
            }
            Verdict::Yield(reason) => {
                let to = if self.is_stopping(facts) { Role::Init } else { Role::Backup };
                let by_hand = reason == Reason::Stopping && to == Role::Backup && facts.maintenance;
                let reason = if by_hand { Reason::Maintenance } else { reason };
                self.leave(facts, Leaving { reason, to, heir: None, heir_epoch: None }, &view, out);
            }
            Verdict::Fenced(Reason::LeaseLost) => self.lapse(facts, &view, out),
            Verdict::Fenced(reason) => {
                self.leave(facts, Leaving { reason, to: Role::Fenced, heir: None, heir_epoch: None }, &view, out)
            }
            Verdict::Fault(reason) => {
                self.leave(facts, Leaving { reason, to: Role::Fault, heir: None, heir_epoch: None }, &view, out)
            }
        }
        self.sweep_retired(facts, out);
        self.speak_again(facts, view.peers, out);
        self.look_into_mirrors(facts, out);
        self.raise(facts, &view, alerts);
        // Without an authority a claim is granted on the spot.
        matches!(verdict, Verdict::Claim(_)) && self.lease.grant(facts.now).is_some()
    }

    /// R12: first of all the gate is shut and stale addresses are gone; then what a former life held is
    /// released; then the evidence must have come in. Whether all that is done.
    fn start(&mut self, facts: &Facts<'_>, out: &mut Vec<Action>) -> bool {
        let now = facts.now;
        if facts.settings.guards.has(Guard::CleanStart) && !self.kernel.clean(now, out) {
            return false;
        }
        if self.former.is_some()
            && now >= self.created + self.timing.drain()
            && let Some(epoch) = self.former.take()
        {
            self.lease.release_former(now, epoch);
        }
        let interfaces = self.routers.iter().map(|router| router.settings.interface);
        let known = interfaces.clone().all(|id| facts.interface(id).is_some_and(|interface| interface.known));
        let awaited = self.tracks().any(|track| track.effect(facts.trackers).is_awaited);
        let is_early = self.begin_at.is_some_and(|at| now < at);
        if is_early
            || self.former.is_some()
            || !known
            || facts.gate.is_none()
            || !facts.references.is_known()
            || awaited
        {
            return false;
        }
        self.started = true;
        for router in &mut self.routers {
            router.machine.startup(now);
        }
        self.go_on_as_master(now, out);
        true
    }

    /// VRRP's own machines: timers, and priorities that follow the tracked interfaces.
    fn serve_routers(&mut self, facts: &Facts<'_>, out: &mut Vec<Action>) {
        for router in &mut self.routers {
            let hears = facts.is_up(router.settings.interface);
            if hears && !core::mem::replace(&mut router.hears, hears) {
                router.machine.listen_anew(facts.now);
            }
            router.hears = hears;
            let base = i32::from(router.settings.priority.0);
            let weights =
                router.settings.track.iter().map(|track| track.effect(facts.may_be_up(track.interface)).addend);
            let others = router.settings.track_others.iter().map(|track| track.effect(facts.trackers).addend);
            // An owner stays one whatever is tracked; others stay candidates (keepalived clamps alike).
            let effective = if base == 255 { 255 } else { (base + weights.chain(others).sum::<i32>()).clamp(1, 254) };
            let effective = Priority(u8::try_from(effective).unwrap_or(1));
            if effective != router.machine.params().priority {
                router.machine.set_priority(facts.now, effective);
                self.news = true;
                let (domain, instance, is_master) = (self.id, router.id, self.role == Role::Master);
                out.push(Action::Priority { domain, instance, priority: effective, is_master });
            }
            for output in router.machine.on_timer(facts.now) {
                match output {
                    // Who overslept its deadline has nothing to advertise any more.
                    Output::Advertise(advertisement) if self.kernel.is_open(facts.now) => {
                        router.advertise(advertisement, out);
                    }
                    // A lease says itself whether another may hold (D6).
                    Output::Overslept { late } if self.lease.is_unruled(facts.now) => router.overslept = Some(late),
                    Output::Advertise(_)
                    | Output::Overslept { .. }
                    | Output::HigherSeen { .. }
                    | Output::LowerSeen { .. }
                    | Output::IntervalMismatch { .. }
                    | Output::ClocksApart { .. }
                    | Output::AddressListMismatch { .. }
                    | Output::Discarded { .. } => {}
                }
            }
        }
    }

    /// The back-off and the preempt delay run while what they wait on lasts.
    fn keep_clocks(&mut self, facts: &Facts<'_>) {
        let now = facts.now;
        if self.nominated_until.is_some_and(|until| now >= until) {
            self.nominated_until = None;
        }
        let period = facts.settings.heartbeat.period;
        let nobody = self.master_since.is_none() && self.peers(facts) == Peers::NoMaster;
        if !nobody {
            self.stand_at = None;
        } else if self.stand_at.is_none() {
            let skew = period.saturating_mul(256 - u32::from(self.priority().0)) / 256;
            self.stand_at = Some(now + period + skew + self.jitter.up_to(period / 2));
        }
        if !self.sees_lower_master(facts) && !self.knows_lower_holder(now) {
            self.lower_since = None;
        } else if self.lower_since.is_none() {
            self.lower_since = Some(now);
        }
        if self.heir.is_some() && facts.heard().any(|peer| peer.domain(self.id).is_some_and(|said| said.holding)) {
            self.heir = None;
        }
    }

    /// R3: gate, addresses, announcements, Advertisements, notify.
    fn hold(&mut self, facts: &Facts<'_>, grant: Grant, reason: Reason, view: &View, out: &mut Vec<Action>) {
        let now = facts.now;
        if self.master_since.is_none() && !self.kernel.is_open(now) {
            match self.clear_way(facts, grant.epoch(), out) {
                Way::Clear => {}
                Way::Underway => return self.set_role(facts, Role::Claiming, reason, view, out),
                // An opening whose read-back failed may have been written all the same.
                Way::Barred if self.kernel.holds_anything() => {
                    let (reason, to) = (Reason::FenceFailed, Role::Backup);
                    return self.leave(facts, Leaving { reason, to, heir: None, heir_epoch: None }, view, out);
                }
                Way::Barred => {
                    self.lease.give_back(now, None);
                    return self.rest(facts, Role::Backup, Reason::FenceFailed, view, out);
                }
            }
        }
        self.has_held = true;
        self.lease.set_priority(self.priority().0);
        if !facts.settings.guards.has(Guard::GateFirst) && self.kernel.opened_at().is_none() {
            let (domain, epoch, lifetime_s) = (self.id, grant.epoch(), self.lifetime_s);
            out.push(Action::AddAddresses { domain, epoch, lifetime_s });
        }
        let held = self.kernel.hold(now, grant, self.lifetime_s, out);
        match (held, self.master_since) {
            (Hold::Underway, None) => self.set_role(facts, Role::Claiming, reason, view, out),
            // Whose leave it is may change while it lasts.
            (Hold::Underway, Some(_)) => self.reason = reason,
            (Hold::Up, Some(_)) => {
                self.reason = reason;
                if core::mem::take(&mut self.announces_anew) {
                    self.announce(now, out);
                }
                self.make_masters(now, false, out);
            }
            (Hold::Up, None) => {
                self.master_since = Some(now);
                let is_heir = self.nominated_until.is_some();
                (self.lapsed_at, self.nominated_until, self.stand_at, self.heir) = (None, None, None, None);
                self.stands_back = None;
                // Whoever names us the next time has us test the gate anew.
                self.heir_until = None;
                self.begin_to_announce(now, out);
                self.make_masters(now, is_heir, out);
                self.kernel.forget();
                self.set_role(facts, Role::Master, reason, view, out);
            }
        }
    }

    /// Its virtual routers' machines: all at its beginning, and later those that a new configuration has brought.
    fn make_masters(&mut self, now: Instant, is_heir: bool, out: &mut Vec<Action>) {
        for router in self.routers.iter_mut().filter(|router| !router.machine.is_master()) {
            (router.higher_seen, router.overslept) = (false, None);
            let before = router.machine.state();
            let outputs = router.machine.become_master(now);
            if router.machine.is_master() {
                router.statistics.becomes_master(before, is_heir);
            }
            for output in outputs {
                if let Output::Advertise(advertisement) = output {
                    router.advertise(advertisement, out);
                }
            }
        }
    }

    /// R8, from the first tombstone to the last word. A domain that holds nothing only changes its role.
    pub(super) fn leave(&mut self, facts: &Facts<'_>, why: Leaving, view: &View, out: &mut Vec<Action>) {
        let now = facts.now;
        self.lease.sit(now);
        if self.leaving.is_none() {
            if !self.kernel.holds_anything() {
                self.lapsed_at = self.lapsed_at.filter(|_| self.kernel.has_addresses());
                self.lease.give_back(now, None);
                self.set_role(facts, why.to, why.reason, view, out);
                return;
            }
            // A Transfer says that its sender had cleared the way: who has not opened its gate only releases.
            let heir = self.kernel.opened_at().and_then(|_| self.choose_heir(facts, why.reason));
            self.leaving = Some(Leaving { heir, ..why });
            // The heir tests its gate while ours is being shut.
            self.news |= heir.is_some();
        }
        let Some(mut leaving) = self.leaving else { return };
        if self.is_stopping(facts) {
            leaving.to = Role::Init;
        }
        // No tombstone will be read back. What is held ends by itself, and whatever of the gate is still to be
        // written ends no later.
        if self.kernel.hangs(now) {
            self.lease.let_run_out();
        }
        let heir = self.heir_epoch(facts, leaving);
        if !facts.settings.guards.has(Guard::ShutBeforeRelease) && self.lease.grant(now).is_some() {
            self.lease.give_back(now, heir);
            self.given_early_at = Some(now);
        }
        if self.given_early_at.is_some_and(|at| now < at + self.timing.drain()) {
            return;
        }
        match self.kernel.let_go(now, None, out) {
            LetGo::Underway | LetGo::Shut(_) => {}
            // The last frame behind the gate has to have left the wire before another may begin.
            LetGo::Gone(at) if now < self.drained(at) => {}
            LetGo::Gone(_) | LetGo::Nothing => {
                self.lease.give_back(now, heir);
                self.heir = leaving.heir.filter(|_| !self.lease.is_arbitrated());
                (self.leaving, self.lapsed_at) = (None, None);
                // The voters first: the successor waits for their word.
                let mut told = core::mem::take(&mut self.told);
                self.resign(facts, &mut told);
                self.kernel.forget();
                self.set_role(facts, leaving.to, leaving.reason, view, &mut told);
                self.told = told;
            }
        }
    }

    /// R5: at D, FENCED; the addresses go within the grace, or at once when another holder is known.
    pub(super) fn lapse(&mut self, facts: &Facts<'_>, view: &View, out: &mut Vec<Action>) {
        let now = facts.now;
        let since = *self.lapsed_at.get_or_insert(now);
        self.set_role(facts, Role::Fenced, Reason::LeaseLost, view, out);
        let keep = (self.leaving.is_none() && view.peers != Peers::Master).then_some(since + self.grace);
        match self.kernel.let_go(now, keep, out) {
            LetGo::Underway => {}
            LetGo::Shut(at) | LetGo::Gone(at) => {
                self.lease.clear_lapse(at);
                self.resign(facts, out);
            }
            LetGo::Nothing => {
                self.lease.clear_lapse(now);
                self.resign(facts, out);
            }
        }
    }

    /// Takes out what a lapse has left, once its grace is over.
    pub(super) fn sweep(&mut self, facts: &Facts<'_>, peers: Peers, out: &mut Vec<Action>) {
        if !self.kernel.holds_anything() && !self.kernel.has_addresses() {
            self.lapsed_at = None;
            self.kernel.forget();
            return;
        }
        let keep = self.lapsed_at.filter(|_| peers != Peers::Master).map(|at| at + self.grace);
        self.kernel.let_go(facts.now, keep, out);
    }

    /// Holds nothing: FENCED until the addresses are gone, then `role`.
    pub(super) fn rest(&mut self, facts: &Facts<'_>, role: Role, reason: Reason, view: &View, out: &mut Vec<Action>) {
        // What it was given up for has been told with that.
        self.routers.iter_mut().for_each(|router| router.overslept = None);
        match self.lapsed_at {
            Some(_) => self.set_role(facts, Role::Fenced, Reason::LeaseLost, view, out),
            None => self.set_role(facts, role, reason, view, out),
        }
    }

    /// A Master of VRRP's resigns, behind its shut gate.
    fn resign(&mut self, facts: &Facts<'_>, out: &mut Vec<Action>) {
        self.master_since = None;
        (self.rival_since, self.rival_seen, self.tie_ends_at) = (None, None, None);
        for router in &mut self.routers {
            router.announcer.stop();
            if router.machine.is_master() {
                let advertisement = router.machine.resignation();
                router.advertise(advertisement, out);
                router.machine.resign(facts.now);
                router.statistics.releases_master();
            }
            router.higher_seen = false;
        }
    }

    /// Who is to have it next: the best that could hold it, and hears us.
    pub(super) fn choose_heir(&self, facts: &Facts<'_>, reason: Reason) -> Option<NodeId> {
        // It goes to the rival, who has it: whoever else were named would claim against it. And who could not
        // clear its way leaves that to whoever is next.
        if matches!(reason, Reason::RivalWins | Reason::FenceFailed) {
            return None;
        }
        let able = facts.heard().filter(|peer| !peer.is_deaf(facts.now)).filter(|peer| match reason {
            Reason::ReferencesLost => facts.references.is_better(self.families, peer.references()),
            _ => true,
        });
        let able = able.filter_map(|peer| {
            let said = peer.domain(self.id).filter(|said| said.eligible)?;
            Some((said.priority, Reverse(peer.node)))
        });
        able.max().map(|(_, Reverse(node))| node)
    }

    /// The heir's unused epoch, from its beats, or as it left it with the voters.
    fn heir_epoch(&self, facts: &Facts<'_>, leaving: Leaving) -> Option<Epoch> {
        let above = self.lease.epoch()?.counter;
        if let Some(epoch) = leaving.heir_epoch {
            return Some(Epoch { counter: epoch.counter.max(above.saturating_add(1)), ..epoch });
        }
        facts.peers.get(&leaving.heir?)?.next_epoch(self.id, above)
    }

    fn set_role(&mut self, facts: &Facts<'_>, role: Role, reason: Reason, view: &View, out: &mut Vec<Action>) {
        self.reason = reason;
        if self.role == role {
            return;
        }
        let from = core::mem::replace(&mut self.role, role);
        self.role_since = facts.now;
        self.findings.left(from, role, reason);
        self.news = true;
        out.push(Action::Transition(Transition {
            domain: self.id,
            from,
            to: role,
            reason,
            evidence: self.words(facts, view),
            epoch: self.lease.epoch(),
            priority: self.priority(),
            routers: self.routers.iter().map(|router| (router.id, router.machine.params().priority)).collect(),
            at: facts.now,
        }));
    }

    /// The domain's alerts, as they stand.
    fn raise(&mut self, facts: &Facts<'_>, view: &View, alerts: &mut Alerts) {
        let now = facts.now;
        let words = || self.words(facts, view);
        let (id, master) = (Some(self.id), self.master_since.is_some());
        let isolated = matches!(view.references, References::LostHere | References::LostEverywhere)
            && matches!(view.peers, Peers::Silent | Peers::Absent);
        alerts.set(AlertName::Isolated, id, isolated, words);
        let alone = master && self.lease.is_unruled(now) && (self.lease.is_arbitrated() || view.peers == Peers::Silent);
        alerts.set(AlertName::ClaimedUnarbitrated, id, alone, words);
        let few = || self.lease.answering(now).is_some_and(|(answering, needed)| answering < needed);
        // Who stands by can't take over then, and is to say so before it must.
        let lost = || self.lease.is_arbitrated() && facts.reach.is_some_and(|reach| reach.is_lost(now));
        let unreachable = view.lease == Lease::Unanswered || if master { few() } else { lost() };
        alerts.set(AlertName::ArbiterUnreachable, id, unreachable, words);
        self.raise_policy(facts, view, alerts);
        self.raise_mirrors(alerts);
        alerts.set(AlertName::LeaseLost, id, self.lapsed_at.is_some(), words);
        let failure = self.kernel.failure();
        let (failed, end) = (failure.is_some(), "the kernel has taken the last change");
        self.raise_fencing(facts, alerts);
        alerts.set_with_end(AlertName::AddressFailed, id, failed, || String::from(failure.unwrap_or_default()), end);

        // By the evidence from before the deed: who yields has shut its gate by now, and tells all the same (I23).
        let seen = matches!(view.peers, Peers::RivalYields | Peers::RivalWins);
        let deaf = seen && facts.heard().any(|peer| self.is_master_of(peer) && peer.is_deaf(now));
        alerts.set(AlertName::DeafPeer, id, deaf, words);
        self.raise_rivals(facts, view, alerts);
        self.raise_findings(facts, view, alerts);
    }

    /// An Advertisement for one of its routers; why it was discarded, if it was.
    pub(crate) fn on_advertisement(
        &mut self,
        facts: &Facts<'_>,
        place: usize,
        from: IpAddr,
        advertisement: &Advertisement,
        out: &mut Vec<Action>,
    ) -> Option<Discard> {
        let router = self.routers.get_mut(place)?;
        let mut discarded = None;
        let own = facts.address(router.settings.interface, router.settings.ipv6);
        // Without an address of our own nothing can be ours.
        let own = own.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        let (ours, listens) = (router.machine.auth(), router.machine.state() != State::Initialize);
        let outputs = router.machine.on_advertisement(facts.now, from, own, advertisement);
        if listens {
            router.statistics.hears(advertisement, ours, &outputs);
        }
        self.findings.speaks(facts.now, from, own, advertisement);
        for output in outputs {
            match output {
                Output::Advertise(advertisement) => {
                    if let Some(router) = self.routers.get_mut(place) {
                        router.advertise(advertisement, out);
                    }
                }
                Output::HigherSeen { from, .. } => {
                    self.on_rival_advertisement(facts, place, (from, advertisement), true, out);
                }
                Output::LowerSeen { from, .. } => {
                    self.tell_of_lower(facts.now, place, out);
                    self.on_rival_advertisement(facts, place, (from, advertisement), false, out);
                }
                Output::IntervalMismatch { from, found, .. } => {
                    self.findings.odd(facts.now, from, Oddity::Interval(found), advertisement);
                }
                Output::ClocksApart { from, by } => {
                    self.findings.odd(facts.now, from, Oddity::ClocksApart(by), advertisement);
                }
                Output::AddressListMismatch { from, found } => {
                    self.findings.odd(facts.now, from, Oddity::Addresses(found), advertisement);
                }
                // Only of a timer.
                Output::Overslept { .. } => {}
                Output::Discarded { from, why } => {
                    discarded = Some(why);
                    if why == Discard::Owner {
                        self.on_ignored_rival(facts, place, from, advertisement);
                    }
                    self.findings.discarded(facts.now, from, why, advertisement);
                }
            }
        }
        discarded
    }

    /// Another router advertises while we are Master (D7).
    fn on_rival_advertisement(
        &mut self,
        facts: &Facts<'_>,
        place: usize,
        (from, advertisement): (IpAddr, &Advertisement),
        higher: bool,
        out: &mut Vec<Action>,
    ) {
        // A peer of our kind that is heard is judged by its beats.
        let heard = facts.heard().any(|peer| peer.domain(self.id).is_some_and(|said| said.source == Some(from)));
        let Some(router) = self.routers.get(place) else { return };
        // One that speaks for none of our addresses is a stranger on our VRID, and no second holder (F56).
        let shares = advertisement.addresses.iter().any(|address| router.settings.addresses.contains(address));
        if !heard {
            if shares {
                self.see_claim(facts.now);
            }
            if let Some(router) = self.routers.get_mut(place).filter(|_| higher) {
                router.higher_seen = true;
            }
        }
        // Who is about to yield must not have the last word: it would take the clients along.
        let yields = higher && !heard && self.lease.is_unruled(facts.now);
        if !yields {
            self.announce_beside_a_rival(facts.now, out);
        }
    }

    /// Another router advertises, and its Advertisement is to move nothing (`owner_ignore_adverts`): that there are two
    /// is told all the same (D7).
    fn on_ignored_rival(&mut self, facts: &Facts<'_>, place: usize, from: IpAddr, advertisement: &Advertisement) {
        let Some(router) = self.routers.get(place).filter(|_| !self.is_ours(facts, from)) else { return };
        let shares = advertisement.addresses.iter().any(|address| router.settings.addresses.contains(address));
        if shares && advertisement.priority != Priority::RESIGN {
            self.see_claim(facts.now);
        }
    }

    /// Somebody else's ARP or NA for one of our addresses (D7).
    pub(crate) fn on_foreign_claim(&mut self, facts: &Facts<'_>, mac: [u8; 6], out: &mut Vec<Action>) {
        if self.master_since.is_some_and(|since| facts.now > since) {
            self.findings.claimed(facts.now, mac);
            self.see_claim(facts.now);
            let virtual_one = |router: &&Router| mac == virtual_mac(router.settings.vrid, router.settings.ipv6);
            if self.lease.is_arbitrated() {
                self.announce_again(facts.now, out);
            } else if let Some(router) = self.routers.iter().find(virtual_one) {
                let interval = router.settings.advert_int;
                self.announce_after_advertisement(facts.now, interval);
            } else {
                // Its Advertisement, which may be the better one, comes at about the same time.
                self.announce_soon(facts.now);
            }
        }
    }
}
