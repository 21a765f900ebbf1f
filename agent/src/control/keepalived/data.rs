//! `keepalived.data`, for what greps it: keepalived's sections, labels and indentation, line by line.
//!
//! Each line is one that keepalived 2.2.7 writes for the same configuration. What this node does not know, or has otherwise,
//! has no line at all: `docs/decisions/0220-dumps-of-keepalived.md` names what is left out.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use keepone_config::Config;
use keepone_config::model::{Notify, OwnInterfaceKind, Script, SyncGroup, Transport, VrrpInstance, Weight};
use keepone_proto::decision::Role;
use keepone_proto::settings::{AnnounceSettings, AuthType, VrrpVersion};
use keepone_proto::time::Instant;
use keepone_proto::vrrp::params::master_down_interval;

use super::{MASK, Of, Snapshot, Standing, global, tracked, words};
use crate::assemble::OwnLinks;
use crate::calendar;
use crate::script::user_and_group;

/// The text under way.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn into_string(self) -> String {
        self.0
    }

    pub(super) fn section(&mut self, name: &str) {
        let _ = writeln!(self.0, "------< {name} >------");
    }

    /// A line with so many spaces before it.
    pub(super) fn line(&mut self, indent: usize, words: fmt::Arguments<'_>) {
        let _ = writeln!(self.0, "{:indent$}{words}", "");
    }

    /// A heading and what stands below it; nothing of what is empty.
    pub(super) fn list<T: fmt::Display>(&mut self, indent: usize, heading: &str, of: impl IntoIterator<Item = T>) {
        let mut of = of.into_iter().peekable();
        if of.peek().is_some() {
            self.line(indent, format_args!("{heading}"));
        }
        of.for_each(|one| self.line(indent + 2, format_args!("{one}")));
    }
}

/// A line of an instance or of a group.
macro_rules! say {
    ($text:expr, $($words:tt)*) => { $text.line(3, format_args!($($words)*)) };
}
pub(super) use say;

pub(super) fn switch(is_on: bool) -> &'static str {
    if is_on { "enabled" } else { "disabled" }
}

pub(super) fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

impl Snapshot {
    /// As keepalived writes it on its signal for data.
    pub(crate) fn keepalived_data(&self) -> String {
        let config = &*self.directory.config;
        let own = OwnLinks::of(config);
        let mut text = Text::default();
        global::section(&mut text, config);
        text.section("VRRP Topology");
        let (standing, rules, utc_at_boot) = (self.standing(), super::rules(config), super::utc_at_boot());
        for (place, instance) in config.instances.iter().enumerate() {
            // One without is being given up, or not begun with.
            let Some(at) = standing.get(instance.name.as_str()) else { continue };
            let of = Of { config, own: &own, place, instance };
            text.line(1, format_args!("VRRP Instance = {}", instance.name));
            self.standing_in(&mut text, of, *at, utc_at_boot);
            travel(&mut text, of);
            announcements(&mut text, 3, "refresh", &instance.announce);
            self.election_in(&mut text, of, *at);
            let is_master = at.status.role == Role::Master;
            kernel(&mut text, of, rules.get(&place).map(Vec::as_slice).unwrap_or_default(), is_master);
            peers(&mut text, instance);
            tracked::of_instance(&mut text, of);
            told(&mut text, config, instance);
        }
        if !config.sync_groups.is_empty() {
            text.section("VRRP Sync groups");
            for group in &config.sync_groups {
                let status = self.domains.iter().find(|status| self.directory.name(status.domain) == group.name);
                status.inspect(|status| sync_group(&mut text, config, group, status.role));
            }
        }
        tracked::sections(&mut text, config);
        text.into_string()
    }

    fn standing_in(&self, text: &mut Text, of: Of<'_>, at: Standing<'_>, utc_at_boot: Duration) {
        let Of { config, place, instance, .. } = of;
        let role = at.status.role;
        say!(text, "VRRP Version = {}", version(instance));
        if let Some(group) = config.sync_groups.iter().find(|group| group.instances.contains(&place)) {
            say!(text, "Sync group = {}", group.name);
        }
        if instance.ipv6 {
            say!(text, "Using Native IPv6");
        }
        say!(text, "State = {}", state(role));
        let heard = self.masters.get(&at.id).filter(|_| is_backup(role));
        if let Some(master) = heard {
            say!(text, "Master router = {}", master.address);
            say!(text, "Master priority = {}", master.priority.0);
            if instance.version == VrrpVersion::V3 {
                say!(text, "Master advert int = {:.2} sec", master.advert_int.as_secs_f64());
            }
        }
        say!(text, "Wantstate = {}", state(role));
        let since = utc_at_boot.saturating_add(at.status.since.since(Instant::BOOT));
        let (seconds, micros) = (since.as_secs(), since.subsec_micros());
        say!(text, "Last transition = {seconds}.{micros:06} ({})", calendar::as_ctime(since));
        let interval = heard.map_or(instance.advert_int, |master| master.advert_int);
        let adverts = instance.options.down_timer_adverts;
        let down = master_down_interval(instance.version, interval, adverts, self.priority(at));
        say!(text, "Master down timer = {} usecs", down.as_micros());
    }

