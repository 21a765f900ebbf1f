//! How the instances stand, as keepalived writes it on its signals: the same names, types and words, so that what reads
//! keepalived's files reads ours.
//!
//! Two things differ on purpose: a password is masked, and a script stands as it was written, with no link in its path
//! followed. `docs/control.md` says so.

mod data;
mod global;
mod servers;
mod tracked;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use keepone_config::Config;
use keepone_config::model::{Rule, Script, VrrpInstance};
use keepone_proto::decision::Role;
use keepone_proto::id::InstanceId;
use keepone_proto::node::DomainStatus;
use keepone_proto::settings::{AuthType, VrrpVersion};
use keepone_proto::time::Instant;
use keepone_proto::vrrp::statistics::Statistics;
use serde::{Serialize, Serializer};

use super::snapshot::Snapshot;
use super::statistics;
use crate::assemble::{OwnLinks, Preferences};
use crate::{clock, wall_clock};

/// In a password's place.
const MASK: &str = "***";

/// An instance.
#[derive(Serialize)]
struct Entry<'a> {
    data: Data<'a>,
    stats: Stats,
}

/// What is not there has no name in it, as keepalived has it; `u8`: 0 or 1.
#[derive(Serialize)]
struct Data<'a> {
    iname: &'a str,
    dont_track_primary: u8,
    skip_check_adv_addr: u8,
    strict_mode: u8,
    vmac_ifname: &'a str,
    ifp_ifname: &'a str,
    master_priority: u8,
    last_transition: Seconds,
    garp_delay: u64,
    garp_refresh: u64,
    garp_rep: u8,
    garp_refresh_rep: u8,
    garp_lower_prio_delay: u64,
    garp_lower_prio_rep: u8,
    lower_prio_no_advert: u8,
    higher_prio_send_advert: u8,
    vrid: u8,
    base_priority: u8,
    effective_priority: u8,
    vipset: bool,
    promote_secondaries: bool,
    adver_int: Seconds,
    master_adver_int: Seconds,
    accept: u8,
    nopreempt: bool,
    preempt_delay: u64,
    state: u8,
    wantstate: u8,
    version: u8,
    smtp_alert: bool,
    notify_deleted: bool,
    #[serde(flatten)]
    scripts: Scripts,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vroutes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vrules: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_ifp: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_script: Vec<String>,
    auth_type: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_data: Option<&'static str>,
}

/// Commands, each word in quotes.
#[derive(Serialize)]
struct Scripts {
    #[serde(skip_serializing_if = "Option::is_none")]
    script_deleted: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_backup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_master: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_fault: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_stop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_master_rx_lower_pri: Option<String>,
}

/// A time in seconds; a whole number has no fraction.
struct Seconds(Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.subsec_micros() {
            0 => serializer.serialize_u64(self.0.as_secs()),
            // Microseconds are what keepalived has.
            micros => {
                serializer.serialize_f64(Duration::new(self.0.as_secs(), micros.saturating_mul(1000)).as_secs_f64())
            }
        }
    }
}

/// What was sent, heard and refused, by keepalived's names.
struct Stats(Statistics);

impl Serialize for Stats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = statistics::COUNTERS.iter().chain(&statistics::ERRORS);
        serializer.collect_map(all.filter_map(|counter| Some((counter.keepalived?, (counter.of)(&self.0)))))
    }
}

/// Of one instance.
#[derive(Clone, Copy)]
struct Standing<'a> {
    id: InstanceId,
    status: &'a DomainStatus,
}

impl Snapshot {
    /// As keepalived writes it on its signal for JSON: an array of `data` and `stats` of each instance, in the order of
    /// the configuration.
    pub(crate) fn keepalived(&self) -> String {
        let own = OwnLinks::of(&self.directory.config);
        serde_json::to_string(&self.entries(&own, utc_at_boot())).unwrap_or_default()
    }

    /// The same as a value, for a dump that has more.
    pub(super) fn keepalived_entries(&self) -> serde_json::Value {
        let own = OwnLinks::of(&self.directory.config);
        serde_json::to_value(self.entries(&own, utc_at_boot())).unwrap_or_default()
    }

