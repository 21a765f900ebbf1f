//! Any number of agents and witnesses on one LAN.

use super::*;
use crate::settings::{Families, MirrorSettings, Policy};
use crate::wire::vrrp::Checksum;

/// The first witness; agents count from 1.
pub(super) const WITNESSES: u16 = 11;

/// Agents and witnesses whose kernels and lines do at once what they are asked, unless they are cut.
pub(super) struct Lan {
    pub(super) now: Instant,
    pub(super) settings: Vec<Settings>,
    pub(super) nodes: BTreeMap<u16, Node>,
    pub(super) witnesses: BTreeMap<u16, Voter>,
    pub(super) queue: VecDeque<(u16, Event)>,
    /// What goes from the first to the second is lost.
    pub(super) cut: BTreeSet<(u16, u16)>,
    /// Answers to promises that are held back, to be delivered by hand.
    pub(super) held_back: Option<Vec<(u16, Event)>>,
    /// The gateway's answers to the virtual address go elsewhere.
    pub(super) mirror_lost: bool,
    pub(super) lives: u64,
    pub(super) log: Vec<(Instant, u16, Action)>,
}

impl Lan {
    /// `agents` agents, of which node 1 is the best; three witnesses vote, or nobody.
    pub(super) fn new(agents: u16, policy: Option<Policy>) -> Self {
        Lan::with(agents, policy, |_| {})
    }

    /// The same with other settings.
    pub(super) fn with(agents: u16, policy: Option<Policy>, change: impl Fn(&mut Settings)) -> Self {
        let voters = (WITNESSES..WITNESSES + 3).map(id).collect();
        let quorum = QuorumSettings::new(voters, LeaseTiming::for_lease(Duration::from_millis(500)));
        let digest = config_digest(ClusterId(1), &quorum);
        let authority = if policy.is_some() { Authority::Quorum(quorum.clone()) } else { Authority::None };
        let settings = (1..=agents).map(|node| {
            let mut settings = settings(1, authority.clone());
            (settings.node, settings.digest, settings.seed) = (id(node), digest, node.into());
            let peers = (1..=agents).filter(|peer| *peer != node);
            settings.peers = peers.map(|peer| PeerSettings { node: id(peer), links: vec![LinkId(0)] }).collect();
            // Nobody is asked to hand over, so that what moves has moved by these rules.
            settings.instances[0].preempt = false;
            settings.instances[0].priority = Priority(u8::try_from(210 - 10 * node).unwrap());
            settings.domains[0].families = Families { v4: true, v6: false };
            settings.domains[0].policy = policy.unwrap_or_default();
            let (address, gateway) = (IpAddr::from([192, 0, 2, 100]), IpAddr::from([192, 0, 2, 254]));
            settings.domains[0].mirrors = vec![MirrorSettings { address, gateway }];
            change(&mut settings);
            settings
        });
        let settings: Vec<Settings> = settings.collect();
        let witness = |number: u16| {
            let candidates = (1..=agents).map(id).collect();
            let voter = VoterSettings::new(ClusterId(1), &quorum, candidates, Incarnation(number.into()));
            (number, Voter::new(voter, at(0), None))
        };
        let witnesses = (WITNESSES..WITNESSES + 3).filter(|_| policy.is_some()).map(witness).collect();
        let mut lan = Lan {
            now: at(1000),
            settings,
            nodes: BTreeMap::new(),
            witnesses,
            queue: VecDeque::new(),
            cut: BTreeSet::new(),
            held_back: None,
            mirror_lost: false,
            lives: 0,
            log: Vec::new(),
        };
        (1..=agents).for_each(|node| lan.start(node));
        lan.run_to(5000);
        assert_eq!((lan.role(1), lan.open()), ((Role::Master, Reason::Elected), vec![1]));
        lan.log.clear();
        lan
    }

    /// Starts a node, or starts it again.
    pub(super) fn start(&mut self, node: u16) {
        self.lives += 1;
        let settings = self.settings[usize::from(node) - 1].clone();
        let started = Node::new(settings, Incarnation(self.lives), Restored::default(), self.now);
        self.nodes.insert(node, started);
        self.give(node, Event::Tick);
        let (interface, addresses) = (InterfaceId(0), vec![address(node)]);
        self.give(node, Event::Interface { interface, up: true, addresses });
    }

    pub(super) fn give(&mut self, node: u16, event: Event) {
        self.queue.push_back((node, event));
        while let Some((to, event)) = self.queue.pop_front() {
            if to >= WITNESSES {
                self.ask_witness(to, &event);
            } else if let Some(node) = self.nodes.get_mut(&to) {
                for action in handle(node, self.now, event) {
                    self.carry_out(to, action);
                }
            }
            assert!(self.open().len() <= 1 || self.may_double(), "{:?} at {:?}", self.open(), self.now);
        }
    }

    /// Two holders are possible without an authority, or where the operator accepts them.
    pub(super) fn may_double(&self) -> bool {
        self.witnesses.is_empty() || self.settings[0].domains[0].policy == Policy::AcceptDualMaster
    }

