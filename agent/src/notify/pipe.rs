//! A FIFO of keepalived's kind: `notify_fifo`, `vrrp_notify_fifo`.
//!
//! What must stay true: whole lines, in order. A FIFO without a reader keeps what the kernel's pipe holds (64 KiB) and
//! as much again here, for a reader that comes later; beyond that the oldest lines are dropped, so that the present
//! states are among what is read; how many were dropped is counted and told. Nobody waits for a reader (R15).

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keepone_config::model::Fifo;
use keepone_proto::event::Event;
use keepone_proto::time::Instant;
use nix::sys::stat::Mode;
use tokio::sync::mpsc;

use super::ledger::Ledger;
use super::reader::Reader;
use crate::clock;
use crate::script::{User, user_and_group};

/// Lines that may wait for a slow reader besides those in the kernel's pipe, and between the threads.
const QUEUE: usize = 2048;
/// How often a full pipe, and a reader, are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is told that lines are dropped.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// At the end a reader may take so long for what it has not read.
const LAST: Duration = Duration::from_secs(1);

/// The way to the FIFO.
#[derive(Debug)]
pub(super) struct Pipe {
    queue: SyncSender<String>,
    dropped: Arc<AtomicU64>,
    thread: JoinHandle<()>,
    who: String,
}

impl Pipe {
    /// Makes the FIFO, if it is not there, and starts its thread and its reader.
    ///
    /// # Errors
    /// It can't be made, or something else is in its place.
    pub(super) fn start(
        fifo: &Fifo,
        otherwise: &User,
        ledger: &mut Ledger,
        events: &mpsc::Sender<Event>,
    ) -> io::Result<Self> {
        let is_ours = make(fifo, ledger)?;
        // For both, so that there is always a reader for the kernel: lines wait for whoever comes.
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
            .open(&fifo.path)?;
        if !open.metadata()?.file_type().is_fifo() {
            return Err(no_fifo());
        }
        let (queue, lines) = sync_channel(QUEUE);
        let dropped = Arc::<AtomicU64>::default();
        let who = format!("the reader of {}", fifo.path.display());
        let reader = fifo.reader.clone();
        let writer = Writer {
            path: fifo.path.clone(),
            is_ours,
            pipe: open,
            waiting: VecDeque::new(),
            is_begun: false,
            dropped: dropped.clone(),
            said: None,
            reader: reader.map(|script| Reader::new(script, otherwise.clone(), fifo.path.clone())),
            events: events.clone(),
            who: who.clone(),
        };
        let thread = thread::Builder::new().name("notify-fifo".into()).spawn(move || writer.serve(&lines))?;
        Ok(Pipe { queue, dropped, thread, who })
    }

    /// One line, without its end; never waits.
    pub(super) fn put(&self, line: &str) {
        put(&self.queue, &self.dropped, line);
    }

    /// The way into it for another thread. The FIFO ends with the last of them.
    pub(super) fn writer(&self) -> LineWriter {
        LineWriter { queue: self.queue.clone(), dropped: Arc::clone(&self.dropped) }
    }

    /// No more lines come: the thread that sees to the rest.
    pub(super) fn finish(self) -> (String, JoinHandle<()>) {
        (self.who, self.thread)
    }
}

/// A way into a FIFO.
#[derive(Debug, Clone)]
pub(crate) struct LineWriter {
    queue: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

impl LineWriter {
    /// One line, without its end; never waits.
    pub(crate) fn put(&self, line: &str) {
        put(&self.queue, &self.dropped, line);
    }
}

fn put(queue: &SyncSender<String>, dropped: &AtomicU64, line: &str) {
    if queue.try_send(line.to_owned()).is_err() {
        dropped.fetch_add(1, Ordering::Relaxed);
    }
}

fn no_fifo() -> io::Error {
    io::Error::new(ErrorKind::AlreadyExists, "something is there that is no FIFO: remove it, or name another path")
}

/// Readable and writable for its owner alone, as keepalived makes it. Whether it goes with us.
fn make(fifo: &Fifo, ledger: &mut Ledger) -> io::Result<bool> {
    let path = &fifo.path;
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_fifo() => {
            let is_ours = ledger.is_ours(path);
            if is_ours {
                ledger.add(path);
            }
            Ok(is_ours)
        }
        Ok(_) => Err(no_fifo()),
        Err(_) => {
            nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|error| {
                io::Error::other(format!("it can't be made: {error}: make its directory, or name another path"))
            })?;
            ledger.add(path);
            give(path, fifo.owner.as_ref());
            Ok(true)
        }
    }
}

