//! Why a domain is what it is: the row of the table that holds now and its evidence, with the numbers and the
//! inequalities that they stand in.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::Domain;
use super::spans::{beside, exact, short};
use crate::decision::{Reason, Role, View};
use crate::facts::Facts;
use crate::heartbeat::peer::Peer;
use crate::id::{DomainId, Epoch, InterfaceId, NodeId, Priority};
use crate::lease::holder::{Lease, VoterWord};
use crate::time::Instant;
use crate::wire::heartbeat::Answering;
use crate::wire::lease::RefuseReason;

/// Who holds a domain, as far as this node can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// This node: its gate is open.
    Here,
    /// Another agent, by its own word.
    Peer(NodeId),
    /// Another agent, by the voters' word alone.
    ByVoters(NodeId),
    /// A router that speaks VRRP only, by its Advertisements; which, evidence says.
    Router,
    /// Nobody that is known here.
    Unknown,
}

/// A domain at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainStatus {
    /// Which.
    pub domain: DomainId,
    /// What it is here, and since when.
    pub role: Role,
    /// The same: of the boot clock.
    pub since: Instant,
    /// The row of the table that holds now.
    pub reason: Reason,
    /// The effective priority.
    pub priority: Priority,
    /// Until when the gate stands open, if it does.
    pub open_until: Option<Instant>,
    /// The epoch that is held.
    pub epoch: Option<Epoch>,
    /// Until when the lease is held, if it is.
    pub lease_until: Option<Instant>,
    /// L_h: how long one is when it is new.
    pub lease_length: Duration,
    /// Voters that answer, and how many are needed: what the domain asks of them, or how they stand; `None` without an
    /// authority.
    pub voters: Option<(usize, usize)>,
    /// Who holds it.
    pub holder: Holder,
}

/// Why a domain can't be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoHandover {
    /// There is no such domain.
    #[error("there is no such instance here")]
    NoDomain,
    /// It is not held here.
    #[error("this node does not hold it: ask the node that does (`keepone status` names it)")]
    NotHeld,
    /// It is on its way already, or has only just come.
    #[error("it has come here within the last second, or is on its way already: ask again in a moment")]
    Unsettled,
    /// The node that is to have it is not heard.
    #[error("that node is not heard: `keepone why` says since when")]
    Unheard,
    /// It could not hold it now.
    #[error("that node could not take over now: see `keepone why` there")]
    NotEligible,
    /// It does not hear this node.
    #[error("that node does not hear this one")]
    Deaf,
    /// Nobody can take it.
    #[error("no other node is heard that could take over; `keepone maintenance on` gives it up all the same")]
    Nobody,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// At a glance.
    pub status: DomainStatus,
    /// The evidence, folded.
    pub view: View,
    /// And with its numbers: a fact a line.
    pub evidence: Vec<String>,
}

impl Domain {
    /// At a glance: numbers only, since a node may have a thousand.
    pub(crate) fn status(&self, facts: &Facts<'_>) -> DomainStatus {
        let now = facts.now;
        DomainStatus {
            domain: self.id,
            role: self.role,
            since: self.role_since,
            reason: self.reason,
            priority: self.priority(),
            open_until: self.kernel.tenure().map(|tenure| tenure.until).filter(|until| now < *until),
            epoch: self.lease.epoch(),
            lease_until: self.lease.grant(now).map(|grant| grant.until()),
            lease_length: self.timing.holder_lease(),
            voters: self.voters_that_answer(facts),
            holder: self.holder(facts),
        }
    }

    fn voters_that_answer(&self, facts: &Facts<'_>) -> Option<(usize, usize)> {
        let asked = self.lease.answering(facts.now)?;
        let stands = || facts.reach.map(|reach| reach.answering(facts.now));
        if self.asks(facts.now) { Some(asked) } else { stands() }
    }

