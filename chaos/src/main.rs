//! The `keepone-chaos` program: see `cli.rs` for its commands.

mod cli;
mod long;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{CommandFactory as _, Parser};

use cli::{Cli, Command, GuestCommand, MeansKind, QemuCommand, Set, WorldKind};
use keepone_chaos::history::History;
use keepone_chaos::netns::agent::{self, Peer};
use keepone_chaos::netns::enclosure::{self, Side};
use keepone_chaos::netns::process::Processes;
use keepone_chaos::netns::runner::{self, Nobody};
use keepone_chaos::netns::world::{Plan, World};
use keepone_chaos::outcome::Outcome;
use keepone_chaos::scenario::{self, Scenario, Shape};
use keepone_chaos::{demo, gate_bench, qemu, replay, report, sim, why_book};
use long::{matrix, measure, neighbours, soak};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something did not hold.
const VIOLATED: u8 = 1;
/// The command line asks for something that is not there.
const USAGE: u8 = 2;
/// The world could not be made or driven: nothing is said about the cluster.
const BROKEN: u8 = 70;

fn main() -> ExitCode {
    if let Some(code) = keepone_packaging::documents::asked(Cli::command(), Vec::new) {
        return code;
    }
    let cli = Cli::parse();
    let done = match cli.command {
        Command::List => {
            list();
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(run) => run_scenarios(&run),
        Command::Sim(asked) => simulate_seeds(&asked),
        Command::Mutate(asked) => mutate(&asked),
        Command::Replay(asked) => replay_file(&asked),
        Command::Why(asked) => write_why(&asked),
        Command::GateBench(asked) => bench_gate(&asked),
        Command::Matrix(asked) => matrix(&asked),
        Command::Soak(asked) => soak(&asked),
        Command::Bench(asked) => measure(&asked.what),
        Command::Neighbours(asked) => neighbours(&asked),
        Command::Demo(demo) => run_demo(&demo),
        Command::Qemu(asked) => run_qemu(&asked),
        Command::Guest(asked) => run_guest(&asked),
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

fn write_why(asked: &cli::Why) -> anyhow::Result<ExitCode> {
    let is_asked = |scenario: &&Scenario| asked.only.is_empty() || asked.only.iter().any(|name| name == scenario.name);
    let scenarios: Vec<&Scenario> = scenario::ASKED_ABOUT.iter().filter(is_asked).collect();
    if scenarios.len() < asked.only.len() {
        eprintln!("keepone-chaos: --only takes names of the first of `keepone-chaos list`: {}", asked.only.join(","));
        return Ok(ExitCode::from(USAGE));
    }
    if let Side::Outside(code) = enclosure::enter()? {
        return Ok(code);
    }
    let (bin_dir, processes, mut told) = (bin_dir(asked.bin_dir.as_ref())?, Processes::new(), Vec::new());
    for scenario in &scenarios {
        let one = why_book::tell(scenario, &bin_dir, &processes);
        told.push(one.with_context(|| format!("run {}", scenario.name))?);
    }
    let page = why_book::page(&told);
    match &asked.out {
        Some(path) => std::fs::write(path, &page).with_context(|| format!("write {}", path.display()))?,
        None => print!("{page}"),
    }
    let faults = why_book::check::faults(&page, &scenarios);
    faults.iter().for_each(|fault| eprintln!("keepone-chaos: {fault}"));
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(VIOLATED) })
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

fn run_scenarios(run: &cli::Run) -> anyhow::Result<ExitCode> {
    let scenarios: Vec<&Scenario> = match run.scenario.as_str() {
        "all" => {
            let wanted = |scenario: &&Scenario| match (run.set, run.world) {
                (Set::Ci, _) if !scenario.ci => false,
                (_, WorldKind::Sim) => !scenario.is_real_only(),
                _ => true,
            };
            scenario::ALL.iter().filter(wanted).collect()
        }
        names => {
            let mut found = Vec::new();
            for name in names.split(',') {
                let Some(scenario) = scenario::find(name) else {
                    eprintln!("keepone-chaos: no scenario is called {name:?}: see `keepone-chaos list`");
                    return Ok(ExitCode::from(USAGE));
                };
                found.push(scenario);
            }
            found
        }
    };
    let held = match run.world {
        WorldKind::Sim => simulate(&scenarios, run)?,
        WorldKind::Netns => match enclosure::enter()? {
            Side::Outside(code) => return Ok(code),
            Side::Inside => run_for_real(&scenarios, run)?,
        },
    };
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::from(VIOLATED) })
}

