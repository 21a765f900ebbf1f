//! Two sides compared: each setting that both must have alike.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Difference, Known};
use crate::id::{ClusterId, DomainId, NodeId, hash_name};
use crate::lease::timing::Millis;
use crate::settings::{AuthType, Authority, DomainSettings, InstanceSettings, Settings, VrrpVersion};
use crate::wire::profile::{InstanceProfile, LeaseProfile};
use crate::wire::vrrp::hmac::Key;

/// Our own instances as a peer is told of them, each with its place; what changes while we run is filled in later. One
/// that is in no domain is left of a former configuration.
pub(crate) fn instances(settings: &Settings) -> Vec<(usize, InstanceProfile)> {
    let of = |(place, instance): (usize, &InstanceSettings)| {
        let domain = settings.domains.iter().find(|d| d.instances.iter().any(|id| usize::from(id.0) == place))?;
        Some((place, profile(settings.cluster, domain, instance)))
    };
    settings.instances.iter().enumerate().filter_map(of).collect()
}

fn with_settings<'a>(
    settings: &'a Settings,
    own: &'a [(usize, InstanceProfile)],
) -> impl Iterator<Item = (&'a InstanceProfile, &'a InstanceSettings)> {
    own.iter().filter_map(|(place, mine)| Some((mine, settings.instances.get(*place)?)))
}

/// What voters must agree on, if there are any.
pub(crate) fn lease(settings: &Settings) -> Option<LeaseProfile> {
    settings.domains.iter().find_map(|domain| match &domain.authority {
        Authority::Quorum(quorum) => Some(LeaseProfile {
            lease: quorum.timing.lease,
            lease_max: quorum.timing.lease_max,
            rate_error_ppm: quorum.timing.rate_error_ppm,
            voters: quorum.voters.clone(),
        }),
        _ => None,
    })
}

fn profile(cluster: ClusterId, domain: &DomainSettings, instance: &InstanceSettings) -> InstanceProfile {
    // A sum does not know the order, which does not matter (RFC 9568, 7.1).
    let addresses = instance.addresses.iter().map(|address| hash_name(&address.to_string()));
    InstanceProfile {
        name: hash_name(&instance.name),
        domain: domain.id,
        vrid: instance.vrid.get(),
        version: number(instance.version),
        ipv6: instance.ipv6,
        hears_no_master: false,
        preempt: instance.preempt,
        priority: instance.priority,
        advert_int: instance.advert_int,
        addresses: u8::try_from(instance.addresses.len()).unwrap_or(u8::MAX),
        addresses_hash: addresses.fold(0, u64::wrapping_add),
        auth: match signing(cluster, instance) {
            Some(hash) => hash,
            None => password(cluster, instance),
        },
        unicast: instance.unicast_peers.is_some(),
        source: None,
        policy: matches!(domain.authority, Authority::Quorum(_)).then_some(domain.policy),
    }
}

/// With the cluster and the instance in it, so that equal keys elsewhere do not show; 0: no authentication.
fn password(cluster: ClusterId, instance: &InstanceSettings) -> u64 {
    match (instance.version, instance.auth_pass, instance.auth_type) {
        (VrrpVersion::V2, Some(secret), AuthType::Pass) => {
            hash_name(&format!("{} {} {secret:?}", cluster.0, instance.name)).max(1)
        }
        (VrrpVersion::V2, Some(secret), AuthType::Ah) => {
            hash_name(&format!("{} {} AH {secret:?}", cluster.0, instance.name)).max(1)
        }
        (VrrpVersion::V2, None, _) | (VrrpVersion::V3, _, _) => 0,
    }
}

/// The keys of `auth_hmac`, whichever of them signs: all that a node can prove.
fn signing(cluster: ClusterId, instance: &InstanceSettings) -> Option<u64> {
    let mut keys = instance.hmac.as_ref()?.keys.clone();
    keys.sort_unstable_by_key(|(number, _)| *number);
    let hash = |(number, key): &(u8, Key)| {
        hash_name(&format!("{} {} HMAC {number} {:?}", cluster.0, instance.name, key.reveal()))
    };
    Some(keys.iter().map(hash).fold(0, |all: u64, one| all.rotate_left(7) ^ one).max(1))
}

