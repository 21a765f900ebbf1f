//! Health checks.

use std::time::Duration;

use crate::keyword::{
    BFD_CHECK, DNS_CHECK, FILE_CHECK, HTTP_GET, HTTP_GET_URL, MISC_CHECK, PING_CHECK, SMTP_CHECK, SMTP_CHECK_HOST,
    SSL_GET, SSL_GET_URL, TCP_CHECK, UDP_CHECK,
};
use crate::model::{BodyPattern, DnsType, HttpVersion, Script, UdpProbe, UdpReply, Url};
use crate::raw::{RawChecker, RawHttp, RawProbe, RawTarget, RawTimes};
use crate::source::At;
use crate::tree::Item;

use super::{Lower, Wanted, value};

const DNS_TYPES: &[(&str, DnsType)] = &[
    ("A", DnsType("A")),
    ("NS", DnsType("NS")),
    ("CNAME", DnsType("CNAME")),
    ("SOA", DnsType("SOA")),
    ("MX", DnsType("MX")),
    ("TXT", DnsType("TXT")),
    ("AAAA", DnsType("AAAA")),
    ("RRSIG", DnsType("RRSIG")),
    ("DNSKEY", DnsType("DNSKEY")),
];
const VERSIONS: &[(&str, HttpVersion)] = &[
    ("1.0", HttpVersion::V10),
    ("1.0C", HttpVersion::V10Close),
    ("1.0c", HttpVersion::V10Close),
    ("1.1", HttpVersion::V11),
    ("2", HttpVersion::V2),
];
/// What keepalived accepts without `status_code`.
const GOOD_CODES: (u16, u16) = (200, 299);

