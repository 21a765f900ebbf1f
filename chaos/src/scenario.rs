//! The scenarios, as data: what is done when, and what must hold.

use crate::fault::{Class, Fault, Network, Part, Way, Where, Who};

/// One deed of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Milliseconds after the cluster has been found steady.
    pub at_ms: u64,
    /// What is done.
    pub fault: Fault,
    /// How a timeline names it, in a few words; steps of one instant share one label.
    pub label: &'static str,
}

/// What must hold, beyond "never two holders".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demands {
    /// The longest silence that the first client may see, in milliseconds.
    pub outage_ms: u64,
    /// How soon after a heal or a resume each client must be answered, in milliseconds.
    pub return_ms: u64,
    /// The holder of the beginning answers throughout: it may not change.
    pub keeps_holder: bool,
    /// Who must hold the VIP at the end; `None`: anybody, but somebody.
    pub final_holder: Option<Who>,
    /// Alerts that must have been raised by some node.
    pub alerts: &'static [&'static str],
}

/// A named course of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// The stable name.
    pub name: &'static str,
    /// One line for `list` and for reports.
    pub what: &'static str,
    /// In the order of time.
    pub steps: &'static [Step],
    /// Milliseconds from the steady state to the last look.
    pub lasts_ms: u64,
    /// What must hold.
    pub demands: Demands,
    /// Whether a second client stands on the master's side.
    pub second_client: bool,
}

impl Scenario {
    /// With time limits `slack` times as long; what must never happen stays as it is. For machines that
    /// stall, where a missed limit says nothing of the cluster.
    pub fn with_slack(mut self, slack: u64) -> Self {
        self.demands.outage_ms = self.demands.outage_ms.saturating_mul(slack);
        self.demands.return_ms = self.demands.return_ms.saturating_mul(slack);
        self
    }
}

/// The lease of the worlds' clusters, in milliseconds: D0's limits are counted from it.
pub const LEASE_MS: u64 = 500;
/// After a heal or a resume the client must be answered within this.
pub const RETURN_MS: u64 = 100;
/// The longest silence of a takeover that waits for the lease to run out.
const LAPSE_MS: u64 = LEASE_MS + 100;
/// A client may lose this much to the machine's own stalls where nothing of the cluster moves.
const NOISE_MS: u64 = 50;

const CALM: Demands = Demands {
    outage_ms: NOISE_MS,
    return_ms: RETURN_MS,
    keeps_holder: true,
    final_holder: Some(Who::Master),
    alerts: &[],
};
const MOVES: Demands =
    Demands { outage_ms: LAPSE_MS, return_ms: RETURN_MS, keeps_holder: false, final_holder: None, alerts: &[] };

const fn step(at_ms: u64, label: &'static str, fault: Fault) -> Step {
    Step { at_ms, fault, label }
}

const fn cut(from: Who, to: Who, way: Way, on: Where, class: Class) -> Fault {
    Fault::Drop { from, to, way, on, class }
}

/// Every line between the two nodes, and VRRP with them.
const NODES_APART: Fault = cut(Who::Master, Who::Backup, Way::Both, Where::Everywhere, Class::All);
const LAN: Where = Where::One(Network::Lan);

