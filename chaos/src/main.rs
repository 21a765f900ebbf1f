//! The `keepone-chaos` program: see `cli.rs` for its commands.

mod cli;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Parser;

use cli::{Cli, Command, PeerKind, WorldKind};
use keepone_chaos::netns::agent::{self, Peer};
use keepone_chaos::netns::enclosure::{self, Side};
use keepone_chaos::netns::process::Processes;
use keepone_chaos::netns::runner::{self, Nobody};
use keepone_chaos::netns::world::Plan;
use keepone_chaos::outcome::Outcome;
use keepone_chaos::scenario::{self, Scenario};
use keepone_chaos::{demo, report, sim};

/// Something did not hold.
const VIOLATED: u8 = 1;
/// The world could not be made or driven: nothing is said about the cluster.
const BROKEN: u8 = 70;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::List => {
            list();
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(run) => run_scenario(&run),
        Command::Sim(asked) => sim::sweep(asked.seeds, asked.json).map(ExitCode::from).map_err(|why| anyhow!(why)),
        Command::Demo(demo) => run_demo(&demo),
    };
    done.unwrap_or_else(|error| {
        eprintln!("keepone-chaos: {error:#}");
        ExitCode::from(BROKEN)
    })
}

fn list() {
    for scenario in scenario::ALL {
        println!("{:44} {}", scenario.name, scenario.what);
    }
}

fn bin_dir(asked: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    match asked {
        Some(directory) => Ok(directory.clone()),
        None => {
            let own = std::env::current_exe().context("find this program")?;
            own.parent().map(Path::to_owned).context("this program has no directory")
        }
    }
}

fn run_scenario(run: &cli::Run) -> anyhow::Result<ExitCode> {
    let scenario = scenario::find(&run.scenario)
        .with_context(|| format!("no scenario is called {:?}: see `keepone-chaos list`", run.scenario))?;
    let outcome = match run.world {
        WorldKind::Sim => sim::run(scenario, run.seed).map_err(|why| anyhow!(why))?,
        WorldKind::Netns => match enclosure::enter()? {
            Side::Outside(code) => return Ok(code),
            Side::Inside => run_for_real(scenario, run)?,
        },
    };
    if !run.json {
        print_outcome(&outcome);
    }
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(VIOLATED) })
}

fn run_for_real(scenario: &Scenario, run: &cli::Run) -> anyhow::Result<Outcome> {
    let peer = match run.peer {
        PeerKind::Keepone => Peer::Keepone,
        PeerKind::Keepalived => Peer::Keepalived,
    };
    let plan = Plan {
        peer,
        nodes: 2,
        clients: if scenario.second_client { 2 } else { 1 },
        heartbeats: 2,
        bin_dir: bin_dir(run.bin_dir.as_ref())?,
        room: Path::new(enclosure::ROOM).join(peer.as_str()),
    };
    let keep = |world: &keepone_chaos::netns::world::World| match &run.keep_logs {
        Some(directory) => world.keep_logs(directory),
        None => Ok(()),
    };
    let title = demo::title(peer);
    let record = runner::run(scenario, plan, &Processes::new(), &mut Nobody, keep)?;
    let mut judged = demo::judge(scenario, peer, title, record);
    judged.outcome.seed = run.seed;
    let judged = [judged];
    if let Some(file) = &run.report {
        std::fs::write(file, report::page(scenario, &judged)).with_context(|| format!("write {}", file.display()))?;
    }
    let [judged] = judged;
    Ok(judged.outcome)
}

fn run_demo(asked: &cli::Demo) -> anyhow::Result<ExitCode> {
    if let Side::Outside(code) = enclosure::enter()? {
        return Ok(code);
    }
    let peers = match (asked.only_keepalived, asked.alone || agent::keepalived().is_none()) {
        (true, _) => vec![Peer::Keepalived],
        (false, true) => vec![Peer::Keepone],
        (false, false) => vec![Peer::Keepone, Peer::Keepalived],
    };
    let options = demo::Options {
        out: asked.out.clone(),
        bin_dir: bin_dir(asked.bin_dir.as_ref())?,
        keep_logs: asked.keep_logs.clone(),
        peers,
    };
    let held = demo::run(&options)?;
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::from(VIOLATED) })
}

fn print_outcome(outcome: &Outcome) {
    println!("{} · {} · {}", outcome.scenario, outcome.peer, outcome.world);
    println!("  two holders   {:>9.1} ms on the wire", outcome.dual_holder_wire_ms);
    println!("                {:>9.1} ms by gates", outcome.dual_holder_gate_ms);
    println!("                {:>9.1} ms by clients", outcome.dual_holder_client_ms);
    println!("  no holder     {:>9.1} ms", outcome.no_holder_ms);
    let (outage, stall) = (outcome.client_outage_ms, outcome.probe_stall_ms);
    println!("  client outage {outage:>9.1} ms (the machine kept the prober waiting {stall:.1} ms)");
    println!("  final holder  {}", outcome.final_holder);
    for violation in &outcome.violations {
        println!("  VIOLATED      {violation}");
    }
}
