//! The scenarios, as data: what is done when, and what must hold.

mod disaster;
mod etcd;
mod host;
#[cfg(test)]
mod limits;
mod named;
mod neighbours;
mod network;
mod outsider;
mod process;
mod shape;
mod voter;

pub use named::{DEMO, SCENARIOS as ASKED_ABOUT};
pub use neighbours::NEIGHBOURS;
pub use shape::{Needs, Shape};

use crate::deed::{Deed, Weather};
use crate::fault::{Class, Fault, Network, Part, Way, Where, Who};

/// E_tx, which the lease allows a frame: what is on its way for longer may come after the heir's first.
const LATE_MS: u32 = 20;

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

/// A length of time that may depend on the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// So many leases ...
    pub leases: u64,
    /// ... and so many milliseconds.
    pub ms: u64,
}

impl Limit {
    /// Milliseconds, whatever the lease is.
    pub const fn ms(ms: u64) -> Self {
        Limit { leases: 0, ms }
    }

    /// `leases` leases and `ms` milliseconds.
    pub const fn of(leases: u64, ms: u64) -> Self {
        Limit { leases, ms }
    }
}

/// Whether there may ever be two holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Two {
    /// Never: P1.
    Never,
    /// While every path between the nodes is cut, and this long after a repair: P2, without an authority.
    UntilHealed(Limit),
}

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demands {
    /// Whether there may be two holders.
    pub two: Two,
    /// The longest silence that the first client may see.
    pub outage: Limit,
    /// How soon after a heal or a resume each client must be answered.
    pub back: Limit,
    /// The holder of the beginning answers throughout: it may not change.
    pub keeps_holder: bool,
    /// Who must hold the VIP at the end; `None`: anybody, but somebody.
    pub final_holder: Option<Who>,
    /// Alerts that must have been raised by some node.
    pub alerts: &'static [&'static str],
    /// Nobody may hold the VIP later than this after the last deed; no slack stretches it. `None`: somebody must.
    pub silent_after: Option<Limit>,
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
    /// Which clusters it is for.
    pub needs: Needs,
    /// Whether each change is told to a script that never returns.
    pub hanging_scripts: bool,
    /// So many more virtual routers than the one that is watched.
    pub more_instances: u8,
    /// So many TCP connections to the VIP are begun in a second.
    pub load: u64,
    /// Whether it is one of the set that a build server has time for.
    pub ci: bool,
    /// The cluster's lease, from which [`Limit`]s are counted. In milliseconds.
    pub lease_ms: u64,
    /// The time limits of clients are so many times as long.
    pub slack: u64,
    /// Whether the master is left with some of the voters, if the cluster is large enough to have them: too few to
    /// hold, but it renews there until its own lease has run out.
    pub keeps_a_minority: bool,
    /// How many vote in the cluster.
    pub voters: u8,
    /// What a lease lasts longer for others than for its holder, in milliseconds.
    pub late_ms: u64,
}

/// etcd's leader looks for leases that have run out twice a second, and each is rounded up to seconds.
const ETCD_LATE_MS: u64 = 700;

impl Scenario {
    /// With the time limits of clients, their silence and their return, `slack` times as long. For machines that
    /// stall, where a missed limit says nothing of the cluster. What must never happen stays as it is, and so does
    /// how long two may hold where that is bounded.
    pub fn with_slack(mut self, slack: u64) -> Self {
        self.slack = slack;
        self
    }

    /// For a cluster with another lease.
    pub fn with_lease(mut self, lease_ms: u64) -> Self {
        self.lease_ms = lease_ms;
        self
    }

    /// The cluster that takes the place of `shape` for this scenario: the same one, unless it is about etcd.
    pub fn at_home(&self, shape: Shape) -> Shape {
        if self.needs.etcd { shape.with_etcd() } else { shape }
    }

    /// For a cluster of that shape.
    pub fn with_shape(mut self, shape: &Shape) -> Self {
        self.voters = shape.voters();
        self.late_ms = if shape.etcd && shape.sessions { ETCD_LATE_MS } else { 0 };
        self.with_lease(shape.lease_ms)
    }

