//! Signed Advertisements (`auth_hmac`), up to the alert and the counters.

use alloc::format;

use super::proofs::{counted, master, mismatch};
use super::*;
use crate::settings::{HmacMode, HmacSettings};
use crate::wire::vrrp::Auth;
use crate::wire::vrrp::hmac::{self, Key, Signature, Stamp};

const FROM: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 77));
const GROUP: IpAddr = IpAddr::V4(crate::wire::vrrp::GROUP_V4);
/// What the wall clock said at the start of the boot clock.
const AT_BOOT: Duration = Duration::from_secs(1_795_000_000);
const WINDOW: Option<Duration> = Some(Duration::from_secs(5));

fn key(first: u8) -> Key {
    Key::new(&[first; 32]).unwrap()
}

pub(super) fn keys(mode: HmacMode) -> HmacSettings {
    HmacSettings { keys: vec![(1, key(1)), (2, key(2))], active_key: 1, mode, window: WINDOW }
}

/// Node 1 with such keys, and nobody else.
fn alone(version: VrrpVersion, hmac: Option<HmacSettings>) -> Cluster {
    let mut cluster = Cluster::arbitrated();
    let mut settings = settings(1, Authority::Quorum(quorum()));
    let one = &mut settings.instances[0];
    (one.version, one.advert_int, one.hmac) = (version, Duration::from_secs(1), hmac);
    cluster.start_with(1, settings);
    cluster.give(1, Event::Utc { at_boot: AT_BOOT });
    cluster.run_to(1000);
    cluster
}

fn utc(cluster: &Cluster) -> Duration {
    AT_BOOT + cluster.now.since(Instant::BOOT)
}

fn stamp(cluster: &Cluster) -> Stamp {
    Stamp::of(utc(cluster))
}

fn advertisement(cluster: &Cluster, priority: u8) -> Advertisement {
    let settings = &cluster.nodes[&1].settings.instances[0];
    Advertisement {
        version: settings.version,
        vrid: settings.vrid,
        priority: Priority(priority),
        advert_int: Duration::from_secs(1),
        addresses: settings.addresses.clone(),
        auth: Auth::None,
    }
}

fn give(cluster: &mut Cluster, bytes: Vec<u8>) {
    let (interface, hop_limit) = (InterfaceId(0), 255);
    cluster.give(1, Event::VrrpReceived { interface, source: FROM, destination: GROUP, hop_limit, bytes });
}

/// A stranger's Advertisement, signed.
fn signed(cluster: &mut Cluster, priority: u8, (number, key): (u8, Key), stamp: Stamp) {
    let signature = Signature { number, key: &key, stamp };
    let advertisement = advertisement(cluster, priority);
    give(cluster, hmac::emit(&advertisement, FROM, GROUP, Checksum::PseudoHeader, signature).unwrap());
}

/// And one that is not.
fn bare(cluster: &mut Cluster, auth: Auth) {
    let advertisement = Advertisement { auth, ..advertisement(cluster, 50) };
    give(cluster, advertisement.emit(FROM, GROUP, Checksum::PseudoHeader).unwrap());
}

/// What is unauthentic, and what is no Advertisement for us.
#[test]
fn what_any_key_of_ours_has_signed_is_heard_in_both_versions() {
    for version in [VrrpVersion::V2, VrrpVersion::V3] {
        for mode in [HmacMode::Enforce, HmacMode::Permissive, HmacMode::ReceiveOnly] {
            for number in [1, 2] {
                let mut cluster = alone(version, Some(keys(mode)));
                let stamp = stamp(&cluster);
                signed(&mut cluster, 50, (number, key(number)), stamp);
                cluster.run_to(2000);
                assert_eq!((counted(&cluster), mismatch(&cluster), master(&cluster)), ((0, 0), None, Some(FROM)));
            }
        }
    }
}

#[test]
fn what_is_not_proven_is_counted_named_and_never_heard() {
    use HmacMode::{Enforce, Permissive, ReceiveOnly};
    type Deed = fn(&mut Cluster, Stamp);
    let wrong: Deed = |cluster, stamp| signed(cluster, 50, (1, key(9)), stamp);
    let unknown: Deed = |cluster, stamp| signed(cluster, 50, (3, key(1)), stamp);
    let missing: Deed = |cluster, _| bare(cluster, Auth::None);
    let password: Deed = |cluster, _| bare(cluster, Auth::Simple(*b"s3cret12"));
    let cases: [(HmacMode, Deed, &str); 8] = [
        (Enforce, wrong, "signs its Advertisements with another key 1 than ours"),
        (Permissive, wrong, "signs its Advertisements with another key 1 than ours"),
        (ReceiveOnly, wrong, "signs its Advertisements with another key 1 than ours"),
        (Enforce, unknown, "with key 3, which is none of ours"),
        (Permissive, unknown, "with key 3, which is none of ours"),
        (Enforce, missing, "advertises unsigned, where we take signed Advertisements alone"),
        (Enforce, password, "another authentication"),
        (Permissive, password, "another authentication"),
    ];
    for (mode, deed, words) in cases {
        let mut cluster = alone(VrrpVersion::V2, Some(keys(mode)));
        let stamp = stamp(&cluster);
        deed(&mut cluster, stamp);
        cluster.run_to(2000);
        assert_eq!((counted(&cluster), master(&cluster)), ((1, 0), None), "{mode:?}, {words}");
        let alert = mismatch(&cluster).unwrap_or_else(|| panic!("{words}: no alert"));
        assert!(alert.evidence.contains("192.0.2.77") && alert.evidence.contains(words), "{}", alert.evidence);
        assert!(!alert.remedy.is_empty());
    }
}

