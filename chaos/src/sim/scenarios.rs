//! The named scenarios in the simulated world: the same steps, the same record, the same verdict as on
//! real packets.

use keepone_proto::action::Action;

use super::fault::{Deed, Fault};
use super::network::{MS, Path, S};
use super::plan::Plan;
use super::rng::Rng;
use super::world::{What, World};
use crate::fault::{self as named, Class, Network, Part, Way, Where, Who};
use crate::netns::observe::client::Answer;
use crate::netns::observe::events::{AgentEvent, Said};
use crate::netns::observe::sniffer::{Naming, Sighting};
use crate::netns::record::{Deed as Done, NodeRecord, Record};
use crate::outcome::Outcome;
use crate::scenario::{self, Scenario};
use crate::spans::Spans;
use crate::verdict;

/// When the cluster counts as steady.
pub(super) const STEADY: u64 = 6 * S;

/// Runs the scenario of that name; `None` if there is none.
pub fn run_scenario(name: &str, seed: u64) -> Option<Outcome> {
    let scenario = scenario::find(name)?;
    Some(run(scenario, seed).unwrap_or_else(|why| Outcome {
        scenario: name.to_owned(),
        world: "sim",
        peer: "keepone",
        seed,
        violations: vec![why],
        ..Outcome::default()
    }))
}

/// Runs a scenario in the simulated world.
///
/// # Errors
/// When the cluster has not found a holder before the scenario begins, in words.
pub fn run(scenario: &Scenario, seed: u64) -> Result<Outcome, String> {
    run_traced(scenario, seed, false).map(|(outcome, _)| outcome)
}

/// Runs a scenario, and gives its history in words too.
///
/// # Errors
/// As [`run`].
pub fn run_traced(scenario: &Scenario, seed: u64, trace: bool) -> Result<(Outcome, Vec<String>), String> {
    if scenario.is_real_only() {
        return Err(format!("{} is for real machines only: leave --world sim out", scenario.name));
    }
    let mut world = World::new(Plan::for_scenarios(), seed, Rng::new(seed), trace);
    let (deeds, master) = begin(&mut world, scenario)?;
    let mut record = Record { first_holder: master, begin: STEADY, ..Record::default() };
    let done = scenario.course().into_iter().map(|step| {
        let at = STEADY + step.at_ms * MS;
        Done { at, label: step.label, repair: step.fault.is_repair() }
    });
    record.deeds.extend(done);
    world.set_deeds(deeds);
    world.oracle.mark(STEADY);
    world.at(STEADY, What::Sample);
    record.end = STEADY + scenario.lasts_ms * MS;
    world.run_until(record.end);
    fill(&mut record, &mut world, if scenario.second_client { 2 } else { 1 });
    let mut outcome = verdict::measure(scenario, &record);
    (outcome.world, outcome.seed) = ("sim", seed);
    outcome.violations = verdict::breaches(scenario, &record, &outcome);
    outcome.violations.extend(verdict::own_breaches(scenario, &record, &outcome));
    let invariants = world.oracle.violations.iter();
    outcome.violations.extend(invariants.map(|v| format!("{} at {} ms: {}", v.rule, v.at / MS, v.what)));
    Ok((outcome, world.history.trace.take().unwrap_or_default()))
}

/// Runs a world until it is steady; what the scenario does to it, and who holds.
pub(super) fn begin(world: &mut World, scenario: &Scenario) -> Result<(Vec<Deed>, usize), String> {
    world.boot();
    world.run_until(STEADY);
    let Some(master) = world.oracle.holder(STEADY, 0) else {
        return Err(format!("no single holder {} ms after the start", STEADY / MS));
    };
    let cast = Cast { master, backup: 1 - master.min(1) };
    let mut deeds = Vec::new();
    for step in scenario.course() {
        let at = STEADY + step.at_ms * MS;
        deeds.extend(cast.translate(&step.fault).into_iter().map(|fault| Deed { at, fault }));
    }
    Ok((deeds, master))
}

/// From what the simulator knows to what observers would have seen.
fn fill(record: &mut Record, world: &mut World, clients: usize) {
    let samples = core::mem::take(&mut world.history.samples);
    let opened = world.oracle.domains.first().map(|watch| watch.all_spans(record.end)).unwrap_or_default();
    for (node, open) in opened.into_iter().enumerate() {
        let serving = samples.serving.get(node).cloned().unwrap_or_default();
        let addresses = samples.addresses.get(node).cloned().unwrap_or_default();
        record.nodes.push(NodeRecord {
            name: format!("n{}", node + 1),
            sightings: serving.iter().map(|at| Sighting { at: *at, naming: Naming::Ip }).collect(),
            open: Spans::from_pairs(open),
            address: Spans::from_sightings(addresses, 2 * MS),
            ..NodeRecord::default()
        });
    }
    for client in 0..clients {
        let answers = samples.answers.iter().filter(|(_, to, _)| *to == client);
        record.answers.push(answers.map(|(at, _, node)| Answer { at: *at, node: *node }).collect());
    }
    for told in &world.history.told {
        let said = match &told.action {
            Action::Transition(transition) => Said::Transition {
                from: transition.from.as_str().to_owned(),
                to: transition.to.as_str().to_owned(),
                reason: transition.reason.as_str().to_owned(),
                evidence: transition.evidence.clone(),
            },
            Action::Alert(alert) => Said::Alert {
                name: alert.name.as_str().to_owned(),
                raised: alert.raised,
                evidence: alert.evidence.clone(),
            },
            _ => continue,
        };
        record.events.push(AgentEvent { at: told.at, node: told.host, said });
    }
}

