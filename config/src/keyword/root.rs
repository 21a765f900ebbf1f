//! What stands at the top of a file.

use super::Form::{Any, Block, Flag, Lines, Named, NamedLines, Server, Value};
use super::Tier::{A, B, C, Own};
use super::{
    ARBITER, BFD_INSTANCE, CLUSTER, FENCING, GARP_GROUP, GATE, GLOBAL_DEFS, HEARTBEAT, HEARTBEAT_LINK, MEMBER, NODE,
    REFERENCE_IP, SSL, TRACK_FILE, TRACK_GROUP, Table, VIRTUAL_SERVER, VRRP_INSTANCE, VRRP_SCRIPT, VRRP_SYNC_GROUP,
    VRRP_TRACK_FILE, VRRP_TRACK_PROCESS, WEB, WEBHOOK, key,
};

const NAMESPACE: &str =
    "start keepone within the namespace (`ip netns exec NAME`, or NetworkNamespacePath= in the unit)";

pub(crate) static ROOT: Table = Table::strict(
    "the file",
    &[
        key(A, "global_defs", Block(&GLOBAL_DEFS), "names and defaults of the whole file"),
        key(A, "vrrp_instance", Named(&VRRP_INSTANCE), "one virtual router, and the addresses that it moves"),
        key(A, "vrrp_sync_group", Named(&VRRP_SYNC_GROUP), "instances that change state together, under one lease"),
        key(Own, "cluster", Named(&CLUSTER), "the agents that belong together, and this node's place among them"),
        key(Own, "node", Named(&NODE), "which member this node is, and where its files lie"),
        key(Own, "member", Named(&MEMBER), "a node or a witness of the cluster, with its pinned key"),
        key(Own, "heartbeat", Block(&HEARTBEAT), "how often nodes send heartbeats, and how many may miss"),
        key(Own, "heartbeat_link", Named(&HEARTBEAT_LINK), "one path of the heartbeats between the nodes"),
        key(Own, "arbiter", Block(&ARBITER), "who grants the lease without which no node claims an address"),
        key(Own, "reference_ip", Block(&REFERENCE_IP), "addresses that a node must reach to be worth its mastership"),
        key(Own, "gate", Block(&GATE), "how the kernel silences addresses when the lease has run out"),
        key(Own, "fencing", Block(&FENCING), "what stops a node that can't stop itself"),
        key(Own, "web", Block(&WEB), "the web page, and the control socket's answers over HTTP"),
        key(Own, "webhook", Named(&WEBHOOK), "a receiver that is sent transitions and alerts as JSON"),
        key(A, "vrrp_script", Named(&VRRP_SCRIPT), "a command run again and again whose exit code counts"),
        key(B, "vrrp_track_process", Named(&VRRP_TRACK_PROCESS), "processes that must run"),
        key(B, "track_file", Named(&TRACK_FILE), "a file with a number that moves priorities or weights"),
        key(C, "vrrp_track_file", Named(&VRRP_TRACK_FILE), "the former name of track_file"),
        key(C, "bfd_instance", Named(&BFD_INSTANCE), "a BFD session with a neighbour (RFC 5880)"),
        key(C, "track_group", Named(&TRACK_GROUP), "which instances go to FAULT with a static address or route"),
        key(C, "static_ipaddress", Lines, "addresses that are there while the agent runs, whatever its role").values(
            "none",
            "ADDRESS[/LENGTH] [dev IF] [brd B] [scope S] [label L] [track_group G]",
            "",
        ),
        key(C, "static_routes", Lines, "routes that are there while the agent runs").values(
            "none",
            "as `ip route`, no_track, track_group G",
            "",
        ),
        key(C, "static_rules", Lines, "routing rules that are there while the agent runs").values(
            "none",
            "as `ip rule`, no_track, track_group G",
            "",
        ),
        key(C, "garp_group", Block(&GARP_GROUP), "interfaces whose gratuitous ARPs share one pace"),
        key(C, "interface_up_down_delays", Lines, "how long a link must stay up or down to count as such").values(
            "none",
            "INTERFACE DOWN [UP], 0..255",
            "s",
        ),
        key(A, "virtual_server", Server(&VIRTUAL_SERVER), "an IPVS service: an address and port, a mark or a group"),
        key(B, "virtual_server_group", NamedLines, "addresses, ranges and marks that share one virtual_server").values(
            "",
            "ADDRESS[-LAST] [PORT], NETWORK/LENGTH [PORT] or fwmark N",
            "",
        ),
        key(C, "SSL", Block(&SSL), "what the checker shows to HTTPS servers that ask for a certificate"),
        key(C, "linkbeat_use_polling", Flag, "ask every interface for its link each second").values("off", "", ""),
        key(C, "linkbeat_interfaces", Lines, "interfaces that are asked for their link each second").values(
            "none",
            "INTERFACE [MII|ETHTOOL|IOCTL]",
            "",
        ),
        key(C, "net_namespace", Value, "the network namespace to run in").refused(NAMESPACE),
        key(C, "net_namespace_ipvs", Value, "the network namespace of IPVS and the checkers").refused(NAMESPACE),
        key(C, "namespace_with_ipsets", Flag, "ipsets in a namespace on kernels before 3.13")
            .ignored("remove it: keepone makes no ipsets"),
        key(C, "use_pid_dir", Flag, "PID files in a directory of their own")
            .ignored("name the directory with `run_dir` in `cluster`"),
        key(C, "instance", Any, "the daemon's own name when several run")
            .ignored("give each agent a `run_dir` of its own in `cluster`"),
        key(C, "child_wait_time", Value, "how long the children have to stop")
            .ignored("set TimeoutStopSec= in the unit"),
    ],
);
