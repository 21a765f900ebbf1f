//! `global_defs`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use keepone_proto::settings::AnnounceSettings;

use super::{Fifos, IpvsSettings, Mail, Scheduling, Script, ScriptRules, Snmp, VrrpSettings, Webhook};

/// Names and defaults of the whole file.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Global {
    /// This node's name in mails and logs; `None`: the host name.
    pub router_id: Option<String>,
    /// Where IPv4 Advertisements go; 224.0.0.18 (RFC 9568, 5.1.1.2).
    pub vrrp_mcast_group4: Ipv4Addr,
    /// Where IPv6 Advertisements go; ff02::12 (RFC 9568, 5.1.2.2).
    pub vrrp_mcast_group6: Ipv6Addr,
    /// Announcements, unless an instance says otherwise.
    pub announce: AnnounceSettings,
    /// User and group of scripts that name none; `None`: the agent's default.
    pub script_user: Option<(String, Option<String>)>,
    /// A script that runs longer is killed; 60 s by default.
    pub script_timeout: Duration,
    /// Run at the begin and the end of each alert.
    pub alert_script: Option<Script>,
    /// A FIFO that gets each transition and alert as one line of JSON.
    pub event_fifo: Option<PathBuf>,
    /// How scripts are run; of these only those of the agent's own life are active yet.
    pub scripts: ScriptRules,
    /// Mail on changes of state and alerts.
    pub mail: Mail,
    /// Whom events are sent to as JSON, in the order of the file.
    pub webhooks: Vec<Webhook>,
    /// The FIFOs of keepalived; that of servers alone is not active yet.
    pub fifos: Fifos,
    /// VRRP as a whole; not active yet.
    pub vrrp: VrrpSettings,
    /// IPVS as a whole; not active yet.
    pub ipvs: IpvsSettings,
    /// How the kernel schedules the agent.
    pub scheduling: Scheduling,
    /// The name of the service on the system's D-Bus; `None`: there is no such service.
    pub dbus: Option<String>,
    /// SNMP.
    pub snmp: Snmp,
    /// A file for what a check before a reload says; not active yet.
    pub reload_check_log: Option<PathBuf>,
}
