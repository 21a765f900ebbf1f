//! The gate on the running kernel, in namespaces of its own. These tests need root.

/// Tests that hold for means 1 and 2 alike: functions of a [`Means`].
macro_rules! by_both_means {
    ($($name:ident),* $(,)?) => {
        $(mod $name {
            use super::Means;

            #[test]
            fn bpf() {
                super::$name(Means::Bpf);
            }

            #[test]
            fn nft() {
                super::$name(Means::Nft);
            }
        })*
    };
}

mod accept;
mod adopt;
mod change;
mod egress;
mod ingress;
mod life;
mod tables;
mod world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use keepone_proto::id::NodeId;

use super::*;
use world::Host;

const D: DomainId = DomainId(0xd0);
const OTHER: DomainId = DomainId(0xd1);
const VIP4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 0x100);
const VRID: u8 = 51;

/// Of the run that most tests have only one of.
fn epoch(counter: u64) -> Epoch {
    epoch_of(1, counter)
}

fn epoch_of(incarnation: u64, counter: u64) -> Epoch {
    Epoch { counter, incarnation: Incarnation(incarnation), attempt: 1, node: NodeId::new(1).unwrap() }
}

fn now() -> Instant {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
    Instant::from_nanos(Duration::from(time).as_nanos() as u64)
}

fn in_future(millis: u64) -> Instant {
    now() + Duration::from_millis(millis)
}

fn config(host: &Host, means: Means, incarnation: u64) -> GateConfig {
    config_in(&host.bpf_dir, means, incarnation)
}

fn config_in(dir: &std::path::Path, means: Means, incarnation: u64) -> GateConfig {
    let vrid = Vrid::new(VRID).unwrap();
    GateConfig {
        bpf_dir: dir.into(),
        run_dir: dir.with_extension("run"),
        domains: vec![
            GateDomain { id: OTHER, addresses: vec!["10.9.0.101".parse().unwrap()], refused: vec![], routers: vec![] },
            GateDomain {
                id: D,
                addresses: vec![IpAddr::V4(VIP4), IpAddr::V6(VIP6)],
                refused: vec![],
                routers: vec![(vrid, false), (vrid, true)],
            },
        ],
        exempt: BTreeSet::new(),
        incarnation: Incarnation(incarnation),
        means,
        left_open: Vec::new(),
    }
}

/// The same with one address more, which makes another layout.
fn changed_config(host: &Host, means: Means, incarnation: u64) -> GateConfig {
    let mut config = config(host, means, incarnation);
    config.domains[0].addresses.push("10.9.0.102".parse().unwrap());
    config
}

/// A gate in the host's namespaces.
fn gate(host: &Host, means: Means, incarnation: u64) -> Gate {
    gate_of(host, config(host, means, incarnation))
}

fn gate_of(host: &Host, config: GateConfig) -> Gate {
    host.run(move || Gate::open_new(&config).unwrap())
}
