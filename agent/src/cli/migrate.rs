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
use keepone_agent::net::addresses_here;
use keepone_agent::rights;
use keepone_config::model::VrrpInstance;
use keepone_config::{Config, Language};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::keepalived::StartedWith;

/// Where keepalived keeps its PID.
const PID_FILES: [&str; 2] = ["/run/keepalived.pid", "/run/keepalived/keepalived.pid"];
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
    started: StartedWith,
}

/// Says what is there and what becomes of it, and does what was asked for.
pub(crate) fn run(wish: &Migrate) -> Result<u8, Failure> {
    let running = find(wish.pid_file.as_deref())?;
    let unseen = if running.is_none() { unseen() } else { None };
    let started = running.as_ref().map_or_else(StartedWith::default, |running| running.started.clone());
    let file = wish.config.clone().unwrap_or_else(|| started.file.clone());
    let id = started.config_id.as_deref();
    let config = super::load(&file, id, true)?;
    let there = match (&running, unseen) {
        (Some(Running { pid, .. }), _) => format!("keepalived runs: process {pid}, with {}", file.display()),
        (None, Some(pid)) => {
            format!("keepalived runs, process {pid}, and no PID file leads to it; read was {}", file.display())
        }
        (None, None) => format!("no keepalived runs here; its configuration is {}", file.display()),
    };
    super::say(report(&there, &config, &started.lost, running.is_some() || unseen.is_some()).trim_end());
    let Some(directory) = &wish.write else { return Ok(0) };
    if wish.take_over {
        may_take_over(&started, unseen)?;
    }
    let written = directory.join("keepone.conf");
    let (text, _) = keepone_config::convert(&file, Language::Conf, &super::environment(id))
        .map_err(|complaints| super::refused(&file, &complaints))?;
    super::convert::write(&written, &text, false).map_err(|error| {
        let words = format!("{} can't be written: {error}: name another directory, or move it away", written.display());
        Failure::say(Code::Unexpected, words)
    })?;
    // It is read as `keepone run` will: what it says of this node must not hang on an id any more.
    rights::check(&super::load(&written, None, false)?)?;
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

/// Beside a keepalived that goes on, or as something else than it was, keepone is not started.
fn may_take_over(started: &StartedWith, unseen: Option<Pid>) -> Result<(), Failure> {
    if let Some(pid) = unseen {
        let words = format!("keepalived, process {pid}, would go on beside keepone: name its PID file with --pid-file");
        return Err(Failure::say(Code::Usage, words));
    }
    if !started.refused.is_empty() {
        let words = format!(
            "the running keepalived was started with what keepone does not do:\n  {}\nend it and start keepone by hand",
            started.refused.join("\n  ")
        );
        return Err(Failure::say(Code::Usage, words));
    }
    Ok(())
}

/// The one that its PID file leads to.
fn find(pid_file: Option<&Path>) -> Result<Option<Running>, Failure> {
    let texts = match pid_file {
        Some(path) => vec![fs::read_to_string(path).map_err(|error| {
            Failure::say(Code::Usage, format!("{} can't be read: {error}: name keepalived's PID file", path.display()))
        })?],
        None => PID_FILES.iter().filter_map(|path| fs::read_to_string(path).ok()).collect(),
    };
    let pids = texts.iter().filter_map(|text| text.trim().parse().ok()).filter(|pid: &i32| *pid > 1);
    // A PID that was left behind may be anybody's by now.
    let Some(pid) = pids.map(Pid::from_raw).find(|pid| is_keepalived(*pid)) else { return Ok(None) };
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    Ok(Some(Running { pid, started: StartedWith::line(&words(&line)) }))
}

fn is_keepalived(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "keepalived")
}

/// A keepalived on the network of this process.
fn unseen() -> Option<Pid> {
    let network = |of: &str| fs::read_link(format!("/proc/{of}/ns/net")).ok();
    let own = network("self");
    let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut all = pids.map(Pid::from_raw).filter(|pid| is_keepalived(*pid));
    all.find(|pid| own.is_some() && network(&pid.to_string()) == own)
}

