//! What a thread that watches tells the core, and the operator.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use keepone_proto::event::Event;
use keepone_proto::id::WatchId;
use keepone_proto::time::Instant;
use keepone_proto::watch::{RETELL, Reading};
use tokio::sync::mpsc;

use crate::clock;

/// The core is gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// The way to the core of one watch: what has not changed is told again in time, and no oftener.
#[derive(Debug)]
pub(crate) struct Teller {
    id: WatchId,
    name: String,
    events: mpsc::Sender<Event>,
    last: Option<(Reading, Instant)>,
    /// Nobody tracks it any more; and how many of those that its thread watches somebody does.
    muted: Mute,
}

/// Keeps a watch from telling.
#[derive(Debug, Clone)]
pub(crate) struct Mute {
    is_muted: Arc<AtomicBool>,
    left: Arc<AtomicUsize>,
}

impl Mute {
    /// Of a thread that watches so many.
    pub(crate) fn of(left: &Arc<AtomicUsize>) -> Self {
        left.fetch_add(1, Ordering::Relaxed);
        Mute { is_muted: Arc::default(), left: Arc::clone(left) }
    }

    /// From now on it says nothing; the thread ends with its last one.
    pub(crate) fn mute(&self) {
        if !self.is_muted.swap(true, Ordering::Relaxed) {
            self.left.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Teller {
    pub(crate) fn new(id: WatchId, name: &str, events: mpsc::Sender<Event>, muted: Mute) -> Self {
        Teller { id, name: name.to_owned(), events, last: None, muted }
    }

    /// `None`: it is to be told. Otherwise nobody wants it, or anything that this thread watches.
    fn is_unwanted(&self) -> Option<Result<(), Gone>> {
        let is_muted = self.muted.is_muted.load(Ordering::Relaxed);
        is_muted.then(|| if self.muted.left.load(Ordering::Relaxed) == 0 { Err(Gone) } else { Ok(()) })
    }

    /// Tells what it was found to be, if that is new or was last told a while ago.
    ///
    /// # Errors
    /// The core is gone: the thread may end.
    pub(crate) fn tell(&mut self, reading: Reading) -> Result<(), Gone> {
        if let Some(answer) = self.is_unwanted() {
            return answer;
        }
        match self.news(&reading) {
            Some(event) => {
                self.has_told(reading);
                self.events.blocking_send(event).map_err(|_| Gone)
            }
            None => Ok(()),
        }
    }

    /// The same without waiting, for who has more to do: what finds no room is to be told again.
    ///
    /// # Errors
    /// The core is gone: the thread may end.
    pub(crate) fn try_tell(&mut self, reading: Reading) -> Result<(), Gone> {
        if let Some(answer) = self.is_unwanted() {
            return answer;
        }
        let Some(event) = self.news(&reading) else { return Ok(()) };
        match self.events.try_send(event) {
            Ok(()) => {
                self.has_told(reading);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Gone),
        }
    }

    fn news(&self, reading: &Reading) -> Option<Event> {
        let is_known = self.last.as_ref().is_some_and(|(last, at)| last == reading && clock::now().since(*at) < RETELL);
        (!is_known).then(|| Event::Watched { watch: self.id, reading: reading.clone() })
    }

    fn has_told(&mut self, reading: Reading) {
        if self.last.as_ref().is_none_or(|(last, _)| *last != reading) {
            self.say(&reading);
        }
        self.last = Some((reading, clock::now()));
    }

    fn say(&self, reading: &Reading) {
        let name = self.name.as_str();
        match reading {
            Reading::Up => tracing::info!(name, "what is tracked is up"),
            Reading::Number(number) => tracing::info!(name, "the tracked file says {number}"),
            Reading::Down(words) => tracing::warn!(name, "what is tracked is down: {words}"),
            Reading::Missing => tracing::warn!(name, "the tracked file is not there, which counts as 0"),
            Reading::Unreadable(words) => tracing::warn!(name, "what is tracked fails: {words}"),
        }
    }
}