    /// Whether the voters are asked for it, or have been a moment ago: what they said before is of no use.
    pub(crate) fn asks(&self, now: Instant) -> bool {
        let answers = self.lease.answering(now).is_some_and(|(answering, _)| answering > 0);
        answers || self.lease.lease(now) != Lease::Vacant
    }

    fn holder(&self, facts: &Facts<'_>) -> Holder {
        let now = facts.now;
        if self.kernel.is_open(now) {
            return Holder::Here;
        }
        if let Some(peer) = facts.heard().find(|peer| self.is_master_of(peer)) {
            return Holder::Peer(peer.node);
        }
        if let Some((epoch, _)) = self.lease.rival(now).filter(|(epoch, _)| epoch.node != facts.settings.node) {
            return Holder::ByVoters(epoch.node);
        }
        if self.hears_foreign_master(facts) { Holder::Router } else { Holder::Unknown }
    }

    /// Why it is what it is.
    pub(crate) fn why(&self, facts: &Facts<'_>) -> Why {
        let view = self.view(facts);
        let mut evidence = Vec::new();
        self.why_healthy(facts, &mut evidence);
        why_reached(facts, &mut evidence);
        for peer in facts.peers.values() {
            self.why_of_peer(facts, peer, &mut evidence);
        }
        self.why_elected(facts, &mut evidence);
        self.why_lent(facts, &mut evidence);
        Why { status: self.status(facts), view, evidence }
    }

    fn why_healthy(&self, facts: &Facts<'_>, out: &mut Vec<String>) {
        for router in &self.routers {
            let name = |id: InterfaceId| {
                let known = facts.settings.interfaces.get(usize::from(id.0));
                known.map_or_else(String::new, |interface| interface.name.clone())
            };
            let state = |id| if facts.is_up(id) { "up" } else { "DOWN" };
            let own = router.settings.interface;
            out.push(format!("{}: interface {} is {}", router.settings.name, name(own), state(own)));
            for track in router.settings.track.iter().filter(|track| track.interface != own) {
                out.push(format!(
                    "{}: tracked interface {} is {}, weight {}",
                    router.settings.name,
                    name(track.interface),
                    state(track.interface),
                    track.weight
                ));
            }
        }
        let bad = self.words_of_trackers(facts).into_iter().chain(self.words_of_sources(facts));
        out.extend(bad.map(|words| format!("tracked: {words}")));
        match facts.gate {
            None => out.push(String::from("gate: not tested yet")),
            Some(gate) if gate.fault.is_empty() => out.push(format!("gate: test {} passed", gate.number)),
            Some(gate) => out.push(format!("gate: test {} FAILED: {}", gate.number, gate.fault)),
        }
        match (self.kernel.tenure(), self.kernel.shut_at()) {
            (Some(tenure), _) if facts.now < tenure.until => {
                out.push(format!(
                    "gate: open; the kernel shuts it in {} unless this node renews it",
                    signed(facts.now, tenure.until)
                ));
            }
            (_, Some(at)) => out.push(format!("gate: shut {} ago", short(facts.now.since(at)))),
            _ => out.push(String::from("gate: shut")),
        }
        if let Some(failure) = self.kernel.failure() {
            out.push(format!("kernel: {failure}"));
        }
        if let Some(clocks) = facts.clocks.filter(|_| facts.clock_is_off()) {
            out.push(format!("clock: {}", clocks.words(facts.now, &facts.settings.names)));
        }
        if facts.maintenance {
            out.push(String::from("maintenance: on, until `keepone maintenance off`"));
        }
    }

