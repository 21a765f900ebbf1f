//! What keepalived's options of election and receiving do to a whole node, in simulated time.

use super::*;
use crate::wire::vrrp::Auth;

const STRANGER: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 77));
const GROUP: [u8; 4] = [224, 0, 0, 18];

/// Node 1 without peers and without an authority, started at a second: VRRP alone decides. Advertisements each 200 ms,
/// priority 200: it stands 643.75 ms after it has begun, or heard the last.
fn alone(change: impl FnOnce(&mut Settings)) -> Cluster {
    let mut cluster = Cluster::new(Authority::None);
    let mut settings = settings(1, Authority::None);
    settings.peers.clear();
    settings.references.targets.clear();
    change(&mut settings);
    cluster.start_with(1, settings);
    cluster
}

/// A stranger advertises with such a priority, to that address, with that hop limit.
fn advertise(cluster: &mut Cluster, priority: u8, destination: [u8; 4], hop_limit: u8) {
    let instance = &cluster.nodes[&1].settings.instances[0];
    let advertisement = Advertisement {
        version: instance.version,
        vrid: instance.vrid,
        priority: Priority(priority),
        advert_int: instance.advert_int,
        addresses: instance.addresses.clone(),
        auth: Auth::None,
    };
    let (interface, source, destination) = (InterfaceId(0), STRANGER, IpAddr::from(destination));
    let bytes = advertisement.emit(source, destination, Checksum::PseudoHeader).unwrap();
    cluster.give(1, Event::VrrpReceived { interface, source, destination, hop_limit, bytes });
}

fn report(cluster: &mut Cluster, up: bool, addresses: Vec<IpAddr>) {
    cluster.give(1, Event::Interface { interface: InterfaceId(0), up, addresses });
}

fn sent(cluster: &Cluster) -> usize {
    cluster.log.iter().filter(|(_, _, action)| matches!(action, Action::Advertise { .. })).count()
}

#[test]
fn an_instance_begins_after_the_startup_delay_and_hears_nothing_before() {
    let mut cluster = alone(|settings| settings.begin_at = Some(at(3000)));
    cluster.run_to(2800);
    // A lower Master that it would have had to wait for, had it listened.
    advertise(&mut cluster, 50, GROUP, 255);
    cluster.run_to(2999);
    assert_eq!((cluster.role(1), cluster.open()), ((Role::Init, Reason::Started), vec![]));
    cluster.run_to(3640);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Backup, vec![]));
    cluster.run_to(3700);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Master, vec![1]));
    let mut at_once = alone(|_| {});
    at_once.run_to(1700);
    assert_eq!(at_once.role(1).0, Role::Master);
}

#[test]
fn the_startup_delay_is_of_the_start_and_no_reload_begins_it_anew() {
    let mut cluster = alone(|settings| settings.begin_at = Some(at(1500)));
    cluster.run_to(3000);
    assert_eq!(cluster.role(1).0, Role::Master);
    let mut new = cluster.nodes[&1].settings.clone();
    new.begin_at = Some(at(9000));
    new.instances[0].priority = Priority(150);
    cluster.give(1, Event::Reconfigure(alloc::boxed::Box::new(new)));
    cluster.run_to(4000);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Master, vec![1]));
}

#[test]
fn a_backup_stands_when_as_many_adverts_as_it_is_told_have_missed() {
    for (adverts, waits, stands) in [(1, 1240, 1280), (8, 2640, 2680)] {
        let mut cluster = alone(|settings| settings.instances[0].election.down_timer_adverts = adverts);
        cluster.run_to(waits);
        assert_eq!(cluster.role(1).0, Role::Backup, "{adverts}");
        cluster.run_to(stands);
        assert_eq!(cluster.role(1).0, Role::Master, "{adverts}");
    }
}

/// Master at 50 ms a piece with `nopreempt`, asleep for 200 ms: less than its gate holds, more than a Backup waits.
fn sleeper(priority: Option<u8>) -> Cluster {
    let mut cluster = alone(|settings| {
        let instance = &mut settings.instances[0];
        (instance.advert_int, instance.preempt) = (Duration::from_millis(50), false);
        instance.election.timer_expired_backup = priority.map(Priority);
    });
    cluster.run_to(3000);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Master, vec![1]));
    cluster.log.clear();
    cluster.frozen.insert(1, Vec::new());
    cluster.run_to(3200);
    cluster.frozen.remove(&1);
    cluster.give(1, Event::Tick);
    cluster
}

