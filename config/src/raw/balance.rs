//! Virtual servers as they were written: what was not said is inherited later.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::{DnsType, Forwarding, GroupMember, HttpVersion, Protocol, Scheduler, Script, UdpProbe, Url, Weight};
use crate::source::{At, Place};

#[derive(Debug)]
pub(crate) struct RawServerGroup {
    pub name: At<String>,
    pub members: Vec<At<GroupMember>>,
}

/// What a virtual server says for its real servers, and they for their checks.
#[derive(Debug, Default)]
pub(crate) struct RawTimes {
    pub delay_loop: Option<At<Duration>>,
    pub warmup: Option<Duration>,
    pub retry: Option<u32>,
    pub delay_before_retry: Option<Duration>,
    pub connect_timeout: Option<At<Duration>>,
    pub alpha: Option<bool>,
    pub log_all_failures: Option<bool>,
    pub virtualhost: Option<String>,
}

#[derive(Debug)]
pub(crate) struct RawServer {
    pub place: Place,
    pub service: RawService,
    pub times: RawTimes,
    pub protocol: Option<At<Protocol>>,
    pub scheduler: Option<At<Scheduler>>,
    /// Flag 1, 2 or 3, and the scheduler that it is for, if for one.
    pub scheduler_flags: Vec<At<SchedulerFlag>>,
    pub one_packet: Option<At<bool>>,
    pub forwarding: Option<Forwarding>,
    pub ipv6: Option<At<bool>>,
    pub persistence_timeout: Option<At<u32>>,
    pub persistence_prefix: Option<At<Granularity>>,
    pub sip: Option<At<bool>>,
    pub quorum: Option<At<u32>>,
    pub hysteresis: Option<At<u32>>,
    pub quorum_up: Option<Script>,
    pub quorum_down: Option<Script>,
    pub weight: Option<u32>,
    pub sorry_server: Option<At<(IpAddr, u16)>>,
    pub sorry_inhibit: Option<At<bool>>,
    pub sorry_forwarding: Option<At<Forwarding>>,
    pub inhibit: bool,
    pub omega: bool,
    pub ha_suspend: bool,
    pub slow_start: Option<Duration>,
    pub smtp_alert: Option<bool>,
    pub snmp_name: Option<String>,
    pub real_servers: Vec<RawReal>,
}

/// A netmask, or the length of a prefix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Granularity {
    pub prefix: u8,
    pub netmask: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SchedulerFlag {
    /// From 0.
    pub number: usize,
    pub of: Option<&'static str>,
}

#[derive(Debug)]
pub(crate) enum RawService {
    Address(IpAddr, u16),
    Mark(u32),
    Group(At<String>),
}

#[derive(Debug)]
pub(crate) struct RawReal {
    pub place: Place,
    pub address: IpAddr,
    pub port: u16,
    pub times: RawTimes,
    pub weight: Option<u32>,
    pub forwarding: Option<Forwarding>,
    pub upper_threshold: Option<At<u32>>,
    pub lower_threshold: Option<At<u32>>,
    pub inhibit: Option<bool>,
    pub notify_up: Option<Script>,
    pub notify_down: Option<Script>,
    pub smtp_alert: Option<bool>,
    pub snmp_name: Option<String>,
    pub checkers: Vec<RawChecker>,
}

#[derive(Debug)]
pub(crate) struct RawChecker {
    pub place: Place,
    pub times: RawTimes,
    pub target: RawTarget,
    pub probe: RawProbe,
}

/// Where a check goes.
#[derive(Debug, Default)]
pub(crate) struct RawTarget {
    pub connect_ip: Option<At<IpAddr>>,
    pub connect_port: Option<u16>,
    pub bindto: Option<At<IpAddr>>,
    pub bind_port: Option<u16>,
    pub bind_if: Option<String>,
    pub mark: Option<u32>,
}

#[derive(Debug)]
pub(crate) enum RawProbe {
    Tcp,
    Ping,
    Udp(UdpProbe),
    Http(RawHttp),
    Smtp { helo: Option<String>, hosts: Vec<(RawTimes, RawTarget)> },
    Dns { kind: DnsType, name: String },
    Misc { script: Script, timeout: Option<At<Duration>>, dynamic: bool },
    File { name: At<String>, weight: Option<Weight> },
    Bfd { name: At<String> },
}

#[derive(Debug)]
pub(crate) struct RawHttp {
    pub tls: bool,
    pub version: HttpVersion,
    pub enable_sni: bool,
    pub sni_name: Option<String>,
    pub verify: bool,
    pub tls_compliant: bool,
    pub fast_recovery: bool,
    /// Its Host header may be inherited; whether it says goodbye is in it already.
    pub urls: Vec<Url>,
}
