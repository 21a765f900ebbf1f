//! What the service manager wants to hear (sd_notify(3)): ready, reloading, stopping, and that we live.
//!
//! Without a service manager nothing is said. A message that can't be sent is not sent again: the next one says more.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::clock::monotonic;

/// Where the manager listens: a path, or an abstract name behind an `@`.
pub const SOCKET: &str = "NOTIFY_SOCKET";
/// How long it waits for a sign of life, in microseconds.
pub const WATCHDOG: &str = "WATCHDOG_USEC";
/// Whose sign of life.
pub const WATCHDOG_OF: &str = "WATCHDOG_PID";

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As the environment says. Children of this process inherit the same variables, and are no service of their own.
    pub fn from_environment() -> Self {
        let path = std::env::var_os(SOCKET);
        let text = |name| std::env::var(name).ok();
        let to = path.and_then(|path| connect(path.as_bytes()));
        let watchdog = watchdog(text(WATCHDOG).as_deref(), text(WATCHDOG_OF).as_deref(), std::process::id());
        ServiceManager { watchdog: watchdog.filter(|_| to.is_some()), to }
    }

    /// One that listens there: a path, or with `@` an abstract name. It watches nobody.
    pub fn at(name: &[u8]) -> Self {
        ServiceManager { to: connect(name), watchdog: None }
    }

    /// How often [`ServiceManager::lives`] has to be said, half the time after which a silent service is ended; `None`:
    /// nobody waits for it.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The service does its work, or does it again after a reload.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={}\n", one_line(status)));
    }

    /// A reload has begun; [`ServiceManager::ready`] ends it.
    pub fn reloading(&self) {
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic().as_micros()));
    }

    /// The service is about to end.
    pub fn stopping(&self) {
        self.say("STOPPING=1\n");
    }

    /// The service lives.
    pub fn lives(&self) {
        self.say("WATCHDOG=1\n");
    }

    /// Words for `systemctl status`.
    pub fn status(&self, words: &str) {
        self.say(&format!("STATUS={}\n", one_line(words)));
    }

    /// Any words of the protocol, each on a line of its own. Nobody waits until they are read.
    pub fn say(&self, message: &str) {
        let Some((socket, to)) = &self.to else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), to) {
            tracing::debug!("the service manager was not told {message:?}: {error}");
        }
    }
}

fn one_line(words: &str) -> String {
    words.replace('\n', "; ")
}

/// A socket of the file system, or with `@` an abstract one.
fn connect(path: &[u8]) -> Option<(UnixDatagram, SocketAddr)> {
    let to = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)),
    };
    let socket = UnixDatagram::unbound().ok()?;
    // A full queue must not hold up who answers the members.
    socket.set_nonblocking(true).ok()?;
    to.ok().map(|to| (socket, to))
}

/// Half of what `WATCHDOG_USEC` says, where that is meant for this process.
fn watchdog(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let meant = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let usec = usec?.parse::<u64>().ok().filter(|usec| meant && *usec > 0)?;
    Some(Duration::from_micros(usec) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn each_word_reaches_a_socket_of_either_kind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("keepone-test-{}", std::process::id());
        let in_files = UnixDatagram::bind(&path).unwrap();
        let abstract_one = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, to) in [(in_files, path.to_str().unwrap().to_owned()), (abstract_one, format!("@{name}"))] {
            let manager = ServiceManager::at(to.as_bytes());
            manager.ready("two\nlines");
            assert_eq!(heard(&socket), "READY=1\nSTATUS=two; lines\n");
            manager.reloading();
            let said = heard(&socket);
            let usec = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim().parse::<u128>().unwrap();
            assert!(usec > 0 && usec <= monotonic().as_micros(), "{said}");
            manager.lives();
            assert_eq!(heard(&socket), "WATCHDOG=1\n");
            manager.stopping();
            assert_eq!(heard(&socket), "STOPPING=1\n");
        }
        // Nobody is there: nothing happens.
        ServiceManager::at(b"/nowhere/at/all").lives();
        ServiceManager::default().ready("");
    }

    #[test]
    fn the_watchdog_is_fed_twice_in_its_time_and_only_by_whom_it_watches() {
        let second = Some("1000000");
        assert_eq!(watchdog(second, Some("7"), 7), Some(Duration::from_millis(500)));
        assert_eq!(watchdog(second, None, 7), Some(Duration::from_millis(500)));
        assert_eq!(watchdog(second, Some("8"), 7), None);
        assert_eq!(watchdog(Some("0"), None, 7), None);
        assert_eq!(watchdog(Some("soon"), None, 7), None);
        assert_eq!(watchdog(None, None, 7), None);
    }
}
