//! The time between two workers.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::Guardian;
use crate::clock;
use crate::voice::say;

impl Guardian {
    /// Waits before a new start; `false` if it was told to stop meanwhile.
    pub(super) fn pause(&mut self, why: &str, time: Duration, harmless: bool) -> bool {
        say(format_args!("{why}: the next start in {time:?}"));
        let until = clock::now() + time;
        while clock::now() < until {
            while let Ok(Some(signal)) = self.signals.read_signal() {
                let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
                match Signal::try_from(number) {
                    Ok(Signal::SIGTERM | Signal::SIGINT) => return false,
                    Ok(Signal::SIGHUP) => {
                        self.manager.reloads();
                        say(format_args!("no worker runs: the next one reads the file anew"));
                    }
                    Ok(_) | Err(_) => {}
                }
            }
            if harmless {
                self.feed();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }
}
