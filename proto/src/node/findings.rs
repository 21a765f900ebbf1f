//! The node's finders: profiles out and in, and what is told of them (S17).

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

mod release;
mod signed;

pub(super) use release::Unread;

use super::Node;
use crate::action::{Action, AlertName};
use crate::alerts::{Alerts, Words};
use crate::domain::{Domain, Router};
use crate::facts::Facts;
use crate::features::Feature;
use crate::findings::{Difference, Known, Oddity, Sightings, compare, join, topic};
use crate::heartbeat::peer::Peer;
use crate::id::{DomainId, InterfaceId, LinkId, NodeId, Vrid};
use crate::lease::timing::Millis;
use crate::settings::{Authority, Settings};
use crate::time::Instant;
use crate::wire::profile::{InstanceProfile, LinkProfile, MAX_INSTANCES, Profile};
use crate::wire::vrrp::Advertisement;

/// Between two profiles to each peer: a link that is down is told of after a silence and half a second, and by
/// then the peer shall have said how it finds the link.
const PROFILE_GAP: Duration = Duration::from_millis(500);
/// Between two looks at what was found; a beat's timer keeps it.
const LOOK_GAP: Duration = Duration::from_millis(50);
/// A peer's word on what it hears counts for so long.
const WORD_LASTS: Duration = Duration::from_secs(3);
/// What comes by itself again and again is over when it has not come for so long.
const LASTS: Duration = Duration::from_secs(5);
/// A voter that refuses our digest does so each time that it is asked.
const REFUSAL_LASTS: Duration = Duration::from_secs(10);

/// What the finders remember.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    /// With their places.
    own: Vec<(usize, InstanceProfile)>,
    known: BTreeMap<NodeId, Known>,
    /// What [`compare`] found of each peer when its last profile came.
    differences: BTreeMap<NodeId, Vec<Difference>>,
    clashes: BTreeMap<NodeId, Vec<(DomainId, String)>>,
    /// Peers whose beats bear another digest than ours, and voters that refuse ours (`true`).
    digests: Sightings<(NodeId, bool)>,
    /// Members that send what this release can't read.
    releases: Sightings<(NodeId, Unread)>,
    /// Who presents a key that is not the one we know (`true`), or refuses ours.
    keys: Sightings<(Option<NodeId>, SocketAddr, bool)>,
    /// Where frames wait behind the gate, and how long: the latest, and the lesser of the last two, since one burst
    /// of traffic is no trouble.
    queues: BTreeMap<InterfaceId, (Duration, Duration)>,
    profile_at: Instant,
    /// When the next look at all of it is due.
    look_at: Instant,
    first: usize,
}

impl Findings {
    pub(super) fn new(settings: &Settings) -> Self {
        Findings { own: compare::instances(settings), ..Findings::default() }
    }

    /// Under another configuration peers are compared with that, when they speak next. What was found of them or of
    /// domains that have gone is found again, or not.
    pub(super) fn reconfigure(&mut self, settings: &Settings) {
        self.own = compare::instances(settings);
        for (node, known) in &self.known {
            self.differences.insert(*node, compare::differences(settings, &self.own, *node, known));
            self.clashes.insert(*node, compare::clashes(settings, &self.own, *node, known));
        }
    }

    /// A peer's beat bears another digest than ours, or ours.
    pub(super) fn digest_of(&mut self, now: Instant, from: NodeId, differs: bool) {
        if differs {
            self.digests.see((from, false), now + LASTS);
        }
    }

    /// A voter refuses our digest.
    pub(super) fn digest_refused(&mut self, now: Instant, from: NodeId) {
        self.digests.see((from, true), now + REFUSAL_LASTS);
    }

    /// Frames wait in an interface's queue.
    pub(super) fn queue_seen(&mut self, interface: InterfaceId, wait: Duration) {
        let (latest, lesser) = self.queues.entry(interface).or_default();
        *lesser = wait.min(core::mem::replace(latest, wait));
    }

    /// The transport has met a wrong key, or ours was refused.
    pub(super) fn key_refused(&mut self, now: Instant, node: Option<NodeId>, address: SocketAddr, theirs: bool) {
        // Of an unknown sender each attempt comes from another port.
        let address = SocketAddr::new(address.ip(), if node.is_some() { address.port() } else { 0 });
        self.keys.see((node, address, theirs), now + LASTS);
    }

