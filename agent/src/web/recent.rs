//! The last hour of the event log, in memory: each line is read and understood once.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::words::text;
use crate::calendar;
use crate::event_log::Following;

/// How far back.
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// Events that are kept, whatever comes.
const MOST: usize = 2000;
/// Characters of evidence that are kept of one.
const EVIDENCE: usize = 2000;
/// Domains whose former role is kept.
const FORMER: usize = 4096;

/// An event, and when it was, since 1970.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) at: Duration,
    pub(super) said: Value,
}

/// Those of the last hour, and what was before.
#[derive(Debug)]
pub(super) struct Recent {
    log: Following,
    pub(super) events: VecDeque<Event>,
    /// What each domain had become before the first of them.
    pub(super) former: BTreeMap<String, String>,
}

impl Recent {
    /// Of a run directory; nothing is read yet.
    pub(super) fn new(run_dir: &Path) -> Self {
        Recent { log: Following::new(run_dir), events: VecDeque::new(), former: BTreeMap::new() }
    }

    /// Reads what has come, and forgets what is too old.
    pub(super) fn look(&mut self, now: Duration) {
        let mut log = std::mem::take(&mut self.log);
        log.look(|line| self.take(line));
        self.log = log;
        let oldest = now.saturating_sub(HOUR);
        while self.events.front().is_some_and(|event| event.at < oldest) {
            self.forget();
        }
    }

    fn take(&mut self, line: &str) {
        let Ok(mut said) = serde_json::from_str::<Value>(line) else { return };
        let Some(at) = calendar::parse(text(&said, "at"), Duration::ZERO) else { return };
        if let Some(Value::String(evidence)) = said.get_mut("evidence").filter(|words| is_long(words)) {
            *evidence = evidence.chars().take(EVIDENCE).chain(['…']).collect();
        }
        self.events.push_back(Event { at, said });
        if self.events.len() > MOST {
            self.forget();
        }
    }

    fn forget(&mut self) {
        let Some(Event { said, .. }) = self.events.pop_front() else { return };
        let (domain, to) = (text(&said, "domain"), text(&said, "to"));
        if text(&said, "kind") == "transition" && (self.former.len() < FORMER || self.former.contains_key(domain)) {
            self.former.insert(domain.to_owned(), to.to_owned());
        }
    }
}

fn is_long(words: &Value) -> bool {
    words.as_str().is_some_and(|words| words.len() > EVIDENCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::files;
    use std::fs;

    fn line(second: u64, to: &str) -> String {
        let at = calendar::format(Duration::from_secs(second));
        format!("{{\"kind\":\"transition\",\"at\":\"{at}\",\"domain\":\"A\",\"to\":\"{to}\"}}\n")
    }

    fn seen(recent: &Recent) -> Vec<(u64, String)> {
        let event = |event: &Event| (event.at.as_secs(), event.said["to"].as_str().unwrap_or_default().to_owned());
        recent.events.iter().map(event).collect()
    }

    #[test]
    fn the_last_hour_is_kept_over_a_change_of_files_and_what_was_before_it_is_known() {
        let room = tempfile::tempdir().unwrap();
        let (former, current) = files(room.path());
        fs::write(&former, line(1000, "BACKUP")).unwrap();
        fs::write(&current, line(2000, "MASTER") + "not json\n" + &line(9000, "BACKUP") + "{\"half").unwrap();
        let mut recent = Recent::new(room.path());
        recent.look(Duration::from_secs(9001));
        assert_eq!(seen(&recent), [(9000, "BACKUP".to_owned())]);
        assert_eq!(recent.former.get("A").map(String::as_str), Some("MASTER"));
        // The log is full, and another one is begun.
        fs::rename(&current, &former).unwrap();
        fs::write(&current, line(9002, "MASTER")).unwrap();
        recent.look(Duration::from_secs(9003));
        assert_eq!(seen(&recent), [(9000, "BACKUP".to_owned()), (9002, "MASTER".to_owned())]);
        let mut more = fs::OpenOptions::new().append(true).open(&current).unwrap();
        std::io::Write::write_all(&mut more, line(9004, "FAULT").as_bytes()).unwrap();
        recent.look(Duration::from_secs(9005));
        assert_eq!(seen(&recent).len(), 3);
    }

    #[test]
    fn a_flood_of_events_has_a_bound() {
        let room = tempfile::tempdir().unwrap();
        let long = "x".repeat(10_000);
        let event = |n: u64| {
            let at = calendar::format(Duration::from_secs(n));
            format!("{{\"kind\":\"alert\",\"at\":\"{at}\",\"evidence\":\"{}\"}}\n", if n == 2100 { &long } else { "" })
        };
        fs::write(files(room.path()).1, (0..2101).map(event).collect::<String>()).unwrap();
        let mut recent = Recent::new(room.path());
        recent.look(Duration::from_secs(2101));
        assert_eq!(recent.events.len(), MOST);
        let last = recent.events.back().unwrap().said["evidence"].as_str().unwrap().chars().count();
        assert_eq!(last, EVIDENCE + 1);
    }
}
