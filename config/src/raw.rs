//! What the operator said, typed, each value with its place; what was not said is `None`.
//!
//! Lowering fills this from statements; `check` makes the model of it.

mod balance;
mod track;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use keepone_proto::id::{NodeId, Priority, Vrid};
use keepone_proto::lease::timing::Profile;
use keepone_proto::settings::{Policy, VrrpVersion};

use crate::model::{
    EventKind, Fifos, GateMeans, InitialState, IpvsSettings, IpvsSync, Mail, MailTls, Mirror, PublicKey, Scheduling,
    Script, ScriptRules, Secret, Snmp, VirtualAddress, VrrpSettings,
};
use crate::source::{At, Place};

pub(crate) use balance::{
    Granularity, RawChecker, RawHttp, RawProbe, RawReal, RawServer, RawServerGroup, RawService, RawTarget, RawTimes,
    SchedulerFlag,
};
pub(crate) use track::{RawHmac, RawOptions, RawScript, RawSources, RawStatics, RawTracked, RawTrackers};

/// Which keywords a block has, readable or not: a wrong value is not also a missing one.
#[derive(Debug, Default)]
pub(crate) struct Written(Vec<String>);

impl Written {
    pub(crate) fn add(&mut self, keyword: &str) {
        self.0.push(keyword.to_owned());
    }

    pub(crate) fn has(&self, keyword: &str) -> bool {
        self.0.iter().any(|written| written == keyword)
    }
}

#[derive(Debug, Default)]
pub(crate) struct RawConfig {
    pub written: Written,
    pub global: RawGlobal,
    pub cluster: Option<At<String>>,
    pub node: Option<At<String>>,
    pub key_file: Option<At<PathBuf>>,
    pub state_dir: Option<At<PathBuf>>,
    pub run_dir: Option<At<PathBuf>>,
    pub bpf_dir: Option<At<PathBuf>>,
    pub control_group: Option<At<String>>,
    pub grace: Option<At<Duration>>,
    pub members: Vec<RawMember>,
    pub heartbeat_period: Option<At<Duration>>,
    pub heartbeat_misses: Option<At<u32>>,
    pub links: Vec<RawLink>,
    pub arbiter: Option<RawArbiter>,
    pub references: Option<RawReferences>,
    pub gate: Option<At<GateMeans>>,
    pub fencing: Option<RawFencing>,
    pub webhooks: Vec<RawWebhook>,
    pub web: Option<RawWeb>,
    pub instances: Vec<RawInstance>,
    pub groups: Vec<RawGroup>,
    pub trackers: RawSources,
    pub statics: RawStatics,
    pub server_groups: Vec<RawServerGroup>,
    pub virtual_servers: Vec<RawServer>,
}

#[derive(Debug, Default)]
pub(crate) struct RawGlobal {
    pub router_id: Option<At<String>>,
    pub version: Option<At<VrrpVersion>>,
    pub mcast_group4: Option<At<Ipv4Addr>>,
    pub mcast_group6: Option<At<Ipv6Addr>>,
    pub garp_repeat: Option<At<u8>>,
    pub garp_delay: Option<At<Duration>>,
    pub script_user: Option<At<(String, Option<String>)>>,
    pub script_timeout: Option<At<Duration>>,
    pub alert_script: Option<Script>,
    pub event_fifo: Option<At<PathBuf>>,
    pub default_interface: Option<At<String>>,
    /// What instances inherit.
    pub defaults: RawOptions,
    pub smtp_alert: Option<bool>,
    pub smtp_alert_vrrp: Option<bool>,
    pub smtp_alert_checker: Option<bool>,
    pub log_all_failures: Option<bool>,
    pub mail: Mail,
    pub mail_security: RawMailSecurity,
    pub scripts: ScriptRules,
    pub startup_timeout: Option<At<Duration>>,
    pub shutdown_timeout: Option<At<Duration>>,
    pub fifos: Fifos,
    /// Readers whose FIFO may come later in the file: of all, of VRRP, of IPVS.
    pub readers: [Option<(Place, Script)>; 3],
    pub vrrp: VrrpSettings,
    /// `interface_up_down_delays`: down, up.
    pub link_delays: Vec<At<(String, Duration, Duration)>>,
    pub ipvs: IpvsSettings,
    pub sync: Option<RawSync>,
    pub scheduling: Scheduling,
    pub snmp: Snmp,
    pub dbus: bool,
    pub dbus_name: Option<At<String>>,
    pub reload_check_log: Option<PathBuf>,
}

/// What keepalived has no words for in mail.
#[derive(Debug, Default)]
pub(crate) struct RawMailSecurity {
    pub tls: Option<At<MailTls>>,
    pub ca_file: Option<At<PathBuf>>,
    pub user: Option<At<String>>,
    pub password_file: Option<At<PathBuf>>,
}

#[derive(Debug)]
pub(crate) struct RawWebhook {
    pub name: At<String>,
    pub written: Written,
    pub url: Option<At<String>>,
    pub secret_file: Option<PathBuf>,
    pub timeout: Option<At<Duration>>,
    pub ca_file: Option<At<PathBuf>>,
    pub events: Vec<EventKind>,
}

/// `lvs_sync_daemon`: all but the instance, whose name it has.
#[derive(Debug)]
pub(crate) struct RawSync {
    pub sync: IpvsSync,
    pub instance: Option<At<String>>,
}

