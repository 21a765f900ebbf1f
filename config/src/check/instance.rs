//! Virtual routers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use keepone_proto::id::Priority;
use keepone_proto::lease::timing::Millis;
use keepone_proto::settings::{AuthType, VrrpVersion};
use keepone_proto::time::Centis;

use crate::model::{InitialState, Mirror, Secret, TrackInterface, Transport, VirtualAddress, VrrpInstance};
use crate::raw::{self, RawInstance, RawTrack};
use crate::source::Place;

use super::links::RouterKey;
use super::track::TrackerNames;
use super::{Check, Duplicate, announce, notify, or, value};

/// VRRP's packet counts its addresses in one byte (RFC 9568, 5.2.5).
const MAX_ADDRESSES: usize = 255;

impl Check<'_> {
    pub(super) fn instances(&mut self, trackers: &TrackerNames<'_>) -> Option<Vec<VrrpInstance>> {
        let raw = self.raw;
        let (mut by_name, mut by_vrid, mut by_vip) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut instances = Some(Vec::new());
        for instance in &raw.instances {
            let name = &instance.name.value;
            let what = format!("a second vrrp_instance named `{name}`");
            let new = Duplicate { place: &instance.name.place, what, help: "give each instance a name of its own" };
            self.duplicate(&mut by_name, name.clone(), new);
            let interface = self.interface(instance);
            let ipv6 = self.is_ipv6(instance);
            if let (Some(vrid), Some(interface)) = (&instance.vrid, &interface) {
                let family = if ipv6 { "IPv6" } else { "IPv4" };
                let number = vrid.value.get();
                let what =
                    format!("`{name}` has virtual_router_id {number} on {interface} ({family}), as another does");
                let help = "give each virtual router of an interface and family a number of its own, or another group with \
                            mcast_dst_ip";
                let new = Duplicate { place: &vrid.place, what, help };
                let key: RouterKey = (interface.clone(), ipv6, self.destination(instance, ipv6), vrid.value);
                self.duplicate(&mut by_vrid, key, new);
            }
            for vip in instance.addresses.iter().chain(&instance.excluded) {
                let what = format!("{} in `{name}` is a virtual address already", vip.value.address);
                let help = "an address belongs to one instance, once: remove the other";
                self.duplicate(&mut by_vip, vip.value.address, Duplicate { place: &vip.place, what, help });
            }
            let read = self.instance(instance, interface, ipv6, trackers);
            instances = instances.and_then(|mut all: Vec<VrrpInstance>| {
                all.push(read?);
                Some(all)
            });
        }
        instances
    }

    fn instance(
        &mut self,
        raw: &RawInstance,
        interface: Option<String>,
        ipv6: bool,
        trackers: &TrackerNames<'_>,
    ) -> Option<VrrpInstance> {
        let name = &raw.name.value;
        if !raw.written.has("virtual_router_id") {
            let message = format!("vrrp_instance `{name}` has no virtual_router_id");
            let help = "add `virtual_router_id N`, 1 to 255, the same on every node of this virtual router";
            self.report.error(&raw.name.place, message, help);
        }
        self.addresses(raw);
        let version = self.version(raw, ipv6);
        let advert_int = self.advert_int(raw, version);
        let (state, priority) = self.state_and_priority(raw);
        let transport = self.transport(raw, ipv6);
        let (auth_pass, auth_type) = self.auth(raw, version);
        let tracked = self.tracked(&raw.options.trackers, trackers);
        self.weights(raw, priority, &tracked);
        self.strict(raw);
        self.group(raw, ipv6);
        let options = self.options(raw, tracked, advert_int);
        let interface = interface?;
        let mut instance = VrrpInstance {
            options,
            policy: value(&raw.policy),
            mirror: or(&raw.mirror, Mirror::Auto),
            name: name.clone(),
            state,
            vrid: raw.vrid.as_ref()?.value,
            version,
            ipv6,
            priority,
            advert_int,
            preempt: !or(&raw.nopreempt, false),
            preempt_delay: or(&raw.preempt_delay, Duration::ZERO),
            virtual_addresses: raw.addresses.iter().chain(&raw.excluded).map(|vip| vip.value.clone()).collect(),
            transport,
            track_interface: self.track(raw, &interface),
            auth_pass,
            auth_type,
            announce: announce::of_instance(raw, &self.raw.global),
            notify: notify(&raw.notify),
            interface,
        };
        self.comply(raw, &mut instance);
        Some(instance)
    }

    fn interface(&mut self, raw: &RawInstance) -> Option<String> {
        let interface = raw.interface.as_ref().or(self.raw.global.default_interface.as_ref());
        if interface.is_none() && !raw.written.has("interface") {
            let message = format!("vrrp_instance `{}` has no interface", raw.name.value);
            self.report.error(&raw.name.place, message, "add `interface NAME`, as `ip link` shows it");
        }
        interface.map(|interface| interface.value.clone())
    }

    /// The family of the first address decides; without addresses, that of the peers.
    pub(super) fn is_ipv6(&self, raw: &RawInstance) -> bool {
        let vip = raw.addresses.first().map(|vip| vip.value.address);
        let peer = || raw.unicast_peers.as_ref().and_then(|peers| peers.value.first()).map(|peer| peer.value);
        let source = || raw.unicast_src_ip.as_ref().or(raw.mcast_src_ip.as_ref()).map(|source| source.value);
        vip.or_else(peer).or_else(source).map_or(raw.native_ipv6, |address| address.is_ipv6())
    }

    fn addresses(&mut self, raw: &RawInstance) {
        let name = &raw.name.value;
        let vips: Vec<(&VirtualAddress, &Place)> = raw.addresses.iter().map(|vip| (&vip.value, &vip.place)).collect();
        if let Some((first, rest)) = vips.split_first() {
            let other = rest.iter().find(|(vip, _)| vip.address.is_ipv4() != first.0.address.is_ipv4());
            if let Some((vip, place)) = other {
                let message = format!(
                    "`{name}` mixes families: {} and {} can't be in one Advertisement",
                    first.0.address, vip.address
                );
                let help = "make one instance for IPv4 and one for IPv6 (and a vrrp_sync_group of both), or move the \
                            address to virtual_ipaddress_excluded";
                self.report.error(place, message, help);
            }
            let link_local = |vip: &VirtualAddress| matches!(vip.address, IpAddr::V6(v6) if v6.is_unicast_link_local());
            if first.0.address.is_ipv6() && other.is_none() && !vips.iter().any(|(vip, _)| link_local(vip)) {
                let message = format!("`{name}` has no link-local address, where RFC 9568, 5.2.9, wants one first");
                let help = "add one, as `fe80::5e:1/64`: other routers may refuse its Advertisements without, and hosts \
                            need one for their gateway";
                self.report.warning(first.1, message, help);
            }
        } else if !raw.no_addresses && !raw.written.has("virtual_ipaddress") {
            let help = "add `virtual_ipaddress { ... }`, or `no_virtual_ipaddress` if that is meant";
            self.report.warning(&raw.name.place, format!("vrrp_instance `{name}` has no virtual address"), help);
        }
        if let Some((_, place)) = vips.get(MAX_ADDRESSES) {
            let message = format!("{} addresses in `{name}`, where a packet has room for {MAX_ADDRESSES}", vips.len());
            let help = "move the rest to virtual_ipaddress_excluded, or to another instance";
            self.report.error(place, message, help);
        }
    }

    fn version(&mut self, raw: &RawInstance, ipv6: bool) -> VrrpVersion {
        match &raw.version {
            Some(version) if ipv6 && version.value == VrrpVersion::V2 => {
                let message = format!("`{}` has IPv6 addresses, but VRRP version 2 is for IPv4", raw.name.value);
                self.report.error(&version.place, message, "write `version 3`, or leave it out");
                VrrpVersion::V3
            }
            Some(version) => version.value,
            None if ipv6 => VrrpVersion::V3,
            None => or(&self.raw.global.version, VrrpVersion::V2),
        }
    }

    fn advert_int(&mut self, raw: &RawInstance, version: VrrpVersion) -> Duration {
        let Some(at) = &raw.advert_int else { return Duration::from_secs(1) };
        let interval = at.value;
        let (fits, wanted, help) = match version {
            VrrpVersion::V2 => (
                interval.subsec_nanos() == 0 && (1..=255).contains(&interval.as_secs()),
                "version 2 carries whole seconds from 1 to 255",
                "write a whole number of seconds, or `version 3` on every node for shorter intervals",
            ),
            VrrpVersion::V3 => {
                let centis = Centis::from_duration(interval).map(Duration::from);
                let wanted = "version 3 carries 10 ms to 40.95 s in steps of 10 ms";
                (centis == Some(interval), wanted, "write for instance 0.1 for 100 ms, or 1")
            }
        };
        if !fits {
            let message = format!("advert_int of {}: {wanted}", Millis(interval));
            self.report.error(&at.place, message, help);
        }
        interval
    }

    fn state_and_priority(&mut self, raw: &RawInstance) -> (InitialState, Priority) {
        let name = &raw.name.value;
        let master = raw.state.as_ref().filter(|state| state.value == InitialState::Master);
        let priority = match (&raw.priority, master) {
            (Some(priority), _) => priority.value,
            (None, Some(state)) => {
                if !raw.written.has("priority") {
                    let message =
                        format!("`{name}` has state MASTER and no priority, which means 255, the address owner");
                    self.report.warning(&state.place, message, "write the priority that is meant, for instance 150");
                }
                Priority::OWNER
            }
            (None, None) => Priority(100),
        };
        let default = if priority == Priority::OWNER { InitialState::Master } else { InitialState::Backup };
        let state = or(&raw.state, default);
        if let Some(nopreempt) = raw.nopreempt.as_ref().filter(|flag| flag.value) {
            if priority == Priority::OWNER {
                let message = format!("`{name}`: nopreempt does nothing at priority 255, which always preempts");
                self.report.warning(&nopreempt.place, message, "lower the priority to 254 or less");
            } else if state == InitialState::Master {
                let message =
                    format!("`{name}`: nopreempt with state MASTER: the node would stand for election at its start");
                self.report.warning(&nopreempt.place, message, "write `state BACKUP` on every node");
            }
        }
        (state, priority)
    }

    fn transport(&mut self, raw: &RawInstance, ipv6: bool) -> Transport {
        let name = &raw.name.value;
        let sources = [&raw.mcast_src_ip, &raw.unicast_src_ip];
        for source in sources.into_iter().flatten() {
            self.family(name, source.value, &source.place, ipv6);
        }
        let faults = raw.options.unicast_fault_no_peer;
        let Some(peers) = &raw.unicast_peers else {
            if faults && !raw.written.has("unicast_peer") {
                // The trap of it is told with the others.
                return Transport::Unicast { source: value(&raw.unicast_src_ip), peers: Vec::new() };
            }
            if let Some(source) = raw.unicast_src_ip.as_ref().filter(|_| !raw.written.has("unicast_peer")) {
                let message =
                    format!("`{name}` has unicast_src_ip, but no unicast_peer: it is sent to the multicast group");
                let help = "add `unicast_peer { ... }`, or write `mcast_src_ip`";
                self.report.warning(&source.place, message, help);
            }
            let source = raw.mcast_src_ip.as_ref().or(raw.unicast_src_ip.as_ref()).map(|source| source.value);
            return Transport::Multicast { source };
        };
        if let Some(source) = &raw.mcast_src_ip {
            let message = format!("`{name}` has mcast_src_ip and unicast_peer: only unicast is sent");
            self.report.warning(&source.place, message, "write `unicast_src_ip`, or remove `unicast_peer`");
        }
        if peers.value.is_empty() && faults {
            let message = format!("`{name}`: unicast_peer without a peer: it stays in FAULT (unicast_fault_no_peer)");
            self.report.warning(&peers.place, message, "list the other nodes' addresses");
        } else if peers.value.is_empty() {
            let message = format!("`{name}`: unicast_peer without a peer: nobody would hear it");
            self.report.error(
                &peers.place,
                message,
                "list the other nodes' addresses, or remove the block for multicast",
            );
        }
        let mut seen = BTreeMap::new();
        for peer in &peers.value {
            let new = Duplicate {
                place: &peer.place,
                what: format!("unicast peer {} twice", peer.value),
                help: "remove one",
            };
            self.duplicate(&mut seen, peer.value, new);
            self.family(name, peer.value, &peer.place, ipv6);
            if raw.unicast_src_ip.as_ref().is_some_and(|source| source.value == peer.value) {
                let message = format!("unicast peer {} is this node's own unicast_src_ip", peer.value);
                self.report.error(&peer.place, message, "list the other nodes only");
            }
        }
        Transport::Unicast { source: value(&raw.unicast_src_ip), peers: peers.value.iter().map(|p| p.value).collect() }
    }

    pub(super) fn family(&mut self, name: &str, address: IpAddr, place: &Place, ipv6: bool) {
        if address.is_ipv6() != ipv6 {
            let family = if ipv6 { "IPv6" } else { "IPv4" };
            let message = format!("{address} in `{name}`, whose Advertisements travel over {family}");
            self.report.error(place, message, format!("write an {family} address"));
        }
    }

    /// The password, if it is to be used, and how.
    fn auth(&mut self, raw: &RawInstance, version: VrrpVersion) -> (Option<Secret>, AuthType) {
        let name = &raw.name.value;
        let kind = raw.auth_type.as_ref();
        let auth_type = match kind.map(|kind| kind.value) {
            Some(raw::AuthType::Pass) => Some(AuthType::Pass),
            Some(raw::AuthType::Ah) => Some(AuthType::Ah),
            Some(raw::AuthType::None) | None => None,
        };
        match (kind, &raw.auth_pass) {
            (Some(kind), None) if auth_type.is_some() && !raw.written.has("auth_pass") => {
                let word = if auth_type == Some(AuthType::Ah) { "AH" } else { "PASS" };
                let message = format!("`{name}`: {word} without auth_pass");
                self.report.error(&kind.place, message, "add `auth_pass PASSWORD`");
            }
            (None, Some(secret)) => {
                let message = format!("`{name}` has auth_pass, but no auth_type");
                let help = "add `auth_type PASS` or `auth_type AH`, or remove the password";
                self.report.error(&secret.place, message, help);
            }
            _ => {}
        }
        if let Some(kind) = kind.filter(|_| auth_type.is_some() && raw.options.hmac.is_some()) {
            let message = format!("`{name}` has auth_hmac, which replaces authentication: that is ignored");
            self.report.warning(&kind.place, message, "remove one of them, alike on every node");
            return (None, AuthType::default());
        }
        if let Some(kind) = kind.filter(|_| auth_type.is_some() && version == VrrpVersion::V3) {
            let message = format!("`{name}` is VRRP version 3, which has no authentication: it is ignored");
            self.report.warning(&kind.place, message, "remove `authentication`, or write `version 2`");
            return (None, AuthType::default());
        }
        (auth_type.and_then(|_| value(&raw.auth_pass)), auth_type.unwrap_or_default())
    }

    /// What the instance and its sync group watch; its own interface first.
    fn track(&self, raw: &RawInstance, interface: &str) -> Vec<TrackInterface> {
        let name = &raw.name.value;
        let groups = self.groups_of.get(name.as_str()).into_iter().flatten();
        let listed: Vec<&RawTrack> = raw.track.iter().chain(groups.flat_map(|group| &group.track)).collect();
        let own = raw.track_primary && !listed.iter().any(|track| track.interface.value == interface);
        let own = own.then(|| TrackInterface { interface: interface.to_owned(), weight: 0, reverse: false });
        let listed = listed.into_iter().map(|track| TrackInterface {
            interface: track.interface.value.clone(),
            weight: track.weight,
            reverse: track.reverse,
        });
        // The first word on each counts.
        let mut seen = BTreeSet::new();
        own.into_iter().chain(listed).filter(|track| seen.insert(track.interface.clone())).collect()
    }
}
