//! The event log, read from its files: the full one, which is kept once, and the one that is written.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use keepone_agent::exit::{ExitCode as Code, Failure};
use keepone_agent::{calendar, wall_clock};
use serde_json::Value;

/// How often what comes is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// Transitions that `keepone why` shows.
const LAST: usize = 10;
/// A line that is longer is none of ours.
const LONGEST: usize = 1 << 20;

/// Which of them.
pub(super) struct Wish {
    pub(super) follow: bool,
    pub(super) since: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) json: bool,
}

/// Prints them.
pub(super) fn run(run_dir: &Path, wish: &Wish) -> Result<u8, Failure> {
    let since = wish.since.as_deref().map(|text| {
        let time = calendar::parse(text, wall_clock::utc()).map(calendar::format);
        time.ok_or_else(|| {
            let words = format!("{text} is no time: write 90s, 10m, 3h, 2d, or 2026-11-26T17:30 in UTC");
            Failure::say(Code::Usage, words)
        })
    });
    let since = since.transpose()?;
    let is_meant = |event: &Value| {
        let late = since.as_deref().is_none_or(|since| event["at"].as_str().is_some_and(|at| at >= since));
        late && wish.domain.as_deref().is_none_or(|domain| event["domain"] == domain)
    };
    // `head` has seen enough: there is nobody to go on for.
    let show = |line: &str| {
        let Ok(event) = serde_json::from_str::<Value>(line) else { return true };
        !is_meant(&event) || say_line(&if wish.json { line.to_owned() } else { words(&event, true) })
    };
    let (former, current) = files(run_dir);
    let unreadable = |path: &Path, error: &io::Error| {
        Failure::say(Code::Directory, format!("{} can't be read: {error}", path.display()))
    };
    // First the one that is written: were it full meanwhile, its lines would be in neither.
    let mut log = match Log::open(&current) {
        Ok(log) => Some(log),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unreadable(&current, &error)),
    };
    match Log::open(&former) {
        Ok(mut log) => {
            while let Some(line) = log.next_line().map_err(|error| unreadable(&former, &error))? {
                if !show(&line) {
                    return Ok(0);
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unreadable(&former, &error)),
    }
    if log.is_none() && !wish.follow {
        let words = format!("no events are on record in {}: name another with --run-dir", run_dir.display());
        return Err(Failure::say(Code::Directory, words));
    }
    loop {
        if let Some(open) = &mut log {
            while let Some(line) = open.next_line().map_err(|error| unreadable(&current, &error))? {
                if !show(&line) {
                    return Ok(0);
                }
            }
        }
        if !wish.follow {
            return Ok(0);
        }
        thread::sleep(LOOK);
        let is_same = log.as_ref().is_some_and(|log| log.is_at(&current));
        if !is_same && let Ok(new) = Log::open(&current) {
            // What came before the change, to the file that has another name now.
            if let Some(open) = &mut log {
                while let Ok(Some(line)) = open.next_line() {
                    if !show(&line) {
                        return Ok(0);
                    }
                }
            }
            log = Some(new);
        }
    }
}

fn say_line(line: &str) -> bool {
    use std::io::Write as _;
    let mut out = io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}

fn files(run_dir: &Path) -> (PathBuf, PathBuf) {
    (run_dir.join("events.jsonl.1"), run_dir.join("events.jsonl"))
}

/// One file of it.
struct Log {
    lines: BufReader<File>,
    inode: u64,
    /// A line that has not come to its end.
    part: Vec<u8>,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let inode = file.metadata()?.ino();
        Ok(Log { lines: BufReader::new(file), inode, part: Vec::new() })
    }

    /// Whether a path still names it, and nobody has made it shorter.
    fn is_at(&self, path: &Path) -> bool {
        let read = self.lines.get_ref().stream_position().unwrap_or(0);
        std::fs::metadata(path).is_ok_and(|found| found.ino() == self.inode && found.len() >= read)
    }

    /// The next whole line; none for now.
    fn next_line(&mut self) -> io::Result<Option<String>> {
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

/// The last transitions of a domain, the oldest first; without any, where there is nothing to read.
pub(super) fn last_transitions(run_dir: &Path, domain: &str) -> Vec<Value> {
    let mut last = VecDeque::new();
    let (former, current) = files(run_dir);
    for path in [former, current] {
        let Ok(mut log) = Log::open(&path) else { continue };
        // The tail is enough, and soon read: a log may have 16 MiB.
        let skip = log.lines.get_ref().metadata().map(|found| found.len().saturating_sub(4 << 20)).unwrap_or(0);
        if skip > 0 && log.lines.seek(SeekFrom::Start(skip)).is_ok() {
            // The rest of a line.
            let _ = log.next_line();
        }
        while let Ok(Some(line)) = log.next_line() {
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            if event["kind"] == "transition" && event["domain"] == domain {
                if last.len() == LAST {
                    last.pop_front();
                }
                last.push_back(event);
            }
        }
    }
    last.into()
}

/// One of them in words; with its evidence, if that is wanted.
pub(super) fn words(event: &Value, with_evidence: bool) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or("-");
    let at = text("at");
    let domain = event["domain"].as_str().unwrap_or("the whole node");
    let epoch = event["epoch"].as_str().map(|epoch| format!(" (epoch {epoch})")).unwrap_or_default();
    let evidence = Some(text("evidence")).filter(|words| with_evidence && !words.is_empty() && *words != "-");
    let evidence = evidence.map(|words| format!("\n    {words}")).unwrap_or_default();
    match text("kind") {
        "transition" => {
            let what = event["what"].as_str().unwrap_or_else(|| text("reason"));
            format!("{at} {} {domain}: {} → {}: {what}{epoch}{evidence}", text("node"), text("from"), text("to"))
        }
        "alert" if event["raised"] == true => {
            let remedy = Some(text("remedy")).filter(|_| with_evidence).map(|words| format!("\n    to do: {words}"));
            let (name, severity) = (text("name"), text("severity"));
            format!(
                "{at} {} {domain}: alert {name} ({severity}){epoch}{evidence}{}",
                text("node"),
                remedy.unwrap_or_default()
            )
        }
        "alert" => format!("{at} {} {domain}: alert {} is over{evidence}", text("node"), text("name")),
        _ => format!("{at} {}: {}", text("node"), text("what")),
    }
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
