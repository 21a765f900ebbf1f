//! Settings of the whole agent: mail, scripts, FIFOs, IPVS, SNMP, scheduling; and what is static.

use std::path::PathBuf;
use std::time::Duration;

use crate::diagnostic::Severity;
use crate::keyword::{GARP_GROUP, TRACK_GROUP};
use crate::model::{Fifo, FlushOnStop, GarpGroup, IpvsSync, VrrpSettings};
use crate::raw::{RawGlobal, RawStatics, RawSync};
use crate::source::At;
use crate::tree::Item;

use super::address::{self, Shape};
use super::{Lower, Wanted, value};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86400);
/// The kernel's IPVS sync daemon.
const SYNC_PORT: u16 = 8848;

/// A well-known bus name (D-Bus specification, "Bus names"): two parts or more, of letters, digits, `_` and `-`.
fn bus_name(text: &str) -> Result<String, Wanted> {
    const LONGEST: usize = 255;
    let is_part = |part: &str| {
        let is_of_it = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'_' || octet == b'-';
        part.bytes().all(is_of_it) && part.bytes().next().is_some_and(|first| !first.is_ascii_digit())
    };
    if text.len() <= LONGEST && text.contains('.') && text.split('.').all(is_part) {
        return Ok(text.to_owned());
    }
    Err(Wanted::new("a name of D-Bus", "write two parts or more with dots between, such as org.keepalived.Vrrp1"))
}

