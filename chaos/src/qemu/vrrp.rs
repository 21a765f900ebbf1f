//! `keepone-chaos qemu vrrp`: VRRP on interfaces and routes that not every kernel has: VLANs, ipvlans, VRFs, bonds, MPLS.
//!
//! A node and a client are network namespaces of one guest. What works is what the client hears; what is silent is
//! what its cables carry.

mod gate;
mod routes;

use std::path::Path;
use std::time::Instant;

use super::image::Extra;
use super::session::{self, Guest};
use crate::netns::error::Error;

const MODULES: [&str; 20] = [
    "bridge",
    "veth",
    "8021q",
    "vrf",
    "ipvlan",
    "macvlan",
    "bonding",
    "mpls_router",
    "mpls_iptunnel",
    "ila",
    "nft_fib_inet",
    "nft_fib_netdev",
    "nft_fib",
    "nft_fib_ipv4",
    "nft_fib_ipv6",
    "ip_tunnel",
    "tunnel4",
    "ip6_tunnel",
    "llc",
    "stp",
];
const PROGRAMS: [(&str, &str); 1] = [("ip", "iproute2")];

const LIB: &str = include_str!("vrrp/lib");

/// What was seen of one story.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    /// Its name.
    pub story: String,
    /// How long it took on the host.
    pub took_s: f64,
    /// What does not hold; empty is success.
    pub violations: Vec<String>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    /// An agent that stands still is silent on every kind of interface: the means of the gate, and whether the node routes.
    Gate(&'static str, bool),
    /// Routes of a VRF, and with `encap`.
    Routes,
}

impl Story {
    const ALL: [Story; 4] = [
        Story::Gate(gate::MEANS[0], true),
        Story::Gate(gate::MEANS[0], false),
        Story::Gate(gate::MEANS[1], true),
        Story::Routes,
    ];

    fn name(self) -> String {
        match self {
            Story::Gate(means, true) => format!("gate-{means}-routing"),
            Story::Gate(means, false) => format!("gate-{means}"),
            Story::Routes => "routes".to_owned(),
        }
    }
}

/// Boots a guest and plays the stories whose name contains `only`, one after the other.
///
/// # Errors
/// When the guest can't be made or does not answer.
pub fn run(
    (kernel, bin_dir, room): (&Path, &Path, &Path),
    only: &str,
    mut tell: impl FnMut(&Report),
) -> Result<(), Error> {
    let mut files = vec![("lib".to_owned(), LIB.to_owned())];
    for more in [gate::files(), routes::files()] {
        files.extend(more);
    }
    let extra = Extra { modules: &MODULES, programs: &PROGRAMS };
    let mut guest = session::boot((kernel, bin_dir, room), "vrrp", extra, files, false)?;
    guest.must(
        "export PATH=/sbin:/bin; . /vrrp/lib; for m in $(cat /modules/extra); do insmod /modules/$m.ko || exit 1; done",
    )?;
    for story in Story::ALL.into_iter().filter(|story| story.name().contains(only)) {
        let begin = Instant::now();
        match story {
            Story::Gate(means, routes) => gate::play(&mut guest, means, routes)?,
            Story::Routes => routes::play(&mut guest)?,
        }
        let violations = std::mem::take(&mut guest.violations);
        let took_s = begin.elapsed().as_secs_f64();
        tell(&Report { story: story.name(), took_s: (took_s * 10.0).round() / 10.0, violations });
    }
    Ok(())
}
