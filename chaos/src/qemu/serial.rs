//! The serial line over which a guest answers, and how long one is waited for that says nothing any more.

use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::netns::error::{Error, io_error};
use crate::netns::process::tail;

/// Nothing over the line and nothing on the console for so long: whatever it was to do, the guest does it no more. Far above
/// what a step takes in an emulated guest on a busy host.
const QUIET: Duration = Duration::from_secs(240);
/// Between two looks at the console.
const LOOK: Duration = Duration::from_secs(2);

/// The host's end, and the console's log.
#[derive(Debug)]
pub(super) struct Serial {
    reader: BufReader<UnixStream>,
    console: PathBuf,
    quiet: Duration,
    look: Duration,
}

impl Serial {
    pub(super) fn new(line: UnixStream, console: PathBuf) -> Self {
        Serial { reader: BufReader::new(line), console, quiet: QUIET, look: LOOK }
    }

    /// The console's log.
    pub(super) fn console(&self) -> &Path {
        &self.console
    }

    /// The next line, with its end, by `until` at the latest.
    ///
    /// # Errors
    /// [`Error::Io`] when the line is closed or can't be read; [`Error::Command`] with the end of the console when the time
    /// is over, or the guest has said nothing for [`QUIET`].
    pub(super) fn line(&mut self, what: &str, until: Instant) -> Result<Vec<u8>, Error> {
        let mut line = Vec::new();
        let (mut since, mut said) = (Instant::now(), self.said(&line));
        loop {
            // Zero would be for ever.
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.reader.get_ref().set_read_timeout(Some(left.min(self.look))).map_err(io_error(what))?;
            match self.reader.read_until(b'\n', &mut line) {
                Ok(0) => return Err(io_error(what)(std::io::Error::from(ErrorKind::UnexpectedEof))),
                Ok(_) => return Ok(line),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(io_error(what)(error)),
            }
            let (now, is) = (Instant::now(), self.said(&line));
            if is != said {
                (since, said) = (now, is);
            }
            if now >= until {
                return Err(self.gives_up(what, "no answer in its time".to_owned()));
            }
            if now.duration_since(since) >= self.quiet {
                return Err(self.gives_up(what, format!("the guest has said nothing for {:?}", self.quiet)));
            }
        }
    }

    /// How much it has said of a line, and on the console.
    fn said(&self, line: &[u8]) -> (usize, u64) {
        (line.len(), std::fs::metadata(&self.console).map_or(0, |file| file.len()))
    }

    fn gives_up(&self, what: &str, status: String) -> Error {
        let output = format!("the end of its console:\n{}", tail(&self.console));
        Error::Command { command: what.to_owned(), status, output }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_guest_that_says_nothing_is_given_up_and_one_that_goes_on_is_not() {
        let console = std::env::temp_dir().join(format!("keepone-chaos-console-{}", std::process::id()));
        std::fs::write(&console, "12.5 keepone: ends\n").unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut serial = Serial::new(ours, console.clone());
        (serial.quiet, serial.look) = (Duration::from_secs(1), Duration::from_millis(20));
        // Far beyond what is quiet: only that may end it.
        let soon = || Instant::now() + Duration::from_secs(60);
        theirs.write_all(b"one\ntw").unwrap();
        assert_eq!(serial.line("ask", soon()).unwrap(), b"one\n");
        let says = console.clone();
        let speaks = std::thread::spawn(move || {
            // In all more than is quiet, each time far less.
            for at in 0..10 {
                std::thread::sleep(Duration::from_millis(200));
                std::fs::write(&says, "x".repeat(at + 30) + "\n13.5 keepone: run 2\n").unwrap();
            }
            theirs.write_all(b"o\n").unwrap();
            theirs
        });
        assert_eq!(serial.line("ask", soon()).unwrap(), b"two\n");
        let theirs = speaks.join().unwrap();
        let words = serial.line("ask", soon()).unwrap_err().to_string();
        assert!(words.contains("said nothing for 1s") && words.contains("13.5 keepone: run 2"), "{words}");
        let words = serial.line("ask", Instant::now()).unwrap_err().to_string();
        assert!(words.contains("no answer in its time"), "{words}");
        drop(theirs);
        assert!(matches!(serial.line("ask", soon()), Err(Error::Io { .. })));
        std::fs::remove_file(&console).unwrap();
    }
}
