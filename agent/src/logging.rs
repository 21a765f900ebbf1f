//! Logs, through a thread of its own: a stalled terminal or journal never holds up the decision loop (R15).

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const QUEUE: usize = 4096;

#[derive(Clone)]
struct Lines(SyncSender<Vec<u8>>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // What finds no room is lost: better than a node that waits for its log.
        let _ = self.0.try_send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;
    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

/// Logs to standard error; `KEEPONE_LOG` chooses what, `info` by default.
pub fn start() {
    let (queue, lines) = sync_channel::<Vec<u8>>(QUEUE);
    let writer = thread::Builder::new().name("log".into()).spawn(move || {
        while let Ok(line) = lines.recv() {
            let _ = io::stderr().write_all(&line);
        }
    });
    if writer.is_err() {
        return;
    }
    let filter = EnvFilter::try_from_env("KEEPONE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A second call (tests) leaves the first in place.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines(queue)).with_ansi(false).try_init();
}
