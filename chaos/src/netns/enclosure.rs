//! The walls around a run: a process tree and a mount table of its own, from which nothing is left over.
//!
//! The program starts itself again as the first process of a new PID namespace. When that process ends,
//! however it ends, the kernel kills every process inside; with them go the network namespaces, the
//! bridges, the veth pairs, the eBPF links and the mounts. A SIGKILL to the outer process reaches the
//! inner one through its parent-death signal.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};

use super::deeds;
use super::error::{Error, io_error};

/// Tells the inner process that it is one.
const MARK: &str = "KEEPONE_CHAOS_ENCLOSED";

/// Where a world may put files: a tmpfs that only the enclosed processes see.
pub const ROOM: &str = "/run/keepone-chaos";

/// Which side of the wall this process is on.
#[derive(Debug)]
pub enum Side {
    /// Inside, with everything set up: go on.
    Inside,
    /// Outside; the inner process has run and ended so.
    Outside(ExitCode),
}

/// Starts this program again inside the walls and waits for it, or, inside, sets the walls up.
///
/// # Errors
/// [`Error::NotRoot`], and [`Error::Io`] when the kernel has no PID or mount namespaces.
pub fn enter() -> Result<Side, Error> {
    if !geteuid().is_root() {
        return Err(Error::NotRoot(geteuid().as_raw()));
    }
    if std::env::var_os(MARK).is_some() && nix::unistd::getpid() == Pid::from_raw(1) {
        furnish()?;
        return Ok(Side::Inside);
    }
    guard().map(Side::Outside)
}

fn furnish() -> Result<(), Error> {
    // What the outer process blocks, to wait for it, would otherwise stay blocked in every agent.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).map_err(io_error("unblock signals"))?;
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(io_error("ask for the parent-death signal"))?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(io_error("make a mount namespace"))?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(io_error("make the mounts private"))?;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    // The tree of the new PID namespace, without which children could not be found.
    mount(Some("proc"), "/proc", Some("proc"), quiet, none).map_err(io_error("mount /proc"))?;
    mount(Some("keepone-chaos"), "/run", Some("tmpfs"), quiet, none).map_err(io_error("mount a tmpfs on /run"))?;
    std::fs::create_dir(ROOM).map_err(io_error(format!("create {ROOM}")))
}

fn guard() -> Result<ExitCode, Error> {
    let mut watched = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD] {
        watched.add(signal);
    }
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&watched), None).map_err(io_error("block signals"))?;
    unshare(CloneFlags::CLONE_NEWPID).map_err(io_error("make a PID namespace"))?;
    let program = std::env::current_exe().map_err(io_error("find this program"))?;
    let child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(MARK, "1")
        .spawn()
        .map_err(io_error("start the enclosed process"))?;
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    loop {
        let signal = watched.wait().map_err(io_error("wait for signals"))?;
        if signal != Signal::SIGCHLD {
            // The first process of a PID namespace ignores every other signal that it has not asked for.
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
            deeds::remove_all_groups();
            return Ok(ExitCode::from(130));
        }
        let status = waitpid(pid, Some(WaitPidFlag::WNOHANG)).map_err(io_error("wait for the enclosed process"))?;
        if matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..)) {
            // What is frozen can be killed, and its group is empty now.
            deeds::remove_all_groups();
        }
        match status {
            WaitStatus::Exited(_, code) => return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
            WaitStatus::Signaled(_, signal, _) => {
                let status = std::process::ExitStatus::from_raw(signal as i32);
                eprintln!("keepone-chaos: the enclosed process died: {status}");
                return Ok(ExitCode::from(70));
            }
            _ => {}
        }
    }
}
