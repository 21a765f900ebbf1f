//! What administrators and other programs do to a node's addresses, interfaces and eBPF programs.

use super::{CALM, Demands, Limit, MOVES, PLAIN, SPARE, Scenario, step};
use crate::deed::Deed;
use crate::fault::{Fault, Network, Who};

const HB0: Network = Network::Heartbeat(0);

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "remove-vip",
        what: "somebody removes the VIP from the master's interface: it comes back within 100 ms",
        steps: &[step(1000, "VIP removed", Fault::Real(Deed::RemoveVip { who: Who::Master }))],
        lasts_ms: 5_000,
        demands: Demands { outage: Limit::ms(150), ..CALM },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "flush-addresses",
        what: "somebody flushes every address of the master's LAN interface and puts its own one back",
        steps: &[step(1000, "addresses flushed", Fault::Real(Deed::FlushAddresses { who: Who::Master }))],
        lasts_ms: 7_000,
        demands: Demands { outage: Limit::ms(300), ..CALM },
        ..PLAIN
    },
    Scenario {
        name: "queue-behind-gate",
        what: "frames of the master's LAN wait 300 ms in the queue behind its gate: E_tx does not hold, and it says so",
        steps: &[step(1000, "slow line", Fault::Real(Deed::Bloat { who: Who::Master, for_ms: 8000 }))],
        lasts_ms: 14_000,
        // Every answer waits in that queue, or finds no room in it.
        demands: Demands { outage: Limit::ms(8500), keeps_holder: false, alerts: &["transmit-queue"], ..CALM },
        ..PLAIN
    },
    Scenario {
        name: "script-fails",
        what: "the script that the virtual router tracks fails on the master, and passes again five seconds later",
        steps: &[
            step(1000, "script fails", Fault::Real(Deed::Script { who: Who::Master, fails: true })),
            step(6000, "script passes", Fault::Real(Deed::Script { who: Who::Master, fails: false })),
        ],
        lasts_ms: 10_000,
        // Both times a handover in good order (I21).
        demands: Demands {
            outage: Limit::ms(150),
            final_holder: Some(Who::Master),
            alerts: &["tracker-failed", "self-demoted"],
            ..MOVES
        },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "detach-gate",
        what: "somebody detaches the gate's programs from the master's LAN interface",
        steps: &[step(1000, "gate detached", Fault::Real(Deed::DetachGate { who: Who::Master }))],
        lasts_ms: 8_000,
        // Seen by the self-test within a second, through which the service goes on; then it hands over, and has the VIP back with a new gate.
        demands: Demands { outage: Limit::ms(150), final_holder: Some(Who::Master), alerts: &["gate-broken"], ..MOVES },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "remove-pins",
        what: "somebody removes every pin of the master's gate, then its agent is killed",
        steps: &[
            step(1000, "pins removed", Fault::Real(Deed::RemovePins { who: Who::Master })),
            step(4000, "worker crashes", Fault::Real(Deed::Crash { who: Who::Master })),
        ],
        lasts_ms: 9_000,
        // Seen by the self-test within a second, and pinned again: it may not go with the agent.
        demands: Demands { outage: Limit::of(2, 1000), alerts: &["gate-broken"], ..MOVES },
        ..PLAIN
    },
    Scenario {
        name: "rename-heartbeat",
        what: "a heartbeat interface of the master gets another name, and its own again two seconds later",
        steps: &[
            step(1000, "hb0 renamed", Fault::Real(Deed::Rename { who: Who::Master, on: HB0, away: true })),
            step(3000, "its own name", Fault::Real(Deed::Rename { who: Who::Master, on: HB0, away: false })),
        ],
        lasts_ms: 8_000,
        needs: SPARE,
        ..PLAIN
    },
    Scenario {
        name: "other-mac-heartbeat",
        what: "a heartbeat interface of the master gets another hardware address",
        steps: &[step(1000, "hb0's MAC changed", Fault::Real(Deed::OtherMac { who: Who::Master, on: HB0 }))],
        lasts_ms: 6_000,
        ..PLAIN
    },
    Scenario {
        name: "remake-heartbeat",
        what: "a heartbeat interface of the master vanishes, and a new one with its name comes two seconds later",
        steps: &[
            step(1000, "hb0 gone", Fault::Real(Deed::Unmake { who: Who::Master, on: HB0 })),
            step(3000, "hb0 made anew", Fault::Real(Deed::Remake { who: Who::Master, on: HB0 })),
        ],
        lasts_ms: 9_000,
        needs: SPARE,
        ..PLAIN
    },
];
