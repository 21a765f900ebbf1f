//! The programs of the world: started in a machine's namespace, found again with all their
//! descendants, signalled, and reaped.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::error::{Error, io_error};
use super::namespace::Namespace;
use crate::fault::Part;

type Endings = Arc<Mutex<BTreeMap<i32, String>>>;

/// Starts programs and knows how each of them ended.
///
/// This process is the first of its PID namespace, so orphans come to it as well: one thread reaps all.
#[derive(Debug, Clone)]
pub struct Processes {
    endings: Endings,
}

fn lock(endings: &Endings) -> MutexGuard<'_, BTreeMap<i32, String>> {
    endings.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Processes {
    /// Starts the reaper; nothing else in this process may wait for children.
    pub fn new() -> Self {
        let endings = Endings::default();
        let reaper = Arc::clone(&endings);
        thread::spawn(move || {
            loop {
                match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::Exited(pid, code)) => {
                        lock(&reaper).insert(pid.as_raw(), format!("exit code {code}"));
                    }
                    Ok(WaitStatus::Signaled(pid, signal, _)) => {
                        lock(&reaper).insert(pid.as_raw(), format!("killed by {signal}"));
                    }
                    _ => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Processes { endings }
    }

    /// Starts `command` in `namespace`, its output appended to the file `log`.
    ///
    /// # Errors
    /// [`Error::Io`] naming the program.
    pub fn start(&self, namespace: &Namespace, mut command: Command, log: &Path) -> Result<i32, Error> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .map_err(io_error(format!("open {}", log.display())))?;
        let copy = file.try_clone().map_err(io_error("copy a descriptor"))?;
        command.stdin(Stdio::null()).stdout(file).stderr(copy);
        let what = format!("start {}", command.get_program().display());
        namespace.run(move || {
            let child = command.spawn().map_err(io_error(what))?;
            Ok(i32::try_from(child.id()).unwrap_or(i32::MAX))
        })
    }

    /// How it ended; `None`: it runs.
    pub fn ending(&self, pid: i32) -> Option<String> {
        lock(&self.endings).get(&pid).cloned()
    }

    /// Runs `command` to its end, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Command`] with the end of its output, unless it ends with code 0 in time.
    pub fn complete(&self, namespace: &Namespace, command: Command, log: &Path, limit: Duration) -> Result<(), Error> {
        let shown = format!("{command:?}");
        let pid = self.start(namespace, command, log)?;
        let begin = Instant::now();
        let status = loop {
            match self.ending(pid) {
                Some(ending) if ending == "exit code 0" => return Ok(()),
                Some(ending) => break ending,
                None if begin.elapsed() > limit => {
                    signal(&[pid], Signal::SIGKILL);
                    break format!("still running after {limit:?}");
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        Err(Error::Command { command: shown, status, output: tail(log) })
    }
}

impl Default for Processes {
    fn default() -> Self {
        Self::new()
    }
}

/// The last lines of a log, for an error message.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(12)).copied().collect::<Vec<_>>().join("\n")
}

/// Sends `what` to each process; those that are gone already are no error.
pub fn signal(pids: &[i32], what: Signal) {
    for &pid in pids {
        let _ = kill(Pid::from_raw(pid), what);
    }
}

/// The parent's PID in the text of `/proc/PID/stat`.
///
/// The program's name stands in parentheses and may itself contain any byte, so it is skipped from the
/// right (proc_pid_stat(5)).
fn parent_in(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Every process by its parent, in the order of PIDs.
fn children() -> BTreeMap<i32, Vec<i32>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir("/proc") else { return children };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent_in(&String::from_utf8_lossy(&stat)) {
            children.entry(parent).or_default().push(pid);
        }
    }
    for pids in children.values_mut() {
        pids.sort_unstable();
    }
    children
}

/// The processes of an agent whose first process is `guardian`: what `part` means at this moment.
///
/// A worker is any descendant of the guardian, so scripts that it has started are with it.
pub fn members(guardian: i32, part: Part) -> Vec<i32> {
    let children = children();
    let mut workers = Vec::new();
    let mut open = vec![guardian];
    while let Some(pid) = open.pop() {
        for &child in children.get(&pid).into_iter().flatten() {
            workers.push(child);
            open.push(child);
        }
    }
    match part {
        Part::Worker => workers,
        Part::Guardian => vec![guardian],
        Part::Both => std::iter::once(guardian).chain(workers).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_a_name_with_spaces_and_parentheses() {
        assert_eq!(parent_in("17 (a) b (c) S 42 17 17 0 -1"), Some(42));
        assert_eq!(parent_in("17 (cut"), None);
        assert_eq!(parent_in("17 (x) S"), None);
    }

    #[test]
    fn a_child_is_found_under_its_parent() {
        let mut child = Command::new("sleep").arg("5").spawn().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(members(own, Part::Worker).contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
