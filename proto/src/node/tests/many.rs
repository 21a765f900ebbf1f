//! Many domains on one node: what travels, and what it costs.

extern crate std;

use super::*;

/// The settings of a node with so many domains, each of one virtual router.
fn many(node: u16, domains: u16) -> Settings {
    let one = settings(node, Authority::Quorum(quorum()));
    let instance = |number: u16| InstanceSettings {
        name: alloc::format!("vip{number}"),
        vrid: Vrid::new(u8::try_from(number % 255 + 1).unwrap()).unwrap(),
        interface: InterfaceId(number / 255),
        ..one.instances[0].clone()
    };
    let domain = |number: u16| DomainSettings {
        id: DomainId(u64::from(number) + 1),
        name: alloc::format!("vip{number}"),
        instances: vec![InstanceId(number)],
        ..one.domains[0].clone()
    };
    let interface =
        |number: u16| InterfaceSettings { name: alloc::format!("lan{number}"), delays: LinkDelays::default() };
    Settings {
        interfaces: (0..=domains / 255).map(interface).collect(),
        instances: (0..domains).map(instance).collect(),
        domains: (0..domains).map(domain).collect(),
        ..one
    }
}

fn start(domains: u16) -> Cluster {
    let mut cluster = Cluster::arbitrated();
    for node in [1, 2] {
        cluster.start_with(node, many(node, domains));
        for number in 1..=domains / 255 {
            let (interface, addresses) = (InterfaceId(number), vec![address(node)]);
            cluster.give(node, Event::Interface { interface, up: true, addresses });
        }
    }
    cluster.run_to(4000);
    let roles = (1..=u64::from(domains)).map(|id| cluster.nodes[&1].role(DomainId(id)).unwrap().0);
    assert!(roles.into_iter().all(|role| role == Role::Master));
    cluster
}

#[test]
fn the_renewals_of_fifty_domains_travel_in_three_datagrams_a_voter() {
    let mut cluster = start(50);
    cluster.log.clear();
    let intervals = 10;
    let lasts = quorum().timing.renewal_interval() * intervals;
    cluster.run_to(4000 + u64::try_from(lasts.as_millis()).unwrap());
    for voter in [2, WITNESS] {
        let mut acquires = 0;
        let (mut datagrams, mut others) = (0, 0);
        for (_, who, action) in &cluster.log {
            let Action::SendLease { to, bytes } = action else { continue };
            if *who == 1 && *to == id(voter) {
                let renewals = messages(bytes).iter().filter(|said| matches!(said, Message::Acquire { .. })).count();
                *(if renewals > 0 { &mut datagrams } else { &mut others }) += 1;
                acquires += renewals;
            }
        }
        assert_eq!((acquires, datagrams), (500, 30), "to voter {voter} in {intervals} intervals");
        // What the own voter answers to who stands by and asks how it stands, once in a second.
        assert!(others <= 1, "{others} more to voter {voter}");
    }
    // The answers of the other node's voter, each with its stamp, are a little longer: two for each full one.
    let grants = |bytes: &[u8]| messages(bytes).iter().any(|said| matches!(said, Message::Grant { .. }));
    let answers = cluster
        .log
        .iter()
        .filter(|(_, who, action)| matches!(action, Action::SendLease { bytes, .. } if *who == 2 && grants(bytes)));
    assert_eq!(answers.count(), 50);
}

#[test]
fn what_concerns_one_domain_is_not_judged_for_all() {
    let mut cluster = start(50);
    let node = cluster.nodes.get_mut(&1).unwrap();
    let now = cluster.now;
    node.handle(now, Event::Tick);
    let before = node.judged();
    let epoch = node.epoch(DomainId(1)).unwrap();
    let until = Some(now + Duration::from_millis(100));
    node.handle(now, Event::GateWritten { domain: DomainId(1), epoch, until, error: None });
    assert!(node.judged() - before <= 2, "{} domains judged", node.judged() - before);
}

#[test]
fn most_advertisements_leave_without_a_judgement_of_their_domain() {
    let mut cluster = Cluster::arbitrated();
    let mut alone = many(1, 20);
    alone.peers = Vec::new();
    alone.references.targets = Vec::new();
    alone.domains.iter_mut().for_each(|domain| domain.authority = Authority::None);
    alone.instances.iter_mut().for_each(|instance| instance.advert_int = Duration::from_millis(10));
    cluster.start_with(1, alone);
    cluster.run_to(5000);
    cluster.log.clear();
    let before = cluster.nodes[&1].judged();
    cluster.run_to(6000);
    let judged = cluster.nodes[&1].judged() - before;
    let sent = cluster.log.iter().filter(|(_, _, action)| matches!(action, Action::Advertise { .. })).count();
    assert!((1980..=2020).contains(&sent), "{sent} Advertisements of 20 virtual routers in a second");
    assert!(judged * 2 < sent as u64, "{judged} judgements for {sent} Advertisements");
}

/// F65: a node with a thousand domains. Run it with `cargo test --release -p keepone-proto -- --ignored
/// a_thousand --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_thousand_domains_cost_little() {
    let mut cluster = start(1000);
    cluster.log.clear();
    let began = std::time::Instant::now();
    cluster.run_to(14_000);
    let took = began.elapsed();
    let datagrams = cluster.log.iter().filter(|(_, _, action)| matches!(action, Action::SendLease { .. })).count();
    let judged: u64 = cluster.nodes.values().map(Node::judged).sum();
    std::println!(
        "two nodes and a witness of 1000 domains, 10 s: {took:?} of one core for all three, {datagrams} lease \
         datagrams, {} actions, {judged} judgements since the start",
        cluster.log.len()
    );
}

#[test]
fn a_node_without_peers_stands_when_its_timer_ends_though_nothing_has_happened_meanwhile() {
    let mut cluster = Cluster::arbitrated();
    let mut alone = settings(1, Authority::None);
    (alone.peers, alone.references.targets) = (Vec::new(), Vec::new());
    cluster.start_with(1, alone);
    cluster.run_to(5000);
    assert_eq!(cluster.nodes[&1].role(VIP).unwrap().0, Role::Master);
}

#[test]
fn addresses_live_the_longer_the_more_there_are_where_only_advertisements_tell_of_us() {
    for (held, lives) in [(1, 30), (3000, 30), (20_000, 200)] {
        let mut settings = settings(1, Authority::None);
        settings.peers.clear();
        settings.domains[0].held = held;
        let mut cluster = Cluster::new(Authority::None);
        cluster.start_with(1, settings);
        cluster.run_to(9000);
        let set = cluster.log.iter().filter_map(|(_, _, action)| match action {
            Action::AddAddresses { lifetime_s, .. } => Some(*lifetime_s),
            _ => None,
        });
        assert_eq!(set.collect::<Vec<_>>(), [lives], "of {held}");
    }
}
