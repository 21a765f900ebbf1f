//! What is said of links: how long a change must last, and of which groups they are told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use keepone_proto::lease::timing::Millis;

use crate::diagnostic::Severity;
use crate::model::{OwnInterfaceKind, VrrpInstance};
use crate::raw::RawInstance;
use crate::source::At;

use super::{Check, Duplicate};

/// An interface, its family, and its VRID; and where Advertisements go, `None`: to peers.
pub(super) type RouterKey = (String, bool, Option<IpAddr>, keepone_proto::id::Vrid);

impl Check<'_> {
    /// `interface_up_down_delays`. An instance that is Master must know of its dead link before others stand for
    /// election: a longer delay is cut to that.
    pub(super) fn link_delays(&mut self, instances: &[VrrpInstance]) -> Vec<(String, Duration, Duration)> {
        let raw = self.raw;
        let mut seen = BTreeMap::new();
        let mut delays = Vec::new();
        for At { value: (name, down, up), place } in &raw.global.link_delays {
            let what = format!("interface_up_down_delays: a second line for {name}");
            if self.duplicate(&mut seen, name.clone(), Duplicate { place, what, help: "remove one" }) {
                continue;
            }
            let uses = |instance: &&VrrpInstance| {
                instance.interface == *name || instance.track_interface.iter().any(|track| track.interface == *name)
            };
            // The last Advertisement may have left an interval before.
            let patience = |instance: &VrrpInstance| {
                instance.advert_int * u32::from(instance.options.down_timer_adverts.saturating_sub(1))
            };
            let Some((most, instance)) =
                instances.iter().filter(uses).map(|one| (patience(one), one)).min_by_key(|of| of.0)
            else {
                let message = format!("interface_up_down_delays: no instance uses or tracks {name}");
                self.report.push(Severity::Note, place, message, String::from("remove the line"));
                continue;
            };
            let mut down = *down;
            if down > most {
                let message = format!(
                    "interface_up_down_delays: {name} would be down {} late, when others have stood for `{}` already: {} \
                     is used",
                    Millis(down),
                    instance.name,
                    Millis(most)
                );
                let help = "shorten it below down_timer_adverts - 1 times advert_int, or lengthen advert_int";
                self.report.warning(place, message, help);
                down = most;
            }
            delays.push((name.clone(), down, *up));
        }
        delays
    }

    /// `mcast_dst_ip`: of the family that is spoken, and for IPv6 of the link (keepalived.conf(5)).
    pub(super) fn group(&mut self, raw: &RawInstance, ipv6: bool) {
        let Some(At { value: group, place }) = &raw.options.mcast_dst_ip else { return };
        let name = &raw.name.value;
        self.family(name, *group, place, ipv6);
        let is_wide = matches!(group, IpAddr::V6(v6) if v6.octets().get(1).is_some_and(|scope| scope & 0xf != 2));
        if is_wide {
            let message = format!("`{name}`: mcast_dst_ip {group} is not of the link");
            self.report.error(place, message, "write a group that begins with ff02, or ff12 for one of your own");
        }
        if raw.unicast_peers.is_some() {
            let message = format!("`{name}` has mcast_dst_ip and unicast_peer: only unicast is sent");
            self.report.warning(place, message, "remove one of them");
        }
    }

    /// Where an instance's Advertisements go; `None`: to peers.
    pub(super) fn destination(&self, raw: &RawInstance, ipv6: bool) -> Option<IpAddr> {
        if raw.unicast_peers.is_some() {
            return None;
        }
        let global = self.global();
        let of_all: IpAddr = if ipv6 { global.vrrp_mcast_group6.into() } else { global.vrrp_mcast_group4.into() };
        Some(raw.options.mcast_dst_ip.as_ref().map_or(of_all, |group| group.value))
    }

    /// Two virtual routers of one VRID, on different groups, have the same virtual MAC, which an interface bears once.
    pub(super) fn virtual_macs(&mut self) {
        let raw = self.raw;
        let mut seen = BTreeMap::new();
        for instance in &raw.instances {
            let own = instance.options.own_interface.as_ref();
            let own = own.filter(|own| matches!(own.value.kind, OwnInterfaceKind::Vmac { mac: None }));
            let interface = instance.interface.as_ref().or(raw.global.default_interface.as_ref());
            let (Some(own), Some(vrid), Some(interface)) = (own, &instance.vrid, interface) else { continue };
            let key = (interface.value.clone(), self.is_ipv6(instance), vrid.value);
            let what = format!("`{}` has the virtual MAC of another on {}", instance.name.value, interface.value);
            let help = "write a MAC of its own after use_vmac, or give it another virtual_router_id";
            self.duplicate(&mut seen, key, Duplicate { place: &own.place, what, help });
        }
    }
}