    /// The longest silence that the first client may see.
    ///
    /// Of three voters, who has lost the majority has lost both others, and its heir waits for its lease. Of four, the
    /// heir needs three: one of them may be the voter with which the old holder renewed to its last moment, and which
    /// lends to it for another lease from then.
    pub fn outage(&self) -> Limit {
        let Limit { leases, ms } = self.demands.outage;
        Limit { leases: leases + u64::from(self.keeps_a_minority && self.voters > 3), ms }
    }

    /// A client's limit in milliseconds, slack included.
    pub fn limit(&self, limit: Limit) -> u64 {
        let late_ms = limit.leases.saturating_mul(self.late_ms);
        self.bound(limit).saturating_add(late_ms).saturating_mul(self.slack)
    }

    /// A limit in milliseconds that no slack stretches.
    pub fn bound(&self, limit: Limit) -> u64 {
        limit.leases.saturating_mul(self.lease_ms).saturating_add(limit.ms)
    }

    /// Whether it does something that only the real world can do.
    pub fn is_real_only(&self) -> bool {
        let real = self.steps.iter().any(|step| step.fault.is_real_only());
        real || self.hanging_scripts
            || self.more_instances > 0
            || self.needs.authority != Some(true)
            || self.needs.nodes_vote == Some(false)
            || self.needs.etcd
    }

    /// Whether somebody else claims the VIP, so that an alert about two masters is what it should be.
    pub fn is_attacked(&self) -> bool {
        let forged = |step: &Step| matches!(step.fault, Fault::Real(Deed::Forge { .. }));
        self.steps.iter().any(forged)
    }

    /// Whether frames are on their way for so long that the last ones of a former holder come after its heir has begun:
    /// its ARP bears no date.
    pub fn has_late_frames(&self) -> bool {
        let late = |weather: &Weather| weather.delay_ms + weather.jitter_ms > LATE_MS;
        let slow = |step: &Step| matches!(&step.fault, Fault::Real(Deed::Weather { weather, .. }) if late(weather));
        self.steps.iter().any(slow)
    }

    /// Whether its virtual routers track a script.
    pub fn has_script(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.fault, Fault::Real(Deed::Script { .. })))
    }

    /// Whether it loads the machine or holds the kernel's rtnl lock so much that another cluster beside it would be
    /// judged for that.
    pub fn wants_the_machine(&self) -> bool {
        let heavy = |step: &Step| {
            matches!(step.fault, Fault::Real(Deed::Hogs { .. } | Deed::RtnlChurn { .. } | Deed::OutOfMemory { .. }))
        };
        self.load > 0 || self.more_instances > 0 || self.steps.iter().any(heavy)
    }

    /// Why a cluster is not one for this scenario; `None`: it is.
    pub fn missing(&self, shape: &Shape) -> Option<&'static str> {
        let family = (shape.ipv6 && self.is_attacked()).then_some("what it forges is IPv4");
        let pins = |step: &Step| matches!(step.fault, Fault::Real(Deed::DetachGate { .. } | Deed::RemovePins { .. }));
        let gate = (shape.nft && self.steps.iter().any(pins)).then_some("it takes off a gate of BPF programs");
        self.needs.missing(shape).or(family).or(gate)
    }

    /// Why none of these clusters is one for this scenario; `None`: at least one is.
    pub fn missing_in_all(&self, shapes: &[Shape]) -> Option<&'static str> {
        let mut why = Some("there is no cluster");
        for shape in shapes {
            why = Some(self.missing(shape)?);
        }
        why
    }

    /// The steps with every flapping written out, in the order of time.
    pub fn course(&self) -> Vec<Step> {
        let mut course = Vec::new();
        for &step in self.steps {
            let Fault::Flap { from, to, on, every_ms, for_ms } = step.fault else {
                course.push(step);
                continue;
            };
            let (way, class) = (Way::Both, Class::All);
            let every = every_ms.max(1);
            for turn in 0..for_ms / every {
                let fault = match turn % 2 {
                    0 => Fault::Drop { from, to, way, on, class },
                    _ => Fault::Mend { from, to, way, on, class },
                };
                course.push(Step { at_ms: step.at_ms + turn * every, fault, ..step });
            }
            let fault = Fault::Mend { from, to, way, on, class };
            course.push(Step { at_ms: step.at_ms + for_ms, fault, ..step });
        }
        course.sort_by_key(|step| step.at_ms);
        course
    }
}

