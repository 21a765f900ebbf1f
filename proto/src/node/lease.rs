//! Lease messages of a node: its own voter's, its holders', and how they leave together.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use super::findings::Unread;
use crate::action::{Action, AlertName};
use crate::guard::Guard;
use crate::id::{DomainId, NodeId};
use crate::lease::generation::Opened;
use crate::lease::voter::VoterOutput;
use crate::time::Instant;
use crate::wire::lease::{Envelope, Message, RefuseReason, Stamp, Standing, pack, unpack};

/// A refusal that no waiting mends is told for so long after it at least: the witness says some once a second only.
const TURNED_AWAY: Duration = Duration::from_secs(5);

impl Node {
    /// A datagram of lease messages: requests to our voter, answers to our domains. What can't be read is counted.
    pub(super) fn on_lease(&mut self, now: Instant, from: NodeId, bytes: &[u8], out: &mut Vec<Action>) {
        let entries = match unpack(bytes) {
            Ok(entries) if entries.cluster == self.settings.cluster => entries,
            Ok(_) => {
                self.counters.bad_lease_messages += 1;
                return;
            }
            Err(error) => {
                self.counters.bad_lease_messages += 1;
                self.findings.unread(now, from, Unread::lease(error));
                return;
            }
        };
        let mut requests = Vec::new();
        for entry in entries {
            match entry {
                Ok(envelope) if matches!(envelope.message, Message::Promise { .. }) => {
                    self.on_promise(now, from, &envelope);
                }
                Ok(envelope) if envelope.message.is_request() => requests.push(envelope),
                Ok(envelope) => self.on_answer(now, from, &envelope),
                Err(_) => self.counters.bad_lease_messages += 1,
            }
        }
        self.on_requests(now, from, &requests, out);
    }

    /// D4, `degrade`: a holder asks for a promise. Whoever gives none says nothing.
    fn on_promise(&mut self, now: Instant, from: NodeId, asked: &Envelope) {
        let Message::Promise { epoch, lease } = asked.message else { return };
        // V9, V10: under the same lengths, and in its own name.
        if asked.digest != self.settings.digest || epoch.node != from {
            self.counters.bad_lease_messages += 1;
            return;
        }
        let mut promised = false;
        self.with_domain(now, asked.domain, |domain, facts| promised = domain.promise(facts, epoch, lease));
        if promised {
            let answer = Envelope { message: Message::Promised { epoch, lease }, ..asked.clone() };
            self.outbox.entry(from).or_default().push(answer);
        }
    }

    /// Requests of one member to our voter.
    pub(super) fn on_requests(&mut self, now: Instant, from: NodeId, requests: &[Envelope], out: &mut Vec<Action>) {
        let me = self.settings.node;
        let mut served = Vec::with_capacity(requests.len());
        for envelope in requests {
            // R10: while this node's own grant is unexpired its voter lends to nobody else.
            let holds = self.domains.get(&envelope.domain).is_some_and(|domain| domain.must_not_lend(now))
                && self.settings.guards.has(Guard::HolderLendsNothing);
            if holds && from != me && matches!(envelope.message, Message::Acquire { .. }) {
                continue;
            }
            let mut envelope = envelope.clone();
            // Of a Transfer only the end is heard: its heir had its majority, if ever, before this node had its own.
            if let (true, Message::Transfer { epoch, heir }) = (holds && from != me, &envelope.message)
                && heir.node != me
            {
                envelope.message = Message::Release { epoch: *epoch };
            }
            // Told of an end, this node need not wait for the holder's silence.
            if let Message::Release { epoch } = envelope.message
                && epoch.node == from
                && from != me
            {
                self.with_domain(now, envelope.domain, |domain, _| domain.on_released(epoch));
            }
            if !self.is_second_agent(now, from, &envelope) {
                served.push(envelope);
            }
        }
        if self.voter.is_none() {
            self.tell_without_a_vote(now, from, &served);
        }
        let Some(voter) = self.voter.as_mut().filter(|_| !served.is_empty()) else { return };
        #[cfg(feature = "ablation")]
        if from == me && !self.settings.guards.has(Guard::OwnVoterRefuses) {
            served.iter().for_each(|envelope| voter.forget_rivals(envelope.domain, from));
        }
        let outputs = voter.handle_all(now, from, &served);
        self.carry_out(now, outputs, out);
    }