#[derive(Debug)]
pub(crate) struct RawMember {
    pub name: At<String>,
    pub written: Written,
    pub id: Option<At<NodeId>>,
    pub public_key: Option<At<PublicKey>>,
    pub witness: Option<At<SocketAddr>>,
}

#[derive(Debug)]
pub(crate) struct RawLink {
    pub name: At<String>,
    pub written: Written,
    pub interface: Option<At<String>>,
    pub address: Option<At<IpAddr>>,
    pub port: Option<At<u16>>,
    pub peers: Vec<(At<String>, At<IpAddr>)>,
}

/// `arbiter { type … }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArbiterType {
    None,
    Quorum,
    Etcd,
}

#[derive(Debug)]
pub(crate) struct RawArbiter {
    pub place: Place,
    pub written: Written,
    pub kind: Option<At<ArbiterType>>,
    pub voters: Vec<At<String>>,
    pub generation: Option<At<u32>>,
    pub former_voters: Vec<At<String>>,
    pub joint_voters: Vec<At<String>>,
    pub former_joint_voters: Vec<At<String>>,
    pub witnesses: Vec<At<String>>,
    pub profile: Option<At<Profile>>,
    pub lease: Option<At<Duration>>,
    pub lease_max: Option<At<Duration>>,
    pub rate_error_ppm: Option<At<u32>>,
    pub transmit: Option<At<Duration>>,
    pub gate_lateness: Option<At<Duration>>,
    pub hidden_freeze: Option<At<Duration>>,
    pub gate_horizon: Option<At<Duration>>,
    pub round_trip: Option<At<Duration>>,
    pub claim_without_gate: bool,
    pub etcd_lease: Option<At<bool>>,
    pub policy: Option<At<Policy>>,
    pub endpoints: Vec<At<String>>,
    pub prefix: Option<At<String>>,
    pub user: Option<At<String>>,
    pub password_file: Option<At<PathBuf>>,
    pub ca_file: Option<At<PathBuf>>,
    pub cert_file: Option<At<PathBuf>>,
    pub cert_key_file: Option<At<PathBuf>>,
}

#[derive(Debug)]
pub(crate) struct RawReferences {
    pub place: Place,
    pub written: Written,
    pub targets: Vec<At<IpAddr>>,
    pub need: Option<At<u16>>,
    pub interval: Option<At<Duration>>,
    pub timeout: Option<At<Duration>>,
    pub rise: Option<At<u8>>,
    pub fall: Option<At<u8>>,
}

#[derive(Debug)]
pub(crate) struct RawFencing {
    pub place: Place,
    pub watchdog: Option<At<PathBuf>>,
    pub watchdog_timeout: Option<At<u32>>,
    pub command: Option<(Place, Script)>,
    pub timeout: Option<At<Duration>>,
    pub retry: Option<At<Duration>>,
    pub reboot_after: Option<At<Duration>>,
    pub domains: Vec<At<String>>,
}

#[derive(Debug)]
pub(crate) struct RawWeb {
    pub place: Place,
    pub written: Written,
    pub listen: Option<At<SocketAddr>>,
    pub cert_file: Option<At<PathBuf>>,
    pub cert_key_file: Option<At<PathBuf>>,
    pub token_file: Option<At<PathBuf>>,
}

#[derive(Debug)]
pub(crate) struct RawTrack {
    pub interface: At<String>,
    pub weight: i16,
    pub reverse: bool,
}

#[derive(Debug)]
pub(crate) struct RawInstance {
    pub name: At<String>,
    pub written: Written,
    pub state: Option<At<InitialState>>,
    pub interface: Option<At<String>>,
    pub vrid: Option<At<Vrid>>,
    pub version: Option<At<VrrpVersion>>,
    pub priority: Option<At<Priority>>,
    pub advert_int: Option<At<Duration>>,
    pub nopreempt: Option<At<bool>>,
    pub preempt_delay: Option<At<Duration>>,
    pub addresses: Vec<At<VirtualAddress>>,
    pub excluded: Vec<At<VirtualAddress>>,
    pub no_addresses: bool,
    pub track: Vec<RawTrack>,
    pub track_primary: bool,
    pub mcast_src_ip: Option<At<IpAddr>>,
    pub unicast_src_ip: Option<At<IpAddr>>,
    /// `None`: no such block; `Some` and empty: an empty one.
    pub unicast_peers: Option<At<Vec<At<IpAddr>>>>,
    pub native_ipv6: bool,
    pub auth_type: Option<At<AuthType>>,
    pub auth_pass: Option<At<Secret>>,
    pub garp_repeat: Option<At<u8>>,
    pub garp_delay: Option<At<Duration>>,
    pub policy: Option<At<Policy>>,
    pub mirror: Option<At<Mirror>>,
    pub notify: RawNotify,
    pub options: RawOptions,
}

/// `auth_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthType {
    None,
    Pass,
    Ah,
}

#[derive(Debug, Default)]
pub(crate) struct RawNotify {
    pub any: Option<Script>,
    pub master: Option<Script>,
    pub backup: Option<Script>,
    pub fault: Option<Script>,
    pub stop: Option<Script>,
}

#[derive(Debug)]
pub(crate) struct RawGroup {
    pub name: At<String>,
    pub members: Vec<At<String>>,
    pub track: Vec<RawTrack>,
    pub policy: Option<At<Policy>>,
    pub notify: RawNotify,
    pub trackers: RawTrackers,
    pub tracking_weight: Option<At<bool>>,
    pub smtp_alert: Option<bool>,
    pub notify_priority_changes: Option<bool>,
}
