//! Keywords of the health checks.

use super::Form::{Block, Flag, Maybe, Value, Words};
use super::Tier::{A, B, C, Own};
use super::{Keyword, Table, Tier, key};

/// When a check is made, and what a failure means.
const fn times(main: Tier, other: Tier, retry: &'static str, delay: &'static str) -> [Keyword; 6] {
    [
        key(main, "retry", Value, "further tries before the server counts as down").values(retry, "0..4294967295", ""),
        key(main, "delay_before_retry", Value, "time before each of them").values(delay, "0..4294", "s"),
        key(other, "warmup", Value, "the first check comes within this time, at random").values(
            "= delay_loop",
            "0..4294",
            "s",
        ),
        key(other, "delay_loop", Value, "time between two checks").values("of the server, 60", "0.000001..4294", "s"),
        key(C, "alpha", Flag, "down until the first check succeeds").values("of the server", "", ""),
        key(C, "log_all_failures", Flag, "log every failed try").values("checker_log_all_failures", "", ""),
    ]
}

/// Where a check over the network goes, and from where.
const fn target(main: Tier, other: Tier) -> [Keyword; 7] {
    [
        key(other, "connect_ip", Value, "the address that is tried").values("the server's", "", ""),
        key(main, "connect_port", Value, "the port that is tried").values("the server's", "1..65535", ""),
        key(other, "bindto", Value, "the address that we send from").values("the kernel's choice", "", ""),
        key(C, "bind_port", Value, "the port that we send from").values("the kernel's choice", "1..65535", ""),
        key(C, "bind_if", Value, "the interface that is used; link-local addresses need it").values("none", "", ""),
        key(main, "connect_timeout", Value, "how long a try may take").values(
            "of the server, 5",
            "0.000001..4294",
            "s",
        ),
        key(C, "fwmark", Value, "the mark on our packets").values("0", "0..4294967295", ""),
    ]
}

static TARGET_A: [Keyword; 7] = target(A, B);
static TARGET_B: [Keyword; 7] = target(B, B);
static TARGET_C: [Keyword; 7] = target(C, C);
static TCP_TIMES: [Keyword; 6] = times(A, B, "of the server, 1", "of the server, 1");
static PROBE_TIMES: [Keyword; 6] = times(B, B, "of the server, 1", "of the server, 1");
static HOST_TIMES: [Keyword; 6] = times(C, C, "of the server, 1", "of the server, 1");
static HTTP_TIMES: [Keyword; 6] = times(A, B, "of the server, 1", "of the server, 3");
static SSL_TIMES: [Keyword; 6] = times(B, B, "of the server, 1", "of the server, 3");
static DNS_TIMES: [Keyword; 6] = times(B, B, "of the server, 3", "of the server, delay_loop");
static MISC_TIMES: [Keyword; 6] = times(A, B, "of the server, 0", "of the server, 1");

pub(crate) static TCP_CHECK: Table = Table::checker("TCP_CHECK", &[&TARGET_A, &TCP_TIMES], &[]);

pub(crate) static PING_CHECK: Table = Table::checker("PING_CHECK", &[&TARGET_B, &PROBE_TIMES], &[]);

pub(crate) static MISC_CHECK: Table = Table::checker(
    "MISC_CHECK",
    &[&MISC_TIMES],
    &[
        key(A, "misc_path", Words, "the command; with arguments it is one quoted word").values("", "COMMAND", ""),
        key(A, "misc_timeout", Value, "when it is killed, which is a failure").values("0, delay_loop", "0..4294", "s"),
        key(B, "misc_dynamic", Flag, "an exit code of 2 to 255 is a success, and the weight is that minus 2")
            .values("off", "", ""),
        key(B, "user", Words, "whom it runs as").values("script_user", "USER [GROUP]", ""),
    ],
);

pub(crate) static SMTP_CHECK: Table = Table::checker(
    "SMTP_CHECK",
    &[&TARGET_B, &PROBE_TIMES],
    &[
        key(C, "helo_name", Value, "how we greet the server").values("the host's name", "", ""),
        key(C, "host", Block(&SMTP_CHECK_HOST), "one more address to try, the old way"),
    ],
);

pub(crate) static SMTP_CHECK_HOST: Table = Table::checker("host", &[&TARGET_C, &HOST_TIMES], &[]);

pub(crate) static UDP_CHECK: Table = Table::checker(
    "UDP_CHECK",
    &[&TARGET_B, &PROBE_TIMES],
    &[
        key(C, "payload", Value, "what is sent").values("at random", "hexadecimal digits", ""),
        key(C, "require_reply", Maybe, "an answer must come, and perhaps begin so").values(
            "off",
            "hexadecimal digits, X for any",
            "",
        ),
        key(C, "min_reply_length", Value, "the least length of the answer").values("0", "0..65535", "bytes"),
        key(C, "max_reply_length", Value, "the greatest length of the answer").values("255", "0..65535", "bytes"),
    ],
);

