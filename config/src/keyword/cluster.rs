//! Keywords of keepone's own: the cluster, its heartbeats, its arbiter, its references.

use super::{Form, Table, key};

const NOTHING: [&str; 3] = ["", "", ""];

pub(crate) static CLUSTER: Table = Table {
    name: "cluster",
    active: &[
        key("node", Form::Value),
        key("key_file", Form::Value),
        key("state_dir", Form::Value),
        key("run_dir", Form::Value),
        key("bpf_dir", Form::Value),
        key("grace", Form::Value),
        key("member", Form::Named(&MEMBER)),
    ],
    later_blocks: &[],
    later: NOTHING,
    addresses: false,
};

pub(crate) static NODE: Table = Table {
    name: "node",
    active: &[
        key("key_file", Form::Value),
        key("state_dir", Form::Value),
        key("run_dir", Form::Value),
        key("bpf_dir", Form::Value),
    ],
    later_blocks: &[],
    later: NOTHING,
    addresses: false,
};

pub(crate) static MEMBER: Table = Table {
    name: "member",
    active: &[key("id", Form::Value), key("public_key", Form::Value), key("witness", Form::Value)],
    later_blocks: &[],
    later: NOTHING,
    addresses: false,
};

pub(crate) static HEARTBEAT: Table = Table {
    name: "heartbeat",
    active: &[key("period", Form::Value), key("misses", Form::Value)],
    later_blocks: &[],
    later: NOTHING,
    addresses: false,
};

pub(crate) static HEARTBEAT_LINK: Table = Table {
    name: "heartbeat_link",
    active: &[
        key("interface", Form::Value),
        key("address", Form::Value),
        key("port", Form::Value),
        key("peer", Form::Words),
        key("peers", Form::Lines),
    ],
    later_blocks: &[],
    later: NOTHING,
    addresses: false,
};

pub(crate) static ARBITER: Table = Table {
    name: "arbiter",
    active: &[
        key("type", Form::Value),
        key("voters", Form::Words),
        key("generation", Form::Value),
        key("former_voters", Form::Words),
        key("witness", Form::Words),
        key("profile", Form::Value),
        key("lease", Form::Value),
        key("ttl", Form::Value),
        key("lease_max", Form::Value),
        key("rate_error", Form::Value),
        key("transmit", Form::Value),
        key("gate_lateness", Form::Value),
        key("hidden_freeze", Form::Value),
        key("gate_horizon", Form::Value),
        key("round_trip", Form::Value),
        key("claim_without_gate", Form::Flag),
        key("policy", Form::Value),
    ],
    later_blocks: &[],
    later: ["", "endpoints prefix user password_file ca_file", ""],
    addresses: false,
};

pub(crate) static REFERENCE_IP: Table = Table {
    name: "reference_ip",
    active: &[
        key("targets", Form::Words),
        key("need", Form::Value),
        key("interval", Form::Value),
        key("timeout", Form::Value),
        key("rise", Form::Value),
        key("fall", Form::Value),
    ],
    later_blocks: &[],
    later: NOTHING,
    addresses: true,
};

pub(crate) static GATE: Table =
    Table { name: "gate", active: &[key("means", Form::Value)], later_blocks: &[], later: NOTHING, addresses: false };

pub(crate) static FENCING: Table = Table {
    name: "fencing",
    active: &[
        key("watchdog", Form::Value),
        key("watchdog_timeout", Form::Value),
        key("command", Form::Words),
        key("when", Form::Value),
        key("timeout", Form::Value),
        key("retry", Form::Value),
        key("reboot_after", Form::Value),
        key("domains", Form::Words),
    ],
    later_blocks: &[],
    later: NOTHING,
    addresses: false,
};
