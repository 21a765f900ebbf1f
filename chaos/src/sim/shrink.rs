//! From a seed that violates something to the least scenario that still does: deeds are taken out, and then
//! switches, members and links, while the same rule is broken.
//!
//! Whatever is taken out moves the chances of all that comes after it. So each smaller case is tried with a
//! few streams of chance before it counts as one that holds.

use std::fmt::Write as _;

use super::network::{MS, S, Weather};
use super::oracle::Violation;
use super::plan::{Mode, Plan};
use super::rng::Rng;
use super::run::{Case, Options, Outcome};

/// Streams of chance that a smaller case is tried with.
const TRIES: u64 = 12;
/// Runs in all; a shrunk case that is not the least is worth more than one that comes tomorrow.
const BUDGET: u32 = 6_000;

/// What is left.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// The seed that it came from.
    pub seed: u64,
    /// Deeds of the whole history.
    pub deeds_before: usize,
    /// The least case.
    pub case: Case,
    /// What it violates.
    pub violation: Violation,
    /// The histories that were run.
    pub runs: u32,
}

struct Search {
    rule: &'static str,
    runs: u32,
    best: Case,
}

/// Makes the first violation of a seed as small as it goes; `None` if the seed violates nothing.
pub fn shrink(seed: u64, options: &Options) -> Option<Shrunk> {
    let whole = Case::draw(seed, options);
    let first = whole.run(false).violations.into_iter().next()?;
    let deeds_before = whole.deeds().len();
    let mut search = Search { rule: first.rule, runs: 1, best: whole };
    loop {
        let before = search.size();
        search.drop_deeds();
        search.drop_switches();
        search.drop_members();
        search.shorten();
        if search.size() == before || search.runs >= BUDGET {
            break;
        }
    }
    let case = search.best;
    let outcome = case.run(false);
    let violation = outcome.violations.into_iter().find(|violation| violation.rule == search.rule)?;
    Some(Shrunk { seed, deeds_before, case, violation, runs: search.runs })
}

impl Search {
    fn size(&self) -> (usize, usize, u64, u32) {
        let schedule = &self.best.schedule;
        (schedule.deeds.len(), self.best.plan.hosts, schedule.end, schedule.pauses)
    }

