//! Finders on whole nodes: what is set up otherwise, who else speaks, whose key is not ours.

use super::words::said;
use super::*;
use crate::action::Alert;
use crate::wire::vrrp;

/// The steady pair with an authority, of which node 2 is set up otherwise from its start.
fn pair_with(otherwise: impl Fn(&mut Settings)) -> Cluster {
    let mut cluster = Cluster::arbitrated();
    for node in [1, 2] {
        let mut settings = Settings { names: names(), ..settings(node, Authority::Quorum(quorum())) };
        if node == 2 {
            otherwise(&mut settings);
        }
        cluster.start_with(node, settings);
    }
    cluster.run_to(9000);
    cluster
}

fn names() -> Names {
    Names { nodes: [(id(1), "n1".into()), (id(2), "n2".into()), (id(3), "w".into())].into(), links: [].into() }
}

fn raised(cluster: &Cluster, node: u16, name: AlertName) -> Option<Alert> {
    let alerts = cluster.log.iter().filter(|(_, who, _)| *who == node).filter_map(|(_, _, action)| match action {
        Action::Alert(alert) => Some(alert),
        _ => None,
    });
    alerts.rev().find(|alert| alert.name == name && alert.raised).cloned()
}

/// Each side says, of the other, that `what` differs; and never did both hold.
#[track_caller]
fn both_name(cluster: &Cluster, what: [&str; 2]) {
    for (node, other, what) in [(1, "n2", what[0]), (2, "n1", what[1])] {
        let alert = raised(cluster, node, AlertName::ConfigMismatch).unwrap_or_else(|| panic!("node {node} is silent"));
        assert!(alert.evidence.contains(what), "node {node}: {}", alert.evidence);
        assert!(alert.remedy.contains(other), "node {node}: {}", alert.remedy);
    }
    assert!(cluster.open().len() <= 1, "two holders: {:?}", cluster.open());
}

/// The one instance of a node.
fn instance(settings: &mut Settings) -> &mut InstanceSettings {
    &mut settings.instances[0]
}

#[test]
fn two_sides_that_are_alike_say_nothing() {
    let cluster = pair_with(|_| {});
    for node in [1, 2] {
        assert_eq!(cluster.alerts(node), Vec::<&str>::new());
    }
}

#[test]
fn another_vrid_is_named_on_both_sides() {
    let cluster = pair_with(|settings| instance(settings).vrid = Vrid::new(52).unwrap());
    both_name(&cluster, ["vip: virtual_router_id 52 on n2, 51 here", "vip: virtual_router_id 51 on n1, 52 here"]);
    // What n1 sends under its own VRID carries n2's address; n2 says so, too.
    let words = raised(&cluster, 2, AlertName::ConfigMismatch).unwrap().evidence;
    assert!(words.contains("n1 (192.0.2.1) advertises our address 192.0.2.100 under VRID 51, ours is 52"), "{words}");
    assert_eq!(cluster.open(), [1]);
}

#[test]
fn other_addresses_are_named_on_both_sides_whatever_their_order() {
    let more = IpAddr::from([192, 0, 2, 101]);
    let cluster = pair_with(|settings| instance(settings).addresses.push(more));
    both_name(
        &cluster,
        [
            "other virtual addresses on n2 (2 of them) than here (192.0.2.100)",
            "other virtual addresses on n1 (1 of them) than here (192.0.2.100, 192.0.2.101)",
        ],
    );
    let list = [IpAddr::from([192, 0, 2, 100]), more];
    let mut cluster = Cluster::arbitrated();
    for node in [1, 2] {
        let mut settings = settings(node, Authority::Quorum(quorum()));
        instance(&mut settings).addresses = list.to_vec();
        if node == 2 {
            instance(&mut settings).addresses.reverse();
        }
        cluster.start_with(node, settings);
    }
    cluster.run_to(9000);
    assert_eq!(raised(&cluster, 1, AlertName::ConfigMismatch), None);
}

fn version_2(settings: &mut Settings, password: Option<&[u8; 8]>, seconds: u64) {
    let one = instance(settings);
    (one.version, one.advert_int) = (VrrpVersion::V2, Duration::from_secs(seconds));
    one.auth_pass = password.copied();
}

fn version_2_pair(ours: (Option<&[u8; 8]>, u64), theirs: (Option<&[u8; 8]>, u64)) -> Cluster {
    let mut cluster = Cluster::arbitrated();
    for (node, (password, seconds)) in [(1, ours), (2, theirs)] {
        let mut settings = Settings { names: names(), ..settings(node, Authority::Quorum(quorum())) };
        version_2(&mut settings, password, seconds);
        cluster.start_with(node, settings);
    }
    cluster.run_to(15_000);
    cluster
}