#[test]
fn a_master_that_slept_past_a_backups_timer_steps_down_if_told_so() {
    let mut cluster = sleeper(Some(254));
    // The gate is shut at once, and R8 takes E_tx.
    assert_eq!(cluster.open(), vec![]);
    cluster.run_to(3300);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Backup, vec![]));
    // Nothing but the resignation, and that behind the shut gate.
    assert_eq!(sent(&cluster), 1);
    let late = |action: &Action| matches!(action, Action::Transition(to) if to.evidence.contains("ms late"));
    assert!(cluster.log.iter().any(|(_, _, action)| late(action)), "{:?}", cluster.log);
    // Nobody else was there: it is Master again after the full interval.
    cluster.run_to(4000);
    assert_eq!(cluster.role(1).0, Role::Master);
}

#[test]
fn without_timer_expired_backup_a_master_that_slept_so_long_goes_on() {
    let mut cluster = sleeper(None);
    cluster.run_to(3300);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Master, vec![1]));
}

#[test]
fn under_an_authority_the_lease_says_who_may_hold_and_no_late_timer_does() {
    let mut cluster = Cluster::arbitrated();
    for node in [1, 2] {
        let mut settings = settings(node, cluster.authority.clone());
        settings.instances[0].preempt = false;
        settings.instances[0].advert_int = Duration::from_millis(50);
        settings.instances[0].election.timer_expired_backup = Some(Priority(254));
        cluster.start_with(node, settings);
    }
    cluster.run_to(4000);
    let master = if cluster.role(1).0 == Role::Master { 1 } else { 2 };
    cluster.frozen.insert(master, Vec::new());
    cluster.run_to(4180);
    let waiting = cluster.frozen.remove(&master).unwrap();
    waiting.into_iter().for_each(|event| cluster.give(master, event));
    cluster.give(master, Event::Tick);
    cluster.run_to(5000);
    assert_eq!((cluster.role(master).0, cluster.open()), (Role::Master, vec![master]));
}

#[test]
fn an_instance_is_in_fault_while_the_address_that_it_speaks_from_is_not_there() {
    let mut cluster = alone(|settings| settings.instances[0].reception.tracked_source = Some(address(1)));
    cluster.run_to(3000);
    assert_eq!(cluster.role(1).0, Role::Master);
    report(&mut cluster, true, vec![STRANGER]);
    cluster.run_to(3100);
    assert_eq!((cluster.role(1), cluster.open()), ((Role::Fault, Reason::InterfaceDown), vec![]));
    let named = |action: &Action| matches!(action, Action::Transition(to) if to.evidence.contains("source address 192.0.2.1 is not there"));
    assert!(cluster.log.iter().any(|(_, _, action)| named(action)));
    report(&mut cluster, true, vec![STRANGER, address(1)]);
    cluster.run_to(3200);
    assert_eq!(cluster.role(1).0, Role::Backup);
    cluster.run_to(4000);
    assert_eq!(cluster.role(1).0, Role::Master);
}

#[test]
fn an_instance_without_a_peer_to_speak_to_is_in_fault_and_says_why() {
    let mut cluster = alone(|settings| settings.instances[0].reception.lacks_peer = true);
    cluster.run_to(4000);
    assert_eq!((cluster.role(1), cluster.open()), ((Role::Fault, Reason::TrackerFailed), vec![]));
    assert!(cluster.alerts(1).contains(&"tracker-failed"), "{:?}", cluster.alerts(1));
}

#[test]
fn only_what_was_sent_to_the_group_of_an_instance_counts() {
    let own = [239, 1, 1, 1];
    let mut cluster = alone(|settings| settings.instances[0].reception.group = Some(own.into()));
    for ms in (1100..3000).step_by(200) {
        cluster.run_to(ms);
        advertise(&mut cluster, 250, GROUP, 255);
    }
    assert_eq!(cluster.role(1).0, Role::Master, "a better one of another group is none of ours");
    let mut cluster = alone(|settings| settings.instances[0].reception.group = Some(own.into()));
    for ms in (1100..3000).step_by(200) {
        cluster.run_to(ms);
        advertise(&mut cluster, 250, own, 255);
    }
    assert_eq!(cluster.role(1).0, Role::Backup);
}

