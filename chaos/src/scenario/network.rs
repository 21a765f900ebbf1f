//! Lines that are cut one way, flap, lose, double, delay.

use super::{
    APART, ARBITRATED, CALM, Demands, LAN, Limit, MOVES, NODES_APART, ONE, PLAIN, SPARE, Scenario, VOTING, WITNESSED,
};
use super::{FINE, Step, apart, cut, kill, start, step, weather};
use crate::deed::Weather;
use crate::fault::{Class, Fault, Network, Way, Where, Who};

const fn one_way(from: Who, to: Who) -> Fault {
    cut(from, to, Way::There, Where::Everywhere, Class::All)
}

const fn flap(on: Where, every_ms: u64, for_ms: u64) -> Fault {
    Fault::Flap { from: Who::Master, to: Who::Backup, on, every_ms, for_ms }
}

const HB0: Where = Where::One(Network::Heartbeat(0));

/// The same loss on every line of the cluster, both ways, from 1 s to 11 s.
const fn losing(lost: u16) -> [Step; 5] {
    all_lines("frames are lost", Weather { lost, ..FINE })
}

const fn all_lines(label: &'static str, bad: Weather) -> [Step; 5] {
    [
        step(1000, label, weather(Who::Master, Who::Others, bad)),
        step(1000, label, weather(Who::Others, Who::Master, bad)),
        step(1000, label, weather(Who::Nodes, Who::Witnesses, bad)),
        step(1000, label, weather(Who::Witnesses, Who::Nodes, bad)),
        step(11_000, "healed", Fault::Heal),
    ]
}

