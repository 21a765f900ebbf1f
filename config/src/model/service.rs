//! Settings of the whole agent that no virtual router has for itself: mail, IPVS, FIFOs, SNMP, scheduling.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Prefix, Route, Rule, Script, SecretBytes, VirtualAddress};

/// Alert mail.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The relay's name or address, and its port; `None`: no mail.
    pub server: Option<(String, u16)>,
    /// How long it may take; 30 s by default.
    pub timeout: Duration,
    /// How it is greeted; `None`: with the host's name.
    pub helo_name: Option<String>,
    /// The sender; `None`: keepone at this host.
    pub from: Option<String>,
    /// Who gets it.
    pub recipients: Vec<String>,
    /// No mail on FAULT.
    pub no_faults: bool,
    /// Mail when a real server comes or goes, not for each of its checks.
    pub no_checkers: bool,
    /// How what is said to the relay is protected.
    pub tls: MailTls,
    /// Who has signed the relay's certificate, in PEM; `None`: one of those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// The user and the file with the password.
    pub user: Option<(String, PathBuf)>,
}

/// How what is said to the relay is protected.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, Default)]
pub enum MailTls {
    /// Not at all, as with keepalived.
    #[default]
    Off,
    /// From STARTTLS on (RFC 3207), or no mail is given to it.
    StartTls,
    /// From the first octet (RFC 8314).
    Implicit,
}

/// Whom events are sent to as JSON.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The operator's name for it.
    pub name: String,
    /// `http://` or `https://`.
    pub url: String,
    /// The key of the signature; `None`: nothing is signed.
    pub secret_file: Option<PathBuf>,
    /// How long one attempt may take, 1 to 60 s; 5 s by default.
    pub timeout: Duration,
    /// Who has signed the receiver's certificate, in PEM; `None`: one of those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// What it is told of; never empty.
    pub events: Vec<EventKind>,
}

/// What can be told of.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A change of role.
    Transition,
    /// The begin or the end of an alert.
    Alert,
    /// A virtual or a real server that comes or goes.
    Server,
}

impl Default for Mail {
    fn default() -> Self {
        Mail {
            server: None,
            timeout: Duration::from_secs(30),
            helo_name: None,
            from: None,
            recipients: Vec::new(),
            no_faults: false,
            no_checkers: false,
            tls: MailTls::Off,
            ca_file: None,
            user: None,
        }
    }
}

/// A script of the agent's own life.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct LifeScript {
    /// What is run.
    pub script: Script,
    /// When it is killed, 1 to 1000 s; 10 s by default.
    pub timeout: Duration,
}

/// How scripts are run.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, Default)]
pub struct ScriptRules {
    /// Refuse one that runs as root and that others could change.
    pub security: bool,
    /// All groups of their user.
    pub supplementary_groups: bool,
    /// Run once before anything else.
    pub startup: Option<LifeScript>,
    /// Run once when all else has ended.
    pub shutdown: Option<LifeScript>,
}

/// A FIFO, and what reads it.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Fifo {
    /// Where.
    pub path: PathBuf,
    /// Its owner and group.
    pub owner: Option<(String, Option<String>)>,
    /// Started with the path as last argument.
    pub reader: Option<Script>,
}

/// The FIFOs.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, Default)]
pub struct Fifos {
    /// Gets everything.
    pub all: Option<Fifo>,
    /// VRRP alone.
    pub vrrp: Option<Fifo>,
    /// Virtual and real servers alone.
    pub ipvs: Option<Fifo>,
    /// All states after a reload.
    pub states_on_reload: bool,
}

/// VRRP as a whole.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, Default)]
pub struct VrrpSettings {
    /// Least time between two gratuitous ARPs of an interface.
    pub garp_interval: Duration,
    /// The same for neighbour advertisements.
    pub gna_interval: Duration,
    /// A single announcement.
    pub min_garp: bool,
    /// Interfaces whose announcements share a pace.
    pub garp_groups: Vec<GarpGroup>,
    /// Instances begin so long after the agent.
    pub startup_delay: Duration,
    /// Instances begin so long after the machine.
    pub delay_after_boot: Duration,
    /// Interfaces may come and go.
    pub dynamic_interfaces: bool,
    /// They may come back with another address.
    pub allow_if_changes: bool,
    /// Log Advertisements of virtual routers that are not ours.
    pub log_unknown_vrids: bool,
    /// No IGMP reports for link-local groups.
    pub disable_local_igmp: bool,
    /// How names of VMAC interfaces begin; `None`: vrrp.
    pub vmac_prefix: Option<String>,
    /// The same for single addresses; `None`: as above.
    pub vmac_addr_prefix: Option<String>,
    /// Every interface is asked for its link each second.
    pub linkbeat_all: bool,
    /// Or these.
    pub linkbeat_interfaces: Vec<String>,
    /// How long a link must stay down, and up.
    pub link_delays: Vec<(String, Duration, Duration)>,
}