#[test]
fn until_all_sign_the_unsigned_are_heard_where_the_operator_says_so() {
    for mode in [HmacMode::Permissive, HmacMode::ReceiveOnly] {
        let mut cluster = alone(VrrpVersion::V3, Some(keys(mode)));
        bare(&mut cluster, Auth::None);
        cluster.run_to(2000);
        assert_eq!((counted(&cluster), mismatch(&cluster), master(&cluster)), ((0, 0), None, Some(FROM)), "{mode:?}");
    }
}

#[test]
fn who_has_no_key_hears_the_signed_and_says_so() {
    let mut cluster = alone(VrrpVersion::V3, None);
    let stamp = stamp(&cluster);
    signed(&mut cluster, 50, (1, key(1)), stamp);
    cluster.run_to(2000);
    assert_eq!((counted(&cluster), master(&cluster)), ((0, 0), Some(FROM)));
    let alert = mismatch(&cluster).unwrap();
    assert!(alert.evidence.contains("192.0.2.77 signs its Advertisements, and we can't tell"), "{alert:?}");
    assert!(alert.remedy.contains("auth_hmac"), "{alert:?}");
}

#[test]
fn what_comes_again_is_counted_named_and_moves_no_timer() {
    let mut cluster = alone(VrrpVersion::V3, Some(keys(HmacMode::Enforce)));
    let stamp = stamp(&cluster);
    signed(&mut cluster, 50, (1, key(1)), stamp);
    cluster.run_to(2000);
    let before = cluster.nodes[&1].domains.values().next().unwrap().routers[0].machine.clone();
    signed(&mut cluster, 50, (1, key(1)), stamp);
    signed(&mut cluster, 200, (2, key(2)), Stamp(stamp.0 - 1));
    assert_eq!(cluster.nodes[&1].domains.values().next().unwrap().routers[0].machine, before);
    cluster.run_to(3000);
    assert_eq!(counted(&cluster), (2, 0));
    let alert = mismatch(&cluster).unwrap();
    assert!(alert.evidence.contains("192.0.2.77 advertises with signatures that have been used"), "{alert:?}");
}

#[test]
fn the_wall_clock_decides_nothing_but_is_told() {
    for (apart, words) in [(3, Some("more than 2 s apart")), (60, Some("more than 5 s apart")), (1, None)] {
        let mut cluster = alone(VrrpVersion::V3, Some(keys(HmacMode::Enforce)));
        let stamp = Stamp::of(utc(&cluster) - Duration::from_secs(apart));
        signed(&mut cluster, 50, (1, key(1)), stamp);
        cluster.run_to(2000);
        assert_eq!((counted(&cluster), master(&cluster)), ((0, 0), Some(FROM)), "{apart} s");
        let told = mismatch(&cluster).map(|alert| alert.evidence.as_str());
        assert_eq!(told.is_some(), words.is_some(), "{told:?}");
        assert!(told.zip(words).is_none_or(|(told, words)| told.contains(words)), "{told:?}");
    }
}

#[test]
fn an_old_resignation_is_not_believed() {
    let mut cluster = alone(VrrpVersion::V3, Some(keys(HmacMode::Enforce)));
    let stamp = Stamp::of(utc(&cluster) - Duration::from_secs(600));
    signed(&mut cluster, 0, (1, key(1)), stamp);
    cluster.run_to(2000);
    assert_eq!(counted(&cluster), (1, 0));
    assert!(mismatch(&cluster).unwrap().evidence.contains("resigns with a signature of long ago"));
}

/// A node's Advertisement as it comes to the other one, signed if it is to be.
pub(super) fn received(of: &Advertisement, source: IpAddr, hmac: &HmacSettings, now: Instant) -> Option<Event> {
    let (number, key) = hmac.signs_with()?;
    let signature = Signature { number, key, stamp: Stamp::of(AT_BOOT + now.since(Instant::BOOT)) };
    let bytes = hmac::emit(of, source, GROUP, Checksum::PseudoHeader, signature).unwrap();
    Some(Event::VrrpReceived { interface: InterfaceId(0), source, destination: GROUP, hop_limit: 255, bytes })
}

#[test]
fn the_nodes_of_a_virtual_router_hear_each_other() {
    let mut cluster = Cluster::arbitrated();
    // While keys are changed: each signs with another one.
    for node in [1, 2] {
        let mut settings = settings(node, Authority::Quorum(quorum()));
        let active_key = u8::try_from(node).unwrap();
        settings.instances[0].hmac = Some(HmacSettings { active_key, ..keys(HmacMode::Enforce) });
        cluster.start_with(node, settings);
        cluster.give(node, Event::Utc { at_boot: AT_BOOT });
    }
    cluster.run_to(20_000);
    assert_eq!(mismatch(&cluster), None);
    assert!(cluster.nodes.values().all(|node| node.counters().unauthentic_advertisements == 0));
    let heard = cluster.nodes[&(3 - cluster.open()[0])].domains[&VIP].routers[0].machine.master();
    assert_eq!(heard.map(|master| master.address), Some(address(cluster.open()[0])));
}

#[test]
fn no_key_is_shown() {
    let cluster = alone(VrrpVersion::V3, Some(keys(HmacMode::Enforce)));
    let shown = format!("{:?} {:?}", cluster.nodes[&1], cluster.log);
    assert!(shown.contains("***") && !shown.contains("[1, 1, 1, 1") && !shown.contains("01010101"));
}
