//! The demo: the same cuts on keepone and, where it is installed, on keepalived, side by side.

mod board;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::netns::agent::{self, Peer};
use crate::netns::enclosure::ROOM;
use crate::netns::error::{Error, io_error};
use crate::netns::process::Processes;
use crate::netns::runner;
use crate::netns::start::StartLine;
use crate::netns::world::Plan;
use crate::report::{self, Equipment, Run, duration, sentence};
use crate::scenario::{DEMO, Scenario, Shape};
use crate::verdict;
use board::{Board, Reporter, Screen};

/// What is asked of the demo.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the report goes.
    pub out: PathBuf,
    /// Where the programs are.
    pub bin_dir: PathBuf,
    /// Where logs are kept, if anywhere.
    pub keep_logs: Option<PathBuf>,
    /// What is shown.
    pub peers: Vec<Peer>,
}

/// What a cluster of that kind has, for reports.
pub fn equipment(peer: Peer, heartbeats: u8) -> Equipment {
    match peer {
        Peer::Keepone => Equipment { heartbeats, witness: true, gate: true },
        Peer::Keepalived => Equipment { heartbeats: 0, witness: false, gate: false },
    }
}

/// Turns what was seen into a run of the report, with all breaches.
pub fn judge(scenario: &Scenario, peer: Peer, title: String, record: crate::netns::record::Record) -> Run {
    let mut outcome = verdict::measure(scenario, &record);
    outcome.peer = peer.as_str();
    outcome.violations = verdict::breaches(scenario, &record, &outcome);
    if peer == Peer::Keepone {
        outcome.violations.extend(verdict::own_breaches(scenario, &record, &outcome));
    }
    Run { title, record, outcome, equipment: equipment(peer, 2) }
}

/// A peer's name with the version that it gives of itself; asked before the reaper starts.
pub fn title(peer: Peer) -> String {
    let version = match peer {
        Peer::Keepone => Some(env!("CARGO_PKG_VERSION").to_owned()),
        Peer::Keepalived => agent::keepalived().and_then(|program| {
            let said = Command::new(program).arg("--version").output().ok()?;
            // It writes its version on the standard error: "Keepalived v2.2.7 (…)".
            let text = String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
            text.split_ascii_whitespace().nth(1).map(|word| word.trim_start_matches('v').to_owned())
        }),
    };
    format!("{} {}", peer.as_str(), version.unwrap_or_default()).trim_end().to_owned()
}

/// Runs it, writes the report and says what was seen; whether everything held for keepone.
///
/// # Errors
/// When a world fails or the report can't be written.
pub fn run(options: &Options) -> Result<bool, Error> {
    let titles: Vec<(String, bool)> =
        options.peers.iter().map(|&peer| (title(peer), equipment(peer, 2).gate)).collect();
    let board = Board::new(&titles);
    let processes = Processes::new();
    let start = StartLine::new(options.peers.len());
    let mut screen = Screen::new(&board);
    println!("{}\n", sentence(DEMO.what));

    let results: Vec<Result<Run, Error>> = thread::scope(|scope| {
        let runs: Vec<_> = options
            .peers
            .iter()
            .zip(&titles)
            .enumerate()
            .map(|(place, (&peer, (title, _)))| {
                let reporter = Reporter::new(&board, place, start.clone());
                let (processes, start) = (processes.clone(), start.clone());
                scope.spawn(move || {
                    let record = one(options, peer, &processes, reporter);
                    if record.is_err() {
                        start.withdraw();
                    }
                    record.map(|record| judge(&DEMO, peer, title.clone(), record))
                })
            })
            .collect();
        while runs.iter().any(|run| !run.is_finished()) {
            screen.show();
            thread::sleep(Duration::from_millis(100));
        }
        screen.show();
        runs.into_iter().map(|run| run.join().unwrap_or(Err(Error::Thread("a cluster")))).collect()
    });
    let runs = results.into_iter().collect::<Result<Vec<Run>, Error>>()?;
    print!("{}", table(&runs));
    let page = write_report(&options.out, "report.html", &report::page(&DEMO, &runs))?;
    println!("\nreport: {}", page.display());
    let keepone = runs.iter().filter(|run| run.outcome.peer == Peer::Keepone.as_str());
    Ok(keepone.flat_map(|run| &run.outcome.violations).next().is_none())
}

fn one(
    options: &Options,
    peer: Peer,
    processes: &Processes,
    mut reporter: Reporter,
) -> Result<crate::netns::record::Record, Error> {
    let room = Path::new(ROOM).join(peer.as_str());
    let plan = Plan::new(&DEMO, peer, Shape::PAIR, options.bin_dir.clone(), room);
    runner::run(&DEMO, plan, processes, &mut reporter, |world| match &options.keep_logs {
        Some(directory) => world.keep_logs(&directory.join(peer.as_str())),
        None => Ok(()),
    })
}

/// Writes a page into a directory, which is made if need be; returns where.
///
/// # Errors
/// [`Error::Io`].
pub fn write_report(directory: &Path, name: &str, page: &str) -> Result<PathBuf, Error> {
    std::fs::create_dir_all(directory).map_err(io_error(format!("create {}", directory.display())))?;
    let file = directory.join(name);
    std::fs::write(&file, page).map_err(io_error(format!("write {}", file.display())))?;
    Ok(file)
}

/// The result side by side.
fn table(runs: &[Run]) -> String {
    let row = |what: &str, value: &dyn Fn(&Run) -> String| {
        let cells: String = runs.iter().map(|run| format!("{:>22}", value(run))).collect();
        format!("{what:32}{cells}\n")
    };
    let mut text = row("", &|run| run.title.clone());
    text.push_str(&row("two holders on the wire", &|run| duration(run.outcome.dual_holder_wire_ms)));
    text.push_str(&row("two holders by gate or address", &|run| duration(run.outcome.dual_holder_gate_ms)));
    text.push_str(&row("two holders for clients", &|run| duration(run.outcome.dual_holder_client_ms)));
    text.push_str(&row("longest client silence", &|run| duration(run.outcome.client_outage_ms)));
    text.push_str(&row("slowest return after a repair", &|run| duration(run.slowest_return_ms())));
    text.push_str(&row("holder in the end", &|run| run.outcome.final_holder.clone()));
    for run in runs {
        for violation in &run.outcome.violations {
            text.push_str(&format!("{}: {violation}\n", run.title));
        }
    }
    text
}
