//! The scenarios whose names reports and the README use most: cuts, deaths, pauses.

use super::{
    CALM, Demands, LAN, Limit, MOVES, NODES_APART, PLAIN, SPARE, Scenario, WITNESSED, cut, go_on, kill, start, step,
    stop,
};
use crate::fault::{Class, Fault, Network, Part, Way, Where, Who};

/// The first fifteen: what everybody asks about.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "cut-vrrp-only",
        what: "a switch swallows VRRP between the nodes; the heartbeat lines live",
        steps: &[
            step(1000, "VRRP dropped", cut(Who::Master, Who::Backup, Way::Both, LAN, Class::Vrrp)),
            step(9000, "healed", Fault::Heal),
        ],
        lasts_ms: 12_000,
        demands: Demands { alerts: &["vrrp-silent"], ..CALM },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "cut-one-heartbeat",
        what: "one of two heartbeat lines goes silent",
        steps: &[
            step(
                1000,
                "hb0 cut",
                cut(Who::Master, Who::Backup, Way::Both, Where::One(Network::Heartbeat(0)), Class::All),
            ),
            step(6000, "healed", Fault::Heal),
        ],
        lasts_ms: 9_000,
        demands: Demands { alerts: &["heartbeat-link-down"], ..CALM },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "cut-all-heartbeats",
        what: "every path between the nodes is cut, VRRP too; both still reach clients and witness",
        steps: &[step(1000, "all lines cut", NODES_APART), step(9000, "healed", Fault::Heal)],
        lasts_ms: 13_000,
        demands: Demands { alerts: &["all-heartbeats-down"], ..CALM },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "cut-all-heartbeats-and-witness-from-master",
        what: "the master loses every path to its peer and to the witness, but not to the clients",
        steps: &[
            step(1000, "lines + witness cut", NODES_APART),
            step(
                1000,
                "lines + witness cut",
                cut(Who::Master, Who::Witnesses, Way::Both, Where::Everywhere, Class::All),
            ),
            step(9000, "healed", Fault::Heal),
        ],
        lasts_ms: 13_000,
        demands: Demands { alerts: &["arbiter-unreachable"], ..MOVES },
        keeps_a_minority: true,
        ci: true,
        needs: WITNESSED,
        ..PLAIN
    },
    Scenario {
        name: "partition-client-each-side",
        what: "the network falls in two, a client on each side; the witness is on the backup's",
        steps: &[
            step(1000, "partition", NODES_APART),
            step(1000, "partition", cut(Who::Master, Who::Witness, Way::Both, Where::Everywhere, Class::All)),
            step(1000, "partition", cut(Who::Master, Who::Client, Way::Both, LAN, Class::All)),
            step(1000, "partition", cut(Who::Master, Who::Gateway, Way::Both, LAN, Class::All)),
            step(1000, "partition", cut(Who::MasterSideClient, Who::Backup, Way::Both, LAN, Class::All)),
            step(1000, "partition", cut(Who::MasterSideClient, Who::Client, Way::Both, LAN, Class::All)),
            step(9000, "healed", Fault::Heal),
        ],
        lasts_ms: 13_000,
        demands: MOVES,
        keeps_a_minority: true,
        second_client: true,
        ci: true,
        needs: WITNESSED,
        ..PLAIN
    },
    Scenario {
        name: "one-way-master-deaf",
        what: "nothing that the backup sends reaches the master; the other way works",
        steps: &[
            step(1000, "backup → master cut", cut(Who::Backup, Who::Master, Way::There, Where::Everywhere, Class::All)),
            step(9000, "healed", Fault::Heal),
        ],
        lasts_ms: 13_000,
        demands: MOVES,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "one-way-master-mute",
        what: "nothing that the master sends reaches the backup; the other way works",
        steps: &[
            step(1000, "master → backup cut", cut(Who::Master, Who::Backup, Way::There, Where::Everywhere, Class::All)),
            step(9000, "healed", Fault::Heal),
        ],
        lasts_ms: 13_000,
        demands: CALM,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "kill-master",
        what: "SIGKILL to the master's worker; its guardian lives",
        steps: &[
            step(1000, "worker killed", Fault::Kill { who: Who::Master, part: Part::Worker }),
            step(6000, "agent up again", start(Who::Master)),
        ],
        lasts_ms: 10_000,
        demands: Demands { outage: Limit::ms(150), ..MOVES },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "kill-all-master",
        what: "SIGKILL to the master's worker and guardian at once; only the kernel's deadline is left",
        steps: &[step(1000, "agent killed", kill(Who::Master)), step(6000, "agent up again", start(Who::Master))],
        lasts_ms: 10_000,
        demands: MOVES,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "stop-master-10s",
        what: "SIGSTOP to the master's worker and guardian for 10 s, then SIGCONT",
        steps: &[step(1000, "SIGSTOP", stop(Who::Master)), step(11_000, "SIGCONT", go_on(Who::Master))],
        lasts_ms: 15_000,
        demands: Demands { alerts: &["lease-lost"], ..MOVES },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "pause-node-10s",
        what: "the master's whole machine stands still and silent for 10 s, then goes on",
        steps: &[
            step(1000, "machine paused", Fault::Pause { who: Who::Master }),
            step(11_000, "machine resumed", Fault::Resume { who: Who::Master }),
        ],
        lasts_ms: 15_000,
        demands: MOVES,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "witness-restart",
        what: "the witness dies and comes back 2 s later with its record",
        steps: &[step(1000, "witness killed", kill(Who::Witness)), step(3000, "witness up again", start(Who::Witness))],
        lasts_ms: 7_000,
        demands: CALM,
        ci: true,
        needs: SPARE,
        ..PLAIN
    },
    Scenario {
        name: "witness-down",
        what: "the witness dies and stays away; the nodes are two votes of three",
        steps: &[step(1000, "witness killed", kill(Who::Witness))],
        lasts_ms: 7_000,
        demands: Demands { alerts: &["voter-silent"], ..CALM },
        ci: true,
        needs: SPARE,
        ..PLAIN
    },
    Scenario {
        name: "graceful-stop",
        what: "SIGTERM to the master's agent: it hands over, then ends",
        steps: &[step(1000, "SIGTERM", Fault::Terminate { who: Who::Master })],
        lasts_ms: 6_000,
        demands: Demands { outage: Limit::ms(50), final_holder: Some(Who::Backup), ..MOVES },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "reference-lost-on-master",
        what: "the master no longer reaches the reference address; the backup does",
        steps: &[
            step(1000, "reference cut", cut(Who::Master, Who::Gateway, Way::Both, LAN, Class::All)),
            step(8000, "healed", Fault::Heal),
        ],
        lasts_ms: 13_000,
        demands: Demands { outage: Limit::ms(150), alerts: &["references-lost"], ..MOVES },
        ci: true,
        ..PLAIN
    },
];

/// What the demo does: one line, then every line, then the master itself.
pub const DEMO: Scenario = Scenario {
    name: "demo",
    what: "one heartbeat line is cut, then every path between the nodes; they are healed; then the master's agent \
           is stopped in mid-air and wakes up again",
    steps: &[
        step(2000, "hb0 cut", cut(Who::Master, Who::Backup, Way::Both, Where::One(Network::Heartbeat(0)), Class::All)),
        step(6000, "all lines cut", NODES_APART),
        step(14_000, "healed", Fault::Heal),
        step(18_000, "SIGSTOP master", stop(Who::Master)),
        step(26_000, "SIGCONT", go_on(Who::Master)),
    ],
    lasts_ms: 31_000,
    demands: Demands { alerts: &["heartbeat-link-down", "all-heartbeats-down"], ..MOVES },
    ..PLAIN
};