/// The lease of the worlds' clusters, in milliseconds, unless another is asked for.
pub const LEASE_MS: u64 = 500;
/// After a heal or a resume the client must be answered within this.
pub const RETURN_MS: u64 = 100;
/// The longest silence of a takeover that waits for the lease to run out.
const LAPSE: Limit = Limit::of(1, 100);
/// A client may lose this much to the machine's own stalls where nothing of the cluster moves.
const NOISE: Limit = Limit::ms(50);

/// Nothing moves and nobody notices.
pub const CALM: Demands = Demands {
    two: Two::Never,
    outage: NOISE,
    back: Limit::ms(RETURN_MS),
    keeps_holder: true,
    final_holder: Some(Who::Master),
    alerts: &[],
    silent_after: None,
};
const MOVES: Demands = Demands { outage: LAPSE, keeps_holder: false, final_holder: None, ..CALM };
/// Only one holder at a time, and somebody in the end.
pub const ONE: Demands = Demands { outage: Limit::ms(600_000), back: Limit::ms(600_000), ..MOVES };

/// Any cluster with an authority.
const ARBITRATED: Needs = Needs {
    authority: Some(true),
    min_nodes: 2,
    min_witnesses: 0,
    nodes_vote: None,
    spare_voter: false,
    without_the_others: false,
    etcd: false,
    in_place: false,
};
/// One with a witness.
const WITNESSED: Needs = Needs { min_witnesses: 1, ..ARBITRATED };
/// One that has a majority without any one of its voters.
const SPARE: Needs = Needs { spare_voter: true, ..WITNESSED };
/// One in which the master and the witnesses are a majority.
const APART: Needs = Needs { without_the_others: true, ..SPARE };
/// One whose nodes vote.
const VOTING: Needs = Needs { nodes_vote: Some(true), ..SPARE };
/// One where etcd decides.
const STORED: Needs = Needs { etcd: true, ..ARBITRATED };
/// One without an authority.
const ALONE: Needs = Needs { authority: Some(false), ..ARBITRATED };

/// What scenarios have in common where they do not say otherwise.
pub const PLAIN: Scenario = Scenario {
    name: "",
    what: "",
    steps: &[],
    lasts_ms: 0,
    demands: CALM,
    second_client: false,
    needs: ARBITRATED,
    hanging_scripts: false,
    more_instances: 0,
    load: 0,
    ci: false,
    lease_ms: LEASE_MS,
    slack: 1,
    keeps_a_minority: false,
    voters: 3,
    late_ms: 0,
};

const fn step(at_ms: u64, label: &'static str, fault: Fault) -> Step {
    Step { at_ms, fault, label }
}

const fn cut(from: Who, to: Who, way: Way, on: Where, class: Class) -> Fault {
    Fault::Drop { from, to, way, on, class }
}

/// Every line between them, both ways.
const fn apart(from: Who, to: Who) -> Fault {
    cut(from, to, Way::Both, Where::Everywhere, Class::All)
}

const fn weather(from: Who, to: Who, weather: Weather) -> Fault {
    Fault::Real(Deed::Weather { from, to, weather })
}

const fn kill(who: Who) -> Fault {
    Fault::Kill { who, part: Part::Both }
}

const fn stop(who: Who) -> Fault {
    Fault::Stop { who, part: Part::Both }
}

const fn go_on(who: Who) -> Fault {
    Fault::Continue { who, part: Part::Both }
}

const fn start(who: Who) -> Fault {
    Fault::Start { who }
}

/// No weather at all.
const FINE: Weather = Weather { lost: 0, doubled: 0, delay_ms: 0, jitter_ms: 0 };
/// Every line between the two nodes, and VRRP with them.
const NODES_APART: Fault = apart(Who::Master, Who::Backup);
const LAN: Where = Where::One(Network::Lan);

