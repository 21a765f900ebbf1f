//! What the agent knows of itself, written on a signal: `keepone.data`, `keepone.json` and `keepone.stats` in the run
//! directory, with `keepalived.data`, `keepalived_check.data`, `keepalived.json` and `keepalived.stats` beside them, as
//! keepalived writes them.
//!
//! Written by a thread of its own behind a short queue (R15), whole or not at all, for nobody but their owner. Never in
//! /tmp, where anybody could have laid a file or a link of that name before.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::checkers::desk::Desk;
use crate::control::snapshot::Snapshot;

/// Dumps that may wait for the disk; more than one of a kind would be the same.
const QUEUE: usize = 2;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// `keepone.data`, `keepone.json`, `keepalived.data` and `keepalived.json`; with virtual servers
    /// `keepalived_check.data`, too.
    Data,
    /// `keepone.stats` and `keepalived.stats`.
    Stats,
}

/// keepalived's signal for JSON: SIGRTMIN+2.
pub fn json_signal() -> i32 {
    libc::SIGRTMIN() + 2
}

/// keepalived's signal for statistics that are cleared after: SIGRTMAX-1.
pub fn stats_clear_signal() -> i32 {
    libc::SIGRTMAX() - 1
}

/// What a signal asks for.
pub(crate) fn asked_by(signal: i32) -> Option<What> {
    match signal {
        libc::SIGUSR1 => Some(What::Data),
        libc::SIGUSR2 => Some(What::Stats),
        signal if signal == json_signal() => Some(What::Data),
        signal if signal == stats_clear_signal() => Some(What::Stats),
        _ => None,
    }
}

/// Listens for the signals, from the guardian or from the operator; by the other end others ask for the same.
///
/// # Errors
/// No handler can be had.
pub(crate) fn on_signals() -> io::Result<(mpsc::Sender<What>, mpsc::Receiver<What>)> {
    let (asks, asked) = mpsc::channel(QUEUE);
    for number in [libc::SIGUSR1, libc::SIGUSR2, json_signal(), stats_clear_signal()] {
        let mut signals = signal(SignalKind::from_raw(number))?;
        let (asks, what) = (asks.clone(), asked_by(number));
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                // Full: one that is as good waits already.
                let _ = what.map(|what| asks.try_send(what));
            }
        });
    }
    Ok((asks, asked))
}

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct Dumps {
    queue: SyncSender<(What, Box<Snapshot>)>,
}

impl Dumps {
    /// Starts it; it asks the thread of the checks how virtual servers stand.
    ///
    /// # Errors
    /// No thread can be had.
    pub(crate) fn start(run_dir: &Path, servers: Desk) -> io::Result<Self> {
        let (queue, asked) = sync_channel::<(What, Box<Snapshot>)>(QUEUE);
        let run_dir = run_dir.to_owned();
        thread::Builder::new().name("dumps".into()).spawn(move || {
            for (name, text) in asked.iter().flat_map(|(what, snapshot)| files(what, &snapshot, &servers)) {
                let path = run_dir.join(name);
                let Some(text) = text else {
                    // That of an earlier signal would be taken for how things stand; mostly there is none.
                    let _ = fs::remove_file(&path);
                    continue;
                };
                match write(&path, &text) {
                    Ok(()) => tracing::info!(file = %path.display(), "written"),
                    Err(error) => tracing::error!(%error, file = %path.display(), "it can't be written: make room in run_dir, or mend its rights"),
                }
            }
        })?;
        Ok(Dumps { queue })
    }

    /// Hands over what is known now.
    pub(crate) fn write(&self, what: What, snapshot: Snapshot) {
        let _ = self.queue.try_send((what, Box::new(snapshot)));
    }
}

/// Names and contents; without any, there is to be no such file.
fn files(what: What, snapshot: &Snapshot, servers: &Desk) -> Vec<(&'static str, Option<String>)> {
    match what {
        What::Data => {
            let dump = snapshot.dump();
            let json = format!("{dump:#}\n");
            // Where that thread does not answer, nothing is said of servers.
            let checked = servers.standing().ok().and_then(|services| snapshot.keepalived_check_data(&services));
            vec![
                ("keepone.data", Some(text(&dump, 0))),
                ("keepone.json", Some(json)),
                ("keepalived.data", Some(snapshot.keepalived_data())),
                ("keepalived_check.data", checked),
                ("keepalived.json", Some(snapshot.keepalived())),
            ]
        }
        What::Stats => {
            let (counters, theirs) = (text(&snapshot.counters(), 0), snapshot.keepalived_stats());
            vec![("keepone.stats", Some(counters)), ("keepalived.stats", Some(theirs))]
        }
    }
}

/// Beside, then renamed: a reader never sees half of it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let beside: PathBuf = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&beside, path)
}

/// The same for people: one field a line.
fn text(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let mut out = String::new();
    let Value::Object(fields) = value else { return format!("{indent}{}\n", scalar(value)) };
    for (name, value) in fields {
        match value {
            Value::Object(_) => {
                let _ = write!(out, "{indent}{name}:\n{}", text(value, depth + 1));
            }
            Value::Array(elements) if elements.iter().any(Value::is_object) => {
                for element in elements {
                    let _ = write!(out, "{indent}{name}:\n{}", text(element, depth + 1));
                }
            }
            Value::Array(elements) => {
                let all: Vec<String> = elements.iter().map(scalar).collect();
                let _ =
                    writeln!(out, "{indent}{name} = {}", if all.is_empty() { "none".into() } else { all.join(" ") });
            }
            value => {
                let _ = writeln!(out, "{indent}{name} = {}", scalar(value));
            }
        }
    }
    out
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::from("none"),
        other => other.to_string(),
    }
}
