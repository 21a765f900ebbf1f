//! Processes that die, hang, starve, or meet a full disk.

use super::{CALM, Demands, Limit, MOVES, ONE, PLAIN, SPARE, Scenario, go_on, kill, start, step, stop};
use crate::deed::{Deed, Moment, Thread};
use crate::fault::{Fault, Part, Who};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "stop-master-at-tombstone",
        what: "the master hands over and stands still between shutting its gate and giving the lease back",
        steps: &[
            step(
                900,
                "SIGTERM",
                Fault::Real(Deed::StopAt { who: Who::Master, moment: Moment::GateShut, for_ms: 4000 }),
            ),
            step(1000, "SIGTERM", Fault::Terminate { who: Who::Master }),
        ],
        lasts_ms: 8_000,
        demands: MOVES,
        ..PLAIN
    },
    Scenario {
        name: "stop-heir-at-open-gate",
        what: "the master is killed; its heir stands still right after it has opened its gate",
        steps: &[
            step(
                900,
                "killed",
                Fault::Real(Deed::StopAt { who: Who::Backup, moment: Moment::GateOpened, for_ms: 4000 }),
            ),
            step(1000, "killed", kill(Who::Master)),
            step(2500, "agent up again", start(Who::Master)),
        ],
        lasts_ms: 10_000,
        demands: ONE,
        ..PLAIN
    },
    Scenario {
        name: "stop-backup-10s",
        what: "SIGSTOP to the backup's worker and guardian for 10 s: the master keeps its majority without it",
        steps: &[step(1000, "SIGSTOP backup", stop(Who::Backup)), step(11_000, "SIGCONT", go_on(Who::Backup))],
        lasts_ms: 14_000,
        demands: Demands { alerts: &["all-heartbeats-down"], ..CALM },
        needs: SPARE,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "freeze-master",
        what: "the cgroup freezer holds the master's worker and guardian for 5 s",
        steps: &[
            step(1000, "frozen", Fault::Real(Deed::Freeze { who: Who::Master })),
            step(6000, "thawed", Fault::Real(Deed::Thaw { who: Who::Master })),
        ],
        lasts_ms: 10_000,
        demands: MOVES,
        ..PLAIN
    },
    Scenario {
        name: "stuck-decision-thread",
        what: "the thread that decides hangs for 5 s while all others run: the guardian must see it",
        steps: &[step(
            1000,
            "decision thread hangs",
            Fault::Real(Deed::StopThread { who: Who::Master, thread: Thread::Decision, for_ms: 5000 }),
        )],
        lasts_ms: 10_000,
        // The guardian starts a new worker, and the preferred node has the VIP back well before the end.
        demands: Demands { outage: Limit::ms(150), final_holder: Some(Who::Master), ..MOVES },
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "stuck-netlink-thread",
        what: "the thread that reads the kernel's messages hangs for 2 s",
        steps: &[step(
            1000,
            "netlink thread hangs",
            Fault::Real(Deed::StopThread { who: Who::Master, thread: Thread::Named("netlink"), for_ms: 2000 }),
        )],
        lasts_ms: 6_000,
        demands: CALM,
        ..PLAIN
    },
    Scenario {
        name: "stuck-voter-disk",
        what: "the thread that writes the master's voter's record hangs for 5 s: renewals need no disk",
        steps: &[step(
            1000,
            "disk thread hangs",
            Fault::Real(Deed::StopThread { who: Who::Master, thread: Thread::Named("voter-disk"), for_ms: 5000 }),
        )],
        lasts_ms: 9_000,
        demands: CALM,
        ..PLAIN
    },
    Scenario {
        name: "oom-master",
        what: "the kernel's out-of-memory killer takes the master's worker",
        steps: &[step(1000, "out of memory", Fault::Real(Deed::OutOfMemory { who: Who::Master }))],
        lasts_ms: 8_000,
        demands: Demands { outage: Limit::ms(150), ..MOVES },
        ..PLAIN
    },
    Scenario {
        name: "crash-master",
        what: "the master's worker aborts, as after a panic in any of its threads; its guardian lives",
        steps: &[step(1000, "worker crashes", Fault::Real(Deed::Crash { who: Who::Master }))],
        lasts_ms: 7_000,
        demands: Demands { outage: Limit::ms(150), ..MOVES },
        ..PLAIN
    },
    Scenario {
        name: "crash-loop-master",
        what: "the preferred node's worker dies each time it becomes master, five times",
        steps: &[
            step(
                500,
                "dies as master",
                Fault::Real(Deed::CrashWhenMaster { who: Who::Master, times: 5, for_ms: 14_000 }),
            ),
            step(1000, "killed", Fault::Kill { who: Who::Master, part: Part::Worker }),
        ],
        lasts_ms: 20_000,
        demands: Demands { outage: Limit::of(1, 300), ..MOVES },
        ..PLAIN
    },
    Scenario {
        name: "kill-guardian",
        what: "SIGKILL to the master's guardian; the worker must not go on unwatched with a VIP",
        steps: &[
            step(1000, "guardian killed", Fault::Kill { who: Who::Master, part: Part::Guardian }),
            step(6000, "agent up again", start(Who::Master)),
        ],
        lasts_ms: 10_000,
        demands: MOVES,
        ..PLAIN
    },
    Scenario {
        name: "cpu-hogs",
        what: "sixteen ordinary programs want a whole CPU each, for 15 s",
        steps: &[step(1000, "16 hogs", Fault::Real(Deed::Hogs { count: 16, fifo: None, for_ms: 15_000 }))],
        lasts_ms: 18_000,
        demands: CALM,
        ..PLAIN
    },
    Scenario {
        name: "rt-hogs",
        what: "a real-time program on every CPU for 4 s, ahead of everything of the cluster",
        steps: &[step(1000, "real-time hogs", Fault::Real(Deed::Hogs { count: 2, fifo: Some(20), for_ms: 4000 }))],
        lasts_ms: 10_000,
        demands: ONE,
        ..PLAIN
    },
    Scenario {
        name: "rtnl-churn",
        what: "interfaces are made and removed without pause on the master, for 8 s",
        steps: &[step(1000, "interfaces churn", Fault::Real(Deed::RtnlChurn { who: Who::Master, for_ms: 8000 }))],
        lasts_ms: 12_000,
        demands: CALM,
        ..PLAIN
    },
    Scenario {
        name: "disk-full-everywhere",
        what: "no voter can write its record: renewals go on without",
        steps: &[
            step(1000, "disks full", Fault::Real(Deed::FillDisk { who: Who::Nodes })),
            step(1000, "disks full", Fault::Real(Deed::FillDisk { who: Who::Witnesses })),
            step(7000, "room again", Fault::Real(Deed::FreeDisk { who: Who::Nodes })),
            step(7000, "room again", Fault::Real(Deed::FreeDisk { who: Who::Witnesses })),
        ],
        lasts_ms: 10_000,
        demands: CALM,
        ci: true,
        ..PLAIN
    },
    Scenario {
        name: "disk-full-on-backup-and-master-dies",
        what: "the heir's own voter can't write when the master is killed: it gets a majority later, or never two",
        steps: &[
            step(1000, "backup's disk full", Fault::Real(Deed::FillDisk { who: Who::Backup })),
            step(2000, "agent killed", kill(Who::Master)),
            step(5000, "agent up again", start(Who::Master)),
            step(7000, "room again", Fault::Real(Deed::FreeDisk { who: Who::Backup })),
        ],
        lasts_ms: 12_000,
        demands: ONE,
        ..PLAIN
    },
    Scenario {
        name: "no-descriptors",
        what: "the master's processes can open nothing any more for 5 s",
        steps: &[
            step(1000, "no descriptors", Fault::Real(Deed::NoDescriptors { who: Who::Master })),
            step(6000, "descriptors again", Fault::Real(Deed::Descriptors { who: Who::Master })),
        ],
        lasts_ms: 9_000,
        demands: CALM,
        ..PLAIN
    },
    Scenario {
        name: "hanging-scripts",
        what: "every notify script hangs for ever; the master's worker is killed",
        steps: &[
            step(1000, "worker killed", Fault::Kill { who: Who::Master, part: Part::Worker }),
            step(6000, "agent up again", start(Who::Master)),
        ],
        lasts_ms: 10_000,
        demands: Demands { outage: Limit::ms(150), ..MOVES },
        hanging_scripts: true,
        ci: true,
        ..PLAIN
    },
];