    fn why_of_peer(&self, facts: &Facts<'_>, peer: &Peer, out: &mut Vec<String>) {
        let (now, names) = (facts.now, &facts.settings.names);
        let name = names.node(peer.node);
        let limit = peer.silence();
        let heard = |at| beside(now.since(at), limit);
        let mut words = match peer.heard_at() {
            Some(at) if peer.is_silent(now) => {
                format!("peer {name}: SILENT, last heard {} ago > {} = m·h", heard(at), exact(limit))
            }
            Some(at) => format!("peer {name}: heard {} ago ≤ {} = m·h", heard(at), exact(limit)),
            None => format!("peer {name}: never heard"),
        };
        if let Some(said) = peer.domain(self.id) {
            let then = if peer.is_silent(now) { "was" } else { "is" };
            words.push_str(&format!(", {then} {} with priority {}", said.role.as_str(), said.priority.0));
            words.push_str(if said.holding { ", its gate open" } else { ", its gate shut" });
            words.push_str(if peer.is_silent(now) { " when it was last heard" } else { "" });
            if !peer.is_silent(now) && !said.eligible {
                words.push_str(", and could not take over now");
            }
        }
        if peer.is_deaf(now) {
            words.push_str("; it does NOT hear us (D8)");
        }
        out.push(words);
        for (link, path) in peer.links() {
            let heard = match path.heard_at() {
                Some(at) if now.since(at) > limit => format!("DOWN, last heard {} ago", short(now.since(at))),
                Some(at) => format!("up, heard {} ago", short(now.since(at))),
                None => String::from("DOWN, never heard"),
            };
            out.push(format!("  by {}: {heard}", names.link(link)));
        }
        if peer.is_silent(now) {
            let others = self.words_of_others(facts, peer.node);
            out.extend(others.split("; ").filter(|words| !words.is_empty()).map(|words| format!("  {words}")));
        }
    }

    fn why_elected(&self, facts: &Facts<'_>, out: &mut Vec<String>) {
        for router in &self.routers {
            let (name, machine) = (&router.settings.name, &router.machine);
            out.push(format!("{name}: priority {}, base {}", machine.params().priority.0, router.settings.priority.0));
            if let Some(master) = machine.master().filter(|_| !self.kernel.is_open(facts.now)) {
                let limit = machine.params().master_down_interval(master.advert_int);
                let age = facts.now.since(master.at);
                let sign = if age < limit { '<' } else { '≥' };
                out.push(format!(
                    "{name}: last Advertisement, from {}, {} ago {sign} {} = Master_Down_Interval",
                    master.address,
                    beside(age, limit),
                    exact(limit)
                ));
            }
        }
        if self.stands_back.is_some() {
            out.push(String::from("it stands back: it was handed over by the operator, and is not asked for again"));
        }
    }

    fn why_lent(&self, facts: &Facts<'_>, out: &mut Vec<String>) {
        let (now, names) = (facts.now, &facts.settings.names);
        let epoch = self.lease.epoch().map_or_else(String::new, |epoch| format!(" (epoch {epoch})"));
        if !self.lease.is_arbitrated() {
            out.push(format!("lease: nobody is asked, `type none` in [arbiter]{epoch}"));
            return;
        }
        if !self.reaches_a_majority(facts) && !self.kernel.is_open(now) {
            let (reached, needed) = facts.reach.map(|reach| reach.lending(now)).unwrap_or_default();
            out.push(format!(
                "voters: {reached} have answered of late and lend, {needed} are needed before anything is handed to this node"
            ));
        }
        if !self.asks(now) {
            out.push(format!("lease: nobody is asked for it, since {}", self.reason.what()));
            return;
        }
        match self.lease.lent_until() {
            Some(until) if now < until => {
                out.push(format!("lease: held, D − now = {} > 0{epoch}", signed(now, until)));
            }
            Some(until) => out.push(format!("lease: run out, D − now = {} ≤ 0{epoch}", signed(now, until))),
            None => out.push(String::from("lease: no majority has granted anything to this node of late")),
        }
        if let Some((answering, needed)) = self.lease.answering(now) {
            let sign = if answering < needed { '<' } else { '≥' };
            out.push(format!("voters: {answering} answer {sign} {needed} needed"));
        }
        out.extend(self.lease.words_of_voters(now).iter().map(|word| self.why_of_voter(word, facts)));
        if let Some((epoch, priority)) = self.lease.rival(now) {
            out.push(format!(
                "lease: {} holds it by the voters' word, with priority {priority} (epoch {epoch})",
                names.node(epoch.node)
            ));
        }
    }