    fn election_in(&self, text: &mut Text, of: Of<'_>, at: Standing<'_>) {
        let instance = of.instance;
        let options = &instance.options;
        say!(text, "Down timer adverts = {}", options.down_timer_adverts);
        say!(text, "Send advert after receive lower priority advert = {}", !options.lower_prio_no_advert);
        say!(text, "Send advert after receive higher priority advert = {}", options.higher_prio_send_advert);
        say!(text, "Virtual Router ID = {}", instance.vrid.get());
        say!(text, "Priority = {}", instance.priority.0);
        say!(text, "Effective priority = {}", self.priority(at).0);
        let interval = instance.advert_int;
        match instance.version {
            VrrpVersion::V2 => say!(text, "Advert interval = {} sec", interval.as_secs()),
            VrrpVersion::V3 => {
                say!(text, "Advert interval = {} milli-sec", interval.as_millis());
                if let Some(master) = self.masters.get(&at.id).filter(|_| is_backup(at.status.role)) {
                    say!(text, "Master advert interval = {} milli-sec", master.advert_int.as_millis());
                }
            }
        }
        say!(text, "Accept = {}", switch(instance.accepts()));
        say!(text, "Preempt = {}", switch(instance.preempt));
        if instance.preempt && !instance.preempt_delay.is_zero() {
            say!(text, "Preempt delay = {} secs", instance.preempt_delay.as_secs());
        }
        say!(text, "Promote_secondaries = {}", switch(options.promote_secondaries));
        if instance.version == VrrpVersion::V2 {
            say!(
                text,
                "Authentication type = {}",
                match (&instance.auth_pass, instance.auth_type) {
                    (None, _) => "none",
                    (Some(_), AuthType::Pass) => "SIMPLE_PASSWORD",
                    (Some(_), AuthType::Ah) => "IPSEC_AH",
                }
            );
            if instance.auth_pass.is_some() && instance.auth_type == AuthType::Pass {
                say!(text, "Password = {MASK}");
            }
        }
    }

    fn priority(&self, at: Standing<'_>) -> keepone_proto::id::Priority {
        self.priorities.get(&at.id).copied().unwrap_or(at.status.priority)
    }
}

fn version(instance: &VrrpInstance) -> u8 {
    match instance.version {
        VrrpVersion::V2 => 2,
        VrrpVersion::V3 => 3,
    }
}

/// One that is fenced listens as a BACKUP does.
fn state(role: Role) -> &'static str {
    match role {
        Role::Init => "INIT",
        Role::Backup | Role::Claiming | Role::Fenced => "BACKUP",
        Role::Master => "MASTER",
        Role::Fault => "FAULT",
    }
}

fn is_backup(role: Role) -> bool {
    matches!(role, Role::Backup | Role::Claiming)
}

/// Where it lives, and how its Advertisements travel.
fn travel(text: &mut Text, of: Of<'_>) {
    let Of { own, place, instance, .. } = of;
    let kind = instance.options.own_interface.as_ref().map(|own| &own.kind);
    match (own.own(place), kind) {
        (Some(own), Some(OwnInterfaceKind::Vmac { .. })) => {
            say!(text, "Interface = {}, vmac on {}", own.name, instance.interface);
        }
        // Its words have not been seen.
        (Some(_), _) => {}
        (None, _) => say!(text, "Interface = {}", instance.interface),
    }
    if !tracked::tracks_its_own(of) {
        say!(text, "VRRP interface tracking disabled");
    }
    if instance.options.skip_check_adv_addr {
        say!(text, "Skip checking advert IP addresses");
    }
    if instance.options.strict {
        say!(text, "Enforcing strict VRRP compliance");
    }
    let (Transport::Multicast { source } | Transport::Unicast { source, .. }) = &instance.transport;
    if let Some(source) = source {
        say!(text, "Using src_ip = {source} (from configuration)");
    }
    if matches!(instance.transport, Transport::Multicast { .. }) && !instance.ipv6 {
        let group = instance.options.mcast_dst_ip;
        let group = group.unwrap_or(std::net::IpAddr::V4(of.config.global.vrrp_mcast_group4));
        say!(text, "Multicast address {group}");
    }
}