    /// Whether our own profile is to be sent.
    pub(super) fn wants_profiles(&self, now: Instant) -> bool {
        now >= self.profile_at
    }

    /// Another profile of a peer, compared at once if it is newer than the last.
    fn take(&mut self, now: Instant, from: NodeId, profile: Profile, settings: &Settings) {
        let known = match self.known.get_mut(&from) {
            Some(known) => {
                if !known.renew(now, profile) {
                    return;
                }
                known
            }
            None => self.known.entry(from).or_insert(Known::new(now, profile)),
        };
        self.differences.insert(from, compare::differences(settings, &self.own, from, known));
        self.clashes.insert(from, compare::clashes(settings, &self.own, from, known));
    }

    /// What a peer says, over another link, of one on which we have not heard it since `heard_at`: which direction
    /// is broken. Nothing, where its last word is from before.
    pub(super) fn says_of(
        &self,
        node: NodeId,
        link: LinkId,
        heard_at: Option<Instant>,
        silence: Duration,
    ) -> &'static str {
        let Some(known) = self.known.get(&node) else { return "" };
        if heard_at.is_some_and(|at| known.at < at + silence) {
            return "";
        }
        match known.heard_us_on(link) {
            Some(Some(at)) if known.at.since(at) <= silence => "; it hears us",
            Some(Some(_)) => "; it does not hear us either",
            Some(None) => "; it has never heard us on it",
            None => "",
        }
    }

    /// Of our instance in that place, as a peer knows it.
    fn name_of(&self, place: usize) -> u64 {
        self.own.iter().find(|(at, _)| *at == place).map_or(0, |(_, own)| own.name)
    }

    /// Whether a peer that is silent advertises all the same: it lives, and its heartbeats are filtered. What came before
    /// it counted as silent may have been its last word.
    pub(super) fn advertises<'a>(
        &self,
        now: Instant,
        peer: &Peer,
        mut domains: impl Iterator<Item = &'a Domain>,
    ) -> bool {
        let Some(known) = self.known.get(&peer.node) else { return false };
        domains.any(|domain| {
            let masters = domain.routers.iter().filter_map(|router| router.machine.master());
            let mut lately =
                masters.filter(|master| master.at > peer.silent_at() && now.since(master.at) <= master.advert_int * 2);
            lately.any(|master| known.speaks_from(master.address))
        })
    }

    /// Which peer speaks VRRP from that address.
    fn speaker(&self, domain: &Domain, facts: &Facts<'_>, source: IpAddr) -> Option<NodeId> {
        let by_profile = self.known.iter().find(|(_, known)| known.speaks_from(source)).map(|(node, _)| *node);
        by_profile.or_else(|| {
            let says = |peer: &&crate::heartbeat::peer::Peer| {
                peer.domain(domain.id).is_some_and(|said| said.source == Some(source))
            };
            facts.peers.values().find(says).map(|peer| peer.node)
        })
    }

    /// All peers have said from where they speak: who else does is none of them.
    fn knows_all(&self, facts: &Facts<'_>) -> bool {
        !facts.peers.is_empty() && facts.peers.keys().all(|node| self.known.get(node).is_some_and(Known::is_complete))
    }
}

impl Node {
    /// A profile, from a peer whose key has been proven.
    pub(super) fn on_profile(&mut self, now: Instant, from: NodeId, bytes: &[u8]) {
        match Profile::parse(bytes) {
            Ok(profile) if self.peers.contains_key(&from) => {
                self.findings.take(now, from, profile, &self.settings);
                let known = self.findings.known.get(&from);
                if let Some((known, peer)) = known.zip(self.peers.get_mut(&from)) {
                    peer.set_unarbitrated(known.lease.is_none());
                }
            }
            Ok(_) => self.counters.bad_beats += 1,
            Err(error) => {
                self.counters.bad_beats += 1;
                self.findings.unread(now, from, Unread::profile(error));
            }
        }
    }

