//! What instances and checkers can watch.

use super::Form::{Flag, Lines, Maybe, Value, Words};
use super::Tier::{A, B, C};
use super::{Keyword, Table, key};

const WEIGHT: &str = "-253..253 [reverse]";

pub(crate) static VRRP_SCRIPT: Table = Table::lenient(
    "vrrp_script",
    &[
        key(A, "script", Words, "the command; with arguments it is one quoted word").values("", "COMMAND", ""),
        key(A, "interval", Value, "time between two runs").values("1", "0.001..4294", "s"),
        key(B, "timeout", Value, "when a run is killed, which is a failure").values("= interval", "0.001..4294", "s"),
        key(A, "weight", Words, "0: a failure is a FAULT; else it moves the priority").values("0", WEIGHT, ""),
        key(A, "rise", Value, "successes in a row until it counts as good").values("1", "1..2147483647", ""),
        key(A, "fall", Value, "failures in a row until it counts as bad").values("1", "1..2147483647", ""),
        key(B, "user", Words, "whom it runs as").values("script_user", "USER [GROUP]", ""),
        key(B, "init_fail", Flag, "bad until it has succeeded").values("off", "", ""),
    ],
);

pub(crate) static VRRP_TRACK_PROCESS: Table = Table::lenient(
    "vrrp_track_process",
    &[
        key(B, "process", Words, "the program, and perhaps its arguments").values("", "PROGRAM [ARGUMENT...]", ""),
        key(C, "param_match", Maybe, "how arguments are compared").values("exact", "none|initial|partial", ""),
        key(B, "weight", Words, "0: too few or too many are a FAULT; else they move the priority").values(
            "0",
            "-254..254 [reverse]",
            "",
        ),
        key(C, "quorum", Value, "how many must run at least").values("1", "1..65535", ""),
        key(C, "quorum_max", Value, "how many may run at most").values("no bound", "0..65535", ""),
        key(C, "delay", Value, "both delays below").values("0", "0..3600", "s"),
        key(B, "terminate_delay", Value, "how long too few may run").values("0", "0..3600", "s"),
        key(C, "fork_delay", Value, "how long enough must run").values("0", "0..3600", "s"),
        key(C, "full_command", Flag, "compare the whole command line").values("off", "", ""),
    ],
);

const FILE: &str = "the file, with one whole number in it";
const FACTOR: &str = "the number is multiplied with it";
const INIT: &str = "make the file at the start";

const fn weight(tier: super::Tier) -> Keyword {
    key(tier, "weight", Words, FACTOR).values("1", "-254..254 [reverse]", "")
}

const INIT_FILE: Keyword = key(C, "init_file", Maybe, INIT).values("off", "[NUMBER] [overwrite]", "");

pub(crate) static TRACK_FILE: Table =
    Table::lenient("track_file", &[key(B, "file", Value, FILE).values("", "a path", ""), weight(B), INIT_FILE]);

pub(crate) static VRRP_TRACK_FILE: Table =
    Table::lenient("vrrp_track_file", &[key(C, "file", Value, FILE).values("", "a path", ""), weight(C), INIT_FILE]);

pub(crate) static TRACK_GROUP: Table =
    Table::lenient("track_group", &[key(C, "group", Lines, "the instances that go to FAULT")]);

pub(crate) static GARP_GROUP: Table = Table::lenient(
    "garp_group",
    &[
        key(C, "garp_interval", Value, "least time between two gratuitous ARPs").values("0", "0..4294", "s"),
        key(C, "gna_interval", Value, "least time between two neighbour advertisements").values("0", "0..4294", "s"),
        key(C, "interface", Value, "an interface of this pace"),
        key(C, "interfaces", Lines, "several that share it"),
    ],
);

pub(crate) static BFD_INSTANCE: Table = Table::lenient(
    "bfd_instance",
    &[
        key(C, "neighbor_ip", Value, "the neighbour's address"),
        key(C, "neighbour_ip", Value, "the same, in British spelling"),
        key(C, "source_ip", Value, "our address").values("the kernel's choice", "", ""),
        key(C, "min_rx", Value, "how often the neighbour may send").values("10", "1..4294967", "ms"),
        key(C, "min_tx", Value, "how often we would send").values("10", "1..4294967", "ms"),
        key(C, "idle_tx", Value, "how often we send while the session is down").values("1000", "1000..4294967", "ms"),
        key(C, "multiplier", Value, "packets that must miss until the session is down").values("5", "1..255", ""),
        key(C, "passive", Flag, "wait for the neighbour to begin").values("off", "", ""),
        key(C, "ttl", Value, "hop limit of what we send over IPv4").values("255", "1..255", ""),
        key(C, "hoplimit", Value, "the same over IPv6").values("255", "1..255", ""),
        key(C, "max_hops", Value, "how many hops a packet may have crossed; -1: any").values("0", "-1..255", ""),
        key(C, "multihop", Flag, "the neighbour is beyond routers (RFC 5883)").values("off", "", ""),
        key(C, "weight", Words, "what track_bfd moves the priority by").values("0", WEIGHT, ""),
        key(C, "vrrp", Flag, "for instances only").values("off", "", ""),
        key(C, "checker", Flag, "for BFD_CHECK only").values("off", "", ""),
    ],
);
