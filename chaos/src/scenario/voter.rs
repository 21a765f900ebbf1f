//! Voters that die, forget, roll back; configurations that differ; rolling restarts.

use super::{
    ARBITRATED, CALM, Demands, Limit, MOVES, NODES_APART, Needs, ONE, PLAIN, SPARE, Scenario, WITNESSED, kill, start,
    step,
};
use crate::deed::{Change, Deed};
use crate::fault::{Fault, Who};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "witness-forgets",
        what: "the witness dies and comes back without its record",
        steps: &[
            step(1000, "witness killed", kill(Who::Witness)),
            step(1500, "record lost", Fault::Real(Deed::Forget { who: Who::Witness })),
            step(2000, "witness up again", start(Who::Witness)),
        ],
        lasts_ms: 7_000,
        needs: SPARE,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "witness-forgets-and-master-dies",
        what: "the witness comes back without its record just when the master is cut from its peer",
        steps: &[
            step(1000, "witness killed", kill(Who::Witness)),
            step(1050, "record lost", Fault::Real(Deed::Forget { who: Who::Witness })),
            step(1100, "witness up, nodes apart", start(Who::Witness)),
            step(1100, "witness up, nodes apart", NODES_APART),
            step(8000, "healed", Fault::Heal),
        ],
        lasts_ms: 12_000,
        demands: Demands { outage: Limit::of(2, 1000), back: Limit::of(2, 1000), ..MOVES },
        needs: WITNESSED,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "witness-rolled-back",
        what: "the witness comes back with a record from before the last two changes of holder, and the holder dies",
        steps: &[
            step(500, "record saved", Fault::Real(Deed::Save { who: Who::Witness })),
            step(1000, "handover", Fault::Terminate { who: Who::Master }),
            step(3000, "agent up again", start(Who::Master)),
            step(6000, "witness killed", kill(Who::Witness)),
            step(6100, "record rolled back", Fault::Real(Deed::Restore { who: Who::Witness })),
            step(6200, "witness up again", start(Who::Witness)),
            step(6400, "agent killed", kill(Who::Master)),
            step(10_000, "agent up", start(Who::Master)),
        ],
        lasts_ms: 15_000,
        demands: Demands { outage: Limit::of(4, 1000), back: Limit::of(4, 1000), ..MOVES },
        needs: WITNESSED,
        ..PLAIN
    },
    Scenario {
        name: "witness-restarts-as-master-dies",
        what: "the witness restarts in the moment in which the master's agent is killed",
        steps: &[
            step(1000, "both killed", kill(Who::Witness)),
            step(1000, "both killed", kill(Who::Master)),
            step(1100, "witness up again", start(Who::Witness)),
            step(11_000, "agent up again", start(Who::Master)),
        ],
        lasts_ms: 15_000,
        demands: Demands { outage: Limit::of(4, 1000), back: Limit::of(4, 1000), ..MOVES },
        needs: SPARE,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "all-witnesses-down",
        what: "the witnesses alone vote, and all die: the VIP falls silent, and comes back with them",
        steps: &[
            step(1000, "witnesses killed", kill(Who::Witnesses)),
            step(6000, "witnesses up again", start(Who::Witnesses)),
        ],
        lasts_ms: 12_000,
        demands: Demands { outage: Limit::of(2, 8000), back: Limit::of(3, 2000), ..MOVES },
        needs: Needs { nodes_vote: Some(false), ..WITNESSED },
        ..PLAIN
    },
    Scenario {
        name: "config-mismatch",
        what: "the backup comes up with another bound on the clocks: it is refused, and says so",
        steps: &[
            step(
                1000,
                "backup differs",
                Fault::Real(Deed::Reconfigure { who: Who::Backup, change: Change::OtherRate }),
            ),
            step(7000, "mended", Fault::Real(Deed::Reconfigure { who: Who::Backup, change: Change::Original })),
        ],
        lasts_ms: 11_000,
        demands: Demands { alerts: &["config-mismatch"], ..CALM },
        needs: SPARE,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "config-mismatch-and-partition",
        what: "the backup comes up with another lease; then it is cut from the master",
        steps: &[
            step(
                1000,
                "backup differs",
                Fault::Real(Deed::Reconfigure { who: Who::Backup, change: Change::OtherLease }),
            ),
            step(5000, "nodes apart", NODES_APART),
            step(9000, "healed", Fault::Heal),
        ],
        lasts_ms: 12_000,
        needs: SPARE,
        ..PLAIN
    },
    Scenario {
        name: "rolling-restart",
        what: "one node after the other is stopped in good order and started again",
        steps: &[
            step(1000, "SIGTERM backup", Fault::Terminate { who: Who::Backup }),
            step(2500, "backup up again", start(Who::Backup)),
            step(5000, "SIGTERM master", Fault::Terminate { who: Who::Master }),
            step(6500, "master up again", start(Who::Master)),
        ],
        lasts_ms: 12_000,
        demands: Demands { outage: Limit::ms(50), ..MOVES },
        needs: SPARE,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "upgrade-in-place",
        what: "the program of the holder, and then of the other node, is replaced under the lease that it holds",
        steps: &[
            step(1000, "keepone upgrade", Fault::Real(Deed::Upgrade { who: Who::Master })),
            step(5000, "keepone upgrade", Fault::Real(Deed::Upgrade { who: Who::Master })),
        ],
        lasts_ms: 9_000,
        demands: CALM,
        needs: Needs { in_place: true, ..SPARE },
        ..PLAIN
    },
    Scenario {
        name: "hangup-while-cut",
        what: "SIGHUP to every agent while the nodes are apart",
        steps: &[
            step(1000, "nodes apart", NODES_APART),
            step(3000, "SIGHUP", Fault::Real(Deed::Hangup { who: Who::Nodes })),
            step(6000, "healed", Fault::Heal),
        ],
        lasts_ms: 10_000,
        demands: ONE,
        needs: ARBITRATED,
        ..PLAIN
    },
];
