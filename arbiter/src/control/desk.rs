//! The way of a question to a loop that must not wait, and of its answer back.
//!
//! The clients' threads put questions into a short queue; the loop takes one between two events and lays the answer,
//! which is a snapshot, into a place that is there already: neither waits for the other. A client gives up after a while,
//! and what it has given up is not done later: it has been told that there was no answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::mpsc;

/// Questions that may wait for the loop.
const QUEUE: usize = 16;

/// The clients' side.
#[derive(Debug)]
pub struct Desk<Q, A> {
    questions: mpsc::Sender<Question<Q, A>>,
    patience: Duration,
}

impl<Q, A> Clone for Desk<Q, A> {
    fn clone(&self) -> Self {
        Desk { questions: self.questions.clone(), patience: self.patience }
    }
}

/// The loop's side.
pub type Counter<Q, A> = mpsc::Receiver<Question<Q, A>>;

/// One question.
#[derive(Debug)]
pub struct Question<Q, A> {
    asked: Q,
    answer: SyncSender<A>,
    /// The loop has begun on it, or the client has given up: whichever was first.
    is_settled: Arc<AtomicBool>,
}

impl<Q, A> Question<Q, A> {
    /// Does what is asked, and answers; never waits. For whoever has given up nothing is done.
    pub fn answer(self, work: impl FnOnce(&Q) -> A) {
        if !self.is_settled.swap(true, Ordering::AcqRel) {
            let _ = self.answer.try_send(work(&self.asked));
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Others wait already.
    #[error("too many questions wait already: ask again in a moment")]
    Busy,
    /// The loop has not come to it.
    #[error("the program has not answered in time: it is stopped, or starved of processor time")]
    Late,
    /// The loop has ended.
    #[error("the program is ending")]
    Ended,
}

impl<Q, A> Desk<Q, A> {
    /// Both sides. Clients wait for an answer as long as `patience`.
    pub fn new(patience: Duration) -> (Self, Counter<Q, A>) {
        let (questions, counter) = mpsc::channel(QUEUE);
        (Desk { questions, patience }, counter)
    }

    /// Asks, and waits for the answer; from a client's thread.
    ///
    /// # Errors
    /// There is none.
    pub fn ask(&self, asked: Q) -> Result<A, Unanswered> {
        let (answer, answered) = sync_channel(1);
        let is_settled = Arc::<AtomicBool>::default();
        let question = Question { asked, answer, is_settled: is_settled.clone() };
        self.questions.try_send(question).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Unanswered::Busy,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Ended,
        })?;
        match answered.recv_timeout(self.patience) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Disconnected) => Err(Unanswered::Ended),
            Err(RecvTimeoutError::Timeout) if !is_settled.swap(true, Ordering::AcqRel) => Err(Unanswered::Late),
            // The loop has begun on it, and does not wait: the answer comes, or the loop's end.
            Err(RecvTimeoutError::Timeout) => answered.recv().map_err(|_| Unanswered::Ended),
        }
    }
}
