//! A program on a pseudo-terminal: what its screen shows, and keys for it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use keepone_chaos::netns::error::io_error;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Error;

/// `script` of util-linux makes the pseudo-terminal. The shell below it says when the program has ended, with which code,
/// and what the terminal is like then.
const SHELL: &str =
    "stty rows 24 cols 80; sh -c 'echo $$ > \"$PID_FILE\"; exec \"$0\" \"$@\"' \"$@\"; echo ENDED=$?; stty -a";

/// 80 columns and 24 lines.
#[derive(Debug)]
pub struct Terminal {
    script: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<Screen>>,
    pid_file: PathBuf,
}

struct Screen {
    parser: vt100::Parser,
    octets: usize,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "a screen after {} octets", self.octets)
    }
}

impl Terminal {
    /// Starts a command, whose words must have no single quotes; `room` takes a file.
    ///
    /// # Errors
    /// `script` can't be started.
    pub fn start(room: &Path, command: &[&str]) -> Result<Self, Error> {
        let pid_file = room.join("terminal.pid");
        let words: Vec<String> = command.iter().map(|word| format!("'{word}'")).collect();
        let line = format!("set -- {}; {SHELL}", words.join(" "));
        let mut script = Command::new("script");
        script.args(["-q", "-f", "-e", "-c"]).arg(line).arg("/dev/null");
        script.env("PID_FILE", &pid_file).env("TERM", "xterm-256color").env_remove("NO_COLOR").env("SHELL", "/bin/sh");
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut script = script.spawn().map_err(io_error("run `script` of util-linux"))?;
        let (Some(keys), Some(mut out)) = (script.stdin.take(), script.stdout.take()) else {
            return Err(io_error("take the pipes of `script`")(std::io::ErrorKind::BrokenPipe));
        };
        let screen = Arc::new(Mutex::new(Screen { parser: vt100::Parser::new(24, 80, 0), octets: 0 }));
        let drawn = screen.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut buffer) {
                let mut screen = drawn.lock().unwrap_or_else(PoisonError::into_inner);
                screen.parser.process(buffer.get(..count).unwrap_or_default());
                screen.octets += count;
            }
        });
        Ok(Terminal { script, keys, screen, pid_file })
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it shows, a line each.
    pub fn shows(&self) -> String {
        self.screen().parser.screen().contents()
    }

    /// Whether the program has the screen for itself, as one that draws takes it.
    pub fn is_taken(&self) -> bool {
        self.screen().parser.screen().alternate_screen()
    }

    /// Whether a cell of the screen has a colour.
    pub fn is_coloured(&self) -> bool {
        let screen = self.screen();
        let cells = (0..24).flat_map(|row| (0..80).map(move |column| (row, column)));
        let mut cells = cells.filter_map(|(row, column)| screen.parser.screen().cell(row, column));
        cells.any(|cell| cell.fgcolor() != vt100::Color::Default)
    }

    /// Presses keys.
    ///
    /// # Errors
    /// It has ended.
    pub fn press(&mut self, keys: &[u8]) -> Result<(), Error> {
        self.keys.write_all(keys).and_then(|()| self.keys.flush()).map_err(io_error("press a key"))
    }

    /// Sends the program a signal.
    ///
    /// # Errors
    /// It is not there.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        let text = std::fs::read_to_string(&self.pid_file).map_err(io_error("read the PID of the program"))?;
        let pid = text.trim().parse().map_err(|_| io_error("read a PID")(std::io::ErrorKind::InvalidData))?;
        kill(Pid::from_raw(pid), signal).map_err(|error| io_error("send a signal")(error))?;
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.signal(Signal::SIGKILL);
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
