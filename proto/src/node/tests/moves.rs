//! From one authority to another while the cluster runs (docs/decisions/0175): a quorum of voters, etcd, and back.

use super::*;
use crate::jitter::Jitter;
use crate::lease::generation::oldest_served;
use crate::lease::record::Record;
use crate::lease::register::keeper::{Generation, Kept, KeptAsk};
use crate::lease::register::{Answer, Ask, Content, Reading, Register, RegisterOutput, RegisterSettings};
use crate::lease::set_digest;
use crate::settings::Move;

const STORE: u16 = u16::MAX;

/// What etcd holds of the one domain, and who asks it.
#[derive(Default)]
pub(super) struct Store {
    revision: u64,
    version: u64,
    content: Option<Content>,
    kept: Kept,
    registers: BTreeMap<u16, Register>,
    /// A mutant: swaps don't name the version of the record of generations.
    forgets_floor: bool,
    is_out: bool,
    /// When two first held, in milliseconds.
    two_at: Option<u64>,
}

impl Store {
    fn carry_out(&mut self, ask: Ask) -> Answer {
        match ask {
            _ if self.is_out => Answer::Unknown,
            Ask::Swap { version, content, kept, .. }
                if version == self.version && (kept == self.kept.version || self.forgets_floor) =>
            {
                self.revision += 1;
                (self.version, self.content) = (self.revision, Some(content));
                Answer::Swapped { version: self.version }
            }
            Ask::Read | Ask::Swap { .. } => {
                let reading =
                    Reading { revision: self.revision, version: self.version, content: self.content, is_orphan: false };
                Answer::Read(reading, self.kept)
            }
        }
    }

    fn carry_out_kept(&mut self, ask: KeptAsk) -> Option<Kept> {
        match ask {
            _ if self.is_out => return None,
            KeptAsk::Write { version, record } if version == self.kept.version => {
                self.revision += 1;
                self.kept = Kept { version: self.revision, record };
            }
            KeptAsk::Read | KeptAsk::Write { .. } => {}
        }
        Some(self.kept)
    }
}

impl Cluster {
    /// The store does at once what is asked, and answers at once.
    pub(super) fn ask_store(&mut self, node: u16, bytes: &[u8]) {
        let now = self.local(node);
        for request in unpack(bytes).unwrap().map(Result::unwrap) {
            let Some(register) = self.store.registers.get_mut(&node) else { return };
            let outputs = register.handle(now, &request);
            self.do_for_register(node, outputs);
        }
    }

    fn do_for_register(&mut self, node: u16, outputs: Vec<RegisterOutput>) {
        let now = self.local(node);
        let lost = self.cut.contains(&(node, STORE));
        let mut outputs = VecDeque::from(outputs);
        while let Some(output) = outputs.pop_front() {
            match output {
                RegisterOutput::Ask { domain, ticket, ask } => {
                    let answer = if lost { Answer::Unknown } else { self.store.carry_out(ask) };
                    if let Some(register) = self.store.registers.get_mut(&node) {
                        outputs.extend(register.answered(now, domain, ticket, &answer));
                    }
                }
                RegisterOutput::AskKept { ticket, ask } => {
                    let kept = if lost { None } else { self.store.carry_out_kept(ask) };
                    if let Some(register) = self.store.registers.get_mut(&node) {
                        register.kept(now, ticket, kept);
                    }
                }
                RegisterOutput::LeaveWord { .. } => {}
                RegisterOutput::Answer(envelope) => {
                    let packed = pack(&[envelope]).into_iter();
                    let from = NodeId::STORE;
                    self.queue.extend(packed.map(|bytes| (node, Event::LeaseReceived { from, bytes })));
                }
            }
        }
    }

