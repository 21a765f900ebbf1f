//! The event log: each transition and alert as one JSON line in `events.jsonl` of the run directory.
//!
//! Written by a thread of its own behind a bounded queue: a full disk or a slow one costs lines, never time
//! of the decision loop (R15). Of a full one and the one before it, which is `events.jsonl.1`, no more is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use keepone_proto::action::{Alert, Transition};
use serde_json::{Value, json};

use crate::notify::fifo::Fifo;
use crate::{calendar, wall_clock};

/// Lines that may wait for the disk.
const QUEUE: usize = 4096;
/// Octets of one file, on what is memory in most cases; of this and the former one no more than twice as much.
const LONGEST: u64 = 16 << 20;

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
        let log = Log::open(run_dir.join("events.jsonl"))?;
        let (queue, lines) = sync_channel(QUEUE);
        thread::Builder::new().name("event-log".into()).spawn(move || log.write_all(&lines))?;
        Ok(Record { queue, node: node.to_owned(), fifo })
    }

    /// A change of role.
    pub fn transition(&self, domain: &str, transition: &Transition) {
        self.put(json!({
            "kind": "transition", "at": stamp(), "node": self.node, "domain": domain, "t_ns": transition.at.as_nanos(),
            "from": transition.from.as_str(), "to": transition.to.as_str(), "reason": transition.reason.as_str(),
            "what": transition.reason.what(), "evidence": transition.evidence, "priority": transition.priority.0,
            "epoch": transition.epoch.map(|epoch| epoch.to_string()),
        }));
    }

    /// An alert began or ended.
    pub fn alert(&self, domain: Option<&str>, alert: &Alert, t_ns: u64) {
        self.put(json!({
            "kind": "alert", "at": stamp(), "node": self.node, "domain": domain, "t_ns": t_ns, "name": alert.name.as_str(),
            "raised": alert.raised, "severity": alert.name.severity().as_str(), "evidence": alert.evidence,
            "remedy": alert.remedy, "epoch": alert.epoch.map(|epoch| epoch.to_string()),
        }));
    }

    /// Something else worth a line.
    pub fn note(&self, what: &str, t_ns: u64) {
        self.put(json!({ "kind": "note", "at": stamp(), "node": self.node, "t_ns": t_ns, "what": what }));
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

/// For people; nothing goes by it.
fn stamp() -> String {
    calendar::format(wall_clock::utc())
}

/// The file, and what is known of it.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    length: u64,
    /// The last line may have come to its file in part.
    torn: bool,
    told: bool,
}

impl Log {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let length = file.metadata()?.len();
        Ok(Log { path, file, length, torn: false, told: false })
    }

    /// The file that is full is kept beside the new one, as `events.jsonl.1`, until that is full, too.
    fn begin_anew(&mut self) -> io::Result<()> {
        let mut former = self.path.clone().into_os_string();
        former.push(".1");
        match fs::rename(&self.path, former) {
            // Somebody has taken it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.length = 0;
        self.torn = false;
        Ok(())
    }

    fn put(&mut self, line: &str) -> io::Result<()> {
        if self.length >= LONGEST {
            self.begin_anew()?;
        }
        let text = format!("{}{line}\n", if self.torn { "\n" } else { "" });
        self.torn = true;
        self.file.write_all(text.as_bytes())?;
        self.torn = false;
        self.length += text.len() as u64;
        Ok(())
    }

    fn write_all(mut self, lines: &Receiver<String>) {
        while let Ok(line) = lines.recv() {
            let written = self.put(&line);
            let was_told = std::mem::replace(&mut self.told, written.is_err());
            if let Some(error) = written.err().filter(|_| !was_told) {
                tracing::warn!(%error, file = %self.path.display(), "events are lost: the event log can't be written; make room in run_dir");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(dir: &Path) -> Log {
        Log::open(dir.join("events.jsonl")).unwrap()
    }

    #[test]
    fn a_full_log_is_kept_once_and_a_new_one_begun() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path());
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        log.put("first").unwrap();
        log.length = LONGEST;
        log.put("second").unwrap();
        log.put("third").unwrap();
        assert_eq!((read("events.jsonl.1"), read("events.jsonl")), ("first\n".into(), "second\nthird\n".into()));
        fs::remove_file(&log.path).unwrap();
        log.length = LONGEST;
        log.put("third").unwrap();
        assert_eq!(read("events.jsonl"), "third\n", "somebody took the full one away");
        // A run that begins with a full one.
        File::options().write(true).open(dir.path().join("events.jsonl")).unwrap().set_len(LONGEST).unwrap();
        let mut log = Log::open(dir.path().join("events.jsonl")).unwrap();
        log.put("fourth").unwrap();
        assert_eq!(read("events.jsonl"), "fourth\n");
        assert_eq!(fs::metadata(dir.path().join("events.jsonl.1")).unwrap().len(), LONGEST);
    }

    #[test]
    fn after_a_line_that_was_written_in_part_the_next_one_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path());
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let whole = std::mem::replace(&mut log.file, full);
        log.put("lost").unwrap_err();
        log.file = whole;
        log.file.write_all(b"lo").unwrap();
        log.put("next").unwrap();
        log.put("and next").unwrap();
        assert_eq!(fs::read_to_string(&log.path).unwrap(), "lo\nnext\nand next\n");
    }
}
