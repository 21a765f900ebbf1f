//! Health checks: what they inherit from their servers, and whether their times fit each other.

use std::net::IpAddr;
use std::time::Duration;

use keepone_proto::lease::timing::Millis;

use crate::model::{CheckTiming, Checker, HttpProbe, HttpVersion, Probe, ServerName, Target, Url};
use crate::raw::{RawChecker, RawHttp, RawProbe, RawReal, RawServer, RawService, RawTarget, RawTimes};
use crate::source::Place;

use super::Check;
use super::balance::delay_loop;
use super::track::TrackerNames;

const SECOND: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a check inherits.
pub(super) struct Around<'a> {
    address: IpAddr,
    port: u16,
    interval: Duration,
    warmup: Option<Duration>,
    retry: Option<u32>,
    delay_before_retry: Option<Duration>,
    timeout: Option<Duration>,
    alpha: bool,
    log_all_failures: bool,
    virtualhost: Option<&'a String>,
}

impl<'a> Around<'a> {
    pub(super) fn of(server: &'a RawServer, real: &'a RawReal, log_all_failures: Option<bool>) -> Self {
        let (outer, inner) = (&server.times, &real.times);
        let timeout = inner.connect_timeout.as_ref().or(outer.connect_timeout.as_ref());
        // IPVS sends on to the port that the client asked for, if the real server has none.
        let port = match server.service {
            RawService::Address(_, port) if real.port == 0 => port,
            _ => real.port,
        };
        Around {
            address: real.address,
            port,
            interval: delay_loop(server, real),
            warmup: inner.warmup.or(outer.warmup),
            retry: inner.retry.or(outer.retry),
            delay_before_retry: inner.delay_before_retry.or(outer.delay_before_retry),
            timeout: timeout.map(|at| at.value),
            alpha: inner.alpha.or(outer.alpha).unwrap_or(false),
            log_all_failures: log_all_failures.unwrap_or(false),
            virtualhost: inner.virtualhost.as_ref().or(outer.virtualhost.as_ref()),
        }
    }
}

