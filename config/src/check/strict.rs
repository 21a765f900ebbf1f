//! Strict mode: what it forbids is refused, what it decides is decided, and each is named. keepalived.conf(5),
//! vrrp_strict; RFC 3768 and RFC 9568.
//!
//! What must stay true: after [`Check::comply`] nothing of an instance says what strict mode does not know.

use std::net::IpAddr;

use keepone_proto::id::Priority;
use keepone_proto::settings::{AuthType, VrrpVersion};

use crate::model::{InitialState, Transport, VrrpInstance};
use crate::raw::RawInstance;
use crate::source::Place;

use super::Check;

impl Check<'_> {
    /// Where strict mode is asked for, if it is.
    fn strict_at(&self, raw: &RawInstance) -> Option<Place> {
        let global = self.raw.global.defaults.strict.as_ref();
        let strict = raw.options.strict.as_ref().or(global).filter(|strict| strict.value)?;
        Some(strict.place.clone())
    }

    /// Whether an instance is in strict mode.
    pub(super) fn is_strict(&self, raw: &RawInstance) -> bool {
        self.strict_at(raw).is_some()
    }

    /// What can't be in strict mode.
    pub(super) fn strict(&mut self, raw: &RawInstance) {
        let Some(place) = self.strict_at(raw) else { return };
        let name = &raw.name.value;
        if raw.addresses.is_empty() && !raw.written.has("virtual_ipaddress") {
            let message = format!("`{name}` is in strict mode, which knows no instance without virtual addresses");
            self.report.error(&place, message, "add `virtual_ipaddress { ... }`, or `strict_mode off` to the instance");
        }
        let link_local = |address: IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let first = raw.addresses.first().filter(|vip| vip.value.address.is_ipv6());
        if let Some(first) = first.filter(|_| !raw.addresses.iter().any(|vip| link_local(vip.value.address))) {
            let message = format!("`{name}` is in strict mode, which wants a link-local address (RFC 9568, 5.2.9)");
            self.report.error(&first.place, message, "add one, as `fe80::5e:1/64`, or `strict_mode off`");
        }
        if raw.unicast_peers.is_some() {
            let message =
                format!("`{name}` is in strict mode, which knows no unicast_peer: unicast is spoken all the same");
            self.report.warning(&place, message, "remove `unicast_peer`, or add `strict_mode off` to the instance");
        }
    }

    /// Has a strict instance as the RFCs do, and names what was written otherwise.
    pub(super) fn comply(&mut self, raw: &RawInstance, instance: &mut VrrpInstance) {
        let Some(place) = self.strict_at(raw) else { return };
        let owner = instance.priority == Priority::OWNER;
        let mut resets: Vec<&str> = Vec::new();
        let mut reset = |differs: bool, words: &'static str| {
            if differs {
                resets.push(words);
            }
        };
        reset(instance.auth_pass.take().is_some(), "authentication is not used (RFC 3768, 9)");
        instance.auth_type = AuthType::default();
        let state = if owner { InitialState::Master } else { InitialState::Backup };
        reset(
            std::mem::replace(&mut instance.state, state) != state,
            "state goes by the priority: MASTER at 255 alone",
        );
        reset(!std::mem::take(&mut instance.preempt_delay).is_zero(), "preempt_delay is 0");
        let all = &self.raw.global.defaults;
        let (own, options) = (&raw.options, &mut instance.options);
        reset(std::mem::replace(&mut options.down_timer_adverts, 3) != 3, "down_timer_adverts is 3");
        let accept = own.accept.as_ref().map(|accept| accept.value);
        let forced = accept == Some(true) && !owner && instance.version == VrrpVersion::V2;
        reset(forced, "version 2 has no accept mode (RFC 3768)");
        options.accept = if forced { false } else { accept.unwrap_or(owner) };
        let repeats = own.lower_prio_repeat.or(all.lower_prio_repeat).is_some_and(|repeats| repeats > 0);
        reset(repeats, "garp_lower_prio_repeat is 0");
        (instance.announce.rival_burst, instance.announce.rival_second) = (0, None);
        let answers = own.lower_prio_no_advert.or(all.lower_prio_no_advert) == Some(false);
        reset(answers, "lower_prio_no_advert is on");
        options.lower_prio_no_advert = true;
        reset(std::mem::take(&mut options.higher_prio_send_advert), "higher_prio_send_advert is off");
        let listens = own.owner_ignore_adverts.or(all.owner_ignore_adverts) == Some(false);
        reset(listens, "owner_ignore_adverts is on");
        options.owner_ignore_adverts = true;
        let unicast = matches!(instance.transport, Transport::Unicast { .. });
        if let Some(interface) = options.own_interface.as_mut().filter(|_| !unicast) {
            reset(std::mem::take(&mut interface.transmit_on_base), "vmac_xmit_base is off");
        }
        let name = &instance.name;
        if !resets.is_empty() {
            let message = format!("`{name}` is in strict mode: {}", resets.join("; "));
            self.report.warning(
                &place,
                message,
                "remove what it does not know, or add `strict_mode off` to the instance",
            );
        }
        if !options.accept && accept.is_none() {
            let message =
                format!("`{name}` is in strict mode: its addresses would not answer a ping, nor take connections");
            let help = match instance.version {
                VrrpVersion::V2 => {
                    "write `version 3` and `accept`, or remove strict mode: in version 2 only the owner \
                                    (priority 255) accepts"
                }
                VrrpVersion::V3 => {
                    "add `accept` to the instance, or remove strict mode: only the owner (priority 255) \
                                    accepts"
                }
            };
            self.report.warning(&place, message, help);
        }
    }
}
