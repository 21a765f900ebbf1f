//! Log lines that never hold up who writes them.
//!
//! What must stay true: a full pipe, a stalled journal or a terminal that was stopped costs lines, not
//! time. The voter answers in the same thread that logs.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for their reader.
const QUEUE: usize = 1024;
/// How long the last lines may take at the end of the process.
const FLUSH: Duration = Duration::from_millis(200);
/// Between two attempts to get the end into a full queue.
const RETRY: Duration = Duration::from_millis(5);

/// What is written of so many lines that were lost.
type Lost = Box<dyn Fn(u64) -> String + Send + Sync>;

/// Takes lines and hands them to a thread that writes them out.
#[derive(Debug, Clone)]
pub struct Lines {
    queue: SyncSender<Vec<u8>>,
    lost: Arc<AtomicU64>,
    words: Arc<Words>,
}

/// In which words lost lines are told of, where the plain ones won't do.
#[derive(Default)]
struct Words(OnceLock<Lost>);

impl Words {
    fn of(&self, lost: u64) -> String {
        let plain = || format!("{lost} log lines were lost: the reader of the log was too slow\n");
        self.0.get().map_or_else(plain, |words| words(lost))
    }
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Words")
    }
}

/// Writes out what is left when it is dropped, if that takes no more than a few hundred milliseconds. To be held until the end of `main`.
#[derive(Debug)]
pub struct Flush {
    stop: SyncSender<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
    done: mpsc::Receiver<()>,
}

impl Lines {
    /// Onto `output`, such as standard error.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn to(mut output: impl Write + Send + 'static) -> io::Result<(Self, Flush)> {
        let (queue, lines) = mpsc::sync_channel::<Vec<u8>>(QUEUE);
        let (finished, done) = mpsc::channel();
        let lost = Arc::new(AtomicU64::new(0));
        let words = Arc::<Words>::default();
        let (counter, told) = (lost.clone(), words.clone());
        let thread = thread::Builder::new().name("log".into()).spawn(move || {
            // An empty line is the end.
            while let Ok(line) = lines.recv() {
                if line.is_empty() {
                    break;
                }
                let missing = counter.swap(0, Ordering::Relaxed);
                if missing > 0 {
                    let _ = output.write_all(told.of(missing).as_bytes());
                }
                // Nobody is left to tell if this fails.
                let _ = output.write_all(&line);
            }
            let _ = output.flush();
            let _ = finished.send(());
        })?;
        let flush = Flush { stop: queue.clone(), thread: Some(thread), done };
        Ok((Lines { queue, lost, words }, flush))
    }

    /// Tells of lost lines in other words, where a plain line would not be understood.
    #[must_use]
    pub fn tell_lost(self, words: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        let _ = self.words.0.set(Box::new(words));
        self
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let mut patience = FLUSH;
        while let Err(TrySendError::Full(_)) = self.stop.try_send(Vec::new()) {
            if patience.is_zero() {
                return;
            }
            thread::sleep(RETRY);
            patience = patience.saturating_sub(RETRY);
        }
        match self.done.recv_timeout(FLUSH) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                let _ = self.thread.take().map(JoinHandle::join);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !line.is_empty()
            && let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.queue.try_send(line.to_vec())
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Lines;

    fn make_writer(&self) -> Lines {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::Instant;

    /// Blocks until it is let go.
    struct Stuck(Arc<Mutex<Vec<u8>>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_reader_costs_lines_and_no_time() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut lines, flush) = Lines::to(Stuck(written.clone())).unwrap();
        let held = written.lock().unwrap();
        let start = Instant::now();
        for number in 0..QUEUE + 500 {
            // One call a line, as the subscriber does.
            lines.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        assert!(start.elapsed() < Duration::from_secs(2));
        drop(held);
        let start = Instant::now();
        loop {
            let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
            if text.contains("line 0\n") && text.contains("log lines were lost") {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(5), "{text}");
            thread::sleep(Duration::from_millis(5));
        }
        drop(flush);
    }

    #[test]
    fn the_last_lines_are_written_before_the_end() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut lines, flush) = Lines::to(Stuck(written.clone())).unwrap();
        lines.write_all(b"the last\n").unwrap();
        drop(flush);
        assert_eq!(*written.lock().unwrap(), b"the last\n");
    }
}