#[test]
fn a_peers_packet_counts_only_within_its_hop_limits() {
    let us = [192, 0, 2, 1];
    for (hop_limit, role) in [(63, Role::Master), (64, Role::Backup), (200, Role::Backup), (201, Role::Master)] {
        let mut cluster = alone(|settings| {
            settings.instances[0].unicast_peers = Some(vec![STRANGER]);
            settings.instances[0].reception.hop_limits = vec![(STRANGER, 64, 200)];
        });
        for ms in (1100..3000).step_by(200) {
            cluster.run_to(ms);
            advertise(&mut cluster, 250, us, hop_limit);
        }
        assert_eq!(cluster.role(1).0, role, "{hop_limit}");
        let (counted, told) = (cluster.nodes[&1].counters().bad_advertisements, cluster.alerts(1));
        assert_eq!((counted > 0, told.contains(&"config-mismatch")), (role == Role::Master, role == Role::Master));
    }
}

#[test]
fn an_owner_that_ignores_adverts_stays_and_tells_of_the_other_d7() {
    let owner = |ignores| {
        let mut cluster = alone(|settings| {
            settings.instances[0].priority = Priority::OWNER;
            settings.instances[0].election.owner_ignore_adverts = ignores;
        });
        cluster.run_to(3000);
        assert_eq!(cluster.role(1).0, Role::Master);
        for ms in (3100..3900).step_by(100) {
            cluster.run_to(ms);
            advertise(&mut cluster, 255, GROUP, 255);
        }
        cluster
    };
    let cluster = owner(true);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Master, vec![1]));
    assert!(cluster.alerts(1).contains(&"dual-master"), "{:?}", cluster.alerts(1));
    // Of two owners the higher address stays, unless told otherwise.
    assert_eq!(owner(false).role(1).0, Role::Backup);
}

#[test]
fn a_backup_whose_link_comes_back_listens_before_it_stands() {
    let mut cluster = alone(|settings| settings.instances[0].preempt = false);
    let lives = |cluster: &mut Cluster, from: u64, to: u64| {
        for ms in (from..to).step_by(200) {
            cluster.run_to(ms);
            advertise(cluster, 50, GROUP, 255);
        }
    };
    lives(&mut cluster, 1100, 3000);
    assert_eq!(cluster.role(1).0, Role::Backup);
    report(&mut cluster, false, vec![address(1)]);
    // Its timer runs out, and what it would have heard is lost.
    cluster.run_to(5000);
    cluster.log.clear();
    report(&mut cluster, true, vec![address(1)]);
    lives(&mut cluster, 5190, 7000);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Backup, vec![]));
    assert!(!cluster.log.iter().any(|(_, _, action)| matches!(action, Action::OpenGate { .. })));
    // Nobody is there any more: 643.75 ms after the last that it heard.
    cluster.run_to(8000);
    assert_eq!(cluster.role(1).0, Role::Master);
    // The owner need not listen.
    let mut owner = alone(|settings| settings.instances[0].priority = Priority::OWNER);
    owner.run_to(3000);
    report(&mut owner, false, vec![address(1)]);
    owner.run_to(5000);
    report(&mut owner, true, vec![address(1)]);
    owner.run_to(5010);
    assert_eq!(owner.role(1).0, Role::Master);
}

#[test]
fn a_link_that_bounces_within_its_delay_moves_nothing_and_one_that_stays_down_does() {
    let mut cluster = alone(|settings| {
        let ms = Duration::from_millis;
        settings.interfaces[0].delays = LinkDelays { down: ms(300), up: ms(200) };
    });
    cluster.run_to(3000);
    cluster.log.clear();
    report(&mut cluster, false, vec![address(1)]);
    cluster.run_to(3299);
    report(&mut cluster, true, vec![address(1)]);
    cluster.run_to(4000);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Master, vec![1]));
    let announced = |action: &Action| matches!(action, Action::Announce { .. });
    assert!(cluster.log.iter().any(|(_, _, action)| announced(action)), "a switch may have forgotten us");
    assert!(!cluster.log.iter().any(|(_, _, action)| matches!(action, Action::Transition(_))));
    report(&mut cluster, false, vec![address(1)]);
    cluster.run_to(4299);
    assert_eq!(cluster.role(1).0, Role::Master);
    cluster.run_to(4302);
    assert_eq!(cluster.open(), vec![]);
    cluster.run_to(4400);
    assert_eq!((cluster.role(1), cluster.open()), ((Role::Fault, Reason::InterfaceDown), vec![]));
    report(&mut cluster, true, vec![address(1)]);
    cluster.run_to(4599);
    assert_eq!(cluster.role(1).0, Role::Fault);
    cluster.run_to(4602);
    assert_eq!(cluster.role(1).0, Role::Backup);
}
