//! What the core says in the scenarios that everybody asks about, in the simulated world: it is the same to the byte each
//! time, so that what a change does to it is seen at once. For people there is `docs/why.md`, made on real packets.

use std::fmt::Write as _;

use keepone_proto::decision::Role;
use keepone_proto::node::{Holder, Why};
use keepone_proto::time::Instant;

use super::host::Machine;
use super::network::MS;
use super::plan::Plan;
use super::rng::Rng;
use super::scenarios::{self, STEADY};
use super::world::World;
use crate::scenario::{ASKED_ABOUT, Scenario};
use crate::why_book::seconds;

const HEAD: &str = "# What `keepone why` says in the simulated world

Made by the test beside it (`UPDATE=1 cargo test -p keepone-chaos --lib why`); docs/why.md is made on real packets.
";

/// The page.
///
/// # Errors
/// A scenario can't be simulated, or finds no holder: in words.
pub fn page() -> Result<String, String> {
    let mut page = String::from(HEAD);
    for scenario in ASKED_ABOUT.iter().filter(|scenario| !scenario.is_real_only()) {
        one(scenario, &mut page)?;
    }
    Ok(page)
}

/// Milliseconds after the begin: shortly before the first repair, or when whatever was done has had its effect.
fn looked_at(scenario: &Scenario) -> u64 {
    let first = scenario.course().into_iter().find(|step| step.fault.is_repair());
    first.map_or(scenario.lasts_ms, |step| step.at_ms).saturating_sub(50)
}

fn one(scenario: &Scenario, page: &mut String) -> Result<(), String> {
    let mut world = World::new(Plan::for_scenarios(), 1, Rng::new(1), false);
    let (deeds, master) = scenarios::begin(&mut world, scenario)?;
    world.set_deeds(deeds);
    let at = looked_at(scenario);
    let _ = write!(page, "\n## {}\n\n{}.\n\n", scenario.name, scenario.what);
    let mut done: Vec<String> = Vec::new();
    for step in scenario.course().iter().filter(|step| step.at_ms < at) {
        done.push(format!("- {} s: {}\n", seconds(step.at_ms), step.label));
    }
    // Steps of one instant share a label.
    done.dedup();
    page.push_str(&done.concat());
    world.run_until(STEADY + at * MS);
    let _ = writeln!(page, "\nAfter {} s:", seconds(at));
    let others = (0..world.plan.agents).filter(|host| *host != master);
    for (number, host) in std::iter::once(master).chain(others).enumerate() {
        let name = format!("n{}", number + 1);
        let _ = writeln!(page, "\n```\n{name}# keepone why VI_1\n{}```", named(&says(&world, host, &name), master));
    }
    Ok(())
}

/// The operator's names for what has numbers in the simulator.
fn named(text: &str, master: usize) -> String {
    let (one, two) = (format!("node {}", master + 1), format!("node {}", 2 - master));
    let text = text.replace(&one, "n1").replace(&two, "n2").replace("node 3", "w");
    text.replace("link0", "hb0")
        .replace("link1", "hb1")
        .replace("d0 on", "VI_1 on")
        .replace("d0:", "VI_1:")
        .replace("interface lan", "interface eth0")
}

fn says(world: &World, host: usize, name: &str) -> String {
    let Some(at) = world.hosts.get(host) else { return String::new() };
    let now = at.clock.local(world.now);
    match &at.machine {
        Some(Machine::Agent(_)) if at.stopped || at.silent || at.frozen.is_some() => {
            String::from("keepone: the program has not answered in time: it is stopped, or starved of processor time\n")
        }
        Some(Machine::Agent(node)) => match node.why(now, Plan::domain(0)) {
            Some(why) => words(&why, now, name),
            None => String::from("keepone: there is no instance VI_1 here\n"),
        },
        Some(Machine::Witness(_) | Machine::Store) | None => {
            String::from("keepone: nobody answers at /run/keepone/control: no agent runs here\n")
        }
    }
}

fn words(why: &Why, now: Instant, name: &str) -> String {
    let status = &why.status;
    let mut out = String::new();
    let lasts = u64::try_from(now.since(status.since).as_millis()).unwrap_or(u64::MAX);
    let _ = writeln!(out, "d0 on {name}: {} for {} s, {}", status.role.as_str(), seconds(lasts), status.reason);
    let _ = writeln!(out, "  {}", status.reason.what());
    let holder = match status.holder {
        Holder::Here => name.to_owned(),
        Holder::Peer(node) => format!("node {node}"),
        Holder::ByVoters(node) => format!("node {node} (by the voters)"),
        Holder::Router => String::from("a VRRP router"),
        Holder::Unknown => String::from("nobody known"),
    };
    let _ = writeln!(out, "holder: {holder}");
    if let Some(epoch) = status.epoch.filter(|_| status.role == Role::Master) {
        let _ = writeln!(out, "epoch: {epoch}");
    }
    let view: Vec<String> = why.view.answers().iter().map(|(name, answer)| format!("{name}={answer}")).collect();
    let _ = writeln!(out, "the row that holds: {} → {}\nevidence:", view.join(" "), status.reason);
    for line in &why.evidence {
        let _ = writeln!(out, "  {line}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_the_core_says_now() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sim/why.snap");
        let now = page().unwrap();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        let differs = kept.lines().zip(now.lines()).find(|(kept, now)| kept != now);
        assert!(
            kept == now,
            "sim/why.snap is old: `UPDATE=1 cargo test -p keepone-chaos --lib why` writes it anew: {differs:?}"
        );
    }

    #[test]
    fn each_scenario_is_looked_at_while_its_fault_lasts() {
        for scenario in ASKED_ABOUT {
            let at = looked_at(scenario);
            assert!(
                scenario.course().iter().any(|step| step.at_ms < at && !step.fault.is_repair()),
                "{}",
                scenario.name
            );
        }
    }
}