    /// Takes a case, if it breaks the same rule under one of a few streams of chance.
    fn try_case(&mut self, case: Case) -> bool {
        for salt in 0..TRIES {
            if self.runs >= BUDGET {
                return false;
            }
            let mut tried = case.clone();
            if salt > 0 {
                tried.rng = Rng::new(self.best.seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            }
            self.runs += 1;
            if violates(&tried.run(false), self.rule) {
                self.best = tried;
                return true;
            }
        }
        false
    }

    /// Halves, quarters, and at last single deeds go.
    fn drop_deeds(&mut self) {
        let mut size = self.best.schedule.deeds.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < self.best.schedule.deeds.len() {
                let mut case = self.best.clone();
                let until = (at + size).min(case.schedule.deeds.len());
                // The last repair stays, or nothing would be owed after it.
                let keep = |fault: &super::fault::Fault| *fault == super::fault::Fault::Heal;
                let mut place = 0;
                case.schedule.deeds.retain(|deed| {
                    place += 1;
                    !(at < place && place <= until) || keep(&deed.fault)
                });
                let smaller = case.schedule.deeds.len() < self.best.schedule.deeds.len();
                if !(smaller && self.try_case(case)) {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    fn change(&mut self, change: impl Fn(&mut Case)) {
        let mut case = self.best.clone();
        change(&mut case);
        let same = case.plan == self.best.plan
            && (case.schedule.pauses, case.schedule.twice) == (self.best.schedule.pauses, self.best.schedule.twice)
            && case.schedule.deeds == self.best.schedule.deeds;
        if !same {
            self.try_case(case);
        }
    }

    fn drop_switches(&mut self) {
        self.change(|case| case.schedule.pauses = 0);
        self.change(|case| case.schedule.twice = 0);
        self.change(|case| case.plan.domains = 1);
        self.change(|case| case.plan.links = 1);
        self.change(|case| case.plan.references = false);
        self.change(|case| case.plan.preempt_delay_ms = 0);
        self.change(|case| case.plan.preempt = false);
        self.change(|case| case.plan.jiffy = 0);
        for place in 0..self.best.schedule.deeds.len() {
            self.change(|case| {
                if let Some(deed) = case.schedule.deeds.get_mut(place)
                    && let super::fault::Fault::Weather { weather, .. } = &mut deed.fault
                {
                    *weather = Weather { loss: 0, twice: 0, ..*weather };
                }
            });
        }
    }

    /// The last witness, then the last agent, if a quorum stays.
    fn drop_members(&mut self) {
        self.change(|case| {
            let plan = &mut case.plan;
            if plan.mode == Mode::Mixed && plan.steps.is_empty() && plan.hosts > plan.agents.max(3) {
                drop_host(case, false);
            }
        });
        self.change(|case| {
            if case.plan.mode == Mode::Mixed && case.plan.steps.is_empty() && case.plan.agents > 2 {
                drop_host(case, true);
            }
        });
    }

    /// Ends the history where the rule is broken.
    fn shorten(&mut self) {
        let outcome = self.best.run(false);
        let Some(violation) = outcome.violations.iter().find(|violation| violation.rule == self.rule) else { return };
        let at = violation.at + MS;
        if at < self.best.schedule.healed_at {
            self.change(|case| case.schedule.deeds.retain(|deed| deed.at <= at));
        }
    }
}

fn violates(outcome: &Outcome, rule: &str) -> bool {
    outcome.violations.iter().any(|violation| violation.rule == rule)
}

/// Hosts are numbered agents first: deeds that name the one that goes go too, and those above it move down.
fn drop_host(case: &mut Case, agent: bool) {
    use super::fault::Fault;
    let gone = if agent { case.plan.agents - 1 } else { case.plan.hosts - 1 };
    case.plan.hosts -= 1;
    case.plan.agents -= usize::from(agent);
    let moved = |host: &mut usize| {
        let stays = *host != gone;
        *host -= usize::from(*host > gone && *host != usize::MAX);
        stays
    };
    case.schedule.deeds.retain_mut(|deed| match &mut deed.fault {
        Fault::Cut { from, to, .. } | Fault::Weather { from, to, .. } => moved(from) & moved(to),
        Fault::Reference { host, .. }
        | Fault::Carrier { host, .. }
        | Fault::Stop(host)
        | Fault::Continue(host)
        | Fault::Pause(host)
        | Fault::Kill { host, .. }
        | Fault::PowerOff(host)
        | Fault::Start(host)
        | Fault::Upgrade { host, .. }
        | Fault::Terminate(host)
        | Fault::LoseRecord(host)
        | Fault::RollBackRecord(host)
        | Fault::TearRecord(host)
        | Fault::Disk { host, .. }
        | Fault::Netlink { host, .. }
        | Fault::GateTest { host, .. }
        | Fault::Gate { host, .. }
        | Fault::Script { host, .. }
        | Fault::Freeze { host, .. }
        | Fault::Reload { host, .. }
        | Fault::Advance { host, .. }
        | Fault::ForeignClaim(host) => moved(host),
        Fault::ForeignRouter { .. } | Fault::Replay { .. } | Fault::Client { .. } | Fault::Mend | Fault::Heal => true,
    });
}

impl Shrunk {
    /// The scenario as a numbered timeline, and what the agents told meanwhile.
    pub fn words(&self) -> String {
        let (plan, schedule) = (&self.case.plan, &self.case.schedule);
        let mut text = String::new();
        let _ = writeln!(
            text,
            "seed {}: {} at {} ms: {}",
            self.seed,
            self.violation.rule,
            self.violation.at / MS,
            self.violation.what
        );
        let _ = writeln!(
            text,
            "{} of {} deeds are left after {} runs\n\n{}",
            schedule.deeds.len(),
            self.deeds_before,
            self.runs,
            cluster(plan)
        );
        if schedule.pauses > 0 {
            let _ = writeln!(text, "processes pause between two steps: {} in a million", schedule.pauses);
        }
        if schedule.twice > 0 {
            let _ = writeln!(text, "events come twice: {} in a million", schedule.twice);
        }
        let _ = writeln!(text);
        let mut lines: Vec<(u64, String)> = schedule.deeds.iter().map(|deed| (deed.at, deed.fault.words())).collect();
        let told = self.case.run(true);
        let seen = told.trace.iter().filter(|line| [" == ", "OpenGate", "ShutGate"].iter().any(|w| line.contains(w)));
        for line in seen {
            let at = line.split_once(' ').map_or("", |_| line.trim_start());
            let Some((stamp, words)) = at.split_once(' ') else { continue };
            let Some(at) = parse_stamp(stamp) else { continue };
            // Renewals are many: only the first opening and the last shutting of an epoch say something.
            let opening = words.contains("OpenGate");
            if opening && lines.iter().any(|(_, known)| same_opening(known, words)) {
                continue;
            }
            lines.push((at, format!("    {words}")));
        }
        lines.push((self.violation.at, format!("!! {}: {}", self.violation.rule, self.violation.what)));
        lines.sort_by_key(|(at, _)| *at);
        for (number, (at, words)) in (1..).zip(lines.iter().filter(|(at, _)| *at <= self.violation.at)) {
            let _ = writeln!(text, "{number:>3}. {:>6}.{:03} s  {words}", at / S, at % S / MS);
        }
        text
    }
}

/// `  1234.567` milliseconds of a trace, in nanoseconds.
fn parse_stamp(stamp: &str) -> Option<u64> {
    let (ms, us) = stamp.split_once('.')?;
    Some(ms.parse::<u64>().ok()? * MS + us.parse::<u64>().ok()? * 1000)
}

/// Both open the same gate under the same epoch.
fn same_opening(known: &str, words: &str) -> bool {
    let until = |words: &str| words.split(", until").next().unwrap_or(words).trim().to_owned();
    until(known) == until(words)
}

fn cluster(plan: &Plan) -> String {
    let generation = |place: usize| {
        let set = |set: Vec<usize>| set.into_iter().map(|host| format!("h{host}")).collect::<Vec<_>>().join(" ");
        plan.sets(place).into_iter().map(set).collect::<Vec<_>>().join(" and of ")
    };
    let voters: Vec<String> = (0..plan.steps.len().max(1)).map(generation).collect();
    format!(
        "{} nodes (h0…), {} witnesses; voters {}; L_a {} ms, L_max {} ms, H {} ms, E_g {} us, h {} ms, {} domains, {} links, \
         preempt {}, priorities {:?}",
        plan.agents,
        plan.hosts - plan.agents,
        voters.join(", then "),
        plan.timing.lease.as_millis(),
        plan.timing.lease_max.as_millis(),
        plan.timing.hidden_freeze.as_millis(),
        plan.timing.gate.as_micros(),
        100 * plan.pace,
        plan.domains,
        plan.links,
        plan.preempt,
        plan.priorities.get(..plan.agents).unwrap_or(&plan.priorities)
    )
}
