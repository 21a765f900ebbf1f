//! What the programs of a guest need besides themselves: run inside, as `keepone-chaos guest …`.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use keepone_bpf::Link;
use nix::sys::ptrace;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::netns::error::{Error, io_error};
use crate::netns::observe::responder;
use crate::netns::priority;

/// Answers for the VIP's service, as node `node`, until it is killed.
///
/// # Errors
/// [`Error::Io`] when the port can't be bound.
pub fn respond(node: u8) -> Result<(), Error> {
    responder::serve(&responder::bind()?, node, || true);
    Ok(())
}

/// The guest's three clocks in nanoseconds: monotonic, boot, wall.
fn clocks() -> Result<[u64; 3], Error> {
    let read = |clock| -> Result<u64, Error> {
        let time = clock_gettime(clock).map_err(io_error("read a clock"))?;
        let (seconds, nanos) = (u64::try_from(time.tv_sec()), u64::try_from(time.tv_nsec()));
        Ok(seconds.unwrap_or(0) * 1_000_000_000 + nanos.unwrap_or(0))
    };
    Ok([read(ClockId::CLOCK_MONOTONIC)?, read(ClockId::CLOCK_BOOTTIME)?, read(ClockId::CLOCK_REALTIME)?])
}

/// Answers each line on the standard input with a line of the three clocks: a program that runs already is asked
/// in no time, where starting one takes an emulated machine a second.
///
/// # Errors
/// [`Error::Io`] when a clock or the input can't be read.
pub fn serve_clocks() -> Result<(), Error> {
    priority::raise();
    for line in std::io::stdin().lines() {
        line.map_err(io_error("read the questions"))?;
        let [monotonic, boot, wall] = clocks()?;
        println!("{monotonic} {boot} {wall}");
    }
    Ok(())
}

/// Breaks the gate of the agent's worker `pid`, pinned below `bpf_dir`, for good: the thread that would take the
/// addresses out stands still, and the programs are taken off the interfaces as often as they come back.
///
/// # Errors
/// [`Error::Io`] when the thread can't be found or stopped.
pub fn vandalize(pid: i32, bpf_dir: &Path) -> Result<(), Error> {
    let thread = thread_of(pid, "netlink")?;
    // One thread of a process can only be stopped by a tracer, and for as long as the tracer lives.
    ptrace::seize(thread, ptrace::Options::empty()).map_err(io_error("trace the netlink thread"))?;
    ptrace::interrupt(thread).map_err(io_error("stop the netlink thread"))?;
    loop {
        for path in files(bpf_dir) {
            if let Ok(link) = Link::open_pinned(&path) {
                let _ = link.detach();
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The thread of that name.
fn thread_of(pid: i32, name: &str) -> Result<Pid, Error> {
    let tasks = format!("/proc/{pid}/task");
    let what = || format!("find the thread {name} in {tasks}");
    for entry in fs::read_dir(&tasks).map_err(io_error(what()))?.flatten() {
        let known = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let id = entry.file_name().to_str().and_then(|id| id.parse().ok());
        if let Some(id) = id.filter(|_| known.trim() == name) {
            return Ok(Pid::from_raw(id));
        }
    }
    Err(io_error(what())(std::io::Error::from(std::io::ErrorKind::NotFound)))
}

/// Everything below a directory that is no directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_found_by_its_name() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let (begin, wait) = std::sync::mpsc::channel::<()>();
        let builder = thread::Builder::new().name("looked-for".to_owned());
        let waiting = builder.spawn(move || wait.recv().is_ok()).unwrap();
        // A thread gets its name a moment after it was made.
        let found = (0..500).any(|_| {
            thread::sleep(Duration::from_millis(10));
            thread_of(pid, "looked-for").is_ok()
        });
        assert!(found && thread_of(pid, "not-there").is_err());
        begin.send(()).unwrap();
        waiting.join().unwrap();
    }
}
