//! Keywords of keepone's own: the cluster, its heartbeats, its arbiter, its references.

use super::Form::{Flag, Lines, Named, Value, Words};
use super::Tier::Own;
use super::{Keyword, Table, key};

const KEY_FILE: Keyword = key(Own, "key_file", Value, "this node's private key: PKCS#8 PEM, Ed25519");
const STATE_DIR: Keyword = key(Own, "state_dir", Value, "where the voter keeps its record over restarts").values(
    "/var/lib/keepone",
    "a directory",
    "",
);
const RUN_DIR: Keyword =
    key(Own, "run_dir", Value, "the lock and the control socket").values("/run/keepone", "a directory", "");
const CONTROL_GROUP: Keyword =
    key(Own, "control_group", Value, "whose members may use the control socket besides root").values(
        "",
        "a group of this machine",
        "",
    );
const BPF_DIR: Keyword = key(Own, "bpf_dir", Value, "where the gate's maps are pinned").values(
    "/sys/fs/bpf/keepone",
    "a directory on a bpffs",
    "",
);

pub(crate) static CLUSTER: Table = Table::strict(
    "cluster",
    &[
        key(Own, "node", Value, "which member this node is"),
        KEY_FILE,
        STATE_DIR,
        RUN_DIR,
        BPF_DIR,
        CONTROL_GROUP,
        key(Own, "grace", Value, "how long addresses stay after a lease has run out, behind the shut gate")
            .values("1", "0..60", "s"),
        key(Own, "member", Named(&MEMBER), "a node or a witness of the cluster, with its pinned key"),
    ],
);

pub(crate) static NODE: Table = Table::strict("node", &[KEY_FILE, STATE_DIR, RUN_DIR, BPF_DIR, CONTROL_GROUP]);

pub(crate) static MEMBER: Table = Table::strict(
    "member",
    &[
        key(Own, "id", Value, "the member's number, the same on every node"),
        key(Own, "public_key", Value, "its Ed25519 public key").values("", "base64 of 32 bytes", ""),
        key(Own, "witness", Value, "where the witness listens; what makes the member one").values(
            "",
            "ADDRESS:PORT",
            "",
        ),
    ],
);

pub(crate) static HEARTBEAT: Table = Table::strict(
    "heartbeat",
    &[
        key(Own, "period", Value, "time between two heartbeats").values("0.1", "0.01..60", "s"),
        key(Own, "misses", Value, "how many heartbeats may miss before a peer counts as silent")
            .values("3", "1..100", ""),
    ],
);

pub(crate) static HEARTBEAT_LINK: Table = Table::strict(
    "heartbeat_link",
    &[
        key(Own, "interface", Value, "the interface that the link is bound to"),
        key(Own, "address", Value, "this node's address on the link"),
        key(Own, "port", Value, "the UDP port, the same on every node").values("7946", "1..65535", ""),
        key(Own, "peer", Words, "another member and its address on this link").adding().values("", "NAME ADDRESS", ""),
        key(Own, "peers", Lines, "several of them").values("", "NAME ADDRESS", ""),
    ],
);

