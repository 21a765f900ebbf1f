//! Whole nodes under a made-up clock: two agents and a witness, whose kernels, disks and lines do at once
//! what they are asked, unless they are cut.

use super::*;
use crate::decision::Role;
use crate::event::GateStrength;
use crate::guard::Guards;
use crate::id::{ClusterId, ConfigDigest, InstanceId, InterfaceId, LinkId, ReferenceId, Vrid};
use crate::lease::config_digest;
use crate::lease::timing::LeaseTiming;
use crate::lease::voter::{VoterOutput, VoterSettings};
use crate::settings::{
    AnnounceSettings, AuthType, Authority, DomainSettings, ElectionOptions, Families, FencingSettings,
    HeartbeatSettings, InstanceSettings, InterfaceSettings, LinkDelays, Names, PeerSettings, Policy, QuorumSettings,
    Reception, ReferenceSettings, TrackInterface, VrrpVersion,
};
use crate::wire::lease::{Message, RefuseReason, pack, unpack};
use crate::wire::vrrp::{Advertisement, Checksum};
use alloc::collections::{BTreeSet, VecDeque};
use alloc::{format, vec};
use core::net::IpAddr;

mod by_hand;
mod clocks;
mod fencing;
mod finders;
mod first_deeds;
mod generations;
mod going_on;
mod handover;
mod header;
mod lan;
mod many;
mod moves;
mod options;
mod orders;
mod policies;
mod proofs;
mod references;
mod releases;
mod reload;
mod rivals;
mod rules;
mod signed;
mod statistics;
mod trackers;
mod unruled;
mod words;

const VIP: DomainId = DomainId(7);
const WITNESS: u16 = 3;

/// What [`Node::handle`] does; and that it does the same where no event is taken for one from which nothing follows, and no
/// Advertisement leaves without a judgement.
fn handle(node: &mut Node, now: Instant, event: Event) -> Vec<Action> {
    let mut thorough = node.clone();
    thorough.due_at = now;
    thorough.agenda.judge_who_advertises();
    let expected = thorough.handle(now, event.clone());
    let words = format!("{event:?}");
    let actions = node.handle(now, event);
    let seen = (format!("{actions:?}"), node.next_deadline(), node.role(VIP), node.alerts().collect::<Vec<_>>());
    let after = (format!("{expected:?}"), thorough.next_deadline(), thorough.role(VIP), thorough.alerts().collect());
    assert_eq!(seen, after, "after {words}");
    actions
}

