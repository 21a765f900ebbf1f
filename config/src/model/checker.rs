//! Health checks of real servers.

use std::net::IpAddr;
use std::time::Duration;

use super::{Script, Weight};

/// One check, with all defaults filled in from its real and virtual server.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Checker {
    /// When it is made, and what a failure means.
    pub timing: CheckTiming,
    /// What is tried.
    pub probe: Probe,
}

/// When a check is made, and what a failure means.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq)]
pub struct CheckTiming {
    /// `delay_loop`: between two checks; 60 s by default.
    pub interval: Duration,
    /// The first check comes within this time, at random; the interval by default.
    pub warmup: Duration,
    /// Further tries before the server counts as down.
    pub retry: u32,
    /// Before each of them.
    pub delay_before_retry: Duration,
    /// Down until the first check succeeds.
    pub alpha: bool,
    /// Log every failed try.
    pub log_all_failures: bool,
}

/// What is tried.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub enum Probe {
    /// `TCP_CHECK`.
    Tcp(Target),
    /// `PING_CHECK`; the port means nothing.
    Ping(Target),
    /// `UDP_CHECK`.
    Udp(Target, UdpProbe),
    /// `HTTP_GET`, or `SSL_GET`.
    Http(Target, HttpProbe),
    /// `SMTP_CHECK`.
    Smtp {
        /// Every one must greet.
        targets: Vec<Target>,
        /// How we greet; `None`: with the host's name.
        helo: Option<String>,
    },
    /// `DNS_CHECK`.
    Dns {
        /// Whom to ask.
        target: Target,
        /// For what type.
        kind: DnsType,
        /// For what name; `.` by default.
        name: String,
    },
    /// `MISC_CHECK`.
    Misc {
        /// What is run.
        script: Script,
        /// When it is killed.
        timeout: Duration,
        /// Whether its exit code is a weight.
        dynamic: bool,
    },
    /// `FILE_CHECK`: a place in [`super::TrackerSources::files`].
    File {
        /// Which file.
        file: usize,
        /// Its own factor, or the file's.
        weight: Weight,
    },
    /// `BFD_CHECK`: a place in [`super::TrackerSources::bfd`].
    Bfd(usize),
}

/// Where a check over the network goes, and from where.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where to.
    pub address: IpAddr,
    /// 1 to 65535; 0 only for a ping.
    pub port: u16,
    /// From where; `None`: the kernel's choice.
    pub from: Option<IpAddr>,
    /// From which port; 0: the kernel's choice.
    pub from_port: u16,
    /// Over which interface.
    pub interface: Option<String>,
    /// SO_MARK of its packets; 0: none.
    pub mark: u32,
    /// How long a try may take; 5 s by default.
    pub timeout: Duration,
}

/// What is sent, and what must come back.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct UdpProbe {
    /// What is sent; `None`: anything.
    pub payload: Option<Vec<u8>>,
    /// What must come back; `None`: nothing need.
    pub reply: Option<UdpReply>,
}

/// What must come back.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct UdpReply {
    /// How it begins: half bytes, `None` for any.
    pub pattern: Vec<Option<u8>>,
    /// Its length in bytes, least and greatest.
    pub length: (u16, u16),
}

/// Requests, and what their answers must be.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// `SSL_GET`.
    pub tls: bool,
    /// The version of the request.
    pub version: HttpVersion,
    /// The name in the TLS handshake.
    pub server_name: ServerName,
    /// The server's certificate must be good, and for the name of the handshake or for the address.
    pub verify: bool,
    /// Say goodbye as TLS wants it.
    pub tls_compliant: bool,
    /// After a failure try all urls at once.
    pub fast_recovery: bool,
    /// In the order of the file; at least one, and all must pass.
    pub urls: Vec<Url>,
}

/// `http_protocol`.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum HttpVersion {
    /// 1.0.
    #[default]
    V10,
    /// 1.0 with `Connection: close`.
    V10Close,
    /// 1.1.
    V11,
    /// 2, over TLS alone.
    V2,
}

/// The name in the TLS handshake.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq, Default)]
pub enum ServerName {
    /// None is sent.
    #[default]
    None,
    /// The url's `virtualhost`.
    VirtualHost,
    /// This one.
    Name(String),
}

/// One request.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Url {
    /// Begins with a slash.
    pub path: String,
    /// The Host header.
    pub virtualhost: Option<String>,
    /// MD5 that the body must have.
    pub digest: Option<[u8; 16]>,
    /// Good codes: first and last of each range, within 100 to 599.
    pub status_codes: Vec<(u16, u16)>,
    /// What the body must match.
    pub regex: Option<BodyPattern>,
    /// Say goodbye as TLS wants it.
    pub tls_compliant: bool,
}

/// `regex`.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct BodyPattern {
    /// PCRE2's syntax.
    pub pattern: String,
    /// Names of PCRE2's options.
    pub options: Vec<String>,
    /// It must not match instead.
    pub negate: bool,
    /// Byte at which the search begins.
    pub min_offset: u32,
    /// Byte at which a match begins at the latest.
    pub max_offset: Option<u32>,
    /// PCRE2's stack: bytes at the start, and at most.
    pub stack: Option<(u32, u32)>,
}

/// What a name server is asked for.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsType(pub(crate) &'static str);

impl DnsType {
    /// As in a zone file.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}
