//! What becomes of Advertisements that have to prove something, whatever they prove it by.

use super::*;
use crate::action::{Alert, AlertName};

pub(super) fn counted(cluster: &Cluster) -> (u64, u64) {
    let counters = cluster.nodes[&1].counters();
    (counters.unauthentic_advertisements, counters.bad_advertisements)
}

pub(super) fn mismatch(cluster: &Cluster) -> Option<&Alert> {
    cluster.log.iter().rev().find_map(|(_, _, action)| match action {
        Action::Alert(alert) if alert.name == AlertName::ConfigMismatch => Some(alert),
        _ => None,
    })
}

/// The Master that the virtual router believes in.
pub(super) fn master(cluster: &Cluster) -> Option<IpAddr> {
    let mut domains = cluster.nodes[&1].domains.values();
    domains.next()?.routers.first()?.machine.master().map(|master| master.address)
}
