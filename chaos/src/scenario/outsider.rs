//! What others put on the wire: rogue ARP, foreign VRRP, replayed datagrams; references that die for all.

use super::{CALM, Demands, LAN, MOVES, PLAIN, Scenario, cut, kill, start, step};
use crate::deed::{Deed, Forged};
use crate::fault::{Class, Fault, Way, Who};

const fn forge(what: Forged, every_ms: u64, for_ms: u64) -> Fault {
    Fault::Real(Deed::Forge { what, every_ms, for_ms })
}

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "reference-dead-for-all",
        what: "no node reaches the reference address: nobody is better than the other, nobody falls silent",
        steps: &[
            step(1000, "reference dead", cut(Who::Nodes, Who::Gateway, Way::Both, LAN, Class::All)),
            step(8000, "healed", Fault::Heal),
        ],
        lasts_ms: 12_000,
        demands: Demands { alerts: &["references-lost"], ..CALM },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "rogue-arp",
        what: "a stranger announces the VIP by ARP twice a second: the master defends it, nobody steps down",
        steps: &[step(1000, "rogue ARP", forge(Forged::Announcement, 500, 5000))],
        lasts_ms: 9_000,
        demands: Demands { outage: super::Limit::ms(600), ..CALM },
        ..PLAIN
    },
    Scenario {
        name: "foreign-master",
        what: "a stranger sends well-formed Advertisements of our virtual router with priority 254",
        steps: &[step(1000, "foreign VRRP", forge(Forged::Advertisement(254), 200, 5000))],
        lasts_ms: 9_000,
        demands: Demands { alerts: &["foreign-router"], ..CALM },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "foreign-owner-resigns",
        what: "a stranger sends Advertisements with priority 0, as if the master resigned",
        steps: &[step(1000, "foreign resignation", forge(Forged::Advertisement(0), 200, 5000))],
        lasts_ms: 9_000,
        ..PLAIN
    },
    Scenario {
        name: "bad-advertisements",
        what: "three damaged Advertisements a second for our virtual router",
        steps: &[step(1000, "bad packets", forge(Forged::Truncated, 333, 6000))],
        lasts_ms: 9_000,
        ..PLAIN
    },
    Scenario {
        name: "gateway-poisoned",
        what: "the gateway is told by ARP, ten times a second, that the backup has the VIP",
        steps: &[step(1000, "gateway poisoned", forge(Forged::GatewayPoison, 100, 4000))],
        lasts_ms: 9_000,
        demands: Demands { alerts: &["mirror-lost"], ..CALM },
        ..PLAIN
    },
    Scenario {
        name: "replayed-datagrams",
        what: "everything that was sent to the backup and to the witness for 2 s comes again five times, \
               then again after the master has been killed",
        steps: &[
            step(500, "captured", Fault::Real(Deed::Capture { who: Who::Backup, for_ms: 2000 })),
            step(500, "captured", Fault::Real(Deed::Capture { who: Who::Witness, for_ms: 2000 })),
            step(3000, "replayed", Fault::Real(Deed::Replay { who: Who::Backup, times: 5 })),
            step(3000, "replayed", Fault::Real(Deed::Replay { who: Who::Witness, times: 5 })),
            step(5000, "agent killed", kill(Who::Master)),
            step(5200, "replayed again", Fault::Real(Deed::Replay { who: Who::Backup, times: 5 })),
            step(5200, "replayed again", Fault::Real(Deed::Replay { who: Who::Witness, times: 5 })),
            step(8000, "agent up again", start(Who::Master)),
        ],
        lasts_ms: 12_000,
        demands: MOVES,
        ci: true,
        ..PLAIN
    },
];