impl Lower<'_> {
    /// One check; `None` after a complaint.
    pub(super) fn checker(&mut self, block: &Item, keyword: &str) -> Option<RawChecker> {
        let mut times = RawTimes::default();
        let mut target = RawTarget::default();
        let probe = match keyword {
            "TCP_CHECK" => {
                self.each(block.items(), &TCP_CHECK, |lower, item| lower.network(&mut times, &mut target, item));
                Some(RawProbe::Tcp)
            }
            "PING_CHECK" => {
                self.each(block.items(), &PING_CHECK, |lower, item| lower.network(&mut times, &mut target, item));
                Some(RawProbe::Ping)
            }
            "UDP_CHECK" => Some(self.udp_check(&mut times, &mut target, block)),
            "HTTP_GET" | "SSL_GET" => self.http_check(&mut times, &mut target, block),
            "SMTP_CHECK" => Some(self.smtp_check(&mut times, &mut target, block)),
            "DNS_CHECK" => Some(self.dns_check(&mut times, &mut target, block)),
            "MISC_CHECK" => self.misc_check(&mut times, block),
            "FILE_CHECK" => self.file_check(block),
            "BFD_CHECK" => self.bfd_check(&mut times, block),
            _ => {
                self.unread(block);
                None
            }
        };
        Some(RawChecker { place: block.keyword.place.clone(), times, target, probe: probe? })
    }

    /// What all checks over the network have.
    fn network(&mut self, times: &mut RawTimes, target: &mut RawTarget, item: &Item) {
        let port = || value::number(1..=65535, "write a port from 1 to 65535");
        match item.keyword.text.as_str() {
            "connect_ip" => target.connect_ip = self.value(item, value::address),
            "connect_port" => target.connect_port = self.plain(item, port()),
            "bindto" => target.bindto = self.value(item, value::address),
            "bind_port" => target.bind_port = self.plain(item, port()),
            "bind_if" => target.bind_if = self.plain(item, value::interface),
            "fwmark" => target.mark = self.plain(item, value::number(0..=u64::from(u32::MAX), "write a mark")),
            _ => self.times(times, item, 0),
        }
    }

    fn udp_check(&mut self, times: &mut RawTimes, target: &mut RawTarget, block: &Item) -> RawProbe {
        let (mut payload, mut pattern) = (None, None);
        let (mut least, mut most) = (0, 255);
        self.each(block.items(), &UDP_CHECK, |lower, item| {
            let length = || value::number(0..=65535, "write a length in bytes");
            match item.keyword.text.as_str() {
                "payload" => payload = lower.plain(item, bytes),
                "require_reply" => {
                    pattern = if item.words.is_empty() { Some(Vec::new()) } else { lower.plain(item, half_bytes) };
                }
                "min_reply_length" => least = lower.plain(item, length()).unwrap_or(least),
                "max_reply_length" => most = lower.plain(item, length()).unwrap_or(most),
                _ => lower.network(times, target, item),
            }
        });
        if least > most {
            let message = format!("a reply of at least {least} and at most {most} bytes can't come");
            self.report.error(&block.keyword.place, message, "raise max_reply_length");
        }
        let reply = pattern.map(|pattern| UdpReply { pattern, length: (least, most) });
        RawProbe::Udp(UdpProbe { payload, reply })
    }

    fn smtp_check(&mut self, times: &mut RawTimes, target: &mut RawTarget, block: &Item) -> RawProbe {
        let (mut helo, mut hosts) = (None, Vec::new());
        self.each(block.items(), &SMTP_CHECK, |lower, item| match item.keyword.text.as_str() {
            "helo_name" => helo = lower.plain(item, value::name),
            "host" => {
                let (mut times, mut target) = (RawTimes::default(), RawTarget::default());
                lower.each(item.items(), &SMTP_CHECK_HOST, |lower, item| lower.network(&mut times, &mut target, item));
                hosts.push((times, target));
            }
            _ => lower.network(times, target, item),
        });
        RawProbe::Smtp { helo, hosts }
    }

    fn dns_check(&mut self, times: &mut RawTimes, target: &mut RawTarget, block: &Item) -> RawProbe {
        let (mut kind, mut name) = (DnsType("SOA"), String::from("."));
        self.each(block.items(), &DNS_CHECK, |lower, item| match item.keyword.text.as_str() {
            "type" => {
                let help = "write SOA unless the server is no authority for the name";
                kind = lower.plain(item, value::one_of(DNS_TYPES, help)).unwrap_or(kind);
            }
            "name" => name = lower.plain(item, domain).unwrap_or_else(|| String::from(".")),
            _ => lower.network(times, target, item),
        });
        RawProbe::Dns { kind, name }
    }

    fn misc_check(&mut self, times: &mut RawTimes, block: &Item) -> Option<RawProbe> {
        let (mut command, mut user, mut timeout, mut dynamic) = (None, None, None, false);
        self.each(block.items(), &MISC_CHECK, |lower, item| match item.keyword.text.as_str() {
            "misc_path" => command = lower.command(item),
            "misc_timeout" => {
                timeout = lower.value(item, value::duration(Duration::ZERO..=Duration::from_secs(4294)));
            }
            "misc_dynamic" => dynamic = lower.is_on(item),
            "user" => user = lower.user(item),
            _ => lower.times(times, item, 0),
        });
        let command = self.wants(block, "misc_path", command, "add `misc_path \"/path/of/command arguments\"`")?;
        let (user, group) = user.map_or((None, None), |(user, group)| (Some(user), group));
        let timeout = timeout.filter(|timeout| !timeout.value.is_zero());
        Some(RawProbe::Misc { script: Script { command, user, group }, timeout, dynamic })
    }

    fn file_check(&mut self, block: &Item) -> Option<RawProbe> {
        let (mut name, mut weight) = (None, None);
        self.each(block.items(), &FILE_CHECK, |lower, item| match item.keyword.text.as_str() {
            "track_file" => name = lower.value(item, value::name),
            "weight" => weight = lower.weight(item, i32::MAX),
            _ => lower.unread(item),
        });
        let name = self.wants(block, "track_file", name, "add `track_file NAME`")?;
        Some(RawProbe::File { name, weight })
    }

    fn bfd_check(&mut self, times: &mut RawTimes, block: &Item) -> Option<RawProbe> {
        let mut name: Option<At<String>> = None;
        self.each(block.items(), &BFD_CHECK, |lower, item| match item.keyword.text.as_str() {
            "name" => name = lower.value(item, value::name),
            _ => lower.times(times, item, 0),
        });
        let name = self.wants(block, "name", name, "add `name` and the name of a bfd_instance")?;
        Some(RawProbe::Bfd { name })
    }

    fn http_check(&mut self, times: &mut RawTimes, target: &mut RawTarget, block: &Item) -> Option<RawProbe> {
        let tls = block.keyword.text == "SSL_GET";
        let mut http = RawHttp {
            tls,
            version: HttpVersion::V10,
            enable_sni: false,
            sni_name: None,
            verify: false,
            tls_compliant: false,
            fast_recovery: false,
            urls: Vec::new(),
        };
        let mut compliant = Vec::new();
        let table = if tls { &SSL_GET } else { &HTTP_GET };
        self.each(block.items(), table, |lower, item| match item.keyword.text.as_str() {
            "http_protocol" => {
                http.version = lower.plain(item, value::one_of(VERSIONS, "write 1.1")).unwrap_or_default();
            }
            "enable_sni" => http.enable_sni = lower.is_on(item),
            "sni_name" => http.sni_name = lower.plain(item, value::name),
            "verify_certificate" => http.verify = lower.is_on(item),
            "fast_recovery" => http.fast_recovery = lower.is_on(item),
            "tls_compliant" => http.tls_compliant = lower.is_on(item),
            "url" => {
                if let (Some(url), own) = lower.url(item, tls) {
                    http.urls.push(url);
                    compliant.push(own);
                }
            }
            _ => lower.network(times, target, item),
        });
        for (url, own) in http.urls.iter_mut().zip(compliant) {
            url.tls_compliant = own.unwrap_or(http.tls_compliant);
        }
        if http.urls.is_empty() && !block.items().iter().any(|item| item.keyword.text == "url") {
            let message = format!("{} without a url: nothing would be tried", block.keyword.text);
            self.report.error(&block.keyword.place, message, "add `url { path / }`");
            return None;
        }
        Some(RawProbe::Http(http))
    }

    /// The request, and whether it says of itself that it says goodbye.
    fn url(&mut self, block: &Item, tls: bool) -> (Option<Url>, Option<bool>) {
        let (mut path, mut own, mut pattern, mut codes) = (None, None, None, Vec::new());
        let (mut digest, mut virtualhost) = (None, None);
        let mut regex = BodyPattern {
            pattern: String::new(),
            options: Vec::new(),
            negate: false,
            min_offset: 0,
            max_offset: None,
            stack: None,
        };
        let table = if tls { &SSL_GET_URL } else { &HTTP_GET_URL };
        self.each(block.items(), table, |lower, item| {
            let offset = || value::number(0..=u64::from(u32::MAX), "write a number of bytes");
            match item.keyword.text.as_str() {
                "path" => path = lower.plain(item, url_path),
                "digest" => digest = lower.plain(item, md5),
                "status_code" => {
                    let read = item.words.iter().filter_map(|word| lower.word("status_code", word, code_range));
                    codes.extend(read.map(|at| at.value).collect::<Vec<_>>());
                }
                "virtualhost" => virtualhost = lower.plain(item, value::name),
                "regex" => pattern = lower.plain(item, |text| Ok(text.to_owned())),
                "regex_no_match" => regex.negate = lower.is_on(item),
                "regex_options" => regex.options.extend(item.words.iter().map(|word| word.text.to_string())),
                "regex_min_offset" => regex.min_offset = lower.plain(item, offset()).unwrap_or(0),
                "regex_max_offset" => regex.max_offset = lower.plain(item, offset()),
                "regex_stack" => regex.stack = lower.regex_stack(item),
                "tls_compliant" => own = lower.flag(item).map(|flag| flag.value),
                _ => lower.unread(item),
            }
        });
        let path = self.wants(block, "path", path, "add `path /`");
        let regex = pattern.map(|pattern| BodyPattern { pattern, ..regex });
        let status_codes = if codes.is_empty() { vec![GOOD_CODES] } else { codes };
        let url = path.map(|path| Url { path, virtualhost, digest, status_codes, regex, tls_compliant: false });
        (url, own)
    }

    fn regex_stack(&mut self, item: &Item) -> Option<(u32, u32)> {
        let [start, most] = item.words.as_slice() else {
            let help = "write how many bytes at the start, and how many at most";
            self.report.error(&item.place(), "regex_stack wants two numbers", help);
            return None;
        };
        let bytes = || value::number(1..=u64::from(u32::MAX), "write a number of bytes");
        let start = self.word("regex_stack", start, bytes())?.value;
        Some((start, self.word("regex_stack", most, bytes())?.value))
    }

    /// What a check can't do without.
    fn wants<T>(&mut self, block: &Item, keyword: &str, found: Option<T>, help: &str) -> Option<T> {
        if found.is_none() && !block.items().iter().any(|item| item.keyword.text == keyword) {
            let message = format!("{} has no {keyword}", block.keyword.text);
            self.report.error(&block.keyword.place, message, help);
        }
        found
    }
}

