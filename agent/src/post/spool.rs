//! What waits for one who is told, on disk: a file for each, in a directory of its own.
//!
//! What must stay true: what is in a file leaves it only when its receiver has taken it, or when [`MOST`] others wait:
//! then the oldest that could wait is dropped, and counted; the count goes with the next mail. A file is whole or not
//! there. A disk that takes nothing costs what outlives the agent, and nothing else.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use keepone_proto::event::Event;
use keepone_proto::time::Instant;
use tokio::sync::mpsc;

use super::news::News;
use super::pace::{Next, Pace, Waiting};
use super::settings::Job;
use crate::clock;

/// What may wait for one who is told.
const MOST: usize = 1024;
/// Where it is written how many were dropped and not yet told of.
const DROPPED: &str = "dropped";

/// What one attempt carries.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// By their numbers, in order.
    pub(super) news: Vec<(u64, Arc<News>)>,
    /// So many before them were dropped.
    pub(super) dropped: u64,
}

pub(super) struct Spool {
    directory: PathBuf,
    who: String,
    events: mpsc::Sender<Event>,
    state: Mutex<State>,
    changed: Condvar,
    next: AtomicU64,
    /// [`MOST`].
    most: usize,
    /// The log knows that nothing outlives the agent.
    is_told: AtomicBool,
}

struct State {
    waiting: VecDeque<Entry>,
    pace: Pace,
    dropped: u64,
    /// The core has been told that some were dropped.
    is_behind: bool,
    job: Option<Job>,
    /// The agent ends: one more attempt.
    ends: bool,
}

#[derive(Clone)]
struct Entry {
    number: u64,
    came: Instant,
    news: Arc<News>,
    /// It is being carried.
    is_under_way: bool,
}

impl Spool {
    /// With what a former life has left there.
    pub(super) fn open(directory: PathBuf, who: String, events: mpsc::Sender<Event>) -> Self {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        let found = made.and_then(|()| read(&directory));
        let (waiting, is_told) = match found {
            Ok(waiting) => (waiting, false),
            Err(error) => {
                let path = directory.display();
                tracing::error!(
                    "{who}: what waits is not kept over a restart: {path}: {error}; make the directory writable"
                );
                (VecDeque::new(), true)
            }
        };
        if !waiting.is_empty() {
            tracing::info!("{who}: {} of a former run wait to be told", waiting.len());
        }
        let next = waiting.back().map_or(1, |last| last.number.saturating_add(1));
        let dropped = fs::read_to_string(directory.join(DROPPED)).ok().and_then(|text| text.trim().parse().ok());
        let state = State {
            waiting,
            pace: Pace::new(),
            dropped: dropped.unwrap_or(0),
            is_behind: false,
            job: None,
            ends: false,
        };
        Spool {
            directory,
            who,
            events,
            state: Mutex::new(state),
            changed: Condvar::new(),
            next: AtomicU64::new(next),
            most: MOST,
            is_told: AtomicBool::new(is_told),
        }
    }

    /// For the log.
    pub(super) fn who(&self) -> &str {
        &self.who
    }

    /// Who is told from now on; `None`: nobody, and the courier goes.
    pub(super) fn assign(&self, job: Option<Job>) {
        let mut state = self.state();
        state.pace.folds = matches!(job, Some(Job::Mail { .. }));
        state.job = job;
        self.changed.notify_all();
    }

    /// The agent ends.
    pub(super) fn end(&self) {
        self.state().ends = true;
        self.changed.notify_all();
    }

    /// One more: first on disk, then in the courier's sight.
    pub(super) fn put(&self, news: &Arc<News>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let written = serde_json::to_vec(news.as_ref()).map_err(io::Error::other);
        self.say(written.and_then(|octets| write(&self.directory, &name(number), &octets)));
        let mut state = self.state();
        let mut dropped = None;
        if state.waiting.len() >= self.most {
            let could_wait = |entry: &Entry| !entry.is_under_way && !entry.news.is_first();
            let place = state.waiting.iter().position(could_wait).unwrap_or(0);
            dropped = state.waiting.remove(place);
        }
        state.waiting.push_back(Entry { number, came: clock::now(), news: news.clone(), is_under_way: false });
        drop(state);
        if let Some(entry) = dropped {
            let _ = fs::remove_file(self.directory.join(name(entry.number)));
            self.lose(1);
        }
        self.changed.notify_all();
    }

