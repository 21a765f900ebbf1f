//! From the configuration to the machine: what it is told of virtual servers, and how they are called.

use std::fmt::Write as _;
use std::net::IpAddr;

use keepone_config::Config;
use keepone_config::model::{Checker, Probe, Protocol, RealServer, Service, VirtualServer};
use keepone_proto::balance::settings::{
    BalanceSettings, CheckerKind, CheckerSettings, ServerSettings, ServiceSettings,
};

use super::longest;

/// What the machine goes by.
pub(crate) fn balance(config: &Config) -> BalanceSettings {
    let services = config.virtual_servers.iter().map(|server| service(config, server)).collect();
    BalanceSettings { services, init_notifies: config.global.ipvs.rs_init_notifies }
}

fn service(config: &Config, server: &VirtualServer) -> ServiceSettings {
    ServiceSettings {
        name: service_name(config, server),
        quorum: server.quorum,
        hysteresis: server.hysteresis,
        omega: server.omega,
        // A mark is nobody's address.
        ha_suspend: server.ha_suspend && !matches!(server.service, Service::Mark { .. }),
        has_sorry: server.sorry_server.is_some(),
        slow_start: server.slow_start,
        servers: server.real_servers.iter().map(|real| real_server(config, server.protocol, real)).collect(),
    }
}

fn real_server(config: &Config, protocol: Protocol, real: &RealServer) -> ServerSettings {
    ServerSettings {
        name: real_name(protocol, real),
        weight: real.weight,
        inhibit: real.inhibit_on_failure,
        checkers: real.checkers.iter().map(|one| checker(config, one)).collect(),
    }
}

fn checker(config: &Config, checker: &Checker) -> CheckerSettings {
    let timing = &checker.timing;
    let kind = match &checker.probe {
        Probe::File { .. } | Probe::Bfd(_) => CheckerKind::Told,
        Probe::Http(_, http) => CheckerKind::Asked {
            steps: u32::try_from(http.urls.len()).unwrap_or(u32::MAX),
            fast_recovery: http.fast_recovery,
        },
        _ => CheckerKind::Asked { steps: 1, fast_recovery: false },
    };
    CheckerSettings {
        key: key(config, &checker.probe).into(),
        kind,
        interval: timing.interval,
        warmup: timing.warmup,
        retry: timing.retry,
        delay_before_retry: timing.delay_before_retry,
        alpha: timing.alpha,
        timeout: longest(&checker.probe),
        tell_all: timing.log_all_failures,
    }
}

/// All that is tried. Files and sessions are known by their names: their places are the configuration's.
fn key(config: &Config, probe: &Probe) -> String {
    let trackers = &config.trackers;
    match probe {
        Probe::File { file, weight } => {
            format!("FILE_CHECK {} {weight:?}", trackers.files.get(*file).map_or("", |file| file.name.as_str()))
        }
        Probe::Bfd(session) => {
            format!("BFD_CHECK {}", trackers.bfd.get(*session).map_or("", |session| session.name.as_str()))
        }
        other => format!("{other:?}"),
    }
}

/// As keepalived calls it in its FIFOs: `[10.0.0.1]:tcp:80`.
pub(crate) fn service_name(config: &Config, server: &VirtualServer) -> String {
    match &server.service {
        Service::Address { address, port } => trio(*address, server.protocol, *port),
        Service::Mark { mark, .. } => format!("FWM {mark}"),
        Service::Group(at) => {
            let name = config.server_groups.get(*at).map_or("?", |group| group.name.as_str());
            format!("[{name}]:{}", protocol_name(server.protocol))
        }
    }
}

/// The same of a real server.
pub(crate) fn real_name(protocol: Protocol, real: &RealServer) -> String {
    trio(real.address, protocol, real.port)
}

fn trio(address: IpAddr, protocol: Protocol, port: u16) -> String {
    // At once as long as it may become: a reload makes tens of thousands.
    let mut name = String::with_capacity("[255.255.255.255]:sctp:65535".len());
    // Into a text it can't fail.
    let _ = write!(name, "[{address}]:{}:{port}", protocol_name(protocol));
    name
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// What kind of check it is, in the configuration's words, and what it tries.
pub(crate) fn check_name(probe: &Probe) -> String {
    let at = |kind: &str, target: &keepone_config::model::Target| match target.port {
        0 => format!("{kind} of {}", target.address),
        port => format!("{kind} of {}", std::net::SocketAddr::new(target.address, port)),
    };
    match probe {
        Probe::Tcp(target) => at("TCP_CHECK", target),
        Probe::Ping(target) => at("PING_CHECK", target),
        Probe::Udp(target, _) => at("UDP_CHECK", target),
        Probe::Http(target, http) => at(if http.tls { "SSL_GET" } else { "HTTP_GET" }, target),
        Probe::Smtp { targets, .. } => {
            targets.first().map_or_else(|| "SMTP_CHECK".into(), |first| at("SMTP_CHECK", first))
        }
        Probe::Dns { target, .. } => at("DNS_CHECK", target),
        Probe::Misc { script, .. } => format!("MISC_CHECK {}", script.command.first().map_or("", String::as_str)),
        Probe::File { .. } => "FILE_CHECK".to_owned(),
        Probe::Bfd(_) => "BFD_CHECK".to_owned(),
    }
}