    pub(super) fn ask_witness(&mut self, witness: u16, event: &Event) {
        let Some(voter) = self.witnesses.get_mut(&witness) else { return };
        let mut outputs = match event {
            Event::LeaseReceived { from, bytes } => {
                voter.handle_all(self.now, *from, &unpack(bytes).unwrap().map(Result::unwrap).collect::<Vec<_>>())
            }
            _ => voter.tick(self.now),
        };
        let mut answers = Vec::new();
        while let Some(output) = outputs.pop() {
            match output {
                VoterOutput::Persist { ticket, .. } => outputs.extend(voter.persisted(self.now, ticket, true)),
                VoterOutput::Send { to, envelope } => answers.push((to, envelope)),
            }
        }
        answers.into_iter().for_each(|(to, envelope)| self.send(witness, to, envelope.emit()));
    }

    pub(super) fn send(&mut self, from: u16, to: NodeId, bytes: Vec<u8>) {
        if self.cut.contains(&(from, to.get())) {
            return;
        }
        let promised = messages(&bytes).iter().any(|said| matches!(said, Message::Promised { .. }));
        let event = Event::LeaseReceived { from: id(from), bytes };
        match &mut self.held_back {
            Some(held_back) if promised => held_back.push((to.get(), event)),
            Some(_) | None => self.queue.push_back((to.get(), event)),
        }
    }

    pub(super) fn carry_out(&mut self, node: u16, action: Action) {
        self.log.push((self.now, node, action.clone()));
        let reply = match action {
            Action::OpenGate { domain, epoch, until } => {
                Event::GateWritten { domain, epoch, until: Some(until), error: None }
            }
            Action::ShutGate { domain, epoch } => Event::GateWritten { domain, epoch, until: None, error: None },
            Action::AddAddresses { domain, epoch, .. } => {
                Event::AddressesDone { domain, epoch, present: true, error: None }
            }
            Action::RemoveAddresses { domain, epoch } => {
                Event::AddressesDone { domain, epoch, present: false, error: None }
            }
            Action::TestGate { number } => {
                Event::GateTest { number, strength: GateStrength::Strong, fault: String::new() }
            }
            Action::Ping { reference } => Event::Pinged { reference, rtt: Some(Duration::from_millis(1)) },
            Action::Persist { ticket, .. } => Event::Persisted { ticket, error: None },
            Action::Mirror { domain, place } => {
                Event::Mirrored { domain, place, own: true, virtual_one: !self.mirror_lost }
            }
            Action::SendBeat { link, to, bytes } => {
                if !self.cut.contains(&(node, to.get())) {
                    self.queue.push_back((to.get(), Event::BeatReceived { link, from: id(node), bytes }));
                }
                return;
            }
            Action::SendLease { to, bytes } => return self.send(node, to, bytes),
            Action::Advertise { advertisement, .. } => {
                let (source, destination) = (address(node), IpAddr::from([224, 0, 0, 18]));
                let bytes = advertisement.emit(source, destination, Checksum::PseudoHeader).unwrap();
                let others: Vec<u16> = self.nodes.keys().copied().filter(|other| *other != node).collect();
                for other in others.into_iter().filter(|other| !self.cut.contains(&(node, *other))) {
                    let (interface, hop_limit, bytes) = (InterfaceId(0), 255, bytes.clone());
                    let event = Event::VrrpReceived { interface, source, destination, hop_limit, bytes };
                    self.queue.push_back((other, event));
                }
                return;
            }
            _ => return,
        };
        self.queue.push_back((node, reply));
    }

    pub(super) fn run_to(&mut self, ms: u64) {
        loop {
            let due = self.nodes.iter().filter_map(|(number, node)| Some((node.next_deadline()?, *number)));
            let witnesses = self.witnesses.iter().filter_map(|(number, w)| Some((w.next_deadline()?, *number)));
            match due.chain(witnesses).min().filter(|(due, _)| *due <= at(ms)) {
                Some((due, who)) => {
                    self.now = self.now.max(due);
                    self.give(who, Event::Tick);
                }
                None => break,
            }
        }
        self.now = at(ms);
    }

    pub(super) fn role(&self, node: u16) -> (Role, Reason) {
        let (role, reason, _) = self.nodes[&node].role(VIP).unwrap();
        (role, reason)
    }

    pub(super) fn open(&self) -> Vec<u16> {
        self.nodes.iter().filter(|(_, node)| node.is_open(self.now, VIP)).map(|(number, _)| *number).collect()
    }

    pub(super) fn alerts(&self, node: u16) -> Vec<&'static str> {
        self.nodes[&node].alerts().map(|(name, _)| name.as_str()).collect()
    }

    pub(super) fn cut_between(&mut self, a: u16, b: u16) {
        self.cut.extend([(a, b), (b, a)]);
    }

    /// No agent reaches a witness any more.
    pub(super) fn cut_witnesses(&mut self) {
        let agents = u16::try_from(self.settings.len()).unwrap();
        for agent in 1..=agents {
            self.cut_witnesses_from(agent);
        }
    }

    pub(super) fn cut_witnesses_from(&mut self, agent: u16) {
        (WITNESSES..WITNESSES + 3).for_each(|witness| self.cut_between(agent, witness));
    }

    pub(super) fn when(&self, node: u16, ms: u64, deed: impl Fn(&Action) -> bool) -> Option<Instant> {
        let mut all = self.log.iter().filter(|(when, who, action)| *when >= at(ms) && *who == node && deed(action));
        all.next().map(|(when, _, _)| *when)
    }

    /// The evidence of a node's last change of role.
    pub(super) fn evidence(&self, node: u16) -> &str {
        let told = self.log.iter().rev().find_map(|(_, who, action)| match action {
            Action::Transition(told) if *who == node => Some(told.evidence.as_str()),
            _ => None,
        });
        told.unwrap()
    }
}
