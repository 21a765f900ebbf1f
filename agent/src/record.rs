//! The event log: each transition and alert as one JSON line in `events.jsonl` of the run directory.
//!
//! Written by a thread of its own behind a bounded queue: a full disk or a slow one costs lines, never time
//! of the decision loop (R15).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use keepone_proto::action::{Alert, Transition};
use serde_json::{Value, json};

use crate::notify::fifo::Fifo;

/// Lines that may wait for the disk.
const QUEUE: usize = 4096;

/// The way to the log.
#[derive(Debug, Clone)]
pub struct Record {
    queue: SyncSender<String>,
    node: String,
    fifo: Option<Fifo>,
}

impl Record {
    /// Opens the log for appending and starts its thread; the same lines go to the FIFO, if there is one.
    ///
    /// # Errors
    /// The file can't be opened.
    pub fn open(run_dir: &Path, node: &str, fifo: Option<Fifo>) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(run_dir.join("events.jsonl"))?;
        let (queue, lines) = sync_channel(QUEUE);
        thread::Builder::new().name("event-log".into()).spawn(move || write_all(file, &lines))?;
        Ok(Record { queue, node: node.to_owned(), fifo })
    }

    /// A change of role.
    pub fn transition(&self, domain: &str, transition: &Transition) {
        self.put(json!({
            "kind": "transition", "node": self.node, "domain": domain, "t_ns": transition.at.as_nanos(),
            "from": transition.from.as_str(), "to": transition.to.as_str(), "reason": transition.reason.as_str(),
            "evidence": transition.evidence, "priority": transition.priority.0,
            "epoch": transition.epoch.map(|epoch| epoch.to_string()),
        }));
    }

    /// An alert began or ended.
    pub fn alert(&self, domain: Option<&str>, alert: &Alert, t_ns: u64) {
        self.put(json!({
            "kind": "alert", "node": self.node, "domain": domain, "t_ns": t_ns, "name": alert.name.as_str(),
            "raised": alert.raised, "severity": alert.name.severity().as_str(), "evidence": alert.evidence,
            "remedy": alert.remedy, "epoch": alert.epoch.map(|epoch| epoch.to_string()),
        }));
    }

    /// Something else worth a line.
    pub fn note(&self, what: &str, t_ns: u64) {
        self.put(json!({ "kind": "note", "node": self.node, "t_ns": t_ns, "what": what }));
    }

    fn put(&self, line: Value) {
        let line = line.to_string();
        if let Some(fifo) = &self.fifo {
            fifo.put(&line);
        }
        // A line that finds no room is lost; the next ones tell how things stand.
        let _ = self.queue.try_send(line);
    }
}

fn write_all(mut file: File, lines: &Receiver<String>) {
    while let Ok(mut line) = lines.recv() {
        line.push('\n');
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::debug!(%error, "cannot write to the event log");
        }
    }
}
