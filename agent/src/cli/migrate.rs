//! `keepone migrate`: from a keepalived that runs here to keepone, one node at a time.
//!
//! What must stay true: nothing is ended before the new configuration is known to be good and, where it was asked for,
//! written; and only a process that is keepalived's is sent a signal.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Args;
use keepone_agent::clock;
use keepone_agent::exit::{ExitCode as Code, Failure};
use keepone_config::{Config, Language};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where keepalived keeps its PID, and its configuration.
const PID_FILES: [&str; 2] = ["/run/keepalived.pid", "/run/keepalived/keepalived.pid"];
const CONFIGURATION: &str = "/etc/keepalived/keepalived.conf";
/// It gives up its addresses, and lets its scripts end.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// What is to be done.
#[derive(Args)]
pub(crate) struct Migrate {
    /// keepalived's configuration; by default what the running one was started with.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The file with its PID; by default where it writes it.
    #[arg(short, long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Write DIR/keepone.conf, for keepone: the same statements, with includes and conditions resolved.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// End the running keepalived in good order, and go on in its place: as `keepone run` with what was written.
    #[arg(long, requires = "write")]
    take_over: bool,
}

/// A keepalived that runs.
struct Running {
    pid: Pid,
    /// What it was started with.
    file: Option<PathBuf>,
}

/// Says what is there and what becomes of it, and does what was asked for.
pub(crate) fn run(wish: &Migrate) -> Result<u8, Failure> {
    let running = find(wish.pid_file.as_deref())?;
    let named = running.as_ref().and_then(|running| running.file.clone());
    let file = wish.config.clone().or(named).unwrap_or_else(|| PathBuf::from(CONFIGURATION));
    let config = super::load(&file, None, true)?;
    super::say(report(&config, &file, running.as_ref()).trim_end());
    let Some(directory) = &wish.write else { return Ok(0) };
    let written = directory.join("keepone.conf");
    let (text, _) = keepone_config::convert(&file, Language::Conf, &super::environment(None))
        .map_err(|complaints| super::refused(&file, &complaints))?;
    super::convert::write(&written, &text, false).map_err(|error| {
        let words = format!("{} can't be written: {error}: name another directory, or move it away", written.display());
        Failure::say(Code::Unexpected, words)
    })?;
    super::load(&written, None, false)?;
    super::say(&format!("\nwritten: {}, which means the same", written.display()));
    if !wish.take_over {
        return Ok(0);
    }
    if let Some(running) = running {
        end(&running)?;
        super::say(&format!("keepalived, process {}, has ended", running.pid));
    }
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("keepone"));
    let error = Command::new(program).arg("run").arg("-c").arg(&written).exec();
    Err(Failure::say(Code::Unexpected, format!("keepone can't be started: {error}: start keepalived again")))
}

/// The running one, if there is one.
fn find(pid_file: Option<&Path>) -> Result<Option<Running>, Failure> {
    let text = match pid_file {
        Some(path) => Some(fs::read_to_string(path).map_err(|error| {
            Failure::say(Code::Usage, format!("{} can't be read: {error}: name keepalived's PID file", path.display()))
        })?),
        None => PID_FILES.iter().find_map(|path| fs::read_to_string(path).ok()),
    };
    let Some(pid) = text.and_then(|text| text.trim().parse().ok()).filter(|pid: &i32| *pid > 1) else {
        return Ok(None);
    };
    // A PID that was left behind may be anybody's by now.
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.trim() != "keepalived" {
        return Ok(None);
    }
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments: Vec<OsString> =
        line.split(|octet| *octet == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
    Ok(Some(Running { pid: Pid::from_raw(pid), file: configuration(&arguments) }))
}

/// Of keepalived's command line: `-f FILE`, `-fFILE`, `--use-file FILE`, `--use-file=FILE`.
fn configuration(arguments: &[OsString]) -> Option<PathBuf> {
    let mut words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        if word == "-f" || word == "--use-file" {
            return words.next().map(PathBuf::from);
        }
        let joined = word.strip_prefix("--use-file=").or_else(|| word.strip_prefix("-f"));
        if let Some(file) = joined.filter(|file| !file.is_empty()) {
            return Some(PathBuf::from(file));
        }
    }
    None
}