const GROUPS: [&[Scenario]; 8] = [
    named::SCENARIOS,
    process::SCENARIOS,
    network::SCENARIOS,
    voter::SCENARIOS,
    host::SCENARIOS,
    outsider::SCENARIOS,
    disaster::SCENARIOS,
    etcd::SCENARIOS,
];

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses a place that is not there")]
const COUNT: usize = {
    let (mut count, mut group) = (0, 0);
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
};

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses a place that is not there")]
const fn flat() -> [Scenario; COUNT] {
    let mut all = [PLAIN; COUNT];
    let (mut at, mut group) = (0, 0);
    while group < GROUPS.len() {
        let mut place = 0;
        while place < GROUPS[group].len() {
            all[at] = GROUPS[group][place];
            at += 1;
            place += 1;
        }
        group += 1;
    }
    all
}

/// Every scenario, in the order of `keepone-chaos list`.
pub static ALL: &[Scenario] = &flat();

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
            let last = scenario.course().last().map_or(0, |step| step.at_ms);
            assert!(last + 2 * LEASE_MS < scenario.lasts_ms, "{} ends before the cluster can settle", scenario.name);
        }
        assert_eq!(named::SCENARIOS.len(), 15);
    }

    #[test]
    fn the_table_of_faults_names_every_scenario() {
        let page = include_str!("../../../docs/chaos.md");
        let table = page.split("## Faults and scenarios").nth(1).unwrap();
        let missing: Vec<&str> =
            ALL.iter().map(|scenario| scenario.name).filter(|name| !table.contains(&format!("`{name}`"))).collect();
        assert_eq!(missing, Vec::<&str>::new());
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

    #[test]
    fn a_scenario_fits_clusters_of_which_it_fits_one() {
        let alone = Shape { witnesses: 0, ..Shape::PAIR };
        let scenario = find("kill-master").unwrap();
        assert!(scenario.missing_in_all(&[alone, Shape::PAIR]).is_none());
        assert!(scenario.missing_in_all(&[alone]).is_some() && scenario.missing_in_all(&[]).is_some());
    }

    #[test]
    fn a_guardian_is_only_on_real_machines() {
        assert!(find("kill-guardian").unwrap().is_real_only() && !find("kill-master").unwrap().is_real_only());
    }

    #[test]
    fn a_flapping_line_is_written_out_and_ends_whole() {
        let flap = Fault::Flap { from: Who::Master, to: Who::Backup, on: LAN, every_ms: 50, for_ms: 200 };
        let steps: &'static [Step] =
            Box::leak(Box::new([step(1000, "flaps", flap), step(1100, "healed", Fault::Heal)]));
        let course = Scenario { steps, ..PLAIN }.course();
        let at: Vec<u64> = course.iter().map(|step| step.at_ms).collect();
        assert_eq!(at, [1000, 1050, 1100, 1100, 1150, 1200]);
        assert!(matches!(course[0].fault, Fault::Drop { .. }) && matches!(course[5].fault, Fault::Mend { .. }));
    }

    #[test]
    fn a_limit_grows_with_the_lease_and_the_slack() {
        let scenario = PLAIN.with_lease(3000).with_slack(2);
        assert_eq!((scenario.limit(LAPSE), scenario.limit(NOISE)), (6200, 100));
        assert_eq!((scenario.bound(LAPSE), scenario.bound(NOISE)), (3100, 50), "a bound knows no slack");
    }

    #[test]
    fn a_master_that_keeps_one_voter_of_four_costs_its_heir_another_lease() {
        let outage = |name: &str, nodes| {
            let shape = Shape { nodes, lease_ms: 1000, ..Shape::PAIR };
            let scenario = find(name).unwrap().with_shape(&shape);
            scenario.bound(scenario.outage())
        };
        for name in ["cut-all-heartbeats-and-witness-from-master", "partition-client-each-side", "lines-die-one-by-one"]
        {
            assert_eq!([2, 3].map(|nodes| outage(name, nodes)), [1100, 2100], "{name}");
        }
        assert_eq!([2, 3].map(|nodes| outage("kill-all-master", nodes)), [1100, 1100]);
    }
}