#[test]
fn another_password_is_named_and_never_shown() {
    let cluster = version_2_pair((Some(b"sesame\0\0"), 1), (Some(b"mustard\0"), 1));
    both_name(&cluster, ["vip: another password on n2 than here", "vip: another password on n1 than here"]);
    let shows = |text: &str| ["sesame", "mustard", "115, 101", "736573"].iter().any(|word| text.contains(word));
    for (_, _, action) in &cluster.log {
        if let Action::Alert(alert) = action {
            assert!(!shows(&alert.evidence) && !shows(&alert.remedy), "{alert:?}");
        }
    }
    let cluster = version_2_pair((Some(b"sesame\0\0"), 1), (None, 1));
    both_name(
        &cluster,
        ["no authentication on n2, a password here", "a password or keys on n1, no authentication here"],
    );
}

#[test]
fn another_interval_is_named_on_both_sides() {
    let cluster = version_2_pair((None, 1), (None, 2));
    both_name(&cluster, ["vip: advert_int 2000 ms on n2, 1000 ms here", "vip: advert_int 1000 ms on n1, 2000 ms here"]);
    assert_eq!(cluster.open(), [1]);
}

#[test]
fn another_version_is_named_on_both_sides() {
    let cluster = pair_with(|settings| version_2(settings, None, 1));
    both_name(&cluster, ["vip: VRRPv2 over IPv4 on n2, VRRPv3", "vip: VRRPv3 over IPv4 on n1, VRRPv2"]);
}

#[test]
fn another_voter_set_or_lease_is_named_on_both_sides_and_the_odd_one_forms_no_majority_i14() {
    let other = QuorumSettings::new(vec![id(1), id(2)], LeaseTiming::for_lease(Duration::from_secs(2)));
    let cluster = pair_with(|settings| {
        settings.digest = config_digest(ClusterId(1), &other);
        settings.domains[0].authority = Authority::Quorum(other.clone());
    });
    both_name(&cluster, ["voters: n1, n2 on n2, n1, n2, w here", "voters: n1, n2, w on n1, n1, n2 here"]);
    let words = raised(&cluster, 1, AlertName::ConfigMismatch).unwrap().evidence;
    assert!(words.contains("lease: 2000 ms on n2, 500 ms here"), "{words}");
    assert_eq!(cluster.open(), [1], "node 2's digest finds no second voter");
}

#[test]
fn an_instance_of_another_name_is_named_on_both_sides() {
    let cluster = pair_with(|settings| instance(settings).name = "web".into());
    both_name(
        &cluster,
        ["vip: n2 has no such vrrp_instance, but one of its VRID under another name", "web: n1 has no such"],
    );
}

#[test]
fn equal_priorities_are_a_notice_and_no_mismatch() {
    let cluster = pair_with(|settings| instance(settings).priority = Priority(200));
    let alert = raised(&cluster, 1, AlertName::PriorityClash).unwrap();
    assert_eq!(alert.evidence, "vip: priority 200 on n2 and here");
    assert_eq!(raised(&cluster, 1, AlertName::ConfigMismatch), None);
}

#[test]
fn a_mismatch_that_is_put_right_ends_and_three_nodes_do_not_make_it_flap() {
    let mut cluster = pair_with(|settings| instance(settings).vrid = Vrid::new(52).unwrap());
    cluster.nodes.remove(&2);
    cluster.run_to(10_000);
    let mut right = Settings { names: names(), ..settings(2, Authority::Quorum(quorum())) };
    right.seed = 99;
    cluster.nodes.insert(2, Node::new(right, Incarnation(201), Restored::default(), cluster.now));
    cluster.give(2, Event::Tick);
    cluster.give(2, Event::Interface { interface: InterfaceId(0), up: true, addresses: vec![address(2)] });
    cluster.run_to(20_000);
    assert_eq!(said(&cluster, 1, AlertName::ConfigMismatch, false), "both sides are set up alike");
    let said = cluster.log.iter().filter(|(_, who, action)| {
        *who == 1 && matches!(action, Action::Alert(alert) if alert.name == AlertName::ConfigMismatch)
    });
    assert_eq!(said.count(), 2, "once when it began, once when it ended");
}