/// A silence of the client that loss on its own line would explain; the client's line is never touched.
const LOSSY: Demands = Demands { keeps_holder: false, final_holder: None, outage: Limit::of(2, 300), ..CALM };

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "partition-witness-with-master",
        what: "the backup loses every path to the master and to the witnesses",
        steps: &[
            step(1000, "backup isolated", NODES_APART),
            step(1000, "backup isolated", apart(Who::Backup, Who::Witnesses)),
            step(8000, "healed", Fault::Heal),
        ],
        lasts_ms: 12_000,
        needs: APART,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "isolate-everyone",
        what: "every node loses every path to every other node, witness and reference",
        steps: &[
            step(1000, "all isolated", apart(Who::Nodes, Who::Nodes)),
            step(1000, "all isolated", apart(Who::Nodes, Who::Witnesses)),
            step(1000, "all isolated", apart(Who::Nodes, Who::Gateway)),
            step(6000, "healed", Fault::Heal),
        ],
        lasts_ms: 16_000,
        demands: Demands { outage: Limit::of(2, 8000), back: Limit::of(2, 2000), alerts: &["isolated"], ..MOVES },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "cut-answers-to-master",
        what: "nothing from the other nodes and the witnesses reaches the master: its requests do, the grants do not",
        steps: &[
            step(1000, "answers cut", one_way(Who::Others, Who::Master)),
            step(1000, "answers cut", one_way(Who::Witnesses, Who::Master)),
            step(9000, "healed", Fault::Heal),
        ],
        lasts_ms: 13_000,
        demands: Demands { outage: Limit::of(2, 100), ..MOVES },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "cut-answers-of-witness",
        what: "what the witnesses say does not reach the master; the other votes do",
        steps: &[step(1000, "answers cut", one_way(Who::Witnesses, Who::Master)), step(8000, "healed", Fault::Heal)],
        lasts_ms: 11_000,
        needs: VOTING,
        ..PLAIN
    },
    Scenario {
        name: "cut-requests-to-witness",
        what: "what the master says does not reach the witnesses; the other votes do",
        steps: &[step(1000, "requests cut", one_way(Who::Master, Who::Witnesses)), step(8000, "healed", Fault::Heal)],
        lasts_ms: 11_000,
        needs: VOTING,
        ..PLAIN
    },
    Scenario {
        name: "cut-witness-from-backup",
        what: "the backup alone loses its way to the witnesses: it says so, and nothing else changes",
        steps: &[
            step(1000, "witness cut", cut(Who::Backup, Who::Witnesses, Way::Both, Where::Everywhere, Class::All)),
            step(9000, "healed", Fault::Heal),
        ],
        lasts_ms: 11_000,
        demands: Demands { alerts: &["voter-silent"], ..CALM },
        needs: WITNESSED,
        ..PLAIN
    },
    Scenario {
        name: "cut-both-heartbeats",
        what: "both heartbeat lines go silent; VRRP and the witness live",
        steps: &[
            step(1000, "heartbeats cut", cut(Who::Master, Who::Others, Way::Both, Where::Heartbeats, Class::All)),
            step(7000, "healed", Fault::Heal),
        ],
        lasts_ms: 10_000,
        needs: APART,
        ..PLAIN
    },
    Scenario {
        name: "handover-through-voters",
        what: "the nodes hear nothing of each other; the master is stopped in good order, which only the voters can tell",
        steps: &[
            step(1000, "nodes apart", NODES_APART),
            step(4000, "SIGTERM", Fault::Terminate { who: Who::Master }),
            step(8000, "healed", Fault::Heal),
        ],
        lasts_ms: 11_000,
        // R8, I21: what was given back needs no lapse to be waited for.
        demands: Demands { outage: Limit::ms(150), alerts: &["all-heartbeats-down"], ..MOVES },
        needs: APART,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "narrow-heartbeat-path",
        what: "hb0 loses frames of more than 1000 octets, and says nothing; the backup starts anew behind it",
        steps: &[
            step(1000, "hb0 narrow", cut(Who::Master, Who::Others, Way::Both, HB0, Class::Long)),
            step(2000, "backup killed", kill(Who::Backup)),
            step(3000, "up again", start(Who::Backup)),
            step(12_000, "healed", Fault::Heal),
        ],
        lasts_ms: 16_000,
        demands: Demands { alerts: &["heartbeat-link-down"], ..CALM },
        needs: SPARE,
        ..PLAIN
    },
    Scenario {
        name: "lines-die-one-by-one",
        what: "hb0, then hb1, then VRRP, then the master's way to the witnesses",
        steps: &[
            step(1000, "hb0 cut", cut(Who::Master, Who::Others, Way::Both, HB0, Class::All)),
            step(3000, "hb1 cut", cut(Who::Master, Who::Others, Way::Both, Where::Heartbeats, Class::All)),
            step(5000, "VRRP cut", cut(Who::Master, Who::Others, Way::Both, LAN, Class::All)),
            step(7000, "witnesses cut", apart(Who::Master, Who::Witnesses)),
            step(11_000, "healed", Fault::Heal),
        ],
        lasts_ms: 15_000,
        demands: MOVES,
        keeps_a_minority: true,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "flap-one-heartbeat-50ms",
        what: "hb0 comes and goes every 50 ms for 8 s; hb1 lives",
        steps: &[step(1000, "hb0 flaps", flap(HB0, 50, 8000))],
        lasts_ms: 11_000,
        ..PLAIN
    },
    Scenario {
        name: "flap-one-heartbeat-1s",
        what: "hb0 comes and goes every second for 10 s; hb1 lives",
        steps: &[step(1000, "hb0 flaps", flap(HB0, 1000, 10_000))],
        lasts_ms: 13_000,
        ..PLAIN
    },
    Scenario {
        name: "flap-one-heartbeat-5s",
        what: "hb0 comes and goes every five seconds for 20 s; hb1 lives",
        steps: &[step(1000, "hb0 flaps", flap(HB0, 5000, 20_000))],
        lasts_ms: 23_000,
        ..PLAIN
    },
    Scenario {
        name: "flap-all-lines",
        what: "every line between the nodes comes and goes ten times a second for 8 s",
        steps: &[step(1000, "all lines flap", flap(Where::Everywhere, 50, 8000))],
        lasts_ms: 11_000,
        needs: SPARE,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "flap-all-lines-1s",
        what: "every line between the nodes comes and goes every second for 10 s",
        steps: &[step(1000, "all lines flap", flap(Where::Everywhere, 1000, 10_000))],
        lasts_ms: 13_000,
        needs: SPARE,
        ..PLAIN
    },
    Scenario {
        name: "lan-link-down",
        what: "the master's LAN cable is pulled: it sees the carrier go",
        steps: &[
            step(1000, "LAN cable out", Fault::LinkDown { who: Who::Master, on: Network::Lan }),
            step(6000, "healed", Fault::Heal),
        ],
        lasts_ms: 10_000,
        demands: Demands { outage: Limit::ms(150), ..MOVES },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "lan-link-flaps",
        what: "the master's LAN cable is pulled and put back, twice within a second",
        steps: &[
            step(1000, "LAN cable out", Fault::LinkDown { who: Who::Master, on: Network::Lan }),
            step(1200, "in", Fault::LinkUp { who: Who::Master, on: Network::Lan }),
            step(1600, "out", Fault::LinkDown { who: Who::Master, on: Network::Lan }),
            step(1800, "in", Fault::LinkUp { who: Who::Master, on: Network::Lan }),
        ],
        lasts_ms: 8_000,
        demands: Demands { outage: Limit::of(2, 1500), ..MOVES },
        ..PLAIN
    },
    Scenario {
        name: "heartbeat-links-down",
        what: "both heartbeat cables of the master are pulled: it sees the carriers go",
        steps: &[
            step(1000, "hb cables out", Fault::LinkDown { who: Who::Master, on: Network::Heartbeat(0) }),
            step(1000, "hb cables out", Fault::LinkDown { who: Who::Master, on: Network::Heartbeat(1) }),
            step(6000, "healed", Fault::Heal),
        ],
        lasts_ms: 9_000,
        needs: APART,
        ..PLAIN
    },
    Scenario {
        name: "loss-1-percent",
        what: "one frame of a hundred is lost on every line of the cluster for 10 s",
        steps: &losing(10),
        lasts_ms: 13_000,
        ..PLAIN
    },
    Scenario {
        name: "loss-5-percent",
        what: "five frames of a hundred are lost on every line of the cluster for 10 s",
        steps: &losing(50),
        lasts_ms: 13_000,
        ..PLAIN
    },
    Scenario {
        name: "loss-20-percent",
        what: "one frame of five is lost on every line of the cluster for 10 s",
        steps: &losing(200),
        lasts_ms: 13_000,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "loss-40-percent",
        what: "two frames of five are lost on every line of the cluster for 10 s",
        steps: &losing(400),
        lasts_ms: 14_000,
        demands: LOSSY,
        ..PLAIN
    },
    Scenario {
        name: "reorder-and-double",
        what: "one frame of twenty comes twice, each up to 30 ms late, so that they overtake each other",
        steps: &all_lines("frames out of order", Weather { doubled: 50, jitter_ms: 30, ..FINE }),
        lasts_ms: 13_000,
        ..PLAIN
    },
    Scenario {
        name: "slow-witness",
        what: "every frame between the master and the witnesses takes 3 s",
        steps: &[
            step(1000, "3 s late", weather(Who::Master, Who::Witnesses, Weather { delay_ms: 3000, ..FINE })),
            step(1000, "3 s late", weather(Who::Witnesses, Who::Master, Weather { delay_ms: 3000, ..FINE })),
            step(9000, "healed", Fault::Heal),
        ],
        lasts_ms: 13_000,
        needs: VOTING,
        ..PLAIN
    },
    Scenario {
        name: "everything-late",
        what: "every frame between the nodes and the witnesses takes between 300 and 900 ms",
        steps: &all_lines("late", Weather { delay_ms: 300, jitter_ms: 600, ..FINE }),
        lasts_ms: 20_000,
        // No renewal fits into the lease meanwhile; what counts is that service comes back.
        demands: Demands { back: Limit::of(1, 2000), ..ONE },
        needs: ARBITRATED,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "witness-sees-one-way",
        what: "the nodes are apart, and the master hears the witnesses but is not heard by them",
        steps: &[
            step(1000, "cut", apart(Who::Master, Who::Others)),
            step(1000, "cut", one_way(Who::Master, Who::Witnesses)),
            step(8000, "healed", Fault::Heal),
        ],
        lasts_ms: 12_000,
        demands: MOVES,
        needs: WITNESSED,
        ..PLAIN
    },
];