    /// Time goes on, and nobody is told of changes of the store but by what he asks.
    fn live(&mut self, ms: u64) -> u64 {
        let from = self.now.as_nanos() / 1_000_000;
        let mut nobody = 0;
        for ms in from + 1..=from + ms {
            self.run_to(ms);
            for node in [1, 2] {
                let now = self.local(node);
                let outputs = self.store.registers.get_mut(&node).map(|register| register.tick(now));
                self.do_for_register(node, outputs.unwrap_or_default());
            }
            self.drain();
            self.store.two_at = self.store.two_at.or((self.open().len() > 1).then_some(ms));
            nobody += u64::from(self.open().is_empty());
        }
        nobody
    }
}

/// The steps of a move from the two nodes and a witness to etcd, or back.
fn step(back: bool, number: u32) -> QuorumSettings {
    let (voters, store) = (vec![id(1), id(2), id(WITNESS)], vec![NodeId::STORE]);
    let (old, new) = if back { (store, voters) } else { (voters, store) };
    let (voters, moving) = match number {
        1 => (old, None),
        2 => (new, Some(Move::Joint(old))),
        3 => (new, Some(Move::After(old))),
        _ => (new, None),
    };
    QuorumSettings { voters, timing: quorum().timing, generation: number.min(3), former: None, moving }
}

/// A cluster whose members are started anew with one step or another; what their voters have on disk they keep.
struct Operator {
    cluster: Cluster,
    back: bool,
    records: BTreeMap<u16, Record>,
    life: u64,
    steps: BTreeMap<u16, u32>,
}

impl Operator {
    fn new(back: bool) -> Self {
        let mut cluster = Cluster::new(Authority::Quorum(step(back, 1)));
        cluster.now = at(1000);
        let mut operator = Operator { cluster, back, records: BTreeMap::new(), life: 1, steps: BTreeMap::new() };
        operator.witness(1);
        [1, 2].into_iter().for_each(|node| operator.start(node, 1));
        operator
    }

    fn witness(&mut self, number: u32) {
        self.life += 1;
        let quorum = step(self.back, number);
        let settings = VoterSettings::new(ClusterId(1), &quorum, [id(1), id(2)].into(), Incarnation(self.life));
        let record = self.cluster.witness.record();
        self.cluster.witness = Voter::new(settings, self.cluster.now, Some(&record));
        self.cluster.give(WITNESS, Event::Tick);
        self.steps.insert(WITNESS, number);
    }

    fn start(&mut self, node: u16, number: u32) {
        self.life += 1;
        let quorum = step(self.back, number);
        let incarnation = Incarnation(self.life << 20);
        let register = RegisterSettings {
            cluster: ClusterId(1),
            digest: config_digest(ClusterId(1), &quorum),
            me: (id(node), incarnation),
            lease_max: quorum.timing.lease_max,
            sessions: false,
            generation: Generation {
                number: quorum.generation,
                serves: oldest_served(quorum.generation, quorum.former().is_some()),
                set: set_digest(ClusterId(1), &quorum),
            },
            domains: vec![VIP],
            guards: Guards::default(),
        };
        self.cluster.store.registers.insert(node, Register::new(register, incarnation));
        let restored = Restored { record: self.records.get(&node).cloned(), held: Vec::new() };
        let settings = settings(node, Authority::Quorum(quorum));
        self.cluster.nodes.insert(node, Node::new(settings, incarnation, restored, self.cluster.now));
        self.cluster.give(node, Event::Tick);
        let (interface, addresses) = (InterfaceId(0), vec![address(node)]);
        self.cluster.give(node, Event::Interface { interface, up: true, addresses });
        self.steps.insert(node, number);
    }

    /// In good order, or all at once: then what it held runs out, or is released by its guardian's heir (R16), which is
    /// the same here.
    fn restart(&mut self, node: u16, number: u32, in_order: bool) -> u64 {
        let mut nobody = 0;
        if in_order {
            self.cluster.give(node, Event::Stop);
            nobody = self.cluster.live(60);
        }
        if let Some(voter) = self.cluster.nodes.remove(&node).as_ref().and_then(Node::voter) {
            self.records.insert(node, voter.record());
        }
        self.start(node, number);
        nobody
    }
}

