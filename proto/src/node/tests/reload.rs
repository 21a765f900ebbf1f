//! Another configuration for a node that runs: what is equal goes on, what is gone ends in good order.

use super::*;
use crate::id::ScriptId;
use crate::settings::{ScriptSettings, Track, Tracker};

const OTHER: DomainId = DomainId(8);

/// A second virtual router, in a domain of its own, beside the first.
fn with_another(mut settings: Settings) -> Settings {
    let mut instance = settings.instances[0].clone();
    instance.name = "other".into();
    instance.vrid = Vrid::new(52).unwrap();
    instance.addresses = vec![IpAddr::from([192, 0, 2, 101])];
    settings.instances.push(instance);
    let place = InstanceId(u16::try_from(settings.instances.len() - 1).unwrap());
    let domain =
        DomainSettings { id: OTHER, name: "other".into(), instances: vec![place], ..settings.domains[0].clone() };
    settings.domains.push(domain);
    settings
}

fn of(node: u16) -> Settings {
    settings(node, Authority::Quorum(quorum()))
}

fn reload(cluster: &mut Cluster, node: u16, settings: Settings) {
    cluster.give(node, Event::Reconfigure(alloc::boxed::Box::new(settings)));
}

/// Both nodes run, the first is Master.
fn running(make: impl Fn(u16) -> Settings) -> Cluster {
    let mut cluster = Cluster::new(Authority::Quorum(quorum()));
    for node in [1, 2] {
        cluster.start_with(node, make(node));
    }
    // Whatever follows a start has been announced.
    cluster.run_to(8000);
    assert_eq!(cluster.open(), [1]);
    cluster.log.clear();
    cluster
}

/// What the first node did, of one domain, without what it does all the time.
fn deeds(cluster: &Cluster, domain: DomainId) -> Vec<&Action> {
    let of_it = |action: &&Action| match action {
        Action::ShutGate { domain: of, .. }
        | Action::AddAddresses { domain: of, .. }
        | Action::RemoveAddresses { domain: of, .. }
        | Action::Announce { domain: of, .. }
        | Action::Retired { domain: of } => *of == domain,
        Action::Transition(transition) => transition.domain == domain,
        _ => false,
    };
    cluster.log.iter().filter(|(_, node, _)| *node == 1).map(|(_, _, action)| action).filter(of_it).collect()
}

fn longest_between_advertisements(cluster: &Cluster) -> Duration {
    let sent = cluster
        .log
        .iter()
        .filter(|(_, node, action)| *node == 1 && matches!(action, Action::Advertise { instance: InstanceId(0), .. }));
    let at: Vec<Instant> = sent.map(|(at, _, _)| *at).collect();
    at.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap()
}

#[test]
fn a_domain_that_stays_equal_learns_of_no_other_that_comes_and_goes() {
    let mut cluster = running(of);
    let epoch = cluster.nodes[&1].epoch(VIP);
    for node in [1, 2] {
        reload(&mut cluster, node, with_another(of(node)));
    }
    cluster.run_to(12_000);
    let role = |cluster: &Cluster, domain| cluster.nodes[&1].role(domain).map(|(role, ..)| role);
    assert_eq!((role(&cluster, VIP), role(&cluster, OTHER)), (Some(Role::Master), Some(Role::Master)));
    for node in [1, 2] {
        reload(&mut cluster, node, of(node));
    }
    cluster.run_to(16_000);
    assert_eq!((role(&cluster, VIP), role(&cluster, OTHER)), (Some(Role::Master), None));
    let renewed = deeds(&cluster, VIP).into_iter().all(|action| matches!(action, Action::AddAddresses { .. }));
    assert!(renewed, "{:?}", deeds(&cluster, VIP));
    assert_eq!(cluster.nodes[&1].epoch(VIP), epoch);
    assert_eq!(longest_between_advertisements(&cluster), Duration::from_millis(200));
    let ends: Vec<&Action> =
        deeds(&cluster, OTHER).into_iter().filter(|action| !matches!(action, Action::Announce { .. })).collect();
    let [.., Action::ShutGate { .. }, Action::RemoveAddresses { .. }, Action::Transition(last), Action::Retired { .. }] =
        ends.as_slice()
    else {
        panic!("{ends:?}")
    };
    assert_eq!((last.to, last.reason), (Role::Init, Reason::Stopping));
}

