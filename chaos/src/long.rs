//! The commands that take their time: `matrix`, `soak`, `neighbours` and `bench`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::{
    BenchAuthorities, BenchChecks, BenchCommits, BenchScrape, BenchStart, BenchVrrp, BenchWitness, Cells, Common,
    Measured, Neighbours, Set, Soak,
};
use crate::{BROKEN, USAGE, VIOLATED, bin_dir};
use keepone_chaos::netns::agent::{self, Peer};
use keepone_chaos::netns::enclosure::{self, Side};
use keepone_chaos::netns::world::Burden;
use keepone_chaos::{bench, matrix as cells, neighbours as stories, scenario, soak as rounds};

fn code(held: bool) -> ExitCode {
    if held { ExitCode::SUCCESS } else { ExitCode::from(VIOLATED) }
}

/// Runs what is missing of a matrix and prints its table.
pub fn matrix(asked: &Cells) -> anyhow::Result<ExitCode> {
    let mut scenarios = Vec::new();
    for name in &asked.only {
        let Some(scenario) = scenario::find(name) else {
            eprintln!("keepone-chaos: no scenario is called {name:?}: see `keepone-chaos list`");
            return Ok(ExitCode::from(USAGE));
        };
        scenarios.push(scenario);
    }
    if asked.only.is_empty() {
        scenarios.extend(scenario::ALL.iter().filter(|scenario| asked.set == Set::Whole || scenario.ci));
    }
    let options = cells::Options {
        cells: cells::Cell::all(&asked.nodes, &asked.leases, &asked.hogs),
        scenarios,
        worlds: usize::from(asked.worlds),
        slack: asked.slack,
        seed: asked.seed,
        bin_dir: bin_dir(asked.bin_dir.as_ref())?,
        out: asked.out.clone(),
    };
    let lines = if asked.table {
        cells::results(&options)?
    } else {
        if let Side::Outside(code) = enclosure::enter()? {
            return Ok(code);
        }
        cells::run(&options, |line| {
            let (nodes, lease, hogs, worlds) = (line.nodes, line.lease_ms, line.hogs, line.worlds);
            let said = line.broken.clone().unwrap_or_else(|| line.violations.join("; "));
            let said = if line.held() { "held" } else { said.lines().next().unwrap_or("failed") };
            eprintln!("{}, {nodes} nodes, {lease} ms, {hogs} hogs, {worlds} at a time: {said}", line.scenario);
        })?
    };
    let (table, held) = cells::table(&lines);
    print!("{table}");
    Ok(code(held))
}

/// Plays rounds and says what was seen.
pub fn soak(asked: &Soak) -> anyhow::Result<ExitCode> {
    if asked.shape().voters() == 0 {
        eprintln!("keepone-chaos: a cluster without an authority may have two holders while it is cut: add a witness");
        return Ok(ExitCode::from(USAGE));
    }
    if let Side::Outside(code) = enclosure::enter()? {
        return Ok(code);
    }
    let options = rounds::Options {
        time: Duration::from_secs(asked.minutes.saturating_mul(60)),
        rounds: asked.rounds,
        seed: asked.seed,
        first: asked.first,
        shape: asked.shape(),
        burden: asked.cluster.burden(),
        slack: asked.played.slack,
        bin_dir: bin_dir(asked.played.driven.bin_dir.as_ref())?,
        room: Path::new(enclosure::ROOM).join("soak"),
        keep_logs: asked.played.keep_logs.clone(),
    };
    let report = rounds::run(&options, |round, course, outcome| {
        if !asked.played.driven.json {
            let (kinds, outage) = (course.kinds.join(" "), outcome.client_outage_ms);
            println!("round {round}: {kinds}: silent at most {outage} ms, {} in the end", outcome.final_holder);
            outcome.violations.iter().for_each(|violation| println!("  VIOLATED {violation}"));
        }
    })?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(code(report.violations.is_empty()))
}

/// Plays two releases in one cluster and says what was seen.
pub fn neighbours(asked: &Neighbours) -> anyhow::Result<ExitCode> {
    if let Side::Outside(code) = enclosure::enter()? {
        return Ok(code);
    }
    let options = stories::Options {
        bin_dir: bin_dir(asked.played.driven.bin_dir.as_ref())?,
        previous: asked.previous.clone(),
        room: Path::new(enclosure::ROOM).join("neighbours"),
        only: asked.only.clone(),
        slack: asked.played.slack,
        keep_logs: asked.played.keep_logs.clone(),
    };
    let held = stories::run(&options, |story, told| {
        let seen = &told.outcome;
        if !asked.played.driven.json {
            let (silent, two) = (seen.client_outage_ms, seen.dual_holder_ms);
            println!("{}: {}: silent at most {silent} ms, two holders {two} ms", story.name, story.what);
            seen.violations.iter().for_each(|violation| println!("  VIOLATED {violation}"));
        }
        print_line(told);
    })?;
    Ok(code(held))
}