/// To its owner; one who does not exist is said, and the FIFO stays root's.
fn give(path: &Path, owner: Option<&(String, Option<String>)>) {
    let Some((user, group)) = owner else { return };
    let given = user_and_group(user, group.as_deref())
        .and_then(|(uid, gid)| nix::unistd::chown(path, Some(uid), Some(gid)).map_err(|error| error.to_string()));
    if let Err(error) = given {
        tracing::error!("the FIFO {} stays root's: {error}", path.display());
    }
}

struct Writer {
    path: PathBuf,
    is_ours: bool,
    pipe: File,
    /// What the pipe has not taken yet.
    waiting: VecDeque<Vec<u8>>,
    /// The pipe has taken a part of the first one.
    is_begun: bool,
    dropped: Arc<AtomicU64>,
    /// When it was last told that lines are dropped, and how many.
    said: Option<(Instant, u64)>,
    reader: Option<Reader>,
    events: mpsc::Sender<Event>,
    who: String,
}

impl Writer {
    fn serve(mut self, lines: &Receiver<String>) {
        loop {
            if let Some(reader) = &mut self.reader {
                reader.look_after();
            }
            let is_idle = self.waiting.is_empty() && self.reader.is_none() && self.said.is_none();
            let next = if is_idle {
                lines.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                lines.recv_timeout(LOOK)
            };
            match next {
                Ok(line) => self.push(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(line) = lines.try_recv() {
                self.push(&line);
            }
            self.flush();
            self.complain();
        }
        self.end();
    }

    fn push(&mut self, line: &str) {
        self.waiting.push_back([line.as_bytes(), b"\n"].concat());
        if self.waiting.len() > QUEUE {
            // The rest of a line that is in the pipe in part has to follow it.
            drop(self.waiting.remove(usize::from(self.is_begun)));
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what the pipe takes.
    fn flush(&mut self) {
        while let Some(line) = self.waiting.front_mut() {
            match self.pipe.write(line) {
                Ok(taken) if taken >= line.len() => {
                    self.waiting.pop_front();
                    self.is_begun = false;
                }
                Ok(taken) => {
                    line.drain(..taken);
                    self.is_begun = true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Full: with a descriptor that reads as well there is no other answer of a pipe.
                Err(_) => return,
            }
        }
    }

    /// Tells how many lines were dropped, and when it is over.
    fn complain(&mut self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let missed = match self.said {
            None if dropped == 0 => return,
            None => Some(dropped),
            Some(_) if self.waiting.is_empty() => None,
            Some((at, said)) if dropped > said && clock::now().since(at) >= SAY_EVERY => Some(dropped),
            Some(_) => return,
        };
        if self.events.try_send(Event::ListenerBehind { who: self.who.clone(), missed }).is_err() {
            return;
        }
        self.said = missed.map(|missed| (clock::now(), missed));
        if missed.is_none() {
            self.dropped.fetch_sub(dropped, Ordering::Relaxed);
        }
    }

    /// The last lines; then the FIFO goes, and the reader.
    fn end(mut self) {
        let until = clock::now() + LAST;
        self.flush();
        while !self.waiting.is_empty() && clock::now() < until {
            thread::sleep(super::LOOK);
            self.flush();
        }
        if !self.waiting.is_empty() {
            tracing::warn!("{} has not read the last {} lines", self.who, self.waiting.len());
        }
        if self.is_ours {
            let _ = std::fs::remove_file(&self.path);
        }
        // Its reader finds the end of the file behind the last line.
        drop(self.pipe);
        if let Some(reader) = &mut self.reader {
            reader.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::PermissionsExt;

    fn fifo(path: &Path) -> Fifo {
        Fifo { path: path.to_owned(), owner: None, reader: None }
    }

    fn start(fifo: &Fifo, room: &Path) -> (Pipe, mpsc::Receiver<Event>) {
        let (events, told) = mpsc::channel(64);
        let mut ledger = Ledger::open(room);
        let pipe = Pipe::start(fifo, &None, &mut ledger, &events).unwrap();
        ledger.keep();
        (pipe, told)
    }

    /// A busy machine may need the whole of it.
    fn soon(mut done: impl FnMut() -> bool) -> bool {
        (0..2000).any(|_| {
            thread::sleep(Duration::from_millis(5));
            done()
        })
    }

    #[test]
    fn lines_wait_for_a_reader_that_comes_later_and_the_fifo_goes_with_who_made_it() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("f");
        let (pipe, _told) = start(&fifo(&path), room.path());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        pipe.put("one");
        pipe.put("two");
        let mut lines = BufReader::new(File::open(&path).unwrap()).lines();
        assert_eq!([lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()], ["one", "two"]);
        pipe.put("last");
        let (_, thread) = {
            let Pipe { queue, thread, who, .. } = pipe;
            drop(queue);
            (who, thread)
        };
        assert_eq!(lines.next().unwrap().unwrap(), "last");
        assert!(lines.next().is_none(), "the end of the file");
        thread.join().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn without_a_reader_the_oldest_are_dropped_counted_and_told_and_a_reader_gets_the_rest_in_order() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("f");
        let (pipe, mut told) = start(&fifo(&path), room.path());
        let (count, begin) = (20_000_u32, std::time::Instant::now());
        for n in 0..count {
            pipe.put(&format!("INSTANCE \"VI_{n}\" MASTER 100"));
            if n % 1000 == 0 {
                // The thread has its turn, as it would between changes of state.
                thread::sleep(Duration::from_millis(20));
            }
        }
        assert!(begin.elapsed() < Duration::from_secs(5), "who writes never waits: {:?}", begin.elapsed());
        let missed = |event| match event {
            Event::ListenerBehind { missed, who } if who.ends_with("/f") => missed,
            _ => panic!("{event:?}"),
        };
        assert!(missed(told.blocking_recv().unwrap()).is_some());
        let mut lines = BufReader::new(File::open(&path).unwrap()).lines();
        let number = |line: &str| line.split(['_', '"']).nth(2).unwrap().parse::<u32>().unwrap();
        let (mut last, mut read) = (None, 0);
        while last != Some(count - 1) {
            let line = lines.next().unwrap().unwrap();
            assert!(line.starts_with("INSTANCE \"VI_") && line.ends_with("\" MASTER 100"), "half a line: {line}");
            let next = number(&line);
            assert!(last.is_none_or(|last| next > last), "{next} after {last:?}");
            (last, read) = (Some(next), read + 1);
        }
        assert!(read < count && read > 2000, "{read}");
        assert!(soon(|| told.try_recv().is_ok_and(|event| missed(event).is_none())), "the end is told");
        drop(pipe);
    }

    #[test]
    fn what_the_operator_has_made_stays_and_what_is_no_fifo_is_left_alone() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("f");
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o640)).unwrap();
        let (pipe, _told) = start(&fifo(&path), room.path());
        let Pipe { queue, thread, .. } = pipe;
        drop(queue);
        thread.join().unwrap();
        assert!(path.exists());
        let other = room.path().join("g");
        std::fs::write(&other, "precious").unwrap();
        let (events, _told) = mpsc::channel(1);
        let error = Pipe::start(&fifo(&other), &None, &mut Ledger::open(room.path()), &events).unwrap_err();
        assert!(error.to_string().contains("no FIFO"), "{error}");
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "precious");
    }

    #[test]
    fn one_that_a_run_left_that_died_is_ours_and_one_that_nobody_wants_any_more_goes() {
        let room = tempfile::tempdir().unwrap();
        let (path, former) = (room.path().join("f"), room.path().join("former"));
        for path in [&path, &former] {
            nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        }
        std::fs::write(room.path().join("notify-fifos"), format!("{}\n{}\n", path.display(), former.display()))
            .unwrap();
        let (pipe, _told) = start(&fifo(&path), room.path());
        assert!(!former.exists());
        let Pipe { queue, thread, .. } = pipe;
        drop(queue);
        thread.join().unwrap();
        assert!(!path.exists());
    }
}
