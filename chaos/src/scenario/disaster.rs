//! Whole machines that go and come back, big clusters, and the cluster without an authority.

use super::{
    ALONE, CALM, Demands, LAPSE, Limit, MOVES, NODES_APART, PLAIN, SPARE, Scenario, Two, cut, kill, start, step,
};
use crate::deed::Deed;
use crate::fault::{Class, Fault, Way, Where, Who};

const fn off(who: Who) -> Fault {
    Fault::Real(Deed::PowerOff { who })
}

const fn on(who: Who) -> Fault {
    Fault::Real(Deed::PowerOn { who })
}

/// P2 with heartbeats of 100 ms: X_sym, and X_asym, about 400 ms, where only one direction is back.
const SYMMETRIC: Limit = Limit::ms(120);
const ASYMMETRIC: Limit = Limit::ms(450);

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "power-off-master",
        what: "the master's machine loses power; it boots again 6 s later",
        steps: &[step(1000, "power off", off(Who::Master)), step(7000, "boots", on(Who::Master))],
        lasts_ms: 12_000,
        demands: MOVES,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "reboot-master-300ms",
        what: "the master's machine loses power and is back within 300 ms, its voter with a record from before",
        steps: &[step(1000, "power off", off(Who::Master)), step(1300, "boots", on(Who::Master))],
        lasts_ms: 8_000,
        // It boots into the rest of its own lease: the heir may have to wait for that.
        demands: Demands { back: LAPSE, ..MOVES },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "reboot-everything",
        what: "all nodes and witnesses lose power at once and boot together",
        steps: &[
            step(1000, "power off", off(Who::Nodes)),
            step(1000, "power off", off(Who::Witnesses)),
            step(2500, "boot", on(Who::Witnesses)),
            step(2500, "boot", on(Who::Nodes)),
        ],
        lasts_ms: 19_000,
        demands: Demands { outage: Limit::of(3, 5000), back: Limit::of(3, 3500), ..MOVES },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "graceful-stop-under-load",
        what: "SIGTERM to the master's agent while 10 000 TCP connections a second are begun to the VIP",
        steps: &[step(2000, "SIGTERM", Fault::Terminate { who: Who::Master })],
        lasts_ms: 7_000,
        demands: Demands { outage: Limit::ms(50), final_holder: Some(Who::Backup), ..MOVES },
        load: 10_000,
        ..PLAIN
    },
    Scenario {
        name: "many-instances",
        what: "sixty virtual routers with twenty addresses each, and the master's agent is killed",
        steps: &[step(1000, "agent killed", kill(Who::Master)), step(6000, "agent up again", start(Who::Master))],
        lasts_ms: 12_000,
        // The kernel takes 1200 addresses one after the other.
        demands: Demands { outage: Limit::of(1, 2000), back: Limit::ms(2000), ..MOVES },
        more_instances: 59,
        ..PLAIN
    },
    Scenario {
        name: "alone-cut-and-healed",
        what: "no authority: every path between the nodes is cut for 6 s, then all work again",
        steps: &[step(1000, "all lines cut", NODES_APART), step(7000, "healed", Fault::Heal)],
        lasts_ms: 12_000,
        demands: Demands { two: Two::UntilHealed(SYMMETRIC), outage: Limit::ms(400), back: Limit::ms(400), ..MOVES },
        needs: ALONE,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "alone-one-direction-heals",
        what: "no authority: every path is cut for 6 s, then what the master sends arrives again",
        steps: &[
            step(1000, "all lines cut", cut(Who::Master, Who::Backup, Way::There, Where::Everywhere, Class::All)),
            step(1000, "all lines cut", cut(Who::Backup, Who::Master, Way::There, Where::Everywhere, Class::All)),
            step(
                7000,
                "master → backup works",
                Fault::Mend {
                    from: Who::Master,
                    to: Who::Backup,
                    way: Way::There,
                    on: Where::Everywhere,
                    class: Class::All,
                },
            ),
            step(10_000, "healed", Fault::Heal),
        ],
        lasts_ms: 14_000,
        demands: Demands { two: Two::UntilHealed(ASYMMETRIC), outage: Limit::ms(600), back: Limit::ms(600), ..MOVES },
        needs: ALONE,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "alone-other-direction-heals",
        what: "no authority: every path is cut for 6 s, then what the backup sends arrives again",
        steps: &[
            step(1000, "all lines cut", cut(Who::Master, Who::Backup, Way::There, Where::Everywhere, Class::All)),
            step(1000, "all lines cut", cut(Who::Backup, Who::Master, Way::There, Where::Everywhere, Class::All)),
            step(
                7000,
                "backup → master works",
                Fault::Mend {
                    from: Who::Backup,
                    to: Who::Master,
                    way: Way::There,
                    on: Where::Everywhere,
                    class: Class::All,
                },
            ),
            step(10_000, "healed", Fault::Heal),
        ],
        lasts_ms: 14_000,
        demands: Demands { two: Two::UntilHealed(ASYMMETRIC), outage: Limit::ms(600), back: Limit::ms(600), ..MOVES },
        needs: ALONE,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "alone-cut-one-heartbeat-and-vrrp",
        what: "no authority: one heartbeat line is left of all paths, and that is enough",
        steps: &[
            step(1000, "LAN cut", cut(Who::Master, Who::Backup, Way::Both, super::LAN, Class::All)),
            step(
                1000,
                "LAN cut",
                cut(Who::Master, Who::Backup, Way::Both, Where::One(crate::fault::Network::Heartbeat(0)), Class::All),
            ),
            step(7000, "healed", Fault::Heal),
        ],
        lasts_ms: 10_000,
        demands: CALM,
        needs: ALONE,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "alone-kill-master",
        what: "no authority: SIGKILL to the master's worker and guardian",
        steps: &[step(1000, "agent killed", kill(Who::Master)), step(16_000, "agent up again", start(Who::Master))],
        lasts_ms: 21_000,
        demands: Demands { outage: Limit::ms(4500), ..MOVES },
        needs: ALONE,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "double-fault-witness-then-master",
        what: "the witness dies, and four seconds later the master's machine loses power: no majority, no holder, \
               until one of them is back",
        steps: &[
            step(1000, "witness killed", kill(Who::Witness)),
            step(5000, "power off", off(Who::Master)),
            step(8000, "witness up again", start(Who::Witness)),
            step(12_000, "boots", on(Who::Master)),
        ],
        lasts_ms: 17_000,
        demands: Demands { outage: Limit::of(4, 5000), back: Limit::of(4, 1000), ..MOVES },
        needs: SPARE,
        ..PLAIN
    },
];