fn options(common: &Common, peer: Peer) -> anyhow::Result<bench::Options> {
    Ok(bench::Options {
        peer,
        shape: common.cluster.shape(),
        burden: common.cluster.burden(),
        bin_dir: bin_dir(common.driven.bin_dir.as_ref())?,
        room: Path::new(enclosure::ROOM).join("bench"),
    })
}

/// Measures and says what was seen.
pub fn measure(what: &Measured) -> anyhow::Result<ExitCode> {
    if let Side::Outside(code) = enclosure::enter()? {
        return Ok(code);
    }
    match what {
        Measured::Failover { runs, compare, common } => failover(*runs, *compare, common),
        Measured::Vrrp(asked) => virtual_routers(asked),
        Measured::Scrape(asked) => scrape(asked),
        Measured::Checks(asked) => checks(asked),
        Measured::Witness(asked) => witness(asked),
        Measured::Authorities(asked) => authorities(asked),
        Measured::Commits(asked) => commits(asked),
        Measured::Start(asked) => start(asked),
        Measured::Calm { minutes, common } => {
            let seen = bench::calm(&options(common, common.peer.peer())?, minutes.saturating_mul(60))?;
            if !common.driven.json {
                let (minutes, changes, hogs) = (minutes, seen.changes, seen.hogs);
                println!("{} for {minutes} min beside {hogs} hogs: {changes} changes of holder", seen.peer);
                println!("  client silent at most {} ms, the machine's {}", seen.client_outage_ms, seen.probe_stall_ms);
            }
            println!("{}", serde_json::to_string(&seen)?);
            Ok(code(seen.changes == 0 && seen.dual_holder_ms == 0.0))
        }
    }
}

/// A row of a measurement as a line of JSON.
fn print_line<R: serde::Serialize>(row: &R) {
    match serde_json::to_string(row) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("keepone-chaos: {error}"),
    }
}

/// Those of these numbers, counted from 1; none named: all.
fn chosen<C>(all: impl IntoIterator<Item = C>, numbers: &[usize]) -> impl Iterator<Item = C> {
    let numbered = all.into_iter().zip(1..);
    numbered.filter(|(_, number)| numbers.is_empty() || numbers.contains(number)).map(|(case, _)| case)
}

fn authorities(asked: &BenchAuthorities) -> anyhow::Result<ExitCode> {
    let options = bench::Options {
        peer: Peer::Keepone,
        shape: scenario::Shape { lease_ms: asked.lease, ..scenario::Shape::PAIR },
        burden: Burden::default(),
        bin_dir: bin_dir(asked.driven.bin_dir.as_ref())?,
        room: Path::new(enclosure::ROOM).join("bench"),
    };
    let rows = bench::authorities::run(&options, asked.runs, print_line)?;
    if !asked.driven.json {
        print!("{}", bench::authorities::table(&rows));
    }
    let whole = rows.iter().all(bench::authorities::Row::is_whole);
    if !whole {
        eprintln!("keepone-chaos: fewer runs than were asked for, or two holders: see the lines above");
    }
    Ok(code(whole))
}

fn commits(asked: &BenchCommits) -> anyhow::Result<ExitCode> {
    let options = bench::Options {
        peer: Peer::Keepone,
        shape: scenario::Shape::PAIR,
        burden: Burden::default(),
        bin_dir: bin_dir(asked.driven.bin_dir.as_ref())?,
        room: Path::new(enclosure::ROOM).join("bench"),
    };
    let rows = bench::commits::run(&options, &asked.domains, asked.seconds, print_line)?;
    if !asked.driven.json {
        print!("{}", bench::commits::table(&rows));
    }
    let whole = rows.iter().all(bench::commits::Row::is_whole);
    if !whole {
        eprintln!("keepone-chaos: nothing was renewed, or two holders: see the lines above");
    }
    Ok(code(whole))
}

fn virtual_routers(asked: &BenchVrrp) -> anyhow::Result<ExitCode> {
    // keepalived first, so that keepone's line can give the ratios.
    let peers = if asked.beside.alone { vec![Peer::Keepone] } else { vec![Peer::Keepalived, Peer::Keepone] };
    let cases = chosen(bench::vrrp::CASES, &asked.beside.case);
    let options = bench::Comparison {
        peers,
        cases: cases.collect(),
        time: Duration::from_secs(asked.seconds.max(1)),
        bin_dir: bin_dir(asked.beside.driven.bin_dir.as_ref())?,
    };
    let mut told: Vec<bench::vrrp::Row> = Vec::new();
    bench::vrrp::run(&options, |row| {
        if !asked.beside.driven.json {
            println!("{}", bench::vrrp::words(row, &told));
        }
        print_line(row);
        told.push(row.clone());
    })?;
    Ok(ExitCode::SUCCESS)
}