fn simulate(scenarios: &[&Scenario], run: &cli::Run) -> anyhow::Result<bool> {
    let mut held = true;
    for scenario in scenarios {
        let outcome = sim::run(scenario, run.seed).map_err(|why| anyhow!(why))?;
        held &= say(&outcome, run.json)?;
    }
    Ok(held)
}

/// Sweeps over seeds.
fn simulate_seeds(asked: &cli::Sim) -> anyhow::Result<ExitCode> {
    if asked.ablate {
        let (seeds, first, json) = (asked.seeds, asked.first, asked.json);
        return mutate(&cli::Mutate { seeds, first, json, markdown: false, until_caught: false });
    }
    let mut options = sim::Options::default();
    if let Some(name) = &asked.mutant {
        options.mutant = sim::Mutant::find(name);
        if options.mutant.is_none() {
            eprintln!("keepone-chaos: no guard is called {name:?}: see `keepone-chaos mutate`");
            return Ok(ExitCode::from(USAGE));
        }
    }
    if asked.trace {
        let options = sim::Options { trace: true, ..options };
        sim::run_seed(asked.first, &options).trace.iter().for_each(|line| println!("{line}"));
    }
    let began = std::time::Instant::now();
    let progress = |done: u64, violating: u64| {
        if !asked.json {
            let seconds = began.elapsed().as_secs();
            eprintln!("{done} of {} seeds after {seconds} s, {violating} violating", asked.seeds);
        }
    };
    let until = asked.minutes.map(|minutes| began + Duration::from_secs(60 * u64::from(minutes)));
    let report = sim::sweep(asked.first, asked.seeds, until, &options, progress);
    if !asked.json {
        let minutes = (began.elapsed().as_secs_f64() / 60.0).max(f64::EPSILON);
        println!(
            "{} seeds from {}: {} simulated hours, {} events, {} violating, {} with two holders",
            report.seeds, report.first_seed, report.simulated_hours, report.events, report.violations, report.dual
        );
        #[allow(clippy::cast_precision_loss, reason = "for people to read")]
        let seeds = report.seeds as f64;
        println!("{:.0} seeds and {:.0} simulated hours a minute", seeds / minutes, report.simulated_hours / minutes);
        report.examples.iter().for_each(|example| println!("  {example}"));
        let left = asked.seeds - report.seeds;
        if left > 0 {
            println!(
                "the time was up: go on with --first {} --seeds {left}",
                report.first_seed.wrapping_add(report.seeds)
            );
        }
    }
    if asked.shrink {
        match report.first_violating {
            Some(seed) => shrink(seed, asked, &options),
            None => println!("nothing to shrink: every seed held"),
        }
    }
    println!("{}", serde_json::to_string(&report)?);
    Ok(if report.violations == 0 { ExitCode::SUCCESS } else { ExitCode::from(VIOLATED) })
}

/// Tells the least scenario in which a seed's first violation still shows.
fn shrink(seed: u64, asked: &cli::Sim, options: &sim::Options) {
    let mutant = asked.mutant.as_ref().map(|name| format!(" --mutant {name}")).unwrap_or_default();
    match sim::shrink(seed, options) {
        Some(shrunk) => {
            print!("{}", shrunk.words());
            println!("\nreplay: keepone-chaos sim --seeds 1 --first {seed}{mutant} --shrink");
        }
        None => println!("seed {seed} holds"),
    }
}

