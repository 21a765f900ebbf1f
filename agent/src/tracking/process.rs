//! Tracked processes: how many of each kind run, by the kernel's events, or by a look at all of them each second where
//! there are none.
//!
//! What must stay true: whatever is lost, `/proc` says how it is; a process that has ended but is not waited for (a
//! zombie) does not run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use keepone_config::model::{ArgumentMatch, ProcessTracker};
use keepone_proto::watch::{RETELL, Reading};

use super::connector::{Connector, Heard, Seen};
use super::teller::{Gone, Teller};
use crate::clock;

/// How often all processes are looked at where the kernel does not tell of them.
const SCAN: Duration = Duration::from_secs(1);
/// A name in `/proc/PID/comm` is cut after so many octets (`TASK_COMM_LEN` less its end).
const COMM: usize = 15;

/// Counts them until the core is gone.
pub(crate) fn serve(trackers: Vec<(ProcessTracker, Teller)>) {
    let connector = Connector::open().inspect_err(|error| {
        tracing::warn!("no process events, so all processes are looked at each second: {error}");
    });
    let (wanted, mut tellers): (Vec<_>, Vec<_>) = trackers.into_iter().unzip();
    let mut counts = Counts::new(wanted);
    // The subscription stands by now: whatever changes from here on is told.
    let mut scanned = counts.scan();
    let mut connector = connector.ok();
    while tell(&counts, scanned.as_ref().err(), &mut tellers).is_ok() {
        match connector.as_ref().map(|connector| connector.wait(RETELL)) {
            Some(Ok(Heard::All(seen))) => seen.into_iter().for_each(|seen| counts.on_seen(seen)),
            Some(Ok(Heard::Overrun)) => scanned = counts.scan(),
            Some(Err(error)) => {
                tracing::warn!("no more process events, so all processes are looked at each second: {error}");
                connector = None;
            }
            None => {
                thread::sleep(SCAN);
                scanned = counts.scan();
            }
        }
        // One that could not be made is made up for, whatever the events say meanwhile.
        if scanned.is_err() {
            scanned = counts.scan();
        }
    }
}

fn tell(counts: &Counts, fault: Option<&io::Error>, tellers: &mut [Teller]) -> Result<(), Gone> {
    for (at, teller) in tellers.iter_mut().enumerate() {
        teller.tell(match fault {
            Some(error) => Reading::Unreadable(format!("/proc: {error}")),
            None => counts.reading(at),
        })?;
    }
    Ok(())
}

/// Which processes are which.
struct Counts {
    wanted: Vec<ProcessTracker>,
    /// Of each process that is any: which ones, by their places.
    matched: BTreeMap<u32, BTreeSet<usize>>,
}

impl Counts {
    fn new(wanted: Vec<ProcessTracker>) -> Self {
        Counts { wanted, matched: BTreeMap::new() }
    }

    fn scan(&mut self) -> io::Result<()> {
        let began = clock::now();
        let mut found = BTreeMap::new();
        for entry in fs::read_dir("/proc")? {
            if let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                let which = self.which(pid);
                if !which.is_empty() {
                    found.insert(pid, which);
                }
            }
        }
        self.matched = found;
        tracing::debug!(took = ?clock::now().since(began), "all processes were looked at");
        Ok(())
    }

    fn on_seen(&mut self, seen: Seen) {
        match seen {
            Seen::Changed(pid) => {
                let which = self.which(pid);
                if which.is_empty() {
                    self.matched.remove(&pid)
                } else {
                    self.matched.insert(pid, which)
                };
            }
            Seen::Ended(pid) => {
                self.matched.remove(&pid);
            }
        }
    }

    /// What a process is now. Nothing, if it has gone meanwhile.
    fn which(&self, pid: u32) -> BTreeSet<usize> {
        let Some(process) = Process::read(pid, self.wanted.iter().any(wants_command)) else { return BTreeSet::new() };
        let places = self.wanted.iter().enumerate().filter(|(_, wanted)| process.is(wanted));
        places.map(|(at, _)| at).collect()
    }

    fn reading(&self, at: usize) -> Reading {
        let Some(wanted) = self.wanted.get(at) else {
            return Reading::Unreadable("there is no such tracker".to_owned());
        };
        let count = self.matched.values().filter(|which| which.contains(&at)).count();
        let (least, most) = (usize::from(wanted.quorum), wanted.quorum_max.map(usize::from));
        // With `quorum_max 0` none may run, so that the least is none either.
        let least = if most == Some(0) { 0 } else { least };
        match most {
            Some(most) if count > most => Reading::Down(format!("{count} run, of at most {most}")),
            _ if count < least => Reading::Down(format!("{count} of {least} run")),
            _ => Reading::Up,
        }
    }
}

/// Arguments are in the command line only.
fn wants_command(wanted: &ProcessTracker) -> bool {
    wanted.full_command || wanted.arguments != ArgumentMatch::Any
}

/// What is known of a process.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    name: String,
    /// Empty: a kernel's thread, or not wanted.
    command: Vec<String>,
}

impl Process {
    /// `None`: it is gone, or a zombie.
    fn read(pid: u32, with_command: bool) -> Option<Self> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let (name, is_over) = name_and_state(&String::from_utf8_lossy(&stat))?;
        if is_over {
            return None;
        }
        let command = if with_command { fs::read(format!("/proc/{pid}/cmdline")).ok()? } else { Vec::new() };
        Some(Process { name, command: words(&command) })
    }

    fn is(&self, wanted: &ProcessTracker) -> bool {
        let Some((program, arguments)) = wanted.command.split_first() else { return false };
        if !wants_command(wanted) {
            // The kernel has the last part of the path only, and cuts it.
            let name = program.rsplit('/').next().unwrap_or(program);
            let cut = name.as_bytes().get(..COMM).unwrap_or(name.as_bytes());
            return self.name.as_bytes() == cut;
        }
        let Some((own, given)) = self.command.split_first() else { return false };
        own == program
            && match wanted.arguments {
                ArgumentMatch::Any => true,
                ArgumentMatch::Exact => given == arguments,
                ArgumentMatch::NoArguments => given.is_empty(),
                ArgumentMatch::Partial => given.starts_with(arguments),
                ArgumentMatch::Initial => begins(given, arguments),
            }
    }
}

/// keepalived.conf(5), `param_match initial`: the last may be longer.
fn begins(given: &[String], wanted: &[String]) -> bool {
    let Some((last, before)) = wanted.split_last() else { return true };
    given.starts_with(before) && given.get(before.len()).is_some_and(|argument| argument.starts_with(last.as_str()))
}

/// `/proc/PID/stat`: `PID (NAME) STATE ...`, with anything in the name (proc(5)).
fn name_and_state(stat: &str) -> Option<(String, bool)> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let state = after.trim_start().chars().next()?;
    Some((name.to_owned(), matches!(state, 'Z' | 'X' | 'x')))
}

/// `/proc/PID/cmdline`: each word ends with a zero.
fn words(command: &[u8]) -> Vec<String> {
    let whole = command.strip_suffix(&[0]).unwrap_or(command);
    if whole.is_empty() {
        return Vec::new();
    }
    whole.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

#[cfg(test)]
mod tests;