/// Every scenario, in the order of `keepone-chaos list`.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "cut-vrrp-only",
        what: "a switch swallows VRRP between the nodes; the heartbeat lines live",
        steps: &[
            step(1000, "VRRP dropped", cut(Who::Master, Who::Backup, Way::Both, LAN, Class::Vrrp)),
            step(9000, "healed", Fault::Heal),
        ],
        lasts_ms: 12_000,
        demands: Demands { alerts: &["vrrp-silent"], ..CALM },
        second_client: false,
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
        second_client: false,
    },
    Scenario {
        name: "cut-all-heartbeats",
        what: "every path between the nodes is cut, VRRP too; both still reach clients and witness",
        steps: &[step(1000, "all lines cut", NODES_APART), step(9000, "healed", Fault::Heal)],
        lasts_ms: 13_000,
        demands: Demands { alerts: &["all-heartbeats-down"], ..CALM },
        second_client: false,
    },
    Scenario {
        name: "cut-all-heartbeats-and-witness-from-master",
        what: "the master loses every path to its peer and to the witness, but not to the clients",
        steps: &[
            step(1000, "lines + witness cut", NODES_APART),
            step(1000, "lines + witness cut", cut(Who::Master, Who::Witness, Way::Both, Where::Everywhere, Class::All)),
            step(9000, "healed", Fault::Heal),
        ],
        lasts_ms: 13_000,
        demands: MOVES,
        second_client: false,
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
        second_client: true,
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
        second_client: false,
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
        second_client: false,
    },
    Scenario {
        name: "kill-master",
        what: "SIGKILL to the master's worker; its guardian lives",
        steps: &[
            step(1000, "worker killed", Fault::Kill { who: Who::Master, part: Part::Worker }),
            step(6000, "agent up again", Fault::Start { who: Who::Master }),
        ],
        lasts_ms: 10_000,
        demands: Demands { outage_ms: 150, ..MOVES },
        second_client: false,
    },
    Scenario {
        name: "kill-all-master",
        what: "SIGKILL to the master's worker and guardian at once; only the kernel's deadline is left",
        steps: &[
            step(1000, "agent killed", Fault::Kill { who: Who::Master, part: Part::Both }),
            step(6000, "agent up again", Fault::Start { who: Who::Master }),
        ],
        lasts_ms: 10_000,
        demands: MOVES,
        second_client: false,
    },
    Scenario {
        name: "stop-master-10s",
        what: "SIGSTOP to the master's worker and guardian for 10 s, then SIGCONT",
        steps: &[
            step(1000, "SIGSTOP", Fault::Stop { who: Who::Master, part: Part::Both }),
            step(11_000, "SIGCONT", Fault::Continue { who: Who::Master, part: Part::Both }),
        ],
        lasts_ms: 15_000,
        demands: MOVES,
        second_client: false,
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
        second_client: false,
    },
    Scenario {
        name: "witness-restart",
        what: "the witness dies and comes back 2 s later with its record",
        steps: &[
            step(1000, "witness killed", Fault::Kill { who: Who::Witness, part: Part::Both }),
            step(3000, "witness up again", Fault::Start { who: Who::Witness }),
        ],
        lasts_ms: 7_000,
        demands: CALM,
        second_client: false,
    },
    Scenario {
        name: "witness-down",
        what: "the witness dies and stays away; the nodes are two votes of three",
        steps: &[step(1000, "witness killed", Fault::Kill { who: Who::Witness, part: Part::Both })],
        lasts_ms: 7_000,
        demands: CALM,
        second_client: false,
    },
    Scenario {
        name: "graceful-stop",
        what: "SIGTERM to the master's agent: it hands over, then ends",
        steps: &[step(1000, "SIGTERM", Fault::Terminate { who: Who::Master })],
        lasts_ms: 6_000,
        demands: Demands { outage_ms: 50, final_holder: Some(Who::Backup), ..MOVES },
        second_client: false,
    },
    Scenario {
        name: "reference-lost-on-master",
        what: "the master no longer reaches the reference address; the backup does",
        steps: &[
            step(1000, "reference cut", cut(Who::Master, Who::Gateway, Way::Both, LAN, Class::All)),
            step(8000, "healed", Fault::Heal),
        ],
        lasts_ms: 13_000,
        demands: Demands { outage_ms: 150, alerts: &["references-lost"], ..MOVES },
        second_client: false,
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
        step(18_000, "SIGSTOP master", Fault::Stop { who: Who::Master, part: Part::Both }),
        step(26_000, "SIGCONT", Fault::Continue { who: Who::Master, part: Part::Both }),
    ],
    lasts_ms: 31_000,
    demands: Demands { alerts: &["heartbeat-link-down", "all-heartbeats-down"], ..MOVES },
    second_client: false,
};

/// The scenario of that name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_its_own_name_and_its_steps_in_order_within_its_time() {
        for (place, scenario) in ALL.iter().enumerate() {
            assert!(ALL.iter().skip(place + 1).all(|other| other.name != scenario.name), "{} twice", scenario.name);
            assert!(scenario.steps.is_sorted_by_key(|step| step.at_ms), "{} out of order", scenario.name);
            let last = scenario.steps.last().map_or(0, |step| step.at_ms);
            assert!(last + 2 * LEASE_MS < scenario.lasts_ms, "{} ends before the cluster can settle", scenario.name);
        }
        assert_eq!(ALL.len(), 15);
    }

    #[test]
    fn a_scenario_that_pauses_or_stops_also_resumes() {
        for scenario in ALL {
            let stops = scenario.steps.iter().filter(|s| matches!(s.fault, Fault::Stop { .. } | Fault::Pause { .. }));
            let resumes =
                scenario.steps.iter().filter(|s| matches!(s.fault, Fault::Continue { .. } | Fault::Resume { .. }));
            assert_eq!(stops.count(), resumes.count(), "{}", scenario.name);
        }
    }
}
