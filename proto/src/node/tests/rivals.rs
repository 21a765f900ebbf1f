//! Others that hold, or claim the addresses: who yields (D7, D8), and who announces (D10).

use super::*;
use crate::wire::heartbeat::Beat;

#[test]
fn a_master_that_the_rival_does_not_hear_yields_without_an_authority_d8() {
    let mut cluster = steady(Authority::None);
    // Node 2 no longer hears node 1 on any path, claims, and node 1 hears it claim.
    cluster.cut.insert((1, 2));
    // A write of node 1's gate takes up to a millisecond.
    for ms in 5001..=7500 {
        cluster.gates_hung.insert(1, Vec::new());
        cluster.run_to(ms);
        cluster.gates_hung.remove(&1).unwrap().into_iter().for_each(|answer| cluster.give(1, answer));
    }
    assert_eq!(cluster.open(), [2]);
    assert!(cluster.log.iter().any(|(_, who, deed)| {
        *who == 1 && matches!(deed, Action::Alert(alert) if alert.raised && alert.name == AlertName::DualMaster)
    }));
    let claimed = cluster.when(2, 5000, |deed| matches!(deed, Action::OpenGate { .. })).unwrap();
    let yielded = cluster.when(1, 5000, |deed| matches!(deed, Action::ShutGate { .. })).unwrap();
    assert!(yielded.since(claimed) <= Duration::from_millis(480), "P2: {:?}", yielded.since(claimed));
}

/// A router that speaks VRRP only, of this priority, announces itself to node 1, claims the addresses
/// before its Advertisement arrives, and falls silent.
fn foreign_master(priority: u8) -> Cluster {
    foreign_master_at(priority, [2; 6], 9510)
}

/// The same with this hardware address, and its Advertisement at `ms`.
fn foreign_master_at(priority: u8, mac: [u8; 6], ms: u64) -> Cluster {
    let mut cluster = Cluster::new(Authority::None);
    cluster.start(1);
    cluster.run_to(5000);
    assert_eq!(cluster.open(), [1]);
    cluster.run_to(9500);
    cluster.log.clear();
    let (source, destination) = (address(9), IpAddr::from([224, 0, 0, 18]));
    let advertisement = Advertisement {
        version: VrrpVersion::V3,
        vrid: Vrid::new(51).unwrap(),
        priority: Priority(priority),
        advert_int: Duration::from_millis(200),
        addresses: vec![IpAddr::from([192, 0, 2, 100])],
        auth: crate::wire::vrrp::Auth::None,
    };
    let bytes = advertisement.emit(source, destination, Checksum::PseudoHeader).unwrap();
    cluster.give(1, Event::ForeignClaim { domain: VIP, mac });
    cluster.run_to(ms);
    let (interface, hop_limit) = (InterfaceId(0), 255);
    cluster.give(1, Event::VrrpReceived { interface, source, destination, hop_limit, bytes });
    cluster.run_to(ms + 190);
    cluster
}

/// The virtual router's own: FRR announces with it, once, before an Advertisement leaves.
const VIRTUAL_MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];

#[test]
fn who_yields_to_a_better_master_announces_nothing_that_would_take_the_clients_back() {
    let cluster = foreign_master(250);
    assert_eq!(cluster.role(1).0, Role::Backup);
    assert_eq!(cluster.when(1, 9500, |deed| matches!(deed, Action::Announce { .. })), None);
}

#[test]
fn who_yields_to_a_router_with_the_virtual_mac_has_waited_for_its_second_advertisement_too() {
    let cluster = foreign_master_at(250, VIRTUAL_MAC, 9690);
    assert_eq!(cluster.role(1).0, Role::Backup);
    assert_eq!(cluster.when(1, 9500, |deed| matches!(deed, Action::Announce { .. })), None);
}

#[test]
fn who_stays_beside_a_worse_router_with_the_virtual_mac_announces_with_its_advertisement_d10() {
    let cluster = foreign_master_at(50, VIRTUAL_MAC, 9690);
    assert_eq!(cluster.role(1).0, Role::Master);
    let announced = cluster.when(1, 9500, |deed| matches!(deed, Action::Announce { .. }));
    assert_eq!(announced, Some(at(9690)));
}