    /// As keepalived writes it on its signal for statistics.
    pub(crate) fn keepalived_stats(&self) -> String {
        let standing = self.standing();
        let mut text = String::new();
        for instance in &self.directory.config.instances {
            let Some(statistics) = standing.get(instance.name.as_str()).and_then(|at| self.statistics.get(&at.id))
            else {
                continue;
            };
            stats(&mut text, &instance.name, statistics);
        }
        text
    }

    fn entries<'a>(&'a self, own: &'a OwnLinks, utc_at_boot: Duration) -> Vec<Entry<'a>> {
        let config = &*self.directory.config;
        let rules = rules(config);
        let standing = self.standing();
        let instances = config.instances.iter().enumerate();
        let entries = instances.filter_map(|(place, instance)| {
            // One without is being given up, or not begun with.
            let at = *standing.get(instance.name.as_str())?;
            let of = Of { config, own, place, instance };
            let rules = rules.get(&place).map(Vec::as_slice).unwrap_or_default();
            let statistics = self.statistics.get(&at.id).copied().unwrap_or_default();
            Some(Entry { data: self.data(of, rules, at, utc_at_boot), stats: Stats(statistics) })
        });
        entries.collect()
    }

    fn standing(&self) -> BTreeMap<&str, Standing<'_>> {
        let all = self.domains.iter().filter_map(|status| Some((status, self.directory.domains.get(&status.domain)?)));
        all.flat_map(|(status, entry)| {
            entry.instances.iter().map(move |one| (one.name.as_str(), Standing { id: one.id, status }))
        })
        .collect()
    }

    fn data<'a>(&self, of: Of<'a>, rules: &[Rule], at: Standing<'_>, utc_at_boot: Duration) -> Data<'a> {
        let Of { config, own, place, instance } = of;
        let options = &instance.options;
        let announce = &instance.announce;
        let role = at.status.role;
        let is_master = role == Role::Master;
        let own_interface = own.own(place).map_or("", |link| link.name.as_str());
        let ifp = if own_interface.is_empty() { instance.interface.as_str() } else { own_interface };
        let heard = self.masters.get(&at.id).filter(|_| matches!(role, Role::Backup | Role::Claiming));
        let second = |time: Option<Duration>| time.map_or(0, |time| time.as_secs());
        let is_own = |name: &str| name == instance.interface || name == ifp;
        let addresses = |excluded| words::addresses(of, excluded, is_master);
        Data {
            iname: &instance.name,
            dont_track_primary: u8::from(!instance.track_interface.iter().any(|track| is_own(&track.interface))),
            skip_check_adv_addr: options.skip_check_adv_addr.into(),
            strict_mode: options.strict.into(),
            vmac_ifname: own_interface,
            ifp_ifname: ifp,
            master_priority: heard.map_or(0, |master| master.priority.0),
            last_transition: Seconds(utc_at_boot.saturating_add(at.status.since.since(Instant::BOOT))),
            garp_delay: second(announce.second),
            garp_refresh: second(announce.refresh.map(|refresh| refresh.interval)),
            garp_rep: announce.burst,
            garp_refresh_rep: announce.refresh.map_or(1, |refresh| refresh.rounds),
            garp_lower_prio_delay: second(announce.rival_second),
            garp_lower_prio_rep: announce.rival_burst,
            lower_prio_no_advert: options.lower_prio_no_advert.into(),
            higher_prio_send_advert: options.higher_prio_send_advert.into(),
            vrid: instance.vrid.get(),
            base_priority: instance.priority.0,
            effective_priority: self.priorities.get(&at.id).map_or(at.status.priority.0, |priority| priority.0),
            vipset: is_master,
            promote_secondaries: options.promote_secondaries,
            adver_int: Seconds(instance.advert_int),
            master_adver_int: Seconds(heard.map_or(instance.advert_int, |master| master.advert_int)),
            accept: instance.accepts().into(),
            nopreempt: !instance.preempt,
            preempt_delay: if instance.preempt { instance.preempt_delay.as_secs() } else { 0 },
            state: state(role),
            wantstate: state(role),
            version: match instance.version {
                VrrpVersion::V2 => 2,
                VrrpVersion::V3 => 3,
            },
            smtp_alert: options.smtp_alert,
            notify_deleted: options.notify_deleted.is_some(),
            scripts: scripts(instance),
            vips: addresses(false),
            evips: addresses(true),
            vroutes: options.routes.iter().map(words::route).collect(),
            vrules: rules.iter().map(words::rule).collect(),
            track_ifp: {
                let others = instance.track_interface.iter().map(|track| track.interface.as_str());
                others.filter(|name| !is_own(name)).collect()
            },
            track_script: {
                let tracked = options.trackers.scripts.iter();
                let known = tracked.filter_map(|tracked| config.trackers.scripts.get(tracked.tracker));
                known.map(|tracker| words::command(&tracker.script)).collect()
            },
            auth_type: match (&instance.auth_pass, instance.auth_type) {
                (None, _) => 0,
                (Some(_), AuthType::Pass) => 1,
                (Some(_), AuthType::Ah) => 2,
            },
            auth_data: instance.auth_pass.as_ref().map(|_| MASK),
        }
    }
}

