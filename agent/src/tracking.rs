//! What instances track beside interfaces. Each script has a thread of its own, which runs it when the core asks and
//! tells how it ended; files, processes and BFD sessions are watched by one thread for each kind, which tells by itself.
//!
//! What must stay true: the decision loop never waits (R15); every request has an answer, and whatever can't be run,
//! asked or waited for has failed.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keepone_config::model::{self, Script};
use keepone_proto::event::Event;
use keepone_proto::id::{ScriptId, WatchId};
use tokio::sync::mpsc;

use crate::script::{Run, User};

mod bfd;
mod connector;
pub(crate) mod file;
pub(crate) mod files;
mod process;
pub(crate) mod teller;

use teller::{Mute, Teller};

/// The core asks for a run once the last has ended, or is not waited for any more.
const QUEUE: usize = 4;

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tracked {
    /// The operator's name for it.
    pub(crate) name: String,
    pub(crate) script: Script,
    /// When it is killed.
    pub(crate) timeout: Duration,
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Watched {
    /// `track_file`.
    File(model::FileTracker),
    /// `vrrp_track_process`.
    Process(model::ProcessTracker),
    /// `bfd_instance`.
    Bfd(model::BfdInstance),
    /// `track_group`, of which the netlink thread tells.
    TrackGroup(String),
    /// `track_virtual_server`, by its word, of which the thread of health checks tells.
    VirtualServer(String),
}

/// The threads that watch.
#[derive(Debug)]
pub(crate) struct Watching {
    /// In the order of their [`WatchId`]s.
    mutes: Vec<Mute>,
    sessions: Option<Sessions>,
    events: mpsc::Sender<Event>,
}

/// The thread of BFD sessions, and the way to it: it ends when that is closed.
#[derive(Debug)]
struct Sessions {
    thread: Option<JoinHandle<()>>,
    lists: std::sync::mpsc::Sender<bfd::Wanted>,
    wake: UnixStream,
    wanted: bfd::Wanted,
}

impl Watching {
    /// Starts them. In the order of their [`WatchId`]s; one that can't be started is missed by the core.
    pub(crate) fn start(all: &[Watched], events: &mpsc::Sender<Event>) -> Self {
        let mut watching = Watching { mutes: Vec::new(), sessions: None, events: events.clone() };
        watching.watch(all);
        watching.set_sessions(all, |_| true);
        watching
    }

    /// The neighbours of BFD sessions are told that these end. It waits for some milliseconds.
    pub(crate) fn stop(self) {
        let Some(Sessions { thread, wake, .. }) = self.sessions else { return };
        drop(wake);
        // One that has panicked says nothing more.
        let _ = thread.map(JoinHandle::join);
    }

    /// What is new at the end of the list is watched as well, and what is not tracked any more says nothing.
    pub(crate) fn set(&mut self, all: &[Watched], tracked: &BTreeSet<WatchId>) {
        self.watch(all);
        for (id, mute) in (0..).map(WatchId).zip(&self.mutes) {
            if !tracked.contains(&id) {
                mute.mute();
            }
        }
        self.set_sessions(all, |id| tracked.contains(&id));
    }

    /// The BFD sessions of the list that are wanted; those that were there go on.
    fn set_sessions(&mut self, all: &[Watched], is_wanted: impl Fn(WatchId) -> bool) {
        let session = |(id, watched): (WatchId, &Watched)| match watched {
            Watched::Bfd(session) if is_wanted(id) => Some((id, session.clone())),
            _ => None,
        };
        let wanted: bfd::Wanted = (0..).map(WatchId).zip(all).filter_map(session).collect();
        match &mut self.sessions {
            Some(sessions) => sessions.set(wanted),
            None if wanted.is_empty() => {}
            None => {
                let started = Sessions::start(wanted, &self.events);
                let failed = |error: &std::io::Error| {
                    tracing::error!(%error, "BFD sessions can't be served, and fail so: raise the limit of files");
                };
                self.sessions = started.inspect_err(failed).ok();
            }
        }
    }
}

impl Sessions {
    fn start(wanted: bfd::Wanted, events: &mpsc::Sender<Event>) -> std::io::Result<Self> {
        let (wake, theirs) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let (lists, received) = std::sync::mpsc::channel();
        let (first, events) = (wanted.clone(), events.clone());
        let orders = bfd::Orders { lists: received, wake: theirs };
        let thread = start("track bfd", move || bfd::serve(first, &orders, events));
        Ok(Sessions { thread, lists, wake, wanted })
    }

    fn set(&mut self, wanted: bfd::Wanted) {
        if wanted == self.wanted {
            return;
        }
        self.wanted.clone_from(&wanted);
        // Where no octet finds room, some wait that have not been read.
        let _ = self.lists.send(wanted).map(|()| (&self.wake).write(&[0]));
    }
}

impl Watching {
    /// What is in the list beyond those that are watched.
    fn watch(&mut self, all: &[Watched]) {
        let from = self.mutes.len();
        let (mut files, mut processes) = (Vec::new(), Vec::new());
        let left: [Arc<AtomicUsize>; 3] = Default::default();
        let [of_files, of_processes, of_others] = &left;
        for (id, watched) in (0..).map(WatchId).zip(all).skip(from) {
            let mute = Mute::of(match watched {
                Watched::File(_) => of_files,
                Watched::Process(_) => of_processes,
                // Threads that are there for more tell of them.
                Watched::Bfd(_) | Watched::TrackGroup(_) | Watched::VirtualServer(_) => of_others,
            });
            self.mutes.push(mute.clone());
            let teller = |name: &str| Teller::new(id, name, self.events.clone(), mute);
            match watched {
                Watched::File(file) => files.push((file.clone(), teller(&file.name))),
                Watched::Process(process) => processes.push((process.clone(), teller(&process.name))),
                Watched::Bfd(_) | Watched::TrackGroup(_) | Watched::VirtualServer(_) => {}
            }
        }
        if !files.is_empty() {
            start("track files", move || file::serve(files));
        }
        if !processes.is_empty() {
            start("track processes", move || process::serve(processes));
        }
    }
}

/// `init_file … overwrite`: once in the life of the program. What could not be written, with the remedy.
pub(crate) fn overwrite_files(all: &[Watched]) -> Vec<String> {
    let files = all.iter().filter_map(|watched| match watched {
        Watched::File(file) => Some(file),
        Watched::Process(_) | Watched::Bfd(_) | Watched::TrackGroup(_) | Watched::VirtualServer(_) => None,
    });
    files.filter_map(|file| file::begin(file, true).err()).collect()
}

fn start(name: &str, serve: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(serve);
    let failed = |error: &std::io::Error| {
        tracing::error!(%error, "no thread to {name}, which fails so: raise the limit of tasks, then restart keepone");
    };
    started.inspect_err(failed).ok()
}

/// The way to the scripts.
#[derive(Debug)]
pub(crate) struct Tracking {
    /// In the order of their ids; `None`: there is no thread.
    queues: Vec<Option<SyncSender<u64>>>,
    otherwise: User,
    events: mpsc::Sender<Event>,
}

impl Tracking {
    /// Starts the threads. Scripts in the order of their [`ScriptId`]s; `otherwise` runs those that name nobody.
    pub(crate) fn start(scripts: &[Tracked], otherwise: &User, events: &mpsc::Sender<Event>) -> Self {
        let mut tracking = Tracking { queues: Vec::new(), otherwise: otherwise.clone(), events: events.clone() };
        tracking.extend(scripts);
        tracking
    }

    /// What is new at the end of the list has a thread as well, and what is not tracked any more has none.
    pub(crate) fn set(&mut self, scripts: &[Tracked], tracked: &BTreeSet<ScriptId>) {
        self.extend(scripts);
        for (id, queue) in (0..).map(ScriptId).zip(&mut self.queues) {
            if !tracked.contains(&id) {
                *queue = None;
            }
        }
    }

    fn extend(&mut self, scripts: &[Tracked]) {
        let start = |(id, tracked): (u16, &Tracked)| {
            let (queue, runs) = sync_channel(QUEUE);
            let (tracked, otherwise, events) = (tracked.clone(), self.otherwise.clone(), self.events.clone());
            let name = format!("track {}", tracked.name);
            let serve = move || serve(ScriptId(id), &tracked, &otherwise, &runs, &events);
            let started = thread::Builder::new().name(name).spawn(serve);
            started.inspect_err(|error| tracing::error!(%error, "no thread for a tracked script, which fails so: raise the limit of tasks, then restart keepone")).ok().map(|_| queue)
        };
        let new: Vec<_> = (0..).zip(scripts).skip(self.queues.len()).map(start).collect();
        self.queues.extend(new);
    }

    /// Asks for a run, without waiting; [`Event::ScriptEnded`] follows.
    pub(crate) fn run(&self, script: ScriptId, run: u64) {
        let queue = self.queues.get(usize::from(script.0)).and_then(Option::as_ref);
        if queue.is_none_or(|queue| queue.try_send(run).is_err()) {
            let fault = Some("its thread hangs or is gone: restart keepone".to_owned());
            let _ = self.events.try_send(Event::ScriptEnded { script, run, fault });
        }
    }
}

fn serve(id: ScriptId, tracked: &Tracked, otherwise: &User, runs: &Receiver<u64>, events: &mpsc::Sender<Event>) {
    let mut failed = None;
    while let Ok(run) = runs.recv() {
        let (script, timeout) = (&tracked.script, tracked.timeout);
        let ended = Run { script, otherwise, arguments: &[], variables: &[], timeout, is_heard: true }.wait();
        let fault = ended.err().map(|failure| failure.to_string());
        if fault != failed {
            match &fault {
                Some(fault) => tracing::warn!(script = tracked.name, "a tracked script fails: {fault}"),
                None => tracing::info!(script = tracked.name, "a tracked script passes again"),
            }
            failed.clone_from(&fault);
        }
        if events.blocking_send(Event::ScriptEnded { script: id, run, fault }).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracked(words: &str, timeout: u64) -> Tracked {
        let command = ["/bin/sh", "-c", words].map(str::to_owned).to_vec();
        let script = Script { command, user: None, group: None };
        Tracked { name: "chk".to_owned(), script, timeout: Duration::from_millis(timeout) }
    }

    #[test]
    fn each_run_is_answered_once_with_its_number_and_how_it_ended() {
        let (events, mut ended) = mpsc::channel(16);
        let scripts = [tracked("exit 0", 20_000), tracked("echo no route; exit 2", 20_000), tracked("sleep 600", 300)];
        let tracking = Tracking::start(&scripts, &None, &events);
        let mut faults = Vec::new();
        for (id, run) in [(0, 7), (1, 8), (2, 9), (3, 1)] {
            tracking.run(ScriptId(id), run);
            let event = ended.blocking_recv().unwrap();
            let Event::ScriptEnded { script, run: told, fault } = event else { panic!("{event:?}") };
            assert_eq!((script, told), (ScriptId(id), run));
            faults.push(fault.unwrap_or_default());
        }
        assert_eq!(
            faults,
            ["", "exit status: 2: no route", "killed after 300ms", "its thread hangs or is gone: restart keepone"]
        );
    }

    #[test]
    fn a_script_that_hangs_keeps_no_other_waiting() {
        let (events, mut ended) = mpsc::channel(16);
        let scripts = [tracked("sleep 5", 600_000), tracked("exit 0", 20_000)];
        let tracking = Tracking::start(&scripts, &None, &events);
        tracking.run(ScriptId(0), 1);
        tracking.run(ScriptId(1), 1);
        let event = ended.blocking_recv().unwrap();
        assert!(matches!(event, Event::ScriptEnded { script: ScriptId(1), fault: None, .. }), "{event:?}");
    }
}
