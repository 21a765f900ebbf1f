//! What an instance can be told beyond its election: `global_defs` filled in, and what contradicts itself.

use std::time::Duration;

use keepone_proto::settings::HmacMode;

use crate::diagnostic::Severity;
use crate::model::{Hmac, OwnInterfaceKind, Trackers, VrrpOptions};
use crate::raw::{RawHmac, RawInstance, RawOptions};

use super::{Check, or, value};

impl Check<'_> {
    /// Options of an instance whose trackers are known.
    pub(super) fn options(&mut self, raw: &RawInstance, trackers: Trackers, advert_int: Duration) -> VrrpOptions {
        let own = &raw.options;
        let global = &self.raw.global;
        let all = &global.defaults;
        let mail = own.smtp_alert.or(global.smtp_alert_vrrp).or(global.smtp_alert).unwrap_or(false);
        let strict = self.is_strict(raw);
        let flag = |get: fn(&RawOptions) -> Option<bool>| get(own).or(get(all)).unwrap_or(false);
        let mut own_interface = own.own_interface.as_ref().map(|at| at.value.clone());
        if let Some(interface) = &mut own_interface {
            interface.transmit_on_base = or(&own.vmac_xmit_base, false);
            interface.for_other_addresses = or(&own.use_vmac_addr, false);
        }
        self.own_interface(raw);
        VrrpOptions {
            strict,
            accept: or(&own.accept, true),
            skip_check_adv_addr: flag(|o| o.skip_check_adv_addr),
            check_unicast_src: flag(|o| o.check_unicast_src),
            unicast_fault_no_peer: own.unicast_fault_no_peer,
            unicast_ttl: own.unicast_ttl,
            peer_ttl: own.peer_ttl.clone(),
            mcast_dst_ip: value(&own.mcast_dst_ip),
            linkbeat: own.linkbeat,
            track_src_ip: own.track_src_ip,
            v3_checksum_as_v2: flag(|o| o.v3_checksum_as_v2),
            down_timer_adverts: or(&own.down_timer_adverts, or(&all.down_timer_adverts, 3)),
            timer_expired_backup: value(&own.timer_expired_backup),
            lower_prio_no_advert: flag(|o| o.lower_prio_no_advert),
            higher_prio_send_advert: flag(|o| o.higher_prio_send_advert),
            owner_ignore_adverts: flag(|o| o.owner_ignore_adverts),
            own_interface,
            promote_secondaries: own.promote_secondaries,
            extra_interfaces: own.extra_interfaces.or(all.extra_interfaces).flatten(),
            trackers,
            routes: own.routes.iter().map(|at| at.value.clone()).collect(),
            rules: own.rules.iter().map(|at| at.value.clone()).collect(),
            hmac: own.hmac.as_ref().and_then(|hmac| self.hmac(raw, hmac, advert_int)),
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

    fn hmac(&mut self, raw: &RawInstance, hmac: &RawHmac, advert_int: Duration) -> Option<Hmac> {
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
        let strict = raw.options.strict.as_ref().or(self.raw.global.defaults.strict.as_ref());
        let is_strict = strict.is_some_and(|strict| strict.value);
        if let Some(mode) = hmac.mode.as_ref().filter(|mode| is_strict && mode.value != HmacMode::Enforce) {
            let message =
                format!("`{name}` is in strict mode, in which auth_hmac is enforced: unsigned ones are dropped");
            self.report.warning(
                &mode.place,
                message,
                "remove strict mode until all nodes sign, or write `mode enforce`",
            );
        }
        if let Some(window) = hmac.time_window.as_ref().filter(|_| hmac.monotonic) {
            let message = format!("`{name}`: time_window with `anti_replay monotonic`, which looks at no clock");
            self.report.push(Severity::Note, &window.place, message, String::from("remove one of them"));
        }
        let three = Duration::from_secs(advert_int.as_secs().saturating_mul(3).clamp(5, 300));
        Some(Hmac {
            keys: hmac.keys.clone(),
            active_key: active.value,
            mode: value(&hmac.mode).filter(|_| !is_strict).unwrap_or_default(),
            window: (!hmac.monotonic).then(|| or(&hmac.time_window, three)),
        })
    }
}
