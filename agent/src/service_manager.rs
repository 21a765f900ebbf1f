//! What the service manager is told: sd_notify(3), datagrams to the socket that it names in the environment.
//!
//! The guardian speaks, since it is the service's main process, but only for the worker: ready is the agent whose decision
//! loop runs, and the manager's watchdog is fed when that loop has answered, never by a timer of the guardian's own.
//!
//! What must stay true: no word waits for its reader (R15); where there is no manager, nothing happens at all.

use std::time::Duration;

use keepone_arbiter::systemd;
pub(crate) use keepone_arbiter::systemd::{SOCKET, WATCHDOG};
use keepone_proto::time::Instant;

use crate::clock;

/// So much longer a start may take, said again and again while the operator's script runs.
const LONGER: Duration = Duration::from_secs(30);

/// The manager, if there is one, and what it knows.
#[derive(Debug, Default)]
pub(crate) struct ServiceManager {
    manager: systemd::ServiceManager,
    /// Between two signs of life: a quarter of what it waits.
    interval: Option<Duration>,
    fed_at: Option<Instant>,
    asked_at: Option<Instant>,
    knows: Knows,
    /// No worker has answered since the last one ended.
    is_between: bool,
}

/// What it has been told last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Knows {
    #[default]
    Nothing,
    Ready,
    Reloading,
    Stopping,
}

impl ServiceManager {
    /// The one that the environment names. One that can't be reached is told nothing: it finds out by itself.
    pub(crate) fn of_process() -> Self {
        let manager = systemd::ServiceManager::from_environment();
        let interval = manager.watchdog().map(|half| half / 2);
        ServiceManager { manager, interval, ..ServiceManager::default() }
    }

    /// The worker's loop has answered, and nothing is under way.
    pub(crate) fn serves(&mut self) {
        if matches!(self.knows, Knows::Nothing | Knows::Reloading) {
            self.knows = Knows::Ready;
            self.say("READY=1\nSTATUS=the worker serves");
        } else if self.is_between {
            self.say("STATUS=the worker serves");
        }
        self.is_between = false;
    }

    /// The worker's loop has answered.
    pub(crate) fn feed(&mut self, now: Instant) {
        let Some(interval) = self.interval else { return };
        if self.fed_at.is_none_or(|at| now.since(at) >= interval) {
            self.fed_at = Some(now);
            self.say("WATCHDOG=1");
        }
    }

    /// A script of the operator's keeps the start waiting, and ends in its own time.
    pub(crate) fn begins(&mut self, now: Instant) {
        if self.asked_at.is_none_or(|at| now.since(at) >= LONGER / 3) {
            self.asked_at = Some(now);
            self.say(&format!("EXTEND_TIMEOUT_USEC={}\nSTATUS=the startup_script runs", LONGER.as_micros()));
        }
    }

    /// A reload begins. The manager wants to know when, by the clock that it measures its own order with.
    pub(crate) fn reloads(&mut self) {
        if self.knows != Knows::Stopping {
            self.knows = Knows::Reloading;
            self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::monotonic_micros()));
        }
    }

    /// There is no worker at the moment.
    pub(crate) fn is_between_workers(&mut self) {
        self.is_between = true;
        self.say("STATUS=the worker has ended, the gate is shut, a new one starts");
    }

    /// The end has begun.
    pub(crate) fn stops(&mut self) {
        if self.knows != Knows::Stopping {
            self.knows = Knows::Stopping;
            self.say("STOPPING=1\nSTATUS=everything is given up in good order");
        }
    }

    fn say(&self, words: &str) {
        self.manager.say(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::UnixDatagram;

    fn manager(interval: Option<Duration>) -> (ServiceManager, UnixDatagram, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let ours = UnixDatagram::bind(&path).unwrap();
        ours.set_nonblocking(true).unwrap();
        let manager = systemd::ServiceManager::at(path.as_os_str().as_bytes());
        (ServiceManager { manager, interval, ..ServiceManager::default() }, ours, directory)
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut all = Vec::new();
        let mut octets = [0; 512];
        while let Ok(length) = socket.recv(&mut octets) {
            all.push(String::from_utf8_lossy(octets.get(..length).unwrap()).into_owned());
        }
        all
    }

    #[test]
    fn ready_is_said_once_and_again_after_each_reload() {
        let (mut manager, socket, _directory) = manager(None);
        manager.serves();
        manager.serves();
        assert_eq!(heard(&socket), ["READY=1\nSTATUS=the worker serves"]);
        let before = clock::monotonic_micros();
        manager.reloads();
        let words = heard(&socket).concat();
        let at: u64 = words.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!(at >= before && at <= clock::monotonic_micros(), "{words}");
        manager.serves();
        assert_eq!(heard(&socket).len(), 1);
        manager.is_between_workers();
        manager.serves();
        assert_eq!(heard(&socket).last().unwrap(), "STATUS=the worker serves");
        manager.stops();
        manager.reloads();
        manager.serves();
        assert_eq!(heard(&socket), ["STOPPING=1\nSTATUS=everything is given up in good order"]);
    }

    #[test]
    fn a_sign_of_life_comes_four_times_in_the_managers_patience() {
        let (mut manager, socket, _directory) = manager(Some(Duration::from_secs(5)));
        for second in 0..20 {
            manager.feed(Instant::from_nanos(second * 1_000_000_000));
        }
        assert_eq!(heard(&socket), ["WATCHDOG=1"; 4]);
    }

    #[test]
    fn who_does_not_watch_is_not_fed_and_a_full_queue_keeps_nobody_waiting() {
        let (mut quiet, socket, _directory) = manager(None);
        quiet.feed(Instant::from_nanos(0));
        assert_eq!(heard(&socket), [""; 0]);
        // Far more than a queue of datagrams takes; a sender that waited would never end.
        (0..100_000).for_each(|_| quiet.is_between_workers());
        assert!(!heard(&socket).is_empty());
    }
}