pub(crate) static ARBITER: Table = Table::strict(
    "arbiter",
    &[
        key(Own, "type", Value, "who grants leases").values("none", "none|quorum|etcd", ""),
        key(Own, "voters", Words, "the members that vote").adding().values(
            "all nodes, and the witnesses named",
            "",
            "",
        ),
        key(Own, "generation", Value, "which voter set this is, counted from the first").values("1", "1..1000000", ""),
        key(Own, "former_voters", Words, "the voter set before this one").adding(),
        key(Own, "joint_voters", Words, "in the middle of a move: the old authority, which must lend too").adding(),
        key(Own, "former_joint_voters", Words, "at the end of a move: the old authority, which had to lend too")
            .adding(),
        key(Own, "witness", Words, "witnesses that vote beside the nodes").adding(),
        key(Own, "profile", Value, "a set of lease timings").values("metal", "metal|vm", ""),
        key(Own, "lease", Value, "the lease's length at the voters, L_a").values("of the profile", "0.001..600", "s"),
        key(Own, "ttl", Value, "another name of lease").values("of the profile", "0.001..600", "s"),
        key(Own, "lease_max", Value, "the longest lease that any voter grants, L_max").values(
            "= lease",
            "0.001..600",
            "s",
        ),
        key(Own, "rate_error", Value, "bound on the error of a clock's rate").values("0.01", "0..0.2", ""),
        key(Own, "transmit", Value, "how long a frame lives behind the gate, E_tx").values("0.02", "0..600", "s"),
        key(Own, "gate_lateness", Value, "how late the gate may shut, E_g").values("0.0001", "0..600", "s"),
        key(Own, "hidden_freeze", Value, "how long a hypervisor may hide a freeze, H").values(
            "of the profile",
            "0..600",
            "s",
        ),
        key(Own, "gate_horizon", Value, "how far ahead the gate is opened at most, G").values(
            "of the profile",
            "0.001..600",
            "s",
        ),
        key(Own, "round_trip", Value, "time to a voter and back that the timing allows for").values(
            "of the profile",
            "0..600",
            "s",
        ),
        key(Own, "claim_without_gate", Flag, "claim although the kernel has no strong gate: gives the promise up")
            .values("off", "", ""),
        key(Own, "policy", Value, "what becomes of an address while the arbiter is silent").values(
            "strict",
            "strict|degrade|i-accept-dual-master",
            "",
        ),
        key(Own, "endpoints", Words, "the servers of etcd").adding().values("", "http://ADDRESS:PORT, or https", ""),
        key(
            Own,
            "etcd_lease",
            Flag,
            "let each node's grants hang on a lease of etcd's, instead of on a key that moves",
        )
        .values("off", "", ""),
        key(Own, "prefix", Value, "how the names of keepone's keys in etcd begin").values("/keepone", "", ""),
        key(Own, "user", Value, "the user that etcd knows this cluster by").values("none", "", ""),
        key(Own, "password_file", Value, "that user's password").values("", "a file", ""),
        key(Own, "ca_file", Value, "who has signed the certificates of etcd's servers").values(
            "the system's",
            "a file, PEM",
            "",
        ),
        key(Own, "cert_file", Value, "this node's certificate for etcd").values("none", "a file, PEM", ""),
        key(Own, "cert_key_file", Value, "its private key").values("", "a file, PEM", ""),
    ],
);

pub(crate) static REFERENCE_IP: Table = Table {
    name: "reference_ip",
    shared: &[],
    own: &[
        key(Own, "targets", Words, "the addresses that are pinged").adding(),
        key(Own, "need", Value, "how many of a family must answer").values("1", "1..65535", ""),
        key(Own, "interval", Value, "time between two pings").values("0.5", "0.01..3600", "s"),
        key(Own, "timeout", Value, "when a ping counts as lost").values("0.4", "0.01..3600", "s"),
        key(Own, "rise", Value, "answers in a row until an address counts as reached").values("2", "1..255", ""),
        key(Own, "fall", Value, "lost pings in a row until it counts as out of reach").values("3", "1..255", ""),
    ],
    addresses: true,
    lenient: false,
};

pub(crate) static GATE: Table = Table::strict(
    "gate",
    &[key(Own, "means", Value, "what in the kernel keeps the gate").values("auto", "auto|bpf|nft|lifetime", "")],
);

pub(crate) static WEB: Table = Table::strict(
    "web",
    &[
        key(Own, "listen", Value, "where the page and the answers of the control socket are served over HTTP").values(
            "",
            "ADDRESS:PORT",
            "",
        ),
        key(Own, "cert_file", Value, "the certificate, with its chain; without it only a loopback address is served")
            .values("none", "a file, PEM", ""),
        key(Own, "cert_key_file", Value, "its private key").values("", "a file, PEM", ""),
        key(Own, "token_file", Value, "who may read and who may operate; without it, this host may read").values(
            "none",
            "a file, NAME read|operate TOKEN a line",
            "",
        ),
    ],
);

pub(crate) static FENCING: Table = Table::strict(
    "fencing",
    &[
        key(Own, "watchdog", Value, "the watchdog device to feed").values("none", "a device", ""),
        key(Own, "watchdog_timeout", Value, "how long after the last feeding it resets the machine")
            .values("", "1..600", "s"),
        key(Own, "command", Words, "what makes the former holder harmless before this node takes over").values(
            "none",
            "COMMAND [USER [GROUP]]",
            "",
        ),
        key(Own, "when", Value, "when the command is run").values("before-takeover", "before-takeover", ""),
        key(Own, "timeout", Value, "when the command is killed").values("", "0.1..600", "s"),
        key(Own, "retry", Value, "how long after a failed command this node does not claim").values(
            "",
            "0.1..3600",
            "s",
        ),
        key(Own, "reboot_after", Value, "restart the machine when it can't let go for so long")
            .values("off", "0.1..600", "s"),
        key(Own, "domains", Words, "which instances and sync groups the command and the restart are for")
            .adding()
            .values("all", "", ""),
    ],
);