fn report(config: &Config, file: &Path, running: Option<&Running>) -> String {
    let own: BTreeSet<IpAddr> =
        nix::ifaddrs::getifaddrs().map(|all| all.filter_map(|one| address(&one)).collect()).unwrap_or_default();
    let mut text = match running {
        Some(running) => format!("keepalived runs: process {}, with {}\n", running.pid, file.display()),
        None => format!("no keepalived runs here; its configuration is {}\n", file.display()),
    };
    // Writing to a String never fails.
    let mut line = |words: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{words}");
    };
    line(format_args!("\nvirtual routers, as both read them:"));
    let mut holds = false;
    for instance in &config.instances {
        let all = &instance.virtual_addresses;
        let held = !all.is_empty() && all.iter().all(|one| own.contains(&one.address));
        holds |= held;
        line(format_args!(
            "  {}: VRID {} on {}, priority {}, {}, {} addresses{}",
            instance.name,
            instance.vrid.get(),
            instance.interface,
            instance.priority.0,
            if instance.preempt { "preempts" } else { "nopreempt" },
            all.len(),
            if held { ", held by this node now" } else { "" }
        ));
    }
    line(format_args!("\nwhat changes:"));
    line(format_args!("  a gate in the kernel: if the agent dies or stands still, the addresses fall silent on time"));
    line(format_args!(
        "  without an [arbiter] and heartbeat links a lasting partition has two holders, as before: see README.md"
    ));
    for inactive in &config.inactive {
        line(format_args!(
            "  `{}` ({}) does nothing yet: keep keepalived where you need it",
            inactive.what, inactive.place
        ));
    }
    line(format_args!("\nthe way of the addresses:"));
    match (holds, running.is_some()) {
        (true, true) => {
            line(format_args!(
                "  this node holds some: once its keepalived ends, the other node takes them. Migrate the other node first"
            ));
            let back: Vec<&str> =
                config.instances.iter().filter(|one| one.preempt).map(|one| one.name.as_str()).collect();
            if !back.is_empty() {
                line(format_args!(
                    "  if its priority is the higher one, {} comes back as soon as keepone runs: write `nopreempt` to have one change only",
                    back.join(", ")
                ));
            }
        }
        (false, true) => line(format_args!("  this node holds none: nothing moves when it is migrated")),
        (_, false) => line(format_args!("  nothing runs here: nothing moves")),
    }
    text
}

fn address(interface: &nix::ifaddrs::InterfaceAddress) -> Option<IpAddr> {
    let storage = interface.address.as_ref()?;
    let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// In good order: its peers are told.
fn end(running: &Running) -> Result<(), Failure> {
    let fail = |words: String| Failure::say(Code::Unexpected, words);
    kill(running.pid, Signal::SIGTERM)
        .map_err(|error| fail(format!("keepalived, process {}, can't be ended: {error}", running.pid)))?;
    let until = clock::now() + ENDS_WITHIN;
    while kill(running.pid, None) != Err(Errno::ESRCH) && !is_zombie(running.pid) {
        if clock::now() >= until {
            return Err(fail(format!(
                "keepalived, process {}, has not ended within {ENDS_WITHIN:?}: it goes on holding what it holds; look at its log",
                running.pid
            )));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// It has ended, and its parent has not asked yet.
fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Option<PathBuf> {
        configuration(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_file_is_found_however_it_was_named() {
        for words in [
            &["keepalived", "-n", "-f", "/a"][..],
            &["keepalived", "-f/a"],
            &["keepalived", "--use-file=/a", "-n"],
            &["keepalived", "--use-file", "/a"],
        ] {
            assert_eq!(of(words), Some(PathBuf::from("/a")), "{words:?}");
        }
        assert_eq!(of(&["keepalived", "-n"]), None);
        assert_eq!(of(&["keepalived", "-f"]), None);
        assert_eq!(of(&["-f/program"]), None);
    }

    #[test]
    fn a_pid_of_somebody_else_is_no_keepalived() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("{}\n", std::process::id())).unwrap();
        assert!(find(Some(file.path())).unwrap().is_none());
        fs::write(file.path(), "no number\n").unwrap();
        assert!(find(Some(file.path())).unwrap().is_none());
        assert!(find(Some(Path::new("/nowhere/x.pid"))).is_err());
    }
}