#[test]
fn one_that_only_this_node_has_no_more_goes_to_the_other_which_hears_of_its_end() {
    let mut cluster = running(|node| with_another(of(node)));
    reload(&mut cluster, 1, of(1));
    cluster.run_to(8100);
    let holds = |cluster: &Cluster, node: u16| cluster.nodes[&node].is_open(cluster.now, OTHER);
    assert!(holds(&cluster, 2) && !holds(&cluster, 1), "handed over, which takes no lease");
    cluster.run_to(12_000);
    assert!(cluster.nodes[&1].role(OTHER).is_none() && holds(&cluster, 2));
    let said = cluster.nodes[&2].peers[&id(1)].domain(OTHER).unwrap();
    assert_eq!((said.role, said.holding), (Role::Init, false), "its last word");
}

#[test]
fn other_addresses_of_a_master_are_set_and_announced_under_the_same_epoch() {
    let mut cluster = running(of);
    let epoch = cluster.nodes[&1].epoch(VIP);
    let mut new = of(1);
    new.instances[0].addresses.push(IpAddr::from([192, 0, 2, 111]));
    new.domains[0].shape = 1;
    reload(&mut cluster, 1, new);
    let now = cluster.now;
    let done: Vec<_> = cluster.log.iter().filter(|(at, node, _)| (*at, *node) == (now, 1)).map(|(.., a)| a).collect();
    let place = |wanted: fn(&Action) -> bool| done.iter().position(|action| wanted(action)).unwrap();
    let (set, told) =
        (place(|a| matches!(a, Action::AddAddresses { .. })), place(|a| matches!(a, Action::Announce { .. })));
    assert!(set < told, "{done:?}");
    cluster.run_to(10_000);
    assert!(deeds(&cluster, VIP).iter().all(|a| matches!(a, Action::AddAddresses { .. } | Action::Announce { .. })));
    assert_eq!((cluster.nodes[&1].epoch(VIP), cluster.open()), (epoch, vec![1]));
    assert_eq!(longest_between_advertisements(&cluster), Duration::from_millis(200));
    let told = cluster.log.iter().rev().find_map(|(_, node, action)| match action {
        Action::Advertise { advertisement, .. } if *node == 1 => Some(advertisement.addresses.len()),
        _ => None,
    });
    assert_eq!(told, Some(2));
}

#[test]
fn a_backup_takes_new_addresses_out_before_it_goes_on() {
    let mut cluster = running(of);
    reload(
        &mut cluster,
        2,
        Settings { domains: vec![DomainSettings { shape: 1, ..of(2).domains[0].clone() }], ..of(2) },
    );
    let out = cluster.when(2, 0, |action| matches!(action, Action::RemoveAddresses { .. }));
    assert_eq!(out, Some(cluster.now), "whoever had set them here before (R12)");
    assert_eq!(cluster.open(), [1]);
}

#[test]
fn another_vrid_is_another_router_and_its_epoch_comes_after_the_former_one() {
    let mut cluster = running(of);
    let epoch = cluster.nodes[&1].epoch(VIP).unwrap();
    for node in [1, 2] {
        let mut new = of(node);
        new.instances.push(InstanceSettings { vrid: Vrid::new(99).unwrap(), ..new.instances[0].clone() });
        new.domains[0].instances = vec![InstanceId(1)];
        reload(&mut cluster, node, new);
    }
    cluster.run_to(12_000);
    assert_eq!(cluster.open(), [1]);
    let next = cluster.nodes[&1].epoch(VIP).unwrap();
    assert!(next > epoch && next.attempt > epoch.attempt, "{epoch:?}, then {next:?}");
    let all = deeds(&cluster, VIP);
    let retired = all.iter().position(|action| matches!(action, Action::Retired { .. })).unwrap();
    assert!(matches!(all[retired + 1], Action::RemoveAddresses { .. }), "its first deed (R12): {all:?}");
    let vrids = cluster.log.iter().rev().find_map(|(_, node, action)| match action {
        Action::Advertise { instance, advertisement } if *node == 1 => Some((*instance, advertisement.vrid.get())),
        _ => None,
    });
    assert_eq!(vrids, Some((InstanceId(1), 99)));
}

