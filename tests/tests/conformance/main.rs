//! RFC 3768, 5798 and 9568, one test for each requirement, named after its section: `docs/conformance.md` lists them,
//! and says where keepone departs and why.
//!
//! Expected values are written out, not computed by the code under test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod alike;
mod checked;
mod octets;
mod table;
mod timers;
mod version_2;
mod version_3;
mod wire;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use keepone_proto::id::{Priority, Vrid};
use keepone_proto::settings::{AuthType, ElectionOptions, VrrpVersion};
use keepone_proto::time::Instant;
use keepone_proto::vrrp::instance::{Instance, Output, State};
use keepone_proto::vrrp::params::Params;
use keepone_proto::wire::vrrp::{Advertisement, Auth};

/// Our primary address, one above it and one below.
const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const ABOVE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 12));
const BELOW: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
const OWN6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11));
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
const GROUP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Microseconds since the router's start.
const fn at(us: u64) -> Instant {
    Instant::from_nanos(us * 1000)
}

/// Priority 100, an Advertisement a second, preempting: its Skew_Time is 609.375 ms, its Master_Down_Interval 3.609375 s.
fn params(version: VrrpVersion) -> Params {
    Params {
        version,
        vrid: Vrid::new(51).unwrap(),
        ipv6: false,
        priority: Priority(100),
        advert_int: ms(1000),
        preempt: true,
        preempt_delay: Duration::ZERO,
        addresses: vec![VIP],
        auth_pass: None,
        auth_type: AuthType::Pass,
        hmac: None,
        election: ElectionOptions::default(),
    }
}

/// Started at 0.
fn backup(params: Params) -> Instance {
    let mut instance = Instance::new(params);
    instance.startup(at(0));
    instance
}

/// Master from 10 s on.
fn master(params: Params) -> Instance {
    let mut instance = backup(params);
    instance.on_timer(at(10_000_000));
    let outputs = instance.become_master(at(10_000_000));
    assert_eq!(outputs.len(), 1);
    instance
}

/// Of this priority, otherwise as the router's own.
fn advert(of: &Instance, priority: u8) -> Advertisement {
    Advertisement { priority: Priority(priority), ..of.advertisement() }
}

/// What a router makes of an Advertisement from `from`.
fn hears(instance: &mut Instance, us: u64, from: IpAddr, advert: &Advertisement) -> Vec<Output> {
    instance.on_advertisement(at(us), from, OWN, advert)
}

/// When a Backup's timer runs out.
#[track_caller]
fn down_at(instance: &Instance) -> Instant {
    match instance.state() {
        State::Backup { master_down_at, .. } => master_down_at,
        other => panic!("no Backup: {other:?}"),
    }
}

/// When a Master advertises next.
#[track_caller]
fn advert_at(instance: &Instance) -> Instant {
    match instance.state() {
        State::Master { advert_at, .. } => advert_at,
        other => panic!("no Master: {other:?}"),
    }
}

/// The priorities of the Advertisements among these outputs.
fn sent(outputs: &[Output]) -> Vec<u8> {
    let priority = |output: &Output| match output {
        Output::Advertise(advertisement) => Some(advertisement.priority.0),
        _ => None,
    };
    outputs.iter().filter_map(priority).collect()
}

/// An Advertisement of version 3 for one IPv4 address.
fn of_version_3() -> Advertisement {
    Advertisement {
        version: VrrpVersion::V3,
        vrid: Vrid::new(51).unwrap(),
        priority: Priority(100),
        advert_int: ms(1000),
        addresses: vec![VIP],
        auth: Auth::None,
    }
}