impl Check<'_> {
    /// The check with all defaults; `None` after a complaint.
    pub(super) fn checker(
        &mut self,
        raw: &RawChecker,
        around: &Around<'_>,
        trackers: &TrackerNames<'_>,
    ) -> Option<Checker> {
        let timing = timing(raw, around);
        let probe = match &raw.probe {
            RawProbe::Tcp => Probe::Tcp(self.target(raw, around, timing.interval)?),
            RawProbe::Ping => Probe::Ping(self.target(raw, around, timing.interval)?),
            RawProbe::Udp(udp) => Probe::Udp(self.target(raw, around, timing.interval)?, udp.clone()),
            RawProbe::Http(http) => {
                let target = self.target(raw, around, timing.interval)?;
                Probe::Http(target, self.http(raw, http, around))
            }
            RawProbe::Smtp { helo, hosts } => {
                let mut targets = Vec::new();
                if hosts.is_empty() {
                    targets.push(self.target(raw, around, timing.interval)?);
                }
                for (times, target) in hosts {
                    targets.push(self.target_of(&raw.place, times, target, around, (timing.interval, true))?);
                }
                Probe::Smtp { targets, helo: helo.clone() }
            }
            RawProbe::Dns { kind, name } => {
                let target = self.target(raw, around, timing.interval)?;
                Probe::Dns { target, kind: *kind, name: name.clone() }
            }
            RawProbe::Misc { script, timeout, dynamic } => {
                if let Some(at) = timeout.as_ref().filter(|at| at.value > timing.interval) {
                    self.too_long(&at.place, "misc_timeout", at.value, timing.interval);
                }
                let timeout = timeout.as_ref().map_or(timing.interval, |at| at.value);
                Probe::Misc { script: script.clone(), timeout, dynamic: *dynamic }
            }
            RawProbe::File { name, weight } => {
                let file = self.named("track_file", name, &trackers.files)?;
                let own = self.raw.trackers.files.get(file).map(|at| at.value.weight);
                Probe::File { file, weight: weight.or(own).unwrap_or_default() }
            }
            RawProbe::Bfd { name } => {
                let session = self.named("bfd_instance", name, &trackers.bfd)?;
                let unusable = self.raw.trackers.bfd.get(session).is_some_and(|at| !at.value.for_checkers);
                if unusable {
                    let message = format!("BFD session `{}` is for instances only", name.value);
                    self.report.error(&name.place, message, "remove `vrrp` from the bfd_instance, or add `checker`");
                }
                Probe::Bfd(session)
            }
        };
        Some(Checker { timing, probe })
    }

    fn target(&mut self, raw: &RawChecker, around: &Around<'_>, interval: Duration) -> Option<Target> {
        let wants_port = !matches!(raw.probe, RawProbe::Ping);
        self.target_of(&raw.place, &raw.times, &raw.target, around, (interval, wants_port))
    }

    fn target_of(
        &mut self,
        place: &Place,
        times: &RawTimes,
        raw: &RawTarget,
        around: &Around<'_>,
        (interval, wants_port): (Duration, bool),
    ) -> Option<Target> {
        let address = raw.connect_ip.as_ref().map_or(around.address, |at| at.value);
        let port = raw.connect_port.unwrap_or(around.port);
        if port == 0 && wants_port {
            let help = "add `connect_port N`, or a port to the real server";
            self.report.error(place, "a check of a real server without a port has no connect_port", help);
            return None;
        }
        if let Some(bind) = raw.bindto.as_ref().filter(|bind| bind.value.is_ipv4() != address.is_ipv4()) {
            let message = format!("bindto {} is of another family than {address}", bind.value);
            self.report.error(&bind.place, message, "write an address of the same family");
        }
        let timeout = times.connect_timeout.as_ref().map(|at| at.value).or(around.timeout).unwrap_or(TIMEOUT);
        if let Some(at) = times.connect_timeout.as_ref().filter(|_| timeout >= interval) {
            self.too_long(&at.place, "connect_timeout", timeout, interval);
        } else if timeout >= interval && times.connect_timeout.is_none() {
            self.too_long(place, "connect_timeout", timeout, interval);
        }
        Some(Target {
            address,
            port: if wants_port { port } else { 0 },
            from: raw.bindto.as_ref().map(|at| at.value),
            from_port: raw.bind_port.unwrap_or(0),
            interface: raw.bind_if.clone(),
            mark: raw.mark.unwrap_or(0),
            timeout,
        })
    }

    fn too_long(&mut self, place: &Place, keyword: &str, timeout: Duration, interval: Duration) {
        let message = format!(
            "{keyword} {} is not below delay_loop {}: a server that hangs is checked late",
            Millis(timeout),
            Millis(interval)
        );
        self.report.warning(place, message, format!("write a {keyword} below the delay_loop, or a longer delay_loop"));
    }

    fn http(&mut self, raw: &RawChecker, http: &RawHttp, around: &Around<'_>) -> HttpProbe {
        let virtualhost = raw.times.virtualhost.as_ref().or(around.virtualhost);
        let host = |url: &Url| url.virtualhost.clone().or_else(|| virtualhost.cloned());
        let urls: Vec<Url> = http.urls.iter().map(|url| Url { virtualhost: host(url), ..url.clone() }).collect();
        let server_name = match (&http.sni_name, http.enable_sni) {
            (Some(name), _) => ServerName::Name(name.clone()),
            (None, true) => ServerName::VirtualHost,
            (None, false) => ServerName::None,
        };
        let nameless =
            http.tls && server_name == ServerName::VirtualHost && urls.iter().any(|u| u.virtualhost.is_none());
        if nameless {
            let help = "add `virtualhost NAME`, which is the name that the handshake asks for";
            self.report.warning(&raw.place, "enable_sni without virtualhost", help);
        }
        if http.version == HttpVersion::V2 && !http.tls {
            let help = "write SSL_GET, or `http_protocol 1.1`";
            self.report.error(&raw.place, "HTTP/2 is spoken over TLS only", help);
        }
        if http.verify && self.raw.global.ipvs.tls.ca.is_none() {
            let help = "add `SSL { ca /path/of/authorities.pem }`";
            self.report.error(&raw.place, "verify_certificate without authorities to verify by", help);
        }
        for pattern in urls.iter().filter_map(|url| url.regex.as_ref()) {
            if let Err(fault) = pattern.check() {
                let help = "write it without look-around and back-references: it is matched in linear time";
                self.report.error(&raw.place, format!("the regex `{}` can't be used: {fault}", pattern.pattern), help);
            }
        }
        if !http.tls && server_name != ServerName::None {
            self.report.warning(&raw.place, "HTTP_GET has no TLS handshake to name a server in", "write SSL_GET");
        }
        HttpProbe {
            tls: http.tls,
            version: http.version,
            server_name,
            verify: http.verify,
            tls_compliant: http.tls_compliant,
            fast_recovery: http.fast_recovery,
            urls,
        }
    }
}

/// A check's own times, or its servers', or keepalived's for its kind.
fn timing(raw: &RawChecker, around: &Around<'_>) -> CheckTiming {
    let own = &raw.times;
    let interval = own.delay_loop.as_ref().map_or(around.interval, |at| at.value);
    let (retry, delay) = match raw.probe {
        RawProbe::Dns { .. } => (3, interval),
        RawProbe::Http(_) => (1, SECOND * 3),
        RawProbe::Misc { .. } => (0, SECOND),
        RawProbe::Tcp | RawProbe::Ping | RawProbe::Udp(_) | RawProbe::Smtp { .. } => (1, SECOND),
        RawProbe::File { .. } | RawProbe::Bfd { .. } => (0, Duration::ZERO),
    };
    CheckTiming {
        interval,
        warmup: own.warmup.or(around.warmup).unwrap_or(interval),
        retry: own.retry.or(around.retry).unwrap_or(retry),
        delay_before_retry: own.delay_before_retry.or(around.delay_before_retry).unwrap_or(delay),
        alpha: own.alpha.unwrap_or(around.alpha),
        log_all_failures: own.log_all_failures.unwrap_or(around.log_all_failures),
    }
}