/// Somebody's Advertisement arrives at node 1 from address `last`.
fn advertise(cluster: &mut Cluster, node: u16, last: u16, vrid: u8, addresses: Vec<IpAddr>) {
    let (source, destination) = (address(last), IpAddr::from([224, 0, 0, 18]));
    let advertisement = Advertisement {
        version: VrrpVersion::V3,
        vrid: Vrid::new(vrid).unwrap(),
        priority: Priority(50),
        advert_int: Duration::from_millis(200),
        addresses,
        auth: crate::wire::vrrp::Auth::None,
    };
    let bytes = advertisement.emit(source, destination, vrrp::Checksum::PseudoHeader).unwrap();
    let (interface, hop_limit) = (InterfaceId(0), 255);
    cluster.give(node, Event::VrrpReceived { interface, source, destination, hop_limit, bytes });
}

#[test]
fn a_second_cluster_on_our_vrid_is_named_by_its_address_and_moves_nothing_f56() {
    let mut cluster = pair_with(|_| {});
    for ms in (9000..13_000).step_by(200) {
        cluster.run_to(ms);
        for node in [1, 2] {
            advertise(&mut cluster, node, 77, 51, vec![IpAddr::from([198, 51, 100, 1])]);
        }
    }
    for node in [1, 2] {
        let alert = raised(&cluster, node, AlertName::ForeignRouter).unwrap();
        assert!(alert.evidence.contains("192.0.2.77 advertises our VRID"), "{}", alert.evidence);
        assert!(alert.evidence.contains("198.51.100.1"), "{}", alert.evidence);
        assert!(alert.remedy.contains("another VRID"), "{}", alert.remedy);
        assert_eq!(raised(&cluster, node, AlertName::DualMaster), None, "it holds none of our addresses");
    }
    assert_eq!(cluster.open(), [1]);
    cluster.run_to(25_000);
    assert!(!cluster.alerts(1).contains(&"foreign-router"), "it is gone");
}

#[test]
fn a_router_that_carries_our_address_under_its_own_vrid_is_named() {
    let mut cluster = pair_with(|_| {});
    for ms in (9000..11_000).step_by(200) {
        cluster.run_to(ms);
        advertise(&mut cluster, 2, 77, 99, vec![IpAddr::from([192, 0, 2, 100])]);
    }
    let words = raised(&cluster, 2, AlertName::ForeignRouter).unwrap().evidence;
    assert!(words.contains("192.0.2.77 advertises our address 192.0.2.100 under VRID 99, ours is 51"), "{words}");
    advertise(&mut cluster, 1, 78, 99, vec![IpAddr::from([192, 0, 2, 55])]);
    cluster.run_to(13_000);
    assert!(!cluster.alerts(1).contains(&"foreign-router"), "another virtual router is no business of ours");
}

#[test]
fn the_silence_of_vrrp_is_told_on_both_sides_with_what_to_open_d1() {
    let mut cluster = pair_with(|_| {});
    cluster.vrrp_cut = true;
    cluster.run_to(14_000);
    let backup = raised(&cluster, 2, AlertName::VrrpSilent).unwrap();
    assert!(
        backup.evidence.starts_with("vip (VRID 51): no Advertisement comes in on lan, the last came "),
        "{backup:?}"
    );
    let master = raised(&cluster, 1, AlertName::VrrpSilent).unwrap();
    assert!(
        master.evidence.contains("n2 hears our heartbeats, but none of our Advertisements, sent on lan"),
        "{master:?}"
    );
    for alert in [backup, master] {
        for word in ["protocol 112", "224.0.0.18", "lan", "firewall", "IGMP"] {
            assert!(alert.remedy.contains(word), "{word}: {}", alert.remedy);
        }
    }
    assert_eq!(cluster.open(), [1]);
    // Whoever asks later is told what was seen, too.
    let said = |cluster: &Cluster| {
        let why = cluster.nodes[&1].why(cluster.now, VIP).unwrap();
        why.evidence.into_iter().find(|line| line.starts_with("alert vrrp-silent, raised "))
    };
    let line = said(&cluster).unwrap();
    assert!(line.contains(" ago: vip (VRID 51): n2 hears our heartbeats, but none of our"), "{line}");
    let standing: Vec<_> = cluster.nodes[&1].told_alerts().collect();
    assert!(standing.iter().any(|alert| alert.said.remedy.contains("IGMP")), "{standing:?}");
    cluster.vrrp_cut = false;
    cluster.run_to(18_000);
    assert!(cluster.alerts(1).is_empty() && cluster.alerts(2).is_empty());
    assert_eq!(said(&cluster), None);
}

