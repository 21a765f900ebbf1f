//! `global_defs`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::keyword::GLOBAL_DEFS;
use crate::raw::RawGlobal;
use crate::source::At;
use crate::tree::Item;

use super::{Lower, Wanted, value, vrrp};

const GARP_HELP: &str = "write how many GARP or NA frames a burst has; the default is 5";

impl Lower<'_> {
    pub(super) fn global_defs(&mut self, global: &mut RawGlobal, block: &Item) {
        self.each(block.items(), &GLOBAL_DEFS, |lower, item| match item.keyword.text.as_str() {
            "router_id" => global.router_id = lower.value(item, value::name),
            "vrrp_version" => global.version = lower.value(item, vrrp::version),
            "vrrp_mcast_group4" => global.mcast_group4 = lower.value(item, group4),
            "vrrp_mcast_group6" => global.mcast_group6 = lower.value(item, group6),
            "vrrp_garp_master_repeat" => global.garp_repeat = lower.value(item, value::number(1..=255, GARP_HELP)),
            "vrrp_garp_master_delay" => {
                global.garp_delay = lower.value(item, value::duration(Duration::ZERO..=Duration::from_secs(4294)));
            }
            "script_user" => global.script_user = lower.script_user(item),
            "script_timeout" => {
                let bounds = Duration::from_millis(100)..=Duration::from_secs(3600);
                global.script_timeout = lower.value(item, value::duration(bounds));
            }
            "alert_script" => global.alert_script = lower.script(item),
            "event_fifo" => global.event_fifo = lower.path(item),
            "default_interface" => global.default_interface = lower.value(item, value::interface),
            _ => lower.service(global, item),
        });
    }

    fn script_user(&mut self, item: &Item) -> Option<At<(String, Option<String>)>> {
        self.user(item).map(|user| At::new(user, item.place()))
    }
}

fn group4(text: &str) -> Result<Ipv4Addr, Wanted> {
    let parsed: Option<Ipv4Addr> = text.parse().ok();
    let help = "write an address within 224.0.0.0/4; VRRP's own is 224.0.0.18";
    parsed.filter(Ipv4Addr::is_multicast).ok_or_else(|| Wanted::new("an IPv4 multicast address", help))
}

fn group6(text: &str) -> Result<Ipv6Addr, Wanted> {
    let parsed: Option<Ipv6Addr> = text.parse().ok();
    let help = "write an address within ff00::/8; VRRP's own is ff02::12";
    parsed.filter(Ipv6Addr::is_multicast).ok_or_else(|| Wanted::new("an IPv6 multicast address", help))
}