#[test]
fn priority_and_interval_change_while_it_holds() {
    let mut cluster = running(of);
    let epoch = cluster.nodes[&1].epoch(VIP);
    let mut new = of(1);
    new.instances[0].priority = Priority(180);
    new.instances[0].advert_int = Duration::from_millis(100);
    reload(&mut cluster, 1, new.clone());
    cluster.run_to(10_000);
    assert_eq!(cluster.nodes[&1].role(VIP).map(|(role, _, priority)| (role, priority.0)), Some((Role::Master, 180)));
    let renewed = deeds(&cluster, VIP).into_iter().all(|action| matches!(action, Action::AddAddresses { .. }));
    assert!(renewed && cluster.nodes[&1].epoch(VIP) == epoch, "{:?}", deeds(&cluster, VIP));
    assert_eq!(longest_between_advertisements(&cluster), Duration::from_millis(100));
    new.instances[0].priority = Priority(50);
    reload(&mut cluster, 1, new);
    cluster.run_to(11_000);
    assert_eq!(cluster.open(), [2], "the better one asks for it");
}

#[test]
fn a_script_keeps_its_verdict_a_changed_one_too_and_one_that_is_gone_is_not_run() {
    let script = |fall| ScriptSettings {
        name: "chk".into(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rise: 1,
        fall,
        init_fail: false,
    };
    let tracking = |node: u16, scripts: Vec<ScriptSettings>, at: Option<u16>| {
        let mut settings = Settings { scripts, ..of(node) };
        settings.instances[0].track_others = at
            .map(|at| Track { tracker: Tracker::Script(ScriptId(at)), weight: 0, reverse: false })
            .into_iter()
            .collect();
        settings
    };
    let mut cluster = running(|node| tracking(node, vec![script(2)], Some(0)));
    cluster.scripts_hang.insert(1);
    reload(&mut cluster, 1, tracking(1, vec![script(2), script(3)], Some(1)));
    cluster.run_to(8500);
    assert_eq!(cluster.open(), [1], "nothing is known of it, but what was known before");
    let runs = |cluster: &Cluster, script: u16, since: u64| {
        let is_it = |action: &Action| matches!(action, Action::RunScript { script: id, .. } if id.0 == script);
        cluster.log.iter().filter(|(t, node, action)| *node == 1 && *t > at(since) && is_it(action)).count()
    };
    cluster.run_to(11_000);
    assert_eq!(runs(&cluster, 0, 8000), 0);
    reload(&mut cluster, 1, tracking(1, vec![script(2), script(3)], None));
    cluster.run_to(20_000);
    assert_eq!((runs(&cluster, 1, 11_000), cluster.open()), (0, vec![1]));
}

#[test]
fn a_new_reference_takes_nothing_from_anybody_before_it_has_been_asked() {
    let mut cluster = running(of);
    let mut new = of(1);
    new.references.targets = vec![IpAddr::from([192, 0, 2, 253])];
    cluster.references_lost.insert(1);
    reload(&mut cluster, 1, new);
    assert_eq!(cluster.open(), [1]);
    cluster.run_to(10_000);
    assert_eq!(cluster.open(), [2], "and it counts once it is known");
}

#[test]
fn without_anybody_but_advertisements_the_gate_is_open_no_further_ahead_than_the_new_interval_allows() {
    let alone = |interval: u64| {
        let mut settings = Settings { peers: Vec::new(), ..settings(1, Authority::None) };
        settings.instances[0].advert_int = Duration::from_millis(interval);
        settings.references.targets.clear();
        settings
    };
    let mut cluster = Cluster::new(Authority::None);
    cluster.start_with(1, alone(1000));
    cluster.run_to(9000);
    assert_eq!(cluster.open(), [1], "a second without an event is no sleep");
    cluster.log.clear();
    reload(&mut cluster, 1, alone(100));
    let until = |cluster: &Cluster| {
        cluster.log.iter().rev().find_map(|(_, _, action)| match action {
            Action::OpenGate { until, .. } => Some(*until),
            _ => None,
        })
    };
    assert!(until(&cluster).is_some_and(|until| until < at(9300)), "{:?}", until(&cluster));
    cluster.run_to(12_000);
    assert_eq!(cluster.open(), [1]);
    assert!(deeds(&cluster, VIP).iter().all(|deed| matches!(deed, Action::AddAddresses { .. })));
}

#[test]
fn its_last_word_is_said_for_a_silence_so_that_a_lost_beat_leaves_nobody_with_the_one_before() {
    let mut cluster = running(|node| with_another(of(node)));
    cluster.links_cut.insert(LinkId(0));
    reload(&mut cluster, 1, of(1));
    cluster.run_to(8150);
    cluster.links_cut.clear();
    cluster.run_to(9000);
    let said = cluster.nodes[&2].peers[&id(1)].domain(OTHER).unwrap();
    assert_eq!((said.role, said.holding), (Role::Init, false));
}

/// A second virtual router in the domain of the first.
fn with_a_member(mut settings: Settings) -> Settings {
    let mut instance = settings.instances[0].clone();
    instance.name = "member".into();
    instance.vrid = Vrid::new(52).unwrap();
    instance.addresses = vec![IpAddr::from([192, 0, 2, 101])];
    settings.instances.push(instance);
    let place = InstanceId(u16::try_from(settings.instances.len() - 1).unwrap());
    settings.domains[0].instances.push(place);
    settings.domains[0].shape = 1;
    settings
}

#[test]
fn a_group_takes_in_a_router_and_parts_with_it_under_one_lease() {
    let mut cluster = running(of);
    let epoch = cluster.nodes[&1].epoch(VIP);
    for node in [2, 1] {
        reload(&mut cluster, node, with_a_member(of(node)));
    }
    let member = InstanceId(1);
    let of_member = |cluster: &Cluster, node: u16| -> Vec<u8> {
        let said = |(_, from, action): &(Instant, u16, Action)| match action {
            Action::Advertise { instance, advertisement } if *instance == member && *from == node => {
                Some(advertisement.priority.0)
            }
            _ => None,
        };
        cluster.log.iter().filter_map(said).collect()
    };
    let of_first = |at: &(Instant, u16, Action)| at.1 == 1;
    let first: Vec<&Action> = cluster.log.iter().filter(|at| of_first(at)).map(|(.., action)| action).collect();
    let place = |wanted: &dyn Fn(&Action) -> bool| first.iter().position(|action| wanted(action)).unwrap();
    let set = place(&|action| matches!(action, Action::AddAddresses { .. }));
    let told = place(&|action| matches!(action, Action::Announce { instance, .. } if *instance == member));
    let said = place(&|action| matches!(action, Action::Advertise { instance, .. } if *instance == member));
    assert!(set < told && told < said, "R3: {first:?}");
    cluster.run_to(10_000);
    assert!(of_member(&cluster, 1).len() > 8 && of_member(&cluster, 2).is_empty());
    for node in [2, 1] {
        reload(&mut cluster, node, of(node));
    }
    let said = of_member(&cluster, 1).len();
    assert_eq!(of_member(&cluster, 1).last(), Some(&0), "its peers need not wait for its silence");
    cluster.run_to(13_000);
    assert_eq!(of_member(&cluster, 1).len(), said, "nobody advertises it any more");
    assert_eq!((cluster.nodes[&1].epoch(VIP), cluster.open()), (epoch, vec![1]));
    assert_eq!(longest_between_advertisements(&cluster), Duration::from_millis(200));
    assert!(deeds(&cluster, VIP).iter().all(|a| matches!(a, Action::AddAddresses { .. } | Action::Announce { .. })));
}

#[test]
fn a_router_that_joins_on_an_interface_of_which_nothing_is_known_yet_takes_nothing_from_its_group() {
    let mut cluster = running(of);
    let epoch = cluster.nodes[&1].epoch(VIP);
    let mut new = with_a_member(of(1));
    let place = InterfaceId(u16::try_from(new.interfaces.len()).unwrap());
    new.interfaces.push(InterfaceSettings { name: "new0".into(), ..new.interfaces[0].clone() });
    new.instances[1].interface = place;
    reload(&mut cluster, 1, new);
    cluster.run_to(9000);
    assert_eq!((cluster.nodes[&1].epoch(VIP), cluster.open()), (epoch, vec![1]));
    cluster.give(1, Event::Interface { interface: place, up: false, addresses: Vec::new() });
    cluster.run_to(9500);
    assert_eq!(cluster.open(), [2], "and once it is known to be down, that counts");
}