#[test]
fn who_stands_for_election_against_a_lower_master_hears_it_all_the_same() {
    let mut cluster = Cluster::arbitrated();
    cluster.start(2);
    cluster.run_to(9000);
    // The better node may not claim, and its timer, which had run out before it heard anybody, stays so.
    cluster.gate_broken.insert(1);
    cluster.start(1);
    cluster.run_to(14_000);
    assert_eq!(cluster.open(), [2]);
    assert_eq!(raised(&cluster, 1, AlertName::VrrpSilent), None);
    cluster.vrrp_cut = true;
    cluster.run_to(18_000);
    assert!(raised(&cluster, 1, AlertName::VrrpSilent).is_some());
}

#[test]
fn frames_that_wait_behind_the_gate_for_longer_than_e_tx_are_told_with_the_interface_f33() {
    let mut cluster = pair_with(|_| {});
    let interface = InterfaceId(0);
    let mut look = |ms, wait_ms| {
        cluster.run_to(ms);
        cluster.give(1, Event::QueueSeen { interface, wait: Duration::from_millis(wait_ms) });
        cluster.run_to(ms + 900);
        raised(&cluster, 1, AlertName::TransmitQueue).map(|alert| alert.evidence)
    };
    assert_eq!(look(10_000, 20), None, "E_tx is 20 ms");
    assert_eq!(look(11_000, 700), None, "one burst");
    assert_eq!(look(12_000, 800).unwrap(), "frames wait 700 ms in the queue of lan, E_tx is 20 ms");
    look(13_000, 0);
    cluster.run_to(16_000);
    assert_eq!((cluster.alerts(1), cluster.open()), (Vec::new(), vec![1]));
}

#[test]
fn a_wrong_key_is_named_with_its_member_and_its_end_is_told() {
    let mut cluster = pair_with(|_| {});
    let from = core::net::SocketAddr::from(([10, 1, 0, 2], 7946));
    for ms in (9000..12_000).step_by(1000) {
        cluster.run_to(ms);
        cluster.give(1, Event::KeyRefused { node: Some(id(2)), address: from, theirs: true });
        cluster.give(2, Event::KeyRefused { node: Some(id(1)), address: from, theirs: false });
    }
    let alert = raised(&cluster, 1, AlertName::UnknownKey).unwrap();
    assert!(alert.evidence.contains("what answers as n2 at 10.1.0.2:7946 has another key"), "{}", alert.evidence);
    assert!(alert.remedy.contains("public_key of n2"), "{}", alert.remedy);
    let alert = raised(&cluster, 2, AlertName::UnknownKey).unwrap();
    assert!(alert.evidence.contains("n1 at 10.1.0.2:7946 refuses this node's key"), "{}", alert.evidence);
    cluster.run_to(20_000);
    assert_eq!(said(&cluster, 1, AlertName::UnknownKey, false), "no wrong key for 5 s");
}

#[test]
fn a_rogue_claim_of_the_address_is_told_with_its_mac_and_answered_and_moves_nothing_f55() {
    let mut cluster = pair_with(|_| {});
    cluster.run_to(15_000);
    cluster.log.clear();
    cluster.give(1, Event::ForeignClaim { domain: VIP, mac: [2, 0, 0, 0xaa, 0xbb, 0xcc] });
    cluster.run_to(15_010);
    let alert = raised(&cluster, 1, AlertName::AddressClaimed).unwrap();
    assert!(alert.evidence.contains("02:00:00:aa:bb:cc") && alert.evidence.contains("192.0.2.100"), "{alert:?}");
    let epoch = cluster.nodes[&1].epoch(VIP);
    assert!(alert.epoch.is_some() && alert.epoch == epoch);
    assert_eq!(cluster.when(1, 15_000, |deed| matches!(deed, Action::Announce { count: 5, .. })), Some(at(15_000)));
    cluster.run_to(23_000);
    assert!(!cluster.log.iter().any(|(_, _, deed)| matches!(deed, Action::Transition(_))));
    assert!(cluster.alerts(1).is_empty());
}

#[test]
fn who_gives_up_by_itself_says_so_and_who_hands_over_does_not() {
    let mut cluster = pair_with(|_| {});
    cluster.cut_between(1, 2);
    cluster.cut_between(1, WITNESS);
    cluster.run_to(10_500);
    let alert = raised(&cluster, 1, AlertName::SelfDemoted).unwrap();
    assert!(alert.evidence.starts_with("lease-lost: "), "{}", alert.evidence);
    let mut cluster = pair_with(|_| {});
    cluster.give(1, Event::Stop);
    cluster.run_to(10_500);
    assert_eq!(raised(&cluster, 1, AlertName::SelfDemoted), None);
}