/// Takes each guard out in turn.
fn mutate(asked: &cli::Mutate) -> anyhow::Result<ExitCode> {
    let quiet = asked.json || asked.markdown;
    if !quiet {
        println!(
            "{:36} {:9} {:>8} {:>9} {:>10} {:>8} {:>10}",
            "taken out", "rule", "seeds", "violating", "first seed", "dual", "worst ms"
        );
    }
    let rows = sim::mutants(asked.first, asked.seeds, asked.until_caught, |row| {
        if !quiet {
            let first = row.first_seed.map_or("-".to_owned(), |seed| seed.to_string());
            println!(
                "{:36} {:9} {:>8} {:>9} {first:>10} {:>8} {:>10.1}",
                row.mutant, row.rules, row.seeds, row.violating, row.dual, row.worst_overlap_ms
            );
        }
    });
    let (control, mutants) = rows.split_at(sim::CONTROLS.len().min(rows.len()));
    let caught = mutants.iter().filter(|row| row.violating > 0).count();
    let clean = control.iter().all(|row| row.violating == 0);
    if asked.markdown {
        print!("{}", sim::markdown(&rows));
    } else {
        let last =
            serde_json::json!({ "rows": rows, "control_clean": clean, "mutants": mutants.len(), "caught": caught });
        println!("{last}");
    }
    Ok(if clean && caught == mutants.len() { ExitCode::SUCCESS } else { ExitCode::from(VIOLATED) })
}

/// Replays a recording.
fn replay_file(asked: &cli::Replay) -> anyhow::Result<ExitCode> {
    let file = std::fs::File::open(&asked.file).with_context(|| format!("open {}", asked.file.display()))?;
    let lines = std::io::BufReader::new(file);
    let tell = |line: &str| println!("{line}");
    let told: Option<&dyn Fn(&str)> = if asked.json { None } else { Some(&tell) };
    let replayed = replay::replay(lines, asked.actions, told)
        .with_context(|| format!("{} is no recording of `keepone run --record`", asked.file.display()))?;
    if !asked.json {
        println!("{}", replayed.words());
    }
    println!("{}", serde_json::to_string(&replayed)?);
    Ok(if replayed.differs.is_none() { ExitCode::SUCCESS } else { ExitCode::from(VIOLATED) })
}

/// Says what was seen; whether everything held.
fn say(outcome: &Outcome, json: bool) -> anyhow::Result<bool> {
    if !json {
        print_outcome(outcome);
    }
    println!("{}", serde_json::to_string(outcome)?);
    Ok(outcome.violations.is_empty())
}

fn run_for_real(scenarios: &[&Scenario], run: &cli::Run) -> anyhow::Result<bool> {
    let peer = run.peer.peer();
    let title = demo::title(peer);
    let processes = Processes::new();
    let (mut held, shapes, mut runs) = (true, run.shapes(), 0_u64);
    // Of all scenarios, those that mean nothing here are left out; one that is asked for by its name is not.
    if run.scenario != "all" {
        let clusters = shapes.iter().map(Shape::name).collect::<Vec<_>>().join("; ");
        for scenario in scenarios {
            let shapes: Vec<Shape> = shapes.iter().map(|shape| scenario.at_home(*shape)).collect();
            if let Some(why) = scenario.missing_in_all(&shapes) {
                eprintln!("keepone-chaos: {} is not for {clusters}: {why}", scenario.name);
                held = false;
            }
        }
        if !held {
            return Ok(false);
        }
    }
    let mut had = BTreeSet::new();
    for shape in shapes {
        for scenario in scenarios {
            let shape = scenario.at_home(shape);
            // Several clusters may be one and the same at a scenario's home.
            if scenario.missing(&shape).is_some() || !had.insert((scenario.name, shape.slug())) {
                continue;
            }
            runs += 1;
            let scenario = scenario.with_shape(&shape).with_slack(run.slack);
            let place = format!("{}-{}", scenario.name, shape.slug());
            let room = Path::new(enclosure::ROOM).join(&place);
            let mut plan = Plan::new(&scenario, peer, shape, bin_dir(run.bin_dir.as_ref())?, room);
            plan.shift = runner::phase(run.seed);
            plan.burden = run.burden();
            let keep = |world: &World| match &run.keep_logs {
                Some(directory) => world.keep_logs(&directory.join(&place)),
                None => Ok(()),
            };
            let record = runner::run(&scenario, plan, &processes, &mut Nobody, keep)
                .with_context(|| format!("run {} with {}", scenario.name, peer.as_str()))?;
            let mut judged = demo::judge(&scenario, peer, title.clone(), record);
            judged.outcome.seed = run.seed;
            judged.outcome.shape = shape.name();
            held &= say(&judged.outcome, run.json)?;
            if let Some(directory) = &run.history {
                let history = serde_json::to_string(&History::of(&judged.record))?;
                std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
                let file = directory.join(format!("{place}.json"));
                std::fs::write(&file, history).with_context(|| format!("write {}", file.display()))?;
            }
            if let Some(directory) = &run.report {
                let file = format!("{}-{}.html", scenario.name, peer.as_str());
                demo::write_report(directory, &file, &report::page(&scenario, &[judged]))?;
            }
        }
    }
    if runs == 0 {
        eprintln!("keepone-chaos: none of these scenarios is for such a cluster: nothing was run");
    }
    Ok(held && runs > 0)
}