    /// What we are set up to be, to each peer over each link, twice a second.
    pub(super) fn send_profiles(&mut self, now: Instant, out: &mut Vec<Action>) {
        if !self.findings.wants_profiles(now) {
            return;
        }
        self.findings.profile_at = now + PROFILE_GAP;
        let count = self.findings.own.len();
        let first = if count > MAX_INSTANCES { self.findings.first % count } else { 0 };
        self.findings.first = first + MAX_INSTANCES;
        let facts = self.facts(now);
        let (mut instances, own) = (Vec::new(), &self.findings.own);
        let tells_policies = self.all_have(Feature::ProfilePolicy);
        for (place, instance) in own.iter().cycle().skip(first).take(count.min(MAX_INSTANCES)) {
            let mut instance = instance.clone();
            if let Some(settings) = self.settings.instances.get(*place) {
                instance.source = facts.address(settings.interface, settings.ipv6);
            }
            instance.policy = instance.policy.filter(|_| tells_policies);
            let domain = self.domains.get(&instance.domain);
            instance.hears_no_master = domain.is_some_and(|domain| domain.hears_no_master(&facts, *place));
            instances.push(instance);
        }
        for peer in self.peers.values() {
            let heard = |ago: Instant| now.since(ago);
            let links = peer.links().map(|(id, link)| LinkProfile { id, heard: link.heard_at().map(heard) }).collect();
            let profile = Profile {
                cluster: self.settings.cluster,
                incarnation: self.incarnation,
                clock: now,
                period: self.settings.heartbeat.period,
                misses: u8::try_from(self.settings.heartbeat.misses).unwrap_or(u8::MAX),
                lease: compare::lease(&self.settings),
                links,
                total: u8::try_from(count).unwrap_or(u8::MAX),
                instances: instances.clone(),
            };
            let bytes = profile.emit();
            let beats = peer.links().map(|(link, _)| Action::SendBeat { link, to: peer.node, bytes: bytes.clone() });
            out.extend(beats);
        }
    }

    /// An Advertisement that belongs to none of our routers, though it may speak of their addresses.
    pub(super) fn on_strange_advertisement(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        source: IpAddr,
        unicast: bool,
        advertisement: &Advertisement,
    ) {
        let own = self.facts(now).address(interface, source.is_ipv6());
        if own == Some(source) {
            return;
        }
        let until = now + lasts(advertisement);
        for domain in self.domains.values_mut() {
            for router in &domain.routers {
                let settings = &router.settings;
                if settings.interface != interface || settings.ipv6 != source.is_ipv6() {
                    continue;
                }
                let shared = advertisement.addresses.iter().find(|address| settings.addresses.contains(address));
                let oddity = if settings.vrid == advertisement.vrid {
                    Oddity::Unicast(unicast)
                } else if let Some(address) = shared {
                    Oddity::Vrid(advertisement.vrid.get(), *address)
                } else {
                    continue;
                };
                domain.findings.oddities.see((source, oddity), until);
                break;
            }
        }
    }

    /// A packet for one of our virtual routers that can't be read. RFC 9568, 7.1, and RFC 3768, 7.1: it is logged, and
    /// not each time.
    pub(super) fn on_unreadable(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        source: IpAddr,
        vrid: u8,
        fault: &'static str,
    ) {
        // By their places: a flood of them must not have every domain looked at for each.
        let Some(vrid) = Vrid::new(vrid) else { return };
        for (id, _) in self.places.get(&(interface, vrid, source.is_ipv6())).into_iter().flatten() {
            if let Some(domain) = self.domains.get_mut(id) {
                domain.findings.oddities.see((source, Oddity::Unreadable(fault)), now + LASTS);
            }
        }
    }

    /// What the finders have found, as it stands.
    pub(super) fn raise_findings(&mut self, now: Instant) {
        // None of it is urgent, and this is run after each event.
        if now < self.findings.look_at {
            return;
        }
        self.findings.look_at = now + LOOK_GAP;
        let mut alerts = core::mem::take(&mut self.alerts);
        self.findings.digests.prune(now);
        self.findings.releases.prune(now);
        self.findings.keys.prune(now);
        for domain in self.domains.values_mut() {
            domain.findings.prune(now);
        }
        let facts = self.facts(now);
        self.raise_keys(&mut alerts);
        self.raise_queues(&mut alerts);
        self.raise_mismatch(None, &self.node_differences(), &mut alerts);
        for domain in self.domains.values() {
            self.raise_of_domain(&facts, domain, &mut alerts);
        }
        self.alerts = alerts;
    }