#[test]
fn claims_with_the_virtual_mac_alone_keep_nobody_from_announcing_for_longer_than_an_interval_d10() {
    let mut cluster = foreign_master(50);
    cluster.run_to(20_000);
    cluster.log.clear();
    for ms in (20_000..20_500).step_by(10) {
        cluster.run_to(ms);
        cluster.give(1, Event::ForeignClaim { domain: VIP, mac: VIRTUAL_MAC });
    }
    let announced = cluster.when(1, 20_000, |deed| matches!(deed, Action::Announce { .. }));
    assert_eq!(announced, Some(at(20_250)));
}

#[test]
fn who_stays_beside_a_worse_master_announces_at_once_d10() {
    let cluster = foreign_master(50);
    assert_eq!(cluster.role(1).0, Role::Master);
    let announced = cluster.when(1, 9500, |deed| matches!(deed, Action::Announce { count: 5, .. }));
    assert_eq!(announced, Some(at(9510)));
}

#[test]
fn who_only_sees_a_claim_of_its_address_announces_once_an_advertisement_could_have_come_d10() {
    let mut cluster = foreign_master(50);
    cluster.run_to(20_000);
    cluster.log.clear();
    cluster.give(1, Event::ForeignClaim { domain: VIP, mac: [2; 6] });
    cluster.run_to(20_400);
    // A Master alone announces every half period anyway, so that is when it comes at the latest; the burst,
    // which an Advertisement might make wrong, does not come.
    let announced = cluster.when(1, 20_000, |deed| matches!(deed, Action::Announce { count: 1, .. }));
    assert!(announced.is_some_and(|announced| announced <= at(20_050)), "{announced:?}");
    assert_eq!(cluster.when(1, 20_000, |deed| matches!(deed, Action::Announce { count: 5, .. })), None);
}

#[test]
fn two_that_can_not_agree_on_who_was_first_leave_it_to_the_priority_soon_d7_p2() {
    let mut lengths = Vec::new();
    for later in 366..=386 {
        let mut cluster = Cluster::new(Authority::None);
        cluster.cut = [(1, 2), (2, 1)].into();
        cluster.start(2);
        cluster.run_to(1000 + later);
        cluster.start(1);
        cluster.run_to(9000);
        assert_eq!(cluster.open(), [1, 2], "the better one, {later} ms later");
        // Its clock has run ahead, so that it counts itself to have held for longer than the other thinks.
        cluster.skew.insert(1, 5_000_000);
        cluster.cut.clear();
        let both = (9001..10_000).take_while(|ms| {
            cluster.run_to(*ms);
            cluster.open().len() == 2
        });
        lengths.push(both.count());
        cluster.run_to(12_000);
        assert_eq!(cluster.open().len(), 1, "{later} ms later");
    }
    assert!(lengths.iter().all(|both| *both <= 125), "ms with two holders: {lengths:?}");
    assert!(lengths.iter().any(|both| (25..40).contains(both)), "none of these was in doubt: {lengths:?}");
}

/// Whether a node has told of two holders from `ms` on.
fn tells_of_two(cluster: &Cluster, node: u16, ms: u64) -> bool {
    cluster.raised(node, ms, AlertName::DualMaster).is_some()
}

/// The beats of a node since `ms` that say it holds, and when each was made.
fn claims(cluster: &Cluster, node: u16, ms: u64) -> Vec<(Instant, Event)> {
    let beats = cluster.log.iter().filter(|(when, who, _)| *who == node && *when >= at(ms));
    let beats = beats.filter_map(|(when, who, deed)| match deed {
        Action::SendBeat { link, bytes, .. } if Beat::parse(bytes).is_ok_and(|beat| beat.domains[0].holding) => {
            Some((*when, Event::BeatReceived { link: *link, from: id(*who), bytes: bytes.clone() }))
        }
        _ => None,
    });
    beats.collect()
}

#[test]
fn what_a_former_holder_said_in_time_and_is_heard_late_is_no_second_holder_d7() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    // The last beats of node 1 are 200 ms on their way; it hands over meanwhile.
    cluster.link_cut_one_way.insert((LinkId(0), 1, 2));
    cluster.run_to(5250);
    let late = claims(&cluster, 1, 5000);
    assert!(late.len() >= 2, "{late:?}");
    cluster.give(1, Event::Stop);
    cluster.run_to(5290);
    assert_eq!(cluster.open(), [2]);
    for (_, beat) in late {
        cluster.run_to(cluster.now.as_nanos() / 1_000_000 + 30);
        cluster.give(2, beat);
    }
    assert_eq!(cluster.nodes[&2].peers[&id(1)].domain(VIP).map(|said| said.holding), Some(true), "it was heard");
    cluster.run_to(5500);
    assert!(!tells_of_two(&cluster, 2, 5000));
}