fn id(number: u16) -> NodeId {
    NodeId::new(number).unwrap()
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn quorum() -> QuorumSettings {
    let timing = LeaseTiming::for_lease(Duration::from_millis(500));
    QuorumSettings::new(vec![id(1), id(2), id(WITNESS)], timing)
}

fn messages(bytes: &[u8]) -> Vec<Message> {
    unpack(bytes).unwrap().map(|entry| entry.unwrap().message).collect()
}

fn quorum_of(authority: &Authority) -> QuorumSettings {
    match authority {
        Authority::Quorum(quorum) => quorum.clone(),
        Authority::None => quorum(),
    }
}

fn digest() -> ConfigDigest {
    config_digest(ClusterId(1), &quorum())
}

fn address(node: u16) -> IpAddr {
    IpAddr::from([192, 0, 2, u8::try_from(node).unwrap()])
}

/// Node 1 is the better one.
fn settings(node: u16, authority: Authority) -> Settings {
    let instance = InstanceSettings {
        name: "vip".into(),
        interface: InterfaceId(0),
        vrid: Vrid::new(51).unwrap(),
        version: VrrpVersion::V3,
        ipv6: false,
        priority: Priority(if node == 1 { 200 } else { 100 }),
        advert_int: Duration::from_millis(200),
        preempt: true,
        preempt_delay: Duration::ZERO,
        addresses: vec![IpAddr::from([192, 0, 2, 100])],
        auth_pass: None,
        auth_type: AuthType::Pass,
        hmac: None,
        unicast_peers: None,
        election: ElectionOptions::default(),
        reception: Reception::default(),
        track: Vec::new(),
        track_others: Vec::new(),
        announce: AnnounceSettings::default(),
    };
    Settings {
        cluster: ClusterId(1),
        node: id(node),
        names: Names::default(),
        digest: config_digest(ClusterId(1), &quorum_of(&authority)),
        seed: node.into(),
        heartbeat: HeartbeatSettings { period: Duration::from_millis(100), misses: 3 },
        peers: vec![PeerSettings { node: id(3 - node), links: vec![LinkId(0)] }],
        begin_at: None,
        interfaces: vec![InterfaceSettings { name: "lan".into(), delays: LinkDelays::default() }],
        instances: vec![instance],
        domains: vec![DomainSettings {
            id: VIP,
            name: "vip".into(),
            instances: vec![InstanceId(0)],
            families: Families { v4: true, v6: false },
            authority,
            policy: Policy::Strict,
            mirrors: Vec::new(),
            fencing: FencingSettings::default(),
            shape: 0,
            held: 1,
        }],
        references: ReferenceSettings {
            targets: vec![IpAddr::from([192, 0, 2, 254])],
            need: 1,
            interval: Duration::from_millis(300),
            timeout: Duration::from_millis(250),
            rise: 2,
            fall: 3,
        },
        scripts: Vec::new(),
        watches: Vec::new(),
        grace: Duration::from_secs(1),
        claim_without_gate: false,
        watchdog: false,
        guards: Guards::default(),
    }
}

/// Two agents and a witness.
struct Cluster {
    now: Instant,
    authority: Authority,
    nodes: BTreeMap<u16, Node>,
    witness: Voter,
    queue: VecDeque<(u16, Event)>,
    /// What goes from the first to the second is lost.
    cut: BTreeSet<(u16, u16)>,
    /// Beats on these are lost.
    links_cut: BTreeSet<LinkId>,
    /// Beats on this link, from the one to the other, are lost.
    link_cut_one_way: BTreeSet<(LinkId, u16, u16)>,
    /// Advertisements are lost.
    vrrp_cut: bool,
    /// Lease messages between the nodes are lost, which go over the same lines as the beats.
    lease_cut: bool,
    /// Further witnesses, and which of all of them is being asked.
    more: BTreeMap<u16, Voter>,
    asked: u16,
    /// A store with compare-and-swap, and each node's register before it.
    store: moves::Store,
    /// Whose gate fails its test, and whose tests get no answer.
    gate_broken: BTreeSet<u16>,
    tests_held: BTreeSet<u16>,
    references_lost: BTreeSet<u16>,
    /// Whose tracked scripts fail, or never end.
    scripts_fail: BTreeSet<u16>,
    scripts_hang: BTreeSet<u16>,
    /// By how many nanoseconds a member's clock is ahead of the world's.
    skew: BTreeMap<u16, i64>,
    /// Members that stand still; what comes for them waits.
    frozen: BTreeMap<u16, Vec<Event>>,
    /// Their gates can't be shut.
    gates_stuck: BTreeSet<u16>,
    /// Whoever writes their gates hangs; what it would answer waits.
    gates_hung: BTreeMap<u16, Vec<Event>>,
    /// Their gates open, and can't be read back.
    gates_unread: BTreeSet<u16>,
    /// Their kernels take no address.
    addresses_held: BTreeSet<u16>,
    /// Nodes of a release that knows no hellos.
    without_hello: BTreeSet<u16>,
    log: Vec<(Instant, u16, Action)>,
}

impl Cluster {
    fn new(authority: Authority) -> Self {
        let voter = VoterSettings::new(ClusterId(1), &quorum_of(&authority), [id(1), id(2)].into(), Incarnation(33));
        Cluster {
            now: at(1000),
            authority,
            nodes: BTreeMap::new(),
            witness: Voter::new(voter, at(0), None),
            queue: VecDeque::new(),
            cut: BTreeSet::new(),
            links_cut: BTreeSet::new(),
            link_cut_one_way: BTreeSet::new(),
            vrrp_cut: false,
            lease_cut: false,
            more: BTreeMap::new(),
            asked: WITNESS,
            store: moves::Store::default(),
            gate_broken: BTreeSet::new(),
            tests_held: BTreeSet::new(),
            references_lost: BTreeSet::new(),
            scripts_fail: BTreeSet::new(),
            scripts_hang: BTreeSet::new(),
            skew: BTreeMap::new(),
            frozen: BTreeMap::new(),
            gates_stuck: BTreeSet::new(),
            gates_hung: BTreeMap::new(),
            gates_unread: BTreeSet::new(),
            addresses_held: BTreeSet::new(),
            without_hello: BTreeSet::new(),
            log: Vec::new(),
        }
    }

    fn arbitrated() -> Self {
        Cluster::new(Authority::Quorum(quorum()))
    }

    fn start(&mut self, node: u16) {
        self.start_with(node, settings(node, self.authority.clone()));
    }

    fn start_with(&mut self, node: u16, settings: Settings) {
        // Each life has its own.
        let incarnation = Incarnation(((self.now.as_nanos() / 1_000_000) << 16) | (u64::from(node) * 100));
        self.nodes.insert(node, Node::new(settings, incarnation, Restored::default(), self.local(node)));
        self.give(node, Event::Tick);
        let (interface, addresses) = (InterfaceId(0), vec![address(node)]);
        self.give(node, Event::Interface { interface, up: true, addresses });
    }

    fn give(&mut self, node: u16, event: Event) {
        self.queue.push_back((node, event));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some((to, event)) = self.queue.pop_front() {
            let now = self.local(to);
            if let Some(waiting) = self.frozen.get_mut(&to) {
                waiting.push(event);
            } else if to == WITNESS {
                self.ask_witness(&event);
            } else if let Some(voter) = self.more.remove(&to) {
                // A further witness does as the first.
                let first = core::mem::replace(&mut self.witness, voter);
                self.asked = to;
                self.ask_witness(&event);
                self.asked = WITNESS;
                self.more.insert(to, core::mem::replace(&mut self.witness, first));
            } else if let Some(node) = self.nodes.get_mut(&to) {
                for action in handle(node, now, event) {
                    self.carry_out(to, action);
                }
            }
        }
    }

    fn ask_witness(&mut self, event: &Event) {
        let now = self.local(WITNESS);
        let mut outputs = match event {
            Event::LeaseReceived { from, bytes } => {
                let requests: Vec<Envelope> = unpack(bytes).unwrap().map(Result::unwrap).collect();
                self.witness.handle_all(now, *from, &requests)
            }
            _ => self.witness.tick(now),
        };
        let mut answers = BTreeMap::<NodeId, Vec<Envelope>>::new();
        while let Some(output) = outputs.pop() {
            match output {
                VoterOutput::Persist { ticket, .. } => outputs.extend(self.witness.persisted(now, ticket, true)),
                VoterOutput::Send { to, envelope } => answers.entry(to).or_default().push(envelope),
            }
        }
        for (to, answers) in answers {
            pack(&answers).into_iter().for_each(|bytes| self.send_lease(self.asked, to.get(), bytes));
        }
    }

    fn send_lease(&mut self, from: u16, to: u16, bytes: Vec<u8>) {
        if id(to) == NodeId::STORE {
            return self.ask_store(from, &bytes);
        }
        let lost = self.lease_cut && from < WITNESS && to < WITNESS;
        if !lost && !self.cut.contains(&(from, to)) {
            self.queue.push_back((to, Event::LeaseReceived { from: id(from), bytes }));
        }
    }

    fn carry_out(&mut self, node: u16, action: Action) {
        self.log.push((self.now, node, action.clone()));
        let other = 3 - node;
        let reply = match action {
            Action::OpenGate { domain, epoch, until } => {
                let error = self.gates_unread.contains(&node).then(|| String::from("reads back other than written"));
                Event::GateWritten { domain, epoch, until: Some(until), error }
            }
            Action::ShutGate { domain, epoch } => {
                let error = self.gates_stuck.contains(&node).then(|| String::from("the tombstone reads back open"));
                Event::GateWritten { domain, epoch, until: None, error }
            }
            Action::AddAddresses { .. } if self.addresses_held.contains(&node) => return,
            Action::AddAddresses { domain, epoch, .. } => {
                Event::AddressesDone { domain, epoch, present: true, error: None }
            }
            Action::RemoveAddresses { domain, epoch } => {
                Event::AddressesDone { domain, epoch, present: false, error: None }
            }
            Action::TestGate { .. } if self.tests_held.contains(&node) => return,
            Action::TestGate { number } => {
                let fault = if self.gate_broken.contains(&node) { "a probe passed" } else { "" };
                Event::GateTest { number, strength: GateStrength::Strong, fault: fault.into() }
            }
            Action::Ping { reference } => self.ping(node, reference),
            Action::RunScript { .. } if self.scripts_hang.contains(&node) => return,
            Action::RunScript { script, run } => {
                let fault = self.scripts_fail.contains(&node).then(|| String::from("exit status: 1"));
                Event::ScriptEnded { script, run, fault }
            }
            Action::Persist { ticket, .. } => Event::Persisted { ticket, error: None },
            Action::SendBeat { link, to, bytes } => {
                let one_way = self.link_cut_one_way.contains(&(link, node, to.get()));
                let unknown = bytes.first() == Some(&crate::wire::hello::TAG) && self.without_hello.contains(&node);
                if !unknown && !self.cut.contains(&(node, to.get())) && !self.links_cut.contains(&link) && !one_way {
                    self.queue.push_back((to.get(), Event::BeatReceived { link, from: id(node), bytes }));
                }
                return;
            }
            Action::SendLease { to, bytes } => return self.send_lease(node, to.get(), bytes),
            Action::Advertise { advertisement, .. } => {
                if !self.vrrp_cut && !self.cut.contains(&(node, other)) {
                    let (source, destination) = (address(node), IpAddr::from([224, 0, 0, 18]));
                    let settings = &self.nodes[&node].settings.instances[0];
                    let signed = settings.hmac.as_ref();
                    let signed = signed.and_then(|hmac| signed::received(&advertisement, source, hmac, self.now));
                    let bare = || header::received(&advertisement, source, destination, settings.auth_pass);
                    let event = signed.unwrap_or_else(bare);
                    self.queue.push_back((other, event));
                }
                return;
            }
            Action::ReadClock
            | Action::Announce { .. }
            | Action::Mirror { .. }
            | Action::ProbeAddress { .. }
            | Action::Transition(_)
            | Action::Alert(_)
            | Action::Retired { .. }
            | Action::Stopped => return,
            // The test answers when it likes.
            Action::Priority { .. } | Action::LowerSeen { .. } => return,
            Action::Fence { .. } | Action::FeedWatchdog | Action::Reboot { .. } => return,
        };
        match self.gates_hung.get_mut(&node) {
            Some(waiting) if matches!(reply, Event::GateWritten { .. }) => waiting.push(reply),
            Some(_) | None => self.queue.push_back((node, reply)),
        }
    }

    fn ping(&self, node: u16, reference: ReferenceId) -> Event {
        let answered = !self.references_lost.contains(&node);
        Event::Pinged { reference, rtt: answered.then_some(Duration::from_millis(1)) }
    }

    /// Ticks whoever is due, up to then.
    fn run_to(&mut self, ms: u64) {
        // Nobody wants the same moment without end.
        let mut standing = (self.now, 0);
        loop {
            standing = if self.now == standing.0 { (self.now, standing.1 + 1) } else { (self.now, 0) };
            let due = self.nodes.iter().filter_map(|(number, node)| Some((node.next_deadline()?, *number)));
            let witness = self.witness.next_deadline().map(|at| (at, WITNESS));
            let due = due.chain(witness).filter(|(_, number)| !self.frozen.contains_key(number));
            let due: Vec<_> = due.map(|(at, number)| (self.world(number, at), number)).collect();
            match due.into_iter().min().filter(|(due, _)| *due <= at(ms)) {
                Some((due, who)) => {
                    assert!(standing.1 < 10_000, "{who} wants {due:?} again and again at {:?}", self.now);
                    self.now = self.now.max(due);
                    self.give(who, Event::Tick);
                }
                None => break,
            }
        }
        self.now = at(ms);
    }

    /// What a member's clock shows now.
    fn local(&self, member: u16) -> Instant {
        let skew = self.skew.get(&member).copied().unwrap_or(0);
        Instant::from_nanos(self.now.as_nanos().saturating_add_signed(skew))
    }

    /// When a member's clock shows `local`.
    fn world(&self, member: u16, local: Instant) -> Instant {
        let skew = self.skew.get(&member).copied().unwrap_or(0);
        Instant::from_nanos(local.as_nanos().saturating_add_signed(-skew))
    }

    fn role(&self, node: u16) -> (Role, Reason) {
        let (role, reason, _) = self.nodes[&node].role(VIP).unwrap();
        (role, reason)
    }

    fn open(&self) -> Vec<u16> {
        self.nodes
            .iter()
            .filter(|(number, node)| node.is_open(self.local(**number), VIP))
            .map(|(number, _)| *number)
            .collect()
    }

    /// When a node first did a thing, from `ms` on.
    fn when(&self, node: u16, ms: u64, deed: impl Fn(&Action) -> bool) -> Option<Instant> {
        let mut all = self.log.iter().filter(|(when, who, action)| *when >= at(ms) && *who == node && deed(action));
        all.next().map(|(when, _, _)| *when)
    }

    /// The first of each kind of deed of a node from `ms` on, in their order.
    fn order(&self, node: u16, ms: u64) -> Vec<&'static str> {
        let mut names = Vec::new();
        for (_, _, action) in self.log.iter().filter(|(when, who, _)| *when >= at(ms) && *who == node) {
            let name = match action {
                Action::OpenGate { .. } => "open",
                Action::ShutGate { .. } => "shut",
                Action::AddAddresses { .. } => "add",
                Action::RemoveAddresses { .. } => "remove",
                Action::Announce { .. } => "announce",
                Action::Advertise { advertisement, .. } if advertisement.priority.0 == 0 => "resign",
                Action::Advertise { .. } => "advertise",
                Action::Transition(transition) if transition.to == Role::Master => "master",
                Action::Transition(transition) if transition.from == Role::Master => "no master",
                Action::SendLease { bytes, .. } => match messages(bytes).as_slice() {
                    [Message::Transfer { .. }, ..] => "transfer",
                    [Message::Release { .. }, ..] => "release",
                    _ => continue,
                },
                Action::Stopped => "stopped",
                _ => continue,
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn alerts(&self, node: u16) -> Vec<&'static str> {
        self.nodes[&node].alerts().map(|(name, _)| name.as_str()).collect()
    }

    fn cut_between(&mut self, a: u16, b: u16) {
        self.cut.extend([(a, b), (b, a)]);
    }
}

/// Node 1 is Master, node 2 its Backup, since long.
fn steady(authority: Authority) -> Cluster {
    let mut cluster = Cluster::new(authority);
    cluster.start(1);
    cluster.start(2);
    cluster.run_to(5000);
    assert_eq!(cluster.role(1), (Role::Master, Reason::Elected));
    assert_eq!(cluster.role(2), (Role::Backup, Reason::PeerIsMaster));
    assert_eq!(cluster.open(), [1]);
    cluster.log.clear();
    cluster
}