/// `garp_group`.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, Default)]
pub struct GarpGroup {
    /// Least time between two gratuitous ARPs.
    pub garp_interval: Duration,
    /// The same for neighbour advertisements.
    pub gna_interval: Duration,
    /// Who shares it.
    pub interfaces: Vec<String>,
}

/// IPVS as a whole.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, Default)]
pub struct IpvsSettings {
    /// Empty the table at the start.
    pub flush: bool,
    /// Empty it at the stop.
    pub flush_on_stop: FlushOnStop,
    /// When idle connections are forgotten: TCP, TCP after FIN, UDP; whole seconds, `None`: the kernel's.
    pub timeouts_s: [Option<u32>; 3],
    /// Connections told to the other director.
    pub sync: Option<IpvsSync>,
    /// notify_up at the start too.
    pub rs_init_notifies: bool,
    /// What the checker shows to HTTPS servers.
    pub tls: ClientTls,
}

/// `lvs_flush_on_stop`.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum FlushOnStop {
    /// Services go one by one.
    #[default]
    No,
    /// Only ours.
    OwnServices,
    /// All.
    All,
}

/// `lvs_sync_daemon`.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct IpvsSync {
    /// Where.
    pub interface: String,
    /// Whose Master sends: a place in [`super::Config::instances`]; `None`: both ways at once.
    pub instance: Option<usize>,
    /// 0 to 255; `None`: the instance's VRID.
    pub id: Option<u8>,
    /// Longest message in bytes.
    pub maxlen: Option<u16>,
    /// UDP port; 8848 by default.
    pub port: u16,
    /// Hop limit.
    pub ttl: Option<u8>,
    /// 224.0.0.81 by default.
    pub group: Option<IpAddr>,
}

/// `SSL`.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// Of the private key.
    pub password: Option<SecretBytes>,
    /// Certificates of authorities.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub certificate: Option<PathBuf>,
    /// Our private key.
    pub key: Option<PathBuf>,
}

/// How the kernel schedules the agent.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, Default)]
pub struct Scheduling {
    /// Real-time priority of what decides, 1 to 99; `None`: 10.
    pub rt_priority: Option<u8>,
    /// Which processors may run what decides; empty: all.
    pub cpus: Vec<u16>,
}

/// SNMP.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, Default)]
pub struct Snmp {
    /// Where the AgentX master listens: `unix:PATH`, a path, or `tcp:ADDRESS:PORT`; `None`: unix:/var/agentx/master.
    pub socket: Option<String>,
    /// Send notifications.
    pub traps: bool,
    /// Answer for VRRP, by KEEPALIVED-MIB.
    pub vrrp: bool,
    /// Answer for VRRP, by VRRPV3-MIB (RFC 6527).
    pub rfc: bool,
    /// Answer for IPVS and its checkers.
    pub checkers: bool,
}

/// There as long as the agent, whatever its role.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, Default)]
pub struct Statics {
    /// `static_ipaddress`.
    pub addresses: Vec<VirtualAddress>,
    /// `static_routes`.
    pub routes: Vec<Route>,
    /// `static_rules`.
    pub rules: Vec<Rule>,
    /// `track_group`: its name and its instances' places in [`super::Config::instances`].
    pub track_groups: Vec<(String, Vec<usize>)>,
}

/// What an address line says beyond the address (`ip-address(8)`).
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, Default)]
pub struct AddressOptions {
    /// The other end of a point-to-point link.
    pub peer: Option<Prefix>,
    /// On a virtual MAC of its own.
    pub use_vmac: bool,
    /// IFA_F_HOMEADDRESS.
    pub home: bool,
    /// IFA_F_NODAD.
    pub nodad: bool,
    /// IFA_F_MANAGETEMPADDR.
    pub mngtmpaddr: bool,
    /// IFA_F_NOPREFIXROUTE.
    pub noprefixroute: bool,
    /// IFA_F_MCAUTOJOIN.
    pub autojoin: bool,
    /// Seconds; `u32::MAX`: forever.
    pub preferred_lft: Option<u32>,
    /// Whether it may be deleted by others without a consequence.
    pub no_track: bool,
    /// Whose instances go to FAULT when it is deleted (static addresses).
    pub track_group: Option<String>,
}
