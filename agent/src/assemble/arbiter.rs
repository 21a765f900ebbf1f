//! Who else decides: etcd, or the witnesses.

use std::net::SocketAddr;
use std::time::Duration;

use keepone_arbiter::etcd::EtcdSettings;
use keepone_config::Config;
use keepone_proto::id::NodeId;
use keepone_proto::settings::Authority;

pub(super) fn etcd(config: &Config) -> Option<EtcdSettings> {
    let (etcd, Authority::Quorum(quorum)) = (config.etcd.as_ref()?, &config.authority) else { return None };
    Some(EtcdSettings {
        endpoints: etcd.endpoints.clone(),
        prefix: etcd.prefix.clone(),
        user: etcd.user.clone(),
        ca_file: etcd.ca_file.clone(),
        identity: etcd.identity.clone(),
        patience: quorum.timing.renewal_interval(),
        session: etcd.lease.then(|| whole_seconds(quorum.timing.lease)),
    })
}

/// Rounded up: etcd counts its leases in these.
fn whole_seconds(length: Duration) -> Duration {
    Duration::from_secs(length.as_secs() + u64::from(length.subsec_nanos() > 0))
}

pub(super) fn witnesses(config: &Config) -> Vec<(NodeId, SocketAddr)> {
    let Authority::Quorum(quorum) = &config.authority else { return Vec::new() };
    let members = config.cluster.iter().flat_map(|cluster| &cluster.members);
    // Those of the generation before are asked as well: what they have on record bears ours out (V9).
    let asked = quorum.everybody();
    members.filter(|member| asked.contains(&member.id)).filter_map(|m| Some((m.id, m.witness?))).collect()
}
