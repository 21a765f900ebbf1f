//! Voter sets that change while the cluster runs (V9).

use super::*;
use crate::lease::record::Record;

const NEW: u16 = 4;

/// Generation 1 is {1, 2, 3}; generation 2 has the witness 4 as well; generation 3 has lost the witness 3.
fn generation(number: u32) -> QuorumSettings {
    let sets: [&[u16]; 3] = [&[1, 2, 3], &[1, 2, 3, 4], &[1, 2, 4]];
    let set = |number: u32| sets[usize::try_from(number - 1).unwrap()].iter().map(|voter| id(*voter)).collect();
    let former = (number > 1).then(|| set(number - 1));
    QuorumSettings { voters: set(number), timing: quorum().timing, generation: number, former, moving: None }
}

fn voter(quorum: &QuorumSettings, life: u64, now: Instant, record: Option<&Record>) -> Voter {
    let settings = VoterSettings::new(ClusterId(1), quorum, [id(1), id(2)].into(), Incarnation(life));
    Voter::new(settings, now, record)
}

/// Stops a node in good order and starts it with another configuration and the record of its voter.
fn restart(cluster: &mut Cluster, node: u16, quorum: QuorumSettings, life: u64) {
    cluster.give(node, Event::Stop);
    cluster.run_for(100);
    let record = cluster.nodes.remove(&node).unwrap().voter().map(Voter::record);
    let restored = Restored { record, held: Vec::new() };
    let settings = settings(node, Authority::Quorum(quorum));
    cluster.nodes.insert(node, Node::new(settings, Incarnation(life), restored, cluster.now));
    cluster.give(node, Event::Tick);
    let (interface, addresses) = (InterfaceId(0), vec![address(node)]);
    cluster.give(node, Event::Interface { interface, up: true, addresses });
}

impl Cluster {
    /// Runs in steps, in none of which two hold, and counts the milliseconds without a holder.
    fn run_for(&mut self, ms: u64) -> u64 {
        let from = self.now.as_nanos() / 1_000_000;
        let mut nobody = 0;
        for ms in from + 1..=from + ms {
            self.run_to(ms);
            assert!(self.open().len() < 2, "two holders at {ms} ms");
            nobody += u64::from(self.open().is_empty());
        }
        nobody
    }
}

#[test]
fn a_witness_is_replaced_by_two_rolling_restarts_that_cost_handovers_only() {
    let mut cluster = Cluster::new(Authority::Quorum(generation(1)));
    cluster.start(1);
    cluster.start(2);
    cluster.run_to(5000);
    assert_eq!(cluster.open(), [1]);
    let mut nobody = 0;
    for number in [2, 3] {
        if number == 3 {
            // The one that will go no longer takes generation 1, so that with two that are restarted a majority
            // of generation 2 does not.
            let closed = QuorumSettings { former: None, ..generation(2) };
            let record = cluster.witness.record();
            cluster.witness = voter(&closed, 2500, cluster.now, Some(&record));
            cluster.give(WITNESS, Event::Tick);
            nobody += cluster.run_for(1000);
        }
        let quorum = generation(number);
        let life = u64::from(number) * 1000;
        // The witnesses first, then the Backup, then the Master: each keeps its record.
        for witness in [WITNESS, NEW].into_iter().filter(|voter| quorum.voters.contains(&id(*voter))) {
            let former = (witness == WITNESS).then(|| cluster.witness.record());
            let former = former.or_else(|| cluster.more.get(&witness).map(Voter::record));
            let restarted = voter(&quorum, life + u64::from(witness), cluster.now, former.as_ref());
            if witness == WITNESS {
                cluster.witness = restarted;
            } else {
                cluster.more.insert(witness, restarted);
            }
            cluster.give(witness, Event::Tick);
            nobody += cluster.run_for(1000);
        }
        for node in [2, 1] {
            restart(&mut cluster, node, quorum.clone(), life + u64::from(node));
            nobody += cluster.run_for(3000);
            assert_eq!(cluster.open().len(), 1, "generation {number}, after node {node}");
        }
    }
    // The former witness is gone for good, and the new one is needed and there.
    cluster.cut_between(1, WITNESS);
    cluster.cut_between(2, WITNESS);
    cluster.cut_between(1, 2);
    nobody += cluster.run_for(2000);
    assert_eq!(cluster.open().len(), 1);
    assert!(nobody < 100, "{nobody} ms without a holder in all");
}

#[test]
fn who_skips_a_generation_gets_nothing_and_is_told_why() {
    let mut cluster = Cluster::new(Authority::Quorum(generation(1)));
    cluster.start(2);
    cluster.run_to(5000);
    assert_eq!(cluster.open(), [2]);
    // Node 1 and the new witness are a majority of {1, 2, 4}, and hear nobody else: of {1, 2, 3} the other two
    // are a majority.
    cluster.cut_between(1, 2);
    cluster.cut_between(1, WITNESS);
    cluster.more.insert(NEW, voter(&generation(3), 77, cluster.now, None));
    cluster.give(NEW, Event::Tick);
    cluster.start_with(1, settings(1, Authority::Quorum(generation(3))));
    cluster.run_for(8000);
    assert_eq!(cluster.open(), [2], "no second majority");
    assert!(cluster.alerts(1).contains(&"voter-set-unproven"), "{:?}", cluster.alerts(1));
    // Nor with the lie that nothing came before.
    let lie = QuorumSettings { former: None, ..generation(3) };
    cluster.nodes.remove(&1);
    cluster.start_with(1, settings(1, Authority::Quorum(lie)));
    cluster.run_for(5000);
    assert_eq!(cluster.open(), [2]);
}

