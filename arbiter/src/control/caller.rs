//! The asking side: one connection, one question.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::message::{Reply, Request};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is at the socket.
    #[error("nobody answers at {}: {error}", .path.display())]
    Nobody {
        /// Where it was looked for.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The connection broke, or took too long.
    #[error("no answer came: {0}")]
    Broken(#[from] io::Error),
    /// Something else is at the socket, or another version of it.
    #[error("an answer that is not understood: {0}")]
    Strange(String),
    /// The program says why.
    #[error("{0}")]
    Refused(String),
}

/// An answer that is under way.
#[derive(Debug)]
pub struct Asking {
    lines: BufReader<UnixStream>,
    done: bool,
}

impl Asking {
    /// Asks the program at `path`, and waits as long as `patience` for each line of its answer; for ever without.
    ///
    /// # Errors
    /// Nobody is there, or it takes no question.
    pub fn ask(path: &Path, request: &Request, patience: Option<Duration>) -> Result<Self, AskError> {
        let connected = UnixStream::connect(path);
        let mut stream = connected.map_err(|error| AskError::Nobody { path: path.to_owned(), error })?;
        stream.set_read_timeout(patience)?;
        stream.set_write_timeout(patience)?;
        // One that refuses at once has said why, and closed: that is still there to be read.
        match stream.write_all(&request.emit()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        Ok(Asking { lines: BufReader::new(stream), done: false })
    }

    /// The next line of the answer; none after the last.
    ///
    /// # Errors
    /// It is none, or the program refuses.
    pub fn next_line(&mut self) -> Result<Option<Value>, AskError> {
        if self.done {
            return Ok(None);
        }
        let mut line = Vec::new();
        let read = self.lines.read_until(b'\n', &mut line).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "it took too long"),
            _ => error,
        })?;
        if read == 0 || line.last() != Some(&b'\n') {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed").into());
        }
        match Reply::parse(&line).map_err(AskError::Strange)? {
            Reply::More(value) => Ok(Some(value)),
            Reply::Last(value) => {
                self.done = true;
                Ok(Some(value))
            }
            Reply::Error(words) => Err(AskError::Refused(words)),
        }
    }
}

/// Asks for what takes one line.
///
/// # Errors
/// There is no answer.
pub fn ask(path: &Path, request: &Request, patience: Duration) -> Result<Value, AskError> {
    let line = Asking::ask(path, request, Some(patience))?.next_line()?;
    line.ok_or_else(|| AskError::Strange(String::from("an empty answer")))
}
