//! What the program weighs beside the installed keepalived, with one virtual router and the same configuration file: its
//! octets, the time until it tells its service manager that it is ready, and its memory once it holds the address.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::Serialize;

use super::percentile;
use super::room::{Room, Used};
use super::vrrp::{Case, command};
use crate::fault::Part;
use crate::netns::agent::{Peer, keepalived};
use crate::netns::enclosure;
use crate::netns::error::{Error, io_error};
use crate::netns::process::{Processes, members, signal};

/// What is asked of the measurement.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is measured; both give ratios.
    pub peers: Vec<Peer>,
    /// How many times each is started.
    pub runs: u32,
    /// Where `keepone` is.
    pub bin_dir: PathBuf,
}

/// One program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Which program.
    pub peer: &'static str,
    /// The program's file without symbols, in MiB; what it links dynamically is not in it.
    pub program_mib: f64,
    /// From the start to `READY=1` on the service manager's socket, in milliseconds: half of the starts took no longer.
    /// What the machine's furnishing and the manager take, some milliseconds, is in it for both.
    pub ready_p50_ms: f64,
    /// The longest.
    pub ready_max_ms: f64,
    /// Proportional share of memory of all its processes, in MiB, as Master.
    pub memory_mib: f64,
    /// What its processes have resident, in MiB: pages that two of them share are counted twice.
    pub resident_mib: f64,
}

/// One virtual router with one address: what most machines begin with.
const CASE: Case = Case { instances: 1, interval: Duration::from_secs(1), vips: 1, servers: 0 };
/// A program that is not ready by then never will be; keepalived's own patience with its parts is shorter.
const PATIENCE: Duration = Duration::from_secs(30);
/// After the address has come: announcements are over (keepalived repeats them after 5 s).
const REST: Duration = Duration::from_secs(8);

/// keepalived talks to a service manager only as a child of the first process, and if that is called systemd.
const MANAGER: &str = "\"$@\" & wait";

/// Starts every program so many times, and tells each row as it comes.
///
/// # Errors
/// When a machine can't be made, a program is not ready in time, or keepalived is asked for and not installed.
pub fn run(options: &Options, mut tell: impl FnMut(&Row)) -> Result<Vec<Row>, Error> {
    let processes = Processes::new();
    let mut rows = Vec::new();
    for peer in &options.peers {
        let row = measure(*peer, options, &processes)?;
        tell(&row);
        rows.push(row);
    }
    Ok(rows)
}

fn measure(peer: Peer, options: &Options, processes: &Processes) -> Result<Row, Error> {
    let mut ready = Vec::new();
    for run in 0..options.runs {
        ready.push(time_to_ready(peer, options, &format!("start-{}-{run}", peer.as_str()), processes)?);
    }
    ready.sort_by(f64::total_cmp);
    let used = at_rest(peer, options, processes)?;
    Ok(Row {
        peer: peer.as_str(),
        program_mib: mib(octets(peer, options)?),
        ready_p50_ms: percentile(&ready, 50),
        ready_max_ms: percentile(&ready, 100),
        memory_mib: mib(used.memory),
        resident_mib: mib(used.resident),
    })
}

/// Starts it under a manager of its own, and measures until it says that it is ready, in milliseconds.
fn time_to_ready(peer: Peer, options: &Options, name: &str, processes: &Processes) -> Result<f64, Error> {
    let room = Room::new(&CASE, name)?;
    let dir = Path::new(enclosure::ROOM).join(name);
    let init = dir.join("systemd");
    std::os::unix::fs::symlink("/bin/sh", &init).map_err(io_error("name a shell after the service manager"))?;
    let path = dir.join("notify");
    let manager = UnixDatagram::bind(&path).map_err(io_error("make a service manager's socket"))?;
    let mut words = vec!["env".to_owned(), format!("NOTIFY_SOCKET={}", path.display())];
    words.extend(["unshare", "-pf", "--mount-proc", "--kill-child"].map(str::to_owned));
    words.extend([init.display().to_string(), "-c".to_owned(), MANAGER.to_owned(), "sh".to_owned()]);
    words.extend(command(peer, "vrrp", &options.bin_dir)?);
    let begin = Instant::now();
    let program = room.start(&CASE, 0, &words, processes)?;
    let ready = wait_until_ready(&manager, begin, || room.said(0));
    // `unshare` bars SIGTERM; with the first process of its PID namespace all others of that end.
    signal(&members(program.pid(), Part::Both), Signal::SIGKILL);
    Ok(ready?.as_secs_f64() * 1e3)
}