impl Lower<'_> {
    /// A keyword of `global_defs` that is not yet active.
    pub(super) fn service(&mut self, global: &mut RawGlobal, item: &Item) {
        let keyword = item.keyword.text.as_str();
        if let Some(inherited) = inherited(keyword) {
            if !self.inherited_option(&mut global.defaults, item, inherited) {
                self.unread(item);
            }
            return;
        }
        if self.mail(global, item) {
            return;
        }
        match keyword {
            "enable_script_security" => global.scripts.security = self.is_on(item),
            "set_supplementary_groups" => global.scripts.supplementary_groups = self.is_on(item),
            "startup_script" => global.scripts.startup = self.life_script(item),
            "shutdown_script" => global.scripts.shutdown = self.life_script(item),
            "startup_script_timeout" => global.startup_timeout = self.life_timeout(item),
            "shutdown_script_timeout" => global.shutdown_timeout = self.life_timeout(item),
            "checker_log_all_failures" => global.log_all_failures = self.flag(item).map(|flag| flag.value),
            "rs_init_notifies" => global.ipvs.rs_init_notifies = self.is_on(item),
            "lvs_flush" => global.ipvs.flush = self.is_on(item),
            "lvs_flush_on_stop" | "lvs_flush_onstop" => global.ipvs.flush_on_stop = self.flush_on_stop(item),
            "lvs_timeouts" => self.ipvs_timeouts(global, item),
            "lvs_sync_daemon" => global.sync = self.ipvs_sync(item),
            "notify_fifo" => global.fifos.all = self.fifo(item),
            "vrrp_notify_fifo" => global.fifos.vrrp = self.fifo(item),
            "lvs_notify_fifo" => global.fifos.ipvs = self.fifo(item),
            "notify_fifo_script" => self.reader(global, item, 0),
            "vrrp_notify_fifo_script" => self.reader(global, item, 1),
            "lvs_notify_fifo_script" => self.reader(global, item, 2),
            "fifo_write_vrrp_states_on_reload" => global.fifos.states_on_reload = self.is_on(item),
            "snmp_socket" if !item.words.is_empty() => {
                global.snmp.socket = self.plain(item, value::agentx);
            }
            "snmp_socket" => global.snmp.socket = Some("tcp:127.0.0.1:705".to_owned()),
            "enable_snmp_rfc" | "enable_snmp_rfcv3" => global.snmp.rfc |= self.is_on(item),
            "enable_dbus" => global.dbus = self.is_on(item),
            "dbus_service_name" => global.dbus_name = self.value(item, bus_name),
            "enable_traps" => global.snmp.traps = self.is_on(item),
            "enable_snmp_vrrp" | "enable_snmp_keepalived" => global.snmp.vrrp = self.is_on(item),
            "enable_snmp_checker" => global.snmp.checkers = self.is_on(item),
            "reload_check_config" => {
                global.reload_check_log = self.path(item).map(|at| at.value);
            }
            "include_check" | "random_seed" => self.of_the_language(item),
            _ => self.vrrp_setting(global, item),
        }
    }

    fn vrrp_setting(&mut self, global: &mut RawGlobal, item: &Item) {
        let vrrp = &mut global.vrrp;
        let scheduling = &mut global.scheduling;
        match item.keyword.text.as_str() {
            "vrrp_garp_interval" => vrrp.garp_interval = self.pace(item),
            "vrrp_gna_interval" => vrrp.gna_interval = self.pace(item),
            "vrrp_min_garp" => vrrp.min_garp = self.is_on(item),
            "vrrp_startup_delay" => {
                vrrp.startup_delay = self.plain(item, value::duration(Duration::ZERO..=DAY)).unwrap_or_default();
            }
            "vrrp_delay_after_boot" => {
                vrrp.delay_after_boot = self.plain(item, value::duration(Duration::ZERO..=DAY)).unwrap_or_default();
            }
            "dynamic_interfaces" => {
                vrrp.dynamic_interfaces = true;
                if !item.words.is_empty() {
                    let words = &[("allow_if_changes", true)];
                    let read = self.plain(item, value::one_of(words, "write `allow_if_changes`, or nothing"));
                    vrrp.allow_if_changes = read.unwrap_or(false);
                }
            }
            "log_unknown_vrids" => vrrp.log_unknown_vrids = self.is_on(item),
            "disable_local_igmp" => vrrp.disable_local_igmp = self.is_on(item),
            "vmac_prefix" => vrrp.vmac_prefix = self.plain(item, value::interface),
            "vmac_addr_prefix" => vrrp.vmac_addr_prefix = self.plain(item, value::interface),
            "vrrp_iptables" => {
                let message = "`vrrp_iptables`: no rules of iptables are made";
                let help = "what `no_accept` drops is dropped in the gate, before any chain sees it: remove the line";
                self.report.push(Severity::Note, &item.keyword.place, message.into(), help.into());
            }
            "max_auto_priority" => self.auto_priority(item),
            "vrrp_rt_priority" => {
                scheduling.rt_priority = self.plain(item, value::number(1..=99, "write a real-time priority"));
            }
            "vrrp_cpu_affinity" => {
                let number = || value::number::<u16>(0..=4095, "write the numbers of processors, from 0");
                let read: Vec<u16> =
                    item.words.iter().filter_map(|w| self.word("cpu", w, number())).map(|at| at.value).collect();
                scheduling.cpus.extend(read);
            }
            _ => self.unread(item),
        }
    }

    /// What the reading of the file itself follows.
    fn of_the_language(&mut self, item: &Item) {
        let checks = ["readable", "match", "wildcard_match", "brace_match"];
        if item.keyword.text == "random_seed" {
            self.plain(item, value::number::<u32>(0..=u64::from(u32::MAX), "write a whole number of 32 bits"));
            return;
        }
        for word in &item.words {
            let name = word.text.trim_start_matches(['+', '-']);
            if !checks.contains(&name) {
                let message = format!("include_check: `{}` is not a check", super::shorten(&word.text));
                self.report.error(
                    &word.place,
                    message,
                    format!("write one of {}, or nothing for all", checks.join(", ")),
                );
            }
        }
    }

    /// What decides runs in real time from the start: there is nothing to raise.
    fn auto_priority(&mut self, item: &Item) {
        let help = "write a real-time priority up to 99, or -1 to hear no more of it";
        let read = item.words.first().map(|_| self.plain(item, value::integer(-1..=99, help)));
        if matches!(read, None | Some(Some(1..))) {
            let message = "`max_auto_priority`: what decides runs in real time from the start, and is not raised";
            let help = "remove it, or write -1; `vrrp_rt_priority` says with which priority";
            self.report.push(Severity::Note, &item.keyword.place, message.into(), help.into());
        }
    }

    fn pace(&mut self, item: &Item) -> Duration {
        self.plain(item, value::duration(Duration::ZERO..=SECOND * 4294)).unwrap_or_default()
    }

    fn life_script(&mut self, item: &Item) -> Option<crate::model::LifeScript> {
        self.script(item).map(|script| crate::model::LifeScript { script, timeout: SECOND * 10 })
    }

    fn life_timeout(&mut self, item: &Item) -> Option<At<Duration>> {
        self.value(item, value::duration(SECOND..=SECOND * 1000))
    }

    fn flush_on_stop(&mut self, item: &Item) -> FlushOnStop {
        match item.words.first() {
            None => FlushOnStop::All,
            Some(_) => {
                let words = &[("VS", FlushOnStop::OwnServices), ("on", FlushOnStop::All), ("off", FlushOnStop::No)];
                self.plain(item, value::one_of(words, "write VS for our services only, or nothing for all"))
                    .unwrap_or_default()
            }
        }
    }

    /// `[tcp S] [tcpfin S] [udp S]`.
    fn ipvs_timeouts(&mut self, global: &mut RawGlobal, item: &Item) {
        let help = "write for instance `lvs_timeouts tcp 7200 tcpfin 30 udp 300`";
        let mut words = item.words.iter();
        while let Some(word) = words.next() {
            let [tcp, tcp_fin, udp] = &mut global.ipvs.timeouts_s;
            let slot = match word.text.as_str() {
                "tcp" => tcp,
                "tcpfin" => tcp_fin,
                "udp" => udp,
                other => {
                    let message = format!("`{}` in lvs_timeouts", super::shorten(other));
                    return self.report.error(&word.place, message, help);
                }
            };
            match words.next() {
                Some(number) => {
                    *slot = self.word("lvs_timeouts", number, value::number(0..=2_678_400, help)).map(|at| at.value);
                }
                None => self.report.error(&word.place, format!("`{}` without seconds", word.text), help),
            }
        }
    }

    /// `INTERFACE [[inst] INSTANCE] [id N] [maxlen N] [port N] [ttl N] [group ADDRESS]`.
    fn ipvs_sync(&mut self, item: &Item) -> Option<RawSync> {
        let help = "write the interface, the instance whose Master sends, then id, port and the rest";
        let interface = self.plain(item, value::interface)?;
        let mut sync =
            IpvsSync { interface, instance: None, id: None, maxlen: None, port: SYNC_PORT, ttl: None, group: None };
        let mut instance = None;
        let mut words = item.words.iter().skip(1);
        while let Some(word) = words.next() {
            let options = ["inst", "id", "maxlen", "port", "ttl", "group"];
            if !options.contains(&word.text.as_str()) {
                instance = self.word("lvs_sync_daemon", word, value::name);
                continue;
            }
            let Some(next) = words.next() else {
                self.report.error(&word.place, format!("`{}` without a value", word.text), help);
                return None;
            };
            match word.text.as_str() {
                "inst" => instance = self.word("inst", next, value::name),
                "id" => sync.id = self.word("id", next, value::number(0..=255, help)).map(|at| at.value),
                "maxlen" => sync.maxlen = self.word("maxlen", next, value::number(1..=65507, help)).map(|at| at.value),
                "port" => sync.port = self.word("port", next, value::number(1..=65535, help))?.value,
                "ttl" => sync.ttl = self.word("ttl", next, value::number(1..=255, help)).map(|at| at.value),
                _ => sync.group = self.word("group", next, value::address).map(|at| at.value),
            }
        }
        Some(RawSync { sync, instance })
    }

    /// `PATH [USER [GROUP]]`.
    fn fifo(&mut self, item: &Item) -> Option<Fifo> {
        let path: PathBuf = self.path(item)?.value;
        let text = |at: usize| item.words.get(at).map(|word| word.text.to_string());
        Some(Fifo { path, owner: text(1).map(|user| (user, text(2))), reader: None })
    }

    fn reader(&mut self, global: &mut RawGlobal, item: &Item, which: usize) {
        let script = self.script(item).map(|script| (item.place(), script));
        if let Some(reader) = global.readers.get_mut(which) {
            *reader = script;
        }
    }

    pub(super) fn garp_group(&mut self, vrrp: &mut VrrpSettings, block: &Item) {
        let mut group = GarpGroup::default();
        let (mut one, mut several) = (None, false);
        self.each(block.items(), &GARP_GROUP, |lower, item| match item.keyword.text.as_str() {
            "garp_interval" => group.garp_interval = lower.pace(item),
            "gna_interval" => group.gna_interval = lower.pace(item),
            "interface" => {
                one = Some(item.keyword.place.clone());
                let named = lower.value(item, value::interface);
                named.into_iter().for_each(|named| lower.put_in_group(vrrp, &mut group, named));
            }
            "interfaces" => {
                several = true;
                for word in lower.lines(item).into_iter().flatten() {
                    let named = lower.word("interfaces", &word, value::interface);
                    named.into_iter().for_each(|named| lower.put_in_group(vrrp, &mut group, named));
                }
            }
            _ => lower.unread(item),
        });
        if let Some(place) = one.as_ref().filter(|_| several) {
            let help = "name all of them in `interfaces`, or give this one a garp_group of its own";
            self.report.warning(
                place,
                "garp_group with `interface` and `interfaces`: all of them share its pace",
                help,
            );
        }
        let place = &block.keyword.place;
        let has = |word: &str| block.items().iter().any(|item| item.keyword.text == word);
        if one.is_none() && !several {
            self.report.error(place, "garp_group without an interface", "add `interfaces { eth0 eth1 }`");
        }
        if !has("garp_interval") && !has("gna_interval") {
            let help = "add `garp_interval 0.001` or `gna_interval 0.001`, or remove the group";
            self.report.warning(place, "garp_group without an interval", help);
        }
        vrrp.garp_groups.push(group);
    }

    /// `INTERFACE [MII|ETHTOOL|IOCTL]` lines: by whichever it is asked, the driver's answer is the same.
    pub(super) fn linkbeat(&mut self, vrrp: &mut VrrpSettings, block: &Item) {
        for line in self.lines(block) {
            let Some((name, rest)) = line.split_first() else { continue };
            let ways = &[("MII", ()), ("ETHTOOL", ()), ("IOCTL", ())];
            let help = "write MII, ETHTOOL, IOCTL or nothing, and each interface on a line of its own";
            let known =
                rest.iter().all(|way| self.word("linkbeat_interfaces", way, value::one_of(ways, help)).is_some());
            let interface = self.word("linkbeat_interfaces", name, value::interface);
            vrrp.linkbeat_interfaces.extend(interface.filter(|_| known).map(|at| at.value));
        }
    }

    /// An interface has one pace.
    fn put_in_group(&mut self, vrrp: &VrrpSettings, group: &mut GarpGroup, named: At<String>) {
        let before = vrrp.garp_groups.iter().flat_map(|group| &group.interfaces).chain(&group.interfaces);
        if before.into_iter().any(|known| *known == named.value) {
            let message = format!("garp_group: {} is in one already", named.value);
            self.report.error(&named.place, message, "name each interface once: it has one pace");
        } else {
            group.interfaces.push(named.value);
        }
    }

    /// `INTERFACE DOWN [UP]` lines.
    pub(super) fn link_delays(&mut self, global: &mut RawGlobal, block: &Item) {
        for line in self.lines(block) {
            let [name, down, rest @ ..] = line.as_slice() else {
                let help = "write an interface and seconds: `eth0 1.5 3`";
                self.report.error(&block.keyword.place, "interface_up_down_delays: a line without a delay", help);
                continue;
            };
            let bounds = || value::duration(Duration::ZERO..=SECOND * 255);
            let interface = self.word("interface_up_down_delays", name, value::interface);
            let down = self.word("interface_up_down_delays", down, bounds());
            let up = match rest.first() {
                Some(up) => self.word("interface_up_down_delays", up, bounds()),
                None => down.clone(),
            };
            if let (Some(interface), Some(down), Some(up)) = (interface, down, up) {
                global.link_delays.push(At::new((interface.value, down.value, up.value), name.place.clone()));
            }
        }
    }

    /// `static_ipaddress`, `static_routes`, `static_rules` and `track_group`.
    pub(super) fn statics(&mut self, statics: &mut RawStatics, item: &Item) {
        match item.keyword.text.as_str() {
            "static_ipaddress" => {
                let lines = self.lines(item);
                let shape = Shape { excluded: true };
                statics.addresses.extend(lines.iter().filter_map(|line| address::read(self, line, shape)));
            }
            "static_routes" => statics.routes.extend(self.routes(item)),
            "static_rules" => statics.rules.extend(self.rules(item)),
            "track_group" => {
                let Some(name) = self.value(item, value::name) else { return };
                let mut members = Vec::new();
                self.each(item.items(), &TRACK_GROUP, |lower, item| members.extend(lower.listed(item)));
                statics.track_groups.push((name, members));
            }
            _ => self.unread(item),
        }
    }
}

/// What `global_defs` calls a keyword that instances have too.
fn inherited(keyword: &str) -> Option<&str> {
    match keyword {
        "vrrp_strict" => Some("strict_mode"),
        "v3_checksum_as_v2" => Some(keyword),
        "vrrp_skip_check_adv_addr"
        | "vrrp_check_unicast_src"
        | "vrrp_lower_prio_no_advert"
        | "vrrp_higher_prio_send_advert"
        | "vrrp_owner_ignore_adverts"
        | "vrrp_notify_priority_changes"
        | "vrrp_down_timer_adverts"
        | "vrrp_garp_master_refresh"
        | "vrrp_garp_master_refresh_repeat"
        | "vrrp_garp_lower_prio_delay"
        | "vrrp_garp_lower_prio_repeat"
        | "vrrp_garp_extra_if"
        | "vrrp_vmac_garp_intvl" => keyword.strip_prefix("vrrp_"),
        _ => None,
    }
}