fn start(asked: &BenchStart) -> anyhow::Result<ExitCode> {
    // keepalived first, so that keepone's line can give the ratios.
    let peers = if asked.alone { vec![Peer::Keepone] } else { vec![Peer::Keepalived, Peer::Keepone] };
    let options = bench::start::Options { peers, runs: asked.runs, bin_dir: bin_dir(asked.driven.bin_dir.as_ref())? };
    let mut told: Vec<bench::start::Row> = Vec::new();
    bench::start::run(&options, |row| {
        if !asked.driven.json {
            println!("{}", bench::start::words(row, &told));
        }
        print_line(row);
        told.push(row.clone());
    })?;
    Ok(ExitCode::SUCCESS)
}

fn scrape(asked: &BenchScrape) -> anyhow::Result<ExitCode> {
    let options = bench::scrape::Options {
        instances: asked.instances.max(1),
        servers: asked.servers,
        time: Duration::from_secs(asked.seconds.max(1)),
        bin_dir: bin_dir(asked.driven.bin_dir.as_ref())?,
    };
    let seen = bench::scrape::run(&options)?;
    if !asked.driven.json {
        println!("{}", bench::scrape::words(&seen));
    }
    println!("{}", serde_json::to_string(&seen)?);
    Ok(ExitCode::SUCCESS)
}

fn checks(asked: &BenchChecks) -> anyhow::Result<ExitCode> {
    let cases = chosen(bench::checks::CASES, &asked.beside.case);
    let sized = |case: bench::checks::Case| match asked.servers.map(usize::try_from) {
        Some(Ok(servers)) => bench::checks::Case { servers, hanging: case.hanging * servers / case.servers, ..case },
        _ => case,
    };
    let mut peers = vec![Peer::Keepone];
    if !asked.beside.alone && bench::checks::has_ipvs() {
        // First, so that keepone's row can tell the ratio.
        peers.insert(0, Peer::Keepalived);
    } else if !asked.beside.alone {
        eprintln!("this kernel has no IPVS, without which keepalived checks nobody: keepone alone");
    }
    let options = bench::Comparison {
        peers,
        cases: cases.map(sized).collect(),
        time: Duration::from_secs(asked.seconds.max(1)),
        bin_dir: bin_dir(asked.beside.driven.bin_dir.as_ref())?,
    };
    let mut rows = Vec::new();
    bench::checks::run(&options, |row| {
        if !asked.beside.driven.json {
            println!("{}", bench::checks::words(row, &rows));
        }
        print_line(row);
        rows.push(row.clone());
    })?;
    Ok(ExitCode::SUCCESS)
}

fn witness(asked: &BenchWitness) -> anyhow::Result<ExitCode> {
    let cases = chosen(bench::witness::CASES, &asked.case);
    let options = bench::witness::Options {
        cases: cases.collect(),
        time: Duration::from_secs(asked.seconds.max(1)),
        bin_dir: bin_dir(asked.driven.bin_dir.as_ref())?,
        room: Path::new(enclosure::ROOM).join("bench"),
    };
    bench::witness::run(&options, |row| {
        if !asked.driven.json {
            println!("{}", bench::witness::words(row));
        }
        print_line(row);
    })?;
    Ok(ExitCode::SUCCESS)
}

fn failover(runs: u64, compare: bool, common: &Common) -> anyhow::Result<ExitCode> {
    let one = |peer, runs| -> anyhow::Result<bench::Failover> {
        let seen = bench::failover(&options(common, peer)?, runs, |fresh| {
            if !common.driven.json {
                println!("{}: {fresh:?}", peer.as_str());
            }
        })?;
        println!("{}", serde_json::to_string(&seen)?);
        Ok(seen)
    };
    let own = one(common.peer.peer(), runs)?;
    let mut compared = true;
    if compare {
        if agent::keepalived().is_none() {
            eprintln!("keepone-chaos: no keepalived is installed: nothing to compare with");
            return Ok(ExitCode::from(BROKEN));
        }
        let other = one(Peer::Keepalived, (runs / 10).max(5))?;
        // Two holders of the other's are its own affair; too few of its runs are a poor comparison.
        compared = u64::try_from(other.runs).is_ok_and(|runs| runs >= other.asked);
        println!("keepalived's client waits {:.1} times as long (p50)", other.p50_ms / own.p50_ms.max(0.1));
    }
    if !own.is_whole() || !compared {
        eprintln!("keepone-chaos: fewer failovers than were asked for, or two holders: see the lines above");
    }
    Ok(code(own.is_whole() && compared))
}
