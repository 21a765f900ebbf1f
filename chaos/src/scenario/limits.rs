//! Tests of the limits: one that no run is long enough to exceed demands nothing.

use super::{ALL, LAPSE, Scenario};
use crate::deed::Deed;
use crate::fault::{Fault, Who};

/// What `tests/run` stretches the limits by.
const SLACK: u64 = 3;

/// Where a guardian gives the lease back (R16) or the master hands over (R8): nobody waits for a lease to run out.
const SOONER_THAN_A_LEASE: &[&str] = &[
    "detach-gate",
    "graceful-stop",
    "graceful-stop-under-load",
    "handover-through-voters",
    "crash-master",
    "hanging-scripts",
    "kill-master",
    "lan-link-down",
    "oom-master",
    "reference-lost-on-master",
    "rolling-restart",
    "script-fails",
    "stuck-decision-thread",
];

/// Whether it brings back the holder, or its way to the others; a witness that comes back is no holder.
fn brings_back(fault: &Fault) -> bool {
    let of_a_witness = match fault {
        Fault::Start { who } | Fault::Real(Deed::PowerOn { who }) => matches!(who, Who::Witness | Who::Witnesses),
        _ => false,
    };
    fault.is_repair() && !of_a_witness
}

/// How long the cluster is left alone with a fault, at most: up to the next repair, to the fault's own end, or to
/// the last look.
fn alone_with_a_fault(scenario: &Scenario) -> u64 {
    let course = scenario.course();
    let until = |place: usize, at_ms: u64, fault: &Fault| {
        let repair = course.iter().skip(place).find(|step| brings_back(&step.fault)).map(|step| step.at_ms);
        let own_end = match fault {
            Fault::Real(Deed::StopThread { for_ms, .. }) => Some(at_ms + for_ms),
            _ => None,
        };
        [repair, own_end].into_iter().flatten().min().unwrap_or(scenario.lasts_ms)
    };
    let faults = course.iter().enumerate().filter(|(_, step)| !step.fault.is_repair());
    faults.map(|(place, step)| until(place, step.at_ms, &step.fault) - step.at_ms).max().unwrap_or(0)
}

/// How long a cluster that nobody can hold meanwhile is looked at after the last repair.
fn after_the_last_repair(scenario: &Scenario) -> u64 {
    let course = scenario.course();
    course.iter().rev().find(|step| step.fault.is_repair()).map_or(0, |step| scenario.lasts_ms - step.at_ms)
}

/// Why a takeover that never comes would not be told.
fn untold(scenario: &Scenario) -> Option<String> {
    let (stretched, alone) = (scenario.with_slack(SLACK), alone_with_a_fault(scenario));
    let demands = &scenario.demands;
    // The VIP may be silent as long as the fault lasts: what is demanded is the return.
    let (limit, time) = if scenario.limit(demands.outage) >= alone {
        (stretched.limit(demands.back), after_the_last_repair(scenario))
    } else {
        (stretched.limit(demands.outage), alone)
    };
    (limit >= time).then(|| format!("{}: a limit of {limit} ms, and {time} ms to exceed it", scenario.name))
}

#[test]
fn every_takeover_of_the_ci_set_can_be_too_late_within_its_run() {
    let takeovers = ALL.iter().filter(|scenario| scenario.ci && !scenario.demands.keeps_holder);
    assert_eq!(takeovers.filter_map(untold).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn where_nobody_waits_for_a_lease_to_run_out_the_limit_is_below_that() {
    for name in SOONER_THAN_A_LEASE {
        let scenario = super::find(name).unwrap();
        let limit = scenario.with_slack(SLACK).limit(scenario.demands.outage);
        assert!(limit < scenario.limit(LAPSE), "{name}: {limit} ms");
    }
}

#[test]
fn a_run_without_a_repair_says_where_the_vip_belongs() {
    let nobody = |scenario: &&Scenario| {
        let repaired = scenario.course().iter().any(|step| step.fault.is_repair());
        scenario.ci && !repaired && !scenario.demands.keeps_holder && scenario.demands.final_holder.is_none()
    };
    assert_eq!(ALL.iter().filter(nobody).map(|scenario| scenario.name).collect::<Vec<_>>(), Vec::<&str>::new());
}
