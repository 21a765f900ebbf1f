//! Threads, processes and what they need: stopped, frozen, starved, killed at chosen moments.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::deed::{Moment, Thread};
use crate::fault::Part;
use crate::netns::configuration::INSTANCE;
use crate::netns::error::{Error, io_error};
use crate::netns::observe::gate::Peephole;
use crate::netns::process;
use crate::netns::topology::Kind;
use crate::netns::world::World;
use crate::netns::{clock, priority};

/// Names of our control groups begin so.
const GROUP_PREFIX: &str = "keepone-chaos-";
/// Between two looks at a gate whose next move is waited for.
const GLANCE: Duration = Duration::from_micros(100);
/// The policy SCHED_RR in `/proc/PID/stat` (proc_pid_stat(5), sched(7)).
const ROUND_ROBIN: &str = "2";

fn read_trimmed(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// The thread of that kind among a process's.
fn find_thread(pid: i32, thread: Thread) -> Option<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let mut tids = tasks.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    match thread {
        Thread::Named(name) => {
            let name = name.get(..name.len().min(15)).unwrap_or(name);
            tids.find(|tid| read_trimmed(Path::new(&format!("/proc/{pid}/task/{tid}/comm"))).as_deref() == Some(name))
        }
        Thread::Decision => {
            let policy = |tid: i32| {
                let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
                // Field 41; what follows the name in parentheses begins with field 3.
                Some(stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(38)?.to_owned())
            };
            tids.find(|&tid| policy(tid).as_deref() == Some(ROUND_ROBIN))
        }
    }
}

/// A missing thing that a deed needs.
fn missing(what: impl Into<String>) -> Error {
    io_error(what)(std::io::Error::from(std::io::ErrorKind::NotFound))
}

/// The unified control group hierarchy, where it is mounted.
fn unified() -> Result<PathBuf, Error> {
    let places = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let found = places.iter().map(Path::new).find(|path| path.join("cgroup.controllers").is_file());
    found.map(Path::to_owned).ok_or_else(|| missing("find a cgroup2 file system"))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(io_error(format!("write {text} to {}", path.display())))
}