    /// A node without a vote says by which generation it goes, so that an operator who moves the cluster to the next one sees
    /// who was left behind (V9). It bears nothing out: no opening counts it, and its floor is none.
    fn tell_without_a_vote(&mut self, now: Instant, from: NodeId, requests: &[Envelope]) {
        let Some(quorum) = self.settings.quorum() else { return };
        let standing = Standing {
            generation: quorum.generation,
            floor: 0,
            floor_for: Duration::ZERO,
            opened: Opened::default(),
            quiet_for: Duration::ZERO,
            lent: 0,
        };
        let (digest, stamp) = (self.settings.digest, Stamp { incarnation: self.incarnation, clock: now });
        for asked in requests.iter().filter(|envelope| envelope.message == Message::Inspect) {
            let answer = Envelope { digest, message: Message::Report { standing, stamp }, ..asked.clone() };
            self.outbox.entry(from).or_default().push(answer);
        }
    }

    fn on_answer(&mut self, now: Instant, from: NodeId, envelope: &Envelope) {
        if !self.is_believed(now, from, envelope) {
            return;
        }
        let lends_in = match envelope.message {
            Message::Report { standing, .. } => Some(standing.quiet_for),
            Message::Grant { .. } | Message::Free { .. } => Some(Duration::ZERO),
            _ => None,
        };
        if self.reach.as_mut().is_some_and(|reach| reach.on_answer(now, from, lends_in)) {
            self.agenda.touch_all();
        }
        match envelope.message {
            Message::Report { standing, .. } => {
                if self.opening.as_mut().is_some_and(|opening| opening.on_report(from, standing)) {
                    self.agenda.touch_all();
                }
                return;
            }
            Message::Refuse { why, .. } => self.on_refusal(now, from, envelope.domain, why),
            // Of a domain for which it could not write, so it has written since.
            Message::Grant { .. } => {
                let written = self.disks.remove(&(from, envelope.domain)).is_some();
                self.agenda.look_if(written);
            }
            _ => {}
        }
        let mut fault = None;
        self.with_domain(now, envelope.domain, |domain, facts| {
            if let Message::Refuse { why: RefuseReason::Held, holder: Some(holder), .. } = envelope.message {
                domain.fence.saw_holder(holder);
            }
            fault = domain.lease.on_answer(now, from, envelope);
            match envelope.message {
                _ if domain.lease.ignores(now, from) => {}
                Message::Offer { epoch, .. } => domain.on_offer(now, from, epoch),
                Message::Wanted { priority, heir, .. } => domain.on_wanted(facts, priority, heir),
                _ => {}
            }
        });
        if let Some(fault) = fault {
            self.note_amnesia(now, fault);
        }
    }

    /// What a refusal tells the operator.
    fn on_refusal(&mut self, now: Instant, from: NodeId, domain: DomainId, why: RefuseReason) {
        match why {
            RefuseReason::Digest | RefuseReason::Generation => self.findings.digest_refused(now, from),
            RefuseReason::Disk if self.domains.get(&domain).is_some_and(|domain| !domain.lease.ignores(now, from)) => {
                self.disks.insert((from, domain), now);
                self.agenda.look();
            }
            RefuseReason::Cluster | RefuseReason::NotYou | RefuseReason::TooMuch | RefuseReason::Revoked => {
                let new = self.turned_away.insert((from, why), now).is_none();
                self.agenda.look_if(new);
            }
            _ => {}
        }
    }

    /// The voter's outputs: answers to this node itself are taken at once.
    pub(super) fn carry_out(&mut self, now: Instant, outputs: Vec<VoterOutput>, out: &mut Vec<Action>) {
        for output in outputs {
            match output {
                VoterOutput::Send { to, envelope } if to == self.settings.node => self.on_answer(now, to, &envelope),
                VoterOutput::Send { to, envelope } => self.outbox.entry(to).or_default().push(envelope),
                VoterOutput::Persist { ticket, bytes } => out.push(Action::Persist { ticket, bytes }),
            }
        }
    }

    /// What this event has to say to each member leaves in as few datagrams as hold it.
    pub(super) fn post(&mut self, out: &mut Vec<Action>) {
        if self.outbox.is_empty() {
            return;
        }
        for (to, envelopes) in core::mem::take(&mut self.outbox) {
            out.extend(pack(&envelopes).into_iter().map(|bytes| Action::SendLease { to, bytes }));
        }
    }