/// Its memory at rest, started without a manager, of which nothing is counted so.
fn at_rest(peer: Peer, options: &Options, processes: &Processes) -> Result<Used, Error> {
    let room = Room::new(&CASE, &format!("rest-{}", peer.as_str()))?;
    let program = room.start(&CASE, 0, &command(peer, "vrrp", &options.bin_dir)?, processes)?;
    room.wait_for_all(&CASE, &program, PATIENCE)?;
    thread::sleep(REST);
    let used = room.used(0, &program)?;
    room.end(&program, processes);
    Ok(used)
}

fn mib(octets: u64) -> f64 {
    octets as f64 / f64::from(1 << 20)
}

/// Of the program without its symbols, as packages have it.
fn octets(peer: Peer, options: &Options) -> Result<u64, Error> {
    let program = match peer {
        Peer::Keepone => options.bin_dir.join("keepone"),
        Peer::Keepalived => keepalived().unwrap_or_default(),
    };
    let stripped = Path::new(enclosure::ROOM).join(format!("{}.stripped", peer.as_str()));
    let mut strip = Command::new("strip");
    // How it ended is not asked: whoever reaps orphans here may be first. What it was to write tells.
    let _ = strip.arg("-o").arg(&stripped).arg(&program).status();
    Ok(std::fs::metadata(stripped).map_err(io_error("take a program's symbols away with `strip` (binutils)"))?.len())
}

/// Whether a message to the service manager says that the service is ready (sd_notify(3): one assignment a line).
fn says_ready(message: &[u8]) -> bool {
    message.split(|octet| *octet == b'\n').any(|line| line == b"READY=1")
}

/// How long after `begin` the service said so; if it does not, the error tells what it has `said` instead.
fn wait_until_ready(manager: &UnixDatagram, begin: Instant, said: impl FnOnce() -> String) -> Result<Duration, Error> {
    let mut buffer = [0; 4096];
    while let Some(left) = PATIENCE.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
        manager.set_read_timeout(Some(left)).map_err(io_error("wait for a service"))?;
        let Ok(length) = manager.recv(&mut buffer) else { continue };
        if buffer.get(..length).is_some_and(says_ready) {
            return Ok(begin.elapsed());
        }
    }
    let what = format!("a start that says READY=1 within {PATIENCE:?}");
    Err(Error::Command { command: what, status: String::new(), output: said() })
}

/// One row in words, with its ratios to keepalived's where that was measured.
pub fn words(row: &Row, rows: &[Row]) -> String {
    let mut text = format!(
        "{:10} program {:.1} MiB; ready after {:.0} ms (p50), {:.0} ms (max); memory at rest {:.1} MiB, resident {:.1} MiB",
        row.peer, row.program_mib, row.ready_p50_ms, row.ready_max_ms, row.memory_mib, row.resident_mib,
    );
    if let Some(peer) = rows.iter().find(|other| other.peer != row.peer) {
        let ratio = |ours: f64, theirs: f64| if theirs > 0.0 { ours / theirs } else { f64::NAN };
        text += &format!(
            "; against {}: program {:.2}, ready {:.2}, memory {:.2}, resident {:.2}",
            peer.peer,
            ratio(row.program_mib, peer.program_mib),
            ratio(row.ready_p50_ms, peer.ready_p50_ms),
            ratio(row.memory_mib, peer.memory_mib),
            ratio(row.resident_mib, peer.resident_mib),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_a_line_of_its_own() {
        assert!(says_ready(b"READY=1"));
        assert!(says_ready(b"STATUS=up\nREADY=1\nMAINPID=7"));
        assert!(!says_ready(b"STATUS=READY=1"));
        assert!(!says_ready(b"READY=10"));
    }

    #[test]
    fn a_row_has_its_ratio_to_the_other_program() {
        let row = |peer, size| Row {
            peer,
            program_mib: size,
            ready_p50_ms: 2.0 * size,
            ready_max_ms: 3.0 * size,
            memory_mib: 4.0 * size,
            resident_mib: 5.0 * size,
        };
        let text = words(&row("keepone", 3.0), &[row("keepalived", 2.0)]);
        assert!(text.ends_with("; against keepalived: program 1.50, ready 1.50, memory 1.50, resident 1.50"), "{text}");
        assert!(!words(&row("keepalived", 2.0), &[]).contains("against"));
    }
}
