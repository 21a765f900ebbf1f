//! etcd decides: its members die, stand still, are cut off, are slow, go back in time; nodes die and stop meanwhile.
//!
//! The lease, 2 s here, outlives an election of etcd's, so that the loss of one member moves nothing. With more than two
//! members of three away nobody holds when the lease has run out.

use super::{
    Demands, FINE, Limit, MOVES, ONE, PLAIN, STORED, Scenario, apart, go_on, kill, start, step, stop, weather,
};
use crate::deed::{Deed, Weather};
use crate::fault::{Fault, Who};

/// What others wait for when a holder has died: its record has stood still for a lease, the less preferred of them a
/// twentieth more (V11).
const TAKEOVER: Limit = Limit::of(1, 300);
/// After etcd is back: the client's next look at its servers, an election, and the wait for a key whose holder is unknown.
const RETURN: Limit = Limit::of(2, 1500);

/// Of three nodes, too, the master is left alone.
const NODES_APART: Fault = apart(Who::Master, Who::Others);

const fn late(from: Who, to: Who, delay_ms: u32) -> Fault {
    weather(from, to, Weather { delay_ms, jitter_ms: delay_ms / 4, ..FINE })
}

/// What these have in common.
const AT_ETCD: Scenario = Scenario { needs: STORED, ..PLAIN };