/// The arguments behind the program's name, as proc_pid_cmdline(5) has them: each ends with a zero.
fn words(line: &[u8]) -> Vec<OsString> {
    let ended = line.strip_suffix(b"\0").unwrap_or(line);
    ended.split(|octet| *octet == 0).skip(1).map(|word| OsString::from_vec(word.to_vec())).collect()
}

/// What is there, what becomes of it, and which way the addresses go.
fn report(there: &str, config: &Config, lost: &[String], runs: bool) -> String {
    let mut text = format!("{there}\n\nvirtual routers, as both read them:\n");
    let own: BTreeSet<IpAddr> = addresses_here().unwrap_or_default().into_iter().map(|(_, address)| address).collect();
    let is_held = |instance: &VrrpInstance| {
        let all = &instance.virtual_addresses;
        !all.is_empty() && all.iter().all(|one| own.contains(&one.address))
    };
    // Writing to a String never fails.
    for instance in &config.instances {
        let _ = writeln!(
            text,
            "  {}: VRID {} on {}, priority {}, {}, {} addresses{}",
            instance.name,
            instance.vrid.get(),
            instance.interface,
            instance.priority.0,
            if instance.preempt { "preempts" } else { "nopreempt" },
            instance.virtual_addresses.len(),
            if is_held(instance) { ", held by this node now" } else { "" }
        );
    }
    text.push_str(
        "\nwhat changes:\n  a gate in the kernel: if the agent dies or stands still, the addresses fall silent on time\n  \
         without an [arbiter] and heartbeat links a lasting partition has two holders, as before: see README.md\n",
    );
    for words in lost {
        let _ = writeln!(text, "  keepalived's flag {words}");
    }
    for inactive in &config.inactive {
        let (what, place) = (&inactive.what, &inactive.place);
        let _ = writeln!(text, "  `{what}` ({place}) does nothing yet: keep keepalived where you need it");
    }
    text.push_str("\nthe way of the addresses:\n");
    text.push_str(&way(config, runs, config.instances.iter().any(is_held)));
    text
}

/// Which way the addresses go when this node is migrated.
fn way(config: &Config, runs: bool, holds: bool) -> String {
    if !runs {
        return "  nothing runs here: nothing moves\n".to_owned();
    }
    if !holds {
        return "  this node holds none: nothing moves when it is migrated\n".to_owned();
    }
    let first =
        "  this node holds some: once its keepalived ends, the other node takes them. Migrate the other node first\n";
    let back = config.instances.iter().filter(|one| one.preempt).map(|one| one.name.as_str());
    let back = back.collect::<Vec<_>>().join(", ");
    if back.is_empty() {
        return first.to_owned();
    }
    format!(
        "{first}  if its priority is the higher one, {back} comes back as soon as keepone runs: write `nopreempt` to have \
         one change only\n"
    )
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

    #[test]
    fn the_command_line_is_read_as_the_kernel_shows_it() {
        let started = |line: &[u8]| {
            let StartedWith { file, config_id, refused, .. } = StartedWith::line(&words(line));
            (file.display().to_string(), config_id, refused.len())
        };
        let named = |id: Option<&str>| ("/a".to_owned(), id.map(str::to_owned), 0);
        assert_eq!(started(b"/usr/sbin/keepalived\0-n\0-f\0/a\0"), named(None));
        assert_eq!(started(b"keepalived\0-nlf/a\0-i\0n1\0"), named(Some("n1")));
        assert_eq!(started(b"keepalived\0--use-file=/a\0--config-id=n1\0"), named(Some("n1")));
        let (file, id, refused) = started(b"-f/program\0-s\0red\0");
        assert_eq!((file.as_str(), id, refused), ("/etc/keepalived/keepalived.conf", None, 1));
        // A process that is ending shows nothing.
        assert_eq!(started(b"").2, 0);
    }

    #[test]
    fn keepone_is_not_started_beside_a_keepalived_or_as_something_else() {
        assert!(may_take_over(&StartedWith::default(), None).is_ok());
        assert!(may_take_over(&StartedWith::default(), Some(Pid::from_raw(7))).is_err());
        let started = StartedWith::line(&["-s".into(), "red".into()]);
        let words = may_take_over(&started, None).unwrap_err().to_string();
        assert!(words.contains("`-s`"), "{words}");
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
