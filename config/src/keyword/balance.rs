//! Keywords of load balancing.

use super::Form::{Block, Flag, Maybe, Server, Value, Words};
use super::Tier::{A, B, C, Own};
use super::{
    BFD_CHECK, DNS_CHECK, FILE_CHECK, HTTP_GET, Keyword, MISC_CHECK, PING_CHECK, SMTP_CHECK, SSL_GET, TCP_CHECK, Table,
    Tier, UDP_CHECK, key,
};

const SCRIPT: &str = "COMMAND [USER [GROUP]]";
const SCHEDULERS: &str = "rr|wrr|lc|wlc|lblc|lblcr|sh|mh|dh|fo|ovf|sed|nq|twos";
const METHODS: &str = "NAT | DR | TUN [type ipip|gue port N|gre] [nocsum|csum|remcsum]";

const fn off(tier: Tier, name: &'static str, meaning: &'static str) -> Keyword {
    key(tier, name, Flag, meaning).values("off", "", "")
}

const fn inherited(tier: Tier, name: &'static str, meaning: &'static str) -> Keyword {
    key(tier, name, Flag, meaning).values("of the virtual server", "", "")
}

pub(crate) static SSL: Table = Table::lenient(
    "SSL",
    &[
        key(C, "password", Value, "of the private key").later(),
        key(C, "ca", Value, "certificates of authorities").values("none", "a file", ""),
        key(C, "certificate", Value, "our certificate").values("none", "a file", ""),
        key(C, "key", Value, "our private key").values("none", "a file", ""),
    ],
);

pub(crate) static VIRTUAL_SERVER: Table = Table::lenient(
    "virtual_server",
    &[
        key(A, "delay_loop", Value, "time between two checks of a real server").values("60", "0.000001..4294", "s"),
        key(A, "lvs_sched", Value, "how IPVS chooses a real server").values("wlc", SCHEDULERS, ""),
        key(A, "lb_algo", Value, "the former name of lvs_sched").values("wlc", SCHEDULERS, ""),
        key(A, "lvs_method", Words, "how IPVS sends packets on").values("NAT", METHODS, ""),
        key(A, "lb_kind", Words, "the former name of lvs_method").values("NAT", METHODS, ""),
        key(A, "protocol", Value, "of layer 4").values("UDP", "TCP|UDP|SCTP", ""),
        key(A, "persistence_timeout", Maybe, "how long a client keeps its real server").values(
            "off; 360 without a number",
            "1..2678400",
            "s",
        ),
        key(C, "persistence_granularity", Value, "how many clients share one").values(
            "one address",
            "a netmask or a prefix length",
            "",
        ),
        key(C, "persistence_engine", Value, "what in a packet names the client").values("its address", "sip", ""),
        key(C, "ip_family", Value, "family of a service by mark").values("inet", "inet|inet6", ""),
        off(C, "ops", "schedule each UDP packet by itself"),
        off(C, "hashed", "the former name of flag-1"),
        off(C, "flag-1", "the scheduler's first flag"),
        off(C, "flag-2", "the scheduler's second flag"),
        off(C, "flag-3", "the scheduler's third flag"),
        off(C, "sh-port", "sh: hash the port too"),
        off(C, "sh-fallback", "sh: another real server when the chosen one can't"),
        off(C, "mh-port", "mh: hash the port too"),
        off(C, "mh-fallback", "mh: another real server when the chosen one can't"),
        key(B, "retry", Value, "further tries before a real server counts as down").values(
            "1; DNS_CHECK 3; MISC_CHECK 0",
            "1..4294967295",
            "",
        ),
        key(B, "delay_before_retry", Value, "time before each of them").values(
            "1; HTTP_GET and SSL_GET 3; DNS_CHECK delay_loop",
            "0..4294",
            "s",
        ),
        key(C, "warmup", Value, "the first check comes within this time, at random").values(
            "= delay_loop",
            "0..4294",
            "s",
        ),
        key(B, "connect_timeout", Value, "how long a check may take").values("5", "0.000001..4294", "s"),
        off(B, "inhibit_on_failure", "a real server that is down gets weight 0 and stays in the table"),
        off(B, "alpha", "real servers are down until their first check"),
        off(C, "omega", "run quorum_down and notify_down at the stop"),
        key(B, "virtualhost", Value, "the Host header of HTTP_GET and SSL_GET").values("none", "", ""),
        key(B, "quorum", Value, "the least weight of living real servers").values("1", "1..4294967295", ""),
        key(C, "hysteresis", Value, "gain the quorum so far above it, lose it so far below").values(
            "0",
            "0..4294967295",
            "",
        ),
        key(B, "quorum_up", Words, "run when the quorum is gained").values("none", SCRIPT, ""),
        key(B, "quorum_down", Words, "run when it is lost").values("none", SCRIPT, ""),
        key(C, "weight", Value, "of real servers that name none").values("1", "1..2147483647", ""),
        key(B, "sorry_server", Words, "who serves while the quorum is lost").values("none", "ADDRESS [PORT]", ""),
        off(C, "sorry_server_inhibit", "a sorry server that isn't needed stays in the table with weight 0"),
        key(C, "sorry_server_lvs_method", Words, "how IPVS sends packets to it").values("= lvs_method", METHODS, ""),
        key(B, "smtp_alert", Flag, "mail when the quorum is gained or lost").values("of global_defs", "", ""),
        off(C, "ha_suspend", "no checks while the address is not on this node"),
        key(C, "snmp_name", Value, "what SNMP calls it").values("none", "", ""),
        key(Own, "slow_start", Value, "over this time the weight of a real server that comes back grows to its own")
            .values("0, at once", "0..4294", "s"),
        key(A, "real_server", Server(&REAL_SERVER), "one server behind it"),
    ],
);