pub(crate) static DNS_CHECK: Table = Table::checker(
    "DNS_CHECK",
    &[&TARGET_B, &DNS_TIMES],
    &[
        key(B, "type", Value, "the type that is asked for").values(
            "SOA",
            "A|NS|CNAME|SOA|MX|TXT|AAAA|RRSIG|DNSKEY",
            "",
        ),
        key(B, "name", Value, "the name that is asked for").values("the root", "", ""),
    ],
);

const RETRY_MEANING: &str = "the former name of retry";
const CODES: &str = "codes and ranges from 100 to 599";

/// What HTTP_GET and SSL_GET have in common.
const fn http(main: Tier) -> [Keyword; 5] {
    [
        key(main, "nb_get_retry", Value, RETRY_MEANING).values("= retry", "0..4294967295", ""),
        key(B, "virtualhost", Value, "the Host header").values("of the server", "", ""),
        key(C, "http_protocol", Value, "the version of the request; 1.0C closes the connection, 2 is for SSL_GET")
            .values("1.0", "1.0|1.0C|1.1|2", ""),
        key(C, "sni_name", Value, "the name in the TLS handshake").values("none", "", ""),
        key(C, "fast_recovery", Flag, "at the start and after a failure try all urls at once").values("off", "", ""),
    ]
}

const fn sni(tier: Tier) -> Keyword {
    key(tier, "enable_sni", Flag, "virtualhost is the name in the TLS handshake").values("off", "", "")
}

const fn url(main: Tier) -> [Keyword; 10] {
    [
        key(main, "path", Value, "the path that is asked for"),
        key(main, "digest", Value, "MD5 that the body must have").values("any", "32 hexadecimal digits", ""),
        key(main, "status_code", Words, "which codes are good").adding().values("200-299", CODES, ""),
        key(B, "virtualhost", Value, "the Host header").values("of the check", "", ""),
        key(B, "regex", Value, "what the body must match (PCRE2)").values("none", "", ""),
        key(C, "regex_no_match", Flag, "what it must not match instead").values("off", "", ""),
        key(C, "regex_options", Words, "options of the pattern").adding().values("none", "names of PCRE2 options", ""),
        key(C, "regex_min_offset", Value, "where the search begins").values("0", "0..4294967295", "bytes"),
        key(C, "regex_max_offset", Value, "where a match begins at the latest").values(
            "none",
            "0..4294967295",
            "bytes",
        ),
        key(C, "regex_stack", Words, "room for the pattern")
            .values("of PCRE2", "START MAXIMUM", "bytes")
            .ignored("leave it out: patterns are matched in linear time and bounded room"),
    ]
}

static HTTP: [Keyword; 5] = http(A);
static SSL: [Keyword; 5] = http(B);
static URL_A: [Keyword; 10] = url(A);
static URL_B: [Keyword; 10] = url(B);

pub(crate) static HTTP_GET: Table = Table::checker(
    "HTTP_GET",
    &[&TARGET_A, &HTTP_TIMES, &HTTP],
    &[sni(C), key(A, "url", Block(&HTTP_GET_URL), "one request, and what its answer must be")],
);

pub(crate) static HTTP_GET_URL: Table = Table::checker("url", &[&URL_A], &[]);

pub(crate) static SSL_GET: Table = Table::checker(
    "SSL_GET",
    &[&TARGET_B, &SSL_TIMES, &SSL],
    &[
        sni(B),
        key(Own, "verify_certificate", Flag, "the certificate must be good by `ca` of SSL, for its name or address")
            .values("off", "", ""),
        key(C, "tls_compliant", Flag, "say goodbye as TLS wants it").values("off", "", ""),
        key(B, "url", Block(&SSL_GET_URL), "one request, and what its answer must be"),
    ],
);

pub(crate) static SSL_GET_URL: Table = Table::checker(
    "url",
    &[&URL_B],
    &[key(C, "tls_compliant", Flag, "say goodbye as TLS wants it").values("of the check", "", "")],
);

pub(crate) static FILE_CHECK: Table = Table::checker(
    "FILE_CHECK",
    &[],
    &[
        key(C, "track_file", Value, "which track_file"),
        key(C, "weight", Words, "the number is multiplied with it").values(
            "of the track_file",
            "-2147483647..2147483647 [reverse|noreverse]",
            "",
        ),
    ],
);

pub(crate) static BFD_CHECK: Table = Table::checker(
    "BFD_CHECK",
    &[],
    &[
        key(C, "name", Value, "which bfd_instance"),
        key(C, "alpha", Flag, "down until the session is up").values("of the server", "", ""),
    ],
);