    /// Asks the voters how they stand: until our generation is known to be open (V9), and who has not answered of late.
    pub(super) fn inspect(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Some(reach) = &mut self.reach else { return };
        if reach.look(now) {
            self.agenda.touch_all();
        }
        let opens = self.opening.as_ref().is_some_and(|opening| !opening.is_open());
        let due = reach.due(now, opens);
        for (voter, nonce) in due {
            let (cluster, digest) = (self.settings.cluster, self.settings.digest);
            let envelope = Envelope { cluster, digest, domain: DomainId(0), nonce, message: Message::Inspect };
            if voter == self.settings.node {
                self.on_requests(now, voter, &[envelope], out);
            } else {
                self.outbox.entry(voter).or_default().push(envelope);
            }
        }
    }

    /// The alerts that concern voters.
    pub(super) fn raise_of_voters(&mut self, now: Instant, started: bool) {
        let names = &self.settings.names;
        // Who is no longer asked for an epoch is not told that the disk is well again.
        let lasts = self.settings.quorum().map_or(Duration::ZERO, |quorum| quorum.timing.lease_max * 4);
        self.disks.retain(|_, refused_at| now.since(*refused_at) <= lasts);
        let failing: BTreeSet<NodeId> = self.disks.keys().map(|(voter, _)| *voter).collect();
        let failing: Vec<String> = failing.into_iter().map(|voter| String::from(names.node(voter))).collect();
        let own = self.own_disk.as_deref();
        let words = || match own {
            Some(error) => String::from(error),
            None => format!(
                "{} can't write its record and takes no new epoch: its log names the file and the remedy",
                failing.join(", ")
            ),
        };
        let (raised, end) = (own.is_some() || !failing.is_empty(), "the record is written again");
        self.alerts.set_with_end(AlertName::VoterDisk, None, raised, words, end);
        self.raise_silent_voters(now);
        let names = &self.settings.names;
        self.turned_away.retain(|_, at| now.since(*at) <= lasts.max(TURNED_AWAY));
        let reasons = |(voter, why): &(NodeId, RefuseReason)| format!("{} {}", names.node(*voter), turned_away(*why));
        let words = || self.turned_away.keys().map(reasons).collect::<Vec<_>>().join("; ");
        let (raised, end) = (!self.turned_away.is_empty(), "no voter refuses this node any more");
        self.alerts.set_with_end(AlertName::VoterRefuses, None, raised, words, end);
        let unproven = self.opening.as_ref().filter(|opening| started && !opening.is_open());
        let words = || unproven.map(|opening| opening.words(|id| names.node(id).into_owned())).unwrap_or_default();
        let end = "a voter bears the voter set out";
        self.alerts.set_with_end(AlertName::VoterSetUnproven, None, unproven.is_some(), words, end);
    }

    /// A voter that does not answer, whether this node holds anything or stands by; a node that is silent on every link is told
    /// of as that.
    fn raise_silent_voters(&mut self, now: Instant) {
        let (names, reach) = (&self.settings.names, self.reach.as_ref());
        let told = |voter: &NodeId| self.peers.get(voter).is_some_and(|peer| peer.is_silent(now));
        let silent = || reach.into_iter().flat_map(|reach| reach.silent(now)).filter(|voter| !told(voter));
        let words = || {
            let silent: Vec<String> = silent().map(|voter| String::from(names.node(voter))).collect();
            let (answering, needed) = reach.map(|reach| reach.answering(now)).unwrap_or_default();
            format!("no answer from {}; {answering} voters answer, {needed} are needed", silent.join(", "))
        };
        let (raised, end) = (silent().next().is_some(), "every voter answers again");
        self.alerts.set_with_end(AlertName::VoterSilent, None, raised, words, end);
    }
}

/// Why a voter does not listen, and what to do about it.
fn turned_away(why: RefuseReason) -> &'static str {
    match why {
        RefuseReason::Cluster => {
            "does not know this node in a cluster of this name: compare the cluster's name and this node's key with its \
             configuration"
        }
        RefuseReason::NotYou => "does not take this node for a candidate: list it as a member that is no witness there",
        RefuseReason::TooMuch => {
            "drops what this node sends beyond its max_rate, or knows too many domains: look for a second program with \
             this node's key, or raise max_rate there"
        }
        RefuseReason::Revoked => {
            "has had its vote for this node taken back by its operator: ask who ran `keepone-witness revoke` there, and why"
        }
        _ => "refuses this node",
    }
}