/// Of an instance or of all. The times of second bursts only where they are written: keepone has other rounds than keepalived
/// without them.
pub(super) fn announcements(text: &mut Text, indent: usize, refresh: &str, announce: &AnnounceSettings) {
    let mut say = |what: &str, value: u64| text.line(indent, format_args!("Gratuitous ARP {what} = {value}"));
    if let Some(second) = announce.second {
        say("delay", second.as_secs());
    }
    say("repeat", announce.burst.into());
    let (interval, rounds) = announce.refresh.map_or((0, 1), |refresh| (refresh.interval.as_secs(), refresh.rounds));
    say(refresh, interval);
    say("refresh repeat", rounds.into());
    if let Some(second) = announce.rival_second {
        say("lower priority delay", second.as_secs());
    }
    say("lower priority repeat", announce.rival_burst.into());
}

/// What it has in the kernel while it is MASTER.
fn kernel(text: &mut Text, of: Of<'_>, rules: &[keepone_config::model::Rule], is_master: bool) {
    let carried = words::addresses(of, false, is_master);
    text.list(3, &format!("Virtual IP ({}):", carried.len()), carried);
    text.list(3, "Virtual IP Excluded :", words::addresses(of, true, is_master));
    text.list(3, "Virtual Routes :", of.instance.options.routes.iter().map(words::route));
    text.list(3, "Virtual Rules :", rules.iter().map(words::rule));
}

fn peers(text: &mut Text, instance: &VrrpInstance) {
    let Transport::Unicast { peers, .. } = &instance.transport else { return };
    if peers.is_empty() {
        return;
    }
    say!(text, "Unicast TTL = {}", instance.options.unicast_ttl.unwrap_or(u8::MAX));
    say!(text, "Check unicast src : {}", yes(instance.options.check_unicast_src));
    let bounds = |peer: &std::net::IpAddr| {
        let of = instance.options.peer_ttl.iter().find(|(of, ..)| of == peer);
        of.map_or((0, u8::MAX), |(_, least, greatest)| (*least, *greatest))
    };
    let words = peers.iter().map(|peer| (peer, bounds(peer)));
    text.list(3, "Unicast Peer :", words.map(|(peer, (least, most))| format!("{peer} min_ttl {least} max_ttl {most}")));
}

/// Whom it tells.
fn told(text: &mut Text, config: &Config, instance: &VrrpInstance) {
    let options = &instance.options;
    say!(text, "Using smtp notification = {}", yes(options.smtp_alert));
    let deleted = options.notify_deleted.as_ref();
    say!(text, "Notify deleted = {}", if deleted.is_some() { "Deleted" } else { "Fault" });
    let deleted = deleted.and_then(|deleted| deleted.script.as_ref());
    scripts(text, config, &instance.notify, deleted, options.notify_master_rx_lower_pri.as_ref());
    say!(text, "Notify priority changes = {}", options.notify_priority_changes);
}

fn scripts(text: &mut Text, config: &Config, notify: &Notify, deleted: Option<&Script>, lower: Option<&Script>) {
    let all = [
        ("Backup", notify.backup.as_ref()),
        ("Master", notify.master.as_ref()),
        ("Fault", notify.fault.as_ref()),
        ("Stop", notify.stop.as_ref()),
        ("Deleted", deleted),
        ("Generic", notify.any.as_ref()),
        ("Master rx lower pri", lower),
    ];
    for (what, script) in all.into_iter().filter_map(|(what, script)| Some((what, script?))) {
        if let Some((uid, gid)) = user_of(config, script) {
            say!(text, "{what} state transition script = {}, uid:gid {uid}:{gid}", words::command(script));
        }
    }
}

/// Whom a script runs as; `None`: there is no such user.
pub(super) fn user_of(config: &Config, script: &Script) -> Option<(u32, u32)> {
    let named = script.user.as_ref().map(|user| (user, &script.group));
    match named.or(config.global.script_user.as_ref().map(|(user, group)| (user, group))) {
        Some((user, group)) => numbers(user, group.as_deref()),
        None => Some((nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())),
    }
}

pub(super) fn numbers(user: &str, group: Option<&str>) -> Option<(u32, u32)> {
    user_and_group(user, group).ok().map(|(uid, gid)| (uid.as_raw(), gid.as_raw()))
}

fn sync_group(text: &mut Text, config: &Config, group: &SyncGroup, role: Role) {
    text.line(1, format_args!("VRRP Sync Group = {}, {}", group.name, state(role)));
    let members = group.instances.iter().filter_map(|place| config.instances.get(*place));
    text.list(3, "VRRP member instances :", members.map(|instance| instance.name.as_str()));
    if group.tracking_weight {
        say!(text, "sync group tracking weight set");
    }
    say!(text, "Using smtp notification = {}", yes(group.smtp_alert));
    if group.notify_priority_changes {
        say!(text, "Notify priority changes = yes");
    }
    tracked::of_group(text, config, &group.trackers);
    scripts(text, config, &group.notify, None, None);
}

/// What a tracker is worth.
pub(super) fn weight(of: Weight) -> String {
    format!("weight {}{}", of.value, if of.reverse { " reverse" } else { "" })
}