#[test]
fn other_voters_under_the_same_generation_are_refused_by_the_record() {
    let quorum = generation(1);
    let mut before = voter(&quorum, 1, at(0), None);
    let epoch = Epoch { counter: 1, incarnation: Incarnation(1), attempt: 1, node: id(1) };
    let ask = |quorum: &QuorumSettings, nonce, epoch| {
        let digest = config_digest(ClusterId(1), quorum);
        let message = Message::Acquire { epoch, lease: quorum.timing.lease, prev_ack: 0, priority: 100 };
        Envelope { cluster: ClusterId(1), digest, domain: VIP, nonce, message }
    };
    let outputs = before.handle(at(1000), id(1), &ask(&quorum, 1, epoch));
    let [VoterOutput::Persist { bytes, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    let record = Record::parse(bytes).unwrap();
    let changed = QuorumSettings { voters: vec![id(1), id(2), id(NEW)], ..quorum };
    let mut after = voter(&changed, 2, at(2000), Some(&record));
    let epoch = Epoch { counter: 2, node: id(2), ..epoch };
    let outputs = after.handle(at(9000), id(2), &ask(&changed, 2, epoch));
    let [VoterOutput::Send { envelope, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert!(matches!(envelope.message, Message::Refuse { why: RefuseReason::Generation, .. }), "{envelope:?}");
}

#[test]
fn a_voter_that_has_gone_on_never_takes_an_older_generation_again() {
    let last = QuorumSettings { former: None, ..generation(3) };
    let mut gone_on = voter(&last, 1, at(1000), None);
    let outputs = gone_on.tick(at(1000));
    let [VoterOutput::Persist { ticket, bytes }] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert_eq!(gone_on.standing(at(1900)).floor, 1, "not before it is on disk");
    gone_on.persisted(at(2000), *ticket, true);
    let standing = gone_on.standing(at(2700));
    assert_eq!((standing.floor, standing.floor_for), (3, Duration::from_millis(700)));
    // Somebody brings the old configuration back.
    let mut back = voter(&generation(1), 2, at(10_000), Some(&Record::parse(bytes).unwrap()));
    let (digest, message) = (config_digest(ClusterId(1), &generation(1)), Message::Query { priority: 9 });
    let query = Envelope { cluster: ClusterId(1), digest, domain: VIP, nonce: 1, message };
    let outputs = back.handle(at(20_000), id(1), &query);
    let [VoterOutput::Send { envelope, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert!(matches!(envelope.message, Message::Refuse { why: RefuseReason::Generation, .. }), "{envelope:?}");
}

/// Where only witnesses vote `keepone authority` asks the nodes as well: it must not go on while one is left behind.
#[test]
fn a_node_without_a_vote_says_by_which_generation_it_goes() {
    let witnesses = QuorumSettings { voters: vec![id(WITNESS)], former: None, ..generation(2) };
    let mut cluster = Cluster::new(Authority::Quorum(witnesses));
    cluster.start(1);
    let domain = DomainId(0);
    let ask = |message| Envelope { cluster: ClusterId(1), digest: digest(), domain, nonce: 77, message };
    let before = cluster.log.len();
    // A second question, which only a voter could answer.
    let asked = [ask(Message::Inspect), ask(Message::Query { priority: 100 })];
    for bytes in pack(&asked) {
        cluster.give(1, Event::LeaseReceived { from: id(2), bytes });
    }
    let sent = cluster.log.iter().skip(before).filter_map(|(_, _, action)| match action {
        Action::SendLease { to, bytes } if *to == id(2) => Some(bytes),
        _ => None,
    });
    let answers: Vec<Envelope> = sent.flat_map(|bytes| unpack(bytes).unwrap().map(Result::unwrap)).collect();
    let [Envelope { nonce: 77, digest, message: Message::Report { standing, .. }, .. }] = answers.as_slice() else {
        panic!("{answers:?}")
    };
    assert_eq!(*digest, config_digest(ClusterId(1), &quorum_of(&cluster.authority)));
    assert_eq!((standing.generation, standing.floor, standing.opened.generation), (2, 0, 0));
}

#[test]
fn a_node_that_is_no_voter_any_more_still_bears_out_that_the_set_before_is_closed() {
    let set = |voters: &[u16], generation: u32, former: &[u16]| {
        let ids = |voters: &[u16]| voters.iter().map(|voter| id(*voter)).collect::<Vec<_>>();
        let (voters, former) = (ids(voters), Some(ids(former)));
        QuorumSettings { voters, timing: quorum().timing, generation, former, moving: None }
    };
    let mut cluster = Cluster::new(Authority::Quorum(generation(1)));
    cluster.start(1);
    cluster.start(2);
    cluster.run_to(5000);
    assert_eq!(cluster.open(), [1]);
    // First the witness goes, then one of the two that are left: of the set before, both are needed.
    for quorum in [set(&[1, 2], 2, &[1, 2, 3]), set(&[2], 3, &[1, 2])] {
        for node in [2, 1] {
            restart(&mut cluster, node, quorum.clone(), u64::from(quorum.generation) * 1000 + u64::from(node));
            cluster.run_for(3000);
        }
        assert_eq!(cluster.open().len(), 1, "generation {}: {:?}", quorum.generation, cluster.alerts(1));
    }
}