    /// E_tx is what the lease allows a frame behind the gate; one that waits longer leaves after D (F33).
    fn raise_queues(&self, alerts: &mut Alerts) {
        let leases = self.settings.domains.iter().filter_map(|domain| match &domain.authority {
            Authority::Quorum(quorum) => Some(quorum.timing.transmit),
            Authority::None => None,
        });
        let transmit = leases.min();
        let waits = self.findings.queues.iter().map(|(interface, (_, lesser))| (interface, lesser));
        let mut slow = waits.filter(|(_, wait)| transmit.is_some_and(|most| **wait > most));
        let (any, most) = (slow.clone().next().is_some(), Millis(transmit.unwrap_or_default()));
        let about = slow.clone().map(|(interface, _)| u64::from(interface.0) + 1).sum();
        alerts.set_about(AlertName::TransmitQueue, None, any, about, || {
            let Some((interface, wait)) = slow.next() else { return String::from("no frame waits longer than E_tx") };
            let words = |interface: &InterfaceId, wait: &Duration| {
                format!(
                    "frames wait {} in the queue of {}, E_tx is {most}",
                    Millis(*wait),
                    self.interface_name(*interface)
                )
            };
            slow.fold(words(interface, wait), |all, (interface, wait)| all + "; " + &words(interface, wait))
        });
    }

    fn raise_of_domain(&self, facts: &Facts<'_>, domain: &Domain, alerts: &mut Alerts) {
        let id = Some(domain.id);
        let mut differences: Vec<Difference> = self
            .findings
            .differences
            .values()
            .flatten()
            .filter(|difference| difference.domain == id)
            .cloned()
            .collect();
        let mut foreign = Vec::new();
        for (source, oddity) in domain.findings.oddities.iter() {
            match self.findings.speaker(domain, facts, *source) {
                // Its profile has said so already, and better; only these show on the wire alone.
                Some(node) if *oddity != Oddity::Foreign => {
                    let compared = self.findings.known.contains_key(&node);
                    if !compared || matches!(oddity, Oddity::Vrid(..)) {
                        let who = format!("{} ({source})", self.settings.names.node(node));
                        differences.extend(odd(domain, &who, oddity));
                    }
                }
                Some(_) => {}
                None if self.findings.knows_all(facts) && *oddity != Oddity::OwnAddress => {
                    foreign.push(
                        odd(domain, &source.to_string(), oddity)
                            .map_or_else(|| format!("{source} advertises our VRID"), |difference| difference.words),
                    );
                }
                None => differences.extend(odd(domain, &format!("router {source}"), oddity)),
            }
        }
        self.raise_mismatch(id, &differences, alerts);
        let is_foreign = !foreign.is_empty();
        let about = topic(foreign.iter().map(String::as_str));
        alerts.set_about(AlertName::ForeignRouter, id, is_foreign, about, || match is_foreign {
            true => join(foreign.iter().map(String::as_str)),
            false => String::from("no strange Advertisement for 5 s"),
        });
        let clashes: Vec<&str> = self
            .findings
            .clashes
            .values()
            .flatten()
            .filter(|(of, _)| *of == domain.id)
            .map(|(_, words)| words.as_str())
            .collect();
        let clash = !clashes.is_empty();
        alerts.set_about(AlertName::PriorityClash, id, clash, topic(clashes.iter().copied()), || match clash {
            true => join(clashes.iter().copied()),
            false => String::from("the priorities differ"),
        });
        self.raise_vrrp_silent(facts, domain, alerts);
    }

