//! What an instance can be told beyond its election: `global_defs` filled in, and what contradicts itself.

use keepone_proto::settings::VrrpVersion;

use crate::model::{Hmac, HmacMode, OwnInterfaceKind, Trackers, VrrpOptions};
use crate::raw::{RawHmac, RawInstance, RawOptions};
use crate::source::At;

use super::{Check, or, value};

impl Check<'_> {
    /// Options of an instance whose trackers are known.
    pub(super) fn options(&mut self, raw: &RawInstance, trackers: Trackers, ipv6: bool) -> VrrpOptions {
        let own = &raw.options;
        let global = &self.raw.global;
        let all = &global.defaults;
        let mail = own.smtp_alert.or(global.smtp_alert_vrrp).or(global.smtp_alert).unwrap_or(false);
        let strict = own.strict.as_ref().or(all.strict.as_ref()).is_some_and(|strict| strict.value);
        let flag = |get: fn(&RawOptions) -> Option<bool>| get(own).or(get(all)).unwrap_or(false);
        let mut own_interface = own.own_interface.as_ref().map(|at| at.value.clone());
        if let Some(interface) = &mut own_interface {
            interface.transmit_on_base = or(&own.vmac_xmit_base, false);
            interface.for_other_addresses = or(&own.use_vmac_addr, false);
        }
        self.own_interface(raw);
        self.group(raw, ipv6);
        VrrpOptions {
            strict,
            // RFC 9568, 6.1: only the owner accepts, unless told otherwise.
            accept: own.accept.as_ref().map_or(!strict, |accept| accept.value),
            skip_check_adv_addr: flag(|o| o.skip_check_adv_addr),
            check_unicast_src: flag(|o| o.check_unicast_src),
            unicast_fault_no_peer: own.unicast_fault_no_peer,
            unicast_ttl: own.unicast_ttl,
            peer_ttl: own.peer_ttl.clone(),
            track_src_ip: own.track_src_ip,
            v3_checksum_as_v2: flag(|o| o.v3_checksum_as_v2),
            down_timer_adverts: or(&own.down_timer_adverts, or(&all.down_timer_adverts, 3)),
            timer_expired_backup: value(&own.timer_expired_backup),
            lower_prio_no_advert: own.lower_prio_no_advert.or(all.lower_prio_no_advert).unwrap_or(strict),
            higher_prio_send_advert: flag(|o| o.higher_prio_send_advert),
            owner_ignore_adverts: own.owner_ignore_adverts.or(all.owner_ignore_adverts).unwrap_or(strict),
            own_interface,
            promote_secondaries: own.promote_secondaries,
            extra_interfaces: own.extra_interfaces.or(all.extra_interfaces).flatten(),
            trackers,
            routes: own.routes.iter().map(|at| at.value.clone()).collect(),
            rules: own.rules.iter().map(|at| at.value.clone()).collect(),
            hmac: own.hmac.as_ref().and_then(|hmac| self.hmac(raw, hmac)),
            smtp_alert: mail,
            notify_priority_changes: flag(|o| o.notify_priority_changes),
            notify_deleted: own.notify_deleted.clone(),
            notify_master_rx_lower_pri: own.notify_master_rx_lower_pri.clone(),
        }
    }

    fn own_interface(&mut self, raw: &RawInstance) {
        let own = &raw.options;
        let vmac = own.own_interface.as_ref().filter(|at| matches!(at.value.kind, OwnInterfaceKind::Vmac { .. }));
        for (flag, keyword) in [(&own.vmac_xmit_base, "vmac_xmit_base"), (&own.use_vmac_addr, "use_vmac_addr")] {
            if let Some(flag) = flag.as_ref().filter(|flag| flag.value && own.own_interface.is_none()) {
                let message = format!("`{}`: {keyword} without use_vmac", raw.name.value);
                self.report.warning(&flag.place, message, "add `use_vmac`, or remove it");
            }
        }
        let unicast = raw.unicast_peers.is_some();
        let on_base = own.vmac_xmit_base.as_ref().is_some_and(|flag| flag.value);
        if let Some(vmac) = vmac.filter(|_| unicast && !on_base) {
            let message = format!("`{}`: use_vmac with unicast peers", raw.name.value);
            let help = "add `vmac_xmit_base`: a virtual MAC as sender of unicast confuses switches";
            self.report.warning(&vmac.place, message, help);
        }
    }

    /// Peers listen on the group that they are told: to ignore another one would make two Masters.
    fn group(&mut self, raw: &RawInstance, ipv6: bool) {
        let Some(At { value: group, place }) = &raw.options.mcast_dst_ip else { return };
        let global = self.global();
        let ours: std::net::IpAddr =
            if ipv6 { global.vrrp_mcast_group6.into() } else { global.vrrp_mcast_group4.into() };
        if *group != ours {
            let message = format!("`{}`: mcast_dst_ip {group} is known, but not yet active", raw.name.value);
            let help = format!(
                "write the group for all instances in global_defs ({}) until then: who listens elsewhere hears no \
                 Master, and becomes one",
                if ipv6 { "vrrp_mcast_group6" } else { "vrrp_mcast_group4" }
            );
            self.report.error(place, message, help);
        }
    }

    fn hmac(&mut self, raw: &RawInstance, hmac: &RawHmac) -> Option<Hmac> {
        let name = &raw.name.value;
        if !hmac.has_keys {
            let message = format!("`{name}`: auth_hmac without a key");
            self.report.error(&hmac.place, message, "add `key 1 hex:DIGITS`, alike on every node");
            return None;
        }
        if !hmac.has_active_key {
            let message = format!("`{name}`: auth_hmac without active_key: nothing would be signed");
            self.report.error(&hmac.place, message, "add `active_key` and the number of a key");
            return None;
        }
        let active = hmac.active_key.as_ref()?;
        if !hmac.keys.is_empty() && !hmac.keys.iter().any(|(number, _)| *number == active.value) {
            let message = format!("`{name}`: active_key {} is none of its keys: nothing would be signed", active.value);
            self.report.error(&active.place, message, "write the number of a `key` of this block");
            return None;
        }
        if hmac.mode == HmacMode::Enforce {
            let message = format!("`{name}`: auth_hmac is known, but not yet active");
            let help = "write `mode permissive` on every node until then: unsigned Advertisements would be dropped, and \
                        both would be Master";
            self.report.error(&hmac.place, message, help);
            return None;
        }
        Some(Hmac {
            keys: hmac.keys.clone(),
            active_key: active.value,
            mode: hmac.mode,
            time_window: hmac.time_window,
            monotonic: hmac.monotonic,
        })
    }

    /// What strict mode would forbid (RFC 9568 and RFC 3768 know none of it).
    pub(super) fn strict(&mut self, raw: &RawInstance, version: VrrpVersion) {
        let global = self.raw.global.defaults.strict.as_ref();
        let Some(strict) = raw.options.strict.as_ref().or(global).filter(|strict| strict.value) else { return };
        let name = &raw.name.value;
        let owner = raw.priority.as_ref().is_some_and(|priority| priority.value.0 == 255);
        let mut forbids = Vec::new();
        if raw.unicast_peers.is_some() {
            forbids.push("unicast_peer");
        }
        if raw.auth_type.is_some() && version == VrrpVersion::V2 {
            forbids.push("authentication (RFC 3768, 9)");
        }
        if raw.addresses.is_empty() {
            forbids.push("an instance without virtual addresses");
        }
        if !forbids.is_empty() {
            let message = format!("`{name}` is in strict mode, which knows no {}", forbids.join(", no "));
            self.report.warning(&strict.place, message, "remove strict mode, or what it forbids");
        }
        if !owner && raw.options.accept.is_none() {
            let message =
                format!("`{name}` is in strict mode: its addresses would not answer a ping, nor take connections");
            let help = "add `accept` to the instance, or remove strict mode: only the owner (priority 255) accepts";
            self.report.warning(&strict.place, message, help);
        }
    }
}