fn bench_gate(asked: &cli::GateBench) -> anyhow::Result<ExitCode> {
    if let Side::Outside(code) = enclosure::enter()? {
        return Ok(code);
    }
    let means = match asked.means {
        None => gate_bench::Means::ALL.to_vec(),
        Some(MeansKind::Bpf) => vec![gate_bench::Means::Bpf],
        Some(MeansKind::Nft) => vec![gate_bench::Means::Nft],
        Some(MeansKind::Lifetime) => vec![gate_bench::Means::Lifetime],
    };
    let options = gate_bench::Options { means, runs: asked.runs, bin_dir: bin_dir(asked.bin_dir.as_ref())? };
    let table = gate_bench::run(&options, |row| {
        let late = |nanos: i64| Duration::from_nanos(nanos.unsigned_abs());
        let sign = |nanos: i64| if nanos < 0 { "-" } else { "" };
        let (p50, max) = (row.all.p50, row.all.max);
        eprintln!(
            "{:9} {:20} {:3} runs  p50 {}{:?}  max {}{:?}",
            row.means.as_str(),
            row.disturbance.as_str(),
            row.runs,
            sign(p50),
            late(p50),
            sign(max),
            late(max)
        );
    })?;
    if asked.json {
        println!("{}", serde_json::to_string(&table)?);
    } else {
        print!("{table}");
    }
    Ok(ExitCode::SUCCESS)
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

/// A line of JSON, and whether everything held.
fn tell(report: &impl serde::Serialize, violations: &[String]) -> anyhow::Result<ExitCode> {
    println!("{}", serde_json::to_string(report)?);
    Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(VIOLATED) })
}

fn run_qemu(asked: &cli::Qemu) -> anyhow::Result<ExitCode> {
    if let Side::Outside(code) = enclosure::enter()? {
        return Ok(code);
    }
    let (bin_dir, room) = (bin_dir(asked.bin_dir.as_ref())?, Path::new(enclosure::ROOM));
    match &asked.command {
        QemuCommand::Boot { script } => {
            let report = qemu::boot::run(&asked.kernel, &bin_dir, room, script)?;
            println!("{}", serde_json::to_string(&report)?);
            Ok(ExitCode::from(report.status))
        }
        QemuCommand::Ladder { only } => {
            let mut held = true;
            let done = qemu::ladder::run(&asked.kernel, &bin_dir, room, only, |report| {
                held &= report.violations.is_empty();
                println!("{}", serde_json::to_string(report).unwrap_or_default());
            });
            keep_guests(asked, room)?;
            done?;
            Ok(if held { ExitCode::SUCCESS } else { ExitCode::from(VIOLATED) })
        }
        QemuCommand::Lvs => {
            let done = qemu::lvs::run(&asked.kernel, &bin_dir, room);
            keep_guests(asked, room)?;
            let report = done?;
            tell(&report, &report.violations)
        }
        QemuCommand::LvsMore => {
            let done = qemu::lvs::more::run(&asked.kernel, &bin_dir, room);
            keep_guests(asked, room)?;
            let report = done?;
            tell(&report, &report.violations)
        }
        QemuCommand::LvsUpgrade => {
            let done = qemu::lvs::upgrade::run(&asked.kernel, &bin_dir, room);
            keep_guests(asked, room)?;
            let report = done?;
            tell(&report, &report.violations)
        }
        QemuCommand::Vrrp { only } => {
            let mut held = true;
            let done = qemu::vrrp::run((&asked.kernel, &bin_dir, room), only, |report| {
                held &= report.violations.is_empty();
                println!("{}", serde_json::to_string(report).unwrap_or_default());
            });
            keep_guests(asked, room)?;
            done?;
            Ok(if held { ExitCode::SUCCESS } else { ExitCode::from(VIOLATED) })
        }
        QemuCommand::LvsBench(sizes) => bench_lvs(asked, sizes, &bin_dir, room),
        QemuCommand::Pauses { only } => {
            let done = qemu::pauses::run(&asked.kernel, &bin_dir, room, only);
            keep_guests(asked, room)?;
            let reports = done?;
            for report in &reports {
                println!("{}", serde_json::to_string(report)?);
            }
            let held = reports.iter().all(|report| report.violations.is_empty());
            Ok(if held { ExitCode::SUCCESS } else { ExitCode::from(VIOLATED) })
        }
    }
}