#[test]
fn a_move_from_voters_to_etcd_and_one_back_cost_handovers_only() {
    for back in [false, true] {
        let mut world = Operator::new(back);
        world.cluster.live(5000);
        assert_eq!(world.cluster.open(), [1], "back: {back}");
        let mut nobody = 0;
        for number in [2, 3, 4] {
            world.witness(number);
            nobody += world.cluster.live(1000);
            for node in [2, 1] {
                nobody += world.restart(node, number, true);
                nobody += world.cluster.live(2000);
                let alerts = || [1, 2].map(|node| world.cluster.alerts(node));
                assert_eq!(world.cluster.open().len(), 1, "back: {back}, step {number}, after node {node}");
                assert!(nobody < 150, "{nobody} ms, back: {back}, step {number}, after node {node}: {:?}", alerts());
            }
        }
        assert!(nobody < 150, "{nobody} ms without a holder in all");
        // Nothing of the old authority is needed any more.
        if back {
            world.cluster.store.is_out = true;
        } else {
            world.cluster.cut_between(1, WITNESS);
            world.cluster.cut_between(2, WITNESS);
            world.cluster.lease_cut = true;
        }
        assert_eq!(world.cluster.live(3000), 0);
        world.restart(1, 4, false);
        world.cluster.live(5000);
        assert_eq!(world.cluster.open().len(), 1, "back: {back}");
        assert_eq!(world.cluster.store.two_at, None, "back: {back}");
    }
}

/// Any step on any member at any time, lines cut as it comes. Returns when two first held.
fn wander(seed: u64, back: bool, change: impl Fn(&mut Operator)) -> Option<u64> {
    let mut rng = Jitter::new(seed);
    let mut below = move |bound: u64| rng.next_u64() % bound;
    let mut world = Operator::new(back);
    change(&mut world);
    world.cluster.live(2000);
    for _ in 0..20 {
        match below(10) {
            0..=3 => {
                let (node, number) = (1 + u16::try_from(below(2)).unwrap(), 1 + u32::try_from(below(4)).unwrap());
                world.restart(node, number, below(2) == 0);
            }
            4 => world.witness(1 + u32::try_from(below(4)).unwrap()),
            5 | 6 => {
                let pairs = [(1, 2), (1, WITNESS), (2, WITNESS), (1, STORE), (2, STORE)];
                let (one, other) = pairs[usize::try_from(below(5)).unwrap()];
                world.cluster.cut_between(one, other);
            }
            _ => world.cluster.cut.clear(),
        }
        world.cluster.live(100 + below(900));
    }
    world.cluster.store.two_at
}

#[test]
fn whatever_the_operator_does_in_whatever_order_two_never_hold_v9() {
    for seed in 0..12 {
        assert_eq!(wander(seed, seed % 2 == 0, |_| {}), None, "seed {seed}");
    }
}

#[test]
fn a_store_that_takes_what_a_closed_generation_writes_lets_two_hold_v9() {
    for forgets_floor in [false, true] {
        let mut world = Operator::new(true);
        world.cluster.store.forgets_floor = forgets_floor;
        world.cluster.live(5000);
        assert_eq!(world.cluster.open(), [1]);
        world.witness(2);
        for (node, number) in [(2, 2), (1, 1)] {
            // Both have to lend to node 2, and so the middle of the move is known to be open.
            world.restart(node, number, true);
            world.cluster.live(2000);
        }
        // Node 1 is left behind, cut off from everything but the store.
        world.cluster.cut_between(1, 2);
        world.cluster.cut_between(1, WITNESS);
        world.witness(3);
        world.cluster.live(1000);
        world.restart(2, 3, true);
        world.cluster.live(3000);
        assert_eq!(world.cluster.store.two_at.is_some(), forgets_floor);
        assert!(world.cluster.open().contains(&2), "who went on holds");
    }
}