/// In both directions between a member, the nodes, and the other members.
const fn slow(member: Who, others: Who, delay_ms: u32) -> [super::Step; 6] {
    [
        step(1000, "member slow", late(Who::Nodes, member, delay_ms)),
        step(1000, "member slow", late(member, Who::Nodes, delay_ms)),
        step(1000, "member slow", late(member, others, delay_ms)),
        step(1000, "member slow", late(others, member, delay_ms)),
        step(3000, "nodes apart", NODES_APART),
        step(9000, "healed", Fault::Heal),
    ]
}

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "etcd-member-killed",
        what: "a member of etcd that does not lead is killed while the nodes are apart, and comes back",
        steps: &[
            step(1000, "nodes apart", NODES_APART),
            step(2000, "member killed", kill(Who::Follower)),
            step(6000, "member up again", start(Who::Follower)),
            step(8000, "healed", Fault::Heal),
        ],
        lasts_ms: 11_000,
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-leader-killed",
        what: "etcd's leader is killed while the nodes are apart: the lease outlives the election",
        steps: &[
            step(1000, "nodes apart", NODES_APART),
            step(2000, "leader killed", kill(Who::Leader)),
            step(6000, "leader up again", start(Who::Leader)),
            step(7000, "healed", Fault::Heal),
        ],
        lasts_ms: 10_000,
        ci: true,
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-member-stopped",
        what: "a member of etcd that does not lead stands still for 5 s",
        steps: &[
            step(1000, "SIGSTOP member", stop(Who::Follower)),
            step(3000, "nodes apart", NODES_APART),
            step(6000, "SIGCONT", go_on(Who::Follower)),
            step(8000, "healed", Fault::Heal),
        ],
        lasts_ms: 11_000,
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-leader-stopped",
        what: "etcd's leader stands still for 6 s, and wakes up as a follower",
        steps: &[
            step(1000, "nodes apart", NODES_APART),
            step(2000, "SIGSTOP leader", stop(Who::Leader)),
            step(8000, "SIGCONT", go_on(Who::Leader)),
            step(9000, "healed", Fault::Heal),
        ],
        lasts_ms: 12_000,
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-member-cut",
        what: "a member of etcd that does not lead loses every path to the others and to the nodes",
        steps: &[
            step(1000, "member cut", apart(Who::Follower, Who::Witnesses)),
            step(1000, "member cut", apart(Who::Follower, Who::Nodes)),
            step(3000, "nodes apart", NODES_APART),
            step(8000, "healed", Fault::Heal),
        ],
        lasts_ms: 11_000,
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-leader-cut",
        what: "etcd's leader loses every path to the others and to the nodes",
        steps: &[
            step(1000, "nodes apart", NODES_APART),
            step(2000, "leader cut", apart(Who::Leader, Who::Followers)),
            step(2000, "leader cut", apart(Who::Leader, Who::Nodes)),
            step(8000, "healed", Fault::Heal),
        ],
        lasts_ms: 11_000,
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-leader-cut-from-members",
        what: "etcd's leader loses the other members, and the nodes still reach it",
        steps: &[
            step(1000, "nodes apart", NODES_APART),
            step(2000, "leader alone", apart(Who::Leader, Who::Followers)),
            step(8000, "healed", Fault::Heal),
        ],
        lasts_ms: 11_000,
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-majority-cut",
        what: "the nodes are left with one member of etcd, its former leader: the VIP falls silent, and comes back",
        steps: &[
            step(1000, "nodes apart", NODES_APART),
            step(2000, "majority cut", apart(Who::Leader, Who::Followers)),
            step(2000, "majority cut", apart(Who::Nodes, Who::Followers)),
            step(9000, "healed", Fault::Heal),
        ],
        lasts_ms: 17_000,
        demands: Demands { outage: Limit::of(2, 9000), back: RETURN, alerts: &["lease-lost"], ..MOVES },
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-slow-member",
        what: "every frame from and to a member of etcd that does not lead takes about 40 ms; then the nodes are apart",
        steps: &slow(Who::Follower, Who::Leader, 40),
        lasts_ms: 12_000,
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-slow-leader",
        what: "every frame from and to etcd's leader takes about 40 ms; then the nodes are apart",
        steps: &slow(Who::Leader, Who::Followers, 40),
        lasts_ms: 12_000,
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-too-slow",
        what: "every frame between the nodes and etcd takes about a second: no renewal has an answer in time",
        steps: &[
            step(1000, "nodes apart", NODES_APART),
            step(2000, "a second late", late(Who::Nodes, Who::Witnesses, 1000)),
            step(2000, "a second late", late(Who::Witnesses, Who::Nodes, 1000)),
            step(9000, "healed", Fault::Heal),
        ],
        lasts_ms: 17_000,
        demands: Demands { back: RETURN, ..ONE },
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-power-off-master",
        what: "the master's machine loses power; all of etcd is well",
        steps: &[
            step(1000, "power off", Fault::Real(Deed::PowerOff { who: Who::Master })),
            step(8000, "boots", Fault::Real(Deed::PowerOn { who: Who::Master })),
        ],
        lasts_ms: 13_000,
        demands: Demands { outage: TAKEOVER, ..MOVES },
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-power-off-while-member-down",
        what: "a member of etcd is down when the master's machine loses power",
        steps: &[
            step(1000, "member killed", kill(Who::Follower)),
            step(2500, "power off", Fault::Real(Deed::PowerOff { who: Who::Master })),
            step(10_500, "boots", Fault::Real(Deed::PowerOn { who: Who::Master })),
        ],
        lasts_ms: 14_000,
        demands: Demands { outage: TAKEOVER, ..MOVES },
        ci: true,
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-leader-and-master-die",
        what: "etcd's leader and the master's agent are killed in the same moment: the heir waits for the later of the two",
        steps: &[
            step(1000, "both killed", kill(Who::Leader)),
            step(1000, "both killed", kill(Who::Master)),
            step(8000, "both up again", start(Who::Leader)),
            step(8000, "both up again", start(Who::Master)),
        ],
        lasts_ms: 13_000,
        demands: Demands { outage: TAKEOVER, ..MOVES },
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-graceful-stop",
        what: "SIGTERM to the master's agent: it hands the key over, then ends",
        steps: &[step(1000, "SIGTERM", Fault::Terminate { who: Who::Master })],
        lasts_ms: 6_000,
        demands: Demands { outage: Limit::ms(100), final_holder: Some(Who::Backup), ..MOVES },
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-handover-while-apart",
        what: "the nodes hear nothing of each other; the master is stopped in good order, which only etcd can tell",
        steps: &[
            step(1000, "nodes apart", NODES_APART),
            step(4000, "SIGTERM", Fault::Terminate { who: Who::Master }),
            step(7000, "healed", Fault::Heal),
        ],
        lasts_ms: 9_000,
        demands: Demands { outage: Limit::ms(300), alerts: &["all-heartbeats-down"], ..MOVES },
        ci: true,
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-all-restart",
        what: "every member of etcd is killed, and comes back 5 s later: the VIP falls silent, and comes back with them",
        steps: &[step(1000, "etcd killed", kill(Who::Witnesses)), step(6000, "etcd up again", start(Who::Witnesses))],
        lasts_ms: 14_000,
        demands: Demands { outage: Limit::of(2, 8000), back: RETURN, alerts: &["lease-lost"], ..MOVES },
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-down-for-good",
        what: "every member of etcd is killed and stays away: within a lease nobody holds, and nobody does again",
        steps: &[step(1000, "etcd killed", kill(Who::Witnesses))],
        lasts_ms: 10_000,
        demands: Demands { silent_after: Some(Limit::of(1, 0)), alerts: &["lease-lost"], ..ONE },
        ..AT_ETCD
    },
    Scenario {
        name: "etcd-restored-backup",
        what: "etcd is restored from a snapshot that is older than the last two changes of holder: the holder distrusts it",
        steps: &[
            step(500, "snapshot", Fault::Real(Deed::Save { who: Who::Witness })),
            step(1500, "handover", Fault::Terminate { who: Who::Master }),
            step(3000, "agent up again", start(Who::Master)),
            step(7000, "etcd killed", kill(Who::Witnesses)),
            step(7200, "restored", Fault::Real(Deed::Restore { who: Who::Witnesses })),
            step(7400, "etcd up again", start(Who::Witnesses)),
        ],
        lasts_ms: 17_000,
        demands: Demands { outage: Limit::of(3, 2000), back: Limit::of(3, 2000), alerts: &["voter-amnesia"], ..MOVES },
        ..AT_ETCD
    },
];
