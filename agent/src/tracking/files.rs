//! Tracked files for who is not the core: what they say comes through a channel of its own.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use keepone_config::model::FileTracker;
use keepone_proto::event::Event;
use keepone_proto::id::WatchId;
use keepone_proto::watch::Reading;
use tokio::sync::mpsc;

use super::file;
use super::teller::{Mute, Teller};

/// What may wait to be read.
const QUEUE: usize = 64;

/// Files that are watched, each under a number of the caller's.
#[derive(Debug)]
pub(crate) struct Files {
    files: Vec<(usize, FileTracker)>,
    mutes: Vec<Mute>,
    events: mpsc::Receiver<Event>,
    /// Of the thread that watches now.
    sender: mpsc::Sender<Event>,
}

impl Files {
    /// Starts a thread for them, if there are any.
    pub(crate) fn start(files: &[(usize, FileTracker)]) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        let mut started = Files { files: files.to_vec(), mutes: Vec::new(), events, sender };
        started.watch();
        started
    }

    /// Others, if they are others.
    pub(crate) fn set(&mut self, files: &[(usize, FileTracker)]) -> bool {
        let is_other = self.files != files;
        if is_other {
            self.mutes.iter().for_each(Mute::mute);
            *self = Files::start(files);
        }
        is_other
    }

    /// What one of them is found to say; it is told again from time to time. For ever nothing where there is none.
    pub(crate) async fn next(&mut self) -> Option<(usize, Reading)> {
        loop {
            if let Event::Watched { watch, reading } = self.events.recv().await? {
                let (number, _) = self.files.get(usize::from(watch.0))?;
                return Some((*number, reading));
            }
        }
    }

    fn watch(&mut self) {
        let left = Arc::<AtomicUsize>::default();
        let tellers = (0..).map(WatchId).zip(&self.files).map(|(id, (_, file))| {
            let mute = Mute::of(&left);
            self.mutes.push(mute.clone());
            (file.clone(), Teller::new(id, &file.name, self.sender.clone(), mute))
        });
        let tellers = tellers.collect::<Vec<_>>();
        if !tellers.is_empty() {
            super::start("track files", move || file::serve(tellers));
        }
    }
}
