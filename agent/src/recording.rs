//! The recording of a run (`keepone run --record FILE`): whatever the core is told, for a replay elsewhere
//! (`keepone-chaos replay FILE`).
//!
//! What must stay true: the loop never waits for the disk (R15), and a recording has no gaps: where a line
//! finds no room, or the file is as long as it may get, the recording ends and says so.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use keepone_proto::action::Action;
use keepone_proto::event::Event;
use keepone_proto::recording::{End, Header, Step, digest};
use keepone_proto::time::Instant;

use crate::clock;

/// Steps that may wait for the disk.
const QUEUE: usize = 8192;
/// Octets of one file, about an hour of a pair; of this and the former one no more than twice as much.
const LONGEST: usize = 256 << 20;
/// Between two looks whether the last line is written.
const LOOK: Duration = Duration::from_millis(1);
/// What was written is on its way to the disk after so long at the latest.
const FLUSH: Duration = Duration::from_millis(500);

/// The way to the file.
#[derive(Debug)]
pub(crate) struct Recorder {
    queue: Option<SyncSender<Line>>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
enum Line {
    Step(Box<Step>),
    End(&'static str),
}

impl Recorder {
    /// Begins a recording; that of a former life is kept beside it as `FILE.1`.
    ///
    /// # Errors
    /// The file can't be made.
    pub(crate) fn start(file: &Path, header: &Header) -> io::Result<Self> {
        if file.exists() {
            let mut former = file.as_os_str().to_owned();
            former.push(".1");
            std::fs::rename(file, PathBuf::from(former))?;
        }
        // It has the passwords of the virtual routers in it.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        let mut file = BufWriter::new(file);
        let mut length = put(&mut file, header)?;
        file.flush()?;
        let (queue, lines) = sync_channel(QUEUE);
        let thread = thread::Builder::new().name("recording".into());
        let thread = thread.spawn(move || write_all(file, &mut length, &lines))?;
        Ok(Recorder { queue: Some(queue), thread: Some(thread) })
    }

    /// One event and what followed from it.
    pub(crate) fn step(&mut self, t: Instant, e: Event, actions: &[Action]) {
        let Some(queue) = &self.queue else { return };
        let step = Line::Step(Box::new(Step { t, e, a: digest(actions) }));
        match queue.try_send(step) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                tracing::warn!("the recording ends: its disk does not keep up");
                // The queue is full now, and is not when the thread comes to its end.
                let queue = self.queue.take();
                let end = move || queue.map(|queue| queue.send(Line::End("the disk did not keep up")));
                let _ = thread::Builder::new().name("recording-end".into()).spawn(end);
            }
            Err(TrySendError::Disconnected(_)) => self.queue = None,
        }
    }
}

impl Recorder {
    /// The end of a recording for which nothing waits longer than that.
    pub(crate) fn finish(mut self, within: Duration) {
        self.queue = None;
        let Some(thread) = self.thread.take() else { return };
        let until = clock::now() + within;
        while !thread.is_finished() && clock::now() < until {
            thread::sleep(LOOK);
        }
        // Not joined: where the disk stands still the last lines are lost, which a replay calls torn at worst.
    }
}

impl Drop for Recorder {
    /// The last lines are what a replay is wanted for; the loop is over by now.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_all(mut file: BufWriter<std::fs::File>, length: &mut usize, lines: &Receiver<Line>) {
    loop {
        let written = match lines.recv_timeout(FLUSH) {
            Ok(Line::Step(step)) => put(&mut file, &step),
            Ok(Line::End(why)) => {
                let _ = put(&mut file, &End { ended: why.to_owned() }).and_then(|_| file.flush());
                return;
            }
            Err(RecvTimeoutError::Timeout) => file.flush().map(|()| 0),
            Err(RecvTimeoutError::Disconnected) => {
                // The node has stopped.
                let _ = file.flush();
                return;
            }
        };
        match written {
            Ok(written) => *length += written,
            Err(error) => {
                tracing::warn!(%error, "the recording ends: it can't be written");
                return;
            }
        }
        if *length > LONGEST {
            tracing::warn!(octets = *length, "the recording ends: it is as long as it may get; restart to begin anew");
            let _ = put(&mut file, &End { ended: "it is as long as it may get".to_owned() }).and_then(|_| file.flush());
            return;
        }
    }
}

fn put(file: &mut impl Write, line: &impl serde::Serialize) -> io::Result<usize> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    file.write_all(&text)?;
    Ok(text.len())
}
