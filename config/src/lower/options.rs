//! What an instance can be told beyond its election, and what `global_defs` says for all of them.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::{ExtraInterfaces, NotifyDeleted, OwnInterface, OwnInterfaceKind};
use crate::raw::RawOptions;
use crate::source::At;
use crate::tree::{Item, Word};

use super::{Lower, Wanted, value};

const IPVLAN_MODES: &[(&str, &str)] = &[("bridge", "bridge"), ("private", "private"), ("vepa", "vepa")];

impl Lower<'_> {
    /// A keyword of the instance; false if it is none of these.
    pub(super) fn option(&mut self, options: &mut RawOptions, item: &Item) -> bool {
        match item.keyword.text.as_str() {
            "accept" => options.accept = self.flag(item),
            "no_accept" => options.accept = self.flag(item).map(|flag| At::new(!flag.value, flag.place)),
            "track_script" => options.trackers.scripts.extend(self.tracked(item, 253)),
            "track_file" => options.trackers.files.extend(self.tracked(item, 254)),
            "track_process" => options.trackers.processes.extend(self.tracked(item, 253)),
            "track_bfd" => options.trackers.bfd.extend(self.tracked(item, 253)),
            "track_virtual_server" => options.trackers.virtual_servers.extend(self.tracked(item, 253)),
            "virtual_routes" => options.routes.extend(self.routes(item)),
            "virtual_rules" => options.rules.extend(self.rules(item)),
            "unicast_fault_no_peer" => options.unicast_fault_no_peer = self.is_on(item),
            "unicast_ttl" => {
                let help = "write 1 to 255: peers one router away need more than 1";
                options.unicast_ttl = self.plain(item, value::number(1..=255, help));
            }
            "linkbeat_use_polling" => options.linkbeat = self.is_on(item),
            "track_src_ip" => options.track_src_ip = self.is_on(item),
            "promote_secondaries" => options.promote_secondaries = self.is_on(item),
            "mcast_dst_ip" => options.mcast_dst_ip = self.value(item, multicast),
            "timer_expired_backup" | "thread_timer_expired" => options.timer_expired_backup = self.timer_expired(item),
            "use_vmac" => options.own_interface = self.vmac(item),
            "use_ipvlan" => options.own_interface = self.ipvlan(item),
            "vmac_xmit_base" => options.vmac_xmit_base = self.flag(item),
            "use_vmac_addr" => options.use_vmac_addr = self.flag(item),
            "auth_hmac" => self.auth_hmac(options, item),
            "notify_deleted" => {
                let script = if item.words.is_empty() { None } else { self.script(item) };
                options.notify_deleted = Some(NotifyDeleted { script });
            }
            "notify_master_rx_lower_pri" => options.notify_master_rx_lower_pri = self.script(item),
            keyword => return self.inherited_option(options, item, keyword),
        }
        true
    }

    /// A keyword that `global_defs` has too, there after `vrrp_`; false if it is none of these.
    pub(super) fn inherited_option(&mut self, options: &mut RawOptions, item: &Item, keyword: &str) -> bool {
        let seconds = |most| value::duration(Duration::ZERO..=Duration::from_secs(most));
        let count = || value::number::<u8>(0..=255, "write how many frames are sent for each address: 5 are plenty");
        let flag = |lower: &mut Self| lower.flag(item).map(|flag| flag.value);
        match keyword {
            "strict_mode" => options.strict = self.flag(item),
            "skip_check_adv_addr" => options.skip_check_adv_addr = flag(self),
            "check_unicast_src" => options.check_unicast_src = flag(self),
            "v3_checksum_as_v2" => options.v3_checksum_as_v2 = flag(self),
            "lower_prio_no_advert" => options.lower_prio_no_advert = flag(self),
            "higher_prio_send_advert" => options.higher_prio_send_advert = flag(self),
            "owner_ignore_adverts" => options.owner_ignore_adverts = flag(self),
            "notify_priority_changes" => options.notify_priority_changes = flag(self),
            "smtp_alert" => options.smtp_alert = flag(self),
            "down_timer_adverts" => {
                let help = "write 3, as the RFC has it, on every node";
                options.down_timer_adverts = self.value(item, value::number(1..=100, help));
            }
            "garp_master_refresh" => options.refresh = self.plain(item, seconds(4_294_967)),
            "garp_master_refresh_repeat" => options.refresh_repeat = self.plain(item, count()),
            "garp_lower_prio_delay" => options.lower_prio_delay = self.plain(item, seconds(4294)),
            "garp_lower_prio_repeat" => options.lower_prio_repeat = self.plain(item, count()),
            "garp_extra_if" | "vmac_garp_intvl" => options.extra_interfaces = self.extra_interfaces(item),
            _ => return false,
        }
        true
    }

    /// `[all] N`; 0 is none.
    fn extra_interfaces(&mut self, item: &Item) -> Option<Option<ExtraInterfaces>> {
        let all = item.words.first().is_some_and(|word| word.text == "all");
        let Some(word) = item.words.get(usize::from(all)) else {
            let help = "write how often in seconds: `garp_extra_if all 60`";
            self.report.error(&item.place(), "no interval after `all`", help);
            return None;
        };
        let bounds = Duration::ZERO..=Duration::from_secs(86400);
        let interval = self.word(&item.keyword.text, word, value::duration(bounds))?.value;
        Some(Some(ExtraInterfaces { interval, all }).filter(|extra| !extra.interval.is_zero()))
    }

    fn timer_expired(&mut self, item: &Item) -> Option<At<u8>> {
        match item.words.first() {
            None => Some(At::new(254, item.keyword.place.clone())),
            Some(_) => self.value(item, value::number(1..=254, "write a priority; none is 254")),
        }
    }

    /// `[NAME] [MAC] [netlink_notify_msg] [group N]`.
    fn vmac(&mut self, item: &Item) -> Option<At<OwnInterface>> {
        let mut own = own_interface(OwnInterfaceKind::Vmac { mac: None });
        let mut words = item.words.iter();
        while let Some(word) = words.next() {
            match word.text.as_str() {
                "netlink_notify_msg" => {}
                "name" => own.name = Some(self.next_word(item, words.next(), value::interface)?),
                "group" => own.group = Some(self.next_word(item, words.next(), group)?),
                text if text.contains(':') => {
                    let mac = self.word("use_vmac", word, mac)?.value;
                    own.kind = OwnInterfaceKind::Vmac { mac: Some(mac) };
                }
                _ => own.name = Some(self.word("use_vmac", word, value::interface)?.value),
            }
        }
        Some(At::new(own, item.place()))
    }

    /// `[NAME] [ADDRESS] [bridge|private|vepa] [group N]`.
    fn ipvlan(&mut self, item: &Item) -> Option<At<OwnInterface>> {
        let (mut address, mut mode) = (None, "bridge");
        let mut own = own_interface(OwnInterfaceKind::Ipvlan { address, mode });
        let mut words = item.words.iter();
        while let Some(word) = words.next() {
            let text = word.text.as_str();
            match text {
                "name" => own.name = Some(self.next_word(item, words.next(), value::interface)?),
                "group" => own.group = Some(self.next_word(item, words.next(), group)?),
                _ if IPVLAN_MODES.iter().any(|(name, _)| *name == text) => {
                    mode = self.word("use_ipvlan", word, value::one_of(IPVLAN_MODES, ""))?.value;
                }
                _ => match text.split('/').next().unwrap_or(text).parse::<IpAddr>() {
                    Ok(ip) => address = Some(ip),
                    Err(_) => own.name = Some(self.word("use_ipvlan", word, value::interface)?.value),
                },
            }
        }
        own.kind = OwnInterfaceKind::Ipvlan { address, mode };
        Some(At::new(own, item.place()))
    }

    fn next_word<T>(
        &mut self,
        item: &Item,
        word: Option<&Word>,
        parse: impl FnOnce(&str) -> Result<T, Wanted>,
    ) -> Option<T> {
        match word {
            Some(word) => self.word(&item.keyword.text, word, parse).map(|at| at.value),
            None => {
                let message = format!("{}: a value is missing at the end", item.keyword.text);
                self.report.error(&item.place(), message, "write the value after the last word");
                None
            }
        }
    }
}

fn own_interface(kind: OwnInterfaceKind) -> OwnInterface {
    OwnInterface { kind, name: None, group: None, transmit_on_base: false, for_other_addresses: false }
}

fn group(text: &str) -> Result<u32, Wanted> {
    value::number(0..=u64::from(u32::MAX), "write the number of the interface's group")(text)
}

/// Six octets, or five after VRRP's own first one.
fn mac(text: &str) -> Result<[u8; 6], Wanted> {
    let octets: Option<Vec<u8>> = text.split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    let octets = octets.map(|octets| if octets.len() == 5 { [vec![0], octets].concat() } else { octets });
    let mac = octets.and_then(|octets| octets.try_into().ok());
    mac.ok_or_else(|| Wanted::new("a MAC address", "write for instance 02:00:5e:00:00:01"))
}

fn multicast(text: &str) -> Result<IpAddr, Wanted> {
    let group = value::address(text).ok().filter(IpAddr::is_multicast);
    group.ok_or_else(|| Wanted::new("a multicast address", "write for instance 224.0.0.18 or ff02::12"))
}