fn url_path(text: &str) -> Result<String, Wanted> {
    let fits = text.starts_with('/') && !text.contains(|c: char| c.is_control() || c == ' ');
    if fits { Ok(text.to_owned()) } else { Err(Wanted::new("a path that begins with /", "write for instance /health")) }
}

fn code_range(text: &str) -> Result<(u16, u16), Wanted> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let code = |text: &str| text.parse().ok().filter(|code| (100..=599).contains(code));
    let range = code(first).zip(code(last)).filter(|(first, last)| first <= last);
    range.ok_or_else(|| Wanted::new("a status code or a range from 100 to 599", "write for instance 200 or 200-299"))
}

fn md5(text: &str) -> Result<[u8; 16], Wanted> {
    let help = "write 32 hexadecimal digits, as md5sum prints them";
    let read = bytes(text).ok().and_then(|bytes| bytes.try_into().ok());
    read.ok_or_else(|| Wanted::new("an MD5 digest", help))
}

fn bytes(text: &str) -> Result<Vec<u8>, Wanted> {
    let halves = half_bytes(text)?;
    let whole: Option<Vec<u8>> = halves.into_iter().collect();
    let wanted = || Wanted::new("bytes in hexadecimal", "write two digits a byte, for instance 0a1b2c");
    let whole = whole.ok_or_else(wanted)?;
    let (pairs, rest) = whole.as_chunks::<2>();
    if rest.is_empty() { Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect()) } else { Err(wanted()) }
}

/// Hexadecimal digits, X for any; blanks between them mean nothing.
fn half_bytes(text: &str) -> Result<Vec<Option<u8>>, Wanted> {
    let half = |c: char| match c {
        'X' | 'x' => Some(None),
        c => c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).map(Some),
    };
    let read: Option<Vec<_>> = text.chars().filter(|c| !c.is_whitespace()).map(half).collect();
    read.filter(|halves| !halves.is_empty())
        .ok_or_else(|| Wanted::new("bytes in hexadecimal", "write two digits a byte, for instance 0a1b2c"))
}

fn domain(text: &str) -> Result<String, Wanted> {
    let label = |label: &str| label.len() <= 63;
    let fits = (1..=253).contains(&text.len()) && text.is_ascii() && text.split('.').all(label);
    if fits && !text.contains(char::is_whitespace) {
        Ok(text.to_owned())
    } else {
        Err(Wanted::new("a domain name", "write for instance example.net, or . for the root"))
    }
}
