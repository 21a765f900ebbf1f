//! The event FIFO: each transition and alert as one line, for a program that reads them as they come.
//!
//! What must stay true: a reader that is absent, slow or gone costs lines, never time of the decision loop
//! (R15); lost lines are counted, and the log says how many. A reader gets whole lines, in order.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use keepone_proto::time::Instant;
use nix::sys::stat::Mode;

use crate::clock;

/// Lines that may wait for a slow reader.
const QUEUE: usize = 1024;
/// How often a full pipe is tried again.
const RETRY: Duration = Duration::from_millis(20);
/// The log speaks of lost lines at most this often.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// The way to the FIFO.
#[derive(Debug, Clone)]
pub struct Fifo {
    queue: SyncSender<String>,
    lost: Arc<AtomicU64>,
}

impl Fifo {
    /// Makes the FIFO, if it is not there, and starts its thread.
    ///
    /// # Errors
    /// It can't be made, or something else is in its place.
    pub fn start(path: &Path) -> io::Result<Self> {
        match std::fs::metadata(path) {
            Ok(found) if found.file_type().is_fifo() => {}
            Ok(_) => {
                let words = "is there and is no FIFO: remove it, or name another path";
                return Err(io::Error::new(ErrorKind::AlreadyExists, words));
            }
            Err(_) => nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o600))?,
        }
        let (queue, lines) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let writer =
            Writer { path: path.to_owned(), lost: lost.clone(), pipe: None, waiting: VecDeque::new(), said: None };
        thread::Builder::new().name("event-fifo".into()).spawn(move || writer.serve(&lines))?;
        Ok(Fifo { queue, lost })
    }

    /// One line, without its end; never waits.
    pub fn put(&self, line: &str) {
        if self.queue.try_send(line.to_owned()).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Writer {
    path: PathBuf,
    lost: Arc<AtomicU64>,
    pipe: Option<File>,
    /// What the pipe has not taken yet; of the first, the rest.
    waiting: VecDeque<Vec<u8>>,
    /// When the log last spoke of lost lines.
    said: Option<Instant>,
}

impl Writer {
    fn serve(mut self, lines: &Receiver<String>) {
        loop {
            let patience = if self.waiting.is_empty() { SAY_EVERY } else { RETRY };
            match lines.recv_timeout(patience) {
                Ok(line) => {
                    if self.waiting.len() >= QUEUE {
                        self.lose(1);
                    } else {
                        self.waiting.push_back([line.as_bytes(), b"\n"].concat());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.flush();
            self.complain();
        }
    }

    /// Writes what the pipe takes.
    fn flush(&mut self) {
        while let Some(line) = self.waiting.front_mut() {
            let pipe = match &mut self.pipe {
                Some(pipe) => pipe,
                // Without a reader there is no writer's end to be had (fifo(7), ENXIO).
                None => match OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&self.path) {
                    Ok(pipe) => self.pipe.insert(pipe),
                    Err(_) => {
                        let all = self.waiting.len();
                        self.waiting.clear();
                        return self.lose(all);
                    }
                },
            };
            match pipe.write(line) {
                Ok(taken) if taken >= line.len() => _ = self.waiting.pop_front(),
                Ok(taken) => _ = line.drain(..taken),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The reader has gone: the next one gets no half line.
                Err(_) => {
                    self.pipe = None;
                    self.waiting.pop_front();
                    self.lose(1);
                }
            }
        }
    }

    fn lose(&mut self, lines: usize) {
        self.lost.fetch_add(u64::try_from(lines).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn complain(&mut self) {
        if self.lost.load(Ordering::Relaxed) > 0 && self.said.is_none_or(|at| clock::now().since(at) >= SAY_EVERY) {
            self.said = Some(clock::now());
            let lost = self.lost.swap(0, Ordering::Relaxed);
            let path = self.path.display();
            tracing::warn!("event_fifo {path} lost {lost} lines: it has no reader, or one that is too slow");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::time::Instant;

    /// Waits for what a thread does; a machine that is busy may need the whole of it.
    fn within_five_seconds(mut done: impl FnMut() -> bool) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(5) {
            if done() {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    #[test]
    fn without_a_reader_lines_are_lost_and_a_later_reader_gets_those_that_come_then() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("events");
        let fifo = Fifo::start(&path).unwrap();
        for n in 0..5000 {
            fifo.put(&format!("early {n}"));
        }
        thread::sleep(Duration::from_millis(200));
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let mut reader = BufReader::new(reader);
        fifo.put("late");
        let mut line = String::new();
        assert!(within_five_seconds(|| reader.read_line(&mut line).is_ok_and(|read| read > 0)));
        assert_eq!(line, "late\n");
    }

    #[test]
    fn a_slow_reader_gets_whole_lines_in_order_and_never_stops_the_writer() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("events");
        let fifo = Fifo::start(&path).unwrap();
        // Opened for both, so that it blocks neither here nor there.
        let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let long = "x".repeat(900);
        let begin = Instant::now();
        for n in 0..20_000 {
            fifo.put(&format!("{n} {long}"));
        }
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        let mut last = None;
        let mut lines = BufReader::new(reader).lines();
        for _ in 0..60 {
            let line = lines.next().unwrap().unwrap();
            let (number, rest) = line.split_once(' ').unwrap();
            let number: u32 = number.parse().unwrap();
            assert_eq!(rest, long, "half a line");
            assert!(last.is_none_or(|last| number > last), "{number} after {last:?}");
            last = Some(number);
        }
        assert!(fifo.lost.load(Ordering::Relaxed) > 0, "20000 lines fit nowhere");
    }

    #[test]
    fn something_else_in_its_place_is_left_alone_and_named() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("events");
        std::fs::write(&path, "precious").unwrap();
        let error = Fifo::start(&path).unwrap_err();
        assert!(error.to_string().contains("no FIFO"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