#[test]
fn who_slept_over_its_deadline_with_a_write_of_its_gate_under_way_sees_no_second_holder_in_its_heir_d5_d7() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.gates_hung.insert(1, Vec::new());
    cluster.run_to(5250);
    cluster.frozen.insert(1, Vec::new());
    cluster.run_to(7000);
    assert_eq!(cluster.open(), [2]);
    // The first that it takes from its queues is a beat of who holds since.
    let mut waiting = cluster.frozen.remove(&1).unwrap();
    waiting.retain(|event| matches!(event, Event::BeatReceived { .. }));
    let (_, held) = claims(&cluster, 2, 6000).pop().unwrap();
    assert!(waiting.contains(&held));
    cluster.give(1, held);
    cluster.run_to(7200);
    assert_eq!(cluster.role(1).0, Role::Fenced);
    assert!(!tells_of_two(&cluster, 1, 5000));
}

#[test]
fn a_second_holder_is_told_of_within_a_second_although_its_beats_are_late_i23() {
    let mut cluster = Cluster::new(Authority::None);
    cluster.cut = [(1, 2), (2, 1)].into();
    cluster.start(1);
    cluster.start(2);
    cluster.run_to(6000);
    assert_eq!(cluster.open(), [1, 2]);
    // Node 1 begins to hear node 2, each beat 200 ms after it was made, and is not heard itself.
    for ms in (6010..6600).step_by(10) {
        cluster.run_to(ms);
        let heard = claims(&cluster, 2, ms - 210).into_iter().filter(|(made, _)| *made < at(ms - 200));
        heard.for_each(|(_, beat)| cluster.give(1, beat));
    }
    assert!(tells_of_two(&cluster, 1, 6000));
}

#[test]
fn a_master_tells_of_a_lower_router_once_for_each_of_its_advertisements_and_no_faster_in_a_flood() {
    let mut cluster = foreign_master(50);
    let lower = |deed: &Action| matches!(deed, Action::LowerSeen { priority: Priority(p), .. } if *p > 50);
    let count = |cluster: &Cluster| cluster.log.iter().filter(|(_, who, deed)| *who == 1 && lower(deed)).count();
    assert_eq!(count(&cluster), 1);
    let (source, destination) = (address(9), IpAddr::from([224, 0, 0, 18]));
    let advertisement = Advertisement {
        version: VrrpVersion::V3,
        vrid: Vrid::new(51).unwrap(),
        priority: Priority(50),
        advert_int: Duration::from_millis(200),
        addresses: vec![IpAddr::from([192, 0, 2, 100])],
        auth: crate::wire::vrrp::Auth::None,
    };
    let bytes = advertisement.emit(source, destination, Checksum::PseudoHeader).unwrap();
    for ms in 9710..10_000 {
        let (interface, hop_limit, bytes) = (InterfaceId(0), 255, bytes.clone());
        cluster.give(1, Event::VrrpReceived { interface, source, destination, hop_limit, bytes });
        cluster.run_to(ms);
    }
    assert!((3..=4).contains(&count(&cluster)), "290 ms, twice in 200 ms at most: {}", count(&cluster));
}

#[test]
fn who_does_not_keep_up_with_what_is_told_is_an_alert_until_it_does() {
    let mut cluster = steady(Authority::None);
    let told = |cluster: &Cluster, raised: bool| {
        let mut all = cluster.log.iter().filter_map(|(_, _, deed)| match deed {
            Action::Alert(alert) if alert.name == AlertName::NotifyBehind && alert.raised == raised => Some(alert),
            _ => None,
        });
        all.next().map(|alert| alert.evidence.clone())
    };
    let behind = |missed| Event::ListenerBehind { who: "the reader of /run/f".into(), missed };
    cluster.give(1, behind(Some(7)));
    cluster.run_to(7000);
    assert_eq!(told(&cluster, true).as_deref(), Some("the reader of /run/f has missed 7"));
    assert_eq!(told(&cluster, false), None);
    cluster.give(1, behind(None));
    cluster.run_to(10_000);
    assert_eq!(told(&cluster, false).as_deref(), Some("everybody is told again"));
}