pub(crate) fn number(version: VrrpVersion) -> u8 {
    match version {
        VrrpVersion::V2 => 2,
        VrrpVersion::V3 => 3,
    }
}

/// Everything that differs between this node and a peer. `own` are [`instances`].
pub(crate) fn differences(
    settings: &Settings,
    own: &[(usize, InstanceProfile)],
    node: NodeId,
    theirs: &Known,
) -> Vec<Difference> {
    let peer = settings.names.node(node).into_owned();
    let mut found = Vec::new();
    let mut of_node = |words: String, remedy: String| found.push(Difference { domain: None, words, remedy });
    if theirs.cluster != settings.cluster {
        let words = format!("{peer} belongs to another cluster: its cluster name is not ours");
        of_node(words, format!("give {peer} and this node one cluster name"));
        return found;
    }
    if theirs.period != settings.heartbeat.period {
        let ours = Millis(settings.heartbeat.period);
        let words = format!("heartbeat interval: {} on {peer}, {ours} here", Millis(theirs.period));
        of_node(words, format!("set one heartbeat interval on {peer} and here"));
    }
    if u32::from(theirs.misses) != settings.heartbeat.misses {
        let words = format!("heartbeat misses: {} on {peer}, {} here", theirs.misses, settings.heartbeat.misses);
        of_node(words, format!("set one number of misses on {peer} and here"));
    }
    compare_lease(settings, &peer, lease(settings).as_ref(), theirs.lease.as_ref(), &mut found);
    for (mine, settings) in with_settings(settings, own) {
        compare_instance(&peer, settings, mine, theirs, &mut found);
    }
    let strange = theirs.instances().filter(|theirs| !own.iter().any(|(_, mine)| mine.name == theirs.name));
    let strange: Vec<String> = strange.map(|instance| format!("VRID {}", instance.vrid)).collect();
    if !strange.is_empty() {
        found.push(Difference {
            domain: None,
            words: format!("{peer} has a vrrp_instance that this node has not ({})", strange.join(", ")),
            remedy: format!("configure the same vrrp_instances, of the same names, on {peer} and here"),
        });
    }
    found
}

fn compare_lease(
    settings: &Settings,
    peer: &str,
    ours: Option<&LeaseProfile>,
    theirs: Option<&LeaseProfile>,
    found: &mut Vec<Difference>,
) {
    let remedy = || format!("make the [arbiter] sections of {peer} and this node alike (V9)");
    let mut say = |words| found.push(Difference { domain: None, words, remedy: remedy() });
    let (ours, theirs) = match (ours, theirs) {
        (None, None) => return,
        (Some(_), None) => return say(format!("{peer} asks no authority, this node does")),
        (None, Some(_)) => return say(format!("{peer} asks an authority, this node asks none")),
        (Some(ours), Some(theirs)) => (ours, theirs),
    };
    if ours.voters != theirs.voters {
        let list = |voters: &[NodeId]| {
            voters.iter().map(|voter| settings.names.node(*voter).into_owned()).collect::<Vec<_>>().join(", ")
        };
        say(format!("voters: {} on {peer}, {} here", list(&theirs.voters), list(&ours.voters)));
    }
    let mut length = |what: &str, theirs: Duration, ours: Duration| {
        if theirs.as_millis() != ours.as_millis() {
            say(format!("{what}: {} on {peer}, {} here", Millis(theirs), Millis(ours)));
        }
    };
    length("lease", theirs.lease, ours.lease);
    length("longest lease", theirs.lease_max, ours.lease_max);
    if ours.rate_error_ppm != theirs.rate_error_ppm {
        say(format!("rate error: {} ppm on {peer}, {} ppm here", theirs.rate_error_ppm, ours.rate_error_ppm));
    }
}