    /// D1 on both sides: the BACKUP that waits for Advertisements, and the MASTER whose peer says so.
    fn raise_vrrp_silent(&self, facts: &Facts<'_>, domain: &Domain, alerts: &mut Alerts) {
        let mut words = Vec::new();
        let mut routers: Vec<&Router> = Vec::new();
        for router in &domain.routers {
            let place = usize::from(router.id.0);
            if domain.hears_no_master(facts, place) {
                let last = match router.machine.master() {
                    Some(master) => format!("the last came {} ago", Millis(facts.now.since(master.at))),
                    None => String::from("none ever came"),
                };
                words.push(format!(
                    "{} (VRID {}): no Advertisement comes in on {}, {last}, while a peer's heartbeats say MASTER",
                    router.settings.name,
                    router.settings.vrid.get(),
                    self.interface_name(router.settings.interface)
                ));
                routers.push(router);
            }
            if domain.master_for(facts.now).is_some_and(|since| since > WORD_LASTS) {
                let name = self.findings.name_of(place);
                for peer in facts.heard() {
                    let known = self.findings.known.get(&peer.node);
                    let deaf = known
                        .filter(|known| facts.now.since(known.at) < WORD_LASTS)
                        .and_then(|known| known.instance(name))
                        .is_some_and(|instance| instance.hears_no_master);
                    if deaf {
                        words.push(format!(
                            "{} (VRID {}): {} hears our heartbeats, but none of our Advertisements, sent on {}",
                            router.settings.name,
                            router.settings.vrid.get(),
                            self.settings.names.node(peer.node),
                            self.interface_name(router.settings.interface)
                        ));
                        routers.push(router);
                    }
                }
            }
        }
        let silent = !words.is_empty();
        alerts.set(AlertName::VrrpSilent, Some(domain.id), silent, || {
            if !silent {
                return Words::from(String::from("Advertisements come through again"));
            }
            let remedies: Vec<String> = routers.iter().map(|router| self.vrrp_remedy(router)).collect();
            let remedy = Some(join(remedies.iter().map(String::as_str)));
            Words { evidence: join(words.iter().map(String::as_str)), remedy }
        });
    }

    fn vrrp_remedy(&self, router: &Router) -> String {
        let settings = &router.settings;
        let to = match (&settings.unicast_peers, settings.ipv6) {
            (Some(peers), _) => peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            (None, ipv6) => match (settings.reception.group, ipv6) {
                (Some(group), _) => format!("multicast group {group}"),
                (None, false) => String::from("multicast group 224.0.0.18"),
                (None, true) => String::from("multicast group ff02::12"),
            },
        };
        format!(
            "let IP protocol 112 (VRRP) to {to} pass on {} of both nodes: host firewall (nft, iptables, firewalld), \
             switch (IGMP snooping, ACL), the same VLAN on both",
            self.interface_name(settings.interface)
        )
    }

    fn interface_name(&self, id: InterfaceId) -> &str {
        self.settings.interfaces.get(usize::from(id.0)).map_or("?", |interface| interface.name.as_str())
    }

    fn node_differences(&self) -> Vec<Difference> {
        let of_node = |difference: &&Difference| difference.domain.is_none();
        let mut found: Vec<Difference> =
            self.findings.differences.values().flatten().filter(of_node).cloned().collect();
        for (node, refuses) in self.findings.digests.iter() {
            // The profile has named what differs.
            let named =
                self.findings.differences.get(node).is_some_and(|found| found.iter().any(|d| d.domain.is_none()));
            if named {
                continue;
            }
            let who = if *refuses { "voter " } else { "" };
            let name = self.settings.names.node(*node);
            found.push(Difference {
                domain: None,
                words: format!("{who}{name} has another voter set or other lease lengths"),
                remedy: format!("compare the arbiter section of {name} with ours"),
            });
        }
        found.extend(self.other_releases());
        found
    }

    fn raise_mismatch(&self, id: Option<DomainId>, differences: &[Difference], alerts: &mut Alerts) {
        let (raised, about) = (!differences.is_empty(), topic(differences.iter().map(|found| found.words.as_str())));
        alerts.set_about(AlertName::ConfigMismatch, id, raised, about, || {
            if !raised {
                return Words::from(String::from("both sides are set up alike"));
            }
            let remedy = join(differences.iter().map(|difference| difference.remedy.as_str()));
            Words { evidence: join(differences.iter().map(|found| found.words.as_str())), remedy: Some(remedy) }
        });
    }