    /// One voter: what of it counts, and why the rest does not.
    fn why_of_voter(&self, word: &VoterWord, facts: &Facts<'_>) -> String {
        let names = &facts.settings.names;
        let (name, length) = (names.node(word.voter), self.timing.holder_lease());
        let mut words = match (word.granted, word.answered) {
            (Some(granted), _) => {
                let (sign, counts) = if granted < length { ('<', "it counts") } else { ('≥', "it counts no more") };
                let (granted, length) = (beside(granted, length), exact(length));
                format!("  {name} last granted what was asked {granted} ago {sign} {length} = L_h: {counts}")
            }
            (None, Some(answered)) if word.answers => {
                format!("  {name} answered {} ago, and has granted nothing", short(answered))
            }
            (None, Some(answered)) => {
                format!("  {name} does NOT answer: last {} ago, and it had granted nothing", short(answered))
            }
            (None, None) => format!("  {name} has never answered"),
        };
        if let Some(why) = word.refused {
            words.push_str(&format!("; it refuses: {}", refusal(why)));
        }
        if let Some((to, heard)) = word.lends_to.filter(|(to, _)| word.granted.is_none() && *to != word.voter) {
            words.push_str(&format!("; it {}", lends(&names.node(to), heard, self.timing.lease)));
        }
        if word.doubted {
            words.push_str("; nothing that it says counts (R17)");
        }
        words
    }
}

/// References: of each family how many answer, of how many.
fn why_reached(facts: &Facts<'_>, out: &mut Vec<String>) {
    let report = facts.references.report();
    let both = report.v4.configured > 0 && report.v6.configured > 0;
    for (family, ipv6) in [("IPv4: ", false), ("IPv6: ", true)] {
        let Answering { reachable, configured } = report.of(ipv6);
        if configured > 0 {
            let (family, needed) =
                (if both { family } else { "" }, facts.settings.references.need.clamp(1, configured.into()));
            let sign = if u16::from(reachable) < needed { '<' } else { '≥' };
            out.push(format!("references: {family}{reachable} answer {sign} {needed} needed, of {configured}"));
        }
    }
}

/// What is left until an instant; below zero once it has passed.
fn signed(now: Instant, until: Instant) -> String {
    match until.since(now) {
        Duration::ZERO if until < now => format!("−{}", short(now.since(until))),
        left => short(left),
    }
}

fn refusal(why: RefuseReason) -> &'static str {
    match why {
        RefuseReason::Held => "another's grant has not run out (V3)",
        RefuseReason::Quiet => "it has restarted, and waits (V7)",
        RefuseReason::Stale => "it has seen a later epoch (V4)",
        RefuseReason::Deaf => "the holder shows no sign of hearing it (V8)",
        RefuseReason::Digest => "its configuration is another (V9)",
        RefuseReason::NotYou => "this node is no candidate to it (V10)",
        RefuseReason::TooLong => "the lease is longer than it lends",
        RefuseReason::Disk => "it can't write its record (V6)",
        RefuseReason::Cluster => "it does not serve this cluster",
        RefuseReason::Generation => "its record bars this generation of the voters (V9)",
        RefuseReason::TooMuch => "this node sends more, or asks for more domains, than it takes of one member",
        RefuseReason::Revoked => "its operator has taken its vote back",
    }
}

/// Whether a voter lends to a node that it has heard so long ago: it does so for L_a from there (V1).
pub(super) fn lends(to: &str, heard: Duration, lease: Duration) -> String {
    let (does, sign) = if heard <= lease { ("lends", '≤') } else { ("lent", '>') };
    format!("{does} to {to}, and heard it {} ago {sign} {} = L_a", beside(heard, lease), exact(lease))
}