fn compare_instance(
    peer: &str,
    settings: &InstanceSettings,
    mine: &InstanceProfile,
    theirs: &Known,
    found: &mut Vec<Difference>,
) {
    let name = &settings.name;
    let mut say = |what: &str, words: String| {
        found.push(Difference {
            domain: Some(mine.domain),
            words: format!("{name}: {words}"),
            remedy: format!("set the same {what} for {name} on {peer} and here"),
        });
    };
    let Some(other) = theirs.instance(mine.name) else {
        if theirs.is_complete() {
            let alike = theirs.instances().any(|theirs| theirs.vrid == mine.vrid && theirs.ipv6 == mine.ipv6);
            let called = if alike { ", but one of its VRID under another name" } else { "" };
            say("vrrp_instance name", format!("{peer} has no such vrrp_instance{called}"));
        }
        return;
    };
    if other.domain != mine.domain {
        say("vrrp_sync_group", format!("it is in another vrrp_sync_group on {peer}"));
    }
    if other.vrid != mine.vrid {
        say("virtual_router_id", format!("virtual_router_id {} on {peer}, {} here", other.vrid, mine.vrid));
    }
    if (other.version, other.ipv6) != (mine.version, mine.ipv6) {
        let family = |ipv6| if ipv6 { "IPv6" } else { "IPv4" };
        let of = |one: &InstanceProfile| format!("VRRPv{} over {}", one.version, family(one.ipv6));
        say("version", format!("{} on {peer}, {} here", of(other), of(mine)));
    }
    if other.advert_int.as_millis() / 10 != mine.advert_int.as_millis() / 10 {
        let (theirs, ours) = (Millis(other.advert_int), Millis(mine.advert_int));
        say("advert_int", format!("advert_int {theirs} on {peer}, {ours} here"));
    }
    if (other.addresses, other.addresses_hash) != (mine.addresses, mine.addresses_hash) {
        let list = settings.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let count = other.addresses;
        say("virtual_ipaddress", format!("other virtual addresses on {peer} ({count} of them) than here ({list})"));
    }
    match (other.auth, mine.auth) {
        (theirs, ours) if theirs == ours => {}
        (0, _) => {
            let ours = if settings.hmac.is_some() { "auth_hmac" } else { "a password" };
            say("authentication", format!("no authentication on {peer}, {ours} here"));
        }
        (_, 0) => say("authentication", format!("a password or keys on {peer}, no authentication here")),
        (_, _) if settings.hmac.is_some() => say("auth_hmac", format!("other keys on {peer} than here")),
        (_, _) => say("auth_pass", format!("another password on {peer} than here, or another auth_type")),
    }
    // A peer of a release that can't tell it says nothing.
    if let (Some(theirs), Some(ours)) = (other.policy, mine.policy)
        && theirs != ours
    {
        say("policy", format!("policy {} on {peer}, {} here", theirs.as_str(), ours.as_str()));
    }
    if other.unicast != mine.unicast {
        let of = |unicast| if unicast { "unicast" } else { "multicast" };
        say("unicast_peer", format!("{} on {peer}, {} here", of(other.unicast), of(mine.unicast)));
    }
}

/// Instances whose base priority a peer has, too: the node's number decides between them, which is seldom what
/// was meant.
pub(crate) fn clashes(
    settings: &Settings,
    own: &[(usize, InstanceProfile)],
    node: NodeId,
    theirs: &Known,
) -> Vec<(DomainId, String)> {
    let peer = settings.names.node(node);
    let mut found = Vec::new();
    for (mine, settings) in with_settings(settings, own) {
        if theirs.instance(mine.name).is_some_and(|other| other.priority == mine.priority) {
            let words = format!("{}: priority {} on {peer} and here", settings.name, mine.priority.0);
            found.push((mine.domain, words));
        }
    }
    found
}