/// A pair with two links, of which the second passes nothing from `from` to `to`.
fn one_way(from: u16, to: u16) -> Cluster {
    let mut cluster = Cluster::arbitrated();
    for node in [1, 2] {
        let peers = vec![PeerSettings { node: id(3 - node), links: vec![LinkId(0), LinkId(1)] }];
        let settings = Settings { names: names(), peers, ..settings(node, Authority::Quorum(quorum())) };
        cluster.start_with(node, settings);
    }
    cluster.run_to(5000);
    cluster.link_cut_one_way.insert((LinkId(1), from, to));
    cluster.run_to(9000);
    cluster
}

#[test]
fn a_link_that_is_broken_one_way_says_which_way() {
    let cluster = one_way(2, 1);
    let words = said(&cluster, 1, AlertName::HeartbeatLinkDown, true);
    assert!(words.starts_with("link1 to n2 (last heard ") && words.ends_with("; it hears us)"), "{words}");
    assert_eq!(raised(&cluster, 2, AlertName::HeartbeatLinkDown), None, "it hears everything");
}

#[test]
fn a_link_that_is_broken_both_ways_or_has_never_worked_says_so() {
    let mut cluster = one_way(2, 1);
    cluster.link_cut_one_way.clear();
    cluster.run_to(15_000);
    cluster.links_cut.insert(LinkId(1));
    cluster.run_to(17_000);
    let words = said(&cluster, 1, AlertName::HeartbeatLinkDown, true);
    assert!(words.ends_with("; it does not hear us either)"), "{words}");

    let mut never = Cluster::arbitrated();
    never.links_cut.insert(LinkId(1));
    for node in [1, 2] {
        let peers = vec![PeerSettings { node: id(3 - node), links: vec![LinkId(0), LinkId(1)] }];
        never.start_with(node, Settings { names: names(), peers, ..settings(node, Authority::None) });
    }
    never.run_to(5000);
    let words = said(&never, 1, AlertName::HeartbeatLinkDown, true);
    assert_eq!(words, "link1 to n2 (never heard; it has never heard us on it)");
}

#[test]
fn a_peer_whose_advertisements_arrive_is_not_dead_but_filtered() {
    let mut cluster = pair_with(|_| {});
    cluster.links_cut.insert(LinkId(0));
    cluster.run_to(12_000);
    let told = |cluster: &Cluster, node: u16| {
        let told = cluster.log.iter().filter_map(|(_, by, action)| match action {
            Action::Alert(Alert { name: AlertName::AllHeartbeatsDown, raised: true, evidence, .. }) if *by == node => {
                Some(evidence.clone())
            }
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let filtered = "silent for 300 ms on every link: n1 (but its Advertisements arrive: UDP is filtered)";
    assert_eq!(told(&cluster, 2), [filtered]);
    assert_eq!(cluster.open(), [1]);

    // Whoever is dead may have advertised a moment before.
    for ms in (12_000..13_000).step_by(100) {
        let mut cluster = Cluster::arbitrated();
        for node in [1, 2] {
            let mut settings = Settings { names: names(), ..settings(node, Authority::Quorum(quorum())) };
            settings.instances[0].advert_int = Duration::from_secs(1);
            cluster.start_with(node, settings);
        }
        cluster.run_to(9000);
        // Who can't hold goes on hearing Advertisements.
        cluster.gate_broken.insert(2);
        cluster.run_to(ms);
        cluster.nodes.remove(&1);
        cluster.run_to(ms + 5000);
        assert_eq!(told(&cluster, 2), ["silent for 300 ms on every link: n1"], "dead at {ms}");
    }
}

#[test]
fn a_short_cut_of_every_link_does_not_make_the_links_alerts_flap() {
    let mut cluster = one_way(1, 2);
    cluster.link_cut_one_way.clear();
    cluster.run_to(15_000);
    cluster.log.clear();
    for start in [15_000, 17_000, 19_000] {
        cluster.run_to(start);
        cluster.links_cut.insert(LinkId(1));
        // Down after 300 ms; it comes back 300 ms later.
        cluster.run_to(start + 600);
        cluster.links_cut.clear();
    }
    cluster.run_to(30_000);
    let said = cluster.log.iter().filter(|(_, _, action)| matches!(action, Action::Alert(_))).count();
    assert_eq!(said, 0, "nothing lasted for half a second");
}