    /// So many were lost, here or before they came here.
    pub(super) fn lose(&self, count: u64) {
        let mut state = self.state();
        state.dropped = state.dropped.saturating_add(count);
        state.is_behind = true;
        let dropped = state.dropped;
        drop(state);
        self.say(write(&self.directory, DROPPED, dropped.to_string().as_bytes()));
        self.tell(Some(dropped));
    }

    /// Waits for room: a word that is lost would leave an alert that stands, or one that is missing, for good. The
    /// decision loop always reads on, and never waits for the threads that are here.
    fn tell(&self, missed: Option<u64>) {
        let _ = self.events.blocking_send(Event::ListenerBehind { who: self.who.clone(), missed });
    }

    /// Waits for what is due; `None`: the courier's work is done.
    pub(super) fn next(&self) -> Option<(Job, Load)> {
        let mut state = self.state();
        loop {
            let job = state.job.clone()?;
            let now = clock::now();
            let waiting: Vec<Waiting> = state.waiting.iter().map(|entry| (entry.came, entry.news.is_first())).collect();
            match state.pace.next(now, &waiting, state.ends) {
                Next::Carry(places) => {
                    let mut news = Vec::new();
                    for place in places {
                        if let Some(entry) = state.waiting.get_mut(place) {
                            entry.is_under_way = true;
                            news.push((entry.number, entry.news.clone()));
                        }
                    }
                    return Some((job, Load { news, dropped: state.dropped }));
                }
                Next::Wait(None) if state.ends => return None,
                Next::Wait(None) => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Next::Wait(Some(until)) => {
                    let waited = self.changed.wait_timeout(state, until.since(now));
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// It is taken.
    pub(super) fn done(&self, load: &Load) {
        // The files first: what dies in between is told of once more, and not twice more.
        for (number, _) in &load.news {
            let _ = fs::remove_file(self.directory.join(name(*number)));
        }
        let mut state = self.state();
        let is_carried = |entry: &Entry| load.news.iter().any(|(number, _)| *number == entry.number);
        state.waiting.retain(|entry| !is_carried(entry));
        let first = load.news.iter().all(|(_, news)| news.is_first());
        state.pace.taken(clock::now(), first);
        state.dropped = state.dropped.saturating_sub(load.dropped);
        let is_over = state.is_behind && state.waiting.len() < self.most / 2;
        state.is_behind &= !is_over;
        let dropped = state.dropped;
        drop(state);
        if load.dropped > 0 {
            self.say(match dropped {
                0 => fs::remove_file(self.directory.join(DROPPED)),
                _ => write(&self.directory, DROPPED, dropped.to_string().as_bytes()),
            });
        }
        if is_over {
            self.tell(None);
        }
    }

    /// It is not; the same, or more, is tried again. At the end there is no other time.
    pub(super) fn failed(&self, load: &Load) {
        let mut state = self.state();
        for entry in &mut state.waiting {
            entry.is_under_way &= !load.news.iter().any(|(number, _)| *number == entry.number);
        }
        state.pace.failed(clock::now());
        if state.ends {
            state.job = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, written: io::Result<()>) {
        let failed = written.as_ref().is_err();
        let was_told = self.is_told.swap(failed, Ordering::Relaxed);
        if let Some(error) = written.err().filter(|_| !was_told) {
            let path = self.directory.display();
            tracing::error!(
                "{}: what waits is not kept over a restart: {path}: {error}; make room on its disk",
                self.who
            );
        }
    }
}

/// So that the order of names is that of numbers.
fn name(number: u64) -> String {
    format!("{number:020}.json")
}

fn read(directory: &Path) -> io::Result<VecDeque<Entry>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")?.parse::<u64>().ok());
        let Some(number) = number else { continue };
        match fs::read(&path)
            .map_err(|error| error.to_string())
            .and_then(|octets| serde_json::from_slice::<News>(&octets).map_err(|error| error.to_string()))
        {
            Ok(news) => found.push(Entry { number, came: clock::now(), news: Arc::new(news), is_under_way: false }),
            // Of another version, or of a disk that has lost it: to keep it would help nobody.
            Err(error) => {
                tracing::warn!("{} can't be read, and is not told: {error}", path.display());
                let _ = fs::remove_file(&path);
            }
        }
    }
    found.sort_by_key(|entry| entry.number);
    Ok(found.into())
}

/// Beside, then renamed.
fn write(directory: &Path, name: &str, octets: &[u8]) -> io::Result<()> {
    let beside = directory.join("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(octets)?;
    file.sync_data()?;
    fs::rename(&beside, directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::super::news::{Server, VERSION, What};
    use super::*;
    use keepone_config::model::{EventKind, Webhook};
    use std::time::Duration;

    fn news(n: usize) -> Arc<News> {
        let server =
            Server { service: "s".into(), server: None, state: "UP".into(), evidence: String::new(), mail: true };
        Arc::new(News {
            version: VERSION,
            id: format!("1-{n}"),
            time: String::new(),
            node: "n1".into(),
            what: What::Server(server),
        })
    }

    fn open(room: &Path) -> (Spool, mpsc::Receiver<Event>) {
        let (events, told) = mpsc::channel(4096);
        let spool = Spool::open(room.join("w"), "webhook w".into(), events);
        spool.assign(Some(Job::Webhook(Webhook {
            name: "w".into(),
            url: "http://192.0.2.1/".into(),
            secret_file: None,
            timeout: Duration::from_secs(5),
            ca_file: None,
            events: vec![EventKind::Server],
        })));
        (spool, told)
    }

    fn next(spool: &Spool) -> Load {
        spool.next().unwrap().1
    }

    fn ids(load: &Load) -> Vec<&str> {
        load.news.iter().map(|(_, news)| news.id.as_str()).collect()
    }

    #[test]
    fn what_was_not_taken_is_there_in_the_next_life_in_its_order_and_what_was_taken_is_not() {
        let room = tempfile::tempdir().unwrap();
        let (spool, _told) = open(room.path());
        (1..=12).for_each(|n| spool.put(&news(n)));
        let first = next(&spool);
        assert_eq!(ids(&first), ["1-1"]);
        spool.done(&first);
        let second = next(&spool);
        assert_eq!(ids(&second), ["1-2"], "and on its way the life ends");
        drop(spool);
        // Half a file of a disk that was full.
        fs::write(room.path().join("w").join(name(5)), "{\"ver").unwrap();
        let (spool, _told) = open(room.path());
        spool.put(&news(13));
        let mut seen = Vec::new();
        for _ in 0..11 {
            let load = next(&spool);
            seen.extend(ids(&load).into_iter().map(str::to_owned));
            spool.done(&load);
        }
        let wanted: Vec<String> = (2..=13).filter(|n| *n != 5).map(|n| format!("1-{n}")).collect();
        assert_eq!(seen, wanted);
        assert_eq!(fs::read_dir(room.path().join("w")).unwrap().count(), 0);
    }

    #[test]
    fn of_too_many_the_oldest_are_dropped_counted_and_told_once() {
        let room = tempfile::tempdir().unwrap();
        let (mut spool, mut told) = open(room.path());
        spool.most = 10;
        (0..13).for_each(|n| spool.put(&news(n)));
        assert_eq!(fs::read_dir(room.path().join("w")).unwrap().count(), 11);
        drop(spool);
        let (spool, _) = open(room.path());
        let load = next(&spool);
        assert_eq!((ids(&load), load.dropped), (vec!["1-3"], 3));
        spool.done(&load);
        assert_eq!(next(&spool).dropped, 0);
        let missed: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
        assert!(matches!(missed.last(), Some(Event::ListenerBehind { missed: Some(3), .. })), "{missed:?}");
    }

    #[test]
    fn a_failed_attempt_keeps_it_and_the_end_allows_one_more() {
        let room = tempfile::tempdir().unwrap();
        let (spool, _told) = open(room.path());
        spool.put(&news(1));
        let load = next(&spool);
        spool.failed(&load);
        spool.end();
        let again = next(&spool);
        assert_eq!(ids(&again), ids(&load));
        spool.failed(&again);
        assert!(spool.next().is_none());
        assert_eq!(fs::read_dir(room.path().join("w")).unwrap().count(), 1);
    }

    #[test]
    fn a_disk_that_takes_nothing_keeps_nobody_from_being_told() {
        let room = tempfile::tempdir().unwrap();
        fs::write(room.path().join("w"), "no directory").unwrap();
        let (spool, _told) = open(room.path());
        spool.put(&news(1));
        assert_eq!(ids(&next(&spool)), ["1-1"]);
    }
}
