//! The restart of one's own machine, at once: nothing is synced, no service is asked, nothing is sent any more.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The kernel's door for it: `b` restarts at once, whatever `kernel.sysrq` says of the keyboard
/// (Documentation/admin-guide/sysrq.rst).
const SYSRQ: &str = "/proc/sysrq-trigger";

/// Restarts the machine; returns only if that failed.
pub fn now(why: &str) {
    tracing::error!("this node can't let go, and restarts the machine: {why}");
    // What was said goes its way through other threads; the gate's deadline does not wait for us.
    std::thread::sleep(Duration::from_millis(50));
    // Where the first door is shut (no /proc, no such option in the kernel), the system call is left.
    let error = match restart(Path::new(SYSRQ)) {
        Ok(()) => return,
        Err(error) => error,
    };
    let outcome = nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_AUTOBOOT);
    let call = match outcome {
        Ok(never) => match never {},
        Err(errno) => io::Error::from(errno),
    };
    tracing::error!("the machine can't be restarted: {SYSRQ}: {error}; reboot(2): {call}: run as root on the host");
}

fn restart(door: &Path) -> io::Result<()> {
    // Not created where it is missing: a file of that name would restart nothing.
    let mut file = fs::OpenOptions::new().write(true).open(door)?;
    io::Write::write_all(&mut file, b"b")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_told_b_and_a_missing_door_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let door = directory.path().join("sysrq-trigger");
        assert_eq!(restart(&door).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&door, "").unwrap();
        restart(&door).unwrap();
        assert_eq!(fs::read(&door).unwrap(), b"b");
    }
}