/// Who plays whom.
struct Cast {
    master: usize,
    backup: usize,
}

/// The witness of a pair.
const WITNESS: usize = 2;

impl Cast {
    fn host(&self, who: Who) -> Option<usize> {
        match who {
            Who::Master => Some(self.master),
            Who::Backup | Who::Others => Some(self.backup),
            Who::Witness | Who::Witnesses => Some(WITNESS),
            Who::Client | Who::MasterSideClient | Who::Gateway | Who::Nodes => None,
            // No etcd is simulated here.
            Who::Leader | Who::Follower | Who::Followers => None,
        }
    }

    /// "The nodes" are two here: what concerns them is done to each.
    fn each(&self, who: Who) -> Vec<Who> {
        if who == Who::Nodes { vec![Who::Master, Who::Backup] } else { vec![who] }
    }

    fn translate(&self, fault: &named::Fault) -> Vec<Fault> {
        let of = |who: Who, make: &dyn Fn(usize) -> Fault| self.host(who).map(make).into_iter().collect();
        match *fault {
            named::Fault::Drop { from, to, way, on, class } => self.cuts(from, to, way == Way::Both, on, class, true),
            named::Fault::Mend { from, to, way, on, class } => self.cuts(from, to, way == Way::Both, on, class, false),
            // A course has no flapping left, and is refused with anything for real machines.
            named::Fault::Flap { .. }
            | named::Fault::Real(_)
            | named::Fault::Kill { part: Part::Guardian, .. }
            | named::Fault::Stop { part: Part::Guardian, .. }
            | named::Fault::Continue { part: Part::Guardian, .. } => Vec::new(),
            named::Fault::LinkUp { who, on: Network::Lan } => of(who, &|host| Fault::Carrier { host, up: true }),
            named::Fault::LinkUp { who, on } => self.link(who, on, false),
            named::Fault::LinkDown { who, on: Network::Lan } => of(who, &|host| Fault::Carrier { host, up: false }),
            named::Fault::LinkDown { who, on } => self.link(who, on, true),
            named::Fault::Kill { who, part } => {
                of(who, &|host| Fault::Kill { host, guardian: part == Part::Worker && host != WITNESS })
            }
            named::Fault::Terminate { who: Who::Witness } => vec![Fault::Kill { host: WITNESS, guardian: false }],
            named::Fault::Terminate { who } => of(who, &Fault::Terminate),
            named::Fault::Stop { who, .. } => of(who, &Fault::Stop),
            named::Fault::Continue { who, .. } | named::Fault::Resume { who } => of(who, &Fault::Continue),
            named::Fault::Pause { who } => of(who, &Fault::Pause),
            named::Fault::Start { who } => of(who, &Fault::Start),
            named::Fault::Heal => vec![Fault::Mend],
        }
    }

    fn link(&self, who: Who, on: Network, cut: bool) -> Vec<Fault> {
        let Some(host) = self.host(who) else { return Vec::new() };
        let others = (0..=WITNESS).filter(|other| *other != host);
        let path = Some(path(on));
        let cut = |from, to| Fault::Cut { from, to, path, cut };
        others.flat_map(|other| [cut(host, other), cut(other, host)]).collect()
    }

    fn cuts(&self, from: Who, to: Who, both: bool, on: Where, class: Class, cut: bool) -> Vec<Fault> {
        let pairs = self.each(from).into_iter().flat_map(|from| self.each(to).into_iter().map(move |to| (from, to)));
        pairs.filter(|(from, to)| from != to).flat_map(|(from, to)| self.cut(from, to, both, on, class, cut)).collect()
    }

    fn cut(&self, from: Who, to: Who, both: bool, on: Where, class: Class, cut: bool) -> Vec<Fault> {
        let client = |who: Who| match who {
            Who::Client => Some(0),
            Who::MasterSideClient => Some(1),
            _ => None,
        };
        match (self.host(from), self.host(to)) {
            (Some(from), Some(to)) => {
                let all = [Network::Lan, Network::Heartbeat(0), Network::Heartbeat(1), Network::Witness];
                let concerned = |network: &Network| {
                    on.covers(*network) && (class == Class::All || (class == Class::Vrrp) == (*network == Network::Lan))
                };
                let paths = all.into_iter().filter(concerned).map(path);
                let one = |path, from, to| Fault::Cut { from, to, path: Some(path), cut };
                paths
                    .flat_map(|path| [Some(one(path, from, to)), both.then(|| one(path, to, from))])
                    .flatten()
                    .collect()
            }
            (Some(host), None) | (None, Some(host)) => match client(from).or(client(to)) {
                Some(client) => vec![Fault::Client { client, host, cut }],
                None => vec![Fault::Reference { host, reaches: !cut }],
            },
            (None, None) => Vec::new(),
        }
    }
}

fn path(network: Network) -> Path {
    match network {
        Network::Lan => Path::Lan,
        Network::Heartbeat(link) => Path::Link(link),
        Network::Witness => Path::Witness,
    }
}