fn bench_lvs(asked: &cli::Qemu, sizes: &cli::LvsBench, bin_dir: &Path, room: &Path) -> anyhow::Result<ExitCode> {
    use qemu::lvs::bench;

    let cases = bench::CASES.into_iter().enumerate();
    let cases = cases.filter(|(place, _)| sizes.case.is_empty() || sizes.case.contains(&(place + 1)));
    let options = bench::Options {
        cases: cases.map(|(_, case)| case).collect(),
        checked: sizes.checked,
        started: sizes.started,
        delay_loop: sizes.delay_loop,
        reloaded: sizes.reloaded,
        runs: sizes.runs,
    };
    let tell = |row: &bench::Figure| eprintln!("{}: {:.2}, keepalived {:.2}", row.what, row.keepone, row.keepalived);
    let done = bench::run((&asked.kernel, bin_dir, room), &options, tell);
    keep_guests(asked, room)?;
    let report = done?;
    if !sizes.json {
        print!("{}", bench::words(&report));
    }
    println!("{}", serde_json::to_string(&report)?);
    Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(VIOLATED) })
}

/// Copies what the guests have left, but not their file systems.
fn keep_guests(asked: &cli::Qemu, room: &Path) -> anyhow::Result<()> {
    let Some(directory) = &asked.keep_logs else { return Ok(()) };
    for guest in std::fs::read_dir(room)?.flatten() {
        let to = directory.join(guest.file_name());
        std::fs::create_dir_all(&to)?;
        for name in ["console", "qemu.log", "events.jsonl"] {
            let from = guest.path().join(name);
            if from.is_file() {
                std::fs::copy(&from, to.join(name))?;
            }
        }
    }
    Ok(())
}

fn run_guest(asked: &GuestCommand) -> anyhow::Result<ExitCode> {
    match asked {
        GuestCommand::Respond { node } => qemu::guest::respond(*node)?,
        GuestCommand::Checked { port, file } => qemu::lvs::checked::run(*port, file)?,
        GuestCommand::Bare { port, servers, delay } => {
            qemu::lvs::bare::run(*port, *servers, Duration::from_secs(*delay))?;
        }
        GuestCommand::Name { speech, address, name } => qemu::named::serve(*speech, *address, name)?,
        GuestCommand::Ask { speech, address, count } => qemu::named::ask(*speech, *address, *count)?,
        GuestCommand::Talk { all } => qemu::talk::talk(all)?,
        GuestCommand::Watch { interfaces, addresses } => qemu::talk::watch(interfaces, addresses)?,
        GuestCommand::Clocks => qemu::guest::serve_clocks()?,
        GuestCommand::Vandalize { pid, bpf_dir } => qemu::guest::vandalize(*pid, bpf_dir)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_outcome(outcome: &Outcome) {
    println!("{} · {} · {}", outcome.scenario, outcome.peer, outcome.world);
    println!("  two holders   {:>9.1} ms on the wire", outcome.dual_holder_wire_ms);
    println!("                {:>9.1} ms by gates", outcome.dual_holder_gate_ms);
    println!("                {:>9.1} ms by clients", outcome.dual_holder_client_ms);
    println!("  no holder     {:>9.1} ms", outcome.no_holder_ms);
    let (outage, stall) = (outcome.client_outage_ms, outcome.probe_stall_ms);
    println!("  client outage {outage:>9.1} ms (the machine kept the prober waiting {stall:.1} ms)");
    if let Some(load) = outcome.load {
        let (begun, lost, failed) = (load.begun, load.lost_syns, load.failed);
        println!("  connections   {begun} at {}/s, {lost} SYNs lost, {failed} failed", load.per_second);
    }
    println!("  final holder  {}", outcome.final_holder);
    for violation in &outcome.violations {
        println!("  VIOLATED      {violation}");
    }
}