/// Removes control groups as soon as their processes have gone.
pub fn remove_groups(groups: &[PathBuf]) {
    for group in groups {
        let begin = Instant::now();
        while fs::remove_dir(group).is_err() && group.exists() && begin.elapsed() < Duration::from_secs(2) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Removes every control group of ours, also of worlds that were killed; those with processes stay.
pub fn remove_all_groups() {
    for base in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/memory"] {
        for entry in fs::read_dir(base).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(GROUP_PREFIX) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

/// Watches a gate until it makes the move that is waited for, or for `limit`.
fn wait_for(peephole: &mut Peephole, moment: Moment, limit: Duration, over: &super::Over) -> bool {
    let begin = Instant::now();
    let mut last: Option<(bool, u64)> = None;
    let mut looks = 0_u32;
    while begin.elapsed() < limit && !over.is_set() {
        if looks.is_multiple_of(100) {
            peephole.search();
        }
        looks = looks.wrapping_add(1);
        let now = clock::now();
        let deadline = peephole.deadline(INSTANCE);
        let open = deadline > now;
        let moved = last.is_some_and(|(was_open, was)| match moment {
            Moment::GateOpened => !was_open && open,
            // A deadline that is drawn in, rather than one that passes.
            Moment::GateShut => was_open && deadline < was && now < was && !open,
        });
        if moved {
            return true;
        }
        last = Some((open, deadline));
        thread::sleep(GLANCE);
    }
    false
}

impl World {
    /// Stops one thread by ptrace, which alone can; the tracer lets go of it by itself.
    pub(super) fn stop_thread(&mut self, kind: Kind, wanted: Thread, for_ms: u64) -> Result<(), Error> {
        let workers = self.pids(kind, Part::Worker);
        if workers.is_empty() {
            return Ok(());
        }
        let found = workers.iter().find_map(|&pid| find_thread(pid, wanted));
        let tid = Pid::from_raw(found.ok_or_else(|| missing(format!("find the thread {wanted:?} of an agent")))?);
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || {
            // Only the thread that traces may let go.
            let stopped = ptrace::seize(tid, ptrace::Options::empty()).and_then(|()| ptrace::interrupt(tid));
            let _ = tell.send(stopped);
            if stopped.is_ok() {
                thread::sleep(Duration::from_millis(for_ms));
                // It may have been killed meanwhile, as it should.
                let _ = ptrace::detach(tid, None::<Signal>);
            }
        });
        told.recv().map_err(|_| Error::Thread("a tracer"))?.map_err(io_error("stop a thread by ptrace"))
    }

    /// Notes that a moment in the life of a machine's agent is waited for.
    fn await_moment(&self, kind: Kind, what: &str) -> usize {
        let name = self.topology.host(kind).map_or("?", |host| host.name.as_str());
        self.works.awaited.begin(format!("{name} {what}"))
    }

    /// Stops the whole agent when its gate makes a move.
    pub(super) fn stop_at(&mut self, kind: Kind, moment: Moment, for_ms: u64) -> Result<(), Error> {
        let (over, awaited) = (self.works.over.clone(), self.works.awaited.clone());
        let number = self.await_moment(kind, &format!("stands still at {moment:?}"));
        let running = self.processes.clone();
        let Some(mut peephole) = self.peephole(kind)? else { return Ok(()) };
        let Some(agent) = self.program(kind) else { return Ok(()) };
        // Found before, since there is no time when the moment has come.
        let pids = agent.processes(&running, Part::Both);
        thread::spawn(move || {
            priority::raise();
            if wait_for(&mut peephole, moment, Duration::from_secs(10), &over) {
                process::signal(&pids, Signal::SIGSTOP);
                awaited.came(number);
                thread::sleep(Duration::from_millis(for_ms));
                process::signal(&pids, Signal::SIGCONT);
            }
        });
        Ok(())
    }

    /// Kills the worker each time its gate opens.
    pub(super) fn crash_when_master(&mut self, kind: Kind, times: u8, for_ms: u64) -> Result<(), Error> {
        let (over, awaited) = (self.works.over.clone(), self.works.awaited.clone());
        // Damping may keep it from the later ones; without a second one it is no loop.
        let numbers = ["dies as master", "dies as master again"].map(|what| self.await_moment(kind, what));
        let Some(mut peephole) = self.peephole(kind)? else { return Ok(()) };
        let guardian = self.program(kind).and_then(|agent| agent.pid());
        let limit = Duration::from_millis(for_ms);
        thread::spawn(move || {
            priority::raise();
            let begin = Instant::now();
            for turn in 0..usize::from(times) {
                let left = limit.saturating_sub(begin.elapsed());
                if !wait_for(&mut peephole, Moment::GateOpened, left, &over) {
                    break;
                }
                let workers = guardian.map_or(Vec::new(), |guardian| process::members(guardian, Part::Worker));
                process::signal(&workers, Signal::SIGKILL);
                if let Some(&number) = numbers.get(turn).filter(|_| !workers.is_empty()) {
                    awaited.came(number);
                }
            }
        });
        Ok(())
    }

    fn group(&mut self, base: &Path, kind: Kind) -> Result<PathBuf, Error> {
        let path = base.join(format!("{GROUP_PREFIX}{kind:?}-{}", clock::now()).replace(['(', ')'], ""));
        fs::create_dir(&path).map_err(io_error(format!("make the control group {}", path.display())))?;
        self.works.groups.push(path.clone());
        Ok(path)
    }

    /// Puts every process of the agent into a group of its own and freezes that.
    pub(super) fn freeze(&mut self, kind: Kind) -> Result<(), Error> {
        let base = unified()?;
        let group = self.group(&base, kind)?;
        for pid in self.pids(kind, Part::Both) {
            write(&group.join("cgroup.procs"), &pid.to_string())?;
        }
        write(&group.join("cgroup.freeze"), "1")
    }

    /// Thaws every group that was frozen; its processes stay in it.
    pub(super) fn thaw(&mut self, _: Kind) -> Result<(), Error> {
        for group in &self.works.groups {
            write(&group.join("cgroup.freeze"), "0")?;
        }
        Ok(())
    }

    /// Has the kernel's out-of-memory killer choose the worker: in a small group with a program that eats memory.
    pub(super) fn exhaust_memory(&mut self, kind: Kind) -> Result<(), Error> {
        let old = Path::new("/sys/fs/cgroup/memory");
        let (base, limit) = match old.join("memory.limit_in_bytes").exists() {
            true => (old.to_owned(), "memory.limit_in_bytes"),
            false => (unified()?, "memory.max"),
        };
        let group = self.group(&base, kind)?;
        write(&group.join(limit), "20000000")?;
        for pid in self.pids(kind, Part::Worker) {
            write(Path::new(&format!("/proc/{pid}/oom_score_adj")), "1000")?;
            write(&group.join("cgroup.procs"), &pid.to_string())?;
        }
        let eat =
            format!("echo $$ > {}/cgroup.procs; head -c 100m /dev/zero | tail -c 100m >/dev/null", group.display());
        let mut command = Command::new("sh");
        command.args(["-c", &eat]);
        let pid = self.processes.start(&self.topology.switch, command, &self.plan.room.join("eater.log"))?;
        self.works.programs.push(pid);
        Ok(())
    }

    /// Starts programs that want a whole CPU each. The kernel ends them: by their CPU time, and by the alarm
    /// of timeout(1).
    pub(in crate::netns) fn start_hogs(&mut self, count: u8, fifo: Option<u8>, for_ms: u64) -> Result<(), Error> {
        let seconds = for_ms.div_ceil(1000).to_string();
        for _ in 0..count {
            let mut command = Command::new("timeout");
            command.args(["--signal=KILL", &seconds]);
            if let Some(priority) = fifo {
                let micros = for_ms.saturating_mul(1000);
                command.args([
                    "prlimit",
                    &format!("--rttime={micros}:{micros}"),
                    "chrt",
                    "--fifo",
                    &priority.to_string(),
                ]);
            }
            command.args(["sh", "-c", "while :; do :; done"]);
            let pid = self.processes.start(&self.topology.switch, command, &self.plan.room.join("hogs.log"))?;
            self.works.programs.push(pid);
        }
        Ok(())
    }

    /// Has the agent's program replaced in place; what the command says goes to `upgrade.log` in its directory.
    pub(super) fn upgrade(&mut self, kind: Kind) -> Result<(), Error> {
        let Some(agent) = self.program(kind) else { return Ok(()) };
        let (program, run_dir, log) = (agent.program(), agent.run_dir(), agent.directory.join("upgrade.log"));
        let mut command = Command::new(program);
        command.arg("upgrade").arg("--run-dir").arg(run_dir);
        let Some(namespace) = self.topology.host(kind).map(|host| host.namespace.clone()) else { return Ok(()) };
        self.processes.start(&namespace, command, &log).map(drop)
    }

    /// Takes away, or gives back, the right to open descriptors beyond those that are open.
    pub(super) fn limit_descriptors(&mut self, kind: Kind, lift: bool) -> Result<(), Error> {
        for pid in self.pids(kind, Part::Both) {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
            let hard = || {
                let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
                let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
                Some(line.split_ascii_whitespace().nth(4)?.to_owned())
            };
            let soft = if lift { hard().unwrap_or_else(|| "1024".to_owned()) } else { open.to_string() };
            let mut command = Command::new("prlimit");
            // The hard limit stays, which alone says how far the soft one may be lifted again.
            command.args([format!("--pid={pid}"), format!("--nofile={soft}:")]);
            let log = self.plan.room.join("prlimit.log");
            self.processes.complete(&self.topology.switch, command, &log, Duration::from_secs(5))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_found_by_its_name_and_not_by_another() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let named = thread::Builder::new().name("a-name-too-long-for-the-kernel".to_owned());
        let thread = named.spawn(move || wait.recv()).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let begin = Instant::now();
        let find = |name| find_thread(own, Thread::Named(name));
        while find("a-name-too-long-for-the-kernel").is_none() {
            // The name is set by the new thread itself.
            assert!(begin.elapsed() < Duration::from_secs(10));
            thread::yield_now();
        }
        assert_eq!(find("no-such-thread"), None);
        go.send(()).unwrap();
        thread.join().unwrap().unwrap();
    }
}
