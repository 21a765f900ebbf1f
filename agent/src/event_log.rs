//! The event log, read from its files: the full one, which is kept once, and the one that is written.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Transitions that `keepone why` shows.
const LAST: usize = 10;
/// A line that is longer is none of ours.
const LONGEST: usize = 1 << 20;
/// Octets of a file's end that are read for what was of late: a log may have 16 MiB.
const TAIL: u64 = 4 << 20;

/// The former file, and the one that is written.
pub fn files(run_dir: &Path) -> (PathBuf, PathBuf) {
    (run_dir.join("events.jsonl.1"), run_dir.join("events.jsonl"))
}

/// One file of it.
#[derive(Debug)]
pub struct Log {
    lines: BufReader<File>,
    inode: u64,
    /// A line that has not come to its end.
    part: Vec<u8>,
}

impl Log {
    /// From its beginning.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let inode = file.metadata()?.ino();
        Ok(Log { lines: BufReader::new(file), inode, part: Vec::new() })
    }

    /// Only what came of late.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open_tail(path: &Path) -> io::Result<Self> {
        let mut log = Self::open(path)?;
        let skip = log.lines.get_ref().metadata().map_or(0, |found| found.len().saturating_sub(TAIL));
        if skip > 0 && log.lines.seek(SeekFrom::Start(skip)).is_ok() {
            // The rest of a line.
            let _ = log.next_line();
        }
        Ok(log)
    }

    /// Whether a path still names it, and nobody has made it shorter.
    pub fn is_at(&self, path: &Path) -> bool {
        let read = self.lines.get_ref().stream_position().unwrap_or(0);
        std::fs::metadata(path).is_ok_and(|found| found.ino() == self.inode && found.len() >= read)
    }

    /// The next whole line; none for now.
    ///
    /// # Errors
    /// It can't be read.
    pub fn next_line(&mut self) -> io::Result<Option<String>> {
        let room = (LONGEST - self.part.len().min(LONGEST)) as u64;
        (&mut self.lines).take(room).read_until(b'\n', &mut self.part)?;
        if self.part.last() != Some(&b'\n') && self.part.len() < LONGEST {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&self.part).trim_end().to_owned();
        self.part.clear();
        Ok(Some(line))
    }
}

/// What is of late in the log, and what comes, whatever file is written by then.
#[derive(Debug, Default)]
pub struct Following {
    files: (PathBuf, PathBuf),
    log: Option<Log>,
}

impl Following {
    /// The log of a run directory; nothing is read yet.
    pub fn new(run_dir: &Path) -> Self {
        Following { files: files(run_dir), log: None }
    }

    /// Every line since the last look. A log that is not there, or can't be read, has none.
    pub fn look(&mut self, mut take: impl FnMut(&str)) {
        let mut rest = |log: &mut Log| {
            while let Ok(Some(line)) = log.next_line() {
                take(&line);
            }
        };
        if self.log.is_none() {
            if let Ok(mut former) = Log::open_tail(&self.files.0) {
                rest(&mut former);
            }
            self.log = Log::open_tail(&self.files.1).ok();
        }
        let Some(mut log) = self.log.take() else { return };
        rest(&mut log);
        if log.is_at(&self.files.1) {
            self.log = Some(log);
            return;
        }
        // Another one is written by now.
        rest(&mut log);
        if let Ok(mut log) = Log::open(&self.files.1) {
            rest(&mut log);
            self.log = Some(log);
        }
    }
}

/// Whether a field is that text.
fn is(event: &Value, name: &str, text: &str) -> bool {
    event.get(name).and_then(Value::as_str) == Some(text)
}

/// The last transitions of a domain, the oldest first; without any, where there is nothing to read.
pub fn last_transitions(run_dir: &Path, domain: &str) -> Vec<Value> {
    let mut last = VecDeque::new();
    let (former, current) = files(run_dir);
    for path in [former, current] {
        let Ok(mut log) = Log::open_tail(&path) else { continue };
        while let Ok(Some(line)) = log.next_line() {
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            if is(&event, "kind", "transition") && is(&event, "domain", domain) {
                if last.len() == LAST {
                    last.pop_front();
                }
                last.push_back(event);
            }
        }
    }
    last.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_line_that_is_being_written_comes_whole_later_and_a_full_log_is_left_for_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let (former, current) = files(dir.path());
        std::fs::write(&current, "one\ntw").unwrap();
        let mut log = Log::open(&current).unwrap();
        assert_eq!(log.next_line().unwrap().as_deref(), Some("one"));
        assert_eq!(log.next_line().unwrap(), None);
        File::options().append(true).open(&current).unwrap().write_all(b"o\n").unwrap();
        assert_eq!(log.next_line().unwrap().as_deref(), Some("two"));
        assert!(log.is_at(&current));
        std::fs::rename(&current, &former).unwrap();
        std::fs::write(&current, "three\n").unwrap();
        assert!(!log.is_at(&current));
    }

    #[test]
    fn the_last_ten_transitions_of_a_domain_come_from_both_files() {
        let dir = tempfile::tempdir().unwrap();
        let (former, current) = files(dir.path());
        let line = |domain: &str, number: usize| {
            format!("{{\"kind\":\"transition\",\"domain\":\"{domain}\",\"number\":{number}}}\n")
        };
        let text = |numbers: std::ops::Range<usize>| numbers.map(|n| line("a", n) + &line("b", n)).collect::<String>();
        std::fs::write(former, text(0..7)).unwrap();
        std::fs::write(current, text(7..12) + "{\"kind\":\"transition\",\"dom").unwrap();
        let last = last_transitions(dir.path(), "a");
        let numbers: Vec<u64> = last.iter().filter_map(|event| event["number"].as_u64()).collect();
        assert_eq!(numbers, (2..12).collect::<Vec<_>>());
    }
}
