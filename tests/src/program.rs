//! A program in a machine of its own: network, `/run` and bpffs are private to it.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use keepone_chaos::fault::Part;
use keepone_chaos::netns::error::io_error;
use keepone_chaos::netns::namespace::Namespace;
use keepone_chaos::netns::process::{members, signal};
use nix::sys::signal::Signal;

use crate::{Error, kernel};

/// What a container's runtime would do; `exec` keeps the PID, so that signals reach the program itself.
const FURNISH: &str = "mount -t tmpfs tmpfs /run && mount -t bpf bpf /sys/fs/bpf && exec \"$@\"";
const STEP: Duration = Duration::from_millis(5);

/// A running program; dropping it kills it and all its descendants.
#[derive(Debug)]
pub struct Program {
    child: Child,
    log: PathBuf,
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` for a signal.
    pub code: Option<i32>,
    /// Standard output and standard error.
    pub said: String,
}

impl Program {
    /// Starts `command` (program and arguments) in `namespace`, its output in the file `log`.
    ///
    /// # Errors
    /// As [`Program::start_on`].
    pub fn start(namespace: &Namespace, command: &[&str], log: &Path) -> Result<Self, Error> {
        Program::start_on(&mut Command::new("nsenter"), namespace, command, log)
    }

    /// The same on a kernel that answers as one without BPF.
    ///
    /// # Errors
    /// As [`Program::start_on`].
    pub fn start_without_bpf(namespace: &Namespace, command: &[&str], log: &Path) -> Result<Self, Error> {
        Program::start_on(kernel::without_bpf(&mut Command::new("nsenter")), namespace, command, log)
    }

    /// The same on a kernel that answers as one with neither BPF nor nf_tables.
    ///
    /// # Errors
    /// As [`Program::start_on`].
    pub fn start_without_a_gate(namespace: &Namespace, command: &[&str], log: &Path) -> Result<Self, Error> {
        Program::start_on(kernel::without_a_gate(&mut Command::new("nsenter")), namespace, command, log)
    }

    /// The same with an `nsenter` prepared by the caller.
    ///
    /// It is killed when the calling *thread* ends (PR_SET_PDEATHSIG), so the thread of the test itself
    /// must be the one that calls.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn start_on(nsenter: &mut Command, namespace: &Namespace, command: &[&str], log: &Path) -> Result<Self, Error> {
        let output =
            File::options().create(true).append(true).open(log).map_err(io_error(format!("open {}", log.display())))?;
        let copy = output.try_clone().map_err(io_error("copy a descriptor"))?;
        let net = format!("--net=/proc/{}/fd/{}", std::process::id(), namespace.file().as_raw_fd());
        let child = nsenter
            .args([&net, "--", "unshare", "--mount", "--propagation", "private", "--"])
            .args(["setpriv", "--pdeathsig", "KILL", "sh", "-c", FURNISH, "sh"])
            .args(command)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(copy)
            .spawn()
            .map_err(io_error("start nsenter (of util-linux)"))?;
        Ok(Program { child, log: log.to_owned() })
    }

    /// Its first process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(i32::MAX)
    }

    /// Sends a signal to a part of it.
    pub fn signal(&self, part: Part, what: Signal) {
        signal(&members(self.pid(), part), what);
    }

    /// Kills it and all its descendants, and waits for its end.
    pub fn kill(&mut self) {
        // Stopped first: a child that outlives its parent by a moment must not use it to resign in good
        // order, as keepalived's does when its parent dies.
        self.signal(Part::Both, Signal::SIGSTOP);
        self.signal(Part::Both, Signal::SIGKILL);
        let _ = self.child.wait();
    }

    /// Waits for its end; `None` if it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let begin = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if begin.elapsed() > limit {
                return None;
            }
            thread::sleep(STEP);
        }
    }

    /// Waits for its end and returns how it was; `None` if it still runs after `limit`.
    pub fn end(mut self, limit: Duration) -> Option<Ended> {
        let status = self.wait(limit)?;
        Some(Ended { code: status.code(), said: self.said() })
    }

    /// All that it has said so far.
    pub fn said(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            let _ = file.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until it has said `words`; `false` if it has not after `limit`, or has ended without.
    pub fn says(&mut self, words: &str, limit: Duration) -> bool {
        let begin = Instant::now();
        loop {
            let ended = !matches!(self.child.try_wait(), Ok(None));
            if self.said().contains(words) {
                return true;
            }
            if ended || begin.elapsed() > limit {
                return false;
            }
            thread::sleep(STEP);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}