pub(crate) static REAL_SERVER: Table = Table::lenient(
    "real_server",
    &[
        key(A, "weight", Value, "its share; 0 takes no new connections").values("1", "0..2147483647", ""),
        key(C, "lvs_method", Words, "how IPVS sends packets to it").values("of the virtual server", METHODS, ""),
        key(C, "uthreshold", Value, "the most connections that it gets").values("0, no bound", "0..4294967295", ""),
        key(C, "lthreshold", Value, "after that it gets more only below this").values("0", "0..4294967295", ""),
        inherited(B, "inhibit_on_failure", "down, it gets weight 0 and stays in the table"),
        key(B, "notify_up", Words, "run when it comes up").values("none", SCRIPT, ""),
        key(B, "notify_down", Words, "run when it goes down").values("none", SCRIPT, ""),
        inherited(C, "alpha", "it is down until its first check"),
        key(C, "retry", Value, "further tries before it counts as down").values(
            "of the virtual server",
            "1..4294967295",
            "",
        ),
        key(C, "delay_before_retry", Value, "time before each of them").values("of the virtual server", "0..4294", "s"),
        key(C, "warmup", Value, "the first check comes within this time, at random").values(
            "of the virtual server",
            "0..4294",
            "s",
        ),
        key(C, "connect_timeout", Value, "how long a check may take").values(
            "of the virtual server",
            "0.000001..4294",
            "s",
        ),
        key(C, "delay_loop", Value, "time between two checks").values("of the virtual server", "0.000001..4294", "s"),
        key(B, "smtp_alert", Flag, "mail when it comes or goes").values("of global_defs", "", ""),
        key(C, "virtualhost", Value, "the Host header of its checks").values("of the virtual server", "", ""),
        key(C, "snmp_name", Value, "what SNMP calls it").values("none", "", "").later(),
        key(A, "TCP_CHECK", Block(&TCP_CHECK), "up while it takes a TCP connection"),
        key(A, "HTTP_GET", Block(&HTTP_GET), "up while it answers HTTP requests as it should"),
        key(B, "SSL_GET", Block(&SSL_GET), "the same over TLS; its certificate is not verified"),
        key(B, "SMTP_CHECK", Block(&SMTP_CHECK), "up while it greets as a mail server"),
        key(B, "DNS_CHECK", Block(&DNS_CHECK), "up while it answers a DNS query"),
        key(B, "PING_CHECK", Block(&PING_CHECK), "up while it answers pings"),
        key(B, "UDP_CHECK", Block(&UDP_CHECK), "up while a UDP packet to it is not refused, or is answered"),
        key(A, "MISC_CHECK", Block(&MISC_CHECK), "up while a command says so"),
        key(C, "FILE_CHECK", Block(&FILE_CHECK), "its weight follows a track_file"),
        key(C, "BFD_CHECK", Block(&BFD_CHECK), "up while a BFD session is"),
    ],
);
