//! QEMU's monitor: commands in, answers and events out, one JSON object a line.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::netns::clock;
use crate::netns::error::{Error, io_error};

/// How long a command may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Something that QEMU told without being asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// When it came, on the world's clock.
    pub at: u64,
    /// Its name, such as `RESET` or `SHUTDOWN`.
    pub name: String,
    /// What comes with it.
    pub data: Value,
}

/// A connection to the monitor.
#[derive(Debug)]
pub struct Qmp {
    writer: UnixStream,
    answers: Receiver<Value>,
    events: Receiver<Told>,
}

impl Qmp {
    /// Connects to the monitor's socket, which QEMU makes within `patience`.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Command`] if the monitor refuses.
    pub fn connect(path: &Path, patience: Duration) -> Result<Self, Error> {
        let stream = connect(path, patience)?;
        let reader = stream.try_clone().map_err(io_error("copy the monitor's socket"))?;
        let (answer, answers) = channel();
        let (tell, events) = channel();
        thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let at = clock::now();
                let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
                let sent = match value.get("event").and_then(Value::as_str) {
                    Some(name) => {
                        let data = value.get("data").cloned().unwrap_or_default();
                        tell.send(Told { at, name: name.to_owned(), data }).is_ok()
                    }
                    // The greeting is no answer.
                    None if value.get("QMP").is_some() => true,
                    None => answer.send(value).is_ok(),
                };
                if !sent {
                    return;
                }
            }
        });
        let mut qmp = Qmp { writer: stream, answers, events };
        qmp.command("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and returns its answer.
    ///
    /// # Errors
    /// [`Error::Command`] with QEMU's own words if it refuses, is gone or does not answer.
    pub fn command(&mut self, name: &str, arguments: &Value) -> Result<Value, Error> {
        let failed = |status: &str, output: String| Error::Command {
            command: format!("QMP {name}"),
            status: status.to_owned(),
            output,
        };
        let line = json!({ "execute": name, "arguments": arguments }).to_string();
        self.writer
            .write_all(line.as_bytes())
            .and_then(|()| self.writer.write_all(b"\n"))
            .map_err(io_error(format!("send {name} to QEMU")))?;
        let answer = self.answers.recv_timeout(ANSWER).map_err(|_| failed("no answer", String::new()))?;
        match answer.get("return") {
            Some(value) => Ok(value.clone()),
            None => Err(failed("refused", answer.to_string())),
        }
    }

    /// The first event of that name from now on, if one comes within `patience`.
    pub fn wait_for(&self, name: &str, patience: Duration) -> Option<Told> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let told = self.events.recv_timeout(left).ok()?;
            if told.name == name {
                return Some(told);
            }
        }
    }

    /// Forgets what was told until now.
    pub fn forget(&self) {
        while self.events.try_recv().is_ok() {}
    }
}

/// Connects to a socket that another process is about to make.
pub(super) fn connect(path: &Path, patience: Duration) -> Result<UnixStream, Error> {
    let until = Instant::now() + patience;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() >= until => {
                return Err(io_error(format!("connect to {}", path.display()))(error));
            }
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}