/// An instance in its configuration.
#[derive(Clone, Copy)]
struct Of<'a> {
    config: &'a Config,
    own: &'a OwnLinks,
    /// In the configuration.
    place: usize,
    instance: &'a VrrpInstance,
}

/// When the boot clock was 0: since 1970 in UTC.
fn utc_at_boot() -> Duration {
    wall_clock::utc().saturating_sub(clock::now().since(Instant::BOOT))
}

/// Of each instance, by its place, with the preferences that they have in the kernel.
fn rules(config: &Config) -> BTreeMap<usize, Vec<Rule>> {
    let mut preferences = Preferences::default();
    drop(preferences.give(&config.statics.rules));
    let places = config.domains().into_iter().flat_map(|domain| domain.instances);
    let of_place = |place: usize| Some((place, preferences.give(&config.instances.get(place)?.options.rules)));
    places.filter_map(of_place).collect()
}

/// keepalived's number for a state; one that is fenced listens as a BACKUP does.
fn state(role: Role) -> u8 {
    match role {
        Role::Init => 0,
        Role::Backup | Role::Claiming | Role::Fenced => 1,
        Role::Master => 2,
        Role::Fault => 3,
    }
}

fn scripts(instance: &VrrpInstance) -> Scripts {
    let words = |script: Option<&Script>| script.map(words::command);
    let (notify, options) = (&instance.notify, &instance.options);
    Scripts {
        script_deleted: words(options.notify_deleted.as_ref().and_then(|deleted| deleted.script.as_ref())),
        script_backup: words(notify.backup.as_ref()),
        script_master: words(notify.master.as_ref()),
        script_fault: words(notify.fault.as_ref()),
        script_stop: words(notify.stop.as_ref()),
        script: words(notify.any.as_ref()),
        script_master_rx_lower_pri: words(options.notify_master_rx_lower_pri.as_ref()),
    }
}

fn stats(text: &mut String, name: &str, of: &Statistics) {
    let _ = writeln!(text, "VRRP Instance: {name}");
    let _ = writeln!(text, "  Advertisements:\n    Received: {}\n    Sent: {}", of.received, of.sent);
    let _ = writeln!(text, "  Became master: {}\n  Released master: {}", of.became_master, of.released_master);
    let groups: [(&str, &[(&str, u64)]); 3] = [
        (
            "Packet Errors",
            &[
                ("Length", of.length_errors),
                ("TTL", of.ttl_errors),
                ("Invalid Type", of.type_errors),
                ("Advertisement Interval", of.interval_errors),
                ("Address List", of.address_list_errors),
            ],
        ),
        (
            "Authentication Errors",
            &[
                ("Invalid Type", of.unknown_auth_types),
                ("Type Mismatch", of.auth_type_mismatches),
                ("Failure", of.auth_failures),
            ],
        ),
        ("Priority Zero", &[("Received", of.zero_received), ("Sent", of.zero_sent)]),
    ];
    for (group, counters) in groups {
        let _ = writeln!(text, "  {group}:");
        for (name, count) in counters {
            let _ = writeln!(text, "    {name}: {count}");
        }
    }
}
