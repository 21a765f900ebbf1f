//! Keywords of load balancing and its health checks: known, not yet active.

use super::{Form, Table, Tier, key};

pub(super) static SSL: Table = Table {
    name: "SSL",
    active: &[],
    later_blocks: &[],
    later: ["", "", "password ca certificate key"],
    addresses: false,
};

pub(super) static VIRTUAL_SERVER: Table = Table {
    name: "virtual_server",
    active: &[],
    later_blocks: &[(Tier::A, key("real_server", Form::Section(&REAL_SERVER)))],
    later: [
        "delay_loop lb_algo lvs_sched lb_kind lvs_method persistence_timeout protocol",
        "retry delay_before_retry connect_timeout inhibit_on_failure smtp_alert virtualhost alpha quorum_up \
            quorum_down quorum sorry_server",
        "ip_family warmup hashed ops flag-1 flag-2 flag-3 sh-port sh-fallback mh-port mh-fallback \
            persistence_engine persistence_granularity ha_suspend snmp_name omega hysteresis weight \
            sorry_server_inhibit sorry_server_lvs_method",
    ],
    addresses: false,
};

static REAL_SERVER: Table = Table {
    name: "real_server",
    active: &[],
    later_blocks: &[
        (Tier::A, key("MISC_CHECK", Form::Section(&MISC_CHECK))),
        (Tier::B, key("SMTP_CHECK", Form::Section(&SMTP_CHECK))),
        (Tier::A, key("TCP_CHECK", Form::Section(&TCP_CHECK))),
        (Tier::B, key("PING_CHECK", Form::Section(&PING_CHECK))),
        (Tier::B, key("UDP_CHECK", Form::Section(&UDP_CHECK))),
        (Tier::A, key("HTTP_GET", Form::Section(&HTTP_GET))),
        (Tier::B, key("SSL_GET", Form::Section(&SSL_GET))),
        (Tier::B, key("DNS_CHECK", Form::Section(&DNS_CHECK))),
        (Tier::C, key("FILE_CHECK", Form::Section(&FILE_CHECK))),
        (Tier::C, key("BFD_CHECK", Form::Section(&BFD_CHECK))),
    ],
    later: [
        "weight",
        "inhibit_on_failure notify_up notify_down smtp_alert",
        "lvs_method uthreshold lthreshold alpha retry delay_before_retry warmup connect_timeout delay_loop \
            virtualhost snmp_name",
    ],
    addresses: false,
};

static MISC_CHECK: Table = Table {
    name: "MISC_CHECK",
    active: &[],
    later_blocks: &[],
    later: [
        "retry delay_before_retry misc_path misc_timeout",
        "warmup delay_loop misc_dynamic user",
        "alpha log_all_failures",
    ],
    addresses: false,
};

static SMTP_CHECK: Table = Table {
    name: "SMTP_CHECK",
    active: &[],
    later_blocks: &[(Tier::C, key("host", Form::Section(&SMTP_CHECK_HOST)))],
    later: [
        "",
        "connect_ip connect_port bindto connect_timeout retry delay_before_retry warmup delay_loop",
        "helo_name bind_port bind_if fwmark alpha log_all_failures",
    ],
    addresses: false,
};

static SMTP_CHECK_HOST: Table = Table {
    name: "host",
    active: &[],
    later_blocks: &[],
    later: [
        "",
        "",
        "connect_ip connect_port bindto bind_port bind_if connect_timeout fwmark retry delay_before_retry \
            warmup delay_loop alpha log_all_failures",
    ],
    addresses: false,
};

static TCP_CHECK: Table = Table {
    name: "TCP_CHECK",
    active: &[],
    later_blocks: &[],
    later: [
        "connect_port connect_timeout retry delay_before_retry",
        "connect_ip bindto warmup delay_loop",
        "bind_port bind_if fwmark alpha log_all_failures",
    ],
    addresses: false,
};

static PING_CHECK: Table = Table {
    name: "PING_CHECK",
    active: &[],
    later_blocks: &[],
    later: [
        "",
        "connect_ip connect_port bindto connect_timeout retry delay_before_retry warmup delay_loop",
        "bind_port bind_if fwmark alpha log_all_failures",
    ],
    addresses: false,
};

static UDP_CHECK: Table = Table {
    name: "UDP_CHECK",
    active: &[],
    later_blocks: &[],
    later: [
        "",
        "connect_ip connect_port bindto connect_timeout retry delay_before_retry warmup delay_loop",
        "bind_port bind_if fwmark alpha log_all_failures payload require_reply min_reply_length \
            max_reply_length",
    ],
    addresses: false,
};

static HTTP_GET: Table = Table {
    name: "HTTP_GET",
    active: &[],
    later_blocks: &[(Tier::A, key("url", Form::Section(&HTTP_GET_URL)))],
    later: [
        "connect_port connect_timeout retry delay_before_retry nb_get_retry",
        "connect_ip bindto warmup delay_loop virtualhost",
        "bind_port bind_if fwmark alpha log_all_failures http_protocol enable_sni sni_name fast_recovery",
    ],
    addresses: false,
};

static HTTP_GET_URL: Table = Table {
    name: "url",
    active: &[],
    later_blocks: &[],
    later: [
        "path digest status_code",
        "virtualhost regex",
        "regex_no_match regex_options regex_min_offset regex_max_offset regex_stack",
    ],
    addresses: false,
};

static SSL_GET: Table = Table {
    name: "SSL_GET",
    active: &[],
    later_blocks: &[(Tier::B, key("url", Form::Section(&SSL_GET_URL)))],
    later: [
        "",
        "connect_ip connect_port bindto connect_timeout retry delay_before_retry warmup delay_loop \
            nb_get_retry virtualhost enable_sni",
        "bind_port bind_if fwmark alpha log_all_failures http_protocol sni_name fast_recovery tls_compliant",
    ],
    addresses: false,
};

static SSL_GET_URL: Table = Table {
    name: "url",
    active: &[],
    later_blocks: &[],
    later: [
        "",
        "path digest status_code virtualhost regex",
        "regex_no_match regex_options regex_min_offset regex_max_offset regex_stack tls_compliant",
    ],
    addresses: false,
};

static DNS_CHECK: Table = Table {
    name: "DNS_CHECK",
    active: &[],
    later_blocks: &[],
    later: [
        "",
        "connect_ip connect_port bindto connect_timeout retry delay_before_retry warmup delay_loop type name",
        "bind_port bind_if fwmark alpha log_all_failures",
    ],
    addresses: false,
};

static FILE_CHECK: Table = Table {
    name: "FILE_CHECK",
    active: &[],
    later_blocks: &[],
    later: ["", "", "track_file weight"],
    addresses: false,
};

static BFD_CHECK: Table =
    Table { name: "BFD_CHECK", active: &[], later_blocks: &[], later: ["", "", "name alpha"], addresses: false };