    fn raise_keys(&self, alerts: &mut Alerts) {
        let mut words = Vec::new();
        let mut remedies = Vec::new();
        for (node, address, theirs) in self.findings.keys.iter() {
            let name = node.map(|node| self.settings.names.node(node).into_owned());
            match (name, theirs) {
                (Some(name), true) => {
                    words.push(format!("what answers as {name} at {address} has another key than the one listed here"));
                    remedies.push(format!(
                        "compare the public_key of {name} in this node's member list with the one in {name}'s own, \
                         and see that {address} is {name}'s"
                    ));
                }
                (Some(name), false) => {
                    words.push(format!("{name} at {address} refuses this node's key"));
                    remedies.push(format!("compare this node's public_key in {name}'s member list with its key_file"));
                }
                (None, _) => {
                    words.push(format!("somebody at {} tries to connect with a key of no member", address.ip()));
                    remedies.push(format!(
                        "if {} is a member, list its key here; else keep it off the heartbeat network",
                        address.ip()
                    ));
                }
            }
        }
        let raised = !words.is_empty();
        let about = topic(words.iter().map(String::as_str));
        alerts.set_about(AlertName::UnknownKey, None, raised, about, || match raised {
            true => Words {
                evidence: join(words.iter().map(String::as_str)),
                remedy: Some(join(remedies.iter().map(String::as_str))),
            },
            false => Words::from(String::from("no wrong key for 5 s")),
        });
    }
}

/// How long an Advertisement's oddity lasts after it: one that comes seldom must not flap.
pub(crate) fn lasts(advertisement: &Advertisement) -> Duration {
    LASTS.max(advertisement.advert_int * 3)
}

/// An oddity in words; [`Oddity::Foreign`] says nothing by itself.
fn odd(domain: &Domain, who: &str, oddity: &Oddity) -> Option<Difference> {
    let router = domain.routers.first()?;
    let (name, settings) = (&router.settings.name, &router.settings);
    let (what, words) = match oddity {
        Oddity::Foreign => return None,
        Oddity::Interval(found) => {
            ("advert_int", format!("{who} advertises each {}, we each {}", Millis(*found), Millis(settings.advert_int)))
        }
        Oddity::Addresses(found) => {
            let list = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            ("virtual_ipaddress", format!("{who} advertises other addresses: {list}"))
        }
        Oddity::Version(found) => {
            ("version", format!("{who} speaks VRRPv{found}, we VRRPv{}", compare::number(settings.version)))
        }
        Oddity::Authentication => {
            ("authentication", format!("{who} advertises with another authentication or password than ours"))
        }
        Oddity::Replayed => {
            let words =
                format!("{who} advertises with sequence numbers that have been used: replayed, or it never heard us");
            let remedy =
                format!("find out whether {who} is a router of {name}: if so, it must hear our Advertisements");
            return Some(Difference { domain: Some(domain.id), words: format!("{name}: {words}"), remedy });
        }
        Oddity::Unsigned(_) | Oddity::Repeated | Oddity::Stale | Oddity::Signed | Oddity::ClocksApart(_) => {
            return Some(Difference { domain: Some(domain.id), ..signed::words(name, who, settings, oddity)? });
        }
        Oddity::OwnAddress => {
            ("mcast_src_ip", format!("{who} is our own address: another host has it, or our packets come back"))
        }
        Oddity::Unreadable(fault) => {
            let words = format!("{who} sends Advertisements that can't be read: {fault}");
            let remedy =
                format!("look at what {who} sends (tshark -V vrrp), and update it or keep it off this segment");
            return Some(Difference { domain: Some(domain.id), words: format!("{name}: {words}"), remedy });
        }
        Oddity::Unicast(true) => {
            ("unicast_peer", format!("{who} speaks unicast to us, but is not among our unicast_peers"))
        }
        Oddity::Unicast(false) => ("unicast_peer", format!("{who} speaks multicast, we unicast")),
        Oddity::Vrid(found, address) => {
            let vrid = settings.vrid.get();
            ("virtual_router_id", format!("{who} advertises our address {address} under VRID {found}, ours is {vrid}"))
        }
    };
    let remedy = format!("set the same {what} for {name} there and here, or keep that router off this segment");
    Some(Difference { domain: Some(domain.id), words: format!("{name}: {words}"), remedy })
}
