//! Several clusters at a time.
//!
//! To make a cluster and to take one down holds the kernel's rtnl lock for up to a third of a second, in all network
//! namespaces at once: an heir that adds its addresses meanwhile waits for it. So all are made before the first
//! scenario begins, and all end after the last one.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::mount::{MntFlags, umount2};

use super::{Job, Line, Options};
use crate::demo;
use crate::history::History;
use crate::netns::agent::Peer;
use crate::netns::enclosure::ROOM;
use crate::netns::error::{Error, io_error};
use crate::netns::observe::Live;
use crate::netns::process::Processes;
use crate::netns::record::Deed;
use crate::netns::runner::{self, Spectator};
use crate::netns::start::StartLine;
use crate::netns::world::{Plan, World};
use crate::report;

/// Where the clusters of a batch meet, and whether one has been there.
struct Meeting {
    line: StartLine,
    met: bool,
}

impl Meeting {
    fn new(line: &StartLine) -> Self {
        Meeting { line: line.clone(), met: false }
    }

    fn meet(&mut self) {
        self.met = true;
        self.line.meet();
    }
}

impl Drop for Meeting {
    /// The others need not wait for one that failed.
    fn drop(&mut self) {
        if !self.met {
            self.line.withdraw();
        }
    }
}

impl Spectator for Meeting {
    fn look(&mut self, _: &World, _: &Live) {}

    fn ready(&mut self, _: usize) {
        self.meet();
    }

    fn begun(&mut self, _: u64) {}

    fn done(&mut self, _: &Deed) {}
}

/// Runs them all.
pub(super) fn side_by_side(jobs: &[Job], options: &Options, processes: &Processes) -> Vec<Line> {
    let (start, end) = (StartLine::new(jobs.len()), StartLine::new(jobs.len()));
    thread::scope(|scope| {
        let begun: Vec<_> = jobs
            .iter()
            .enumerate()
            .map(|(place, job)| {
                let (start, end) = (Meeting::new(&start), Meeting::new(&end));
                let worlds = jobs.len();
                scope.spawn(move || one((job, worlds, place == 0), start, end, options, processes))
            })
            .collect();
        let line = |(run, job): (thread::ScopedJoinHandle<'_, Result<Line, Error>>, &Job)| {
            let ended = run.join().unwrap_or(Err(Error::Thread("a cluster")));
            ended.unwrap_or_else(|why| Line::broken(job, jobs.len(), why.to_string()))
        };
        begun.into_iter().zip(jobs).map(line).collect()
    })
}

/// Takes a room away, which lies in memory: a matrix has a thousand of them. What stays costs no more than that.
fn clear(room: &Path) {
    for machine in std::fs::read_dir(room).into_iter().flatten().flatten() {
        for mounted in ["state", "bpf"] {
            let _ = umount2(&machine.path().join(mounted), MntFlags::MNT_DETACH);
        }
    }
    let _ = std::fs::remove_dir_all(room);
}

fn one(
    (job, worlds, first): (&Job, usize, bool),
    mut start: Meeting,
    mut end: Meeting,
    options: &Options,
    processes: &Processes,
) -> Result<Line, Error> {
    let scenario = job.scenario.with_shape(&job.shape).with_slack(options.slack);
    let hogs = if job.cell.hogs > 0 { format!("-{}hogs", job.cell.hogs) } else { String::new() };
    // The run alone takes nothing from what the one beside others left.
    let place = format!("{}-{}{hogs}-{worlds}at", scenario.name, job.shape.slug());
    // One that is run again finds nothing of the first run.
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let room = Path::new(ROOM).join(format!("run-{}", RUNS.fetch_add(1, Ordering::Relaxed)));
    let mut plan = Plan::new(&scenario, Peer::Keepone, job.shape, options.bin_dir.clone(), room.clone());
    plan.shift = runner::phase(options.seed);
    plan.burden = job.cell.burden(first);
    let logs = options.out.join("logs").join(&place);
    let record = runner::run(&scenario, plan, processes, &mut start, |world| {
        end.meet();
        world.keep_logs(&logs)
    })?;
    clear(&room);
    let history = History::of(&record);
    let title = format!("keepone {}", env!("CARGO_PKG_VERSION"));
    let mut run = demo::judge(&scenario, Peer::Keepone, title, record);
    run.outcome.seed = options.seed;
    run.outcome.shape = job.shape.name();
    let line = Line::of(job, worlds, &run.outcome);
    if line.held() {
        std::fs::remove_dir_all(&logs).map_err(io_error(format!("remove {}", logs.display())))?;
    } else {
        let text = serde_json::to_string(&history).unwrap_or_default();
        let write = |name, text| std::fs::write(logs.join(name), text);
        write("history.json", text).map_err(io_error(format!("write to {}", logs.display())))?;
        demo::write_report(&logs, "report.html", &report::page(&scenario, &[run]))?;
    }
    Ok(line)
}
