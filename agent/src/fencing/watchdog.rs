//! The hardware watchdog, kept by the guardian: fed while the worker says that the node is harmless, and while
//! there is no worker and the gate is shut.
//!
//! The kernel counts its timeout in whole seconds, from the last feeding
//! (Documentation/watchdog/watchdog-api.rst).

#![allow(unsafe_code, reason = "the timeout is set by ioctl(2); nix's generated calls are unsafe functions")]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use keepone_config::model::Watchdog as Settings;
use keepone_proto::time::Instant;

use crate::clock;
use crate::voice::say;

/// Fed no more often than this: the shortest timeout is a second.
const GAP: Duration = Duration::from_millis(100);

mod calls {
    // include/uapi/linux/watchdog.h
    nix::ioctl_readwrite!(set_timeout, b'W', 6, libc::c_int);
}

/// A watchdog that runs.
#[derive(Debug)]
pub struct Watchdog {
    device: File,
    path: PathBuf,
    /// When that was tried last.
    fed_at: Instant,
    /// The last try failed, which has been told.
    failing: bool,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum WatchdogError {
    /// The device can't be opened.
    #[error(
        "watchdog {path} can't be opened: {source}: load the driver (`modprobe softdog` where there is no hardware), \
         and see that nobody else, such as systemd's RuntimeWatchdogSec, has it"
    )]
    Open {
        /// The device.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It refuses the timeout.
    #[error("watchdog {path} refuses a timeout of {timeout_s} s: {source}: choose another `watchdog_timeout`")]
    Timeout {
        /// The device.
        path: PathBuf,
        /// What was asked.
        timeout_s: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It took the timeout for another one.
    #[error(
        "watchdog {path} has a timeout of {given_s} s instead of {timeout_s} s: write `watchdog_timeout {given_s}s`, or \
         use another device"
    )]
    Other {
        /// The device.
        path: PathBuf,
        /// What was asked.
        timeout_s: u32,
        /// What it is.
        given_s: i32,
    },
}

impl Watchdog {
    /// Opens the device, which starts it, and sets its timeout.
    ///
    /// # Errors
    /// It can't be opened, or does not take that timeout; it is stopped again then.
    pub fn start(settings: &Settings) -> Result<Self, WatchdogError> {
        let path = settings.device.clone();
        let opened = OpenOptions::new().write(true).open(&path);
        let device = opened.map_err(|source| WatchdogError::Open { path: path.clone(), source })?;
        let watchdog = Watchdog { device, path: path.clone(), fed_at: clock::now(), failing: false };
        let timeout_s = settings.timeout_s;
        match set_timeout(&watchdog.device, timeout_s) {
            Ok(given_s) if u32::try_from(given_s) == Ok(timeout_s) => Ok(watchdog),
            Ok(given_s) => {
                watchdog.stop();
                Err(WatchdogError::Other { path, timeout_s, given_s })
            }
            Err(source) => {
                watchdog.stop();
                Err(WatchdogError::Timeout { path, timeout_s, source })
            }
        }
    }

    /// Feeds it, unless that was done a moment ago.
    pub fn feed(&mut self) {
        let now = clock::now();
        if now.since(self.fed_at) < GAP {
            return;
        }
        // A failure waits for its next turn, too: the shortest timeout leaves ten of them.
        self.fed_at = now;
        let fed = self.device.write_all(b"\0");
        let was_failing = std::mem::replace(&mut self.failing, fed.is_err());
        if let Some(error) = fed.err().filter(|_| !was_failing) {
            say(format_args!("watchdog {} can't be fed: {error}", self.path.display()));
        }
    }

    /// Stops it in good order. A driver with `nowayout` does not let itself be stopped.
    pub fn stop(mut self) {
        if let Err(error) = self.device.write_all(b"V") {
            say(format_args!("watchdog {} can't be stopped: {error}", self.path.display()));
        }
    }
}

fn set_timeout(device: &File, timeout_s: u32) -> io::Result<i32> {
    let mut seconds = libc::c_int::try_from(timeout_s).unwrap_or(libc::c_int::MAX);
    // SAFETY: the descriptor is open, and the kernel reads and writes one int, which outlives the call.
    unsafe { calls::set_timeout(device.as_raw_fd(), &raw mut seconds) }.map_err(io::Error::from)?;
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_none_is_refused_with_the_remedy() {
        let missing = Settings { device: PathBuf::from("/nowhere/watchdog"), timeout_s: 5 };
        let error = Watchdog::start(&missing).unwrap_err().to_string();
        assert!(error.contains("/nowhere/watchdog") && error.contains("modprobe softdog"), "{error}");
        let file = tempfile::NamedTempFile::new().unwrap();
        let file = Settings { device: file.path().to_owned(), timeout_s: 5 };
        let error = Watchdog::start(&file).unwrap_err();
        assert!(matches!(error, WatchdogError::Timeout { timeout_s: 5, .. }), "{error}");
    }

    #[test]
    fn one_that_takes_no_food_is_tried_ten_times_a_second_and_told_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let device = File::open(file.path()).unwrap();
        let mut watchdog = Watchdog { device, path: file.path().to_owned(), fed_at: Instant::BOOT, failing: false };
        let before = clock::now();
        watchdog.feed();
        assert!(watchdog.failing && watchdog.fed_at >= before, "the next try has its time");
        let tried_at = watchdog.fed_at;
        watchdog.device = OpenOptions::new().write(true).open(file.path()).unwrap();
        watchdog.feed();
        assert!(watchdog.fed_at == tried_at || clock::now().since(tried_at) >= GAP);
        watchdog.fed_at = Instant::BOOT;
        watchdog.feed();
        assert!(!watchdog.failing);
    }

    #[test]
    fn it_is_fed_at_most_ten_times_a_second_and_stopped_by_the_magic_letter() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let device = OpenOptions::new().write(true).open(file.path()).unwrap();
        let mut watchdog = Watchdog { device, path: file.path().to_owned(), fed_at: Instant::BOOT, failing: false };
        for _ in 0..50 {
            watchdog.feed();
        }
        watchdog.fed_at = Instant::BOOT;
        watchdog.feed();
        watchdog.stop();
        // Fifty calls in a row take far less than a tenth of a second, unless the machine stands still.
        let written = std::fs::read(file.path()).unwrap();
        assert!(written.len() < 10 && written.starts_with(b"\0") && written.ends_with(b"\0V"), "{written:?}");
    }
}
